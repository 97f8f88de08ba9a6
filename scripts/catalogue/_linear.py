"""linear."""

import math
from typing import Any

import jax
import jax.numpy as jnp

import jaxnet
from catalogue.entry import SMALLER, Case, Entry, Measure, affine, in_bfloat16, normal32


def textbook(x: Any, weight: Any, bias: Any) -> Any:
    return x @ weight.T + bias


LINEAR = Entry(
    jaxnet.linear,
    textbook,
    cases=(
        Case(
            {
                "matrix": affine((6,), 5, 4),
                "square": affine((4,), 4, 4),
                "one row": affine((1,), 3, 2),
                "no leading dimension": affine((), 3, 2),
                "three leading dimensions": affine((2, 3, 5), 7, 3),
                "one by one": affine((1,), 1, 1),
                "empty batch": affine((0,), 3, 2),
                "no inputs": affine((2,), 0, 3),
                "large": affine((300,), 67, 31),
                # where a sum in the working dtype would drift
                "many rows": affine((4096,), 7, 5),
            }
        ),
    ),
    measures=(
        Measure(
            rest=lambda rng, rows, columns: (
                normal32(rng, columns, columns),
                normal32(rng, columns),
            ),
            points=lambda rng: [
                (normal32(rng, 64, 16), normal32(rng, 8, 16), normal32(rng, 8)),
                in_bfloat16(normal32(rng, 4096, 16), normal32(rng, 8, 16), normal32(rng, 8)),
            ],
            timed=SMALLER,
            reason="the report derives it",
        ),
    ),
)


def is_square(matrix: Any) -> bool:
    return matrix.shape[0] == matrix.shape[1]


def sum_rows(x: Any, dy: Any, dweight: Any) -> Any:
    """The sum over rows one after the other, each partial sum rounded to the weights' dtype."""
    rows = math.prod(x.shape[:-1])
    xs, dys = x.reshape(rows, x.shape[-1]), dy.reshape(rows, dy.shape[-1])
    return jax.lax.scan(
        lambda total, row: (total + jnp.outer(*row), None), jnp.zeros_like(dweight), (dys, xs)
    )[0]


LINEAR.spoil(
    "weight not transposed in dx",
    lambda dx, dw, db, r, dy: (dy @ r[1].T if is_square(r[1]) else dx, dw, db),
)
LINEAR.spoil(
    "dweight transposed", lambda dx, dw, db, r, dy: (dx, dw.T if is_square(dw) else dw, db)
)
LINEAR.spoil("dx is zero", lambda dx, dw, db, r, dy: (0 * dx, dw, db))
LINEAR.spoil("dweight is half", lambda dx, dw, db, r, dy: (dx, dw / 2, db))
LINEAR.spoil("dweight without the last row", lambda dx, dw, db, r, dy: (dx, dw.at[-1].set(0), db))
LINEAR.spoil(
    "dweight wrong at one element",
    lambda dx, dw, db, r, dy: (dx, dw.at[0, 0].multiply(1 + 1e-6), db),
)
LINEAR.spoil(
    "dbias is the mean over rows",
    lambda dx, dw, db, r, dy: (dx, dw, db / max(1, dy.size // dy.shape[-1])),
)
LINEAR.spoil("dbias missing", lambda dx, dw, db, r, dy: (dx, dw, 0 * db))
LINEAR.spoil(
    "dbias of the first row only",
    lambda dx, dw, db, r, dy: (dx, dw, dy.reshape(-1, dy.shape[-1])[0] if dy.size else db),
)
LINEAR.spoil(
    "dweight summed row by row in the working dtype",
    lambda dx, dw, db, r, dy: (dx, sum_rows(r[0], dy, dw), db),
)
LINEAR.spoil(
    "dbias in float32 whatever the bias", lambda dx, dw, db, r, dy: (dx, dw, db.astype(jnp.float32))
)
LINEAR.spoil("clips its result", lambda dx, dw, db, r, dy: (dx, jnp.clip(dw, -1, 1), db))
