"""Gradients of many networks at once, by hand and automatic, and how far they are from exact."""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import jaxnet
from jaxnet.datasets import Dataset

# Model and loss.
HAND = (jaxnet.mlp, jaxnet.softmax_cross_entropy)
AUTO = (jaxnet.auto(jaxnet.mlp), jaxnet.auto(jaxnet.softmax_cross_entropy))

EPS, TINY = float(np.finfo(np.float32).eps), np.finfo(np.float64).tiny
norm = partial(np.linalg.norm, axis=1)


@partial(jax.jit, static_argnames=("model", "loss"))
def gradients(params: Any, x: Any, y: Any, *, model: Any, loss: Any) -> Any:
    """Of the mean loss on all of x and y, for every run; every leaf of params is [runs, ...]."""
    return jax.vmap(jax.grad(lambda p: jnp.mean(loss(model(p, x), y))))(params)


def exact_gradients(data: Dataset, params: Any) -> Any:
    """Automatic, in float64, at these very parameters."""
    with jax.enable_x64(True):
        x, y = data.train
        wide = jax.tree.map(lambda a: np.asarray(a, np.float64), params)
        grads = gradients(wide, x.astype(np.float64), y, model=AUTO[0], loss=AUTO[1])
        return jax.tree.map(np.asarray, grads)


def by_parameter(grads: Any) -> dict[str, np.ndarray]:
    """W1, b1, W2, ... -> float64 [seeds, elements]."""
    found = {}
    for k, layer in enumerate(grads, 1):
        for letter, leaf in zip("Wb", layer, strict=True):
            found[f"{letter}{k}"] = np.asarray(leaf, np.float64).reshape(len(leaf), -1)
    return found


def weight_norms(data: Dataset, params: Any) -> np.ndarray:
    """|dL/dW| by hand, [runs, layers]."""
    grads = by_parameter(gradients(params, *data.train, model=HAND[0], loss=HAND[1]))
    return np.stack([norm(g) for name, g in grads.items() if name[0] == "W"], axis=-1)


def gradient_errors(data: Dataset, params: Any) -> dict[str, dict[str, float]]:
    """Parameter -> how far hand and auto are from exact, the largest over elements and seeds.

    hand, auto: in eps of the largest element of the parameter's gradient. apart: the largest
    difference between the two, as a share of the largest element of the whole gradient.
    """
    exact = by_parameter(exact_gradients(data, params))
    hand, auto = (
        by_parameter(gradients(params, *data.train, model=model, loss=loss))
        for model, loss in (HAND, AUTO)
    )
    whole = np.concatenate(list(exact.values()), axis=1)
    return {
        name: {
            "hand": largest(hand[name] - true, true) / EPS,
            "auto": largest(auto[name] - true, true) / EPS,
            "apart": largest(hand[name] - auto[name], whole),
        }
        for name, true in exact.items()
    }


def largest(difference: np.ndarray, scale: np.ndarray) -> float:
    """Over the seeds, the largest element of the difference over the largest of the scale."""
    return float(np.max(np.abs(difference).max(1) / np.maximum(np.abs(scale).max(1), TINY)))


def worst_parameter(
    data: Dataset, params: Any, exact: dict[str, np.ndarray], model: Any, loss: Any
) -> tuple[str, float]:
    """The parameter whose gradient is farthest off, and |g - exact| / |exact| there.

    The median over the seeds. exact: of `exact_gradients`, by parameter.
    """
    grads = by_parameter(gradients(params, *data.train, model=model, loss=loss))
    errors = {
        name: float(np.median(norm(grads[name] - true) / np.maximum(norm(true), TINY)))
        for name, true in exact.items()
    }
    worst = max(errors, key=errors.__getitem__)
    return worst, errors[worst]
