"""Hand-derived gradients that can be trusted.

jax.grad(loss)                # by hand: the rules of this library
jax.grad(jaxnet.auto(loss))   # automatic: the same graph without them

The examples in docstrings begin with

import jax, jax.numpy as jnp, numpy as np, jaxnet

and read data/ from the root of the repository.
"""

from importlib import import_module
from itertools import chain
from typing import TYPE_CHECKING

from jaxnet import datasets as datasets
from jaxnet import metrics as metrics
from jaxnet import rules as rules
from jaxnet._auto import auto as auto
from jaxnet._class_weights import class_weighted as class_weighted
from jaxnet._modes import both_modes as both_modes
from jaxnet._rule import rule as rule
from jaxnet._version import __version__ as __version__
from jaxnet.metrics import accuracy as accuracy
from jaxnet.models import Layer as Layer
from jaxnet.models import NormLayer as NormLayer
from jaxnet.models import course_init as course_init
from jaxnet.models import init_mlp as init_mlp
from jaxnet.models import mlp as mlp
from jaxnet.models import pytorch_init as pytorch_init
from jaxnet.networks import Network as Network
from jaxnet.networks import load_network as load_network
from jaxnet.networks import save as save
from jaxnet.rules._activations import relu as relu
from jaxnet.rules._cross_entropy import softmax_cross_entropy as softmax_cross_entropy
from jaxnet.rules._linear import linear as linear
from jaxnet.rules._softmax import softmax as softmax
from jaxnet.training import History as History
from jaxnet.training import NonFiniteLoss as NonFiniteLoss
from jaxnet.training import evaluate as evaluate
from jaxnet.training import fit as fit
from jaxnet.training import update_step as update_step

# The checker and the prover take longer to import than all the rest: only where they are used.
if TYPE_CHECKING:
    from jaxnet.checking import Audit as Audit
    from jaxnet.checking import Finding as Finding
    from jaxnet.checking import Report as Report
    from jaxnet.checking import ReportOfSizes as ReportOfSizes
    from jaxnet.checking import audit as audit
    from jaxnet.checking import check as check
    from jaxnet.checking import check_sizes as check_sizes
    from jaxnet.proving import LeafProof as LeafProof
    from jaxnet.proving import Proof as Proof
    from jaxnet.proving import ProofOfSizes as ProofOfSizes
    from jaxnet.proving import prove as prove
    from jaxnet.proving import prove_sizes as prove_sizes
else:
    _WHERE_USED = {
        "jaxnet.checking": (
            "Audit",
            "Finding",
            "Report",
            "ReportOfSizes",
            "audit",
            "check",
            "check_sizes",
        ),
        "jaxnet.proving": ("LeafProof", "Proof", "ProofOfSizes", "prove", "prove_sizes"),
    }

    def __getattr__(name: str) -> object:
        for package, names in _WHERE_USED.items():
            if name in names:
                return getattr(import_module(package), name)
        if hasattr(rules, name):
            raise AttributeError(f"jaxnet has no {name!r}; it is jaxnet.rules.{name}")
        raise AttributeError(f"module 'jaxnet' has no attribute {name!r}")

    def __dir__() -> list[str]:
        return sorted({*globals(), *chain(*_WHERE_USED.values())})
