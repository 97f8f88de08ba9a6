"""A call of a function of pytrees as a jaxpr, and another jaxpr run in its place."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

from jaxnet._graph.rewrite import as_function, is_array_of_jax


class Call(NamedTuple):
    """A call of a function, traced."""

    jaxpr: Any
    run: Callable[[Any], Any]  # a jaxpr like it -> what the function returns, computed by that


def call_of_function(
    fn: Callable[..., Any], args: Sequence[Any], kwargs: Mapping[str, Any]
) -> Call:
    """Arrays are traced; every other leaf stays what it is, in arguments and in results."""
    leaves, tree = jax.tree.flatten((args, kwargs))
    given = _partition(leaves, (jax.Array, np.ndarray, np.generic))
    returned: Any = None  # of fn: its leaves, taken apart, and its tree

    def call_fn(*arrays: Any) -> list[Any]:
        nonlocal returned
        a, k = jax.tree.unflatten(tree, _combine(given, arrays))
        out_leaves, out_tree = jax.tree.flatten(fn(*a, **k))
        # NumPy's arrays depend on no argument: they stay as they are.
        parts = _partition(out_leaves, jax.Array)
        returned = parts._replace(arrays=[]), out_tree
        return parts.arrays

    traced = jax.make_jaxpr(call_fn)(*given.arrays)

    def run(jaxpr: Any) -> Any:
        parts, out_tree = returned
        arrays = as_function(jaxpr)(*given.arrays)
        return jax.tree.unflatten(out_tree, _combine(parts, arrays))

    return Call(traced, run)


class _Parts(NamedTuple):
    """Leaves, taken apart."""

    arrays: list[Any]
    at: list[int]  # where among the leaves each array stands
    # The other leaves, None where an array stands: no tracer is held after a trace.
    static: list[Any]


def _partition(leaves: Sequence[Any], types: Any) -> _Parts:
    """The arrays of these types, and the rest."""
    is_array = [isinstance(x, types) and is_array_of_jax(x) for x in leaves]
    at = [i for i, is_one in enumerate(is_array) if is_one]
    static = [None if is_one else x for x, is_one in zip(leaves, is_array, strict=True)]
    return _Parts([leaves[i] for i in at], at, static)


def _combine(parts: _Parts, arrays: Sequence[Any]) -> list[Any]:
    """The leaves with other arrays in their places."""
    leaves = list(parts.static)
    for i, array in zip(parts.at, arrays, strict=True):
        leaves[i] = array
    return leaves
