"""A computation is compiled once, and one that changed never meets the program of before."""

import dataclasses
import gc
import weakref
from functools import partial
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import jaxnet
from jaxnet import _programs, _training_data
from jaxnet._programs import program

X, Y = np.linspace(-1, 1, 4, dtype=np.float32), np.linspace(0, 3, 4, dtype=np.float32)
SGD = optax.sgd(0.1)
MODEL_AND_LOSS = {"model": lambda p, x: p * x, "loss": lambda o, y: (o - y) ** 2}
TABLES = (_programs._shapes, _programs._program, _programs._compiled, _training_data._graph_mixes)


def fit_once(*, model, loss, optimizer=SGD, params=1.0, metrics=None, **options):
    """One update on the whole of the data; the parameters after it, and the history."""
    return jaxnet.fit(
        model,
        jax.tree.map(np.float32, params),
        train=(X, Y),
        epochs=1,
        batch_size=len(X),
        optimizer=optimizer,
        loss=loss,
        metrics=metrics or {},
        **options,
    )


def by_hand(*, model, loss, optimizer=SGD, params=1.0):
    """The same without anything compiled: the reference."""
    params = jax.tree.map(jnp.float32, params)
    grads = jax.grad(lambda params: jnp.mean(loss(model(params, X), Y)))(params)
    updates, _ = optimizer.update(grads, optimizer.init(params), params)
    return optax.apply_updates(params, updates)


def made_anew(optimizer):
    """What a loop writes into its call: nothing in it is an object of before."""
    return {
        "model": lambda p, x: p * jnp.tanh(x),
        "loss": lambda outputs, y: 2.5 * (outputs - y) ** 2,
        "metrics": {"worst": lambda outputs, y: jnp.max(jnp.abs(outputs - y))},
        "optimizer": optimizer(),
    }


@pytest.mark.parametrize("runs", [None, 3], ids=["one", "three"])
@pytest.mark.parametrize(
    "optimizer",
    [
        lambda: optax.sgd(0.01),
        lambda: optax.adamw(optax.cosine_decay_schedule(0.01, 12)),
        lambda: optax.chain(optax.clip(1.0), optax.sgd(lambda count: 0.1 / (1 + count))),
    ],
    ids=["sgd", "schedule", "chain"],
)
def test_the_same_computation_of_other_objects_compiles_nothing(optimizer, runs, compilations):
    options = {"runs": runs, "params": 1.0 if runs is None else np.arange(3.0)}
    params, history = fit_once(**made_anew(optimizer), **options)
    compilations.clear()
    again, known = fit_once(**made_anew(optimizer), **options)
    assert not compilations
    np.testing.assert_array_equal(again, params)
    np.testing.assert_array_equal(known.train_worst, history.train_worst)
    assert jax.tree.structure(known.opt_state) == jax.tree.structure(history.opt_state)


def test_the_same_objects_are_not_even_traced_again():
    traced = []

    def model(params, x):
        traced.append(x)
        return params * x

    options = MODEL_AND_LOSS | {"model": model, "metrics": {}}
    for fit_or_evaluate in (
        lambda: fit_once(**options),
        lambda: jaxnet.evaluate(params=np.float32(1), data=(X, Y), **options),
    ):
        fit_or_evaluate()
        traced.clear()
        fit_or_evaluate()
        assert not traced


def test_evaluate_compiles_once_too(compilations):
    def evaluate(scale):
        options = {"loss": MODEL_AND_LOSS["loss"], "metrics": {}}
        return jaxnet.evaluate(lambda p, x: p * x * scale, jnp.ones(()), (X, Y), **options)

    first = evaluate(2.0)
    compilations.clear()
    assert evaluate(2.0) == first
    assert not compilations
    assert evaluate(3.0) != first


def rates():
    for rate in (0.1, 0.2):
        yield {"optimizer": optax.sgd(rate)}


def schedules():
    for rate in (0.1, 0.2):
        yield {"optimizer": optax.sgd(lambda count, rate=rate: rate / (1 + count))}


