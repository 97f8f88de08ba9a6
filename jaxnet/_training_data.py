"""The data that `fit` and `evaluate` are given, looked at together with model, loss and metrics.

Compiled code cannot raise on a value, so values are looked at here, where they enter.
"""

import functools
import inspect
import warnings
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, cast

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

from jaxnet import _graph
from jaxnet._programs import REMEMBERED, call, shapes
from jaxnet._require import described
from jaxnet._training_arguments import Array, Data, Loss, Metric, Model, require_kept
from jaxnet.metrics import accuracy, is_right
from jaxnet.rules._cross_entropy import sigmoid_binary_cross_entropy, softmax_cross_entropy

_NONE: Mapping[str, Metric] = MappingProxyType({})


def require_data(
    name: str,
    data: Data,
    model: Model,
    params: Any,
    loss: Loss,
    metrics: Mapping[str, Metric] = _NONE,
    *,
    function: str = "fit",
) -> None:
    """Raise TypeError or ValueError unless data are (x, y) that fit each other, model and loss.

    params may be arrays, or their shapes and dtypes. Errors call the data by `name`.
    """
    where = f"{function}: {name}"
    _require_pair(where, data)
    x, y = data
    require_kept(function, name, (x, y))
    _require_numbers(where, x=x, y=y)
    _require_finite(where, "x", x)

    outputs = _outputs(where, model, params, x, loss)
    losses = _results(where, "loss", loss, outputs, y)
    _require_one_per_example(where, losses, outputs, x, y)
    _require_finite_targets(where, loss, outputs, y)
    _require_own_row(where, "loss", loss, outputs, y)
    for metric_name, metric in metrics.items():
        _require_metric(where, f"metrics[{metric_name!r}]", metric, outputs, y)
    _require_values(where, loss, metrics, outputs, y)


def require_batch(
    function: str, model: Model, loss: Loss, params: Any, batch: tuple[Any, Any], key: Any
) -> None:
    """Raise as above where the loss of a batch that is being traced is not one per example."""
    x, y = batch
    keys = () if key is None else (key,)
    outputs = jax.eval_shape(model, params, x, *keys)
    losses = jax.eval_shape(loss, outputs, y)
    _require_one_per_example(function, losses, outputs, x, y)


def _require_pair(where: str, data: Any) -> None:
    if not isinstance(data, tuple | list) or len(data) != 2:
        raise TypeError(f"{where} must be a pair of arrays (x, y), got {described(data)}")
    x, y = data
    _require_array(where, "x", x)
    _require_array(where, "y", y)
    if x.ndim < 1 or y.ndim < 1 or len(x) != len(y):
        raise ValueError(
            f"{where}: x and y must have as many rows, got shapes {x.shape} and {y.shape}"
        )
    if len(x) == 0:
        raise ValueError(f"{where}: no rows; x has shape {x.shape}")


def _require_array(where: str, letter: str, array: Any) -> None:
    if isinstance(array, jax.Array | np.ndarray):
        return
    mend = f"np.asarray({letter})"
    for method in ("numpy", "to_numpy"):  # of tensors, of DataFrames
        if hasattr(array, method):
            mend = f"{letter}.{method}()"
    raise TypeError(
        f"{where} must be a pair of arrays (x, y), got {letter} of type {type(array).__name__}; "
        f"give {mend}"
    )


def _require_numbers(where: str, **arrays: Array) -> None:
    for letter, array in arrays.items():
        if array.dtype.kind in "OSUMm":
            mend = "jaxnet.datasets.load reads numbers from a file"
            if letter == "y":
                mend = "number the classes, classes, y = np.unique(y, return_inverse=True)"
            raise TypeError(
                f"{where}: {letter} must be an array of numbers, got dtype {array.dtype}; {mend}"
            )


def _require_finite(where: str, letter: str, array: Array) -> None:
    if not jnp.issubdtype(array.dtype, jnp.floating):
        return
    values = np.asarray(array)
    if np.isfinite(values).all():
        return
    bad = np.argwhere(~np.isfinite(values))
    raise ValueError(
        f"{where}: {letter} holds {len(bad)} values that are NaN or inf, the first at index "
        f"{tuple(map(int, bad[0]))}; remove or fill those rows"
    )


