"""Wrong rules, each a fault that a project shipped or could ship.

A check must find every one, and name its leaf.
"""

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.special import erf

import jaxnet
from corpus import (
    Example,
    batched_by_hand,
    by_hand,
    given,
    normal,
    pointwise,
    recomputed,
    right,
    uniform,
    vjp,
)

WRONG: dict[str, Example] = {}


def wrong(name, leaf, f, args, **more):
    assert name not in WRONG
    WRONG[name] = Example(f, args, leaf=leaf, **more)


def sin(x):
    return jnp.sin(x)


def sine_with(backward):
    """The sine with another backward: the faults in how a rule treats its cotangent."""
    return by_hand(sin, backward)


MATRIX = normal((4, 3))
SQUARE = normal((4, 4))

# ---- the cotangent: a test that differentiates f(x).sum() hands over ones, and sees none of these

wrong("the cotangent is ignored", "x", sine_with(lambda x, dy: (jnp.cos(x),)), MATRIX)
wrong(
    "the mean of the cotangent", "x", sine_with(lambda x, dy: (jnp.cos(x) * jnp.mean(dy),)), MATRIX
)
wrong("the absolute cotangent", "x", sine_with(lambda x, dy: (jnp.cos(x) * jnp.abs(dy),)), MATRIX)
wrong(
    "the sign of the cotangent", "x", sine_with(lambda x, dy: (jnp.cos(x) * jnp.sign(dy),)), MATRIX
)
wrong(
    "small cotangents are dropped, as in sparse communication",
    "x",
    sine_with(lambda x, dy: (jnp.cos(x) * jnp.where(jnp.abs(dy) < 0.1, 0, dy),)),
    normal((60,)),
)
wrong(
    "gradient clipping by norm inside the backward",
    "x",
    sine_with(lambda x, dy: (jnp.cos(x) * dy * jnp.minimum(1, 1 / jnp.linalg.norm(dy)),)),
    MATRIX,
)


def scaled_by_row(x, dy):
    """The largest of a row is taken out of the cotangent and put back: 0 / 0 in a row of zeros."""
    size = jnp.max(jnp.abs(dy), -1, keepdims=True)
    scaled = jnp.cos(x) * (dy / size) * size
    return (jnp.where(jnp.any(dy != 0), scaled, 0),)


def sine_and_square(x):
    return jnp.sin(x), x**2


def ends_early(x, dy):
    of_sine, of_square = dy
    slope = of_sine * jnp.cos(x) + of_square * 2 * x
    return (jnp.where(jnp.all(of_sine == 0), 0, slope),)


wrong(
    "a row of zeros in the cotangent is divided by its size",
    "x",
    sine_with(scaled_by_row),
    MATRIX,
    what="law",
)
wrong(
    "no gradient where the cotangent of the first output is 0",
    "x",
    by_hand(sine_and_square, ends_early),
    MATRIX,
    what="law",
)
wrong(
    "half, where all but one number of the cotangent are 0",
    "x",
    sine_with(lambda x, dy: (jnp.cos(x) * dy * jnp.where(jnp.sum(dy != 0) == 1, 0.5, 1),)),
    MATRIX,
    what="law",
)
wrong(  # no cotangent of ordinary size enters the clip
    "gradient clipping at a large value",
    "x",
    sine_with(lambda x, dy: (jnp.clip(jnp.cos(x) * dy, -100, 100),)),
    MATRIX,
    what="law",
)


def rescaled_backward(x, dy):
    largest = jnp.max(jnp.abs(dy))
    return (jnp.cos(x) * (dy / largest) * largest,)


wrong(
    "loss scaling by the largest cotangent, NaN where all are zero",
    "x",
    sine_with(rescaled_backward),
    MATRIX,
    what="law",
)
wrong(
    "weight decay inside the backward, not zero for a zero cotangent",
    "weight",
    recomputed(right.affine, lambda args, dy, dx, dw, db: (dx, dw + 1e-3 * args[1], db)),
    normal((4, 3), (2, 3), (2,)),
)
wrong("the gradient is zero", "x", sine_with(lambda x, dy: (jnp.zeros_like(x),)), normal((600,)))
wrong("the sign", "x", pointwise(jnp.cos, jnp.sin), normal((5, 1)))
wrong(
    "a scalar's gradient is 1.25 % too large",
    "x",
    pointwise(jnp.exp, lambda x: 1.0125 * jnp.exp(x)),
    normal(()),
)

# ---- reductions, shapes and axes


def mean_squared_error(prediction, target):
    return jnp.mean((prediction - target) ** 2)


def squared_error(prediction, target):
    return jnp.sum((prediction - target) ** 2)


PAIR = normal((4, 3), (4, 3))
wrong(
    "the gradient of the sum for that of the mean",
    "prediction",
    recomputed(mean_squared_error, lambda args, dy, dp, dt: (dp * args[0].size, dt)),
    PAIR,
)
wrong(
    "the gradient of the mean for that of the sum",
    "prediction",
    recomputed(squared_error, lambda args, dy, dp, dt: (dp / args[0].shape[0], dt)),
    PAIR,
)
wrong(
    "the 2 of a square is lost",
    "prediction",
    recomputed(squared_error, lambda args, dy, dp, dt: (dp / 2, dt)),
    PAIR,
)
wrong(
    "a bias on the rows is summed over the wrong axis, which fits where all is square",
    "bias",
    recomputed(right.affine, lambda args, dy, dx, dw, db: (dx, dw, jnp.sum(dy, axis=1))),
    normal((4, 4), (4, 4), (4,)),
)
wrong(
    "the weight's gradient is transposed, which fits where it is square",
    "weight",
    recomputed(right.affine, lambda args, dy, dx, dw, db: (dx, dw.T, db)),
    normal((6, 4), (4, 4), (4,)),
)
wrong(
    "the bias of the first row only: right for a batch of one",
    "bias",
    recomputed(right.affine, lambda args, dy, dx, dw, db: (dx, dw, dy[0])),
    normal((5, 3), (2, 3), (2,)),
)
wrong(
    "one wrong element among ten thousand",
    "weight",
    recomputed(right.affine, lambda args, dy, dx, dw, db: (dx, dw.at[37, 61].multiply(1.001), db)),
    normal((8, 100), (100, 100), (100,)),
)


def positions_added(tokens, positions):
    return jnp.sin(tokens + positions)


wrong(
    "position embeddings summed over the positions for the batch",
    "positions",
    recomputed(positions_added, lambda args, dy, dx, dp: (dx, jnp.sum(dx, axis=1))),
    normal((3, 3, 2), (3, 2)),
)


def scaled(x, scale):
    return x * scale


wrong(
    "a scalar's gradient is the mean over the array",
    "scale",
    by_hand(scaled, lambda x, scale, dy: (dy * scale, jnp.mean(dy * x))),
    normal((7,), ()),
)
wrong(
    "cumsum is not reversed",
    "x",
    by_hand(lambda x: jnp.cumsum(x), lambda _, dy: (jnp.cumsum(dy),)),
    normal((6,)),
)
wrong(
    "a roll goes the same way in the backward",
    "x",
    by_hand(lambda x: jnp.roll(x, 2), lambda _, dy: (jnp.roll(dy, 2),)),
    normal((7,)),
)


def convolve(x, kernel):
    return jnp.convolve(x, kernel, mode="same")


wrong(
    "a convolution's kernel is not flipped",
    "x",
    recomputed(convolve, lambda args, dy, dx, dk: (jnp.convolve(dy, args[1], mode="same"), dk)),
    normal((9,), (3,)),
)


