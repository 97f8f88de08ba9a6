"""Re-make the course report that this library began with: one HTML page, its figures, and metrics.json.

On the twin in data/ unless --data names another folder of the same layout; PyTorch's side comes from the recorded
histories of the twin, or live with --torch. Defaults take less than a minute.
"""

import argparse
import hashlib
import importlib.util
import json
import os
import platform
import shlex
import signal
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np
import optax
import report_claims
import report_figures as figures
from report_faults import FAULTS
from report_page import page
from report_runs import (
    BATCH_SIZE,
    DEPTHS,
    EPOCHS,
    RATE,
    SEGMENT,
    START_LABELS,
    STARTS,
    WIDTH,
    Curves,
    Trained,
    compare,
    gradient_errors,
    plant_faults,
    pytorch_curves,
    recorded_digests,
    summarise,
    train_by_auto,
    train_by_hand,
)
from whole_files import write

import jaxnet
from jaxnet.plotting import png

FILES = ("XTrain.txt", "yTrain.txt", "XTest.txt", "yTest.txt")
TWIN = Path(__file__).parents[1] / "data" / "course_twin"
REPORTS_OWN = {  # sha256 of the report's own files
    "XTrain.txt": "4042a4b7b5c02547f6b5cc50b7e63e6dd53b54156cf27581ade1b228fa9cae50",
    "yTrain.txt": "9f855b568148051b69d908914fb14b8fb6a1f7ea07697ae03ce8af82a8211241",
    "XTest.txt": "b631a3e24544bebc5fbecdb28cf951e3e1fbc709659d0993dafffe94d9e7e130",
    "yTest.txt": "b1c358567794be11a8602d3fe9a16f774d59bb91e2ccde5153d6ff285e704030",
}


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--data", type=Path, default=TWIN, metavar="DIR", help=f"folder with {', '.join(FILES)}"
    )
    parser.add_argument(
        "--out", type=Path, default=Path("out/report"), metavar="DIR", help="default: %(default)s"
    )
    parser.add_argument(
        "--seeds", type=int, default=8, help="networks per configuration (default: %(default)s)"
    )
    parser.add_argument(
        "--torch", action="store_true", help="run PyTorch live: 4 networks per seed, seconds each"
    )
    options = parser.parse_args(arguments)
    if options.seeds < 1:
        parser.error(f"--seeds is {options.seeds}; expected at least 1")
    if options.torch and importlib.util.find_spec("torch") is None:
        parser.error(
            "--torch needs PyTorch, which is not installed: pip install torch, or leave --torch out"
        )
    if any(path.exists() and not path.is_dir() for path in (options.out, *options.out.parents)):
        parser.error(f"--out is {options.out}, where there is a file; expected a folder")
    try:
        if not options.data.is_dir():
            raise FileNotFoundError(
                f"{options.data}: no such folder; expected one with {', '.join(FILES)}"
            )
        data = jaxnet.datasets.load(options.data)
    except (OSError, ValueError) as error:
        parser.error(f"--data: {error}")

    signal.signal(signal.SIGINT, interrupt)
    try:
        command = shlex.join(
            ["python", "scripts/report.py", *(sys.argv[1:] if arguments is None else arguments)]
        )
        results, images = measure(data, options, command)
        content = {f"{name}.png": png(figure) for name, figure in images.items()}
        content["metrics.json"] = (
            json.dumps(results, indent=1, ensure_ascii=False, allow_nan=False) + "\n"
        ).encode()
        content["index.html"] = page(results, content, START_LABELS).encode()
        signal.signal(
            signal.SIGINT, signal.SIG_IGN
        )  # a moment, in which the files are put in place
        options.out.mkdir(parents=True, exist_ok=True)
        for name, written in content.items():  # the page last
            write(options.out / name, written)
    except jaxnet.NonFiniteLoss as error:
        raise SystemExit(
            f"report.py: with the report's settings training diverges on these data: {error}"
        ) from None
    print(f"{options.out / 'index.html'}\n{results['finding']}")


