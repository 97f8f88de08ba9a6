"""Was anything seen at all?

Where a gradient is 0, or noise, at every point that was looked at, any rule that returns little
passes. That is no ok, if the value depends on the leaf.
"""

from collections.abc import Sequence

import numpy as np

from jaxnet.checking.arrays import FEW_DIGITS, largest, on_host, tolerance
from jaxnet.checking.bench import Bench, Look
from jaxnet.checking.findings import Finding, Question, Verdict
from jaxnet.checking.programs import NarrowRun

NOT_FINITE = "its gradient is nowhere finite at these arguments: choose others"
TOO_FEW_DIGITS = "in 16 bits alone as much is allowed as its gradient is large: nothing was seen"
FARTHER = (1.0, 1e2, 1e4, 1e6)  # in sizes of the argument: a hinge may lie beyond all its values
ZERO = "its gradient is 0 at these arguments whatever the rule does: choose others"


def ask(
    bench: Bench,
    look: Look,
    added: Sequence[Look],
    algebra: Sequence[Finding],
    narrow: Sequence[Sequence[NarrowRun]],
) -> list[Finding]:
    """The algebra's findings by leaf, ok and disputed ones made vacuous where nothing was seen.

    added: looks at further points. narrow: what came back in each working dtype.
    """
    return [_seen(bench, k, [look, *added], finding, narrow) for k, finding in enumerate(algebra)]


def _seen(
    bench: Bench,
    k: int,
    looks: Sequence[Look],
    finding: Finding,
    narrow: Sequence[Sequence[NarrowRun]],
) -> Finding:
    look = looks[0]
    if was_seen(finding) or bench.programs.always_zero[k] or not look.x[k].size:
        return finding
    gradients = [there.ref(bench.plain, k) for there in looks]
    if not any(np.isfinite(t).any() for t in gradients):
        return Finding(Question.ALGEBRA, finding.leaf, Verdict.VACUOUS, note=NOT_FINITE)
    size = max(map(largest, gradients))
    is_nothing = size == 0 or _is_noise(bench, k, looks, size, narrow)
    if is_nothing and _depends(bench, look, k):
        return Finding(Question.ALGEBRA, finding.leaf, Verdict.VACUOUS, note=ZERO)
    return _seen_in_its_digits(bench, k, looks, finding)


def _seen_in_its_digits(bench: Bench, k: int, looks: Sequence[Look], finding: Finding) -> Finding:
    """Vacuous where, in 16 bits, no element is larger than what it is allowed to be off.

    With more bits an element is, wherever it is more than noise.
    """
    if bench.eps < FEW_DIGITS:
        return finding
    pairs = [(there.ref(bench.plain, k)[0], there.noise(bench.plain, k)) for there in looks]
    is_seen = any(np.any(np.abs(t) > tolerance(t, noise, bench.eps)) for t, noise in pairs)
    if is_seen or not any(t.any() for t, _ in pairs):
        return finding
    return Finding(Question.ALGEBRA, finding.leaf, Verdict.VACUOUS, note=TOO_FEW_DIGITS)


def was_seen(finding: Finding) -> bool:
    """Whether finite differences have decided: a rule that they side with has been seen."""
    has_slope = finding.verdict is Verdict.DISPUTED and np.isfinite(finding.true)
    seen = (Verdict.WRONG, Verdict.APPROXIMATE, Verdict.KINK)
    return bool(has_slope) or finding.verdict in seen


def _is_noise(
    bench: Bench,
    k: int,
    looks: Sequence[Look],
    size: float,
    narrow: Sequence[Sequence[NarrowRun]],
) -> bool:
    """size: of the largest element of the gradient that was seen."""
    noise = max(float(np.nanmax(there.noise(bench.plain, k))) for there in looks)
    is_lost = cancels(bench, looks[0], k, size, noise)
    return is_lost and not is_definite(bench, looks[0], k, narrow)


def cancels(bench: Bench, look: Look, k: int, size: float, noise: float) -> bool:
    """Whether of a gradient of that size, and that noise, nothing but noise is left."""
    # 64 times the noise is what the algebra allows: of a gradient below that nothing was judged.
    if size > 64 * noise:
        return False
    # But what has half of the natural size's digits is a slope, whatever moves it.
    return size <= float(np.sqrt(bench.eps)) * bench.natural(look, k)


def is_definite(bench: Bench, look: Look, k: int, narrow: Sequence[Sequence[NarrowRun]]) -> bool:
    """Whether the rule returns the same in both dtypes: a true slope in a tail, not noise."""
    r = look.runs[0].rule[bench.plain.key][k]
    if not r.any():
        return False
    firsts = [runs[0].rule[k] for runs in narrow if runs]
    # Two digits, in nine of ten elements: noise has none in common.
    return any(np.mean(np.abs(n - r) <= 0.01 * np.abs(r)) > 0.9 for n in firsts)


def _depends(bench: Bench, look: Look, k: int) -> bool:
    """Whether the value changes with the leaf.

    Of a single rule that is seen by changing it: a sum of softmax is 1 whatever its logits, and 0
    is its gradient. Where the rule is only a part, as in a sum of a softmax that has one, the part
    has not been seen.
    """
    if not bench.programs.is_one_rule:
        return bench.programs.is_used[k]
    value = on_host(look.x[k])
    far = 1 + np.abs(value).max(initial=0)
    farther = (sign * distance * far for distance in FARTHER for sign in (1, -1))
    for other in (2 * value, -value, 0.5 * value - 3, *(value + d for d in farther)):
        x = tuple(other.astype(a.dtype) if j == k else a for j, a in enumerate(look.x))
        there = look.runs[0].value
        with bench.skipping("an argument far away"):
            there = bench.run(x, look.cs[0], look.cs[1]).value
        for a, size, b in zip(look.runs[0].value, bench.sizes(look), there, strict=True):
            with np.errstate(all="ignore"):
                allowed = np.sqrt(bench.value_eps) * np.maximum(size, np.abs(b))
                if np.any(np.abs(a - b) > allowed):
                    return True
    return False
