"""Does the rule survive vmap, scan, remat and a second derivative?

Each transformed rule is compared with the transformed reference, element by element as in the
algebra. That it runs under jit is how everything here runs.

Where the reference is not trusted on the slope, it is not on the slope's slope either. There the
second derivative is compared beside that point, and at it with differences of the rule's gradient.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from jaxnet.checking.approximation import wrong_or_approximate
from jaxnet.checking.arbiter import Slopes
from jaxnet.checking.arrays import Array, index_of, largest, on_host, typical
from jaxnet.checking.bench import Bench, Look
from jaxnet.checking.budget import Budget
from jaxnet.checking.cells import SECOND_ORDER, Cell
from jaxnet.checking.domains import domain_of
from jaxnet.checking.findings import NOT_GIVEN, Finding, Question, Verdict
from jaxnet.checking.questions.algebra import ALONG_ROWS, Algebra, judge_cell
from jaxnet.checking.traces import first_line
from jaxnet.checking.truth import Route

BESIDE = "a little beside the arguments, where the reference is to be trusted"
OWN = "compared with differences of the rule's own gradient"
NOT_FINITE = "the rule's second derivative is not finite here, and neither is autodiff's"
NOWHERE = "not judged: the reference is not to be trusted here"

MEASURED = 8  # elements of a leaf, where autodiff is not trusted
EXCLUDED = 3e-4  # half of float32's digits, as of what approximates


def ask(bench: Bench, look: Look, algebra: Algebra, budget: Budget) -> list[Finding]:
    # What a wrong rule does under a transformation says nothing new of that leaf.
    wrong = {f.leaf for f in algebra.findings if f.verdict is Verdict.WRONG}
    found = [] if wrong else [Finding(Question.TRANSFORMS, "", Verdict.OK, detail="jit")]
    _, *transformed = bench.programs.cells
    for n, cell in enumerate(transformed):
        if budget.is_spent(cell.detail):
            continue
        is_compared = _is_compared(cell, wrong)
        trouble = _begun(bench, cell, is_compared)
        for next_cell in transformed[n + 1 : n + 2]:
            _begun(bench, next_cell, _is_compared(next_cell, wrong))  # compiles meanwhile
        if trouble:
            found.append(trouble)
        elif is_compared:
            found += _judged_or_raised(bench, cell, look, algebra, wrong)
    return found


def _is_compared(cell: Cell, wrong: set[str]) -> bool:
    """Whether a leaf is left of which it may say something new."""
    if cell.is_second_order:
        return not wrong
    return not wrong.issuperset(cell.names)


def _begun(bench: Bench, cell: Cell, is_compared: bool) -> Finding | None:
    """What stands against the cell; nothing is compiled of one that is not compared."""
    return bench.programs.start(cell) if is_compared else bench.programs.trace(cell)


def _judged_or_raised(
    bench: Bench, cell: Cell, look: Look, algebra: Algebra, wrong: set[str]
) -> list[Finding]:
    """Its neighbours are made up, and f may raise there."""
    try:
        return _judged(bench, cell, look, algebra, wrong)
    except Exception as e:
        note = f"it raised when it was run: {first_line(e)}"
        return [Finding(cell.question, "", Verdict.UNSUPPORTED, note=note, detail=cell.detail)]


def _judged(
    bench: Bench, cell: Cell, look: Look, algebra: Algebra, wrong: set[str]
) -> list[Finding]:
    trusted = not wrong and not any(d.any() for d in algebra.distrusted)
    if trusted or not cell.is_second_order:
        return _compared(bench, cell, look, algebra, wrong)
    return _compared_with_itself(bench, cell, look, algebra)


def _compared(
    bench: Bench, cell: Cell, look: Look, algebra: Algebra, wrong: set[str]
) -> list[Finding]:
    """What is wrong under the transformation alone; one ok where nothing is."""
    there = bench.look_under(cell, look.x, look.cs, bench.stream(cell.detail))
    judged = [j.finding for j in judge_cell(bench, cell, there, left_out=wrong)]
    bad = _new(wrong_or_approximate(judged), algebra.findings)
    if cell.is_second_order and bench.programs.route is not Route.REVERSE:
        bad = [_as_autodiff_is(f) for f in bad]
    along = ALONG_ROWS if any(f.note == ALONG_ROWS for f in judged) else ""
    return bad or ([] if wrong else [_ok(cell, along)])


def _new(findings: Iterable[Finding], known: Sequence[Finding]) -> list[Finding]:
    """Those that are wrong, or approximate in a leaf that by itself was right."""
    approximate = [f.leaf for f in known if f.verdict is Verdict.APPROXIMATE]
    return [f for f in findings if f.verdict is Verdict.WRONG or f.leaf not in approximate]


def _as_autodiff_is(finding: Finding) -> Finding:
    """Where autodiff has no slope that is finite, nobody asks a rule for a slope's slope."""
    if math.isfinite(finding.rule):
        return finding
    return replace(finding, verdict=Verdict.UNSUPPORTED, note=NOT_FINITE)


