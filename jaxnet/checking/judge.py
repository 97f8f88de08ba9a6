"""The comparison: which elements differ by more than rounding explains, and who is right there.

r is the rule's cotangent, t the reference's in the same wide dtype, nu how far t moves when its inputs move by one eps
(its noise). An element passes where

    |r - t| <= max(sqrt(eps) |t|, 64 nu, 4096 eps max |t|),

without nu where nu is more than rounding, as at a tie. Every other one goes to the arbiter (differences.py): wrong
where the differences exclude r; disputed where they exclude t, for automatic differentiation may be the wrong one; kink
where the one-sided derivatives differ and r lies between them; ok where they cannot tell.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from jaxnet.checking.differences import Slopes
from jaxnet.checking.findings import Finding, Power, Verdict

Array = NDArray[Any]
# (row, number of the element among its leaf's) -> the arbiter's measurement there
Arbiter = Callable[[int, int], Slopes]
ARBITRATED, SECONDS = (
    4096,
    2.0,
)  # elements of a leaf at most, and how long: what is left over is counted in the note
SAMPLED = 8  # elements at random, and half as many of the largest, at which the power is measured


@dataclass(frozen=True)
class Judged:
    finding: Finding
    distrusted: Array  # where the reference is not taken for the truth


def same(a: Array, b: Array) -> Array:
    both: Array = (a == b) | (np.isnan(a) & np.isnan(b))
    return both


def spread(moved: Sequence[Array], t: Array) -> Array:
    """nu, element by element."""
    with np.errstate(all="ignore"):
        distances = [np.where(same(m, t), 0, np.abs(m - t)) for m in moved]
    largest: Array = np.max(np.stack([np.zeros_like(t), *distances]), axis=0)
    return largest


def tolerance(t: Array, nu: Array | float, eps: float) -> Array:
    largest = np.max(np.abs(t), initial=0, where=np.isfinite(t))
    with np.errstate(all="ignore"):
        allowed: Array = np.fmax(
            np.fmax(np.sqrt(eps) * np.abs(t), np.multiply(64, nu)), 4096 * eps * largest
        )
    return allowed


def index_of(i: int, shape: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(map(int, np.unravel_index(i, shape)))


def judge(
    what: str,
    leaf: str,
    r: Array,
    t: Array,
    nu: Array,
    x: Array,
    eps: float,
    arbiter: Arbiter,
    value_is_finite: bool,
    only_wrong: bool,
    by_design: float,
) -> Judged:
    """r, t: [rows, ...] of one leaf, a row for each cotangent; nu, x (the leaf itself): [...].

    by_design: where r is farther than this from t, t is not the slope by design, and finite differences have no say.
    """
    distrusted = np.zeros(t.shape[1:], bool)
    if t.size == 0:
        return Judged(Finding(what, leaf, "ok", note="no elements"), distrusted)
    with np.errstate(all="ignore"):
        error = np.abs(r - t)
        strict = np.stack([tolerance(row, 0.0, eps) for row in t])
        allowed = np.where(nu > strict, strict, np.fmax(strict, 64 * nu))
        suspect = ~((error <= allowed) | same(r, t))
        suspect |= (
            ~np.isfinite(r) & np.isfinite(x) & value_is_finite
        )  # both NaN: is there a slope all the same?
        suspect &= np.isfinite(t) | (not only_wrong)
    unit = eps * max(
        float(np.max(np.abs(t), initial=0, where=np.isfinite(t))), np.finfo(float).tiny
    )

    found: dict[str, list[tuple[int, int, Slopes]]] = {}
    order, started, left = _in_order(suspect, error, r, t, x), 0.0, 0
    for n, (row, i) in enumerate(order):
        if n >= ARBITRATED or (n > 1 and time.perf_counter() - started > SECONDS):
            left = len(order) - n
            distrusted.flat[[i for _, i in order[n:]]] = True
            break
        slopes = arbiter(row, i)
        started = started or time.perf_counter()  # the first call may compile
        verdict = _verdict(float(r[row].flat[i]), float(t[row].flat[i]), float(x.flat[i]), slopes)
        if verdict == "disputed" and error[row].flat[i] > by_design:
            verdict = "wrong"
        found.setdefault(verdict, []).append((row, i, slopes))
        if verdict == "wrong":
            break
        distrusted.flat[i] = True

    notes = [
        f"{len({i for _, i, _ in elements})} of {t[0].size} elements {NOTES[verdict]}"
        for verdict, elements in found.items()
        if verdict != "wrong"
    ]
    notes += [f"{left} more differ, not examined"] if left else []
    verdict = next((v for v in ("wrong", "kink", "disputed") if v in found), "ok")
    if verdict == "ok":
        largest = float(np.max(error, initial=0, where=np.isfinite(error) & ~suspect))
        return Judged(
            Finding(what, leaf, "ok", error=largest / unit, note="; ".join(notes)), distrusted
        )
    row, i, slopes = found[verdict][0]
    rule, auto = float(r[row].flat[i]), float(t[row].flat[i])
    trusted = verdict == "wrong" and (slopes.holds(auto) or not slopes.resolved)
    trusted |= abs(rule - auto) > by_design
    true = auto if trusted else slopes.central
    errors = abs(rule - true) / unit, abs(auto - true) / unit
    if verdict == "wrong":
        notes = []
    at = index_of(i, x.shape)
    return Judged(
        Finding(
            what, leaf, cast(Verdict, verdict), at, rule, auto, true, *errors, "; ".join(notes)
        ),
        distrusted,
    )


NOTES = {
    "kink": "at a kink, the rule between the one-sided slopes",
    "disputed": "where finite differences side with the rule",
    "unresolved": "where finite differences cannot tell",
}


def _verdict(r: float, t: float, x: float, s: Slopes) -> str:
    """Of one element at which r is not t."""
    if not np.isfinite(x):  # no step can be taken
        return "wrong" if np.isfinite(t) else "disputed"
    if not np.isfinite(r):
        smooth = s.resolved and not s.kink
        return "wrong" if smooth or np.isfinite(t) else "unresolved"
    if s.kink:
        return "kink" if s.between(r) else "wrong"
    if not s.resolved:
        sides = [
            (v, bar)
            for v, bar in ((s.left, s.left_bar), (s.right, s.right_bar))
            if np.isfinite(bar)
        ]
        if not sides or not np.isfinite(t):
            return "unresolved" if np.isfinite(t) else "disputed"
        return "disputed" if any(abs(r - v) <= bar for v, bar in sides) else "wrong"
    if s.holds(r):
        return "unresolved" if s.holds(t) else "disputed"
    return (
        "disputed" if not s.holds(t) and abs(r - s.central) < 0.1 * abs(t - s.central) else "wrong"
    )


def _in_order(suspect: Array, error: Array, r: Array, t: Array, x: Array) -> list[tuple[int, int]]:
    """Suspects, the worst first; but of those alike (same input, same ratio of r and t) one before all others."""
    rows, at = np.nonzero(suspect.reshape(len(suspect), -1))
    error, r, t = (a.reshape(len(suspect), -1)[rows, at] for a in (error, r, t))
    with np.errstate(all="ignore"):
        ratio = np.round(r / t, 3)
    seen = set()
    first: list[tuple[int, int]] = []
    rest: list[tuple[int, int]] = []
    for k in np.argsort(-np.where(np.isfinite(error), error, np.inf), kind="stable"):
        alike = (float(x.flat[at[k]]), str(ratio[k]))
        (rest if alike in seen else first).append((int(rows[k]), int(at[k])))
        seen.add(alike)
    return first + rest


def hint(r: Array, t: Array, sizes: Sequence[int]) -> str:
    """What kind of fault it is, where all elements say the same. sizes: that a mean may be over."""
    good = np.isfinite(r) & np.isfinite(t)
    largest = np.max(np.abs(t), initial=0, where=good)
    counted = good & (np.abs(t) > 1e-3 * largest)
    if not r.any():
        return "the rule returns 0 (None?) for all of it"
    if (
        r.ndim == 2
        and r.shape[0] == r.shape[1] > 1
        and good.all()
        and np.allclose(r, t.T, 1e-6, 1e-9 * largest)
    ):
        return "it is transposed"
    if counted.sum() < 2 or counted.sum() < 0.5 * r.size:
        return ""
    ratios = r[counted] / t[counted]
    k = float(np.median(ratios))
    if np.ptp(ratios) > 1e-6 * abs(k):
        return ""
    if abs(k + 1) < 1e-6:
        return "its sign is wrong everywhere"
    if abs(k - 1) < 1e-5 or k == 0:
        return ""
    said = f"it is {k:.6g} times the truth everywhere"
    for n in sizes:
        if n > 1 and abs(k * n - 1) < 1e-6:
            return said + f": a mean over {n} in place of a sum?"
        if n > 2 and abs(k / n - 1) < 1e-6:
            return said + f": a sum over {n} in place of a mean?"
    return said


def power(
    t: Array, nu: Array, eps: float, arbiter: Arbiter, seed: int, by_design: float
) -> Power | None:
    """t, nu: [...] of a leaf that passed. Measured with the arbiter's bars, at the largest elements and at random."""
    size = np.where(np.isfinite(t), np.abs(t), 0).ravel()
    if not size.any():
        return None
    allowed = tolerance(t, nu, eps).ravel()
    at_random = np.random.default_rng(seed).choice(t.size, min(SAMPLED, t.size), replace=False)
    scales, bars, started = [], [], 0.0
    for i in dict.fromkeys([*np.argsort(-size)[: SAMPLED // 2].tolist(), *at_random.tolist()]):
        if started and time.perf_counter() - started > SECONDS:
            break
        slopes = arbiter(0, i)
        started = started or time.perf_counter()
        off = abs(float(t.flat[i]) - slopes.central)
        if size[i] > 0 and slopes.resolved and not slopes.kink:
            bars.append(slopes.bar + off if off <= by_design else 0.0)
            scales.append(max(float(allowed[i]), bars[-1]) / float(size[i]))
    if not scales:
        return Power(float("inf"), 0.0, 0)
    return Power(
        min(scales), float(np.mean(size > np.maximum(allowed, np.median(bars)))), len(bars)
    )
