"""The benchmark, run as a user would, on a small job; no time is asserted."""

import importlib.util
import json
import math
import os
import re
import subprocess
import sys
from pathlib import Path

import benchmark
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from benchmarks import abroad, cold, contestants, rules, training
from catalogue import ENTRIES, MEASURES
from common.job import TWIN
from common.pullbacks import pullback

import jaxnet

CONTESTANTS = {
    "jaxnet, by hand": "jaxnet",
    "jaxnet, made anew": "jaxnet",
    "jaxnet, autodiff": "jaxnet",
    "PyTorch, DataLoaders": "torch",
    "PyTorch, sets whole": "torch",
    "scikit-learn": "sklearn",
    "NumPy, by hand": "numpy",
}
HERE = {name: bool(importlib.util.find_spec(module)) for name, module in CONTESTANTS.items()}
SMALL = ("--epochs", "3", "--cold-runs", "1", "--hidden", "20")


def run(*arguments, **environment):
    return subprocess.run(
        [sys.executable, benchmark.__file__, *map(str, arguments)],
        env=os.environ
        | {"PYTHONPATH": str(Path(jaxnet.__file__).parents[1]), "PYTHONIOENCODING": "utf-8"}
        | environment,
        capture_output=True,
        encoding="utf-8",
    )


def refuse_constant(name):
    raise AssertionError(f"{name} is not JSON")


@pytest.mark.many
def test_times_everyone_who_is_installed_and_names_the_others(tmp_path):
    file = tmp_path / "times.json"
    process = run(*SMALL, "--repeats", 2, "--json", file)
    assert process.returncode == 0, process.stderr
    assert max(map(len, process.stdout.splitlines())) <= 100
    rows = [
        name
        for name in CONTESTANTS
        for line in process.stdout.splitlines()
        if line.startswith(f"{name}  ")
    ]
    assert rows == [name for name, here in HERE.items() if here]

    assert list(tmp_path.iterdir()) == [file]
    content = json.loads(file.read_text(encoding="utf-8"), parse_constant=refuse_constant)
    assert content["environment"]["jax"]
    assert content["settings"]["epochs"] == 3
    assert content["not_installed"] == [name for name, here in HERE.items() if not here]
    for name in content["not_installed"]:
        assert name in process.stdout
    (network,) = content["networks"]
    assert network["hidden"] == [20]
    assert list(network["contestants"]) == rows
    hand = network["contestants"]["jaxnet, by hand"]
    for name, times in network["contestants"].items():
        assert len(times["warm"]) == 2
        assert len(times["cold"]) == 1
        assert all(seconds > 0 for seconds in (times["first"], *times["warm"], *times["cold"]))
        assert 0 <= times["test_accuracy"] <= 1
        # One logistic output instead of two in scikit-learn; in a cold run another start as well.
        assert times["test_loss"] == pytest.approx(
            hand["test_loss"], rel=0.25 if name == "scikit-learn" else 1e-3
        )
        assert times["cold_test_loss"] == pytest.approx(hand["test_loss"], rel=0.25)
    assert hand["cold_test_loss"] == pytest.approx(hand["test_loss"])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--repeats", "0"), "argument --repeats: '0' is not a whole number of at least 1"),
        (("--json", "no/such/folder/times.json"), "argument --json: 'no/such/folder/times.json'"),
        (("--data", "no/such/folder"), "argument --data: no/such/folder"),
    ],
)
def test_bad_argument_is_named(arguments, message):
    process = run(*SMALL, *arguments)
    assert process.returncode != 0
    assert message in process.stderr
    assert "Traceback" not in process.stderr
    assert not process.stdout


@pytest.mark.parametrize("loss", [0.1202, 0.1198, math.nan])
def test_another_job_is_an_error(loss):
    training.require_same_job("someone", 0.12, reference=0.12, band=1e-3)
    with pytest.raises(SystemExit, match="someone did not do the same job"):
        training.require_same_job("someone", loss, reference=0.12, band=1e-3)


