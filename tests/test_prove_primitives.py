"""prove: what single primitives stand for, by a right rule and a wrong one for each."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from corpus import pointwise
from jax.experimental import pallas

import jaxnet

X = np.array([0.3, -1.2, 2.1])


def verdict(body, slope, x=X):
    """Of body, element by element, with this slope."""
    return str(jaxnet.prove(pointwise(body, slope), x).verdict)


# -- what reaches the host, or memory


@pytest.mark.parametrize(("slope", "expected"), [(jnp.cos, "proved"), (jnp.sin, "refuted")])
def test_a_callback_that_returns_nothing_changes_no_number(slope, expected, capfd):
    def printed(x):
        jax.debug.print("met {}", x)
        return slope(x)

    assert verdict(jnp.sin, printed) == expected
    assert "met" not in capfd.readouterr().out


def test_memory_that_is_written_to_is_not_followed():
    def doubled(x):
        memory = jax.new_ref(x)
        memory[...] = 2 * x
        return memory[...]

    for slope in (2.0, 1.0):
        proof = jaxnet.prove(doubled, X, ref=lambda x, slope=slope: slope * x)
        assert "not known (memory that is written to" in proof.sentence()


def test_what_raises_elsewhere_is_judged_at_the_arguments_alone():
    def require(is_small):
        if not is_small:
            raise ValueError("too large")
        return np.asarray(is_small)

    def sine(x):
        is_small = jnp.sum(x) < 100
        fine = jax.pure_callback(require, jax.typeof(is_small), is_small)
        return jnp.where(fine, jnp.sin(x), 0.0)

    assert verdict(sine, jnp.cos) == "proved"
    assert verdict(sine, jnp.sin) == "refuted"
    proof = jaxnet.prove(pointwise(sine, jnp.cos), X + 100)
    assert "not known (it raises at the arguments: " in proof.sentence()


def by_host(x):
    def sine(x):
        return np.sin(np.asarray(x, np.float32)).astype(x.dtype)

    return jax.pure_callback(sine, jax.typeof(x), x)


def by_kernel(x):
    def kernel(x, y):
        y[...] = jnp.sin(x[...].astype(jnp.float32)).astype(y.dtype)

    return pallas.pallas_call(kernel, out_shape=jax.typeof(x), interpret=True)(x)


@pytest.mark.parametrize("body", [by_host, by_kernel])
@pytest.mark.parametrize(("factor", "expected"), [(1.0, "not proved"), (1.01, "refuted")])
def test_the_rounding_inside_of_what_is_opaque_refutes_nothing(body, factor, expected):
    rule = pointwise(body, jnp.cos)
    proof = jaxnet.prove(rule, X, ref=lambda x: factor * jnp.sin(x))
    assert {leaf.name: str(leaf.verdict) for leaf in proof.leaves}["output"] == expected


# -- roots of literals


@pytest.mark.parametrize(
    ("root", "literal"),
    [
        (lambda: jnp.sqrt(jnp.pi), lambda: np.sqrt(np.pi)),
        (lambda: jnp.sqrt(121.0), lambda: 11.0),
        (lambda: jnp.sqrt(jnp.float32(121) / 169), lambda: 11 / 13),
        (lambda: jnp.exp(jnp.sqrt(121.0)), lambda: jnp.exp(11.0)),
        (lambda: jnp.sqrt(jnp.square(0.7123456789)), lambda: 0.7123456789),
    ],
)
def test_the_root_of_a_literal_is_positive(root, literal):
    def of_root(x):
        return root() * x

    for sign, expected in ((1, "proved"), (-1, "refuted"), (1 + 1e-7, "refuted")):
        proof = jaxnet.prove(of_root, X, ref=lambda x, sign=sign: sign * literal() * x)
        assert proof.verdict == expected


def test_roots_of_literals_are_factors_of_other_roots():
    def root(x):
        return jnp.sqrt(x * 0.7123456789 * jnp.pi)

    def factored(x):
        return jnp.sqrt(x) * jnp.sqrt(0.7123456789) * np.sqrt(np.pi)

    assert jaxnet.prove(root, abs(X), ref=factored).verdict == "proved"
    assert jaxnet.prove(root, abs(X), ref=lambda x: -factored(x)).verdict == "refuted"


# -- primitives that are Python objects

has_objects = pytest.mark.skipif(
    jax.__version_info__ < (0, 12), reason="there they are functions, or move bits"
)


@pytest.mark.parametrize(("power", "expected"), [(0.5, "proved"), (-0.5, "refuted")])
def test_a_root_is_what_its_solver_returns(power, expected):
    def root(x):
        def solve(g, x):
            return x / g(jnp.ones_like(x))

        first = jnp.ones_like(x)
        return jax.lax.custom_root(lambda y: y * y - x, first, lambda f, y: jnp.sqrt(x), solve)

    assert jaxnet.prove(root, abs(X), ref=lambda x: x**power).verdict == expected


@has_objects
@pytest.mark.parametrize(("factor", "expected"), [(1, "proved"), (-1, "refuted")])
def test_powers_of_two(factor, expected):
    def by_bits(x):
        mantissa, exponent = jnp.frexp(x)
        return jnp.ldexp(mantissa**2, exponent + np.array([3, -1, 0]))

    def by_division(x):
        exponent = np.array([-1, 1, 2]) * factor
        return (x / 2.0**exponent) ** 2 * 2.0 ** (exponent + np.array([3, -1, 0]))

    proof = jaxnet.prove(by_bits, X, ref=by_division)
    assert proof.verdict == expected


@has_objects
def test_at_a_power_of_two_the_exponent_jumps():
    proof = jaxnet.prove(lambda x: jnp.frexp(x)[0], np.ones(1), ref=lambda x: x / 2)
    assert proof.verdict != "proved"
