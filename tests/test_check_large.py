"""Large arrays: what is judged of them, and how it is said."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from corpus import by_hand, vjp

from jaxnet import audit, check
from jaxnet.checking import large

SIZE = 65_539  # a prime: blocks of it have something left over
ROWS, COLUMNS = 701, 100


def array(*shape, dtype="float32"):
    return jnp.asarray(np.random.default_rng(3).normal(size=shape), dtype)


X = array(SIZE)


def checked(f, *args, **options):
    """Without transformations: most of these tests are about which elements are seen."""
    return check(f, *args, transforms=(), budget=None, **options)


def sine(change=lambda dx: dx):
    """The sine, whose backward's result may be spoiled."""
    return by_hand(lambda x: jnp.sin(x), lambda x, dy: (change(jnp.cos(x) * dy),))


def finding(report, what, leaf):
    (found,) = (f for f in report.findings if f.what == what and f.leaf == leaf)
    return found


def wrong(report, leaf="x"):
    """The finding that is wrong; no other leaf's may be."""
    bad = [f for f in report.findings if f.verdict.bad]
    assert bad, report
    assert {f.leaf for f in bad} == {leaf}, report
    return bad[0]


# ---- which elements are seen


@pytest.mark.many
def test_a_right_rule_is_ok_and_the_report_says_what_was_judged():
    report = checked(sine(), X)
    assert report.ok, report
    assert finding(report, "algebra", "x").verdict == "ok"
    said = "\n".join(report.notes)
    assert "of 65,539 elements of `x`" in said
    assert "of 65,539 elements of `output`" in said
    assert report.cost.residual_bytes["rule"] == 4 * SIZE  # of the function that was given
    assert set(report.power) == {"x"}


@pytest.mark.many
@pytest.mark.parametrize("where", [0, 12_345, SIZE - 1])
def test_one_element_that_is_wrong_is_found_at_its_index(where):
    found = wrong(checked(sine(lambda dx: dx.at[where].multiply(1.01)), X))
    assert (found.verdict, found.index) == ("wrong", (where,))
    np.testing.assert_allclose(found.rule, 1.01 * found.true, rtol=1e-6)


@pytest.mark.many
def test_a_block_that_is_wrong_is_found_inside_of_it():
    found = wrong(checked(sine(lambda dx: dx.at[40_000:50_000].set(0)), X))
    assert 40_000 <= found.index[0] < 50_000


@pytest.mark.many
def test_a_row_that_is_wrong_is_found_in_it():
    f = by_hand(
        lambda x, w: jnp.tanh(x * w),
        lambda x, w, dy: (
            (dy * w / jnp.cosh(x * w) ** 2).at[700].multiply(-1),
            jnp.sum(dy * x / jnp.cosh(x * w) ** 2, axis=0),
        ),
    )
    found = wrong(checked(f, array(ROWS, COLUMNS), array(COLUMNS)))
    assert found.index[0] == 700
    assert len(found.index) == 2


@pytest.mark.many
def test_nan_at_one_element_is_found():
    found = wrong(checked(sine(lambda dx: dx.at[54_321].set(jnp.nan)), X))
    assert found.index == (54_321,)
    assert np.isnan(found.rule)


@pytest.mark.many
def test_a_small_leaf_beside_a_large_one_keeps_its_elements():
    f = by_hand(
        lambda x, b: x * b,
        lambda x, b, dy: (dy * b, jnp.sum(dy * x, axis=0).at[7].multiply(2)),
    )
    found = wrong(checked(f, array(ROWS, COLUMNS), array(COLUMNS)), leaf="b")
    assert found.index == (7,)


@pytest.mark.many
def test_a_large_output_of_small_leaves():
    outer = by_hand(lambda x, y: jnp.outer(x, y), lambda x, y, dy: (dy @ y, 2 * (x @ dy)))
    report = checked(outer, array(256), array(260))
    assert wrong(report, leaf="y").verdict == "wrong"


@pytest.mark.many
def test_one_cotangent_returned_for_two_large_leaves():
    f = by_hand(lambda x, y: x * jnp.sin(y), lambda x, y, dy: (dy * jnp.sin(y),) * 2)
    found = wrong(checked(f, X, 1 + X), leaf="y")
    assert "one array for a whole tuple?" in found.note


# ---- the sums over all elements


def without_a_first_look(monkeypatch):
    """As where the reference has no reverse mode, so that nobody knows where to look."""

    def nothing(problem, sizes):
        return large._Look({}, [False] * len(sizes.outputs))

    monkeypatch.setattr(large, "_first_look", nothing)


def test_a_sum_says_which_block_it_is_over(monkeypatch):
    without_a_first_look(monkeypatch)
    monkeypatch.setattr(large, "_chosen", lambda *args: {SIZE: np.array([0, 5], np.uint32)})
    found = wrong(checked(sine(lambda dx: dx.at[54_321].set(0)), X))
    assert found.index == ()
    first, last = found.note.split("elements ")[1].split(";")[0].split(" to ")
    assert int(first.replace(",", "")) <= 54_321 <= int(last.replace(",", ""))


@pytest.mark.many
def test_nan_that_no_sample_has_is_seen_in_the_sums(monkeypatch):
    without_a_first_look(monkeypatch)
    monkeypatch.setattr(large, "_chosen", lambda *args: {SIZE: np.array([0, 5], np.uint32)})
    assert np.isnan(wrong(checked(sine(lambda dx: dx.at[54_321].set(jnp.nan)), X)).rule)


