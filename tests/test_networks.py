"""A network that was saved predicts as it did; what is no network says why."""

import re
import struct

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxnet
from jaxnet.datasets import Scaling

FEATURES, CLASSES = ("width", "height", "depth"), ("no", "yes")
X = np.float32([[1, 2, 3], [-4, 5, 6], [0.5, 0.25, -8]])
SCALING = Scaling(np.float32([1, 2, 3]), np.float32([0.5, 2, 4]))


def draw(sizes=(3, 4, 2), **options):
    return jaxnet.init_mlp(jax.random.key(1), sizes, **options)


def make(params=None, **options):
    return jaxnet.Network(draw() if params is None else params, FEATURES, CLASSES, **options)


def train_pys_first_layout():
    """The arrays of the params.npz that scripts/train.py wrote before there was a Network."""
    rng = np.random.default_rng(0)
    shapes = {"0.weight": (4, 3), "0.bias": 4, "0.scale": 4, "1.weight": (2, 4), "1.bias": 2}
    drawn = {name: rng.normal(size=shape).astype(np.float32) for name, shape in shapes.items()}
    texts = {"features": FEATURES, "classes": CLASSES, "activation": "gelu"}
    return {name: np.array(text) for name, text in texts.items()} | drawn | SCALING._asdict()


def test_a_file_of_the_first_layout_predicts_the_same_bits(tmp_path):
    arrays = train_pys_first_layout()
    np.savez(tmp_path / "params.npz", **arrays)
    network = jaxnet.load_network(tmp_path / "params.npz")

    # As train.py predicted with it.
    params = [[arrays[f"0.{name}"] for name in ("weight", "bias", "scale")]]
    params += [[arrays["1.weight"], arrays["1.bias"]]]
    scaled = (X - arrays["mean"]) / arrays["scale"]
    logits = jaxnet.mlp(params, scaled, activation=jaxnet.rules.gelu)
    expected = np.asarray(jaxnet.softmax(logits))
    np.testing.assert_array_equal(network.probabilities(X), expected, strict=True)
    assert network.predict(X).tolist() == [CLASSES[i] for i in expected.argmax(axis=1)]
    assert (network.ranges, network.target) == (None, None)

    del arrays["activation"]  # before there were others
    np.savez(tmp_path / "params.npz", **arrays)
    assert jaxnet.load_network(tmp_path / "params.npz").activation is jaxnet.relu
    jaxnet.save(tmp_path / "again.npz", network)
    again = dict(np.load(tmp_path / "again.npz"))
    assert again.keys() == train_pys_first_layout().keys()


@pytest.mark.parametrize("norm", [None, "layer", "rms"])
@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16, jnp.float16])
def test_what_is_saved_comes_back_and_predicts_the_same_bits(norm, dtype, tmp_path):
    params = draw((3, 4, 5, 2), norm=norm, dtype=dtype)
    ranges = np.float32([[0, 0, 0], [1, 2, 3]])
    network = make(
        params, activation=jaxnet.rules.tanh, scaling=SCALING, ranges=ranges, target="answer"
    )
    jaxnet.save(tmp_path / "a.npz", network)
    found = jaxnet.load_network(str(tmp_path / "a.npz"))
    assert jax.tree.structure(found.params) == jax.tree.structure(params)
    for a, b in zip(jax.tree.leaves(found.params), jax.tree.leaves(params), strict=True):
        np.testing.assert_array_equal(a, np.asarray(b), strict=True)
    assert found.activation is jaxnet.rules.tanh
    assert (found.features, found.classes, found.target) == (FEATURES, CLASSES, "answer")
    np.testing.assert_array_equal(found.scaling, SCALING)
    np.testing.assert_array_equal(found.ranges, ranges)
    np.testing.assert_array_equal(found.probabilities(X), network.probabilities(X), strict=True)


