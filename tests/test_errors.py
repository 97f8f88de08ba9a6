"""Bad input to rules and networks.

Each error names the argument, what came, what was expected, how to mend it.
"""

import jax
import jax.numpy as jnp
import pytest

import jaxnet
from jaxnet import accuracy, init_mlp, linear, mlp, relu, softmax, softmax_cross_entropy
from jaxnet.rules import (
    attention,
    conv_transpose,
    embedding,
    huber,
    linear_softmax_cross_entropy,
    mean_squared_error,
    sigmoid_binary_cross_entropy,
)

X, W, B = jnp.ones((4, 3)), jnp.ones((2, 3)), jnp.ones(2)
Z, Y = jnp.ones((4, 3)), jnp.zeros(4, int)


IMAGES, KERNEL = jnp.ones((2, 5, 4, 3)), jnp.ones((3, 2, 3, 6))


QUERIES, KEYS = jnp.ones((2, 5, 4, 3)), jnp.ones((2, 6, 2, 3))


def attended(q=QUERIES, k=KEYS, v=KEYS, *others, **options):
    return attention(q, k, v, *others, **options)


def transposed(x=IMAGES, weight=KERNEL, **options):
    return conv_transpose(x, weight, **options)


def fused(x=X, weight=W, bias=B, labels=Y, **options):
    return linear_softmax_cross_entropy(x, weight, bias, labels, **options)


