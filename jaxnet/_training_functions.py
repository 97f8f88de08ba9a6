"""The functions that `fit`, `evaluate` and `update_step` are given, and the params for them.

A model, its params and a loss are easily given in each other's place; what is no function, or takes
other arguments, is said before it is called.
"""

import inspect
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxnet._require import described, require_function, require_hashable
from jaxnet._training_arguments import require_kept

_LOSS = "jaxnet.softmax_cross_entropy, (outputs, y) -> one loss per example"
_METRICS = "metrics={'accuracy': jaxnet.accuracy}"


def require_functions(
    function: str, model: Any, params: Any, loss: Any, metrics: Any, *, key: Any = None
) -> None:
    """Raise unless model, loss and metrics are functions of what they are called with.

    And params a pytree of arrays. key: what the model is given while it trains, if anything.
    """
    require_model(function, model, params, key=key)
    require_loss(function, loss, model, params)
    require_metrics(function, metrics)
    require_params(function, params)


def require_model(function: str, model: Any, params: Any = None, *, key: Any = None) -> None:
    """Raise TypeError unless model can be called as model(params, x), and with a key given so too.

    params: to say where they are in each other's place.
    """
    if not callable(model):
        mend = ""
        if callable(params):
            mend = f"; model and params are in each other's place: {function}(model, params, ...)"
        raise TypeError(
            f"{function}: model must be a function (params, x) -> outputs such as jaxnet.mlp, "
            f"got {described(model)}{mend}"
        )
    if not _takes(model, "params", "x"):
        raise TypeError(
            f"{function}: model is called as model(params, x), but {described(model)} takes "
            f"{_parameters(model)}; {_mend_of_module(model)}"
        )
    if key is not None and not _takes(model, "params", "x", "key"):
        raise TypeError(
            f"{function}: with a model_key the model is called as model(params, x, key), but it "
            f"takes {_parameters(model)}; leave model_key out, or give the model a third "
            f"argument, key=None"
        )
    require_hashable(function, "model", model)


def _mend_of_module(model: Any) -> str:
    """For a network that is an object of another library."""
    if hasattr(model, "apply"):
        return "give its function, model.apply"
    if not jax.tree_util.all_leaves([model]):  # a pytree that is called
        return (
            "its arrays are the params: params, rest = eqx.partition(module, "
            "eqx.is_inexact_array), and the model is a function of your own, "
            "lambda params, x: jax.vmap(eqx.combine(params, rest))(x); "
            "for Flax nnx the same with nnx.split and nnx.merge"
        )
    return "one that draws numbers takes (params, x, key=None)"


def require_loss(function: str, loss: Any, model: Any, params: Any = None) -> None:
    """Raise TypeError unless loss can be called as loss(outputs, y), and is not the model."""
    if loss is model:
        raise TypeError(f"{function}: loss is the model itself; give a loss such as {_LOSS}")
    if not callable(loss) and callable(params):
        raise TypeError(
            f"{function}: loss must be a function such as {_LOSS}, got {described(loss)}; "
            f"params and loss are in each other's place"
        )
    require_function(function, "loss", loss, _LOSS)
    _require_takes_outputs(function, "loss", loss)


def require_metrics(function: str, metrics: Any) -> None:
    """Raise unless metrics are functions (outputs, y) by name, none of which is called loss."""
    if not isinstance(metrics, Mapping):
        mend = "; {} measures none" if metrics is None else ""
        raise TypeError(
            f"{function}: metrics must be a dict from name to function, such as {_METRICS}, "
            f"got {described(metrics)}{mend}"
        )
    for name, metric in metrics.items():
        if not isinstance(name, str) or not name:
            raise TypeError(
                f"{function}: a name in metrics must be a text, got {name!r}; "
                f"it is the key of the dict, as in {_METRICS}"
            )
        if name == "loss":
            raise ValueError(
                f"{function}: a name in metrics is 'loss', under which the loss itself is "
                f"measured; call the metric otherwise"
            )
        require_function(function, f"metrics[{name!r}]", metric, "jaxnet.accuracy")
        _require_takes_outputs(function, f"metrics[{name!r}]", metric)


def require_params(function: str, params: Any) -> None:
    """Raise TypeError unless params is a pytree of arrays."""
    require_kept(function, "params", params)
    for path, leaf in jax.tree_util.tree_leaves_with_path(params):
        if not isinstance(leaf, jax.Array | np.ndarray | np.generic | float | int | complex):
            raise TypeError(
                f"{function}: params must be a pytree of arrays, but "
                f"params{jax.tree_util.keystr(path)} is {described(leaf)}; {_mend_of_leaf(leaf)}"
            )
        if getattr(leaf, "dtype", np.dtype(float)).kind in "OSU":
            raise TypeError(
                f"{function}: params must be a pytree of arrays of numbers, but "
                f"params{jax.tree_util.keystr(path)} is {described(leaf)}; leave it out"
            )


def _mend_of_leaf(leaf: Any) -> str:
    if callable(leaf):
        return (
            "functions belong to the model: split a module of Equinox, params, rest = "
            "eqx.partition(module, eqx.is_inexact_array), and let the model combine them"
        )
    return "jaxnet.init_mlp makes those of jaxnet.mlp; what is no array belongs to the model"


def require_trainable(params: Any, runs: int | None) -> None:
    """Raise unless params are floating arrays without NaN; with runs in one run at least."""
    leaves = jax.tree_util.tree_leaves_with_path(params)
    if not leaves:
        raise ValueError(
            f"fit: params holds no array, so there is nothing to train, got {described(params)}; "
            f"jaxnet.init_mlp makes those of jaxnet.mlp"
        )
    hold_nan = []
    for path, leaf in leaves:
        where = f"params{jax.tree_util.keystr(path)}"
        dtype = jnp.result_type(leaf)
        if not jnp.issubdtype(dtype, jnp.inexact):
            raise TypeError(
                f"fit: params must be floating arrays, but {where} has dtype {dtype}; convert it, "
                f"or keep what is not trained outside of params, in the model"
            )
        if getattr(leaf, "is_fully_addressable", True):
            hold_nan.append(_runs_with_nan(leaf, runs))
            if hold_nan[-1].all():
                raise ValueError(
                    f"fit: {where} holds NaN before any training; draw params anew, as "
                    f"jaxnet.init_mlp does, or take those from before the loss became NaN"
                )


def _runs_with_nan(leaf: Any, runs: int | None) -> Any:
    values = np.asarray(leaf)
    by_run = values.reshape(1 if runs is None else runs, -1)
    return np.isnan(by_run).any(axis=1)


def _require_takes_outputs(function: str, name: str, f: Any) -> None:
    if not _takes(f, "outputs", "y"):
        raise TypeError(
            f"{function}: {name} is called with (outputs, y), but {described(f)} takes "
            f"{_parameters(f)}; give a function of these two"
        )
    require_hashable(function, name, f)


def _parameters(f: Any) -> inspect.Signature:
    """Without their types, which are long."""
    parameters = inspect.signature(f).parameters.values()
    return inspect.Signature([p.replace(annotation=p.empty) for p in parameters])


def _takes(f: Any, *names: str) -> bool:
    """Whether f can be called with so many arguments, as far as its signature tells."""
    try:
        signature = inspect.signature(f)
    except ValueError:  # of what is not written in Python
        return True
    try:
        signature.bind(*names)
    except TypeError:
        return False
    return True
