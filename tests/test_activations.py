"""Activations where floating point runs out, at infinity, at 0, and beside jax.nn and PyTorch."""

import math
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from catalogue._activations import (
    gate_argument,
    gelu_slope,
    sigma,
    sigmoid_slope,
    silu_slope,
    tanh_gelu_slope,
    tanh_slope,
)
from rule_helpers import BOTH, EPS, residual_bytes

from jaxnet import auto, init_mlp, mlp, relu
from jaxnet.rules import gelu, sigmoid, silu, softplus, swiglu, tanh

exact_gelu = partial(gelu, approximate=False)


def slopes(f, x):
    x = jnp.asarray(x, jnp.float32)
    return np.asarray(jax.jit(lambda x: jax.vjp(f, x)[1](jnp.ones_like(x))[0])(x), np.float64)


# rule -> its slope in float64, and the size of the argument that its float32 arithmetic rounds
SLOPES = {
    "sigmoid": (sigmoid, sigmoid_slope, abs),
    "tanh": (tanh, tanh_slope, lambda x: 2 * abs(x)),
    "softplus": (softplus, sigma, abs),
    "silu": (silu, silu_slope, abs),
    "gelu": (gelu, tanh_gelu_slope, lambda x: abs(gate_argument(x))),
    "exact gelu": (exact_gelu, gelu_slope, lambda x: x * x),
}


@pytest.mark.parametrize("name", SLOPES)
def test_slopes_are_accurate_in_both_tails(name):
    """The relative error is a few eps, or what two eps in the argument of exp do.

    Beside a zero of the slope it is absolute.
    """
    f, exact, argument = SLOPES[name]
    x = np.linspace(-80, 80, 3001).astype(np.float32)
    truth = np.array([exact(float(v)) for v in x])
    allowed = EPS * np.maximum(4, [2 * argument(float(v)) for v in x]) * np.abs(truth)
    near_the_minimum = (np.abs(x) < 2) & np.isin(name, ["silu", "gelu", "exact gelu"])
    error = np.abs(slopes(f, x) - truth)
    normal = np.abs(truth) > 1e-33  # below, float32 has no normal numbers for all the factors
    assert (error <= np.where(near_the_minimum, 4 * EPS, allowed))[normal].all()
    assert (error <= 1e-33)[~normal].all()


@pytest.mark.parametrize(
    ("f", "textbook", "x", "expected"),
    [
        (tanh, jnp.tanh, 20.0, 4 * math.exp(-40)),
        (sigmoid, jax.nn.sigmoid, 80.0, math.exp(-80)),
        (gelu, jax.nn.gelu, -7.0, tanh_gelu_slope(-7.0)),
    ],
)
def test_tails_that_the_textbook_loses(f, textbook, x, expected):
    assert abs(slopes(textbook, [x]) - expected) > 0.9 * abs(expected)  # no digit is left
    np.testing.assert_allclose(slopes(f, [x]), expected, rtol=80 * EPS)


def test_gelu_keeps_its_value_where_one_plus_tanh_is_zero():
    x = np.float32(-6.0)
    v = gate_argument(float(x))
    expected = float(x) * sigma(v)
    assert abs(jax.nn.gelu(x) - expected) > 0.9 * abs(expected)  # no digit is left
    np.testing.assert_allclose(gelu(x), expected, rtol=abs(v) * EPS)


@pytest.mark.parametrize(
    ("f", "values", "expected"),
    [
        (sigmoid, [0, 0, 0.5, 1, 1], [0, 0, 0.25, 0, 0]),
        (tanh, [-1, -1, 0, 1, 1], [0, 0, 1, 0, 0]),
        (softplus, [0, 0, np.log(2), 1e4, np.inf], [0, 0, 0.5, 1, 1]),
        (silu, [0, 0, 0, 1e4, np.inf], [0, 0, 0.5, 1, 1]),
        (gelu, [0, 0, 0, 1e4, np.inf], [0, 0, 0.5, 1, 1]),
        (exact_gelu, [0, 0, 0, 1e4, np.inf], [0, 0, 0.5, 1, 1]),
    ],
    ids=["sigmoid", "tanh", "softplus", "silu", "gelu", "exact gelu"],
)
@BOTH
def test_at_infinity_at_ten_thousand_and_at_zero(f, values, expected, derivative):
    x = jnp.array([-jnp.inf, -1e4, 0.0, 1e4, jnp.inf])
    np.testing.assert_allclose(derivative(f)(x), values, rtol=EPS)
    if derivative is not auto:  # autodiff has 0 times inf at infinity
        np.testing.assert_array_equal(slopes(f, x), expected)
        assert jnp.isnan(f(jnp.float32(jnp.nan)))
        assert np.isnan(slopes(f, [np.nan])).all()
        assert np.isfinite(slopes(f, [-1e30, 1e30])).all()
    assert slopes(derivative(f), [-0.0]) == expected[2]


@pytest.mark.parametrize("f", [sigmoid, tanh, softplus, silu, gelu, exact_gelu])
def test_third_derivative_at_zero(f, x64):
    """Slopes are computed at -|x|, whose own kink at 0 must not show in any order."""
    third = jax.grad(jax.grad(jax.grad(f)))
    np.testing.assert_allclose(third(0.0), third(1e-7), atol=1e-5)


def test_swiglu_of_an_infinite_gate_and_of_a_zero_value():
    gate, value = jnp.array([-jnp.inf, jnp.inf, 1.0]), jnp.array([2.0, 2.0, 0.0])
    np.testing.assert_array_equal(swiglu(gate, value), [0, jnp.inf, 0])
    dgate, dvalue = jax.vjp(swiglu, gate, value)[1](jnp.ones(3))
    np.testing.assert_array_equal(dgate, [0, 2, 0])
    np.testing.assert_allclose(dvalue, [0, jnp.inf, silu(jnp.float32(1))], rtol=EPS)


