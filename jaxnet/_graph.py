"""How JAX writes a custom rule into a graph: when its next form comes, this file changes alone.

A traced function is a jaxpr: equations, each a primitive with inputs, outputs and parameters, some
of which are jaxprs in turn. A custom rule is one equation; its parameters hold the body that the
rule stands for, and the rule.

    tell         kind_of_rule, unknown_form: which equation is a rule, and is its form known?
    walk         equations, inner_jaxprs
    flow         flow: what a derivative reaches, and from where
    rewrite      rewritten: with other equations in the place of some; without_rules is made with it
    tap          tap: equations tell the host what they meet
    cut out      alone: one equation as a function
    tell apart   identity, constants
"""

import functools
import hashlib
import operator
import weakref
from collections.abc import Callable, Iterator, MutableMapping, Sequence
from types import SimpleNamespace
from typing import Any, NamedTuple, TypeAlias, cast

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend import core as jax_core
from jax.extend.core.primitives import closed_call_p, custom_jvp_call_p, custom_vjp_call_p

core = cast(Any, jax_core)  # its stubs and its contents differ between the versions of jax

Equation: TypeAlias = Any
Chain: TypeAlias = tuple[Equation, ...]  # the equations around an equation, outermost first

# The kinds of custom rules, as jax.custom_vjp, jax.custom_jvp and the methods of a HiPrim attach
# them, and those taken off.
VJP, JVP, HIPRIM = "vjp", "jvp", "hiprim"
REVERSE = (VJP, HIPRIM)
EVERY = (VJP, JVP, HIPRIM)


# -- custom rules


def kind_of_rule(e: Equation) -> str | None:
    """VJP, JVP or HIPRIM where the equation calls a custom rule."""
    kinds = {custom_vjp_call_p: VJP, custom_jvp_call_p: JVP}
    return kinds.get(e.primitive) or _kind_of_object(python_object(e))


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
    is_of_class = prim is not None and not _is_of_jax(prim)
    return type(prim).__name__ if is_of_class else name_of_function(body_of_rule(e))


def closed_over(e: Equation) -> int:
    """How many of its first inputs are what the rule closes over: it has no derivative there."""
    prim = python_object(e)
    if prim is None:
        return int(e.params.get("num_consts", 0))
    return len(prim.in_avals_flat) - len(_arguments_of_object(prim))


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
    names = ("custom_lin", "call_hi_primitive_linearized")
    return any(e.primitive.name in names for e, _ in equations(jaxpr))


def sees_what_is_differentiated(e: Equation) -> bool:
    """Whether the rule is told which of its arguments are differentiated (symbolic_zeros)."""
    if kind_of_rule(e) == HIPRIM:
        return True
    parameters = e.params if python_object(e) is None else vars(python_object(e))
    return bool(parameters.get("symbolic_zeros"))


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


# -- primitives that are Python objects (hijax)

# The classes of JAX whose objects are custom rules: where jax_custom_vjp3 or jax_custom_jvp3 is
# set, and of a rule with generic_batching.
RULES_OF_JAX = {"CustomVJPTraced": VJP, "CustomJVPTraced": JVP}


def _class_of_methods() -> Any:
    """The class that a user's primitive inherits from; None where JAX has another."""
    try:
        from jax.experimental import hijax
    except ImportError:
        return None
    return getattr(hijax, "HiPrim", None)


HiPrim = _class_of_methods()


def python_object(e: Equation) -> Any:
    """Of an equation that applies a primitive which is a Python object, that object."""
    return e.params.get("_prim") if e.primitive.name == "call_hi_primitive" else None


def _is_of_jax(prim: Any) -> bool:
    return type(prim).__module__.partition(".")[0] == "jax"


def _kind_of_object(prim: Any) -> str | None:
    if prim is None:
        return None
    kind = RULES_OF_JAX.get(type(prim).__name__) if _is_of_jax(prim) else HIPRIM
    return kind if kind and body_of_object(prim) is not None else None


