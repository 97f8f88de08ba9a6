"""Tables as people have them: does train.py take them, and how good is it beside scikit-learn?

Each is written as a .csv file and trained on by train.py as it comes, with --target and at most one
option more: one that the error without it names. scikit-learn trains the same network on the same
rows: one-hot text, standardised numbers, the same sizes, optimizer, rate, epochs and batch size,
without early stopping. Both do so with five seeds, each of a split of its own.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple, TypeAlias

import numpy as np
from common.files import write_json
from common.job import BATCH_SIZE, EPOCHS, RATE, WIDTH
from numpy.typing import NDArray

from benchmarks.environment import environment, in_words, print_paragraph
from benchmarks.table_list import SOURCES, Source, frame_of

TRAIN = Path(__file__).parents[1] / "train.py"
SEEDS = 5
NEAR = {"accuracy": 0.01, "r2": 0.02}  # how far apart the medians may be
ROW = "row of the file"
Split: TypeAlias = tuple[NDArray[np.intp], NDArray[np.intp]]


class Scores(NamedTuple):
    source: Source
    rows: int
    columns: int  # without the target
    score: str  # accuracy or r2
    ours: list[float]
    theirs: list[float]

    @property
    def difference(self) -> float:
        return median(self.ours) - median(self.theirs)

    @property
    def is_near(self) -> bool:
        return abs(self.difference) <= NEAR[self.score]


def compared(source: Source, folder: Path) -> Scores:
    frame, path = frame_of(source), folder / f"{source.name.replace('/', '-')}.csv"
    frame.to_csv(path, index=False)
    if source.option:
        require_named(source, path)
    runs = [trained(source, path, seed) for seed in range(SEEDS)]
    score = "r2" if "test_r2" in runs[0] else "accuracy"
    ours = [run[f"test_{score}"] for run in runs]
    splits = [split_of(source, path, seed) for seed in range(SEEDS)]
    theirs = [by_scikit_learn(source, path, score, split, i) for i, split in enumerate(splits)]
    return Scores(source, len(frame), frame.shape[1] - 1, score, ours, theirs)


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


def by_scikit_learn(source: Source, path: Path, score: str, split: Split, seed: int) -> float:
    import pandas
    from pandas.api.types import is_bool_dtype, is_numeric_dtype
    from threadpoolctl import threadpool_limits

    frame = pandas.read_csv(path)
    dropped = source.option[1:] if source.option[:1] == ("--drop",) else ()
    x, y = frame.drop(columns=[source.target, *dropped]), frame[source.target]
    numbers = [name for name in x if is_numeric_dtype(x[name]) and not is_bool_dtype(x[name])]
    texts = [name for name in x if name not in numbers]
    x[texts] = x[texts].astype(object).fillna("").astype(str)
    model = pipeline(texts, numbers, score, seed)
    train, test = split
    with warnings.catch_warnings(), threadpool_limits(1):
        warnings.simplefilter("ignore")  # that it could go on
        model.fit(x.iloc[train], y.iloc[train])
        return float(model.score(x.iloc[test], y.iloc[test]))


def pipeline(texts: Sequence[str], numbers: Sequence[str], score: str, seed: int) -> Any:
    from sklearn.compose import ColumnTransformer, TransformedTargetRegressor
    from sklearn.impute import MissingIndicator, SimpleImputer
    from sklearn.neural_network import MLPClassifier, MLPRegressor
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OneHotEncoder, StandardScaler

    filled = make_pipeline(SimpleImputer(strategy="median"), StandardScaler())
    features = ColumnTransformer(
        [
            ("texts", OneHotEncoder(handle_unknown="ignore"), texts),
            ("numbers", filled, numbers),
            ("missing", MissingIndicator(error_on_new=False), numbers),
        ],
        sparse_threshold=0,
    )
    options: dict[str, Any] = {
        "hidden_layer_sizes": (WIDTH,),
        "solver": "sgd",
        "momentum": 0,
        "alpha": 0,
        "batch_size": BATCH_SIZE,
        "max_iter": EPOCHS,
        "n_iter_no_change": EPOCHS,
        "random_state": seed,
    }
    if score == "accuracy":
        return make_pipeline(features, MLPClassifier(learning_rate_init=RATE, **options))
    # Its loss is half the squared error.
    regressor = MLPRegressor(learning_rate_init=2 * RATE, **options)
    scaled = TransformedTargetRegressor(regressor, transformer=StandardScaler())
    return make_pipeline(features, scaled)


# ---- what is printed

HEAD = (
    "| table | rows × columns | target | option | | train.py | scikit-learn | difference |\n"
    "|---|---|---|---|---|---|---|---|"
)


def line(scores: Scores) -> str:
    source = scores.source
    is_accuracy = scores.score == "accuracy"
    form = "{:.1%}" if is_accuracy else "{:.3f}"
    cells = (
        f"{source.package}: {source.name}",
        f"{scores.rows} × {scores.columns}",
        source.target,
        f"`{' '.join(source.option)}`" if source.option else "",
        "accuracy" if is_accuracy else "R²",
        form.format(median(scores.ours)),
        form.format(median(scores.theirs)),
        f"{100 * scores.difference:+.1f} points" if is_accuracy else f"{scores.difference:+.3f}",
    )
    return f"| {' | '.join(cells)} |"


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
            found.append(compared(source, Path(folder)))
            print(line(found[-1]), flush=True)
    far = [scores.source.name for scores in found if not scores.is_near]
    print(
        f"\n{len(found) - len(far)} of {len(found)} within a point of accuracy or 0.02 of R², "
        f"in the median of {SEEDS} seeds" + (f"; not {', '.join(far)}" if far else "")
    )
    if options.json:
        rows = [{**scores._asdict(), "source": scores.source._asdict()} for scores in found]
        write_json(options.json, {"environment": about, "tables": rows})
    if far:
        sys.exit(1)
