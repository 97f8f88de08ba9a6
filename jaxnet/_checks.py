"""Errors that more than one file raises, so that they read the same everywhere."""

from typing import Any

import jax.numpy as jnp


def require_floating(function: str, **arrays: Any) -> None:
    """Raise TypeError, naming the argument, unless every array is of a real floating-point dtype."""
    for name, array in arrays.items():
        dtype = jnp.result_type(array)
        if not jnp.issubdtype(dtype, jnp.floating):
            raise TypeError(
                f"{function}: {name} must be a floating-point array, got dtype {dtype}; "
                f"convert it first, e.g. {name}.astype('float32')"
            )
