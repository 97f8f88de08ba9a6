"""What takes longer than the verdict: the proof, and training with a student's gradient.

python -m jaxnet.grading.trial FILE FOLDER: a process of its own, as the file runs in it. The folder
holds trial.json, which exercise and layout it is, and gets trial.json anew and the picture.
"""

import contextlib
import io
import json
import sys
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxnet.grading.exercise import Array, Exercise, twin_of
from jaxnet.grading.kinds import Kind, Mistake, kind_of
from jaxnet.grading.layouts import LAYOUTS, Layout, letters_of_value
from jaxnet.grading.mistakes import Affine, Layers, Loss
from jaxnet.grading.student import by_leaf, load, uses_jax
from jaxnet.grading.terms import of_norm
from jaxnet.grading.training import (
    Gradient,
    Network,
    Trainer,
    by_norm,
    by_pieces,
    known_mistakes,
    plain,
    sentence,
    with_norm,
)
from jaxnet.proving import Verdict, proof_of

Backward = Callable[..., Any]


class Solution:
    """A student's backward, called with arrays as the exercise writes them."""

    def __init__(self, exercise: Exercise, layout: Layout, backward: Backward) -> None:
        self.exercise, self.layout, self.backward = exercise, layout, backward

    def gradients(self, inputs: Sequence[Any], cotangent: Any = None) -> tuple[Any, ...]:
        shapes = [shape.letters for shape in self.exercise.shapes.values()]
        given = [self.layout.of(s, x) for s, x in zip(shapes, inputs, strict=True)]
        if not self.exercise.is_loss:
            given.append(self.layout.of(letters_of_value(self.exercise.draws[0]), cotangent))
        found = by_leaf(self.backward(*given), self.exercise.leaves)
        return tuple(
            self.back(name, found[name], x)
            for name, x in zip(self.exercise.inputs, inputs, strict=True)
            if name in found
        )

    def back(self, name: str, value: Any, like: Any) -> Any:
        letters = self.exercise.shapes[name].letters
        as_written = self.layout.of(letters, like).shape
        return self.layout.back(letters, value.reshape(as_written))


def proved(exercise: Exercise, layout: Layout, twin: Mapping[str, Any]) -> list[str]:
    """The derivatives that equal autodiff's as algebra, of the file's text in JAX."""
    solution = Solution(exercise, layout, twin["backward"])
    draw = exercise.draws[1]

    def inputs(leaves: Sequence[Any]) -> list[Any]:
        named = dict(draw.inputs) | dict(zip(exercise.leaves, leaves, strict=True))
        return [jnp.asarray(named[name]) for name in exercise.inputs]

    @jax.custom_vjp
    def forward(*leaves: Any) -> Any:
        return exercise.forward(*inputs(leaves))

    def backward(leaves: Any, dy: Any) -> Any:
        found = solution.gradients(inputs(leaves), dy)
        return tuple(dy * x for x in found) if exercise.is_loss else found

    forward.defvjp(lambda *leaves: (forward(*leaves), leaves), backward)
    leaves = [jnp.asarray(draw.inputs[name]) for name in exercise.leaves]
    proof = proof_of(forward, None, leaves, exercise.leaves, is_first_order=True)
    return [leaf.name for leaf in proof.leaves if leaf.verdict is Verdict.PROVED]


# ---- training


def compiled(backward: Backward, with_jax: bool) -> Backward:
    """One that takes and gives NumPy's arrays."""
    if not with_jax:
        return backward
    fast = jax.jit(backward)

    def called(*arrays: Any) -> Any:
        given = [jnp.asarray(x) for x in arrays]
        try:
            found = fast(*given)
        except Exception:  # what jit cannot trace runs as it is
            found = backward(*given)
        return jax.tree.map(np.asarray, found)

    return called


def gradient_of(solution: Solution, kind: Kind) -> Gradient:
    """Of a network with the student's piece in it, or of the student's whole network."""
    if kind.name == "network":
        return lambda layers, x, y: whole(solution, layers, x, y)

    def affine(k: Affine) -> Any:
        return solution.gradients((k.x, k.W, k.b), k.dy)

    def relu(x: Array, dh: Array) -> Any:
        return solution.gradients((x,), dh)[0]

    def loss(k: Loss) -> Any:
        scale = 1 if is_mean(solution.exercise) else k.n
        return solution.gradients((k.z, k.y))[0] / scale

    pieces: dict[str, Backward] = {"affine": affine, "relu": relu, "loss": loss}
    piece = pieces[kind.name]
    return by_pieces(Mistake(kind.name, None, "", piece))


