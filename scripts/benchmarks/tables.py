"""Tables as people have them: does train.py take them, and how good is it beside scikit-learn?

Each is written as a .csv file and trained on by train.py as it comes, with --target and at most one
option more: one that the error without it names. scikit-learn trains the same network on the same
rows: one-hot text, standardised numbers, the same sizes, optimizer, rate, epochs and batch size,
without early stopping. Both do so with five seeds, each of a split of its own. Its networks start
otherwise, and have one output for two classes, so it trains once more with those of train.py.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Sequence
from math import sqrt
from pathlib import Path
from statistics import fmean, median, stdev
from typing import Any, NamedTuple

import numpy as np
from common.files import write_json

from benchmarks.environment import environment, in_words, print_paragraph
from benchmarks.table_list import SOURCES, Source, frame_of
from benchmarks.table_models import Split, scored

TRAIN = Path(__file__).parents[1] / "train.py"
NEAR = {"accuracy": 0.01, "r2": 0.02}  # how far apart the medians may be
ROW = "row of the file"


class Scores(NamedTuple):
    source: Source
    rows: int
    columns: int  # without the target
    test_rows: int
    score: str  # accuracy or r2
    ours: list[float]  # of each seed
    theirs: list[float]  # of scikit-learn's own network
    same: list[float]  # of the network of train.py in scikit-learn

    def is_near(self, others: Sequence[float]) -> bool:
        return abs(median(self.ours) - median(others)) <= NEAR[self.score]

    def difference(self) -> tuple[float, float]:
        """From the same network there: the mean over the seeds, and its standard error."""
        found = [a - b for a, b in zip(self.ours, self.same, strict=True)]
        return fmean(found), stdev(found) / sqrt(len(found))

    @property
    def is_off(self) -> bool:
        """Whether it is further from the same network than near, and than seeds explain."""
        mean, error = self.difference()
        return not self.is_near(self.same) and abs(mean) > 3 * error


def compared(source: Source, folder: Path, seeds: int) -> Scores:
    frame, path = frame_of(source), folder / f"{source.name.replace('/', '-')}.csv"
    frame.to_csv(path, index=False)
    if source.option:
        require_named(source, path)
    runs = [trained(source, path, seed) for seed in range(seeds)]
    score = "r2" if "test_r2" in runs[0] else "accuracy"
    ours = [run[f"test_{score}"] for run in runs]
    splits = [split_of(source, path, seed) for seed in range(seeds)]
    theirs, same = (
        [scored(source, path, score, split, i, same=same) for i, split in enumerate(splits)]
        for same in (False, True)
    )
    size = len(frame), frame.shape[1] - 1, len(splits[0][1])
    return Scores(source, *size, score, ours, theirs, same)


def command(source: Source, path: Path, *more: object) -> subprocess.CompletedProcess[str]:
    arguments = [sys.executable, TRAIN, path, "--target", source.target, *more]
    cached = os.environ | {"JAX_ENABLE_COMPILATION_CACHE": "true"}  # five seeds compile once
    return subprocess.run(list(map(str, arguments)), env=cached, capture_output=True, text=True)


def require_named(source: Source, path: Path) -> None:
    """Raise unless train.py asks for the option, and says how it is called."""
    done = command(source, path, "--epochs", 1, "--out", path.with_suffix(""))
    if done.returncode == 0 or source.option[0] not in done.stderr:
        raise SystemExit(
            f"benchmark.py: {source.name}: train.py does not ask for {source.option[0]}\n"
            f"{done.stderr}"
        )


def trained(source: Source, path: Path, seed: int) -> dict[str, float]:
    """What train.py measures at its end."""
    out = path.with_suffix("")
    done = command(source, path, *source.option, "--seed", seed, "--out", out)
    if done.returncode:
        raise SystemExit(f"benchmark.py: {source.name}: {done.stderr}")
    found: dict[str, float] = json.loads((out / "metrics.json").read_text())["last"]
    return found


def split_of(source: Source, path: Path, seed: int) -> Split:
    """The rows that train.py trains and tests on: a column that counts them goes through load."""
    import pandas

    from jaxnet import datasets

    numbered = pandas.read_csv(path)
    numbered[ROW] = np.arange(len(numbered))
    counted = path.with_suffix(".rows.csv")
    numbered.to_csv(counted, index=False)
    options: dict[str, Any] = {}
    if source.option:
        name, value = source.option
        options[name.removeprefix("--")] = (value,) if name == "--drop" else value
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        data = datasets.load(counted, source.target, seed=seed, **options)
    column = data.features.index(ROW)
    first, second = (x[:, column].astype(int) for x, _ in (data.train, data.test))
    return first, second


# ---- what is printed

HEAD = (
    "| table | rows × columns | tested on | target | option | | train.py | scikit-learn | its "
    "network as here | difference |\n|---|---|---|---|---|---|---|---|---|---|"
)


def line(scores: Scores) -> str:
    source = scores.source
    is_accuracy = scores.score == "accuracy"
    mean, error = scores.difference()
    cells = (
        f"{source.package}: {source.name}",
        f"{scores.rows} × {scores.columns}",
        f"{scores.test_rows}",
        source.target,
        f"`{' '.join(source.option)}`" if source.option else "",
        "accuracy" if is_accuracy else "R²",
        *(spread(found, is_accuracy) for found in (scores.ours, scores.theirs, scores.same)),
        f"{100 * mean:+.1f} ± {100 * error:.1f}" if is_accuracy else f"{mean:+.3f} ± {error:.3f}",
    )
    return f"| {' | '.join(cells)} |"


def spread(found: Sequence[float], is_accuracy: bool) -> str:
    """The median, the least and the most."""
    if is_accuracy:
        return f"{median(found):.1%} ({100 * min(found):.1f} to {100 * max(found):.1f})"
    return f"{median(found):.3f} ({min(found):.3f} to {max(found):.3f})"


def chosen(names: Sequence[str]) -> list[Source]:
    every = [source.name for source in SOURCES]
    if unknown := sorted(set(names) - set(every)):
        raise SystemExit(f"argument NAME: no table {unknown[0]}; there is {', '.join(every)}")
    return [source for source in SOURCES if not names or source.name in names]


def run(options: argparse.Namespace) -> None:
    sources = chosen(options.names)
    about = environment()
    print_paragraph(in_words(about))
    print(HEAD)
    found = []
    with tempfile.TemporaryDirectory() as folder:
        for source in sources:
            found.append(compared(source, Path(folder), options.seeds))
            print(line(found[-1]), flush=True)
    print(f"\nWithin a point of accuracy or 0.02 of R², in the median of {options.seeds} seeds:")
    for what, name in (("scikit-learn", "theirs"), ("its network as here", "same")):
        far = [row.source.name for row in found if not row.is_near(getattr(row, name))]
        print(
            f"- of {what}: {len(found) - len(far)} of {len(found)}"
            + f", not {', '.join(far)}" * bool(far)
        )
    if options.json:
        rows = [{**scores._asdict(), "source": scores.source._asdict()} for scores in found]
        write_json(options.json, {"environment": about, "tables": rows})
    if off := [scores.source.name for scores in found if scores.is_off]:
        sys.exit(f"benchmark.py: further than seeds explain: {', '.join(off)}")
