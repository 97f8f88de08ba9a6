"""What `audit` says of that of which nothing was seen: never ok, and no fault of a right model."""

import re
from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from test_audit import X, line_of_mark, probe, right, table, wrong

from jaxnet import audit
from jaxnet.checking import _audit
from jaxnet.checking.findings import Finding, Question, Verdict

ROWS = jnp.asarray(np.random.default_rng(0).normal(size=(5, 4)), jnp.float32)


def spike(factor):
    """0 and flat to the last bit but near 3."""

    def f(v):
        return jnp.exp(-(((v - 3) * 50) ** 2))

    return probe("spike", factor, body=f, slope=lambda v: -5000 * (v - 3) * f(v))


# ---- a gradient that is mathematically 0 ----


def attention(params, x):
    """Softmax does not see what is added to all scores of a row: not the bias of the keys."""
    keys = x @ params["key"] + params["key bias"]
    return right(jax.nn.softmax(x @ keys.T) @ x).sum()


def batch_norm_after_bias(params, x):
    """The mean takes away what is added to all rows."""
    z = right(x @ params["key"]) + params["key bias"]
    z = (z - z.mean(0)) / jnp.sqrt(z.var(0) + 1e-5)
    return (z**3).sum()


PARAMS = {"key": ROWS[:4], "key bias": X}


@pytest.mark.many
@pytest.mark.parametrize("f", [attention, batch_norm_after_bias])
def test_a_gradient_that_is_0_is_a_note(f):
    found = audit(f, PARAMS, ROWS)
    assert found.ok, str(found)
    assert found.sentence() == "ok: 1 custom rule right, and so is the whole gradient"
    assert found.whole.ok
    note = "`params['key bias']`: its gradient is 0 here, so nothing of it was seen"
    assert note in found.whole.notes
    assert note in " ".join(str(found).split())


@pytest.mark.many
def test_a_gradient_that_should_be_0_and_is_not_is_wrong():
    """The backward of this softmax forgets to take the mean away."""
    softmax = jax.custom_vjp(lambda z: jax.nn.softmax(z))
    softmax.defvjp(lambda z: (jax.nn.softmax(z),) * 2, lambda p, dy: (p * dy,))

    def f(params, x):
        return (softmax(x @ (x @ params["key"] + params["key bias"]).T) @ x).sum()

    found = audit(f, PARAMS, ROWS)
    assert {s.verdict for s in found.sites} == {"wrong"}
    assert {x.leaf for x in found.whole.findings if x.verdict == "wrong"} >= {"params['key bias']"}


@pytest.mark.many
def test_a_rules_input_whose_gradient_is_0_is_a_note():
    def shifted(z, shift):
        return jax.nn.softmax(z + shift, axis=0)

    for factor in (1, 2):
        rule = jax.custom_vjp(shifted)
        rule.defvjp(
            lambda z, shift: jax.vjp(shifted, z, shift),
            lambda pull, dy, k=factor: jax.tree.map(lambda g: k * g, pull(dy)),
        )
        found = audit(lambda z, s, rule=rule: (rule(z, s) ** 2).sum(), ROWS, X[:1])
        [site] = found.sites
        assert site.verdict == ("ok" if factor == 1 else "wrong"), str(found)
        assert "`s`: its gradient is 0 here" in " ".join(str(found).split())


@pytest.mark.many
def test_flax_attention():
    nnx = pytest.importorskip("flax.nnx")
    attend = nnx.MultiHeadAttention(2, 4, 4, decode=False, rngs=nnx.Rngs(0))
    graphdef, state = nnx.split(attend)
    found = audit(lambda s, x: right(nnx.merge(graphdef, s)(x)).sum(), state, ROWS[None])
    assert found.ok, str(found)
    assert [n for n in found.whole.notes if "key" in n and "bias" in n]


# ---- nothing seen at all ----


def test_a_rule_of_which_nothing_was_seen_is_not_called_right():
    found = audit(lambda v: (spike(2)(v) + right(v)).sum(), X)  # flat here
    assert table(found) == {"spike": [(1, "vacuous")], "right": [(1, "ok")]}
    assert found.ok
    first, *others = found.sentence().split("; ")
    assert first == "ok: 1 custom rule right, and so is the whole gradient"
    assert others[0].startswith(f"spike at <lambda> ({line_of_mark(__file__, 'flat here')}): VACU")


def test_where_nothing_was_seen_of_any_rule_it_is_not_ok():
    found = audit(lambda v: (spike(2)(v) + v**2).sum(), X)
    assert table(found) == {"spike": [(1, "vacuous")]}
    assert not found.ok
    assert found.sentence().startswith("NOT JUDGED (vacuous): no rule of <lambda> was judged; spi")
    found.require(accept=("vacuous",))


@pytest.mark.many
def test_a_vacuous_verdict_is_not_shared():
    """The values at the third site show something."""

    def f(rule):
        return lambda v: (rule(v) + rule(v + 1) + rule(v / 1.1 + 1.99)).sum()

    found = audit(f(spike(1)), X)
    assert table(found) == {"spike": [(1, "vacuous"), (1, "vacuous"), (1, "ok")]}
    assert found.ok
    found = audit(f(spike(2)), X)
    assert table(found) == {"spike": [(1, "wrong"), (1, "vacuous"), (1, "vacuous")]}
    assert not found.ok
    assert found.sentence().startswith("spike at ")