# -- shapes: functions are traced, nothing is computed


def _outputs(where: str, model: Model, params: Any, x: Array, loss: Loss) -> Any:
    """Shapes and dtypes."""
    try:
        return shapes(model, (), params, x)
    except Exception as error:
        if _can_be_called(loss, params, x) and not _can_be_called(model, params, x):
            raise TypeError(
                f"{where}: model(params, x) raises, and loss(params, x) does not: "
                f"model and loss are in each other's place"
            ) from error
        error.add_note(
            f"{where}: this was raised by model(params, x), called as compiled code is, "
            f"for x of dtype {x.dtype} and shape {x.shape}"
        )
        raise


def _can_be_called(f: Callable[..., Any], *args: Any) -> bool:
    try:
        shapes(f, (), *args)
    except Exception:
        return False
    return True


def _results(where: str, name: str, f: Callable[..., Any], outputs: Any, y: Array) -> Any:
    """Shapes and dtypes of f(outputs, y)."""
    try:
        return shapes(f, (), outputs, y)
    except Exception as error:
        if not _is_array(outputs):
            raise TypeError(
                f"{where}: model must return one array of outputs, got {type(outputs).__name__}, "
                f"with which {name} raises {type(error).__name__}; return one, or give a {name} "
                f"that takes it"
            ) from error
        error.add_note(
            f"{where}: this was raised by {name}(outputs, y), called as compiled code is, with "
            f"jax.numpy and no float(), for outputs of shape {outputs.shape} and y of dtype "
            f"{y.dtype} and shape {y.shape}"
        )
        raise


def _is_array(shape: Any) -> bool:
    return isinstance(shape, jax.ShapeDtypeStruct)


def _require_one_per_example(where: str, losses: Any, outputs: Any, x: Array, y: Array) -> None:
    shape = losses.shape if _is_array(losses) else None
    if shape != (len(x),):
        got = type(losses).__name__ if shape is None else f"shape {shape}"
        raise ValueError(
            f"{where}: loss must return one value per example, shape {(len(x),)}, got {got} "
            f"for outputs of shape {_shape(outputs)} and y of shape {np.shape(y)}; "
            f"their mean is what is trained on"
        )
    if not jnp.issubdtype(losses.dtype, jnp.floating):
        raise TypeError(
            f"{where}: loss must return floating numbers, got dtype {losses.dtype}; "
            f"what is counted cannot be differentiated, give it as one of metrics"
        )


def _shape(outputs: Any) -> Any:
    return outputs.shape if _is_array(outputs) else jax.tree.map(lambda leaf: leaf.shape, outputs)


def _require_metric(where: str, name: str, metric: Metric, outputs: Any, y: Array) -> None:
    if _is_accuracy(metric):
        _require_classes(where, name, outputs, y)
    value = _results(where, name, metric, outputs, y)
    if not _is_array(value):
        raise TypeError(
            f"{where}: {name} must return one array of numbers, got {type(value).__name__}; "
            f"give each of them a name in metrics"
        )
    if value.shape[:1] == np.shape(y)[:1] and _differ_by_an_axis(outputs, y):
        _require_own_row(where, name, metric, outputs, y)


# -- values


def _body(f: Any) -> Any:
    """Of a rule, also where it is taken off, or given options by partial."""
    while isinstance(f, functools.partial):
        f = f.func
    return inspect.unwrap(f)


def _is_accuracy(metric: Metric) -> bool:
    return _body(metric) in (is_right, accuracy)


def _require_classes(where: str, name: str, outputs: Any, y: Array) -> None:
    """Raise where accuracy has no meaning: it compares the places of the largest of each row."""
    if not _is_array(outputs) or outputs.ndim < 2 or outputs.shape[-1] < 2:
        raise ValueError(
            f"{where}: {name} compares classes, but the model has one output per row, shape "
            f"{_shape(outputs)}; pass metrics={{}}, or for one logit of two classes, "
            f"metrics={{'balanced_accuracy': jaxnet.metrics.balanced_accuracy}}"
        )


