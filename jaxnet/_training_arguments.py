"""What `fit` and `evaluate` are given: the types, and what must hold before anything is compiled.

Compiled code cannot raise on a value, so values are looked at here, where they enter.
"""

import inspect
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeAlias, cast

import jax
import jax.numpy as jnp
import numpy as np
import optax  # type: ignore[import-untyped]
from numpy.typing import NDArray

from jaxnet._programs import shapes
from jaxnet._require import described, first_line
from jaxnet.rules._cross_entropy import softmax_cross_entropy

# (params, x) -> outputs, one row per example.
# One that draws numbers while it trains also takes (params, x, key).
Model: TypeAlias = Callable[..., jax.Array]
# (outputs, y) -> one loss per example
Loss: TypeAlias = Callable[[jax.Array, jax.Array], jax.Array]
# (outputs, y) -> a number, or one per example, which is averaged
Metric: TypeAlias = Callable[[jax.Array, jax.Array], jax.Array]
Array: TypeAlias = jax.Array | NDArray[Any]
Data: TypeAlias = tuple[Array, Array]  # x [rows, ...], y [rows, ...]


def require_count(name: str, count: object) -> None:
    """Raise ValueError unless count is an integer above 0."""
    if isinstance(count, bool) or not isinstance(count, int | np.integer) or count < 1:
        raise ValueError(f"fit: {name} must be a positive integer, got {count!r}")


def require_optimizer(optimizer: object) -> None:
    """Raise TypeError unless it is one of optax."""
    if not isinstance(optimizer, optax.GradientTransformation):
        raise TypeError(
            f"fit: optimizer must be an optax.GradientTransformation such as optax.sgd(0.01), "
            f"got {type(optimizer).__name__}"
        )


def require_key(name: str, key: Any, runs: int | None) -> None:
    """Raise TypeError unless key is a JAX random key, ValueError unless there is one per run."""
    dtype = getattr(key, "dtype", None)
    # Keys of the old kind, jax.random.PRNGKey(0), are plain arrays of uint32.
    is_key = dtype is not None and (
        dtype == jnp.uint32 or jnp.issubdtype(dtype, jax.dtypes.prng_key)
    )
    if not is_key:
        raise TypeError(
            f"fit: {name} must be a JAX random key such as jax.random.key(0), "
            f"got {type(key).__name__}"
        )
    if runs is not None:
        require_runs(name, key, runs)


def require_key_parameter(model: Model) -> None:
    """Raise TypeError unless the model can be called as model(params, x, key)."""
    try:
        inspect.signature(model).bind("params", "x", "key")
    except TypeError:
        raise TypeError(
            f"fit: with a model_key the model is called as model(params, x, key), but it takes "
            f"{inspect.signature(model)}; leave model_key out, or give the model a third argument, "
            f"key=None"
        ) from None


def require_runs(name: str, tree: Any, runs: int) -> None:
    """Raise ValueError unless every leaf has a leading axis [runs]."""
    shapes = [np.shape(leaf) for leaf in jax.tree.leaves(tree)]
    if not all(shape[:1] == (runs,) for shape in shapes):
        raise ValueError(
            f"fit: with runs={runs} every leaf of {name} must have a leading axis [{runs}], "
            f"got shapes {shapes}; make them with jax.vmap over {runs} keys"
        )


def require_shares(runs: int) -> None:
    """Raise ValueError unless the mesh that is set can divide the runs evenly."""
    mesh = jax.sharding.get_abstract_mesh()
    if mesh.empty:
        return
    axis, devices = mesh.axis_names[0], mesh.axis_sizes[0]
    if runs % devices:
        raise ValueError(
            f"fit: runs={runs} cannot be divided evenly among the {devices} devices of the mesh's "
            f"first axis, {axis!r}; train {runs + -runs % devices} of them, or on a smaller mesh"
        )


def require_patience(patience: object, validation: Data | None) -> None:
    """Raise unless patience is None, or a positive integer where there is a validation set."""
    if patience is None:
        return
    require_count("patience", patience)
    if validation is None:
        raise ValueError(
            f"fit: patience={patience} counts epochs without a lower validation loss, but there is "
            f"no validation set; give one, validation=(x, y), or leave patience out"
        )


def require_settings(settings: Any, optimizer: Any, runs: int | None) -> None:
    """Raise unless settings are None, or [runs] numbers for each name that optimizer takes.

    The optimizer is then a function of these names that makes one of optax.
    """
    if settings is None:
        return
    if runs is None:
        raise ValueError(
            "fit: settings give each run its own numbers, but runs is None; say how many, such as "
            "runs=4, or give one run its optimizer, such as optax.sgd(0.01)"
        )
    if not isinstance(settings, Mapping) or not settings:
        raise TypeError(
            f"fit: settings must be a dict such as {{'learning_rate': [0.1, 0.01]}}, "
            f"got {described(settings)}"
        )
    for name, values in settings.items():
        _require_setting(name, values, runs)
    _require_factory(optimizer, settings)


