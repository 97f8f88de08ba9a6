r"""softmax and log_softmax: numbers to a distribution, along one axis.

softmax (docs/report.md, section 2.2).  p_i = exp(z_i) / Σ_k exp(z_k), where z is measured from its
largest, d_i = z_i - max z, which changes no p and keeps exp from overflowing.  With
∂exp(d_i)/∂z_j = δ_ij exp(d_i) the quotient rule gives

    ∂p_i/∂z_j = δ_ij p_i - p_i p_j = p_i (δ_ij - p_j)
    z̄_j = Σ_i p̄_i ∂p_i/∂z_j = p_j q_j        q_j = p̄_j - Σ_i p̄_i p_i

log_softmax.  y_i = log p_i = d_i - log Σ_k exp(d_k), so

    ∂y_i/∂z_j = δ_ij - p_j        z̄_j = ȳ_j - p_j Σ_i ȳ_i        p_j = exp(y_j)

Where one p_m is close to 1 both differences cancel at j = m: they are 0 in floating point, or
rounding error, long before their true values are.  But both are projections.  q is p̄ without its
mean under p, and has mean Σ_j q_j p_j = 0; log_softmax's z̄ has sum Σ_j z̄_j = 0 (because
Σ_j p_j = 1).  Projecting what is projected changes nothing in exact arithmetic, and in floating
point takes away what rounding has put back:

    softmax         q'_j = q_j - Σ_i q_i p_i          z̄_j = p_j q'_j
    log_softmax     z̄_j = g_j - p_j Σ_i g_i           g_j = ȳ_j - p_j Σ_i ȳ_i

The new sums hold the small terms i ≠ m, which do not cancel, and at m what is left of an error e in
q_m or g_m is e - p_m e.  (Gram-Schmidt done twice keeps vectors orthogonal in the same way.)

An entry that `where` hides is as if it were not there: p = 0 and y = -inf whatever its z is, so
nothing depends on z, and the constant y passes no ȳ on.  p says so by itself, z̄_j = p_j q'_j = 0;
for y, ȳ_j = 0 is put in.  A row that is hidden whole gets p = 0, y = -inf and z̄ = 0.

Autodiff keeps as much, the output (more where there is a mask), and has one sum less: the gain is
accuracy, the price one more pass and, inside one jit, one more temporary array.  An accelerator
pays less of it, or nothing, for rows of up to 16384 numbers: `_p_again`.
"""

from collections.abc import Callable
from typing import Any, NamedTuple, cast

import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from jaxnet._require import require_arrays, require_axis, require_floating, widened
from jaxnet._rule import rule


@rule
def softmax(logits: Array, where: Array | None = None, *, axis: int = -1) -> Array:
    """The distribution p_i = exp(z_i) / Σ_k exp(z_k) along an axis, over what `where` shows.

    A row that is hidden whole by `where` is all zeros, with gradient 0. A row that shows NaN or
    +inf, or only -inf, has no such distribution and is NaN.

    logits: [...], at least one class along axis, floating; -inf gives p = 0.
    where: [...], boolean, as many dimensions as logits, each of its size or 1; False gives p = 0,
        gradient 0. None shows all.
    axis: the integer of the axis of the classes.
    Returns [...], in the dtype of logits, computed in at least float32.
    Raises TypeError on integer logits and on a mask that is not boolean, ValueError where there is
        no class or no such axis, or the mask does not fit.
    Source: docs/report.md, section 2.1 (with exp(z_i) where the report prints exp(max z)); backward
        section 2.2.

    >>> print(jaxnet.softmax(jnp.array([1.0, 1.0, 3.0]), jnp.array([True, True, False])))
    [0.5 0.5 0. ]
    >>> logits = jnp.array([40.0, 0.0])  # p = 1 - 4e-18, and 4e-18
    >>> for f in (jaxnet.softmax, jax.nn.softmax):  # by hand, automatic
    ...     print(f"{jax.grad(lambda z: f(z)[0])(logits)[0]:.2e}")
    4.25e-18
    0.00e+00
    """
    _require_fit("softmax", logits, where, axis)
    e = jnp.exp(_below_largest(logits, where, axis))
    total = jnp.sum(e, axis=axis, keepdims=True)
    return (e / jnp.where(total == 0, 1, total)).astype(logits.dtype)


@softmax.forward
def softmax_forward(logits: Array, where: Array | None, *, axis: int) -> tuple[Array, Array]:
    p = softmax.body(logits, where, axis=axis)
    return p, p  # the output is enough: one array instead of exp, sum and quotient


@softmax.backward
def softmax_backward(p: Array, dp: Array, *, axis: int) -> tuple[Array, None]:
    p_wide, q = _p_again(widened, p, axis), widened(dp)
    for _ in range(2):  # q = p̄ - Σ_i p̄_i p_i, and projected again q' = q - Σ_i q_i p_i
        q = q - jnp.sum(q * p_wide, axis=axis, keepdims=True)
    dlogits = p_wide * q  # z̄ = p q'
    return dlogits.astype(p.dtype), None


