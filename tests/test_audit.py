"""`audit` finds every custom rule in a graph, and names the one that made the gradient wrong.

Probes are `sin` under a name of their own, with a rule that is right or twice the truth. A line
that a test expects in a report is marked by a comment; `line_of` finds it.
"""

import inspect
import json
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

import jaxnet
from jaxnet import audit, init_mlp, mlp, models, relu, softmax_cross_entropy
from jaxnet.rules._linear import linear

X = jnp.linspace(0.2, 1.1, 4)
HERE = Path(__file__)


def line_of(mark):
    """file:line of the line that ends in this comment"""
    return line_of_mark(HERE, mark)


def line_of_mark(file, mark):
    lines = Path(file).read_text("utf-8").splitlines()
    [line] = [n for n, text in enumerate(lines, 1) if text.endswith(f"# {mark}")]
    return f"{Path(file).name}:{line}"


def probe(name, factor, body=jnp.sin, slope=jnp.cos):
    """body by the name given, whose backward is factor times the truth.

    factor: a number, or a function of the inputs.
    """

    def f(v, *rest):
        return body(v)

    def backward(inputs, dy):
        k = factor(*inputs) if callable(factor) else factor
        return k * slope(inputs[0]) * dy, *(None for _ in inputs[1:])

    f.__name__ = name
    rule = jax.custom_vjp(f)
    rule.defvjp(lambda *inputs: (body(inputs[0]), inputs), backward)
    return rule


def jvp_probe(name, factor):
    def f(v):
        return jnp.sin(v)

    f.__name__ = name
    rule = jax.custom_jvp(f)
    rule.defjvp(lambda v, dv: (jnp.sin(v[0]), factor * jnp.cos(v[0]) * dv[0]))
    return rule


right, wrong = probe("right", 1), probe("wrong", 2)
wrong_on_turn = {
    turn: probe("on_turn", lambda v, i, turn=turn: jnp.where(i == turn, 2.0, 1.0))
    for turn in range(5)
}
wrong_near_three = probe("near_three", lambda v: 1 + jnp.exp(-(((v - 3) * 50) ** 2)))


def table(found):
    """What the audit says of each rule: name -> [(times it ran, verdict), one for each site]."""
    rows = {}
    for s in found.sites:
        rows.setdefault(s.rule, []).append((s.count, s.verdict))
    return rows


def assert_culprit(found, name, where):
    """Nothing but this rule is to blame, and the report's first line says its name and its line."""
    assert not found.ok
    assert (found.sites[0].rule, found.sites[0].verdict) == (name, "wrong")
    assert where in found.sites[0].where
    assert found.sentence().startswith(f"{name} at {found.sites[0].where}: WRONG in ")
    assert str(found).startswith(found.sentence())
    blamed = {s.rule for s in found.sites if s.verdict not in ("ok", "never ran", "shadowed")}
    assert blamed == {name}
    assert any(f.verdict == "wrong" for f in found.whole.findings)


def assert_right(found, *names):
    assert found.ok, str(found)
    assert found.whole.ok
    assert [s.rule for s in found.sites] == list(names)
    assert {s.verdict for s in found.sites} == {"ok"}


# ---- the training loss ----


def loss(params, x, y):
    return softmax_cross_entropy(mlp(params, x), y).mean()  # the loss


def arguments_of(sizes, batch):
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(batch, sizes[0])).astype(np.float32), rng.integers(0, sizes[-1], batch)
    return init_mlp(jax.random.key(0), sizes), x, y


@pytest.fixture(scope="module")
def training_loss():
    return audit(loss, *arguments_of((10, 100, 100, 2), 20))


@pytest.mark.many
def test_all_rules_of_the_training_loss(training_loss):
    found = training_loss
    lines, first = inspect.getsourcelines(models.mlp)

    def line_with(code):
        return f"models.py:{first + next(i for i, t in enumerate(lines) if code in t)}"

    assert_right(found, "linear", "relu", "linear", "relu", "linear", "softmax_cross_entropy")
    assert [s.count for s in found.sites] == [1] * 6
    assert {s.kind for s in found.sites} == {"vjp"}
    through = f"loss ({line_of('the loss')})"
    hidden = [line_with("z = linear("), line_with("activation(_normed")]
    assert [s.where for s in found.sites] == [
        *(f"{through} > mlp ({line})" for line in (*hidden, *hidden, line_with("*last"))),
        through,
    ]
    assert found.sentence() == "ok: 6 custom rules right, and so is the whole gradient"
    found.require()


