"""conv_transpose: against JAX's own and PyTorch's, and the form of its gradients."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from catalogue._conv_transpose import textbook
from jax.extend import core
from rule_helpers import normal

from jaxnet import auto
from jaxnet.rules import conv_transpose

CONVOLUTION = "conv_general_dilated"
SHAPES = {  # of x and weight
    1: ((2, 5, 3), (4, 3, 2)),
    2: ((2, 6, 5, 3), (3, 2, 3, 2)),
    3: ((1, 5, 6, 5, 3), (2, 3, 1, 3, 2)),
}


def values(f, c, *args):
    """The value and all gradients."""

    @jax.jit
    def value_and_gradients(c, *args):
        y, pull = jax.vjp(f, *args)
        return y, *pull(c)

    return value_and_gradients(c, *args)


def assert_all_close(ours, theirs):
    for a, b in zip(jax.tree.leaves(ours), jax.tree.leaves(theirs), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-12)


@pytest.mark.many
@pytest.mark.parametrize("dimensions", SHAPES)
@pytest.mark.parametrize("padding", ["SAME", "VALID", (1, 2), (3, 0), (2, -1)])
@pytest.mark.parametrize("dilation", [1, 2])
@pytest.mark.parametrize("strides", [1, 2, 5])
@pytest.mark.parametrize("flags", [(), ("transpose_kernel",), ("use_consistent_padding",)])
def test_as_jax_value_and_gradients(dimensions, padding, dilation, strides, flags, x64):
    x, weight = (normal(*shape) for shape in SHAPES[dimensions])
    if "transpose_kernel" in flags:
        weight = weight.swapaxes(-1, -2)
    if not isinstance(padding, str):
        padding = (padding,) * dimensions
    options = {"padding": padding, "strides": strides, "dilation": dilation}
    options |= dict.fromkeys(flags, True)
    ours, theirs = partial(conv_transpose, **options), partial(textbook, **options)
    size = jax.eval_shape(theirs, x, weight)
    if 0 in size.shape:
        pytest.skip("JAX returns an empty array, conv_transpose raises")
    c = normal(*size.shape, seed=1)
    assert_all_close(values(ours, c, x, weight), values(theirs, c, x, weight))


def of_pytorch(x, weight, stride, padding, output_padding, dilation, groups):
    """Value and gradients of torch.nn.ConvTranspose1d, 2d or 3d; x and weight as PyTorch's."""
    torch = pytest.importorskip("torch")
    layer = getattr(torch.nn, f"ConvTranspose{x.ndim - 2}d")(
        x.shape[1],
        weight.shape[1] * groups,
        weight.shape[2:],
        stride=stride,
        padding=padding,
        output_padding=output_padding,
        dilation=dilation,
        groups=groups,
        bias=False,
        dtype=torch.float64,
    )
    layer.weight.data = torch.tensor(weight)
    x = torch.tensor(x, requires_grad=True)
    y = layer(x)
    c = normal(*y.shape, seed=1)
    y.backward(torch.tensor(c))
    return c, (y.detach().numpy(), x.grad.numpy(), layer.weight.grad.numpy())


@pytest.mark.parametrize("dimensions", [1, 2, 3])
@pytest.mark.parametrize(
    ("stride", "padding", "output_padding", "dilation", "groups"),
    [(1, 0, 0, 1, 1), (2, 1, 1, 1, 1), (3, 1, 2, 2, 2), (2, 2, 0, 1, 4)],
)
def test_as_pytorch(dimensions, stride, padding, output_padding, dilation, groups, x64):
    """As the docstring says to convert its weight and its padding."""
    x = normal(2, 4, *(5, 4, 3)[:dimensions])
    weight = normal(4, 8 // groups, *(3, 4, 3)[:dimensions])
    c, theirs = of_pytorch(x, weight, stride, padding, output_padding, dilation, groups)
    ours = partial(
        conv_transpose,
        strides=stride,
        padding=((padding, padding - output_padding),) * dimensions,
        dilation=dilation,
        groups=groups,
        transpose_kernel=True,
        use_consistent_padding=True,
    )

    def of_their_layout(x, weight):
        y = ours(jnp.moveaxis(x, 1, -1), jnp.moveaxis(weight, (0, 1), (-1, -2)))
        return jnp.moveaxis(y, -1, 1)

    assert_all_close(values(of_their_layout, c, x, weight), theirs)


def test_no_gradient_puts_zeros_between_the_elements_of_its_input():
    """A convolution of that form is what makes autodiff's gradient of the weight slow."""
    x, weight = jnp.ones((2, 5, 5, 3)), jnp.ones((3, 3, 3, 2))
    ours = partial(conv_transpose, strides=2)
    c = jnp.ones(jax.eval_shape(ours, x, weight).shape)

    def dilated(f):
        jaxpr = jax.make_jaxpr(lambda c: jax.vjp(f, x, weight)[1](c))(c)
        convolutions = [e for e in equations(jaxpr.jaxpr) if e.primitive.name == CONVOLUTION]
        return [e.params["lhs_dilation"] for e in convolutions]

    assert dilated(ours) == [(2, 2), (1, 1), (1, 1)]  # of the value, x and weight
    assert dilated(auto(ours)).count((2, 2)) == 2


def equations(jaxpr):
    for e in jaxpr.eqns:
        yield e
        for inner in core.jaxprs_in_params(e.params):
            yield from equations(inner)
