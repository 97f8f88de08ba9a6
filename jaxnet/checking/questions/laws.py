"""Is the backward linear in its cotangent, is zero for zero zero, and is it the same twice?

A derivative is a linear map. A clip, a threshold or a division by the largest cotangent inside a
backward breaks that, and cotangents of ordinary size may never show it. So the backward r is run
again with 2ᵏ c and c / 2ᵏ (far outside ordinary sizes), with 0, and with c + d:

    r(2ᵏ c) = 2ᵏ r(c)          a power of two scales every number exactly: 64 eps are allowed, for
                               what is not a product with the cotangent
    r(0) = 0                   exactly
    r(c + d) = r(c) + r(d)     sums are rounded, and where terms cancel by much more than their eps:
                               half of the digits, and 64 eps of the natural size of a slope
"""

from typing import NamedTuple

import numpy as np

from jaxnet.checking.arrays import Array, index_of, largest, on_host, same, times, worst_of
from jaxnet.checking.bench import Bench, Look
from jaxnet.checking.findings import Finding, Question, Verdict
from jaxnet.checking.problem import Leaves
from jaxnet.checking.programs import Run
from jaxnet.checking.traces import NOT_DETERMINISTIC, SAME_TWICE

ALL_LAWS = f"linear, zero for zero, {SAME_TWICE}"
NOT_LINEAR = "the backward is not linear: "
# Beyond any clip that somebody would write. In float16 2⁴: 2²⁰ has no room there.
FAR, FAR_IN_FEW_DIGITS = 2.0**20, 2.0**4
FEW_DIGITS = 1e-6  # an eps above this is that of float16 or bfloat16


class Law(NamedTuple):
    """A cotangent, and what linearity asks the backward to return for it."""

    name: str
    note: str
    cotangent: Leaves
    expected: list[Array]  # by leaf
    relative: float  # what is allowed, over the largest expected element
    floor: float  # and over the natural size of a slope


def ask(bench: Bench, look: Look, again: Run) -> list[Finding]:
    """A finding for each leaf. again: a second run of the look's first."""
    key = bench.plain.key
    laws = _laws(bench, look)
    # The second cotangent is the neighbour's under vmap, which no law looks at.
    runs = [(law, bench.run(look.x, law.cotangent, look.cs[1])) for law in laws]
    found = []
    for k, leaf in enumerate(bench.problem.names):
        r = look.runs[0].rule[key][k]
        if not same(again.rule[key][k], r).all():
            note = NOT_DETERMINISTIC
            found.append(Finding(Question.LAWS, leaf, Verdict.ERROR, note=note, detail=SAME_TWICE))
            continue
        broken = None
        if np.isfinite(r).any():
            natural = bench.natural(look, k)
            checked = (
                _broken(law, leaf, k, run.rule[key][k], run.ref[key][k], natural)
                for law, run in runs
            )
            broken = next(filter(None, checked), None)
        kept = Finding(Question.LAWS, leaf, Verdict.OK, detail=ALL_LAWS)
        found.append(broken or kept)
    return found


def _laws(bench: Bench, look: Look) -> list[Law]:
    c, d = look.cs[0], look.cs[1]
    r, s = (run.rule[bench.plain.key] for run in look.runs[:2])
    eps = bench.eps
    far = FAR if eps < FEW_DIGITS else FAR_IN_FEW_DIGITS
    multiple = NOT_LINEAR + (
        "a multiple of the cotangent must give that multiple (a clip, a threshold?)"
    )
    scaled = [
        Law(
            "scaled",
            multiple,
            tuple(times(a, factor) for a in c),
            [factor * v for v in r],
            relative=64 * eps,
            floor=0.0,
        )
        for factor in (far, 1 / far)
    ]
    zero = Law(
        "zero for zero",
        "a zero cotangent must give zero",
        tuple(times(a, 0) for a in c),
        [0 * np.nan_to_num(v) for v in r],
        relative=0.0,
        floor=0.0,
    )
    with np.errstate(all="ignore"):
        sums = [v + w for v, w in zip(r, s, strict=True)]
    both = zip(c, d, strict=True)
    additive = Law(
        "additive",
        NOT_LINEAR + "the sum of two cotangents must give the sum of their results",
        tuple((on_host(a) + on_host(b)).astype(a.dtype) for a, b in both),
        sums,
        relative=float(np.sqrt(eps)),
        floor=64 * eps,
    )
    return [*scaled, zero, additive]


def _broken(law: Law, leaf: str, k: int, got: Array, ref: Array, natural: float) -> Finding | None:
    """got, ref: what rule and reference return for the law's cotangent."""
    expected = law.expected[k]
    allowed = law.relative * largest(expected) + law.floor * natural
    with np.errstate(all="ignore"):
        error = np.where(np.isfinite(got), np.abs(got - expected), np.inf)
    # Where the reference is not finite either, the point is at fault.
    is_judged = np.isfinite(expected) & (np.isfinite(got) | np.isfinite(ref))
    bad = ~(error <= allowed) & is_judged
    if not bad.any():
        return None
    i = worst_of(error, bad)
    return Finding(
        Question.LAWS,
        leaf,
        Verdict.WRONG,
        index=index_of(i, got.shape),
        rule=float(got.flat[i]),
        true=float(expected.flat[i]),
        note=law.note,
        detail=law.name,
    )
