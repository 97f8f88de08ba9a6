"""What a derivative reaches, and from where."""

import functools
import operator
from collections.abc import Callable, Collection
from typing import Any, TypeAlias

import jax.numpy as jnp

from jaxnet._graph.forms import closed_over, kind_of_rule
from jaxnet._graph.jaxprs import Chain, Equation, inputs_of, is_literal, plain
from jaxnet._graph.walk import equations, inner_jaxprs


def outputs_reached(jaxpr: Any, inputs: Any) -> tuple[bool, ...]:
    """Of each output, whether it is computed from any of these inputs (numbers)."""
    jaxpr = plain(jaxpr)
    reached = {jaxpr.invars[i] for i in inputs}
    for e in jaxpr.eqns:
        if computes_nothing(e):
            reached |= {out for v, out in _straight_through(e) if v in reached}
        elif any(v in reached for v in inputs_of(e)):
            reached |= set(e.outvars)
    return tuple(not is_literal(v) and v in reached for v in jaxpr.outvars)


def equations_for(jaxpr: Any, outputs: Collection[int]) -> list[Equation]:
    """Those at any depth that these outputs (numbers) are computed from; of a loop, all."""
    return _needed(plain(jaxpr), outputs)[0]


def _needed(jaxpr: Any, outputs: Collection[int]) -> tuple[list[Equation], set[Any]]:
    """The equations, and the variables at the top that they or these outputs are made of."""
    found: list[Equation] = []
    read = {jaxpr.outvars[k] for k in outputs if not is_literal(jaxpr.outvars[k])}
    for e in reversed(jaxpr.eqns):
        asked = [k for k, v in enumerate(e.outvars) if v in read]
        if asked:
            inside, inputs = _needed_of(e, asked)
            found += inside
            read |= {e.invars[k] for k in inputs if not is_literal(e.invars[k])}
    return found, read


def _needed_of(e: Equation, outputs: list[int]) -> tuple[list[Equation], list[int]]:
    """Of one equation: with those inside, and the numbers of its inputs that are read."""
    if computes_nothing(e):
        return [], outputs
    body = _body_of_call(e)
    if body is None:
        inside = [inner for j in inner_jaxprs(e) for inner, _ in equations(j)]
        return [e, *inside], list(range(len(e.invars)))
    inside, read = _needed(body, outputs)
    return inside, [k for k, v in enumerate(body.invars) if v in read]


def _body_of_call(e: Equation) -> Any:
    """The jaxpr whose inputs and outputs are the equation's, one for one; None where none is."""
    inside = list(map(plain, inner_jaxprs(e)))
    if len(inside) != 1 or e.primitive.name in _WALKS:
        return None
    (body,) = inside
    is_one_for_one = (len(body.invars), len(body.outvars)) == (len(e.invars), len(e.outvars))
    return body if is_one_for_one else None


def computes_nothing(e: Equation) -> bool:
    """Whether each output is the input of its place."""
    return bool(e.primitive.name == "optimization_barrier")


def _straight_through(e: Equation) -> list[tuple[Any, Any]]:
    """The inputs and outputs of an equation that computes nothing."""
    return [(v, out) for v, out in zip(e.invars, e.outvars, strict=True) if not is_literal(v)]


# (equation of a rule, equations around it, sources of each of its inputs) -> what is added to the
# sources of each of its outputs
Meet: TypeAlias = Callable[[Equation, Chain, list[int]], list[int]]


def is_differentiable(v: Any) -> bool:
    """Whether the variable can have a derivative: a floating array, or what is no array at all."""
    dtype = getattr(v.aval, "dtype", None)
    return dtype is None or jnp.issubdtype(dtype, jnp.inexact)


def has_references(jaxpr: Any) -> bool:
    """Whether memory is written to in it (jax.new_ref): `flow` does not follow what goes there."""
    return any(hasattr(v.aval, "inner_aval") for e, _ in equations(jaxpr) for v in e.invars)


def flow(jaxpr: Any, sources: list[int], meet: Meet, chain: Chain = ()) -> list[int]:
    """From which sources a derivative comes to each output, a bit for each source.

    sources: of each input. meet: told of every rule with the sources of its inputs; a loop is
    walked until nothing is added, so the last time counts. No derivative passes stop_gradient, nor
    anything but floating numbers.
    """
    jaxpr = plain(jaxpr)
    known = dict(zip(jaxpr.invars, sources, strict=True))

    def of(v: Any) -> int:
        return 0 if is_literal(v) or not is_differentiable(v) else known.get(v, 0)

    for e in jaxpr.eqns:
        known.update(zip(e.outvars, _through(e, list(map(of, e.invars)), meet, chain), strict=True))
    return list(map(of, jaxpr.outvars))


def _through(e: Equation, sources: list[int], meet: Meet, chain: Chain) -> list[int]:
    """Sources of the equation's outputs, from those of its inputs."""
    if kind_of_rule(e):
        every = _union(sources[closed_over(e) :])
        return [every | added for added in meet(e, chain, sources)]
    if e.primitive.name == "stop_gradient":
        return [0] * len(e.outvars)
    inside = list(inner_jaxprs(e))
    walk = _WALKS.get(e.primitive.name, _through_a_call)
    return walk(e, inside, sources, lambda j, given: flow(j, given, meet, (*chain, e)))


Walk: TypeAlias = Callable[[Any, list[int]], list[int]]  # through a jaxpr inside the equation


def _through_a_call(e: Equation, inside: list[Any], sources: list[int], walk: Walk) -> list[int]:
    every = _union(sources)
    if _body_of_call(e) is not None:
        return walk(inside[0], sources)
    for jaxpr in inside:  # who knows how its inputs are made of the equation's?
        walk(jaxpr, [every] * len(plain(jaxpr).invars))
    return [every] * len(e.outvars)


def _through_cond(e: Equation, inside: list[Any], sources: list[int], walk: Walk) -> list[int]:
    outputs = [walk(branch, sources[1:]) for branch in inside]
    return list(map(_union, zip(*outputs, strict=True)))


def _through_scan(e: Equation, inside: list[Any], sources: list[int], walk: Walk) -> list[int]:
    first, end = carry_of_scan(e)
    carry = sources[first:end]
    while True:
        outputs = walk(inside[0], sources[:first] + carry + sources[end:])
        new = [a | b for a, b in zip(carry, outputs, strict=False)]
        if new == carry:
            return carry + outputs[len(carry) :]
        carry = new


def carry_of_scan(e: Equation) -> tuple[int, int]:
    """Where among its inputs the carry begins and ends: behind the constants."""
    if "num_carry" in e.params:  # before jax 0.12
        constants, carried = e.params["num_consts"], e.params["num_carry"]
    else:
        constants, carried, _ = map(len, e.params["ft_in"].unpack())
    return constants, constants + carried


def _through_while(e: Equation, inside: list[Any], sources: list[int], walk: Walk) -> list[int]:
    of_cond = e.params["cond_nconsts"]
    end = of_cond + e.params["body_nconsts"]
    carry = sources[end:]
    while True:
        outputs = walk(e.params["body_jaxpr"], sources[of_cond:end] + carry)
        new = [a | b for a, b in zip(carry, outputs, strict=True)]
        if new == carry:
            walk(e.params["cond_jaxpr"], sources[:of_cond] + carry)
            return carry
        carry = new


def _union(sources: Any) -> int:
    return functools.reduce(operator.or_, sources, 0)


_WALKS: dict[str, Callable[[Equation, list[Any], list[int], Walk], list[int]]] = {
    "cond": _through_cond,
    "scan": _through_scan,
    "while": _through_while,
}
