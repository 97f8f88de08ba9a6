"""Wrong solutions of the exercises, as students write them.

Each stands in the exercise's file in place of `backward` (or of `forward` and all that follows).
"""

import textwrap
from typing import NamedTuple


class Solution(NamedTuple):
    exercise: str
    code: str
    wrong: str = ""  # the derivatives that are wrong or missing; "" where nothing can be judged
    names: str = ""  # words of the hint that name the mistake


def wrong(exercise, leaves, names, code):
    return Solution(exercise, textwrap.dedent(code), leaves, names)


LINEAR = [
    wrong("1_linear", "b", "a mean over the batch where a sum belongs", """
        def backward(x, W, b, dy):
            return dy @ W, dy.T @ x, dy.mean(axis=0)
    """),
    wrong("1_linear", "W", "transposed", """
        def backward(x, W, b, dy):
            dx = dy @ W
            dW = x.T @ dy
            db = dy.sum(axis=0)
            return dx, dW, db
    """),
    wrong("1_linear", "W", "reshaped where it should be transposed", """
        import numpy as np
        def backward(x, W, b, dy):
            dW = np.dot(x.T, dy)
            dW = dW.reshape(W.shape)  # otherwise the update complains
            return np.dot(dy, W), dW, np.sum(dy, axis=0)
    """),
    wrong("1_linear", "b", "one row of the batch", """
        def backward(inp, weight, bias, grad_out):
            grad_bias = grad_out[0]
            return grad_out @ weight, grad_out.T @ inp, grad_bias
    """),
    wrong("1_linear", "b", "not summed over the examples", """
        def backward(x, W, b, dy):
            return dy @ W, dy.T @ x, dy
    """),
    wrong("1_linear", "b", "summed over everything", """
        def backward(x, W, b, dy):
            return dy @ W, dy.T @ x, dy.sum()
    """),
    wrong("1_linear", "b", "an axis of the examples is left", """
        def backward(x, W, b, dy):
            return dy @ W, dy.T @ x, dy.sum(axis=1)
    """),
    wrong("1_linear", "x", "negative|wrong sign", """
        def backward(x, W, b, dy):
            dx = -dy @ W
            return dx, dy.T @ x, dy.sum(0)
    """),
    wrong("1_linear", "W", "last example only", """
        import numpy as np
        def backward(x, W, b, dy):
            for n in range(len(x)):
                dW = np.outer(dy[n], x[n])
            return dy @ W, dW, dy.sum(0)
    """),
    wrong("1_linear", "W", "sums over the batch are taken before the product", """
        import numpy as np
        def backward(x, W, b, dy):
            db = dy.sum(axis=0)
            dW = np.outer(db, x.sum(axis=0))
            return dy @ W, dW, db
    """),
    wrong("1_linear", "W b", "divided by N|a mean over the batch", """
        def backward(x, W, b, dy):
            m = x.shape[0]
            dW = dy.T @ x / m
            db = dy.sum(axis=0) / m
            return dy @ W, dW, db
    """),
    wrong("1_linear", "x W", "the order in the return", """
        def backward(x, W, b, dy):
            dW = dy.T @ x
            dx = dy @ W
            db = dy.sum(axis=0)
            return dW, dx, db
    """),
    wrong("1_linear", "b", "None", """
        def backward(x, W, b, dy):
            return dy @ W, dy.T @ x, None
    """),
    wrong("1_linear", "b", "not written yet", """
        def backward(x, W, b, dy):
            dx = dy @ W
            dW = dy.T @ x
            db = ...
            return dx, dW, db
    """),
    wrong("1_linear", "b", "1: times what comes in is missing", """
        import numpy as np
        def backward(x, W, b, dy):
            return dy @ W, dy.T @ x, np.ones_like(b)  # d(x W + b)/db = 1
    """),
    wrong("1_linear", "W", "the input x is missing", """
        import numpy as np
        def backward(x, W, b, dy):
            dW = np.ones((x.shape[1], x.shape[0])) @ dy
            return dy @ W, dW.T, dy.sum(0)
    """),
    wrong("1_linear", "x", "the bias is added", """
        def backward(x, W, b, dy):
            return (dy + b) @ W, dy.T @ x, dy.sum(0)
    """),
    wrong("1_linear", "W", "wrong rows", """
        import jax.numpy as jnp
        def backward(x, W, b, dy):
            return dy @ W, dy.T @ jnp.concatenate([x[-1:], x[:-1]]), dy.sum(0)
    """),
]  # fmt: skip
RELU = [
    wrong("2_relu", "x", "mask is lost", """
        def backward(x, dh):
            h = forward(x)
            return dh * (h >= 0)
    """),
    wrong("2_relu", "x", "mask is inverted", """
        def backward(x, dh):
            dx = dh.copy()
            dx[x > 0] = 0
            return dx
    """),
    wrong("2_relu", "x", "output h: by its derivative", """
        def backward(x, dh):
            return dh * np.maximum(x, 0)
    """),
    wrong("2_relu", "x", "derivative that comes in", """
        def backward(x, dh):
            return np.where(dh > 0, dh, 0)
    """),
    wrong("2_relu", "x", "dh, is missing", """
        def backward(x, dh):
            return np.where(x > 0, 1, 0)
    """),
    wrong("2_relu", "x", "term dh where x < 0", """
        def backward(x, dh):
            slope = np.ones_like(x)
            slope[x < 0] = 0.01
            return dh * slope
    """),
    wrong("2_relu", "x", "as for |x|", """
        import jax.numpy as jnp
        def backward(x, dh):
            return dh * jnp.sign(x)
    """),
    wrong("2_relu", "x", "ReLU is applied to the derivative times x", """
        def backward(x, dh):
            return forward(x * dh)
    """),
]  # fmt: skip
LOSS = [
    wrong("3_softmax_cross_entropy", "z", "this is y - p", """
        def backward(z, y):
            e = np.exp(z)
            p = e / e.sum(axis=1, keepdims=True)
            return y - p
    """),
    wrong("3_softmax_cross_entropy", "z", "label y is not subtracted", """
        def softmax(z):
            e = np.exp(z - np.max(z, axis=-1, keepdims=True))
            return e / np.sum(e, axis=-1, keepdims=True)
        def backward(z, y):
            return softmax(z)
    """),
    wrong("3_softmax_cross_entropy", "z", "differentiated twice", """
        import jax
        def backward(z, y):
            p = jax.nn.softmax(z)
            return (p - y) * p * (1 - p)
    """),
    wrong("3_softmax_cross_entropy", "z", "only the diagonal", """
        def backward(z, y):
            e = np.exp(z)
            p = e / e.sum(1, keepdims=True)
            dp = -y / p
            return dp * p * (1 - p)
    """),
    wrong("3_softmax_cross_entropy", "z", "softmax's own is still to come", """
        def backward(z, y):
            e = np.exp(z)
            p = e / e.sum(1, keepdims=True)
            return -y / p
    """),
    wrong("3_softmax_cross_entropy", "z", "divided by N", """
        def backward(z, y):
            e = np.exp(z)
            p = e / e.sum(1, keepdims=True)
            return (p - y) / len(z)
    """),
    wrong("3_softmax_cross_entropy", "z", "over the wrong axis", """
        def backward(z, y):
            p = np.exp(z) / np.sum(np.exp(z), axis=0)
            return p - y
    """),
    wrong("3_softmax_cross_entropy", "z", "sum over all examples", """
        def backward(z, y):
            e = np.exp(z - z.max())
            p = e / e.sum()
            return p - y
    """),
    wrong("3_softmax_cross_entropy", "z", "not divided by the sum", """
        import jax.numpy as jnp
        def backward(z, y):
            return jnp.exp(z) - y
    """),
    wrong("3_softmax_cross_entropy", "z", "argmax", """
        def backward(z, y):
            guess = np.zeros_like(y)
            guess[np.arange(len(z)), z.argmax(axis=1)] = 1
            return guess - y
    """),
    wrong("3_softmax_cross_entropy", "z", "y does not|y has the factor", """
        def backward(z, y):
            e = np.exp(z)
            p = e / e.sum(1, keepdims=True)
            return p - 0.5 * y
    """),
    wrong("3_softmax_cross_entropy", "z", "-y alone", """
        def backward(z, y):
            return -y
    """),
]  # fmt: skip
MEAN = [
    wrong("4_mean", "W b", "1/N of the mean is forgotten", """
        def backward(x, y, W, b):
            e = np.exp(x @ W.T + b)
            p = e / e.sum(axis=1, keepdims=True)
            dz = p - y
            return dz.T @ x, dz.sum(axis=0)
    """),
    wrong("4_mean", "W b", "N times M", """
        def backward(x, y, W, b):
            e = np.exp(x @ W.T + b)
            p = e / e.sum(axis=1, keepdims=True)
            dz = (p - y) / p.size
            return dz.T @ x, dz.sum(axis=0)
    """),
    wrong("4_mean", "b", "a mean over the batch where a sum", """
        def backward(x, y, W, b):
            e = np.exp(x @ W.T + b)
            dz = (e / e.sum(axis=1, keepdims=True) - y) / len(x)
            return dz.T @ x, dz.mean(axis=0)
    """),
    wrong("4_mean", "W", "transposed", """
        def backward(x, y, W, b):
            e = np.exp(x @ W.T + b)
            dz = (e / e.sum(axis=1, keepdims=True) - y) / len(x)
            return x.T @ dz, dz.sum(axis=0)
    """),
    wrong("4_mean", "W b", "this is y - p", """
        def backward(x, y, W, b):
            e = np.exp(x @ W.T + b)
            dz = y - e / e.sum(axis=1, keepdims=True)
            return dz.T @ x / len(x), dz.mean(axis=0) / len(x)
    """),
    wrong("4_mean", "W b", "divided by the number of classes", """
        def backward(x, y, W, b):
            e = np.exp(x @ W.T + b)
            dz = (e / e.sum(axis=1, keepdims=True) - y) / y.shape[1]
            return dz.T @ x, dz.sum(axis=0)
    """),
    wrong("4_mean", "W b", "divided by N once too often", """
        import jax, jax.numpy as jnp
        def backward(x, y, W, b):
            dz = (jax.nn.softmax(x @ W.T + b) - y) / len(x)
            return dz.T @ x / len(x), jnp.mean(dz, axis=0)
    """),
    wrong("4_mean", "W b", "size as a number", """
        def backward(x, y, W, b):
            e = np.exp(x @ W.T + b)
            dz = (e / e.sum(axis=1, keepdims=True) - y) / 7
            return dz.T @ x, dz.sum(axis=0)
    """),
]  # fmt: skip
FORWARD = """
def backward(x, y, W1, b1, W2, b2):
    l = x @ W1.T + b1
    h = np.maximum(l, 0)
    e = np.exp(h @ W2.T + b2)
    p = e / e.sum(axis=1, keepdims=True)
"""


