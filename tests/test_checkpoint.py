"""A run that was stopped goes on to the same bits, and never as another run."""

import contextlib
import itertools
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import textwrap
import time
from functools import partial
from importlib import metadata

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import jaxnet
from jaxnet import _checkpoint, _training_run, init_mlp, mlp

RNG = np.random.default_rng(0)
X = RNG.normal(size=(37, 3)).astype(np.float32)
Y = (X[:, 0] > X[:, 1]).astype(np.int32)
TRAIN, VALIDATION, TEST = (X[:21], Y[:21]), (X[21:30], Y[21:30]), (X[30:], Y[30:])
PARAMS = init_mlp(jax.random.key(0), (3, 4, 2))
STEPS = 6 + 1 + 1 + 1  # of an epoch: updates, and a batch of each set to measure
RUN = {
    "train": TRAIN,
    "validation": VALIDATION,
    "test": TEST,
    "epochs": 4,
    "batch_size": 4,
    "optimizer": optax.sgd(0.1),
}


def fit(params=PARAMS, model=mlp, **changes):
    return jaxnet.fit(model, params, **(RUN | changes))


def of_dict(params, x):
    return x @ params["w"] + params["b"]


THREE = jax.vmap(lambda key: init_mlp(key, (3, 4, 2)))(jax.random.split(jax.random.key(3), 3))
ONE = {
    "key": jax.random.key(1),
    "model": partial(mlp, dropout_rate=0.3),
    "model_key": jax.random.key(2),
    "optimizer": optax.adam(optax.cosine_decay_schedule(0.1, 24)),
    "metrics": {"matrix": jaxnet.metrics.confusion_matrix},
    "patience": 3,
}
SEVERAL = {
    "params": THREE,
    "runs": 3,
    "optimizer": optax.sgd,
    "settings": {"learning_rate": [0.1, 0.3, 1e30]},
    "patience": 2,
}
KINDS = {
    "as it is": {},
    "shuffled": {"key": jax.random.key(1)},
    "dropout": {"model": partial(mlp, dropout_rate=0.3), "model_key": jax.random.key(2)},
    "old keys": {"key": jax.random.PRNGKey(1)},
    "adam and a schedule": {"optimizer": optax.adam(optax.cosine_decay_schedule(0.1, 24))},
    "noise of the optimizer's own": {"optimizer": optax.noisy_sgd(0.1, key=jax.random.key(5))},
    "lbfgs": {"optimizer": optax.lbfgs(), "batch_size": 21, "epochs": 8},
    "bfloat16": {"params": jax.tree.map(lambda leaf: leaf.astype(jnp.bfloat16), PARAMS)},
    "a dict": {"params": {"w": jnp.ones((3, 2)), "b": jnp.zeros(2)}, "model": of_dict},
    "metrics of a whole set": {"metrics": {"matrix": jaxnet.metrics.confusion_matrix}},
    "no validation": {"validation": None},
    "patience": {"optimizer": optax.sgd(3.0), "patience": 1, "epochs": 9},
}


class Comes(list):
    """A signal that comes after so many segments."""

    def __init__(self, segments):
        super().__init__([signal.SIGINT])
        self.segments = segments

    def __bool__(self):
        self.segments -= 1
        return self.segments < 0


def stop_after(monkeypatch, segments):
    came = Comes(segments)
    monkeypatch.setattr(_training_run, "stop_on", lambda *_: contextlib.nullcontext(came))


def assert_same_bits(one, other):
    (params, history), (params_other, history_other) = one, other
    for a, b in zip(
        jax.tree.leaves((params, history.opt_state, dict(history.values))),
        jax.tree.leaves((params_other, history_other.opt_state, dict(history_other.values))),
        strict=True,
    ):
        a, b = (_checkpoint._numbers(leaf) for leaf in (a, b))
        assert a.dtype == b.dtype
        np.testing.assert_array_equal(a, b)
    np.testing.assert_array_equal(history.best_epoch, history_other.best_epoch)
    np.testing.assert_array_equal(history.diverged, history_other.diverged)


@pytest.fixture
def a_step_a_segment(monkeypatch):
    monkeypatch.setattr(_training_run, "SEGMENT_SECONDS", 0.0)


