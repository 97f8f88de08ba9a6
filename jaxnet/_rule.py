"""`rule` gives a function a hand-derived backward pass; `auto` gives back the same function without it.

The body of a rule is the mathematics and stays the reference: jax.grad(f) is the derivative by hand,
jax.grad(auto(f)) the automatic one, of the same graph. All contact with JAX's custom derivatives is in this file.
"""

import functools
import inspect
import warnings
import weakref
from collections.abc import Callable, Iterator
from typing import Any, Generic, NamedTuple, ParamSpec, TypeVar, cast

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend import core as jax_core
from jax.extend.core.primitives import closed_call_p, custom_jvp_call_p, custom_vjp_call_p

core = cast(Any, jax_core)  # its stubs and its contents differ between the versions of jax

P = ParamSpec("P")
R = TypeVar("R")
F = TypeVar("F", bound=Callable[..., Any])

# True while `auto` traces. A user context is part of jit's cache key: no compiled function can keep a rule by mistake.
_rules_off = cast(Any, jax).make_user_context(False)


class Halves(NamedTuple):
    """What a rule adds to its body."""

    forward: Callable[..., Any]  # (arguments of the body) -> (value, residuals)
    backward: Callable[
        ..., Any
    ]  # (residuals, cotangent of the value) -> one cotangent per positional argument


class rule(Generic[P, R]):
    """A function with a backward pass written by hand (`jax.custom_vjp`).

    Decorate the body, which is the mathematics, then its forward and its backward:

        @rule
        def cube(x, *, scale=1.0):                      # body: also what auto(cube) runs
            return scale * x**3

        @cube.forward
        def cube_forward(x, *, scale):                  # -> value, residuals kept for the backward
            return scale * x**3, x

        @cube.backward
        def cube_backward(x, dy, *, scale):             # -> one cotangent per positional argument
            return (3 * scale * x**2 * dy,)

    Positional parameters are pytrees of arrays: differentiable, or integer with None for a cotangent. Keyword-only
    parameters are static, hashable options; body, forward and backward receive all of them by name.

    Raises TypeError where the body takes *args or **kwargs, where a rule is called before both halves are attached,
    and where an option is an array. Under forward mode (jax.jvp) JAX's own TypeError gets a note that names `auto`.
    """

    __name__: str
    __qualname__: str

    def __init__(self, body: Callable[P, R]) -> None:
        functools.update_wrapper(self, body)
        self.body = body
        self._signature = inspect.signature(body)
        for p in self._signature.parameters.values():
            if p.kind in (p.VAR_POSITIONAL, p.VAR_KEYWORD):
                raise TypeError(
                    f"rule: the body of {self.__name__} takes {p}; name every parameter instead"
                )
        self._forward: Callable[..., Any] | None = None
        self._backward: Callable[..., Any] | None = None

    def forward(self, f: F) -> F:
        """Attach f: (arguments of the body) -> (value, residuals). Returns f."""
        self._forward = f
        return f

    def backward(self, f: F) -> F:
        """Attach f: (residuals, cotangent of the value) -> tuple of cotangents, one per positional argument."""
        self._backward = f
        return f

    @property
    def halves(self) -> Halves:
        """The forward and the backward that are attached; TypeError where one is missing."""
        for half, attached in (("forward", self._forward), ("backward", self._backward)):
            if attached is None:
                raise TypeError(
                    f"rule {self.__name__} has no {half}: decorate one with @{self.__name__}.{half}"
                )
        return Halves(cast(Any, self._forward), cast(Any, self._backward))

    def but(
        self,
        *,
        forward: Callable[..., Any] | None = None,
        backward: Callable[..., Any] | None = None,
    ) -> "rule[P, R]":
        """A rule with the same body and another half, to see what a change does; this one stays as it is.

        linear.but(backward=lambda residuals, dy: ...) keeps the forward of linear and its residuals.
        """
        other = rule(self.body)
        other._forward = forward or self._forward
        other._backward = backward or self._backward
        return other

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        try:
            bound = self._signature.bind(*args, **kwargs)
        except TypeError as e:
            names = [p.replace(annotation=p.empty) for p in self._signature.parameters.values()]
            call = f"{self.__name__}{inspect.Signature(names)}"
            raise TypeError(f"{self.__name__}: {e}; call {call}") from None
        bound.apply_defaults()  # a default must reach forward and backward too, and custom_vjp drops keyword-only names
        for name, option in bound.kwargs.items():
            try:
                hash(option)
            except TypeError:
                raise TypeError(
                    f"{self.__name__}: option {name} must be a static, hashable Python value, "
                    f"got {type(option).__name__}; pass a number or a string, not an array"
                ) from None
        # jax arrays always, so that a NumPy argument is not computed in NumPy's dtypes with the rule off
        arrays = jax.tree.map(
            lambda x: x if isinstance(x, jax.Array) else jnp.asarray(x), bound.args
        )
        if _rules_off.value:
            return self.body(*arrays, **bound.kwargs)
        arrays = _varying_alike(arrays)
        forward, backward = self.halves
        with_rule = jax.custom_vjp(functools.partial(self.body, **bound.kwargs))
        with_rule.defvjp(
            functools.partial(forward, **bound.kwargs), functools.partial(backward, **bound.kwargs)
        )
        try:
            return with_rule(*arrays)
        except TypeError as e:
            if "forward-mode" in str(e):
                e.add_note(
                    f"{self.__name__} is a reverse-mode rule: under jax.jvp and jax.jacfwd use jaxnet.auto(f)"
                )
            raise

    def __repr__(self) -> str:
        return f"<rule {self.__module__}.{self.__qualname__}>"

    def __reduce__(self) -> str:  # copied and stored by name, as functions are
        return self.__qualname__


