"""Whole networks: every leaf of the gradient, and 200 epochs of training.

They are compared with autodiff, NumPy and PyTorch.
"""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from report_by_hand import ByHand

import jaxnet
from jaxnet import (
    accuracy,
    auto,
    course_init,
    init_mlp,
    linear,
    mlp,
    pytorch_init,
    relu,
    softmax_cross_entropy,
)

SIZES = {"one hidden layer": (10, 100, 2), "two hidden layers": (10, 100, 100, 2)}
EPOCHS, BATCH, RATE = 200, 64, 0.01
depths = pytest.mark.parametrize("sizes", SIZES.values(), ids=SIZES)
starts = pytest.mark.parametrize("initializer", [pytorch_init, course_init])


def mean_loss(params, x, y):
    return jnp.mean(softmax_cross_entropy(mlp(params, x), y))


def twin():
    data = jaxnet.datasets.load(Path(__file__).parents[1] / "data" / "course_twin")
    return [(x.astype(np.float64), y) for x, y in (data.train, data.test)]


def assert_leaves_agree(hand, automatic, rtol):
    for (path, r), a in zip(
        jax.tree_util.tree_leaves_with_path(hand), jax.tree.leaves(automatic), strict=True
    ):
        error = float(jnp.abs(r - a).max() / jnp.abs(a).max())
        assert error <= rtol, f"{jax.tree_util.keystr(path)}: relative error {error}"


@pytest.mark.many
@depths
@starts
def test_gradient_is_autodiffs_at_the_start_and_along_training(sizes, initializer, x64):
    train, _ = twin()
    params = init_mlp(jax.random.key(0), sizes, initializer)
    assert params[0].weight.dtype == jnp.float64
    sgd = optax.sgd(RATE)
    hand, automatic = jax.jit(jax.grad(mean_loss)), jax.jit(jax.grad(auto(mean_loss)))
    for _ in range(5):
        assert_leaves_agree(hand(params, *train), automatic(params, *train), 1e-12)
        params, _ = jaxnet.fit(mlp, params, train=train, epochs=20, batch_size=BATCH, optimizer=sgd)
    assert_leaves_agree(hand(params, *train), automatic(params, *train), 1e-12)


@depths
def test_gradient_is_the_corrected_formulas(sizes, x64):
    train, _ = twin()
    params = init_mlp(jax.random.key(3), sizes)
    grads = jax.grad(mean_loss)(params, *train)
    for layer, (weight, bias) in zip(grads, ByHand(params).gradients(*train), strict=True):
        np.testing.assert_allclose(layer.weight, weight, rtol=0, atol=1e-12 * np.abs(weight).max())
        np.testing.assert_allclose(layer.bias, bias, rtol=0, atol=1e-12 * np.abs(bias).max())


def trajectory_by_torch(params, train, test):
    torch = pytest.importorskip("torch", reason="PyTorch is the torch extra")
    torch.set_num_threads(1)
    layers = []
    for weight, bias in params:  # a state dict goes in by plain copies: both store [out, in]
        layer = torch.nn.Linear(*weight.shape[::-1], dtype=torch.float64)
        layer.load_state_dict(
            {"weight": torch.tensor(np.array(weight)), "bias": torch.tensor(np.array(bias))}
        )
        layers += [layer, torch.nn.ReLU()]
    net = torch.nn.Sequential(*layers[:-1])
    (x, y), (xt, yt) = (
        (torch.tensor(x), torch.tensor(y, dtype=torch.int64)) for x, y in (train, test)
    )
    loss_of, sgd = torch.nn.CrossEntropyLoss(), torch.optim.SGD(net.parameters(), RATE)
    batches = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(x, y), batch_size=BATCH)
    losses = []
    for _ in range(EPOCHS):
        for xb, yb in batches:
            sgd.zero_grad()
            loss_of(net(xb), yb).backward()
            sgd.step()
        with torch.no_grad():
            losses.append([loss_of(net(x), y).item(), loss_of(net(xt), yt).item()])
    return np.array(losses)


def trajectory_by_numpy(params, train, test):
    net = ByHand(params)
    losses = []
    for _ in range(EPOCHS):
        for x, y in jaxnet.datasets.batches(*train, BATCH):
            net.step(x, y, RATE)
        losses.append([net.loss(*train), net.loss(*test)])
    return np.array(losses)


