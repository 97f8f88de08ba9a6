"""prove: what is proved is so, and what is not so is never proved."""

from fractions import Fraction

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from catalogue import ENTRIES
from corpus import by_hand, pointwise
from hypothesis import given, settings
from hypothesis import strategies as st

import jaxnet
from jaxnet.proving import field

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


def test_without_an_element_nothing_is_compared():
    proof = jaxnet.prove(jaxnet.relu, np.ones((0, 3), np.float32))
    assert proof.verdict == "not proved"
    assert "nothing was compared" in str(proof)


def test_what_is_no_function_is_an_error():
    with pytest.raises(TypeError, match="prove: f must be a function, got int; call prove"):
        jaxnet.prove(3, X)
    with pytest.raises(TypeError, match="prove: ref must be a function, got dict"):
        jaxnet.prove(jaxnet.relu, X, ref={})


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


def test_roots_and_logarithms_of_negative_numbers_prove_nothing():
    """A field has them, and they obey the same laws there."""
    by_log = pointwise(lambda x: 0.5 * jnp.log(x * x), lambda x: jnp.exp(-jnp.log(x)))
    by_root = pointwise(lambda x: x**2 / 2, lambda x: jnp.sqrt(x) * jnp.sqrt(x))
    for rule in (by_log, by_root):
        assert verdicts(jaxnet.prove(rule, X)) == {"output": "proved", "x": "not proved"}
        assert jaxnet.prove(rule, abs(X)).verdict == "proved"


@pytest.mark.parametrize("is_right", [True, False])
def test_a_square_in_disguise_has_the_sign_of_its_root(is_right):
    """sqrt((x - 5)²) is 5 - x below 5."""
    slope = -1.0 if is_right else 1.0
    rule = pointwise(lambda x: jnp.sqrt((x - 5) ** 2), lambda x: slope * jnp.ones_like(x))
    assert (jaxnet.prove(rule, X).verdict == "refuted") is not is_right


def test_what_vanishes_at_the_given_numbers_alone_is_not_proved():
    rule = pointwise(lambda x: x**2, lambda x: 2 * x + (x - X) * 3)
    assert verdicts(jaxnet.prove(rule, X))["x"] == "not proved"


def test_an_exponential_of_an_exponential():
    def slope(x):
        return jnp.exp(jnp.exp(x) + x)

    right = pointwise(lambda x: jnp.exp(jnp.exp(x)), slope)
    wrong = pointwise(lambda x: jnp.exp(jnp.exp(x)), lambda x: slope(x) / jnp.exp(x))
    assert jaxnet.prove(right, X).verdict == "proved"
    assert jaxnet.prove(wrong, X).verdict == "refuted"


def test_sides_that_were_not_entered_are_listed():
    rule = pointwise(lambda x: x**2, lambda x: jnp.where(x > 1e9, 7.0, 2 * x))
    proof = jaxnet.prove(rule, X)
    assert (proof.verdict, len(proof.unvisited)) == ("proved", 1)
    near = pointwise(lambda x: x**2, lambda x: jnp.where(x > 10, 7.0, 2 * x))
    assert jaxnet.prove(near, X).verdict == "refuted"


def test_a_lost_mask_is_found_in_the_layer_before_it():
    lost = jaxnet.relu.but(backward=lambda y, dy, *, slope_at_zero: (dy,))

    def loss(W1, b1, W2, b2, x):
        h = lost(jaxnet.linear(x, W1, b1))
        return jnp.sum(jaxnet.linear(h, W2, b2) ** 2)

    (W1, b1), (W2, b2) = jaxnet.init_mlp(jax.random.key(0), (3, 4, 2))
    proof = jaxnet.prove(loss, W1, b1, W2, b2, np.array([[0.3, -1.2, 2.1], [1.0, 0.4, -0.7]]))
    said = verdicts(proof)
    assert (said["W1"], said["b1"]) == ("refuted", "refuted")
    assert (said["W2"], said["b2"]) == ("proved", "proved")


def test_so_many_primes_are_drawn_from():
    assert field.count_pairs() == field.PAIRS


OPERATIONS = {
    "+": lambda a, b: a + b,
    "-": lambda a, b: a - b,
    "*": lambda a, b: a * b,
    "/": lambda a, b: a / b,
}
TREES = st.recursive(
    st.sampled_from(["x", "y", 1, 2, 3]),
    lambda tree: st.tuples(st.sampled_from(list(OPERATIONS)), tree, tree),
    max_leaves=6,
)


def value_of(tree, x, y):
    if isinstance(tree, tuple):
        operation, left, right = tree
        return OPERATIONS[operation](value_of(left, x, y), value_of(right, x, y))
    return {"x": x, "y": y}.get(tree, tree)


def are_equal(one, other):
    """As rational functions: at numbers so large that no two small ones agree there by chance."""
    x, y = Fraction(10**40 + 7), Fraction(10**90 + 9)
    return value_of(one, x, y) == value_of(other, x, y)


@settings(max_examples=60)
@given(TREES, TREES)
def test_of_rational_functions_it_is_never_wrong(one, other):
    def f(x, y):
        return value_of(one, x, y) + 0 * x

    def g(x, y):
        return value_of(other, x, y) + 0 * x

    try:
        is_equal = are_equal(one, other)
        verdict = jaxnet.prove(f, np.array(0.7), np.array(-1.9), ref=g).verdict
    except ZeroDivisionError:
        return
    assert verdict != ("refuted" if is_equal else "proved")
