"""`prove`: are a rule's gradient and autodiff's the same function, as algebra?

Both graphs are evaluated at random points where nothing rounds, and compared for equality.

    field          numbers modulo a prime, one prime a point
    literals       which real number a floating-point literal stands for
    bound          degrees, and the chance that two different graphs look equal
    numbers        arrays of numbers: what is known of each
    points         random points, and the arithmetic of numbers there
    interpreter    a jaxpr evaluated in them: the walk, and what it meets
    structural, arithmetic, reductions, windows, control, linear_algebra
                   the primitives of JAX, by name
    derivatives    what is compared: the derivatives of both functions, traced
    evaluation     both graphs at the same points: what is equal
    proof          what is said of it
    prover         at which points, and which derivatives
    _prove         the doors: arguments in, a Proof out
"""

from jaxnet.proving._prove import proof_of as proof_of
from jaxnet.proving._prove import prove as prove
from jaxnet.proving._prove import prove_sizes as prove_sizes
from jaxnet.proving._prove import require_arguments as require_arguments
from jaxnet.proving._prove import require_functions as require_functions
from jaxnet.proving._prove import require_make_args as require_make_args
from jaxnet.proving._prove import require_sizes as require_sizes
from jaxnet.proving._prove import require_untraced as require_untraced
from jaxnet.proving.proof import LeafProof as LeafProof
from jaxnet.proving.proof import Proof as Proof
from jaxnet.proving.proof import ProofOfSizes as ProofOfSizes
from jaxnet.proving.proof import Verdict as Verdict
