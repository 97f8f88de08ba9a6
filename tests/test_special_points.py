"""Conventions at the points where mathematics leaves a choice, or floating point has none."""

import functools
from decimal import Decimal, localcontext

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jaxnet import accuracy, auto, linear, relu, softmax, softmax_cross_entropy

EPS = float(np.finfo(np.float32).eps)
TINY = float(np.finfo(np.float32).tiny)  # below it float32 underflows
BOTH = pytest.mark.parametrize("derivative", [lambda f: f, auto], ids=["hand", "auto"])


def slope(f, x):
    return jax.vjp(f, jnp.float32(x))[1](jnp.float32(3.0))[0] / 3


@BOTH
@pytest.mark.parametrize(
    ("x", "expected"), [(0.0, 0), (-0.0, 0), (1e-30, 1), (-1e-30, 0), (jnp.inf, 1), (-jnp.inf, 0)]
)
def test_relu_slope(derivative, x, expected):
    assert slope(derivative(relu), x) == expected


@BOTH
@pytest.mark.parametrize("s", [0.0, 0.25, 1.0])
def test_relu_slope_at_zero_is_the_option(derivative, s):
    f = derivative(lambda x: relu(x, slope_at_zero=s))
    assert slope(f, 0.0) == slope(f, -0.0) == s
    assert (slope(f, -1.0), slope(f, 1.0)) == (0, 1)


@BOTH
def test_relu_passes_nan(derivative):
    assert jnp.isnan(derivative(relu)(jnp.nan))
    assert (
        slope(derivative(relu), jnp.nan) == 1
    )  # as PyTorch: only a value known to be below 0 stops the gradient


def test_relu_stops_an_infinite_cotangent_below_zero():
    assert jax.vjp(relu, jnp.float32(-1.0))[1](jnp.float32(jnp.inf))[0] == 0


def exact_cross_entropy(logits, label):
    """Loss and derivative to 60 digits."""
    with localcontext() as context:
        context.prec = 60
        z = [Decimal(float(v)) for v in logits]
        e = [(v - max(z)).exp() for v in z]
        others = sum(v for k, v in enumerate(e) if k != label)
        loss = (1 + others / e[label]).ln() if others else Decimal(0)
        dz = [-others / sum(e) if k == label else v / sum(e) for k, v in enumerate(e)]
        return loss, dz


def relative_error(value, exact):
    return abs((Decimal(float(value)) - exact) / exact) if exact else Decimal(float(abs(value)))


@functools.cache  # its programs serve every margin
def compiled_cross_entropy(derivative):
    return jax.jit(jax.value_and_grad(derivative(softmax_cross_entropy)))


@pytest.mark.many
@BOTH
@pytest.mark.parametrize("labels", ["integer", "one-hot"])
@pytest.mark.parametrize("margin", [0, 1, 5, 10, 17, 20, 40, 60, 80])
def test_cross_entropy_in_float32_has_no_cancellation(derivative, labels, margin):
    f = compiled_cross_entropy(derivative)
    rng = np.random.default_rng(margin)
    for trial in range(60):
        classes = 2 + trial % 6
        z = rng.uniform(0, margin, classes)
        top, bottom = rng.permutation(classes)[:2]
        z[top], z[bottom] = margin, 0
        z = (z + rng.normal()).astype(np.float32)
        label = int(top) if trial % 2 else int(rng.integers(classes))
        y = jnp.int32(label) if labels == "integer" else jax.nn.one_hot(label, classes)
        loss, dz = f(jnp.asarray(z), y)
        exact_loss, exact_dz = exact_cross_entropy(z, label)
        allowed = Decimal(max(4, float(z.max() - z.min())) * EPS)
        assert relative_error(loss, exact_loss) <= allowed
        if derivative is auto:
            continue  # autodiff of the body is held to absolute precision in test_rules
        for value, exact in zip(dz, exact_dz, strict=True):
            assert relative_error(value, exact) <= allowed


def test_cross_entropy_keeps_what_the_textbook_loses():
    z, label = jnp.array([40.0, 0.0]), jnp.int32(0)
    textbook = jax.grad(lambda z: -jax.nn.log_softmax(z)[label])(z)
    ours = jax.grad(softmax_cross_entropy)(z, label)
    assert textbook[0] == 0  # the cancellation, in jax as it is today
    assert relative_error(ours[0], exact_cross_entropy([40.0, 0.0], 0)[1][0]) <= 40 * EPS


@BOTH
@pytest.mark.parametrize(
    ("logits", "label", "loss", "gradient"),
    [
        ([3.0], 0, 0, [0]),
        ([2.0, 2.0], 0, np.log(2), [-0.5, 0.5]),
        ([2.0, 2.0], 1, np.log(2), [0.5, -0.5]),
        ([1.0, -np.inf, -np.inf], 0, 0, [0, 0, 0]),
        ([-np.inf, 2.0, 2.0], 1, np.log(2), [0, -0.5, 0.5]),
        ([1e4, -1e4], 0, 0, [0, 0]),
        ([1e4, -1e4], 1, 2e4, [1, -1]),
        ([-1e4, -1e4], 0, np.log(2), [-0.5, 0.5]),
        ([-np.inf, 1.0], 0, np.inf, [-1, 1]),
        ([np.nan, 1.0], 1, np.nan, [np.nan, np.nan]),
    ],
)
@pytest.mark.parametrize("labels", ["integer", "one-hot"])
def test_cross_entropy_at(derivative, logits, label, loss, gradient, labels):
    y = jnp.int32(label) if labels == "integer" else jax.nn.one_hot(label, len(logits))
    value, dz = jax.value_and_grad(derivative(softmax_cross_entropy))(jnp.array(logits), y)
    np.testing.assert_allclose(value, loss, rtol=2 * EPS)
    np.testing.assert_allclose(dz, gradient, rtol=2 * EPS)


