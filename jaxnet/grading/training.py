"""Trains the report's network by gradients that are right or wrong, in NumPy: a tenth of a second.

The settings are those of the picture of the README, with one seed.
"""

import itertools
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from jaxnet.datasets import load
from jaxnet.grading.exercise import Array
from jaxnet.grading.kinds import Kind, Made, Mistake, network_backward
from jaxnet.grading.mistakes import RIGHT, Affine, Layers, Loss, network_forward, softmax

DATA = Path(__file__).parents[2] / "data" / "course_twin"
WIDTH, EPOCHS, RATE, BATCH_SIZE = 100, 200, 0.01, 64
LOOKS_RIGHT = 0.5  # points of accuracy below the right one at most
PICTURE = {  # the fourteen mistakes of the README, and how the words of the table begin
    "bias gradient forgotten": "the bias gets 0",
    "bias gradient of the wrong sign": "the bias has the wrong sign",
    "bias sees one row of the batch": "the bias sees one row",
    "weight gradient halved": "the weight is halved",
    "last unit of each layer left out": "the last unit of the weight",
    "reshaped instead of transposed": "the weight is reshaped",
    "rows paired with the wrong rows": "the rows are paired",
    "nothing reaches the first layer": "nothing goes on",
    "ReLU's slope taken as 1 everywhere": "ReLU's mask is lost",
    "ReLU's mask inverted": "ReLU's mask is inverted",
    "ReLU's mask taken from what comes in": "ReLU's mask is taken",
    "multiplied by ReLU's output": "it is multiplied by ReLU's output",
    "softmax differentiated twice": "softmax is differentiated twice",
    "mean over the batch forgotten": "the 1/N of the mean is forgotten",
}

Gradient = Callable[[Layers, Array, Array], Layers]  # layers, x, one-hot y -> of each parameter


class Curve(NamedTuple):
    """accuracy: of the test set, in percent, after each epoch; shorter where it was stopped.

    error: of the first gradient, its distance from the right one over the right one's length.
    angle: between the two, in degrees.
    """

    accuracy: list[float]
    error: float
    angle: float


def by_pieces(*mistakes: Mistake) -> Gradient:
    made = Made(mistakes)
    return lambda layers, x, y: network_backward(x, y, layers, len(x), made)


def known_mistakes(kind: Kind) -> dict[str, Gradient]:
    """Those of the picture that a network of this kind can have."""
    every = kind.mistakes(everywhere=True)
    found = {
        name: next((m for m in every if m.words.startswith(start)), None)
        for name, start in PICTURE.items()
    }
    return {name: by_pieces(mistake) for name, mistake in found.items() if mistake is not None}


class Network(NamedTuple):
    """Its first parameters, its logits, and its right gradient."""

    layers: Layers
    logits: Callable[[Array, Layers], Array]
    right: Gradient


def start(hidden: int) -> Layers:
    """As PyTorch draws it: uniform in ±1/sqrt(in)."""
    rng = np.random.default_rng(0)
    sizes = itertools.pairwise((10, *[WIDTH] * hidden, 2))
    return [(rng.uniform(-1, 1, (m, n)) / n**0.5, rng.uniform(-1, 1, m) / n**0.5) for n, m in sizes]


def plain(hidden: int) -> Network:
    return Network(start(hidden), lambda x, layers: network_forward(x, layers)[0][-1], by_pieces())


Pull = Callable[..., Sequence[Array]]  # input, scale, shift, dy -> the derivatives by the three


def with_norm(norm: Callable[..., Array], right: Pull) -> Network:
    """One hidden layer, and a norm before its ReLU."""
    first, last = start(1)
    layers = [first, (np.ones(WIDTH), np.zeros(WIDTH)), last]

    def logits(x: Array, layers: Layers) -> Array:
        (W1, b1), inner, (W2, b2) = layers
        return np.maximum(0, norm(x @ W1.T + b1, *inner)) @ W2.T + b2

    return Network(layers, logits, by_norm(norm, right))


def by_norm(norm: Callable[..., Array], pull: Pull) -> Gradient:
    def gradient(layers: Layers, x: Array, y: Array) -> Layers:
        (W1, b1), inner, last = layers
        before = x @ W1.T + b1
        normal = norm(before, *inner)
        h = np.maximum(0, normal)
        z = h @ last[0].T + last[1]
        dz = RIGHT.loss(Loss(z, softmax(z), y, len(x)))
        dh, dW2, db2 = RIGHT.affine(Affine(h, *last, dz, normal))
        dx, dscale, dshift = pull(before, *inner, RIGHT.relu(normal, dh))
        _, dW1, db1 = RIGHT.affine(Affine(x, W1, b1, dx, x))
        return [(dW1, db1), (dscale, dshift), (dW2, db2)]

    return gradient


class Trainer:
    """seconds: that one training may take."""

    def __init__(self, network: Network, seconds: float = 2.0) -> None:
        data = load(DATA)
        (self.x, y), (self.test_x, self.test_y) = data.train, data.test
        self.y, self.network, self.seconds = np.eye(2)[y], network, seconds
        first = slice(0, BATCH_SIZE)
        self.batch = (self.x[first].astype(float), self.y[first])

    def curve(self, gradient: Gradient) -> Curve:
        first = self.network.layers
        ours, right = (flat(g(first, *self.batch)) for g in (gradient, self.network.right))
        length = float(np.linalg.norm(right))
        cosine = ours @ right / max(length * float(np.linalg.norm(ours)), 1e-300)
        angle = float(np.degrees(np.arccos(np.clip(cosine, -1, 1))))
        return Curve(self.accuracies(gradient), float(np.linalg.norm(ours - right)) / length, angle)

    def accuracies(self, gradient: Gradient) -> list[float]:
        layers, found, began = self.network.layers, [], time.process_time()
        for _ in range(EPOCHS):
            for k in range(0, len(self.x), BATCH_SIZE):
                x, y = (a[k : k + BATCH_SIZE].astype(float) for a in (self.x, self.y))
                layers = stepped(layers, gradient(layers, x, y))
            logits = self.network.logits(self.test_x, layers)
            if not np.isfinite(logits).all() or time.process_time() - began > self.seconds:
                break
            found.append(100 * float((logits.argmax(axis=1) == self.test_y).mean()))
        return found


def stepped(layers: Layers, gradients: Layers) -> Layers:
    return [
        (W - RATE * dW, b - RATE * db) for (W, b), (dW, db) in zip(layers, gradients, strict=True)
    ]


def flat(layers: Layers) -> Array:
    return np.concatenate([array.ravel() for layer in layers for array in layer])


def sentence(what: str, curve: Curve, right: Sequence[float], is_right: bool) -> str:
    """What training with it says, beside what training with the right one does."""
    epochs = len(curve.accuracy)
    if not epochs:
        return f"trained with {what}, the network's numbers become infinite: here training tells"
    last, wanted = curve.accuracy[-1], right[min(epochs, len(right)) - 1]
    said = f"trained with {what}: {last:.2f} % of the test set after {epochs} epochs"
    said += f"; with the right gradient {wanted:.2f} %"
    if is_right:
        return said
    angle = f"the two are {curve.angle:.0f}° apart at first"
    downhill = "less than 90° is downhill too" if curve.angle < 90 else "that is uphill"
    if last >= wanted - LOOKS_RIGHT:
        return (
            f"{said}.\n  It trains all the same: a good curve proves nothing ({angle}; {downhill})"
        )
    return f"{said}.\n  It ends lower ({angle}; {downhill})"
