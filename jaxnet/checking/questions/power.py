"""What would have been noticed?

An ok says that no fault was found; the power says how small a fault would have been. It is measured
with the bars that the arbiter has in this very leaf: an error below them, or below what the algebra
allows, would have passed.
"""

import time
from collections.abc import Sequence

import numpy as np

from jaxnet.checking.arbiter import Arbiter
from jaxnet.checking.arrays import Array, tolerance
from jaxnet.checking.bench import Bench, Look
from jaxnet.checking.findings import Finding, Power, Verdict
from jaxnet.checking.questions.algebra import SECONDS

SAMPLED = 8  # elements at random, and half as many of the largest
PASSED = (Verdict.OK, Verdict.KINK, Verdict.DISPUTED)


def ask(bench: Bench, look: Look, algebra: Sequence[Finding]) -> dict[str, Power]:
    """By name, of the leaves that passed."""
    powers = {}
    for k, finding in enumerate(algebra):
        if finding.verdict in PASSED and look.x[k].size:
            power = _power(bench, look, k)
            if power:
                powers[finding.leaf] = power
    return powers


def _power(bench: Bench, look: Look, k: int) -> Power | None:
    """None where the gradient is 0: there is no scale."""
    t = look.ref(bench.plain, k)[0]
    size = np.where(np.isfinite(t), np.abs(t), 0).ravel()
    if not size.any():
        return None
    allowed = tolerance(t, look.noise(bench.plain, k), bench.eps).ravel()
    arbiter, by_design = bench.arbiter(bench.plain, look, k), bench.by_design(look, k)
    elements = [i for i in _sampled(size, bench.seed) if size[i] > 0]
    bars = _bars(t, elements, arbiter, by_design)
    if not bars:
        return Power(float("inf"), 0.0, 0)
    scales = [max(float(allowed[i]), bar) / float(size[i]) for i, bar in bars.items()]
    share = float(np.mean(size > np.maximum(allowed, np.median(list(bars.values())))))
    return Power(min(scales), share, len(bars))


def _sampled(size: Array, seed: int) -> list[int]:
    """Numbers of elements: the largest, which show a small fault best, and some at random."""
    at_random = np.random.default_rng(seed).choice(
        size.size, min(SAMPLED, size.size), replace=False
    )
    at_largest = np.argsort(-size)[: SAMPLED // 2]
    return list(dict.fromkeys([*at_largest.tolist(), *at_random.tolist()]))


def _bars(
    t: Array, elements: Sequence[int], arbiter: Arbiter, by_design: float
) -> dict[int, float]:
    """By element, how far a cotangent may be from t before the arbiter excludes it."""
    bars, started = {}, 0.0
    for i in elements:
        if started and time.perf_counter() - started > SECONDS:
            break
        slopes = arbiter(0, i)
        started = started or time.perf_counter()  # the first call may compile
        if slopes.resolved and not slopes.kink:
            off = abs(float(t.flat[i]) - slopes.central)
            bars[i] = slopes.bar + off if off <= by_design else 0.0
    return bars