@pytest.mark.parametrize(
    "kind",
    [
        pytest.param(ONE, id="one"),
        pytest.param(SEVERAL, id="several"),
        *(pytest.param(kind, id=name, marks=pytest.mark.many) for name, kind in KINDS.items()),
    ],
)
def test_stopped_runs_go_on_to_the_same_bits(kind, a_step_a_segment, monkeypatch, tmp_path):
    never_stopped = fit(**kind)
    # Within the updates, before and amid the measuring, at an epoch's end, and once more.
    for segments in (2, 4, 1, 1, 2, 11):
        stop_after(monkeypatch, segments)
        assert fit(**kind, checkpoint=tmp_path)[1].interrupted
    monkeypatch.undo()
    resumed = fit(**kind, checkpoint=tmp_path)
    assert not resumed[1].interrupted
    assert_same_bits(resumed, never_stopped)
    assert [path.name for path in tmp_path.iterdir()] == ["checkpoint.npz"]


@pytest.mark.parametrize("segments", range(1, 2 * STEPS))
@pytest.mark.many
def test_every_step_is_one_to_stop_at(segments, a_step_a_segment, monkeypatch, tmp_path):
    kind = KINDS["shuffled"] | KINDS["metrics of a whole set"]
    never_stopped = fit(**kind)
    stop_after(monkeypatch, segments)
    fit(**kind, checkpoint=tmp_path)
    monkeypatch.undo()
    assert_same_bits(fit(**kind, checkpoint=tmp_path), never_stopped)


def test_sets_measured_in_batches_go_on_amid_them(a_step_a_segment, monkeypatch, tmp_path):
    monkeypatch.setattr(jaxnet._training_step, "MEASURED_ROWS", 4)
    kind = {"model": partial(mlp), "metrics": {"auc": jaxnet.metrics.auc}}
    never_stopped = fit(**kind)
    with monkeypatch.context() as stopping:
        for segments in (8, 1, 1, 3, 1, 1):
            stop_after(stopping, segments)
            fit(**kind, checkpoint=tmp_path)
    assert_same_bits(fit(**kind, checkpoint=tmp_path), never_stopped)


@pytest.mark.many
def test_eight_devices_go_on_to_the_same_bits(forced_devices, tmp_path):
    forced_devices(
        f"""
        import contextlib, signal, jax, numpy as np, optax, jaxnet
        from jaxnet import _training_run

        _training_run.SEGMENT_SECONDS = 0.0
        x = np.random.default_rng(0).normal(size=(40, 3)).astype(np.float32)
        data = x, (x[:, 0] > x[:, 1]).astype(np.int32)
        stop_on = _training_run.stop_on

        def fit(params, **options):
            return jaxnet.fit(
                jaxnet.mlp, params, train=data, validation=data, epochs=3, batch_size=16,
                optimizer=optax.adam(0.1), key=key, **options)

        class Comes(list):
            def __bool__(self):
                self.append(signal.SIGINT)
                return len(self) > 6

        make = lambda key: jaxnet.init_mlp(key, (3, 4, 2))
        keys = jax.random.split(jax.random.key(0), 8)
        for key, params, options in (
            (keys[0], make(keys[0]), {{}}),
            (keys, jax.vmap(make)(keys), {{"runs": 8}}),
        ):
            folder = f"{tmp_path}/{{len(options)}}"
            with jax.set_mesh(jax.make_mesh((8,), ("data",))):
                never_stopped = fit(params, **options)
                _training_run.stop_on = lambda *_: contextlib.nullcontext(Comes())
                for _ in range(2):
                    assert fit(params, checkpoint=folder, **options)[1].interrupted
                _training_run.stop_on = stop_on
                resumed = fit(params, checkpoint=folder, **options)
            trees = [(p, dict(h.values)) for p, h in (resumed, never_stopped)]
            jax.tree.map(np.testing.assert_array_equal, *trees)
        try:
            fit(params, checkpoint=folder, **options)
        except ValueError as error:
            assert "devices" in str(error) or "differs" in str(error), error
        """,
        devices=8,
    )


