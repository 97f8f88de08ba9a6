"""What the tests of several families of rules need."""

from decimal import Decimal

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxnet import auto

EPS = float(np.finfo(np.float32).eps)
BOTH = pytest.mark.parametrize("derivative", [lambda f: f, auto], ids=["hand", "auto"])


def residual_bytes(f, *args):
    """What the backward keeps of the forward."""
    leaves = jax.tree.leaves(jax.eval_shape(lambda *args: jax.vjp(f, *args)[1], *args))
    return sum(leaf.size * leaf.dtype.itemsize for leaf in leaves)


def relative_error(value, exact):
    """Of a float against a Decimal; the value itself where that is 0."""
    return abs((Decimal(float(value)) - exact) / exact) if exact else Decimal(float(abs(value)))


def normal(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape)


def assert_as_optax(ours, theirs):
    """Value and gradients in both arguments, of an elementwise or a rowwise loss. In x64 mode."""
    a, b = jnp.asarray(3 * normal(6, 5)), jnp.asarray(np.random.default_rng(1).random((6, 5)))
    (value, pull), (expected, pull_theirs) = (jax.vjp(f, a, b) for f in (ours, theirs))
    np.testing.assert_allclose(value, expected, rtol=1e-13)
    c = jnp.asarray(normal(*value.shape, seed=2))
    for g, e in zip(pull(c), pull_theirs(c), strict=True):
        np.testing.assert_allclose(g, e, rtol=1e-12, atol=1e-15)


def assert_as_pytorch(ours, theirs, b=None):
    """Value and gradient in the first argument, b being the second. In x64 mode."""
    torch = pytest.importorskip("torch")
    a = 3 * normal(6, 5)
    b = np.random.default_rng(1).random((6, 5)) if b is None else b
    value, pull = jax.vjp(lambda a: ours(a, jnp.asarray(b)), jnp.asarray(a))
    c = normal(*value.shape, seed=2)
    ta = torch.tensor(a, requires_grad=True)
    expected = theirs(ta, torch.tensor(b))
    expected.backward(torch.tensor(c))
    np.testing.assert_allclose(value, expected.detach().numpy(), rtol=1e-13)
    np.testing.assert_allclose(pull(jnp.asarray(c))[0], ta.grad.numpy(), rtol=1e-12, atol=1e-15)
