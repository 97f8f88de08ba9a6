"""relu, sigmoid, tanh, softplus, silu, gelu and swiglu."""

import functools
import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import jaxnet
from catalogue.entry import Args, Case, Entry, Gradient, Measure, given, normal32, normals

# True slopes in float64: no term cancels here, and autodiff loses digits even in float64.

C, A = math.sqrt(2 / math.pi), 0.044715  # of the tanh form of gelu


def sigma(x: Any) -> Any:
    e = np.exp(-abs(x))
    return np.where(x < 0, e, 1) / (1 + e)


def sigmoid_slope(x: Any) -> Any:
    return sigma(x) * sigma(-x)


def tanh_slope(x: Any) -> Any:
    return 1 / np.cosh(x) ** 2


def silu_slope(x: Any) -> Any:
    return sigma(x) * (1 + x * sigma(-x))


def gelu_slope(x: Any) -> Any:
    return math.erfc(-x / math.sqrt(2)) / 2 + x * np.exp(-x * x / 2) / math.sqrt(2 * math.pi)


def tanh_gelu_slope(x: Any) -> Any:
    v, dv = gate_argument(x), 2 * C * (1 + 3 * A * x * x)
    return sigma(v) * (1 + x * dv * sigma(-v))


def gate_argument(x: Any) -> Any:
    """v of x sigmoid(v), which is the tanh form of gelu."""
    return 2 * C * (x + A * x * x * x)


def swiglu_truth(c: Any, gate: Any, value: Any) -> Args:
    return c * value * silu_slope(gate), c * gate * sigma(gate)


def elementwise(slope: Callable[[Any], Any]) -> Gradient:
    return lambda c, x: (c * slope(x),)


# Where the tests hold them, and where the error is measured.

NUMBERS = {
    "matrix": normals((5, 7)),
    "scalar": normals(()),
    "at and beside zero": given(np.array([-1.0, -0.0, 0.0, 1.0, 1e-300, -1e-300])),
    "tails": given(np.array([-1e4, -80.0, -20.0, -10.0, -5.0, 0.5, 5.0, 10.0, 20.0, 80.0, 1e4])),
    "one element": normals((1, 1)),
    "empty": normals((0, 3)),
    "large": normals((100, 90), scale=1e2),
}
SIZES = (0.001, 0.1, 0.5, 1.0, 2.0, 3.0, 5.0, 7.0, 9.0, 12.0, 17.0, 25.0, 40.0, 60.0, 80.0)


def numbers(least: float = -80.0, most: float = 80.0) -> list[Args]:
    """0 and both tails, as far as the derivative is a normal number."""
    return [(np.float32(x),) for x in (0.0, *SIZES, *(-s for s in SIZES)) if least <= x <= most]


# Why some are slower than the textbook's.

TAILS = "its tails cost one exp more in the backward"
AGAIN = "what autodiff keeps is computed again in the backward"


RELU = Entry(
    jaxnet.relu,
    lambda x, slope_at_zero=0.0: jnp.maximum(x, 0),
    cases=(
        Case(
            {
                "matrix": normals((5, 7)),
                "scalar": normals(()),
                "at and beside the kink": given(np.array([-1.0, -0.0, 0.0, 1.0, 1e-300, -1e-300])),
                "empty": normals((0, 3)),
                "large": normals((100, 90), scale=1e3),
            },
            ({}, {"slope_at_zero": 1.0}, {"slope_at_zero": 0.5}),
        ),
    ),
    measures=(
        Measure(
            points=lambda rng: numbers()[1:],  # not at 0, where the textbook's slope is another
            reason="the report derives it; in a scan whose carry is its output, "
            "autodiff's mask takes less",
        ),
    ),
)
right_relu = RELU.rule.halves

RELU.fault("mask inverted", backward=lambda r, dy, *, slope_at_zero: (jnp.where(r > 0, 0, dy),))
RELU.fault("no mask", backward=lambda r, dy, *, slope_at_zero: (dy,))
RELU.fault(
    "the mask alone, without the cotangent",
    backward=lambda r, dy, **options: right_relu.backward(r, jnp.ones_like(dy), **options),
)
RELU.fault(
    "slope 1 at zero whatever the option",
    forward=lambda x, **options: (right_relu.forward(x, **options)[0], x),
    backward=lambda x, dy, *, slope_at_zero: (jnp.where(x >= 0, dy, 0),),
)
RELU.fault(
    "leaks a tenth below zero",
    backward=lambda r, dy, *, slope_at_zero: (jnp.where(r > 0, dy, 0.1 * dy),),
)
RELU.fault(
    "value of the forward differs",
    forward=lambda x, **options: (jnp.abs(x), right_relu.forward(x, **options)[1]),
)

SIGMOID = Entry(
    jaxnet.rules.sigmoid,
    jax.nn.sigmoid,
    cases=(Case(NUMBERS),),
    measures=(
        Measure(points=lambda rng: numbers(), truth=elementwise(sigmoid_slope), reason=TAILS),
    ),
)


def pull_sigmoid(x: Any, dy: Any) -> Any:
    """The right backward of sigmoid at x, for others to take by mistake."""
    return SIGMOID.rule.halves.backward(x, dy)


SIGMOID.fault(
    "slope at the output, not at the input",
    backward=lambda x, dy: pull_sigmoid(jaxnet.rules.sigmoid(x), dy),
)
SIGMOID.fault("1 - y forgotten", backward=lambda x, dy: (jaxnet.rules.sigmoid(x) * dy,))
SIGMOID.fault("slope of tanh", backward=lambda x, dy: ((1 - jnp.tanh(x) ** 2) * dy,))

