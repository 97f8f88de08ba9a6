"""A jaxpr with other equations in the place of some; one equation as a function."""

import weakref
from collections.abc import Callable, MutableMapping, Sequence
from typing import Any, NamedTuple, TypeAlias, cast

import jax
import jax.numpy as jnp
from jax.extend.core.primitives import closed_call_p

from jaxnet._graph.forms import (
    body_of_rule,
    derivative_depth,
    has_rule_for_batching,
    kind_of_rule,
    name_of_equation,
    name_of_rule,
)
from jaxnet._graph.jaxprs import (
    Chain,
    Equation,
    are_alike,
    core,
    inputs_of,
    is_jaxpr,
    is_literal,
    jaxprs_in,
    outputs_of,
    plain,
    shapes_of,
)
from jaxnet._graph.objects import EVERY, REVERSE, VJP, python_object
from jaxnet._graph.walk import equations

# (equation, the same with its own jaxprs rewritten, equations around it) -> the equations that
# stand in its place
Change: TypeAlias = Callable[[Equation, Equation, Chain], list[Equation]]
Known: TypeAlias = MutableMapping[Any, Any]  # jaxpr -> what has become of it


def rewritten(value: Any, change: Change, chain: Chain = (), known: Known | None = None) -> Any:
    """value with each equation changed, at any depth.

    value: a jaxpr, or a parameter of an equation, however nested.
    known: what has become of jaxprs; then change must not look at the chain, for a jaxpr that is
    called from two places is rewritten once. Without it every place is visited.
    What nothing changes in is returned as the same object: JAX's caches know a jaxpr by identity.
    """
    if is_jaxpr(value):
        if known is not None and value in known:
            return known[value]
        new = _rewritten_jaxpr(value, change, chain, known)
        if known is not None and new is not value:
            known[value] = new
        return new
    if isinstance(value, tuple | list):
        items = [rewritten(v, change, chain, known) for v in value]
        if are_the_same(items, value):
            return value
        return type(value)(*items) if hasattr(value, "_fields") else type(value)(items)
    return value


def _rewritten_jaxpr(jaxpr: Any, change: Change, chain: Chain, known: Known | None) -> Any:
    if plain(jaxpr) is not jaxpr:
        inner = rewritten(jaxpr.jaxpr, change, chain, known)
        return jaxpr if inner is jaxpr.jaxpr else core.ClosedJaxpr(inner, jaxpr.consts)
    new: list[Equation] = []
    for e in jaxpr.eqns:
        new += change(e, _with_inside_rewritten(e, change, chain, known), chain)
    if are_the_same(new, jaxpr.eqns):
        return jaxpr
    return jaxpr.replace(eqns=new, effects=_with_callbacks(jaxpr.effects, [e.effects for e in new]))


def _with_inside_rewritten(
    e: Equation, change: Change, chain: Chain, known: Known | None
) -> Equation:
    if python_object(e) is not None and kind_of_rule(e):
        body = rewritten(body_of_rule(e), change, (*chain, e), known)
        return e if body is body_of_rule(e) else _call_of(body, e)
    params = {k: rewritten(v, change, (*chain, e), known) for k, v in e.params.items()}
    if all(params[k] is v for k, v in e.params.items()):
        return e
    inside = [j.effects for j in jaxprs_in(tuple(params.values()))]
    return e.replace(params=params, effects=_with_callbacks(e.effects, inside))


def are_the_same(new: Any, old: Any) -> bool:
    return len(new) == len(old) and all(a is b for a, b in zip(new, old, strict=True))


def _with_callbacks(effects: Any, inside: Any) -> frozenset[Any]:
    """An equation that calls the host has an effect, and so has everything that it is in."""
    calls = {effect for some in inside for effect in some if "Debug" in type(effect).__name__}
    return frozenset(effects) | calls


