"""A table of bad inputs by function: what it is, call, type of error, argument, and its mend."""

import io
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from bad_calls import (
    COUNT,
    CSV,
    KEY,
    NUMBERS,
    ONE_KEY,
    OPTIMIZER,
    PARAMS,
    RATES,
    SGD,
    SIZES,
    THREE_KEYS,
    Unhashable,
    X,
    Y,
    applied,
    batched,
    changed,
    deleted,
    draw,
    evaluate,
    fit,
    loaded,
    nan_params,
    of_data,
    of_keys,
    of_model,
    of_numbers,
    of_roles,
    step,
)

import jaxnet
from jaxnet import datasets, mlp, plotting, rules, softmax_cross_entropy
from jaxnet._training_arguments import require_checkpoint, require_patience, require_settings

ADAM, OTHER = optax.adam(0.1), (jaxnet.Layer(jnp.ones((2, 2)), jnp.ones(2)),)
THREE = jax.tree.map(lambda leaf: np.stack([leaf] * 3), PARAMS)

OF_FIT = [
    *of_model(fit),
    *of_roles(fit),
    *of_data(fit, "train"),
    *of_numbers(fit, "epochs", COUNT, 0, -1, 2.5, "3", None, True),
    *of_numbers(fit, "batch_size", COUNT, 0, 2.5, None),
    *of_numbers(fit, "runs", COUNT, 0, "3", 1.5),
    *of_keys(fit, "key"),
    *of_keys(fit, "model_key"),
    ("rate", partial(fit, optimizer=0.1), TypeError, "optimizer", OPTIMIZER),
    ("name", partial(fit, optimizer="sgd"), TypeError, "optimizer", OPTIMIZER),
    ("None", partial(fit, optimizer=None), TypeError, "optimizer", OPTIMIZER),
    ("optax.sgd", partial(fit, optimizer=optax.sgd), TypeError, "optimizer", "when it is called"),
    ("MultiSteps", partial(fit, optimizer=optax.MultiSteps(SGD, 2)), TypeError,
        "optimizer", ".gradient_transformation()"),
    ("no params", partial(fit, params=None), ValueError, "params", "init_mlp"),
    ("integer params", partial(fit, params=[PARAMS[0]._replace(bias=np.zeros(2, int))]), TypeError,
        "params[0].bias", "convert it"),
    ("NaN weight", partial(fit, params=nan_params("weight")), ValueError,
        "params[0].weight", "draw params anew"),
    ("NaN bias", partial(fit, params=nan_params("bias")), ValueError, "params[0].bias", "anew"),
    ("Adam's state", partial(fit, opt_state=ADAM.init(PARAMS)), ValueError,
        "opt_state", "the optimizer it came from"),
    ("SGD's state", partial(fit, optimizer=ADAM, opt_state=SGD.init(PARAMS)), ValueError,
        "opt_state", "the optimizer it came from"),
    ("no state", partial(fit, optimizer=ADAM, opt_state="adam"), ValueError,
        "opt_state", "leave opt_state out"),
    ("state of others", partial(fit, optimizer=ADAM, opt_state=ADAM.init(OTHER)), ValueError,
        "opt_state", "leave opt_state out"),
    ("donated state", partial(fit, opt_state=[deleted()]), ValueError, "opt_state", "copies"),
    ("runs without an axis", partial(fit, runs=5), ValueError, "params", "leading axis [5]"),
    ("one key for runs", partial(fit, params=THREE, runs=3, key=KEY), ValueError,
        "key", "leading axis [3]"),
    ("one state for runs", partial(fit, params=THREE, runs=3, optimizer=ADAM,
        opt_state=ADAM.init(PARAMS)), ValueError, "opt_state", "leading axis [3]"),
    ("every run NaN", partial(fit, params=jax.tree.map(lambda leaf: leaf * np.nan, THREE), runs=3),
        ValueError, "params[0].weight", "anew"),
    ("test for train", partial(fit, test=(X, Y + 1)), ValueError, "test: labels", "0 .. 1"),
    ("validation NaN", partial(fit, validation=(changed(X, np.nan), Y)), ValueError,
        "validation: x", "those rows"),
    ("patience alone", partial(fit, patience=2), ValueError, "patience", "validation="),
    ("settings alone", partial(fit, settings=RATES), ValueError, "settings", "runs=4"),
    ("a file for a folder", partial(fit, checkpoint=CSV), OSError, "checkpoint", "another place"),
    ("test NaN", partial(fit, test=(changed(X, np.nan), Y)), ValueError, "test: x", "those rows"),
    ("no key parameter", partial(fit, lambda p, x: mlp(p, x), model_key=KEY), TypeError,
        "model_key", "leave model_key out"),
]  # fmt: skip


