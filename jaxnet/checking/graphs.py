"""What the graphs of a function and of its gradients say, before anything is run."""

from collections.abc import Iterable
from typing import Any

import jax.numpy as jnp
import numpy as np

from jaxnet import _graph
from jaxnet.checking.problem import eps_of
from jaxnet.checking.traces import AtDtypes, Traced


def narrowest_float(*traced: Traced) -> Any:
    """The floating dtype with the fewest digits that any equation computes (float64 for none)."""
    return _narrowest(e for t in traced for e, _ in _graph.equations(t.jaxpr))


def narrowest_of_cotangents(*pullbacks: Traced) -> Any:
    """The same of what the cotangents are computed from: a value may be rounded on its way out."""
    return _narrowest(e for p in pullbacks for e in p.equations_of_cotangents())


def _narrowest(every: Iterable[Any]) -> Any:
    computing = (e for e in every if not _graph.computes_nothing(e))
    outputs = (v for e in computing for v in e.outvars)
    dtypes = {v.aval.dtype for v in outputs if hasattr(v.aval, "dtype")}
    floating = (d for d in dtypes if jnp.issubdtype(d, jnp.inexact))
    return max(floating, key=eps_of, default=np.dtype(np.float64))


def casts_to_float8(pullback: Traced) -> bool:
    outputs = (v for e in pullback.equations_of_cotangents() for v in e.outvars)
    return any(str(getattr(v.aval, "dtype", "")).startswith("float8") for v in outputs)


def draws_random_numbers(jaxpr: Any) -> bool:
    names = ("random_bits", "random_gamma", "threefry", "rng_")
    return any(e.primitive.name.startswith(names) for e, _ in _graph.equations(jaxpr))


def is_batched_by_hand(at: AtDtypes) -> bool:
    """Whether a rule for batching, or a callback with its method, is met in the pullback."""
    equations = [e for e, _ in _graph.equations(at.rule.jaxpr)]
    is_callback = any(e.primitive.name == "pure_callback" for e in equations)
    return is_callback or any(map(_graph.has_rule_for_batching, equations))


def always_zero(ref: Any, count: int) -> tuple[bool, ...]:
    """Of the cotangents, the last outputs of the reference's pullback: computed from no input."""
    every = range(len(_graph.plain(ref).invars))
    return tuple(not reached for reached in _graph.outputs_reached(ref, every)[-count:])


def named(*jaxprs: Any) -> tuple[float, ...]:
    """Numbers in the code that a value or a gradient is computed with."""
    return tuple(dict.fromkeys(x for jaxpr in jaxprs for x in _graph.named_numbers(jaxpr)))


def compared(*jaxprs: Any) -> tuple[tuple[int, int], ...]:
    """Integers in the code that arrays are asked to equal, each with the size of the array."""
    return tuple(dict.fromkeys(x for jaxpr in jaxprs for x in _graph.compared_integers(jaxpr)))


def iterates(jaxpr: Any) -> bool:
    """Until something holds, which far out may be never."""
    return any(e.primitive.name == "while" for e, _ in _graph.equations(jaxpr))


def is_used(ref_value: Any, count: int) -> tuple[bool, ...]:
    """By leaf: the value is computed from it."""
    body = _graph.without_rules(ref_value, _graph.EVERY)
    return tuple(any(_graph.outputs_reached(body, [k])) for k in range(count))
