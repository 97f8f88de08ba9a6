"""fit, evaluate and update_step: what is trained, measured, compiled and refused."""

import copy
import dataclasses
import io
import os
import re
import signal
import sys
import threading
import time
import types
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import jaxnet
import jaxnet._progress
import jaxnet._training_program as program
import jaxnet._training_run
from jaxnet import accuracy, evaluate, fit, init_mlp, mlp, softmax_cross_entropy, update_step

SGD = optax.sgd(0.1)


def blobs(rows, seed=0):
    rng = np.random.default_rng(seed)
    y = rng.integers(0, 2, rows).astype(np.int32)
    return rng.normal(size=(rows, 3)).astype(np.float32) + y[:, None], y


TRAIN, TEST = blobs(50), blobs(20, seed=1)
PARAMS = init_mlp(jax.random.key(0), (3, 8, 2))
RUN = {"train": TRAIN, "test": TEST, "epochs": 4, "batch_size": 16, "optimizer": SGD}


def run(**changes):
    return fit(mlp, PARAMS, **(RUN | changes))


def take_run(tree, i):
    """What belongs to run i, of arrays that hold several runs one after the other."""
    return jax.tree.map(lambda leaf: leaf[i], tree)


def mean_loss(params, x, y):
    return jnp.mean(softmax_cross_entropy(mlp(params, x), y))


def by_loop(epochs, batch_size, optimizer, orders=None, params=PARAMS, train=TRAIN, test=TEST):
    """The same training as a plain loop: the reference."""

    @jax.jit
    def update(params, state, x, y):
        updates, state = optimizer.update(jax.grad(mean_loss)(params, x, y), state, params)
        return optax.apply_updates(params, updates), state

    state = optimizer.init(params)
    x, y = train
    measured = []
    for epoch in range(epochs):
        order = np.arange(len(x)) if orders is None else orders[epoch]
        for start in range(0, len(x), batch_size):
            rows = order[start : start + batch_size]
            params, state = update(params, state, x[rows], y[rows])
        outputs, test_outputs = mlp(params, x), mlp(params, test[0])
        measured.append(
            [
                mean_loss(params, x, y),
                accuracy(outputs, y),
                mean_loss(params, *test),
                accuracy(test_outputs, test[1]),
            ]
        )
    return params, np.array(measured)


def assert_close(tree, other, rtol=2e-5):
    for a, b in zip(jax.tree.leaves(tree), jax.tree.leaves(other), strict=True):
        np.testing.assert_allclose(a, b, rtol=rtol, atol=rtol / 20)


