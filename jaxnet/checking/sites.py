"""audit: which custom rule, at which line, made the gradient wrong?"""

from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, cast

import jax
import jax.numpy as jnp
import numpy as np

from jaxnet._auto import auto, limits
from jaxnet._graph import EVERY, REVERSE, without_rules
from jaxnet.checking import graph
from jaxnet.checking.checker import name_of, problem_of, quietly, signature_of
from jaxnet.checking.examination import examine
from jaxnet.checking.findings import BAD, Report, as_json, clip, row
from jaxnet.checking.problem import Arguments, Problem, is_floating, output_names, pull
from jaxnet.checking.programs import WIDE, precision_of, zero_cotangents

RULES = {"custom_vjp_call": "vjp", "custom_jvp_call": "jvp"}
ORDER = (
    "wrong",
    "error",
    "imprecise",
    "disputed",
    "kink",
    "vacuous",
    "ok",
    "never ran",
    "shadowed",
)  # culprits first
CHECKED_ALIKE = (
    2  # of the sites at which one rule meets the same shapes; the others share the verdict
)


@dataclass(frozen=True)
class Site:
    """One place where a custom rule is called.

    rule: its name; kind: "vjp" or "jvp"; where: the chain of calls in the user's files; count: how often it ran.
    verdict: that of `check` with the values the rule met (in a loop the first and the last), or "shadowed" (inside the
    body of another rule, whose backward is used instead), or "never ran". error: its worst, in eps; residual_bytes: all
    that its backward keeps, over all its runs; share: of all rules'. report: the check.
    """

    rule: str
    kind: str
    where: str
    count: int
    verdict: str
    error: float
    residual_bytes: int
    share: float
    report: Report | None


@dataclass(frozen=True)
class Audit:
    """What `audit` found: every custom rule, culprits first, and the whole gradient."""

    name: str
    sites: tuple[Site, ...]
    whole: Report
    notes: tuple[str, ...] = ()

    @property
    def ok(self) -> bool:
        return self.whole.nothing_bad and not self._culprits()

    def _culprits(self) -> list[Site]:
        """JAX's own functions may lose digits far out without harm, as logaddexp does beside a "log 0" of -1e5."""
        bad = [site for site in self.sites if site.verdict in ("wrong", "imprecise", "error")]
        return [
            s
            for s in bad
            if (s.verdict, s.kind) != ("imprecise", "jvp") or not self.whole.nothing_bad
        ]

    def require(self) -> None:
        """Raise AssertionError with the audit unless ok."""
        __tracebackhide__ = True
        if not self.ok:
            raise AssertionError(str(self)).with_traceback(None)

    def json(self) -> str:
        """The audit as JSON text; inf and NaN are written as strings."""
        return as_json(
            {"name": self.name, "ok": self.ok, "sentence": self.sentence()} | asdict(self)
        )

    def sentence(self) -> str:
        """What a person should know first."""
        for site in self._culprits():
            if site.report:
                return f"{site.rule} at {site.where}: {site.report.sentence()}"
        unseen = [
            f"{s.rule} at {s.where} never ran" for s in self.sites if s.verdict == "never ran"
        ]
        seen = sum(site.report is not None for site in self.sites)
        if not self.whole.nothing_bad:
            claim = (
                "no rule was wrong at the values that were looked at"
                if seen
                else "no rule was looked at"
            )
            return "; ".join([self.whole.sentence(), *unseen[:2], claim])
        right = (
            f"{seen} custom rule{'s' * (seen != 1)} right" if seen or unseen else "no custom rule"
        )
        said = [f"ok: {right}", *unseen[:2]]
        return "; ".join(said) + (
            ", and so is the whole gradient" if self.whole.ok else f"; {self.whole.sentence()}"
        )

    def __str__(self) -> str:
        lines = [self.sentence(), clip(f"audit of {self.name}({self.whole.signature})"), ""]
        lines.append(
            f"  {'rule':<22} {'ran':>5}  {'verdict':<11} {'error':>9}  {'residuals':>11} {'share':>6}"
        )
        for s in self.sites:
            verdict = s.verdict.upper() if s.verdict in BAD else s.verdict
            error = "" if np.isnan(s.error) else f"{s.error:.2g} eps"
            kept = f"{s.residual_bytes:,} B" if s.report else ""
            share = f"{s.share:.0%}" if s.report else ""
            name = s.rule + (" (jvp)" if s.kind == "jvp" else "")
            lines.append(
                f"  {name:<22} {s.count:>5}  {verdict:<11} {error:>9}  {kept:>11} {share:>6}".rstrip()
            )
            lines += row("", "", "", s.where, indent=6)
        whole = "ok" if self.whole.ok else self.whole.sentence()
        lines += ["", *row("", "", "", f"whole gradient: {whole}", indent=2)]
        for note in (*self.notes, *self.whole.notes):
            lines += row("", "", "", f"note: {note}", indent=2)
        return "\n".join(lines)


