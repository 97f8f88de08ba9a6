"""Bad inputs, a table: each is an error that names function and argument, and how to mend it.

Nothing is compiled for them: an error comes before.
"""

import io
from functools import partial
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import jaxnet
from jaxnet import accuracy, datasets, init_mlp, mlp, plotting, rules, softmax_cross_entropy
from jaxnet._training_arguments import require_checkpoint, require_patience, require_settings

KEY = jax.random.key(0)
THREE_KEYS = jax.random.split(KEY, 3)
SGD = optax.sgd(0.1)
PARAMS = (jaxnet.Layer(np.ones((2, 3), np.float32), np.zeros(2, np.float32)),)
ONE_OUTPUT = (jaxnet.Layer(np.ones((1, 3), np.float32), np.zeros(1, np.float32)),)
X = np.arange(18, dtype=np.float32).reshape(6, 3) / 18
Y = np.array([0, 1, 0, 1, 1, 0], np.int32)
NUMBERS = X[:, 0]
RATES = {"learning_rate": [0.1, 0.2]}
CSV = "data/breast_cancer.csv"


class Frame:
    """As a DataFrame is."""

    shape, ndim = (6, 3), 2

    def to_numpy(self):
        return X

    def __len__(self):
        return 6


class Module:
    """As a module of Flax is."""

    def apply(self, params, x):
        return x

    def __call__(self, x):
        return x


@jax.tree_util.register_pytree_node_class
class Tree:
    """As a module of Equinox is: called, and a tree of its arrays and functions."""

    def __init__(self, *children):
        self.children = children

    def tree_flatten(self):
        return self.children, None

    @classmethod
    def tree_unflatten(cls, _, children):
        return cls(*children)

    def __call__(self, x):
        return x


class Unhashable:
    __hash__ = None

    def __call__(self, *args, **kwargs):
        return mlp(*args)


def changed(leaf, value):
    other = np.array(leaf)
    other.flat[0] = value
    return other


def deleted():
    array = jnp.ones(6)
    array.delete()
    return array


def broadcast(outputs, y):
    return ((outputs - y) ** 2).mean(-1)


def per_row(outputs, y):
    return (outputs[:, 0] - y) ** 2


def one_tuple(outputs, y):
    return outputs, y


def model_of_tuple(params, x):
    return mlp(params, x), x


def with_float(outputs, y):
    return float(outputs[0, 0])


def fit(model=mlp, params=PARAMS, x=X, y=Y, **changes):
    options = {"train": (x, y), "epochs": 1, "batch_size": 2, "optimizer": SGD} | changes
    return jaxnet.fit(model, params, **options)


def evaluate(model=mlp, params=PARAMS, x=X, y=Y, **options):
    return jaxnet.evaluate(model, params, options.pop("data", (x, y)), **options)


def step(model=mlp, optimizer=SGD, **options):
    return jaxnet.update_step(model, optimizer, **options)


def draw(key=KEY, sizes=(3, 2), *others, **options):
    return init_mlp(key, sizes, *others, **options)


def nan_params(name):
    layer = PARAMS[0]
    return (layer._replace(**{name: changed(getattr(layer, name), np.nan)}),)


MODEL = "(params, x) -> outputs such as jaxnet.mlp"
LOSS = "such as jaxnet.softmax_cross_entropy"
METRICS = "metrics={'accuracy': jaxnet.accuracy}"
NAMES = "is called with (outputs, y)"
PAIR = "a pair of arrays (x, y)"
ONE_KEY = "such as jax.random.key(0)"
COUNT = "a positive integer"
OPTIMIZER = "such as optax.sgd(0.01)"
SIZES = "at least two positive integers"
EQX = "eqx.partition"


def of_model(call):
    """Of fit, evaluate and update_step alike: what is wrong, the call, type, argument, mend."""
    return [
        ("model None", partial(call, model=None), TypeError, "model", MODEL),
        ("model a text", partial(call, model="mlp"), TypeError, "model", MODEL),
        ("model a list", partial(call, model=[mlp]), TypeError, "model", MODEL),
        ("model of x alone", partial(call, model=lambda x: x), TypeError, "model", "(params, x)"),
        ("model of Flax", partial(call, model=Module()), TypeError, "model", "model.apply"),
        ("model of Equinox", partial(call, model=Tree(X)), TypeError, "model", EQX),
        ("unhashable", partial(call, model=Unhashable()), TypeError, "model", "lambda *args"),
        ("loss None", partial(call, loss=None), TypeError, "loss", LOSS),
        ("loss a text", partial(call, loss="mse"), TypeError, "loss", LOSS),
        ("loss a list", partial(call, loss=[per_row]), TypeError, "loss", LOSS),
        ("loss the model", partial(call, loss=mlp), TypeError, "loss", "the model itself"),
        ("loss of outputs", partial(call, loss=lambda o: o), TypeError, "loss", NAMES),
        ("loss of three", partial(call, loss=lambda o, y, w: o), TypeError, "loss", NAMES),
    ]  # fmt: skip


