r"""Dropout.  Each number is kept with probability q = 1 - rate, and divided by q to keep its mean.

    m ~ {0, 1}, P(m = 1) = q        y = m x / q        x̄ = m ȳ / q

Kept for the backward is the key, not m: the same key draws the same m again.  Inside one compiled
program XLA would see that the two draws are one expression, make it once and keep it from the
forward to the backward, which is what was to be avoided.  An optimization barrier ties the key of
the second draw to ȳ, so that it is not the same expression and cannot be made before ȳ is there
(jax.checkpoint does so too).

m compares 16 random bits with a threshold, two elements to each word that JAX draws: half the work
of jax.random.bernoulli, so that two draws cost what one does there.  The rate becomes a multiple of
2^-16, and q is that of the rate so rounded.  The same key drops the same elements whatever the
dtype of x, with JAX's x64 mode on or off.
"""

from typing import Any, cast

import jax
import jax.numpy as jnp
from jax import Array, lax

from jaxnet._require import number_or_nan, require_floating, widened
from jaxnet._rule import rule


@rule
def dropout(key: Array, x: Array, *, rate: float) -> Array:
    """x with each element set to 0 with probability rate, and the others divided by 1 - rate.

    To evaluate a network, leave dropout out.

    key: a JAX random key (jax.random.key, or the older PRNGKey).
    x: [...], floating.
    rate: in [0, 1), rounded to a multiple of 2^-16; with 0 nothing is drawn.
    Returns [...], in the dtype of x. The same key drops the same elements, whatever the dtype of x.
    Raises TypeError on integer arrays and on what is not a key, ValueError on a rate outside
        [0, 1).
    Source: Srivastava et al. 2014, "Dropout".

    >>> drop = lambda x: jaxnet.rules.dropout(jax.random.key(0), x, rate=0.5)
    >>> y = drop(jnp.ones(100))
    >>> print(jnp.unique(y))
    [0. 2.]
    >>> bool((jax.grad(lambda x: drop(x).sum())(jnp.ones(100)) == y).all())  # the same are dropped
    True
    """
    _require_key(key)
    require_floating("dropout", x=x)
    if not 0 <= number_or_nan(rate) < 1:
        raise ValueError(
            f"dropout: rate is the probability to drop, it must be in [0, 1), got {rate!r}"
        )
    return _drop(key, x, rate)


@dropout.forward
def dropout_forward(key: Array, x: Array, *, rate: float) -> tuple[Array, Array]:
    y = dropout.body(key, x, rate=rate)
    return y, key


@dropout.backward
def dropout_backward(key: Array, dy: Array, *, rate: float) -> tuple[None, Array]:
    # The barrier keeps XLA from making m once and storing it.
    key, dy = cast(Any, lax).optimization_barrier((key, dy))  # cast: it has no types
    return None, _drop(key, dy, rate)  # x̄ = m ȳ / q


def _drop(key: Array, x: Array, rate: float) -> Array:
    """m x / q."""
    if rate == 0:
        return x
    dropping = min(round(rate * 2**16), 2**16 - 1)  # as many of the 2^16 values of 16 bits
    q = 1 - dropping / 2**16
    m = _random_16_bits(key, x.shape) >= dropping
    return jnp.where(m, widened(x) / q, 0).astype(x.dtype)


def _random_16_bits(key: Array, shape: tuple[int, ...]) -> Array:
    """uint16 numbers of this shape, two of them from each word of 32 bits."""
    *rows, columns = shape or (1,)
    words = jax.random.bits(key, (*rows, -(-columns // 2)), jnp.uint32)
    halves = lax.bitcast_convert_type(words, jnp.uint16)  # [..., words, 2]
    bits = halves.reshape(*rows, 2 * words.shape[-1])
    return bits[..., :columns].reshape(shape)


def _require_key(key: Any) -> None:
    if not _is_key(key):
        got = jax.typeof(key) if isinstance(key, Array) else type(key).__name__
        raise TypeError(
            f"dropout: key must be one JAX random key, such as jax.random.key(0), got {got}; "
            f"x is the second argument"
        )


def _is_key(key: Any) -> bool:
    if not isinstance(key, Array):
        return False
    if jnp.issubdtype(key.dtype, jax.dtypes.prng_key):  # jax.random.key
        return key.ndim == 0
    return key.ndim == 1 and key.dtype == jnp.uint32  # jax.random.PRNGKey
