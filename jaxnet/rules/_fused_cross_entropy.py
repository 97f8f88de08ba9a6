r"""A linear layer and the softmax cross-entropy after it in one: the logits of all rows never exist at once.

For each row x with label y, over V classes (u: _linear.py; the loss: _cross_entropy.py, here
measured so that no arg max is needed, and nothing but row vectors once the e_j are made):

    u = x Wᵀ + b            z = u,  or with soft_cap c:  z = c tanh(u / c)
    m = max_j z_j           a = z_y - m <= 0
    e_j = exp(z_j - m)  for j ≠ y,  e_y = 0          s = Σ_j e_j          t = s + exp(a)
    p_j = e_j / t  for j ≠ y         p_y = exp(a) / t         1 - p_y = s / t

    -log p_y = log(1 + s exp(-a))   where y is a largest class: a = 0, and s may be as small as it likes
             = log t - a            elsewhere: some other e_j is 1, so that log t >= 0 and -a > 0

No term cancels another: a sure and right row has a small s, and with it a small loss and gradient.  m is a constant to
the derivative: any other shift gives the same values.  Each option adds a term:

    label_smoothing ε   the target is y'_k = (1 - ε) δ_ky + ε / V, so that -log p_y becomes
                        (1 - ε) (-log p_y) + ε (log t - mean_k (z_k - m))
    z_loss λ            + λ lse²,  lse = log Σ_k exp(z_k) = m + log t
    ignored_label       the row counts as 0, in the mean too

    L = Σ_k y'_k (-log p_k) + λ lse²                  with ∂lse/∂z_j = p_j and r = 2 λ lse
    ∂L/∂z_j = (1 + r) p_j - y'_j  =  (1 + r) e_j / t - ε / V                     for j ≠ y
    ∂L/∂z_y = (1 + r) p_y - y'_y  =  -s / t + r exp(a) / t + ε (1 - 1 / V)       =: h
    ∂z_j/∂u_j = 1 - tanh²(u_j / c) = sech²(u_j / c) =: k_j,  1 without soft_cap

Let g_n be what row n weighs (its cotangent; 0 where ignored) and write g_n ∂L_n/∂u_nj as f_n A_nj for j ≠ y_n, with
A_ny = 0, so that a factor of the whole row stays out of the large array:

    A = e,  f = g (1 + r) / t                                with neither option: the e of the loss is all there is
    A_j = (g (1 + r) e_j / t - g ε / V) k_j for j ≠ y, f = 1    with label_smoothing or soft_cap

    x̄_n = f_n (A W)_n + g_n h_n k_ny W_y        W̄ = Aᵀ (f x),  then  W̄_y += g_n h_n k_ny x_n  for each row n
                                                b̄ = Aᵀ f,      then  b̄_y += g_n h_n k_ny      for each row n

All of it needs one chunk of rows only, so body and gradients run over chunks.  Where the rule sees the reduction it
knows g but for one common factor, and makes the gradients in the forward: three products with W, 6 N D V operations, as
autodiff needs with all logits at hand.  For reduction=None g comes with the backward, which makes each chunk's logits
again: 8 N D V.  What remains to be stored is a chunk of e and W̄.
"""

from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from jaxnet._require import require_arrays, require_floating, widened
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
    """softmax_cross_entropy(linear(x, weight, bias), labels), without ever holding the logits of all rows.

    x: [..., in]; weight: [classes, in]; bias: [classes] or None; floating dtypes. A bias of -inf masks a class (but a
    soft_cap makes it -c). labels: [...] integers in 0 .. classes - 1.
    reduction: "mean", "sum" or None. The first two make the gradients in the forward pass, when a derivative is taken
    and only then; None returns one loss per row, and the backward computes the logits a second time.
    chunk: the largest number of rows whose logits exist at once; None takes 4 million logits (16 MiB in float32), but
    at least 128 and at most 1024 rows: fewer chunks mean fewer passes over the gradient of weight, smaller ones stay in
    the cache (measured on a CPU with 1000 to 131072 classes).
    label_smoothing ε in [0, 1): the target is 1 - ε at the label plus ε / classes everywhere.
    z_loss λ >= 0: adds λ times the squared logsumexp of the logits. soft_cap c > 0: logits become c tanh(logits / c).
    ignored_label: rows with this label count as absent, whatever x holds there: loss 0 and gradient 0.

    Returns a scalar, or [...] for reduction=None, in the dtype that x, weight and bias promote to; computed in at least
    float32. The mean is over the rows that are not ignored, and 0 (its gradient too) where there is none.
    Any other label outside its range makes the loss NaN, and every gradient that it enters.
    Over an explicit mesh that shards the rows, call it inside jax.shard_map: chunks are cut from the rows of a device.
    Raises TypeError on integer x, weight or bias and on labels that are not integers; ValueError on shapes that do not
    fit and on options out of range. For distributions as labels use softmax_cross_entropy.
    Source: report, sections 2.1 and 2.2; the rest is derived in this file. Gradients in the forward pass: Liger-Kernel
    (Hsu et al. 2024). Label smoothing: Szegedy et al. 2015; z-loss: PaLM (Chowdhery et al. 2022); soft cap: Gemma 2.
    """
    _require_fit(x, weight, bias, labels)
    _require_options(reduction, chunk, label_smoothing, z_loss, soft_cap, ignored_label)
    x, y, counts = _rows(x, weight, labels, ignored_label)
    starts, _, size = _chunks(len(y), weight, chunk)

    def losses_of(start: Array) -> Array:
        x_, y_, counts_ = (lax.dynamic_slice_in_dim(rows, start, size) for rows in (x, y, counts))
        terms = _terms(x_, weight, bias, y_, label_smoothing, z_loss, soft_cap)
        return _counted(terms.loss, counts_)

    losses = _joined(lax.map(losses_of, starts), len(y))
    total = (
        losses.reshape(labels.shape)
        if reduction is None
        else jnp.sum(losses) * _share(counts, reduction)
    )
    return total.astype(_dtype(x, weight, bias))


