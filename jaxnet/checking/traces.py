"""Functions as jaxprs: a function and its pullback; a problem at all its dtypes, or why not."""

import contextlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxnet import _graph
from jaxnet.checking.findings import Finding, Question, Verdict
from jaxnet.checking.problem import Function, Leaves, Problem, as_dtypes, eps_of, shape_text

WIDE = np.dtype(np.float64)
SAME_TWICE = "the same twice"  # the law
NOT_DETERMINISTIC = (
    "two runs with the same arguments differ: pass randomness in as a key, and keep no state"
)


@dataclass(frozen=True)
class Traced:
    """A function of pytrees as a jaxpr. Arguments are cast to the dtypes of the trace."""

    jaxpr: Any
    tree: Any  # of what it returns

    def __call__(self, *args: Any) -> Any:
        pairs = zip(jax.tree.leaves(args), self.jaxpr.in_avals, strict=True)
        fitting = [_graph.fitted(x, a) for x, a in pairs]
        return jax.tree.unflatten(self.tree, _graph.as_function(self.jaxpr)(*fitting))

    def shapes(self) -> Any:
        return jax.tree.unflatten(self.tree, self.jaxpr.out_avals)


def trace(f: Callable[..., Any], *args: Any) -> Traced:
    """Raises RuntimeError where f hands out what it was traced with."""
    # A function of its own each time: JAX remembers the traces of one that it has seen.
    jaxpr, shapes = jax.make_jaxpr(lambda *args: f(*args), return_shape=True)(*args)
    if any(isinstance(c, jax.core.Tracer) for c in _graph.constants(jaxpr)):
        raise RuntimeError(
            "a tracer leaked: a value of one call was kept outside and used in another"
        )
    return Traced(jaxpr, jax.tree.structure(shapes))


def zeros_like(shapes: Leaves) -> Leaves:
    return tuple(np.zeros(s.shape, s.dtype) for s in shapes)


def zero_cotangents(f: Function, leaves: Leaves, others: Leaves) -> Leaves:
    """One for each floating output of f, in its dtype."""
    return zeros_like(jax.eval_shape(f, leaves, others)[0])


def pull(f: Function) -> Callable[[Leaves, Leaves, Leaves], tuple[Leaves, Leaves, Leaves]]:
    """(leaves, others, cotangents) -> (floating outputs, others, a cotangent of each leaf)"""

    def pulled(leaves: Leaves, others: Leaves, c: Leaves) -> tuple[Leaves, Leaves, Leaves]:
        outputs, vjp, rest = jax.vjp(lambda *leaves: f(leaves, others), *leaves, has_aux=True)
        return outputs, rest, vjp(c)

    return pulled


def pullback(f: Function, leaves: Leaves, others: Leaves) -> Traced:
    """pull(f), traced with cotangents in the dtypes of f's outputs at these leaves."""
    return trace(pull(f), leaves, others, zero_cotangents(f, leaves, others))


def narrowest_float(*jaxprs: Any) -> Any:
    """The floating dtype with the fewest digits that any equation computes (float64 for none)."""
    outputs = (v for jaxpr in jaxprs for e, _ in _graph.equations(jaxpr) for v in e.outvars)
    dtypes = {v.aval.dtype for v in outputs if hasattr(v.aval, "dtype")}
    floating = (d for d in dtypes if jnp.issubdtype(d, jnp.inexact))
    return max(floating, key=eps_of, default=np.dtype(np.float64))


def draws_random_numbers(jaxpr: Any) -> bool:
    names = ("random_bits", "random_gamma", "threefry", "rng_")
    return any(e.primitive.name.startswith(names) for e, _ in _graph.equations(jaxpr))


# -- dtypes


@dataclass(frozen=True)
class Working:
    """The dtypes of the leaves in which the precision is judged; name: of the narrowest."""

    name: str
    dtypes: tuple[Any, ...]


@contextlib.contextmanager
def precision_of(dtype: Any) -> Iterator[None]:
    """float64 is computed in JAX's x64 mode, everything else in the mode that the caller is in."""
    with jax.enable_x64(True) if dtype == WIDE else contextlib.nullcontext():
        yield


def first_line(e: BaseException) -> str:
    text = str(e).strip().splitlines()
    return f"{type(e).__name__}: {text[0] if text else ''}"[:300]


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

    def rule_shapes(self) -> "RuleShapes":
        forward, _, cotangents = self.rule.shapes()
        return RuleShapes(self.value.shapes()[0], forward, cotangents)

    def zero_cotangents(self) -> Leaves:
        """One for each floating output, in its dtype."""
        return zeros_like(self.value.shapes()[0])


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
    problem: Problem, working: Sequence[Working], ways: Sequence[Way], in_float64: bool
) -> Traces:
    """ways: to the truth, of which the first that can be traced is taken."""
    traced: list[AtDtypes] = []
    for w in working:
        traced.append(_trace_at(problem, w.dtypes, ways))
        if not computes_the_same_twice(problem, traced[0]):
            raise NotDeterministic
        ways = [way for way in ways if way.route == traced[-1].route]
    own = Traces(working[0].dtypes, traced[0], traced, ())
    if not in_float64:
        return own
    wide: tuple[Any, ...] = (WIDE,) * len(problem.leaves)
    try:
        with precision_of(WIDE):
            return own._replace(dtypes=wide, wide=_trace_at(problem, wide, ways))
    except Failed as e:
        note = f"the algebra was judged in the arguments' own dtypes: in float64 {e.finding.note}"
        return own._replace(notes=(note,))


def _trace_at(problem: Problem, dtypes: Sequence[Any], ways: Sequence[Way]) -> AtDtypes:
    leaves = as_dtypes(problem.leaves, dtypes)
    try:
        value = trace(problem.rule, leaves, problem.others)
        # Of the function itself, not of its graph: in a graph JAX asks more of a rule.
        rule = pullback(problem.rule, leaves, problem.others)
    except Exception as e:
        raise Failed(_why_the_rule_raised(problem, leaves, e)) from e
    try:
        ref_value = trace(problem.ref, leaves, problem.others)
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
        value = jax.eval_shape(problem.rule, leaves, problem.others)[0]
        other = other_forward(problem, jax.eval_shape(forward, *leaves), value)
        if other:
            return other[0]
    note = f"the rule raised {first_line(e)}"
    return Finding(Question.STRUCTURE, blamed(e), Verdict.ERROR, note=note)


def blamed(e: Exception) -> str:
    """JAX says when a forward is at fault; of a backward it does not say for which argument."""
    return "output" if "fwd rule" in str(e) else ""


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
