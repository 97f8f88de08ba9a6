"""An argument whose gradient is meant to be another; the rest of the rule is judged."""

import jax.numpy as jnp
import numpy as np
import pytest
from corpus import by_hand

from jaxnet import check

X = np.random.default_rng(0).normal(size=(2, 3)).astype(np.float32)
SCALE = np.array([0.5, 1.5, 2.0], np.float32)


def quantized(of_scale=1.0, of_all=lambda dy: dy):
    """Straight through round for x; scale has its derivative, if of_scale is 1."""
    return by_hand(
        lambda x, scale: jnp.round(x) * scale,
        lambda x, scale, dy: (of_all(dy), of_scale * jnp.sum(dy * jnp.round(x), 0)),
    )


def examine(f):
    return check(f, X, SCALE, transforms=(), by_design=("x",))


def test_the_argument_is_said_and_is_no_fault():
    assert not check(quantized(), X, SCALE, transforms=()).ok
    report = examine(quantized())
    assert report.ok
    assert "grad of grad and forward mode (by design)" in report.unasked()
    (meant,) = [f for f in report.findings if f.verdict == "different"]
    assert (meant.leaf, meant.note) == ("x", "another gradient than the derivative, by design")


def test_the_other_argument_is_judged():
    bad = [f for f in examine(quantized(of_scale=1.01)).findings if f.verdict.bad]
    assert {f.leaf for f in bad} == {"scale"}


def test_laws_are_judged():
    bad = [
        f
        for f in examine(quantized(of_all=lambda dy: jnp.clip(dy, -9, 9))).findings
        if f.verdict.bad
    ]
    assert {(f.leaf, f.question) for f in bad} == {("x", "laws")}


def test_names_that_cannot_be():
    with pytest.raises(TypeError, match="by_design must be a tuple of argument names, got 'x'"):
        check(quantized(), X, SCALE, by_design="x")
    with pytest.raises(ValueError, match=r"'z', which is no floating argument \(x, scale\)"):
        check(quantized(), X, SCALE, by_design=("z",))