def _varying_alike(arrays: Any) -> Any:
    """Inside shard_map: every array varying over the mesh axes that any of them varies over.

    Weights that are the same on every device have a cotangent that is summed over the devices. Autodiff inserts that
    sum where the weights first meet rows that differ; for a rule it is the transpose of this cast.
    """
    varying = [getattr(jax.typeof(x), "manual_axis_type", None) for x in jax.tree.leaves(arrays)]
    axes = frozenset[Any]().union(*(v.varying for v in varying if v is not None))
    if not axes:
        return arrays

    def cast_to_all(x: Any) -> Any:
        missing = tuple(axes - jax.typeof(x).manual_axis_type.varying)
        return jax.lax.pcast(x, missing, to="varying") if missing else x

    return jax.tree.map(cast_to_all, arrays)


def auto(fn: Callable[P, R], *, jvp: bool = False) -> Callable[P, R]:
    """fn with every custom backward rule in its graph taken off, so that JAX differentiates what the bodies compute.

    Takes off the rules of this library and of any other (`jax.custom_vjp`), at any depth of jit, vmap, scan, while,
    cond, remat and shard_map; with jvp=True also `jax.custom_jvp` rules (those of jax.nn, say). Values are unchanged,
    and so is a function without rules. The result may be jitted, vmapped and differentiated in both modes.

    fn is any pure, traceable function of pytrees: arrays are traced, every other leaf (numbers, strings, functions)
    stays what it is, in arguments and in results. fn is traced at each call, so jit the result where speed matters.

    Limits. Rules of other libraries stay on under a derivative taken inside fn. Any rule stays on inside the rule of a
    custom_vmap or (unless jvp=True) of a custom_jvp, and inside a linear_call, an exported function or a primitive that
    is a Python object (custom_root in newer jax, say). A UserWarning says so where fn has one of these; only a
    derivative that is a constant leaves no trace to warn of.
    State that fn changes on the side (batch statistics of an object, say) is not carried out.

    Raises RuntimeError where this JAX keeps its rules in a form that could not be taken off: a reference that is
    silently the rule itself would make every comparison agree.
    """
    rules = (custom_vjp_call_p, custom_jvp_call_p) if jvp else (custom_vjp_call_p,)

    @functools.wraps(fn, updated=())
    def without_rules(*args: P.args, **kwargs: P.kwargs) -> R:
        _require_known_rules(jvp)
        leaves, tree = jax.tree.flatten((args, kwargs))
        arrays, rebuild = _split(leaves, (jax.Array, np.ndarray, np.generic))
        rebuild_out = out_tree = cast(Any, None)

        def of_arrays(*arrays: Any) -> list[Any]:
            nonlocal rebuild_out, out_tree
            a, k = jax.tree.unflatten(tree, rebuild(arrays))
            out_leaves, out_tree = jax.tree.flatten(cast(Callable[..., Any], fn)(*a, **k))
            out_arrays, rebuild_out = _split(
                out_leaves, jax.Array
            )  # NumPy's depend on no argument: they stay as is
            return out_arrays

        with _rules_off(True):
            traced = jax.make_jaxpr(of_arrays)(*arrays)
        for limit in sorted(_limits(traced, rules)):
            warnings.warn(f"auto({getattr(fn, '__name__', fn)}): {limit}", stacklevel=2)
        out_arrays = core.jaxpr_as_fun(_strip(traced, rules))(*arrays)
        return cast(R, jax.tree.unflatten(out_tree, rebuild_out(out_arrays)))

    return without_rules


