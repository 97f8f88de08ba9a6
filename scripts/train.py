"""Train a network on a data set of yours, and predict with it.

    python scripts/train.py                                               the report's job on data/course_twin
    python scripts/train.py data/breast_cancer.csv --target diagnosis     any CSV with a header, .npz, or the
                                                                          report's layout (a folder)
    python scripts/train.py --predict new.csv --params out/train/params.npz

Training writes metrics.json, history.csv, history.png and params.npz (parameters, scaling, feature and class names)
into --out; prediction writes predictions.csv there: for each row of the new file its class and every probability.
"""

import argparse
import csv
import io
import math
import sys
import zipfile
from functools import partial
from pathlib import Path
from typing import Any

import jax
import numpy as np
import optax
from whole_files import write, write_json, write_npz

import jaxnet
from jaxnet.datasets import Dataset

OPTIMIZERS = {
    "sgd": optax.sgd,
    "momentum": lambda rate: optax.sgd(rate, momentum=0.9),
    "adam": optax.adam,
    "adamw": optax.adamw,
    "rmsprop": optax.rmsprop,
}
SCHEDULES = {
    "constant": lambda rate, steps: rate,
    "cosine": optax.cosine_decay_schedule,
    "linear": lambda rate, steps: optax.linear_schedule(rate, 0.0, steps),
}
ACTIVATIONS = {
    f.__name__: f
    for f in (
        jaxnet.relu,
        jaxnet.rules.gelu,
        jaxnet.rules.silu,
        jaxnet.rules.tanh,
        jaxnet.rules.sigmoid,
        jaxnet.rules.softplus,
    )
}
INITIALIZERS = {"pytorch": jaxnet.pytorch_init, "course": jaxnet.course_init}


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__.split("\n\n")[0],
        epilog=__doc__.split("\n\n", 1)[1],
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    twin = Path(__file__).resolve().parents[1] / "data" / "course_twin"
    parser.add_argument(
        "data",
        nargs="?",
        type=Path,
        default=twin,
        help="folder, .csv or .npz (default: %(default)s)",
    )
    parser.add_argument("--target", metavar="COLUMN", help="the label column of a .csv")
    parser.add_argument(
        "--hidden",
        nargs="*",
        type=int,
        default=[100],
        metavar="N",
        help="hidden sizes (default: 100)",
    )
    parser.add_argument("--activation", choices=ACTIVATIONS, default="relu", help="(default: relu)")
    parser.add_argument(
        "--norm", choices=("none", "layer", "rms"), default="none", help="before it (default: none)"
    )
    parser.add_argument(
        "--dropout", type=float, default=0.0, metavar="RATE", help="after it (default: 0)"
    )
    parser.add_argument(
        "--init", choices=INITIALIZERS, default="pytorch", help="initialisation (default: pytorch)"
    )
    parser.add_argument("--optimizer", choices=OPTIMIZERS, default="sgd", help="(default: sgd)")
    parser.add_argument("--rate", type=float, default=0.01, help="learning rate (default: 0.01)")
    parser.add_argument(
        "--schedule", choices=SCHEDULES, default="constant", help="of the rate (default: constant)"
    )
    parser.add_argument("--epochs", type=int, default=200, help="(default: 200)")
    parser.add_argument("--batch-size", type=int, default=64, metavar="ROWS", help="(default: 64)")
    parser.add_argument(
        "--seed", type=int, default=0, help="of initialisation, order and split (default: 0)"
    )
    yes_or_no = {"action": argparse.BooleanOptionalAction, "default": None}
    parser.add_argument(
        "--standardize", **yes_or_no, help="(default: on, off for the report's layout)"
    )
    parser.add_argument(
        "--shuffle", **yes_or_no, help="every epoch (default: on, off for the report's layout)"
    )
    parser.add_argument(
        "--gradients", choices=("hand", "auto"), default="hand", help="(default: hand)"
    )
    parser.add_argument(
        "--out", type=Path, default=Path("out/train"), metavar="DIR", help="(default: out/train)"
    )
    parser.add_argument(
        "--predict", type=Path, metavar="NEW.csv", help="do not train: predict these rows ..."
    )
    parser.add_argument(
        "--params", type=Path, metavar="NPZ", help="... with the network in this file"
    )
    args = parser.parse_args()
    if (args.predict is None) != (args.params is None):
        parser.error("--predict NEW.csv and --params NPZ go together")
    if any(n < 1 for n in args.hidden):
        parser.error(f"--hidden takes positive sizes, got {args.hidden}")
    if not 0 <= args.dropout < 1:
        parser.error(f"--dropout takes the probability to drop, in [0, 1), got {args.dropout}")
    if not 0 < args.rate < math.inf:
        parser.error(f"--rate must be a positive number, got {args.rate}")
    return args


