"""Is the rule right of a single row, where the function takes one?

A squeeze takes the axis of one row away, and n - 1 is 0 there. Of every array that has as many rows
as the first the first row is taken. What is wrong there must be so beyond doubt, as at special
points (sweep.py). That the rule raises counts where the outputs have one row then: else an array of
all rows may be written into it.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np

from jaxnet.checking.arrays import FEW_DIGITS
from jaxnet.checking.bench import Bench, Look
from jaxnet.checking.budget import Budget
from jaxnet.checking.findings import Finding, Verdict
from jaxnet.checking.problem import Leaves, Problem, as_dtypes
from jaxnet.checking.questions import sweep
from jaxnet.checking.questions.reach import made
from jaxnet.checking.traces import Failed, precision_of, shapes_of

NAME = "one row"  # in the report
HOW = "the first row alone"


class OneRow(NamedTuple):
    """A bench for it, where there is something to ask; and that the rule raised."""

    bench: Bench | None
    raised: list[Finding]


def begin(bench: Bench, look: Look, budget: Budget) -> OneRow:
    """It compiles while something else is asked."""
    one = None if bench.problem.wholes or bench.eps > FEW_DIGITS else _of_one_row(bench.problem)
    if one is None or budget.is_spent(NAME):
        return OneRow(None, [])
    with bench.skipping(HOW):
        try:
            programs = bench.programs.of(one)
            programs.start(programs.cells[0])
            return OneRow(replace(bench, problem=one, programs=programs), [])
        except Failed as failed:
            is_error = failed.finding.verdict is Verdict.ERROR and _takes_one(bench, look, one)
            return OneRow(None, [made(failed.finding, HOW)] if is_error else [])
    return OneRow(None, [])


def ask(look: Look, alone: OneRow, algebra: Sequence[Finding]) -> list[Finding]:
    """The algebra's findings by leaf, wrong ones among them now."""
    findings, bench = list(algebra), alone.bench
    if bench is None:
        return findings
    at, rng = bench.programs.at, bench.stream(HOW)
    cs = [tuple(_normal(rng, c) for c in at.zero_cotangents()) for _ in range(2)]
    return sweep.judged(bench, look, [at.leaves], cs, findings, HOW)


def _rows(problem: Problem) -> int:
    """Of the first leaf that has any."""
    return next((x.shape[0] for x in problem.leaves if x.ndim), 0)


def _of_one_row(problem: Problem) -> Problem | None:
    rows = _rows(problem)
    if rows < 2:
        return None

    def first(x: Any) -> Any:
        return x[:1] if np.ndim(x) and x.shape[0] == rows else x

    leaves, others = (tuple(map(first, arrays)) for arrays in (problem.leaves, problem.others))
    return replace(problem, leaves=leaves, others=others)


def _takes_one(bench: Bench, look: Look, one: Problem) -> bool:
    """Whether the function has one row of outputs then, where it had as many as arguments."""
    leaves = as_dtypes(one.leaves, [x.dtype for x in look.x])
    with precision_of(bench.programs.dtype):
        outputs: Leaves = shapes_of(one.rule, leaves, one.others)[0]
    rows, before = _rows(bench.problem), look.runs[0].value
    of_rows = [v for v, b in zip(outputs, before, strict=True) if b.shape[:1] == (rows,)]
    return bool(of_rows) and all(v.shape[0] == 1 for v in of_rows)


def _normal(rng: np.random.Generator, like: Any) -> Any:
    return np.asarray(rng.normal(size=like.shape)).astype(like.dtype)
