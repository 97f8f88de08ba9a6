r"""Affine map (docs/report.md, section 2.1):  y = x Wᵀ + b,  that is  y_ni = Σ_k x_nk W_ik + b_i.

A bar marks the derivative of the loss, so ȳ_ni = ∂L/∂y_ni is given and the chain rule sums over all
y that a term enters (section 2.2 does this for one row; n runs over the rows, whatever their
leading dimensions):

    ∂y_ni/∂x_mk = δ_nm W_ik        x̄_nk = Σ_i ȳ_ni W_ik       x̄ = ȳ W
    ∂y_ni/∂W_jk = δ_ij x_nk        W̄_jk = Σ_n ȳ_nj x_nk       W̄ = ȳᵀ x
    ∂y_ni/∂b_j  = δ_ij             b̄_j  = Σ_n ȳ_nj            b̄ = Σ_n ȳ_n

Sums run in at least float32.  Autodiff finds the same three expressions: this rule is here because
the report derives it, not because it is better.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import Array

from jaxnet._require import only_dtype, require_floating, wide_dtype
from jaxnet._rule import rule


@rule
def linear(x: Array, weight: Array, bias: Array) -> Array:
    """The affine map x Wᵀ + b of each row of x (LinearMap in docs/report.md).

    x: [..., in], any number of leading dimensions, floating.
    weight: [out, in], floating.
    bias: [out], floating.
    Returns [..., out], in the dtype that the three promote to, summed in at least float32.
    Raises TypeError on integer arrays, ValueError on sizes that do not fit (nothing is broadcast).
    Source: docs/report.md, sections 2.1 (forward) and 2.2 (backward).

    >>> x, weight, bias = jnp.ones((5, 3)), jnp.ones((2, 3)), jnp.zeros(2)
    >>> jaxnet.linear(x, weight, bias).shape
    (5, 2)
    >>> print(jax.grad(lambda weight: jaxnet.linear(x, weight, bias).sum())(weight))
    [[5. 5. 5.]
     [5. 5. 5.]]
    """
    _require_fit(x, weight, bias)
    dtype = jnp.result_type(x, weight, bias)
    y = jnp.matmul(x, weight.T, preferred_element_type=wide_dtype(dtype)) + bias
    return y.astype(dtype)


class LinearResiduals(NamedTuple):
    x: Array  # for W̄
    weight: Array  # for x̄
    bias_dtype: Array  # empty: the dtype of b̄


@linear.forward
def linear_forward(x: Array, weight: Array, bias: Array) -> tuple[Array, LinearResiduals]:
    y = linear.body(x, weight, bias)
    return y, LinearResiduals(x, weight, only_dtype(bias))


@linear.backward
def linear_backward(residuals: LinearResiduals, dy: Array) -> tuple[Array, Array, Array]:
    x, weight, bias_dtype = residuals
    wide = wide_dtype(dy.dtype)
    rows = tuple(range(x.ndim - 1))  # the axes that n runs over
    # Over an explicit mesh JAX asks how a sum over a sharded axis is placed: as its primal is.
    like_x, like_weight = jax.typeof(x).sharding, jax.typeof(weight).sharding

    # x̄ = ȳ W
    dx = jnp.matmul(dy, weight, preferred_element_type=wide, out_sharding=like_x)
    # W̄ = ȳᵀ x
    dweight = jnp.tensordot(
        dy, x, axes=(rows, rows), preferred_element_type=wide, out_sharding=like_weight
    )
    # b̄ = Σ_n ȳ_n
    dbias = jnp.sum(dy, axis=rows, dtype=wide)
    return dx.astype(x.dtype), dweight.astype(weight.dtype), dbias.astype(bias_dtype.dtype)


def _require_fit(x: Array, weight: Array, bias: Array) -> None:
    require_floating("linear", x=x, weight=weight, bias=bias)
    if weight.ndim != 2:
        raise ValueError(f"linear: weight must be [out, in], got shape {weight.shape}")
    if x.ndim == 0 or x.shape[-1] != weight.shape[1]:
        raise ValueError(
            f"linear: x must end in weight's in = {weight.shape[1]} columns, "
            f"got x of shape {x.shape} and weight [out, in] of shape {weight.shape}; "
            f"rows of x are examples, and weight is stored as in PyTorch"
        )
    if bias.shape != weight.shape[:1]:
        raise ValueError(
            f"linear: bias must have shape {weight.shape[:1]} to fit weight's out, got {bias.shape}"
        )
