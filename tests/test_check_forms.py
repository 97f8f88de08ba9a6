"""check and audit where a rule is in a form of its own: batched by hand, or a Python object."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from corpus import batched_by_hand
from jax.experimental import hijax

from jaxnet import audit, check

X = np.random.default_rng(0).normal(size=(3, 4)).astype(np.float32)


def sine(slope=jnp.cos, body=jnp.sin):
    f = jax.custom_vjp(lambda x: body(x))
    f.defvjp(lambda x: (jnp.sin(x), x), lambda x, dy: (slope(x) * dy,))
    return f


# ---- custom_vmap


def test_the_body_of_a_custom_vmap_is_the_reference():
    """There is a rule inside it, and JAX has no derivative of a custom_vmap around one."""
    check(sine(body=batched_by_hand(sine())), X).require()
    wrong = check(sine(slope=lambda x: 2 * jnp.cos(x), body=batched_by_hand(sine())), X)
    assert wrong.sentence().startswith("WRONG in `x`")


def test_a_rule_inside_a_custom_vmap_is_found():
    wrong = jax.custom_jvp(lambda x: jnp.sin(x))
    wrong.defjvp(lambda x, dx: (jnp.sin(*x), 2 * jnp.cos(*x) * dx[0]))
    found = audit(lambda x: batched_by_hand(wrong)(x).sum(), X)
    assert [(site.kind, site.verdict) for site in found.sites] == [("jvp", "wrong")]
    assert not found.ok


# ---- primitives that are Python objects, on a jax that does not say what they compute


@pytest.mark.skipif(hasattr(hijax, "HiPrim"), reason="this jax has HiPrim: test_check_hiprim.py")
def test_a_primitive_of_an_older_jax_is_not_judged():
    class Sine(hijax.VJPHiPrimitive):
        def __init__(self, x):
            self.in_avals, self.out_aval, self.params = (x,), x, {}
            super().__init__()

        def expand(self, x):
            return jnp.sin(x)

        def vjp_fwd(self, nzs_in, x):
            return self(x), x

        def vjp_bwd_retval(self, x, g):
            return (2 * g * jnp.cos(x),)

    def f(x):
        return Sine(jax.typeof(x))(x)

    report = check(f, X)
    assert not report.ok
    assert report.sentence().startswith("NOT JUDGED (primitive): Sine is a primitive")
    wrong = check(f, X, ref=jnp.sin)
    assert wrong.sentence().startswith("WRONG in `x`")
    found = audit(lambda x: f(x).sum(), X)
    assert not found.ok
    assert [(s.kind, s.verdict) for s in found.sites] == [("hiprim", "not judged")]
