"""One check: which question is asked after which, and what one hands to the next."""

import gc
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np

from jaxnet.checking import constants, large
from jaxnet.checking.bench import Bench, Draw, Look, working_dtypes
from jaxnet.checking.budget import Budget
from jaxnet.checking.cost import cost_of
from jaxnet.checking.domains import domains_of
from jaxnet.checking.findings import Finding, Question, Verdict
from jaxnet.checking.problem import Problem, eps_of
from jaxnet.checking.products import lost_digits
from jaxnet.checking.programs import Programs, as_users_compile, programs_for
from jaxnet.checking.proofs import proof_in
from jaxnet.checking.questions import (
    algebra,
    forward,
    kinks,
    laws,
    one_row,
    others,
    overflow,
    power,
    precision,
    reach,
    structure,
    sweep,
    transforms,
    vacuous,
    values,
)
from jaxnet.checking.reports import Report
from jaxnet.checking.traces import (
    NARROWER,
    Failed,
    Working,
    first_line,
    precision_of,
    wider_than,
)
from jaxnet.checking.truth import Route

# Elements that a route takes one after the other: of more than so many a sample is judged.
AT_MOST = {Route.FORWARD: 1024, Route.DIFFERENCES: 128}
FEW = 64
ROUNDED = 1e-4  # of a number: no more is it off for how it was compiled
OFF = (Verdict.WRONG, Verdict.APPROXIMATE)
SAID_OF_ROUTE = {
    Route.FORWARD: "the truth is the reference's forward mode: it has no reverse mode here",
    Route.DIFFERENCES: "the truth is differences of the value: there is no autodiff of it here",
}


class _TooMany(Exception):
    """Elements, for the route to the truth."""


class Asked(NamedTuple):
    """What is asked, of the problem as it is or as it is put another way."""

    report: Report  # to be filled in
    dtypes: Sequence[Any] | None
    under: Sequence[str]
    seed: int
    budget: Budget
    measure_power: bool


def examine(
    problem: Problem,
    report: Report,
    dtypes: Sequence[Any] | None,
    under: Sequence[str],
    seed: int,
    budget: Budget,
    measure_power: bool = True,
) -> Report:
    """The report, filled in, a proof first. under: names of transformations.

    Value, structure, algebra and laws are always asked whole; the rest while the budget lasts.
    Ctrl-C shows on stderr what is known.
    """
    report = replace(report, proof=proof_in(problem))
    if not problem.domains:
        problem = replace(problem, domains=domains_of(problem, {}))
    return _examine(problem, Asked(report, dtypes, under, seed, budget, measure_power))


def _examine(problem: Problem, asked: Asked) -> Report:
    """As it is, or a sample of it, or with constants of its own."""
    if not any(x.size for x in problem.leaves):
        return replace(asked.report, findings=(_no_elements(),))
    working = working_dtypes(problem, asked.dtypes)
    if large.is_large(problem):
        return _of_sample(large.sampled(problem, seed=asked.seed, working=working), asked)
    try:
        first, has_numpy = _as_it_is(problem, asked)
    except _TooMany:
        return _of_sample(large.sampled(problem, FEW, asked.seed, FEW, working), asked)
    if has_numpy:
        gc.collect()  # or what is left of it holds copies of 64 bits in the caller's mode
    if not _may_be_for_its_constants(first) or not constants.closes_over_numpy(problem):
        return _confirmed(first, problem, asked)
    asked.budget.cut.clear()
    with constants.with_fresh_constants(problem) as fresh:
        return _confirmed(_as_it_is(fresh, asked)[0], fresh, asked)


def _confirmed(report: Report, problem: Problem, asked: Asked) -> Report:
    """With XLA's default options, where what is bad may be for those with which it compiled."""
    if not any(map(_may_be_for_its_options, report.findings)):
        return report
    asked.budget.cut.clear()
    with as_users_compile():
        again, _ = _as_it_is(problem, asked)
    return report if again.cut and again.nothing_bad else again


def _may_be_for_its_options(finding: Finding) -> bool:
    """Rounding, what is not finite, and what raised of it: what is far off is so with any."""
    if finding.verdict is Verdict.ERROR:
        return finding.question is Question.PRECISION
    if finding.verdict is not Verdict.WRONG:
        return finding.verdict is Verdict.IMPRECISE
    numbers = finding.rule, finding.true
    is_near = bool(abs(finding.rule - finding.true) <= ROUNDED * abs(finding.true))
    return not np.isnan(numbers).all() and (is_near or not np.isfinite(numbers).all())


