"""A data set: training and test rows, scaled, held out, in batches."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from jaxnet.datasets._column import Column, are_numbers
from jaxnet.datasets._targets import split

Features: TypeAlias = NDArray[np.float32]  # [rows, features]
Labels: TypeAlias = NDArray[Any]  # int32 [rows], 0 .. classes - 1; or float32 [rows, 1]


class Scaling(NamedTuple):
    """The map x -> (x - mean) / scale, per feature.

    mean, scale: [features], float32, in the units of the features.

    >>> scaling = jaxnet.datasets.Scaling(mean=np.float32([5]), scale=np.float32([2]))
    >>> print((np.float32([[7]]) - scaling.mean) / scaling.scale)
    [[1.]]
    """

    mean: NDArray[np.float32]
    scale: NDArray[np.float32]


@dataclass(frozen=True, eq=False)  # by identity: arrays have no single truth value to compare by
class Dataset:
    """A classification problem, or a regression.

    train, test: (x [rows, features], float32; y [rows], int32), y of a regression [rows, 1],
        float32.
    features: features[column] is the name of a column of x.
    classes: classes[label] is the name of a label; () of a regression.
    scaling: None while x is in the units of the file, else the map that `standardize` applied.
    columns: how the columns of the table became features, in their order; None where all features
        are numbers as they were.
    target: the name of the column with the labels; None where it has none.
    target_scaling: of a regression that is standardized, what was done to y, [1] each.
    validation: (x, y) as those of train, which nothing was learnt from; None where no rows were
        held out.

    >>> data = jaxnet.datasets.load("data/breast_cancer.csv", target="diagnosis")
    >>> x, y = data.train
    >>> print(x.shape, y.shape, data.features[0], data.classes)
    (456, 30) (456,) mean radius ('benign', 'malignant')
    """

    train: tuple[Features, Labels]
    test: tuple[Features, Labels]
    features: tuple[str, ...]
    classes: tuple[str, ...]
    scaling: Scaling | None = None
    columns: tuple[Column, ...] | None = None
    target: str | None = None
    target_scaling: Scaling | None = None
    validation: tuple[Features, Labels] | None = None


def standardize(data: Dataset) -> Dataset:
    """Shift and scale each feature to mean 0 and standard deviation 1 on the training set.

    The other sets go through the same map and have no part in it. A constant feature is only
    shifted: its scale is 1. Features of a category, 0 or 1, stay as they are. The numbers that a
    regression predicts are scaled as well.

    data: a Dataset as `load` returns it.
    Returns a Dataset, whose `scaling` records the map, and `target_scaling` that of the numbers.
    Raises ValueError if `data` is standardized already, as two maps in a row would leave only the
        second on record.

    >>> data = jaxnet.datasets.standardize(jaxnet.datasets.load("data/course_twin"))
    >>> x, y = data.train
    >>> print(np.abs(x.mean(axis=0)).max() < 1e-6, np.abs(x.std(axis=0) - 1).max() < 1e-6)
    True True
    """
    if not isinstance(data, Dataset):
        raise TypeError(
            f"standardize: data is of type {type(data).__name__}; expected a Dataset, as load "
            f"returns it, for which mean and scale are kept (of a pair of arrays compute them with "
            f"x.mean(axis=0) and x.std(axis=0))"
        )
    if data.scaling is not None:
        raise ValueError(
            "data is standardized already (data.scaling is set); pass it as load returned it"
        )
    mean, scale = _scaling_of(data.train[0])
    if data.columns is not None:
        is_number = np.array(are_numbers(data.columns))
        mean, scale = np.where(is_number, mean, 0), np.where(is_number, scale, 1)
        mean, scale = mean.astype(np.float32), scale.astype(np.float32)
    scaling = Scaling(mean, scale)
    of_target = None if data.classes else _scaling_of(data.train[1])

    def mapped(x: Features, y: Labels) -> tuple[Features, Labels]:
        return _scaled(x, scaling), y if of_target is None else _scaled(y, of_target)

    return replace(
        data,
        train=mapped(*data.train),
        test=mapped(*data.test),
        validation=None if data.validation is None else mapped(*data.validation),
        scaling=scaling,
        target_scaling=of_target,
    )


def _scaling_of(x: Features) -> Scaling:
    # In float64 sums of a float32 constant are exact, so that its spread is 0.
    wide = x.astype(np.float64)
    spread = wide.std(axis=0).astype(np.float32)
    return Scaling(
        wide.mean(axis=0).astype(np.float32), np.where(spread == 0, np.float32(1), spread)
    )


def _scaled(x: Features, scaling: Scaling) -> Features:
    return ((x - scaling.mean) / scaling.scale).astype(np.float32, copy=False)


def hold_out(
    data: tuple[Features, Labels], fraction: float, *, seed: int = 0
) -> tuple[tuple[Features, Labels], tuple[Features, Labels]]:
    """Split (x, y) as `load` does: of each class a fraction, rounded, goes to the second part.

    A validation set comes from the training set so, and `fit` chooses on it. `load` holds one out
    by itself, with validation_fraction, before anything is learnt from the training set.

    data: (x [rows, ...], y [rows]), labels 0, 1, ... as those of a Dataset, or y floating, of
        which a fraction is held out.
    fraction: between 0 and 1. At least one row of each class goes to either part.
    seed: of the order, which is random in both parts.
    Returns two pairs (x, y).
    Raises ValueError for a fraction out of range and for a class with a single row.

    >>> cells = jaxnet.datasets.load("data/breast_cancer.csv", "diagnosis")
    >>> train, validation = jaxnet.datasets.hold_out(cells.train, 0.25)
    >>> print(len(train[0]), len(validation[0]))
    342 114
    """
    if not 0 < fraction < 1:
        raise ValueError(f"fraction is {fraction}; expected a number between 0 and 1, such as 0.2")
    x, y = data
    labels = y if y.dtype.kind in "iu" else np.zeros(len(y), np.int32)  # numbers have no classes
    counts = np.bincount(labels)
    for label in np.flatnonzero(counts == 1)[:1]:
        raise ValueError(f"hold_out: class {label} has 1 row, too few; expected at least two")
    first, second = ((x[rows], y[rows]) for rows in split(labels, counts, fraction, seed))
    return first, second


def batches(
    x: NDArray[Any], y: NDArray[Any], batch_size: int, rng: np.random.Generator | None = None
) -> Iterator[tuple[NDArray[Any], NDArray[Any]]]:
    """One pass over rows, `batch_size` of them at a time.

    x: [rows, ...], of any dtype.
    y: [rows, ...], of any dtype.
    batch_size: a whole number, at least 1; the last batch may be smaller.
    rng: shuffles the rows, in a new order at every call with the same generator; None keeps their
        order.
    Returns an iterator of pairs, of x and of y.
    Raises ValueError, at the call, for a batch size below 1 and for numbers of rows that differ.

    >>> x, y = np.zeros((5, 3)), np.array([0, 1, 0, 1, 1])
    >>> for x_batch, y_batch in jaxnet.datasets.batches(x, y, batch_size=2):
    ...     print(x_batch.shape, y_batch)
    (2, 3) [0 1]
    (2, 3) [0 1]
    (1, 3) [1]
    """
    if not isinstance(batch_size, int | np.integer) or batch_size < 1:
        raise ValueError(
            f"batches: batch_size is {batch_size}; expected a whole number, at least 1"
        )
    _require_arrays(x=x, y=y)
    if rng is not None and not isinstance(rng, np.random.Generator):
        raise TypeError(
            f"batches: rng is {rng!r}; expected a generator, such as np.random.default_rng(0), "
            f"or None"
        )
    if len(x) != len(y):
        raise ValueError(
            f"batches: x has {len(x)} rows and y has {len(y)}; expected one label per row"
        )
    order = np.arange(len(x)) if rng is None else rng.permutation(len(x))
    picks = (order[start : start + batch_size] for start in range(0, len(x), batch_size))
    return ((x[pick], y[pick]) for pick in picks)


def _require_arrays(**arrays: object) -> None:
    for name, array in arrays.items():
        if not hasattr(array, "shape") or not hasattr(array, "dtype"):
            raise TypeError(
                f"batches: {name} is of type {type(array).__name__}; expected an array, "
                f"np.asarray({name})"
            )
