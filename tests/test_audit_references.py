"""`audit(f, ref={rule: function})`: the truth for rules whose function cannot be differentiated."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax
from test_audit import X, assert_right, jvp_probe, probe, right, table, wrong

import jaxnet
from jaxnet import audit, relu


def np_sin(v):
    return np.sin(np.asarray(v))


def on_the_host(factor, name="on_host"):
    """sin, computed by NumPy, with a rule that is factor times the truth."""

    def f(v):
        shape = jax.ShapeDtypeStruct(v.shape, v.dtype)
        return jax.pure_callback(np_sin, shape, v, vmap_method="sequential")

    f.__name__ = name
    rule = jax.custom_vjp(f)
    rule.defvjp(lambda v: (f(v), v), lambda v, dy: (factor * jnp.cos(v) * dy,))
    return rule


def straight_through(factor):
    rule = jax.custom_vjp(lambda v: jnp.round(v))
    rule.defvjp(lambda v: (jnp.round(v), None), lambda _, dy: (factor * dy,))
    return rule


@pytest.mark.many
@pytest.mark.parametrize(("factor", "verdict"), [(1, "ok"), (2, "wrong")])
@pytest.mark.parametrize("by", ["name", "object"])
def test_a_rule_on_the_host(by, factor, verdict):
    rule = on_the_host(factor)
    key = {"name": "on_host", "object": rule}[by]
    found = audit(lambda v: (rule(right(v)) * v).sum(), X, ref={key: jnp.sin})
    assert table(found) == {"on_host": [(1, verdict)], "right": [(1, "ok")]}
    assert found.ok == (factor == 1), str(found)
    assert found.whole.ok == (factor == 1)
    [site] = [s for s in found.sites if s.rule == "on_host"]
    assert site.report.reference == "ref sin"


def test_what_the_ref_is_of_is_the_whole_gradients_truth_too():
    """Autodiff of round is 0: the whole gradient of a straight-through rule would be wrong."""
    rule = straight_through(1)

    def f(v):
        return (rule(3 * v) * v).sum()

    assert not audit(f, X).ok
    found = audit(f, X, ref={rule: lambda v: v + lax.stop_gradient(jnp.round(v) - v)})
    assert_right(found, "<lambda>")


@pytest.mark.many
def test_sites_of_one_code_are_told_apart_by_their_objects():
    """Both are probes of one name, defined at one line."""
    one, two = straight_through(1), straight_through(2)

    def f(v):
        return (jax.vmap(one)(3 * v) * jax.jit(two)(3 * v) * v).sum()

    twice = {two: lambda v: 2 * v + lax.stop_gradient(jnp.round(v) - 2 * v)}
    once = {one: lambda v: v + lax.stop_gradient(jnp.round(v) - v)}
    assert audit(f, X, ref=once | twice).ok
    assert [s.verdict for s in audit(f, X, ref=once).sites] == ["wrong", "ok"]
    assert [s.verdict for s in audit(f, X, ref=twice).sites] == ["wrong", "ok"]


@pytest.mark.many
def test_rules_of_every_make_are_known_by_their_objects():
    bent = jvp_probe("bent", 3)

    def f(v):
        return relu(bent(v - 0.5)).sum()

    found = audit(f, X, ref={bent: lambda v: 3 * jnp.sin(v) - 2 * lax.stop_gradient(jnp.sin(v))})
    assert found.ok, str(found)
    found = audit(f, X, ref={bent: lambda v: jnp.sin(v), relu: lambda v: 2 * jnp.maximum(v, 0)})
    assert table(found) == {"bent": [(1, "wrong")], "relu": [(1, "wrong")]}
    assert audit(lambda v: relu(v - 0.5).sum(), X, ref={"relu": lambda v: jnp.maximum(v, 0)}).ok


@pytest.mark.many
def test_constants_static_arguments_and_literals():
    """A ref is called with what the rule is called with in the graph."""
    table_ = jnp.arange(4.0)

    def f(v, power, w):
        return v**power * w * table_

    rule = jax.custom_vjp(f, nondiff_argnums=(1,))
    rule.defvjp(
        lambda v, power, w: (f(v, power, w), (v, w)),
        lambda power, kept, dy: (
            power * kept[0] ** (power - 1) * kept[1] * table_ * dy,
            (kept[0] ** power * table_ * dy).sum(),
        ),
    )
    asked = []

    def ref(v, w):
        asked.append((v.shape, w.shape))
        return v**3 * w * table_

    assert_right(audit(lambda v: rule(v, 3, jnp.float32(2.0)).sum(), X, ref={rule: ref}), "f")
    assert set(asked) == {((4,), ())}
    found = audit(lambda v: rule(v, 3, v[0]).sum(), X, ref={rule: lambda v, w: ref(v, w) + v**2})
    assert table(found) == {"f": [(1, "wrong")]}


def test_a_ref_in_a_loop():
    rule = on_the_host(1)

    def scanned(v):
        return lax.scan(lambda c, _: (rule(c), None), v, None, length=3)[0].sum()

    found = audit(scanned, X, ref={rule: jnp.sin})
    assert found.ok, str(found)
    assert table(found) == {"on_host": [(3, "ok")]}


def test_a_ref_inside_a_rule():
    """The body of the outer rule calls the inner one: the whole truth goes through the ref."""
    inner = on_the_host(1)
    outer = probe("outer", 1, body=inner)
    found = audit(lambda v: outer(v).sum(), X, ref={inner: jnp.sin, "outer": jnp.sin})
    assert table(found) == {"outer": [(1, "ok")], "on_host": [(1, "shadowed")]}
    assert found.ok, str(found)


def test_a_ref_with_another_value_is_said():
    found = audit(lambda v: right(v).sum(), X, ref={right: lambda v: jnp.sin(v) + 1})
    assert found.ok, str(found)
    assert "another value" in str(found.sites[0].report)


# ---- wrong input ----


def test_an_unknown_rule_names_the_rules():
    with pytest.raises(ValueError, match=r"ref has 'softmx', .* no rule of f; .*: relu, right"):
        audit(lambda v: relu(right(v)).sum(), X, ref={"softmx": jnp.sin})
    with pytest.raises(ValueError, match=r"^audit: ref has wrong, .* no rule of f; .*: right$"):
        audit(lambda v: right(v).sum(), X, ref={wrong: jnp.sin})
    with pytest.raises(ValueError, match=r"its rules: none"):
        audit(lambda v: v.sum(), X, ref={"right": jnp.sin})


def test_a_ref_of_other_shapes_is_refused():
    with pytest.raises(ValueError, match=r"ref of right must return .* \(4,\); it .*\(\)"):
        audit(lambda v: right(v).sum(), X, ref={right: lambda v: v.sum()})
    with pytest.raises(TypeError, match="positional argument"):
        audit(lambda v: right(v).sum(), X, ref={right: lambda v, w: v})


def test_wrong_types():
    for ref, said in (
        (jnp.sin, r"^audit: ref must be a dict from rules to functions.*got"),
        ({"right": 3}, r"^audit: the ref of 'right' must be a function, got int"),
        ({jnp.sin: jnp.sin}, r"^audit: ref must name a rule by its name or be the rule itself"),
    ):
        with pytest.raises(TypeError, match=said):
            audit(lambda v: right(v).sum(), X, ref=ref)


def test_a_rule_without_halves_says_so():
    unfinished = jaxnet.rule(lambda v: v)
    with pytest.raises(TypeError, match="has no forward"):
        audit(lambda v: right(v).sum(), X, ref={unfinished: jnp.sin})


# ---- other libraries' ----


@pytest.mark.many
def test_a_pallas_kernel():
    pl = pytest.importorskip("jax.experimental.pallas")

    def kernel(v, out):
        out[...] = jnp.sin(v[...])

    def on_pallas(v):
        shape = jax.ShapeDtypeStruct(v.shape, v.dtype)
        return pl.pallas_call(kernel, out_shape=shape, interpret=True)(v)

    for factor, verdict in ((1, "ok"), (-1, "wrong")):
        rule = jax.custom_vjp(on_pallas)
        rule.defvjp(lambda v: (on_pallas(v), v), lambda v, dy, k=factor: (k * jnp.cos(v) * dy,))
        found = audit(lambda v, rule=rule: (rule(v) * v).sum(), X, ref={rule: jnp.sin})
        assert table(found) == {"on_pallas": [(1, verdict)]}, str(found)
        assert found.ok == (factor == 1)
