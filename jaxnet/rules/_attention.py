r"""Attention: each query takes the mean of the values, weighted by how well it fits their keys.

For one head, query t and key s of D numbers each, with a scale σ, a soft cap c and a bias b:

    u_ts = σ q_t · k_s         z_ts = c tanh(u_ts / c) + b_ts,  or u_ts + b_ts without a cap

Only keys that t may see count; where `seen` says no, z_ts is -inf.  With L_t = log Σ_s exp(z_ts)

    p_ts = exp(z_ts - L_t)     o_t = Σ_s p_ts v_s

and p_ts = 0, so that o_t = 0, for a query that sees no key.  Backwards, with ō_t given:

    ∂o_t/∂v_s = p_ts           v̄_s = Σ_t p_ts ō_t
    p̄_ts = ō_t · v_s           z̄_ts = p_ts (p̄_ts - Σ_r p_tr p̄_tr)   as for any softmax
    Σ_r p_tr p̄_tr = ō_t · Σ_r p_tr v_r = ō_t · o_t =: δ_t            one number of a query
    b̄_ts = z̄_ts               ū_ts = z̄_ts (1 - tanh²(u_ts / c)),  z̄_ts without a cap
    q̄_t = σ Σ_s ū_ts k_s       k̄_s = σ Σ_t ū_ts q_t

With o and L kept, a row of p needs its own query only.  So everything runs over chunks of queries:
neither p nor p̄ exists whole, [T, S] numbers for each head, which autodiff of the textbook's graph
keeps.  It costs the products q kᵀ a second time.  A chunk reads the keys that some query of it may
see: with a window a slice as long as that and the chunk; with `causal` the first quarter, half or
three quarters of them, or all.

The body runs over the same chunks, each under jax.checkpoint, so that forward mode, and autodiff of
the body, hold no more.  Heads that share a key are one more axis of q: k̄, v̄ are summed over it.
"""

import functools
import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from jaxnet._require import require_arrays, require_floating, wide_dtype, widened
from jaxnet._rule import rule

Window = int | tuple[int, int]


@rule
def attention(
    q: Array,
    k: Array,
    v: Array,
    bias: Array | None = None,
    lengths: Array | None = None,
    *,
    causal: bool = False,
    window: Window | None = None,
    scale: float | None = None,
    soft_cap: float | None = None,
    chunk: int | None = None,
) -> Array:
    """softmax(scale q kᵀ + bias) v for each head, never holding all pairs of query and key.

    Value, gradients and, by jaxnet.auto, forward mode run over chunks of queries. A query that sees
    no key gives 0, and so do all its gradients. With fewer heads of k and v than of q, the first of
    them serves the first heads of q, and so on (grouped queries; one for all is multi-query).
    Over an explicit mesh that shards an argument, call it inside jax.shard_map.

    q: [..., T, heads, dim], floating.
    k: [..., S, key_heads, dim], floating. key_heads divides heads.
    v: [..., S, key_heads, out], floating.
    bias: [..., heads, T, S], floating, or None. Any axis may be 1 or, from the left, missing; it
        then serves all. -inf hides a key from a query; what a mask says is
        jnp.where(mask, 0.0, -jnp.inf).
    lengths: [...], integer, or None. How many of the S keys count, from the first, in each example;
        whatever k and v hold behind them. One that is not in 0 .. S makes its example NaN.
    causal: whether a query sees the keys up to its own number only, t >= s.
    window: (left, right): a query sees the keys with t - left <= s <= t + right; one number stands
        for both; None sees all.
    scale: by what the products are multiplied; None is 1 / √dim.
    soft_cap: c > 0, or None; scaled products become c tanh(products / c), before the bias.
    chunk: the largest number of queries whose products exist at once; None takes what suits the
        platform that it is compiled for. On a CPU a million products over all examples and heads,
        but at least 128 queries and at most 1024 (measured with 512 to 8192 queries); elsewhere 64
        million, at most 2048 (measured on a GPU with 1024 to 8192 queries; not on a TPU).

    Returns [..., T, heads, out], in the dtype that q, k and v promote to; sums and exponentials in
        at least float32.
    Raises TypeError on integer q, k, v or bias and on lengths that are not integers; ValueError on
        shapes that do not fit and on options out of range.
    Source: Vaswani et al. 2017, "Attention is all you need"; what is kept: Dao et al. 2022,
        "FlashAttention"; soft cap: Gemma 2. The backward is derived in this file.

    >>> q, k, v = jax.random.normal(jax.random.key(0), (3, 5, 2, 4))  # 5 tokens, 2 heads of 4
    >>> y = jaxnet.rules.attention(q, k, v, causal=True)
    >>> print(jnp.allclose(y[0], v[0]))  # the first query sees the first key
    True
    >>> textbook = lambda q: jax.nn.dot_product_attention(q[None], k[None], v[None], is_causal=True)
    >>> print(jnp.allclose(y, textbook(q)[0], atol=1e-6))
    True
    """
    _require_fit(q, k, v, bias, lengths)
    options = Options(causal, window, scale, soft_cap, chunk)
    _require_options(options)
    inputs = _arranged(q, k, v, bias, lengths)
    out: Array = _in_chunks(_attended, inputs, options)[0]
    return out.reshape(*_shape(q, v))


