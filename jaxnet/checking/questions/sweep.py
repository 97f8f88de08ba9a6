"""Is the rule right at points that typical arguments lack (special.py)?

Most are over after one run: rule and reference agree. Where they do not, the point is looked at as
any other, and what is wrong there must be so beyond doubt, for nobody gave the point:

    autodiff is finite, and the slope that differences find; or it is NaN, and these exclude r
    r is far off: by more of the largest |t| than float32 can tell, so that tails may be approximate
    and by more than r scatters a little beside the point: what a formula loses to cancellation is
        no fault of the algebra
    or r is no number, where both one-sided slopes are finite
    or, where numbers are equal, r is no slope along several of them together (kinks.py)

So is what the rule's forward returns there, beside the function's value (values.py).
A leaf that is approximate at the arguments given is another formula: it may be off by more.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from jaxnet.checking import special
from jaxnet.checking.approximation import COARSE, FAR, is_another
from jaxnet.checking.arbiter import Slopes
from jaxnet.checking.arrays import FEW_DIGITS, Array, distance, index_of, largest, same, tolerance
from jaxnet.checking.bench import Bench, Look
from jaxnet.checking.budget import Budget
from jaxnet.checking.findings import Finding, Never, Question, Verdict, made
from jaxnet.checking.nearby import is_tied
from jaxnet.checking.problem import Leaves
from jaxnet.checking.questions import kinks, values
from jaxnet.checking.questions.algebra import Judged, judge_cell, with_hint
from jaxnet.checking.questions.reach import Reach
from jaxnet.checking.traces import precision_of

NAME = "special points"  # in the report
BEYOND = 8  # times what a bar or rounding explains
MOVES = 8
FEW = 4  # numbers at which autodiff is none


def ask(bench: Bench, look: Look, reached: Reach, budget: Budget) -> Reach:
    """The algebra with what is wrong at special points, and what these do not enter either."""
    if is_left_out(bench) or budget.is_spent(NAME):
        return reached
    for how, variants in special.points(bench.problem, look.x, bench.stream, bench.programs.named):
        if budget.is_spent(NAME):
            break
        if bench.programs.iterates and how == special.BEYOND_NAMED:
            continue
        reached = judged(bench, look, variants, reached, how)
    return reached


def judged(bench: Bench, look: Look, variants: Sequence[Leaves], reached: Reach, how: str) -> Reach:
    """With what is wrong at the first of these points at which the function has a value.

    look: at the arguments given. how: the points were made.
    """
    never = _without_entered(bench, look, variants, reached.never)
    there = first_finite(bench, look, variants, look.cs[:2], how)
    if there is None:
        return replace(reached, never=never)
    value = _value_at(bench, there, reached.value, how)
    return replace(
        reached, value=value, algebra=algebra_at(bench, there, reached.algebra, how), never=never
    )


def is_left_out(bench: Bench) -> bool:
    """Differences of 16 bits settle nothing; and of what is very large a run takes a second."""
    cannot_tell = bench.value_eps > FEW_DIGITS or bench.problem.is_long
    return bench.problem.as_met or cannot_tell


def _without_entered(
    bench: Bench, look: Look, variants: Sequence[Leaves], never: tuple[Never, ...]
) -> tuple[Never, ...]:
    """Those sides of branches that the first of these points does not enter either."""
    if not never or not variants:
        return never
    with precision_of(bench.programs.dtype):
        entered = bench.programs.branches.entered(bench.problem, variants[0], look.cs[0])
    return tuple(side for side in never if side not in entered)


def first_finite(
    bench: Bench, look: Look, variants: Sequence[Leaves], cs: Sequence[Leaves], how: str
) -> Look | None:
    """After one run of each."""
    for x in variants:
        with bench.skipping(how):
            run = bench.run(x, *cs)
            there = Look(x, cs, [run], [])
            if there.is_finite() and not is_another(bench.problem, look.runs[0], run):
                return there
    return None


def _value_at(bench: Bench, there: Look, known: list[Finding], how: str) -> list[Finding]:
    """Where it differs after one run, then by more than inputs moved by an eps explain."""
    if values.at_made(bench, there, known, how) == known:
        return known
    with bench.skipping(how):
        moved = bench.look(there.x, there.cs, bench.stream(f"sweep, {how}"))
        return values.at_made(bench, moved, known, how)
    return known


def algebra_at(bench: Bench, there: Look, findings: list[Finding], how: str) -> list[Finding]:
    """The algebra's findings by leaf, wrong ones among them where the rule is wrong there."""
    return [_worse(bench, there, k, finding, how) for k, finding in enumerate(findings)]


def _worse(bench: Bench, there: Look, k: int, here: Finding, how: str) -> Finding:
    if here.verdict is Verdict.WRONG or here.leaf in bench.problem.wholes:
        return here
    rtol = max(COARSE if here.verdict is Verdict.APPROXIMATE else FAR, bench.rtol(there))
    r, t = there.rule(bench.plain, k)[0], there.ref(bench.plain, k)[0]
    found = _without_autodiff(bench, there, k, how)
    if found is None and _is_far(bench, there, k, r, t, rtol).any():
        found = _confirmed(bench, there, k, how, rtol)
    return found or here


