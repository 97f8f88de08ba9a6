"""What benchmark.py rules measures: each rule beside the textbook's expression, points for its error, and the truth."""

import functools
import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
import optax

import jaxnet

CLASSES = 32768
TIMED, SMALLER = (2048, 1024), (512, 1024)  # shapes of x for the time
Args: TypeAlias = tuple[Any, ...]
Gradient: TypeAlias = Callable[..., Args]  # (cotangent, *args) -> true gradients, in float64


class Entry(NamedTuple):
    hand: Callable[..., Any]
    text: Callable[..., Any]
    rest: Callable[[int, int], Args] = (
        lambda rows, columns: ()
    )  # the arguments after x [rows, columns]
    points: Sequence[Args] = ()  # where the error is measured
    truth: Gradient | None = (
        None  # None: autodiff of `text` in float64, which is right at these points
    )
    cotangent: Callable[[tuple[int, ...]], np.ndarray] = lambda shape: np.random.default_rng(
        1
    ).normal(size=shape)
    timed: tuple[int, int] = TIMED

    def ways(self) -> dict[str, Callable[..., Any]]:
        auto = jaxnet.auto(self.hand)
        return {"hand": self.hand, "auto": auto, "ckpt": jax.checkpoint(auto), "text": self.text}


rng = np.random.default_rng(0)


def normal(*shape: int) -> np.ndarray:
    return rng.normal(size=shape).astype(np.float32)


def key(*_: int) -> Args:
    return (jax.random.key(1),)


def labels(rows: int, columns: int) -> Args:
    return (rng.integers(0, columns, rows).astype(np.int32),)


def classifier(rows: int, columns: int, classes: int = CLASSES) -> Args:
    weight = normal(classes, columns) / np.float32(math.sqrt(columns))
    return weight, normal(classes), *labels(rows, classes)


# The textbook's expressions, where jax.nn, jnp and optax have none.


def layer_norm(x: Any, scale: Any = 1, bias: Any = 0) -> Any:
    mean = x.mean(-1, keepdims=True)
    return (x - mean) / jnp.sqrt(jnp.mean((x - mean) ** 2, -1, keepdims=True) + 1e-5) * scale + bias


def rms_norm(x: Any, scale: Any = 1) -> Any:
    return x / jnp.sqrt(jnp.mean(x**2, -1, keepdims=True) + 1e-6) * scale


def dropout(x: Any, key: Any) -> Any:
    return jnp.where(jax.random.bernoulli(key, 0.9, x.shape), x / 0.9, 0)


def linear_cross_entropy(x: Any, weight: Any, bias: Any, y: Any) -> Any:
    return optax.softmax_cross_entropy_with_integer_labels(x @ weight.T + bias, y).mean()


# True gradients where autodiff of the textbook's expression loses digits even in float64: no term cancels here.


def elementwise(slope: Callable[[Any], Any]) -> Gradient:
    return lambda c, x: (c * slope(x),)


def sigma(x: Any) -> Any:
    e = np.exp(-abs(x))
    return np.where(x < 0, e, 1) / (1 + e)


def gelu_slope(x: Any) -> Any:
    return math.erfc(-x / math.sqrt(2)) / 2 + x * np.exp(-x * x / 2) / math.sqrt(2 * math.pi)


def tanh_gelu_slope(x: Any) -> Any:
    c, a = 2 * math.sqrt(2 / math.pi), 0.044715
    v, dv = c * (x + a * x**3), c * (1 + 3 * a * x * x)
    return sigma(v) * (1 + x * dv * sigma(-v))


def silu_slope(x: Any) -> Any:
    return sigma(x) * (1 + x * sigma(-x))


def swiglu_truth(c: Any, gate: Any, value: Any) -> Args:
    return c * value * silu_slope(gate), c * gate * sigma(gate)


