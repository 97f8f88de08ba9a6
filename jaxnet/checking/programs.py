"""The compiled part of a check: everything that must be run, in as few programs as possible.

Points, cotangents and seeds are data of these programs, and a program is known by what it computes: a second check of
the same function at the same shapes compiles nothing, and one whose rule was changed never meets the old program.
"""

import contextlib
import re
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxnet.checking import differences, graph
from jaxnet.checking.branches import Branches, is_one_rule
from jaxnet.checking.findings import Cost, Finding
from jaxnet.checking.problem import Function, Leaves, Problem, as_dtypes, eps_of, pull, shape_text
from jaxnet.checking.transforms import PLAIN, SECOND_ORDER, Cell, cells

WIDE = np.dtype(np.float64)
# What is run here is small, so XLA should compile fast: the first of these that this XLA knows. Without fusion emitters
# it takes half the time.
QUICK: list[dict[str, Any]] = [
    {"xla_backend_optimization_level": 0, "xla_cpu_use_fusion_emitters": False},
    {"xla_backend_optimization_level": 0},
    {},
]
REMEMBERED = 64  # problems
NOT_DETERMINISTIC = (
    "two runs with the same arguments differ: pass randomness in as a key, and keep no state"
)
NOT_IMPLEMENTED = re.compile("not (yet )?(implemented|support)")


class Failed(Exception):
    """Nothing can be compared; finding says why."""

    def __init__(self, finding: Finding) -> None:
        super().__init__(finding.note)
        self.finding = finding


@dataclass(frozen=True)
class Working:
    """The dtypes of the leaves in which the precision is judged; name: of the narrowest."""

    name: str
    dtypes: tuple[Any, ...]


@dataclass
class Programs:
    """What was compiled for one problem."""

    dtype: Any  # of the algebra: float64, or the leaves' own where float64 cannot be had
    eps: float  # of the narrowest dtype in which anything is computed there
    stopped: bool  # whether the reference stops gradients, so that its derivative is not its slope by design
    zero: tuple[bool, ...]  # by leaf: the reference's gradient is 0 whatever the arguments
    draws: bool  # whether random numbers are drawn, which are others in other dtypes
    is_one_rule: bool  # whether the function is nothing but one rule
    main: Callable[
        ..., Any
    ]  # (leaves, others, c, d, weights) -> values, and by cell what rule and reference return
    working: dict[str, Callable[..., Any]]  # by dtype: (leaves, others, c) -> values and cotangents
    cotangents: tuple[
        Any, ...
    ]  # their dtypes in main: float64, but for outputs that are narrower all the same
    cells: list[Cell]  # whose values are compared; the first is the plain one
    not_compared: list[Finding]  # transforms that only could be traced, or that failed
    structure: list[Finding]
    references: dict[str, Function]
    cost: Cost | None
    branches: Branches
    notes: tuple[str, ...]
    ladders: dict[str, Any] = field(default_factory=dict)

    def ladder(self, cell: str, *args: Any) -> Any:
        """The arbiter's differences for a cell, compiled when first asked for: most checks need those of one cell."""
        with precision_of(self.dtype):
            if cell not in self.ladders:
                self.ladders[cell] = _compiled(differences.ladder(self.references[cell]), *args)
            return self.ladders[cell](*args)


@contextlib.contextmanager
def precision_of(dtype: Any) -> Iterator[None]:
    """float64 is computed in JAX's x64 mode, everything else in the mode that the caller is in."""
    with jax.enable_x64(True) if dtype == WIDE else contextlib.nullcontext():
        yield


@dataclass(frozen=True)
class _Traced:
    """A function as a jaxpr."""

    jaxpr: Any
    tree: Any

    def __call__(self, *args: Any) -> Any:
        fitting = [
            x.astype(a.dtype) if jnp.issubdtype(a.dtype, jnp.floating) else x
            for x, a in zip(jax.tree.leaves(args), self.jaxpr.in_avals, strict=True)
        ]
        return jax.tree.unflatten(self.tree, graph.core.jaxpr_as_fun(self.jaxpr)(*fitting))

    def shapes(self) -> Any:
        return jax.tree.unflatten(self.tree, self.jaxpr.out_avals)


