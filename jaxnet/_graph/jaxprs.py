"""A jaxpr and its equations as they lie there: what is read, computed, named, and where."""

from collections.abc import Iterator, Sequence
from typing import Any, TypeAlias, cast

import jax
from jax.extend import core as jax_core

core = cast(Any, jax_core)  # its stubs and its contents differ between the versions of jax

Equation: TypeAlias = Any
Chain: TypeAlias = tuple[Equation, ...]  # the equations around an equation, outermost first


def is_jaxpr(value: Any) -> bool:
    return isinstance(value, core.ClosedJaxpr | core.Jaxpr)


def plain(jaxpr: Any) -> Any:
    """The jaxpr beside its constants before jax 0.12; from then on both are one object.

    Only the inner one has invars and outvars on every jax; eqns has either.
    """
    return getattr(jaxpr, "jaxpr", jaxpr)


def jaxprs_in(value: Any) -> Iterator[Any]:
    """The jaxprs in a parameter of an equation, however nested; not those inside them."""
    if is_jaxpr(value):
        yield value
    elif isinstance(value, tuple | list):
        for item in value:
            yield from jaxprs_in(item)


def inputs_of(e: Equation) -> list[Any]:
    """What the equation reads, once each, literals left out."""
    return list(dict.fromkeys(v for v in e.invars if not is_literal(v)))


def shapes_of(e: Equation) -> list[Any]:
    """Shapes and dtypes of these inputs."""
    shape_of = cast(Any, jax).ShapeDtypeStruct
    return [shape_of(v.aval.shape, v.aval.dtype) for v in inputs_of(e)]


def outputs_of(e: Equation) -> list[Any]:
    """What the equation computes, as far as anybody uses it."""
    return [v for v in e.outvars if not isinstance(v, core.DropVar)]


def is_literal(v: Any) -> bool:
    return isinstance(v, core.Literal)


def are_alike(avals: Sequence[Any], others: Sequence[Any]) -> bool:
    """Of one shape and dtype, each with each."""
    return [(a.shape, a.dtype) for a in avals] == [(a.shape, a.dtype) for a in others]


def name_of_function(jaxpr: Any) -> str:
    """Of the function that the jaxpr was traced from ('?' where JAX does not say)."""
    return str(getattr(jaxpr.debug_info, "func_name", "") or "?").partition(" ")[0]


def file_of_function(jaxpr: Any) -> str:
    """Where that function is defined ('' where JAX does not say)."""
    return place_of_function(jaxpr).rpartition(":")[0]


def place_of_function(jaxpr: Any) -> str:
    """file:line of it ('' where JAX does not say)."""
    return str(getattr(jaxpr.debug_info, "func_src_info", "") or "").partition(" at ")[2]
