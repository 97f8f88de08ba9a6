"""Data sets: read, split, scale, batch. NumPy only.

Data enters here, so here it is checked: a file is read whole and right, or an error says where it
is wrong and how to mend it.
"""

import csv
import math
import os
import zipfile
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

Features: TypeAlias = NDArray[np.float32]  # [rows, features]
Labels: TypeAlias = NDArray[np.int32]  # [rows], 0 .. classes - 1
_Lines: TypeAlias = list[tuple[int, list[str]]]  # number and cells of each line

_FOLDER = ("XTrain.txt", "yTrain.txt", "XTest.txt", "yTest.txt")
_SPLIT = ("x_train", "y_train", "x_test", "y_test")
_LARGEST = float(np.finfo(np.float32).max)


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
    """A classification problem.

    train, test: (x [rows, features], float32; y [rows], int32).
    features: features[column] is the name of a column of x.
    classes: classes[label] is the name of a label.
    scaling: None while x is in the units of the file, else the map that `standardize` applied.

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


class _Part(NamedTuple):
    name: str  # what errors call it
    x: NDArray[np.float64]  # [rows, features]
    labels: list[str]


class _Table(NamedTuple):
    parts: list[_Part]  # the training and the test set, or one part that is still to be split
    features: tuple[str, ...]
    classes: tuple[str, ...] | None = None  # None: those that occur


def load(
    path: str | os.PathLike[str],
    target: str | None = None,
    *,
    test_fraction: float = 0.2,
    seed: int = 0,
) -> Dataset:
    """Read a data set from one of three layouts.

    - A folder with XTrain.txt, yTrain.txt, XTest.txt and yTest.txt: a row per line, numbers between
      white space, integer labels. The features are called x1, x2, ...
    - A .csv file (UTF-8) with a header: the column `target` holds the labels, text or numbers; the
      rest are features.
    - An .npz archive with x [rows, features] and y [rows], or with x_train, y_train, x_test and
      y_test; y is integer or text. It may name `features` and `classes` (arrays of text); integers
      in y are then positions in `classes`.

    What comes in one part is shuffled and split: of each class a fraction goes to the test set,
    rounded, at least one row to either side. Other layouts keep their order.

    path: of the folder or the file.
    target: the column with the labels, for a .csv file; None for the others.
    test_fraction: between 0 and 1, of each class what goes to the test set, where there is one
        part.
    seed: of the shuffle, where there is one part.
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
    path = _existing("load", path)
    _require_options(target, test_fraction, seed)
    table = _read(path, target)
    first = table.parts[0]
    xs = [_to_float32(part, table.features) for part in table.parts]
    classes = table.classes or _class_names(first)
    if len(classes) < 2:
        raise ValueError(f"{first.name}: {classes[0]!r} is the only class; expected at least two")
    ys = [_to_labels(part, classes) for part in table.parts]

    is_split = len(table.parts) == 2
    counts = np.bincount(ys[0], minlength=len(classes))
    # A row of each class to learn from, and one to test on where both come from the same part.
    _require_rows(first.name, classes, counts, least=1 if is_split else 2)
    if is_split:
        train, test = zip(xs, ys, strict=True)
    else:
        x, y = xs[0], ys[0]
        train, test = ((x[rows], y[rows]) for rows in _split(y, counts, test_fraction, seed))
    return Dataset(train, test, table.features, classes)