def of_settings(**changes):
    given = {"settings": RATES, "optimizer": optax.sgd, "runs": 2} | changes
    return partial(require_settings, *given.values())


OF_ARGUMENTS = [
    ("without a set", partial(require_patience, 3, None), ValueError, "patience", "validation="),
    *((f"patience {n!r}", partial(require_patience, n, (X, Y)), ValueError, "patience", COUNT)
        for n in (0, -2, 2.5, "3", True)),
    ("no runs", of_settings(runs=None), ValueError, "settings", "runs=4"),
    ("a list", of_settings(settings=[0.1, 0.2]), TypeError, "settings", "a dict such as"),
    ("empty", of_settings(settings={}), TypeError, "settings", "a dict such as"),
    ("three numbers", of_settings(runs=3), ValueError, "settings['learning_rate']", "3 numbers"),
    ("a number", of_settings(settings={"learning_rate": 0.1}), ValueError,
        "settings['learning_rate']", "one for each run"),
    ("text", of_settings(settings={"learning_rate": ["a", "b"]}), ValueError,
        "settings['learning_rate']", "2 numbers"),
    ("NaN", of_settings(settings={"learning_rate": [0.1, np.nan]}), ValueError,
        "settings['learning_rate']", "finite"),
    ("no name", of_settings(settings={3: [1, 2]}), TypeError, "settings", "learning_rate"),
    ("another name", of_settings(settings={"rate": [1, 2]}), TypeError, "optimizer", "(rate)"),
    ("made already", of_settings(optimizer=SGD), TypeError, "optimizer", "such as optax.sgd"),
    ("a text", of_settings(optimizer="sgd"), TypeError, "optimizer", "such as optax.sgd"),
    ("makes none", of_settings(optimizer=lambda learning_rate: 1), TypeError,
        "optimizer", OPTIMIZER),
    ("decides", of_settings(settings=RATES | {"nesterov": [0, 1]},
        optimizer=lambda learning_rate, nesterov: SGD if nesterov else ADAM),
        TypeError, "optimizer", "one number"),
    ("True", partial(require_checkpoint, True, 60), TypeError, "checkpoint", "path of a folder"),
    ("an empty text", partial(require_checkpoint, "", 60), TypeError, "checkpoint", "a folder"),
    ("bytes", partial(require_checkpoint, b"run", 60), TypeError, "checkpoint", "a folder"),
    ("a file", partial(require_checkpoint, CSV, 60), OSError, "checkpoint", "another place"),
    ("in a file", partial(require_checkpoint, CSV + "/run", 60), OSError, "checkpoint", "another"),
    ("a text for seconds", partial(require_checkpoint, "run", "60"), TypeError,
        "checkpoint_seconds", "a number"),
    ("no seconds", partial(require_checkpoint, "run", None), TypeError,
        "checkpoint_seconds", "number"),
    ("seconds -1", partial(require_checkpoint, "run", -1), ValueError,
        "checkpoint_seconds", "at least 0"),
    ("seconds NaN", partial(require_checkpoint, "run", np.nan), ValueError,
        "checkpoint_seconds", "at least 0"),
]  # fmt: skip


OF_STEP = [
    *of_model(step),
    ("name", partial(step, optimizer="sgd"), TypeError, "optimizer", OPTIMIZER),
    ("optax.sgd", partial(step, optimizer=optax.sgd), TypeError, "optimizer", "is called"),
    ("loss for optimizer", partial(step, optimizer=softmax_cross_entropy), TypeError,
        "optimizer", OPTIMIZER),
    ("MultiSteps", partial(step, optimizer=optax.MultiSteps(SGD, 2)), TypeError,
        "optimizer", ".gradient_transformation()"),
]  # fmt: skip


def of_initializer(value):
    return partial(draw, KEY, (3, 2), lambda key, shape, dtype: value)


