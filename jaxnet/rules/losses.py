r"""Cross-entropies: softmax (report, sections 2.1 and 2.2) and sigmoid; and the accuracy that goes with the first.

Softmax.  With p = softmax(z) and labels y the report's loss and, from ∂p_i/∂z_j = p_i (δ_ij - p_j), its derivative are

    L = -Σ_k y_k log p_k           ∂L/∂z_j = -Σ_k y_k (δ_kj - p_j) = p_j Σ_k y_k - y_j

which is the report's p - y where Σ_k y_k = 1.  Both cancel where the network is sure and right: log p_m and p_m - 1
for p_m close to 1 are 0 in floating point long before the true value is.  So let m be the largest logit (the first of
equals) and measure all from there:

    d_j = z_j - z_m <= 0       e_j = exp(d_j) for j ≠ m,  e_m = 0       r = Σ_j e_j
    p_j = e_j / (1 + r)  for j ≠ m           p_m = 1 / (1 + r)           -log p_k = log(1 + r) - d_k

The loss is now a sum of terms of one sign, and the only derivative that cancels, the one at m, is rewritten:

    L = Σ_k y_k (log1p(r) - d_k)
    ∂L/∂z_j = e_j / (1 + r) Σ_k y_k - y_j                                                   for j ≠ m
    ∂L/∂z_m = 1 / (1 + r) Σ_k y_k - y_m  =  (Σ_{k≠m} y_k - y_m r) / (1 + r)
    ∂L/∂y_k = log1p(r) - d_k

For a one-hot y nothing cancels: where the label is m, ∂L/∂z_m = -r / (1 + r); elsewhere p_y <= 1/2 and p_y - 1 is
safe.  With one class, or every class but the label masked (z_j = -inf), r = 0: loss 0 and gradient 0.

Sigmoid.  One logit z for yes or no, y the probability of yes, σ(z) = 1 / (1 + exp(-z)):

    L = -y log σ(z) - (1 - y) log σ(-z)        ∂L/∂z = σ(z) - y        ∂L/∂y = -z

Both cancel for a large z and y = 1.  With v = |z| and w, the part of y on the side that z is not on,

    w = 1 - y for z > 0,  y for z <= 0         r = σ(-v) = exp(-v) / (1 + exp(-v)) <= 1/2
    L = w v + log1p(exp(-v))                   ∂L/∂v = w - r           ∂L/∂z = w - r for z > 0,  r - w for z <= 0

the loss is a sum of two terms >= 0, and for a sure and right answer (w = 0) the derivative is r alone.
"""

from typing import Any

import jax.numpy as jnp
from jax import Array

from jaxnet._checks import require_arrays, require_floating
from jaxnet._dtypes import widened
from jaxnet._rule import rule


@rule
def softmax_cross_entropy(logits: Array, labels: Array) -> Array:
    """The loss -Σ_k y_k log softmax(logits)_k of each example; the mean is the caller's.

    logits: [..., classes], floating; -inf masks a class. labels: [...] integers in 0 .. classes - 1, or [..., classes]
    floating distributions (they need not sum to 1, and are differentiable).
    Returns [...] in the dtype of logits, computed in at least float32. For integer and one-hot labels nothing cancels:
    in float32 the relative error of the loss and of each component of its derivative is at most max(4, margin) eps,
    where the margin is the largest difference between two logits; it comes from rounding that difference.
    A masked class without label mass adds nothing to the loss; with label mass the loss is inf.
    An integer label outside its range makes loss and gradient of that example NaN: in compiled code nothing can be
    raised, and a number would be wrong.
    Raises TypeError on integer logits and boolean labels, ValueError on shapes that do not fit.
    Source: report, sections 2.1 and 2.2; the form without cancellation is derived in this file.
    """
    y, d, _, r, _ = _terms(logits, labels)
    return jnp.sum(y * _minus_log_p(y, d, r), axis=-1).astype(logits.dtype)


@softmax_cross_entropy.forward
def softmax_cross_entropy_forward(logits: Array, labels: Array) -> tuple[Array, tuple[Array, Array | None]]:
    y, d, e, r, is_m = _terms(logits, labels)
    minus_log_p = _minus_log_p(y, d, r)
    loss = jnp.sum(y * minus_log_p, axis=-1).astype(logits.dtype)
    others = jnp.sum(jnp.where(is_m, 0, y), axis=-1, keepdims=True)
    total = jnp.sum(y, axis=-1, keepdims=True)
    dz = jnp.where(is_m, (others - y * r) / (1 + r), e / (1 + r) * total - y)
    # Kept: the derivative itself (the backward only scales it), and -log p where the labels are differentiable.
    return loss, (dz, minus_log_p.astype(labels.dtype) if jnp.issubdtype(labels.dtype, jnp.floating) else None)


@softmax_cross_entropy.backward
def softmax_cross_entropy_backward(residuals: tuple[Array, Array | None], dloss: Array) -> tuple[Array, Array | None]:
    dz, dy = residuals
    dlogits = (dloss[..., None] * dz).astype(dloss.dtype)
    return dlogits, None if dy is None else (dloss[..., None] * dy).astype(dy.dtype)


