"""softmax and log_softmax."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import jaxnet
from catalogue.entry import ROWWISE, Args, Case, Entry, Measure, changed, given, normal32, normals


def textbook_softmax(logits: Any, where: Any = None, *, axis: int = -1) -> Any:
    """exp over its sum, as it is defined: it overflows, and a row that is hidden whole is 0."""
    e = jnp.exp(logits) if where is None else jnp.where(where, jnp.exp(logits), 0)
    total = e.sum(axis, keepdims=True)
    return jnp.where(total == 0, 0, e / total)


def textbook_log_softmax(logits: Any, where: Any = None, *, axis: int = -1) -> Any:
    return jnp.log(textbook_softmax(logits, where, axis=axis))


# True gradients in float64: sums of products of probabilities and differences of cotangents, in
# which no term cancels where a row is sure.


def probabilities(z: Any) -> Any:
    e = np.exp(z - z.max(**ROWWISE))
    return e / e.sum(**ROWWISE)


def softmax_truth(c: Any, z: Any) -> Args:
    p = probabilities(z)
    return (p * ((c[..., :, None] - c[..., None, :]) * p[..., None, :]).sum(-1),)


def log_softmax_truth(c: Any, z: Any) -> Args:
    others = ~np.eye(z.shape[-1], dtype=bool)
    p = probabilities(z)
    return (c * (p[..., None, :] * others).sum(-1) - p * (c[..., None, :] * others).sum(-1),)


ROWS = {
    "matrix": normals((5, 7)),
    "where": lambda rng: (rng.normal(size=(5, 7)), rng.random((5, 7)) < 0.6),
    "rows and columns hidden": lambda rng: (
        rng.normal(size=(2, 3)),
        np.array([[True, False, True], [False] * 3]),
    ),
    "one mask for all rows": lambda rng: (
        rng.normal(size=(2, 3, 4)),
        np.array([[[True, False, True, True]]]),
    ),
    "three dimensions": normals((2, 3, 5)),
    "one class": normals((3, 1)),
    "two classes": normals((3, 2)),
    "ties": given(np.zeros((2, 4))),
    "sure": given(np.array([[40.0, 0.0, 1.0], [0.0, 17.0, 0.5], [1.0, 1.0, 8.0]])),
    "masked": given(np.array([[0.5, -np.inf, 1.0], [-np.inf, 2.0, -np.inf]])),
    "empty batch": normals((0, 3)),
    "many classes": normals((3, 1000)),
}
COLUMNS = {
    "columns": normals((5, 7)),
    "columns, where": lambda rng: (rng.normal(size=(5, 3)), rng.random((5, 3)) < 0.6),
    "vector": normals((4,)),
    "columns of three dimensions": normals((2, 3, 5)),
    "no column": normals((3, 0)),
}
CASES = (Case(ROWS), Case(COLUMNS, ({"axis": 0},)))


def margins(rng: np.random.Generator) -> list[Args]:
    """Rows of five in which one entry, the third, is above the others by 0 to 80."""
    rows = []
    for margin in (0, 1, 5, 10, 17, 25, 40, 80):
        z = normal32(rng, 5) / 4
        z[2] = z.max() + margin
        rows.append((z,))
    return rows


TWICE = "the second projection of its backward is one more pass"

SOFTMAX = Entry(
    jaxnet.softmax,
    textbook_softmax,
    cases=CASES,
    # Timed beside the one of jax.nn, which is what people use: it does not overflow.
    measures=(Measure(text=jax.nn.softmax, points=margins, truth=softmax_truth, reason=TWICE),),
)
SOFTMAX.fault("without the sum", backward=lambda p, dp, *, axis: (p * dp, None))
SOFTMAX.fault(
    "diagonal of the Jacobian only", backward=lambda p, dp, *, axis: (p * (1 - p) * dp, None)
)
SOFTMAX.fault(
    "sum over the wrong axis",
    backward=lambda p, dp, *, axis: (p * (dp - jnp.sum(dp * p, axis=0, keepdims=True)), None),
)
SOFTMAX.fault(
    "the mean for the sum",
    backward=lambda p, dp, *, axis: (p * (dp - jnp.mean(dp * p, **ROWWISE)), None),
)
SOFTMAX.fault(
    "not scaled by p",
    backward=lambda p, dp, *, axis: (dp - jnp.sum(dp * p, **ROWWISE), None),
)

LOG_SOFTMAX = Entry(
    jaxnet.rules.log_softmax,
    textbook_log_softmax,
    cases=CASES,
    measures=(
        Measure(
            text=jax.nn.log_softmax,
            points=margins,
            truth=log_softmax_truth,
            # of a loss whose label is the entry above the others
            cotangent=lambda shape: -np.eye(*shape[-1:])[2],
            reason=TWICE,
        ),
    ),
)


def without_hidden(r: Any) -> Any:
    """The residuals of a call without where."""
    return changed(r, {1: None})


LOG_SOFTMAX.fault(
    "the backward of softmax",
    backward=lambda r, dy, **options: SOFTMAX.rule.halves.backward(jnp.exp(r[0]), dy, **options),
)
LOG_SOFTMAX.fault(
    "p weighted with the cotangent",
    backward=lambda r, dy, *, axis: (dy - jnp.sum(jnp.exp(r[0]) * dy, **ROWWISE), None),
)
LOG_SOFTMAX.fault(
    "the output for its exponential",
    backward=lambda r, dy, *, axis: (
        dy - jnp.where(jnp.isinf(r[0]), 0, r[0]) * jnp.sum(dy, **ROWWISE),
        None,
    ),
)
LOG_SOFTMAX.fault(
    "hidden entries pass their cotangents on",
    backward=lambda r, dy, **options: LOG_SOFTMAX.rule.halves.backward(
        without_hidden(r), dy, **options
    ),
)
