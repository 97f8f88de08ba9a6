"""Trained networks as files: all that a prediction needs, and predictions from raw features."""

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias, cast

import jax
import numpy as np
from numpy.typing import ArrayLike, NDArray

from jaxnet._files import read_npz, write_npz
from jaxnet._network_arguments import features_of, leaves, require_fitting
from jaxnet.datasets import Column, Scaling
from jaxnet.datasets._column import COLUMN_ARRAYS, column_arrays, columns_in
from jaxnet.models import Layer, NormLayer, Params, mlp
from jaxnet.rules._activations import gelu, relu, sigmoid, silu, softplus, tanh
from jaxnet.rules._softmax import softmax

_Arrays: TypeAlias = dict[str, NDArray[Any]]

# Those that a file names.
ACTIVATIONS: dict[str, Callable[[jax.Array], jax.Array]] = {
    "relu": relu,
    "gelu": gelu,
    "silu": silu,
    "tanh": tanh,
    "sigmoid": sigmoid,
    "softplus": softplus,
}
_NAMES = ("features", "classes")
_SCALING = ("mean", "scale")
_OF_TARGET = ("target_mean", "target_scale")
_RANGE = ("least", "largest")
_WRITTEN = "the params.npz that train.py writes, or what jaxnet.save wrote"


@dataclass(frozen=True, eq=False)  # by identity: arrays have no single truth value to compare by
class Network:
    """A network of `init_mlp`'s kind, with all that it takes to predict from raw features.

    params: as `init_mlp` draws them and `fit` returns them, of one run.
    features: names of the columns of x, in their order, as those of a Dataset.
    classes: classes[label] is the name of a label, as those of a Dataset; () where the network has
        one output, a number.
    activation: `relu`, or `gelu`, `silu`, `tanh`, `sigmoid` or `softplus` of jaxnet.rules.
    scaling: what `standardize` did to the features before training; None for nothing.
    ranges: [2, features], the least and the largest value of each feature in training, in the
        units of the file; None where they are not known. Predictions do not depend on them.
    target: the name of the column with the labels, where a file has both; None for none.
    columns: how the columns of a table become the features, as those of a Dataset; None where each
        feature is a column of numbers.
    target_scaling: what `standardize` did to the numbers to predict, [1] each; None for nothing.
    Raises TypeError or ValueError, which name the argument, where these do not fit together, and
        for parameters that are not finite.

    >>> data = jaxnet.datasets.standardize(jaxnet.datasets.load("data/course_twin"))
    >>> params = jaxnet.init_mlp(jax.random.key(0), (10, 4, 2))
    >>> network = jaxnet.Network(params, data.features, data.classes, scaling=data.scaling)
    >>> network.probabilities(np.zeros((3, 10))).shape
    (3, 2)
    """

    params: Params
    features: Sequence[str]
    classes: Sequence[str]
    activation: Callable[[jax.Array], jax.Array] = relu
    scaling: Scaling | None = None
    ranges: NDArray[np.float32] | None = None
    target: str | None = None
    columns: Sequence[Column] | None = None
    target_scaling: Scaling | None = None

    def __post_init__(self) -> None:
        require_fitting(self)
        if self.activation not in ACTIVATIONS.values():
            raise ValueError(
                f"Network: activation must be one of {', '.join(ACTIVATIONS)} of jaxnet.rules, "
                f"got {self.activation!r}"
            )

    def probabilities(self, x: ArrayLike) -> NDArray[Any]:
        """The probability of each class, by softmax.

        x: [rows, features], numbers in the units of the file: not scaled; or a DataFrame or
            dict, whose columns are found by name, as `datasets.read_features` finds them in a file.
        Returns [rows, classes], float32 where the parameters are.
        Raises TypeError or ValueError where x is not so, or holds what is not finite, where the
            outputs of the network are not finite, and where it predicts a number.

        >>> params = jaxnet.init_mlp(jax.random.key(0), (2, 3))
        >>> network = jaxnet.Network(params, ["width", "height"], ["a", "b", "c"])
        >>> print(network.probabilities([[1.0, 2.0]]).sum(axis=1).round(5))
        [1.]
        """
        if not len(self.classes):
            raise ValueError(
                "Network: it predicts a number and has no classes, so no probabilities; "
                "use predict(x)"
            )
        return self._applied(x, softmax)

    def _applied(self, x: ArrayLike, last: Callable[[jax.Array], Any]) -> NDArray[Any]:
        """last(outputs), finite."""
        scaled = features_of(self, x)
        if self.scaling is not None:
            scaled = (scaled - self.scaling.mean) / self.scaling.scale
        # mlp takes any sequence of layers, and NumPy's arrays.
        outputs = mlp(self.params, cast(jax.Array, scaled), activation=self.activation)
        found = np.asarray(last(outputs))
        for row in np.flatnonzero(~np.isfinite(found).all(axis=1))[:1]:
            raise ValueError(
                f"Network: the outputs for row {row} of x are not finite; "
                f"its features are too large, the largest is {np.abs(scaled[row]).max():g} scaled"
            )
        return found

    def predict(self, x: ArrayLike) -> NDArray[Any]:
        """The name of the most probable class of each row, of equals the first; or its number.

        x: [rows, features], numbers in the units of the file: not scaled; or a DataFrame or dict.
        Returns [rows], text; without classes floating, in the units of the target.
        Raises as `probabilities` does.

        >>> network = jaxnet.Network(
        ...     [jaxnet.Layer(jnp.eye(2), jnp.zeros(2))], ["width", "height"], ["wide", "high"]
        ... )
        >>> print(network.predict([[1.0, 2.0], [4.0, 3.0]]))
        ['high' 'wide']
        """
        if len(self.classes):
            return np.array(self.classes)[self.probabilities(x).argmax(axis=1)]
        return self._applied(x, self._in_units)[:, 0]

    def _in_units(self, outputs: jax.Array) -> Any:
        if self.target_scaling is None:
            return outputs
        return outputs * self.target_scaling.scale + self.target_scaling.mean


