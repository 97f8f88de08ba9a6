"""Sigmoid cross-entropy, regression losses, embedding: special points, and against optax and PyTorch."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from gradients import cast

from jaxnet import auto, softmax_cross_entropy
from jaxnet.rules import embedding, huber, mean_squared_error, sigmoid_binary_cross_entropy

EPS = float(np.finfo(np.float32).eps)
BOTH = pytest.mark.parametrize("derivative", [lambda f: f, auto], ids=["hand", "auto"])


def normal(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape)


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


# Regression


@BOTH
@pytest.mark.parametrize("f", [mean_squared_error, huber])
def test_both_arguments_have_opposite_gradients_of_their_own_dtypes(derivative, f):
    p, t = jnp.asarray(normal(3, 4), jnp.float32), jnp.asarray(normal(3, 4, seed=1), jnp.bfloat16)
    dp, dt = jax.grad(lambda p, t: derivative(f)(p, t).sum(), argnums=(0, 1))(p, t)
    assert (dp.dtype, dt.dtype) == (jnp.float32, jnp.bfloat16)
    np.testing.assert_array_equal(dt, -dp.astype(jnp.bfloat16))


@pytest.mark.parametrize("f", [mean_squared_error, huber])
def test_regression_keeps_one_array(f):
    shape = jax.ShapeDtypeStruct((64, 32), jnp.float32)
    kept = jax.tree.leaves(jax.eval_shape(lambda *args: jax.vjp(f, *args)[1], shape, shape))
    assert sum(a.size for a in kept) == 64 * 32


def test_mean_squared_error_is_one_value_per_example():
    p, t = jnp.array([[1.0, 3.0], [0.0, 0.0]]), jnp.array([[0.0, 0.0], [0.0, 2.0]])
    np.testing.assert_array_equal(mean_squared_error(p, t), [5, 2])
    assert mean_squared_error(p[0], t[0]) == 5


def test_mean_squared_error_in_float16_squares_in_float32():
    p = jnp.full((1, 1000), 30.0, jnp.float16)  # squares add up to 900000, beyond float16
    assert mean_squared_error(p, 0 * p)[0] == 900


@BOTH
@pytest.mark.parametrize(
    ("d", "loss", "slope"),
    [
        (0.0, 0, 0),
        (-0.0, 0, 0),
        (1e-30, 0, 1e-30),
        (0.5, 0.125, 0.5),
        (2.0, 2, 2),
        (-2.0, 2, -2),
        (3.0, 4, 2),
        (1e4, 2e4 - 2, 2),
        (np.inf, np.inf, 2),
        (-np.inf, np.inf, -2),
        (np.nan, np.nan, np.nan),
    ],
)
def test_huber_at(derivative, d, loss, slope):
    value, dp = jax.value_and_grad(derivative(partial(huber, delta=2.0)))(
        jnp.float32(d), jnp.float32(0)
    )
    np.testing.assert_allclose(value, loss, rtol=2 * EPS)
    np.testing.assert_allclose(dp, slope, rtol=2 * EPS)


# embedding


@BOTH
@pytest.mark.parametrize("dtype", [jnp.int32, jnp.int8, jnp.uint8])
def test_ids_out_of_range_are_nan_and_have_no_gradient(derivative, dtype):
    ids = jnp.array([1, 3, 200 if dtype == jnp.uint8 else -1, 1], dtype)
    table = jnp.arange(6.0).reshape(3, 2)
    y, pull = jax.vjp(lambda table: derivative(embedding)(table, ids), table)
    np.testing.assert_array_equal(y, [[2, 3], [np.nan] * 2, [np.nan] * 2, [2, 3]])
    np.testing.assert_array_equal(pull(jnp.ones_like(y))[0], [[0, 0], [2, 2], [0, 0]])


def test_repeated_ids_add_up_in_float32():
    """A bfloat16 sum of ones stops at 256; autodiff's does."""
    table, ids = jnp.zeros((2, 1), jnp.bfloat16), jnp.zeros(1000, jnp.int32)
    hand, by_auto = (
        jax.grad(lambda table, f=f: f(table, ids).sum())(table)[0, 0]
        for f in (embedding, auto(embedding))
    )
    assert hand == jnp.bfloat16(1000)
    assert by_auto == 256


def test_embedding_keeps_the_ids_only():
    table, ids = (
        jax.ShapeDtypeStruct((1000, 64), jnp.float32),
        jax.ShapeDtypeStruct((5,), jnp.int32),
    )
    kept = jax.tree.leaves(jax.eval_shape(lambda *args: jax.vjp(embedding, *args)[1], table, ids))
    assert sum(a.size for a in kept) == 5


def test_numpy_arguments():
    table, ids, x = (
        normal(4, 3).astype(np.float32),
        np.array([1, 1, 3]),
        normal(2, 3).astype(np.float32),
    )
    np.testing.assert_array_equal(
        jax.grad(lambda t: embedding(t, ids).sum())(table)[:, 0], [0, 2, 0, 1]
    )
    for f in (sigmoid_binary_cross_entropy, mean_squared_error, huber):
        assert jax.grad(lambda x, f=f: f(x, np.ones((2, 3), np.float32)).sum())(x).shape == x.shape


# Against others


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (sigmoid_binary_cross_entropy, optax.sigmoid_binary_cross_entropy),
        (huber, optax.huber_loss),
        (partial(huber, delta=0.3), partial(optax.huber_loss, delta=0.3)),
        (mean_squared_error, lambda p, t: optax.squared_error(p, t).mean(-1)),
    ],
    ids=["binary", "huber", "huber 0.3", "squared"],
)
def test_against_optax(ours, theirs, x64):
    a, b = jnp.asarray(3 * normal(6, 5)), jnp.asarray(np.random.default_rng(1).random((6, 5)))
    (value, pull), (expected, pull_theirs) = (jax.vjp(f, a, b) for f in (ours, theirs))
    np.testing.assert_allclose(value, expected, rtol=1e-13)
    c = jnp.asarray(normal(*value.shape, seed=2))
    for g, e in zip(pull(c), pull_theirs(c), strict=True):
        np.testing.assert_allclose(g, e, rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize("name", ["binary", "huber", "squared", "embedding"])
def test_against_pytorch(name, x64):
    torch = pytest.importorskip("torch")
    functional = torch.nn.functional
    a, b = 3 * normal(6, 5), np.random.default_rng(1).random((6, 5))
    if name == "embedding":
        b = np.array([[0, 5, 5], [2, 5, 0]])
    ours, theirs = {
        "binary": (
            sigmoid_binary_cross_entropy,
            partial(functional.binary_cross_entropy_with_logits, reduction="none"),
        ),
        "huber": (
            partial(huber, delta=0.7),
            partial(functional.huber_loss, reduction="none", delta=0.7),
        ),
        "squared": (
            mean_squared_error,
            lambda p, t: functional.mse_loss(p, t, reduction="none").mean(-1),
        ),
        "embedding": (embedding, lambda table, ids: functional.embedding(ids, table)),
    }[name]
    ja, jb = cast((a, b), np.float64)
    value, pull = jax.vjp(lambda a: ours(a, jb), ja)
    c = normal(*value.shape, seed=2)
    ta = torch.tensor(a, requires_grad=True)
    expected = theirs(ta, torch.tensor(b))
    expected.backward(torch.tensor(c))
    np.testing.assert_allclose(value, expected.detach().numpy(), rtol=1e-13)
    np.testing.assert_allclose(pull(jnp.asarray(c))[0], ta.grad.numpy(), rtol=1e-12, atol=1e-15)