def _of_sample(small: large.Sampled, asked: Asked) -> Report:
    """Of a problem with large arrays; of very large ones some questions are not asked."""
    left_out = (*asked.under, sweep.NAME, "kinks together") if small.problem.is_long else ()
    under = [name for name in asked.under if name not in left_out]
    found = _examine(small.problem, asked._replace(under=under))
    cut = (*(f"{name} (too large)" for name in left_out), *found.cut)
    return replace(small.translate(found), cut=cut)


def _no_elements() -> Finding:
    note = "no argument has an element, so there is no number to compare: give some that have"
    return Finding(Question.GRADIENT, "", Verdict.NOT_JUDGED, note=note, detail="no elements")


def _may_be_for_its_constants(report: Report) -> bool:
    """Whether the report is what NumPy constants of 32 bits in float64 may lead to."""
    if any(note.startswith(NARROWER) for note in report.notes):
        return True
    return any(
        f.verdict is Verdict.ERROR or (f.verdict in OFF and _is_rounding(f))
        for f in report.findings
    )


def _is_rounding(finding: Finding) -> bool:
    return bool(abs(finding.rule - finding.true) <= 8 * eps_of(np.float32) * abs(finding.true))


def _as_it_is(problem: Problem, asked: Asked) -> tuple[Report, bool]:
    """And whether NumPy arrays were met."""
    try:
        return _judged(problem, asked)
    except Failed as failed:
        return replace(asked.report, findings=(failed.finding,)), False


def _judged(problem: Problem, asked: Asked) -> tuple[Report, bool]:
    """Raises Failed where nothing can be compared."""
    working, budget = working_dtypes(problem, asked.dtypes), asked.budget
    bench, draws, look = _begin(problem, working, asked.under, asked.seed)
    programs = bench.programs
    said = [SAID_OF_ROUTE[programs.route]] if programs.route in SAID_OF_ROUTE else []
    notes = (*asked.report.notes, *said, *programs.notes)
    core = _ask_always(bench, working, look)
    known = replace(asked.report, findings=core.findings(), notes=notes)
    growing = _ask_more(bench, draws, look, core, known, budget, asked.measure_power)
    try:
        for more in growing:
            known = more
    except KeyboardInterrupt:
        budget.clear()
        print(f"stopped; known so far:\n{known}", file=sys.stderr)
        raise
    budget.clear()
    cut = (*core.slope.not_examined, *budget.cut)
    known = replace(known, cut=cut, notes=(*known.notes, *bench.notes()))
    return known, programs.at.value.function is not None


class _Core(NamedTuple):
    """What is always asked."""

    value: list[Finding]
    form: list[Finding]
    slope: algebra.Algebra
    law: list[Finding]

    def findings(self) -> tuple[Finding, ...]:
        return (*self.value, *self.form, *self.slope.findings, *self.law)


def _ask_always(bench: Bench, working: Sequence[Working], look: Look) -> _Core:
    again = bench.run(look.x, look.cs[0], look.cs[1])
    return _Core(
        values.ask(bench, look, again),
        structure.ask(bench.problem, working, bench.programs.shapes),
        kinks.ask(bench, look, algebra.ask(bench, look)),
        laws.ask(bench, look, again),
    )


