"""prove: what is proved is so, and what is not so is never proved."""

import operator
from fractions import Fraction

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import sympy
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
}


def verdicts(proof):
    return {leaf.name: str(leaf.verdict) for leaf in proof.leaves}


@pytest.mark.many
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


@pytest.mark.many
def test_so_many_primes_are_drawn_from():
    assert field.count_pairs() == field.PAIRS


OPERATIONS = {
    "+": operator.add,
    "-": operator.sub,
    "*": operator.mul,
    "/": operator.truediv,
    "**": operator.pow,
}
POWERS = (-2, -1, 1, 2, 3)
TREES = st.recursive(
    st.sampled_from(["x", "y", "z", -3, -2, -1, 0, 1, 2, 3, 7]),
    lambda tree: st.one_of(
        st.tuples(st.sampled_from("+-*/"), tree, tree),
        st.tuples(st.just("**"), tree, st.sampled_from(POWERS)),
    ),
    max_leaves=10,
)


def mirrored(tree):
    """The same number: sums and products the other way, squares as products."""
    if not isinstance(tree, tuple):
        return tree
    operation, left, right = tree
    if operation == "**":
        base = mirrored(left)
        return ("*", base, base) if right == 2 else ("**", base, right)
    left, right = mirrored(left), mirrored(right)
    return (operation, right, left) if operation in "+*" else (operation, left, right)


DISGUISES = (
    lambda a, b: a,
    lambda a, b: ("-", ("+", a, b), b),
    lambda a, b: ("/", ("*", b, a), b),
    lambda a, b: ("*", -1, ("-", b, ("+", a, b))),
    lambda a, b: ("+", ("*", ("-", a, b), ("+", a, b)), ("-", ("*", b, b), ("*", a, ("-", a, 1)))),
)
DISGUISED = st.builds(
    lambda a, b, disguise: (a, disguise(mirrored(a), b)), TREES, TREES, st.sampled_from(DISGUISES)
)
FIELD, *GENERATORS = sympy.field("x,y,z", sympy.QQ)


def value_of(tree, variables, number):
    """Of a tree, in whatever the variables are, and what number makes of the integers in it."""
    if not isinstance(tree, tuple):
        return variables[tree] if isinstance(tree, str) else number(tree)
    operation, left, right = tree
    a = value_of(left, variables, number)
    b = right if operation == "**" else value_of(right, variables, number)
    return OPERATIONS[operation](*_alike(a, b))


def _alike(a, b):
    """Fractions are exact among themselves; beside an array they are literals."""
    if isinstance(a, jax.Array) or isinstance(b, jax.Array):
        return [float(v) if isinstance(v, Fraction) else v for v in (a, b)]
    return a, b


def as_function(tree):
    def f(x, y, z):
        value = value_of(tree, {"x": x, "y": y, "z": z}, Fraction)
        return _alike(value, x)[0] + 0 * x

    return f


def in_sympy(tree):
    """In the field of rational functions, where nothing is rounded and 1/0 raises."""
    return FIELD(value_of(tree, dict(zip("xyz", GENERATORS, strict=True)), FIELD))


@pytest.mark.many
@settings(max_examples=100)
@given(st.one_of(st.tuples(TREES, TREES), DISGUISED))
def test_of_rational_functions_it_is_never_wrong(pair):
    one, other = pair
    try:
        is_equal = in_sympy(one) - in_sympy(other) == 0
        f, g = as_function(one), as_function(other)
        verdict = jaxnet.prove(f, np.array(0.7), np.array(-1.9), np.array(1.3), ref=g).verdict
    except ZeroDivisionError:
        return
    assert verdict != ("refuted" if is_equal else "proved")


# -- further derivatives


def of_product(tangent):
    """x y, with a rule that is told who moves."""

    def pushed(primals, tangents):
        x, y = primals
        return x * y, tangent(x, y, *tangents)

    product = jax.custom_jvp(lambda x, y: x * y)
    product.defjvp(pushed, symbolic_zeros=True)
    return product


