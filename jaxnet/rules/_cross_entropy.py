r"""Cross-entropies: softmax (report, sections 2.1 and 2.2) and sigmoid.

Softmax.  With p = softmax(z) and labels y the report's loss and, from ∂p_i/∂z_j = p_i (δ_ij - p_j), its derivative are

    L = -Σ_k y_k log p_k           ∂L/∂z_j = -Σ_k y_k (δ_kj - p_j) = p_j Σ_k y_k - y_j

which is the report's p - y where Σ_k y_k = 1.  Both cancel where the network is sure and right: log p_c and p_c - 1
for p_c close to 1 are 0 in floating point long before the true value is.  The terms of a class c that may be so large
are therefore kept apart, and with m = max z

    d_j = z_j - m <= 0         e_j = exp(d_j) for j ≠ c,  e_c = 0       s = Σ_j e_j       t = s + exp(d_c)
    p_j = e_j / t  for j ≠ c           p_c = exp(d_c) / t               1 - p_c = s / t

One label: y is 1 at c and 0 elsewhere.

    L = log(1 + s)    where c is a largest class, d_c = 0               ∂L/∂z_j = e_j / t     for j ≠ c
      = log t - d_c   elsewhere: some e_j is 1, so log t >= 0           ∂L/∂z_c = -s / t

A distribution: c is the largest class (the first of equals), the only one whose derivative can cancel; d_c = 0,
t = 1 + s, -log p_k = log(1 + s) - d_k.

    L = Σ_k y_k (log(1 + s) - d_k)         a sum of terms of one sign
    ∂L/∂z_j = e_j / t Σ_k y_k - y_j                                                         for j ≠ c
    ∂L/∂z_c = 1 / t Σ_k y_k - y_c  =  (Σ_{k≠c} y_k - y_c s) / t
    ∂L/∂y_k = log(1 + s) - d_k

For a one-hot y nothing cancels here either: where the label is c, ∂L/∂z_c = -s / t; elsewhere p_y <= 1/2 and p_y - 1 is
safe.  With one class, or every class but the label masked (z_j = -inf), s = 0: loss 0 and gradient 0.

Kept are the arguments and a few numbers of each row; the e_j are made again, which costs less than to store them.

Sigmoid.  One logit z for yes or no, y the probability of yes, σ(z) = 1 / (1 + exp(-z)):

    L = -y log σ(z) - (1 - y) log σ(-z)        ∂L/∂z = σ(z) - y        ∂L/∂y = -z

Both cancel for a large z and y = 1.  With v = |z| and w, the part of y on the side that z is not on,

    w = 1 - y for z > 0,  y for z <= 0         r = σ(-v) = exp(-v) / (1 + exp(-v)) <= 1/2
    L = w v + log1p(exp(-v))                   ∂L/∂v = w - r           ∂L/∂z = w - r for z > 0,  r - w for z <= 0

the loss is a sum of two terms >= 0, and for a sure and right answer (w = 0) the derivative is r alone.
"""

from typing import Any

import jax.numpy as jnp
from jax import Array, lax

from jaxnet._require import require_arrays, require_classes, require_floating, widened
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
    require_classes("softmax_cross_entropy", logits, labels)
    z = widened(logits)
    return (
        _of_label(z, labels)[0] if _are_classes(labels) else _of_distribution(z, labels)[0]
    ).astype(logits.dtype)


@softmax_cross_entropy.forward
def softmax_cross_entropy_forward(logits: Array, labels: Array) -> tuple[Array, Any]:
    require_classes("softmax_cross_entropy", logits, labels)
    loss, *numbers = (_of_label if _are_classes(labels) else _of_distribution)(
        widened(logits), labels
    )
    return loss.astype(logits.dtype), (logits, labels, *numbers)


