"""The bench on which a rule lies: points, cotangents, runs. Only the bench calls the programs."""

import contextlib
import functools
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, cast

import jax
import numpy as np

from jaxnet.checking.approximation import apart, rtol_of
from jaxnet.checking.arbiter import UNTAKEN, Arbiter, Slopes, slopes
from jaxnet.checking.arrays import (
    Array,
    largest,
    on_host,
    size_of_terms,
    spread,
    times,
    typical,
)
from jaxnet.checking.cells import Cell, Inputs, Point
from jaxnet.checking.problem import Leaves, Problem, as_dtypes, eps_of
from jaxnet.checking.programs import NarrowRun, Programs, Run
from jaxnet.checking.tangents import BLOCK, Forward, ForwardRun, Push, slopes_of
from jaxnet.checking.traces import RuleShapes, Working, first_line, precision_of, unlogged

COTANGENTS = 4  # one alone may happen to suit autodiff
MOVES = 4  # of the inputs: one in eight numbers goes the same way in all, few of its neighbours do
# Nobody draws arguments from it: a cotangent equal to an argument would hide a transposed product.
STREAM = 0x6A61786E6574


class Draw(NamedTuple):
    """The arguments, and random cotangents for them, as they are in some working dtype."""

    working: Working
    leaves: Leaves
    cotangents: Sequence[Leaves]  # in the dtypes of the outputs there


@dataclass(frozen=True)
class Look:
    """What was seen at one point.

    runs: one for each cotangent; moved: with all inputs moved by an eps.
    """

    x: Leaves
    cs: Sequence[Leaves]
    runs: Sequence[Run]
    moved: Sequence[Run]

    def rule(self, cell: Cell, k: int) -> Array:
        """[cotangents, ...] of leaf k, by the rule."""
        return np.stack([run.rule[cell.key][k] for run in self.runs])

    def ref(self, cell: Cell, k: int) -> Array:
        """[cotangents, ...] of leaf k, by the reference."""
        return np.stack([run.ref[cell.key][k] for run in self.runs])

    def noise(self, cell: Cell, k: int) -> Array:
        """How far the reference's cotangent of leaf k moves with the inputs, element by element."""
        return spread([m.ref[cell.key][k] for m in self.moved], self.runs[0].ref[cell.key][k])

    def is_finite(self) -> bool:
        return all(np.isfinite(v).all() for v in self.runs[0].value)


