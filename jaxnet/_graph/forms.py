"""How JAX records a custom rule, or a call: when its next form comes, this file changes."""

import functools
from typing import Any, NamedTuple

import jax
import numpy as np
from jax.extend.core.primitives import custom_jvp_call_p, custom_vjp_call_p

from jaxnet._graph.jaxprs import Equation, name_of_function
from jaxnet._graph.objects import (
    HIPRIM,
    JVP,
    VJP,
    arguments_of_object,
    body_of_object,
    is_of_jax,
    kind_of_object,
    python_object,
)


def kind_of_rule(e: Equation) -> str | None:
    """VJP, JVP or HIPRIM where the equation calls a custom rule."""
    kinds = {custom_vjp_call_p: VJP, custom_jvp_call_p: JVP}
    return kinds.get(e.primitive) or kind_of_object(python_object(e))


def body_of_rule(e: Equation) -> Any:
    """The jaxpr of the function that the rule is attached to."""
    prim = python_object(e)
    return e.params["call_jaxpr"] if prim is None else body_of_object(prim)


def has_rule_for_batching(e: Equation) -> bool:
    """Whether the equation calls a custom_vmap, whose rule says how its body is batched."""
    return bool(e.primitive.name == "custom_vmap_call")


def name_of_rule(e: Equation) -> str:
    """Of the function that the rule is attached to, or of the class whose methods it is."""
    prim = python_object(e)
    is_of_class = prim is not None and not is_of_jax(prim)
    return type(prim).__name__ if is_of_class else name_of_function(body_of_rule(e))


def closed_over(e: Equation) -> int:
    """How many of its first inputs are what the rule closes over: it has no derivative there."""
    prim = python_object(e)
    if prim is None:
        return int(e.params.get("num_consts", 0))
    return len(prim.in_avals_flat) - len(arguments_of_object(prim))


def names_of_arguments(e: Equation) -> tuple[str, ...]:
    """Of the function that a rule is attached to (empty where JAX does not say).

    A function that closes over something has lost them; its forward has them still.
    """
    for function in (body_of_rule(e), e.params.get("fwd_jaxpr_thunk")):
        info = getattr(function, "debug_info", None)
        # What is closed over has an empty name.
        names = tuple(str(name) for name in getattr(info, "arg_names", None) or () if name)
        if len(names) == len(e.invars) - closed_over(e):
            return names
    return ()


def is_attached_by(e: Equation, function: Any) -> bool:
    """Whether the rule of this equation was made with this very function: its backward, say.

    JAX wraps that function once for each transformation which the equation has been through.
    """
    parameters = e.params if python_object(e) is None else python_object(e).params
    return _holds(tuple(parameters.values()), function, set())


def _holds(value: Any, function: Any, seen: set[int]) -> bool:
    if value is function:
        return True
    if id(value) in seen:
        return False
    seen.add(id(value))
    return any(_holds(inside, function, seen) for inside in _wrapped_in(value))


def _wrapped_in(value: Any) -> list[Any]:
    if isinstance(value, tuple | list):
        return list(value)
    if isinstance(value, functools.partial):
        return [value.func, *value.args, *value.keywords.values()]
    cells = getattr(value, "__closure__", None) or ()
    names = ("__wrapped__", "f", "f_transformed", "transforms")
    around = callable(value) or hasattr(value, "call_wrapped")
    attributes = [getattr(value, name, None) for name in names] if around else []
    return attributes + [cell.cell_contents for cell in cells if _is_filled(cell)]


def _is_filled(cell: Any) -> bool:
    try:
        return cell.cell_contents is not None
    except ValueError:
        return False


def sees_what_is_differentiated(e: Equation) -> bool:
    """Whether the rule is told which of its arguments are differentiated (symbolic_zeros)."""
    if kind_of_rule(e) == HIPRIM:
        return True
    parameters = e.params if python_object(e) is None else vars(python_object(e))
    return bool(parameters.get("symbolic_zeros"))


def is_tangent_of_rule(e: Equation) -> bool:
    """Whether the equation is the tangent of a custom_vjp, which only a transpose can compute."""
    return e.primitive.name in ("custom_lin", "call_hi_primitive_linearized")


class UnknownForm(NamedTuple):
    """A custom rule that this JAX records in a form that cannot be taken off."""

    found: str
    expected: str


def unknown_form(kinds: tuple[str, ...]) -> UnknownForm | None:
    """Probe how this JAX, as configured now, records a rule; None where that is known here."""
    by_vjp = jax.custom_vjp(lambda x: x)
    by_vjp.defvjp(lambda x: (x, None), lambda _, dy: (2 * dy,))
    by_jvp = jax.custom_jvp(lambda x: x)
    by_jvp.defjvp(lambda x, dx: (x[0], 2 * dx[0]))
    probes: dict[str, Any] = {VJP: (by_vjp, custom_vjp_call_p), JVP: (by_jvp, custom_jvp_call_p)}
    for kind, (probe, expected) in probes.items():
        e = jax.make_jaxpr(probe)(np.float32(1)).eqns[0]
        if kind in kinds and kind_of_rule(e) != kind:
            return UnknownForm(str(e.primitive), str(expected))
    return None


def left_on(e: Equation) -> str:
    """Of somebody's primitive that can be neither judged nor taken off, the name of its class.

    It acts on other than arrays, has effects, or this JAX is too old to say what it computes.
    """
    classes = {c.__name__ for c in type(e.primitive).__mro__}
    prim = e.primitive if "HiPrimitive" in classes else python_object(e)
    is_somebodys = prim is not None and not is_of_jax(prim)
    return type(prim).__name__ if is_somebodys and kind_of_rule(e) is None else ""


def name_of_python_object(e: Equation) -> str:
    """Of a primitive that is a Python object and no known rule, the name of its class.

    There is no jaxpr to look into. jax.numpy's own are left out: they hold no custom rules.
    """
    prim = type(e.params.get("_prim"))
    is_hi = e.primitive.name.startswith("call_hi_primitive") and kind_of_rule(e) is None
    return prim.__name__ if is_hi and ".numpy." not in f"{prim.__module__}." else ""


def hides_rules(e: Equation) -> bool:
    """Whether rules inside the equation cannot be reached."""
    return e.primitive.name in ("call_exported", "linear_call")


def derivative_depth(e: Equation) -> int:
    """How many derivatives the equation is under: JAX writes them into its name stack."""
    return str(e.source_info.name_stack).count("jvp(")


def is_call(e: Equation) -> bool:
    """Whether the equation does no more than to call a function.

    custom_jvp_call too: jax.nn.relu is called by one, and is JAX's function all the same.
    """
    return e.primitive.name in ("jit", "pjit", "closed_call", "custom_jvp_call")


def name_of_equation(e: Equation) -> str:
    if python_object(e) is not None:
        return name_of_rule(e) if kind_of_rule(e) else type(python_object(e)).__name__
    return str(e.params.get("name") or e.primitive.name)
