"""Time the report's job, in jaxnet by hand and by automatic differentiation, in PyTorch and in scikit-learn.

The job: train a ReLU network with one hidden layer of 100 units, then one with two, by plain SGD at rate 0.01 for 200
epochs of batches of 64 rows in the order of the file, and after every epoch take the loss and the accuracy of both
sets whole. PyTorch and scikit-learn take part where they are installed. Takes some minutes.
"""

import argparse
import functools
import importlib.metadata
import importlib.util
import itertools
import math
import os
import platform
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple, TypeAlias

import numpy as np
from whole_files import write_json

# jaxnet, PyTorch and scikit-learn are imported where they are used: a cold run must pay for its own library alone.

DATA = Path(__file__).parents[1] / "data" / "course_twin"
NETWORKS = ((100,), (100, 100))
EPOCHS, RATE, BATCH_SIZE = 200, 0.01, 64
COLD_RUNS = 5
SAME, ALIKE = (
    0.001,
    0.25,
)  # how far a final test loss may be off jaxnet's: same start and network; either differs

Data: TypeAlias = Mapping[
    str, tuple[np.ndarray, np.ndarray]
]  # train, test: x [rows, features], y [rows]
Start: TypeAlias = Sequence[
    tuple[np.ndarray, np.ndarray]
]  # weight [out, in] and bias [out] of each layer
Curves: TypeAlias = Mapping[
    str, Sequence[float] | np.ndarray
]  # {train,test}_{loss,accuracy}, by epoch


def train_jaxnet(
    data: Data, sizes: Sequence[int], epochs: int, start: Start | None, *, automatic: bool
) -> Curves:
    import jax

    import jaxnet

    model, loss, optimizer = made_once(automatic)
    _, history = jaxnet.fit(
        model,
        jaxnet.init_mlp(jax.random.key(0), sizes) if start is None else start,
        train=data["train"],
        test=data["test"],
        epochs=epochs,
        batch_size=BATCH_SIZE,
        optimizer=optimizer,
        loss=loss,
        progress=False,
    )
    if history.interrupted:
        raise KeyboardInterrupt
    return history.values


@functools.cache  # a compiled program is known by these objects
def made_once(automatic: bool) -> tuple[Any, Any, Any]:
    import optax

    import jaxnet

    kind = jaxnet.auto if automatic else lambda fn: fn
    return kind(jaxnet.mlp), kind(jaxnet.softmax_cross_entropy), optax.sgd(RATE)


def train_pytorch(
    data: Data, sizes: Sequence[int], epochs: int, start: Start | None, *, whole: bool
) -> Curves:
    """Eager. whole: each set is evaluated in one pass, else batch by batch through a DataLoader."""
    import torch
    from torch import nn
    from torch.utils.data import DataLoader, TensorDataset

    torch.set_num_threads(
        1
    )  # the default, one per core, took ten times as long on two cores (torch 2.13)
    torch.manual_seed(0)
    layers = [
        layer
        for fan_in, out in itertools.pairwise(sizes)
        for layer in (nn.Linear(fan_in, out), nn.ReLU())
    ]
    model = nn.Sequential(*layers[:-1])
    if start is not None:
        for parameter, value in zip(
            model.parameters(), itertools.chain.from_iterable(start), strict=True
        ):
            parameter.data = torch.tensor(value)
    criterion = nn.CrossEntropyLoss()
    optimizer = torch.optim.SGD(model.parameters(), lr=RATE)

    sets = {
        name: (torch.tensor(x), torch.tensor(y, dtype=torch.long)) for name, (x, y) in data.items()
    }
    loaders = {
        name: DataLoader(TensorDataset(*pair), batch_size=BATCH_SIZE) for name, pair in sets.items()
    }
    evaluated = {name: [pair] for name, pair in sets.items()} if whole else loaders

    curves: dict[str, list[float]] = {
        f"{name}_{kind}": [] for name in sets for kind in ("loss", "accuracy")
    }
    for _ in range(epochs):
        model.train()
        for x, y in loaders["train"]:
            optimizer.zero_grad()
            criterion(model(x), y).backward()
            optimizer.step()

        model.eval()
        with torch.no_grad():
            for name, batches in evaluated.items():
                loss = right = 0.0
                for x, y in batches:
                    scores = model(x)
                    loss += criterion(scores, y).item() * len(y)
                    right += (scores.argmax(dim=1) == y).sum().item()
                rows = len(sets[name][1])
                curves[f"{name}_loss"].append(loss / rows)
                curves[f"{name}_accuracy"].append(right / rows)
    return curves


