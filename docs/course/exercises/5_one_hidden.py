"""5. The network with one hidden layer, whole. L is the mean over the N examples; y is one-hot.

Write the backward pass, in NumPy or in JAX, then run

    python -m jaxnet grade 5_one_hidden.py
"""

import numpy as np

SHAPES = {
    "x": "data N D",
    "y": "one-hot N M",
    "W1": "H D",
    "b1": "H",
    "W2": "M H",
    "b2": "M",
}


def forward(x, y, W1, b1, W2, b2):
    h = np.maximum(0, x @ W1.T + b1)
    z = h @ W2.T + b2
    shifted = z - z.max(axis=1, keepdims=True)
    p = np.exp(shifted) / np.exp(shifted).sum(axis=1, keepdims=True)
    return -(y * np.log(p)).sum() / len(x)


def backward(x, y, W1, b1, W2, b2):
    """Returns ∂L/∂W1, ∂L/∂b1, ∂L/∂W2 and ∂L/∂b2. Begin at the loss and go back."""
    dW2 = ...  # TODO
    db2 = ...  # TODO
    dW1 = ...  # TODO
    db1 = ...  # TODO
    return dW1, db1, dW2, db2
