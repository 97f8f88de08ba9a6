"""The house stays in order: who imports whom, public JAX only, what a user sees first."""

import ast
import functools
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
    "rule", "auto", "both_modes", "check", "audit", "Report", "Finding", "Audit",
    "check_sizes", "ReportOfSizes",
    "prove", "prove_sizes", "Proof", "LeafProof", "ProofOfSizes",
    "linear", "relu", "softmax", "softmax_cross_entropy", "class_weighted", "accuracy",
    "Layer", "NormLayer", "init_mlp", "pytorch_init", "course_init", "mlp",
    "Network", "save", "load_network",
    "fit", "update_step", "evaluate", "History", "NonFiniteLoss",
    "datasets", "rules", "metrics",
}  # fmt: skip
TRAINING = (
    "jaxnet.training",
    "jaxnet._history",
    "jaxnet._checkpoint",
    "jaxnet._facts",
    "jaxnet._training_run",
    "jaxnet._training_program",
    "jaxnet._training_step",
    "jaxnet._devices",
    "jaxnet._training_arguments",
    "jaxnet._training_data",
    "jaxnet._training_functions",
    "jaxnet._progress",
)
NEVER = {  # what a module, or a package, never imports of the library (but its own rooms)
    **dict.fromkeys(
        ("jaxnet._graph", "jaxnet._require", "jaxnet._files", "jaxnet.datasets"), ("jaxnet",)
    ),
    **dict.fromkeys(TRAINING, ("jaxnet.models", "jaxnet.datasets")),  # they are arguments
    "jaxnet.rules": ("jaxnet.models", "jaxnet.datasets", *TRAINING),
    "jaxnet.models": ("jaxnet.datasets", *TRAINING),
    "jaxnet.checking": ("jaxnet.rules", "jaxnet.models", "jaxnet.datasets", *TRAINING),
    "jaxnet.proving": (
        "jaxnet._require", "jaxnet.checking", "jaxnet.rules", "jaxnet.models", "jaxnet.datasets",
        *TRAINING,
    ),  # it needs _graph and _auto alone
    "jaxnet.grading": ("jaxnet.checking", "jaxnet.rules", "jaxnet.models"),
    "jaxnet.plotting": ("jaxnet.grading", "jaxnet.__main__"),
}  # fmt: skip
TOOLS = ("jaxnet.plotting", "jaxnet.grading", "jaxnet.__main__")


def module_name(path):
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def is_in(module, package):
    return module == package or module.startswith(package + ".")


@functools.cache
def imports(path):
    """The modules of the library that a file imports, wherever in it."""
    return tuple(_imports(path))


def _imports(path):
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
            own = {m for m in imported if is_in(m, package)} if "jaxnet" in never else set()
            above = {m for m in imported - own for n in never if is_in(m, n)}
            assert not above, f"{module} imports {above}"


def is_tool(module):
    return any(is_in(module, tool) for tool in TOOLS)


def test_the_core_never_imports_a_tool():
    for module, path in MODULES.items():
        assert is_tool(module) or not list(filter(is_tool, imports(path))), module


def test_the_checker_is_imported_by_the_doors_alone():
    outside = [m for m in MODULES if not is_in(m, "jaxnet.checking")]
    importing = [
        m for m in outside if any(is_in(i, "jaxnet.checking") for i in imports(MODULES[m]))
    ]
    assert set(importing) <= {"jaxnet", "jaxnet.__main__"}


