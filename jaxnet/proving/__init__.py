"""`prove`: are a rule's gradient and autodiff's the same function, as algebra?

Both graphs are evaluated at random points where nothing rounds, and compared for equality.

    field          numbers modulo a prime, one prime a point
    literals       which real number a floating-point literal stands for
    bound          degrees, and the chance that two different graphs look equal
    numbers        arrays of numbers, and their arithmetic
    interpreter    a jaxpr evaluated in them: the walk, and what it meets
    structural, arithmetic, reductions, control    the primitives of JAX, by name
    evaluation     both graphs traced, and compared at the same points
    _prove         the door: arguments in, a Proof out
"""

from jaxnet.proving._prove import LeafProof as LeafProof
from jaxnet.proving._prove import Proof as Proof
from jaxnet.proving._prove import prove as prove
