"""Wrong variants of the library's rules, each a fault that somebody could write or has written."""

import math

import jax
import jax.numpy as jnp

import jaxnet
from jaxnet.rules.activations import _gate, relu_backward, relu_forward, softmax_backward, softmax_forward
from jaxnet.rules.affine import linear_backward, linear_forward
from jaxnet.rules.losses import softmax_cross_entropy_backward, softmax_cross_entropy_forward

HALVES = {
    jaxnet.linear: (linear_forward, linear_backward),
    jaxnet.relu: (relu_forward, relu_backward),
    jaxnet.softmax: (softmax_forward, softmax_backward),
    jaxnet.softmax_cross_entropy: (softmax_cross_entropy_forward, softmax_cross_entropy_backward),
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
of_linear("dweight transposed", lambda dx, dw, db, r, dy: (dx, dw.T if dw.shape[0] == dw.shape[1] else dw, db))
of_linear("dx is zero", lambda dx, dw, db, r, dy: (0 * dx, dw, db))
of_linear("dweight is half", lambda dx, dw, db, r, dy: (dx, dw / 2, db))
of_linear("dweight without the last row", lambda dx, dw, db, r, dy: (dx, dw.at[-1].set(0), db))
of_linear("dweight wrong at one element", lambda dx, dw, db, r, dy: (dx, dw.at[0, 0].multiply(1 + 1e-6), db))
of_linear("dbias is the mean over rows", lambda dx, dw, db, r, dy: (dx, dw, db / max(1, dy.size // dy.shape[-1])))
of_linear("dbias missing", lambda dx, dw, db, r, dy: (dx, dw, 0 * db))
of_linear(
    "dbias of the first row only",
    lambda dx, dw, db, r, dy: (dx, dw, dy.reshape(-1, dy.shape[-1])[0] if dy.size else db),
)
of_linear("dweight summed row by row in the working dtype", lambda dx, dw, db, r, dy: (dx, sum_rows(r[0], dy, dw), db))
of_linear("dbias in float32 whatever the bias", lambda dx, dw, db, r, dy: (dx, dw, db.astype(jnp.float32)))
of_linear("clips its result", lambda dx, dw, db, r, dy: (dx, jnp.clip(dw, -1, 1), db))


def sum_rows(x, dy, dweight):
    """The sum over rows one after the other, each partial sum rounded to the dtype of the weights."""
    rows = math.prod(x.shape[:-1])
    xs, dys = x.reshape(rows, x.shape[-1]), dy.reshape(rows, dy.shape[-1])
    return jax.lax.scan(lambda total, row: (total + jnp.outer(*row), None), jnp.zeros_like(dweight), (dys, xs))[0]


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
of_relu("leaks a tenth below zero", lambda r, dy, *, slope_at_zero: (jnp.where(r > 0, dy, 0.1 * dy),))
of_relu(
    "value of the forward differs",
    relu_backward,
    forward=lambda x, *, slope_at_zero: (jnp.abs(x), relu_forward(x, slope_at_zero=slope_at_zero)[1]),
)

fault(jaxnet.softmax, "without the sum", backward=lambda p, dp: (p * dp,))
fault(jaxnet.softmax, "diagonal of the Jacobian only", backward=lambda p, dp: (p * (1 - p) * dp,))
fault(
    jaxnet.softmax,
    "sum over the wrong axis",
    backward=lambda p, dp: (p * (dp - jnp.sum(dp * p, axis=0, keepdims=True)),),
)
fault(
    jaxnet.softmax,
    "the mean for the sum",
    backward=lambda p, dp: (p * (dp - jnp.mean(dp * p, axis=-1, keepdims=True)),),
)
fault(jaxnet.softmax, "not scaled by p", backward=lambda p, dp: (dp - jnp.sum(dp * p, axis=-1, keepdims=True),))


def of_loss(name, change):
    """change: (dlogits, dlabels, residuals, dloss) -> the wrong two."""
    fault(
        jaxnet.softmax_cross_entropy,
        name,
        backward=lambda residuals, dloss: change(*softmax_cross_entropy_backward(residuals, dloss), residuals, dloss),
    )


def forward_with(change):
    """change: (logits, labels, dz) -> a wrong dz."""

    def forward(logits, labels):
        loss, (dz, dy) = softmax_cross_entropy_forward(logits, labels)
        return loss, (change(logits, labels, dz), dy)

    return forward


def one_hot(labels, logits):
    return labels if labels.ndim == logits.ndim else labels[..., None] == jnp.arange(logits.shape[-1])


of_loss("cotangent ignored", lambda dz, dy, r, dloss: (r[0].astype(dz.dtype), dy))
of_loss("sign", lambda dz, dy, r, dloss: (-dz, dy))
of_loss("mean over the batch taken twice", lambda dz, dy, r, dloss: (dz / max(1, dloss.size), dy))
of_loss("labels not differentiated", lambda dz, dy, r, dloss: (dz, None))
fault(jaxnet.softmax_cross_entropy, "p without y", forward=forward_with(lambda z, y, dz: dz + one_hot(y, z)))
fault(
    jaxnet.softmax_cross_entropy,
    "p - y though y does not sum to one",
    forward=forward_with(lambda z, y, dz: jaxnet.softmax(z) - one_hot(y, z)),
)
fault(jaxnet.softmax_cross_entropy, "half of y", forward=forward_with(lambda z, y, dz: dz + 0.5 * one_hot(y, z)))
