"""The report's job against the clock: warm, in a process that has done it, and cold, in a new one.

jax is imported where it is used: a cold run must pay for its own library alone.
"""

import argparse
import math
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

import numpy as np
from common.files import write_json
from common.job import BATCH_SIZE, RATE

from benchmarks.contestants import (
    ALIKE,
    ANEW,
    AUTO,
    CONTESTANTS,
    HAND,
    INSTALLED,
    LOADERS,
    SAME,
    Data,
)
from benchmarks.environment import environment, in_words, print_paragraph

COMMAND = Path(__file__).parents[1] / "benchmark.py"


class Times(NamedTuple):
    """One contestant on one network, in seconds.

    Entry i of a list is from round i, in which every contestant ran once.
    """

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


def rounds(names: Sequence[str], count: int) -> Iterator[str]:
    """Each of the names once a round.

    Each round begins with the next one, and every other round goes backwards.
    """
    for i in range(count):
        first = i % len(names)
        order = [*names[first:], *names[:first]]
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

    # By hand before the others, which are held against it.
    first = {name: warm_run(name) for name in INSTALLED}
    warm: dict[str, list[float]] = {name: [] for name in INSTALLED}
    for name in rounds(INSTALLED, options.repeats):
        # A short run clears away what the contestant before left.
        CONTESTANTS[name].train(data, sizes, min(20, options.epochs), start)
        warm[name].append(warm_run(name))

    cold: dict[str, list[float]] = {name: [] for name in INSTALLED}
    cold_losses = {}
    for name in rounds(INSTALLED, options.cold_runs):
        taken, line = time_process(cold_command(name, hidden, options))
        cold_losses[name] = float(line)
        cold[name].append(taken)
        require_same_job(f"{name} (cold)", cold_losses[name], ends[HAND][0], ALIKE)
    return {
        name: Times(first[name], warm[name], cold[name], *ends[name], cold_losses[name])
        for name in INSTALLED
    }


def cold_command(name: str, hidden: Sequence[int], options: argparse.Namespace) -> list[str]:
    """Of a process that does the job once, as one contestant, and prints its final test loss."""
    command = [sys.executable, str(COMMAND), "--cold", name, "--hidden", ",".join(map(str, hidden))]
    return [*command, "--data", str(options.data), "--epochs", str(options.epochs)]


def time_process(
    command: Sequence[str], environment: Mapping[str, str] = os.environ
) -> tuple[float, str]:
    """Seconds from the start of a process until it prints a line, and that line."""
    begin = time.perf_counter()
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        line = process.stdout.readline()
        taken = time.perf_counter() - begin
    if process.returncode:
        raise SystemExit(
            f"benchmark.py: a process failed with exit code {process.returncode}: "
            f"{' '.join(command)}"
        )
    return taken, line


def run_cold(options: argparse.Namespace) -> None:
    """What `cold_command` starts: one contestant, from its library's own start."""
    if options.cached:
        from common import compilation_cache

        compilation_cache.use()
    data = read(options.data)
    sizes = sizes_of(data, options.hidden[0])
    curves = CONTESTANTS[options.cold].train(data, sizes, options.epochs, None)
    print(curves["test_loss"][-1], flush=True)


# ---- the table


def ratios(seconds: Sequence[float], reference: Sequence[float]) -> list[float]:
    return [a / b for a, b in zip(seconds, reference, strict=True)]


def number(value: float, decimals: int = 2) -> str:
    """Three significant digits, but no more decimals than that."""
    return f"{value:.{min(decimals, max(0, 2 - math.floor(math.log10(value))))}f}"


def spread(values: Sequence[float], decimals: int = 2) -> str:
    return "{} ({}–{})".format(*(number(f(values), decimals) for f in (median, min, max)))


