"""What each rule gives over automatic differentiation: digits, memory, time.

Four ways to one gradient meet: the rule (hand); autodiff of the rule's own body (auto); the same under jax.checkpoint
(ckpt); autodiff of the expression that a textbook or jax.nn, jnp and optax have for it (text). All in float32.
"""

import functools
import math
import time
from collections.abc import Callable, Sequence
from statistics import median
from typing import Any, NamedTuple, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
import optax

import jaxnet

LAYERS, WIDTH = 12, 256  # of the scan
CLASSES = 32768
LESS, FASTER = 0.6, 0.8  # what counts as a gain
KEPT, TIMED = (512, 1024), (2048, 1024)  # shapes of x for the bytes, and for the time
Args: TypeAlias = tuple[Any, ...]
Gradient: TypeAlias = Callable[..., Args]  # (cotangent, *args) -> true gradients, in float64


class Entry(NamedTuple):
    hand: Callable[..., Any]
    text: Callable[..., Any]
    rest: Callable[[int, int], Args] = lambda rows, columns: ()  # the arguments after x [rows, columns]
    points: Sequence[Args] = ()  # where the error is measured
    truth: Gradient | None = None  # None: autodiff of `text` in float64, which is right at these points
    cotangent: Callable[[tuple[int, ...]], np.ndarray] = lambda shape: np.random.default_rng(1).normal(size=shape)
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
    return (np.where((u == 0).all(-1, keepdims=True), 0, (c - u * (c * u).sum(-1, keepdims=True)) / n),)


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
    return [(x, *params) for x in (ordinary[0], far[0] + 10000, small[0], np.full((3, 64), np.float32(3)))]


def in_bfloat16(*arrays: Any) -> Args:
    return tuple(jnp.asarray(a, jnp.bfloat16) if a.dtype == np.float32 else a for a in arrays)