def standardize(data: Dataset) -> Dataset:
    """Shift and scale each feature to mean 0 and standard deviation 1 on the training set.

    The test set goes through the same map and has no part in it. A constant feature is only
    shifted: its scale is 1.

    data: a Dataset as `load` returns it.
    Returns a Dataset, whose `scaling` records the map.
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
    # In float64 sums of a float32 constant are exact, so that its spread is 0.
    x = data.train[0].astype(np.float64)
    spread = x.std(axis=0).astype(np.float32)
    mean = x.mean(axis=0).astype(np.float32)
    scale = np.where(spread == 0, np.float32(1), spread)
    train, test = (
        (((x - mean) / scale).astype(np.float32, copy=False), y) for x, y in (data.train, data.test)
    )
    return replace(data, train=train, test=test, scaling=Scaling(mean, scale))


def hold_out(
    data: tuple[Features, Labels], fraction: float, *, seed: int = 0
) -> tuple[tuple[Features, Labels], tuple[Features, Labels]]:
    """Split (x, y) as `load` does: of each class a fraction, rounded, goes to the second part.

    A validation set comes from the training set so, and `fit` chooses on it.

    data: (x [rows, ...], y [rows]), labels 0, 1, ... as those of a Dataset.
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
    counts = np.bincount(y)
    for label in np.flatnonzero(counts == 1)[:1]:
        raise ValueError(f"hold_out: class {label} has 1 row, too few; expected at least two")
    first, second = ((x[rows], y[rows]) for rows in _split(y, counts, fraction, seed))
    return first, second


def read_features(path: str | os.PathLike[str], features: Sequence[str]) -> Features:
    """Read rows to predict from a .csv file.

    Columns are found by their name in the header; other columns are ignored, whatever they hold.

    path: of the file.
    features: names of columns, in the order in which they are wanted.
    Returns [rows, features], float32.
    Raises FileNotFoundError for a missing file, ValueError for a missing column or a cell that is
        not a finite number.

    >>> x = jaxnet.datasets.read_features("data/breast_cancer.csv", ["mean radius", "mean area"])
    >>> print(x.shape, x[0])
    (569, 2) [  17.99 1001.  ]
    """
    path = _existing("read_features", path)
    is_list = isinstance(features, Collection) and not isinstance(features, str)
    if not is_list or not all(isinstance(name, str) for name in features):
        raise TypeError(
            f"read_features: features is {features!r}; expected a list of names of columns, "
            f"such as {[str(features)]}"
        )
    header, rows = _read_rows(path)
    missing = [name for name in features if name not in header]
    if missing:
        raise ValueError(
            f"{path}: no column {_listed(missing)}; add or rename it, "
            f"the header has {_listed(header)}"
        )
    columns = {name: header.index(name) for name in features}
    return _to_numbers(path, rows, columns).astype(np.float32)


def read_texts(
    path: str | os.PathLike[str], columns: Collection[str]
) -> dict[str, tuple[str, ...]]:
    """Read columns of a .csv file as text: the labels, or what identifies a row.

    path: of the file.
    columns: names of columns; those that the file does not have are left out.
    Returns name -> the cells from the first row on, without white space around them.
    Raises FileNotFoundError for a missing file, ValueError for one that is no table.

    >>> texts = jaxnet.datasets.read_texts("data/breast_cancer.csv", ["diagnosis", "patient"])
    >>> print(texts.keys(), texts["diagnosis"][:2])
    dict_keys(['diagnosis']) ('malignant', 'malignant')
    """
    header, rows = _read_rows(_existing("read_texts", path))
    found = [name for name in columns if name in header]
    return {name: tuple(cells[header.index(name)] for _, cells in rows) for name in found}


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


def _require_options(target: object, test_fraction: object, seed: object) -> None:
    if target is not None and not isinstance(target, str):
        raise TypeError(f"load: target is {target!r}; expected the name of a column, a text")
    if not isinstance(test_fraction, float | np.floating) or not 0 < test_fraction < 1:
        raise ValueError(
            f"load: test_fraction is {test_fraction!r}; "
            f"expected a number between 0 and 1, such as 0.2"
        )
    if not isinstance(seed, int | np.integer) or seed < 0:
        raise ValueError(f"load: seed is {seed!r}; expected a whole number, at least 0")


# The three layouts


def _read(path: Path, target: str | None) -> _Table:
    layout = "folder" if path.is_dir() else path.suffix.lower()
    if target is not None and layout != ".csv":
        raise ValueError(
            f"target is {target!r}, but {path} has no named columns, only a .csv file does; "
            f"leave it out"
        )
    match layout:
        case "folder":
            return _read_folder(path)
        case ".csv":
            return _read_csv(path, target)
        case ".npz":
            return _read_npz(path)
    raise ValueError(
        f"{path}: unknown layout; expected .csv, .npz or a folder with {_listed(_FOLDER)}"
    )