def defines(prim: Any, method: str) -> bool:
    """Whether the class of a HiPrim has a method of its own."""
    return getattr(type(prim), method, None) is not getattr(HiPrim, method, None)


def instead_of_object(jaxpr: Any, call: Callable[..., Any]) -> Any:
    """A jaxpr of one equation, in which call(object, *its inputs) stands in the object's place."""
    (e,) = plain(jaxpr).eqns
    prim = python_object(e)

    def flat(*inputs: Any) -> list[Any]:
        return cast(list[Any], call(prim, *inputs))

    body = jax.make_jaxpr(flat)(*prim.in_avals_flat)
    if not _are_alike(body.out_avals, prim.out_avals_flat):
        raise TypeError("it returns other shapes or dtypes than the primitive")
    return rewritten(jaxpr, lambda e, _, chain: [e if chain else _call_of(body, e)])


def remat_of(prim: Any, *inputs: Any, backward: bool) -> list[Any]:
    """What a HiPrim's remat puts in its place in the forward pass, or recomputes in the backward.

    There, what was kept is a constant.
    """
    args = jax.tree.unflatten(prim.in_tree, inputs)
    # Of the trace that JAX gives it, what a method may ask for.
    trace = SimpleNamespace(policy=None, custom_vjp_rules=True)
    outputs, kept, recompute = prim.remat(trace, *args)
    if not backward:
        return jax.tree.leaves(outputs)
    kept = jax.tree.map(jax.lax.stop_gradient, kept)
    return jax.tree.leaves(recompute(kept, *args))


def dce_of(used: int, prim: Any, *inputs: Any) -> list[Any]:
    """What stands in the place of a HiPrim where one output alone is used, as its dce has it.

    The other outputs are zeros.
    """
    count = len(prim.out_avals_flat)
    is_used = jax.tree.unflatten(prim.out_tree, [k == used for k in range(count)])
    is_live = jax.tree.unflatten(prim.in_tree, [True] * len(inputs))
    reads, makes, other = prim.dce(is_used, is_live)
    if other is None:
        raise TypeError("its dce removes it, though an output is used")
    is_read = _for_each(reads, prim.in_tree)
    read = [x for x, is_one in zip(inputs, is_read, strict=True) if is_one]
    made = iter(jax.tree.leaves(other(*jax.tree.unflatten(other.in_tree, read))))
    is_made = _for_each(makes, prim.out_tree)
    if not is_made[used]:
        raise TypeError("its dce does not compute an output that is used")
    outputs = [next(made) if is_one else None for is_one in is_made]
    return [
        jnp.zeros(a.shape, a.dtype) if y is None else y
        for y, a in zip(outputs, prim.out_avals_flat, strict=True)
    ]


def _for_each(flags: Any, tree: Any) -> list[bool]:
    """Flags for the leaves of the tree, where one may stand for a whole branch."""
    return cast(
        list[bool],
        jax.tree.leaves(jax.tree.broadcast(flags, tree.unflatten([0] * tree.num_leaves))),
    )


def left_on(e: Equation) -> str:
    """Of somebody's primitive that can be neither judged nor taken off, the name of its class.

    It acts on other than arrays, has effects, or this JAX is too old to say what it computes.
    """
    classes = {c.__name__ for c in type(e.primitive).__mro__}
    prim = e.primitive if "HiPrimitive" in classes else python_object(e)
    is_somebodys = prim is not None and not _is_of_jax(prim)
    return type(prim).__name__ if is_somebodys and kind_of_rule(e) is None else ""


def _arguments_of_object(prim: Any) -> list[Any]:
    """Its inputs without what a rule of JAX closes over, which comes first (from jax 0.12 on)."""
    synthetic = 0
    if _is_of_jax(prim) and type(prim).__name__ in RULES_OF_JAX:
        has_residuals_too = hasattr(prim, "drop_fwd_consts")
        synthetic = 1 + has_residuals_too if hasattr(prim.traced, "with_consts_as_arg") else 0
    return jax.tree.leaves(prim.in_avals[synthetic:])


