r"""Square root, norm and direction, with gradient 0 at 0 where autodiff gives NaN or inf.

safe_sqrt.  y = √x, and from y² = x:  2y ∂y/∂x = 1,

    x̄ = ȳ / (2y)

which has no limit at x = 0.  There x̄ = 0: at the bottom of the domain no step of descent leads anywhere, and 0 is the
one value that does not spoil what else is summed into x̄.

safe_norm.  n = √(Σ_k x_k²), and from n² = Σ_k x_k²:  2n ∂n/∂x_j = 2x_j, so with the direction u = x / n

    x̄_j = n̄ u_j

At x = 0 the norm has a kink, |u| <= 1 are its subgradients, and 0 is the one that favours no direction.

normalize.  u = x / n.  The quotient rule with ∂n/∂x_j = u_j gives

    ∂u_i/∂x_j = (δ_ij - u_i u_j) / n        x̄_j = Σ_i ū_i ∂u_i/∂x_j = (ū_j - u_j Σ_i ū_i u_i) / n

and u = 0, x̄ = 0 by convention where n = 0.

Squares overflow and underflow long before n does (in float32 beyond 1e19 and below 1e-19), so with the largest |x_k|,
a, held fixed (n does not depend on it), n = a √(Σ_k (x_k / a)²).

Autodiff of the textbook's expressions keeps as much.  The gain is at 0 and at both ends of the range of floats; a costs
one more pass over x, which is why safe_norm and normalize are slower than the textbook's.
"""

import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from jaxnet._require import require_axis, require_floating, widened
from jaxnet._rule import rule


@rule
def safe_sqrt(x: Array) -> Array:
    """√x, element by element, with derivative 0 at 0; NaN below 0.

    x: any shape, floating dtype. Returns the shape and dtype of x, computed in at least float32.
    Raises TypeError on integer arrays.
    """
    require_floating("safe_sqrt", x=x)
    t = widened(x)
    return jnp.where(t == 0, 0, jnp.sqrt(_or_one(t))).astype(x.dtype)


@safe_sqrt.forward
def safe_sqrt_forward(x: Array) -> tuple[Array, Array]:
    y = safe_sqrt.body(x)
    return y, y


@safe_sqrt.backward
def safe_sqrt_backward(y: Array, dy: Array) -> tuple[Array]:
    return (jnp.where(y == 0, 0, dy / (2 * _or_one(widened(y)))).astype(y.dtype),)


@rule
def safe_norm(x: Array, *, axis: int = -1) -> Array:
    """The Euclidean norm √(Σ x²) along an axis, with gradient 0 at 0, and no overflow in the squares.

    x: any shape with at least one axis, floating dtype. Returns the shape of x without that axis, in its dtype,
    computed in at least float32; 0 where the axis is empty. A row that holds inf has norm inf and no gradient (NaN).
    Raises TypeError on integer arrays, ValueError where there is no such axis.
    """
    _require_fit("safe_norm", x, axis)
    return jnp.squeeze(_norm(widened(x), axis), axis).astype(x.dtype)


@safe_norm.forward
def safe_norm_forward(x: Array, *, axis: int) -> tuple[Array, tuple[Array, Array]]:
    n = _norm(widened(x), axis)
    return jnp.squeeze(n, axis).astype(x.dtype), (x, n)


@safe_norm.backward
def safe_norm_backward(residuals: tuple[Array, Array], dn: Array, *, axis: int) -> tuple[Array]:
    x, n = residuals
    return ((jnp.expand_dims(dn, axis) * _direction(widened(x), n)).astype(x.dtype),)


@rule
def normalize(x: Array, *, axis: int = -1) -> Array:
    """x divided by its Euclidean norm along an axis; 0, with gradient 0, where x is 0.

    x: any shape with at least one axis, floating dtype. Returns the shape and dtype of x, computed in at least float32.
    A row that holds NaN or inf is NaN there.
    Raises TypeError on integer arrays, ValueError where there is no such axis.
    """
    _require_fit("normalize", x, axis)
    return _direction(widened(x), _norm(widened(x), axis)).astype(x.dtype)


@normalize.forward
def normalize_forward(x: Array, *, axis: int) -> tuple[Array, tuple[Array, Array]]:
    u = normalize.body(x, axis=axis)
    return u, (u, _norm(widened(x), axis))


@normalize.backward
def normalize_backward(residuals: tuple[Array, Array], du: Array, *, axis: int) -> tuple[Array]:
    dtype = residuals[0].dtype
    u, n, du = widened(residuals[0]), residuals[1], widened(du)
    return (_direction(du - u * jnp.sum(du * u, axis=axis, keepdims=True), n).astype(dtype),)


def _norm(x: Array, axis: int) -> Array:
    """The norm, with the axis kept at size 1."""
    a = lax.stop_gradient(jnp.max(jnp.abs(x), axis=axis, keepdims=True, initial=0))
    tiny = np.finfo(x.dtype).tiny
    a = jnp.clip(a, tiny, 1 / tiny)  # 1 / a is a normal number, also for 0 and inf
    squares = jnp.sum((x * (1 / a)) ** 2, axis=axis, keepdims=True)
    return a * jnp.where(squares == 0, 0, jnp.sqrt(_or_one(squares)))


def _direction(x: Array, n: Array) -> Array:
    return jnp.where(n == 0, 0, x / _or_one(n))


def _or_one(x: Array) -> Array:
    """x, and 1 in place of 0: what is divided by, or rooted, where the result is then not used."""
    return jnp.where(x == 0, 1, x)


def _require_fit(function: str, x: Array, axis: int) -> None:
    require_floating(function, x=x)
    if x.ndim == 0:
        raise ValueError(
            f"{function}: x must have at least one axis, got a scalar; jnp.abs(x) is its norm"
        )
    require_axis(function, axis, x=x)
