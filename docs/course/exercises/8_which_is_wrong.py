"""8. Five backward passes of ReLU. One is wrong: which? And why does the network still train?

Fill in WRONG and WHY, write the wrong one right as `backward`, then run

    python -m jaxnet grade 8_which_is_wrong.py
"""

import numpy as np

SHAPES = {"x": "N D"}
WRONG = "?"  # a, b, c, d or e
WHY = ""  # a sentence: why does it train? Your teacher reads it


def forward(x):
    return np.maximum(0, x)


def a(x, dh):
    return dh * (x > 0)


def b(x, dh):
    return np.where(x > 0, dh, 0)


def c(x, dh):
    return dh * (np.sign(x) + 1) / 2


def d(x, dh):
    return dh * (forward(x) >= 0)


def e(x, dh):
    return dh * np.sign(forward(x))


def backward(x, dh):
    return ...  # TODO