def _trace(f: Callable[..., Any], *args: Any) -> _Traced:
    # A function of its own each time: JAX remembers the traces of one that it has seen.
    jaxpr, shapes = jax.make_jaxpr(lambda *args: f(*args), return_shape=True)(*args)
    if any(isinstance(c, jax.core.Tracer) for c in graph.constants(jaxpr)):
        raise RuntimeError(
            "a tracer leaked: a value of one call was kept outside and used in another"
        )
    return _Traced(jaxpr, jax.tree.structure(shapes))


@dataclass(frozen=True)
class _AtDtypes:
    """Function, rule and reference traced at some dtypes of the leaves."""

    plain: _Traced  # the function, not differentiated
    rule: _Traced  # its pullback, and the reference's
    ref: _Traced
    ref_plain: _Traced


def zero_cotangents(f: Function, leaves: Leaves, others: Leaves) -> Leaves:
    return tuple(np.zeros(s.shape, s.dtype) for s in jax.eval_shape(f, leaves, others)[0])


def first_line(e: BaseException) -> str:
    text = str(e).strip().splitlines()
    return f"{type(e).__name__}: {text[0] if text else ''}"[:300]


def programs_for(
    problem: Problem, working: Sequence[Working], transforms: Sequence[str]
) -> Programs:
    """Trace the problem; compile it unless the same is known already. Raises Failed."""
    traced = {w.name: _trace_at(problem, w.dtypes) for w in working}
    wide: tuple[Any, ...] = (WIDE,) * len(problem.leaves)
    notes: tuple[str, ...] = ()
    try:
        with precision_of(WIDE):
            at_wide = _trace_at(problem, wide)
    except Failed as e:
        if e.finding.note == NOT_DETERMINISTIC:
            raise
        wide, at_wide = working[0].dtypes, traced[working[0].name]
        notes = (
            f"the algebra was judged in the arguments' own dtypes: in float64 {e.finding.note}",
        )
    every = [at_wide, *traced.values()]
    key = (
        problem.names,
        tuple(transforms),
        str(jnp.result_type(float)),  # whether the caller is in x64 mode
        tuple(shape_text(x) for x in (*problem.leaves, *problem.others)),
        *(
            graph.fingerprint(t.jaxpr)
            for at in every
            for t in (at.plain, at.rule, at.ref, at.ref_plain)
        ),
    )
    if key not in _known:
        _known[key] = _compile(problem, working, traced, wide, at_wide, transforms, notes)
    _known.move_to_end(key)
    while len(_known) > REMEMBERED:
        _known.popitem(last=False)
    return _known[key]


_known: OrderedDict[Any, Programs] = OrderedDict()


def _trace_at(problem: Problem, dtypes: Sequence[Any]) -> _AtDtypes:
    leaves = as_dtypes(problem.leaves, dtypes)
    try:
        plain = _trace(problem.rule, leaves, problem.others)
        again = _trace(problem.rule, leaves, problem.others)
        cotangents = zero_cotangents(problem.rule, leaves, problem.others)
        rule = _trace(pull(problem.rule), leaves, problem.others, cotangents)
    except Exception as e:
        if _raises(problem.ref, leaves, problem.others):
            note = f"neither the rule nor the reference has a reverse mode: {first_line(e)}"
            raise Failed(Finding("gradient", "", "unsupported", note=note)) from e
        raise Failed(_why_the_rule_raised(problem, leaves, e)) from e
    if graph.fingerprint(plain.jaxpr, addresses=False) != graph.fingerprint(
        again.jaxpr, addresses=False
    ):
        raise Failed(Finding("law: the same twice", "", "error", note=NOT_DETERMINISTIC))
    try:
        ref_plain = _trace(problem.ref, leaves, problem.others)
        cotangents = zero_cotangents(problem.ref, leaves, problem.others)
        ref = _trace(pull(problem.ref), leaves, problem.others, cotangents)
    except Exception as e:
        note = (
            f"the function without its rule cannot be differentiated ({first_line(e)}): give ref="
        )
        raise Failed(Finding("reference", "", "error", note=note)) from e
    return _AtDtypes(plain, rule, ref, ref_plain)


def _raises(f: Function, leaves: Leaves, others: Leaves) -> bool:
    try:
        _trace(pull(f), leaves, others, zero_cotangents(f, leaves, others))
    except Exception:
        return True
    return False


