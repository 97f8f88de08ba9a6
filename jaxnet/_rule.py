"""`rule` gives a function a hand-derived backward pass; `auto` gives back the same function without it.

The body of a rule is the mathematics and stays the reference: jax.grad(f) is the derivative by hand,
jax.grad(auto(f)) the automatic one, of the same graph. All contact with JAX's custom derivatives is in this file.
"""

import functools
import inspect
import warnings
import weakref
from collections.abc import Callable, Hashable, Iterator
from typing import Any, Generic, ParamSpec, TypeVar, cast

import jax
import numpy as np
from jax.extend import core
from jax.extend.core.primitives import closed_call_p, custom_jvp_call_p, custom_vjp_call_p

P = ParamSpec("P")
R = TypeVar("R")
F = TypeVar("F", bound=Callable[..., Any])

# True while `auto` traces. A user context is part of jit's cache key: no compiled function can keep a rule by mistake.
_rules_off = cast(Any, jax).make_user_context(False)


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
                raise TypeError(f"rule: the body of {self.__name__} takes {p}; name every parameter instead")
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

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        bound = self._signature.bind(*args, **kwargs)
        bound.apply_defaults()  # a default must reach forward and backward too, and custom_vjp drops keyword-only names
        if _rules_off.value:
            return self.body(*bound.args, **bound.kwargs)
        forward, backward = self._forward, self._backward
        if forward is None or backward is None:
            half = "forward" if forward is None else "backward"
            raise TypeError(f"rule {self.__name__} has no {half}: decorate one with @{self.__name__}.{half}")
        for name, option in bound.kwargs.items():
            if not isinstance(option, Hashable):
                raise TypeError(
                    f"{self.__name__}: option {name} must be a static, hashable Python value, "
                    f"got {type(option).__name__}; pass a number or a string, not an array"
                )
        with_rule = jax.custom_vjp(functools.partial(self.body, **bound.kwargs))
        with_rule.defvjp(functools.partial(forward, **bound.kwargs), functools.partial(backward, **bound.kwargs))
        try:
            return with_rule(*bound.args)
        except TypeError as e:
            if "forward-mode" in str(e):
                e.add_note(f"{self.__name__} is a reverse-mode rule: under jax.jvp and jax.jacfwd use jaxnet.auto(f)")
            raise

    def __repr__(self) -> str:
        return f"<rule {self.__module__}.{self.__qualname__}>"

    def __reduce__(self) -> str:  # copied and stored by name, as functions are
        return self.__qualname__


def auto(fn: Callable[P, R], *, jvp: bool = False) -> Callable[P, R]:
    """fn with every custom backward rule in its graph taken off, so that JAX differentiates what the bodies compute.

    Takes off the rules of this library and of any other (`jax.custom_vjp`), at any depth of jit, vmap, scan, while,
    cond, remat and shard_map; with jvp=True also `jax.custom_jvp` rules (those of jax.nn, say). Values are unchanged,
    and so is a function without rules. The result may be jitted, vmapped and differentiated in both modes.

    fn is any pure, traceable function of pytrees: arrays are traced, every other leaf (numbers, strings, functions)
    stays what it is, in arguments and in results. fn is traced at each call, so jit the result where speed matters.

    Limits. Rules of other libraries stay on under a derivative taken inside fn, inside the rule of a custom_vmap and
    inside an exported function: a UserWarning says so where fn has one. Rules called by the rule of a custom_jvp stay
    on unless jvp=True. State that fn changes on the side (batch statistics of an object, say) is not carried out.

    Raises RuntimeError where this JAX keeps its rules in a form that could not be taken off: a reference that is
    silently the rule itself would make every comparison agree.
    """
    rules = (custom_vjp_call_p, custom_jvp_call_p) if jvp else (custom_vjp_call_p,)

    @functools.wraps(fn, updated=())
    def without_rules(*args: P.args, **kwargs: P.kwargs) -> R:
        _require_known_rules(jvp)
        leaves, tree = jax.tree.flatten((args, kwargs))
        arrays, rebuild = _split(leaves)
        rebuild_out = out_tree = cast(Any, None)

        def of_arrays(*arrays: Any) -> list[Any]:
            nonlocal rebuild_out, out_tree
            a, k = jax.tree.unflatten(tree, rebuild(arrays))
            out_leaves, out_tree = jax.tree.flatten(cast(Callable[..., Any], fn)(*a, **k))
            out_arrays, rebuild_out = _split(out_leaves)
            return out_arrays

        with _rules_off(True):
            traced = jax.make_jaxpr(of_arrays)(*arrays)
        for limit in sorted(set(_limits(traced))):
            warnings.warn(f"auto({getattr(fn, '__name__', fn)}): {limit}", stacklevel=2)
        out_arrays = core.jaxpr_as_fun(_strip(traced, rules))(*arrays)
        return cast(R, jax.tree.unflatten(out_tree, rebuild_out(out_arrays)))

    return without_rules


def _split(leaves: list[Any]) -> tuple[list[Any], Callable[[Any], list[Any]]]:
    """The arrays among the leaves, and the function that puts others in their places."""
    at = [i for i, leaf in enumerate(leaves) if _is_array(leaf)]

    def rebuild(arrays: Any) -> list[Any]:
        new = list(leaves)
        for i, array in zip(at, arrays, strict=True):
            new[i] = array
        return new

    return [leaves[i] for i in at], rebuild


def _is_array(leaf: Any) -> bool:
    return isinstance(leaf, jax.Array) or (isinstance(leaf, np.ndarray | np.generic) and leaf.dtype.kind not in "OSUMm")


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
    if getattr(value, "jaxpr", value) is not value:  # jax < 0.12: a ClosedJaxpr is a Jaxpr beside its constants
        jaxpr = _strip(value.jaxpr, rules)
        return value if jaxpr is value.jaxpr else core.ClosedJaxpr(jaxpr, value.consts)
    eqns = [_strip_equation(e, rules) for e in value.eqns]
    return value if all(a is b for a, b in zip(eqns, value.eqns, strict=True)) else value.replace(eqns=eqns)


def _strip_equation(e: Any, rules: tuple[Any, ...]) -> Any:
    if e.primitive in rules:
        return e.replace(primitive=closed_call_p, params={"call_jaxpr": _strip(e.params["call_jaxpr"], rules)})
    params = {k: _strip(v, rules) for k, v in e.params.items()}
    return e if all(params[k] is v for k, v in e.params.items()) else e.replace(params=params)


def _limits(jaxpr: Any) -> Iterator[str]:
    """What `auto` cannot see through in this jaxpr, in words."""
    for e in jaxpr.eqns:
        if "jvp(" in str(e.source_info.name_stack):
            yield (
                "the function differentiates inside itself; rules of jaxnet are off there too, but rules of other "
                "libraries under that derivative stay on: apply auto to what is differentiated"
            )
        if e.primitive.name in ("custom_vmap_call", "call_exported"):
            yield f"rules inside {e.primitive.name} cannot be taken off: apply auto to the function it is made from"
        for inner in core.jaxprs_in_params(e.params):
            yield from _limits(inner)