def logsumexp(z):
    return jax.nn.logsumexp(z, axis=-1)


wrong(
    "logsumexp normalised over the wrong axis",
    "z",
    by_hand(logsumexp, lambda z, dy: (dy[..., None] * jax.nn.softmax(z, axis=0),)),
    SQUARE,
)

# ---- softmax and losses

wrong(
    "softmax without the sum",
    "z",
    vjp(right.softmax, right.softmax_forward, lambda p, dp: (p * dp,)),
    MATRIX,
)
wrong(
    "label smoothing is ignored in the backward",
    "logits",
    by_hand(
        right.smoothed_cross_entropy,
        lambda logits, labels, dy: (
            dy[:, None] * (jax.nn.softmax(logits) - jax.nn.one_hot(labels, 4)),
            None,
        ),
    ),
    right.logits_and_labels(5, 4),
)


def soft_cross_entropy(logits, targets):
    return -jnp.sum(targets * jax.nn.log_softmax(logits), axis=-1)


TARGETS = uniform(0.1, 1, (4, 3), (4, 3))
wrong(
    "p - y though the targets do not sum to one",
    "logits",
    recomputed(
        soft_cross_entropy,
        lambda args, dy, dz, dt: (dy[:, None] * (jax.nn.softmax(args[0]) - args[1]), dt),
    ),
    TARGETS,
)
wrong(
    "None for targets that have a gradient",
    "targets",
    recomputed(soft_cross_entropy, lambda args, dy, dz, dt: (dz, None)),
    TARGETS,
)


def masked_mean(x, mask):
    return jnp.sum(jnp.where(mask, jnp.tanh(x), 0)) / jnp.sum(mask)


wrong(
    "a masked position leaks a gradient",
    "x",
    by_hand(masked_mean, lambda x, mask, dy: (dy * (1 - jnp.tanh(x) ** 2) / jnp.sum(mask), None)),
    lambda rng: (*normal((6,))(rng), jnp.array([True, True, False, True, False, False])),
)


def weighted_mean(x, weights):
    return jnp.sum(weights * x) / jnp.sum(weights)


wrong(
    "a weighted mean forgets that its normaliser depends on the weights",
    "weights",
    recomputed(weighted_mean, lambda args, dy, dx, dw: (dx, dy * args[0] / jnp.sum(args[1]))),
    uniform(0.5, 2, (6,), (6,)),
)


def skip_last_chunk(args, dy, dx, dw, _):
    return dx, dw.at[8:].set(0), None


wrong(
    "a fused loss skips the last, partial chunk of its vocabulary",
    "weight",
    recomputed(right.linear_cross_entropy, skip_last_chunk),
    right.head(6, 5, 11),
)

# ---- normalisation


def layer_norm_with(ddof):
    def backward(residuals, dy):
        xhat, rstd, scale = residuals
        n, g = xhat.shape[-1] - ddof, dy * scale
        sums = jnp.sum(g, -1, keepdims=True) + xhat * jnp.sum(g * xhat, -1, keepdims=True)
        return rstd * (g - sums / n), jnp.sum(dy * xhat, 0), jnp.sum(dy, 0)

    return vjp(right.layer_norm, right.layer_norm_forward, backward)


NORMED = normal((4, 6), (6,), (6,), shift=0.5)
wrong("layer norm divides by n - 1 in the backward", "x", layer_norm_with(ddof=1), NORMED)
wrong(
    "layer norm's scale meets the input, not the normalised input",
    "scale",
    recomputed(right.layer_norm, lambda args, dy, dx, ds, db: (dx, jnp.sum(dy * args[0], 0), db)),
    NORMED,
)
wrong(
    "rms norm without the term of its mean",
    "x",
    vjp(
        right.rms_norm,
        right.rms_norm_forward,
        lambda r, dy: (r[1] * dy * r[2], jnp.sum(dy * r[0], axis=0)),
    ),
    normal((4, 6), (6,)),
)


def eps_outside_backward(x, weight, dy):  # eps is added to the root, in the value it is under it
    root = jnp.sqrt(jnp.mean(x * x, -1, keepdims=True))
    r, g = 1 / (root + 1e-5), dy * weight
    return r * (g - x * r * jnp.mean(g * x * r, -1, keepdims=True)), jnp.sum(
        dy * x / jnp.sqrt(root**2 + 1e-5), axis=0
    )


wrong(
    "eps outside the root in the backward",
    "x",
    by_hand(right.rms_norm, eps_outside_backward),
    normal((4, 6), (6,)),
)


def cosine(a, b):
    return jnp.sum(a * b) / jnp.sqrt(jnp.sum(a * a) * jnp.sum(b * b))


wrong(
    "cosine similarity without the term of one norm",
    "b",
    recomputed(
        cosine, lambda args, dy, da, db: (da, dy * args[0] / math.prod(map(jnp.linalg.norm, args)))
    ),
    normal((5,), (5,)),
)

# ---- activations

wrong(
    "GELU of tanh with the derivative of its sigmoid form",
    "x",
    pointwise(
        jax.nn.gelu,
        lambda x: jax.nn.sigmoid(1.702 * x) * (1 + 1.702 * x * (1 - jax.nn.sigmoid(1.702 * x))),
    ),
    MATRIX,
)
wrong(
    "GELU of tanh with the derivative of its exact form",
    "x",
    pointwise(
        jax.nn.gelu,
        lambda x: (
            0.5 * (1 + erf(x / math.sqrt(2))) + x * jnp.exp(-x * x / 2) / math.sqrt(2 * math.pi)
        ),
    ),
    MATRIX,
)
wrong(  # a kink beside the fault must not excuse it
    "relu is a tenth too large on the positive side, with zeros in the input",
    "x",
    pointwise(lambda x: jnp.maximum(x, 0), lambda x: jnp.where(x > 0, 1.1, 0).astype(x.dtype)),
    lambda rng: (normal((12,))(rng)[0].at[3:6].set(0),),
)


def leaky(x, slope):
    return jnp.where(x > 0, x, slope * x)


wrong(
    "the slopes of a leaky relu are mixed up",
    "x",
    vjp(
        leaky,
        lambda x, slope: (leaky(x, slope), x),
        lambda slope, x, dy: (jnp.where(x > 0, slope, 1) * dy,),
        nondiff_argnums=(1,),
    ),
    MATRIX,
    kwargs={"slope": 0.2},
)
wrong(
    "a soft cap passes its cotangent on without its derivative",
    "scores",
    by_hand(lambda scores: 5 * jnp.tanh(scores / 5), lambda _, dy: (dy,)),
    MATRIX,
)
wrong(  # silu's output was kept where its input is needed
    "the residual is taken after the activation, not before",
    "x",
    vjp(
        jax.nn.silu,
        lambda x: (jax.nn.silu(x),) * 2,
        lambda y, dy: (dy * jax.nn.sigmoid(y) * (1 + y * (1 - jax.nn.sigmoid(y))),),
    ),
    MATRIX,
)

# ---- branches that the given points do not enter: only scaling or flipping them does

wrong(
    "Huber's linear branch keeps the quadratic slope",
    "x",
    pointwise(lambda x: jnp.where(jnp.abs(x) < 1, x * x / 2, jnp.abs(x) - 0.5), lambda x: x),
    uniform(-0.5, 0.5, (8,)),
)
wrong(
    "a saturated value still passes its gradient",
    "x",
    pointwise(lambda x: jnp.clip(x, -3, 3), jnp.ones_like),
    uniform(-1, 1, (8,)),
)
wrong(
    "ELU's exponential branch lacks its factor alpha, at positive points",
    "x",
    pointwise(
        lambda x: jnp.where(x > 0, x, 0.5 * jnp.expm1(x)), lambda x: jnp.where(x > 0, 1, jnp.exp(x))
    ),
    uniform(0.5, 1.5, (8,)),
)

