"""Training: the update step, and whole runs compiled into one program.

A run is one executable: a loop over epochs, in it a loop over batches, then the loss and the metrics of both sets.
It is called for a segment of epochs at a time (the bounds are arguments, so that it compiles once), which leaves the
host room to show progress, to stop on Ctrl-C and to notice a loss that is no longer finite.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from types import MappingProxyType
from typing import Any, Literal, TypeVar, cast, overload

import jax
import jax.numpy as jnp
import numpy as np
import optax  # type: ignore[import-untyped]
from numpy.typing import NDArray

from jaxnet._progress import interruptible, progress_display
from jaxnet._training_arguments import (
    Data,
    Loss,
    Metric,
    Model,
    require_count,
    require_data,
    require_key,
    require_key_parameter,
    require_optimizer,
    require_runs,
    shapes_of_first_run,
)
from jaxnet.metrics import accuracy
from jaxnet.rules._cross_entropy import softmax_cross_entropy

Params = TypeVar("Params")
ACCURACY: Mapping[str, Metric] = MappingProxyType({"accuracy": accuracy})
SEGMENT_SECONDS = (
    0.2  # a call costs about a millisecond: long enough to hide it, short enough to stop at once
)
SEGMENT_EPOCHS = 1024  # rows of the buffer in which a segment returns its measurements


@dataclass(frozen=True, eq=False)
class History:
    """What was measured after each epoch, on the whole of each set.

    Every entry of `values` is also an attribute: train_loss, train_accuracy, and test_loss, test_accuracy where a
    test set was given; numpy arrays [epochs], or [runs, epochs] for several runs. seconds: what the run took,
    compilation included. interrupted: whether Ctrl-C came while it ran; it may have had all its epochs by then.
    """

    values: Mapping[str, NDArray[np.floating[Any]]] = field(repr=False)
    epochs: int
    seconds: float
    interrupted: bool = False

    def __getattr__(self, name: str) -> NDArray[np.floating[Any]]:
        if (
            name.startswith("__") or name not in self.values
        ):  # dunder: copy and others ask before values is there
            raise AttributeError(
                f"History has no {name!r}; it has {', '.join(self.__dict__.get('values', ()))}"
            )
        return self.values[name]


class NonFiniteLoss(FloatingPointError):
    """The training loss became inf or NaN; `history` holds the run up to and including that epoch."""

    def __init__(self, message: str, history: History) -> None:
        super().__init__(message)
        self.history = history


def update_step(
    model: Model, optimizer: optax.GradientTransformation, loss: Loss = softmax_cross_entropy
) -> Callable[..., tuple[Any, Any, jax.Array]]:
    """One compiled update, for a loop of your own: step(params, opt_state, x, y) -> params, opt_state, mean loss.

    A model with dropout gets a key of its own for each update: step(params, opt_state, x, y, key).
    params and opt_state are donated: their buffers are used again for the new ones, so keep the returned values and
    not the arguments (`jax.tree.map(jnp.copy, params)` first where the old ones are needed).
    """
    step = partial(_update, model, loss, optax.with_extra_args_support(optimizer))
    return jax.jit(step, donate_argnums=(0, 1))


def _update(
    model: Model,
    loss: Loss,
    optimizer: Any,
    params: Any,
    opt_state: Any,
    x: Any,
    y: Any,
    key: jax.Array | None = None,
    counts: Any = None,
) -> Any:
    def mean_loss(params: Any) -> jax.Array:  # over the rows that count, all of them by default
        outputs = model(params, x) if key is None else model(params, x, key)
        return jnp.mean(loss(outputs, y), where=counts)

    value, grads = jax.value_and_grad(mean_loss)(params)
    # What line searches and schedules on the loss ask for (optax.lbfgs, reduce_on_plateau); others ignore it.
    updates, opt_state = optimizer.update(
        grads, opt_state, params, value=value, grad=grads, value_fn=mean_loss
    )
    return optax.apply_updates(params, updates), opt_state, value


def evaluate(
    model: Model,
    params: Any,
    data: Data,
    *,
    loss: Loss = softmax_cross_entropy,
    metrics: Mapping[str, Metric] = ACCURACY,
) -> dict[str, float]:
    """The mean loss and the metrics on data = (x, y), in one pass: {"loss": ..., "accuracy": ...}.

    Raises ValueError as `fit` does on data that do not fit each other, the model or the loss.
    """
    require_data("data", data, model, params, loss)
    values = _evaluate(params, data, model=model, loss=loss, metrics=tuple(metrics.items()))
    return {name: float(value) for name, value in zip(("loss", *metrics), values, strict=True)}


@partial(jax.jit, static_argnames=("model", "loss", "metrics"))
def _evaluate(
    params: Any, data: Data, *, model: Model, loss: Loss, metrics: Any
) -> list[jax.Array]:
    outputs = model(params, data[0])
    return [jnp.mean(f(outputs, data[1])) for f in (loss, *(metric for _, metric in metrics))]


@overload
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
    opt_state: Any = None,
    return_opt_state: Literal[False] = False,
    progress: bool = True,
) -> tuple[Params, History]: ...
@overload
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
    opt_state: Any = None,
    return_opt_state: Literal[True],
    progress: bool = True,
) -> tuple[Params, History, Any]: ...
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
    opt_state: Any = None,
    return_opt_state: bool = False,
    progress: bool = True,
) -> tuple[Params, History] | tuple[Params, History, Any]:
    """Train params on train = (x, y) and measure both sets after every epoch, all in one compiled program.

    model: (params, x) -> outputs. params: a pytree of arrays; the caller's arrays are copied and survive.
    train, test: (x [rows, ...], y [rows, ...]), NumPy or JAX arrays.
    batch_size: rows per update; the last batch of an epoch is smaller where it does not divide the rows, as with
    PyTorch's DataLoader (a model that mixes rows, as batch norm does, sees some of the batch before in it as well).
    optimizer: any of optax. loss: (outputs, y) -> one value per example; updates follow its mean.
    metrics: name -> (outputs, y) -> a number or one per example (averaged); pass {} where accuracy has no meaning.
    key: None keeps the rows in the order given; with a JAX random key every epoch shuffles them anew.
    model_key: a JAX random key for a model that draws numbers while it trains, such as dropout: every update calls
    model(params, x, key) with another key made from it; measuring calls model(params, x), which must not draw.
    runs: train this many networks as one program: every leaf of params (and the keys, and opt_state, where given) then
    has a leading axis [runs], as `jax.vmap(lambda k: init_mlp(k, sizes))(jax.random.split(key, runs))` makes it.
    opt_state: go on from this optimizer state; return_opt_state: return it as a third value. (Epochs are counted from
    0 again: give another key to shuffle differently.)
    progress: show it on stderr once a run has taken two seconds, a bar on a terminal, else a line now and then.

    Returns (params, history) or (params, history, opt_state). Ctrl-C ends the run at the next segment, within about
    0.2 seconds or one epoch, and returns what was trained, with history.interrupted set.
    The program is compiled once for the same objects (model, loss, optimizer, metrics) and shapes, whatever the
    number of epochs; create the optimizer once to profit.

    Raises ValueError or TypeError, naming the argument, on data that do not fit each other, the model or the loss,
    on labels out of range, NaN or inf in x, and on counts below 1; NonFiniteLoss, a FloatingPointError, when the
    training loss becomes NaN or inf.
    """
    require_count("epochs", epochs)
    require_count("batch_size", batch_size)
    require_optimizer(optimizer)
    if runs is not None:
        require_count("runs", runs)
        require_runs("params", params, runs)
    if key is not None:
        require_key("key", key, runs)
    if model_key is not None:
        require_key("model_key", model_key, runs)
        require_key_parameter(model)
    one = params if runs is None else shapes_of_first_run(params)
    sets = {"train": train} if test is None else {"train": train, "test": test}
    for name, data in sets.items():
        require_data(name, data, model, one, loss)
    names = [f"{which}_{name}" for which in sets for name in ("loss", *metrics)]

    start = time.perf_counter()
    state = _start(params, opt_state, optimizer=optimizer, runs=runs)
    run = partial(
        _segment,
        model=model,
        loss=loss,
        optimizer=optimizer,
        metrics=tuple(metrics.items()),
        batch_size=min(int(batch_size), len(train[0])),
        runs=runs,
    )
    data = jax.device_put([tuple(d) for d in sets.values()])
    measured: list[NDArray[np.floating[Any]]] = []  # of each segment: [epochs, ..., names]
    done, length = 0, 1
    with interruptible() as interrupted, progress_display(epochs, progress) as show:
        while done < epochs and not interrupted.is_set():
            segment_start = time.perf_counter()
            stop = min(done + length, epochs)
            state, values = run(state, np.int32(done), np.int32(stop), key, data, model_key)
            measured.append(np.asarray(values)[: stop - done].copy())
            # The first segment is one epoch and may hold the compilation; then the next is one more, and measured.
            per_epoch = (time.perf_counter() - segment_start) / (stop - done)
            length = min(max(1, int(SEGMENT_SECONDS / per_epoch)), SEGMENT_EPOCHS)
            done = stop
            show(done, float(np.mean(measured[-1][-1, ..., 0])))
            if not np.isfinite(measured[-1][..., 0]).all():
                break
    history = _history(
        names, np.concatenate(measured), time.perf_counter() - start, interrupted.is_set()
    )
    _require_finite(history)
    if return_opt_state:
        return state[0], history, state[1]
    return state[0], history


@partial(jax.jit, static_argnames=("optimizer", "runs"))
def _start(params: Any, opt_state: Any, *, optimizer: Any, runs: int | None) -> tuple[Any, Any]:
    """Copies (the run donates its state, and the caller keeps the originals) and a fresh state, in one program."""
    init = optimizer.init if runs is None else jax.vmap(optimizer.init)
    state = params, init(params) if opt_state is None else opt_state
    return cast(tuple[Any, Any], jax.tree.map(jnp.copy, state))


@partial(
    jax.jit,
    static_argnames=("model", "loss", "optimizer", "metrics", "batch_size", "runs"),
    donate_argnames=("state",),
)
def _segment(
    state: Any,
    first: Any,
    stop: Any,
    key: jax.Array | None,
    data: Sequence[tuple[jax.Array, jax.Array]],
    model_key: jax.Array | None = None,
    *,
    model: Model,
    loss: Loss,
    optimizer: Any,
    metrics: Any,
    batch_size: int,
    runs: int | None,
) -> tuple[Any, jax.Array]:
    """Epochs first .. stop - 1: the new state, and in rows 0 .. of the buffer the measurements after each epoch."""
    x, y = data[0]
    rows = len(x)
    update = partial(_update, model, loss, optax.with_extra_args_support(optimizer))

    def epoch(
        state: Any, key: jax.Array | None, model_key: jax.Array | None, number: Any
    ) -> tuple[Any, jax.Array]:
        order = (
            None if key is None else jax.random.permutation(jax.random.fold_in(key, number), rows)
        )
        epoch_key = None if model_key is None else jax.random.fold_in(model_key, number)

        def step(i: Any, state: Any) -> Any:
            # The last batch, where it is smaller, is filled up with rows of the one before, which do not count in it:
            # a step of its own size would be compiled beside this one, for a fifth of a second.
            start = jnp.minimum(i * batch_size, rows - batch_size)
            counts = (
                None if rows % batch_size == 0 else start + jnp.arange(batch_size) >= i * batch_size
            )

            def batch(a: jax.Array) -> jax.Array:
                if order is None:
                    return jax.lax.dynamic_slice_in_dim(a, start, batch_size)
                return a[jax.lax.dynamic_slice_in_dim(order, start, batch_size)]

            params, opt_state = state
            step_key = None if epoch_key is None else jax.random.fold_in(epoch_key, i)
            return update(params, opt_state, batch(x), batch(y), step_key, counts)[:2]

        state = jax.lax.fori_loop(0, -(-rows // batch_size), step, state)
        values = [
            v for d in data for v in _evaluate(state[0], d, model=model, loss=loss, metrics=metrics)
        ]
        return state, jnp.stack([v.astype(float) for v in values])

    if runs is not None:
        epoch = jax.vmap(
            epoch, in_axes=(0, None if key is None else 0, None if model_key is None else 0, None)
        )

    def body(number: Any, carry: Any) -> Any:
        state, buffer = carry
        state, values = epoch(state, key, model_key, number)
        return state, buffer.at[number - first].set(values)

    shape = (SEGMENT_EPOCHS, *(() if runs is None else (runs,)), len(data) * (1 + len(metrics)))
    return cast(
        tuple[Any, jax.Array],
        jax.lax.fori_loop(first, stop, body, (state, jnp.zeros(shape, float))),
    )


def _history(
    names: Sequence[str], measured: NDArray[Any], seconds: float, interrupted: bool
) -> History:
    values = {name: np.ascontiguousarray(measured[..., i].T) for i, name in enumerate(names)}
    return History(values, epochs=len(measured), seconds=seconds, interrupted=interrupted)


def _require_finite(history: History) -> None:
    bad = np.argwhere(~np.isfinite(history.train_loss))
    if len(bad):
        *run, epoch = bad[np.argmin(bad[:, -1])]
        raise NonFiniteLoss(
            f"fit: the training loss became {history.train_loss[(*run, epoch)]} in epoch {epoch + 1}"
            f"{f' of run {run[0]}' if run else ''}; a smaller learning rate, standardised inputs or "
            f"optax.clip_by_global_norm usually mend it",
            history,
        )
