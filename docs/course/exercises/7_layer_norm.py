"""7. Layer norm: of each example, less its mean, over its deviation; then a scale and a shift.

h = (x - mean x) / σ with σ² = var x + 0.00001, and y = h · scale + shift.
Write the backward pass, in NumPy or in JAX, then run

    python -m jaxnet grade 7_layer_norm.py
"""

import numpy as np

SHAPES = {"x": "N D", "scale": "D", "shift": "D"}


def forward(x, scale, shift):
    centred = x - x.mean(axis=1, keepdims=True)
    h = centred / np.sqrt(x.var(axis=1, keepdims=True) + 1e-5)
    return h * scale + shift


def backward(x, scale, shift, dy):
    """dy [N, D] is ∂L/∂y. Returns ∂L/∂x, ∂L/∂scale and ∂L/∂shift.

    Every x of an example acts on every h of it: directly, through the mean, and through σ.
    """
    dx = ...  # TODO
    dscale = ...  # TODO
    dshift = ...  # TODO
    return dx, dscale, dshift