@pytest.mark.many
@pytest.mark.parametrize(
    "broken", [linear, relu, softmax_cross_entropy], ids=lambda rule: rule.__name__
)
def test_a_broken_rule_of_the_training_loss_is_named(broken, monkeypatch):
    backward = broken.halves.backward
    monkeypatch.setattr(
        broken, "_backward", lambda r, dy, **options: backward(r, 0.99 * dy, **options)
    )
    found = audit(loss, *arguments_of((3, 4, 2), 5))
    assert_culprit(found, broken.__name__, f"loss ({line_of('the loss')})")
    with pytest.raises(AssertionError, match=f"^{broken.__name__} at loss .*WRONG in ") as raised:
        found.require()
    assert str(raised.value) == str(found)


# ---- where rules are found ----


@pytest.mark.many
def test_first_and_last_turn_of_a_scan_are_checked():
    def scanned(rule):
        def turn(v, i):
            return rule(v, i) + 0.1, v.sum()  # in the scan

        return lambda v: lax.scan(turn, v, jnp.arange(5))[0].sum()

    for turn in (0, 4):
        found = audit(scanned(wrong_on_turn[turn]), X)
        assert_culprit(found, "on_turn", line_of("in the scan"))
        assert found.sites[0].where.endswith(", in scan")
        assert table(found) == {"on_turn": [(5, "wrong")]}
    found = audit(scanned(wrong_on_turn[2]), X)  # between them the whole gradient alone tells
    assert not found.ok
    assert table(found) == {"on_turn": [(5, "ok")]}
    assert "every rule that was found is right" not in found.sentence()


@pytest.mark.many
def test_fori_loop():
    def looped(v):
        return lax.fori_loop(0, 3, lambda i, v: wrong(right(v)), v).sum()  # in the fori_loop

    found = audit(looped, X)
    assert_culprit(found, "wrong", line_of("in the fori_loop"))
    assert table(found) == {"wrong": [(3, "wrong")], "right": [(3, "ok")]}


def test_while_has_no_reverse_derivative_but_its_rules_are_checked():
    def looped(rule):
        def turn(carry):
            i, v = carry
            return i + 1, rule(v, i) + 0.1  # in the while

        return lambda v, n: lax.while_loop(lambda carry: carry[0] < n, turn, (0, v))[1].sum()

    for turn in (0, 4):
        found = audit(looped(wrong_on_turn[turn]), X, 5)
        assert not found.ok
        assert table(found) == {"on_turn": [(5, "wrong")]}
        assert line_of("in the while") in found.sentence()
    found = audit(looped(right), X, 5)
    assert table(found) == {"right": [(5, "ok")]}
    assert [f.verdict for f in found.whole.findings] == ["unsupported"]
    assert "Reverse-mode differentiation does not work" in str(found)
    assert found.ok  # no rule is to blame


@pytest.mark.parametrize("taken", ["wrong", "right"])
def test_cond(taken):
    sign = 1 if taken == "wrong" else -1
    found = audit(lambda v, flag: lax.cond(flag > 0, wrong, right, v).sum(), X, sign)
    other = {"wrong": "right", "right": "wrong"}[taken]
    assert table(found) == {
        taken: [(1, "wrong" if taken == "wrong" else "ok")],
        other: [(0, "never ran")],
    }
    assert found.ok == (taken == "right")
    if found.ok:
        assert found.sentence().startswith("ok: 1 custom rule right")
        assert "never ran" in found.sentence()


def test_a_wrong_rule_that_never_ran_is_not_called_right():
    """The whole gradient is looked at in both branches, whichever the arguments take."""
    found = audit(lambda v: lax.cond(v[0] > 0, right, wrong, v).sum(), X)
    assert table(found) == {"right": [(1, "ok")], "wrong": [(0, "never ran")]}
    assert not found.ok
    assert "every rule that was found is right" not in found.sentence()
    assert "wrong" in found.sentence().split(" never ran")[0]


