"""Digits are judged in dtypes that the caller's mode of JAX does not have."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from corpus import by_hand, pointwise

from jaxnet import check

RULE = by_hand(lambda x, y: jnp.sin(x) * y, lambda x, y, dz: (jnp.cos(x) * y * dz, jnp.sin(x) * dz))
# Its slope has the digits of bfloat16.
ROUGH = by_hand(
    lambda x, y: jnp.sin(x) * y,
    lambda x, y, dz: (
        jax.lax.reduce_precision(jnp.cos(x), 8, 7) * y * dz,  # XLA may leave out a cast
        jnp.sin(x) * dz,
    ),
)
X, Y = jnp.asarray([0.3, -0.7]), jnp.asarray([1.3, -0.2])


@pytest.mark.parametrize(
    "dtypes",
    [
        ("float64",),
        ("complex128",),
        ("float64", "float32"),
        ("bfloat16", "float64"),
        ("float32", "bfloat16"),
    ],
)
def test_a_right_rule_is_right_in_every_dtype(dtypes):
    report = check(RULE, X, Y, dtypes=dtypes, transforms=("vmap", "scan"))
    assert report.ok, report
    assert any("not judged" in note for note in report.notes) is (
        bool({"float64", "complex128"} & set(dtypes))
    )
    judged = {f.detail for f in report.findings if f.question == "precision"}
    assert judged == set(dtypes) - {"float64", "complex128"}


def test_digits_are_judged_beside_float64():
    report = check(ROUGH, X, Y, dtypes=("float64", "float32"), transforms=())
    assert not report.ok


def test_several_dtypes_where_float64_cannot_be_had():
    def body(x, y):
        assert x.dtype != jnp.float64
        return jnp.sin(x) * y

    def backward(x, y, dz):
        return jnp.cos(x) * y * dz, jnp.sin(x) * dz

    for dtypes in (("float32", "bfloat16"), ("bfloat16", "float32")):
        report = check(by_hand(body, backward), X, Y, dtypes=dtypes, transforms=("vmap",))
        assert report.ok, report
        assert report.power["x"].scale < 0.01  # of the wider of both


@pytest.mark.parametrize("narrow", ["float8_e4m3fn", "bfloat16"])
@pytest.mark.parametrize("is_called", [False, True])
def test_a_value_that_is_rounded_costs_the_gradient_no_digits(narrow, is_called):
    """Nor where a call inside returns what is rounded beside what is kept for the backward."""

    def rounded(x):
        return x.astype(narrow).astype(x.dtype) * jnp.exp(x)

    body = jax.jit(rounded) if is_called else rounded
    rule = pointwise(body, lambda x: (1 + x) * jnp.exp(x))
    report = check(rule, X, ref=lambda x: x * jnp.exp(x), transforms=())
    assert report.ok, report
    assert report.power["x"].scale < 1e-6


@pytest.mark.parametrize(("narrow", "factor"), [("float32", 1.0001), ("bfloat16", 1.3)])
def test_a_rule_in_fewer_digits_gets_no_leave_where_nothing_has_more(narrow, factor):
    """In float64 no other dtype shows its digits; 1.3 times in bfloat16 was below what is seen."""

    def slope(x):
        return (factor * jnp.cos(x)).astype(narrow).astype(x.dtype)

    with jax.enable_x64(True):
        report = check(pointwise(jnp.sin, slope), np.linspace(0.1, 1, 4))
    assert report.sentence().startswith("WRONG in `x`")
