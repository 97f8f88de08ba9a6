"""Metrics: worked by hand, beside scikit-learn's, and what cannot be counted."""

from fractions import Fraction
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import jaxnet
from jaxnet import accuracy, metrics

NAN = np.nan
NUMBERS = {  # those that are one number in [0, 1]
    "auc": metrics.auc,
    "balanced_accuracy": metrics.balanced_accuracy,
    "f1": metrics.f1,
    "f1_micro": partial(metrics.f1, average="micro"),
    "f1_weighted": partial(metrics.f1, average="weighted"),
}
EVERY = NUMBERS | {
    "confusion_matrix": metrics.confusion_matrix,
    "f1_of_class": partial(metrics.f1, average=None),
}
COMPILED = {name: jax.jit(metric) for name, metric in EVERY.items()}

# Predicted are 0 0 1 1 2 0, right are three: by class 2 of 3, 1 of 2 and none of 1.
LOGITS = np.array(
    [[2, 0, 1], [1, 0, 0], [0, 3, 1], [0, 1, 1], [0, 0, 1], [5, 0, 0]], dtype=np.float32
)
LABELS = np.array([0, 0, 0, 1, 1, 2])
CONFUSION = [[2, 1, 0], [0, 1, 1], [1, 0, 0]]


def one_hot(labels, classes):
    return np.eye(classes, dtype=np.float32)[labels]


def by_pairs(scores, positive):
    """The area by its definition, every pair looked at: an exact fraction."""
    above, below = scores[positive][:, None], scores[~positive]
    won = 2 * np.sum(above > below) + np.sum(above == below)
    return Fraction(int(won), 2 * above.size * below.size)


def log_odds(logits):
    """Of each class in float64; what is equal but for rounding made equal."""
    z = logits.astype(np.float64)
    rest = [np.log(np.exp(np.delete(z, c, axis=1)).sum(1)) for c in range(z.shape[1])]
    return np.round(z - np.stack(rest, axis=1), 9)


def draw(seed, rows=60, classes=3):
    """Every second time of few values: then many are tied."""
    rng = np.random.default_rng(seed)
    z = rng.normal(size=(rows, classes)) * 3
    return (np.round(z) if seed % 2 else z).astype(np.float32), rng.integers(0, classes, rows)


def test_accuracy():
    logits = jnp.array([[2.0, 1.0], [0.0, 3.0], [1.0, 1.0], [jnp.nan, 0.0]])
    # The first of equals wins; NaN is never right.
    assert accuracy(logits, jnp.array([0, 1, 0, 0])) == 0.75
    assert accuracy(logits, jnp.array([1, 1, 1, 1])) == 0.25
    assert accuracy(logits, jax.nn.one_hot(jnp.array([0, 1, 0, 0]), 2)) == 0.75
    assert accuracy(logits, jnp.array([0, 1, 0, 0])).dtype == jnp.float32
    assert jnp.isnan(accuracy(jnp.zeros((0, 2)), jnp.zeros(0, int)))


@pytest.mark.parametrize("labels", [LABELS, one_hot(LABELS, 3), LABELS.astype(np.uint8)])
def test_by_hand(labels):
    matrix = COMPILED["confusion_matrix"](LOGITS, labels)
    np.testing.assert_array_equal(matrix, CONFUSION)
    assert jnp.issubdtype(matrix.dtype, jnp.integer)
    of_class = [4 / 6, 2 / 4, 0]  # 2 right / (there + predicted)
    np.testing.assert_allclose(COMPILED["f1_of_class"](LOGITS, labels), of_class)
    expected = {
        "f1": np.mean(of_class),
        "f1_micro": 3 / 6,
        "f1_weighted": (3 * 4 / 6 + 2 * 2 / 4) / 6,
        "balanced_accuracy": (2 / 3 + 1 / 2 + 0) / 3,
    }
    for name, value in expected.items():
        np.testing.assert_allclose(COMPILED[name](LOGITS, labels), value, rtol=1e-6)


