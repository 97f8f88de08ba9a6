"""Arguments whose gradient is meant to be another than the derivative: the caller says which.

A straight-through gradient of one argument is no fault, and the rest of the rule is judged as ever.
"""

from collections.abc import Set as AbstractSet
from dataclasses import replace
from typing import Any

from jaxnet.checking.findings import Finding, Question, Verdict
from jaxnet.checking.large import WHOLE
from jaxnet.checking.problem import Problem
from jaxnet.checking.reports import Report

MEANT = "another gradient than the derivative, by design"
# Both are asked of all arguments together.
NOT_ASKED = "grad of grad and forward mode (by design)"
# Digits, laws and structure are asked of whatever gradient is meant.
OF_THE_DERIVATIVE = (Question.ALGEBRA, Question.TRANSFORMS, Question.FORWARD)


def leaves_by_design(by_design: Any, problem: Problem) -> set[str]:
    """Their names. Raises TypeError and ValueError."""
    if isinstance(by_design, str) or not isinstance(by_design, tuple | list | set):
        raise TypeError(f"check: by_design must be a tuple of argument names, got {by_design!r}")
    arguments = [problem.arguments[a] for a in problem.argument]
    unknown = [name for name in by_design if name not in arguments]
    if unknown:
        floating = ", ".join(dict.fromkeys(arguments))
        raise ValueError(
            f"check: by_design names {unknown[0]!r}, which is no floating argument ({floating})"
        )
    pairs = zip(problem.names, arguments, strict=True)
    mine = [name for name, argument in pairs if argument in by_design]
    return {*mine, *(name + WHOLE for name in mine)}


def with_by_design(report: Report, leaves: AbstractSet[str]) -> Report:
    """The report, in which a wrong derivative of these leaves is another one, and no fault."""
    if not any(_is_meant(f, leaves) for f in report.findings):
        return report
    findings = tuple(_meant(f) if _is_meant(f, leaves) else f for f in report.findings)
    return replace(report, findings=findings, cut=(*report.cut, NOT_ASKED))


def _is_meant(finding: Finding, leaves: AbstractSet[str]) -> bool:
    is_wrong = finding.verdict is Verdict.WRONG and finding.question in OF_THE_DERIVATIVE
    return is_wrong and finding.leaf in leaves


def _meant(finding: Finding) -> Finding:
    return replace(finding, verdict=Verdict.DIFFERENT, note=MEANT)