def _require_values(
    where: str, loss: Loss, metrics: Mapping[str, Metric], outputs: Any, y: Array
) -> None:
    """Raise on labels that the loss is not of; another loss may give them another meaning."""
    body = _body(loss)
    is_cross_entropy = body is _body(softmax_cross_entropy)
    if body is _body(sigmoid_binary_cross_entropy):
        _require_probabilities(where, np.asarray(y))
    elif is_cross_entropy and jnp.issubdtype(y.dtype, jnp.integer):
        _require_labels(where, np.asarray(y), classes=outputs.shape[-1])
    elif is_cross_entropy:
        mend = "divide each row by its sum, and weight examples in a loss of your own"
        _require_distributions(where, np.asarray(y), "of softmax_cross_entropy", mend)
    elif any(map(_is_accuracy, metrics.values())) and jnp.issubdtype(y.dtype, jnp.floating):
        mend = "pass metrics={} where they are numbers to predict"
        _warn_of_sums(where, np.asarray(y), "of accuracy", mend)


def _require_labels(where: str, labels: NDArray[Any], classes: int) -> None:
    if (labels < 0).any() or (labels >= classes).any():
        raise ValueError(
            f"{where}: labels must be in 0 .. {classes - 1} (the model has {classes} outputs), "
            f"got {labels.min()} .. {labels.max()}"
        )


def _require_distributions(where: str, y: NDArray[Any], reader: str, mend: str) -> None:
    if (y < 0).any():
        raise ValueError(
            f"{where}: y must hold distributions over classes, the labels {reader}, "
            f"got a negative number, {y.min()}; {mend}"
        )
    _warn_of_sums(where, y, reader, mend)


def _warn_of_sums(where: str, y: NDArray[Any], reader: str, mend: str) -> None:
    """They may be meant: weights of examples, rows that are left out."""
    sums = y.astype(np.float64).sum(axis=-1)
    off = np.argwhere(np.abs(sums - 1) > 0.02)  # a row of bfloat16 may be as far
    if len(off):
        row = tuple(map(int, off[0]))
        warnings.warn(
            f"{where}: y is taken for distributions over classes, the labels {reader}, "
            f"but the numbers of row {row[0]} add up to {sums[row]:.4g}; {mend}",
            stacklevel=5,
        )


def _require_probabilities(where: str, labels: NDArray[Any]) -> None:
    if labels.dtype != bool and not ((labels >= 0) & (labels <= 1)).all():
        raise ValueError(
            f"{where}: labels must be in 0 .. 1, whether each output is true or with which "
            f"probability, got {labels.min()} .. {labels.max()}; for more classes use "
            f"jaxnet.softmax_cross_entropy"
        )


def _require_finite_targets(where: str, loss: Loss, outputs: Any, y: Array) -> None:
    """Raise on NaN and inf in y, except where the loss leaves such rows out."""
    if not jnp.issubdtype(y.dtype, jnp.floating):
        return
    finite = np.isfinite(np.asarray(y)).reshape(len(y), -1).all(axis=1)
    if finite.all():
        return
    values = _of_first_row(loss, outputs, np.asarray(y)[[int(np.argmin(finite))]])
    if values is None or not np.isfinite(values.astype(float)).all():
        _require_finite(where, "y", y)


