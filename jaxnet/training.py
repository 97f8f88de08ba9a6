"""Training: the update step, whole runs compiled into one program, and what they measured."""

import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import partial
from types import MappingProxyType
from typing import Any, TypeVar

import jax
import numpy as np
import optax  # type: ignore[import-untyped]
from numpy.typing import NDArray

from jaxnet._devices import WHOLE, on_all, on_auto_axes, placed, places
from jaxnet._programs import call
from jaxnet._training_arguments import Data as Data
from jaxnet._training_arguments import Loss as Loss
from jaxnet._training_arguments import Metric as Metric
from jaxnet._training_arguments import Model as Model
from jaxnet._training_arguments import (
    require_count,
    require_data,
    require_key,
    require_key_parameter,
    require_optimizer,
    require_runs,
    require_shares,
    shapes_of_first_run,
)
from jaxnet._training_run import Keys, Recipe, run_epochs, start_state
from jaxnet._training_step import Batch, measure, updater
from jaxnet.metrics import is_right
from jaxnet.rules._cross_entropy import softmax_cross_entropy

Params = TypeVar("Params")
# By example: the mean over a set needs no two of them at once.
ACCURACY: Mapping[str, Metric] = MappingProxyType({"accuracy": is_right})


@dataclass(frozen=True, eq=False)
class History:
    """What was measured after each epoch, on the whole of each set, and how the run ended.

    Every entry of `values` is also an attribute: train_loss, train_accuracy, and test_loss,
    test_accuracy where a test set was given. As the name of a set stands before every metric, none
    can be called as a field of the History is; where you make one whose values hold such a name,
    the field comes first, and the entry is read from `values`.

    values: name -> [epochs], or [runs, epochs] for several runs, floating; NumPy arrays.
    epochs: how many were measured.
    seconds: what the run took, compilation included.
    interrupted: whether Ctrl-C came while it ran; it may have had all its epochs by then.
    opt_state: the optimizer's state after the last epoch, from which `fit(..., opt_state=...)` goes
        on; for several runs every leaf has a leading axis [runs]. None where it is not known. It
        stays in the device's memory as long as the history does, unless
        `dataclasses.replace(history, opt_state=None)` is what you keep.

    >>> values = {"train_loss": np.array([0.7, 0.4]), "train_accuracy": np.array([0.5, 0.9])}
    >>> history = jaxnet.History(values, epochs=2, seconds=1.5)  # as `fit` returns it
    >>> print(history.train_loss, history.train_accuracy[-1])
    [0.7 0.4] 0.9
    """

    values: Mapping[str, NDArray[np.floating[Any]]] = field(repr=False)
    epochs: int
    seconds: float
    interrupted: bool = False
    opt_state: optax.OptState | None = field(default=None, repr=False)

    def __getattr__(self, name: str) -> NDArray[np.floating[Any]]:
        # copy asks for attributes before values is there: self.values would come here for ever.
        values: Mapping[str, NDArray[np.floating[Any]]] = self.__dict__.get("values", {})
        if name not in values:
            raise AttributeError(f"History has no {name!r}; it has {', '.join(values)}")
        return values[name]