def _is_far(bench: Bench, there: Look, k: int, r: Array, t: Array, rtol: float) -> Array:
    """Where the rule is far from the reference, and that is a number."""
    at_number = np.isfinite(t) & np.isfinite(there.x[k]).reshape(t.shape)
    allowed = np.maximum(tolerance(t, 0.0, bench.eps), rtol * largest(t))
    far: Array = ~(distance(r, t) <= allowed) & at_number
    return far


def _without_autodiff(bench: Bench, there: Look, k: int, how: str) -> Finding | None:
    """What differences exclude by far, where the rule is a number and autodiff is none.

    Where all numbers are equal everything is a tie, and a number alone tells nothing.
    """
    rows = there.rule(bench.plain, k)[0], there.ref(bench.plain, k)[0], there.x[k]
    r, t, x = map(np.ravel, rows)
    if x.size > 1 and np.ptp(x) == 0:
        return None
    only_rule = np.flatnonzero(np.isfinite(r) & np.isnan(t) & np.isfinite(x))
    arbiter = bench.arbiter(bench.plain, there, k)
    for i in map(int, only_rule[:FEW]):
        slopes = arbiter(0, i)
        if slopes.is_finite and _is_excluded(float(r[i]), slopes):
            finding = Finding(
                Question.ALGEBRA,
                bench.problem.names[k],
                Verdict.WRONG,
                index=index_of(i, there.x[k].shape),
                rule=float(r[i]),
                auto=float(t[i]),
                true=slopes.central,
                _x=there.x,
            )
            return made(finding, how)
    return None


def _confirmed(bench: Bench, there: Look, k: int, how: str, rtol: float) -> Finding | None:
    """What is wrong with leaf k beyond doubt, from a look at the point like any other."""
    names = bench.problem.names
    with bench.skipping(how):
        whole = bench.look(there.x, there.cs, bench.stream(f"sweep, {how}"))
        others = [name for name in names if name != names[k]]
        judged = judge_cell(bench, bench.plain, whole, only_wrong=True, left_out=others)[0]
        finding = judged.finding
        is_wrong = finding.verdict is Verdict.WRONG
        if is_wrong and _is_beyond_doubt(bench, whole, k, finding, rtol, how):
            is_number = np.isfinite(finding.rule)
            return made(with_hint(bench, whole, k, finding) if is_number else finding, how)
        if finding.verdict in (Verdict.WRONG, Verdict.KINK):
            return _along_several(bench, whole, k, judged, how)
    return None


def _along_several(bench: Bench, there: Look, k: int, judged: Judged, how: str) -> Finding | None:
    """Of equal numbers a sort may pay any, and one what others would get: not all of them twice."""
    at = judged.finding.index
    deciding = [int(np.ravel_multi_index(at, there.x[k].shape))] if at else []
    x = np.ravel(there.x[k])
    tied = [i for i in judged.kinks or deciding if is_tied(x[i], there.x)]
    finding = kinks.of_leaf(bench, there, k, tied)
    return made(finding, how) if finding else None


def _is_beyond_doubt(
    bench: Bench, there: Look, k: int, finding: Finding, rtol: float, how: str
) -> bool:
    r, t = (a.reshape(len(a), -1) for a in (there.rule(bench.plain, k), there.ref(bench.plain, k)))
    shape = there.x[k].shape
    i = int(np.ravel_multi_index(finding.index, shape)) if finding.index else 0
    row = int(np.argmax(same(r[:, i], np.asarray(finding.rule))))
    rule, true = float(r[row, i]), float(t[row, i])
    if not _is_far(bench, there, k, r[row], t[row], rtol)[i]:
        return False
    slopes = bench.arbiter(bench.plain, there, k)(row, i)
    if slopes.kink and np.isfinite(rule) and is_tied(np.ravel(there.x[k])[i], there.x):
        return False  # it is looked at together with its equals
    if not _is_settled(rule, true, slopes):
        return False
    is_number = bool(np.isfinite(rule))
    return not is_number or abs(rule - true) > BEYOND * _noise_of_rule(bench, there, k, row, how)


def _is_settled(r: float, t: float, s: Slopes) -> bool:
    """Whether differences hold t and exclude r by far."""
    if not np.isfinite(r):
        return s.is_finite
    return (s.between(t) if s.kink else s.holds(t)) and _is_excluded(r, s)


def _is_excluded(r: float, s: Slopes) -> bool:
    """Whether differences exclude a number by far."""
    if s.kink:
        nearest = min(abs(r - s.left), abs(r - s.right))
        is_far = nearest > BEYOND * (s.left_bar + s.right_bar)
        return s.is_finite and not s.between(r) and is_far
    return s.resolved and abs(r - s.central) > BEYOND * s.bar


def _noise_of_rule(bench: Bench, there: Look, k: int, row: int, how: str) -> float:
    """How much any number of the rule's scatters beside the point, where equal ones stay equal.

    Of small numbers the point itself is but one of many; elsewhere it may be the only one of its
    kind, as an integer is.
    """
    c, d = there.cs[row], there.cs[(row + 1) % len(there.cs)]
    rules = [there.rule(bench.plain, k)[row]] if special.are_small(how) else []
    for n in range(MOVES):
        x = special.moved_a_little(bench.problem, there.x, n)
        with bench.skipping("every number a little moved"):
            rules.append(bench.run(x, c, d).rule[bench.plain.key][k])
    with np.errstate(all="ignore"):
        scatter = np.ptp(np.stack(rules), axis=0) if rules else np.zeros(1)
    return largest(scatter)
