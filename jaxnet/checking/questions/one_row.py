"""Is the rule right of a single row, where the function takes one?

A squeeze takes the axis of one row away, and n - 1 is 0 there. Of every array that has as many rows
as the first the first row is taken. What is wrong there must be so beyond doubt, as at special
points (sweep.py). That the rule raises counts where it takes two rows: else an array of all rows
may be written into it.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np

from jaxnet.checking.arrays import FEW_DIGITS
from jaxnet.checking.bench import Bench, Look
from jaxnet.checking.budget import Budget
from jaxnet.checking.domains import FIXED, domain_of
from jaxnet.checking.findings import ONE_ROW, Finding, Verdict, made
from jaxnet.checking.problem import Problem
from jaxnet.checking.questions import sweep
from jaxnet.checking.traces import Failed

NAME = "one row"  # in the report


class OneRow(NamedTuple):
    """A bench for it, where there is something to ask; and that the rule raised."""

    bench: Bench | None
    raised: list[Finding]


def begin(bench: Bench, budget: Budget) -> OneRow:
    """It compiles while something else is asked."""
    one = _of_rows(1, bench.problem) if bench.eps < FEW_DIGITS else None
    if one is None or budget.is_spent(NAME):
        return OneRow(None, [])
    with bench.skipping(ONE_ROW):
        try:
            programs = bench.programs.of(one)
            programs.start(programs.cells[0])
            return OneRow(replace(bench, problem=one, programs=programs), [])
        except Failed as failed:
            is_error = failed.finding.verdict is Verdict.ERROR and _takes_two(bench)
            return OneRow(None, [made(failed.finding, ONE_ROW)] if is_error else [])
    return OneRow(None, [])


def ask(look: Look, alone: OneRow, algebra: Sequence[Finding]) -> list[Finding]:
    """The algebra's findings by leaf, wrong ones among them now."""
    findings, bench = list(algebra), alone.bench
    if bench is None:
        return findings
    at, rng = bench.programs.at, bench.stream(ONE_ROW)
    cs = [tuple(_normal(rng, c) for c in at.zero_cotangents()) for _ in range(2)]
    there = sweep.first_finite(bench, look, [at.leaves], cs, ONE_ROW)
    return findings if there is None else sweep.algebra_at(bench, there, findings, ONE_ROW)


def _of_rows(count: int, problem: Problem) -> Problem | None:
    """The first of them, where there are more."""
    rows = next((x.shape[0] for x in problem.leaves if x.ndim > 1), 0)
    if _are_fixed(problem, rows):
        return None  # columns that sum to one, say
    if rows <= count or problem.wholes or problem.as_met or _names_rows(problem, rows):
        return None

    def first(x: Any) -> Any:
        return x[:count] if np.ndim(x) and x.shape[0] == rows else x

    leaves, others = (tuple(map(first, arrays)) for arrays in (problem.leaves, problem.others))
    return replace(problem, leaves=leaves, others=others)


def _names_rows(problem: Problem, rows: int) -> bool:
    """Whether integers, of another number than the rows, may say which rows are meant."""
    of_integers = [x.shape for x in problem.others if np.ndim(x)]
    return any(shape[0] != rows for shape in of_integers)


def _are_fixed(problem: Problem, rows: int) -> bool:
    """Whether an array with so many rows is to stay as it is."""
    cut = [k for k, x in enumerate(problem.leaves) if x.ndim > 1 and x.shape[0] == rows]
    return any(domain_of(problem, k) == FIXED for k in cut)


def _takes_two(bench: Bench) -> bool:
    two = _of_rows(2, bench.problem)
    try:
        return two is not None and bool(bench.programs.of(two))
    except Failed:
        return False


def _normal(rng: np.random.Generator, like: Any) -> Any:
    return np.asarray(rng.normal(size=like.shape)).astype(like.dtype)
