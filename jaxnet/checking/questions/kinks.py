"""Is the rule a derivative along several kinks at once?

Of max, each of two equal elements may be paid anything between 0 and the whole cotangent, for each
is at a kink. Along both together max has a slope, the cotangent, and a rule that pays it to each is
wrong. So what the arbiter called a kink is looked at again, together with what it goes with.

Two elements go together where the slope along both is not the sum of their slopes: zeros of a relu
do not, and are left alone. Along those that do, all of them, pairs, and with random signs, the rule
must lie between the one-sided slopes. Where these do not hold all slopes very near the point, as of
a sort, it may also lie between those, or as far beyond them again: not every one of them is met.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from jaxnet.checking.arbiter import Slopes, slopes
from jaxnet.checking.arrays import Array, index_of, on_host
from jaxnet.checking.bench import Bench, Look, first_steps
from jaxnet.checking.findings import Finding, Question, Verdict
from jaxnet.checking.nearby import Beside, is_known
from jaxnet.checking.problem import Leaves
from jaxnet.checking.questions.algebra import Algebra

SEEDS = 4  # kinks from which others are sought
PARTNERS = 16  # for each, half of them the nearest
SIGNS = 4  # random ones
SLACK = 1e-6  # of what is added up: a fault in how ties are paid is of the size of the cotangent


def ask(bench: Bench, look: Look, algebra: Algebra) -> Algebra:
    """What is wrong along several kinks takes the place of what was found of the leaf."""
    # Hundreds of lines are walked: minutes where one run takes a second.
    if bench.problem.is_long or not any(algebra.kinks) or not is_known(bench, look):
        return algebra
    findings = list(algebra.findings)
    pairs = zip(bench.problem.names, algebra.kinks, strict=True)
    kinks = [[] if name in bench.problem.wholes else found for name, found in pairs]
    for finding, k in _wrong(_lines(bench, look), kinks):
        if findings[k].verdict is not Verdict.WRONG:
            findings[k] = finding
    return replace(algebra, findings=findings)


def of_leaf(bench: Bench, look: Look, k: int, numbers: Sequence[int]) -> Finding | None:
    """What is wrong along several kinks together, these numbers of leaf k among them."""
    if not numbers or not is_known(bench, look):
        return None
    kinks = [numbers if j == k else [] for j in range(len(look.x))]
    return next((finding for finding, _ in _wrong(_lines(bench, look), kinks)), None)


class Line(NamedTuple):
    """Which elements it moves and by how much, and the slopes along it."""

    elements: Array
    sizes: Array
    slopes: Slopes


@dataclass(frozen=True)
class Lines:
    """Lines through one point. Elements are numbered through all leaves."""

    bench: Bench
    look: Look
    rule: Array  # of the first cotangent, all leaves in one
    ref: Array
    x: Array
    steps: Array  # by element, the first step to take

    def along(self, elements: Sequence[int], signs: Array) -> Line:
        bench, moved = self.bench, np.array(elements)
        sizes = signs * self.steps[moved]
        direction = np.zeros(self.x.size, bench.programs.dtype)
        direction[moved] = sizes
        point = bench.point(bench.plain, self.look, 0)
        step = bench.programs.ladder_along(bench.plain, point, direction)
        return Line(moved, sizes, slopes(step, bench.value_eps))


def _lines(bench: Bench, look: Look) -> Lines:
    key, run = bench.plain.key, look.runs[0]
    x = [on_host(a) for a in look.x]
    for k, name in enumerate(bench.problem.names):
        if name in bench.problem.wholes:
            x[k] = np.full_like(x[k], np.nan)  # what is tied to it is many elements
    steps = [first_steps(a) for a in x]
    rule, ref, every, first = (
        np.concatenate([np.ravel(a) for a in arrays])
        for arrays in (run.rule[key], run.ref[key], x, steps)
    )
    return Lines(bench, look, rule, ref, every, first)


# -- which elements go together


def _wrong(lines: Lines, kinks: Sequence[Sequence[int]]) -> Iterator[tuple[Finding, int]]:
    """Findings, and the numbers of their leaves. kinks: by leaf."""
    rng = lines.bench.stream("kinks")
    before = np.cumsum([0, *(a.size for a in lines.look.x)])
    numbers = [int(before[k]) + i for k, found in enumerate(kinks) for i in found]
    for seed in _some(numbers, 1 if lines.bench.problem.wholes else SEEDS, rng):
        pairs = _Pairs(lines, seed)
        others = _partners(lines, seed, numbers, rng)
        outside = _outside(lines, _directions(pairs, others, rng))
        if outside:
            leaf = int(np.searchsorted(before, seed, side="right")) - 1
            yield _finding(lines, outside, seed - int(before[leaf]), leaf), leaf


def _some(numbers: Sequence[int], count: int, rng: np.random.Generator) -> list[int]:
    if len(numbers) <= count:
        return list(numbers)
    return sorted(rng.choice(numbers, count, replace=False).tolist())


def _partners(lines: Lines, seed: int, kinks: Sequence[int], rng: np.random.Generator) -> list[int]:
    """Other kinks, and the equals of this one: of two that are tied one may agree with autodiff."""
    equals = np.flatnonzero(np.abs(lines.x) == np.abs(lines.x[seed]))
    others = np.setdiff1d(np.union1d(kinks, equals), [seed])
    nearest = others[np.argsort(np.abs(others - seed), kind="stable")][: PARTNERS // 2]
    rest = np.setdiff1d(others, nearest)
    return [*nearest.tolist(), *_some(rest.tolist(), PARTNERS // 2, rng)]


class _Pairs:
    """A kink, alone and beside others."""

    def __init__(self, lines: Lines, seed: int) -> None:
        self.lines, self.seed = lines, seed
        self.alone = lines.along([seed], np.ones(1)).slopes

    def with_partner(self, other: int) -> tuple[bool, list[Line]]:
        """Whether the two go together; and the two lines through both."""
        one, two = self.alone, self.lines.along([other], np.ones(1)).slopes
        signs = np.array([1.0, 1.0]), np.array([1.0, -1.0])
        same, opposite = (self.lines.along([self.seed, other], s) for s in signs)
        sums = (same.slopes, two), (opposite.slopes, _turned(two))
        go_together = any(_differ(both, one, second) for both, second in sums)
        return go_together, [same, opposite]


def _turned(s: Slopes) -> Slopes:
    """Along the same line the other way."""
    return Slopes(-s.central, s.bar, -s.right, s.right_bar, -s.left, s.left_bar, s.scale)


def _differ(both: Slopes, one: Slopes, two: Slopes) -> bool:
    """Whether the slopes along both are not the sums of theirs, by more than bars explain."""
    if not (both.is_finite and one.is_finite and two.is_finite):
        return False
    rights = abs(both.right - one.right - two.right), both.right_bar + one.right_bar + two.right_bar
    lefts = abs(both.left - one.left - two.left), both.left_bar + one.left_bar + two.left_bar
    slack = SLACK * max(both.scale, one.scale, two.scale)
    return any(gap > 2 * bars + slack for gap, bars in (rights, lefts))


def _directions(pairs: _Pairs, others: Sequence[int], rng: np.random.Generator) -> list[Line]:
    """Through all that go together, with signs, then through pairs."""
    lines, group, through_pairs = pairs.lines, [pairs.seed], []
    for other in others:
        go_together, two_lines = pairs.with_partner(other)
        if go_together:
            group.append(other)
            through_pairs += two_lines
    if len(group) == 1:
        return []
    signs = [rng.choice([-1.0, 1.0], len(group)) for _ in range(SIGNS if len(group) > 2 else 0)]
    return [*(lines.along(group, s) for s in (np.ones(len(group)), *signs)), *through_pairs]


# -- is the rule a slope there?


def _outside(lines: Lines, together: Sequence[Line]) -> Line | None:
    """A line along which the rule is no slope, and autodiff is one, where it has one at all."""
    suspects = [line for line in together if _is_outside(lines.rule, line, _bounds(lines, line))]
    gradients = _gradients_beside(lines, together) if suspects else []
    for line in suspects if gradients else []:
        bounds = _bounds_beside(lines, line, together, gradients)
        outside = (_is_outside(gradient, line, bounds) for gradient in (lines.rule, lines.ref))
        if tuple(outside) == (True, False):
            return line
    return None


def _bounds_beside(
    lines: Lines, line: Line, together: Sequence[Line], gradients: Sequence[Array]
) -> tuple[float, float]:
    """Of the line: the one-sided slopes, if those of all lines hold all that there is nearby."""
    bounds = _bounds(lines, line)
    if all(_holds_all(other, _bounds(lines, other), gradients) for other in together):
        return bounds
    return _widened(bounds, [_along(g, line) for g in gradients])


def _gradients_beside(lines: Lines, together: Sequence[Line]) -> list[Array]:
    """Of all leaves in one, where what any of the lines moves is a little way off, and finite."""
    moved = np.zeros(lines.x.size, bool)
    moved[np.concatenate([line.elements for line in together])] = True
    beside = Beside(lines.bench, lines.bench.plain, lines.look, 0)
    found = beside.gradients([_only(moved, way) for way in beside.random_ways()])
    gradients = [np.concatenate([np.ravel(a) for a in g]) for g in found]
    return [g for g in gradients if np.isfinite(g[moved]).all()]


def _along(gradient: Array, line: Line) -> float:
    return float(gradient[line.elements] @ line.sizes)


def _is_outside(gradient: Array, line: Line, bounds: tuple[float, float]) -> bool:
    """False where one of them is not finite."""
    along = _along(gradient, line)
    return line.slopes.is_finite and np.isfinite(along) and not bounds[0] <= along <= bounds[1]


def _bounds(lines: Lines, line: Line) -> tuple[float, float]:
    """The one-sided slopes, with their bars."""
    s = line.slopes
    slack = SLACK * float(np.abs(lines.rule[line.elements]) @ np.abs(line.sizes))
    low = min(s.left - s.left_bar, s.right - s.right_bar)
    high = max(s.left + s.left_bar, s.right + s.right_bar)
    return low - slack, high + slack


def _holds_all(line: Line, bounds: tuple[float, float], gradients: Sequence[Array]) -> bool:
    """Whether the slopes nearby lie within the bounds, but for what a little way changes."""
    slack = 1e-3 * max(map(abs, bounds))
    return all(bounds[0] - slack <= _along(g, line) <= bounds[1] + slack for g in gradients)


def _widened(bounds: tuple[float, float], beside: Sequence[float]) -> tuple[float, float]:
    """To hold the slopes nearby, and as far beyond: not all that there are were met."""
    width = max(beside) - min(beside)
    return min(bounds[0], min(beside) - width), max(bounds[1], max(beside) + width)


def _only(moved: Array, way: Leaves) -> Leaves:
    """The way, of what is moved alone."""
    ends = np.cumsum([a.size for a in way])[:-1]
    parts = zip(np.split(moved, ends), way, strict=True)
    return tuple(np.where(m.reshape(a.shape), a, 0) for m, a in parts)


def _finding(lines: Lines, line: Line, i: int, leaf: int) -> Finding:
    """Values along the line, in units in which the element that is named moves by one."""
    s, before = line.slopes, sum(a.size for a in lines.look.x[:leaf])
    unit = float(line.sizes[line.elements == before + i][0])
    rule, ref = (_along(a, line) / unit for a in (lines.rule, lines.ref))
    one, other = sorted([s.left / unit, s.right / unit])
    note = (
        f"along {line.elements.size} elements that are at a kink together: "
        f"the slopes to the sides are {one:.3g} and {other:.3g}"
    )
    return Finding(
        Question.ALGEBRA,
        lines.bench.problem.names[leaf],
        Verdict.WRONG,
        index=index_of(i, lines.look.x[leaf].shape),
        rule=rule,
        auto=ref if lines.bench.programs.has_autodiff(lines.bench.plain) else None,
        true=min((one, other), key=lambda slope: abs(rule - slope)),
        note=note,
        _x=lines.look.x,
    )