def test_second_order_is_asked_of_the_backward_itself():
    """A constant to autodiff, 2x is right and its own derivative is lost."""
    lost = pointwise(lambda x: x**2, lambda x: 2 * jax.lax.stop_gradient(x))
    proof = jaxnet.prove(lost, X)
    assert (proof.verdict, verdicts(proof)) == ("refuted", {"output": "proved", "x": "proved"})
    said = {leaf.name: str(leaf.verdict) for leaf in proof.further["second order"]}
    assert said == {"grad of grad x": "refuted", "pullback transposed, output": "proved"}


def test_a_backward_that_cannot_be_differentiated_may_be_proved():
    def slope(x):
        return jax.lax.while_loop(lambda c: c[0] < 2, lambda c: (c[0] + 1, c[1] + x), (0, 0 * x))[1]

    proof = jaxnet.prove(pointwise(lambda x: x**2, slope), X)
    assert (proof.verdict, dict(proof.further)) == ("proved", {})
    assert "not asked: second order (it cannot be traced: ValueError: Reverse-mode" in str(proof)


@pytest.mark.parametrize("factor", [1, 2])
def test_forward_mode_of_a_jvp_is_compared(factor):
    def tangent(primals, tangents):
        return jnp.sin(*primals), factor * jnp.cos(*primals) * tangents[0]

    rule = jax.custom_jvp(jnp.sin)
    rule.defjvp(tangent)
    said = verdicts(jaxnet.prove(rule, X))
    expected = "proved" if factor == 1 else "refuted"
    assert said == {"output": "proved", "x": expected, "tangent of output": expected}


def test_a_rule_that_is_told_who_moves_is_asked_with_each_alone():
    def zero(dx):
        return isinstance(dx, jax.custom_derivatives.SymbolicZero)

    def right(x, y, dx, dy):
        return (0.0 if zero(dx) else y * dx) + (0.0 if zero(dy) else x * dy)

    def wrong(x, y, dx, dy):
        return 2 * y * dx if zero(dy) else right(x, y, dx, dy)

    assert jaxnet.prove(of_product(right), X, X + 1).verdict == "proved"
    proof = jaxnet.prove(of_product(wrong), X, X + 1)
    said = {leaf.name: str(leaf.verdict) for leaf in proof.further["x alone"]}
    assert said == {"output": "proved", "x": "refuted", "tangent of output": "refuted"}
    assert {str(leaf.verdict) for leaf in proof.further["y alone"]} == {"proved"}


@pytest.mark.parametrize("factor", [1, 2])
def test_without_a_reverse_mode_the_reference_is_pushed_forward(factor):
    """⟨c, J t⟩ = ⟨Jᵀ c, t⟩: a while_loop has no pullback."""

    def cube(x, y):
        return (
            y
            * jax.lax.while_loop(
                lambda c: c[0] < 3, lambda c: (c[0] + 1, c[1] * x), (0, jnp.ones_like(x))
            )[1]
        )

    def backward(x, y, dz):
        return factor * 3 * x**2 * y * dz, x**3 * dz

    said = verdicts(jaxnet.prove(by_hand(cube, backward), X, X + 1))
    expected = "proved" if factor == 1 else "refuted"
    assert said == {"output": "proved", "x": expected, "y": "proved"}


@pytest.mark.many
@pytest.mark.parametrize("activation", [jaxnet.relu, jaxnet.rules.tanh, jaxnet.rules.gelu])
def test_the_network_of_two_hidden_layers_is_proved(activation):
    """Sums of quotients stand over one denominator, or no degree is small enough."""
    params = jaxnet.init_mlp(jax.random.key(0), (4, 5, 3, 3))
    x, labels = np.random.default_rng(0).normal(size=(4, 4)), np.array([0, 2, 1, 1])

    def loss(params, x):
        logits = jaxnet.mlp(params, x, activation=activation)
        return jnp.mean(jaxnet.softmax_cross_entropy(logits, labels))

    proof = jaxnet.prove(loss, params, x).require()
    assert {str(leaf.verdict) for leaf in proof.further["second order"]} == {"proved"}


