"""attention: what it holds and reads, hidden keys, and beside JAX's own and PyTorch's."""

import math
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from catalogue._attention import textbook
from gradients import cast
from jax.extend import core
from rule_helpers import BOTH, normal

from jaxnet import auto, both_modes
from jaxnet.rules import attention

QKV = (0, 1, 2)
ON_CPU = jax.default_backend() == "cpu"


def draw(queries, keys, *leading, heads=4, key_heads=2, dim=3, out=2):
    """q, k and v."""
    return (
        normal(*leading, queries, heads, dim),
        normal(*leading, keys, key_heads, dim, seed=1),
        normal(*leading, keys, key_heads, out, seed=2),
    )


def pulled_back(f, args):
    """The value, and the cotangents of a random one."""
    y, pull = jax.vjp(f, *args)
    return y, *pull(jnp.asarray(normal(*y.shape, seed=9).astype(y.dtype)))


def assert_same(ours, theirs, tolerance=1e-12):
    for a, b in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(a, b, rtol=tolerance, atol=tolerance)


# What it holds: traced and compiled, not run.


def shapes(tokens, heads=8, dim=64):
    return (jax.ShapeDtypeStruct((tokens, heads, dim), jnp.float32),) * 3


def gradient(f):
    return lambda *args: jax.vjp(f, *args)[1](args[0])


def tangent_of(f):
    return lambda *args: jax.jvp(f, args, args)


def tangent(f):
    return tangent_of(auto(f))


def temporary_bytes(f, args):
    return jax.jit(f).lower(*args).compile().memory_analysis().temp_size_in_bytes


def test_memory_is_a_sixteenth_of_the_textbooks():
    args = shapes(8192)
    for mode in (lambda f: f, gradient, tangent):
        theirs = temporary_bytes(mode(textbook), args)
        assert theirs >= (2 if ON_CPU else 1) * 8 * 8192**2 * 4
        # Elsewhere a chunk is larger, for the time.
        assert temporary_bytes(mode(attention), args) <= theirs / (16 if ON_CPU else 2)


def largest(jaxpr):
    """The most elements of any array in it."""
    inner = [largest(j) for e in jaxpr.eqns for j in core.jaxprs_in_params(e.params)]
    return max([math.prod(v.aval.shape) for e in jaxpr.eqns for v in e.outvars] + inner)


@pytest.mark.parametrize("options", [{}, {"causal": True}, {"window": 20}], ids=str)
@pytest.mark.parametrize(
    "mode",
    [
        lambda f: f,
        gradient,
        tangent,
        lambda f: tangent_of(gradient(f)),
        lambda f: gradient(auto(f)),
    ],
    ids=["value", "gradient", "tangent", "tangent of the gradient", "autodiff of the body"],
)
def test_products_of_all_queries_never_exist(mode, options):
    args = shapes(512, heads=2, dim=4)
    f = partial(attention, chunk=32, soft_cap=5.0, **options)
    assert largest(jax.make_jaxpr(mode(f))(*args).jaxpr) <= 2 * 32 * 512


def test_a_bias_of_all_heads_has_a_gradient_of_its_own_size():
    args = *shapes(512, heads=8, dim=4), jax.ShapeDtypeStruct((512, 512), jnp.float32)
    f = gradient(partial(attention, chunk=32))
    assert largest(jax.make_jaxpr(f)(*args).jaxpr) <= 512 * 512


def product_flops(jaxpr):
    """Of all matrix products, those in a loop as often as it turns."""
    total = 0
    for e in jaxpr.eqns:
        if e.primitive.name == "dot_general":
            (contracted, _), _ = e.params["dimension_numbers"]
            summed = math.prod(e.invars[0].aval.shape[i] for i in contracted)
            total += 2 * summed * math.prod(e.outvars[0].aval.shape)
        inner = core.jaxprs_in_params(e.params)
        total += e.params.get("length", 1) * sum(map(product_flops, inner))
    return total


