"""The runs behind the report: what is trained, from where, and how far its gradients are from exact."""

import json
import os
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import make_data
import numpy as np
import optax
from report_claims import LIMITS
from report_faults import FAULTS, Fault

import jaxnet
from jaxnet.datasets import Dataset

WIDTH, EPOCHS, RATE, BATCH_SIZE = 100, 200, 0.01, 64  # the report's
SEGMENT = 10  # epochs between two looks at the gradients
DEPTHS = (1, 2)  # hidden layers
HISTORIES = Path(__file__).parents[1] / "data" / "torch_histories.npz"
LOOKS_RIGHT = 0.5  # points of test accuracy below the right rules at most

EPS, TINY = float(np.finfo(np.float32).eps), np.finfo(np.float64).tiny
norm = partial(np.linalg.norm, axis=1)

Curves = Mapping[str, np.ndarray]
OPTIMIZER = optax.sgd(RATE)  # one for all: a compiled program is known by model, loss and optimizer
HAND = (jaxnet.mlp, jaxnet.softmax_cross_entropy)
AUTO = (jaxnet.auto(jaxnet.mlp), jaxnet.auto(jaxnet.softmax_cross_entropy))


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
    """By initialisation: what a network did from there, and its parameters, every leaf [seeds, ...]."""

    curves: dict[str, Curves]
    start: dict[str, Any]
    end: dict[str, Any]
    norms: dict[str, np.ndarray]  # |dL/dW| [seeds, checkpoints, layers]


def train(data: Dataset, gradient: tuple[Any, Any], params: Any, epochs: int) -> tuple[Any, Curves]:
    """The report's training; every leaf of params is [runs, ...]. gradient: model and loss, such as HAND."""
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


@partial(jax.jit, static_argnames=("model", "loss"))
def gradients(params: Any, x: Any, y: Any, *, model: Any, loss: Any) -> Any:
    """Of the mean loss on all of x and y, for every run."""
    return jax.vmap(jax.grad(lambda p: jnp.mean(loss(model(p, x), y))))(params)


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


def train_by_hand(data: Dataset, hidden: int, seeds: int) -> Trained:
    """From every initialisation, all in one program, a segment at a time with a look at the gradients between."""
    starts = draw(data, hidden, seeds)

    def by_start(tree: Any) -> dict[str, Any]:
        parts = {start: slice(i * seeds, (i + 1) * seeds) for i, start in enumerate(STARTS)}
        return {
            start: jax.tree.map(lambda a, part=part: np.asarray(a[part]), tree)
            for start, part in parts.items()
        }

    def norms() -> np.ndarray:
        grads = gradients(params, *data.train, model=HAND[0], loss=HAND[1])
        return np.stack(
            [norm(v) for name, v in by_parameter(grads).items() if name[0] == "W"], axis=-1
        )

    params = jax.tree.map(lambda *leaves: np.concatenate(leaves), *starts.values())
    segments, looks = [], [norms()]
    for _ in range(0, EPOCHS, SEGMENT):
        params, values = train(data, HAND, params, SEGMENT)
        segments.append(values)
        looks.append(norms())
    curves = {
        name: np.concatenate([values[name] for values in segments], axis=1) for name in segments[0]
    }
    return Trained(by_start(curves), starts, by_start(params), by_start(np.stack(looks, axis=1)))


def train_by_auto(data: Dataset, hidden: int, hand: Trained, seeds: int) -> dict[str, Curves]:
    """From the course's and from PyTorch's initialisation."""
    params = jax.tree.map(
        lambda *leaves: np.concatenate(leaves), hand.start["course"], hand.start["PyTorch"]
    )
    _, values = train(data, AUTO, params, EPOCHS)
    return {
        start: {name: v[i * seeds : (i + 1) * seeds] for name, v in values.items()}
        for i, start in enumerate(("course", "PyTorch"))
    }


def exact_gradients(data: Dataset, params: Any) -> Any:
    """Automatic, in float64, at these very parameters."""
    with jax.enable_x64(True):
        x, y = data.train
        wide = jax.tree.map(lambda a: np.asarray(a, np.float64), params)
        grads = gradients(wide, x.astype(np.float64), y, model=AUTO[0], loss=AUTO[1])
        return jax.tree.map(np.asarray, grads)


def by_parameter(grads: Any) -> dict[str, np.ndarray]:
    """W1, b1, W2, ... -> float64 [seeds, elements]."""
    leaves = {
        f"{letter}{k}": leaf
        for k, layer in enumerate(grads, 1)
        for letter, leaf in zip("Wb", layer, strict=True)
    }
    return {
        name: np.asarray(leaf, np.float64).reshape(len(leaf), -1) for name, leaf in leaves.items()
    }


