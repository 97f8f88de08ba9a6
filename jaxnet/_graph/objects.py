"""Rules that are Python objects (hijax): JAX's own next forms, and the classes of a user."""

import inspect
import weakref
from types import SimpleNamespace
from typing import Any, cast

import jax
import jax.numpy as jnp

from jaxnet._graph.jaxprs import Equation, are_alike, plain

# The kinds of custom rules, as jax.custom_vjp, jax.custom_jvp and the methods of a HiPrim attach
# them, and those taken off.
VJP, JVP, HIPRIM = "vjp", "jvp", "hiprim"
REVERSE = (VJP, HIPRIM)
EVERY = (VJP, JVP, HIPRIM)

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


def is_of_jax(prim: Any) -> bool:
    return type(prim).__module__.partition(".")[0] == "jax"


def kind_of_object(prim: Any) -> str | None:
    if prim is None:
        return None
    rule = _without_vmap(prim)
    kind = RULES_OF_JAX.get(type(rule).__name__) if is_of_jax(rule) else HIPRIM
    return kind if kind and body_of_object(prim) is not None else None


def _without_vmap(prim: Any) -> Any:
    """jax 0.11.2 puts a rule under vmap into an object of its own."""
    while is_of_jax(prim) and type(prim).__name__ == "VmapOf":
        prim = prim.prim
    return prim


def defines(prim: Any, method: str) -> bool:
    """Whether the class of a HiPrim has a method of its own."""
    return getattr(type(prim), method, None) is not getattr(HiPrim, method, None)


def has_forward_mode(prim: Any) -> bool:
    """Whether it is a HiPrim that says what a tangent becomes."""
    rule = _without_vmap(prim)
    return not is_of_jax(rule) and (defines(rule, "jvp") or defines(rule, "lin"))


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
    asked = [jax.tree.unflatten(prim.out_tree, [k == used for k in range(count)])]
    if "live_ins" in inspect.signature(HiPrim.dce).parameters:  # from jax 0.12 on
        asked.append(jax.tree.unflatten(prim.in_tree, [True] * len(inputs)))
    reads, makes, other = prim.dce(*asked)
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


def arguments_of_object(prim: Any) -> list[Any]:
    """Its inputs without what a rule of JAX closes over, which comes first (from jax 0.12 on)."""
    synthetic = 0
    if is_of_jax(prim) and type(prim).__name__ in RULES_OF_JAX:
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
    if is_of_jax(prim) and already is not None and len(plain(already).invars) == len(inputs):
        return already
    if not _has_expand(prim) or prim.effects or not all(map(_is_of_arrays, (*inputs, *outputs))):
        return None
    try:
        body = jax.make_jaxpr(prim.expand)(*jax.tree.unflatten(prim.in_tree, inputs))
    except Exception:
        return None
    return body if are_alike(body.out_avals, outputs) else None


def _has_expand(prim: Any) -> bool:
    return is_of_jax(prim) or (HiPrim is not None and isinstance(prim, HiPrim))


def _is_of_arrays(aval: Any) -> bool:
    return isinstance(aval, jax.core.ShapedArray)
