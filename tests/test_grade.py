"""python -m jaxnet grade: right solutions pass, wrong ones are named."""

import pytest
from graded import grade_here
from right_solutions import RIGHT
from wrong_solutions import WRONG, Solution


def said_of(grade):
    return "\n".join([grade.message, grade.hint, *(f"{x.text} {x.hint}" for x in grade.leaves)])


def names_it(solution, grade):
    """Whether one of the words that name the mistake is in what is said."""
    return any(word in said_of(grade) for word in solution.names.split("|"))


def of_exercise(solution: Solution):
    return solution.exercise


@pytest.mark.many
@pytest.mark.parametrize("solution", RIGHT, ids=of_exercise)
def test_a_right_solution_is_called_right(solution, tmp_path):
    grade = grade_here(solution, tmp_path)
    assert grade.ok, str(grade)
    assert not grade.hint


@pytest.mark.many
@pytest.mark.parametrize("solution", WRONG, ids=of_exercise)
def test_a_wrong_solution_is_rejected_by_its_leaf(solution, tmp_path):
    grade = grade_here(solution, tmp_path)
    assert not grade.ok
    if solution.wrong:
        bad = [leaf.name for leaf in grade.leaves if leaf.verdict != "right"]
        assert bad == solution.wrong.split(), str(grade)
    else:
        assert grade.message


@pytest.mark.many
def test_most_mistakes_are_named(tmp_path, capsys):
    """And it shows which are not: python -m pytest --cases=0/1 -s -k most_mistakes."""
    by_name = [(solution, grade_here(solution, tmp_path)) for solution in WRONG]
    others = [(s, grade) for s, grade in by_name if not names_it(s, grade)]
    misled = [grade for _, grade in others if grade.hint or any(x.hint for x in grade.leaves)]
    with capsys.disabled():
        print(f"\n{len(WRONG) - len(others)} of {len(WRONG)} mistakes are named, ", end="")
        print(f"{len(misled)} by the name of another")
        for solution, grade in others:
            print(f"not {solution.names!r}:\n{grade}")
    assert len(WRONG) >= 60
    assert len(WRONG) - len(others) >= 50
    assert len(misled) <= len(WRONG) / 20