def probabilities(z: Any) -> Any:
    e = np.exp(z - z.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def softmax_truth(c: Any, z: Any) -> Args:
    p = probabilities(z)
    return (p * ((c[..., :, None] - c[..., None, :]) * p[..., None, :]).sum(-1),)


def log_softmax_truth(c: Any, z: Any) -> Args:
    others = ~np.eye(z.shape[-1], dtype=bool)
    p = probabilities(z)
    return (c * (p[..., None, :] * others).sum(-1) - p * (c[..., None, :] * others).sum(-1),)


def cross_entropy_truth(c: Any, z: Any, y: Any) -> Args:
    (dz,) = log_softmax_truth(-np.eye(z.shape[-1])[y], z)
    return (c[..., None] * dz,)


def linear_cross_entropy_truth(c: Any, x: Any, weight: Any, bias: Any, y: Any) -> Args:
    (dz,) = cross_entropy_truth(c / len(y) * np.ones(len(y)), x @ weight.T + bias, y)
    return dz @ weight, dz.T @ x, dz.sum(0)


def binary_truth(c: Any, z: Any, y: Any) -> Args:
    return (c * np.where(y == 1, -sigma(-z), sigma(z)),)


def safe_sqrt_truth(c: Any, x: Any) -> Args:
    return (np.where(x == 0, 0, c / (2 * np.sqrt(np.where(x == 0, 1, x)))),)


def norm_and_direction(x: Any) -> tuple[Any, Any]:
    n = np.sqrt((x * x).sum(-1, keepdims=True))
    return np.where(n == 0, 1, n), np.where(n == 0, 0, x / np.where(n == 0, 1, n))


def safe_norm_truth(c: Any, x: Any) -> Args:
    return (c[..., None] * norm_and_direction(x)[1],)


def normalize_truth(c: Any, x: Any) -> Args:
    n, u = norm_and_direction(x)
    return (
        np.where((u == 0).all(-1, keepdims=True), 0, (c - u * (c * u).sum(-1, keepdims=True)) / n),
    )


# Where the error is measured.

SIZES = (0.001, 0.1, 0.5, 1.0, 2.0, 3.0, 5.0, 7.0, 9.0, 12.0, 17.0, 25.0, 40.0, 60.0, 80.0)


def numbers(least: float = -80.0, most: float = 80.0) -> list[Args]:
    """0 and both tails, as far as the derivative is a normal number."""
    return [(np.float32(x),) for x in (0.0, *SIZES, *(-s for s in SIZES)) if least <= x <= most]


def margins(*more: Any) -> list[Args]:
    """Rows of five in which one entry is above the others by 0 to 80."""
    rows = []
    for margin in (0, 1, 5, 10, 17, 25, 40, 80):
        z = normal(5) / 4
        z[2] = z.max() + margin
        rows.append((z, *more))
    return rows


def rows_of(*scales: float, columns: int = 64) -> list[Args]:
    return [(np.float32(scale) * normal(3, columns),) for scale in scales]


def norm_points(*params: Any) -> list[Args]:
    """Ordinary rows, rows with mean 10000, small ones, constant ones."""
    ordinary, far, small = rows_of(1, 1, 1e-3)
    return [
        (x, *params)
        for x in (ordinary[0], far[0] + 10000, small[0], np.full((3, 64), np.float32(3)))
    ]


def in_bfloat16(*arrays: Any) -> Args:
    return tuple(jnp.asarray(a, jnp.bfloat16) if a.dtype == np.float32 else a for a in arrays)


GAMMA, BETA = normal(64), normal(64)
LABELS = [(z, y) for (z,) in margins() for y in (np.int32(2), np.int32(0))]
CLASSIFIERS = [
    (
        np.eye(5, dtype=np.float32)[2:3] * margin,
        np.eye(5, dtype=np.float32),
        normal(5) / 4,
        np.array([y], np.int32),
    )
    for margin in (1, 5, 10, 17, 25, 40, 80)
    for y in (2, 0)
]
ENTRIES = {
    "linear": Entry(
        jaxnet.linear,
        lambda x, weight, bias: x @ weight.T + bias,
        lambda rows, columns: (normal(columns, columns), normal(columns)),
        [
            (normal(64, 16), normal(8, 16), normal(8)),
            in_bfloat16(normal(4096, 16), normal(8, 16), normal(8)),
        ],
        timed=SMALLER,
    ),
    "relu": Entry(jaxnet.relu, lambda x: jnp.maximum(x, 0), points=numbers()[1:]),
    "sigmoid": Entry(
        jaxnet.rules.sigmoid,
        jax.nn.sigmoid,
        points=numbers(),
        truth=elementwise(lambda x: sigma(x) * sigma(-x)),
    ),
    "tanh": Entry(
        jaxnet.rules.tanh,
        jnp.tanh,
        points=numbers(-40, 40),
        truth=elementwise(lambda x: 1 / np.cosh(x) ** 2),
    ),
    "softplus": Entry(
        jaxnet.rules.softplus, jax.nn.softplus, points=numbers(), truth=elementwise(sigma)
    ),
    "silu": Entry(jaxnet.rules.silu, jax.nn.silu, points=numbers(), truth=elementwise(silu_slope)),
    "gelu": Entry(
        jaxnet.rules.gelu, jax.nn.gelu, points=numbers(-9), truth=elementwise(tanh_gelu_slope)
    ),
    "gelu, exact": Entry(
        functools.partial(jaxnet.rules.gelu, approximate=False),
        functools.partial(jax.nn.gelu, approximate=False),
        points=numbers(-12),
        truth=elementwise(gelu_slope),
    ),
    "swiglu": Entry(
        jaxnet.rules.swiglu,
        lambda gate, value: jax.nn.silu(gate) * value,
        lambda *shape: (normal(*shape),),
        [(x, np.float32(0.7)) for (x,) in numbers()],
        swiglu_truth,
    ),
    "softmax": Entry(jaxnet.softmax, jax.nn.softmax, points=margins(), truth=softmax_truth),
    "log_softmax": Entry(
        jaxnet.rules.log_softmax,
        jax.nn.log_softmax,
        points=margins(),
        truth=log_softmax_truth,
        cotangent=lambda shape: (
            -np.eye(*shape[-1:])[2]
        ),  # of a loss whose label is the entry above the others
    ),
    "layer_norm": Entry(
        jaxnet.rules.layer_norm,
        layer_norm,
        lambda rows, columns: (normal(columns), normal(columns)),
        norm_points(GAMMA, BETA),
    ),
    "rms_norm": Entry(
        jaxnet.rules.rms_norm,
        rms_norm,
        lambda rows, columns: (normal(columns),),
        norm_points(GAMMA),
    ),
    "dropout": Entry(lambda x, key: jaxnet.rules.dropout(key, x, rate=0.1), dropout, key),
    "safe_sqrt": Entry(
        lambda x: jaxnet.rules.safe_sqrt(abs(x)),
        lambda x: jnp.sqrt(abs(x)),
        points=[(np.float32(x),) for x in (0, 1e-30, 1e-6, 0.5, 1e6, 1e30)],
        truth=safe_sqrt_truth,
    ),
    "safe_norm": Entry(
        jaxnet.rules.safe_norm,
        lambda x: jnp.linalg.norm(x, axis=-1),
        points=rows_of(0, 1e-25, 1e-3, 1, 1e3, 1e25),
        truth=safe_norm_truth,
    ),
    "normalize": Entry(
        jaxnet.rules.normalize,
        lambda x: x / jnp.linalg.norm(x, axis=-1, keepdims=True),
        points=rows_of(0, 1e-25, 1e-3, 1, 1e3, 1e25),
        truth=normalize_truth,
    ),
    "softmax_cross_entropy": Entry(
        jaxnet.softmax_cross_entropy,
        optax.softmax_cross_entropy_with_integer_labels,
        labels,
        LABELS,
        cross_entropy_truth,
    ),
    "linear_softmax_cross_entropy": Entry(
        jaxnet.rules.linear_softmax_cross_entropy,
        linear_cross_entropy,
        classifier,
        CLASSIFIERS,
        linear_cross_entropy_truth,
        timed=(2048, 256),
    ),
    "sigmoid_binary_cross_entropy": Entry(
        jaxnet.rules.sigmoid_binary_cross_entropy,
        lambda z, y: optax.sigmoid_binary_cross_entropy(z, y.astype(z.dtype)),
        lambda *shape: (rng.integers(0, 2, shape).astype(np.int32),),
        [(z, np.int32(y)) for (z,) in numbers() for y in (0, 1)],
        binary_truth,
    ),
    "mean_squared_error": Entry(
        jaxnet.rules.mean_squared_error,
        lambda x, t: jnp.mean((x - t) ** 2, -1),
        lambda *shape: (normal(*shape),),
        [(s * normal(3, 64), normal(3, 64)) for s in (1, 10000)],
    ),
    "huber": Entry(
        jaxnet.rules.huber,
        optax.huber_loss,
        lambda *shape: (normal(*shape),),
        [(np.float32(x), np.float32(0.25)) for x in (-1e4, -3, 0.1, 0.25, 1, 3, 1e4)],
    ),
    "embedding": Entry(
        jaxnet.rules.embedding,
        lambda table, ids: table[ids],
        lambda rows, columns: (rng.integers(0, rows, rows).astype(np.int32),),
        [
            (normal(16, 8), rng.integers(0, 16, 64)),
            in_bfloat16(normal(4, 8), rng.integers(0, 4, 65536)),
        ],
    ),
}

REASONS = {  # why a rule is slower than the textbook's, or is here without a gain
    "linear": "the report derives it",
    "relu": "the report derives it; in a scan whose carry is its output, autodiff's mask takes less",
    "sigmoid": "its tails cost one exp more in the backward",
    "tanh": "its tails cost one exp more in the backward",
    **dict.fromkeys(
        ("silu", "gelu", "gelu, exact", "swiglu"),
        "what autodiff keeps is computed again in the backward",
    ),
    "softmax": "the second projection of its backward is one more pass",
    "log_softmax": "the second projection of its backward is one more pass",
    "safe_norm": "the largest element, which keeps the squares in range, is one more pass",
    "normalize": "the largest element, which keeps the squares in range, is one more pass",
    "mean_squared_error": "autodiff is as good; it is here so that a regression has its loss beside huber",
}