def of_roles(call):
    """Of fit and evaluate alike: model, params, loss and metrics."""

    def metrics(metrics):
        return partial(call, metrics=metrics)

    return [
        ("swapped", partial(call, PARAMS, mlp), TypeError, "model", "in each other's place"),
        ("loss for params", partial(call, mlp, softmax_cross_entropy, loss=PARAMS), TypeError,
            "loss", "params and loss are in each other's place"),
        ("loss for model", partial(call, softmax_cross_entropy, loss=mlp), TypeError,
            "model", "in each other's place"),
        ("params a function", partial(call, mlp, mlp), TypeError, "params", "belong to"),
        ("params a text", partial(call, mlp, "params"), TypeError, "params", "jaxnet.init_mlp"),
        ("params of text", partial(call, mlp, np.array(["a"])), TypeError, "params", "leave it"),
        ("params of Equinox", partial(call, mlp, Tree(X, jnp.tanh)), TypeError, "params", EQX),
        ("params donated", partial(call, mlp, [deleted()]), ValueError, "params", "what the step"),
        ("params a path", partial(call, mlp, {"w": "w.npz"}), TypeError, "params['w']", "init_mlp"),
        ("a tuple", partial(call, model_of_tuple), TypeError, "model", "return one"),
        ("metrics None", metrics(None), TypeError, "metrics", "{} measures none"),
        ("metrics a function", metrics(accuracy), TypeError, "metrics", METRICS),
        ("metrics a list", metrics([accuracy]), TypeError, "metrics", METRICS),
        ("metrics a text", metrics("accuracy"), TypeError, "metrics", METRICS),
        ("metric called loss", metrics({"loss": per_row}), ValueError, "metrics", "otherwise"),
        ("metric without name", metrics({"": per_row}), TypeError, "metrics", METRICS),
        ("metric called 3", metrics({3: per_row}), TypeError, "metrics", METRICS),
        ("metric None", metrics({"f": None}), TypeError, "metrics['f']", "jaxnet.accuracy"),
        ("metric a text", metrics({"f": "f"}), TypeError, "metrics['f']", "jaxnet.accuracy"),
        ("metric of one", metrics({"f": lambda o: o}), TypeError, "metrics['f']", NAMES),
        ("metric a tuple", metrics({"f": one_tuple}), TypeError, "metrics['f']", "one array"),
        ("metric a float", metrics({"f": with_float}), TypeError, "metrics['f']", "no float()"),
        ("loss a float", partial(call, loss=with_float), TypeError, "loss", "no float()"),
        ("loss a tuple", partial(call, loss=one_tuple), ValueError, "loss", "one value per"),
        ("mean loss", partial(call, loss=lambda o, y: per_row(o, y).mean()), ValueError,
            "loss", "one value per example"),
        ("whole loss", partial(call, loss=lambda o, y: y), TypeError, "loss", "one of metrics"),
    ]  # fmt: skip