def train_sklearn(data: Data, sizes: Sequence[int], epochs: int, start: Start | None) -> Curves:
    from sklearn.metrics import log_loss
    from sklearn.neural_network import MLPClassifier
    from threadpoolctl import threadpool_limits  # scikit-learn's own requirement

    model = MLPClassifier(
        sizes[1:-1],
        activation="relu",
        solver="sgd",
        alpha=0,
        batch_size=BATCH_SIZE,
        learning_rate="constant",
        learning_rate_init=RATE,
        momentum=0,
        shuffle=False,
        random_state=0,
    )
    classes = np.arange(sizes[-1])
    x, y = data["train"]
    if start is not None:
        model.partial_fit(x[:BATCH_SIZE], y[:BATCH_SIZE], classes=classes)  # makes the weights
        weights, biases = (list(arrays) for arrays in zip(*start, strict=True))
        if len(classes) == 2:  # it has a single output then, the difference of the two scores
            weights[-1], biases[-1] = (np.diff(last, axis=0) for last in (weights[-1], biases[-1]))
        for ours, theirs in zip(
            [w.T for w in weights] + biases, model.coefs_ + model.intercepts_, strict=True
        ):
            theirs[...] = ours

    curves: dict[str, list[float]] = {
        f"{name}_{kind}": [] for name in data for kind in ("loss", "accuracy")
    }
    with threadpool_limits(1):  # for the same reason
        for _ in range(epochs):
            model.partial_fit(x, y, classes=classes)
            for name, (inputs, labels) in data.items():
                probabilities = model.predict_proba(inputs)
                curves[f"{name}_loss"].append(
                    float(log_loss(labels, probabilities, labels=classes))
                )
                curves[f"{name}_accuracy"].append(
                    float(np.mean(probabilities.argmax(axis=1) == labels))
                )
    return curves


class Contestant(NamedTuple):
    train: Callable[
        [Data, Sequence[int], int, Start | None], Curves
    ]  # start None: the library's own
    module: str  # without which it cannot take part
    band: float = SAME


HAND, AUTO, LOADERS = "jaxnet, by hand", "jaxnet, autodiff", "PyTorch, DataLoaders"
CONTESTANTS = {
    HAND: Contestant(functools.partial(train_jaxnet, automatic=False), "jaxnet"),
    AUTO: Contestant(functools.partial(train_jaxnet, automatic=True), "jaxnet"),
    LOADERS: Contestant(functools.partial(train_pytorch, whole=False), "torch"),
    "PyTorch, sets whole": Contestant(functools.partial(train_pytorch, whole=True), "torch"),
    "scikit-learn": Contestant(train_sklearn, "sklearn", ALIKE),
}
INSTALLED = [
    name for name, contestant in CONTESTANTS.items() if importlib.util.find_spec(contestant.module)
]


class Times(NamedTuple):
    """One contestant on one network. Seconds; entry i of a list is from round i, in which every contestant ran once."""

    first: float  # the unmeasured run, which compiles what is compiled
    warm: list[float]
    cold: list[float]
    test_loss: float  # at the end of the warm runs, which share one start
    test_accuracy: float
    cold_test_loss: float  # at the end of the cold runs, which start as the library does


def read(folder: Path) -> Data:
    return {
        part.lower(): (
            np.loadtxt(folder / f"X{part}.txt", np.float32, ndmin=2),
            np.loadtxt(folder / f"y{part}.txt", np.int32, ndmin=1),
        )
        for part in ("Train", "Test")
    }


