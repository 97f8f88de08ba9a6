"""Compiled programs, known by what they compute: other objects that compute the same share one.

Functions that are the same objects as before are not traced again, as with `jax.jit`. Any others
are traced, which takes some ten milliseconds, and compiled only where their graph is new.

No trace is kept: as long as one lives, JAX reads a NumPy array that it holds as it was then.
"""

import functools
import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, cast

import jax

from jaxnet import _graph

REMEMBERED = 64  # the last; a whole run takes some 5 MB, and what it closes over


@dataclass(frozen=True)
class _Kinds:
    """A tree of arrays without their values, as they are traced in JAX's present mode."""

    structure: Any
    jaxpr: Any  # which takes them; JAX has one for each mode

    @property
    def args(self) -> Any:
        return jax.tree.unflatten(self.structure, [v.aval for v in _graph.plain(self.jaxpr).invars])


_shape = cast(Any, jax.ShapeDtypeStruct)  # not annotated
_nothing = cast(Any, jax.jit(lambda *args: None))


def _kinds_of(args: tuple[Any, ...]) -> _Kinds:
    return _Kinds(jax.tree.structure(args), _nothing.trace(*args).jaxpr)


def shapes(f: Callable[..., Any], options: tuple[Any, ...], *args: Any) -> Any:
    """The shapes and dtypes of f(*options, *args); args are arrays, or shapes themselves."""
    return _shapes(f, options, _kinds_of(args))


@functools.lru_cache(maxsize=REMEMBERED)
def _shapes(f: Callable[..., Any], options: tuple[Any, ...], kinds: _Kinds) -> Any:
    # Without their places on a mesh with explicit axes, which are no business of shapes.
    args = jax.tree.map(lambda a: _shape(a.shape, a.dtype), kinds.args)
    return jax.eval_shape(functools.partial(f, *options), *args)


def call(f: Callable[..., Any], options: tuple[Any, ...], *args: Any) -> Any:
    """f(*options, *args), compiled."""
    return program(f, options, *args)(*args)


def program(
    f: Callable[..., Any], options: tuple[Any, ...], *args: Any, donate: bool = False
) -> Callable[..., Any]:
    """f(*options, ...) as a compiled function of arrays like args.

    options: hashable; functions in it may be other objects at every call.
    donate: the first of args.
    """
    donated = len(jax.tree.leaves(args[0])) if donate else 0
    on_leaves, structure = _program(f, options, _kinds_of(args), donated)

    def run(*args: Any) -> Any:
        return jax.tree.unflatten(structure, on_leaves(*jax.tree.leaves(args)))

    return run


def digest_of_program(f: Callable[..., Any], options: tuple[Any, ...], *args: Any) -> str:
    """Equal in another process for what computes the same, as far as that can be told by contents.

    Where it calls the host, say, it cannot be told.
    """
    traced = cast(Any, jax.jit(functools.partial(f, *options))).trace(*_kinds_of(args).args)
    key = _graph.identity(traced.jaxpr, objects=False)
    return hashlib.sha256(repr(key).encode()).hexdigest()


@functools.lru_cache(maxsize=REMEMBERED)
def _program(
    f: Callable[..., Any], options: tuple[Any, ...], kinds: _Kinds, donated: int
) -> tuple[Callable[..., Any], Any]:
    """The program of leaves, and the structure of what it returns."""
    traced = cast(Any, jax.jit(functools.partial(f, *options))).trace(*kinds.args)
    jaxpr = _graph.with_own_constants(traced.jaxpr, {})
    inputs = tuple(v.aval for v in _graph.plain(jaxpr).invars)
    computation = _Computation((_graph.identity(jaxpr), inputs), jaxpr)
    return _compiled(computation, donated), jax.tree.structure(traced.out_info)


@dataclass(frozen=True)
class _Computation:
    """Equal to another that computes the same."""

    key: Any
    jaxpr: Any = field(compare=False)


@functools.lru_cache(maxsize=REMEMBERED)
def _compiled(computation: _Computation, donated: int) -> Callable[..., Any]:
    function = _graph.as_function(computation.jaxpr)

    def program(*leaves: Any) -> Any:
        return function(*leaves)

    program.__name__ = _graph.name_of_function(computation.jaxpr)  # in profiles
    return jax.jit(program, donate_argnums=range(donated))
