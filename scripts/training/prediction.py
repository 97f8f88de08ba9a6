"""Predictions for the rows of a .csv file, by a network that was saved."""

import argparse
import sys
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

import jaxnet
from jaxnet import metrics
from jaxnet._files import write_whole
from jaxnet.datasets import read_features, read_texts
from jaxnet.datasets._table import number_or_none
from training import generation
from training.results import csv_text, require_room
from training.scores import OF_NUMBERS, in_digits

SHOWN = 5
PREDICTIONS = "predictions.csv"
Texts: TypeAlias = dict[str, tuple[str, ...]]


def predict(args: argparse.Namespace) -> None:
    network = load(args.params)
    x = read_features(args.predict, network.columns or network.features)
    target = args.target or network.target
    texts = read_columns(args, target)
    require_room(args.out, 100 * len(x) * max(len(network.classes), 1))

    write_and_show = write_classes if network.classes else write_numbers
    write_and_show(args, network, x, texts, target)
    warn_of_far_rows(network, x)
    print(f"written to {args.out / PREDICTIONS}")


def write_classes(
    args: argparse.Namespace,
    network: jaxnet.Network,
    x: NDArray[np.float32],
    texts: Texts,
    target: str | None,
) -> None:
    probabilities = network.probabilities(x)
    classes = np.array(network.classes)[probabilities.argmax(axis=1)]
    head = ["class", *(f"probability of {name}" for name in network.classes)]
    rows = [[name, *map(float, row)] for name, row in zip(classes, probabilities, strict=True)]
    write_rows(args, head, rows, texts)

    counts = ", ".join(f"{(classes == name).sum()} {name}" for name in network.classes)
    print(f"{len(classes)} rows of {args.predict}: {counts}")
    if target in texts:
        show_accuracy(classes, np.array(texts[target]), target, network)


def write_numbers(
    args: argparse.Namespace,
    network: jaxnet.Network,
    x: NDArray[np.float32],
    texts: Texts,
    target: str | None,
) -> None:
    numbers = network.predict(x)
    write_rows(args, ["prediction"], [[float(number)] for number in numbers], texts)

    least, middle, most = map(in_digits, np.quantile(numbers, [0, 0.5, 1]))
    print(f"{len(x)} rows of {args.predict}: {least} to {most}, median {middle}")
    if target in texts:
        show_error(numbers, texts[target], target)


def write_rows(args: argparse.Namespace, head: list[str], rows: list[Any], texts: Texts) -> None:
    if args.id:
        head = [args.id, *head]
        rows = [[name, *row] for name, row in zip(texts[args.id], rows, strict=True)]
    write_whole(args.out / PREDICTIONS, csv_text(head, rows))


def show_error(numbers: NDArray[np.float32], cells: tuple[str, ...], target: str) -> None:
    """Of the rows whose target is a number."""
    truth = np.array([number_or_none(cell) for cell in cells], np.float32)  # NaN for None
    known = np.isfinite(truth)
    if not known.all():
        print(f"{(~known).sum()} rows have no number as {target}")
    if known.any():
        pair = numbers[known], truth[known]
        r2, error = map(float, (metrics.r2(*pair), metrics.mean_absolute_error(*pair)))
        share = OF_NUMBERS[0].text(r2)
        print(f"by {target}: R² {share}, error {in_digits(error)}, of {known.sum()} rows")


def read_columns(args: argparse.Namespace, target: str | None) -> Texts:
    """The labels and what --id names, where they are there; what was asked for must be."""
    texts = read_texts(args.predict, [name for name in (args.id, target) if name])
    for name, argument in ((args.id, "--id"), (args.target, "--target")):
        if name and name not in texts:
            raise ValueError(f"{argument} {name}: {args.predict} has no such column")
    return texts


def load(path: Path) -> jaxnet.Network:
    if path.parent.is_dir():
        generation.recover(path.parent)
    try:
        return jaxnet.load_network(path)
    except (ValueError, OSError) as error:
        raise type(error)(f"--params {error}") from error


def show_accuracy(
    classes: NDArray[np.str_], labels: NDArray[np.str_], target: str, network: jaxnet.Network
) -> None:
    """Of the rows with a label that the network knows."""
    known = np.isin(labels, np.array(network.classes))
    if others := sorted(set(labels[~known].tolist())):
        names = ", ".join(map(repr, others[:SHOWN])) + ", ..." * (len(others) > SHOWN)
        print(f"{(~known).sum()} rows have another {target} than in training: {names}")
    if known.any():
        wrong = np.flatnonzero(known & (classes != labels))
        rows = ", ".join(str(row + 1) for row in wrong[:SHOWN]) + ", ..." * (len(wrong) > SHOWN)
        where = f", rows {rows}" if len(wrong) else ""
        print(
            f"accuracy by {target}: {1 - len(wrong) / known.sum():.2%}, "
            f"{len(wrong)} of {known.sum()} wrong{where}"
        )


def warn_of_far_rows(network: jaxnet.Network, x: NDArray[np.float32]) -> None:
    """Of those with a feature further outside its training range than the range is wide."""
    if network.ranges is None:
        return
    least, largest = np.asarray(network.ranges, np.float64)
    beyond = np.maximum(x - largest, least - x)
    with np.errstate(divide="ignore", invalid="ignore"):
        widths = np.where(beyond > 0, beyond / (largest - least), 0)
    rows = np.flatnonzero((widths > 1).any(axis=1))
    if not len(rows):
        return
    print(
        f"train.py: warning: {len(rows)} of {len(x)} rows are far outside what the network was "
        f"trained on; their probabilities mean little",
        file=sys.stderr,
    )
    for row in rows[np.argsort(-widths[rows].max(axis=1), kind="stable")][:SHOWN]:
        column = widths[row].argmax()
        print(
            f"  row {row + 1}: {network.features[column]} is {x[row, column]:g}, in training "
            f"{least[column]:g} to {largest[column]:g}",
            file=sys.stderr,
        )