def assert_same(tree, other):
    for a, b in zip(jax.tree.leaves(tree), jax.tree.leaves(other), strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.many
@pytest.mark.parametrize("batch_size", [1, 16, 25, 50, 64])
def test_fit_is_the_plain_loop_also_in_its_last_smaller_batch(batch_size, x64):
    # In float64: 150 updates add up their rounding.
    params = jax.tree.map(lambda leaf: leaf.astype(float), PARAMS)
    train, test = ((x.astype(float), y) for x, y in (TRAIN, TEST))
    expected, measured = by_loop(3, batch_size, SGD, params=params, train=train, test=test)
    sets = {"train": train, "test": test}
    trained, history = fit(mlp, params, **(RUN | sets | {"epochs": 3, "batch_size": batch_size}))
    assert_close(trained, expected, rtol=1e-9)
    names = ["train_loss", "train_accuracy", "test_loss", "test_accuracy"]
    np.testing.assert_allclose(
        np.stack([history.values[n] for n in names], axis=1), measured, rtol=1e-6
    )
    assert history.epochs == 3
    assert all(history.values[n].shape == (3,) for n in names)


@pytest.mark.many
@pytest.mark.parametrize(
    "optimizer",
    [
        optax.adam(1e-2),
        optax.adamw(optax.cosine_decay_schedule(1e-2, 12)),
        optax.chain(optax.clip_by_global_norm(0.1), optax.sgd(0.1, momentum=0.9, nesterov=True)),
        optax.inject_hyperparams(optax.sgd)(learning_rate=0.1),
        optax.MultiSteps(optax.sgd(0.1), every_k_schedule=2).gradient_transformation(),
    ],
    ids=["adam", "adamw with a schedule", "clipped momentum", "injected", "accumulated"],
)
def test_fit_with_any_optimizer_of_optax(optimizer):
    trained, _ = run(epochs=3, optimizer=optimizer)
    assert_close(trained, by_loop(3, 16, optimizer)[0])


@pytest.mark.many
@pytest.mark.parametrize(
    "optimizer", [optax.lbfgs(), optax.chain(optax.sgd(0.1), optax.contrib.reduce_on_plateau())]
)
def test_fit_with_optimizers_that_look_at_the_loss(optimizer):
    _, history = run(optimizer=optimizer, batch_size=50)
    assert history.train_loss[-1] < history.train_loss[0]


def test_shuffled_epochs_are_permutations_that_differ(monkeypatch):
    key = jax.random.key(7)
    orders = [np.asarray(jax.random.permutation(jax.random.fold_in(key, e), 50)) for e in range(3)]
    assert (orders[0] != orders[1]).any()
    assert_close(run(epochs=3, key=key)[0], by_loop(3, 16, SGD, orders)[0])
    assert_same(run(key=key)[0], run(key=key)[0])
    with pytest.raises(AssertionError):
        assert_same(run(key=key)[0], run(key=jax.random.key(8))[0])


def test_the_callers_arrays_survive():
    adam = optax.adam(1e-2)
    state = adam.init(PARAMS)
    before = jax.tree.map(np.array, (PARAMS, state))
    _, history = run(optimizer=adam, opt_state=state)
    assert_same((PARAMS, state), before)
    assert jax.tree.structure(history.opt_state) == jax.tree.structure(state)
    after = jax.tree.map(np.array, history.opt_state)
    run(optimizer=adam, opt_state=history.opt_state)
    assert_same(history.opt_state, after)


@pytest.mark.parametrize("runs", [None, 3], ids=["one", "three"])
@pytest.mark.parametrize("optimizer", [SGD, optax.adam(1e-2)], ids=["sgd", "adam"])
def test_a_run_can_go_on(optimizer, runs):
    params = PARAMS
    if runs is not None:
        keys = jax.random.split(jax.random.key(1), runs)
        params = jax.vmap(lambda k: init_mlp(k, (3, 8, 2)))(keys)
    options = RUN | {"optimizer": optimizer, "runs": runs}
    whole, history = fit(mlp, params, **(options | {"epochs": 6}))
    half, first = fit(mlp, params, **(options | {"epochs": 2}))
    rest, second = fit(mlp, half, **(options | {"epochs": 4}), opt_state=first.opt_state)
    assert_same(rest, whole)
    assert_same(second.opt_state, history.opt_state)
    np.testing.assert_array_equal(
        np.concatenate([first.test_loss, second.test_loss], axis=-1), history.test_loss
    )


@pytest.mark.parametrize("key", [None, jax.random.key(3)], ids=["file order", "shuffled"])
def test_many_runs_are_one_program_and_each_is_itself(key):
    params = jax.vmap(lambda k: init_mlp(k, (3, 8, 2)))(jax.random.split(jax.random.key(1), 3))
    keys = None if key is None else jax.random.split(key, 3)
    trained, history = fit(mlp, params, **RUN, runs=3, key=keys)
    assert history.train_loss.shape == (3, 4)
    for i in range(3):
        key_alone = None if keys is None else keys[i]
        alone, alone_history = fit(mlp, take_run(params, i), **RUN, key=key_alone)
        assert_close(take_run(trained, i), alone)
        np.testing.assert_allclose(history.test_loss[i], alone_history.test_loss, rtol=2e-5)


dropped = partial(mlp, dropout_rate=0.4)


@pytest.mark.many
def test_a_model_key_gives_each_update_its_own_key_and_measuring_none():
    key = jax.random.key(5)
    trained, history = fit(dropped, PARAMS, **RUN, model_key=key)
    params, state = PARAMS, SGD.init(PARAMS)
    for epoch in range(4):
        for i in range(4):
            update_key = jax.random.fold_in(jax.random.fold_in(key, epoch), i)
            # The last batch is filled with the first rows, which count nothing; dropout draws for
            # the whole of it.
            rows = np.arange(16 * i, 16 * i + 16)
            x, y = TRAIN[0][rows % 50], TRAIN[1][rows % 50]
            counts = rows < 50

            def loss(params, x=x, y=y, counts=counts, update_key=update_key):
                return jnp.mean(
                    softmax_cross_entropy(dropped(params, x, update_key), y), where=counts
                )

            updates, state = SGD.update(jax.grad(loss)(params), state, params)
            params = optax.apply_updates(params, updates)
    assert_close(trained, params)
    assert history.test_loss[-1] == pytest.approx(
        evaluate(dropped, trained, TEST)["loss"], rel=1e-6
    )


@pytest.mark.many
def test_model_keys_shuffling_and_auto_go_together():
    keys = {"key": jax.random.key(1), "model_key": jax.random.key(2)}
    trained, _ = fit(dropped, PARAMS, **RUN, **keys)
    assert_close(fit(jaxnet.auto(dropped), PARAMS, **RUN, **keys)[0], trained)
    for other in (keys | {"key": jax.random.key(3)}, keys | {"model_key": jax.random.key(3)}):
        with pytest.raises(AssertionError):
            assert_close(fit(dropped, PARAMS, **RUN, **other)[0], trained)
    # A model that draws nothing ignores its key.
    assert_same(run(model_key=jax.random.key(2))[0], run()[0])


@pytest.mark.many
def test_many_runs_with_model_keys_are_each_themselves():
    params = jax.vmap(lambda k: init_mlp(k, (3, 8, 2), norm="rms"))(
        jax.random.split(jax.random.key(1), 3)
    )
    keys = jax.random.split(jax.random.key(2), 3)
    trained, _ = fit(dropped, params, **RUN, runs=3, model_key=keys)
    for i in range(3):
        alone, _ = fit(dropped, take_run(params, i), **RUN, model_key=keys[i])
        assert_close(take_run(trained, i), alone)


def test_update_step_takes_a_key():
    key, state = jax.random.key(0), SGD.init(PARAMS)
    step = update_step(dropped, SGD)
    losses = [
        step(*jax.tree.map(jnp.copy, (PARAMS, state)), *TRAIN, *keys)[2]
        for keys in ((), (key,), (key,))
    ]
    assert losses[0] == pytest.approx(evaluate(mlp, PARAMS, TRAIN)["loss"], rel=1e-6)
    assert losses[1] == losses[2] != losses[0]


def test_any_model_any_loss_any_metric():
    x = np.linspace(-1, 1, 40, dtype=np.float32)[:, None]
    y = 3 * x[:, 0] - 1

    def line(params, x):
        return params["slope"] * x[:, 0] + params["offset"]

    params = {"slope": np.float32(0), "offset": np.float32(0)}
    trained, history = fit(
        line,
        params,
        train=(x, y),
        epochs=100,
        batch_size=10,
        optimizer=SGD,
        loss=lambda outputs, y: (outputs - y) ** 2,
        metrics={
            "worst": lambda outputs, y: jnp.max(jnp.abs(outputs - y)),
            "error": lambda o, y: jnp.abs(o - y),
        },
    )
    np.testing.assert_allclose([trained["slope"], trained["offset"]], [3, -1], atol=1e-3)
    assert set(history.values) == {"train_loss", "train_worst", "train_error"}
    assert history.train_error[0] < history.train_worst[0]


def test_history_reads_as_attributes_and_says_what_it_has():
    _, history = run(test=None)
    assert history.train_accuracy is history.values["train_accuracy"]
    with pytest.raises(
        AttributeError, match="History has no 'test_loss'; it has train_loss, train_accuracy"
    ):
        _ = history.test_loss
    assert "epochs=4" in repr(history)


def test_history_can_be_copied():
    _, history = run(optimizer=optax.adam(1e-2))
    for other in (copy.copy(history), copy.deepcopy(history), dataclasses.replace(history)):
        np.testing.assert_array_equal(other.train_loss, history.train_loss)
        assert_same(other.opt_state, history.opt_state)
    assert dataclasses.replace(history, opt_state=None).opt_state is None


def test_a_metric_called_opt_state_hides_no_state():
    _, history = run(metrics={"opt_state": accuracy})
    np.testing.assert_array_equal(history.train_opt_state, run()[1].train_accuracy)
    assert jax.tree.structure(history.opt_state) == jax.tree.structure(SGD.init(PARAMS))


def test_in_a_history_of_ones_own_the_fields_come_first():
    losses, states = np.ones(3), np.zeros(3)
    history = jaxnet.History({"train_loss": losses, "opt_state": states}, epochs=3, seconds=1.0)
    assert history.train_loss is losses
    assert history.opt_state is None
    assert history.values["opt_state"] is states


def test_evaluate():
    params, history = run()
    measured = evaluate(mlp, params, TEST)
    np.testing.assert_allclose(measured["loss"], history.test_loss[-1], rtol=1e-6)
    np.testing.assert_allclose(measured["accuracy"], history.test_accuracy[-1], rtol=1e-6)
    assert evaluate(mlp, params, TEST, metrics={}).keys() == {"loss"}


def test_update_step_is_jitted_and_donated():
    step = update_step(mlp, SGD)
    params = jax.tree.map(jnp.copy, PARAMS)
    grads = jax.grad(mean_loss)(PARAMS, *TRAIN)
    new, _, loss = step(params, SGD.init(params), *TRAIN)
    np.testing.assert_allclose(loss, mean_loss(PARAMS, *TRAIN), rtol=1e-6)
    assert_close(new, jax.tree.map(lambda p, g: p - 0.1 * g, PARAMS, grads))
    assert all(leaf.is_deleted() for leaf in jax.tree.leaves(params))


def test_one_compilation_of_the_run_whatever_its_segments(compilations, monkeypatch):
    monkeypatch.setattr(jaxnet._training_run, "SEGMENT_SECONDS", 0.0)  # one step a segment
    optimizer = optax.sgd(0.05)
    _, in_segments = run(epochs=7, optimizer=optimizer)
    assert sum("segment" in name for name in compilations) == 1
    compilations.clear()
    monkeypatch.setattr(jaxnet._training_run, "SEGMENT_SECONDS", 1e9)
    _, at_once = run(epochs=9, optimizer=optimizer)
    assert not compilations, (
        "the same objects and shapes must not compile again, whatever the number of epochs"
    )
    np.testing.assert_array_equal(in_segments.train_loss, at_once.train_loss[:7])


def test_what_a_call_takes_without_a_step_shrinks_no_segment(monkeypatch):
    """A second for the order of the rows, 2 ms for a step: a hundred steps are 0.2 s, not one."""
    from jaxnet._training_run import Saved, _go_on, _without_a_step

    seconds = [0.0]
    monkeypatch.setattr(jaxnet._training_run.time, "perf_counter", lambda: seconds[0])

    def segments(state, first, stop):
        done = int(stop.step - first.step) + 800 * int(stop.epoch - first.epoch)
        seconds[0] += 1 + 0.002 * done
        return state, []

    start = Saved(types.SimpleNamespace(ended=np.zeros(())), [], 0, 0.0)
    run, length = _go_on(segments, start, 1, 800, 9, 0.0)
    run, idle = _without_a_step(segments, run, 800)
    assert (run.position, idle) == (1, pytest.approx(1.0))
    for _ in range(3):
        run, length = _go_on(segments, run, length, 800, 9, idle)
    assert 99 <= length <= 101


def test_runs_longer_than_the_buffer(monkeypatch):
    _, whole = run(epochs=11)
    monkeypatch.setattr(jaxnet._training_program, "BUFFER_EPOCHS", 3)
    monkeypatch.setattr(jaxnet._training_run, "SEGMENT_SECONDS", 1e9)
    _, history = run(epochs=11, optimizer=optax.sgd(0.1))
    np.testing.assert_array_equal(history.train_loss, whole.train_loss)


@pytest.mark.parametrize("hand", [True, False], ids=["hand", "auto"])
def test_update_and_run_lower_for_cpu_cuda_and_tpu(hand):
    model, loss = (
        (mlp, softmax_cross_entropy)
        if hand
        else (jaxnet.auto(mlp), jaxnet.auto(softmax_cross_entropy))
    )
    platforms = ("cpu", "cuda", "tpu")
    state = SGD.init(PARAMS)
    exported = jax.export.export(update_step(model, SGD, loss), platforms=platforms)(
        PARAMS, state, *TRAIN
    )
    assert exported.platforms == platforms
    recipe = program.Recipe(model, loss, SGD, (accuracy,), batch_size=16, validation=1, patience=2)
    segment = jax.jit(partial(program.segment, recipe))
    for key in (None, jax.random.key(0)):
        given, sets = program.Given(key, None, {}), [TRAIN, TEST]
        start = program.start_state(recipe, PARAMS, None, sets, given)
        exported = jax.export.export(segment, platforms=platforms)(
            start, sets, given, program.NOWHERE, program.NOWHERE
        )
        assert exported.platforms == platforms


def test_data_sharded_over_devices_trains_the_same(forced_devices):
    forced_devices(
        """
        import jax, numpy as np, optax, jaxnet
        from jax.sharding import AxisType, NamedSharding, PartitionSpec
        assert len(jax.devices()) == 2
        rng = np.random.default_rng(0)
        x, y = rng.normal(size=(32, 3)).astype(np.float32), rng.integers(0, 2, 32)
        mesh = jax.make_mesh((2,), ("rows",), axis_types=(AxisType.Auto,))
        rows, everywhere = (NamedSharding(mesh, PartitionSpec(*spec)) for spec in (("rows",), ()))
        params, sgd = jaxnet.init_mlp(jax.random.key(0), (3, 8, 2)), optax.sgd(0.1)
        run = dict(epochs=3, batch_size=8, optimizer=sgd)
        _, alone = jaxnet.fit(jaxnet.mlp, params, train=(x, y), **run)
        placed = jax.device_put(params, everywhere)
        placed_data = jax.device_put((x, y), rows)
        _, sharded = jaxnet.fit(jaxnet.mlp, placed, train=tuple(placed_data), **run)
        np.testing.assert_allclose(sharded.train_loss, alone.train_loss, rtol=1e-5)
        """
    )


def test_ctrl_c_returns_what_was_trained(monkeypatch, ctrl_c_works):
    monkeypatch.setattr(jaxnet._training_run, "SEGMENT_SECONDS", 0.01)
    adam = optax.adam(1e-2)
    run(optimizer=adam)  # compiled: the interruption must fall into the loop
    threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGINT)).start()
    params, history = run(epochs=20_000, optimizer=adam)
    assert history.interrupted
    assert 0 < history.epochs == len(history.train_loss) < 20_000
    assert history.opt_state[0].count == 4 * history.epochs  # adam counts its updates
    assert_close(evaluate(mlp, params, TRAIN)["loss"], history.train_loss[-1])
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    assert not run()[1].interrupted


