"""Arithmetic, element by element: each primitive as additions, products, exp, log and roots."""

import math
from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from typing import Any

import jax.numpy as jnp
import numpy as np
from jax.lax import RoundingMethod

from jaxnet.proving.field import differ, imaginary
from jaxnet.proving.field import where as chosen
from jaxnet.proving.interpreter import (
    ARITHMETIC,
    KNOWN,
    OBJECTS,
    QUICK,
    ROUNDING,
    Unprovable,
    Value,
    Walk,
    computed,
    named,
    unknown,
)
from jaxnet.proving.literals import meaning
from jaxnet.proving.numbers import Numbers
from jaxnet.proving.points import Points
from jaxnet.proving.structural import numbers_of, positions, select

# -- the same shape for all


def alike(walk: Walk, e: Any, inputs: tuple[Value, ...]) -> list[Numbers]:
    """Literals without axes, and axes of size 1, may stand beside arrays."""
    shape = e.outvars[0].aval.shape
    return [_broadcast(numbers_of(walk, x), shape) for x in inputs]


def _broadcast(x: Numbers, shape: tuple[int, ...]) -> Numbers:
    if x.shape == shape:
        return x
    return x.at(np.broadcast_to(positions(x), shape))


Function = Callable[..., Numbers]  # (points, *numbers)


def elementwise(function: Function) -> Any:
    return lambda walk, e, *inputs: function(walk.points, *alike(walk, e, inputs))


def number(points: Points, like: Numbers, value: float) -> Numbers:
    return _broadcast(points.literals(np.asarray(value)), like.shape)


# -- functions that are made of others


def expm1(points: Points, x: Numbers) -> Numbers:
    return points.subtract(points.exp(x), number(points, x, 1.0))


def log1p(points: Points, x: Numbers) -> Numbers:
    return points.log(points.add(number(points, x, 1.0), x))


def logistic(points: Points, x: Numbers) -> Numbers:
    """1 / (1 + exp(-x))"""
    one = number(points, x, 1.0)
    return points.inverse(points.add(one, points.exp(points.negative(x))))


def tanh(points: Points, x: Numbers) -> Numbers:
    """1 - 2 / (exp(2x) + 1)"""
    one, two = number(points, x, 1.0), number(points, x, 2.0)
    below = points.add(points.exp(points.multiply(two, x)), one)
    return points.subtract(one, points.divide(two, below))


def sinh(points: Points, x: Numbers) -> Numbers:
    back = points.exp(points.negative(x))
    return points.divide(points.subtract(points.exp(x), back), number(points, x, 2.0))


def cosh(points: Points, x: Numbers) -> Numbers:
    back = points.exp(points.negative(x))
    return points.divide(points.add(points.exp(x), back), number(points, x, 2.0))


def exp2(points: Points, x: Numbers) -> Numbers:
    return points.exp(points.multiply(x, points.log(number(points, x, 2.0))))


def log2(points: Points, x: Numbers) -> Numbers:
    return points.divide(points.log(x), points.log(number(points, x, 2.0)))


def sine(points: Points, x: Numbers) -> Numbers:
    return points.turn(x)[0]


def cosine(points: Points, x: Numbers) -> Numbers:
    return points.turn(x)[1]


def tangent(points: Points, x: Numbers) -> Numbers:
    return points.divide(*points.turn(x))


def rsqrt(points: Points, x: Numbers) -> Numbers:
    return points.inverse(points.sqrt(x))


def erf(points: Points, x: Numbers) -> Numbers:
    return symmetric(points, "erf", x, np.vectorize(math.erf, otypes=[float])(x.f), -1)


def symmetric(points: Points, name: str, x: Numbers, f: Any, sign: int) -> Numbers:
    """A function of which nothing is known but that f(-x) = sign f(x).

    f: its value in floats.
    """
    half = points.mod_p.beside(x.p.re) // 2
    is_upper = (x.p.re > half) | ((x.p.re == 0) & (imaginary(x.p) > half))
    lower = replace(x, p=chosen(is_upper, points.mod_p.negative(x.p), x.p))
    value = points.atom(name, [lower], f)
    if sign == 1:
        return value
    back = points.negative(value)
    return replace(
        value, p=chosen(is_upper, back.p, value.p), q=np.where(is_upper, back.q, value.q)
    )