def _compared_beside(bench: Bench, cell: Cell, look: Look) -> list[Finding]:
    beside = _beside(bench, look)
    plain = judge_cell(bench, bench.plain, beside, only_wrong=True)
    if any(j.distrusted.any() or j.finding.verdict is not Verdict.OK for j in plain):
        verdict = Verdict.UNSUPPORTED
        return [Finding(cell.question, "", verdict, note=NOWHERE, detail=cell.detail)]
    there = bench.look_under(cell, beside.x, beside.cs, bench.stream(f"{cell.detail}, beside"))
    judged = [j.finding for j in judge_cell(bench, cell, there, only_wrong=True)]
    bad = [_made(f) for f in wrong_or_approximate(judged)]
    return bad or [_ok(cell, BESIDE)]


def _made(finding: Finding) -> Finding:
    """At a point that nobody gave."""
    made = f"{NOT_GIVEN}, with every number moved by a hundredth"
    return replace(finding, note="; ".join(filter(None, [made, finding.note])))


def _compared_with_itself(bench: Bench, cell: Cell, look: Look, algebra: Algebra) -> list[Finding]:
    """The second derivative at the point, and beside it where that shows no fault."""
    was_measured = False
    here = bench.look_under(cell, look.x, look.cs, None)
    least = max(4096 * bench.eps, bench.rtol(look))
    for k, name in enumerate(bench.problem.names):
        of_gradient = bench.arbiter(cell, here, k, own=True)
        r = here.rule(cell, k)[0]
        for i in _elements(r, algebra.distrusted[k], bench.stream(f"{SECOND_ORDER} {name}")):
            slopes = of_gradient(0, i)
            was_measured |= slopes.is_finite
            if _is_excluded(float(r.flat[i]), largest(r), slopes, least):
                return [_wrong(cell, name, r, i, slopes)]
    found = _compared_beside(bench, cell, look)
    if was_measured and found[0].verdict is Verdict.UNSUPPORTED:
        return [_ok(cell, OWN)]
    return found


def _elements(r: Array, distrusted: Array, rng: np.random.Generator) -> list[int]:
    """Some where autodiff is not trusted, and the largest."""
    first = np.flatnonzero(distrusted)
    if first.size > MEASURED:
        first = rng.choice(first, MEASURED, replace=False)
    largest_first = np.argsort(-np.abs(np.nan_to_num(r.ravel())), kind="stable")
    return list(dict.fromkeys([*first.tolist(), *largest_first[: MEASURED // 4].tolist()]))


def _is_excluded(r: float, largest_r: float, slopes: Slopes, least: float) -> bool:
    """Whether it is not the slope of the rule's gradient. A gradient that jumps has none.

    least: how far it is at least, relative to the largest.
    """
    if not slopes.is_finite or not np.isfinite(r):
        return False
    far = max(4 * slopes.bar, EXCLUDED * max(abs(r), abs(slopes.central)), least * largest_r)
    if slopes.kink:
        return not slopes.between(r)
    return abs(r - slopes.central) > far


def _wrong(cell: Cell, name: str, r: Array, i: int, slopes: Slopes) -> Finding:
    return Finding(
        cell.question,
        name,
        Verdict.WRONG,
        index=index_of(i, r.shape),
        rule=float(r.flat[i]),
        true=slopes.central,
        note=OWN,
        detail=cell.detail,
    )


def _ok(cell: Cell, note: str = "") -> Finding:
    return Finding(cell.question, "", Verdict.OK, note=note, detail=cell.detail)


def _beside(bench: Bench, look: Look) -> Look:
    """A point off the kinks and ties of this one: every number, also 0, moved by a hundredth.

    That is near enough to be of the same branches, and far enough for second differences.
    """
    rng = bench.stream(SECOND_ORDER)

    def moved(x: Any) -> Any:
        value = on_host(x)
        step = 0.01 * rng.uniform(0.5, 1, x.shape) * rng.choice([-1.0, 1.0], x.shape)
        size = np.maximum(np.abs(value), 0.01 * typical(value))
        return (value + step * size).astype(x.dtype)

    domains = [domain_of(bench.problem, k) for k in range(len(look.x))]
    pairs = zip(look.x, domains, strict=True)
    return bench.look(
        tuple(on_host(d.near(moved(x))).astype(x.dtype) for x, d in pairs), look.cs[:2], rng
    )
