"""A function of its floating leaves alone, the others held where they are."""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp


def hold_the_rest(
    f: Callable[..., Any], args: Sequence[Any]
) -> tuple[Callable[..., Any], list[Any]]:
    """f as a function of the floating and complex arrays among the leaves of args, and those.

    The new function takes one array per leaf; every other leaf is what it is in args.
    """
    leaves, tree = jax.tree.flatten(tuple(args))
    moving = [i for i, leaf in enumerate(leaves) if is_inexact(leaf)]

    def f_of_moving(*arrays: Any) -> Any:
        full = list(leaves)
        for i, array in zip(moving, arrays, strict=True):
            full[i] = array
        return f(*jax.tree.unflatten(tree, full))

    return f_of_moving, [leaves[i] for i in moving]


def is_inexact(leaf: Any) -> bool:
    return hasattr(leaf, "dtype") and jnp.issubdtype(leaf.dtype, jnp.inexact)


def pullback(f: Callable[..., Any]) -> Callable[..., Any]:
    """(cotangent, *args) -> value, and a cotangent for each floating leaf of args."""

    def pulled_back(c: Any, *args: Any) -> Any:
        g, arrays = hold_the_rest(f, args)
        value, pull = jax.vjp(g, *arrays)
        return value, pull(c)

    return pulled_back
