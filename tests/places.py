"""Probes, and every place in a graph where a rule may be.

The probes are the sine, with a backward that is wrong by a factor of 100: one number tells whose
derivative was taken. In every place the derivative is that of the probe.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jax.sharding import PartitionSpec

from jaxnet import rule

X = jnp.float32(0.7)
SIN, COS = float(jnp.sin(X)), float(jnp.cos(X))


def forward(x):
    return jnp.sin(x), x


def backward(x, dy):
    return (100 * jnp.cos(x) * dy,)


def make_theirs(body=jnp.sin):
    f = jax.custom_vjp(lambda x: body(x))
    f.defvjp(forward, backward)
    return f


def make_ours(body=jnp.sin):
    f = rule(lambda x: body(x))
    f.forward(forward)
    f.backward(backward)
    return f


def repeated(f, x):
    return lax.scan(lambda c, _: (f(c), None), x, None, length=1)[0]


def on_mesh(f):
    none = PartitionSpec()
    return jax.jit(
        jax.shard_map(f, mesh=jax.make_mesh((1,), ("i",)), in_specs=none, out_specs=none)
    )


def by_root_of_matrix(f, y):  # u f(y) = 1, scaled so that the derivative is that of f
    solution = lax.custom_linear_solve(
        lambda u: u * f(y),
        jnp.float32(1),
        lambda matvec, b: b / matvec(jnp.float32(1)),
        symmetric=True,
    )
    return -(SIN**2) * solution


def custom_vmapped(f):
    g = jax.custom_batching.custom_vmap(lambda x: f(x))
    g.def_vmap(lambda size, batched, x: (f(x), True))
    return g


def through_ref(f, y):
    ref = jax.new_ref(y)
    ref[...] = f(ref[...])
    return ref[...]


def closure_converted(f, y):
    converted, tracers = jax.closure_convert(lambda z: f(z) * y / y, y)
    return converted(y, *tracers)


class Pair(NamedTuple):
    a: jax.Array
    b: jax.Array


ARRAY = jnp.float32(3)
PLACES = {
    "plain": lambda f, y: f(y),
    "jit": lambda f, y: jax.jit(f)(y),
    "jit of jit, inlined": lambda f, y: jax.jit(jax.jit(f, inline=True))(y),
    "vmap": lambda f, y: jax.vmap(f)(y * jnp.ones(3)).mean(),
    "vmap with an axis name": lambda f, y: jax.vmap(lambda z: lax.pmean(f(z), "i"), axis_name="i")(
        y * jnp.ones(3)
    )[0],
    "scan": repeated,
    "scan over rows": lambda f, y: (
        lax.scan(lambda c, r: (c + f(r), None), 0.0, y * jnp.ones(3))[0] / 3
    ),
    "map": lambda f, y: lax.map(f, y * jnp.ones(3)).mean(),
    "fori_loop with static bounds": lambda f, y: lax.fori_loop(0, 1, lambda i, c: f(c), y),
    "cond": lambda f, y: lax.cond(y > 0, f, jnp.cos, y),
    "switch": lambda f, y: lax.switch(2, [jnp.cos, jnp.exp, f], y),
    "remat": lambda f, y: jax.checkpoint(f)(y),
    "remat with a policy": lambda f, y: jax.checkpoint(
        f, policy=jax.checkpoint_policies.dots_saveable
    )(y),
    "shard_map": lambda f, y: on_mesh(f)(y),
    "custom_linear_solve": by_root_of_matrix,
    "associative_scan": lambda f, y: lax.associative_scan(jnp.add, f(y * jnp.ones(3)))[-1] / 3,
    "body of another rule": lambda f, y: make_ours(f)(y),
    "body of a third-party rule": lambda f, y: make_theirs(f)(y),
    "custom_vmap inside vmap": lambda f, y: jax.vmap(custom_vmapped(f))(y * jnp.ones(3)).mean(),
    "ref": through_ref,
    "closure_convert": closure_converted,
    "named scope": lambda f, y: jax.named_call(f, name="jvp")(y),
    "closure over a tracer": lambda f, y: jax.jit(lambda: f(y))(),
    "closure over a tracer in a scan": lambda f, y: lax.scan(
        lambda c, _: (f(y), None), 0.0, None, length=2
    )[0],
    "closure over an array": lambda f, y: jax.jit(lambda z: f(z * ARRAY / ARRAY))(y),
    "namedtuple": lambda f, y: jax.jit(lambda p: Pair(p.a, f(p.b)))(Pair(y, y)).b,
    "all at once": lambda f, y: jax.jit(jax.vmap(lambda z: repeated(jax.checkpoint(f), z)))(
        y * jnp.ones(3)
    ).mean(),
}
