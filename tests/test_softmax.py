"""softmax and log_softmax: masks, other axes, rows that are sure, and the frameworks' values."""

from decimal import Decimal, localcontext
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from rule_helpers import BOTH, EPS, relative_error

from jaxnet import auto, softmax
from jaxnet.rules import log_softmax

RULES = pytest.mark.parametrize("f", [softmax, log_softmax], ids=["softmax", "log_softmax"])


def exact_backward(f, z, c):
    """The cotangent of z to 60 digits: a truth of its own, beside the catalogue's in float64."""
    with localcontext() as context:
        context.prec = 60
        z, c = [Decimal(float(v)) for v in z], [Decimal(float(v)) for v in c]
        e = [(v - max(z)).exp() for v in z]
        p = [v / sum(e) for v in e]
        if f is softmax:
            mean = sum(a * b for a, b in zip(c, p, strict=True))
            return [a * (b - mean) for a, b in zip(p, c, strict=True)]
        return [b - a * sum(c) for a, b in zip(p, c, strict=True)]


@pytest.mark.many
@pytest.mark.parametrize("margin", [0, 1, 5, 10, 14, 17, 20, 40, 80])
@RULES
def test_backward_has_no_cancellation_where_a_row_is_sure(f, margin):
    """The cotangents of a loss that looks at one class.

    In them nothing cancels but what rounding makes cancel.
    """
    rng = np.random.default_rng(margin)
    pull = jax.jit(lambda z, c: jax.vjp(f, z)[1](c)[0])
    for trial in range(60):
        classes = 2 + trial % 5
        z = rng.uniform(0, min(margin, 2), classes).astype(np.float32)
        z[m := int(rng.integers(classes))] = margin
        c = 3 * np.eye(classes, dtype=np.float32)[m]
        exact = exact_backward(f, z, c)
        error = [relative_error(r, e) for r, e in zip(pull(z, c), exact, strict=True)]
        assert max(error) <= max(8, margin) * EPS


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


def test_log_softmax_gradient_at_a_label_that_is_sure():
    z = jnp.array([40.0, 0.0])
    textbook = jax.grad(lambda z: jax.nn.log_softmax(z)[0])(z)
    ours = jax.grad(lambda z: log_softmax(z)[0])(z)
    assert textbook[0] == 0  # the cancellation, in jax as it is today
    np.testing.assert_allclose(ours, [np.exp(-40), -np.exp(-40)], rtol=40 * EPS)


@BOTH
@RULES
def test_a_row_that_is_hidden_whole(f, derivative):
    z = jnp.array([[1.0, 2.0], [3.0, 4.0], [jnp.nan, jnp.inf]])
    where = jnp.array([[True, True], [False, False], [False, False]])
    value, pull = jax.vjp(lambda z: derivative(f)(z, where), z)
    np.testing.assert_array_equal(value[1:], 0 if f is softmax else -jnp.inf)
    np.testing.assert_array_equal(value[0], f(z[0]))
    dz = pull(jnp.array([[1.0, -2.0], [3.0, 4.0], [5.0, 6.0]]))[0]
    np.testing.assert_array_equal(dz[1:], 0)
    np.testing.assert_allclose(dz[0], jax.vjp(f, z[0])[1](jnp.array([1.0, -2.0]))[0], rtol=4 * EPS)


@BOTH
@RULES
def test_what_is_hidden_is_as_if_it_were_not_there(f, derivative):
    z = jnp.array([0.5, jnp.nan, 1.5, jnp.inf, -2.0])
    where = jnp.array([True, False, True, False, True])
    c = jnp.array([1.0, 7.0, -1.0, -7.0, 0.5])
    value, pull = jax.vjp(lambda z: derivative(f)(z, where), z)
    shown, pull_shown = jax.vjp(derivative(f), z[where])
    np.testing.assert_array_equal(value[where], shown)
    np.testing.assert_allclose(pull(c)[0][where], pull_shown(c[where])[0], rtol=8 * EPS, atol=EPS)
    np.testing.assert_array_equal(pull(c)[0][~where], 0)


@RULES
def test_a_mask_may_be_shared_by_rows_and_is_not_differentiated(f):
    z = jnp.arange(24.0).reshape(2, 3, 4) / 7
    mask = np.array([True, False, True, True])
    expected = f(z, jnp.broadcast_to(mask, z.shape))
    np.testing.assert_array_equal(f(z, mask[None, None]), expected)
    dz, dmask = jax.vjp(f, z, jnp.asarray(mask[None, None]))[1](jnp.ones_like(z))
    assert dmask.dtype == jax.dtypes.float0
    assert dz.shape == z.shape


