"""What training writes. --out is looked at first, and nothing that was trained is lost."""

import argparse
import contextlib
import csv
import io
import os
import signal
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
from common.files import write_json

import jaxnet
from jaxnet._files import write_whole
from training import generation
from training.scores import or_none

CHECKPOINT = "checkpoint.npz"  # as fit calls it


def require_room(out: Path, size: int) -> None:
    """Raise OSError unless files of so many bytes can be written into the folder out.

    The folder is not made: a training that fails leaves nothing.
    """
    there = next(path for path in (out, *out.absolute().parents) if path.exists())
    if not there.is_dir():
        raise NotADirectoryError(f"--out {out}: {there} is a file; give a folder, new or old")
    try:
        with tempfile.TemporaryFile(dir=there) as file:
            for start in range(0, size, 2**20):
                file.write(bytes(min(2**20, size - start)))
            file.flush()
    except OSError as error:
        raise OSError(f"--out {out}: {error.strerror}; give a folder to write into") from error


@contextlib.contextmanager
def making_room(out: Path, size: int) -> Iterator[None]:
    """A block that writes into out; where it fails it leaves no folder that was not there."""
    require_room(out, size)
    made = [path for path in (out.absolute(), *out.absolute().parents) if not path.exists()]
    try:
        yield
    except BaseException as error:
        if isinstance(error, jaxnet.NonFiniteLoss):  # to go on from there leads nowhere
            remove_checkpoint(out)
        with contextlib.suppress(OSError):  # it holds a checkpoint
            for path in made:
                path.rmdir()
        raise


def remove_checkpoint(out: Path) -> None:
    (out / CHECKPOINT).unlink(missing_ok=True)


def size_of(params: Any, epochs: int) -> int:
    """Bytes, at most, of what training writes: parameters thrice, for there is their checkpoint."""
    network = sum(leaf.nbytes for leaf in jax.tree.leaves(params))
    return 3 * network + 100 * epochs + 2**20


def write_results(
    args: argparse.Namespace,
    network: jaxnet.Network,
    history: jaxnet.History,
    of_test: dict[str, Any],
    more: Mapping[str, Callable[[Path], None]],
) -> None:
    """of_test: measures of the test set, by class. more: writers of other files, by name."""
    from jaxnet.plotting import plot_history, png  # matplotlib takes a second to import

    epochs = enumerate(zip(*history.values.values(), strict=True), 1)
    rows = [[epoch, *map(float, values)] for epoch, values in epochs]
    table = csv_text(["epoch", *history.values], rows)
    figure = plot_history(history, title=f"{args.data.name}, gradients by {args.gradients}")
    put(
        args.out,
        {
            "params.npz": lambda path: jaxnet.save(path, network),
            "history.csv": lambda path: write_whole(path, table),
            "history.png": lambda path: write_whole(path, png(figure)),
            "metrics.json": lambda path: write_json(path, metrics(args, history, of_test)),
            **more,
        },
    )


def put(out: Path, writers: Mapping[str, Callable[[Path], None]]) -> None:
    """The results into the folder out, else where there is room for them."""
    try:
        generation.put(out, writers)
    except OSError as error:
        for folder in (tempfile.gettempdir(), os.getcwd(), Path.home()):
            with contextlib.suppress(OSError):
                rescue = Path(tempfile.mkdtemp(prefix="train-", dir=folder))
                generation.put(rescue, writers)
                raise RuntimeError(f"--out {out}: {error}; the results are in {rescue}") from error
        raise OSError(f"--out {out}: {error}; nor is there room elsewhere") from error


def metrics(
    args: argparse.Namespace, history: jaxnet.History, of_test: dict[str, Any]
) -> dict[str, Any]:
    options = {
        name: str(value) if isinstance(value, Path) else value for name, value in vars(args).items()
    }
    return {
        "last": values_at(-1, history),
        "at_best_epoch": values_at(kept(history), history),
        "test": of_test,
        "run": {
            "epochs": history.epochs,
            "best_epoch": history.best_epoch,
            "seconds": history.seconds,
            "interrupted": history.interrupted,
        },
        "options": options,
        "versions": {
            "jaxnet": jaxnet.__version__,
            "jax": jax.__version__,
            "device": jax.devices()[0].device_kind,
        },
    }


def values_at(row: int, history: jaxnet.History) -> dict[str, float | None]:
    return {name: or_none(values[row]) for name, values in history.values.items()}


def kept(history: jaxnet.History) -> int:
    """The row of the epoch whose parameters are written."""
    return (history.best_epoch or history.epochs) - 1


def csv_text(head: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    table = io.StringIO(newline="")
    lines = csv.writer(table, lineterminator="\n")
    lines.writerow(head)
    lines.writerows(rows)
    return table.getvalue()


@contextlib.contextmanager
def finished_first() -> Iterator[None]:
    """Ctrl-C and SIGTERM wait for the end of the block, and then end the command."""
    came: list[int] = []
    kinds = (signal.SIGINT, signal.SIGTERM)
    before = {kind: signal.signal(kind, lambda number, _: came.append(number)) for kind in kinds}
    try:
        yield
    finally:
        for kind, handler in before.items():
            signal.signal(kind, handler)
    if came:
        print("train.py: stopped, after all was written", file=sys.stderr)
        sys.exit(128 + came[0])
