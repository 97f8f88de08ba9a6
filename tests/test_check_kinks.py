"""What `check` says where there is no one slope: several kinks, NaN, and autodiff that is wrong."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from corpus import by_hand, pointwise, right

from jaxnet import check
from jaxnet.checking.arbiter import Slopes
from jaxnet.checking.questions import algebra
from jaxnet.checking.questions.power import AS_WRONG

ROWS = np.array([[1, 3, 3], [2, 2, 2], [0.5, -1, 0]], np.float32)
TIED = np.array([2, 1, 2, 2, 5], np.float32)


def found(f, *args, what="algebra", **more):
    """By leaf, what is said of it."""
    report = check(f, *args, transforms=["grad of grad"] if what == "grad of grad" else [], **more)
    return {finding.leaf: finding for finding in report.findings if finding.what == what}


def verdicts(f, *args, **more):
    return {leaf: str(finding.verdict) for leaf, finding in found(f, *args, **more).items()}


# ---- ties


def largest_with_shares(share):
    """The largest of each row; share(whether an element is the largest) says what each is paid."""
    return by_hand(right.largest, lambda x, dy: (dy[:, None] * share(right.is_largest(x)),))


def test_a_largest_that_pays_every_tie_is_wrong_along_all_of_them():
    wrong = found(largest_with_shares(lambda largest: largest), ROWS)["x"]
    assert wrong.verdict == "wrong"
    count = {0: 2, 1: 3}[wrong.index[0]]  # row 0 has two ties, row 1 three
    assert f"along {count} elements" in wrong.note
    np.testing.assert_allclose(wrong.rule, count * wrong.true)


@pytest.mark.many
@pytest.mark.parametrize(
    "share",
    [
        lambda largest: largest & (jnp.cumsum(largest, -1) == 1),
        lambda largest: largest & (jnp.cumsum(largest[:, ::-1], -1)[:, ::-1] == 1),
        lambda largest: largest / jnp.sum(largest, -1, keepdims=True),
    ],
    ids=["first", "last", "shared"],
)
@pytest.mark.parametrize("seed", range(3))
def test_a_largest_that_pays_once_is_right(share, seed):
    f = largest_with_shares(share)
    weights = jnp.array([1.0, -2.0, 1.0])
    assert verdicts(f, ROWS, seed=seed)["x"] in ("ok", "kink")
    summed = verdicts(lambda x: jnp.sum(weights.astype(x.dtype) * f(x)), ROWS, seed=seed)
    assert summed["x"] in ("ok", "kink")


def test_a_larger_that_pays_both_is_wrong_across_two_arguments():
    a, b = np.array([1, 3, 2, 5], np.float32), np.array([0, 3, 2.5, 5], np.float32)
    both = by_hand(
        right.larger, lambda a, b, dy: (jnp.where(a >= b, dy, 0), jnp.where(b >= a, dy, 0))
    )
    wrong = found(both, a, b)["a"]
    assert wrong.verdict == "wrong"
    assert wrong.index in ((1,), (3,))
    assert set(verdicts(right.tie(0.3), a, b).values()) == {"kink"}


def pays(indices):
    """The median, which pays these elements in full."""
    return by_hand(right.median, lambda x, dy: (jnp.zeros_like(x).at[jnp.array(indices)].set(dy),))


@pytest.mark.many
def test_a_median_may_pay_any_of_its_ties_but_one_alone():
    def verdict(indices):
        return verdicts(pays(indices), TIED, domain={"x": "fixed"})["x"]  # right there alone

    assert sorted(map(verdict, ([0], [2], [3]))) == ["kink", "kink", "ok"]
    for others in ([0, 2, 3], [0, 3], [1], [4]):
        assert verdict(others) == "wrong", others


@pytest.mark.many
@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("order", [(7, 6, 5, 4, 3, 2, 1, 0), (3, 5, 1, 2, 0, 7, 6, 4)])
def test_a_sort_may_take_ties_in_any_order(order, seed):
    x = np.array([1, 2, 2, 2, 3, 2, 1, 5], np.float32)
    assert verdicts(right.sort_with_ties_in_order(*order), x, seed=seed)["x"] == "kink"


# ---- other kinks that go together


@pytest.mark.many
@pytest.mark.parametrize(
    ("at_zero", "verdict"), [(0.0, "kink"), (0.5, "kink"), (0.9, "wrong"), (1.0, "wrong")]
)
def test_a_norm_at_zero_returns_no_more_than_its_length(at_zero, verdict):
    x = np.array([[1, 2, 3], [0, 0, 0]], np.float32)
    norm = by_hand(right.safe_norm, right.norm_backward(at_zero))
    assert verdicts(norm, x)["x"] in (verdict, "disputed" if verdict == "kink" else verdict)


@pytest.mark.many
@pytest.mark.parametrize("slope", [0.3, 1.0])
@pytest.mark.parametrize("seed", range(3))
def test_relu_at_many_zeros_may_have_any_slope(slope, seed):
    relu = pointwise(
        lambda x: jnp.maximum(x, 0),
        lambda x: jnp.where(x > 0, 1.0, jnp.where(x == 0, slope, 0.0)),
    )
    x = np.concatenate([np.zeros(20), [1, -2, 3]]).astype(np.float32)
    weights = np.cos(np.arange(23)).astype(np.float32)
    assert verdicts(relu, x, seed=seed) == {"x": "kink"}
    summed = verdicts(lambda x: jnp.sum(x.dtype.type(1) * weights * relu(x)), x, seed=seed)
    assert summed == {"x": "kink"}


@pytest.mark.many
def test_two_terms_of_one_relu_are_paid_alike():
    x = np.array([[1, -1], [2, 1], [3, -3]], np.float32)
    for shares, verdict in (((0.3, 0.3), "kink"), ((0.0, 1.0), "wrong"), ((1.0, 0.6), "wrong")):
        f = by_hand(right.relu_of_sum, right.relu_of_sum_backward(*shares))
        assert verdicts(f, x) == {"x": verdict}, shares


# ---- NaN


def test_nan_is_wrong_at_a_kink_where_both_slopes_are_finite():
    def guarded_for_all(x, dy):
        slope = x / right.safe_norm(x)[:, None]
        return (jnp.where(jnp.all(x == 0), 0, dy[:, None] * slope),)

    x = np.array([[1, 2, 3], [0, 0, 0]], np.float32)
    wrong = found(by_hand(right.safe_norm, guarded_for_all), x)["x"]
    assert (wrong.verdict, wrong.index[0]) == ("wrong", 1)
    assert np.isnan(wrong.rule)


@pytest.mark.many
@pytest.mark.parametrize("value", [np.inf, np.nan])
def test_nothing_finite_is_asked_where_the_function_is_infinitely_steep(value):
    f = pointwise(
        jnp.cbrt, lambda x: jnp.where(x == 0, value, 1 / (3 * jnp.cbrt(x) ** 2)).astype(x.dtype)
    )
    assert verdicts(f, np.array([0, 1, 2], np.float32)) == {"x": "ok"}


# ---- autodiff that does not know


def test_autodiff_as_wrong_as_the_rule_is_said():
    x = np.array([-16.5, -2.5, 0.7, 3.0], np.float32)
    f = right.jvp(
        lambda x: jax.lax.digamma(x), lambda p, t: jax.scipy.special.polygamma(1, p[0]) * t[0]
    )
    wrong = found(f, x)["x"]
    assert (wrong.verdict, wrong.note) == ("wrong", AS_WRONG)
    assert wrong.rule == pytest.approx(wrong.auto)
    assert abs(wrong.true - wrong.auto) > 1


def test_a_derivative_that_somebody_wrote_inside_is_no_fault_of_autodiff():
    straight_through = right.jvp(lambda x: jnp.round(x), lambda p, t: t[0])
    inside = by_hand(
        lambda x: straight_through(x) * x, lambda x, dy: ((straight_through(x) + x) * dy,)
    )
    assert verdicts(inside, np.array([0.3, 1.7], np.float32)) == {"x": "ok"}


def test_a_reference_that_is_given_is_not_measured_against_its_own_slope():
    f = pointwise(jnp.round, jnp.ones_like)
    ref = right.jvp(lambda x: jnp.round(x), lambda p, t: t[0])
    assert verdicts(f, np.array([0.3, 1.7], np.float32), ref=ref) == {"x": "ok"}


def test_what_finite_differences_side_with_is_not_vacuous():
    x = np.array([0.3, -1.2, 2.0], np.float32)
    assert verdicts(pointwise(right.through_bits, jnp.ones_like), x) == {"x": "disputed"}
    assert verdicts(pointwise(right.through_bits, jnp.zeros_like), x) == {"x": "vacuous"}


@pytest.mark.many
def test_equal_eigenvalues_are_judged_by_differences():
    def of_matrix(a):
        w, v = jnp.linalg.eigh((a + a.T) / 2)
        return (v * jnp.exp(w)) @ v.T

    def backward(where_equal):
        def pull(a, g):
            w, v = jnp.linalg.eigh((a + a.T) / 2)
            e, d = jnp.exp(w), w[:, None] - w[None]
            same = jnp.abs(d) < 1e-6
            quotient = (e[:, None] - e[None]) / jnp.where(same, 1, d)
            f = jnp.where(same, where_equal(e), quotient)
            inner = v @ (f * (v.T @ g @ v)) @ v.T
            return ((inner + inner.T) / 2,)

        return by_hand(of_matrix, pull)

    a = np.diag([1.0, 1.0, 2.0]).astype(np.float32)
    divided = backward(lambda e: jnp.sqrt(e[:, None] * e[None]))
    assert verdicts(divided, a)["a"] in ("ok", "disputed")
    assert verdicts(backward(lambda e: jnp.diag(e)), a) == {"a": "wrong"}


@pytest.mark.many
def test_a_second_derivative_is_measured_where_autodiff_is_not_trusted():
    x = np.array([0, 1, 2, -1], np.float32)
    wrong = found(pointwise(right.sinc, right.slope_of_sinc), x, what="grad of grad")["x"]
    assert (wrong.verdict, wrong.index, wrong.rule) == ("wrong", (0,), 0)
    series = pointwise(right.sinc, right.slope_of_sinc_by_series)
    assert verdicts(series, x, what="grad of grad") == {"": "ok"}


def test_a_gradient_that_jumps_has_no_second_derivative_to_be_wrong():
    f = by_hand(right.safe_norm, right.norm_backward(0.0))
    x = np.array([[1, 2, 3], [0, 0, 0]], np.float32)
    assert verdicts(f, x, what="grad of grad") == {"": "ok"}


# ---- in which order


def in_order_one_by_one(leaf, suspect):
    """The order, as it is said: a loop over all suspects."""
    rows, at = np.nonzero(suspect)
    with np.errstate(all="ignore"):
        error = np.abs(leaf.r - leaf.t)[rows, at]
        ratio = np.round(leaf.r / leaf.t, 3)[rows, at]
    seen, first, rest = set(), [], []
    for k in np.argsort(-np.where(np.isfinite(error), error, np.inf), kind="stable"):
        alike = leaf.x[at[k]], "nan" if np.isnan(ratio[k]) else ratio[k]
        (rest if alike in seen else first).append((rows[k], at[k]))
        seen.add(alike)
    return first + rest


def test_suspects_come_in_order_the_worst_of_each_kind_first():
    rng = np.random.default_rng(0)
    x = rng.choice([0.0, 1.0, 2.0, -0.0], 60)
    t = rng.choice([0.0, 1.0, 2.0, np.nan], (2, 60))
    r = t * rng.choice([1.1, 2.0, 3.0], (2, 60)) + rng.choice([0.0, 1.0], (2, 60))
    leaf = algebra.Leaf("x", r, t, np.zeros(60), x)
    suspect = rng.uniform(size=(2, 60)) < 0.8
    assert list(algebra._in_order(leaf, suspect)) == in_order_one_by_one(leaf, suspect)
    assert not list(algebra._in_order(leaf, np.zeros_like(suspect)))


def test_only_a_slope_whose_bar_is_small_is_known_to_be_finite():
    known = Slopes(0.0, 1.0, left=-1.0, left_bar=0.1, right=1.0, right_bar=0.1)
    assert known.is_finite
    assert not Slopes(0.0, 1.0, left=-1.0, left_bar=0.1, right=1.0, right_bar=0.9).is_finite
    assert not Slopes(0.0, 1.0, left=0.0, left_bar=0.1, right=1.0, right_bar=0.1).is_finite
    flat = Slopes(0.0, 1e-9, left=0.0, left_bar=1e-9, right=0.0, right_bar=1e-9, scale=1e-8)
    assert flat.is_finite


@pytest.mark.many
def test_kinks_that_nobody_looked_at_are_listed(check):
    """One of a thousand pays too much, but not as much as the others pay: it is never looked at."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=1000).astype(np.float32)
    steep = rng.uniform(5, 10, 1000).astype(np.float32)
    steep[7] = 0.1

    def slope(share):
        return lambda y: jnp.where(y == x, steep * share, steep * jnp.sign(y - x))

    shares = np.linspace(0.3, 0.9, 1000, dtype=np.float32)
    shares[7] = 3
    report = check(pointwise(lambda y: steep * jnp.abs(y - x), slope(shares)), x)
    assert "not asked: " in report.sentence()
    assert report.cut[0].endswith("of the numbers that differ in x")
    with pytest.raises(AssertionError, match="not asked"):
        report.require(complete=True)


def test_a_dispute_that_differences_settle_is_not_vacuous():
    def slope(x):
        return jnp.exp2(-jnp.frexp(x)[1].astype(x.dtype))

    mantissa = pointwise(lambda x: jnp.frexp(x)[0], slope)
    autodiff = jax.grad(lambda x: jnp.frexp(x)[0])(3.0)  # 0 before jax 0.12
    report = check(mantissa, np.array([3.0, 0.7, -5.5], np.float32), transforms=())
    assert report.ok
    said = [f.verdict for f in report.findings if f.question == "algebra"]
    assert said == ["disputed" if autodiff == 0 else "ok"]
