"""Random points, and the arithmetic of the numbers that are made there.

    exp(a + b) = exp(a) exp(b)        exp(log s) = s        exp(a - log s) = exp(a) / s

A value of exp has no q of its own: exp(exp(x)) is then an atom. An atom is a random number that
depends on nothing but the function's name and its arguments, so that equal arguments give equal
values: whatever is proved with atoms holds for every function in their place.
"""

import functools
import math
import operator
import zlib
from dataclasses import replace
from fractions import Fraction

import numpy as np

from jaxnet.proving.bound import VARIABLE, Size
from jaxnet.proving.field import (
    Element,
    Field,
    differ,
    imaginary,
    mixed,
    of_arrays,
    random_pairs,
)
from jaxnet.proving.field import where as chosen
from jaxnet.proving.literals import Logarithm, Real, bits_of, factors, meaning, twos
from jaxnet.proving.numbers import Array, Factor, Numbers, as_objects, joined, of_rows, union


class Points:
    """Random points, each with its own primes; and the numbers that are made there."""

    def __init__(self, count: int, seed: int, has_roots: bool) -> None:
        pairs = random_pairs(count, seed)
        self.count = count
        self.rng = np.random.default_rng(seed)
        self.mod_q = Field(pairs)
        self.mod_p = Field([2 * q + 1 for q in pairs])
        self.salt = self.rng.integers(0, 2**63, count, np.uint64)
        # exp(x) is base^(x mod q), with 2^n for base: then 2 is an exponential too, as e is, and so
        # is π, by any exponent.
        random_exponents = map(int, self.mod_q.random((), self.rng))
        exponents = list(zip(pairs, random_exponents, strict=True))
        self.base = np.array([pow(2, n, 2 * q + 1) for q, n in exponents], np.uint64)
        half_log_of_2 = np.array([pow(2 * n, -1, q) for q, n in exponents], np.uint64)
        self.half_logs_q = half_log_of_2, self.mod_q.random((), self.rng)
        self.half_logs_p = self.mod_p.random((), self.rng), self.mod_p.random((), self.rng)
        self.angle = self.mod_q.random((), self.rng)  # exp(i x) = g^(angle · x)
        self.radicands: dict[tuple[int, int], int] = {}  # with the variables that each is made of
        self.variable_count = 0
        self.has_roots = has_roots  # are any taken? Else nobody asks for the variables
        self.exponents = Size()
        self.known_literals: dict[tuple[bytes, int], Numbers] = {}
        self.inverses: dict[bytes, Size] = {}  # of 1/x, by the values of x at three points
        self.atoms: dict[str, None] = {}  # functions of which not all is known

    # -- new numbers

    def variables(self, f: Array) -> Numbers:
        """Unknowns. What is positive is a square modulo p, so that sqrt(x²) is x there."""
        f = np.asarray(f, np.float64)
        root = Element(self.mod_p.random(f.shape, self.rng))
        square = self.mod_p.multiply(root, root)
        p = chosen(f < 0, self.mod_p.negative(square), square)
        q = self.mod_q.random(f.shape, self.rng)
        ok = np.broadcast_to(np.isfinite(f), p.re.shape)
        first = self.variable_count
        self.variable_count += f.size
        deps = None
        if self.has_roots:
            bits = [1 << i for i in range(first, self.variable_count)]
            deps = np.array(bits, object).reshape(f.shape)
        return Numbers(f, p, ok, q, ok, None, False, VARIABLE, deps)

    def literals(self, values: Array) -> Numbers:
        """What floating-point literals stand for."""
        values = np.asarray(values)
        bits = bits_of(values.dtype)
        f = values.astype(np.float64)
        finite = np.isfinite(f)
        unique, places = np.unique(np.where(finite, f, 0), return_inverse=True)
        key = unique.tobytes(), bits
        if key not in self.known_literals:
            self.known_literals[key] = self._literals(unique, bits)
        every = self.known_literals[key].at(places.reshape(f.shape))
        ok = every.ok & finite
        return replace(every, f=f, ok=ok, has_q=every.has_q & ok)

    def _literals(self, values: Array, bits: int) -> Numbers:
        reals = [meaning(float(v), bits) for v in values]
        plain = self._of_reals(values, reals)
        if all(real.log is None for real in reals):
            return plain
        parts = [
            plain.at(np.array([i])) if real.log is None else self._logarithm(real, real.log)
            for i, real in enumerate(reals)
        ]
        return joined(parts)

    def _logarithm(self, real: Real, log: Logarithm) -> Numbers:
        inside = math.sqrt(log.square * math.pi**log.pis)
        number = self.log(self._of_reals(np.array([inside]), [Real(Fraction(1), *log[:2])]))
        number = self.inverse(number) if log.is_inverse else number
        sign = self._of_reals(np.array([float(real.rational)]), [Real(real.rational)])
        return self.multiply(sign, number)

    def _of_reals(self, values: Array, reals: list[Real]) -> Numbers:
        p, _ = self._residues(self.mod_p, reals)
        q, has_q = self._residues(self.mod_q, reals)
        size = functools.reduce(Size.largest, map(self._size_of, reals), Size())
        return Numbers(values, p, np.ones(p.re.shape, bool), q.re, has_q, None, True, size)

    def integers(self, values: Array) -> Numbers:
        """Integers and booleans that become numbers."""
        values = np.asarray(values)
        unique, places = np.unique(values, return_inverse=True)
        whole = [int(v) for v in unique]
        p, q = (k.of_integers(whole, (len(whole),)) for k in (self.mod_p, self.mod_q))
        known = np.ones(p.shape, bool)
        bits = max((abs(v).bit_length() for v in whole), default=0)
        every = Numbers(
            unique.astype(np.float64), Element(p), known, q, known, None, True, Size(bits=bits)
        )
        return every.at(places.reshape(values.shape))

    def _residues(self, mod: Field, reals: list[Real]) -> tuple[Element, Array]:
        """Modulo these primes, and where the number is known there."""
        signs = [r.rational.numerator for r in reals]
        p = Element(mod.of_integers(signs, (len(reals),)))
        below = Element(mod.of_integers([r.rational.denominator for r in reals], (len(reals),)))
        p = mod.multiply(p, mod.inverse(below))
        p = mod.multiply(p, self._atoms(mod, np.array([r.atom for r in reals])))
        known = np.ones(p.re.shape, bool)
        for i, real in enumerate(reals):
            if real.radicand != 1 or real.pis:
                factor = self._irrational(mod, real)
                p = _with_factor(mod, p, i, factor)
                known[:, i] = imaginary(factor) == 0
        return p, known

    def _irrational(self, mod: Field, real: Real) -> Element:
        """The factor of one literal that is a root, [points]."""
        factor = Element(np.ones(self.count, np.uint64))
        roots = [(n, 1) for n in factors(real.radicand.numerator)]
        roots += [(n, -1) for n in factors(real.radicand.denominator)]
        for n, exponent in roots:
            root, _ = mod.root(Element(mod.of_integers([n], ())))
            factor = mod.multiply(factor, root if exponent > 0 else mod.inverse(root))
        for _ in range(abs(real.pis)):
            root = self._root_of_pi(mod)
            factor = mod.multiply(factor, root if real.pis > 0 else mod.inverse(root))
        return factor

    def _root_of_pi(self, mod: Field) -> Element:
        if mod is self.mod_p:
            return mod.power(Element(self.base), self.half_logs_q[1])
        return self._random_square(mod, self.salt)

    def _atoms(self, mod: Field, atoms: Array) -> Element:
        """[points, ...], 1 for an atom that is 0."""
        state = mixed(atoms.view(np.uint64) + self.salt[:, None]) + np.uint64(1)
        random = self._random_square(mod, state)
        return chosen(atoms == 0, Element(np.ones_like(random.re)), random)

    def _random_square(self, mod: Field, state: Array) -> Element:
        """Of a positive number, which has a root that is positive too."""
        root = Element(mod.reduced(mixed(state)))
        return mod.multiply(root, root)

    # -- arithmetic

    def add(self, a: Numbers, b: Numbers) -> Numbers:
        return Numbers(
            f=a.f + b.f,
            p=self.mod_p.add(a.p, b.p),
            ok=a.ok & b.ok,
            q=self.mod_q.add(Element(a.q), Element(b.q)).re,
            has_q=a.has_q & b.has_q,
            m=self._product(a.m, b.m),
            is_literal=a.is_literal and b.is_literal,
            size=a.size.plus(b.size),
            deps=union(a.deps, b.deps),
        )

    def negative(self, a: Numbers) -> Numbers:
        return replace(
            a,
            f=-a.f,
            p=self.mod_p.negative(a.p),
            q=self.mod_q.negative(Element(a.q)).re,
            m=None if a.m is None else self._inverse(a.m),
        )

    def subtract(self, a: Numbers, b: Numbers) -> Numbers:
        return self.add(a, self.negative(b))

    def multiply(self, a: Numbers, b: Numbers) -> Numbers:
        with np.errstate(invalid="ignore", over="ignore"):
            f = a.f * b.f
        has_q, m = self._exponential_of_product(a, b)
        return Numbers(
            f=f,
            p=self.mod_p.multiply(a.p, b.p),
            ok=a.ok & b.ok,
            q=self.mod_q.multiply(Element(a.q), Element(b.q)).re,
            has_q=has_q,
            m=m,
            is_literal=a.is_literal and b.is_literal,
            size=a.size.times(b.size),
            deps=union(a.deps, b.deps),
        )

    def _product(self, a: Factor | None, b: Factor | None) -> Factor | None:
        if a is None or b is None:
            return b if a is None else a
        p = self.mod_p.multiply(a.p, b.p)
        return Factor(p, a.size.times(b.size), {**a.roots, **b.roots})

    def _inverse(self, m: Factor) -> Factor:
        return m._replace(p=self.mod_p.inverse(m.p), size=self._size_of_inverse(m.p, m.size))

    def _exponential_of_product(self, a: Numbers, b: Numbers) -> tuple[Array, Factor | None]:
        """exp(a b): known too where one is the literal 0, or logarithms times ±1, 0, ±2 ..."""
        has_q = a.has_q & b.has_q
        for x, y in ((a, b), (b, a)):
            if x.is_literal:
                has_q = has_q | (self._is_zero(x) & x.ok & y.ok)
        if a.m is None and b.m is None:
            return has_q, None
        logs, other = (a, b) if a.m is not None else (b, a)
        if logs.m is not None and other.m is None and self.are_as_their_floats(other):
            power = self._power_of_literal(logs, logs.m, other.f)
            if power is not None:
                return has_q, power
        return has_q & _without_logs(a) & _without_logs(b), None

    def _is_zero(self, a: Numbers) -> Array:
        return ~differ(a.p, Element(np.zeros_like(a.q)))

    def are_as_their_floats(self, a: Numbers) -> bool:
        """Literals; but not 1 + 1e-20, whose float is 1."""
        return a.is_literal and not differ(a.p, self.literals(a.f).p).any()

    def _power_of_literal(self, logs: Numbers, m: Factor, exponents: Array) -> Factor | None:
        """m to whole numbers, or to one simple rational; None for others."""
        sizes = np.abs(exponents)
        if np.all(np.isin(exponents, _WHOLE)):
            powers, highest = sizes[None].astype(np.uint64), float(sizes.max(initial=1.0))
        else:
            rational = _simple_rational(sizes)
            if rational is None:
                return None
            powers = highest = rational.numerator
            m = self._root(logs, m, rational.denominator)
        power = m._replace(p=self.mod_p.power(m.p, powers), size=m.size.power(highest))
        if not (exponents < 0).any():
            return power
        back = self._inverse(power)
        p = chosen(exponents < 0, back.p, power.p)
        return power._replace(p=p, size=power.size.largest(back.size))

    def _root(self, logs: Numbers, m: Factor, degree: int) -> Factor:
        p, rest = m.p, degree
        roots = {} if logs.is_literal else _radicands(replace(logs, p=p), degree.bit_length())
        while rest % 2 == 0:
            p, rest = self.mod_p.root(p)[0], rest // 2
        p = self._odd_root(p, rest) if rest > 1 else p
        return m._replace(p=p, size=m.size.root(), roots={**m.roots, **roots})

    # -- bounds

    def _size_of_inverse(self, p: Element, size: Size) -> Size:
        """Of 1/x for the numbers p of this size; the same where the other graph has them too."""
        parts = [p.re[:3]] if p.im is None else [p.re[:3], p.im[:3]]
        different = np.unique(np.concatenate([x.reshape(len(x), -1) for x in parts]), axis=1)
        return self._inverses_of(different, size)

    def _inverses_of(self, different: Array, size: Size) -> Size:
        key = different.tobytes()
        if key not in self.inverses:
            self.inverses[key] = size.inverse(different.shape[1])
        return self.inverses[key]

    def _size_of(self, real: Real) -> Size:
        above = real.rational.numerator * real.radicand.numerator
        below = real.rational.denominator * real.radicand.denominator
        size = Size(bool(real.atom) + max(real.pis, 0), abs(above).bit_length())
        twos = (below & -below).bit_length() - 1
        for value, power in ((2, twos), (below >> twos, 1)):
            if value > 1 and power:
                residues = self.mod_p.of_integers([value], (1,))[:3]
                inverse = self._inverses_of(residues, Size(bits=value.bit_length()))
                size = size.times(inverse.power(power))
        if real.pis < 0:
            of_root = self._inverses_of(np.zeros((0, 1)), VARIABLE)
            size = size.times(of_root.power(-real.pis))
        return size

    def _odd_root(self, a: Element, degree: int) -> Element:
        """The only number whose power of this degree is a, where a has no imaginary part."""
        exponents = [pow(degree, -1, int(p) - 1) for p in self.mod_p.primes]
        exponent = np.asarray(exponents, np.uint64).reshape(-1, *[1] * (a.re.ndim - 1))
        return self.mod_p.power(Element(a.re), exponent)

    def exponential(self, a: Numbers) -> Element:
        """exp(a) where has_q."""
        power = self._power_of_base(a.q)
        if a.m is None:
            return power
        self.radicands.update(a.m.roots)
        return self.mod_p.multiply(power, a.m.p)

    def _power_of_base(self, exponent: Array) -> Element:
        base = self.base.reshape(-1, *[1] * (exponent.ndim - 1))
        return self.mod_p.power(Element(base), exponent)

    def inverse(self, a: Numbers) -> Numbers:
        is_infinite = np.isinf(a.f) & ~a.ok  # 1/∞ = 0
        with np.errstate(divide="ignore"):
            f = 1 / a.f
        zero = np.zeros_like(a.q)
        p = self.mod_p.inverse(a.p)
        plain = a.has_q & (a.q != 0) & _without_logs(a)
        return replace(
            a,
            f=f,
            p=chosen(is_infinite, Element(zero), p),
            ok=(a.ok & differ(a.p, Element(zero))) | is_infinite,
            q=np.where(is_infinite, zero, self.mod_q.inverse(Element(a.q)).re),
            has_q=plain | is_infinite,
            m=None,
            size=self._size_of_inverse(a.p, a.size),
        )

    def divide(self, a: Numbers, b: Numbers) -> Numbers:
        with np.errstate(divide="ignore", invalid="ignore"):
            f = a.f / b.f
        return replace(self.multiply(a, self.inverse(b)), f=f)

    def sum(self, a: Numbers, axis: int) -> Numbers:
        """Over an axis of the array (the points' not counted)."""
        at = axis + 1
        m = None if a.m is None else self._product_along(a.m, at)
        return Numbers(
            f=a.f.sum(axis),
            p=of_arrays(lambda x: self.mod_p.reduced(x.sum(at)), a.p),
            ok=a.ok.all(at),
            q=self.mod_q.reduced(a.q.sum(at)),
            has_q=a.has_q.all(at),
            m=m,
            is_literal=a.is_literal,
            size=a.size.sum_of(a.shape[axis]),
            deps=None if a.deps is None else as_objects(np.bitwise_or.reduce(a.deps, axis)),
        )

    def product_of_matrices(self, a: Numbers, b: Numbers) -> Numbers:
        """a [batch, m, k] times b [batch, n, k], of which all is known, without logarithms."""
        p, q = (
            mod.product_of_matrices(x, np.swapaxes(y, -1, -2))
            for mod, x, y in ((self.mod_p, a.p.re, b.p.re), (self.mod_q, a.q, b.q))
        )
        known = np.ones(p.shape, bool)
        with np.errstate(invalid="ignore", over="ignore"):
            f = a.f @ np.swapaxes(b.f, -1, -2)
        return Numbers(
            f=f,
            p=Element(p),
            ok=known,
            q=q,
            has_q=known,
            m=None,
            is_literal=a.is_literal and b.is_literal,
            size=a.size.times(b.size).sum_of(a.shape[-1]),
            deps=union(of_rows(a.deps, -1), of_rows(b.deps, -2)),
        )

    def _product_along(self, m: Factor, axis: int) -> Factor:
        count = m.p.re.shape[axis]
        product = Element(np.ones(np.delete(m.p.re.shape, axis), np.uint64))
        for i in range(count):
            product = self.mod_p.multiply(product, _slice(m.p, axis, i))
        return m._replace(p=product, size=m.size.power(count))

    def whole_power(self, a: Numbers, exponent: int) -> Numbers:
        """By multiplications: degrees and what is known of exponentials follow them."""
        if exponent < 0:
            return self.inverse(self.whole_power(a, -exponent))
        with np.errstate(over="ignore"):
            f = a.f**exponent
        if exponent == 1:
            return a
        if exponent == 0:
            one = self.integers(np.ones(a.shape, np.int64))
            return replace(one, ok=a.ok)
        return replace(self._squarings(a, exponent), f=f)

    def _squarings(self, a: Numbers, exponent: int) -> Numbers:
        if exponent == 1:
            return a
        half = self._squarings(a, exponent // 2)
        square = self.multiply(half, half)
        return self.multiply(square, a) if exponent % 2 else square

    # -- functions

    def exp(self, a: Numbers) -> Numbers:
        is_zero = np.isneginf(a.f) & ~a.ok
        no_exponent = ~a.has_q.any(0) & a.ok.any(0)
        p = self.exponential(a)
        if no_exponent.any():
            p = chosen(no_exponent, self.hashed("exp", a), p)
            self.atoms["exp of an exponential"] = None
        self.exponents = self.exponents.largest(a.size)
        with np.errstate(over="ignore"):
            f = np.exp(a.f)
        zero = np.zeros_like(a.q)
        ok = (a.has_q | no_exponent) & a.ok
        # Inside of another exponential it is a variable of its own.
        inside = self.hashed("exp", a, value=p).re
        is_one = a.is_literal & self._is_zero(a)
        q = np.where(
            is_zero, zero, np.where(is_one, zero + np.uint64(1), self.mod_q.reduced(inside))
        )
        return Numbers(
            f=f,
            p=chosen(is_zero, Element(zero), p),
            ok=ok | is_zero,
            q=q,
            has_q=ok | is_zero,
            m=None,
            is_literal=a.is_literal,
            size=VARIABLE if a.m is None else VARIABLE.times(a.m.size),
            deps=a.deps,
        )

    def log(self, a: Numbers) -> Numbers:
        """Of a literal those of 2 and π, which are known, and that of the rest."""
        zero, none = np.zeros_like(a.q), Element(np.zeros_like(a.q))
        known_p, q, rest, size = none, zero, a.p, VARIABLE
        if a.is_literal:
            known_p, q = self._logs_of_2_and_pi(a.f)
            rest = self.mod_p.multiply(a.p, self.mod_p.inverse(self._power_of_base(q)))
            size = Size(1.0, 16)  # three of them, by exponents below 2^12
        is_one = ~differ(rest, Element(np.ones_like(a.q)))
        value = chosen(is_one, none, self.hashed("log", a, value=rest))
        with np.errstate(divide="ignore", invalid="ignore"):
            f = np.log(a.f)
        ok = a.ok & differ(a.p, none)
        m = None if is_one.all() else Factor(rest, a.size)  # the exponential of the rest's is it
        if m is not None:
            self.atoms["log"] = None
        p = self.mod_p.add(known_p, value)
        return Numbers(f, p, ok, q, ok, m, a.is_literal, size, a.deps)

    def _logs_of_2_and_pi(self, f: Array) -> tuple[Element, Array]:
        """Modulo p and q, of the powers of 2 and π in literals: halves, as roots have them too."""
        unique, places = np.unique(np.where(np.isfinite(f), f, 0), return_inverse=True)
        reals = [meaning(float(v), 53) for v in unique]
        of_2, of_pi = (
            [2 * twos(r.rational) + twos(r.radicand) for r in reals],
            [r.pis for r in reals],
        )

        def combined(mod: Field, halves: tuple[Array, Array]) -> Array:
            terms = [
                mod.multiply(Element(mod.of_integers(n, (len(n),))), Element(half[:, None]))
                for n, half in zip((of_2, of_pi), halves, strict=True)
            ]
            return mod.add(*terms).re[:, places.reshape(f.shape)]

        p, q = combined(self.mod_p, self.half_logs_p), combined(self.mod_q, self.half_logs_q)
        return Element(p), q

    def sqrt(self, a: Numbers) -> Numbers:
        root, known = self.mod_p.root(a.p)
        root_q, _ = self.mod_q.root(Element(a.q))
        with np.errstate(invalid="ignore"):
            f = np.sqrt(a.f)
        if a.is_literal:
            root, root_q = self._signed(a, f, root, root_q)
        else:
            self.radicands.update(_radicands(a, 1))
        has_q = a.has_q & (imaginary(root_q) == 0) & _without_logs(a)
        known = a.ok & known
        size = a.size.root()
        return replace(a, f=f, p=root, ok=known, q=root_q.re, has_q=has_q, m=None, size=size)

    def _signed(self, a: Numbers, f: Array, *roots: Element) -> list[Element]:
        """Roots modulo p and q of a literal a: where a literal's square is a, that literal.

        11 is no square modulo half of the primes, and -11 would be taken for the root of 121.
        """
        known = self.literals(f)
        pairs = (self.mod_p, known.p, a.p), (self.mod_q, Element(known.q), Element(a.q))
        return [
            chosen(~differ(mod.multiply(root, root), square).any(0), root, other)
            for (mod, root, square), other in zip(pairs, roots, strict=True)
        ]

    def turn(self, a: Numbers) -> tuple[Numbers, Numbers]:
        """sin and cos: the parts of exp(i a), a point of the unit circle."""
        mod = self.mod_p
        no_exponent = ~a.has_q.any(0) & a.ok.any(0)
        angle = self.angle.reshape(-1, *[1] * a.f.ndim)
        exponent = self.mod_q.reduced(angle * a.q)
        z = self._power_of_base(exponent)
        if no_exponent.any() or a.m is not None:
            z = chosen(no_exponent | (a.m is not None), self.hashed("exp(i x)", a), z)
            self.atoms["sin of an exponential"] = None
        back = mod.inverse(z)
        half = Element(mod.beside(z.re) // 2 + 1 + np.zeros_like(z.re))
        cos = mod.multiply(mod.add(z, back), half)
        # (z - 1/z)/(2i) = -i (z - 1/z)/2
        sine = mod.multiply(mod.add(back, mod.negative(z)), half)
        self.exponents = self.exponents.largest(a.size)
        ok = a.ok & (a.has_q | no_exponent)
        none = np.zeros_like(ok)
        # of z + 1/z, and of both over 2
        size = VARIABLE.plus(self._size_of_inverse(z, VARIABLE)).times(self._size_of(HALF))

        def part(f: Array, p: Element) -> Numbers:
            zero = np.zeros_like(a.q)
            return Numbers(f, p, ok, zero, none, None, a.is_literal, size, a.deps)

        with np.errstate(invalid="ignore"):
            return part(np.sin(a.f), Element(np.zeros_like(sine.re), sine.re)), part(
                np.cos(a.f), cos
            )

    def odd_root(self, a: Numbers, degree: int) -> Numbers:
        """The only number whose power of this odd degree is a."""
        p = self._odd_root(a.p, degree)
        ok = a.ok & (imaginary(a.p) == 0)
        self.radicands.update(_radicands(a, degree.bit_length()))  # a product over more than two
        f = np.sign(a.f) * np.abs(a.f) ** (1 / degree)
        size = a.size.root()
        return replace(a, f=f, p=p, ok=ok, has_q=np.zeros_like(ok), m=None, size=size)

    def rational_power(self, a: Numbers, exponent: Fraction) -> Numbers:
        root = a
        rest = exponent.denominator
        while rest % 2 == 0:
            root, rest = self.sqrt(root), rest // 2
        if rest > 1:
            root = self.odd_root(root, rest)
        with np.errstate(invalid="ignore", divide="ignore"):
            f = a.f ** float(exponent)
        return replace(self.whole_power(root, exponent.numerator), f=f)

    def atom(self, name: str, inputs: list[Numbers], f: Array) -> Numbers:
        """The value of a function of which nothing is known, at every element."""
        self.atoms[name] = None
        p = self.hashed(name, *inputs)
        q = self.hashed(name + " mod q", *inputs)
        ok = np.broadcast_to(np.logical_and.reduce([x.ok for x in inputs]), p.re.shape)
        q_part = self.mod_q.reduced(q.re)
        return Numbers(
            f=f,
            p=p,
            ok=ok,
            q=q_part,
            has_q=ok,
            m=None,
            is_literal=all(x.is_literal for x in inputs),
            size=VARIABLE,
            deps=functools.reduce(union, [x.deps for x in inputs]),
        )

    def unknown_array(self, name: str, inputs: list[Numbers], f: Array) -> Numbers:
        """An output of a function of which nothing is known, of all elements of its inputs."""
        state = self.salt
        for x in inputs:
            h = self.hashed(name, x).re.reshape(self.count, -1)
            place = mixed(np.arange(h.shape[1], dtype=np.uint64))
            state = mixed(state + mixed(h + place).sum(axis=1, dtype=np.uint64))
        every = np.arange(f.size, dtype=np.uint64).reshape(f.shape)
        p = mixed(state.reshape(-1, *[1] * f.ndim) + mixed(every))
        known = [x.ok.reshape(self.count, -1).all(1) for x in inputs]
        ok = np.logical_and.reduce(known).reshape(-1, *[1] * f.ndim)
        ok = np.broadcast_to(ok, p.shape)
        q = self.mod_q.reduced(mixed(p))
        p = Element(self.mod_p.reduced(p))
        literal = all(x.is_literal for x in inputs)
        deps = [int(np.bitwise_or.reduce(x.deps.ravel())) for x in inputs if x.deps is not None]
        every_dep = np.full(f.shape, functools.reduce(operator.or_, deps), object) if deps else None
        return Numbers(f, p, ok, q, ok, None, literal, VARIABLE, every_dep)

    def hashed(self, name: str, *inputs: Numbers, value: Element | None = None) -> Element:
        """A random number, a function of the name and of the numbers modulo p (or value) alone."""
        salt = self.salt + np.uint64(zlib.crc32(name.encode()))
        state = salt.reshape(-1, *[1] * inputs[0].f.ndim)
        for p in [x.p for x in inputs] if value is None else [value]:
            state = mixed(state + mixed(p.re))
            if p.im is not None:
                state = np.where(p.im != 0, mixed(state + mixed(p.im + np.uint64(1))), state)
        return Element(self.mod_p.reduced(state))


def _simple_rational(values: Array) -> Fraction | None:
    """What all of these literals stand for, where they are one."""
    if (values != values.flat[0]).any():
        return None
    real = meaning(float(values.flat[0]), 53)
    is_rational = not real.atom and not real.pis and real.radicand == 1
    is_simple = max(real.rational.as_integer_ratio()) <= MOST_ROOTS
    return real.rational if is_rational and is_simple else None


def _without_logs(x: Numbers) -> Array:
    """Where m is 1."""
    if x.m is None:
        return np.ones(x.q.shape, bool)
    return ~differ(x.m.p, Element(np.ones_like(x.m.p.re)))


def _radicands(a: Numbers, times: int) -> dict[tuple[int, int], int]:
    """Of what a root is taken, so many times, with the variables that each is made of."""
    deps = [EVERY] * a.f.size if a.deps is None else a.deps.ravel().tolist()
    every = list(zip(a.p.re[0].ravel().tolist(), deps, strict=True))
    return {(value, turn): deps for value, deps in every for turn in range(times)}


_WHOLE = np.arange(-8.0, 9.0)
EVERY = -1  # all bits are set
HALF = Real(Fraction(1, 2))
MOST_ROOTS = 64  # of a logarithm times a rational, its numerator and denominator


def _with_factor(mod: Field, p: Element, i: int, factor: Element) -> Element:
    """p, whose i-th number is multiplied at every point."""
    product = mod.multiply(_slice(p, 1, i), factor)
    re = p.re.copy()
    re[:, i] = product.re
    if p.im is None and product.im is None:
        return Element(re)
    im = imaginary(p).copy()
    im[:, i] = imaginary(product)
    return Element(re, im)


def _slice(x: Element, axis: int, i: int) -> Element:
    return of_arrays(lambda a: np.take(a, i, axis), x)
