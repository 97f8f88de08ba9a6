"""Training: the update step, whole runs compiled into one program, and what they measured."""

import os
import time
from collections.abc import Callable, Mapping
from functools import partial
from types import MappingProxyType
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
import optax  # type: ignore[import-untyped]
from numpy.typing import ArrayLike

from jaxnet._checkpoint import checkpoint_in
from jaxnet._devices import WHOLE, on_all, on_auto_axes, placed, places
from jaxnet._facts import facts_of
from jaxnet._history import History as History
from jaxnet._history import NonFiniteLoss as NonFiniteLoss
from jaxnet._history import result
from jaxnet._programs import call
from jaxnet._training_arguments import Data as Data
from jaxnet._training_arguments import Loss as Loss
from jaxnet._training_arguments import Metric as Metric
from jaxnet._training_arguments import Model as Model
from jaxnet._training_arguments import (
    require_checkpoint,
    require_count,
    require_key,
    require_opt_state,
    require_optimizer,
    require_patience,
    require_runs,
    require_settings,
    require_shares,
    shapes_of_first_run,
)
from jaxnet._training_data import require_batch, require_data
from jaxnet._training_frames import sets_of, without_frames
from jaxnet._training_functions import (
    require_functions,
    require_loss,
    require_model,
    require_trainable,
)
from jaxnet._training_program import Given, Recipe, start_state
from jaxnet._training_run import run_epochs
from jaxnet._training_step import Batch, measure, updater
from jaxnet.metrics import is_right
from jaxnet.rules._cross_entropy import softmax_cross_entropy

Params = TypeVar("Params")
# By example: the mean over a set needs no two of them at once.
ACCURACY: Mapping[str, Metric] = MappingProxyType({"accuracy": is_right})


def update_step(
    model: Model, optimizer: optax.GradientTransformation, loss: Loss = softmax_cross_entropy
) -> Callable[..., tuple[Any, optax.OptState, jax.Array]]:
    """One compiled update, for a loop of your own.

    model: (params, x) -> outputs; one with dropout takes (params, x, key).
    optimizer: any of optax.
    loss: (outputs, y) -> one value per example; the update follows their mean.
    Returns step(params, opt_state, x, y) -> params, opt_state, mean loss. A model with dropout gets
        a key of its own for each update: step(params, opt_state, x, y, key). params and opt_state
        are donated: their buffers are used again for the new ones, so keep the returned values and
        not the arguments (`jax.tree.map(jnp.copy, params)` first where the old ones are needed).

    >>> import optax
    >>> params, optimizer = jaxnet.init_mlp(jax.random.key(0), (2, 8, 2)), optax.adam(0.01)
    >>> step, opt_state = jaxnet.update_step(jaxnet.mlp, optimizer), optimizer.init(params)
    >>> for x, y in [(jnp.eye(2), jnp.array([0, 1]))] * 3:
    ...     params, opt_state, loss = step(params, opt_state, x, y)
    >>> print(loss.shape, loss < 1)
    () True
    """
    require_model("update_step", model)
    require_optimizer(optimizer, "update_step")
    require_loss("update_step", loss, model)
    update = updater(model, optimizer, loss)

    def step(
        params: Any, opt_state: optax.OptState, x: Any, y: Any, key: jax.Array | None = None
    ) -> tuple[Any, optax.OptState, jax.Array]:
        require_opt_state(opt_state, optimizer, params, runs=None, function="update_step")
        require_batch("update_step", model, loss, params, (x, y), key)
        results = places(params), places(opt_state), WHOLE
        batch = Batch(x, y, counts=None, number=len(x))
        return on_auto_axes(update, results)(params, opt_state, batch, key)

    return jax.jit(step, donate_argnums=(0, 1))