@pytest.mark.parametrize(
    ("options", "share"),
    [({}, 1), ({"causal": True}, 10 / 16), ({"window": (31, 0)}, 63 / 512)],
    ids=str,
)
def test_products_are_as_many_as_derived(options, share):
    """Two of the value, five of the backward; keys that no query of a chunk sees are not read."""
    args = shapes(512, heads=2, dim=4)
    f = partial(attention, chunk=32, **options)
    once = 2 * 2 * 4 * 512**2 * share
    assert product_flops(jax.make_jaxpr(f)(*args).jaxpr) == 2 * once
    assert product_flops(jax.make_jaxpr(gradient(f))(*args).jaxpr) == 7 * once


# Right for any chunk, and in forward mode by its own backward.


@pytest.mark.many
@pytest.mark.parametrize("options", [{}, {"causal": True}, {"window": (3, 1)}], ids=str)
@pytest.mark.parametrize("tokens", [(13, 13), (13, 4), (4, 13), (1, 7), (7, 1)])
def test_the_chunk_changes_nothing_but_the_memory(tokens, options, x64):
    args = *draw(*tokens, 2), normal(2, 1, *tokens), np.array([0, tokens[1]])

    def results(f):
        return jax.jit(lambda *four: pulled_back(lambda *a: f(*a, args[4], **options), four))

    expected = results(textbook)(*args[:4])
    for chunk in (1, 2, 5, 12, 13, None):
        assert_same(results(partial(attention, chunk=chunk))(*args[:4]), expected)


@pytest.mark.many
def test_the_transpose_of_its_backward_is_its_forward_mode(x64):
    args = tuple(map(jnp.asarray, (*draw(7, 5), normal(4, 7, 5))))
    f = partial(attention, chunk=3, soft_cap=2.0)
    tangents = tuple(jnp.asarray(normal(*a.shape, seed=7)) for a in args)
    y, pull = jax.vjp(f, *args)
    push = jax.linear_transpose(pull, y)
    expected = jax.jvp(partial(textbook, soft_cap=2.0), args, tangents)[1]
    assert_same(push(tangents), [expected])


def test_numpy_arguments():
    args = tuple(a.astype(np.float32) for a in draw(5, 4))
    f = jax.grad(lambda *args: attention(*args, chunk=2).sum(), QKV)
    assert_same(f(*args), f(*map(jnp.asarray, args)), 0)


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.float16])
def test_mixed_dtypes_keep_their_own(dtype):
    q, k, v = cast(draw(5, 4), jnp.bfloat16)
    args = q, k.astype(jnp.float32), v, jnp.ones((5, 4), dtype)
    y, *gradients = pulled_back(attention, args)
    assert y.dtype == jnp.float32
    assert [g.dtype for g in gradients] == [a.dtype for a in args]


# Hidden keys.


@BOTH
@pytest.mark.parametrize("hide", ["bias", "lengths", "window"])
def test_a_query_that_sees_no_key_is_zero_and_has_no_gradient(derivative, hide):
    q, k, v = cast(draw(6, 3, 2), np.float32)
    last = jnp.arange(6) >= 4
    bias = jnp.where(last[:, None] & (hide == "bias"), -jnp.inf, jnp.zeros((6, 3)))
    lengths = jnp.array([0, 0] if hide == "lengths" else [3, 3])
    options = {"window": 1} if hide == "window" else {}
    f = derivative(lambda *four: attention(*four, lengths, chunk=4, **options))
    y, *gradients = pulled_back(f, (q, k, v, bias))
    hidden = jnp.ones_like(last) if hide == "lengths" else last
    np.testing.assert_array_equal(y[:, hidden], 0)
    np.testing.assert_array_equal(gradients[0][:, hidden], 0)
    np.testing.assert_array_equal(gradients[3][hidden], 0)
    assert all(jnp.isfinite(a).all() for a in (y, *gradients))
    assert hide == "lengths" or (y[:, ~hidden] != 0).all()


@BOTH
@pytest.mark.parametrize("filling", [np.nan, np.inf])
def test_behind_its_length_an_example_may_hold_anything(derivative, filling):
    q, k, v = cast(draw(4, 5, 2), np.float32)
    lengths = jnp.array([3, 5])
    behind = (jnp.arange(5) >= lengths[:, None])[..., None, None]
    f = derivative(lambda *qkv: attention(*qkv, lengths=lengths))
    filled = q, jnp.where(behind, filling, k), jnp.where(behind, filling, v)
    assert_same(pulled_back(f, filled), pulled_back(f, (q, k, v)), 0)


