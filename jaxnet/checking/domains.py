"""Where a leaf's numbers may lie, so that points are made there alone.

The numbers given suggest it: rows that sum to one, or of one 1 and zeros, and numbers in order, are
so by intent; what is normalised otherwise, as rows of length one, is left as it is. Of numbers of
one sign, or FEW or more that fill [0, 1] to its ends, that is likely, unless the function has a
branch for others (branches.py). A number alone beside arrays, a scale or a bound, is likely of that
size too. `domain=` says it exactly.
"""

import enum
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any, NamedTuple, TypeAlias

import jax.numpy as jnp
import numpy as np

from jaxnet.checking.arrays import Array, typical
from jaxnet.checking.problem import LARGE, Problem, eps_of

FEW = 8  # fewer numbers fill no interval
BY_CHANCE = 23  # no more than one in so many arrays is in order, as a row of 4 or two of 3
ENDS = 0.05  # of the interval from 0 to 1: there is a number as near to each end, or nearer
NEAR = 2  # times itself, at most, is a number alone made larger or smaller


class Move(NamedTuple):
    """x -> factor x + shift, in units of each argument's typical size."""

    factor: float
    shift: float

    def __str__(self) -> str:
        if self.shift:
            return f"shifted by {self.shift:g} typical sizes"
        return f"times {self.factor:g}"

    def of(self, value: Array) -> Array:
        moved: Array = value * self.factor + self.shift * typical(value)
        return moved

    def nearer(self) -> "Move":
        """By a factor that is not large, alone."""
        return Move(float(np.clip(abs(self.factor), 1 / NEAR, NEAR)), 0)


class Kind(enum.StrEnum):
    """What may be said of an argument by name."""

    ANY = "any"
    POSITIVE = "positive"
    NEGATIVE = "negative"
    UNIT = "unit"  # from 0 to 1
    SIMPLEX = "simplex"  # rows that sum to one
    ONE_HOT = "one-hot"
    SORTED = "sorted"
    FIXED = "fixed"  # the numbers given, and no others


@dataclass(frozen=True)
class Domain:
    """A kind of numbers; low, high: of an interval; project: to the nearest point."""

    kind: Kind
    low: float = 0.0
    high: float = 1.0
    project: Callable[[Any], Any] | None = None

    is_given: bool = False  # by the caller
    is_sorted: bool = False  # beside a sign or a range
    is_near: bool = False  # beside a sign: not far from the number given
    are_flags: bool = False  # the ends of the interval, and nothing between

    def as_a_branch_has_it(self) -> "Domain":
        """What a branch for other numbers leaves of it: a sign is a guess, unless it is given.

        That of a number alone is left: most branches beside it are for those of the arrays.
        """
        may_be_a_guess = self.kind in (Kind.POSITIVE, Kind.NEGATIVE, Kind.UNIT)
        is_a_guess = may_be_a_guess and not (self.is_given or self.is_near or self.are_flags)
        without = Domain(Kind.SORTED) if self.is_sorted else ANY
        return without if is_a_guess else self

    @property
    def sums_to_one(self) -> bool:
        return self.kind in OF_ROWS

    def moved(self, value: Array, move: Move) -> Array:
        """The numbers after a move, in the domain; as they are, where it has no such move."""
        if self.project:
            return np.asarray(self.project(move.of(value)), np.float64)
        move = move.nearer() if self.is_near else move
        moved = _MOVES[self.kind](self, value, move)
        moved = _below_one(moved, value) if self.is_near else moved
        return np.sort(moved, axis=-1) if self.is_sorted else moved

    def holds(self, leaf: Any) -> bool:
        """Whether these numbers are such; of a function nobody knows."""
        x, holds = np.asarray(leaf, np.float64), _HOLDS.get(self.kind)
        if holds is None or not np.isfinite(x).all():
            return True
        if self.kind is Kind.UNIT:
            x = (x - self.low) / (self.high - self.low)
        is_ordered = _ascend(x, 0) or not self.is_sorted
        return is_ordered and holds(x, eps_of(leaf.dtype))

    def near(self, x: Any) -> Any:
        """Of numbers hardly outside, the nearest in the domain; of one-hot rows, other such."""
        if self.are_flags:
            return jnp.where(2 * x > self.low + self.high, self.high, self.low).astype(x.dtype)
        near = self.project(x) if self.project else _NEAR[self.kind](self, x)
        return jnp.sort(near, axis=-1) if self.is_sorted else near


