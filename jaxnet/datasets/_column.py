"""How a column of a table becomes features: learnt from the training rows, the same for all."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import numpy as np
from numpy.typing import NDArray

COLUMN_ARRAYS = ("columns", "kinds", "values", "fills")


@dataclass(frozen=True)
class Column:
    """How a column of a table becomes features.

    A column of numbers is one feature, of its name; with `categories` there is a feature for each
    of them, 1 where a cell holds it and else 0, and a cell that holds another is all zeros.

    name: of the column.
    categories: the texts that it holds in training, '' among them where cells are empty; None for
        numbers.
    fill: the number that missing cells get; None where there may be none.
    indicator: whether a feature more says, by 1, that a number was missing.

    >>> jaxnet.datasets.Column("sex", categories=("female", "male")).features
    ('sex=female', 'sex=male')
    """

    name: str
    categories: tuple[str, ...] | None = None
    fill: float | None = None
    indicator: bool = False

    @property
    def features(self) -> tuple[str, ...]:
        """The names of its features, in their order.

        >>> jaxnet.datasets.Column("age", fill=30.0, indicator=True).features
        ('age', 'age is missing')
        """
        return tuple(name for name, _, _ in parts_of(self))


def parts_of(column: Column) -> Iterator[tuple[str, str, str]]:
    """Of each feature its name, what it is (number, missing or value), and of which value."""
    if column.categories is not None:
        for value in column.categories:
            yield f"{column.name}={value}", "value", value
        return
    yield column.name, "number", ""
    if column.indicator:
        yield f"{column.name} is missing", "missing", ""


def features_of(columns: Sequence[Column]) -> tuple[str, ...]:
    return tuple(name for column in columns for name in column.features)


def are_numbers(columns: Sequence[Column]) -> list[bool]:
    """Of each feature whether it holds numbers, and not 0 or 1 for no and yes."""
    return [kind == "number" for column in columns for _, kind, _ in parts_of(column)]


# In the file of a network: of each feature an entry


def column_arrays(columns: Sequence[Column]) -> dict[str, NDArray[Any]]:
    """None where all features are numbers as they were, which older versions read too."""
    rows = [
        (column.name, kind, value, math.nan if column.fill is None else column.fill)
        for column in columns
        for _, kind, value in parts_of(column)
    ]
    if all(kind == "number" and math.isnan(fill) for _, kind, _, fill in rows):
        return {}
    return dict(zip(COLUMN_ARRAYS, map(np.array, zip(*rows, strict=True)), strict=True))


def columns_in(arrays: Mapping[str, NDArray[Any]]) -> tuple[Column, ...]:
    """Raises ValueError where these are not such arrays."""
    found = [arrays[name] for name in COLUMN_ARRAYS]
    kinds = [array.dtype.kind for array in found]
    if kinds != ["U", "U", "U", "f"] or len({array.shape for array in found}) > 1:
        raise ValueError(f"{', '.join(COLUMN_ARRAYS)} must be three texts and a number of each")
    rows = zip(*(array.tolist() for array in found), strict=True)
    return tuple(_column(name, list(of)) for name, of in groupby(rows, key=lambda row: row[0]))


def _column(name: str, rows: list[tuple[str, str, str, float]]) -> Column:
    _, kinds, values, fills = zip(*rows, strict=True)
    fill = None if math.isnan(fills[0]) else fills[0]
    if set(kinds) == {"value"}:
        return Column(name, categories=values)
    if kinds not in (("number",), ("number", "missing")):
        raise ValueError(f"kinds of column {name!r} must be number, missing or value, got {kinds}")
    return Column(name, fill=fill, indicator=len(kinds) == 2)
