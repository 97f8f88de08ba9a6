"""Reach: the branches in the user's own files that no examined point entered, and points that do enter them."""

import linecache
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import jax
import jax.numpy as jnp
import numpy as np

from jaxnet._graph import EVERY, without_rules
from jaxnet.checking import graph
from jaxnet.checking.problem import Leaves, Problem

# Functions that a person calls to branch; what JAX's own functions branch on inside (an index below 0) is not theirs.
BRANCHING = {
    "where", "_where", "select", "select_n", "piecewise", "maximum", "minimum", "max", "min", "clip", "clamp", "cond",
    "switch", "relu", "relu6", "leaky_relu", "elu", "abs",
}  # fmt: skip
SIDES = {
    "select_n": ("condition false", "condition true"),
    "max": ("first larger", "second larger"),
    "min": ("first smaller", "second smaller"),
    "clamp": ("below", "inside", "above"),
}
# The first of the moves are always made: of some backwards JAX keeps no lines, so that their branches are not seen.
ALWAYS = 2
# What is tried on the floating arguments: x -> factor x + shift (in units of each argument's typical size).
MOVES = [
    (-1, 0),
    (8, 0),
    (-8, 0),
    (1 / 8, 0),
    (64, 0),
    (-64, 0),
    (1, 2),
    (1, -2),
    (1, 16),
    (1, -16),
    (1000, 0),
    (-1000, 0),
]


class Branches:
    """The branches of a rule's forward and backward and of its reference."""

    def __init__(self, rule: Any, ref: Any) -> None:
        """rule: the jaxpr of its pullback; ref: of the reference's value."""
        self.entered: dict[
            tuple[str, str], bool
        ] = {}  # (where, side) -> whether a point has entered it
        self._program: Any = None
        self._jaxprs = [without_rules(jaxpr, EVERY) for jaxpr in (rule, ref)]

    def _compile(self) -> Any:
        def wanted(e: Any, chain: graph.Chain) -> Any:
            place = place_of_branch(e, chain)
            if place is None:
                return None
            sides = sides_of(e)
            for side in sides:
                self.entered.setdefault((place, side), False)

            def tell(*which: Any) -> None:
                for side, entered in zip(sides, which, strict=True):
                    if np.any(entered):
                        self.entered[place, side] = True

            return (lambda *inputs: which_sides(e, inputs)), tell

        rule, ref = (graph.core.jaxpr_as_fun(graph.tap(jaxpr, wanted)) for jaxpr in self._jaxprs)

        def both(leaves: Leaves, others: Leaves, c: Leaves) -> Any:
            return rule(*jax.tree.leaves((leaves, others, c))), ref(
                *jax.tree.leaves((leaves, others))
            )

        return jax.jit(both)

    def points(
        self, problem: Problem, x: Leaves, c: Leaves
    ) -> tuple[list[tuple[str, Leaves]], tuple[str, ...]]:
        """Points that enter what the arguments do not, each with how it was made; and what none of them enters."""
        if self._program is None:
            self._program = self._compile()

        def enter(leaves: Leaves) -> set[tuple[str, str]]:
            if not self.entered:
                return set()
            for key in self.entered:
                self.entered[key] = False
            cast(Any, jax).block_until_ready(self._program(leaves, problem.others, c))
            cast(Any, jax).effects_barrier()
            return {key for key, entered in self.entered.items() if entered}

        done, points = enter(x), []
        for n, (how, point) in enumerate(moves(problem, x)):
            if n >= ALWAYS and len(done) == len(self.entered):
                break
            now = enter(point)
            if n < ALWAYS or now - done:
                points.append((how, point))
                done |= now
        return points, tuple(
            f"{side} in {where}" for where, side in self.entered if (where, side) not in done
        )

    def is_used(self, k: int) -> bool:
        """Whether the reference's value is computed from leaf k at all."""
        jaxpr = getattr(self._jaxprs[1], "jaxpr", self._jaxprs[1])
        needed = {v for v in jaxpr.outvars if not isinstance(v, graph.core.Literal)}
        for e in reversed(jaxpr.eqns):
            if any(v in needed for v in e.outvars):
                needed |= {v for v in e.invars if not isinstance(v, graph.core.Literal)}
        return jaxpr.invars[k] in needed