@softmax_cross_entropy.backward
def softmax_cross_entropy_backward(residuals: Any, dloss: Array) -> tuple[Array, Array | None]:
    logits, labels, *numbers = residuals
    z, g = widened(logits), widened(dloss)[..., None]
    if _are_classes(labels):
        m, s, t = numbers
        dz = jnp.where(_is(labels, z), -g * s / t, g / t * _e(labels, z, m))
        return dz.astype(logits.dtype), None
    c, m, s = numbers
    y, is_c, t = labels.astype(z.dtype), _is(c, z), 1 + s
    total, others = (jnp.sum(v, axis=-1, keepdims=True) for v in (y, jnp.where(is_c, 0, y)))
    dz = jnp.where(is_c, (others - y * s) / t, _e(c, z, m) / t * total - y)
    return (g * dz).astype(logits.dtype), (g * _minus_log_p(y, z - m, s)).astype(labels.dtype)


def _of_label(z: Array, c: Array) -> tuple[Array, ...]:
    """L, and m, s, t of the derivation [..., 1]."""
    valid = (c >= 0) & (c < z.shape[-1])
    z_c = jnp.take_along_axis(z, jnp.where(valid, c, 0)[..., None], axis=-1)
    m = lax.stop_gradient(
        jnp.max(z, axis=-1, keepdims=True)
    )  # another shift gives the same values: it is a constant
    d_c = jnp.where(valid[..., None], z_c, jnp.nan) - m
    s = jnp.sum(_e(c, z, m), axis=-1, keepdims=True)
    t = s + jnp.exp(d_c)
    largest = d_c == 0
    of_largest = jnp.log1p(
        s * jnp.exp(-jnp.where(largest, d_c, 0))
    )  # d_c stays in it for its derivative
    return jnp.where(largest, of_largest, jnp.log(t) - d_c)[..., 0], m, s, t


def _of_distribution(z: Array, labels: Array) -> tuple[Array, ...]:
    """L, and c [...], m, s of the derivation [..., 1]."""
    y, c = labels.astype(z.dtype), jnp.argmax(z, axis=-1)
    is_c = _is(c, z)
    m = jnp.sum(
        jnp.where(is_c, z, 0), axis=-1, keepdims=True
    )  # not jnp.max: autodiff would split it among equals
    s = jnp.sum(_e(c, z, m), axis=-1, keepdims=True)
    return jnp.sum(y * _minus_log_p(y, z - m, s), axis=-1), c, m, s


def _minus_log_p(y: Array, d: Array, s: Array) -> Array:
    return jnp.log1p(s) - jnp.where(
        (y == 0) & jnp.isneginf(d), 0, d
    )  # 0 log 0 = 0, also for the derivative in y


def _e(c: Array, z: Array, m: Array) -> Array:
    return jnp.where(_is(c, z), 0, jnp.exp(z - m))


def _is(c: Array, z: Array) -> Array:
    return c[..., None] == jnp.arange(z.shape[-1])


def _are_classes(labels: Array) -> bool:
    return jnp.issubdtype(labels.dtype, jnp.integer)


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
def sigmoid_binary_cross_entropy_forward(
    logits: Array, labels: Array
) -> tuple[Array, tuple[Array, Array | None, Any]]:
    yes, w, v = _sides(logits, labels)
    r = jnp.exp(-v) / (1 + jnp.exp(-v))
    dz = jnp.where(yes, w - r, r - w)
    # Kept: the derivative itself; where the labels are differentiable the logits too, and an empty array for a dtype.
    of_labels = (
        (logits, labels.reshape(-1)[:0])
        if jnp.issubdtype(labels.dtype, jnp.floating)
        else (None, None)
    )
    return _binary_loss(w, v).astype(logits.dtype), (dz, *of_labels)


@sigmoid_binary_cross_entropy.backward
def sigmoid_binary_cross_entropy_backward(
    residuals: tuple[Array, Array | None, Any], dloss: Array
) -> tuple[Array, Array | None]:
    dz, logits, labels = residuals
    return (dloss * dz).astype(dloss.dtype), None if logits is None else (
        -dloss * widened(logits)
    ).astype(labels.dtype)


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
    return (
        yes,
        jnp.where(yes, 1 - y, y),
        jnp.where(yes, z, -z),
    )  # not |z|: its derivative at 0 is 0, on neither side


def _binary_loss(w: Array, v: Array) -> Array:
    return w * jnp.where((w == 0) & jnp.isinf(v), 0, v) + jnp.log1p(jnp.exp(-v))