def erfc(points: Points, x: Numbers) -> Numbers:
    return points.subtract(number(points, x, 1.0), erf(points, x))


ELEMENTWISE: dict[str, Function] = {
    "add": Points.add,
    "add_any": Points.add,
    "sub": Points.subtract,
    "mul": Points.multiply,
    "div": Points.divide,
    "neg": Points.negative,
    "exp": Points.exp,
    "log": Points.log,
    "sqrt": Points.sqrt,
    "square": lambda points, x: points.multiply(x, x),
    "cbrt": lambda points, x: points.odd_root(x, 3),
    "expm1": expm1,
    "log1p": log1p,
    "logistic": logistic,
    "tanh": tanh,
    "sinh": sinh,
    "cosh": cosh,
    "exp2": exp2,
    "log2": log2,
    "sin": sine,
    "cos": cosine,
    "tan": tangent,
    "rsqrt": rsqrt,
    "one_minus_square": lambda points, x: points.subtract(
        number(points, x, 1.0), points.multiply(x, x)
    ),
    "erf": erf,
    "erfc": erfc,
}
ARITHMETIC.update({name: elementwise(function) for name, function in ELEMENTWISE.items()})
ROUNDING.update(set(ELEMENTWISE) - {"neg"}, ("integer_pow", "pow", "reduce_sum", "dot_general"))


# -- powers


def integer_pow(walk: Walk, e: Any, x: Numbers) -> Numbers:
    return walk.points.whole_power(x, int(e.params["y"]))


def power(walk: Walk, e: Any, x: Value, y: Value) -> Any:
    """By multiplications and roots where the exponent is a literal."""
    if not isinstance(y, Numbers):
        y = walk.points.integers(np.asarray(y))
    x, y = alike(walk, e, (x, y))
    exponents = np.unique(y.f)
    fractions = _rationals(exponents) if walk.points.are_as_their_floats(y) else []
    if not fractions:
        return general_power(walk, e, x, y)
    parts = [_rational_power(walk, x, r) for r in fractions]
    return select(walk, e, np.searchsorted(exponents, y.f), *parts)


def _rationals(values: Any) -> list[Fraction]:
    """What these literals stand for; none where one of them is no rational."""
    if not np.isfinite(values).all():
        return []
    reals = [meaning(float(v), 53) for v in values]
    irrational = [r for r in reals if r.atom or r.pis or r.radicand != 1]
    return [] if irrational else [r.rational for r in reals]


def _rational_power(walk: Walk, x: Numbers, exponent: Fraction) -> Numbers:
    return walk.points.rational_power(x, exponent)


def general_power(walk: Walk, e: Any, x: Numbers, y: Numbers) -> Any:
    """exp(y log x), of which nothing more is known unless x is a literal."""
    if x.is_literal and (x.f > 0).all():
        return walk.points.exp(walk.points.multiply(y, walk.points.log(x)))
    return walk.points.atom("pow", [x, y], np.power(x.f, y.f))


def polynomial(points: Points, x: Numbers, *coefficients: Numbers) -> Numbers:
    """c0 + c1 x + c2 x² ..., as Horner computes it."""
    total = coefficients[-1]
    for c in reversed(coefficients[:-1]):
        total = points.add(points.multiply(total, x), c)
    return total


ARITHMETIC["polynomial"] = elementwise(polynomial)


# -- branches


def comparison(operation: Any) -> Any:
    def compare(walk: Walk, e: Any, *inputs: Value) -> Any:
        a, b = alike(walk, e, inputs)
        outcome, words = operation(a.f, b.f), ("no", "yes")
        walk.compare(e, a, b, outcome, words)
        # x * 0.1 * 3 > x * 0.3: what is equal in exact arithmetic, and is not in floats.
        is_equal = (~differ(a.p, b.p) & a.ok & b.ok).all(0)
        if (is_equal & (a.f != b.f) & ~np.isnan(a.f)).any():
            walk.branch(e, outcome, words, True)
        return outcome

    return compare


def in_total_order(operation: Any) -> Any:
    """Of floats as sorting compares them: -0 before 0, NaN after infinity."""

    def key(x: Any) -> Any:
        bits = np.ascontiguousarray(x).view(np.int64)
        return bits ^ ((bits >> 63) & np.int64(2**63 - 1))

    return lambda a, b: operation(key(a), key(b)).reshape(a.shape)