def test_features_are_taken_raw_in_any_form_of_numbers():
    network = make(scaling=SCALING)
    plain = make()
    expected = plain.probabilities((X - SCALING.mean) / SCALING.scale)
    for x in (X, X.astype(np.float64), X.tolist(), jnp.asarray(X)):
        np.testing.assert_array_equal(network.probabilities(x), expected, strict=True)
    assert network.probabilities(np.zeros((0, 3))).shape == (0, 2)
    assert network.predict(np.zeros((0, 3))).shape == (0,)


def changed(**arrays):
    """The first layout with these arrays in place of its own; None leaves one out.

    `_0_bias` is "0.bias".
    """
    named = {name.removeprefix("_").replace("_", "."): a for name, a in arrays.items()}
    return {name: a for name, a in (train_pys_first_layout() | named).items() if a is not None}


NAN = np.float32([1, np.nan, 1, 1])
BAD_FILES = {
    "no such array": (changed(classes=None, _0_bias=None), "no 0.bias, classes in it"),
    "a layer without bias": (changed(_1_bias=None), "no 1.bias in it"),
    "a scale without mean": (changed(mean=None), "no mean in it"),
    "a mean without scale": (changed(scale=None), "no scale in it"),
    "a range without end": (changed(least=np.ones(3)), "no largest in it"),
    "NaN": (changed(_0_bias=NAN), "params[0].bias holds what is not finite"),
    "fewer outputs than classes": (
        changed(classes=np.array(["a", "b", "c"])),
        "params[1] has 2 outputs for 3 classes",
    ),
    "no chain": (
        changed(_1_weight=np.ones((2, 5))),
        "params[1].weight takes 5 inputs, but there are 4 outputs of params[0]",
    ),
    "other features": (
        changed(features=np.array(["a", "b"])),
        "params[0].weight takes 3 inputs, but there are 2 features",
    ),
    "unknown activation": (changed(activation=np.array("relu6")), "activation must be one of relu"),
    "unknown arrays": (
        changed(categories=np.array(["a"])),
        "categories in it, which this version does not know",
    ),
    "names as numbers": (changed(classes=np.arange(2)), "classes must be text"),
    "scale 0": (changed(scale=np.float32([1, 0, 1])), "scaling.scale must not be 0"),
    "scaling of other features": (
        changed(mean=np.ones(2)),
        "scaling must be mean and scale, a number for each of 3 features, got shapes [(2,), (3,)]",
    ),
    "NaN in the mean": (changed(mean=NAN[:3]), "scaling must be finite"),
    "norm on the last layer": (changed(_1_scale=np.ones(2)), "the last layer and has no norm"),
    "text for weights": (
        changed(_0_weight=np.full((4, 3), "a")),
        "must hold floating numbers",
    ),
    "a data set": ({"x": np.ones((2, 3)), "y": np.ones(2)}, "no 0.bias, 0.weight, classes"),
}


@pytest.mark.parametrize("bad", BAD_FILES)
def test_a_file_of_something_else_is_an_error_with_path_and_mend(bad, tmp_path):
    arrays, fault = BAD_FILES[bad]
    np.savez(tmp_path / "a.npz", **arrays)
    with pytest.raises(ValueError, match=re.escape(fault)) as raised:
        jaxnet.load_network(tmp_path / "a.npz")
    assert str(raised.value).startswith(f"{tmp_path / 'a.npz'}: ")
    assert re.search(r"; (expected the params\.npz that train\.py|load it with)", str(raised.value))


