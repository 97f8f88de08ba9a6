"""Into the jaxprs inside a jaxpr, at any depth, and what is found there."""

from collections.abc import Iterator
from typing import Any

from jaxnet._graph.forms import body_of_rule, is_tangent_of_rule, kind_of_rule
from jaxnet._graph.jaxprs import Chain, Equation, jaxprs_in, plain
from jaxnet._graph.objects import python_object


def inner_jaxprs(e: Equation) -> Iterator[Any]:
    """The jaxprs in all parameters of the equation, or its body; not those inside them."""
    if python_object(e) is not None and kind_of_rule(e):
        yield body_of_rule(e)
    yield from jaxprs_in(tuple(e.params.values()))


def first_inner_jaxpr(e: Equation) -> Any:
    return next(inner_jaxprs(e), None)


def equations(jaxpr: Any, chain: Chain = ()) -> Iterator[tuple[Equation, Chain]]:
    """Every equation, at any depth, with the equations around it."""
    for e in jaxpr.eqns:
        yield e, chain
        for inner in inner_jaxprs(e):
            yield from equations(inner, (*chain, e))


def kinds_differentiated(jaxpr: Any) -> set[str]:
    """Kinds of the rules that a derivative meets: not those in the body of another rule."""
    kinds = set()
    for e in jaxpr.eqns:
        kind = kind_of_rule(e)
        if kind:
            kinds.add(kind)
        else:
            kinds.update(*map(kinds_differentiated, inner_jaxprs(e)))
    return kinds


def is_reverse_only(jaxpr: Any) -> bool:
    """Whether it holds a tangent of a custom_vjp, which may be transposed and not computed."""
    return any(is_tangent_of_rule(e) for e, _ in equations(jaxpr))


def is_one_rule(jaxpr: Any) -> bool:
    """Whether the function is nothing but one custom rule (and calls around it)."""
    equations_here = plain(jaxpr).eqns
    if len(equations_here) != 1:
        return False
    (e,) = equations_here
    if kind_of_rule(e):
        return True
    within = first_inner_jaxpr(e)
    return within is not None and is_one_rule(within)