def train(args: argparse.Namespace) -> None:
    data = jaxnet.datasets.load(args.data, args.target, seed=args.seed)
    for name in ("standardize", "shuffle"):  # the report did neither
        if getattr(args, name) is None:
            setattr(args, name, not args.data.is_dir())
    if args.standardize:
        data = jaxnet.datasets.standardize(data)
    rows, sizes = len(data.train[0]), (len(data.features), *args.hidden, len(data.classes))
    print(f"{args.data}: {rows} rows to train on, {len(data.test[0])} to test on")
    print(
        f"{len(data.features)} features{', standardised' * args.standardize}; classes {_list(data.classes)}"
    )
    norm, dropout = (
        f", {args.norm} norm" * (args.norm != "none"),
        f", dropout {args.dropout:g}" * (args.dropout > 0),
    )
    print(
        f"network {'-'.join(map(str, sizes))}, {args.activation}{norm}{dropout}, gradients by {args.gradients}"
    )

    to_init, to_shuffle = jax.random.split(jax.random.key(args.seed))
    to_drop = jax.random.fold_in(jax.random.key(args.seed), 2) if args.dropout else None
    steps = args.epochs * math.ceil(rows / max(args.batch_size, 1))
    model = partial(jaxnet.mlp, activation=ACTIVATIONS[args.activation], dropout_rate=args.dropout)
    loss = jaxnet.softmax_cross_entropy
    if args.gradients == "auto":
        model, loss = jaxnet.auto(model), jaxnet.auto(loss)
    params, history = jaxnet.fit(
        model,
        jaxnet.init_mlp(
            to_init, sizes, INITIALIZERS[args.init], norm=None if args.norm == "none" else args.norm
        ),
        train=data.train,
        test=data.test,
        epochs=args.epochs,
        batch_size=args.batch_size,
        optimizer=OPTIMIZERS[args.optimizer](SCHEDULES[args.schedule](args.rate, max(steps, 1))),
        loss=loss,
        key=to_shuffle if args.shuffle else None,
        model_key=to_drop,
    )
    write_results(args, data, params, history)
    if history.interrupted:
        print(f"interrupted: what was trained in {history.epochs} of {args.epochs} epochs is saved")
    print(
        f"\n{'':8}{'loss':>10}{'accuracy':>12}   after {history.epochs} epochs, {history.seconds:.2f} s"
    )
    for name in ("train", "test"):
        last = history.values[f"{name}_loss"][-1], history.values[f"{name}_accuracy"][-1]
        print(f"{name:8}{last[0]:10.4f}{last[1]:11.2%}")
    print(f"\nwritten to {args.out}: metrics.json, history.csv, history.png, params.npz")


