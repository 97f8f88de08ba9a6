"""The table of train.py beside scikit-learn on tables of other packages."""

import importlib.util
import subprocess
import warnings

import benchmark
import numpy as np
import pytest
from benchmarks import tables
from benchmarks.table_list import SOURCES, Source

PRICES = Source("shop", "prices", "price", ("--task", "regression"))
HAS_SKLEARN = importlib.util.find_spec("sklearn") is not None


def test_a_name_without_a_table_is_an_error():
    with pytest.raises(SystemExit, match="argument NAME: no table no_table; there is iris, wine"):
        benchmark.main(["tables", "iris", "no_table"])


def test_there_are_thirty_tables_and_at_most_one_option_for_each():
    assert len({source.name for source in SOURCES}) == len(SOURCES) >= 30
    assert {len(source.option) for source in SOURCES} == {0, 2}


OURS, THEIRS = [0.1, 0.9, 0.91, 0.92, 2.0], [0.9, 0.9, 0.935, 1.0, 1.0]


def test_medians_are_compared_and_differences_seed_by_seed():
    scores = tables.Scores(PRICES, 200, 4, 40, "r2", OURS, THEIRS, [0.9] * 5)
    assert not scores.is_near(scores.theirs)
    assert scores.is_near(scores.same)
    assert not scores.is_off
    mean, error = scores.difference()
    assert mean == pytest.approx(np.mean(OURS) - 0.9)
    assert error == pytest.approx(np.std(OURS, ddof=1) / np.sqrt(5))
    assert tables.line(scores) == (
        "| shop: prices | 200 × 4 | 40 | price | `--task regression` | R² | 0.910 (0.100 to 2.000) "
        "| 0.935 (0.900 to 1.000) | 0.900 (0.900 to 0.900) | +0.066 ± 0.302 |"
    )


def test_what_neither_seeds_nor_nearness_explain_is_off():
    scores = tables.Scores(PRICES, 200, 4, 40, "r2", OURS, THEIRS, [x - 0.1 for x in OURS])
    assert scores.is_off
    assert not scores._replace(same=[x - 0.01 for x in OURS]).is_off
    assert not scores._replace(same=[0.88, 0.1, 0.1, 2.0, 2.0]).is_off


@pytest.mark.skipif(not HAS_SKLEARN, reason="trains in scikit-learn")
def test_the_network_of_train_in_scikit_learn():
    """It starts as here, has an output for each class, and knows their names."""
    from benchmarks.table_models import OPTIONS, as_in_train
    from sklearn.neural_network import MLPClassifier, MLPRegressor

    x = np.random.default_rng(0).normal(size=(200, 4))
    few = OPTIONS | {"max_iter": 1, "learning_rate_init": 1e-9, "random_state": 0}
    y = np.array(["no", "yes"])[(x[:, 0] > 0).astype(int)]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        first, last = as_in_train(MLPClassifier)(**few).fit(x, y).coefs_
        assert (first.shape, last.shape) == ((4, 100), (100, 2))
        assert 0.45 < np.abs(first).max() <= 0.5
        assert 0.09 < np.abs(last).max() <= 0.1
        trained = as_in_train(MLPClassifier)(**few | {"max_iter": 200, "learning_rate_init": 0.1})
        assert trained.fit(x, y).score(x, y) > 0.95
        assert as_in_train(MLPRegressor)(**few).fit(x, x[:, 0]).coefs_[1].shape == (100, 1)


@pytest.mark.parametrize(("code", "said"), [(0, "--task"), (1, "no such column")])
def test_an_option_that_no_error_names_is_not_given(code, said, tmp_path, monkeypatch):
    done = subprocess.CompletedProcess([], code, "", said)
    monkeypatch.setattr(tables, "command", lambda *_: done)
    with pytest.raises(SystemExit, match=r"prices: train\.py does not ask for --task"):
        tables.require_named(PRICES, tmp_path / "prices.csv")
