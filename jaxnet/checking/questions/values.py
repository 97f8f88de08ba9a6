"""Is the forward that is differentiated the function?

A rule has a forward of its own, which jax.grad runs in place of the body. What it returns must be
the function's value, to the digits that rounding leaves (arrays.tolerance). A ref that was given
may be another function on purpose, as for a straight-through gradient: that it is one is said.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from jaxnet.checking.approximation import FAR, off, said, verdict_of
from jaxnet.checking.arrays import (
    Array,
    distance,
    index_of,
    largest,
    same_twice,
    spread,
    tolerance,
    unit_of,
    worst_of,
)
from jaxnet.checking.bench import Bench, Look
from jaxnet.checking.findings import Finding, Question, Verdict, made
from jaxnet.checking.programs import Run
from jaxnet.checking.traces import NOT_DETERMINISTIC, SAME_TWICE


def ask(bench: Bench, look: Look, again: Run) -> list[Finding]:
    """again: a second run of the look's first."""
    run = look.runs[0]
    found = []
    for k, output in enumerate(bench.problem.outputs):
        if not same_twice(again.value[k], run.value[k], bench.value_eps):
            found.append(
                Finding(
                    Question.LAWS, output, Verdict.ERROR, note=NOT_DETERMINISTIC, detail=SAME_TWICE
                )
            )
            continue
        noise = spread([m.value[k] for m in look.moved], run.value[k])
        standard = Standard(noise, bench.value_eps, bench.rtol(look))
        found.append(compared(output, run.forward[k], run.value[k], standard))
        if bench.problem.ref_is_given:
            found += _other_function(output, run.value[k], run.ref_value[k], noise, bench.value_eps)
    others = zip(bench.problem.other_outputs, run.other_value, run.other_forward, strict=True)
    for output, value, forward in others:
        if not np.array_equal(value, forward):
            note = "the rule's forward returns other values than the function"
            found.append(Finding(Question.VALUE, output, Verdict.WRONG, note=note))
    return found


def at_made(bench: Bench, there: Look, known: Sequence[Finding], how: str) -> list[Finding]:
    """What is known of the value, with what is wrong at a point that was made so.

    By more than float32 can tell, as of a gradient there: another formula has other tails. The
    value must have digits there: the logarithm of a determinant that is 0 has none.
    """
    run, found = there.runs[0], {}
    for k, output in enumerate(bench.problem.outputs):
        noise = spread([m.value[k] for m in there.moved], run.value[k])
        standard = Standard(noise, bench.value_eps, max(FAR, bench.rtol(there)))
        finding = compared(output, run.forward[k], run.value[k], standard)
        if finding.verdict is Verdict.WRONG and largest(noise) <= FAR * largest(run.value[k]):
            found[output] = replace(made(finding, how), _x=there.x)
    return [found.get(f.leaf, f) if f.verdict is Verdict.OK else f for f in known]


class Standard(NamedTuple):
    """What a value is held to. noise: how far it moves with the inputs, element by element."""

    noise: Array
    eps: float
    rtol: float  # that it may be off as an approximation


def compared(output: str, forward: Array, value: Array, standard: Standard) -> Finding:
    noise, eps, rtol = standard
    error = distance(forward, value)
    error = np.where(np.isnan(error), np.inf, error)  # one is NaN and the other is not
    in_eps = error / unit_of(value, eps)
    bad = ~(error <= tolerance(value, noise, eps))
    if not bad.any():
        return Finding(Question.VALUE, output, Verdict.OK, error=float(np.max(in_eps, initial=0)))
    i = worst_of(error, bad)
    verdict = verdict_of(bad, forward, value, rtol)
    note = "the forward that is differentiated is not the function"
    return Finding(
        Question.VALUE,
        output,
        verdict,
        index=index_of(i, value.shape),
        rule=float(forward.flat[i]),
        true=float(value.flat[i]),
        error=float(in_eps.flat[i]),
        note=note if verdict is Verdict.WRONG else said(off(forward, value), rtol),
    )


def _other_function(
    output: str, value: Array, ref_value: Array, noise: Array, eps: float
) -> list[Finding]:
    """Where ref returns another value than f: of which function is the gradient asked for?"""
    error = distance(ref_value, value)
    differs = ~(error <= tolerance(value, noise, eps))
    if not differs.any():
        return []
    i = worst_of(np.where(np.isnan(error), np.inf, error), differs)
    return [
        Finding(
            Question.VALUE,
            output,
            Verdict.DIFFERENT,
            index=index_of(i, value.shape),
            rule=float(value.flat[i]),
            true=float(ref_value.flat[i]),
            note="the gradient asked for is that of ref, which has another value",
            detail="of ref",
        )
    ]
