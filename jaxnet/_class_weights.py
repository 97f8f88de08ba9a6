"""A loss in which some classes count more than others."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax.numpy as jnp
import numpy as np
from jax import Array
from numpy.typing import ArrayLike

from jaxnet.rules._cross_entropy import softmax_cross_entropy


def class_weighted(
    weights: ArrayLike, loss: Callable[[Array, Array], Array] = softmax_cross_entropy
) -> Callable[[Array, Array], Array]:
    """The loss in which an example counts as much as the class of its label does.

    The mean of a batch, which `fit` follows, is Σ w_y loss / rows. PyTorch's
    CrossEntropyLoss(weight=w) divides by Σ w_y instead: there a batch that holds only a class of
    weight 0.1 moves the parameters as far as any other, here a tenth as far, and over the epoch
    every example counts what its weight says. Where the weights are `balanced_class_weights` of
    the training set, both means over the whole of it are equal.

    weights: [classes], finite numbers, not negative.
    loss: (outputs, y) -> one value per example; y is integer, or [..., classes], floating
        distributions, whose weight is the mean of the weights under them.
    Returns loss(outputs, y) -> one value per example, in the dtype of the loss. It is equal to
        another of equal weights and the same loss, so that `fit` compiles once.
    Raises ValueError on weights that are none, and, when it is called, on another number of them
        than of classes and on labels of another kind. (One logit per example is of two classes.) A
        label out of range at run time gives NaN.

    >>> weighted = jaxnet.class_weighted([1.0, 10.0])
    >>> logits, labels = jnp.zeros((2, 2)), jnp.array([0, 1])
    >>> print(weighted(logits, labels) / jaxnet.softmax_cross_entropy(logits, labels))
    [ 1. 10.]
    """
    values = np.asarray(weights, float)
    if values.ndim != 1 or not np.isfinite(values).all() or (values < 0).any():
        raise ValueError(
            f"class_weighted: weights must be one finite number for each class, none negative, "
            f"got {weights!r}"
        )
    return _ClassWeighted(tuple(values.tolist()), loss)


@dataclass(frozen=True)
class _ClassWeighted:
    """Equal to another that computes the same: a function made anew would be traced again."""

    weights: tuple[float, ...]
    loss: Callable[[Array, Array], Array]

    @property
    def __wrapped__(self) -> Any:
        """For `inspect.unwrap`: labels are checked as those of the loss are."""
        return self.loss

    def __call__(self, outputs: Array, y: Array) -> Array:
        losses = self.loss(outputs, y)
        weights = jnp.asarray(self.weights, losses.dtype)
        classes = outputs.shape[-1] if outputs.ndim > losses.ndim else 1
        if len(weights) != max(classes, 2):
            raise ValueError(
                f"class_weighted: {len(weights)} weights for outputs of shape {outputs.shape}, "
                f"which are of {max(classes, 2)} classes; give one weight for each"
            )
        if jnp.issubdtype(y.dtype, jnp.integer) and y.shape == losses.shape:
            known = (y >= 0) & (y < len(weights))  # -1 would be the last of them
            return losses * jnp.where(known, weights[jnp.where(known, y, 0)], jnp.nan)
        if jnp.issubdtype(y.dtype, jnp.floating) and y.shape == (*losses.shape, len(weights)):
            return losses * (y @ weights).astype(losses.dtype)
        raise ValueError(
            f"class_weighted: labels must be integers of shape {losses.shape}, one for each loss, "
            f"or floating distributions of shape {(*losses.shape, len(weights))}, "
            f"got {y.dtype} of shape {y.shape}"
        )
