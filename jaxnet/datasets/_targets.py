"""The target of a table: its classes, the label of each row, and the split of the rows by them."""

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from jaxnet.datasets._options import Shares
from jaxnet.datasets._table import Table, Texts, as_texts, listed, number_or_none
from jaxnet.datasets._task import REGRESSION, numbers_of, task_of
from jaxnet.datasets._usable import SHOWN, missing_in_words

Rows = NDArray[np.intp]
Labels = NDArray[np.int32]


class Targets(NamedTuple):
    """Of the training and the test set, and the validation set if any: rows of a table, and y."""

    rows: tuple[Rows, ...]
    ys: tuple[NDArray[Any], ...]
    classes: tuple[str, ...]  # none of a regression


def targets_of(
    tables: Sequence[Table],
    classes: tuple[str, ...] | None,
    shares: Shares,
    task: str | None,
    *,
    is_column: bool,
) -> Targets:
    """tables: the training and the test set, or one that is still to be split.

    task: None for what the target says; is_column: whether it is a column of the table.
    """
    if task_of(task, tables[0], is_column) == REGRESSION:
        targets = _numbers(tables, shares)
    else:
        targets = _labels(tables, classes, shares)
    return (
        _with_validation(tables[0].where_target, targets, shares) if shares.validation else targets
    )


def _numbers(tables: Sequence[Table], shares: Shares) -> Targets:
    ys = [numbers_of(table, is_learnt=table is tables[0]) for table in tables]
    if len(tables) == 2:
        return Targets((np.arange(len(ys[0])), np.arange(len(ys[1]))), (ys[0], ys[1]), ())
    count = len(ys[0])
    rows = split(np.zeros(count, np.int32), np.array([count]), shares.test, shares.seed)
    return Targets(rows, (ys[0][rows[0]], ys[0][rows[1]]), ())


def _labels(tables: Sequence[Table], classes: tuple[str, ...] | None, shares: Shares) -> Targets:
    first = tables[0]
    texts = [_label_texts(table, classes) for table in tables]
    classes = classes or _class_names(first, texts[0])
    if len(classes) < 2:
        raise ValueError(
            f"{first.where_target}: {classes[0]!r} is the only class; expected at least two"
        )
    ys = [_to_labels(table, t, classes) for table, t in zip(tables, texts, strict=True)]

    is_split = len(tables) == 2
    counts = np.bincount(ys[0], minlength=len(classes))
    # A row of each class to learn from, and one to test on where both come from the same part.
    _require_rows(first.where_target, classes, counts, least=1 if is_split else 2)
    if is_split:
        rows = np.arange(len(ys[0])), np.arange(len(ys[1]))
        return Targets(rows, (ys[0], ys[1]), classes)
    y, rows = ys[0], split(ys[0], counts, shares.test, shares.seed)
    return Targets(rows, (y[rows[0]], y[rows[1]]), classes)


def _to_labels(table: Table, texts: Texts, classes: tuple[str, ...]) -> Labels:
    labels = {name: label for label, name in enumerate(classes)}
    unknown = [code for code, text in enumerate(texts.texts) if text not in labels]
    for row in np.flatnonzero(np.isin(texts.codes, unknown))[:1]:
        raise ValueError(
            f"{table.where_target}: label {texts.texts[texts.codes[row]]!r} in {table.place(row)}; "
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
    _require_labels(table, np.isnan(y))
    for row, label in enumerate(y.tolist()):
        if not float(label).is_integer() or not low <= label <= high:
            raise ValueError(f"{where}: label {label} in {table.place(row)}; expected {expected}")
    return as_texts(classes[int(label)] if classes else str(int(label)) for label in y)


def _require_labels(table: Table, missing: NDArray[np.bool_]) -> None:
    """missing: [rows]."""
    if missing.any():
        raise ValueError(
            f"{table.where_target}: the target has {missing_in_words(missing, table.place)}; drop "
            f"these rows, or fill the labels in (a word such as 'unknown' is a class of its own)"
        )


def _class_names(table: Table, labels: Texts) -> tuple[str, ...]:
    """The labels that occur, once each: sorted by value where all are numbers, else as text."""
    values = {text: number_or_none(text) for text in labels.texts}
    missing = [
        not text or (value is not None and not math.isfinite(value))
        for text, value in values.items()
    ]
    _require_labels(table, np.array(missing)[labels.codes])
    numbers = {text: value for text, value in values.items() if value is not None}
    if len(numbers) < len(values):
        return tuple(sorted(values))
    names = sorted(numbers, key=numbers.__getitem__)
    for name, other in pairwise(names):
        if numbers[name] == numbers[other]:
            raise ValueError(
                f"{table.where_target}: labels {name!r} and {other!r} are the same number; write "
                f"it in one way"
            )
    return tuple(names)


def _require_rows(
    where: str, classes: tuple[str, ...], counts: NDArray[np.intp], least: int
) -> None:
    """counts: the rows of each class."""
    few = [f"{classes[i]!r} has {counts[i]} row(s)" for i in np.flatnonzero(counts < least)]
    if few:
        is_number = all(number_or_none(name) is not None for name in classes)
        other = " (in Python task='regression') for numbers to predict"
        raise ValueError(
            f"{where}: class {', '.join(few[:SHOWN])}{', ...' * (len(few) > SHOWN)}, too few; "
            f"expected {least} of each class: drop such rows, or join classes"
            + f"; or say --task regression{other}"
            * is_number
        )


def _with_validation(where: str, targets: Targets, shares: Shares) -> Targets:
    """A part of the training rows becomes the validation set, as `hold_out` would have it."""
    y, classes = targets.ys[0], targets.classes
    labels = y if classes else np.zeros(len(y), np.int32)  # numbers have no classes
    counts = np.bincount(labels)
    for label in np.flatnonzero(counts == 1)[:1]:
        of = f"class {classes[label]!r} has" if classes else "there is"
        raise ValueError(
            f"{where}: {of} 1 training row, too few to hold one out for validation; expected at "
            f"least two, drop the class or the validation set"
        )
    picks = split(labels, counts, shares.validation, shares.seed)
    kept, held = ((targets.rows[0][pick], y[pick]) for pick in picks)
    return Targets((kept[0], targets.rows[1], held[0]), (kept[1], targets.ys[1], held[1]), classes)


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
