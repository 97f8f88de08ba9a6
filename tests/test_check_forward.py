"""What `check` says of a jvp by hand in forward mode, where jax.jvp runs it as it was written.

test_check_corpus.py has more of such rules.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from corpus import by_hand, right
from corpus.wrong import transposed_right

from jaxnet import audit, check
from jaxnet.checking import programs, tangents

X = np.random.default_rng(0).normal(size=(3, 4)).astype(np.float32)
Y = np.random.default_rng(1).normal(size=(3, 4)).astype(np.float32)


def square_with(constant):
    """x², whose tangent has a constant added to it: reverse mode does not see it."""
    return right.jvp(lambda x: x**2, lambda p, t: 2 * p[0] * t[0] + constant)


def in_forward_mode(report):
    """What was found, by detail."""
    return {f.detail: f for f in report.findings if f.question == "forward"}


def text(report):
    """As it is printed, but not folded."""
    return " ".join(str(report).split())


# ---- what is found


def test_a_constant_added_to_the_tangent_is_wrong():
    g = square_with(1.0)
    report = check(g, jnp.float32(1.0))
    assert not report.ok
    found = in_forward_mode(report)
    assert {d for d, f in found.items() if f.verdict == "wrong"} == {
        "jvp", "linear", "zero for zero"
    }  # fmt: skip
    np.testing.assert_allclose(found["jvp"].rule - found["jvp"].true, 1)
    assert found["jvp"].leaf == "output"
    assert found["zero for zero"].rule == 1 == jax.jvp(g, (1.0,), (0.0,))[1]
    assert report.sentence().startswith("WRONG in `output` (forward jvp): rule ")
    assert "1, linearity asks for 0; a zero tangent must give zero" in text(report)


@pytest.mark.many
def test_a_constant_that_the_digits_hide_is_seen_where_the_tangent_is_zero():
    found = in_forward_mode(check(square_with(1e-12), X))
    assert found["jvp"].verdict == "ok"
    assert found["zero for zero"].verdict == "wrong"
    assert found["zero for zero"].rule == 1e-12


@pytest.mark.many
def test_nan_in_forward_mode_alone_is_wrong():
    def log_of_positive(x):
        return jnp.where(x > 0, jnp.log(jnp.where(x > 0, x, 1)), 0)

    def tangent(p, t):
        return jnp.where(p[0] > 0, t[0] / p[0], 0) + 0 * jnp.log(p[0])

    report = check(right.jvp(log_of_positive, tangent), np.float32([1, -2, 3]))
    found = in_forward_mode(report)["jvp"]
    assert (found.verdict, found.index) == ("wrong", (1,))
    assert np.isnan(found.rule)
    assert found.true == 0


def test_an_argument_that_moves_alone_is_named_with_the_output():
    def rule(p, t):
        is_alone = isinstance(t[1], jax.custom_derivatives.SymbolicZero)
        return p[0] * p[1] + 0.001 * is_alone, right.product_by_symbols(p, t)[1]

    found = in_forward_mode(check(right.jvp_of_symbols(lambda x, y: x * y, rule), X, Y))
    wrong = found["x alone"]
    assert (wrong.verdict, wrong.leaf) == ("wrong", "x")
    assert "in output at (" in wrong.note
    assert "jax.jvp returns another value than the function" in wrong.note
    assert found["y alone"].verdict == found["jvp"].verdict == "ok"


def test_a_rule_that_cannot_do_without_a_tangent_is_an_error():
    f = right.jvp_of_symbols(
        lambda x, y: x * y, lambda p, t: (p[0] * p[1], t[0] * p[1] + t[1] * p[0])
    )
    found = in_forward_mode(check(f, X, Y, transforms=()))
    assert found["x alone"].verdict == found["y alone"].verdict == "error"
    assert "TypeError" in found["x alone"].note
    assert found["jvp"].verdict == "ok"


@pytest.mark.many
@pytest.mark.parametrize("change", [lambda t: t.astype("float16"), lambda t: t.sum()])
def test_a_tangent_of_another_dtype_or_shape_is_an_error(change):
    report = check(right.jvp(lambda x: jnp.sin(x), lambda p, t: change(jnp.cos(p[0]) * t[0])), X)
    assert not report.ok
    assert "corresponding shapes and dtypes. Expected float32[3,4]" in report.sentence()


def test_forward_over_reverse_is_compared():
    slope = transposed_right(lambda x, dx: 2 * jnp.cos(x) * dx)
    f = right.jvp(lambda x: -jnp.cos(x), lambda p, t: slope(p[0]) * t[0])
    found = in_forward_mode(check(f, X))["jacfwd of jacrev"]
    assert (found.verdict, found.leaf) == ("wrong", "x")
    np.testing.assert_allclose(found.rule, 2 * found.true)
    assert "jacfwd of jacrev" not in in_forward_mode(check(f, X, transforms=()))


def test_two_rules_that_differ_in_forward_mode_alone_are_not_confused():
    good, bad = square_with(0.0), square_with(1.0)
    assert check(good, X).ok
    assert not check(bad, X).ok
    assert check(good, X).ok


# ---- what is right


def test_what_went_well_shares_a_row():
    f = right.jvp(lambda x, y: x * y, lambda p, t: t[0] * p[1] + t[1] * p[0])
    report = check(f, X, Y)
    assert report.ok
    said = "jvp, value, linear, zero for zero, x alone, y alone, jacfwd of jacrev"
    assert f"forward ok {said}" in text(report)


@pytest.mark.many
@pytest.mark.parametrize("slope", [0.0, 0.3, 1.0])
def test_at_a_kink_any_tangent_between_the_one_sided_slopes_is_right(slope):
    f = right.jvp(
        lambda x: jnp.maximum(x, 0),
        lambda p, t: jnp.where(p[0] == 0, slope * t[0], jnp.where(p[0] > 0, t[0], 0)),
    )
    report = check(f, np.float32([-1, 0, 2]))
    assert report.ok, report
    assert in_forward_mode(report)["jvp"].verdict == "ok"


def test_a_rule_whose_slope_has_a_backward_by_hand_has_no_forward_over_reverse():
    slope = by_hand(lambda x: jnp.cos(x), lambda x, dy: (-jnp.sin(x) * dy,))
    report = check(right.jvp(lambda x: jnp.sin(x), lambda p, t: slope(p[0]) * t[0]), X)
    assert report.ok
    assert in_forward_mode(report)["jvp"].verdict == "ok"
    assert in_forward_mode(report)["jacfwd of jacrev"].verdict == "unsupported"


@pytest.mark.many
@pytest.mark.parametrize("dtype", ["bfloat16", "float16", "float32"])
def test_where_float64_cannot_be_had_a_right_rule_stays_right(dtype):
    def only(x):
        assert x.dtype == dtype
        return right.logsumexp_by_hand(x)

    report = check(only, jnp.asarray(X, dtype))
    assert {f.verdict for f in in_forward_mode(report).values()} <= {"ok", "unsupported"}
    assert "jvp" in in_forward_mode(report)


# ---- where it is asked


@pytest.mark.many
def test_it_is_asked_of_a_jvp_at_any_depth():
    f = square_with(1.0)
    for deep in (jax.jit(f), jax.vmap(f), jax.checkpoint(f), right.in_turns(f)):
        found = in_forward_mode(check(deep, 0.1 * X, transforms=()))
        assert found["jvp"].verdict == "wrong"


def test_it_is_not_asked_where_there_is_no_forward_mode():
    theirs = by_hand(lambda x: jax.nn.relu(x) ** 2, lambda x, dy: (2 * jax.nn.relu(x) * dy,))
    for f in (theirs, lambda x: theirs(x) * jax.nn.relu(x)):
        report = check(f, X, transforms=())
        assert report.ok
        assert not in_forward_mode(report)


def test_it_is_not_asked_of_what_is_wrong_already():
    report = check(right.jvp(lambda x: jnp.sin(x), lambda p, t: 2 * jnp.cos(p[0]) * t[0]), X)
    assert report.sentence().startswith("WRONG in `x`")
    assert not in_forward_mode(report)


@pytest.mark.many
@pytest.mark.parametrize(
    ("raised", "verdict"),
    [
        (
            TypeError("can't apply forward-mode autodiff (jvp) to a custom_vjp function."),
            "unsupported",
        ),
        (NotImplementedError("no rule for this primitive"), "unsupported"),
        (ValueError("shapes"), "error"),
    ],
)
def test_what_has_no_forward_mode_is_no_fault(raised, verdict, monkeypatch):
    def run(*args):
        raise raised

    monkeypatch.setattr(tangents.Forward, "run", run)
    report = check(square_with(0.0), X, transforms=())
    assert in_forward_mode(report)["jvp"].verdict == verdict
    assert report.ok == (verdict == "unsupported")


def test_audit_tells_calls_that_differ_in_forward_mode_alone_apart():
    good, bad = square_with(0.0), square_with(1.0)
    report = audit(lambda x: jnp.sum(good(x) * bad(x)), X)
    assert not report.ok
    assert [site.verdict for site in report.sites] == ["wrong", "ok"]
    assert "forward jvp" in report.sentence()


def test_where_no_time_is_left_it_is_cut():
    report = check(square_with(1.0), X, budget=0)
    assert not in_forward_mode(report)
    assert "forward" in report.cut


def test_leaves_without_elements_and_without_numbers_are_no_trouble():
    f = right.jvp(lambda x, y: (x * 2, y * 2), lambda p, t: (t[0] * 2, t[1] * 2))
    report = check(f, np.zeros((0, 3), np.float32), np.float32([np.nan, np.inf, 1]))
    assert not [f for f in in_forward_mode(report).values() if f.verdict != "ok"]


def test_a_second_check_compiles_nothing(monkeypatch):
    f = square_with(0.0)
    first = check(f, X)
    monkeypatch.setattr(programs, "_workers", None)
    assert str(check(f, X)) == str(first)
