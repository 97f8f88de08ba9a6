"""`audit` judges what f differentiates: nothing less, and nothing that f leaves alone."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax
from test_audit import X, assert_right, jvp_probe, probe, right, table, wrong

from jaxnet import _graph, audit
from jaxnet.checking import sites

SKIPPED = "not differentiated"
TABLE = jnp.arange(4.0) + 0.5


# ---- what a rule closes over ----


def times_table(factor):
    """By a custom_vjp and by a custom_jvp."""

    def f(angle):
        return jnp.sin(angle) * TABLE

    by_vjp, by_jvp = jax.custom_vjp(f), jax.custom_jvp(f)
    by_vjp.defvjp(
        lambda angle: (f(angle), angle), lambda a, dy: (factor * jnp.cos(a) * TABLE * dy,)
    )
    by_jvp.defjvp(lambda a, da: (f(a[0]), factor * jnp.cos(a[0]) * TABLE * da[0]))
    return by_vjp, by_jvp


@pytest.mark.many
@pytest.mark.parametrize("form", [0, 1], ids=["custom_vjp", "custom_jvp"])
def test_what_a_rule_closes_over_is_left_alone(form):
    found = audit(lambda v: times_table(1)[form](v).sum(), X)
    assert_right(found, "f")
    assert found.sites[0].report.signature == "angle f32[4]"
    found = audit(lambda v: times_table(2)[form](v).sum(), X)
    assert table(found) == {"f": [(1, "wrong")]}
    assert "WRONG in `angle`" in found.sentence()


# ---- what f does not differentiate ----

UNTOUCHED = {
    "behind stop_gradient": lambda rule: lambda v: (v * lax.stop_gradient(rule(v))).sum(),
    "of a stopped argument": lambda rule: lambda v: (v * rule(lax.stop_gradient(v))).sum(),
    "of constants": lambda rule: lambda v: (v * rule(TABLE)).sum(),
    "of integers made numbers": lambda rule: (
        lambda v: (v * rule(jnp.argsort(v).astype(jnp.float32))).sum()
    ),
    "made an integer": lambda rule: lambda v: (v * (rule(v) > 0.3)).sum(),
    "in a scan": lambda rule: (
        lambda v: lax.scan(
            lambda c, t: ((c[0] + v, rule(c[1]) + t), None), (v, TABLE), jnp.arange(3.0)
        )[0][0].sum()
    ),
    "in a jitted function": lambda rule: (
        lambda v: (v * jax.jit(lambda a, b: (rule(a), b * b))(TABLE, v)[0]).sum()
    ),
    "in a branch": lambda rule: (
        lambda v: lax.cond(v[0] > 0, lambda a, b: rule(a) + b, lambda a, b: b, TABLE, v).sum()
    ),
    "in the condition of a while": lambda rule: (
        lambda v: (
            v.sum()
            * lax.while_loop(lambda c: rule(v).sum() > c + 100, lambda c: c + 1, jnp.float32(1))
        )
    ),
    "under vmap": lambda rule: (
        lambda v: jax.vmap(lambda row: rule(row) * v)(jnp.outer(TABLE, TABLE)).sum()
    ),
}


@pytest.mark.many
@pytest.mark.parametrize("name", UNTOUCHED)
def test_a_rule_that_f_never_differentiates_is_not_judged(name):
    """It is wrong, and that is nobody's business here."""
    f = UNTOUCHED[name](wrong)
    found = audit(lambda v: f(v) + right(v).sum(), X)
    assert {r: {verdict for _, verdict in rows} for r, rows in table(found).items()} == {
        "right": {"ok"},
        "wrong": {SKIPPED},
    }
    assert found.ok, str(found)
    assert found.sentence() == "ok: 1 custom rule right, and so is the whole gradient"


TOUCHED = {
    "through a carry that only the second turn moves": lambda rule: (
        lambda v: lax.scan(
            lambda c, _: ((rule(c[1]), c[0] * v), None), (TABLE, TABLE), None, length=3
        )[0][0].sum()
    ),
    "through the carry of a while": lambda rule: (
        lambda v: lax.fori_loop(0, 3, lambda i, c: (rule(c[1]), c[0] * v), (TABLE, TABLE))[0].sum()
    ),
    "in one branch": lambda rule: (
        lambda v: lax.switch(1, [lambda a: a, lambda a: rule(a) * 2], v).sum()
    ),
    "in a jitted function": lambda rule: (
        lambda v: jax.jit(lambda a, b: (b, rule(a)))(v, TABLE)[1].sum()
    ),
    "as what is scanned over": lambda rule: (
        lambda v: lax.scan(lambda c, row: (c + 1, rule(row)), 0, jnp.outer(v, TABLE))[1].sum()
    ),
    "through another rule": lambda rule: lambda v: right(rule(right(v))).sum(),
    "in remat": lambda rule: lambda v: jax.checkpoint(lambda a: rule(a) ** 2)(v).sum(),
    "through memory": lambda rule: lambda v: through_memory(rule, v),
}


