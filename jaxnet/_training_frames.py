"""Data frames among what `fit` and `evaluate` are given. No library of them is imported."""

from typing import Any

import jax
import numpy as np
from numpy.typing import NDArray


def sets_of(**sets: Any) -> dict[str, Any]:
    """Those that are not None, in their order, as pairs of arrays."""
    given = {name: data for name, data in sets.items() if data is not None or name == "train"}
    return {name: without_frames(f"fit: {name}", data) for name, data in given.items()}


def without_frames(where: str, data: Any) -> Any:
    """A pair with arrays for its data frame and its series; anything else as it is."""
    if not isinstance(data, tuple | list) or len(data) != 2:
        return data
    return tuple(
        _as_array(f"{where}: {letter}", part) for letter, part in zip("xy", data, strict=True)
    )


def _as_array(where: str, part: Any) -> Any:
    if isinstance(part, jax.Array | np.ndarray) or not hasattr(part, "to_numpy"):
        return part
    if not hasattr(part, "columns"):  # one column
        return part.to_numpy()
    return _matrix(where, part)


def _matrix(where: str, frame: Any) -> NDArray[np.float32]:
    """[rows, columns]; the numbers are copied once."""
    names = list(frame.columns)
    found = np.empty((len(frame), len(names)), np.float32)
    for place, name in enumerate(names):
        column = frame[name].to_numpy()
        if column.dtype.kind not in "biuf":
            raise TypeError(
                f"{where} has a column {name!r} of {column.dtype}, which is no number; "
                f"jaxnet.datasets.from_table(frame, target) makes features of text and gaps"
            )
        found[:, place] = column
    return found