def test_fit_works_outside_the_main_thread():
    results = []
    thread = threading.Thread(target=lambda: results.append(run()))
    thread.start()
    thread.join()
    assert results[0][1].epochs == 4


class Terminal(io.StringIO):
    def isatty(self):
        return True


class Clock:
    """Every look at it is a second later."""

    def __init__(self):
        self.now = 0.0

    def perf_counter(self):
        self.now += 1.0
        return self.now


@pytest.mark.parametrize("stream", [Terminal, io.StringIO])
def test_long_runs_show_progress(monkeypatch, stream):
    monkeypatch.setattr(jaxnet._training_run, "SEGMENT_SECONDS", 0.0)
    monkeypatch.setattr(jaxnet._progress, "time", Clock())
    monkeypatch.setattr(sys, "stderr", stream())
    run(epochs=30)
    shown = sys.stderr.getvalue()
    assert "/30  train loss 0." in shown
    assert " s left" in shown
    if stream is Terminal:
        assert "\r[####" in shown
        assert shown.endswith("\r"), "the bar must be gone at the end"
    else:
        assert "\r" not in shown
        assert 1 < shown.count("\n") < 30


def test_short_runs_and_quiet_ones_show_nothing(monkeypatch, capsys):
    run()
    monkeypatch.setattr(jaxnet._progress, "time", Clock())
    run(progress=False)
    assert capsys.readouterr().err == ""


