"""What the methods of a HiPrim say, each beside what its expand says.

A primitive that is a Python object may define its derivatives several times over: backwards by
vjp_fwd and vjp_bwd (or vjp_bwd_retval), forwards by jvp, and again by lin and linearized; where it
is linear, by transpose. batch, remat and dce say what stands in its place. Each is made to speak by
the transformation of JAX that calls it, in every setting in which it has a choice:

    vjp_bwd       all arguments differentiated; one alone, the others being NullAccum; into
                  references (RefAccum); one output used alone, the others' cotangents being zeros
    jvp, lin      all arguments moved; one alone, the others' tangents being zeros
    batch         each argument mapped alone, all of them, all along their last axis
    transpose     where expand is linear, in all arguments or in one
    remat, dce    what they put in the primitive's place, and its derivative
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, NamedTuple, TypeAlias, cast

import jax
import jax.numpy as jnp

from jaxnet import _graph
from jaxnet.checking import arbiter
from jaxnet.checking.cells import Point
from jaxnet.checking.cut_out import problem_at, problem_with
from jaxnet.checking.problem import Function, Leaves, Problem
from jaxnet.checking.sites import Found
from jaxnet.checking.truth import pull_by_differences, pull_by_forward_mode

# In the order in which they are judged: what stands before is not at fault for what comes after.
BACKWARD = ("vjp_bwd", "vjp_bwd_retval")
METHODS = ("vjp_fwd", *BACKWARD, "jvp", "lin", "linearized", "batch", "transpose", "remat", "dce")

TIMES = 2  # that cotangents are accumulated into references
AXES = (0, -1)  # over which arguments are mapped


class Given(NamedTuple):
    """What a claim is asked of."""

    leaves: Leaves
    others: Leaves
    tangents: Leaves  # of all leaves
    cotangents: Leaves  # of all outputs


class Said(NamedTuple):
    """Values, and either the tangents of the outputs or the cotangents of what is moved."""

    values: Leaves
    others: Leaves  # outputs that are no floating arrays
    derivative: Leaves


# (function, leaves that are moved, where) -> what one of JAX's transformations gives
Way: TypeAlias = Callable[[Function, Sequence[int], Given], Said]


# -- ways to make a method speak


def by_call(f: Function, moved: Sequence[int], given: Given) -> Said:
    return Said(*f(given.leaves, given.others), ())


def by_jvp(f: Function, moved: Sequence[int], given: Given) -> Said:
    function, x, t = _of_moved(f, moved, given)
    values, tangents, others = jax.jvp(function, x, t, has_aux=True)
    return Said(values, others, tangents)


def by_linearize(f: Function, moved: Sequence[int], given: Given) -> Said:
    function, x, t = _of_moved(f, moved, given)
    values, linear, others = jax.linearize(function, *x, has_aux=True)
    return Said(values, others, linear(*t))


def by_vjp(f: Function, moved: Sequence[int], given: Given) -> Said:
    function, x, _ = _of_moved(f, moved, given)
    values, backward, others = jax.vjp(function, *x, has_aux=True)
    return Said(values, others, backward(given.cotangents))


def into_references(f: Function, moved: Sequence[int], given: Given) -> Said:
    """More than once: what sets a reference where it should add to it is seen."""
    function, x, _ = _of_moved(f, moved, given)
    values, backward, others = jax.vjp(function, *x, has_aux=True)
    new_ref = cast(Any, jax).new_ref
    references = [new_ref(jnp.zeros(a.shape, a.dtype)) for a in x]
    accumulate = cast(Any, backward).with_refs(*references)
    for _ in range(TIMES):
        accumulate(given.cotangents)
    return Said(values, others, tuple(r[...] / TIMES for r in references))


def by_transpose(f: Function, moved: Sequence[int], given: Given) -> Said:
    function, x, _ = _of_moved(f, moved, given)
    transposed = jax.linear_transpose(lambda *some: function(*some)[0], *x)
    return Said((), (), transposed(given.cotangents))


def by_forward_mode(f: Function, moved: Sequence[int], given: Given) -> Said:
    """Cotangents of what has no reverse mode."""
    return _by_pull(pull_by_forward_mode, f, moved, given)


def by_differences(f: Function, moved: Sequence[int], given: Given) -> Said:
    """Cotangents of what has nothing but a value."""
    return _by_pull(pull_by_differences, f, moved, given)


def _by_pull(
    pull: Callable[[Function], Any], f: Function, moved: Sequence[int], given: Given
) -> Said:
    function, x, _ = _of_moved(f, moved, given)
    pulled = pull(lambda leaves, _: function(*leaves))
    return Said(*pulled(x, (), given.cotangents))


def by_differences_in_time(f: Function, moved: Sequence[int], given: Given) -> Said:
    """Tangents of what has nothing but a value: every output element's own slope at time 0."""
    values, others = f(given.leaves, given.others)
    slope = arbiter.ladder(in_time(f, moved))
    where = given.leaves, given.others, given.tangents
    dtype = jnp.result_type(*(x.dtype for x in given.leaves))
    start = (jnp.zeros((), dtype),)

    def tangent(k: int, i: Any) -> Any:
        weights = [jnp.zeros(v.shape, v.dtype) for v in values]
        weights[k] = jnp.ravel(weights[k]).at[i].set(1).reshape(values[k].shape)
        point = Point(start, where, tuple(weights))
        return arbiter.smooth_slope(slope(point, 0, jnp.asarray(1 / 8, dtype)))

    tangents = tuple(
        jax.lax.map(partial(tangent, k), jnp.arange(v.size)).reshape(v.shape).astype(v.dtype)
        for k, v in enumerate(values)
    )
    return Said(values, others, tangents)


