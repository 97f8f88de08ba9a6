"""What arguments must be, said the same everywhere; and the dtype that rules compute in."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array


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


def require_classes(function: str, logits: Array, labels: Array) -> None:
    """Raise unless logits are [..., classes] and labels class numbers [...] or distributions alike."""
    require_floating(function, logits=logits)
    require_arrays(function, labels=labels)
    if logits.ndim == 0 or logits.shape[-1] == 0:
        raise ValueError(
            f"{function}: logits must be [..., classes] with at least one class, got shape {logits.shape}"
        )
    if jnp.issubdtype(labels.dtype, jnp.integer):
        kind, expected = "integer labels", logits.shape[:-1]
    elif jnp.issubdtype(labels.dtype, jnp.floating):
        kind, expected = "labels that are distributions (floating)", logits.shape
    else:
        raise TypeError(
            f"{function}: labels must be integers or floating distributions, got dtype {labels.dtype}"
        )
    if labels.shape != expected:
        raise ValueError(
            f"{function}: for logits of shape {logits.shape}, {kind} must have shape {expected}, got {labels.shape}; "
            f"class numbers are integers [...], distributions and one-hot labels are floating [..., classes]"
        )


def widened(x: Array) -> Array:
    """x in float32, or as it is where its dtype is wider: what is computed in less loses digits that matter."""
    return x.astype(jnp.promote_types(x.dtype, jnp.float32))
