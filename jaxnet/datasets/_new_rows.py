"""New rows, of a file or a data frame, as the features that a network was trained on."""

import os
from collections.abc import Collection, Sequence
from typing import Any

import numpy as np

from jaxnet.datasets._column import Column
from jaxnet.datasets._csv import read_csv
from jaxnet.datasets._dataset import Features
from jaxnet.datasets._encoding import encoded, require_encodable, warn_of_unseen
from jaxnet.datasets._files import existing
from jaxnet.datasets._frames import names_of, read_frame, table_of
from jaxnet.datasets._table import Table, Texts, listed


def read_features(
    path: str | os.PathLike[str], features: Sequence[str] | Sequence[Column]
) -> Features:
    """Read rows to predict from a table in text.

    Columns are found by their name in the header; other columns are ignored, whatever they hold.

    path: of the file.
    features: names of columns of numbers, in the order in which they are wanted; or Columns, such
        as those of a Dataset or a Network.
    Returns [rows, features], float32. A value that no training row has is all zeros, and a warning
        says how many such cells there are.
    Raises FileNotFoundError for a missing file, ValueError for a missing column or a cell that is
        not a finite number where one is needed.

    >>> x = jaxnet.datasets.read_features("data/breast_cancer.csv", ["mean radius", "mean area"])
    >>> print(x.shape, x[0])
    (569, 2) [  17.99 1001.  ]
    """
    path = existing("read_features", path)
    columns = _as_columns(features)

    def choose(header: list[str]) -> dict[str, str]:
        return _kinds(str(path), header, columns)

    read = read_csv(path, choose)
    return _encoded_new(table_of(str(path), read.columns, None, read.place), columns)


def features_of_frame(function: str, frame: Any, columns: Sequence[Column]) -> Features:
    """What `read_features` does with a file, for a data frame."""
    kinds = _kinds(function, names_of(function, frame), columns)
    cells = read_frame(function, frame, kinds)
    return _encoded_new(table_of(function, cells, None, lambda row: f"row {row}"), columns)


def read_texts(
    path: str | os.PathLike[str], columns: Collection[str]
) -> dict[str, tuple[str, ...]]:
    """Read columns of a table as text: the labels, or what identifies a row.

    path: of the file.
    columns: names of columns; those that the file does not have are left out.
    Returns name -> the cells from the first row on, without white space around them.
    Raises FileNotFoundError for a missing file, ValueError for one that is no table.

    >>> texts = jaxnet.datasets.read_texts("data/breast_cancer.csv", ["diagnosis", "patient"])
    >>> print(texts.keys(), texts["diagnosis"][:2])
    dict_keys(['diagnosis']) ('malignant', 'malignant')
    """
    path = existing("read_texts", path)
    read = read_csv(path, lambda names: {name: "text" for name in names if name in columns})
    texts = {name: cells for name, cells in read.columns.items() if isinstance(cells, Texts)}
    return {name: tuple(cells.texts[code] for code in cells.codes) for name, cells in texts.items()}


def _as_columns(features: Any) -> list[Column]:
    is_list = isinstance(features, Collection) and not isinstance(features, str)
    if not is_list or not all(isinstance(feature, str | Column) for feature in features):
        raise TypeError(
            f"read_features: features is {features!r}; expected a list of names of columns, "
            f"such as {[str(features)]}, or of Columns"
        )
    return [feature if isinstance(feature, Column) else Column(feature) for feature in features]


def _kinds(where: str, header: Sequence[str], columns: Sequence[Column]) -> dict[str, str]:
    missing = [column.name for column in columns if column.name not in header]
    if missing:
        raise ValueError(
            f"{where}: no column {listed(missing)}; add or rename it, "
            f"the header has {listed(header)}"
        )
    return {c.name: "numbers" if c.categories is None else "text" for c in columns}


def _encoded_new(table: Table, columns: Sequence[Column]) -> Features:
    """Of rows that no training has seen."""
    require_encodable(table, columns)
    rows = np.arange(table.rows)
    warn_of_unseen(table, columns, rows, "", stacklevel=4)
    return encoded(table, columns, rows)