def call_of_body(e: Equation) -> Equation:
    """The equation of a custom rule as a plain call of its body; any other equation as it is.

    A rule for batching (custom_vmap) is one of these: it too stands in place of its body.
    """
    if has_rule_for_batching(e):
        return _call_of(e.params["call"], e)
    return e if kind_of_rule(e) is None else _call_of(body_of_rule(e), e)


def _call_of(body: Any, e: Equation) -> Equation:
    """A plain call of the body in the place of the equation."""
    if not are_alike(body.in_avals, [v.aval for v in e.invars]):
        raise TypeError(f"{name_of_rule(e)} is called with other shapes or dtypes than it is for")
    effects = _with_callbacks(e.effects, [body.effects])
    params = {"call_jaxpr": _with_fitting_names(body)}
    return e.replace(primitive=closed_call_p, params=params, effects=effects)


def _with_fitting_names(jaxpr: Any) -> Any:
    """The body as a function that JAX calls: with a name for each of its arguments, or none.

    Of a custom_jvp with static arguments given by keyword, jax before 0.12 keeps their names too.
    """
    inner = plain(jaxpr)
    names = getattr(inner.debug_info, "arg_names", None) or ()
    if len(names) in (0, len(inner.invars)):
        return jaxpr
    nameless = inner.replace(debug_info=inner.debug_info._replace(arg_names=None))
    return core.ClosedJaxpr(nameless, jaxpr.consts)


def call_of(e: Equation, function: Callable[..., Any]) -> Equation:
    """The equation as a plain call of this function of its inputs to the outputs that are used."""
    jaxpr = jax.make_jaxpr(function)(*shapes_of(e))
    call = {"primitive": closed_call_p, "params": {"call_jaxpr": jaxpr}, "effects": jaxpr.effects}
    return e.replace(invars=inputs_of(e), outvars=outputs_of(e), **call)


def every_input(e: Equation, values: Sequence[Any]) -> list[Any]:
    """The value of each input, literals too, from those of inputs_of(e)."""
    known = dict(zip(inputs_of(e), values, strict=True))
    return [v.val if is_literal(v) else known[v] for v in e.invars]


def with_tangents(e: Equation, push: Callable[..., Any]) -> Equation:
    """The equation of a custom rule as that of a custom_jvp, with push as its rule.

    push: (inputs, tangents) -> (outputs, tangents), flat; a tangent of 0 is a SymbolicZero.
    """
    function = jax.custom_jvp(as_function(without_rules(alone(e), REVERSE)))
    function.defjvp(push, symbolic_zeros=True)
    (new,) = jax.make_jaxpr(function)(*shapes_of(e)).eqns
    params = {**new.params}
    if "call_jaxpr" in params:
        params["call_jaxpr"] = _named_as(body_of_rule(e), params["call_jaxpr"])
    variables = {"invars": inputs_of(e), "outvars": outputs_of(e)}
    return e.replace(primitive=new.primitive, params=params, effects=new.effects, **variables)


def _named_as(other: Any, jaxpr: Any) -> Any:
    """The jaxpr with the name and the place of the function that the other is of."""
    debug = plain(other).debug_info._replace(arg_names=None, result_paths=None)
    return core.ClosedJaxpr(plain(jaxpr).replace(debug_info=debug), jaxpr.consts)


def instead_of_object(jaxpr: Any, call: Callable[..., Any]) -> Any:
    """A jaxpr of one equation, in which call(object, *its inputs) stands in the object's place."""
    (e,) = plain(jaxpr).eqns
    prim = python_object(e)

    def flat(*inputs: Any) -> list[Any]:
        return cast(list[Any], call(prim, *inputs))

    body = jax.make_jaxpr(flat)(*prim.in_avals_flat)
    if not are_alike(body.out_avals, prim.out_avals_flat):
        raise TypeError("it returns other shapes or dtypes than the primitive")
    return rewritten(jaxpr, lambda e, _, chain: [e if chain else _call_of(body, e)])


# What has become of each jaxpr, by the kinds of rules that were taken off. JAX keeps the trace of a
# jitted function: without its rules that must be one object too, or it is compiled at every trace.
_stripped: dict[tuple[str, ...], Known] = {
    kinds: weakref.WeakKeyDictionary() for kinds in (REVERSE, EVERY)
}