def test_switch():
    found = audit(lambda v, i: lax.switch(i, [right, jnp.cos, wrong], v).sum(), X, jnp.int32(2))
    assert not found.ok
    assert table(found) == {"wrong": [(1, "wrong")], "right": [(0, "never ran")]}


def test_vmap():
    found = audit(lambda v: jax.vmap(jax.vmap(wrong))(v).sum(), jnp.outer(X, X))  # in the vmap
    assert_culprit(found, "wrong", line_of("in the vmap"))
    assert table(found) == {"wrong": [(1, "wrong")]}
    assert found.sites[0].report.signature.endswith("f32[4,4]")


def test_a_jitted_function_called_twice_is_two_sites():
    jitted = jax.jit(lambda v: wrong(v))

    def f(v):
        first = jitted(v)  # first call
        return first.sum() + jitted(2 * v).sum()  # second call

    jitted(X)  # known to the cache of jit from elsewhere
    found = audit(f, X)
    assert_culprit(found, "wrong", line_of("first call"))
    assert table(found) == {"wrong": [(1, "wrong")] * 2}
    assert line_of("second call") in found.sites[1].where


def test_remat():
    found = audit(lambda v: jax.checkpoint(lambda v: wrong(right(v)))(v).sum(), X)  # in the remat
    assert_culprit(found, "wrong", line_of("in the remat"))
    assert table(found) == {"wrong": [(1, "wrong")], "right": [(1, "ok")]}


def test_rules_inside_a_rule_are_shadowed():
    outer = probe("outer", 1, body=wrong)
    found = audit(lambda v: outer(v).sum(), X)
    assert found.ok
    assert table(found) == {"outer": [(1, "ok")], "wrong": [(1, "shadowed")]}
    assert found.sentence().startswith("ok: 1 custom rule right")
    inside = probe(
        "outer", 1, body=right, slope=lambda v: jax.vjp(wrong, v)[1](jnp.ones_like(v))[0]
    )
    found = audit(lambda v: inside(v).sum(), X)  # its backward makes use of a wrong rule
    assert_culprit(found, "outer", line_of("its backward makes use of a wrong rule"))


AUDITED_IN_SHARD_MAP = {
    "a wrong rule": """
        backward = linear.halves.backward
        linear.backward(lambda residuals, dy: backward(residuals, dy / 2))
        found = audit(mapped, *arguments)
        assert [s.verdict for s in found.sites] == ["wrong", "wrong", "ok", "ok"], found
        assert found.sites[0].rule == "linear" and not found.whole.ok
        """,
    "right rules": """
        found = audit(mapped, *arguments)
        assert found.ok, found
        names = [s.rule for s in found.sites]
        assert names == ["linear", "relu", "linear", "softmax_cross_entropy"]
        for s in found.sites:
            assert s.verdict == "ok" and s.where.endswith("in shard_map"), found
        """,
    "arguments on two devices": """
        assert audit(loss, *arguments).whole.findings
        """,
}


@pytest.mark.many
@pytest.mark.parametrize("audited", AUDITED_IN_SHARD_MAP)
def test_shard_map(audited, forced_devices):
    forced_devices(
        """
        import jax, jax.numpy as jnp, numpy as np
        from jax.sharding import AxisType, NamedSharding, PartitionSpec as P
        from jaxnet import audit, init_mlp, linear, mlp, softmax_cross_entropy

        mesh = jax.make_mesh((2,), ("rows",), axis_types=(AxisType.Auto,))
        rows, everywhere = NamedSharding(mesh, P("rows")), NamedSharding(mesh, P())
        rng = np.random.default_rng(0)
        x, y = rng.normal(size=(8, 3)).astype(np.float32), rng.integers(0, 4, 8)

        def loss(params, x, y):
            return softmax_cross_entropy(mlp(params, x), y).sum()

        def summed_over_devices(params, x, y):
            return jax.lax.psum(loss(params, x, y), "rows")

        mapped = jax.shard_map(
            summed_over_devices,
            mesh=mesh,
            in_specs=(P(), P("rows"), P("rows")),
            out_specs=P(),
        )
        params = init_mlp(jax.random.key(0), (3, 6, 4))
        arguments = jax.device_put(params, everywhere), *jax.device_put((x, y), rows)
        """
        + AUDITED_IN_SHARD_MAP[audited]
    )


