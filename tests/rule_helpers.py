"""What the tests of several families of rules need.

Below, `ours` is a function of jaxnet, `theirs` the same one of another library.
"""

from decimal import Decimal

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxnet import auto

EPS = float(np.finfo(np.float32).eps)
# The test runs twice: `derivative(f)` keeps the rules of f, then it takes them off.
BOTH = pytest.mark.parametrize("derivative", [lambda f: f, auto], ids=["hand", "auto"])


def residual_bytes(f, *args):
    """How many bytes the backward keeps of the forward."""
    # The pullback is a pytree: its leaves are what it keeps.
    leaves = jax.tree.leaves(jax.eval_shape(lambda *args: jax.vjp(f, *args)[1], *args))
    return sum(leaf.size * leaf.dtype.itemsize for leaf in leaves)


def relative_error(value, exact):
    """Of a float against a Decimal; the value's size where exact is 0."""
    error = abs(Decimal(float(value)) - exact)
    return error / abs(exact) if exact else error


def normal(*shape, seed=0):
    """A float64 NumPy array of this shape, the same one every time."""
    return np.random.default_rng(seed).normal(size=shape)


def assert_as_optax(ours, theirs):
    """Value and gradients in both arguments, of an elementwise or a rowwise loss. In x64 mode."""
    a = jnp.asarray(3 * normal(6, 5))
    b = jnp.asarray(np.random.default_rng(1).random((6, 5)))
    value, pull = jax.vjp(ours, a, b)
    expected, pull_theirs = jax.vjp(theirs, a, b)
    np.testing.assert_allclose(value, expected, rtol=1e-13)
    c = jnp.asarray(normal(*value.shape, seed=2))
    for gradient, of_theirs in zip(pull(c), pull_theirs(c), strict=True):
        np.testing.assert_allclose(gradient, of_theirs, rtol=1e-12, atol=1e-15)


def assert_as_pytorch(ours, theirs, b=None):
    """Value and gradient in the first argument, in x64 mode.

    b: the second argument, random if not given.
    """
    torch = pytest.importorskip("torch")
    a = 3 * normal(6, 5)
    b = np.random.default_rng(1).random((6, 5)) if b is None else b
    value, pull = jax.vjp(lambda a: ours(a, jnp.asarray(b)), jnp.asarray(a))
    c = normal(*value.shape, seed=2)
    a_theirs = torch.tensor(a, requires_grad=True)
    expected = theirs(a_theirs, torch.tensor(b))
    expected.backward(torch.tensor(c))
    np.testing.assert_allclose(value, expected.detach().numpy(), rtol=1e-13)
    [gradient] = pull(jnp.asarray(c))
    np.testing.assert_allclose(gradient, a_theirs.grad.numpy(), rtol=1e-12, atol=1e-15)
