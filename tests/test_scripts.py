"""scripts/ stays in order: a few commands, the rooms behind them, and no way back."""

import ast
import graphlib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SCRIPTS = ROOT / "scripts"
PATHS = sorted(SCRIPTS.rglob("*.py"))
TESTS = {path.stem for path in (ROOT / "tests").glob("*.py")}
COMMANDS = {"train", "report", "benchmark", "make_data", "ecosystem"}
# A room -> the command it is for.
BEHIND = {
    "reporting": "report",
    "benchmarks": "benchmark",
    "training": "train",
    "trial": "ecosystem",
}
EVERY_SCRIPT = pytest.mark.parametrize(
    "path", PATHS, ids=lambda path: str(path.relative_to(SCRIPTS))
)


def module_name(path):
    parts = path.relative_to(SCRIPTS).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {module_name(path): path for path in PATHS}


def imported(path):
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            names = (f"{node.module}.{alias.name}" for alias in node.names)
            yield from (name if name in MODULES else node.module or "" for name in names)


def test_a_person_sees_the_commands():
    assert {path.stem for path in SCRIPTS.glob("*.py")} == COMMANDS


@EVERY_SCRIPT
def test_a_room_is_for_its_command_alone(path):
    here = module_name(path).partition(".")[0]
    for name in imported(path):
        room = name.partition(".")[0]
        assert room not in COMMANDS
        assert room not in BEHIND or here in (room, BEHIND[room])


def test_no_circle_of_scripts():
    graph = {name: set(imported(path)) for name, path in MODULES.items()}
    graphlib.TopologicalSorter(graph).prepare()  # raises CycleError, which names the circle


@EVERY_SCRIPT
def test_no_script_imports_from_the_tests(path):
    """The tests import the scripts, which they test: the other way closes a circle of folders."""
    modules = {name.partition(".")[0] for name in imported(path)}
    assert not modules & (TESTS | {"tests"})
    text = path.read_text(encoding="utf-8")
    assert "sys.path" not in text
    assert "tests" not in (node.value for node in ast.walk(ast.parse(text)) if is_text(node))


def is_text(node):
    return isinstance(node, ast.Constant) and isinstance(node.value, str)
