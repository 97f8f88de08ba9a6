"""How far a run of a sweep is from the same run alone, epoch by epoch.

On a processor runs are trained one after another, on an accelerator all at once, by `jax.vmap`,
whose products may add up in another order. Both are done here.
"""

import argparse
import json
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import jax
import numpy as np
import optax
from common.files import write_json
from common.job import BATCH_SIZE, TWIN, WIDTH
from numpy.typing import NDArray

import jaxnet
from benchmarks.environment import environment
from jaxnet import _training_program, plotting

RATES = (0.003, 0.01, 0.03, 0.1)
OPTIMIZERS = {"SGD": optax.sgd, "Adam": optax.adam}
SHOWN = (1, 10, 100)  # epochs


def run(options: argparse.Namespace) -> None:
    data = jaxnet.datasets.load(TWIN)
    found = {
        f"{name}, {how}": differences(data, make, together, options.epochs).tolist()
        for name, make in OPTIMIZERS.items()
        for how, together in (("one after another", False), ("all at once", True))
    }
    print(f"largest relative difference of a training loss, {len(RATES)} rates")
    epochs = [epoch for epoch in SHOWN if epoch <= options.epochs]
    print(f"{'after epoch':26}" + "".join(f"{epoch:>10}" for epoch in epochs))
    for name, values in found.items():
        print(f"{name:26}" + "".join(f"{values[epoch - 1]:10.1e}" for epoch in epochs))
    print(json.dumps(environment()))
    if options.json:
        write_json(options.json, {"differences": found, "environment": environment()})
    if options.plot:
        options.plot.write_bytes(plotting.png(draw(found)))


def differences(
    data: jaxnet.datasets.Dataset, make: Any, together: bool, epochs: int
) -> NDArray[Any]:
    """The largest of all rates, [epochs], never less than before."""
    sizes = len(data.features), WIDTH, len(data.classes)
    keys = jax.random.split(jax.random.key(0), len(RATES))
    params = jax.vmap(lambda key: jaxnet.init_mlp(key, sizes))(keys)
    options = {"train": data.train, "epochs": epochs, "batch_size": BATCH_SIZE, "progress": False}
    of_sweep = {"runs": len(RATES), "settings": {"learning_rate": RATES}}
    with trained(together):
        # A new function, for the program of the same one would not be looked at again.
        _, sweep = jaxnet.fit(partial(jaxnet.mlp), params, optimizer=make, **of_sweep, **options)
    largest = np.zeros(epochs)
    for i, rate in enumerate(RATES):
        own = jax.tree.map(lambda leaf, i=i: leaf[i], params)
        _, alone = jaxnet.fit(jaxnet.mlp, own, optimizer=make(rate), **options)
        largest = np.maximum(largest, np.abs(sweep.train_loss[i] / alone.train_loss - 1))
    return np.maximum.accumulate(largest)


@contextmanager
def trained(together: bool) -> Iterator[None]:
    before = _training_program.one_by_one
    _training_program.one_by_one = lambda: not together
    try:
        yield
    finally:
        _training_program.one_by_one = before


def draw(found: dict[str, list[float]]) -> Any:
    figure = plotting.new_figure(6.4, 3.6)
    axes = figure.subplots()
    colors = (plotting.OKABE_ITO[name] for name in ("blue", "blue", "vermillion", "vermillion"))
    for (name, values), color in zip(found.items(), colors, strict=True):
        shown = [value if value > 0 else np.nan for value in values]
        label = name if any(values) else f"{name}: the same bits"
        style = "-" if any(values) else (0, (1, 2))
        axes.plot(range(1, len(values) + 1), shown, color=color, linestyle=style, label=label)
    eps = np.finfo(np.float32).eps
    axes.axhline(eps, color="0.4", linewidth=0.8, linestyle=":")
    text = {"color": "0.4", "fontsize": 8, "ha": "right", "va": "top"}
    axes.text(len(values), 0.9 * eps, "eps of float32", **text)
    axes.set_yscale("log")
    axes.set_ylim(eps / 2, None)
    axes.set_ylabel("relative difference of the training loss")
    plotting.tidy(axes)
    axes.legend(frameon=False)
    return figure
