"""Forward mode: what jax.jvp makes of a function with a rule, and of its reference.

Compiled when it is first asked for, and only where a rule in the graph says what a tangent becomes.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxnet import _graph
from jaxnet.checking.arbiter import RUNGS, Slopes, Step, slopes
from jaxnet.checking.arrays import largest, on_host, typical
from jaxnet.checking.cells import Cell, Inputs, alone
from jaxnet.checking.problem import Function, Leaves, Problem
from jaxnet.checking.traces import AtDtypes, Traced, first_line, trace

# Of a tangent's numbers, so that x + h t is exact at every step h of the ladder in float64.
BITS, BITS_OF_FEW_DIGITS = 20, 6
FEW_DIGITS = 1e-10  # an eps above this is not float64's
FIRST_STEP = 1 / 8
BLOCK = 4096  # outputs whose differences are taken at a time: every step of each is kept


class Push(NamedTuple):
    """What one run is given."""

    leaves: Leaves
    others: Leaves
    tangents: Leaves
    c: Leaves
    weights: Leaves  # like leaves: the tangent along which the gradient for c moves


class Pushed(NamedTuple):
    """The value that jax.jvp returns, and the tangent of each output."""

    value: Leaves
    tangents: Leaves


class ForwardRun(NamedTuple):
    """What one run gives."""

    rule: Pushed
    alone: dict[int, Pushed]  # by argument: the tangents of the others are absent
    ref: Leaves  # tangents; () where the reference has no derivative but by differences
    second: Leaves  # how the rule's cotangents move; () where they cannot be differentiated


def push(f: Function) -> Callable[[Leaves, Leaves, Leaves], Pushed]:
    """(leaves, others, tangents) -> what jax.jvp returns"""

    def pushed(leaves: Leaves, others: Leaves, tangents: Leaves) -> Pushed:
        def floating(*leaves: Any) -> tuple[Leaves, Leaves]:
            return f(leaves, others)

        value, moved, _ = jax.jvp(floating, leaves, tangents, has_aux=True)
        return Pushed(value, moved)

    return pushed


def push_by_pulling(f: Function) -> Callable[[Leaves, Leaves, Leaves], Pushed]:
    """The same for a function that has reverse mode alone.

    A pullback is linear in its cotangent, and what pulls back through it pushes forward.
    """

    def pushed(leaves: Leaves, others: Leaves, tangents: Leaves) -> Pushed:
        value, pullback, _ = jax.vjp(lambda *x: f(x, others), *leaves, has_aux=True)
        _, transposed = jax.vjp(pullback, tuple(map(jnp.ones_like, value)))
        (moved,) = transposed(tuple(tangents))
        return Pushed(value, moved)

    return pushed


def tangent(x: Leaves, eps: float, rng: np.random.Generator) -> Leaves:
    """Random, each number about as large as that of x, so that a small step stays in its domain."""
    bits = BITS if eps < FEW_DIGITS else BITS_OF_FEW_DIGITS

    def of_leaf(a: Any) -> Any:
        value = on_host(a)
        least = typical(value) / 64
        size = np.fmax(np.where(np.isfinite(value), np.abs(value), 0), least)
        normal = np.round(rng.normal(size=a.shape) * 2.0**bits) / 2.0**bits
        return np.asarray(normal * 2.0 ** np.round(np.log2(size))).astype(a.dtype)

    return tuple(map(of_leaf, x))


@dataclass
class Forward:
    """A problem's rule and reference in forward mode. Run in the precision of the trace."""

    problem: Problem
    at: AtDtypes
    second_order: bool  # is asked for
    compiled: Callable[..., Any]  # (function, *arguments) -> the program, when it is compiled
    raised: dict[int, str] = field(default_factory=dict)  # by argument, where moving it alone did
    _program: Any = None
    _ladder: Any = None

    def run(self, push: Push) -> ForwardRun:
        """Raises what jax.jvp of the rule raises."""
        if self._program is None:
            self._program = self.compiled(self._all(push), push)
        run: ForwardRun = self._program.result()(push)
        return run

    def _all(self, given: Push) -> Callable[[Push], ForwardRun]:
        reference = self.at.ref_value
        point = given.leaves, given.others, given.tangents
        rule = trace(push(self.at.value), *point)
        ref = _first_that_traces([push(reference), push_by_pulling(reference)], *point)
        moved = [_gradient_moved(self.at.rule)] if self.second_order else []
        second = _first_that_traces(moved, given)
        apart = self._traced_alone(given)

        def program(given: Push) -> ForwardRun:
            point = given.leaves, given.others, given.tangents
            return ForwardRun(
                rule(*point),
                {a: pushed(given) for a, pushed in apart.items()},
                ref(*point).tangents if ref else (),
                second(given) if second else (),
            )

        return program

    def _traced_alone(self, given: Push) -> dict[int, Traced]:
        """By argument; none where no rule can tell a tangent of 0 from none."""
        apart: dict[int, Traced] = {}
        equations = _graph.equations(self.at.value.jaxpr)
        if not any(_graph.sees_what_is_differentiated(e) for e, _ in equations):
            return apart
        for argument in sorted(set(self.problem.argument) - self.problem.never_alone):
            try:
                apart[argument] = trace(self._alone(argument), given)
            except Exception as e:
                self.raised[argument] = first_line(e)
        return apart

    def _alone(self, argument: int) -> Callable[[Push], Pushed]:
        cell = alone(self.problem, argument)
        pushed = push(cell.transform(self.at.value))

        def pushed_alone(given: Push) -> Pushed:
            leaves, others = _of_cell(cell, given, given.leaves)
            tangents, _ = _of_cell(cell, given, given.tangents)
            return pushed(leaves, others, tangents)

        return pushed_alone

    def differences(
        self, leaves: Leaves, others: Leaves, tangents: Leaves, block: int
    ) -> tuple[Any, Any]:
        """The steps along a tangent at every rung, and the changes of a block of the outputs."""
        given = leaves, others, tangents, np.int32(block * BLOCK)
        if self._ladder is None:
            self._ladder = self.compiled(_ladder(self.at.ref_value), *given)
        measured: tuple[Any, Any] = self._ladder.result()(*given)
        return measured


