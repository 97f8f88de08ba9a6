"""Cross-entropies where floating point runs out, at special points, and beside the frameworks."""

import functools
from decimal import Decimal, localcontext
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from catalogue._cross_entropy import KNOWN_ROWS
from hypothesis import given, settings
from hypothesis import strategies as st
from rule_helpers import (
    BOTH,
    EPS,
    assert_as_optax,
    assert_as_pytorch,
    normal,
    relative_error,
)

from jaxnet import auto, softmax_cross_entropy
from jaxnet.rules import sigmoid_binary_cross_entropy


def exact_cross_entropy(logits, label):
    """Loss and derivative to 60 digits: a truth of its own, beside the catalogue's in float64."""
    with localcontext() as context:
        context.prec = 60
        z = [Decimal(float(v)) for v in logits]
        e = [(v - max(z)).exp() for v in z]
        others = sum(v for k, v in enumerate(e) if k != label)
        loss = (1 + others / e[label]).ln() if others else Decimal(0)
        dz = [-others / sum(e) if k == label else v / sum(e) for k, v in enumerate(e)]
        return loss, dz


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


@pytest.mark.many
@BOTH
@pytest.mark.parametrize(
    ("logits", "label", "loss", "gradient"),
    KNOWN_ROWS,
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
    f = jax.value_and_grad(derivative(softmax_cross_entropy), argnums=(0, 1))
    loss, (dz, dy) = f(logits, y)
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


@settings(max_examples=60)
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


# sigmoid_binary_cross_entropy


@BOTH
@pytest.mark.parametrize("dtype", [jnp.float32, jnp.int32, jnp.bool_])
@pytest.mark.parametrize(
    ("logit", "label", "loss", "slope"),
    [
        (0.0, 0, np.log(2), 0.5),
        (-0.0, 1, np.log(2), -0.5),
        (40.0, 1, np.exp(-40.0), -np.exp(-40.0)),
        (-40.0, 0, np.exp(-40.0), np.exp(-40.0)),
        (40.0, 0, 40, 1),
        (1e4, 1, 0, 0),
        (-1e4, 0, 0, 0),
        (1e4, 0, 1e4, 1),
        (-1e4, 1, 1e4, -1),
        (np.inf, 1, 0, 0),
        (-np.inf, 0, 0, 0),
        (np.inf, 0, np.inf, 1),
        (np.nan, 1, np.nan, np.nan),
    ],
)
def test_binary_at(derivative, dtype, logit, label, loss, slope):
    f = derivative(sigmoid_binary_cross_entropy)
    value, dz = jax.value_and_grad(f)(jnp.float32(logit), jnp.asarray(label, dtype))
    np.testing.assert_allclose(value, loss, rtol=4 * EPS)
    np.testing.assert_allclose(dz, slope, rtol=4 * EPS)


def test_binary_keeps_what_p_minus_y_loses():
    z, y = jnp.float32(20.0), jnp.float32(1.0)
    assert jax.nn.sigmoid(z) - y == 0  # the derivative as it is often written
    np.testing.assert_allclose(
        jax.grad(sigmoid_binary_cross_entropy)(z, y), -np.exp(-20.0), rtol=4 * EPS
    )


@BOTH
def test_binary_labels_are_differentiable(derivative):
    z, y = jnp.array([-3.0, 0.0, 2.0, 50.0]), jnp.array([0.0, 0.5, 0.25, 1.0])
    dy = jax.grad(lambda y: derivative(sigmoid_binary_cross_entropy)(z, y).sum())(y)
    np.testing.assert_allclose(dy, -z, rtol=2 * EPS)


@BOTH
@pytest.mark.parametrize("label", [2, -1])
def test_binary_integer_labels_are_zero_or_one_or_nan(derivative, label):
    loss, dz = jax.value_and_grad(derivative(sigmoid_binary_cross_entropy))(
        jnp.float32(1.0), jnp.int32(label)
    )
    assert jnp.isnan(loss)
    assert jnp.isnan(dz)


def test_binary_is_softmax_with_a_second_logit_of_zero(x64):
    z, y = jnp.asarray(10 * normal(50)), jnp.asarray(np.random.default_rng(1).random(50))
    both = softmax_cross_entropy(jnp.stack([0 * z, z], axis=-1), jnp.stack([1 - y, y], axis=-1))
    np.testing.assert_allclose(sigmoid_binary_cross_entropy(z, y), both, rtol=1e-14)


def test_binary_keeps_one_array_for_labels_without_a_gradient():
    f = partial(jax.vjp, sigmoid_binary_cross_entropy)
    z = jax.ShapeDtypeStruct((64, 32), jnp.float32)
    kept = jax.tree.leaves(
        jax.eval_shape(lambda *args: f(*args)[1], z, jax.ShapeDtypeStruct((64, 32), jnp.int32))
    )
    assert sum(a.size for a in kept) == 64 * 32


def test_binary_numpy_arguments():
    x = normal(2, 3).astype(np.float32)
    f = sigmoid_binary_cross_entropy
    assert jax.grad(lambda x: f(x, np.ones((2, 3), np.float32)).sum())(x).shape == x.shape


def test_binary_against_optax(x64):
    assert_as_optax(sigmoid_binary_cross_entropy, optax.sigmoid_binary_cross_entropy)


def test_binary_against_pytorch(x64):
    functional = pytest.importorskip("torch").nn.functional
    theirs = partial(functional.binary_cross_entropy_with_logits, reduction="none")
    assert_as_pytorch(sigmoid_binary_cross_entropy, theirs)
