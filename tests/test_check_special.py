"""Points that typical arguments lack: what fails there is found, what is right is not blamed."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from corpus import by_hand, pointwise, right, wrong

from jaxnet import audit, check
from jaxnet.checking import programs, special
from jaxnet.checking._check import problem_of
from jaxnet.checking.domains import Domain, Kind, drawn, suggested
from jaxnet.checking.questions import sweep
from jaxnet.checking.special import points

X = np.random.default_rng(0).normal(size=(4, 3)).astype(np.float32)
LAST = "only at points that you did not give"


def of_corpus(name, seed=0):
    example = wrong.WRONG[name]
    return check(example.f, *example.args(np.random.default_rng(seed)), transforms=())


@pytest.mark.parametrize(
    ("name", "how"),
    [
        ("a cumulative product, by a division", "a third of the numbers 0"),
        ("sin(πx) / πx, whose slope is 0 at integers", "a third of the numbers 1"),
        ("log(eᵃ + eᵇ): both are paid in full where they are equal", "a third of the numbers"),
        ("a norm, guarded for the array as a whole", "a row of zeros"),
        ("the arcsine of what is below 1, no slope at the ends", "at the ends of their interval"),
        ("the slope of tanh by exponentials that are both large", "the arguments times 64"),
        (
            "a norm of numbers that are scaled, and the squares of its slope are not",
            "arguments so small that squares underflow",
        ),
        ("the forward of logsumexp lacks its shift", "arguments so large"),
        ("the forward returns NaN at 0", "a third of the numbers 0"),
        ("the larger of two: nobody is paid where they are equal", "a kink together"),
        ("a product whose slope is 0 where a number is", "one number 0"),
        (
            "a mean under a mask of floats, NaN where it leaves nothing of a row",
            "a row at the low end of its interval",
        ),
        ("Huber's slope is 0 where the linear part begins", "numbers that the code names"),
        ("the slope of the exponential ends at 30", "numbers twice those that the code names"),
        ("the energy of pairs: NaN where two rows are equal", "two rows equal"),
        ("the cube of a norm: slope 1 in a row of zeros, where autodiff is NaN", "a row of zeros"),
        ("a variance by n - 1, of one row too", "the first row alone"),
    ],
)
def test_the_first_line_says_at_which_points(name, how):
    said = of_corpus(name).sentence()
    assert LAST in said
    assert how in said
    assert ("domain= of check" in said) is (how != "the first row alone")


def half_as_steep_where(is_there):
    """x² + x, whose slope is half of what it should be where a number is so."""
    return pointwise(lambda x: x**2 + x, lambda x: (2 * x + 1) * jnp.where(is_there(x), 0.5, 1))


def test_an_iteration_is_not_sent_where_it_may_never_end(monkeypatch):
    met = []

    def noted(bench, look, variants, reached, how):
        met.append(how)
        return reached

    monkeypatch.setattr(sweep, "judged", noted)
    converges = right.RIGHT["a loop that ends when it has converged"]
    check(converges.f, *converges.args(np.random.default_rng(0)), transforms=())
    assert special.NAMED in met
    assert special.BEYOND_NAMED not in met


def has_equals(x):
    return (x[:, None] == x).sum(1) > 1


@pytest.mark.parametrize(
    ("is_there", "how"),
    [
        (lambda x: x == 0, "numbers 0"),
        (lambda x: x == -1, "numbers -1"),
        (lambda x: x == 3, "numbers 2, 3 and 4"),
        (lambda x: x == -4, "numbers -2, -3 and -4"),
        (lambda x: (x != 0) & (jnp.abs(x) < 1e-4), "50,000 times smaller"),
        (lambda x: (jnp.abs(x) > 1e-4) & (jnp.abs(x) < 5e-3), "1,000 times smaller"),
        (lambda x: has_equals(x) & (jnp.abs(x) > 0.01) & (x != jnp.round(x)), "numbers equal"),
    ],
)
def test_each_kind_of_number(is_there, how):
    x = np.random.default_rng(3).normal(size=12).astype(np.float32)
    said = check(half_as_steep_where(is_there), x, transforms=()).sentence()
    assert f"{LAST}, with a third of the numbers" in said
    assert how in said


@pytest.mark.parametrize("seed", [4, 13])
def test_a_small_number_is_one_of_many(seed):
    """Beside these the formula happens to be right, so that it seems to scatter nowhere."""
    example = right.RIGHT["(1 - cos x) / x², whose slope has no digits near 0"]
    assert check(example.f, *example.args(np.random.default_rng(seed)), transforms=(), seed=seed).ok


def test_equal_arguments():
    f = by_hand(
        lambda a, b: a * b,
        lambda a, b, dy: (dy * b * jnp.where((a == b) & (b != jnp.round(b)), 2, 1), dy * a),
    )
    said = check(f, X, X * np.float32(0.7), transforms=()).sentence()
    assert "with a third of the numbers those of another argument" in said


def test_an_argument_that_is_all_0():
    f = by_hand(
        lambda x, scale: x * scale,
        lambda x, scale, dy: (dy * scale, jnp.sum(dy * x * scale, 0) / scale),
    )
    is_0 = check(f, X, np.float32([0.5, -1, 2]), transforms=())
    assert [k.leaf for k in is_0.findings if k.verdict.bad] == ["scale"]


def test_an_interval_has_its_ends():
    f = pointwise(lambda x: x**2 + x, lambda x: (2 * x + 1) * jnp.sign(x * (2 - x)))
    x = np.random.default_rng(0).uniform(0.2, 1.8, (4, 3)).astype(np.float32)
    said = check(f, x, transforms=(), domain={"x": (0, 2)}).sentence()
    assert "at the ends of their interval" in said


# ---- where points are made


def points_of(domain, *arrays):
    """All that are made of such arrays, each with how."""
    task = problem_of("check", lambda *xs: sum(jnp.sum(x) for x in xs), arrays, {}, None)
    domains = tuple(Domain(domain) if domain else suggested(x) for x in arrays)
    problem = replace(task.problem, domains=domains)
    made = points(problem, arrays, lambda how: np.random.default_rng(0))
    return {how: variants[0] for how, variants in made if variants}


@pytest.mark.parametrize("domain", sorted(set(Kind)))
def test_points_are_in_the_domain(domain):
    x = np.asarray(drawn(domain, X), np.float32)
    made = points_of(domain, x)
    for how, (there,) in made.items():
        assert Domain(domain).holds(there), how
        assert (there == x).any() or how == "args[0] all 0"
        assert (there != x).any()
    is_left_alone = domain in (Kind.FIXED, Kind.SORTED, Kind.SIMPLEX, Kind.ONE_HOT)
    assert bool(made) is not is_left_alone


def test_positive_numbers_are_not_made_0():
    x = np.abs(X)
    assert all((there > 0).all() for (there,) in points_of(None, x).values())
    assert all((there < 0).all() for (there,) in points_of(None, -x).values())


def test_fixed_numbers_stay():
    x = np.random.default_rng(3).normal(size=12).astype(np.float32)
    wrong_near_0 = half_as_steep_where(lambda x: jnp.abs(x) < 5e-3)
    assert not check(wrong_near_0, x, transforms=()).ok
    assert check(wrong_near_0, x, domain={"x": "fixed"}, transforms=()).ok


def test_an_iteration_is_not_sent_where_it_does_not_converge():
    for seed in range(3):
        x, w = right.CONTRACTION(np.random.default_rng(seed))
        report = check(right.by_implicit_function, x, w, transforms=(), seed=seed)
        assert report.ok, report


def test_a_sort_may_pay_equal_numbers_in_any_order():
    f = right.sort_with_ties_in_order(3, 5, 1, 2, 0, 7, 6, 4)
    for seed in range(3):
        x = jnp.array([1.0, 2.0, 2.0, 2.0, 3.0, 2.0, 1.0, 5.0])
        assert check(f, x, transforms=(), seed=seed).ok


def test_symmetric_matrices_stay_symmetric():
    def backward(x, p, dy):
        return 2 * dy * (p @ x), dy * jnp.outer(x, x)

    b = X[:, :2]
    form = by_hand(lambda x, p: x @ p @ x, backward)
    assert check(form, X[:, 2], b @ b.T + np.eye(4, dtype=np.float32), transforms=()).ok


def test_ids_of_rows_keep_their_rows():
    """With the first row alone they would be out of range, and JAX clamps them as it reads."""
    add = by_hand(lambda t, i, u: t.at[i].add(u), lambda t, i, u, dy: (dy, None, dy[i]))
    table, ids = np.ones((7, 3), np.float32) * X[0], jnp.array([5, 0, 3, 2])
    assert check(add, table, ids, X, transforms=()).ok


def test_numbers_in_order_and_one_hot_rows_stay():
    assert not points_of(None, np.arange(6.0), np.eye(3, dtype=np.float32))


def test_numbers_are_such_as_the_arguments_can_hold():
    x = X.astype("bfloat16")
    for (there,) in points_of(None, x).values():
        assert there.dtype == x.dtype


# ---- what is right


def test_a_hinge_far_away_is_no_fault():
    f = pointwise(lambda x: jnp.maximum(x - 1000, 0), lambda x: jnp.where(x > 1000, 1.0, 0.0))
    assert not [f for f in check(f, X, transforms=()).findings if f.verdict == "wrong"]


@pytest.mark.parametrize("share", [0.0, 0.5, 1.0])
def test_either_way_at_ties_and_kinks(share):
    assert check(right.tie(share), X, X + 1, transforms=()).ok
    relu = pointwise(lambda x: jnp.maximum(x, 0), lambda x: jnp.where(x == 0, share, x > 0))
    assert check(relu, X, transforms=()).ok


@pytest.mark.parametrize(
    ("value", "slope", "x"),
    [
        (jnp.log, lambda x: 1 / x, np.abs(X)),
        (jnp.log, lambda x: 1 / x, np.abs(X[0])),
        (jnp.sqrt, lambda x: 0.5 / jnp.sqrt(x), np.abs(X)),
        (jnp.log1p, lambda x: 1 / (1 + x), np.abs(X)),
        (jnp.exp, jnp.exp, X),
        (lambda x: 1 / x, lambda x: -1 / x**2, X),
        (jnp.cbrt, lambda x: 1 / (3 * jnp.cbrt(x) ** 2), X),
        (jnp.floor, jnp.zeros_like, X),
        (lambda x: jnp.log(x + 1e-8), lambda x: 1 / x, np.abs(X)),
    ],
)
def test_functions_of_a_domain_raise_no_alarm(value, slope, x):
    report = check(pointwise(lambda x: value(x), slope), x, transforms=())
    assert not [f for f in report.findings if f.verdict in ("wrong", "imprecise")], report


def test_what_is_approximate_is_not_asked_more():
    report = check(right.logarithm_without_its_epsilon, np.abs(X), transforms=())
    assert report.ok, report


# ---- at the ends of a dtype


def one(square):
    return square / square


BY_SMALL_SQUARES = pointwise(
    jnp.arctan, lambda x: one(jnp.where(x == 0, 1, jnp.minimum(x * x, 1))) / (1 + x * x)
)
BY_LARGE_SQUARES = pointwise(jnp.arctan, lambda x: one(1 + x * x) / (1 + x * x))


@pytest.mark.parametrize("dtype", ["bfloat16", "float16", "float32"])
@pytest.mark.parametrize(
    ("f", "end"),
    [(BY_SMALL_SQUARES, "small that squares underflow"), (BY_LARGE_SQUARES, "squares overflow")],
)
def test_the_ends_are_those_of_the_dtype(f, end, dtype):
    report = check(f, X, transforms=(), dtypes=(dtype,))
    bad = [(f.what, f.verdict) for f in report.findings if f.verdict.bad]
    assert bad == [(f"precision {dtype}", "imprecise")]
    assert LAST in report.sentence()
    assert end in report.sentence()


@pytest.mark.parametrize(
    ("domain", "is_asked"),
    [("any", True), ("positive", True), ("negative", True), ((0, 9), False), ("fixed", False)],
)
def test_the_near_end_is_of_the_domain(domain, is_asked):
    x = -abs(X) if domain == "negative" else abs(X)
    assert check(BY_SMALL_SQUARES, x, transforms=(), domain={"x": domain}).ok is not is_asked


def test_that_numbers_are_positive_is_a_guess_and_none_is_almost_0():
    assert check(BY_SMALL_SQUARES, abs(X), transforms=()).ok
    assert not check(BY_LARGE_SQUARES, abs(X), transforms=()).ok


@pytest.mark.parametrize(
    ("value", "slope"),
    [
        (lambda x: jnp.sum(x**3, -1), lambda x: 3 * x**2),
        (lambda x: 1 / jnp.sum(x**2, -1), lambda x: -2 * x / jnp.sum(x**2, -1)[:, None] ** 2),
        (lambda x: jax.nn.logsumexp(x, -1), jax.nn.softmax),
        (lambda x: jnp.sum(jax.nn.gelu(x)), jax.vmap(jax.vmap(jax.grad(jax.nn.gelu)))),
        (lambda x: jnp.sum(jnp.log(x**2), -1), lambda x: 2 / x),
        (lambda x: jnp.sum(jnp.sqrt(1 + x**2), -1), lambda x: x / jnp.sqrt(1 + x**2)),
    ],
)
def test_where_the_function_is_no_number_nothing_is_asked(value, slope):
    f = by_hand(lambda x: value(x), lambda x, dy: (slope(x) * dy.reshape(-1, 1),))
    report = check(f, X, transforms=())
    assert report.ok, report


# ---- one row


def test_rows_of_labels_are_cut_too():
    def loss(logits, labels):
        return -jnp.take_along_axis(jax.nn.log_softmax(logits), labels[:, None], -1)[:, 0]

    def backward(logits, labels, dy):
        p = jax.nn.softmax(logits) - jax.nn.one_hot(labels, 3, dtype=logits.dtype)
        return dy[:, None] * p * (1 if len(labels) > 1 else 2), None

    labels = jnp.array([0, 2, 1, 1])
    report = check(by_hand(loss, backward), X, labels, transforms=())
    assert "with the first row alone; it is 2 times the truth" in report.sentence()


def test_a_site_of_an_audit_has_the_rows_that_it_met():
    f = pointwise(jnp.sin, jnp.cos)
    assert audit(lambda x: jnp.sum(f(x) * jnp.arange(4.0)[:, None]), X).ok


# ---- what it takes


def test_it_is_left_out_for_lack_of_time():
    report = check(half_as_steep_where(lambda x: x == 0), X, budget=0)
    assert report.ok
    assert {"special points", "one row"} <= set(report.unasked())


def test_no_point_is_a_program_of_its_own(monkeypatch):
    f = pointwise(jnp.sin, jnp.cos)
    compiled = []
    original = programs.compiled
    monkeypatch.setattr(programs, "compiled", lambda *a: compiled.append(a) or original(*a))
    check(f, X, transforms=(), budget=None)
    with_points = len(compiled)
    monkeypatch.setattr(special, "_KINDS", {})
    check(f, X, transforms=(), budget=None)
    assert len(compiled) == 2 * with_points


def test_sides_of_branches_that_such_a_point_enters_were_entered():
    def body(x):
        return jnp.where(x == 0, 1.0, x * 2)

    f = by_hand(body, lambda x, dy: (jnp.where(x == 0, 0, 2 * dy),))
    assert not check(f, X, transforms=()).never_entered
