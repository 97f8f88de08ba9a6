"""What a backward pass costs: bytes that it keeps, and floating-point operations."""

from typing import Any

import jax

from jaxnet.checking.findings import Cost
from jaxnet.checking.problem import Function, Leaves, Problem
from jaxnet.checking.traces import pull, zero_cotangents


def cost_of(problem: Problem, leaves: Leaves) -> Cost | None:
    """By rule, by autodiff, and by autodiff of the function under jax.checkpoint.

    None where a cost cannot be had: it is shown, and decides nothing.
    """
    ways = {
        "rule": problem.rule,
        "autodiff": problem.ref,
        "checkpoint": jax.checkpoint(problem.ref),
    }
    try:
        return Cost(
            {way: residual_bytes(f, leaves, problem.others) for way, f in ways.items()},
            {way: _flops(f, leaves, problem.others) for way, f in ways.items()},
        )
    except Exception:
        return None


def residual_bytes(f: Function, leaves: Leaves, others: Leaves) -> int:
    """Of all that the backward keeps of the forward, as JAX counts before anything is compiled."""

    def backward(*leaves: Any) -> Any:
        return jax.vjp(lambda *leaves: f(leaves, others)[0], *leaves)[1]

    kept = jax.tree.leaves(jax.eval_shape(backward, *leaves))
    return sum(s.size * int(getattr(s.dtype, "itemsize", 4)) for s in kept)


def _flops(f: Function, leaves: Leaves, others: Leaves) -> float:
    lowered = jax.jit(pull(f)).lower(leaves, others, zero_cotangents(f, leaves, others))
    return float((lowered.cost_analysis() or {}).get("flops", float("nan")))