def of_data(call, name):
    """Of fit and evaluate alike: x and y, which they call by this name."""
    return [
        ("data None", partial(call, **{name: None}), TypeError, name, PAIR),
        ("data an array", partial(call, **{name: X}), TypeError, name, PAIR),
        ("data of three", partial(call, **{name: (X, Y, Y)}), TypeError, name, PAIR),
        ("data a text", partial(call, **{name: "xy"}), TypeError, name, PAIR),
        ("x a list", partial(call, x=X.tolist()), TypeError, name, "np.asarray(x)"),
        ("y a list", partial(call, y=Y.tolist()), TypeError, name, "np.asarray(y)"),
        ("x None", partial(call, x=None), TypeError, name, "np.asarray(x)"),
        ("x a DataFrame", partial(call, x=Frame()), TypeError, name, "x.to_numpy()"),
        ("y a Series", partial(call, y=Frame()), TypeError, name, "y.to_numpy()"),
        ("x of text", partial(call, x=X.astype(str)), TypeError, f"{name}: x", "datasets.load"),
        ("x of objects", partial(call, x=X.astype(object)), TypeError, f"{name}: x", "numbers"),
        ("y of text", partial(call, y=Y.astype(str)), TypeError, f"{name}: y", "np.unique"),
        ("y of dates", partial(call, y=Y.astype("M8[D]")), TypeError, f"{name}: y", "numbers"),
        ("x a number", partial(call, x=np.array(1.0)), ValueError, f"{name}: x", "as many rows"),
        ("fewer y", partial(call, y=Y[:5]), ValueError, f"{name}: x and y", "as many rows"),
        ("no rows", partial(call, x=X[:0], y=Y[:0]), ValueError, name, "no rows"),
        ("x NaN", partial(call, x=changed(X, np.nan)), ValueError, f"{name}: x", "fill those rows"),
        ("x inf", partial(call, x=changed(X, np.inf)), ValueError, f"{name}: x", "fill those rows"),
        ("y NaN", partial(call, params=ONE_OUTPUT, y=changed(X[:, :1], np.nan), metrics={},
            loss=rules.mean_squared_error), ValueError, f"{name}: y", "fill those rows"),
        ("y donated", partial(call, y=deleted()), ValueError, name, "copies"),
        ("labels 1 .. 2", partial(call, y=Y + 1), ValueError, f"{name}: labels", "0 .. 1"),
        ("labels -1 .. 0", partial(call, y=Y - 1), ValueError, f"{name}: labels", "0 .. 1"),
        ("float labels", partial(call, y=Y.astype(np.float32)), ValueError, "labels", "integers"),
        ("boolean labels", partial(call, y=Y > 0), TypeError, "labels", "integers"),
        ("negative y", partial(call, y=changed(np.eye(2, dtype=np.float32)[Y], -1)), ValueError,
            f"{name}: y", "divide each row by its sum"),
        ("binary -1", partial(call, lambda p, x: mlp(p, x)[:, 0], ONE_OUTPUT, y=2 * Y - 1,
            metrics={}, loss=rules.sigmoid_binary_cross_entropy), ValueError,
            f"{name}: labels", "0 .. 1"),
        ("binary 2", partial(call, lambda p, x: mlp(p, x)[:, 0], ONE_OUTPUT, y=2 * NUMBERS,
            metrics={}, loss=rules.sigmoid_binary_cross_entropy), ValueError,
            f"{name}: labels", "softmax_cross_entropy"),
        ("accuracy of one output", partial(call, params=ONE_OUTPUT, y=X[:, :1],
            loss=rules.mean_squared_error), ValueError, "metrics['accuracy']", "metrics={}"),
        ("accuracy of numbers", partial(call, lambda p, x: mlp(p, x)[:, 0], ONE_OUTPUT, y=NUMBERS,
            loss=lambda o, y: (o - y) ** 2), ValueError, "metrics['accuracy']", "metrics={}"),
        ("columns", partial(call, x=X[:, :2]), ValueError, "linear: x", "weight's in = 3"),
        ("integer x", partial(call, x=X.astype(int)), TypeError, "linear: x", "astype"),
    ]  # fmt: skip


def of_numbers(call, name, words, *wrong):
    """An option that takes numbers: each of wrong is none that it takes."""
    return [
        (f"{name}={value!r}", partial(call, **{name: value}), ValueError, name, words)
        for value in wrong
    ]


def of_keys(call, name):
    one = "one JAX random key"
    return [
        (f"{name} a seed", partial(call, **{name: 0}), TypeError, name, ONE_KEY),
        (f"{name} a text", partial(call, **{name: "key"}), TypeError, name, ONE_KEY),
        (f"{name} an array", partial(call, **{name: X}), TypeError, name, ONE_KEY),
        (f"{name} NumPy's", partial(call, **{name: np.random.default_rng(0)}), TypeError,
            name, ONE_KEY),
        (f"three keys as {name}", partial(call, **{name: THREE_KEYS}), ValueError, name, one),
        (f"three old keys as {name}", partial(call, **{name: np.ones((3, 2), np.uint32)}),
            ValueError, name, one),
    ]  # fmt: skip


ADAM, OTHER = optax.adam(0.1), (jaxnet.Layer(jnp.ones((2, 2)), jnp.ones(2)),)
THREE = jax.tree.map(lambda leaf: np.stack([leaf] * 3), PARAMS)
CUT = jax.tree.map(lambda leaf: leaf[:, :1], THREE)

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


def applied(params=PARAMS, x=X, *others, **options):
    return mlp(params, x, *others, **options)


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
    (f"{f!r}", partial(jaxnet.auto, f), TypeError, "fn", "must be a function")
    for f in (3, None, "loss", [mlp], X)
]
OF_CHECK = [
    (f"{f!r}", partial(jaxnet.check, f, X), TypeError, "f", "must be a function")
    for f in (3, None, "loss")
]

