"""check: is the backward rule of this function right?"""

import contextlib
import io
import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import Any, cast

import jax
import jax.numpy as jnp

from jaxnet._auto import auto
from jaxnet.checking import graph
from jaxnet.checking.examination import examine
from jaxnet.checking.findings import Report
from jaxnet.checking.problem import Arguments, Problem, output_names, shape_text
from jaxnet.checking.transforms import TRANSFORMS

NO_RULE = "no custom rule was found in this function: autodiff was compared with itself"


def check(
    f: Callable[..., Any],
    *args: Any,
    kwargs: dict[str, Any] | None = None,
    ref: Callable[..., Any] | None = None,
    dtypes: Sequence[Any] | None = None,
    transforms: Sequence[str] = TRANSFORMS,
    seed: int = 0,
) -> Report:
    """Compare the custom backward rule of f with automatic differentiation and with finite differences, at args.

    f: a function with a custom derivative (`jaxnet.rule`, `jax.custom_vjp`, `jax.custom_jvp`, anyone's), pure and
    traceable. args, kwargs: pytrees; every floating array in them is differentiated (a Python float in args too, where
    f can be traced with it), integers, keys, None and the rest are not. Let values be typical, not all 0 or 1.
    ref: the same function without the rule; by default `auto(f)`, or `auto(f, jvp=True)` where f has no custom_vjp.
    Give it where the primal cannot be differentiated (a Pallas kernel) or the rule is meant to be another derivative
    (straight-through): ref's derivative is then what is asked for.
    dtypes: in which the precision is judged, by default the arguments' own; the algebra is judged in float64.
    transforms: under which it is compared too. seed: of the random cotangents.

    Returns a Report; `report.require()` raises AssertionError where it is not ok. Each finding has one of these
    verdicts: ok; wrong (finite differences exclude the rule, and not the reference); imprecise (the algebra is right;
    rounding is more than 4 times autodiff's, and more than 4 times what rounding the arguments does, and than 8 eps);
    kink (the rule lies between one-sided slopes); disputed (finite differences exclude autodiff, not the rule); vacuous
    (the gradient is 0 here, so nothing was seen); unsupported (not implemented, or the reference raises too); error (it
    raised).
    Raises TypeError where f or ref is no function or dtypes and transforms are not known, ValueError where nothing is
    floating or ref's outputs are not f's; what f itself raises on args comes through.
    """
    _require_usable(f, kwargs, ref, dtypes, transforms, seed)
    working = None if dtypes is None else tuple(_floating_dtype(d) for d in dtypes)
    problem, reference, notes = problem_of("check", f, args, kwargs or {}, ref)
    report = Report(name_of(f), signature_of(problem), reference, (), notes=tuple(notes))
    with quietly():
        return examine(problem, report, working, tuple(transforms), seed)


def _require_usable(f: Any, kwargs: Any, ref: Any, dtypes: Any, transforms: Any, seed: Any) -> None:
    for name, function in (("f", f), ("ref", ref)):
        if not callable(function) and (name == "f" or function is not None):
            raise TypeError(
                f"check: {name} must be a function, got {type(function).__name__}; call check(f, *args)"
            )
    if kwargs is not None and not isinstance(kwargs, dict):
        raise TypeError(
            f"check: kwargs must be a dict of keyword arguments, got {type(kwargs).__name__}"
        )
    if not isinstance(transforms, tuple | list | set) or not set(transforms) <= set(TRANSFORMS):
        raise TypeError(f"check: transforms must be some of {TRANSFORMS}, got {transforms!r}")
    if dtypes is not None and (not isinstance(dtypes, tuple | list) or not dtypes):
        raise TypeError(
            f"check: dtypes must be a tuple of dtypes such as ('float32', 'bfloat16'), got {dtypes!r}"
        )
    if not isinstance(seed, int) or seed < 0:
        raise ValueError(f"check: seed must be an integer of at least 0, got {seed!r}")


