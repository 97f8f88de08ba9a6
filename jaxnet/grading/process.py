"""Runs a student's file in a process of its own, with a time limit, and reads its answer."""

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from jaxnet._files import write_whole
from jaxnet.grading.exercise import Array, Exercise
from jaxnet.grading.layouts import LAYOUTS, Layout, calls
from jaxnet.grading.sentences import sentence

PROGRAM = Path(__file__).with_name("student.py")
TRIAL = 60.0  # seconds for a proof and some trainings
GRACE = 5.0  # seconds that Python and NumPy may take to start and to end


class Answer(NamedTuple):
    """What a file computed, or the sentence that says why it did not."""

    message: str = ""
    layout: Layout = LAYOUTS["rows"]
    kinds: Mapping[str, str] = {}  # leaf -> "array", "missing", or what it is instead
    gradients: Sequence[Mapping[str, Array]] = ()  # of each draw
    changed: Sequence[str] = ()  # arguments that were written into
    texts: Mapping[str, str] = {}  # WRONG and WHY
    printed: str = ""


def ask(exercise: Exercise, file: Path, seconds: float) -> Answer:
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        write_calls(exercise, work, seconds)
        run([sys.executable, "-P", str(PROGRAM), str(file.resolve()), folder], work, seconds)
        return read_answer(exercise, file, work, seconds)


def write_calls(exercise: Exercise, work: Path, seconds: float) -> None:
    np.savez(work / "calls.npz", **arrays_of(exercise))  # type: ignore[arg-type]
    (work / "calls.json").write_text(json.dumps(described(exercise) | {"seconds": seconds}))


def arrays_of(exercise: Exercise) -> dict[str, Array]:
    """What student.py calls the functions with, in every draw and layout."""
    return {
        f"{k}.{words}.{name}": array
        for k in range(len(exercise.draws))
        for words, layout in LAYOUTS.items()
        for name, array in calls(exercise, layout, k).items()
    }


def described(exercise: Exercise) -> dict[str, Any]:
    return {
        "layouts": list(LAYOUTS),
        "columns": [k for k, v in LAYOUTS.items() if v.has_columns and not v.has_inputs_first],
        "draws": len(exercise.draws),
        "inputs": exercise.inputs,
        "cotangent": [] if exercise.is_loss else ["cotangent"],
        "leaves": exercise.leaves,
    }


def follow(
    exercise: Exercise, file: Path, task: dict[str, Any], picture: Path | None
) -> dict[str, Any]:
    """What the trial found, {} where it did not end. picture: is written there."""
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        about = {"exercise": str(exercise.path.resolve()), "picture": picture is not None}
        (work / "trial.json").write_text(json.dumps(about | task))
        program = [sys.executable, "-P", "-m", "jaxnet.grading.trial"]
        run([*program, str(file.resolve()), folder], work, TRIAL)
        try:
            found: dict[str, Any] = json.loads((work / "found.json").read_text())
        except FileNotFoundError:
            return {}
        if picture is not None and (work / "picture.png").exists():
            write_whole(picture, (work / "picture.png").read_bytes())
        return found


def run(command: list[str], work: Path, seconds: float) -> None:
    paths = [str(Path(__file__).parents[2]), *os.environ.get("PYTHONPATH", "").split(os.pathsep)]
    settings = {
        "JAX_ENABLE_X64": "1",
        "JAX_PLATFORMS": "cpu",
        "MPLBACKEND": "Agg",
        "OPENBLAS_NUM_THREADS": "1",
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTHONPATH": os.pathsep.join(filter(None, paths)),
    }
    with open(work / "errors.txt", "wb") as errors:
        started = subprocess.Popen(
            command,
            cwd=work,
            env=os.environ | settings,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=errors,
            start_new_session=True,
        )
        with contextlib.suppress(subprocess.TimeoutExpired):
            started.wait(seconds + GRACE)
        end(started)


def end(started: "subprocess.Popen[bytes]") -> None:
    """And whatever it has started."""
    if hasattr(os, "killpg"):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(started.pid, signal.SIGKILL)
    else:
        started.kill()
    started.wait()


def read_answer(exercise: Exercise, file: Path, work: Path, seconds: float) -> Answer:
    try:
        about = json.loads((work / "answer.json").read_text())
    except FileNotFoundError:
        return Answer(sentence(exercise, ended(file, work, seconds)))
    with np.load(work / "answer.npz") as archive:
        return answer_from(exercise, about, dict(archive))


def answer_from(
    exercise: Exercise, about: Mapping[str, Any], arrays: Mapping[str, Array]
) -> Answer:
    """Of what student.py says of a file, and its arrays."""
    if "failed" in about:
        return Answer(sentence(exercise, about["failed"]), printed=about["printed"])
    gradients = [
        {leaf: arrays[f"{k}.{leaf}"] for leaf in exercise.leaves if f"{k}.{leaf}" in arrays}
        for k in range(len(exercise.draws))
    ]
    kept = {name: about[name] for name in ("kinds", "changed", "texts", "printed")}
    return Answer(layout=LAYOUTS[about["layout"]], gradients=gradients, **kept)


def ended(file: Path, work: Path, seconds: float) -> dict[str, Any]:
    """Without an answer: where it was when its time was over, or that it broke off."""
    stage, where = ((work / name) for name in ("stage", "timeout.txt"))
    told = where.read_text() if where.exists() else ""
    found = {"stage": stage.read_text() if stage.exists() else "import", "seconds": seconds}
    if not told:
        errors = (work / "errors.txt").read_text(errors="replace").strip().splitlines()
        return found | {"type": "died", "message": errors[-1] if errors else ""}
    lines = re.findall(rf'File "{re.escape(str(file.resolve()))}", line (\d+)', told)
    if not lines:
        return found | {"type": "time", "message": ""}
    text = file.read_text(encoding="utf-8", errors="replace").splitlines()[int(lines[0]) - 1]
    return found | {"type": "time", "message": "", "line": int(lines[0]), "text": text}
