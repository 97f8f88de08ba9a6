"""Data frames as tables: pandas', polars' and whatever has columns by name. None is imported."""

import datetime
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from jaxnet.datasets._cells import SHOWN
from jaxnet.datasets._table import (
    Cells,
    Dates,
    Mixed,
    Numbers,
    Table,
    Texts,
    as_texts,
    plain,
    rows_of,
)

_NO_VALUE = ("NAType", "NaTType")  # of pandas


def names_of(function: str, frame: Any) -> list[str]:
    """The names of the columns, as text."""
    found = None
    if hasattr(frame, "__getitem__") and hasattr(frame, "__len__"):
        found = frame if isinstance(frame, Mapping) else getattr(frame, "columns", None)
    if found is None:
        raise TypeError(
            f"{function}: the table is of type {type(frame).__name__}; expected a DataFrame "
            f"of pandas or polars (of a LazyFrame: collect() it), or a dict of columns by name"
        )
    names = list(found)
    for name in names:
        if not isinstance(name, str):
            raise TypeError(
                f"{function}: a column is called {name!r}; expected text, such as "
                f"frame.rename(columns=str)"
            )
        if names.count(name) > 1:
            raise ValueError(f"{function}: more than one column is called {name!r}; rename one")
    return names


def read_frame(function: str, frame: Any, wanted: Mapping[str, str]) -> dict[str, Cells]:
    """wanted: of each column what it holds: text, numbers or any."""
    return {name: _cells(function, name, frame[name], kind) for name, kind in wanted.items()}


def as_target(where: str, name: str, cells: Cells) -> Texts | NDArray[Any]:
    """Of a column that was read as any."""
    match cells:
        case Numbers(values):
            return values
        case Texts():
            return cells
        case Mixed(_, count, _):
            fault = f"text in {count} rows and numbers in others; expected one or the other"
        case Dates():
            fault = "dates or times; expected what is to be predicted of them, such as a year"
    raise ValueError(f"{where}: target {name!r} holds {fault}")


def _cells(function: str, name: str, column: Any, kind: str) -> Cells:
    if str(getattr(column, "dtype", "")) == "category":  # of pandas, which may be of numbers
        kind = "text"
    if np.ma.isMaskedArray(column):
        column = column.tolist()  # None for what is masked
    if isinstance(column, list | tuple):  # NumPy would make text of its numbers where one is text
        return _of_objects(function, name, list(column), kind)
    array = _array_of(function, name, column)
    if array.dtype.kind in "mM":
        return Dates(len(array), str(array[0]) if len(array) else "")
    if array.dtype.kind in "iuf" and kind != "text":
        return Numbers(array)
    if array.dtype.kind == "b" and kind == "numbers":
        return Numbers(array)
    return _of_objects(function, name, array.tolist(), kind)


def _array_of(function: str, name: str, column: Any) -> NDArray[Any]:
    array = np.asarray(column)
    if array.ndim != 1:
        raise ValueError(
            f"{function}: column {name!r} has shape {array.shape}; expected one cell for each row"
        )
    if array.dtype.kind not in "biufOUTmM":
        raise TypeError(
            f"{function}: column {name!r} is of dtype {array.dtype}; expected numbers, text or "
            f"booleans"
        )
    # float16 is too narrow to be compared with what float32 holds.
    return array.astype(np.float32) if array.dtype == np.float16 else array


def _of_objects(function: str, name: str, cells: list[Any], kind: str) -> Cells:
    cells = list(map(_value, cells))
    for row, cell in enumerate(cells):
        if isinstance(cell, datetime.date | datetime.time):
            return Dates(len(cells), str(cell))
        _require_cell(f"{function}: column {name!r}", row, cell)
    texts = [row for row, cell in enumerate(cells) if isinstance(cell, str | bool)]
    is_all = bool(texts) and len(texts) == len(cells) - cells.count(None)
    if kind == "text" or is_all:
        return as_texts(map(_text, cells))
    if texts:
        return Mixed(len(cells), len(texts), [(row, str(cells[row])) for row in texts[:SHOWN]])
    return Numbers(np.array(cells, np.float64))  # NaN for None


def _value(cell: Any) -> Any:
    return None if _is_missing(cell) else cell


def _require_cell(where: str, row: int, cell: Any) -> None:
    is_one = isinstance(cell, str | bool | int | float | None) or hasattr(cell, "__float__")
    is_one = is_one and not getattr(cell, "ndim", 0)  # an array has __float__ too
    if not is_one:
        raise TypeError(
            f"{where} holds a {type(cell).__name__} in row {row}; expected numbers, text or "
            f"booleans: drop the column, or make one of these of it"
        )


def _is_missing(cell: Any) -> bool:
    if cell is None or type(cell).__name__ in _NO_VALUE:
        return True
    return isinstance(cell, float) and cell != cell


def _text(cell: Any) -> str:
    if cell is None:
        return ""
    return cell.strip() if isinstance(cell, str) else plain(str(cell))


def length_of(where: str, columns: Mapping[str, Cells]) -> int:
    """The rows, which must be as many in each column."""
    lengths = {rows_of(cells): name for name, cells in columns.items()}
    if len(lengths) > 1:
        (one, name), (other, other_name), *_ = lengths.items()
        raise ValueError(
            f"{where}: column {name!r} has {one} rows and {other_name!r} has {other}; expected as "
            f"many in each"
        )
    return next(iter(lengths), 0)


def table_of(
    where: str, cells: Mapping[str, Cells], target: str | None, place: Callable[[int], str]
) -> Table:
    """target: the column that holds it, where there is one."""
    columns = {name: column for name, column in cells.items() if name != target}
    y = None if target is None else as_target(where, target, cells[target])
    return Table(where, where, columns, y, length_of(where, cells), place)