@rule
def log_softmax(logits: Array, where: Array | None = None, *, axis: int = -1) -> Array:
    """The logarithm of `softmax` along an axis, over the entries that `where` shows.

    A row that is hidden whole by `where` is all -inf, with gradient 0. A row that shows NaN or
    +inf, or only -inf, is NaN. The value rounds to 0 where p is within eps of 1, the gradient does
    not; as a loss prefer `softmax_cross_entropy`, whose value does not either.

    logits: [...], at least one class along axis, floating; -inf gives -inf.
    where: [...], boolean, as many dimensions as logits, each of its size or 1; False gives -inf,
        gradient 0. None shows all.
    axis: the integer of the axis of the classes.
    Returns [...], in the dtype of logits, computed in at least float32.
    Raises as `softmax` does.
    Source: the logarithm of softmax (docs/report.md, section 2.1); the backward is derived in this
        file.

    >>> logits = jnp.array([40.0, 0.0])
    >>> value, gradient = jax.value_and_grad(lambda z: jaxnet.rules.log_softmax(z)[0])(logits)
    >>> print(f"{value:.2e} {gradient[0]:.2e} {gradient[1]:.2e}")
    0.00e+00 4.25e-18 -4.25e-18
    """
    _require_fit("log_softmax", logits, where, axis)
    d = _below_largest(logits, where, axis)
    total = jnp.sum(jnp.exp(d), axis=axis, keepdims=True)
    y = d - jnp.log(jnp.where(total == 0, 1, total))
    if where is not None:
        y = jnp.where(where, y, -jnp.inf)
    return y.astype(logits.dtype)


class LogSoftmaxResiduals(NamedTuple):
    y: Array  # the output, for p = exp(y)
    where: Array | None  # the mask as it was given: the constants there pass no ȳ on


@log_softmax.forward
def log_softmax_forward(
    logits: Array, where: Array | None, *, axis: int
) -> tuple[Array, LogSoftmaxResiduals]:
    y = log_softmax.body(logits, where, axis=axis)
    return y, LogSoftmaxResiduals(y, where)


@log_softmax.backward
def log_softmax_backward(
    residuals: LogSoftmaxResiduals, dy: Array, *, axis: int
) -> tuple[Array, None]:
    y, where = residuals
    p, g = _p_again(_exp, y, axis), widened(dy)
    if where is not None:
        g = jnp.where(where, g, 0)
    for _ in range(2):  # g = ȳ - p Σ_i ȳ_i, and projected again z̄ = g - p Σ_i g_i
        g = g - p * jnp.sum(g, axis=axis, keepdims=True)
    return g.astype(y.dtype), None


LONGEST = 16384  # numbers of a row; of 32768 XLA for GPUs makes no one kernel


def _p_again(p_of: Callable[[Array], Array], output: Array, axis: int) -> Array:
    """p_of(output) in at least float32; on an accelerator divided by its sum, which is 1.

    XLA for GPUs knows that quotient, and makes one kernel of it and all that follows in the row, as
    it does of the forward: else each sum is one more. A longer row gains nothing from it. The
    barrier is there so that p is made of the output: else XLA keeps the forward's wide p for it.
    """

    def with_sum_1(output: Array) -> Array:
        p = p_of(cast(Any, lax).optimization_barrier(output))
        total = jnp.sum(p, axis=axis, keepdims=True)
        return p / jnp.maximum(total, np.finfo(p.dtype).tiny)  # 0 where a row is hidden whole

    if output.shape[axis] > LONGEST:
        return p_of(output)
    return cast(Array, lax.platform_dependent(output, cpu=p_of, default=with_sum_1))


def _exp(y: Array) -> Array:
    return jnp.exp(widened(y))


def _below_largest(logits: Array, where: Array | None, axis: int) -> Array:
    """d: how far each entry is below the largest one shown, -inf for what `where` hides."""
    z = widened(logits)
    # A constant to autodiff of the body: p and y are the same from wherever z is measured.
    if where is None:
        return z - lax.stop_gradient(jnp.max(z, axis=axis, keepdims=True))
    largest = jnp.max(z, axis=axis, keepdims=True, initial=-jnp.inf, where=where)
    return jnp.where(where, z - lax.stop_gradient(largest), -jnp.inf)


def _require_fit(function: str, logits: Array, where: Array | None, axis: int) -> None:
    require_floating(function, logits=logits)
    if logits.ndim == 0:
        raise ValueError(
            f"{function}: logits must have an axis of at least one class, got shape ()"
        )
    require_axis(function, axis, logits=logits)
    if logits.shape[axis] == 0:
        raise ValueError(
            f"{function}: logits must have at least one class, "
            f"got shape {logits.shape} and axis {axis}"
        )
    if where is not None:
        _require_mask(function, logits, where)


def _require_mask(function: str, logits: Array, where: Array) -> None:
    require_arrays(function, where=where)
    if where.dtype != bool:
        raise TypeError(
            f"{function}: where must be booleans, True where a class counts, "
            f"got dtype {where.dtype}"
        )
    fits = where.ndim == logits.ndim and all(
        n in (1, size) for n, size in zip(where.shape, logits.shape, strict=True)
    )
    if not fits:
        raise ValueError(
            f"{function}: where must have as many dimensions as logits, each of its size or 1: "
            f"for logits of shape {logits.shape}, got {where.shape}; "
            f"write the dimensions of size 1 out, as in where[:, None, :]"
        )