def table(hidden: Sequence[int], data: Data, times: Mapping[str, Times], epochs: int) -> str:
    updates = epochs * math.ceil(len(data["train"][0]) / BATCH_SIZE)
    network = " → ".join(map(str, sizes_of(data, hidden)))
    row = "{:20}  {:>22}  {:>16}  {:>16}  {:>9}  {:>6}".format
    lines = [
        f"Network {network}: {epochs} epochs, {updates} updates",
        "",
        row("", "warm: seconds", "× by hand", "cold: seconds", "× PyTorch", "loss"),
    ]
    for name, t in times.items():
        to_torch = number(median(ratios(t.cold, times[LOADERS].cold))) if LOADERS in times else "–"
        to_hand = spread(ratios(t.warm, times[HAND].warm))
        loss = f"{t.test_loss:.4f}"
        lines.append(row(name, spread(t.warm, 4), to_hand, spread(t.cold), to_torch, loss))
    return "\n".join([*lines, "", *updates_in_words(times, updates), *losses_in_words(times)])


def updates_in_words(times: Mapping[str, Times], updates: int) -> Iterator[str]:
    for name in (HAND, AUTO):
        warm = median(times[name].warm)
        yield (
            f"{name}: {warm / updates * 1e6:.1f} µs per update; "
            f"compiled in {times[name].first - warm:.2f} s (its first run less a warm one)"
        )
    more = [1e3 * (a - b) for a, b in zip(times[ANEW].warm, times[HAND].warm, strict=True)]
    yield (
        f"{ANEW}: {median(more):.0f} ms ({min(more):.0f} to {max(more):.0f}) more than with the "
        f"objects of before"
    )


def losses_in_words(times: Mapping[str, Times]) -> Iterator[str]:
    def warm(band: float) -> list[float]:
        return [t.test_loss for name, t in times.items() if CONTESTANTS[name].band == band]

    cold = [t.cold_test_loss for t in times.values()]
    for what, band, losses in (
        ("same start and network", SAME, warm(SAME)),
        ("scikit-learn", ALIKE, warm(ALIKE)),
        ("cold", ALIKE, cold),
    ):
        if losses:
            furthest = max(abs(loss / times[HAND].test_loss - 1) for loss in losses)
            yield (
                f"loss, {what}: at most {furthest:.1e} off that by hand, relatively "
                f"(allowed: {band})"
            )


LEGEND = """\
Median (least–most). warm: one training with all its measurements, in a process that has done it
before, every contestant once a round in rotated order, each after a short run of its own, all from
the same weights; × by hand: the ratio within a round. cold: a process from its start to the
printed result, so with imports, reading, compilation and the library's own initialisation;
× PyTorch: the ratio to that with DataLoaders. µs per update: a warm run over its updates, so with
its share of the measurements. anew: model, loss and optimizer are made at every call, as in a loop;
they compute the same, and nothing is compiled. loss: on the test set at the end of a warm run.
scikit-learn's network for two classes has one output where the others have two, and so learns a
little differently."""


# ---- the command


def run(options: argparse.Namespace) -> None:
    data = checked(options.data)
    about = environment()
    missing = [name for name in CONTESTANTS if name not in INSTALLED]
    one_thread = "PyTorch, scikit-learn and NumPy (its OpenBLAS) on one thread of the processor"
    print_paragraph(f"{in_words(about)}; {one_thread}")
    if missing:
        print_paragraph(f"Left out, as not installed: {'; '.join(missing)}.")

    networks = []
    for hidden in options.hidden:
        times = time_network(hidden, options)
        print(table(hidden, data, times, options.epochs), end="\n\n", flush=True)
        contestants = {name: t._asdict() for name, t in times.items()}
        networks.append({"hidden": hidden, "contestants": contestants})
    print_paragraph(LEGEND)
    if options.json:
        settings: dict[str, Any] = {
            "epochs": options.epochs,
            "rate": RATE,
            "batch_size": BATCH_SIZE,
            **{f"{part}_rows": len(x) for part, (x, _) in data.items()},
        }
        content = {
            "environment": about,
            "settings": settings,
            "not_installed": missing,
            "networks": networks,
        }
        write_json(options.json, content)


def checked(folder: Path) -> Data:
    """The data of the folder, after the library's own checks."""
    import jaxnet

    try:
        classes = jaxnet.datasets.load(folder).classes
        if classes != tuple(map(str, range(len(classes)))):
            raise ValueError(f"labels must be 0, 1, ...; {folder} has {', '.join(classes)}")
        return read(folder)
    except (OSError, ValueError) as error:
        raise SystemExit(f"benchmark.py: error: argument --data: {error}") from None
