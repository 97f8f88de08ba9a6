"""check and audit where a rule is in a form of its own: batched by hand, or a Python object."""

import jax
import jax.numpy as jnp
import numpy as np

from jaxnet import audit, check

X = np.random.default_rng(0).normal(size=(3, 4)).astype(np.float32)


def sine(slope=jnp.cos, body=jnp.sin):
    f = jax.custom_vjp(lambda x: body(x))
    f.defvjp(lambda x: (jnp.sin(x), x), lambda x, dy: (slope(x) * dy,))
    return f


# ---- custom_vmap


def batched_by_hand(body):
    f = jax.custom_batching.custom_vmap(lambda x: body(x))
    f.def_vmap(lambda size, is_batched, x: (body(x), True))
    return f


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