def _terms(logits: Array, labels: Array) -> tuple[Array, ...]:
    """y, d, e, r of the derivation and the mask of m, each [..., classes] (r: [..., 1]) in at least float32."""
    _require_fit("softmax_cross_entropy", logits, labels)
    z = logits.astype(jnp.promote_types(logits.dtype, jnp.float32))
    k = jnp.arange(z.shape[-1])
    if jnp.issubdtype(labels.dtype, jnp.floating):
        y = labels.astype(z.dtype)
    else:
        valid = (labels >= 0) & (labels < z.shape[-1])
        y = jnp.where(valid[..., None], labels[..., None] == k, jnp.nan).astype(z.dtype)
    is_m = jnp.argmax(z, axis=-1, keepdims=True) == k
    z_m = jnp.sum(jnp.where(is_m, z, 0), axis=-1, keepdims=True)  # not jnp.max: autodiff would split it among equals
    d = z - z_m
    e = jnp.where(is_m, 0, jnp.exp(d))
    return y, d, e, jnp.sum(e, axis=-1, keepdims=True), is_m


def _minus_log_p(y: Array, d: Array, r: Array) -> Array:
    return jnp.log1p(r) - jnp.where((y == 0) & jnp.isneginf(d), 0, d)  # 0 log 0 = 0, also for the derivative in y


@rule
def sigmoid_binary_cross_entropy(logits: Array, labels: Array) -> Array:
    """The loss -y log σ(z) - (1 - y) log σ(-z) of each logit z and label y, element by element.

    logits: any shape, floating. labels: the same shape; booleans, integers 0 or 1, or floating probabilities in [0, 1],
    which are differentiable.
    Returns the shape and dtype of logits, computed in at least float32, as optax.sigmoid_binary_cross_entropy. `fit`
    wants one value per example: lambda outputs, y: sigmoid_binary_cross_entropy(outputs, y).mean(-1).
    For labels 0 and 1 nothing cancels, at any logit; an infinite logit on the right side has loss 0.
    An integer label other than 0 and 1 makes loss and gradient NaN.
    Raises TypeError on integer logits, ValueError on shapes that differ (nothing is broadcast).
    Source: derived in this file.
    """
    _, w, v = _sides(logits, labels)
    return _binary_loss(w, v).astype(logits.dtype)


@sigmoid_binary_cross_entropy.forward
def sigmoid_binary_cross_entropy_forward(logits: Array, labels: Array) -> tuple[Array, tuple[Array, Array | None, Any]]:
    yes, w, v = _sides(logits, labels)
    r = jnp.exp(-v) / (1 + jnp.exp(-v))
    dz = jnp.where(yes, w - r, r - w)
    # Kept: the derivative itself; where the labels are differentiable the logits too, and an empty array for a dtype.
    of_labels = (logits, labels.reshape(-1)[:0]) if jnp.issubdtype(labels.dtype, jnp.floating) else (None, None)
    return _binary_loss(w, v).astype(logits.dtype), (dz, *of_labels)


@sigmoid_binary_cross_entropy.backward
def sigmoid_binary_cross_entropy_backward(
    residuals: tuple[Array, Array | None, Any], dloss: Array
) -> tuple[Array, Array | None]:
    dz, logits, labels = residuals
    return (dloss * dz).astype(dloss.dtype), None if logits is None else (-dloss * widened(logits)).astype(labels.dtype)


def _sides(logits: Array, labels: Array) -> tuple[Array, Array, Array]:
    """Whether z > 0, w and v, in at least float32."""
    function = "sigmoid_binary_cross_entropy"
    require_floating(function, logits=logits)
    require_arrays(function, labels=labels)
    if labels.shape != logits.shape:
        raise ValueError(
            f"{function}: logits and labels must have the same shape, got {logits.shape} and {labels.shape}; "
            f"reshape one of them, nothing is broadcast"
        )
    z = widened(logits)
    if jnp.issubdtype(labels.dtype, jnp.floating):
        y = labels.astype(z.dtype)
    else:
        y = jnp.where((labels == 0) | (labels == 1), labels, jnp.nan).astype(z.dtype)
    yes = z > 0
    return yes, jnp.where(yes, 1 - y, y), jnp.where(yes, z, -z)  # not |z|: its derivative at 0 is 0, on neither side


def _binary_loss(w: Array, v: Array) -> Array:
    return w * jnp.where((w == 0) & jnp.isinf(v), 0, v) + jnp.log1p(jnp.exp(-v))


def accuracy(logits: Array, labels: Array) -> Array:
    """The share of examples whose largest logit (the first of equals) is at the label (the course's getAccu).

    logits: [..., classes], floating; labels: [...] integers, or [..., classes] distributions, of which the largest
    entry counts. Returns a float32 scalar in [0, 1]; an example whose logits hold NaN counts as wrong; NaN for no
    examples. Raises as `softmax_cross_entropy` does.
    """
    _require_fit("accuracy", logits, labels)
    truth = jnp.argmax(labels, axis=-1) if jnp.issubdtype(labels.dtype, jnp.floating) else labels
    right = (jnp.argmax(logits, axis=-1) == truth) & ~jnp.any(jnp.isnan(logits), axis=-1)
    return jnp.mean(right, dtype=jnp.float32)


def _require_fit(function: str, logits: Array, labels: Array) -> None:
    require_floating(function, logits=logits)
    require_arrays(function, labels=labels)
    if logits.ndim == 0 or logits.shape[-1] == 0:
        raise ValueError(f"{function}: logits must be [..., classes] with at least one class, got shape {logits.shape}")
    if jnp.issubdtype(labels.dtype, jnp.integer):
        kind, expected = "integer labels", logits.shape[:-1]
    elif jnp.issubdtype(labels.dtype, jnp.floating):
        kind, expected = "labels that are distributions (floating)", logits.shape
    else:
        raise TypeError(f"{function}: labels must be integers or floating distributions, got dtype {labels.dtype}")
    if labels.shape != expected:
        raise ValueError(
            f"{function}: for logits of shape {logits.shape}, {kind} must have shape {expected}, got {labels.shape}; "
            f"class numbers are integers [...], distributions and one-hot labels are floating [..., classes]"
        )
