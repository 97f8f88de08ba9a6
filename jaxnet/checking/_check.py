"""check: is the backward rule of this function right?"""

import contextlib
import functools
import io
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any, NamedTuple, ParamSpec, TypeVar, cast

import jax
import jax.numpy as jnp

from jaxnet import _graph
from jaxnet._auto import auto
from jaxnet.checking import hiprim
from jaxnet.checking.budget import Budget
from jaxnet.checking.by_design import leaves_by_design, with_by_design
from jaxnet.checking.cells import TRANSFORMS
from jaxnet.checking.domains import domains_of, require_domains
from jaxnet.checking.examination import examine
from jaxnet.checking.findings import Finding, Question, Verdict
from jaxnet.checking.problem import Arguments, Problem, output_names, shape_text
from jaxnet.checking.products import in_full, said_of_device
from jaxnet.checking.reports import Report
from jaxnet.checking.repro import Case
from jaxnet.proving import require_functions, require_untraced

P = ParamSpec("P")
R = TypeVar("R")
NO_RULE = "no rule"  # what a caller may accept


def with_jit(f: Callable[P, R]) -> Callable[P, R]:
    """Also where the caller has turned jit off: graphs are what is looked at."""

    @functools.wraps(f)
    def called(*args: P.args, **kwargs: P.kwargs) -> R:
        with jax.disable_jit(False), _on_device_of(args), in_full():
            return f(*args, **kwargs)

    return called


def _on_device_of(arrays: Any) -> Any:
    """Where the caller's arrays are, if they are all on one device."""
    leaves = [x for x in jax.tree.leaves(arrays) if isinstance(x, jax.Array)]
    known = [x for x in leaves if not isinstance(x, jax.core.Tracer)]
    devices = {device for x in known for device in x.devices()}
    is_another = len(devices) == 1 and devices != {jax.devices()[0]}
    return jax.default_device(*devices) if is_another else contextlib.nullcontext()


