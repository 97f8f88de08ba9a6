"""mean_squared_error and huber."""

from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
import numpy as np
import optax

import jaxnet
from catalogue.entry import Args, Case, Entry, Measure, changed, given, normal32, normals


def textbook_mean_squared_error(predictions: Any, targets: Any) -> Any:
    return jnp.mean((predictions - targets) ** 2, axis=-1)


def textbook_huber(predictions: Any, targets: Any, *, delta: float = 1.0) -> Any:
    d = jnp.abs(predictions - targets)
    return jnp.where(d <= delta, d**2 / 2, delta * (d - delta / 2))


MEAN_SQUARED_ERROR = Entry(
    jaxnet.rules.mean_squared_error,
    textbook_mean_squared_error,
    cases=(
        Case(
            {
                "matrix": normals((5, 7), (5, 7)),
                "vector": normals((4,), (4,)),
                "three dimensions": normals((2, 3, 5), (2, 3, 5)),
                "one output": normals((3, 1), (3, 1)),
                "exact": given(np.ones((2, 3)), np.ones((2, 3))),
                "empty batch": normals((0, 3), (0, 3)),
                "many outputs": lambda rng: (
                    1e2 * rng.normal(size=(3, 4096)),
                    rng.normal(size=(3, 4096)),
                ),
            }
        ),
    ),
    measures=(
        Measure(
            rest=lambda rng, rows, columns: (normal32(rng, rows, columns),),
            points=lambda rng: [
                (scale * normal32(rng, 3, 64), normal32(rng, 3, 64)) for scale in (1, 10000)
            ],
            reason="autodiff is as good; it is here so that a regression has its loss beside huber",
        ),
    ),
)
MEAN_SQUARED_ERROR.spoil("without the 2", lambda dp, dt, r, dloss: (dp / 2, dt / 2))
MEAN_SQUARED_ERROR.spoil(
    "the sum instead of the mean",
    lambda dp, dt, r, dloss: (r[0].shape[-1] * dp, r[0].shape[-1] * dt),
)
MEAN_SQUARED_ERROR.spoil("targets have no gradient", lambda dp, dt, r, dloss: (dp, None))
MEAN_SQUARED_ERROR.spoil("both gradients of one sign", lambda dp, dt, r, dloss: (dp, dp))

HUBER = Entry(
    jaxnet.rules.huber,
    textbook_huber,
    cases=(
        Case(
            {
                "matrix": normals((5, 7), (5, 7)),
                "scalar": normals((), ()),
                "at the joints": given(np.array([-1.0, -0.5, 0.0, 0.5, 1.0]), np.zeros(5)),
                "empty": normals((0, 3), (0, 3)),
                "large": lambda rng: (1e3 * rng.normal(size=(100, 90)), rng.normal(size=(100, 90))),
            },
            ({}, {"delta": 0.5}, {"delta": 100.0}),
        ),
    ),
    measures=(
        Measure(
            # Timed beside optax's, which is what people use: without the textbook's two branches.
            text=optax.huber_loss,
            rest=lambda rng, rows, columns: (normal32(rng, rows, columns),),
            points=lambda rng: [
                (np.float32(x), np.float32(0.25)) for x in (-1e4, -3, 0.1, 0.25, 1, 3, 1e4)
            ],
        ),
    ),
)
right_huber = HUBER.rule.halves


def plant(name: str, change: Callable[[Any, float], Any]) -> None:
    """change: (c, which is the slope that the forward keeps, delta) -> a wrong one."""

    def backward(r: Any, dloss: Any, *, delta: float) -> Args:
        return right_huber.backward(changed(r, {0: change(r[0], delta)}), dloss, delta=delta)

    HUBER.fault(name, backward=backward)


plant("the square's slope everywhere, doubled", lambda c, delta: 2 * c)
plant(
    "the slope beyond delta is 1",
    lambda c, delta: jnp.where(jnp.abs(c) == delta, jnp.sign(c), c),
)
plant("no slope beyond delta", lambda c, delta: jnp.where(jnp.abs(c) == delta, 0, c))
plant("delta taken for 1", lambda c, delta: jnp.clip(c, -1, 1))
