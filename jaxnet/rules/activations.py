r"""Activations.

relu (report, sections 2.1 and 2.2).  y = max(0, x) lets a value pass or stops it, so that with one gate

    g(r, v) = v for r > 0,  s v for r = 0,  0 for r < 0       y = g(x, x)      x̄ = g(x, ȳ)

The slope s at the kink is a convention: any s in [0, 1] is a subgradient. The default 0 is that of the frameworks, and
the best of [0, 1] in training (Bertoin et al. 2021, "Numerical influence of ReLU'(0) on backpropagation"); the report
writes 1 for x >= 0. With s = 0 the gate opens at x > 0, which is where y > 0: the output is enough, x̄ = g(y, ȳ), and a
layer that follows keeps y anyway. With s > 0 the input is kept, because y = 0 does not tell x = 0 from x < 0.

softmax (report, section 2.2).  p_i = exp(z_i) / Σ_k exp(z_k), after subtracting the largest z from all, which changes
no p and keeps exp from overflowing.  With ∂exp(z_i)/∂z_j = δ_ij exp(z_i) the quotient rule gives

    ∂p_i/∂z_j = δ_ij p_i - p_i p_j = p_i (δ_ij - p_j)
    z̄_j = Σ_i p̄_i ∂p_i/∂z_j = p_j (p̄_j - Σ_i p̄_i p_i)

Where one p_m is close to 1 the last bracket cancels at j = m: p̄_m - p̄_m p_m - ... is 0 in floating point, though the
true value is not.  The rows of the Jacobian sum to 0 (Σ_i ∂p_i/∂z_j = p_j - p_j Σ_i p_i = 0), so a constant may be
taken from p̄ first.  Taking p̄_m, for the largest p_m, removes the term that cancels:

    q_i = p̄_i - p̄_m        z̄_j = p_j (q_j - Σ_i q_i p_i)        q_m = 0, so the sum holds only small p
"""

import jax.numpy as jnp
from jax import Array, lax

from jaxnet._checks import require_floating
from jaxnet._rule import rule


@rule
def relu(x: Array, *, slope_at_zero: float = 0.0) -> Array:
    """max(0, x), element by element; NaN stays NaN.

    x: any shape, floating dtype. slope_at_zero: the derivative at exactly 0 (and -0), in [0, 1]; the report's is 1.
    Returns the shape and dtype of x.
    Raises TypeError on integer arrays, ValueError on a slope outside [0, 1].
    Source: report, sections 2.1 and 2.2.
    """
    require_floating("relu", x=x)
    if not 0 <= slope_at_zero <= 1:
        raise ValueError(f"relu: slope_at_zero must be in [0, 1], a subgradient of relu at 0, got {slope_at_zero}")
    return _gate(x, x, slope_at_zero)


@relu.forward
def relu_forward(x: Array, *, slope_at_zero: float) -> tuple[Array, Array]:
    y = relu.body(x, slope_at_zero=slope_at_zero)
    return y, (y if slope_at_zero == 0 else x)


@relu.backward
def relu_backward(r: Array, dy: Array, *, slope_at_zero: float) -> tuple[Array]:
    return (_gate(r, dy, slope_at_zero),)


def _gate(r: Array, v: Array, slope_at_zero: float) -> Array:
    if slope_at_zero == 0:
        return jnp.where(r <= 0, 0, v)  # not r > 0: at NaN the gate is open, so that NaN passes
    return jnp.where(r < 0, 0, jnp.where(r == 0, jnp.multiply(slope_at_zero, v), v))


@rule
def softmax(logits: Array) -> Array:
    """The distribution p_i = exp(z_i) / Σ_k exp(z_k) over the last axis.

    logits: [..., classes], at least one class, floating dtype; -inf gives p = 0.
    Returns [..., classes] in the dtype of logits, computed in at least float32. A row that holds NaN or +inf, or only
    -inf, has no such distribution and is NaN.
    Raises TypeError on integer arrays, ValueError where there is no class.
    Source: report, section 2.1 (with exp(z_i) where it prints exp(max z)); backward section 2.2.
    """
    require_floating("softmax", logits=logits)
    if logits.ndim == 0 or logits.shape[-1] == 0:
        raise ValueError(f"softmax: logits must be [..., classes] with at least one class, got shape {logits.shape}")
    z = logits.astype(jnp.promote_types(logits.dtype, jnp.float32))
    e = jnp.exp(z - lax.stop_gradient(jnp.max(z, axis=-1, keepdims=True)))
    return (e / jnp.sum(e, axis=-1, keepdims=True)).astype(logits.dtype)


@softmax.forward
def softmax_forward(logits: Array) -> tuple[Array, Array]:
    p = softmax.body(logits)
    return p, p  # the output is all that the backward needs: one array instead of exp, sum and quotient


@softmax.backward
def softmax_backward(p: Array, dp: Array) -> tuple[Array]:
    dtype = p.dtype
    p, dp = p.astype(jnp.promote_types(dtype, jnp.float32)), dp.astype(jnp.promote_types(dtype, jnp.float32))
    q = dp - jnp.take_along_axis(dp, jnp.argmax(p, axis=-1, keepdims=True), axis=-1)
    dlogits = p * (q - jnp.sum(q * p, axis=-1, keepdims=True))
    return (dlogits.astype(dtype),)
