"""Several runs at once: ranked by validation, with their spread over the seeds."""

import argparse
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import numpy as np
from numpy.typing import NDArray

import jaxnet
from training.job import Run, runs_of
from training.scores import Score

SETS = ("train", "validation", "test")


class Result(NamedTuple):
    """What a run came to at its best epoch; the loss is infinite where it diverged."""

    run: Run
    diverged: bool
    best_epoch: int
    epochs: int
    values: dict[str, float]
    validation_loss: float


class Ranked(NamedTuple):
    """A rate: mean and standard deviation over the seeds that did not diverge, [2] each."""

    rate: float
    loss: NDArray[np.floating[Any]]
    score: NDArray[np.floating[Any]]
    diverged: int
    seeds: int


def results_of(args: argparse.Namespace, history: jaxnet.History) -> list[Result]:
    return [result_of(run, i, history) for i, run in enumerate(runs_of(args))]


def result_of(run: Run, i: int, history: jaxnet.History) -> Result:
    diverged, best = bool(history.diverged[i]), int(history.best_epoch[i])
    epochs = int(np.isfinite(history.train_loss[i]).sum())
    # 0 where there was no epoch with a validation loss.
    values = {name: float(array[i, best - 1]) for name, array in history.values.items() if best}
    loss = np.inf if diverged or not best else values["validation_loss"]
    return Result(run, diverged, best, epochs, values, loss)


def ranked(results: Sequence[Result], score: Score) -> list[Ranked]:
    """The best rate first."""
    rates = dict.fromkeys(result.run.rate for result in results)
    rows = [ranked_of(rate, [r for r in results if r.run.rate == rate], score) for rate in rates]
    return sorted(rows, key=lambda row: (np.isnan(row.loss[0]), row.loss[0]))


def ranked_of(rate: float, results: Sequence[Result], score: Score) -> Ranked:
    ended = [result for result in results if np.isfinite(result.validation_loss)]

    def spread(name: str) -> NDArray[np.floating[Any]]:
        values = [result.values[name] for result in ended]
        return np.array([np.mean(values), np.std(values)] if values else [np.nan, np.nan])

    loss, of_score = spread("validation_loss"), spread(f"validation_{score.name}")
    return Ranked(rate, loss, of_score, len(results) - len(ended), len(results))


def best_of(results: Sequence[Result]) -> int:
    """The run with the lowest validation loss."""
    if not any(np.isfinite(result.validation_loss) for result in results):
        raise ValueError("no run has a validation loss that is a number; try smaller --rates")
    return int(np.argmin([result.validation_loss for result in results]))


def one_of(i: int, params: Any, history: jaxnet.History, epochs: int) -> tuple[Any, Any]:
    """Parameters and history of a run, as of one that was alone."""
    values = {name: array[i, :epochs] for name, array in history.values.items()}
    alone = jaxnet.History(
        values,
        epochs,
        history.seconds,
        history.interrupted,
        best_epoch=int(history.best_epoch[i]),
    )
    return jax.tree.map(lambda leaf: leaf[i], params), alone


def in_words(rows: Sequence[Ranked], chosen: Result, score: Score) -> str:
    lines = [f"\n{'rate':>10}{'validation loss':>20}{score.title:>20}{'diverged':>14}"]
    for row in rows:
        loss = f"{row.loss[0]:.4f} ± {row.loss[1]:.4f}"
        of_score = " ± ".join(map(score.text, row.score))
        if np.isnan(row.loss[0]):
            loss = of_score = "-"
        lines.append(f"{row.rate:>10g}{loss:>20}{of_score:>20}{row.diverged:>9} of {row.seeds}")
    run = chosen.run
    lines.append(f"\nthe best on validation: rate {run.rate:g}, seed {run.seed}")
    return "\n".join(lines)


def table(results: Sequence[Result]) -> tuple[list[str], list[list[Any]]]:
    """Head and rows of sweep.csv; a run that diverged has the values before it did."""
    names = list(next(result.values for result in results if result.values))
    head = ["rate", "seed", "diverged", "epochs", "best_epoch", *names]
    rows = [
        [*r.run, r.diverged, r.epochs, r.best_epoch, *(r.values.get(name, "") for name in names)]
        for r in results
    ]
    return head, rows


def figure(results: Sequence[Result], chosen: Result, score: Score) -> Any:
    """The validation loss of every run over its rate, and the mean of each rate."""
    from jaxnet.plotting import OKABE_ITO, new_figure, tidy

    made = new_figure(5.2, 3.6)
    axes = made.subplots()
    ended = [result for result in results if np.isfinite(result.validation_loss)]
    losses = [result.validation_loss for result in ended]
    green = OKABE_ITO["green"]
    axes.plot([r.run.rate for r in ended], losses, "o", color=green, alpha=0.5, label="a run")
    rows = sorted(row for row in ranked(results, score) if np.isfinite(row.loss[0]))
    mean, deviation = np.array([row.loss for row in rows]).T
    axes.errorbar(
        [row.rate for row in rows],
        mean,
        deviation,
        color=green,
        capsize=4,
        label="mean and standard deviation",
    )
    top = max(*losses, *(mean + deviation))
    lost = [result.run.rate for result in results if result not in ended]
    if lost:
        axes.plot(lost, [top] * len(lost), "x", color=OKABE_ITO["vermillion"], label="diverged")
    best = chosen.run.rate, chosen.validation_loss
    axes.plot(*best, "o", color="black", fillstyle="none", markersize=10, label="the best run")
    tidy(axes)
    axes.set_xscale("log")
    axes.margins(x=0.08)
    axes.set_xlabel("learning rate")
    axes.set_ylabel("validation loss at the best epoch")
    axes.legend(frameon=False)
    return made
