r"""Transposed convolution: a convolution that steps over its output, not over its input.

For one channel and one dimension (a channel more adds a sum over it, a dimension more an index of
each kind), with stride s, dilation d and a kernel of K taps, element p of x is added to a window of
y, in which tap k has its place o:

    y_o = Σ_p x_p w_k   over the p and k with  o = s p + a - d k

a is the padding before.  With r = d (K - 1), which is how far a kernel reaches, and the padding b
after, P elements of x make s (P - 1) + 1 + a + b - r of y.  From ∂y_o/∂x_p = w_k and
∂y_o/∂w_k = x_p, at the same o:

    x̄_p = Σ_k w_k ȳ_o        w̄_k = Σ_p x_p ȳ_o        o = s p + a - d k

Both are ordinary convolutions that read ȳ.  Turn the kernel around, v_j = w_k with j = K - 1 - k:

    x̄_p = Σ_j v_j ȳ_(s p + d j - (r - a))   ȳ padded by r - a, r - b: steps of s, taps d apart
    v̄_j = Σ_p x_p ȳ_(s p + d j - (r - a))   x is the kernel: steps of d, taps s apart

The second is what an ordinary convolution from ȳ to x has as the gradient of its kernel v, and fast
programs know it.  Autodiff writes w̄ as a convolution whose input is x with s - 1 zeros put between
its elements, and whose kernel is ȳ, as large as the image: the same sums, but no fast program of
XLA's takes that form on a CPU.  docs/rules.md has the times.

With `groups`, in and out channels are cut into that many parts, of which the first meets the first.
"""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax.numpy as jnp
from jax import Array, lax

from jaxnet._require import require_floating, wide_dtype
from jaxnet._rule import rule

Pairs = tuple[tuple[int, int], ...]


@rule
def conv_transpose(
    x: Array,
    weight: Array,
    *,
    strides: int | tuple[int, ...] = 1,
    padding: str | Pairs = "SAME",
    dilation: int | tuple[int, ...] = 1,
    groups: int = 1,
    transpose_kernel: bool = False,
    use_consistent_padding: bool = False,
) -> Array:
    """jax.lax.conv_transpose in 1 to 3 dimensions, with a fast gradient of its weight.

    Channels are last, as there and in Flax, and the options mean the same. For a weight of PyTorch,
    [in, out, kernel], move its first two axes to the end, [kernel, out, in], and pass
    transpose_kernel=True; its `padding=p` and `output_padding=q` are, with
    use_consistent_padding=True, the pair (p, p - q) of each dimension. A bias is added outside.
    Over an explicit mesh that shards an argument, call it inside jax.shard_map.

    x: [..., size, in], floating, where size is 1 to 3 axes.
    weight: [kernel, in, out], floating, where kernel is as many axes, and in those of one group;
        [kernel, out, in] with transpose_kernel, and out those of one group.
    strides: how far apart in the output neighbours of the input are put; one number for all
        dimensions or a tuple with one for each.
    padding: "SAME" (strides times size), "VALID" (as far as the kernel reaches, and not less than
        "SAME"), or a tuple of pairs: how many zeros are put before and after the input, between
        whose elements there are strides - 1 of them.
    dilation: how far apart the taps of the kernel are; as strides.
    groups: into how many parts the channels are cut; a part sees its own only.
    transpose_kernel: whether weight is that of the convolution from the output to x, of which this
        is the transpose in x.
    use_consistent_padding: whether pairs are the padding of that convolution: dilation *
        (kernel - 1) less that is put on each side.

    Returns [..., size, out], in the dtype that x and weight promote to, summed in at least
        float32.
    Raises TypeError on integer arrays; ValueError on shapes and options that do not fit, and where
        nothing is left of an axis.
    Source: Dumoulin and Visin 2016, "A guide to convolution arithmetic for deep learning"; the
        backward is derived in this file.

    >>> x, weight = jnp.array([[1.0], [2.0]]), jnp.array([[[1.0]], [[10.0]]])
    >>> print(jaxnet.rules.conv_transpose(x, weight, strides=3, padding="VALID")[:, 0])
    [10.  1.  0. 20.  2.  0.]
    >>> total = lambda weight: jaxnet.rules.conv_transpose(x, weight, strides=3).sum()
    >>> print(jax.grad(total)(weight)[:, 0, 0])
    [3. 3.]
    """
    _require_arrays(x, weight)
    _require_options(weight, strides, dilation, padding)
    _require_channels(x, weight, groups, transpose_kernel)
    plan = _plan(x, weight, strides, padding, dilation, use_consistent_padding)
    _require_output(x, plan)
    dtype = jnp.result_type(x, weight)
    kernel = _turned(weight, groups) if transpose_kernel else weight
    y = lax.conv_general_dilated(
        _images(x, plan).astype(dtype),
        kernel.astype(dtype),
        window_strides=(1,) * len(plan.kernel),
        padding=plan.pads,
        lhs_dilation=plan.strides,
        rhs_dilation=plan.dilation,
        dimension_numbers=plan.layout,
        feature_group_count=groups,
        preferred_element_type=wide_dtype(dtype),
    )
    return y.reshape(*x.shape[: -1 - len(plan.kernel)], *y.shape[1:]).astype(dtype)