@pytest.mark.many
def test_custom_jvp_rules():
    found = audit(lambda v: jax.nn.silu(jax.nn.relu(v)).sum() + jax.nn.relu(v - 0.45).sum(), X)
    assert found.ok
    assert table(found)["relu"] == [(1, "ok")] * 2
    assert {s.kind for s in found.sites} == {"jvp"}
    assert "relu (jvp)" in str(found)


@pytest.mark.parametrize("before", [lambda v: v, right], ids=["alone", "beside a custom_vjp"])
def test_a_wrong_custom_jvp(before):
    bent = jvp_probe("bent", 3)
    found = audit(lambda v: bent(before(v)).sum(), X)  # the custom_jvp
    assert_culprit(found, "bent", line_of("the custom_jvp"))


@pytest.mark.parametrize("after", [jnp.sin, right], ids=["no other rule", "another rule"])
def test_a_rule_under_an_inner_derivative_is_not_seen_and_a_note_says_so(after):
    def penalty(v):
        return after(jax.grad(lambda v: wrong(v).sum())(v)).sum()

    found = audit(penalty, X)
    assert table(found) == ({"right": [(1, "ok")]} if after is right else {})
    assert "differentiates inside itself" in " ".join(str(found).split())


def test_no_rules():
    found = audit(lambda v: jnp.sin(v).sum(), X)
    assert not found.ok
    assert found.whole.ok
    assert found.sentence().startswith("NOT JUDGED (no rule): <lambda> calls no custom rule")
    found.require(accept=("no rule",))


# ---- the values that rules meet ----


def test_rules_are_checked_with_the_values_they_meet():
    """Wrong near 3 only, where the argument is not."""
    assert_right(audit(lambda v: wrong_near_three(v).sum(), X), "near_three")
    found = audit(lambda v: wrong_near_three(jnp.exp(v) * 0 + v / 1.1 + 2).sum(), X)
    assert_culprit(found, "near_three", HERE.name)
    assert found.sites[0].report.findings[1].index == (3,)


def test_the_one_of_many_alike_that_meets_the_values_is_named():
    def f(v):
        once = wrong_near_three(v)
        twice = wrong_near_three(v + 1)
        thrice = wrong_near_three(v / 1.1 + 2)  # near three
        return (once + twice + thrice).sum()

    assert_culprit(audit(f, X), "near_three", line_of("near three"))


@pytest.mark.many
@pytest.mark.parametrize("make_key", [jax.random.key, jax.random.PRNGKey])
def test_integers_and_keys_of_rules(make_key):
    def noisy(v, i, key):
        return v * i + jax.random.uniform(key, v.shape)

    def make(factor):
        rule = jax.custom_vjp(lambda v, i, key: noisy(v, i, key))
        rule.defvjp(
            lambda v, i, key: (noisy(v, i, key), i), lambda i, dy: (factor * i * dy, None, None)
        )
        return rule

    def scanned(rule):
        return lambda v, i, key: lax.scan(
            lambda v, k: (rule(v, i, k), None), v, jax.random.split(key, 2)
        )[0].sum()

    arguments = X, jnp.arange(4), make_key(0)
    assert audit(scanned(make(1)), *arguments).ok
    found = audit(scanned(make(2)), *arguments)
    assert [s.verdict for s in found.sites] == ["wrong"]
    assert not found.whole.ok


def test_a_rule_of_integers_alone_is_none_to_check():
    double = jax.custom_vjp(lambda i: 2 * i)
    double.defvjp(lambda i: (2 * i, None), lambda _, dy: (None,))
    assert_right(audit(lambda v, i: right(v * double(i)).sum(), X, jnp.arange(4)), "right")


