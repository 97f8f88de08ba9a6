"""Right rules, each with something that misleads a check. A check must pass every one.

The functions up to the first `right(...)` are the right halves that wrong.py spoils.
"""

import math

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.experimental import pallas

import jaxnet
from corpus import (
    Example,
    batched_by_hand,
    by_hand,
    given,
    normal,
    pointwise,
    recomputed,
    uniform,
    vjp,
)

RIGHT: dict[str, Example] = {}


def right(name, f, args, **more):
    assert name not in RIGHT
    RIGHT[name] = Example(f, args, **more)


def jvp(body, tangent):
    """body with the forward-mode rule tangent(primals, tangents), as jax.custom_jvp attaches it."""
    f = jax.custom_jvp(body)
    f.defjvp(lambda primals, tangents: (f(*primals), tangent(primals, tangents)))
    return f


MATRIX = normal((4, 3))


def affine(x, weight, bias):
    return x @ weight.T + bias


def softmax(z):
    e = jnp.exp(z - jnp.max(z, -1, keepdims=True))
    return e / jnp.sum(e, -1, keepdims=True)


def softmax_forward(z):
    p = softmax(z)
    return p, p


def softmax_backward(p, dp):
    return (p * (dp - jnp.sum(p * dp, -1, keepdims=True)),)


def smoothed_cross_entropy(logits, labels):
    targets = (
        0.9 * jax.nn.one_hot(labels, logits.shape[-1], dtype=logits.dtype) + 0.1 / logits.shape[-1]
    )
    return -jnp.sum(targets * jax.nn.log_softmax(logits), axis=-1)


def logits_and_labels(rows, classes):
    return lambda rng: (
        *normal((rows, classes))(rng),
        jnp.asarray(rng.integers(0, classes, rows), "int32"),
    )


def layer_norm(x, scale, bias):
    return layer_norm_forward(x, scale, bias)[0]


def layer_norm_forward(x, scale, bias):
    centred = x - jnp.mean(x, -1, keepdims=True)
    rstd = jax.lax.rsqrt(jnp.mean(centred**2, -1, keepdims=True) + 1e-5)
    xhat = centred * rstd
    return xhat * scale + bias, (xhat, rstd, scale)


def layer_norm_backward(residuals, dy):
    xhat, rstd, scale = residuals
    g = dy * scale
    dx = rstd * (g - jnp.mean(g, -1, keepdims=True) - xhat * jnp.mean(g * xhat, -1, keepdims=True))
    return dx, jnp.sum(dy * xhat, 0), jnp.sum(dy, 0)


def rms_norm(x, weight):
    return rms_norm_forward(x, weight)[0]


def rms_norm_forward(x, weight):
    r = jax.lax.rsqrt(jnp.mean(x * x, -1, keepdims=True) + 1e-5)
    return x * r * weight, (x * r, r, weight)


def rms_norm_backward(residuals, dy):
    xhat, r, weight = residuals
    g = dy * weight
    return r * (g - xhat * jnp.mean(g * xhat, -1, keepdims=True)), jnp.sum(dy * xhat, axis=0)


def attention(q, k, v):
    return attention_forward(q, k, v)[0]


def attention_forward(q, k, v):
    causal = jnp.tril(jnp.ones((q.shape[0], k.shape[0]), bool))
    p = jax.nn.softmax(jnp.where(causal, q @ k.T / math.sqrt(q.shape[1]), -jnp.inf))
    return p @ v, (q, k, v, p)


def attention_backward(residuals, do):
    q, k, v, p = residuals
    dp = do @ v.T
    ds = p * (dp - jnp.sum(p * dp, -1, keepdims=True)) / math.sqrt(q.shape[1])
    return ds @ k, ds.T @ q, p.T @ do


def rotary(x, sign=1):
    """Pairs (first half, second half) of each row, turned by the row's number."""
    a, b = jnp.split(x, 2, axis=-1)
    angle = jnp.arange(x.shape[0], dtype=x.dtype)[:, None]
    cos, sin = jnp.cos(angle), sign * jnp.sin(angle)
    return jnp.concatenate([a * cos - b * sin, a * sin + b * cos], axis=-1)


def embedding(table, ids):
    return table[ids]


def TABLE(rng):  # ids repeat, and leave a row out
    return *normal((7, 3))(rng), jnp.asarray(rng.permutation([0, 2, 2, 5, 2, 0]), "int32")


def dropout(x, key):
    return jnp.where(jax.random.bernoulli(key, 0.7, x.shape), x / 0.7, 0)


def with_key(*shapes, key=jax.random.key):
    return lambda rng: (*normal(*shapes)(rng), key(int(rng.integers(2**31))))


def linear_cross_entropy(x, weight, labels):
    logits = x @ weight.T
    return (
        jax.nn.logsumexp(logits, axis=-1)
        - jnp.take_along_axis(logits, labels[:, None], axis=-1)[:, 0]
    )


def head(rows, fan_in, classes):
    return lambda rng: (
        *normal((rows, fan_in), (classes, fan_in))(rng),
        jnp.asarray(rng.integers(0, classes, rows), "int32"),
    )


def fixed_point(x, w):
    """z = x + tanh(w z) / 2, reached by iteration."""
    return jax.lax.fori_loop(0, 80, lambda _, z: x + jnp.tanh(w * z) / 2, x)


def fixed_point_forward(x, w):
    z = by_implicit_function(
        x, w
    )  # itself, so that a derivative of the backward does not go through the iteration
    return z, (w, z)


def fixed_point_backward(residuals, dz):
    w, z = residuals
    slope = (1 - jnp.tanh(w * z) ** 2) / 2
    dx = dz / (1 - w * slope)
    return dx, dx * slope * z


by_implicit_function = vjp(fixed_point, fixed_point_forward, fixed_point_backward)
CONTRACTION = uniform(0.2, 0.9, (5,), (5,))


def matrix_and_vector(n):
    return lambda rng: (
        jnp.asarray(2 * np.eye(n) + 0.3 * rng.normal(size=(n, n)), "float32"),
        *normal((n,))(rng),
    )


def complex_normal(*shapes):
    return lambda rng: tuple(
        jnp.asarray(rng.normal(size=s) + 1j * rng.normal(size=s), "complex64") for s in shapes
    )


def cross_entropy_of_the_definition(logits, labels):
    return -jnp.log(jax.nn.softmax(logits)[jnp.arange(labels.size), labels])


# Functions that have no reverse mode, or none that is finite.


def root(a, x):
    """The y with y + y³ = a x, by Newton's method: a loop that ends when it has converged."""
    target = a * x

    def is_moving(state):
        _, step = state
        return jnp.max(jnp.abs(step)) > 1e-5

    def newton(state):
        y, _ = state
        step = (y + y**3 - target) / (1 + 3 * y**2)
        return y - step, step

    start = jnp.zeros_like(target)
    y, _ = jax.lax.while_loop(is_moving, newton, (start, jnp.full_like(start, jnp.inf)))
    return y - (y + y**3 - target) / (1 + 3 * y**2)


def root_backward(a, x, dy):
    y = root(a, x)
    common = dy / (1 + 3 * y**2)
    return jnp.sum(common * x), common * a


def on_the_host(g):
    """g of NumPy's arrays, called from the graph: JAX has no derivative of it."""

    def called(x):
        shape = jax.ShapeDtypeStruct(x.shape, x.dtype)
        return jax.pure_callback(lambda v: g(np.asarray(v)), shape, x, vmap_method="expand_dims")

    return called


host_sine = on_the_host(np.sin)


def single_on_the_host(x):
    """A host function that knows float32 alone, as compiled code may."""
    shape = jax.ShapeDtypeStruct(x.shape, "float32")
    return jax.pure_callback(lambda v: np.tanh(np.asarray(v, "float32")), shape, x)


def exponential(a):
    w, v = jnp.linalg.eigh((a + a.T) / 2)
    return (v * jnp.exp(w)) @ v.T


def exponential_backward(of_equals):
    """of_equals(exp(w)): the divided difference where two eigenvalues are one."""

    def backward(a, dy):
        w, v = jnp.linalg.eigh((a + a.T) / 2)
        gap, e = w[:, None] - w, jnp.exp(w)
        is_same = jnp.abs(gap) < 1e-6
        slope = jnp.where(is_same, of_equals(e), (e[:, None] - e) / jnp.where(is_same, 1, gap))
        d = v @ (slope * (v.T @ dy @ v)) @ v.T
        return ((d + d.T) / 2,)

    return backward


