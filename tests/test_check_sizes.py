"""At which sizes and options a rule is wrong: which combinations are asked, and what is said."""

import itertools
import json

import jax
import jax.numpy as jnp
import pytest

import jaxnet
from jaxnet.checking import _check_sizes
from jaxnet.checking.cover import Cover
from jaxnet.checking.findings import Finding, Question, Verdict
from jaxnet.checking.reports import Report

WRONG, OK, VACUOUS = Verdict.WRONG, Verdict.OK, Verdict.VACUOUS


# -- a cover


def asked(lengths, could_be_asked=lambda combination: True):
    """Every combination that is proposed."""
    cover, met = Cover(lengths), []
    while combination := cover.proposed():
        met.append(combination)
        cover.mark(combination, could_be_asked(combination))
    return cover, met


def pairs(combinations):
    """((axis, position), (axis, position))"""
    return {pair for c in combinations for pair in itertools.combinations(enumerate(c), 2)}


@pytest.mark.parametrize("lengths", [(4,), (3, 2), (4, 3, 2), (2, 2, 2, 2, 2, 2), (5, 4, 3, 2)])
def test_a_cover_has_every_value_and_every_pair(lengths):
    cover, met = asked(lengths)
    product = list(itertools.product(*map(range, lengths)))
    assert pairs(met) == pairs(product)
    assert {value for c in met for value in enumerate(c)} == {
        value for c in product for value in enumerate(c)
    }
    assert met[0] == (0,) * len(lengths)  # the smallest first
    assert len(set(met)) == len(met)
    assert not cover.left


def test_a_cover_is_small():
    _, met = asked((2,) * 10)  # of 1024
    assert len(met) <= 14
    _, met = asked((4, 4, 4, 4))  # of 256; 16 at least
    assert len(met) <= 24


def test_single_values_come_first():
    _, met = asked((5, 4, 3))
    assert {n for n, *_ in met[:5]} == set(range(5))
    assert {n for _, n, _ in met[:5]} == set(range(4))


def divides(heads, groups, _):
    return (heads + 1) % (groups + 1) == 0


def ascends(a, b, c):
    return a <= b <= c


@pytest.mark.parametrize(
    ("could_be_asked", "lengths", "most"), [(divides, (4, 4, 3), 40), (ascends, (5, 5, 5), 80)]
)
def test_a_pair_is_tried_beside_other_values_where_some_raise(could_be_asked, lengths, most):
    cover, met = asked(lengths, lambda combination: could_be_asked(*combination))
    possible = [c for c in itertools.product(*map(range, lengths)) if could_be_asked(*c)]
    assert pairs(set(met) & set(possible)) == pairs(possible)
    assert not cover.never_met()  # all was tried at least
    assert len(set(met)) <= most


# -- which combinations are asked: `check` itself put aside


@pytest.fixture
def verdicts(monkeypatch):
    """f returns what a check of it says: a verdict, or those of its leaves. Which were asked."""
    met = []

    def quick_check(f, *args, kwargs, ref, seed, budget):
        met.append((*args, *kwargs.values()))
        said = f(*args, **kwargs)
        leaves = said if isinstance(said, dict) else {"x": said}
        findings = [Finding(Question.ALGEBRA, leaf, verdict) for leaf, verdict in leaves.items()]
        return Report("f", "", "", tuple(findings))

    monkeypatch.setattr(_check_sizes, "check", quick_check)
    return met


def check_sizes(f, sizes, options=None, **more):
    return jaxnet.check_sizes(f, lambda **sizes: tuple(sizes.values()), sizes, options, **more)


def test_a_rule_that_is_wrong_for_one_size_alone(verdicts):
    found = check_sizes(lambda T: WRONG if T == 1 else OK, {"T": (65, 64, 7, 1)})
    assert verdicts == [(1,), (7,), (64,), (65,)]
    assert found.smallest == "T=1"
    assert [report.ok for report in found.reports.values()] == [False, True, True, True]
    assert found.sentence() == "at T=1: WRONG in `x`; 1 of 4 combinations of sizes fail"
    with pytest.raises(AssertionError, match="at T=1: WRONG"):
        found.require()


