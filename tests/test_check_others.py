"""Booleans and integers that nobody gave: which are tried, and what is doubtful."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from corpus import by_hand, right, wrong

from jaxnet import check
from jaxnet.checking._check import problem_of
from jaxnet.checking.questions.others import NAME, OF_THE_CODE, points

X = np.random.default_rng(0).normal(size=(4, 3)).astype(np.float32)
MASK = np.array([[1, 1, 0], [0, 1, 0], [1, 0, 1], [0, 1, 1]], bool)
FLIPPED, EMPTY = "a third of the booleans flipped", "a row of the booleans all False"
REPLACED = "a third of the integers replaced by others of them"
NOT_GIVEN = "only at points that you did not give, with"


def points_of(*others, seed=0):
    """[how, the arrays, whether they are doubtful] for each point."""
    task = problem_of("check", lambda x, *others: jnp.sum(x), (X, *others), {}, None)
    return [
        (how, [np.asarray(x) for x in there], is_doubtful)
        for how, there, is_doubtful in points(task.problem, lambda how: np.random.default_rng(seed))
    ]


def kinds(*others):
    return {(how, is_doubtful) for how, _, is_doubtful in points_of(*others)}


# ---- booleans


def test_a_flag_is_flipped_and_the_others_stay():
    first, second = points_of(jnp.array(True), jnp.array([False]))
    assert first == ("the boolean args[1] flipped", [np.array(False), np.array([False])], False)
    assert second == ("the boolean args[2] flipped", [np.array(True), np.array([True])], False)


@pytest.mark.parametrize("seed", range(8))
def test_a_third_of_a_mask_is_flipped_and_each_row_keeps_what_it_has(seed):
    _, (flipped,), is_doubtful = points_of(MASK, seed=seed)[0]
    assert not is_doubtful
    assert flipped.dtype == bool
    assert 0 < (flipped != MASK).sum() <= 4
    assert flipped.any(1).all()
    assert not flipped.all(1).any()


@pytest.mark.parametrize("given", [True, False])
def test_where_all_are_alike_the_end_of_each_row_is_flipped(given):
    _, (flipped,), is_doubtful = points_of(np.full((4, 3), given))[0]
    assert not is_doubtful
    assert (flipped == [given, given, not given]).all()


def test_a_row_is_all_false():
    _, (changed,), is_doubtful = points_of(MASK)[1]
    assert is_doubtful
    assert [row.any() for row in changed].count(False) == 1
    assert (changed == MASK).all(1).sum() == 3


@pytest.mark.parametrize(
    "mask",
    [
        np.tril(np.ones((4, 4), bool)),
        np.arange(5) < np.array([2, 5, 1, 4])[:, None],
        np.arange(5) >= np.array([2, 0, 1, 4])[:, None],
        np.ones((4, 4), bool),  # symmetric
        np.eye(5, dtype=bool)[[0, 3, 1, 1]],  # one in each row
        np.array([[1, 1, 0, 0], [0, 1, 1, 0], [1, 0, 0, 1]], bool),  # two in each
        np.array([0, 0, 1, 0, 0], bool),
        np.array([1, 1, 1, 0, 0], bool),
    ],
)
def test_what_may_be_so_by_intent_is_doubtful(mask):
    assert (FLIPPED, False) not in kinds(mask)
    assert (FLIPPED, False) not in kinds(mask.astype(np.int32))


def test_integers_that_are_0_and_1_are_booleans():
    assert kinds(MASK) == kinds(MASK.astype(np.int32)) == {(FLIPPED, False), (EMPTY, True)}


def test_what_is_doubtful_does_not_make_the_rest_so():
    assert kinds(MASK, np.tril(np.ones((4, 4), bool))) >= {(FLIPPED, False), (FLIPPED, True)}


# ---- integers


@pytest.mark.parametrize("seed", range(8))
def test_a_group_is_empty_and_no_number_is_new(seed):
    ids = np.array([5, 2, 7, 5, 2, 5, 2], np.int32)
    ((how, (changed,), is_doubtful),) = points_of(ids, seed=seed)
    assert (how, is_doubtful) == (REPLACED, False)
    assert changed.dtype == ids.dtype
    assert set(changed) <= {5, 2}


@pytest.mark.parametrize("seed", range(8))
def test_of_rows_a_number_is_of_its_column_and_in_reach_of_its_row(seed):
    ids = np.random.default_rng(1).integers(0, 5, (6, 7))
    ((_, (changed,), is_doubtful),) = points_of(ids, seed=seed)
    assert not is_doubtful
    assert 0 < (changed != ids).sum() <= 14
    for k, column in enumerate(changed.T):
        assert set(column) <= set(ids[:, k])
    assert (changed.min(1) >= ids.min(1)).all()
    assert (changed.max(1) <= ids.max(1)).all()


@pytest.mark.parametrize(
    "given",
    [
        [np.int32(3)],
        [np.array([3, 0, 2, 1])],  # a permutation
        [np.array([9, 4, 7])],  # distinct
        [np.array([0, 0, 1, 3, 3])],  # in order
        [np.array([3, 3, 1, 1, 2])],  # grouped
        [np.array([4, 4, 4])],
        [np.array([[0, 4], [2, 2], [4, 0], [2, 1]])],  # places
        [np.array([[0, 4, 2], [4, 2, 0], [2, 1, 0], [0, 2, 1]])],  # neighbours of each
        [np.array([2, 0, 2, 1, 0]), np.array([1, 1, 0, 1, 3])],  # pairs
        [np.array([5, 2, 7, 5, 2, 5, 2], np.uint32)],  # a key
        [jax.random.key(0)],
    ],
)
def test_what_somebody_chose_is_left_alone(given):
    assert not points_of(*given)


@pytest.mark.parametrize(
    "given",
    [
        np.array([0, 0, 1, 0, 2, 1, 3]),  # what is above each in a tree
        np.array([2, 0, 2]),  # of the four rows of X
    ],
)
def test_counts_and_trees_are_doubtful(given):
    assert kinds(given) == {(REPLACED, True)}


# ---- what is found


def marked(*others, compared):
    """The arrays with integers that the code asks for, or none."""
    task = problem_of("check", lambda x, *others: jnp.sum(x), (X, *others), {}, None)
    points_ = points(task.problem, lambda how: np.random.default_rng(0), compared)
    return [np.asarray(x) for how, there, _ in points_ if how == OF_THE_CODE for x in there]


def test_a_third_of_the_labels_is_the_one_that_the_code_asks_for():
    labels = np.array([0, 3, 1, 2])
    (changed,) = marked(labels, compared=[(-100, 4), (-1, 7)])
    assert (changed == -100).sum() == 2
    assert ((changed == labels) | (changed == -100)).all()


@pytest.mark.parametrize(
    ("others", "number"),
    [
        ((np.array([0, -1, 1]),), -1),  # it is there
        ((np.array([0, 3, 1]), np.array([2, 2, 0])), -1),  # of which of the two is it asked?
        ((np.array([0, 1, 1]),), -1),  # booleans
        ((np.array([True, False, True]),), -1),
    ],
)
def test_no_integer_is_put_where_it_is_there_or_nobody_knows_whether_it_may_be(others, number):
    assert not marked(*others, compared=[(number, 3)])


@pytest.mark.parametrize(
    ("name", "how"),
    [
        ("a gate, wrong where its flag is off", "the boolean is_open flipped"),
        ("a softmax under a mask, NaN where it leaves nothing of a row", EMPTY),
        ("a mean of groups, NaN where one is empty", REPLACED),
        ("a cross-entropy that leaves out the rows of one label divides by all rows", OF_THE_CODE),
    ],
)
def test_the_first_line_says_at_which_points(name, how):
    example = wrong.WRONG[name]
    report = check(example.f, *example.args(np.random.default_rng(0)), transforms=())
    assert f"{NOT_GIVEN} {how}" in report.sentence()


def test_a_mask_that_was_all_true():
    f = by_hand(lambda x, m: jnp.where(m, x**2, x), lambda x, m, dy: (2 * x * dy, None))
    said = check(f, X, np.ones((4, 3), bool), transforms=()).sentence()
    assert f"{NOT_GIVEN} {FLIPPED}" in said


def test_the_side_of_a_flag_that_was_not_given_was_entered():
    f = by_hand(right.gate, lambda x, m, dy: (dy * jnp.where(m, jnp.cos(x), -jnp.sin(x)), None))
    assert not check(f, X, jnp.array(True), transforms=()).never_entered


def test_of_what_is_doubtful_a_number_is_right():
    """Twice the slope beside padding: who gives padding may need it."""

    def slope(factor):
        def backward(x, m, dy):
            is_padding = (m[:, 1:] <= m[:, :-1]).all()
            return jnp.where(is_padding, 1, factor) * m * dy[:, None], None

        return by_hand(lambda x, m: jnp.sum(jnp.where(m, x, 0), -1), backward)

    mask = np.arange(3) < np.array([2, 3, 1, 2])[:, None]
    assert check(slope(2), X, mask, transforms=()).ok
    assert not check(slope(jnp.nan), X, mask, transforms=()).ok


def test_it_is_left_out_for_lack_of_time():
    example = wrong.WRONG["a gate, wrong where its flag is off"]
    report = check(example.f, *example.args(np.random.default_rng(0)), budget=0)
    assert report.ok
    assert NAME in report.unasked()
