"""What is measured beside the loss; nothing here is differentiated.

Each takes (outputs, y) as `metrics=` of `fit` and `evaluate` does, may be compiled, and is exact
over all the rows that it is given. The definitions are scikit-learn's. Labels are integers, or
floating distributions, whose largest entry counts.

All but accuracy take a model of one logit z as well, [rows] or [rows, 1]: as one of the classes 0
and 1 with the logits (0, z), whose softmax is sigmoid(z).

What cannot be counted is never right. A row whose logits hold NaN has no predicted class. A label
that is none of the classes stands in no row of the confusion matrix, and makes NaN of a number.

Of predicted numbers there are R² and two errors, which take (predictions, targets) of one shape.
"""

from typing import Literal, cast

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from jax.nn import logsumexp
from numpy.typing import NDArray

from jaxnet._require import require_arrays, require_classes, require_floating, widened


def accuracy(logits: Array, labels: Array) -> Array:
    """The share of examples whose largest logit (the first of equals) is at the label.

    logits: [..., classes], floating.
    labels: [...], integer; or [..., classes], floating distributions, of which the largest entry
        counts.
    Returns [], float32, in [0, 1]; an example whose logits hold NaN counts as wrong; NaN for no
        examples.
    Raises as `softmax_cross_entropy` does: TypeError on integer logits and boolean labels,
        ValueError on shapes that do not fit.
    Source: the accuracy of docs/report.md, section 3 (getAccu in the course's code).

    >>> logits = jnp.array([[2.0, 1.0], [0.0, 3.0]])
    >>> print(jaxnet.accuracy(logits, jnp.array([0, 0])))
    0.5
    """
    require_classes("accuracy", logits, labels)
    return jnp.mean(is_right(logits, labels), dtype=jnp.float32)


def is_right(logits: Array, labels: Array) -> Array:
    """Which examples `accuracy` counts: what `fit` averages, as it needs no two of them at once.

    logits: [..., classes], floating.
    labels: [...], integer; or [..., classes], floating distributions.
    Returns [...], bool.

    >>> logits = jnp.array([[2.0, 1.0], [0.0, 3.0]])
    >>> print(jaxnet.metrics.is_right(logits, jnp.array([0, 0])))
    [ True False]
    """
    return _predicted(logits) == _truth(labels)


def confusion_matrix(logits: Array, labels: Array) -> Array:
    """How many examples of each class (row) are predicted as which (column).

    Predicted is the class of the largest logit, the first of equals. An example whose logits hold
    NaN, or whose label is none of the classes, is in no cell: the sum is then less than the number
    of examples.

    logits: [..., classes], floating; or [rows] or [rows, 1], of class 1 of two.
    labels: [...], integer; or as logits, floating distributions (the probability of class 1 where
        there is one logit, and class 1 above 0.5).
    Returns [classes, classes], integer, exact below 2^31 examples (a History holds floating
        numbers: float32 is exact to 2^24 in a cell).
    Raises TypeError on integer logits and boolean labels, ValueError on shapes that do not fit.
    Source: sklearn.metrics.confusion_matrix.

    >>> logits = jnp.array([[2.0, 1.0], [0.0, 3.0], [0.0, 1.0]])
    >>> print(jaxnet.metrics.confusion_matrix(logits, jnp.array([0, 0, 1])))
    [[1 1]
     [0 1]]
    """
    return _counts(*_rows("confusion_matrix", logits, labels))[:, :-1]


def f1(
    logits: Array,
    labels: Array,
    average: Literal["macro", "micro", "weighted"] | None = "macro",
) -> Array:
    """F1, 2 right / (there + predicted): the harmonic mean of precision and recall.

    logits: [..., classes], floating; or [rows] or [rows, 1], of class 1 of two.
    labels: [...], integer; or as logits, floating; see `confusion_matrix`.
    average: None gives one for each class, 0 where it is neither among the labels nor predicted.
        "macro" is the mean of these, without such classes; "weighted" that by the number of
        examples; "micro" adds up first, and is the accuracy where no logits hold NaN.
    Returns [], or [classes], floating, in [0, 1]. An example whose logits hold NaN is there and not
        found. NaN for no examples ([classes] of 0 for None), and where a label is no class.
    Raises as `confusion_matrix` does, and ValueError on another average.
    Source: sklearn.metrics.f1_score, with zero_division=0.

    >>> logits = jnp.array([[2.0, 1.0], [0.0, 3.0], [0.0, 1.0]])
    >>> print(jaxnet.metrics.f1(logits, jnp.array([0, 0, 1]), average=None))
    [0.6666667 0.6666667]
    """
    right, there, predicted = _right_there_predicted("f1", logits, labels)
    both = there + predicted
    of_class = 2 * right / jnp.where(both == 0, 1, both)
    if average is None:
        return of_class
    if average == "macro":
        return jnp.mean(of_class, where=both != 0)
    if average == "weighted":
        return jnp.sum(of_class * there) / jnp.sum(there)
    if average == "micro":
        return 2 * jnp.sum(right) / jnp.sum(both)
    raise ValueError(
        f"f1: average must be 'macro', 'micro', 'weighted' or None, got {average!r}; "
        f"that of a class c alone is f1(logits, labels, average=None)[c]"
    )