def save(path: str | os.PathLike[str], network: Network) -> None:
    """Write a network into an .npz archive: readers find it whole or, until then, what was there.

    It holds, by name: features, classes, activation and target (text), mean and scale where there
    is a scaling, target_mean and target_scale where the numbers to predict have one, least and
    largest where there are ranges, and of layer i the arrays i.weight, i.bias and, of a norm,
    i.scale and i.shift. Where features are not columns of numbers as they were, it says of each of
    them from which of the columns it is made, of which kind (number, value or missing), of which of
    the values, and which of the fills stands for a missing number. There is no pickle in it; a
    dtype that NumPy does not know, as bfloat16, has its name beside it: i.weight.dtype.

    path: of the file; missing folders are made.
    network: a Network.
    Raises TypeError for anything else, OSError where the file cannot be written.

    >>> import tempfile
    >>> params = jaxnet.init_mlp(jax.random.key(0), (2, 3))
    >>> path = tempfile.mkdtemp() + "/params.npz"
    >>> jaxnet.save(path, jaxnet.Network(params, ["width", "height"], ["a", "b", "c"]))
    >>> jaxnet.load_network(path).classes
    ('a', 'b', 'c')
    """
    if not isinstance(network, Network):
        raise TypeError(
            f"save: network must be a jaxnet.Network, got {type(network).__name__}; "
            f"make one: jaxnet.Network(params, features, classes)"
        )
    write_npz(_as_path("save", path), network_arrays(network))


def _as_path(function: str, path: object) -> Path:
    if not isinstance(path, str | os.PathLike):
        raise TypeError(
            f"{function}: path is of type {type(path).__name__}; expected that of an .npz file, "
            f"a str or a pathlib.Path"
        )
    return Path(path)


def network_arrays(network: Network) -> dict[str, NDArray[Any]]:
    """What `save` writes, by name."""
    activation = next(name for name, f in ACTIVATIONS.items() if f == network.activation)
    texts = {"features": network.features, "classes": network.classes, "activation": activation}
    arrays = {name: np.array(text, np.str_) for name, text in texts.items()}
    for i, layer in enumerate(network.params):
        for name, leaf in leaves(layer):
            arrays[f"{i}.{name}"] = np.asarray(leaf)
    if network.scaling is not None:
        arrays |= dict(zip(_SCALING, map(np.asarray, network.scaling), strict=True))
    if network.target_scaling is not None:
        arrays |= dict(zip(_OF_TARGET, map(np.asarray, network.target_scaling), strict=True))
    if network.target is not None:
        arrays["target"] = np.array(network.target)
    if network.ranges is not None:
        arrays |= dict(zip(_RANGE, np.asarray(network.ranges), strict=True))
    if network.columns is not None:
        arrays |= column_arrays(network.columns)
    return arrays


