"""Blocks of a large array, their sums, and numbers that look random without being stored."""

from typing import Any

import jax
import jax.numpy as jnp

BLOCKS = 61


def in_blocks(x: Any) -> tuple[Any, Any]:
    """[blocks, elements of one], and the few that are left over."""
    flat = x.ravel()
    length = flat.size // BLOCKS
    return flat[: BLOCKS * length].reshape(BLOCKS, length), flat[BLOCKS * length :]


def spread_over_blocks(s: Any, size: int) -> Any:
    """Each number for all elements of its block, the last for those that are left over too."""
    length = size // BLOCKS
    head = jnp.broadcast_to(s[:, None], (BLOCKS, length)).ravel()
    return jnp.concatenate([head, jnp.broadcast_to(s[-1], (size - head.size,))])


def elements_of_block(i: int, size: int) -> range:
    length = size // BLOCKS
    return range(i * length, size if i == BLOCKS - 1 else (i + 1) * length)


def block_sums(y: Any, start: Any) -> Any:
    """The weighted sum of each block."""
    wide = at_least_float32(y.dtype)
    head, tail = in_blocks(y.astype(wide) * _signs_and_powers(start, y.size, wide))
    return head.sum(axis=1).at[-1].add(tail.sum()).astype(y.dtype)


def block_sums_of_finite(y: Any, start: Any) -> Any:
    """Of what is finite alone; and NaN while some of it is not, for that must be seen."""
    is_finite = jnp.isfinite(y)
    sums = block_sums(jax.lax.select(is_finite, y, jnp.zeros_like(y)), start)
    flag = jnp.zeros((), y.dtype) / jnp.all(is_finite).astype(y.dtype)
    return jnp.append(sums, flag)


def checksum(y: Any, start: Any) -> Any:
    """Of numbers that are not floating."""
    return jnp.sum(y.astype(jnp.uint32) * _hashed(start, y.size), dtype=jnp.uint32)


def random_numbers(start: Any, size: int, dtype: Any) -> Any:
    """In (-1, 1)."""
    bits = (_hashed(start, size) >> 9).astype(dtype)
    return (bits + 0.5) * 2.0**-22 - 1


def _signs_and_powers(start: Any, size: int, dtype: Any) -> Any:
    """±1, ±1/2, ±1/4 or ±1/8."""
    h = _hashed(start, size)
    sign, half, quarter = (((h >> bit) & 1).astype(dtype) for bit in (7, 8, 9))
    return (1 - 2 * sign) * (1 - 0.5 * half) * (1 - 0.75 * quarter)


def _hashed(start: Any, size: int) -> Any:
    """32 bits for each number from start on, mixed as MurmurHash3 does at its end."""
    h = jax.lax.iota(jnp.uint32, size) + start
    for shift, factor in ((16, 0x85EBCA6B), (13, 0xC2B2AE35)):
        h = (h ^ (h >> shift)) * jnp.uint32(factor)
    return h ^ (h >> 16)


def at_least_float32(dtype: Any) -> Any:
    return jnp.promote_types(dtype, jnp.float32)
