"""safe_sqrt, safe_norm and normalize: at 0, near it, and where squares overflow."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from rule_helpers import BOTH, EPS

from jaxnet import auto
from jaxnet.rules import _safe_norm, normalize, safe_norm, safe_sqrt


@BOTH
def test_sqrt_at_zero_and_elsewhere(derivative):
    f = derivative(safe_sqrt)
    x = jnp.array([0.0, -0.0, 1e-30, 4.0, 1e30, jnp.inf])
    np.testing.assert_allclose(f(x), [0, 0, 1e-15, 2, 1e15, jnp.inf], rtol=2 * EPS)
    slopes = jax.vjp(f, x)[1](jnp.ones(6))[0]
    np.testing.assert_allclose(slopes, [0, 0, 0.5e15, 0.25, 0.5e-15, 0], rtol=2 * EPS)
    assert jnp.isnan(f(jnp.float32(-1)))
    assert jnp.isnan(jax.grad(f)(jnp.float32(-1)))
    assert jax.grad(jax.grad(f))(0.0) == 0
    np.testing.assert_allclose(jax.grad(jax.grad(f))(1e-4), -0.25 * 1e6, rtol=8 * EPS)


def test_the_textbooks_at_zero():
    assert jnp.isinf(jax.grad(jnp.sqrt)(0.0))  # in jax as it is today
    assert jnp.isnan(jax.grad(jnp.linalg.norm)(jnp.zeros(3))).all()
    assert jnp.isnan(jax.grad(lambda x: jnp.sqrt(jnp.sum(x**2)))(jnp.zeros(3))).all()


@BOTH
def test_norm_and_direction_of_zero(derivative):
    x = jnp.array([[0.0, 0.0], [3.0, 4.0], [-0.0, 0.0]])
    n, pull = jax.vjp(derivative(safe_norm), x)
    np.testing.assert_allclose(n, [0, 5, 0], rtol=EPS)
    np.testing.assert_allclose(pull(jnp.ones(3))[0], [[0, 0], [0.6, 0.8], [0, 0]], rtol=2 * EPS)
    u, pull = jax.vjp(derivative(normalize), x)
    np.testing.assert_allclose(u, [[0, 0], [0.6, 0.8], [0, 0]], rtol=2 * EPS)
    dx = pull(jnp.array([[1.0, 2.0]] * 3))[0]
    np.testing.assert_allclose(dx, [[0, 0], [-0.128 / 2, 0.096 / 2], [0, 0]], atol=4 * EPS)
    hessian = jax.jacfwd(jax.jacrev(auto(safe_norm)))(jnp.zeros(2))
    np.testing.assert_array_equal(hessian, 0)


@pytest.mark.parametrize("size", [1e-30, 1e-20, 1e-3, 1.0, 1e20, 1e30])
def test_no_square_overflows_or_underflows(size):
    x = jnp.asarray(size * np.array([1.0, -2.0, 2.0]), jnp.float32)
    u = np.array([1, -2, 2]) / 3
    c = jnp.array([1.0, 0.5, -2.0])
    n, pull = jax.vjp(safe_norm, x)
    np.testing.assert_allclose(n, 3 * size, rtol=4 * EPS)
    np.testing.assert_allclose(pull(jnp.float32(2))[0], 2 * u, rtol=4 * EPS)
    unit, pull = jax.vjp(normalize, x)
    np.testing.assert_allclose(unit, u, rtol=4 * EPS)
    np.testing.assert_allclose(pull(c)[0], (c - u * (c @ u)) / (3 * size), rtol=16 * EPS)


@pytest.mark.many
@pytest.mark.parametrize("size", [1e-9, 1e-3, 1.0])
def test_second_order_near_zero(size, x64):
    """The Hessian of the norm is (1 - u uᵀ) / n, also where n is small."""
    x = size * jnp.array([2.0, -1.0, 2.0])
    v, u = jnp.array([0.3, -1.0, 0.7]), jnp.array([2.0, -1.0, 2.0]) / 3
    second = jax.grad(lambda x: jax.grad(safe_norm)(x) @ v)(x)
    np.testing.assert_allclose(second, (v - u * (u @ v)) / (3 * size), rtol=1e-13)
    by_hand = jax.grad(lambda x: jax.grad(lambda x: normalize(x) @ v)(x) @ v)(x)
    by_auto = jax.grad(lambda x: jax.grad(lambda x: auto(normalize)(x) @ v)(x) @ v)(x)
    np.testing.assert_allclose(by_hand, by_auto, rtol=1e-12)


@pytest.mark.many
def test_axes_and_odd_shapes():
    x = jnp.asarray(np.random.default_rng(0).normal(size=(3, 4, 5)), jnp.float32)
    for axis in (0, 1, -1):
        np.testing.assert_allclose(
            safe_norm(x, axis=axis), jnp.linalg.norm(x, axis=axis), rtol=8 * EPS
        )
        np.testing.assert_allclose(safe_norm(normalize(x, axis=axis), axis=axis), 1, rtol=8 * EPS)
    np.testing.assert_array_equal(safe_norm(jnp.zeros((2, 0))), [0, 0])
    assert normalize(jnp.zeros((2, 0))).shape == (2, 0)
    assert safe_norm(jnp.zeros((0, 3))).shape == (0,)
    np.testing.assert_array_equal(
        jax.vjp(safe_norm, jnp.array([[-2.0]]))[1](jnp.array([3.0]))[0], [[-3]]
    )
    np.testing.assert_array_equal(
        jax.vjp(normalize, jnp.array([[-2.0]]))[1](jnp.array([[3.0]]))[0], [[0]]
    )


def test_nan_and_infinity():
    assert jnp.isnan(safe_norm(jnp.array([jnp.nan, 1.0])))
    assert jnp.isnan(safe_norm(jnp.array([jnp.nan, jnp.inf])))
    assert safe_norm(jnp.array([-jnp.inf, 1.0])) == jnp.inf
    assert jnp.isnan(normalize(jnp.array([jnp.nan, 1.0]))).all()


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float16])
def test_narrow_dtypes(dtype):
    x = jnp.asarray(200 * np.random.default_rng(0).normal(size=(3, 200)), dtype)
    eps = float(jnp.finfo(dtype).eps)
    assert safe_norm(x).dtype == normalize(x).dtype == safe_sqrt(abs(x)).dtype == dtype
    np.testing.assert_allclose(
        np.float64(safe_norm(x)), np.linalg.norm(np.float64(x), axis=-1), rtol=eps
    )


def test_values_beside_pytorch():
    torch = pytest.importorskip("torch")
    x = np.random.default_rng(0).normal(size=(4, 5))
    t = torch.tensor(x, requires_grad=True)
    torch.nn.functional.normalize(t, dim=-1)[:, 0].sum().backward()
    with jax.enable_x64(True):
        dx = jax.grad(lambda x: normalize(x)[:, 0].sum())(jnp.asarray(x))
        np.testing.assert_allclose(dx, t.grad.numpy(), rtol=1e-12, atol=1e-14)
        np.testing.assert_allclose(
            safe_norm(x), torch.linalg.vector_norm(t, dim=-1).detach().numpy(), rtol=1e-14
        )


@pytest.mark.parametrize(
    ("call", "error", "text"),
    [
        (
            lambda: safe_sqrt(jnp.arange(3)),
            TypeError,
            "safe_sqrt: x must be a floating-point array, got dtype int32",
        ),
        (
            lambda: safe_norm(jnp.float32(1)),
            ValueError,
            r"x must have at least one axis, got a scalar; jnp.abs\(x\)",
        ),
        (
            lambda: normalize(jnp.ones((2, 3)), axis=2),
            ValueError,
            r"normalize: axis must be an integer in -2 .. 1 for x of shape \(2, 3\), got 2",
        ),
    ],
)
def test_error_text(call, error, text):
    with pytest.raises(error, match=text):
        call()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_one_pass_over_all_that_a_dtype_holds(dtype, x64):
    """An accelerator's form, at both ends of the range and between."""
    limits = np.finfo(dtype)
    powers = np.linspace(limits.minexp + 8, limits.maxexp - 4, 97)
    x = (2.0 ** powers[:, None] * np.array([0.3, -1, 0.01])).astype(dtype)
    n = _safe_norm._norm_in_one_pass(jnp.asarray(x), -1)[:, 0]
    largest = np.abs(x).max(-1)
    expected = largest * np.sqrt(((x / largest[:, None]) ** 2).sum(-1))
    np.testing.assert_allclose(n, expected, rtol=4 * limits.eps)
    ends = _safe_norm._norm_in_one_pass(jnp.asarray([[0, 0], [np.inf, 1], [np.nan, 1]], dtype), -1)
    np.testing.assert_array_equal(ends[:, 0], [0, np.inf, np.nan])