def test_non_finite_loss_says_when_and_keeps_the_history():
    with pytest.raises(
        jaxnet.NonFiniteLoss, match=r"training loss became (nan|inf) in epoch \d+; a smaller"
    ) as error:
        run(train=(1e3 * TRAIN[0], TRAIN[1]), optimizer=optax.sgd(lambda count: 1e30), epochs=50)
    history = error.value.history
    assert not np.isfinite(history.train_loss).all()
    assert history.opt_state[1].count == 4 * history.epochs  # the schedule counts the updates
    assert isinstance(error.value, FloatingPointError)


def test_a_run_that_diverges_keeps_its_best_epoch():
    explodes = optax.sgd(lambda count: jnp.where(count < 12, 0.1, 1e30))  # after three epochs
    validated = {"validation": TEST, "optimizer": explodes, "epochs": 9}
    with pytest.raises(jaxnet.NonFiniteLoss) as error:
        run(**validated)
    best = error.value.history.best_epoch
    assert 1 <= best <= 3
    assert_same(error.value.params, run(**validated | {"epochs": best})[0])
    with pytest.raises(jaxnet.NonFiniteLoss) as error:
        run(**validated | {"validation": None})
    assert error.value.params is None


def test_of_many_runs_one_that_diverges_is_marked_and_the_others_go_on():
    params = jax.vmap(lambda k: init_mlp(k, (3, 8, 2)))(jax.random.split(jax.random.key(1), 3))
    params = jax.tree.map(lambda leaf: leaf.at[1].multiply(jnp.inf), params)
    trained, history = fit(mlp, params, **RUN, runs=3)
    assert history.diverged.tolist() == [False, True, False]
    assert np.isnan(history.train_loss[1]).all()
    for i in (0, 2):
        alone, history_alone = fit(mlp, take_run(params, i), **RUN)
        assert_close(take_run(trained, i), alone)
        np.testing.assert_allclose(history.test_loss[i], history_alone.test_loss, rtol=1e-5)
    bad = jax.tree.map(lambda leaf: leaf * jnp.inf, params)
    with pytest.raises(jaxnet.NonFiniteLoss, match=r"became nan in epoch 1 of run 0;"):
        fit(mlp, bad, **RUN, runs=3)