COMPARISONS = {
    "lt": np.less,
    "le": np.less_equal,
    "gt": np.greater,
    "ge": np.greater_equal,
    "eq": np.equal,
    "ne": np.not_equal,
}
TOTAL = {f"{name}_to": in_total_order(COMPARISONS[name]) for name in ("lt", "le", "eq")}
ARITHMETIC.update({name: comparison(f) for name, f in {**COMPARISONS, **TOTAL}.items()})


def larger(sign: int) -> Any:
    """max, or min for sign -1; NaN is kept."""

    def compare(walk: Walk, e: Any, *inputs: Value) -> Numbers:
        a, b = alike(walk, e, inputs)
        is_second = (sign * b.f > sign * a.f) | np.isnan(b.f)
        walk.compare(e, a, b, is_second, ("the first", "the second"))
        return select(walk, e, is_second, a, b)

    return compare


def clamp(walk: Walk, e: Any, *inputs: Value) -> Numbers:
    low, x, high = alike(walk, e, inputs)
    # As min(max(x, low), high): high wins where it is below low.
    side = np.where(np.maximum(x.f, low.f) > high.f, 2, np.where(x.f < low.f, 0, 1))
    words = ("below", "inside", "above")
    walk.compare(e, x, low, side, words)
    walk.compare(e, x, high, side, words)
    return select(walk, e, side, low, x, high)


def absolute(walk: Walk, e: Any, x: Numbers) -> Numbers:
    is_negative = x.f < 0
    walk.compare(e, x, number(walk.points, x, 0.0), is_negative, ("above", "below"))
    return select(walk, e, is_negative, x, walk.points.negative(x))


def step(function: Any) -> Any:
    """What is constant between its steps."""

    def constant(walk: Walk, e: Any, x: Numbers) -> Numbers:
        note_step(walk, e, x, function)
        return walk.points.literals(function(x.f))

    return constant


def note_step(walk: Walk, e: Any, x: Numbers, function: Any) -> None:
    value, near = function(x.f), 1e-9 * np.abs(x.f) + 1e-12
    is_at_edge = (function(x.f - near) != value) | (function(x.f + near) != value)
    walk.branch(e, np.zeros(1), (ONE_STEP,), bool(is_at_edge.any()) and not x.is_literal)


def rounded(walk: Walk, e: Any, x: Numbers) -> Numbers:
    is_to_even = e.params["rounding_method"] == RoundingMethod.TO_NEAREST_EVEN
    constant: Numbers = step(np.round if is_to_even else _away_from_zero)(walk, e, x)
    return constant


def _away_from_zero(x: Any) -> Any:
    """Rounded, 2.5 to 3."""
    whole = np.trunc(x)
    return whole + np.where(np.abs(x - whole) >= 0.5, np.sign(x), 0)


# A function with many steps: that there are others is said, whatever was met.
ONE_STEP = "the same integer"


def sign(walk: Walk, e: Any, x: Numbers) -> Numbers:
    zero = number(walk.points, x, 0.0)
    walk.compare(e, x, zero, x.f > 0, ("below", "above"))
    return walk.points.literals(np.sign(x.f))


def is_finite(walk: Walk, e: Any, x: Numbers) -> Any:
    return x.ok.any(0)


def converted(walk: Walk, e: Any, x: Value) -> Any:
    """Between floating dtypes a number stays what it is: nothing rounds in exact arithmetic."""
    dtype = e.params["new_dtype"]
    if isinstance(x, Numbers) and jnp.issubdtype(dtype, jnp.floating):
        return x
    if isinstance(x, Numbers) and np.dtype(dtype).kind == "b":
        walk.compare(e, x, number(walk.points, x, 0.0), x.f != 0, ("no", "yes"))
        return x.f != 0
    if isinstance(x, Numbers):
        if not x.is_literal:
            note_step(walk, e, x, np.trunc)
        return x.f.astype(dtype)
    raise Unprovable(f"a conversion: {named(e)}")