HISTORY = jaxnet.History({"train_loss": np.ones(2)}, epochs=2, seconds=1.0)


def drawn(metric):
    return lambda: plotting.draw_metric(None, HISTORY.values, metric)


OF_PLOTS = {
    "plot_history": [
        ("None", lambda: plotting.plot_history(None), TypeError, "history", "fit returns"),
        ("a pair", lambda: plotting.plot_history((PARAMS, HISTORY)), TypeError,
            "history", "fit returns (params, history)"),
        ("values", lambda: plotting.plot_history(HISTORY.values), TypeError,
            "history", "fit returns"),
    ],
    "draw_metric": [
        ("f1", drawn("f1"), ValueError, "metric", "one of 'loss'"),
        ("its whole name", drawn("train_loss"), ValueError, "metric", "one of 'loss'"),
        ("None", drawn(None), ValueError, "metric", "one of 'loss'"),
    ],
}  # fmt: skip


def loaded(path=CSV, target="diagnosis", **options):
    return datasets.load(path, target, **options)


def batched(x=X, y=Y, batch_size=2, **options):
    return datasets.batches(x, y, batch_size, **options)


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


def text_of(error):
    """With the notes, which Python shows below it."""
    return "\n".join([str(error), *getattr(error, "__notes__", ())])


@pytest.mark.parametrize(("function", "call", "kind", "argument", "mend"), ROWS)
def test_a_bad_input_is_named_and_how_to_mend_it(
    function, call, kind, argument, mend, compilations
):
    with pytest.raises(kind) as error:
        call()
    text = text_of(error.value)
    assert function in text
    assert argument in text
    assert mend in text
    assert not [name for name in compilations if "_segment" in name]


def test_the_table_is_long():
    assert len(ROWS) >= 200


# ---- what only a value tells: a loss is computed of two rows


def mixing(outputs, y):
    return softmax_cross_entropy(outputs, y) - outputs.mean()


REGRESSION = {"params": ONE_OUTPUT, "y": NUMBERS, "loss": broadcast, "metrics": {}}


@pytest.mark.parametrize("call", [fit, evaluate])
@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"y": X[:, :1], "model": lambda params, x: mlp(params, x)[:, 0]},
        {"loss": per_row, "metrics": {"error": broadcast}},
        {"loss": partial(broadcast)},
    ],
    ids=["[n, 1] with [n]", "[n] with [n, 1]", "a metric", "partial"],
)
def test_a_loss_that_broadcasts_rows_is_refused(call, changes):
    with pytest.raises(ValueError, match=r"depends on the other rows.*y\[:, None\]") as error:
        call(**(REGRESSION | changes))
    assert ("loss" if "metrics" not in changes else "metrics['error']") in str(error.value)


@pytest.mark.parametrize("call", [fit, evaluate])
def test_a_loss_that_mixes_rows_on_purpose_is_warned_of(call):
    with pytest.warns(UserWarning, match="loss of a row depends on the other rows"):
        call(loss=mixing)


@pytest.mark.parametrize("call", [fit, evaluate])
def test_distributions_that_do_not_add_up_are_warned_of(call):
    y = 2 * np.eye(2, dtype=np.float32)[Y]
    with pytest.warns(UserWarning, match="taken for distributions .* row 0 add up to 2; divide"):
        call(y=y)
    with pytest.warns(UserWarning, match="row 0 add up to 2; pass metrics={}"):
        call(y=y, loss=rules.mean_squared_error)


# ---- what an update is given, looked at while it is compiled


@pytest.mark.parametrize(
    ("options", "state", "argument", "mend"),
    [
        ({}, ADAM.init(PARAMS), "opt_state", "give optimizer.init"),
        ({"optimizer": ADAM}, SGD.init(PARAMS), "opt_state", "what the step returned"),
        ({"loss": lambda o, y: per_row(o, y).mean()}, None, "loss", "one value per example"),
        ({"loss": lambda o, y: (o[:, :1] - y) ** 2}, None, "loss", "one value per example"),
    ],
)
def test_a_step_refuses_what_it_cannot_use(options, state, argument, mend):
    state = SGD.init(PARAMS) if state is None else state
    with pytest.raises(ValueError, match=f"update_step.*{argument}.*{mend}"):
        step(**options)(PARAMS, state, X, Y)


# ---- right inputs, that must pass


def masked(outputs, y):
    known = ~jnp.isnan(y)
    return known * (outputs[:, 0] - jnp.where(known, y, 0)) ** 2