def divided_difference(e):
    """Of exp at equal eigenvalues: its derivative."""
    return jnp.sqrt(e[:, None] * e)


equal_eigenvalues = given(np.diag([1.0, 1.0, 2.0]))

# ---- what wrong.py spoils, unspoilt

right("softmax", vjp(softmax, softmax_forward, softmax_backward), MATRIX)
right(
    "layer norm",
    vjp(layer_norm, layer_norm_forward, layer_norm_backward),
    normal((4, 6), (6,), (6,), shift=0.5),
)
right("rms norm", vjp(rms_norm, rms_norm_forward, rms_norm_backward), normal((4, 6), (6,)))
right(
    "causal attention",
    vjp(attention, attention_forward, attention_backward),
    normal((5, 4), (5, 4), (5, 4)),
)
right(
    "an orthogonal map's backward is its inverse",
    by_hand(lambda x: rotary(x), lambda _, dy: (rotary(dy, -1),)),
    normal((5, 4)),
)
right(
    "repeated and absent indices",
    by_hand(embedding, lambda table, ids, dy: (jnp.zeros_like(table).at[ids].add(dy), None)),
    TABLE,
)
right("an implicit function", by_implicit_function, CONTRACTION)
right(
    "a bias that was broadcast over two leading axes",
    by_hand(lambda x, bias: x + bias, lambda x, bias, dy: (dy, jnp.sum(dy, (0, 1)))),
    normal((2, 3, 4), (4,)),
)

# ---- the rules of this library

right("jaxnet.linear", jaxnet.linear, normal((4, 3), (2, 3), (2,)))
right("jaxnet.relu away from zero", jaxnet.relu, MATRIX)
for slope in (0.0, 0.5, 1.0):
    right(
        f"jaxnet.relu at zero with slope {slope:.1f}",
        jaxnet.relu,
        given([-1.5, 0.0, 2.0, -0.0, 0.0]),
        kwargs={"slope_at_zero": slope},
    )
right(
    "jaxnet.softmax of masked scores",
    jaxnet.softmax,
    lambda rng: (normal((3, 4))(rng)[0].at[0, 1].set(-jnp.inf).at[1, :3].set(-jnp.inf),),
)
right(
    "jaxnet.softmax_cross_entropy of integers",
    jaxnet.softmax_cross_entropy,
    logits_and_labels(5, 4),
)
right(
    "jaxnet.softmax_cross_entropy of distributions",
    jaxnet.softmax_cross_entropy,
    lambda rng: (*normal((5, 4))(rng), jnp.asarray(rng.dirichlet(np.ones(4), 5), "float32")),
)

# ---- the rules of jax.nn and the losses of optax (custom_jvp, or none), where autodiff is wrong or
# ---- undefined


def zeros_among(*shape):
    return lambda rng: (normal(shape)(rng)[0].at[..., :2].set(0),)


def equal_in_part(rng):
    a, b = normal((6,), (6,))(rng)
    return a, b.at[:3].set(a[:3])


right("jax.nn.relu at zero", jax.nn.relu, zeros_among(2, 4))
right("jax.nn.silu", jax.nn.silu, MATRIX, ref=lambda x: x / (1 + jnp.exp(-x)))
right("jax.nn.softplus at zero", jax.nn.softplus, zeros_among(5))
right(
    "jax.nn.log_sigmoid at zero and in its tails",
    jax.nn.log_sigmoid,
    given([0.0, 30.0, -30.0, 1.0]),
)
right("jnp.logaddexp at ties", lambda a, b: jnp.logaddexp(a, b), equal_in_part)
right(
    "jax.nn.logsumexp with a masked entry",
    lambda z: jax.nn.logsumexp(z, axis=-1),
    lambda rng: (normal((3, 4))(rng)[0].at[:, 1].set(-jnp.inf),),
    ref=lambda z: jnp.log(jnp.sum(jnp.exp(z), axis=-1)),
)
right(
    "optax.softmax_cross_entropy_with_integer_labels",
    optax.softmax_cross_entropy_with_integer_labels,
    logits_and_labels(5, 4),
    ref=cross_entropy_of_the_definition,
)
right(
    "optax.sigmoid_binary_cross_entropy at zero",
    optax.sigmoid_binary_cross_entropy,
    lambda rng: (*zeros_among(6)(rng), jnp.asarray(rng.uniform(size=6), "float32")),
)
right(
    "optax.huber_loss at its two ends",
    lambda e: optax.huber_loss(e),
    given([0.0, 1.0, -1.0, 3.0, 0.3]),
    ref=lambda e: jnp.where(jnp.abs(e) <= 1, 0.5 * e**2, jnp.abs(e) - 0.5),
)
right(
    "optax.hinge_loss at its kink",
    optax.hinge_loss,
    given([1.0, -1.0, 0.3, 2.0], [1.0, -1.0, 1.0, 1.0]),
    ref=lambda y, label: jnp.maximum(0, 1 - y * label),
)

# ---- kinks and ties: any slope between the one-sided ones is right

right(
    "the slope of the absolute value at zero is 0", pointwise(jnp.abs, jnp.sign), zeros_among(2, 3)
)
right(
    "the slope of the absolute value at zero is 1",
    pointwise(jnp.abs, lambda x: jnp.where(x >= 0, 1, -1).astype(x.dtype)),
    zeros_among(6),
)


def larger(a, b):
    return jnp.maximum(a, b)


def tie(share):
    """A maximum that gives this share to its first argument where both are equal."""

    def backward(a, b, dy):
        da = jnp.where(a == b, jnp.asarray(share, dy.dtype) * dy, jnp.where(a > b, dy, 0))
        return da, dy - da

    return by_hand(larger, backward)


right("a tie is shared", tie(0.5), equal_in_part)
right("a tie goes to the first", tie(1), equal_in_part)


def largest(x):
    return jnp.max(x, axis=-1)


right(
    "the first of the largest takes all, autodiff shares",
    by_hand(
        largest,
        lambda x, dy: (
            dy[:, None] * (jnp.argmax(x, -1)[:, None] == jnp.arange(x.shape[-1])).astype(dy.dtype),
        ),
    ),
    given([[1.0, 3.0, 3.0], [2.0, 2.0, 2.0], [0.5, -1.0, 0.0]]),
)


def safe_norm(x):
    return jnp.sqrt(jnp.sum(x * x, axis=-1))


def safe_norm_backward(x, dy):  # 0 at 0, where autodiff has 0 / 0
    squares = jnp.sum(x * x, axis=-1)
    norm = jnp.sqrt(jnp.where(squares == 0, 1, squares))
    return ((dy / norm)[:, None] * x,)


right(
    "a norm with gradient 0 at 0, where autodiff is NaN",
    by_hand(safe_norm, safe_norm_backward),
    lambda rng: (normal((4, 3))(rng)[0].at[1].set(0),),
)


def guarded(x):
    return jnp.where(x > 0, jnp.where(x > 0, x, 1) ** 1.5, 0)


right(
    "a branch guarded twice against NaN",
    by_hand(
        guarded,
        lambda x, dy: (jnp.where(x > 0, 1.5 * jnp.sqrt(jnp.where(x > 0, x, 1)) * dy, 0),),
    ),
    zeros_among(7),
)

# ---- the rule is better than autodiff

right(
    "the tails of tanh, where autodiff cancels",
    pointwise(jnp.tanh, lambda x: 1 / jnp.cosh(x) ** 2),
    uniform(15, 22, (6,)),
)
right(
    "both tails of softplus",
    pointwise(lambda x: jnp.log(1 + jnp.exp(-jnp.abs(x))) + jnp.maximum(x, 0), jax.nn.sigmoid),
    given([-60.0, -30.0, -3.0, 2.0, 30.0, 60.0]),
)


def textbook_cross_entropy(logits, labels):
    return -jnp.take_along_axis(jax.nn.log_softmax(logits), labels[:, None], axis=-1)[:, 0]


def without_cancellation_backward(logits, labels, dy):
    y = labels[:, None] == jnp.arange(logits.shape[-1])
    p = jax.nn.softmax(logits)
    others = jnp.sum(jnp.where(y, 0, p), -1, keepdims=True)
    return dy[:, None] * jnp.where(y, -others, p), None


right(
    "cross-entropy without cancellation against a textbook body, at a margin of 40",
    by_hand(textbook_cross_entropy, without_cancellation_backward),
    lambda rng: (
        jnp.asarray(rng.normal(size=(3, 3)) + 40 * np.eye(3), "float32"),
        jnp.arange(3, dtype="int32"),
    ),
)