class NonFiniteLoss(FloatingPointError):
    """The training loss became inf or NaN.

    message: what happened, in which epoch, and what usually mends it.
    history: a History, the run up to that epoch, included; some epochs more where epochs are short.

    >>> import optax
    >>> x, params = jnp.ones((4, 1)), jaxnet.init_mlp(jax.random.key(0), (1, 1))
    >>> try:
    ...     jaxnet.fit(
    ...         jaxnet.mlp, params, train=(x, x), epochs=9, batch_size=4, optimizer=optax.sgd(1e10),
    ...         loss=jaxnet.rules.mean_squared_error, metrics={})
    ... except jaxnet.NonFiniteLoss as error:
    ...     print(np.isfinite(error.history.train_loss[:2]))
    [ True False]
    """

    def __init__(self, message: str, history: History) -> None:
        super().__init__(message)
        self.history = history


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
    update = updater(model, optimizer, loss)

    def step(
        params: Any, opt_state: optax.OptState, x: Any, y: Any, key: jax.Array | None = None
    ) -> tuple[Any, optax.OptState, jax.Array]:
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
) -> dict[str, float]:
    """The mean loss and the metrics on data.

    model: (params, x) -> outputs.
    params: a pytree of arrays.
    data: (x [rows, ...], y [rows, ...]), NumPy or JAX arrays.
    loss: (outputs, y) -> one value per example.
    metrics: name -> (outputs, y) -> a number or one per example (averaged).

    A set of more than 4096 rows goes through the model in parts of 4096, so that memory does not
    grow with it; a metric that gives one number still gets all the outputs at once. On a mesh of
    devices, `jax.set_mesh(mesh)`, each takes its share of the rows.

    Returns {"loss": ..., "accuracy": ...}, a number for the loss and for each of metrics.
    Raises TypeError or ValueError, as `fit` does, on data that do not fit each other, the model or
        the loss.

    >>> params = (jaxnet.Layer(2 * jnp.eye(2), jnp.zeros(2)),)
    >>> measured = jaxnet.evaluate(jaxnet.mlp, params, (jnp.eye(2), jnp.array([0, 1])))
    >>> {name: round(value, 3) for name, value in measured.items()}
    {'loss': 0.127, 'accuracy': 1.0}
    """
    require_data("data", data, model, params, loss)
    values = call(_measure, (model, (loss, *metrics.values())), placed(params), on_all(tuple(data)))
    return {name: float(value) for name, value in zip(("loss", *metrics), values, strict=True)}


