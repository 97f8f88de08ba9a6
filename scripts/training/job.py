"""The job: the data, the network, and a call of jaxnet.fit."""

import argparse
import math
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import numpy as np
from numpy.typing import NDArray

import jaxnet
from jaxnet.datasets import Dataset, load, look, standardize
from jaxnet.networks import ACTIVATIONS
from training.options import INITIALIZERS, OF_COLUMNS, OPTIMIZERS, SCHEDULES, is_sweep
from training.results import making_room, size_of
from training.scores import LOSSES, is_regression, metrics_of


class Job(NamedTuple):
    data: Dataset
    ranges: NDArray[np.float32]  # [2, features], in the units of the file
    sizes: tuple[int, ...]
    remarks: list[str]  # what the data may be other than a person thinks


class Run(NamedTuple):
    """The rate and the seed of a run."""

    rate: float
    seed: int


def read_job(args: argparse.Namespace) -> Job:
    """The data, scaled if they are to be; what args leave open of that is decided in place."""
    columns = {name: getattr(args, name) for name in OF_COLUMNS}
    data = load(
        args.data,
        args.target,
        task=args.task,
        validation_fraction=args.validation,
        seed=args.seed,
        **columns,
    )
    require_task(args, data)
    remarks = look(data)
    ranges = np.stack([data.train[0].min(axis=0), data.train[0].max(axis=0)])
    for name in ("standardize", "shuffle"):  # the report did neither
        if getattr(args, name) is None:
            setattr(args, name, not args.data.is_dir())
    if args.standardize:
        data = standardize(data)
    sizes = (len(data.features), *args.hidden, len(data.classes) or 1)
    return Job(data, ranges, sizes, remarks)


def require_task(args: argparse.Namespace, data: Dataset) -> None:
    """Raise where an option is for the other task."""
    if args.loss is not None and not is_regression(data):
        raise ValueError(f"--loss {args.loss}: for numbers, the target has classes; leave it out")
    if args.class_weights != "none" and is_regression(data):
        raise ValueError("--class-weights: for classes, the target is a number; leave it out")


def runs_of(args: argparse.Namespace) -> list[Run]:
    """Every rate with every seed."""
    seeds = range(args.seed, args.seed + args.runs)
    return [Run(rate, seed) for rate in args.rates or [args.rate] for seed in seeds]


def model_of(args: argparse.Namespace) -> Callable[..., jax.Array]:
    model = partial(jaxnet.mlp, activation=ACTIVATIONS[args.activation], dropout_rate=args.dropout)
    return jaxnet.auto(model) if args.gradients == "auto" else model


def loss_of(args: argparse.Namespace, job: Job) -> Callable[..., jax.Array]:
    loss = jaxnet.softmax_cross_entropy
    if is_regression(job.data):
        loss = LOSSES[args.loss or "squared"]
    if args.class_weights == "balanced":
        weights = jaxnet.metrics.balanced_class_weights(job.data.train[1], job.sizes[-1])
        loss = jaxnet.class_weighted(weights, loss)
    return jaxnet.auto(loss) if args.gradients == "auto" else loss


def optimizer_of(args: argparse.Namespace, job: Job) -> Callable[[Any], Any]:
    """learning_rate -> an optimizer of optax."""
    steps = args.epochs * math.ceil(len(job.data.train[0]) / max(args.batch_size, 1))

    def optimizer(learning_rate: Any) -> Any:
        return OPTIMIZERS[args.optimizer](SCHEDULES[args.schedule](learning_rate, max(steps, 1)))

    return optimizer


def start_of(args: argparse.Namespace, sizes: tuple[int, ...], seed: Any) -> tuple[Any, ...]:
    """The parameters that a run starts with, and the keys of its order and its dropout."""
    to_init, to_shuffle = jax.random.split(jax.random.key(seed))
    to_drop = jax.random.fold_in(jax.random.key(seed), 2) if args.dropout else None
    norm = None if args.norm == "none" else args.norm
    params = jaxnet.init_mlp(to_init, sizes, INITIALIZERS[args.init], norm=norm)
    return params, to_shuffle if args.shuffle else None, to_drop


def fit(args: argparse.Namespace, job: Job) -> tuple[Any, jaxnet.History]:
    """Train one run, or those of a sweep with a leading axis each; Ctrl-C and SIGTERM save it."""
    optimizer, several = optimizer_of(args, job), {}
    if is_sweep(args):
        runs = runs_of(args)
        rates = np.array([run.rate for run in runs])
        several = {"runs": len(runs), "settings": {"learning_rate": rates}}
        starts = [start_of(args, job.sizes, run.seed) for run in runs]
        start = jax.tree.map(lambda *leaves: jax.numpy.stack(leaves), *starts)
    else:
        start = start_of(args, job.sizes, args.seed)
        optimizer = optimizer(args.rate)
    params, key, model_key = start
    with making_room(args.out, size_of(params, args.epochs)):
        return jaxnet.fit(
            model_of(args),
            params,
            train=job.data.train,
            validation=job.data.validation,
            test=job.data.test,
            epochs=args.epochs,
            batch_size=args.batch_size,
            optimizer=optimizer,
            loss=loss_of(args, job),
            metrics=metrics_of(job.data),
            key=key,
            model_key=model_key,
            patience=args.patience,
            checkpoint=args.out if args.checkpoint else None,
            **several,
        )


def network_of(args: argparse.Namespace, job: Job, params: Any) -> jaxnet.Network:
    data, activation = job.data, ACTIVATIONS[args.activation]
    return jaxnet.Network(
        params,
        data.features,
        data.classes,
        activation,
        data.scaling,
        job.ranges,
        data.target,
        data.columns,
        data.target_scaling,
    )
