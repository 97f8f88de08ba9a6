"""Who takes part when the report's job is timed, and how each does the job.

jaxnet, PyTorch and scikit-learn are imported where they are used: a cold run must pay for its own
library alone.
"""

import functools
import importlib.util
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, TypeAlias

import numpy as np
from common.job import BATCH_SIZE, RATE

# train, test: x [rows, features], y [rows]
Data: TypeAlias = Mapping[str, tuple[np.ndarray, np.ndarray]]
# weight [out, in] and bias [out] of each layer
Start: TypeAlias = Sequence[tuple[np.ndarray, np.ndarray]]
# {train,test}_{loss,accuracy}, by epoch
Curves: TypeAlias = Mapping[str, Sequence[float] | np.ndarray]


def train_jaxnet(
    data: Data,
    sizes: Sequence[int],
    epochs: int,
    start: Start | None,
    *,
    automatic: bool = False,
    anew: bool = False,
) -> Curves:
    """anew: model, loss and optimizer are other objects at every call."""
    import jax

    import jaxnet

    model, loss, optimizer = (made if anew else made_once)(automatic)
    _, history = jaxnet.fit(
        model,
        jaxnet.init_mlp(jax.random.key(0), sizes) if start is None else start,
        train=data["train"],
        test=data["test"],
        epochs=epochs,
        batch_size=BATCH_SIZE,
        optimizer=optimizer,
        loss=loss,
        progress=False,
    )
    if history.interrupted:
        raise KeyboardInterrupt
    return history.values


def made(automatic: bool) -> tuple[Any, Any, Any]:
    import optax

    import jaxnet

    kind = jaxnet.auto if automatic else functools.partial
    return kind(jaxnet.mlp), kind(jaxnet.softmax_cross_entropy), optax.sgd(RATE)


made_once = functools.cache(made)  # functions that are the same objects are not traced again


def train_pytorch(
    data: Data, sizes: Sequence[int], epochs: int, start: Start | None, *, whole: bool
) -> Curves:
    """Eager. whole: each set is evaluated in one pass, else batch by batch through a DataLoader."""
    from common import pytorch

    model = pytorch.make_network(sizes, seed=0)
    if start is not None:
        pytorch.set_parameters(model, start)
    return pytorch.train(model, data, epochs, whole=whole)


def train_sklearn(data: Data, sizes: Sequence[int], epochs: int, start: Start | None) -> Curves:
    from sklearn.metrics import log_loss
    from sklearn.neural_network import MLPClassifier
    from threadpoolctl import threadpool_limits  # scikit-learn's own requirement

    model = MLPClassifier(
        sizes[1:-1],
        activation="relu",
        solver="sgd",
        alpha=0,
        batch_size=BATCH_SIZE,
        learning_rate="constant",
        learning_rate_init=RATE,
        momentum=0,
        shuffle=False,
        random_state=0,
    )
    classes = np.arange(sizes[-1])
    x, y = data["train"]
    if start is not None:
        model.partial_fit(x[:BATCH_SIZE], y[:BATCH_SIZE], classes=classes)  # makes the weights
        set_weights(model, start)

    curves: dict[str, list[float]] = {
        f"{name}_{kind}": [] for name in data for kind in ("loss", "accuracy")
    }
    with threadpool_limits(1):  # as PyTorch: faster for matrices this small
        for _ in range(epochs):
            model.partial_fit(x, y, classes=classes)
            for name, (inputs, labels) in data.items():
                p = model.predict_proba(inputs)
                curves[f"{name}_loss"].append(float(log_loss(labels, p, labels=classes)))
                curves[f"{name}_accuracy"].append(float(np.mean(p.argmax(axis=1) == labels)))
    return curves


def train_numpy(data: Data, sizes: Sequence[int], epochs: int, start: Start | None) -> Curves:
    from benchmarks import numpy_loop

    layers = numpy_loop.draw(sizes, seed=0)
    if start is not None:
        layers = [(weight.copy(), bias.copy()) for weight, bias in start]
    return numpy_loop.train(layers, data, epochs)


def set_weights(model: Any, start: Start) -> None:
    """Put the weights of `start` into scikit-learn's network, in place."""
    weights, biases = (list(arrays) for arrays in zip(*start, strict=True))
    if len(biases[-1]) == 2:  # it has a single output then, the difference of the two scores
        weights[-1], biases[-1] = (np.diff(last, axis=0) for last in (weights[-1], biases[-1]))
    ours = [w.T for w in weights] + biases
    for own, theirs in zip(ours, model.coefs_ + model.intercepts_, strict=True):
        theirs[...] = own


# How far a final test loss may be off jaxnet's: from the same start and network; where one differs.
SAME, ALIKE = 0.001, 0.25


class Contestant(NamedTuple):
    # data, sizes, epochs, start (None: the library's own)
    train: Callable[[Data, Sequence[int], int, Start | None], Curves]
    module: str  # without which it cannot take part
    band: float = SAME


HAND, AUTO, LOADERS = "jaxnet, by hand", "jaxnet, autodiff", "PyTorch, DataLoaders"
ANEW = "jaxnet, made anew"
CONTESTANTS = {
    HAND: Contestant(train_jaxnet, "jaxnet"),
    ANEW: Contestant(functools.partial(train_jaxnet, anew=True), "jaxnet"),
    AUTO: Contestant(functools.partial(train_jaxnet, automatic=True), "jaxnet"),
    LOADERS: Contestant(functools.partial(train_pytorch, whole=False), "torch"),
    "PyTorch, sets whole": Contestant(functools.partial(train_pytorch, whole=True), "torch"),
    "scikit-learn": Contestant(train_sklearn, "sklearn", ALIKE),
    "NumPy, by hand": Contestant(train_numpy, "numpy"),
}
INSTALLED = [
    name for name, contestant in CONTESTANTS.items() if importlib.util.find_spec(contestant.module)
]
