"""Tables in text, with a header: which separator, which line is wrong, what each column holds."""

import csv
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import chain, islice
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from jaxnet.datasets._cells import Collected
from jaxnet.datasets._files import opened_lines, require_table, suffix_of
from jaxnet.datasets._table import Cells, looks_like_data

SEPARATORS = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "bars"}
_AT_ONCE = 8192  # rows
_LOOKED_AT = 50  # lines, to find the separator


class Read(NamedTuple):
    """What was read of a file."""

    columns: dict[str, Cells]
    lines: NDArray[np.int32]  # [rows], where in the file each row ends
    unnamed: frozenset[str]  # columns that the header has no name for

    def place(self, row: int) -> str:
        return f"line {self.lines[row]}"


def read_csv(path: Path, choose: Callable[[list[str]], Mapping[str, str]]) -> Read:
    """choose(names of the header) -> of each wanted column what it holds: text, numbers or any.

    A column without a name is called `column 3`, by its place.
    """
    require_table(path)
    with opened_lines(path) as lines:
        some = list(islice(lines, _LOOKED_AT))
        if not some:
            raise ValueError(f"{path}: the file is empty; expected a row of data per line")
        reader = csv.reader(
            chain(some, lines),
            delimiter=_separator(path, some),
            skipinitialspace=True,
            strict=True,
        )
        try:
            return _read_columns(path, reader, choose)
        except csv.Error as error:
            raise ValueError(
                f"{path}, line {reader.line_num}: {error}; check the quotes"
            ) from error


def _read_columns(
    path: Path, reader: Any, choose: Callable[[list[str]], Mapping[str, str]]
) -> Read:
    header = [cell.strip() for cell in next(reader)]
    names = _names(path, header, reader.line_num)
    chunks = _chunks(path, reader, len(header))
    first = next(chunks, None)  # before a name is missed: the header may be further down
    if first is None:
        raise ValueError(f"{path}: a header without rows; expected a row of data per line below it")
    wanted = choose(names)
    collected = {name: Collected(kind) for name, kind in wanted.items()}
    places = {name: names.index(name) for name in wanted}
    lines: list[NDArray[np.int32]] = []
    row = 0
    for rows, ends in chain([first], chunks):
        lines.append(ends)
        by_column = list(zip(*rows, strict=True))
        for name, cells in collected.items():
            cells.add(by_column[places[name]], row)
        row += len(rows)
    unnamed = frozenset(name for name, cell in zip(names, header, strict=True) if not cell)
    columns = {name: cells.column() for name, cells in collected.items()}
    return Read(columns, np.concatenate(lines), unnamed)


def _chunks(
    path: Path, reader: Any, width: int
) -> Iterator[tuple[list[list[str]], NDArray[np.int32]]]:
    """Some thousand rows at a time, and the lines in which they end."""
    end = reader.line_num
    for rows in iter(lambda: list(islice(reader, _AT_ONCE)), []):
        ends = _ends_of_rows(rows, end, reader.line_num)
        _require_same_width(path, rows, ends, width)
        yield rows, ends
        end = reader.line_num


def _ends_of_rows(rows: Sequence[Sequence[str]], before: int, after: int) -> NDArray[np.int32]:
    """The number of the line in which each row ends; a cell in quotes may hold ends of lines."""
    if after - before == len(rows):
        return np.arange(before + 1, after + 1, dtype=np.int32)
    heights = [1 + sum(map(_ends_of_lines, cells)) for cells in rows]
    return before + np.cumsum(heights, dtype=np.int32)


def _ends_of_lines(cell: str) -> int:
    return cell.count("\n") + cell.count("\r") - cell.count("\r\n")


def _require_same_width(
    path: Path, rows: Sequence[Sequence[str]], ends: NDArray[np.int32], width: int
) -> None:
    widths = [len(cells) for cells in rows]
    if set(widths) == {width}:
        return
    odd = next(i for i, found in enumerate(widths) if found != width)
    cells, why = rows[odd], ""
    if not cells:
        why = "; remove the empty line"
    elif set(widths) == {width + 1} and not any(cells[-1] for cells in rows):
        why = "; no row is as the header: remove the separator at the end of each row"
    elif len(set(widths)) == 1:
        why = (
            "; no row is as the header: give each column a name there, row names of R too, remove "
            "lines above it, and put cells that hold a separator into quotes"
        )
    elif len(cells) > width:
        why = "; put a cell that holds a separator into quotes"
    raise ValueError(
        f"{path}, line {ends[odd]}: {len(cells)} cells; expected {width}, as many as in the first "
        f"row{why}"
    )


def _names(path: Path, header: list[str], line: int) -> list[str]:
    if not header:
        raise ValueError(
            f"{path}, line {line}: 0 cells; expected names of columns; remove the line"
        )
    names = [name or f"column {place}" for place, name in enumerate(header, 1)]
    mend = ""
    if looks_like_data(header):
        mend = " (if the first line is data already, put a line of names above it)"
    for name in names:
        if names.count(name) > 1:
            raise ValueError(
                f"{path}: more than one column is called {name!r}; rename or drop one{mend}"
            )
    return names


# Which separator


def _separator(path: Path, some: Sequence[str]) -> str:
    """The one that divides the header, and the lines below it alike."""
    if suffix_of(path) in (".tsv", ".tab") and "\t" in some[0]:
        return "\t"
    widths = {separator: _widths(some, separator) for separator in SEPARATORS}
    dividing = [separator for separator, found in widths.items() if found[:1] > [1]]
    if not dividing:
        _require_no_blanks(path, some)
        return ","
    alike = [separator for separator in dividing if len(set(widths[separator])) == 1]
    best = _widest(alike or dividing, widths)
    if alike:
        _require_one(path, best)
    return best[0]


def _require_one(path: Path, separators: Sequence[str]) -> None:
    if len(separators) > 1:
        names = " and ".join(SEPARATORS[separator] for separator in separators)
        raise ValueError(
            f"{path}: {names} divide every line alike; save it with one of them in quotes"
        )


def _widest(separators: Sequence[str], widths: Mapping[str, Sequence[int]]) -> list[str]:
    """Those that make the most cells of the header."""
    most = max(widths[separator][0] for separator in separators)
    return [separator for separator in separators if widths[separator][0] == most]


def _widths(some: Sequence[str], separator: str) -> list[int]:
    """How many cells each of these lines has; a row that is not finished here does not count."""
    reader = csv.reader(iter(some), delimiter=separator, skipinitialspace=True)
    found = [len(cells) for cells in _until_error(reader)]
    return found[:-1] if len(found) > 2 and len(some) == _LOOKED_AT else found


def _until_error(reader: Iterator[list[str]]) -> Iterator[list[str]]:
    try:
        yield from reader
    except csv.Error:
        return


def _require_no_blanks(path: Path, some: Sequence[str]) -> None:
    """Raise where each line is divided by blanks alone."""
    counts = [len(line.split()) for line in some[:3]]
    if len(set(counts)) == 1 and counts[0] > 1 and len(counts) > 2 and '"' not in some[0]:
        raise ValueError(
            f"{path}: one column, {some[0].strip()!r}; it looks separated by blanks, save it with "
            f"commas, semicolons, tabs or |"
        )
