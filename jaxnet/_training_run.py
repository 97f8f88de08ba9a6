"""A whole training run: one compiled program, and the loop on the host that calls it.

The program is a loop over epochs, in it a loop over batches, then the loss and the metrics of every
set. It is called for a segment of epochs at a time, whose bounds are arguments, so that it compiles
once. Between segments the host shows progress, stops on Ctrl-C and notices a loss that is no longer
finite.
"""

import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple, cast

import jax
import jax.numpy as jnp
import numpy as np
import optax  # type: ignore[import-untyped]
from numpy.typing import NDArray

from jaxnet._programs import program
from jaxnet._progress import interruptible, progress_display
from jaxnet._training_arguments import Data, Loss, Metric, Model

# A call costs about a millisecond: long enough to hide it, short enough to stop at once.
SEGMENT_SECONDS = 0.2
# The rows of the buffer in which a segment returns what it measured.
SEGMENT_EPOCHS = 1024


class State(NamedTuple):
    """What updates change. With several runs every leaf has a leading axis [runs]."""

    params: Any
    opt_state: optax.OptState


class Keys(NamedTuple):
    """What random numbers are made from, None where none are drawn; with several runs [runs]."""

    shuffle: jax.Array | None
    model: jax.Array | None


class Recipe(NamedTuple):
    """What is compiled; hashable, for an equal recipe at equal shapes is not traced again."""

    model: Model
    loss: Loss
    optimizer: optax.GradientTransformation
    metrics: tuple[Metric, ...]
    batch_size: int
    runs: int | None


def run_epochs(
    recipe: Recipe,
    sets: Sequence[Data],
    keys: Keys,
    state: State,
    *,
    epochs: int,
    progress: bool,
) -> tuple[State, NDArray[np.floating[Any]], bool]:
    """Train on the first of sets and measure all of them after every epoch; state is donated.

    Ends where the epochs are done, Ctrl-C comes or a training loss is no longer finite. Returns the
    state, what was measured [epochs, ..., names], and whether Ctrl-C came.
    """
    # Tuples, for a pair that is a list would compile a second program.
    on_device = jax.device_put([tuple(data) for data in sets])
    bound = np.int32(0)
    segment = program(_segment, (recipe,), state, on_device, keys, bound, bound, donate=True)
    measured = []
    done = 0
    # The first segment is one epoch. Where it is compiled first it seems slow, and the second is
    # one epoch as well; the time that this one takes says how long the next may be.
    length = 1
    with interruptible() as interrupted, progress_display(epochs, progress) as show:
        while done < epochs and not interrupted.is_set():
            start = time.perf_counter()
            stop = min(done + length, epochs)
            state, buffer = segment(state, on_device, keys, np.int32(done), np.int32(stop))
            measured.append(np.asarray(buffer)[: stop - done].copy())
            seconds_per_epoch = (time.perf_counter() - start) / (stop - done)
            length = min(max(1, int(SEGMENT_SECONDS / seconds_per_epoch)), SEGMENT_EPOCHS)
            done = stop
            train_losses = measured[-1][..., 0]
            show(done, float(np.mean(train_losses[-1])))
            if not np.isfinite(train_losses).all():
                break
    return state, np.concatenate(measured), interrupted.is_set()


def start_state(
    optimizer: optax.GradientTransformation,
    runs: int | None,
    params: Any,
    opt_state: optax.OptState | None,
) -> State:
    """Copies, because a run donates its state and the caller keeps the originals.

    opt_state: None makes a fresh one.
    """
    if opt_state is None:
        init = optimizer.init if runs is None else jax.vmap(optimizer.init)
        opt_state = init(params)
    return cast(State, jax.tree.map(jnp.copy, State(params, opt_state)))


def _segment(
    recipe: Recipe,
    state: State,
    sets: Sequence[tuple[jax.Array, jax.Array]],
    keys: Keys,
    first: jax.Array,
    stop: jax.Array,
) -> tuple[State, jax.Array]:
    """Epochs first .. stop - 1: the state after them, and in a buffer what was measured.

    Row i of the buffer, [..., names], is of epoch first + i. It has SEGMENT_EPOCHS rows however
    many are filled, for shapes must be known when the program is compiled.
    """
    epoch = partial(_epoch, recipe, sets)
    row: tuple[int, ...] = (len(sets) * (1 + len(recipe.metrics)),)
    if recipe.runs is not None:
        epoch = jax.vmap(epoch, in_axes=(0, 0, None))
        row = (recipe.runs, *row)

    def body(
        number: jax.Array, state_and_buffer: tuple[State, jax.Array]
    ) -> tuple[State, jax.Array]:
        state, buffer = state_and_buffer
        state, measured = epoch(state, keys, number)
        return state, buffer.at[number - first].set(measured)

    buffer = jnp.zeros((SEGMENT_EPOCHS, *row), float)
    return cast(tuple[State, jax.Array], jax.lax.fori_loop(first, stop, body, (state, buffer)))