# The body of each object, by its id, as long as it lives: its class need not make it hashable.
_bodies: dict[int, Any] = {}


def body_of_object(prim: Any) -> Any:
    """What it computes, as a jaxpr of its inputs; None where that cannot be had."""
    if id(prim) not in _bodies:
        _bodies[id(prim)] = _traced_body(prim)
        weakref.finalize(prim, _bodies.pop, id(prim), None)
    return _bodies[id(prim)]


def _traced_body(prim: Any) -> Any:
    inputs, outputs = prim.in_avals_flat, prim.out_avals_flat
    already = getattr(getattr(prim, "traced", None), "jaxpr", None)  # of a rule of JAX
    if _is_of_jax(prim) and already is not None and len(plain(already).invars) == len(inputs):
        return already
    if not _has_expand(prim) or prim.effects or not all(map(_is_of_arrays, (*inputs, *outputs))):
        return None
    try:
        body = jax.make_jaxpr(prim.expand)(*jax.tree.unflatten(prim.in_tree, inputs))
    except Exception:
        return None
    return body if _are_alike(body.out_avals, outputs) else None


def _has_expand(prim: Any) -> bool:
    return _is_of_jax(prim) or (HiPrim is not None and isinstance(prim, HiPrim))


def _is_of_arrays(aval: Any) -> bool:
    return isinstance(aval, jax.core.ShapedArray)


def _are_alike(avals: Sequence[Any], others: Sequence[Any]) -> bool:
    """Of one shape and dtype, each with each."""
    return [(a.shape, a.dtype) for a in avals] == [(a.shape, a.dtype) for a in others]


def name_of_python_object(e: Equation) -> str:
    """Of a primitive that is a Python object and no known rule, the name of its class.

    There is no jaxpr to look into. jax.numpy's own are left out: they hold no custom rules.
    """
    prim = type(e.params.get("_prim"))
    is_hi = e.primitive.name.startswith("call_hi_primitive") and kind_of_rule(e) is None
    return prim.__name__ if is_hi and ".numpy." not in f"{prim.__module__}." else ""


# -- what cannot be seen through


def hides_rules(e: Equation) -> bool:
    """Whether rules inside the equation cannot be reached."""
    return e.primitive.name in ("call_exported", "linear_call")


def derivative_depth(e: Equation) -> int:
    """How many derivatives the equation is under: JAX writes them into its name stack."""
    return str(e.source_info.name_stack).count("jvp(")


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


# -- walk


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


def is_call(e: Equation) -> bool:
    """Whether the equation does no more than to call a function.

    custom_jvp_call too: jax.nn.relu is called by one, and is JAX's function all the same.
    """
    return e.primitive.name in ("jit", "pjit", "closed_call", "custom_jvp_call")


def name_of_equation(e: Equation) -> str:
    if python_object(e) is not None:
        return name_of_rule(e) if kind_of_rule(e) else type(python_object(e)).__name__
    return str(e.params.get("name") or e.primitive.name)


def name_of_function(jaxpr: Any) -> str:
    """Of the function that the jaxpr was traced from ('?' where JAX does not say)."""
    return str(getattr(jaxpr.debug_info, "func_name", "") or "?").partition(" ")[0]


def file_of_function(jaxpr: Any) -> str:
    """Where that function is defined ('' where JAX does not say)."""
    return place_of_function(jaxpr).rpartition(":")[0]


def place_of_function(jaxpr: Any) -> str:
    """file:line of it ('' where JAX does not say)."""
    return str(getattr(jaxpr.debug_info, "func_src_info", "") or "").partition(" at ")[2]


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


# -- flow

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
    if len(inside) == 1 and len(plain(inside[0]).invars) == len(sources):
        outputs = walk(inside[0], sources)
        if len(outputs) == len(e.outvars):
            return outputs
    for jaxpr in inside:  # who knows how its inputs are made of the equation's?
        walk(jaxpr, [every] * len(plain(jaxpr).invars))
    return [every] * len(e.outvars)