# ---- ill-conditioned

right(
    "the logarithm of a difference of close numbers",
    by_hand(lambda a, b: jnp.log(a - b), lambda a, b, dy: (dy / (a - b), -dy / (a - b))),
    lambda rng: (jnp.asarray(1 + rng.uniform(1e-5, 1e-4, 4), "float32"), jnp.ones(4, "float32")),
    dtypes=("float32",),
)


def nearly_singular(rng):
    q, _ = np.linalg.qr(rng.normal(size=(4, 4)))
    return jnp.asarray(q * np.array([1, 0.1, 1e-3, 1e-5]) @ q.T, "float32"), *normal((4,))(rng)


def solve(a, b):
    return jnp.linalg.solve(a, b)


def solve_backward(residuals, dx):
    a, x = residuals
    db = jnp.linalg.solve(a.T, dx)
    return -jnp.outer(db, x), db


right(
    "a nearly singular solve",
    vjp(solve, lambda a, b: (solve(a, b), (a, solve(a, b))), solve_backward),
    nearly_singular,
    dtypes=("float32",),  # no solver has less
)
right(
    "layer norm of two columns, whose gradient cancels",
    vjp(layer_norm, layer_norm_forward, layer_norm_backward),
    normal((5, 2), (2,), (2,), scale=3),
    dtypes=("float32",),  # in bfloat16 all of it cancels
)
right(
    "a very large scale",
    by_hand(lambda x, y: x * y, lambda x, y, dz: (dz * y, dz * x)),
    lambda rng: (normal((5,), scale=1e20)(rng)[0], normal((5,), scale=1e-12)(rng)[0]),
    dtypes=("float32",),
)
right(
    "a very small scale",
    pointwise(jnp.sin, jnp.cos),
    normal((5,), scale=1e-20),
    dtypes=("float32",),
)

# ---- gradients that are zero

right(
    "a composite whose gradient is zero: the sum of a softmax",
    by_hand(lambda z: jnp.sum(softmax(z), -1), lambda z, dy: (jnp.zeros_like(z),)),
    MATRIX,
)
right(
    "an argument that is not used",
    by_hand(lambda x, unused: x**2, lambda x, unused, dy: (2 * x * dy, jnp.zeros_like(unused))),
    normal((4,), (3,)),
)
cube = pointwise(lambda x: x**3, lambda x: 3 * x**2)
right("a rule on a constant", lambda x: x * cube(jnp.array([1.0, 2.0, 3.0], x.dtype)), normal((3,)))

# ---- random draws: in another dtype the draw is another

right(
    "dropout",
    by_hand(dropout, lambda x, key, dy: (dropout(dy, key), None)),
    with_key((20,)),
)


def reparameterised(mean, log_std, key):
    return mean + jnp.exp(log_std) * jax.random.normal(key, mean.shape, mean.dtype)


def reparameterised_forward(mean, log_std, key):
    y = reparameterised(mean, log_std, key)
    return y, y - mean


right(
    "a normal draw, from a raw key",
    vjp(reparameterised, reparameterised_forward, lambda noise, dy: (dy, dy * noise, None)),
    with_key((6,), (6,), key=jax.random.PRNGKey),
)

# ---- precision and dtypes


def wide(x):
    return x.astype(jnp.float32)


right(
    "float32 is written into the function",
    by_hand(
        lambda x: jnp.exp(wide(x)).astype(x.dtype),
        lambda x, dy: ((jnp.exp(wide(x)) * wide(dy)).astype(x.dtype),),
    ),
    MATRIX,
)


def widened(halves):
    """The halves of a rule computed in at least float32."""

    def in_wide(*arrays):
        narrow = arrays[0].dtype
        up = [a.astype(jnp.promote_types(narrow, jnp.float32)) for a in arrays]
        return jax.tree.map(lambda a: a.astype(narrow), halves(*up))

    return in_wide


def wide_rms_norm(x, weight):
    return widened(rms_norm)(x, weight)


for dtype in ("bfloat16", "float16"):
    right(
        f"{dtype}, accumulated in float32",
        by_hand(
            wide_rms_norm,
            widened(lambda x, weight, dy: rms_norm_backward(rms_norm_forward(x, weight)[1], dy)),
        ),
        normal((16, 8), (8,), dtype=dtype),
        dtypes=(dtype,),
    )
right(
    "bfloat16 beside float32",
    by_hand(
        lambda x, weight: x @ weight,
        lambda x, weight, dy: ((dy @ weight.T).astype(x.dtype), x.astype(dy.dtype).T @ dy),
    ),
    lambda rng: (*normal((4, 3), dtype="bfloat16")(rng), *normal((3, 2))(rng)),
    dtypes=("float32", "bfloat16"),
)
right(
    "the sum in another order, and so another rounding of the value",
    vjp(
        lambda x: jnp.sum(x),
        lambda x: (jnp.sum(jnp.sum(x[::-1].reshape(50, -1), axis=0)), x),
        lambda x, dy: (jnp.full_like(x, dy),),
    ),
    normal((1000,)),
)
right(
    "complex numbers",
    by_hand(lambda z, w: z * jnp.exp(w), lambda z, w, dy: (dy * jnp.exp(w), dy * z * jnp.exp(w))),
    complex_normal((5,), (5,)),
    dtypes=("complex64",),
)
right(
    "a real value of a complex argument",
    by_hand(lambda z: z.real**2 + z.imag**2, lambda z, dy: (2 * jnp.conj(z) * dy,)),
    complex_normal((5,)),
    dtypes=("complex64",),
)

# ---- shapes


def growth(a, b):
    return a * jnp.exp(b)


of_growth = by_hand(growth, lambda a, b, dy: (dy * jnp.exp(b), dy * growth(a, b)))
right("scalars", of_growth, normal((), ()))
right(
    "a Python number beside an array",
    of_growth,
    lambda rng: (*normal(())(rng), float(rng.normal())),
)
right(
    "an empty array beside another",
    by_hand(
        lambda a, b: jnp.sum(a) + jnp.sin(b),
        lambda a, b, dy: (jnp.full(a.shape, jnp.sum(dy)), dy * jnp.cos(b)),
    ),
    normal((0, 3), (4,)),
)
right("odd shapes", of_growth, normal((1, 3, 1, 5, 1), (1, 3, 1, 5, 1)))
right("ten thousand elements", pointwise(jnp.sin, jnp.cos), normal((10_000,)))

# ---- trees, integers, None


def gated(state):
    return state["w"] * jnp.tanh(state["step"] * state["w"])


def gated_backward(state, dy):
    t = jnp.tanh(state["step"] * state["w"])
    return (
        {"w": dy * (t + state["w"] * state["step"] * (1 - t * t)), "step": None, "extra": None},
    )


right(
    "a tree that holds an integer and None",
    by_hand(gated, gated_backward),
    lambda rng: ({"w": normal((4,))(rng)[0], "step": jnp.int32(2), "extra": None},),
)


def top(x):
    return jnp.max(x), jnp.argmax(x)


right(
    "two outputs, one of them an integer",
    by_hand(top, lambda x, dy: (jnp.zeros_like(x).at[jnp.argmax(x)].set(dy[0]),)),
    normal((7,)),
)
right(
    "None for integers",
    by_hand(lambda x, n: x**n, lambda x, n, dy: (dy * n * x ** (n - 1), None)),
    lambda rng: (*uniform(0.5, 2, (3, 2))(rng), jnp.array([3, 4], "int32")),
)


def scaled_power(x, n):
    return x**n / n


right(
    "nondiff_argnums, given by name",
    vjp(
        scaled_power,
        lambda x, n: (scaled_power(x, n), x),
        lambda n, x, dy: (dy * x ** (n - 1),),
        nondiff_argnums=(1,),
    ),
    MATRIX,
    kwargs={"n": 3},
)


def twice(function, x):
    return function(function(x))


right(
    "a function among the arguments",
    vjp(
        twice,
        lambda function, x: (twice(function, x), x),
        lambda function, x, dy: jax.vjp(lambda x: twice(function, x), x)[1](dy),
        nondiff_argnums=(0,),
    ),
    lambda rng: (jnp.sin, *MATRIX(rng)),
)

# ---- inside and around other transformations

right("a rule under a jit", jax.jit(lambda x, y: jnp.sum(cube(x) * y)), normal((5,), (5,)))


def cell(h, x, w):
    return jnp.tanh(w * h + x)


def cell_backward(residuals, dy):
    h, w, y = residuals
    ds = dy * (1 - y * y)
    return ds * w, ds, ds * h


