"""layer_norm and rms_norm: rows without variance, far from zero, narrow dtypes, and PyTorch."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from rule_helpers import BOTH, EPS, residual_bytes

from jaxnet import auto
from jaxnet.rules import layer_norm, rms_norm

rng = np.random.default_rng(0)


def pulled(f, c, *args):
    return jax.jit(lambda c, *args: jax.vjp(f, *args)[1](c))(c, *args)


@BOTH
@pytest.mark.parametrize("constant", [0.0, 1.0, -3.3, 1e4, 1e-30, 1e30])
def test_layer_norm_of_a_constant_row(derivative, constant):
    """The normalised row is 0, however large the constant, and dx is (g - mean g) / √eps."""
    x, scale, bias = (
        jnp.asarray(a, jnp.float32)
        for a in (np.full(7, constant), rng.normal(size=7), np.arange(7.0))
    )
    c = jnp.asarray(rng.normal(size=7), jnp.float32)
    np.testing.assert_array_equal(derivative(layer_norm)(x, scale, bias), bias)
    dx, dscale, dbias = pulled(derivative(layer_norm), c, x, scale, bias)
    g = np.float64(c * scale)
    np.testing.assert_allclose(dx, (g - g.mean()) / np.sqrt(1e-5), rtol=1e-5, atol=1e-3)
    np.testing.assert_array_equal(dscale, 0)
    np.testing.assert_array_equal(dbias, c)


@BOTH
def test_rms_norm_of_a_zero_row(derivative):
    x, scale, c = jnp.zeros(5), jnp.arange(5.0), jnp.ones(5)
    np.testing.assert_array_equal(derivative(rms_norm)(x, scale), 0)
    dx, dscale = pulled(derivative(rms_norm), c, x, scale)
    np.testing.assert_allclose(dx, scale / 1e-3, rtol=4 * EPS)
    np.testing.assert_array_equal(dscale, 0)


def test_layer_norm_of_one_column_has_no_gradient():
    dx, dscale, dbias = pulled(
        layer_norm, jnp.ones((3, 1)), jnp.array([[1.0], [-2.0], [0.0]]), jnp.ones(1), jnp.ones(1)
    )
    np.testing.assert_array_equal(dx, 0)
    assert (dscale[0], dbias[0]) == (0, 3)


@pytest.mark.parametrize("offset", [0, 10, 1e3, 1e4])
def test_layer_norm_far_from_zero_loses_nothing(offset):
    """The mean of squares less the square of the mean has no digit left at 1e4.

    And the mean itself is rounded.
    """
    x = (offset + rng.normal(size=(4, 64))).astype(np.float32)
    wide = np.float64(x)
    expected = (wide - wide.mean(-1, keepdims=True)) / np.sqrt(wide.var(-1, keepdims=True) + 1e-5)
    np.testing.assert_allclose(layer_norm(x), expected, rtol=8 * EPS, atol=8 * EPS)


@pytest.mark.parametrize("f", [layer_norm, rms_norm])
def test_extremes(f):
    x = jnp.array([[1.0, 2.0, jnp.nan], [1.0, 2.0, 3.0], [1e4, -1e4, 0.0]])
    y, pull = jax.vjp(f, x)
    assert jnp.isnan(y[0]).all()
    assert jnp.isfinite(y[1:]).all()
    assert jnp.isfinite(pull(jnp.ones_like(x))[0][1:]).all()
    assert f(jnp.zeros((0, 3))).shape == (0, 3)
    assert pulled(f, jnp.zeros((0, 3)), jnp.zeros((0, 3)), jnp.ones(3))[1].shape == (3,)
    assert jnp.isnan(layer_norm(jnp.array([jnp.inf, 1.0]))).all()


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float16])
@pytest.mark.parametrize("f", [layer_norm, rms_norm])
def test_narrow_dtypes_are_computed_in_float32(f, dtype):
    # Squares add up to more than float16 holds.
    x = jnp.asarray(100 * rng.normal(size=(3, 512)), dtype)
    y, pull = jax.vjp(f, x)
    wide, wide_pull = jax.vjp(f, x.astype(jnp.float32))
    eps = float(jnp.finfo(dtype).eps)
    assert y.dtype == dtype
    np.testing.assert_allclose(np.float32(y), wide, rtol=eps)
    c = jnp.asarray(rng.normal(size=x.shape), dtype)
    np.testing.assert_allclose(
        np.float32(pull(c)[0]), wide_pull(c.astype(jnp.float32))[0], rtol=eps, atol=eps / 100
    )


def test_a_wider_scale_does_not_widen_the_result():
    x, scale, bias = jnp.ones((2, 3), jnp.bfloat16), jnp.ones(3), jnp.ones(3, jnp.float16)
    y, pull = jax.vjp(layer_norm, x, scale, bias)
    assert y.dtype == jnp.bfloat16
    assert [d.dtype for d in pull(y)] == [jnp.bfloat16, jnp.float32, jnp.float16]


def test_scale_and_bias_may_each_be_left_out():
    x = jnp.asarray(rng.normal(size=(4, 5)), jnp.float32)
    scale, bias, c = jnp.arange(1.0, 6.0), jnp.arange(5.0), jnp.ones((4, 5)).at[0, 0].set(2)
    ones, zeros = jnp.ones(5), jnp.zeros(5)
    full = pulled(layer_norm, c, x, ones, bias)
    dx, dbias = pulled(lambda x, bias: layer_norm(x, None, bias), c, x, bias)
    np.testing.assert_allclose(dx, full[0], rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(dbias, full[2])
    np.testing.assert_array_equal(layer_norm(x, scale), layer_norm(x, scale, zeros))
    np.testing.assert_array_equal(rms_norm(x), rms_norm(x, ones))


def test_what_is_kept_for_the_backward():
    x, scale, bias = jnp.ones((64, 256)), jnp.ones(256), jnp.ones(256)
    rows = 64 * 4
    assert residual_bytes(layer_norm, x, scale, bias) == x.nbytes + 2 * rows + scale.nbytes
    assert residual_bytes(rms_norm, x, scale) == x.nbytes + rows + scale.nbytes
    assert residual_bytes(layer_norm, x, scale, bias) <= 0.36 * residual_bytes(
        auto(layer_norm), x, scale, bias
    )
    assert residual_bytes(rms_norm, x, scale) <= 0.52 * residual_bytes(auto(rms_norm), x, scale)


def test_values_and_gradients_beside_pytorch():
    torch = pytest.importorskip("torch")
    F = torch.nn.functional
    x, scale, bias, c = (rng.normal(size=shape) for shape in ((6, 5), 5, 5, (6, 5)))
    with jax.enable_x64(True):
        for ours, theirs, args in (
            (
                lambda *a: layer_norm(*a, eps=1e-3),
                lambda *a: F.layer_norm(a[0], (5,), *a[1:], eps=1e-3),
                (x, scale, bias),
            ),
            (
                lambda *a: rms_norm(*a, eps=1e-3),
                lambda *a: F.rms_norm(a[0], (5,), a[1], eps=1e-3),
                (x, scale),
            ),
        ):
            t = [torch.tensor(a, requires_grad=True) for a in args]
            y = theirs(*t)
            y.backward(torch.tensor(c))
            value, pull = jax.vjp(ours, *map(jnp.asarray, args))
            np.testing.assert_allclose(value, y.detach().numpy(), rtol=1e-11, atol=1e-14)
            for mine, other in zip(pull(jnp.asarray(c)), t, strict=True):
                np.testing.assert_allclose(mine, other.grad.numpy(), rtol=1e-11, atol=1e-13)


@pytest.mark.parametrize(
    ("call", "error", "text"),
    [
        (
            lambda: layer_norm(jnp.arange(3)),
            TypeError,
            "layer_norm: x must be a floating-point array, got dtype int32",
        ),
        (
            lambda: rms_norm(jnp.float32(1)),
            ValueError,
            r"rms_norm: x must be \[..., D\] with D at least 1, got shape \(\)",
        ),
        (
            lambda: layer_norm(jnp.ones((2, 0))),
            ValueError,
            r"with D at least 1, got shape \(2, 0\)",
        ),
        (
            lambda: layer_norm(jnp.ones((2, 3)), jnp.ones(2)),
            ValueError,
            r"layer_norm: scale must have shape \(3,\) to fit the last axis of x, got \(2,\)",
        ),
        (
            lambda: layer_norm(jnp.ones((2, 3)), None, jnp.ones((2, 3))),
            ValueError,
            r"bias must have shape \(3,\)",
        ),
        (
            lambda: rms_norm(jnp.ones(3), jnp.ones(3, int)),
            TypeError,
            "rms_norm: scale must be a floating-point array",
        ),
        (
            lambda: layer_norm(jnp.ones(3), eps=0.0),
            ValueError,
            "eps must be positive, or a constant row would divide by 0, got 0.0",
        ),
    ],
)
def test_error_text(call, error, text):
    with pytest.raises(error, match=text):
        call()