def _of_cell(cell: Cell, given: Push, leaves: Leaves) -> tuple[Leaves, Leaves]:
    """These leaves and the others as the transformed function takes them."""
    point = cell.prepare(Inputs(leaves, given.others, given.c, given.c, given.weights))
    return point.leaves, point.others


def _gradient_moved(rule: Traced) -> Callable[[Push], Leaves]:
    """How the cotangents of the leaves move with the leaves: forward over reverse mode."""

    def moved(given: Push) -> Leaves:
        def gradient(*leaves: Any) -> Leaves:
            cotangents: Leaves = rule(leaves, given.others, given.c)[2]
            return cotangents

        tangents: Leaves = jax.jvp(gradient, given.leaves, given.weights)[1]
        return tangents

    return moved


def _first_that_traces(functions: list[Callable[..., Any]], *args: Any) -> Traced | None:
    for f in functions:
        try:
            traced = trace(f, *args)
        except Exception:
            continue
        if not _graph.is_reverse_only(traced.jaxpr):
            return traced
    return None


# -- differences


def _ladder(f: Function) -> Callable[..., Any]:
    """(leaves, others, tangents, first output) -> steps, and changes of BLOCK outputs to each side.

    All outputs are seen at once as x moves, so one ladder serves for all of them.
    """

    def steps(leaves: Leaves, others: Leaves, tangents: Leaves, start: Any) -> Any:
        dtype = jnp.result_type(*(leaf.dtype for leaf in leaves))

        def values_at(h: Any) -> tuple[Any, Any]:
            moved = [x + (h * t).astype(x.dtype) for x, t in zip(leaves, tangents, strict=True)]
            outputs, _ = f(tuple(moved), others)
            flat = jnp.concatenate([jnp.ravel(v).astype(dtype) for v in outputs])
            block = jax.lax.dynamic_slice(jnp.pad(flat, (0, BLOCK)), (start,), (BLOCK,))
            return block, _is_exact(leaves, moved, tangents, h)

        here, _ = values_at(jnp.zeros((), dtype))

        def step(h: Any) -> Any:
            (plus, up), (minus, down) = values_at(h), values_at(-h)
            return jnp.where(up & down, h, jnp.nan), plus - here, minus - here

        sizes = FIRST_STEP * 4.0 ** -jnp.arange(RUNGS, dtype=dtype)
        return jax.lax.map(step, sizes), here

    return steps


def _is_exact(leaves: Leaves, moved: list[Any], tangents: Leaves, h: Any) -> Any:
    """Whether every number has moved by just h t: a step that x cannot take is no step."""
    triples = zip(leaves, moved, tangents, strict=True)
    exact = [jnp.all(((m - x) == h * t) | ~jnp.isfinite(x)) for x, m, t in triples]
    return jnp.all(jnp.stack(exact))


def slopes_of(
    measured: tuple[Any, Any], number: int, tangents: Leaves, eps: float, size: float
) -> Slopes:
    """The slope of one output of a block. size: of what is rounded in it, at least."""
    (h, plus, minus), here = measured
    # Where nothing moves, the output may still be rounded, and so may what it was computed from.
    rounded = max(largest(here), size)
    still = max(rounded, *(largest(on_host(t)) for t in tangents))
    rise, fall = plus[:, number], minus[:, number]
    sizes = (np.where(change == 0, still, rounded) for change in (rise, fall))
    return slopes(Step(h, h, rise, next(sizes), fall, next(sizes)), eps)
