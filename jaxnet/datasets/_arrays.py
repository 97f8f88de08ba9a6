"""Tables of numbers alone: .npz archives, and the folder of text files that the report has."""

import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from jaxnet.datasets._files import read_lines
from jaxnet.datasets._table import (
    LARGEST,
    Numbers,
    Table,
    Texts,
    as_texts,
    default_names,
    listed,
    number_or_none,
)

_FOLDER = ("XTrain.txt", "yTrain.txt", "XTest.txt", "yTest.txt")
_SPLIT = ("x_train", "y_train", "x_test", "y_test")


class Parts(NamedTuple):
    tables: list[Table]  # the training and the test set, or one that is still to be split
    classes: tuple[str, ...] | None  # None: those that occur


def read_folder(folder: Path) -> Parts:
    missing = [name for name in _FOLDER if not (folder / name).is_file()]
    if missing:
        raise FileNotFoundError(
            f"{folder}: no {listed(missing)}; expected a folder with {listed(_FOLDER)}"
        )
    tables: list[Table] = []
    for x_name, y_name in (_FOLDER[:2], _FOLDER[2:]):
        x_path, y_path = folder / x_name, folder / y_name
        x, y = _read_numbers(x_path, "x"), _read_numbers(y_path, "y")
        if y.shape[1] != 1:
            raise ValueError(f"{y_path}: {y.shape[1]} columns; expected one, a label per line")
        where = f"{x_path}", f"{y_path}", "line {}"
        tables.append(_table(where, x, y[:, 0], _names(tables, x)))
    return Parts(tables, None)


def _names(tables: Sequence[Table], x: NDArray[Any]) -> tuple[str, ...]:
    return tuple(tables[0].columns) if tables else default_names("x", x.shape[1])


def read_npz(path: Path) -> Parts:
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
        raise ValueError(f"{path}: arrays {listed(arrays)}; expected x and y, or {listed(_SPLIT)}")
    tables: list[Table] = []
    for x_key, y_key in pairs:
        x, y = arrays.pop(x_key), arrays.pop(y_key)
        _require_features(f"{path}, {x_key}", x)
        if y.ndim != 1:
            raise ValueError(
                f"{path}, {y_key}: shape {y.shape}; expected one label per row, [rows]"
            )
        where = f"{path}, {x_key}", f"{path}, {y_key}", "row {}"
        tables.append(_table(where, x, y, features or _names(tables, x)))
    return Parts(tables, classes)


def _table(
    where: tuple[str, str, str], x: NDArray[Any], y: NDArray[Any], features: tuple[str, ...]
) -> Table:
    """where: names of x and of y, and the place of a row, its number to be filled in."""
    name, name_of_y, place = where
    if not x.size:
        raise ValueError(f"{name}: shape {x.shape}; expected at least one row and one feature")
    if len(x) != len(y):
        raise ValueError(f"{name}: {len(x)} rows and {len(y)} labels; expected one label per row")
    if x.shape[1] != len(features):
        raise ValueError(
            f"{name}: {x.shape[1]} columns; expected {len(features)}, "
            f"the features {listed(features)}"
        )
    columns = {feature: Numbers(x[:, i]) for i, feature in enumerate(features)}
    first = 1 if "line" in place else 0
    target: Texts | NDArray[Any] = y
    if y.dtype.kind == "U":
        target = as_texts(str(label).strip() for label in y)
    return Table(name, name_of_y, columns, target, len(x), lambda row: place.format(row + first))


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


def _require_features(where: str, x: NDArray[Any]) -> None:
    if x.ndim != 2 or x.dtype.kind not in "biuf":
        raise ValueError(
            f"{where}: {x.dtype} with shape {x.shape}; expected real numbers [rows, features]"
        )


def _name_array(where: str, names: NDArray[Any]) -> tuple[str, ...]:
    if names.ndim != 1 or names.dtype.kind != "U" or len({*names, ""}) <= len(names):
        raise ValueError(
            f"{where}: {names.dtype} with shape {names.shape}; "
            f"expected names as text, all different"
        )
    return tuple(str(name) for name in names)


def _read_numbers(path: Path, letter: str) -> NDArray[np.float64]:
    """The numbers of a text file without a header, divided by white space.

    Errors call its columns by `letter` and number.
    """
    lines = [line.split() for line in read_lines(path)]
    width = next(len(cells) for cells in lines if cells)
    for line, cells in enumerate(lines, 1):
        if len(cells) != width:
            raise ValueError(
                f"{path}, line {line}: {len(cells)} cells; expected {width}, "
                f"as many as in the first row"
            )
    names = default_names(letter, width)

    def row(line: int, cells: list[str]) -> list[float]:
        return [
            _to_number(cell, f"{path}, line {line}, column {name!r}")
            for cell, name in zip(cells, names, strict=True)
        ]

    return np.array([row(line, cells) for line, cells in enumerate(lines, 1)])


def _to_number(text: str, where: str) -> float:
    value = number_or_none(text)
    if value is not None and abs(value) <= LARGEST:  # NaN is not <= either
        return value
    fault = "is no number" if value is None else "is no finite float32"
    raise ValueError(f"{where}: {text!r} {fault}; expected one like -1.5e3, or drop the row")
