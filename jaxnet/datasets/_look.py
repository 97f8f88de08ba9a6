"""A look at the data before training: what may be other than a person thinks."""

import re
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from jaxnet.datasets._column import Column
from jaxnet.datasets._dataset import Dataset
from jaxnet.datasets._forms import is_amount
from jaxnet.datasets._table import MISSING, is_missing, looks_like_data, number_or_none

FEW = 10  # rows of a class
MANY = 10  # categories, of which hardly anybody has thought as such
ENOUGH = 20  # rows, to take a pattern for no chance
_ID = re.compile(r"(.*[ _.-])?(id|ids|index|key|nr|no|number|row|rownames?|uuid)", re.IGNORECASE)
_ID_AT_END = re.compile(r".*[a-z](ID|Id)")


def look(data: Dataset) -> list[str]:
    """What may be other than a person thinks, each in a sentence; none of it is an error.

    A header that looks like data; a column that numbers the rows; one that gives the label away;
    classes that differ in case or blanks alone, that stand for a missing label, that have a handful
    of rows; the share of the most frequent class.

    data: a Dataset as `load` returns it: before `standardize`.
    Returns the sentences.

    >>> table = {"id": range(80), "size": [1.0, 5.0] * 40, "ok": ["yes", "no", "Yes", "no"] * 20}
    >>> for remark in jaxnet.datasets.look(jaxnet.datasets.from_table(table, "ok")):
    ...     print(remark)
    'id': another whole number in every row, as an id; it says nothing of new rows: drop it?
    classes 'Yes' and 'yes' differ in case or blanks alone; are they one?
    50.0% of the training rows are of class 'no', the most frequent
    """
    return [*_of_names(data), *_of_columns(data), *_of_classes(data)]


def _of_names(data: Dataset) -> Iterator[str]:
    columns = data.columns or ()
    names = [column.name for column in columns] + [data.target] * (data.target is not None)
    if data.target is not None and looks_like_data([str(name) for name in names]):
        yield (
            f"half of the columns have a number for a name, such as {names[0]!r}; if the first "
            f"line of the file is data, put a line of names above it"
        )


def _of_columns(data: Dataset) -> Iterator[str]:
    x, y = data.train
    start = 0
    for column in data.columns or ():
        end = start + len(column.features)
        part = x[:, start:end]
        start = end
        if column.indicator:
            missing = f"{part[:, 1].sum():g} of {len(x)} training rows"
            yield f"{column.name!r}: filled in with {column.fill:g} in {missing}"
        if len(x) < ENOUGH:
            continue
        if column.categories is not None:
            yield from _of_categories(column, part)
        elif _is_id(column.name, part[:, 0]):
            yield (
                f"{column.name!r}: another whole number in every row, as an id; it says nothing of "
                f"new rows: drop it?"
            )
        if data.classes and _gives_away(part, y, column):
            yield (
                f"{column.name!r} alone gives the label of every training row; is it known of new "
                f"rows, or the label in other words? then drop it"
            )


def _of_categories(column: Column, x: NDArray[np.float32]) -> Iterator[str]:
    count = len(column.categories or ())
    if amount := _amount(column):
        yield (
            f"{column.name!r}: texts that begin as numbers do, such as {amount!r}, each a "
            f"category; if they are amounts, write them as numbers alone"
        )
    if count > ENOUGH and 2 * count > len(x):
        yield (
            f"{column.name!r}: {count} different texts in {len(x)} rows, as names or ids, each a "
            f"feature of its own; they say nothing of new rows: drop it?"
        )


def _amount(column: Column) -> str | None:
    """One of the categories, where there are many and each begins as a number, but is none."""
    held = [text for text in column.categories or () if not is_missing(text)]
    if len(held) <= MANY or not all(map(is_amount, held)):
        return None
    return next((text for text in held if number_or_none(text) is None), None)


def _is_id(name: str, values: NDArray[np.float32]) -> bool:
    """Whole numbers, all different, that are near each other or have the name of an id."""
    if (values != np.floor(values)).any() or len(np.unique(values)) < len(values):
        return False
    is_dense = float(np.ptp(values)) < 2 * len(values)
    return is_dense or bool(_ID.fullmatch(name) or _ID_AT_END.fullmatch(name))


def _gives_away(x: NDArray[np.float32], y: NDArray[np.int32], column: Column) -> bool:
    """Whether each value, or each stretch of numbers, is of one class alone."""
    if len(np.unique(y)) < 2:
        return False
    values = x.argmax(axis=1) if column.categories is not None else x[:, 0]
    order = np.lexsort((y, values))
    values, y = values[order], y[order]
    is_new = values[1:] != values[:-1]
    changes = y[1:] != y[:-1]
    if (changes & ~is_new).any():
        return False
    stretches = int(changes.sum()) + 1
    of_each = (int(is_new.sum()) + 1) * 5 <= len(y)  # values with enough rows to be no chance
    return of_each or (column.categories is None and stretches == len(np.unique(y)))


def _of_classes(data: Dataset) -> Iterator[str]:
    if not data.classes:
        return
    alike: dict[str, list[str]] = {}
    for name in data.classes:
        alike.setdefault(" ".join(name.casefold().split()), []).append(name)
    for names in alike.values():
        if len(names) > 1:
            shown = " and ".join(map(repr, names))
            yield f"classes {shown} differ in case or blanks alone; are they one?"
    counts = np.bincount(data.train[1], minlength=len(data.classes))
    for name, count in zip(data.classes, counts, strict=True):
        if name.lower() in MISSING:
            yield f"class {name!r} ({count} training rows): if it stands for no label, drop them"
    few = [f"{data.classes[i]!r} {counts[i]}" for i in np.flatnonzero(counts < FEW)]
    if few:
        shown = ", ".join(few[:5]) + ", ..." * (len(few) > 5)
        yield f"classes with a handful of training rows, of which little can be learnt: {shown}"
    most = int(np.argmax(counts))
    share = counts[most] / counts.sum()
    yield f"{share:.1%} of the training rows are of class {data.classes[most]!r}, the most frequent"