@with_jit
def check(
    f: Callable[..., Any],
    *args: Any,
    kwargs: dict[str, Any] | None = None,
    ref: Callable[..., Any] | None = None,
    dtypes: Sequence[Any] | None = None,
    transforms: Sequence[str] = TRANSFORMS,
    seed: int = 0,
    budget: float | None = 30.0,
    domain: dict[str, Any] | None = None,
    by_design: Sequence[str] = (),
    rtol: float | None = None,
) -> Report:
    """Compare the custom backward rule of f with autodiff and with finite differences, at args.

    Where the rules in its graph are jvps (`jax.custom_jvp`), forward mode is judged too.

    Each finding has one of these verdicts: ok; wrong (finite differences exclude the rule, and not
    the reference); imprecise (the algebra is right; rounding is more than 4 times autodiff's, and
    more than 4 times what rounding the arguments does, and than 8 eps); approximate (off by less
    than the arguments' digits can tell, which is ok); kink (the rule lies between
    one-sided slopes); disputed (finite differences exclude autodiff, not the rule); vacuous (the
    gradient is 0 here, so nothing was seen); not judged (f has no rule, and no ref was given);
    different (ref has another value than f); unsupported (not implemented, or the reference raises
    too); error (it raised).

    f: a function with a custom derivative (`jaxnet.rule`, `jax.custom_vjp`, `jax.custom_jvp`,
        anyone's), pure and traceable.
    args, kwargs: pytrees; every floating array in them is differentiated (a Python float in args
        too, where f can be traced with it), integers, keys, None and the rest are not. Let values
        be typical, not all 0 or 1.
    ref: the same function without the rule; by default `auto(f)`, or `auto(f, jvp=True)` where f
        has no custom_vjp. Its derivative is what is asked for: by reverse mode, else by forward
        mode (a while_loop), else by differences of its value (a host callback); the report says
        which. Give it where f has no rule, or the rule is meant to be another derivative
        (straight-through).
    dtypes: in which the precision is judged, by default the arguments' own; the algebra is judged
        in float64.
    transforms: under which it is compared too.
    seed: of the random cotangents.
    budget: seconds of wall time, None for none. Value, structure, algebra and laws are always asked
        whole; of the rest, what is not asked for lack of time is listed, and is neither ok nor
        wrong.
    domain: argument -> where its numbers may lie, for the points that are made beside those given:
        "positive", "negative", "unit" (from 0 to 1), a pair (low, high), "simplex" (rows sum to
        one), "one-hot", "sorted", "fixed" (no other numbers), "any", or a traceable function that
        returns the nearest array of the domain. By default what the numbers given suggest.
    by_design: names of arguments whose gradient is meant to be another than the derivative: that
        it is, is said, and is no fault. Values, structure, laws and the other arguments are judged,
        but for second derivatives and forward mode.
    rtol: how far the rule may be from the truth, relative to the largest element of each leaf, and
        be called approximate: 0 for not at all. By default 64 eps of the arguments' dtype (of
        float32, where theirs has fewer digits), and where ref has nearly the value of f, 8 times
        how far that is.

    Returns a Report; `report.require()` raises AssertionError where it is not ok.
    Raises TypeError where f or ref is no function or dtypes and transforms are not known,
        ValueError where nothing is floating, ref's outputs are not f's or domain or by_design says
        what it may not; what f itself raises on args comes through.

    >>> x = jnp.array([-1.0, 2.0])
    >>> jaxnet.check(jaxnet.relu, x).ok
    True
    >>> wrong = jaxnet.relu.but(backward=lambda y, dy, *, slope_at_zero: (dy,))  # lets all pass
    >>> print(jaxnet.check(wrong, x))
    WRONG in `x` at (0): rule ..., autodiff 0, truth 0
    relu(x f32[2])  against auto(relu)
    ...
    """
    require_functions("check", f, ref)
    _require_usable(kwargs, transforms, seed)
    require_budget("check", budget)
    require_rtol("check", rtol)
    working = None if dtypes is None else _floating_dtypes(dtypes)
    task = problem_of("check", f, args, kwargs or {}, ref)
    has_rule, not_judged = task.has_rule, hiprim.not_judged(task.left_on)
    given = require_domains(domain, task.problem)
    meant = leaves_by_design(by_design, task.problem)
    problem = replace(task.problem, domains=domains_of(task.problem, given), rtol=rtol)
    case = Case(f, ref, task.taken)
    report = Report(
        name_of(f), signature_of(problem), task.reference, (), notes=said_of_device(), _case=case
    )
    if not has_rule and ref is None:
        return replace(report, findings=not_judged or (_no_rule(report.name),))
    with quietly():
        under = tuple(transforms)
        with hiprim.raising_is_a_finding(task.calls_objects, report) as examined:
            examined.report = examine(problem, report, working, under, seed, Budget(budget))
        report = examined.report
        if ref is None:
            report = hiprim.with_methods(report, problem, seed)
    return with_by_design(replace(report, findings=report.findings + not_judged), meant)


def _no_rule(name: str) -> Finding:
    note = (
        f"no custom rule was found in {name}: autodiff would be compared with itself; "
        f"check the function that has the rule, or give ref="
    )
    return Finding(Question.GRADIENT, "", Verdict.NOT_JUDGED, note=note, detail=NO_RULE)


def _require_usable(kwargs: Any, transforms: Any, seed: Any) -> None:
    if kwargs is not None and not isinstance(kwargs, dict):
        raise TypeError(
            f"check: kwargs must be a dict of keyword arguments, got {type(kwargs).__name__}"
        )
    if not isinstance(transforms, tuple | list | set) or not set(transforms) <= set(TRANSFORMS):
        raise TypeError(f"check: transforms must be some of {TRANSFORMS}, got {transforms!r}")
    require_seed("check", seed)


def require_seed(caller: str, seed: Any) -> None:
    if not isinstance(seed, int) or seed < 0:
        raise ValueError(f"{caller}: seed must be an integer of at least 0, got {seed!r}")