X, Y = TRAIN


@pytest.mark.parametrize(
    ("changes", "error", "text"),
    [
        ({"epochs": 0}, ValueError, "epochs must be a positive integer, got 0"),
        ({"epochs": -3}, ValueError, "epochs must be a positive integer, got -3"),
        ({"epochs": 2.5}, ValueError, "epochs must be a positive integer, got 2.5"),
        ({"batch_size": 0}, ValueError, "batch_size must be a positive integer, got 0"),
        ({"batch_size": True}, ValueError, "batch_size must be a positive integer, got True"),
        ({"runs": 0}, ValueError, "runs must be a positive integer, got 0"),
        (
            {"runs": 5},
            ValueError,
            r"with runs=5 every leaf of params must have a leading axis \[5\]",
        ),
        ({"train": X}, TypeError, r"train must be a pair of arrays \(x, y\), got ndarray"),
        ({"train": (X.tolist(), Y)}, TypeError, r"train must be a pair of arrays \(x, y\)"),
        (
            {"train": (X, Y[:-1])},
            ValueError,
            r"train: x and y must have as many rows, got shapes \(50, 3\) and \(49,\)",
        ),
        ({"train": (X[:0], Y[:0])}, ValueError, r"train: no rows; x has shape \(0, 3\)"),
        ({"test": (X[:0], Y[:0])}, ValueError, r"test: no rows"),
        (
            {"train": (np.where(X > 2, np.nan, X), Y)},
            ValueError,
            r"train: x holds \d+ values that are NaN or inf, the first at index \(\d+, \d\)",
        ),
        (
            {"test": (np.full((2, 3), np.inf, np.float32), Y[:2])},
            ValueError,
            "test: x holds 6 values that are NaN or inf",
        ),
        (
            {"train": (X, Y + 1)},
            ValueError,
            r"train: labels must be in 0 .. 1 \(the model has 2 outputs\), got 1 .. 2",
        ),
        (
            {"train": (X, Y - 1)},
            ValueError,
            r"train: labels must be in 0 .. 1 \(the model has 2 outputs\), got -1 .. 0",
        ),
        ({"train": (X[:, :2], Y)}, ValueError, "linear: x must end in weight's in = 3 columns"),
        ({"train": (X.astype(int), Y)}, TypeError, "linear: x must be a floating-point array"),
        ({"train": (X, Y.astype(np.float32))}, ValueError, "class numbers are integers"),
        (
            {"loss": lambda outputs, y: jnp.mean(softmax_cross_entropy(outputs, y))},
            ValueError,
            r"train: loss must return one value per example, shape \(50,\), got shape \(\)",
        ),
        (
            {"loss": jaxnet.auto(softmax_cross_entropy), "train": (X, Y + 1)},
            ValueError,
            "labels must be in 0 .. 1",
        ),
        (
            {"optimizer": 0.1},
            TypeError,
            (
                "optimizer must be an optax.GradientTransformation "
                r"such as optax.sgd\(0.01\), got float"
            ),
        ),
    ],
)
def test_bad_input(changes, error, text):
    with pytest.raises(error, match=text):
        run(**changes)


