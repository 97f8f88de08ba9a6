"""What `check` says: verdicts at special points, reports, and errors.

test_check_corpus.py has the rules themselves.
"""

import itertools
import json
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from corpus import by_hand, pointwise, vjp
from corpus.right import divided_difference, exponential, exponential_backward, on_the_host

import jaxnet
from jaxnet import check
from jaxnet.checking import arrays, hints, programs
from jaxnet.checking.findings import Finding, Question, Verdict
from jaxnet.checking.reports import WIDTH

X = np.random.default_rng(0).normal(size=(3, 4)).astype(np.float32)


def spoiled_linear(change):
    """The affine map with other gradients: change(dx, dweight, dbias, dy) -> three."""

    def backward(residuals, dy):
        return change(*jaxnet.linear.halves.backward(residuals, dy), dy)

    return jaxnet.linear.but(backward=backward)


def scaled_linear(factor):
    """The affine map with a weight gradient that is off by a factor."""
    return spoiled_linear(lambda dx, dweight, dbias, dy: (dx, factor * dweight, dbias))


def affine_arguments(rows=3, fan_in=4, fan_out=4):
    rng = np.random.default_rng(1)
    return tuple(
        rng.normal(size=s).astype(np.float32)
        for s in ((rows, fan_in), (fan_out, fan_in), (fan_out,))
    )


def finding(report, what, leaf):
    (found,) = (f for f in report.findings if f.what == what and f.leaf == leaf)
    return found


def relu_with_slope(slope):
    return pointwise(
        lambda x: jnp.maximum(x, 0), lambda x: jnp.where(x > 0, 1.0, jnp.where(x == 0, slope, 0.0))
    )


# ---- verdicts


@pytest.mark.many
def test_a_wrong_leaf_is_named_with_its_values_and_others_stay_ok(check):
    report = check(scaled_linear(1.01), *affine_arguments())
    assert not report.ok
    wrong = finding(report, "algebra", "weight")
    assert wrong.verdict == "wrong"
    np.testing.assert_allclose(wrong.rule, 1.01 * wrong.true, rtol=1e-6)
    assert wrong.auto == wrong.true
    assert {finding(report, "algebra", leaf).verdict for leaf in ("x", "bias")} == {"ok"}
    assert report.sentence().startswith("WRONG in `weight` at (")
    assert (
        f"rule {wrong.rule:.3g}, autodiff {wrong.auto:.3g}, truth {wrong.true:.3g}"
        in report.sentence()
    )


@pytest.mark.many
@pytest.mark.parametrize("slope", [0.0, 0.3, 1.0])
def test_between_the_one_sided_slopes_is_a_kink_and_ok(check, slope):
    report = check(relu_with_slope(slope), np.array([-1.0, 0.0, 2.0], np.float32))
    assert report.ok, report
    assert finding(report, "algebra", "x").verdict == ("ok" if slope == 0.5 else "kink")


@pytest.mark.many
@pytest.mark.parametrize("slope", [-0.1, 1.1, math.nan])
def test_outside_the_one_sided_slopes_is_wrong(slope):
    wrong = finding(
        check(relu_with_slope(slope), np.array([-1.0, 0.0, 2.0], np.float32)), "algebra", "x"
    )
    assert (wrong.verdict, wrong.index) == ("wrong", (1,))


def test_a_kink_does_not_hide_a_wrong_element_beside_it():
    f = pointwise(lambda x: jnp.maximum(x, 0), lambda x: jnp.where(x > 0, 1.1, 0.0))
    wrong = finding(check(f, np.array([0.0, 0.0, 0.0, 2.0], np.float32)), "algebra", "x")
    assert (wrong.verdict, wrong.index) == ("wrong", (3,))


