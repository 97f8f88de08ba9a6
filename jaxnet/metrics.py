"""What is measured beside the loss; nothing here is differentiated."""

import jax.numpy as jnp
from jax import Array

from jaxnet._require import require_classes


def accuracy(logits: Array, labels: Array) -> Array:
    """The share of examples whose largest logit (the first of equals) is at the label.

    logits: [..., classes], floating.
    labels: [...], integer; or [..., classes], floating distributions, of which the largest entry
        counts.
    Returns [], float32, in [0, 1]; an example whose logits hold NaN counts as wrong; NaN for no
        examples.
    Raises as `softmax_cross_entropy` does: TypeError on integer logits and boolean labels,
        ValueError on shapes that do not fit.
    Source: the accuracy of docs/report.md, section 3 (getAccu in the course's code).

    >>> logits = jnp.array([[2.0, 1.0], [0.0, 3.0]])
    >>> print(jaxnet.accuracy(logits, jnp.array([0, 0])))
    0.5
    """
    require_classes("accuracy", logits, labels)
    return jnp.mean(is_right(logits, labels), dtype=jnp.float32)


def is_right(logits: Array, labels: Array) -> Array:
    """Which examples `accuracy` counts: [...], bool."""
    truth = labels
    if jnp.issubdtype(labels.dtype, jnp.floating):
        truth = jnp.argmax(labels, axis=-1)
    # argmax takes NaN for the largest: such an example must not be right by luck.
    holds_nan = jnp.any(jnp.isnan(logits), axis=-1)
    return (jnp.argmax(logits, axis=-1) == truth) & ~holds_nan
