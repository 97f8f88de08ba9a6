"""Wrong variants of the library's rules, each a fault that somebody could write or has written."""

import math

import jax
import jax.numpy as jnp

import jaxnet
from jaxnet.rules import _activations as activations
from jaxnet.rules import _dropout as stochastic
from jaxnet.rules import _layer_norm as normalization
from jaxnet.rules import _safe_norm as safe
from jaxnet.rules import _softmax as distributions
from jaxnet.rules._activations import _gate, relu_backward, relu_forward
from jaxnet.rules._cross_entropy import (
    sigmoid_binary_cross_entropy_backward,
    sigmoid_binary_cross_entropy_forward,
    softmax_cross_entropy_backward,
    softmax_cross_entropy_forward,
)
from jaxnet.rules._embedding import embedding_backward, embedding_forward
from jaxnet.rules._fused_cross_entropy import (
    Gradients,
    linear_softmax_cross_entropy_backward,
    linear_softmax_cross_entropy_forward,
)
from jaxnet.rules._linear import linear_backward, linear_forward
from jaxnet.rules._regression import (
    huber_backward,
    huber_forward,
    mean_squared_error_backward,
    mean_squared_error_forward,
)

HALVES = {
    jaxnet.linear: (linear_forward, linear_backward),
    jaxnet.relu: (relu_forward, relu_backward),
    jaxnet.softmax_cross_entropy: (softmax_cross_entropy_forward, softmax_cross_entropy_backward),
    jaxnet.rules.linear_softmax_cross_entropy: (
        linear_softmax_cross_entropy_forward,
        linear_softmax_cross_entropy_backward,
    ),
    jaxnet.rules.sigmoid_binary_cross_entropy: (
        sigmoid_binary_cross_entropy_forward,
        sigmoid_binary_cross_entropy_backward,
    ),
    jaxnet.rules.mean_squared_error: (mean_squared_error_forward, mean_squared_error_backward),
    jaxnet.rules.huber: (huber_forward, huber_backward),
    jaxnet.rules.embedding: (embedding_forward, embedding_backward),
} | {
    getattr(module, name): (getattr(module, f"{name}_forward"), getattr(module, f"{name}_backward"))
    for module, names in (
        (activations, ("sigmoid", "tanh", "softplus", "silu", "swiglu", "gelu")),
        (distributions, ("softmax", "log_softmax")),
        (normalization, ("layer_norm", "rms_norm")),
        (stochastic, ("dropout",)),
        (safe, ("safe_sqrt", "safe_norm", "normalize")),
    )
    for name in names
}
FAULTS = {}  # name -> (the wrong rule, the right one)


def fault(right, name, **halves):
    wrong = jaxnet.rule(right.body)
    forward, backward = HALVES[right]
    wrong.forward(halves.get("forward", forward))
    wrong.backward(halves.get("backward", backward))
    FAULTS[f"{right.__name__}: {name}"] = wrong, right


def of_linear(name, change):
    """change: (dx, dweight, dbias, residuals, dy) -> the wrong three."""
    fault(
        jaxnet.linear,
        name,
        backward=lambda residuals, dy: change(*linear_backward(residuals, dy), residuals, dy),
    )