@pytest.mark.many
def test_autodiff_may_be_the_wrong_one(check):
    f = pointwise(jnp.tanh, lambda x: 1 / jnp.cosh(x) ** 2)
    report = check(f, np.linspace(15, 18, 5, dtype=np.float32))
    assert report.ok, report
    norm = by_hand(
        lambda x: jnp.sqrt(jnp.sum(x**2)),
        lambda x, dy: (dy * x / jnp.maximum(jnp.linalg.norm(x), 1e-30),),
    )
    report = check(norm, np.zeros(3, np.float32))
    assert report.ok, report
    assert finding(report, "algebra", "x").verdict in ("kink", "disputed")


def test_a_gradient_that_is_0_here_is_vacuous():
    square = pointwise(lambda x: x**2, lambda x: 3 * x)
    report = check(square, np.zeros(3, np.float32), domain={"x": "fixed"})
    assert finding(report, "algebra", "x").verdict == "vacuous"
    assert not report.ok


@pytest.mark.many
def test_a_0_of_which_all_terms_cancel_is_noise_and_no_more():
    summed = jax.jit(lambda x: jaxnet.rules.layer_norm(x).sum())
    bad = [f for f in check(summed, X).findings if f.verdict.bad]
    assert {(f.what, str(f.verdict)) for f in bad} == {("algebra", "vacuous")}

    def by(much):
        body = jaxnet.auto(summed)
        f = by_hand(body, lambda x, dy: (much * dy * x,))
        return check(f, X, transforms=())

    assert by(0).ok
    assert not by(1e-9).ok


def test_a_hinge_beyond_all_the_arguments_is_vacuous():
    nothing = by_hand(lambda x: jnp.maximum(x - 1000, 0), lambda x, dy: (jnp.zeros_like(x),))
    report = check(nothing, X)
    assert finding(report, "algebra", "x").verdict == "vacuous"
    assert not report.ok


@pytest.mark.many
def test_a_gradient_that_is_0_everywhere_is_not(check):
    total = by_hand(lambda x: jnp.sum(jax.nn.softmax(x)), lambda x, dy: (jnp.zeros_like(x),))
    assert check(total, X[0]).ok


def test_a_gradient_that_is_nowhere_finite_shows_nothing():
    nothing = np.full(3, np.nan, np.float32)
    report = check(pointwise(lambda x: jnp.sin(x), jnp.sin), nothing, domain={"x": "fixed"})
    assert finding(report, "algebra", "x").verdict == "vacuous"


@pytest.mark.many
def test_a_reference_that_stops_gradients_is_what_is_asked_for(check):
    def straight_through(x):
        return x + jax.lax.stop_gradient(jnp.round(x) - x)

    assert check(pointwise(jnp.round, jnp.ones_like), X, ref=straight_through).ok
    assert not check(pointwise(jnp.round, jnp.zeros_like), X, ref=straight_through).ok


@pytest.mark.many
def test_gradients_that_are_0_by_construction_are_right(check):
    assert check(pointwise(jnp.sign, jnp.zeros_like), X).ok
    squared = by_hand(
        lambda x, target: jnp.sum((x - jax.lax.stop_gradient(target)) ** 2),
        lambda x, target, dy: (2 * dy * (x - target), None),
    )
    assert check(squared, X, X + 1).ok


def test_numpy_float64_is_what_jax_makes_of_it():
    assert check(pointwise(jnp.sin, jnp.cos), np.linspace(0.1, 1, 4)).ok


@pytest.mark.many
def test_an_output_that_stays_float32(check):
    f = by_hand(
        lambda x: jnp.exp(x.astype(jnp.float32)), lambda x, dy: (dy.astype(x.dtype) * jnp.exp(x),)
    )
    assert check(f, X).ok


def test_a_branch_of_the_backward_alone():
    f = pointwise(lambda x: x**3, lambda x: jnp.where(x > 0, 3 * x**2, 2 * x**2))
    report = check(f, np.abs(X))
    assert "with the arguments times -1" in finding(report, "algebra", "x").note


@pytest.mark.many
def test_a_sum_of_softmax_shows_nothing_of_the_softmax_in_it(check):
    zero = by_hand(lambda x: jax.nn.softmax(x), lambda x, dy: (jnp.zeros_like(x),))
    assert not check(lambda x: zero(x).sum(), X[0]).ok


