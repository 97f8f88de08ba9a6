"""accuracy: ties, NaN, distributions, no rows."""

import jax
import jax.numpy as jnp

from jaxnet import accuracy


def test_accuracy():
    logits = jnp.array([[2.0, 1.0], [0.0, 3.0], [1.0, 1.0], [jnp.nan, 0.0]])
    # The first of equals wins; NaN is never right.
    assert accuracy(logits, jnp.array([0, 1, 0, 0])) == 0.75
    assert accuracy(logits, jnp.array([1, 1, 1, 1])) == 0.25
    assert accuracy(logits, jax.nn.one_hot(jnp.array([0, 1, 0, 0]), 2)) == 0.75
    assert accuracy(logits, jnp.array([0, 1, 0, 0])).dtype == jnp.float32
    assert jnp.isnan(accuracy(jnp.zeros((0, 2)), jnp.zeros(0, int)))
