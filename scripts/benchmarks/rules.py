"""What each rule gives over automatic differentiation: digits, memory, time.

Four ways to one gradient meet: the rule (hand); autodiff of the rule's own body (auto); the same
under jax.checkpoint (ckpt); autodiff of the expression that a textbook or jax.nn, jnp and optax
have for it (text). What is measured of a rule, and where, stands in its file in catalogue/.
"""

import argparse
import functools
import math
import time
from collections.abc import Callable
from statistics import median
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from catalogue import MEASURES
from catalogue._fused_cross_entropy import CLASSES
from catalogue.entry import SMALLER, TIMED, Args, Measure
from common.files import write_json
from common.pullbacks import hold_the_rest, pullback

from benchmarks.environment import environment, in_words, print_paragraph

LAYERS, WIDTH = 12, 256  # of the scan
LESS, FASTER = 0.6, 0.8  # what counts as a gain
KEPT = (512, 1024)  # the shape of x for the bytes


def worst_error(measure: Measure, f: Callable[..., Any]) -> float:
    """Over all points, the error of an element of a gradient over the largest element there.

    In eps of the gradient's dtype; infinite where the gradient is not finite, or is not 0 where all
    of the true one is.
    """
    pull, errors = jax.jit(pullback(f)), [0.0]
    for point in measure.error_points():
        args = tuple(map(jnp.asarray, point))
        y = jax.eval_shape(f, *args)
        c = jnp.asarray(measure.cotangent(y.shape), y.dtype)
        for g, true in zip(pull(c, *args)[1], true_gradients(measure, c, args), strict=True):
            errors.append(relative_error(g, true))
    return max(errors)


def relative_error(gradient: Any, true: np.ndarray) -> float:
    """The largest error over the largest element, in eps; infinite where that is no number."""
    error = np.abs(np.asarray(gradient, np.float64) - true).max()
    if error == 0:
        return 0.0
    largest = np.abs(true).max()
    if largest == 0:
        return math.inf
    relative = error / largest / float(jnp.finfo(gradient.dtype).eps)
    return relative if math.isfinite(relative) else math.inf


def true_gradients(measure: Measure, c: Any, args: Args) -> Args:
    """In float64, of the same arguments: widening is exact."""
    wide = [
        np.asarray(a, np.float64) if jnp.issubdtype(a.dtype, jnp.floating) else np.asarray(a)
        for a in (c, *args)
    ]
    if measure.truth:
        return measure.truth(*wide)
    text = measure.ways()["text"]
    with jax.enable_x64(True):
        return tuple(map(np.asarray, pullback(text)(*map(jnp.asarray, wide))[1]))


def kept(f: Callable[..., Any], args: Args) -> int:
    """Bytes of all that the backward keeps of the forward, before anything is compiled."""

    def backward(*args: Any) -> Any:
        g, arrays = hold_the_rest(f, args)
        return jax.vjp(g, *arrays)[1]

    return sum(a.size * a.dtype.itemsize for a in jax.tree.leaves(jax.eval_shape(backward, *args)))


def temporary(f: Callable[..., Any], args: Args) -> int:
    """Bytes that the compiled gradient needs beside its arguments and results."""
    c = jax.eval_shape(f, *args)
    return int(jax.jit(pullback(f)).lower(c, *args).compile().memory_analysis().temp_size_in_bytes)


def stacked(f: Callable[..., Any]) -> Callable[..., Any]:
    """A scan over layers, h <- f(h W, ...); h times that where f gives one number a row, or one."""

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


def count_bytes(measure: Measure, f: Callable[..., Any]) -> dict[str, int]:
    shape = measure.counted or (KEPT if measure.timed == TIMED else measure.timed)
    args = tuple(map(shape_of, measure.args(*shape)))
    h, *rest = measure.args(KEPT[0], WIDTH)
    weight = jax.ShapeDtypeStruct((LAYERS, WIDTH, WIDTH), h.dtype)
    layers = shape_of(h), weight, *(shape_of(a, LAYERS) for a in rest)
    return {"kept": kept(f, args), "jit": temporary(f, args), "scan": temporary(stacked(f), layers)}