def interrupt(*_: object) -> None:
    """On Ctrl-C: end here and now, when nothing is written yet. An exception could pass through a compiler at work."""
    print("\nreport.py: interrupted; nothing was written", file=sys.stderr, flush=True)
    os._exit(130)


def measure(
    data: jaxnet.datasets.Dataset, options: argparse.Namespace, command: str
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Everything that metrics.json holds, and the figures by name."""
    began, seeds = time.perf_counter(), options.seeds

    def say(stage: str) -> None:
        print(f"{time.perf_counter() - began:5.1f} s  {stage}", flush=True)

    digests = {
        name: hashlib.sha256((options.data / name).read_bytes()).hexdigest() for name in FILES
    }
    reports_own = digests == REPORTS_OWN
    name = name_data(digests, options.data)
    recorded = pytorch_curves(data, digests, seeds, options.torch)
    torch_label, torch = recorded or ("hand gradients, PyTorch initialisation", None)
    say(f"data: {name}; {torch_label if torch else 'PyTorch itself neither run nor recorded'}")

    hand: dict[int, Trained] = {}
    auto: dict[int, dict[str, Curves]] = {}
    errors: dict[int, dict[str, Any]] = {}
    for hidden in DEPTHS:
        title = figures.layers(hidden)
        hand[hidden] = train_by_hand(data, hidden, seeds)
        say(f"{title}: {len(STARTS)} initialisations x {seeds} seeds trained by hand")
        auto[hidden] = train_by_auto(data, hidden, hand[hidden], seeds)
        say(f"{title}: trained by auto")
        ends = {"start": hand[hidden].start, "end": hand[hidden].end}
        errors[hidden] = {
            start: {when: gradient_errors(data, params[start]) for when, params in ends.items()}
            for start in ("course", "PyTorch")
        }
        say(f"{title}: gradients compared with float64")
    faults = plant_faults(data, hand[1])
    say(f"{len(FAULTS)} wrong rules trained")

    scratch = {hidden: hand[hidden].curves["course"] for hidden in DEPTHS}
    pytorch = {
        hidden: torch[hidden]["PyTorch"] if torch else hand[hidden].curves["PyTorch"]
        for hidden in DEPTHS
    }
    tables = [
        table
        for by_start in errors.values()
        for by_end in by_start.values()
        for table in by_end.values()
    ]
    apart = max(error["apart"] for table in tables for error in table.values())
    evidence = report_claims.Evidence(data, scratch, pytorch, torch_label, apart)
    same = {
        hidden: {s: compare(hand[hidden].curves[s], auto[hidden][s]) for s in auto[hidden]}
        for hidden in DEPTHS
    }
    effect = {hidden: effect_of_start(hand[hidden]) for hidden in DEPTHS}
    alike = sum(fault["looks_right"] for fault in faults[1:])
    largest = max(
        c["largest_loss_difference"] for by_start in same.values() for c in by_start.values()
    )
    rows = {which: len(y) for which, (_, y) in (("train", data.train), ("test", data.test))}
    by_gradient: dict[int, dict[str, Mapping[str, Curves]]] = {
        hidden: {"hand": hand[hidden].curves, "auto": auto[hidden]}
        | ({"pytorch": torch[hidden]} if torch else {})
        for hidden in DEPTHS
    }
    results = {
        "finding": (
            f"From the same start, hand and automatic gradients give the same curves (no loss differs by more than "
            f"{largest:.1e} in {EPOCHS} epochs), while another start moves the training loss by up to "
            f"{max(e['largest'] for e in effect.values()):.2f}; and {alike} of {len(FAULTS)} wrong backward rules end "
            f"within half a point of the right accuracy: a good curve proves nothing about a gradient."
        ),
        "command": command,
        "versions": versions(torch_label if torch else None),
        "data": {
            "name": name,
            "reports_own": reports_own,
            "sha256": digests,
            "rows": rows,
            "features": len(data.features),
            "classes": list(data.classes),
        },
        "settings": {
            "hidden_units": WIDTH,
            "learning_rate": RATE,
            "batch_size": BATCH_SIZE,
            "epochs": EPOCHS,
            "seeds": seeds,
            "order": "file",
            "optimizer": "SGD",
            "dtype": "float32",
        },
        "pytorch_side": {
            "label": torch_label,
            "itself": torch is not None,
            "seeds": len(pytorch[1]["train_loss"]),
        },
        "gradient_errors_in_eps": errors,
        "medians": {
            hidden: {
                g: {s: summarise(c) for s, c in runs.items()}
                for g, runs in by_gradient[hidden].items()
            }
            for hidden in DEPTHS
        },
        "hand_against_auto": same,
        "effect_of_initialisation": effect,
        "initialisations": {
            hidden: {start: about_start(evidence, hand[hidden], start) for start in START_LABELS}
            for hidden in DEPTHS
        },
        "faults": [
            {key: value for key, value in fault.items() if key != "curves"} for fault in faults
        ],
        "claims": report_claims.judge(evidence, name, reports_own),
    }

    classes = len(data.classes)
    images = {
        f"network_{hidden}": figures.network(hidden, WIDTH, len(data.features), classes)
        for hidden in DEPTHS
    }
    for letters, hidden, metric in figures.PAIRS:
        labels = ("hand gradients, course initialisation", torch_label)
        sides = list(zip(letters, labels, (scratch[hidden], pytorch[hidden]), strict=True))
        images[f"{metric}_{letters}"] = figures.pair(sides, metric, classes, rows["test"])
    images["hand_and_auto"] = figures.hand_and_auto(by_gradient, classes)
    images["initialisations"] = figures.starts(
        {h: hand[h].curves for h in DEPTHS}, START_LABELS, classes
    )
    looks = range(0, EPOCHS + 1, SEGMENT)
    images["gradient_norms"] = figures.gradient_norms(
        {h: hand[h].norms for h in DEPTHS}, START_LABELS, looks
    )
    images["wrong_gradients"] = figures.wrong_gradients(faults, classes, seeds)
    say(f"{len(images)} figures drawn")
    return results | {"seconds": round(time.perf_counter() - began, 1)}, images


def name_data(digests: Mapping[str, str], folder: Path) -> str:
    """By what the files hold, not by where they lie."""
    if digests == REPORTS_OWN:
        return "the report's own data"
    if digests == recorded_digests():
        return "a twin of the report's data (its layout, size and distribution, none of its rows)"
    return f"other data than the report's, folder {folder.resolve().name}"


def versions(torch: str | None) -> dict[str, str]:
    found = {
        "jaxnet": jaxnet.__version__,
        "Python": platform.python_version(),
        "jax": jax.__version__,
    }
    found |= {
        "optax": optax.__version__,
        "NumPy": np.__version__,
        "device": jax.devices()[0].device_kind,
    }
    return found | ({"PyTorch": torch.removeprefix("PyTorch ")} if torch else {})


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


def about_start(evidence: report_claims.Evidence, hand: Trained, start: str) -> dict[str, Any]:
    """Medians over the seeds; above: the first epoch from which both accuracies stay above the claims' 90 %."""
    curves = hand.curves[start]
    above = report_claims.first_for_good(report_claims.both_high(evidence, curves))
    return {
        "gradient_norms_at_start": np.median(hand.norms[start][:, 0], axis=0).tolist(),
        "above": report_claims.or_never(np.median(above)),
        "seeds_above": int(np.isfinite(above).sum()),
        "final_train_loss": float(np.median(curves["train_loss"][:, -1])),
        "final_test_accuracy": float(np.median(evidence.counts(curves, "test")[:, -1]))
        / evidence.rows("test"),
    }


if __name__ == "__main__":
    main()