def is_mean(exercise: Exercise) -> bool:
    draw = exercise.draws[0]
    doubled = [np.concatenate([draw.inputs[k]] * 2) for k in exercise.inputs]
    return bool(np.isclose(exercise.forward(*doubled), draw.value))


def whole(solution: Solution, layers: Layers, x: Array, y: Array) -> Layers:
    shapes, parameters = solution.exercise.shapes, [a for layer in layers for a in layer]
    kinds = {"data": x, "one-hot": y}
    left = iter(parameters)
    inputs = [kinds[s.kind] if s.kind in kinds else next(left) for s in shapes.values()]
    found = solution.gradients(inputs)
    return list(zip(found[::2], found[1::2], strict=True))


def hidden_layers(kind: Kind) -> int:
    return kind.pieces["affine"] - 1 if kind.name == "network" else 1


def trained(solution: Solution, what: str, picture: Path | None) -> dict[str, Any]:
    """Curves, and what they say. what: is trained with, "" for what is right."""
    found = network_of(solution)
    if found is None:
        return {}
    network, gradient, mistakes = found
    trainer = Trainer(network)
    right, yours = trainer.curve(network.right), trainer.curve(gradient)
    if picture is not None:
        from jaxnet.grading.picture import draw

        others = {words: trainer.curve(g) for words, g in mistakes.items()}
        picture.write_bytes(draw(right, yours, others, what))
    return {
        "accuracy": yours.accuracy,
        "right": right.accuracy,
        "error": yours.error,
        "angle": yours.angle,
        "sentence": sentence(what or "it", yours, right.accuracy, not what),
    }


def network_of(solution: Solution) -> tuple[Network, Gradient, Mapping[str, Gradient]] | None:
    """In which it is trained, the student's gradient of it, and the mistakes of the picture."""
    exercise, kind = solution.exercise, kind_of(solution.exercise)
    if kind is not None:
        mistakes = known_mistakes(kind_of_all(kind))
        return plain(hidden_layers(kind)), gradient_of(solution, kind), mistakes
    if not of_norm(exercise, exercise.leaves[0]):
        return None

    def pulled(x: Any, scale: Any, shift: Any, dy: Any) -> Any:
        return jax.vjp(exercise.forward, x, scale, shift)[1](dy)

    norm, right = compiled(exercise.forward, True), compiled(pulled, True)

    def yours(x: Array, scale: Array, shift: Array, dy: Array) -> Any:
        return solution.gradients((x, scale, shift), dy)

    return with_norm(norm, right), by_norm(norm, yours), {}


def kind_of_all(kind: Kind) -> Kind:
    """A piece's mistakes are made in a whole network."""
    layers = hidden_layers(kind)
    return kind._replace(name="network", pieces={"loss": 1, "relu": layers, "affine": layers + 1})


def run(path: Path, task: Mapping[str, Any], picture: Path) -> dict[str, Any]:
    """task: exercise, layout; right: the derivatives that are; backward and what: the function that
    is trained with and what it is called; picture: whether one is drawn.
    """
    exercise = Exercise(Path(task["exercise"]))
    layout = LAYOUTS[task["layout"]]
    found: dict[str, Any] = {"proved": [], "training": {}}
    with contextlib.suppress(Exception), jax.enable_x64(True):  # of what JAX cannot trace
        names = proved(exercise, layout, twin_of(path))
        found["proved"] = [name for name in names if name in task["right"]]
    with contextlib.suppress(Exception):  # of shapes that no update takes
        module = load(path)
        backward = compiled(getattr(module, task["backward"]), uses_jax(module))
        place = picture if task["picture"] else None
        found["training"] = trained(Solution(exercise, layout, backward), task["what"], place)
    return found


def main(file: str, folder: str) -> None:
    path, work = Path(file), Path(folder)
    task = json.loads((work / "trial.json").read_text())
    quiet = contextlib.redirect_stdout(io.StringIO())
    with quiet, warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        found = run(path, task, work / "picture.png")
    (work / "found.json").write_text(json.dumps(found))


if __name__ == "__main__":
    main(*sys.argv[1:])
