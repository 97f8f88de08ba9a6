"""What an exercise is, seen from its values: pieces of a network whose known mistakes can be made.

Only what is recognised has hints that name a mistake; every exercise has the truth.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import combinations
from typing import Any, NamedTuple

import numpy as np

from jaxnet.grading.exercise import Array, Draw, Exercise
from jaxnet.grading.mistakes import (
    OF_EACH,
    RIGHT,
    Affine,
    Layers,
    Loss,
    Pieces,
    network_forward,
    softmax,
)

Gradients = Mapping[str, Array]


class Mistake(NamedTuple):
    """A piece, in one layer or (None) in all, that computes something else."""

    piece: str
    layer: int | None
    words: str
    function: Callable[..., Any]


@dataclass
class Made:
    """Pieces of a network; `mistakes` are some that are made in it."""

    mistakes: tuple[Mistake, ...] = ()
    at: Pieces = field(default=RIGHT)

    def piece(self, name: str, layer: int = 0) -> Callable[..., Any]:
        for mistake in self.mistakes:
            if mistake.piece == name and mistake.layer in (None, layer):
                return mistake.function
        found: Callable[..., Any] = getattr(RIGHT, name)
        return found


class Kind(NamedTuple):
    """pieces: those it has, and in how many layers. gradients(draw, made) -> by leaf."""

    name: str
    pieces: Mapping[str, int]
    gradients: Callable[[Draw, Made], Gradients]

    def mistakes(self, everywhere: bool = False) -> list[Mistake]:
        """In all layers, and, unless only those are asked for, in each alone."""
        found = []
        for piece, layers in self.pieces.items():
            alone = [] if everywhere or layers == 1 else list(range(layers))
            for words, function in OF_EACH[piece]:
                found += [Mistake(piece, layer, words, function) for layer in [None, *alone]]
        return found

    def pairs(self) -> Iterator[tuple[Mistake, Mistake]]:
        for one, other in combinations(self.mistakes(everywhere=True), 2):
            if one.piece != other.piece:
                yield one, other


def kind_of(exercise: Exercise) -> Kind | None:
    """None for what is not recognised."""
    for recognise in (_affine, _relu, _loss, _network):
        kind = recognise(exercise)
        if kind is not None:
            return kind
    return None


def _is(draw: Draw, value: Array) -> bool:
    return draw.value.shape == value.shape and np.allclose(draw.value, value, 1e-8, 1e-10)


def _ndims(exercise: Exercise, names: list[str]) -> list[int]:
    return [len(exercise.shapes[name].letters) for name in names]


def _affine(exercise: Exercise) -> Kind | None:
    names = exercise.leaves
    if exercise.inputs != names or _ndims(exercise, names) != [2, 2, 1]:
        return None
    x, W, b = exercise.draws[0].inputs.values()
    if W.shape[1] != x.shape[1] or not _is(exercise.draws[0], x @ W.T + b):
        return None

    def gradients(draw: Draw, made: Made) -> Gradients:
        x, W, b = draw.inputs.values()
        three = made.piece("affine")(Affine(x, W, b, draw.cotangent, x))
        return dict(zip(names, three, strict=True))

    return Kind("affine", {"affine": 1}, gradients)


def _relu(exercise: Exercise) -> Kind | None:
    names = exercise.leaves
    if exercise.inputs != names or len(names) != 1:
        return None
    if not _is(exercise.draws[0], np.maximum(0, exercise.draws[0].inputs[names[0]])):
        return None

    def gradients(draw: Draw, made: Made) -> Gradients:
        return {names[0]: made.piece("relu")(draw.inputs[names[0]], draw.cotangent)}

    return Kind("relu", {"relu": 1}, gradients)


def _labels(exercise: Exercise) -> str | None:
    found = [name for name, shape in exercise.shapes.items() if shape.kind == "one-hot"]
    return found[0] if len(found) == 1 and exercise.is_loss else None


def _mean_over(draw: Draw, z: Array, y: Array) -> int | None:
    """What the cross-entropy of these logits is divided by: N, or 1; None where it is no such."""
    losses = -(y * np.log(softmax(z))).sum(axis=1)
    if _is(draw, np.asarray(losses.mean())):
        return len(z)
    return 1 if _is(draw, np.asarray(losses.sum())) else None


def _loss(exercise: Exercise) -> Kind | None:
    labels, names = _labels(exercise), exercise.leaves
    if labels is None or len(names) != 1 or len(exercise.inputs) != 2:
        return None
    first = exercise.draws[0]
    if first.inputs[names[0]].shape != first.inputs[labels].shape:
        return None
    if _mean_over(first, first.inputs[names[0]], first.inputs[labels]) is None:
        return None

    def gradients(draw: Draw, made: Made) -> Gradients:
        z, y = draw.inputs[names[0]], draw.inputs[labels]
        n = _mean_over(draw, z, y) or 1
        return {names[0]: made.piece("loss")(Loss(z, softmax(z), y, n))}

    return Kind("loss", {"loss": 1}, gradients)


def _network(exercise: Exercise) -> Kind | None:
    labels, names = _labels(exercise), exercise.leaves
    data = [name for name, shape in exercise.shapes.items() if shape.kind == "data"]
    depth = len(names) // 2
    if labels is None or len(data) != 1 or _ndims(exercise, names) != [2, 1] * depth:
        return None
    if not _is_network(exercise.draws[0], data[0], labels, names):
        return None

    def gradients(draw: Draw, made: Made) -> Gradients:
        x, y, layers = draw.inputs[data[0]], draw.inputs[labels], _layers(draw, names)
        n = _mean_over(draw, network_forward(x, layers)[0][-1], y) or 1
        found = network_backward(x, y, layers, n, made)
        return dict(zip(names, (array for layer in found for array in layer), strict=True))

    pieces = {"loss": 1, "relu": depth - 1, "affine": depth, "forward": 1}
    return Kind("network", {k: v for k, v in pieces.items() if v}, gradients)


def _is_network(draw: Draw, data: str, labels: str, names: list[str]) -> bool:
    try:
        before, _ = network_forward(draw.inputs[data], _layers(draw, names))
    except ValueError:
        return False
    return _mean_over(draw, before[-1], draw.inputs[labels]) is not None


def _layers(draw: Draw, names: list[str]) -> Layers:
    arrays = [draw.inputs[name] for name in names]
    return list(zip(arrays[::2], arrays[1::2], strict=True))


def network_backward(x: Array, y: Array, layers: Layers, n: int, made: Made) -> Layers:
    """With the mistakes that are made. n: what the loss is divided by."""
    before, into = made.piece("forward")(x, layers)
    z = before[-1]
    dy = made.piece("loss")(Loss(z, softmax(z), y, n))
    found: list[tuple[Array, Array]] = []
    for k in reversed(range(len(layers))):
        unmasked = before[k - 1] if k else into[0]
        dx, dW, db = made.piece("affine", k)(Affine(into[k], *layers[k], dy, unmasked))
        found.append((dW, db))
        if k:
            dy = made.piece("relu", k - 1)(before[k - 1], dx)
    return found[::-1]
