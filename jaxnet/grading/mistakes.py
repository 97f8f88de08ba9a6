"""The mistakes that are known: wrong backward passes of three pieces, each with its name in words.

Letters as in the derivation: p = softmax(z), y one-hot, h = max(0, x); an affine map takes x to
x Wᵀ + b, and ȳ is dy.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from jaxnet.grading.exercise import Array


class Loss(NamedTuple):
    """What the backward of softmax and cross-entropy has at hand.

    n: what a mean divides by; 1 for a sum.
    """

    z: Array
    p: Array
    y: Array
    n: int


class Affine(NamedTuple):
    """The same of an affine map. before: what x was before its ReLU; x where there was none."""

    x: Array
    W: Array
    b: Array
    dy: Array
    before: Array


Three = tuple[Array, Array, Array]  # by x, W and b
Layers = Sequence[tuple[Array, Array]]  # weight and bias of each
Forward = tuple[list[Array], list[Array]]  # what comes out of each affine map, and what goes in


def network_forward(
    x: Array, layers: Layers, has_relu: bool = True, has_biases: bool = True
) -> Forward:
    before: list[Array] = []
    into = [x]
    for W, b in layers:
        before.append(into[-1] @ W.T + b * has_biases)
        into.append(np.maximum(0, before[-1]) if has_relu else before[-1])
    return before, into


class Pieces(NamedTuple):
    """Backward passes. That these are right a test sees, by autodiff."""

    loss: Callable[[Loss], Array] = lambda k: (k.p - k.y) / k.n
    relu: Callable[[Array, Array], Array] = lambda x, dh: dh * (x > 0)
    affine: Callable[[Affine], Three] = lambda k: (k.dy @ k.W, k.dy.T @ k.x, k.dy.sum(axis=0))
    forward: Callable[[Array, Layers], Forward] = network_forward


RIGHT = Pieces()


def softmax(z: Array, axis: int = 1) -> Array:
    e = np.exp(z - z.max(axis=axis, keepdims=True))
    return np.asarray(e / e.sum(axis=axis, keepdims=True))


def rolled(x: Array) -> Array:
    return np.roll(x, 1, axis=0)


# ---- the loss. Every right or nearly right one is / n

BY_N: tuple[tuple[str, Callable[[Loss], Array]], ...] = (
    ("the sign is wrong: this is y - p, and a step against it goes uphill", lambda k: k.y - k.p),
    ("it is p alone: the label y is not subtracted", lambda k: k.p),
    ("it is -y alone: the probabilities p are missing", lambda k: -k.y),
    ("it is y alone: what the network predicts, p, is missing", lambda k: k.y),
    ("softmax is differentiated twice: p - y has its derivative in it already, and p (1 - p) does "
     "not belong there", lambda k: (k.p - k.y) * k.p * (1 - k.p)),
    ("of softmax's derivative only the diagonal p (1 - p) is there: every p depends on every z",
     lambda k: -k.y * (1 - k.p)),
    ("it is -y / p, the derivative by p: softmax's own is still to come", lambda k: -k.y / k.p),
    ("it is multiplied by p once more", lambda k: (k.p - k.y) * k.p),
    ("it has the logits z where the probabilities p belong", lambda k: k.z - k.y),
    ("it has exp(z) where p belongs: it is not divided by the sum", lambda k: np.exp(k.z) - k.y),
    ("it has exp(z - max z) where p belongs: it is not divided by the sum",
     lambda k: np.exp(k.z - k.z.max(axis=1, keepdims=True)) - k.y),
    ("softmax runs over the wrong axis: over the examples, not over the classes",
     lambda k: softmax(k.z, 0) - k.y),
    ("exp is divided by the sum over all examples: each example has a sum of its own",
     lambda k: np.exp(k.z) / np.exp(k.z).sum() - k.y),
    ("exp is divided by the sum over all examples: each example has a sum of its own",
     lambda k: softmax(k.z) * (s := np.exp(k.z - k.z.max(axis=1, keepdims=True)).sum(
         axis=1, keepdims=True)) / s.sum() - k.y),
    ("it has the class that is predicted, by argmax, where the probabilities belong",
     lambda k: np.eye(k.p.shape[1])[k.p.argmax(axis=1)] - k.y),
    ("the labels are those of other rows", lambda k: k.p - rolled(k.y)),
    ("there is a factor 2, as of a squared error", lambda k: 2 * (k.p - k.y)),
    ("it is |p - y|: the sign is lost", lambda k: np.abs(k.p - k.y)),
    ("it is (p - y)²: the difference itself belongs there", lambda k: (k.p - k.y) ** 2),
    ("it is log p - y: p itself belongs there", lambda k: np.log(k.p) - k.y),
    ("it is -y log p: the loss itself, not its derivative", lambda k: -k.y * np.log(k.p)),
    ("it has a sigmoid where softmax belongs", lambda k: 1 / (1 + np.exp(-k.z)) - k.y),
    ("it is the derivative of a squared error, not of the cross-entropy",
     lambda k: k.p * (k.p - k.y - ((k.p - k.y) * k.p).sum(axis=1, keepdims=True))),
)  # fmt: skip
NOT_BY_N: tuple[tuple[str, Callable[[Loss], Array]], ...] = (
    ("the 1/N of the mean is forgotten", lambda k: k.p - k.y),
    ("it is N times too large", lambda k: (k.p - k.y) * len(k.p) / k.n),
    ("it is divided by N once too often", lambda k: (k.p - k.y) / k.n / len(k.p)),
    ("it is a mean over all numbers, N times M of them: the mean runs over the N examples",
     lambda k: (k.p - k.y) / k.p.size),
    ("it is divided by the number of classes M, not by that of examples",
     lambda k: (k.p - k.y) / k.p.shape[1]),
)  # fmt: skip


def divided(function: Callable[[Loss], Array]) -> Callable[[Loss], Array]:
    return lambda k: function(k) / k.n


OF_LOSS = [(words, divided(function)) for words, function in BY_N] + list(NOT_BY_N)

# ---- ReLU

OF_RELU: tuple[tuple[str, Callable[[Array, Array], Array]], ...] = (
    ("ReLU's mask is lost: everything passes, also where x < 0. (Is it h >= 0? That is always "
     "true.)", lambda x, dh: dh),
    ("ReLU's mask is inverted: it passes where x < 0", lambda x, dh: dh * (x <= 0)),
    ("ReLU's mask is taken from the derivative that comes in, not from x",
     lambda x, dh: np.maximum(dh, 0)),
    ("it is multiplied by ReLU's output h: by its derivative, 1 or 0, is meant",
     lambda x, dh: dh * np.maximum(x, 0)),
    ("it is multiplied by x: by ReLU's derivative, 1 or 0, is meant", lambda x, dh: dh * x),
    ("it is ReLU's derivative alone: times what comes in, dh, is missing",
     lambda x, dh: 1.0 * (x > 0)),
    ("below 0 it passes with the wrong sign, as for |x|", lambda x, dh: dh * np.sign(x)),
    ("it is ReLU's output, not its derivative", lambda x, dh: np.maximum(x, 0)),
    ("ReLU is applied to the derivative times x", lambda x, dh: np.maximum(dh * x, 0)),
    ("the mask is x > 1: the kink is at 0", lambda x, dh: dh * (x > 1)),
    ("it is the derivative of a sigmoid, not of ReLU",
     lambda x, dh: dh * np.exp(-x) / (1 + np.exp(-x)) ** 2),
    ("it has the wrong sign", lambda x, dh: -dh * (x > 0)),
    ("nothing passes: the derivative ends at ReLU", lambda x, dh: 0 * dh),
    ("the mask is that of other rows", lambda x, dh: dh * (rolled(x) > 0)),
)  # fmt: skip

# ---- an affine map: one of the three is wrong

OF_BIAS: tuple[tuple[str, Callable[[Affine], Array]], ...] = (
    ("the bias gets 0: its derivative is forgotten", lambda k: 0 * k.b),
    ("the bias has the wrong sign", lambda k: -k.dy.sum(axis=0)),
    ("the bias sees one row of the batch: the rows are to be summed", lambda k: k.dy[0]),
    ("the bias sees the last row of the batch: the rows are to be summed", lambda k: k.dy[-1]),
    ("the bias has a mean over the batch where a sum belongs", lambda k: k.dy.mean(axis=0)),
    ("the bias has 1: times what comes in is missing", lambda k: np.ones_like(k.b)),
    ("the bias has N: it counts the examples, and what comes in is missing",
     lambda k: np.full_like(k.b, len(k.dy))),
    ("the bias has one sum for all its units: sum over the examples alone",
     lambda k: np.full_like(k.b, k.dy.sum())),
    ("the bias is multiplied by itself: b is added, so its derivative does not hold b",
     lambda k: k.dy.sum(axis=0) * k.b),
    ("the bias itself is returned, not its derivative", lambda k: k.b),
    ("the bias has sums of |dy|: signs count", lambda k: np.abs(k.dy).sum(axis=0)),
    ("the bias has the largest of the rows, not their sum", lambda k: k.dy.max(axis=0)),
)  # fmt: skip
OF_WEIGHT: tuple[tuple[str, Callable[[Affine], Array]], ...] = (
    ("the weight is halved", lambda k: k.dy.T @ k.x / 2),
    ("the last unit of the weight is left out",
     lambda k: k.dy.T @ k.x * (np.arange(len(k.W)) < len(k.W) - 1)[:, None]),
    ("the weight is reshaped where it should be transposed",
     lambda k: (k.x.T @ k.dy).reshape(k.W.shape)),
    ("the rows are paired with the wrong rows", lambda k: k.dy.T @ rolled(k.x)),
    ("the weight has a mean over the batch where a sum belongs", lambda k: k.dy.T @ k.x / len(k.x)),
    ("the weight has the wrong sign", lambda k: -k.dy.T @ k.x),
    ("the weight gets 0: its derivative is forgotten", lambda k: 0 * k.W),
    ("the sums over the batch are taken before the product: each example has its own",
     lambda k: np.outer(k.dy.sum(axis=0), k.x.sum(axis=0))),
    ("the means over the batch are taken before the product: each example has its own",
     lambda k: np.outer(k.dy.mean(axis=0), k.x.mean(axis=0))),
    ("the sum of dy is multiplied by a mean of x: each example has its own product",
     lambda k: np.outer(k.dy.sum(axis=0), k.x.mean(axis=0))),
    ("the weight sees the first example only", lambda k: np.outer(k.dy[0], k.x[0])),
    ("the weight sees the last example only: is it overwritten in a loop, not added to?",
     lambda k: np.outer(k.dy[-1], k.x[-1])),
    ("the weight has sums of x alone: what comes in, dy, is missing",
     lambda k: np.outer(np.ones_like(k.b), k.x.sum(axis=0))),
    ("the weight has sums of dy alone: the input x is missing",
     lambda k: np.outer(k.dy.sum(axis=0), np.ones_like(k.x[0]))),
    ("the weight is multiplied by itself: times the input is meant",
     lambda k: (k.dy.T @ k.x) * k.W),
    ("the weight itself is added: that is weight decay, which the loss does not have",
     lambda k: k.dy.T @ k.x + k.W),
    ("the weight itself is returned, not its derivative", lambda k: k.W),
    ("the layer's input is taken before its ReLU: h belongs there, not x Wᵀ + b",
     lambda k: k.dy.T @ k.before),
    ("it has 1 or 0, ReLU's derivative, where the layer's input h belongs",
     lambda k: k.dy.T @ (1.0 * (k.before > 0))),
)  # fmt: skip
OF_INPUT: tuple[tuple[str, Callable[[Affine], Array]], ...] = (
    ("nothing goes on to what came before: its derivative is 0", lambda k: 0 * k.x),
    ("what goes on to the layer before has the wrong sign", lambda k: -k.dy @ k.W),
    ("dy is not multiplied by W on its way back: its sum goes to every unit",
     lambda k: k.dy.sum(axis=1, keepdims=True) * np.ones_like(k.x)),
    ("the input has the weights alone: what comes in, dy, is missing",
     lambda k: np.ones_like(k.x) * k.W.sum(axis=0)),
    ("on its way back it is multiplied by x too", lambda k: (k.dy @ k.W) * k.x),
    ("on its way back it is divided by N once more", lambda k: k.dy @ k.W / len(k.x)),
    ("the bias is added on the way back: it is a constant, with nothing to pass on",
     lambda k: (k.dy + k.b) @ k.W),
    ("the bias is added on the way back: it is a constant, with nothing to pass on",
     lambda k: k.dy @ k.W + k.b.sum()),
    ("on its way back it is multiplied by dW, not by W", lambda k: k.dy @ (k.dy.T @ k.x)),
    ("on its way back it is multiplied by |W|: signs count", lambda k: k.dy @ np.abs(k.W)),
    ("the input is returned as it is, not its derivative", lambda k: k.x),
)  # fmt: skip


def with_one(place: int, function: Callable[[Affine], Array]) -> Callable[[Affine], Three]:
    """The right three, but for the one at this place."""

    def three(k: Affine) -> Three:
        found = list(RIGHT.affine(k))
        found[place] = function(k)
        return found[0], found[1], found[2]

    return three


OF_AFFINE = [
    (words, with_one(place, function))
    for place, table in enumerate((OF_INPUT, OF_WEIGHT, OF_BIAS))
    for words, function in table
]
Table = list[tuple[str, Callable[..., Any]]]
OF_FORWARD: Table = [
    (
        "what backward computes again of the forward has no ReLU in it",
        lambda x, layers: network_forward(x, layers, has_relu=False),
    ),
    (
        "what backward computes again of the forward has no biases in it",
        lambda x, layers: network_forward(x, layers, has_biases=False),
    ),
]
OF_EACH: Mapping[str, Table] = {
    "loss": OF_LOSS,
    "relu": list(OF_RELU),
    "affine": OF_AFFINE,
    "forward": OF_FORWARD,
}
