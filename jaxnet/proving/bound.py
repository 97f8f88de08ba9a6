"""How often two different graphs look equal: degrees and coefficients are counted along the graph.

A number is n/d, polynomials with integer coefficients in the inputs (and in what is taken for an
input: an exponential, an unknown function). Size holds bounds on their degrees, and on the logs of
the sums of their absolute coefficients, in bits:

    n1/d1 + n2/d2 = (n1 d2 + n2 d1)/(d1 d2)        n1/d1 · n2/d2 = n1 n2/(d1 d2)

Two different numbers have a difference N/D with N ≠ 0. At one point it looks like 0 if the prime
divides every coefficient of N (N's sum of coefficients is below 2^bits, each prime takes 29 of
these bits, and the prime was drawn from PAIRS), or if the point is a root of N modulo the prime (at
most degree / values of each coordinate: Schwartz and Zippel). Points are independent.
"""

import functools
import operator
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from jaxnet.proving.field import LEAST, PAIRS

HUGE = 1e30  # a bound above it says nothing


class Size(NamedTuple):
    n: float = 0.0  # degree of the numerator
    d: float = 0.0
    n_bits: float = 0.0
    d_bits: float = 0.0

    def plus(self, other: "Size") -> "Size":
        return _capped(
            max(self.n + other.d, other.n + self.d),
            self.d + other.d,
            max(self.n_bits + other.d_bits, other.n_bits + self.d_bits) + 1,
            self.d_bits + other.d_bits,
        )

    def times(self, other: "Size") -> "Size":
        return _capped(*(a + b for a, b in zip(self, other, strict=True)))

    def power(self, exponent: float) -> "Size":
        scaled = _capped(*(abs(exponent) * x for x in self))
        return scaled.inverse() if exponent < 0 else scaled

    def inverse(self) -> "Size":
        return Size(self.d, self.n, self.d_bits, self.n_bits)

    def sum_of(self, count: int) -> "Size":
        """Of so many numbers of this size."""
        more = max(count - 1, 0)
        return _capped(
            self.n + more * self.d,
            count * self.d,
            self.n_bits + more * self.d_bits + max(count, 1).bit_length(),
            count * self.d_bits,
        )

    def largest(self, other: "Size") -> "Size":
        return Size(*map(max, self, other))


def _capped(*numbers: float) -> Size:
    return Size(*(min(x, HUGE) for x in numbers))


VARIABLE = Size(1.0)


def chance_at_one_point(difference: Size, exponents: Size, roots: Sequence[int]) -> float:
    """Of a miss. exponents: the largest of what exp was taken of; roots: see `groups`.

    N with k roots in it is 0 only where the product over all signs of the roots is, whose degree is
    2^k times N's. Roots made of other variables than all the rest are looked at one group after the
    other, with every other variable fixed, and their chances add up. A root of what is a square in
    disguise has the wrong sign at every second point.
    """
    of_primes = (difference.n_bits + exponents.n_bits) / 29 / PAIRS
    of_points = (difference.n / 2 + exponents.n) / (LEAST / 2)
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
