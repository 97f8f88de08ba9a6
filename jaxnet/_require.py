"""What arguments must be, said the same everywhere; and the dtype that is computed in."""

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
                f"{function}: {name} must be an array, got {type(array).__name__}; "
                f"use jnp.asarray({name})"
            )


def require_floating(function: str, **arrays: Any) -> None:
    """Raise TypeError, naming the argument, unless every array is of a real floating dtype."""
    require_arrays(function, **arrays)
    for name, array in arrays.items():
        dtype = jnp.result_type(array)
        if not jnp.issubdtype(dtype, jnp.floating):
            raise TypeError(
                f"{function}: {name} must be a floating-point array, got dtype {dtype}; "
                f"convert it first, e.g. {name}.astype('float32')"
            )


def require_axis(function: str, axis: Any, **arrays: Any) -> None:
    """Raise ValueError, naming the array, unless axis is an integer that numbers an axis of it."""
    for name, array in arrays.items():
        if not isinstance(axis, int) or not -array.ndim <= axis < array.ndim:
            raise ValueError(
                f"{function}: axis must be an integer in {-array.ndim} .. {array.ndim - 1} "
                f"for {name} of shape {array.shape}, got {axis!r}"
            )


def require_classes(function: str, logits: Array, labels: Array) -> None:
    """Raise unless logits are [..., classes] and labels integers [...] or distributions alike."""
    require_floating(function, logits=logits)
    require_arrays(function, labels=labels)
    if logits.ndim == 0 or logits.shape[-1] == 0:
        raise ValueError(
            f"{function}: logits must be [..., classes] with at least one class, "
            f"got shape {logits.shape}"
        )
    if jnp.issubdtype(labels.dtype, jnp.integer):
        kind, expected = "integer labels", logits.shape[:-1]
    elif jnp.issubdtype(labels.dtype, jnp.floating):
        kind, expected = "labels that are distributions (floating)", logits.shape
    else:
        raise TypeError(
            f"{function}: labels must be integers or floating distributions, "
            f"got dtype {labels.dtype}"
        )
    if labels.shape != expected:
        raise ValueError(
            f"{function}: for logits of shape {logits.shape}, {kind} must have shape {expected}, "
            f"got {labels.shape}; class numbers are integers [...], "
            f"distributions and one-hot labels are floating [..., classes]"
        )


def require_function(function: str, name: str, f: object, example: str) -> None:
    """Raise TypeError, naming the argument, unless f can be called."""
    if not callable(f):
        raise TypeError(
            f"{function}: {name} must be a function such as {example}, got {described(f)}"
        )


def require_hashable(function: str, name: str, f: object) -> None:
    """Raise TypeError unless f can be told from others, as compiled programs are."""
    try:
        hash(f)
    except TypeError:
        raise TypeError(
            f"{function}: {name} must be hashable, as functions are, got {described(f)}; "
            f"give a function that calls it, lambda *args: {name}(*args)"
        ) from None


def require_random_key(function: str, name: str, key: Any, runs: int | None = None) -> None:
    """Raise TypeError unless key is a JAX random key, ValueError unless it is one; with runs, many.

    With runs their number is not looked at.
    """
    example = "such as jax.random.key(0)"
    dtype = getattr(key, "dtype", None)
    is_new = dtype is not None and jnp.issubdtype(dtype, jax.dtypes.prng_key)
    # Keys of the old kind, jax.random.PRNGKey(0), are plain arrays of uint32.
    if not is_new and (dtype != jnp.uint32 or np.ndim(key) == 0):
        raise TypeError(
            f"{function}: {name} must be a JAX random key {example}, got {described(key)}"
        )
    dimensions = np.ndim(key) - (0 if is_new else 1)
    if runs is None and dimensions != 0:
        raise ValueError(
            f"{function}: {name} must be one JAX random key {example}, "
            f"got {described(key)}; take one, {name}[0], or jax.vmap over them"
        )


def number_or_nan(value: Any) -> Any:
    """The value where it is a number; else NaN, which is within no bounds."""
    return value if isinstance(value, int | float | np.integer | np.floating) else float("nan")


def is_number(value: object) -> bool:
    """Whether value is a real number of Python's or NumPy's, and no array."""
    return isinstance(value, int | float | np.integer | np.floating) and not isinstance(value, bool)


def described(value: Any) -> str:
    """What came, in few words: its type, and what is short of it."""
    if isinstance(value, jax.Array | np.ndarray | np.generic):
        return f"{type(value).__name__} of dtype {value.dtype} and shape {value.shape}"
    kind = type(value).__name__
    name = getattr(value, "__name__", None)  # of a function or a class
    if name:
        return f"{kind} {name}"
    plain = type(value) in (str, bytes, bool, int, float, list, tuple, dict, set)
    return f"{kind} {value!r}" if plain and len(repr(value)) <= 40 else kind


def first_line(error: BaseException) -> str:
    """The type of an error and the first line of what it says."""
    return f"{type(error).__name__}: {str(error).partition(chr(10))[0]}"


def wide_dtype(dtype: Any) -> Any:
    """float32, or dtype itself where it is wider: computed in less, digits that matter are lost."""
    return jnp.promote_types(dtype, jnp.float32)


def widened(x: Array) -> Array:
    """x in its wide dtype."""
    return x.astype(wide_dtype(x.dtype))


def only_dtype(x: Array) -> Array:
    """An empty array of the dtype of x, for a backward that needs to know no more of x.

    Residuals are arrays and a dtype is not one; this array takes no memory.
    """
    return jnp.zeros(0, x.dtype)