GAMMA, BETA = normal(64), normal(64)
LABELS = [(z, y) for (z,) in margins() for y in (np.int32(2), np.int32(0))]
CLASSIFIERS = [
    (np.eye(5, dtype=np.float32)[2:3] * margin, np.eye(5, dtype=np.float32), normal(5) / 4, np.array([y], np.int32))
    for margin in (1, 5, 10, 17, 25, 40, 80)
    for y in (2, 0)
]
ENTRIES = {
    "linear": Entry(
        jaxnet.linear,
        lambda x, weight, bias: x @ weight.T + bias,
        lambda rows, columns: (normal(columns, columns), normal(columns)),
        [(normal(64, 16), normal(8, 16), normal(8)), in_bfloat16(normal(4096, 16), normal(8, 16), normal(8))],
        timed=KEPT,
    ),
    "relu": Entry(jaxnet.relu, lambda x: jnp.maximum(x, 0), points=numbers()[1:]),
    "sigmoid": Entry(
        jaxnet.sigmoid, jax.nn.sigmoid, points=numbers(), truth=elementwise(lambda x: sigma(x) * sigma(-x))
    ),
    "tanh": Entry(jaxnet.tanh, jnp.tanh, points=numbers(-40, 40), truth=elementwise(lambda x: 1 / np.cosh(x) ** 2)),
    "softplus": Entry(jaxnet.softplus, jax.nn.softplus, points=numbers(), truth=elementwise(sigma)),
    "silu": Entry(jaxnet.silu, jax.nn.silu, points=numbers(), truth=elementwise(silu_slope)),
    "gelu": Entry(jaxnet.gelu, jax.nn.gelu, points=numbers(-9), truth=elementwise(tanh_gelu_slope)),
    "gelu, exact": Entry(
        functools.partial(jaxnet.gelu, approximate=False),
        functools.partial(jax.nn.gelu, approximate=False),
        points=numbers(-12),
        truth=elementwise(gelu_slope),
    ),
    "swiglu": Entry(
        jaxnet.swiglu,
        lambda gate, value: jax.nn.silu(gate) * value,
        lambda *shape: (normal(*shape),),
        [(x, np.float32(0.7)) for (x,) in numbers()],
        swiglu_truth,
    ),
    "softmax": Entry(jaxnet.softmax, jax.nn.softmax, points=margins(), truth=softmax_truth),
    "log_softmax": Entry(
        jaxnet.log_softmax,
        jax.nn.log_softmax,
        points=margins(),
        truth=log_softmax_truth,
        cotangent=lambda shape: -np.eye(*shape[-1:])[2],  # of a loss whose label is the entry above the others
    ),
    "layer_norm": Entry(
        jaxnet.layer_norm,
        layer_norm,
        lambda rows, columns: (normal(columns), normal(columns)),
        norm_points(GAMMA, BETA),
    ),
    "rms_norm": Entry(jaxnet.rms_norm, rms_norm, lambda rows, columns: (normal(columns),), norm_points(GAMMA)),
    "dropout": Entry(lambda x, key: jaxnet.dropout(key, x, rate=0.1), dropout, key),
    "safe_sqrt": Entry(
        lambda x: jaxnet.safe_sqrt(abs(x)),
        lambda x: jnp.sqrt(abs(x)),
        points=[(np.float32(x),) for x in (0, 1e-30, 1e-6, 0.5, 1e6, 1e30)],
        truth=safe_sqrt_truth,
    ),
    "safe_norm": Entry(
        jaxnet.safe_norm,
        lambda x: jnp.linalg.norm(x, axis=-1),
        points=rows_of(0, 1e-25, 1e-3, 1, 1e3, 1e25),
        truth=safe_norm_truth,
    ),
    "normalize": Entry(
        jaxnet.normalize,
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
        jaxnet.linear_softmax_cross_entropy,
        linear_cross_entropy,
        classifier,
        CLASSIFIERS,
        linear_cross_entropy_truth,
        timed=(2048, 256),
    ),
    "sigmoid_binary_cross_entropy": Entry(
        jaxnet.sigmoid_binary_cross_entropy,
        lambda z, y: optax.sigmoid_binary_cross_entropy(z, y.astype(z.dtype)),
        lambda *shape: (rng.integers(0, 2, shape).astype(np.int32),),
        [(z, np.int32(y)) for (z,) in numbers() for y in (0, 1)],
        binary_truth,
    ),
    "mean_squared_error": Entry(
        jaxnet.mean_squared_error,
        lambda x, t: jnp.mean((x - t) ** 2, -1),
        lambda *shape: (normal(*shape),),
        [(s * normal(3, 64), normal(3, 64)) for s in (1, 10000)],
    ),
    "huber": Entry(
        jaxnet.huber,
        optax.huber_loss,
        lambda *shape: (normal(*shape),),
        [(np.float32(x), np.float32(0.25)) for x in (-1e4, -3, 0.1, 0.25, 1, 3, 1e4)],
    ),
    "embedding": Entry(
        jaxnet.embedding,
        lambda table, ids: table[ids],
        lambda rows, columns: (rng.integers(0, rows, rows).astype(np.int32),),
        [(normal(16, 8), rng.integers(0, 16, 64)), in_bfloat16(normal(4, 8), rng.integers(0, 4, 65536))],
    ),
}

REASONS = {  # why a rule is slower than the textbook's, or is here without a gain
    "linear": "the report derives it",
    "relu": "the report derives it; in a scan whose carry is its output, autodiff's mask takes less",
    "sigmoid": "its tails cost one exp more in the backward",
    "tanh": "its tails cost one exp more in the backward",
    **dict.fromkeys(("silu", "gelu", "gelu, exact", "swiglu"), "what autodiff keeps is computed again in the backward"),
    "softmax": "the second projection of its backward is one more pass",
    "log_softmax": "the second projection of its backward is one more pass",
    "safe_norm": "the largest element, which keeps the squares in range, is one more pass",
    "normalize": "the largest element, which keeps the squares in range, is one more pass",
    "mean_squared_error": "autodiff is as good; it is here so that a regression has its loss beside huber",
}


def of_floats(f: Callable[..., Any], args: Args) -> tuple[Callable[..., Any], list[Any]]:
    """f as a function of its floating arguments, and those."""
    at = [i for i, a in enumerate(args) if jnp.issubdtype(a.dtype, jnp.floating)]

    def of_them(*floats: Any) -> Any:
        full = list(args)
        for i, a in zip(at, floats, strict=True):
            full[i] = a
        return f(*full)

    return of_them, [args[i] for i in at]


