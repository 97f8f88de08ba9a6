"""One row per rule: arguments at which its tests run. A rule without a row fails test_every_rule_has_a_row."""

from dataclasses import dataclass
from functools import partial
from typing import Any

import jax.nn
import jax.numpy as jnp
import numpy as np

import jaxnet


@dataclass(frozen=True)
class Case:
    rule: Any
    points: dict[str, tuple[Any, ...]]  # name -> positional arguments, floating ones in float64
    textbook: Any  # the same function as it stands in a textbook, for the values
    options: tuple[dict[str, Any], ...] = ({},)

    def functions(self):
        return [partial(self.rule, **options) if options else self.rule for options in self.options]


rng = np.random.default_rng(0)


def normal(*shape):
    return rng.normal(size=shape)


def affine(rows, fan_in, fan_out):
    return normal(*rows, fan_in), normal(fan_out, fan_in), normal(fan_out)


def distributions(*shape):
    weights = rng.exponential(size=shape)
    return weights / weights.sum(axis=-1, keepdims=True)


def textbook_cross_entropy(logits, labels):
    log_p = jax.nn.log_softmax(logits, axis=-1)
    y = labels if jnp.issubdtype(labels.dtype, jnp.floating) else jax.nn.one_hot(labels, logits.shape[-1])
    return -jnp.sum(jnp.where(y == 0, 0, y * log_p), axis=-1)


CASES = [
    Case(
        jaxnet.linear,
        {
            "matrix": affine((6,), 5, 4),
            "square": affine((4,), 4, 4),
            "one row": affine((1,), 3, 2),
            "no leading dimension": affine((), 3, 2),
            "three leading dimensions": affine((2, 3, 5), 7, 3),
            "one by one": affine((1,), 1, 1),
            "empty batch": affine((0,), 3, 2),
            "no inputs": affine((2,), 0, 3),
            "large": affine((300,), 67, 31),
            "many rows": affine((4096,), 7, 5),  # where a sum in the working dtype would drift
        },
        lambda x, weight, bias: jnp.einsum("...k,ik->...i", x, weight) + bias,
    ),
    Case(
        jaxnet.relu,
        {
            "matrix": (normal(5, 7),),
            "scalar": (normal(),),
            "at and beside the kink": (np.array([-1.0, -0.0, 0.0, 1.0, 1e-300, -1e-300]),),
            "empty": (normal(0, 3),),
            "large": (1e3 * normal(100, 90),),
        },
        lambda x, slope_at_zero=0.0: jax.nn.relu(x),
        ({}, {"slope_at_zero": 1.0}, {"slope_at_zero": 0.5}),
    ),
    Case(
        jaxnet.softmax,
        {
            "matrix": (normal(5, 7),),
            "vector": (normal(4),),
            "three dimensions": (normal(2, 3, 5),),
            "one class": (normal(3, 1),),
            "two classes": (normal(3, 2),),
            "ties": (np.zeros((2, 4)),),
            "masked": (np.array([[0.5, -np.inf, 1.0], [-np.inf, 2.0, -np.inf]]),),
            "empty batch": (normal(0, 3),),
            "many classes": (normal(3, 1000),),
        },
        jax.nn.softmax,
    ),
    Case(
        jaxnet.softmax_cross_entropy,
        {
            "integers": (normal(6, 5), np.array([0, 4, 2, 2, 1, 3])),
            "two classes": (normal(4, 2), np.array([0, 1, 1, 0])),
            "one class": (normal(3, 1), np.array([0, 0, 0])),
            "distributions": (normal(6, 5), distributions(6, 5)),
            "one-hot": (normal(3, 4), np.eye(4)[[1, 3, 0]]),
            "not summing to one": (normal(4, 3), 3 * distributions(4, 3)),
            "no leading dimension": (normal(5), np.array(3)),
            "two leading dimensions": (normal(2, 3, 4), rng.integers(0, 4, (2, 3))),
            "ties": (np.zeros((3, 4)), np.array([0, 1, 3])),
            "masked": (np.array([[0.5, -np.inf, 1.0], [-np.inf, 2.0, -np.inf]]), np.array([2, 1])),
            "empty batch": (normal(0, 3), np.zeros(0, int)),
            "many classes": (normal(3, 1000), np.array([0, 999, 500])),
        },
        textbook_cross_entropy,
    ),
]
