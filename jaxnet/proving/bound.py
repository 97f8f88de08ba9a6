"""How often two different graphs look equal: degrees and coefficients are counted along the graph.

A number is P/(N1^e1 N2^e2 ...), polynomials with integer coefficients in the inputs (and in what is
taken for an input: an exponential, an unknown function). The N are what something was divided by
before. A sum stands over the common denominator, each power the larger of the two; in a product the
powers add up. Size holds bounds for P: its degree, and the log of the sum of its absolute
coefficients, in bits.

Two different numbers have a difference P/D with P ≠ 0. At one point it looks like 0 if the prime
divides every coefficient of P (P's sum of coefficients is below 2^bits, each prime takes 29 of
these bits, and the prime was drawn from PAIRS), or if the point is a root of P modulo the prime (at
most degree / values of each coordinate: Schwartz and Zippel). Points are independent.
"""

import functools
import operator
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, NamedTuple

from jaxnet.proving.field import LEAST, PAIRS

HUGE = 1e30  # a bound above it says nothing


@dataclass(frozen=True, eq=False)
class Divisor:
    """By what an array of numbers was divided: the product of polynomials N, one for each."""

    degree: float
    bits: float


Powers = Mapping[Divisor, float]


class Size(NamedTuple):
    """Bounds for every number of an array, over one common denominator."""

    degree: float = 0.0
    bits: float = 0.0
    powers: Powers = MappingProxyType({})

    def over(self, powers: Powers) -> "Size":
        """The same numbers over a larger denominator."""
        degree, bits = self.degree, self.bits
        for divisor, power in powers.items():
            more = power - self.powers.get(divisor, 0.0)
            degree += more * divisor.degree
            bits += more * divisor.bits
        return Size(min(degree, HUGE), min(bits, HUGE), powers)

    def largest(self, other: "Size") -> "Size":
        """Of numbers of this size and of numbers of the other."""
        if self.powers == other.powers:
            powers = self.powers
        else:
            powers = _merged(self.powers, other.powers, max)
        a, b = self.over(powers), other.over(powers)
        return Size(max(a.degree, b.degree), max(a.bits, b.bits), powers)

    def plus(self, other: "Size") -> "Size":
        return self.largest(other).sum_of(2)

    def times(self, other: "Size") -> "Size":
        return Size(
            min(self.degree + other.degree, HUGE),
            min(self.bits + other.bits, HUGE),
            _merged(self.powers, other.powers, operator.add),
        )

    def power(self, exponent: float) -> "Size":
        """exponent: at least 0."""
        degree, bits = (min(exponent * x, HUGE) for x in (self.degree, self.bits))
        powers = {d: min(exponent * power, HUGE) for d, power in self.powers.items()}
        return Size(degree, bits, powers)

    def root(self) -> "Size":
        """The root of P/D is that of P D over D: no larger than P or than D."""
        return self.largest(Size())

    def sum_of(self, count: int) -> "Size":
        """Of so many numbers of this size."""
        return self._replace(bits=self.bits + max(count - 1, 0).bit_length())

    def inverse(self, count: int) -> "Size":
        """Of 1/x for so many different numbers x, each P/D: D times the other P, over all P."""
        divisor = Divisor(min(count * self.degree, HUGE), min(count * self.bits, HUGE))
        others = max(count - 1, 0)
        denominator = Size().over(self.powers)
        return Size(
            min(denominator.degree + others * self.degree, HUGE),
            min(denominator.bits + others * self.bits, HUGE),
            {divisor: 1.0},
        )


def _merged(a: Powers, b: Powers, how: Any) -> Powers:
    if not (a and b):
        return a or b
    return {d: min(how(a.get(d, 0.0), b.get(d, 0.0)), HUGE) for d in {**a, **b}}


VARIABLE = Size(1.0)


def chance_at_one_point(difference: Size, exponents: Size, roots: Sequence[int]) -> float:
    """Of a miss. exponents: the largest of what exp was taken of; roots: see `groups`.

    P with k roots in it is 0 only where the product over all signs of the roots is, whose degree is
    2^k times P's. Roots made of other variables than all the rest are looked at one group after the
    other, with every other variable fixed, and their chances add up. A root of what is a square in
    disguise has the wrong sign at every second point.
    """
    of_primes = (difference.bits + exponents.bits) / 29 / PAIRS
    of_points = (difference.degree / 2 + exponents.degree) / (LEAST / 2)
    turns = sum(2.0 ** min(k, 100) for k in roots) + 1
    chance = turns * (of_points + of_primes)
    return min(1.0, max(chance, 0.5) if roots else chance)


def groups(dependencies: Iterable[int]) -> list[int]:
    """How many roots there are in each group that shares no variable with another group.

    dependencies: the variables that each is made of, as bits.
    """
    found: list[tuple[int, int]] = []
    for bits in dependencies:
        apart = [group for group in found if not group[0] & bits]
        together = [group for group in found if group[0] & bits]
        count = 1 + sum(count for _, count in together)
        every = functools.reduce(operator.or_, (b for b, _ in together), bits)
        found = [*apart, (every, count)]
    return [count for _, count in found]
