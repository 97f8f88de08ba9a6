"""`auto` takes the custom rules off a function: what is left is the reference.

jax.grad(f) is the derivative by hand, jax.grad(auto(f)) the automatic one, of the same graph. How
JAX writes a rule into a graph stands in _graph/; here is what is taken off, and what cannot be.
"""

import functools
import warnings
import weakref
from collections.abc import Callable, Iterator
from typing import Any, ParamSpec, TypeVar, cast

import jax

from jaxnet import _graph
from jaxnet._require import require_function
from jaxnet._rule import rules_off

P = ParamSpec("P")
R = TypeVar("R")


def auto(fn: Callable[P, R], *, jvp: bool = False) -> Callable[P, R]:
    """fn without the custom backward rules in its graph: JAX differentiates their bodies.

    Takes off the rules of this library and of any other (`jax.custom_vjp`), at any depth of jit,
    vmap, scan, while, cond, remat and shard_map; with jvp=True also `jax.custom_jvp` rules (those
    of jax.nn, say). A HiPrim (`jax.experimental.hijax`, of jax 0.11.2 or later) becomes its expand,
    a `custom_vmap` its body. Values are unchanged, and so is a function without rules. The result
    may be jitted, vmapped and differentiated in both modes.

    Limits. Rules of other libraries stay on under a derivative taken inside fn. Any rule stays on
    inside the rule of a custom_jvp (unless jvp=True), and inside a linear_call, an exported
    function or a primitive of JAX that is a Python object (custom_root in newer jax, say); so does
    a HiPrim that acts on other than arrays or has effects. A UserWarning says so where fn has one
    of these; only a derivative that is a constant leaves no trace to warn of.
    State that fn changes on the side (batch statistics of an object, say) is not carried out.

    fn: any pure, traceable function of pytrees: arrays are traced, every other leaf (numbers,
        strings, functions) stays what it is, in arguments and in results.
    jvp: whether `jax.custom_jvp` rules are taken off too.
    Returns a function with the parameters of fn. It traces fn at each call, so jit it where speed
        matters.
    Raises TypeError where fn is no function; RuntimeError where this JAX keeps its rules in a form
        that could not be taken off: a reference that is silently the rule itself would make every
        comparison agree.

    >>> loss = lambda x: (jaxnet.rules.tanh(x) - 1) ** 2
    >>> hand, autodiff = jax.grad(loss)(0.5), jax.grad(jaxnet.auto(loss))(0.5)
    >>> print(jnp.allclose(hand, autodiff))
    True
    >>> print(*jax.jvp(jaxnet.auto(jaxnet.relu), (2.0,), (1.0,)))  # of relu itself jvp raises
    2.0 1.0
    """
    require_function("auto", "fn", fn, "a loss")
    kinds = kinds_of(jvp)

    @functools.wraps(fn, updated=())
    def reference(*args: P.args, **kwargs: P.kwargs) -> R:
        _require_known_form(kinds)
        with rules_off(True):
            call = _graph.call_of_function(fn, args, kwargs)
        for limit in sorted(_known_limits(call.jaxpr, kinds)):
            warnings.warn(f"auto({getattr(fn, '__name__', fn)}): {limit}", stacklevel=2)
        return cast(R, call.run(_graph.without_rules(call.jaxpr, kinds)))

    return reference


def kinds_of(jvp: bool) -> tuple[str, ...]:
    """Of the rules that auto(f, jvp=jvp) takes off."""
    return _graph.EVERY if jvp else _graph.REVERSE


def _require_known_form(kinds: tuple[str, ...]) -> None:
    """The canary: a rule that JAX keeps elsewhere would stay on, and nothing would tell."""
    unknown = _graph.unknown_form(kinds)
    if unknown:
        raise RuntimeError(
            f"auto cannot take rules off under jax {jax.__version__} as configured: "
            f"it records a custom rule as {unknown.found}, not as {unknown.expected}. "
            f"Use a version of jax that jaxnet is tested with"
        )


# -- limits


def limits(jaxpr: Any, *, jvp: bool) -> set[str]:
    """What `auto` cannot see through in this jaxpr, in words."""
    return _known_limits(jaxpr, kinds_of(jvp))


_limits: weakref.WeakKeyDictionary[Any, dict[tuple[str, ...], set[str]]] = (
    weakref.WeakKeyDictionary()
)


def _known_limits(jaxpr: Any, kinds: tuple[str, ...]) -> set[str]:
    """Remembered as long as the jaxpr: the trace of a jitted function is met again."""
    known = _limits.setdefault(jaxpr, {})
    if kinds not in known:
        known[kinds] = set(_find_limits(jaxpr, kinds))
    return known[kinds]


def _find_limits(jaxpr: Any, kinds: tuple[str, ...]) -> Iterator[str]:
    for e in jaxpr.eqns:
        yield from _limits_of(e, kinds)
        for inner in _graph.inner_jaxprs(e):
            yield from _known_limits(inner, kinds)


def _limits_of(e: Any, kinds: tuple[str, ...]) -> Iterator[str]:
    """Of one equation, not of those inside it."""
    if _graph.derivative_depth(e):
        yield (
            "the function differentiates inside itself; rules of jaxnet are off there too, but "
            "rules of other libraries under that derivative stay on: apply auto to what is "
            "differentiated"
        )
    hiding = e.primitive.name if _graph.hides_rules(e) else _graph.name_of_python_object(e)
    if hiding:
        yield (
            f"rules inside {hiding} cannot be taken off: apply auto to the function it is made from"
        )
    kept_jvp = _graph.kind_of_rule(e) == _graph.JVP and _graph.JVP not in kinds
    if kept_jvp and _graph.calls_rules_when_differentiated(e):
        yield (
            "the rule of a custom_jvp in it calls other rules or differentiates; rules there stay "
            "on: use jvp=True, or apply auto inside that rule"
        )