@pytest.mark.parametrize(
    ("call", "error", "text"),
    [
        (
            lambda: linear(X.astype(int), W, B),
            TypeError,
            (
                r"linear: x must be a floating-point array, got dtype int32; "
                r"convert it first, e.g. x.astype\('float32'\)"
            ),
        ),
        (lambda: linear([[1.0, 2.0]], W, B), TypeError, "linear: x must be an array, got list"),
        (
            lambda: linear(X, W[0], B),
            ValueError,
            r"linear: weight must be \[out, in\], got shape \(3,\)",
        ),
        (
            lambda: linear(X, W.T, B),
            ValueError,
            (
                r"x must end in weight's in = 2 columns, "
                r"got x of shape \(4, 3\) and weight \[out, in\] of shape \(3, 2\)"
            ),
        ),
        (lambda: linear(jnp.float32(1), W, B), ValueError, "x must end in weight's in = 3 columns"),
        (
            lambda: linear(X, W, jnp.ones(1)),
            ValueError,
            r"bias must have shape \(2,\) to fit weight's out, got \(1,\)",
        ),
        (lambda: linear(X, W, jnp.ones((4, 2))), ValueError, r"bias must have shape \(2,\)"),
        (
            lambda: relu(jnp.arange(3)),
            TypeError,
            "relu: x must be a floating-point array, got dtype int32",
        ),
        (
            lambda: relu(X, slope_at_zero=2.0),
            ValueError,
            r"slope_at_zero must be in \[0, 1\], a subgradient of relu at 0, got 2.0",
        ),
        (
            lambda: relu(X, slope_at_zero=jnp.ones(())),
            TypeError,
            "option slope_at_zero must be a static, hashable Python value",
        ),
        (lambda: softmax(jnp.ones((2, 0))), ValueError, r"at least one class, got shape \(2, 0\)"),
        (
            lambda: softmax_cross_entropy(Z.astype(int), Y),
            TypeError,
            "logits must be a floating-point array, got dtype int32",
        ),
        (
            lambda: softmax_cross_entropy(Z, Y[:3]),
            ValueError,
            r"for logits of shape \(4, 3\), integer labels must have shape \(4,\), got \(3,\)",
        ),
        (
            lambda: softmax_cross_entropy(Z, Y[:, None]),
            ValueError,
            r"integer labels must have shape \(4,\), got \(4, 1\)",
        ),
        (
            lambda: softmax_cross_entropy(Z, Y.astype(float)),
            ValueError,
            (
                r"distributions \(floating\) must have shape \(4, 3\), got \(4,\); "
                r"class numbers are integers"
            ),
        ),
        (
            lambda: softmax_cross_entropy(Z, Z.astype(int)),
            ValueError,
            "one-hot labels are floating",
        ),
        (
            lambda: softmax_cross_entropy(Z, Z > 0),
            TypeError,
            "labels must be integers or floating distributions, got dtype bool",
        ),
        (
            lambda: softmax_cross_entropy(Z, [0, 1, 2, 0]),
            TypeError,
            "labels must be an array, got list",
        ),
        (
            lambda: softmax_cross_entropy(jnp.float32(1), Y),
            ValueError,
            r"logits must be \[..., classes\] with at least one class, got shape \(\)",
        ),
        (
            lambda: accuracy(Z, Y[:3]),
            ValueError,
            r"accuracy: for logits of shape \(4, 3\), integer labels must have shape \(4,\)",
        ),
        (
            lambda: attended(v=KEYS.astype(int)),
            TypeError,
            "attention: v must be a floating-point array, got dtype int32",
        ),
        (
            lambda: attended(QUERIES[0, 0]),
            ValueError,
            r"q must be \[..., T, heads, dim\] with at least one head .*, got shape \(4, 3\)",
        ),
        (
            lambda: attended(k=KEYS[..., :2]),
            ValueError,
            r"for q of shape \(2, 5, 4, 3\) k must be \[..., S, key_heads, dim\] with ... = "
            r"\(2,\) and dim = 3, got shape \(2, 6, 2, 2\)",
        ),
        (
            lambda: attended(k=KEYS[:1]),
            ValueError,
            r"with ... = \(2,\) and dim = 3, got shape \(1,",
        ),
        (
            lambda: attended(QUERIES[:, :, :3]),
            ValueError,
            r"the heads of k must divide the 3 of q, got 2 in shape \(2, 6, 2, 3\)",
        ),
        (
            lambda: attended(v=KEYS[:, :5]),
            ValueError,
            r"v must be \[..., S, key_heads, out\] as k of shape \(2, 6, 2, 3\) is but for its "
            r"last axis, got shape \(2, 5, 2, 3\)",
        ),
        (
            lambda: attended(bias=jnp.ones((2, 5, 6))),
            ValueError,
            r"bias must be \[..., heads, T, S\] = \(2, 4, 5, 6\), with 1 in place of any number, "
            r"or without the first of them, got shape \(2, 5, 6\)",
        ),
        (lambda: attended(bias=jnp.ones(6)), ValueError, r"bias must be .*, got shape \(6,\)"),
        (
            lambda: attended(lengths=jnp.ones(2)),
            TypeError,
            "lengths must be integers, how many keys count in each example, got dtype float32",
        ),
        (
            lambda: attended(lengths=jnp.arange(3)),
            ValueError,
            r"lengths must have shape \(2,\), one for each example, got \(3,\)",
        ),
        (
            lambda: attended(window=(1, -1)),
            ValueError,
            r"window must be None, an integer of at least 0 or a pair .*, got \(1, -1\)",
        ),
        (lambda: attended(scale=float("nan")), ValueError, "scale must be None or a finite number"),
        (lambda: attended(scale="a"), ValueError, "scale must be None or a finite number, got 'a'"),
        (lambda: attended(soft_cap=0.0), ValueError, "soft_cap must be None or above 0, got 0.0"),
        (lambda: attended(soft_cap="a"), ValueError, "soft_cap must be None or above 0, got 'a'"),
        (
            lambda: attended(bias=jnp.ones((5, 6), bool)),
            TypeError,
            r"bias is added to the products, got a mask of dtype bool; hide what it leaves out "
            r"with jnp.where\(mask, 0.0, -jnp.inf\)",
        ),
        (
            lambda: attended(chunk=0),
            ValueError,
            "chunk must be None or a positive integer, a number of queries, got 0",
        ),
        (
            lambda: transposed(weight=KERNEL.astype(int)),
            TypeError,
            "conv_transpose: weight must be a floating-point array, got dtype int32",
        ),
        (
            lambda: transposed(weight=KERNEL[0, 0]),
            ValueError,
            r"weight must be \[kernel, in, out\] with a kernel of 1 to 3 dimensions, "
            r"each at least 1, got shape \(3, 6\)",
        ),
        (
            lambda: transposed(IMAGES[0, 0]),
            ValueError,
            r"x must be \[..., size, in\] with 2 sizes, each at least 1, got shape \(4, 3\)",
        ),
        (
            lambda: transposed(IMAGES[:, :0]),
            ValueError,
            r"each at least 1, got shape \(2, 0, 4, 3\)",
        ),
        (
            lambda: transposed(transpose_kernel=True),
            ValueError,
            (
                r"for weight \[kernel, out, in\] of shape \(3, 2, 3, 6\) and groups=1 x must end "
                r"in 6 channels, got x of shape \(2, 5, 4, 3\); the other form of weight is that "
                r"of transpose_kernel=False"
            ),
        ),
        (lambda: transposed(groups=2), ValueError, "and groups=2 x must end in 6 channels, got"),
        (
            lambda: transposed(groups=4),
            ValueError,
            "groups must be a positive integer that divides the last axis of weight, 6, got 4",
        ),
        (
            lambda: transposed(strides=(2, 2, 2)),
            ValueError,
            r"strides must be a positive integer or a tuple of 2, one for each dimension of the "
            r"kernel, got \(2, 2, 2\)",
        ),
        (lambda: transposed(dilation=0), ValueError, "dilation must be a positive integer or a"),
        (
            lambda: transposed(padding="same"),
            ValueError,
            r"""padding must be "SAME", "VALID" or a tuple of 2 pairs of integers, one for each """
            "dimension of the kernel, got 'same'",
        ),
        (lambda: transposed(padding=(1, 1)), ValueError, r"tuple of 2 pairs .*, got \(1, 1\)"),
        (
            lambda: transposed(padding=((-2, 0), (0, -3))),
            ValueError,
            r"padding must leave at least one element of each axis of the output, got "
            r"\(\(-2, 0\), \(0, -3\)\), with which sizes \(5, 4\) become \(1, 0\)",
        ),
        (
            lambda: fused(X.astype(int)),
            TypeError,
            "linear_softmax_cross_entropy: x must be a floating-point array, got dtype int32",
        ),
        (
            lambda: fused(bias=jnp.arange(2)),
            TypeError,
            "bias must be a floating-point array, got dtype int32",
        ),
        (
            lambda: fused(weight=W[:0]),
            ValueError,
            r"weight must be \[classes, in\] with at least one class, got shape \(0, 3\)",
        ),
        (
            lambda: fused(weight=W.T),
            ValueError,
            (
                r"x must end in weight's in = 2 columns, "
                r"got x of shape \(4, 3\) and weight \[classes, in\] of shape"
            ),
        ),
        (
            lambda: fused(bias=jnp.ones(3)),
            ValueError,
            r"bias must be None or have shape \(2,\) to fit weight's classes, got \(3,\)",
        ),
        (
            lambda: fused(labels=Y[:3]),
            ValueError,
            r"for x of shape \(4, 3\) labels must have shape \(4,\), one per row, got \(3,\)",
        ),
        (
            lambda: fused(labels=Z),
            TypeError,
            (
                r"labels must be integers, got dtype float32; "
                r"for distributions use softmax_cross_entropy"
            ),
        ),
        (
            lambda: fused(reduction="none"),
            ValueError,
            """reduction must be "mean", "sum" or None, got 'none'""",
        ),
        (
            lambda: fused(chunk=0),
            ValueError,
            "chunk must be None or a positive integer, a number of rows, got 0",
        ),
        (
            lambda: fused(chunk=2.5),
            ValueError,
            "chunk must be None or a positive integer, a number of rows, got 2.5",
        ),
        (
            lambda: fused(label_smoothing=1.0),
            ValueError,
            r"label_smoothing must be in \[0, 1\), got 1.0",
        ),
        (lambda: fused(z_loss=-1.0), ValueError, "z_loss must be at least 0, got -1.0"),
        (lambda: fused(soft_cap=0.0), ValueError, "soft_cap must be None or above 0, got 0.0"),
        (
            lambda: fused(ignored_label=-1.0),
            ValueError,
            "ignored_label must be None or an integer, got -1.0",
        ),
        (
            lambda: sigmoid_binary_cross_entropy(Z, Y),
            ValueError,
            (
                r"logits and labels must have the same shape, got \(4, 3\) and \(4,\); "
                r"reshape one of them"
            ),
        ),
        (
            lambda: sigmoid_binary_cross_entropy(Y, Y),
            TypeError,
            "logits must be a floating-point array, got dtype int32",
        ),
        (
            lambda: mean_squared_error(Z, Z[:, :1]),
            ValueError,
            r"predictions and targets must have the same shape, got \(4, 3\) and \(4, 1\)",
        ),
        (
            lambda: mean_squared_error(Z, Z.astype(int)),
            TypeError,
            "targets must be a floating-point array",
        ),
        (
            lambda: mean_squared_error(jnp.ones(()), jnp.ones(())),
            ValueError,
            (
                r"at least one output, got shape \(\); "
                r"for one number per example add an axis, predictions\[..., None\]"
            ),
        ),
        (
            lambda: huber(Z, Z[:2]),
            ValueError,
            r"huber: predictions and targets must have the same shape",
        ),
        (
            lambda: huber(Z, Z, delta=0.0),
            ValueError,
            "huber: delta must be above 0 and finite, got 0.0",
        ),
        (
            lambda: embedding(Z[0], Y),
            ValueError,
            r"table must be \[rows, features\] with at least one row, got shape \(3,\)",
        ),
        (
            lambda: embedding(Z, Z),
            TypeError,
            r"ids must be integers, got dtype float32; convert them, ids.astype\('int32'\)",
        ),
        (
            lambda: init_mlp(jax.random.key(0), (3,)),
            ValueError,
            r"sizes must be at least two positive integers \(in, hidden ..., out\), got \(3,\)",
        ),
        (
            lambda: init_mlp(jax.random.key(0), (3, 0, 2)),
            ValueError,
            "at least two positive integers",
        ),
        (
            lambda: init_mlp(jax.random.key(0), (3, 2.5)),
            ValueError,
            "at least two positive integers",
        ),
        (
            lambda: mlp(init_mlp(jax.random.key(0), (5, 2)), X),
            ValueError,
            "x must end in weight's in = 5 columns",
        ),
        (lambda: mlp((), X), ValueError, "mlp: params must hold at least one layer"),
    ],
)
def test_error_text(call, error, text):
    with pytest.raises(error, match=text):
        call()


