"""The report's job in NumPy, its gradients by hand: what a careful person writes without a library.

Rows are examples, all is float32, and what can be done in place is.
"""

import itertools
from collections.abc import Mapping, Sequence

import numpy as np
from common.job import BATCH_SIZE, RATE

Arrays = tuple[np.ndarray, np.ndarray]  # x [rows, features] and y [rows]
Layers = list[tuple[np.ndarray, np.ndarray]]  # weight [out, in] and bias [out] of each


def draw(sizes: Sequence[int], seed: int) -> Layers:
    """Weights and biases uniform in ±1/sqrt(in), as PyTorch begins."""
    rng = np.random.default_rng(seed)
    layers = []
    for fan_in, out in itertools.pairwise(sizes):
        drawn = rng.uniform(-(fan_in**-0.5), fan_in**-0.5, (out, fan_in + 1)).astype(np.float32)
        layers.append((drawn[:, 1:].copy(), drawn[:, 0].copy()))
    return layers


def forward(layers: Layers, x: np.ndarray) -> list[np.ndarray]:
    """What goes into each layer, and at the end the scores."""
    values = [x]
    for weight, bias in layers:
        z = values[-1] @ weight.T
        z += bias
        values.append(z)
        if len(values) <= len(layers):
            np.maximum(z, 0, out=z)
    return values


def update(layers: Layers, x: np.ndarray, y: np.ndarray) -> None:
    """One step down the gradient of the mean cross-entropy, in place."""
    *inputs, scores = forward(layers, x)
    # dz = (softmax(z) - one_hot(y)) / rows
    dz = np.exp(scores - scores.max(axis=1, keepdims=True))
    dz /= dz.sum(axis=1, keepdims=True)
    dz[np.arange(len(y)), y] -= 1
    dz /= len(y)
    for i in reversed(range(len(layers))):
        weight, bias = layers[i]
        d_weight, d_bias = dz.T @ inputs[i], dz.sum(axis=0)
        if i > 0:
            dz = dz @ weight  # before the weight changes
            dz *= inputs[i] > 0
        d_weight *= RATE
        weight -= d_weight
        bias -= RATE * d_bias


def evaluate(layers: Layers, x: np.ndarray, y: np.ndarray) -> tuple[float, float]:
    """The mean loss and the accuracy."""
    scores = forward(layers, x)[-1]
    shifted = scores - scores.max(axis=1, keepdims=True)
    losses = np.log(np.exp(shifted).sum(axis=1)) - shifted[np.arange(len(y)), y]
    return float(losses.mean()), float((scores.argmax(axis=1) == y).mean())


def train(layers: Layers, data: Mapping[str, Arrays], epochs: int) -> dict[str, list[float]]:
    """{train,test}_{loss,accuracy} after every epoch, each over the whole set. Trains the layers.

    data: train and test.
    """
    curves: dict[str, list[float]] = {
        f"{name}_{kind}": [] for name in data for kind in ("loss", "accuracy")
    }
    x, y = data["train"]
    for _ in range(epochs):
        for begin in range(0, len(x), BATCH_SIZE):
            update(layers, x[begin : begin + BATCH_SIZE], y[begin : begin + BATCH_SIZE])
        for name, rows in data.items():
            loss, accuracy = evaluate(layers, *rows)
            curves[f"{name}_loss"].append(loss)
            curves[f"{name}_accuracy"].append(accuracy)
    return curves
