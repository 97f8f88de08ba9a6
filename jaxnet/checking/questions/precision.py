"""Does the rule keep the digits that autodiff keeps?

In a working dtype, float32 say, r is the rule's cotangent, a autodiff's, and t the true one, from
float64 on the same numbers. Errors are the largest over all cotangents and elements of a leaf. The
rule's may be the largest of

    4 times autodiff's        which operations round is luck
    4 times the conditioning  how far t moves when the inputs move by an eps of the dtype: whoever
                              rounds the inputs once makes that error
    8 eps of the largest |t|  a handful of operations
    8 times what the value lost  where `ref` is given: autodiff's digits are those of another way
                              to compute it, and f may end its iterations early in this dtype

In 16 bits one more cotangent has numbers of one sign: a sum over rows that is kept in 16 bits stops
growing then, where numbers of either sign only make it a little inexact.
"""

from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from jaxnet.checking.approximation import ANOTHER, OF_APART, off
from jaxnet.checking.arrays import FEW_DIGITS, Array, distance, index_of, largest, spread
from jaxnet.checking.bench import Bench, Draw, Look, move
from jaxnet.checking.conventions import FLOAT8
from jaxnet.checking.findings import Finding, Question, Verdict
from jaxnet.checking.problem import as_dtypes, eps_of
from jaxnet.checking.programs import NarrowRun, Run
from jaxnet.checking.questions import vacuous
from jaxnet.checking.questions.algebra import Algebra
from jaxnet.checking.traces import first_line
from jaxnet.checking.truth import Route

# Where autodiff itself has lost digits to cancellation (more than 64 eps), how many is luck, and
# the rule's luck is another.
FACTOR, FACTOR_OF_LUCK, LOST = 4, 32, 64
FLOOR = 8.0
# Random draws are others in float64, so autodiff in the same dtype is the truth, which rounds too.
FLOOR_OF_DRAWS = 64.0
DRAWS = "random draws are others in float64: compared with autodiff in this dtype"
# With nothing that computes the same in this dtype, half of the digits are asked of the rule.
NO_AUTODIFF = "no autodiff in this dtype: compared with the rule in float64"


@dataclass(frozen=True)
class Precision:
    """runs: what came back in the working dtype, a run for each cotangent."""

    findings: list[Finding]
    runs: list[NarrowRun]


class Compared(NamedTuple):
    """One leaf, or one output. r, a, t: [cotangents, ...]; noise: how far t moves, [...]."""

    r: Array
    a: Array
    t: Array
    noise: Array
    eps: float
    least: float = 0.0  # size of what t is to be taken for, where all of it is noise
    apart: float = 0.0  # the function's own value from the true one, where autodiff is not of it


class Spoiled(NamedTuple):
    """Names of what is found wrong already: its digits say nothing."""

    outputs: set[str]
    leaves: set[str]


def ask(bench: Bench, draw: Draw, look: Look, algebra: Algebra, spoiled: Spoiled) -> Precision:
    """look: the same draw in the dtypes of the algebra."""
    name = draw.working.name
    try:
        if name in bench.programs.working:
            draw, look = _with_one_sign(bench, draw, look)
        runs = bench.narrow_runs(draw)
    except Exception as e:  # in float64 it did not
        note = f"it raised when it was run: {first_line(e)}"
        return Precision(
            [Finding(Question.PRECISION, "", Verdict.ERROR, note=note, detail=name)], []
        )
    if not runs:
        return Precision([], [])
    moved = _moved(bench, draw, look)
    found = []
    for k, output in enumerate(bench.problem.outputs):
        if output not in spoiled.outputs | bench.problem.wholes:
            compared = _output(k, draw, look, runs, moved)
            finding = replace(
                _judged(bench, output, compared), question=Question.VALUE, detail=name
            )
            # That a value is precise is not worth a row.
            found += [] if finding.verdict is Verdict.OK else [finding]
    for k, leaf in enumerate(bench.problem.names):
        if leaf not in spoiled.leaves | bench.problem.wholes:
            compared = _leaf(bench, k, draw, look, runs, moved, algebra.distrusted[k])
            found.append(replace(_judged(bench, leaf, compared), detail=name))
    return Precision(found, runs)


def _with_one_sign(bench: Bench, draw: Draw, look: Look) -> tuple[Draw, Look]:
    """One more cotangent, in 16 bits."""
    if max(eps_of(d) for d in draw.working.dtypes) < FEW_DIGITS:
        return draw, look
    narrow = tuple(abs(c) for c in draw.cotangents[0])
    wide = as_dtypes(narrow, bench.programs.cotangents)
    run = bench.run(look.x, wide, look.cs[0])
    there = replace(look, cs=[*look.cs, wide], runs=[*look.runs, run])
    return draw._replace(cotangents=[*draw.cotangents, narrow]), there


