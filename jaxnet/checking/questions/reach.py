"""Which branches did no point enter, and is the rule right where a point enters them?

A rule that is right where the arguments happen to lie may be wrong on the other side of a where.
Points are made that enter such sides (branches.py); at them only what is surely wrong counts.
"""

from dataclasses import dataclass

from jaxnet.checking.approximation import FAR, is_another
from jaxnet.checking.bench import Bench, Look
from jaxnet.checking.budget import Budget
from jaxnet.checking.findings import Finding, Never, Verdict, made
from jaxnet.checking.questions import values
from jaxnet.checking.questions.algebra import Algebra, judge_cell, with_hint
from jaxnet.checking.traces import precision_of


@dataclass(frozen=True)
class Reach:
    """value, algebra: what is found now; looks: at the added points; never: sides not entered."""

    value: list[Finding]
    algebra: list[Finding]
    looks: list[Look]
    never: tuple[Never, ...]


def ask(bench: Bench, look: Look, value: list[Finding], algebra: Algebra, budget: Budget) -> Reach:
    if budget.is_spent("branches"):
        return Reach(value, algebra.findings, [], ())
    with precision_of(bench.programs.dtype):
        points, never = bench.programs.branches.points(bench.problem, look.x, look.cs[0])
    findings, looks = list(algebra.findings), []
    for how, x in points:
        if budget.is_spent(f"with {how}"):
            continue
        there = None
        with bench.skipping(how):
            there = bench.look(x, look.cs[:2], bench.stream(f"reach, {how}"))
        if there is None or not there.is_finite():
            continue  # the point is outside the function's domain
        looks.append(there)
        value = values.at_made(bench, there, value, how)
        if is_another(bench.problem, look.runs[0], there.runs[0]):
            bench.parted.append(how)
            continue
        wrong = {f.leaf for f in findings if f.verdict is Verdict.WRONG}
        for judged in judge_cell(bench, bench.plain, there, only_wrong=True, left_out=wrong):
            k = bench.problem.names.index(judged.finding.leaf)
            if _is_worse(bench, judged.finding, findings[k]):
                findings[k] = made(with_hint(bench, there, k, judged.finding), how)
    return Reach(value, findings, looks, never)


def _is_worse(bench: Bench, there: Finding, here: Finding) -> bool:
    if there.verdict is Verdict.APPROXIMATE:
        return here.verdict is Verdict.OK
    if there.auto is not None and there.true != there.auto:
        return False  # autodiff is not right there: the point may be at fault
    is_little = there.error * bench.eps <= FAR
    return there.verdict is Verdict.WRONG and not is_little
