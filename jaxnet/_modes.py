"""`both_modes`: forward mode by the backward passes that are there.

A backward is linear in its cotangent: with the Jacobian J it computes c ↦ Jᵀ c from what the
forward kept. The transpose of that, which JAX can derive, is t ↦ J t: forward mode. It needs no
second derivation, and it is as accurate as the backward is.

In the graph each rule becomes a custom_jvp with this tangent. Reverse mode transposes the tangent
in its turn and has the backward again; what it keeps is what the rule's forward keeps, for
everything else is under jax.checkpoint.
"""

import functools
import weakref
from collections.abc import Callable, Collection, Sequence
from typing import Any, ParamSpec, TypeVar, cast

import jax
import jax.numpy as jnp
import numpy as np
from jax.custom_derivatives import SymbolicZero

from jaxnet import _graph
from jaxnet._require import require_function
from jaxnet._rule import rules_off, tangents_on

P = ParamSpec("P")
R = TypeVar("R")


def both_modes(fn: Callable[P, R]) -> Callable[P, R]:
    """fn, of which the rules serve forward mode too: jvp, linearize, jacfwd, hessian.

    JAX raises where it meets a `jax.custom_vjp` in forward mode. Here the derivative there is the
    transpose of the backward that was written by hand. That holds for the rules of this library
    and of any other, at any depth of jit, vmap, scan, while, cond and remat, and for every order
    of derivatives. Values are unchanged.

    Limits. A backward that JAX cannot transpose gives no forward mode: a while_loop, a call of the
    host or of a kernel (Pallas), what is not linear in the cotangent. There a rule of this library
    serves with a tangent by hand, `rule.tangent`. A derivative that is taken
    inside fn is fn's own: apply both_modes to what is differentiated there. So for the rule of a
    custom_jvp.

    fn: any pure, traceable function of pytrees: arrays are traced, every other leaf (numbers,
        strings, functions) stays what it is, in arguments and in results.
    Returns a function with the parameters of fn. It traces fn at each call, so jit it where speed
        matters.
    Raises TypeError where fn is no function and, at a derivative in either mode, where a backward
        cannot be transposed: it names the rule and its line. There jaxnet.auto(fn) has both modes.

    >>> loss = jaxnet.both_modes(lambda x: (jaxnet.rules.tanh(x) - 1) ** 2)
    >>> value, tangent = jax.jvp(loss, (0.5,), (1.0,))
    >>> print(jnp.allclose(tangent, jax.grad(loss)(0.5)))
    True
    """
    require_function("both_modes", "fn", fn, "a loss")

    @functools.wraps(fn, updated=())
    def in_both(*args: P.args, **kwargs: P.kwargs) -> R:
        if rules_off.value:  # by auto, which takes those of other libraries off as well
            return fn(*args, **kwargs)
        with tangents_on(True):
            call = _graph.call_of_function(fn, args, kwargs)
        return cast(R, call.run(_with_tangents(call.jaxpr)))

    return in_both


# JAX knows a jaxpr by identity: what is traced again must become the same jaxpr again.
_known: weakref.WeakKeyDictionary[Any, Any] = weakref.WeakKeyDictionary()


def _with_tangents(jaxpr: Any) -> Any:
    """The jaxpr, in which every rule has a forward mode."""

    def change(e: Any, inside_rewritten: Any, chain: _graph.Chain) -> list[Any]:
        if _graph.kind_of_rule(e) in _graph.REVERSE:
            return [_with_tangent(e)]
        return [inside_rewritten]

    return _graph.rewritten(jaxpr, change, known=_known)


def _with_tangent(e: Any) -> Any:
    """The equation of a rule as that of a custom_jvp."""
    prim = _graph.python_object(e)
    if prim is not None and _graph.has_forward_mode(prim):
        return e
    return _graph.with_tangents(e, functools.partial(_push, e))


def _push(e: Any, primals: Sequence[Any], tangents: Sequence[Any]) -> Any:
    """Outputs and their tangents; tangents of 0 are absent, as SymbolicZero."""
    primals, tangents = map(_numbers_as_arrays, (primals, tangents))
    is_moved = [type(t) is not SymbolicZero and _is_floating(t) for t in tangents]
    ruled = _graph.as_function(_graph.alone(e))

    def forward(*primals: Any) -> Any:
        moved, of_moved = _of_some(ruled, is_moved, primals)
        # The leaves of the pullback are what it keeps.
        return jax.vjp(of_moved, *moved)

    with tangents_on(True):
        jaxpr, (outputs, pullback) = jax.make_jaxpr(forward, return_shape=True)(*primals)
    results = _numbers_as_arrays(_graph.as_function(_with_tangents(jaxpr))(*primals))
    outputs, residuals = results[: len(outputs)], results[len(outputs) :]
    moved = [t for t, is_one in zip(tangents, is_moved, strict=True) if is_one]
    pushed = _pushed(e, jax.tree.structure(pullback), outputs, residuals, moved)
    none = list(map(_no_tangent, outputs))
    return outputs, _merged(list(map(_is_floating, outputs)), pushed, none)


