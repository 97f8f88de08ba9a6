"""1. The affine map: y = x Wᵀ + b, an example in each row of x.

Write the backward pass, in NumPy or in JAX, then run

    python -m jaxnet grade 1_linear.py

If you write columns, change the forward too: W @ x + b, with x [D, N] and b [M, 1].
"""

SHAPES = {"x": "N D", "W": "M D", "b": "M"}


def forward(x, W, b):
    return x @ W.T + b


def backward(x, W, b, dy):
    """dy [N, M] is ∂L/∂y. Returns ∂L/∂x, ∂L/∂W and ∂L/∂b, each of the shape of its array."""
    dx = ...  # TODO
    dW = ...  # TODO
    db = ...  # TODO
    return dx, dW, db