# ---- values, laws, form


@pytest.mark.many
def test_a_forward_that_is_wrong_in_one_element():
    f = vjp(
        lambda x: jnp.sin(x),
        lambda x: (jnp.sin(x).at[321].add(0.1), x),
        lambda x, dy: (jnp.cos(x) * dy,),
    )
    found = wrong(checked(f, X), leaf="output")
    assert (found.what, found.index) == ("value", (321,))


@pytest.mark.many
def test_integers_that_the_forward_returns_otherwise():
    def f(x):
        return jnp.sin(x), jnp.argsort(x)

    rule = vjp(
        f,
        lambda x: ((jnp.sin(x), jnp.argsort(x).at[77].add(1)), x),
        lambda x, dy: (jnp.cos(x) * dy[0],),
    )
    assert wrong(checked(rule, X), leaf="output[1]").what == "value"


@pytest.mark.many
def test_a_clipped_cotangent_breaks_a_law():
    f = by_hand(lambda x: jnp.sin(x), lambda x, dy: (jnp.cos(x) * jnp.clip(dy, -100, 100),))
    assert wrong(checked(f, X)).what == "law: scaled"


def test_a_cotangent_of_another_dtype_is_said_of_the_large_leaf():
    x = X.astype(jnp.bfloat16)
    f = by_hand(lambda x: 2 * x, lambda x, dy: (2 * dy.astype(jnp.float32),))
    report = checked(f, x)
    assert f"its cotangent is f32[{x.size}], the argument bf16[{x.size}]" in str(report)


# ---- right rules that might be refused


def relu(slope):
    def slopes(x):
        return jnp.where(x > 0, 1.0, jnp.where(x == 0, slope, 0.0))

    return by_hand(lambda x: jnp.maximum(x, 0), lambda x, dy: (dy * slopes(x),))


@pytest.mark.many
def test_many_elements_at_kinks():
    at_zero = X.at[::3].set(0)
    report = checked(relu(0.3), at_zero)
    assert report.ok, report
    assert finding(report, "algebra", "x").verdict == "kink"
    shifted = by_hand(
        lambda x: jnp.maximum(x, 1.0), lambda x, dy: (dy * jnp.where(x >= 1, 1.0, 0.0),)
    )
    assert checked(shifted, X.at[::3].set(1)).ok


@pytest.mark.many
def test_all_zero_and_masked_with_infinity():
    affine = by_hand(lambda x, b: x + jnp.sin(b), lambda x, b, dy: (dy, dy * jnp.cos(b)))
    assert checked(affine, X, jnp.zeros(SIZE)).ok
    logits = array(ROWS, COLUMNS).at[:, ::3].set(-jnp.inf)
    softmax = by_hand(
        lambda z: jax.nn.softmax(z),
        lambda z, dy: (
            jax.nn.softmax(z) * (dy - jnp.sum(dy * jax.nn.softmax(z), -1, keepdims=True)),
        ),
    )
    report = checked(softmax, logits)
    assert report.ok, report


@pytest.mark.many
def test_outputs_that_are_not_finite():
    log = by_hand(lambda x: jnp.log(x), lambda x, dy: (dy / x,))
    report = checked(log, jnp.abs(X).at[::1000].set(0))
    assert not [f for f in report.findings if f.verdict == "wrong"], report


@pytest.mark.many
@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_sixteen_bits(dtype):
    def slope(x):
        return (1 - jnp.tanh(x.astype(jnp.float32)) ** 2).astype(x.dtype)

    right = by_hand(lambda x: jnp.tanh(x), lambda x, dy: (slope(x) * dy,))
    assert checked(right, X.astype(dtype)).ok
    twice = by_hand(lambda x: jnp.tanh(x), lambda x, dy: (2 * slope(x) * dy,))
    assert wrong(checked(twice, X.astype(dtype))).what == "algebra"


@pytest.mark.many
def test_complex_leaves():
    x = jax.lax.complex(array(SIZE // 2), 1 + array(SIZE // 2))
    right = by_hand(lambda x: x**2, lambda x, dy: (2 * x * dy,))
    assert checked(right, x).ok
    conjugated = by_hand(lambda x: x**2, lambda x, dy: (2 * x.conj() * dy,))
    assert wrong(checked(conjugated, x)).verdict == "wrong"


# ---- transformations, and audits


@pytest.mark.many
def test_under_transformations():
    report = check(sine(), X, budget=None)
    assert report.ok, report
    asked = {f.detail for f in report.findings if f.question == "transforms"}
    assert {"vmap x", "scan", "remat", "grad of grad"} <= asked


def test_what_is_not_asked_of_very_many_elements_is_said(monkeypatch):
    monkeypatch.setattr(large, "LONG", 2**16)
    report = check(sine(), X, transforms=("vmap", "scan"), budget=None)
    assert report.ok, report
    left_out = ("vmap", "scan", "special points", "kinks together")
    assert report.cut == tuple(f"{name} (too large)" for name in left_out)
    assert "not asked" in str(report)


def test_an_audit_of_a_large_function():
    spoiled = sine(lambda dx: dx.at[54_321].multiply(2))
    report = audit(lambda x: jnp.mean(spoiled(x) ** 2), X)
    assert report.sites[0].verdict == "wrong"
    assert report.sites[0].report.findings
