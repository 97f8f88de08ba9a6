"""What each rule gives over automatic differentiation: digits, memory, time.

Four ways to one gradient meet: the rule (hand); autodiff of the rule's own body (auto); the same under jax.checkpoint
(ckpt); autodiff of the expression that a textbook or jax.nn, jnp and optax have for it (text).
"""

import functools
import math
import time
from collections.abc import Callable
from statistics import median
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from rule_entries import CLASSES, SMALLER, TIMED, Args, Entry, normal

LAYERS, WIDTH = 12, 256  # of the scan
LESS, FASTER = 0.6, 0.8  # what counts as a gain
KEPT = (512, 1024)  # the shape of x for the bytes


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
    wide = [
        np.asarray(a, np.float64) if jnp.issubdtype(a.dtype, jnp.floating) else np.asarray(a)
        for a in (c, *args)
    ]
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
        return median(
            h / other for h, other in zip(self.seconds["hand"], self.seconds[way], strict=True)
        )

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
    sizes = (
        " / ".join(mebibytes(b[kind]) for b in row.bytes.values())
        for kind in ("kept", "jit", "scan")
    )
    times = (f"{row.against(way):.2f}" for way in ("text", "ckpt"))
    return f"| {' | '.join((f'`{name}`', errors, *sizes, *times, row.verdict()))} |"


def digits(value: float) -> str:
    if not math.isfinite(value):
        return "∞"
    return (
        f"{value:.0e}".replace("e+0", "e")
        if value >= 9999.5
        else f"{value:.{max(0, 2 - len(f'{value:.0f}'))}f}"
    )


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
in one jit, x {list(TIMED)} (linear {list(SMALLER)}); the median of the interleaved rounds' ratios. gain, the first over
text of: memory, a scan of at most {LESS} of its bytes; accuracy, an error below a quarter where its own is above 16
eps; memory, at most {LESS} of what it keeps; speed, at most {FASTER} of its time; none."""
