"""An exercise: a file with a forward and the shapes of its arguments. The truth is its autodiff."""

import inspect
import re
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
Arrays = Mapping[str, Array]
# Of the letters in SHAPES, in their order: all different, so that a transposed array has another
# shape, and others in the second draw, so that a size that was written as a number shows.
SIZES = ((7, 5, 3, 4, 9, 8, 11), (4, 3, 5, 7, 6, 9, 8))
CANDIDATES = "abcde"  # functions of these names, where the question is which of them is wrong
EXERCISES = Path(__file__).parents[2] / "docs" / "course" / "exercises"


class Shape(NamedTuple):
    """Of an argument: "one-hot N M" has the kind "one-hot" and the letters N and M."""

    kind: str
    letters: tuple[str, ...]


class Draw(NamedTuple):
    """Arguments, and what is true of them, by autodiff in float64."""

    sizes: Mapping[str, int]
    inputs: Arrays
    value: Array
    cotangent: Array  # of the value; 1 where the value is the loss itself
    truth: Arrays  # argument -> derivative


class Exercise:
    """path: of the file, which says forward and SHAPES."""

    def __init__(self, path: Path) -> None:
        self.path, self.name = path, path.stem
        self.twin = twin_of(path)
        missing = [name for name in ("SHAPES", "forward") if name not in self.twin]
        if missing:
            raise ValueError(f"{path} is no exercise: it has no {' and no '.join(missing)}")
        self.forward = self.twin["forward"]
        self.shapes = {name: shape_of(text) for name, text in self.twin["SHAPES"].items()}
        self.inputs = list(self.shapes)
        self.leaves = [n for n, s in self.shapes.items() if s.kind not in ("data", "one-hot")]

    @cached_property
    def cotangent(self) -> str:
        """What backward calls the derivative that comes in."""
        backward = self.twin.get("backward")
        names = list(inspect.signature(backward).parameters) if backward is not None else []
        return names[-1] if len(names) > len(self.inputs) else "dy"

    @cached_property
    def draws(self) -> tuple[Draw, ...]:
        return tuple(self._draw(seed) for seed in range(len(SIZES)))

    def _draw(self, seed: int) -> Draw:
        letters = list(dict.fromkeys(x for s in self.shapes.values() for x in s.letters))
        sizes = dict(zip(letters, SIZES[seed], strict=False))
        rng = np.random.default_rng(seed)
        inputs = {name: drawn(shape, sizes, rng) for name, shape in self.shapes.items()}
        with jax.enable_x64(True):
            value = jax.eval_shape(self.forward, *inputs.values())
            cotangent = rng.normal(size=value.shape) if value.shape else np.ones(())
            given = [inputs[name] for name in self.leaves]
            value, found = jax.jit(self._pulled)(given, inputs, cotangent)
        truth = {k: np.asarray(g) for k, g in zip(self.leaves, found, strict=True)}
        return Draw(sizes, inputs, np.asarray(value), cotangent, truth)

    def _pulled(self, given: Any, inputs: Any, cotangent: Any) -> Any:
        def of_leaves(given: Any) -> Any:
            named = inputs | dict(zip(self.leaves, given, strict=True))
            return self.forward(*(named[name] for name in self.inputs))

        value, pull = jax.vjp(of_leaves, given)
        return value, pull(cotangent)[0]

    @property
    def is_loss(self) -> bool:
        """Its value is one number: backward is given no cotangent."""
        return not self.draws[0].value.shape

    @cached_property
    def wrong_candidate(self) -> str:
        """Of the functions a, b, c ... the one that is wrong; "" where there are none."""
        draw, (leaf, *_) = self.draws[0], self.leaves
        given = (*draw.inputs.values(), draw.cotangent)
        found = {
            name: np.asarray(self.twin[name](*given)) for name in CANDIDATES if name in self.twin
        }
        wrong = (k for k, v in found.items() if not np.allclose(v, draw.truth[leaf], 1e-4, 1e-5))
        return next(wrong, "")


def shape_of(text: str) -> Shape:
    words = text.split()
    kinds = [word for word in words if word in ("data", "one-hot", "positive")]
    return Shape(" ".join(kinds), tuple(word for word in words if word not in kinds))


def drawn(shape: Shape, sizes: Mapping[str, int], rng: np.random.Generator) -> Array:
    lengths = [sizes[letter] for letter in shape.letters]
    if shape.kind == "one-hot":
        return np.eye(lengths[-1])[rng.integers(0, lengths[-1], lengths[:-1])]
    values = rng.normal(size=lengths)
    if shape.letters[:1] != ("N",):
        values /= np.sqrt(lengths[-1])  # weights: what they compute is neither large nor small
    return np.abs(values) + 0.1 if shape.kind == "positive" else values


def in_jax(source: str) -> str:
    """A program in NumPy with jax.numpy in its place: most of NumPy is there by the same name."""
    source = re.sub(r"^import numpy as (\w+)", r"import jax.numpy as \1", source, flags=re.M)
    source = re.sub(r"^import numpy\b(?!\.)", "import jax.numpy as numpy", source, flags=re.M)
    return re.sub(r"^from numpy import", "from jax.numpy import", source, flags=re.M)


def twin_of(path: Path) -> dict[str, Any]:
    """The names of a file whose NumPy is JAX's."""
    found: dict[str, Any] = {"__name__": path.stem}
    exec(compile(in_jax(path.read_text(encoding="utf-8")), str(path), "exec"), found)
    return found


def exercises_in(place: Path) -> list[Exercise]:
    """A file, or all files of a folder."""
    paths = sorted(place.glob("*.py")) if place.is_dir() else [place]
    if not paths or not all(path.is_file() for path in paths):
        raise ValueError(f"{place}: there is no exercise")
    return [Exercise(path) for path in paths]


def exercise_of(file: Path, exercises: list[Exercise]) -> Exercise | None:
    """The one whose name is in that of the file, or of its folder; any, where there is but one."""
    if len(exercises) == 1:
        return exercises[0]
    for text in (file.stem, file.parent.name):
        for exercise in exercises:
            topic = re.sub(r"^\d+_", "", exercise.name)
            if topic in text:
                return exercise
    return None
