"""Is what jax.jvp makes of a rule the derivative too?

A jvp by hand (jax.custom_jvp) is run by jax.jvp, jacfwd and linearize as it was written; reverse
mode runs it transposed, and there a constant that was added to a tangent is lost, a NaN with it. So
the tangents of the outputs are compared with the reference's, element by element as the algebra
compares cotangents: disputes are settled by differences along the tangent. The reference's come
from its forward mode, else from its pullback, else every element is settled by differences.

    jvp                    the tangents, along random tangents of all arguments
    value                  what jvp returns beside them is the function's value
    linear, zero for zero  the laws of the backward (laws.py), for tangents
    x alone                the tangents of the other arguments are 0, and absent where a rule can
                           tell
    jacfwd of jacrev       how the cotangents move with the arguments: the reference's second
                           derivative
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from jaxnet.checking.approximation import wrong_or_approximate
from jaxnet.checking.arrays import Array, largest, on_host, spread, times, typical
from jaxnet.checking.bench import MOVES, Bench, Look, move
from jaxnet.checking.budget import Budget
from jaxnet.checking.cells import SECOND_ORDER, Cell
from jaxnet.checking.findings import Finding, Question, Verdict
from jaxnet.checking.problem import Leaves
from jaxnet.checking.questions import laws, values
from jaxnet.checking.questions.algebra import (
    Algebra,
    Leaf,
    Standard,
    is_along_rows,
    judge,
    suspects,
)
from jaxnet.checking.questions.transforms import NOWHERE
from jaxnet.checking.tangents import ForwardRun, Pushed, tangent
from jaxnet.checking.traces import first_line

JVP, VALUE, SECOND = "jvp", "value", "jacfwd of jacrev"
LINEAR, ZERO = "linear", "zero for zero"
JACOBIAN = laws.Names("jvp", "tangent")
OTHER_VALUE = "jax.jvp returns another value than the function"
OfRule = Callable[[ForwardRun], Pushed]


@dataclass(frozen=True)
class Seen:
    """What was seen at one point: two tangents, and a run along each."""

    look: Look
    tangents: list[Leaves]
    runs: list[ForwardRun]


def ask(
    bench: Bench,
    look: Look,
    value: Sequence[Finding],
    slope: Algebra,
    others: Sequence[Finding],
    budget: Budget,
) -> list[Finding]:
    """others: what was found of the transformed functions."""
    said = [*value, *slope.findings]
    if bench.programs.forward is None or any(f.verdict is Verdict.WRONG for f in said):
        return []  # what a wrong rule does in forward mode says nothing new
    if budget.is_spent(Question.FORWARD):
        return []
    rng = bench.stream("forward")
    tangents = [tangent(look.x, bench.eps, rng) for _ in range(2)]
    try:
        runs = [_run(bench, look, t) for t in tangents]
    except Exception as e:
        return [_raised(e)]
    seen = Seen(look, tangents, runs)
    found = [
        *_asked(JVP, _compared(bench, look, tangents, runs)),
        *_asked(VALUE, _values(bench, look, [runs[0].rule])),
        *_laws(bench, seen),
        *_each_alone(bench, seen),
    ]
    is_trusted = not any(d.any() for d in slope.distrusted)
    return found + _second_order(bench, seen, others, is_trusted)


def _run(bench: Bench, look: Look, tangents: Leaves) -> ForwardRun:
    return bench.run_forward(look.x, tangents, look.cs[0])


def _finding(detail: str, leaf: str = "", verdict: Verdict = Verdict.OK, note: str = "") -> Finding:
    return Finding(Question.FORWARD, leaf, verdict, note=note, detail=detail)


def _raised(e: Exception) -> Finding:
    """A custom_vjp that the graph does not show has no forward mode either."""
    is_missing = isinstance(e, NotImplementedError) or "custom_vjp" in str(e)
    verdict = Verdict.UNSUPPORTED if is_missing else Verdict.ERROR
    return _finding(JVP, verdict=verdict, note=f"jax.jvp raised {first_line(e)}")


def _asked(detail: str, findings: Iterable[Finding]) -> list[Finding]:
    """What is wrong, as an answer of this name; one ok where nothing is."""
    bad = wrong_or_approximate(findings)
    named = [replace(f, question=Question.FORWARD, detail=detail) for f in bad]
    return named or [_finding(detail)]


# -- the tangents


def _compared(
    bench: Bench,
    look: Look,
    tangents: list[Leaves],
    runs: list[ForwardRun],
    of_rule: OfRule = lambda run: run.rule,
) -> list[Finding]:
    """A finding for each output."""
    found, before = [], 0
    for j, output in enumerate(bench.problem.outputs):
        r = np.stack([of_rule(run).tangents[j] for run in runs])
        has_truth = bool(runs[0].ref)
        t = np.stack([run.ref[j] for run in runs]) if has_truth else np.full(r.shape, np.nan)
        value = look.runs[0].value[j]
        leaf = Leaf(output, r, t, np.zeros(value.shape), value)
        size = largest(bench.sizes(look)[j])
        standard = _standard(bench, look, j, 64 * bench.eps * size * _how_far(look, tangents[0]))
        if has_truth and suspects(leaf, standard).any():
            leaf = leaf._replace(noise=_noise(bench, look, tangents[0], j))
        arbiter = bench.arbiter_along(look.x, tangents, before, size)
        found.append(judge(leaf, arbiter, standard).finding)
        before += value.size
    return found


def _how_far(look: Look, tangents: Leaves) -> float:
    """The tangents move the arguments, relative to their sizes."""
    pairs = zip(look.x, tangents, strict=True)
    return max(largest(on_host(t)) / typical(on_host(x)) for x, t in pairs)


def _standard(bench: Bench, look: Look, j: int, floor: float) -> Standard:
    """As the algebra's: see there."""
    is_finite = look.is_finite() and all(np.isfinite(on_host(x)).all() for x in look.x)
    by_design = np.inf
    if bench.programs.stops_gradient:
        by_design = float(np.sqrt(bench.eps) * largest(look.runs[0].value[j]))
    return Standard(
        bench.eps,
        is_finite,
        False,
        by_design,
        floor,
        bench.rtol(look),
        value_eps=bench.value_eps,
    )


