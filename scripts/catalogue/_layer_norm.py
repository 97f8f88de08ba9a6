"""layer_norm and rms_norm."""

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
    normal32,
    normals,
    scaled_rows,
)


def textbook_layer_norm(x: Any, scale: Any = 1, bias: Any = 0, *, eps: float = 1e-5) -> Any:
    mean = x.mean(-1, keepdims=True)
    variance = jnp.mean((x - mean) ** 2, -1, keepdims=True)
    return (x - mean) / jnp.sqrt(variance + eps) * scale + bias


def textbook_rms_norm(x: Any, scale: Any = 1, *, eps: float = 1e-6) -> Any:
    return x / jnp.sqrt(jnp.mean(x**2, -1, keepdims=True) + eps) * scale


def kinds_of_rows(rng: np.random.Generator) -> list[np.ndarray]:
    """Ordinary rows, rows with mean 10000, small ones, constant ones."""
    (ordinary,), (far,), (small,) = scaled_rows(rng, 1, 1, 1e-3)
    return [ordinary, far + 10000, small, np.full((3, 64), np.float32(3))]


def with_scale_and_bias(rng: np.random.Generator) -> list[Args]:
    scale, bias = normal32(rng, 64), normal32(rng, 64)
    return [(x, scale, bias) for x in kinds_of_rows(rng)]


def with_scale(rng: np.random.Generator) -> list[Args]:
    scale = normal32(rng, 64)
    return [(x, scale) for x in kinds_of_rows(rng)]


LAYER_NORM = Entry(
    jaxnet.rules.layer_norm,
    textbook_layer_norm,
    cases=(
        Case(
            {
                "scale and bias": normals((5, 7), (7,), (7,)),
                "alone": normals((5, 7)),
                "scale": normals((2, 3, 4), (4,)),
                "one row": normals((9,), (9,), (9,)),
                "constant rows": lambda rng: (
                    np.array([[3.0] * 5, [0.0] * 5, [1e4] * 5]),
                    rng.normal(size=5),
                    rng.normal(size=5),
                ),
                "one column": normals((3, 1), (1,), (1,)),
                "away from zero": lambda rng: (
                    30 + rng.normal(size=(4, 8)),
                    rng.normal(size=8),
                    rng.normal(size=8),
                ),
                "empty batch": normals((0, 3), (3,), (3,)),
                "wide": normals((3, 1000), (1000,), (1000,)),
                "many rows": normals((2048, 3), (3,), (3,)),
            },
            ({}, {"eps": 0.1}),
        ),
    ),
    measures=(
        Measure(
            rest=lambda rng, rows, columns: (normal32(rng, columns), normal32(rng, columns)),
            points=with_scale_and_bias,
        ),
    ),
)

RMS_NORM = Entry(
    jaxnet.rules.rms_norm,
    textbook_rms_norm,
    cases=(
        Case(
            {
                "scale": normals((5, 7), (7,)),
                "alone": normals((5, 7)),
                "three dimensions": normals((2, 3, 4), (4,)),
                "one row": normals((9,), (9,)),
                "zero and constant rows": lambda rng: (
                    np.array([[0.0] * 5, [3.0] * 5, [1e4] * 5]),
                    rng.normal(size=5),
                ),
                "two columns": normals((3, 2), (2,)),
                "empty batch": normals((0, 3), (3,)),
                "wide": normals((3, 1000), (1000,)),
                "many rows": normals((2048, 3), (3,)),
            },
            ({}, {"eps": 0.1}),
        ),
    ),
    measures=(
        Measure(
            rest=lambda rng, rows, columns: (normal32(rng, columns),),
            points=with_scale,
        ),
    ),
)

# The residuals of layer_norm are x, mean, r, scale and an array of the bias's dtype, those of
# rms_norm x, r and scale; r is one over the deviation, or over the root mean square.


def times(x: Any, scale: Any) -> Any:
    return x if scale is None else x * scale


def reduce_rows(reduce: Any, x: Any, param: Any) -> Any:
    """The gradient of a parameter: None where it was not given."""
    return None if param is None else reduce(x, axis=tuple(range(x.ndim - 1))).astype(param.dtype)


def normed_backward(r: Any, dy: Any) -> Any:
    """dx of a layer_norm without scale and bias; the eps is in r already."""
    alone = changed(r, {3: None, 4: None})
    return LAYER_NORM.rule.halves.backward(alone, dy, eps=1)[0]


def rms_backward(r: Any, dy: Any) -> Any:
    return RMS_NORM.rule.halves.backward(changed(r, {2: None}), dy, eps=1)[0]


def with_constant_deviation(r: Any, dy: Any) -> Any:
    g = times(dy, r[3])
    return (g - jnp.mean(g, **ROWWISE)) * r[2].astype(dy.dtype)


def with_constant_mean(r: Any, dy: Any) -> Any:
    normed = r[2] * (r[0] - r[0][..., :1] - r[1])  # the mean is kept as measured from x[0]
    g = times(dy, r[3])
    return (r[2] * (g - normed * jnp.mean(g * normed, **ROWWISE))).astype(dy.dtype)


LAYER_NORM.spoil(
    "scale forgotten in dx", lambda dx, ds, db, r, dy: (normed_backward(r, dy), ds, db)
)
LAYER_NORM.spoil(
    "mean and deviation taken as constants",
    lambda dx, ds, db, r, dy: (times(dy, r[3]) * r[2].astype(dy.dtype), ds, db),
)
LAYER_NORM.spoil(
    "deviation taken as constant",
    lambda dx, ds, db, r, dy: (with_constant_deviation(r, dy), ds, db),
)
LAYER_NORM.spoil(
    "mean taken as constant", lambda dx, ds, db, r, dy: (with_constant_mean(r, dy), ds, db)
)
LAYER_NORM.spoil(
    "dscale with x for the normalised x",
    lambda dx, ds, db, r, dy: (dx, reduce_rows(jnp.sum, dy * r[0], r[3]), db),
)
LAYER_NORM.spoil(
    "dbias is the mean over rows",
    lambda dx, ds, db, r, dy: (dx, ds, reduce_rows(jnp.mean, dy, r[4]) if dy.size else db),
)
RMS_NORM.spoil(
    "r taken as constant", lambda dx, ds, r, dy: ((times(dy, r[2]) * r[1]).astype(dy.dtype), ds)
)
RMS_NORM.spoil("scale forgotten in dx", lambda dx, ds, r, dy: (rms_backward(r, dy), ds))
RMS_NORM.spoil(
    "mean subtracted as in layer_norm",
    lambda dx, ds, r, dy: (dx - jnp.mean(dx, **ROWWISE), ds),
)
RMS_NORM.spoil(
    "dscale with x for the normalised x",
    lambda dx, ds, r, dy: (dx, reduce_rows(jnp.sum, dy * r[0], r[2])),
)
