"""prove decides branches by floats: those of its own walk are those that JAX has."""

import functools

import jax
import jax.extend
import jax.numpy as jnp
import numpy as np
import pytest
from corpus.right import RIGHT

import jaxnet
from jaxnet.proving import evaluation, prover

ENOUGH = {64: 1e-6, 32: 1e-3, 16: 0.1}  # of the largest float, by the bits computed with


@pytest.fixture
def compared(monkeypatch):
    """Whatever prove evaluates, JAX evaluates beside it: how many floats were compared."""
    counts = []

    def evaluate(problem, at, *more):
        found = evaluation.evaluate(problem, at, *more)
        for graph, side in ((problem.rule, "rule"), (problem.ref, "ref")):
            for name, leaf, expected in zip(
                problem.names, found.leaves, of_jax(problem, graph, at), strict=True
            ):
                counts.append(assert_close(name, getattr(leaf, side).f, expected, found.bits))
        return found

    monkeypatch.setattr(prover, "evaluate", evaluate)
    return counts


def of_jax(problem, graph, at):
    arrays = [x for some in at for x in some]
    with evaluation.precision(problem.is_wide):
        inputs = [
            jnp.asarray(x, v.aval.dtype) for x, v in zip(arrays, graph.jaxpr.invars, strict=True)
        ]
        outputs = jax.extend.core.jaxpr_as_fun(graph)(*inputs)
    return [np.asarray(y, np.float64) for y in outputs]


def assert_close(name, ours, expected, bits):
    """Where both are finite: in a walk without rounding there is no overflow, either."""
    both = np.isfinite(ours) & np.isfinite(expected)
    largest = np.abs(expected[both]).max(initial=1e-3)
    np.testing.assert_allclose(
        ours[both], expected[both], rtol=0, atol=ENOUGH[bits] * largest, err_msg=name
    )
    return int(both.sum())


@pytest.mark.many
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", RIGHT)
def test_floats_of_right_rules(name, compared):
    example = RIGHT[name]
    f = functools.partial(example.f, **(example.kwargs or {}))
    jaxnet.prove(f, *example.args(np.random.default_rng(0)), ref=example.ref)