def _noise(bench: Bench, look: Look, tangents: Leaves, j: int) -> Array:
    """How far the reference's tangent of an output moves with the inputs, element by element."""
    rng = bench.stream("forward, moved")
    moved = []
    for _ in range(MOVES):
        x, t = (move(arrays, bench.eps, rng) for arrays in (look.x, tangents))
        moved.append(bench.run_forward(x, t, look.cs[0]).ref[j])
    return spread(moved, _run(bench, look, tangents).ref[j])


def _values(bench: Bench, look: Look, returned: Sequence[Pushed]) -> list[Finding]:
    found = []
    for j, output in enumerate(bench.problem.outputs):
        value = look.runs[0].value[j]
        noise = spread([m.value[j] for m in look.moved], value)
        for pushed in returned:
            standard = values.Standard(noise, bench.value_eps, bench.rtol(look))
            finding = values.compared(output, pushed.value[j], value, standard)
            little = finding.note if finding.verdict is Verdict.APPROXIMATE else ""
            note = "; ".join(filter(None, [OTHER_VALUE, little]))
            found.append(replace(finding, note=note))
    return found


# -- the laws


def _laws(bench: Bench, seen: Seen) -> list[Finding]:
    r, s = (run.rule.tangents for run in seen.runs)
    broken: dict[str, list[Finding]] = {LINEAR: [], ZERO: []}
    for law in laws.laws_of(seen.tangents, r, s, bench.eps, JACOBIAN):
        run = _run(bench, seen.look, law.given)
        detail = ZERO if law.name == ZERO else LINEAR
        if not any(f.verdict is Verdict.WRONG for f in broken[detail]):
            broken[detail] += _broken(law, run, bench, seen)
    return [*_asked(LINEAR, broken[LINEAR]), *_asked(ZERO, broken[ZERO])]