def evaluate(
    model: Model,
    params: Any,
    data: Data,
    *,
    loss: Loss = softmax_cross_entropy,
    metrics: Mapping[str, Metric] = ACCURACY,
) -> dict[str, Any]:
    """The mean loss and the metrics on data.

    model: (params, x) -> outputs.
    params: a pytree of arrays.
    data: (x [rows, ...], y [rows, ...]), NumPy or JAX arrays.
    loss: (outputs, y) -> one value per example.
    metrics: name -> (outputs, y) -> one value per example (averaged), or a number or another array
        of all of them, such as those of `jaxnet.metrics`.

    A set of more than 4096 rows goes through the model in parts of 4096, so that memory does not
    grow with it; a metric that is not by example still gets all the outputs at once. On a mesh of
    devices, `jax.set_mesh(mesh)`, each takes its share of the rows.

    Returns {"loss": ..., "accuracy": ...}, the loss and each of metrics: a number, or the array
        that the metric is.
    Raises TypeError or ValueError, as `fit` does, on data that do not fit each other, the model or
        the loss.

    >>> params = (jaxnet.Layer(2 * jnp.eye(2), jnp.zeros(2)),)
    >>> measured = jaxnet.evaluate(jaxnet.mlp, params, (jnp.eye(2), jnp.array([0, 1])))
    >>> {name: round(value, 3) for name, value in measured.items()}
    {'loss': 0.127, 'accuracy': 1.0}
    """
    require_functions("evaluate", model, params, loss, metrics)
    data = without_frames("evaluate: data", data)
    require_data("data", data, model, params, loss, metrics, function="evaluate")
    values = call(_measure, (model, (loss, *metrics.values())), placed(params), on_all(tuple(data)))
    arrays = dict(zip(("loss", *metrics), map(np.asarray, values), strict=True))
    return {name: value if value.ndim else float(value) for name, value in arrays.items()}


