"""Max, min and clamp, where two are equal: autodiff gives a half to each, others all to one."""

from collections.abc import Callable
from typing import Any

import jax.numpy as jnp

from jaxnet import _graph


def _largest(to_first: bool, a: Any, b: Any) -> Any:
    return jnp.where(a >= b if to_first else a > b, a, b)


def _smallest(to_first: bool, a: Any, b: Any) -> Any:
    return jnp.where(a <= b if to_first else a < b, a, b)


def _clamped(to_first: bool, low: Any, x: Any, high: Any) -> Any:
    is_below, is_above = (x < low, x > high) if to_first else (x <= low, x >= high)
    return jnp.where(is_below, low, jnp.where(is_above, high, x))


_SETTLED: dict[str, Callable[..., Any]] = {"max": _largest, "min": _smallest, "clamp": _clamped}


def settled(jaxpr: Any, to_first: bool) -> Any:
    """The same values, with every tie given to the first, or to the second; of a clamp to x."""

    def change(e: Any, inside_rewritten: Any, chain: _graph.Chain) -> list[Any]:
        one = _SETTLED.get(e.primitive.name)
        if one is None or not _graph.is_differentiable(e.outvars[0]):
            return [inside_rewritten]

        def called(*values: Any) -> list[Any]:
            return [one(to_first, *_graph.every_input(e, values))]

        return [_graph.call_of(e, called)]

    return _graph.rewritten(jaxpr, change)