def moves(problem: Problem, x: Leaves) -> Iterator[tuple[str, Leaves]]:
    def moved(argument: int | None, factor: float, shift: float) -> Leaves:
        new = []
        for leaf, a in zip(x, problem.argument, strict=True):
            value = np.asarray(leaf, np.float64)
            finite = np.abs(value[np.isfinite(value)])
            size = float(np.sqrt(np.mean(finite**2))) if finite.size and finite.any() else 1.0
            new.append(
                (value * factor + shift * size).astype(leaf.dtype)
                if argument in (None, a)
                else leaf
            )
        return tuple(new)

    several = sorted(set(problem.argument))
    for argument in (None, *several) if len(several) > 1 else (None,):
        name = "the arguments" if argument is None else problem.arguments[argument]
        for factor, shift in MOVES:
            how = (
                f"{name} times {factor:g}"
                if not shift
                else f"{name} shifted by {shift:g} typical sizes"
            )
            yield how, moved(argument, factor, shift)


def place_of_branch(e: Any, chain: graph.Chain) -> str | None:
    """Where the branch stands in the user's files, with the line; None where it is none of theirs."""
    if e.primitive.name not in SIDES and e.primitive.name != "cond":
        return None
    if any(jnp.issubdtype(getattr(v.aval, "dtype", bool), jax.dtypes.extended) for v in e.invars):
        return None
    # A call of a function of JAX (jnp.where is one) stands where it is called, not where it was first traced.
    anchor, called = e, ""
    librarys = next(filter(graph.is_librarys, chain), None)
    if librarys is not None:
        anchor = librarys
        called = graph.name_of_function(next(graph.jaxprs_in(tuple(librarys.params.values()))))
    frames = graph.frames(anchor)
    mine = next((i for i, f in enumerate(frames) if graph.is_users(f.file)), None)
    if mine is None:
        return None
    if not called:
        called = frames[mine - 1].function.rpartition(".")[2] if mine else ""
        names = {f.function.rpartition(".")[2] for f in frames[:mine]}
        if not names & BRANCHING:
            return None
    elif called not in BRANCHING:
        return None
    frame = frames[mine]
    line = linecache.getline(frame.file, frame.line).strip()
    return (
        f"`{line}` ({Path(frame.file).name}:{frame.line})"
        if line
        else f"{Path(frame.file).name}:{frame.line}"
    )


def sides_of(e: Any) -> tuple[str, ...]:
    if e.primitive.name == "cond":
        return tuple(f"branch {i}" for i in range(len(e.params["branches"])))
    if e.primitive.name == "select_n" and e.invars[0].aval.dtype != np.bool_:
        return tuple(f"case {i}" for i in range(len(e.invars) - 1))
    return SIDES[e.primitive.name]


def which_sides(e: Any, inputs: Any) -> tuple[Any, ...]:
    name = e.primitive.name
    if name in ("cond", "select_n"):
        return tuple(jnp.any(inputs[0] == i) for i in range(len(sides_of(e))))
    if name == "clamp":
        low, x, high = inputs
        return jnp.any(x < low), jnp.any((x >= low) & (x <= high)), jnp.any(x > high)
    a, b = inputs
    return (jnp.any(a > b), jnp.any(b > a)) if name == "max" else (jnp.any(a < b), jnp.any(b < a))


def is_one_rule(jaxpr: Any) -> bool:
    """Whether the function is nothing but one custom rule (and calls around it)."""
    inner = getattr(jaxpr, "jaxpr", jaxpr)
    if len(inner.eqns) != 1:
        return False
    e = inner.eqns[0]
    if e.primitive.name.startswith("custom_"):
        return True
    within = next(iter(graph.jaxprs_in(tuple(e.params.values()))), None)
    return within is not None and is_one_rule(within)
