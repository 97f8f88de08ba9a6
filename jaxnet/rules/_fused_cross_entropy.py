r"""A linear layer and the softmax cross-entropy after it in one: all logits never exist at once.

For each row x with label y, over V classes (u: _linear.py; the loss: _cross_entropy.py, here
measured so that no arg max is needed, and nothing but row vectors once the e_j are made):

    u = x Wᵀ + b            z = u,  or with soft_cap c:  z = c tanh(u / c)
    m = max_j z_j           a = z_y - m <= 0
    e_j = exp(z_j - m)  for j ≠ y,  e_y = 0          s = Σ_j e_j          t = s + exp(a)
    p_j = e_j / t  for j ≠ y         p_y = exp(a) / t         1 - p_y = s / t

    -log p_y = log(1 + s exp(-a))   where y is a largest class: a = 0, and s may be as small as it
                                    likes
             = log t - a            elsewhere: some other e_j is 1, so that log t >= 0 and -a > 0

No term cancels another: a sure and right row has a small s, and with it a small loss and gradient.
m is a constant to the derivative: any other shift gives the same values.  Each option adds a term:

    label_smoothing ε   the target is y'_k = (1 - ε) δ_ky + ε / V, so that -log p_y becomes
                        (1 - ε) (-log p_y) + ε (log t - mean_k (z_k - m))
    z_loss λ            + λ lse²,  lse = log Σ_k exp(z_k) = m + log t
    ignored_label       the row counts as 0, in the mean too

    L = Σ_k y'_k (-log p_k) + λ lse²                  with ∂lse/∂z_j = p_j and r = 2 λ lse
    ∂L/∂z_j = (1 + r) p_j - y'_j  =  (1 + r) e_j / t - ε / V                     for j ≠ y
    ∂L/∂z_y = (1 + r) p_y - y'_y  =  -s / t + r exp(a) / t + ε (1 - 1 / V)
    ∂z_j/∂u_j = 1 - tanh²(u_j / c) = sech²(u_j / c) =: k_j,  1 without soft_cap

Let g_n be what row n weighs (its cotangent; 0 where ignored).  g_n ∂L_n/∂u_nj is written as h_n for
j = y_n and as f_n A_nj for j ≠ y_n, with A_ny = 0, so that a factor of the whole row stays out of
the large array:

    h = g (-s / t + r exp(a) / t + ε (1 - 1 / V)) k_y
    A = e,  f = g (1 + r) / t                    with neither option: the e of the loss is enough
    A_j = (g (1 + r) e_j / t - g ε / V) k_j for j ≠ y,  f = 1   with label_smoothing or soft_cap

    x̄_n = f_n (A W)_n + h_n W_y
    W̄ = Aᵀ (f x),  then  W̄_y += h_n x_n  for each row n
    b̄ = Aᵀ f,      then  b̄_y += h_n      for each row n

All of it needs one chunk of rows only, so body and gradients run over chunks.  Where the rule sees
the reduction it knows g but for one common factor, and makes the gradients in the forward: three
products with W, 6 N D V operations, as autodiff needs with all logits at hand.  For reduction=None
g comes with the backward, which makes each chunk's logits again: 8 N D V.  What remains to be
stored is a chunk of e and W̄.
"""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from jaxnet._require import (
    number_or_nan,
    only_dtype,
    require_arrays,
    require_floating,
    wide_dtype,
    widened,
)
from jaxnet._rule import rule


