"""`rule.tangent`: forward mode by hand, where a backward has no transpose."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from jaxnet import auto, both_modes, check, rule

ROW = jnp.linspace(0.3, 1.2, 5)


def assert_close(got, expected):
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5), got, expected)


def looping(tangent):
    """k n sin, whose backward no transpose can be had of."""
    f = rule(lambda x, n, *, k: k * n * jnp.sin(x))
    f.forward(lambda x, n, *, k: (k * n * jnp.sin(x), n * jnp.cos(x)))

    def backward(kept, dy, *, k):
        def more(turn):
            return turn[0] + 1, turn[1] + kept * dy

        return lax.while_loop(lambda turn: turn[0] < k, more, (0, 0 * dy))[1], None

    f.backward(backward)
    f.tangent(tangent)
    return lambda x: f(x, jnp.int32(2), k=3)


def right_tangent(arguments, tangents, *, k):
    (x, n), (dx, dn) = arguments, tangents
    assert dn is None
    return k * n * jnp.sin(x), k * n * jnp.cos(x) * dx


@pytest.mark.parametrize("around", [lambda f: f, jax.jit, jax.vmap, jax.checkpoint])
def test_a_tangent_by_hand_serves_where_there_is_no_transpose(around):
    ruled = around(looping(right_tangent))
    f = both_modes(ruled)
    slope = 6 * jnp.cos(ROW)
    assert_close(jax.jvp(f, (ROW,), (ROW,)), (6 * jnp.sin(ROW), slope * ROW))
    assert_close(jax.vjp(f, ROW)[1](ROW)[0], slope * ROW)
    assert_close(jax.jacfwd(jax.jacrev(f))(ROW).sum((1, 2)), -6 * jnp.sin(ROW))
    assert_close(jax.jvp(auto(f), (ROW,), (ROW,))[1], slope * ROW)
    with pytest.raises(TypeError, match="forward-mode"):  # as it is, it has its backward
        jax.jvp(ruled, (ROW,), (ROW,))


def test_a_tangent_by_hand_serves_inside_another_rule():
    inner, f = looping(right_tangent), rule(jnp.sin)
    f.forward(lambda x: (inner(x), x))
    f.backward(lambda x, dy: (inner(x) * dy,))
    assert_close(jax.jvp(both_modes(f), (ROW,), (ROW,))[1], 6 * jnp.sin(ROW) * ROW)
    assert_close(jax.jacfwd(jax.jacfwd(both_modes(f)))(ROW[0]), 6 * jnp.cos(ROW[0]))


WRONG_TANGENTS = {
    "by a factor": lambda y, dy: (y, 1.01 * dy),
    "by a constant": lambda y, dy: (y, dy + 1),  # reverse mode does not see it
    "in its value": lambda y, dy: (1.01 * y, dy),
}


@pytest.mark.many
@pytest.mark.parametrize("wrong", WRONG_TANGENTS.values(), ids=WRONG_TANGENTS)
def test_check_finds_a_wrong_tangent(wrong):
    check(both_modes(looping(right_tangent)), ROW, budget=60).require()
    planted = looping(lambda a, t, *, k: wrong(*right_tangent(a, t, k=k)))
    assert not check(both_modes(planted), ROW, budget=60).ok
    check(planted, ROW, budget=60).require()  # the backward is right
