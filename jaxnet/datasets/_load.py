"""The doors of the tables: a file or a data frame becomes a data set, or rows to predict."""

import os
import warnings
from collections.abc import Collection
from pathlib import Path
from typing import Any

from jaxnet.datasets._arrays import read_folder, read_npz
from jaxnet.datasets._column import features_of
from jaxnet.datasets._csv import read_csv
from jaxnet.datasets._dataset import Dataset
from jaxnet.datasets._encoding import columns_of, encoded, warn_of_unseen
from jaxnet.datasets._files import existing, suffix_of
from jaxnet.datasets._frames import names_of, read_frame, table_of
from jaxnet.datasets._options import Options, Shares, counters_of
from jaxnet.datasets._table import Table, listed
from jaxnet.datasets._targets import targets_of
from jaxnet.datasets._task import require_task
from jaxnet.datasets._usable import require_usable


def load(
    path: str | os.PathLike[str],
    target: str | None = None,
    *,
    task: str | None = None,
    drop: Collection[str] = (),
    features: Collection[str] | None = None,
    categorical: Collection[str] = (),
    impute: str | None = None,
    test_fraction: float = 0.2,
    validation_fraction: float = 0.0,
    seed: int = 0,
) -> Dataset:
    """Read a data set from one of three layouts.

    - A table in text with a header (.csv, .tsv, .txt ..., also .gz; UTF-8; cells between commas,
      semicolons, tabs or |): the column `target` holds the labels, text or numbers. Of the rest a
      column of numbers is a feature, and one of text has a feature for each of its values:
      `Column` says how. Dates, numbers that are missing, and numbers among text are an error that
      names every column concerned, and what mends it.
    - A folder with XTrain.txt, yTrain.txt, XTest.txt and yTest.txt: a row per line, numbers between
      white space, integer labels. The features are called x1, x2, ...
    - An .npz archive with x [rows, features] and y [rows], or with x_train, y_train, x_test and
      y_test; y is integer or text, or with task="regression" numbers. It may name `features` and
      `classes` (arrays of text); integers in y are then positions in `classes`.

    What comes in one part is shuffled and split: of each class (of a regression: of all rows) a
    fraction goes to the test set, rounded, at least one row to either side. Other layouts keep
    their order. Values and numbers to fill in are learnt from the training set; a value that only
    the test set has is a warning.

    path: of the folder or the file.
    target: the column with the labels, for a table in text; None for the others.
    task: "classification" or "regression". None for what the target column says: text, booleans
        and two different numbers are classes; of more numbers those with fractions are a
        regression's, and whole ones may be either, which is an error that asks. Without a target
        classification.
    drop: columns to leave out.
    features: the only columns to take; None for all.
    categorical: columns of numbers to take for categories, as codes are.
    impute: "median" or "mean" of the training rows, for missing numbers; a feature more says where.
        None: missing numbers are an error.
    test_fraction: between 0 and 1, of each class what goes to the test set, where there is one
        part.
    validation_fraction: below 1, of each class what is held out of the training set, to choose on.
        Nothing is learnt from these rows. 0: none.
    seed: of the shuffle, where there is one part, and of what is held out.
    Returns a Dataset. Numbers are parsed in float64 and kept in float32. Classes are sorted, by
        value where all of them are numbers.
    Raises FileNotFoundError where a file is missing, ValueError for an argument or a file that is
        not as described.

    >>> cells = jaxnet.datasets.load("data/breast_cancer.csv", "diagnosis", test_fraction=0.25)
    >>> print(len(cells.train[0]), len(cells.test[0]), cells.classes)
    427 142 ('benign', 'malignant')
    >>> print(jaxnet.datasets.load("data/course_twin").features[:3])
    ('x1', 'x2', 'x3')
    """
    path = existing("load", path)
    require_task("load", task)
    options = Options("load", target, drop, features, categorical, impute)
    shares = Shares("load", test_fraction, validation_fraction, seed)
    tables, classes = _read(path, options)
    return _dataset(tables, options, classes, shares, task)


