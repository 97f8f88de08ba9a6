"""mean_squared_error and huber: special points, and against optax and PyTorch."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from rule_helpers import BOTH, EPS, assert_as_optax, assert_as_pytorch, normal

from jaxnet.rules import huber, mean_squared_error


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


@pytest.mark.parametrize("f", [mean_squared_error, huber])
def test_numpy_arguments(f):
    x = normal(2, 3).astype(np.float32)
    assert jax.grad(lambda x: f(x, np.ones((2, 3), np.float32)).sum())(x).shape == x.shape


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (huber, optax.huber_loss),
        (partial(huber, delta=0.3), partial(optax.huber_loss, delta=0.3)),
        (mean_squared_error, lambda p, t: optax.squared_error(p, t).mean(-1)),
    ],
    ids=["huber", "huber 0.3", "squared"],
)
def test_against_optax(ours, theirs, x64):
    assert_as_optax(ours, theirs)


def test_huber_against_pytorch(x64):
    functional = pytest.importorskip("torch").nn.functional
    theirs = partial(functional.huber_loss, reduction="none", delta=0.7)
    assert_as_pytorch(partial(huber, delta=0.7), theirs)


def test_mean_squared_error_against_pytorch(x64):
    functional = pytest.importorskip("torch").nn.functional
    assert_as_pytorch(
        mean_squared_error, lambda p, t: functional.mse_loss(p, t, reduction="none").mean(-1)
    )