@rule
def linear_softmax_cross_entropy(
    x: Array,
    weight: Array,
    bias: Array | None,
    labels: Array,
    *,
    reduction: str | None = "mean",
    chunk: int | None = None,
    label_smoothing: float = 0.0,
    z_loss: float = 0.0,
    soft_cap: float | None = None,
    ignored_label: int | None = None,
) -> Array:
    """softmax_cross_entropy(linear(x, weight, bias), labels), never holding the logits of all rows.

    Over an explicit mesh that shards the rows, call it inside jax.shard_map: chunks are cut from
    the rows of a device. For distributions as labels use softmax_cross_entropy.

    x: [..., in], floating.
    weight: [classes, in], floating.
    bias: [classes], floating, or None. A bias of -inf masks a class (but a soft_cap makes it -c).
    labels: [...], integer, in 0 .. classes - 1. Any label outside its range, ignored_label apart,
        makes the loss NaN, and every gradient that it enters.
    reduction: "mean", "sum" or None. The first two make the gradients in the forward pass, when a
        derivative is taken and only then; None returns one loss per row, and the backward computes
        the logits a second time.
    chunk: the largest number of rows whose logits exist at once; None takes what suits the platform
        that it is compiled for. Fewer chunks mean fewer passes over the gradient of weight. On a
        CPU smaller ones stay in the cache: 4 million logits (16 MiB in float32), but at least 128
        and at most 1024 rows (measured with 1000 to 131072 classes). Elsewhere the products must be
        large: 2048 rows of at most 16 bits, 1024 of more (measured on a GPU with 32768 to 128256
        classes; not on a TPU).
    label_smoothing: ε in [0, 1); the target is 1 - ε at the label plus ε / classes everywhere.
    z_loss: λ >= 0; adds λ times the squared logsumexp of the logits.
    soft_cap: c > 0, or None; logits become c tanh(logits / c).
    ignored_label: an integer, or None; rows with this label count as absent, whatever x holds
        there: loss 0 and gradient 0.

    Returns [], or [...] for reduction=None, in the dtype that x, weight and bias promote to;
        computed in at least float32. The mean is over the rows that are not ignored, and 0 (its
        gradient too) where there is none.
    Raises TypeError on integer x, weight or bias and on labels that are not integers; ValueError on
        shapes that do not fit and on options out of range.
    Source: docs/report.md, sections 2.1 and 2.2; the rest is derived in this file. Gradients in the
        forward pass: Liger-Kernel (Hsu et al. 2024). Label smoothing: Szegedy et al. 2015; z-loss:
        PaLM (Chowdhery et al. 2022); soft cap: Gemma 2.

    >>> x, weight, labels = jnp.ones((4, 3)), jnp.eye(5, 3), jnp.array([0, 1, 2, 0])
    >>> fused = lambda weight: jaxnet.rules.linear_softmax_cross_entropy(x, weight, None, labels)
    >>> apart = lambda weight: jaxnet.softmax_cross_entropy(x @ weight.T, labels).mean()
    >>> print(jnp.allclose(jax.grad(fused)(weight), jax.grad(apart)(weight), atol=1e-6))
    True
    """
    options = Options(chunk, label_smoothing, z_loss, soft_cap, ignored_label)
    _require_fit(x, weight, bias, labels)
    _require_options(reduction, options)
    rows = _rows(x, weight, labels, ignored_label)
    losses: Array = _in_chunks(_losses, rows, weight, bias, None, options)
    dtype = _common_dtype(x, weight, bias)
    if reduction is None:
        return losses.reshape(labels.shape).astype(dtype)
    return (jnp.sum(losses) * _share(rows.counts, reduction)).astype(dtype)


class Options(NamedTuple):
    """What is asked for, but for the reduction; the letters of the derivation beside it."""

    chunk: int | None
    label_smoothing: float  # ε
    z_loss: float  # λ
    soft_cap: float | None  # c
    ignored_label: int | None


class Gradients(NamedTuple):
    """What the forward of a sum or a mean keeps: its gradients, but for the factor L̄ share."""

    dx: Array  # of the sum of losses, as the two below; in the dtype of x
    dweight: Array  # in at least float32
    dbias: Array | None
    share: Array  # the part of each row in the value: 1, or 1 / rows in a mean
    dtypes: tuple[Array, Array | None]  # empty: the dtypes of W̄ and b̄


