"""The target of a table: its classes, the label of each row, and the split of the rows by them."""

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from jaxnet.datasets._table import Table, Texts, as_texts, listed, number_or_none
from jaxnet.datasets._task import REGRESSION, numbers_of, task_of

Rows = NDArray[np.intp]
Labels = NDArray[np.int32]


class Targets(NamedTuple):
    """Of two parts, the training and the test set: the rows of their tables, and y."""

    rows: tuple[Rows, Rows]
    ys: tuple[NDArray[Any], NDArray[Any]]
    classes: tuple[str, ...]  # none of a regression


def targets_of(
    tables: Sequence[Table],
    classes: tuple[str, ...] | None,
    test_fraction: float,
    seed: int,
    *,
    task: str | None,
    is_column: bool,
) -> Targets:
    """tables: the training and the test set, or one that is still to be split.

    task: None for what the target says; is_column: whether it is a column of the table.
    """
    if task_of(task, tables[0], is_column) == REGRESSION:
        return _numbers(tables, test_fraction, seed)
    return _labels(tables, classes, test_fraction, seed)


def _numbers(tables: Sequence[Table], test_fraction: float, seed: int) -> Targets:
    ys = [numbers_of(table, is_learnt=table is tables[0]) for table in tables]
    if len(tables) == 2:
        return Targets((np.arange(len(ys[0])), np.arange(len(ys[1]))), (ys[0], ys[1]), ())
    count = len(ys[0])
    rows = split(np.zeros(count, np.int32), np.array([count]), test_fraction, seed)
    return Targets(rows, (ys[0][rows[0]], ys[0][rows[1]]), ())


def _labels(
    tables: Sequence[Table], classes: tuple[str, ...] | None, test_fraction: float, seed: int
) -> Targets:
    first = tables[0]
    texts = [_label_texts(table, classes) for table in tables]
    classes = classes or _class_names(first.where, texts[0])
    if len(classes) < 2:
        raise ValueError(f"{first.where}: {classes[0]!r} is the only class; expected at least two")
    ys = [_to_labels(first.where, t, classes) for first, t in zip(tables, texts, strict=True)]

    is_split = len(tables) == 2
    counts = np.bincount(ys[0], minlength=len(classes))
    # A row of each class to learn from, and one to test on where both come from the same part.
    _require_rows(first.where, classes, counts, least=1 if is_split else 2)
    if is_split:
        rows = np.arange(len(ys[0])), np.arange(len(ys[1]))
        return Targets(rows, (ys[0], ys[1]), classes)
    y, rows = ys[0], split(ys[0], counts, test_fraction, seed)
    return Targets(rows, (y[rows[0]], y[rows[1]]), classes)


def _to_labels(where: str, texts: Texts, classes: tuple[str, ...]) -> Labels:
    labels = {name: label for label, name in enumerate(classes)}
    unknown = [code for code, text in enumerate(texts.texts) if text not in labels]
    for row in np.flatnonzero(np.isin(texts.codes, unknown))[:1]:
        raise ValueError(
            f"{where}: label {texts.texts[texts.codes[row]]!r} of row {row + 1}; "
            f"expected a training class, {listed(classes)}"
        )
    return np.array([labels[text] for text in texts.texts], np.int32)[texts.codes]


def _label_texts(table: Table, classes: tuple[str, ...] | None = None) -> Texts:
    """Labels as text, which text already is.

    An integer becomes its digits or, given `classes`, the name in that position.
    """
    y, where = table.target, table.where_target
    if isinstance(y, Texts):
        return y
    assert y is not None
    if y.dtype.kind not in "biuf":
        raise ValueError(f"{where}: {y.dtype}; expected integers or text")
    low, high = -math.inf, math.inf
    expected = "an integer, or for numbers --task regression (in Python task='regression')"
    if classes:
        low, high = 0, len(classes) - 1
        expected = f"0 to {high}, a position in classes"
    for row, label in enumerate(y.tolist(), start=1):
        if not float(label).is_integer() or not low <= label <= high:
            raise ValueError(f"{where}: label {label} of row {row}; expected {expected}")
    return as_texts(classes[int(label)] if classes else str(int(label)) for label in y)


def _class_names(where: str, labels: Texts) -> tuple[str, ...]:
    """The labels that occur, once each: sorted by value where all are numbers, else as text."""
    values = {text: number_or_none(text) for text in labels.texts}
    for text, value in values.items():
        if not text or (value is not None and not math.isfinite(value)):
            rows = np.flatnonzero(labels.codes == labels.texts.index(text))
            raise ValueError(
                f"{where}: label {text!r} of row {rows[0] + 1} is missing, one of {len(rows)} such "
                f"row(s); drop the row"
            )
    numbers = {text: value for text, value in values.items() if value is not None}
    if len(numbers) < len(values):
        return tuple(sorted(values))
    names = sorted(numbers, key=numbers.__getitem__)
    for name, other in pairwise(names):
        if numbers[name] == numbers[other]:
            raise ValueError(
                f"{where}: labels {name!r} and {other!r} are the same number; write it in one way"
            )
    return tuple(names)


def _require_rows(
    where: str, classes: tuple[str, ...], counts: NDArray[np.intp], least: int
) -> None:
    """counts: the rows of each class."""
    for class_name, count in zip(classes, counts, strict=True):
        if count < least:
            raise ValueError(
                f"{where}: class {class_name!r} has {count} row(s), too few; expected {least}"
            )


def split(
    y: Labels, counts: NDArray[np.intp], test_fraction: float, seed: int
) -> tuple[Rows, Rows]:
    """The rows of the training and of the test set, in random order."""
    order = np.random.default_rng(seed).permutation(len(y))
    tested = np.zeros(len(y), np.bool_)
    for label, count in enumerate(counts):
        share = min(max(round(test_fraction * count), 1), count - 1)
        tested[order[y[order] == label][:share]] = True
    return order[~tested[order]], order[tested[order]]