def _require_setting(name: object, values: Any, runs: int) -> None:
    """Raise unless values are [runs] finite numbers."""
    if not isinstance(name, str):
        raise TypeError(
            f"fit: the names of settings must be those of the optimizer's parameters, "
            f"such as 'learning_rate', got {name!r}"
        )
    numbers = np.asarray(values)
    is_numeric = jnp.issubdtype(numbers.dtype, jnp.integer) or jnp.issubdtype(
        numbers.dtype, jnp.floating
    )
    if not is_numeric or numbers.shape != (runs,):
        raise ValueError(
            f"fit: settings[{name!r}] must be {runs} numbers, one for each run, "
            f"got {described(values)}"
        )
    if not np.isfinite(numbers.astype(np.float64)).all():
        raise ValueError(f"fit: settings[{name!r}] must be finite numbers, got {numbers.tolist()}")


def _require_factory(optimizer: Any, settings: Mapping[str, Any]) -> None:
    """Raise unless optimizer, a function, makes one of optax of these settings."""
    names = ", ".join(settings)
    if isinstance(optimizer, optax.GradientTransformation) or not callable(optimizer):
        raise TypeError(
            f"fit: with settings optimizer must be a function of {names} that makes an optimizer, "
            f"such as optax.sgd itself, got {described(optimizer)}"
        )
    made = []
    try:
        # Traced, as the run calls it: a number that decides how it is built cannot differ by run.
        jax.eval_shape(
            lambda values: made.append(optimizer(**values)),
            dict.fromkeys(settings, np.float32(1)),
        )
    except Exception as error:
        raise TypeError(
            f"fit: optimizer could not be called as optimizer({names}) with one number of "
            f"settings for each: {first_line(error)}"
        ) from error
    require_optimizer(made[0])


def require_checkpoint(path: object, seconds: object) -> None:
    """Raise unless path is None or names a folder, which need not exist, and seconds are >= 0."""
    if isinstance(seconds, bool) or not isinstance(seconds, int | float | np.number):
        raise TypeError(f"fit: checkpoint_seconds must be a number, got {described(seconds)}")
    if not seconds >= 0:  # NaN is not
        raise ValueError(f"fit: checkpoint_seconds must be at least 0, got {seconds}")
    if path is None:
        return
    if not isinstance(path, str | os.PathLike) or not os.fspath(path):
        raise TypeError(
            f"fit: checkpoint must be the path of a folder, a str or a pathlib.Path, "
            f"got {described(path)}"
        )
    folder = Path(path)
    for place in (folder, *folder.parents):
        if place.exists() and not place.is_dir():
            raise NotADirectoryError(
                f"fit: checkpoint must be the path of a folder, but {place} is a file; "
                f"name another place"
            )


def shapes_of_first_run(tree: Any) -> Any:
    """Shapes and dtypes of the tree, whose leaves are [runs, ...], without that axis."""
    shape = cast(Any, jax.ShapeDtypeStruct)  # not annotated
    return jax.tree.map(lambda leaf: shape(np.shape(leaf)[1:], jnp.result_type(leaf)), tree)


def require_data(name: str, data: Data, model: Model, params: Any, loss: Loss) -> None:
    """Raise TypeError or ValueError unless data are (x, y) that fit each other, model and loss.

    params may be arrays, or their shapes and dtypes. Errors call the data by `name`.
    """
    _require_pair(name, data)
    x, y = data
    _require_finite(name, x)
    outputs, losses = shapes(_outputs_and_losses, (model, loss), params, x, y)
    if losses.shape != (len(x),):
        raise ValueError(
            f"{name}: loss must return one value per example, shape {(len(x),)}, "
            f"got shape {losses.shape} for outputs of shape {outputs.shape} "
            f"and y of shape {np.shape(y)}"
        )
    # Another loss may give its integers another meaning. With or without its rule, it is this one.
    is_cross_entropy = inspect.unwrap(loss) is inspect.unwrap(softmax_cross_entropy)
    if is_cross_entropy and jnp.issubdtype(y.dtype, jnp.integer):
        _require_labels(name, np.asarray(y), classes=outputs.shape[-1])


def _require_pair(name: str, data: Any) -> None:
    is_pair = isinstance(data, tuple | list) and len(data) == 2
    if not is_pair or not all(hasattr(array, "shape") for array in data):
        raise TypeError(f"{name} must be a pair of arrays (x, y), got {type(data).__name__}")
    x, y = data
    if np.ndim(x) < 1 or np.ndim(y) < 1 or len(x) != len(y):
        raise ValueError(
            f"{name}: x and y must have as many rows, got shapes {np.shape(x)} and {np.shape(y)}"
        )
    if len(x) == 0:
        raise ValueError(f"{name}: no rows; x has shape {np.shape(x)}")


def _require_finite(name: str, x: Array) -> None:
    if not jnp.issubdtype(x.dtype, jnp.floating):
        return
    bad = np.argwhere(~np.isfinite(np.asarray(x)))
    if len(bad):
        raise ValueError(
            f"{name}: x holds {len(bad)} values that are NaN or inf, the first at index "
            f"{tuple(map(int, bad[0]))}; remove or fill those rows"
        )


def _require_labels(name: str, labels: NDArray[Any], classes: int) -> None:
    if (labels < 0).any() or (labels >= classes).any():
        raise ValueError(
            f"{name}: labels must be in 0 .. {classes - 1} (the model has {classes} outputs), "
            f"got {labels.min()} .. {labels.max()}"
        )


def _outputs_and_losses(
    model: Model, loss: Loss, params: Any, x: jax.Array, y: jax.Array
) -> tuple[jax.Array, jax.Array]:
    outputs = model(params, x)
    return outputs, loss(outputs, y)