@dataclass(frozen=True)
class Bench:
    """A problem with its programs. The draws of one question never depend on another's."""

    problem: Problem
    programs: Programs
    seed: int
    skipped: dict[str, str] = field(default_factory=dict)  # points where f raised: how -> what
    parted: list[str] = field(default_factory=list)  # points where ref is another function

    @property
    def eps(self) -> float:
        return self.programs.eps

    @property
    def value_eps(self) -> float:
        """That of the value, which may be rounded where cotangents are not."""
        return self.programs.value_eps

    @property
    def plain(self) -> Cell:
        """The function as it is."""
        return self.programs.cells[0]

    def count(self, usual: int) -> int:
        """Of runs that differ in random numbers alone."""
        return usual // 2 if self.problem.is_long else usual

    def stream(self, question: str) -> np.random.Generator:
        """The random numbers of one question, whatever was asked before."""
        return np.random.default_rng([STREAM, self.seed, zlib.crc32(question.encode())])

    # -- points

    def draw(self, working: Working, shapes: RuleShapes) -> Draw:
        """Cotangents are random normal, never ones: what a sum hides is seen.

        shapes: of what the rule returns in this dtype.
        """
        leaves = as_dtypes(self.problem.leaves, working.dtypes)
        rng = self.stream(f"cotangents {working.name}")

        def cotangents() -> Leaves:
            return tuple(np.asarray(rng.normal(size=s.shape)).astype(s.dtype) for s in shapes.value)

        return Draw(working, leaves, [cotangents() for _ in range(self.count(COTANGENTS))])

    def look_at(self, draw: Draw, rng: np.random.Generator | None) -> Look:
        """The same numbers, which widening leaves as they are, in the dtypes of the algebra."""
        x = as_dtypes(draw.leaves, [a.dtype for a in self.programs.at.leaves])
        cs = [as_dtypes(c, self.programs.cotangents) for c in draw.cotangents]
        return self.look(x, cs, rng)

    def look(self, x: Leaves, cs: Sequence[Leaves], rng: np.random.Generator | None) -> Look:
        """rng: moves the inputs; None where nobody asks how far the results move with them."""
        return self.look_under(self.plain, x, cs, rng)

    def look_under(
        self, cell: Cell, x: Leaves, cs: Sequence[Leaves], rng: np.random.Generator | None
    ) -> Look:
        """The same of a cell, with the first cotangent alone where it is a transformation."""
        count = len(cs) if cell is self.plain else 1
        runs = [self.run_under(cell, x, cs[k], cs[(k + 1) % len(cs)]) for k in range(count)]
        moved = []
        for _ in range(self.moves(cell) if rng else 0):
            there, c, d = (move(arrays, self.eps, rng) for arrays in (x, cs[0], cs[-1]))
            with self.skipping("every number moved by an eps"):
                moved.append(self.run_under(cell, there, c, d))
        return Look(x, cs, runs, moved)

    def moves(self, cell: Cell) -> int:
        """How often the inputs are moved; differences have bars of their own, which tell more."""
        return self.count(MOVES) if self.programs.has_autodiff(cell) else 0

    @contextlib.contextmanager
    def skipping(self, how: str) -> Iterator[None]:
        """At a point that was made up, so: a function may raise outside of its domain."""
        try:
            with unlogged():
                yield
        except Exception as e:
            self.skipped.setdefault(how, first_line(e))

    def notes(self) -> tuple[str, ...]:
        parted = f"with {self.parted[0]}" if self.parted else ""
        note = f"ref has another value than f at points that were made up, left out: {parted}"
        return (*self._said_of_skipped(), *([note] if parted else []))

    def _said_of_skipped(self) -> tuple[str, ...]:
        if not self.skipped:
            return ()
        points = ", ".join(f"with {how}" for how in list(self.skipped)[:3])
        more = f" and {len(self.skipped) - 3} more" if len(self.skipped) > 3 else ""
        why = next(iter(self.skipped.values()))
        return (
            f"f raised at points that were made up, which were skipped: {points}{more} ({why})",
        )

    # -- runs

    def run(self, x: Leaves, c: Leaves, d: Leaves) -> Run:
        """Of the function as it is."""
        return self.run_under(self.plain, x, c, d)

    def run_under(self, cell: Cell, x: Leaves, c: Leaves, d: Leaves) -> Run:
        """c, d: the two cotangents; the second is of the neighbour under vmap."""
        run = self.programs.run(cell, Inputs(x, self.problem.others, c, d, projection(x)))
        on_the_host: Run = jax.tree.map(on_host, run)
        return on_the_host

    def run_forward(self, x: Leaves, tangents: Leaves, c: Leaves) -> ForwardRun:
        """Only where the programs have a forward mode."""
        forward = cast(Forward, self.programs.forward)
        with precision_of(self.programs.dtype):
            run = forward.run(Push(x, self.problem.others, tangents, c, projection(x)))
        on_the_host: ForwardRun = jax.tree.map(on_host, run)
        return on_the_host

    def narrow_runs(self, draw: Draw) -> list[NarrowRun]:
        """A run for each cotangent in the working dtype; none where the algebra is judged in it."""
        name = draw.working.name
        if name not in self.programs.working:
            return []
        points = [Point(draw.leaves, self.problem.others, c) for c in draw.cotangents]
        with precision_of(draw.working.widest):
            runs = [self.programs.narrow_run(name, point) for point in points]
        return [jax.tree.map(on_host, run) for run in runs]

    def point(self, cell: Cell, look: Look, row: int) -> Point:
        """What the cell's pullback was given in this run of the look."""
        c, d = look.cs[row], look.cs[(row + 1) % len(look.cs)]
        inputs = Inputs(look.x, self.problem.others, c, d, projection(look.x))
        if cell is self.plain:
            return cell.prepare(inputs)  # in NumPy: nothing is compiled
        with precision_of(self.programs.dtype):
            return cell.prepare(inputs)

    # -- sizes

    def rtol(self, look: Look) -> float:
        """How far a rule may be off there, as an approximation."""
        return rtol_of(self.problem, max(apart(self.problem, run) for run in look.runs))

    def sizes(self, look: Look, own: bool = False) -> Leaves:
        """Of each output of the cell that was looked at, the size of what is rounded in it.

        own: in the rule's function, not in the reference.
        """
        of = "forward" if own else "ref_value"
        values = getattr(look.runs[0], of)
        moved = [getattr(m, of) for m in look.moved]
        return tuple(
            size_of_terms(v, [m[j] for m in moved], self.eps) for j, v in enumerate(values)
        )

    def natural(self, look: Look, k: int, point: Point | None = None) -> float:
        """The natural size of a slope, value over argument: noise is far below it.

        point: of the cell that was looked at.
        """
        point = point or self.point(self.plain, look, 0)
        with np.errstate(all="ignore"):
            products = map(np.multiply, map(on_host, point.cotangents), self.sizes(look))
            return max(map(largest, products)) / typical(on_host(point.leaves[k]))

    def by_design(self, look: Look, k: int) -> float:
        """How far from its slope a reference that stops gradients is by design, at least.

        inf where it stops none. Half of the digits: finite differences are surer than that.
        """
        if not self.programs.stops_gradient:
            return np.inf
        return float(np.sqrt(self.eps) * self.natural(look, k))

    # -- the arbiter

    def arbiter_along(
        self, x: Leaves, tangents: Sequence[Leaves], before: int, size: float
    ) -> Arbiter:
        """The slope of an element of an output along a tangent, of which row is the number.

        before: how many elements the outputs before it have. size: of what is rounded in it.
        """
        forward = cast(Forward, self.programs.forward)
        known: dict[tuple[int, int], Any] = {}

        def arbitrate(row: int, i: int) -> Slopes:
            block, number = divmod(before + i, BLOCK)
            if (row, block) not in known:
                point = x, self.problem.others, tangents[row]
                with precision_of(self.programs.dtype):
                    measured = forward.differences(*point, block)
                known[row, block] = jax.tree.map(on_host, measured)
            return slopes_of(known[row, block], number, tangents[row], self.value_eps, size)

        return arbitrate

    def arbiter(self, cell: Cell, look: Look, leaf: int, own: bool = False) -> Arbiter:
        """own: of the rule's function, whose gradient is its own, not of the reference's."""
        climb = self.programs.own_ladder if own else self.programs.ladder
        points: dict[int, Point] = {}

        @functools.cache
        def sizes() -> Leaves:
            return tuple(s.astype(self.programs.dtype) for s in self.sizes(look, own))

        def arbitrate(row: int, i: int) -> Slopes:
            if row not in points:
                points[row] = self.point(cell, look, row)
            leaves = points[row].leaves
            before = sum(int(np.prod(a.shape)) for a in leaves[:leaf])
            first = np.asarray(first_step(on_host(leaves[leaf]), i), self.programs.dtype)
            number = np.int32(before + i)
            with self.skipping("one number moved for a difference"):
                return slopes(climb(cell, points[row], number, first, sizes()), self.value_eps)
            return UNTAKEN

        return arbitrate


