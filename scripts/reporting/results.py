"""Everything that metrics.json holds: what was measured of the runs."""

import platform
from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import numpy as np
import optax
from common.job import BATCH_SIZE, DEPTHS, EPOCHS, RATE, WIDTH

import jaxnet
from reporting import claims
from reporting.runs import START_LABELS, Runs, Trained
from reporting.sources import Curves, PyTorch, Source


class Side(NamedTuple):
    """What stands beside the gradients by hand from the course's initialisation."""

    label: str
    itself: bool  # whether that is PyTorch itself
    curves: dict[int, Curves]  # from PyTorch's initialisation


def other_side(runs: Runs, pytorch: PyTorch | None) -> Side:
    """PyTorch itself, or gradients by hand in its place."""
    if pytorch:
        curves = {hidden: pytorch.curves[hidden]["PyTorch"] for hidden in DEPTHS}
        return Side(pytorch.label, True, curves)
    curves = {hidden: runs.hand[hidden].curves["PyTorch"] for hidden in DEPTHS}
    return Side("hand gradients, PyTorch initialisation", False, curves)


ByGradient = dict[str, Mapping[str, Curves]]  # hand, auto, perhaps pytorch -> start -> curves


def by_gradient(runs: Runs, pytorch: PyTorch | None) -> dict[int, ByGradient]:
    found: dict[int, ByGradient] = {}
    for hidden in DEPTHS:
        found[hidden] = {"hand": runs.hand[hidden].curves, "auto": runs.auto[hidden]}
        if pytorch:
            found[hidden]["pytorch"] = pytorch.curves[hidden]
    return found


def measure(source: Source, runs: Runs, pytorch: PyTorch | None, seeds: int) -> dict[str, Any]:
    side = other_side(runs, pytorch)
    evidence = claims.Evidence(
        source.data,
        {hidden: runs.hand[hidden].curves["course"] for hidden in DEPTHS},
        side.curves,
        side.label,
        largest_difference(runs.errors),
    )
    same = {hidden: hand_against_auto(runs, hidden) for hidden in DEPTHS}
    effect = {hidden: effect_of_start(runs.hand[hidden]) for hidden in DEPTHS}
    return {
        "finding": finding(same, effect, runs.faults[1:]),
        "versions": versions(pytorch),
        "data": about_data(source),
        "settings": settings(seeds),
        "pytorch_side": {
            "label": side.label,
            "itself": side.itself,
            "seeds": len(side.curves[1]["train_loss"]),
        },
        "gradient_errors_in_eps": runs.errors,
        "medians": {
            hidden: {
                gradient: {start: summarise(curves) for start, curves in by_start.items()}
                for gradient, by_start in gradients.items()
            }
            for hidden, gradients in by_gradient(runs, pytorch).items()
        },
        "hand_against_auto": same,
        "effect_of_initialisation": effect,
        "initialisations": {
            hidden: {start: about_start(evidence, hand, start) for start in START_LABELS}
            for hidden, hand in runs.hand.items()
        },
        "faults": [without_curves(fault) for fault in runs.faults],
        "claims": claims.judge(evidence, source.name, source.is_reports_own),
    }


def finding(
    same: Mapping[int, Any], effect: Mapping[int, Any], faults: list[dict[str, Any]]
) -> str:
    apart = max(
        compared["largest_loss_difference"]
        for by_start in same.values()
        for compared in by_start.values()
    )
    moved = max(e["largest"] for e in effect.values())
    alike = sum(fault["looks_right"] for fault in faults)
    return (
        f"From the same start, hand and automatic gradients give the same curves: no loss differs "
        f"by more than {apart:.1e} in {EPOCHS} epochs. Another start moves the training loss by "
        f"up to {moved:.2f}. And {alike} of {len(faults)} wrong backward rules end within half a "
        f"point of the right accuracy. A good curve proves nothing about a gradient."
    )