# ---- attention and its relatives

QKV = normal((5, 4), (5, 4), (5, 4))
wrong(
    "attention without its scale in one gradient",
    "q",
    recomputed(right.attention, lambda args, dy, dq, dk, dv: (dq * 2, dk, dv)),
    QKV,
)


def leaking_backward(
    args, dy, dq, dk, dv
):  # the probabilities are computed again, but not masked again
    q, k, _ = args
    return dq, dk, jax.nn.softmax(q @ k.T / 2).T @ dy


wrong(
    "attention's backward forgets the causal mask",
    "v",
    recomputed(right.attention, leaking_backward),
    QKV,
)
wrong(
    "the gradients of two arguments of one shape are swapped",
    "k",
    recomputed(right.attention, lambda args, dy, dq, dk, dv: (dq, dv, dk)),
    QKV,
)


def grouped_scores(q, k):  # queries [group, n, d] share the keys [n, d]
    return jnp.einsum("gid,jd->gij", q, k)


wrong(
    "shared keys get the mean over their queries",
    "k",
    recomputed(grouped_scores, lambda args, dy, dq, dk: (dq, dk / args[0].shape[0])),
    normal((2, 3, 4), (3, 4)),
)
wrong(
    "rotary embedding rotates the gradient forward again",
    "x",
    by_hand(lambda x: right.rotary(x), lambda _, dy: (right.rotary(dy),)),
    normal((5, 4)),
)

# ---- indices, keys, options

wrong(
    "the rows of a repeated index overwrite each other",
    "table",
    by_hand(right.embedding, lambda table, ids, dy: (jnp.zeros_like(table).at[ids].set(dy), None)),
    right.TABLE,
)
wrong(
    "the gradient goes to the row after",
    "table",
    by_hand(
        right.embedding, lambda table, ids, dy: (jnp.zeros_like(table).at[ids + 1].add(dy), None)
    ),
    right.TABLE,
)


def power(x, n):
    return x**n


wrong(
    "a power keeps its exponent, which is an integer array",
    "x",
    by_hand(power, lambda x, n, dy: (dy * n * x**n, None)),
    lambda rng: (*uniform(0.5, 2, (3, 2))(rng), jnp.array([3, 4], jnp.int32)),
)
wrong(
    "dropout draws another mask in the backward",
    "x",
    by_hand(
        right.dropout, lambda x, key, dy: (right.dropout(dy, jax.random.fold_in(key, 1)), None)
    ),
    right.with_key((40,)),
)
wrong(
    "dropout's backward forgets 1 / (1 - p)",
    "x",
    by_hand(
        right.dropout,
        lambda x, key, dy: (jnp.where(jax.random.bernoulli(key, 0.7, x.shape), dy, 0), None),
    ),
    right.with_key((4, 5), key=jax.random.PRNGKey),  # the older, raw kind of key
)


@jaxnet.rule
def leaky_rule(x, *, slope=0.01):
    return jnp.where(x > 0, x, slope * x)


leaky_rule.forward(lambda x, *, slope: (jnp.where(x > 0, x, slope * x), x))
leaky_rule.backward(lambda x, dy, *, slope: (jnp.where(x > 0, 1, 0.01) * dy,))
wrong("an option keeps its default in the backward", "x", leaky_rule, MATRIX, kwargs={"slope": 0.2})


@jaxnet.rule
def standardised(x, *, axis=-1):
    return (x - jnp.mean(x, axis, keepdims=True)) / jnp.std(x, axis, keepdims=True)


@standardised.forward
def standardised_forward(x, *, axis):
    std = jnp.std(x, axis, keepdims=True)
    xhat = (x - jnp.mean(x, axis, keepdims=True)) / std
    return xhat, (xhat, std)


@standardised.backward
def standardised_backward(residuals, dy, *, axis):
    xhat, std = residuals
    return (
        (dy - jnp.mean(dy, -1, keepdims=True) - xhat * jnp.mean(dy * xhat, -1, keepdims=True))
        / std,
    )


wrong(
    "the option axis is handled in the value alone", "x", standardised, SQUARE, kwargs={"axis": 0}
)

# ---- what JAX itself never compares: the value, the structure and the dtype of the two halves

wrong(  # the forward has a quick approximation
    "the value of the forward differs from the function's",
    "output",
    vjp(
        lambda x: jax.nn.gelu(x, approximate=False),
        lambda x: (jax.nn.gelu(x), x),
        lambda x, dy: jax.vjp(lambda x: jax.nn.gelu(x, approximate=False), x)[1](dy),
    ),
    MATRIX,
    what="value",
)


def loss_and_norm(x):
    return {"loss": jnp.mean(x * x), "norm": jnp.sqrt(jnp.sum(x * x))}


wrong(
    "one of two values differs in the forward",
    "output['loss']",
    vjp(
        loss_and_norm,
        lambda x: (loss_and_norm(x) | {"loss": jnp.sum(x * x)}, x),
        lambda x, dy: jax.vjp(loss_and_norm, x)[1](dy),
    ),
    MATRIX,
    what="value",
)


def sin_and_cos(x):
    return jnp.sin(x), jnp.cos(x)


wrong(
    "the forward returns a list where the function returns a tuple",
    "output",
    vjp(
        sin_and_cos,
        lambda x: (list(sin_and_cos(x)), x),
        lambda x, dy: (jnp.cos(x) * dy[0] - jnp.sin(x) * dy[1],),
    ),
    MATRIX,
    what="scan",
)


def energy(x):
    return jnp.sum(x * x)


wrong(  # ends in an error about types, but only inside jit or scan
    "the forward returns float32 where the function returns bfloat16",
    "output",
    vjp(
        energy,
        lambda x: (energy(x.astype("float32")), x),
        lambda x, dy: ((2 * x * dy).astype(x.dtype),),
    ),
    normal((4, 3), dtype="bfloat16"),
    dtypes=("bfloat16",),
    what="structure",
)
wrong(  # JAX lets it pass; it surfaces as an error in a scan, far from the rule
    "a float32 cotangent for a bfloat16 argument",
    "x",
    by_hand(lambda x: x * x, lambda x, dy: ((2 * x * dy).astype("float32"),)),
    normal((4, 3), dtype="bfloat16"),
    dtypes=("bfloat16",),
    what="structure",
)


def quadratic(params, x):
    return params[0] * x + params[1] * x * x


wrong(  # JAX broadcasts a prefix of the tree of an argument to all of its leaves
    "one cotangent for a pair of parameters",
    "params[1]",
    by_hand(quadratic, lambda params, x, dy: (dy * x, dy * (params[0] + 2 * params[1] * x))),
    lambda rng: (normal((4,), (4,))(rng), normal((4,))(rng)[0]),
)

# ---- parameters in trees


class Layer(NamedTuple):
    weight: jax.Array
    bias: jax.Array


def dense(layer, x):
    return jnp.tanh(x @ layer.weight.T + layer.bias)