def require_budget(caller: str, budget: Any) -> None:
    is_number = isinstance(budget, int | float) and not isinstance(budget, bool)
    if budget is not None and not (is_number and budget >= 0):
        raise ValueError(
            f"{caller}: budget must be seconds of at least 0, or None for no limit, got {budget!r}"
        )


def require_rtol(caller: str, rtol: Any) -> None:
    is_number = isinstance(rtol, int | float) and not isinstance(rtol, bool)
    if rtol is not None and not (is_number and 0 <= rtol < 1):
        raise ValueError(f"{caller}: rtol must be a number of at least 0 and below 1, got {rtol!r}")


def _floating_dtypes(dtypes: Any) -> tuple[Any, ...]:
    if not isinstance(dtypes, tuple | list) or not dtypes:
        raise TypeError(
            f"check: dtypes must be a tuple of dtypes such as ('float32', 'bfloat16'), "
            f"got {dtypes!r}"
        )
    return tuple(map(_floating_dtype, dtypes))


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
    """Of a function, or of what functools.partial was made of."""
    wrapped = getattr(f, "func", None)
    name = getattr(f, "__name__", None) or getattr(wrapped, "__name__", None)
    return str(name or type(f).__name__)


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


class Task(NamedTuple):
    """f beside its reference, what the reference is in words, and whether f has a rule.

    left_on: names of the rules that the reference has as well. calls_objects: whether f applies
    primitives that are somebody's Python objects, which may raise whenever they are expanded.
    taken: the arguments.
    """

    problem: Problem
    reference: str
    has_rule: bool
    left_on: tuple[str, ...]
    calls_objects: bool
    taken: Arguments


def problem_of(
    caller: str,
    f: Callable[..., Any],
    args: Sequence[Any],
    kwargs: dict[str, Any],
    ref: Callable[..., Any] | None,
) -> Task:
    require_untraced(caller, (args, kwargs))
    taken, jaxpr, shapes = _trace_with_floats(f, args, kwargs)
    names, other_names = output_names(shapes)
    _require_something_to_check(caller, name_of(f), taken, names)
    kinds = {_graph.kind_of_rule(e) for e, _ in _graph.equations(jaxpr)}
    has_rule = bool(kinds & set(_graph.EVERY))
    if ref is not None:
        _require_same_outputs(taken, ref, shapes)
        problem = replace(taken.problem(f, ref, names, other_names), ref_is_given=True)
        return Task(problem, f"ref {name_of(ref)}", has_rule, (), _graph.HIPRIM in kinds, taken)
    by_jvp = not kinds & set(_graph.REVERSE)
    said = f"auto({name_of(f)}, jvp=True)" if by_jvp else f"auto({name_of(f)})"
    problem = taken.problem(f, auto(f, jvp=by_jvp), names, other_names)
    left_on = dict.fromkeys(filter(None, (_graph.left_on(e) for e, _ in _graph.equations(jaxpr))))
    calls_objects = bool(left_on) or _graph.HIPRIM in kinds
    return Task(problem, said, has_rule, tuple(left_on), calls_objects, taken)


def _require_something_to_check(
    caller: str, name: str, taken: Arguments, outputs: Sequence[str]
) -> None:
    if not taken.floating:
        got = ", ".join(shape_text(x) for x in taken.flat) or "none"
        raise ValueError(
            f"{caller}: {name} has no floating array among its arguments, so no gradient to check; "
            f"got {got}"
        )
    if not outputs:
        raise ValueError(
            f"{caller}: {name} returns no floating array, so it has no gradient to check"
        )


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
        reason = str(e).splitlines()[0]
        raise TypeError(f"check: ref cannot be called as f is: {reason}") from e
    wanted, got = (
        [(x.shape, jnp.issubdtype(x.dtype, jnp.inexact)) for x in jax.tree.leaves(s)]
        for s in (shapes, theirs)
    )
    if wanted != got:
        ours, its = (", ".join(map(shape_text, jax.tree.leaves(s))) for s in (shapes, theirs))
        raise ValueError(f"check: ref must return what f returns, {ours}; it returns {its}")
