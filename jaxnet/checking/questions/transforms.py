"""Does the rule survive vmap, scan, remat and a second derivative?

Each transformed rule is compared with the transformed reference, element by element as in the
algebra. That it runs under jit is how everything here runs.
"""

from typing import Any

import numpy as np

from jaxnet.checking.arrays import on_host, typical
from jaxnet.checking.bench import Bench, Look
from jaxnet.checking.cells import SECOND_ORDER, Cell
from jaxnet.checking.findings import Finding, Question, Verdict
from jaxnet.checking.questions.algebra import Algebra, judge_cell

BESIDE = "a little beside the arguments, where the reference is to be trusted"
NOWHERE = "not judged: the reference is not to be trusted here"


def ask(bench: Bench, look: Look, algebra: Algebra) -> list[Finding]:
    # What a wrong rule does under a transformation says nothing new of that leaf.
    wrong = {f.leaf for f in algebra.findings if f.verdict is Verdict.WRONG}
    found = list(bench.programs.not_compared)
    if not wrong:
        found.append(Finding(Question.TRANSFORMS, "", Verdict.OK, detail="jit"))
    trusted = not any(d.any() for d in algebra.distrusted)
    for cell in bench.programs.cells[1:]:
        if not cell.is_second_order or (trusted and not wrong):
            found += _compared(bench, cell, look, wrong)
        elif not wrong:
            found += _compared_beside(bench, cell, look)
    return found


def _compared(bench: Bench, cell: Cell, look: Look, wrong: set[str]) -> list[Finding]:
    """What is wrong under the transformation alone; one ok where nothing is."""
    judged = [j.finding for j in judge_cell(bench, cell, look.with_first_cotangent())]
    bad = [f for f in judged if f.verdict is Verdict.WRONG and f.leaf not in wrong]
    return bad or ([] if wrong else [_ok(cell)])


def _compared_beside(bench: Bench, cell: Cell, look: Look) -> list[Finding]:
    """Where the reference is not trusted on the slope, it is not on the slope's slope either."""
    beside = _beside(bench, look)
    plain = judge_cell(bench, bench.plain, beside, only_wrong=True)
    if any(j.distrusted.any() or j.finding.verdict is not Verdict.OK for j in plain):
        verdict = Verdict.UNSUPPORTED
        return [Finding(cell.question, "", verdict, note=NOWHERE, detail=cell.detail)]
    there = beside.with_first_cotangent()
    judged = [j.finding for j in judge_cell(bench, cell, there, only_wrong=True)]
    bad = [f for f in judged if f.verdict is Verdict.WRONG]
    return bad or [_ok(cell, BESIDE)]


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

    return bench.look(tuple(moved(x) for x in look.x), look.cs[:2], rng)
