"""A whole training run: one compiled program, and the loop on the host that calls it.

The program is a loop over epochs, in it a loop over batches, then the loss and the metrics of every
set. It is called for a segment of epochs at a time, whose bounds are arguments, so that it compiles
once. Between segments the host shows progress, stops on Ctrl-C and notices a loss that is no longer
finite.
"""

import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple, TypeAlias, cast

import jax
import jax.numpy as jnp
import numpy as np
import optax  # type: ignore[import-untyped]
from numpy.typing import NDArray

from jaxnet._devices import WHOLE, agreed, divided_runs, on_all, on_auto_axes, places
from jaxnet._programs import program
from jaxnet._progress import interruptible, progress_display
from jaxnet._training_arguments import Data, Loss, Metric, Model
from jaxnet._training_step import Set, batch_of, measure, updater

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


Segment: TypeAlias = Callable[[State, Sequence[Set], Keys, Any, Any], tuple[State, jax.Array]]


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
    on_device = on_all([tuple(data) for data in sets])
    bound = np.int32(0)
    segment = program(_segment, (recipe,), state, on_device, keys, bound, bound, donate=True)
    measured = []
    done = 0
    # The first segment is one epoch. Where it is compiled first it seems slow, and the second is
    # one epoch as well; the time that this one takes says how long the next may be.
    length, stopped = 1, False
    with interruptible() as interrupted, progress_display(epochs, progress) as show:
        while done < epochs and not stopped:
            start = time.perf_counter()
            stop = min(done + length, epochs)
            state, buffer = segment(state, on_device, keys, np.int32(done), np.int32(stop))
            measured.append(np.moveaxis(np.asarray(buffer), -2, 0)[: stop - done].copy())
            seconds_per_epoch = (time.perf_counter() - start) / (stop - done)
            length = min(max(1, int(SEGMENT_SECONDS / seconds_per_epoch)), SEGMENT_EPOCHS)
            length, stopped = agreed(length, interrupted.is_set())
            done = stop
            train_losses = measured[-1][..., 0]
            show(done, float(np.mean(train_losses[-1])))
            if not np.isfinite(train_losses).all():
                break
    return state, np.concatenate(measured), stopped


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
    sets: Sequence[Set],
    keys: Keys,
    first: jax.Array,
    stop: jax.Array,
) -> tuple[State, jax.Array]:
    """Epochs first .. stop - 1: the state after them, and [..., epochs, names], measured."""
    segment: Segment = partial(_segment_of_one, recipe)
    if recipe.runs is not None:
        segment = divided_runs(_each_run(segment))
    segment = on_auto_axes(segment, (places(state), WHOLE))
    return segment(state, sets, keys, first, stop)


def _each_run(segment: Segment) -> Segment:
    """The segment of every run: state and keys have a leading axis [runs]."""

    def segments(
        state: State, sets: Sequence[Set], keys: Keys, first: jax.Array, stop: jax.Array
    ) -> tuple[State, jax.Array]:
        def of_run(state_and_keys: tuple[State, Keys]) -> tuple[State, jax.Array]:
            state, keys = state_and_keys
            return segment(state, sets, keys, first, stop)

        # One network at a time stays in a processor's cache; an accelerator wants them all.
        if jax.default_backend() == "cpu":
            return cast(tuple[State, jax.Array], jax.lax.map(of_run, (state, keys)))
        return jax.vmap(of_run)((state, keys))

    return segments


def _segment_of_one(
    recipe: Recipe,
    state: State,
    sets: Sequence[Set],
    keys: Keys,
    first: jax.Array,
    stop: jax.Array,
) -> tuple[State, jax.Array]:
    """Row i of the buffer that it returns, [SEGMENT_EPOCHS, names], is of epoch first + i.

    It is as long however many are filled, for shapes must be known when the program is compiled.
    """
    names = len(sets) * (1 + len(recipe.metrics))

    def body(
        number: jax.Array, state_and_buffer: tuple[State, jax.Array]
    ) -> tuple[State, jax.Array]:
        state, buffer = state_and_buffer
        state, measured = _epoch(recipe, sets, state, keys, number)
        return state, buffer.at[number - first].set(measured)

    buffer = jnp.zeros((SEGMENT_EPOCHS, names), float)
    return cast(tuple[State, jax.Array], jax.lax.fori_loop(first, stop, body, (state, buffer)))


def _epoch(
    recipe: Recipe,
    sets: Sequence[Set],
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
        batch = batch_of(train, i, recipe.batch_size, order)
        params, opt_state, _ = update(*state, batch, _fold_in(model_key, i))
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