def test_what_is_no_archive_is_an_error_with_path_and_mend(tmp_path):
    def fault(path, error=ValueError):
        with pytest.raises(error) as raised:
            jaxnet.load_network(path)
        assert str(path) in str(raised.value)
        return str(raised.value)

    assert "a folder; expected the path of the params.npz" in fault(tmp_path)
    assert "no such file; train.py writes one" in fault(tmp_path / "none.npz", FileNotFoundError)
    (tmp_path / "a.csv").write_text("a,b\n1,2\n")
    assert "not an .npz archive; expected the params.npz" in fault(tmp_path / "a.csv")
    np.savez(tmp_path / "a.npz", **changed(classes=np.array([{}, {}])))
    assert "Object arrays cannot be loaded" in fault(tmp_path / "a.npz")
    np.savez(tmp_path / "a.npz", **train_pys_first_layout())
    content = bytearray((tmp_path / "a.npz").read_bytes())
    place = content.index(struct.pack("<f", train_pys_first_layout()["0.bias"][2]))
    content[place] ^= 1
    (tmp_path / "a.npz").write_bytes(content)
    assert "damaged, or not of arrays alone (Bad CRC-32" in fault(tmp_path / "a.npz")


LAYER = jaxnet.Layer(np.ones((2, 3)), np.ones(2))
BAD_NETWORKS = {
    "no layers": ({"params": ()}, ValueError, "params must hold at least one layer"),
    "a function": ({"params": jaxnet.mlp}, TypeError, "params must be a sequence of layers"),
    "one layer as it is": ({"params": LAYER}, TypeError, "params must be a sequence of layers"),
    "the pair that fit returns": (
        {"params": ((LAYER,), "history")},
        TypeError,
        "params must be a sequence of layers",
    ),
    "of several runs": (
        {"params": jax.tree.map(lambda a: np.stack([a, a]), (LAYER,))},
        ValueError,
        "is of 2 runs; take one: jax.tree.map(lambda a: a[0], params)",
    ),
    "a bias of another size": (
        {"params": (LAYER._replace(bias=np.ones(3)),)},
        ValueError,
        "params[0].bias must have shape [out], here (2,), got (3,)",
    ),
    "features as one text": ({"features": "abc"}, TypeError, "features must be a sequence of n"),
    "two features of a name": ({"features": ["a", "b", "a"]}, ValueError, "all different"),
    "one class": ({"classes": ["a"]}, ValueError, "classes must be at least 2 names"),
    "classes as numbers": ({"classes": [0, 1]}, TypeError, "classes must be a sequence of names"),
    "an activation of JAX": ({"activation": jax.nn.relu}, ValueError, "activation must be one of"),
    "an activation's name": ({"activation": "relu"}, ValueError, "activation must be one of"),
    "ranges as a list of pairs": (
        {"ranges": np.ones((3, 2))},
        ValueError,
        "must be least and largest",
    ),
}


@pytest.mark.parametrize("bad", BAD_NETWORKS)
def test_a_network_whose_parts_do_not_fit_is_an_error_that_names_the_argument(bad):
    arguments, error, fault = BAD_NETWORKS[bad]
    good = {"params": (LAYER,), "features": FEATURES, "classes": CLASSES}
    with pytest.raises(error, match=re.escape(fault)) as raised:
        jaxnet.Network(**good | arguments)
    assert str(raised.value).startswith("Network: ")


class Frame(dict):
    """As a DataFrame is: columns by name."""

    columns = property(list)


def test_columns_of_a_frame_are_found_by_name():
    mixed = Frame(depth=X[:, 2], other=["a", "b", "c"], width=X[:, 0], height=X[:, 1])
    network = make(scaling=SCALING)
    np.testing.assert_array_equal(network.probabilities(mixed), network.probabilities(X))


