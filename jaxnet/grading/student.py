"""Runs a student's file: a process of its own, which starts with NumPy alone.

python -P student.py FILE FOLDER: the folder holds calls.json and calls.npz, what to call the file's
functions with, and gets answer.json and answer.npz.
"""

import contextlib
import faulthandler
import importlib.util
import inspect
import json
import sys
import traceback
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

MOST_PRINTED = 2000  # characters
Arrays = Mapping[str, NDArray[Any]]
Found = dict[str, NDArray[Any] | str]  # an array, or what there is in its place


class Printed:
    """Stands for sys.stdout and keeps the beginning."""

    def __init__(self) -> None:
        self.text = ""

    def write(self, text: str) -> int:
        self.text += text[: MOST_PRINTED - len(self.text)]
        return len(text)

    def flush(self) -> None:
        pass


class Failed(Exception):
    """What the file does instead of answering, as a dict."""

    def __init__(self, **what: Any) -> None:
        super().__init__(what)
        self.what = what


@contextlib.contextmanager
def told(stage: str, path: Path) -> Iterator[None]:
    """Whatever the student's code raises becomes Failed, with the line of his file."""
    try:
        yield
    except Failed:
        raise
    except BaseException as error:  # SystemExit too
        raise Failed(stage=stage, **described(error, path)) from error


def described(error: BaseException, path: Path) -> dict[str, Any]:
    frames = [f for f in traceback.walk_tb(error.__traceback__) if is_of(f[0], path)]
    found: dict[str, Any] = {"type": type(error).__name__, "message": str(error)}
    if isinstance(error, SyntaxError):
        return found | {"message": error.msg, "line": error.lineno, "text": error.text or ""}
    if not frames:
        return found
    frame, line = frames[-1]
    lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    arrays = {k: np.shape(v) for k, v in frame.f_locals.items() if is_array(v)}
    inside = frame.f_code.co_name != "<module>"
    return found | {"line": line, "text": lines[line - 1], "shapes": arrays if inside else {}}


def is_of(frame: Any, path: Path) -> bool:
    return bool(frame.f_code.co_filename == str(path))


def is_array(value: Any) -> bool:
    return isinstance(getattr(value, "shape", None), tuple)


