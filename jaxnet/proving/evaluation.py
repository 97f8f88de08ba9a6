"""Both graphs evaluated at the same points: what is equal."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from jaxnet import _graph
from jaxnet.proving import arithmetic, control, linear_algebra, reductions, windows
from jaxnet.proving.bound import chance_at_one_point, groups
from jaxnet.proving.derivatives import Problem, precision
from jaxnet.proving.field import differ
from jaxnet.proving.interpreter import Meter, Walk
from jaxnet.proving.numbers import Numbers
from jaxnet.proving.points import Points

# Importing them fills the tables.
HOLD_PRIMITIVES = (arithmetic, control, linear_algebra, reductions, windows)

ROOTS = ("sqrt", "rsqrt", "cbrt", "pow", "cholesky")
SMALL_CHANCE = 1e-15  # of a miss: so many points are taken
MOST_POINTS = 128
# Floats that are farther apart, in units of their leaf's largest, are different: in 64 bits, in 32
# where literals are of 32 bits or a function is computed in them, and in 16.
VISIBLE = {64: 1e-9, 32: 1e-4, 16: 0.1}


def same_infinity(a: Numbers, b: Numbers) -> Any:
    """Where both are the same infinity: no numbers, and yet equal."""
    return np.isinf(a.f) & (a.f == b.f) & ~a.ok.any(0) & ~b.ok.any(0)


@dataclass(frozen=True)
class Comparison:
    """One leaf in both graphs, at the same points."""

    rule: Numbers
    ref: Numbers
    different: Any  # at which elements, at some point
    compared: int  # points at which every element was compared
    chance: float  # that a leaf which differs looks equal

    def difference(self) -> Any:
        with np.errstate(invalid="ignore"):
            return self.rule.f - self.ref.f

    def undefined(self) -> Any:
        """Elements that are no number in both graphs at any point."""
        return ~(self.rule.ok & self.ref.ok).any(0) & ~same_infinity(self.rule, self.ref)

    def is_finite_in_one(self) -> Any:
        """Where one of the floats is finite, and the other is not."""
        return np.isfinite(self.rule.f) != np.isfinite(self.ref.f)

    def _are_finite(self) -> Any:
        return np.isfinite(self.rule.f) & np.isfinite(self.ref.f)

    def scale(self) -> float:
        """The largest of the floats."""
        at = self._are_finite()
        return float(max(np.abs(x.f[at]).max(initial=0.0) for x in (self.rule, self.ref)))

    def visible(self, bits: int, scale: float = 0.0, tolerated: float = 1.0) -> Any:
        """Where the floats differ by more than rounding in so many bits, and more than tolerated.

        scale: of the leaf, at least. tolerated: so many times what rounding may do.
        """
        scale = tolerated * max(scale, self.scale())
        return self._are_finite() & (np.abs(self.difference()) > VISIBLE[bits] * scale)


@dataclass(frozen=True)
class Evaluation:
    walk: Walk
    names: list[str]
    leaves: list[Comparison]
    bits: int  # of the narrowest float that was computed with

    def floats(self, name: str) -> Any:
        """Of the reference; a number where nothing has that name."""
        at = dict(zip(self.names, self.leaves, strict=True)).get(name)
        return 0.0 if at is None else at.ref.f


class At(NamedTuple):
    """The floats that decide branches, of a list of arrays each."""

    leaves: Sequence[Any]
    cotangents: Sequence[Any]
    tangents: Sequence[Any]


def evaluate(
    problem: Problem, at: At, count: int, seed: int, meter: Meter, noise: Any = None
) -> Evaluation:
    """At so many points. Raises Unprovable, also where it takes longer than the meter allows."""
    graphs = problem.rule, problem.ref
    points = Points(count, seed, has_roots=any(map(_has_roots, graphs)))
    walk = Walk(points, meter, noise=noise)
    unknowns = [walk.points.variables(x) for arrays in at for x in arrays]
    with precision(problem.is_wide):
        results = [walk.run(graph, unknowns) for graph in graphs]
    pairs = [(_numbers(walk, a), _numbers(walk, b)) for a, b in zip(*results, strict=True)]
    unequal = [_unequal(walk.points, a, b) for a, b in pairs]
    leaves = [_compared(walk.points, *pair, u) for pair, u in zip(pairs, unequal, strict=True)]
    return Evaluation(walk, problem.names, leaves, min(walk.bits, problem.bits))


def _has_roots(graph: Any) -> bool:
    return any(e.primitive.name in ROOTS for e, _ in _graph.equations(graph))


def _numbers(walk: Walk, x: Any) -> Numbers:
    return x if isinstance(x, Numbers) else walk.points.integers(np.asarray(x))


def _unequal(points: Points, a: Numbers, b: Numbers) -> Any:
    """[points, ...], where both are numbers."""
    unequal = differ(a.p, b.p) & a.ok & b.ok
    if unequal.any():  # equal too where their exponentials are
        same = ~differ(points.exponential(a), points.exponential(b)) & a.has_q & b.has_q
        unequal &= ~same
    return unequal


def _compared(points: Points, a: Numbers, b: Numbers, unequal: Any) -> Comparison:
    compared = np.where(same_infinity(a, b), points.count, (a.ok & b.ok).sum(0))
    count = int(compared.min(initial=points.count))
    roots = groups(points.radicands.values())
    at_one = chance_at_one_point(a.size.plus(b.size), points.exponents, roots)
    different = unequal.any(0) | (a.ok.any(0) != b.ok.any(0))
    return Comparison(a, b, different, count, at_one**count if count else 1.0)


def points_needed(evaluation: Evaluation, count: int) -> int:
    """So that a miss is as rare as it should be: 0 where no number of points would do."""
    chances = [leaf.chance ** (1 / max(leaf.compared, 1)) for leaf in evaluation.leaves]
    worst = max(chances, default=0.0)
    if worst >= 1:
        return 0
    if worst == 0:
        return count
    needed = math.ceil(math.log(SMALL_CHANCE) / math.log(worst)) + 1
    return needed if needed <= MOST_POINTS else 0
