"""The house stays in order: who imports whom, public JAX only, what a user sees first."""

import ast
import graphlib
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
# Three rings: the core is what `import jaxnet` shows; other rules live in jaxnet.rules; tools
# are modules that the core never imports.
CORE = {
    "rule", "auto", "check", "audit", "Report", "Finding", "Audit",
    "linear", "relu", "softmax", "softmax_cross_entropy", "accuracy",
    "Layer", "NormLayer", "init_mlp", "pytorch_init", "course_init", "mlp",
    "fit", "update_step", "evaluate", "History", "NonFiniteLoss",
    "datasets", "rules",
}  # fmt: skip
NEVER = {  # what a module, or a package, never imports of the library
    "jaxnet._graph": ["jaxnet"],
    "jaxnet._require": ["jaxnet"],
    "jaxnet.datasets": ["jaxnet"],
    "jaxnet.rules": ["jaxnet.models", "jaxnet.training", "jaxnet.datasets", "jaxnet.checking"],
    "jaxnet.models": ["jaxnet.training", "jaxnet.datasets", "jaxnet.checking", "jaxnet.plotting"],
    "jaxnet.training": ["jaxnet.models", "jaxnet.datasets", "jaxnet.checking", "jaxnet.plotting"],
    "jaxnet.checking": ["jaxnet.rules", "jaxnet.models", "jaxnet.training", "jaxnet.datasets"],
    "jaxnet": ["jaxnet.plotting", "jaxnet.__main__"],  # tools
}


def module_name(path):
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def is_in(module, package):
    return module == package or module.startswith(package + ".")


def imports(path):
    """The modules of the library that a file imports, wherever in it."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if is_in(alias.name, "jaxnet"))
        elif isinstance(node, ast.ImportFrom) and is_in(node.module or "", "jaxnet"):
            names = (f"{node.module}.{alias.name}" for alias in node.names)
            yield from (name if name in MODULES else node.module for name in names)


MODULES = {module_name(path): path for path in SOURCES}


def test_no_circle_of_imports():
    graph = {module: set(imports(path)) for module, path in MODULES.items()}
    graphlib.TopologicalSorter(graph).prepare()  # raises CycleError, which names the circle


@pytest.mark.parametrize("module", MODULES)
def test_a_file_never_imports_what_stands_above_it(module):
    imported = set(imports(MODULES[module]))
    for package, never in NEVER.items():
        if is_in(module, package):
            above = {m for m in imported for n in never if is_in(m, n)}
            assert not above, f"{module} imports {above}"


def test_the_core_is_what_import_jaxnet_shows():
    tree = ast.parse((ROOT / "jaxnet" / "__init__.py").read_text(encoding="utf-8"))
    imported = [node for node in tree.body if isinstance(node, ast.ImportFrom)]
    assert {alias.asname for node in imported for alias in node.names} == CORE


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