def write_results(
    args: argparse.Namespace, data: Dataset, params: Any, history: jaxnet.History
) -> None:
    from jaxnet.plotting import plot_history, png  # matplotlib takes a second to import

    names = {"features": data.features, "classes": data.classes, "activation": args.activation}
    arrays = {name: np.array(value) for name, value in names.items()}
    leaves = {
        f"{i}.{name}": leaf
        for i, layer in enumerate(params)
        for name, leaf in layer._asdict().items()
    }
    arrays |= {name: leaf for name, leaf in leaves.items() if leaf is not None}
    arrays |= data.scaling._asdict() if data.scaling else {}
    write_npz(args.out / "params.npz", arrays)

    table = io.StringIO(newline="")
    lines = csv.writer(table, lineterminator="\n")
    lines.writerow(["epoch", *history.values])
    lines.writerows(
        [i + 1, *map(float, row)]
        for i, row in enumerate(zip(*history.values.values(), strict=True))
    )
    write(args.out / "history.csv", table.getvalue())

    options = {
        name: str(value) if isinstance(value, Path) else value for name, value in vars(args).items()
    }
    last = {name: float(values[-1]) for name, values in history.values.items()}
    run = {"epochs": history.epochs, "seconds": history.seconds, "interrupted": history.interrupted}
    versions = {
        "jaxnet": jaxnet.__version__,
        "jax": jax.__version__,
        "device": jax.devices()[0].device_kind,
    }
    write_json(
        args.out / "metrics.json",
        {"last": last, "run": run, "options": options, "versions": versions},
    )
    write(
        args.out / "history.png",
        png(plot_history(history, title=f"{args.data.name}, gradients by {args.gradients}")),
    )


def predict(args: argparse.Namespace) -> None:
    network = read_network(args.params)
    x = jaxnet.datasets.read_features(args.predict, network["features"].tolist())
    if "mean" in network:
        x = (x - network["mean"]) / network["scale"]
    depth = sum(name.endswith(".weight") for name in network)
    params = [
        [network[f"{i}.{name}"] for name in jaxnet.NormLayer._fields if f"{i}.{name}" in network]
        for i in range(depth)
    ]
    activation = ACTIVATIONS[str(network["activation"])]
    probabilities = np.asarray(jaxnet.softmax(jaxnet.mlp(params, x, activation=activation)))
    classes = network["classes"][probabilities.argmax(axis=1)]

    table = io.StringIO(newline="")
    lines = csv.writer(table, lineterminator="\n")
    lines.writerow(["class", *(f"probability of {name}" for name in network["classes"])])
    lines.writerows(
        [name, *map(float, row)] for name, row in zip(classes, probabilities, strict=True)
    )
    write(args.out / "predictions.csv", table.getvalue())
    found = ", ".join(f"{(classes == name).sum()} {name}" for name in network["classes"])
    print(
        f"{len(classes)} rows of {args.predict}: {found}\nwritten to {args.out / 'predictions.csv'}"
    )


def read_network(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise FileNotFoundError(f"--params {path}: no such file; train.py writes one as params.npz")
    if not zipfile.is_zipfile(path):
        raise ValueError(
            f"--params {path}: not an .npz archive; expected the params.npz that train.py writes"
        )
    with np.load(path, allow_pickle=False) as archive:
        network = {name: archive[name] for name in archive.files}
    if missing := {"features", "classes", "0.weight", "0.bias"} - network.keys():
        raise ValueError(
            f"--params {path}: no {_list(missing)} in it; expected the params.npz that train.py writes"
        )
    if (activation := str(network.setdefault("activation", np.array("relu")))) not in ACTIVATIONS:
        raise ValueError(
            f"--params {path}: activation must be one of {_list(ACTIVATIONS)}, got {activation!r}"
        )
    return network


def _list(names: Any) -> str:
    return ", ".join(sorted(map(str, names)) if isinstance(names, set) else map(str, names))


def main() -> None:
    args = parse()
    try:
        train(args) if args.predict is None else predict(args)
    except (ValueError, TypeError, OSError, jaxnet.NonFiniteLoss) as error:
        sys.exit(f"train.py: {error}")


if __name__ == "__main__":
    main()
