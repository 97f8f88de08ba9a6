r"""Activations: functions of one number, element by element.

relu (docs/report.md, sections 2.1 and 2.2).  y = max(0, x) lets a value pass or stops it, so with
one gate

    g(r, v) = v for r > 0,  s v for r = 0,  0 for r < 0       y = g(x, x)      x̄ = g(x, ȳ)

The slope s at the kink is a convention: any s in [0, 1] is a subgradient.  The default 0 is that of
the frameworks, and the best of [0, 1] in training (Bertoin et al. 2021, "Numerical influence of
ReLU'(0) on backpropagation"); the report writes 1 for x >= 0.  With s = 0 the gate opens at x > 0,
which is where y > 0: the output is enough, x̄ = g(y, ȳ), and a layer that follows keeps y anyway.
(Only a scan whose carry is y keeps it twice, where autodiff keeps y and a mask of a quarter of it.)
With s > 0 the input is kept, because y = 0 does not tell x = 0 from x < 0.

The others are made of a gate G that opens from 0 to 1 and has G(-x) = 1 - G(x): the logistic
function σ(x) = 1 / (1 + exp(-x)) or the normal distribution Φ(x) = erfc(-x/√2) / 2.

    sigmoid     y = σ(x)                  x̄ = σ(x) (1 - σ(x)) ȳ
    tanh        y = 2 σ(2x) - 1           x̄ = 4 σ(2x) (1 - σ(2x)) ȳ
    softplus    y = log(1 + exp(x))       x̄ = σ(x) ȳ
    silu        y = x σ(x)                x̄ = σ(x) (1 + x (1 - σ(x))) ȳ
    swiglu      y = silu(g) v             ḡ = v silu'(g) ȳ,  v̄ = silu(g) ȳ
    gelu        y = x Φ(x)                x̄ = (Φ(x) + x φ(x)) ȳ
                                          φ(x) = Φ'(x) = exp(-x²/2) / √(2π)
    its tanh form, with c = √(2/π) and a = 0.044715:
                y = x (1 + tanh(c (x + a x³))) / 2
                  = x σ(v)                x̄ = σ(v) (1 + x v' (1 - σ(v))) ȳ
                v = 2c (x + a x³)         v' = 2c (1 + 3a x²)

Where x > 0, 1 - G cancels, and is 0 long before the true value is.  So all is taken at t = -|x|,
where G <= 1/2 and nothing cancels, and carried over: the slope of sigmoid and tanh is even, and
because x G(x) + x G(-x) = x, for silu and gelu

    y(x) = max(x, 0) + t G(t)       y'(x) = y'(t) for x < 0,  1 - y'(t) for x >= 0

and softplus likewise: log(1 + exp(x)) = max(x, 0) + log(1 + exp(t)).  The tanh form is rewritten
with σ, because 1 + tanh cancels on the left (in float32 all digits are gone from x = -5 on).  t is
cut at -1000, where G is 0 in every dtype, so that no product is 0 · ∞; silu and gelu are 0 at -inf.

Kept is x, which the output does not give back in the tails: of an element in float32 4 bytes, where
the textbook graph keeps 20 (gelu; 16 from jax 0.12 on), 12 (exact gelu, silu), 8 (softplus, tanh;
4 for tanh from jax 0.12 on) or 4 too (sigmoid), and for swiglu 8 instead of 20.  A scan over layers
stacks just these; inside one jit XLA computes the textbook's again as well, and no memory is
gained.  What is computed again takes time: for their tails sigmoid and tanh need one exp more in
the backward, silu, gelu and swiglu the gate once more, and are slower than the textbook's for it.
"""

import math
from collections.abc import Callable
from typing import NamedTuple

import jax.numpy as jnp
from jax import Array, lax

from jaxnet._require import number_or_nan, require_floating, widened
from jaxnet._rule import rule


