"""What is trained: from four starts by hand, from two by auto, and with every wrong rule."""

import os
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import jax
import numpy as np
import optax
from common.job import BATCH_SIZE, DEPTHS, EPOCHS, RATE, WIDTH

import jaxnet
from jaxnet.datasets import Dataset
from reporting.faults import FAULTS, Fault
from reporting.gradients import (
    AUTO,
    HAND,
    by_parameter,
    exact_gradients,
    gradient_errors,
    weight_norms,
    worst_parameter,
)
from reporting.sources import PYTORCH_STARTS, Curves

SEGMENT = 10  # epochs between two looks at the gradients
LOOKS_RIGHT = 0.5  # points of test accuracy below the right rules at most
OPTIMIZER = optax.sgd(RATE)  # one for all: a compiled program is known by model, loss and optimizer

STARTS = {  # two that are drawn, and the same numbers with the other signs
    "course": lambda course, pytorch: course,
    "PyTorch": lambda course, pytorch: pytorch,
    "small, signed": lambda course, pytorch: 2 * course - np.float32(0.01),
    "fan-in, positive": lambda course, pytorch: np.abs(pytorch),
}
START_LABELS = {  # in the order of the figures: small to large
    "course": "0.01 · U[0, 1): course",
    "small, signed": "0.01 · U(−1, 1)",
    "fan-in, positive": "U[0, 1)/√fan-in",
    "PyTorch": "U(−1, 1)/√fan-in: PyTorch",
}


class Trained(NamedTuple):
    """By initialisation: what a network did from there, and its parameters.

    Every leaf of the parameters is [seeds, ...].
    """

    curves: dict[str, Curves]
    start: dict[str, Any]
    end: dict[str, Any]
    norms: dict[str, np.ndarray]  # |dL/dW| [seeds, checkpoints, layers]


class Runs(NamedTuple):
    """All that was trained and compared; the first three by number of hidden layers."""

    hand: dict[int, Trained]
    auto: dict[int, dict[str, Curves]]
    # Initialisation -> start or end -> parameter -> hand, auto, apart.
    errors: dict[int, dict[str, Any]]
    faults: list[dict[str, Any]]  # the right rules first


def run_all(data: Dataset, seeds: int, say: Callable[[str], None]) -> Runs:
    hand: dict[int, Trained] = {}
    auto: dict[int, dict[str, Curves]] = {}
    errors: dict[int, dict[str, Any]] = {}
    for hidden in DEPTHS:
        title = layers(hidden)
        hand[hidden] = train_by_hand(data, hidden, seeds)
        say(f"{title}: {len(STARTS)} initialisations x {seeds} seeds trained by hand")
        auto[hidden] = train_by_auto(data, hand[hidden], seeds)
        say(f"{title}: trained by auto")
        errors[hidden] = errors_along(data, hand[hidden])
        say(f"{title}: gradients compared with float64")
    faults = plant_faults(data, hand[1])
    say(f"{len(FAULTS)} wrong rules trained")
    return Runs(hand, auto, errors, faults)


def layers(hidden: int) -> str:
    return "one hidden layer" if hidden == 1 else "two hidden layers"


def train(data: Dataset, gradient: tuple[Any, Any], params: Any, epochs: int) -> tuple[Any, Curves]:
    """The report's training; every leaf of params is [runs, ...].

    gradient: model and loss, such as HAND.
    """
    model, loss = gradient
    params, history = jaxnet.fit(
        model,
        params,
        train=data.train,
        test=data.test,
        epochs=epochs,
        batch_size=BATCH_SIZE,
        optimizer=OPTIMIZER,
        loss=loss,
        runs=len(params[0].bias),
        progress=False,
    )
    return params, history.values