def first_states():
    for start in (0.1, 0.9):
        yield {"optimizer": optax.adagrad(0.1, initial_accumulator_value=start)}


def with_scale(scale):
    return {"loss": lambda outputs, y: (scale * outputs - y) ** 2}


def numbers():
    yield from map(with_scale, (2.0, 3.0, -0.0, True))


def arrays_of_jax():
    yield from map(with_scale, (jnp.float32(2), jnp.float32(3), jnp.arange(4.0)))


def changed_in_place(dtype, shape):
    scale = np.ones(shape, dtype)
    for value in (2, 3):
        scale[...] = value
        yield with_scale(scale)


def globals_that_change():
    for value in (2.0, 3.0):
        GLOBAL.scale = value
        # The loss is the same function each time.
        yield {"loss": loss_with_global, "optimizer": optax.sgd(0.1)}


GLOBAL = SimpleNamespace(scale=1.0)


def loss_with_global(outputs, y):
    return (GLOBAL.scale * outputs - y) ** 2


class Host:
    def __init__(self, scale):
        self.scale = scale

    def times_scale(self, x):
        return self.scale * x


def callbacks():
    for scale in (np.float32(2), np.float32(3)):
        host = Host(scale)

        def loss(outputs, y, host=host):
            scaled = jax.pure_callback(host.times_scale, y, y)
            return (outputs - scaled) ** 2

        yield {"loss": loss}


def backward_rules():
    for slope in (2.0, 3.0):

        @jax.custom_vjp
        def square(x):
            return x**2

        def backward(x, c, slope=slope):
            return (slope * x * c,)

        square.defvjp(lambda x: (x**2, x), backward)
        yield {"loss": lambda outputs, y, square=square: square(outputs - y)}


@partial(jax.tree_util.register_dataclass, data_fields=["scale"], meta_fields=["power"])
@dataclasses.dataclass
class Power:
    scale: object
    power: int


def static_fields():
    for power in (1, 2):
        yield {"params": Power(1.0, power), "model": lambda p, x: p.scale * x**p.power}


def switched_branches():
    for is_reversed in (False, True):
        branches = [jnp.sin, jnp.cos][:: -1 if is_reversed else 1]
        yield {"model": lambda p, x, b=branches: jax.lax.cond(jnp.sum(x) > -1, *b, p * x)}


@pytest.mark.parametrize(
    "cases",
    [
        rates,
        schedules,
        first_states,
        numbers,
        arrays_of_jax,
        partial(changed_in_place, np.float32, ()),
        partial(changed_in_place, np.float32, (4,)),
        partial(changed_in_place, np.float64, ()),  # of which JAX reads a copy
        partial(changed_in_place, np.float64, (4,)),
        partial(changed_in_place, np.int64, (4,)),
        globals_that_change,
        callbacks,
        backward_rules,
        static_fields,
        switched_branches,
    ],
)
def test_what_changed_never_meets_the_program_of_before(cases):
    before = []
    for changes in cases():
        expected = by_hand(**(MODEL_AND_LOSS | changes))
        (here,) = jax.tree.leaves(expected)
        assert all(abs(here - other) > 1e-3 for other in before), "the cases must differ"
        before.append(here)
        params, history = fit_once(**(MODEL_AND_LOSS | changes))
        jax.tree.map(partial(np.testing.assert_allclose, rtol=1e-5), params, expected)
        model, loss = ((MODEL_AND_LOSS | changes)[name] for name in ("model", "loss"))
        np.testing.assert_allclose(history.train_loss, np.mean(loss(model(params, X), Y)), 1e-5)


def test_trees_of_the_same_leaves_come_back_as_they_were(compilations):
    def model(params, x):
        return x * sum(jax.tree.leaves(params))

    fit_once(**(MODEL_AND_LOSS | {"model": model}), params=(1.0, 2.0))
    compilations.clear()
    params, _ = fit_once(**(MODEL_AND_LOSS | {"model": model}), params={"b": 2.0, "a": 1.0})
    assert not compilations
    assert params.keys() == {"a", "b"}
    assert params["a"] < params["b"]