def _through_cond(e: Equation, inside: list[Any], sources: list[int], walk: Walk) -> list[int]:
    outputs = [walk(branch, sources[1:]) for branch in inside]
    return list(map(_union, zip(*outputs, strict=True)))


def _through_scan(e: Equation, inside: list[Any], sources: list[int], walk: Walk) -> list[int]:
    first, end = _carry_of_scan(e)
    carry = sources[first:end]
    while True:
        outputs = walk(inside[0], sources[:first] + carry + sources[end:])
        new = [a | b for a, b in zip(carry, outputs, strict=False)]
        if new == carry:
            return carry + outputs[len(carry) :]
        carry = new


def _carry_of_scan(e: Equation) -> tuple[int, int]:
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


def computes_nothing(e: Equation) -> bool:
    """Whether each output is the input of its place."""
    return bool(e.primitive.name == "optimization_barrier")


def _straight_through(e: Equation) -> list[tuple[Any, Any]]:
    """The inputs and outputs of an equation that computes nothing."""
    return [(v, out) for v, out in zip(e.invars, e.outvars, strict=True) if not is_literal(v)]


# -- rewrite

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
        if _are_the_same(items, value):
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
    if _are_the_same(new, jaxpr.eqns):
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


def _are_the_same(new: Any, old: Any) -> bool:
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
    if not _are_alike(body.in_avals, [v.aval for v in e.invars]):
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
        known = dict(zip(inputs, values, strict=True))
        every = [v.val if is_literal(v) else known[v] for v in e.invars]
        jax.debug.callback(wiretap.tell, *wiretap.compute(*every))

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


# -- tell apart


def constants(jaxpr: Any) -> Iterator[Any]:
    """Every array that the jaxpr, or one inside it, has as a constant."""
    yield from getattr(jaxpr, "consts", ())
    for e, _ in equations(jaxpr):
        for inner in inner_jaxprs(e):
            yield from getattr(inner, "consts", ())


def numpy_constants(jaxpr: Any) -> Iterator[Any]:
    """Every NumPy array with axes that the traced function took from outside."""
    yield from (c for c in constants(jaxpr) if isinstance(c, np.ndarray))


def numpy_numbers(jaxpr: Any) -> Iterator[Any]:
    """NumPy arrays without axes: literals, of which JAX's own functions make some too."""
    literals = (v for e, _ in equations(jaxpr) for v in e.invars if is_literal(v))
    strong = (v.val for v in literals if not getattr(v.aval, "weak_type", False))
    yield from (value for value in strong if isinstance(value, np.ndarray))


def with_own_constants(value: Any, known: Known) -> Any:
    """value (a jaxpr, or a parameter of an equation) with copies of NumPy's arrays in it.

    JAX gives a NumPy array the same canonical copy as long as anything holds that copy: what is
    traced in x64 mode then meets a float32 copy of a float64 array. A jaxpr with constants of its
    own holds nothing.
    """
    if isinstance(value, tuple | list):
        items = [with_own_constants(v, known) for v in value]
        if _are_the_same(items, value):
            return value
        return type(value)(*items) if hasattr(value, "_fields") else type(value)(items)
    if not is_jaxpr(value):
        return value
    if value not in known:
        known[value] = _with_own_constants(value, known)
    return known[value]


def _with_own_constants(jaxpr: Any, known: Known) -> Any:
    inner = plain(jaxpr)
    eqns = [_reading_own_literals(e, known) for e in inner.eqns]
    outvars = [_own_literal(v) for v in inner.outvars]
    consts = [_own(c) for c in getattr(jaxpr, "consts", ())]
    same_equations = _are_the_same(eqns, inner.eqns) and _are_the_same(outvars, inner.outvars)
    if same_equations and _are_the_same(consts, getattr(jaxpr, "consts", ())):
        return jaxpr
    new = inner if same_equations else inner.replace(eqns=eqns, outvars=outvars)
    return core.ClosedJaxpr(new, consts) if hasattr(jaxpr, "consts") else new