def audit(
    f: Callable[..., Any], *args: Any, kwargs: dict[str, Any] | None = None, seed: int = 0
) -> Audit:
    """Find every custom rule in the graph of f, check each with the values that it meets, then the whole gradient.

    f: any pure, traceable function with a floating output, a training loss say; args, kwargs: its arguments, as for
    `check`. Rules are found at any depth of jit, scan, while, cond, vmap, remat and shard_map, in libraries too
    (`jax.custom_vjp` and `jax.custom_jvp`). f is run once. (Arguments over a mesh with explicit axes are not taken.)

    Returns an Audit; `audit.require()` raises AssertionError where a rule or the whole gradient is wrong, imprecise or
    an error. Rules under a derivative that f takes inside cannot be seen; a note says where f has one.
    Raises as `check` does.
    """
    if not callable(f):
        raise TypeError(
            f"audit: f must be a function, got {type(f).__name__}; call audit(f, *args)"
        )
    problem, reference, notes = problem_of("audit", f, args, kwargs or {}, None)
    name, signature = name_of(f), signature_of(problem)
    with quietly():
        jaxpr = jax.make_jaxpr(lambda *xs: problem.rule(*_split(problem, xs)))(
            *problem.leaves, *problem.others
        )
        found = [
            _Found(e, chain) for e, chain in graph.equations(jaxpr) if e.primitive.name in RULES
        ]
        _run(jaxpr, found, (*problem.leaves, *problem.others))
        wide = _in_float64(problem, found)
        sites = list(_sites(found, wide, seed, CHECKED_ALIKE))
        if any(site.kind == "jvp" and site.verdict == "wrong" for site in sites):
            problem = replace(problem, ref=auto(problem.rule, jvp=True))
        whole = examine(
            problem, Report(name, signature, reference, ()), None, (), seed, measure_power=False
        )
        if not whole.nothing_bad and not any(site.verdict in BAD for site in sites):
            sites = list(
                _sites(found, wide, seed, len(found))
            )  # then it is one of those that shared a verdict
        seen = sorted(limits(jaxpr, jvp=True))
    said = tuple(seen or [note for note in notes if not found])
    total = sum(s.residual_bytes for s in sites) or 1
    sites = [replace(s, share=s.residual_bytes / total) for s in sites]
    return Audit(name, tuple(sorted(sites, key=lambda s: ORDER.index(s.verdict))), whole, said)


def _split(problem: Problem, arrays: Any) -> tuple[Any, Any]:
    count = len(problem.leaves)
    return tuple(arrays[:count]), tuple(arrays[count:])