def in_time(f: Function, moved: Sequence[int]) -> Function:
    """f along the tangents: of the time alone."""

    def function(time: Leaves, where: Any) -> tuple[Leaves, Leaves]:
        leaves, others, tangents = where
        there = [
            x + time[0].astype(x.dtype) * t if n in moved else x
            for n, (x, t) in enumerate(zip(leaves, tangents, strict=True))
        ]
        return f(tuple(there), others)

    return function


def _of_moved(
    f: Function, moved: Sequence[int], given: Given
) -> tuple[Callable[..., tuple[Leaves, Leaves]], Leaves, Leaves]:
    """f of the leaves that are moved alone; those leaves, and their tangents."""

    def function(*some: Any) -> tuple[Leaves, Leaves]:
        leaves = list(given.leaves)
        for k, x in zip(moved, some, strict=True):
            leaves[k] = x
        return f(tuple(leaves), given.others)

    x, t = (tuple(arrays[k] for k in moved) for arrays in (given.leaves, given.tangents))
    return function, x, t


# Where expand has no reverse mode (a while_loop), its forward mode is the truth, or differences.
BACKWARDS: tuple[Way, ...] = (by_vjp, by_forward_mode, by_differences)
FORWARDS: tuple[Way, ...] = (by_jvp, by_differences_in_time)
VALUES: tuple[Way, ...] = (by_call,)


# -- settings


@dataclass(frozen=True)
class Setting:
    """In what circumstances a method is asked."""

    how: str  # in words, "" for none
    key: str  # of the transformation: settings with one key transform alike
    transform: Callable[[Function], Function]
    at: Callable[[Given], Given]  # what the transformed function is given
    moved: tuple[int, ...]
    leaves: tuple[str, ...]  # names of those that are moved
    outputs: tuple[str, ...]


def _as_it_is(problem: Problem) -> Setting:
    every = tuple(range(len(problem.names)))
    return Setting("", "", lambda f: f, lambda given: given, every, problem.names, problem.outputs)


def _one_argument(problem: Problem) -> Iterator[Setting]:
    """Each argument alone: the others are constants."""
    for argument in sorted(set(problem.argument)):
        moved = tuple(k for k, a in enumerate(problem.argument) if a == argument)
        if len(moved) < len(problem.names):
            names = tuple(problem.names[k] for k in moved)
            how = f"{problem.arguments[argument]} alone"
            yield Setting(how, "", lambda f: f, lambda given: given, moved, names, problem.outputs)