def _pushed(
    e: Any, structure: Any, outputs: Sequence[Any], residuals: Sequence[Any], moved: Sequence[Any]
) -> list[Any]:
    """A tangent for each floating output."""
    is_floating = list(map(_is_floating, outputs))
    shape_of = cast(Any, jax).ShapeDtypeStruct
    floating = [shape_of(y.shape, y.dtype) for y in outputs if _is_floating(y)]
    none = list(map(_no_tangent, outputs))

    def pull(residuals: Sequence[Any], c: Sequence[Any]) -> list[Any]:
        return list(jax.tree.unflatten(structure, residuals)(_merged(is_floating, c, none)))

    def push(residuals: Sequence[Any], moved: Sequence[Any]) -> Any:
        try:
            with tangents_on(True):
                pulled = jax.make_jaxpr(pull)(residuals, floating)
            ready = _ready(pulled, len(residuals))
            (pushed,) = jax.linear_transpose(lambda c: ready(*residuals, *c), floating)(moved)
        except Exception as error:
            raise _no_forward_mode(e, error) from error
        return pushed

    return cast(list[Any], jax.checkpoint(push)(residuals, moved))


def _ready(pull: Any, residuals: int) -> Callable[..., list[Any]]:
    """The pullback as a function that JAX can transpose in what comes after the residuals."""
    is_linear = [k >= residuals for k in range(len(pull.in_avals))]
    cotangents = pull.in_avals[residuals:]
    if any(c.size for c in cotangents) and _graph.ignores(pull, is_linear):
        raise TypeError("what it returns is computed without its cotangent")

    def of_rule(e: Any, linear: Collection[Any]) -> Any:
        if _graph.kind_of_rule(e) == _graph.JVP:
            return e
        if not linear:
            return _with_tangent(e)
        return _linear_rule(e, [v in linear for v in _graph.inputs_of(e)])

    return _graph.as_function(_graph.transposable(pull, is_linear, of_rule))


# -- a rule that a backward calls


def _linear_rule(e: Any, is_linear: Sequence[bool]) -> Any:
    """A rule that is linear there: its derivative at 0 is the rule itself, and has a transpose."""
    _require_linear(e, is_linear)
    ruled = _graph.as_function(_graph.alone(_with_tangent(e)))

    def pushed(*inputs: Any) -> Any:
        moved, of_moved = _of_some(ruled, is_linear, inputs)
        return jax.jvp(of_moved, list(map(jnp.zeros_like, moved)), moved)[1]

    return _graph.call_of(e, pushed)


def _require_linear(e: Any, is_linear: Sequence[bool]) -> None:
    """By its body: JAX transposes what is linear, and raises otherwise."""
    body = _graph.without_rules(_graph.alone(e), _graph.EVERY)
    if not all(_graph.outputs_that_depend(body, list(is_linear))):
        raise TypeError(f"{_graph.name_of_rule(e)} returns more than what is linear")
    function = _graph.as_function(body)

    def transposed(inputs: Sequence[Any], c: Sequence[Any]) -> Any:
        moved, of_moved = _of_some(function, is_linear, inputs)
        return jax.linear_transpose(of_moved, *moved)(c)

    jax.eval_shape(transposed, body.in_avals, body.out_avals)


# -- helpers


def _of_some(
    f: Callable[..., Any], is_given: Sequence[bool], args: Sequence[Any]
) -> tuple[list[Any], Callable[..., Any]]:
    """These arguments, and f as a function of them alone."""
    given = [x for x, is_one in zip(args, is_given, strict=True) if is_one]
    return given, lambda *given: f(*_merged(is_given, given, args))


def _merged(is_given: Sequence[bool], given: Sequence[Any], otherwise: Sequence[Any]) -> list[Any]:
    each = iter(given)
    return [next(each) if is_one else x for is_one, x in zip(is_given, otherwise, strict=True)]


def _numbers_as_arrays(values: Sequence[Any]) -> list[Any]:
    """JAX hands on numbers of Python's where a rule is a Python object or an output constant."""
    numbers = int | float | complex
    return [
        jnp.asarray(x, getattr(x, "dtype", None)) if isinstance(x, numbers) else x for x in values
    ]


def _is_floating(x: Any) -> bool:
    return bool(jnp.issubdtype(x.dtype, jnp.inexact))


def _no_tangent(x: Any) -> Any:
    """Of an integer, or of a key."""
    return np.zeros(x.shape, jax.dtypes.float0)


def _no_forward_mode(e: Any, error: Exception) -> Exception:
    place = _graph.place_of_function(_graph.body_of_rule(e))
    at = f" ({place})" if place else ""
    said = "" if isinstance(error, AssertionError) else str(error)  # it shows JAX's own objects
    why = said.strip().partition("\n")[0].rstrip(".") or type(error).__name__
    return TypeError(
        f"both_modes: the backward of {_graph.name_of_rule(e)}{at} gives no forward mode, for JAX "
        f"cannot transpose it: {why}. It must be linear in its cotangent, without a while_loop, a "
        f"callback or a kernel. Else a tangent by hand (jaxnet.rule.tangent) serves, or "
        f"jaxnet.auto(fn) has both modes"
    )