def test_a_rule_that_is_wrong_for_a_pair_alone(verdicts):
    def f(T, S, heads, causal):
        return WRONG if causal and T > S else OK

    sizes = {"T": (1, 7, 64, 65), "S": (1, 7, 64, 65), "heads": (1, 2, 3)}
    found = check_sizes(f, sizes, {"causal": (False, True)})
    assert found.smallest == "T=7, S=1, heads=1, causal=True"
    assert len(verdicts) == len(set(verdicts)) <= 30  # of 96


def test_of_few_combinations_all_are_asked(verdicts):
    def f(T, S, causal):
        return WRONG if causal and T > S else OK  # three together

    found = check_sizes(f, {"T": (1, 64), "S": (1, 64)}, {"causal": (False, True)})
    assert len(verdicts) == 8
    assert found.smallest == "T=64, S=1, causal=True"


def test_what_fails_is_made_as_small_as_it_fails(verdicts):
    def f(a, b, c):
        return WRONG if a >= 3 and b >= 2 and c >= 4 else OK  # no pair alone

    values = range(1, 7)
    found = check_sizes(f, {"a": values, "b": values, "c": values})
    assert found.smallest == "a=3, b=2, c=4"
    assert next(iter(found.reports)) == "a=1, b=1, c=1"  # in order


def test_what_is_no_number_is_taken_as_it_stands(verdicts):
    found = check_sizes(lambda mode: WRONG if mode != "z" else OK, {"mode": ("z", "b", "a")})
    assert found.smallest == "mode=b"


def test_a_rule_that_is_right_everywhere(verdicts):
    found = check_sizes(lambda T: OK, {"T": (1, 7)})
    assert found.ok
    assert found.require() is None
    assert found.smallest == ""
    assert found.unasked() == ()
    assert str(found) == "ok: 2 combinations of sizes\n  T=1  ok\n  T=7  ok"


def test_a_combination_that_raises_is_listed(verdicts):
    def make_args(T):
        if T == 0:
            raise ValueError("no rows\nand more")
        return (T,)

    found = jaxnet.check_sizes(lambda T: OK, make_args, {"T": (0, 1)})
    assert found.ok
    assert found.not_asked == {"T=0": "ValueError: no rows"}
    assert found.sentence() == "ok: 1 combinations of sizes; 1 more raise"
    assert "  T=0  not asked: ValueError: no rows" in str(found).splitlines()


def test_where_everything_raises_it_is_not_ok(verdicts):
    found = jaxnet.check_sizes(lambda T: OK, lambda S: (S,), {"T": (1, 2)})
    assert not found.ok
    assert not found.reports
    assert len(found.not_asked) == 2
    assert found.sentence().startswith("nothing was asked: at T=1: TypeError: ")


def test_a_value_that_raises_is_no_fault_of_the_rule():
    def f(x):
        if x.size == 2:
            raise ValueError("an odd number, please")
        return jaxnet.relu(x)

    found = jaxnet.check_sizes(f, lambda n: (jnp.arange(-1.0, n - 1),), {"n": (2, 3)})
    assert found.ok
    assert found.not_asked == {"n=2": "ValueError: an odd number, please"}


def test_a_gradient_that_is_zero_must_be_seen_at_another_size(verdicts):
    def f(T):
        return {"q": VACUOUS if T == 1 else OK, "k": OK if T == 1 else VACUOUS}

    assert check_sizes(f, {"T": (1, 2)}).ok
    nowhere = check_sizes(lambda T: f(1), {"T": (1, 2)})
    assert not nowhere.ok
    assert not nowhere.smallest
    assert nowhere.sentence() == "VACUOUS in `q`; so it is at all 2 combinations of sizes"


def test_many_combinations_are_bounded(verdicts):
    sizes = {f"n{axis}": range(10) for axis in range(10)}
    found = check_sizes(lambda *sizes: OK, sizes, budget=None)
    assert found.ok
    assert len(verdicts) == _check_sizes.MOST
    assert "; not asked: " in found.sentence()
    assert " more" in found.sentence()
    with pytest.raises(AssertionError):
        found.require(complete=True)


