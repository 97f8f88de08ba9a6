"""Train a network on a data set of yours, and predict with it.

    python scripts/train.py
        the report's job on data/course_twin
    python scripts/train.py data/breast_cancer.csv --target diagnosis
        any CSV with a header, .npz, or folder in the report's layout
    python scripts/train.py --predict new.csv --params out/train/params.npz

Training writes metrics.json, history.csv, history.png and params.npz (parameters, scaling, feature
and class names; jaxnet.load_network reads it) into --out, together, once it has ended. Prediction
writes predictions.csv there: for each row of the new file its class and every probability. Where
the file has the labels too, it prints the accuracy.
"""

import argparse
import math
import sys
from functools import partial
from typing import Any, NamedTuple

import common.compilation_cache as compilation_cache  # before jax
import jax
import numpy as np
from common.by_class import by_class
from numpy.typing import NDArray
from training import options, results
from training.prediction import predict

import jaxnet
from jaxnet.datasets import Dataset
from jaxnet.networks import ACTIVATIONS


class Job(NamedTuple):
    data: Dataset
    ranges: NDArray[np.float32]  # [2, features], in the units of the file
    sizes: tuple[int, ...]


def train(args: argparse.Namespace) -> None:
    job = read_job(args)
    show_job(args, job)

    to_init, to_shuffle = jax.random.split(jax.random.key(args.seed))
    to_drop = jax.random.fold_in(jax.random.key(args.seed), 2) if args.dropout else None
    norm = None if args.norm == "none" else args.norm
    model = partial(jaxnet.mlp, activation=ACTIVATIONS[args.activation], dropout_rate=args.dropout)
    loss = jaxnet.softmax_cross_entropy
    if args.class_weights == "balanced":
        weights = jaxnet.metrics.balanced_class_weights(job.data.train[1], job.sizes[-1])
        loss = jaxnet.class_weighted(weights, loss)
    if args.gradients == "auto":
        model, loss = jaxnet.auto(model), jaxnet.auto(loss)
    params = jaxnet.init_mlp(to_init, job.sizes, options.INITIALIZERS[args.init], norm=norm)
    results.require_room(args.out, results.size_of(params, args.epochs))
    params, history = jaxnet.fit(
        model,
        params,
        train=job.data.train,
        test=job.data.test,
        epochs=args.epochs,
        batch_size=args.batch_size,
        optimizer=make_optimizer(args, len(job.data.train[0])),
        loss=loss,
        key=to_shuffle if args.shuffle else None,
        model_key=to_drop,
    )
    with results.finished_first():
        of_test = by_class(job.data, model(params, job.data.test[0]))
        results.write_results(args, make_network(args, job, params), history, of_test)
        show_end(args, history, of_test["always"])


def read_job(args: argparse.Namespace) -> Job:
    """The data, scaled if they are to be; what args leave open of that is decided in place."""
    data = jaxnet.datasets.load(args.data, args.target, seed=args.seed)
    ranges = np.stack([data.train[0].min(axis=0), data.train[0].max(axis=0)])
    for name in ("standardize", "shuffle"):  # the report did neither
        if getattr(args, name) is None:
            setattr(args, name, not args.data.is_dir())
    if args.standardize:
        data = jaxnet.datasets.standardize(data)
    return Job(data, ranges, (len(data.features), *args.hidden, len(data.classes)))


def make_optimizer(args: argparse.Namespace, rows: int) -> Any:
    steps = args.epochs * math.ceil(rows / max(args.batch_size, 1))
    rate = options.SCHEDULES[args.schedule](args.rate, max(steps, 1))
    return options.OPTIMIZERS[args.optimizer](rate)


def make_network(args: argparse.Namespace, job: Job, params: Any) -> jaxnet.Network:
    data, activation = job.data, ACTIVATIONS[args.activation]
    return jaxnet.Network(
        params, data.features, data.classes, activation, data.scaling, job.ranges, args.target
    )


def show_job(args: argparse.Namespace, job: Job) -> None:
    data = job.data
    print(f"{args.data}: {len(data.train[0])} rows to train on, {len(data.test[0])} to test on")
    scaled = ", standardised" if args.standardize else ""
    print(f"{len(data.features)} features{scaled}; classes {', '.join(data.classes)}")
    norm = "" if args.norm == "none" else f", {args.norm} norm"
    dropout = f", dropout {args.dropout:g}" if args.dropout else ""
    print(
        f"network {'-'.join(map(str, job.sizes))}, {args.activation}{norm}{dropout}, "
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


def main() -> None:
    args = options.parse(__doc__)
    compilation_cache.use(args.compilation_cache)
    try:
        train(args) if args.predict is None else predict(args)
    except (ValueError, TypeError, OSError, RuntimeError, jaxnet.NonFiniteLoss) as error:
        sys.exit(f"train.py: {error}")


if __name__ == "__main__":
    main()
