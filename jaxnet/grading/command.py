"""python -m jaxnet grade FILE [...]: the options, and what is printed."""

import argparse
import csv
import io
import json
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from jaxnet._files import write_whole
from jaxnet.grading.exercise import EXERCISES, Exercise, exercise_of, exercises_in
from jaxnet.grading.grades import NAMES, SECONDS, Grade, graded, try_out

COLUMNS = (
    "file",
    "exercise",
    "points",
    "of",
    "right",
    "wrong",
    "missing",
    "hint",
    "message",
    "WHY",
)


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "Judge students' backward passes, which derivative is right and what is wrong with the "
        "others. Exit status 1 where one is not right."
    )
    parser.add_argument("paths", metavar="FILE", nargs="+", type=Path, help="a file or a folder")
    parser.add_argument("--json", action="store_true", help="print JSON in place of the text")
    parser.add_argument("--csv", type=Path, metavar="OUT", help="write a row for each file there")
    parser.add_argument(
        "--exercise",
        type=Path,
        default=EXERCISES,
        metavar="PATH",
        help="a file, or a folder of exercises (default: those of the course)",
    )
    parser.add_argument(
        "--seconds",
        type=float,
        default=SECONDS,
        help="after which a file is stopped (default: %(default)g)",
    )
    parser.add_argument("--quick", action="store_true", help="no proof, no training, no picture")


def run(options: argparse.Namespace, fail: Callable[[str], None]) -> int:
    """fail: ends the program with a sentence on what is wrong with the command."""
    try:
        tasks = tasks_of(options.paths, exercises_in(options.exercise))
    except ValueError as error:
        fail(str(error))
        raise
    if not is_quick(options):
        return one_by_one(tasks, options)
    grades = side_by_side(tasks, options.seconds)
    if options.csv:
        write_whole(options.csv, table(grades))
    if options.json:
        print_json(grades)
    elif options.csv:
        print(summary(grades))
    else:
        print("\n\n".join(map(str, grades)))
    return 0 if all(grade.ok for grade in grades) else 1


def is_quick(options: argparse.Namespace) -> bool:
    """Verdicts alone: of whole folders too."""
    return options.quick or options.csv is not None or any(p.is_dir() for p in options.paths)


def one_by_one(tasks: "Sequence[Task]", options: argparse.Namespace) -> int:
    """The verdict of each at once, then what takes longer."""
    grades = []
    for exercise, file, _ in tasks:
        grades.append(graded(exercise, file, options.seconds))
        if options.json:
            try_out(exercise, file, grades[-1], None)
            continue
        print(grades[-1], flush=True)
        more = try_out(exercise, file, grades[-1], file.with_suffix(".png"))
        print(more, flush=True)
    if options.json:
        print_json(grades)
    return 0 if all(grade.ok for grade in grades) else 1


def print_json(grades: "Sequence[Grade]") -> None:
    print(json.dumps([grade.content() for grade in grades], ensure_ascii=False, indent=2))


Task = tuple[Exercise, Path, str]  # and how the file is called


def tasks_of(paths: Sequence[Path], exercises: list[Exercise]) -> list[Task]:
    tasks = []
    for path in paths:
        if path.is_dir():
            tasks += in_folder(path, exercises)
            continue
        if not path.is_file():
            raise ValueError(f"{path}: there is no such file")
        exercise = exercise_of(path, exercises)
        if exercise is None:
            raise ValueError(f"{path}: which exercise is it? {NAMES}")
        tasks.append((exercise, path, path.name))
    return tasks


def in_folder(folder: Path, exercises: list[Exercise]) -> list[Task]:
    """Every file below it that is an exercise's by its name."""
    files = sorted(folder.rglob("*.py"))
    found = [(exercise_of(file, exercises), file) for file in files]
    tasks = [(e, file, str(file.relative_to(folder))) for e, file in found if e is not None]
    if not tasks:
        raise ValueError(f"{folder}: no file below it is an exercise's; {NAMES}")
    return tasks


def side_by_side(tasks: Sequence[Task], seconds: float) -> list[Grade]:
    for exercise, *_ in tasks:
        exercise.draws  # noqa: B018  once for all files, and in one thread
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        grades = list(pool.map(lambda task: graded(task[0], task[1], seconds), tasks))
    for grade, (_, _, name) in zip(grades, tasks, strict=True):
        grade.file = name
    return grades


def table(grades: Sequence[Grade]) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(map(row, grades))
    return text.getvalue()


def row(grade: Grade) -> dict[str, object]:
    def names(verdict: str) -> str:
        return " ".join(leaf.label for leaf in grade.leaves if leaf.verdict == verdict)

    hints = [grade.hint, *(f"{leaf.label}: {leaf.hint}" for leaf in grade.leaves if leaf.hint)]
    return {
        "file": grade.file,
        "exercise": grade.exercise,
        "points": grade.points,
        "of": grade.of,
        **{verdict: names(verdict) for verdict in ("right", "wrong", "missing")},
        "hint": "; ".join(filter(None, hints)),
        "message": " ".join(grade.message.split()),
        "WHY": grade.texts.get("WHY", ""),
    }


def summary(grades: Sequence[Grade]) -> str:
    right = sum(grade.ok for grade in grades)
    points, of = (sum(getattr(grade, name) for grade in grades) for name in ("points", "of"))
    return f"{len(grades)} files: {right} wholly right, {points} of {of} points"