def _ask_more(
    bench: Bench,
    draws: Sequence[Draw],
    look: Look,
    core: _Core,
    report: Report,
    budget: Budget,
    measure_power: bool,
) -> Iterator[Report]:
    """The report as it grows, while the budget lasts."""
    value, form, slope, law = core
    spoiled = precision.Spoiled(
        {f.leaf for f in value if f.verdict in OFF}, _wrong([*form, *slope.findings])
    )
    digits = []
    for n, draw in enumerate(draws):
        if not budget.is_spent(f"precision {draw.working.name}"):
            there = bench.look_at(draw, None) if n else look
            asked = precision.ask(bench, draw, there, slope, spoiled)
            findings = overflow.ask(bench, draw, asked.findings, spoiled.outputs)
            digits.append(replace(asked, findings=findings))
    reached = sweep.ask(bench, look, reach.ask(bench, look, value, slope, budget), budget)
    reached = others.ask(bench, look, reached, budget)
    seen = vacuous.ask(bench, look, reached.looks, reached.algebra, [d.runs for d in digits])
    precise = [finding for d in digits for finding in d.findings]
    findings = [*reached.value, *form, *seen, *law, *precise]
    yield (report := replace(report, findings=tuple(findings), never_entered=reached.never))

    alone = one_row.begin(bench, budget)
    transformed = transforms.ask(bench, look, slope, budget)
    seen = one_row.ask(look, alone, seen)
    findings = [*reached.value, *form, *seen, *law, *precise, *alone.raised, *transformed]
    yield (report := replace(report, findings=tuple(findings)))

    findings += forward.ask(bench, look, value, slope, transformed, budget)
    yield (report := replace(report, findings=tuple(findings)))

    if measure_power:
        first = len(value) + len(form)
        findings[first : first + len(seen)], powers = power.ask(bench, look, seen, budget)
        yield (report := replace(report, findings=tuple(findings), power=powers))
    if not budget.is_spent("cost"):
        own = bench.programs.own
        with precision_of(own.widest):
            cost = cost_of(own, bench.problem.others)
            lost = lost_digits(bench.problem, own, draws[0].cotangents[0])
        yield replace(report, cost=cost, notes=(*report.notes, *lost))


class _Begun(NamedTuple):
    bench: Bench
    draws: list[Draw]  # one for each working dtype
    look: Look  # at the first


def _begin(problem: Problem, working: Sequence[Working], under: Sequence[str], seed: int) -> _Begun:
    """By the first route to the truth that is somewhere finite, if any is."""
    routes = list(Route)
    first = begun = _begin_by(problem, working, under, seed, routes[0])
    while _is_nowhere_finite(begun.bench, begun.look):
        later = routes[routes.index(begun.bench.programs.route) + 1 :]
        if not later:
            return first
        begun = _begin_by(problem, working, under, seed, later[0])
    return begun


def _begin_by(
    problem: Problem, working: Sequence[Working], under: Sequence[str], seed: int, route: Route
) -> _Begun:
    """In the widest dtypes that can be run: a host callback, say, may want float32."""
    wider, why_not = wider_than(working), ""
    while True:
        programs = programs_for(problem, working, under, route, wider, why_not)
        elements = sum(x.size for x in problem.leaves)
        if not problem.wholes and elements > AT_MOST.get(programs.route, elements):
            raise _TooMany
        try:
            return _first_look(problem, programs, working, seed)
        except Exception as e:
            is_own = programs.dtype == programs.own.leaves[0].dtype
            if is_own or not wider:
                raise e if isinstance(e, Failed) else Failed(_raised_when_run(e)) from e
            why_not = why_not or f"in {programs.dtype} it raised {first_line(e)}"
            wider = wider[1:]


def _first_look(
    problem: Problem, programs: Programs, working: Sequence[Working], seed: int
) -> _Begun:
    programs.begin(working)
    bench = Bench(problem, programs, seed)
    draws = [bench.draw(w, shapes) for w, shapes in zip(working, programs.shapes, strict=True)]
    if len(programs.cells) > 1:
        programs.start(programs.cells[1])  # compiles while the function as it is does
    return _Begun(bench, draws, bench.look_at(draws[0], bench.stream("algebra")))


def _raised_when_run(e: Exception) -> Finding:
    note = f"it raised when it was run: {first_line(e)}"
    return Finding(Question.GRADIENT, "", Verdict.ERROR, note=note)


def _is_nowhere_finite(bench: Bench, look: Look) -> bool:
    """Of a leaf, where value and leaf are finite: the route gives no truth there."""
    if not look.is_finite():
        return False
    for k, x in enumerate(look.x):
        has_none = not np.isfinite(look.ref(bench.plain, k)).any()
        if x.size and has_none and np.isfinite(np.asarray(x, np.float64)).all():
            return True
    return False


def _wrong(findings: Iterable[Finding]) -> set[str]:
    """Names of the leaves of which something is wrong."""
    return {f.leaf for f in findings if f.verdict is Verdict.WRONG}