def _split(leaves: list[Any], types: Any) -> tuple[list[Any], Callable[[Any], list[Any]]]:
    """The arrays (of these types) among the leaves, and the function that puts others in their places."""
    at = [
        i for i, leaf in enumerate(leaves) if isinstance(leaf, types) and core.valid_jaxtype(leaf)
    ]
    static = list(leaves)
    for i in at:
        static[i] = None  # no tracer is held after the trace

    def rebuild(arrays: Any) -> list[Any]:
        new = list(static)
        for i, array in zip(at, arrays, strict=True):
            new[i] = array
        return new

    return [leaves[i] for i in at], rebuild


def _require_known_rules(jvp: bool) -> None:
    """The canary: probe how this JAX, as configured now, records a custom rule in a jaxpr."""
    by_vjp = jax.custom_vjp(lambda x: x)
    by_vjp.defvjp(lambda x: (x, None), lambda _, dy: (2 * dy,))
    by_jvp = jax.custom_jvp(lambda x: x)
    by_jvp.defjvp(lambda x, dx: (x[0], 2 * dx[0]))
    known = [(by_vjp, custom_vjp_call_p)] + [(by_jvp, custom_jvp_call_p)] * jvp
    for probe, primitive in known:
        found = jax.make_jaxpr(probe)(np.float32(1)).eqns[0].primitive
        if found is not primitive:
            raise RuntimeError(
                f"auto cannot take rules off under jax {jax.__version__} as configured: it records a custom rule as "
                f"{found}, not as {primitive}. Unset jax_custom_vjp3 or use a version of jax that jaxnet is tested with"
            )


# A jaxpr (known to JAX's caches by identity, as the trace of a jitted function) -> the same without rules, by rules:
# a jitted function inside fn compiles once, not at each call of auto(fn).
_stripped: weakref.WeakKeyDictionary[Any, dict[tuple[Any, ...], Any]] = weakref.WeakKeyDictionary()


def without_rules(jaxpr: Any, *, jvp: bool) -> Any:
    """A jaxpr that computes the same, without the rules that `auto` takes off."""
    return _strip(jaxpr, (custom_vjp_call_p, custom_jvp_call_p) if jvp else (custom_vjp_call_p,))


def _strip(value: Any, rules: tuple[Any, ...]) -> Any:
    """value (a jaxpr, or an equation's parameter, however nested), each rule's equation made a call of its body.

    What holds no rule is returned as the same object.
    """
    if isinstance(value, core.ClosedJaxpr | core.Jaxpr):
        known = _stripped.get(value, {})
        new = known[rules] if rules in known else _strip_jaxpr(value, rules)
        if new is not value:
            _stripped.setdefault(value, {})[rules] = new
        return new
    if isinstance(value, tuple | list):
        items = [_strip(v, rules) for v in value]
        if all(a is b for a, b in zip(items, value, strict=True)):
            return value
        return type(value)(*items) if hasattr(value, "_fields") else type(value)(items)
    return value


def _strip_jaxpr(value: Any, rules: tuple[Any, ...]) -> Any:
    if (
        getattr(value, "jaxpr", value) is not value
    ):  # jax < 0.12: a ClosedJaxpr is a Jaxpr beside its constants
        jaxpr = _strip(value.jaxpr, rules)
        return value if jaxpr is value.jaxpr else core.ClosedJaxpr(jaxpr, value.consts)
    eqns = [_strip_equation(e, rules) for e in value.eqns]
    return (
        value
        if all(a is b for a, b in zip(eqns, value.eqns, strict=True))
        else value.replace(eqns=eqns)
    )