wrong(  # a gradient as large as 1e5 lies beside a small one
    "a small leaf beside a large one",
    "params['b']",
    recomputed(
        lambda params, x: jnp.sum(params["w"] * x) + jnp.sin(params["b"]),
        lambda args, dy, dp, dx: (dp | {"b": dp["b"] * 1.001}, dx),
    ),
    lambda rng: (
        {"w": normal((50,))(rng)[0], "b": jnp.float32(0.5)},
        normal((50,), scale=1e5)(rng)[0],
    ),
)
wrong(
    "the derivative of tanh is missing in one field of a layer",
    "layer.weight",
    recomputed(dense, lambda args, dy, dl, dx: (dl._replace(weight=dy.T @ args[1]), dx)),
    lambda rng: (Layer(*normal((2, 3), (2,))(rng)), normal((4, 3))(rng)[0]),
)


def two_layers(params, x):
    for layer in params:
        x = jnp.tanh(x * layer["scale"] + layer["shift"])
    return x


wrong(
    "the second layer's scale, deep in a tree, is missing a factor",
    "params[1]['scale']",
    recomputed(
        two_layers, lambda args, dy, dp, dx: ([dp[0], dp[1] | {"scale": dp[1]["shift"]}], dx)
    ),
    lambda rng: (
        [dict(zip(("scale", "shift"), normal((3,), (3,))(rng), strict=True)) for _ in range(2)],
        *MATRIX(rng),
    ),
)
wrong(
    "None for an argument that has a gradient",
    "temperature",
    recomputed(
        lambda z, temperature: jax.nn.softmax(z / temperature), lambda args, dy, dz, dt: (dz, None)
    ),
    lambda rng: (*MATRIX(rng), jnp.float32(1.5)),
)


def mean_and_variance(x):
    return jnp.mean(x), jnp.var(x)


wrong(
    "the backward ignores the second of two outputs",
    "x",
    by_hand(mean_and_variance, lambda x, dy: (jnp.full_like(x, dy[0] / x.size),)),
    normal((9,)),
)

# ---- right at first order, or right when called alone

wrong(
    "stop_gradient inside the backward: wrong at second order",
    "x",
    sine_with(lambda x, dy: (jax.lax.stop_gradient(jnp.cos(x)) * dy,)),
    MATRIX,
    what="grad of grad",
)
wrong(
    "the derivative has a rule of its own, which is wrong",
    "x",
    pointwise(lambda x: x**3, pointwise(lambda x: 3 * x**2, lambda x: 3 * x)),
    MATRIX,
    what="grad of grad",
)

kept = {}


def kept_forward(x):
    kept["x"] = x
    return jnp.sin(x), None


kept_sin = vjp(sin, kept_forward, lambda _, dy: (jnp.cos(kept["x"]) * dy,))


def two_calls(x, y):
    return kept_sin(x) * kept_sin(y)


wrong("a residual in a Python global, taken by the next call", "x", two_calls, normal((4,), (4,)))
wrong("a residual in a Python global: raises under scan", "", kept_sin, normal((4,)), what="scan")


@jax.custom_batching.custom_vmap
def reversed_cumsum(dy):
    return jnp.flip(jnp.cumsum(jnp.flip(dy)))


@reversed_cumsum.def_vmap
def reversed_cumsum_batched(size, batched, dy):
    return jnp.flip(jnp.cumsum(jnp.flip(dy, 0), axis=0), 0), True


wrong(  # as in a kernel with a batching rule of its own
    "sums over the batch, but only under vmap",
    "x",
    by_hand(lambda x: jnp.cumsum(x), lambda _, dy: (reversed_cumsum(dy),)),
    normal((5,)),
    what="vmap",
)


def scaled_in_batches(size, batched, slope, dy):
    """That of which the slope is one for all is taken for a sum."""
    if batched == [False, True]:
        return slope * jnp.sum(dy, 0) * jnp.ones((size, 1)), True
    return slope * dy, True


wrong(
    "sums over the batch, but only where the cotangent alone has one",
    "x",
    by_hand(
        lambda x: jnp.sin(x), lambda x, dy: (right.batched(scaled_in_batches)(jnp.cos(x), dy),)
    ),
    normal((5,)),
    what="vmap of the cotangent alone",
)


def cell(h, x, w):
    return jnp.tanh(w * h + x)


wrong_cell = recomputed(cell, lambda args, dy, dh, dx, dw: (dh, dx, dw * 0.9))


def recurrent(xs, w):
    return jax.lax.scan(lambda h, x: (wrong_cell(h, x, w), None), jnp.zeros_like(w), xs)[0]


wrong("the rule of a scan's body is wrong in one parameter", "w", recurrent, normal((6, 3), (3,)))


def one_step_backward(residuals, dz):  # the gradient of the last iteration, not of the fixed point
    w, z = residuals
    slope = 1 - jnp.tanh(w * z) ** 2
    return dz, dz * 0.5 * z * slope


wrong(
    "a fixed point is differentiated through its last iteration only",
    "x",
    vjp(right.fixed_point, right.fixed_point_forward, one_step_backward),
    right.CONTRACTION,
)
wrong(
    "a linear solve is not transposed",
    "b",
    recomputed(jnp.linalg.solve, lambda args, dy, da, db: (da, jnp.linalg.solve(args[0], dy))),
    right.matrix_and_vector(4),
)


def sincos(x, y):
    return jnp.sin(x) * jnp.cos(y)


wrong(
    "a custom_jvp forgets the tangent of one argument",
    "y",
    right.jvp(
        sincos, lambda primals, tangents: jnp.cos(primals[0]) * jnp.cos(primals[1]) * tangents[0]
    ),
    normal((4,), (4,)),
)
wrong(
    "a custom_jvp with a wrong factor",
    "x",
    right.jvp(sin, lambda primals, tangents: 1.5 * jnp.cos(primals[0]) * tangents[0]),
    MATRIX,
)
wrong(
    "a custom_jvp that is not linear in its tangent: no reverse mode",
    "",
    right.jvp(
        sin, lambda primals, tangents: jnp.cos(primals[0]) * tangents[0] * jnp.abs(tangents[0])
    ),
    MATRIX,
)
wrong(  # right where a reference says that it is meant; see right.py
    "a straight-through estimator, and nobody said so",
    "x",
    pointwise(jnp.round, jnp.ones_like),
    uniform(0.1, 0.4, (5,)),
)
wrong(
    "a draw, by the density of what was drawn",
    "x",
    by_hand(
        lambda x, key: x * jax.random.normal(key, x.shape, x.dtype), lambda x, key, dy: (dy, None)
    ),
    right.with_key((5,)),
)
wrong("a cast to float8, twice the cotangent", "x", right.cast_to_float8(2), normal((5,)))
wrong(  # half of it is right where the matrix is symmetric, which nobody said
    "of a symmetric matrix the lower triangle alone",
    "a",
    right.of_a_symmetric_matrix(1),
    right.symmetric,
)
wrong(
    "of a symmetric matrix the lower triangle, 1.5 times too large",
    "a",
    right.of_a_symmetric_matrix(1.5),
    right.symmetric,
)
wrong(
    "a Pallas kernel with a wrong factor, beside its reference",
    "x",
    by_hand(right.in_kernel, lambda x, dy: (2 * x**2 * dy,)),
    normal((4, 8)),
    ref=lambda x: x**3,
)


def only_if_perturbed_forward(x, w):
    return x.value * w.value, (x.value, w.value, x.perturbed)


def only_if_perturbed_backward(residuals, dy):
    x, w, perturbed = residuals
    if isinstance(dy, jax.custom_derivatives.SymbolicZero):
        return jnp.zeros_like(x), jnp.zeros_like(w)
    return dy * w, jnp.where(perturbed, dy * x, 0)