def load_network(path: str | os.PathLike[str]) -> Network:
    """Read a network that `save` or scripts/train.py wrote.

    path: of the .npz archive.
    Returns a Network: its predict(x) and probabilities(x) take raw features, such as
        `datasets.read_features(file, network.columns or network.features)` reads.
    Raises FileNotFoundError where there is no such file, another OSError where it cannot be read,
        ValueError, which names the path, for what is no such archive, is damaged, lacks an array or
        holds arrays that do not fit together.

    >>> import tempfile
    >>> path = tempfile.mkdtemp() + "/params.npz"
    >>> params = jaxnet.init_mlp(jax.random.key(0), (2, 3), dtype=jnp.bfloat16)
    >>> jaxnet.save(path, jaxnet.Network(params, ["width", "height"], ["a", "b", "c"]))
    >>> network = jaxnet.load_network(path)
    >>> network.params[0].weight.dtype.name, network.probabilities([[1.0, 2.0]]).shape
    ('bfloat16', (1, 3))
    """
    path = _as_path("load_network", path)
    if path.is_dir():
        raise ValueError(f"{path}: a folder; expected the path of {_WRITTEN}")
    if not path.exists():
        raise FileNotFoundError(
            f"{path}: no such file; train.py writes one as params.npz, jaxnet.save where you say"
        )
    try:
        arrays = read_npz(path)
    except ValueError as error:
        raise ValueError(f"{error}; expected {_WRITTEN}") from error
    _require_arrays(path, arrays)
    try:
        return _network(arrays)
    except (TypeError, ValueError) as error:
        fault = str(error).removeprefix("Network: ")
        raise ValueError(f"{path}: {fault}; expected {_WRITTEN}") from error


def _require_arrays(path: Path, arrays: Mapping[str, NDArray[Any]]) -> None:
    """Raise unless these are the arrays of a network, none missing and none unknown."""
    depth = _depth(arrays)
    needed = {*_NAMES, *(f"{i}.{name}" for i in range(max(depth, 1)) for name in Layer._fields)}
    for group in (_SCALING, _OF_TARGET, _RANGE, COLUMN_ARRAYS):  # half of one is nonsense
        needed |= set(group) if any(name in arrays for name in group) else set()
    if missing := needed - arrays.keys():
        raise ValueError(f"{path}: no {', '.join(sorted(missing))} in it; expected {_WRITTEN}")
    layers = (f"{i}.{name}" for i in range(depth) for name in NormLayer._fields)
    groups = {*_SCALING, *_OF_TARGET, *_RANGE, *COLUMN_ARRAYS}
    known = {*_NAMES, "activation", "target", *groups, *layers}
    if unknown := arrays.keys() - known:
        raise ValueError(
            f"{path}: {', '.join(sorted(unknown))} in it, which this version does not know; "
            f"load it with the version that wrote it"
        )


def _depth(arrays: Mapping[str, NDArray[Any]]) -> int:
    return len([name for name in arrays if name.endswith(".weight")])


def _network(arrays: _Arrays) -> Network:
    activation = str(arrays.get("activation", "relu"))  # once there was no other
    if activation not in ACTIVATIONS:
        raise ValueError(f"activation must be one of {', '.join(ACTIVATIONS)}, got {activation!r}")
    features, classes = (_texts(name, arrays[name]) for name in _NAMES)
    return Network(
        cast(Params, tuple(_layer(arrays, i) for i in range(_depth(arrays)))),
        features,
        classes,
        ACTIVATIONS[activation],
        _scaling(arrays, _SCALING),
        np.stack([arrays[name] for name in _RANGE]) if _RANGE[0] in arrays else None,
        str(arrays["target"]) if "target" in arrays else None,
        columns_in(arrays) if COLUMN_ARRAYS[0] in arrays else None,
        _scaling(arrays, _OF_TARGET),
    )


def _scaling(arrays: _Arrays, names: tuple[str, str]) -> Scaling | None:
    return Scaling(*(arrays[name] for name in names)) if names[0] in arrays else None


def _layer(arrays: _Arrays, i: int) -> Any:
    leaves = {name: arrays.get(f"{i}.{name}") for name in NormLayer._fields}
    if leaves["scale"] is None and leaves["shift"] is None:
        return Layer(cast(Any, leaves["weight"]), cast(Any, leaves["bias"]))
    return NormLayer(**cast(Any, leaves))


def _texts(name: str, array: NDArray[Any]) -> tuple[str, ...]:
    if array.ndim != 1 or array.dtype.kind != "U":
        raise ValueError(f"{name} must be text, [{name}], got {array.dtype} {array.shape}")
    return tuple(array.tolist())
