"""Arithmetic without rounding: numbers modulo primes of 31 bits, a prime for each random point.

A prime q and p = 2q + 1, a prime too, go together: the powers of a square g modulo p repeat after q
steps, so that g^(a mod q) keeps exp(a + b) = exp(a) exp(b). Both are -1 modulo 840. Then 2, 3, 5
and 7 have square roots modulo both, and -1 has none: with an i, i² = -1, every number has a root.
An Element is re + i im, im None where it is 0. The first axis of its arrays is the points'.
Products of two numbers below 2^31 fit into 64 bits; sums are taken before the remainder.
"""

import functools
import random
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

STEP = 840  # p and q are -1 modulo this
LEAST, MOST = 2**29, 2**30  # between which q lies
PAIRS = 27_225  # so many there are: count_pairs()


class Element(NamedTuple):
    re: Any
    im: Any = None


def is_prime(n: int) -> bool:
    """Miller and Rabin's test, which is exact below 3.2e9 with these bases."""
    small = (2, 3, 5, 7)
    if n < 11 or any(n % a == 0 for a in small):
        return n in small
    odd, twos = n - 1, 0
    while odd % 2 == 0:
        odd, twos = odd // 2, twos + 1
    return all(_is_witness(pow(a, odd, n), twos, n) for a in small)


def _is_witness(x: int, twos: int, n: int) -> bool:
    if x in (1, n - 1):
        return True
    for _ in range(twos - 1):
        x = x * x % n
        if x == n - 1:
            return True
    return False


def is_pair(q: int) -> bool:
    return is_prime(q) and is_prime(2 * q + 1)


@functools.cache
def random_pairs(count: int, seed: int) -> list[int]:
    """So many different q, each with 2q + 1 a prime too."""
    rng = random.Random(seed)
    found: list[int] = []
    while len(found) < count:
        q = STEP * rng.randrange(LEAST // STEP + 1, MOST // STEP) - 1
        if q not in found and is_pair(q):
            found.append(q)
    return found


class Field:
    """Numbers modulo one prime a point."""

    def __init__(self, primes: list[int]) -> None:
        self.primes = np.asarray(primes, np.uint64)

    def beside(self, x: Any) -> Any:
        """The primes, with an axis for each of x."""
        return self.primes.reshape(-1, *[1] * (x.ndim - 1))

    def reduced(self, x: Any) -> Any:
        return x % self.beside(x)

    def of_integers(self, values: list[int], shape: tuple[int, ...]) -> Any:
        """Integers of any size, the same at every point."""
        rows = [[v % int(prime) for v in values] for prime in self.primes]
        return np.asarray(rows, np.uint64).reshape(len(rows), *shape)

    def random(self, shape: tuple[int, ...], rng: np.random.Generator) -> Any:
        """From 1 to the prime - 1."""
        draws = rng.integers(0, 2**62, (len(self.primes), *shape), np.uint64)
        return draws % (self.beside(draws) - 1) + 1

    # -- elements

    def add(self, a: Element, b: Element) -> Element:
        re = self.reduced(a.re + b.re)
        if a.im is None and b.im is None:
            return Element(re)
        return Element(re, self.reduced(imaginary(a) + imaginary(b)))

    def negative(self, a: Element) -> Element:
        prime = self.beside(a.re)
        return Element((prime - a.re) % prime, None if a.im is None else (prime - a.im) % prime)

    def multiply(self, a: Element, b: Element) -> Element:
        re = self.reduced(a.re * b.re)
        if a.im is None and b.im is None:
            return Element(re)
        a_im, b_im = imaginary(a), imaginary(b)
        prime = self.beside(re)
        minus = prime - self.reduced(a_im * b_im)
        im = self.reduced(a.re * b_im) + self.reduced(a_im * b.re)
        return Element(self.reduced(re + minus), self.reduced(im))

    def product_of_matrices(self, a: Any, b: Any) -> Any:
        """Of re alone, [points, ..., m, k] and [points, ..., k, n].

        In floats, which are fast: both are taken apart into halves of 16 bits, whose products can
        be added 2^21 times before anything rounds.
        """
        half = np.uint64(16)
        low_a, high_a, low_b, high_b = (
            part.astype(np.float64) for x in (a, b) for part in (x & np.uint64(0xFFFF), x >> half)
        )

        def product(x: Any, y: Any) -> Any:
            return self.reduced((x @ y).astype(np.uint64))

        middle = self.reduced(product(low_a, high_b) + product(high_a, low_b))
        high = self.reduced(product(high_a, high_b) << half)
        upper = self.reduced(self.reduced(middle + high) << half)
        return self.reduced(product(low_a, low_b) + upper)

    def power(self, a: Element, exponent: Any) -> Element:
        """exponent: an integer >= 0 below 2^32 for each point, or for each number."""
        exponent = np.asarray(exponent, np.uint64)
        shape = np.broadcast_shapes(a.re.shape, exponent.shape)
        one = np.ones(shape, np.uint64)
        result = Element(one, None if a.im is None else np.zeros(shape, np.uint64))
        for bit in reversed(range(int(exponent.max(initial=0)).bit_length())):
            result = self.multiply(result, result)
            is_set = (exponent >> np.uint64(bit)) & np.uint64(1) == 1
            result = where(is_set, self.multiply(result, a), result)
        return result

    def inverse(self, a: Element) -> Element:
        """1 / a; 0 of 0."""
        exponent = self.beside(a.re) - 2
        if a.im is None:
            return self.power(a, exponent)
        norm = Element(self.reduced(self.reduced(a.re * a.re) + self.reduced(a.im * a.im)))
        one_over = self.power(norm, exponent)
        conjugate = Element(a.re, self.negative(Element(a.im)).re)
        return self.multiply(conjugate, one_over)

    def root(self, a: Element) -> tuple[Element, Any]:
        """A square root of each number, that which is a square itself; and where it has one.

        Of a number without a root i times the root of its negative; of re + i im none is known.
        """
        exponent = (self.beside(a.re) + 1) // 4
        root = self.power(Element(a.re), exponent).re
        is_square = self.reduced(root * root) == a.re
        known = np.ones(a.re.shape, bool) if a.im is None else a.im == 0
        if is_square.all():
            return Element(root), known
        other = self.power(self.negative(Element(a.re)), exponent).re
        zero = np.zeros_like(root)
        return Element(np.where(is_square, root, zero), np.where(is_square, zero, other)), known


def imaginary(a: Element) -> Any:
    return np.zeros_like(a.re) if a.im is None else a.im


def where(condition: Any, a: Element, b: Element) -> Element:
    re = np.where(condition, a.re, b.re)
    if a.im is None and b.im is None:
        return Element(re)
    return Element(re, np.where(condition, imaginary(a), imaginary(b)))


def of_arrays(function: Callable[[Any], Any], a: Element) -> Element:
    """A movement of the numbers: re and im alike."""
    return Element(function(a.re), None if a.im is None else function(a.im))


def differ(a: Element, b: Element) -> Any:
    different = a.re != b.re
    if a.im is None and b.im is None:
        return different
    return different | (imaginary(a) != imaginary(b))


def mixed(x: Any) -> Any:
    """Numbers of 64 bits that look random, a function of x (the finalizer of SplitMix64)."""
    x = x + np.uint64(0x9E3779B97F4A7C15)
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))


@functools.cache
def count_pairs() -> int:
    """How many q there are: a chance is counted with it."""
    return sum(is_pair(STEP * k - 1) for k in range(LEAST // STEP + 1, MOST // STEP))