class Arguments(NamedTuple):
    """What the forward keeps for one loss per row: all that the gradients are made of but g."""

    x: Array
    weight: Array
    bias: Array | None
    labels: Array


@linear_softmax_cross_entropy.forward
def linear_softmax_cross_entropy_forward(
    x: Array,
    weight: Array,
    bias: Array | None,
    labels: Array,
    *,
    reduction: str | None,
    **keywords: Any,
) -> tuple[Array, Gradients | Arguments]:
    arguments, options = Arguments(x, weight, bias, labels), Options(**keywords)
    if reduction is None:
        value = linear_softmax_cross_entropy.body(*arguments, reduction=None, **keywords)
        return value, arguments
    _require_fit(*arguments)
    _require_options(reduction, options)
    rows = _rows(x, weight, labels, options.ignored_label)
    g = jnp.ones_like(rows.counts)  # the common factor comes with the backward
    losses, dx, dweight, dbias = _in_chunks(_gradients, rows, weight, bias, g, options)

    share = _share(rows.counts, reduction)
    value = (jnp.sum(losses) * share).astype(_common_dtype(x, weight, bias))
    dtypes = only_dtype(weight), None if bias is None else only_dtype(bias)
    return value, Gradients(dx.reshape(x.shape), dweight, dbias, share, dtypes)


@linear_softmax_cross_entropy.backward
def linear_softmax_cross_entropy_backward(
    residuals: Gradients | Arguments, dloss: Array, *, reduction: str | None, **keywords: Any
) -> tuple[Array, Array, Array | None, None]:
    if isinstance(residuals, Arguments):
        x, weight, bias, labels = residuals
        options = Options(**keywords)
        rows = _rows(x, weight, labels, options.ignored_label)
        g = widened(dloss).reshape(-1)
        _, dx, dweight, dbias = _in_chunks(_gradients, rows, weight, bias, g, options)
        return dx.reshape(x.shape), dweight.astype(weight.dtype), _cast(dbias, bias), None

    dx, dweight, dbias, share, (weight_dtype, bias_dtype) = residuals
    g = widened(dloss) * share  # what every row weighs: the factor that the gradients lack
    dx, dweight = (g * dx).astype(dx.dtype), (g * dweight).astype(weight_dtype.dtype)
    if dbias is not None:
        dbias = g * dbias
    return dx, dweight, _cast(dbias, bias_dtype), None


def _cast(dbias: Array | None, like: Array | None) -> Array | None:
    return None if dbias is None or like is None else dbias.astype(like.dtype)


class _Rows(NamedTuple):
    """x and labels with one leading dimension for all."""

    x: Array  # [rows, in]; 0 where ignored
    y: Array  # [rows]; 0 where ignored or out of range
    counts: Array  # [rows] what a row counts: 1, 0 where ignored, NaN where out of range


def _rows(x: Array, weight: Array, labels: Array, ignored_label: int | None) -> _Rows:
    y, x = labels.reshape(-1), x.reshape(labels.size, x.shape[-1])
    valid = (y >= 0) & (y < weight.shape[0])
    counts = jnp.where(valid, 1, jnp.nan).astype(wide_dtype(x.dtype))
    if ignored_label is not None:
        ignored = y == ignored_label
        counts = jnp.where(ignored, 0, counts)
        x = jnp.where(ignored[:, None], 0, x)  # it may hold NaN there
        valid = valid & ~ignored
    return _Rows(x, jnp.where(valid, y, 0), counts)


def _cut(rows: _Rows, start: Array, size: int) -> _Rows:
    return _Rows(*(lax.dynamic_slice_in_dim(array, start, size) for array in rows))


