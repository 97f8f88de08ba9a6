"""6. The network with two hidden layers. L is the mean over the N examples; y is one-hot.

Write the backward pass, in NumPy or in JAX, then run

    python -m jaxnet grade 6_two_hidden.py
"""

import numpy as np

SHAPES = {"x": "data N D", "y": "one-hot N M"} | {
    "W1": "H1 D", "b1": "H1", "W2": "H2 H1", "b2": "H2", "W3": "M H2", "b3": "M",
}  # fmt: skip


def forward(x, y, W1, b1, W2, b2, W3, b3):
    h1 = np.maximum(0, x @ W1.T + b1)
    h2 = np.maximum(0, h1 @ W2.T + b2)
    z = h2 @ W3.T + b3
    shifted = z - z.max(axis=1, keepdims=True)
    p = np.exp(shifted) / np.exp(shifted).sum(axis=1, keepdims=True)
    return -(y * np.log(p)).sum() / len(x)


def backward(x, y, W1, b1, W2, b2, W3, b3):
    """Returns the derivatives of L by W1, b1, W2, b2, W3 and b3."""
    dW3 = ...  # TODO
    db3 = ...  # TODO
    dW2 = ...  # TODO
    db2 = ...  # TODO
    dW1 = ...  # TODO
    db1 = ...  # TODO
    return dW1, db1, dW2, db2, dW3, db3
