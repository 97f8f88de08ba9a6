"""One rule's program is never another's, whatever in them differs that a graph does not show."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from corpus import by_hand, pointwise

from jaxnet import _graph, audit, check

X = np.random.default_rng(0).normal(size=(3,)).astype(np.float32)


def called_back(g):
    def on_the_host(x):
        shape = jax.ShapeDtypeStruct(x.shape, x.dtype)
        return jax.pure_callback(g, shape, x, vmap_method="expand_dims")

    return on_the_host


class Scaled:
    def __init__(self, factor):
        self.factor = factor

    def __call__(self, x):
        return self.factor * np.cos(x)

    def method(self, x):
        return self.factor * np.cos(x)


def by_closure(factor):
    return called_back(lambda x: factor * np.cos(x))


def by_array_in_closure(factor):
    scale = np.full(3, factor, np.float32)
    return called_back(lambda x: (scale * np.cos(x)).astype(x.dtype))


def by_default(factor):
    return called_back(lambda x, factor=factor: factor * np.cos(x))


def by_partial(factor):
    return called_back(functools.partial(lambda factor, x: factor * np.cos(x), factor))


def by_object(factor):
    return called_back(Scaled(factor))


def by_method(factor):
    return called_back(Scaled(factor).method)


def by_constant_of_jax(factor):
    scale = jnp.full(3, factor)
    return lambda x: scale.astype(x.dtype) * jnp.cos(x)


def by_jitted_function(factor):
    return jax.jit(lambda x: factor * jnp.cos(x))


WAYS = [
    by_closure,
    by_array_in_closure,
    by_default,
    by_partial,
    by_object,
    by_method,
    by_constant_of_jax,
    by_jitted_function,
]


@pytest.mark.many
@pytest.mark.parametrize("slope", WAYS)
def test_rules_that_differ_in_what_they_hold_are_told_apart(slope):
    right, wrong = (pointwise(jnp.sin, slope(factor)) for factor in (1.0, 2.0))
    assert [check(f, X, transforms=()).ok for f in (right, wrong, right)] == [True, False, True]


def test_audit_tells_them_apart():
    right, wrong = (pointwise(jnp.sin, by_closure(factor)) for factor in (1.0, 2.0))
    found = audit(lambda x: jnp.sum(right(x) + wrong(x)), X)
    assert sorted(site.verdict for site in found.sites) == ["ok", "wrong"]


def test_a_callback_that_changes_what_it_holds_is_run_as_it_is_now():
    scaled = Scaled(1.0)
    rule = pointwise(jnp.sin, called_back(scaled))
    assert check(rule, X, transforms=()).ok
    scaled.factor = 2.0
    assert not check(rule, X, transforms=()).ok


def test_second_derivatives_alone_may_differ():
    def cubed(of_slope):
        slope = by_hand(lambda x: 3 * x**2, lambda x, dy: (of_slope * x * dy,))
        return pointwise(lambda x: x**3, slope)

    right, wrong = cubed(6.0), cubed(5.0)
    assert [check(f, X, transforms=("grad of grad",)).ok for f in (right, wrong)] == [True, False]


def test_what_is_data_is_told_by_its_contents():
    def key_of(f):
        return _graph.identity(jax.make_jaxpr(lambda x: f(x))(X))

    assert key_of(jnp.sin) == key_of(jnp.sin)
    assert key_of(lambda x: x * np.float32(2)) != key_of(lambda x: x * np.float32(3))
    assert key_of(lambda x: x + X) == key_of(lambda x: x + X.copy())
    assert key_of(lambda x: x * 0.0) != key_of(lambda x: x * -0.0)
    assert key_of(by_closure(1.0)) != key_of(by_closure(1.0))  # nobody can tell: not reused
