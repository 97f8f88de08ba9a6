"""embedding."""

from typing import Any

import jax.numpy as jnp
import numpy as np

import jaxnet
from catalogue.entry import Case, Entry, Measure, in_bfloat16, normal32

EMBEDDING = Entry(
    jaxnet.rules.embedding,
    lambda table, ids: table[ids],
    cases=(
        Case(
            {
                "repeated": lambda rng: (rng.normal(size=(5, 3)), np.array([0, 4, 4, 2, 4])),
                "one id": lambda rng: (rng.normal(size=(5, 3)), np.array(2)),
                "two dimensions": lambda rng: (
                    rng.normal(size=(6, 4)),
                    rng.integers(0, 6, (2, 3)),
                ),
                "one row": lambda rng: (rng.normal(size=(1, 3)), np.zeros(4, int)),
                "no ids": lambda rng: (rng.normal(size=(5, 3)), np.zeros((0,), int)),
                "no features": lambda rng: (rng.normal(size=(5, 0)), np.array([1, 2])),
                "large": lambda rng: (rng.normal(size=(300, 31)), rng.integers(0, 300, 1000)),
                # where a sum in the working dtype would drift
                "a favourite": lambda rng: (rng.normal(size=(3, 2)), np.ones(4096, int)),
            }
        ),
    ),
    measures=(
        Measure(
            rest=lambda rng, rows, columns: (rng.integers(0, rows, rows).astype(np.int32),),
            points=lambda rng: [
                (normal32(rng, 16, 8), rng.integers(0, 16, 64)),
                in_bfloat16(normal32(rng, 4, 8), rng.integers(0, 4, 65536)),
            ],
        ),
    ),
)


def rows_at_ids(r: Any, dy: Any) -> Any:
    """The rows of a table of zeros that the ids name, to be set or added to."""
    ids, table = r
    return jnp.zeros((table.shape[0], dy.shape[-1]), dy.dtype).at[ids]


def count_ids(r: Any) -> Any:
    ids, table = r
    return jnp.maximum(1, (ids.reshape(-1, 1) == jnp.arange(table.shape[0])).sum(0))[:, None]


EMBEDDING.spoil(
    "repeated ids count once", lambda dtable, _, r, dy: (rows_at_ids(r, dy).set(dy), None)
)
EMBEDDING.spoil("repeated ids are averaged", lambda dtable, _, r, dy: (dtable / count_ids(r), None))
EMBEDDING.spoil("ids one off", lambda dtable, _, r, dy: (jnp.roll(dtable, 1, axis=0), None))
EMBEDDING.spoil(
    "float32 whatever the table", lambda dtable, _, r, dy: (dtable.astype(jnp.float32), None)
)
EMBEDDING.spoil(
    "row 0 has no gradient, as for padding", lambda dtable, _, r, dy: (dtable.at[0].set(0), None)
)
