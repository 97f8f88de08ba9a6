"""Classes that count more than others: the balanced weights, and a loss that takes them."""

import inspect

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import jaxnet
from jaxnet import class_weighted, init_mlp, mlp, softmax_cross_entropy
from jaxnet.metrics import balanced_class_weights

RNG = np.random.default_rng(0)
LABELS = np.repeat([0, 1, 2], [30, 8, 2])
X = RNG.normal(size=(40, 4)).astype(np.float32)
WEIGHTS = balanced_class_weights(LABELS, 3)
PARAMS = init_mlp(jax.random.key(0), (4, 3))


def fit(loss, y=LABELS, **changes):
    run = {"train": (X, y), "epochs": 3, "batch_size": 16, "optimizer": optax.sgd(0.1)}
    return jaxnet.fit(mlp, PARAMS, loss=loss, **(run | changes))


def test_balanced_weights():
    np.testing.assert_allclose(WEIGHTS, [40 / 90, 40 / 24, 40 / 6])
    assert WEIGHTS[LABELS].mean() == pytest.approx(1)
    utils = pytest.importorskip("sklearn.utils", reason="compares with scikit-learn")
    theirs = utils.compute_class_weight("balanced", classes=np.arange(3), y=LABELS)
    np.testing.assert_array_equal(WEIGHTS, theirs)


@pytest.mark.parametrize(
    ("labels", "error", "text"),
    [
        (LABELS, ValueError, "no row has label 3"),
        (LABELS + 2, ValueError, "labels must be in 0 .. 3 for 4 classes, got 4"),
        (LABELS - 1, ValueError, "labels must be in 0 .. 3 for 4 classes, got -1"),
        (LABELS[:, None], ValueError, r"labels must have shape \[rows\], got \(40, 1\)"),
        (LABELS > 0, TypeError, "labels must be integers, got dtype bool"),
        (LABELS[:0], ValueError, "no row has label 0"),
    ],
)
def test_what_has_no_balanced_weights(labels, error, text):
    with pytest.raises(error, match=text):
        balanced_class_weights(labels, 4)


@pytest.mark.parametrize("kind", ["integers", "one-hot"])
def test_each_loss_and_gradient_is_multiplied(kind):
    labels = LABELS if kind == "integers" else np.eye(3, dtype=np.float32)[LABELS]
    weighted = class_weighted(WEIGHTS)
    logits = mlp(PARAMS, X)
    (value, slope), (expected, plain) = (
        (loss(logits, labels), jax.grad(lambda z, loss=loss: loss(z, labels).sum())(logits))
        for loss in (weighted, softmax_cross_entropy)
    )
    np.testing.assert_allclose(value, expected * WEIGHTS[LABELS], rtol=1e-6)
    np.testing.assert_allclose(slope, plain * WEIGHTS[LABELS, None], rtol=1e-5, atol=1e-7)
    assert value.dtype == logits.dtype
    half = weighted(logits.astype(jnp.bfloat16), jnp.asarray(labels))
    assert half.dtype == jnp.bfloat16


def test_a_distribution_counts_the_mean_of_its_weights():
    logits, labels = jnp.zeros((1, 2)), jnp.array([[0.25, 0.75]])
    np.testing.assert_allclose(class_weighted([1, 9])(logits, labels), [7 * np.log(2)], rtol=1e-6)


def test_how_the_mean_differs_from_pytorchs():
    torch = pytest.importorskip("torch", reason="compares with PyTorch")
    logits = np.array(mlp(PARAMS, X))
    theirs = torch.nn.CrossEntropyLoss(weight=torch.tensor(WEIGHTS, dtype=torch.float32))

    def means(rows):
        loss = theirs(torch.tensor(logits[rows]), torch.tensor(LABELS[rows]))
        return class_weighted(WEIGHTS)(logits[rows], LABELS[rows]).mean(), float(loss)

    np.testing.assert_allclose(*means(slice(40)), rtol=1e-6)  # of the whole set
    ours, other = means(slice(8))  # of a batch of class 0 alone
    np.testing.assert_allclose(ours, WEIGHTS[0] * other, rtol=1e-6)


def test_a_label_out_of_range_makes_nan():
    losses = class_weighted(WEIGHTS, lambda outputs, y: outputs[:, 0])(
        X[:3, :3], np.array([-1, 3, 0])
    )
    np.testing.assert_array_equal(np.isnan(losses), [True, True, False])


@pytest.mark.parametrize("shape", [(40,), (40, 1)])
def test_one_logit_is_of_two_classes(shape):
    def loss(outputs, y):
        return jaxnet.rules.sigmoid_binary_cross_entropy(outputs.reshape(y.shape), y)

    z, y = X[:, 0].reshape(shape), LABELS // 2
    weighted = class_weighted([1, 5], loss)(z, y)
    np.testing.assert_allclose(weighted, loss(z, y) * (1 + 4 * y), rtol=1e-6)


@pytest.mark.parametrize("weights", [1.0, [[1, 2]], [1, np.nan], [1, np.inf], [-1, 1]])
def test_weights_that_are_none(weights):
    with pytest.raises(ValueError, match="weights must be one finite number for each"):
        class_weighted(weights)


def test_labels_and_outputs_that_do_not_fit():
    with pytest.raises(ValueError, match=r"2 weights for outputs of shape \(40, 3\).* 3 classes"):
        fit(class_weighted([1, 2]))
    with pytest.raises(ValueError, match=r"labels must be in 0 \.\. 2 .*got 1 \.\. 3"):
        fit(class_weighted(WEIGHTS), y=LABELS + 1)  # looked at as without weights
    with pytest.raises(
        ValueError, match=r"integers of shape \(40,\).*got float32 of shape \(40, 1\)"
    ):
        class_weighted([1, 1, 1], lambda outputs, y: outputs[:, 0])(X[:, :3], X[:, :1])


def test_fit_compiles_once(compilations):
    params, _ = fit(class_weighted(WEIGHTS))
    compilations.clear()
    again, _ = fit(class_weighted(WEIGHTS.copy()))
    assert not compilations
    assert class_weighted(WEIGHTS) == class_weighted(list(WEIGHTS))
    assert class_weighted(WEIGHTS) != class_weighted(WEIGHTS + 1)
    assert class_weighted(WEIGHTS) != class_weighted(WEIGHTS, jaxnet.auto(softmax_cross_entropy))
    jax.tree.map(np.testing.assert_array_equal, again, params)


def test_weights_are_part_of_what_is_trained():
    plain, _ = fit(softmax_cross_entropy)
    ones, _ = fit(class_weighted([1, 1, 1]))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-6), plain, ones)
    twice, history = fit(class_weighted([2, 2, 2]), optimizer=optax.sgd(0.05))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5), plain, twice)
    measured = jaxnet.evaluate(mlp, twice, (X, LABELS))["loss"]
    assert history.train_loss[-1] == pytest.approx(2 * measured, rel=1e-5)


def test_auto_takes_the_rule_off_inside():
    weighted, logits = class_weighted(WEIGHTS), mlp(PARAMS, X)
    assert inspect.unwrap(jaxnet.auto(weighted)) is inspect.unwrap(softmax_cross_entropy)
    by_hand, automatic = (
        str(jax.make_jaxpr(f)(logits, LABELS)) for f in (weighted, jaxnet.auto(weighted))
    )
    assert "custom_vjp" in by_hand
    assert "custom_vjp" not in automatic