product = jax.custom_vjp(lambda x, w: x * w)
product.defvjp(only_if_perturbed_forward, only_if_perturbed_backward, symbolic_zeros=True)
wrong("no gradient of the weights where the input needs none", "w", product, normal((4,), (4,)))

# ---- complex numbers

wrong(
    "the conjugate is missing",
    "z",
    by_hand(lambda z: z.real**2 + z.imag**2, lambda z, dy: (2 * z * dy,)),
    right.complex_normal((5,)),
    dtypes=("complex64",),
)
wrong(  # the convention of another framework
    "a conjugate too many",
    "w",
    recomputed(lambda z, w: z * w, lambda args, dy, dz, dw: (dz, dy * jnp.conj(args[0]))),
    right.complex_normal((5,), (5,)),
    dtypes=("complex64",),
)

# ---- beside a value that has few digits

wrong(
    "1.3 times the gradient, straight through a cast to float8",
    "x",
    pointwise(right.in_float8, lambda x: jnp.full_like(x, 1.3)),
    normal((6,), scale=3),
    ref=lambda x: x + jax.lax.stop_gradient(right.in_float8(x) - x),
    what="algebra",
)

# ---- the algebra is right, the arithmetic is not


def narrow_backward(args, dy, dx, dw, db):
    narrow = jnp.matmul(dy.T.astype("bfloat16"), args[0].astype("bfloat16"))
    return dx, narrow.astype(dw.dtype), db


wrong(
    "a weight's gradient is accumulated in bfloat16",
    "weight",
    recomputed(right.affine, narrow_backward),
    normal((64, 3), (2, 3), (2,)),
)


def rms_norm_in_float32(x):
    wide = x.astype(jnp.promote_types(x.dtype, jnp.float32))
    return (wide * jax.lax.rsqrt(jnp.mean(wide * wide, -1, keepdims=True))).astype(x.dtype)


def rms_norm_narrow_backward(x, dy):
    r = jax.lax.rsqrt(jnp.mean(x * x, -1, keepdims=True))
    return (r * (dy - x * r * jnp.mean(dy * x * r, -1, keepdims=True)),)


wrong(
    "squares overflow float16 in the backward, the value computes in float32",
    "x",
    by_hand(rms_norm_in_float32, rms_norm_narrow_backward),
    normal((3, 8), scale=1000, dtype="float16"),
    dtypes=("float16",),
    what="precision",
)


def one_pass_backward(x, scale, bias, dy):  # E[x²] - E[x]² cancels where the mean is large
    mean = jnp.mean(x, -1, keepdims=True)
    rstd = jax.lax.rsqrt(jnp.mean(x * x, -1, keepdims=True) - mean * mean + 1e-5)
    xhat, g = (x - mean) * rstd, dy * scale
    dx = rstd * (g - jnp.mean(g, -1, keepdims=True) - xhat * jnp.mean(g * xhat, -1, keepdims=True))
    return dx, jnp.sum(dy * xhat, 0), jnp.sum(dy, 0)


wrong(
    "the variance in one pass, beside a large mean",
    "x",
    by_hand(right.layer_norm, one_pass_backward),
    lambda rng: (*normal((4, 16), shift=300)(rng), *normal((16,), (16,))(rng)),
    what="precision",
)


def unshifted_backward(z, dy):
    e = jnp.exp(z)
    return (dy[..., None] * e / jnp.sum(e, -1, keepdims=True),)


wrong(
    "exponentials without their shift overflow in float32",
    "z",
    by_hand(logsumexp, unshifted_backward),
    normal((3, 4), shift=100),
)

# ---- not to be seen at all


def through_its_sum(x):
    return jnp.sum(zero_softmax(x), axis=-1)


zero_softmax = by_hand(lambda x: jax.nn.softmax(x), lambda x, dy: (jnp.zeros_like(x),))
wrong("a softmax with gradient 0, seen through its sum alone", "x", through_its_sum, MATRIX)

# ---- where there is no derivative, but not every number will do

wrong(
    "the slope of relu at zero is 2",
    "x",
    pointwise(
        lambda x: jnp.maximum(x, 0), lambda x: jnp.where(x > 0, 1.0, jnp.where(x == 0, 2.0, 0.0))
    ),
    lambda rng: (jnp.asarray([-1.0, 0.0, 2.0], "float32"),),
)


def largest(x):
    return jnp.max(x), jnp.argmax(x)


wrong(
    "the forward returns another index than the function",
    "output[1]",
    vjp(
        largest,
        lambda x: ((jnp.max(x), jnp.argmin(x)), x),
        lambda x, dy: (dy[0] * (jnp.arange(x.size) == jnp.argmax(x)),),
    ),
    normal((5,)),
    what="value",
)

# ---- no reverse mode of the body, or none that is finite


wrong(
    "a Pallas kernel by itself, a three-hundredth off",
    "x",
    by_hand(right.in_kernel, lambda x, dy: (3.01 * x**2 * dy,)),
    normal((4, 8)),
)


def root_without_the_slope(a, x, dy):
    return jnp.sum(dy * x), dy * a / (1 + 3 * right.root(a, x) ** 2)


wrong(
    "a root whose backward forgets the slope for one argument",
    "a",
    by_hand(right.root, root_without_the_slope),
    normal((), (3,)),
)
wrong(
    "a host callback a thousandth off",
    "x",
    by_hand(right.host_sine, lambda x, dy: (1.001 * jnp.cos(x) * dy,)),
    normal((4,)),
)
wrong(
    "a host callback that knows float32 alone, a tenth off",
    "x",
    by_hand(right.single_on_the_host, lambda x, dy: (1.1 * (1 - jnp.tanh(x) ** 2) * dy,)),
    normal((5,)),
)


def cosine_rounded_in_float32(x, dy):
    digits = jnp.bfloat16 if x.dtype == jnp.float32 else x.dtype
    return ((jnp.cos(x) * dy).astype(digits).astype(x.dtype),)


wrong(
    "a host callback whose backward rounds to bfloat16",
    "x",
    by_hand(right.host_sine, cosine_rounded_in_float32),
    normal((4,)),
    what="precision",
)
wrong(
    "equal eigenvalues: one over zero replaced by zero",
    "a",
    by_hand(right.exponential, right.exponential_backward(jnp.diag)),
    right.equal_eigenvalues,
)
# ---- kinks that are right one by one, and wrong together

wrong(
    "the largest of a row: every tie is paid in full",
    "x",
    by_hand(right.largest, lambda x, dy: (dy[:, None] * right.is_largest(x),)),
    right.ROWS_WITH_TIES,
)
wrong(
    "the larger of two: both are paid in full where they are equal",
    "a",
    by_hand(right.larger, lambda a, b, dy: (jnp.where(a >= b, dy, 0), jnp.where(b >= a, dy, 0))),
    right.equal_in_part,
)
wrong(
    "a median: every tie is paid in full",
    "x",
    by_hand(right.median, lambda x, dy: (jnp.where(x == right.median(x), dy, 0),)),
    right.TIED,
)
wrong(
    "a norm at 0: every element is paid in full",
    "x",
    by_hand(right.safe_norm, right.norm_backward(1.0)),
    right.rows_of_zeros,
)
wrong(
    "relu of a sum at 0: one term is paid and the other is not",
    "x",
    by_hand(right.relu_of_sum, right.relu_of_sum_backward(0.0, 1.0)),
    right.SUMS_OF_ZERO,
)

# ---- NaN where there is none