ANY, FIXED = Domain(Kind.ANY), Domain(Kind.FIXED)
OF_ROWS = (Kind.SIMPLEX, Kind.ONE_HOT)
ELEMENTWISE = (Kind.ANY, Kind.POSITIVE, Kind.NEGATIVE, Kind.UNIT, Kind.FIXED)
Given: TypeAlias = dict[str, Domain]


def domain_of(problem: Problem, k: int) -> Domain:
    return problem.domains[k] if problem.domains else ANY


def domains_of(problem: Problem, given: Given) -> tuple[Domain, ...]:
    """Of each leaf: as given for its argument, or as its numbers suggest."""
    names = [problem.arguments[a] for a in problem.argument]
    most = max((x.size for x in problem.leaves), default=0)
    return tuple(
        given[name] if name in given else suggested(x, x.size < most)
        for name, x in zip(names, problem.leaves, strict=True)
    )


def of_sample(domain: Domain) -> tuple[Domain, Domain]:
    """Of a few numbers of a large array, and of factors of all of them."""
    if domain.kind not in ELEMENTWISE or domain.is_sorted or domain.project:
        return FIXED, FIXED  # what holds of whole rows
    is_sign = domain.kind in (Kind.POSITIVE, Kind.NEGATIVE)
    of_factors = {Kind.ANY: ANY}.get(domain.kind, FIXED)
    return domain, replace(domain, kind=Kind.POSITIVE) if is_sign else of_factors


# -- what the numbers suggest


def suggested(leaf: Any, beside_larger: bool = False) -> Domain:
    """beside_larger: is there a leaf of more numbers?"""
    x = np.asarray(_some(leaf), np.float64)
    is_alone = x.size == 1
    if not x.size or not np.isfinite(x).all() or (is_alone and not beside_larger):
        return ANY
    if flags := _flags(x):
        return flags
    is_sorted = _are_in_order(x)
    for kind, suggests in _SUGGESTS.items():
        if suggests(x, eps_of(leaf.dtype)):
            in_order = is_sorted and kind not in OF_ROWS
            return Domain(kind, is_sorted=in_order, is_near=is_alone)
    return Domain(Kind.SORTED) if is_sorted else ANY


