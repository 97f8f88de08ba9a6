"""scripts/train.py on a target that is a number, and seeds beside simpler models."""

import csv
import importlib.util
import json
import re

import numpy as np
import pytest
from test_train_script import rows_of, train

import jaxnet

OPTIONS = ["--target", "price", "--hidden", 8, "--optimizer", "adam", "--rate", 0.02]
HAS_SKLEARN = importlib.util.find_spec("sklearn") is not None


@pytest.fixture(scope="module")
def houses(tmp_path_factory):
    """Prices far from 0, of a size and a town, with some noise."""
    rng = np.random.default_rng(0)
    size, old = rng.uniform(50, 200, 300), rng.integers(0, 80, 300)
    price = 100_000 + 2000 * size - 500 * old + rng.normal(0, 5000, 300)
    path = tmp_path_factory.mktemp("houses") / "houses.csv"
    with path.open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(["size", "price", "old"])
        table.writerows(zip(size.round(2), price.round(2), old, strict=True))
    return path


def scores(targets, predictions):
    d = predictions - targets
    return {
        "r2": 1 - np.sum(d**2) / np.sum((targets - targets.mean()) ** 2),
        "mean_absolute_error": np.mean(np.abs(d)),
        "root_mean_squared_error": np.sqrt(np.mean(d**2)),
    }


@pytest.fixture(scope="module", params=["squared", "huber"])
def trained(request, houses):
    folder = houses.parent / request.param
    folder.mkdir()
    loss = ["--loss", request.param] if request.param == "huber" else []
    done = train(houses, *OPTIONS, *loss, "--epochs", 60, cwd=folder)
    assert done.returncode == 0, done.stderr
    return folder, done.stdout


def test_it_learns_and_says_how_far_off_it_is_in_units_of_the_file(trained, houses):
    folder, printed = trained
    out = folder / "out" / "train"
    metrics = json.loads((out / "metrics.json").read_text())
    network = jaxnet.load_network(out / "params.npz")
    data = jaxnet.datasets.load(houses, "price")
    assert network.classes == data.classes == ()
    (x, y), (x_test, y_test) = data.train, data.test
    found = scores(y_test[:, 0].astype(np.float64), network.predict(x_test))
    assert 0.9 < found["r2"] < 1
    assert {name: metrics["test"][name] for name in found} == pytest.approx(found, rel=1e-3)
    for name in ("r2", "mean_absolute_error"):
        assert metrics["last"][f"test_{name}"] == pytest.approx(found[name], rel=1e-3)
        of_train = scores(y[:, 0].astype(np.float64), network.predict(x))[name]
        assert metrics["last"][f"train_{name}"] == pytest.approx(of_train, rel=1e-3)
    mean = np.full(len(y_test), y.mean())
    always = {"prediction": y.mean()} | scores(y_test[:, 0].astype(np.float64), mean)
    assert metrics["test"]["always"] == pytest.approx(always, rel=1e-3, abs=1e-5)
    assert metrics["test"]["always"]["r2"] <= 0
    line = next(line for line in printed.splitlines() if line.startswith("test "))
    assert line.split()[1:] == [
        f"{metrics['last']['test_loss']:.4f}",
        f"{metrics['last']['test_r2']:.4f}",
        f"{metrics['last']['test_mean_absolute_error']:.0f}",
    ]
    assert f"always {y.mean():.0f}"[:10] in printed
    assert "the mean: R² -0.00" in printed
    head = next(iter(rows_of(out / "history.csv")))
    assert {"train_r2", "test_r2", "test_mean_absolute_error"} < set(head)


