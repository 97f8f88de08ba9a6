"""Whether a target names classes or is a number to predict, and these numbers."""

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from jaxnet.datasets._forms import first_of_most, is_date, is_dressed
from jaxnet.datasets._table import LARGEST, Table, Texts, is_missing, number_or_none

CLASSIFICATION, REGRESSION = "classification", "regression"
TASKS = (CLASSIFICATION, REGRESSION)


def require_task(function: str, task: object) -> None:
    if task is not None and task not in TASKS:
        raise ValueError(
            f"{function}: task is {task!r}; expected {CLASSIFICATION!r}, {REGRESSION!r} or None, "
            f"for what the target itself says"
        )


def task_of(asked: str | None, table: Table, is_column: bool) -> str:
    """asked, or what the target says: text, booleans, two numbers are classes, fractions are not.

    is_column: of a table. Labels that stand apart are classes, as the forms of their files say.
    Raises ValueError where a column of whole numbers may be either.
    """
    if asked is not None:
        return asked
    if is_column:
        _require_plain(table)
    values = _different(table.target) if is_column else None
    if values is None or len(values) <= 2:
        return CLASSIFICATION
    if (values != np.round(values)).any():
        return REGRESSION
    raise ValueError(
        f"{table.where_target}: the target has {len(values)} different whole numbers, from "
        f"{values[0]:.15g} to {values[-1]:.15g}, which may be names of classes or a number to "
        f"predict; say --task {CLASSIFICATION} or --task {REGRESSION} (in Python task=...)"
    )


def _require_plain(table: Table) -> None:
    """Raise ValueError where the texts may be names, but look like numbers or dates."""
    texts = table.target.texts if isinstance(table.target, Texts) else []
    for what, is_one, mend in (
        ("dates or times", is_date, "put what is to be predicted of them, such as a year, there"),
        ("numbers in a form that is not read", is_dressed, "write them as 1234.5"),
    ):
        if first := first_of_most(texts, is_one):
            raise ValueError(
                f"{table.where_target}: the target holds {what}, such as {first!r}; {mend}, or say "
                f"--task {CLASSIFICATION} (in Python task=...) to take each for a class"
            )


def _different(target: Any) -> NDArray[np.float64] | None:
    """The numbers in it, sorted; None where it is not of numbers. What is missing is neither."""
    if isinstance(target, Texts):
        found = [number_or_none(text) for text in target.texts if not is_missing(text)]
        numbers = [value for value in found if value is not None]
        return _finite(np.array(numbers)) if found and len(numbers) == len(found) else None
    if target.dtype.kind not in "iuf":
        return None
    return _finite(target.astype(np.float64))


def _finite(values: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.unique(values[np.isfinite(values)])


def numbers_of(table: Table, *, is_learnt: bool) -> NDArray[np.float32]:
    """[rows, 1], all finite; what is learnt from must vary."""
    values = _values(table)
    bad = np.flatnonzero(~(np.abs(values) <= LARGEST))  # NaN is not <= either
    if len(bad):
        first = bad[0]
        raise ValueError(
            f"{table.where_target}, {table.place(first)}: the target is "
            f"{_cell(table.target, first)!r}, in {len(bad)} row(s) no number; a regression takes "
            f"finite numbers, written as 1234.5: drop these rows or fill them in"
        )
    if is_learnt:
        _require_varied(table.where_target, values)
    return values.astype(np.float32)[:, None]


def _require_varied(where: str, values: NDArray[np.float64]) -> None:
    spread = np.ptp(values)
    if spread == 0:
        raise ValueError(
            f"{where}: the target is {values[0]:g} in every row; there is nothing to learn from it"
        )
    if np.abs(values.astype(np.float32) - values).max() > 1e-3 * spread:
        raise ValueError(f"{where}: the target varies too little for float32; subtract an offset")


def _values(table: Table) -> NDArray[np.float64]:
    target = table.target
    if isinstance(target, Texts):
        numbers = [number_or_none(text) for text in target.texts]
        found = [math.nan if number is None else number for number in numbers]
        return np.array(found, np.float64)[target.codes]
    if target is None or target.dtype.kind not in "biuf":
        raise ValueError(f"{table.where_target}: the target is no number, but a regression's is")
    return target.astype(np.float64)


def _cell(target: Any, row: int) -> Any:
    return target.texts[target.codes[row]] if isinstance(target, Texts) else target[row].item()