def guarded_for_the_whole_array(x, dy):
    slope = x / right.safe_norm(x)[:, None]
    return (jnp.where(jnp.all(x == 0), 0, dy[:, None] * slope),)


wrong(
    "a norm: a row of zeros among others is NaN",
    "x",
    by_hand(right.safe_norm, guarded_for_the_whole_array),
    right.rows_of_zeros,
)

# ---- autodiff does not show it

wrong(
    "digamma below 0, where autodiff is as wrong",
    "x",
    right.jvp(
        lambda x: jax.lax.digamma(x),
        lambda p, t: jax.scipy.special.polygamma(1, p[0]) * t[0],
    ),
    given([-16.5, -2.5, 0.7, 3.0]),
)
wrong(
    "sin(x) / x: the second derivative at 0 is that of a constant",
    "x",
    pointwise(right.sinc, right.slope_of_sinc),
    given([0.0, 1.0, 2.0, -1.0]),
    what="grad of grad",
)

# ---- beside what is not differentiated: integers, whose width is another in float64, and constants


def times_place(x, first):
    """x times the place of its smallest element, which is at least first."""
    return x * jnp.maximum(first, jnp.argmin(x))


wrong(
    "an integer that is wider in float64 is one too large in the backward",
    "x",
    vjp(
        times_place,
        lambda x, first: (times_place(x, first), jnp.maximum(first, jnp.argmin(x))),
        lambda place, dy: ((place + 1) * dy, None),
    ),
    lambda rng: (*normal((5,))(rng), jnp.int32(2)),
)
wrong(
    "the table that a rule closes over is forgotten",
    "x",
    by_hand(
        lambda x: jnp.sin(x) * jnp.linspace(0.5, 2, 3, dtype=x.dtype),
        lambda x, dy: (jnp.cos(x) * dy,),
    ),
    MATRIX,
)

# ---- in a large array, of which a sample is judged

MANY = 70_001

wrong(
    "one element of many is half as large again",
    "x",
    by_hand(lambda x: jnp.sin(x), lambda x, dy: ((jnp.cos(x) * dy).at[34_567].multiply(1.5),)),
    normal((MANY,)),
)


def one_for_nothing(x, dy):
    """Not 0 for a cotangent of 0, in one element of many."""
    return ((jnp.cos(x) * dy).at[34_567].add(jnp.where(jnp.any(dy != 0), 0, 1)),)


wrong(
    "not zero for zero, in one element of many",
    "x",
    by_hand(lambda x: jnp.sin(x), one_for_nothing),
    normal((MANY,)),
    what="law",
)

# ---- forward mode alone: transposed, as reverse mode runs it, each of these rules is right


def transposed_right(tangent):
    """The sine with another tangent(x, dx), which is transposed as cos(x) is."""

    def pushed(primals, tangents):
        return jax.custom_derivatives.linear_call(
            tangent, lambda x, dy: jnp.cos(x) * dy, primals[0], tangents[0]
        )

    return right.jvp(sin, pushed)


square_and_one = right.jvp(lambda x: x**2, lambda p, t: 2 * p[0] * t[0] + 1.0)
wrong(
    "a constant is added to the tangent", "output", square_and_one, normal(()), what="forward jvp"
)
wrong(
    "a small constant is added to the tangent",
    "output",
    right.jvp(lambda x: x**2, lambda p, t: 2 * p[0] * t[0] + 1e-12),
    MATRIX,
    what="forward zero",
)
wrong(
    "a constant is added to the tangent, in a loop below jit",
    "output[0]",
    right.in_turns(square_and_one),
    normal((3,), scale=0.5),
    what="forward jvp",
)
wrong(
    "a constant is added to the tangent, under vmap",
    "output",
    jax.vmap(square_and_one, in_axes=1, out_axes=1),
    MATRIX,
    what="forward jvp",
)


def log_of_positive(x):
    return jnp.where(x > 0, jnp.log(jnp.where(x > 0, x, 1)), 0)


wrong(
    "log(x) * 0 beside a mask: NaN in forward mode",
    "output",
    right.jvp(
        log_of_positive,
        lambda p, t: jnp.where(p[0] > 0, t[0] / p[0], 0) + 0 * jnp.log(p[0]),
    ),
    lambda rng: (jnp.asarray([1.0, -2.0, 3.0], "float32"),),
    what="forward jvp",
)
wrong(
    "twice the tangent, and once the cotangent",
    "output",
    transposed_right(lambda x, dx: 2 * jnp.cos(x) * dx),
    MATRIX,
    what="forward jvp",
)
wrong(  # only its pullback can say what the tangents are
    "twice the tangent, beside a reference that has reverse mode alone",
    "output",
    transposed_right(lambda x, dx: 2 * jnp.cos(x) * dx),
    MATRIX,
    ref=sine_with(lambda x, dy: (jnp.cos(x) * dy,)),
    what="forward jvp",
)
wrong(  # only differences can
    "twice the tangent, beside a reference whose pullback is a callback",
    "output",
    transposed_right(lambda x, dx: 2 * jnp.cos(x) * dx),
    MATRIX,
    ref=right.sine_by_callback,
    what="forward jvp",
)
wrong(
    "tangents are clipped at a large value",
    "output",
    transposed_right(lambda x, dx: jnp.clip(jnp.cos(x) * dx, -1000, 1000)),
    MATRIX,
    what="forward linear",
)
wrong(
    "tangents are scaled by the largest, NaN where all are zero",
    "output",
    transposed_right(lambda x, dx: jnp.cos(x) * (dx / jnp.max(jnp.abs(dx))) * jnp.max(jnp.abs(dx))),
    MATRIX,
    what="forward zero",
)
wrong(
    "the value has an offset while x moves alone",
    "x",
    right.jvp_of_symbols(
        lambda x, y: x * y,
        lambda p, t: (
            p[0] * p[1] + 1e-3 * isinstance(t[1], jax.custom_derivatives.SymbolicZero),
            right.product_by_symbols(p, t)[1],
        ),
    ),
    normal((4,), (4,)),
    what="forward x alone",
)


def product_that_forgets(primals, tangents):
    """The factor of a tangent that moves alone is its own argument."""
    (x, y), (dx, dy) = primals, tangents
    if isinstance(dx, jax.custom_derivatives.SymbolicZero):
        return x * y, dy * y
    return right.product_by_symbols(primals, tangents)


wrong(
    "a tangent that moves alone has the wrong factor",
    "y",
    right.jvp_of_symbols(lambda x, y: x * y, product_that_forgets),
    normal((4,), (4,)),
    what="forward y alone",
)
wrong(
    "an absent tangent is multiplied",
    "x",
    right.jvp_of_symbols(lambda x, y: x * y, lambda p, t: (p[0] * p[1], t[0] * p[1] + t[1] * p[0])),
    normal((4,), (4,)),
    what="forward x alone",
)


def product_that_counts(primals, tangents):
    """Right unless the second argument stands still."""

    def pushed(residuals, moved):
        (x, y), (dx, dy) = residuals, moved
        return dx * y * jnp.where(jnp.any(dy != 0), 1, 2) + x * dy

    def pulled(residuals, dz):
        x, y = residuals
        return y * dz, x * dz

    return jax.custom_derivatives.linear_call(pushed, pulled, primals, tangents)


