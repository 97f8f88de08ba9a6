"""Points are made where the arguments may lie: as their numbers suggest, or as `domain=` says."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from corpus import by_hand

from jaxnet import check
from jaxnet.checking import domains
from jaxnet.checking.branches import MOVES
from jaxnet.checking.domains import Kind, suggested

X = np.array([0.3, 0.5, 1.2], np.float32)
LOGITS = np.random.default_rng(0).normal(size=(3, 5)).astype(np.float32)
LABELS = np.eye(5, dtype=np.float32)[[0, 3, 1]]
LAST = "only at points that you did not give"


def cross_entropy(factor=1.0):
    """p - y as the gradient of the logits: right where the labels sum to one."""
    return by_hand(
        lambda z, y: -jnp.sum(y * jax.nn.log_softmax(z), -1),
        lambda z, y, c: (
            c[:, None] * (factor * jax.nn.softmax(z) - y),
            -c[:, None] * jax.nn.log_softmax(z),
        ),
    )


@pytest.mark.many
@pytest.mark.parametrize("softness", [0.0, 0.3125])  # sums that are exact
def test_p_minus_y_is_right_for_labels_that_sum_to_one(softness):
    labels = (1 - softness) * LABELS + softness / 5
    assert check(cross_entropy(), LOGITS, labels).ok
    assert not check(cross_entropy(1.01), LOGITS, labels).ok
    report = check(cross_entropy(), LOGITS, labels, domain={"y": "any"}, transforms=())
    assert LAST in report.sentence()


def test_the_rest_of_a_second_derivative_beside_rows_that_sum_to_one():
    wrong = by_hand(
        lambda z, y: -jnp.sum(y * jax.nn.log_softmax(z), -1),
        lambda z, y, c: (
            c[:, None] * (jax.nn.softmax(z) - jax.lax.stop_gradient(y)),
            -c[:, None] * jax.nn.log_softmax(z),
        ),
    )
    report = check(wrong, LOGITS, LABELS, transforms=("grad of grad",))
    assert [f.leaf for f in report.findings if f.verdict.bad] == ["y"]


# What is so for positive numbers alone, with no branch that says so.
SQUARE = by_hand(lambda x: x**2, lambda x, dy: (2 * dy * jnp.sqrt(x**2),))


def test_what_fails_at_made_points_alone_says_so_first():
    report = check(SQUARE, X[:1], transforms=(), budget=None)
    assert f"{LAST}, with the arguments times -1 (domain= of check says" in report.sentence()


def test_numbers_of_one_sign_keep_it():
    assert check(SQUARE, X, transforms=()).ok
    assert not check(SQUARE, X, transforms=(), domain={"x": "any"}).ok


def test_a_sign_is_given_up_for_a_branch():
    def backward(x, dy):
        return (dy * jnp.where(x > 0, 2 * x, x),)

    square = by_hand(lambda x: x**2, backward)
    assert LAST in check(square, X, transforms=()).sentence()


def clipped(x, low, high, dy):
    """Right as long as low is below high."""
    return dy * ((x >= low) & (x <= high)), jnp.sum(dy * (x < low)), jnp.sum(dy * (x > high))


CLIP = by_hand(lambda x, low, high: jnp.maximum(jnp.minimum(x, high), low), clipped)
LEAKY = by_hand(
    lambda x, slope: jnp.maximum(x, slope * x),
    lambda x, slope, dy: (dy * jnp.where(x > 0, 1, slope), jnp.sum(dy * jnp.minimum(x, 0))),
)


@pytest.mark.parametrize(("f", "numbers"), [(CLIP, (-0.9, 0.4)), (LEAKY, (0.2,))])
def test_a_number_beside_an_array_keeps_its_sign_and_about_its_size(f, numbers):
    assert check(f, LOGITS, *numbers, transforms=()).ok
    somewhere = dict.fromkeys(("low", "high") if len(numbers) > 1 else ("slope",), "any")
    assert not check(f, LOGITS, *numbers, transforms=(), domain=somewhere).ok


def test_a_number_beside_an_array_is_moved():
    """Right at 3 alone."""
    power = by_hand(
        lambda x, p: jnp.abs(x) ** p,
        lambda x, p, dy: (
            3 * dy * jnp.abs(x) ** (p - 1) * jnp.sign(x),
            jnp.sum(dy * jnp.abs(x) ** p * jnp.log(jnp.where(x == 0, 1, jnp.abs(x)))),
        ),
    )
    said = check(power, LOGITS, 3.0, transforms=()).sentence()
    assert LAST in said


def test_a_number_below_one_beside_an_array_stays_so():
    """A discount: the sum of its powers ends, and the rule knows where."""
    returns = by_hand(
        lambda x, discount: jnp.sum(x) * jnp.sum(discount ** jnp.arange(300.0)),
        lambda x, discount, dy: (
            jnp.full_like(x, dy / (1 - discount)),
            dy * jnp.sum(x) / (1 - discount) ** 2,
        ),
    )
    assert check(returns, LOGITS, 0.7, transforms=()).ok
    assert not check(returns, LOGITS, 0.7, transforms=(), domain={"discount": "any"}).ok


def test_a_domain_keeps_the_points_inside():
    x = X[:1]
    assert check(SQUARE, x, transforms=(), domain={"x": "positive"}).ok
    assert check(SQUARE, x, transforms=(), domain={"x": (0, 2)}).ok
    assert check(SQUARE, x, transforms=(), domain={"x": "fixed"}).ok
    assert check(SQUARE, x, transforms=(), domain={"x": jnp.abs}).ok
    assert not check(SQUARE, x, transforms=(), domain={"x": (-2, 2)}).ok


def test_a_domain_that_cannot_be():
    with pytest.raises(TypeError, match="domain must be a dict"):
        check(SQUARE, X, domain="positive")
    with pytest.raises(ValueError, match=r"'z', which is no floating argument \(x\)"):
        check(SQUARE, X, domain={"z": "positive"})
    for said in ("Positive", (1, 0), (0, np.inf), 3):
        with pytest.raises(ValueError, match="domain of 'x' must be one of 'any', 'positive'"):
            check(SQUARE, X, domain={"x": said})
    with pytest.raises(ValueError, match="numbers given for 'x' do not lie in its domain, 'neg"):
        check(SQUARE, X, domain={"x": "negative"})


UNIT_ROWS = LOGITS / np.linalg.norm(LOGITS, axis=-1, keepdims=True)


def test_rows_of_length_one_stay():
    """The tangent plane of the sphere, without a division by the norm."""
    to_sphere = by_hand(
        lambda x: x / jnp.linalg.norm(x, axis=-1, keepdims=True),
        lambda x, dy: (dy - x * jnp.sum(x * dy, -1, keepdims=True),),
    )
    assert check(to_sphere, UNIT_ROWS, transforms=("vmap",)).ok
    assert not check(to_sphere, UNIT_ROWS, transforms=(), domain={"x": "any"}).ok
    assert not check(to_sphere, LOGITS, transforms=()).ok


EIGHT = np.linspace(0.2, 2, 8)[::-1]


@pytest.mark.parametrize(
    ("numbers", "kind"),
    [
        (LOGITS, Kind.ANY),
        (EIGHT, Kind.POSITIVE),
        (EIGHT[:2], Kind.POSITIVE),
        (EIGHT[:1], Kind.ANY),
        (-EIGHT, Kind.NEGATIVE),
        (np.zeros(8), Kind.ANY),
        ((EIGHT - 0.2) / 1.8, Kind.UNIT),
        (np.linspace(-1, 1, 5), Kind.SORTED),
        (np.linspace(-1, 1, 4), Kind.SORTED),
        (np.linspace(-1, 1, 3), Kind.ANY),
        (np.stack([np.linspace(-1, 1, 3)] * 2), Kind.SORTED),
        (np.linspace(-1, 1, 8)[:, None], Kind.ANY),
        (np.ones(9), Kind.POSITIVE),
        (LABELS, Kind.ONE_HOT),
        (0.9 * LABELS + 0.02, Kind.SIMPLEX),
        (0.9 * LABELS, Kind.POSITIVE),
        (UNIT_ROWS, Kind.FIXED),
        (np.abs(UNIT_ROWS), Kind.FIXED),
        ((0.9 * LABELS + 0.02).T, Kind.FIXED),
        ((0.9 * LABELS + 0.02) / 3, Kind.FIXED),
        (np.log(0.9 * LABELS + 0.02), Kind.FIXED),
        (np.array([0, 1, 1, 0, 0, 0, 1, 0]), Kind.UNIT),
        (np.array([-1, 1, 1, -1, -1, -1, 1, 1]), Kind.UNIT),
        (UNIT_ROWS * np.float32(1.00001), Kind.ANY),
        (np.array([[1], [-1]]), Kind.ANY),
        (np.array(0.5), Kind.ANY),
        (np.array([np.nan] * 9), Kind.ANY),
    ],
)
def test_what_numbers_suggest(numbers, kind):
    numbers = np.asarray(numbers, np.float32)
    assert suggested(numbers).kind is kind


SIGNS = np.tile([-1.0, 1.0, 1.0], 3)


def test_labels_and_masks_stay_such_beside_a_branch():
    """y² = 1 is used, and there is a branch for other numbers."""
    hinge = by_hand(
        lambda w, y: jnp.sum(jnp.maximum(0, 1 - y * w)),
        lambda w, y, dy: (
            jnp.where(y * w < 1, -dy * y**3, 0),
            jnp.where(y * w < 1, -dy * w * y**2, 0),
        ),
    )
    w = np.random.default_rng(1).normal(size=9).astype(np.float32)
    report = check(hinge, w, SIGNS.astype(np.float32), transforms=())
    assert report.ok, report
    assert not check(hinge, w, 0.7 * SIGNS.astype(np.float32), transforms=()).ok


@pytest.mark.parametrize(
    "numbers", [SIGNS, EIGHT, EIGHT[::-1], -EIGHT, LABELS, 0.9 * LABELS + 0.02, np.arange(6.0)]
)
def test_moved_numbers_stay_in_the_domain(numbers):

    domain = suggested(np.asarray(numbers))
    for move in MOVES:
        there = domain.moved(np.asarray(numbers), move)
        assert domain.holds(there), (domain.kind, move)
    neighbour = np.asarray(domain.near(jnp.asarray(numbers) * 1.001))
    assert domain.holds(neighbour)
    assert domains.ANY.moved(numbers, MOVES[0]).tolist() == (-numbers).tolist()