def test_swiglu_of_two_dtypes():
    gate, value = jnp.ones(3, jnp.bfloat16), jnp.ones(3, jnp.float32)
    y, pull = jax.vjp(swiglu, gate, value)
    assert y.dtype == jnp.float32
    assert [d.dtype for d in pull(y)] == [jnp.bfloat16, jnp.float32]


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float16])
@pytest.mark.parametrize("f", [sigmoid, tanh, softplus, silu, gelu, exact_gelu])
def test_narrow_dtypes_keep_two_bytes_and_round_once(f, dtype):
    x = jnp.linspace(-9, 9, 257).astype(dtype)
    wide = slopes(f, x.astype(jnp.float32))
    narrow = jax.vjp(f, x)[1](jnp.ones_like(x))[0]
    assert narrow.dtype == dtype
    tiny = 1e-7  # the last digit of float16's subnormals
    np.testing.assert_allclose(
        np.float64(narrow), wide, rtol=float(jnp.finfo(dtype).eps), atol=tiny
    )
    assert residual_bytes(f, x) == 2 * x.size


@pytest.mark.parametrize(
    ("f", "textbook", "share"),
    [
        (gelu, jax.nn.gelu, 1 / 4),  # 1/5 on jax 0.10
        (exact_gelu, partial(jax.nn.gelu, approximate=False), 1 / 3),
        (silu, jax.nn.silu, 1 / 3),
        (tanh, jnp.tanh, 1),  # 1/2 on jax 0.10
        (softplus, jax.nn.softplus, 1 / 2),
        (sigmoid, jax.nn.sigmoid, 1),
    ],
)
def test_what_is_kept_for_the_backward(f, textbook, share):
    x = jnp.ones((64, 64))
    assert residual_bytes(f, x) == x.nbytes
    assert residual_bytes(f, x) <= share * residual_bytes(textbook, x)
    assert residual_bytes(f, x) <= share * residual_bytes(auto(f), x)


@pytest.mark.parametrize("f", [sigmoid, tanh, softplus, silu, gelu])
def test_mlp_takes_it(f):
    params = init_mlp(jax.random.key(0), (3, 8, 2))

    def loss(params, f):
        return jnp.sum(mlp(params, jnp.ones((4, 3)), activation=f) ** 2)

    hand, automatic = (jax.grad(loss)(params, g) for g in (f, auto(f)))
    jax.tree.map(partial(np.testing.assert_allclose, rtol=1e-5, atol=1e-6), hand, automatic)


def test_values_and_slopes_beside_pytorch():
    torch = pytest.importorskip("torch")
    F = torch.nn.functional
    x = np.random.default_rng(0).normal(size=(7, 5))
    for f, theirs in [
        (sigmoid, torch.sigmoid),
        (tanh, torch.tanh),
        (softplus, F.softplus),
        (silu, F.silu),
        (gelu, partial(F.gelu, approximate="tanh")),
        (exact_gelu, F.gelu),
    ]:
        t = torch.tensor(x, requires_grad=True)
        y = theirs(t)
        y.sum().backward()
        with jax.enable_x64(True):
            ours, pull = jax.vjp(f, jnp.asarray(x))
            np.testing.assert_allclose(ours, y.detach().numpy(), rtol=1e-12)
            np.testing.assert_allclose(
                pull(jnp.ones_like(ours))[0], t.grad.numpy(), rtol=1e-12, atol=1e-14
            )


def slope_at(f, x):
    return jax.vjp(f, jnp.float32(x))[1](jnp.float32(3.0))[0] / 3


@BOTH
@pytest.mark.parametrize(
    ("x", "expected"), [(0.0, 0), (-0.0, 0), (1e-30, 1), (-1e-30, 0), (jnp.inf, 1), (-jnp.inf, 0)]
)
def test_relu_slope(derivative, x, expected):
    assert slope_at(derivative(relu), x) == expected


@BOTH
@pytest.mark.parametrize("s", [0.0, 0.25, 1.0])
def test_relu_slope_at_zero_is_the_option(derivative, s):
    f = derivative(lambda x: relu(x, slope_at_zero=s))
    assert slope_at(f, 0.0) == slope_at(f, -0.0) == s
    assert (slope_at(f, -1.0), slope_at(f, 1.0)) == (0, 1)


@BOTH
def test_relu_passes_nan(derivative):
    assert jnp.isnan(derivative(relu)(jnp.nan))
    # As PyTorch: only a value known to be below 0 stops the gradient.
    assert slope_at(derivative(relu), jnp.nan) == 1


def test_relu_stops_an_infinite_cotangent_below_zero():
    assert jax.vjp(relu, jnp.float32(-1.0))[1](jnp.float32(jnp.inf))[0] == 0


@pytest.mark.parametrize(
    ("call", "error", "text"),
    [
        (
            lambda: silu(jnp.arange(3)),
            TypeError,
            "silu: x must be a floating-point array, got dtype int32",
        ),
        (
            lambda: gelu(jnp.ones(3), approximate="none"),
            ValueError,
            r"gelu: approximate must be True \(tanh form\) or False \(exact\), got 'none'",
        ),
        (
            lambda: swiglu(jnp.ones(3), jnp.ones((2, 3))),
            ValueError,
            r"swiglu: gate and value must have the same shape, got \(3,\) and \(2, 3\)",
        ),
        (
            lambda: swiglu(jnp.ones(3), jnp.ones(3, int)),
            TypeError,
            "swiglu: value must be a floating-point array",
        ),
    ],
)
def test_error_text(call, error, text):
    with pytest.raises(error, match=text):
        call()
