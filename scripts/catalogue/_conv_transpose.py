"""conv_transpose."""

import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import jaxnet
from catalogue.entry import Args, Case, Entry, Measure, in_bfloat16, normal32, normals

SIDE, KERNEL = 16, 4  # of the benchmark: images of 16 x 16, and a kernel of 4 x 4


def each(option: Any, dimensions: int) -> Any:
    return (option,) * dimensions if isinstance(option, int) else option


def textbook(
    x: Any,
    weight: Any,
    *,
    strides: Any = 1,
    padding: Any = "SAME",
    dilation: Any = 1,
    groups: int = 1,
    **flags: bool,
) -> Any:
    """That of JAX, which has neither groups nor further leading dimensions."""
    dimensions = weight.ndim - 2

    def part(x: Any, weight: Any) -> Any:
        strides_, dilation_ = each(strides, dimensions), each(dilation, dimensions)
        return jax.lax.conv_transpose(x, weight, strides_, padding, dilation_, **flags)

    leading, rest = x.shape[: -1 - dimensions], x.shape[-1 - dimensions :]
    images = x.reshape(math.prod(leading), *rest)
    parts = zip(jnp.split(images, groups, -1), jnp.split(weight, groups, -1), strict=True)
    y = jnp.concatenate([part(*p) for p in parts], -1)
    return y.reshape(*leading, *y.shape[1:])


def layer(f: Any) -> Any:
    """f on images, stride 2, and every two by two of its elements added: as many rows as before."""

    def images(x: Any, weight: Any) -> Any:
        y = f(x.reshape(-1, SIDE, SIDE, x.shape[-1]), weight, strides=(2, 2), padding="SAME")
        return y.reshape(-1, SIDE, 2, SIDE, 2, y.shape[-1]).sum((2, 4)).reshape(x.shape)

    return images


def images_and_weights(rng: np.random.Generator) -> list[Args]:
    few = normal32(rng, 2 * SIDE**2, 3), normal32(rng, 3, 3, 3, 3)
    many = normal32(rng, 16 * SIDE**2, 3), normal32(rng, 3, 3, 3, 3)
    return [few, in_bfloat16(*many)]


# Of two groups: x has twice the channels that weight's last axis but one has.
GROUPS: tuple[dict[str, Any], ...] = (
    {"strides": 2, "groups": 2},
    {"strides": 2, "groups": 2, "transpose_kernel": True},
    {"strides": 3, "dilation": 2, "groups": 2, "padding": "VALID"},
)
PAIRS: tuple[dict[str, Any], ...] = (
    {"strides": (2, 3), "dilation": (1, 2), "padding": ((1, 2), (0, 3))},
    {"strides": (2, 1), "padding": ((1, 0), (1, 1)), "use_consistent_padding": True},
    {"strides": (2, 3), "padding": ((-1, 5), (6, -2)), "transpose_kernel": True},
)

CONV_TRANSPOSE = Entry(
    jaxnet.rules.conv_transpose,
    textbook,
    cases=(
        Case(
            {
                "two groups": normals((2, 3, 2, 4), (3, 2, 2, 4)),
                "two groups, one dimension": normals((2, 5, 4), (4, 2, 4)),
            },
            GROUPS,
        ),
        Case(
            {
                "images": normals((2, 3, 4, 2), (3, 2, 2, 3)),
                "one image": normals((3, 3, 2), (2, 3, 2, 2)),
                "two leading dimensions": normals((2, 3, 4, 2), (3, 2, 2)),
                "three dimensions": normals((1, 2, 3, 2, 2), (2, 1, 3, 2, 3)),
                "one element": normals((1, 1, 1), (1, 1, 1)),
                "no images": normals((0, 3, 2), (2, 2, 3)),
                "no channels": normals((2, 3, 0), (2, 0, 3)),
                "large": normals((3, 30, 20, 5), (4, 5, 5, 7)),
                # where a sum in the working dtype would drift
                "many images": normals((4096, 3, 1), (2, 1, 2)),
            },
            ({}, {"strides": 4, "padding": "VALID"}),
        ),
        Case({"pairs of padding": normals((2, 3, 4, 2), (3, 2, 2, 2))}, PAIRS),
    ),
    measures=(
        Measure(
            hand=layer(jaxnet.rules.conv_transpose),
            text=layer(jax.lax.conv_transpose),
            rest=lambda rng, rows, columns: (normal32(rng, KERNEL, KERNEL, columns, columns),),
            points=images_and_weights,
            timed=(32 * SIDE**2, 32),
        ),
    ),
)

# The residuals are x and weight.
right = CONV_TRANSPOSE.rule.halves.backward


def dimensions_of(r: Any) -> tuple[int, ...]:
    """The axes of the images that are not channels."""
    return tuple(range(-r[1].ndim + 1, -1))


def with_flipped_taps(r: Any, dy: Any, **options: Any) -> Args:
    dx, _ = right(r._replace(weight=jnp.flip(r[1], range(r[1].ndim - 2))), dy, **options)
    return dx, right(r, dy, **options)[1]


def with_the_other_groups(r: Any, dy: Any, **options: Any) -> Args:
    return right(r, jnp.roll(dy, dy.shape[-1] // options["groups"], axis=-1), **options)


CONV_TRANSPOSE.fault("dx with the kernel not turned around", backward=with_flipped_taps)
CONV_TRANSPOSE.fault("groups meet their neighbours", backward=with_the_other_groups)
CONV_TRANSPOSE.fault(
    "transpose_kernel in the value only",
    backward=lambda r, dy, **options: right(r, dy, **{**options, "transpose_kernel": False}),
)
CONV_TRANSPOSE.spoil(
    "dweight with its taps at the other end",
    lambda dx, dw, r, dy: (dx, jnp.flip(dw, range(dw.ndim - 2))),
)
CONV_TRANSPOSE.fault(
    "padding one off",
    backward=lambda r, dy, **options: right(r, jnp.roll(dy, 1, dimensions_of(r)[0]), **options),
)
CONV_TRANSPOSE.fault(
    "the edge of the output has no gradient",
    backward=lambda r, dy, **options: right(
        r, dy.at[..., -1, :].set(0) if dy.shape[-2] > 2 else dy, **options
    ),
)
CONV_TRANSPOSE.spoil(
    "dweight is the mean over the images",
    lambda dx, dw, r, dy: (dx, dw / max(1, r[0].shape[0])),
)
CONV_TRANSPOSE.fault(
    "dweight without the last image",
    backward=lambda r, dy, **options: (
        right(r, dy, **options)[0],
        right(r, dy.at[-1:].set(0), **options)[1],
    ),
)
CONV_TRANSPOSE.spoil(
    "dweight in float32 whatever the weight",
    lambda dx, dw, r, dy: (dx, dw.astype(jnp.float32)),
)
CONV_TRANSPOSE.spoil("dx is zero", lambda dx, dw, r, dy: (0 * dx, dw))
