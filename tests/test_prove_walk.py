"""prove decides branches by floats: those of its own walk are those that JAX has."""

import functools

import jax
import jax.extend
import jax.numpy as jnp
import numpy as np
import pytest
from corpus.right import RIGHT

import jaxnet
from jaxnet import _graph
from jaxnet.proving import evaluation, prover

# Of the largest float, by the bits computed with: a cast rounds in JAX, and not in a walk.
ENOUGH = {64: 1e-6, 32: 1e-3, 16: 0.1, 8: 0.5}


@pytest.fixture
def differences(monkeypatch):
    """Whatever prove evaluates, JAX evaluates beside it: an array of differences for each leaf.

    None of them may be larger than 1. An exception would not do: prove takes it for the function's.
    """
    found = []

    def evaluate(problem, at, *more):
        evaluation_of_both = evaluation.evaluate(problem, at, *more)
        leaves = evaluation_of_both.leaves
        bits = min(evaluation_of_both.bits, *map(bits_of, (problem.rule, problem.ref)))
        for leaf, expected in zip(leaves, of_jax(problem, problem.rule, at), strict=True):
            found.append(difference(leaf.rule.f, expected, bits))
        for leaf, expected in zip(leaves, of_jax(problem, problem.ref, at), strict=True):
            found.append(difference(leaf.ref.f, expected, bits))
        return evaluation_of_both

    monkeypatch.setattr(prover, "evaluate", evaluate)
    return found


def of_jax(problem, graph, at):
    arrays = [x for some in at for x in some]
    with evaluation.precision(problem.is_wide):
        inputs = [
            jnp.asarray(x, v.aval.dtype) for x, v in zip(arrays, graph.jaxpr.invars, strict=True)
        ]
        outputs = jax.extend.core.jaxpr_as_fun(graph)(*inputs)
    return [np.asarray(y, np.float64) for y in outputs]


def bits_of(graph):
    """Of the narrowest float that JAX computes there."""
    variables = [v for e, _ in _graph.equations(graph) for v in e.outvars]
    floating = [v.aval.dtype for v in variables if _graph.is_differentiable(v)]
    return min((8 * dtype.itemsize for dtype in floating), default=64)


def difference(ours, expected, bits):
    """Over what is allowed, where both are finite: a walk without rounding does not overflow."""
    both = np.isfinite(ours) & np.isfinite(expected)
    largest = np.abs(expected[both]).max(initial=1e-3)
    return np.abs(ours[both] - expected[both]) / (ENOUGH[bits] * largest)


@pytest.mark.many
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", RIGHT)
def test_floats_of_right_rules(name, differences):
    example = RIGHT[name]
    f = functools.partial(example.f, **(example.kwargs or {}))
    jaxnet.prove(f, *example.args(np.random.default_rng(0)), ref=example.ref)
    assert all((some <= 1).all() for some in differences)


def power_by_turns(x):
    """x to the power 5, 3, 2: under vmap each element has turns of its own."""

    def one(v):
        def turn(state):
            size, power = state
            return 2 * size, power * v

        return jax.lax.while_loop(lambda state: state[0] < 4, turn, (v, v))[1]

    return jax.vmap(one)(x)


TURNS = np.array([4.0, 2.0, 1.0])


def with_slope(slope):
    f = jax.custom_jvp(lambda x: power_by_turns(x))
    f.defjvp(lambda p, t: (f(p[0]), slope(p[0]) * t[0]))
    return f


X = np.array([0.3, 1.2, 2.1])


def test_a_loop_whose_elements_end_one_by_one(differences):
    right = with_slope(lambda x: (TURNS + 1) * x**TURNS)
    assert jaxnet.prove(right, X).verdict == "proved"
    assert jaxnet.prove(with_slope(lambda x: 2 * x), X).verdict == "refuted"
    assert differences
    assert all((some <= 1).all() for some in differences)