@pytest.mark.parametrize("name", ["key", "model_key"])
def test_a_seed_is_no_key(name):
    with pytest.raises(
        TypeError,
        match=rf"fit: {name} must be a JAX random key such as jax.random.key\(0\), got int",
    ):
        fit(mlp, PARAMS, **RUN, **{name: 0})


def test_a_model_key_needs_a_model_that_takes_it():
    with pytest.raises(
        TypeError,
        match=r"called as model\(params, x, key\), but it takes \(params, x\); leave model_key",
    ):
        fit(lambda params, x: mlp(params, x), PARAMS, **RUN, model_key=jax.random.key(0))
    params = jax.vmap(lambda k: init_mlp(k, (3, 8, 2)))(jax.random.split(jax.random.key(1), 3))
    with pytest.raises(
        ValueError, match=r"with runs=3 every leaf of model_key must have a leading axis \[3\]"
    ):
        fit(mlp, params, **RUN, runs=3, model_key=jax.random.key(0))


def test_evaluate_refuses_as_fit_does():
    with pytest.raises(ValueError, match=r"data: labels must be in 0 \.\. 1"):
        evaluate(mlp, PARAMS, (X, Y + 1))


def test_in_float64_the_history_is_float64(x64):
    params = init_mlp(jax.random.key(0), (3, 8, 2))
    _, history = fit(mlp, params, **(RUN | {"train": (X.astype(float), Y), "test": None}))
    assert history.train_loss.dtype == np.float64