@pytest.mark.parametrize(
    ("f", "argument", "text"),
    [
        (lambda x: linear(x, W.T, B), X, "x must end in weight's in = 2 columns"),
        (lambda x: relu(x, slope_at_zero=-1.0), X, "slope_at_zero must be in"),
        (lambda z: softmax(z), jnp.ones((2, 0)), "at least one class"),
        (lambda z: softmax_cross_entropy(z, Y[:3]), Z, "integer labels must have shape"),
    ],
)
def test_errors_are_the_same_where_a_derivative_is_taken(f, argument, text):
    with pytest.raises(ValueError, match=text):
        jax.grad(lambda a: f(a).sum())(argument)


def test_nothing_is_broadcast_in_silence():
    with pytest.raises(ValueError, match="integer labels must have shape"):
        softmax_cross_entropy(jnp.ones((4, 4)), jnp.zeros((1, 4), int))


def test_a_rule_that_is_not_at_the_top_is_named_where_it_is():
    with pytest.raises(AttributeError, match=r"jaxnet has no 'gelu'; it is jaxnet\.rules\.gelu"):
        jaxnet.gelu  # noqa: B018
    with pytest.raises(AttributeError, match="module 'jaxnet' has no attribute 'nothing'"):
        jaxnet.nothing  # noqa: B018


@pytest.mark.parametrize("door", [jaxnet.auto, jaxnet.both_modes])
@pytest.mark.parametrize("given", [3, X, None, "tanh"])
def test_what_is_no_function(door, given):
    name = door.__name__
    with pytest.raises(TypeError, match=rf"^{name}: fn must be a function such as a loss, got "):
        door(given)
