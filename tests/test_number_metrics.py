"""R² and errors of predicted numbers: worked by hand, beside scikit-learn's."""

import jax
import numpy as np
import pytest

from jaxnet import metrics

EVERY = {
    name: getattr(metrics, name)
    for name in ("r2", "mean_absolute_error", "root_mean_squared_error")
}
COMPILED = {name: jax.jit(metric) for name, metric in EVERY.items()}
P = np.array([[1, 2], [2, 2], [4, 2]], np.float32)
T = np.array([[1, 0], [2, 2], [3, 1]], np.float32)


def test_by_hand():
    # Squared errors 1 of a spread of 2, and 5 of 2.
    expected = {
        "r2": (1 - 1 / 2 + 1 - 5 / 2) / 2,
        "mean_absolute_error": 4 / 6,
        "root_mean_squared_error": ((1 / 3) ** 0.5 + (5 / 3) ** 0.5) / 2,
    }
    for name, value in expected.items():
        np.testing.assert_allclose(COMPILED[name](P, T), value, rtol=1e-6, err_msg=name)
        of_one = COMPILED[name](P[:, :1], T[:, :1])
        np.testing.assert_array_equal(COMPILED[name](P[:, 0], T[:, 0]), of_one)
    always = np.full_like(T, T[:, 0].mean())
    assert COMPILED["r2"](always[:, 0], T[:, 0]) == 0


@pytest.mark.many
@pytest.mark.parametrize("seed", range(80))
def test_as_in_scikit_learn(seed):
    sklearn = pytest.importorskip("sklearn.metrics", reason="compares with scikit-learn")
    rng = np.random.default_rng(seed)
    targets = (rng.normal(size=(50, 3)) * [1, 1e-3, 1e4] + [0, 5, -1e4]).astype(np.float32)
    predictions = (targets + rng.normal(size=(50, 3)) * [1, 1e-3, 1e4]).astype(np.float32)
    if seed % 4 == 1:
        targets[:, seed % 3] = 5  # no spread
    if seed % 8 == 1:
        predictions[:, seed % 3] = 5  # nor an error
    expected = {
        "r2": sklearn.r2_score,
        "mean_absolute_error": sklearn.mean_absolute_error,
        "root_mean_squared_error": sklearn.root_mean_squared_error,
    }
    for name, metric in expected.items():
        found = COMPILED[name](predictions, targets)
        value = metric(targets.astype(np.float64), predictions.astype(np.float64))
        np.testing.assert_allclose(found, value, rtol=1e-4, err_msg=name)


def test_what_cannot_be_counted():
    constant = np.full_like(T, 7)
    assert COMPILED["r2"](constant, constant) == 1
    assert COMPILED["r2"](P, constant) == 0
    assert np.isnan(COMPILED["r2"](P[:1], T[:1]))
    for name, metric in COMPILED.items():
        assert np.isnan(metric(P[:0], T[:0])), name
        holding = P.copy()
        holding[1, 1] = np.nan
        assert np.isnan(metric(holding, T)), name
        assert np.isnan(metric(holding, constant)), name


@pytest.mark.parametrize("name", EVERY)
def test_what_is_refused(name):
    metric = EVERY[name]
    with pytest.raises(ValueError, match=rf"^{name}: .* got \(3, 2\) and \(3,\)"):
        metric(P, T[:, 0])
    with pytest.raises(ValueError, match=rf"^{name}: .* got \(3, 1\) and \(3,\)"):
        metric(P[:, :1], T[:, 0])
    with pytest.raises(TypeError, match=f"^{name}: targets must be a floating-point array"):
        metric(P, T.astype(int))