def balanced_accuracy(logits: Array, labels: Array) -> Array:
    """The mean over classes of the share of their examples that are predicted right (recall).

    Always one class gives 1 / classes, however many examples are of it. A class without examples
    is left out.

    logits: [..., classes], floating; or [rows] or [rows, 1], of class 1 of two.
    labels: [...], integer; or as logits, floating; see `confusion_matrix`.
    Returns [], floating, in [0, 1]. An example whose logits hold NaN counts as wrong. NaN for no
        examples, and where a label is no class.
    Raises as `confusion_matrix` does.
    Source: sklearn.metrics.balanced_accuracy_score.

    >>> always_0, labels = jnp.array([[1.0, 0.0]] * 4), jnp.array([0, 0, 0, 1])
    >>> print(jaxnet.accuracy(always_0, labels))
    0.75
    >>> print(jaxnet.metrics.balanced_accuracy(always_0, labels))
    0.5
    """
    right, there, _ = _right_there_predicted("balanced_accuracy", logits, labels)
    return jnp.mean(right / jnp.where(there == 0, 1, there), where=there != 0)


def auc(logits: Array, labels: Array) -> Array:
    """The area under the ROC curve: how often an example of a class is scored above another's.

    Of all pairs of an example of class 1 and one of class 0, the share in which that of class 1 has
    the larger z_1 - z_0; an equal pair counts half. Of more than two classes each is held against
    the rest by its probability (its log-odds, which does not round to that of 1 where the network
    is sure), and the areas are averaged.

    logits: [..., classes], floating; or [rows] or [rows, 1], of class 1 of two.
    labels: [...], integer; or as logits, floating; see `confusion_matrix`.
    Returns [], floating, in [0, 1]. The pairs are counted exactly below 2^31 examples, then divided
        in floating point. NaN where a class has no example or has all of them, as it has no pairs
        then; where logits hold NaN or inf (-inf masks a class); and where a label is no class.
    Raises as `confusion_matrix` does.
    Source: sklearn.metrics.roc_auc_score, with multi_class="ovr" for more than two classes.

    >>> logits, labels = jnp.array([-3.0, -2.0, -1.0, 0.5]), jnp.array([0, 1, 0, 1])
    >>> print(jaxnet.metrics.auc(logits, labels))  # 3 of 4 pairs
    0.75
    """
    return cast(Array, _mean_area(*_rows("auc", logits, labels)))


def r2(predictions: Array, targets: Array) -> Array:
    """R² = 1 - Σ (p - t)² / Σ (t - mean t)²: how much less than always their mean p errs, squared.

    1 is without error, 0 what always the mean of these targets gives; it may be below 0.

    predictions, targets: [rows] or [rows, outputs], alike in shape, floating.
    Returns [], floating, of several outputs the mean of their R². Of targets that are all equal it
        is 1 where there is no error, else 0. NaN for less than two rows, and where predictions hold
        NaN.
    Raises TypeError on integer arrays, ValueError on shapes that differ or are not so.
    Source: sklearn.metrics.r2_score.

    >>> predictions, targets = jnp.array([1.0, 2.0, 4.0]), jnp.array([1.0, 2.0, 3.0])
    >>> print(jaxnet.metrics.r2(predictions, targets))
    0.5
    """
    d, t = _errors("r2", predictions, targets)
    square, around = jnp.sum(d * d, axis=0), jnp.sum((t - jnp.mean(t, axis=0)) ** 2, axis=0)
    of_output = 1 - square / jnp.where(around == 0, 1, around)
    constant = jnp.where(square > 0, 0, 1 - square)  # 1, or NaN
    value = jnp.mean(jnp.where(around == 0, constant, of_output))
    return value if len(t) > 1 else jnp.full_like(value, jnp.nan)


def mean_absolute_error(predictions: Array, targets: Array) -> Array:
    """The mean of |p - t|, in the unit of the targets.

    predictions, targets: [rows] or [rows, outputs], alike in shape, floating.
    Returns [], floating; NaN for no rows.
    Raises as `r2` does.
    Source: sklearn.metrics.mean_absolute_error.

    >>> predictions, targets = jnp.array([1.0, 2.0, 4.0]), jnp.array([1.0, 2.0, 1.0])
    >>> print(jaxnet.metrics.mean_absolute_error(predictions, targets))
    1.0
    """
    d, _ = _errors("mean_absolute_error", predictions, targets)
    return jnp.mean(jnp.abs(d))


