"""One check: which question is asked after which, and what one hands to the next."""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

from jaxnet.checking.bench import Bench, working_dtypes
from jaxnet.checking.findings import Finding, Report, Verdict
from jaxnet.checking.problem import Problem
from jaxnet.checking.programs import programs_for
from jaxnet.checking.questions import (
    algebra,
    laws,
    power,
    precision,
    reach,
    structure,
    transforms,
    vacuous,
    values,
)
from jaxnet.checking.traces import Failed


def examine(
    problem: Problem,
    report: Report,
    dtypes: Sequence[Any] | None,
    under: Sequence[str],
    seed: int,
    measure_power: bool = True,
) -> Report:
    """The report, filled in. under: names of transformations."""
    working = working_dtypes(problem, dtypes)
    try:
        programs = programs_for(problem, working, under)
    except Failed as failed:
        return replace(report, findings=(failed.finding,))
    bench = Bench(problem, programs, seed)

    draw, *more_draws = [bench.draw(w) for w in working]
    look = bench.look_at(draw, bench.stream("algebra"))
    again = bench.run(look.x, look.cs[0], look.cs[1])

    value = values.ask(bench, look, again)
    form = structure.ask(problem, working, programs.shapes)
    slope = algebra.ask(bench, look)
    law = laws.ask(bench, look, again)
    spoiled = precision.Spoiled(_wrong(value), _wrong([*form, *slope.findings]))
    digits = [precision.ask(bench, draw, look, slope, spoiled)]
    for more in more_draws:
        there = bench.look_at(more, None)
        digits.append(precision.ask(bench, more, there, slope, spoiled))
    transformed = transforms.ask(bench, look, slope)
    reached = reach.ask(bench, look, slope)
    narrow = [d.runs for d in digits]
    seen = vacuous.ask(bench, look, reached.looks, reached.algebra, narrow)

    precise = [finding for d in digits for finding in d.findings]
    findings = [*value, *form, *seen, *law, *precise, *transformed]
    return replace(
        report,
        findings=tuple(findings),
        power=power.ask(bench, look, seen) if measure_power else {},
        never_entered=reached.never,
        cost=programs.cost,
        notes=report.notes + programs.notes,
    )


def _wrong(findings: Iterable[Finding]) -> set[str]:
    """Names of the leaves of which something is wrong."""
    return {f.leaf for f in findings if f.verdict is Verdict.WRONG}
