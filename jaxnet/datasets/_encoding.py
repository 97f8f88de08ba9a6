"""Columns become features: what is learnt from the training rows, and how rows are encoded."""

import math
import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from jaxnet.datasets._column import Column, features_of
from jaxnet.datasets._table import (
    LARGEST,
    Cells,
    Dates,
    Mixed,
    Numbers,
    Table,
    Texts,
    in_shell,
    number_or_none,
    plain,
)
from jaxnet.datasets._usable import missing_in_words

Rows = NDArray[np.intp]
SHOWN = 5


def columns_of(table: Table, rows: Rows, impute: str | None) -> tuple[Column, ...]:
    """Learnt from these rows.

    Raises ValueError where two features would have one name.
    """
    columns = tuple(
        _column_of(table.where, name, cells, rows, impute) for name, cells in table.columns.items()
    )
    names = features_of(columns)
    if len(set(names)) < len(names):
        twice = [name for name in names if names.count(name) > 1]
        raise ValueError(
            f"{table.where}: two features would be called {twice[0]!r}; rename a column"
        )
    return columns


def _column_of(where: str, name: str, cells: Cells, rows: Rows, impute: str | None) -> Column:
    if isinstance(cells, Texts):
        held = {plain(cells.texts[code]) for code in np.unique(cells.codes[rows])}
        return Column(name, categories=tuple(sorted(held, key=_by_value)))
    assert isinstance(cells, Numbers)
    if impute is None:
        return Column(name)
    values = cells.values[rows].astype(np.float64)
    missing = np.isnan(values)
    if missing.all():
        raise ValueError(
            f"{where}: no training row has a value of {name!r}; leave the column out "
            f"(--drop {in_shell([name])}, in Python drop=[{name!r}])"
        )
    known = values[~missing]
    fill = float(np.float32(np.median(known) if impute == "median" else known.mean()))
    return Column(name, fill=fill, indicator=bool(missing.any()))


def _by_value(text: str) -> tuple[float, str]:
    value = number_or_none(text)
    return (math.inf if value is None else value, text)


def encoded(table: Table, columns: Sequence[Column], rows: Rows) -> NDArray[np.float32]:
    """[rows, features]; the only copy of the numbers."""
    x = np.zeros((len(rows), len(features_of(columns))), np.float32)
    start = 0
    for column in columns:
        end = start + len(column.features)
        _encode(table, column, rows, x[:, start:end])
        start = end
    return x


def _encode(table: Table, column: Column, rows: Rows, into: NDArray[np.float32]) -> None:
    cells = table.columns[column.name]
    if column.categories is not None:
        assert isinstance(cells, Texts)
        places = _places(cells, column)[cells.codes[rows]]
        known = np.flatnonzero(places >= 0)
        into[known, places[known]] = 1
        return
    assert isinstance(cells, Numbers)
    into[:, 0] = cells.values[rows]
    if column.fill is not None:
        missing = np.isnan(into[:, 0])
        into[missing, 0] = column.fill
        if column.indicator:
            into[:, 1] = missing


def _places(cells: Texts, column: Column) -> NDArray[np.intp]:
    """Of each text its place among the categories, or -1."""
    place = {text: i for i, text in enumerate(column.categories or ())}
    return np.array([place.get(plain(text), -1) for text in cells.texts], np.intp)


def warn_of_unseen(
    table: Table, columns: Sequence[Column], rows: Rows, which: str, stacklevel: int
) -> None:
    """Say how many cells hold what no training row does."""
    said = []
    for column in columns:
        cells = table.columns[column.name]
        if isinstance(cells, Texts):
            codes = cells.codes[rows]
            unseen = _places(cells, column)[codes] < 0
            texts = [cells.texts[code] for code in np.unique(codes[unseen])]
            if texts:
                shown = ", ".join(map(repr, texts[:SHOWN])) + ", ..." * (len(texts) > SHOWN)
                said.append(f"{unseen.sum()} of {column.name!r} ({shown})")
    if said:
        warnings.warn(
            f"{table.where}: cells{which} hold what no training row does, and all features of "
            f"their column are 0 there: {'; '.join(said)}",
            stacklevel=stacklevel,
        )


def require_encodable(table: Table, columns: Sequence[Column]) -> None:
    """Raise ValueError, for all columns together, unless each holds what its features are of."""
    faults = {column.name: _fault_of(table, column) for column in columns}
    lines = "\n".join(f"  {name!r}: {said}" for name, said in faults.items() if said)
    if lines:
        raise ValueError(
            f"{table.where}: cells that must hold numbers do not:\n{lines}\n"
            f"write them as 1234.5, fill them in or drop the rows; a network trained with --impute "
            f"median (in Python impute='median') takes missing ones"
        )


def _fault_of(table: Table, column: Column) -> str | None:
    match table.columns[column.name]:
        case Numbers(values):
            return _fault_of_numbers(table, values, column.fill is not None)
        case Mixed(_, _, [(row, text), *_]):
            return f"{text!r} in {table.place(row)} is no number"
        case Texts(codes, texts) if column.categories is None and len(codes):  # of a data frame
            return f"{texts[codes[0]]!r} in {table.place(0)} is text, no number"
        case Dates(_, first):
            return f"dates or times, such as {first!r}"
    return None


def _fault_of_numbers(table: Table, values: NDArray[Any], is_filled: bool) -> str | None:
    missing = np.isnan(values)
    for row in np.flatnonzero(~(np.abs(values) <= LARGEST) & ~missing)[:1]:
        return f"{values[row]:g} in {table.place(int(row))} is no finite float32"
    return missing_in_words(missing, table.place) if missing.any() and not is_filled else None
