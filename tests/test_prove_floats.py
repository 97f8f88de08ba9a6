"""prove: what it computes in floats, beside its proofs, is what JAX computes.

A primitive of JAX that is read wrongly, an axis or a mode overlooked, is wrong in floats too.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

import jaxnet

IDS = np.array([0, 2, 2])
NORMAL = np.random.default_rng(3).normal(size=(3, 3))
POSITIVE = np.random.default_rng(4).uniform(0.3, 2, (3, 3))
CUBE = np.random.default_rng(5).normal(size=(2, 3, 4))
KERNEL = np.random.default_rng(6).normal(size=(2, 3, 2))

OF_NORMAL = {
    # indices
    "reshape": lambda x: x.reshape(-1, 1),
    "reshape, the other order": lambda x: lax.reshape(x, (9,), dimensions=(1, 0)),
    "slice": lambda x: x[::2, ::-1],
    "dynamic slice, over the edge": lambda x: lax.dynamic_slice(x, (2, -1), (2, 2)),
    "dynamic update": lambda x: lax.dynamic_update_slice(x, 2 * x[:2, :2], (2, 2)),
    "pad": lambda x: lax.pad(x, 1.5, ((-1, 2, 1), (1, -1, 0))),
    "pad with the edge": lambda x: jnp.pad(x, 1, mode="edge"),
    "pad with a mirror": lambda x: jnp.pad(x, 1, mode="reflect"),
    "roll": lambda x: jnp.roll(x, 1, 1),
    "repeat": lambda x: jnp.repeat(x, np.array([1, 2, 1]), axis=0),
    "concatenate": lambda x: jnp.concatenate([x, 2 * x, jnp.ones((3, 1))], 1),
    "stack": lambda x: jnp.stack([x, x.T], 1),
    "add at": lambda x: x.at[IDS].add(x),
    "set at": lambda x: x.at[1, 1:].set(7.0),
    "add at, outside is dropped": lambda x: x.at[np.array([0, 7])].add(x[:2], mode="drop"),
    "take, outside is clipped": lambda x: x.at[np.array([0, 7])].get(mode="clip"),
    "take, outside is filled": lambda x: x.at[np.array([0, 7])].get(mode="fill", fill_value=3.0),
    "take, outside is wrapped": lambda x: jnp.take(x, np.array([4, -5]), axis=0, mode="wrap"),
    "take along an axis": lambda x: jnp.take_along_axis(x, jnp.argsort(x, 0), 0),
    "sum of segments": lambda x: jax.ops.segment_sum(x, IDS, 4),
    "diagonal": jnp.diagonal,
    "triangle": jnp.triu,
    # reductions
    "product": lambda x: jnp.prod(x, 0)[None],
    "standard deviation": lambda x: jnp.std(x, 0, ddof=1),
    "covariance": jnp.cov,  # of corrcoef the diagonal is 1, where it is clipped: on an edge
    "cumsum": lambda x: lax.cumsum(x, 1, reverse=True),
    "cumprod": lambda x: lax.cumprod(x, 0, reverse=True),
    "cummax": lambda x: lax.cummax(x, 1, reverse=True),
    "cummin": lambda x: lax.cummin(x, 0),
    "cumlogsumexp": lambda x: lax.cumlogsumexp(x, 1, reverse=True),
    "argmax": lambda x: x[jnp.argmax(x, 0), np.arange(3)],
    "argmin": lambda x: x[jnp.argmin(x, 1)],
    "sort": lambda x: jnp.sort(x, axis=0),
    "sort, the largest first": lambda x: jnp.sort(x, descending=True),
    "sort of two keys": lambda x: lax.sort((jnp.round(x), x), num_keys=2)[1],
    "sort of what goes with it": lambda x: lax.sort((x, -x * x), num_keys=1)[1],
    "top_k": lambda x: lax.top_k(x, 2)[0],
    "median": lambda x: jnp.median(x, 0),
    "quantile": lambda x: jnp.quantile(x, 0.3, axis=1),
    "powers of a matrix": lambda x: jnp.linalg.matrix_power(x, 3),
    "outer product": lambda x: jnp.kron(x, x[:2]),
    "convolution of rows": lambda x: jnp.convolve(x[0], x[1]),
    # element by element
    "clamp": lambda x: lax.clamp(-0.5, x, 0.5),
    "round": lambda x: jnp.round(3 * x) * x,
    "floor": lambda x: jnp.floor(2 * x) * x,
    "quotient and rest": lambda x: (x // 0.3) + (x % 0.3) * x + jnp.fmod(x, 0.7),
    "integers": lambda x: (3 * x).astype(int) * x + x * (np.arange(-1, 2) % 2),
    "whole powers": lambda x: x**-3 + x ** np.array([1, 2, 3]),
    "hyperbolic": lambda x: jnp.sinh(x) * jnp.cosh(x) + jnp.tanh(x),
    "turns": lambda x: jnp.sin(x) * jnp.cos(x) + jnp.tan(x),
    "exponentials": lambda x: jnp.exp2(x) + jnp.expm1(x),
    "arcus": lambda x: jnp.arctan2(x, x[::-1]) + jnp.arcsin(x / 4),
    "erf": lambda x: jax.scipy.special.erf(x) + jax.scipy.special.erfc(x * x),
    "cube root": jnp.cbrt,
    "where": lambda x: jnp.where((x > 0) & (x < 1) | ~(x > -1), x * x, -2 * x),
    "one of three": lambda x: lax.select_n(np.array([[0, 1, 2]] * 3), x, 2 * x, 3 * x),
    "any and all": lambda x: jnp.where((x > 0).any(0), x, 0) + jnp.where((x > -2).all(), x, 0),
    # control
    "scan, from behind": lambda x: lax.scan(lambda c, r: (c * r + 1, c), x[0], x, reverse=True)[1],
    "associative scan": lambda x: lax.associative_scan(jnp.multiply, x, reverse=True),
    "fori_loop": lambda x: lax.fori_loop(0, 3, lambda i, total: total * x[i] + 1, x[0]),
    "cond": lambda x: lax.cond(x[0, 0] > 0, jnp.sin, jnp.cos, x),
    "switch": lambda x: lax.switch(jnp.argmax(x[0]), [jnp.sin, jnp.cos, jnp.exp], x),
    "map": lambda x: lax.map(lambda row: row * row.sum(), x),
}
OF_POSITIVE = {
    "logarithms": lambda x: jnp.log2(x) + jnp.log10(x) * jnp.log1p(x),
    "roots": lambda x: jnp.sqrt(x) + lax.rsqrt(x) * x**2.5,
    "a power of itself": lambda x: x**x,
    "xlogy": lambda x: jax.scipy.special.xlogy(x, x),
    "gamma": lambda x: jax.scipy.special.gammaln(x) + jax.scipy.special.digamma(x),
}
OF_CUBE = {
    "einsum": lambda t: jnp.einsum("abc,dbc->bad", t, t + 1),
    "dot, of batches": lambda t: lax.dot_general(t, t, (((2,), (2,)), ((1,), (1,)))),
    "sum of two axes": lambda t: jnp.sum(t, (0, 2)),
    "max of two axes": lambda t: jnp.max(t, (0, 2)),
    "min of all": lambda t: jnp.min(t)[None],
    "cumsum of all": lambda t: jnp.cumsum(t),
    "convolution, dilated": lambda t: lax.conv_general_dilated(
        t, KERNEL, (2,), ((1, 2),), lhs_dilation=(2,)
    ),
    "convolution, of groups": lambda t: lax.conv_general_dilated(
        t[:, :2], KERNEL[:, :1], (1,), "SAME", feature_group_count=2
    ),
    "convolution, of groups of the batch": lambda t: lax.conv_general_dilated(
        t[:, :2], KERNEL[:, :2], (1,), "SAME", batch_group_count=2
    ),
    "pool of sums": lambda t: lax.reduce_window(t, 0.0, lax.add, (1, 2, 2), (1, 1, 2), "SAME"),
    "pool of maxima": lambda t: lax.reduce_window(
        t, -jnp.inf, lax.max, (1, 2, 2), (1, 1, 2), "VALID"
    ),
}
CASES = {
    f"{name}, {what}": (f, x, what)
    for functions, x in ((OF_NORMAL, NORMAL), (OF_POSITIVE, POSITIVE), (OF_CUBE, CUBE))
    for name, f in functions.items()
    for what in ("value", "gradient")
}


def weighted(f):
    """Every number of f in one."""

    def total(x):
        y = f(x)
        return jnp.sum(y * np.cos(np.arange(y.size)).reshape(y.shape))

    return total


@pytest.mark.many
@pytest.mark.parametrize("name", CASES)
def test_its_floats_are_those_of_jax(name, x64):
    f, x, what = CASES[name]
    total = weighted(f if what == "value" else jax.grad(weighted(f)))
    # What is 1 more is refuted, and the refutation shows the floats.
    output = jaxnet.prove(total, x, ref=lambda x: total(x) + 1).leaves[0]
    expected = float(total(jnp.asarray(x)))
    assert output.rule == pytest.approx(expected, rel=1e-9, abs=1e-9)
    assert output.ref == pytest.approx(expected + 1, rel=1e-9, abs=1e-9)
