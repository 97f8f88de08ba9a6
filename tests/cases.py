"""One row per rule: arguments at which its tests run. A rule without a row fails test_every_rule_has_a_row."""

from dataclasses import dataclass
from functools import partial
from typing import Any

import jax.nn
import jax.numpy as jnp
import numpy as np

import jaxnet


@dataclass(frozen=True)
class Case:
    rule: Any
    points: dict[str, tuple[Any, ...]]  # name -> positional arguments, floating ones in float64
    textbook: Any  # the same function as it stands in a textbook, for the values
    options: tuple[dict[str, Any], ...] = ({},)

    def functions(self):
        return [partial(self.rule, **options) if options else self.rule for options in self.options]


rng = np.random.default_rng(0)


def normal(*shape):
    return rng.normal(size=shape)


def affine(rows, fan_in, fan_out):
    return normal(*rows, fan_in), normal(fan_out, fan_in), normal(fan_out)


def distributions(*shape):
    weights = rng.exponential(size=shape)
    return weights / weights.sum(axis=-1, keepdims=True)


def textbook_cross_entropy(logits, labels):
    log_p = jax.nn.log_softmax(logits, axis=-1)
    y = (
        labels
        if jnp.issubdtype(labels.dtype, jnp.floating)
        else jax.nn.one_hot(labels, logits.shape[-1])
    )
    return -jnp.sum(jnp.where(y == 0, 0, y * log_p), axis=-1)


def textbook_softmax(logits, where=None, *, axis=-1):
    e = jnp.exp(logits) if where is None else jnp.where(where, jnp.exp(logits), 0)
    total = e.sum(axis, keepdims=True)
    return jnp.where(total == 0, 0, e / total)


def textbook_layer_norm(x, scale=1.0, bias=0.0, *, eps=1e-5):
    mean, variance = x.mean(-1, keepdims=True), x.var(-1, keepdims=True)
    return (x - mean) / jnp.sqrt(variance + eps) * scale + bias


def textbook_rms_norm(x, scale=1.0, *, eps=1e-6):
    return x / jnp.sqrt(jnp.mean(x**2, -1, keepdims=True) + eps) * scale