wrong(
    "a tangent counts twice where the other is zero",
    "x",
    right.jvp(lambda x, y: x * y, product_that_counts),
    normal((4,), (4,)),
    what="forward x alone",
)
slope_with_a_fault = right.jvp(
    jnp.cos,
    lambda p, t: jax.custom_derivatives.linear_call(
        lambda x, dx: -2 * jnp.sin(x) * dx, lambda x, dy: -jnp.sin(x) * dy, p[0], t[0]
    ),
)
wrong(
    "the slope's own tangent is twice too large",
    "x",
    right.jvp(sin, lambda p, t: slope_with_a_fault(p[0]) * t[0]),
    MATRIX,
    what="forward jacfwd of jacrev",
)
wrong(
    "a complex tangent is not conjugated as the value is",
    "output",
    right.jvp(
        lambda z: z * jnp.conj(z),
        lambda p, t: p[0] * jnp.conj(t[0]) + jnp.conj(p[0]) * t[0] + 1j,
    ),
    right.complex_normal((5,)),
    dtypes=("complex64",),
    what="forward jvp",
)

product_of_one_tangent = jax.custom_jvp(lambda x, y: x * y)
product_of_one_tangent.defjvps(lambda dx, z, x, y: dx * y, None)
wrong("None in the place of a tangent rule", "y", product_of_one_tangent, normal((4,), (4,)))
wrong(
    "a tangent of another dtype",
    "",
    right.jvp(sin, lambda p, t: (jnp.cos(p[0]) * t[0]).astype("float16")),
    MATRIX,
    what="structure",
)
wrong(
    "a tangent of another shape",
    "",
    right.jvp(sin, lambda p, t: jnp.sum(jnp.cos(p[0]) * t[0])),
    MATRIX,
    what="structure",
)

# ---- a body that JAX cannot differentiate as it stands: a rule inside a batch by hand

wrong(
    "a body batched by hand, around another rule",
    "x",
    by_hand(batched_by_hand(sine_with(lambda x, dy: (jnp.cos(x) * dy,))), lambda x, dy: (dy,)),
    MATRIX,
)
wrong(
    "a constant is added to the tangent of a while_loop",
    "output",
    right.jvp(right.fifth_power, lambda p, t: 5 * p[0] ** 4 * t[0] + 1e-3),
    MATRIX,
    what="forward",
)
wrong(
    "a constant is added to the tangent of a host callback",
    "output",
    right.jvp(lambda x: right.by_callback(np.sin, x), lambda p, t: jnp.cos(p[0]) * t[0] + 1e-3),
    MATRIX,
    what="forward jvp",
)

# ---- NumPy arrays of 64 bits in the closure: they must not cost the digits of float64

wrong(
    "an embedding of ids from NumPy, 4e-4 too large",
    "table",
    by_hand(right.picked, lambda table, dy: (1.0004 * right.picked_backward(table, dy)[0],)),
    MATRIX,
)
TAKEN = right.PICKED.copy()  # jnp.take is a jit, which remembers what it made of an array

wrong(
    "bfloat16 rows taken by ids from NumPy, and twice the gradient",
    "table",
    by_hand(
        lambda table: jnp.take(table, TAKEN, axis=0),
        lambda table, dy: (2 * right.picked_backward(table, dy)[0],),
    ),
    normal((4, 3), dtype="bfloat16"),
)

# ---- in 16 bits alone: twice, none and the opposite of the gradient

for factor, how in ((2, "twice"), (0, "none of"), (-1, "the opposite of")):
    wrong(
        f"{how} the gradient, in bfloat16 alone",
        "x",
        by_hand(
            right.sine_in_16_bits,
            lambda x, dy, factor=factor: (factor * right.slope_in_16_bits(x, dy)[0],),
        ),
        normal((4, 5), dtype="bfloat16"),
    )

# ---- arguments that are static, and given by keyword

wrong(
    "a static argument by keyword, and no slope of the sine",
    "x",
    right.sum_of_sines(lambda x: jnp.sin(x)),
    MATRIX,
)

# ---- a function that raises outside of its domain

wrong(
    "a logarithm that raises below 0, and a small number that gets nothing",
    "x",
    by_hand(right.logarithm, lambda x, dy: (jnp.where(x > 0.01, dy / x, 0),)),
    right.SMALL_AND_LARGE,
    ref=right.logarithm_of_jax,
)

# ---- beside what is right to the digits that its arguments have

wrong(
    "a square by pieces, one of them off by more",
    "x",
    right.square_by_pieces(1e-4),
    right.BELOW_AND_ABOVE_1,
)
SMALL = np.array([False, False, True, False])
wrong(
    "twice too large in small elements alone",
    "x",
    by_hand(
        lambda x: x * jnp.where(SMALL, 1e-6, 1),
        lambda x, dy: (dy * jnp.where(SMALL, 2e-6, 1),),
    ),
    given([1.0, 2.0, 3.0, 4.0]),
)
wrong(
    "a polynomial for the sine, its slope a hundredth too large",
    "x",
    right.sine_by_a_polynomial(1.01),
    right.NEAR_ZERO,
    ref=jnp.sin,
)

# ---- beside a gradient of which all terms cancel

wrong(
    "a bias of the keys of attention gets a little",
    "bias",
    recomputed(
        right.attention_with_a_bias, lambda args, dy, q, k, bias: (q, k, bias + 1e-6 * dy.sum(0))
    ),
    normal((4, 3), (4, 3), (3,)),
)

# ---- ties of a reference that stops gradients

wrong(
    "straight through a clip, more than all of it on the ends",
    "x",
    right.clipped_straight_through(1.3),
    given(right.ON_THE_ENDS),
    ref=right.straight_through_of_clip,
)

# ---- wrong at points that typical arguments lack: 0, integers, ties, rows of zeros, one row


def of_either_sign(rng):
    """Of numbers that all are positive 0 may be none: then the division is right."""
    size = np.abs(normal((6,))(rng)[0])
    return (size * np.array([1, -1, 1, 1, -1, 1], np.float32),)


wrong(
    "a cumulative product, by a division",
    "x",
    by_hand(
        right.cumulative,
        lambda x, dy: (jnp.flip(jnp.cumsum(jnp.flip(dy * jnp.cumprod(x)))) / x,),
    ),
    of_either_sign,
)
wrong(
    "sin(πx) / πx, whose slope is 0 at integers",
    "x",
    pointwise(
        right.normalised_sinc,
        lambda x: jnp.where(x == jnp.round(x), 0, right.slope_of_normalised_sinc(x)),
    ),
    MATRIX,
)
wrong(
    "log(eᵃ + eᵇ): both are paid in full where they are equal",
    "a",
    by_hand(
        right.log_of_both,
        lambda a, b, dy: tuple(jnp.where(a == b, dy, share) for share in right.shares(a, b, dy)),
    ),
    normal((4, 3), (4, 3)),
)
wrong(
    "relu, whose slope is 2 at a 0 that nobody gave",
    "x",
    pointwise(
        lambda x: jnp.maximum(x, 0), lambda x: jnp.where(x > 0, 1.0, jnp.where(x == 0, 2.0, 0.0))
    ),
    MATRIX,
)


def guarded_as_a_whole(x, dy):
    is_zero = jnp.all(x == 0)
    norm = jnp.where(is_zero, 1, right.guarded_norm(x))[:, None]
    return (dy[:, None] * x / norm,)


