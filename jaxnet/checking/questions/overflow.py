"""Are value and rule numbers wherever the function and autodiff are, in the working dtype?

At 64 times the arguments exponentials overflow float32, and squares do at its far end; at its near
end squares are 0, and what is divided by them is no number. All within the arguments' domains. Only
one thing is asked: that what the rule returns is finite where value and autodiff are, and these are
right.
"""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import replace
from typing import Any, NamedTuple, cast

import jax.numpy as jnp
import numpy as np

from jaxnet.checking.arrays import Array, distance, index_of, largest, on_host, typical
from jaxnet.checking.bench import Bench, Draw, Look
from jaxnet.checking.domains import Domain, Kind, Move, domain_of
from jaxnet.checking.findings import Finding, Question, Verdict, made
from jaxnet.checking.problem import Leaves, eps_of
from jaxnet.checking.programs import NarrowRun

FACTORS = (64.0, -64.0)
LARGE = "arguments so large that squares overflow"
SMALL = "arguments so small that squares underflow"
SIGNED = (Kind.POSITIVE, Kind.NEGATIVE)
OF_RULE = "not finite where autodiff is"
OF_VALUE = "the forward that is differentiated is not finite where the function is"


def ask(
    bench: Bench, draw: Draw, precise: Sequence[Finding], spoiled: Collection[str]
) -> list[Finding]:
    """The precision's findings, those of a rule that overflows among them now.

    spoiled: outputs of which something is wrong already.
    """
    if bench.problem.as_met:
        return list(precise)
    found: dict[tuple[Question, str], Finding] = {}
    for how, there in _points(bench, draw):
        with bench.skipping(f"{how} in {draw.working.name}"):
            for f in _overflowing(bench, there):
                found.setdefault((f.question, f.leaf), made(f, how))
    known = {f.leaf for f in precise if f.question is Question.VALUE} | {*spoiled}
    values = [f for (of, leaf), f in found.items() if of is Question.VALUE and leaf not in known]
    rules = [found.get((f.question, f.leaf), f) if _is_digits(f) else f for f in precise]
    return [*values, *rules]


def _is_digits(finding: Finding) -> bool:
    return finding.question is Question.PRECISION and not finding.verdict.bad


# -- points


def _points(bench: Bench, draw: Draw) -> Iterator[tuple[str, Draw]]:
    """Each with how it was made, and with one cotangent."""
    for factor in FACTORS:
        move = Move(factor, 0)
        yield f"the arguments {move}", _moved(bench, draw, [move] * len(draw.leaves))
    for how, size in ((SMALL, _near_end), (LARGE, _far_end)):
        moves = [Move(size(x.dtype) / typical(on_host(x)), 0) for x in draw.leaves]
        yield how, _moved(bench, draw, moves, how)


def _near_end(dtype: Any) -> float:
    """Of such a number the square is less than the smallest that is not 0."""
    of = cast(Any, jnp).finfo(dtype)
    return float(np.sqrt(float(of.tiny) * float(of.eps))) / 8


def _far_end(dtype: Any) -> float:
    return 8 * float(np.sqrt(float(cast(Any, jnp).finfo(dtype).max)))


def _moved(bench: Bench, draw: Draw, moves: Sequence[Move], to: str = "") -> Draw:
    """to: the end to which the arguments are moved, of those whose domain reaches there."""

    def moved(k: int, x: Any) -> Any:
        domain = domain_of(bench.problem, k)
        return domain.moved(on_host(x), moves[k]).astype(x.dtype) if _reaches(domain, to) else x

    leaves = tuple(moved(k, x) for k, x in enumerate(draw.leaves))
    return draw._replace(leaves=leaves, cotangents=draw.cotangents[:1])


def _reaches(domain: Domain, to: str) -> bool:
    """Numbers that happen to be positive are not expected to be almost 0."""
    if not to:
        return True
    if domain.kind in SIGNED:
        return to == LARGE or domain.is_given
    return domain.kind is Kind.ANY


# -- what is not finite there


class Compared(NamedTuple):
    """A leaf, or an output. r, a, t: by the rule, by autodiff and in float64; differing: where."""

    r: Array
    a: Array
    t: Array
    differing: Array
    eps: float


def _overflowing(bench: Bench, draw: Draw) -> Iterator[Finding]:
    for run in bench.narrow_runs(draw):
        if not _is_any_differing(run):
            return
        true = bench.look_at(draw, None)
        for finding in (*_of_values(bench, draw, run, true), *_of_rule(bench, draw, run, true)):
            if finding.leaf not in bench.problem.wholes:
                yield replace(finding, detail=draw.working.name, _x=draw.leaves)


def _is_any_differing(run: NarrowRun) -> bool:
    of_values = (_value_differing(run, k) for k in range(len(run.value)))
    of_rule = (_differing(run, k) for k in range(len(run.rule)))
    return any(differing.any() for differing in (*of_values, *of_rule))


def _of_values(bench: Bench, draw: Draw, run: NarrowRun, true: Look) -> Iterator[Finding]:
    for k, name in enumerate(bench.problem.outputs):
        r, a, t = run.forward[k], run.value[k], true.runs[0].value[k]
        eps = eps_of(draw.cotangents[0][k].dtype)
        compared = Compared(r, a, t, _value_differing(run, k), eps)
        yield from _finding(Question.VALUE, name, compared, OF_VALUE)


def _of_rule(bench: Bench, draw: Draw, run: NarrowRun, true: Look) -> Iterator[Finding]:
    for k, name in enumerate(bench.problem.names):
        r, a, t = run.rule[k], cast(Leaves, run.auto)[k], true.ref(bench.plain, k)[0]
        compared = Compared(r, a, t, _differing(run, k), eps_of(draw.working.dtypes[k]))
        yield from _finding(Question.PRECISION, name, compared, OF_RULE)


def _value_differing(run: NarrowRun, k: int) -> Array:
    """Where the forward is not finite, and all that the function and autodiff return is."""
    forward = run.forward[k]
    if run.auto is None or not _are_finite((*run.value, *run.auto)):
        return np.zeros(forward.shape, bool)
    differing: Array = ~np.isfinite(forward)
    return differing


def _differing(run: NarrowRun, k: int) -> Array:
    """Where the rule is not finite, and autodiff and all values are."""
    r = run.rule[k]
    if run.auto is None or not _are_finite((*run.value, *run.forward)):
        return np.zeros(r.shape, bool)
    differing: Array = ~np.isfinite(r) & np.isfinite(run.auto[k])
    return differing


def _are_finite(arrays: Leaves) -> bool:
    return all(np.isfinite(a).all() for a in arrays)


def _finding(question: Question, name: str, compared: Compared, note: str) -> list[Finding]:
    """One at most, where autodiff is right."""
    r, a, t, differing, eps = compared
    bad = np.flatnonzero(differing & (distance(a, t) <= np.sqrt(eps) * largest(t)))
    if not bad.size:
        return []
    i = int(bad[0])
    return [
        Finding(
            question,
            name,
            Verdict.IMPRECISE,
            index=index_of(i, t.shape),
            rule=float(r.flat[i]),
            auto=float(a.flat[i]),
            true=float(t.flat[i]),
            note=note,
        )
    ]