def _some(x: Any) -> Any:
    """Of a large array the first rows tell."""
    if x.size <= LARGE or x.ndim == 0:
        return x
    return x.reshape(-1, x.shape[-1])[: max(1, LARGE // x.shape[-1])]


def _are_one_hot(x: Array, eps: float) -> bool:
    return _sum_to_one(x, eps) and bool(((x == 0) | (x == 1)).all())


def _sum_to_one(x: Array, eps: float) -> bool:
    return _are_rows(x) and bool((x >= 0).all()) and _are_one(x.sum(-1), x, eps)


def _are_normalised(x: Array, eps: float) -> bool:
    """Rows of length one, columns or a table that sum to one, rows of such logarithms."""
    return _are_rows(x) and any(_are_one(total, x, eps) for total in _sums(x))


def _sums(x: Array) -> Iterator[Array]:
    yield (x**2).sum(-1)
    if x.ndim > 1 and (x >= 0).all():
        yield x.sum(-2)
        yield np.asarray(x.sum())
    if (x <= 0).all():
        yield np.exp(x).sum(-1)


def _are_rows(x: Array) -> bool:
    return x.ndim > 0 and x.shape[-1] > 1


def _are_one(total: Array, x: Array, eps: float) -> bool:
    return bool((np.abs(total - 1) <= eps * (4 + x.shape[-1])).all())


def _ascend(x: Array, eps: float) -> bool:
    return x.ndim > 0 and bool((np.diff(x, axis=-1) >= 0).all())


def _are_in_order(x: Array) -> bool:
    if not _ascend(x, 0) or x.min() == x.max():
        return False
    rows = x.size // x.shape[-1]
    return bool(rows * math.lgamma(1 + x.shape[-1]) >= math.log(BY_CHANCE))


def _fill_the_unit(x: Array, eps: float) -> bool:
    is_inside = x.size >= FEW and x.min() >= 0 and x.max() <= 1
    return bool(is_inside and x.min() <= ENDS and x.max() >= 1 - ENDS)


def _flags(x: Array) -> Domain | None:
    """Of a mask, whose numbers are 0 and 1, or of labels, which are -1 and 1."""
    values = set(np.unique(x))
    if x.size < FEW or values not in ({0.0, 1.0}, {-1.0, 1.0}) or _are_one_hot(x, 0.0):
        return None
    return Domain(Kind.UNIT, min(values), are_flags=True)


_HOLDS: dict[Kind, Callable[[Array, float], bool]] = {
    Kind.POSITIVE: lambda x, eps: bool((x >= 0).all()),
    Kind.NEGATIVE: lambda x, eps: bool((x <= 0).all()),
    Kind.UNIT: lambda x, eps: bool(((x >= -8 * eps) & (x <= 1 + 8 * eps)).all()),
    Kind.ONE_HOT: _are_one_hot,
    Kind.SIMPLEX: _sum_to_one,
    Kind.SORTED: _ascend,
}
_SUGGESTS: dict[Kind, Callable[[Array, float], bool]] = {
    Kind.ONE_HOT: _are_one_hot,
    Kind.SIMPLEX: _sum_to_one,
    Kind.FIXED: _are_normalised,
    Kind.UNIT: _fill_the_unit,
    Kind.POSITIVE: lambda x, eps: bool((x >= 0).all() and x.any()),
    Kind.NEGATIVE: lambda x, eps: bool((x <= 0).all() and x.any()),
}


# -- moves in a domain


def _within(domain: Domain, value: Array, move: Move) -> Array:
    """To the ends of the interval, as powers of what part of it lies below; mirrored for -1."""
    part = (value - domain.low) / (domain.high - domain.low)
    part = 1 - part if move.factor < 0 else part
    part = part if move.shift else part ** abs(move.factor)
    return domain.low + (domain.high - domain.low) * part


def _below_one(moved: Array, value: Array) -> Array:
    """A rate, a discount, a probability stays less than 1."""
    below: Array = np.clip(moved, (value - 1) / 2, (value + 1) / 2)
    return below if np.abs(value).max() < 1 else moved


def _sharper(domain: Domain, value: Array, move: Move) -> Array:
    """Rows of powers, that sum to one again; the other way round for -1."""
    value = value[..., ::-1] if move.factor < 0 else value
    power = value if move.shift else value ** abs(move.factor)
    total = power.sum(-1, keepdims=True)
    rows: Array = np.where(total > 0, power / np.where(total > 0, total, 1), value)
    return rows


def _another_column(domain: Domain, value: Array, move: Move) -> Array:
    return np.roll(value, 1, axis=-1) if move.factor < 0 else value


_MOVES: dict[Kind, Callable[[Domain, Array, Move], Array]] = {
    Kind.ANY: lambda domain, value, move: move.of(value),
    Kind.POSITIVE: lambda domain, value, move: np.abs(move.of(value)),
    Kind.NEGATIVE: lambda domain, value, move: -np.abs(move.of(value)),
    Kind.UNIT: _within,
    Kind.SIMPLEX: _sharper,
    Kind.ONE_HOT: _another_column,
    Kind.SORTED: lambda domain, value, move: np.sort(move.of(value), axis=-1),
    Kind.FIXED: lambda domain, value, move: value,
}


# -- hardly moved

_NEAR: dict[Kind, Callable[[Domain, Any], Any]] = {
    Kind.ANY: lambda domain, x: x,
    Kind.POSITIVE: lambda domain, x: x,
    Kind.NEGATIVE: lambda domain, x: x,
    Kind.UNIT: lambda domain, x: jnp.clip(x, domain.low, domain.high),
    Kind.SIMPLEX: lambda domain, x: x / jnp.sum(x, -1, keepdims=True),
    Kind.ONE_HOT: lambda domain, x: jnp.roll(jnp.round(x), 1, -1).astype(x.dtype),
    Kind.SORTED: lambda domain, x: jnp.sort(x, axis=-1),
    Kind.FIXED: lambda domain, x: x,
}


# -- what a caller says


def require_domains(domain: Any, problem: Problem) -> Given:
    """By argument. Raises TypeError and ValueError, also where the numbers given lie outside."""
    if domain is None:
        return {}
    if not isinstance(domain, dict):
        raise TypeError(
            f"check: domain must be a dict of argument names such as {{'x': 'positive'}}, "
            f"got {type(domain).__name__}"
        )
    names = [problem.arguments[a] for a in problem.argument]
    unknown = [name for name in domain if name not in names]
    if unknown:
        floating = ", ".join(dict.fromkeys(names))
        raise ValueError(
            f"check: domain names {unknown[0]!r}, which is no floating argument ({floating})"
        )
    given = {name: _domain(name, said) for name, said in domain.items()}
    for name, x in zip(names, problem.leaves, strict=True):
        if name in given and not given[name].holds(x):
            raise ValueError(
                f"check: the numbers given for {name!r} do not lie in its domain, {domain[name]!r}"
            )
    return given


def _domain(name: str, said: Any) -> Domain:
    if isinstance(said, str) and said in set(Kind):
        return Domain(Kind(said), is_given=True)
    if callable(said):
        return Domain(Kind.ANY, project=said, is_given=True)
    if _is_interval(said):
        return Domain(Kind.UNIT, float(said[0]), float(said[1]), is_given=True)
    kinds = ", ".join(map(repr, map(str, Kind)))
    raise ValueError(
        f"check: domain of {name!r} must be one of {kinds}, a pair (low, high), or a function that "
        f"returns the nearest point of the domain; got {said!r}"
    )


def drawn(said: Any, x: Array) -> Array:
    """Random normal numbers, brought to where the caller says that they lie."""
    domain = _domain("x", said)
    brought: Array = _DRAWN[domain.kind](domain, np.asarray(x, np.float64))
    return brought


def _rows_of(x: Array) -> Array:
    power = np.exp(x - x.max(-1, keepdims=True))
    rows: Array = power / power.sum(-1, keepdims=True)
    return rows


_DRAWN: dict[Kind, Callable[[Domain, Array], Array]] = {
    Kind.ANY: lambda domain, x: x,
    Kind.POSITIVE: lambda domain, x: np.abs(x),
    Kind.NEGATIVE: lambda domain, x: -np.abs(x),
    Kind.UNIT: lambda domain, x: domain.low + (domain.high - domain.low) / (1 + np.exp(-x)),
    Kind.SIMPLEX: lambda domain, x: _rows_of(x),
    Kind.ONE_HOT: lambda domain, x: (x == x.max(-1, keepdims=True)).astype(x.dtype),
    Kind.SORTED: lambda domain, x: np.sort(x, axis=-1),
    Kind.FIXED: lambda domain, x: x,
}


def _is_interval(said: Any) -> bool:
    if not isinstance(said, tuple | list) or len(said) != 2:
        return False
    are_numbers = all(isinstance(x, int | float) and np.isfinite(x) for x in said)
    return are_numbers and bool(said[0] < said[1])