KILLED = """
    import sys
    import jax, numpy as np, optax, jaxnet
    from functools import partial
    from jaxnet import _training_run

    folder, seed = sys.argv[1], int(sys.argv[2])
    _training_run.SEGMENT_SECONDS = 0.01  # saved as often
    x = np.random.default_rng(seed).normal(size=(500, 8)).astype(np.float32)
    data = x, (x[:, 0] > x[:, 1]).astype(np.int32)
    params, history = jaxnet.fit(
        partial(jaxnet.mlp, dropout_rate=0.1), jaxnet.init_mlp(jax.random.key(seed), (8, 16, 2)),
        train=data, validation=data, epochs=300, batch_size=4, optimizer=optax.adam(0.01),
        key=jax.random.key(1), model_key=jax.random.key(2), checkpoint_seconds=0.0,
        checkpoint=folder if folder != "none" else None)
    if not history.interrupted:
        leaves = jax.tree.leaves((params, dict(history.values)))
        print(*(np.asarray(leaf).tobytes().hex() for leaf in leaves))
"""


def start(folder, seed, cache):
    options = {"JAX_ENABLE_COMPILATION_CACHE": "true", "JAX_COMPILATION_CACHE_DIR": str(cache)}
    options["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0"
    return subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(KILLED), str(folder), str(seed)],
        env=os.environ | options,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def wait_for_a_newer(path, before, process):
    """A checkpoint that this process has written."""
    while not path.exists() or path.stat().st_mtime_ns == before:
        assert process.poll() is None, process.communicate()
        time.sleep(0.005)


ENDS = {signal.SIGKILL: -signal.SIGKILL, signal.SIGTERM: 128 + signal.SIGTERM, signal.SIGINT: 0}


@pytest.mark.many
@pytest.mark.parametrize("seed", range(3))
def test_killed_ten_times_at_random_moments(seed, ctrl_c_works, tmp_path):
    cache, path = tmp_path / "cache", tmp_path / "run" / "checkpoint.npz"
    expected, errors = start("none", seed, cache).communicate(timeout=300)
    assert expected.strip(), errors
    moments = random.Random(seed)
    for kill in itertools.islice(itertools.cycle(ENDS), 10):
        before = path.stat().st_mtime_ns if path.exists() else None
        process = start(path.parent, seed, cache)
        wait_for_a_newer(path, before, process)
        time.sleep(moments.uniform(0.0, 0.05))
        process.send_signal(kill)
        printed, errors = process.communicate(timeout=300)
        if not printed:  # it was not through before
            assert process.returncode == ENDS[kill], errors
            if kill != signal.SIGKILL:
                assert f"fit: {kill.name}: " in errors
                assert f"epochs are saved in {path}; the same call goes on from there" in errors
    resumed, errors = start(path.parent, seed, cache).communicate(timeout=300)
    assert resumed == expected, errors
    assert os.listdir(path.parent) == [path.name]


def test_a_finished_run_is_there_at_once_and_may_get_more_epochs(tmp_path, compilations):
    finished = fit(checkpoint=tmp_path)
    content = (tmp_path / "checkpoint.npz").read_bytes()
    again = fit(checkpoint=tmp_path)
    assert_same_bits(again, finished)
    assert (tmp_path / "checkpoint.npz").read_bytes() == content
    assert_same_bits(fit(checkpoint=tmp_path, epochs=6), fit(epochs=6))
    with pytest.raises(ValueError, match=r"has 6\.0 epochs.*epochs=4"):
        fit(checkpoint=tmp_path, epochs=4)


