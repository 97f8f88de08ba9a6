"""What the catalogue says of one rule, and the draws that its points are made of.

A draw makes arguments from a random stream: rng -> the positional arguments of the rule.
"""

import functools
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np

import jaxnet

Args: TypeAlias = tuple[Any, ...]
Draw: TypeAlias = Callable[[np.random.Generator], Args]
Gradient: TypeAlias = Callable[..., Args]  # (cotangent, *args) -> true gradients, in float64

TIMED, SMALLER = (2048, 1024), (512, 1024)  # shapes of x for the time
ROWWISE: dict[str, Any] = {"axis": -1, "keepdims": True}


def stream(rule: str, point: str) -> np.random.Generator:
    """The random numbers of one point: a point more, or a rule more, moves those of no other."""
    return np.random.default_rng([zlib.crc32(rule.encode()), zlib.crc32(point.encode())])


@dataclass(frozen=True)
class Case:
    """Points by name, floating arguments in float64, and the options the rule takes at each."""

    points: Mapping[str, Draw]
    options: tuple[dict[str, Any], ...] = ({},)


@dataclass(frozen=True)
class Measure:
    """What the benchmark measures of a rule, beside autodiff of the textbook's expression.

    For time and memory x is normal, of both signs: a rule of positive numbers is measured at |x|.
    """

    name: str = ""  # "": the rule's; a rule that is measured twice needs a second one
    hand: Callable[..., Any] | None = None  # None: the rule at its defaults
    # the best that there is without the rule; None: the textbook that the tests read
    text: Callable[..., Any] | None = None
    # (rng, rows, columns) -> the arguments after x [rows, columns]
    rest: Callable[[np.random.Generator, int, int], Args] = lambda rng, rows, columns: ()
    # where the error is measured
    points: Callable[[np.random.Generator], Sequence[Args]] = lambda rng: ()
    # None: autodiff of text in float64, where that is right at these points; else a formula, which
    # a test holds to that at positive numbers
    truth: Gradient | None = None
    cotangent: Callable[[tuple[int, ...]], np.ndarray] = lambda shape: np.random.default_rng(
        1
    ).normal(size=shape)
    timed: tuple[int, int] = TIMED
    counted: tuple[int, int] | None = None  # x for the bytes; None: as timed, or what is usual
    reason: str = ""  # why the rule is slower than the textbook's, or is here without a gain

    def ways(self) -> dict[str, Callable[..., Any]]:
        if self.hand is None or self.text is None:
            raise TypeError("a Measure has its functions from Entry.measured()")
        auto = jaxnet.auto(self.hand)
        return {"hand": self.hand, "auto": auto, "ckpt": jax.checkpoint(auto), "text": self.text}

    def args(self, rows: int, columns: int) -> Args:
        rng = stream(self.name, "timed")
        return (normal32(rng, rows, columns), *self.rest(rng, rows, columns))

    def error_points(self) -> Sequence[Args]:
        return self.points(stream(self.name, "error"))


@dataclass(frozen=True)
class Entry:
    """A rule; the same function as it stands in a textbook; where it is held, and what it gives."""

    rule: Any
    textbook: Callable[..., Any]
    cases: tuple[Case, ...]
    measures: tuple[Measure, ...] = (Measure(),)
    faults: dict[str, Any] = field(default_factory=dict)  # name -> the rule with that fault

    def __post_init__(self) -> None:
        names = [name for case in self.cases for name in case.points]
        twice = {name for name in names if names.count(name) > 1}
        if twice:
            raise ValueError(f"{self.name}: two points of one name have one stream: {twice}")

    @property
    def name(self) -> str:
        return str(self.rule.__name__)

    @property
    def default_case(self) -> Case:
        """The first case at the rule's defaults, or, of a rule that has none, the first."""
        return next((case for case in self.cases if not case.options[0]), self.cases[0])

    def draw(self, case: Case) -> dict[str, Args]:
        return {name: point(stream(self.name, name)) for name, point in case.points.items()}

    def under(self, options: dict[str, Any]) -> Callable[..., Any]:
        return functools.partial(self.rule, **options) if options else self.rule

    def measured(self) -> dict[str, Measure]:
        """The measures by name, each with the functions that it left to this entry."""
        complete = [
            replace(
                measure,
                name=measure.name or self.name,
                hand=measure.hand or self.rule,
                text=measure.text or self.textbook,
            )
            for measure in self.measures
        ]
        return {measure.name: measure for measure in complete}

    def fault(self, name: str, **halves: Callable[..., Any]) -> None:
        """Plant a fault: the rule with another backward, or another forward."""
        if name in self.faults:
            raise ValueError(f"{self.name} has two faults called {name!r}")
        self.faults[name] = self.rule.but(**halves)

    def spoil(self, name: str, change: Callable[..., Args]) -> None:
        """Plant a fault: change(*right cotangents, residuals, cotangent) -> the wrong ones."""

        def backward(residuals: Any, dy: Any, **options: Any) -> Args:
            right = self.rule.halves.backward(residuals, dy, **options)
            return change(*right, residuals, dy)

        self.fault(name, backward=backward)


def changed(residuals: Any, new: Mapping[int, Any]) -> Any:
    """Residuals with others at these places, of the type that the rule's backward expects."""
    items = [new.get(i, item) for i, item in enumerate(residuals)]
    make = getattr(residuals, "_make", tuple)
    return make(items)


# Points of the tests.


def normals(*shapes: tuple[int, ...], scale: float = 1.0) -> Draw:
    """A normal array of each shape."""
    return lambda rng: tuple(scale * rng.normal(size=shape) for shape in shapes)


def given(*arrays: Any) -> Draw:
    """Always these."""
    return lambda rng: arrays


def affine(rows: tuple[int, ...], fan_in: int, fan_out: int) -> Draw:
    """x, weight and bias."""
    return normals((*rows, fan_in), (fan_out, fan_in), (fan_out,))


# Points of the benchmark.


def normal32(rng: np.random.Generator, *shape: int) -> np.ndarray:
    return rng.normal(size=shape).astype(np.float32)


def scaled_rows(rng: np.random.Generator, *scales: float, columns: int = 64) -> list[Args]:
    """Three rows of each scale."""
    return [(np.float32(scale) * normal32(rng, 3, columns),) for scale in scales]


def in_bfloat16(*arrays: Any) -> Args:
    return tuple(jnp.asarray(a, jnp.bfloat16) if a.dtype == np.float32 else a for a in arrays)
