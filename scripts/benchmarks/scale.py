"""One update against rows, width, depth, seeds and devices, beside its own products and PyTorch.

The network is the report's with two hidden layers; what is not on an axis stays as the report has
it. An update is one of a compiled run: `jaxnet.fit` does some hundred, and the time is theirs.
"""

import argparse
import contextlib
import functools
import importlib.util
import itertools
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from statistics import median
from typing import Any, NamedTuple, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
import optax
from common.files import write_json
from common.job import BATCH_SIZE, RATE, WIDTH

import jaxnet
import jaxnet.plotting
from benchmarks import scale_figure
from benchmarks.environment import environment, in_words, print_paragraph
from benchmarks.training import COMMAND, ratios, rounds, spread
from jaxnet._files import write_whole

FEATURES, CLASSES, DEPTH = 10, 2, 2


class Point(NamedTuple):
    """What one update has to do."""

    sizes: tuple[int, ...]  # (in, hidden ..., out)
    rows: int = BATCH_SIZE  # of the batch
    seeds: int = 1  # so many networks are trained at once
    devices: int = 1  # so many take their share of the rows or, of several networks, of these

    def maps(self) -> list[tuple[int, int]]:
        """(in, out) of each affine map."""
        return list(itertools.pairwise(self.sizes))

    def batches(self) -> int:
        """In an epoch: enough that its end is lost among them, and no more."""
        return max(4, min(64, 4096 // (self.rows * self.seeds)))

    def multiplications(self) -> int:
        first, *others = (fan_in * out for fan_in, out in self.maps())
        return self.seeds * self.rows * (2 * first + 3 * sum(others))


def network(width: int = WIDTH, depth: int = DEPTH) -> tuple[int, ...]:
    return FEATURES, *[width] * depth, CLASSES


LARGE = Point((784, 1024, 1024, 10), rows=256)
# What an axis is called, its points by their values.
AXES: dict[str, dict[int, Point]] = {
    "rows": {n: Point(network(), rows=n) for n in (16, 64, 256, 1024, 4096, 16384)},
    "width": {n: Point(network(width=n)) for n in (25, 50, 100, 200, 400, 800, 1600)},
    "depth": {n: Point(network(depth=n)) for n in (1, 2, 4, 8, 16, 32)},
    "seeds": {n: Point(network(), seeds=n) for n in (1, 4, 16, 64)},
    "devices": {n: Point(network(), rows=4096, devices=n) for n in (1, 2, 4, 8)},
}
# The report's smaller job with many seeds, on one device and on one for each core: by devices.
SEEDS = 64
SWEEP = {
    n: Point(network(depth=1), seeds=SEEDS, devices=n) for n in sorted({1, os.cpu_count() or 1})
}
AXES_IN_WORDS = {
    "rows": "rows of a batch",
    "width": "width: units of a hidden layer",
    "depth": "depth: hidden layers",
    "seeds": "seeds: networks trained at once",
    "devices": "devices that share cores and 4096 rows",
}

# ---- who takes part

Start: TypeAlias = list[tuple[np.ndarray, np.ndarray]]  # weight [out, in] and bias of each layer


class Trainer(NamedTuple):
    """One contestant at one point."""

    seconds: Callable[[int], float]  # that so many epochs take
    end: Callable[[], Start] | None  # the first network after the last of them; None: it has none


def data_of(point: Point) -> tuple[np.ndarray, np.ndarray]:
    """x [rows of an epoch, in] and y."""
    rng = np.random.default_rng(0)
    rows = point.batches() * point.rows
    x = rng.normal(size=(rows, point.sizes[0])).astype(np.float32)
    return x, rng.integers(point.sizes[-1], size=rows).astype(np.int32)


def starts_of(point: Point) -> Any:
    """Parameters as `fit` wants them for this number of seeds."""
    draw = functools.partial(jaxnet.init_mlp, sizes=point.sizes)
    key = jax.random.key(0)
    return draw(key) if point.seeds == 1 else jax.vmap(draw)(jax.random.split(key, point.seeds))


def first_network(point: Point, params: Any) -> Start:
    """Of parameters for this number of seeds."""
    layers = [(np.array(weight), np.array(bias)) for weight, bias in params]
    return layers if point.seeds == 1 else [(weight[0], bias[0]) for weight, bias in layers]


OPTIMIZER = optax.sgd(RATE)


def mlp_in_updates(params: Any, x: jax.Array, key: jax.Array | None = None) -> jax.Array:
    """`jaxnet.mlp` where there is a key, which `fit` passes to updates alone.

    Without one it is hardly any work: `fit` measures the training set after every epoch, and that
    would be timed too.
    """
    if key is None:
        bias = params[-1].bias
        return jnp.broadcast_to(bias, (len(x), len(bias)))
    return jaxnet.mlp(params, x)


def train_jaxnet(point: Point) -> Trainer:
    data = tuple(map(jnp.asarray, data_of(point)))
    start, key = starts_of(point), jax.random.key(1)
    end = start

    def seconds(epochs: int) -> float:
        nonlocal end
        with mesh_of(point.devices):
            end, history = jaxnet.fit(
                mlp_in_updates,
                start,
                train=data,
                epochs=epochs,
                batch_size=point.rows,
                optimizer=OPTIMIZER,
                metrics={},
                model_key=key if point.seeds == 1 else jax.random.split(key, point.seeds),
                runs=None if point.seeds == 1 else point.seeds,
                progress=False,
            )
        if history.interrupted:
            raise KeyboardInterrupt
        return history.seconds

    return Trainer(seconds, lambda: first_network(point, end))


def mesh_of(devices: int) -> Any:
    """A context in which `fit` divides its work among so many devices."""
    if devices == 1:
        return contextlib.nullcontext()
    return jax.set_mesh(jax.make_mesh((devices,), ("data",), devices=jax.devices()[:devices]))


def train_pytorch(point: Point, *, threads: int) -> Trainer:
    """Eager; of several seeds one after another."""
    import torch
    from common import pytorch

    x, y = (torch.tensor(array) for array in data_of(point))
    batches = list(zip(x.split(point.rows), y.long().split(point.rows), strict=True))
    models = [pytorch.make_network(point.sizes, seed) for seed in range(point.seeds)]
    pytorch.set_parameters(models[0], first_network(point, starts_of(point)))
    optimizers = [torch.optim.SGD(model.parameters(), lr=RATE) for model in models]
    criterion = torch.nn.CrossEntropyLoss()

    def seconds(epochs: int) -> float:
        torch.set_num_threads(threads)
        begin = time.perf_counter()
        for x, y in batches * epochs:
            for model, optimizer in zip(models, optimizers, strict=True):
                pytorch.update(model, optimizer, criterion, x, y)
        return time.perf_counter() - begin

    return Trainer(seconds, lambda: pytorch.get_parameters(models[0]))


def multiply_alone(point: Point) -> Trainer:
    """The products of the update, and nothing else; of several seeds one after another."""
    start = [tuple(jnp.eye(*shape) for shape in layer) for layer in shapes_of(point)]

    def seconds(epochs: int) -> float:
        count = epochs * point.batches() * point.seeds
        begin = time.perf_counter()
        jax.block_until_ready(products(start, count))
        return time.perf_counter() - begin

    return Trainer(seconds, None)


def shapes_of(point: Point) -> list[tuple[tuple[int, int], ...]]:
    """Of x, dy and W of each layer."""
    return [((point.rows, i), (point.rows, o), (o, i)) for i, o in point.maps()]


@jax.jit
def products(start: Any, count: int) -> Any:
    """dyᵀ x, x Wᵀ and, but for the first layer, dy W, so often. start: (x, dy, W) of each layer.

    Each has a factor that the one before has made, and takes the place of an array that nobody
    needs any more: so none can be left out or done once for all, and nothing is copied. From
    identity matrices, cut or filled up with zeros, the products are such matrices for ever: numbers
    neither grow nor vanish.
    """

    def body(_: Any, layers: Any) -> Any:
        after = []
        for i, (x, dy, _) in enumerate(layers):
            weight = dy.T @ x
            if i > 0:
                x = dy @ weight
            after.append((x, x @ weight.T, weight))
        return after

    return jax.lax.fori_loop(0, count, body, start)


JAXNET, PRODUCTS = "jaxnet", "products"


def contestants(pytorch: bool) -> dict[str, Callable[[Point], Trainer]]:
    """jaxnet first, its products, and PyTorch on one thread and on all."""
    found: dict[str, Callable[[Point], Trainer]] = {JAXNET: train_jaxnet, PRODUCTS: multiply_alone}
    if pytorch:
        for threads in sorted({1, os.cpu_count() or 1}):
            name = f"PyTorch, {threads} thread{'s' if threads > 1 else ''}"
            found[name] = functools.partial(train_pytorch, threads=threads)
    return found


# ---- a point

Seconds: TypeAlias = dict[str, list[float]]  # of an update, by contestant; entry i is from round i
Found: TypeAlias = Mapping[int, Seconds]  # by the value on an axis


def has_pytorch() -> bool:
    return importlib.util.find_spec("torch") is not None


def time_point(point: Point, options: argparse.Namespace) -> Seconds:
    makers = contestants(pytorch=has_pytorch() and not options.devices)
    trainers = {name: make(point) for name, make in makers.items()}
    for trainer in trainers.values():
        trainer.seconds(1)  # compiles what is compiled
    require_same_updates(point, trainers)

    epochs = {
        name: max(1, round(options.seconds / trainer.seconds(1)))
        for name, trainer in trainers.items()
    }
    taken: Seconds = {name: [] for name in trainers}
    for name in rounds(list(trainers), options.repeats):
        # A short run clears away what the contestant before left.
        trainers[name].seconds(-(-epochs[name] // 10))
        seconds = trainers[name].seconds(epochs[name])
        taken[name].append(seconds / (epochs[name] * point.batches()))
    return taken


def require_same_updates(point: Point, trainers: Mapping[str, Trainer]) -> None:
    """After one epoch from the same start, all must have moved the first network alike."""
    start = flat(first_network(point, starts_of(point)))
    moved = {
        name: flat(trainer.end()) - start
        for name, trainer in trainers.items()
        if trainer.end is not None
    }
    for name, move in moved.items():
        off = np.linalg.norm(move - moved[JAXNET]) / np.linalg.norm(moved[JAXNET])
        if not off <= 0.01:
            raise SystemExit(
                f"benchmark.py: {name} did not do the same updates: after one epoch of {point} its "
                f"parameters have moved {off:.2%} off those of {JAXNET}; allowed is 1 %"
            )


def flat(layers: Start) -> np.ndarray:
    return np.concatenate([array.ravel() for array in itertools.chain(*layers)])


# ---- devices


def time_devices(numbers: Sequence[int], options: argparse.Namespace) -> tuple[Found, Found]:
    """The axis and the sweep, in a process of its own, where the CPU counts as so many devices."""
    count = f"--xla_force_host_platform_device_count={max(numbers)}"
    flags = f"{os.environ.get('XLA_FLAGS', '')} {count}"
    command = [sys.executable, str(COMMAND), "scale", "--devices", ",".join(map(str, numbers))]
    command += ["--repeats", str(options.repeats), "--seconds", str(options.seconds)]
    environ = os.environ | {"XLA_FLAGS": flags, "JAX_PLATFORMS": "cpu"}
    done = subprocess.run(command, env=environ, stdout=subprocess.PIPE, text=True)
    if done.returncode:
        raise SystemExit(
            f"benchmark.py: the process of {max(numbers)} devices failed with exit code "
            f"{done.returncode}"
        )
    axis, sweep = json.loads(done.stdout)
    return {int(n): axis[n] for n in axis}, {int(n): sweep[n] for n in sweep}


def print_devices(options: argparse.Namespace) -> None:
    """What `time_devices` starts."""
    points = AXES["devices"]
    axis = {n: time_point(points[n], options) for n in options.devices}
    sweep = {n: time_point(SWEEP[n], options) for n in SWEEP}
    print(json.dumps([axis, sweep]))


# ---- what is printed


def table(axis: str, found: Found) -> str:
    others = [name for name in next(iter(found.values())) if name not in (JAXNET, PRODUCTS)]
    row = "".join(["{:>8}", "{:>26}", "{:>20}", "{:>22}" * len(others)]).format
    lines = [row(axis, "jaxnet, µs", "share of products", *(f"× {name}" for name in others))]
    for value, seconds in found.items():
        lines.append(row(value, *cells(seconds, others)))
    return "\n".join(lines)


def cells(seconds: Seconds, others: Sequence[str]) -> Iterator[str]:
    ours = seconds[JAXNET]
    yield spread([1e6 * s for s in ours], 1)
    yield spread(ratios(seconds[PRODUCTS], ours))
    yield from (spread(ratios(seconds[name], ours)) for name in others)


def large_half(found: Found) -> list[int]:
    """Of the axis. There time goes into what grows, and less into what every update costs."""
    return list(found)[-max(2, -(-len(found) // 2)) :]


def slopes(found: Found, points: Mapping[int, Point]) -> dict[str, float]:
    """On log axes, over the large half: by contestant, and of the number of multiplications."""
    large = large_half(found)
    lines = {name: [median(found[n][name]) for n in large] for name in found[large[0]]}
    lines["multiplications"] = [points[n].multiplications() for n in large]
    return {
        name: float(np.polyfit(np.log(large), np.log(line), 1)[0]) for name, line in lines.items()
    }


def slopes_in_words(axis: str, found: Found, powers: Mapping[str, float]) -> str:
    first, *_, last = large_half(found)
    others = "; ".join(f"{name} {power:.2f}" for name, power in powers.items() if name != JAXNET)
    return (
        f"From {first} to {last} {axis} the time of jaxnet grows as {axis} to the power of "
        f"{powers[JAXNET]:.2f} ({others})."
    )


def titles(found: Mapping[str, Found], powers: Mapping[str, Mapping[str, float]]) -> dict[str, str]:
    """Of the panels of the figure, by axis."""
    return {
        axis: f"jaxnet: time ∝ {axis}$^{{{powers[axis][JAXNET]:.2f}}}$ "
        f"from {large_half(times)[0]} on"
        for axis, times in found.items()
    }


def large_in_words(seconds: Seconds) -> str:
    share = spread(ratios(seconds[PRODUCTS], seconds[JAXNET]))
    milliseconds = spread([1e3 * s for s in seconds[JAXNET]])
    others = "".join(
        f"; {name}: × {spread(ratios(taken, seconds[JAXNET]))}"
        for name, taken in seconds.items()
        if name not in (JAXNET, PRODUCTS)
    )
    return (
        f"{' → '.join(map(str, LARGE.sizes))}, {LARGE.rows} rows: {milliseconds} ms an update, "
        f"{share} of the speed of its products{others}."
    )


def sweep_in_words(found: Found) -> str:
    """Of one network's update, that is the whole of theirs over their number."""
    each = {n: spread([1e6 * s / SEEDS for s in found[n][JAXNET]], 1) for n in found}
    sizes = " → ".join(map(str, SWEEP[1].sizes))
    return f"{SEEDS} networks {sizes} at once: " + "; ".join(
        f"{taken} µs for an update of one, on {n} device{'s' if n > 1 else ''}"
        for n, taken in each.items()
    )


REST = (
    f"what is not on the axis: {' → '.join(map(str, network()))}, batches of {BATCH_SIZE} rows, "
    f"one network"
)
LEGEND = f"""\
Median (least–most) of interleaved rounds; {REST}. jaxnet: by hand, an update of jaxnet.fit, a
compiled run of many, without its measurements of the sets. share of products: the time of the
same-shaped matrix products, timed alone in a compiled loop, over that of the update; a layer has
x Wᵀ, dyᵀ x and, but for the first, dy W. × PyTorch: its time, eager, over jaxnet's. Of several
seeds the products and PyTorch take one after another. devices: one processor counts as several,
which share its cores; the products are one's, on all cores. Powers: slopes on log axes, fitted over
the larger half of the axis; multiplications: of their number."""


# ---- the command


def run(options: argparse.Namespace) -> None:
    if options.devices:
        print_devices(options)
        return
    about = environment()
    print_paragraph(in_words(about))
    if not has_pytorch():
        print_paragraph("Left out, as not installed: PyTorch.")

    # Axes share a point.
    timed = functools.cache(functools.partial(time_point, options=options))
    found, powers = {}, {}
    for axis, values in AXES.items():
        if axis == "devices":
            found[axis], sweep = time_devices(list(values), options)
        else:
            found[axis] = {value: timed(point) for value, point in values.items()}
        powers[axis] = slopes(found[axis], values)
        print(table(axis, found[axis]), end="\n\n", flush=True)
        print_paragraph(slopes_in_words(axis, found[axis], powers[axis]))
    large = timed(LARGE)
    print_paragraph(large_in_words(large))
    print_paragraph(sweep_in_words(sweep))
    print_paragraph(LEGEND)

    if options.json:
        content = {"environment": about, "seconds": found, "powers": powers}
        content |= {"large": large, "sweep": sweep}
        write_json(options.json, content)
    if options.plot:
        below = f"Line: median; band: least to most; {REST}. {in_words(about)}"
        figure = scale_figure.draw(found, AXES_IN_WORDS, titles(found, powers), below)
        write_whole(options.plot, jaxnet.plotting.png(figure))
