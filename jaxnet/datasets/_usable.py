"""One error for all columns that cannot be used as they are, and one line that mends them all."""

from collections.abc import Callable, Collection, Iterator, Mapping
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from jaxnet.datasets._forms import first_of_most, is_date, is_dressed
from jaxnet.datasets._table import (
    LARGEST,
    Cells,
    Dates,
    Mixed,
    Numbers,
    Table,
    Texts,
    in_shell,
    is_missing,
    number_or_none,
)

MOST_CATEGORIES = 1000
SHOWN = 3


class Fault(NamedTuple):
    said: str
    mend: str  # impute, drop, categorical, or '' where only the file can be mended


def require_usable(tables: list[Table], categorical: Collection[str], impute: str | None) -> None:
    """Raise ValueError, for all columns together, unless each can become features.

    tables: the training and the test set, or one that is both.
    """
    for table in tables:
        faults = {
            name: fault
            for name, cells in table.columns.items()
            for fault in _fault_of(table, name, cells, name in categorical, impute)
        }
        if faults:
            raise ValueError(in_words(table.where, faults))


def _fault_of(
    table: Table, name: str, cells: Cells, is_categorical: bool, impute: str | None
) -> Iterator[Fault]:
    """None or one."""
    match cells:
        case Dates(_, first):
            yield _dates(f"{first!r} in {table.place(0)}")
        case Mixed(_, count, first):
            yield _mixed(count, first, table)
        case Texts(codes, texts) if not is_categorical:
            yield from _of_texts(codes, texts, table.place)
        case Numbers(values):
            yield from _of_numbers(values, table.place, impute)
        case _:
            pass


def _dates(first: str) -> Fault:
    said = f"dates or times ({first}), of which a network makes nothing"
    return Fault(f"{said}; put what matters of them, such as a month, into a column", "drop")


def _mixed(count: int, first: list[tuple[int, str]], table: Table) -> Fault:
    shown = ", ".join(f"{text!r} in {table.place(row)}" for row, text in first)
    more = ", ..." * (count > len(first))
    return Fault(
        f"no number in {count} of {table.rows} cells ({shown}{more}); write all like -1.5e3, or "
        f"take every value for a category",
        "categorical",
    )


def _of_texts(
    codes: NDArray[np.int32], texts: list[str], place: Callable[[int], str]
) -> Iterator[Fault]:
    def where(text: str) -> str:
        return f"{text!r} in {place(int(np.argmax(codes == texts.index(text))))}"

    held = [text for text in texts if not is_missing(text)]
    if held and all(number_or_none(text) is not None for text in held):  # of a data frame
        yield Fault(
            f"numbers as text ({where(held[0])}); make numbers of them, or take every value for a "
            f"category",
            "categorical",
        )
    elif date := first_of_most(texts, is_date):
        yield _dates(where(date))
    elif number := first_of_most(texts, is_dressed):
        yield Fault(
            f"numbers in a form that is not read ({where(number)}); write them as 1234.5, or take "
            f"every value for a category",
            "categorical",
        )
    elif len(texts) > MOST_CATEGORIES:
        yield Fault(
            f"{len(texts)} different texts ({where(held[0])}); leave the column out, or take each "
            f"for a category, with a feature of its own",
            "drop",
        )


def _of_numbers(
    values: NDArray[np.floating], place: Callable[[int], str], impute: str | None
) -> Iterator[Fault]:
    missing = np.isnan(values)
    count = int(missing.sum())
    infinite = np.flatnonzero(~(np.abs(values) <= LARGEST) & ~missing)
    if len(infinite):
        first = infinite[0]
        yield Fault(
            f"no finite float32 in {len(infinite)} of {len(values)} cells ({values[first]:g} in "
            f"{place(first)}); correct it, or leave the column out",
            "drop",
        )
    elif count == len(values):
        yield Fault("every cell is empty", "drop")
    elif count and impute is None:
        said = missing_in_words(missing, place)
        yield Fault(f"{said}; drop the rows, or have what is missing filled in", "impute")
    elif rounds_too_much(values):
        yield Fault(
            "varies too little for float32; subtract an offset, change the unit, or leave it out",
            "drop",
        )


def missing_in_words(missing: NDArray[np.bool_], place: Callable[[int], str]) -> str:
    rows = np.flatnonzero(missing)
    shown = ", ".join(place(int(row)) for row in rows[:SHOWN])
    more = ", ..." * (len(rows) > SHOWN)
    return f"no value in {len(rows)} of {len(missing)} cells ({shown}{more})"


def rounds_too_much(values: NDArray[np.floating]) -> bool:
    """Whether rounding to float32 takes more than a thousandth of the range.

    It does where a feature varies little beside its size, as seconds since 1970 within an hour do.
    """
    spread = float(np.nanmax(values)) - float(np.nanmin(values))
    if values.dtype == np.float32 or not spread > 0:
        return False
    lost = np.abs(values.astype(np.float32) - values)
    return bool(np.nanmax(lost) > 1e-3 * spread)


def in_words(where: str, faults: Mapping[str, Fault]) -> str:
    """Last comes what mends all of them, for the command line and for Python."""
    one = len(faults) == 1
    head = (
        "1 column cannot be used as it is"
        if one
        else (f"{len(faults)} columns cannot be used as they are")
    )
    shell, python = [], []
    for option in ("drop", "categorical"):
        names = [name for name, fault in faults.items() if fault.mend == option]
        if names:
            shell.append(f"--{option} {in_shell(names)}")
            python.append(f"{option}={names}")
    if any(fault.mend == "impute" for fault in faults.values()):
        shell.append("--impute median")
        python.append("impute='median'")
    return "\n".join(
        [
            f"{where}: {head}:",
            *(f"  {name!r}: {fault.said}" for name, fault in faults.items()),
            f"mend the file, or give {' '.join(shell)} (in Python {', '.join(python)})",
        ]
    )
