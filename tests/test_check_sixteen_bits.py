"""Functions that cannot be had in float64, as kernels that insist on their dtype."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from corpus import by_hand
from corpus.wrong import WRONG

from jaxnet import check
from jaxnet.checking.findings import Verdict


def only_in(*dtypes):
    """The sine and its slope, which raise where x is of another dtype."""

    def sine(x):
        assert x.dtype in dtypes, x.dtype
        return jnp.sin(x)

    def rule_times(factor):
        return by_hand(sine, lambda x, dy: ((factor * jnp.cos(x) * dy).astype(x.dtype),))

    return rule_times


@pytest.mark.parametrize("seed", [6, 7])
def test_a_sum_in_16_bits_is_no_tail(seed):
    """Though it is the same in both dtypes, and moves with its inputs' 16 bits."""
    example = WRONG["a weight's gradient is accumulated in bfloat16"]
    report = check(example.f, *example.args(np.random.default_rng(seed)), transforms=(), seed=seed)
    (found,) = (f for f in report.findings if f.verdict.bad)
    assert (found.leaf, found.verdict) == ("weight", Verdict.IMPRECISE)


def numbers(dtype, seed=0):
    return jnp.asarray(np.random.default_rng(seed).normal(size=(4, 5)), dtype)


@pytest.mark.many
@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
@pytest.mark.parametrize("factor", [1, -1, 0, 2])
def test_16_bits_alone_tell_a_right_rule_from_a_wrong_one(dtype, factor, seed):
    rule = only_in(dtype)(factor)
    report = check(rule, numbers(dtype, seed), transforms=("vmap", "scan"), seed=seed)
    assert report.ok is (factor == 1), report
    if factor == 1:
        assert report.power["x"].scale < 1
    else:
        assert report.sentence().startswith("WRONG in `x`"), report


@pytest.mark.parametrize("factor", [1, 1.01])
def test_float32_serves_where_float64_cannot_be_had(factor):
    report = check(only_in("bfloat16", "float32")(factor), numbers("bfloat16"), transforms=())
    assert report.ok is (factor == 1), report
    assert any(note.startswith("the algebra was judged in float32") for note in report.notes)


def test_a_leaf_that_16_bits_cannot_show_is_vacuous():
    """One eps of x turns the phase many times around: the slope is whatever rounding makes."""

    def fast(x):
        assert x.dtype == jnp.bfloat16
        return jnp.sin(1e5 * x)

    rule = by_hand(fast, lambda x, dy: ((1e5 * jnp.cos(1e5 * x) * dy).astype(x.dtype),))
    report = check(rule, jnp.asarray([3, 5, 7], "bfloat16"), transforms=())
    assert not report.ok
    assert report.findings[1].verdict is Verdict.VACUOUS, report
    assert "16 bits" in report.sentence()


RULES = {
    "softmax": lambda z: jax.nn.softmax(z),
    "layer norm": lambda x: (
        (x - x.mean(-1, keepdims=True)) / jnp.sqrt(x.var(-1, keepdims=True) + 1e-3)
    ),
    "product": lambda x: x @ x.T,
    "gelu": lambda x: jax.nn.gelu(x),
    "cross-entropy": lambda z: -jax.nn.log_softmax(8 * z)[..., 0],
    "relu": lambda x: jnp.maximum(x, 0),
    "norm": lambda x: jnp.linalg.norm(x, axis=-1),
}


@pytest.mark.many
@pytest.mark.parametrize("name", RULES)
@pytest.mark.parametrize("seed", range(3))
def test_right_rules_of_16_bits_pass(check, name, seed):
    """Their backwards compute in float32, and round once: they are better than autodiff."""

    def body(x):
        assert x.dtype in (jnp.bfloat16, jnp.float32)
        return RULES[name](x)

    def only_16(x):
        assert x.dtype == jnp.bfloat16
        return body(x)

    def backward(x, dy):
        (grad,) = jax.vjp(body, x.astype("float32"))[1](dy.astype("float32"))
        return (grad.astype(x.dtype),)

    report = check(by_hand(only_16, backward), numbers("bfloat16", seed), seed=seed)
    assert report.ok, report