def test_the_area_by_hand():
    scores = np.array([0, 1, 1, 2, 2, 3], dtype=np.float32)
    labels = np.array([0, 0, 1, 0, 1, 1])
    # Of 9 pairs: 1 above 0 and tied with 1; 2 above 0, 1 and tied with 2; 3 above all.
    area = (1.5 + 2.5 + 3) / 9
    np.testing.assert_allclose(COMPILED["auc"](scores, labels), area, rtol=1e-6)
    np.testing.assert_allclose(COMPILED["auc"](-scores, 1 - labels), area, rtol=1e-6)
    assert COMPILED["auc"](scores, (scores > 1).astype(int)) == 1
    assert COMPILED["auc"](scores, (scores < 2).astype(int)) == 0
    # Two zeros are equal, whatever their sign is.
    assert COMPILED["auc"](np.array([0.0, -0.0], np.float32), np.array([0, 1])) == 0.5


@pytest.mark.many
@pytest.mark.parametrize("seed", range(80))
def test_the_area_is_that_of_all_pairs(seed):
    logits, labels = draw(seed)
    odds = log_odds(logits)
    areas = [by_pairs(odds[:, c], labels == c) for c in range(3)]
    area = COMPILED["auc"](logits, labels)
    np.testing.assert_allclose(area, float(sum(areas) / 3), rtol=1e-6)
    two, labels = logits[:, :2], labels // 2
    expected = float(by_pairs(two[:, 1] - two[:, 0], labels == 1))
    np.testing.assert_allclose(COMPILED["auc"](two, labels), expected, rtol=1e-6)


def test_rows_with_equal_probabilities_are_tied():
    """Also where their logits are in another order, or all of them larger."""
    logits = np.array([[0.3, 1, 2.2, 0.1], [0.3, 0.1, 1, 2.2], [2, 3, 0, 2], [5, 3, 5, 6]])
    first, second, third, fourth = metrics._log_odds(logits.astype(np.float32))[:, 0]
    assert first == second
    assert third == fourth


def test_sure_logits_still_rank():
    """Where a probability is 1 in floating point all of them would be tied."""
    margins = np.arange(20, 32, dtype=np.float32)
    logits = np.stack([margins, 0 * margins, 0 * margins], axis=1)
    assert (np.diff(metrics._log_odds(logits)[:, 0]) > 0.9).all()
    assert np.unique(jax.nn.softmax(logits)[:, 0]).size == 1


@pytest.mark.many
@pytest.mark.parametrize("seed", range(80))
def test_as_in_scikit_learn(seed):
    sklearn = pytest.importorskip("sklearn.metrics", reason="compares with scikit-learn")
    logits, labels = draw(seed)
    predicted = logits.argmax(axis=1)
    expected = {
        "confusion_matrix": sklearn.confusion_matrix(labels, predicted),
        "balanced_accuracy": sklearn.balanced_accuracy_score(labels, predicted),
        "auc": sklearn.roc_auc_score(labels, jax.nn.softmax(logits), multi_class="ovr"),
    }
    for name, average in {"": "macro", "_micro": "micro", "_weighted": "weighted"}.items():
        expected["f1" + name] = sklearn.f1_score(labels, predicted, average=average)
    expected["f1_of_class"] = sklearn.f1_score(labels, predicted, average=None)
    if seed % 2:
        del expected["auc"]  # probabilities that should be equal are rounded apart
    for name, value in expected.items():
        np.testing.assert_allclose(COMPILED[name](logits, labels), value, rtol=1e-6, err_msg=name)