@pytest.fixture(
    scope="module",
    params=[(s, i) for s in SIZES.values() for i in (pytorch_init, course_init)],
    ids=lambda p: f"{len(p[0]) - 2} hidden, {p[1].__name__}",
)
def run(request):
    sizes, initializer = request.param
    with jax.enable_x64(True):
        train, test = twin()
        params = init_mlp(jax.random.key(1), sizes, initializer)
        options = {
            "train": train,
            "test": test,
            "epochs": EPOCHS,
            "batch_size": BATCH,
            "optimizer": optax.sgd(RATE),
        }
        _, history = jaxnet.fit(mlp, params, **options)
        yield params, options, np.stack([history.train_loss, history.test_loss], axis=1)


@pytest.mark.many
def test_training_by_autodiff_agrees(run):
    params, options, losses = run
    with jax.enable_x64(True):
        _, history = jaxnet.fit(auto(mlp), params, loss=auto(softmax_cross_entropy), **options)
    np.testing.assert_allclose(
        np.stack([history.train_loss, history.test_loss], axis=1), losses, rtol=0, atol=1e-9
    )


@pytest.mark.parametrize("other", [trajectory_by_numpy, trajectory_by_torch])
def test_training_by_others_agrees(run, other):
    params, options, losses = run
    np.testing.assert_allclose(
        other(params, options["train"], options["test"]), losses, rtol=0, atol=1e-9
    )


def test_a_state_dict_goes_out_by_plain_copies():
    torch = pytest.importorskip("torch", reason="PyTorch is the torch extra")
    params = init_mlp(jax.random.key(0), (4, 5, 3))
    net = torch.nn.Sequential(torch.nn.Linear(4, 5), torch.nn.ReLU(), torch.nn.Linear(5, 3))
    names = [f"{2 * i}.{field}" for i in range(2) for field in jaxnet.Layer._fields]
    arrays = (torch.tensor(np.array(leaf)) for leaf in jax.tree.leaves(params))
    net.load_state_dict(dict(zip(names, arrays, strict=True)))
    x = np.random.default_rng(0).normal(size=(7, 4)).astype(np.float32)
    np.testing.assert_allclose(
        net(torch.tensor(x)).detach(), mlp(params, jnp.asarray(x)), rtol=1e-5, atol=1e-6
    )


@pytest.mark.parametrize("sizes", [(3, 2), (3, 4, 2), (3, 5, 4, 3, 2)])
def test_depth(sizes):
    params = init_mlp(jax.random.key(0), sizes)
    assert [layer.weight.shape for layer in params] == list(zip(sizes[1:], sizes[:-1], strict=True))
    assert [layer.bias.shape for layer in params] == [(n,) for n in sizes[1:]]
    assert mlp(params, jnp.ones((2, 6, 3))).shape == (2, 6, 2)


def test_mlp_is_what_its_layers_are():
    params = init_mlp(jax.random.key(0), (3, 4, 5, 2))
    x = jax.random.normal(jax.random.key(1), (6, 3))
    h = jnp.tanh(linear(jnp.tanh(linear(x, *params[0])), *params[1]))
    np.testing.assert_array_equal(mlp(params, x, activation=jnp.tanh), linear(h, *params[2]))
    np.testing.assert_array_equal(mlp(params[:1], x), linear(x, *params[0]))
    pairs = [(np.asarray(layer.weight), np.asarray(layer.bias)) for layer in params]
    np.testing.assert_array_equal(mlp(pairs, x), mlp(params, x, activation=relu))


@pytest.mark.parametrize(
    ("initializer", "low", "high"), [(pytorch_init, -0.1, 0.1), (course_init, 0.0, 0.01)]
)
def test_initialisers_are_uniform(initializer, low, high):
    layer, _ = init_mlp(jax.random.key(0), (100, 400, 2), initializer)
    for values in (np.asarray(layer.weight).ravel(), np.asarray(layer.bias)):
        unit = np.sort((values - low) / (high - low))
        assert unit[0] >= 0
        assert unit[-1] <= 1
        distance = np.abs(unit - (np.arange(unit.size) + 0.5) / unit.size).max()
        # Kolmogorov-Smirnov: exceeded once in 1500 by chance.
        assert distance < 2.0 / np.sqrt(unit.size)
    assert not np.intersect1d(layer.weight, layer.bias).size > 400


def test_jax_initialisers_see_fan_in_as_fan_in():
    layer, _ = init_mlp(jax.random.key(0), (1000, 50, 2), jax.nn.initializers.he_normal())
    assert layer.weight.shape == (50, 1000)
    np.testing.assert_allclose(jnp.std(layer.weight), np.sqrt(2 / 1000), rtol=0.02)
    assert not layer.bias.any()


