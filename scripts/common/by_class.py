"""What a classifier gets right of each class, and what always the same class would get right."""

import math
from typing import Any

import jax
import numpy as np

from jaxnet import metrics
from jaxnet.datasets import Dataset


def by_class(data: Dataset, outputs: jax.Array) -> dict[str, Any]:
    """Of the test set, as JSON holds it; None for an AUC of a class without rows.

    Rows of the confusion matrix are the labels, columns the predictions. "always" is the most
    frequent class of the training set, with the accuracy of predicting it for every row.
    """
    labels = data.test[1]
    matrix, f1, balanced_accuracy, auc = map(np.asarray, _measured(outputs, labels))
    most_frequent = np.bincount(data.train[1]).argmax()
    return {
        "confusion_matrix": matrix.tolist(),
        "f1": dict(zip(data.classes, f1.tolist(), strict=True)),
        "balanced_accuracy": float(balanced_accuracy),
        "auc": None if math.isnan(auc) else float(auc),
        "always": {
            "class": data.classes[most_frequent],
            "accuracy": float(np.mean(labels == most_frequent)),
        },
    }


@jax.jit  # one program, which is kept for the next process
def _measured(outputs: jax.Array, labels: jax.Array) -> tuple[jax.Array, ...]:
    return (
        metrics.confusion_matrix(outputs, labels),
        metrics.f1(outputs, labels, average=None),
        metrics.balanced_accuracy(outputs, labels),
        metrics.auc(outputs, labels),
    )
