"""On an accelerator products are judged in full, and what its own cost is said.

The accelerator is played by a product that rounds its factors unless it is asked not to.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from corpus import by_hand

import jaxnet
from jaxnet import check
from jaxnet.checking import products

TF32 = 10  # bits of its mantissa
NORMAL = np.random.default_rng(0).normal
X, WEIGHT = jnp.asarray(NORMAL(size=(5, 8)), jnp.float32), jnp.asarray(NORMAL(size=(3, 8)), float)


def product(a, b):
    if jax.config.jax_default_matmul_precision != "highest":
        a, b = (jax.lax.reduce_precision(x, 8, TF32) for x in (a, b))
    return a @ b


def backward(x, weight, dy):
    return product(dy, weight), product(dy.T, x)


LINEAR = by_hand(lambda x, weight: product(x, weight.T), backward)


@pytest.fixture
def accelerator(monkeypatch):
    monkeypatch.setattr(products, "on_cpu", lambda: False)


def notes_on_products(f, *args):
    report = check(f, *args, transforms=())
    assert report.ok, report
    return [note for note in report.notes if "float32 products" in note]


@pytest.mark.usefixtures("accelerator")
def test_what_the_products_of_the_device_cost():
    (note,) = notes_on_products(LINEAR, X, WEIGHT)
    assert note.startswith("float32 products are judged in full; as this device makes them")
    assert "`x`" in note or "`weight`" in note
    rule, autodiff = (float(word) for word in note.replace(",", " ").split() if "e-0" in word)
    assert 2**-TF32 / 100 < rule < 2**-TF32 * 4
    assert rule / 4 < autodiff < 4 * rule


@pytest.mark.usefixtures("accelerator")
def test_the_device_is_said():
    kind = jax.devices()[0].device_kind
    assert f"judged on {kind}" in check(jaxnet.relu, X, transforms=()).notes
    audit = jaxnet.audit(jaxnet.relu, X)
    assert str(audit).count(f"judged on {kind}") == 1


def test_arguments_elsewhere_are_judged_where_they_are(forced_devices):
    forced_devices("""
        import jax
        from jaxnet.checking import _check, arrays

        first, second = jax.devices()
        seen = _check.with_jit(lambda x: arrays.device())
        assert seen(jax.device_put(1.0, second)) == second
        assert seen(jax.device_put(1.0, first)) == first
        with jax.default_device("cpu"):
            assert arrays.device() == first and arrays.on_cpu()
    """)


@pytest.mark.usefixtures("accelerator")
def test_who_asks_for_full_products_gets_no_note():
    with jax.default_matmul_precision("highest"):
        assert not notes_on_products(LINEAR, X, WEIGHT)


@pytest.mark.usefixtures("accelerator")
def test_where_nothing_is_multiplied_there_is_no_note():
    assert not notes_on_products(jaxnet.relu, X)


@pytest.mark.usefixtures("accelerator")
def test_the_callers_precision_stays_as_it_was():
    with jax.default_matmul_precision("tensorfloat32"):
        check(jaxnet.relu, X, transforms=())
        assert jax.config.jax_default_matmul_precision == "tensorfloat32"


def test_on_a_cpu_there_is_no_note():
    assert not notes_on_products(jaxnet.linear, X, WEIGHT, jnp.ones(3))
