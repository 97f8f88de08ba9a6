"""Right to the digits that the arguments have, and no farther: said, and no fault."""

import jax.numpy as jnp
import numpy as np
import pytest
from corpus import by_hand, vjp
from corpus.right import logarithm_without_its_epsilon, sine_by_a_polynomial

from jaxnet import audit, check

X = np.array([0.3, 0.5, 1.2], np.float32)


def sine(factor=1.0):
    return by_hand(jnp.sin, lambda x, dy: (factor * dy * jnp.cos(x),))


def verdicts(report, *questions):
    return {str(f.verdict) for f in report.findings if f.question in questions}


@pytest.mark.many
def test_what_the_arguments_cannot_tell_is_said_first_and_ok():
    report = check(logarithm_without_its_epsilon, X, transforms=())
    assert report.ok
    assert "approximate in `x` at (0): off by 3.3e-08 of the largest element" in report.sentence()
    assert not check(logarithm_without_its_epsilon, X, transforms=(), rtol=0).ok
    audited = audit(lambda x: logarithm_without_its_epsilon(2 * x), X)
    assert audited.ok
    assert [str(site.verdict) for site in audited.sites] == ["approximate"]
    assert not audit(lambda x: logarithm_without_its_epsilon(2 * x), X, rtol=0).ok


@pytest.mark.many
def test_what_they_can_tell_is_wrong_unless_more_is_allowed():
    assert not check(sine(1 + 2e-5), X, transforms=()).ok
    assert check(sine(1 + 2e-5), X, transforms=(), rtol=1e-4).ok
    assert not check(sine(1 + 2e-5), X.astype(np.float64), transforms=()).ok
    assert not check(sine(1 + 2e-5), X.astype("bfloat16"), transforms=()).ok


def test_what_is_off_in_small_elements_alone_is_wrong():
    f = by_hand(lambda x: x**3, lambda x, dy: (jnp.where(jnp.abs(x) < 0.01, 2, 1) * 3 * x**2 * dy,))
    report = check(f, np.array([1, 2, 1e-3, 3], np.float32), transforms=())
    assert [f.index for f in report.findings if f.verdict.bad] == [(2,)]


def not_linear(by):
    """By so much, where the cotangent is far from 1."""
    return by_hand(jnp.sin, lambda x, dy: (dy * jnp.cos(x) * (1 + by * jnp.tanh(jnp.sum(dy**2))),))


def test_not_linear_at_that_level():
    report = check(not_linear(3e-6), X, transforms=())
    assert report.ok
    assert verdicts(report, "laws") == {"approximate"}
    assert verdicts(check(not_linear(3e-4), X, transforms=()), "laws") == {"wrong"}


def another_forward(factor):
    return vjp(jnp.sin, lambda x: (factor * jnp.sin(x), x), lambda x, dy: (dy * jnp.cos(x),))


def test_a_value_at_that_level():
    report = check(another_forward(1 + 2e-6), X, transforms=())
    assert report.ok
    assert "approximate in `output` at (2) (value): off by 2.0e-06" in report.sentence()
    assert verdicts(check(another_forward(1 + 2e-5), X, transforms=()), "value") == {"wrong"}


@pytest.mark.many
def test_the_distance_of_the_values_bounds_that_of_the_gradients():
    x = np.array([0.2, -0.4, 0.6, 0.8], np.float32)
    report = check(sine_by_a_polynomial(1), x, ref=jnp.sin, transforms=())
    assert report.ok
    assert "approximate in `x`" in report.sentence()
    assert any("left out: with the arguments times" in note for note in report.notes)
    assert not check(sine_by_a_polynomial(1.01), x, ref=jnp.sin, transforms=()).ok
    # An f that is ref's is held to all digits.
    assert not check(sine(1 + 2e-5), x, ref=jnp.sin, transforms=()).ok


def test_rtol_is_a_number():
    for rtol in (-1, 1, "1e-3", True):
        with pytest.raises(ValueError, match="check: rtol must be a number of at least 0 and be"):
            check(sine(), X, rtol=rtol)
        with pytest.raises(ValueError, match="audit: rtol must be a number"):
            audit(sine(), X, rtol=rtol)


def test_rtol_is_of_the_digits_too():
    """In float32 alone it is off by 1e-5: as much as it says that it may be."""
    f = by_hand(
        lambda x: jnp.sin(x),
        lambda x, dy: (dy * jnp.cos(x) * (1 + 1e-5 * (x.dtype == jnp.float32)),),
    )
    x = np.linspace(-1, 2, 7, dtype=np.float32)
    assert check(f, x, transforms=(), rtol=1e-4).ok
    assert "imprecise" in verdicts(check(f, x, transforms=()), "precision")