class ConvTransposeResiduals(NamedTuple):
    x: Array  # for w̄
    weight: Array  # for x̄


@conv_transpose.forward
def conv_transpose_forward(
    x: Array, weight: Array, **options: Any
) -> tuple[Array, ConvTransposeResiduals]:
    return conv_transpose.body(x, weight, **options), ConvTransposeResiduals(x, weight)


@conv_transpose.backward
def conv_transpose_backward(
    residuals: ConvTransposeResiduals,
    dy: Array,
    *,
    strides: int | tuple[int, ...],
    padding: str | Pairs,
    dilation: int | tuple[int, ...],
    groups: int,
    transpose_kernel: bool,
    use_consistent_padding: bool,
) -> tuple[Array, Array]:
    x, weight = residuals
    plan = _plan(x, weight, strides, padding, dilation, use_consistent_padding)
    wide = wide_dtype(dy.dtype)
    x_, dy = _images(x, plan).astype(dy.dtype), _images(dy, plan)
    v = weight if transpose_kernel else _turned(weight, groups)  # [kernel, out / groups, in]
    back = tuple((r - a, r - b) for r, (a, b) in zip(plan.reach, plan.pads, strict=True))

    # x̄_p = Σ_j v_j ȳ_(s p + d j - (r - a))
    dx = lax.conv_general_dilated(
        dy,
        v.astype(dy.dtype),
        window_strides=plan.strides,
        padding=back,
        rhs_dilation=plan.dilation,
        dimension_numbers=plan.layout,
        feature_group_count=groups,
        preferred_element_type=wide,
    )
    # v̄_j = Σ_p x_p ȳ_(s p + d j - (r - a)): what is summed over are the images, N
    sizes = plan.layout[0][1:-1]
    dv = lax.conv_general_dilated(
        dy,
        x_,
        window_strides=plan.dilation,
        padding=back,
        rhs_dilation=plan.strides,
        dimension_numbers=(f"C{sizes}N", f"I{sizes}O", f"{sizes}NC"),
        batch_group_count=groups,
        preferred_element_type=wide,
    )
    dweight = dv if transpose_kernel else _turned(dv, groups)
    return dx.reshape(x.shape).astype(x.dtype), dweight.astype(weight.dtype)


class _Plan(NamedTuple):
    """The options, one number or pair for each dimension."""

    kernel: tuple[int, ...]  # K
    strides: tuple[int, ...]  # s
    dilation: tuple[int, ...]  # d
    reach: tuple[int, ...]  # r
    pads: Pairs  # (a, b)
    layout: tuple[str, str, str]  # of input, kernel and output, in the letters of JAX


def _plan(
    x: Array,
    weight: Array,
    strides: int | tuple[int, ...],
    padding: str | Pairs,
    dilation: int | tuple[int, ...],
    use_consistent_padding: bool,
) -> _Plan:
    kernel = weight.shape[:-2]
    s, d = _for_each(strides, len(kernel)), _for_each(dilation, len(kernel))
    reach = tuple(d_ * (k - 1) for d_, k in zip(d, kernel, strict=True))
    pads: Pairs
    if padding == "VALID":
        pads = tuple((r, max(r, s_ - 1)) for r, s_ in zip(reach, s, strict=True))
    elif padding == "SAME":
        pads = tuple(_same(r, s_) for r, s_ in zip(reach, s, strict=True))
    elif use_consistent_padding:
        pads = tuple((r - a, r - b) for r, (a, b) in zip(reach, _pairs(padding), strict=True))
    else:
        pads = _pairs(padding)
    sizes = "DHW"[-len(kernel) :]
    layout = f"N{sizes}C", f"{sizes}IO", f"N{sizes}C"
    return _Plan(kernel, s, d, reach, pads, layout)


def _for_each(number: int | tuple[int, ...], dimensions: int) -> tuple[int, ...]:
    return (number,) * dimensions if isinstance(number, int) else number