class Options(NamedTuple):
    """What is asked for; the letters of the derivation beside it."""

    causal: bool
    window: Window | None
    scale: float | None  # σ
    soft_cap: float | None  # c
    chunk: int | None


class Residuals(NamedTuple):
    q: Array
    k: Array
    v: Array
    bias: Array | None
    lengths: Array | None
    out: Array  # o, for δ
    log_sum: Array  # L [..., K, G, T, 1]; 0 where no key is seen


@attention.forward
def attention_forward(
    q: Array, k: Array, v: Array, bias: Array | None, lengths: Array | None, **keywords: Any
) -> tuple[Array, Residuals]:
    _require_fit(q, k, v, bias, lengths)
    _require_options(Options(**keywords))
    out, log_sum = _in_chunks(_attended, _arranged(q, k, v, bias, lengths), Options(**keywords))
    out = out.reshape(*_shape(q, v))
    return out, Residuals(q, k, v, bias, lengths, out, log_sum)


@attention.backward
def attention_backward(
    residuals: Residuals, dout: Array, **keywords: Any
) -> tuple[Array, Array, Array, Array | None, None]:
    q, k, v, bias, lengths, out, log_sum = residuals
    options = Options(**keywords)
    inputs = _arranged(q, k, v, bias, lengths)
    delta = jnp.sum(widened(dout) * widened(out), axis=-1, keepdims=True)  # δ_t = ō_t · o_t
    rows = _Rows(_by_heads(dout, k.shape[-2]), _by_heads(delta, k.shape[-2]), log_sum)
    dq, dk, dv, dbias = _in_chunks(_gradients, inputs, options, rows)

    if bias is not None and dbias is not None:
        dbias = dbias.reshape(bias.shape).astype(bias.dtype)
    dq = _by_tokens(dq).reshape(q.shape).astype(q.dtype)
    # They are 0 behind the lengths; said so, the transpose does not read a tangent there, or a NaN.
    dk, dv = (jnp.swapaxes(_counted(d, inputs.lengths), -3, -2) for d in (dk, dv))
    return dq, dk.astype(k.dtype), dv.astype(v.dtype), dbias, None


class _Inputs(NamedTuple):
    """The arguments in one dtype; heads before tokens, and those of q by the head of k they see."""

    q: Array  # [..., K, G, T, dim]
    k: Array  # [..., K, S, dim]
    v: Array  # [..., K, S, out]
    bias: Array | None  # [..., K, G, T, S], or 1 in place of any
    lengths: Array | None  # [..., 1, 1, 1, 1]


class _Rows(NamedTuple):
    """What the backward knows of each query."""

    dout: Array  # ō [..., K, G, T, out]
    delta: Array  # δ [..., K, G, T, 1]
    log_sum: Array  # L [..., K, G, T, 1]


