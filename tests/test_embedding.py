"""embedding: ids out of range, sums over repeated ids, and against PyTorch."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from rule_helpers import BOTH, assert_as_pytorch, normal

from jaxnet import auto
from jaxnet.rules import embedding


@BOTH
@pytest.mark.parametrize("dtype", [jnp.int32, jnp.int8, jnp.uint8])
def test_ids_out_of_range_are_nan_and_have_no_gradient(derivative, dtype):
    ids = jnp.array([1, 3, 200 if dtype == jnp.uint8 else -1, 1], dtype)
    table = jnp.arange(6.0).reshape(3, 2)
    y, pull = jax.vjp(lambda table: derivative(embedding)(table, ids), table)
    np.testing.assert_array_equal(y, [[2, 3], [np.nan] * 2, [np.nan] * 2, [2, 3]])
    np.testing.assert_array_equal(pull(jnp.ones_like(y))[0], [[0, 0], [2, 2], [0, 0]])


def test_repeated_ids_add_up_in_float32():
    """A bfloat16 sum of ones stops at 256; autodiff's does."""
    table, ids = jnp.zeros((2, 1), jnp.bfloat16), jnp.zeros(1000, jnp.int32)
    hand, by_auto = (
        jax.grad(lambda table, f=f: f(table, ids).sum())(table)[0, 0]
        for f in (embedding, auto(embedding))
    )
    assert hand == jnp.bfloat16(1000)
    assert by_auto == 256


def test_embedding_keeps_the_ids_only():
    table, ids = (
        jax.ShapeDtypeStruct((1000, 64), jnp.float32),
        jax.ShapeDtypeStruct((5,), jnp.int32),
    )
    kept = jax.tree.leaves(jax.eval_shape(lambda *args: jax.vjp(embedding, *args)[1], table, ids))
    assert sum(a.size for a in kept) == 5


def test_numpy_arguments():
    table, ids = normal(4, 3).astype(np.float32), np.array([1, 1, 3])
    dtable = jax.grad(lambda table: embedding(table, ids).sum())(table)
    np.testing.assert_array_equal(dtable[:, 0], [0, 2, 0, 1])


def test_against_pytorch(x64):
    functional = pytest.importorskip("torch").nn.functional
    ids = np.array([[0, 5, 5], [2, 5, 0]])
    assert_as_pytorch(embedding, lambda table, ids: functional.embedding(ids, table), ids)