def one_hidden(leaves, names, code):
    body = textwrap.indent(textwrap.dedent(code), "    ")
    return Solution("5_one_hidden", FORWARD + body, leaves, names)


ONE_HIDDEN = [
    one_hidden("W1 b1", "mask is lost", """
        dz = (p - y) / len(x)
        dh = dz @ W2
        return dh.T @ x, dh.sum(0), dz.T @ h, dz.sum(0)
    """),
    one_hidden("W1 b1", "mask is inverted", """
        dz = (p - y) / len(x)
        dl = dz @ W2
        dl[h > 0] = 0
        return dl.T @ x, dl.sum(0), dz.T @ h, dz.sum(0)
    """),
    one_hidden("W1 b1", "derivative that comes in", """
        dz = (p - y) / len(x)
        dh = dz @ W2
        dl = np.maximum(dh, 0)
        return dl.T @ x, dl.sum(0), dz.T @ h, dz.sum(0)
    """),
    one_hidden("W2", "taken before its ReLU", """
        dz = (p - y) / len(x)
        dl = (dz @ W2) * (l > 0)
        return dl.T @ x, dl.sum(0), dz.T @ l, dz.sum(0)
    """),
    one_hidden("W1 b1 W2 b2", "1/N of the mean is forgotten", """
        dz = p - y
        dl = (dz @ W2) * (l > 0)
        return dl.T @ x, dl.sum(0), dz.T @ h, dz.sum(0)
    """),
    one_hidden("W1 b1 W2 b2", "differentiated twice", """
        dz = (p - y) * p * (1 - p) / len(x)
        dl = (dz @ W2) * (l > 0)
        return dl.T @ x, dl.sum(0), dz.T @ h, dz.sum(0)
    """),
    one_hidden("W1 b1 W2 b2", "label y is not subtracted", """
        dz = p / len(x)
        dl = (dz @ W2) * (l > 0)
        return dl.T @ x, dl.sum(0), dz.T @ h, dz.sum(0)
    """),
    one_hidden("W1 b1 W2 b2", "this is y - p", """
        dz = (y - p) / len(x)
        dl = (dz @ W2) * (l > 0)
        return dl.T @ x, dl.sum(0), dz.T @ h, dz.sum(0)
    """),
    one_hidden("b1 b2", "one row of the batch", """
        dz = (p - y) / len(x)
        dl = (dz @ W2) * (l > 0)
        return dl.T @ x, dl[0], dz.T @ h, dz[0]
    """),
    one_hidden("b1", "mask is lost", """
        dz = (p - y) / len(x)
        dh = dz @ W2
        dl = dh * (l > 0)
        return dl.T @ x, dh.sum(0), dz.T @ h, dz.sum(0)
    """),
    one_hidden("W1 b1 W2 b2", "1/N of the mean is forgotten; and at ReLU|mask is lost; and", """
        dz = p - y
        dh = dz @ W2
        return dh.T @ x, dh.sum(0), dz.T @ h, dz.sum(0)
    """),
    one_hidden("W1 b1", "it is 0 everywhere", """
        dz = (p - y) / len(x)
        dh = dz.sum(axis=1, keepdims=True)
        dl = dh * (l > 0)
        return dl.T @ x, dl.sum(0), dz.T @ h, dz.sum(0)
    """),
    one_hidden("W1 b1", "nothing goes on|is forgotten|nothing passes", """
        dz = (p - y) / len(x)
        return 0 * W1, 0 * b1, dz.T @ h, dz.sum(0)
    """),
]  # fmt: skip
TWO = """
def backward(x, y, W1, b1, W2, b2, W3, b3):
    l1 = x @ W1.T + b1
    h1 = np.maximum(l1, 0)
    l2 = h1 @ W2.T + b2
    h2 = np.maximum(l2, 0)
    e = np.exp(h2 @ W3.T + b3)
    dz = (e / e.sum(axis=1, keepdims=True) - y) / len(x)
"""


