"""Bad inputs, a table: each is an error that names function and argument, and how to mend it.

Nothing is compiled for them: an error comes before.
"""

from functools import partial
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from bad_calls import (
    CSV,
    NUMBERS,
    ONE_OUTPUT,
    PARAMS,
    SGD,
    THREE_KEYS,
    Column,
    Frame,
    X,
    Y,
    applied,
    batched,
    broadcast,
    changed,
    draw,
    evaluate,
    fit,
    loaded,
    per_row,
    step,
)
from bad_inputs import ADAM, ROWS, THREE

import jaxnet
from jaxnet import datasets, mlp, rules, softmax_cross_entropy
from jaxnet._training_arguments import require_checkpoint, require_patience, require_settings


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
    "a DataFrame and a Series": {"x": Frame(a=X[:, 0], b=Y, c=Y > 0), "y": Column(Y)},
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
    "a loss of bf16": WHOLE_SET | {"loss": lambda o, y: per_row(o, y).astype(jnp.bfloat16)},
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
