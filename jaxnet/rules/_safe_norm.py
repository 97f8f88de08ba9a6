r"""Square root, norm and direction, with gradient 0 at 0 where autodiff gives NaN or inf.

safe_sqrt.  y = √x, and from y² = x:  2y ∂y/∂x = 1,

    x̄ = ȳ / (2y)

which has no limit at x = 0.  There x̄ = 0: at the bottom of the domain no step of descent leads
anywhere, and 0 is the one value that does not spoil what else is summed into x̄.

safe_norm.  n = √(Σ_k x_k²), and from n² = Σ_k x_k²:  2n ∂n/∂x_j = 2x_j, so with the direction
u = x / n

    x̄_j = n̄ u_j

At x = 0 the norm has a kink, |u| <= 1 are its subgradients, and 0 is the one that favours no
direction.

normalize.  u = x / n.  The quotient rule with ∂n/∂x_j = u_j gives

    ∂u_i/∂x_j = (δ_ij - u_i u_j) / n        x̄_j = Σ_i ū_i ∂u_i/∂x_j = (ū_j - u_j Σ_i ū_i u_i) / n

and u = 0, x̄ = 0 by convention where n = 0.

Squares overflow and underflow long before n does (in float32 beyond 1e19 and below 1e-19), so with
the largest |x_k|, a, held fixed (n does not depend on it), n = a √(Σ_k (x_k / a)²).

Autodiff of the textbook's expressions keeps as much.  The gain is at 0 and at both ends of the
range of floats; a costs one more pass over x, which is why safe_norm and normalize are slower than
the textbook's on a CPU.  Elsewhere three sums in one pass take its place, of the squares of x, of
x large and of x small, where one of the three neither overflows nor underflows (Blue 1978, "A
portable Fortran program to find the Euclidean norm of a vector"): on a GPU as fast as one sum.
"""

import functools
from typing import NamedTuple, cast

import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from jaxnet._require import require_axis, require_floating, widened
from jaxnet._rule import rule


@rule
def safe_sqrt(x: Array) -> Array:
    """√x, element by element, with derivative 0 at 0; NaN below 0.

    x: [...], floating.
    Returns [...], in the dtype of x, computed in at least float32.
    Raises TypeError on integer arrays.
    Source: derived in this file.

    >>> print(*jax.value_and_grad(jaxnet.rules.safe_sqrt)(4.0))
    2.0 0.25
    >>> print(jax.grad(jaxnet.rules.safe_sqrt)(0.0), jax.grad(jnp.sqrt)(0.0))
    0.0 inf
    """
    require_floating("safe_sqrt", x=x)
    return _root(widened(x)).astype(x.dtype)


@safe_sqrt.forward
def safe_sqrt_forward(x: Array) -> tuple[Array, Array]:
    y = safe_sqrt.body(x)
    return y, y


@safe_sqrt.backward
def safe_sqrt_backward(y: Array, dy: Array) -> tuple[Array]:
    dx = dy / (2 * _one_for_zero(widened(y)))  # ȳ / (2y)
    return (jnp.where(y == 0, 0, dx).astype(y.dtype),)


@rule
def safe_norm(x: Array, *, axis: int = -1) -> Array:
    """The Euclidean norm √(Σ x²) along an axis, with gradient 0 at 0.

    A row that holds inf has norm inf and no gradient (NaN).

    x: [...], at least one axis, floating.
    axis: the integer of the axis along which the squares are summed.
    Returns the shape of x without that axis, in its dtype, computed in at least float32 and without
        overflow in the squares; 0 where the axis is empty.
    Raises TypeError on integer arrays, ValueError where there is no such axis.
    Source: derived in this file.

    >>> origin = jnp.zeros(2)
    >>> print(jax.grad(jaxnet.rules.safe_norm)(origin), jax.grad(jnp.linalg.norm)(origin))
    [0. 0.] [nan nan]
    >>> long = jnp.array([3e20, 4e20])
    >>> print(f"{jaxnet.rules.safe_norm(long):.1e} {jnp.linalg.norm(long):.1e}")
    5.0e+20 inf
    """
    _require_fit("safe_norm", x, axis)
    return jnp.squeeze(_norm(widened(x), axis), axis).astype(x.dtype)


class SafeNormResiduals(NamedTuple):
    x: Array  # for u = x / n
    n: Array  # with its axis at size 1, in at least float32


@safe_norm.forward
def safe_norm_forward(x: Array, *, axis: int) -> tuple[Array, SafeNormResiduals]:
    _require_fit("safe_norm", x, axis)
    n = _quick_norm(widened(x), axis)
    return jnp.squeeze(n, axis).astype(x.dtype), SafeNormResiduals(x, n)