def two_hidden(leaves, names, code):
    body = textwrap.indent(textwrap.dedent(code), "    ")
    return Solution("6_two_hidden", TWO + body, leaves, names)


TWO_HIDDEN = [
    two_hidden("W1 b1", "ReLU 1: ReLU's mask is lost", """
        dl2 = dz @ W3 * (l2 > 0)
        dl1 = dl2 @ W2
        return dl1.T @ x, dl1.sum(0), dl2.T @ h1, dl2.sum(0), dz.T @ h2, dz.sum(0)
    """),
    two_hidden("W1 b1 W2 b2", "ReLU 2: ReLU's mask is lost", """
        dl2 = dz @ W3
        dl1 = dl2 @ W2 * (l1 > 0)
        return dl1.T @ x, dl1.sum(0), dl2.T @ h1, dl2.sum(0), dz.T @ h2, dz.sum(0)
    """),
    two_hidden("W2", "taken before its ReLU", """
        dl2 = dz @ W3 * (h2 > 0)
        dl1 = dl2 @ W2 * (h1 > 0)
        return dl1.T @ x, dl1.sum(0), dl2.T @ l1, dl2.sum(0), dz.T @ h2, dz.sum(0)
    """),
    two_hidden("", "shapes do not go together", """
        dl2 = dz @ W3 * (l2 > 0)
        dl1 = dl2 @ W3 * (l1 > 0)
        return dl1.T @ x, dl1.sum(0), dl2.T @ h1, dl2.sum(0), dz.T @ h2, dz.sum(0)
    """),
    two_hidden("W1 W3", "order in the return", """
        dl2 = dz @ W3 * (l2 > 0)
        dl1 = dl2 @ W2 * (l1 > 0)
        return dz.T @ h2, dl1.sum(0), dl2.T @ h1, dl2.sum(0), dl1.T @ x, dz.sum(0)
    """),
]  # fmt: skip
NORM = """
def backward(x, scale, shift, dy):
    centred = x - x.mean(axis=1, keepdims=True)
    sigma = np.sqrt(x.var(axis=1, keepdims=True) + 1e-5)
    h = centred / sigma
    g = dy * scale
    mg = g.mean(axis=1, keepdims=True)
    mgh = (g * h).mean(axis=1, keepdims=True)
    dscale, dshift = (dy * h).sum(axis=0), dy.sum(axis=0)
"""


