r"""Normalisation of each row, over its last axis of D numbers.  ⟨·⟩ is the mean over that axis.

layer_norm.  With mean and inverse standard deviation of the row

    μ = ⟨x⟩       r = 1 / √(⟨(x - μ)²⟩ + ε)       x̂ = r (x - μ)       y = γ x̂ + β

γ and β act element by element, so with g = γ ȳ

    β̄_i = Σ_rows ȳ_i          γ̄_i = Σ_rows ȳ_i x̂_i          x̂ receives g

x̂ depends on x through r and μ.  With ∂μ/∂x_j = 1/D and, because Σ_i (x_i - μ) = 0,
∂r/∂x_j = -r³ (x_j - μ) / D = -r² x̂_j / D:

    ∂x̂_i/∂x_j = r (δ_ij - 1/D - x̂_i x̂_j / D)
    x̄_j = Σ_i g_i ∂x̂_i/∂x_j = r (g_j - ⟨g⟩ - x̂_j ⟨g x̂⟩)

rms_norm is the same without the mean, and the term from μ is gone:

    r = 1 / √(⟨x²⟩ + ε)       x̂ = r x       y = γ x̂
    γ̄_i = Σ_rows ȳ_i x̂_i       x̄_j = r (g_j - x̂_j ⟨g x̂⟩)

Kept are x and the statistics, one or two numbers of a row; x̂ is made again.  Autodiff keeps three
arrays of the size of x for layer_norm and two for rms_norm; a scan over layers stacks them, and one
jit gains less or nothing.

On a constant row x̂ = 0 and r = 1/√ε: x̄ = (g - ⟨g⟩) / √ε is finite.  The variance is taken from
the differences, in a second pass (⟨x²⟩ - μ² cancels).  All is measured from the first element of
the row, x - μ = (x - x_1) - ⟨x - x_1⟩: the first difference is exact in rows far from 0, where μ
itself would be rounded, to 0.001 at 10000.
"""

from typing import Any, NamedTuple, cast

import jax.numpy as jnp
from jax import Array, lax

from jaxnet._require import number_or_nan, only_dtype, require_floating, widened
from jaxnet._rule import rule


@rule
def layer_norm(
    x: Array, scale: Array | None = None, bias: Array | None = None, *, eps: float = 1e-5
) -> Array:
    """(x - mean) / √(variance + eps) of each row, times scale, plus bias.

    The variance is that of all D numbers (1/D). A row that holds NaN or inf is NaN.

    x: [..., D], D at least 1, floating.
    scale, bias: [D], floating, or None.
    eps: positive.
    Returns [..., D], in the dtype of x (also beside a wider scale), computed in at least float32.
    Raises TypeError on integer arrays, ValueError on sizes that do not fit and on an eps that is
        not positive.
    Source: Ba et al. 2016, "Layer normalization"; the backward is derived in this file.

    >>> x = jnp.array([1.0, 2.0, 3.0])
    >>> [round(y, 3) for y in jaxnet.rules.layer_norm(x).tolist()]
    [-1.225, 0.0, 1.225]
    >>> first = lambda x: jaxnet.rules.layer_norm(x)[0]
    >>> print(jnp.allclose(jax.grad(first)(x), jax.grad(jaxnet.auto(first))(x), atol=1e-6))
    True
    """
    _require_fit("layer_norm", x, eps, scale=scale, bias=bias)
    mean, r = _mean_and_inverse_deviation(x, eps)
    normed = r * (_from_first(x) - mean)
    return _affine(normed, scale, bias).astype(x.dtype)


class LayerNormResiduals(NamedTuple):
    x: Array  # x̂ is made of it again
    mean: Array  # μ - x_1 [..., 1]
    r: Array  # [..., 1]
    scale: Array | None  # γ, for g
    bias_dtype: Array | None  # empty: the dtype of β̄; None without a bias


@layer_norm.forward
def layer_norm_forward(
    x: Array, scale: Array | None, bias: Array | None, *, eps: float
) -> tuple[Array, LayerNormResiduals]:
    y = layer_norm.body(x, scale, bias, eps=eps)
    mean, r = _mean_and_inverse_deviation(x, eps)
    bias_dtype = None if bias is None else only_dtype(bias)
    return y, LayerNormResiduals(x, mean, r, scale, bias_dtype)


@layer_norm.backward
def layer_norm_backward(
    residuals: LayerNormResiduals, dy: Array, *, eps: float
) -> tuple[Array, Array | None, Array | None]:
    x, mean, r, scale, bias_dtype = residuals
    x, dy = _barrier(x), widened(dy)
    normed = r * (_from_first(x) - mean)  # x̂
    g = _affine(dy, scale)  # γ ȳ
    # r (g - ⟨g⟩ - x̂ ⟨g x̂⟩): what reaches x directly, through μ and through r
    mean_g, mean_gx = _barrier((_mean(g), _mean(g * normed)))
    dx = r * (g - mean_g - normed * mean_gx)
    dscale = _sum_of_rows(dy * normed, scale)  # γ̄ = Σ_rows ȳ x̂
    dbias = _sum_of_rows(dy, bias_dtype)  # β̄ = Σ_rows ȳ
    return dx.astype(x.dtype), dscale, dbias