def through_memory(rule, v):
    if not hasattr(jax, "new_ref"):
        pytest.skip("this jax has no references")
    memory = jax.new_ref(jnp.zeros(4))
    memory[...] = v
    return rule(memory[...]).sum()


@pytest.mark.many
@pytest.mark.parametrize("name", TOUCHED)
def test_a_rule_that_f_differentiates_is_judged(name):
    found = audit(TOUCHED[name](wrong), X)
    assert {verdict for _, verdict in table(found)["wrong"]} == {"wrong"}, str(found)


def test_where_no_rule_is_differentiated_none_was_judged():
    found = audit(lambda v: (v * wrong(TABLE)).sum(), X)
    assert not found.ok
    assert found.sentence().startswith("NOT JUDGED (not differentiated): no rule of <lambda>")
    found.require(accept=("not differentiated",))
    with pytest.raises(AssertionError, match="NOT JUDGED"):
        found.require(accept=("no rule",))


# ---- inputs and outputs one by one ----


def product(factors, name="product"):
    """x * y, whose backward multiplies the cotangents by these factors."""

    def f(x, y):
        return x * y

    f.__name__ = name
    rule = jax.custom_vjp(f)
    rule.defvjp(
        lambda x, y: (x * y, (x, y)),
        lambda kept, dy: (factors[0] * kept[1] * dy, factors[1] * kept[0] * dy),
    )
    return rule


def test_an_input_that_no_argument_moves_is_a_constant():
    rule = product((1, 2))
    found = audit(lambda v: rule(v, TABLE).sum(), X)
    assert_right(found, "product")
    assert found.sites[0].report.signature == "x f32[4]"
    found = audit(lambda v: rule(TABLE, v).sum(), X)
    assert "WRONG in `y`" in found.sentence()


@pytest.mark.many
def test_an_output_that_f_does_not_differentiate_is_left_alone():
    """A batch norm returns its statistics, and passes no derivative through them by design."""

    def centred(v):
        return v - v.mean(), v.mean()

    rule = jax.custom_vjp(centred)
    rule.defvjp(lambda v: (centred(v), None), lambda _, dy: (dy[0] - dy[0].mean(),))

    def loss(v):
        y, mean = rule(v)
        return (y**2).sum(), lax.stop_gradient(mean)

    assert_right(audit(loss, X), "centred")
    assert table(audit(lambda v: sum(map(jnp.sum, rule(v))), X)) == {"centred": [(1, "wrong")]}


def lazy_product(see):
    """x * y, told which of both is differentiated; see is asked with that."""
    rule = jax.custom_vjp(lambda x, y: x * y)

    def forward(x, y):
        return x.value * y.value, (x.value, y.value, see(x.perturbed, y.perturbed))

    def backward(kept, dy):
        x, y, factor = kept
        if isinstance(dy, jax.custom_derivatives.SymbolicZero):
            return jnp.zeros_like(x), jnp.zeros_like(y)
        return y * dy * factor, x * dy * factor

    rule.defvjp(forward, backward, symbolic_zeros=True)
    return rule


@pytest.mark.many
def test_an_input_that_f_never_moves_alone_is_not_moved_alone():
    def wrong_alone(x, y):
        return 1.0 if x and y else 2.0

    rule = lazy_product(wrong_alone)
    both = audit(lambda v: rule(jnp.sin(v), jnp.cos(v)).sum(), X)
    assert both.ok, str(both)
    found = audit(lambda v, w: rule(jnp.sin(v), jnp.cos(w)).sum(), X, X)
    assert table(found) == {"<lambda>": [(1, "wrong")]}
    assert "x alone" in str(found.sites[0].report)


def test_a_constant_is_not_perturbed():
    def raising(x, y):
        assert not y, "y cannot be differentiated"
        return 1.0

    rule = lazy_product(raising)
    assert_right(audit(lambda v: rule(v, TABLE).sum(), X), "<lambda>")


# ---- the walk itself ----