def seconds(measure: Measure, rounds: int) -> dict[str, list[float]]:
    """Of value and gradients as one program: every way once a round, every other round reversed."""
    args = tuple(map(jnp.asarray, measure.args(*measure.timed)))
    calls = {}
    for way, f in measure.ways().items():
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


def measure_all(measure: Measure, rounds: int) -> Row:
    ways = measure.ways()
    held = {way: f for way, f in ways.items() if way != "ckpt" and measure.error_points()}
    return Row(
        {way: worst_error(measure, f) for way, f in held.items()},
        {way: count_bytes(measure, f) for way, f in ways.items()},
        seconds(measure, rounds),
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
    """Two significant digits, or all of them below 10000."""
    if not math.isfinite(value):
        return "∞"
    if value >= 9999.5:
        return f"{value:.0e}".replace("e+0", "e")
    before_point = len(f"{value:.0f}")
    return f"{value:.{max(0, 2 - before_point)}f}"


def mebibytes(count: int) -> str:
    return f"{count} B" if 0 < count < 1024 else digits(count / 2**20)


LEGEND = f"""\
hand: the rule; auto: autodiff of the rule's body; ckpt: that under jax.checkpoint; text: autodiff
of the textbook's expression, or of what jax.nn, jnp or optax has. error: the largest of an element
of a gradient, over the largest element of that gradient, in eps of its dtype, at numbers from -80
to 80 (as far as the derivative is a normal number), rows of five whose largest entry is 0 to 80
above the others, rows with mean 10000, constant, tiny and huge ones; all in float32 but for a batch
of linear, embedding, attention and conv_transpose in bfloat16; for log_softmax with the cotangent
of a loss. ∞: not finite, or not 0 where the true gradient is. kept: what the backward keeps of the
forward, before anything is compiled; one jit: what the compiled gradient needs beside arguments and
results; x is {list(KEPT)}, 2 MiB, and for linear_softmax_cross_entropy [2048, 256] with {CLASSES}
classes. scan: as one jit, of a stack of {LAYERS} layers as a scan, whose h, {[KEPT[0], WIDTH]},
takes {LAYERS * KEPT[0] * WIDTH * 4 // 2**20} MiB in all. time: value and gradients in one jit, x
{list(TIMED)} (linear {list(SMALLER)}); the median of the interleaved rounds' ratios. gain, the
first over text of: memory, a scan of at most {LESS} of its bytes; accuracy, an error below a
quarter where its own is above 16 eps; memory, at most {LESS} of what it keeps; speed, at most
{FASTER} of its time; none."""


# ---- the command


def require_known(names: list[str]) -> None:
    unknown = set(names) - set(MEASURES)
    if unknown:
        raise SystemExit(
            f"benchmark.py: error: argument NAME: no entry for {', '.join(sorted(unknown))}; "
            f"there is {', '.join(MEASURES)}"
        )


def run(options: argparse.Namespace) -> None:
    require_known(options.names)
    about = environment()
    print_paragraph(in_words(about))
    print(HEAD, flush=True)
    rows = {}
    for name in options.names or MEASURES:
        rows[name] = measure_all(MEASURES[name], options.repeats)
        print(line(name, rows[name]), flush=True)
    print(flush=True)
    print_reasons(rows)
    print_paragraph(LEGEND)
    if options.json:
        content = {name: for_json(row) for name, row in rows.items()}
        write_json(options.json, {"environment": about, "rules": content})


def print_reasons(rows: dict[str, Row]) -> None:
    """Why a rule is slower than the textbook's expression, or here without a gain."""
    for name, row in rows.items():
        reason = MEASURES[name].reason
        if reason and (row.against("text") > 1.05 or row.verdict() == "none"):
            print(f"{name}: {reason}.")
    print()


def for_json(row: Row) -> dict[str, Any]:
    """JSON has no infinity: None is one."""
    errors = {way: error if math.isfinite(error) else None for way, error in row.error.items()}
    return row._asdict() | {"error": errors, "verdict": row.verdict()}
