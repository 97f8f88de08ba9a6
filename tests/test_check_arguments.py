"""Rules whose arguments, or what they hold, are unusual."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from corpus import by_hand, right
from jax.extend import core
from jax.interpreters import ad, batching, mlir

from jaxnet import audit, auto, check
from jaxnet.checking.findings import Verdict

X = jnp.asarray([[0.3, -0.7, 1.1], [0.2, 0.9, -0.4]])


@pytest.mark.many
@pytest.mark.parametrize(("slope", "ok"), [(jnp.cos, True), (jnp.sin, False)])
def test_a_static_argument_by_keyword(slope, ok):
    f = right.sum_of_sines(slope)
    assert check(f, X).ok is ok
    report = audit(lambda x: jax.jit(f)(x).sum(), X)
    assert report.ok is ok
    assert [site.verdict for site in report.sites] == [Verdict.OK if ok else Verdict.WRONG]


def test_auto_of_a_static_argument_by_keyword_in_a_loop():
    f = right.sum_of_sines(jnp.sin)

    def looped(x):
        return jax.lax.scan(lambda c, _: (c + f(c)[:, None], None), x, None, length=2)[0].sum()

    def plain(x):
        return jax.lax.scan(
            lambda c, _: (c + jnp.sin(c).sum(-1)[:, None], None), x, None, length=2
        )[0].sum()

    got = jax.jit(jax.grad(auto(looped, jvp=True)))(X)
    assert jnp.allclose(got, jax.grad(plain)(X), rtol=1e-5)


# -- tracers of a trace that is over

holding = core.Primitive("holding")  # the identity, with a jaxpr in its parameters
holding.def_impl(lambda x, *, held: x)
holding.def_abstract_eval(lambda x, *, held: x)
ad.deflinear2(holding, lambda ct, x, *, held: [holding.bind(ct, held=held)])
batching.defvectorized(holding)
mlir.register_lowering(holding, lambda context, x, *, held: [x])


def holds_a_tracer(x):
    """As implicit solvers do, which keep their function as a jaxpr to differentiate it later."""
    return holding.bind(x, held=jax.make_jaxpr(lambda y: y * jnp.sin(x))(x))


@pytest.mark.many
@pytest.mark.parametrize("factor", [1, 2])
def test_a_tracer_in_static_data_is_no_leak(factor):
    rule = by_hand(lambda x: holds_a_tracer(jnp.sin(x)), lambda x, dy: (factor * jnp.cos(x) * dy,))
    report = check(rule, X, transforms=("vmap",))
    assert report.ok is (factor == 1), report
    assert ("leaked" in str(report)) is False
    assert audit(lambda x: rule(x).sum(), X).ok is (factor == 1)


def test_a_program_with_a_tracer_in_it_is_never_another():
    reports = [
        check(by_hand(lambda x: holds_a_tracer(x), lambda x, dy, f=f: (f * dy,)), X, transforms=())
        for f in (1, 2, 1)
    ]
    assert [report.ok for report in reports] == [True, False, True]


def test_a_tracer_that_did_leak_is_still_found():
    kept = []

    def body(x):
        kept.append(jnp.sin(x))
        return jnp.sum(kept[0] * x)

    report = check(by_hand(body, lambda x, dy: (dy * x,)), X, transforms=())
    assert not report.ok
    assert "leaked" in report.sentence()


# -- no elements


def test_a_leaf_without_elements_is_not_called_ok():
    rule = by_hand(
        lambda x, empty: jnp.sin(x) + empty.sum(),
        lambda x, empty, dy: (jnp.cos(x) * dy, jnp.zeros_like(empty)),
    )
    report = check(rule, X, jnp.ones((0, 2)), transforms=())
    assert report.ok, report
    assert [
        f.verdict for f in report.findings if f.leaf == "empty" and f.question == "algebra"
    ] == [Verdict.UNSUPPORTED]


def test_a_function_of_nothing_is_not_judged():
    rule = by_hand(lambda x: jnp.sin(x), lambda x, dy: (2 * jnp.cos(x) * dy,))
    report = check(rule, jnp.ones((0, 2)))
    assert not report.ok
    assert report.sentence().startswith("NOT JUDGED (no elements)")
    report.require(accept=("no elements",))


# -- jit turned off, NumPy in a backward, and what is said of a rule that raises

SINE = by_hand(lambda x: jnp.sin(x), lambda x, dy: (jnp.cos(x) * dy,))
TWICE = by_hand(lambda x: jnp.sin(x), lambda x, dy: (2 * jnp.cos(x) * dy,))


@pytest.mark.parametrize(("rule", "ok"), [(SINE, True), (TWICE, False)])
def test_jit_turned_off_by_the_caller(rule, ok):
    with jax.disable_jit():
        assert check(rule, X).ok is ok
        assert audit(lambda x: rule(x).sum(), X).ok is ok


def test_a_backward_in_numpy_is_told_of_pure_callback():
    report = check(by_hand(lambda x: jnp.sin(x), lambda x, dy: (np.cos(x) * dy,)), X)
    assert report.sentence().startswith(
        "ERROR (structure): the rule raised at test_check_arguments"
    )
    assert report.sentence().endswith("called by jax.pure_callback")


def test_a_cotangent_of_another_shape_names_its_leaf():
    rule = by_hand(lambda x, w: jnp.sin(x) * w, lambda x, w, dy: (jnp.cos(x) * w * dy, dy))
    report = check(rule, X, jnp.ones(()), transforms=())
    assert report.findings[0].leaf == "w", report