class _Found:
    """An equation that calls a rule, and what it met."""

    def __init__(self, e: Any, chain: graph.Chain) -> None:
        self.equation, self.chain = e, chain
        self.count = 0
        self.first: list[Any] | None = None
        self.last: list[Any] | None = None

    @property
    def kind(self) -> str:
        return RULES[self.equation.primitive.name]

    @property
    def name(self) -> str:
        return graph.name_of_function(self.equation.params["call_jaxpr"])

    @property
    def shadowed(self) -> bool:
        return any(e.primitive.name in RULES for e in self.chain)

    def tell(self, *values: Any) -> None:
        self.count += 1
        self.last = [_kept(v) for v in values]
        self.first = self.first or self.last

    def where(self) -> str:
        # What is traced once and called from many places, as a jitted function, has the frames of its calls outside it.
        frames: list[graph.Frame] = []
        for e in (*self.chain, self.equation):
            frames += [f for f in reversed(graph.users_frames(e)) if f not in frames]
        places = [
            f"{f.function.rpartition('.')[2]} ({Path(f.file).name}:{f.line})" for f in frames[-3:]
        ]
        around = [
            graph.name_of_equation(e)
            for e in self.chain
            if e.primitive.name not in ("closed_call",)
        ]
        return " > ".join(places or ["?"]) + (f", in {', '.join(around)}" if around else "")


def _kept(value: Any) -> Any:
    is_key = isinstance(value, jax.Array) and jnp.issubdtype(value.dtype, jax.dtypes.extended)
    return value if is_key else np.array(value)


def _run(jaxpr: Any, found: list[_Found], arrays: Any) -> None:
    by_place = {(*map(id, f.chain), id(f.equation)): f for f in found}

    def wanted(e: Any, chain: graph.Chain) -> Any:
        site = by_place.get((*map(id, chain), id(e)))
        if site is None:
            return None
        inputs = graph.inputs_of(e)
        first = [e.invars.index(v) for v in inputs]
        return (lambda *every: [every[i] for i in first]), site.tell

    cast(Any, jax).block_until_ready(
        jax.jit(graph.core.jaxpr_as_fun(graph.tap(jaxpr, wanted)))(*arrays)
    )
    cast(Any, jax).effects_barrier()


def _in_float64(problem: Problem, found: list[_Found]) -> list[Any]:
    """The same equations as f has in float64 (None each where it has others)."""
    wide = tuple(np.asarray(x).astype(WIDE) for x in problem.leaves)
    with precision_of(WIDE):
        try:
            jaxpr = jax.make_jaxpr(lambda *xs: problem.rule(*_split(problem, xs)))(
                *wide, *problem.others
            )
        except Exception:
            return [None] * len(found)
    equations = [e for e, _ in graph.equations(jaxpr) if e.primitive.name in RULES]
    alike = [graph.name_of_function(e.params["call_jaxpr"]) for e in equations] == [
        f.name for f in found
    ]
    return equations if alike else [None] * len(found)


def _sites(found: list[_Found], wide: list[Any], seed: int, checked_alike: int) -> Iterator[Site]:
    known: dict[Any, list[Report]] = {}
    for site, in_float64 in zip(found, wide, strict=True):
        verdict, error, report = "never ran", float("nan"), None
        if site.shadowed:
            verdict = "shadowed"
        elif site.first is not None and site.last is not None:
            if not any(is_floating(v) for v in site.first):
                continue  # nothing to differentiate
            alike = known.setdefault(_key(site), [])
            if len(alike) < checked_alike:
                points = [site.first] if site.last is site.first else [site.first, site.last]
                reports = [_check(site, in_float64, values, seed) for values in points]
                alike.append(max(reports, key=_badness))
                report = alike[-1]
            else:
                report = max(alike, key=_badness)
            verdict = next(
                (
                    v
                    for v in (*BAD, "disputed", "kink")
                    if any(f.verdict == v for f in report.findings)
                ),
                "ok",
            )
            errors = [
                f.error
                for f in report.findings
                if f.what.startswith("precision") or f.verdict in BAD
            ]
            error = max((e for e in errors if not np.isnan(e)), default=float("nan"))
        cost = report.cost.residual_bytes["rule"] if report and report.cost else 0
        yield Site(
            site.name,
            site.kind,
            site.where(),
            site.count,
            verdict,
            error,
            cost * site.count,
            0.0,
            report,
        )