# -- several sizes


def test_a_mean_over_classes_is_right_at_one_size_alone():
    rule = by_hand(lambda x: jnp.sum(x), lambda x, dy: (jnp.full_like(x, x.size / 2) * dy,))
    family = jaxnet.prove_sizes(rule, lambda n: (jnp.arange(1.0, n + 1),), {"n": (1, 2, 3)})
    assert [str(proof.verdict) for proof in family.proofs.values()] == [
        "refuted",
        "proved",
        "refuted",
    ]
    with pytest.raises(AssertionError, match="n=1: refuted: they differ"):
        family.require()


@pytest.mark.parametrize(
    ("make_args", "sizes", "error", "text"),
    [
        (3, {"n": (1,)}, TypeError, "make_args must be a function that returns the arguments"),
        (lambda n: jnp.ones(n), {"n": (1,)}, TypeError, "for one argument return"),
        (lambda n: (jnp.ones(n),), [1, 2], TypeError, "sizes must be a dict such as"),
        (lambda n: (jnp.ones(n),), {"n": 2}, TypeError, "sizes must be a dict such as"),
        (lambda n: (jnp.ones(n),), {"n": ()}, ValueError, "one size of each at least"),
        (lambda: (jnp.ones(2),), {}, ValueError, "one size of each at least"),
    ],
)
def test_what_is_no_family_of_sizes_is_an_error(make_args, sizes, error, text):
    with pytest.raises(error, match=f"prove_sizes: .*{text}"):
        jaxnet.prove_sizes(jaxnet.relu, make_args, sizes)


def test_where_autodiff_has_the_wrong_slope_of_a_special_function_nothing_is_said():
    """Of a function of which nothing is known, floats tell whether the reference is right."""
    right = pointwise(jax.lax.lgamma, jax.lax.digamma)
    wrong = pointwise(jax.lax.lgamma, lambda x: 2 * jax.lax.digamma(x))
    assert jaxnet.prove(right, abs(X)).verdict == "proved"
    assert jaxnet.prove(wrong, abs(X)).verdict == "refuted"
    below = pointwise(jax.lax.digamma, lambda x: jax.lax.polygamma(1.0, x))
    proof = jaxnet.prove(below, np.array([-16.5, -2.5]))
    assert "autodiff is not the derivative of the value here" in str(proof)


def test_a_quotient_in_a_function_of_which_nothing_is_known():
    """The check of autodiff's slope takes one point, the others several."""
    rule = pointwise(lambda x: jax.lax.lgamma(1 / x), lambda x: -jax.lax.digamma(1 / x) / x**2)
    assert jaxnet.prove(rule, abs(X)).verdict == "proved"


def test_the_same_infinity_on_both_sides_is_equal():
    """A hidden entry has the logarithm -inf: no point compares it, and none needs to."""
    mask = np.array([[True, True, False]])
    proof = jaxnet.prove(jaxnet.rules.log_softmax, X[None], mask)
    assert proof.require().chance < 1e-15


def test_a_function_applied_at_some_places_is_not_what_is_set_there():
    def backward(x, dy):
        return (dy * x.at[np.arange(3)].apply(jnp.cos),)

    proof = jaxnet.prove(by_hand(jnp.sin, backward), X)
    assert verdicts(proof) == {"output": "proved", "x": "not proved"}


def test_inside_of_a_trace_nothing_can_be_proved():
    with pytest.raises(TypeError, match="prove: the arguments are being traced; call prove out"):
        jax.jit(lambda x: jaxnet.prove(jaxnet.relu, x))(X)
