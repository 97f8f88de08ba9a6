"""One update, and one measurement: what a training run repeats."""

import itertools
from collections.abc import Callable
from typing import Any, NamedTuple, TypeAlias

import jax
import jax.numpy as jnp
import optax  # type: ignore[import-untyped]

from jaxnet._devices import divided, mesh_is_set
from jaxnet._require import wide_dtype
from jaxnet._training_arguments import Loss, Metric, Model

# Of a larger set so many rows are measured at a time, so that memory does not grow with the set.
MEASURED_ROWS = 4096

Set: TypeAlias = tuple[jax.Array, jax.Array]  # x [rows, ...], y [rows, ...]


class Batch(NamedTuple):
    """Rows of a set, some of which may be there only to fill it up."""

    x: jax.Array
    y: jax.Array
    counts: jax.Array | None  # which rows count, [rows] bool; None: all of them
    number: int | jax.Array  # how many


def updater(
    model: Model, optimizer: optax.GradientTransformation, loss: Loss
) -> Callable[..., tuple[Any, optax.OptState, jax.Array]]:
    """step(params, opt_state, batch, key) -> params, opt_state, mean loss before the step.

    key: None calls model(params, x).
    """
    optimizer = optax.with_extra_args_support(optimizer)

    def step(
        params: Any, opt_state: optax.OptState, batch: Batch, key: jax.Array | None
    ) -> tuple[Any, optax.OptState, jax.Array]:
        x, y, counts, number = batch

        def mean_loss(params: Any) -> jax.Array:
            outputs = model(params, x) if key is None else model(params, x, key)
            losses = loss(outputs, y)
            # The sum of a batch may be beyond what float16 holds, where the mean is not.
            total = jnp.sum(losses, where=counts, dtype=wide_dtype(losses.dtype))
            return (total / number).astype(losses.dtype)

        value, grads = jax.value_and_grad(mean_loss)(params)
        # Line searches and schedules on the loss (optax.lbfgs, reduce_on_plateau) ask for value,
        # grad and value_fn; other optimizers ignore them.
        updates, opt_state = optimizer.update(
            grads, opt_state, params, value=value, grad=grads, value_fn=mean_loss
        )
        return optax.apply_updates(params, updates), opt_state, value

    return step


def batch_of(data: Set, i: jax.Array, batch_size: int, order: jax.Array | None = None) -> Batch:
    """Batch i of the rows, in the order given, else in their own.

    The last one is filled up with the first rows where it is smaller: a step of its own size would
    be compiled beside this one, for a fifth of a second.
    """
    x, y = data
    rows = len(x)
    places = (i * batch_size + jnp.arange(batch_size)) % rows
    picked = divided(places if order is None else order[places])
    if rows % batch_size == 0:
        return Batch(x[picked], y[picked], None, batch_size)
    # Counted without the mask, over which devices would have to add up.
    number = jnp.minimum(batch_size, rows - i * batch_size)
    return Batch(x[picked], y[picked], jnp.arange(batch_size) < number, number)


def measure(
    model: Model, criteria: tuple[Loss | Metric, ...], params: Any, data: Set
) -> list[jax.Array]:
    """The mean over data of each criterion, from one evaluation of the model."""
    x, y = data
    if len(x) > MEASURED_ROWS or mesh_is_set():
        return _measure_in_batches(model, criteria, params, data)
    outputs = model(params, x)
    return [jnp.mean(criterion(outputs, y)) for criterion in criteria]


def _measure_in_batches(
    model: Model, criteria: tuple[Loss | Metric, ...], params: Any, data: Set
) -> list[jax.Array]:
    """The same, at most MEASURED_ROWS at a time, each batch divided among the devices of a mesh.

    A criterion that gives one number for all rows gets all of them: the outputs are kept for it.
    """
    x, y = data
    rows = len(x)
    batch_size = min(rows, MEASURED_ROWS)
    batches = -(-rows // batch_size)
    outputs = jax.eval_shape(model, params, x[:batch_size])

    def is_by_row(criterion: Loss | Metric) -> bool:
        value = jax.eval_shape(criterion, outputs, y[:batch_size])
        return bool(value.shape[:1] == (batch_size,))

    by_row = [is_by_row(criterion) for criterion in criteria]

    def add(
        i: jax.Array, sums_and_kept: tuple[list[jax.Array], list[jax.Array]]
    ) -> tuple[list[jax.Array], list[jax.Array]]:
        sums, kept = sums_and_kept
        batch = batch_of(data, i, batch_size)
        outputs = model(params, batch.x)
        values = [_mean_of_rows(c(outputs, batch.y)) for c in itertools.compress(criteria, by_row)]
        sums = [
            before + jnp.sum(value, where=batch.counts)
            for before, value in zip(sums, values, strict=True)
        ]
        begin = i * batch_size
        kept = [jax.lax.dynamic_update_slice_in_dim(all_, outputs, begin, 0) for all_ in kept]
        return sums, kept

    nothing = [jnp.zeros((), float) for _ in range(sum(by_row))]
    room = jnp.zeros((batches * batch_size, *outputs.shape[1:]), outputs.dtype)
    start = nothing, [] if all(by_row) else [room]
    sums, kept = jax.lax.fori_loop(0, batches, add, start)

    means = iter(sums)
    return [
        next(means) / rows if averaged else jnp.mean(criterion(kept[0][:rows], y))
        for criterion, averaged in zip(criteria, by_row, strict=True)
    ]


def _mean_of_rows(values: jax.Array) -> jax.Array:
    """[rows, ...] -> [rows], in the dtype that sums are in."""
    return jnp.mean(values.astype(float), axis=range(1, values.ndim))