def _why_the_rule_raised(problem: Problem, leaves: Leaves, e: Exception) -> Finding:
    def forward(*leaves: Any) -> Any:
        return jax.vjp(lambda *leaves: problem.rule(leaves, problem.others)[0], *leaves)[0]

    with contextlib.suppress(Exception):
        value = jax.eval_shape(problem.rule, leaves, problem.others)[0]
        other = _other_forward(problem, jax.eval_shape(forward, *leaves), value)
        if other:
            return other[0]
    return Finding("structure", blamed(e), "error", note=f"the rule raised {first_line(e)}")


def blamed(e: Exception) -> str:
    """JAX says of a forward that it is at fault; of a backward it does not say for which argument."""
    return "output" if "fwd rule" in str(e) else ""


def _other_forward(problem: Problem, forward: Any, value: Any) -> list[Finding]:
    return [
        Finding(
            "structure",
            output,
            "wrong",
            note=f"the rule's forward returns {shape_text(a)} where the function returns {shape_text(b)}",
        )
        for output, a, b in zip(problem.outputs, forward, value, strict=False)
        if (a.shape, a.dtype) != (b.shape, b.dtype)
    ]


def _structure(problem: Problem, at: _AtDtypes, dtypes: Sequence[Any]) -> list[Finding]:
    """Shapes and dtypes of what the rule returns, which JAX does not compare."""
    forward, _, cotangents = at.rule.shapes()
    found = _other_forward(problem, forward, at.plain.shapes()[0])
    for leaf, ct, x, dtype in zip(problem.names, cotangents, problem.leaves, dtypes, strict=True):
        if ct.dtype != dtype or ct.shape != x.shape:
            wanted = shape_text(np.broadcast_to(np.zeros((), dtype), x.shape))
            note = (
                f"its cotangent is {shape_text(ct)}, the argument {wanted}: cast it in the backward"
            )
            found.append(Finding("structure", leaf, "wrong", note=note))
    return found


def _compile(
    problem: Problem,
    working: Sequence[Working],
    traced: dict[str, _AtDtypes],
    wide: Sequence[Any],
    at_wide: _AtDtypes,
    transforms: Sequence[str],
    notes: tuple[str, ...],
) -> Programs:
    own, others = as_dtypes(problem.leaves, working[0].dtypes), problem.others
    leaves = as_dtypes(problem.leaves, wide)
    dtype = max((np.dtype(d) for d in wide), key=eps_of)
    perturbed_is_seen = any(
        e.params.get("symbolic_zeros") for e, _ in graph.equations(at_wide.plain.jaxpr)
    )
    plain, *more = cells(problem, transforms, perturbed_is_seen)
    made, pulls, references = [plain], {PLAIN: (at_wide.rule, at_wide.ref)}, {PLAIN: problem.ref}
    not_compared = []
    for cell in more:
        trouble = _trouble_with(cell, problem, own)
        if trouble is None:
            try:
                with precision_of(dtype):
                    pulls[cell.name] = (
                        _pull_of(cell, problem.rule, leaves, others),
                        _pull_of(cell, problem.ref, leaves, others),
                    )
                references[cell.name] = cell.transform(problem.ref)
                made.append(cell)
                continue
            except Exception as e:
                trouble = Finding(
                    cell.name, "", "ok", note=f"traced only: in float64 it raised {first_line(e)}"
                )
        not_compared.append(trouble)
    with precision_of(dtype):
        wide_c = zero_cotangents(problem.rule, leaves, others)
        main = _compiled(_main(at_wide.plain, made, pulls), leaves, others, wide_c, wide_c, leaves)
    programs = {}
    for w in working:
        if any(np.dtype(d) != dtype for d in w.dtypes):
            narrow = as_dtypes(problem.leaves, w.dtypes)
            c = zero_cotangents(problem.rule, narrow, others)
            programs[w.name] = _compiled(_narrow(traced[w.name]), narrow, others, c)
    narrowest = graph.narrowest_float(at_wide.rule.jaxpr, at_wide.ref.jaxpr)
    return Programs(
        dtype=dtype,
        eps=max(eps_of(narrowest), *(eps_of(d) for d in wide)),
        stopped=graph.stops_gradient(at_wide.ref_plain.jaxpr),
        zero=graph.independent(at_wide.ref.jaxpr, len(problem.leaves)),
        draws=graph.draws_random_numbers(at_wide.ref.jaxpr),
        is_one_rule=is_one_rule(at_wide.plain.jaxpr),
        main=main,
        cotangents=tuple(x.dtype for x in wide_c),
        working=programs,
        cells=made,
        not_compared=not_compared,
        structure=[f for w in working for f in _structure(problem, traced[w.name], w.dtypes)],
        references=references,
        cost=_cost(problem, own),
        branches=Branches(at_wide.rule.jaxpr, at_wide.ref_plain.jaxpr),
        notes=notes,
    )


