"""The arbiter: finite differences with an error bar of their own.

Along one coordinate, or along a line through several, the function is taken at x ± h for a ladder
of steps, each a quarter of the one before. Central differences C(h) have an error in h², so
R(h) = C(h/4) + (C(h/4) - C(h)) / 15 has one in h⁴; one-sided differences S(h) likewise give
S(h/4) + (S(h/4) - S(h)) / 3. The bar of an estimate is how far it is from the one before it on the
ladder, plus what rounding the function's values may do to it; the estimate with the smallest bar
counts. Where the two one-sided derivatives differ by more than their bars, the point is a kink.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

from jaxnet.checking.cells import Point
from jaxnet.checking.problem import Function, Leaves, eps_of

# From an eighth of the typical size of a leaf down to a 4⁻¹³ of that, 2e-9: where the function is
# rough, small steps serve, where it is rounded, large ones.
RUNGS = 14
SAFETY = 4.0  # a bar from two neighbours on the ladder may be small by luck


class Step(NamedTuple):
    """What the function does over one step h from x, to each side."""

    up: Any  # x + h - x, as the dtype has it
    down: Any
    plus: Any  # the change of Σ c f on that side
    plus_size: Any  # the size of what was rounded in it
    minus: Any
    minus_size: Any


@dataclass(frozen=True)
class Slopes:
    """The derivative along a line, each with its bar (inf where no step was of use)."""

    central: float
    bar: float
    left: float
    left_bar: float
    right: float
    right_bar: float
    scale: float = 0.0  # of the one-sided slopes over the largest step, and above what is rounded

    @property
    def resolved(self) -> bool:
        return bool(np.isfinite(self.bar))

    @property
    def kink(self) -> bool:
        # Twice what the bars explain: to call a smooth point a kink would excuse a wrong rule.
        gap = abs(self.right - self.left)
        return bool(np.isfinite(gap) and gap > 2 * (self.left_bar + self.right_bar))

    @property
    def is_finite(self) -> bool:
        """Whether the slope to each side is known to be finite: that of a root at 0 is not."""
        sides = [(self.left, self.left_bar), (self.right, self.right_bar)]
        return all(bar <= max(abs(slope), self.scale) / 4 for slope, bar in sides)

    def between(self, value: float) -> bool:
        """Whether the value lies between the one-sided derivatives."""
        low = min(self.left - self.left_bar, self.right - self.right_bar)
        high = max(self.left + self.left_bar, self.right + self.right_bar)
        return bool(low <= value <= high)

    def holds(self, value: float) -> bool:
        return bool(abs(value - self.central) <= self.bar)


# Where f raises beside the point: no step can be taken.
UNTAKEN = Slopes(np.nan, np.inf, np.nan, np.inf, np.nan, np.inf)

# (row of the cotangents, number of the element in its leaf) -> the derivative there
Arbiter: TypeAlias = Callable[[int, int], Slopes]


def ladder(function: Function) -> Callable[..., Step]:
    """(point, number of the element among all leaves', first step) -> the steps at every rung.

    And, where it is known, the size of what is rounded in each output.
    """

    def steps(point: Point, at: Any, first: Any, sizes: Leaves | None = None) -> Step:
        flat = _flatten(point.leaves)
        x = flat[at]

        def moved(h: Any) -> tuple[Any, Any]:
            return flat.at[at].set(x + h), x + h - x

        return _climb(function, point, Way(moved, x, first), sizes)

    return steps


def ladder_along(function: Function) -> Callable[..., Step]:
    """(point, a number for each element of all leaves) -> the steps, from that far to each side."""

    def steps(point: Point, direction: Any, sizes: Leaves | None = None) -> Step:
        flat = _flatten(point.leaves)
        farthest = jnp.max(jnp.abs(jnp.where(direction == 0, 0, flat)))

        def moved(h: Any) -> tuple[Any, Any]:
            return flat + h * direction, h

        return _climb(function, point, Way(moved, farthest, jnp.ones((), flat.dtype)), sizes)

    return steps


class Way(NamedTuple):
    """moved: a step -> all elements there, and how far that is. x: the size of what is moved."""

    moved: Callable[[Any], tuple[Any, Any]]
    x: Any
    first: Any  # step


def _climb(function: Function, point: Point, way: Way, sizes: Leaves | None) -> Step:
    moved, x, first = way
    leaves, others, cotangents = point
    flat = _flatten(leaves)
    c = [jnp.ravel(c).astype(flat.dtype) for c in cotangents]

    def values_at(flat: Any) -> list[Any]:
        values, _ = function(_unflatten(flat, leaves), others)
        return [jnp.ravel(v).astype(flat.dtype) for v in values]

    here = values_at(flat)
    own = map(jnp.abs, here)
    size_here = list(own if sizes is None else (jnp.ravel(s).astype(flat.dtype) for s in sizes))

    def step(h: Any) -> Step:
        (above, up), (below, down) = moved(h), moved(-h)
        # One after the other: where x is large, both at once would take twice the memory.
        change, size = jax.lax.map(
            lambda there: _change(here, size_here, values_at(there), c, x),
            jnp.stack([above, below]),
        )
        return Step(up, -down, change[0], size[0], change[1], size[1])

    every: Step = jax.lax.map(step, first * 4.0 ** -jnp.arange(RUNGS, dtype=flat.dtype))
    return every


def _flatten(leaves: Leaves) -> Any:
    dtype = jnp.result_type(*(leaf.dtype for leaf in leaves))
    return jnp.concatenate([jnp.ravel(leaf).astype(dtype) for leaf in leaves])


def _unflatten(flat: Any, leaves: Leaves) -> Leaves:
    ends = np.cumsum([leaf.size for leaf in leaves])[:-1]
    parts = jnp.split(flat, ends)
    return tuple(p.reshape(x.shape).astype(x.dtype) for p, x in zip(parts, leaves, strict=True))


def _change(here: Any, sizes: Any, there: Any, c: Any, x: Any) -> tuple[Any, Any]:
    """Σ c f there, less that here; and the size of what may have been rounded in it."""
    change = size = largest = weight = jnp.zeros((), x.dtype)
    for a, s, b, w in zip(here, sizes, there, c, strict=True):
        same = (a == b) | (jnp.isnan(a) & jnp.isnan(b))
        change += jnp.sum(jnp.where(same, 0, w * (b - a)))
        # What is 0 here, with nothing that could be rounded in it, is rounded there.
        rounded = jnp.maximum(s, jnp.abs(b - a))
        size += jnp.sum(jnp.where(same, 0, jnp.abs(w) * rounded))
        finite = jnp.where(jnp.isfinite(a), jnp.abs(w) * s, 0)
        largest = jnp.maximum(largest, jnp.max(finite, initial=0))
        weight = jnp.maximum(weight, jnp.max(jnp.abs(w), initial=0))
    # Where nothing moves, an output may still be rounded, and so may what it was computed from.
    least = jnp.where(change == 0, jnp.maximum(largest, weight * jnp.abs(x)), largest)
    return change, jnp.maximum(size, least)


def slopes(measured: Step, eps: float) -> Slopes:
    """From what `ladder` gave. eps: of the dtype in which the function computes."""
    up, down, plus, plus_size, minus, minus_size = (np.asarray(m, np.float64) for m in measured)
    with np.errstate(all="ignore"):
        noise = 4 * eps * np.maximum(plus_size, minus_size)  # a few operations, each half an eps
        central = _extrapolate((plus - minus) / (up + down), 15, 2 * noise / (up + down))
        right = _extrapolate(plus / up, 3, noise / up)
        left = _extrapolate(-minus / down, 3, noise / down)
        sizes = [np.abs(plus), np.abs(minus), np.sqrt(eps) * plus_size, np.sqrt(eps) * minus_size]
        scale = max(float(size[0] / up[0]) for size in sizes)
    return Slopes(*central, *left, *right, scale)


def _extrapolate(
    d: NDArray[np.float64], divisor: int, noise: NDArray[np.float64]
) -> tuple[float, float]:
    """The best estimate on the ladder and its bar; NaN and inf where there is none."""
    better = d[1:] + (d[1:] - d[:-1]) / divisor
    bars = np.abs(better[1:] - better[:-1]) + noise[2:]
    bars = np.where(np.isfinite(bars) & np.isfinite(better[1:]), bars, np.inf)
    best = int(np.argmin(bars))
    if not np.isfinite(bars[best]):
        return np.nan, np.inf
    return float(better[1 + best]), SAFETY * float(bars[best])


def smooth_slope(measured: Step) -> Any:
    """The central slope that `slopes` gives, inside a program; NaN at a kink, or without one."""
    up, down = measured.up, measured.down
    noise = 4 * eps_of(up.dtype) * jnp.maximum(measured.plus_size, measured.minus_size)
    central, _ = _extrapolated(
        (measured.plus - measured.minus) / (up + down), 15, 2 * noise / (up + down)
    )
    right, right_bar = _extrapolated(measured.plus / up, 3, noise / up)
    left, left_bar = _extrapolated(-measured.minus / down, 3, noise / down)
    is_kink = jnp.abs(right - left) > 2 * (left_bar + right_bar)
    return jnp.where(is_kink, jnp.nan, central)


def _extrapolated(d: Any, divisor: int, noise: Any) -> tuple[Any, Any]:
    """As `_extrapolate` does, inside a program."""
    better = d[1:] + (d[1:] - d[:-1]) / divisor
    bars = jnp.abs(better[1:] - better[:-1]) + noise[2:]
    bars = jnp.where(jnp.isfinite(bars) & jnp.isfinite(better[1:]), bars, jnp.inf)
    best = jnp.argmin(bars)
    return jnp.where(jnp.isfinite(bars[best]), better[1 + best], jnp.nan), SAFETY * bars[best]