@pytest.mark.many
def test_imprecise_where_the_algebra_is_right(check):
    f = pointwise(
        jnp.sin,
        # As bfloat16 is, but for what XLA may leave out: a cast there and back.
        lambda x: (
            jnp.cos(x) if x.dtype == jnp.float64 else jax.lax.reduce_precision(jnp.cos(x), 8, 7)
        ),
    )
    worst = finding(check(pointwise(jnp.sin, jnp.cos), X), "precision float32", "x")
    assert worst.verdict == "ok"
    worst = finding(check(f, X), "precision float32", "x")
    assert worst.verdict == "imprecise"
    assert worst.error > 100 * worst.auto_error


@pytest.mark.many
def test_precision_is_judged_in_the_dtypes_asked_for(check):
    report = check(jaxnet.softmax, X, dtypes=("float32", "bfloat16", "float16"))
    assert [f.what for f in report.findings if f.what.startswith("precision")] == [
        "precision float32",
        "precision bfloat16",
        "precision float16",
    ]
    assert report.ok


def test_unsupported_is_not_a_fault():
    def forward(x):
        return jnp.sin(x), x

    def backward(x, dy):
        shape = jax.ShapeDtypeStruct(x.shape, x.dtype)
        return (
            jax.pure_callback(
                lambda x, dy: np.cos(x) * dy, shape, x, dy, vmap_method="expand_dims"
            ),
        )

    report = check(vjp(lambda x: jnp.sin(x), forward, backward), X)
    assert report.ok, report
    assert finding(report, "grad of grad", "").verdict == "unsupported"


@pytest.mark.many
def test_a_reference_may_be_given(check):
    straight_through = pointwise(jnp.round, jnp.ones_like)
    assert not check(straight_through, X).ok
    assert check(straight_through, X, ref=lambda x: x).ok


def decayed(x):
    """A loop of JAX that has a forward mode and no reverse mode."""

    def step(state):
        y, n = state
        return jnp.sin(y) + 0.1 * y, n + 1

    return jax.lax.while_loop(lambda state: state[1] < 4, step, (x, 0))[0]


def assert_judged_by(check, said, body, slope):
    """said: what the report says of the route to the truth."""
    right = check(pointwise(body, slope), X)
    assert right.ok, right
    assert said in str(right)
    assert right.power["x"].scale < 1e-6
    wrong = check(pointwise(body, lambda x: 1.001 * slope(x)), X)
    assert finding(wrong, "algebra", "x").verdict == "wrong"


@pytest.mark.many
def test_a_host_callback_is_judged_by_differences(check):
    assert_judged_by(check, "the truth is differences of the value", on_the_host(np.sin), jnp.cos)


@pytest.mark.many
def test_a_while_loop_is_judged_by_forward_mode(check):
    def slope(x):
        return jax.jvp(decayed, (x,), (jnp.ones_like(x),))[1]

    assert_judged_by(check, "reference's forward mode", decayed, slope)


@pytest.mark.many
def test_of_many_elements_a_route_that_takes_them_one_by_one_judges_a_sample():
    x = np.random.default_rng(1).normal(size=(30, 40)).astype(np.float32)

    def slope(x):
        return jax.jvp(decayed, (x,), (jnp.ones_like(x),))[1]

    right = check(pointwise(decayed, slope), x, transforms=())
    assert right.ok, right
    assert "of 1,200 elements of `x`" in " ".join(str(right).split())
    one_row_off = by_hand(decayed, lambda x, dy: (dy * slope(x).at[7].multiply(1.01),))
    wrong = finding(check(one_row_off, x, transforms=()), "algebra", "x")
    assert wrong.verdict == "wrong"
    assert wrong.index[0] == 7