@rule
def relu(x: Array, *, slope_at_zero: float = 0.0) -> Array:
    """max(0, x), element by element; NaN stays NaN.

    x: [...], floating.
    slope_at_zero: in [0, 1], the derivative at exactly 0 (and -0); docs/report.md has 1.
    Returns [...], in the dtype of x.
    Raises TypeError on integer arrays, ValueError on a slope outside [0, 1].
    Source: docs/report.md, sections 2.1 and 2.2.

    >>> x = jnp.array([-1.0, 0.0, 2.0])
    >>> print(jaxnet.relu(x), jax.grad(lambda x: jaxnet.relu(x).sum())(x))
    [0. 0. 2.] [0. 0. 1.]
    >>> print(jax.grad(lambda x: jaxnet.relu(x, slope_at_zero=1.0).sum())(x))
    [0. 1. 1.]
    """
    require_floating("relu", x=x)
    if not 0 <= number_or_nan(slope_at_zero) <= 1:
        raise ValueError(
            f"relu: slope_at_zero must be in [0, 1], a subgradient of relu at 0, "
            f"got {slope_at_zero!r}"
        )
    return _gate(x, x, slope_at_zero)


@relu.forward
def relu_forward(x: Array, *, slope_at_zero: float) -> tuple[Array, Array]:
    y = relu.body(x, slope_at_zero=slope_at_zero)
    r = y if slope_at_zero == 0 else x  # y > 0 where x > 0, but y = 0 where x < 0 too
    return y, r


@relu.backward
def relu_backward(r: Array, dy: Array, *, slope_at_zero: float) -> tuple[Array]:
    return (_gate(r, dy, slope_at_zero),)  # g(r, ȳ)


def _gate(r: Array, v: Array, slope_at_zero: float) -> Array:
    """g(r, v): v where r > 0, s v at r = 0, 0 below."""
    # Asked is where it closes, not where it opens: NaN fails both comparisons, and so passes.
    if slope_at_zero == 0:
        return jnp.where(r <= 0, 0, v)
    opened = jnp.where(r == 0, jnp.multiply(slope_at_zero, v), v)
    return jnp.where(r < 0, 0, opened)


@rule
def sigmoid(x: Array) -> Array:
    """The logistic function σ(x) = 1 / (1 + exp(-x)), element by element.

    x: [...], floating.
    Returns [...], in the dtype of x, computed in at least float32; the derivative is accurate in
        both tails.
    Raises TypeError on integer arrays.
    Source: derived in this file.

    >>> print(jaxnet.rules.sigmoid(0.0), jax.grad(jaxnet.rules.sigmoid)(0.0))
    0.5 0.25
    >>> hand, autodiff = (jax.grad(f)(20.0) for f in (jaxnet.rules.sigmoid, jax.nn.sigmoid))
    >>> print(f"{hand:.2e} {autodiff:.2e}")
    2.06e-09 0.00e+00
    """
    require_floating("sigmoid", x=x)
    return lax.logistic(widened(x)).astype(x.dtype)


@sigmoid.forward
def sigmoid_forward(x: Array) -> tuple[Array, Array]:
    return sigmoid.body(x), x


@sigmoid.backward
def sigmoid_backward(x: Array, dy: Array) -> tuple[Array]:
    dx = _sigmoid_slope(widened(x)) * dy  # σ(x) (1 - σ(x)) ȳ
    return (dx.astype(x.dtype),)


@rule
def tanh(x: Array) -> Array:
    """The hyperbolic tangent, element by element.

    x: [...], floating.
    Returns [...], in the dtype of x, computed in at least float32; the derivative is accurate in
        both tails.
    Raises TypeError on integer arrays.
    Source: derived in this file.

    >>> print(jaxnet.rules.tanh(0.0), jax.grad(jaxnet.rules.tanh)(0.0))
    0.0 1.0
    >>> truth = 4 * np.exp(-20)  # at 10, to eight digits
    >>> [bool(abs(jax.grad(f)(10.0) / truth - 1) < 1e-5) for f in (jaxnet.rules.tanh, jnp.tanh)]
    [True, False]
    """
    require_floating("tanh", x=x)
    return jnp.tanh(widened(x)).astype(x.dtype)


@tanh.forward
def tanh_forward(x: Array) -> tuple[Array, Array]:
    return tanh.body(x), x


@tanh.backward
def tanh_backward(x: Array, dy: Array) -> tuple[Array]:
    dx = 4 * _sigmoid_slope(2 * widened(x)) * dy  # 4 σ(2x) (1 - σ(2x)) ȳ
    return (dx.astype(x.dtype),)


