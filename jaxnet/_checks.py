"""Errors that more than one file raises, so that they read the same everywhere."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np


def require_arrays(function: str, **arrays: Any) -> None:
    """Raise TypeError, naming the argument, unless everything is an array or a number."""
    for name, array in arrays.items():
        if not isinstance(array, jax.Array | np.ndarray | np.generic | float | int):
            raise TypeError(
                f"{function}: {name} must be an array, got {type(array).__name__}; use jnp.asarray({name})"
            )


def require_floating(function: str, **arrays: Any) -> None:
    """Raise TypeError, naming the argument, unless every array is of a real floating-point dtype."""
    require_arrays(function, **arrays)
    for name, array in arrays.items():
        dtype = jnp.result_type(array)
        if not jnp.issubdtype(dtype, jnp.floating):
            raise TypeError(
                f"{function}: {name} must be a floating-point array, got dtype {dtype}; "
                f"convert it first, e.g. {name}.astype('float32')"
            )


def require_axis(function: str, axis: Any, **arrays: Any) -> None:
    """Raise ValueError, naming the array, unless axis is an integer that numbers one of its axes."""
    for name, array in arrays.items():
        if not isinstance(axis, int) or not -array.ndim <= axis < array.ndim:
            raise ValueError(
                f"{function}: axis must be an integer in {-array.ndim} .. {array.ndim - 1} for {name} of shape "
                f"{array.shape}, got {axis!r}"
            )