@pytest.mark.many
def test_a_route_that_is_nowhere_finite_is_no_truth(check):
    """Autodiff of eigenvectors is NaN where eigenvalues are equal; the function is smooth."""

    a = jnp.diag(jnp.array([1.0, 1.0, 2.0]))
    report = check(by_hand(exponential, exponential_backward(divided_difference)), a)
    assert report.ok, report
    wrong = by_hand(exponential, exponential_backward(jnp.diag))
    assert finding(check(wrong, a), "algebra", "a").verdict == "wrong"


# ---- points, power, hints


@pytest.mark.many
def test_a_branch_that_nothing_entered_is_entered_by_an_added_point(check):
    def huber(x):
        return jnp.where(jnp.abs(x) <= 1, 0.5 * x**2, jnp.abs(x) - 0.5)

    inside = np.array([-0.5, 0.2, 0.7], np.float32)
    right = pointwise(huber, lambda x: jnp.clip(x, -1, 1))
    wrong = pointwise(huber, lambda x: jnp.where(jnp.abs(x) <= 1, x, 2 * jnp.sign(x)))
    report = check(right, inside)
    assert report.ok
    assert not report.never_entered
    report = check(wrong, inside)
    assert not report.ok
    assert "with the arguments times 8" in finding(report, "algebra", "x").note


@pytest.mark.many
def test_a_branch_that_cannot_be_entered_is_named_with_its_line(check):
    def f(x):
        return jnp.where(jnp.isnan(x), 0.0, x)  # this very line

    report = check(pointwise(f, jnp.ones_like), X)
    assert len(report.never_entered) == 1
    assert "condition true" in str(report.never_entered[0])
    assert "this very line" in report.never_entered[0].line
    assert "test_check.py:" in report.sentence()


@pytest.mark.many
def test_what_functions_of_jax_branch_on_inside_is_not_named(check):
    """The largest of a row may be infinite for them, and an index below 0."""

    def f(x, i):
        return jax.nn.logsumexp(x, axis=-1) - jax.nn.softmax(x)[:, 0] + x.at[i].add(1.0)[i, 0]

    rule = by_hand(f, lambda x, i, dy: (jax.vjp(f, x, i)[1](dy)[0], None))
    assert not check(rule, X, np.array([0, 1, 1])).never_entered


@pytest.mark.many
@pytest.mark.parametrize("leaf", ["x", "weight", "bias"])
def test_power_is_what_would_have_been_noticed(leaf):
    """An error twice the power is noticed, one of half the power is not: no more is promised."""
    arguments = affine_arguments()
    scale = check(jaxnet.linear, *arguments, transforms=()).power[leaf].scale
    assert 0 < scale < 1e-6
    at = ("x", "weight", "bias").index(leaf)

    def off_by(error, **options):
        def change(*grads_and_dy):
            *grads, _ = grads_and_dy
            return tuple(g * (1 + error * (i == at)) for i, g in enumerate(grads))

        report = check(spoiled_linear(change), *arguments, transforms=(), **options)
        return finding(report, "algebra", leaf).verdict

    assert off_by(2 * scale) == "approximate"  # float32 has no such digits
    assert off_by(2 * scale, rtol=0) == "wrong"
    assert off_by(scale / 2) == "ok"


@pytest.mark.many
@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda dw, dy: -dw, "its sign is wrong everywhere"),
        (lambda dw, dy: dw.T, "it is transposed"),
        (lambda dw, dy: 3.5 * dw, "it is 3.5 times the truth everywhere"),
        (lambda dw, dy: dw / dy.shape[0], "a mean over 3 in place of a sum?"),
        (lambda dw, dy: dw * dy.shape[0], "a sum over 3 in place of a mean?"),
        (lambda dw, dy: 0 * dw, "returns 0"),
    ],
)
def test_hints(change, said):
    wrong = spoiled_linear(lambda dx, dweight, dbias, dy: (dx, change(dweight, dy), dbias))
    report = check(wrong, *affine_arguments(), transforms=())
    assert said in finding(report, "algebra", "weight").note