def _read_folder(folder: Path) -> _Table:
    missing = [name for name in _FOLDER if not (folder / name).is_file()]
    if missing:
        raise FileNotFoundError(
            f"{folder}: no {_listed(missing)}; expected a folder with {_listed(_FOLDER)}"
        )
    parts = []
    for x_name, y_name in (_FOLDER[:2], _FOLDER[2:]):
        x_path, y_path = folder / x_name, folder / y_name
        x, y = _read_numbers(x_path, "x"), _read_numbers(y_path, "y")
        if y.shape[1] != 1:
            raise ValueError(f"{y_path}: {y.shape[1]} columns; expected one, a label per line")
        parts.append(_Part(str(x_path), x, _label_texts(str(y_path), y[:, 0])))
    return _Table(parts, _default_names("x", parts[0].x.shape[1]))


def _read_csv(path: Path, target: str | None) -> _Table:
    header, rows = _read_rows(path)
    if target not in header:
        raise ValueError(
            f"{path}: target is {target!r}; expected the column with the labels, "
            f"one of {_listed(header)}"
        )
    columns = {name: index for index, name in enumerate(header) if name != target}
    labels = [cells[header.index(target)] for _, cells in rows]
    return _Table([_Part(str(path), _to_numbers(path, rows, columns), labels)], tuple(columns))


def _read_npz(path: Path) -> _Table:
    arrays = _read_arrays(path)
    features, classes = (
        _name_array(f"{path}, {key}", arrays.pop(key)) if key in arrays else None
        for key in ("features", "classes")
    )
    if arrays.keys() == {"x", "y"}:
        pairs = [("x", "y")]
    elif arrays.keys() == set(_SPLIT):
        pairs = [_SPLIT[:2], _SPLIT[2:]]
    else:
        raise ValueError(
            f"{path}: arrays {_listed(arrays)}; expected x and y, or {_listed(_SPLIT)}"
        )
    parts = []
    for x_key, y_key in pairs:
        x = _npz_features(f"{path}, {x_key}", arrays[x_key])
        y = arrays[y_key]
        if y.ndim != 1:
            raise ValueError(
                f"{path}, {y_key}: shape {y.shape}; expected one label per row, [rows]"
            )
        labels = _label_texts(f"{path}, {y_key}", y, classes)
        parts.append(_Part(f"{path}, {x_key}", x, labels))
    if features is None:
        features = _default_names("x", parts[0].x.shape[1])
    return _Table(parts, features, classes)


def _read_arrays(path: Path) -> dict[str, NDArray[Any]]:
    if not zipfile.is_zipfile(path):
        raise ValueError(f"{path}: not an .npz archive; write one with numpy.savez(path, x=x, y=y)")
    try:
        with np.load(path, allow_pickle=False) as archive:
            return {name: np.asarray(archive[name]) for name in archive.files}
    except (ValueError, zipfile.BadZipFile) as error:
        raise ValueError(
            f"{path}: {error}; write it with numpy.savez, from arrays of numbers or text"
        ) from error


def _npz_features(where: str, x: NDArray[Any]) -> NDArray[np.float64]:
    if x.ndim != 2 or x.dtype.kind not in "biuf":
        raise ValueError(
            f"{where}: {x.dtype} with shape {x.shape}; expected real numbers [rows, features]"
        )
    x = x.astype(np.float64)
    for row, column in np.argwhere(~(np.abs(x) <= _LARGEST))[:1]:  # NaN is not <= either
        raise ValueError(
            f"{where}[{row}, {column}] is {x[row, column]}; expected a finite float32, drop the row"
        )
    return x


# Text files


def _existing(function: str, path: object) -> Path:
    if not isinstance(path, str | os.PathLike):
        raise TypeError(
            f"{function}: path is of type {type(path).__name__}; expected the path of a file or a "
            f"folder, a str or a pathlib.Path"
        )
    path = Path(path)
    if not path.exists():
        raise FileNotFoundError(
            f"{path}: no such file or folder; a relative path starts from {Path.cwd()}"
        )
    return path