of_cell = vjp(cell, lambda h, x, w: (cell(h, x, w), (h, w, cell(h, x, w))), cell_backward)
right(
    "a rule inside a scan",
    lambda xs, w: jax.lax.scan(lambda h, x: (of_cell(h, x, w),) * 2, jnp.zeros_like(w), xs)[1],
    normal((6, 3), (3,)),
)
right("a backward that computes the value again", recomputed(cell), normal((4,), (4,), (4,)))


def chunked_forward(x, weight, labels):
    """The loss from chunks of the vocabulary, the last one partial: no array of all logits."""
    m, total = jnp.full(x.shape[0], -jnp.inf, x.dtype), jnp.zeros(x.shape[0], x.dtype)
    for lo in range(0, weight.shape[0], 4):
        z = x @ weight[lo : lo + 4].T
        new = jnp.maximum(m, jnp.max(z, axis=-1))
        total = total * jnp.exp(m - new) + jnp.sum(jnp.exp(z - new[:, None]), axis=-1)
        m = new
    lse = m + jnp.log(total)
    return lse - jnp.sum(x * weight[labels], axis=-1), (x, weight, labels, lse)


def chunked_backward(residuals, dloss):
    x, weight, labels, lse = residuals
    dx, dw = jnp.zeros_like(x), []
    for lo in range(0, weight.shape[0], 4):
        w = weight[lo : lo + 4]
        y = labels[:, None] == lo + jnp.arange(w.shape[0])
        dz = dloss[:, None] * (jnp.exp(x @ w.T - lse[:, None]) - y)
        dx, dw = dx + dz @ w, [*dw, dz.T @ x]
    return dx, jnp.concatenate(dw), None


right(
    "a fused linear cross-entropy in chunks of its vocabulary",
    vjp(linear_cross_entropy, chunked_forward, chunked_backward),
    head(6, 5, 11),
)


def symbolic_forward(x, w):
    return x.value * w.value, (x.value if w.perturbed else None, w.value if x.perturbed else None)


def symbolic_backward(residuals, dy):
    x, w = residuals
    if isinstance(dy, jax.custom_derivatives.SymbolicZero):
        return None, None
    return None if w is None else dy * w, None if x is None else dy * x


product = jax.custom_vjp(lambda x, w: x * w)
product.defvjp(symbolic_forward, symbolic_backward, symbolic_zeros=True)
right("symbolic zeros: only what is asked for is kept", product, normal((4,), (4,)))

remat_cube = jax.custom_vjp(lambda x: x**3)
remat_cube.defvjp(lambda x: (x**3, x), lambda x, dy: (3 * x**2 * dy,), optimize_remat=True)
right("optimize_remat", remat_cube, MATRIX)
right(
    "a custom_jvp",
    jvp(
        lambda x, y: jnp.sin(x) * y, lambda p, t: jnp.cos(p[0]) * p[1] * t[0] + jnp.sin(p[0]) * t[1]
    ),
    normal((4,), (4,)),
)

# ---- with a reference: the primal cannot be differentiated, or the rule is meant to differ from
# ---- its derivative


def cube_kernel(x_ref, y_ref):
    y_ref[...] = x_ref[...] ** 3


def in_kernel(x):
    return pallas.pallas_call(
        cube_kernel, out_shape=jax.ShapeDtypeStruct(x.shape, x.dtype), interpret=True
    )(x)


right(
    "a Pallas kernel",
    by_hand(in_kernel, lambda x, dy: (3 * x**2 * dy,)),
    normal((4, 8)),
    ref=lambda x: x**3,
)
right(
    "a straight-through estimator",
    pointwise(jnp.round, jnp.ones_like),
    normal((6,), scale=3),
    ref=lambda x: x + jax.lax.stop_gradient(jnp.round(x) - x),
)


def in_float8(x):
    return x.astype("float8_e4m3fn").astype(x.dtype)


right(  # only the value has few digits
    "straight through a cast to float8",
    pointwise(in_float8, jnp.ones_like),
    normal((6,), scale=3),
    ref=lambda x: x + jax.lax.stop_gradient(in_float8(x) - x),
)
right(
    "a reversed gradient",
    pointwise(jnp.tanh, lambda x: -(1 - jnp.tanh(x) ** 2)),
    MATRIX,
    ref=lambda x: 2 * jax.lax.stop_gradient(jnp.tanh(x)) - jnp.tanh(x),
)


def scaled_draw(factor):
    """The derivative along the path of the draw, where factor is 1."""
    return by_hand(
        lambda x, key: x * jax.random.normal(key, x.shape, x.dtype),
        lambda x, key, dy: (factor * jax.random.normal(key, x.shape, x.dtype) * dy, None),
    )


def cast_to_float8(factor):
    return by_hand(
        lambda x: x.astype(jnp.float8_e4m3fn).astype(x.dtype), lambda x, dy: (factor * dy,)
    )


def of_a_symmetric_matrix(factor):
    """The sum of w a, of which the derivative is paid to the lower triangle alone."""

    def backward(a, w, dy):
        both = factor * (w + w.T)
        return dy * (jnp.tril(both, -1) + jnp.diag(jnp.diag(both)) / 2), dy * a

    return by_hand(lambda a, w: jnp.sum(w * a), backward)


def symmetric(rng):
    a, w = rng.normal(size=(2, 3, 3))
    return jnp.asarray(a + a.T, "float32"), jnp.asarray(w, "float32")


right("a draw, along its path", scaled_draw(1), with_key((5,)))
right("a cast to float8, straight through", cast_to_float8(1), normal((5,)))
right("NaN in, NaN out", pointwise(lambda x: jnp.sin(x), jnp.cos), given([jnp.nan, 0.5]))

# ---- no reverse mode of the body, or none that is finite

right(
    "a Pallas kernel by itself", by_hand(in_kernel, lambda x, dy: (3 * x**2 * dy,)), normal((4, 8))
)
right("a loop that ends when it has converged", by_hand(root, root_backward), normal((), (3,)))
right("a host callback", by_hand(host_sine, lambda x, dy: (jnp.cos(x) * dy,)), normal((4,)))
right(
    "a host callback that knows float32 alone",
    by_hand(single_on_the_host, lambda x, dy: ((1 - jnp.tanh(x) ** 2) * dy,)),
    normal((5,)),
)
right(
    "the exponential of a matrix with equal eigenvalues",
    by_hand(exponential, exponential_backward(divided_difference)),
    equal_eigenvalues,
)

# ---- several kinks at once


def is_largest(x):
    return x == jnp.max(x, -1, keepdims=True)


ROWS_WITH_TIES = given([[1.0, 3.0, 3.0], [2.0, 2.0, 2.0], [0.5, -1.0, 0.0]])
right(
    "the last of the largest takes all, in a weighted sum",
    lambda x: jnp.sum(jnp.asarray([1.0, -1.0, 2.0], x.dtype) * last_of_largest(x)),
    ROWS_WITH_TIES,
)


def last_takes_all(x, dy):
    last = x.shape[-1] - 1 - jnp.argmax(x[:, ::-1], -1)
    return (dy[:, None] * (last[:, None] == jnp.arange(x.shape[-1])),)


last_of_largest = by_hand(largest, last_takes_all)
relu_with_slope_03 = pointwise(
    lambda x: jnp.maximum(x, 0), lambda x: jnp.where(x > 0, 1.0, jnp.where(x == 0, 0.3, 0.0))
)
right(
    "relu at many zeros, in a weighted sum",
    lambda x: jnp.sum(jnp.cos(jnp.arange(x.size, dtype=x.dtype)) * relu_with_slope_03(x)),
    lambda rng: (normal((12,))(rng)[0].at[:7].set(0),),
)


def rows_of_zeros(rng):
    return (normal((4, 3))(rng)[0].at[jnp.array([1, 3])].set(0),)


def norm_backward(at_zero):
    """The backward of the norm of each row, with this for a row of zeros."""

    def backward(x, dy):
        norm = safe_norm(x)[:, None]
        is_zero = norm == 0
        return (dy[:, None] * jnp.where(is_zero, at_zero, x / jnp.where(is_zero, 1, norm)),)

    return backward


right(
    "a norm at 0: one element takes all",
    by_hand(safe_norm, lambda x, dy: norm_backward(jnp.array([1.0, 0, 0], x.dtype))(x, dy)),
    rows_of_zeros,
)


def relu_of_sum(x):
    return jnp.maximum(x[:, 0] + x[:, 1], 0)