def _floating_dtype(dtype: Any) -> Any:
    known: Any = None
    with contextlib.suppress(TypeError):
        known = None if dtype is None else jnp.dtype(dtype)
    if known is None or not jnp.issubdtype(known, jnp.inexact):
        raise TypeError(
            f"check: dtypes must be floating dtypes such as ('float32', 'bfloat16'), got {dtype!r}"
        )
    return cast(Any, jnp).finfo(known).dtype  # of a complex dtype, that of its parts


def name_of(f: Any) -> str:
    return str(
        getattr(f, "__name__", None)
        or getattr(getattr(f, "func", None), "__name__", None)
        or type(f).__name__
    )


def signature_of(problem: Problem) -> str:
    return ", ".join(
        f"{name} {shape_text(x)}" for name, x in zip(problem.names, problem.leaves, strict=True)
    )


@contextlib.contextmanager
def quietly() -> Iterator[None]:
    """f is traced many times; what it prints and warns of is shown the first time only."""
    with contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def problem_of(
    caller: str,
    f: Callable[..., Any],
    args: Sequence[Any],
    kwargs: dict[str, Any],
    ref: Callable[..., Any] | None,
) -> tuple[Problem, str, list[str]]:
    """f beside its reference, what the reference is in words, and what is to be said of it."""
    if any(isinstance(x, jax.core.Tracer) for x in jax.tree.leaves((args, kwargs))):
        raise TypeError(
            f"{caller}: the arguments are being traced; call {caller} outside of jit, grad and vmap"
        )
    taken, jaxpr, shapes = _trace_with_floats(f, args, kwargs)
    name = name_of(f)
    if not taken.floating:
        got = ", ".join(shape_text(x) for x in taken.flat) or "none"
        raise ValueError(
            f"{caller}: {name} has no floating array among its arguments, so no gradient to check; got {got}"
        )
    names, other_names = output_names(shapes)
    if not names:
        raise ValueError(
            f"{caller}: {name} returns no floating array, so it has no gradient to check"
        )
    notes = []
    if ref is None:
        kinds = {e.primitive.name for e, _ in graph.equations(jaxpr)}
        by_jvp = "custom_vjp_call" not in kinds
        ref, said = auto(f, jvp=by_jvp), f"auto({name}{', jvp=True' * by_jvp})"
        if by_jvp and "custom_jvp_call" not in kinds:
            notes.append(NO_RULE)
    else:
        said = f"ref {name_of(ref)}"
        _require_same_outputs(taken, ref, shapes)
    return taken.problem(f, ref, names, other_names), said, notes


def _trace_with_floats(
    f: Callable[..., Any], args: Sequence[Any], kwargs: dict[str, Any]
) -> tuple[Arguments, Any, Any]:
    """Python floats as arrays, or, where f wants its numbers as numbers, as they are."""
    taken = Arguments(f, args, kwargs, floats_are_leaves=True)
    try:
        return taken, *_trace(taken, f)
    except Exception:
        if not any(isinstance(x, float | complex) for x in taken.flat):
            raise
    taken = Arguments(f, args, kwargs, floats_are_leaves=False)
    return taken, *_trace(taken, f)


def _trace(taken: Arguments, f: Callable[..., Any]) -> tuple[Any, Any]:
    def called(leaves: Any, others: Any) -> Any:
        return taken.call(f, leaves, others)

    return jax.make_jaxpr(called, return_shape=True)(taken.leaves(), taken.others())


def _require_same_outputs(taken: Arguments, ref: Callable[..., Any], shapes: Any) -> None:
    try:
        _, theirs = _trace(taken, ref)
    except TypeError as e:
        raise TypeError(f"check: ref cannot be called as f is: {str(e).splitlines()[0]}") from e
    wanted, got = (
        [(x.shape, jnp.issubdtype(x.dtype, jnp.inexact)) for x in jax.tree.leaves(s)]
        for s in (shapes, theirs)
    )
    if wanted != got:
        ours, its = (", ".join(map(shape_text, jax.tree.leaves(s))) for s in (shapes, theirs))
        raise ValueError(f"check: ref must return what f returns, {ours}; it returns {its}")
