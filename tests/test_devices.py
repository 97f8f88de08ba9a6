"""Training on a mesh: the same losses as on one device, whoever computes them."""

import os
import socket
import subprocess
import sys

import pytest

SETUP = """
import re
from functools import partial

import jax, jax.numpy as jnp, numpy as np, optax
from jax.sharding import AxisType, NamedSharding, PartitionSpec as P

import jaxnet
from jaxnet import _training_program as program, _training_run

rng = np.random.default_rng(0)
# Neither the rows nor those of a batch are a multiple of eight.
x = rng.normal(size=(101, 6)).astype(np.float32)
y = (x[:, 0] > x[:, 1]).astype(np.int32)
params = jaxnet.init_mlp(jax.random.key(0), (6, 16, 16, 2))
model = partial(jaxnet.mlp, dropout_rate=0.2)
adam = optax.adam(0.01)

def fit(params=params, **options):
    options = {"key": jax.random.key(1), "model_key": jax.random.key(2), "epochs": 3} | options
    return jaxnet.fit(
        model, params, train=(x, y), test=(x[:37], y[:37]), batch_size=20, optimizer=adam,
        progress=False, **options)

def assert_same(history, other):
    for name, values in other.values.items():
        np.testing.assert_allclose(history.values[name], values, rtol=2e-6, err_msg=name)

def make_mesh(shape, names):
    return jax.make_mesh(shape, names, axis_types=(AxisType.KIND,) * len(names))
"""


def every_kind_of_axes(test):
    # A new mesh has explicit axes: a plain run of the tests takes these.
    return pytest.mark.many(pytest.mark.parametrize("kind", ["Explicit", "Auto"])(test))


@every_kind_of_axes
def test_rows_are_divided_over_eight_devices(kind, forced_devices):
    program = """
_, alone = fit()
mesh = make_mesh((8,), ("data",))
with jax.set_mesh(mesh):
    trained, history = fit()
    assert_same(history, alone)
    assert all(leaf.sharding.is_fully_replicated for leaf in jax.tree.leaves(trained))
    assert trained[0].weight.sharding.mesh == mesh
    measured = jaxnet.evaluate(jaxnet.mlp, trained, (x, y))
np.testing.assert_allclose(measured["loss"], history.train_loss[-1], rtol=2e-6)
"""
    forced_devices(SETUP.replace("KIND", kind) + program, devices=8)


@every_kind_of_axes
def test_a_step_holds_one_all_reduce(kind, forced_devices):
    program = """
COLLECTIVES = "all-reduce|all-gather|all-to-all|collective-permute|reduce-scatter"

def collectives(f, *args):
    return re.findall(f" ({COLLECTIVES})(?:-start)?[(]", f.lower(*args).compile().as_text())

def of_run():
    recipe = program.Recipe(model, jaxnet.softmax_cross_entropy, adam, (), batch_size=20)
    given = program.Given(jax.random.key(1), jax.random.key(2), {})
    state = program.start_state(recipe, params, None, [(x, y)], given)
    on_all = jax.device_put((state, [(x, y)], given), whole)
    segment = jax.jit(partial(program.segment, recipe))
    return collectives(segment, *on_all, program.NOWHERE, program.NOWHERE)

mesh = make_mesh((8,), ("data",))
with jax.set_mesh(mesh):
    whole, rows = NamedSharding(mesh, P()), NamedSharding(mesh, P("data"))
    assert of_run() == 2 * ["all-reduce"]  # measuring the loss adds up too
    add, program.Measurement._add = program.Measurement._add, lambda self, p, i, sums: sums
    assert of_run() == ["all-reduce"]
    program.Measurement._add = add

    step = jaxnet.update_step(jaxnet.mlp, adam)
    state = jax.device_put((params, adam.init(params)), whole)
    data = jax.device_put((x[:96], y[:96]), rows)
    assert collectives(step, *state, *data) == ["all-reduce"]
    _, _, loss = step(*jax.tree.map(jnp.copy, state), *data)
ours = jaxnet.evaluate(jaxnet.mlp, params, (x[:96], y[:96]))["loss"]
np.testing.assert_allclose(loss, ours, rtol=2e-6)
"""
    forced_devices(SETUP.replace("KIND", kind) + program, devices=8)