def test_table_does_without_pytorch_and_scikit_learn():
    data = training.read(TWIN)
    times = training.Times(2.0, [0.04, 0.05, 0.09], [3.0, 2.0], 0.12, 0.95, 0.12)
    slower = times._replace(warm=[0.08, 0.10, 0.19])
    ours = {contestants.HAND: times, contestants.AUTO: times, contestants.ANEW: slower}
    text = training.table((100,), data, ours, epochs=200)
    assert "10 → 100 → 2: 200 epochs, 1600 updates" in text
    assert "0.0500 (0.0400–0.0900)  1.00 (1.00–1.00)  2.50 (2.00–3.00)          –  0.1200" in text
    assert "31.2 µs per update; compiled in 1.95 s" in text
    assert "made anew: 50 ms (40 to 100) more than" in text


@pytest.mark.many
def test_a_cold_run_is_cached_where_that_is_asked_for(tmp_path):
    process = run(*SMALL, "--cold", contestants.HAND, "--cached", XDG_CACHE_HOME=str(tmp_path))
    assert process.returncode == 0, process.stderr
    assert 0 < float(process.stdout) < 1
    assert list((tmp_path / "jaxnet" / "compiled").iterdir())


def test_cold_processes_are_compared(tmp_path, monkeypatch, capsys):
    def printing(text, beyond):
        return cold.Process([sys.executable, "-S", "-c", f"print({text!r})"], beyond)

    every = {"nothing": printing("", None), "a job": printing("0.25", "nothing")}
    monkeypatch.setattr(cold, "processes", lambda options: every)
    file = tmp_path / "cold.json"
    benchmark.main(["cold", "--rounds", "3", "--json", str(file)])
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[-1] for line in lines if line.startswith("a job  ")] == ["nothing"]
    seconds = json.loads(file.read_text())["seconds"]
    assert {name: len(values) for name, values in seconds.items()} == {"nothing": 3, "a job": 3}
    assert min(*seconds["nothing"], *seconds["a job"]) > 0


def test_what_runs_cold():
    options = benchmark.make_parser().parse_args(["cold"])
    every = cold.processes(options)
    assert list(every) == [
        "import jax, optax, numpy",
        "import jaxnet",
        "hidden 100: compiled before",
        "hidden 100: compiling",
        "hidden 100, 100: compiled before",
        "hidden 100, 100: compiling",
    ]
    for name, process in every.items():
        assert ("--cached" in process.command) == ("compiled before" in name)
        assert process.beyond is None or process.beyond in every


@pytest.mark.many
def test_rules_are_measured_and_written(tmp_path):
    file = tmp_path / "rules.json"
    process = run("rules", "linear", "safe_norm", "--repeats", 2, "--json", file)
    assert process.returncode == 0, process.stderr
    assert "| `safe_norm` | " in process.stdout
    rows = json.loads(file.read_text(encoding="utf-8"), parse_constant=refuse_constant)["rules"]
    assert list(rows) == ["linear", "safe_norm"]
    assert rows["linear"]["bytes"]["text"]["kept"] == 4 * (512 * 1024 + 1024 * 1024)  # x and weight
    assert rows["safe_norm"]["error"]["text"] is None  # NaN at 0
    assert 0 < rows["safe_norm"]["error"]["hand"] < 16
    assert rows["safe_norm"]["verdict"] == "accuracy"
    for row in rows.values():
        assert list(row["seconds"]) == ["hand", "auto", "ckpt", "text"]
        assert all(len(seconds) == 2 and min(seconds) > 0 for seconds in row["seconds"].values())


@pytest.mark.many
def test_transposed_convolutions_are_timed(tmp_path):
    file = tmp_path / "transposed.json"
    process = run("transposed", "--most", 1, "--repeats", 1, "--json", file)
    assert process.returncode == 0, process.stderr
    assert "| [8, 1024, 32] | " in process.stdout
    [row] = json.loads(file.read_text(encoding="utf-8"), parse_constant=refuse_constant)["rows"]
    assert row["ratio"] == row["autodiff"][0] / row["hand"][0]
    assert 0 < row["difference"] < 1e-4


@pytest.mark.many
def test_modes_are_measured_and_written(tmp_path):
    file = tmp_path / "modes.json"
    process = run("modes", "safe_sqrt", "--repeats", 2, "--json", file)
    assert process.returncode == 0, process.stderr
    assert "| `safe_sqrt` | " in process.stdout
    row = json.loads(file.read_text(encoding="utf-8"))["modes"]["safe_sqrt"]
    assert list(row["seconds"]) == ["jvp hand", "jvp auto", "grad both", "grad rule"]
    assert all(len(seconds) == 2 and min(seconds) > 0 for seconds in row["seconds"].values())