def pullback(f: Callable[..., Any]) -> Callable[..., Any]:
    """(cotangent, *args) -> value, and a cotangent for each floating argument."""

    def pulled_back(c: Any, *args: Any) -> Any:
        g, floats = of_floats(f, args)
        value, pull = jax.vjp(g, *floats)
        return value, pull(c)

    return pulled_back


def worst_error(entry: Entry, f: Callable[..., Any]) -> float:
    """Over all points, the error of an element of a gradient over the largest element there, in eps of its dtype.

    Infinite where the gradient is not finite, or is not 0 where all of the true one is.
    """
    pull, errors = jax.jit(pullback(f)), [0.0]
    for point in entry.points:
        args = tuple(map(jnp.asarray, point))
        y = jax.eval_shape(f, *args)
        c = jnp.asarray(entry.cotangent(y.shape), y.dtype)
        for g, true in zip(pull(c, *args)[1], true_gradients(entry, c, args), strict=True):
            error, largest = np.abs(np.asarray(g, np.float64) - true).max(), np.abs(true).max()
            if not error <= 0:
                relative = error / largest / float(jnp.finfo(g.dtype).eps) if largest else math.inf
                errors.append(relative if math.isfinite(relative) else math.inf)
    return max(errors)


def true_gradients(entry: Entry, c: Any, args: Args) -> Args:
    """In float64, of the same arguments: widening is exact."""
    wide = [np.asarray(a, np.float64) if jnp.issubdtype(a.dtype, jnp.floating) else np.asarray(a) for a in (c, *args)]
    if entry.truth:
        return entry.truth(*wide)
    with jax.enable_x64(True):
        return tuple(map(np.asarray, pullback(entry.text)(*map(jnp.asarray, wide))[1]))


def kept(f: Callable[..., Any], args: Args) -> int:
    """Bytes of all that the backward keeps of the forward, as JAX counts before anything is compiled."""

    def backward(*args: Any) -> Any:
        g, floats = of_floats(f, args)
        return jax.vjp(g, *floats)[1]

    return sum(a.size * a.dtype.itemsize for a in jax.tree.leaves(jax.eval_shape(backward, *args)))


def temporary(f: Callable[..., Any], args: Args) -> int:
    """Bytes that the compiled gradient needs beside its arguments and results."""
    c = jax.eval_shape(f, *args)
    return int(jax.jit(pullback(f)).lower(c, *args).compile().memory_analysis().temp_size_in_bytes)


def stacked(f: Callable[..., Any]) -> Callable[..., Any]:
    """A scan over layers, h <- f(h W, ...), or h times it where f gives one number a row, or one alone."""

    def stack(h: Any, *params: Any) -> Any:
        def layer(h: Any, params: Any) -> Any:
            weight, *rest = params
            y = f(h @ weight, *rest)
            return (y if y.shape == h.shape else h * y[..., None]), None

        return jax.lax.scan(layer, h, params)[0]

    return stack


def shape_of(a: Any, *leading: int) -> Any:
    a = jnp.asarray(a)
    return jax.ShapeDtypeStruct((*leading, *a.shape), a.dtype)


def bytes_of(entry: Entry, f: Callable[..., Any]) -> dict[str, int]:
    rows, columns = KEPT if entry.timed == TIMED else entry.timed
    args = tuple(map(shape_of, (normal(rows, columns), *entry.rest(rows, columns))))
    of_layers = (normal(WIDTH, WIDTH), *entry.rest(KEPT[0], WIDTH))
    layers = shape_of(normal(KEPT[0], WIDTH)), *(shape_of(a, LAYERS) for a in of_layers)
    return {"kept": kept(f, args), "jit": temporary(f, args), "scan": temporary(stacked(f), layers)}


def seconds(entry: Entry, rounds: int) -> dict[str, list[float]]:
    """Of value and gradients as one program, every way once a round, every other round backwards."""
    shape = entry.timed
    args = tuple(map(jnp.asarray, (normal(*shape), *entry.rest(*shape))))
    calls = {}
    for way, f in entry.ways().items():
        y = jax.eval_shape(f, *args)
        c = jnp.asarray(np.random.default_rng(1).normal(size=y.shape), y.dtype)
        calls[way] = functools.partial(jax.jit(pullback(f)), c, *args)
        jax.block_until_ready(calls[way]())
    repeats = max(1, round(0.05 / timed(calls["hand"], 1)))
    taken: dict[str, list[float]] = {way: [] for way in calls}
    for i in range(rounds):
        for way in list(calls) if i % 2 else reversed(calls):
            taken[way].append(timed(calls[way], repeats))
    return taken