def test_absent_classes_as_in_scikit_learn():
    """Of four classes 1 is predicted only, 2 is a label only, 3 is neither."""
    logits, labels = one_hot(np.array([0, 1, 0, 0]), 4), np.array([0, 0, 2, 0])
    recalls, f1s = [2 / 3, 0], [4 / 6, 0, 0]
    np.testing.assert_allclose(COMPILED["balanced_accuracy"](logits, labels), np.mean(recalls))
    np.testing.assert_allclose(COMPILED["f1"](logits, labels), np.mean(f1s), rtol=1e-6)
    np.testing.assert_allclose(COMPILED["f1_of_class"](logits, labels), [*f1s, 0], rtol=1e-6)
    assert COMPILED["confusion_matrix"](logits, labels).shape == (4, 4)
    assert jnp.isnan(COMPILED["auc"](logits, labels))  # no pairs of class 1
    assert jnp.isnan(COMPILED["auc"](logits[:, :2], 0 * labels))  # of class 0 alone


@pytest.mark.parametrize(
    ("shape", "label_of"),
    [((6,), [0, 1]), ((6, 1), [0, 1]), ((6, 1), [0.2, 0.7])],
    ids=["integers", "integers in a column", "probabilities"],
)
def test_one_logit_is_of_two_classes(shape, label_of):
    z, y = np.array([-2, 3, 0, 1, 0.5, -1], np.float32), np.array([0, 1, 1, 1, 0, 0])
    one, two = z.reshape(shape), np.stack([0 * z, z], axis=1)
    labels = np.array(label_of)[y].reshape(shape)
    for name in ("auc", "confusion_matrix"):
        np.testing.assert_array_equal(COMPILED[name](one, labels), COMPILED[name](two, y))
    assert COMPILED["confusion_matrix"](one, y)[1, 0] == 1  # 0 is not above 0


def test_a_row_of_nan_is_not_right():
    logits = LOGITS.copy()
    logits[0] = NAN  # was right; its NaN may be the largest, at the label
    logits[3, 2] = NAN
    np.testing.assert_array_equal(
        COMPILED["confusion_matrix"](logits, LABELS), [[1, 1, 0], [0, 0, 1], [1, 0, 0]]
    )
    # Still there: 3, 2 and 1 examples.
    np.testing.assert_allclose(COMPILED["balanced_accuracy"](logits, LABELS), 1 / 9, rtol=1e-6)
    np.testing.assert_allclose(COMPILED["f1_of_class"](logits, LABELS), [2 / 5, 0, 0], rtol=1e-6)
    assert jnp.isnan(COMPILED["auc"](logits, LABELS))
    assert jnp.isnan(COMPILED["auc"](logits[:, 0], LABELS % 2))


@pytest.mark.parametrize("wrong", [-1, 3])
def test_a_label_that_is_no_class_makes_nan(wrong):
    labels = np.append(LABELS, wrong)
    logits = np.append(LOGITS, LOGITS[:1], axis=0)
    np.testing.assert_array_equal(COMPILED["confusion_matrix"](logits, labels), CONFUSION)
    for name in NUMBERS:
        assert jnp.isnan(COMPILED[name](logits, labels)), name


def test_a_distribution_of_nan_is_no_class():
    labels = one_hot(LABELS, 3)
    labels[0, 0] = NAN
    assert accuracy(LOGITS, labels) == np.float32(2 / 6)
    assert COMPILED["confusion_matrix"](LOGITS, labels).sum() == 5
    assert jnp.isnan(COMPILED["balanced_accuracy"](LOGITS, labels))


def test_few_rows():
    for name in NUMBERS:
        metric = COMPILED[name]
        assert jnp.isnan(metric(np.zeros((0, 2), np.float32), np.zeros(0, int))), name
        one = metric(np.array([[0, 1]], np.float32), np.array([1]))
        assert jnp.isnan(one) if name == "auc" else one == 1, name
    assert not COMPILED["confusion_matrix"](np.zeros((0, 2), np.float32), np.zeros(0, int)).any()