def _require_own_row(where: str, name: str, f: Loss, outputs: Any, y: Array) -> None:
    """Raise where the value of an example depends on the others, as a broadcast [rows, rows] does.

    Asked of the first row and one that differs from it, alone and beside each other, at outputs
    that are drawn here: a model may mix rows, as batch norm does. Where it is no broadcast, a
    person may mean it, and is warned.
    """
    if not _differ_by_an_axis(outputs, y) and not _may_mix_rows(f, outputs, y):
        return  # to compile it even for two rows takes a tenth of a second
    rows = _two_rows(np.asarray(y))
    if rows is None:
        return
    values = _of_first_row(f, outputs, rows)
    if values is None:
        return
    eps = 8 * float(cast(Any, jnp).finfo(values.dtype).eps)
    beside, alone = map(float, values)
    if np.isnan(alone) or abs(beside - alone) <= max(1e-3, eps) * max(abs(beside), abs(alone)):
        return
    said = (
        f"{where}: {name} of a row depends on the other rows: for the same outputs and y it is "
        f"{beside:.4g} beside another row and {alone:.4g} alone"
    )
    if _differ_by_an_axis(outputs, y):
        raise ValueError(
            f"{said}; outputs of shape {_shape(outputs)} and y of shape {np.shape(y)} are "
            f"broadcast against each other: give both one shape, y[:, None] or outputs[:, 0]"
        )
    warnings.warn(
        f"{said}; it will change with batch_size, and sets are measured 4096 rows at a time",
        stacklevel=4,
    )


def _differ_by_an_axis(outputs: Any, y: Array) -> bool:
    if not _is_array(outputs):
        return False
    shapes = outputs.shape, np.shape(y)
    return any(one == (*other, 1) for one, other in (shapes, shapes[::-1]))


def _may_mix_rows(f: Loss, outputs: Any, y: Array) -> bool:
    """Whether the graph of f holds pairs of rows, or what is of no row but made of rows."""
    if _body(f).__module__.startswith("jaxnet.rules."):
        return False
    leaves, structure = jax.tree.flatten((outputs, y))
    shapes_of_rows = tuple((leaf.shape[1:], jnp.dtype(leaf.dtype)) for leaf in leaves)
    return _graph_mixes(f, shapes_of_rows, structure)


@functools.lru_cache(maxsize=REMEMBERED)
def _graph_mixes(f: Loss, shapes_of_rows: tuple[Any, ...], structure: Any) -> bool:
    rows = 10007  # a size that no other axis has
    shape = cast(Any, jax.ShapeDtypeStruct)  # not annotated
    leaves = [shape((rows, *of_row), dtype) for of_row, dtype in shapes_of_rows]
    try:
        # Of a new function: JAX keeps a trace as long as its function lives, and arrays with it.
        graph = jax.make_jaxpr(lambda *args: f(*args))(*jax.tree.unflatten(structure, leaves))
    except Exception:  # it can take no other number of rows
        return False
    return any(
        counts_out > 1 or counts_in > counts_out == 0
        for equation, _ in _graph.equations(graph)
        for counts_in, counts_out in [_axes_of_rows(equation, rows)]
    )


def _axes_of_rows(equation: Any, rows: int) -> tuple[int, int]:
    """How many axes of this size an argument, and a result, of the equation has at most."""

    def most(variables: Any) -> int:
        return max((v.aval.shape.count(rows) for v in variables), default=0)

    return most(equation.invars), most(equation.outvars)


def _two_rows(y: NDArray[Any]) -> NDArray[Any] | None:
    """The first row and one that differs from it, among some that are spread over all."""
    some = y[:: max(1, len(y) // 256)]
    differ = (some != some[0]).reshape(len(some), -1).any(axis=1)
    return some[[0, int(np.argmax(differ))]] if differ.any() else None


def _of_first_row(f: Loss, outputs: Any, y: NDArray[Any]) -> Any:
    """What f is for the first of these rows, beside the others and alone.

    None where f cannot take so few.
    """
    rng = np.random.default_rng(0)

    def drawn(leaf: Any) -> NDArray[Any]:
        # Between 0 and 1, for a loss may want probabilities.
        numbers = rng.uniform(0.1, 0.9, (2, *leaf.shape[1:]))[: len(y)]
        return numbers.astype(leaf.dtype)

    try:
        # A loss with a weight for each of all rows, say, is right for them, and not for two.
        return np.asarray(call(_beside_and_alone, (f,), jax.tree.map(drawn, outputs), y))
    except Exception:
        return None


def _beside_and_alone(f: Loss, outputs: Any, y: jax.Array) -> jax.Array:
    first = jax.tree.map(lambda leaf: leaf[:1], (outputs, y))
    return jnp.stack([jnp.mean(f(outputs, y)[0]), jnp.mean(f(*first)[0])])
