"""Gradients very near a point: at a kink each of them, and what lies between, is as good as any.

Where three numbers are equal, their median is any of the three; moving one of them alone moves
nothing, and yet a rule that pays it is right. What such a rule may return shows beside the kink,
where the reference has a slope: the gradients there, and all between them.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from jaxnet.checking.arrays import Array, on_host, typical
from jaxnet.checking.bench import Bench, Look
from jaxnet.checking.cells import Cell
from jaxnet.checking.problem import Leaves

POINTS = 16
FEW_DIGITS = 1e-6  # an eps above this leaves no room between a kink and its neighbourhood
LARGE = 2**20  # elements: gradients of as many are kept for every point
DIFFERENT = 1e-3  # slopes of a smooth function differ by much less where points differ by FAR
FAR = 4  # times the root of eps: of that size is a way, and in float64 what it does to a slope


@dataclass(frozen=True)
class Beside:
    """The neighbourhood of one look, for one row of its cotangents."""

    bench: Bench
    cell: Cell
    look: Look
    row: int

    def gradients(self, ways: Sequence[Leaves]) -> list[Leaves]:
        """The reference's, a little way off; ways: like the leaves, in units of their sizes."""
        look, bench = self.look, self.bench
        if not is_known(bench, look):
            return []
        c, d = look.cs[self.row], look.cs[(self.row + 1) % len(look.cs)]
        found = []
        for way in ways:
            pairs = zip(look.x, way, strict=True)
            x = tuple(_moved(a, w, FAR * float(np.sqrt(bench.eps))) for a, w in pairs)
            found.append(bench.run_under(self.cell, x, c, d).ref[self.cell.key])
        return found

    def random_ways(self) -> list[Leaves]:
        """Every number goes its own way, and in one of them each part of its range."""
        rng = self.bench.stream("beside a kink")
        shapes = [np.shape(a) for a in self.look.x]
        first = [rng.integers(POINTS, size=s) for s in shapes]
        stride = [2 * rng.integers(POINTS // 2, size=s) + 1 for s in shapes]
        ways = []
        for n in range(POINTS):
            parts = [(f + n * s) % POINTS for f, s in zip(first, stride, strict=True)]
            ways.append(tuple((p + rng.uniform(size=p.shape)) * 2 / POINTS - 1 for p in parts))
        return ways


def is_known(bench: Bench, look: Look) -> bool:
    """Whether there are digits to tell the neighbourhood from the point, and room to keep it."""
    return bench.eps <= FEW_DIGITS and sum(a.size for a in look.x) <= LARGE


def _moved(x: Any, way: Any, far: float) -> Array:
    value = on_host(x)
    moved: Array = (value + far * typical(value) * way).astype(x.dtype)
    return moved


def is_tied(x: float, leaves: Leaves) -> bool:
    """Whether another element has the same value."""
    return sum(int(np.count_nonzero(on_host(a) == x)) for a in leaves) > 1


def is_between(value: float, slopes: Array, eps: float) -> bool:
    """Whether slopes differ from point to point, and the value lies between them."""
    if not slopes.size:
        return False
    low, high = float(slopes.min()), float(slopes.max())
    size, far = max(abs(low), abs(high)), FAR * np.sqrt(eps)
    is_kink = high - low > max(DIFFERENT, 64 * far) * size
    return bool(is_kink and low - far * size <= value <= high + far * size)