def root_mean_squared_error(predictions: Array, targets: Array) -> Array:
    """The root of the mean of (p - t)², in the unit of the targets.

    predictions, targets: [rows] or [rows, outputs], alike in shape, floating.
    Returns [], floating, of several outputs the mean of their roots; NaN for no rows.
    Raises as `r2` does.
    Source: sklearn.metrics.root_mean_squared_error.

    >>> predictions, targets = jnp.array([1.0, 2.0, 4.0, 3.0]), jnp.array([1.0, 2.0, 2.0, 3.0])
    >>> print(jaxnet.metrics.root_mean_squared_error(predictions, targets))
    1.0
    """
    d, _ = _errors("root_mean_squared_error", predictions, targets)
    return jnp.mean(jnp.sqrt(jnp.mean(d * d, axis=0)))


def balanced_class_weights(
    labels: NDArray[np.integer] | Array, classes: int
) -> NDArray[np.float64]:
    """What each class counts so that all count the same together: rows / (classes * its rows).

    For `class_weighted`. The mean of the weights over all the rows is 1.

    labels: [rows], integer, in 0 .. classes - 1; values, not traced.
    classes: how many there are.
    Returns [classes], float64, a NumPy array.
    Raises TypeError on labels that are not integers; ValueError where they are not [rows] or none
        of the classes, and where a class has no row.
    Source: class_weight="balanced" of scikit-learn.

    >>> print(jaxnet.metrics.balanced_class_weights(np.array([0, 0, 0, 1]), 2))
    [0.66666667 2.        ]
    """
    labels = np.asarray(labels)
    if not np.issubdtype(labels.dtype, np.integer):
        raise TypeError(
            f"balanced_class_weights: labels must be integers, got dtype {labels.dtype}"
        )
    if labels.ndim != 1:
        raise ValueError(
            f"balanced_class_weights: labels must have shape [rows], got {labels.shape}"
        )
    if (bad := labels[(labels < 0) | (labels >= classes)]).size:
        raise ValueError(
            f"balanced_class_weights: labels must be in 0 .. {classes - 1} for {classes} classes, "
            f"got {bad[0]}"
        )
    counts = np.bincount(labels, minlength=classes)
    if not counts.all():
        raise ValueError(
            f"balanced_class_weights: no row has label {counts.argmin()}, so that no weight can "
            f"balance it; number the classes without it, or choose the weights yourself"
        )
    return len(labels) / (classes * counts)


def _errors(function: str, predictions: Array, targets: Array) -> tuple[Array, Array]:
    """p - t and t, [rows, outputs], in float32 at least."""
    require_floating(function, predictions=predictions, targets=targets)
    if predictions.shape != targets.shape or predictions.ndim not in (1, 2):
        raise ValueError(
            f"{function}: predictions and targets must have the same shape, [rows] or "
            f"[rows, outputs], got {predictions.shape} and {targets.shape}"
        )
    p, t = widened(predictions), widened(targets)
    if t.ndim == 1:
        p, t = p[:, None], t[:, None]
    return p - t, t


def _rows(function: str, logits: Array, labels: Array) -> tuple[Array, Array]:
    """Logits [rows, classes] of two classes or more, and the numbers of the true ones [rows]."""
    require_floating(function, logits=logits)
    require_arrays(function, labels=labels)
    if logits.ndim == 1 or logits.shape[-1:] == (1,):
        logits, labels = _two_logits(function, logits, labels)
    require_classes(function, logits, labels)
    return logits.reshape(-1, logits.shape[-1]), _truth(labels).reshape(-1)


def _two_logits(function: str, logits: Array, labels: Array) -> tuple[Array, Array]:
    """Of classes 0 and 1, for the one of class 1; distributions over both."""
    z = logits if logits.ndim == 1 else logits[..., 0]
    if labels.shape not in (z.shape, logits.shape):
        raise ValueError(
            f"{function}: for one logit per example, shape {logits.shape}, labels must have shape "
            f"{z.shape}, got {labels.shape}"
        )
    y = labels.reshape(z.shape)
    if jnp.issubdtype(y.dtype, jnp.floating):
        y = jnp.stack([1 - y, y], axis=-1)
    return jnp.stack([jnp.zeros_like(z), z], axis=-1), y


