"""`rule` gives a function a backward pass that was derived by hand.

The body of a rule is the mathematics and stays the reference: jax.grad(f) is the derivative by
hand, jax.grad(auto(f)) the automatic one, of the same graph (_auto.py).
"""

import functools
import inspect
from collections.abc import Callable
from typing import Any, Generic, NamedTuple, ParamSpec, TypeVar, cast

import jax
import jax.numpy as jnp

from jaxnet._require import described, require_function

P = ParamSpec("P")
R = TypeVar("R")
F = TypeVar("F", bound=Callable[..., Any])

# True while `auto` traces. A user context is part of jit's cache key: no compiled function can keep
# a rule by mistake.
rules_off = cast(Any, jax).make_user_context(False)
# True while `both_modes` traces: a rule that has a tangent by hand is a custom_jvp then.
tangents_on = cast(Any, jax).make_user_context(False)


class Halves(NamedTuple):
    """What a rule adds to its body."""

    forward: Callable[..., Any]  # (arguments of the body) -> (value, residuals)
    backward: Callable[..., Any]  # (residuals, cotangent of the value) -> cotangents


class rule(Generic[P, R]):
    """A function with a backward pass written by hand (`jax.custom_vjp`).

    Decorate the body, which is the mathematics, then its forward and its backward. Positional
    parameters are pytrees of arrays: differentiable, or integer with None for a cotangent.
    Keyword-only parameters are static, hashable options; body, forward and backward receive all of
    them by name.

    body: a function of arrays and options; what `auto` of the rule runs.
    Raises TypeError where the body is no function or takes *args or **kwargs, where a rule is
        called before both halves are attached, and where an option is an array. Under forward mode
        (jax.jvp) JAX's own TypeError gets a note that names `both_modes` and `auto`.

    >>> @jaxnet.rule
    ... def cube(x, *, scale=1.0):  # body: also what auto(cube) runs
    ...     return scale * x**3
    >>> @cube.forward
    ... def cube_forward(x, *, scale):  # -> value, residuals kept for the backward
    ...     return scale * x**3, x
    >>> @cube.backward
    ... def cube_backward(x, dy, *, scale):  # -> one cotangent per positional argument
    ...     return (3 * scale * x**2 * dy,)
    >>> print(jax.grad(cube)(2.0), jax.grad(jaxnet.auto(cube))(2.0))
    12.0 12.0
    """

    __name__: str
    __qualname__: str

    def __init__(self, body: Callable[P, R]) -> None:
        require_function("rule", "body", body, "lambda x: 2 * x")
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
        self._tangent: Callable[..., Any] | None = None

    def forward(self, f: F) -> F:
        """Attach the forward pass: decorate it.

        f: (arguments of the body) -> (value, residuals).
        Returns f.

        >>> double = jaxnet.rule(lambda x: 2 * x)
        >>> @double.forward
        ... def double_forward(x):
        ...     return double.body(x), None  # nothing is kept for the backward
        """
        self._forward = f
        return f

    def backward(self, f: F) -> F:
        """Attach the backward pass: decorate it.

        f: (residuals, cotangent of the value) -> a tuple, a cotangent per positional argument.
        Returns f.

        >>> double = jaxnet.rule(lambda x: 2 * x)
        >>> @double.backward
        ... def double_backward(residuals, dy):
        ...     return (2 * dy,)
        """
        self._backward = f
        return f

    def tangent(self, f: F) -> F:
        """Attach forward mode by hand, for `both_modes`: decorate it. No rule needs one.

        Without it `both_modes` takes the transpose of the backward, which JAX cannot derive where
        a while_loop, a callback or a kernel computes it. Reverse mode of `both_modes(f)` is then
        the transpose of this; of f itself it stays the backward.

        f: (arguments, their tangents, a tuple each) -> (value, its tangent), linear in the
            tangents; that of an integer argument is None.
        Returns f.

        >>> double = jaxnet.rule(lambda x: 2 * x)
        >>> @double.tangent
        ... def double_tangent(arguments, tangents):
        ...     return 2 * arguments[0], 2 * tangents[0]
        >>> print(jax.jvp(jaxnet.both_modes(double), (1.0,), (3.0,))[1])
        6.0
        """
        self._tangent = f
        return f

    @property
    def halves(self) -> Halves:
        """The forward and the backward that are attached; TypeError where one is missing.

        >>> y, residuals = jaxnet.relu.halves.forward(jnp.array([-1.0, 2.0]), slope_at_zero=0.0)
        >>> print(residuals)  # what relu keeps
        [0. 2.]
        """
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
        """A rule with the same body and another half; this one stays as it is.

        A backward that is put in keeps the forward, and so what it is given.

        forward, backward: functions as `rule.forward` and `rule.backward` take them; None keeps a
            half.
        Returns a rule.
        Raises TypeError on a half that is no function.

        >>> half = jaxnet.relu.but(backward=lambda y, dy, *, slope_at_zero: (dy / 2,))
        >>> print(half(3.0), jax.grad(half)(3.0), jax.grad(jaxnet.relu)(3.0))
        3.0 0.5 1.0
        """
        for half, given in (("forward", forward), ("backward", backward)):
            if given is not None and not callable(given):
                raise TypeError(
                    f"{self.__name__}.but: {half} must be a function, got {type(given).__name__}"
                )
        other = rule(self.body)
        other._forward = forward or self._forward
        other._backward = backward or self._backward
        other._tangent = self._tangent
        return other

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        arrays, options = self._bind(*args, **kwargs)
        if rules_off.value:
            return self.body(*arrays, **options)
        if tangents_on.value and self._tangent is not None:
            with_tangent = jax.custom_jvp(functools.partial(self.body, **options))
            with_tangent.defjvp(functools.partial(_tangent_of_arrays, self._tangent, **options))
            return with_tangent(*_varying_alike(arrays))
        forward, backward = self.halves
        with_rule = jax.custom_vjp(functools.partial(self.body, **options))
        with_rule.defvjp(
            functools.partial(_forward_of_arrays, forward, **options),
            functools.partial(_backward_of_arrays, backward, **options),
        )
        try:
            return with_rule(*_varying_alike(arrays))
        except TypeError as e:
            if "forward-mode" in str(e):
                e.add_note(
                    f"{self.__name__} is a reverse-mode rule: under jax.jvp and jax.jacfwd use "
                    f"jaxnet.both_modes(f), or jaxnet.auto(f)"
                )
            raise

    def _bind(self, *args: P.args, **kwargs: P.kwargs) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """The positional arguments, their leaves arrays of jax, and every option by name."""
        try:
            bound = self._signature.bind(*args, **kwargs)
        except TypeError as e:
            names = [p.replace(annotation=p.empty) for p in self._signature.parameters.values()]
            call = f"{self.__name__}{inspect.Signature(names)}"
            raise TypeError(f"{self.__name__}: {e}; call {call}") from None
        # Forward and backward need the defaults too, and custom_vjp drops keyword-only names.
        bound.apply_defaults()
        for name, option in bound.kwargs.items():
            _require_hashable(self.__name__, name, option)
        # With the rule off, a NumPy argument would be computed in NumPy's dtypes.
        arrays = map(self._as_arrays, self._signature.parameters, bound.args)
        return tuple(arrays), bound.kwargs

    def _as_arrays(self, name: str, arg: Any) -> Any:
        try:
            return jax.tree.map(_as_jax_array, arg)
        except (TypeError, ValueError) as error:
            raise TypeError(
                f"{self.__name__}: {name} must be an array of numbers, got {described(arg)}; "
                f"{name} as jnp.asarray makes it of numbers will do"
            ) from error

    def __repr__(self) -> str:
        return f"<rule {self.__module__}.{self.__qualname__}>"

    def __reduce__(self) -> str:  # copied and stored by name, as functions are
        return self.__qualname__


