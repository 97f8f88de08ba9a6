"""scikit-learn's side of the tables: its pipeline as it is, and the network of train.py in it."""

import warnings
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from common.job import BATCH_SIZE, EPOCHS, RATE, WIDTH
from numpy.typing import NDArray

from benchmarks.table_list import Source

Split = tuple[NDArray[np.intp], NDArray[np.intp]]  # rows to train and to test on
OPTIONS = {
    "hidden_layer_sizes": (WIDTH,),
    "solver": "sgd",
    "momentum": 0,
    "alpha": 0,
    "batch_size": BATCH_SIZE,
    "max_iter": EPOCHS,
    "n_iter_no_change": EPOCHS,
}


def scored(source: Source, path: Path, score: str, split: Split, seed: int, *, same: bool) -> float:
    """Accuracy or R² on the test rows. same: by the network of train.py, else by its own."""
    import pandas
    from pandas.api.types import is_bool_dtype, is_numeric_dtype
    from threadpoolctl import threadpool_limits

    frame = pandas.read_csv(path)
    dropped = source.option[1:] if source.option[:1] == ("--drop",) else ()
    x, y = frame.drop(columns=[source.target, *dropped]), frame[source.target]
    numbers = [name for name in x if is_numeric_dtype(x[name]) and not is_bool_dtype(x[name])]
    texts = [name for name in x if name not in numbers]
    x[texts] = x[texts].astype(object).fillna("").astype(str)
    model = pipeline(texts, numbers, score, seed, same=same)
    train, test = split
    with warnings.catch_warnings(), threadpool_limits(1):
        warnings.simplefilter("ignore")  # that it could go on
        model.fit(x.iloc[train], y.iloc[train])
        return float(model.score(x.iloc[test], y.iloc[test]))


def pipeline(
    texts: Sequence[str], numbers: Sequence[str], score: str, seed: int, *, same: bool
) -> Any:
    from sklearn.compose import ColumnTransformer, TransformedTargetRegressor
    from sklearn.impute import MissingIndicator, SimpleImputer
    from sklearn.neural_network import MLPClassifier, MLPRegressor
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OneHotEncoder, StandardScaler

    filled = make_pipeline(SimpleImputer(strategy="median"), StandardScaler())
    features = ColumnTransformer(
        [
            ("texts", OneHotEncoder(handle_unknown="ignore"), texts),
            ("numbers", filled, numbers),
            ("missing", MissingIndicator(error_on_new=False), numbers),
        ],
        sparse_threshold=0,
    )
    kind = MLPClassifier if score == "accuracy" else MLPRegressor
    network = partial(as_in_train(kind) if same else kind, random_state=seed, **OPTIONS)
    if score == "accuracy":
        return make_pipeline(features, network(learning_rate_init=RATE))
    # Its loss is half the squared error.
    regressor = network(learning_rate_init=2 * RATE)
    scaled = TransformedTargetRegressor(regressor, transformer=StandardScaler())
    return make_pipeline(features, scaled)


def as_in_train(kind: Any) -> Any:
    """A network of scikit-learn's that starts as train.py's does, with an output for each class.

    Its own has weights within sqrt(6 / (in + out)) at the start, for train.py's 1 / sqrt(in): less
    in the first layer and more in the last. Of two classes it has one output, which a step moves
    half as far as the difference of two. Where 200 epochs are few steps that is to be seen.
    """

    class AsInTrain(kind):  # type: ignore[misc]
        def _init_coef(self, fan_in: int, fan_out: int, dtype: Any) -> tuple[Any, Any]:
            draw = partial(self._random_state.uniform, -(fan_in**-0.5), fan_in**-0.5)
            return draw((fan_in, fan_out)).astype(dtype), draw(fan_out).astype(dtype)

        def _validate_input(self, *args: Any, **options: Any) -> tuple[Any, Any]:
            x, y = super()._validate_input(*args, **options)
            if y.ndim == 2 and y.shape[1] == 1:  # of classes: whether it is the second
                y = np.hstack([~y, y])
                self._label_binarizer.y_type_ = "multiclass"
            return x, y

    return AsInTrain
