"""Where custom rules are called in a graph, what each meets there, and what f differentiates there.

A site is an equation that calls a rule, with the equations around it.
"""

import functools
import itertools
import operator
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, cast

import jax
import jax.numpy as jnp
import numpy as np

from jaxnet import _graph
from jaxnet.checking import lines
from jaxnet.checking.problem import Problem
from jaxnet.checking.traces import WIDE, ctrl_c_comes_through, precision_of

NOWHERE = "?"  # JAX says neither where the rule is called nor where it is defined


class Found:
    """An equation that calls a rule, and what it met.

    sources: of each input, which arguments of f move it, a bit for each. is_wanted: of each output,
    whether f's derivative comes from it.
    """

    def __init__(self, e: Any, chain: _graph.Chain, rtol: float | None = None) -> None:
        self.equation, self.chain, self.rtol = e, chain, rtol
        self.in_float64: Any = None  # the same equation where f is in float64, if there is one
        self.ref: Callable[..., Any] | None = None  # the function without its rule, where given
        self.count = 0
        self.first: list[Any] | None = None
        self.last: list[Any] | None = None
        self.sources = [1] * len(e.invars)
        self.is_wanted = [True] * len(e.outvars)

    @property
    def kind(self) -> str:
        return cast(str, _graph.kind_of_rule(self.equation))

    @property
    def name(self) -> str:
        return _graph.name_of_rule(self.equation)

    @property
    def place(self) -> tuple[int, ...]:
        return _place(self.equation, self.chain)

    @property
    def is_shadowed(self) -> bool:
        return any(_graph.kind_of_rule(e) for e in self.chain)

    # -- what it met

    def tell(self, *values: Any) -> None:
        self.count += 1
        self.last = [_kept(v) for v in values]
        self.first = self.first or self.last

    def points(self) -> list[list[Any]]:
        """What was met first and last."""
        if self.first is None or self.last is None:
            return []
        return [self.first] if self.last is self.first else [self.first, self.last]

    # -- what f differentiates there

    @property
    def takes_numbers(self) -> bool:
        """Whether there is anything that could be differentiated."""
        return any(map(_graph.is_differentiable, _graph.inputs_of(self.equation)))

    @property
    def is_differentiated(self) -> bool:
        numbers = map(_graph.is_differentiable, self.outputs())
        return any(self.moved_by()) and any(numbers)

    def moved_by(self) -> list[int]:
        """Of each input, the arguments of f by which the rule sees it moved."""
        e, first = self.equation, _graph.closed_over(self.equation)
        moved = dict.fromkeys(_graph.inputs_of(e), 0)
        for v, sources in zip(e.invars[first:], self.sources[first:], strict=True):
            if not _graph.is_literal(v) and _graph.is_differentiable(v):
                moved[v] |= sources
        return list(moved.values())

    def outputs(self) -> list[Any]:
        """What is compared: what f's derivative comes from, and what is no floating number."""
        wanted = dict(zip(self.equation.outvars, self.is_wanted, strict=True))
        used = _graph.outputs_of(self.equation)
        return [v for v in used if wanted[v] or not _graph.is_differentiable(v)]

    def numbers_of_floating_outputs(self) -> list[int]:
        """Which of the rule's outputs are compared and floating."""
        compared = {v for v in self.outputs() if _graph.is_differentiable(v)}
        return [i for i, v in enumerate(self.equation.outvars) if v in compared]

    # -- where it stands

    def where(self) -> str:
        # What is traced once and called from many places, as a jitted function, has the frames of
        # its calls outside it.
        frames: list[lines.Frame] = []
        for e in (*self.chain, self.equation):
            frames += [f for f in reversed(lines.users_frames(e)) if f not in frames]
        called = " > ".join(f"{f.name} ({f.place})" for f in frames[-3:])
        place = called or _place_of_definition(self.equation)
        names = [_graph.name_of_equation(e) for e in self.chain]
        around = ", ".join(name for name in names if name != "closed_call")
        return f"{place}, in {around}" if around else place


