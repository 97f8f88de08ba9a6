"""Calls that are right but for what is changed, and the bad inputs that many functions share."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax

import jaxnet
from jaxnet import accuracy, datasets, init_mlp, mlp, rules, softmax_cross_entropy

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


class Column:
    """As a Series is, of pandas or polars."""

    def __init__(self, values):
        self.values = np.asarray(values)

    def to_numpy(self):
        return self.values


class Frame(dict):
    """As a DataFrame is: columns by name, and as many rows as each of them has."""

    columns = property(list)

    def __getitem__(self, name):
        return Column(super().__getitem__(name))

    def to_numpy(self):
        raise NotImplementedError("it would copy all columns")

    def __len__(self):
        return len(next(iter(self.values())))


class Tensor:
    """As a tensor of PyTorch is."""

    def numpy(self):
        return X


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


def applied(params=PARAMS, x=X, *others, **options):
    return mlp(params, x, *others, **options)


def loaded(path=CSV, target="diagnosis", **options):
    return datasets.load(path, target, **options)


def batched(x=X, y=Y, batch_size=2, **options):
    return datasets.batches(x, y, batch_size, **options)


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
        ("x a tensor", partial(call, x=Tensor()), TypeError, name, "x.numpy()"),
        ("x a frame of text", partial(call, x=Frame(a=NUMBERS, b=list("abcdef"))), TypeError,
            f"{name}: x has a column 'b'", "from_table"),
        ("x a frame with a gap", partial(call, x=Frame(a=NUMBERS, b=Y, c=changed(NUMBERS, np.nan))),
            ValueError, f"{name}: x", "fill those rows"),
        ("y a series of text", partial(call, y=Column(list("aabbab"))), TypeError, f"{name}: y",
            "np.unique"),
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
