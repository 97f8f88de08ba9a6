"""Report.repro: a script that shows what is wrong where jaxnet is not installed."""

import copy
import json
import os
import pickle
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import wrong_functions

import jaxnet

TESTS = Path(__file__).parent
pytestmark = pytest.mark.many
X = np.array([0.3, -1.2, 0.7, 2.0], np.float32)
ROWS = np.outer(X, [1, -2, 0.5]).astype(np.float32)
LARGE = np.random.default_rng(0).normal(size=(7, 30)).astype(np.float32)
PAIR = wrong_functions.Pair(X, X[::-1].copy())
# What is imported, its arguments, and under which transformations it is checked.
CASES = {
    "opposite": ((X,), ()),
    "loud": ((X,), ()),
    "clipped": ((X,), ()),
    "not_finite": ((np.array([0.5, 0.0, 2.0], np.float32),), ()),
    "tied": ((np.array([1.0, 2.0, 2.0], np.float32),), ()),
    "off_by_little": ((X,), ()),
    "rounding": ((np.array([5.0, 6.0, 7.0], np.float32),), ()),
    "in_complex": ((np.array([1 + 2j, 0.5 - 1j], np.complex64),), ()),
    "far_out": ((X,), ()),
    "by_row": ((ROWS,), ()),
    "of_both": ((X,), ()),
    "alone": ((X,), ()),
    "largest_of_row": ((ROWS,), ()),
    "with_labels": ((PAIR, np.array([1, 0, 1, 2])), ()),
    "gated": ((X, np.array(True)), ()),
    "of_no_size": ((X,), ()),
    "once": ((X,), ("grad of grad",)),
    "shifted": ((X,), ()),
    "another": ((X,), ()),
    "wide": ((LARGE,), ()),
}
# Runs every script, where no jaxnet can be imported, and tells what it printed and raised.
RUNNER = """
import contextlib, io, json, runpy, sys, traceback

class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "jaxnet":
            raise ImportError("jaxnet is not installed")

sys.meta_path.insert(0, Blocked())
said = {}
for path in sys.argv[1:]:
    printed, raised = io.StringIO(), ""
    with contextlib.redirect_stdout(printed):
        try:
            runpy.run_path(path, run_name="__main__")
        except Exception as e:
            raised = type(e).__name__ + ": " + str(e)
    said[path] = printed.getvalue(), raised
print(json.dumps(said))
"""


def report_of(name):
    args, transforms = CASES[name]
    return jaxnet.check(getattr(wrong_functions, name), *args, transforms=transforms)


def test_scripts_show_what_is_wrong_without_jaxnet(tmp_path):
    for name in CASES:
        report = report_of(name)
        assert not report.ok, name
        script = report.repro()
        assert len(script.splitlines()) <= 30, script
        assert f"from wrong_functions import {name} as f\n" in script
        (tmp_path / f"{name}.py").write_text(script)
    paths = [str(tmp_path / f"{name}.py") for name in CASES]
    run = [sys.executable, "-c", RUNNER, *paths]
    environment = os.environ | {"PYTHONPATH": str(TESTS)}
    done = subprocess.run(run, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    for path in paths:
        (printed, raised), script = said[path], Path(path).read_text()
        assert raised == "AssertionError: the rule is not right", f"{raised}\n{script}"
        assert ": the rule gives " in printed, script
        assert len(printed.splitlines()) == 1


# ---- one script at a time


def test_what_cannot_be_imported_is_asked_for_in_a_marked_line():
    wrong = jaxnet.relu.but(backward=lambda y, dy, *, slope_at_zero: (dy,))
    script = jaxnet.check(lambda x: wrong(x), X, transforms=()).repro()
    marked = [line for line in script.splitlines() if "HERE" in line]
    assert len(marked) == 1
    assert "f = None  # HERE: put the function in" in marked[0]
    assert "<lambda> (test_check_repro.py:" in marked[0]
    raised = execute(script.replace(marked[0], "f = given"), given=lambda x: wrong(x))
    assert "not right" in raised


def test_a_rule_is_imported_by_its_own_name():
    """A rule bears the name of the function that it is attached to, which has no rule."""
    assert wrong_functions.another.__name__ == "forward_of_another"
    script = report_of("another").repro()
    assert "from wrong_functions import another as f" in script
    assert script.startswith("# another: WRONG")


def test_a_reference_is_what_the_rule_is_held_against():
    """The values of f itself say that its gradient is 0."""
    report = jaxnet.check(jnp.round, X, ref=wrong_functions.line, transforms=())
    assert not report.ok
    script = report.repro()
    assert "from wrong_functions import line as ref" in script
    assert "+ k * step, ref)" in script


def test_an_argument_may_have_any_name():
    wrong = wrong_functions.opposite

    def of_many(k, f, sum, step):
        return wrong(k) * f["a b"] + sum + step[0]

    report = jaxnet.check(of_many, X, {"a b": X}, X, [X, None], transforms=())
    script = report.repro()
    assert "of_many (test_check_repro.py:" in script
    marked = next(line for line in script.splitlines() if "HERE" in line)
    assert "not right" in execute(script.replace(marked, "f = given"), given=of_many)


def test_integers_and_keys_are_written_too():
    def noisy(x, key, labels):
        return wrong_functions.opposite(x)[labels] + jax.random.normal(key, (2,), x.dtype)

    args = X, jax.random.key(3), np.array([0, 3], np.int32)
    script = jaxnet.check(noisy, *args, transforms=()).repro()
    assert 'labels = jnp.asarray(np.array([0, 3], "int32"))' in script
    assert "jax.random.wrap_key_data" in script


@pytest.mark.parametrize(
    ("report", "said"),
    [
        (lambda: jaxnet.check(jaxnet.relu, X, budget=0), "nothing is wrong with relu"),
        (lambda: jaxnet.check(jnp.sin, X), "NOT JUDGED"),
        (
            lambda: jaxnet.audit(wrong_functions.wide, LARGE, ref={"<lambda>": jnp.sin}),
            "not of an audit with ref=",
        ),
    ],
)
def test_what_has_no_script(report, said):
    found = report()
    with pytest.raises(ValueError, match=f"repro: .*{said}"):
        getattr(found, "whole", found).repro()


def test_a_whole_gradient_has_a_script():
    assert "import wide as f" in jaxnet.audit(wrong_functions.wide, LARGE).whole.repro()


def test_a_report_carries_its_case_nowhere():
    report = report_of("opposite")
    assert not [name for name in json.loads(report.json()) if name.startswith("_")]
    assert "_x" not in report.json()
    assert "_case" not in repr(report)
    assert copy.deepcopy(report).repro() == report.repro()
    elsewhere = pickle.loads(pickle.dumps(report))
    assert str(elsewhere) == str(report)
    with pytest.raises(ValueError, match="does not know the function"):
        elsewhere.repro()


def execute(script, **names):
    """What it raises, run here."""
    with jax.enable_x64(True), pytest.raises(AssertionError) as raised:
        exec(script.replace('jax.config.update("jax_enable_x64", True)', ""), names)
    return str(raised.value)
