"""audit: which custom rule, at which line, made the gradient wrong?"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from jaxnet import _graph
from jaxnet._auto import auto, limits
from jaxnet.checking import hiprim
from jaxnet.checking._check import (
    NO_RULE,
    name_of,
    problem_of,
    quietly,
    require_budget,
    require_rtol,
    signature_of,
    with_jit,
)
from jaxnet.checking.budget import Budget
from jaxnet.checking.cut_out import problem_at
from jaxnet.checking.examination import examine
from jaxnet.checking.findings import Finding, Question, Verdict, worst
from jaxnet.checking.problem import Problem
from jaxnet.checking.products import said_of_device
from jaxnet.checking.questions import vacuous
from jaxnet.checking.references import give_references, require_references, with_references
from jaxnet.checking.reports import Judgement, Report, clip, row, said_of_cut, said_of_proof
from jaxnet.checking.repro import Case
from jaxnet.checking.sites import (
    Found,
    find_in_float64,
    find_what_is_differentiated,
    meet_values,
    rules_in,
    trace_flat,
)
from jaxnet.checking.tangents import push
from jaxnet.checking.traces import first_line, pullback, trace

CHECKED_ALIKE = 2  # of the sites at which one rule meets the same shapes; others share the verdict
CULPRITS = (Verdict.WRONG, Verdict.IMPRECISE, Verdict.ERROR)  # a vacuous site shows nothing
NOT_EXAMINED = "not examined"  # what a caller may accept
UNSEEN = "its gradient is 0 here, so nothing of it was seen"


@dataclass(frozen=True)
class Site:
    """One place where a custom rule is called.

    rule: its name.
    kind: "vjp", "jvp" or "hiprim".
    where: the chain of calls in the user's files, or where the rule is defined.
    count: how often it ran.
    verdict: that of `check` with the values the rule met (in a loop the first and the last), of
        what f differentiates there; vacuous where the gradient was 0 or noise in every argument; or
        not judged (it could not be examined), not differentiated (no derivative of f goes through
        it), shadowed (inside the body of another rule, whose backward is used instead), never ran.
    error: its worst, in eps.
    residual_bytes: all that its backward keeps, over all its runs.
    share: of all rules'.
    report: the check.
    """

    rule: str
    kind: str
    where: str
    count: int
    verdict: Verdict
    error: float
    residual_bytes: int
    share: float
    report: Report | None

    @property
    def is_judged(self) -> bool:
        return self.report is not None and self.verdict not in (Verdict.VACUOUS, Verdict.NOT_JUDGED)

    @property
    def is_left_to_the_whole(self) -> bool:
        """Whether there is no gradient at its arguments, -inf say: what f makes of it decides."""
        findings = self.report.findings if self.report else ()
        has_none = any(f.note == vacuous.NOT_FINITE for f in findings)
        return self.verdict is Verdict.VACUOUS and has_none

    def said(self) -> str:
        """ "relu at loss (train.py:12)" """
        return f"{self.rule} at {self.where}"


@dataclass(frozen=True)
class Audit(Judgement):
    """What `audit` found: every custom rule, culprits first, and the whole gradient.

    `ok` is False where a rule or the whole gradient is wrong, imprecise or an error, where a rule
    could not be examined, and where no rule at all was judged. (A `jax.custom_jvp` that loses
    digits is none where the whole gradient is right.) A gradient that is 0 is a note.

    name: of the function.
    sites: the places where a custom rule is called: rule, where, count, verdict, report and more.
    whole: a Report, of the whole gradient.
    notes: what else there is to know.

    >>> audit = jaxnet.audit(lambda x: jaxnet.relu(2 * x), jnp.array([-1.0, 2.0]))
    >>> [(site.rule, str(site.verdict)) for site in audit.sites]
    [('relu', 'ok')]
    """

    name: str
    sites: tuple[Site, ...]
    whole: Report
    notes: tuple[str, ...] = ()

    def unasked(self) -> tuple[str, ...]:
        at_sites = [s.report for s in self.sites if s.report is not None]
        return tuple(dict.fromkeys(c for r in (self.whole, *at_sites) for c in r.cut))

    def unproved(self) -> tuple[str, ...]:
        judged = [s for s in self.sites if s.is_judged]
        said = [s.said() for s in judged if s.report is not None and s.report.unproved()]
        return tuple(said) if judged else (self.name,)

    def faults(self) -> set[str]:
        found = set() if self.whole.nothing_bad else self.whole.faults()
        found |= {""} if self._culprits() else set()
        for site in self._with(Verdict.NOT_JUDGED):
            found |= site.report.faults() if site.report else set()
        return found if self._is_anything_judged() else found | self._why_none()

    def _is_anything_judged(self) -> bool:
        is_right_as_a_whole = self.whole.ok and any(s.is_left_to_the_whole for s in self.sites)
        return is_right_as_a_whole or any(s.is_judged for s in self.sites)

    def _why_none(self) -> set[str]:
        """Why no rule was judged, by name."""
        verdicts = {s.verdict for s in self.sites} - {Verdict.SHADOWED, Verdict.NOT_JUDGED}
        return set(map(str, verdicts)) if self.sites else {NO_RULE}

    def _culprits(self) -> list[Site]:
        bad = [site for site in self.sites if site.verdict in CULPRITS]
        if not self.whole.nothing_bad:
            return bad
        # JAX's own functions may lose digits far out without harm, as logaddexp does beside a
        # "log 0" of -1e5.
        return [s for s in bad if (s.verdict, s.kind) != (Verdict.IMPRECISE, _graph.JVP)]

    def sentence(self) -> str:
        for site in (*self._culprits(), *self._with(Verdict.NOT_JUDGED)):
            if site.report:
                return f"{site.said()}: {site.report.sentence()}"
        judged = sum(s.is_judged for s in self.sites)
        if not self.whole.nothing_bad:
            right = "no rule was wrong at the values that were looked at"
            claim = right if judged else "no rule was looked at"
            return "; ".join([self.whole.sentence(), *self._unseen(), claim])
        if not self._is_anything_judged():
            return self._none_judged()
        said = f"ok: {judged} custom rule{'s' * (judged != 1)} right"
        if self.whole.ok:
            both = f"{said}, and so is the whole gradient"
            right = both if judged else "ok: the whole gradient is right"
            return "; ".join([right, *self._unseen(), *said_of_cut(self.unasked())])
        return "; ".join([said, *self._unseen(), self.whole.sentence()])

    def _none_judged(self) -> str:
        if not self.sites:
            return (
                f"NOT JUDGED ({NO_RULE}): {self.name} calls no custom rule, so its gradient is "
                f"autodiff's"
            )
        why = ", ".join(sorted(self._why_none()))
        said = self._unseen() or [f"{s.said()}: {s.verdict}" for s in self.sites][:2]
        return "; ".join([f"NOT JUDGED ({why}): no rule of {self.name} was judged", *said])

    def _unseen(self) -> list[str]:
        """Of the first two rules of which nothing was seen, for each reason."""
        zero = [
            f"{s.said()}: {s.report.sentence()}" for s in self._with(Verdict.VACUOUS) if s.report
        ]
        return zero[:2] + [f"{s.said()} never ran" for s in self._with(Verdict.NEVER_RAN)][:2]

    def _with(self, verdict: Verdict) -> list[Site]:
        return [site for site in self.sites if site.verdict is verdict]

    def __str__(self) -> str:
        lines = [self.sentence(), clip(f"audit of {self.name}({self.whole.signature})"), ""]
        lines.append(_columns("rule", "ran", "verdict", "error", "residuals", "share"))
        for s in self.sites:
            lines += [_line(s), *row("", "", "", s.where, indent=6)]
            for note in _notes(s):
                lines += row("", "", "", note, indent=6)
        whole = "ok" if self.whole.ok else self.whole.sentence()
        lines += ["", *row("", "", "", f"whole gradient: {whole}", indent=2)]
        lines += [f"      {said_of_proof(self.whole.proof)}"] if self.whole.proof else []
        if self.unasked():
            lines += row("", "", "", f"not asked: {', '.join(self.unasked())}", indent=2)
        for note in (*self.notes, *self.whole.notes):
            lines += row("", "", "", f"note: {note}", indent=2)
        return "\n".join(lines)


def _notes(s: Site) -> list[str]:
    """What is to be said of a site beside its row."""
    if s.report is None:
        return []
    why = [s.report.sentence()] if s.verdict is Verdict.NOT_JUDGED else []
    proof = [said_of_proof(s.report.proof)] if s.report.proof else []
    return why + proof + [f"note: {note}" for note in s.report.notes]


def _columns(*texts: str) -> str:
    rule, ran, verdict, error, residuals, share = texts
    return f"  {rule:<22} {ran:>5}  {verdict:<11} {error:>9}  {residuals:>11} {share:>6}".rstrip()


def _line(s: Site) -> str:
    name = s.rule + ("" if s.kind == _graph.VJP else f" ({s.kind})")
    error = "" if math.isnan(s.error) else f"{s.error:.2g} eps"
    kept = f"{s.residual_bytes:,} B" if s.report else ""
    share = f"{s.share:.0%}" if s.report else ""
    return _columns(name, str(s.count), s.verdict.shown(), error, kept, share)


@with_jit
def audit(
    f: Callable[..., Any],
    *args: Any,
    kwargs: dict[str, Any] | None = None,
    ref: Mapping[Any, Callable[..., Any]] | None = None,
    seed: int = 0,
    budget: float | None = 30.0,
    rtol: float | None = None,
) -> Audit:
    """Find every custom rule in the graph of f and check each with the values that it meets.

    The whole gradient is checked too. Rules are found at any depth of jit, scan, while, cond, vmap,
    remat and shard_map, in libraries too (`jax.custom_vjp` and `jax.custom_jvp`). f is run once.
    (Arguments over a mesh with explicit axes are not taken.)
    Judged is what f differentiates: what a rule closes over, and what no floating argument of f
    moves there, are constants. A gradient that is 0 is a note. Rules under a derivative that f
    takes inside cannot be seen; a note says where f has one.

    f: any pure, traceable function with a floating output, a training loss say.
    args, kwargs: its arguments, as for `check`.
    ref: for rules whose function cannot be differentiated (a Pallas kernel, a host callback) or
        that are meant to be another derivative: {rule: function}, the rule by the name of the
        function that it is attached to or as an object (`jaxnet.rule`, `jax.custom_vjp`,
        `jax.custom_jvp`). The function is called with the arrays that the rule is called with in
        the graph (pytrees are flattened, static arguments left out, under vmap with the axis of the
        batch) and returns what the rule returns; its derivative is then what is asked for. The
        whole gradient is compared with that of f in which it stands in the place of the rule (but
        inside shard_map, where the rule's own function stays).
    seed: of the random cotangents.
    budget: seconds of wall time for all of it, None for none. Value, algebra and laws are asked of
        every rule all the same; what is not asked for lack of time is listed.
    rtol: as for `check`, of every rule and of the whole.

    Returns an Audit; `audit.require()` raises AssertionError where it is not ok: a rule or the
        whole gradient is wrong, imprecise or an error, a rule could not be examined, or none was
        judged.
    Raises as `check` does, and ValueError where ref names no rule of f or returns other shapes.

    >>> x, y, layer = jnp.ones(3), jnp.zeros(2), jaxnet.Layer(jnp.eye(2, 3), jnp.ones(2))
    >>> loss = lambda layer: jaxnet.rules.mean_squared_error(jaxnet.linear(x, *layer), y)
    >>> audit = jaxnet.audit(loss, layer)
    >>> print(audit.sentence())
    ok: 2 custom rules right, and so is the whole gradient
    """
    if not callable(f):
        raise TypeError(
            f"audit: f must be a function, got {type(f).__name__}; call audit(f, *args)"
        )
    require_references(ref)
    require_budget("audit", budget)
    require_rtol("audit", rtol)
    limit = Budget(budget)
    problem, reference, *_, taken = problem_of("audit", f, args, kwargs or {}, None)
    problem = replace(problem, rtol=rtol, as_met=True)
    said = f"{reference} and the refs of {len(ref)} rules" if ref else reference
    case, notes = Case(f, ref, taken), said_of_device()
    report = Report(name_of(f), signature_of(problem), said, (), notes=notes, _case=case)
    with quietly():
        arrays = (*problem.leaves, *problem.others)
        jaxpr = trace_flat(problem, arrays)
        found = rules_in(jaxpr, rtol)
        give_references(ref or {}, found)
        find_what_is_differentiated(problem, jaxpr, found)
        meet_values(jaxpr, found, arrays)
        find_in_float64(problem, found)
        sites = _sites(found, seed, limit, CHECKED_ALIKE)
        whole = _whole(with_references(problem, ref or {}, found), report, sites, seed, limit)
        is_wrong = any(finding.verdict in CULPRITS for finding in whole.findings)
        if is_wrong and not any(site.verdict in CULPRITS for site in sites):
            sites = _sites(
                found, seed, limit, len(found)
            )  # it is one of those that shared a verdict
        sites += _left_on(jaxpr)
        not_seen = sorted(limits(jaxpr, jvp=True))
    return Audit(report.name, _with_shares(sites), whole, tuple(not_seen))


def _whole(
    problem: Problem, report: Report, sites: list[Site], seed: int, budget: Budget
) -> Report:
    """Of the whole gradient. A custom_jvp that is found wrong is no part of the reference."""
    if any(s.kind == _graph.JVP and s.verdict is Verdict.WRONG for s in sites):
        problem = replace(problem, ref=auto(problem.ref, jvp=True))
    # In forward mode each rule is judged by itself.
    return _examined(replace(problem, in_forward_mode=False), report, seed, budget)


def _with_shares(sites: list[Site]) -> tuple[Site, ...]:
    """Culprits first, each with its share of what all backwards keep."""
    total = sum(s.residual_bytes for s in sites) or 1
    shared = [replace(s, share=s.residual_bytes / total) for s in sites]
    return tuple(sorted(shared, key=lambda s: s.verdict.rank))


# -- checking them


def _sites(found: list[Found], seed: int, budget: Budget, checked_alike: int) -> list[Site]:
    """checked_alike: of the sites that are alike, how many are checked; others share the worst."""
    known: dict[Any, list[Report]] = {}
    sites = []
    for site in found:
        unseen = _unseen(site)
        if unseen:
            sites.append(_site(site, unseen, None))
        elif site.takes_numbers:
            alike = known.setdefault(_key(site), [])
            if len(alike) < checked_alike:
                report = _worst([_check(site, values, seed, budget) for values in site.points()])
            else:
                report = _worst(alike)
            verdict = _verdict_of(report)
            if _is_shared(verdict):
                alike.append(report)
            sites.append(_site(site, verdict, report))
    return sites  # a rule of integers alone has nothing to differentiate


def _left_on(jaxpr: Any) -> list[Site]:
    """Primitives that stay in the graph."""
    sites = []
    for e, chain in _graph.equations(jaxpr):
        name = _graph.left_on(e)
        if name:
            report = Report(name, "", "nothing", hiprim.not_judged([name]))
            place = (name, _graph.HIPRIM, Found(e, chain).where())
            sites.append(Site(*place, 0, Verdict.NOT_JUDGED, math.nan, 0, 0.0, report))
    return sites


def _is_shared(verdict: Verdict) -> bool:
    """Whether it is said of sites alike too: where nothing was seen, other values may show more."""
    return verdict is not Verdict.VACUOUS


def _unseen(site: Found) -> Verdict | None:
    """Why the site is not checked, if it is not."""
    if site.is_shadowed:
        return Verdict.SHADOWED
    if site.takes_numbers and not site.is_differentiated:
        return Verdict.NOT_DIFFERENTIATED
    return None if site.points() else Verdict.NEVER_RAN


def _site(site: Found, verdict: Verdict, report: Report | None) -> Site:
    cost = report.cost.residual_bytes["rule"] if report and report.cost else 0
    error = _worst_error(report) if report else math.nan
    where, count = site.where(), site.count
    return Site(site.name, site.kind, where, count, verdict, error, cost * count, 0.0, report)


def _worst(reports: list[Report]) -> Report:
    """The first of those with the worst finding; one in which nothing was seen says nothing."""
    seen = [r for r in reports if _verdict_of(r) is not Verdict.VACUOUS] or reports
    return min(seen, key=lambda r: worst(f.verdict for f in r.findings if f.verdict.bad).rank)


def _verdict_of(report: Report) -> Verdict:
    """The worst of its findings'; what was not supported says nothing of the rule."""
    verdicts = [f.verdict for f in report.findings]
    return worst(v for v in verdicts if v is not Verdict.UNSUPPORTED)


def _worst_error(report: Report) -> float:
    errors = [f.error for f in report.findings if f.question is Question.PRECISION or f.verdict.bad]
    return max((e for e in errors if not math.isnan(e)), default=math.nan)


def _key(site: Found) -> Any:
    """Alike are sites whose pullbacks compute the same, and in forward mode too."""
    try:
        problem = problem_at(site, site.points()[0])
        point = problem.leaves, problem.others
        traced = [pullback(problem.rule, *point)]
        if site.kind == _graph.JVP:
            traced.append(trace(push(problem.rule), *point, problem.leaves))
    except Exception:
        return id(site.equation)
    return tuple(_graph.identity(t.jaxpr) for t in traced), problem.names, site.ref


def _check(site: Found, values: list[Any], seed: int, budget: Budget) -> Report:
    reference = "autodiff" if site.ref is None else f"ref {name_of(site.ref)}"
    report = Report(site.name, "", reference, ())
    try:
        problem = problem_at(site, values)
    except Exception as e:
        return replace(report, findings=(_not_judged(first_line(e)),))
    report = _examined(problem, replace(report, signature=signature_of(problem)), seed, budget)
    if site.ref is None:
        report = hiprim.with_methods_at(report, site, values, seed)
    if not report.nothing_bad or any(map(_is_compared, report.findings)):
        return report
    why = "; ".join(f.note for f in report.findings) or "nothing was compared"
    return replace(report, findings=(_not_judged(why),))


def _examined(problem: Problem, report: Report, seed: int, budget: Budget) -> Report:
    """A gradient that is 0 is a note where another was seen; without a reference, no verdict."""
    try:
        report = examine(problem, report, None, (), seed, budget.shared(), measure_power=False)
    except Exception as e:  # everything else is judged all the same
        return replace(report, findings=(_not_judged(first_line(e)),))
    findings = tuple(map(_without_reference, report.findings))
    zero = [f for f in findings if f.verdict is Verdict.VACUOUS and f.note == vacuous.ZERO]
    if any(map(_is_compared, findings)):
        findings = tuple(f for f in findings if f not in zero)
        report = replace(report, notes=(*report.notes, *(f"`{f.leaf}`: {UNSEEN}" for f in zero)))
    return replace(report, findings=findings)


def _is_compared(finding: Finding) -> bool:
    is_asked = finding.question in (Question.ALGEBRA, Question.METHODS)
    return is_asked and finding.verdict is not Verdict.VACUOUS


def _without_reference(finding: Finding) -> Finding:
    if (finding.question, finding.verdict) != (Question.REFERENCE, Verdict.ERROR):
        return finding
    return _not_judged(finding.note.replace("give ref=", "give ref={rule: function}"))


def _not_judged(why: str) -> Finding:
    return Finding(Question.GRADIENT, "", Verdict.NOT_JUDGED, note=why, detail=NOT_EXAMINED)
