"""What the course hands out besides its derivation: the notebook, and the teacher's page."""

import os
import re
import subprocess
import sys

import pytest
from pages import ROOT, broken_links

from jaxnet.grading import grade
from jaxnet.grading.exercise import exercise_of, exercises_in

COURSE = ROOT / "docs" / "course"
NOTEBOOK = COURSE / "notebook.py"
TEACHER = (COURSE / "teacher.md").read_text(encoding="utf-8")


def run(*arguments, **more):
    environment = os.environ | {"PYTHONPATH": str(ROOT), "MPLBACKEND": "agg"}
    command = [sys.executable, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, env=environment, **more)


@pytest.mark.many
def test_the_notebook_says_what_it_promises(tmp_path):
    done = run(NOTEBOOK, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    right, wrong, proved, refuted = (
        done.stdout.index(said) for said in ("ok", "WRONG in `b`", "\nproved", "\nrefuted")
    )
    assert right < wrong < proved < refuted
    finals = re.findall(r"^(?:right|careless): (\S+) %", done.stdout, re.MULTILINE)
    both = list(map(float, finals))
    assert len(both) == 2
    assert min(both) > 95
    assert abs(both[0] - both[1]) <= 1


def test_the_notebook_is_small_and_leads_somewhere():
    cells = NOTEBOOK.read_text(encoding="utf-8").split("# %%")[1:]
    assert len(cells) <= 25
    assert not broken_links(NOTEBOOK)


def test_the_teachers_page_names_every_exercise():
    named = re.findall(r"^\| `(\w+)` \|", TEACHER, re.MULTILINE)
    assert named == sorted(path.stem for path in (COURSE / "exercises").glob("*.py"))


def test_files_of_a_class_are_named_as_the_teachers_page_says(tmp_path):
    names = re.search(r"in folders named so: (.*?)\. ", TEACHER, re.DOTALL)[1]
    exercises = exercises_in(COURSE / "exercises")
    for name in re.findall(r"`([^`]+)`", names):
        assert exercise_of(tmp_path / name, exercises).name == "1_linear"


@pytest.mark.many
def test_a_student_is_told_what_the_readme_shows(tmp_path):
    readme = (COURSE / "README.md").read_text(encoding="utf-8")
    shown = re.search(r"^```\n(1_linear.*?)^```$", readme, re.DOTALL | re.MULTILINE)[1]
    text = (COURSE / "exercises" / "1_linear.py").read_text(encoding="utf-8")
    for name, derivative in (("dx", "dy @ W"), ("dW", "x.T @ dy"), ("db", "dy.sum(axis=0)")):
        text = text.replace(f"{name} = ...", f"{name} = {derivative}")
    answer = tmp_path / "1_linear.py"
    answer.write_text(text, encoding="utf-8")
    assert str(grade(answer)).startswith(shown.strip())


@pytest.mark.many
def test_an_exercise_of_ones_own_is_judged(tmp_path):
    (example,) = re.findall(r"^```py\n(.*?)^```$", TEACHER, re.DOTALL | re.MULTILINE)
    mine, answer = tmp_path / "softplus.py", tmp_path / "anna_softplus.py"
    mine.write_text(example, encoding="utf-8")
    for backward, ok in (("dh / (1 + np.exp(-x))", True), ("dh / (1 + np.exp(x))", False)):
        answer.write_text(example.replace("...  # TODO", backward), encoding="utf-8")
        assert grade(answer, exercise=mine).ok == ok
