"""The house stays in order: who imports whom, public JAX only, what a user sees first."""

import ast
import importlib
import inspect
import pkgutil
import re
import subprocess
import sys
from pathlib import Path

import pytest

import jaxnet

ROOT = Path(__file__).parents[1]
SOURCES = sorted((ROOT / "jaxnet").rglob("*.py"))
FLOORS = {
    "jaxnet._checks": 0,
    "jaxnet._dtypes": 0,
    "jaxnet._rule": 0,
    "jaxnet.datasets": 0,
    "jaxnet.rules": 1,
    "jaxnet.models": 2,
    "jaxnet.training": 3,
    "jaxnet.plotting": 4,
    # aside: nothing but the package itself imports the checker
    "jaxnet.checking.problem": 0,
    "jaxnet.checking.findings": 0,
    "jaxnet.checking.graph": 1,
    "jaxnet.checking.differences": 1,
    "jaxnet.checking.transforms": 1,
    "jaxnet.checking.branches": 2,
    "jaxnet.checking.judge": 2,
    "jaxnet.checking.programs": 3,
    "jaxnet.checking.examination": 4,
    "jaxnet.checking.checker": 5,
    "jaxnet.checking.sites": 6,
    "jaxnet.checking": 7,
    "jaxnet": 8,
    "jaxnet.__main__": 8,
}


def module_name(path):
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def floor(module):
    """The floor of a module, or of the package that it is in."""
    while module not in FLOORS:
        assert "." in module, f"{module} has no floor: give it one in FLOORS"
        module = module.rpartition(".")[0]
        assert module != "jaxnet", "a new file of the library needs a floor in FLOORS"
    return FLOORS[module]


def imports(path):
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            for name in (f"{node.module}.{alias.name}" for alias in node.names):
                yield name if node.module == "jaxnet" or name in FLOORS else node.module


@pytest.mark.parametrize("path", SOURCES, ids=module_name)
def test_a_file_imports_only_from_floors_below(path):
    module = module_name(path)
    for imported in imports(path):
        if imported.startswith("jaxnet"):
            assert floor(imported) < floor(module), f"{module} imports {imported}"


def test_no_other_file_of_the_library_imports_the_checker():
    outside = [
        path
        for path in SOURCES
        if "checking" not in path.parts and path.stem not in ("__init__", "__main__")
    ]
    assert not [
        path.name
        for path in outside
        if any(name.startswith("jaxnet.checking") for name in imports(path))
    ]


@pytest.mark.parametrize(
    "path", SOURCES + sorted((ROOT / "scripts").glob("*.py")), ids=lambda path: path.name
)
def test_public_jax_only(path):
    text = path.read_text(encoding="utf-8")
    assert "jax._src" not in text
    assert not re.search(r"allow_pickle=True|^import pickle|^from pickle", text, re.MULTILINE)


def test_importing_jaxnet_imports_no_matplotlib():
    check = "import sys, jaxnet; sys.exit('matplotlib' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", check]).returncode == 0


def public_names():
    return {name: member for name, member in vars(jaxnet).items() if not name.startswith("_")}


def test_no_module_bears_the_name_of_a_public_function():
    modules = {
        name.rpartition(".")[2] for _, name, _ in pkgutil.walk_packages(jaxnet.__path__, "jaxnet.")
    }
    functions = {name for name, member in public_names().items() if not inspect.ismodule(member)}
    assert not modules & functions


def test_every_public_name_is_documented():
    for name, member in public_names().items():
        if not inspect.ismodule(member):
            assert inspect.getdoc(member), f"jaxnet.{name} has no docstring"


def test_every_module_says_what_it_is():
    for _, name, _ in pkgutil.walk_packages(jaxnet.__path__, "jaxnet."):
        if name != "jaxnet.__main__":
            assert importlib.import_module(name).__doc__, name
