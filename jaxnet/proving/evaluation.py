"""Both graphs, value and pullback, traced and evaluated at the same points; what is equal."""

import contextlib
import math
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxnet import _graph
from jaxnet._auto import auto
from jaxnet.proving import arithmetic, control, reductions
from jaxnet.proving.bound import chance_at_one_point, groups
from jaxnet.proving.field import differ
from jaxnet.proving.interpreter import Unprovable, Walk
from jaxnet.proving.numbers import Numbers, Points

HOLD_PRIMITIVES = (arithmetic, control, reductions)  # importing them fills the tables

SMALL_CHANCE = 1e-15  # of a miss: so many points are taken
MOST_POINTS = 128
MOST_ELEMENTS = 20_000  # of the arguments
# Floats that are farther apart, in units of their leaf's largest, are different: in 64 bits, in 32
# where literals are of 32 bits or a function is computed in them, and in 16.
VISIBLE = {64: 1e-9, 32: 1e-4, 16: 0.1}


@dataclass(frozen=True)
class Leaves:
    """Arguments taken apart: floating leaves, and the rest as it is."""

    flat: list[Any]
    tree: Any
    at: list[int]  # where among the leaves each floating one stands
    names: list[str]

    def values(self) -> list[Any]:
        return [np.asarray(self.flat[i]) for i in self.at]

    def call(self, f: Callable[..., Any], leaves: Sequence[Any]) -> Any:
        flat = list(self.flat)
        for i, leaf in zip(self.at, leaves, strict=True):
            flat[i] = leaf
        return f(*jax.tree.unflatten(self.tree, flat))


def _is_floating(x: Any, are_numbers_leaves: bool) -> bool:
    if isinstance(x, float):
        return are_numbers_leaves
    is_array = isinstance(x, jax.Array | np.ndarray | np.generic)
    return is_array and jnp.issubdtype(x.dtype, jnp.inexact)


def leaves_of(names: Sequence[str], args: Sequence[Any], are_numbers_leaves: bool) -> Leaves:
    with_paths, tree = jax.tree.flatten_with_path(tuple(args))
    flat = [x for _, x in with_paths]
    at = [i for i, x in enumerate(flat) if _is_floating(x, are_numbers_leaves)]
    if any(jnp.iscomplexobj(flat[i]) for i in at):
        raise Unprovable("complex numbers")
    if sum(np.size(flat[i]) for i in at) > MOST_ELEMENTS:
        raise Unprovable(f"more than {MOST_ELEMENTS} numbers: what holds of few is easier to prove")
    paths = [with_paths[i][0] for i in at]
    leaf_names = [names[path[0].idx] + jax.tree_util.keystr(path[1:]) for path in paths]
    return Leaves(flat, tree, at, leaf_names)


@dataclass(frozen=True)
class Graph:
    """A function's value and derivatives as a jaxpr.

    (leaves, cotangents, tangents) -> (floating outputs, a cotangent of each leaf, a tangent of each
    output where forward mode is asked for, outputs that are integers).
    """

    jaxpr: Any
    outputs: list[Any]  # shapes of the floating ones
    others: int


def _outputs_of(f: Callable[..., Any], leaves: Leaves) -> Any:
    """f of the leaves: its floating outputs, and the others."""

    def called(*arrays: Any) -> tuple[list[Any], list[Any]]:
        floating, others = [], []
        for y in jax.tree.leaves(leaves.call(f, arrays)):
            dtype = jnp.result_type(y)
            if jnp.issubdtype(dtype, jnp.complexfloating):
                raise Unprovable("complex numbers")
            if jnp.issubdtype(dtype, jnp.floating):
                floating.append(jnp.asarray(y))
            elif not jnp.issubdtype(dtype, jax.dtypes.extended):
                others.append(jnp.asarray(y))
        return floating, others

    return called


def _shapes(leaves: Leaves, dtypes: Sequence[Any]) -> list[Any]:
    shape_of: Any = jax.ShapeDtypeStruct
    return [shape_of(np.shape(x), d) for x, d in zip(leaves.values(), dtypes, strict=True)]


def traced(f: Callable[..., Any], leaves: Leaves, dtypes: Sequence[Any], is_forward: bool) -> Graph:
    called = _outputs_of(f, leaves)
    shapes = _shapes(leaves, dtypes)
    outputs, others = jax.eval_shape(called, *shapes)

    def differentiated(arrays: Any, cotangents: Any, tangents: Any) -> Any:
        values, pull, rest = jax.vjp(called, *arrays, has_aux=True)
        changes: Any = []
        if is_forward:
            _, changes, _ = jax.jvp(called, arrays, tangents, has_aux=True)
        return values, pull(cotangents), changes, rest

    jaxpr = jax.make_jaxpr(differentiated)(shapes, outputs, shapes if is_forward else [])
    return Graph(jaxpr, outputs, len(others))


@dataclass(frozen=True)
class Problem:
    """The rule's graph and the reference's."""

    rule: Graph
    ref: Graph
    leaves: Leaves
    is_wide: bool  # traced in float64
    is_forward: bool  # are the tangents of the outputs compared too?

    @property
    def bits(self) -> int:
        if self.is_wide:
            return 64
        return min([8 * x.dtype.itemsize for x in self.leaves.values()], default=32)

    @property
    def names(self) -> list[str]:
        count = len(self.rule.outputs)
        outputs = ["output"] if count == 1 else [f"output[{i}]" for i in range(count)]
        tangents = [f"tangent of {name}" for name in outputs] if self.is_forward else []
        others = [f"other output[{i}]" for i in range(self.rule.others)]
        return [*outputs, *self.leaves.names, *tangents, *others]