def textbook_dropout(key, x, *, rate):
    """The documented draw, two elements to a word."""
    dropping = round(rate * 2**16)
    columns = x.shape[-1] if x.ndim else 1
    words = jax.random.bits(key, (*x.shape[:-1], (columns + 1) // 2), "uint32")
    bits = jnp.stack([words % 2**16, words // 2**16], axis=-1).reshape(
        *words.shape[:-1], 2 * words.shape[-1]
    )
    return jnp.where(bits[..., :columns].reshape(x.shape) < dropping, 0, x / (1 - dropping / 2**16))


def textbook_normalize(x, *, axis=-1):
    norm = jnp.linalg.norm(x, axis=axis, keepdims=True)
    return jnp.where(norm == 0, 0, x / norm)


def textbook_binary_cross_entropy(logits, labels):
    log_yes, log_no = jax.nn.log_sigmoid(logits), jax.nn.log_sigmoid(-logits)
    return (
        -labels * log_yes - (1 - labels) * log_no
        if is_float(labels)
        else -jnp.where(labels, log_yes, log_no)
    )


def is_float(labels):
    return jnp.issubdtype(labels.dtype, jnp.floating)


def textbook_huber(predictions, targets, *, delta=1.0):
    d = jnp.abs(predictions - targets)
    return jnp.where(d <= delta, d**2 / 2, delta * (d - delta / 2))


def classifier(rows, fan_in, classes):
    return *affine(rows, fan_in, classes), rng.integers(0, classes, rows)


def textbook_linear_cross_entropy(
    x,
    weight,
    bias,
    labels,
    *,
    reduction="mean",
    chunk=None,
    label_smoothing=0.0,
    z_loss=0.0,
    soft_cap=None,
    **ignored,
):
    """The logits whole, and every option as it is usually written."""
    z = jnp.einsum("...k,ik->...i", x, weight) + bias
    z = z if soft_cap is None else soft_cap * jnp.tanh(z / soft_cap)
    classes = z.shape[-1]
    y = (1 - label_smoothing) * jax.nn.one_hot(labels, classes) + label_smoothing / classes
    losses = textbook_cross_entropy(z, y) + z_loss * jax.nn.logsumexp(z, axis=-1) ** 2
    counts = jnp.broadcast_to(labels != ignored.get("ignored_label"), labels.shape)
    losses = jnp.where(counts, losses, 0)
    if reduction is None:
        return losses
    return losses.sum() / (jnp.maximum(1, counts.sum()) if reduction == "mean" else 1)


def numbers():
    return {
        "matrix": (normal(5, 7),),
        "scalar": (normal(),),
        "at and beside zero": (np.array([-1.0, -0.0, 0.0, 1.0, 1e-300, -1e-300]),),
        "tails": (np.array([-1e4, -80.0, -20.0, -10.0, -5.0, 0.5, 5.0, 10.0, 20.0, 80.0, 1e4]),),
        "one element": (normal(1, 1),),
        "empty": (normal(0, 3),),
        "large": (1e2 * normal(100, 90),),
    }


CASES = [
    Case(
        jaxnet.linear,
        {
            "matrix": affine((6,), 5, 4),
            "square": affine((4,), 4, 4),
            "one row": affine((1,), 3, 2),
            "no leading dimension": affine((), 3, 2),
            "three leading dimensions": affine((2, 3, 5), 7, 3),
            "one by one": affine((1,), 1, 1),
            "empty batch": affine((0,), 3, 2),
            "no inputs": affine((2,), 0, 3),
            "large": affine((300,), 67, 31),
            "many rows": affine((4096,), 7, 5),  # where a sum in the working dtype would drift
        },
        lambda x, weight, bias: jnp.einsum("...k,ik->...i", x, weight) + bias,
    ),
    Case(
        jaxnet.relu,
        {
            "matrix": (normal(5, 7),),
            "scalar": (normal(),),
            "at and beside the kink": (np.array([-1.0, -0.0, 0.0, 1.0, 1e-300, -1e-300]),),
            "empty": (normal(0, 3),),
            "large": (1e3 * normal(100, 90),),
        },
        lambda x, slope_at_zero=0.0: jax.nn.relu(x),
        ({}, {"slope_at_zero": 1.0}, {"slope_at_zero": 0.5}),
    ),
    Case(jaxnet.rules.sigmoid, numbers(), jax.nn.sigmoid),
    Case(jaxnet.rules.tanh, numbers(), jnp.tanh),
    Case(jaxnet.rules.softplus, numbers(), jax.nn.softplus),
    Case(jaxnet.rules.silu, numbers(), jax.nn.silu),
    Case(jaxnet.rules.gelu, numbers(), jax.nn.gelu, ({}, {"approximate": False})),
    Case(
        jaxnet.rules.swiglu,
        {
            "matrix": (normal(5, 7), normal(5, 7)),
            "scalar": (normal(), normal()),
            "gate at zero and in the tails": (
                np.array([-80.0, -20.0, 0.0, -0.0, 20.0, 80.0]),
                normal(6),
            ),
            "value at zero": (normal(4), np.zeros(4)),
            "empty": (normal(0, 3), normal(0, 3)),
            "large": (1e2 * normal(100, 90), normal(100, 90)),
        },
        lambda gate, value: jax.nn.silu(gate) * value,
    ),
    Case(
        jaxnet.softmax,
        softmax_points := {
            "matrix": (normal(5, 7),),
            "where": (normal(5, 7), rng.random((5, 7)) < 0.6),
            "rows and columns hidden": (normal(2, 3), np.array([[True, False, True], [False] * 3])),
            "one mask for all rows": (normal(2, 3, 4), np.array([[[True, False, True, True]]])),
            "three dimensions": (normal(2, 3, 5),),
            "one class": (normal(3, 1),),
            "two classes": (normal(3, 2),),
            "ties": (np.zeros((2, 4)),),
            "sure": (np.array([[40.0, 0.0, 1.0], [0.0, 17.0, 0.5], [1.0, 1.0, 8.0]]),),
            "masked": (np.array([[0.5, -np.inf, 1.0], [-np.inf, 2.0, -np.inf]]),),
            "empty batch": (normal(0, 3),),
            "many classes": (normal(3, 1000),),
        },
        textbook_softmax,
    ),
    Case(jaxnet.rules.log_softmax, softmax_points, lambda *args: jnp.log(textbook_softmax(*args))),
    *(
        Case(
            f,
            {
                "matrix": (normal(5, 7),),
                "where": (normal(5, 3), rng.random((5, 3)) < 0.6),
                "vector": (normal(4),),
                "three dimensions": (normal(2, 3, 5),),
                "no column": (normal(3, 0),),
            },
            textbook,
            ({"axis": 0},),
        )
        for f, textbook in (
            (jaxnet.softmax, textbook_softmax),
            (
                jaxnet.rules.log_softmax,
                lambda *args, axis: jnp.log(textbook_softmax(*args, axis=axis)),
            ),
        )
    ),
    Case(
        jaxnet.rules.layer_norm,
        {
            "scale and bias": (normal(5, 7), normal(7), normal(7)),
            "alone": (normal(5, 7),),
            "scale": (normal(2, 3, 4), normal(4)),
            "one row": (normal(9), normal(9), normal(9)),
            "constant rows": (np.array([[3.0] * 5, [0.0] * 5, [1e4] * 5]), normal(5), normal(5)),
            "one column": (normal(3, 1), normal(1), normal(1)),
            "away from zero": (30 + normal(4, 8), normal(8), normal(8)),
            "empty batch": (normal(0, 3), normal(3), normal(3)),
            "wide": (normal(3, 1000), normal(1000), normal(1000)),
            "many rows": (normal(2048, 3), normal(3), normal(3)),
        },
        textbook_layer_norm,
        ({}, {"eps": 0.1}),
    ),
    Case(
        jaxnet.rules.rms_norm,
        {
            "scale": (normal(5, 7), normal(7)),
            "alone": (normal(5, 7),),
            "three dimensions": (normal(2, 3, 4), normal(4)),
            "one row": (normal(9), normal(9)),
            "zero and constant rows": (np.array([[0.0] * 5, [3.0] * 5, [1e4] * 5]), normal(5)),
            "two columns": (normal(3, 2), normal(2)),
            "empty batch": (normal(0, 3), normal(3)),
            "wide": (normal(3, 1000), normal(1000)),
            "many rows": (normal(2048, 3), normal(3)),
        },
        textbook_rms_norm,
        ({}, {"eps": 0.1}),
    ),
    Case(
        jaxnet.rules.dropout,
        {
            "matrix": (jax.random.key(1), normal(5, 7)),
            "raw key": (jax.random.PRNGKey(1), normal(4, 6)),
            "scalar": (jax.random.key(3), normal()),
            "one column": (jax.random.key(2), normal(9, 1)),
            "three dimensions": (jax.random.key(2), normal(2, 3, 5)),
            "empty": (jax.random.key(2), normal(0, 3)),
            "no columns": (jax.random.key(2), normal(3, 0)),
            "large": (jax.random.key(2), 1e3 * normal(100, 91)),
        },
        textbook_dropout,
        ({"rate": 0.5}, {"rate": 0.1}, {"rate": 0.0}),
    ),
    Case(
        jaxnet.rules.safe_sqrt,
        {
            "matrix": (normal(5, 7) ** 2,),
            "scalar": (normal() ** 2,),
            "at and beside zero": (np.array([0.0, -0.0, 1e-4, 1.0, 4.0]),),
            "empty": (normal(0, 3),),
            "large": (1e4 * rng.random((100, 90)),),
        },
        jnp.sqrt,
    ),
    *(
        Case(
            f,
            {
                "matrix": (normal(5, 7),),
                "vector": (normal(4),),
                "three dimensions": (normal(2, 3, 5),),
                "zeros": (np.zeros((3, 3)),),
                "a zero in each": (np.array([[0.0, 2.0], [-1.0, 0.0]]),),
                "near zero": (1e-3 * normal(3, 4),),
                "two by two": (normal(2, 2),),
                "empty": (normal(0, 3),),
                "large": (1e3 * normal(100, 90),),
            },
            textbook,
            ({}, {"axis": 0}),
        )
        for f, textbook in (
            (jaxnet.rules.safe_norm, lambda x, axis=-1: jnp.linalg.norm(x, axis=axis)),
            (jaxnet.rules.normalize, textbook_normalize),
        )
    ),
    Case(
        jaxnet.softmax_cross_entropy,
        {
            "integers": (normal(6, 5), np.array([0, 4, 2, 2, 1, 3])),
            "two classes": (normal(4, 2), np.array([0, 1, 1, 0])),
            "one class": (normal(3, 1), np.array([0, 0, 0])),
            "distributions": (normal(6, 5), distributions(6, 5)),
            "one-hot": (normal(3, 4), np.eye(4)[[1, 3, 0]]),
            "not summing to one": (normal(4, 3), 3 * distributions(4, 3)),
            "no leading dimension": (normal(5), np.array(3)),
            "two leading dimensions": (normal(2, 3, 4), rng.integers(0, 4, (2, 3))),
            "ties": (np.zeros((3, 4)), np.array([0, 1, 3])),
            "masked": (np.array([[0.5, -np.inf, 1.0], [-np.inf, 2.0, -np.inf]]), np.array([2, 1])),
            "empty batch": (normal(0, 3), np.zeros(0, int)),
            "many classes": (normal(3, 1000), np.array([0, 999, 500])),
        },
        textbook_cross_entropy,
    ),
    Case(
        jaxnet.rules.linear_softmax_cross_entropy,
        {
            "matrix": classifier((7,), 5, 4),  # in chunks of three: the last one reaches back
            "two leading dimensions": classifier((2, 3), 3, 4),
            "one class, no leading dimension": (*classifier((), 2, 1)[:3], np.array(0)),
            "empty batch": classifier((0,), 3, 2),
        },
        textbook_linear_cross_entropy,
        (
            of_all := {
                "chunk": 3,
                "label_smoothing": 0.1,
                "z_loss": 0.01,
                "soft_cap": 2.0,
                "ignored_label": 1,
            },
        ),
    ),
    Case(
        jaxnet.rules.linear_softmax_cross_entropy,
        {
            "large": classifier((130,), 17, 40),
            "sure": (20 * normal(6, 5), *classifier((6,), 5, 4)[1:]),
            "masked": (
                normal(3, 2),
                normal(4, 2),
                np.array([0.5, -np.inf, 1.0, -np.inf]),
                np.array([0, 2, 2]),
            ),
            "no inputs": classifier((4,), 0, 3),
        },
        textbook_linear_cross_entropy,
    ),
    Case(
        jaxnet.rules.linear_softmax_cross_entropy,
        {"matrix": classifier((7,), 5, 4), "no leading dimension": classifier((), 3, 3)},
        textbook_linear_cross_entropy,
        (of_all | {"reduction": None},),
    ),
    Case(
        jaxnet.rules.sigmoid_binary_cross_entropy,
        {
            "probabilities": (normal(5, 7), rng.random((5, 7))),
            "integers": (normal(6), np.array([0, 1, 1, 0, 0, 1])),
            "booleans": (normal(3, 4), rng.random((3, 4)) < 0.5),
            "scalar": (normal(), np.array(0.25)),
            "at zero": (np.zeros(3), np.array([0.0, 0.5, 1.0])),
            "tails": (np.tile([-1e4, -40.0, -17.0, 17.0, 40.0, 1e4], 2), np.repeat([0.0, 1.0], 6)),
            "empty": (normal(0, 3), normal(0, 3)),
            "large": (1e2 * normal(100, 90), rng.random((100, 90))),
        },
        textbook_binary_cross_entropy,
    ),
    Case(
        jaxnet.rules.mean_squared_error,
        {
            "matrix": (normal(5, 7), normal(5, 7)),
            "vector": (normal(4), normal(4)),
            "three dimensions": (normal(2, 3, 5), normal(2, 3, 5)),
            "one output": (normal(3, 1), normal(3, 1)),
            "exact": (np.ones((2, 3)), np.ones((2, 3))),
            "empty batch": (normal(0, 3), normal(0, 3)),
            "many outputs": (1e2 * normal(3, 4096), normal(3, 4096)),
        },
        lambda predictions, targets: jnp.mean((predictions - targets) ** 2, axis=-1),
    ),
    Case(
        jaxnet.rules.huber,
        {
            "matrix": (normal(5, 7), normal(5, 7)),
            "scalar": (normal(), normal()),
            "at the joints": (np.array([-1.0, -0.5, 0.0, 0.5, 1.0]), np.zeros(5)),
            "empty": (normal(0, 3), normal(0, 3)),
            "large": (1e3 * normal(100, 90), normal(100, 90)),
        },
        textbook_huber,
        ({}, {"delta": 0.5}, {"delta": 100.0}),
    ),
    Case(
        jaxnet.rules.embedding,
        {
            "repeated": (normal(5, 3), np.array([0, 4, 4, 2, 4])),
            "one id": (normal(5, 3), np.array(2)),
            "two dimensions": (normal(6, 4), rng.integers(0, 6, (2, 3))),
            "one row": (normal(1, 3), np.zeros(4, int)),
            "no ids": (normal(5, 3), np.zeros((0,), int)),
            "no features": (normal(5, 0), np.array([1, 2])),
            "large": (normal(300, 31), rng.integers(0, 300, 1000)),
            "a favourite": (
                normal(3, 2),
                np.ones(4096, int),
            ),  # where a sum in the working dtype would drift
        },
        lambda table, ids: table[ids],
    ),
]
