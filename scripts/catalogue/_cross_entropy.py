"""softmax_cross_entropy and sigmoid_binary_cross_entropy."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

import jaxnet
from catalogue._activations import numbers, sigma
from catalogue._softmax import log_softmax_truth, margins
from catalogue.entry import Args, Case, Entry, Measure, given, normals


def textbook_cross_entropy(logits: Any, labels: Any) -> Any:
    log_p = jax.nn.log_softmax(logits, axis=-1)
    y = labels
    if jnp.issubdtype(labels.dtype, jnp.integer):
        y = jax.nn.one_hot(labels, logits.shape[-1])
    return -jnp.sum(jnp.where(y == 0, 0, y * log_p), axis=-1)


def textbook_binary_cross_entropy(logits: Any, labels: Any) -> Any:
    return optax.sigmoid_binary_cross_entropy(logits, labels.astype(logits.dtype))


# True gradients, without a difference of numbers that may be close.


def cross_entropy_truth(c: Any, z: Any, y: Any) -> Args:
    (dz,) = log_softmax_truth(-np.eye(z.shape[-1])[y], z)
    return (c[..., None] * dz,)


def binary_truth(c: Any, z: Any, y: Any) -> Args:
    return (c * np.where(y == 1, -sigma(-z), sigma(z)),)


# Rows whose loss and gradient are known: (logits, label, loss, gradient).
KNOWN_ROWS = [
    ([3.0], 0, 0, [0]),
    ([2.0, 2.0], 0, np.log(2), [-0.5, 0.5]),
    ([2.0, 2.0], 1, np.log(2), [0.5, -0.5]),
    ([1.0, -np.inf, -np.inf], 0, 0, [0, 0, 0]),
    ([-np.inf, 2.0, 2.0], 1, np.log(2), [0, -0.5, 0.5]),
    ([1e4, -1e4], 0, 0, [0, 0]),
    ([1e4, -1e4], 1, 2e4, [1, -1]),
    ([-1e4, -1e4], 0, np.log(2), [-0.5, 0.5]),
    ([-np.inf, 1.0], 0, np.inf, [-1, 1]),
    ([np.nan, 1.0], 1, np.nan, [np.nan, np.nan]),
]


def distributions(rng: np.random.Generator, *shape: int) -> np.ndarray:
    weights = rng.exponential(size=shape)
    return weights / weights.sum(axis=-1, keepdims=True)


SOFTMAX_CROSS_ENTROPY = Entry(
    jaxnet.softmax_cross_entropy,
    textbook_cross_entropy,
    cases=(
        Case(
            {
                "integers": lambda rng: (rng.normal(size=(6, 5)), np.array([0, 4, 2, 2, 1, 3])),
                "two classes": lambda rng: (rng.normal(size=(4, 2)), np.array([0, 1, 1, 0])),
                "one class": lambda rng: (rng.normal(size=(3, 1)), np.array([0, 0, 0])),
                "distributions": lambda rng: (rng.normal(size=(6, 5)), distributions(rng, 6, 5)),
                "one-hot": lambda rng: (rng.normal(size=(3, 4)), np.eye(4)[[1, 3, 0]]),
                "not summing to one": lambda rng: (
                    rng.normal(size=(4, 3)),
                    3 * distributions(rng, 4, 3),
                ),
                "no leading dimension": lambda rng: (rng.normal(size=5), np.array(3)),
                "two leading dimensions": lambda rng: (
                    rng.normal(size=(2, 3, 4)),
                    rng.integers(0, 4, (2, 3)),
                ),
                "ties": given(np.zeros((3, 4)), np.array([0, 1, 3])),
                "masked": given(
                    np.array([[0.5, -np.inf, 1.0], [-np.inf, 2.0, -np.inf]]), np.array([2, 1])
                ),
                "empty batch": given(np.zeros((0, 3)), np.zeros(0, int)),
                "many classes": lambda rng: (rng.normal(size=(3, 1000)), np.array([0, 999, 500])),
            }
        ),
    ),
    measures=(
        Measure(
            # Timed beside optax's, which picks the label's logit: nobody who has integers would
            # make the one-hot rows of the textbook's.
            text=optax.softmax_cross_entropy_with_integer_labels,
            rest=lambda rng, rows, columns: (rng.integers(0, columns, rows).astype(np.int32),),
            points=lambda rng: [(z, np.int32(y)) for (z,) in margins(rng) for y in (2, 0)],
            truth=cross_entropy_truth,
            reason="each pass compares every class with the label, whose term is left out",
        ),
    ),
)
right_softmax = SOFTMAX_CROSS_ENTROPY.rule.halves

# Its residuals begin with the logits and the labels.


def label_rows(r: Any) -> Any:
    logits, labels = r[0], r[1]
    if labels.ndim == logits.ndim:
        return labels
    return labels[..., None] == jnp.arange(logits.shape[-1])


SOFTMAX_CROSS_ENTROPY.spoil(
    "cotangent ignored",
    lambda dz, dy, r, dloss: (right_softmax.backward(r, jnp.ones_like(dloss))[0], dy),
)
SOFTMAX_CROSS_ENTROPY.spoil("sign", lambda dz, dy, r, dloss: (-dz, dy))
SOFTMAX_CROSS_ENTROPY.spoil(
    "mean over the batch taken twice", lambda dz, dy, r, dloss: (dz / max(1, dloss.size), dy)
)
SOFTMAX_CROSS_ENTROPY.spoil("labels not differentiated", lambda dz, dy, r, dloss: (dz, None))
SOFTMAX_CROSS_ENTROPY.spoil(
    "p without y", lambda dz, dy, r, dloss: (dz + dloss[..., None] * label_rows(r), dy)
)
SOFTMAX_CROSS_ENTROPY.spoil(
    "half of y", lambda dz, dy, r, dloss: (dz + 0.5 * dloss[..., None] * label_rows(r), dy)
)
SOFTMAX_CROSS_ENTROPY.spoil(
    "p - y though y does not sum to one",
    lambda dz, dy, r, dloss: (dloss[..., None] * (jaxnet.softmax(r[0]) - label_rows(r)), dy),
)

SIGMOID_BINARY_CROSS_ENTROPY = Entry(
    jaxnet.rules.sigmoid_binary_cross_entropy,
    textbook_binary_cross_entropy,
    cases=(
        Case(
            {
                "probabilities": lambda rng: (rng.normal(size=(5, 7)), rng.random((5, 7))),
                "integers": lambda rng: (rng.normal(size=6), np.array([0, 1, 1, 0, 0, 1])),
                "booleans": lambda rng: (rng.normal(size=(3, 4)), rng.random((3, 4)) < 0.5),
                "scalar": lambda rng: (rng.normal(size=()), np.array(0.25)),
                "at zero": given(np.zeros(3), np.array([0.0, 0.5, 1.0])),
                "tails": given(
                    np.tile([-1e4, -40.0, -17.0, 17.0, 40.0, 1e4], 2), np.repeat([0.0, 1.0], 6)
                ),
                "empty": normals((0, 3), (0, 3)),
                "large": lambda rng: (1e2 * rng.normal(size=(100, 90)), rng.random((100, 90))),
            }
        ),
    ),
    measures=(
        Measure(
            rest=lambda rng, rows, columns: (rng.integers(0, 2, (rows, columns)).astype(np.int32),),
            points=lambda rng: [(z, np.int32(y)) for (z,) in numbers() for y in (0, 1)],
            truth=binary_truth,
        ),
    ),
)

# Its residuals are the derivative in the logits, and the logits where the labels have one too.

SIGMOID_BINARY_CROSS_ENTROPY.spoil(
    "p instead of p - y",
    lambda dz, dy, r, dloss: (dz if dy is None else dloss * jax.nn.sigmoid(r[1]), dy),
)
SIGMOID_BINARY_CROSS_ENTROPY.spoil("sign", lambda dz, dy, r, dloss: (-dz, dy))
SIGMOID_BINARY_CROSS_ENTROPY.spoil(
    "the mean's division taken into the rule",
    lambda dz, dy, r, dloss: (dz / max(1, dloss.size), dy),
)
SIGMOID_BINARY_CROSS_ENTROPY.spoil("labels have no gradient", lambda dz, dy, r, dloss: (dz, None))
SIGMOID_BINARY_CROSS_ENTROPY.spoil(
    "the gradient of the labels has the wrong sign",
    lambda dz, dy, r, dloss: (dz, None if dy is None else -dy),
)
SIGMOID_BINARY_CROSS_ENTROPY.spoil(
    "0 where the sigmoid rounds to 1",
    lambda dz, dy, r, dloss: (jnp.where(jnp.abs(r[0]) < 1e-3, 0, dz), dy),
)
