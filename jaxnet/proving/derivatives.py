"""What is compared: derivatives of the function and of its reference, traced to graphs."""

import contextlib
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np

from jaxnet import _graph
from jaxnet._auto import auto
from jaxnet.proving.interpreter import Unprovable

MOST_ELEMENTS = 20_000  # of the arguments
MOST_ALONE = 8  # leaves that are moved one at a time


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


# -- derivatives: of a function (leaves) -> (floating outputs, the others), functions of
# (leaves, cotangents, tangents) that return a list

Called: TypeAlias = Callable[..., Any]
Derive: TypeAlias = Callable[[Called], Callable[..., list[Any]]]


def reverse(called: Called) -> Callable[..., list[Any]]:
    def derived(leaves: Any, cotangents: Any, _: Any) -> list[Any]:
        values, pull, others = jax.vjp(called, *leaves, has_aux=True)
        return [*values, *pull(cotangents), *others]

    return derived


def forward(called: Called) -> Callable[..., list[Any]]:
    def derived(leaves: Any, _: Any, tangents: Any) -> list[Any]:
        values, changes, others = jax.jvp(called, leaves, tangents, has_aux=True)
        return [*values, *changes, *others]

    return derived


def both(called: Called) -> Callable[..., list[Any]]:
    def derived(leaves: Any, cotangents: Any, tangents: Any) -> list[Any]:
        values, pull, others = jax.vjp(called, *leaves, has_aux=True)
        _, changes, _ = jax.jvp(called, leaves, tangents, has_aux=True)
        return [*values, *pull(cotangents), *changes, *others]

    return derived


def alone(derive: Derive, i: int) -> Derive:
    """Only one leaf moves: a rule may be told so."""

    def derive_one(called: Called) -> Callable[..., list[Any]]:
        def derived(leaves: Any, cotangents: Any, tangents: Any) -> list[Any]:
            def of_one(x: Any) -> Any:
                return called(*leaves[:i], x, *leaves[i + 1 :])

            return derive(of_one)([leaves[i]], cotangents, [tangents[i]])

        return derived

    return derive_one


def second(called: Called) -> Callable[..., list[Any]]:
    """The pullback's own pullback: of the leaves, and of the cotangents that it is linear in."""

    def derived(leaves: Any, cotangents: Any, tangents: Any) -> list[Any]:
        _, pull = jax.vjp(_pulled(called), leaves, cotangents)
        of_leaves, of_cotangents = pull(tuple(tangents))
        return [*of_leaves, *of_cotangents]

    return derived


def forward_over_reverse(called: Called) -> Callable[..., list[Any]]:
    def derived(leaves: Any, cotangents: Any, tangents: Any) -> list[Any]:
        def of_leaves(*arrays: Any) -> Any:
            return _pulled(called)(list(arrays), cotangents)

        return list(jax.jvp(of_leaves, leaves, tangents)[1])

    return derived


def _pulled(called: Called) -> Callable[..., Any]:
    def pulled(leaves: Any, cotangents: Any) -> Any:
        _, pull, _ = jax.vjp(called, *leaves, has_aux=True)
        return pull(cotangents)

    return pulled


def paired_reverse(called: Called) -> Callable[..., list[Any]]:
    """〈Jᵀ c, t〉, leaf by leaf."""

    def derived(leaves: Any, cotangents: Any, tangents: Any) -> list[Any]:
        values, pull, others = jax.vjp(called, *leaves, has_aux=True)
        pairs = zip(pull(cotangents), tangents, strict=True)
        return [*values, *[jnp.vdot(dx, t) for dx, t in pairs], *others]

    return derived


