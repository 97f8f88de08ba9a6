"""Whose line is it: where an equation stands in the user's files."""

import linecache
import site
import sysconfig
import traceback
from pathlib import Path
from typing import Any, NamedTuple

import jax

from jaxnet import _graph

_HERE = Path(__file__).parent
_LIBRARIES = (
    *site.getsitepackages(),
    site.getusersitepackages(),
    sysconfig.get_paths()["stdlib"],
    "<frozen",
)
_JAX = str(Path(jax.__file__).parent)
# What traces the user's functions for them. The rules of this library are judged as the user's own.
_OURS = (
    str(_HERE),
    *(str(_HERE.parent / name) for name in ("_rule.py", "_auto.py", "_modes.py", "_graph")),
)


class Frame(NamedTuple):
    """A line of Python that was running when an equation was made."""

    file: str
    line: int
    function: str

    @property
    def place(self) -> str:
        return f"{Path(self.file).name}:{self.line}"

    @property
    def name(self) -> str:
        """Of the function, without the class or function that it is defined in."""
        return self.function.rpartition(".")[2]

    def text(self) -> str:
        """The line as it stands in the file ('' where it cannot be read)."""
        return linecache.getline(self.file, self.line).strip()


def is_users(file: str) -> bool:
    return not file.startswith((*_LIBRARIES, *_OURS))


def place_of(e: BaseException) -> str:
    """file:line of the user's innermost frame from which it was raised ('' where there is none)."""
    stack = traceback.extract_tb(e.__traceback__)
    mine = [Frame(f.filename, f.lineno or 0, f.name) for f in stack if is_users(f.filename)]
    return mine[-1].place if mine else ""


def frames(e: Any) -> list[Frame]:
    """The Python frames that made the equation, innermost first."""
    traceback = e.source_info.traceback
    if not traceback:
        return []
    return [Frame(f.file_name, f.line_num, f.function_name) for f in traceback.frames]


def users_frames(e: Any) -> list[Frame]:
    return [f for f in frames(e) if is_users(f.file)]


def is_call_of_a_library(e: Any) -> bool:
    """Whether the equation calls a function that is defined in an installed library."""
    inner = _graph.first_inner_jaxpr(e)
    if inner is None or not _graph.is_call(e):
        return False
    file = _graph.file_of_function(inner)
    return bool(file) and not is_users(file)


def stops_gradient(jaxpr: Any) -> bool:
    """Whether the user's own files call stop_gradient."""
    return any(
        e.primitive.name == "stop_gradient"
        and not any(map(is_call_of_a_library, chain))
        and _is_called_by_user(e)
        for e, chain in _graph.equations(jaxpr)
    )


def keeps_rules(jaxpr: Any) -> bool:
    """Whether it calls custom rules, other than inside the functions of a library."""
    return any(
        _graph.kind_of_rule(e) is not None and not any(map(is_call_of_a_library, chain))
        for e, chain in _graph.equations(jaxpr)
    )


def _is_called_by_user(e: Any) -> bool:
    """Whether it is the user's line that called the function of JAX which made the equation."""
    for frame in frames(e):
        if "stop_gradient" not in frame.function and not frame.file.startswith(_JAX):
            return is_users(frame.file)
    return False