@BOTH
@pytest.mark.parametrize("label", [2, 5, -1])
def test_cross_entropy_of_a_label_out_of_range_is_nan_not_a_number(derivative, label):
    loss, dz = jax.value_and_grad(derivative(softmax_cross_entropy))(
        jnp.array([1.0, 2.0]), jnp.int32(label)
    )
    assert jnp.isnan(loss)
    assert jnp.isnan(dz).all()


@BOTH
def test_cross_entropy_of_a_masked_class_without_label_mass(derivative):
    logits, y = jnp.array([1.0, -jnp.inf, 0.0]), jnp.array([0.75, 0.0, 0.25])
    (loss, (dz, dy)) = jax.value_and_grad(derivative(softmax_cross_entropy), argnums=(0, 1))(
        logits, y
    )
    expected, dz_expected = jax.value_and_grad(softmax_cross_entropy)(logits[::2], y[::2])
    np.testing.assert_allclose(loss, expected, rtol=2 * EPS)
    np.testing.assert_allclose(dz, [dz_expected[0], 0, dz_expected[1]], rtol=4 * EPS, atol=EPS)
    assert jnp.isfinite(dy).all()


def test_cross_entropy_gradient_of_each_row_sums_to_zero_at_any_margin():
    z = jnp.array([[30.0, 0.0, -1.0], [60.0, 1.0, 0.0]])
    dz = np.asarray(
        jax.grad(lambda z: softmax_cross_entropy(z, jnp.array([0, 0])).sum())(z), np.float64
    )
    assert (np.abs(dz.sum(axis=1)) <= 60 * EPS * np.abs(dz).max(axis=1)).all()


def test_cross_entropy_in_float16_with_many_classes():
    logits = jnp.zeros((1, 2**16), jnp.float16)
    loss, dz = jax.value_and_grad(lambda z: softmax_cross_entropy(z, jnp.array([3])).sum())(logits)
    np.testing.assert_allclose(np.float32(loss), 16 * np.log(2), rtol=2e-3)
    assert dz[0, 3] == -1
    assert jnp.isfinite(dz).all()


@settings(deadline=None, max_examples=60)
@given(st.lists(st.floats(-1e4, 1e4, width=32), min_size=1, max_size=6), st.data())
def test_cross_entropy_is_finite_and_its_gradient_bounded(logits, data):
    label = data.draw(st.integers(0, len(logits) - 1))
    loss, dz = jax.value_and_grad(softmax_cross_entropy)(
        jnp.array(logits, jnp.float32), jnp.int32(label)
    )
    assert loss >= 0
    assert jnp.isfinite(loss)
    assert (jnp.abs(dz) <= 1).all()
    assert dz[label] <= 0


@pytest.mark.parametrize("margin", [1, 17, 40, 80])
def test_softmax_backward_keeps_the_tail(margin):
    z, dp = jnp.array([float(margin), 0.0]), jnp.array([2.0, -1.0])
    hand, by_auto = (jax.vjp(f, z)[1](dp)[0] for f in (softmax, auto(softmax)))
    with localcontext() as context:
        context.prec = 60
        e = (-Decimal(margin)).exp()
        exact = 3 * e / (1 + e) ** 2  # p_1 p_2 (dp_1 - dp_2)
    assert relative_error(hand[0], exact) <= max(4, margin) * EPS
    assert relative_error(hand[1], -exact) <= max(4, margin) * EPS
    if margin >= 17:
        assert by_auto[0] == 0  # autodiff of the same body has lost it


def test_softmax_at_extremes():
    np.testing.assert_array_equal(softmax(jnp.array([1e4, -1e4])), [1, 0])
    np.testing.assert_array_equal(softmax(jnp.array([-jnp.inf, 5.0])), [0, 1])
    assert jnp.isnan(softmax(jnp.array([-jnp.inf, -jnp.inf]))).all()
    assert jnp.isnan(softmax(jnp.array([jnp.nan, 1.0]))).all()


def test_linear_passes_nan_only_where_it_goes():
    x = jnp.array([[jnp.nan, 1.0], [2.0, 3.0]])
    y = linear(x, jnp.ones((2, 2)), jnp.zeros(2))
    assert jnp.isnan(y[0]).all()
    np.testing.assert_array_equal(y[1], [5, 5])


def test_accuracy():
    logits = jnp.array([[2.0, 1.0], [0.0, 3.0], [1.0, 1.0], [jnp.nan, 0.0]])
    assert (
        accuracy(logits, jnp.array([0, 1, 0, 0])) == 0.75
    )  # the first of equals wins; NaN is never right
    assert accuracy(logits, jnp.array([1, 1, 1, 1])) == 0.25
    assert accuracy(logits, jax.nn.one_hot(jnp.array([0, 1, 0, 0]), 2)) == 0.75
    assert accuracy(logits, jnp.array([0, 1, 0, 0])).dtype == jnp.float32
    assert jnp.isnan(accuracy(jnp.zeros((0, 2)), jnp.zeros(0, int)))