@every_kind_of_axes
def test_parameters_stay_as_they_are_placed(kind, forced_devices):
    program = """
_, alone = fit()
mesh = make_mesh((4, 2), ("data", "model"))
for axis in ("model", "data"):  # the latter has the rows too
    with jax.set_mesh(mesh):
        by_row, by_column = NamedSharding(mesh, P(axis)), NamedSharding(mesh, P(None, axis))
        first, second, last = params
        trained, history = fit((
            first._replace(weight=jax.device_put(first.weight, by_row)),
            second._replace(weight=jax.device_put(second.weight, by_column)),
            last,
        ))
        assert_same(history, alone)
        assert trained[0].weight.sharding.is_equivalent_to(by_row, 2)
        assert trained[1].weight.sharding.is_equivalent_to(by_column, 2)
"""
    forced_devices(SETUP.replace("KIND", kind) + program, devices=8)


@every_kind_of_axes
def test_runs_are_divided_over_eight_devices(kind, forced_devices):
    program = """
def runs(n):
    seeds = partial(jax.random.split, num=n)
    started = jax.vmap(lambda key: jaxnet.init_mlp(key, (6, 16, 2)))(seeds(jax.random.key(3)))
    return fit(started, key=seeds(jax.random.key(4)), model_key=seeds(jax.random.key(5)), runs=n)

_, together = runs(16)
with jax.set_mesh(make_mesh((8,), ("data",))):
    trained, history = runs(16)
    assert_same(history, together)
    assert trained[0].weight.sharding.spec[0] == "data"
    fit(trained, runs=16, opt_state=history.opt_state, key=None, model_key=None)  # they go on
    try:
        runs(9)
    except ValueError as error:
        assert "runs=9 cannot be divided evenly among the 8 devices" in str(error)
        assert "train 16 of them" in str(error)
    else:
        raise AssertionError("nine runs on eight devices")
"""
    forced_devices(SETUP.replace("KIND", kind) + program, devices=8)


TWO_PROCESSES = """
import os, signal, sys
import jax

address, number = sys.argv[1], int(sys.argv[2])
jax.distributed.initialize(address, num_processes=2, process_id=number)
assert len(jax.devices()) == 4 and len(jax.local_devices()) == 2

class CtrlC:
    # Shows nothing, and presses Ctrl-C in one of the two processes after so many epochs.
    def __init__(self, after, epochs, wanted): self.after = after
    def __enter__(self): return self
    def __exit__(self, *error): pass
    def __call__(self, done, loss):
        if number == 1 and done == self.after:
            os.kill(os.getpid(), signal.SIGINT)
        seen.append(done)

seen = []
""" + SETUP.replace("KIND", "Explicit")


@pytest.mark.many
def test_two_processes_train_as_one_and_stop_together(ctrl_c_works):
    program = (
        TWO_PROCESSES
        + """
_, alone = fit()
_training_run.SEGMENT_SECONDS = 0.0  # between any two steps they ask each other

with jax.set_mesh(make_mesh((4,), ("data",))):
    _, history = fit()
    assert_same(history, alone)
    _training_run.progress_display = partial(CtrlC, 5)
    _, stopped = fit(epochs=1000)
    assert stopped.interrupted and stopped.epochs == 5
print(stopped.train_loss.tolist())
"""
    )
    first, second = in_two_processes(program)
    assert first == second


@pytest.mark.many
def test_two_processes_go_on_from_what_they_saved(ctrl_c_works, tmp_path):
    program = (
        TWO_PROCESSES
        + f"folder = {str(tmp_path)!r}"
        + """
_training_run.SEGMENT_SECONDS = 0.0
mesh = make_mesh((4,), ("data",))
with jax.set_mesh(mesh):
    _, alone = fit()
    _training_run.progress_display = partial(CtrlC, 2)
    _, stopped = fit(checkpoint=folder)
    assert stopped.interrupted and stopped.epochs == 2
    seen.clear()
    _training_run.progress_display = partial(CtrlC, None)
    _, history = fit(checkpoint=folder)
    assert 2 < seen[0] < 2.5, seen  # not from the beginning
for name, values in alone.values.items():
    np.testing.assert_array_equal(history.values[name], values, err_msg=name)
print(history.train_loss.tolist())
"""
    )
    first, second = in_two_processes(program)
    assert first == second


def in_two_processes(program):
    """The last line that each of two processes prints; they find each other at a local port."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    flags = f"{os.environ['XLA_FLAGS']} --xla_force_host_platform_device_count=2"
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", program, address, str(number)],
            env=os.environ | {"XLA_FLAGS": flags, "JAX_PLATFORMS": "cpu"},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for number in range(2)
    ]
    try:
        ended = [process.communicate(timeout=300) for process in processes]
    finally:
        for process in processes:
            process.kill()
    for process, (_, errors) in zip(processes, ended, strict=True):
        assert process.returncode == 0, errors
    return [printed.splitlines()[-1] for printed, _ in ended]
