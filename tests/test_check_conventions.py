"""A gradient that is not the derivative, on purpose perhaps: the report names what it may be."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from corpus import by_hand
from corpus.right import ON_THE_ENDS, clipped_straight_through, straight_through_of_clip

from jaxnet import check
from jaxnet.checking.conventions import FLAT, FLOAT8, OF_A_DRAW, SYMMETRIC

X = np.array([0.3, -1.2, 2.6], np.float32)


def said(f, *args, **options):
    return check(f, *args, transforms=(), **options).sentence()


def test_a_flat_function_whose_rule_is_not():
    rounded = by_hand(lambda x: jnp.round(x), lambda x, dy: (dy,))
    assert FLAT in said(rounded, X)
    assert check(rounded, X, ref=lambda x: x, transforms=()).ok
    assert FLAT not in said(by_hand(lambda x: x**2, lambda x, dy: (dy,)), X)


def test_a_function_that_is_flat_where_nobody_asked():
    """Right up to 3, beyond which it is flat: no surrogate is meant by that."""
    clip = by_hand(lambda x: jnp.minimum(x, 3), lambda x, dy: (dy,))
    at_made = said(clip, X)
    assert "did not give" in at_made
    assert FLAT not in at_made


@pytest.mark.many
def test_the_symmetric_part():
    weights = np.random.default_rng(0).normal(size=(3, 3)).astype(np.float32)

    def of_lower(factor):
        both = factor * (weights + weights.T)
        return by_hand(
            lambda a: jnp.sum(a * weights),
            lambda a, dy: (dy * (jnp.tril(both, -1) + jnp.diag(jnp.diag(both)) / 2),),
        )

    matrix = np.eye(3, dtype=np.float32) + 0.5
    assert SYMMETRIC in said(of_lower(1), matrix)
    assert "WRONG" in said(of_lower(1.5), matrix)
    assert SYMMETRIC not in said(of_lower(1.5), matrix)


@pytest.mark.many
def test_a_draw_and_a_cast_to_float8():
    drawn = by_hand(
        lambda a, key: a * jax.random.normal(key, a.shape, a.dtype), lambda a, key, dy: (dy, None)
    )
    assert OF_A_DRAW in said(drawn, X, jax.random.key(0))

    def cast(factor):
        return by_hand(
            lambda x: x.astype(jnp.float8_e4m3fn).astype(x.dtype), lambda x, dy: (factor * dy,)
        )

    assert check(cast(1), X, transforms=()).ok
    assert FLOAT8 in said(cast(2), X)


@pytest.mark.many
def test_ties_of_a_reference_that_stops_gradients_are_settled_either_way():
    x = jnp.asarray(ON_THE_ENDS)
    for slope_at_end in (0, 0.3, 1):
        report = check(
            clipped_straight_through(slope_at_end), x, ref=straight_through_of_clip, transforms=()
        )
        assert report.ok, report
        assert [str(f.verdict) for f in report.findings if f.question == "algebra"] == ["kink"]
    for slope_at_end in (-0.3, 1.3):
        f = clipped_straight_through(slope_at_end)
        assert not check(f, x, ref=straight_through_of_clip, transforms=()).ok