def sizes_of(data: Data, hidden: Sequence[int]) -> tuple[int, ...]:
    x, y = data["train"]
    return x.shape[1], *hidden, int(y.max()) + 1


def rounds(count: int) -> Iterator[str]:
    """Every contestant once a round, each round beginning with the next one, every other round backwards."""
    for i in range(count):
        first = i % len(INSTALLED)
        order = INSTALLED[first:] + INSTALLED[:first]
        yield from order if i % 2 == 0 else reversed(order)


def require_same_job(name: str, loss: float, reference: float, band: float) -> None:
    if not abs(loss - reference) <= band * reference:
        raise SystemExit(
            f"benchmark.py: {name} did not do the same job: its final test loss is {loss:.6g}, "
            f"that of {HAND} {reference:.6g}; allowed is a difference of {band:.1%}"
        )


def time_network(hidden: Sequence[int], options: argparse.Namespace) -> dict[str, Times]:
    import jax

    import jaxnet

    data = read(options.data)
    sizes = sizes_of(data, hidden)
    start = jax.device_get(jaxnet.init_mlp(jax.random.key(0), sizes))

    ends: dict[str, tuple[float, float]] = {}

    def warm_run(name: str) -> float:
        begin = time.perf_counter()
        curves = CONTESTANTS[name].train(data, sizes, options.epochs, start)
        taken = time.perf_counter() - begin
        ends[name] = float(curves["test_loss"][-1]), float(curves["test_accuracy"][-1])
        require_same_job(name, ends[name][0], ends[HAND][0], CONTESTANTS[name].band)
        return taken

    first = {
        name: warm_run(name) for name in INSTALLED
    }  # by hand before the others, which are held against it
    warm: dict[str, list[float]] = {name: [] for name in INSTALLED}
    for name in rounds(options.repeats):
        CONTESTANTS[name].train(
            data, sizes, min(20, options.epochs), start
        )  # clears away what the one before left
        warm[name].append(warm_run(name))

    cold: dict[str, list[float]] = {name: [] for name in INSTALLED}
    cold_losses = {}
    for name in rounds(options.cold_runs):
        taken, cold_losses[name] = time_process(name, hidden, options)
        cold[name].append(taken)
        require_same_job(f"{name} (cold)", cold_losses[name], ends[HAND][0], ALIKE)
    return {
        name: Times(first[name], warm[name], cold[name], *ends[name], cold_losses[name])
        for name in INSTALLED
    }


def time_process(
    name: str, hidden: Sequence[int], options: argparse.Namespace
) -> tuple[float, float]:
    """Seconds from the start of a process until it prints its final test loss, and that loss."""
    command = [sys.executable, __file__, "--cold", name, "--hidden", ",".join(map(str, hidden))]
    command += ["--data", str(options.data), "--epochs", str(options.epochs)]
    begin = time.perf_counter()
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        line = process.stdout.readline()
        taken = time.perf_counter() - begin
    if process.returncode:
        raise SystemExit(
            f"benchmark.py: the process of {name} failed with exit code {process.returncode}"
        )
    return taken, float(line)


def run_cold(options: argparse.Namespace) -> None:
    data = read(options.data)
    curves = CONTESTANTS[options.cold].train(
        data, sizes_of(data, options.hidden[0]), options.epochs, None
    )
    print(curves["test_loss"][-1], flush=True)


def ratios(seconds: Sequence[float], reference: Sequence[float]) -> list[float]:
    return [a / b for a, b in zip(seconds, reference, strict=True)]


def number(value: float, decimals: int = 2) -> str:
    """Three significant digits, but no more decimals than that."""
    return f"{value:.{min(decimals, max(0, 2 - math.floor(math.log10(value))))}f}"


def spread(values: Sequence[float], decimals: int = 2) -> str:
    return "{} ({}–{})".format(*(number(f(values), decimals) for f in (median, min, max)))