def _kept(value: Any) -> Any:
    is_key = isinstance(value, jax.Array) and jnp.issubdtype(value.dtype, jax.dtypes.extended)
    return value if is_key else np.array(value)


def _place(e: Any, chain: _graph.Chain) -> tuple[int, ...]:
    """One equation, as that of a jitted function, may be met at many places."""
    return (*map(id, chain), id(e))


def is_shard_map(e: Any) -> bool:
    return bool(e.primitive.name == "shard_map")


def _place_of_definition(e: Any) -> str:
    """For a rule that no line of the user's calls: a library's model is audited itself."""
    file, _, line = _graph.place_of_function(_graph.body_of_rule(e)).rpartition(":")
    return f"its definition ({Path(file).name}:{line})" if file else NOWHERE


# -- finding them


def trace_flat(problem: Problem, arrays: Sequence[Any]) -> Any:
    """f as a jaxpr of all its arrays."""
    count = len(problem.leaves)

    def flat(*xs: Any) -> Any:
        return problem.rule(xs[:count], xs[count:])

    return _graph.with_own_constants(jax.make_jaxpr(flat)(*arrays), {})


def rules_in(jaxpr: Any, rtol: float | None = None) -> list[Found]:
    """rtol: that is asked of each."""
    every = _graph.equations(jaxpr)
    return [Found(e, chain, rtol) for e, chain in every if _graph.kind_of_rule(e)]


def meet_values(jaxpr: Any, found: list[Found], arrays: Sequence[Any]) -> None:
    """Run f once; every rule notes what it is called with."""
    by_place = {f.place: f for f in found}

    def wanted(e: Any, chain: _graph.Chain) -> _graph.Wiretap | None:
        site = by_place.get(_place(e, chain))
        if site is None:
            return None
        first = [e.invars.index(v) for v in _graph.inputs_of(e)]
        return _graph.Wiretap(lambda *every: [every[i] for i in first], site.tell)

    tapped = jax.jit(_graph.as_function(_graph.tap(jaxpr, wanted)))
    with ctrl_c_comes_through():
        cast(Any, jax).block_until_ready(tapped(*arrays))
        cast(Any, jax).effects_barrier()


def find_in_float64(problem: Problem, found: list[Found]) -> None:
    """Give each the same equation as f has it in float64, unless f has others there."""
    wide = tuple(np.asarray(x).astype(WIDE) for x in problem.leaves)
    with precision_of(WIDE):
        try:
            jaxpr = trace_flat(problem, (*wide, *problem.others))
        except Exception:
            return
    there = rules_in(jaxpr)
    if [f.name for f in there] == [f.name for f in found]:
        for site, twin in zip(found, there, strict=True):
            site.in_float64 = twin.equation


def find_what_is_differentiated(problem: Problem, jaxpr: Any, found: list[Found]) -> None:
    """Tell each which of its inputs the arguments of f move, and which outputs f's depend on.

    jaxpr: f, of the leaves and then the other arrays. Where it writes to memory, whose contents
    nobody follows, all count as differentiated.
    """
    if _graph.has_references(jaxpr):
        return
    arguments = [1 << a for a in problem.argument]
    by_place = {f.place: f for f in found}
    number = itertools.count(len(problem.arguments))
    outputs = {f.place: [1 << next(number) for _ in f.equation.outvars] for f in found}

    def meet(e: Any, chain: _graph.Chain, sources: list[int]) -> list[int]:
        place = _place(e, chain)
        by_place[place].sources = [s & union(arguments) for s in sources]
        return outputs[place]

    reached = union(_graph.flow(jaxpr, arguments + [0] * len(problem.others), meet))
    for site in found:
        site.is_wanted = [bool(bit & reached) for bit in outputs[site.place]]


def union(sources: Sequence[int]) -> int:
    return functools.reduce(operator.or_, sources, 0)