def _sigmoid_slope(x: Array) -> Array:
    """σ(x) (1 - σ(x)), which is even: taken at t, where 1 - σ does not cancel."""
    gate = lax.logistic(_left(x))
    return gate * (1 - gate)


@rule
def softplus(x: Array) -> Array:
    """log(1 + exp(x)), element by element.

    x: [...], floating.
    Returns [...], in the dtype of x, computed in at least float32; it and its derivative are
        accurate in both tails.
    Raises TypeError on integer arrays.
    Source: derived in this file.

    >>> print(*jax.value_and_grad(jaxnet.rules.softplus)(100.0))
    100.0 1.0
    >>> print(*jax.value_and_grad(lambda x: jnp.log(1 + jnp.exp(x)))(100.0))
    inf nan
    """
    require_floating("softplus", x=x)
    return _carried_over(_softplus_left, widened(x)).astype(x.dtype)


@softplus.forward
def softplus_forward(x: Array) -> tuple[Array, Array]:
    return softplus.body(x), x


@softplus.backward
def softplus_backward(x: Array, dy: Array) -> tuple[Array]:
    dx = lax.logistic(widened(x)) * dy  # σ(x) ȳ
    return (dx.astype(x.dtype),)


def _softplus_left(t: Array) -> Array:
    return jnp.log1p(jnp.exp(t))


@rule
def silu(x: Array) -> Array:
    """x σ(x), element by element (swish); 0 at -inf.

    x: [...], floating.
    Returns [...], in the dtype of x, computed in at least float32.
    Raises TypeError on integer arrays.
    Source: Elfwing et al. 2017, "Sigmoid-weighted linear units"; the derivative is derived in this
        file.

    >>> print(*jax.value_and_grad(jaxnet.rules.silu)(0.0))
    0.0 0.5
    >>> print(jaxnet.rules.silu(-jnp.inf), jax.nn.silu(-jnp.inf))
    0.0 nan
    """
    require_floating("silu", x=x)
    return _carried_over(_silu_left, widened(x)).astype(x.dtype)


@silu.forward
def silu_forward(x: Array) -> tuple[Array, Array]:
    return silu.body(x), x


@silu.backward
def silu_backward(x: Array, dy: Array) -> tuple[Array]:
    dx = _slope_carried_over(_silu_slope, widened(x)) * dy  # silu'(x) ȳ
    return (dx.astype(x.dtype),)


@rule
def swiglu(gate: Array, value: Array) -> Array:
    """silu(gate) · value, element by element: the gated linear unit of today's language models.

    gate, value: [...], floating, of the same shape.
    Returns [...], in the dtype that the two promote to, computed in at least float32.
    Raises TypeError on integer arrays, ValueError on shapes that differ (nothing is broadcast).
    Source: Shazeer 2020, "GLU variants improve transformer"; the derivatives are derived in this
        file.

    >>> y = jaxnet.rules.swiglu(1.0, 2.0)
    >>> dgate, dvalue = jax.grad(jaxnet.rules.swiglu, argnums=(0, 1))(1.0, 2.0)
    >>> print(f"{y:.3f} {dgate:.3f} {dvalue:.3f}")
    1.462 1.855 0.731
    """
    require_floating("swiglu", gate=gate, value=value)
    if gate.shape != value.shape:
        raise ValueError(
            f"swiglu: gate and value must have the same shape, got {gate.shape} and {value.shape}"
        )
    y = _carried_over(_silu_left, widened(gate)) * widened(value)
    return y.astype(jnp.result_type(gate, value))


class SwigluResiduals(NamedTuple):
    gate: Array  # g, for both: silu is made again
    value: Array  # v, for ḡ


@swiglu.forward
def swiglu_forward(gate: Array, value: Array) -> tuple[Array, SwigluResiduals]:
    y = swiglu.body(gate, value)
    return y, SwigluResiduals(gate, value)


