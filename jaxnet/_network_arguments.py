"""What a network must be, and the features that it is given."""

from collections.abc import Iterator, Mapping
from typing import Any

import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

from jaxnet.datasets import Column
from jaxnet.datasets._new_rows import features_of_frame
from jaxnet.models import NormLayer


def leaves(layer: Any) -> Iterator[tuple[str, Any]]:
    """Name and array of each parameter of a layer, which may be a plain tuple."""
    for name, leaf in zip(NormLayer._fields, layer, strict=False):
        if leaf is not None:
            yield name, leaf


def require_fitting(network: Any) -> None:
    """Raise TypeError or ValueError, naming the argument, unless all parts of a Network fit."""
    _require_names(network)
    _require_layers(network)
    _require_per_feature(network)
    _require_columns(network)
    _require_target_scaling(network)


def _require_names(network: Any) -> None:
    for argument, least in (("features", 1), ("classes", 2)):
        names = getattr(network, argument)
        if isinstance(names, str) or not all(isinstance(name, str) for name in names):
            raise TypeError(f"Network: {argument} must be a sequence of names, got {names!r:.80}")
        if argument == "classes" and not len(names):
            continue  # it predicts a number
        if len(names) < least or len(set(names)) < len(names):
            raise ValueError(
                f"Network: {argument} must be at least {least} names, all different, "
                f"got {list(names)!r:.80}"
            )


def _require_layers(network: Any) -> None:
    """Raise unless the params are layers whose sizes lead from the features to the classes."""
    params = network.params
    if not isinstance(params, tuple | list) or not all(
        isinstance(layer, tuple | list) and 2 <= len(layer) <= 4 for layer in params
    ):
        raise TypeError(
            f"Network: params must be a sequence of layers, as from init_mlp, "
            f"got {type(params).__name__}"
        )
    if not params:
        raise ValueError("Network: params must hold at least one layer, as from init_mlp")
    for i, layer in enumerate(params):
        _require_layer(i, layer)
    if len(params[-1]) > 2:
        raise ValueError(f"Network: params[{len(params) - 1}] is the last layer and has no norm")
    _require_chain(network)


def _require_chain(network: Any) -> None:
    last = len(network.params) - 1
    shapes = [np.shape(layer[0]) for layer in network.params]
    sizes = [len(network.features), *(out for out, _ in shapes)]
    for i, (_, fan_in) in enumerate(shapes):
        before = f"outputs of params[{i - 1}]" if i else "features"
        if fan_in != sizes[i]:
            raise ValueError(
                f"Network: params[{i}].weight takes {fan_in} inputs, but there are {sizes[i]} "
                f"{before}; each layer takes what the one before it gives"
            )
    if not len(network.classes) and sizes[-1] != 1:
        raise ValueError(
            f"Network: params[{last}] has {sizes[-1]} outputs and classes is empty; a network that "
            f"predicts a number has one output, for others give the names of the classes"
        )
    if len(network.classes) not in (0, sizes[-1]):
        raise ValueError(
            f"Network: params[{last}] has {sizes[-1]} outputs for {len(network.classes)} classes; "
            f"give a name for each output"
        )


def _require_layer(i: int, layer: Any) -> None:
    where, shape = f"Network: params[{i}]", np.shape(layer[0])
    if len(shape) == 3:
        raise ValueError(
            f"{where}.weight is of {shape[0]} runs; take one: jax.tree.map(lambda a: a[0], params)"
        )
    if len(shape) != 2:
        raise ValueError(f"{where}.weight must have shape [out, in], got {shape}")
    for name, leaf in leaves(layer):
        array = np.asarray(leaf)
        if not jnp.issubdtype(array.dtype, jnp.floating):
            raise TypeError(f"{where}.{name} must hold floating numbers, got {array.dtype}")
        if name != "weight" and array.shape != shape[:1]:
            raise ValueError(
                f"{where}.{name} must have shape [out], here {shape[:1]}, got {array.shape}"
            )
        if not np.isfinite(array.astype(np.float64)).all():
            raise ValueError(
                f"{where}.{name} holds what is not finite; a smaller learning rate may help"
            )


def _require_per_feature(network: Any) -> None:
    """Raise unless scaling and ranges are finite numbers, one for each feature."""
    count = len(network.features)
    for pair, names in (("scaling", ("mean", "scale")), ("ranges", ("least", "largest"))):
        arrays = getattr(network, pair)
        if arrays is None:
            continue
        shapes = [np.shape(array) for array in arrays]
        if shapes != [(count,), (count,)]:
            raise ValueError(
                f"Network: {pair} must be {names[0]} and {names[1]}, a number for each of {count} "
                f"features, got shapes {shapes}"
            )
        if not np.isfinite(arrays).all():
            raise ValueError(f"Network: {pair} must be finite")
    if network.scaling is not None and not np.all(network.scaling[1]):
        raise ValueError("Network: scaling.scale must not be 0; a constant feature has scale 1")


def _require_target_scaling(network: Any) -> None:
    scaling = network.target_scaling
    if scaling is None:
        return
    if len(network.classes):
        raise ValueError("Network: target_scaling is for a network without classes; leave it out")
    shapes = [np.shape(array) for array in scaling]
    if shapes != [(1,), (1,)]:
        raise ValueError(f"Network: target_scaling must be mean and scale, [1], got {shapes}")
    if not np.isfinite(scaling).all() or not np.all(scaling[1]):
        raise ValueError("Network: target_scaling must be finite, and its scale not 0")


def _require_columns(network: Any) -> None:
    """Raise unless the columns make the features."""
    columns = network.columns
    if columns is None:
        return
    if not all(isinstance(column, Column) for column in columns):
        raise TypeError("Network: columns must be a sequence of jaxnet.datasets.Column, or None")
    made = [feature for column in columns for feature in column.features]
    if made != list(network.features):
        raise ValueError(
            f"Network: columns make the features {made!r:.80}, but features are "
            f"{list(network.features)!r:.80}"
        )


def _numbers(x: Any) -> NDArray[Any]:
    array = np.asarray(x)
    if array.dtype.kind not in "biuf" and not jnp.issubdtype(array.dtype, np.floating):
        raise TypeError(
            f"Network: x must hold numbers, got dtype {array.dtype}; a table that holds text goes "
            f"in as a DataFrame, or as a dict of columns"
        )
    return array


def features_of(network: Any, x: Any) -> NDArray[np.float32]:
    count = len(network.features)
    if hasattr(x, "columns") or isinstance(x, Mapping):  # a data frame, or columns by name
        columns = network.columns or [Column(name) for name in network.features]
        x = features_of_frame("Network", x, columns)
    array = _numbers(x)
    if array.ndim != 2 or array.shape[1] != count:
        raise ValueError(
            f"Network: x must be [rows, {count}], a column for each feature, got shape "
            f"{array.shape}" + ("; for one row pass x[None]" if array.shape == (count,) else "")
        )
    with np.errstate(over="ignore"):
        single = array.astype(np.float32)
    for row, column in np.argwhere(~np.isfinite(single))[:1]:
        raise ValueError(
            f"Network: x[{row}, {column}] is {array[row, column]}, of feature "
            f"{network.features[column]!r}; expected a finite float32, drop the row"
        )
    return single