class Gradients(NamedTuple):
    """What the forward of a sum or a mean keeps: its gradients but for the cotangent of one number."""

    dx: Array  # of the sum of losses, as the two below; dx in the dtype of x
    dweight: Array  # in at least float32
    dbias: Array | None
    share: Array  # the part of each row in the value: 1, or 1 / rows in a mean
    dtypes: tuple[Array, Array | None]  # empty: kept for the dtypes of weight and bias only


@linear_softmax_cross_entropy.forward
def linear_softmax_cross_entropy_forward(
    x: Array,
    weight: Array,
    bias: Array | None,
    labels: Array,
    *,
    reduction: str | None,
    **options: Any,
) -> tuple[Array, Any]:
    if reduction is None:
        value = linear_softmax_cross_entropy.body(
            x, weight, bias, labels, reduction=None, **options
        )
        return value, (x, weight, bias, labels)
    _require_fit(x, weight, bias, labels)
    _require_options(reduction, **options)
    _, _, counts = _rows(x, weight, labels, options["ignored_label"])
    losses, dx, dweight, dbias = _gradients(
        x, weight, bias, labels, jnp.ones_like(counts), **options
    )
    share = _share(counts, reduction)
    dtypes = weight[:0], None if bias is None else bias[:0]
    value = (jnp.sum(losses) * share).astype(_dtype(x, weight, bias))
    return value, Gradients(dx, dweight, dbias, share, dtypes)


@linear_softmax_cross_entropy.backward
def linear_softmax_cross_entropy_backward(
    residuals: Any, dloss: Array, *, reduction: str | None, **options: Any
) -> tuple[Array, Array, Array | None, None]:
    g = widened(dloss)
    if reduction is None:
        x, weight, bias, labels = residuals
        _, dx, dweight, dbias = _gradients(x, weight, bias, labels, g.reshape(-1), **options)
    else:
        dx, dweight, dbias, share, (weight, bias) = residuals
        g = g * share
        dx, dweight, dbias = (
            (g * dx).astype(dx.dtype),
            g * dweight,
            None if dbias is None else g * dbias,
        )
    return (
        dx,
        dweight.astype(weight.dtype),
        None if dbias is None else dbias.astype(bias.dtype),
        None,
    )