@pytest.mark.parametrize("name", ["confusion_matrix", "f1", "balanced_accuracy", "auc"])
def test_what_is_refused(name):
    metric = EVERY[name]
    with pytest.raises(TypeError, match=f"^{name}: labels must be integers .* got dtype bool"):
        metric(LOGITS, LABELS > 0)
    with pytest.raises(TypeError, match=f"^{name}: labels must be integers .* got dtype bool"):
        metric(LOGITS[:, 0], LABELS > 0)
    with pytest.raises(TypeError, match=f"^{name}: logits must be a floating-point array"):
        metric(LOGITS.astype(int), LABELS)
    with pytest.raises(TypeError, match=f"^{name}: labels must be an array, got list"):
        metric(LOGITS, LABELS.tolist())
    with pytest.raises(ValueError, match=rf"^{name}: .* must have shape \(6,\), got \(6, 1\)"):
        metric(LOGITS, LABELS[:, None])
    with pytest.raises(ValueError, match=rf"^{name}: .* must have shape \(6,\), got \(6, 2\)"):
        metric(LOGITS[:, :1], one_hot(LABELS // 2, 2))


def test_another_average_is_refused():
    with pytest.raises(ValueError, match=r"average must be .* got 'binary'.*average=None\)\[c\]"):
        metrics.f1(LOGITS, LABELS, average="binary")


def test_more_pairs_than_32_bits_hold():
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 2, 300_000)
    scores = rng.integers(0, 50, len(labels)) + 5 * labels
    counts = [np.bincount(scores[labels == c], minlength=60).astype(int) for c in (0, 1)]
    twice = int(np.sum(counts[1] * (2 * np.cumsum(counts[0]) - counts[0])))
    area = float(Fraction(twice, 2 * int(counts[0].sum()) * int(counts[1].sum())))
    assert twice > 2**34
    np.testing.assert_allclose(
        COMPILED["auc"](scores.astype(np.float32), labels), area, rtol=3 * np.finfo(np.float32).eps
    )


def test_sums_are_exact_in_64_bits():
    numbers = np.random.default_rng(0).integers(0, 2**32, (2, 4099), dtype=np.uint32)
    numbers[0] = 2**32 - 1
    with jax.enable_x64(True):  # so that the result is not rounded
        sums = metrics._exact_sums(jnp.asarray(numbers))
    assert [int(total) for total in sums] == [sum(map(int, row)) for row in numbers]


def test_dtypes(x64):
    for dtype in (np.float16, np.float64):
        for name in NUMBERS:
            assert COMPILED[name](LOGITS.astype(dtype), LABELS).dtype == np.float64
    # Computed in float64, whatever the logits are.
    logits, labels = draw(0)
    half = logits.astype(np.float16)
    area = COMPILED["auc"](half, labels)
    assert area == COMPILED["auc"](half.astype(np.float64), labels)
    # Equal in float32.
    assert COMPILED["auc"](np.array([1.0, 1 + 1e-12]), np.array([0, 1])) == 1


def test_examples_may_have_more_axes():
    logits, labels = draw(0)
    for name, metric in COMPILED.items():
        value = metric(logits.reshape(5, 12, 3), labels.reshape(5, 12))
        np.testing.assert_array_equal(value, COMPILED[name](logits, labels), err_msg=name)


@pytest.mark.many
def test_of_a_set_in_batches_and_of_networks_in_one_program():
    """A metric of all rows is not the mean of that of its batches."""
    x, y = draw(0, rows=5000, classes=2)
    params = jnp.stack([jnp.eye(2), jnp.array([[1.0, 0], [2, 1]])])

    def model(params, x):
        return x @ params

    measured = jaxnet.evaluate(model, params[1], (x, y), metrics=EVERY)
    run = {"epochs": 1, "batch_size": 512, "optimizer": optax.sgd(0.1), "runs": 2}
    after, history = jaxnet.fit(model, params, train=(x, y), metrics=EVERY, **run)
    for name, metric in COMPILED.items():
        np.testing.assert_allclose(measured[name], metric(x @ params[1], y), rtol=1e-6)
        of_runs = [metric(x @ one, y) for one in after]
        # The last bits of a logit may move a row or a pair.
        near = {"rtol": 1e-3, "atol": 2 if name == "confusion_matrix" else 0}
        np.testing.assert_allclose(history.values[f"train_{name}"][:, 0], of_runs, **near)