# JAX hands the halves a number of Python's where the user gave one, as in jax.grad(f)(1.0).


def _forward_of_arrays(forward: Callable[..., Any], /, *args: Any, **options: Any) -> Any:
    return forward(*_numbers_as_arrays(args), **options)


def _backward_of_arrays(
    backward: Callable[..., Any], residuals: Any, dy: Any, /, **options: Any
) -> Any:
    return backward(residuals, _numbers_as_arrays(dy), **options)


def _tangent_of_arrays(
    tangent: Callable[..., Any], arguments: Any, tangents: Any, /, **options: Any
) -> Any:
    tangents = _numbers_as_arrays(tangents)
    tangents = jax.tree.map(lambda t: None if t.dtype == jax.dtypes.float0 else t, tangents)
    return tangent(_numbers_as_arrays(arguments), tangents, **options)


def _numbers_as_arrays(tree: Any) -> Any:
    numbers = bool | int | float | complex
    return jax.tree.map(lambda x: jnp.asarray(x) if isinstance(x, numbers) else x, tree)


def _as_jax_array(x: Any) -> Any:
    if isinstance(x, str | bytes):  # older JAX may take it for the name of a dtype
        raise TypeError("a text is no array")
    return x if isinstance(x, jax.Array) else jnp.asarray(x)


def _require_hashable(function: str, name: str, option: Any) -> None:
    try:
        hash(option)
    except TypeError:
        raise TypeError(
            f"{function}: option {name} must be a static, hashable Python value, "
            f"got {type(option).__name__}; pass a number or a string, not an array"
        ) from None


def _varying_alike(arrays: Any) -> Any:
    """Inside shard_map: every array varying over the mesh axes that any of them varies over.

    Weights that are the same on every device have a cotangent that is summed over the devices.
    Autodiff inserts that sum where the weights first meet rows that differ; for a rule it is the
    transpose of this cast.
    """
    varying = [getattr(jax.typeof(x), "manual_axis_type", None) for x in jax.tree.leaves(arrays)]
    axes = frozenset[Any]().union(*(v.varying for v in varying if v is not None))
    if not axes:
        return arrays

    def cast_to_all(x: Any) -> Any:
        missing = tuple(axes - jax.typeof(x).manual_axis_type.varying)
        return jax.lax.pcast(x, missing, to="varying") if missing else x

    return jax.tree.map(cast_to_all, arrays)
