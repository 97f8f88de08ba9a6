"""What is measured beside the loss; nothing here is differentiated."""

import jax.numpy as jnp
from jax import Array

from jaxnet._require import require_classes


def accuracy(logits: Array, labels: Array) -> Array:
    """The share of examples whose largest logit (the first of equals) is at the label (the course's getAccu).

    logits: [..., classes], floating; labels: [...] integers, or [..., classes] distributions, of which the largest
    entry counts. Returns a float32 scalar in [0, 1]; an example whose logits hold NaN counts as wrong; NaN for no
    examples. Raises as `softmax_cross_entropy` does.
    """
    require_classes("accuracy", logits, labels)
    truth = jnp.argmax(labels, axis=-1) if jnp.issubdtype(labels.dtype, jnp.floating) else labels
    right = (jnp.argmax(logits, axis=-1) == truth) & ~jnp.any(jnp.isnan(logits), axis=-1)
    return jnp.mean(right, dtype=jnp.float32)