def test_no_hint_compares_with_an_autodiff_that_is_wrong_as_well():
    """At x = y: the rule is 0.8 times the truth, and 0.4 times autodiff."""

    def larger(x, y):
        return jnp.maximum(x, y) + jnp.log1p(jnp.exp(-jnp.abs(x - y)))

    def backward(x, y, dy):
        return 0.6 * dy, 0.4 * dy

    x = np.array([0.5, -1.0, 2.0], np.float32)
    found = finding(check(by_hand(larger, backward), x, x), "algebra", "y")
    assert found.verdict == "wrong"
    assert abs(found.rule / found.true - 0.8) < 1e-3
    assert "times the truth" not in found.note


def test_a_cotangent_that_is_left_out_has_its_own_hint():
    """One cotangent shows a factor of 1 / dy, which is another for each."""
    ignored = by_hand(lambda x: jnp.mean(x**2), lambda x, dy: (2 * x / x.size,))
    found = finding(check(ignored, X, transforms=()), "algebra", "x")
    assert "it is the same for every cotangent" in found.note
    assert "times the truth" not in found.note


def test_a_factor_that_changes_with_the_cotangent_is_no_hint():
    squared = by_hand(lambda x: jnp.mean(x**2), lambda x, dy: (2 * x / x.size * dy**2,))
    assert finding(check(squared, X, transforms=()), "algebra", "x").note == ""


@pytest.mark.parametrize(("rule", "said"), [(7.0, "3.5 times the truth"), (6.0, "")])
def test_a_hint_says_what_the_two_numbers_beside_it_say(rule, said):
    t = np.arange(1.0, 5.0)[None]
    shown = Finding(Question.ALGEBRA, "x", Verdict.WRONG, rule=rule, true=2.0)
    assert said in hints.hint(3.5 * t, t, (), shown)
    assert bool(said) == bool(hints.hint(3.5 * t, t, (), shown))


def test_what_is_nowhere_finite_is_not_called_the_same_for_every_cotangent():
    t = np.arange(1.0, 7.0).reshape(2, 3)
    shown = Finding(Question.ALGEBRA, "x", Verdict.WRONG, rule=np.nan, true=2.0)
    assert hints.hint(np.full_like(t, np.nan), t, (), shown) == ""


def test_a_hint_is_given_only_where_all_elements_say_the_same():
    wrong = pointwise(jnp.sin, lambda x: jnp.cos(x) + 0.1 * x)
    assert finding(check(wrong, X), "algebra", "x").note == ""


# ---- arguments


@pytest.mark.many
def test_arguments_are_pytrees_with_anything_in_them(check):
    def body(params, key, labels, nothing=None, *, name="sin"):
        noise = jax.random.normal(key, params["w"].shape, params["w"].dtype)
        return getattr(jnp, name)(params["w"] + noise) * params["more"][0] + labels.astype(
            params["w"].dtype
        )

    f = by_hand(
        lambda params, key, labels, nothing: body(params, key, labels, nothing),
        lambda params, key, labels, nothing, dy: (
            jax.vjp(lambda p: body(p, key, labels, nothing), params)[1](dy)[0],
            None,
            None,
            None,
        ),
    )
    params = {"w": X, "more": (np.float32(2.0), "text")}

    def call(params, key, labels, nothing):
        return f({"w": params["w"], "more": (params["more"][0],)}, key, labels, nothing)

    report = check(call, params, jax.random.key(0), np.arange(4), None)
    assert report.ok, report
    assert set(report.power) == {"params['w']", "params['more'][0]"}


@pytest.mark.many
def test_a_python_float_is_differentiated_where_it_can_be(check):
    product = by_hand(lambda x, y: x * y, lambda x, y, dy: (dy * y, jnp.sum(2 * dy * x)))
    assert finding(check(product, X, 2.0), "algebra", "y").verdict == "wrong"
    power = vjp(
        lambda x, n: x**n,
        lambda x, n: (x**n, x),
        lambda n, x, dy: (n * x ** (n - 1) * dy,),
        nondiff_argnums=(1,),
    )
    assert check(power, np.abs(X), 3.0).ok