def _badness(report: Report) -> int:
    verdicts = {f.verdict for f in report.findings}
    return max((len(BAD) - i for i, v in enumerate(BAD) if v in verdicts), default=0)


def _key(site: _Found) -> Any:
    """Alike are sites whose pullbacks compute the same."""
    problem = _problem(site, None)
    try:
        c = zero_cotangents(problem.rule, problem.leaves, problem.others)
        jaxpr = jax.make_jaxpr(pull(problem.rule))(problem.leaves, problem.others, c)
    except Exception:
        return id(site.equation)
    return graph.fingerprint(jaxpr)


def _problem(site: _Found, in_float64: Any, values: list[Any] | None = None) -> Problem:
    """The equation as a function of the values that it met. in_float64: the same equation where f is in float64."""
    values = site.first if values is None else values
    assert values is not None
    own, wide = graph.alone(site.equation), None if in_float64 is None else graph.alone(in_float64)
    around = next((e for e in reversed(site.chain) if e.primitive.name == "shard_map"), None)

    def function(finish: Callable[[Any], Any]) -> Callable[..., Any]:
        def of_inputs(*inputs: Any) -> Any:
            met = [v.dtype for v in values] == [v.dtype for v in inputs]
            jaxpr = own if met else wide
            if jaxpr is None:
                raise ValueError("f does not call the same rules in the same order")
            cast_inputs = [
                v.astype(a.dtype) if is_floating(v) else v
                for v, a in zip(inputs, jaxpr.in_avals, strict=True)
            ]
            called = graph.core.jaxpr_as_fun(finish(jaxpr))
            return (
                called(*cast_inputs)
                if around is None
                else _on_one_device(called, jaxpr, around)(*cast_inputs)
            )

        return of_inputs

    rule, ref = (
        function(lambda jaxpr: jaxpr),
        function(lambda jaxpr: without_rules(jaxpr, EVERY if site.kind == "jvp" else REVERSE)),
    )
    taken = Arguments(rule, values, {}, floats_are_leaves=False)
    taken.rename(_names(site.equation))
    outputs = [v for v in site.equation.outvars if not isinstance(v, graph.core.DropVar)]
    names = output_names(outputs[0].aval if len(outputs) == 1 else [v.aval for v in outputs])
    return taken.problem(rule, ref, *names)


def _on_one_device(called: Callable[..., Any], jaxpr: Any, shard_map: Any) -> Callable[..., Any]:
    """What ran on one device of a mesh, as a function of that device's values: every device is given the same ones."""
    mesh, checked = shard_map.params["mesh"], shard_map.params["check_vma"]

    def varying(aval: Any) -> tuple[str, ...]:
        return tuple(sorted(aval.manual_axis_type.varying)) if checked else ()

    def of_device(*inputs: Any) -> Any:
        values = [
            jax.lax.pcast(v, axes, to="varying") if (axes := varying(a)) else v
            for v, a in zip(inputs, jaxpr.in_avals, strict=True)
        ]
        outputs = called(*values)
        return [
            cast(Any, jax.lax).pmean(v, axes) if (axes := varying(jax.typeof(v))) else v
            for v in outputs
        ]

    everywhere = cast(Any, jax.sharding).PartitionSpec()
    return jax.shard_map(
        of_device, mesh=mesh, in_specs=everywhere, out_specs=everywhere, check_vma=checked
    )


def _names(e: Any) -> list[str]:
    """Of its inputs: the function's own, where JAX kept them."""
    inputs = graph.inputs_of(e)
    names = getattr(e.params["call_jaxpr"].debug_info, "arg_names", None) or ()
    if len(names) == len(e.invars):
        return [str(names[e.invars.index(v)]) for v in inputs]
    return [f"input {i}" for i in range(len(inputs))]


def _check(site: _Found, in_float64: Any, values: list[Any], seed: int) -> Report:
    problem = _problem(site, in_float64, values)
    report = Report(site.name, signature_of(problem), "autodiff", ())
    return (
        examine(problem, report, None, (), seed, measure_power=False) if problem.outputs else report
    )