def gradient_errors(data: Dataset, params: Any) -> dict[str, dict[str, float]]:
    """Parameter -> largest error of hand and of auto over elements and seeds, in eps of the largest element.

    apart: the largest difference between the two, as a share of the largest element of the whole gradient.
    """
    exact = by_parameter(exact_gradients(data, params))
    hand, auto = (
        by_parameter(gradients(params, *data.train, model=model, loss=loss))
        for model, loss in (HAND, AUTO)
    )

    whole = np.concatenate(list(exact.values()), axis=1)

    def largest(a: np.ndarray, b: np.ndarray, scale: np.ndarray) -> float:
        return float(np.max(np.abs(a - b).max(1) / np.maximum(np.abs(scale).max(1), TINY)))

    return {
        name: {
            "hand": largest(hand[name], true, true) / EPS,
            "auto": largest(auto[name], true, true) / EPS,
            "apart": largest(hand[name], auto[name], whole),
        }
        for name, true in exact.items()
    }


def compare(hand: Curves, auto: Curves) -> dict[str, Any]:
    """How far two sets of curves lie apart, over all epochs, seeds and both sets."""
    losses = [
        np.abs(hand[f"{which}_loss"] - auto[f"{which}_loss"]).max() for which in ("train", "test")
    ]
    different = [
        (hand[f"{which}_accuracy"] != auto[f"{which}_accuracy"]) for which in ("train", "test")
    ]
    return {
        "largest_loss_difference": float(max(losses)),
        "accuracies_different": int(sum(d.sum() for d in different)),
        "accuracies": int(sum(d.size for d in different)),
    }


def summarise(curves: Curves) -> dict[str, float]:
    """Medians over the seeds."""
    early = f"train_loss_mean_1_to_{LIMITS.slow_epochs}"
    means = {early: float(np.median(curves["train_loss"][:, : LIMITS.slow_epochs].mean(1)))}
    return means | {
        f"final_{name}": float(np.median(values[:, -1])) for name, values in curves.items()
    }


def plant_faults(data: Dataset, hand: Trained) -> list[dict[str, Any]]:
    """Train with each wrong rule, from PyTorch's initialisation. The first row is the right one's.

    error: of the worst parameter, |g - exact| / |exact|, median over the seeds; worst is its name.
    """
    params = hand.start["PyTorch"]
    exact = by_parameter(exact_gradients(data, params))

    def row(words: str, right: str, wrong: str, model: Any, loss: Any) -> dict[str, Any]:
        grads = by_parameter(gradients(params, *data.train, model=model, loss=loss))
        ratios = {
            name: norm(grads[name] - true) / np.maximum(norm(true), TINY)
            for name, true in exact.items()
        }
        errors = {name: float(np.median(ratio)) for name, ratio in ratios.items()}
        worst = max(errors, key=errors.__getitem__)
        return {
            "words": words,
            "right": right,
            "wrong": wrong,
            "error": errors[worst],
            "worst": worst,
        }

    def planted(fault: Fault) -> dict[str, Any]:
        try:
            curves, diverged = train(data, (fault.model, fault.loss), params, EPOCHS)[1], False
        except jaxnet.NonFiniteLoss as e:
            curves, diverged = e.history.values, True
        return row(*fault) | {"curves": curves, "diverged": diverged}

    rows = [
        row("the right rules", "", "", *HAND)
        | {"curves": hand.curves["PyTorch"], "diverged": False}
    ]
    with ThreadPoolExecutor(
        os.cpu_count()
    ) as pool:  # most of the time is compilation, which takes one core each
        rows += pool.map(planted, FAULTS)
    for r in rows:
        r["accuracy"] = float(np.round(100 * np.median(r["curves"]["test_accuracy"][:, -1]), 3))
        r["looks_right"] = not r["diverged"] and r["accuracy"] >= rows[0]["accuracy"] - LOOKS_RIGHT
    return rows


def pytorch_curves(
    data: Dataset, digests: Mapping[str, str], seeds: int, live: bool
) -> tuple[str, dict[int, dict[str, Curves]]] | None:
    """PyTorch itself: its label, and hidden layers -> initialisation -> curves. None: neither run nor recorded."""
    if live:
        import torch

        runs: dict[int, dict[str, Curves]] = {}
        for hidden in DEPTHS:
            for start in ("course", "PyTorch"):
                histories = [
                    make_data.torch_history((WIDTH,) * hidden, start.lower(), s, data)
                    for s in range(seeds)
                ]
                runs.setdefault(hidden, {})[start] = {
                    k: np.stack([h[k] for h in histories]) for k in histories[0]
                }
        return f"PyTorch {torch.__version__}", runs
    with np.load(HISTORIES, allow_pickle=False) as archive:
        meta = json.loads(str(archive["meta"]))
        if meta["sha256"] != digests:
            return None
        return f"PyTorch {meta['torch']}, recorded", {
            hidden: {
                start: {
                    f"{which}_{quantity}": archive[f"{hidden}_{start.lower()}_{which}_{quantity}"][
                        :seeds
                    ]
                    for which in ("train", "test")
                    for quantity in ("loss", "accuracy")
                }
                for start in ("course", "PyTorch")
            }
            for hidden in DEPTHS
        }


def recorded_digests() -> dict[str, str]:
    """sha256 of the files on which the recorded histories were made."""
    with np.load(HISTORIES, allow_pickle=False) as archive:
        return dict(json.loads(str(archive["meta"]))["sha256"])