def problem_of(f: Callable[..., Any], ref: Any, leaves: Leaves, is_wide: bool) -> Problem:
    """Raises Unprovable where there is nothing to compare with."""
    given = [x.dtype for x in leaves.values()]
    dtypes = [np.dtype(np.float64)] * len(given) if is_wide else given
    with precision(is_wide), warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)  # of auto: a rule may have stayed on
        value = jax.make_jaxpr(_outputs_of(f, leaves))(*_shapes(leaves, dtypes))
        kinds = _graph.kinds_differentiated(value)
        if ref is None and not kinds:
            raise Unprovable("no rule in it and no ref: nothing was compared")
        reference = ref or auto(f, jvp=_graph.JVP in kinds)
        is_forward = kinds == {_graph.JVP}  # rules that jax.jvp runs as they are written
        if is_forward:
            with contextlib.suppress(Exception):
                return _both(f, reference, leaves, dtypes, True)
        return _both(f, reference, leaves, dtypes, False)


def _both(
    f: Callable[..., Any], ref: Any, leaves: Leaves, dtypes: Sequence[Any], is_forward: bool
) -> Problem:
    rule = traced(f, leaves, dtypes, is_forward)
    reference = traced(ref, leaves, dtypes, is_forward)
    _require_alike(rule, reference)
    reverse_only = _graph.is_reverse_only(rule.jaxpr) or _graph.is_reverse_only(reference.jaxpr)
    if is_forward and reverse_only:
        raise TypeError("a custom_vjp has no forward mode")
    is_wide = bool(dtypes) and all(d == np.float64 for d in dtypes)
    return Problem(rule, reference, leaves, is_wide, is_forward)


def _require_alike(rule: Graph, reference: Graph) -> None:
    shapes = [[y.shape for y in graph.outputs] for graph in (rule, reference)]
    if shapes[0] != shapes[1] or rule.others != reference.others:
        raise Unprovable(f"outputs of other shapes: {shapes[0]} and {shapes[1]}")


def precision(is_wide: bool) -> Any:
    """Literals are read in float64 where the function can be traced in it."""
    return jax.enable_x64(True) if is_wide else contextlib.nullcontext()


# -- one evaluation


@dataclass(frozen=True)
class Comparison:
    """One leaf in both graphs, at the same points."""

    rule: Numbers
    ref: Numbers
    different: Any  # at which elements, at some point
    compared: int  # points at which every element was compared
    chance: float  # that a leaf which differs looks equal

    def undefined(self) -> Any:
        """Elements that are no number in both graphs at any point."""
        same_infinity = np.isinf(self.rule.f) & (self.rule.f == self.ref.f)
        return ~(self.rule.ok & self.ref.ok).any(0) & ~same_infinity

    def is_finite_in_one(self) -> Any:
        """Where one of the floats is finite, and the other is not."""
        return np.isfinite(self.rule.f) != np.isfinite(self.ref.f)

    def _are_finite(self) -> Any:
        return np.isfinite(self.rule.f) & np.isfinite(self.ref.f)

    def scale(self) -> float:
        """The largest of the floats."""
        at = self._are_finite()
        return float(max(np.abs(x.f[at]).max(initial=0.0) for x in (self.rule, self.ref)))

    def visible(self, bits: int, scale: float = 0.0) -> Any:
        """Where the floats differ by more than rounding in so many bits. scale: at least."""
        scale = max(scale, self.scale())
        with np.errstate(invalid="ignore"):
            apart = np.abs(self.rule.f - self.ref.f)
        return self._are_finite() & (apart > VISIBLE[bits] * scale)


@dataclass(frozen=True)
class Evaluation:
    walk: Walk
    leaves: list[Comparison]
    bits: int  # of the narrowest float that was computed with


def evaluate(
    problem: Problem, values: Sequence[Any], cotangents: Sequence[Any], count: int, seed: int
) -> Evaluation:
    walk = Walk(Points(count, seed))
    tangents = values if problem.is_forward else []
    unknowns = [walk.points.variables(x) for x in (*values, *cotangents, *tangents)]
    with precision(problem.is_wide):
        results = [walk.run(graph.jaxpr, unknowns) for graph in (problem.rule, problem.ref)]
    roots = groups(walk.points.radicands.values())
    pairs = [(_numbers(walk, a), _numbers(walk, b)) for a, b in zip(*results, strict=True)]
    leaves = [_compared(walk.points, a, b, roots) for a, b in pairs]
    return Evaluation(walk, leaves, min(walk.bits, problem.bits))


def _numbers(walk: Walk, x: Any) -> Numbers:
    return x if isinstance(x, Numbers) else walk.points.integers(np.asarray(x))


def _compared(points: Points, a: Numbers, b: Numbers, roots: Sequence[int]) -> Comparison:
    both = a.ok & b.ok
    count = int(both.sum(0).min(initial=points.count))
    difference = a.size.plus(b.size)
    at_one = chance_at_one_point(difference, points.exponents, roots)
    unequal = differ(a.p, b.p) & both
    if unequal.any():  # equal too where their exponentials are
        same = ~differ(points.exponential(a), points.exponential(b)) & a.has_q & b.has_q
        unequal &= ~same
    different = unequal.any(0) | (a.ok.any(0) != b.ok.any(0))
    return Comparison(a, b, different, count, at_one**count if count else 1.0)


def points_needed(evaluation: Evaluation, count: int) -> int:
    """So that a miss is as rare as it should be: 0 where no number of points would do."""
    chances = [leaf.chance ** (1 / max(leaf.compared, 1)) for leaf in evaluation.leaves]
    worst = max(chances, default=0.0)
    if worst >= 1:
        return 0
    if worst == 0:
        return count
    needed = math.ceil(math.log(SMALL_CHANCE) / math.log(worst)) + 1
    return needed if needed <= MOST_POINTS else 0
