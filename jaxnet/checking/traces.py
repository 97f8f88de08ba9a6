"""Functions as jaxprs: a function and its pullback; a problem at all its dtypes, or why not."""

import contextlib
import gc
import logging
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple, TypeAlias, cast

import jax
import numpy as np

from jaxnet import _graph
from jaxnet.checking import lines
from jaxnet.checking.arrays import FEW_DIGITS
from jaxnet.checking.findings import Finding, Question, Verdict
from jaxnet.checking.problem import (
    Function,
    Leaves,
    Problem,
    as_dtypes,
    eps_of,
    is_any_large,
    shape_text,
)

WIDE = np.dtype(np.float64)
# What JAX makes of NumPy's 64 bits outside of its x64 mode.
MAYBE_CUT = tuple(map(np.dtype, ("float32", "int32", "uint32", "complex64")))
NARROWER = "the algebra was judged in"
LEAKED = "a tracer leaked: a value of one call was kept outside and used in another"
SAME_TWICE = "the same twice"  # the law
NOT_DETERMINISTIC = (
    "two runs with the same arguments differ: pass randomness in as a key, and keep no state"
)


@dataclass(frozen=True)
class Traced:
    """A function of pytrees as a jaxpr. Arguments are cast to the dtypes of the trace."""

    jaxpr: Any
    tree: Any  # of what it returns
    function: Callable[..., Any] | None = None  # what is differentiated instead, where that matters

    def __call__(self, *args: Any) -> Any:
        pairs = zip(jax.tree.leaves(args), self.jaxpr.in_avals, strict=True)
        fitting = [_graph.fitted(x, a) for x, a in pairs]
        return jax.tree.unflatten(self.tree, _graph.as_function(self.jaxpr)(*fitting))

    def shapes(self) -> Any:
        return jax.tree.unflatten(self.tree, self.jaxpr.out_avals)

    def equations_of_cotangents(self) -> list[Any]:
        """Of a pullback: those that its last outputs, the cotangents, are computed from."""
        _, _, cotangents = self.shapes()
        numbers = range(len(self.jaxpr.out_avals))
        return _graph.equations_for(self.jaxpr, numbers[-len(cotangents) :])

    @property
    def to_differentiate(self) -> Callable[..., Any]:
        """The graph of a rule remembers what its forward and its backward were traced to.

        With it go JAX's copies of the NumPy arrays in them, to be met in another mode of JAX.
        """
        return self.function or self


def trace(f: Callable[..., Any], *args: Any) -> Traced:
    """Raises RuntimeError where f hands out what it was traced with."""
    # A function of its own each time: JAX remembers the traces of one that it has seen.
    jaxpr, shapes = jax.make_jaxpr(lambda *args: f(*args), return_shape=True)(*args)
    # Those inside it may be of a trace that is over: primitives hold jaxprs as static data.
    if any(isinstance(c, jax.core.Tracer) for c in jaxpr.consts):
        raise RuntimeError(LEAKED)
    return Traced(_graph.with_own_constants(jaxpr, {}), jax.tree.structure(shapes))


def has_numpy_constants(*traced: Traced) -> bool:
    """Whether there are NumPy arrays that may have been cut to 32 bits."""
    constants = (c for t in traced for c in _graph.numpy_constants(t.jaxpr))
    return any(c.dtype in MAYBE_CUT for c in constants)


def has_numpy_numbers(*traced: Traced) -> bool:
    """The same of single numbers, which may be JAX's own."""
    numbers = (c for t in traced for c in _graph.numpy_numbers(t.jaxpr))
    return any(c.dtype in MAYBE_CUT for c in numbers)


def shapes_of(f: Callable[..., Any], *args: Any) -> Any:
    """jax.eval_shape, of a function of its own each time: JAX remembers the trace of f itself."""
    return jax.eval_shape(lambda *args: f(*args), *args)


def zeros_like(shapes: Leaves) -> Leaves:
    return tuple(np.zeros(s.shape, s.dtype) for s in shapes)


