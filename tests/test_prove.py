"""prove: what is proved is so, and what is not so is never proved."""

import jax.numpy as jnp
import numpy as np
import pytest
from catalogue import ENTRIES
from corpus import by_hand, pointwise

import jaxnet

X = np.array([0.3, -1.2, 2.1])
FIRST_POINTS = {
    f"{entry.name} {name} {options}": (entry.under(options), entry.draw(case)[name])
    for entry in ENTRIES.values()
    for case in entry.cases
    for name in list(case.points)[:1]
    for options in case.options
    if entry.name != "linear_softmax_cross_entropy"  # it takes seconds
}


def verdicts(proof):
    return {leaf.name: str(leaf.verdict) for leaf in proof.leaves}


@pytest.mark.parametrize("name", FIRST_POINTS)
def test_rules_of_the_library_are_proved(name):
    rule, args = FIRST_POINTS[name]
    assert jaxnet.prove(rule, *args).require().chance <= 1e-15


@pytest.mark.parametrize("factor", [1 + 1e-6, -1.0, 2.0])
def test_a_factor_is_refuted(factor):
    rule = pointwise(jnp.exp, lambda x: factor * jnp.exp(x))
    assert verdicts(jaxnet.prove(rule, X)) == {"output": "proved", "x": "refuted"}


def test_without_a_rule_nothing_is_compared():
    assert jaxnet.prove(jnp.sin, X).verdict == "not proved"


def test_on_an_edge_nothing_is_proved():
    """A rule that is right at the edge of a branch alone, or beside it alone."""
    rule = pointwise(lambda x: x * x, lambda x: jnp.where(x == 0.5, 1.0, 3 * x))
    assert jaxnet.prove(rule, np.array(0.5)).verdict != "proved"
    assert jaxnet.prove(jaxnet.relu, np.array([0.0, 1.0])).verdict == "not proved"


def test_huge_degrees_have_no_bound():
    rule = by_hand(lambda x: x**3, lambda x, dy: (3 * x**2 * dy + 0 * x ** (2**40),))
    assert jaxnet.prove(rule, np.array(1.0)).verdict == "not proved"


def test_not_a_number_is_not_proved():
    rule = pointwise(lambda x: x * x, lambda x: 2 * x * (x - x) / (x - x))
    assert jaxnet.prove(rule, X).verdict == "not proved"
