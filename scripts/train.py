"""Train a network on a data set of yours, and predict with it.

    python scripts/train.py
        the report's job on data/course_twin
    python scripts/train.py data/breast_cancer.csv --target diagnosis
        any CSV with a header, .npz, or folder in the report's layout
    python scripts/train.py --predict new.csv --params out/train/params.npz

Training writes metrics.json, history.csv, history.png and params.npz (parameters, scaling, feature
and class names) into --out. Prediction writes predictions.csv there: for each row of the new file
its class and every probability.
"""

import argparse
import csv
import io
import math
import sys
import zipfile
from collections.abc import Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import common.compilation_cache as compilation_cache  # before jax
import jax
import numpy as np
import optax
from common.by_class import by_class
from common.files import write_json
from common.job import BATCH_SIZE, EPOCHS, RATE, TWIN, WIDTH

import jaxnet
from jaxnet._files import write_npz, write_whole
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


def make_parser() -> argparse.ArgumentParser:
    what, _, more = __doc__.partition("\n\n")
    parser = argparse.ArgumentParser(
        description=what, epilog=more, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("data", nargs="?", type=Path, default=TWIN, help="folder, .csv or .npz (default: the twin)")
    add("--target", metavar="COLUMN", help="the label column of a .csv")
    add("--out", type=Path, default=Path("out/train"), metavar="DIR", help="(default: %(default)s)")
    add("--seed", type=int, default=0, help="of initialisation, order and split (default: 0)")
    add("--gradients", choices=("hand", "auto"), default="hand", help="(default: hand)")
    yes_or_no = {"action": argparse.BooleanOptionalAction, "default": None}
    add("--standardize", **yes_or_no, help="(default: on, off for the report's layout)")
    add("--shuffle", **yes_or_no, help="every epoch (default: on, off for the report's layout)")
    compilation_cache.add_option(parser)
    add_network(parser.add_argument_group("the network"))
    add_training(parser.add_argument_group("the training"))
    predicting = parser.add_argument_group("instead of training")
    predicting.add_argument(
        "--predict", type=Path, metavar="NEW.csv", help="predict these rows ..."
    )
    predicting.add_argument("--params", type=Path, metavar="NPZ", help="... with this network")
    return parser


def add_network(group: Any) -> None:
    group.add_argument(
        "--hidden",
        nargs="*",
        type=int,
        default=[WIDTH],
        metavar="N",
        help=f"hidden sizes (default: {WIDTH})",
    )
    group.add_argument("--activation", choices=ACTIVATIONS, default="relu", help="(default: relu)")
    group.add_argument(
        "--norm", choices=("none", "layer", "rms"), default="none", help="before it (default: none)"
    )
    group.add_argument(
        "--dropout", type=float, default=0.0, metavar="RATE", help="after it (default: 0)"
    )
    group.add_argument(
        "--init", choices=INITIALIZERS, default="pytorch", help="initialisation (default: pytorch)"
    )


def add_training(group: Any) -> None:
    group.add_argument("--optimizer", choices=OPTIMIZERS, default="sgd", help="(default: sgd)")
    group.add_argument(
        "--rate", type=float, default=RATE, help="learning rate (default: %(default)s)"
    )
    group.add_argument(
        "--schedule", choices=SCHEDULES, default="constant", help="of the rate (default: constant)"
    )
    group.add_argument("--epochs", type=int, default=EPOCHS, help="(default: %(default)s)")
    group.add_argument(
        "--batch-size", type=int, default=BATCH_SIZE, metavar="ROWS", help="(default: %(default)s)"
    )
    group.add_argument(
        "--class-weights",
        choices=("none", "balanced"),
        default="none",
        help="balanced: all classes count the same together, in the loss (default: none)",
    )


def parse() -> argparse.Namespace:
    parser = make_parser()
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
    data = read_data(args)
    sizes = len(data.features), *args.hidden, len(data.classes)
    show_job(args, data, sizes)

    to_init, to_shuffle = jax.random.split(jax.random.key(args.seed))
    to_drop = jax.random.fold_in(jax.random.key(args.seed), 2) if args.dropout else None
    norm = None if args.norm == "none" else args.norm
    model = partial(jaxnet.mlp, activation=ACTIVATIONS[args.activation], dropout_rate=args.dropout)
    loss = jaxnet.softmax_cross_entropy
    if args.class_weights == "balanced":
        weights = jaxnet.metrics.balanced_class_weights(data.train[1], len(data.classes))
        loss = jaxnet.class_weighted(weights, loss)
    if args.gradients == "auto":
        model, loss = jaxnet.auto(model), jaxnet.auto(loss)
    steps = args.epochs * math.ceil(len(data.train[0]) / max(args.batch_size, 1))
    params, history = jaxnet.fit(
        model,
        jaxnet.init_mlp(to_init, sizes, INITIALIZERS[args.init], norm=norm),
        train=data.train,
        test=data.test,
        epochs=args.epochs,
        batch_size=args.batch_size,
        optimizer=OPTIMIZERS[args.optimizer](SCHEDULES[args.schedule](args.rate, max(steps, 1))),
        loss=loss,
        key=to_shuffle if args.shuffle else None,
        model_key=to_drop,
    )
    of_test = by_class(data, model(params, data.test[0]))
    write_results(args, data, params, history, of_test)
    show_end(args, history, of_test["always"])


def read_data(args: argparse.Namespace) -> Dataset:
    """The data, scaled if they are to be; what args leave open of that is decided in place."""
    data = jaxnet.datasets.load(args.data, args.target, seed=args.seed)
    for name in ("standardize", "shuffle"):  # the report did neither
        if getattr(args, name) is None:
            setattr(args, name, not args.data.is_dir())
    return jaxnet.datasets.standardize(data) if args.standardize else data


def show_job(args: argparse.Namespace, data: Dataset, sizes: tuple[int, ...]) -> None:
    print(f"{args.data}: {len(data.train[0])} rows to train on, {len(data.test[0])} to test on")
    scaled = ", standardised" if args.standardize else ""
    print(f"{len(data.features)} features{scaled}; classes {listed(data.classes)}")
    norm = "" if args.norm == "none" else f", {args.norm} norm"
    dropout = f", dropout {args.dropout:g}" if args.dropout else ""
    print(
        f"network {'-'.join(map(str, sizes))}, {args.activation}{norm}{dropout}, "
        f"gradients by {args.gradients}"
    )


def show_end(args: argparse.Namespace, history: jaxnet.History, always: dict[str, Any]) -> None:
    done = history.epochs
    if history.interrupted:
        print(f"interrupted: what was trained in {done} of {args.epochs} epochs is saved")
    print(f"\n{'':8}{'loss':>10}{'accuracy':>12}   after {done} epochs, {history.seconds:.2f} s")
    for name in ("train", "test"):
        loss, accuracy = (history.values[f"{name}_{kind}"][-1] for kind in ("loss", "accuracy"))
        print(f"{name:8}{loss:10.4f}{accuracy:11.2%}")
    print(f"always {always['class']}: {always['accuracy']:.2%} of the test rows")
    print(f"\nwritten to {args.out}: metrics.json, history.csv, history.png, params.npz")


def write_results(
    args: argparse.Namespace,
    data: Dataset,
    params: Any,
    history: jaxnet.History,
    of_test: dict[str, Any],
) -> None:
    from jaxnet.plotting import plot_history, png  # matplotlib takes a second to import

    write_npz(args.out / "params.npz", network_arrays(args, data, params))
    epochs = enumerate(zip(*history.values.values(), strict=True), 1)
    rows = ([epoch, *map(float, values)] for epoch, values in epochs)
    write_whole(args.out / "history.csv", csv_text(["epoch", *history.values], rows))
    figure = plot_history(history, title=f"{args.data.name}, gradients by {args.gradients}")
    write_whole(args.out / "history.png", png(figure))

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
    metrics = {
        "last": last, "test": of_test, "run": run, "options": options, "versions": versions,
    }  # fmt: skip
    write_json(args.out / "metrics.json", metrics)


def network_arrays(args: argparse.Namespace, data: Dataset, params: Any) -> dict[str, Any]:
    """All that a prediction needs, by name: parameters, scaling, names."""
    names = {"features": data.features, "classes": data.classes, "activation": args.activation}
    arrays = {name: np.array(value) for name, value in names.items()}
    for i, layer in enumerate(params):
        for name, leaf in layer._asdict().items():
            if leaf is not None:
                arrays[f"{i}.{name}"] = leaf
    return arrays | (data.scaling._asdict() if data.scaling else {})


def csv_text(head: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    table = io.StringIO(newline="")
    lines = csv.writer(table, lineterminator="\n")
    lines.writerow(head)
    lines.writerows(rows)
    return table.getvalue()


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

    head = ["class", *(f"probability of {name}" for name in network["classes"])]
    rows = ([name, *map(float, row)] for name, row in zip(classes, probabilities, strict=True))
    write_whole(args.out / "predictions.csv", csv_text(head, rows))
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
            f"--params {path}: no {listed(missing)} in it; "
            f"expected the params.npz that train.py writes"
        )
    if (activation := str(network.setdefault("activation", np.array("relu")))) not in ACTIVATIONS:
        raise ValueError(
            f"--params {path}: activation must be one of {listed(ACTIVATIONS)}, got {activation!r}"
        )
    return network


def listed(names: Any) -> str:
    return ", ".join(sorted(map(str, names)) if isinstance(names, set) else map(str, names))


def main() -> None:
    args = parse()
    compilation_cache.use(args.compilation_cache)
    try:
        train(args) if args.predict is None else predict(args)
    except (ValueError, TypeError, OSError, jaxnet.NonFiniteLoss) as error:
        sys.exit(f"train.py: {error}")


if __name__ == "__main__":
    main()
