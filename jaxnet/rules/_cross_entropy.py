r"""Cross-entropies: softmax (docs/report.md, sections 2.1 and 2.2) and sigmoid.

Softmax.  With p = softmax(z) and labels y the report's loss and, from ∂p_i/∂z_j = p_i (δ_ij - p_j),
its derivative are

    L = -Σ_k y_k log p_k           ∂L/∂z_j = -Σ_k y_k (δ_kj - p_j) = p_j Σ_k y_k - y_j

which is the report's p - y where Σ_k y_k = 1.  Both cancel where the network is sure and right:
log p_c and p_c - 1 for p_c close to 1 are 0 in floating point long before the true value is.  The
terms of a class c that may be so large are therefore kept apart, and with m = max z

    d_j = z_j - m <= 0         e_j = exp(d_j) for j ≠ c,  e_c = 0
    s = Σ_j e_j                t = s + exp(d_c)
    p_j = e_j / t  for j ≠ c           p_c = exp(d_c) / t               1 - p_c = s / t

One label: y is 1 at c and 0 elsewhere.

    L = log(1 + s)    where c is a largest class, d_c = 0               ∂L/∂z_j = e_j / t for j ≠ c
      = log t - d_c   elsewhere: some e_j is 1, so log t >= 0           ∂L/∂z_c = -s / t

A distribution: c is the largest class (the first of equals), the only one whose derivative can
cancel; d_c = 0, t = 1 + s, -log p_k = log(1 + s) - d_k.

    L = Σ_k y_k (log(1 + s) - d_k)         a sum of terms of one sign
    ∂L/∂z_j = e_j / t Σ_k y_k - y_j                                             for j ≠ c
    ∂L/∂z_c = 1 / t Σ_k y_k - y_c  =  (Σ_{k≠c} y_k - y_c s) / t
    ∂L/∂y_k = log(1 + s) - d_k

For a one-hot y nothing cancels here either: where the label is c, ∂L/∂z_c = -s / t; elsewhere
p_y <= 1/2 and p_y - 1 is safe.  With one class, or every class but the label masked (z_j = -inf),
s = 0: loss 0 and gradient 0.

Kept are the arguments and a few numbers of each row; the e_j are made again, which costs less than
to store them.

Sigmoid.  One logit z for yes or no, y the probability of yes, σ(z) = 1 / (1 + exp(-z)):

    L = -y log σ(z) - (1 - y) log σ(-z)        ∂L/∂z = σ(z) - y        ∂L/∂y = -z

Both cancel for a large z and y = 1.  With v = |z| and w, the part of y on the side that z is not
on,

    w = 1 - y for z > 0,  y for z <= 0         r = σ(-v) = exp(-v) / (1 + exp(-v)) <= 1/2
    L = w v + log1p(exp(-v))                   ∂L/∂v = w - r
                                               ∂L/∂z = w - r for z > 0,  r - w for z <= 0

the loss is a sum of two terms >= 0, and for a sure and right answer (w = 0) the derivative is r
alone.
"""

from typing import NamedTuple

import jax.numpy as jnp
from jax import Array, lax

from jaxnet._require import only_dtype, require_arrays, require_classes, require_floating, widened
from jaxnet._rule import rule


@rule
def softmax_cross_entropy(logits: Array, labels: Array) -> Array:
    """The loss -Σ_k y_k log softmax(logits)_k of each example; the mean is the caller's.

    For integer and one-hot labels nothing cancels: in float32 the relative error of the loss and of
    each component of its derivative is at most max(4, margin) eps, where the margin is the largest
    difference between two logits; it comes from rounding that difference.
    A masked class without label mass adds nothing to the loss; with label mass the loss is inf.
    An integer label outside its range makes loss and gradient of that example NaN: in compiled code
    nothing can be raised, and a number would be wrong.

    logits: [..., classes], floating; -inf masks a class.
    labels: [...], integer, in 0 .. classes - 1; or [..., classes], floating distributions (they
        need not sum to 1, and are differentiable).
    Returns [...], in the dtype of logits, computed in at least float32.
    Raises TypeError on integer logits and boolean labels, ValueError on shapes that do not fit.
    Source: docs/report.md, sections 2.1 and 2.2; the form without cancellation is derived in this
        file.

    >>> logits = jnp.array([40.0, 0.0])  # sure of class 0, and right
    >>> loss, gradient = jax.value_and_grad(jaxnet.softmax_cross_entropy)(logits, 0)
    >>> print(f"{loss:.2e} {gradient[0]:.2e} {gradient[1]:.2e}")
    4.25e-18 -4.25e-18 4.25e-18
    >>> autodiff = jax.grad(lambda z: -jax.nn.log_softmax(z)[0])(logits)
    >>> print(f"{autodiff[0]:.2e}")
    0.00e+00
    """
    require_classes("softmax_cross_entropy", logits, labels)
    loss, _ = _loss_and_residuals(logits, labels)
    return loss