@pytest.mark.parametrize(
    ("x", "error", "fault"),
    [
        (X[0], ValueError, "got shape (3,); for one row pass x[None]"),
        (X[:, :2], ValueError, "x must be [rows, 3], a column for each feature, got shape (3, 2)"),
        ([["a", "b", "c"]], TypeError, "x must hold numbers"),
        ([[1, 2, np.nan]], ValueError, "x[0, 2] is nan, of feature 'depth'"),
        ([[1, 1e39, 0]], ValueError, "x[0, 1] is 1e+39, of feature 'height'"),
        (Frame(width=[1], depth=[2]), ValueError, "no column 'height'; add or rename it"),
        ({"width": [1], "depth": [2]}, ValueError, "no column 'height'; add or rename it"),
        (
            Frame(width=["1.5", "2"], height=[1, 2], depth=[1, 2]),
            ValueError,
            "'width': '1.5' in row 0 is text, no number",
        ),
        (
            Frame(width=[1, np.nan], height=[1, 2], depth=["a", 3]),
            ValueError,
            "'width': no value in 1 of 2 cells (row 1)\n  'depth': 'a' in row 0 is no number",
        ),
        ([[0, 0, 0], [3e38, -3e38, 3e38]], ValueError, "outputs for row 1 of x are not finite"),
    ],
)
def test_bad_features_are_an_error_that_names_the_place(x, error, fault):
    params = (jaxnet.Layer(np.float32([[9, -9, 9], [-9, 9, -9]]), np.zeros(2, np.float32)),)
    with pytest.raises(error, match=re.escape(fault)):
        make(params).predict(x)


def test_what_is_not_a_network_is_not_saved(tmp_path):
    with pytest.raises(TypeError, match=r"save: network must be a jaxnet\.Network, got tuple"):
        jaxnet.save(tmp_path / "a.npz", draw())
    for swapped in (lambda: jaxnet.save(make(), make()), lambda: jaxnet.load_network(None)):
        with pytest.raises(TypeError, match=r"path is of type .*; expected that of an \.npz"):
            swapped()
    assert not list(tmp_path.iterdir())


OF_TARGET = Scaling(np.float32([1000]), np.float32([50]))


def of_a_number(**options):
    return jaxnet.Network(draw((3, 4, 1)), FEATURES, (), **options)


@pytest.mark.parametrize("scaling", [None, OF_TARGET])
def test_a_network_without_classes_predicts_a_number_in_units_of_the_target(scaling, tmp_path):
    network = of_a_number(scaling=SCALING, target_scaling=scaling)
    outputs = jaxnet.mlp(network.params, (X - SCALING.mean) / SCALING.scale)[:, 0]
    expected = outputs if scaling is None else 1000 + 50 * outputs
    np.testing.assert_allclose(network.predict(X), expected, rtol=1e-6)
    assert network.predict(np.zeros((0, 3))).shape == (0,)
    with pytest.raises(ValueError, match=r"no classes, so no probabilities; use predict"):
        network.probabilities(X)
    jaxnet.save(tmp_path / "a.npz", network)
    found = jaxnet.load_network(tmp_path / "a.npz")
    assert found.classes == ()
    np.testing.assert_array_equal(found.predict(X), network.predict(X), strict=True)
    assert (found.target_scaling is None) == (scaling is None)


@pytest.mark.parametrize(
    ("options", "fault"),
    [
        ({"params": draw()}, "params[1] has 2 outputs and classes is empty"),
        ({"target_scaling": Scaling(np.ones(3), np.ones(3))}, "must be mean and scale, [1], got"),
        ({"target_scaling": Scaling(np.ones(1), np.zeros(1))}, "finite, and its scale not 0"),
        (
            {"params": draw(), "classes": CLASSES, "target_scaling": OF_TARGET},
            "target_scaling is for a network without classes",
        ),
    ],
)
def test_a_number_whose_parts_do_not_fit_is_an_error(options, fault):
    good = {"params": draw((3, 4, 1)), "features": FEATURES, "classes": ()}
    with pytest.raises(ValueError, match=re.escape(fault)):
        jaxnet.Network(**good | options)


def test_half_a_scaling_of_the_target_is_an_error(tmp_path):
    jaxnet.save(tmp_path / "a.npz", of_a_number(target_scaling=OF_TARGET))
    arrays = dict(np.load(tmp_path / "a.npz"))
    del arrays["target_scale"]
    np.savez(tmp_path / "a.npz", **arrays)
    with pytest.raises(ValueError, match="no target_scale in it"):
        jaxnet.load_network(tmp_path / "a.npz")