def _one_output(problem: Problem) -> Iterator[Setting]:
    """Each output alone: the others are not used."""
    every = tuple(range(len(problem.names)))
    for k, name in enumerate(problem.outputs if len(problem.outputs) > 1 else ()):

        def only(f: Function, k: int = k) -> Function:
            def one(leaves: Leaves, others: Leaves) -> tuple[Leaves, Leaves]:
                return (f(leaves, others)[0][k],), ()

            return one

        def at(given: Given, k: int = k) -> Given:
            return given._replace(cotangents=(given.cotangents[k],))

        yield Setting(f"{name} alone", name, only, at, every, problem.names, (name,))


def _mapped(problem: Problem) -> Iterator[Setting]:
    """Over each argument alone, and over all, also over their last axes."""
    every = sorted({*problem.argument, *problem.other_argument})
    for argument in every if len(every) > 1 else ():
        yield _mapped_over(problem, {argument}, f"vmap {problem.arguments[argument]}", 0)
    for axis in AXES:
        how = "vmap" if axis == 0 else "vmap over last axes"
        yield _mapped_over(problem, set(every), how, axis)


def _mapped_over(problem: Problem, which: set[int], how: str, axis: int) -> Setting:
    axes = tuple(axis if a in which else None for a in problem.argument)
    other_axes = tuple(axis if a in which else None for a in problem.other_argument)
    every = tuple(range(len(problem.names)))

    def transform(f: Function) -> Function:
        return jax.vmap(f, in_axes=(axes, other_axes))

    def two(x: Any, where: int | None) -> Any:
        return x if where is None else jnp.stack([x, x * (1 + 2.0**-9)], axis=where)

    def at(given: Given) -> Given:
        return Given(
            tuple(map(two, given.leaves, axes)),
            tuple(
                o if a is None else jnp.stack([o, o], a)
                for o, a in zip(given.others, other_axes, strict=True)
            ),
            tuple(map(two, given.tangents, axes)),
            tuple(jnp.stack([c, -2 * c]) for c in given.cotangents),
        )

    return Setting(how, how, transform, at, every, problem.names, problem.outputs)


# -- claims


@dataclass(frozen=True)
class Claim:
    """What one method says in one setting, beside what expand says there."""

    values_by: str  # the method that is to blame for a wrong value
    method: str  # and for a wrong derivative
    how: str
    forwards: bool  # whether the derivative is the tangents of the outputs
    setting: Setting
    rule: Function
    ref: Function
    way: Way
    truths: tuple[Way, ...]  # the first of these that expand has
    rests_on: tuple[str, ...] = ()  # methods that speak here too: where they are wrong, that is all

    def said(self, given: Given) -> Said:
        return self._by(self.way, self.rule, given)

    def truth(self, by: Way, given: Given) -> Said:
        return self._by(by, self.ref, given)

    def _by(self, way: Way, f: Function, given: Given) -> Said:
        return way(self.setting.transform(f), self.setting.moved, self.setting.at(given))


@dataclass(frozen=True)
class Subject:
    """A primitive where it is applied, and what its class defines."""

    prim: Any
    site: Found
    values: list[Any]
    problem: Problem

    def has(self, method: str) -> bool:
        return _graph.defines(self.prim, method)

    @property
    def backward(self) -> tuple[str, ...]:
        """The methods of its reverse mode; none where it has none."""
        if not self.has("vjp_fwd"):
            return ()
        return ("vjp_fwd", next(filter(self.has, BACKWARD), "vjp_fwd"))

    def claim(self, methods: tuple[str, str], setting: Setting, way: Way, **more: Any) -> Claim:
        """methods: to blame for a value, and for a derivative."""
        forwards = way in (by_call, by_jvp, by_linearize)
        by: dict[Any, tuple[Way, ...]] = {
            by_call: VALUES,
            by_jvp: FORWARDS,
            by_linearize: FORWARDS,
        }
        truths = (by_transpose,) if way is by_transpose else by.get(way, BACKWARDS)
        sides = self.problem.rule, self.problem.ref
        return Claim(*methods, setting.how, forwards, setting, *sides, way, truths, **more)

    def instead(self, call: Callable[..., Any]) -> "Subject":
        """With what a method puts in the primitive's place."""
        return replace(self, problem=problem_with(self.site, self.values, call))