@swiglu.backward
def swiglu_backward(residuals: SwigluResiduals, dy: Array) -> tuple[Array, Array]:
    gate, value = residuals
    g, v, dy = widened(gate), widened(value), widened(dy)
    dgate = _slope_carried_over(_silu_slope, g) * v * dy  # v silu'(g) ȳ
    dvalue = _carried_over(_silu_left, g) * dy  # silu(g) ȳ
    return dgate.astype(gate.dtype), dvalue.astype(value.dtype)


def _silu_left(t: Array) -> Array:
    return t * lax.logistic(t)


def _silu_slope(t: Array) -> Array:
    gate = lax.logistic(t)  # σ(t)
    return gate * (1 + t * (1 - gate))


@rule
def gelu(x: Array, *, approximate: bool = True) -> Array:
    """x Φ(x), element by element, Φ the normal distribution function; 0 at -inf.

    x: [...], floating.
    approximate: True, as in jax.nn, for the tanh form; False for the exact one (PyTorch's default).
    Returns [...], in the dtype of x, computed in at least float32.
    Raises TypeError on integer arrays, ValueError on an `approximate` that is not a bool.
    Source: Hendrycks and Gimpel 2016, "Gaussian error linear units"; the derivatives are derived in
        this file.

    >>> print(f"{jaxnet.rules.gelu(1.0):.4f} {jaxnet.rules.gelu(1.0, approximate=False):.4f}")
    0.8412 0.8413
    >>> print(f"{jax.grad(jaxnet.rules.gelu)(-6.0):.0e}")
    -8e-10
    >>> print(jaxnet.rules.gelu(-jnp.inf), jax.nn.gelu(-jnp.inf))
    0.0 nan
    """
    require_floating("gelu", x=x)
    if not isinstance(approximate, bool):
        raise ValueError(
            f"gelu: approximate must be True (tanh form) or False (exact), got {approximate!r}"
        )
    left = _tanh_gelu_left if approximate else _gelu_left
    return _carried_over(left, widened(x)).astype(x.dtype)


@gelu.forward
def gelu_forward(x: Array, *, approximate: bool) -> tuple[Array, Array]:
    return gelu.body(x, approximate=approximate), x


@gelu.backward
def gelu_backward(x: Array, dy: Array, *, approximate: bool) -> tuple[Array]:
    slope = _tanh_gelu_slope if approximate else _gelu_slope
    dx = _slope_carried_over(slope, widened(x)) * dy  # gelu'(x) ȳ
    return (dx.astype(x.dtype),)


def _gelu_left(t: Array) -> Array:
    return t * _normal_cdf(t)


def _gelu_slope(t: Array) -> Array:
    # Φ(t) + t φ(t)
    return _normal_cdf(t) + t * jnp.exp(-t * t / 2) / math.sqrt(2 * math.pi)


def _normal_cdf(t: Array) -> Array:
    """Φ(t)."""
    return lax.erfc(-t / math.sqrt(2)) / 2


A, C = 0.044715, math.sqrt(2 / math.pi)  # a and c of the tanh form


def _tanh_gelu_left(t: Array) -> Array:
    return t * lax.logistic(_v(t))


def _tanh_gelu_slope(t: Array) -> Array:
    gate = lax.logistic(_v(t))  # σ(v)
    dv = 2 * C * (1 + 3 * A * t * t)  # v'
    return gate * (1 + t * dv * (1 - gate))


def _v(t: Array) -> Array:
    """v of the tanh form: gelu(t) = t σ(v)."""
    return 2 * C * (t + A * t * t * t)


def _carried_over(left: Callable[[Array], Array], x: Array) -> Array:
    """y(x), where `left` is y for negative numbers."""
    return jnp.where(x < 0, 0, x) + left(_left(x))  # max(x, 0) + y(t)


def _slope_carried_over(slope: Callable[[Array], Array], x: Array) -> Array:
    """y'(x), where `slope` is y' for negative numbers."""
    s = slope(_left(x))
    return jnp.where(x < 0, s, 1 - s)


def _left(x: Array) -> Array:
    """t = -|x|, cut.

    At 0 it has the slope of one side, as max(x, 0) above; that of jnp.abs is 0, of neither.
    """
    return jnp.maximum(jnp.where(x < 0, x, -x), -1e3)
