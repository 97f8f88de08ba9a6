r"""Losses of numbers: with d = p - t, prediction minus target, and K outputs to an example,

mean squared error     L = (1/K) Σ_k d_k²           p̄_k = (2/K) d_k L̄         t̄_k = -p̄_k

huber                  L = d² / 2  for |d| <= δ,  δ (|d| - δ/2)  elsewhere

With c = d held to [-δ, δ] both sides of huber are one expression:

    L = c (d - c/2)        ∂L/∂d = c        ∂L/∂c = d - c, which is 0 where c moves with d
    p̄ = c L̄                t̄ = -p̄

One array is enough for both cotangents, d or c, where autodiff of the huber body keeps d, c and two
masks.
"""

import math
from typing import NamedTuple

import jax.numpy as jnp
from jax import Array

from jaxnet._require import number_or_nan, only_dtype, require_floating, widened
from jaxnet._rule import rule


@rule
def mean_squared_error(predictions: Array, targets: Array) -> Array:
    """The mean of (predictions - targets)² over the outputs of each example.

    predictions, targets: [..., outputs], alike in shape, at least one output, floating; both
        differentiable.
    Returns [...], one value per example as all losses that `fit` takes (the mean over examples is
        the caller's, and is torch.nn.functional.mse_loss), in the dtype of predictions; computed in
        at least float32. One vector gives one number.
    Raises TypeError on integer arrays, ValueError on shapes that differ (nothing is broadcast) or
        hold no output.
    Source: derived in this file.

    >>> predictions, targets = jnp.array([1.0, 5.0]), jnp.array([0.0, 1.0])
    >>> print(*jax.value_and_grad(jaxnet.rules.mean_squared_error)(predictions, targets))
    8.5 [1. 4.]
    """
    _require_outputs(predictions, targets)
    d = widened(predictions) - widened(targets)
    return _mean_square(d).astype(predictions.dtype)


class SquaredErrorResiduals(NamedTuple):
    d: Array  # [..., outputs]
    targets_dtype: Array  # empty: the dtype of t̄


@mean_squared_error.forward
def mean_squared_error_forward(
    predictions: Array, targets: Array
) -> tuple[Array, SquaredErrorResiduals]:
    _require_outputs(predictions, targets)
    d = widened(predictions) - widened(targets)
    loss = _mean_square(d).astype(predictions.dtype)
    return loss, SquaredErrorResiduals(d, only_dtype(targets))


@mean_squared_error.backward
def mean_squared_error_backward(
    residuals: SquaredErrorResiduals, dloss: Array
) -> tuple[Array, Array]:
    d, targets_dtype = residuals
    dp = 2 / d.shape[-1] * d * dloss[..., None]  # p̄ = (2/K) d L̄
    # The loss has the dtype of the predictions, and so has its cotangent.
    return dp.astype(dloss.dtype), (-dp).astype(targets_dtype.dtype)


def _mean_square(d: Array) -> Array:
    return jnp.sum(d * d, axis=-1) / d.shape[-1]


def _require_outputs(predictions: Array, targets: Array) -> None:
    _require_alike("mean_squared_error", predictions, targets)
    if predictions.ndim == 0 or predictions.shape[-1] == 0:
        raise ValueError(
            f"mean_squared_error: predictions must be [..., outputs] with at least one output, "
            f"got shape {predictions.shape}; for one number per example add an axis, "
            f"predictions[..., None]"
        )


@rule
def huber(predictions: Array, targets: Array, *, delta: float = 1.0) -> Array:
    """d² / 2 for d = predictions - targets within ±delta, delta (|d| - delta / 2) beyond.

    Element by element. `fit` wants one value per example: lambda outputs, y: huber(outputs,
    y).mean(-1).
    An infinite prediction has an infinite loss and the gradient ±delta. At |d| = delta both sides
    have the same slope.

    predictions, targets: [...], alike in shape, floating; both differentiable.
    delta: above 0, finite, in the unit of the targets.
    Returns [...], in the dtype of predictions, computed in at least float32, as optax.huber_loss.
    Raises TypeError on integer arrays, ValueError on shapes that differ (nothing is broadcast) and
        on a delta that is not above 0 and finite.
    Source: Huber 1964, "Robust estimation of a location parameter".

    >>> print(*jax.value_and_grad(jaxnet.rules.huber)(0.5, 0.0))
    0.125 0.5
    >>> print(*jax.value_and_grad(jaxnet.rules.huber)(4.0, 0.0))
    3.5 1.0
    """
    _require_alike("huber", predictions, targets)
    _require_delta(delta)
    d, c = _difference_and_held(predictions, targets, delta)
    return (c * (d - c / 2)).astype(predictions.dtype)


class HuberResiduals(NamedTuple):
    c: Array  # d held to [-δ, δ]
    targets_dtype: Array  # empty: the dtype of t̄


@huber.forward
def huber_forward(
    predictions: Array, targets: Array, *, delta: float
) -> tuple[Array, HuberResiduals]:
    _require_alike("huber", predictions, targets)
    _require_delta(delta)
    d, c = _difference_and_held(predictions, targets, delta)
    loss = (c * (d - c / 2)).astype(predictions.dtype)
    return loss, HuberResiduals(c, only_dtype(targets))


@huber.backward
def huber_backward(residuals: HuberResiduals, dloss: Array, *, delta: float) -> tuple[Array, Array]:
    c, targets_dtype = residuals
    dp = c * dloss  # p̄ = c L̄
    return dp.astype(dloss.dtype), (-dp).astype(targets_dtype.dtype)


def _difference_and_held(predictions: Array, targets: Array, delta: float) -> tuple[Array, Array]:
    """d and c."""
    d = widened(predictions) - widened(targets)
    # Not jnp.clip: its derivative at the ends is 1/2, where c = d should have 1. NaN passes.
    c = jnp.where(d < -delta, -delta, d)
    return d, jnp.where(d > delta, delta, c)


def _require_delta(delta: float) -> None:
    if not 0 < number_or_nan(delta) < math.inf:
        raise ValueError(f"huber: delta must be above 0 and finite, got {delta!r}")


def _require_alike(function: str, predictions: Array, targets: Array) -> None:
    require_floating(function, predictions=predictions, targets=targets)
    if predictions.shape != targets.shape:
        raise ValueError(
            f"{function}: predictions and targets must have the same shape, "
            f"got {predictions.shape} and {targets.shape}; reshape one of them, "
            f"nothing is broadcast"
        )