def fit(
    model: Model,
    params: Params,
    *,
    train: Data,
    validation: Data | None = None,
    test: Data | None = None,
    epochs: int,
    batch_size: int,
    optimizer: optax.GradientTransformation | Callable[..., optax.GradientTransformation],
    loss: Loss = softmax_cross_entropy,
    metrics: Mapping[str, Metric] = ACCURACY,
    key: jax.Array | None = None,
    model_key: jax.Array | None = None,
    runs: int | None = None,
    settings: Mapping[str, ArrayLike] | None = None,
    patience: int | None = None,
    opt_state: optax.OptState | None = None,
    checkpoint: str | os.PathLike[str] | None = None,
    checkpoint_seconds: float = 60.0,
    progress: bool = True,
) -> tuple[Params, History]:
    """Train params on train = (x, y) and measure every set after every epoch.

    All of it is one compiled program. The same computation at the same shapes is compiled once,
    whatever the number of epochs, and also where model, loss, optimizer or metrics are new objects
    that compute the same (but not where they call the host: each `jax.debug.print` is another).
    Where all of them are the same objects they are not looked at again: as with `jax.jit`, what
    they read from outside must not change.

    model: (params, x) -> outputs.
    params: a pytree of arrays; the caller's arrays are copied and survive.
    train, validation, test: (x [rows, ...], y [rows, ...]), NumPy or JAX arrays, or a DataFrame of
        numbers (copied into float32) and a Series. Where there is a validation set, the parameters
        after the epoch with the lowest validation loss are returned (the first of equals), else
        those after the last. Nothing is ever chosen on test.
    epochs: how often every row is seen, at least 1.
    batch_size: rows per update; the last batch of an epoch is smaller where it does not divide the
        rows, as with PyTorch's DataLoader (a model that mixes rows, as batch norm does, sees some
        of the batch before in it as well).
    optimizer: any of optax.
    loss: (outputs, y) -> one value per example; updates follow its mean.
    metrics: name -> (outputs, y) -> one value per example (averaged), or a number or another array
        of all of them, such as those of `jaxnet.metrics`; pass {} where accuracy has no meaning.

    key: None keeps the rows in the order given; with a JAX random key every epoch shuffles them
        anew.
    model_key: a JAX random key for a model that draws numbers while it trains, such as dropout:
        every update calls model(params, x, key) with another key made from it; measuring calls
        model(params, x), which must not draw.

    runs: train this many networks as one program: every leaf of params (and the keys, and
        opt_state, where given) then has a leading axis [runs], as
        `jax.vmap(lambda k: init_mlp(k, sizes))(jax.random.split(key, runs))` makes it.
    settings: name -> [runs] numbers, with which each run makes an optimizer of its own; optimizer
        is then a function of these names, as optax.sgd is with {"learning_rate": [0.1, 0.01]}.
    patience: end a run after so many epochs without a lower validation loss.
    opt_state: go on from this optimizer state, such as history.opt_state of the run before. It is
        copied. (Epochs are counted from 0 again: give another key to shuffle differently.)
    checkpoint: a folder, in which the run is saved in one file, and from which the same call goes
        on, to the same bits as if it had never stopped. What is found there of another run, whose
        data, parameters, options or versions differ, is an error; only epochs may be more.
        SIGTERM then saves the run and raises SystemExit; a second one ends it at once.
    checkpoint_seconds: save it when so many seconds have passed since, and at the end.
    progress: show it on stderr once a run has taken two seconds, a bar on a terminal, else a line
        now and then.

    With a mesh of devices, `jax.set_mesh(mesh)`, each takes its share of the rows of every batch
    and of every measurement, or where there are several runs its share of these. The mesh's first
    axis is the one that is divided over; params stay where they are placed on it. The results are
    those of one device, up to the order of sums.

    Returns (params, history), with the optimizer state in history.opt_state. Ctrl-C ends the run
        within about 0.2 seconds, after a whole epoch where it is as short as that, and returns
        what was trained, with history.interrupted set.
    Raises ValueError or TypeError, naming the argument, on data that do not fit each other, the
        model or the loss, on labels out of range, NaN or inf in x, and on counts below 1;
        NonFiniteLoss, a FloatingPointError, when the training loss becomes NaN or inf; of several
        runs one that does is marked in history.diverged and ends, and the others go on;
        OSError where the checkpoint cannot be written before the training (a warning afterwards).

    >>> import optax
    >>> x = jax.random.normal(jax.random.key(0), (64, 2))
    >>> params, history = jaxnet.fit(
    ...     jaxnet.mlp, jaxnet.init_mlp(jax.random.key(1), (2, 16, 2)), epochs=20, batch_size=8,
    ...     train=(x, jnp.where(x[:, 0] > 0, 1, 0)), optimizer=optax.adam(0.01))
    >>> print(history.train_loss.shape, history.train_accuracy[-1] > 0.9)
    (20,) True
    """
    began = time.perf_counter()
    sets = sets_of(train=train, validation=validation, test=test)
    require_count("epochs", epochs)
    require_count("batch_size", batch_size)
    require_patience(patience, validation)
    require_checkpoint(checkpoint, checkpoint_seconds)
    require_functions("fit", model, params, loss, metrics, key=model_key)
    _require_optimizer(optimizer, settings, runs)
    _require_runs(runs, params)
    require_trainable(params, runs)
    of_one_run = _of_one_run(params, runs)
    require_opt_state(opt_state, optimizer, of_one_run, runs, settings=settings)
    _require_keys(key, model_key, runs)
    for name, data in sets.items():
        require_data(name, data, model, of_one_run, loss, metrics)

    recipe = Recipe(
        model=model,
        loss=loss,
        optimizer=optimizer,
        metrics=tuple(metrics.values()),
        batch_size=min(int(batch_size), len(sets["train"][0])),
        runs=runs,
        validation=None if validation is None else 1,
        patience=patience,
    )
    # Tuples, for a pair that is a list would compile a second program.
    on_device: list[Any] = on_all([tuple(data) for data in sets.values()])
    numbers = {name: jnp.asarray(values, float) for name, values in (settings or {}).items()}
    given = placed(Given(key, model_key, numbers), runs)
    state = call(
        start_state, (recipe,), placed(params, runs), placed(opt_state, runs), on_device, given
    )

    def facts() -> dict[str, Any]:
        return facts_of(recipe, metrics, state, dict(zip(sets, on_device, strict=True)), given)

    outcome = run_epochs(
        recipe,
        on_device,
        given,
        state,
        epochs=epochs,
        began=began,
        progress=progress and jax.process_index() == 0,
        checkpoint=checkpoint_in(checkpoint, checkpoint_seconds, facts),
    )
    return result(outcome, [f"{which}_{name}" for which in sets for name in ("loss", *metrics)])


def _require_runs(runs: int | None, params: Any) -> None:
    if runs is not None:
        require_count("runs", runs)
        require_runs("params", params, runs)
        require_shares(runs)


def _of_one_run(params: Any, runs: int | None) -> Any:
    return params if runs is None else shapes_of_first_run(params)


def _require_optimizer(optimizer: Any, settings: Any, runs: int | None) -> None:
    require_settings(settings, optimizer, runs)
    if settings is None:
        require_optimizer(optimizer)


def _require_keys(key: Any, model_key: Any, runs: int | None) -> None:
    if key is not None:
        require_key("key", key, runs)
    if model_key is not None:
        require_key("model_key", model_key, runs)


def _measure(
    model: Model, criteria: tuple[Loss | Metric, ...], params: Any, data: Any
) -> list[jax.Array]:
    return on_auto_axes(partial(measure, model, criteria), WHOLE)(params, data)