def from_table(
    table: Any,
    target: str,
    *,
    task: str | None = None,
    drop: Collection[str] = (),
    features: Collection[str] | None = None,
    categorical: Collection[str] = (),
    impute: str | None = None,
    test_fraction: float = 0.2,
    validation_fraction: float = 0.0,
    seed: int = 0,
) -> Dataset:
    """A data set from a table in memory, as `load` makes one from a file.

    table: a DataFrame of pandas or polars, or a dict of columns by name. Its numbers are copied
        once, into float32.
    target: the column with the labels: text, booleans or numbers.
    task: "classification" or "regression"; None for what the labels say.
    drop: columns to leave out.
    features: the only columns to take; None for all.
    categorical: columns of numbers to take for categories.
    impute: "median" or "mean", for missing numbers; None where there are none.
    test_fraction: between 0 and 1, of each class what goes to the test set.
    validation_fraction: below 1, of each class what is held out of the training set; 0: none.
    seed: of the shuffle.
    Returns a Dataset.
    Raises TypeError or ValueError for an argument or a table that is not as described.

    >>> table = {"size": [1.0, 2.5, 3.0, 4.0] * 5, "kind": [*"abab"] * 5, "ok": [0, 1, 1, 0] * 5}
    >>> data = jaxnet.datasets.from_table(table, "ok")
    >>> print(data.features, data.train[0].shape)
    ('size', 'kind=a', 'kind=b') (16, 3)
    """
    require_task("from_table", task)
    options = Options("from_table", target, drop, features, categorical, impute)
    shares = Shares("from_table", test_fraction, validation_fraction, seed)
    names = names_of("from_table", table)
    wanted = options.wanted("from_table", names, "any")
    cells = read_frame("from_table", table, wanted)
    whole = table_of("from_table", cells, target, lambda row: f"row {row}")
    return _dataset([whole], options, None, shares, task)


def _dataset(
    tables: list[Table],
    options: Options,
    classes: tuple[str, ...] | None,
    shares: Shares,
    task: str | None,
) -> Dataset:
    """tables: the training and the test set, or one that is still to be split."""
    first, last = tables[0], tables[-1]
    options.require_features(first)
    require_usable(tables, options.categorical, options.impute)
    targets = targets_of(tables, classes, shares, task, is_column=options.target is not None)
    columns = columns_of(first, targets.rows[0], options.impute)
    parts = {"training": first, "test": last, "validation": first}
    sets = []
    for (name, table), rows, y in zip(parts.items(), targets.rows, targets.ys, strict=False):
        warn_of_unseen(table, columns, rows, f" of the {name} set", stacklevel=4)
        sets.append((encoded(table, columns, rows), y))
    train, test, *validation = sets
    return Dataset(
        train,
        test,
        features_of(columns),
        targets.classes,
        columns=columns,
        target=options.target,
        validation=validation[0] if validation else None,
    )


def _read(path: Path, options: Options) -> tuple[list[Table], tuple[str, ...] | None]:
    layout = "folder" if path.is_dir() else suffix_of(path)
    if layout in ("folder", ".npz"):
        tables, classes = read_folder(path) if layout == "folder" else read_npz(path)
        if options.target is not None:
            raise ValueError(
                f"target is {options.target!r}, but {path} has no column of that name: it holds "
                f"the labels apart, only a table in text has them in a column; leave it out"
            )
        return [options.applied(table) for table in tables], classes
    where = str(path)
    read = read_csv(path, lambda names: options.wanted(where, names, "text"))
    cells = read.columns
    counters = counters_of(where, cells, read.unnamed, options)
    if counters:
        cells = {name: column for name, column in cells.items() if name not in counters}
        warnings.warn(
            f"{path}: {listed(counters)} has no name and counts the rows, or is empty: left out",
            stacklevel=4,
        )
    return [table_of(where, cells, options.target, read.place)], None
