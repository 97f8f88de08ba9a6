"""Small questions about NumPy arrays, said once."""

from collections.abc import Sequence
from typing import Any, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

Array: TypeAlias = NDArray[Any]

FEW_DIGITS = 1e-6  # an eps above this is that of float16 or bfloat16
OF_8_BITS = 0.05  # and above this of a float8


def on_host(x: Any) -> Array:
    """Floating arrays in float64, the others as they are."""
    array = np.asarray(x)
    return array.astype(np.float64) if jnp.issubdtype(x.dtype, jnp.inexact) else array


def times(x: Any, factor: Any) -> Array:
    """x times factor, computed in float64, in the dtype of x."""
    product: Array = (np.asarray(x, np.float64) * factor).astype(x.dtype)
    return product


def same(a: Array, b: Array) -> Array:
    """Where both are equal, or both are NaN."""
    both: Array = (a == b) | (np.isnan(a) & np.isnan(b))
    return both


def device() -> Any:
    """On which what is run here runs: a jax.Device."""
    chosen = jax.config.jax_default_device
    if isinstance(chosen, str):
        return jax.devices(chosen)[0]
    return jax.devices()[0] if chosen is None else chosen


def on_cpu() -> bool:
    return bool(device().platform == "cpu")


def same_twice(a: Array, b: Array, eps: float, natural: float = 0.0) -> bool:
    """Whether two runs gave the same: on a CPU to the bit.

    Elsewhere a sum may be of another order each time, as that of a scatter is on a GPU: half of the
    digits are allowed, and 64 eps of the natural size of a slope.
    """
    if on_cpu():
        return bool(same(a, b).all())
    allowed = np.sqrt(eps) * largest(a) + 64 * eps * natural
    with np.errstate(all="ignore"):
        return bool((same(a, b) | (np.abs(a - b) <= allowed)).all())


def distance(a: Array, b: Array) -> Array:
    """|a - b|, 0 where both are the same infinity or NaN."""
    with np.errstate(all="ignore"):
        far: Array = np.where(same(a, b), 0, np.abs(a - b))
    return far


def spread(moved: Sequence[Array], t: Array) -> Array:
    """Element by element, how far t moves at most when its inputs do: its noise."""
    distances = [np.zeros_like(t), *(distance(m, t) for m in moved)]
    with np.errstate(all="ignore"):
        farthest: Array = np.max(np.stack(distances), axis=0)
    return farthest


def size_of_terms(t: Array, moved: Sequence[Array], eps: float) -> Array:
    """The size of what is rounded in each number: its own, or of what cancels in it.

    That shows as its inputs move by an eps; where a number moves by half of the digits of the
    largest, or of 1, it jumps, and nothing is known.
    """
    noise, own = spread(moved, t), np.where(np.isfinite(t), np.abs(t), 0)
    is_jump = ~(noise <= np.sqrt(eps) * max(largest(t), 1.0))
    size: Array = np.fmax(own, np.where(is_jump, 0, noise / eps))
    return size


def largest(t: Array) -> float:
    """The largest finite |t|; 0 where there is none."""
    return float(np.max(np.abs(t), initial=0, where=np.isfinite(t)))


def typical(value: Array) -> float:
    """The size of an array's finite numbers, their root mean square; 1 where they are all 0."""
    finite = np.asarray(value, np.float64)[np.isfinite(value)]
    return float(np.sqrt(np.mean(finite**2))) if finite.any() else 1.0


def unit_of(t: Array, eps: float) -> float:
    """What errors are counted in: eps of the largest element."""
    return eps * max(largest(t), np.finfo(float).tiny)


def index_of(i: int, shape: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(map(int, np.unravel_index(i, shape)))


def worst_of(error: Array, bad: Array) -> int:
    """Number of the element with the largest error among the bad ones."""
    return int(np.argmax(np.where(bad, error, -1)))


def tolerance(t: Array, noise: Array | float, eps: float) -> Array:
    """How far an element may be from t without anything being asked.

    sqrt(eps) |t|    half of the digits: a fault in the mathematics changes more than that, and
                     rounding, in a long sum too, less;
    64 noise         t itself moves by that much when its inputs move by one eps: 64 is the room for
                     a rule that sums in another order;
    4096 eps max|t|  small elements of a leaf come from the cancellation of large ones.

    Of 16 bits that would be more than all of t: there it is 8 noise and 64 eps max|t|; of 8 bits
    each of these once.
    """
    half_the_digits = np.sqrt(eps) * np.abs(t)
    of_noise, of_largest = 64, 4096
    if eps > FEW_DIGITS:
        of_noise, of_largest = (8, 64) if eps < OF_8_BITS else (1, 1)
    with np.errstate(all="ignore"):
        allowed: Array = np.fmax(half_the_digits, np.multiply(of_noise, noise))
    return np.fmax(allowed, of_largest * eps * largest(t))