def table(hidden: Sequence[int], data: Data, times: Mapping[str, Times], epochs: int) -> str:
    hand = times[HAND]
    updates = epochs * math.ceil(len(data["train"][0]) / BATCH_SIZE)
    row = "{:20}  {:>22}  {:>16}  {:>16}  {:>9}  {:>6}".format
    lines = [
        f"Network {' → '.join(map(str, sizes_of(data, hidden)))}: {epochs} epochs, {updates} updates",
        "",
        row("", "warm: seconds", "× by hand", "cold: seconds", "× PyTorch", "loss"),
    ]
    for name, t in times.items():
        to_torch = number(median(ratios(t.cold, times[LOADERS].cold))) if LOADERS in times else "–"
        to_hand = spread(ratios(t.warm, hand.warm))
        lines.append(
            row(name, spread(t.warm, 4), to_hand, spread(t.cold), to_torch, f"{t.test_loss:.4f}")
        )
    lines.append("")
    for name in (HAND, AUTO):
        warm = median(times[name].warm)
        lines.append(
            f"{name}: {warm / updates * 1e6:.1f} µs per update; "
            f"compiled in {times[name].first - warm:.2f} s (its first run less a warm one)"
        )
    for what, band, losses in (
        (
            "same start and network",
            SAME,
            [t.test_loss for n, t in times.items() if CONTESTANTS[n].band == SAME],
        ),
        (
            "scikit-learn",
            ALIKE,
            [t.test_loss for n, t in times.items() if CONTESTANTS[n].band == ALIKE],
        ),
        ("cold", ALIKE, [t.cold_test_loss for t in times.values()]),
    ):
        if losses:
            furthest = max(abs(loss / hand.test_loss - 1) for loss in losses)
            lines.append(
                f"loss, {what}: at most {furthest:.1e} off that by hand, relatively (allowed: {band})"
            )
    return "\n".join(lines)


LEGEND = """\
Median (least–most). warm: one training with all its measurements, in a process that has done it before, every
contestant once a round in rotated order, each after a short run of its own, all from the same weights; × by hand: the
ratio within a round. cold: a process from its start to the printed result, so with imports, reading, compilation and
the library's own initialisation; × PyTorch: the ratio to that with DataLoaders. µs per update: a warm run over its
updates, so with its share of the measurements. loss: on the test set at the end of a warm run. scikit-learn's network
for two classes has one output where the others have two, and so learns a little differently."""


def environment() -> dict[str, Any]:
    import jax

    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
    processors = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    device = jax.devices()[0]
    return {
        "python": platform.python_version(),
        **{name: version(name) for name in ("jax", "jaxlib", "numpy", "torch", "scikit-learn")},
        "platform": platform.platform(),
        "processor": (processors or [platform.processor()])[0],
        "cores": os.cpu_count(),
        "device": f"{device.platform} ({device.device_kind})",
    }


def in_words(about: Mapping[str, Any]) -> str:
    versions = ", ".join(
        f"{name} {about[name]}" for name in ("jax", "jaxlib", "numpy", "torch", "scikit-learn")
    )
    return (
        f"Python {about['python']}, {versions.replace('None', 'not installed')}; {about['platform']}; "
        f"{about['processor'] or 'unknown processor'}, {about['cores']} cores; jax on {about['device']}"
    )


def version(distribution: str) -> str | None:
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return None


def print_paragraph(text: str) -> None:
    print(textwrap.fill(text, 100, break_on_hyphens=False), end="\n\n", flush=True)


def time_the_job(options: argparse.Namespace) -> None:
    import jaxnet

    try:
        classes = jaxnet.datasets.load(options.data).classes  # and its checks
        if classes != tuple(map(str, range(len(classes)))):
            raise ValueError(f"labels must be 0, 1, ...; {options.data} has {', '.join(classes)}")
        data = read(options.data)
    except (OSError, ValueError) as error:
        raise SystemExit(f"benchmark.py: error: argument --data: {error}") from None
    about = environment()
    missing = [name for name in CONTESTANTS if name not in INSTALLED]
    print_paragraph(f"{in_words(about)}; PyTorch and scikit-learn on one thread of the processor")
    if missing:
        print_paragraph(f"Left out, as not installed: {'; '.join(missing)}.")

    networks = []
    for hidden in options.hidden:
        times = time_network(hidden, options)
        print(table(hidden, data, times, options.epochs), end="\n\n", flush=True)
        networks.append(
            {"hidden": hidden, "contestants": {name: t._asdict() for name, t in times.items()}}
        )
    print_paragraph(LEGEND)
    if options.json:
        settings = {"epochs": options.epochs, "rate": RATE, "batch_size": BATCH_SIZE}
        settings |= {f"{part}_rows": len(x) for part, (x, _) in data.items()}
        content = {
            "environment": about,
            "settings": settings,
            "not_installed": missing,
            "networks": networks,
        }
        write_json(options.json, content)