wrong(
    "a norm, guarded for the array as a whole",
    "x",
    by_hand(right.guarded_norm, guarded_as_a_whole),
    MATRIX,
)
wrong(
    "(eˣ - 1) / x, whose slope has another series below 1e-4",
    "x",
    pointwise(right.mean_of_exponential, right.slope_with_series(1.0)),
    MATRIX,
)
wrong(
    "the arcsine of what is below 1, no slope at the ends",
    "x",
    pointwise(
        lambda x: jnp.arcsin(0.9 * x),
        lambda x: jnp.sign(x * (1 - x)) * right.slope_of_scaled_arcsine(x),
    ),
    right.probabilities,
)
wrong(
    "the slope of tanh by exponentials that are both large",
    "x",
    pointwise(jnp.tanh, lambda x: 4 * jnp.exp(2 * x) / (jnp.exp(2 * x) + 1) ** 2),
    MATRIX,
    what="precision",
)


def norm_by_squares(x, dy):
    is_zero = jnp.all(x == 0, -1, keepdims=True)
    squares = jnp.sum(jnp.where(is_zero, 1, x) ** 2, -1, keepdims=True)
    return (jnp.where(is_zero, 0, x / jnp.sqrt(squares)) * dy[:, None],)


wrong(
    "a norm of numbers that are scaled, and the squares of its slope are not",
    "x",
    by_hand(right.scaled_norm, norm_by_squares),
    MATRIX,
    what="precision",
)
wrong(
    "the forward of logsumexp lacks its shift",
    "output",
    vjp(
        logsumexp,
        lambda z: (jnp.log(jnp.sum(jnp.exp(z), -1)), z),
        lambda z, dy: (dy[..., None] * jax.nn.softmax(z, -1),),
    ),
    MATRIX,
    what="value",
)
wrong(
    "a variance by n - 1, of one row too",
    "x",
    by_hand(right.variance, lambda x, dy: (2 * (x - jnp.mean(x, 0)) * dy / (len(x) - 1),)),
    MATRIX,
)
wrong(
    "a squeeze of one row, whose sum is over columns then",
    "bias",
    recomputed(
        right.affine,
        lambda args, dy, dx, dw, db: (dx, dw, jnp.sum(jnp.squeeze(dy), 0) * jnp.ones_like(db)),
    ),
    normal((4, 3), (2, 3), (2,)),
)
wrong(
    "a squeeze of one row, which raises",
    "",
    sine_with(lambda x, dy: (jnp.squeeze(jnp.cos(x) * dy),)),
    MATRIX,
    what="structure",
)
wrong(
    "a sum over many rows, kept in bfloat16",
    "bias",
    right.summed_in("bfloat16"),
    normal((512, 3), (3,), dtype="bfloat16"),
    what="precision",
)


# ---- what the forward returns there, and what it pays where numbers are equal


def sinc_of_division(x):
    """The forward divides without a guard."""
    return jnp.sin(x) / x, x


wrong(
    "the forward returns NaN at 0",
    "output",
    vjp(right.sinc, sinc_of_division, lambda x, dy: (dy * right.slope_of_sinc_by_series(x),)),
    MATRIX,
    what="value",
)
wrong(
    "the largest of a row: every tie is paid in full, and none was given",
    "x",
    by_hand(right.largest, lambda x, dy: (jnp.where(right.is_largest(x), dy[:, None], 0),)),
    MATRIX,
)
wrong(
    "the larger of two: nobody is paid where they are equal",
    "a",
    by_hand(right.larger, lambda a, b, dy: (jnp.where(a > b, dy, 0), jnp.where(b > a, dy, 0))),
    normal((4, 3), (4, 3)),
)
wrong(
    "a product whose slope is 0 where a number is",
    "x",
    by_hand(
        lambda x: jnp.prod(x),
        lambda x, dy: (jnp.where(x == 0, 0, dy * jnp.prod(x) / jnp.where(x == 0, 1, x)),),
    ),
    of_either_sign,
)


def huber(x):
    size = jnp.abs(x)
    return jnp.where(size <= 1.345, x**2 / 2, 1.345 * (size - 1.345 / 2))


wrong(
    "Huber's slope is 0 where the linear part begins",
    "x",
    pointwise(
        huber,
        lambda x: jnp.where(jnp.abs(x) == 1.345, 0, jnp.clip(x, -1.345, 1.345)),
    ),
    MATRIX,
)
wrong(
    "the slope of the exponential ends at 30",
    "x",
    pointwise(jnp.exp, lambda x: jnp.exp(jnp.minimum(x, 30))),
    MATRIX,
)


def energy_of_pairs(x):
    """Of all pairs of rows, 1 / (1 + distance)."""
    return 1 / (1 + right.distances_of_pairs(x))


def pulled_apart(x, dy):
    """The diagonal alone is guarded."""
    distance = right.distances_of_pairs(x) + jnp.eye(len(x))
    slope = -(dy + dy.T) / (1 + distance) ** 2 / distance
    return (jnp.sum(slope[..., None] * (x[:, None] - x), 1),)


wrong(
    "the energy of pairs: NaN where two rows are equal",
    "x",
    by_hand(energy_of_pairs, pulled_apart),
    MATRIX,
)
wrong(
    "the cube of a norm: slope 1 in a row of zeros, where autodiff is NaN",
    "x",
    by_hand(
        lambda x: jnp.sqrt(jnp.sum(x**2, -1)) ** 3,
        lambda x, dy: (
            jnp.where(
                jnp.all(x == 0, -1, keepdims=True),
                1,
                3 * dy[:, None] * x * jnp.linalg.norm(x, axis=-1, keepdims=True),
            ),
        ),
    ),
    MATRIX,
)

# ---- beside booleans and integers that nobody gave

wrong(
    "a softmax under a mask, NaN where it leaves nothing of a row",
    "x",
    by_hand(
        right.guarded_softmax,
        lambda x, mask, dy: right.softmax_backward_of(
            jax.nn.softmax(jnp.where(mask, x, -jnp.inf)), dy
        ),
    ),
    right.masks(4, 3),
)
wrong(
    "a gate, wrong where its flag is off",
    "x",
    by_hand(right.gate, lambda x, is_open, dy: (dy * jnp.cos(x), None)),
    right.open_gate,
)
wrong(
    "a mean of groups, NaN where one is empty",
    "x",
    by_hand(
        right.mean_of_groups,
        lambda x, ids, dy: (
            (jax.nn.one_hot(ids, 3) @ (dy / right.sums(jnp.ones_like(x), ids))).astype(x.dtype),
            None,
        ),
    ),
    right.groups,
)


def mean_of_sines(x, mask):
    count = jnp.sum(mask, -1)
    total = jnp.sum(jnp.sin(x) * mask, -1)
    return jnp.where(count > 0, total / jnp.where(count > 0, count, 1), 0)


def without_a_guard(x, mask, dy):
    share = (dy / jnp.sum(mask, -1))[:, None]
    mean = mean_of_sines(x, mask)[:, None]
    return share * mask * jnp.cos(x), share * (jnp.sin(x) - mean)


def mask_of_floats(rng):
    mask = (rng.random((4, 7)) < 0.5).astype(np.float32)
    mask[:, 2], mask[0, 3] = 1, 0
    return (*normal((4, 7))(rng), jnp.asarray(mask))


wrong(
    "a mean under a mask of floats, NaN where it leaves nothing of a row",
    "x",
    by_hand(mean_of_sines, without_a_guard),
    mask_of_floats,
)


def divided_by_all(logits, labels, dy):
    dlogits, _ = right.mean_of_counted_backward(logits, labels, dy)
    return dlogits * jnp.sum(labels != -1) / len(labels), None


wrong(
    "a cross-entropy that leaves out the rows of one label divides by all rows",
    "logits",
    by_hand(right.mean_of_counted, divided_by_all),
    right.labelled,
)
