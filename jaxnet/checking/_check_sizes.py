"""check_sizes: at which sizes and options is the rule wrong?"""

import numbers
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, cast

import jax

from jaxnet.checking._check import check, name_of, quietly, require_budget, require_seed
from jaxnet.checking.budget import Budget
from jaxnet.checking.cover import Combination, Cover, Part, smaller
from jaxnet.checking.findings import Finding, Question, Verdict
from jaxnet.checking.reports import Judgement, Report, clip, said_of_cut
from jaxnet.checking.traces import first_line
from jaxnet.proving import require_arguments, require_functions, require_make_args, require_sizes

MOST = 100  # combinations
EMPTY = (Verdict.VACUOUS, Verdict.NOT_JUDGED)  # no fault of the rule


@dataclass(frozen=True)
class ReportOfSizes(Judgement):
    """What `check_sizes` found: a Report for each combination of sizes and options.

    `ok` is False where one fails (wrong, imprecise, error), where nothing was judged, and where a
    leaf's gradient was 0 in all.

    name: of the function.
    reports: "T=7, causal=True" -> its Report, the smallest first.
    not_asked: "T=0, causal=True" -> the first line of what make_args or f raised there.
    smallest: the smallest that fails, "" where none does.
    cut: values and pairs of values of which no combination was tried, for lack of time.

    >>> found = jaxnet.check_sizes(jaxnet.relu, lambda n: (jnp.arange(-1.0, n),), {"n": (1, 2)})
    >>> list(found.reports)
    ['n=1', 'n=2']
    """

    name: str
    reports: Mapping[str, Report]
    not_asked: Mapping[str, str] = field(default_factory=dict)
    smallest: str = ""
    cut: tuple[str, ...] = ()

    def unasked(self) -> tuple[str, ...]:
        return self.cut

    def unproved(self) -> tuple[str, ...]:
        return tuple(name for name, report in self.reports.items() if report.unproved())

    def faults(self) -> set[str]:
        if self.smallest:
            return {""}
        judged = self._judged()
        if not judged:
            return set().union(*(report.faults() for report in self.reports.values())) or {""}
        return {f.detail if f.verdict is Verdict.NOT_JUDGED else "" for f in _unseen(judged)}

    def _judged(self) -> list[Report]:
        return [report for report in self.reports.values() if list(_slopes(report))]

    def sentence(self) -> str:
        return "; ".join([*self._said(), *said_of_cut(self.cut)])

    def _said(self) -> list[str]:
        asked = f"{len(self.reports)} combinations of sizes"
        if self.smallest:
            count = sum(_fails(report) for report in self.reports.values())
            first = _sentence(self.reports[self.smallest])
            return [f"at {self.smallest}: {first}", f"{count} of {asked} fail"]
        if not self.reports:
            name, reason = next(iter(self.not_asked.items()))
            return [f"nothing was asked: at {name}: {reason}"]
        if not self._judged():
            name, report = next(iter(self.reports.items()))
            return [f"at {name}: {_sentence(report)}", f"nothing was judged at all {asked}"]
        for finding in _unseen(self._judged()):
            return [finding.sentence(), f"so it is at all {asked}"]
        return [f"ok: {asked}", *([f"{len(self.not_asked)} more raise"] if self.not_asked else [])]

    def __str__(self) -> str:
        rows = {name: _sentence(report) for name, report in self.reports.items()}
        rows |= {name: f"not asked: {reason}" for name, reason in self.not_asked.items()}
        width = max(map(len, rows))
        table = [clip(f"  {name:<{width}}  {said}") for name, said in rows.items()]
        whole = [f"\n{self.smallest}: {self.reports[self.smallest]}"] if self.smallest else []
        return "\n".join([self.sentence(), *table, *whole])


def _sentence(report: Report) -> str:
    """Of a quick check; that it leaves most questions out needs no word."""
    return replace(report, cut=()).sentence()


def _fails(report: Report) -> bool:
    return any(f.verdict.bad and f.verdict not in EMPTY for f in report.findings)