def _epoch(
    recipe: Recipe,
    sets: Sequence[tuple[jax.Array, jax.Array]],
    state: State,
    keys: Keys,
    number: jax.Array,
) -> tuple[State, jax.Array]:
    """One pass over the first of sets, then the loss and the metrics of every set, [names]."""
    train = sets[0]
    rows = len(train[0])
    update = updater(recipe.model, recipe.optimizer, recipe.loss)
    order = None
    if keys.shuffle is not None:
        order = jax.random.permutation(jax.random.fold_in(keys.shuffle, number), rows)
    model_key = _fold_in(keys.model, number)

    def step(i: jax.Array, state: State) -> State:
        x, y, counts = _batch(train, order, i, recipe.batch_size)
        params, opt_state, _ = update(*state, x, y, _fold_in(model_key, i), counts)
        return State(params, opt_state)

    state = jax.lax.fori_loop(0, -(-rows // recipe.batch_size), step, state)
    criteria = (recipe.loss, *recipe.metrics)
    measured: list[jax.Array] = []
    for data in sets:
        measured += measure(recipe.model, criteria, state.params, data)
    return state, jnp.stack([value.astype(float) for value in measured])


def _fold_in(key: jax.Array | None, number: jax.Array) -> jax.Array | None:
    """The key of that number made from key; None, where nothing is drawn, stays None."""
    return None if key is None else jax.random.fold_in(key, number)


def _batch(
    data: tuple[jax.Array, jax.Array], order: jax.Array | None, i: jax.Array, batch_size: int
) -> tuple[jax.Array, jax.Array, jax.Array | None]:
    """x and y of batch i, and which of its rows count: all of them where it is None.

    The last batch, where it is smaller, is filled up with rows of the one before, which do not
    count: a step of its own size would be compiled beside this one, for a fifth of a second.
    """
    x, y = data
    rows = len(x)
    begin = i * batch_size
    start = jnp.minimum(begin, rows - batch_size)
    counts = None if rows % batch_size == 0 else start + jnp.arange(batch_size) >= begin
    if order is None:
        take = partial(jax.lax.dynamic_slice_in_dim, start_index=start, slice_size=batch_size)
        return take(x), take(y), counts
    picked = jax.lax.dynamic_slice_in_dim(order, start, batch_size)
    return x[picked], y[picked], counts


def updater(
    model: Model, optimizer: optax.GradientTransformation, loss: Loss
) -> Callable[..., tuple[Any, optax.OptState, jax.Array]]:
    """step(params, opt_state, x, y, key, counts) -> params, opt_state, mean loss before the step.

    key: None calls model(params, x). counts: which rows count, [rows] bool; None means all.
    """
    optimizer = optax.with_extra_args_support(optimizer)

    def step(
        params: Any,
        opt_state: optax.OptState,
        x: jax.Array,
        y: jax.Array,
        key: jax.Array | None = None,
        counts: jax.Array | None = None,
    ) -> tuple[Any, optax.OptState, jax.Array]:
        def mean_loss(params: Any) -> jax.Array:
            outputs = model(params, x) if key is None else model(params, x, key)
            return jnp.mean(loss(outputs, y), where=counts)

        value, grads = jax.value_and_grad(mean_loss)(params)
        # Line searches and schedules on the loss (optax.lbfgs, reduce_on_plateau) ask for value,
        # grad and value_fn; other optimizers ignore them.
        updates, opt_state = optimizer.update(
            grads, opt_state, params, value=value, grad=grads, value_fn=mean_loss
        )
        return optax.apply_updates(params, updates), opt_state, value

    return step


def measure(
    model: Model,
    criteria: tuple[Loss | Metric, ...],
    params: Any,
    data: tuple[jax.Array, jax.Array],
) -> list[jax.Array]:
    """The mean over data of each criterion, from one evaluation of the model."""
    x, y = data
    outputs = model(params, x)
    return [jnp.mean(criterion(outputs, y)) for criterion in criteria]
