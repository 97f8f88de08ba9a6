"""A table as it is read, before anything is learnt from it: columns of numbers and of text."""

import math
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

LARGEST = float(np.finfo(np.float32).max)
MISSING = frozenset(  # in lower case
    {"", "na", "n/a", "#n/a", "<na>", "nan", "nat", "null", "none", "?", "-", "--", "."}
)


class Numbers(NamedTuple):
    values: NDArray[Any]  # [rows], real; NaN where a cell is missing


class Texts(NamedTuple):
    """The cell of a row is texts[codes[row]]; an empty one is ''."""

    codes: NDArray[np.int32]  # [rows]
    texts: list[str]  # all different


class Mixed(NamedTuple):
    """A column of numbers and of text that is none, which nobody can use as it is."""

    rows: int
    texts: int  # how many cells hold text
    first: list[tuple[int, str]]  # some of them, with their rows


class Dates(NamedTuple):
    """Of a data frame, which knows; in a file dates are text."""

    rows: int
    first: str


Cells: TypeAlias = Numbers | Texts | Mixed | Dates


def rows_of(cells: Cells) -> int:
    match cells:
        case Numbers(values):
            return len(values)
        case Texts(codes, _):
            return len(codes)
    return cells.rows


class Table(NamedTuple):
    where: str  # what errors call it
    where_target: str
    columns: Mapping[str, Cells]  # without the target
    target: Texts | NDArray[Any] | None  # [rows]; None where there is none
    rows: int
    place: Callable[[int], str]  # of a row: "line 7"


def number_or_none(text: str) -> float | None:
    """What float reads, but for what only Python takes for a number, as 1_5 for 15."""
    text = text.strip()  # of blanks, too, that are not of ASCII
    if "_" in text or not text.isascii():
        return None
    try:
        return float(text)
    except ValueError:
        return None


def is_missing(text: str) -> bool:
    """Whether a cell of a column of numbers says that there is none."""
    return text.lower() in MISSING


def plain(text: str) -> str:
    """In one form what programs write in several: 1 and 1.0, as with a gap; True, TRUE and true."""
    if text.lower() in ("true", "false"):
        return text.capitalize()
    if "." not in text:
        return text
    value = number_or_none(text)
    is_whole = value is not None and math.isfinite(value) and value == int(value)
    return str(int(value)) if is_whole and value is not None else text


def looks_like_data(header: Sequence[str]) -> bool:
    """Whether half of these names are numbers, as where a file has no line of names."""
    numbers = [name for name in header if number_or_none(name) is not None]
    return 2 * len(numbers) >= len(header)


def as_texts(cells: Iterable[str]) -> Texts:
    index: dict[str, int] = {}
    codes = np.fromiter((index.setdefault(cell, len(index)) for cell in cells), np.int32)
    return Texts(codes, list(index))


def in_shell(names: Collection[str]) -> str:
    """As a command line takes them."""
    import shlex  # in an error alone

    return shlex.join(names)


def listed(names: Collection[str]) -> str:
    shown = [repr(name) for name in names]
    return ", ".join(shown if len(shown) <= 40 else [*shown[:20], "...", *shown[-20:]])


def default_names(letter: str, count: int) -> tuple[str, ...]:
    return tuple(f"{letter}{number}" for number in range(1, count + 1))