def test_predictions_are_in_units_of_the_file(trained, houses, tmp_path):
    folder, _ = trained
    rows = rows_of(houses)[:50]
    rows[2]["price"], rows[7]["price"] = "unknown", "1_000"  # which Python alone reads
    with (tmp_path / "new.csv").open("w", newline="") as file:
        table = csv.DictWriter(file, [*reversed(rows[0])])
        table.writeheader()
        table.writerows(rows)
    params = folder / "out" / "train" / "params.npz"
    done = train("--predict", "new.csv", "--params", params, "--id", "old", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    predicted = rows_of(tmp_path / "out" / "train" / "predictions.csv")
    assert list(predicted[0]) == ["old", "prediction"]
    numbers = np.array([float(row["prediction"]) for row in predicted])
    x = np.float32([[row["size"], row["old"]] for row in rows])
    np.testing.assert_array_equal(numbers, jaxnet.load_network(params).predict(x))
    known = np.isin(np.arange(50), (2, 7), invert=True)
    truth = np.array(
        [float(row["price"]) for row, is_known in zip(rows, known, strict=True) if is_known]
    )
    found = scores(truth, numbers[known])
    r2, error = re.search(r"by price: R² (\S+), error (\S+), of 48 rows", done.stdout).groups()
    assert float(r2) == pytest.approx(found["r2"], abs=1e-4)
    assert float(error) == pytest.approx(found["mean_absolute_error"], rel=1e-3)
    assert "2 rows have no number as price" in done.stdout
    assert "50 rows of new.csv: " in done.stdout


@pytest.mark.many
def test_seeds_end_with_their_range_beside_simpler_models(houses, tmp_path):
    done = train(houses, *OPTIONS, "--epochs", 20, "--runs", 4, "--patience", 9, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    out = tmp_path / "out" / "train"
    table = [float(row["test_r2"]) for row in rows_of(out / "sweep.csv")]
    assert len(table) == 4
    test = json.loads((out / "metrics.json").read_text())["test"]
    expected = {"median": np.median(table), "least": min(table), "most": max(table)}
    assert {name: test["seeds"][name] for name in expected} == pytest.approx(expected)
    end = done.stdout.partition("written to")[2]
    assert f"{np.median(table):.4f}    {min(table):.4f} to {max(table):.4f}" in end
    assert f"\nalways {test['always']['prediction']:.0f}"[:9] in end
    assert "validation loss                  R²" in done.stdout
    if HAS_SKLEARN:
        assert test["others"]["ridge regression"] > 0.95  # the prices are linear
        assert f"{test['others']['boosted trees']:.4f}" in end
    else:
        assert test["others"] == {}
        assert "where scikit-learn is installed" in end


@pytest.mark.many
def test_what_cannot_be_counted_of_one_test_row_is_left_open(tmp_path):
    (tmp_path / "few.csv").write_text("a,b\n1,1.5\n2,2.5\n3,3.5\n4,5.5\n")
    done = train("few.csv", "--target", "b", "--epochs", 2, "--runs", 2, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert re.search(r"2 seeds +- +- to -\n", done.stdout)
    test = json.loads((tmp_path / "out" / "train" / "metrics.json").read_text())["test"]
    assert test["r2"] is test["seeds"]["median"] is test["always"]["r2"] is None


@pytest.mark.many
def test_seeds_of_classes_stand_beside_the_majority(tmp_path):
    y = np.arange(400) % 4 == 0
    x = np.random.default_rng(0).normal(size=(400, 3)) + y[:, None]
    np.savez(tmp_path / "rare.npz", x=x, y=y.astype(int))
    options = ["--class-weights", "balanced", "--epochs", 5, "--hidden", 4, "--runs", 3]
    done = train("rare.npz", *options, "--rates", 0.1, 1e30, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    end = done.stdout.partition("written to")[2]
    assert "always 0                  75.00%" in end
    assert "3 seeds" in end
    test = json.loads((tmp_path / "out" / "train" / "metrics.json").read_text())["test"]
    assert (test["seeds"]["rate"], test["seeds"]["diverged"]) == (0.1, 0)
    names = {"logistic regression", "boosted trees"} if HAS_SKLEARN else set()
    assert test["others"].keys() == names


@pytest.mark.parametrize(
    ("target", "options", "text"),
    [
        ("old", [], "the target has 78 different whole numbers, from 0 to 79"),
        ("old", [], "say --task classification or --task regression"),
        ("price", ["--task", "classification"], "..., too few; expected 2 of each class"),
        ("price", ["--class-weights", "balanced"], "for classes, the target is a number"),
    ],
)
def test_what_does_not_fit_the_task_is_explained(target, options, text, houses, tmp_path):
    done = train(houses, "--target", target, *options, cwd=tmp_path)
    assert done.returncode != 0
    assert text in done.stderr
    assert "Traceback" not in done.stderr
    assert not list(tmp_path.iterdir())


def test_a_loss_of_numbers_is_not_for_classes(tmp_path):
    done = train("--loss", "huber", cwd=tmp_path)
    assert "--loss huber: for numbers, the target has classes; leave it out" in done.stderr
