"""What stands in the way of a transpose, taken away.

JAX transposes a jaxpr that is linear in some of its inputs equation by equation. Of some it needs
others in their place:

    custom rules   know their transpose, their backward, but JAX does not ask them for it
    barriers, and a move of several arrays to a device
                   compute nothing, but make what comes out depend on all that goes in
    scans          what a body computes from the other inputs alone, JAX would compute beforehand,
                   for all turns at once, and keep: recomputed in each turn, nothing is kept
    solves of      JAX transposes them where all right sides are linear alone, and its derivatives
    several arrays make zeros of some: joined, they are one
"""

import itertools
from collections.abc import Callable, Collection
from typing import Any, TypeAlias, cast

import jax
import numpy as np
from jax import lax
from jax.flatten_util import ravel_pytree

from jaxnet._graph.forms import kind_of_rule
from jaxnet._graph.jaxprs import Chain, Equation, is_literal, outputs_of, plain
from jaxnet._graph.reach import computes_nothing, flow
from jaxnet._graph.rewrite import as_function, call_of, every_input, rewritten

# (equation of a rule, those of its inputs in which it is linear here) -> what stands in its place
OfRule: TypeAlias = Callable[[Equation, Collection[Any]], Equation]


def transposable(jaxpr: Any, is_linear: list[bool], of_rule: OfRule) -> Any:
    """A jaxpr that computes the same, ready for jax.linear_transpose.

    is_linear: for each input, whether the jaxpr is linear in it.
    """
    linear: dict[tuple[int, ...], set[Any]] = {}

    def meet(e: Equation, chain: Chain, sources: list[int]) -> list[int]:
        pairs = zip(e.invars, sources, strict=True)
        linear[_place(e, chain)] = {v for v, s in pairs if s and not is_literal(v)}
        return [0] * len(e.outvars)

    flow(jaxpr, list(map(int, is_linear)), meet)

    def change(e: Equation, inside_rewritten: Equation, chain: Chain) -> list[Equation]:
        if kind_of_rule(e):
            return [of_rule(e, linear.get(_place(e, chain), set()))]
        if computes_nothing(e):
            return [_straight_through(e)]
        if e.primitive.name == "device_put":
            return _one_by_one(e)
        if e.primitive.name == "scan":
            return [_recomputed_in_each_turn(inside_rewritten)]
        if e.primitive.name == "custom_linear_solve":
            return [_of_one_vector(inside_rewritten)]
        return [inside_rewritten]

    return rewritten(jaxpr, change)


def _place(e: Equation, chain: Chain) -> tuple[int, ...]:
    return tuple(map(id, (*chain, e)))


def _straight_through(e: Equation) -> Equation:
    """A call that returns what it is given."""
    return call_of(e, lambda *values: _used(e, every_input(e, values)))


def _used(e: Equation, outputs: list[Any]) -> list[Any]:
    """Of the values of all outputs those of outputs_of(e)."""
    value_of = dict(zip(e.outvars, outputs, strict=True))
    return [value_of[v] for v in outputs_of(e)]


def _one_by_one(e: Equation) -> list[Equation]:
    """Each array moved by itself: what is linear stays apart from what is not."""

    def only(k: int) -> Equation:
        params = {name: (value[k],) for name, value in e.params.items()}
        return e.replace(invars=[e.invars[k]], outvars=[e.outvars[k]], params=params)

    return [only(k) for k in range(len(e.invars))]


def _recomputed_in_each_turn(e: Equation) -> Equation:
    body = e.params["jaxpr"]
    if any(hasattr(v.aval, "inner_aval") for v in plain(body).invars):
        return e  # memory is written to
    recomputed = jax.checkpoint(as_function(body), prevent_cse=False)
    return e.replace(params={**e.params, "jaxpr": jax.make_jaxpr(recomputed)(*body.in_avals)})


def _of_one_vector(e: Equation) -> Equation:
    """A linear solve of several arrays as one of all their numbers."""
    jaxprs, ends = e.params["jaxprs"], list(itertools.accumulate(e.params["const_lengths"]))
    right_sides = e.invars[ends[-1] :]
    count = len(right_sides)
    if jaxprs.transpose_solve is None or len({v.aval.dtype for v in right_sides}) != 1:
        return e

    def solved(*values: Any) -> list[Any]:
        every = every_input(e, values)
        b, parts_of = ravel_pytree(every[ends[-1] :])

        def of_vectors(k: int) -> Callable[..., Any]:
            """The k-th of matvec, vecmat, solve and transpose_solve."""

            def function(v: Any) -> tuple[Any, list[Any]]:
                outputs = as_function(jaxprs[k])(*every[([0, *ends])[k] : ends[k]], *parts_of(v))
                return ravel_pytree(outputs[:count])[0], outputs[count:]

            return function

        x, others = lax.custom_linear_solve(
            lambda v: of_vectors(0)(v)[0],
            b,
            lambda _, v: of_vectors(2)(v),
            transpose_solve=lambda _, v: of_vectors(3)(v),
            symmetric=jaxprs.vecmat is jaxprs.matvec,
            has_aux=True,
        )
        return _used(e, [*parts_of(x), *others])

    return e if count == 1 else call_of(e, solved)


def outputs_that_depend(jaxpr: Any, is_linear: list[bool]) -> list[bool]:
    """Of each output, whether a derivative comes to it from one of these inputs."""

    def meet(e: Equation, chain: Chain, sources: list[int]) -> list[int]:
        return [0] * len(e.outvars)

    return list(map(bool, flow(jaxpr, list(map(int, is_linear)), meet)))


def ignores(jaxpr: Any, is_linear: list[bool]) -> bool:
    """Whether no output has a derivative from these inputs, though one is not plainly 0."""
    inner = plain(jaxpr)
    made_by: dict[Any, Any] = {v: e for e in inner.eqns for v in e.outvars}
    made_by |= zip(inner.constvars, getattr(jaxpr, "consts", ()), strict=True)
    if any(outputs_that_depend(jaxpr, is_linear)):
        return False
    return not all(_is_zero(v, made_by) for v in inner.outvars)


def _is_zero(v: Any, made_by: dict[Any, Any]) -> bool:
    """made_by: equation or constant."""
    if v.aval.size == 0:
        return True
    source = v.val if is_literal(v) else made_by.get(v)
    if isinstance(source, np.ndarray | np.generic | int | float | complex):
        return not np.any(source)
    spreads = ("broadcast_in_dim", "convert_element_type", "reshape")
    if getattr(getattr(source, "primitive", None), "name", "") not in spreads:
        return False
    return all(_is_zero(u, made_by) for u in cast(Any, source).invars)
