"""The primitives that are Python objects in a function: found, met, and judged by their methods."""

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from jaxnet import _graph
from jaxnet.checking.findings import Finding, Question, Verdict
from jaxnet.checking.methods import BACKWARD, METHODS
from jaxnet.checking.problem import Problem
from jaxnet.checking.questions import methods
from jaxnet.checking.reports import Report
from jaxnet.checking.sites import Found, find_in_float64, meet_values, rules_in, trace_flat
from jaxnet.checking.traces import first_line

LEFT_ON = "primitive"  # what a caller may accept


def not_judged(names: Sequence[str]) -> tuple[Finding, ...]:
    """Of primitives of somebody's that stay in the graph."""
    return tuple(
        Finding(
            Question.GRADIENT,
            "",
            Verdict.NOT_JUDGED,
            note=(
                f"{name} is a primitive that acts on other than arrays, has effects, or whose "
                f"expand this JAX cannot trace: give ref=, or check what it is made from"
            ),
            detail=LEFT_ON,
        )
        for name in names
    )


@dataclass
class Examined:
    report: Report


@contextlib.contextmanager
def raising_is_a_finding(may_raise: bool, report: Report) -> Iterator[Examined]:
    """Of what somebody's primitive raises when it is expanded, in a program being compiled, say."""
    examined = Examined(report)
    try:
        yield examined
    except Exception as e:
        if not may_raise:
            raise
        note = f"it raised {first_line(e)}"
        raised = Finding(Question.STRUCTURE, "", Verdict.ERROR, note=note)
        examined.report = replace(report, findings=(raised,))


def with_methods(report: Report, problem: Problem, seed: int) -> Report:
    """The report of a function, and what is found of the methods of each HiPrim in it."""
    arrays = (*problem.leaves, *problem.others)
    jaxpr = trace_flat(problem, arrays)
    found = rules_in(jaxpr, problem.rtol)
    judged = [f for f in found if f.kind == _graph.HIPRIM and not f.is_shadowed]
    if not judged:
        return report
    meet_values(jaxpr, found, arrays)
    find_in_float64(problem, found)
    for site in judged:
        for values in site.points():
            report = with_methods_at(report, site, values, seed)
    return report


def with_methods_at(report: Report, site: Found, values: Sequence[Any], seed: int) -> Report:
    """The report of what calls a rule, and what is found of its methods where it is a HiPrim."""
    if site.kind != _graph.HIPRIM:
        return report
    prim = _graph.python_object(site.equation)
    known = [_without_a_gradient(f, prim) for f in report.findings]
    findings = _worst_of_each([*known, *_asked(prim, site, values, seed)])
    notes = dict.fromkeys((*report.notes, *_what_is_lacking(prim)))
    return replace(report, findings=tuple(findings), notes=tuple(notes))


def _asked(prim: Any, site: Found, values: Sequence[Any], seed: int) -> list[Finding]:
    try:
        return methods.ask(prim, site, values, seed)
    except Exception as e:
        note = f"the methods of {site.name} could not be judged: {first_line(e)}"
        return [Finding(Question.METHODS, "", Verdict.NOT_JUDGED, note=note, detail=LEFT_ON)]


def _without_a_gradient(f: Finding, prim: Any) -> Finding:
    """A class that has no reverse mode is not at fault for that."""
    if not f.verdict.bad or "for grad support" not in f.note or _graph.defines(prim, "vjp_fwd"):
        return f
    note = f"{type(prim).__name__} has no vjp_fwd, so there is no gradient to judge"
    return Finding(Question.GRADIENT, "", Verdict.UNSUPPORTED, note=note)


def _worst_of_each(findings: Sequence[Finding]) -> list[Finding]:
    """Each method and leaf once, and no ok of a method that is not ok elsewhere."""
    spoken = {f.detail for f in findings if _is_of_method(f) and f.verdict is not Verdict.OK}
    kept: dict[Any, Finding] = {}
    for n, f in enumerate(findings):
        if not _is_of_method(f):
            kept[n] = f
        elif f.verdict is not Verdict.OK or f.detail not in spoken:
            kept.setdefault((f.detail, f.leaf, f.verdict), f)
    return [*kept.values()]


def _is_of_method(f: Finding) -> bool:
    return f.question is Question.METHODS


def _what_is_lacking(prim: Any) -> list[str]:
    lacks = [m for m in METHODS if not _graph.defines(prim, m)]
    either = {*BACKWARD} - {*lacks}  # one of the two is enough
    lacks = [m for m in lacks if not (either and m in BACKWARD)]
    return [f"{type(prim).__name__} has no {', '.join(lacks)} of its own"] if lacks else []