def _gradients(
    x: Array,
    weight: Array,
    bias: Array | None,
    labels: Array,
    g: Array,
    *,
    chunk: int | None,
    label_smoothing: float,
    z_loss: float,
    soft_cap: float | None,
    ignored_label: int | None,
) -> tuple[Array, Array, Array, Array | None]:
    """The loss of each row, and x̄ (in the dtype of x), W̄ and b̄ of Σ_n g_n L_n, chunk after chunk."""
    shape, classes = x.shape, weight.shape[0]
    x, y, counts = _rows(x, weight, labels, ignored_label)
    g = g * counts
    starts, stale, size = _chunks(len(y), weight, chunk)
    dtype = _dtype(x, weight, bias)
    wide = jnp.promote_types(dtype, jnp.float32)
    # Products take factors in the dtype of the arguments, as fast hardware wants them, and sum in at least float32.
    # float16 has no room for the f of many classes: its factors are wide.
    narrow = wide if dtype == jnp.float16 else dtype

    def step(carry: Any, chunk_at: Any) -> tuple[Any, Array]:
        dx, dweight, dbias = carry
        start, stale = chunk_at
        x_, y_, counts_, g_ = (
            lax.dynamic_slice_in_dim(rows, start, size) for rows in (x, y, counts, g)
        )
        loss, u, e, m, a, s, t, log_t = _terms(
            x_, weight, bias, y_, label_smoothing, z_loss, soft_cap
        )
        r = 2 * z_loss * (m + log_t)
        h = g_ * (-s / t + r * jnp.exp(a) / t + label_smoothing * (1 - 1 / classes))
        A, f = e, g_ * (1 + r) / t
        if label_smoothing or soft_cap is not None:
            off = y_[:, None] != jnp.arange(classes)
            A, f = (
                jnp.where(off, f[:, None] * e - (g_ * label_smoothing / classes)[:, None], 0),
                jnp.ones_like(f),
            )
        if soft_cap is not None:
            k = _sech2(u / soft_cap)
            A, h = A * k, h * _at(k, y_)
        A = A.astype(narrow)
        dx_ = f[:, None] * jnp.matmul(A, weight, preferred_element_type=wide)
        dx_ = dx_ + h[:, None] * jnp.take(weight, y_, axis=0)
        dx = lax.dynamic_update_slice_in_dim(dx, dx_.astype(dx.dtype), start, 0)
        # The last chunk reaches back over rows that are done: their x̄ is written again, their W̄ is not added again.
        f, h = (jnp.where(jnp.arange(size) < stale, 0, rows).astype(wide) for rows in (f, h))
        fx = (f[:, None] * x_).astype(narrow)
        dweight = dweight + jnp.matmul(A.T, fx, preferred_element_type=wide)
        dweight = dweight.at[y_].add(h[:, None] * x_)
        if dbias is not None:
            dbias = (
                (dbias + jnp.matmul(f.astype(narrow), A, preferred_element_type=wide)).at[y_].add(h)
            )
        return (dx, dweight, dbias), _counted(loss, counts_)

    zeros = (
        jnp.zeros_like(x),
        jnp.zeros_like(weight, wide),
        None if bias is None else jnp.zeros_like(bias, wide),
    )
    (dx, dweight, dbias), losses = lax.scan(step, zeros, (starts, stale))
    return _joined(losses, len(y)), dx.reshape(shape), dweight, dbias


class _Terms(NamedTuple):
    """A chunk in the letters of the derivation, in at least float32: u and e are [rows, V], the others [rows]."""

    loss: Array
    u: Array
    e: Array
    m: Array
    a: Array
    s: Array
    t: Array
    log_t: Array


def _terms(
    x: Array,
    weight: Array,
    bias: Array | None,
    y: Array,
    label_smoothing: float,
    z_loss: float,
    soft_cap: float | None,
) -> _Terms:
    wide = jnp.promote_types(_dtype(x, weight, bias), jnp.float32)
    u = jnp.matmul(x, weight.T, preferred_element_type=wide)
    if bias is not None:
        u = u + bias
    z = u if soft_cap is None else soft_cap * jnp.tanh(u / soft_cap)
    m = lax.stop_gradient(jnp.max(z, axis=-1))
    a = _at(z, y) - m
    e = jnp.where(y[:, None] == jnp.arange(z.shape[-1]), 0, jnp.exp(z - m[:, None]))
    s = jnp.sum(e, axis=-1)
    t = s + jnp.exp(a)
    largest = a == 0
    minus_log_p = jnp.log1p(
        s * jnp.exp(-jnp.where(largest, a, 0))
    )  # a stays in it for its derivative
    loss = jnp.where(largest, minus_log_p, jnp.log(t) - a)
    log_t = jnp.where(largest, minus_log_p + a, jnp.log(t))
    if label_smoothing:
        loss = (1 - label_smoothing) * loss + label_smoothing * (
            log_t - jnp.mean(z - m[:, None], axis=-1)
        )
    if z_loss:
        loss = loss + z_loss * (m + log_t) ** 2
    return _Terms(loss, u, e, m, a, s, t, log_t)


def _at(z: Array, y: Array) -> Array:
    return jnp.take_along_axis(z, y[:, None], axis=-1)[:, 0]


def _sech2(v: Array) -> Array:
    r = jnp.exp(-2 * jnp.abs(v))  # not 1 - tanh², which is 0 from v = 9 on in float32
    return 4 * r / (1 + r) ** 2


