"""The cells of a column, collected some thousand at a time and kept as numbers where they are."""

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from jaxnet.datasets._table import Cells, Mixed, Numbers, Texts, is_missing, number_or_none

SHOWN = 3


class Collected:
    """kind: text, numbers, or any: then what the first cell decides that is not missing."""

    def __init__(self, kind: str) -> None:
        self.is_text = {"text": True, "numbers": False, "any": None}[kind]
        self.asked = kind
        self.index: dict[str, int] = {}  # of texts
        self.codes: list[NDArray[np.int32]] = []
        self.numbers: list[NDArray[np.float64]] = []
        self.odd: list[tuple[int, str]] = []  # texts among numbers, the first of them
        self.odd_count = 0

    def add(self, cells: Sequence[str], row: int) -> None:
        """row: of the first of these cells."""
        if self.is_text is None:
            self._decide(cells)
        if self.is_text is False:
            self.numbers.append(self._numbers(cells, row))
        else:
            texts = map(str.strip, cells)
            index = self.index
            codes = [index.setdefault(text, len(index)) for text in texts]
            self.codes.append(np.array(codes, np.int32))

    def _decide(self, cells: Sequence[str]) -> None:
        for cell in cells:
            if not is_missing(cell.strip()):
                self.is_text = number_or_none(cell) is None
                break
        if self.is_text is False:  # all before were missing
            self.numbers = [np.full(len(codes), math.nan) for codes in self.codes]
            self.codes, self.index = [], {}

    def _numbers(self, cells: Sequence[str], row: int) -> NDArray[np.float64]:
        try:
            numbers = np.fromiter(map(float, cells), np.float64, len(cells))
        except ValueError:
            return np.array([self._number(cell, row + i) for i, cell in enumerate(cells)])
        joined = "".join(cells)
        if "_" in joined or not joined.isascii():  # Python reads more than others as a number
            return np.array([self._number(cell, row + i) for i, cell in enumerate(cells)])
        return numbers

    def _number(self, cell: str, row: int) -> float:
        value = number_or_none(cell)
        if value is not None:
            return value
        cell = cell.strip()
        if not is_missing(cell):
            self.odd_count += 1
            if len(self.odd) < SHOWN:
                self.odd.append((row, cell))
        return math.nan

    def column(self) -> Cells:
        if self.is_text is False:
            values = np.concatenate(self.numbers)
            return (
                Mixed(len(values), self.odd_count, self.odd) if self.odd_count else Numbers(values)
            )
        codes, texts = np.concatenate(self.codes), list(self.index)
        if self.is_text is None:
            return Numbers(np.full(len(codes), math.nan))
        return Texts(codes, texts) if self.asked == "text" else as_it_is(codes, texts)


def as_it_is(codes: NDArray[np.int32], texts: list[str]) -> Texts | Mixed:
    """Texts, unless some are numbers."""
    is_text = np.array([number_or_none(text) is None or is_missing(text) for text in texts])
    if is_text.all():
        return Texts(codes, texts)
    empty = np.array([is_missing(text) for text in texts])
    rows = np.flatnonzero((is_text & ~empty)[codes])
    return Mixed(len(codes), len(rows), [(int(row), texts[codes[row]]) for row in rows[:SHOWN]])