def zero_cotangents(f: Function, leaves: Leaves, others: Leaves) -> Leaves:
    """One for each floating output of f, in its dtype."""
    return zeros_like(shapes_of(f, leaves, others)[0])


# (leaves, others, cotangents) -> (floating outputs, others, a cotangent of each leaf)
Pull: TypeAlias = Callable[[Leaves, Leaves, Leaves], tuple[Leaves, Leaves, Leaves]]


def pull(f: Function) -> Pull:

    def pulled(leaves: Leaves, others: Leaves, c: Leaves) -> tuple[Leaves, Leaves, Leaves]:
        outputs, vjp, rest = jax.vjp(lambda *leaves: f(leaves, others), *leaves, has_aux=True)
        if is_any_large((leaves, others)):
            outputs, c = one_after_the_other(outputs, c)
        return outputs, rest, vjp(c)

    return pulled


def one_after_the_other(results: Any, inputs: Any) -> tuple[Any, Any]:
    """The same; but what is computed from the inputs waits for the results.

    XLA may compute both at once, which takes more memory.
    """
    return cast(tuple[Any, Any], cast(Any, jax.lax).optimization_barrier((results, inputs)))


def pullback(f: Function, leaves: Leaves, others: Leaves) -> Traced:
    """pull(f), traced with cotangents in the dtypes of f's outputs at these leaves."""
    return trace(pull(f), leaves, others, zero_cotangents(f, leaves, others))


# -- dtypes


@dataclass(frozen=True)
class Working:
    """The dtypes of the leaves in which the precision is judged; name: of the narrowest."""

    name: str
    dtypes: tuple[Any, ...]

    @property
    def widest(self) -> Any:
        """Whether it is float64 decides in which mode of JAX they are traced and run."""
        return widest_of(self.dtypes)


def widest_of(dtypes: Sequence[Any]) -> Any:
    return min(map(np.dtype, dtypes), key=eps_of)


def wider_than(working: Sequence[Working]) -> tuple[Any, ...]:
    """The dtypes in which the algebra is judged, the first that can be had."""
    has_few_digits = max(map(eps_of, working[0].dtypes)) > FEW_DIGITS
    return (WIDE, np.dtype(np.float32)) if has_few_digits else (WIDE,)


@contextlib.contextmanager
def precision_of(dtype: Any) -> Iterator[None]:
    """float64 is computed in JAX's x64 mode, everything else in the mode that the caller is in."""
    with jax.enable_x64(True) if dtype == WIDE else contextlib.nullcontext():
        yield


def first_line(e: BaseException) -> str:
    """Of what it says, and one line more where that ends in a colon.

    Of what a host callback raised, the last: JAX's message holds its whole traceback.
    """
    first, *rest = str(e).strip().splitlines() or [""]
    if "Traceback (most recent call last)" in str(e):
        at = [line for line in rest if re.match(r"[\w.]+(Error|Exception|Interrupt)\b", line)]
        first, rest = (at or [first])[-1], []
    more = f" {rest[0].strip()}" if first.endswith(":") and rest else ""
    return f"{type(e).__name__}: {first}{more}"[:300]


@contextlib.contextmanager
def ctrl_c_comes_through() -> Iterator[None]:
    """Where programs run: Ctrl-C in a host callback comes back as an error of XLA's."""
    try:
        yield
    except jax.errors.JaxRuntimeError as e:
        if re.search(r"^KeyboardInterrupt\b", str(e), re.MULTILINE):
            raise KeyboardInterrupt from e
        raise


@contextlib.contextmanager
def unlogged() -> Iterator[None]:
    """At points that were made up: JAX logs what a host callback raises, beside raising it."""
    log = logging.getLogger("jax")
    level = log.level
    log.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        log.setLevel(level)


class RuleShapes(NamedTuple):
    """Shapes and dtypes of what function and rule return."""

    value: Leaves
    forward: Leaves
    cotangents: Leaves


class Way(NamedTuple):
    """How the truth may be had: its name, and the pullback of a function that way."""

    route: str
    pull_of: Callable[[Function], Callable[..., Any]]