def load(path: Path) -> Any:
    """The file as a module, imports of its neighbours included."""
    sys.path.append(str(path.parent))
    spec = importlib.util.spec_from_file_location("students_file", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    with told("import", path):
        spec.loader.exec_module(module)
    return module


def uses_jax(module: Any) -> bool:
    return any(package_of(value) == "jax" for value in vars(module).values())


def package_of(value: Any) -> str:
    """Of a module, or of what a module holds."""
    name = value.__name__ if inspect.ismodule(value) else getattr(value, "__module__", "")
    return str(name).partition(".")[0]


def given(arrays: Arrays, draw: int, layout: str, names: list[str], with_jax: bool) -> list[Any]:
    """Fresh copies: students write into what they are given."""
    found: list[Any] = [arrays[f"{draw}.{layout}.{name}"].copy() for name in names]
    if with_jax:
        import jax.numpy as jnp

        found = [jnp.asarray(x) for x in found]
    return found


def agrees(value: Any, expected: NDArray[Any]) -> bool:
    try:
        value = np.asarray(value, float)
    except (TypeError, ValueError):
        return False
    return value.shape == expected.shape and np.allclose(value, expected, 1e-4, 1e-5)


def layouts_of_forward(module: Any, calls: Any, arrays: Arrays, with_jax: bool) -> list[str]:
    """Those in which the student's forward computes what the exercise's does."""
    forward = getattr(module, "forward", None)
    if not callable(forward):
        return list(calls["layouts"])
    fitting = []
    for layout in calls["layouts"]:
        arguments = given(arrays, 0, layout, calls["inputs"], with_jax)
        with contextlib.suppress(Exception):
            if agrees(forward(*arguments), arrays[f"0.{layout}.value"]):
                fitting.append(layout)
    return fitting


def by_leaf(result: Any, leaves: list[str]) -> dict[str, Any]:
    """What backward returned, by the name of the argument."""
    if isinstance(result, dict):
        known = {str(key).removeprefix("grad_").removeprefix("d"): v for key, v in result.items()}
        known |= {str(key): value for key, value in result.items()}
        return {leaf: known.get(leaf, ...) for leaf in leaves}
    many = list(result) if isinstance(result, tuple | list) else [result]
    if result is None and len(leaves) > 1:
        raise Failed(stage="backward", type="None", message="")
    if len(many) != len(leaves):
        raise Failed(stage="backward", type="count", message=str(len(many)))
    return dict(zip(leaves, many, strict=True))


def as_array(value: Any) -> NDArray[Any] | str:
    """Or what it is instead."""
    if value is None:
        return "None"
    if value is Ellipsis:
        return "missing"
    try:
        array = np.asarray(value)
        if array.dtype.kind not in "biuf":
            array = array.astype(float)
    except (TypeError, ValueError):
        return type(value).__name__
    return array if array.dtype.kind in "biuf" else type(value).__name__


class Student:
    def __init__(self, module: Any, path: Path, calls: Any, arrays: Arrays) -> None:
        self.module, self.path, self.calls, self.arrays = module, path, calls, arrays
        self.with_jax = uses_jax(module)
        self.changed: list[str] = []

    def gradients(self, draw: int, layout: str) -> Found:
        names = self.calls["inputs"] + self.calls["cotangent"]
        arguments = given(self.arrays, draw, layout, names, self.with_jax)
        with told("backward", self.path):
            result = self.module.backward(*arguments)
        for name, argument in zip(names, arguments, strict=True):
            is_as_before = np.array_equal(argument, self.arrays[f"{draw}.{layout}.{name}"])
            if not is_as_before and name not in self.changed:
                self.changed.append(name)
        return {k: as_array(v) for k, v in by_leaf(result, self.calls["leaves"]).items()}

    def fits(self, found: Found, layout: str) -> bool:
        return all(
            not isinstance(v, str) and v.shape == self.arrays[f"0.{layout}.{k}"].shape
            for k, v in found.items()
        )

    def first(self, fitting: list[str]) -> tuple[str, Found]:
        """The layout of the forward, or columns, where the backward alone is written in them."""
        outcomes: list[tuple[str, Found | Failed]] = []
        layouts: list[str] = [*fitting, *self.calls["columns"]]
        for layout in layouts:
            try:
                found = self.gradients(0, layout)
            except Failed as failed:
                outcomes.append((layout, failed))
            else:
                if self.fits(found, layout):
                    return layout, found
                outcomes.append((layout, found))
            sys.stdout = Printed()  # what the file prints at first is enough
        layout, outcome = outcomes[0]
        if isinstance(outcome, Failed):
            raise outcome
        return layout, outcome


def answer(path: Path, calls: Any, arrays: Arrays, say: Any) -> tuple[dict[str, Any], Any]:
    """What is said of the file, and its arrays. say: is told the stage it is in."""
    printed = Printed()
    with contextlib.redirect_stdout(printed), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            about, found = run(path, calls, arrays, say)
        except Failed as failed:
            about, found = {"failed": failed.what}, {}
    return about | {"printed": printed.text}, found


def run(path: Path, calls: Any, arrays: Arrays, say: Any) -> tuple[dict[str, Any], Any]:
    say("import")
    module = load(path)
    if not callable(getattr(module, "backward", None)):
        raise Failed(stage="import", type="no backward", message="")
    student = Student(module, path, calls, arrays)
    say("forward")
    fitting = layouts_of_forward(module, calls, arrays, student.with_jax)
    if not fitting:
        raise Failed(stage="forward", type="other values", message="")
    say("backward")
    layout, first = student.first(fitting)
    sys.stdout = Printed()
    others = [student.gradients(draw, layout) for draw in range(1, calls["draws"])]
    texts = {name: str(getattr(module, name, "")) for name in ("WRONG", "WHY")}
    about = {"layout": layout, "changed": student.changed, "texts": texts}
    kinds, found = sorted_out([first, *others])
    return about | {"kinds": kinds}, found


def sorted_out(gradients: list[Found]) -> tuple[dict[str, str], dict[str, NDArray[Any]]]:
    """What there is of each leaf, in words, and the arrays by draw."""
    kinds, arrays = {}, {}
    for draw, found in enumerate(gradients):
        for leaf, value in found.items():
            kinds[leaf] = value if isinstance(value, str) else "array"
            if not isinstance(value, str):
                arrays[f"{draw}.{leaf}"] = value
    return kinds, arrays


def main(file: str, folder: str) -> None:
    path, work = Path(file), Path(folder)
    calls = json.loads((work / "calls.json").read_text())
    with np.load(work / "calls.npz") as archive:
        arrays = dict(archive)
    stage = (work / "stage").write_text
    with open(work / "timeout.txt", "w") as where:
        faulthandler.dump_traceback_later(calls["seconds"], file=where, exit=True)
        about, found = answer(path, calls, arrays, stage)
        faulthandler.cancel_dump_traceback_later()
    np.savez(work / "answer.npz", **found)
    (work / "answer.json").write_text(json.dumps(about))


if __name__ == "__main__":
    main(*sys.argv[1:])
