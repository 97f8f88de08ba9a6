"""Each derivative of a student's beside the true one, element by element."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from jaxnet.grading.exercise import Array, Exercise
from jaxnet.grading.process import Answer

CLOSE, CLOSE_IN_32 = 1e-6, 1e-4  # of the largest element
ANSWER = "WRONG"  # the variable that names the wrong one of several candidates
IN_PRACTICE = "a few numbers below, at and above 0"
ABOUT_KINDS = {
    "missing": "not written yet",
    "None": "None: backward returns nothing for it",
}


@dataclass
class Leaf:
    """What is said of one derivative."""

    name: str
    verdict: str = "right"  # or wrong, or missing
    text: str = ""  # where it differs, in words
    hint: str = ""
    note: str = ""  # what costs no point
    proved: bool = False
    index: tuple[int, ...] = ()
    yours: float | None = None
    right: float | None = None

    @property
    def label(self) -> str:
        return self.name if self.name == ANSWER else f"d{self.name}"

    @property
    def points(self) -> int:
        return int(self.verdict == "right")


def judge(exercise: Exercise, answer: Answer) -> list[Leaf]:
    found = [judge_leaf(exercise, answer, name) for name in exercise.leaves]
    if exercise.wrong_candidate:
        found.append(judge_choice(exercise, answer.texts[ANSWER].strip().lower()))
    return found


def judge_choice(exercise: Exercise, chosen: str) -> Leaf:
    if chosen == exercise.wrong_candidate:
        return Leaf(ANSWER)
    if chosen in ("", "?", "..."):
        return Leaf(ANSWER, "missing", "not answered yet")
    text = f"{chosen} is right, or is none of them"
    return Leaf(ANSWER, "wrong", text, f"compare each with the others on {IN_PRACTICE}")


def judge_leaf(exercise: Exercise, answer: Answer, name: str) -> Leaf:
    kind = answer.kinds[name]
    if kind == "missing":
        return Leaf(name, "missing", ABOUT_KINDS[kind])
    if kind != "array":
        return Leaf(name, "wrong", ABOUT_KINDS.get(kind, f"a {kind} and no array"))
    found = Leaf(name)
    for k in range(len(exercise.draws)):
        yours, truth = pair(exercise, answer, name, k)
        compare(found, yours, truth)
        if found.verdict != "right":
            if k > 0:
                found.hint = (
                    "it is right for one batch and wrong for one of other sizes: "
                    "did you write a size as a number?"
                )
            return found
    return found


def pair(exercise: Exercise, answer: Answer, name: str, k: int) -> tuple[Array, Array]:
    """Yours and the true one, as the student writes arrays."""
    truth = answer.layout.of(exercise.shapes[name].letters, exercise.draws[k].truth[name])
    return answer.gradients[k][name], truth


def compare(found: Leaf, yours: Array, truth: Array) -> None:
    """Writes into found what there is to say."""
    if yours.shape != truth.shape:
        if squeezed(yours.shape) != squeezed(truth.shape):
            found.verdict = "wrong"
            found.text = f"shape {list(yours.shape)}, should be {list(truth.shape)}"
            return
        found.note = f"its shape is {list(yours.shape)}, that of {found.name} {list(truth.shape)}"
        yours = yours.reshape(truth.shape)
    if not np.isfinite(yours).all():
        found.verdict = "wrong"
        at = tuple(int(i) for i in np.argwhere(~np.isfinite(yours))[0])
        found.text = f"{yours[at]} at {list(at)}: something is divided by 0, or overflows"
        return
    close = CLOSE_IN_32 if yours.dtype.itemsize < 8 and yours.dtype.kind == "f" else CLOSE
    errors = np.abs(yours - truth)
    if errors.max(initial=0) > close * np.abs(truth).max(initial=0):
        at = tuple(int(i) for i in np.unravel_index(errors.argmax(), errors.shape))
        found.verdict, found.index = "wrong", at
        found.yours, found.right = float(yours[at]), float(truth[at])
        place = f" at {list(at)}" if at else ""
        found.text = f"wrong{place}: yours {found.yours:.4g}, right {found.right:.4g}"


def squeezed(shape: Sequence[int]) -> list[int]:
    return [n for n in shape if n != 1]


def as_given(exercise: Exercise, answer: Answer, k: int) -> dict[str, Array]:
    """The student's derivatives as the exercise writes arrays; those of a wrong shape left out."""
    found: dict[str, Array] = {}
    for name, array in answer.gradients[k].items():
        _, truth = pair(exercise, answer, name, k)
        if squeezed(array.shape) == squeezed(truth.shape):
            letters: Any = exercise.shapes[name].letters
            found[name] = answer.layout.back(letters, array.reshape(truth.shape))
    return found