def _read_lines(path: Path) -> list[str]:
    try:
        # newline="": csv wants to see the ends of lines itself.
        with path.open(encoding="utf-8-sig", newline="") as file:
            lines = list(file)
    except UnicodeDecodeError as error:
        raise ValueError(
            f"{path}: not UTF-8 text ({error.reason}, byte {error.start}); save it as UTF-8"
        ) from error
    while lines and not lines[-1].strip():
        lines.pop()
    if not lines:
        raise ValueError(f"{path}: the file is empty; expected a row of data per line")
    return lines


def _read_rows(path: Path) -> tuple[list[str], _Lines]:
    """The header of a CSV file and the rows below it."""
    reader = csv.reader(_read_lines(path), skipinitialspace=True, strict=True)
    try:
        lines = [(reader.line_num, [cell.strip() for cell in cells]) for cells in reader]
    except csv.Error as error:
        raise ValueError(f"{path}, line {reader.line_num}: {error}; check the quotes") from error
    header = lines[0][1]
    for mark, name in ((";", "semicolon"), ("\t", "tab")):
        if len(header) == 1 and mark in header[0]:
            raise ValueError(
                f"{path}: one column, {header[0]!r}; it looks {name}-separated, save it with commas"
            )
    _require_same_width(path, lines)
    _require_names(path, header)
    rows = lines[1:]
    if not rows:
        raise ValueError(f"{path}: a header without rows; expected a row of data per line below it")
    return header, rows


def _require_names(path: Path, header: list[str]) -> None:
    if "" in header:
        raise ValueError(
            f"{path}: column {header.index('') + 1} has no name; "
            f"name it, or drop it if it counts the rows"
        )
    twice = [name for name in header if header.count(name) > 1]
    if twice:
        raise ValueError(f"{path}: more than one column is called {twice[0]!r}; rename or drop one")


def _read_numbers(path: Path, letter: str) -> NDArray[np.float64]:
    """The numbers of a text file without a header.

    Errors call its columns by `letter` and number.
    """
    lines = [(number, line.split()) for number, line in enumerate(_read_lines(path), start=1)]
    _require_same_width(path, lines)
    names = _default_names(letter, len(lines[0][1]))
    return _to_numbers(path, lines, {name: index for index, name in enumerate(names)})


def _require_same_width(path: Path, lines: _Lines) -> None:
    width = next(len(cells) for _, cells in lines if cells)
    for line, cells in lines:
        if len(cells) != width:
            raise ValueError(
                f"{path}, line {line}: {len(cells)} cells; expected {width}, "
                f"as many as in the first row"
            )


def _to_numbers(path: Path, rows: _Lines, columns: Mapping[str, int]) -> NDArray[np.float64]:
    def row(line: int, cells: list[str]) -> list[float]:
        return [_to_number(cells[i], path, line, name) for name, i in columns.items()]

    return np.array([row(line, cells) for line, cells in rows])


def _to_number(text: str, path: Path, line: int, column: str) -> float:
    value = _float_or_none(text)
    if value is not None and abs(value) <= _LARGEST:  # NaN is not <= either
        return value
    if not text:
        fault = "an empty cell"
    elif value is None:
        fault = f"{text!r} is no number"
    else:
        fault = f"{text!r} is no finite float32"
    raise ValueError(
        f"{path}, line {line}, column {column!r}: {fault}; "
        f"expected one like -1.5e3, or drop the row"
    )


def _float_or_none(text: str) -> float | None:
    if "_" in text:  # only Python reads 1_5 as 15
        return None
    try:
        return float(text)
    except ValueError:
        return None


# Checks and conversions that the layouts share


def _to_float32(part: _Part, features: tuple[str, ...]) -> Features:
    name, x, labels = part
    if not x.size:
        raise ValueError(f"{name}: shape {x.shape}; expected at least one row and one feature")
    if len(x) != len(labels):
        raise ValueError(
            f"{name}: {len(x)} rows and {len(labels)} labels; expected one label per row"
        )
    if x.shape[1] != len(features):
        raise ValueError(
            f"{name}: {x.shape[1]} columns; expected {len(features)}, "
            f"the features {_listed(features)}"
        )
    single = x.astype(np.float32)
    # A feature that varies little beside its size, as seconds since 1970 within an hour do, loses
    # what it tells to rounding: here where that takes more than a thousandth of its range.
    spread = np.ptp(x, axis=0)
    lost = np.abs(single - x).max(axis=0)
    for column in np.flatnonzero((spread > 0) & (lost > 1e-3 * spread))[:1]:
        raise ValueError(
            f"{name}: {features[column]!r} varies too little for float32; "
            f"subtract an offset or drop it"
        )
    return single