def _in_chunks(
    f: Callable[..., Any],
    rows: _Rows,
    weight: Array,
    bias: Array | None,
    g: Array | None,
    options: Options,
) -> Any:
    """f(rows, weight, bias, g) in the chunks that suit the platform which it is lowered for."""
    count, classes = len(rows.y), weight.shape[0]
    on_cpu = options.chunk or min(max(128, 2**22 // classes), 1024)
    elsewhere = options.chunk or (
        2048 if _common_dtype(rows.x, weight, bias).itemsize <= 2 else 1024
    )
    cpu, default = (
        functools.partial(f, options=options, chunks=_chunks(count, chunk))
        for chunk in (on_cpu, elsewhere)
    )
    if min(count, on_cpu) == min(count, elsewhere):
        return cpu(rows, weight, bias, g)
    return lax.platform_dependent(rows, weight, bias, g, cpu=cpu, default=default)


def _losses(
    rows: _Rows,
    weight: Array,
    bias: Array | None,
    g: None,
    *,
    options: Options,
    chunks: "_Chunks",
) -> Array:
    """The loss of each row; for autodiff the logits are made again, chunk by chunk."""

    def of_chunk(start: Array) -> Array:
        x_, y_, counts_ = _cut(rows, start, chunks.size)
        terms = _terms(x_, weight, bias, y_, options)
        return _counted(terms.loss, counts_)

    return _joined(lax.map(jax.checkpoint(of_chunk), chunks.starts), len(rows.y))


def _gradients(
    rows: _Rows,
    weight: Array,
    bias: Array | None,
    g: Array,
    *,
    options: Options,
    chunks: "_Chunks",
) -> tuple[Array, Array, Array, Array | None]:
    """The loss of each row, and x̄ (in the dtype of x), W̄ and b̄ of Σ_n g_n L_n."""
    x, y, counts = rows
    g = g * counts
    size = chunks.size
    dtype = _common_dtype(x, weight, bias)
    wide = wide_dtype(dtype)
    # Products take factors in the dtype of the arguments, as fast hardware wants them, and sum in
    # at least float32. float16 has no room for the f of many classes: its factors are wide.
    narrow = wide if dtype == jnp.float16 else dtype

    def product(left: Array, right: Array) -> Array:
        return jnp.matmul(left, right, preferred_element_type=wide)

    def step(sums: Any, chunk: Any) -> tuple[Any, Array]:
        dx, dweight, dbias = sums
        start, done = chunk
        x_, y_, counts_ = _cut(rows, start, size)
        terms = _terms(x_, weight, bias, y_, options)
        A, f, h = _slopes(terms, y_, lax.dynamic_slice_in_dim(g, start, size), options)
        A = A.astype(narrow)

        # x̄_n = f_n (A W)_n + h_n W_y
        dx_ = f[:, None] * product(A, weight)
        dx_ = dx_ + h[:, None] * jnp.take(weight, y_, axis=0)
        dx = lax.dynamic_update_slice_in_dim(dx, dx_.astype(dx.dtype), start, 0)

        # The last chunk reaches back over rows that are done: their x̄ is written again, but they
        # are not added to W̄ and b̄ again.
        f, h = (jnp.where(jnp.arange(size) < done, 0, v).astype(wide) for v in (f, h))

        # W̄ = Aᵀ (f x), then W̄_y += h_n x_n
        fx = (f[:, None] * x_).astype(narrow)
        dweight = dweight + product(A.T, fx)
        dweight = dweight.at[y_].add(h[:, None] * x_)

        # b̄ = Aᵀ f, then b̄_y += h_n
        if dbias is not None:
            dbias = dbias + product(f.astype(narrow), A)
            dbias = dbias.at[y_].add(h)
        return (dx, dweight, dbias), _counted(terms.loss, counts_)

    dbias = None if bias is None else jnp.zeros_like(bias, wide)
    zeros = jnp.zeros_like(x), jnp.zeros_like(weight, wide), dbias
    # Not in the loop, so that the first chunk's products are written as they are: added to 0, W̄ is
    # written and read once more.
    sums, loss = step(zeros, (chunks.starts[0], chunks.done[0]))
    rest = chunks.starts[1:], chunks.done[1:]
    (dx, dweight, dbias), losses = lax.scan(step, sums, rest)
    losses = jnp.concatenate([loss[None], losses])
    return _joined(losses, len(y)), dx, dweight, dbias


class _Terms(NamedTuple):
    """A chunk in the letters of the derivation, in at least float32."""

    loss: Array  # [rows]
    u: Array  # [rows, V]
    e: Array  # [rows, V]
    m: Array  # [rows], as all that follow
    a: Array
    s: Array
    t: Array
    log_t: Array


def _terms(x: Array, weight: Array, bias: Array | None, y: Array, options: Options) -> _Terms:
    smoothing, cap = options.label_smoothing, options.soft_cap
    wide = wide_dtype(_common_dtype(x, weight, bias))
    u = jnp.matmul(x, weight.T, preferred_element_type=wide)
    if bias is not None:
        u = u + bias
    z = u if cap is None else cap * jnp.tanh(u / cap)
    m = lax.stop_gradient(jnp.max(z, axis=-1))
    a = _at_label(z, y) - m
    e = jnp.where(_is_label(y, z), 0, jnp.exp(z - m[:, None]))
    s = jnp.sum(e, axis=-1)
    t = s + jnp.exp(a)

    largest = a == 0
    # log(1 + s exp(-a)): a is 0 there, and stays in it for its derivative.
    at_largest = jnp.log1p(s * jnp.exp(-jnp.where(largest, a, 0)))
    loss = jnp.where(largest, at_largest, jnp.log(t) - a)  # -log p_y
    log_t = jnp.where(largest, at_largest + a, jnp.log(t))
    if smoothing:
        # log t - mean_k (z_k - m): the mean over the classes of -log p_k
        mean = log_t - jnp.mean(z - m[:, None], axis=-1)
        loss = (1 - smoothing) * loss + smoothing * mean
    if options.z_loss:
        loss = loss + options.z_loss * (m + log_t) ** 2  # λ lse²
    return _Terms(loss, u, e, m, a, s, t, log_t)


def _slopes(terms: _Terms, y: Array, g: Array, options: Options) -> tuple[Array, Array, Array]:
    """A [rows, V], f [rows] and h [rows] of the derivation."""
    _, u, e, m, a, s, t, log_t = terms
    classes, smoothing, cap = e.shape[-1], options.label_smoothing, options.soft_cap
    r = 2 * options.z_loss * (m + log_t)
    f = g * (1 + r) / t
    h = g * (-s / t + r * jnp.exp(a) / t + smoothing * (1 - 1 / classes))
    if not smoothing and cap is None:
        return e, f, h  # no second large array

    A = f[:, None] * e - (g * smoothing / classes)[:, None]
    A = jnp.where(_is_label(y, e), 0, A)
    if cap is not None:
        k = _sech2(u / cap)
        A, h = A * k, h * _at_label(k, y)
    return A, jnp.ones_like(f), h


def _is_label(y: Array, z: Array) -> Array:
    """[rows, V]: whether j = y."""
    return y[:, None] == jnp.arange(z.shape[-1])


def _at_label(z: Array, y: Array) -> Array:
    """z_y of each row."""
    return jnp.take_along_axis(z, y[:, None], axis=-1)[:, 0]


def _sech2(v: Array) -> Array:
    r = jnp.exp(-2 * jnp.abs(v))  # not 1 - tanh², which is 0 from v = 9 on in float32
    return 4 * r / (1 + r) ** 2


def _counted(loss: Array, counts: Array) -> Array:
    return jnp.where(counts == 0, 0, loss * counts)


def _share(counts: Array, reduction: str | None) -> Array:
    """The part of each row in the value."""
    rows = jnp.sum(counts != 0) if reduction == "mean" else 1
    return 1 / jnp.maximum(rows, 1).astype(counts.dtype)


class _Chunks(NamedTuple):
    starts: np.ndarray[Any, Any]  # the first row of each
    done: np.ndarray[Any, Any]  # how many rows of each the one before has done
    size: int  # of all of them


def _chunks(rows: int, largest: int) -> _Chunks:
    count = max(1, -(-rows // largest))
    size = -(-rows // count)
    starts = np.arange(count, dtype=np.int32) * size
    fitting = np.minimum(starts, rows - size)  # the last one reaches back, to be full
    return _Chunks(fitting, starts - fitting, size)


def _joined(chunks: Array, rows: int) -> Array:
    """[chunks, size] -> [rows], without the rows that the last chunk repeats."""
    flat, repeated = chunks.reshape(-1), chunks.size - rows
    if repeated == 0:
        return flat
    done = rows - chunks.shape[1] + repeated
    return jnp.concatenate([flat[:done], flat[done + repeated :]])


def _common_dtype(x: Array, weight: Array, bias: Array | None) -> jnp.dtype:
    return jnp.result_type(x, weight) if bias is None else jnp.result_type(x, weight, bias)


def _require_fit(x: Array, weight: Array, bias: Array | None, labels: Array) -> None:
    name = "linear_softmax_cross_entropy"
    given = {} if bias is None else {"bias": bias}
    require_floating(name, x=x, weight=weight, **given)
    require_arrays(name, labels=labels)
    if weight.ndim != 2 or weight.shape[0] == 0:
        raise ValueError(
            f"{name}: weight must be [classes, in] with at least one class, "
            f"got shape {weight.shape}; it is stored as in PyTorch"
        )
    if x.ndim == 0 or x.shape[-1] != weight.shape[1]:
        raise ValueError(
            f"{name}: x must end in weight's in = {weight.shape[1]} columns, "
            f"got x of shape {x.shape} and weight [classes, in] of shape {weight.shape}"
        )
    if bias is not None and bias.shape != weight.shape[:1]:
        raise ValueError(
            f"{name}: bias must be None or have shape {weight.shape[:1]} to fit weight's classes, "
            f"got {bias.shape}"
        )
    if not jnp.issubdtype(labels.dtype, jnp.integer):
        raise TypeError(
            f"{name}: labels must be integers, got dtype {labels.dtype}; for distributions use "
            f"softmax_cross_entropy(linear(x, weight, bias), labels)"
        )
    if labels.shape != x.shape[:-1]:
        raise ValueError(
            f"{name}: for x of shape {x.shape} labels must have shape {x.shape[:-1]}, "
            f"one per row, got {labels.shape}"
        )


def _require_options(reduction: str | None, options: Options) -> None:
    name = "linear_softmax_cross_entropy"
    chunk, ignored_label = options.chunk, options.ignored_label
    if reduction not in ("mean", "sum", None):
        raise ValueError(f'{name}: reduction must be "mean", "sum" or None, got {reduction!r}')
    if chunk is not None and (not isinstance(chunk, int) or chunk < 1):
        raise ValueError(
            f"{name}: chunk must be None or a positive integer, a number of rows, got {chunk!r}"
        )
    if ignored_label is not None and not isinstance(ignored_label, int):
        raise ValueError(f"{name}: ignored_label must be None or an integer, got {ignored_label!r}")
    _require_terms(name, options.label_smoothing, options.z_loss, options.soft_cap)


def _require_terms(
    name: str, label_smoothing: float, z_loss: float, soft_cap: float | None
) -> None:
    if not 0 <= number_or_nan(label_smoothing) < 1:
        raise ValueError(f"{name}: label_smoothing must be in [0, 1), got {label_smoothing!r}")
    if not number_or_nan(z_loss) >= 0:
        raise ValueError(f"{name}: z_loss must be at least 0, got {z_loss!r}")
    if soft_cap is not None and not number_or_nan(soft_cap) > 0:
        raise ValueError(f"{name}: soft_cap must be None or above 0, got {soft_cap!r}")
