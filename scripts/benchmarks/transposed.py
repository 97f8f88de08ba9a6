"""How long does the gradient of a transposed convolution's weight take?

By autodiff of jax.lax.conv_transpose; by jaxnet.rules.conv_transpose, which finds the same sums in
a convolution of the form that an ordinary one has for its weight; and by autodiff of the ordinary
convolution of which this is the transpose: no less can be hoped for. That gradient alone, compiled.
"""

import argparse
from statistics import median
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from common.files import write_json

import jaxnet
from benchmarks.environment import environment, in_words, print_paragraph
from benchmarks.rules import digits, timed

KERNEL, STRIDE = 4, 2  # in each dimension
SHAPES = ((8, 1024, 32), (8, 32, 32, 32), (4, 64, 64, 64), (2, 16, 16, 16, 32))
HEAD = (
    "| x | autodiff, ms | by hand, ms | ordinary, ms | times as fast | difference |\n"
    "|---|---|---|---|---|---|"
)


class Row(NamedTuple):
    shape: tuple[int, ...]
    autodiff: list[float]  # seconds, by round
    hand: list[float]
    ordinary: list[float]
    difference: float  # the largest, over the largest element

    def ratio(self) -> float:
        return median(a / h for a, h in zip(self.autodiff, self.hand, strict=True))


def convolution(x: jax.Array, weight: jax.Array, strides: tuple[int, ...], padding: str) -> Any:
    sizes = "DHW"[-len(strides) :]
    layout = (f"N{sizes}C", f"{sizes}IO", f"N{sizes}C")
    return jax.lax.conv_general_dilated(x, weight, strides, padding, dimension_numbers=layout)


def measure(shape: tuple[int, ...], rounds: int) -> Row:
    dimensions, channels = len(shape) - 2, shape[-1]
    rng = np.random.default_rng(0)
    kernel = (KERNEL,) * dimensions
    x, weight = (
        jnp.asarray(rng.normal(size=s), jnp.float32) for s in (shape, (*kernel, channels, channels))
    )
    strides = (STRIDE,) * dimensions
    c = jax.eval_shape(lambda: jax.lax.conv_transpose(x, weight, strides, "SAME"))
    c = jnp.asarray(rng.normal(size=c.shape), jnp.float32)

    def gradient(f: Any) -> Any:
        def pulled_back(c: Any, x: Any, weight: Any) -> Any:
            _, pull = jax.vjp(lambda weight: f(x, weight, strides=strides, padding="SAME"), weight)
            return pull(c)[0]

        return jax.jit(pulled_back)

    transposed = [gradient(f) for f in (jax.lax.conv_transpose, jaxnet.rules.conv_transpose)]
    automatic, by_hand = (way(c, x, weight) for way in transposed)
    difference = float(jnp.abs(by_hand - automatic).max() / jnp.abs(automatic).max())
    calls = [lambda way=way: way(c, x, weight) for way in transposed]
    ordinary = gradient(convolution)
    calls.append(lambda: ordinary(x, c, weight))  # from the large image to the small one
    seconds: tuple[list[float], ...] = ([], [], [])
    for _ in range(rounds):
        for call, taken in zip(calls, seconds, strict=True):
            jax.block_until_ready(call())  # the call before left it memory to fetch anew
            taken.append(timed(call, 1))
    return Row(shape, *seconds, difference)


def line(row: Row) -> str:
    times = (f"{1000 * median(seconds):.1f}" for seconds in (row.autodiff, row.hand, row.ordinary))
    cells = (str(list(row.shape)), *times, digits(row.ratio()), f"{row.difference:.0e}")
    return f"| {' | '.join(cells)} |"


def run(options: argparse.Namespace) -> None:
    about = environment()
    print_paragraph(in_words(about))
    print(HEAD, flush=True)
    rows = []
    for shape in SHAPES if options.most is None else SHAPES[: options.most]:
        rows.append(measure(shape, options.repeats))
        print(line(rows[-1]), flush=True)
    print()
    print_paragraph(
        f"The gradient of the weight alone, of as many channels as x has, kernel {KERNEL}, stride "
        f"{STRIDE}, padding SAME, float32; medians of the rounds, and of their ratios. ordinary: "
        "that of the convolution of which this is the transpose."
    )
    if options.json:
        content = [row._asdict() | {"ratio": row.ratio()} for row in rows]
        write_json(options.json, {"environment": about, "rows": content})