def test_a_rule_of_constants():
    """They are float32 in whatever dtype the arguments are."""
    constant = np.linspace(0.2, 1.1, 4, dtype=np.float32)
    found = audit(lambda v: (right(right(jnp.asarray(constant)) * v)).sum(), X)
    assert table(found) == {"right": [(1, "ok"), (1, "not differentiated")]}
    assert_right(audit(lambda v: right(v.astype(jnp.float32)).sum(), X), "right")


def test_a_gradient_that_is_zero_but_for_rounding_is_not_wrong():
    """The elements of v / sum(v) add up to 1 whatever v is."""
    normalised = jax.custom_vjp(lambda v: v / v.sum())
    normalised.defvjp(lambda v: jax.vjp(lambda v: v / v.sum(), v), lambda pull, dy: pull(dy))
    for seed in range(3):
        found = audit(lambda v: normalised(v).sum(), X, seed=seed)
        assert table(found) == {"<lambda>": [(1, "ok")]}
        assert not [f for f in found.whole.findings if f.verdict == "wrong"], str(found)


def test_float64(x64):
    x = jnp.linspace(0.2, 1.1, 4)
    found = audit(lambda v: right(v).sum(), x)
    assert_right(found, "right")
    assert found.sites[0].residual_bytes == 32
    found = audit(lambda v: wrong(v).sum(), x)  # in float64
    assert_culprit(found, "wrong", line_of("in float64"))


def test_arguments_are_pytrees_and_keywords():
    def f(tree, *, scale):
        return wrong(tree["v"] * scale).sum(), {"count": tree["n"]}

    found = audit(f, {"v": X, "n": jnp.int32(3), "none": None}, kwargs={"scale": jnp.float32(2)})
    assert table(found) == {"wrong": [(1, "wrong")]}
    assert "scale f32[]" in found.whole.signature


# ---- what is reported ----


def test_residual_bytes_and_shares():
    keeps_more = jax.custom_vjp(lambda v: jnp.sin(v))
    keeps_more.defvjp(lambda v: (jnp.sin(v), (v, jnp.cos(v))), lambda kept, dy: (kept[1] * dy,))
    found = audit(lambda v: keeps_more(lax.fori_loop(0, 3, lambda i, v: right(v), v)).sum(), X)
    kept = {s.rule: (s.residual_bytes, s.share) for s in found.sites}
    assert kept == {"right": (3 * 16, pytest.approx(0.6)), "<lambda>": (32, pytest.approx(0.4))}


def test_json(training_loss):
    found = audit(lambda v: wrong(right(v)).sum(), X)
    read = json.loads(found.json(), parse_constant=pytest.fail)
    assert (read["ok"], read["sentence"]) == (False, found.sentence())
    assert [s["rule"] for s in read["sites"]] == ["wrong", "right"]
    assert [s["where"] for s in read["sites"]] == [s.where for s in found.sites]
    assert json.loads(training_loss.json(), parse_constant=pytest.fail)["ok"]


def test_report_is_readable_at_a_hundred_columns(training_loss):
    lines = str(training_loss).splitlines()
    assert max(map(len, lines)) <= 100
    assert sum(line.split()[:1] == ["linear"] for line in lines) == 3


def test_wrong_input():
    with pytest.raises(TypeError, match=r"^audit: f must be a function, got int"):
        audit(3, X)
    with pytest.raises(
        ValueError, match=r"^audit: .* no floating array among its arguments.*i32\[3\]"
    ):
        audit(lambda v: v, jnp.arange(3))
    with pytest.raises(ValueError, match=r"^audit: .* returns no floating array"):
        audit(lambda v: 3, X)
    with pytest.raises(ZeroDivisionError):
        audit(lambda v: 1 / 0, X)


# ---- other libraries ----

ROWS = jnp.asarray(np.random.default_rng(0).normal(size=(5, 4)), jnp.float32)
LABELS = jnp.arange(5) % 3


@pytest.fixture(params=[right, wrong], ids=lambda rule: rule.__name__)
def activation(request):
    return request.param


def assert_judged(found, activation, where):
    """The model is right with `right` in it, and with `wrong` that is named."""
    if activation is wrong:
        assert_culprit(found, "wrong", line_of(where))
    else:
        assert found.ok, str(found)
        assert table(found)["right"] == [(1, "ok")]