def test_without_time_one_combination_is_asked(verdicts):
    found = check_sizes(lambda T: OK, {"T": (1, 2, 3)}, budget=0)
    assert verdicts == [(1,)]
    assert found.cut == ("T=2", "T=3")
    assert found.sentence() == "ok: 1 combinations of sizes; not asked: T=2 and 1 more"


# -- with the check


@jax.custom_vjp
def in_blocks(x):
    return jnp.sin(x)


def in_blocks_backward(x, dy):
    """In blocks of 8; what is left over is forgotten."""
    whole = x.size // 8 * 8
    return (jnp.where(jnp.arange(x.size) < whole, jnp.cos(x) * dy, 0),)


in_blocks.defvjp(lambda x: (jnp.sin(x), x), in_blocks_backward)


def test_a_last_block_that_is_forgotten():
    def make_args(T):
        return (jnp.linspace(-1.0, 1.0, T),)

    found = jaxnet.check_sizes(in_blocks, make_args, {"T": (0, 8, 9)})
    assert found.smallest == "T=9"
    no_elements, right, wrong = (str(found.reports[f"T={n}"].sentence()) for n in (0, 8, 9))
    assert no_elements.startswith("NOT JUDGED (no elements)")
    assert right.startswith("ok")
    assert wrong.startswith("WRONG in `x` at (8): rule 0, ")
    assert "in_blocks(x f32[9])  against auto(in_blocks)" in str(found)
    assert json.loads(found.json())["reports"]["T=9"]["name"] == "in_blocks"


def pooled(x, y, causal=False):
    """Sums over x[T] y[S], of the pairs t <= s alone where causal."""

    def body(x, y):
        pairs = x[:, None] * y
        return jnp.triu(pairs).sum(0) if causal else pairs.sum(0)

    def backward(kept, dy):
        dx, dy_of_y = jax.vjp(body, *kept)[1](dy)
        is_wrong = causal and x.size > y.size
        return dx, 2 * dy_of_y if is_wrong else dy_of_y

    f = jax.custom_vjp(body)
    f.defvjp(lambda *args: (body(*args), args), backward)
    return f(x, y)


@pytest.mark.many
@pytest.mark.parametrize("name", ["pooled", "softmax_cross_entropy"])
def test_rules_at_many_sizes_and_options(name):
    if name == "pooled":
        sizes, options = {"T": (1, 2, 5), "S": (1, 2, 4)}, {"causal": (False, True)}
        found = jaxnet.check_sizes(
            pooled, lambda T, S: (jnp.linspace(1, 2, T), jnp.linspace(-1, 2, S)), sizes, options
        )
        assert found.smallest == "T=2, S=1, causal=True"
        assert found.sentence().startswith(f"at {found.smallest}: WRONG in `y` at (0): rule ")
    else:
        key = jax.random.key(0)
        jaxnet.check_sizes(
            jaxnet.softmax_cross_entropy,
            lambda rows, classes: (jax.random.normal(key, (rows, classes)), jnp.zeros(rows, int)),
            {"rows": (1, 5), "classes": (1, 2, 7)},  # of one class the gradient is 0
        ).require()


@pytest.mark.parametrize(
    ("make_args", "sizes", "options", "error", "text"),
    [
        (
            3,
            {"n": (1,)},
            None,
            TypeError,
            "make_args must be a function that returns the arguments",
        ),
        (lambda n: jnp.ones(n), {"n": (1,)}, None, TypeError, "for one argument return"),
        (lambda n: (jnp.ones(n),), {"n": 2}, None, TypeError, "sizes must be a dict such as"),
        (lambda: (jnp.ones(2),), {}, None, ValueError, "one size of each at least"),
        (lambda n: (jnp.ones(n),), {"n": (1,)}, [True], TypeError, "options must be a dict"),
        (lambda n: (jnp.ones(n),), {"n": (1,)}, {"n": (1,)}, ValueError, "'n' is in sizes, "),
    ],
)
def test_what_cannot_be_asked_is_an_error(make_args, sizes, options, error, text):
    with pytest.raises(error, match=f"check_sizes: .*{text}"):
        jaxnet.check_sizes(jaxnet.relu, make_args, sizes, options)
