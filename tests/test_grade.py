"""python -m jaxnet grade: right solutions pass, wrong ones are named, and every failure is told."""

import csv
import json
import textwrap

import numpy as np
import pytest
from graded import exercise, grade_here, text_of
from right_solutions import RIGHT
from wrong_solutions import WRONG, Solution

from jaxnet.__main__ import main
from jaxnet.grading import grade
from jaxnet.grading.exercise import EXERCISES, exercise_of, exercises_in
from jaxnet.grading.kinds import Made, kind_of


def said_of(found):
    return "\n".join([found.message, found.hint, *(f"{x.text} {x.hint}" for x in found.leaves)])


def names_it(solution, found):
    """Whether one of the words that name the mistake is in what is said."""
    return any(word in said_of(found) for word in solution.names.split("|"))


def of_exercise(solution: Solution):
    return solution.exercise


@pytest.mark.many
@pytest.mark.parametrize("solution", RIGHT, ids=of_exercise)
def test_a_right_solution_is_called_right(solution, tmp_path):
    found = grade_here(solution, tmp_path)
    assert found.ok, str(found)
    assert not found.hint


@pytest.mark.many
@pytest.mark.parametrize("solution", WRONG, ids=of_exercise)
def test_a_wrong_solution_is_rejected_by_its_leaf(solution, tmp_path):
    found = grade_here(solution, tmp_path)
    assert not found.ok
    if solution.wrong:
        bad = [leaf.name for leaf in found.leaves if leaf.verdict != "right"]
        assert bad == solution.wrong.split(), str(found)
    else:
        assert found.message


@pytest.mark.many
def test_most_mistakes_are_named(tmp_path, capsys):
    """And it shows which are not: python -m pytest --cases=0/1 -s -k most_mistakes."""
    by_name = [(solution, grade_here(solution, tmp_path)) for solution in WRONG]
    others = [(s, found) for s, found in by_name if not names_it(s, found)]
    misled = [found for _, found in others if found.hint or any(x.hint for x in found.leaves)]
    with capsys.disabled():
        print(f"\n{len(WRONG) - len(others)} of {len(WRONG)} mistakes are named, ", end="")
        print(f"{len(misled)} by the name of another")
        for solution, found in others:
            print(f"not {solution.names!r}:\n{found}")
    assert len(WRONG) >= 60
    assert len(WRONG) - len(others) >= 50
    assert len(misled) <= len(WRONG) / 20


@pytest.mark.many
@pytest.mark.parametrize("path", sorted(EXERCISES.glob("*.py")), ids=lambda path: path.stem)
def test_what_the_hints_are_made_of_is_right(path):
    """Without a mistake, the pieces give autodiff's numbers."""
    kind, (draw, *_) = kind_of(exercise(path.stem)), exercise(path.stem).draws
    if kind is not None:  # of others the hints come from terms
        found = kind.gradients(draw, Made())
        for name in draw.truth:
            np.testing.assert_allclose(found[name], draw.truth[name], 1e-9, 1e-12)


def test_every_known_mistake_changes_something():
    draw, kind = exercise("5_one_hidden").draws[0], kind_of(exercise("5_one_hidden"))
    for mistake in kind.mistakes(everywhere=True):
        wrong = kind.gradients(draw, Made((mistake,)))
        same = all(np.allclose(wrong[name], draw.truth[name]) for name in draw.truth)
        assert not same, mistake.words


def test_an_exercise_has_at_most_forty_lines():
    files = exercises_in(EXERCISES)
    assert len(files) == 8
    for found in files:
        assert len(found.path.read_text(encoding="utf-8").splitlines()) <= 40


# ---- files that do not answer

BACKWARD = "def backward(x, W, b, dy):\n    "
RIGHT_ONE = "return dy @ W, dy.T @ x, dy.sum(axis=0)"
SAID = {  # code -> what is said of it
    BACKWARD + "return dy @ W, dy.T @ x, db": ["NameError: name 'db'", "line 17", "only its arg"],
    BACKWARD + "return dy @ W, dy.T @ x, dy.sum(axis=0": ["SyntaxError", "bracket"],
    BACKWARD + "dx = dy @ W": ["backward returns None", "return dx, dW, db"],
    BACKWARD + "return dy @ W, dy.T @ x": ["must return 3 arrays, dx, dW, db", "returns 2 arrays"],
    BACKWARD + "return dy @ W.T, 0 * W, 0 * b": ["go together", "W [3, 5]", "dy [7, 3]"],
    BACKWARD + "raise NotImplementedError": ["not written yet"],
    BACKWARD + "return backward(x, W, b, dy)": ["RecursionError", "without end"],
    BACKWARD + "x[99] = 0\n    " + RIGHT_ONE: ["IndexError", "larger than its axis"],
    BACKWARD + "return dy @ W, 'dW', dy.sum(0)": ["a str and no array", "2 of 3"],
    BACKWARD + "return dy @ W, dy.T @ x, dy.sum(0) / 0": ["divided by 0, or overflows", "2 of 3"],
    BACKWARD + "return dy @ W, [[1], [2, 3]], dy.sum(0)": ["a list and no array"],
    BACKWARD + "return {'dx': dy @ W, 'dW': dy.T @ x}": ["not written yet", "2 of 3"],
    BACKWARD + "print('mine')\n    " + RIGHT_ONE: ["3 of 3", "printed:\n    mine"],
    BACKWARD + "dy *= 1.0\n    dy[:] = 0\n    return x, W, b": ["backward writes into dy"],
    "def backward(x, dy):\n    return dy": ["backward is called with x, W, b, dy"],
    "def backwards(x, W, b, dy):\n    " + RIGHT_ONE: ["no function `backward`"],
    "import torchy\n" + BACKWARD + RIGHT_ONE: ["ModuleNotFoundError", "line 16"],
    "exit()\n" + BACKWARD + RIGHT_ONE: ["SystemExit", "leave that out"],
    "def forward(x, W, b):\n    return x @ W.T\n" + BACKWARD + RIGHT_ONE: ["something else than"],
}