def _truth(labels: Array) -> Array:
    """[...], the number of the class; -1 for a distribution that holds NaN."""
    if not jnp.issubdtype(labels.dtype, jnp.floating):
        return labels
    return jnp.where(jnp.any(jnp.isnan(labels), axis=-1), -1, jnp.argmax(labels, axis=-1))


def _predicted(logits: Array) -> Array:
    """[...], the number of the class; one too many for logits that hold NaN."""
    # argmax takes NaN for the largest: such an example must not be right by luck.
    holds_nan = jnp.any(jnp.isnan(logits), axis=-1)
    return jnp.where(holds_nan, logits.shape[-1], jnp.argmax(logits, axis=-1))


def _is_class(labels: Array, logits: Array) -> Array:
    return (labels >= 0) & (labels < logits.shape[-1])


def _counts(logits: Array, labels: Array) -> Array:
    """The confusion matrix with a column more, for the rows without a prediction."""
    classes = logits.shape[-1]
    zeros = jnp.zeros((classes, classes + 1), int)
    true = jnp.where(_is_class(labels, logits), labels, classes)  # -1 would be the last of them
    return zeros.at[true, _predicted(logits)].add(1, mode="drop")


def _right_there_predicted(function: str, logits: Array, labels: Array) -> tuple[Array, ...]:
    """How many of each class, [classes] three times, floating; NaN where a label is no class."""
    logits, labels = _rows(function, logits, labels)
    counts = _counts(logits, labels).astype(float)
    counts = jnp.where(jnp.all(_is_class(labels, logits)), counts, jnp.nan)
    return jnp.diagonal(counts), jnp.sum(counts, axis=1), jnp.sum(counts[:, :-1], axis=0)


@jax.jit  # else the map would be compiled at every call
def _mean_area(logits: Array, labels: Array) -> Array:
    """Of each class against the rest."""
    numbers, scores = jnp.arange(logits.shape[1]), _log_odds(logits.astype(float)).T
    if len(numbers) == 2:
        numbers, scores = numbers[1:], scores[1:]  # the same for class 0
    areas = lax.map(lambda one: _area(one[1], labels == one[0]), (numbers, scores))
    return jnp.mean(jnp.where(jnp.all(_is_class(labels, logits)), areas, jnp.nan))


def _log_odds(z: Array) -> Array:
    """z_c - log Σ_{j≠c} exp(z_j), of each row and class: it ranks as the probability does.

    With d_j = z_j - max z and s = Σ exp(d_j) over all but one of the largest, the sum is s for
    d_c = 0, else 1 + s - exp(d_c), where nothing cancels. It runs over sorted logits, so that rows
    are tied exactly which have the same ones in another order.
    """
    ranked = jnp.sort(z, axis=-1)
    largest = ranked[:, -1:]
    d, log_s = z - largest, logsumexp(ranked[:, :-1] - largest, axis=-1, keepdims=True)
    return d - jnp.where(d == 0, log_s, jnp.log1p(jnp.exp(log_s) - jnp.exp(d)))


def _area(scores: Array, is_positive: Array) -> Array:
    """Of pairs of a positive and a negative, the share where the positive is above, ties half."""
    score, positive = lax.sort((scores, is_positive.astype(jnp.int32)), num_keys=1)
    negatives = jnp.cumsum(1 - positive)  # up to each, itself included
    differs = score[1:] != score[:-1]
    is_first = jnp.ones(len(score), bool).at[1:].set(differs)
    is_last = jnp.ones(len(score), bool).at[:-1].set(differs)
    below = lax.cummax(jnp.where(is_first, negatives - (1 - positive), 0))
    not_above = lax.cummin(jnp.where(is_last, negatives, len(score)), reverse=True)

    # Twice the pairs, so that half a pair is an integer: those won, and all.
    all_negatives = len(score) - jnp.sum(positive)
    twice = jnp.stack([below + not_above, 2 * all_negatives + 0 * below])
    won, pairs = _exact_sums(twice.astype(jnp.uint32) * positive.astype(jnp.uint32))
    return jnp.where(jnp.any(jnp.isnan(scores)), jnp.nan, won / pairs)


def _exact_sums(numbers: Array) -> Array:
    """Of uint32 [..., n] over the last axis, in 64 bits; only the results are rounded."""

    def add(x: tuple[Array, Array], y: tuple[Array, Array]) -> tuple[Array, Array]:
        low = x[1] + y[1]
        return x[0] + y[0] + (low < x[1]).astype(jnp.uint32), low  # smaller: it went round

    zero = jnp.uint32(0)
    high, low = lax.reduce(
        (jnp.zeros_like(numbers), numbers), (zero, zero), add, (numbers.ndim - 1,)
    )
    return cast(Array, high.astype(float) * 2.0**32 + low.astype(float))