def _slopes(report: Report) -> Iterator[Finding]:
    judging = (Question.ALGEBRA, Question.METHODS)
    return (finding for finding in report.findings if finding.question in judging)


def _unseen(reports: Sequence[Report]) -> list[Finding]:
    """Of what nothing was seen in any report: at one size alone a gradient may well be 0."""
    seen = {f.leaf for r in reports for f in _slopes(r) if f.verdict is not Verdict.VACUOUS}
    unjudged = ({f.detail for f in r.findings if f.verdict is Verdict.NOT_JUDGED} for r in reports)
    never_judged = set.intersection(*unjudged)

    def is_unseen(finding: Finding) -> bool:
        if finding.verdict is Verdict.NOT_JUDGED:
            return finding.detail in never_judged
        return finding.verdict is Verdict.VACUOUS and finding.leaf not in seen

    return [finding for r in reports for finding in r.findings if is_unseen(finding)]


def check_sizes(
    f: Callable[..., Any],
    make_args: Callable[..., Sequence[Any]],
    sizes: Mapping[str, Sequence[Any]],
    options: Mapping[str, Sequence[Any]] | None = None,
    *,
    ref: Callable[..., Any] | None = None,
    seed: int = 0,
    budget: float | None = 60.0,
) -> ReportOfSizes:
    """A quick `check` at many sizes and options, and the smallest that fails.

    All combinations are asked where there are at most 32, else few that together have every value
    and every pair of values. What fails is made smaller, one size after the other, as long as it
    fails. A quick check asks value, structure, algebra and laws; what else there is, `check` asks.

    f: a function with a custom derivative.
    make_args: a function of the sizes, by keyword, that returns the tuple of arguments. Where it
        raises, or f does, there is nothing to ask.
    sizes: for each keyword the sizes to take, {"T": (1, 7, 64, 65), "S": (1, 64)}. Numbers are
        taken as they grow, anything else as it stands: the plainest first.
    options: for each keyword of f the values to take, {"causal": (False, True)}.
    ref: as for `check`.
    seed: of the random cotangents.
    budget: seconds of wall time for all, None for none; at most 100 combinations are taken. What is
        not asked for lack of time is listed.
    Returns a ReportOfSizes; `.require()` raises AssertionError where it is not ok.
    Raises TypeError where f, ref or make_args is no function, sizes or options is no dict of
        sequences or make_args returns no tuple, ValueError where there is no size, or a name is one
        of a size and of an option.

    >>> @jax.custom_vjp
    ... def total(x):
    ...     return x.sum()
    >>> def backward(n, dy):  # of whole blocks of 4
    ...     return (jnp.where(jnp.arange(n) < n // 4 * 4, dy, 0),)
    >>> total.defvjp(lambda x: (x.sum(), x.size), backward)
    >>> print(jaxnet.check_sizes(total, lambda n: (jnp.ones(n),), {"n": (4, 5, 6)}))
    at n=5: WRONG in `x` at (4): rule 0, ...; 2 of 3 combinations of sizes fail
      n=4  ok
      n=5  WRONG in `x` at (4): rule 0, ...
      n=6  WRONG ...
    """
    require_functions("check_sizes", f, ref)
    require_make_args("check_sizes", make_args)
    require_sizes("check_sizes", sizes)
    if options:
        require_sizes("check_sizes", options, "options")
    _require_different_names(sizes, options or {})
    require_seed("check_sizes", seed)
    require_budget("check_sizes", budget)
    asking = _Asking(f, make_args, {**sizes, **(options or {})}, tuple(options or {}), ref, seed)
    return asking.report(Budget(budget))


def _require_different_names(sizes: Mapping[str, Any], options: Mapping[str, Any]) -> None:
    both = [name for name in sizes if name in options]
    if both:
        raise ValueError(
            f"check_sizes: {both[0]!r} is in sizes, for make_args, and in options, for f; "
            f"give it two names, or take an f that is given it by make_args"
        )


