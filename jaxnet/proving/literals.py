"""Which real number does a floating-point literal stand for? One rule for all.

Of the numbers that round to it, the simplest rational, where that is so simple that it is no
accident: 0.1 is 1/10. Else the root of a simple rational times a power of π, as sqrt(2/pi) is. Else
the logarithm of such a number, or 1 over it: log(2 pi)/2, and log2(e). Else a number of its own,
known by its value, times a power of two. In exact arithmetic the two literals 0.5 and 1.0 are so
twice one another, and so are those of an unknown number and of its double.
A rational is looked for within one unit in the last place, a root within four: constants that a
program computes are rounded more than once.
"""

import functools
import math
from fractions import Fraction
from typing import Any, NamedTuple

import numpy as np

SPARE = 13  # bits by which a rational is simpler than almost every number of the dtype
LARGEST = 2**20  # numerator times denominator of a rational under a root


class Logarithm(NamedTuple):
    """log(square · π^pis) / 2, or 1 over it."""

    square: Fraction
    pis: int
    is_inverse: bool


class Real(NamedTuple):
    """rational · sqrt(radicand · π^pis) · atom · log, and 1 for an atom that is 0, or no log."""

    rational: Fraction
    radicand: Fraction = Fraction(1)
    pis: int = 0
    atom: float = 0.0
    log: Logarithm | None = None


@functools.lru_cache(maxsize=4096)
def meaning(value: float, bits: int) -> Real:
    """bits: of the dtype's mantissa, the first one included."""
    if value == 0:
        return Real(Fraction(0))
    sign = -1 if value < 0 else 1
    size = abs(value)
    exact = Fraction(size)
    width = exact / 2**bits  # up to one unit in the last place: 0.1 / 3 is rounded twice
    rational = simplest_between(exact - width, exact + width)
    if rational.numerator * rational.denominator <= 2 ** (bits - SPARE):
        return Real(sign * rational)
    if bits > 50 and (found := _root(size)) is not None:
        return Real(Fraction(sign), *found)
    if bits > 50 and (log := _logarithm(size)) is not None:
        return Real(Fraction(sign), log=log)
    mantissa, exponent = math.frexp(size)
    return Real(sign * Fraction(2) ** exponent, atom=mantissa)


def _root(size: float) -> tuple[Fraction, int] | None:
    for pis in (0, 1, -1, 2, -2):
        square = Fraction(size) ** 2 / Fraction(math.pi) ** pis
        width = square / 2**50
        found = simplest_between(square - width, square + width)
        if found.numerator * found.denominator <= LARGEST:
            return found, pis
    return None


def _logarithm(size: float) -> Logarithm | None:
    for value, is_inverse in ((size, False), (1 / size, True)):
        found = _root(math.exp(value)) if value < 10 else None
        if found is None:
            continue
        square, pis = found
        known = (math.log(square) + pis * math.log(math.pi)) / 2
        if abs(known - value) <= value / 2**50:
            return Logarithm(square, pis, is_inverse)
    return None


def twos(x: Fraction) -> int:
    """The power of 2 in it."""
    if not x:
        return 0
    above, below = x.as_integer_ratio()
    return (above & -above).bit_length() - (below & -below).bit_length()


def simplest_between(low: Fraction, high: Fraction) -> Fraction:
    """The rational with the smallest denominator in [low, high], 0 < low."""
    whole = math.ceil(low)
    if whole <= high:
        return Fraction(whole)
    below = math.floor(low)
    return below + 1 / simplest_between(1 / (high - below), 1 / (low - below))


def bits_of(dtype: Any) -> int:
    """Of a mantissa, the first one included."""
    name = np.dtype(dtype).name
    known = {"float64": 53, "float32": 24, "float16": 11, "bfloat16": 8}
    return known.get(name, 53)


def factors(n: int) -> list[int]:
    """Primes, each as often as it divides n."""
    found, prime = [], 2
    while prime * prime <= n:
        if n % prime:
            prime += 1
        else:
            found.append(prime)
            n //= prime
    return found + [n] * (n > 1)