class LabelResiduals(NamedTuple):
    """What is kept where labels are integers; m, s and t are [..., 1], in at least float32."""

    logits: Array  # z, for the e_j
    labels: Array  # c
    m: Array
    s: Array
    t: Array


class DistributionResiduals(NamedTuple):
    """What is kept where labels are distributions; m and s are [..., 1], in at least float32."""

    logits: Array  # z, for the e_j and d_j
    labels: Array  # y
    c: Array  # [...] the largest class
    m: Array
    s: Array


@softmax_cross_entropy.forward
def softmax_cross_entropy_forward(
    logits: Array, labels: Array
) -> tuple[Array, LabelResiduals | DistributionResiduals]:
    require_classes("softmax_cross_entropy", logits, labels)
    return _loss_and_residuals(logits, labels)


@softmax_cross_entropy.backward
def softmax_cross_entropy_backward(
    residuals: LabelResiduals | DistributionResiduals, dloss: Array
) -> tuple[Array, Array | None]:
    g = widened(dloss)[..., None]
    if isinstance(residuals, LabelResiduals):
        return _label_backward(residuals, g), None
    return _distribution_backward(residuals, g)


def _loss_and_residuals(
    logits: Array, labels: Array
) -> tuple[Array, LabelResiduals | DistributionResiduals]:
    if jnp.issubdtype(labels.dtype, jnp.integer):
        return _label_loss(logits, labels)
    return _distribution_loss(logits, labels)


def _label_loss(logits: Array, c: Array) -> tuple[Array, LabelResiduals]:
    z = widened(logits)
    valid = (c >= 0) & (c < z.shape[-1])
    z_c = jnp.take_along_axis(z, jnp.where(valid, c, 0)[..., None], axis=-1)
    # A constant to autodiff: another shift gives the same values.
    m = lax.stop_gradient(jnp.max(z, axis=-1, keepdims=True))
    d_c = jnp.where(valid[..., None], z_c, jnp.nan) - m
    e = _others(z, m, _is_class(c, z))
    s = jnp.sum(e, axis=-1, keepdims=True)
    t = s + jnp.exp(d_c)

    largest = d_c == 0
    # log(1 + s exp(-d_c)): d_c is 0 there, and stays in it for its derivative.
    at_largest = jnp.log1p(s * jnp.exp(-jnp.where(largest, d_c, 0)))
    loss = jnp.where(largest, at_largest, jnp.log(t) - d_c)
    return loss[..., 0].astype(logits.dtype), LabelResiduals(logits, c, m, s, t)


def _label_backward(residuals: LabelResiduals, g: Array) -> Array:
    logits, c, m, s, t = residuals
    z = widened(logits)
    is_c = _is_class(c, z)
    e = _others(z, m, is_c)
    dz = jnp.where(
        is_c,
        -g * s / t,  # ∂L/∂z_c = -s / t
        g / t * e,  # ∂L/∂z_j = e_j / t
    )
    return dz.astype(logits.dtype)


def _distribution_loss(logits: Array, labels: Array) -> tuple[Array, DistributionResiduals]:
    z = widened(logits)
    y = labels.astype(z.dtype)
    c = jnp.argmax(z, axis=-1)
    is_c = _is_class(c, z)
    # z_c, not jnp.max: autodiff would split the derivative of that among equals.
    m = jnp.sum(jnp.where(is_c, z, 0), axis=-1, keepdims=True)
    s = jnp.sum(_others(z, m, is_c), axis=-1, keepdims=True)
    loss = jnp.sum(y * _minus_log_p(y, z - m, s), axis=-1)  # Σ_k y_k (log(1 + s) - d_k)
    return loss.astype(logits.dtype), DistributionResiduals(logits, labels, c, m, s)


def _distribution_backward(residuals: DistributionResiduals, g: Array) -> tuple[Array, Array]:
    logits, labels, c, m, s = residuals
    z = widened(logits)
    y = labels.astype(z.dtype)
    is_c = _is_class(c, z)
    e = _others(z, m, is_c)
    t = 1 + s
    sum_y = jnp.sum(y, axis=-1, keepdims=True)  # Σ_k y_k
    sum_others = jnp.sum(jnp.where(is_c, 0, y), axis=-1, keepdims=True)  # Σ_{k≠c} y_k
    dz = jnp.where(
        is_c,
        (sum_others - y * s) / t,  # ∂L/∂z_c = (Σ_{k≠c} y_k - y_c s) / t
        e / t * sum_y - y,  # ∂L/∂z_j = e_j / t Σ_k y_k - y_j
    )
    dy = _minus_log_p(y, z - m, s)  # ∂L/∂y_k = log(1 + s) - d_k
    return (g * dz).astype(logits.dtype), (g * dy).astype(labels.dtype)


def _minus_log_p(y: Array, d: Array, s: Array) -> Array:
    """log(1 + s) - d for each class."""
    # 0 log 0 = 0, also for the derivative in y: a masked class without label mass adds nothing.
    masked = (y == 0) & jnp.isneginf(d)
    return jnp.log1p(s) - jnp.where(masked, 0, d)


