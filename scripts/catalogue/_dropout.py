"""dropout."""

import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend.random import threefry_2x32

import jaxnet
from catalogue.entry import Args, Case, Draw, Entry, Measure


def textbook(key: Any, x: Any, *, rate: float) -> Any:
    """The documented draw, four elements to a block."""
    dropping = round(rate * 2**16)
    columns = x.shape[-1] if x.ndim else 1
    rows, blocks = math.prod(x.shape[:-1]), (columns + 3) // 4
    counters = jnp.indices((rows, blocks), dtype="uint32")
    words = threefry_2x32(jax.random.bits(key, (2,), "uint32"), counters)
    first, second = words
    quarters = first % 2**16, first // 2**16, second % 2**16, second // 2**16
    bits = jnp.stack(quarters, axis=-1).reshape(rows, 4 * blocks)[:, :columns].reshape(x.shape)
    return jnp.where(bits < dropping, 0, x / (1 - dropping / 2**16))


def usual(x: Any, key: Any) -> Any:
    """Dropout as it is usually written, to be timed: of another draw, so no value is compared."""
    return jnp.where(jax.random.bernoulli(key, 0.9, x.shape), x / 0.9, 0)


def keyed(seed: int, *shape: int, scale: float = 1.0) -> Draw:
    return lambda rng: (jax.random.key(seed), scale * np.asarray(rng.normal(size=shape)))


DROPOUT = Entry(
    jaxnet.rules.dropout,
    textbook,
    cases=(
        Case(
            {
                "matrix": keyed(1, 5, 7),
                "raw key": lambda rng: (jax.random.PRNGKey(1), rng.normal(size=(4, 6))),
                "scalar": keyed(3),
                "one column": keyed(2, 9, 1),
                "three dimensions": keyed(2, 2, 3, 5),
                "empty": keyed(2, 0, 3),
                "no columns": keyed(2, 3, 0),
                "large": keyed(2, 100, 91, scale=1e3),
            },
            ({"rate": 0.5}, {"rate": 0.1}, {"rate": 0.0}),
        ),
    ),
    measures=(
        Measure(
            hand=lambda x, key: jaxnet.rules.dropout(key, x, rate=0.1),
            text=usual,
            rest=lambda rng, rows, columns: (jax.random.key(1),),
        ),
    ),
)


def plant(name: str, change: Callable[[Any, Any, float], Any]) -> None:
    """change: (key, dy, rate) -> a wrong dx."""

    def backward(key: Any, dy: Any, *, rate: float) -> Args:
        return None, change(key, dy, rate)

    DROPOUT.fault(name, backward=backward)


def drop(key: Any, x: Any, rate: float) -> Any:
    return jaxnet.rules.dropout(key, x, rate=rate)


plant("another mask", lambda key, dy, rate: drop(jax.random.fold_in(key, 0), dy, rate))
plant("not divided by 1 - rate", lambda key, dy, rate: drop(key, dy, rate) * (1 - rate))
plant("no mask", lambda key, dy, rate: dy / (1 - rate))
plant("mask inverted", lambda key, dy, rate: jnp.where(drop(key, dy, rate) == 0, dy, 0))