def fit(
    model: Model,
    params: Params,
    *,
    train: Data,
    test: Data | None = None,
    epochs: int,
    batch_size: int,
    optimizer: optax.GradientTransformation,
    loss: Loss = softmax_cross_entropy,
    metrics: Mapping[str, Metric] = ACCURACY,
    key: jax.Array | None = None,
    model_key: jax.Array | None = None,
    runs: int | None = None,
    opt_state: optax.OptState | None = None,
    progress: bool = True,
) -> tuple[Params, History]:
    """Train params on train = (x, y) and measure both sets after every epoch.

    All of it is one compiled program. The same computation at the same shapes is compiled once,
    whatever the number of epochs, and also where model, loss, optimizer or metrics are new objects
    that compute the same (but not where they call the host: each `jax.debug.print` is another).
    Where all of them are the same objects they are not looked at again: as with `jax.jit`, what
    they read from outside must not change.

    model: (params, x) -> outputs.
    params: a pytree of arrays; the caller's arrays are copied and survive.
    train, test: (x [rows, ...], y [rows, ...]), NumPy or JAX arrays.
    epochs: how often every row is seen, at least 1.
    batch_size: rows per update; the last batch of an epoch is smaller where it does not divide the
        rows, as with PyTorch's DataLoader (a model that mixes rows, as batch norm does, sees some
        of the batch before in it as well).
    optimizer: any of optax.
    loss: (outputs, y) -> one value per example; updates follow its mean.
    metrics: name -> (outputs, y) -> a number or one per example (averaged); pass {} where accuracy
        has no meaning.

    key: None keeps the rows in the order given; with a JAX random key every epoch shuffles them
        anew.
    model_key: a JAX random key for a model that draws numbers while it trains, such as dropout:
        every update calls model(params, x, key) with another key made from it; measuring calls
        model(params, x), which must not draw.

    runs: train this many networks as one program: every leaf of params (and the keys, and
        opt_state, where given) then has a leading axis [runs], as
        `jax.vmap(lambda k: init_mlp(k, sizes))(jax.random.split(key, runs))` makes it.
    opt_state: go on from this optimizer state, such as history.opt_state of the run before. It is
        copied. (Epochs are counted from 0 again: give another key to shuffle differently.)
    progress: show it on stderr once a run has taken two seconds, a bar on a terminal, else a line
        now and then.

    With a mesh of devices, `jax.set_mesh(mesh)`, each takes its share of the rows of every batch
    and of every measurement, or where there are several runs its share of these. The mesh's first
    axis is the one that is divided over; params stay where they are placed on it. The results are
    those of one device, up to the order of sums.

    Returns (params, history), with the final optimizer state in history.opt_state. Ctrl-C ends the
        run at the next segment, within about 0.2 seconds or one epoch, and returns what was
        trained, with history.interrupted set.
    Raises ValueError or TypeError, naming the argument, on data that do not fit each other, the
        model or the loss, on labels out of range, NaN or inf in x, and on counts below 1;
        NonFiniteLoss, a FloatingPointError, when the training loss becomes NaN or inf.

    >>> import optax
    >>> x = jax.random.normal(jax.random.key(0), (64, 2))
    >>> params, history = jaxnet.fit(
    ...     jaxnet.mlp, jaxnet.init_mlp(jax.random.key(1), (2, 16, 2)), epochs=20, batch_size=8,
    ...     train=(x, jnp.where(x[:, 0] > 0, 1, 0)), optimizer=optax.adam(0.01))
    >>> print(history.train_loss.shape, history.train_accuracy[-1] > 0.9)
    (20,) True
    """
    require_count("epochs", epochs)
    require_count("batch_size", batch_size)
    require_optimizer(optimizer)

    params_of_one_run = params
    if runs is not None:
        require_count("runs", runs)
        require_runs("params", params, runs)
        require_shares(runs)
        params_of_one_run = shapes_of_first_run(params)

    if key is not None:
        require_key("key", key, runs)
    if model_key is not None:
        require_key("model_key", model_key, runs)
        require_key_parameter(model)

    sets = {"train": train} if test is None else {"train": train, "test": test}
    for name, data in sets.items():
        require_data(name, data, model, params_of_one_run, loss)

    start = time.perf_counter()
    recipe = Recipe(
        model=model,
        loss=loss,
        optimizer=optimizer,
        metrics=tuple(metrics.values()),
        batch_size=min(int(batch_size), len(train[0])),
        runs=runs,
    )
    state, measured, interrupted = run_epochs(
        recipe,
        list(sets.values()),
        placed(Keys(key, model_key), runs),
        call(start_state, (optimizer, runs), placed(params, runs), placed(opt_state, runs)),
        epochs=epochs,
        progress=progress and jax.process_index() == 0,
    )
    history = History(
        _by_name(measured, sets, metrics),
        epochs=len(measured),
        seconds=time.perf_counter() - start,
        interrupted=interrupted,
        opt_state=state.opt_state,
    )
    _require_finite(history)
    return state.params, history


def _measure(
    model: Model, criteria: tuple[Loss | Metric, ...], params: Any, data: Any
) -> list[jax.Array]:
    return on_auto_axes(partial(measure, model, criteria), WHOLE)(params, data)


def _by_name(
    measured: NDArray[np.floating[Any]], sets: Iterable[str], metrics: Iterable[str]
) -> dict[str, NDArray[np.floating[Any]]]:
    """measured [epochs, names] or [epochs, runs, names]: each name's [epochs] or [runs, epochs]."""
    names = [f"{which}_{name}" for which in sets for name in ("loss", *metrics)]
    return {name: np.ascontiguousarray(measured[..., i].T) for i, name in enumerate(names)}


def _require_finite(history: History) -> None:
    bad = np.argwhere(~np.isfinite(history.train_loss))  # a row [epoch] or [run, epoch] for each
    if not len(bad):
        return
    *run, epoch = bad[np.argmin(bad[:, -1])]
    where = f"epoch {epoch + 1} of run {run[0]}" if run else f"epoch {epoch + 1}"
    raise NonFiniteLoss(
        f"fit: the training loss became {history.train_loss[(*run, epoch)]} in {where}; "
        f"a smaller learning rate, standardised inputs or "
        f"optax.clip_by_global_norm usually mend it",
        history,
    )