def _to_labels(part: _Part, classes: tuple[str, ...]) -> Labels:
    labels = {name: label for label, name in enumerate(classes)}
    for row, text in enumerate(part.labels, start=1):
        if text not in labels:
            raise ValueError(
                f"{part.name}: label {text!r} of row {row}; "
                f"expected a training class, {_listed(classes)}"
            )
    return np.array([labels[text] for text in part.labels], np.int32)


def _label_texts(where: str, y: NDArray[Any], classes: tuple[str, ...] | None = None) -> list[str]:
    """Labels as text, which text already is.

    An integer becomes its digits or, given `classes`, the name in that position.
    """
    if y.dtype.kind == "U":
        return [str(label).strip() for label in y]
    if y.dtype.kind not in "biuf":
        raise ValueError(f"{where}: {y.dtype}; expected integers or text")
    low, high, expected = -math.inf, math.inf, "an integer"
    if classes:
        low, high = 0, len(classes) - 1
        expected = f"0 to {high}, a position in classes"
    for row, label in enumerate(y.tolist(), start=1):
        if not float(label).is_integer() or not low <= label <= high:
            raise ValueError(f"{where}: label {label} of row {row}; expected {expected}")
    return [classes[int(label)] if classes else str(int(label)) for label in y]


def _class_names(part: _Part) -> tuple[str, ...]:
    """The labels that occur, once each: sorted by value where all are numbers, else as text."""
    values = {text: _float_or_none(text) for text in part.labels}
    for text, value in values.items():
        if not text or (value is not None and not math.isfinite(value)):
            raise ValueError(
                f"{part.name}: label {text!r} of row {part.labels.index(text) + 1} is missing; "
                f"drop the row"
            )
    numbers = {text: value for text, value in values.items() if value is not None}
    if len(numbers) < len(values):
        return tuple(sorted(values))
    names = sorted(numbers, key=numbers.__getitem__)
    for name, other in pairwise(names):
        if numbers[name] == numbers[other]:
            raise ValueError(
                f"{part.name}: labels {name!r} and {other!r} are the same number; "
                f"write it in one way"
            )
    return tuple(names)


def _require_rows(
    name: str, classes: tuple[str, ...], counts: NDArray[np.intp], least: int
) -> None:
    """counts: the rows of each class."""
    for class_name, count in zip(classes, counts, strict=True):
        if count < least:
            raise ValueError(
                f"{name}: class {class_name!r} has {count} row(s), too few; expected {least}"
            )


def _split(
    y: Labels, counts: NDArray[np.intp], test_fraction: float, seed: int
) -> tuple[NDArray[np.intp], ...]:
    """The rows of the training and of the test set, in random order."""
    order = np.random.default_rng(seed).permutation(len(y))
    tested = np.zeros(len(y), np.bool_)
    for label, count in enumerate(counts):
        share = min(max(round(test_fraction * count), 1), count - 1)
        tested[order[y[order] == label][:share]] = True
    return order[~tested[order]], order[tested[order]]


def _name_array(where: str, names: NDArray[Any]) -> tuple[str, ...]:
    if names.ndim != 1 or names.dtype.kind != "U" or len({*names, ""}) <= len(names):
        raise ValueError(
            f"{where}: {names.dtype} with shape {names.shape}; "
            f"expected names as text, all different"
        )
    return tuple(str(name) for name in names)


def _default_names(letter: str, count: int) -> tuple[str, ...]:
    return tuple(f"{letter}{number}" for number in range(1, count + 1))


def _listed(names: Collection[str]) -> str:
    shown = [repr(name) for name in names]
    return ", ".join(shown if len(shown) <= 40 else [*shown[:20], "...", *shown[-20:]])
