"""attention."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import jaxnet
from catalogue.entry import (
    Args,
    Case,
    Draw,
    Entry,
    Measure,
    in_bfloat16,
    normal32,
    normals,
)

DIM = 64  # of a head in the benchmark
TOKENS, MANY_TOKENS = (2048, 8 * DIM), (8192, 8 * DIM)  # eight heads


def seen_by(t: Any, s: Any, causal: bool, window: Any) -> Any:
    """Whether query t sees key s."""
    left, right = (window, window) if isinstance(window, int) else window or (t.size, s.size)
    near = (t - left <= s) & (s <= t + right)
    return near & (s <= t) if causal else near


def textbook(
    q: Any,
    k: Any,
    v: Any,
    bias: Any = 0.0,
    lengths: Any = None,
    *,
    causal: bool = False,
    window: Any = None,
    scale: float | None = None,
    soft_cap: float | None = None,
    chunk: int | None = None,
) -> Any:
    """All products at once, and softmax as it is defined; a query that sees no key has 0."""
    (queries, heads, dim), keys = q.shape[-3:], k.shape[-3]
    k, v = (jnp.repeat(a, heads // k.shape[-2], axis=-2) for a in (k, v))
    u = jnp.einsum("...thd,...shd->...hts", q, k) * (dim**-0.5 if scale is None else scale)
    z = u if soft_cap is None else soft_cap * jnp.tanh(u / soft_cap)
    t, s = jnp.arange(queries)[:, None], jnp.arange(keys)
    seen = seen_by(t, s, causal, window)
    if lengths is not None:
        seen = seen & (s < lengths[..., None, None, None])
    e = jnp.where(seen, jnp.exp(z + bias), 0)
    total = e.sum(-1, keepdims=True)
    return jnp.einsum("...hts,...shd->...thd", e / jnp.where(total == 0, 1, total), v)


def usual(q: Any, k: Any, v: Any) -> Any:
    """As it is usually written, with a softmax that does not overflow: timed."""
    u = jnp.einsum("...thd,...shd->...hts", q, k) * q.shape[-1] ** -0.5
    return jnp.einsum("...hts,...shd->...thd", jax.nn.softmax(u), v)


def grouped(queries: int, keys: int, *leading: int) -> Draw:
    """q with four heads of three, k and v with two, v of two numbers; a bias, and lengths."""

    def draw(rng: np.random.Generator) -> Args:
        qkv = normals((*leading, queries, 4, 3), (*leading, keys, 2, 3), (*leading, keys, 2, 2))
        bias = rng.normal(size=(4, queries, keys))
        return (*qkv(rng), bias, rng.integers(1, keys + 1, leading))

    return draw


def hidden(rng: np.random.Generator) -> Args:
    """A query that sees no key, by its bias, and an example without any."""
    q, k, v, bias, _ = grouped(5, 3, 2)(rng)
    bias = np.where(np.arange(5)[:, None] == 3, -np.inf, bias)
    return q, k, v, bias, np.array([0, 2])


def self_attention(*leading: int, heads: int = 2, dim: int = 3) -> Draw:
    return normals(*[(*leading, heads, dim)] * 3)


def with_bias(*shape: int) -> Draw:
    return normals((2, 3, 2, 3), (2, 4, 2, 3), (2, 4, 2, 3), shape)


# Seven queries in chunks of three: the last chunk reaches back over two.
CHUNKS: tuple[dict[str, Any], ...] = (
    {"causal": True, "soft_cap": 2.0, "chunk": 3},
    {"window": (2, 1), "scale": 0.7, "soft_cap": 2.0, "chunk": 3},
)


def tokens(f: Any, **options: Any) -> Any:
    """f on rows that hold the heads one after the other, one example."""

    def rows(*qkv: Any) -> Any:
        heads = (a.reshape(a.shape[0], -1, min(DIM, a.shape[1])) for a in qkv)
        return f(*heads, **options).reshape(qkv[0].shape)

    return rows


def keys_and_values(rng: np.random.Generator, rows: int, columns: int) -> Args:
    return normal32(rng, rows, columns), normal32(rng, rows, columns)


def sharp_and_narrow(rng: np.random.Generator) -> list[Args]:
    """Ordinary rows, queries that are sure of their key, a bfloat16 batch."""
    q, k, v = (normal32(rng, 32, DIM) for _ in range(3))
    return [(q, k, v), (20 * q, k, v), in_bfloat16(q, k, v)]


ATTENTION = Entry(
    jaxnet.rules.attention,
    textbook,
    cases=(
        Case(
            {
                "bias and lengths": grouped(7, 5, 2),
                "no leading dimension": grouped(7, 8),
                "no bias": self_attention(7, heads=2),
            },
            CHUNKS,
        ),
        Case(
            {
                "self": self_attention(2, 3),
                "one key": normals((3, 2, 3), (1, 2, 3), (1, 2, 2)),
                "one query": normals((1, 2, 3), (5, 1, 3), (5, 1, 3)),
                "hidden rows": hidden,
                "no queries": normals((0, 2, 3), (4, 2, 3), (4, 2, 3)),
                "no keys": normals((4, 2, 3), (0, 2, 3), (0, 2, 3)),
                "no examples": self_attention(0, 3),
                "one bias for all queries": with_bias(1, 2, 1, 4),
                "one bias for all heads": with_bias(3, 4),
                "two leading dimensions": lambda rng: (
                    *self_attention(2, 3, 4)(rng),
                    rng.normal(size=(2, 1, 1, 4, 4)),
                ),
                "several chunks": self_attention(150, heads=1),
                "many queries": normals((2048, 1, 1), (2, 1, 1), (2, 1, 1)),
            },
            ({}, {"causal": True}),
        ),
        Case(
            {
                "window": normals((9, 2, 3), (8, 1, 3), (8, 1, 2), (9, 8)),
                "more keys than queries": normals((3, 2, 3), (11, 2, 3), (11, 2, 3)),
            },
            ({"window": 1, "chunk": 2}, {"window": (3, 0), "causal": True, "chunk": 4}),
        ),
    ),
    measures=(
        Measure(
            hand=tokens(jaxnet.rules.attention),
            text=tokens(usual),
            rest=keys_and_values,
            points=sharp_and_narrow,
            timed=TOKENS,
            counted=MANY_TOKENS,
        ),
        Measure(
            "attention, causal",
            tokens(jaxnet.rules.attention, causal=True),
            tokens(jax.nn.dot_product_attention, is_causal=True),
            rest=keys_and_values,
            timed=TOKENS,
            counted=MANY_TOKENS,
        ),
    ),
)
right = ATTENTION.rule.halves.backward


def without(**forgotten: Any) -> Any:
    """The backward with these options in place of its own."""
    return lambda r, dy, **options: right(r, dy, **{**options, **forgotten})


def at_queries(chosen: Any, dy: Any) -> Any:
    """dy where chosen says so of a query's number, else 0."""
    return jnp.where(chosen(jnp.arange(dy.shape[-3]))[:, None, None], dy, 0)