def _rows(
    x: Array, weight: Array, labels: Array, ignored_label: int | None
) -> tuple[Array, Array, Array]:
    """x [rows, in], labels in range [rows], and what each row counts: 1, 0 where ignored, NaN where out of range."""
    y, x = labels.reshape(-1), x.reshape(labels.size, x.shape[-1])
    wide = jnp.promote_types(x.dtype, jnp.float32)
    valid = (y >= 0) & (y < weight.shape[0])
    counts = jnp.where(valid, 1, jnp.nan).astype(wide)
    if ignored_label is not None:
        ignored = y == ignored_label
        counts = jnp.where(ignored, 0, counts)
        x, valid = jnp.where(ignored[:, None], 0, x), valid & ~ignored
    return x, jnp.where(valid, y, 0), counts


def _counted(loss: Array, counts: Array) -> Array:
    return jnp.where(counts == 0, 0, loss * counts)


def _share(counts: Array, reduction: str | None) -> Array:
    rows = jnp.sum(counts != 0) if reduction == "mean" else 1
    return 1 / jnp.maximum(rows, 1).astype(counts.dtype)


def _chunks(
    rows: int, weight: Array, chunk: int | None
) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any], int]:
    """Where each chunk starts, how many of its rows the one before has done, and the size that all share."""
    largest = chunk or min(max(128, 2**22 // weight.shape[0]), 1024)
    count = max(1, -(-rows // largest))
    size = -(-rows // count)
    starts = np.arange(count, dtype=np.int32) * size
    fitting = np.minimum(starts, rows - size)
    return fitting, starts - fitting, size


def _joined(chunks: Array, rows: int) -> Array:
    """[chunks, size] -> [rows], without the rows that the last chunk repeats."""
    flat, repeated = chunks.reshape(-1), chunks.size - rows
    done = rows - chunks.shape[1] + repeated
    return flat if repeated == 0 else jnp.concatenate([flat[:done], flat[done + repeated :]])


def _dtype(x: Array, weight: Array, bias: Array | None) -> jnp.dtype:
    return jnp.result_type(x, weight) if bias is None else jnp.result_type(x, weight, bias)


def _require_fit(x: Array, weight: Array, bias: Array | None, labels: Array) -> None:
    name = "linear_softmax_cross_entropy"
    require_floating(name, x=x, weight=weight, **({} if bias is None else {"bias": bias}))
    require_arrays(name, labels=labels)
    if weight.ndim != 2 or weight.shape[0] == 0:
        raise ValueError(
            f"{name}: weight must be [classes, in] with at least one class, got shape {weight.shape}; "
            f"it is stored as in PyTorch"
        )
    if x.ndim == 0 or x.shape[-1] != weight.shape[1]:
        raise ValueError(
            f"{name}: x must end in weight's in = {weight.shape[1]} columns, got x of shape {x.shape} and weight "
            f"[classes, in] of shape {weight.shape}"
        )
    if bias is not None and bias.shape != weight.shape[:1]:
        raise ValueError(
            f"{name}: bias must be None or have shape {weight.shape[:1]} to fit weight's classes, got {bias.shape}"
        )
    if not jnp.issubdtype(labels.dtype, jnp.integer):
        raise TypeError(
            f"{name}: labels must be integers, got dtype {labels.dtype}; for distributions use "
            f"softmax_cross_entropy(linear(x, weight, bias), labels)"
        )
    if labels.shape != x.shape[:-1]:
        raise ValueError(
            f"{name}: for x of shape {x.shape} labels must have shape {x.shape[:-1]}, one per row, got {labels.shape}"
        )


def _require_options(
    reduction: str | None,
    chunk: int | None,
    label_smoothing: float,
    z_loss: float,
    soft_cap: float | None,
    ignored_label: int | None,
) -> None:
    name = "linear_softmax_cross_entropy"
    if reduction not in ("mean", "sum", None):
        raise ValueError(f'{name}: reduction must be "mean", "sum" or None, got {reduction!r}')
    if chunk is not None and (not isinstance(chunk, int) or chunk < 1):
        raise ValueError(
            f"{name}: chunk must be None or a positive integer, a number of rows, got {chunk!r}"
        )
    if not 0 <= label_smoothing < 1:
        raise ValueError(f"{name}: label_smoothing must be in [0, 1), got {label_smoothing}")
    if not z_loss >= 0:
        raise ValueError(f"{name}: z_loss must be at least 0, got {z_loss}")
    if soft_cap is not None and not soft_cap > 0:
        raise ValueError(f"{name}: soft_cap must be None or above 0, got {soft_cap}")
    if ignored_label is not None and not isinstance(ignored_label, int):
        raise ValueError(f"{name}: ignored_label must be None or an integer, got {ignored_label!r}")
