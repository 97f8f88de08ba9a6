"""What would have been noticed?

An ok says that no fault was found; the power says how small a fault would have been. It is measured
with the bars that the arbiter has in this very leaf: an error below them, or below what the algebra
allows, would have passed.

The same differences show where automatic differentiation is as wrong as the rule: both say the
same, and nothing that was measured does.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from jaxnet.checking.arbiter import UNTAKEN, Arbiter, Slopes
from jaxnet.checking.arrays import FEW_DIGITS, Array, index_of, tolerance, unit_of
from jaxnet.checking.bench import Bench, Look
from jaxnet.checking.budget import Budget
from jaxnet.checking.findings import Finding, Power, Question, Verdict

SAMPLED = 8  # elements at random, and half as many of the largest
PASSED = (Verdict.OK, Verdict.APPROXIMATE, Verdict.KINK, Verdict.DISPUTED)
# Half of float32's digits: functions that approximate have derivatives that do, and are not wrong.
EXCLUDED = 3e-4
AS_WRONG = "finite differences exclude both: autodiff is as wrong as the rule"


def ask(
    bench: Bench, look: Look, algebra: Sequence[Finding], budget: Budget
) -> tuple[list[Finding], dict[str, Power]]:
    """The algebra's findings, wrong ones among them now; and by name, of the leaves that passed."""
    findings, powers = list(algebra), {}
    for k, finding in enumerate(algebra):
        is_whole = finding.leaf in bench.problem.wholes
        if finding.verdict not in PASSED or not look.x[k].size or is_whole:
            continue
        if budget.is_spent(f"power of {finding.leaf}"):
            continue
        t = look.ref(bench.plain, k)[0]
        elements = _sampled(_size(t), bench.seed)[: 1 if bench.problem.is_long else None]
        measured = _measured(t, elements, bench.arbiter(bench.plain, look, k))
        excluded = _excluded(bench, look, k, measured)
        if excluded:
            findings[k] = replace(excluded, leaf=finding.leaf)
            continue
        power = _power(bench, look, k, measured)
        if power:
            powers[finding.leaf] = power
    return findings, powers


def _measured(t: Array, elements: Sequence[int], arbiter: Arbiter) -> dict[int, Slopes]:
    """By element."""
    measured: dict[int, Slopes] = {}
    if not _size(t).any():
        return {}
    for i in elements:
        slopes = arbiter(0, i)
        if slopes is UNTAKEN or (slopes.resolved and not slopes.kink):
            measured[i] = slopes
    return measured


def _size(t: Array) -> Array:
    return np.where(np.isfinite(t), np.abs(t), 0).ravel()


def _sampled(size: Array, seed: int) -> list[int]:
    """Numbers of elements: the largest, which show a small fault best, and some at random."""
    at_random = np.random.default_rng(seed).choice(
        size.size, min(SAMPLED, size.size), replace=False
    )
    at_largest = np.argsort(-size)[: SAMPLED // 2]
    return list(dict.fromkeys([*at_largest.tolist(), *at_random.tolist()]))


def _power(bench: Bench, look: Look, k: int, measured: dict[int, Slopes]) -> Power | None:
    """None where the gradient is 0: there is no scale."""
    t = look.ref(bench.plain, k)[0]
    size = _size(t)
    if not size.any():
        return None
    allowed = tolerance(t, look.noise(bench.plain, k), bench.eps).ravel()
    by_design = bench.by_design(look, k)
    bars = {i: _bar(float(t.flat[i]), s, by_design) for i, s in measured.items() if size[i] > 0}
    if bench.value_eps > FEW_DIGITS:  # there the reference is the only truth
        bars = {i: 0.0 for i in _sampled(size, bench.seed) if size[i] > 0}
    if not bars:
        return Power(float("inf"), 0.0, 0)
    scales = [max(float(allowed[i]), bar) / float(size[i]) for i, bar in bars.items()]
    share = float(np.mean(size > np.maximum(allowed, np.median(list(bars.values())))))
    return Power(min(scales), share, len(bars))


def _bar(t: float, slopes: Slopes, by_design: float) -> float:
    """How far a cotangent may be from t before the arbiter excludes it.

    0 where no step could be taken: t is believed.
    """
    off = abs(t - slopes.central)
    return slopes.bar + off if off <= by_design else 0.0


# -- autodiff as wrong as the rule


def _excluded(bench: Bench, look: Look, k: int, measured: dict[int, Slopes]) -> Finding | None:
    """Of the first element at which differences exclude the rule and autodiff, by two cotangents.

    None where the reference's derivative may be another than its slope, by design.
    """
    if not _is_a_slope(bench) or bench.value_eps > FEW_DIGITS:
        return None
    r, t = look.rule(bench.plain, k), look.ref(bench.plain, k)
    allowed = tolerance(t[0], look.noise(bench.plain, k), bench.eps).ravel()
    arbiter = bench.arbiter(bench.plain, look, k)
    for i, slopes in measured.items():
        both = [(float(r[row].flat[i]), float(t[row].flat[i])) for row in (0, 1)]
        if not _excludes(slopes, both[0], float(allowed[i])):
            continue
        if _excludes(arbiter(1, i), both[1], float(allowed[i])):
            return _as_wrong(i, t[0], both[0][0], slopes.central, bench.eps)
    return None


def _is_a_slope(bench: Bench) -> bool:
    """Whether what autodiff returns is meant to be the slope of the function."""
    programs = bench.programs
    by_design = programs.stops_gradient or programs.keeps_rules or bench.problem.ref_is_given
    return not by_design and not programs.draws and programs.has_autodiff(bench.plain)


def _excludes(slopes: Slopes, both: tuple[float, float], allowed: float) -> bool:
    """Whether the slope is neither the rule's nor autodiff's, by far more than bars explain."""
    if not slopes.resolved or slopes.kink or not slopes.is_finite:
        return False
    size = max(abs(slopes.central), *map(abs, both))
    far = max(4 * slopes.bar, allowed, EXCLUDED * size)
    return all(abs(value - slopes.central) > far for value in both)


def _as_wrong(i: int, t: Array, rule: float, true: float, eps: float) -> Finding:
    auto, unit = float(t.flat[i]), unit_of(t, eps)
    return Finding(
        Question.ALGEBRA,
        "",
        Verdict.WRONG,
        index=index_of(i, t.shape),
        rule=rule,
        auto=auto,
        true=true,
        error=abs(rule - true) / unit,
        auto_error=abs(auto - true) / unit,
        note=AS_WRONG,
    )
