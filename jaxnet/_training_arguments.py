"""What `fit` and `evaluate` are given beside the data: types, and what must hold of them.

Errors come before anything is compiled.
"""

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
from jaxnet._require import described, first_line, is_number, require_random_key

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


def require_optimizer(optimizer: object, function: str = "fit") -> None:
    """Raise TypeError unless it is one of optax."""
    if isinstance(optimizer, optax.GradientTransformation):
        return
    mend = ""
    if hasattr(optimizer, "gradient_transformation"):
        mend = "; give its .gradient_transformation()"
    elif callable(optimizer):
        mend = "; a function of optax makes one when it is called"
    raise TypeError(
        f"{function}: optimizer must be an optax.GradientTransformation such as optax.sgd(0.01), "
        f"got {described(optimizer)}{mend}"
    )


def require_opt_state(
    opt_state: Any,
    optimizer: Any,
    params: Any,
    runs: int | None,
    *,
    settings: Any = None,
    function: str = "fit",
) -> None:
    """Raise unless opt_state is None, or a state of this optimizer for these params.

    With settings the optimizer is a function of them that makes one; params are those of one
    run; with runs every leaf of opt_state has an axis [runs] before.
    """
    if opt_state is None:
        return
    require_kept(function, "opt_state", opt_state)
    if settings is not None:
        optimizer = optimizer(**dict.fromkeys(settings, np.float32(1)))
    expected = shapes(optimizer.init, (), params)
    structure: Any = jax.tree.structure(opt_state)
    wanted: Any = jax.tree.structure(expected)
    mend = "go on with the optimizer it came from, or leave opt_state out"
    if function != "fit":
        mend = "give optimizer.init(params), or what the step returned"
    if structure != wanted:
        raise ValueError(
            f"{function}: opt_state is of another optimizer, or for other params: "
            f"it is {shortened(structure)}, this one's is {shortened(wanted)}; {mend}"
        )
    if runs is not None:
        require_runs("opt_state", opt_state, runs)
    leading = () if runs is None else (runs,)
    leaves = jax.tree_util.tree_leaves_with_path(opt_state)
    for (path, leaf), like in zip(leaves, jax.tree.leaves(expected), strict=True):
        if np.shape(leaf) != (*leading, *like.shape):
            raise ValueError(
                f"{function}: opt_state{jax.tree_util.keystr(path)} must have shape "
                f"{(*leading, *like.shape)} for these params, got {np.shape(leaf)}; {mend}"
            )


def require_kept(function: str, name: str, tree: Any) -> None:
    """Raise ValueError where an array of the tree has been donated."""
    for leaf in jax.tree.leaves(tree):
        is_array = isinstance(leaf, jax.Array) and not isinstance(leaf, jax.core.Tracer)
        if is_array and leaf.is_deleted():
            raise ValueError(
                f"{function}: {name} holds an array that was deleted, for it was donated, as "
                f"update_step's step does with what it is given; use what the step returned, "
                f"or give it copies, jax.tree.map(jnp.copy, {name})"
            )


def require_key(name: str, key: Any, runs: int | None) -> None:
    """Raise unless key is a JAX random key, or one per run."""
    require_random_key("fit", name, key, runs)
    if runs is not None:
        require_runs(name, key, runs)


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
    if not is_number(seconds):
        raise TypeError(f"fit: checkpoint_seconds must be a number, got {described(seconds)}")
    if not cast(float, seconds) >= 0:  # NaN is not
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


def shortened(text: object, most: int = 200) -> str:
    """text, or its beginning where it is long."""
    return str(text) if len(str(text)) <= most else f"{str(text)[:most]}..."


def shapes_of_first_run(tree: Any) -> Any:
    """Shapes and dtypes of the tree, whose leaves are [runs, ...], without that axis."""
    shape = cast(Any, jax.ShapeDtypeStruct)  # not annotated
    return jax.tree.map(lambda leaf: shape(np.shape(leaf)[1:], jnp.result_type(leaf)), tree)