def without_rules(jaxpr: Any, kinds: tuple[str, ...]) -> Any:
    """A jaxpr that computes the same, in which each rule of these kinds is a call of its body.

    And so is each rule for batching: jax.vmap batches its body. kinds: REVERSE or EVERY.
    """

    def change(e: Equation, inside_rewritten: Equation, chain: Chain) -> list[Equation]:
        if kind_of_rule(e) in kinds or has_rule_for_batching(e):
            return [call_of_body(inside_rewritten)]
        # A rule that is a Python object stays whole, or not at all.
        return [e if python_object(e) is not None else inside_rewritten]

    return rewritten(jaxpr, change, known=_stripped[kinds])


# -- tap


class Wiretap(NamedTuple):
    """What an equation tells the host."""

    compute: Callable[..., Any]  # what it tells, of its inputs
    tell: Callable[..., None]  # on the host


def tap(jaxpr: Any, wanted: Callable[[Equation, Chain], Wiretap | None]) -> Any:
    """The jaxpr, in which each equation that is wanted first tells the host of its inputs."""

    def change(e: Equation, inside_rewritten: Equation, chain: Chain) -> list[Equation]:
        wiretap = wanted(e, chain)
        if wiretap is None:
            return [call_of_body(inside_rewritten) if inside_rewritten is not e else e]
        # The equation of a custom rule cannot be bound anew; what it computes, not differentiated,
        # is its body.
        return [_telling(inside_rewritten, wiretap), call_of_body(inside_rewritten)]

    return rewritten(jaxpr, change)


def _telling(e: Equation, wiretap: Wiretap) -> Equation:
    """An equation that tells the host of e's inputs."""
    inputs = inputs_of(e)

    def told(*values: Any) -> None:
        jax.debug.callback(wiretap.tell, *wiretap.compute(*every_input(e, values)))

    jaxpr = jax.make_jaxpr(told)(*shapes_of(e))
    call = {"primitive": closed_call_p, "params": {"call_jaxpr": jaxpr}, "effects": jaxpr.effects}
    return e.replace(invars=inputs, outvars=[], **call)


# -- cut out


def alone(e: Equation) -> Any:
    """The equation as a jaxpr from its inputs to its outputs."""
    debug = core.DebugInfo("alone", name_of_equation(e), None, None)
    jaxpr = core.Jaxpr([], inputs_of(e), outputs_of(e), [e], e.effects, debug_info=debug)
    return core.ClosedJaxpr(jaxpr, [])


def as_function(jaxpr: Any) -> Callable[..., Any]:
    """The jaxpr as a function of arrays, one for each of its inputs, to a list of arrays."""
    return cast(Callable[..., Any], core.jaxpr_as_fun(jaxpr))


def fitted(value: Any, aval: Any) -> Any:
    """The value in the dtype that a jaxpr wants: it may have been traced with x64 on, or off."""
    is_plain = not jnp.issubdtype(aval.dtype, jax.dtypes.extended)
    return value.astype(aval.dtype) if is_plain and value.dtype != aval.dtype else value


def is_array_of_jax(leaf: Any) -> bool:
    """Whether the leaf can be an input of a jaxpr."""
    return bool(core.valid_jaxtype(leaf))


def calls_rules_when_differentiated(e: Equation) -> bool:
    """Whether the rule of this custom_jvp equation calls a custom_vjp or differentiates."""
    called = as_function(alone(e))
    try:
        linearized = jax.make_jaxpr(lambda *x: jax.vjp(called, *x)[0])(
            *[v.aval for v in inputs_of(e)]
        )
    except Exception:  # what cannot be differentiated does not differentiate by a rule
        return False
    depth = derivative_depth(e) + 1
    return any(
        kind_of_rule(inner) == VJP or derivative_depth(inner) > depth
        for inner, _ in equations(linearized)
    )