def _pull_of(cell: Cell, f: Function, leaves: Leaves, others: Leaves) -> _Traced:
    c = zero_cotangents(f, leaves, others)
    return _trace(
        pull(cell.transform(f)), *jax.eval_shape(cell.prepare, leaves, others, c, c, leaves)
    )


def _trouble_with(cell: Cell, problem: Problem, own: Leaves) -> Finding | None:
    """What happens when the transformed rule is traced in the arguments' own dtypes; None where nothing does."""
    try:
        _pull_of(cell, problem.rule, own, problem.others)
    except Exception as e:
        if (
            cell.name == SECOND_ORDER
            or isinstance(e, NotImplementedError)
            or NOT_IMPLEMENTED.search(str(e))
        ):
            return Finding(cell.name, "", "unsupported", note=first_line(e))
        try:
            _pull_of(cell, problem.ref, own, problem.others)
        except Exception:
            return Finding(
                cell.name, "", "unsupported", note=f"the reference raises too: {first_line(e)}"
            )
        return Finding(cell.name, blamed(e), "error", note=first_line(e))
    return None


def _compiled(f: Callable[..., Any], *args: Any) -> Any:
    lowered = jax.jit(f).lower(*args)
    while True:
        try:
            return lowered.compile(compiler_options=QUICK[0])
        except jax.errors.JaxRuntimeError as e:
            if "compile option" not in str(e) or len(QUICK) == 1:
                raise
            del QUICK[0]


def _main(
    plain: _Traced, made: Sequence[Cell], pulls: dict[str, tuple[_Traced, _Traced]]
) -> Callable[..., Any]:
    def main(leaves: Leaves, others: Leaves, c: Leaves, d: Leaves, weights: Leaves) -> Any:
        results: dict[str, Any] = {"value": plain(leaves, others)}
        for cell in made:
            prepared = cell.prepare(leaves, others, c, d, weights)
            rule, ref = (pulled(*prepared) for pulled in pulls[cell.name])
            results[cell.name] = rule[2], ref[2]
            if cell.name == PLAIN:
                results["forward"] = rule[:2]
        return jax.tree.map(_without_key, results)

    return main


def _without_key(x: Any) -> Any:
    return jax.random.key_data(x) if jnp.issubdtype(x.dtype, jax.dtypes.prng_key) else x


def _narrow(at: _AtDtypes) -> Callable[..., Any]:
    def narrow(leaves: Leaves, others: Leaves, c: Leaves) -> Any:
        forward, _, r = at.rule(leaves, others, c)
        return {
            "value": at.plain(leaves, others)[0],
            "forward": forward,
            "rule": r,
            "auto": at.ref(leaves, others, c)[2],
        }

    return narrow


def _cost(problem: Problem, leaves: Leaves) -> Cost | None:
    """Residual bytes and FLOPs by rule, by autodiff, and by autodiff of the function under jax.checkpoint."""
    functions = {
        "rule": problem.rule,
        "autodiff": problem.ref,
        "checkpoint": jax.checkpoint(problem.ref),
    }
    residual_bytes, flops = {}, {}
    try:
        for name, f in functions.items():

            def residuals(*leaves: Any, f: Function = f) -> Any:
                return jax.vjp(lambda *leaves: f(leaves, problem.others)[0], *leaves)[1]

            kept = jax.tree.leaves(jax.eval_shape(residuals, *leaves))
            residual_bytes[name] = sum(s.size * int(getattr(s.dtype, "itemsize", 4)) for s in kept)
            c = zero_cotangents(f, leaves, problem.others)
            analysis = jax.jit(pull(f)).lower(leaves, problem.others, c).cost_analysis()
            flops[name] = float((analysis or {}).get("flops", float("nan")))
    except Exception:  # a cost that cannot be had is not shown; it decides nothing
        return None
    return Cost(residual_bytes, flops)