@rule
def rms_norm(x: Array, scale: Array | None = None, *, eps: float = 1e-6) -> Array:
    """x / √(mean of squares + eps) of each row, times scale.

    A row that holds NaN is NaN.

    x: [..., D], D at least 1, floating.
    scale: [D], floating, or None.
    eps: positive.
    Returns [..., D], in the dtype of x (also beside a wider scale), computed in at least float32.
    Raises TypeError on integer arrays, ValueError on sizes that do not fit and on an eps that is
        not positive.
    Source: Zhang and Sennrich 2019, "Root mean square layer normalization"; the backward is derived
        in this file.

    >>> x = jnp.array([3.0, 4.0])
    >>> [round(y, 3) for y in jaxnet.rules.rms_norm(x).tolist()]
    [0.849, 1.131]
    >>> first = lambda x: jaxnet.rules.rms_norm(x)[0]
    >>> print(jnp.allclose(jax.grad(first)(x), jax.grad(jaxnet.auto(first))(x), atol=1e-6))
    True
    """
    _require_fit("rms_norm", x, eps, scale=scale)
    normed = _inverse_rms(widened(x), eps) * widened(x)
    return _affine(normed, scale).astype(x.dtype)


class RmsNormResiduals(NamedTuple):
    x: Array  # x̂ is made of it again
    r: Array  # [..., 1]
    scale: Array | None  # γ, for g


@rms_norm.forward
def rms_norm_forward(
    x: Array, scale: Array | None, *, eps: float
) -> tuple[Array, RmsNormResiduals]:
    y = rms_norm.body(x, scale, eps=eps)
    return y, RmsNormResiduals(x, _inverse_rms(widened(x), eps), scale)


@rms_norm.backward
def rms_norm_backward(
    residuals: RmsNormResiduals, dy: Array, *, eps: float
) -> tuple[Array, Array | None]:
    x, r, scale = residuals
    dy = widened(dy)
    normed = r * widened(x)  # x̂
    g = _affine(dy, scale)  # γ ȳ
    # r (g - x̂ ⟨g x̂⟩): what reaches x directly and through r
    mean_gx = _barrier(r * _mean(g * widened(x)))
    dx = r * (g - normed * mean_gx)
    dscale = _sum_of_rows(dy * normed, scale)  # γ̄ = Σ_rows ȳ x̂
    return dx.astype(x.dtype), dscale


def _mean_and_inverse_deviation(x: Array, eps: float) -> tuple[Array, Array]:
    """μ, measured from the first element, and r."""
    mean = _mean(_from_first(x))
    return mean, _inverse_rms(_from_first(x) - mean, eps)


def _from_first(x: Array) -> Array:
    """x - x_1, which is exact where the row is far from 0."""
    return widened(x) - widened(x[..., :1])


def _inverse_rms(x: Array, eps: float) -> Array:
    return lax.rsqrt(_mean(x * x) + eps)


def _mean(x: Array) -> Array:
    return jnp.mean(x, axis=-1, keepdims=True)


def _barrier(arrays: Any) -> Any:
    """The same, of which XLA knows no more.

    Of x it would otherwise keep the widened one of the forward, for the backward; and what needs
    the mean of a row would not be one pass over x and ȳ after it, but several.
    """
    return cast(Any, lax).optimization_barrier(arrays)  # cast: it has no types


def _affine(x: Array, scale: Array | None, bias: Array | None = None) -> Array:
    if scale is not None:
        x = x * scale
    if bias is not None:
        x = x + bias
    return x


def _sum_of_rows(x: Array, like: Array | None) -> Array | None:
    """Σ_rows x in the dtype of `like`; None for a parameter that was not given."""
    if like is None:
        return None
    rows = tuple(range(x.ndim - 1))
    return jnp.sum(x, axis=rows).astype(like.dtype)


def _require_fit(function: str, x: Array, eps: float, **params: Array | None) -> None:
    given = {name: param for name, param in params.items() if param is not None}
    require_floating(function, x=x, **given)
    if x.ndim == 0 or x.shape[-1] == 0:
        raise ValueError(f"{function}: x must be [..., D] with D at least 1, got shape {x.shape}")
    for name, param in given.items():
        if param.shape != x.shape[-1:]:
            raise ValueError(
                f"{function}: {name} must have shape {x.shape[-1:]} to fit the last axis of x, "
                f"got {param.shape}"
            )
    if not number_or_nan(eps) > 0:
        raise ValueError(
            f"{function}: eps must be positive, or a constant row would divide by 0, got {eps!r}"
        )