@pytest.mark.many
@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"train": (X[:20], Y[:20])}, "train differs"),
        ({"train": (X[:21] + np.eye(21, 3, dtype=np.float32), Y[:21])}, "train differs"),
        ({"validation": TEST}, "validation differs"),
        ({"test": None}, "test differs"),
        ({"params": init_mlp(jax.random.key(1), (3, 4, 2))}, "params differs"),
        ({"params": init_mlp(jax.random.key(0), (3, 5, 2))}, "params differs"),
        ({"batch_size": 5}, "batch_size was 4, and is 5"),
        ({"key": jax.random.key(1)}, "key differs"),
        ({"patience": 3}, "patience was nothing, and is 3"),
        ({"metrics": {}}, "metrics was accuracy, and is nothing"),
        (
            {"optimizer": optax.sgd(0.2)},
            "another run: model, loss, metrics or optimizer differs",
        ),
        ({"optimizer": optax.adam(0.1)}, "opt_state differs"),
        ({"model": jaxnet.auto(mlp)}, None),  # the same numbers by another graph
    ],
)
def test_a_checkpoint_of_another_run_says_what_differs(changes, text, tmp_path):
    fit(checkpoint=tmp_path)
    content = (tmp_path / "checkpoint.npz").read_bytes()
    with pytest.raises(ValueError, match=text) as error:
        fit(**changes, checkpoint=tmp_path)
    assert "is of another run: " in str(error.value)
    assert "remove it to begin anew" in str(error.value)
    assert (tmp_path / "checkpoint.npz").read_bytes() == content


def test_nothing_needs_to_be_installed(tmp_path, monkeypatch):
    def version(name):
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(metadata, "version", version)
    fit(checkpoint=tmp_path)


def test_a_checkpoint_of_another_version_says_so(tmp_path, monkeypatch):
    fit(checkpoint=tmp_path)
    monkeypatch.setattr(jax, "__version__", "0.99")
    with pytest.raises(ValueError, match=r"jax was 0\.\d+\.\d+\S*, and is 0\.99"):
        fit(checkpoint=tmp_path)


@pytest.mark.parametrize("damage", ["flipped", "cut", "text", "empty"])
def test_a_damaged_checkpoint_is_an_error_and_stays(damage, tmp_path):
    fit(checkpoint=tmp_path)
    path = tmp_path / "checkpoint.npz"
    content = bytearray(path.read_bytes())
    if damage == "flipped":
        content[len(content) // 2] ^= 1
    content = {"cut": content[:-50], "text": b"epoch 1", "empty": b""}.get(damage, content)
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"checkpoint\.npz cannot be read .*begin anew"):
        fit(checkpoint=tmp_path)
    assert path.read_bytes() == content


def test_a_full_disk_is_found_before_the_training(monkeypatch, tmp_path, compilations):
    class Full:
        def __init__(self, **_): ...
        def __enter__(self):
            return self

        def __exit__(self, *_): ...
        def write(self, _):
            raise OSError(28, "No space left on device")

    monkeypatch.setattr(tempfile, "TemporaryFile", Full)
    with pytest.raises(OSError, match=r"\d+ bytes cannot be written to .*No space left.*room"):
        fit(checkpoint=tmp_path)
    assert not any("segment" in name for name in compilations)


def test_a_disk_that_fills_up_loses_nothing(monkeypatch, tmp_path):
    def full(*_):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as later:
        later.setattr(_checkpoint, "write_npz", full)
        with pytest.warns(UserWarning, match="could not be written .*No space left"):
            result = fit(checkpoint=tmp_path, checkpoint_seconds=0.0)
    assert_same_bits(result, fit())
    assert os.listdir(tmp_path) == []


def test_it_is_saved_when_so_many_seconds_have_passed(a_step_a_segment, monkeypatch, tmp_path):
    saved = []
    monkeypatch.setattr(_checkpoint.Checkpoint, "save", lambda _, run: saved.append(run.position))
    fit(checkpoint=tmp_path, checkpoint_seconds=1e9)
    assert saved == [4 * STEPS]  # at the end
    fit(checkpoint=tmp_path, checkpoint_seconds=0.0)
    assert saved[1:] == [*range(1, 4 * STEPS + 1), 4 * STEPS]


def test_a_second_signal_ends_at_once(tmp_path, monkeypatch, ctrl_c_works):
    def twice(*_):
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr(_training_run, "_end_of_segment", twice)
    with pytest.raises(KeyboardInterrupt):
        fit(checkpoint=tmp_path)
    assert os.listdir(tmp_path) == []


def test_nothing_that_could_run_is_in_the_file(tmp_path):
    fit(checkpoint=tmp_path)
    with np.load(tmp_path / "checkpoint.npz", allow_pickle=False) as arrays:
        text = json.loads(str(arrays["run"]))
        assert all(arrays[name].dtype != object for name in arrays.files)
    assert text["position"] == 4 * STEPS
    assert text["facts"]["batch_size"] == 4