def _moved(bench: Bench, draw: Draw, look: Look) -> list[Run]:
    """The point with every number one eps of the working dtype away."""
    eps = max(eps_of(d) for d in draw.working.dtypes)
    rng = bench.stream(f"precision {draw.working.name}")
    moved = []
    for _ in range(bench.moves(bench.plain)):
        there, c = (move(arrays, eps, rng) for arrays in (look.x, look.cs[0]))
        with bench.skipping("every number moved by an eps"):
            moved.append(bench.run(there, c, look.cs[1]))
    return moved


def _output(k: int, draw: Draw, look: Look, runs: list[NarrowRun], moved: list[Run]) -> Compared:
    t = np.stack([run.value[k] for run in look.runs])
    return Compared(
        r=np.stack([run.forward[k] for run in runs]),
        a=np.stack([run.value[k] for run in runs]),
        t=t,
        noise=spread([m.value[k] for m in moved], t[0]),
        eps=eps_of(draw.cotangents[0][k].dtype),
    )


def _leaf(
    bench: Bench,
    k: int,
    draw: Draw,
    look: Look,
    runs: list[NarrowRun],
    moved: list[Run],
    distrusted: Array,
) -> Compared:
    """Where the reference is distrusted the rule was not refuted: its float64 is the truth."""
    plain = bench.plain
    is_noise = _is_noise(bench, look, k)
    is_tail = is_noise and vacuous.is_definite(bench, look, k, [runs])
    if runs[0].auto is None or is_tail:
        distrusted = np.ones_like(distrusted)
    noise = spread([m.ref[plain.key][k] for m in moved], look.runs[0].ref[plain.key][k])
    t = np.where(distrusted, look.rule(plain, k), look.ref(plain, k))
    return Compared(
        r=np.stack([run.rule[k] for run in runs]),
        a=np.stack([t[n] if run.auto is None else run.auto[k] for n, run in enumerate(runs)]),
        t=t,
        noise=np.where(distrusted, 0, noise),
        eps=eps_of(draw.working.dtypes[k]),
        least=bench.natural(look, k) if is_noise and not is_tail else 0.0,
        apart=_apart(bench, look, runs),
    )


def _apart(bench: Bench, look: Look, runs: list[NarrowRun]) -> float:
    """How far the value is off in the working dtype; 0 where half of the digits are lost."""
    if not bench.problem.ref_is_given:
        return 0.0
    pairs = zip(runs[0].value, look.runs[0].value, strict=True)
    lost = max(off(value, true) for value, true in pairs)
    return lost if lost < ANOTHER else 0.0


def _is_noise(bench: Bench, look: Look, k: int) -> bool:
    """Whether terms cancel to 0: nothing is left of the gradient."""
    size, noise = (largest(of(bench.plain, k)) for of in (look.ref, look.noise))
    return vacuous.cancels(bench, look, k, size, noise)


def _judged(bench: Bench, leaf: str, compared: Compared) -> Finding:
    r, a, t, noise, eps, least, apart = compared
    note, floor = "", FLOOR
    if bench.programs.route is Route.DIFFERENCES:
        note, floor = NO_AUTODIFF, float(eps**-0.5)
    elif bench.programs.casts_to_float8:
        note, floor = FLOAT8, max(FLOOR, bench.eps / eps)
    elif bench.programs.draws:
        t, note, floor = a, DRAWS, FLOOR_OF_DRAWS
    scale = max(largest(t), least)
    error, auto_error = distance(r, t), distance(a, t)
    # Where autodiff is not finite either, the dtype has no such number.
    no_such_number = ~np.isfinite(error) & ~np.isfinite(a)
    error = np.where(np.isnan(error), np.inf, error)
    error = np.where(no_such_number, 0, error)
    of_auto = largest(auto_error)
    factor = FACTOR if of_auto <= LOST * eps * scale else FACTOR_OF_LUCK
    floor = max(floor * eps, OF_APART * apart, bench.problem.rtol or 0.0)
    allowed = max(factor * of_auto, FACTOR * largest(noise), floor * scale)
    unit = max(eps * scale, np.finfo(float).tiny)
    in_eps = float(np.max(error, initial=0)) / unit, of_auto / unit
    if (error <= allowed).all():
        return Finding(
            Question.PRECISION,
            leaf,
            Verdict.OK,
            error=in_eps[0],
            auto_error=in_eps[1],
            note=note,
        )
    row, i = divmod(int(np.argmax(error)), t[0].size)
    said = f"{in_eps[0]:.2g} eps, autodiff {in_eps[1]:.2g}"
    return Finding(
        Question.PRECISION,
        leaf,
        Verdict.IMPRECISE,
        index=index_of(i, t[0].shape),
        rule=float(r[row].flat[i]),
        auto=float(a[row].flat[i]),
        true=float(t[row].flat[i]),
        error=in_eps[0],
        auto_error=in_eps[1],
        note="; ".join(filter(None, [said, note])),
    )