class _Asking:
    """Combinations, each checked once."""

    def __init__(
        self,
        f: Callable[..., Any],
        make_args: Callable[..., Sequence[Any]],
        axes: Mapping[str, Sequence[Any]],
        options: Sequence[str],
        ref: Callable[..., Any] | None,
        seed: int,
    ):
        self.f, self.make_args, self.options = f, make_args, options
        self.ref, self.seed = ref, seed
        self.axes = {name: _the_smallest_first(values) for name, values in axes.items()}
        self.cover = Cover([len(values) for values in self.axes.values()])
        self.found: dict[Combination, Report | str] = {}  # a string: what was raised

    def report(self, budget: Budget) -> ReportOfSizes:
        """The cover; at the first combination that fails, and at last, a smaller one."""
        while not self._is_over(budget) and (combination := self.cover.proposed()):
            is_first = not self._failing()
            if self._fails(combination) and is_first:
                self._shrink(combination, budget)
        if self._failing():
            self._shrink(self._failing()[0], budget)
        budget.clear()
        return self._said()

    def _is_over(self, budget: Budget) -> bool:
        """Whatever the time, one combination is asked."""
        count = len(self.found)
        return count > 0 and (count >= MOST or budget.is_spent(f"combination {count + 1}"))

    def _shrink(self, combination: Combination, budget: Budget) -> None:
        for other in smaller(combination):
            if self._is_over(budget):
                return
            if self._fails(other):
                self._shrink(other, budget)
                return

    def _failing(self) -> list[Combination]:
        """The smallest first."""
        return sorted((c for c in self.found if self._fails(c)), key=lambda c: (sum(c), c))

    def _fails(self, combination: Combination) -> bool:
        if combination not in self.found:
            self.found[combination] = self._asked(combination)
            self.cover.mark(combination, isinstance(self.found[combination], Report))
        found = self.found[combination]
        return isinstance(found, Report) and _fails(found)

    def _asked(self, combination: Combination) -> Report | str:
        chosen = dict(self._values(enumerate(combination)))
        options = {name: chosen.pop(name) for name in self.options}
        try:
            args = self.make_args(**chosen)
        except Exception as e:
            return first_line(e)
        require_arguments("check_sizes", args)
        report = self._checked(args, options)
        is_error = any(f.verdict is Verdict.ERROR for f in report.findings)
        return (is_error and _raised_by(self.f, args, options)) or report

    def _checked(self, args: Sequence[Any], options: dict[str, Any]) -> Report:
        try:
            return check(self.f, *args, kwargs=options, ref=self.ref, seed=self.seed, budget=0)
        except Exception as e:
            error = Finding(Question.GRADIENT, "", Verdict.ERROR, note=first_line(e))
            return Report(name_of(self.f), "", "", (error,))

    def _values(self, positions: Iterator[tuple[int, int]] | Part) -> Iterator[tuple[str, Any]]:
        names = list(self.axes)
        return ((names[axis], self.axes[names[axis]][n]) for axis, n in positions)

    def _name(self, positions: Iterator[tuple[int, int]] | Part) -> str:
        named = ((name, getattr(x, "__name__", x)) for name, x in self._values(positions))
        return ", ".join(f"{name}={value}" for name, value in named)

    def _said(self) -> ReportOfSizes:
        named = {self._name(enumerate(c)): self.found[c] for c in sorted(self.found)}
        return ReportOfSizes(
            name_of(self.f),
            {name: found for name, found in named.items() if isinstance(found, Report)},
            {name: found for name, found in named.items() if isinstance(found, str)},
            self._name(enumerate(self._failing()[0])) if self._failing() else "",
            tuple(map(self._name, self.cover.never_met())),
        )


def _the_smallest_first(values: Sequence[Any]) -> list[Any]:
    are_numbers = all(isinstance(x, numbers.Real) for x in values)
    return sorted(values) if are_numbers else list(values)


def _raised_by(f: Callable[..., Any], args: Sequence[Any], options: dict[str, Any]) -> str:
    """By the value itself, without any derivative."""
    try:
        with quietly():
            cast(Any, jax).block_until_ready(f(*args, **options))
    except Exception as e:
        return first_line(e)
    return ""
