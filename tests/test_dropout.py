"""dropout: what it draws, that the backward draws it again, and that XLA does not undo that."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from rule_helpers import BOTH, residual_bytes

from jaxnet import auto
from jaxnet.rules import dropout

KEY = jax.random.key(0)


def test_mean_and_share():
    x = jnp.ones((1000, 1000))
    for rate in (0.1, 0.5, 0.9):
        y = np.asarray(dropout(KEY, x, rate=rate), np.float64)
        share, standard = (y == 0).mean(), (rate * (1 - rate) / x.size) ** 0.5
        assert abs(share - rate) < 5 * standard + 2**-17
        assert abs(y.mean() - 1) < 5 * standard / (1 - rate)
        assert len(np.unique(y)) == 2


def test_elements_are_dropped_independently():
    """Two elements share a word of random bits: neighbours, rows and columns must not show it."""
    kept = np.asarray(dropout(KEY, jnp.ones((512, 512)), rate=0.5) > 0, np.float64) * 2 - 1
    for pairs in (kept[:, ::2] * kept[:, 1::2], kept[:, 1:] * kept[:, :-1], kept[1:] * kept[:-1]):
        assert abs(pairs.mean()) < 5 / pairs.size**0.5


@BOTH
def test_the_backward_drops_what_the_forward_dropped(derivative):
    x = jnp.asarray(np.random.default_rng(0).normal(size=(40, 7)), jnp.float32)
    y, pull = jax.vjp(derivative(lambda x: dropout(KEY, x, rate=0.3)), x)
    np.testing.assert_array_equal(pull(x)[0], y)


def test_the_mask_is_the_keys_whatever_the_dtype_and_the_mode():
    x = np.ones((9, 5))
    masks = [
        dropout(KEY, jnp.asarray(x, dtype), rate=0.4) != 0
        for dtype in (jnp.float32, jnp.bfloat16, jnp.float16)
    ]
    with jax.enable_x64(True):
        masks.append(dropout(KEY, jnp.asarray(x), rate=0.4) != 0)
    for mask in masks[1:]:
        np.testing.assert_array_equal(mask, masks[0])
    assert (masks[0] != (dropout(jax.random.key(1), jnp.asarray(x), rate=0.4) != 0)).any()


def test_extremes():
    x = jnp.array([jnp.nan, jnp.inf, 0.0, 1.0])
    np.testing.assert_array_equal(dropout(KEY, x, rate=0.0), x)
    for rate in (1 - 1e-9, 0.999999):  # at least one of the 2^16 values keeps
        y = dropout(KEY, jnp.ones((512, 512)), rate=rate)
        np.testing.assert_array_equal(np.unique(y), [0, 2.0**16])
    dropped = jnp.stack([dropout(jax.random.key(i), x, rate=0.5) for i in range(64)])
    assert (dropped == 0).any(axis=0).all()  # a NaN that is dropped is 0
    assert dropout(KEY, jnp.zeros((0, 3)), rate=0.5).shape == (0, 3)
    assert dropout(KEY, jnp.float32(1), rate=0.5) in (0, 2)


def test_keys_typed_and_raw_have_no_gradient():
    x = jnp.ones((3, 4))
    for key in (KEY, jax.random.PRNGKey(0), jax.random.key(0, impl="rbg")):
        dkey, dx = jax.vjp(lambda key, x: dropout(key, x, rate=0.5), key, x)[1](x)
        assert dkey.dtype == jax.dtypes.float0
        np.testing.assert_array_equal(dx, dropout(key, x, rate=0.5))
    np.testing.assert_array_equal(
        dropout(KEY, x, rate=0.5), dropout(jax.random.PRNGKey(0), x, rate=0.5)
    )


def test_a_batch_of_keys_drops_each_row_by_its_own():
    keys, x = jax.random.split(KEY, 3), jnp.ones((3, 50))
    rows = jax.vmap(lambda key, x: dropout(key, x, rate=0.5))(keys, x)
    for key, row in zip(keys, rows, strict=True):
        np.testing.assert_array_equal(row, dropout(key, jnp.ones(50), rate=0.5))


def test_the_key_is_kept_and_not_the_mask():
    x, raw = jnp.ones((64, 64)), jax.random.PRNGKey(0)
    assert residual_bytes(lambda x: dropout(raw, x, rate=0.5), x) == raw.nbytes == 8
    assert residual_bytes(auto(lambda x: dropout(raw, x, rate=0.5)), x) >= x.size


def test_nothing_of_the_size_of_x_goes_through_memory():
    """Neither the bits nor the mask: each element draws its own where it is used, and twice."""

    def value_and_cotangent(x, c):
        y, pull = jax.vjp(lambda x: dropout(KEY, x, rate=0.5), x)
        return y, pull(c)[0]

    x = jnp.ones((256, 256))
    compiled = jax.jit(value_and_cotangent).lower(x, x).compile()
    assert compiled.memory_analysis().temp_size_in_bytes < x.size  # a mask has a byte an element


def test_a_scan_over_layers_stacks_no_masks():
    layers, rows, columns = 12, 256, 128

    def loss(weights, x, f):
        def layer(h, weight_and_number):
            weight, i = weight_and_number
            return f(jax.random.fold_in(KEY, i), h @ weight), None

        return jnp.sum(jax.lax.scan(layer, x, (weights, jnp.arange(layers)))[0] ** 2)

    def temporary_bytes(f):
        shapes = (
            jax.ShapeDtypeStruct(s, jnp.float32)
            for s in ((layers, columns, columns), (rows, columns))
        )
        compiled = jax.jit(jax.grad(lambda w, x: loss(w, x, f))).lower(*shapes).compile()
        return compiled.memory_analysis().temp_size_in_bytes

    def f(key, x):
        return dropout(key, x, rate=0.1)

    saved = temporary_bytes(auto(f)) - temporary_bytes(f)
    # A byte of mask for each element of each layer, less the second draw.
    assert saved >= 0.75 * layers * rows * columns


@pytest.mark.parametrize(
    ("call", "error", "text"),
    [
        (
            lambda: dropout(KEY, jnp.ones(3), rate=1.0),
            ValueError,
            r"dropout: rate is the probability to drop, it must be in \[0, 1\), got 1.0",
        ),
        (lambda: dropout(KEY, jnp.ones(3), rate=-0.1), ValueError, "got -0.1"),
        (
            lambda: dropout(KEY, jnp.arange(3), rate=0.5),
            TypeError,
            "x must be a floating-point array, got dtype int32",
        ),
        (
            lambda: dropout(KEY, jnp.ones(3)),
            TypeError,
            r"missing a required .*argument: 'rate'; call dropout\(key, x, \*, rate\)",
        ),
        (
            lambda: dropout(None, jnp.ones(3), rate=0.5),
            TypeError,
            r"key must be one JAX random key, such as jax.random.key\(0\), got NoneType",
        ),
        (
            lambda: dropout(jnp.ones(3), KEY, rate=0.5),
            TypeError,
            r"key must be one JAX random key, such as jax.random.key\(0\), got float32\[3\]; "
            r"x is the second",
        ),
        (
            lambda: dropout(jnp.ones(3), jnp.ones(3), rate=0.5),
            TypeError,
            r"got float32\[3\]; x is the second argument",
        ),
        (
            lambda: dropout(jax.random.split(KEY), jnp.ones(3), rate=0.5),
            TypeError,
            r"one JAX random key, .* got key",
        ),
    ],
)
def test_error_text(call, error, text):
    with pytest.raises(error, match=text):
        call()


def test_rows_without_a_number_are_refused():
    """The counter of a row has 32 bits: the masks of further rows would be those of the first."""
    x = jax.ShapeDtypeStruct((2**17, 2**16, 1), jnp.bfloat16)
    with pytest.raises(ValueError, match=r"2\^32 rows"):
        jax.eval_shape(lambda x: dropout(KEY, x, rate=0.5), x)