def twice_in_the_last_chunk(r: Any, dy: Any, **options: Any) -> Args:
    """The queries that the last chunk shares with the one before add to dk and dv a second time."""
    dq, dk, dv, *others = right(r, dy, **options)
    queries, size = dy.shape[-3], options["chunk"] or dy.shape[-3]
    before = queries // size * size if queries % size else queries
    repeated = at_queries(lambda t: (t >= queries - size) & (t < before), dy)
    _, dk_again, dv_again, *_ = right(r, repeated, **options)
    return dq, dk + dk_again, dv + dv_again, *others


def last_chunk_whole_only(r: Any, dy: Any, **options: Any) -> Args:
    """What is left over after whole chunks is dropped."""
    size = options["chunk"] or 1
    whole = dy.shape[-3] // size * size
    return right(r, at_queries(lambda t: t < whole, dy), **options)


def one_query_head_for_each_key(r: Any, dy: Any, **options: Any) -> Args:
    dq, _, _, *others = right(r, dy, **options)
    group = dy.shape[-2] // r.k.shape[-2]
    alone = jnp.where((jnp.arange(dy.shape[-2]) % group == 0)[:, None], dy, 0)
    _, dk, dv, *_ = right(r, alone, **options)
    return dq, dk, dv, *others


ATTENTION.fault("causal in the value only", backward=without(causal=False))
ATTENTION.fault("window in the value only", backward=without(window=None))
ATTENTION.fault("soft cap in the value only", backward=without(soft_cap=None))
ATTENTION.fault("scale in the value only", backward=without(scale=None))
ATTENTION.fault(
    "lengths in the value only",
    backward=lambda r, dy, **options: right(r._replace(lengths=None), dy, **options),
)
ATTENTION.fault(
    "the sum of the softmax is a constant",
    backward=lambda r, dy, **options: right(r._replace(out=0 * r.out), dy, **options),
)
ATTENTION.fault("wrong in the last partial chunk: twice", backward=twice_in_the_last_chunk)
ATTENTION.fault("wrong in the last partial chunk: dropped", backward=last_chunk_whole_only)
ATTENTION.fault("one query head for each key", backward=one_query_head_for_each_key)
ATTENTION.spoil(
    "the bias has no gradient",
    lambda dq, dk, dv, db, _, r, dy: (dq, dk, dv, None if db is None else 0 * db, None),
)
ATTENTION.spoil(
    "dk one key off", lambda dq, dk, dv, db, _, r, dy: (dq, jnp.roll(dk, 1, -3), dv, db, None)
)
ATTENTION.spoil(
    "dv in float32 whatever v",
    lambda dq, dk, dv, db, _, r, dy: (dq, dk, dv.astype(jnp.float32), db, None),
)
