"""What kind of fault it is, where all elements of a leaf say the same."""

from collections.abc import Sequence

import numpy as np

from jaxnet.checking.arrays import Array, largest
from jaxnet.checking.bench import Bench, Look
from jaxnet.checking.findings import Finding


def hint_of(bench: Bench, look: Look, k: int, finding: Finding) -> str:
    """For leaf k, "" where there is none."""
    r, t = look.rule(bench.plain, k), look.ref(bench.plain, k)
    for j, name in enumerate(bench.problem.names):
        theirs = look.rule(bench.plain, j)
        is_twin = j != k and theirs.shape == r.shape and r.any() and np.array_equal(theirs, r)
        if is_twin and not np.array_equal(look.ref(bench.plain, j), t):
            return f"it is that of {name} again: one array for a whole tuple?"
    arrays = (*look.x, *look.cs[0])
    sizes = {n for a in arrays for n in (*a.shape, a.size)}  # that a mean may be over
    return hint(r, t, sorted(sizes), finding)


def hint(r: Array, t: Array, sizes: Sequence[int], finding: Finding) -> str:
    """Of the rule's cotangents r, where t is right. r, t: [cotangents, ...].

    What is said is true of every cotangent, and of the two numbers that the finding shows.
    """
    if not r.any():
        return "the rule returns 0 (None?) for all of it"
    if all(map(_is_transposed, r, t)):
        return "it is transposed"
    if _is_always_the_same(r, t):
        return "it is the same for every cotangent: is it multiplied by the cotangent?"
    k = _ratio_of_all(r, t)
    if k is None or not abs(finding.rule - k * finding.true) <= 1e-3 * abs(finding.rule):
        return ""
    if abs(k + 1) < 1e-6:
        return "its sign is wrong everywhere"
    if abs(k - 1) < 1e-5 or k == 0:  # as good as right, or 0: the factor is no explanation
        return ""
    return f"it is {k:.6g} times the truth everywhere{_mean_or_sum(k, sizes)}"


def _is_always_the_same(r: Array, t: Array) -> bool:
    """Whether r is, and t is not."""
    r_is, t_is = (
        all(np.allclose(row, rows[0], 1e-9, 0, equal_nan=True) for row in rows) for rows in (r, t)
    )
    return len(r) > 1 and r_is and not t_is and bool(np.isfinite(r).all())


def _is_transposed(r: Array, t: Array) -> bool:
    if r.ndim != 2 or r.shape[0] != r.shape[1] or r.shape[0] == 1:
        return False
    all_finite = bool(np.isfinite(r).all() and np.isfinite(t).all())
    return all_finite and np.allclose(r, t.T, 1e-6, 1e-9 * largest(t))


def _ratio_of_all(r: Array, t: Array) -> float | None:
    """The common ratio, where it is that of every cotangent too."""
    ratios = [_common_ratio(*rows) for rows in zip(r, t, strict=True)]
    known = [k for k in ratios if k is not None]
    if len(known) < len(ratios) or np.ptp(known) > 1e-6 * abs(known[0]):
        return None
    return known[0]


def _common_ratio(r: Array, t: Array) -> float | None:
    """r / t where it is one number: of the elements that are not small, at least half of all."""
    good = np.isfinite(r) & np.isfinite(t)
    scale = np.max(np.abs(t), initial=0, where=good)
    counted = good & (np.abs(t) > 1e-3 * scale)  # in smaller ones rounding shows
    if counted.sum() < 2 or counted.sum() < 0.5 * r.size:
        return None
    ratios = r[counted] / t[counted]
    k = float(np.median(ratios))
    return k if np.ptp(ratios) <= 1e-6 * abs(k) else None


def _mean_or_sum(k: float, sizes: Sequence[int]) -> str:
    for n in sizes:
        if n > 1 and abs(k * n - 1) < 1e-6:
            return f": a mean over {n} in place of a sum?"
        if n > 2 and abs(k / n - 1) < 1e-6:
            return f": a sum over {n} in place of a mean?"
    return ""