def _arranged(q: Array, k: Array, v: Array, bias: Array | None, lengths: Array | None) -> _Inputs:
    dtype, heads = jnp.result_type(q, k, v), k.shape[-2]
    q, k, v = _by_heads(q.astype(dtype), heads), *(jnp.swapaxes(a, -3, -2) for a in (k, v))
    k, v = k.astype(dtype), v.astype(dtype)
    if bias is not None:
        leading = (1,) * (q.ndim - 1 - bias.ndim)
        *examples, of_heads, queries, keys = leading + bias.shape
        split = (heads, of_heads // heads) if of_heads > 1 else (1, 1)
        bias = bias.reshape(*examples, *split, queries, keys).astype(wide_dtype(dtype))
    if lengths is not None:
        keys = k.shape[-2]
        valid = (lengths >= 0) & (lengths <= keys)
        lengths = jnp.where(valid, lengths, keys)[..., None, None, None, None]
        q = q * jnp.where(valid, 1, jnp.nan).astype(dtype)[..., None, None, None, None]
        k, v = (_counted(a, lengths) for a in (k, v))  # they may hold NaN behind it
    return _Inputs(q, k, v, bias, lengths)


def _counted(x: Array, lengths: Array | None) -> Array:
    """[..., K, S, dim], 0 behind the lengths."""
    if lengths is None:
        return x
    return jnp.where(jnp.arange(x.shape[-2])[:, None] < lengths[..., 0], x, 0)


def _by_heads(x: Array, key_heads: int) -> Array:
    """[..., T, heads, dim] -> [..., K, G, T, dim]"""
    *leading, tokens, heads, dim = x.shape
    by_key = x.reshape(*leading, tokens, key_heads, heads // key_heads, dim)
    return jnp.moveaxis(by_key, -4, -2)


def _by_tokens(x: Array) -> Array:
    """[..., K, G, T, dim] -> [..., T, K, G, dim]"""
    return jnp.moveaxis(x, -2, -4)


def _in_chunks(f: Callable[..., Any], inputs: _Inputs, options: Options, *more: _Rows) -> Any:
    """f(inputs, *more) in the chunks that suit the platform which it is lowered for."""
    queries, keys = inputs.q.shape[-2], inputs.k.shape[-2]
    products = max(1, math.prod(inputs.q.shape[:-2]) * keys)  # of a query
    on_cpu = options.chunk or min(max(128, 2**20 // products), 1024)
    elsewhere = options.chunk or min(max(128, 2**26 // products), 2048)
    cpu, default = (
        functools.partial(f, options=options, chunk=chunk) for chunk in (on_cpu, elsewhere)
    )
    if min(queries, on_cpu) == min(queries, elsewhere):
        return cpu(inputs, *more)
    return lax.platform_dependent(inputs, *more, cpu=cpu, default=default)


def _attended(inputs: _Inputs, *, options: Options, chunk: int) -> tuple[Array, Array]:
    """o [..., T, K, G, out] and L [..., K, G, T, 1]."""
    dtype = inputs.q.dtype
    plan = _plan(inputs, options, chunk)

    def of_chunk(at: tuple[Array, Array], span: int) -> tuple[Array, Array]:
        cut = _cut(inputs, *at, plan.size, span)
        _, z = _products(cut, options)
        m = lax.stop_gradient(jnp.max(z, axis=-1, keepdims=True, initial=-jnp.inf))
        m = jnp.where(m == -jnp.inf, 0, m)  # no key is seen: e is 0, not NaN
        e = jnp.exp(z - m)
        total = jnp.sum(e, axis=-1, keepdims=True)
        total = jnp.where(total == 0, 1, total)
        out = _product("...kgts,...kse->...kgte", _narrow(e, dtype), cut.v) / total
        return out.astype(dtype), m + jnp.log(total)

    chunks = [
        lax.map(jax.checkpoint(functools.partial(of_chunk, span=part.span)), part.places)
        for part in plan.parts
    ]
    out, log_sum = (_joined(list(each), plan) for each in zip(*chunks, strict=True))
    return _by_tokens(out), log_sum


def _gradients(
    inputs: _Inputs, rows: _Rows, *, options: Options, chunk: int
) -> tuple[Array, Array, Array, Array | None]:
    """q̄, k̄, v̄ and b̄ in the form of the inputs, in at least float32."""
    q, k, v, bias, _ = inputs
    wide, plan = wide_dtype(q.dtype), _plan(inputs, options, chunk)
    # Where the bias is the same for all queries, b̄ is a sum over them.
    summed = bias if bias is not None and bias.shape[-2] == 1 else None

    def step(sums: _Sums, place: Any, span: int) -> tuple[_Sums, Any]:
        start, first, done = place
        cut = _cut(inputs, start, first, plan.size, span)
        dq, dk, dv, dz = _of_chunk(cut, _rows_of_chunk(rows, start, done, plan.size), options)
        sums = sums._replace(dk=_added(sums.dk, dk, first), dv=_added(sums.dv, dv, first))
        if bias is None:
            return sums, (dq, None)
        dbias = _at_keys(_sum_to(dz, bias), first, bias.shape[-1])
        if sums.dbias is None:
            return sums, (dq, dbias)
        return sums._replace(dbias=sums.dbias + dbias), (dq, None)

    sums = _Sums(*jax.tree.map(lambda a: jnp.zeros_like(a, wide), (k, v, summed)))
    chunks = []
    for part in plan.parts:
        of_span = functools.partial(step, span=part.span)
        sums, made = lax.scan(of_span, sums, (*part.places, part.done))
        chunks.append(made)
    dq, dbias = zip(*chunks, strict=True)
    if bias is not None and summed is None:
        sums = sums._replace(dbias=_joined(dbias, plan))
    return _joined(dq, plan), *sums


class _Sums(NamedTuple):
    """What all chunks add to."""

    dk: Array
    dv: Array
    dbias: Array | None  # where the bias is the same for all queries


def _rows_of_chunk(rows: _Rows, start: Array, done: Array, size: int) -> _Rows:
    dout, delta, log_sum = (_slice(a, start, size) for a in rows)
    # The last chunk reaches back over queries that are done: they do not add a second time.
    again = jnp.arange(size)[:, None] < done
    return _Rows(jnp.where(again, 0, dout), jnp.where(again, 0, delta), log_sum)


def _of_chunk(cut: "_Cut", rows: _Rows, options: Options) -> tuple[Array, Array, Array, Array]:
    """q̄ of a chunk, what it adds to k̄ and v̄, and z̄."""
    dtype = cut.q.dtype
    dout, delta, log_sum = rows
    u, z = _products(cut, options)
    p = jnp.exp(z - log_sum)

    # v̄_s = Σ_t p_ts ō_t,  p̄_ts = ō_t · v_s,  z̄_ts = p_ts (p̄_ts - δ_t)
    dv = _product("...kgts,...kgte->...kse", _narrow(p, dtype), dout)
    dp = _product("...kgte,...kse->...kgts", dout, cut.v)
    dz = p * (dp - delta)

    du = _scale(cut, options) * dz  # and σ, which both products below have
    if options.soft_cap is not None:
        du = du * _sech2(u / options.soft_cap)
    du = _narrow(du, dtype)
    # q̄_t = σ Σ_s ū_ts k_s,  k̄_s = σ Σ_t ū_ts q_t
    dq = _product("...kgts,...ksd->...kgtd", du, cut.k)
    dk = _product("...kgts,...kgtd->...ksd", du, cut.q)
    # What is hidden is left out rather than multiplied by p = 0: transposed, dz meets a tangent.
    return dq, dk, dv, jnp.where(jnp.isneginf(z), 0, dz)


class _Cut(NamedTuple):
    """A chunk of queries, the keys that they may see, and which of them each does see."""

    q: Array
    k: Array
    v: Array
    bias: Array | None
    start: Array  # the number of the first query
    first: Array  # the number of the first key
    lengths: Array | None


def _cut(inputs: _Inputs, start: Array, first: Array, size: int, span: int) -> _Cut:
    q, k, v, bias, lengths = inputs
    if bias is not None:
        bias = _slice(bias, start, size) if bias.shape[-2] > 1 else bias
        bias = _slice(bias, first, span, axis=-1) if bias.shape[-1] > 1 else bias
    k, v = _slice(k, first, span), _slice(v, first, span)
    return _Cut(_slice(q, start, size), k, v, bias, start, first, lengths)


def _products(cut: _Cut, options: Options) -> tuple[Array, Array]:
    """u and z [..., K, G, queries, keys]."""
    u = _scale(cut, options) * _product("...kgtd,...ksd->...kgts", cut.q, cut.k)
    cap = options.soft_cap
    z = u if cap is None else cap * jnp.tanh(u / cap)
    if cut.bias is not None:
        z = z + cut.bias

    t = cut.start + jnp.arange(cut.q.shape[-2])[:, None]
    s = cut.first + jnp.arange(cut.k.shape[-2])
    left, right = _reach(options)
    if right is not None:
        z = jnp.where(s - t <= right, z, -jnp.inf)
    if left is not None:
        z = jnp.where(t - s <= left, z, -jnp.inf)
    if cut.lengths is not None:
        z = jnp.where(s < cut.lengths, z, -jnp.inf)
    return u, z


def _scale(arrays: _Inputs | _Cut, options: Options) -> float:
    return 1 / math.sqrt(arrays.q.shape[-1]) if options.scale is None else options.scale


def _sech2(v: Array) -> Array:
    r = jnp.exp(-2 * jnp.abs(v))  # not 1 - tanh², which is 0 from v = 9 on in float32
    return 4 * r / (1 + r) ** 2


def _product(form: str, left: Array, right: Array) -> Array:
    wide = wide_dtype(jnp.result_type(left, right))
    return jnp.einsum(form, left, right, preferred_element_type=wide)


def _narrow(x: Array, dtype: Any) -> Array:
    """As the arguments: fast hardware wants factors of their dtype. float16 has too little room."""
    return x if dtype == jnp.float16 else x.astype(dtype)


def _slice(x: Array, start: Array, size: int, axis: int = -2) -> Array:
    return x if x.shape[axis] == size else lax.dynamic_slice_in_dim(x, start, size, axis)


def _added(total: Array, part: Array, first: Array) -> Array:
    """total with part added to its keys from the first on."""
    return total + _at_keys(part, first, total.shape[-2], axis=-2)


def _at_keys(part: Array, first: Array, keys: int, axis: int = -1) -> Array:
    """part among zeros, at its place among all keys."""
    if part.shape[axis] == keys:
        return part
    shape = list(part.shape)
    shape[axis] = keys
    zeros = jnp.zeros_like(part, shape=tuple(shape))
    return lax.dynamic_update_slice_in_dim(zeros, part, first, axis)


def _sum_to(dz: Array, bias: Array) -> Array:
    """The sum over the axes that the bias has once, the queries of the chunk too."""
    lost = (1,) * (dz.ndim - bias.ndim) + bias.shape
    axes = tuple(i for i, size in enumerate(lost) if size == 1)
    return jnp.sum(dz, axis=axes, keepdims=True)


# How it is cut into chunks.


class _Part(NamedTuple):
    """Chunks that read as many keys."""

    places: tuple[np.ndarray, np.ndarray]  # the first query and the first key of each
    done: np.ndarray  # how many queries of each are those of the chunk before
    span: int  # how many keys


class _Plan(NamedTuple):
    parts: list[_Part]
    size: int  # of all chunks
    queries: int


def _plan(inputs: _Inputs, options: Options, chunk: int) -> _Plan:
    queries, keys = inputs.q.shape[-2], inputs.k.shape[-2]
    count = max(1, -(-queries // chunk))
    size = -(-queries // count)
    starts = np.arange(count, dtype=np.int32) * size
    fitting = np.minimum(starts, queries - size)  # the last one reaches back, to be full

    left, right = _reach(options)
    low, high = np.zeros_like(starts), np.full_like(starts, keys)
    if left is not None:
        low = np.clip(fitting - min(left, queries), 0, keys)
    if right is not None:
        high = np.clip(fitting + size + min(right, keys), 0, keys)
    # A triangle is cut into four steps.
    steps = 4 if left is None and right is not None else 1
    parts = []
    for chosen in np.array_split(np.arange(count), min(steps, count)):
        span = max(0, int((high - low)[chosen].max()))
        first = np.minimum(low[chosen], keys - span).astype(np.int32)
        parts.append(_Part((fitting[chosen], first), (starts - fitting)[chosen], span))
    return _Plan(parts, size, queries)


def _reach(options: Options) -> tuple[int | None, int | None]:
    """How far a query sees to the left and to the right of its own number; None: to the end."""
    if options.window is None:
        return None, 0 if options.causal else None
    window = options.window
    left, right = (window, window) if isinstance(window, int) else window
    return left, 0 if options.causal else right


def _joined(chunks: Any, plan: _Plan) -> Array:
    """Of each part [chunks, ..., size, n] -> [..., T, n], without what the last chunk repeats."""
    flat = []
    for part in chunks:
        moved = jnp.moveaxis(part, 0, -3)
        *rest, chunk, size, last = moved.shape
        flat.append(moved.reshape(*rest, chunk * size, last))
    whole = flat[0] if len(flat) == 1 else jnp.concatenate(flat, axis=-2)
    repeated = whole.shape[-2] - plan.queries
    if repeated == 0:
        return whole
    done = whole.shape[-2] - plan.size
    return jnp.concatenate([whole[..., :done, :], whole[..., done + repeated :, :]], axis=-2)


def _shape(q: Array, v: Array) -> tuple[int, ...]:
    return (*q.shape[:-1], v.shape[-1])


def _require_fit(q: Array, k: Array, v: Array, bias: Array | None, lengths: Array | None) -> None:
    given = {} if bias is None else {"bias": bias}
    _require_no_mask(bias)
    require_floating("attention", q=q, k=k, v=v, **given)
    if q.ndim < 3 or 0 in q.shape[-2:]:
        raise ValueError(
            f"attention: q must be [..., T, heads, dim] with at least one head of at least one "
            f"number, got shape {q.shape}"
        )
    examples, heads, dim = q.shape[:-3], q.shape[-2], q.shape[-1]
    if k.ndim != q.ndim or k.shape[:-3] != examples or k.shape[-1] != dim:
        raise ValueError(
            f"attention: for q of shape {q.shape} k must be [..., S, key_heads, dim] with ... = "
            f"{examples} and dim = {dim}, got shape {k.shape}"
        )
    if k.shape[-2] == 0 or heads % k.shape[-2]:
        raise ValueError(
            f"attention: the heads of k must divide the {heads} of q, got {k.shape[-2]} in shape "
            f"{k.shape}"
        )
    if v.shape[:-1] != k.shape[:-1]:
        raise ValueError(
            f"attention: v must be [..., S, key_heads, out] as k of shape {k.shape} is but for "
            f"its last axis, got shape {v.shape}"
        )
    _require_pairs(bias, (*examples, heads, q.shape[-3], k.shape[-3]))
    _require_lengths(lengths, examples)


def _require_no_mask(bias: Array | None) -> None:
    # Made floats of, its ones and zeros would hide nothing.
    if getattr(bias, "dtype", None) == jnp.bool_:
        raise TypeError(
            "attention: bias is added to the products, got a mask of dtype bool; hide what it "
            "leaves out with jnp.where(mask, 0.0, -jnp.inf)"
        )


def _require_pairs(bias: Array | None, pairs: tuple[int, ...]) -> None:
    if bias is None:
        return
    axes = pairs[len(pairs) - bias.ndim :] if bias.ndim <= len(pairs) else ()
    if (
        bias.ndim < 2
        or len(axes) != bias.ndim
        or any(size not in (1, full) for size, full in zip(bias.shape, axes, strict=True))
    ):
        raise ValueError(
            f"attention: bias must be [..., heads, T, S] = {pairs}, with 1 in place of any number, "
            f"or without the first of them, got shape {bias.shape}"
        )


def _require_lengths(lengths: Array | None, examples: tuple[int, ...]) -> None:
    if lengths is None:
        return
    require_arrays("attention", lengths=lengths)
    if not jnp.issubdtype(lengths.dtype, jnp.integer):
        raise TypeError(
            f"attention: lengths must be integers, how many keys count in each example, got dtype "
            f"{lengths.dtype}"
        )
    if lengths.shape != examples:
        raise ValueError(
            f"attention: lengths must have shape {examples}, one for each example, got "
            f"{lengths.shape}"
        )


def _require_options(options: Options) -> None:
    _, window, scale, soft_cap, chunk = options
    _require_window(window)
    if not (scale is None or (_is_number(scale) and math.isfinite(scale))):
        raise ValueError(f"attention: scale must be None or a finite number, got {scale!r}")
    if not (soft_cap is None or (_is_number(soft_cap) and soft_cap > 0)):
        raise ValueError(f"attention: soft_cap must be None or above 0, got {soft_cap!r}")
    if chunk is not None and (not isinstance(chunk, int) or chunk < 1):
        raise ValueError(
            f"attention: chunk must be None or a positive integer, a number of queries, got "
            f"{chunk!r}"
        )


def _is_number(option: Any) -> bool:
    return isinstance(option, int | float | np.number)


def _require_window(window: Any) -> None:
    if window is None:
        return
    pair = (window, window) if isinstance(window, int) else window
    is_pair = isinstance(pair, tuple) and len(pair) == 2
    if not is_pair or not all(isinstance(reach, int) and reach >= 0 for reach in pair):
        raise ValueError(
            f"attention: window must be None, an integer of at least 0 or a pair of them, how far "
            f"a query sees to the left and to the right, got {window!r}"
        )