def _reading_own_literals(e: Equation, known: Known) -> Equation:
    params = {k: with_own_constants(v, known) for k, v in e.params.items()}
    invars = [_own_literal(v) for v in e.invars]
    if all(params[k] is v for k, v in e.params.items()) and _are_the_same(invars, e.invars):
        return e
    return e.replace(params=params, invars=invars)


def _own_literal(v: Any) -> Any:
    if not is_literal(v) or _own(v.val) is v.val:
        return v
    return core.Literal(_own(v.val), v.aval)


def _own(constant: Any) -> Any:
    """A copy of a NumPy array, which keeps what JAX has noted on it."""
    return constant.copy() if isinstance(constant, np.ndarray) else constant


class Same:
    """A key that is equal to that of the same object alone; the object lives as long as its key."""

    def __init__(self, value: Any) -> None:
        self.value = value

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Same) and self.value is other.value

    def __hash__(self) -> int:
        return id(self.value)


def identity(jaxpr: Any, objects: bool = True) -> Any:
    """A key: jaxprs with equal keys compute the same when they are run.

    It holds their equations, every number in them, and every object that they call or ask: a host
    callback that holds another array is another object, and so is one that was made anew. Of a
    custom rule it holds the body, which is what runs where nothing more is differentiated.
    objects: False leaves those objects out, for comparing two traces of one function.
    """
    inner = plain(jaxpr)
    numbers: dict[Any, int] = {}

    def number_of(v: Any) -> Any:
        if is_literal(v):
            return _key_of(v.val, objects), str(v.aval)
        return numbers.setdefault(v, len(numbers)), str(v.aval)

    given = [number_of(v) for v in (*getattr(inner, "constvars", ()), *inner.invars)]
    lines = [
        (
            e.primitive,
            _key_of(_what_runs(e), objects),
            tuple(map(number_of, e.invars)),
            tuple(map(number_of, e.outvars)),
        )
        for e in inner.eqns
    ]
    returned = map(number_of, inner.outvars)
    constants_here = _key_of(tuple(getattr(jaxpr, "consts", ())), objects)
    return constants_here, tuple(given), tuple(lines), tuple(returned)


def _what_runs(e: Equation) -> Any:
    """What the parameters of an equation mean when it is run."""
    if kind_of_rule(e) is not None:
        return body_of_rule(e)
    return e.params


def _key_of(value: Any, objects: bool) -> Any:
    """Of a parameter, or a constant: what is data by its contents, anything else by itself."""
    if is_jaxpr(value):
        return identity(value, objects)
    if isinstance(value, tuple | list):
        return type(value), tuple(_key_of(v, objects) for v in value)
    if isinstance(value, dict):
        return tuple((k, _key_of(v, objects)) for k, v in value.items())
    if isinstance(value, _NUMBERS_AND_TEXT):
        return type(value), repr(value)  # 1, 1.0 and True are equal, and so are 0.0 and -0.0
    is_tracer = isinstance(value, jax.core.Tracer)  # left from another trace: it has no contents
    if isinstance(value, jax.Array | np.ndarray | np.generic) and not is_tracer:
        return _key_of_array(value)
    return _key_of_object(value) if objects else type(value)


_NUMBERS_AND_TEXT = (type(None), bool, int, float, complex, str, bytes)


def _key_of_array(array: Any) -> Any:
    is_key = jnp.issubdtype(array.dtype, jax.dtypes.extended)
    data = np.asarray(jax.random.key_data(array) if is_key else array)
    return str(array.dtype), data.shape, hashlib.sha256(data.tobytes()).digest()


def _key_of_object(value: Any) -> Any:
    """The object, as it compares itself; where it cannot be a key, it is like no other."""
    try:
        hash(value)
    except TypeError:
        return Same(value)
    return value