def test_the_core_is_what_import_jaxnet_shows():
    tree = ast.parse((ROOT / "jaxnet" / "__init__.py").read_text(encoding="utf-8"))
    imported = [node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
    shown = {alias.asname for node in imported for alias in node.names}
    # None: what is not shown under a name of its own
    assert shown - {None, "__version__"} == CORE
    assert set(dir(jaxnet)) >= CORE


@pytest.mark.parametrize(
    "path", SOURCES + sorted((ROOT / "scripts").rglob("*.py")), ids=lambda path: path.name
)
def test_public_jax_only(path):
    text = path.read_text(encoding="utf-8")
    assert "jax._src" not in text
    assert not re.search(r"allow_pickle=True|^import pickle|^from pickle", text, re.MULTILINE)


def test_importing_jaxnet_imports_little():
    """No package that jax, optax and NumPy do not, and neither the checker nor the prover."""
    program = """
import sys, jax, numpy, optax
print(*sys.modules)
import jaxnet
print(*sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    before, after = map(str.split, done.stdout.splitlines())
    assert not [m for m in after if is_in(m, "jaxnet.checking") or is_in(m, "jaxnet.proving")]
    assert packages_of(after) - packages_of(before) == {"jaxnet"}


def packages_of(modules):
    return {module.partition(".")[0] for module in modules}


def public_names():
    every = {name: getattr(jaxnet, name) for name in dir(jaxnet)} | vars(jaxnet.rules)
    return {name: member for name, member in every.items() if not name.startswith("_")}


def test_no_module_bears_the_name_of_a_public_function():
    modules = {
        name.rpartition(".")[2] for _, name, _ in pkgutil.walk_packages(jaxnet.__path__, "jaxnet.")
    }
    functions = {name for name, member in public_names().items() if not inspect.ismodule(member)}
    assert not modules & functions


def test_every_public_name_is_documented():
    for name, member in public_names().items():
        if not inspect.ismodule(member):
            assert inspect.getdoc(member), f"{name} has no docstring"


def test_every_module_says_what_it_is():
    for _, name, _ in pkgutil.walk_packages(jaxnet.__path__, "jaxnet."):
        if name != "jaxnet.__main__":
            assert importlib.import_module(name).__doc__, name


# ---- airy code

MOST_BRANCHES, MOST_LINES, MOST_POSITIONAL, WIDEST = 10, 60, 7, 100
EXCEPTIONS = {  # function -> why it is longer or more branched
    "element_at": "a truth table, a return for each row",
}
AIRY = [
    *SOURCES,
    *sorted((ROOT / "tests").rglob("*.py")),
    *sorted((ROOT / "scripts").rglob("*.py")),
]


def branches(function):
    """1, and one for every if, for, while, except, comprehension, conditional, `and` and `or`."""
    forks = (ast.If, ast.For, ast.While, ast.IfExp, ast.ExceptHandler, ast.comprehension)
    nodes = list(ast.walk(function))
    of_words = sum(len(node.values) - 1 for node in nodes if isinstance(node, ast.BoolOp))
    return 1 + sum(isinstance(node, forks) for node in nodes) + of_words


def code_lines(function, lines):
    """Of the body, without its docstring and blank lines."""
    has_docstring = ast.get_docstring(function) is not None and len(function.body) > 1
    first = function.body[1 if has_docstring else 0]
    return sum(bool(line.strip()) for line in lines[first.lineno - 1 : function.end_lineno])


def positional(function):
    names = [a.arg for a in (*function.args.posonlyargs, *function.args.args)]
    return len([name for name in names if name not in ("self", "cls")])


def functions(path):
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


@pytest.mark.parametrize("path", AIRY, ids=lambda path: str(path.relative_to(ROOT)))
def test_code_is_airy(path):
    lines = path.read_text(encoding="utf-8").splitlines()
    assert max(map(len, lines), default=0) <= WIDEST
    for function in functions(path):
        if function.name not in EXCEPTIONS:
            assert branches(function) <= MOST_BRANCHES, function.name
            assert code_lines(function, lines) <= MOST_LINES, function.name
            assert positional(function) <= MOST_POSITIONAL, function.name


def test_exceptions_are_few_and_needed():
    named = {function.name for path in AIRY for function in functions(path)}
    assert len(EXCEPTIONS) <= 5
    assert set(EXCEPTIONS) <= named


# ---- one package knows how JAX writes a rule into a graph, and two files of it the forms of rules

GRAPH = ROOT / "jaxnet" / "_graph"
FORMS = {  # a word of JAX's -> the files that spell it, and no others
    "custom_vjp_call": {"forms.py"},
    "custom_jvp_call": {"forms.py"},
    "custom_vmap_call": {"forms.py"},
    "call_hi_primitive": {"forms.py", "objects.py"},
    "call_jaxpr": {"forms.py", "rewrite.py"},  # a plain call, put in a rule's place, has one too
    "ClosedJaxpr": {"jaxprs.py", "rewrite.py", "contents.py"},  # of any jaxpr, with a rule or not
}


@pytest.mark.parametrize("form", FORMS)
def test_these_files_alone_spell_the_forms_of_custom_rules(form):
    spelling = {path for path in SOURCES if form in path.read_text(encoding="utf-8")}
    assert spelling == {GRAPH / name for name in FORMS[form]}
