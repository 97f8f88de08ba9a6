r"""Losses of numbers: with d = p - t, prediction minus target, and K outputs to an example,

mean squared error     L = (1/K) Σ_k d_k²           p̄_k = (2/K) d_k L̄         t̄_k = -p̄_k

huber                  L = d² / 2  for |d| <= δ,  δ (|d| - δ/2)  elsewhere.  With c = d held to [-δ, δ] both are

    L = c (d - c/2)        ∂L/∂c = d - c, which is 0 where c moves with d        p̄ = c L̄        t̄ = -p̄

One array is enough for both cotangents, d or c, where autodiff of the huber body keeps d, c and two masks.
"""

import math

import jax.numpy as jnp
from jax import Array

from jaxnet._require import require_floating, widened
from jaxnet._rule import rule


@rule
def mean_squared_error(predictions: Array, targets: Array) -> Array:
    """The mean of (predictions - targets)² over the outputs of each example; the mean over examples is the caller's.

    predictions, targets: [..., outputs], alike in shape, at least one output, floating dtypes; both differentiable.
    Returns [...], one value per example as all losses that `fit` takes, in the dtype of predictions; computed in at
    least float32. Its mean is torch.nn.functional.mse_loss; one vector gives one number.
    Raises TypeError on integer arrays, ValueError on shapes that differ (nothing is broadcast) or hold no output.
    """
    return _mean_square(_difference(predictions, targets)).astype(predictions.dtype)


@mean_squared_error.forward
def mean_squared_error_forward(
    predictions: Array, targets: Array
) -> tuple[Array, tuple[Array, Array]]:
    d = _difference(predictions, targets)
    return _mean_square(d).astype(predictions.dtype), (
        d,
        targets[..., :0],
    )  # the empty one for its dtype only


@mean_squared_error.backward
def mean_squared_error_backward(
    residuals: tuple[Array, Array], dloss: Array
) -> tuple[Array, Array]:
    d, targets = residuals
    dp = 2 / d.shape[-1] * d * dloss[..., None]
    return dp.astype(dloss.dtype), (-dp).astype(targets.dtype)


def _mean_square(d: Array) -> Array:
    return jnp.sum(d * d, axis=-1) / d.shape[-1]


def _difference(predictions: Array, targets: Array) -> Array:
    _require_alike("mean_squared_error", predictions, targets)
    if predictions.ndim == 0 or predictions.shape[-1] == 0:
        raise ValueError(
            f"mean_squared_error: predictions must be [..., outputs] with at least one output, got shape "
            f"{predictions.shape}; for one number per example add an axis, predictions[..., None]"
        )
    return widened(predictions) - widened(targets)


@rule
def huber(predictions: Array, targets: Array, *, delta: float = 1.0) -> Array:
    """d² / 2 for d = predictions - targets within ±delta, delta (|d| - delta / 2) beyond; element by element.

    predictions, targets: any shape, alike, floating dtypes; both differentiable. delta: above 0, finite, in the unit of
    the targets.
    Returns the shape and dtype of predictions, computed in at least float32, as optax.huber_loss. `fit` wants one value
    per example: lambda outputs, y: huber(outputs, y).mean(-1).
    An infinite prediction has an infinite loss and the gradient ±delta. At |d| = delta both sides have the same slope.
    Raises TypeError on integer arrays, ValueError on shapes that differ (nothing is broadcast) and on delta <= 0.
    Source: Huber 1964, "Robust estimation of a location parameter".
    """
    d, c = _held(predictions, targets, delta)
    return (c * (d - c / 2)).astype(predictions.dtype)


@huber.forward
def huber_forward(
    predictions: Array, targets: Array, *, delta: float
) -> tuple[Array, tuple[Array, Array]]:
    d, c = _held(predictions, targets, delta)
    return (c * (d - c / 2)).astype(predictions.dtype), (
        c,
        targets.reshape(-1)[:0],
    )  # the empty one for its dtype only


@huber.backward
def huber_backward(
    residuals: tuple[Array, Array], dloss: Array, *, delta: float
) -> tuple[Array, Array]:
    c, targets = residuals
    dp = c * dloss
    return dp.astype(dloss.dtype), (-dp).astype(targets.dtype)


def _held(predictions: Array, targets: Array, delta: float) -> tuple[Array, Array]:
    _require_alike("huber", predictions, targets)
    if not 0 < delta < math.inf:
        raise ValueError(f"huber: delta must be above 0 and finite, got {delta}")
    d = widened(predictions) - widened(targets)
    # Not jnp.clip: its derivative at the ends is 1/2, where c = d should have 1. NaN passes.
    return d, jnp.where(d > delta, delta, jnp.where(d < -delta, -delta, d))


def _require_alike(function: str, predictions: Array, targets: Array) -> None:
    require_floating(function, predictions=predictions, targets=targets)
    if predictions.shape != targets.shape:
        raise ValueError(
            f"{function}: predictions and targets must have the same shape, got {predictions.shape} and "
            f"{targets.shape}; reshape one of them, nothing is broadcast"
        )
