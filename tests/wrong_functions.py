"""Wrong rules of a library that does not know jaxnet: they can be imported where it is missing."""

from typing import NamedTuple

import jax
import jax.numpy as jnp


def attached(body, backward):
    """body with backward(*arguments, cotangent) -> a cotangent for each argument."""
    f = jax.custom_vjp(body)
    f.defvjp(lambda *args: (body(*args), args), lambda args, dy: backward(*args, dy))
    return f


class Pair(NamedTuple):
    weight: jax.Array
    bias: jax.Array


opposite = attached(lambda x: jnp.sin(x), lambda x, dy: (-jnp.cos(x) * dy,))
loud = attached(lambda x: jnp.mean(x**2), lambda x, dy: (2 * x / x.size,))  # without its cotangent
clipped = attached(lambda x: jnp.sin(x), lambda x, dy: (jnp.clip(jnp.cos(x) * dy, -100, 100),))
not_finite = attached(  # 0 / 0 at 0
    lambda x: jnp.sqrt(1 + x**2), lambda x, dy: (dy * x**2 / (x * jnp.sqrt(1 + x**2)),)
)
tied = attached(lambda x: jnp.max(x), lambda x, dy: (dy * (x == jnp.max(x)),))
off_by_little = attached(lambda x: jnp.exp(x), lambda x, dy: (dy * jnp.exp(x) * (1 + 2e-5),))
rounding = attached(
    lambda x: 1 - 2 / (jnp.exp(2 * x) + 1),
    lambda x, dy: (dy * (1 - (1 - 2 / (jnp.exp(2 * x) + 1)) ** 2),),
)
in_complex = attached(lambda z: z**2, lambda z, dy: (dy * 2 * jnp.conj(z),))
far_out = attached(lambda x: x**2, lambda x, dy: (dy * jnp.where(jnp.abs(x) < 5, 2 * x, 10),))
with_labels = attached(
    lambda pair, labels: jnp.tanh(pair.weight) * labels + pair.bias,
    lambda pair, labels, dy: (Pair(dy * labels, dy), None),
)
gated = attached(
    lambda x, is_open: jnp.where(is_open, jnp.sin(x), jnp.cos(x)),
    lambda x, is_open, dy: (dy * jnp.cos(x), None),
)


def one_by(square):
    return square / square


of_no_size = attached(  # 0 / 0 where a square underflows
    lambda x: jnp.arctan(x), lambda x, dy: (dy * one_by(jnp.where(x == 0, 1, x**2)) / (1 + x**2),)
)
once = jax.custom_jvp(lambda x: jnp.sin(x))  # the first derivative is right, the second 0
once.defjvp(lambda x, t: (jnp.sin(*x), jax.lax.stop_gradient(jnp.cos(*x)) * t[0]))
shifted = jax.custom_jvp(lambda x: x**2)
shifted.defjvp(lambda x, t: (x[0] ** 2, 2 * x[0] * t[0] + 1.0))


def forward_of_another(x):
    return jnp.cos(x)


another = jax.custom_vjp(forward_of_another)
another.defvjp(lambda x: (jnp.cos(x) + 0.01, x), lambda x, dy: (-jnp.sin(x) * dy,))


# Wrong where the cotangent has a row of zeros, where one output's is 0, all but one of its numbers.
by_row = attached(
    lambda x: jnp.sin(x),
    lambda x, dy: (jnp.cos(x) * dy * jnp.where(jnp.any(jnp.all(dy == 0, -1)), jnp.nan, 1),),
)
of_both = attached(
    lambda x: (jnp.sin(x), x**2),
    lambda x, dy: (jnp.where(jnp.all(dy[0] == 0), 0, jnp.cos(x) * dy[0] + 2 * x * dy[1]),),
)
alone = attached(
    lambda x: jnp.sin(x),
    lambda x, dy: (jnp.cos(x) * dy * jnp.where(jnp.sum(dy != 0) == 1, 0.5, 1),),
)
largest_of_row = attached(
    lambda x: jnp.max(x, -1),
    lambda x, dy: (jnp.where(x == jnp.max(x, -1, keepdims=True), dy[:, None], 0),),
)


def wide(x):
    return opposite(x).sum(axis=1)


def line(x):
    return 2 * x