def normal(outputs, y):
    mean, log_width = outputs
    return jnp.exp(-log_width) * (mean - y) ** 2 + log_width


class Averages:
    """A callable object, hashable as it is."""

    def __call__(self, params, x):
        return mlp(params, x - x.mean(axis=0))


SEVERAL = jax.tree.map(lambda leaf: np.stack([leaf, leaf * np.nan]), PARAMS)
WHOLE_SET = {"params": ONE_OUTPUT, "metrics": {}, "batch_size": 6, "y": NUMBERS}
RIGHT = {
    "lists for pairs": {"train": [X, Y], "test": [jnp.asarray(X), jnp.asarray(Y)]},
    "NumPy's integers": {"epochs": np.int64(1), "batch_size": np.int32(2)},
    "distributions": {"y": np.eye(2, dtype=np.float32)[Y]},
    "smoothed in bf16": {"y": jnp.full((6, 2), 0.5, jnp.bfloat16)},
    "bf16": {"x": jnp.asarray(X, jnp.bfloat16),
             "params": jax.tree.map(lambda leaf: jnp.asarray(leaf, jnp.bfloat16), PARAMS)},
    "a tree for params": {"params": {"layers": list(PARAMS), "none": None},
                          "model": lambda params, x: mlp(params["layers"], x)},
    "a number for params": {"params": [1.0], "model": lambda w, x: w[0] * x[:, :2]},
    "an object for model": {"model": Averages()},
    "auto": {"model": jaxnet.auto(mlp), "loss": jaxnet.auto(softmax_cross_entropy)},
    "Partial": {"model": jax.tree_util.Partial(mlp, activation=jnp.tanh)},
    "an old key": {"key": jax.random.PRNGKey(0)},
    "its own state": {"opt_state": SGD.init(PARAMS)},
    "MultiSteps": {"optimizer": optax.MultiSteps(SGD, 2).gradient_transformation()},
    "NaN left out by the loss": WHOLE_SET | {"y": changed(NUMBERS, np.nan), "loss": masked},
    "a state with settings": {"params": THREE, "runs": 3, "optimizer": optax.adam,
                              "settings": {"learning_rate": [0.1, 0.2, 0.3]},
                              "opt_state": jax.vmap(ADAM.init)(THREE)},
    "validation": {"validation": (X, Y), "test": (X, Y), "patience": 1},
    "two outputs in a tuple": WHOLE_SET | {
        "model": lambda p, x: (mlp(p, x)[:, 0], mlp(p, x)[:, 0]), "loss": normal},
    "a loss that draws [:, 0]": WHOLE_SET | {"loss": per_row},
    "one number as a metric": {"metrics": {"worst": lambda o, y: o.max()}},
    "one run of two NaN": {"params": SEVERAL, "runs": 2},
}  # fmt: skip


@pytest.mark.many
@pytest.mark.parametrize("changes", RIGHT.values(), ids=RIGHT)
def test_right_inputs_of_fit_pass(changes):
    try:
        fit(**changes)
    except jaxnet.NonFiniteLoss:  # of the run that began with NaN
        assert changes["params"] is SEVERAL


@pytest.mark.parametrize(
    "call",
    [
        partial(draw, sizes=np.array([3, 2])),
        partial(draw, sizes=[np.int64(3), np.int32(2)]),
        partial(draw, key=jax.random.PRNGKey(0)),
        partial(draw, dtype="bfloat16"),
        partial(draw, dtype=jnp.float16),
        lambda: jax.vmap(draw)(THREE_KEYS),
        lambda: jax.vmap(lambda key: draw(key))(jax.random.split(jax.random.PRNGKey(0), 3)),
        partial(applied, [list(layer) for layer in PARAMS]),
        partial(applied, dropout_rate=np.float32(0.5)),
        partial(rules.huber, X, X, delta=np.float32(2)),
        partial(jaxnet.relu, 1.0),
        partial(jaxnet.relu, X, slope_at_zero=1),
        partial(require_patience, None, None),
        partial(require_patience, np.int64(3), (X, Y)),
        partial(require_settings, None, SGD, None),
        partial(require_settings, {"learning_rate": jnp.ones(2)}, optax.adam, 2),
        partial(require_checkpoint, None, 60),
        partial(require_checkpoint, Path("data"), np.float64(0)),
        partial(batched, rng=np.random.default_rng(0), batch_size=np.int64(2)),
        partial(datasets.read_features, CSV, ("mean area",)),
        partial(loaded, Path(CSV), test_fraction=np.float64(0.5), seed=np.int64(3)),
    ],
)
def test_right_inputs_pass(call):
    call()
