"""prove, attacked: rules that only look right, and right rules that look wrong."""

import jax.numpy as jnp
import numpy as np
import pytest
from corpus import pointwise
from jax import lax

import jaxnet
from jaxnet.proving.bound import VARIABLE

X = np.array([0.3, -1.2, 2.1])


def literal(x, *values):
    """Their product, with the shape of x, in the graph: nothing is folded."""
    product = jnp.zeros_like(x) + values[0]
    for value in values[1:]:
        product *= value
    return product


def tiny(x):
    """1e-400, whose float is 0."""
    return literal(x, 1e-200, 1e-200)


# name -> a function with a slope that is not its derivative, and where it is asked
WRONG = {
    "right where a cast is False": (
        lambda x: x * x,
        lambda x: jnp.where(x.astype(bool), 3 * x, 2 * x),
        np.array(0.0),
    ),
    "right from an integer on": (
        lambda x: x * x,
        lambda x: jnp.where(x.astype(int) == 2, 2 * x, 3 * x),
        np.array(2.0),
    ),
    "a jump at an integer": (
        lambda x: x.astype(int) * x,
        lambda x: x.astype(int) * 1.0,
        np.array(2.0),
    ),
    "an index that jumps": (
        lambda x: x * x,
        lambda x: lax.dynamic_slice(jnp.array([3.0, 2.0]), (x.astype(int),), (1,))[0] * x,
        np.array(1.0),
    ),
    "a factor in an exponential that underflows": (
        lambda x: jnp.exp(tiny(x) * jnp.sin(x)),
        lambda x: tiny(x) * jnp.cos(x),
        X,
    ),
    "an exponent that is rounded to 1": (
        lambda x: x ** (literal(x, 1e-20) + 1),
        lambda x: literal(x, 1e-20) + 1 + 0 * x,
        abs(X),
    ),
    "a logarithm times what is rounded to 1": (
        lambda x: jnp.exp(jnp.log(x) * (literal(x, 1e-20) + 1)),
        lambda x: literal(x, 1e-20) + 1 + 0 * x,
        abs(X),
    ),
    "a power of two that underflows": (
        lambda x: x * x,
        lambda x: 2 * x + jnp.ldexp(x, -1100),
        X,
    ),
    "what rounding alone makes unequal": (
        lambda x: x * x,
        lambda x: jnp.where((x * 0.1) * 3 == x * 0.3, 3 * x, 2 * x),
        np.array(1.0),
    ),
    "NaN as a marker": (
        lambda x: x * x,
        lambda x: jnp.where(x * jnp.nan > 0, 2 * x, 3 * x),
        X,
    ),
    "infinity less infinity": (
        lambda x: x * x,
        lambda x: 2 * x + jnp.where(jnp.exp(1e4 * x) - jnp.exp(1e4 * x + 1) < 0, 0, x),
        abs(X),
    ),
    "right at an index of the largest": (
        lambda x: x * x,
        lambda x: jnp.where(jnp.argmax(x) == 0, 2 * x, 3 * x),
        np.array([1.0, 1.0]),
    ),
    "less than a denormal from the arguments": (
        lambda x: x * x,
        lambda x: jnp.where(abs(x - X) < 1e-300, 2 * x, 3 * x),
        X,
    ),
    "a root of squares with the wrong sign": (
        lambda x: jnp.sqrt((x - 1) ** 2 * (x + 3) ** 2),
        lambda x: 2 * x + 2,
        np.array(0.5),
    ),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_is_not_the_derivative_is_not_proved(name):
    f, slope, x = WRONG[name]
    assert jaxnet.prove(pointwise(f, slope), x).verdict != "proved"


@pytest.mark.parametrize(
    "f",
    [
        lambda x: lax.clamp(0.5, x, -0.5) * x,
        lambda x: lax.round(jnp.full_like(x, 2.5), lax.RoundingMethod.AWAY_FROM_ZERO) * x,
        lambda x: lax.round(jnp.full_like(x, 2.5), lax.RoundingMethod.TO_NEAREST_EVEN) * x,
        lambda x: lax.round(x, lax.RoundingMethod.AWAY_FROM_ZERO) * x,
        lambda x: lax.top_k(jnp.outer(x, x + 1), 3, axis=0)[0],
    ],
)
def test_modes_of_primitives_are_not_overlooked(f):
    """What is 1 more is refuted, and the refutation shows the floats."""
    for output in jaxnet.prove(f, X, ref=lambda x: f(x) + 1).leaves[:1]:
        assert output.ref - output.rule == pytest.approx(1)
        assert output.rule == pytest.approx(np.asarray(f(jnp.asarray(X)))[output.index], rel=1e-6)


def test_the_bound_of_a_root_is_no_smaller_than_that_of_its_denominator():
    """sqrt(1/N) is sqrt(N)/N."""
    size = VARIABLE.power(100).inverse(1)
    assert size.degree == 0
    assert size.root().degree == 100


def of_quotient(x):
    return (jnp.exp(x) - 1 - x) / x**2


# name -> a function with a slope that floats cannot tell from it, and where it is asked
SEEMINGLY_WRONG = {
    "a series where autodiff has few digits": (
        of_quotient,
        lambda x: jnp.where(
            abs(x) < 1e-2, 1 / 6 + x / 12 + x**2 / 40 + x**3 / 180 + x**4 / 1008, jnp.nan
        ),
        np.array([1e-4, -1e-5]),
    ),
    "0 by an identity that is not known": (
        lambda x: x * (jnp.sin(np.pi) + jnp.log(2.0) - np.log(2)),
        lambda x: 0 * x,
        X,
    ),
    "a bound against overflow": (
        lambda x: jnp.log(1 + jnp.exp(x)),
        lambda x: 1 / (1 + jnp.exp(-jnp.clip(x, -30, 30))),
        X,
    ),
    "a constant of 32 bits": (
        lambda x: x * np.sqrt(2 / np.pi),
        lambda x: np.float32(np.sqrt(2 / np.pi)) + 0 * x,
        X,
    ),
}


@pytest.mark.parametrize("name", SEEMINGLY_WRONG)
def test_what_rounding_alone_makes_different_is_not_refuted(name):
    f, slope, x = SEEMINGLY_WRONG[name]
    assert jaxnet.prove(pointwise(f, slope), x).verdict != "refuted"


@pytest.mark.parametrize(("units", "verdict"), [(1, "proved"), (8, "not proved")])
def test_some_units_in_the_last_place_of_a_literal_are_forgiven(units, verdict):
    """0.1 * 3 is rounded twice, and is meant for 3/10."""
    factor = 0.3 + units * np.spacing(0.3)
    rule = pointwise(lambda x: 0.3 * x, lambda x: factor + 0 * x)
    assert jaxnet.prove(rule, X).verdict == verdict