def _strip_equation(e: Any, rules: tuple[Any, ...]) -> Any:
    if e.primitive in rules:
        return e.replace(
            primitive=closed_call_p, params={"call_jaxpr": _strip(e.params["call_jaxpr"], rules)}
        )
    params = {k: _strip(v, rules) for k, v in e.params.items()}
    return e if all(params[k] is v for k, v in e.params.items()) else e.replace(params=params)


def limits(jaxpr: Any, *, jvp: bool) -> set[str]:
    """What `auto` cannot see through in this jaxpr, in words."""
    return _limits(jaxpr, (custom_vjp_call_p, custom_jvp_call_p) if jvp else (custom_vjp_call_p,))


_known_limits: weakref.WeakKeyDictionary[Any, dict[tuple[Any, ...], set[str]]] = (
    weakref.WeakKeyDictionary()
)


def _limits(jaxpr: Any, rules: tuple[Any, ...]) -> set[str]:
    """What `auto` cannot see through in this jaxpr, in words; remembered as `_stripped` is."""
    known = _known_limits.setdefault(jaxpr, {})
    if rules not in known:
        known[rules] = set(_find_limits(jaxpr, rules))
    return known[rules]


def _find_limits(jaxpr: Any, rules: tuple[Any, ...]) -> Iterator[str]:
    for e in jaxpr.eqns:
        name, hi = (
            e.primitive.name,
            type(e.params.get("_prim")),
        )  # hijax: a Python object in place of a jaxpr
        if hi.__name__ == "CustomVJPTraced":
            raise RuntimeError(
                f"auto cannot take off a rule that jax {jax.__version__} records as {hi.__name__} (defined with "
                f"generic_batching or under jax_custom_vjp3): differentiate the function that it is attached to"
            )
        if _depth(e):
            yield (
                "the function differentiates inside itself; rules of jaxnet are off there too, but rules of other "
                "libraries under that derivative stay on: apply auto to what is differentiated"
            )
        if name in ("custom_vmap_call", "call_exported", "linear_call"):
            yield f"rules inside {name} cannot be taken off: apply auto to the function it is made from"
        if name.startswith("call_hi_primitive") and ".numpy." not in f"{hi.__module__}.":
            yield f"rules inside {hi.__name__} cannot be taken off: apply auto to the function it is made from"
        if e.primitive is custom_jvp_call_p and e.primitive not in rules and _calls_rules(e):
            yield (
                "the rule of a custom_jvp in it calls other rules or differentiates; rules there stay on: "
                "use jvp=True, or apply auto inside that rule"
            )
        for inner in core.jaxprs_in_params(e.params):
            yield from _limits(inner, rules)


def _calls_rules(e: Any) -> bool:
    """Whether the rule of this custom_jvp equation itself calls a custom_vjp or takes a derivative."""
    inputs = list(dict.fromkeys(v for v in e.invars if not isinstance(v, core.Literal)))
    outputs = [v for v in e.outvars if not isinstance(v, core.DropVar)]
    debug = core.DebugInfo("auto", "custom_jvp", None, None)
    alone = core.jaxpr_as_fun(
        core.ClosedJaxpr(core.Jaxpr([], inputs, outputs, [e], debug_info=debug), [])
    )
    try:
        linearized = jax.make_jaxpr(lambda *x: jax.vjp(alone, *x)[0])(*[v.aval for v in inputs])
    except Exception:  # what cannot be differentiated does not differentiate by a rule
        return False
    depth = _depth(e) + 1
    return any(
        e.primitive is custom_vjp_call_p or _depth(e) > depth for e in _all_equations(linearized)
    )


def _depth(e: Any) -> int:
    """How many derivatives this equation is under: JAX writes them into its name stack."""
    return str(e.source_info.name_stack).count("jvp(")


def _all_equations(jaxpr: Any) -> Iterator[Any]:
    for e in jaxpr.eqns:
        yield e
        for inner in core.jaxprs_in_params(e.params):
            yield from _all_equations(inner)
