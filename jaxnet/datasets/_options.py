"""What load and from_table are asked for: which columns, and how they are taken."""

import difflib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from jaxnet.datasets._table import Cells, Numbers, Table, as_texts, listed, plain

IMPUTE = ("median", "mean")


@dataclass(frozen=True)
class Options:
    function: str
    target: str | None
    drop: Collection[str]
    features: Collection[str] | None
    categorical: Collection[str]
    impute: str | None

    def __post_init__(self) -> None:
        if self.target is not None and not isinstance(self.target, str):
            raise TypeError(
                f"{self.function}: target is {self.target!r}; expected the name of a column, a text"
            )
        for option in ("drop", "features", "categorical"):
            names = getattr(self, option)
            if names is not None:
                require_names(self.function, option, names)
        if self.features is not None and self.drop:
            raise ValueError(f"{self.function}: features and drop: give one of them")
        if self.impute is not None and self.impute not in IMPUTE:
            raise ValueError(
                f"{self.function}: impute is {self.impute!r}; expected 'median', 'mean' or None"
            )

    def wanted(self, where: str, names: Sequence[str], kind_of_target: str) -> dict[str, str]:
        """Of each column to read what it holds: text, numbers or any."""
        if self.target not in names:
            raise ValueError(
                f"{where}: target is {self.target!r}; expected the column with the labels, "
                f"one of {listed(names)}{close_to(self.target, names)}"
            )
        kinds = self.kinds(where, [name for name in names if name != self.target])
        # In the order of the table.
        return {
            name: kind_of_target if name == self.target else kinds[name]
            for name in names
            if name == self.target or name in kinds
        }

    def kinds(self, where: str, names: Sequence[str]) -> dict[str, str]:
        """names: of all columns but the target."""
        for option in ("drop", "features", "categorical"):
            self._require_columns(where, option, names)
        wanted = names if self.features is None else self.features
        taken = [name for name in names if name in wanted and name not in self.drop]
        for name in self.categorical:
            if name not in taken:
                raise ValueError(
                    f"{where}: categorical has {name!r}, which is left out; leave it out there too"
                )
        return {name: "text" if name in self.categorical else "any" for name in taken}

    def require_features(self, table: Table) -> None:
        """Raise ValueError unless there is a row, and a column to learn from."""
        if not table.rows:
            raise ValueError(f"{table.where}: no row; expected at least one to learn from")
        if not table.columns:
            raise ValueError(f"{table.where}: {self._why_no_features()}")

    def _why_no_features(self) -> str:
        if self.drop:
            return f"drop leaves no column to learn from; leave one of {listed(self.drop)} in"
        if self.features is not None:
            return "features names no column; expected at least one, or leave it out to take all"
        return f"no column beside the target, {self.target!r}; expected at least one to learn from"

    def _require_columns(self, where: str, option: str, names: Sequence[str]) -> None:
        for name in getattr(self, option) or ():
            if name == self.target:
                raise ValueError(f"{where}: {option} has the target, {name!r}; leave it out")
            if name not in names:
                raise ValueError(
                    f"{where}: {option} has {name!r}, which is no column; expected some of "
                    f"{listed(names)}{close_to(name, names)}"
                )

    def applied(self, table: Table) -> Table:
        """A table of numbers, with the columns that are wanted."""
        kinds = self.kinds(table.where, list(table.columns))
        columns = {
            name: _as_categories(table.columns[name]) if kind == "text" else table.columns[name]
            for name, kind in kinds.items()
        }
        return table._replace(columns=columns)


@dataclass(frozen=True)
class Shares:
    """Which share of the rows is tested on, which held out to choose on, and the seed of both."""

    function: str
    test: float
    validation: float
    seed: int

    def __post_init__(self) -> None:
        if not isinstance(self.test, float | np.floating) or not 0 < self.test < 1:
            raise ValueError(
                f"{self.function}: test_fraction is {self.test!r}; "
                f"expected a number between 0 and 1, such as 0.2"
            )
        is_number = isinstance(self.validation, int | float | np.floating)
        if not is_number or not 0 <= self.validation < 1:
            raise ValueError(
                f"{self.function}: validation_fraction is {self.validation!r}; "
                f"expected a number below 1, such as 0.2, or 0 for no validation set"
            )
        if not isinstance(self.seed, int | np.integer) or self.seed < 0:
            raise ValueError(
                f"{self.function}: seed is {self.seed!r}; expected a whole number, at least 0"
            )


def require_names(function: str, option: str, names: Any) -> None:
    is_list = isinstance(names, Collection) and not isinstance(names, str)
    if not is_list or not all(isinstance(name, str) for name in names):
        raise TypeError(
            f"{function}: {option} is {names!r}; expected a list of names of columns, "
            f"such as {[str(names)]}"
        )


def close_to(name: object, names: Sequence[str]) -> str:
    parts = str(name).split(",")
    if len(parts) > 1 and set(parts) <= set(names):
        return f"; are these {len(parts)} columns? then give them apart"
    folded = {other.casefold(): other for other in names}
    close = difflib.get_close_matches(str(name).casefold(), folded, 1)
    return f"; is it {folded[close[0]]!r}?" if close else ""


def _as_categories(cells: Cells) -> Cells:
    if not isinstance(cells, Numbers):
        return cells
    return as_texts("" if value != value else plain(str(value)) for value in cells.values.tolist())


def counters_of(
    where: str, columns: Mapping[str, Cells], unnamed: Collection[str], options: Options
) -> list[str]:
    """The columns without a name that count the rows, or are empty: nobody meant a feature.

    Other programs write such columns. Raises ValueError for another one without a name.
    """
    asked = [options.target, *(options.features or ()), *options.categorical]
    found = [name for name in columns if name in unnamed and name not in asked]
    for name in found:
        cells = columns[name]
        if not isinstance(cells, Numbers) or not _counts(cells.values):
            raise ValueError(
                f"{where}: {name} has no name; name it, or drop it if it counts the rows "
                f"(--drop '{name}', in Python drop=[{name!r}])"
            )
    return found


def _counts(values: Any) -> bool:
    rows = np.arange(len(values))
    return bool(np.isnan(values).all() or (values - values[0] == rows).all())
