"""Arrays of numbers without rounding: what is known of each number.

A number is known in three ways: as a float at one point, which decides branches; modulo p at every
random point; and by its exponential. With q dividing p - 1 the last is g^q · m: q is the number
modulo q, m is what logarithms in it contribute (m of log s is s).
"""

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any, NamedTuple, TypeAlias

import numpy as np

from jaxnet.proving.bound import Size
from jaxnet.proving.field import Element, imaginary, of_arrays

Array: TypeAlias = Any


class Factor(NamedTuple):
    """What the logarithms in numbers contribute to their exponentials."""

    p: Element
    size: Size
    roots: Mapping[tuple[int, int], int] = MappingProxyType({})  # as Points.radicands


@dataclass(frozen=True)
class Numbers:
    f: Array  # float64, at the point that decides branches
    p: Element  # modulo p, [points, ...], as the next two
    ok: Array  # whether p is the number: not of infinity, NaN or 1/0
    q: Array  # modulo q
    has_q: Array  # where q and m say what the exponential is
    m: Factor | None  # 1 where it is None
    is_literal: bool  # made of literals alone
    size: Size  # bounds for every number of the array
    # Which variables each number is made of, a bit each; None of literals, and without roots.
    deps: Array | None = None

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(self.f.shape)

    def moved(self, move: Callable[[Array], Array]) -> "Numbers":
        """Numbers in other places. move: of an array [points, ...] with all elements in a row."""

        def at_points(x: Array) -> Array:
            return move(x.reshape(x.shape[0], -1))

        return replace(
            self,
            f=np.asarray(at_points(self.f[None])[0]),
            p=of_arrays(at_points, self.p),
            ok=at_points(self.ok),
            q=at_points(self.q),
            has_q=at_points(self.has_q),
            m=None if self.m is None else self.m._replace(p=of_arrays(at_points, self.m.p)),
            deps=None if self.deps is None else as_objects(at_points(self.deps[None])[0]),
        )

    def at(self, positions: Array) -> "Numbers":
        """Of the elements in a row, those at these positions."""
        return self.moved(lambda x: x[:, positions])

    def reshaped(self, shape: tuple[int, ...]) -> "Numbers":
        return self.moved(lambda x: x.reshape(len(x), *shape))


def union(a: Array | None, b: Array | None) -> Array | None:
    """Of the variables that two arrays of numbers are made of."""
    if a is None or b is None:
        return b if a is None else a
    return as_objects(a | b)


def of_rows(deps: Array | None, axis: int) -> Array | None:
    """Of all numbers of a row, with an axis more."""
    if deps is None:
        return None
    return np.expand_dims(as_objects(np.bitwise_or.reduce(deps, -1)), axis)


def as_objects(x: Any) -> Array:
    return np.asarray(x, object)  # NumPy makes a number of an array without axes


def joined(parts: list[Numbers]) -> Numbers:
    """The elements of all of them in one row."""
    flat = [x.reshaped((-1,)) for x in parts]
    size = functools.reduce(Size.largest, [x.size for x in flat])
    return Numbers(
        f=np.concatenate([x.f for x in flat]),
        p=_elements_in_a_row([x.p for x in flat]),
        ok=np.concatenate([x.ok for x in flat], axis=1),
        q=np.concatenate([x.q for x in flat], axis=1),
        has_q=np.concatenate([x.has_q for x in flat], axis=1),
        m=_factors_in_a_row(flat),
        is_literal=all(x.is_literal for x in flat),
        size=size,
        deps=_deps_in_a_row(flat),
    )


def _factors_in_a_row(parts: list[Numbers]) -> Factor | None:
    if all(x.m is None for x in parts):
        return None
    factors = [x.m or Factor(Element(np.ones_like(x.q)), Size()) for x in parts]
    roots = [f.roots for f in factors]
    return Factor(
        _elements_in_a_row([f.p for f in factors]),
        functools.reduce(Size.largest, [f.size for f in factors]),
        {key: deps for some in roots for key, deps in some.items()},
    )


def _elements_in_a_row(parts: list[Element]) -> Element:
    re = np.concatenate([x.re for x in parts], axis=1)
    if all(x.im is None for x in parts):
        return Element(re)
    return Element(re, np.concatenate([imaginary(x) for x in parts], axis=1))


def _deps_in_a_row(parts: list[Numbers]) -> Array | None:
    if all(x.deps is None for x in parts):
        return None
    return np.concatenate([np.zeros(x.f.size, object) if x.deps is None else x.deps for x in parts])
