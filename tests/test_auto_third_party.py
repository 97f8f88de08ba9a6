"""`auto` on rules written with other libraries; those that are not installed are passed over."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxnet import auto

X = jnp.linspace(0.1, 1.0, 4)


def wrong_sin():
    f = jax.custom_vjp(lambda x: jnp.sin(x))
    f.defvjp(lambda x: (jnp.sin(x), x), lambda x, dy: (100 * jnp.cos(x) * dy,))
    return f


def assert_trees_close(a, b):
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5), a, b)


def hundredfold(tree):
    return jax.tree.map(lambda leaf: 100 * leaf, tree)


# ---- Equinox ----


@pytest.fixture
def eqx():
    return pytest.importorskip("equinox")


@pytest.fixture
def filtered(eqx):
    """A filter_custom_vjp with static and array arguments, wrong by a factor of 100."""

    @eqx.filter_custom_vjp
    def f(arrays_and_name, *, times):
        x, name = arrays_and_name
        return times * jnp.sin(x) if name == "sin" else x

    def forward(perturbed, arrays_and_name, *, times):
        return f.fn(arrays_and_name, times=times), None

    def backward(residuals, dy, perturbed, arrays_and_name, *, times):
        return 100 * times * jnp.cos(arrays_and_name[0]) * dy, None

    f.def_fwd(forward)
    f.def_bwd(backward)
    return lambda x: f((x, "sin"), times=1).sum()


def test_filter_custom_vjp(eqx, filtered):
    np.testing.assert_allclose(jax.grad(filtered)(X), 100 * jnp.cos(X), rtol=1e-5)
    for off in (auto(filtered), jax.jit(auto(filtered)), auto(eqx.filter_jit(filtered))):
        np.testing.assert_allclose(off(X), jnp.sin(X).sum(), rtol=1e-6)
        np.testing.assert_allclose(jax.grad(off)(X), jnp.cos(X), rtol=1e-5)
        np.testing.assert_allclose(eqx.filter_grad(off)(X), jnp.cos(X), rtol=1e-5)


def test_equinox_module_with_a_rule_inside(eqx):
    """A module is a pytree of arrays and static leaves (its activation), whatever it holds."""
    model = eqx.nn.MLP(4, 3, 5, 1, activation=wrong_sin(), key=jax.random.key(0))
    plain = eqx.tree_at(lambda m: m.activation, model, jnp.sin)
    batch = jnp.ones((2, 4))

    def loss(model, x):
        return jax.vmap(model)(x).sum()

    by_hand, true = eqx.filter_grad(loss)(model, batch), eqx.filter_grad(loss)(plain, batch)
    assert_trees_close(by_hand.layers[0].weight, 100 * true.layers[0].weight)
    for off in (auto(loss), auto(eqx.filter_jit(loss)), eqx.filter_jit(auto(loss))):
        automatic = eqx.filter_grad(off)(model, batch)
        assert_trees_close(jax.tree.leaves(automatic), jax.tree.leaves(true))


def test_equinox_gradient_inside_fn_warns(eqx, filtered):
    with pytest.warns(UserWarning, match="differentiates inside itself"):
        gradient = auto(lambda x: eqx.filter_grad(filtered)(x))(X)
    np.testing.assert_allclose(gradient, 100 * jnp.cos(X), rtol=1e-5)


# ---- Flax ----


@pytest.fixture
def nn():
    return pytest.importorskip("flax.linen")


def test_flax_model_with_a_rule_inside(nn):
    rule = wrong_sin()

    class Net(nn.Module):
        activation: object

        @nn.compact
        def __call__(self, x):
            return self.activation(nn.Dense(3)(x)).sum()

    params = Net(rule).init(jax.random.key(0), X)
    loss = lambda activation: lambda params, x: Net(activation).apply(params, x)  # noqa: E731
    hand, true = jax.grad(loss(rule))(params, X), jax.grad(loss(jnp.sin))(params, X)
    assert_trees_close(hand["params"]["Dense_0"], hundredfold(true["params"]["Dense_0"]))
    for off in (auto(loss(rule)), auto(jax.jit(loss(rule)))):
        assert_trees_close(jax.grad(off)(params, X), true)


def test_flax_custom_vjp(nn):
    """linen's own lifted custom_vjp; its rule multiplies the gradients of the parameters by 100."""

    class Net(nn.Module):
        @nn.compact
        def __call__(self, x):
            def forward(module, x):
                return nn.vjp(lambda module, x: module(x), module, x)

            def backward(pullback, dy):
                dparams, dx = pullback(dy)
                return hundredfold(dparams), dx

            return nn.custom_vjp(lambda module, x: module(x), forward, backward)(
                nn.Dense(3), x
            ).sum()

    net = Net()
    params = net.init(jax.random.key(0), X)
    true = {"bias": jnp.ones(3), "kernel": X[:, None] * jnp.ones(3)}
    assert_trees_close(jax.grad(net.apply)(params, X)["params"]["Dense_0"], hundredfold(true))
    assert_trees_close(jax.grad(auto(net.apply))(params, X)["params"]["Dense_0"], true)


def test_flax_batch_statistics_returned_as_a_result_come_out(nn):
    class Net(nn.Module):
        @nn.compact
        def __call__(self, x):
            return wrong_sin()(nn.BatchNorm(use_running_average=False)(x))

    net, x = Net(), jnp.arange(6.0).reshape(3, 2)
    variables = net.init(jax.random.key(0), x)
    apply = lambda v: net.apply(v, x, mutable=["batch_stats"])  # noqa: E731
    (y, updated), (expected, expected_updated) = auto(apply)(variables), apply(variables)
    assert_trees_close((y, updated), (expected, expected_updated))
    assert float(updated["batch_stats"]["BatchNorm_0"]["mean"][0]) != 0
