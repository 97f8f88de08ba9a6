"""What the examples of right and of wrong rules are made of."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np


@dataclass(frozen=True)
class Example:
    f: Callable[..., Any]
    args: Callable[[np.random.Generator], tuple[Any, ...]]  # fresh arguments for a seed
    kwargs: dict[str, Any] | None = None
    # where the primal cannot be differentiated or the rule is meant to differ
    ref: Callable[..., Any] | None = None
    dtypes: tuple[str, ...] | None = None
    # Of a wrong rule: where a check must find the fault, "" where no leaf is to blame; and the
    # start of the finding's `what`, where only one is right.
    leaf: str = ""
    what: str = ""


def normal(*shapes, scale=1.0, shift=0.0, dtype="float32"):
    """rng -> one normal array of each shape."""
    return lambda rng: tuple(jnp.asarray(shift + scale * rng.normal(size=s), dtype) for s in shapes)


def uniform(low, high, *shapes):
    return lambda rng: tuple(jnp.asarray(rng.uniform(low, high, s), "float32") for s in shapes)


def given(*values):
    """rng -> always these values, as float32."""
    return lambda rng: tuple(jnp.asarray(v, "float32") for v in values)


def vjp(body, forward, backward, **options):
    """body with a backward rule, as a stranger would attach it."""
    f = jax.custom_vjp(body, **options)
    f.defvjp(forward, backward)
    return f


def by_hand(body, backward, **options):
    """body with a rule that keeps the arguments.

    backward(*arguments, cotangent) -> one cotangent per argument.
    """
    return vjp(
        body, lambda *args: (body(*args), args), lambda args, dy: backward(*args, dy), **options
    )


def pointwise(value, slope):
    """value, element by element, with slope for its derivative."""
    return by_hand(lambda x: value(x), lambda x, dy: (slope(x) * dy,))


def batched_by_hand(body):
    """body with a rule for jax.vmap, of one array."""
    f = jax.custom_batching.custom_vmap(lambda x: body(x))
    f.def_vmap(lambda size, is_batched, x: (body(x), True))
    return lambda x: f(x)


def recomputed(body, change=lambda args, dy, *grads: grads):
    """body with a backward that computes it again, as a checkpoint does.

    change(args, dy, *gradients) may spoil it.
    """
    return by_hand(
        body,
        lambda *args: tuple(change(args[:-1], args[-1], *jax.vjp(body, *args[:-1])[1](args[-1]))),
    )