def norm(leaves, names, code):
    body = textwrap.indent(textwrap.dedent(code), "    ")
    return Solution("7_layer_norm", NORM + body, leaves, names)


LAYER_NORM = [
    norm("x", "the term -h mean(g h) is missing", """
        return (g - mg) / sigma, dscale, dshift
    """),
    norm("x", "the term -mean(g) is missing", """
        return (g - h * mgh) / sigma, dscale, dshift
    """),
    norm("x", "the scale is forgotten", """
        dx = dy - dy.mean(axis=1, keepdims=True) - h * (dy * h).mean(axis=1, keepdims=True)
        return dx / sigma, dscale, dshift
    """),
    norm("x", "not divided by σ", """
        return g - mg - h * mgh, dscale, dshift
    """),
    norm("x", "is missing; the term", """
        return g / sigma, dscale, dshift
    """),
    norm("x", "D times too large", """
        dx = (g - g.sum(axis=1, keepdims=True) - h * (g * h).sum(axis=1, keepdims=True)) / sigma
        return dx, dscale, dshift
    """),
    norm("scale", "times h is missing|x where the normalised h belongs", """
        return (g - mg - h * mgh) / sigma, (dy * x).sum(axis=0), dshift
    """),
    norm("scale shift", "order in the return", """
        return (g - mg - h * mgh) / sigma, dshift, dscale
    """),
    norm("scale", "not summed over the examples", """
        return (g - mg - h * mgh) / sigma, dy * h, dshift
    """),
    norm("x", "the term h mean(g h) has the wrong sign", """
        return (g - mg + h * mgh) / sigma, dscale, dshift
    """),
]  # fmt: skip
WHICH = [
    wrong("8_which_is_wrong", "WRONG", "is right", """
        WRONG = "c"
        def backward(x, dh):
            return dh * (x > 0)
    """),
    wrong("8_which_is_wrong", "x", "mask is lost", """
        WRONG = "d"
        WHY = "The last layer is right, and the direction is nearly so."
        def backward(x, dh):
            return dh * (forward(x) >= 0)
    """),
]  # fmt: skip
WRONG = LINEAR + RELU + LOSS + MEAN + ONE_HIDDEN + TWO_HIDDEN + LAYER_NORM + WHICH
