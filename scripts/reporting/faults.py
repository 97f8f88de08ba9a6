"""Wrong backward rules, planted to see whether training tells.

Every forward is right, every backward is not.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax.numpy as jnp
from jax import Array, nn

import jaxnet

Model = Callable[[Any, Array], Array]
Loss = Callable[[Array, Array], Array]


class Fault(NamedTuple):
    words: str  # the mistake, as its author would own up to it
    right: str  # what the backward should compute, in the letters of the rule's derivation
    wrong: str  # what it computes
    model: Model
    loss: Loss


def network(
    relu: Callable[[Array], Array] = jaxnet.relu, linear: Callable[..., Array] = jaxnet.linear
) -> Model:
    """`jaxnet.mlp`, made of other rules."""

    def model(params: Any, x: Array) -> Array:
        *hidden, last = params
        for layer in hidden:
            x = relu(linear(x, *layer))
        return linear(x, *last)

    return model


def in_linear(
    words: str, right: str, wrong: str, backward: Callable[..., tuple[Array, ...]]
) -> Fault:
    """backward(x, dy, dx, dw, db), the last three as they should be -> cotangents of x, W and b."""
    pull = jaxnet.linear.halves.backward
    faulty = jaxnet.linear.but(backward=lambda r, dy: backward(r[0], dy, *pull(r, dy)))
    return Fault(words, right, wrong, network(linear=faulty), jaxnet.softmax_cross_entropy)


def in_relu(words: str, right: str, wrong: str, backward: Callable[[Array, Array], Array]) -> Fault:
    """backward(y, dy) -> cotangent of x; y, which relu keeps, is its output."""
    faulty = jaxnet.relu.but(backward=lambda y, dy, *, slope_at_zero: (backward(y, dy),))
    return Fault(words, right, wrong, network(relu=faulty), jaxnet.softmax_cross_entropy)


def in_loss(words: str, right: str, wrong: str, backward: Callable[..., Array]) -> Fault:
    """backward(p, y, dloss) -> cotangent of the logits.

    y is one-hot, dloss [..., 1] the cotangent of each example's loss.
    """

    def forward(z: Array, labels: Array) -> tuple[Array, tuple[Array, Array]]:
        y = nn.one_hot(labels, z.shape[-1], dtype=z.dtype)
        return jaxnet.softmax_cross_entropy.body(z, labels), (nn.softmax(z), y)

    faulty = jaxnet.softmax_cross_entropy.but(
        forward=forward,
        backward=lambda r, dloss: (backward(*r, dloss[..., None]), None),
    )
    return Fault(words, right, wrong, network(), faulty)


BIAS, WEIGHT, INPUT = "b̄ = Σₙ ȳₙ", "W̄ = ȳᵀx", "x̄ = ȳW"
GATE, LOSS = "x̄ = ȳ [x > 0]", "z̄ = L̄ (p − y)"
FAULTS = (
    in_linear(
        "bias gradient forgotten", BIAS, "b̄ = 0",
        lambda x, dy, dx, dw, db: (dx, dw, 0 * db),
    ),
    in_linear(
        "bias gradient of the wrong sign", BIAS, "b̄ = −Σₙ ȳₙ",
        lambda x, dy, dx, dw, db: (dx, dw, -db),
    ),
    in_linear(
        "bias sees one row of the batch", BIAS, "b̄ = ȳ₁",
        lambda x, dy, dx, dw, db: (dx, dw, dy[0]),
    ),
    in_linear(
        "weight gradient halved", WEIGHT, "W̄ = ½ ȳᵀx",
        lambda x, dy, dx, dw, db: (dx, dw / 2, db),
    ),
    in_linear(
        "last unit of each layer left out", WEIGHT, "W̄ = ȳᵀx, last row 0",
        lambda x, dy, dx, dw, db: (dx, dw.at[-1].set(0), db),
    ),
    in_linear(
        "reshaped instead of transposed", WEIGHT, "W̄ = reshape(xᵀȳ)",
        lambda x, dy, dx, dw, db: (dx, (x.T @ dy).reshape(dw.shape), db),
    ),
    in_linear(
        "rows paired with the wrong rows", WEIGHT, "W̄ = Σₙ ȳₙᵀ xₙ₋₁",
        lambda x, dy, dx, dw, db: (dx, dy.T @ jnp.roll(x, 1, axis=0), db),
    ),
    in_linear(
        "nothing reaches the first layer", INPUT, "x̄ = 0",
        lambda x, dy, dx, dw, db: (0 * dx, dw, db),
    ),
    in_relu("ReLU's slope taken as 1 everywhere", GATE, "x̄ = ȳ", lambda y, dy: dy),
    in_relu("ReLU's mask inverted", GATE, "x̄ = ȳ [x ≤ 0]", lambda y, dy: jnp.where(y > 0, 0, dy)),
    in_relu("ReLU's mask taken from ȳ", GATE, "x̄ = ȳ [ȳ > 0]", lambda y, dy: jnp.maximum(dy, 0)),
    in_relu("multiplied by ReLU's output", GATE, "x̄ = ȳ max(0, x)", lambda y, dy: dy * y),
    in_loss(
        "softmax differentiated twice", LOSS, "z̄ = L̄ (p − y) p (1 − p)",
        lambda p, y, dloss: dloss * (p - y) * p * (1 - p),
    ),
    in_loss("mean over the batch forgotten", LOSS, "z̄ = p − y", lambda p, y, dloss: p - y),
)  # fmt: skip