def test_what_goes_wrong_is_told_in_words(tmp_path):
    for code, words in SAID.items():
        found = grade_here(Solution("1_linear", code), tmp_path)
        for word in words:
            assert word in str(found), f"{code}\n{found}"


@pytest.fixture
def write(tmp_path):
    def written(code, name="1_linear"):
        file = tmp_path / f"{name}.py"
        file.write_text(text_of(Solution("1_linear", textwrap.dedent(code))), encoding="utf-8")
        return file

    return written


def test_a_file_that_never_ends_is_stopped(write):
    endless = write("""
        import subprocess, sys
        def backward(x, W, b, dy):
            while True:
                dy = dy + 1
    """)
    found = grade(endless, seconds=1)
    assert not found.ok
    assert "After 1 seconds the file was still running" in found.message
    assert "line 2" in found.message  # 20 or 21


@pytest.mark.many
@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("import os\nos._exit(3)", "broke off without an answer"),
        ("n = input()", "asks for input()"),
        ("while True:\n    print('and on and on')", "still running, in line"),
        (BACKWARD + "import numpy\n    return numpy.ones((9**6, 9**6)), W, b", "far too large"),
    ],
)
def test_of_a_process_of_its_own(write, code, words):
    assert words in grade(write(code), seconds=2).message


# ---- the command


def test_a_class_in_one_command(tmp_path, monkeypatch, capsys):
    for student, last in (("anna", "dy.sum(axis=0)"), ("ben", "dy.mean(axis=0)")):
        folder = tmp_path / "class" / student
        folder.mkdir(parents=True)
        code = BACKWARD + f"return dy @ W, dy.T @ x, {last}"
        (folder / "1_linear.py").write_text(text_of(Solution("1_linear", code)), encoding="utf-8")
    out = tmp_path / "out.csv"
    assert main(["grade", str(tmp_path / "class"), "--csv", str(out)]) == 1
    assert capsys.readouterr().out == "2 files: 1 wholly right, 5 of 6 points\n"
    anna, ben = csv.DictReader(out.read_text(encoding="utf-8").splitlines())
    assert (anna["file"], anna["points"], anna["right"]) == ("anna/1_linear.py", "3", "dx dW db")
    assert (ben["points"], ben["wrong"]) == ("2", "db")
    assert "a mean over the batch" in ben["hint"]


@pytest.mark.many
def test_one_file_is_proved_trained_and_drawn(write, capsys):
    file = write(BACKWARD + RIGHT_ONE)
    assert main(["grade", str(file)]) == 0
    said = capsys.readouterr().out
    assert "proved, as algebra, where nothing rounds: dx and dW and db" in said
    assert "% of the test set" in said
    assert file.with_suffix(".png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.many
def test_json(write, capsys):
    assert main(["grade", str(write(BACKWARD + "return x, W, b")), "--json", "--quick"]) == 1
    (found,) = json.loads(capsys.readouterr().out)
    assert (found["points"], found["of"], found["ok"]) == (0, 3, False)
    assert found["leaves"][0]["hint"] == "the input is returned as it is, not its derivative"


def test_which_exercise_it_is(tmp_path):
    exercises = exercises_in(EXERCISES)
    for name, expected in {
        "1_linear.py": "1_linear",
        "anna_relu_final (2).py": "2_relu",
        "two_hidden/solution.py": "6_two_hidden",
    }.items():
        found = exercise_of(tmp_path / name, exercises)
        assert found is not None
        assert found.name == expected
    assert exercise_of(tmp_path / "solution.py", exercises) is None


@pytest.mark.parametrize(
    ("words", "arguments"),
    [("which exercise is it?", ["pyproject.toml"]), ("no such file", ["relu.py"])],
)
def test_a_wrong_command_is_told(words, arguments, capsys):
    with pytest.raises(SystemExit) as ended:
        main(["grade", *arguments])
    assert ended.value.code == 2
    assert words in capsys.readouterr().err


@pytest.mark.many
def test_an_exercise_of_ones_own_is_ten_lines(tmp_path):
    mine = tmp_path / "exercises"
    mine.mkdir()
    (mine / "tanh.py").write_text(
        textwrap.dedent('''
            """Tanh. Write its backward."""
            import numpy as np
            SHAPES = {"x": "N D"}
            def forward(x):
                return np.tanh(x)
            def backward(x, dy):
                return ...  # TODO
        ''')
    )
    solution = (mine / "tanh.py").read_text()
    for body, points in (("dy * (1 - np.tanh(x) ** 2)", 1), ("dy * (1 - np.tanh(x))", 0)):
        file = tmp_path / "anna_tanh.py"
        file.write_text(solution.replace("...", body))
        assert grade(file, exercise=mine).points == points
