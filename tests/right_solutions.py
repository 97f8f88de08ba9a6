"""Right solutions of the exercises, as students write them: rows and columns, NumPy and JAX.

Each stands in the exercise's file in place of `backward`, or of `forward` and all that follows.
"""

import textwrap

from wrong_solutions import Solution


def right(exercise, code):
    return Solution(exercise, textwrap.dedent(code))


RIGHT = [
    right("1_linear", """
        def backward(x, W, b, dy):
            dx = dy @ W
            dW = dy.T @ x
            db = dy.sum(axis=0)
            return dx, dW, db
    """),
    right("1_linear", """
        import numpy as np
        def forward(x, W, b):  # columns, as in the lecture
            return W @ x + b
        def backward(x, W, b, dy):
            return W.T @ dy, dy @ x.T, dy.sum(axis=1, keepdims=True)
    """),
    right("1_linear", """
        import numpy as np
        def forward(x, W, b):
            return np.dot(W, x) + b[:, None]
        def backward(X, weights, bias, upstream):
            grad_w = np.zeros_like(weights)
            grad_b = np.zeros_like(bias)
            for n in range(X.shape[1]):
                grad_w += np.outer(upstream[:, n], X[:, n])
                grad_b += upstream[:, n]
            print("weights", grad_w)
            return [np.dot(weights.T, upstream), grad_w, grad_b]
    """),
    right("1_linear", """
        import jax.numpy as jnp
        def forward(x, W, b):
            return x @ W + b  # weights [in, out]
        def backward(x, W, b, dy):
            return {"dx": dy @ W.T, "dW": x.T @ dy, "db": jnp.sum(dy, axis=0)}
    """),
    right("1_linear", """
        def backward(x, W, b, dy):
            return dy @ W, (x.T @ dy).T, dy.sum(axis=0, keepdims=True)
    """),
    right("1_linear", """
        import numpy as np
        def backward(x, W, b, dy):
            dx = np.einsum("nm,md->nd", dy, W)
            dW = np.einsum("nm,nd->md", dy, x)
            db = np.ones(len(dy)) @ dy
            return dx.astype(np.float32), dW.astype(np.float32), db.astype(np.float32)
    """),
    right("2_relu", """
        def backward(x, dh):
            return dh * (x > 0)
    """),
    right("2_relu", """
        def backward(x, dh):
            dh[x <= 0] = 0
            return dh
    """),
    right("2_relu", """
        import jax.numpy as jnp
        def forward(x):
            return jnp.where(x > 0, x, 0)
        def backward(x, dh):
            return jnp.where(forward(x) > 0, dh, 0.0)
    """),
    right("2_relu", """
        def backward(x, dh):
            return dh * np.heaviside(x, 1.0)  # 1 at 0, as the report takes it
    """),
    right("3_softmax_cross_entropy", """
        def softmax(z):
            e = np.exp(z - np.max(z, axis=1, keepdims=True))
            return e / np.sum(e, axis=1, keepdims=True)
        def backward(z, y):
            return softmax(z) - y
    """),
    right("3_softmax_cross_entropy", """
        import jax
        def backward(logits, labels):
            p = jax.nn.softmax(logits, axis=-1)
            p = p.at[jax.numpy.arange(len(p)), labels.argmax(axis=-1)].add(-1.0)
            return p
    """),
    right("3_softmax_cross_entropy", """
        def forward(z, y):
            p = np.exp(z) / np.exp(z).sum(axis=0)
            return -np.sum(y * np.log(p))
        def backward(z, y):
            p = np.exp(z) / np.exp(z).sum(axis=0)
            return p - y
    """),
    right("3_softmax_cross_entropy", """
        def backward(z, y):
            # without cancellation: the class of the example gets minus the sum of the others
            p = np.exp(z - z.max(1)[:, None])
            p /= p.sum(1)[:, None]
            others = p * (1 - y)
            return others - y * others.sum(1)[:, None]
    """),
    right("3_softmax_cross_entropy", """
        def backward(z, y):
            dz = np.zeros(z.shape)
            for n in range(len(z)):
                p = np.exp(z[n]) / np.exp(z[n]).sum()
                jacobian = np.diag(p) - np.outer(p, p)
                dz[n] = jacobian @ (-y[n] / p)
            return dz
    """),
    right("4_mean", """
        def backward(x, y, W, b):
            z = x @ W.T + b
            p = np.exp(z) / np.exp(z).sum(axis=1, keepdims=True)
            dz = (p - y) / len(x)
            return dz.T @ x, dz.sum(axis=0)
    """),
    right("4_mean", """
        def backward(x, y, W, b):
            z = x @ W.T + b
            p = np.exp(z) / np.exp(z).sum(axis=1, keepdims=True)
            return np.dot((p - y).T, x) / len(x), np.mean(p - y, axis=0)
    """),
    right("4_mean", """
        import jax
        import jax.numpy as jnp
        def forward(x, y, W, b):  # columns
            return -(y * jax.nn.log_softmax(W @ x + b, axis=0)).sum() / x.shape[1]
        def backward(x, y, W, b):
            dz = (jax.nn.softmax(W @ x + b, axis=0) - y) / x.shape[1]
            return dz @ x.T, dz.sum(axis=1)[:, None]
    """),
    right("5_one_hidden", """
        def backward(x, y, W1, b1, W2, b2):
            l = x @ W1.T + b1
            h = np.maximum(l, 0)
            z = h @ W2.T + b2
            e = np.exp(z - z.max(axis=1, keepdims=True))
            dz = (e / e.sum(axis=1, keepdims=True) - y) / len(x)
            dl = (dz @ W2) * (l > 0)
            return dl.T @ x, dl.sum(axis=0), dz.T @ h, dz.sum(axis=0)
    """),
    right("5_one_hidden", """
        def forward(x, y, W1, b1, W2, b2):
            h = np.maximum(0, W1 @ x + b1)
            z = W2 @ h + b2
            p = np.exp(z) / np.exp(z).sum(axis=0)
            return -(y * np.log(p)).sum() / x.shape[1]
        def backward(x, y, W1, b1, W2, b2):
            N = x.shape[1]
            h = np.maximum(0, W1 @ x + b1)
            z = W2 @ h + b2
            p = np.exp(z) / np.exp(z).sum(axis=0)
            dz = (p - y) / N
            dW2, db2 = dz @ h.T, dz.sum(axis=1, keepdims=True)
            dl = (W2.T @ dz) * (h > 0)
            return dl @ x.T, dl.sum(axis=1, keepdims=True), dW2, db2
    """),
    right("6_two_hidden", """
        import jax
        import jax.numpy as jnp
        def backward(x, y, *params):
            layers = list(zip(params[::2], params[1::2]))
            inputs = [x]
            for W, b in layers[:-1]:
                inputs.append(jax.nn.relu(inputs[-1] @ W.T + b))
            W, b = layers[-1]
            delta = (jax.nn.softmax(inputs[-1] @ W.T + b) - y) / x.shape[0]
            grads = []
            for (W, _), h in zip(reversed(layers), reversed(inputs)):
                grads = [delta.T @ h, delta.sum(0)] + grads
                delta = (delta @ W) * (h > 0)
            return tuple(grads)
    """),
    right("7_layer_norm", """
        def backward(x, scale, shift, dy):
            mu, var = x.mean(axis=1, keepdims=True), x.var(axis=1, keepdims=True)
            sigma = np.sqrt(var + 1e-5)
            h = (x - mu) / sigma
            g = dy * scale
            dx = (g - g.mean(1, keepdims=True) - h * (g * h).mean(1, keepdims=True)) / sigma
            return dx, (dy * h).sum(axis=0), dy.sum(axis=0)
    """),
    right("7_layer_norm", """
        def forward(x, scale, shift):
            h = (x - x.mean(axis=0)) / np.sqrt(x.var(axis=0) + 1e-5)
            return h * scale + shift
        def backward(x, scale, shift, dy):  # step by step, in columns
            D = len(x)
            c = x - x.mean(axis=0)
            s = np.sqrt(x.var(axis=0) + 1e-5)
            dh = dy * scale
            ds = (-(dh * c) / s**2).sum(axis=0)
            dvar = ds / (2 * s)
            dc = dh / s + 2 * c / D * dvar
            dx = dc - dc.sum(axis=0) / D
            dscale = (dy * c / s).sum(axis=1, keepdims=True)
            return dx, dscale, dy.sum(axis=1, keepdims=True)
    """),
    right("8_which_is_wrong", """
        WRONG = "d"
        WHY = "h >= 0 always holds, so all passes; the last layer still learns the right thing."
        def backward(x, dh):
            return dh * (forward(x) > 0)
    """),
]  # fmt: skip