OF_INIT = [
    *of_keys(draw, "key"),
    ("no key", partial(draw, None), TypeError, "key", ONE_KEY),
    ("swapped", partial(draw, (3, 2), KEY), TypeError, "key", ONE_KEY),
    *((f"sizes {sizes!r}", partial(draw, KEY, sizes), ValueError, "sizes", SIZES)
        for sizes in ((3,), (), 3, "32", None, (3, 0), (3, -1), (3, 2.5), (3, "2"), (3, True))),
    ("None", partial(draw, KEY, (3, 2), None), TypeError, "initializer", "pytorch_init"),
    ("its name", partial(draw, KEY, (3, 2), "he"), TypeError, "initializer", "pytorch_init"),
    ("a list", partial(draw, KEY, (3, 2), [1]), TypeError, "initializer", "pytorch_init"),
    ("unhashable", partial(draw, KEY, (3, 2), Unhashable()), TypeError, "initializer", "lambda"),
    ("shape (3,)", of_initializer(jnp.ones(3)), ValueError, "initializer", "Layer(weight"),
    ("turned", of_initializer(jnp.ones((2, 3))), ValueError, "initializer", "(3, 2)"),
    ("turned Layer", of_initializer(jaxnet.Layer(jnp.ones((3, 2)), jnp.ones(2))), ValueError,
        "initializer", "(2, 3)"),
    ("returns None", of_initializer(None), ValueError, "initializer", "(3, 2)"),
    ("norm", partial(draw, norm="batch"), ValueError, "norm", '"layer", "rms" or None'),
    *((f"dtype {dtype!r}", partial(draw, dtype=dtype), TypeError, "dtype", "such as float")
        for dtype in (int, None, "bf", bool, 32, complex)),
]  # fmt: skip
OF_ONE_LAYER = [
    ("seed", lambda: jaxnet.pytorch_init(0, (3, 2), float), TypeError, "key", ONE_KEY),
    ("keys", lambda: jaxnet.pytorch_init(THREE_KEYS, (3, 2), float), ValueError, "key", ONE_KEY),
    ("one size", lambda: jaxnet.pytorch_init(KEY, (3,), float), ValueError, "shape", "(in, out)"),
    ("three", lambda: jaxnet.pytorch_init(KEY, (3, 2, 1), float), ValueError, "shape", "(in, out)"),
    ("dtype", lambda: jaxnet.pytorch_init(KEY, (3, 2), int), TypeError, "dtype", "such as float"),
]


OF_MLP = [
    *of_numbers(applied, "dropout_rate", "[0, 1)", 2, 1, -0.1, "a", None, np.nan),
    ("swapped", lambda: mlp(X, PARAMS), TypeError, "params", "mlp(params, x)"),
    ("None", lambda: mlp(None, X), TypeError, "params", "init_mlp"),
    ("a text", lambda: mlp("params", X), TypeError, "params", "init_mlp"),
    ("a dict", lambda: mlp({"weight": X}, X), TypeError, "params", "init_mlp"),
    ("no layer", lambda: mlp((), X), ValueError, "params", "init_mlp"),
    ("a Layer", lambda: mlp(PARAMS[0], X), TypeError, "params[0]", "init_mlp"),
    ("a weight", lambda: mlp([PARAMS[0].weight], X), TypeError, "params[0]", "(weight, bias)"),
    ("a norm last", lambda: mlp([(X, X, X)], X), TypeError, "params[0]", "(weight, bias)"),
    ("activation", partial(applied, activation="relu"), TypeError, "activation", "rules.gelu"),
    ("no activation", partial(applied, activation=None), TypeError, "activation", "rules.gelu"),
]  # fmt: skip


def of_rule(f, **arrays):
    """A text, and a list, in the place of each of the arrays."""
    for name in arrays:
        for wrong, words in (("a text", "an array"), ([1.0, 2.0], "an array"), (None, "an array")):
            yield f"{name} {wrong!r}", partial(f, **arrays | {name: wrong}), TypeError, name, words


W, B = PARAMS[0]
OF_RULES = {
    "linear": [*of_rule(jaxnet.linear, x=X, weight=W, bias=B)],
    "relu": [
        *of_rule(jaxnet.relu, x=X),
        *of_numbers(partial(jaxnet.relu, X), "slope_at_zero", "[0, 1]", 2, "a", None),
    ],
    "softmax": [
        *of_rule(jaxnet.softmax, logits=X),
        *of_numbers(partial(jaxnet.softmax, X), "axis", "an integer in -2 .. 1", 2, "a", None),
    ],
    "softmax_cross_entropy": [
        *of_rule(softmax_cross_entropy, logits=X, labels=Y),
    ],
    "sigmoid_binary_cross_entropy": [
        *of_rule(rules.sigmoid_binary_cross_entropy, logits=NUMBERS, labels=Y),
    ],
    "mean_squared_error": [*of_rule(rules.mean_squared_error, predictions=X, targets=X)],
    "huber": [
        *of_rule(rules.huber, predictions=X, targets=X),
        *of_numbers(partial(rules.huber, X, X), "delta", "above 0", 0, "a", None, np.inf),
    ],
    "layer_norm": [
        ("a text", lambda: rules.layer_norm("a"), TypeError, "x", "an array"),
        *of_numbers(partial(rules.layer_norm, X), "eps", "positive", 0.0, "a", None),
    ],
    "dropout": [
        ("a text", lambda: rules.dropout(KEY, "a", rate=0.5), TypeError, "x", "an array"),
        *of_numbers(partial(rules.dropout, KEY, X), "rate", "[0, 1)", 1, 2, "a", None),
    ],
    "linear_softmax_cross_entropy": [
        *of_numbers(partial(rules.linear_softmax_cross_entropy, X, W, B, Y), "label_smoothing",
            "[0, 1)", 1, "a", None),
        *of_numbers(partial(rules.linear_softmax_cross_entropy, X, W, B, Y), "z_loss",
            "at least 0", -1, "a", None),
        *of_numbers(partial(rules.linear_softmax_cross_entropy, X, W, B, Y), "soft_cap",
            "above 0", 0, "a"),
    ],
}  # fmt: skip