def test_fit_waits_for_what_it_measured():
    start = time.perf_counter()
    _, history = run()
    assert 0 < history.seconds <= time.perf_counter() - start


def largest(outputs, y):
    """One number for the whole of a set."""
    return jnp.max(outputs[:, 0] * jnp.sum(y))


def two_by_row(outputs, y):
    return jnp.stack([outputs[:, 0], outputs[:, 1] ** 2], axis=1)


@pytest.mark.parametrize("rows", [16, 17, 31, 32, 70])
def test_a_large_set_is_measured_in_batches(monkeypatch, rows):
    x = np.random.default_rng(rows).normal(size=(rows, 3)).astype(np.float32)
    data = x, np.arange(rows) % 2
    metrics = {"accuracy": accuracy, "largest": largest, "two_by_row": two_by_row}
    at_once = evaluate(mlp, PARAMS, data, metrics=metrics)
    monkeypatch.setattr(jaxnet._training_step, "MEASURED_ROWS", 16)
    # New functions: those of before would not be looked at again.
    in_batches = evaluate(partial(mlp), PARAMS, data, metrics=metrics)
    assert in_batches == pytest.approx(at_once, rel=1e-6)
    without = evaluate(partial(mlp), PARAMS, data)
    assert without == pytest.approx({name: at_once[name] for name in without}, rel=1e-6)


@pytest.mark.parametrize("rows", [16, 17, 70])
def test_several_outputs_are_measured_in_batches(monkeypatch, rows):
    def mean_and_width(params, x):
        outputs = mlp(params, x)
        return {"mean": outputs[:, 0], "width": jnp.abs(outputs[:, 1]) + 1}

    def loss(outputs, y):
        return ((outputs["mean"] - y) / outputs["width"]) ** 2

    def widest(outputs, y):
        return jnp.max(outputs["width"] * jnp.sum(y))

    x = np.random.default_rng(rows).normal(size=(rows, 3)).astype(np.float32)
    y = np.arange(rows, dtype=np.float32)
    outputs = mean_and_width(PARAMS, x)
    monkeypatch.setattr(jaxnet._training_step, "MEASURED_ROWS", 16)
    measured = evaluate(mean_and_width, PARAMS, (x, y), loss=loss, metrics={"widest": widest})
    expected = {"loss": float(loss(outputs, y).mean()), "widest": float(widest(outputs, y))}
    assert measured == pytest.approx(expected, rel=rows * float(np.finfo(np.float32).eps))