def measure_rules(options: argparse.Namespace) -> None:
    import benchmark_rules
    from catalogue import MEASURES

    unknown = set(options.names) - set(MEASURES)
    if unknown:
        names = ", ".join(sorted(unknown))
        raise SystemExit(
            f"benchmark.py: error: argument NAME: no entry for {names}; there is {', '.join(MEASURES)}"
        )
    about = environment()
    print_paragraph(in_words(about))
    print(benchmark_rules.HEAD, flush=True)
    rows = {}
    for name in options.names or MEASURES:
        rows[name] = benchmark_rules.measure_all(MEASURES[name], options.repeats)
        print(benchmark_rules.line(name, rows[name]), flush=True)
    print(flush=True)
    for name, row in rows.items():
        reason = MEASURES[name].reason
        if reason and (row.against("text") > 1.05 or row.verdict() == "none"):
            print(f"{name}: {reason}.")
    print()
    print_paragraph(benchmark_rules.LEGEND)
    if options.json:
        content = {name: row._asdict() | {"verdict": row.verdict()} for name, row in rows.items()}
        for row in content.values():  # JSON has no infinity
            row["error"] = {
                way: error if math.isfinite(error) else None for way, error in row["error"].items()
            }
        write_json(options.json, {"environment": about, "rules": content})


def count(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number of at least 1")
    return int(text)


def widths(text: str) -> tuple[int, ...]:
    return tuple(count(width) for width in text.split(","))


def new_file(text: str) -> Path:
    path = Path(text)
    if path.is_dir() or not path.parent.is_dir():
        raise argparse.ArgumentTypeError(f"{text!r} is no file in an existing folder")
    return path


def main(arguments: list[str] | None = None) -> None:
    os.environ["JAX_ENABLE_COMPILATION_CACHE"] = (
        "false"  # here and in the cold processes: compiling is measured
    )
    parser = argparse.ArgumentParser(description=__doc__)
    parser.set_defaults(job=time_the_job)  # a sub-command sets another
    parser.add_argument(
        "--data",
        type=Path,
        default=DATA,
        metavar="DIR",
        help="folder with XTrain.txt, yTrain.txt, XTest.txt and yTest.txt (default: the twin of the course's data)",
    )
    rules = parser.add_subparsers(title="instead").add_parser(
        "rules",
        help="measure what each rule gives over autodiff",
        description="What each rule gives over autodiff.",
    )
    rules.set_defaults(job=measure_rules)
    rules.add_argument("names", nargs="*", metavar="NAME", help="a rule; all by default")
    for p in (parser, rules):
        p.add_argument(
            "--repeats",
            type=count,
            default=7,
            metavar="N",
            help="rounds (default, and better not fewer: %(default)s)",
        )
        p.add_argument(
            "--json", type=new_file, metavar="FILE", help="write every single timing there"
        )
    parser.add_argument("--epochs", type=count, default=EPOCHS, help=argparse.SUPPRESS)
    parser.add_argument("--cold-runs", type=count, default=COLD_RUNS, help=argparse.SUPPRESS)
    parser.add_argument(
        "--hidden", type=widths, nargs="+", default=NETWORKS, help=argparse.SUPPRESS
    )
    parser.add_argument("--cold", choices=CONTESTANTS, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    run_cold(options) if options.cold else options.job(options)


if __name__ == "__main__":
    main()