@pytest.mark.many
def test_keyword_arguments_reach_the_function(check):
    assert check(jaxnet.relu, X, kwargs={"slope_at_zero": 1.0}).ok
    with pytest.raises(ValueError, match="slope_at_zero"):
        check(jaxnet.relu, X, kwargs={"slope_at_zero": 2.0})


@pytest.mark.many
@pytest.mark.parametrize("shape", [(), (1,), (1, 1, 1)])
def test_odd_shapes(shape):
    assert check(pointwise(jnp.sin, jnp.cos), np.ones(shape, np.float32)).ok


def test_of_an_empty_array_nothing_is_judged():
    report = check(pointwise(jnp.sin, jnp.cos), np.ones((0, 3), np.float32))
    assert not report.ok
    report.require(accept=("no elements",))


def test_x64_mode_is_left_as_it_was(x64):
    assert check(jaxnet.softmax, X.astype(np.float64)).ok
    assert jnp.zeros(()).dtype == jnp.float64


def test_outside_x64_mode_it_is_left_off():
    check(jaxnet.softmax, X)
    assert jnp.zeros(()).dtype == jnp.float32


def test_a_dtype_that_was_asked_for_is_never_met_by_programs_of_another():
    """Without x64 mode float64 leaves trace as float32 ones: the same graph, judged otherwise."""

    def loses_digits(x, dy):
        return (dy * (1 - x / (1 + x)),)

    rule = by_hand(jnp.log1p, loses_digits)
    x = jnp.asarray(np.random.default_rng(0).uniform(1e4, 1e5, 7), "float32")
    check(rule, x, dtypes=("float64",))
    assert finding(check(rule, x), "precision float32", "x").verdict == "imprecise"


@pytest.mark.many
def test_inside_shard_map(forced_devices):
    forced_devices(
        """
        import jax, jax.numpy as jnp, numpy as np
        from jax.sharding import AxisType, PartitionSpec as P
        from jaxnet import check, linear

        def double_the_weights(residuals, dy):
            dx, dweight, dbias = linear.halves.backward(residuals, dy)
            return dx, 2 * dweight, dbias

        mesh = jax.make_mesh((2,), ("rows",), axis_types=(AxisType.Auto,))
        wrong = linear.but(backward=double_the_weights)
        rng = np.random.default_rng(0)
        arguments = [rng.normal(size=s).astype(np.float32) for s in ((4, 3), (2, 3), (2,))]
        for layer, right in ((linear, True), (wrong, False)):
            f = jax.shard_map(layer, mesh=mesh, in_specs=(P("rows"), P(), P()), out_specs=P("rows"))
            report = check(lambda x, weight, bias: f(x, weight, bias), *arguments)
            assert report.ok == right, report
            assert right or "`weight`" in report.sentence(), report
        """
    )


# ---- the report


@pytest.mark.many
def test_the_report_is_json_and_fits_the_page(check):
    for report in (
        check(scaled_linear(2.0), *affine_arguments()),
        check(jaxnet.softmax_cross_entropy, X, np.arange(3)),
    ):
        content = json.loads(report.json())
        assert content["ok"] == report.ok
        assert content["sentence"] == report.sentence() == str(report).splitlines()[0]
        assert [f["verdict"] for f in content["findings"]] == [f.verdict for f in report.findings]
        assert max(map(len, str(report).splitlines()[1:])) <= WIDTH


def test_require_raises_with_the_report():
    report = check(scaled_linear(2.0), *affine_arguments())
    with pytest.raises(AssertionError) as caught:
        report.require()
    assert str(caught.value) == str(report)
    assert check(jaxnet.linear, *affine_arguments()).require() is None


def test_cost_is_that_of_the_rule():
    cost = check(jaxnet.relu, X).cost
    assert cost.residual_bytes["rule"] == X.nbytes
    assert cost.residual_bytes["autodiff"] > cost.residual_bytes["rule"]
    assert set(cost.flops) == {"rule", "autodiff", "checkpoint"}