def _broken(law: laws.Law, run: ForwardRun, bench: Bench, seen: Seen) -> list[Finding]:
    moved = _how_far(seen.look, seen.tangents[0])
    found = []
    for j, output in enumerate(bench.problem.outputs):
        got = run.rule.tangents[j]
        ref = run.ref[j] if run.ref else np.full(got.shape, np.nan)
        natural = largest(bench.sizes(seen.look)[j]) * moved
        standard = laws.Standard(natural, bench.rtol(seen.look))
        found.append(laws.broken(law, output, j, got, ref, standard))
    return [finding for finding in found if finding is not None]


# -- one argument alone


def _each_alone(bench: Bench, seen: Seen) -> list[Finding]:
    if len(set(bench.problem.argument)) == 1:
        return []
    arguments = set(bench.problem.argument) - bench.problem.never_alone
    return [f for argument in sorted(arguments) for f in _alone(bench, seen, argument)]


def _alone(bench: Bench, seen: Seen, argument: int) -> list[Finding]:
    name = bench.problem.arguments[argument]
    detail = f"{name} alone"
    raised = bench.programs.forward.raised.get(argument) if bench.programs.forward else None
    if raised:
        note = f"jax.jvp raised {raised} where the other arguments have no tangent"
        return [_finding(detail, name, Verdict.ERROR, note)]
    mine = [a == argument for a in bench.problem.argument]
    tangents = [
        tuple(t if m else times(t, 0) for t, m in zip(both, mine, strict=True))
        for both in seen.tangents[:1]
    ]
    runs = [_run(bench, seen.look, t) for t in tangents]

    def of_rule(run: ForwardRun) -> Pushed:
        return run.alone.get(argument, run.rule)

    compared = _compared(bench, seen.look, tangents, runs, of_rule)
    returned = _values(bench, seen.look, [of_rule(runs[0])])
    return [
        _of_argument(name, f) if f.verdict is not Verdict.OK else f
        for f in _asked(detail, [*compared, *returned])
    ]


def _of_argument(name: str, finding: Finding) -> Finding:
    """The element is one of an output; the fault lies in how the argument is taken."""
    where = f"in {finding.leaf} at {finding.index}" if finding.index else f"in {finding.leaf}"
    note = "; ".join(filter(None, [where, finding.note]))
    return replace(finding, leaf=name, index=(), note=note)


# -- the second derivative


def _second_order(
    bench: Bench, seen: Seen, others: Sequence[Finding], is_trusted: bool
) -> list[Finding]:
    """Against the reference's reverse over reverse, along the same weights: it is symmetric."""
    cell = _second_order_cell(bench, others)
    moved = seen.runs[0].second
    if cell is None:
        return []
    if not moved or not is_trusted:
        note = NOWHERE if moved else "its gradient has no forward mode"
        return [_finding(SECOND, verdict=Verdict.UNSUPPORTED, note=note)]
    look = bench.look_under(cell, seen.look.x, seen.look.cs, bench.stream(cell.detail))
    point = bench.point(cell, look, 0)
    found = []
    for k, name in enumerate(bench.problem.names):
        x = on_host(look.x[k])
        leaf = Leaf(name, moved[k][None], look.ref(cell, k), look.noise(cell, k), x)
        floor = 64 * bench.eps * bench.natural(look, k, point)
        standard = Standard(
            bench.eps,
            seen.look.is_finite(),
            False,
            np.inf,
            floor,
            bench.rtol(seen.look),
            value_eps=bench.value_eps,
        )
        if is_along_rows(bench, k, leaf, standard):
            continue
        found.append(judge(leaf, bench.arbiter(cell, look, k), standard).finding)
    return _asked(SECOND, found)


def _second_order_cell(bench: Bench, others: Sequence[Finding]) -> Cell | None:
    """Where its reverse over reverse was compared, and is right."""
    is_right = any(f.detail == SECOND_ORDER and f.verdict is Verdict.OK for f in others)
    if not is_right:
        return None
    cells = (c for c in bench.programs.cells if c.is_second_order)
    return next((c for c in cells if bench.programs.start(c) is None), None)