@pytest.mark.many
def test_flax_linen_and_optax(activation):
    nn, optax = pytest.importorskip("flax.linen"), pytest.importorskip("optax")

    class Net(nn.Module):
        @nn.compact
        def __call__(self, x):
            x = activation(nn.Dense(4)(x))  # in linen
            return nn.Dense(3)(nn.relu(x))

    def loss(params, x, y):
        return optax.softmax_cross_entropy_with_integer_labels(Net().apply(params, x), y).mean()

    found = audit(loss, Net().init(jax.random.key(0), ROWS), ROWS, LABELS)
    assert_judged(found, activation, "in linen")
    assert table(found)["relu"] == [(1, "ok")]


@pytest.mark.many
def test_flax_nnx(activation):
    nnx = pytest.importorskip("flax.nnx")

    class Net(nnx.Module):
        def __init__(self, rngs):
            self.hidden, self.out = nnx.Linear(4, 4, rngs=rngs), nnx.Linear(4, 3, rngs=rngs)

        def __call__(self, x):
            return self.out(activation(self.hidden(x)))  # in nnx

    graphdef, state = nnx.split(Net(nnx.Rngs(0)))
    found = audit(lambda state, x: (nnx.merge(graphdef, state)(x) ** 2).mean(), state, ROWS)
    assert_judged(found, activation, "in nnx")


@pytest.mark.many
def test_equinox(activation):
    eqx, optax = pytest.importorskip("equinox"), pytest.importorskip("optax")

    class Net(eqx.Module):
        hidden: eqx.nn.Linear
        out: eqx.nn.Linear
        name: str = "a leaf that is no array"

        def __call__(self, x):
            return self.out(activation(self.hidden(x)))  # in equinox

    @eqx.filter_jit
    def loss(net, x, y):
        return optax.softmax_cross_entropy_with_integer_labels(jax.vmap(net)(x), y).mean()

    keys = jax.random.split(jax.random.key(0))
    net = Net(eqx.nn.Linear(4, 4, key=keys[0]), eqx.nn.Linear(4, 3, key=keys[1]))
    assert_judged(audit(loss, net, ROWS, LABELS), activation, "in equinox")


@pytest.mark.many
@pytest.mark.parametrize("factor", [1, 100])
def test_equinox_filter_custom_vjp(factor):
    eqx = pytest.importorskip("equinox")

    @eqx.filter_custom_vjp
    def f(arrays_and_name, *, times):
        x, name = arrays_and_name
        return times * jnp.sin(x) if name == "sin" else x

    f.def_fwd(
        lambda perturbed, arrays_and_name, *, times: (f.fn(arrays_and_name, times=times), None)
    )
    f.def_bwd(
        lambda kept, dy, perturbed, it, *, times: (factor * times * jnp.cos(it[0]) * dy, None)
    )
    found = audit(eqx.filter_jit(lambda x: f((x, "sin"), times=2).sum()), X)  # in filter_jit
    assert found.ok == (factor == 1)
    [site] = found.sites
    assert site.verdict == ("ok" if factor == 1 else "wrong")
    assert line_of("in filter_jit") in site.where


@pytest.mark.many
@pytest.mark.parametrize(
    "name", ["sigmoid_binary_cross_entropy", "ctc_loss", "multiclass_sparsemax_loss"]
)
def test_optax_losses(name):
    optax = pytest.importorskip("optax")
    on = {
        "sigmoid_binary_cross_entropy": lambda f, z: f(z, (ROWS > 0).astype(jnp.float32)),
        "ctc_loss": lambda f, z: f(
            z[None], jnp.zeros((1, 5)), jnp.array([[1, 2]]), jnp.zeros((1, 2))
        ),
        "multiclass_sparsemax_loss": lambda f, z: f(z, LABELS),
    }
    found = audit(lambda z: on[name](getattr(optax.losses, name), z).sum(), ROWS)
    assert found.ok, str(found)
    assert found.sites


def test_named_in_the_library():
    assert jaxnet.audit is audit
    assert {"sites", "whole", "notes", "name"} <= set(jaxnet.Audit.__dataclass_fields__)
