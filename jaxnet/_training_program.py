"""What is compiled of a training run: from one of its steps to another.

An epoch is a row of steps: its updates, then the batches in which every set is measured. Where the
program starts and stops are arguments, so that it compiles once, and a run may stop, and go on,
between any two steps: State is all that it needs for that.
"""

import itertools
import math
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any, NamedTuple, TypeAlias, cast

import jax
import jax.numpy as jnp
import numpy as np
import optax  # type: ignore[import-untyped]

from jaxnet._devices import WHOLE, divided_runs, on_auto_axes, places
from jaxnet._training_arguments import Loss, Metric, Model
from jaxnet._training_step import Measurement, Set, Sums, batch_of, batches_of, updater

# What a call returns of the epochs that it has measured: at most so many, and so many numbers.
BUFFER_EPOCHS = 1024
BUFFER_NUMBERS = 2**20


class Best(NamedTuple):
    """The epoch with the lowest validation loss so far."""

    params: Any
    opt_state: optax.OptState
    loss: jax.Array
    epoch: jax.Array  # counted from 1; 0 before any


class State(NamedTuple):
    """What changes. With several runs every leaf has a leading axis [runs]."""

    params: Any
    opt_state: optax.OptState
    sums: list[Sums]  # of each set, as far as it is measured in this epoch
    best: Best | None  # None where no set is there to choose on
    epochs: jax.Array  # how many are measured
    diverged: jax.Array  # bool: the training loss is no longer finite
    ended: jax.Array  # bool: so it is, or patience is at its end


class Given(NamedTuple):
    """What does not change but may differ by run; then every leaf has a leading axis [runs]."""

    shuffle: jax.Array | None  # keys; None where nothing is drawn
    model: jax.Array | None
    settings: dict[str, jax.Array]  # what the optimizer is made with


class Recipe(NamedTuple):
    """What is compiled; hashable, for an equal recipe at equal shapes is not traced again."""

    model: Model
    loss: Loss
    optimizer: Callable[..., optax.GradientTransformation] | optax.GradientTransformation
    metrics: tuple[Metric, ...]
    batch_size: int
    runs: int | None = None
    validation: int | None = None  # which of the sets is there to choose on
    patience: int | None = None


class Position(NamedTuple):
    """The step of a run that is done next."""

    epoch: jax.Array | np.int32
    step: jax.Array | np.int32  # of this epoch


NOWHERE = Position(np.int32(0), np.int32(0))  # what a program is traced with

Segment: TypeAlias = Callable[
    [State, Sequence[Set], Given, Position, Position], tuple[State, list[jax.Array]]
]


def start_state(
    recipe: Recipe,
    params: Any,
    opt_state: optax.OptState | None,
    sets: Sequence[Set],
    given: Given,
) -> State:
    """Copies, because a run donates its state and the caller keeps the originals.

    opt_state: None makes a fresh one.
    """

    def of_one(params: Any, opt_state: optax.OptState | None, given: Given) -> State:
        if opt_state is None:
            opt_state = optimizer_of(recipe, given).init(params)
        nothing, never = jnp.int32(0), jnp.asarray(np.inf, float)
        state = State(
            params=params,
            opt_state=opt_state,
            sums=[measured.nothing() for measured in _measurements(recipe, params, sets)],
            best=None if recipe.validation is None else Best(params, opt_state, never, nothing),
            epochs=nothing,
            diverged=jnp.bool(False),
            ended=jnp.bool(False),
        )
        return cast(State, jax.tree.map(jnp.copy, state))

    start = of_one if recipe.runs is None else jax.vmap(of_one, axis_size=recipe.runs)
    return start(params, opt_state, given)


def steps_of_epoch(recipe: Recipe, sets: Sequence[Set]) -> int:
    return sum(_lengths(recipe, sets))