def run(f, *args, **how):
    return program(f, (), *args, **how)(*args)


@pytest.mark.parametrize("x", [jnp.ones(3, jnp.float16), jnp.ones(3, jnp.float32)], ids=str)
def test_weak_and_strong_types_are_told_apart(x):
    for scale in (2.0, np.float32(2), jnp.float32(2), np.float16(2)):
        assert run(lambda x, scale=scale: x * scale, x).dtype == (x * scale).dtype
    assert run(lambda x: x + jnp.ones(3, jnp.float16), 2.0).dtype == jnp.float16
    assert run(lambda x: x + jnp.ones(3, jnp.float16), np.float32(2)).dtype == jnp.float32


def test_modes_are_told_apart():
    x = np.full(3, 1 / 3)
    for is_wide in (False, True, False):
        with jax.enable_x64(is_wide):
            assert run(lambda x: x * 3, x).dtype == (np.float64 if is_wide else np.float32)

    key = jax.random.key(0)
    for is_partitionable in (False, True, False):
        with jax.threefry_partitionable(is_partitionable):
            drawn = run(lambda key: jax.random.bits(key, (8,)), key)
            np.testing.assert_array_equal(drawn, jax.random.bits(key, (8,)))


def test_what_donates_and_what_does_not_are_two_programs():
    kept, given = jnp.ones(3), jnp.ones(3)
    run(lambda x: x * 2, given, donate=True)
    run(lambda x: x * 2, kept)
    assert given.is_deleted()
    assert not kept.is_deleted()


def test_the_callers_arrays_survive_a_known_program():
    def params_and_state():
        return jnp.ones(()), optax.adam(0.1).init(jnp.ones(()))

    for _ in range(2):
        params, state = params_and_state()
        jaxnet.fit(
            params=params,
            opt_state=state,
            optimizer=optax.adam(0.1),
            train=(X, Y),
            epochs=2,
            batch_size=2,
            metrics={},
            **MODEL_AND_LOSS,
        )
        assert not any(leaf.is_deleted() for leaf in jax.tree.leaves((params, state)))


def test_devices_and_meshes(forced_devices):
    forced_devices(
        """
        import jax, numpy as np
        from jax.sharding import AxisType, NamedSharding, PartitionSpec
        from jaxnet._programs import program
        def run(scale, x):
            return program(lambda x: jax.lax.fori_loop(0, 1, lambda i, x: x * scale, x), (), x)(x)

        first, second = (jax.device_put(np.ones(2, np.float32), d) for d in jax.devices())
        scale = np.full(2, 3, np.float32)
        assert (run(scale, first) == 3).all()
        scale[:] = 4  # the program for 3 is now compiled for another device
        assert (run(np.full(2, 3, np.float32), second) == 3).all()
        assert (run(scale, second) == 4).all()

        for axis_type in (AxisType.Auto, AxisType.Explicit):
            for count in (2, 1, 2):
                devices = jax.devices()[:count]
                mesh = jax.make_mesh((count,), ("rows",), (axis_type,), devices=devices)
                sharding = NamedSharding(mesh, PartitionSpec("rows"))
                x = run(np.float32(3), jax.device_put(np.ones(2, np.float32), sharding))
                assert (np.asarray(x) == 3).all()
                assert x.sharding == sharding
        """
    )


def test_nothing_outlives_the_tables_which_are_bounded():
    class Loss:
        def __call__(self, outputs, y):
            return (outputs - y) ** 2

    loss = Loss()
    options = MODEL_AND_LOSS | {"loss": loss}
    params, _ = fit_once(**options)
    jaxnet.evaluate(MODEL_AND_LOSS["model"], params, (X, Y), loss=loss, metrics={})
    alive = weakref.ref(loss)
    del loss, options
    for table in TABLES:
        assert table.cache_info().maxsize == _programs.REMEMBERED
        table.cache_clear()
    gc.collect()
    assert alive() is None
