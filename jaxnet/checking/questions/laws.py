"""Is the backward linear in its cotangent, is zero for zero zero, and is it the same twice?

A derivative is a linear map. A clip, a threshold or a division by the largest cotangent inside a
backward breaks that, and cotangents of ordinary size may never show it. So the backward r is run
again with 2ᵏ c and c / 2ᵏ (far outside ordinary sizes), with 0, and with c + d:

    r(2ᵏ c) = 2ᵏ r(c)          a power of two scales every number exactly: 64 eps are allowed, for
                               what is not a product with the cotangent
    r(0) = 0                   exactly
    r(c + d) = r(c) + r(d)     sums are rounded, and where terms cancel by much more than their eps:
                               half of the digits, and 64 eps of the natural size of a slope

The last is asked of two parts of c as well, each 0 where the other is not: of what a loss leaves
out the cotangent is 0, and of random ones no row and no number is.
"""

import itertools
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

import numpy as np

from jaxnet.checking.approximation import off, said, verdict_of
from jaxnet.checking.arrays import (
    FEW_DIGITS,
    Array,
    index_of,
    largest,
    on_host,
    same_twice,
    times,
    worst_of,
)
from jaxnet.checking.bench import Bench, Look
from jaxnet.checking.findings import Finding, Question, Verdict
from jaxnet.checking.problem import Leaves
from jaxnet.checking.programs import Run
from jaxnet.checking.traces import NOT_DETERMINISTIC, SAME_TWICE

ALL_LAWS = f"linear, zero for zero, {SAME_TWICE}"
# Beyond any clip that somebody would write. In float16 2⁴: 2²⁰ has no room there.
FAR, FAR_IN_FEW_DIGITS = 2.0**20, 2.0**4
MOST_OUTPUTS = 4  # whose cotangents are given alone


class Names(NamedTuple):
    """Of the linear map, and of what it is given."""

    map: str
    given: str


BACKWARD = Names("backward", "cotangent")


class Law(NamedTuple):
    """A cotangent, and what linearity asks the backward to return for it.

    Or a tangent, and what it asks of forward mode.
    """

    name: str
    note: str
    given: Leaves
    expected: list[Array]  # by leaf
    relative: float  # what is allowed, over the largest expected element
    floor: float  # and over the natural size of a slope


def ask(bench: Bench, look: Look, again: Run) -> list[Finding]:
    """A finding for each leaf. again: a second run of the look's first."""
    key = bench.plain.key
    r, s = (run.rule[key] for run in look.runs[:2])
    laws = laws_of(look.cs[:2], r, s, bench.eps, BACKWARD)
    # The second cotangent is the neighbour's under vmap, which no law looks at.
    runs = [(law, bench.run(look.x, law.given, look.cs[1])) for law in laws]
    sums = [(law, *_sums(bench, look, law.given)) for law in laws_of_parts(bench, look)]
    found = []
    for k, leaf in enumerate(bench.problem.names):
        r = look.runs[0].rule[key][k]
        if not same_twice(again.rule[key][k], r, bench.eps, bench.natural(look, k)):
            note = NOT_DETERMINISTIC
            found.append(Finding(Question.LAWS, leaf, Verdict.ERROR, note=note, detail=SAME_TWICE))
            continue
        first = None
        if np.isfinite(r).any():
            natural = bench.natural(look, k)
            standard = Standard(natural, bench.rtol(look))
            checked = [
                broken(law, leaf, k, run.rule[key][k], run.ref[key][k], standard)
                for law, run in runs
            ]
            checked += [broken(law, leaf, k, got[k], ref[k], standard) for law, got, ref in sums]
            first = first_of_the_worst(checked)
        kept = Finding(Question.LAWS, leaf, Verdict.OK, detail=ALL_LAWS)
        found.append(first or kept)
    return found


def laws_of(given: Sequence[Leaves], r: Leaves, s: Leaves, eps: float, names: Names) -> list[Law]:
    """What linearity asks where r and s came back for two cotangents or tangents."""
    c, d = given
    far = FAR if eps < FEW_DIGITS else FAR_IN_FEW_DIGITS
    not_linear = f"the {names.map} is not linear: "
    multiple = f"a multiple of the {names.given} must give that multiple (a clip, a threshold?)"
    scaled = [
        Law(
            "scaled",
            not_linear + multiple,
            tuple(times(a, factor) for a in c),
            [factor * v for v in r],
            relative=64 * eps,
            floor=0.0,
        )
        for factor in (far, 1 / far)
    ]
    zero = Law(
        "zero for zero",
        f"a zero {names.given} must give zero",
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
        f"{not_linear}the sum of two {names.given}s must give the sum of their results",
        tuple((on_host(a) + on_host(b)).astype(a.dtype) for a, b in both),
        sums,
        relative=float(np.sqrt(eps)),
        floor=64 * eps,
    )
    return [*scaled, zero, additive]