TANH = Entry(
    jaxnet.rules.tanh,
    jnp.tanh,
    cases=(Case(NUMBERS),),
    measures=(
        Measure(points=lambda rng: numbers(-40, 40), truth=elementwise(tanh_slope), reason=TAILS),
    ),
)
TANH.fault("1 - y for 1 - y²", backward=lambda x, dy: ((1 - jnp.tanh(x)) * dy,))
TANH.fault("1 - x² for 1 - y²", backward=lambda x, dy: ((1 - x * x) * dy,))
TANH.fault("slope of sigmoid(2x), without the 4", backward=lambda x, dy: pull_sigmoid(2 * x, dy))

SOFTPLUS = Entry(
    jaxnet.rules.softplus,
    jax.nn.softplus,
    cases=(Case(NUMBERS),),
    measures=(Measure(points=lambda rng: numbers(), truth=elementwise(sigma)),),
)
SOFTPLUS.fault("slope of relu", backward=lambda x, dy: (jnp.where(x > 0, dy, 0),))
SOFTPLUS.fault("sigmoid of -x", backward=lambda x, dy: (jaxnet.rules.sigmoid(-x) * dy,))
SOFTPLUS.fault(
    "sigmoid of the output",
    backward=lambda x, dy: (jaxnet.rules.sigmoid(jaxnet.rules.softplus(x)) * dy,),
)

SILU = Entry(
    jaxnet.rules.silu,
    jax.nn.silu,
    cases=(Case(NUMBERS),),
    measures=(Measure(points=lambda rng: numbers(), truth=elementwise(silu_slope), reason=AGAIN),),
)


def pull_silu(x: Any, dy: Any) -> Any:
    return SILU.rule.halves.backward(x, dy)


SILU.fault("the gate alone", backward=lambda x, dy: (jaxnet.rules.sigmoid(x) * dy,))
SILU.fault("the slope of the gate alone", backward=lambda x, dy: (x * pull_sigmoid(x, dy)[0],))
SILU.fault("slope at -|x| not carried over", backward=lambda x, dy: pull_silu(-jnp.abs(x), dy))

GELU = Entry(
    jaxnet.rules.gelu,
    jax.nn.gelu,
    cases=(Case(NUMBERS, ({}, {"approximate": False})),),
    measures=(
        Measure(points=lambda rng: numbers(-9), truth=elementwise(tanh_gelu_slope), reason=AGAIN),
        Measure(
            "gelu, exact",
            hand=functools.partial(jaxnet.rules.gelu, approximate=False),
            text=functools.partial(jax.nn.gelu, approximate=False),
            points=lambda rng: numbers(-12),
            truth=elementwise(gelu_slope),
            reason=AGAIN,
        ),
    ),
)
right_gelu = GELU.rule.halves


def with_tanh_slope(slope: Callable[[Any], Any]) -> Callable[..., Args]:
    """A backward with this slope for the tanh form; that of the exact one stays right."""

    def backward(x: Any, dy: Any, *, approximate: bool) -> Args:
        if approximate:
            return (slope(x) * dy,)
        return right_gelu.backward(x, dy, approximate=False)

    return backward


def gelu_gate(x: Any) -> Any:
    return jax.nn.sigmoid(gate_argument(x))


def without_its_factor(x: Any) -> Any:
    gate = gelu_gate(x)
    return gate * (1 + x * (1 - gate) * 2 * C * (1 + A * x * x))


GELU.fault(
    "tanh form whatever the option",
    backward=lambda x, dy, *, approximate: right_gelu.backward(x, dy, approximate=True),
)
GELU.fault("the gate alone", backward=with_tanh_slope(gelu_gate))
GELU.fault("cubic term without its factor 3", backward=with_tanh_slope(without_its_factor))
GELU.fault(
    "sigmoid approximation of the gate",
    backward=with_tanh_slope(jax.grad(lambda x: jnp.sum(x * jax.nn.sigmoid(1.702 * x)))),
)

SWIGLU = Entry(
    jaxnet.rules.swiglu,
    lambda gate, value: jax.nn.silu(gate) * value,
    cases=(
        Case(
            {
                "matrix": normals((5, 7), (5, 7)),
                "scalar": normals((), ()),
                "gate at zero and in the tails": lambda rng: (
                    np.array([-80.0, -20.0, 0.0, -0.0, 20.0, 80.0]),
                    rng.normal(size=6),
                ),
                "value at zero": lambda rng: (rng.normal(size=4), np.zeros(4)),
                "empty": normals((0, 3), (0, 3)),
                "large": lambda rng: (1e2 * rng.normal(size=(100, 90)), rng.normal(size=(100, 90))),
            }
        ),
    ),
    measures=(
        Measure(
            rest=lambda rng, rows, columns: (normal32(rng, rows, columns),),
            points=lambda rng: [(x, np.float32(0.7)) for (x,) in numbers()],
            truth=swiglu_truth,
            reason=AGAIN,
        ),
    ),
)
SWIGLU.spoil("the two exchanged", lambda dgate, dvalue, r, dy: (dvalue, dgate))
SWIGLU.spoil("value forgotten", lambda dgate, dvalue, r, dy: (pull_silu(r[0], dy)[0], dvalue))
SWIGLU.spoil(
    "sigmoid for silu", lambda dgate, dvalue, r, dy: (dgate, jaxnet.rules.sigmoid(r[0]) * dy)
)
SWIGLU.spoil(
    "gate not differentiated", lambda dgate, dvalue, r, dy: (jnp.zeros_like(dgate), dvalue)
)