@pytest.mark.many
@pytest.mark.parametrize("at_infinity", [0.0, jnp.nan])
def test_where_a_rule_has_no_gradient_the_whole_decides(at_infinity):
    """Scores that are all masked: autodiff of logsumexp is NaN there, and the gradient is 0."""
    rule = jax.custom_vjp(lambda z: jax.nn.logsumexp(z))
    rule.defvjp(lambda z: (jax.nn.logsumexp(z), z), lambda z, dy: (jnp.full_like(z, at_infinity),))
    masked = jnp.full(4, -jnp.inf)
    found = audit(lambda v: (jnp.exp(rule(masked + v)) + v**2).sum(), X)
    assert [s.verdict for s in found.sites] == ["vacuous"]
    if at_infinity == 0:
        assert found.ok, str(found)
        assert found.sentence().startswith("ok: the whole gradient is right; <lambda> at ")
        assert "nowhere finite" in found.sentence()
    else:
        assert found.sentence().startswith("WRONG in `v`")


@pytest.mark.parametrize(("factor", "verdict"), [(1, "ok"), (2, "wrong")])
def test_one_turn_of_a_loop_in_which_something_is_seen_is_enough(factor, verdict):
    rule = spike(factor)

    def f(v):
        return jax.lax.map(rule, jnp.stack([v, v / 1.1 + 1.99])).sum()

    assert table(audit(f, X)) == {"spike": [(2, verdict)]}


def test_a_rule_that_never_ran_is_none_that_was_judged():
    found = audit(lambda v: jax.lax.cond(v[0] > 0, jnp.sin, right, v).sum(), X)
    assert table(found) == {"right": [(0, "never ran")]}
    assert not found.ok
    assert found.sentence().startswith("NOT JUDGED (never ran)")
    found.require(accept=("never ran",))


# ---- what could not be examined ----


def examine_but(name, instead):
    """examine, but of this rule."""

    def examine(problem, report, *args, **kwargs):
        if report.name == name:
            return instead(report)
        return _examine(problem, report, *args, **kwargs)

    return examine


_examine = _audit.examine


def raising(report):
    raise RuntimeError("the roof fell in\nand more")


def without_reference(report):
    note = "nobody can differentiate this: give ref="
    return replace(report, findings=(Finding(Question.REFERENCE, "", Verdict.ERROR, note=note),))


def without_a_word(report):
    note = "neither the rule nor the reference has a reverse mode"
    return replace(
        report, findings=(Finding(Question.GRADIENT, "", Verdict.UNSUPPORTED, note=note),)
    )


@pytest.mark.many
@pytest.mark.parametrize(
    ("instead", "said"),
    [
        (raising, "RuntimeError: the roof fell in$"),
        (without_reference, r"nobody can differentiate this: give ref=\{rule: function\}$"),
        (without_a_word, "neither the rule nor the reference"),
    ],
)
def test_a_rule_that_could_not_be_examined_is_not_judged_and_the_others_are(
    monkeypatch, instead, said
):
    monkeypatch.setattr(_audit, "examine", examine_but("right", instead))
    found = audit(lambda v: (right(v) * probe("third", 1)(v)).sum(), X)
    assert table(found) == {"right": [(1, "not judged")], "third": [(1, "ok")]}
    assert not found.ok
    said = rf"right at <lambda> \(.*\): NOT JUDGED \(not examined\): {said}"
    assert re.match(said, found.sentence())
    assert found.whole.ok
    found.require(accept=("not examined",))
    with pytest.raises(AssertionError, match="NOT JUDGED"):
        found.require(accept=("no rule",))
    found = audit(lambda v: (right(v) * wrong(v)).sum(), X)
    assert table(found) == {"wrong": [(1, "wrong")], "right": [(1, "not judged")]}
    assert found.sentence().startswith("wrong at")
    with pytest.raises(AssertionError, match=r"^wrong at"):
        found.require(accept=("not examined",))


def test_where_the_whole_gradient_could_not_be_examined_the_rules_are_judged(monkeypatch):
    monkeypatch.setattr(_audit, "examine", examine_but("loss", raising))

    def loss(v):
        return (right(v) * wrong(v)).sum()

    found = audit(loss, X)
    assert table(found) == {"wrong": [(1, "wrong")], "right": [(1, "ok")]}
    assert "RuntimeError: the roof fell in" in str(found)

    def loss(v):
        return right(v).sum()

    found = audit(loss, X)
    assert found.sentence().startswith("NOT JUDGED (not examined): RuntimeError: the roof fell in")
    assert found.faults() == {"not examined"}


# ---- where ----


def test_a_rule_that_no_line_of_the_users_calls_is_said_to_be_defined_somewhere():
    found = audit(jax.nn.relu, X - 0.5)
    assert found.ok
    [site] = found.sites
    assert re.fullmatch(r"its definition \(\w+\.py:\d+\)", site.where)
