"""linear_softmax_cross_entropy."""

import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

import jaxnet
from catalogue._cross_entropy import cross_entropy_truth, textbook_cross_entropy
from catalogue.entry import Args, Case, Draw, Entry, Measure, affine, changed, normal32

CLASSES = 32768  # of the benchmark


def textbook(
    x: Any,
    weight: Any,
    bias: Any,
    labels: Any,
    *,
    reduction: str | None = "mean",
    chunk: int | None = None,
    label_smoothing: float = 0.0,
    z_loss: float = 0.0,
    soft_cap: float | None = None,
    ignored_label: int | None = None,
) -> Any:
    """The logits whole, and every option as it is usually written."""
    z = jnp.einsum("...k,ik->...i", x, weight) + bias
    z = z if soft_cap is None else soft_cap * jnp.tanh(z / soft_cap)
    classes = z.shape[-1]
    y = (1 - label_smoothing) * jax.nn.one_hot(labels, classes) + label_smoothing / classes
    losses = textbook_cross_entropy(z, y) + z_loss * jax.nn.logsumexp(z, axis=-1) ** 2
    counts = jnp.broadcast_to(labels != ignored_label, labels.shape)
    losses = jnp.where(counts, losses, 0)
    if reduction is None:
        return losses
    return losses.sum() / (jnp.maximum(1, counts.sum()) if reduction == "mean" else 1)


def usual(x: Any, weight: Any, bias: Any, labels: Any) -> Any:
    """As it is usually written, of integers alone: timed, for it makes no one-hot rows."""
    logits = x @ weight.T + bias
    return optax.softmax_cross_entropy_with_integer_labels(logits, labels).mean()


def truth(c: Any, x: Any, weight: Any, bias: Any, y: Any) -> Args:
    (dz,) = cross_entropy_truth(c / len(y) * np.ones(len(y)), x @ weight.T + bias, y)
    return dz @ weight, dz.T @ x, dz.sum(0)


def classifier(rows: tuple[int, ...], fan_in: int, classes: int) -> Draw:
    """x, weight, bias and labels."""
    return lambda rng: (*affine(rows, fan_in, classes)(rng), rng.integers(0, classes, rows))


def sure_classifier(rng: np.random.Generator) -> Args:
    x, *others = classifier((6,), 5, 4)(rng)
    return 20 * x, *others


def large_vocabulary(rng: np.random.Generator, rows: int, columns: int) -> Args:
    weight = normal32(rng, CLASSES, columns) / np.float32(math.sqrt(columns))
    return weight, normal32(rng, CLASSES), rng.integers(0, CLASSES, rows).astype(np.int32)


def margins(rng: np.random.Generator) -> list[Args]:
    """One row of logits, in which one is above the others by 1 to 80."""
    one = np.eye(5, dtype=np.float32)
    return [
        (margin * one[2:3], one, normal32(rng, 5) / 4, np.array([y], np.int32))
        for margin in (1, 5, 10, 17, 25, 40, 80)
        for y in (2, 0)
    ]


EVERY_OPTION = {
    "chunk": 3,
    "label_smoothing": 0.1,
    "z_loss": 0.01,
    "soft_cap": 2.0,
    "ignored_label": 1,
}

LINEAR_SOFTMAX_CROSS_ENTROPY = Entry(
    jaxnet.rules.linear_softmax_cross_entropy,
    textbook,
    cases=(
        Case(
            {
                "matrix": classifier((7,), 5, 4),  # in chunks of three: the last one reaches back
                "two leading dimensions": classifier((2, 3), 3, 4),
                "one class, no leading dimension": classifier((), 2, 1),
                "empty batch": classifier((0,), 3, 2),
            },
            (EVERY_OPTION,),
        ),
        Case(
            {
                "large": classifier((130,), 17, 40),
                "sure": sure_classifier,
                "masked": lambda rng: (
                    rng.normal(size=(3, 2)),
                    rng.normal(size=(4, 2)),
                    np.array([0.5, -np.inf, 1.0, -np.inf]),
                    np.array([0, 2, 2]),
                ),
                "no inputs": classifier((4,), 0, 3),
            },
        ),
        Case(
            {
                "matrix, a loss a row": classifier((7,), 5, 4),
                "no leading dimension": classifier((), 3, 3),
            },
            (EVERY_OPTION | {"reduction": None},),
        ),
    ),
    measures=(
        Measure(
            text=usual,
            rest=large_vocabulary,
            points=margins,
            truth=truth,
            timed=(2048, 256),
            reason="each of its chunks reads and writes the sum that is W's gradient",
        ),
    ),
)
right = LINEAR_SOFTMAX_CROSS_ENTROPY.rule.halves


def plant(
    name: str, change: Callable[..., Any] = lambda gradients, x, labels: gradients, **forgotten: Any
) -> None:
    """Gradients made without these options, or changed; the value stays right.

    change: (gradients that the forward keeps of a mean or a sum, x, labels) -> wrong ones.
    """

    def forward(x: Any, weight: Any, bias: Any, labels: Any, **options: Any) -> tuple[Any, Any]:
        value, kept = right.forward(x, weight, bias, labels, **options)
        if options["reduction"] is None:  # then the arguments are kept
            return value, kept
        _, kept = right.forward(x, weight, bias, labels, **{**options, **forgotten})
        return value, change(kept, x, labels)

    LINEAR_SOFTMAX_CROSS_ENTROPY.fault(name, forward=forward)


def add_label_rows(gradients: Any, x: Any, labels: Any) -> Any:
    """Each row of x added to the weight's row that its label names: 1 - p_y without the 1."""
    rows = x.reshape(-1, x.shape[-1])
    return gradients._replace(dweight=gradients.dweight.at[labels.reshape(-1)].add(rows))


plant("soft cap in the value only", soft_cap=None)
plant("label smoothing in the value only", label_smoothing=0.0)
plant("z-loss in the value only", z_loss=0.0)
plant("ignored rows have a gradient", ignored_label=None)
plant(
    "the mean counts ignored rows",
    lambda r, x, labels: r._replace(share=1 / max(1, labels.size)),
)
plant(
    "the gradient of the sum for the mean",
    lambda r, x, labels: r._replace(share=jnp.ones_like(r.share)),
)
plant(
    "dx of the last row missing",
    lambda r, x, labels: r._replace(dx=r.dx.at[-1:].set(0)) if x.ndim > 1 else r,
)
plant("dweight without the label", add_label_rows)
plant("dbias is zero", lambda r, x, labels: r._replace(dbias=0 * r.dbias))
plant(
    "dweight in float32 whatever the weight",
    lambda r, x, labels: r._replace(dtypes=changed(r.dtypes, {0: jnp.float32(0)})),
)
LINEAR_SOFTMAX_CROSS_ENTROPY.fault(
    "takes the cotangent for 1, which it is in jax.grad",
    backward=lambda r, dloss, **options: right.backward(r, jnp.ones_like(dloss), **options),
)