# -- parts of a cotangent


def laws_of_parts(bench: Bench, look: Look) -> Iterator[Law]:
    """What is given is a part of the first cotangent, what is expected the result of the whole."""
    rng = bench.stream("parts of a cotangent")
    ways = _parts([np.shape(a) for a in look.cs[0]], rng)
    for what, masks in itertools.islice(ways, 1) if bench.problem.is_long else ways:
        yield Law(
            "additive",
            f"the backward is not linear: with {what} it gives another part of the result",
            _where(masks, look.cs[0]),
            list(look.runs[0].rule[bench.plain.key]),
            relative=float(np.sqrt(bench.eps)),
            floor=64 * bench.eps,
        )


def _sums(bench: Bench, look: Look, part: Leaves) -> tuple[list[Array], list[Array]]:
    """By leaf, what rule and reference give for a part and for the rest, added up."""
    key, whole = bench.plain.key, look.cs[0]
    rest = _where([p == 0 for p in part], whole)
    runs = [bench.run(look.x, c, look.cs[1]) for c in (part, rest)]
    with np.errstate(all="ignore"):
        rules = [a + b for a, b in zip(*(run.rule[key] for run in runs), strict=True)]
        references = [a + b for a, b in zip(*(run.ref[key] for run in runs), strict=True)]
    return rules, references


def _parts(
    shapes: Sequence[tuple[int, ...]], rng: np.random.Generator
) -> Iterator[tuple[str, list[Array]]]:
    """In words, and which numbers of each output are of the part."""
    if len(shapes) > 1:
        yield from (("the cotangent of one output alone", masks) for masks in _alone(shapes))
    rows = [(*shape[:-1], 1) if shape else () for shape in shapes]
    ways = {
        "rows of zeros in the cotangent": (rows, None),
        "zeros in the cotangent": (shapes, None),
        "all but one 0 in the cotangent": (shapes, 1),
    }
    for what, (masked, count) in ways.items():
        if any(np.prod(shape) > 1 for shape in masked):
            yield what, [_some(shape, rng, count) for shape in masked]


def _alone(shapes: Sequence[tuple[int, ...]]) -> Iterator[list[Array]]:
    for j in range(min(len(shapes), MOST_OUTPUTS)):
        yield [np.full(shape, i == j) for i, shape in enumerate(shapes)]


def _some(shape: tuple[int, ...], rng: np.random.Generator, count: int | None) -> Array:
    """So many of the numbers, or half of them."""
    size = int(np.prod(shape))
    order = rng.permutation(size)
    some: Array = order < (-(-size // 2) if count is None else count)
    return some.reshape(shape)


def _where(masks: Sequence[Array], c: Leaves) -> Leaves:
    return tuple(np.where(m, a, 0).astype(a.dtype) for m, a in zip(masks, c, strict=True))


# -- is a law broken?


class Standard(NamedTuple):
    """What a law is held to."""

    natural: float  # size of a slope
    rtol: float  # that it may be off as an approximation


def first_of_the_worst(checked: Iterable[Finding | None]) -> Finding | None:
    return min(filter(None, checked), key=lambda finding: finding.verdict.rank, default=None)


def broken(
    law: Law, leaf: str, k: int, got: Array, ref: Array, standard: Standard
) -> Finding | None:
    """got, ref: what rule and reference return for the law's cotangent."""
    expected = law.expected[k]
    allowed = law.relative * largest(expected) + law.floor * standard.natural
    with np.errstate(all="ignore"):
        error = np.where(np.isfinite(got), np.abs(got - expected), np.inf)
    # Where the reference is not finite either, the point is at fault.
    is_judged = np.isfinite(expected) & (np.isfinite(got) | np.isfinite(ref))
    bad = ~(error <= allowed) & is_judged
    if not bad.any():
        return None
    i = worst_of(error, bad)
    verdict = verdict_of(bad, got, expected, standard.rtol)
    little = "" if verdict is Verdict.WRONG else f"; {said(off(got, expected), standard.rtol)}"
    return Finding(
        Question.LAWS,
        leaf,
        verdict,
        index=index_of(i, got.shape),
        rule=float(got.flat[i]),
        true=float(expected.flat[i]),
        note=law.note + little,
        detail=law.name,
    )