def _pairs(padding: str | Pairs) -> Pairs:
    assert not isinstance(padding, str)
    return tuple((before, after) for before, after in padding)


def _same(reach: int, stride: int) -> tuple[int, int]:
    """So that stride times the size comes out; what is odd goes before."""
    both = reach + stride - 1
    before = reach if stride > reach else -(-both // 2)
    return before, both - before


def _images(x: Array, plan: _Plan) -> Array:
    """[..., *size, channels] -> [images, *size, channels]"""
    ends = 1 + len(plan.kernel)
    return x if x.ndim == 1 + ends else x.reshape(math.prod(x.shape[:-ends]), *x.shape[-ends:])


def _turned(weight: Array, groups: int) -> Array:
    """[kernel, a / groups, b] -> [kernel, b / groups, a], each tap at the other end.

    From the kernel of a convolution to that of its transpose, and back.
    """
    *kernel, rows, columns = weight.shape
    parts = weight.reshape(*kernel, rows, groups, columns // groups)
    swapped = jnp.swapaxes(parts, -3, -1).reshape(*kernel, columns // groups, groups * rows)
    return jnp.flip(swapped, range(len(kernel)))


def _require_arrays(x: Array, weight: Array) -> None:
    require_floating("conv_transpose", x=x, weight=weight)
    if not 3 <= weight.ndim <= 5 or 0 in weight.shape[:-2]:
        raise ValueError(
            f"conv_transpose: weight must be [kernel, in, out] with a kernel of 1 to 3 "
            f"dimensions, each at least 1, got shape {weight.shape}"
        )
    dimensions = weight.ndim - 2
    if x.ndim <= dimensions or 0 in x.shape[-1 - dimensions : -1]:
        raise ValueError(
            f"conv_transpose: for weight of shape {weight.shape} x must be [..., size, in] with "
            f"{dimensions} sizes, each at least 1, got shape {x.shape}"
        )


def _require_options(
    weight: Array,
    strides: int | tuple[int, ...],
    dilation: int | tuple[int, ...],
    padding: str | Pairs,
) -> None:
    dimensions = weight.ndim - 2
    for name, option in {"strides": strides, "dilation": dilation}.items():
        each = (option,) * dimensions if isinstance(option, int) else option
        if not _are_integers(each, dimensions) or min(each) < 1:
            raise ValueError(
                f"conv_transpose: {name} must be a positive integer or a tuple of {dimensions}, "
                f"one for each dimension of the kernel, got {option!r}"
            )
    if padding not in ("SAME", "VALID") and not _are_pairs(padding, dimensions):
        raise ValueError(
            f'conv_transpose: padding must be "SAME", "VALID" or a tuple of {dimensions} pairs of '
            f"integers, one for each dimension of the kernel, got {padding!r}"
        )


def _are_pairs(padding: Any, count: int) -> bool:
    is_list = isinstance(padding, Sequence) and not isinstance(padding, str)
    return is_list and len(padding) == count and all(_are_integers(pair, 2) for pair in padding)


def _are_integers(numbers: object, count: int) -> bool:
    return (
        isinstance(numbers, Sequence)
        and len(numbers) == count
        and all(isinstance(number, int) for number in numbers)
    )


def _require_channels(x: Array, weight: Array, groups: int, transpose_kernel: bool) -> None:
    if not isinstance(groups, int) or groups < 1 or weight.shape[-1] % groups:
        raise ValueError(
            f"conv_transpose: groups must be a positive integer that divides the last axis of "
            f"weight, {weight.shape[-1]}, got {groups!r}"
        )
    form, channels = "[kernel, in, out]", weight.shape[-2] * groups
    if transpose_kernel:
        form, channels = "[kernel, out, in]", weight.shape[-1]
    if x.shape[-1] != channels:
        raise ValueError(
            f"conv_transpose: for weight {form} of shape {weight.shape} and groups={groups} x must "
            f"end in {channels} channels, got x of shape {x.shape}; the other form of weight is "
            f"that of transpose_kernel={not transpose_kernel}"
        )


def _require_output(x: Array, plan: _Plan) -> None:
    sizes = x.shape[-1 - len(plan.kernel) : -1]
    made = tuple(
        s * (size - 1) + 1 + a + b - r
        for s, size, (a, b), r in zip(plan.strides, sizes, plan.pads, plan.reach, strict=True)
    )
    if min(made) < 1:
        raise ValueError(
            f"conv_transpose: padding must leave at least one element of each axis of the output, "
            f"got {plan.pads}, with which sizes {sizes} become {made}"
        )
