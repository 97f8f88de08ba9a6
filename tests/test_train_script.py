"""scripts/train.py as a user runs it."""

import contextlib
import csv
import io
import json
import runpy
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

import jaxnet
from jaxnet import _training_run

ROOT = Path(__file__).parents[1]
SCRIPT = ROOT / "scripts" / "train.py"
CANCER = ROOT / "data" / "breast_cancer.csv"


def train_in_a_process(*args, cwd):
    command = [sys.executable, SCRIPT, *map(str, args)]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True)


def train(*args, cwd):
    """The script with these arguments, in this process: JAX is imported once."""
    command = [str(SCRIPT), *map(str, args)]
    output, errors, code = io.StringIO(), io.StringIO(), 0
    with pytest.MonkeyPatch.context() as patch, contextlib.chdir(cwd):
        patch.setattr(sys, "argv", command)
        with contextlib.redirect_stdout(output), contextlib.redirect_stderr(errors):
            try:
                runpy.run_path(str(SCRIPT), run_name="__main__")
            except SystemExit as stopped:
                code = stopped.code
    if isinstance(code, str):  # as Python does at its end
        errors.write(f"{code}\n")
        code = 1
    return subprocess.CompletedProcess(command, code, output.getvalue(), errors.getvalue())


def rows_of(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def cancer(tmp_path_factory):
    folder = tmp_path_factory.mktemp("cancer")
    done = train_in_a_process(
        CANCER,
        "--target",
        "diagnosis",
        "--hidden",
        16,
        "--epochs",
        40,
        "--optimizer",
        "adam",
        cwd=folder,
    )
    assert done.returncode == 0, done.stderr
    return folder, done.stdout


def test_a_csv_is_trained_on_and_everything_is_written(cancer):
    folder, printed = cancer
    out = folder / "out" / "train"
    assert {path.name for path in out.iterdir()} == {
        "metrics.json",
        "history.csv",
        "history.png",
        "params.npz",
    }
    assert "456 rows to train on, 113 to test on" in printed
    assert "30 features, standardised; classes benign, malignant" in printed
    metrics = json.loads((out / "metrics.json").read_text())
    history = rows_of(out / "history.csv")
    assert len(history) == metrics["run"]["epochs"] == 40
    assert float(history[-1]["test_accuracy"]) == metrics["last"]["test_accuracy"] > 0.9
    assert f"{metrics['last']['test_accuracy']:.2%}" in printed
    assert metrics["options"]["standardize"] is metrics["options"]["shuffle"] is True
    assert (out / "history.png").read_bytes().startswith(b"\x89PNG")


def test_predictions_are_the_networks(cancer):
    folder, _ = cancer
    params = folder / "out" / "train" / "params.npz"
    done = train("--predict", CANCER, "--params", params, "--out", "new", cwd=folder)
    assert done.returncode == 0, done.stderr
    predicted = rows_of(folder / "new" / "predictions.csv")
    truth = [row["diagnosis"] for row in rows_of(CANCER)]
    right = np.mean([row["class"] == name for row, name in zip(predicted, truth, strict=True)])
    metrics = json.loads((folder / "out" / "train" / "metrics.json").read_text())["last"]
    expected = (456 * metrics["train_accuracy"] + 113 * metrics["test_accuracy"]) / 569
    # Scaled as in training, or this would not be so.
    assert right == pytest.approx(expected, abs=1e-6)
    for row in predicted:
        p = [float(row[f"probability of {name}"]) for name in ("benign", "malignant")]
        assert sum(p) == pytest.approx(1, abs=1e-6)
        assert row["class"] == ("benign", "malignant")[p[1] > p[0]]


def test_a_prediction_keeps_ids_counts_wrong_rows_and_warns_of_far_ones(cancer, tmp_path):
    folder, _ = cancer
    rows = rows_of(CANCER)[:60]
    for number, row in enumerate(rows):
        row["patient"] = f"p{number}"
    rows[3]["mean radius"], rows[8]["mean radius"], rows[9]["mean radius"] = "-99", "60", "30"
    rows[5]["diagnosis"] = "unknown"
    rows[7]["diagnosis"] = "benign"  # it is malignant, and so predicted
    with (tmp_path / "new.csv").open("w", newline="") as file:
        table = csv.DictWriter(file, [*reversed(rows[0])])
        table.writeheader()
        table.writerows(rows)

    params = folder / "out" / "train" / "params.npz"
    done = train("--predict", "new.csv", "--params", params, "--id", "patient", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    predicted = rows_of(tmp_path / "out" / "train" / "predictions.csv")
    assert [row["patient"] for row in predicted] == [row["patient"] for row in rows]
    x = np.float32([[row[name] for name in jaxnet.load_network(params).features] for row in rows])
    assert [row["class"] for row in predicted] == jaxnet.load_network(params).predict(x).tolist()

    wrong = [
        number
        for number, (row, truth) in enumerate(zip(predicted, rows, strict=True), 1)
        if row["class"] != truth["diagnosis"] and number != 6
    ]
    assert f"{len(wrong)} of 59 wrong, rows {wrong[0]}" in done.stdout
    assert f"accuracy by diagnosis: {1 - len(wrong) / 59:.2%}" in done.stdout
    assert "1 rows have another diagnosis than in training: 'unknown'" in done.stdout
    assert "2 of 60 rows are far outside" in done.stderr
    assert "row 4: mean radius is -99, in training 6.981 to 28.11" in done.stderr
    assert "row 9: mean radius is 60" in done.stderr


def test_without_arguments_the_reports_job_runs(tmp_path):
    done = train("--epochs", 5, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "500 rows to train on, 200 to test on" in done.stdout
    options = json.loads((tmp_path / "out" / "train" / "metrics.json").read_text())["options"]
    assert options["standardize"] is options["shuffle"] is False


def test_hand_and_auto_train_the_same(tmp_path):
    last = []
    for gradients in ("hand", "auto"):
        done = train("--epochs", 20, "--gradients", gradients, "--out", gradients, cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        last.append(json.loads((tmp_path / gradients / "metrics.json").read_text())["last"])
    assert last[0] == pytest.approx(last[1], abs=1e-5)


@pytest.mark.many
def test_npz_with_a_schedule(tmp_path):
    data = jaxnet.datasets.load(ROOT / "data" / "course_twin")
    np.savez(tmp_path / "twin.npz", x=data.train[0], y=data.train[1])
    done = train("twin.npz", "--schedule", "cosine", "--epochs", 3, "--hidden", 8, 8, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "network 10-8-8-2" in done.stdout


@pytest.mark.parametrize("weights", ["none", "balanced"])
def test_rare_classes_are_told_of_and_weighted(weights, tmp_path):
    y = np.arange(500) % 20 == 0  # one in twenty
    x = np.random.default_rng(0).normal(size=(500, 3)) + y[:, None]
    np.savez(tmp_path / "rare.npz", x=x, y=y.astype(int))
    options = ("--class-weights", weights, "--hidden", "--optimizer", "adam", "--rate", 0.1)
    done = train("rare.npz", "--epochs", 20, *options, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    metrics = json.loads((tmp_path / "out" / "train" / "metrics.json").read_text())
    test, accuracy = metrics["test"], metrics["last"]["test_accuracy"]
    assert f"always {test['always']['class']}: {test['always']['accuracy']:.2%}" in done.stdout

    (right, wrong), (missed, found) = test["confusion_matrix"]
    rows = right + wrong + missed + found
    assert test["always"] == {"class": "0", "accuracy": pytest.approx((right + wrong) / rows)}
    assert accuracy == pytest.approx((right + found) / rows)
    assert test["f1"]["1"] == pytest.approx(2 * found / (2 * found + wrong + missed))
    assert 0.5 < test["auc"] <= 1
    if weights == "none":
        assert found < missed
    else:
        assert found > missed
        assert accuracy < test["always"]["accuracy"]


@pytest.mark.many
def test_activation_norm_and_dropout_are_trained_saved_and_predicted_with(tmp_path):
    options = ["--activation", "gelu", "--norm", "layer", "--dropout", 0.3, "--hidden", 16, 8]
    done = train(
        CANCER,
        "--target",
        "diagnosis",
        "--epochs",
        20,
        "--optimizer",
        "adam",
        *options,
        cwd=tmp_path,
    )
    assert done.returncode == 0, done.stderr
    assert "network 30-16-8-2, gelu, layer norm, dropout 0.3, gradients by hand" in done.stdout
    out = tmp_path / "out" / "train"
    with np.load(out / "params.npz") as network:
        assert network["activation"] == "gelu"
        assert {"0.scale", "0.shift", "1.scale", "1.shift", "2.weight", "2.bias"} < set(
            network.files
        )
    done = train("--predict", CANCER, "--params", out / "params.npz", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    right = [
        a["class"] == b["diagnosis"]
        for a, b in zip(rows_of(out / "predictions.csv"), rows_of(CANCER), strict=True)
    ]
    metrics = json.loads((out / "metrics.json").read_text())
    expected = (
        456 * metrics["last"]["train_accuracy"] + 113 * metrics["last"]["test_accuracy"]
    ) / 569
    # The same network, and without dropout.
    assert np.mean(right) == pytest.approx(expected, abs=1e-6)
    assert metrics["options"]["dropout"] == 0.3


@pytest.mark.many
@pytest.mark.parametrize(
    "options",
    [["--activation", "tanh", "--norm", "rms"], ["--activation", "softplus", "--dropout", "0.5"]],
)
def test_hand_and_auto_train_the_same_with_options(options, tmp_path):
    last = []
    for gradients in ("hand", "auto"):
        done = train(
            "--epochs", 5, "--gradients", gradients, "--out", gradients, *options, cwd=tmp_path
        )
        assert done.returncode == 0, done.stderr
        last.append(json.loads((tmp_path / gradients / "metrics.json").read_text())["last"])
    assert last[0] == pytest.approx(last[1], abs=1e-5)


def test_a_network_saved_before_there_were_activations_is_one_with_relu(cancer, tmp_path):
    folder, _ = cancer
    with np.load(folder / "out" / "train" / "params.npz") as network:
        arrays = {name: network[name] for name in network.files}
    assert arrays["activation"] == "relu"
    tables = []
    for name in ("new", "old", "odd"):
        if name == "old":
            del arrays["activation"]
        if name == "odd":
            arrays["activation"] = np.array("relu6")
        np.savez(tmp_path / f"{name}.npz", **arrays)
        done = train("--predict", CANCER, "--params", f"{name}.npz", "--out", name, cwd=tmp_path)
        if name == "odd":
            assert (
                "activation must be one of relu, gelu, silu, tanh, sigmoid, softplus, got 'relu6'"
                in done.stderr
            )
        else:
            assert done.returncode == 0, done.stderr
            tables.append((tmp_path / name / "predictions.csv").read_text())
    assert tables[0] == tables[1]


@pytest.mark.many
@pytest.mark.parametrize(
    ("args", "text"),
    [
        (["nope.csv"], "train.py: nope.csv: no such file or folder"),
        ([CANCER], "expected the column with the labels, one of 'mean radius'"),
        ([CANCER, "--target", "diagnosi"], "target is 'diagnosi'"),
        (["--epochs", "0"], "epochs must be a positive integer, got 0"),
        (["--batch-size", "0"], "batch_size must be a positive integer, got 0"),
        (["--rate", "-1"], "--rate must be a positive number, got -1.0"),
        (["--rate", "1e30"], "training loss became nan in epoch 1; a smaller learning rate"),
        (["--dropout", "1"], "--dropout takes the probability to drop, in [0, 1), got 1.0"),
        (["--norm", "batch"], "invalid choice: 'batch'"),
        (["--hidden", "10", "0"], "--hidden takes positive sizes, got [10, 0]"),
        (["--predict", "new.csv"], "--predict NEW.csv and --params NPZ go together"),
        (
            [CANCER, "--epochs", "200", "--predict", "new.csv", "--params", "params.npz"],
            "--epochs, FILE: for training, --predict does not use it; leave it out",
        ),
        (["--patience", "3"], "--patience needs a validation set; give --validation 0.2"),
        (["--runs", "2", "--validation", "0"], "runs are ranked by validation; give a fraction"),
        (["--rates", "1", "2", "--rate", "3"], "--rate and --rates: give one of them"),
        (["--validation", "1"], "--validation takes a fraction, in [0, 1), got 1.0"),
        (["--id", "name"], "--id: for --predict, training does not use it"),
        (["--out", SCRIPT], "train.py is a file; give a folder, new or old"),
        (["--predict", CANCER, "--params", ROOT], "a folder; expected the path of the params.npz"),
        (
            ["--predict", CANCER, "--params", "nope.npz"],
            "--params nope.npz: no such file; train.py writes one",
        ),
        (
            ["--predict", CANCER, "--params", CANCER],
            "not an .npz archive; expected the params.npz that train.py writes",
        ),
    ],
)
def test_bad_input_is_explained_and_nothing_is_written(args, text, tmp_path):
    done = train(*args, cwd=tmp_path)
    assert done.returncode != 0
    assert text in done.stderr
    assert "Traceback" not in done.stderr
    assert not list(tmp_path.iterdir())


def test_a_column_missing_at_prediction_is_named(cancer, tmp_path):
    folder, _ = cancer
    (tmp_path / "new.csv").write_text("mean radius,other\n1.0,2.0\n")
    done = train(
        "--predict", "new.csv", "--params", folder / "out" / "train" / "params.npz", cwd=tmp_path
    )
    assert done.returncode != 0
    assert "no column 'mean texture'" in done.stderr
    assert not (tmp_path / "out").exists()


def test_ctrl_c_ends_a_process_and_saves_the_run(tmp_path, ctrl_c_works):
    command = [sys.executable, SCRIPT, "--epochs", "300000"]
    process = subprocess.Popen(
        command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    while not (tmp_path / "out" / "train").exists():  # there will be its checkpoint
        assert process.poll() is None, process.communicate()
        time.sleep(0.05)
    time.sleep(0.3)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=120)
    assert process.returncode == 128 + signal.SIGINT, errors
    assert "the same call goes on from there" in errors
    assert (tmp_path / "out" / "train" / "checkpoint.npz").exists()


def test_ctrl_c_saves_what_was_trained(tmp_path, monkeypatch, ctrl_c_works):
    signal_after(monkeypatch, signal.SIGINT, epochs=1)
    done = train("--epochs", 300000, cwd=tmp_path)
    assert done.returncode == 128 + signal.SIGINT
    assert "interrupted: what was trained in" in done.stdout
    metrics = json.loads((tmp_path / "out" / "train" / "metrics.json").read_text())
    assert metrics["run"]["interrupted"] is True
    assert len(rows_of(tmp_path / "out" / "train" / "history.csv")) == metrics["run"]["epochs"]


def signal_after(patch, number, epochs):
    """Let a signal come, once, when so much is trained."""
    left = [number]

    def show(done, _):
        if left and done >= epochs:
            signal.raise_signal(left.pop())

    @contextlib.contextmanager
    def display(*_):
        yield show

    patch.setattr(_training_run, "progress_display", display)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_same_command_goes_on_to_the_same_bits(number, tmp_path, monkeypatch, ctrl_c_works):
    options = ["--epochs", 8, "--validation", 0.25, "--hidden", 4, "--shuffle", "--dropout", 0.2]
    done = train(*options, "--no-checkpoint", "--out", "whole", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    with monkeypatch.context() as patch:
        signal_after(patch, number, epochs=0)
        done = train(*options, cwd=tmp_path)
    assert done.returncode == 128 + number
    assert "epochs are saved in" in done.stderr
    out = tmp_path / "out" / "train"
    assert (out / "checkpoint.npz").exists()
    done = train(*options, "--seed", 1, cwd=tmp_path)
    assert done.returncode != 0
    assert "checkpoint.npz is of another run" in done.stderr
    done = train(*options, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    for name in ("params.npz", "history.csv"):
        assert (out / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()
    assert not (out / "checkpoint.npz").exists()


@pytest.mark.many
def test_runs_are_ranked_by_validation_and_the_best_is_kept(tmp_path):
    options = [CANCER, "--target", "diagnosis", "--hidden", 4, "--epochs", 12, "--batch-size", 32]
    done = train(*options, "--rates", 0.003, 0.1, 1e9, "--runs", 2, "--patience", 5, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    out = tmp_path / "out" / "train"
    table = rows_of(out / "sweep.csv")
    assert [(row["rate"], row["seed"]) for row in table] == [
        (rate, seed) for rate in ("0.003", "0.1", "1000000000.0") for seed in "01"
    ]
    assert [row["diverged"] for row in table] == ["False"] * 4 + ["True"] * 2
    losses = [float(row["validation_loss"]) for row in table[:4]]
    best = table[int(np.argmin(losses))]

    mean = f"{np.mean(losses[2:]):.4f} ± {np.std(losses[2:]):.4f}"
    lines = done.stdout.splitlines()
    rates = [line.split()[0] for line in lines if "±" in line or " of 2" in line]
    assert rates == ["0.1", "0.003", "1e+09"]
    assert mean in done.stdout
    assert f"the best on validation: rate {float(best['rate']):g}, seed {best['seed']}" in lines

    # It is the network of that run, at its best epoch.
    metrics = json.loads((out / "metrics.json").read_text())
    assert metrics["run"]["best_epoch"] == int(best["best_epoch"])
    for name in ("train_loss", "test_loss", "test_accuracy"):
        assert metrics["at_best_epoch"][name] == float(best[name])
    data = jaxnet.datasets.load(CANCER, "diagnosis")
    predicted = jaxnet.load_network(out / "params.npz").predict(data.test[0])
    right = np.mean(predicted == np.array(data.classes)[data.test[1]])
    assert right == pytest.approx(float(best["test_accuracy"]), abs=1e-6)
    assert len(rows_of(out / "history.csv")) == int(best["epochs"])
    assert (out / "sweep.png").read_bytes().startswith(b"\x89PNG")

    # A run of its own with the rate and the seed of another, and the same split, is the same.
    alone = ["--rate", 0.1, "--validation", 0.2, "--patience", 5, "--out", "alone"]
    assert train(*options, *alone, cwd=tmp_path).returncode == 0
    kept = json.loads((tmp_path / "alone" / "metrics.json").read_text())["at_best_epoch"]
    assert kept == pytest.approx({name: float(table[2][name]) for name in kept}, abs=1e-5)


def a_table(folder):
    """Text, a gap, dates, an id and a counter of rows without a name, between semicolons."""
    lines = [";id;seen;town;age;ok"]
    for i in range(60):
        age = "" if i % 9 == 4 else 20 + i % 30
        lines.append(
            f"{i};{1000 + i};2026-01-{i % 9 + 1};{'ab'[i % 2]};{age};{['no', 'yes'][i % 2]}"
        )
    (folder / "people.csv").write_text("\n".join(lines))


@pytest.mark.many
def test_a_table_is_looked_at_trained_on_and_predicted(tmp_path):
    a_table(tmp_path)
    table = ["people.csv", "--target", "ok"]
    done = train(*table, cwd=tmp_path)
    assert done.returncode == 1
    assert "2 columns cannot be used as they are" in done.stderr
    mend = "give --drop seen --impute median (in Python drop=['seen'], impute='median')"
    assert mend in done.stderr

    options = ["--drop", "seen", "--impute", "median", "--epochs", 3, "--hidden", 4]
    done = train(*table, *options, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "train.py: warning: people.csv: 'column 1' has no name and counts" in done.stderr
    assert "5 features, standardised; classes no, yes" in done.stdout
    for remark in (
        "- 'id': another whole number in every row",
        "- 'town' alone gives the label of every training row",
        "- 'age': filled in with",
        "- 50.0% of the training rows are of class 'no', the most frequent",
        "always no: 50.00% of the test rows",
    ):
        assert remark in done.stdout

    (tmp_path / "new.csv").write_text("age,town,id,ok\n30,a,1,no\n,Ulm,2,yes\n")
    done = train("--predict", "new.csv", "--params", "out/train/params.npz", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "0 there: 1 of 'town' ('Ulm')" in done.stderr
    assert "2 rows of new.csv" in done.stdout
    assert len(rows_of(tmp_path / "out" / "train" / "predictions.csv")) == 2


@pytest.mark.many
@pytest.mark.parametrize(
    ("args", "text"),
    [
        (["--drop", "seen", "--features", "id"], "--drop and --features: give one of them"),
        (["--impute", "mode"], "invalid choice: 'mode'"),
        (["--drop", "sean"], "drop has 'sean', which is no column; expected some of"),
        (["--drop", "sean"], "is it 'seen'?"),
        (["--predict", "people.csv", "--params", "a.npz", "--drop", "id"], "--drop"),
    ],
)
def test_bad_options_of_columns_are_explained(args, text, tmp_path):
    a_table(tmp_path)
    done = train("people.csv", "--target", "ok", *args, cwd=tmp_path)
    assert done.returncode != 0
    assert text in done.stderr
    assert {path.name for path in tmp_path.iterdir()} == {"people.csv"}


@pytest.mark.many
def test_a_file_taken_for_a_column_is_told(tmp_path):
    a_table(tmp_path)
    done = train("--drop", "id", "people.csv", "--target", "ok", cwd=tmp_path)
    assert "--drop took people.csv for a column; FILE comes first" in done.stderr