of_linear(
    "weight not transposed in dx",
    lambda dx, dw, db, r, dy: ((dy @ r[1].T) if r[1].shape[0] == r[1].shape[1] else dx, dw, db),
)
of_linear(
    "dweight transposed",
    lambda dx, dw, db, r, dy: (dx, dw.T if dw.shape[0] == dw.shape[1] else dw, db),
)
of_linear("dx is zero", lambda dx, dw, db, r, dy: (0 * dx, dw, db))
of_linear("dweight is half", lambda dx, dw, db, r, dy: (dx, dw / 2, db))
of_linear("dweight without the last row", lambda dx, dw, db, r, dy: (dx, dw.at[-1].set(0), db))
of_linear(
    "dweight wrong at one element",
    lambda dx, dw, db, r, dy: (dx, dw.at[0, 0].multiply(1 + 1e-6), db),
)
of_linear(
    "dbias is the mean over rows",
    lambda dx, dw, db, r, dy: (dx, dw, db / max(1, dy.size // dy.shape[-1])),
)
of_linear("dbias missing", lambda dx, dw, db, r, dy: (dx, dw, 0 * db))
of_linear(
    "dbias of the first row only",
    lambda dx, dw, db, r, dy: (dx, dw, dy.reshape(-1, dy.shape[-1])[0] if dy.size else db),
)
of_linear(
    "dweight summed row by row in the working dtype",
    lambda dx, dw, db, r, dy: (dx, sum_rows(r[0], dy, dw), db),
)
of_linear(
    "dbias in float32 whatever the bias", lambda dx, dw, db, r, dy: (dx, dw, db.astype(jnp.float32))
)
of_linear("clips its result", lambda dx, dw, db, r, dy: (dx, jnp.clip(dw, -1, 1), db))


def sum_rows(x, dy, dweight):
    """The sum over rows one after the other, each partial sum rounded to the dtype of the weights."""
    rows = math.prod(x.shape[:-1])
    xs, dys = x.reshape(rows, x.shape[-1]), dy.reshape(rows, dy.shape[-1])
    return jax.lax.scan(
        lambda total, row: (total + jnp.outer(*row), None), jnp.zeros_like(dweight), (dys, xs)
    )[0]


def of_relu(name, backward, **halves):
    fault(jaxnet.relu, name, backward=backward, **halves)


of_relu("mask inverted", lambda r, dy, *, slope_at_zero: (jnp.where(r > 0, 0, dy),))
of_relu("no mask", lambda r, dy, *, slope_at_zero: (dy,))
of_relu(
    "the mask alone, without the cotangent",
    lambda r, dy, *, slope_at_zero: (_gate(r, jnp.ones_like(dy), slope_at_zero),),
)
of_relu(
    "slope 1 at zero whatever the option",
    lambda r, dy, *, slope_at_zero: (jnp.where(r >= 0, dy, 0),),
    forward=lambda x, *, slope_at_zero: (relu_forward(x, slope_at_zero=slope_at_zero)[0], x),
)
of_relu(
    "leaks a tenth below zero", lambda r, dy, *, slope_at_zero: (jnp.where(r > 0, dy, 0.1 * dy),)
)
of_relu(
    "value of the forward differs",
    relu_backward,
    forward=lambda x, *, slope_at_zero: (
        jnp.abs(x),
        relu_forward(x, slope_at_zero=slope_at_zero)[1],
    ),
)

fault(
    jaxnet.rules.sigmoid,
    "slope at the output, not at the input",
    backward=lambda x, dy: sigmoid_slope(jaxnet.rules.sigmoid(x), dy),
)
fault(
    jaxnet.rules.sigmoid, "1 - y forgotten", backward=lambda x, dy: (jaxnet.rules.sigmoid(x) * dy,)
)
fault(jaxnet.rules.sigmoid, "slope of tanh", backward=lambda x, dy: ((1 - jnp.tanh(x) ** 2) * dy,))
fault(jaxnet.rules.tanh, "1 - y for 1 - y²", backward=lambda x, dy: ((1 - jnp.tanh(x)) * dy,))
fault(jaxnet.rules.tanh, "1 - x² for 1 - y²", backward=lambda x, dy: ((1 - x * x) * dy,))
fault(
    jaxnet.rules.tanh,
    "slope of sigmoid(2x), without the 4",
    backward=lambda x, dy: sigmoid_slope(2 * x, dy),
)
fault(jaxnet.rules.softplus, "slope of relu", backward=lambda x, dy: (jnp.where(x > 0, dy, 0),))
fault(
    jaxnet.rules.softplus, "sigmoid of -x", backward=lambda x, dy: (jaxnet.rules.sigmoid(-x) * dy,)
)
fault(
    jaxnet.rules.softplus,
    "sigmoid of the output",
    backward=lambda x, dy: (jaxnet.rules.sigmoid(jaxnet.rules.softplus(x)) * dy,),
)
fault(jaxnet.rules.silu, "the gate alone", backward=lambda x, dy: (jaxnet.rules.sigmoid(x) * dy,))
fault(
    jaxnet.rules.silu,
    "the slope of the gate alone",
    backward=lambda x, dy: (x * sigmoid_slope(x, dy)[0],),
)
fault(
    jaxnet.rules.silu,
    "slope at -|x| not carried over",
    backward=lambda x, dy: activations.silu_backward(-jnp.abs(x), dy),
)


def sigmoid_slope(x, dy):
    return activations.sigmoid_backward(x, dy)


def of_swiglu(name, change):
    """change: (dgate, dvalue, gate, value, dy) -> the wrong two."""
    fault(
        jaxnet.rules.swiglu,
        name,
        backward=lambda r, dy: change(*activations.swiglu_backward(r, dy), *r, dy),
    )


of_swiglu("the two exchanged", lambda dgate, dvalue, gate, value, dy: (dvalue, dgate))
of_swiglu(
    "value forgotten",
    lambda dgate, dvalue, gate, value, dy: (activations.silu_backward(gate, dy)[0], dvalue),
)
of_swiglu(
    "sigmoid for silu",
    lambda dgate, dvalue, gate, value, dy: (dgate, jaxnet.rules.sigmoid(gate) * dy),
)
of_swiglu(
    "gate not differentiated",
    lambda dgate, dvalue, gate, value, dy: (jnp.zeros_like(dgate), dvalue),
)


def gelu_of_slope(slope):
    """Wrong slopes of the tanh form; the exact one stays right."""

    def backward(x, dy, *, approximate):
        return (
            (slope(x) * dy,) if approximate else activations.gelu_backward(x, dy, approximate=False)
        )

    return backward


def gelu_gate(x):
    return jax.nn.sigmoid(activations._v(x))


fault(
    jaxnet.rules.gelu,
    "tanh form whatever the option",
    backward=lambda x, dy, *, approximate: activations.gelu_backward(x, dy, approximate=True),
)
fault(jaxnet.rules.gelu, "the gate alone", backward=gelu_of_slope(gelu_gate))
fault(
    jaxnet.rules.gelu,
    "cubic term without its factor 3",
    backward=gelu_of_slope(
        lambda x: (
            gelu_gate(x)
            * (1 + x * (1 - gelu_gate(x)) * 2 * activations.C * (1 + activations.A * x * x))
        )
    ),
)
fault(
    jaxnet.rules.gelu,
    "sigmoid approximation of the gate",
    backward=gelu_of_slope(lambda x: jax.grad(lambda x: jnp.sum(x * jax.nn.sigmoid(1.702 * x)))(x)),
)

SUM = {"axis": -1, "keepdims": True}
fault(jaxnet.softmax, "without the sum", backward=lambda p, dp, *, axis: (p * dp, None))
fault(
    jaxnet.softmax,
    "diagonal of the Jacobian only",
    backward=lambda p, dp, *, axis: (p * (1 - p) * dp, None),
)
fault(
    jaxnet.softmax,
    "sum over the wrong axis",
    backward=lambda p, dp, *, axis: (p * (dp - jnp.sum(dp * p, axis=0, keepdims=True)), None),
)
fault(
    jaxnet.softmax,
    "the mean for the sum",
    backward=lambda p, dp, *, axis: (p * (dp - jnp.mean(dp * p, **SUM)), None),
)
fault(
    jaxnet.softmax,
    "not scaled by p",
    backward=lambda p, dp, *, axis: (dp - jnp.sum(dp * p, **SUM), None),
)
fault(
    jaxnet.rules.log_softmax,
    "the backward of softmax",
    backward=lambda r, dy, *, axis: distributions.softmax_backward(jnp.exp(r[0]), dy, axis=axis),
)
fault(
    jaxnet.rules.log_softmax,
    "p weighted with the cotangent",
    backward=lambda r, dy, *, axis: (dy - jnp.sum(jnp.exp(r[0]) * dy, **SUM), None),
)
fault(
    jaxnet.rules.log_softmax,
    "the output for its exponential",
    backward=lambda r, dy, *, axis: (
        dy - jnp.where(jnp.isinf(r[0]), 0, r[0]) * jnp.sum(dy, **SUM),
        None,
    ),
)
fault(
    jaxnet.rules.log_softmax,
    "hidden entries pass their cotangents on",
    backward=lambda r, dy, *, axis: distributions.log_softmax_backward((r[0], None), dy, axis=axis),
)


def of_layer_norm(name, change):
    """change: (dx, dscale, dbias, residuals, dy) -> the wrong three."""
    fault(
        jaxnet.rules.layer_norm,
        name,
        backward=lambda r, dy, *, eps: change(
            *normalization.layer_norm_backward(r, dy, eps=eps), r, dy
        ),
    )


def times(x, scale):
    return x if scale is None else x * scale


def if_given(param, value):
    return None if param is None else value.astype(param.dtype)


of_layer_norm("scale forgotten in dx", lambda dx, ds, db, r, dy: (normed_backward(r, dy), ds, db))
of_layer_norm(
    "mean and deviation taken as constants",
    lambda dx, ds, db, r, dy: (times(dy, r[3]) * r[2].astype(dy.dtype), ds, db),
)
of_layer_norm(
    "deviation taken as constant",
    lambda dx, ds, db, r, dy: (
        ((g := times(dy, r[3])) - jnp.mean(g, **SUM)) * r[2].astype(dy.dtype),
        ds,
        db,
    ),
)
of_layer_norm(
    "mean taken as constant",
    lambda dx, ds, db, r, dy: (
        normalization.rms_norm_backward((r[0] - r[0][..., :1] - r[1], r[2], r[3]), dy, eps=1)[0],
        ds,
        db,
    ),
)
of_layer_norm(
    "dscale with x for the normalised x",
    lambda dx, ds, db, r, dy: (
        dx,
        if_given(r[3], jnp.sum(dy * r[0], axis=tuple(range(dy.ndim - 1)))),
        db,
    ),
)
of_layer_norm(
    "dbias is the mean over rows",
    lambda dx, ds, db, r, dy: (
        dx,
        ds,
        if_given(r[4], jnp.mean(dy, axis=tuple(range(dy.ndim - 1)))) if dy.size else db,
    ),
)


def normed_backward(r, dy):
    return normalization.layer_norm_backward((*r[:3], None, None), dy, eps=1)[0]


def of_rms_norm(name, change):
    """change: (dx, dscale, x, r, scale, dy) -> the wrong two."""
    fault(
        jaxnet.rules.rms_norm,
        name,
        backward=lambda r, dy, *, eps: change(
            *normalization.rms_norm_backward(r, dy, eps=eps), *r, dy
        ),
    )


of_rms_norm(
    "r taken as constant",
    lambda dx, ds, x, r, scale, dy: ((times(dy, scale) * r).astype(dy.dtype), ds),
)
of_rms_norm("scale forgotten in dx", lambda dx, ds, x, r, scale, dy: (rms_backward(x, r, dy), ds))
of_rms_norm(
    "mean subtracted as in layer_norm",
    lambda dx, ds, x, r, scale, dy: (dx - jnp.mean(dx, **SUM), ds),
)
of_rms_norm(
    "dscale with x for the normalised x",
    lambda dx, ds, x, r, scale, dy: (
        dx,
        if_given(scale, jnp.sum(dy * x, axis=tuple(range(dy.ndim - 1)))),
    ),
)


def rms_backward(x, r, dy):
    return normalization.rms_norm_backward((x, r, None), dy, eps=1)[0]


def of_dropout(name, change):
    """change: (key, dy, rate) -> a wrong dx."""
    fault(
        jaxnet.rules.dropout, name, backward=lambda key, dy, *, rate: (None, change(key, dy, rate))
    )


of_dropout(
    "another mask",
    lambda key, dy, rate: jaxnet.rules.dropout(jax.random.fold_in(key, 0), dy, rate=rate),
)
of_dropout(
    "not divided by 1 - rate",
    lambda key, dy, rate: jaxnet.rules.dropout(key, dy, rate=rate) * (1 - rate),
)
of_dropout("no mask", lambda key, dy, rate: dy / (1 - rate))
of_dropout(
    "mask inverted",
    lambda key, dy, rate: jnp.where(jaxnet.rules.dropout(key, dy, rate=rate) == 0, dy, 0),
)

fault(
    jaxnet.rules.safe_sqrt,
    "2y not divided by but multiplied with",
    backward=lambda y, dy: (2 * y * dy,),
)
fault(
    jaxnet.rules.safe_sqrt,
    "2 forgotten",
    backward=lambda y, dy: (jnp.where(y == 0, 0, dy / jnp.where(y == 0, 1, y)),),
)
fault(
    jaxnet.rules.safe_sqrt,
    "clipped, not 0, at 0",
    backward=lambda y, dy: (dy / (2 * jnp.maximum(y, 1e-3)),),
)
fault(
    jaxnet.rules.safe_norm,
    "NaN at 0",
    backward=lambda r, dn, *, axis: (jnp.expand_dims(dn, axis) * r[0] / r[1],),
)
fault(
    jaxnet.rules.safe_norm,
    "x for its direction",
    backward=lambda r, dn, *, axis: (jnp.expand_dims(dn, axis) * r[0],),
)
fault(
    jaxnet.rules.safe_norm,
    "cotangent ignored",
    backward=lambda r, dn, *, axis: safe.safe_norm_backward(r, jnp.ones_like(dn), axis=axis),
)
fault(
    jaxnet.rules.normalize,
    "norm taken as constant",
    backward=lambda r, du, *, axis: (jnp.where(r[1] == 0, 0, du / jnp.where(r[1] == 0, 1, r[1])),),
)
fault(
    jaxnet.rules.normalize,
    "projected but not divided by the norm",
    backward=lambda r, du, *, axis: (
        jnp.where(r[1] == 0, 0, du - r[0] * jnp.sum(du * r[0], axis, keepdims=True)),
    ),
)
fault(
    jaxnet.rules.normalize,
    "not zero at zero",
    backward=lambda r, du, *, axis: safe.normalize_backward(
        (r[0], jnp.where(r[1] == 0, 1, r[1])), du, axis=axis
    ),
)


def of_loss(name, change):
    """change: (dlogits, dlabels, residuals, dloss) -> the wrong two."""
    fault(
        jaxnet.softmax_cross_entropy,
        name,
        backward=lambda residuals, dloss: change(
            *softmax_cross_entropy_backward(residuals, dloss), residuals, dloss
        ),
    )


def one_hot(labels, logits):
    return (
        labels if labels.ndim == logits.ndim else labels[..., None] == jnp.arange(logits.shape[-1])
    )


of_loss(
    "cotangent ignored",
    lambda dz, dy, r, dloss: (softmax_cross_entropy_backward(r, jnp.ones_like(dloss))[0], dy),
)
of_loss("sign", lambda dz, dy, r, dloss: (-dz, dy))
of_loss("mean over the batch taken twice", lambda dz, dy, r, dloss: (dz / max(1, dloss.size), dy))
of_loss("labels not differentiated", lambda dz, dy, r, dloss: (dz, None))
of_loss("p without y", lambda dz, dy, r, dloss: (dz + dloss[..., None] * one_hot(r[1], r[0]), dy))
of_loss(
    "half of y", lambda dz, dy, r, dloss: (dz + 0.5 * dloss[..., None] * one_hot(r[1], r[0]), dy)
)
of_loss(
    "p - y though y does not sum to one",
    lambda dz, dy, r, dloss: (dloss[..., None] * (jaxnet.softmax(r[0]) - one_hot(r[1], r[0])), dy),
)


def of_fused(name, change=lambda residuals, *args: residuals, **forgotten):
    """Gradients made without these options, or changed: (Gradients, x, labels) -> wrong ones. The value is right."""

    def forward(x, weight, bias, labels, **options):
        value, _ = linear_softmax_cross_entropy_forward(x, weight, bias, labels, **options)
        _, residuals = linear_softmax_cross_entropy_forward(
            x, weight, bias, labels, **{**options, **forgotten}
        )
        return value, change(residuals, x, labels) if isinstance(
            residuals, Gradients
        ) else residuals

    fault(jaxnet.rules.linear_softmax_cross_entropy, name, forward=forward)


of_fused("soft cap in the value only", soft_cap=None)
of_fused("label smoothing in the value only", label_smoothing=0.0)
of_fused("z-loss in the value only", z_loss=0.0)
of_fused("ignored rows have a gradient", ignored_label=None)
of_fused(
    "the mean counts ignored rows", lambda r, x, labels: r._replace(share=1 / max(1, labels.size))
)
of_fused(
    "the gradient of the sum for the mean",
    lambda r, x, labels: r._replace(share=jnp.ones_like(r.share)),
)
of_fused(
    "dx of the last row missing",
    lambda r, x, labels: r._replace(dx=r.dx.at[-1:].set(0)) if x.ndim > 1 else r,
)
of_fused(
    "dweight without the label",
    lambda r, x, labels: r._replace(dweight=r.dweight + label_rows(r, x, labels)),
)
of_fused("dbias is zero", lambda r, x, labels: r._replace(dbias=0 * r.dbias))
of_fused(
    "dweight in float32 whatever the weight",
    lambda r, x, labels: r._replace(dtypes=(jnp.float32(0), r.dtypes[1])),
)
fault(
    jaxnet.rules.linear_softmax_cross_entropy,
    "takes the cotangent for 1, which it is in jax.grad",
    backward=lambda r, dloss, **options: linear_softmax_cross_entropy_backward(
        r, jnp.ones_like(dloss), **options
    ),
)


def label_rows(residuals, x, labels):
    """Each row of x added to the row of the weight that its label names, as 1 - p_y would without the 1."""
    return jnp.zeros_like(residuals.dweight).at[labels.reshape(-1)].add(x.reshape(-1, x.shape[-1]))


def of_binary(name, change):
    """change: (dlogits, dlabels, residuals, dloss) -> the wrong two."""
    fault(
        jaxnet.rules.sigmoid_binary_cross_entropy,
        name,
        backward=lambda r, dloss: change(
            *sigmoid_binary_cross_entropy_backward(r, dloss), r, dloss
        ),
    )


of_binary(
    "p instead of p - y",
    lambda dz, dy, r, dloss: (dloss * jax.nn.sigmoid(r[1]), dy) if dy is not None else (dz, dy),
)
of_binary("sign", lambda dz, dy, r, dloss: (-dz, dy))
of_binary(
    "the mean's division taken into the rule",
    lambda dz, dy, r, dloss: (dz / max(1, dloss.size), dy),
)
of_binary("labels have no gradient", lambda dz, dy, r, dloss: (dz, None))
of_binary(
    "the gradient of the labels has the wrong sign",
    lambda dz, dy, r, dloss: (dz, None if dy is None else -dy),
)
of_binary(
    "0 where the sigmoid rounds to 1",
    lambda dz, dy, r, dloss: (jnp.where(jnp.abs(r[0]) < 1e-3, 0, dz), dy),
)

fault(
    jaxnet.rules.mean_squared_error,
    "without the 2",
    backward=lambda r, g: halved(*mean_squared_error_backward(r, g)),
)
fault(
    jaxnet.rules.mean_squared_error,
    "the sum instead of the mean",
    backward=lambda r, g: tuple(r[0].shape[-1] * a for a in mean_squared_error_backward(r, g)),
)
fault(
    jaxnet.rules.mean_squared_error,
    "targets have no gradient",
    backward=lambda r, g: (mean_squared_error_backward(r, g)[0], None),
)
fault(
    jaxnet.rules.mean_squared_error,
    "both gradients of one sign",
    backward=lambda r, g: (mean_squared_error_backward(r, g)[0],) * 2,
)


def halved(*gradients):
    return tuple(g / 2 for g in gradients)


def of_huber(name, change):
    """change: (c, delta) -> the wrong slope."""

    def backward(residuals, dloss, *, delta):
        c, targets = residuals
        return huber_backward((change(c, delta), targets), dloss, delta=delta)

    fault(jaxnet.rules.huber, name, backward=backward)


of_huber("the square's slope everywhere, doubled", lambda c, delta: 2 * c)
of_huber(
    "the slope beyond delta is 1", lambda c, delta: jnp.where(jnp.abs(c) == delta, jnp.sign(c), c)
)
of_huber("no slope beyond delta", lambda c, delta: jnp.where(jnp.abs(c) == delta, 0, c))
of_huber("delta taken for 1", lambda c, delta: jnp.clip(c, -1, 1))


def of_embedding(name, backward):
    fault(jaxnet.rules.embedding, name, backward=backward)


def rows_of(residuals, dy):
    ids, table = residuals
    return jnp.zeros((table.shape[0], dy.shape[-1]), dy.dtype).at[ids]


of_embedding("repeated ids count once", lambda r, dy: (rows_of(r, dy).set(dy), None))
of_embedding(
    "repeated ids are averaged", lambda r, dy: (embedding_backward(r, dy)[0] / counts_of(*r), None)
)
of_embedding("ids one off", lambda r, dy: (jnp.roll(embedding_backward(r, dy)[0], 1, axis=0), None))
of_embedding(
    "float32 whatever the table",
    lambda r, dy: (embedding_backward(r, dy)[0].astype(jnp.float32), None),
)
of_embedding(
    "row 0 has no gradient, as for padding",
    lambda r, dy: (embedding_backward(r, dy)[0].at[0].set(0), None),
)


def counts_of(ids, table):
    return jnp.maximum(1, (ids.reshape(-1, 1) == jnp.arange(table.shape[0])).sum(0))[:, None]
