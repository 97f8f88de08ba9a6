"""check, audit and auto on HiPrims: every method is judged, and the one at fault is named."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.experimental import hijax

from jaxnet import audit, auto, check
from jaxnet.checking import methods as claims
from jaxnet.checking.questions import methods

if not hasattr(hijax, "HiPrim"):
    pytest.skip("this jax has no HiPrim", allow_module_level=True)

from corpus.hiprims import FAULTS, RIGHT, Accumulating, ForwardOnly, HiPrim, Wave, X, Y, applied


def judged(cls, args, seed=0):
    return check(lambda *arrays: applied(cls, *arrays), *args, seed=seed)


def blamed(report):
    """Methods of which something is wrong."""
    details = {f.detail for f in report.findings if f.verdict.bad and "." in f.detail}
    return {detail.rpartition(".")[2] for detail in details}


@pytest.mark.many
@pytest.mark.parametrize("name", FAULTS)
def test_a_wrong_method_is_named(name):
    cls, method, args = FAULTS[name]
    report = judged(cls, args)
    assert not report.ok
    assert blamed(report) == {method}, str(report)


@pytest.mark.many
@pytest.mark.parametrize("name", RIGHT)
def test_right_methods_raise_no_alarm(name):
    cls, args = RIGHT[name]
    judged(cls, args).require()


def test_there_are_enough():
    assert len(FAULTS) >= 20
    assert {f.method for f in FAULTS.values()} >= {*claims.METHODS} - {"vjp_bwd_retval", "lin"}


# ---- the report


def wrong_both_ways():
    cls = FAULTS["a backward three times too large"].cls
    return type("Both", (cls,), {"jvp": FAULTS["a jvp twice too large"].cls.jvp})


def test_a_wrong_vjp_and_a_wrong_jvp_are_both_named():
    report = judged(wrong_both_ways(), (X, Y))
    assert blamed(report) == {"vjp_bwd_retval", "jvp"}
    found = audit(lambda x, y: applied(wrong_both_ways(), jnp.tanh(x), y).sum(), X, Y)
    assert not found.ok
    (site,) = found.sites
    assert (site.rule, site.kind, site.verdict) == ("Both", "hiprim", "wrong")
    assert blamed(site.report) == {"vjp_bwd_retval", "jvp"}


def test_a_method_of_a_primitive_deep_inside_is_named():
    """The gradient of f is right: only forward mode would show it."""
    cls = FAULTS["a jvp twice too large"].cls

    @jax.jit
    def f(x, y):
        turn = lambda c, _: (applied(cls, c, y), None)  # noqa: E731
        return jax.lax.scan(turn, x, None, 2)[0]

    report = check(f, X, Y, transforms=())
    assert blamed(report) == {"jvp"}
    assert report.sentence().startswith("WRONG in `output` at ")


def test_what_the_class_lacks_is_listed():
    report = judged(ForwardOnly, (X, Y))
    report.require()
    lacks = "ForwardOnly has no vjp_fwd, vjp_bwd, vjp_bwd_retval, lin, linearized, batch"
    assert any(note.startswith(lacks) for note in report.notes)
    said = "ForwardOnly has no vjp_fwd, so there is no gradient to judge"
    assert said in [f.note for f in report.findings]


def test_the_report_lists_the_methods_that_are_right():
    text = str(judged(Accumulating, (X, Y)))
    for method in ("vjp_fwd", "vjp_bwd", "jvp", "lin", "linearized", "batch", "remat", "dce"):
        assert f"Accumulating.{method}" in text


# ---- auto


def test_auto_puts_expand_in_its_place():
    cls = wrong_both_ways()
    f = lambda x: jax.vmap(lambda x: applied(Wave, x, x))(applied(cls, x, x)).sum()  # noqa: E731
    g = lambda x: (jnp.sin(jnp.sin(x) * x) * jnp.sin(x) * x).sum()  # noqa: E731
    np.testing.assert_allclose(jax.grad(auto(f))(X), jax.grad(g)(X), rtol=1e-5)
    assert not np.allclose(jax.grad(f)(X), jax.grad(g)(X))


def test_jax_numpys_own_are_no_rules_of_anybody():
    f = lambda x: jnp.einsum("ij,jk", x, x).sum()  # noqa: E731
    assert "no rule" in check(f, X).sentence()


# ---- what stays in the graph


class Counting(HiPrim):
    """sin(x), with an effect."""

    def __init__(self, x, effects):
        self.in_avals, self.out_aval, self.params, self.effects = (x,), x, {}, effects
        super().__init__()

    def expand(self, x):
        jax.debug.callback(lambda: None)
        return jnp.sin(x)

    def vjp_fwd(self, nzs_in, x):
        return self(x), x

    def vjp_bwd_retval(self, x, g):
        return (3 * g * jnp.cos(x),)


def counted(x):
    effects = jax.make_jaxpr(lambda: jax.debug.callback(lambda: None))().effects
    return Counting(jax.typeof(x), frozenset(effects))(x)


class Raising(Wave):
    def expand(self, x, y):
        raise ValueError("only on a machine of its own")


@pytest.mark.many
@pytest.mark.parametrize("f", [counted, lambda x: applied(Raising, x, x)])
def test_what_cannot_be_taken_off_is_not_judged(f):
    report = check(f, X)
    assert not report.ok
    assert report.sentence().startswith("NOT JUDGED (primitive): ")
    report.require(accept=("primitive",))


def test_what_cannot_be_taken_off_is_a_site_of_an_audit():
    found = audit(lambda x: counted(x).sum(), X)
    assert not found.ok
    assert [(s.kind, s.verdict) for s in found.sites] == [("hiprim", "not judged")]


def test_boxes_of_flax_are_not_judged():
    nnx = pytest.importorskip("flax.nnx")

    def f(x):
        return jnp.sin(nnx.Param(x, hijax=True).get_value()).sum()

    report = check(f, X)
    assert not report.ok
    assert "NOT JUDGED (primitive): NewVariable" in report.sentence()
    found = audit(f, X)
    assert not found.ok
    assert {(s.kind, s.verdict) for s in found.sites} == {("hiprim", "not judged")}
    check(f, X, ref=lambda x: jnp.sin(x).sum()).require()


# ---- who checks the checker


def nothing(*args, **kwargs):
    return []


BROKEN = {  # what the checker then does -> where, what is put there, a fault that it then misses
    "values are not compared": (methods, "_values_judged", nothing, "a jvp of another value"),
    "derivatives are not compared": (
        methods, "_derivatives_judged", nothing, "what is not perturbed is not kept",
    ),
    "laws are not tested": (
        methods, "_broken_law", lambda *args: None, "a linearized that is not linear",
    ),
    "forwards need not be backwards": (
        methods, "_disagreements", nothing, "another slope forwards than backwards at a kink",
    ),
    "no argument moves alone": (
        claims, "_one_argument", nothing, "a jvp that takes what stands still for ones",
    ),
    "no output is used alone": (
        claims, "_one_output", nothing, "an output that is not used has a cotangent of ones",
    ),
    "nothing is accumulated into references": (
        claims, "into_references", claims.by_vjp, "a reference forgotten",
    ),
    "references are written once": (
        claims, "TIMES", 1, "a reference set, not added to",
    ),
    "nothing is mapped over last axes": (
        claims, "AXES", (0,), "a batch that overlooks where the axis is",
    ),
}  # fmt: skip


@pytest.mark.many
@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_checker_is_noticed(name, monkeypatch):
    owner, attribute, by, fault = BROKEN[name]
    cls, method, args = FAULTS[fault]
    monkeypatch.setattr(owner, attribute, by)
    assert method not in blamed(judged(cls, args))