@pytest.mark.parametrize("what", ["rules", "modes"])
def test_a_rule_that_is_not_measured_is_named(what):
    process = run(what, "linear", "no_rule")
    assert process.returncode != 0
    assert "argument NAME: no entry for no_rule; there is linear, relu, " in process.stderr


def test_every_rule_is_measured():
    assert set(ENTRIES) == {name.partition(",")[0] for name in MEASURES}


@pytest.mark.parametrize("name", [name for name, m in MEASURES.items() if m.truth])
def test_true_gradients_are_autodiffs_in_float64_where_nothing_is_far_out(name, x64):
    """The errors in the table are taken against these formulas."""
    measure, rng = MEASURES[name], np.random.default_rng(3)
    args = [
        abs(rng.normal(size=np.shape(a))) if jnp.issubdtype(a.dtype, jnp.floating) else a
        for a in measure.error_points()[0]
    ]
    c = measure.cotangent(jax.eval_shape(measure.text, *args).shape)
    _, by_autodiff = pullback(measure.text)(c, *map(np.asarray, args))
    true_gradients = rules.true_gradients(measure, c, args)
    for true, expected in zip(true_gradients, by_autodiff, strict=True):
        np.testing.assert_allclose(true, expected, rtol=1e-9, atol=1e-12)


def row_of(error, scan, kept, seconds):
    hand, text = ({"kept": 100, "jit": 0, "scan": 100}, {"kept": kept, "jit": 0, "scan": scan})
    errors = {"hand": 4.0, "auto": 4.0, "text": error}
    return rules.Row(
        errors, {"hand": hand, "text": text}, {"hand": [1.0] * 3, "text": [seconds] * 3}
    )


@pytest.mark.parametrize(
    ("row", "verdict"),
    [
        (row_of(math.inf, 200, 200, 2.0), "memory"),
        (row_of(math.inf, 120, 200, 2.0), "accuracy"),
        (row_of(15.9, 120, 200, 2.0), "memory"),
        (row_of(15.9, 120, 120, 2.0), "speed"),
        (row_of(4.0, 100, 100, 1.0), "none"),
    ],
)
def test_verdict_is_the_first_gain(row, verdict):
    assert row.verdict() == verdict


@pytest.mark.many
def test_calls_of_other_libraries_in_both_modes(monkeypatch, capsys):
    def doubled(backward):
        f = jax.custom_vjp(lambda x: 2 * x)
        f.defvjp(lambda x: (2 * x, None), lambda _, c: (backward(c),))
        return lambda: (f, jnp.arange(3.0))

    def on_the_host():
        return np.sin, jnp.arange(3.0)

    calls = {
        ("jax", "right"): doubled(lambda c: 2 * c),
        ("jax", "cut"): doubled(lambda c: jnp.clip(2 * c, -1, 1)),
        ("jax", "host"): on_the_host,
        ("jax", "sine"): lambda: (jnp.sin, jnp.arange(3.0)),
        ("no_such_library", "f"): on_the_host,
    }
    monkeypatch.setattr(abroad, "CALLS", calls)
    benchmark.main(["modes", "--libraries"])
    printed = capsys.readouterr().out
    name = f"| jax {jax.__version__}: "
    assert f"{name}`right` | raises | 0e+00 | all four |" in printed
    assert f"{name}`cut` | raises | the error | none |" in printed
    assert re.search(rf"{re.escape(name)}`sine` \| works \| \de.\d\d \| all four \|", printed)
    assert "`host` has no reverse mode" in printed
    assert "no_such_library" not in printed


@pytest.mark.many
def test_rules_on_a_platform(tmp_path):
    file = tmp_path / "rules.json"
    process = run(
        *("rules", "safe_norm", "attention", "linear_softmax_cross_entropy"),
        *("--platform", jax.default_backend(), "--divide", 64, "--repeats", 2, "--json", file),
    )
    assert process.returncode == 0, process.stderr
    titles = [line.split(" | ")[0] for line in process.stdout.splitlines() if "[" in line]
    for name in ("safe_norm [128, 64] bfloat16", "attention, causal [1, 128, 8, 64] bfloat16"):
        assert f"| {name}" in titles
        assert json.loads(file.read_text())["rules"][name]["seconds"]["hand"]


def test_rules_on_a_platform_that_is_not_here():
    process = run("rules", "--platform", "tpu")
    assert process.returncode == 1
    assert "jax runs on" in process.stderr