def draw(data: Dataset, hidden: int, seeds: int) -> dict[str, Any]:
    """Parameters by initialisation. Seed 3 is the same network whatever the number of seeds."""
    sizes = (len(data.features), *[WIDTH] * hidden, len(data.classes))
    drawn = []
    for initializer in (jaxnet.course_init, jaxnet.pytorch_init):
        networks = [
            jaxnet.init_mlp(jax.random.key(seed), sizes, initializer) for seed in range(seeds)
        ]
        drawn.append(jax.tree.map(lambda *leaves: np.stack(leaves), *networks))
    return {start: jax.tree.map(f, *drawn) for start, f in STARTS.items()}


def joined(trees: Mapping[str, Any], starts: Any) -> Any:
    """The runs of several starts as one batch of runs."""
    return jax.tree.map(lambda *leaves: np.concatenate(leaves), *(trees[start] for start in starts))


def parted(tree: Any, starts: Any, seeds: int) -> dict[str, Any]:
    """The other way: initialisation -> its runs."""
    return {
        start: jax.tree.map(lambda a, i=i: np.asarray(a[i * seeds : (i + 1) * seeds]), tree)
        for i, start in enumerate(starts)
    }


def train_by_hand(data: Dataset, hidden: int, seeds: int) -> Trained:
    """From every initialisation, all in one program.

    A segment at a time, with a look at the gradients between.
    """
    starts = draw(data, hidden, seeds)
    params = joined(starts, STARTS)
    segments, looks = [], [weight_norms(data, params)]
    for _ in range(0, EPOCHS, SEGMENT):
        params, values = train(data, HAND, params, SEGMENT)
        segments.append(values)
        looks.append(weight_norms(data, params))
    whole = {
        name: np.concatenate([values[name] for values in segments], axis=1) for name in segments[0]
    }
    found = (whole, params, np.stack(looks, axis=1))
    curves, end, norms = (parted(tree, STARTS, seeds) for tree in found)
    return Trained(curves, starts, end, norms)


def train_by_auto(data: Dataset, hand: Trained, seeds: int) -> dict[str, Curves]:
    _, values = train(data, AUTO, joined(hand.start, PYTORCH_STARTS), EPOCHS)
    return parted(values, PYTORCH_STARTS, seeds)


def errors_along(data: Dataset, hand: Trained) -> dict[str, Any]:
    """Of the gradients, before the first epoch and after the last."""
    return {
        start: {
            "start": gradient_errors(data, hand.start[start]),
            "end": gradient_errors(data, hand.end[start]),
        }
        for start in PYTORCH_STARTS
    }


def plant_faults(data: Dataset, hand: Trained) -> list[dict[str, Any]]:
    """Train with each wrong rule, from PyTorch's initialisation. The first row is the right one's.

    error, worst: of the gradient at the start, and the parameter that is farthest off.
    """
    params = hand.start["PyTorch"]
    exact = by_parameter(exact_gradients(data, params))

    def row(fault: Fault, curves: Curves, diverged: bool) -> dict[str, Any]:
        worst, error = worst_parameter(data, params, exact, fault.model, fault.loss)
        accuracy = float(np.round(100 * np.median(curves["test_accuracy"][:, -1]), 3))
        words = {"words": fault.words, "right": fault.right, "wrong": fault.wrong}
        measured = {"error": error, "worst": worst, "accuracy": accuracy, "diverged": diverged}
        return words | measured | {"curves": curves}

    def planted(fault: Fault) -> dict[str, Any]:
        try:
            _, curves = train(data, (fault.model, fault.loss), params, EPOCHS)
        except jaxnet.NonFiniteLoss as error:
            return row(fault, error.history.values, diverged=True)
        return row(fault, curves, diverged=False)

    rows = [row(Fault("the right rules", "", "", *HAND), hand.curves["PyTorch"], diverged=False)]
    # Most of the time is compilation, which takes one core each.
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        rows += pool.map(planted, FAULTS)
    least = rows[0]["accuracy"] - LOOKS_RIGHT
    for r in rows:
        r["looks_right"] = not r["diverged"] and r["accuracy"] >= least
    return rows