def _others(z: Array, m: Array, is_c: Array) -> Array:
    """e: exp(z_j - m) for j ≠ c, 0 at c."""
    return jnp.where(is_c, 0, jnp.exp(z - m))


def _is_class(c: Array, z: Array) -> Array:
    """[..., classes]: whether j = c."""
    return c[..., None] == jnp.arange(z.shape[-1])


@rule
def sigmoid_binary_cross_entropy(logits: Array, labels: Array) -> Array:
    """The loss -y log σ(z) - (1 - y) log σ(-z) of each logit z and label y, element by element.

    `fit` wants one value per example: lambda outputs, y: sigmoid_binary_cross_entropy(outputs,
    y).mean(-1).
    For labels 0 and 1 nothing cancels, at any logit; an infinite logit on the right side has loss
    0. An integer label other than 0 and 1 makes loss and gradient NaN.

    logits: [...], floating.
    labels: [...], of the same shape: boolean; integer, 0 or 1; or floating probabilities in [0, 1],
        which are differentiable.
    Returns [...], in the dtype of logits, computed in at least float32, as
        optax.sigmoid_binary_cross_entropy.
    Raises TypeError on integer logits, ValueError on shapes that differ (nothing is broadcast).
    Source: derived in this file.

    >>> loss, slope = jax.value_and_grad(jaxnet.rules.sigmoid_binary_cross_entropy)(40.0, 1)
    >>> print(f"{loss:.2e} {slope:.2e}")
    4.25e-18 -4.25e-18
    >>> autodiff = jax.grad(lambda z: -jnp.log(jax.nn.sigmoid(z)))(40.0)
    >>> print(f"{abs(autodiff):.2e}")
    0.00e+00
    """
    _require_alike("sigmoid_binary_cross_entropy", logits, labels)
    _, w, v = _sides(logits, labels)
    return _binary_loss(w, v).astype(logits.dtype)


class BinaryResiduals(NamedTuple):
    """The last two are None where the labels are not floating, and have no derivative."""

    dz: Array  # ∂L/∂z itself, in at least float32
    logits: Array | None  # z, for ∂L/∂y
    labels_dtype: Array | None  # empty: the dtype of ȳ


@sigmoid_binary_cross_entropy.forward
def sigmoid_binary_cross_entropy_forward(
    logits: Array, labels: Array
) -> tuple[Array, BinaryResiduals]:
    _require_alike("sigmoid_binary_cross_entropy", logits, labels)
    yes, w, v = _sides(logits, labels)
    loss = _binary_loss(w, v).astype(logits.dtype)
    r = jnp.exp(-v) / (1 + jnp.exp(-v))  # σ(-v)
    dz = jnp.where(yes, w - r, r - w)  # ∂L/∂z, on the side that z is on
    if jnp.issubdtype(labels.dtype, jnp.floating):
        return loss, BinaryResiduals(dz, logits, only_dtype(labels))
    return loss, BinaryResiduals(dz, None, None)


@sigmoid_binary_cross_entropy.backward
def sigmoid_binary_cross_entropy_backward(
    residuals: BinaryResiduals, dloss: Array
) -> tuple[Array, Array | None]:
    dz, logits, labels_dtype = residuals
    # The loss has the dtype of the logits, and so has its cotangent.
    dlogits = (dloss * dz).astype(dloss.dtype)
    if logits is None or labels_dtype is None:
        return dlogits, None
    dlabels = -dloss * widened(logits)  # ∂L/∂y = -z
    return dlogits, dlabels.astype(labels_dtype.dtype)


def _sides(logits: Array, labels: Array) -> tuple[Array, Array, Array]:
    """Whether z > 0, w and v, in at least float32."""
    z = widened(logits)
    y = labels.astype(z.dtype)
    if not jnp.issubdtype(labels.dtype, jnp.floating):
        y = jnp.where((labels == 0) | (labels == 1), labels, jnp.nan).astype(z.dtype)
    yes = z > 0
    w = jnp.where(yes, 1 - y, y)
    v = jnp.where(yes, z, -z)  # not jnp.abs: its derivative at 0 is 0, that of neither side
    return yes, w, v


def _binary_loss(w: Array, v: Array) -> Array:
    """w v + log1p(exp(-v))."""
    # 0 · ∞ = 0: an infinite logit on the right side costs nothing.
    v_finite = jnp.where((w == 0) & jnp.isinf(v), 0, v)
    return w * v_finite + jnp.log1p(jnp.exp(-v))


def _require_alike(function: str, logits: Array, labels: Array) -> None:
    require_floating(function, logits=logits)
    require_arrays(function, labels=labels)
    if labels.shape != logits.shape:
        raise ValueError(
            f"{function}: logits and labels must have the same shape, "
            f"got {logits.shape} and {labels.shape}; reshape one of them, nothing is broadcast"
        )