def paired_forward(called: Called) -> Callable[..., list[Any]]:
    """〈c, J t〉, leaf by leaf: for what has no reverse mode."""

    def derived(leaves: Any, cotangents: Any, tangents: Any) -> list[Any]:
        values, others = called(*leaves)
        pairings = []
        for i in range(len(leaves)):
            only = [t if i == k else jnp.zeros_like(t) for k, t in enumerate(tangents)]
            _, changes, _ = jax.jvp(called, leaves, only, has_aux=True)
            terms = [jnp.vdot(c, dy) for c, dy in zip(cotangents, changes, strict=True)]
            pairings.append(sum(terms, jnp.zeros(())))
        return [*values, *pairings, *others]

    return derived


def with_pullback(paired: Derive) -> Derive:
    """The gradient, and these pairings."""

    def derive(called: Called) -> Callable[..., list[Any]]:
        def derived(leaves: Any, cotangents: Any, tangents: Any) -> list[Any]:
            values, pull, _ = jax.vjp(called, *leaves, has_aux=True)
            pairings_and_others = paired(called)(leaves, cotangents, tangents)[len(values) :]
            return [*values, *pull(cotangents), *pairings_and_others]

        return derived

    return derive


# -- both functions, traced


@dataclass(frozen=True)
class Problem:
    """The same derivative of the function and of its reference, as jaxprs."""

    rule: Any
    ref: Any
    names: list[str]  # of what they return
    leaves: Leaves
    outputs: list[Any]  # shapes of the function's floating ones
    is_wide: bool  # traced in float64

    @property
    def bits(self) -> int:
        if self.is_wide:
            return 64
        return min([8 * x.dtype.itemsize for x in self.leaves.values()], default=32)


def precision(is_wide: bool) -> Any:
    """Literals are read in float64 where the function can be traced in it."""
    return jax.enable_x64(True) if is_wide else contextlib.nullcontext()


@contextlib.contextmanager
def as_traced(is_wide: bool) -> Iterator[None]:
    with precision(is_wide), warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)  # of auto: a rule may have stayed on
        yield


