"""The arbiter: finite differences with an error bar of their own.

Along one coordinate the function is taken at x ± h for a ladder of steps, each a quarter of the one before. Central
differences C(h) have an error in h², so R(h) = C(h/4) + (C(h/4) - C(h)) / 15 has one in h⁴; one-sided differences S(h)
likewise give S(h/4) + (S(h/4) - S(h)) / 3. The bar of an estimate is how far it is from the one before it on the
ladder, plus what rounding the function's values may do to it; the estimate with the smallest bar counts. Where the two
one-sided derivatives differ by more than their bars, the point is a kink.
"""

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

from jaxnet.checking.problem import Function, Leaves

RUNGS = 14
SAFETY = 4.0  # a bar from two neighbours on the ladder may be small by luck


@dataclass(frozen=True)
class Slopes:
    """The derivative along one coordinate, each with its bar (inf where no step was of use)."""

    central: float
    bar: float
    left: float
    left_bar: float
    right: float
    right_bar: float

    @property
    def resolved(self) -> bool:
        return bool(np.isfinite(self.bar))

    @property
    def kink(self) -> bool:
        gap = abs(self.right - self.left)
        return bool(np.isfinite(gap) and gap > 2 * (self.left_bar + self.right_bar))

    def between(self, value: float) -> bool:
        """Whether the value lies between the one-sided derivatives."""
        low = min(self.left - self.left_bar, self.right - self.right_bar)
        high = max(self.left + self.left_bar, self.right + self.right_bar)
        return bool(low <= value <= high)

    def holds(self, value: float) -> bool:
        return bool(abs(value - self.central) <= self.bar)


def ladder(function: Function) -> Any:
    """(leaves, others, cotangents, number of the element among all, first step) -> differences at every rung."""

    def differences(leaves: Leaves, others: Leaves, cotangents: Leaves, at: Any, first: Any) -> Any:
        sizes = np.cumsum([0] + [leaf.size for leaf in leaves])
        dtype = jnp.result_type(*(leaf.dtype for leaf in leaves))
        flat = jnp.concatenate([jnp.ravel(leaf).astype(dtype) for leaf in leaves])

        def outputs(x: Any) -> tuple[Any, Any]:
            moved = flat.at[at].set(x)
            parts = [
                moved[a:b].reshape(leaf.shape).astype(leaf.dtype)
                for a, b, leaf in zip(sizes[:-1], sizes[1:], leaves, strict=True)
            ]
            values, _ = function(tuple(parts), others)
            return [jnp.ravel(v).astype(dtype) for v in values], [
                jnp.ravel(c).astype(dtype) for c in cotangents
            ]

        x = flat[at]
        here, c = outputs(x)

        def at_step(h: Any) -> Any:
            def one_side(moved: Any) -> Any:
                there, _ = outputs(moved)
                change = size = largest = flat = jnp.zeros((), dtype)
                for a, b, w in zip(here, there, c, strict=True):
                    same = (a == b) | (jnp.isnan(a) & jnp.isnan(b))
                    change += jnp.sum(jnp.where(same, 0, w * (b - a)))
                    size += jnp.sum(jnp.where(same, 0, jnp.abs(w * a)))
                    largest = jnp.maximum(
                        largest, jnp.max(jnp.where(jnp.isfinite(a), jnp.abs(w * a), 0), initial=0)
                    )
                    flat = jnp.maximum(flat, jnp.max(jnp.abs(w), initial=0))
                # Where nothing moves, an output may still be rounded, and so may what it was computed from.
                least = jnp.where(change == 0, jnp.maximum(largest, flat * jnp.abs(x)), largest)
                return change, jnp.maximum(size, least)

            plus, minus = x + h, x - h
            return (plus - x, x - minus, *one_side(plus), *one_side(minus))

        return jax.lax.map(at_step, first * 4.0 ** -jnp.arange(RUNGS, dtype=dtype))

    return differences


def slopes(measured: Any, eps: float) -> Slopes:
    """From what `ladder` gave. eps: of the dtype in which the function computes."""
    with np.errstate(all="ignore"):
        up, down, plus, plus_size, minus, minus_size = (np.asarray(m, np.float64) for m in measured)
        noise = 4 * eps * np.maximum(plus_size, minus_size)
        central = _extrapolate((plus - minus) / (up + down), 15, 2 * noise / (up + down))
        right = _extrapolate(plus / up, 3, noise / up)
        left = _extrapolate(-minus / down, 3, noise / down)
    return Slopes(*central, *left, *right)


def _extrapolate(
    d: NDArray[np.float64], divisor: int, noise: NDArray[np.float64]
) -> tuple[float, float]:
    better = d[1:] + (d[1:] - d[:-1]) / divisor
    bars = np.abs(better[1:] - better[:-1]) + noise[2:]
    bars = np.where(np.isfinite(bars) & np.isfinite(better[1:]), bars, np.inf)
    best = int(np.argmin(bars))
    return (
        (float(better[1 + best]), SAFETY * float(bars[best]))
        if np.isfinite(bars[best])
        else (np.nan, np.inf)
    )