def timed(call: Callable[[], Any], repeats: int) -> float:
    begin = time.perf_counter()
    for _ in range(repeats):
        jax.block_until_ready(call())
    return (time.perf_counter() - begin) / repeats


class Row(NamedTuple):
    """What was measured of one rule, by way."""

    error: dict[str, float]  # worst, in eps; empty where there is nothing to round
    bytes: dict[str, dict[str, int]]  # kept, jit, scan
    seconds: dict[str, list[float]]  # entry i is from round i

    def against(self, way: str) -> float:
        """The time by hand over that of another way: the median of the rounds' ratios."""
        return median(h / other for h, other in zip(self.seconds["hand"], self.seconds[way], strict=True))

    def share(self, kind: str, way: str) -> float:
        return self.bytes["hand"][kind] / max(1, self.bytes[way][kind])

    def verdict(self) -> str:
        """The first of these gains over the textbook's expression."""
        if self.share("scan", "text") <= LESS:
            return "memory"
        if self.error and self.error["text"] > max(16, 4 * self.error["hand"]):
            return "accuracy"
        if self.share("kept", "text") <= LESS:
            return "memory"
        return "speed" if self.against("text") <= FASTER else "none"


def measure(entry: Entry, rounds: int) -> Row:
    ways = entry.ways()
    return Row(
        {way: worst_error(entry, f) for way, f in ways.items() if way != "ckpt" and entry.points},
        {way: bytes_of(entry, f) for way, f in ways.items()},
        seconds(entry, rounds),
    )


COLUMNS = (
    "rule",
    "error in eps: hand / auto / text",
    "kept, MiB: hand / auto / ckpt / text",
    "one jit",
    "scan",
    "time ÷ text",
    "÷ ckpt",
    "gain",
)
HEAD = f"| {' | '.join(COLUMNS)} |\n{'|---' * len(COLUMNS)}|"


def line(name: str, row: Row) -> str:
    errors = " / ".join(map(digits, row.error.values())) or "–"
    sizes = (" / ".join(mebibytes(b[kind]) for b in row.bytes.values()) for kind in ("kept", "jit", "scan"))
    times = (f"{row.against(way):.2f}" for way in ("text", "ckpt"))
    return f"| {' | '.join((f'`{name}`', errors, *sizes, *times, row.verdict()))} |"


def digits(value: float) -> str:
    if not math.isfinite(value):
        return "∞"
    return f"{value:.0e}".replace("e+0", "e") if value >= 9999.5 else f"{value:.{max(0, 2 - len(f'{value:.0f}'))}f}"


def mebibytes(count: int) -> str:
    return f"{count} B" if 0 < count < 1024 else digits(count / 2**20)


LEGEND = f"""\
hand: the rule; auto: autodiff of the rule's body; ckpt: that under jax.checkpoint; text: autodiff of the textbook's
expression, or of what jax.nn, jnp or optax has. error: the largest of an element of a gradient, over the largest
element of that gradient, in eps of its dtype, at numbers from -80 to 80 (as far as the derivative is a normal number),
rows of five whose largest entry is 0 to 80 above the others, rows with mean 10000, constant, tiny and huge ones; all in
float32 but for a batch of linear and embedding in bfloat16; for log_softmax with the cotangent of a loss. ∞: not
finite, or not 0 where the true gradient is. kept: what the backward keeps of the forward, before anything is compiled;
one jit: what the compiled gradient needs beside arguments and results; x is {list(KEPT)}, 2 MiB, and for
linear_softmax_cross_entropy [2048, 256] with {CLASSES} classes. scan: as one jit, of a stack of {LAYERS} layers as a
scan, whose h, {[KEPT[0], WIDTH]}, takes {LAYERS * KEPT[0] * WIDTH * 4 // 2**20} MiB in all. time: value and gradients
in one jit, x {list(TIMED)} (linear {list(KEPT)}); the median of the interleaved rounds' ratios. gain, the first over
text of: memory, a scan of at most {LESS} of its bytes; accuracy, an error below a quarter where its own is above 16
eps; memory, at most {LESS} of what it keeps; speed, at most {FASTER} of its time; none."""
