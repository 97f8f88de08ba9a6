"""The catalogue: a file for each family of rules, and a point that moves no other point."""

import importlib
from dataclasses import replace
from pathlib import Path

import jax
import numpy as np
import pytest
from catalogue import ENTRIES, MEASURES
from catalogue.entry import Case, Entry, normals

import jaxnet

ROOT = Path(__file__).parents[1]
EVERY_ENTRY = pytest.mark.parametrize("entry", ENTRIES.values(), ids=list(ENTRIES))


def families(folder):
    return {path.name for path in folder.glob("_*.py")}


def test_catalogue_and_rules_have_the_same_files():
    assert families(ROOT / "scripts" / "catalogue") == families(ROOT / "jaxnet" / "rules")


@EVERY_ENTRY
def test_an_entry_stands_in_the_file_named_as_that_of_its_rule(entry):
    family = entry.rule.__module__.rpartition(".")[2]
    page = importlib.import_module(f"catalogue.{family}")
    assert any(value is entry for value in vars(page).values())


def assert_same(a, b):
    for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True):
        if jax.dtypes.issubdtype(x.dtype, jax.dtypes.prng_key):
            x, y = jax.random.key_data(x), jax.random.key_data(y)
        np.testing.assert_array_equal(x, y)


@EVERY_ENTRY
def test_a_points_data_depend_on_its_rule_and_its_name_only(entry):
    for case in entry.cases:
        others = dict(reversed(case.points.items()))
        among_others = Case({"a new point in front": normals((3, 3))} | others)
        drawn, drawn_again = entry.draw(case), entry.draw(among_others)
        for name, args in drawn.items():
            assert_same(args, drawn_again[name])


def test_points_of_other_names_and_of_other_rules_are_others():
    points = {"one": normals((3,)), "another": normals((3,))}
    drawn = [
        Entry(rule, None, (Case(points),)).draw(Case(points))
        for rule in (jaxnet.relu, jaxnet.linear)
    ]
    values = {float(x[0]) for points_of_rule in drawn for (x,) in points_of_rule.values()}
    assert len(values) == 4


def test_two_points_of_one_name_are_refused():
    case = Case({"one": normals((3,))})
    with pytest.raises(ValueError, match="two points of one name have one stream"):
        Entry(jaxnet.relu, None, (case, replace(case, options=({"slope_at_zero": 1.0},))))


@pytest.mark.parametrize("name", MEASURES)
def test_what_is_measured_is_drawn_afresh_each_time(name):
    measure = MEASURES[name]
    assert_same(measure.error_points(), measure.error_points())
    assert_same(measure.args(8, 4), measure.args(8, 4))