# ---- programs


def test_a_second_check_compiles_nothing(monkeypatch):
    f = pointwise(jnp.sin, jnp.cos)
    check(f, X)
    compiled = []
    submit = programs._workers.submit
    monkeypatch.setattr(
        programs._workers, "submit", lambda *a, **k: compiled.append(a) or submit(*a, **k)
    )
    assert check(f, 2 * X, seed=1).ok
    assert not compiled


@pytest.mark.many
def test_a_rule_that_was_mended_is_checked_anew(check):
    f = jaxnet.rule(lambda x: jnp.sin(x))
    f.forward(lambda x: (jnp.sin(x), x))
    f.backward(lambda x, dy: (jnp.sin(x) * dy,))
    assert not check(f, X).ok
    f.backward(lambda x, dy: (jnp.cos(x) * dy,))
    assert check(f, X).ok
    f.backward(lambda x, dy: (-jnp.cos(x) * dy,))
    assert not check(f, X).ok


@pytest.mark.many
def test_a_constant_that_changed_is_seen(check):
    factor = np.ones(4, np.float32)
    f = by_hand(lambda x: jnp.asarray(factor.copy()) * x, lambda x, dy: (dy,))
    assert check(f, X).ok
    factor *= 2
    assert not check(f, X).ok


# ---- bad use


def test_not_a_function():
    with pytest.raises(
        TypeError, match=r"check: f must be a function, got ArrayImpl; call check\(f, \*args\)"
    ):
        check(jnp.ones(3), jnp.ones(3))
    with pytest.raises(TypeError, match="check: ref must be a function, got str"):
        check(jnp.sin, X, ref="sin")


def test_nothing_to_differentiate():
    with pytest.raises(
        ValueError,
        match=r"check: sum has no floating array among its arguments.*int32\[3\]|i32\[3\]",
    ):
        check(jnp.sum, np.arange(3, dtype=np.int32))
    with pytest.raises(ValueError, match="returns no floating array"):
        check(lambda x: jnp.argmax(x), X)


def test_a_reference_of_another_kind():
    with pytest.raises(TypeError, match=r"check: ref cannot be called as f is: .*missing"):
        check(jaxnet.softmax, X, ref=lambda x, y: x)
    with pytest.raises(
        ValueError, match=r"ref must return what f returns, f32\[3,4\]; it returns f32\[\]"
    ):
        check(jaxnet.softmax, X, ref=jnp.sum)


def test_unknown_dtypes_and_transforms():
    for wrong in (("int32",), ("float33",)):
        with pytest.raises(TypeError, match="check: dtypes must be floating dtypes such as"):
            check(jaxnet.softmax, X, dtypes=wrong)
    for wrong in ("float32", (), jnp.float32):
        with pytest.raises(TypeError, match="check: dtypes must be a tuple of dtypes such as"):
            check(jaxnet.softmax, X, dtypes=wrong)
    with pytest.raises(TypeError, match="check: transforms must be some of"):
        check(jaxnet.softmax, X, transforms=("pmap",))
    with pytest.raises(
        TypeError, match="check: kwargs must be a dict of keyword arguments, got list"
    ):
        check(jaxnet.softmax, X, kwargs=[1])
    with pytest.raises(ValueError, match="check: seed must be an integer of at least 0, got -1"):
        check(jaxnet.softmax, X, seed=-1)


def test_inside_a_transformation():
    with pytest.raises(
        TypeError, match="check: the arguments are being traced; call check outside of jit"
    ):
        jax.jit(lambda x: check(jaxnet.softmax, x))(X)


def test_what_the_function_raises_comes_through():
    with pytest.raises(ValueError, match="linear: x must end in"):
        check(jaxnet.linear, X, X.T, X[0])


def test_what_the_rule_raises_is_a_finding():
    def backward(residuals, dy):
        raise RuntimeError("no backward today")

    report = check(vjp(lambda x: jnp.sin(x), lambda x: (jnp.sin(x), x), backward), X)
    assert not report.ok
    assert "no backward today" in report.sentence()


