"""One file: asked, judged, and what is said of it."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from jaxnet.grading.exercise import EXERCISES, Exercise, exercise_of, exercises_in
from jaxnet.grading.hints import add_hints
from jaxnet.grading.judge import ANSWER, Leaf, judge
from jaxnet.grading.process import Answer, ask, follow

SECONDS = 10.0
NAMES = (
    "its name, or that of its folder, must hold the exercise's (1_linear.py), or give --exercise"
)


@dataclass
class Grade:
    """What is said of a file.

    file, exercise: its name, and the exercise's.
    leaves: a Leaf for each derivative that is asked for.
    message: why there is nothing to judge; "" where there is.
    notes: what is worth knowing, and costs no point.
    texts: what the student wrote besides: WRONG and WHY.
    printed: what the file printed, its beginning.
    """

    file: str
    exercise: str
    leaves: list[Leaf] = field(default_factory=list)
    message: str = ""
    hint: str = ""
    notes: list[str] = field(default_factory=list)
    texts: dict[str, str] = field(default_factory=dict)
    printed: str = ""
    layout: str = ""
    training: dict[str, Any] = field(default_factory=dict)

    @property
    def points(self) -> int:
        return sum(leaf.points for leaf in self.leaves)

    @property
    def of(self) -> int:
        return len(self.leaves)

    @property
    def ok(self) -> bool:
        return bool(self.leaves) and self.points == self.of

    def content(self) -> dict[str, Any]:
        """For JSON."""
        leaves = [vars(leaf) | {"points": leaf.points} for leaf in self.leaves]
        about = {"ok": self.ok, "points": self.points, "of": self.of}
        return vars(self) | about | {"leaves": leaves}

    def __str__(self) -> str:
        lines = [f"{self.file}: {self.points} of {self.of} points"]
        lines += [f"  {line}" for line in self.message.splitlines()]
        width = max((len(leaf.label) for leaf in self.leaves), default=0)
        for leaf in self.leaves if not self.message else []:
            lines += told(leaf, width)
        lines += [f"  hint: {self.hint}"] if self.hint else []
        lines += [f"  note: {note}" for note in self.notes]
        if self.printed:
            lines += ["  your file printed:", *(f"    {x}" for x in self.printed.splitlines()[:10])]
        return "\n".join(lines)


def told(leaf: Leaf, width: int) -> list[str]:
    said = leaf.text or leaf.verdict
    lines = [f"  {leaf.label:<{width}}  {said}"]
    lines += [f"      hint: {leaf.hint}"] if leaf.hint else []
    return lines + ([f"      note: {leaf.note}"] if leaf.note else [])


def grade(
    path: str | Path,
    exercise: str | Path | None = None,
    seconds: float = SECONDS,
) -> Grade:
    """Judge one student's file.

    path: of the file.
    exercise: a file or a folder of exercises; None for those of the course.
    seconds: after which the file is stopped.
    Returns a Grade; str of it is what the command prints.
    Raises ValueError where the exercise is not known.
    """
    file = Path(path)
    found = exercise_of(file, exercises_in(Path(exercise or EXERCISES)))
    if found is None:
        raise ValueError(f"{file}: which exercise is it? {NAMES}")
    return graded(found, file, seconds)


def graded(exercise: Exercise, file: Path, seconds: float = SECONDS) -> Grade:
    answer = ask(exercise, file, seconds)
    found = Grade(file.name, exercise.name, message=answer.message, printed=answer.printed)
    if answer.message:
        found.leaves = [Leaf(name, "missing") for name in exercise.leaves]
        return found
    found.leaves = judge(exercise, answer)
    found.hint = add_hints(exercise, answer, found.leaves)
    found.texts = {name: text for name, text in answer.texts.items() if text}
    found.layout = answer.layout.words
    found.notes = notes(exercise, answer)
    return found


def try_out(exercise: Exercise, file: Path, found: Grade, picture: Path | None) -> str:
    """Adds to the grade what is proved and how it trains; returns the lines that say so."""
    if found.message:
        return ""
    said = follow(exercise, file, task_of(exercise, found), picture)
    if not said:
        return "  neither proof nor training came to an end"
    for leaf in found.leaves:
        leaf.proved = leaf.name in said.get("proved", ())
    found.training = said.get("training", {})
    lines = []
    if said.get("proved"):
        labels = " and ".join(leaf.label for leaf in found.leaves if leaf.proved)
        lines.append(f"  proved, as algebra, where nothing rounds: {labels}")
    if found.training:
        lines.append(f"  {found.training['sentence']}")
        lines += [f"  picture: {picture}"] if picture else []
    return "\n".join(lines)


def task_of(exercise: Exercise, found: Grade) -> dict[str, Any]:
    """Of the trial: with what is trained, among other things."""
    right = [leaf.name for leaf in found.leaves if leaf.verdict == "right"]
    task: dict[str, Any] = {"layout": found.layout, "right": right, "backward": "backward"}
    task["what"] = "" if found.ok else "yours"
    if exercise.wrong_candidate and ANSWER in right:
        task["what"] = task["backward"] = exercise.wrong_candidate
    return task


def notes(exercise: Exercise, answer: Answer) -> list[str]:
    if not answer.changed:
        return []
    names = " and ".join(answer.changed).replace("cotangent", exercise.cotangent)
    return [f"backward writes into {names}, which belongs to its caller: work on a copy"]
