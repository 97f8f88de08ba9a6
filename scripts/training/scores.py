"""What is measured of a task: of classes accuracy, of numbers R² and the error in their unit."""

import math
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, NamedTuple

import jax
import numpy as np
from common.by_class import by_class
from numpy.typing import NDArray

from jaxnet.datasets import Dataset
from jaxnet.metrics import is_right, mean_absolute_error, r2, root_mean_squared_error
from jaxnet.rules import huber, mean_squared_error


def in_digits(value: float) -> str:
    """Four of them, and no exponent, which a price, say, is not read with."""
    return np.format_float_positional(value, 4, unique=False, fractional=False, trim="-")


def or_none(value: float) -> float | None:
    """None for what cannot be counted, such as R² of one row: JSON has no NaN."""
    return None if math.isnan(value) else float(value)


class Score(NamedTuple):
    name: str  # as a History and metrics.json have it
    title: str
    form: Callable[[float], str]

    def text(self, value: float | None) -> str:
        return "-" if value is None or math.isnan(value) else self.form(value)


LOSS = Score("loss", "loss", "{:.4f}".format)
OF_CLASSES = (Score("accuracy", "accuracy", "{:.2%}".format),)
OF_NUMBERS = (
    Score("r2", "R²", "{:.4f}".format),
    Score("mean_absolute_error", "error", in_digits),
)


def mean_huber(outputs: jax.Array, y: jax.Array) -> jax.Array:
    return huber(outputs, y).mean(-1)


LOSSES = {"squared": mean_squared_error, "huber": mean_huber}


def is_regression(data: Dataset) -> bool:
    return not data.classes


def scores_of(data: Dataset) -> tuple[Score, ...]:
    """The first is what runs are compared by."""
    return OF_NUMBERS if is_regression(data) else OF_CLASSES


def metrics_of(data: Dataset) -> Mapping[str, Callable[..., jax.Array]]:
    """What fit is to measure."""
    if not is_regression(data):
        return {"accuracy": is_right}
    error = partial(error_in_units, unit=float(unit_of(data)))
    return {"r2": r2, "mean_absolute_error": error}


def error_in_units(outputs: jax.Array, y: jax.Array, unit: float) -> jax.Array:
    return unit * mean_absolute_error(outputs, y)


def unit_of(data: Dataset) -> float:
    """What a target of 1 is in the file."""
    return 1.0 if data.target_scaling is None else data.target_scaling.scale[0]


def in_units(data: Dataset, y: NDArray[Any]) -> NDArray[np.float64]:
    """Targets as they are in the file, [rows]."""
    y = y[:, 0].astype(np.float64)
    if data.target_scaling is None:
        return y
    return y * data.target_scaling.scale[0] + data.target_scaling.mean[0]


def of_test(data: Dataset, outputs: jax.Array) -> dict[str, Any]:
    """More of the test set, as JSON holds it, and what always the same prediction comes to."""
    if not is_regression(data):
        return by_class(data, outputs)
    y = data.test[1]
    mean = np.full_like(y, data.train[1].mean(dtype=np.float64))
    always = {"prediction": float(in_units(data, mean)[0])}
    return of_numbers(data, np.asarray(outputs), y) | {"always": always | of_numbers(data, mean, y)}


def of_numbers(
    data: Dataset, outputs: NDArray[Any], y: NDArray[np.float32]
) -> dict[str, float | None]:
    unit = float(unit_of(data))
    share, absolute, squared = map(float, _measured(outputs, y))
    return {
        "r2": or_none(share),
        "mean_absolute_error": unit * absolute,
        "root_mean_squared_error": unit * squared,
    }


@jax.jit  # one program, which is kept for the next process
def _measured(outputs: jax.Array, y: jax.Array) -> tuple[jax.Array, ...]:
    return r2(outputs, y), mean_absolute_error(outputs, y), root_mean_squared_error(outputs, y)


def target_in_words(data: Dataset) -> str:
    if is_regression(data):
        y = in_units(data, data.train[1])
        least, most = map(in_digits, (y.min(), y.max()))
        return f"a number from {least} to {most}; error is the mean absolute one"
    return f"classes {', '.join(data.classes)}"


def always_in_words(data: Dataset, always: Mapping[str, Any], reached: float) -> str:
    """reached: what the network comes to on the test set, in the first of its scores."""
    score = scores_of(data)[0]
    level = always[score.name]
    below = ": the network has learnt no more than that"
    if level is None or reached > level:
        below = ""
    if not is_regression(data):
        return f"always {always['class']}: {level:.2%} of the test rows{below}"
    mean, error = in_digits(always["prediction"]), in_digits(always["mean_absolute_error"])
    return f"always {mean}, the mean: R² {score.text(level)}, error {error}{below}"