@safe_norm.backward
def safe_norm_backward(residuals: SafeNormResiduals, dn: Array, *, axis: int) -> tuple[Array]:
    x, n = residuals
    u = _over_norm(widened(x), n)
    dx = jnp.expand_dims(dn, axis) * u  # n̄ u
    return (dx.astype(x.dtype),)


@rule
def normalize(x: Array, *, axis: int = -1) -> Array:
    """x divided by its Euclidean norm along an axis; 0, with gradient 0, where x is 0.

    A row that holds NaN or inf is NaN there.

    x: [...], at least one axis, floating.
    axis: the integer of the axis along which the squares are summed.
    Returns [...], in the dtype of x, computed in at least float32.
    Raises TypeError on integer arrays, ValueError where there is no such axis.
    Source: derived in this file.

    >>> [round(u, 3) for u in jaxnet.rules.normalize(jnp.array([3.0, 4.0])).tolist()]
    [0.6, 0.8]
    >>> print(*jax.value_and_grad(lambda x: jaxnet.rules.normalize(x).sum())(jnp.zeros(2)))
    0.0 [0. 0.]
    """
    _require_fit("normalize", x, axis)
    x_wide = widened(x)
    return _over_norm(x_wide, _norm(x_wide, axis)).astype(x.dtype)


class NormalizeResiduals(NamedTuple):
    u: Array  # the output
    n: Array  # with its axis at size 1, in at least float32


@normalize.forward
def normalize_forward(x: Array, *, axis: int) -> tuple[Array, NormalizeResiduals]:
    _require_fit("normalize", x, axis)
    x_wide = widened(x)
    n = _quick_norm(x_wide, axis)
    u = _over_norm(x_wide, n).astype(x.dtype)
    return u, NormalizeResiduals(u, n)


@normalize.backward
def normalize_backward(residuals: NormalizeResiduals, du: Array, *, axis: int) -> tuple[Array]:
    u, n = residuals
    u_wide, du = widened(u), widened(du)
    along_u = jnp.sum(du * u_wide, axis=axis, keepdims=True)  # Σ_i ū_i u_i
    dx = _over_norm(du - u_wide * along_u, n)  # (ū - u Σ_i ū_i u_i) / n
    return (dx.astype(u.dtype),)


def _norm(x: Array, axis: int) -> Array:
    """n, with the axis kept at size 1."""
    a = lax.stop_gradient(jnp.max(jnp.abs(x), axis=axis, keepdims=True, initial=0))
    tiny = np.finfo(x.dtype).tiny
    a = jnp.clip(a, tiny, 1 / tiny)  # 1 / a is a normal number, also for 0 and inf
    squares = jnp.sum((x * (1 / a)) ** 2, axis=axis, keepdims=True)
    return a * _root(squares)


def _quick_norm(x: Array, axis: int) -> Array:
    """n, in as few passes over x as the platform can have; it has no derivative of its own."""
    several, one = (functools.partial(f, axis=axis) for f in (_norm, _norm_in_one_pass))
    return cast(Array, lax.platform_dependent(x, cpu=several, default=one))


def _norm_in_one_pass(x: Array, axis: int) -> Array:
    """n by the sums of (x s)² for three powers of 2, of which at least one is in range."""
    tenth = int(np.finfo(x.dtype).maxexp) // 32 * 2.5  # of the exponent: 10 in float32
    s = 2.0 ** (10 * tenth)

    def root_of_sum(s: float) -> Array:
        return _root(jnp.sum((x * s) ** 2, axis=axis, keepdims=True)) / s

    plain, of_large, of_small = map(root_of_sum, (1.0, 1 / s, s))
    n = jnp.where(plain > 2.0 ** (6 * tenth), of_large, plain)
    return jnp.where(plain < 2.0 ** (-4 * tenth), of_small, n)


def _root(x: Array) -> Array:
    return jnp.where(x == 0, 0, jnp.sqrt(_one_for_zero(x)))


def _over_norm(x: Array, n: Array) -> Array:
    """x / n, and 0 where n is 0."""
    return jnp.where(n == 0, 0, x / _one_for_zero(n))


def _one_for_zero(x: Array) -> Array:
    """x, and 1 in place of 0: to divide by, or to take the root of, where 0 is put in afterwards.

    The side that `where` does not take is differentiated too, and must not be inf.
    """
    return jnp.where(x == 0, 1, x)


def _require_fit(function: str, x: Array, axis: int) -> None:
    require_floating(function, x=x)
    if x.ndim == 0:
        raise ValueError(
            f"{function}: x must have at least one axis, got a scalar; jnp.abs(x) is its norm"
        )
    require_axis(function, axis, x=x)