def test_a_wrapped_initialiser_draws_layer_by_layer():
    """As its docstring says: not the numbers of the one draw, but those of a key for each layer."""
    key, sizes = jax.random.key(0), (3, 4, 2)
    at_once = init_mlp(key, sizes, dtype=jnp.float32)
    wrapped = init_mlp(key, sizes, lambda *args: pytorch_init(*args), dtype=jnp.float32)
    keys = jax.random.split(key, 2)
    by_itself = map(pytorch_init, keys, [(3, 4), (4, 2)], [jnp.float32, jnp.float32])
    for w, one, other in zip(wrapped, by_itself, at_once, strict=True):
        np.testing.assert_allclose(w.weight, one.weight, rtol=1e-6)
        np.testing.assert_allclose(w.bias, one.bias, rtol=1e-6)
        assert (w.weight != other.weight).all()


def test_initialisation_depends_on_the_key_and_may_be_vmapped():
    keys = jax.random.split(jax.random.key(0), 3)
    stacked = jax.vmap(lambda key: init_mlp(key, (3, 4, 2)))(keys)
    one = init_mlp(keys[1], (3, 4, 2))
    for many, leaf in zip(jax.tree.leaves(stacked), jax.tree.leaves(one), strict=True):
        np.testing.assert_array_equal(many[1], leaf)
        assert (many[0] != many[1]).any()


@pytest.mark.many
@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float16, jnp.float32])
def test_networks_in_other_dtypes(dtype):
    params = init_mlp(jax.random.key(0), (3, 8, 2), dtype=dtype)
    x, y = jnp.ones((4, 3), dtype), jnp.array([0, 1, 1, 0])
    assert {leaf.dtype for leaf in jax.tree.leaves(jax.grad(mean_loss)(params, x, y))} == {
        jnp.dtype(dtype)
    }
    assert accuracy(mlp(params, x), y) == 0.5


@pytest.mark.parametrize("norm", ["layer", "rms"])
def test_norms_come_between_map_and_activation(norm):
    key, sizes = jax.random.key(0), (3, 5, 4, 2)
    plain, params = init_mlp(key, sizes), init_mlp(key, sizes, norm=norm)
    for a, b in zip(plain, params, strict=True):
        np.testing.assert_array_equal(a.weight, b.weight)  # the draw stays the same
    assert [type(layer) for layer in params] == [jaxnet.NormLayer, jaxnet.NormLayer, jaxnet.Layer]
    assert (params[0].shift is None) == (norm == "rms")
    params = jax.tree.map(lambda leaf: leaf + 0.1, params)
    x = h = jnp.asarray(np.random.default_rng(0).normal(size=(6, 3)), jnp.float32)
    for layer in params[:-1]:
        z = h @ layer.weight.T + layer.bias
        if norm == "layer":
            z = (z - z.mean(-1, keepdims=True)) / jnp.sqrt(
                z.var(-1, keepdims=True) + 1e-5
            ) + layer.shift / layer.scale
        else:
            z = z / jnp.sqrt((z * z).mean(-1, keepdims=True) + 1e-6)
        h = jnp.tanh(layer.scale * z)
    expected = h @ params[-1].weight.T + params[-1].bias
    np.testing.assert_allclose(
        mlp(params, x, activation=jaxnet.rules.tanh), expected, rtol=1e-5, atol=1e-6
    )


def test_dropout_comes_after_each_activation_and_only_with_a_key():
    params, x, key = (
        init_mlp(jax.random.key(0), (3, 50, 50, 2)),
        jnp.ones((4, 3)),
        jax.random.key(1),
    )
    plain = mlp(params, x)
    np.testing.assert_array_equal(mlp(params, x, dropout_rate=0.5), plain)
    np.testing.assert_array_equal(mlp(params, x, key), plain)
    h = x
    for i, layer in enumerate(params[:-1]):
        h = jaxnet.rules.dropout(
            jax.random.fold_in(key, i), jaxnet.relu(jaxnet.linear(h, *layer)), rate=0.5
        )
    np.testing.assert_array_equal(
        mlp(params, x, key, dropout_rate=0.5), jaxnet.linear(h, *params[-1])
    )


def test_init_refuses_another_norm():
    with pytest.raises(
        ValueError, match='init_mlp: norm must be "layer", "rms" or None, got \'batch\''
    ):
        init_mlp(jax.random.key(0), (3, 4, 2), norm="batch")


def test_the_name_of_an_activation_is_no_activation():
    with pytest.raises(
        TypeError,
        match=r"mlp: activation must be a function such as jaxnet\.rules\.gelu, got 'gelu'",
    ):
        mlp(init_mlp(jax.random.key(0), (3, 4, 2)), jnp.ones((1, 3)), activation="gelu")
