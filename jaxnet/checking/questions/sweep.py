"""Is the rule right at points that typical arguments lack (special.py)?

Most are over after one run: rule and reference agree. Where they do not, the point is looked at as
any other, and what is wrong there must be so beyond doubt, for nobody gave the point:

    autodiff is finite, and the slope that differences find
    r is far off: by more of the largest |t| than float32 can tell, so that tails may be approximate
    and by more than r scatters a little beside the point: what a formula loses to cancellation is
        no fault of the algebra
    or r is no number, where both one-sided slopes are finite

Of a leaf that is approximate at the arguments given nothing is asked: it is another formula.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from jaxnet.checking import special
from jaxnet.checking.approximation import is_another
from jaxnet.checking.arbiter import Slopes
from jaxnet.checking.arrays import FEW_DIGITS, Array, distance, largest, same, tolerance
from jaxnet.checking.bench import Bench, Look
from jaxnet.checking.budget import Budget
from jaxnet.checking.findings import Finding, Never, Verdict
from jaxnet.checking.problem import Leaves
from jaxnet.checking.questions.algebra import judge_cell, with_hint
from jaxnet.checking.questions.reach import FAR, Reach, made
from jaxnet.checking.traces import precision_of

NAME = "special points"  # in the report
BEYOND = 8  # times what a bar or rounding explains
MOVES = 8


def ask(bench: Bench, look: Look, reached: Reach, budget: Budget) -> Reach:
    """The algebra with what is wrong at special points, and what these do not enter either."""
    # Differences of 16 bits settle nothing; and of what is very large a run takes a second.
    cannot_tell = bench.value_eps > FEW_DIGITS or bench.problem.is_long
    if bench.problem.as_met or cannot_tell or budget.is_spent(NAME):
        return reached
    findings, never = reached.algebra, reached.never
    for how, variants in special.points(bench.problem, look.x, bench.stream):
        if budget.is_spent(NAME):
            break
        findings = judged(bench, look, variants, look.cs[:2], findings, how)
        never = _without_entered(bench, look, variants, never)
    return replace(reached, algebra=findings, never=never)


def _without_entered(
    bench: Bench, look: Look, variants: Sequence[Leaves], never: tuple[Never, ...]
) -> tuple[Never, ...]:
    if not never or not variants:
        return never
    with precision_of(bench.programs.dtype):
        entered = bench.programs.branches.entered(bench.problem, variants[0], look.cs[0])
    return tuple(side for side in never if side not in entered)


def judged(
    bench: Bench,
    look: Look,
    variants: Sequence[Leaves],
    cs: Sequence[Leaves],
    findings: list[Finding],
    how: str,
) -> list[Finding]:
    """With what is wrong at the first of these points at which the function has a value.

    look: at the arguments given. how: the points were made.
    """
    there = _first_finite(bench, look, variants, cs, how)
    if there is None:
        return findings
    asked = [f.leaf for f in findings if _is_asked(f, bench)]
    found = {k: _confirmed(bench, there, k, how) for k in _differing(bench, there, asked)}
    return [found.get(k) or finding for k, finding in enumerate(findings)]


def _is_asked(finding: Finding, bench: Bench) -> bool:
    is_off = finding.verdict in (Verdict.WRONG, Verdict.APPROXIMATE)
    return not is_off and finding.leaf not in bench.problem.wholes


def _first_finite(
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


def _differing(bench: Bench, there: Look, asked: Sequence[str]) -> list[int]:
    """Leaves in which the rule is far from the reference, where that is a number."""
    found = []
    for k, name in enumerate(bench.problem.names):
        r, t = there.rule(bench.plain, k)[0], there.ref(bench.plain, k)[0]
        if name in asked and _is_far(bench, there, k, r, t).any():
            found.append(k)
    return found


def _is_far(bench: Bench, there: Look, k: int, r: Array, t: Array) -> Array:
    at_number = np.isfinite(t) & np.isfinite(there.x[k]).reshape(t.shape)
    far: Array = ~(distance(r, t) <= _allowed(bench, there, t)) & at_number
    return far


def _allowed(bench: Bench, there: Look, t: Array) -> Array:
    of_largest = max(FAR, bench.rtol(there)) * largest(t)
    return np.maximum(tolerance(t, 0.0, bench.eps), of_largest)


def _confirmed(bench: Bench, there: Look, k: int, how: str) -> Finding | None:
    """What is wrong with leaf k beyond doubt, from a look at the point like any other."""
    names = bench.problem.names
    with bench.skipping(how):
        whole = bench.look(there.x, there.cs, bench.stream(f"sweep, {how}"))
        others = [name for name in names if name != names[k]]
        judged = judge_cell(bench, bench.plain, whole, only_wrong=True, left_out=others)
        finding = judged[0].finding
        if finding.verdict is Verdict.WRONG and _is_beyond_doubt(bench, whole, k, finding):
            is_number = np.isfinite(finding.rule)
            return made(with_hint(bench, whole, k, finding) if is_number else finding, how)
    return None


def _is_beyond_doubt(bench: Bench, there: Look, k: int, finding: Finding) -> bool:
    r, t = (a.reshape(len(a), -1) for a in (there.rule(bench.plain, k), there.ref(bench.plain, k)))
    shape = there.x[k].shape
    i = int(np.ravel_multi_index(finding.index, shape)) if finding.index else 0
    row = int(np.argmax(same(r[:, i], np.asarray(finding.rule))))
    rule, true = float(r[row, i]), float(t[row, i])
    if not _is_far(bench, there, k, r[row], t[row])[i]:
        return False
    slopes, x = bench.arbiter(bench.plain, there, k)(row, i), np.ravel(there.x[k])
    if slopes.kink and np.isfinite(rule) and np.sum(x == x[i]) > 1:
        return False  # of equal numbers a sort may pay any, and one what others would get
    if not _is_settled(rule, true, slopes):
        return False
    is_number = bool(np.isfinite(rule))
    return not is_number or abs(rule - true) > BEYOND * _noise_of_rule(bench, there, k, row)


def _is_settled(r: float, t: float, s: Slopes) -> bool:
    """Whether differences hold t and exclude r by far."""
    if not np.isfinite(r):
        return s.is_finite
    if s.kink:
        bars = s.left_bar + s.right_bar
        nearest = min(abs(r - s.left), abs(r - s.right))
        return s.is_finite and s.between(t) and not s.between(r) and nearest > BEYOND * bars
    return s.resolved and s.holds(t) and abs(r - s.central) > BEYOND * s.bar


def _noise_of_rule(bench: Bench, there: Look, k: int, row: int) -> float:
    """How much any number of the rule's scatters beside the point, where equal ones stay equal."""
    c, d = there.cs[row], there.cs[(row + 1) % len(there.cs)]
    rules = []
    for n in range(MOVES):
        x = special.moved_a_little(bench.problem, there.x, n)
        with bench.skipping("every number a little moved"):
            rules.append(bench.run(x, c, d).rule[bench.plain.key][k])
    with np.errstate(all="ignore"):
        scatter = np.ptp(np.stack(rules), axis=0) if rules else np.zeros(1)
    return largest(scatter)
