"""What a backward pass costs: bytes that it keeps, and floating-point operations."""

from collections import OrderedDict
from typing import Any, cast

import jax

from jaxnet import _graph
from jaxnet.checking.findings import Cost
from jaxnet.checking.problem import Function, Leaves
from jaxnet.checking.traces import AtDtypes, pull


def cost_of(at: AtDtypes, others: Leaves) -> Cost | None:
    """By rule, by autodiff, and by autodiff of the function under jax.checkpoint.

    None where a cost cannot be had: it is shown, and decides nothing. Nor of what closes over NumPy
    arrays: this would be traced in the caller's mode while copies of 64 bits are held.
    """
    if at.value.function is not None:
        return None
    ref = at.ref_value
    ways: dict[str, Function] = {
        "rule": at.value,
        "autodiff": ref,
        "checkpoint": jax.checkpoint(ref),
    }
    try:
        return Cost(
            {way: residual_bytes(f, at.leaves, others) for way, f in ways.items()},
            {way: _flops(f, at, others) for way, f in ways.items()},
        )
    except Exception:
        return None


def residual_bytes(f: Function, leaves: Leaves, others: Leaves) -> int:
    """Of all that the backward keeps of the forward, as JAX counts before anything is compiled."""

    def backward(*leaves: Any) -> Any:
        return jax.vjp(lambda *leaves: f(leaves, others)[0], *leaves)[1]

    kept = jax.tree.leaves(jax.eval_shape(backward, *leaves))
    return sum(s.size * int(getattr(s.dtype, "itemsize", 4)) for s in kept)


REMEMBERED = 512
_known: OrderedDict[Any, float] = OrderedDict()


def _flops(f: Function, at: AtDtypes, others: Leaves) -> float:
    """Of the pullback, as XLA counts them; known again by what the pullback computes."""
    traced: Any = cast(Any, jax.jit(pull(f))).trace(at.leaves, others, at.zero_cotangents())
    key = _graph.identity(traced.jaxpr)
    if key not in _known:
        analysis = traced.lower().cost_analysis() or {}
        _known[key] = float(analysis.get("flops", float("nan")))
    while len(_known) > REMEMBERED:
        _known.popitem(last=False)
    return _known[key]