def versions(pytorch: PyTorch | None) -> dict[str, str]:
    found = {
        "jaxnet": jaxnet.__version__,
        "Python": platform.python_version(),
        "jax": jax.__version__,
        "optax": optax.__version__,
        "NumPy": np.__version__,
        "device": jax.devices()[0].device_kind,
    }
    return found | ({"PyTorch": pytorch.label.removeprefix("PyTorch ")} if pytorch else {})


def about_data(source: Source) -> dict[str, Any]:
    data = source.data
    return {
        "name": source.name,
        "reports_own": source.is_reports_own,
        "sha256": source.digests,
        "rows": {"train": len(data.train[1]), "test": len(data.test[1])},
        "features": len(data.features),
        "classes": list(data.classes),
    }


def settings(seeds: int) -> dict[str, Any]:
    return {
        "hidden_units": WIDTH,
        "learning_rate": RATE,
        "batch_size": BATCH_SIZE,
        "epochs": EPOCHS,
        "seeds": seeds,
        "order": "file",
        "optimizer": "SGD",
        "dtype": "float32",
    }


def largest_difference(errors: Mapping[int, Any]) -> float:
    """Of hand and automatic gradients anywhere."""
    by_start = [starts for by_depth in errors.values() for starts in by_depth.values()]
    tables = [table for by_end in by_start for table in by_end.values()]
    return max(float(error["apart"]) for table in tables for error in table.values())


def hand_against_auto(runs: Runs, hidden: int) -> dict[str, Any]:
    hand = runs.hand[hidden].curves
    return {start: compare(hand[start], auto) for start, auto in runs.auto[hidden].items()}


def compare(hand: Curves, auto: Curves) -> dict[str, Any]:
    """How far two sets of curves lie apart, over all epochs, seeds and both sets."""
    losses, different = [], []
    for which in ("train", "test"):
        losses.append(np.abs(hand[f"{which}_loss"] - auto[f"{which}_loss"]).max())
        different.append(hand[f"{which}_accuracy"] != auto[f"{which}_accuracy"])
    return {
        "largest_loss_difference": float(max(losses)),
        "accuracies_different": int(sum(d.sum() for d in different)),
        "accuracies": int(sum(d.size for d in different)),
    }


def summarise(curves: Curves) -> dict[str, float]:
    """Medians over the seeds."""
    early = curves["train_loss"][:, : claims.LIMITS.slow_epochs].mean(1)
    found = {f"train_loss_mean_1_to_{claims.LIMITS.slow_epochs}": float(np.median(early))}
    return found | {
        f"final_{name}": float(np.median(values[:, -1])) for name, values in curves.items()
    }


def effect_of_start(hand: Trained) -> dict[str, float]:
    """Median training loss from the course's start less that from PyTorch's, gradients by hand."""
    course, pytorch = (
        np.median(hand.curves[start]["train_loss"], axis=0) for start in ("course", "PyTorch")
    )
    gap = np.abs(course - pytorch)
    return {
        "largest": float(gap.max()),
        "in_epoch": int(gap.argmax()) + 1,
        "final": float(course[-1] - pytorch[-1]),
    }


def about_start(evidence: claims.Evidence, hand: Trained, start: str) -> dict[str, Any]:
    """Medians over the seeds.

    above: the first epoch from which both accuracies stay above the claims' 90 %.
    """
    curves = hand.curves[start]
    above = claims.first_for_good(claims.both_high(evidence, curves))
    right = np.median(evidence.counts(curves, "test")[:, -1])
    return {
        "gradient_norms_at_start": np.median(hand.norms[start][:, 0], axis=0).tolist(),
        "above": claims.or_never(np.median(above)),
        "seeds_above": int(np.isfinite(above).sum()),
        "final_train_loss": float(np.median(curves["train_loss"][:, -1])),
        "final_test_accuracy": float(right) / evidence.rows("test"),
    }


def without_curves(fault: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in fault.items() if key != "curves"}