def test_the_memory_of_measuring_does_not_grow_with_the_set():
    def temporaries(rows):
        data = jnp.zeros((rows, 3)), jnp.zeros(rows, int)
        criteria = (softmax_cross_entropy, *jaxnet.training.ACCURACY.values())
        measure = jax.jit(partial(jaxnet._training_step.measure, mlp, criteria))
        return measure.lower(PARAMS, data).compile().memory_analysis().temp_size_in_bytes

    rows = jaxnet._training_step.MEASURED_ROWS
    assert temporaries(rows) > 4 * rows  # at least an array of [rows] is there
    assert temporaries(16 * rows) == temporaries(4 * rows) < 2 * temporaries(rows)


def kernels_of_an_update(kind):
    """In the compiled run: of its computations the one with the most is the update."""
    recipe = program.Recipe(kind(mlp), kind(softmax_cross_entropy), SGD, (), batch_size=16)
    given = program.Given(None, None, {})
    start = program.start_state(recipe, PARAMS, None, [TRAIN], given)
    segment = jax.jit(partial(program.segment, recipe))
    compiled = segment.lower(start, [TRAIN], given, program.NOWHERE, program.NOWHERE).compile()
    computations = re.split(r"\n(?=\S)", compiled.as_text())
    calls = r" (?:fusion|dot|reduce|custom-call)\("
    return max(len(re.findall(calls, c)) for c in computations if "get-tuple-element" in c)


def test_an_update_by_hand_takes_no_more_kernels_than_by_autodiff():
    by_hand = kernels_of_an_update(partial)
    assert 10 < by_hand <= kernels_of_an_update(jaxnet.auto)


@pytest.mark.parametrize("rows", [64, 80], ids=["whole batches", "a smaller one"])
def test_float16_holds_the_mean_of_losses_whose_sum_it_does_not(rows):
    def loss(outputs, y):
        return 2000 + outputs[:, 0]  # 64 of them are 128000; the largest of float16 is 65504

    params, x = jnp.zeros(1, jnp.float16), jnp.ones((rows, 1), jnp.float16)
    data = x, np.zeros(rows, np.int32)
    options = {"epochs": 1, "batch_size": 64, "optimizer": SGD, "loss": loss, "metrics": {}}
    trained, history = fit(lambda w, x: x * w, params, train=data, **options)
    assert history.train_loss[-1] == 2000
    # The slope is 1: each update takes the rate from the weight.
    np.testing.assert_allclose(trained, -0.1 * -(-rows // 64), rtol=2e-3)

    step = update_step(lambda w, x: x * w, SGD, loss)
    _, _, value = step(params, SGD.init(params), *data)
    assert value == 2000
    assert value.dtype == jnp.float16


OVERFITTING = {"validation": TEST, "test": None, "epochs": 60, "optimizer": optax.adam(0.1)}


def test_the_epoch_with_the_lowest_validation_loss_is_returned():
    params, history = run(**OVERFITTING)
    losses = history.validation_loss
    assert history.best_epoch == 1 + np.argmin(losses) < 60
    np.testing.assert_allclose(evaluate(mlp, params, TEST)["loss"], losses.min(), rtol=1e-6)
    up_to_it, alone = run(**OVERFITTING | {"epochs": history.best_epoch, "validation": None})
    assert_close(params, up_to_it)
    assert_close(history.opt_state, alone.opt_state)


@pytest.mark.parametrize("patience", [1, 4])
def test_patience_ends_a_run_so_many_epochs_after_its_best(patience):
    losses = run(**OVERFITTING)[1].validation_loss
    _, history = run(**OVERFITTING, patience=patience)
    best = np.minimum.accumulate(losses)
    waited = np.arange(60) - np.array([np.argmax(losses == b) for b in best])
    assert history.epochs == 1 + np.argmax(waited == patience) < 60
    np.testing.assert_array_equal(history.validation_loss, losses[: history.epochs])
    assert history.best_epoch == history.epochs - patience
