"""safe_sqrt, safe_norm and normalize."""

from typing import Any

import jax.numpy as jnp
import numpy as np

import jaxnet
from catalogue.entry import (
    ROWWISE,
    Args,
    Case,
    Entry,
    Measure,
    changed,
    given,
    normals,
    scaled_rows,
)


def textbook_norm(x: Any, *, axis: int = -1) -> Any:
    return jnp.linalg.norm(x, axis=axis)


def textbook_normalize(x: Any, *, axis: int = -1) -> Any:
    norm = jnp.linalg.norm(x, axis=axis, keepdims=True)
    return jnp.where(norm == 0, 0, x / norm)


def quotient(x: Any) -> Any:
    """normalize as it is usually written: timed, but NaN at 0, where the tests compare a value."""
    return x / jnp.linalg.norm(x, axis=-1, keepdims=True)


# True gradients, 0 at 0, where autodiff has none.


def one_for_zero(x: Any) -> Any:
    return np.where(x == 0, 1, x)


def safe_sqrt_truth(c: Any, x: Any) -> Args:
    return (np.where(x == 0, 0, c / (2 * np.sqrt(one_for_zero(x)))),)


def norm_and_direction(x: Any) -> tuple[Any, Any]:
    n = np.sqrt((x * x).sum(**ROWWISE))
    return one_for_zero(n), np.where(n == 0, 0, x / one_for_zero(n))


def safe_norm_truth(c: Any, x: Any) -> Args:
    return (c[..., None] * norm_and_direction(x)[1],)


def normalize_truth(c: Any, x: Any) -> Args:
    n, u = norm_and_direction(x)
    is_zero = (u == 0).all(**ROWWISE)
    return (np.where(is_zero, 0, (c - u * (c * u).sum(**ROWWISE)) / n),)


VECTORS = {
    "matrix": normals((5, 7)),
    "vector": normals((4,)),
    "three dimensions": normals((2, 3, 5)),
    "zeros": given(np.zeros((3, 3))),
    "a zero in each": given(np.array([[0.0, 2.0], [-1.0, 0.0]])),
    "near zero": normals((3, 4), scale=1e-3),
    "two by two": normals((2, 2)),
    "empty": normals((0, 3)),
    "large": normals((100, 90), scale=1e3),
}


def rows_of_all_sizes(rng: np.random.Generator) -> list[Args]:
    return scaled_rows(rng, 0, 1e-25, 1e-3, 1, 1e3, 1e25)


PASS = "the largest element, which keeps the squares in range, is one more pass"

SAFE_SQRT = Entry(
    jaxnet.rules.safe_sqrt,
    jnp.sqrt,
    cases=(
        Case(
            {
                "matrix": lambda rng: (rng.normal(size=(5, 7)) ** 2,),
                "scalar": lambda rng: (rng.normal(size=()) ** 2,),
                "at and beside zero": given(np.array([0.0, -0.0, 1e-4, 1.0, 4.0])),
                "empty": normals((0, 3)),
                "large": lambda rng: (1e4 * rng.random((100, 90)),),
            }
        ),
    ),
    measures=(
        Measure(  # at |x|: half of what is drawn for the time is negative
            hand=lambda x: jaxnet.rules.safe_sqrt(abs(x)),
            text=lambda x: jnp.sqrt(abs(x)),
            points=lambda rng: [(np.float32(x),) for x in (0, 1e-30, 1e-6, 0.5, 1e6, 1e30)],
            truth=safe_sqrt_truth,
        ),
    ),
)
SAFE_SQRT.fault("2y not divided by but multiplied with", backward=lambda y, dy: (2 * y * dy,))
SAFE_SQRT.fault(
    "2 forgotten",
    backward=lambda y, dy: (jnp.where(y == 0, 0, dy / jnp.where(y == 0, 1, y)),),
)
SAFE_SQRT.fault("clipped, not 0, at 0", backward=lambda y, dy: (dy / (2 * jnp.maximum(y, 1e-3)),))

SAFE_NORM = Entry(
    jaxnet.rules.safe_norm,
    textbook_norm,
    cases=(Case(VECTORS, ({}, {"axis": 0})),),
    measures=(Measure(points=rows_of_all_sizes, truth=safe_norm_truth, reason=PASS),),
)
SAFE_NORM.fault(
    "NaN at 0", backward=lambda r, dn, *, axis: (jnp.expand_dims(dn, axis) * r[0] / r[1],)
)
SAFE_NORM.fault(
    "x for its direction", backward=lambda r, dn, *, axis: (jnp.expand_dims(dn, axis) * r[0],)
)
SAFE_NORM.fault(
    "cotangent ignored",
    backward=lambda r, dn, **options: SAFE_NORM.rule.halves.backward(
        r, jnp.ones_like(dn), **options
    ),
)

NORMALIZE = Entry(
    jaxnet.rules.normalize,
    textbook_normalize,
    cases=(Case(VECTORS, ({}, {"axis": 0})),),
    measures=(
        Measure(text=quotient, points=rows_of_all_sizes, truth=normalize_truth, reason=PASS),
    ),
)

# The residuals of normalize are u and n, as its derivation has them.


def one_where_zero(n: Any) -> Any:
    return jnp.where(n == 0, 1, n)


NORMALIZE.fault(
    "norm taken as constant",
    backward=lambda r, du, *, axis: (jnp.where(r[1] == 0, 0, du / one_where_zero(r[1])),),
)
NORMALIZE.fault(
    "projected but not divided by the norm",
    backward=lambda r, du, *, axis: (
        jnp.where(r[1] == 0, 0, du - r[0] * jnp.sum(du * r[0], axis, keepdims=True)),
    ),
)
NORMALIZE.fault(
    "not zero at zero",
    backward=lambda r, du, **options: NORMALIZE.rule.halves.backward(
        changed(r, {1: one_where_zero(r[1])}), du, **options
    ),
)
