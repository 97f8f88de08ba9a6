"""Functions that raise: outside of their domain, at a point that the checker made up, or at all."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from corpus import by_hand, right

from jaxnet import audit, check

X = jnp.asarray([0.3, 0.5, 1.2])


def positive_by_equinox(x):
    eqx = pytest.importorskip("equinox")
    return jnp.log(eqx.error_if(x, jnp.any(x <= 0), "x must be positive"))


def assert_skipped_and_said(body, factor):
    rule = by_hand(body, lambda x, dy: (factor * dy / x,))
    report = check(rule, X, transforms=("vmap",), domain={"x": "any"})
    assert report.ok is (factor == 1.0), report
    (note,) = [n for n in report.notes if "made up" in n]
    assert "the arguments times -1" in note
    assert "must be" in note
    assert audit(lambda x: rule(x).sum(), X).ok is (factor == 1.0)


@pytest.mark.many
@pytest.mark.parametrize("factor", [1.0, 2.0])
def test_a_point_that_equinox_refuses_is_skipped_and_said(factor):
    assert_skipped_and_said(positive_by_equinox, factor)


@pytest.mark.many
@pytest.mark.parametrize("factor", [1.0, 2.0])
def test_a_point_that_a_host_callback_refuses_is_skipped_and_said(factor):
    assert_skipped_and_said(right.logarithm, factor)


def test_what_a_host_callback_raises_at_a_made_point_is_not_logged(caplog):
    rule = by_hand(right.logarithm, lambda x, dy: (dy / x,))
    report = check(rule, X, domain={"x": "any"}, transforms=())
    assert any("made up" in note for note in report.notes)
    assert not caplog.records
    check(rule, -X, transforms=())
    assert caplog.records


def test_a_function_that_raises_at_the_arguments_is_an_error():
    rule = by_hand(right.logarithm, lambda x, dy: (dy / x,))
    report = check(rule, -X, transforms=())
    assert not report.ok
    assert "x must be above 0" in report.sentence()


@pytest.mark.parametrize("lost", [False, True])
def test_where_no_difference_can_be_taken_autodiff_is_believed(lost):
    """The small one is nearer to the end of the domain than the smallest step is large."""
    rule = by_hand(right.logarithm, lambda x, dy: (jnp.where(lost & (x < 1e-3), 0, dy / x),))
    small = jnp.asarray([1e-12, 0.7, 2.0])
    report = check(rule, small, ref=right.logarithm_of_jax, transforms=())
    assert report.ok is not lost, report


def test_a_backward_that_raises_in_the_working_dtype_alone_is_an_error_and_no_crash():
    """A solver that float32 is not enough for, say."""

    def solved(dy):
        if dy.dtype == np.float32:
            raise ValueError("singular")
        return dy

    def backward(x, dy):
        return (jax.pure_callback(solved, dy, dy, vmap_method="sequential") * jnp.cos(x),)

    report = check(by_hand(jnp.sin, backward), X, transforms=())
    assert not report.ok
    assert report.sentence().startswith("ERROR (precision float32): it raised when it was run")
    assert "singular" in report.sentence()


def test_a_transformation_that_raises_when_it_runs_is_no_crash():
    """Its neighbour is outside of the domain."""

    def whole(x):
        def computed(v):
            if (v > 1).any():
                raise ValueError("x must be at most 1")
            return np.sin(v)

        return jax.pure_callback(
            computed, jax.ShapeDtypeStruct(x.shape, x.dtype), x, vmap_method="expand_dims"
        )

    rule = by_hand(whole, lambda x, dy: (jnp.cos(x) * dy,))
    ones = jnp.ones(3)
    report = check(rule, ones, ref=lambda x: jnp.sin(x) + 0 * whole(x), transforms=("vmap",))
    assert "x must be at most 1" in str(report)