def claims_of(prim: Any, site: Found, values: Sequence[Any]) -> list[Claim]:
    """Of every method that the class defines."""
    subject = Subject(prim, site, list(values), problem_at(site, list(values)))
    dce = list(_of_dce(subject)) if subject.has("dce") else []
    # JAX asks dce wherever an output is not used: what it computes comes first.
    claims = [claim for claim in dce if claim.way is by_call]
    if subject.backward:
        claims += _of_vjp(subject)
    for method, make in MAKERS.items():
        claims += make(subject) if subject.has(method) else ()
    return claims + [claim for claim in dce if claim.way is not by_call]


def _of_vjp(subject: Subject) -> Iterator[Claim]:
    problem, whole = subject.problem, _as_it_is(subject.problem)
    methods: Any = subject.backward
    for setting in (whole, *_one_argument(problem)):
        yield subject.claim(methods, setting, by_vjp)
    for setting in _one_output(problem):
        yield subject.claim(methods, setting, by_vjp, rests_on=("dce",))
    into = replace(whole, how="into references")
    yield subject.claim(methods, into, into_references)


def _of_jvp(subject: Subject) -> Iterator[Claim]:
    for setting in (_as_it_is(subject.problem), *_one_argument(subject.problem)):
        yield subject.claim(("jvp", "jvp"), setting, by_jvp)


def _of_lin(subject: Subject) -> Iterator[Claim]:
    for setting in (_as_it_is(subject.problem), *_one_argument(subject.problem)):
        yield subject.claim(("lin", "linearized"), setting, by_linearize)


def _of_batch(subject: Subject) -> Iterator[Claim]:
    """Values, and the derivatives of what is batched."""
    methods = ("batch", "batch")
    for setting in _mapped(subject.problem):
        yield subject.claim(methods, setting, by_call)
        if subject.backward:
            yield subject.claim(methods, setting, by_vjp, rests_on=subject.backward)
        if subject.has("jvp"):
            yield subject.claim(methods, setting, by_jvp, rests_on=("jvp",))


def _of_transpose(subject: Subject) -> Iterator[Claim]:
    """In all settings; where expand cannot be transposed there is no truth, and so no claim."""
    for setting in (_as_it_is(subject.problem), *_one_argument(subject.problem)):
        yield subject.claim(("transpose", "transpose"), setting, by_transpose)


def _of_remat(subject: Subject) -> Iterator[Claim]:
    """What is computed forwards, and what is recomputed for the backward pass."""
    whole, methods = _as_it_is(subject.problem), ("remat", "remat")
    forward = subject.instead(partial(_graph.remat_of, backward=False))
    yield forward.claim(methods, whole, by_call)
    recomputed = subject.instead(partial(_graph.remat_of, backward=True))
    yield recomputed.claim(methods, whole, by_call)
    if subject.backward:
        yield recomputed.claim(methods, whole, by_vjp, rests_on=subject.backward)


def _of_dce(subject: Subject) -> Iterator[Claim]:
    """Each output used alone."""
    methods = ("dce", "dce")
    settings = list(_one_output(subject.problem)) or [_as_it_is(subject.problem)]
    numbers = subject.site.numbers_of_floating_outputs()
    for k, setting in zip(numbers, settings, strict=True):
        left = subject.instead(partial(_graph.dce_of, k))
        yield left.claim(methods, setting, by_call)
        if subject.backward:
            yield left.claim(methods, setting, by_vjp, rests_on=subject.backward)


MAKERS: dict[str, Callable[[Subject], Iterator[Claim]]] = {
    "jvp": _of_jvp,
    "lin": _of_lin,
    "batch": _of_batch,
    "transpose": _of_transpose,
    "remat": _of_remat,
}