def _lengths(recipe: Recipe, sets: Sequence[Set]) -> list[int]:
    """The updates of an epoch, then the batches in which each set is measured."""
    updates = -(-len(sets[0][0]) // recipe.batch_size)
    return [updates, *(batches_of(len(x)) for x, _ in sets)]


def segment(
    recipe: Recipe,
    state: State,
    sets: Sequence[Set],
    given: Given,
    first: Position,
    stop: Position,
) -> tuple[State, list[jax.Array]]:
    """The steps from first up to stop: the state after them, and what was measured.

    Row i of each array, [..., epochs, ...], is of epoch first.epoch + i; rows of epochs that have
    not been measured mean nothing.
    """
    run: Segment = partial(_segment_of_one, recipe)
    if recipe.runs is not None:
        run = divided_runs(_each_run(run))
    run = on_auto_axes(run, (places(state), WHOLE))
    return run(state, sets, given, first, stop)


def _each_run(segment: Segment) -> Segment:
    """The segment of every run: state and given have a leading axis [runs]."""

    def segments(
        state: State, sets: Sequence[Set], given: Given, first: Position, stop: Position
    ) -> tuple[State, list[jax.Array]]:
        def of_run(state_and_given: tuple[State, Given]) -> tuple[State, list[jax.Array]]:
            state, given = state_and_given
            return segment(state, sets, given, first, stop)

        if one_by_one():
            return cast(tuple[State, list[jax.Array]], jax.lax.map(of_run, (state, given)))
        return jax.vmap(of_run)((state, given))

    return segments


def _segment_of_one(
    recipe: Recipe,
    state: State,
    sets: Sequence[Set],
    given: Given,
    first: Position,
    stop: Position,
) -> tuple[State, list[jax.Array]]:
    """The buffer is as long however many rows are filled: shapes are known when compiling."""
    measurements = _measurements(recipe, state.params, sets)
    updates, *_ = lengths = _lengths(recipe, sets)

    def epoch(
        number: jax.Array, state_and_buffer: tuple[State, list[jax.Array]]
    ) -> tuple[State, list[jax.Array]]:
        state, buffer = state_and_buffer
        begin = jnp.where(number == first.epoch, first.step, 0)
        end = jnp.where(number == stop.epoch, stop.step, sum(lengths))
        if _skips(recipe):
            end = jnp.where(state.ended, begin, end)

        state = _update(recipe, sets[0], state, given, number, (begin, jnp.minimum(end, updates)))
        sums = []
        offset = updates
        for measurement, before in zip(measurements, state.sums, strict=True):
            at, to = (jnp.clip(n - offset, 0, measurement.batches) for n in (begin, end))
            sums.append(measurement.add_batches(state.params, at, to, before))
            offset += measurement.batches
        state = state._replace(sums=sums)

        def at_the_end(state: State, buffer: list[jax.Array]) -> tuple[State, list[jax.Array]]:
            values = [m.result(sums) for m, sums in zip(measurements, state.sums, strict=True)]
            row, flat = number - first.epoch, itertools.chain(*values)
            buffer = [b.at[row].set(v) for b, v in zip(buffer, flat, strict=True)]
            return _after_epoch(recipe, state, values), buffer

        is_over = end == sum(lengths)
        after = jax.lax.cond(is_over, at_the_end, lambda *same: same, state, buffer)
        return cast(tuple[State, list[jax.Array]], after)

    shapes = [shape for measurement in measurements for shape in measurement.shapes]
    buffer = [jnp.zeros((buffer_epochs(shapes), *shape), float) for shape in shapes]
    last = stop.epoch + (stop.step > 0)
    done = jax.lax.fori_loop(first.epoch, last, epoch, (state, buffer))
    return cast(tuple[State, list[jax.Array]], done)


def _update(
    recipe: Recipe,
    train: Set,
    state: State,
    given: Given,
    epoch: jax.Array,
    bounds: tuple[jax.Array, jax.Array],
) -> State:
    """The updates from one step of an epoch up to another."""
    update = updater(recipe.model, optimizer_of(recipe, given), recipe.loss)
    order = None
    if given.shuffle is not None:
        order = jax.random.permutation(jax.random.fold_in(given.shuffle, epoch), len(train[0]))
    model_key = _fold_in(given.model, epoch)

    def step(i: jax.Array, trained: tuple[Any, Any]) -> tuple[Any, Any]:
        batch = batch_of(train, i, recipe.batch_size, order)
        params, opt_state, _ = update(*trained, batch, _fold_in(model_key, i))
        return params, opt_state

    params, opt_state = jax.lax.fori_loop(*bounds, step, (state.params, state.opt_state))
    return state._replace(params=params, opt_state=opt_state)


def _after_epoch(recipe: Recipe, state: State, values: Sequence[Sequence[jax.Array]]) -> State:
    """The state in which the next epoch begins; values: of each set the loss, then the metrics."""
    epoch, best = state.epochs + 1, state.best
    ended = diverged = ~jnp.isfinite(values[0][0])
    if best is not None and recipe.validation is not None:
        this = Best(state.params, state.opt_state, values[recipe.validation][0], epoch)
        is_better = (this.loss < best.loss) & ~state.ended
        best = jax.tree.map(partial(jnp.where, is_better), this, best)
        if recipe.patience is not None:
            ended |= epoch - best.epoch >= recipe.patience
    return state._replace(
        sums=jax.tree.map(jnp.zeros_like, state.sums),
        best=best,
        # Of several runs on an accelerator all go on, but what has ended counts no more.
        epochs=jnp.where(state.ended, state.epochs, epoch),
        diverged=jnp.where(state.ended, state.diverged, diverged),
        ended=state.ended | ended,
    )


def optimizer_of(recipe: Recipe, given: Given) -> optax.GradientTransformation:
    if not given.settings:
        return cast(optax.GradientTransformation, recipe.optimizer)
    return cast(Any, recipe.optimizer)(**given.settings)


def buffer_epochs(shapes: Iterable[tuple[int, ...]]) -> int:
    """Of how many epochs a segment can return what it measured, arrays of these shapes."""
    numbers = sum(map(math.prod, shapes))
    return max(1, min(BUFFER_EPOCHS, BUFFER_NUMBERS // max(1, numbers)))


def _skips(recipe: Recipe) -> bool:
    """Whether a run that has ended costs no more: not where others beside it decide the steps."""
    return recipe.runs is None or one_by_one()


def one_by_one() -> bool:
    """Whether runs are trained one after another: one stays in a processor's cache.

    An accelerator wants them all at once.
    """
    return jax.default_backend() == "cpu"


def _measurements(recipe: Recipe, params: Any, sets: Sequence[Set]) -> list[Measurement]:
    criteria = (recipe.loss, *recipe.metrics)
    return [Measurement(recipe.model, criteria, params, *data) for data in sets]


def _fold_in(key: jax.Array | None, number: jax.Array) -> jax.Array | None:
    """The key of that number made from key; None, where nothing is drawn, stays None."""
    return None if key is None else jax.random.fold_in(key, number)
