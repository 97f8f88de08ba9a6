"""audit: which custom rule, at which line, made the gradient wrong?"""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from jaxnet import _graph
from jaxnet._auto import auto, limits
from jaxnet.checking._check import NO_RULE, name_of, problem_of, quietly, signature_of
from jaxnet.checking.budget import Budget
from jaxnet.checking.examination import examine
from jaxnet.checking.findings import Judgement, Question, Report, Verdict, clip, row, worst
from jaxnet.checking.problem import Problem, is_floating
from jaxnet.checking.sites import (
    Found,
    find_in_float64,
    meet_values,
    problem_at,
    rules_in,
    trace_flat,
)
from jaxnet.checking.traces import pullback

CHECKED_ALIKE = 2  # of the sites at which one rule meets the same shapes; others share the verdict
CULPRITS = (Verdict.WRONG, Verdict.IMPRECISE, Verdict.ERROR)  # a vacuous site shows nothing


@dataclass(frozen=True)
class Site:
    """One place where a custom rule is called.

    rule: its name; kind: "vjp" or "jvp"; where: the chain of calls in the user's files; count: how
    often it ran. verdict: that of `check` with the values the rule met (in a loop the first and the
    last), or shadowed (inside the body of another rule, whose backward is used instead), or never
    ran.
    error: its worst, in eps; residual_bytes: all that its backward keeps, over all its runs; share:
    of all rules'. report: the check.
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


@dataclass(frozen=True)
class Audit(Judgement):
    """What `audit` found: every custom rule, culprits first, and the whole gradient."""

    name: str
    sites: tuple[Site, ...]
    whole: Report
    notes: tuple[str, ...] = ()

    def unasked(self) -> tuple[str, ...]:
        return self.whole.cut

    def faults(self) -> set[str]:
        is_bad = not self.whole.nothing_bad or self._culprits()
        if is_bad:
            return {""}
        return set() if self.sites else {NO_RULE}

    def _culprits(self) -> list[Site]:
        bad = [site for site in self.sites if site.verdict in CULPRITS]
        if not self.whole.nothing_bad:
            return bad
        # JAX's own functions may lose digits far out without harm, as logaddexp does beside a
        # "log 0" of -1e5.
        return [s for s in bad if (s.verdict, s.kind) != (Verdict.IMPRECISE, _graph.JVP)]

    def sentence(self) -> str:
        """What a person should know first."""
        for site in self._culprits():
            if site.report:
                return f"{site.rule} at {site.where}: {site.report.sentence()}"
        unseen = [f"{s.rule} at {s.where} never ran" for s in self._with(Verdict.NEVER_RAN)][:2]
        seen = sum(site.report is not None for site in self.sites)
        if not self.whole.nothing_bad:
            right = "no rule was wrong at the values that were looked at"
            claim = right if seen else "no rule was looked at"
            return "; ".join([self.whole.sentence(), *unseen, claim])
        if not self.sites:
            return (
                f"NOT JUDGED ({NO_RULE}): {self.name} calls no custom rule, so its gradient is "
                f"autodiff's"
            )
        rules = f"{seen} custom rule{'s' * (seen != 1)} right"
        said = "; ".join([f"ok: {rules}", *unseen])
        if self.whole.ok:
            return f"{said}, and so is the whole gradient"
        return f"{said}; {self.whole.sentence()}"

    def _with(self, verdict: Verdict) -> list[Site]:
        return [site for site in self.sites if site.verdict is verdict]

    def __str__(self) -> str:
        lines = [self.sentence(), clip(f"audit of {self.name}({self.whole.signature})"), ""]
        lines.append(_columns("rule", "ran", "verdict", "error", "residuals", "share"))
        for s in self.sites:
            lines += [_line(s), *row("", "", "", s.where, indent=6)]
        whole = "ok" if self.whole.ok else self.whole.sentence()
        lines += ["", *row("", "", "", f"whole gradient: {whole}", indent=2)]
        for note in (*self.notes, *self.whole.notes):
            lines += row("", "", "", f"note: {note}", indent=2)
        return "\n".join(lines)


def _columns(*texts: str) -> str:
    rule, ran, verdict, error, residuals, share = texts
    return f"  {rule:<22} {ran:>5}  {verdict:<11} {error:>9}  {residuals:>11} {share:>6}".rstrip()


def _line(s: Site) -> str:
    name = s.rule + (" (jvp)" if s.kind == _graph.JVP else "")
    error = "" if math.isnan(s.error) else f"{s.error:.2g} eps"
    kept = f"{s.residual_bytes:,} B" if s.report else ""
    share = f"{s.share:.0%}" if s.report else ""
    return _columns(name, str(s.count), s.verdict.shown(), error, kept, share)


def audit(
    f: Callable[..., Any], *args: Any, kwargs: dict[str, Any] | None = None, seed: int = 0
) -> Audit:
    """Find every custom rule in the graph of f and check each with the values that it meets.

    Then the whole gradient. f: any pure, traceable function with a floating output, a training loss
    say; args, kwargs: its arguments, as for `check`. Rules are found at any depth of jit, scan,
    while, cond, vmap, remat and shard_map, in libraries too (`jax.custom_vjp` and
    `jax.custom_jvp`). f is run once. (Arguments over a mesh with explicit axes are not taken.)

    Returns an Audit; `audit.require()` raises AssertionError where a rule or the whole gradient is
    wrong, imprecise or an error. Rules under a derivative that f takes inside cannot be seen; a
    note says where f has one.
    Raises as `check` does.
    """
    if not callable(f):
        raise TypeError(
            f"audit: f must be a function, got {type(f).__name__}; call audit(f, *args)"
        )
    problem, reference, _ = problem_of("audit", f, args, kwargs or {}, None)
    report = Report(name_of(f), signature_of(problem), reference, ())
    with quietly():
        arrays = (*problem.leaves, *problem.others)
        jaxpr = trace_flat(problem, arrays)
        found = [Found(e, chain) for e, chain in rules_in(jaxpr)]
        meet_values(jaxpr, found, arrays)
        find_in_float64(problem, found)
        sites = _sites(found, seed, CHECKED_ALIKE)
        whole = _whole(problem, report, sites, seed)
        if not whole.nothing_bad and not any(site.verdict.bad for site in sites):
            sites = _sites(found, seed, len(found))  # it is one of those that shared a verdict
        not_seen = sorted(limits(jaxpr, jvp=True))
    return Audit(report.name, _with_shares(sites), whole, tuple(not_seen))


def _whole(problem: Problem, report: Report, sites: list[Site], seed: int) -> Report:
    """Of the whole gradient. A custom_jvp that is found wrong is no part of the reference."""
    if any(s.kind == _graph.JVP and s.verdict is Verdict.WRONG for s in sites):
        problem = replace(problem, ref=auto(problem.rule, jvp=True))
    return examine(problem, report, None, (), seed, Budget(None), measure_power=False)


def _with_shares(sites: list[Site]) -> tuple[Site, ...]:
    """Culprits first, each with its share of what all backwards keep."""
    total = sum(s.residual_bytes for s in sites) or 1
    shared = [replace(s, share=s.residual_bytes / total) for s in sites]
    return tuple(sorted(shared, key=lambda s: s.verdict.rank))


# -- checking them


def _sites(found: list[Found], seed: int, checked_alike: int) -> list[Site]:
    """checked_alike: of the sites that are alike, how many are checked; others share the worst."""
    known: dict[Any, list[Report]] = {}
    sites = []
    for site in found:
        points = site.points()
        if site.is_shadowed or not points:
            verdict = Verdict.SHADOWED if site.is_shadowed else Verdict.NEVER_RAN
            sites.append(_site(site, verdict, None))
        elif any(is_floating(v) for v in points[0]):
            alike = known.setdefault(_key(site), [])
            if len(alike) < checked_alike:
                report = _worst([_check(site, values, seed) for values in points])
                alike.append(report)
            else:
                report = _worst(alike)
            sites.append(_site(site, _verdict_of(report), report))
    return sites  # a rule of integers alone has nothing to differentiate


def _site(site: Found, verdict: Verdict, report: Report | None) -> Site:
    cost = report.cost.residual_bytes["rule"] if report and report.cost else 0
    error = _worst_error(report) if report else math.nan
    where, count = site.where(), site.count
    return Site(site.name, site.kind, where, count, verdict, error, cost * count, 0.0, report)


def _worst(reports: list[Report]) -> Report:
    """The first of those with the worst finding."""
    return min(reports, key=lambda r: worst(f.verdict for f in r.findings if f.verdict.bad).rank)


def _verdict_of(report: Report) -> Verdict:
    """The worst of its findings'; what was not supported says nothing of the rule."""
    verdicts = [f.verdict for f in report.findings]
    return worst(v for v in verdicts if v is not Verdict.UNSUPPORTED)


def _worst_error(report: Report) -> float:
    errors = [f.error for f in report.findings if f.question is Question.PRECISION or f.verdict.bad]
    return max((e for e in errors if not math.isnan(e)), default=math.nan)


def _key(site: Found) -> Any:
    """Alike are sites whose pullbacks compute the same."""
    problem = problem_at(site, site.points()[0])
    try:
        traced = pullback(problem.rule, problem.leaves, problem.others)
    except Exception:
        return id(site.equation)
    return _graph.identity(traced.jaxpr)


def _check(site: Found, values: list[Any], seed: int) -> Report:
    problem = problem_at(site, values)
    report = Report(site.name, signature_of(problem), "autodiff", ())
    if not problem.outputs:
        return report
    return examine(problem, report, None, (), seed, Budget(None), measure_power=False)
