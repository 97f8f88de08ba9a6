"""NumPy arrays of 64 bits in what a rule or its caller closes over."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from corpus import by_hand

from jaxnet import audit, check
from jaxnet.checking.findings import Verdict

IDS = np.array([0, 2, 1, 2])
WEIGHTS = np.arange(3.0) / 7
MASK = np.array([True, False, True])
TWO = np.array(2.0)  # a literal in a jaxpr
X = jnp.asarray([0.3, -0.7, 1.1])
TABLE = jnp.asarray(np.random.default_rng(0).normal(size=(4, 3)))


def sine_times(factor):
    return by_hand(lambda x: jnp.sin(x), lambda x, dy: (factor * jnp.cos(x) * dy,))


RIGHT, WRONG = sine_times(1.0), sine_times(1.0004)


@jax.jit
def weighted(y):
    return y * WEIGHTS


def weighted_again(y, _):
    return y * WEIGHTS, None


weighted_in_checkpoint = jax.checkpoint(lambda y: y * WEIGHTS)

USES = {
    "indexing": lambda y: y[IDS],
    "at": lambda y: y.at[IDS].add(1.0),
    "take": lambda y: jnp.take(y, IDS),
    "one_hot": lambda y: jax.nn.one_hot(IDS, 3) @ y,
    "product": lambda y: y @ WEIGHTS,
    "mask": lambda y: jnp.where(MASK, y, 0.0),
    "a number": lambda y: y * TWO,
    "jit inside": lambda y: jax.jit(lambda z: z * WEIGHTS)(y),
    "jit that JAX remembers": lambda y: weighted(y),
    "scan that JAX remembers": lambda y: jax.lax.scan(weighted_again, y, None, length=2)[0],
    "checkpoint that JAX remembers": lambda y: weighted_in_checkpoint(y),
}


@pytest.mark.many
@pytest.mark.parametrize("use", USES)
def test_a_numpy_array_costs_no_digits(use):
    used = USES[use]
    used(X), jax.grad(lambda x: used(x).sum())(X)  # JAX has met the arrays in float32
    right = check(lambda x: used(RIGHT(x)), X, transforms=("vmap",))
    assert right.ok, right
    assert right.power["x"].scale < 1e-6, right
    assert right.notes == ()
    wrong = check(lambda x: used(WRONG(x)), X, transforms=())
    assert wrong.sentence().startswith("WRONG in `x`"), wrong
    assert used(X[:3]).dtype == jnp.float32  # and f is what it was


@pytest.mark.many
@pytest.mark.parametrize("used", [weighted, USES["scan that JAX remembers"]])
def test_what_jax_remembers_is_float32_afterwards(used):
    check(lambda x: used(RIGHT(x)), X, transforms=())
    assert jax.jit(jax.vmap(used))(jnp.ones((2, 3))).dtype == jnp.float32


@pytest.mark.many
@pytest.mark.parametrize("factor", [1, 2])
def test_an_embedding_in_bfloat16_is_judged_with_all_digits(factor):
    looked_up = by_hand(
        lambda t: t[IDS],
        lambda t, dy: (jnp.zeros_like(t).at[IDS].add(factor * dy),),
    )
    report = check(looked_up, TABLE.astype(jnp.bfloat16), transforms=())
    assert report.ok is (factor == 1), report
    assert factor == 2 or report.power["t"].scale < 1e-6


def test_a_rule_that_computes_with_numpy_beside_jax():
    """Half of it in float64 and half in a float32 copy would be off by 8e-8."""
    product = by_hand(lambda x: weighted(x), lambda x, dy: (dy * (3 * WEIGHTS) / 3,))
    weighted(X)
    assert check(product, X, transforms=()).ok


@pytest.mark.many
@pytest.mark.parametrize("use", ["indexing", "take", "jit that JAX remembers"])
def test_audit_of_a_function_with_numpy_arrays(use):
    used = USES[use]
    used(X)
    assert audit(lambda x: used(RIGHT(x)).sum(), X).ok
    report = audit(lambda x: used(WRONG(x)).sum(), X)
    assert [site.verdict for site in report.sites] == [Verdict.WRONG]