def sources_at_rules(f, *args):
    """What every rule met, and what came out: names of arguments."""
    jaxpr = jax.make_jaxpr(f)(*args)
    met = {}

    def meet(e, chain, sources):
        met[_graph.name_of_function(_graph.body_of_rule(e))] = sources
        return [0] * len(e.outvars)

    outputs = _graph.flow(jaxpr, [1 << i for i in range(len(args))], meet)
    return met, outputs


def test_flow_tells_the_arguments_apart():
    def f(a, b, n):
        (a, b), ys = lax.scan(lambda c, x: ((c[1], c[0]), x * n), (a, b), jnp.arange(3.0))
        return right(a + b), jnp.float32(n), ys.sum() + a.sum()

    met, outputs = sources_at_rules(f, X, X, jnp.int32(3))
    assert met == {"right": [0b11]}
    assert outputs == [0b11, 0, 0b11]


def test_where_nothing_is_known_all_inputs_reach_all_outputs():
    linear = jax.custom_derivatives.linear_call
    met, outputs = sources_at_rules(
        lambda a, b: linear(lambda r, x: r * x, lambda r, dy: r * dy, a, right(b)), X, X
    )
    assert met == {"right": [0b10]}
    assert outputs == [0b11]


# ---- numbers of another width in float64 ----


@pytest.mark.many
@pytest.mark.parametrize("width", [jnp.int32, jnp.int16])
def test_integers_on_the_way_to_float64(width):
    """argmax is int64 there, and int32 here."""

    def picked(factor):
        rule = jax.custom_vjp(lambda v, i: v[i] * v)
        rule.defvjp(
            lambda v, i: (v[i] * v, (v, i)),
            lambda kept, dy: (
                factor * (kept[0][kept[1]] * dy).at[kept[1]].add((kept[0] * dy).sum()),
                None,
            ),
        )
        return rule

    for factor, verdict in ((1, "ok"), (2, "wrong")):
        rule = picked(factor)
        found = audit(lambda v, rule=rule: rule(v, jnp.argmax(v).astype(width)).sum(), X)
        assert table(found) == {"<lambda>": [(1, verdict)]}, str(found)
        found = audit(lambda v, rule=rule: rule(v, jnp.argmax(v)).sum(), X)
        assert not found.sites[0].report.notes, str(found.sites[0].report)


def test_integers_met_with_x64_on(x64):
    rule = jax.custom_vjp(lambda v, i: v * i)
    rule.defvjp(lambda v, i: (v * i, i), lambda i, dy: (i * dy, None))
    x = jnp.linspace(0.2, 1.1, 4, dtype=jnp.float32)
    assert_right(audit(lambda v: rule(v, jnp.argsort(v)).sum(), x), "<lambda>")
    assert_right(audit(lambda v, i: rule(v, i).sum(), x, np.arange(4)), "<lambda>")


def test_a_jvp_rule_beside_others():
    bent = jvp_probe("bent", 3)
    found = audit(lambda v: (bent(TABLE) * probe("right", 1)(v)).sum(), X)
    assert table(found) == {"right": [(1, "ok")], "bent": [(1, SKIPPED)]}


def test_union_of_nothing():
    assert sites.union([]) == 0


# ---- other libraries ----


def test_equinox_nondifferentiable():
    """Its rule raises where it is differentiated, and f sees to it that it never is."""
    eqxi = pytest.importorskip("equinox.internal")

    def f(v):
        return (right(v) * eqxi.nondifferentiable(lax.stop_gradient(2 * v))).sum()

    found = audit(f, X)
    assert found.ok, str(found)
    assert table(found) == {"right": [(1, "ok")], "_nondifferentiable": [(1, SKIPPED)]}


@pytest.mark.many
@pytest.mark.parametrize("factor", [1, 2])
def test_equinox_checkpointed_while_loop(factor):
    """All that it loops over is moved at once, and nothing of it alone."""
    eqxi = pytest.importorskip("equinox.internal")
    step = probe("step", factor)

    def f(v):
        def body(carry):
            turn, a, b = carry
            return turn + 1, step(a) * b, jnp.cos(b)

        start = (0, v, v * v)
        turns = eqxi.while_loop(lambda c: c[0] < 3, body, start, max_steps=4, kind="checkpointed")
        return (turns[1] + turns[2]).sum()

    found = audit(f, X)
    assert found.ok == (factor == 1), str(found)
    verdicts = {s.rule: s.verdict for s in found.sites}
    assert verdicts["fn_wrapped"] == ("ok" if factor == 1 else "wrong")