OF_AUTO = [
    (type(f).__name__, partial(jaxnet.auto, f), TypeError, "fn", "must be a function")
    for f in (3, None, "loss", [mlp], X)
]
OF_CHECK = [
    (type(f).__name__, partial(jaxnet.check, f, X), TypeError, "f", "must be a function")
    for f in (3, None, "loss")
]

HISTORY = jaxnet.History({"train_loss": np.ones(2)}, epochs=2, seconds=1.0)


def drawn(metric):
    return lambda: plotting.draw_metric(None, HISTORY.values, metric)


OF_PLOTS = {
    "plot_history": [
        ("None", lambda: plotting.plot_history(None), TypeError, "history", "fit returns"),
        ("a pair", lambda: plotting.plot_history((PARAMS, HISTORY)), TypeError,
            "history", "(params, history)"),
        ("values", lambda: plotting.plot_history({}), TypeError, "history", "fit returns"),
    ],
    "draw_metric": [
        ("f1", drawn("f1"), ValueError, "metric", "one of 'loss'"),
        ("its whole name", drawn("train_loss"), ValueError, "metric", "one of 'loss'"),
        ("None", drawn(None), ValueError, "metric", "one of 'loss'"),
    ],
}  # fmt: skip


OF_DATASETS = {
    "load": [
        *((f"{type(path).__name__}", partial(loaded, path), TypeError, "path", "a str or a")
            for path in (None, 3, io.StringIO("a,b"), b"a.csv", [CSV])),
        ("target a number", partial(loaded, target=3), TypeError, "target", "name of a column"),
        *of_numbers(loaded, "test_fraction", "such as 0.2", 0, 1, 2.0, "a", None, np.nan),
        *of_numbers(loaded, "seed", "at least 0", -1, 0.5, "a", None),
    ],
    "read_features": [
        ("a text", lambda: datasets.read_features(CSV, "ab"), TypeError, "features", "['ab']"),
        ("numbers", lambda: datasets.read_features(CSV, [1, 2]), TypeError, "features", "names"),
        ("None", lambda: datasets.read_features(CSV, None), TypeError, "features", "names"),
        ("no path", lambda: datasets.read_features(None, ["a"]), TypeError, "path", "a str or a"),
    ],
    "standardize": [
        ("a pair", lambda: datasets.standardize((X, Y)), TypeError, "data", "a Dataset"),
        ("an array", lambda: datasets.standardize(X), TypeError, "data", "x.mean(axis=0)"),
        ("None", lambda: datasets.standardize(None), TypeError, "data", "a Dataset"),
    ],
    "batches": [
        *of_numbers(batched, "batch_size", "at least 1", 0, 2.5, "2", None),
        ("a seed", partial(batched, rng=0), TypeError, "rng", "np.random.default_rng(0)"),
        ("a key", partial(batched, rng=KEY), TypeError, "rng", "np.random.default_rng(0)"),
        ("x a list", partial(batched, X.tolist()), TypeError, "x", "np.asarray(x)"),
        ("y a list", partial(batched, y=Y.tolist()), TypeError, "y", "np.asarray(y)"),
        ("fewer y", partial(batched, y=Y[:5]), ValueError, "y", "one label per row"),
    ],
}  # fmt: skip

TABLE = {
    "fit": OF_FIT + OF_ARGUMENTS,
    "evaluate": of_model(evaluate) + of_roles(evaluate) + of_data(evaluate, "data"),
    "update_step": OF_STEP,
    "init_mlp": OF_INIT,
    "pytorch_init": OF_ONE_LAYER,
    "mlp": OF_MLP,
    "auto": OF_AUTO,
    "check": OF_CHECK,
    **OF_RULES,
    **OF_PLOTS,
    **OF_DATASETS,
}
ROWS = [
    pytest.param(function, *row[1:], id=f"{function}: {row[0]}")
    for function, rows in TABLE.items()
    for row in rows
]
