"""What an exercise is, seen from its values: pieces of a network whose known mistakes can be made.

Only what is recognised has hints that name a mistake; every exercise has the truth.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import combinations
from typing import Any, NamedTuple

import numpy as np

from jaxnet.grading.exercise import Array, Draw, Exercise
from jaxnet.grading.mistakes import OF_EACH, RIGHT, Affine, Loss, Pieces, softmax

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
    layers = len(names) // 2
    if labels is None or len(data) != 1 or _ndims(exercise, names) != [2, 1] * layers:
        return None
    places = _Places(data[0], labels, names)
    try:
        befores, _ = _forward(exercise.draws[0], places)
    except ValueError:
        return None
    if _mean_over(exercise.draws[0], befores[-1], exercise.draws[0].inputs[labels]) is None:
        return None

    def gradients(draw: Draw, made: Made) -> Gradients:
        return _backward(draw, made, places)

    pieces = {"loss": 1, "relu": layers - 1, "affine": layers}
    return Kind("network", {k: v for k, v in pieces.items() if v}, gradients)


class _Places(NamedTuple):
    """Names of arguments; weights and biases by turns."""

    data: str
    labels: str
    parameters: list[str]


def _forward(draw: Draw, places: _Places) -> tuple[list[Array], list[Array]]:
    """What comes out of each affine map, and what goes in."""
    before: list[Array] = []
    into = [draw.inputs[places.data]]
    for W, b in zip(places.parameters[::2], places.parameters[1::2], strict=True):
        before.append(into[-1] @ draw.inputs[W].T + draw.inputs[b])
        into.append(np.maximum(0, before[-1]))
    return before, into


def _backward(draw: Draw, made: Made, places: _Places) -> Gradients:
    before, into = _forward(draw, places)
    z, y = before[-1], draw.inputs[places.labels]
    dy = made.piece("loss")(Loss(z, softmax(z), y, _mean_over(draw, z, y) or 1))
    found: dict[str, Array] = {}
    for k in reversed(range(len(before))):
        W, b = places.parameters[2 * k : 2 * k + 2]
        unmasked = before[k - 1] if k else into[0]
        arrays = Affine(into[k], draw.inputs[W], draw.inputs[b], dy, unmasked)
        dx, found[W], found[b] = made.piece("affine", k)(arrays)
        if k:
            dy = made.piece("relu", k - 1)(before[k - 1], dx)
    return found