@pytest.mark.many
@RULES
def test_axis(f):
    z = jnp.asarray(np.random.default_rng(0).normal(size=(3, 4, 5)), jnp.float32)
    for axis in (0, 1, 2, -1, -2, -3):
        moved = jnp.moveaxis(f(jnp.moveaxis(z, axis, -1)), -1, axis)
        np.testing.assert_allclose(f(z, axis=axis), moved, rtol=4 * EPS)
        hand, automatic = (jax.vjp(partial(g, axis=axis), z)[1](z)[0] for g in (f, auto(f)))
        np.testing.assert_allclose(hand, automatic, rtol=1e-4, atol=1e-5)


@RULES
def test_extremes(f):
    np.testing.assert_array_equal(softmax(jnp.array([1e4, -1e4, -1e4])), [1, 0, 0])
    np.testing.assert_array_equal(log_softmax(jnp.array([1e4, -1e4])), [0, -2e4])
    for row in ([-jnp.inf, -jnp.inf], [jnp.nan, 1.0], [jnp.inf, 1.0]):
        assert jnp.isnan(f(jnp.array(row))).any()
        assert jnp.isnan(f(jnp.array(row), jnp.ones(2, bool))).any()
    np.testing.assert_array_equal(log_softmax(jnp.array([3.0])), [0])
    assert f(jnp.zeros((0, 3))).shape == (0, 3)


def test_float16_with_many_classes():
    z = jnp.zeros((1, 2**16), jnp.float16)
    c = jnp.zeros_like(z).at[0, 3].set(1)
    dz = jax.vjp(log_softmax, z)[1](c)[0]
    assert dz[0, 3] == 1
    assert jnp.isfinite(dz).all()


def test_values_and_gradients_beside_jax_and_pytorch():
    torch = pytest.importorskip("torch")
    z = np.random.default_rng(0).normal(size=(6, 5))
    where = np.random.default_rng(1).random((6, 5)) < 0.7
    c = np.random.default_rng(2).normal(size=(6, 5))
    with jax.enable_x64(True):
        for f, jax_f, torch_f in (
            (softmax, jax.nn.softmax, torch.softmax),
            (log_softmax, jax.nn.log_softmax, torch.log_softmax),
        ):
            t = torch.tensor(z, requires_grad=True)
            y = torch_f(t, dim=-1)
            y.backward(torch.tensor(c))
            ours, pull = jax.vjp(f, jnp.asarray(z))
            np.testing.assert_allclose(ours, y.detach().numpy(), rtol=1e-12)
            np.testing.assert_allclose(ours, jax_f(z), rtol=1e-12)
            np.testing.assert_allclose(
                pull(jnp.asarray(c))[0], t.grad.numpy(), rtol=1e-11, atol=1e-14
            )
        np.testing.assert_allclose(softmax(z, where), jax.nn.softmax(z, where=where), rtol=1e-12)
        masked = torch.tensor(np.where(where, z, -np.inf))
        np.testing.assert_allclose(
            log_softmax(z, where), torch.log_softmax(masked, -1).numpy(), rtol=1e-12
        )


@pytest.mark.parametrize(
    ("call", "error", "text"),
    [
        (
            lambda: softmax(jnp.float32(1)),
            ValueError,
            r"logits must have an axis of at least one class, got shape \(\)",
        ),
        (
            lambda: log_softmax(jnp.ones((2, 3)), axis=2),
            ValueError,
            r"log_softmax: axis must be an integer in -2 .. 1 for logits of shape \(2, 3\), got 2",
        ),
        (
            lambda: softmax(jnp.ones((2, 3)), axis=(0, 1)),
            ValueError,
            r"axis must be an integer .* got \(0, 1\)",
        ),
        (
            lambda: softmax(jnp.ones((2, 3)), jnp.ones((2, 3))),
            TypeError,
            "where must be booleans, True where a class counts, got dtype float32",
        ),
        (
            lambda: softmax(jnp.ones((2, 3)), jnp.ones(3, bool)),
            ValueError,
            r"where must have as many dimensions as logits, .* shape \(2, 3\), got \(3,\); "
            r"write the dimensions",
        ),
        (
            lambda: softmax(jnp.ones((2, 3)), jnp.ones((2, 2), bool)),
            ValueError,
            r"each of its size or 1",
        ),
        (
            lambda: softmax(jnp.ones((2, 3)), [True, False, True]),
            TypeError,
            "where must be an array, got list",
        ),
    ],
)
def test_error_text(call, error, text):
    with pytest.raises(error, match=text):
        call()
