"""One update, and one measurement: what a training run repeats."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple, TypeAlias, cast

import jax
import jax.numpy as jnp
import optax  # type: ignore[import-untyped]

from jaxnet._devices import divided, mesh_is_set
from jaxnet._require import wide_dtype
from jaxnet._training_arguments import Loss, Metric, Model

_shape = cast(Any, jax.ShapeDtypeStruct)  # not annotated
Criterion: TypeAlias = Loss | Metric
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


class Sums(NamedTuple):
    """What is known of a set of which some rows are measured."""

    of_rows: list[jax.Array]  # a number for each criterion that looks at one row at a time
    outputs: list[Any]  # those of the model, for the others, which get all rows at once


class Measurement:
    """The loss and the metrics on a set, in batches of at most MEASURED_ROWS rows.

    So memory does not grow with the set, but for the outputs that a metric wants all at once.
    Of values by row the mean is taken; another array is the measured value as it is.
    """

    def __init__(
        self, model: Model, criteria: Sequence[Criterion], params: Any, x: jax.Array, y: jax.Array
    ) -> None:
        self.model = model
        self.data = x, y
        self.rows = len(x)
        self.batch_size = min(self.rows, MEASURED_ROWS)
        self.batches = batches_of(self.rows)

        # Without their places on a mesh, which are no business of shapes.
        params = jax.tree.map(lambda leaf: _shape(leaf.shape, jnp.result_type(leaf)), params)
        self.outputs = _shape_of(model, params, _with_rows(self.batch_size, x))
        batch = self.outputs, _with_rows(self.batch_size, y)
        values = [_shape_of(criterion, *batch) for criterion in criteria]
        is_by_row = [_is_by_row(c, v, *batch) for c, v in zip(criteria, values, strict=True)]
        self.criteria = list(zip(criteria, is_by_row, strict=True))
        # Of what is measured.
        self.shapes = [
            () if by_row else value.shape for value, by_row in zip(values, is_by_row, strict=True)
        ]

    def nothing(self) -> Sums:
        """What is known before the first batch."""
        by_row = [is_by_row for _, is_by_row in self.criteria]
        rows = self.batches * self.batch_size
        room = [] if all(by_row) else [_zeros(rows, self.outputs)]
        return Sums([jnp.zeros((), float) for _ in range(sum(by_row))], room)

    def add_batches(self, params: Any, first: Any, stop: Any, sums: Sums) -> Sums:
        """What is known after the batches from first up to stop."""
        added = jax.lax.fori_loop(first, stop, partial(self._add, params), sums)
        return cast(Sums, added)

    def result(self, sums: Sums) -> list[jax.Array]:
        """What was measured, after the last batch."""
        _, y = self.data
        of_rows = iter(sums.of_rows)
        return [
            next(of_rows) / self.rows
            if is_by_row
            else jnp.asarray(criterion(self._outputs(sums), y), float)
            for criterion, is_by_row in self.criteria
        ]

    def _outputs(self, sums: Sums) -> Any:
        """Those of every row."""
        return jax.tree.map(lambda of_batches: of_batches[: self.rows], sums.outputs[0])

    def _add(self, params: Any, i: jax.Array, sums: Sums) -> Sums:
        """What is known after batch i."""
        batch = self._batch(i)
        outputs = self.model(params, batch.x)
        values = [_mean_of_row(c(outputs, batch.y)) for c, is_by_row in self.criteria if is_by_row]
        begin = i * self.batch_size
        return Sums(
            [
                before + jnp.sum(value, where=batch.counts)
                for before, value in zip(sums.of_rows, values, strict=True)
            ],
            [jax.tree.map(partial(_updated, begin), every, outputs) for every in sums.outputs],
        )

    def _batch(self, i: jax.Array) -> Batch:
        if self.batches > 1 or mesh_is_set():
            return batch_of(self.data, i, self.batch_size)
        return Batch(*self.data, counts=None, number=self.rows)


def measure(model: Model, criteria: Sequence[Criterion], params: Any, data: Set) -> list[jax.Array]:
    """Each criterion on data."""
    measurement = Measurement(model, criteria, params, *data)
    sums = measurement.add_batches(params, 0, measurement.batches, measurement.nothing())
    return measurement.result(sums)


def batches_of(rows: int) -> int:
    """In how many batches a set of so many rows is measured."""
    return -(-rows // MEASURED_ROWS)


def _is_by_row(criterion: Criterion, value: Any, outputs: Any, y: Any) -> bool:
    rows = len(y)
    if value.shape[:1] != (rows,):
        return False
    try:  # a confusion matrix of as many classes as rows is no larger with one row more
        more = _shape_of(criterion, _with_rows(rows + 1, outputs), _with_rows(rows + 1, y))
    except Exception:  # it holds a number of its own for each row
        return True
    return bool(more.shape[:1] == (rows + 1,))


def _shape_of(f: Callable[..., Any], *args: Any) -> Any:
    # JAX keeps a trace as long as its function lives, and the NumPy arrays in it as they were then.
    return jax.eval_shape(lambda *args: f(*args), *args)


def _with_rows(rows: int, arrays: Any) -> Any:
    """The shape and dtype of arrays like these with so many rows."""
    return jax.tree.map(lambda a: _shape((rows, *a.shape[1:]), jnp.result_type(a)), arrays)


def _zeros(rows: int, like: Any) -> Any:
    return jax.tree.map(lambda a: jnp.zeros((rows, *a.shape[1:]), a.dtype), like)


def _updated(begin: jax.Array, every: jax.Array, batch: jax.Array) -> jax.Array:
    return jax.lax.dynamic_update_slice_in_dim(every, batch, begin, 0)


def _mean_of_row(values: jax.Array) -> jax.Array:
    """[rows, ...] -> [rows], in the dtype that sums are in."""
    return jnp.mean(values.astype(float), axis=range(1, values.ndim))