def test_what_the_function_prints_is_printed_once(capsys):
    def body(x):
        print("traced")
        return jnp.sin(x)

    check(pointwise(body, jnp.cos), X)
    assert capsys.readouterr().out == "traced\n"


@pytest.mark.parametrize("when", ["traced", "run"])
@pytest.mark.parametrize("what", ["value", "gradient"])
def test_a_function_that_is_not_deterministic(what, when):
    rng = np.random.default_rng(0)

    def noise(x):
        if when == "traced":
            return rng.normal(size=x.shape).astype(x.dtype)
        return jax.pure_callback(
            lambda x: rng.normal(size=x.shape).astype(x.dtype), jax.typeof(x), x
        )

    if what == "value":
        f = by_hand(lambda x: jnp.sin(x) + noise(x), lambda x, dy: (jnp.cos(x) * dy,))
    else:
        f = by_hand(lambda x: jnp.sin(x), lambda x, dy: (jnp.cos(x) * dy + noise(x),))
    report = check(f, X, ref=jnp.sin, transforms=())
    assert not report.ok
    # One wrong backward, or one wrong function, is traced once.
    is_traced_once = what == "gradient" or getattr(jax.config, "jax_custom_vjp3", False)
    if when != "traced" or not is_traced_once:
        assert "two runs with the same arguments differ" in str(report)


@pytest.mark.parametrize(("factor", "is_ok"), [(1 + 1e-15, True), (1 + 1e-4, False)])
def test_elsewhere_than_on_a_cpu_a_sum_may_have_another_order(factor, is_ok, monkeypatch):
    """A GPU's scatter-add: two runs differ in their last digits."""
    factors = itertools.cycle([1.0, factor])

    def backward(x, dy):
        move = jax.pure_callback(
            lambda dy: np.asarray(dy * next(factors), dy.dtype), jax.typeof(dy), dy
        )
        return (jnp.cos(x) * move,)

    monkeypatch.setattr(arrays, "on_cpu", lambda: False)
    assert arrays.same_twice(X, factor * X.astype(np.float64), np.finfo(float).eps) == is_ok
    assert check(by_hand(jnp.sin, backward), X, transforms=()).ok == is_ok


def test_a_function_without_a_rule_is_not_judged():
    report = check(jnp.sin, X)
    assert not report.ok
    assert report.sentence().startswith("NOT JUDGED (no rule): no custom rule was found in sin")
    with pytest.raises(AssertionError, match="give ref="):
        report.require()
    report.require(accept=("no rule",))
    with pytest.raises(TypeError, match=r"accept must be a tuple of names, .*write \('no rule',\)"):
        report.require(accept="no rule")


def test_what_may_be_left_unjudged_excuses_nothing_else():
    wrong = by_hand(jnp.sin, lambda x, dy: (dy,))
    with pytest.raises(AssertionError, match="WRONG"):
        check(wrong, X).require(accept=("no rule",))


@pytest.mark.many
def test_a_function_without_a_rule_is_judged_by_its_ref(check):
    assert check(jnp.sin, X, ref=lambda x: jnp.sin(x)).ok
    assert not check(lambda x: 2 * x, X, ref=lambda x: x * x).ok


def test_the_value_of_ref_is_compared():
    def straight_through(x):
        return x + jax.lax.stop_gradient(jnp.round(x) - x)

    report = check(by_hand(lambda x: jnp.round(x), lambda x, dy: (dy,)), X, ref=lambda x: x)
    (finding,) = [f for f in report.findings if f.detail == "of ref"]
    assert report.ok
    assert finding.verdict == "different"
    assert f"function {finding.rule:.4g}, ref {finding.true:.4g}" in str(report)
    same = check(by_hand(lambda x: jnp.round(x), lambda x, dy: (dy,)), X, ref=straight_through)
    assert not [f for f in same.findings if f.detail == "of ref"]