@dataclass(frozen=True)
class AtDtypes:
    """What is compared, traced at some dtypes of the leaves."""

    leaves: Leaves
    value: Traced  # the function, not differentiated
    rule: Traced  # its pullback
    ref_value: Traced
    ref: Traced  # the reference's pullback
    route: str  # by which it was had

    @property
    def widest(self) -> Any:
        return widest_of([x.dtype for x in self.leaves])

    def rule_shapes(self) -> "RuleShapes":
        forward, _, cotangents = self.rule.shapes()
        return RuleShapes(self.value.shapes()[0], forward, cotangents)

    def zero_cotangents(self) -> Leaves:
        """One for each floating output, in its dtype."""
        return zeros_like(self.value.shapes()[0])


def that_may_round(at: AtDtypes, working: Sequence[Working], dtype: Any) -> list[Traced]:
    """The pullbacks whose narrowest dtype says how many digits are to be expected.

    Where the algebra is judged in the arguments' own dtypes, nothing else asks for digits: there a
    rule that computes in fewer than the reference gets no leave for it.
    """
    is_own = all(np.dtype(d) == dtype for w in working for d in w.dtypes)
    return [at.ref] if is_own else [at.rule, at.ref]


def computes_the_same_twice(problem: Problem, at: AtDtypes) -> bool:
    """Whether tracing the function again gives the graph that it gave the first time."""
    again = trace(problem.rule, at.leaves, problem.others)
    first, second = (_graph.identity(t.jaxpr, objects=False) for t in (at.value, again))
    return bool(first == second)


# -- a problem at all its dtypes, or why not


class Failed(Exception):
    """Nothing can be compared; finding says why."""

    def __init__(self, finding: Finding) -> None:
        super().__init__(finding.note)
        self.finding = finding


class NotDeterministic(Failed):
    """No dtype helps."""

    def __init__(self) -> None:
        note, detail = NOT_DETERMINISTIC, SAME_TWICE
        super().__init__(Finding(Question.LAWS, "", Verdict.ERROR, note=note, detail=detail))


class Traces(NamedTuple):
    """The problem at all the dtypes in which it is run."""

    dtypes: tuple[Any, ...]  # of the leaves in the algebra
    wide: AtDtypes  # traced at them
    working: list[AtDtypes]
    notes: tuple[str, ...]


def trace_problem(
    problem: Problem,
    working: Sequence[Working],
    ways: Sequence[Way],
    wider: Sequence[Any],
    why_not: str,
) -> Traces:
    """ways: to the truth, of which the first that can be traced is taken.

    wider: dtypes, of which the first that can be traced is the algebra's. why_not: those before.
    """
    traced: list[AtDtypes] = []
    for w in working:
        with precision_of(w.widest):
            traced.append(trace_at(problem, w.dtypes, ways))
            if not computes_the_same_twice(problem, traced[-1]):
                raise NotDeterministic
        ways = [way for way in ways if way.route == traced[-1].route]
    for dtype in wider:
        dtypes = (dtype,) * len(problem.leaves)
        note = f"{NARROWER} {dtype}: {why_not}"
        try:
            with precision_of(dtype):
                wide = trace_at(problem, dtypes, ways)
            return Traces(dtypes, wide, traced, (note,) if why_not else ())
        except Failed as e:
            why_not = why_not or f"in {dtype} {e.finding.note}"
    best = min(range(len(working)), key=lambda i: eps_of(working[i].widest))
    notes = (f"{NARROWER} the arguments' own dtypes: {why_not}",)
    return Traces(working[best].dtypes, traced[best], traced, notes)