def test_behind_its_length_an_example_may_move_to_anything():
    q, k, v = draw(4, 5, 2)
    bias, lengths = normal(2, 4, 4, 5), jnp.array([3, 5])
    f = both_modes(lambda k, v, bias: attention(q, k, v, bias, lengths=lengths))
    behind = jnp.arange(5) >= lengths[:, None]
    rows, columns = behind[..., None, None], behind[:, None, None, :]

    def moved(filling):
        tangents = (jnp.where(b, filling, a) for a, b in ((k, rows), (v, rows), (bias, columns)))
        return jax.jvp(f, (k, v, bias), tuple(tangents))[1]

    np.testing.assert_array_equal(moved(0), moved(jnp.nan))


@BOTH
@pytest.mark.parametrize("length", [-1, 6])
def test_a_length_out_of_range_is_nan_not_a_number(derivative, length):
    args = cast(draw(4, 5, 2), np.float32)
    f = derivative(lambda *qkv: attention(*qkv, lengths=jnp.array([2, length])))
    for a in pulled_back(f, args)[:3]:
        assert jnp.isfinite(a[0]).all()
        assert jnp.isnan(a[1]).all()


def test_the_slope_of_the_soft_cap_keeps_its_tail():
    """At 11 times the cap tanh is 1 in float32, and of 1 - tanh² no digit is left."""
    q, k = jnp.full((1, 1, 1), 11.0), jnp.array([1.0, 0.0])[:, None, None]
    v = jnp.array([1.0, 0.0])[:, None, None]
    p = 1 / (1 + np.exp(-1.0))
    expected = p * (1 - p) / np.cosh(11.0) ** 2
    slope = jax.grad(lambda q: attention(q, k, v, soft_cap=1.0).sum())(q)
    np.testing.assert_allclose(slope.item(), expected, rtol=1e-5)


def test_a_bias_that_is_the_same_for_all_keys_has_no_gradient(x64):
    *qkv, bias = map(jnp.asarray, (*draw(4, 5), normal(4, 1)))
    np.testing.assert_allclose(pulled_back(attention, (*qkv, bias))[4], 0, atol=1e-14)


# Beside others.


@pytest.mark.many
@pytest.mark.parametrize("window", [None, 2, (1, 3)])
@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("lengths", [None, [5, 7]])
def test_as_jax(window, causal, lengths, x64):
    args = tuple(map(jnp.asarray, (*draw(6, 7, 2, out=3), normal(2, 4, 6, 7))))
    counts = None if lengths is None else jnp.array(lengths, jnp.int32)

    def ours(*four):
        return attention(*four, counts, causal=causal, window=window, chunk=4)

    def theirs(*four):
        options = {"is_causal": causal, "local_window_size": window}
        return jax.nn.dot_product_attention(*four, key_value_seq_lengths=counts, **options)

    # Theirs takes the softmax in float32, and where no key is seen the mean of all values.
    assert_same(pulled_back(ours, args), pulled_back(theirs, args), 1e-5)


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("queries", [6, 7])
@pytest.mark.parametrize("scale", [None, 0.3])
def test_as_pytorch(causal, queries, scale, x64):
    torch = pytest.importorskip("torch")
    args = draw(queries, 7, 2, heads=4, key_heads=2, dim=3, out=5)
    bias = None if causal else normal(2, 1, queries, 7)  # PyTorch takes one or the other
    given = [*args] if bias is None else [*args, bias]
    y, *gradients = pulled_back(
        partial(attention, causal=causal, scale=scale, chunk=4), tuple(map(jnp.asarray, given))
    )
    theirs = [torch.tensor(a, requires_grad=True) for a in given]
    of_pytorch = torch.nn.functional.scaled_dot_product_attention(
        *(a.transpose(-3, -2) for a in theirs[:3]),
        attn_mask=None if bias is None else theirs[3],
        is_causal=causal,
        scale=scale,
        enable_gqa=True,
    ).transpose(-3, -2)
    of_pytorch.backward(torch.tensor(normal(*y.shape, seed=9)))
    assert_same((y, *gradients), (of_pytorch.detach().numpy(), *(a.grad.numpy() for a in theirs)))