def first_step(value: Array, i: int) -> float:
    """An eighth of the leaf's typical size, or of the element's own where that is larger.

    A power of two, so that x + h and x - h are as far from x as they can be.
    """
    return float(first_steps(value, np.array([i]))[0])


def first_steps(value: Array, numbers: Array | None = None) -> Array:
    """Of these elements; of all of them."""
    here = np.abs(value.ravel() if numbers is None else value.flat[numbers])
    size = np.fmax(typical(value), np.where(np.isfinite(here), here, 0.0))
    steps: Array = 2.0 ** np.round(np.log2(size)) / 8
    return steps


def move(arrays: Leaves, eps: float, rng: Any) -> Leaves:
    """Every number one eps away, up or down."""
    return tuple(times(x, 1 + eps * rng.choice([-1.0, 1.0], x.shape)) for x in arrays)


def projection(x: Leaves) -> Leaves:
    """The weights with which a gradient is summed, to be differentiated again: no two are alike."""
    return tuple(np.cos(np.arange(a.size, dtype=float)).reshape(a.shape).astype(a.dtype) for a in x)


def working_dtypes(problem: Problem, dtypes: Sequence[Any] | None) -> list[Working]:
    """The arguments' own, or those asked for."""
    own = tuple(x.dtype for x in problem.leaves)
    if dtypes is None:
        return [Working(str(max(own, key=eps_of)), own)]
    return [Working(str(d), (d,) * len(own)) for d in dtypes]