def trace_at(problem: Problem, dtypes: Sequence[Any], ways: Sequence[Way]) -> AtDtypes:
    """Raises Failed."""
    leaves = as_dtypes(problem.leaves, dtypes)
    try:
        value = trace(problem.rule, leaves, problem.others)
        # Of the function itself, not of its graph: in a graph JAX asks more of a rule.
        rule = pullback(problem.rule, leaves, problem.others)
        if has_numpy_constants(value, rule):
            value = replace(value, function=problem.rule)
            gc.collect()  # what was traced before still holds such copies
    except Exception as e:
        raise Failed(_why_the_rule_raised(problem, leaves, e)) from e
    try:
        ref_value = trace(problem.ref, leaves, problem.others)
        if value.function is not None:
            ref_value = replace(ref_value, function=problem.ref)
        return _with_truth(leaves, problem.others, value, rule, ref_value, ways)
    except Exception as e:
        note = (
            f"the function without its rule cannot be differentiated ({first_line(e)}): give ref="
        )
        raise Failed(Finding(Question.REFERENCE, "", Verdict.ERROR, note=note)) from e


def _with_truth(
    leaves: Leaves,
    others: Leaves,
    value: Traced,
    rule: Traced,
    ref_value: Traced,
    ways: Sequence[Way],
) -> AtDtypes:
    """With the first way that can be traced; raises what the last one raised."""
    c = zeros_like(value.shapes()[0])
    *earlier, last = ways
    for way in earlier:
        with contextlib.suppress(Exception):
            ref = trace(way.pull_of(ref_value), leaves, others, c)
            return AtDtypes(leaves, value, rule, ref_value, ref, way.route)
    ref = trace(last.pull_of(ref_value), leaves, others, c)
    return AtDtypes(leaves, value, rule, ref_value, ref, last.route)


def _why_the_rule_raised(problem: Problem, leaves: Leaves, e: Exception) -> Finding:
    try:
        pullback(problem.ref, leaves, problem.others)
    except Exception:
        note = f"neither the rule nor the reference has a reverse mode: {first_line(e)}"
        return Finding(Question.GRADIENT, "", Verdict.UNSUPPORTED, note=note)

    def forward(*leaves: Any) -> Any:
        return jax.vjp(lambda *leaves: problem.rule(leaves, problem.others)[0], *leaves)[0]

    with contextlib.suppress(Exception):
        value = shapes_of(problem.rule, leaves, problem.others)[0]
        other = other_forward(problem, jax.eval_shape(forward, *leaves), value)
        if other:
            return other[0]
    place = lines.place_of(e)
    at = f" at {place}" if place else ""
    note = f"the rule raised{at}: {first_line(e)}"
    if isinstance(e, jax.errors.TracerArrayConversionError):
        note += "; what computes with NumPy is called by jax.pure_callback"
    return Finding(
        Question.STRUCTURE, blamed(e) or _leaf_blamed(problem, e), Verdict.ERROR, note=note
    )


def blamed(e: Exception) -> str:
    """JAX says when a forward is at fault."""
    return "output" if "fwd rule" in str(e) else ""


def _leaf_blamed(problem: Problem, e: Exception) -> str:
    """Of a backward's cotangents JAX names the one of another type: "output[1]", of an argument.

    Its argument is the function's where only one leaf of that argument is of the type that JAX
    says; of a rule inside the function nobody knows.
    """
    said = re.search(r"at output\[(\d+)\].* input of type (\w+\[[\d,]*\])", str(e), re.DOTALL)
    if said is None:
        return ""
    argument, kind = int(said[1]), said[2]
    leaves = zip(problem.names, problem.leaves, problem.argument, strict=True)
    fitting = [
        name
        for name, x, a in leaves
        if a == argument and f"{x.dtype}[{','.join(map(str, x.shape))}]" == kind
    ]
    return fitting[0] if len(fitting) == 1 else ""


def other_forward(problem: Problem, forward: Any, value: Any) -> list[Finding]:
    """Where the rule's forward returns another shape or dtype than the function."""
    found = []
    for output, f, v in zip(problem.outputs, forward, value, strict=False):
        if (f.shape, f.dtype) != (v.shape, v.dtype):
            note = (
                f"the rule's forward returns {shape_text(f)} "
                f"where the function returns {shape_text(v)}"
            )
            found.append(Finding(Question.STRUCTURE, output, Verdict.WRONG, note=note))
    return found