def relu_of_sum_backward(*shares):
    def backward(x, dy):
        s = jnp.sum(x, -1, keepdims=True)
        at_zero = jnp.array(shares, x.dtype)
        return (dy[:, None] * jnp.where(s > 0, 1, jnp.where(s == 0, at_zero, 0)),)

    return backward


SUMS_OF_ZERO = given([[1.0, -1.0], [2.0, 1.0], [3.0, -3.0]])
right(
    "relu of a sum at 0 with slope 0.3",
    by_hand(relu_of_sum, relu_of_sum_backward(0.3, 0.3)),
    SUMS_OF_ZERO,
)


def median(x):
    return jnp.sort(x)[x.size // 2]


TIED = given([2.0, 1.0, 2.0, 2.0, 5.0])
right(
    "a median: the first of the ties takes all",
    by_hand(
        median,
        lambda x, dy: (jnp.zeros_like(x).at[jnp.argmax(x == median(x))].set(dy),),
    ),
    TIED,
)


def sort_with_ties_in_order(*first):
    """A sort whose backward takes equal numbers in this order."""

    def backward(x, dy):
        return (jnp.zeros_like(x).at[jnp.lexsort((jnp.array(first), x))].set(dy),)

    return by_hand(lambda x: jnp.sort(x), backward)


right(
    "a sort that takes ties in an order of its own",
    sort_with_ties_in_order(3, 5, 1, 2, 0, 7, 6, 4),
    given([1.0, 2.0, 2.0, 2.0, 3.0, 2.0, 1.0, 5.0]),
)

# ---- where a slope is infinite, there is no number to return


right(
    "a cube root, infinitely steep at 0",
    pointwise(jnp.cbrt, lambda x: 1 / (3 * jnp.cbrt(x) ** 2)),
    given([0.0, 1.0, 2.0]),
)

# ---- autodiff does not know


def trigamma(x):
    above = jax.scipy.special.polygamma(1, jnp.where(x < 0, 1 - x, x))
    return jnp.where(x < 0, (jnp.pi / jnp.sin(jnp.pi * x)) ** 2 - above, above)


right(
    "digamma below 0, where autodiff is wrong",
    jvp(lambda x: jax.lax.digamma(x), lambda p, t: trigamma(p[0]) * t[0]),
    given([-16.5, -2.5, 0.7, 3.0]),
)


def through_bits(x):
    bits = jax.lax.bitcast_convert_type(x, jnp.dtype(f"uint{8 * x.dtype.itemsize}"))
    return 0 * x + jax.lax.bitcast_convert_type(bits, x.dtype)


right(
    "by way of the bits: autodiff is 0",
    pointwise(through_bits, jnp.ones_like),
    normal((4,)),
)


def sinc(x):
    return jnp.where(x == 0, 1, jnp.sin(x) / x)


def slope_of_sinc(x):
    y = jnp.where(x == 0, 1, x)
    return jnp.where(x == 0, 0, (y * jnp.cos(y) - jnp.sin(y)) / y**2)


def slope_of_sinc_by_series(x):
    is_small = jnp.abs(x) < 1e-2
    series = -x / 3 + x**3 / 30 - x**5 / 840
    return jnp.where(is_small, series, slope_of_sinc(jnp.where(is_small, 1, x)))


right(
    "sin(x) / x, where autodiff is NaN at 0",
    pointwise(sinc, slope_of_sinc_by_series),
    given([0.0, 1.0, 2.0, -1.0]),
)

# ---- what is not differentiated: integers, whose width is another in float64, and constants


def times_place(x, first):
    """x times the place of its smallest element, which is at least first."""
    return x * jnp.maximum(first, jnp.argmin(x))


right(
    "an integer that is wider in float64",
    vjp(
        times_place,
        lambda x, first: (times_place(x, first), jnp.maximum(first, jnp.argmin(x))),
        lambda place, dy: (place * dy, None),
    ),
    lambda rng: (*normal((5,))(rng), np.int64(2)),
)
CLOSED_OVER = np.linspace(0.5, 2, 3, dtype=np.float32)
right(
    "a rule that closes over a table",
    by_hand(
        lambda x: jnp.sin(x) * jnp.asarray(CLOSED_OVER),
        lambda x, dy: (jnp.cos(x) * jnp.asarray(CLOSED_OVER) * dy,),
    ),
    MATRIX,
)

# ---- in a large array, of which a sample is judged


def many_at_one(rng):
    """A third of them at the kink of max(x, 1)."""
    x = rng.normal(size=70_001)
    return (jnp.asarray(np.where(rng.uniform(size=x.shape) < 1 / 3, 1, x), "float32"),)


right(
    "many elements at a kink that a move of all of them leaves",
    pointwise(lambda x: jnp.maximum(x, 1), lambda x: jnp.where(x >= 1, 1.0, 0.0)),
    many_at_one,
)
right(
    "a large array in bfloat16, with zeros",
    pointwise(lambda x: jnp.maximum(x, 0) ** 2, lambda x: 2 * jnp.maximum(x, 0)),
    lambda rng: (jnp.asarray(np.maximum(rng.normal(size=70_001), 0), "bfloat16"),),
)

# ---- a body that JAX cannot differentiate as it stands: a rule inside a batch by hand

right(
    "a body batched by hand, around another rule",
    by_hand(
        batched_by_hand(pointwise(lambda x: jnp.sin(x), jnp.cos)),
        lambda x, dy: (jnp.cos(x) * dy,),
    ),
    MATRIX,
)

# ---- forward mode: rules that jax.jvp runs as they are written


def silu(x):
    return x * jax.nn.sigmoid(x)


def silu_tangent(primals, tangents):
    s = jax.nn.sigmoid(primals[0])
    return s * (1 + primals[0] * (1 - s)) * tangents[0]


silu_by_hand = jvp(silu, silu_tangent)
logsumexp_by_hand = jvp(
    lambda z: jax.nn.logsumexp(z, -1), lambda p, t: jnp.sum(softmax(p[0]) * t[0], -1)
)


def in_turns(f):
    """f, three times over, in a loop that is jitted."""
    return jax.jit(lambda x: jax.lax.scan(lambda y, _: (f(y), jnp.sum(y)), x, None, length=3))


right("jax.nn.relu, with a zero", lambda x: jax.nn.relu(x), given([-1.0, 0.0, 2.0]))
right("jax.nn.relu6 at its corners", lambda x: jax.nn.relu6(x), given([-1.0, 0.0, 2.0, 6.0, 7.0]))
right("jnp.logaddexp", lambda x, y: jnp.logaddexp(x, y), normal((4,), (4,)))
right("jax.nn.log1mexp", lambda x: jax.nn.log1mexp(x), uniform(0.1, 2.0, (6,)))
right("jnp.linalg.slogdet", lambda a: jnp.linalg.slogdet(a)[1], normal((3, 3)))
right("silu by its jvp", silu_by_hand, MATRIX)
right("logsumexp by its jvp, of large numbers", logsumexp_by_hand, normal((4, 3), scale=300))
right("a jvp under vmap", jax.vmap(logsumexp_by_hand, in_axes=1), MATRIX)
right("a jvp in a loop below jit", in_turns(silu_by_hand), MATRIX)
right("a jvp of complex numbers", jvp(lambda z: z * z, lambda p, t: 2 * p[0] * t[0]), lambda rng: (
    jnp.asarray(rng.normal(size=4) + 1j * rng.normal(size=4), "complex64"),
))  # fmt: skip
right(
    "a jvp whose value is a pair of a number and an index",
    jvp(
        lambda x: (jnp.max(x), jnp.argmax(x)),
        lambda p, t: (t[0][jnp.argmax(p[0])], np.zeros((), jax.dtypes.float0)),
    ),
    normal((5,)),
)

power_by_hand = jax.custom_jvp(lambda n, x: x**n, nondiff_argnums=(0,))
power_by_hand.defjvp(lambda n, p, t: (p[0] ** n, n * p[0] ** (n - 1) * t[0]))
right("a jvp with a non-differentiable argument", lambda x: power_by_hand(3, x), MATRIX)


def product_by_symbols(primals, tangents):
    """Both tangents are looked at, and either may be absent."""
    (x, y), (dx, dy) = primals, tangents
    absent = [isinstance(t, jax.custom_derivatives.SymbolicZero) for t in tangents]
    if all(absent):
        return x * y, dx
    from_x = 0 if absent[0] else dx * y
    return x * y, from_x if absent[1] else from_x + x * dy


def jvp_of_symbols(body, rule):
    f = jax.custom_jvp(body)
    f.defjvp(rule, symbolic_zeros=True)
    return f


right(
    "a jvp that is told which tangents are absent",
    jvp_of_symbols(lambda x, y: x * y, product_by_symbols),
    normal((4,), (4,)),
)
right("a jvp of the absolute value, at zero", jvp(jnp.abs, lambda p, t: jnp.sign(p[0]) * t[0]),
      given([-1.0, 0.0, 2.0]))  # fmt: skip
right(
    "a jvp that drops out by a key",
    jvp(
        lambda x, key: x * jax.random.bernoulli(key, 0.5, x.shape),
        lambda p, t: t[0] * jax.random.bernoulli(p[1], 0.5, p[0].shape),
    ),
    lambda rng: (*MATRIX(rng), jax.random.key(int(rng.integers(100)))),
)
right(  # a custom_vjp has no forward mode
    "a jvp beside a reference that has reverse mode alone",
    jvp(affine, lambda p, t: t[0] @ p[1].T + p[0] @ t[1].T + t[2]),
    normal((4, 3), (2, 3), (2,)),
    ref=recomputed(affine),
)
right(
    "a jvp straight through, and the reference says so",
    jvp(lambda x: jnp.round(x), lambda p, t: t[0]),
    normal((6,), scale=3),
    ref=lambda x: x + jax.lax.stop_gradient(jnp.round(x) - x),
)


def by_callback(function, x):
    """A function of NumPy: nobody can differentiate it."""
    shape = jax.ShapeDtypeStruct(x.shape, x.dtype)

    def on_the_host(x):
        return np.asarray(function(np.asarray(x)), x.dtype)

    return jax.pure_callback(on_the_host, shape, x, vmap_method="sequential")


sine_by_callback = by_hand(
    lambda x: jnp.sin(x), lambda x, dy: (by_callback(np.positive, jnp.cos(x) * dy),)
)
right(
    "a jvp beside a reference whose pullback is a callback",
    jvp(lambda x: jnp.sin(x), lambda p, t: jnp.cos(p[0]) * t[0]),
    MATRIX,
    ref=sine_by_callback,
)


def fifth_power(x):
    """By a loop, which has forward mode alone."""

    def turn(state):
        n, y = state
        return n + 1, x * y

    return jax.lax.while_loop(lambda state: state[0] < 5, turn, (0, jnp.ones_like(x)))[1]


right(
    "a jvp of a while_loop",
    jvp(fifth_power, lambda p, t: 5 * p[0] ** 4 * t[0]),
    MATRIX,
)
right(
    "a jvp of a host callback",
    jvp(lambda x: by_callback(np.sin, x), lambda p, t: jnp.cos(p[0]) * t[0]),
    MATRIX,
)

# ---- NumPy arrays of 64 bits in the closure

PICKED = np.array([0, 2, 1, 2])
WEIGHTS = np.arange(4.0) / 7


def picked(table):
    return table[PICKED]


def picked_backward(table, dy):
    return (jnp.zeros_like(table).at[PICKED].add(dy),)


right("an embedding of ids from NumPy", by_hand(picked, picked_backward), MATRIX)
right(
    "a product with NumPy's float64",
    by_hand(lambda x: x @ WEIGHTS, lambda x, dy: (dy[..., None] * WEIGHTS,)),
    normal((3, 4)),
)

# ---- in 16 bits alone, as kernels that insist on their dtype


def sine_in_16_bits(x):
    assert x.dtype == jnp.bfloat16
    return jnp.sin(x)


def slope_in_16_bits(x, dy):
    wide = jnp.cos(x.astype("float32")) * dy.astype("float32")
    return (wide.astype(x.dtype),)


right(
    "a sine in bfloat16 alone",
    by_hand(sine_in_16_bits, slope_in_16_bits),
    normal((4, 5), dtype="bfloat16"),
)

# ---- arguments that are static, and given by keyword


def sum_of_sines(slope):
    """slope(x): what the rule takes for the sine's."""
    f = jax.custom_jvp(lambda x, axis=None: jnp.sum(jnp.sin(x), axis), nondiff_argnums=(1,))
    f.defjvp(lambda axis, p, t: (f(p[0], axis), jnp.sum(slope(p[0]) * t[0], axis)))
    return lambda x: f(x, axis=-1)


right("a static argument by keyword, of a custom_jvp", sum_of_sines(jnp.cos), MATRIX)

# ---- a function that raises outside of its domain


def logarithm(x):
    def computed(v):
        if not (v > 0).all():
            raise ValueError("x must be above 0")
        return np.log(v)

    return jax.pure_callback(
        computed, jax.ShapeDtypeStruct(x.shape, x.dtype), x, vmap_method="expand_dims"
    )


def logarithm_of_jax(x):
    """The same, with a derivative; it raises there too."""
    return jnp.log(x) + 0 * jax.lax.stop_gradient(logarithm(jax.lax.stop_gradient(x)))


# The first is so small that no difference can be taken.
SMALL_AND_LARGE = given([1e-3, 0.7, 2.0])

right(
    "a logarithm that raises below 0",
    by_hand(logarithm, lambda x, dy: (dy / x,)),
    SMALL_AND_LARGE,
    ref=logarithm_of_jax,
)

# ---- right to the digits that their arguments have

logarithm_without_its_epsilon = by_hand(
    lambda x: jnp.log(x + 1e-8), lambda x, dy: (dy / jnp.where(x > 0, x, 1),)
)


def sine_by_a_polynomial(factor):
    """Right near 0; factor times the slope of the polynomial."""
    return by_hand(
        lambda x: x - x**3 / 6 + x**5 / 120,
        lambda x, dy: (factor * dy * (1 - x**2 / 2 + x**4 / 24),),
    )


NEAR_ZERO = uniform(-0.8, 0.8, (4, 3))

right(
    "a logarithm whose slope forgets its epsilon",
    logarithm_without_its_epsilon,
    uniform(0.1, 2, (4, 3)),
)
right("a polynomial for the sine", sine_by_a_polynomial(1), NEAR_ZERO, ref=jnp.sin)


def root_by_small_steps(x):
    """In float32 a step is soon nothing: far fewer digits than of one operation are left."""

    def change(y):
        return 1e-3 * (x - y**2)

    def is_large(y):
        return jnp.any(jnp.abs(change(y)) > 1e-9) & jnp.any(y + change(y) != y)

    return jax.lax.while_loop(is_large, lambda y: y + change(y), jnp.ones_like(x))


right(
    "a root by small steps, which end early in float32",
    by_hand(root_by_small_steps, lambda x, dy: (dy / (2 * root_by_small_steps(x)),)),
    uniform(0.5, 2, (5,)),
    ref=jnp.sqrt,
)


def sine_in_a_loop(x):
    """Nobody can differentiate it in reverse."""
    return jax.lax.while_loop(lambda s: s[0] < 1, lambda s: (s[0] + 1, jnp.sin(s[1])), (0, x))[1]


def cosine_to_a_tolerance(x, dy):
    """Of which the next derivative does not know."""
    return (dy * (jnp.cos(x) + jax.lax.stop_gradient(1e-7 * jnp.sin(1 + 3 * x))),)


right(
    "a slope to a tolerance, whose own slope is 0",
    by_hand(sine_in_a_loop, cosine_to_a_tolerance),
    given([0.0, 1.0]),
)

BELOW_AND_ABOVE_1 = given([0.3, 20.0, 0.7, 40.0])


def square_by_pieces(off):
    """Below 1 another formula, off by that much; its slope is that of the square."""
    return by_hand(lambda x: x**2 * jnp.where(x < 1, 1 + off, 1.0), lambda x, dy: (2 * x * dy,))


right("a square by pieces, one of them rough", square_by_pieces(1e-7), BELOW_AND_ABOVE_1)

# ---- a gradient of which all terms cancel


def batch_norm(x):
    centred = x - jnp.mean(x, 0)
    return centred / jnp.sqrt(jnp.mean(centred**2, 0) + 1e-5)


def attention_with_a_bias(q, k, bias):
    """The bias moves all scores of a row alike."""
    return softmax(q @ (k + bias).T) @ k


right("batch norm, summed up", recomputed(lambda x: jnp.sum(batch_norm(x))), normal((6, 3)))
right(
    "a bias of the keys of attention",
    recomputed(attention_with_a_bias),
    normal((4, 3), (4, 3), (3,)),
)

# ---- ties of a reference that stops gradients


def straight_through_of_clip(x):
    return jnp.clip(x + jax.lax.stop_gradient(jnp.round(x) - x), -1, 1)


def clipped_straight_through(slope_at_end):
    """Straight through round, cut at 1 and -1."""

    def slope(x):
        size = jnp.abs(jnp.round(x))
        return jnp.where(size < 1, 1.0, jnp.where(size == 1, slope_at_end, 0.0))

    return by_hand(
        lambda x: jnp.clip(jnp.round(x), -1, 1), lambda x, dy: (dy * slope(x).astype(x.dtype),)
    )


ON_THE_ENDS = [-1.8, -1.2, -0.3, 0.4, 0.9, 1.3, 2.2]

right(
    "straight through a clip, all of it on the ends",
    clipped_straight_through(1),
    given(ON_THE_ENDS),
    ref=straight_through_of_clip,
)

# ---- right at points that typical arguments lack: 0, integers, ties, rows of zeros, one row


def cumulative(x):
    return jnp.cumprod(x)


def sum_of_tails(x, dy):
    """The cumulative product's backward, without a division by x."""
    before = jnp.concatenate([jnp.ones_like(x[:1]), jnp.cumprod(x)[:-1]])

    def step(tail, both):
        dyi, after = both
        tail = dyi + after * tail
        return tail, tail

    after = jnp.concatenate([x[1:], jnp.zeros_like(x[:1])])
    return (before * jax.lax.scan(step, jnp.zeros_like(x[0]), (dy, after), reverse=True)[1],)


right("a cumulative product, without a division", by_hand(cumulative, sum_of_tails), normal((6,)))


def normalised_sinc(x):
    y = jnp.where(x == 0, 1, x)
    return jnp.where(x == 0, 1 - (jnp.pi * x) ** 2 / 6, jnp.sin(jnp.pi * y) / (jnp.pi * y))


def slope_of_normalised_sinc(x):
    y = jnp.where(x == 0, 1, x)
    return jnp.where(x == 0, 0, (jnp.cos(jnp.pi * y) - normalised_sinc(y)) / y)


right(
    "sin(πx) / πx, whose slope loses digits near 0",
    pointwise(normalised_sinc, slope_of_normalised_sinc),
    MATRIX,
)


def log_of_both(a, b):
    return jnp.logaddexp(a, b)


def shares(a, b, dy):
    return dy * jax.nn.sigmoid(a - b), dy * jax.nn.sigmoid(b - a)


right("log(eᵃ + eᵇ)", by_hand(log_of_both, shares), normal((4, 3), (4, 3)))
right("a maximum at ties that nobody gave", tie(1.0), normal((4, 3), (4, 3)))


def guarded_norm(x):
    squares = jnp.sum(x * x, -1, keepdims=True)
    return jnp.where(squares == 0, 0, jnp.sqrt(jnp.where(squares == 0, 1, squares)))[..., 0]


right(
    "a norm, guarded row by row",
    by_hand(guarded_norm, norm_backward(0.0)),
    normal((4, 3)),
)


def mean_of_exponential(x):
    """(eˣ - 1) / x, near 0 by its series."""
    is_small = jnp.abs(x) < 1e-4
    y = jnp.where(is_small, 1, x)
    return jnp.where(is_small, 1 + x / 2 + x**2 / 6, jnp.expm1(y) / y)


def slope_with_series(first):
    """first: the coefficient of the slope's series."""

    def slope(x):
        is_small = jnp.abs(x) < 1e-4
        y = jnp.where(is_small, 1, x)
        return jnp.where(is_small, first + x / 3, (jnp.exp(y) - jnp.expm1(y) / y) / y)

    return slope


right(
    "(eˣ - 1) / x, whose slope has a series below 1e-4",
    pointwise(mean_of_exponential, slope_with_series(0.5)),
    MATRIX,
)


def probabilities(rng):
    """From nearly 1 to nearly 0."""
    return (jnp.asarray(np.linspace(0.98, 0.02, 12) - 0.01 * rng.uniform(size=12), "float32"),)


def slope_of_scaled_arcsine(x):
    return 0.9 / jnp.sqrt(1 - (0.9 * x) ** 2)


right(
    "the arcsine of what is below 1",
    pointwise(lambda x: jnp.arcsin(0.9 * x), slope_of_scaled_arcsine),
    probabilities,
)
right(
    "the slope of tanh by exponentials of which one is large",
    pointwise(jnp.tanh, lambda x: 4 / (jnp.exp(x) + jnp.exp(-x)) ** 2),
    MATRIX,
)
right(
    "a power whose slope divides by positive numbers",
    pointwise(lambda x: x**1.5, lambda x: 1.5 * x**1.5 / x),
    uniform(0.2, 2, (1,)),  # of one alone no sign is taken for granted
)
right(
    "a tail that is taken for 0",
    pointwise(jax.nn.softplus, lambda x: jnp.where(x < -20, 0, jax.nn.sigmoid(x))),
    normal((4, 3), scale=3.0),
)


def versine_over_square(x):
    """(1 - cos x) / x², near 0 by its series."""
    is_small = jnp.abs(x) < 1e-2
    y = jnp.where(is_small, 1, x)
    return jnp.where(is_small, 0.5 - x**2 / 24 + x**4 / 720, (1 - jnp.cos(y)) / y**2)


right(
    "(1 - cos x) / x², whose slope has no digits near 0",
    pointwise(versine_over_square, lambda x: (x * jnp.sin(x) - 2 + 2 * jnp.cos(x)) / x**3),
    uniform(1, 3, (9,)),
)
right(
    "sin(πx) / πx, whose slope is good to six digits near 0",
    pointwise(
        normalised_sinc,
        lambda x: jnp.where(jnp.abs(x) < 3e-3, -(jnp.pi**2) * x / 3, slope_of_normalised_sinc(x)),
    ),
    uniform(0.1, 2, (4, 3)),
)
right(
    "a power that overflows, whose slope divides by it",
    pointwise(lambda x: x**20, lambda x: 20 * x**20 / x),
    uniform(1.33, 1.38, (9,)),
)


def scaled_norm(x):
    """That squares neither overflow nor underflow."""
    largest = jax.lax.stop_gradient(jnp.max(jnp.abs(x), -1, keepdims=True))
    scale = jnp.where(largest == 0, 1, largest)
    return (scale * guarded_norm(x / scale)[..., None])[..., 0]


right(
    "a norm of numbers that are scaled, and its slope",
    by_hand(scaled_norm, lambda x, dy: (jax.vjp(scaled_norm, x)[1](dy)[0],)),
    MATRIX,
)
right(
    "logsumexp, whose forward shifts by the largest and whose body by the mean",
    vjp(
        lambda x: jax.nn.logsumexp(x - jnp.mean(x)) + jnp.mean(x),
        lambda x: (jax.nn.logsumexp(x), x),
        lambda x, dy: (jax.nn.softmax(x) * dy,),
    ),
    normal((5,)),
)


def variance(x):
    return jnp.sum((x - jnp.mean(x, 0)) ** 2, 0) / max(len(x) - 1, 1)


right(
    "a variance by n - 1, of one row by 1",
    by_hand(variance, lambda x, dy: (2 * (x - jnp.mean(x, 0)) * dy / max(len(x) - 1, 1),)),
    MATRIX,
)
ROWS = np.arange(1, 5, dtype=np.float32)[:, None]
right(
    "an array of all rows in the closure",
    by_hand(lambda x: jnp.sum(x * ROWS, 0), lambda x, dy: (dy * ROWS * jnp.ones(3, x.dtype),)),
    MATRIX,
)


def summed_in(at_least):
    """A bias of many rows, whose backward adds them up one by one, in this dtype at least."""

    def backward(x, bias, dy):
        dtype = jnp.promote_types(dy.dtype, at_least)
        total, _ = jax.lax.scan(
            lambda total, row: (total + row, None), jnp.zeros(dy.shape[1:], dtype), dy.astype(dtype)
        )
        return dy, total.astype(bias.dtype)

    return by_hand(lambda x, bias: x + bias, backward)


right(
    "a sum over many rows of bfloat16, kept in float32",
    summed_in("float32"),
    normal((512, 3), (3,), dtype="bfloat16"),
)


# ---- a cotangent with zeros


def scaled_by_row(x, dy):
    """As where a cotangent may overflow: a row of zeros is divided by 1."""
    size = jnp.max(jnp.abs(dy), -1, keepdims=True)
    divisor = jnp.where(size == 0, 1, size)
    return (jnp.cos(x) * (dy / divisor) * divisor,)


right(
    "a cotangent divided by its row's size, guarded",
    by_hand(lambda x: jnp.sin(x), scaled_by_row),
    normal((4, 3)),
)
right(
    "a backward for four rows, and no other number",
    by_hand(lambda x: jnp.sin(x), lambda x, dy: (jnp.cos(x) * dy.reshape(4, 3),)),
    normal((4, 3)),
)


def distances_of_pairs(x):
    square = jnp.sum((x[:, None] - x) ** 2, -1)
    is_zero = square == 0
    return jnp.where(is_zero, 0, jnp.sqrt(jnp.where(is_zero, 1, square)))


def pulled_apart(x, dy):
    """Equal rows do not pull."""
    distance = distances_of_pairs(x)
    slope = -(dy + dy.T) / (1 + distance) ** 2 / jnp.where(distance == 0, 1, distance)
    return (jnp.sum(slope[..., None] * (x[:, None] - x), 1),)


right(
    "the energy of pairs, 0 where two rows are equal",
    by_hand(lambda x: 1 / (1 + distances_of_pairs(x)), pulled_apart),
    normal((4, 3)),
)
right(
    "the cube of a norm: slope 0 in a row of zeros, where autodiff is NaN",
    by_hand(
        lambda x: jnp.sqrt(jnp.sum(x**2, -1)) ** 3,
        lambda x, dy: (3 * dy[:, None] * x * jnp.sqrt(jnp.sum(x**2, -1, keepdims=True)),),
    ),
    normal((4, 3)),
)


def leaky_backward(x, slope, dy):
    return dy * jnp.where(x > 0, 1, slope), jnp.sum(dy * jnp.minimum(x, 0))


right(
    "leaky relu by a maximum: a slope is below 1",
    by_hand(lambda x, slope: jnp.maximum(x, slope * x), leaky_backward),
    lambda rng: (*MATRIX(rng), jnp.float32(0.2)),
)
right(
    "the bounds of a clip, the lower below the upper",
    by_hand(
        lambda x, low, high: jnp.clip(x, low, high),
        lambda x, low, high, dy: (
            dy * ((x >= low) & (x <= high)),
            jnp.sum(dy * (x < low)),
            jnp.sum(dy * (x > high)),
        ),
    ),
    lambda rng: (*MATRIX(rng), jnp.float32(-0.9), jnp.float32(0.4)),
)
right(
    "a product whose slope divides by few positive numbers",
    by_hand(lambda x: jnp.prod(x), lambda x, dy: (dy * jnp.prod(x) / x,)),
    uniform(0.3, 2, (5,)),
)

# ---- beside booleans and integers


def masked_mean(x, mask):
    return jnp.sum(jnp.where(mask, x, 0), -1) / jnp.maximum(jnp.sum(mask, -1), 1)


def masks(rows, columns):
    """Normal numbers, and a mask for them of which no row is all False."""

    def args(rng):
        mask = rng.random((rows, columns)) < 0.5
        mask[:, 1] |= ~mask.any(1)
        return (*normal((rows, columns))(rng), jnp.asarray(mask))

    return args


def padded(rng):
    lengths = np.array([2, 5, 1, 4])
    return (*normal((4, 5))(rng), jnp.asarray(np.arange(5) < lengths[:, None]))


def guarded_softmax(x, mask):
    e = jnp.where(mask, jnp.exp(x - jax.lax.stop_gradient(jnp.max(x, -1, keepdims=True))), 0)
    total = jnp.sum(e, -1, keepdims=True)
    return e / jnp.where(total == 0, 1, total)


def softmax_backward_of(y, dy):
    return y * (dy - jnp.sum(y * dy, -1, keepdims=True)), None


right(
    "a softmax under a mask, 0 where it leaves nothing of a row",
    by_hand(guarded_softmax, lambda x, mask, dy: softmax_backward_of(guarded_softmax(x, mask), dy)),
    masks(4, 3),
)
right(
    "a mean of padded rows, by their lengths",
    by_hand(
        masked_mean,
        lambda x, m, dy: (
            (dy / jnp.maximum(jnp.sum(m, -1), 1))[:, None]
            * (jnp.arange(x.shape[-1]) < jnp.sum(m, -1, keepdims=True)),
            None,
        ),
    ),
    padded,
)


def masked_softmax(x, mask):
    return jax.nn.softmax(x + jnp.where(mask, 0, -1e4))


right(
    "a softmax under a mask that leaves something of each row",
    by_hand(
        masked_softmax, lambda x, mask, dy: softmax_backward_of(masked_softmax(x, mask) * mask, dy)
    ),
    masks(4, 5),
)


def gate(x, is_open):
    return jnp.where(is_open, jnp.sin(x), jnp.cos(x))


def open_gate(rng):
    return (*MATRIX(rng), jnp.array(True))


right(
    "a gate, right on either side of its flag",
    by_hand(gate, lambda x, is_open, dy: (dy * jnp.where(is_open, jnp.cos(x), -jnp.sin(x)), None)),
    open_gate,
)


def sums(x, ids):
    return jax.ops.segment_sum(x, ids, 3)


def mean_of_groups(x, ids):
    return sums(x, ids) / jnp.maximum(sums(jnp.ones_like(x), ids), 1)


def groups(rng):
    return (*normal((7,))(rng), jnp.array([1, 2, 0, 1, 2, 1, 0]))


right(
    "a mean of groups, of which one may be empty",
    by_hand(
        mean_of_groups,
        lambda x, ids, dy: ((dy / jnp.maximum(sums(jnp.ones_like(x), ids), 1))[ids], None),
    ),
    groups,
)
right(
    "numbers in a sparse matrix, each in a place of its own",
    by_hand(
        lambda x, i, j: jnp.zeros((3, 3), x.dtype).at[i, j].set(x),
        lambda x, i, j, dy: (dy[i, j], None, None),
    ),
    lambda rng: (*normal((5,))(rng), jnp.array([2, 0, 2, 1, 0]), jnp.array([1, 1, 0, 2, 0])),
)


def places_in_tree(x, above):
    """Each node's number, and that of all above it."""

    def step(places, i):
        return places.at[i].set(places[above[i]] + x[i]), None

    return jax.lax.scan(step, jnp.zeros_like(x), jnp.arange(len(x)))[0]


def up_the_tree(x, above, dy):
    def step(total, i):
        return total.at[above[i]].add(jnp.where(i > 0, total[i], 0)), None

    return jax.lax.scan(step, dy, jnp.arange(len(x))[::-1])[0], None


right(
    "a tree whose nodes come after those above them",
    by_hand(places_in_tree, up_the_tree),
    lambda rng: (*normal((7,))(rng), jnp.array([0, 0, 1, 0, 2, 1, 3])),
)


# ---- batched by hand


def batched(rule):
    """A slope times a cotangent, with a rule for jax.vmap."""
    f = jax.custom_batching.custom_vmap(lambda slope, dy: slope * dy)
    f.def_vmap(rule)
    return f


def scaled_in_batches(size, is_batched, slope, dy):
    return slope * dy, True  # the axis that is one for all is broadcast


right(
    "a backward with a rule for batches",
    by_hand(lambda x: jnp.sin(x), lambda x, dy: (batched(scaled_in_batches)(jnp.cos(x), dy),)),
    normal((5,)),
)


right(
    "entropy, whose slope ends at 1e-30",
    by_hand(
        lambda p: -jnp.sum(jnp.where(p > 0, p * jnp.log(jnp.where(p > 0, p, 1)), 0), -1),
        lambda p, dy: (-dy[:, None] * (jnp.log(jnp.maximum(p, 1e-30)) + 1),),
    ),
    lambda rng: (jax.nn.softmax(MATRIX(rng)[0]),),
)


def mean_of_counted(logits, labels):
    """The cross-entropy of the rows whose label is not -1."""
    counts = labels != -1
    y = jnp.where(counts, labels, 0)
    losses = -jnp.take_along_axis(jax.nn.log_softmax(logits), y[:, None], -1)[:, 0]
    return jnp.sum(jnp.where(counts, losses, 0)) / jnp.maximum(jnp.sum(counts), 1)


def mean_of_counted_backward(logits, labels, dy):
    counts = labels != -1
    slope = jax.nn.softmax(logits) - jax.nn.one_hot(labels, logits.shape[-1])
    return dy * jnp.where(counts[:, None], slope, 0) / jnp.maximum(jnp.sum(counts), 1), None


def labelled(rng):
    return (*normal((6, 4))(rng), jnp.asarray(rng.integers(0, 4, 6)))


right(
    "a cross-entropy that leaves out the rows of one label",
    by_hand(mean_of_counted, mean_of_counted_backward),
    labelled,
)