class Functions:
    """The function and its reference, and every derivative of theirs."""

    def __init__(self, f: Callable[..., Any], ref: Any, leaves: Leaves, is_wide: bool) -> None:
        """Raises Unprovable where there is nothing to compare."""
        given = [x.dtype for x in leaves.values()]
        self.leaves, self.is_wide = leaves, is_wide
        self.dtypes = [np.dtype(np.float64)] * len(given) if is_wide else given
        with as_traced(is_wide):
            jaxpr = jax.make_jaxpr(_outputs_of(f, leaves))(*self.shapes())
        self.kinds = _graph.kinds_differentiated(jaxpr)
        if ref is None and not self.kinds:
            raise Unprovable("no rule in it and no ref: nothing was compared")
        self.is_told_who_moves = any(
            _graph.sees_what_is_differentiated(e) for e, _ in _graph.equations(jaxpr)
        )
        reference = ref or auto(f, jvp=_graph.JVP in self.kinds)
        self.rule, self.ref = (_outputs_of(g, leaves) for g in (f, reference))
        self.outputs, self.others = self.returned()

    def returned(self) -> tuple[list[Any], list[str]]:
        """Shapes of the floating outputs, names of the others."""
        with as_traced(self.is_wide):
            ours, theirs = (jax.eval_shape(g, *self.shapes()) for g in (self.rule, self.ref))
        outputs, others = ours
        shapes = [[y.shape for y in floating] for floating, _ in (ours, theirs)]
        if shapes[0] != shapes[1] or len(others) != len(theirs[1]):
            raise Unprovable(f"outputs of other shapes: {shapes[0]} and {shapes[1]}")
        return outputs, [f"other output[{i}]" for i in range(len(others))]

    def shapes(self) -> list[Any]:
        shape_of: Any = jax.ShapeDtypeStruct
        pairs = zip(self.leaves.values(), self.dtypes, strict=True)
        return [shape_of(np.shape(x), dtype) for x, dtype in pairs]

    def named(self, derive: Derive, derive_ref: Derive, names: Sequence[str]) -> Problem:
        shapes = self.shapes()
        with as_traced(self.is_wide):
            rule, ref = (
                jax.make_jaxpr(derive_one(called))(shapes, self.outputs, shapes)
                for derive_one, called in ((derive, self.rule), (derive_ref, self.ref))
            )
        # Only a transpose can compute the tangent of a custom_vjp.
        if any(map(_graph.is_reverse_only, (rule, ref))):
            raise TypeError("a custom_vjp has no forward mode")
        return Problem(rule, ref, list(names), self.leaves, self.outputs, self.is_wide)

    def output_names(self) -> list[str]:
        count = len(self.outputs)
        return ["output"] if count == 1 else [f"output[{i}]" for i in range(count)]

    def first(self) -> Problem:
        """Value and gradient. Raises what tracing raised where no derivative can be traced."""
        outputs, leaves = self.output_names(), self.leaves.names
        tangents = [f"tangent of {name}" for name in outputs]
        ways: list[tuple[Derive, Derive, list[str]]] = [(reverse, reverse, leaves)]
        if self.kinds == {_graph.JVP}:  # rules that jax.jvp runs as they are written
            along = [f"tangent along {name}" for name in leaves]
            pairs = with_pullback(paired_forward), with_pullback(paired_reverse)
            ways = [(both, both, leaves + tangents), (*pairs, leaves + along), *ways]
            ways.append((forward, forward, tangents))
        else:
            ways += [(paired_reverse, paired_forward, leaves)]
        return self.first_of(
            [(rule, ref, [*outputs, *names, *self.others]) for rule, ref, names in ways]
        )

    def first_of(self, ways: Sequence[tuple[Derive, Derive, Sequence[str]]]) -> Problem:
        """That can be traced. Raises what the first of them raised."""
        reason: Exception | None = None
        for derive, derive_ref, names in ways:
            try:
                return self.named(derive, derive_ref, names)
            except Unprovable:
                raise
            except Exception as error:
                reason = reason or error
        raise reason or TypeError("no derivative")

    def further(self) -> Iterator["Further"]:
        """Of second order; and with one leaf moved alone, where a rule may depend on who moves."""
        outputs, leaves = self.output_names(), self.leaves.names
        of_grads = [f"grad of grad {name}" for name in leaves]
        of_grads += [f"pullback transposed, {name}" for name in outputs]
        yield self.tried("second order", [(second, second, of_grads)])
        is_forward = self.kinds == {_graph.JVP}
        if is_forward:
            names = [f"tangent of grad {name}" for name in leaves]
            over = forward_over_reverse
            yield self.tried("second order, forward", [(over, over, names)])
        if 1 < len(leaves) <= MOST_ALONE and (is_forward or self.is_told_who_moves):
            for i, leaf in enumerate(leaves):
                yield self.tried(f"{leaf} alone", list(self.ways_alone(i, is_forward)))

    def ways_alone(self, i: int, is_forward: bool) -> Iterator[tuple[Derive, Derive, list[str]]]:
        outputs, leaf = self.output_names(), self.leaves.names[i]
        tangents = [f"tangent of {name}" for name in outputs]
        ways = [(reverse, [leaf])]
        if is_forward:
            ways = [(both, [leaf, *tangents]), (forward, tangents)]
        for derive, names in ways:
            one = alone(derive, i)
            yield one, one, [*outputs, *names, *self.others]

    def tried(self, what: str, ways: Sequence[tuple[Derive, Derive, Sequence[str]]]) -> "Further":
        try:
            return Further(what, self.first_of(ways), "")
        except Exception as error:
            return Further(what, None, f"it cannot be traced: {first_line(error)}")


class Further(NamedTuple):
    what: str
    problem: Problem | None
    why_not: str


def first_line(error: Exception) -> str:
    text = str(error).partition("\n")[0]
    return f"{type(error).__name__}: {text}"


def _outputs_of(f: Callable[..., Any], leaves: Leaves) -> Called:
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