ARITHMETIC.update(
    {
        "integer_pow": integer_pow,
        "pow": power,
        "max": larger(1),
        "min": larger(-1),
        "clamp": clamp,
        "abs": absolute,
        "sign": sign,
        "floor": step(np.floor),
        "ceil": step(np.ceil),
        "round": rounded,
        "is_finite": is_finite,
        "convert_element_type": converted,
    }
)


def element_by_element(walk: Walk, e: Any, *inputs: Value) -> Any:
    """A function of which nothing is known, but that it works element by element."""
    numbers = alike(walk, e, inputs)
    floats = [x.f for x in inputs if isinstance(x, Numbers)]
    if len(floats) != len(inputs):
        return unknown(walk, e, *inputs)
    (value,) = computed(e, floats)
    walk.note_unknown(e)
    return walk.points.atom(e.primitive.name, numbers, np.asarray(value, np.float64))


UNKNOWN = ("lgamma", "digamma", "polygamma", "atan2", "acosh", "nextafter", "igamma", "igammac",
           "rem", "zeta", "random_gamma_grad", "igamma_grad_a", "regularized_incomplete_beta",
           )  # fmt: skip
ARITHMETIC.update(dict.fromkeys(UNKNOWN, element_by_element))


def odd_or_even(sign: int) -> Any:
    def element(walk: Walk, e: Any, x: Numbers) -> Numbers:
        (value,) = computed(e, [x.f])
        walk.note_unknown(e)
        f = np.asarray(value, np.float64)
        return symmetric(walk.points, e.primitive.name, x, f, sign)

    return element


ODD = ("asin", "atan", "asinh", "atanh", "erf_inv", "bessel_i1e")
EVEN = ("bessel_i0e",)
ARITHMETIC.update(dict.fromkeys(ODD, odd_or_even(-1)) | dict.fromkeys(EVEN, odd_or_even(1)))


def arc_cosine(walk: Walk, e: Any, x: Numbers) -> Numbers:
    """π/2 - asin x"""
    walk.note_unknown(e)
    points, right_angle = walk.points, number(walk.points, x, math.pi / 2)
    sine_of = symmetric(points, "asin", x, np.arcsin(x.f), -1)
    return points.subtract(right_angle, sine_of)


ARITHMETIC["acos"] = arc_cosine

# -- functions of JAX, computed with more digits than their plain expression gives


def exp_of_minus_square(walk: Walk, e: Any, x: Numbers) -> list[Numbers]:
    """In the derivative of erf."""
    points = walk.points
    return [points.exp(points.negative(points.multiply(x, x)))]


KNOWN["exp_neg_sq"] = exp_of_minus_square


# -- powers of two: the bodies of these move bits


def times_power_of_two(walk: Walk, e: Any, x: Numbers, exponent: Any) -> list[Numbers]:
    powers = np.ldexp(1.0, exponent)
    if (powers == 0).any():
        raise Unprovable(f"a power of two that is no float: {named(e)}")
    return [walk.points.multiply(x, walk.points.literals(powers))]


def mantissa(walk: Walk, e: Any, x: Numbers) -> list[Value]:
    """And the exponent, an integer."""
    value, exponent = np.frexp(x.f)
    is_inside = (np.abs(value) > 0.5 + 1e-9) & (np.abs(value) < 1 - 1e-9)
    is_at_edge = not (is_inside.all() or x.is_literal)
    walk.branch(e, np.zeros(1), (ONE_STEP,), is_at_edge)
    return [*times_power_of_two(walk, e, x, -exponent), exponent]


OBJECTS.update(Ldexp=times_power_of_two, Frexp=mantissa)

# -- integers, in NumPy

QUICK.update(
    {
        name: (lambda e, *x, operation=operation: operation(*x))
        for name, operation in {
            **COMPARISONS,
            "add": np.add,
            "sub": np.subtract,
            "mul": np.multiply,
            "max": np.maximum,
            "min": np.minimum,
            "and": np.bitwise_and,
            "or": np.bitwise_or,
            "xor": np.bitwise_xor,
            "not": np.invert,
            "neg": np.negative,
            "sign": np.sign,
            "stop_gradient": np.array,
            "copy": np.array,
        }.items()
    }
)


def _convert(e: Any, x: Any) -> Any:
    dtype = e.params["new_dtype"]
    return x.astype(dtype) if not jnp.issubdtype(dtype, jnp.floating) else NotImplemented


QUICK["convert_element_type"] = _convert
