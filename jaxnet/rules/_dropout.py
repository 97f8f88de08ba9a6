r"""Dropout.  Each number is kept with probability q = 1 - rate, and divided by q to keep its mean.

    m ~ {0, 1}, P(m = 1) = q        y = m x / q        x̄ = m ȳ / q

Kept for the backward is the key, not m: the same key draws the same m again.  Inside one compiled
program XLA would see that the two draws are one expression, make it once and keep it from the
forward to the backward, which is what was to be avoided.  An optimization barrier ties the key of
the second draw to ȳ, so that it is not the same expression and cannot be made before ȳ is there
(jax.checkpoint does so too).

m compares 16 random bits with a threshold.  One block of Threefry 2x32, the generator behind JAX's
own keys, has 64: it serves four elements, where jax.random.bernoulli makes a block for each.  So
two draws take half the work of one there.  Column i of row n has the bits i mod 4 of the block with
the counter (n, i // 4): each element asks for its block, and the compiler sees that four neighbours
ask for the same one.  So nothing but x and y goes through memory, on a CPU and on a GPU.

The rate becomes a multiple of 2^-16, and q is that of the rate so rounded.  The same key drops the
same elements whatever the dtype of x, with JAX's x64 mode on or off.
"""

import math
from typing import Any, cast

import jax
import jax.numpy as jnp
import numpy as np
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
        [0, 1) and on an x of more than 2^32 rows.
    Source: Srivastava et al. 2014, "Dropout"; the generator: Salmon et al. 2011, "Parallel random
        numbers: as easy as 1, 2, 3".

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
    if math.prod(x.shape[:-1]) > 2**32:
        raise ValueError(
            f"dropout: x must have at most 2^32 rows, got shape {x.shape}; "
            f"drop parts of it, each with a key of its own"
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
    """Numbers below 2^16, as uint32: four of each block, the low half of a word first."""
    *rows, columns = shape or (1,)
    blocks = *rows, -(-columns // 4), 4
    # Of iotas in place, not of one that is reshaped: rows that are divided over devices stay there.
    *numbers, block, quarter = (
        lax.broadcasted_iota(jnp.uint32, blocks, axis) for axis in range(len(blocks))
    )
    strides = (np.uint32(math.prod(rows[d + 1 :])) for d in range(len(rows)))
    row = sum((n * stride for n, stride in zip(numbers, strides, strict=True)), np.uint32(0))

    key_words = jax.random.bits(key, (2,), jnp.uint32)  # whatever the generator of key is
    first, second = _threefry(key_words, row, block)
    word = jnp.where(quarter < 2, first, second)
    bits = (word >> 16 * (quarter % 2)) & 0xFFFF
    return bits.reshape(*rows, 4 * blocks[-2])[..., :columns].reshape(shape)


@jax.jit
def _threefry(key_words: Array, row: Array, block: Array) -> tuple[Array, Array]:
    """The two words of Threefry 2x32, of 20 rounds, for the counter (row, block)."""
    k0, k1 = key_words
    keys = k0, k1, k0 ^ k1 ^ np.uint32(0x1BD11BDA)
    a, b = row + k0, block + k1
    for r in range(20):
        turn = (13, 15, 26, 6, 17, 29, 16, 24)[r % 8]
        a = a + b
        b = a ^ (b << turn | b >> 32 - turn)
        if r % 4 == 3:
            n = r // 4 + 1
            a, b = a + keys[n % 3], b + keys[(n + 1) % 3] + np.uint32(n)
    return a, b


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
