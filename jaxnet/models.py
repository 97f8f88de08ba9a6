"""Multilayer perceptrons; those of docs/report.md have sizes (10, 100, 2), (10, 100, 100, 2)."""

from collections.abc import Callable, Sequence
from functools import partial
from itertools import accumulate, pairwise
from typing import Any, Literal, NamedTuple, TypeAlias, cast

import jax
import jax.numpy as jnp
import numpy as np

from jaxnet._require import (
    described,
    number_or_nan,
    require_function,
    require_hashable,
    require_random_key,
)
from jaxnet.rules._activations import relu
from jaxnet.rules._dropout import dropout
from jaxnet.rules._layer_norm import layer_norm, rms_norm
from jaxnet.rules._linear import linear


class Layer(NamedTuple):
    """The parameters of one affine map, as PyTorch's nn.Linear stores them.

    weight: [out, in], floating.
    bias: [out], floating.

    >>> layer = jaxnet.Layer(weight=jnp.ones((2, 3)), bias=jnp.zeros(2))
    >>> print(jaxnet.linear(jnp.ones(3), *layer))
    [3. 3.]
    """

    weight: jax.Array
    bias: jax.Array


class NormLayer(NamedTuple):
    """The parameters of an affine map and of the norm of its outputs.

    The norm is layer_norm, or rms_norm where shift is None.

    weight: [out, in], floating.
    bias, scale: [out], floating.
    shift: [out], floating, or None.

    >>> first, last = jaxnet.init_mlp(jax.random.key(0), (3, 4, 2), norm="rms")
    >>> print(first.scale, first.shift)
    [1. 1. 1. 1.] None
    """

    weight: jax.Array
    bias: jax.Array
    scale: jax.Array
    shift: jax.Array | None = None


# One per affine map, from the input on; the last is a Layer.
Params: TypeAlias = tuple[Layer | NormLayer, ...]
# (key, (in, out), dtype) -> weights [in, out] as from jax.nn.initializers, or a whole Layer
Initializer: TypeAlias = Callable[[jax.Array, tuple[int, int], Any], jax.Array | Layer]


def pytorch_init(key: jax.Array, shape: tuple[int, int], dtype: Any) -> Layer:
    """Weights and biases uniform in ±1/sqrt(in): what PyTorch's nn.Linear starts with by default.

    key: a JAX random key.
    shape: (in, out).
    dtype: of the parameters, floating.
    Returns Layer(weight [out, in], bias [out]).

    >>> layer = jaxnet.pytorch_init(jax.random.key(0), (4, 100), jnp.float32)
    >>> print(layer.weight.shape, jnp.abs(layer.weight).max() <= 0.5)
    (100, 4) True
    """
    return _one_layer("pytorch_init", key, shape, dtype)


def course_init(key: jax.Array, shape: tuple[int, int], dtype: Any) -> Layer:
    """Weights and biases uniform in [0, 0.01), of one sign.

    The starter code of the course begins so, for which docs/report.md was written (section 3).

    key: a JAX random key.
    shape: (in, out).
    dtype: of the parameters, floating.
    Returns Layer(weight [out, in], bias [out]).

    >>> layer = jaxnet.course_init(jax.random.key(0), (4, 100), jnp.float32)
    >>> print(layer.weight.shape, layer.weight.min() >= 0, layer.weight.max() < 0.01)
    (100, 4) True True
    """
    return _one_layer("course_init", key, shape, dtype)


_Range: TypeAlias = Callable[[int], tuple[float, float]]  # in -> least and largest value


def _pytorch_range(fan_in: int) -> tuple[float, float]:
    return -(fan_in**-0.5), fan_in**-0.5


def _course_range(fan_in: int) -> tuple[float, float]:
    return 0.0, 0.01


# The initialisers that `init_mlp` draws for all layers at once.
_DRAWN_AT_ONCE: dict[Initializer, _Range] = {
    pytorch_init: _pytorch_range,
    course_init: _course_range,
}


def _one_layer(function: str, key: Any, shape: Any, dtype: Any) -> Layer:
    """Of one of those initialisers, by its name."""
    require_random_key(function, "key", key)
    sizes = _whole_numbers(function, "shape", shape, "two positive integers (in, out)", most=2)
    ranges = {initializer.__name__: r for initializer, r in _DRAWN_AT_ONCE.items()}
    return _uniform(key, sizes, _floating_dtype(function, dtype), ranges[function])[0]


def _uniform(
    key: jax.Array, sizes: Sequence[int], dtype: Any, range_of: _Range
) -> tuple[Layer, ...]:
    """Every layer from one flat draw.

    XLA takes a tenth of a second to compile each draw, more where it is not flat.
    """
    counts = [fan_out * (fan_in + 1) for fan_in, fan_out in pairwise(sizes)]
    ends = list(accumulate(counts))
    unit = jax.random.uniform(key, (ends[-1],), dtype)  # in [0, 1)
    layers = []
    for (fan_in, fan_out), count, end in zip(pairwise(sizes), counts, ends, strict=True):
        low, high = range_of(fan_in)
        flat = low + (high - low) * unit[end - count : end]
        bias, weight = flat[:fan_out], flat[fan_out:].reshape(fan_out, fan_in)
        layers.append(Layer(weight, bias))
    return tuple(layers)


def init_mlp(
    key: jax.Array,
    sizes: Sequence[int],
    initializer: Initializer = pytorch_init,
    *,
    norm: Literal["layer", "rms"] | None = None,
    dtype: Any = float,
) -> Params:
    """Draw the parameters of `mlp`: one Layer for each two neighbours in sizes.

    key: a JAX random key.
    sizes: (in, hidden ..., out), at least two positive integers.
    initializer: `pytorch_init`, `course_init`, any function of jax.nn.initializers (it draws the
        weights, its fan-in being the layer's in; biases start at 0), or your own: (key, (in, out),
        dtype) -> a Layer or weights [in, out].
        Your own is called once a layer, each with a key split from `key`. The first two are drawn
        for all layers at once from `key` itself: one of them wrapped in a function of your own
        counts as yours, and gives other numbers of the same distribution.
    norm: "layer" or "rms" makes every layer but the last a NormLayer, whose scale starts at 1 and
        shift at 0; the draw stays the same.
    dtype: of the parameters; Python's float means float32, or float64 where JAX's x64 mode is on.
    Returns a tuple of Layer(weight [out, in], bias [out]), or of NormLayers and a Layer.
    Raises ValueError on sizes that are not at least two positive integers, on another norm and on
        an initializer that returns other shapes, TypeError on what is no key, no function or no
        floating dtype.
    Source: docs/report.md, section 2.1 (the report does not state its initialisation).

    >>> params = jaxnet.init_mlp(jax.random.key(0), (10, 100, 2))
    >>> [layer.weight.shape for layer in params]
    [(100, 10), (2, 100)]
    >>> he = jax.nn.initializers.he_normal()
    >>> print(jaxnet.init_mlp(jax.random.key(0), (10, 100, 2), he)[1].bias)
    [0. 0.]
    """
    require_random_key("init_mlp", "key", key)
    expected = "at least two positive integers (in, hidden ..., out)"
    sizes = _whole_numbers("init_mlp", "sizes", sizes, expected)
    require_function("init_mlp", "initializer", initializer, "jaxnet.pytorch_init")
    require_hashable("init_mlp", "initializer", initializer)
    if norm not in (None, "layer", "rms"):
        raise ValueError(f'init_mlp: norm must be "layer", "rms" or None, got {norm!r}')
    dtype = _floating_dtype("init_mlp", dtype)
    return cast(Params, _draw(key, sizes, initializer, norm, dtype))


def _whole_numbers(
    function: str, name: str, given: Any, expected: str, most: int | None = None
) -> tuple[int, ...]:
    try:
        numbers = tuple(given)
    except TypeError:
        numbers = ()
    are_sizes = [
        isinstance(n, int | np.integer) and not isinstance(n, bool) and n > 0 for n in numbers
    ]
    if not (2 <= len(numbers) <= (most or len(numbers)) and all(are_sizes)):
        got = given if isinstance(given, tuple | list) else described(given)
        raise ValueError(f"{function}: {name} must be {expected}, got {got}")
    return tuple(map(int, numbers))


def _floating_dtype(function: str, dtype: Any) -> Any:
    try:
        known = jnp.dtype(jax.dtypes.canonicalize_dtype(dtype))
        is_floating = dtype is not None and jnp.issubdtype(known, jnp.floating)
    except TypeError:
        is_floating = False
    if not is_floating:
        raise TypeError(
            f"{function}: dtype must be a floating dtype such as float or 'bfloat16', "
            f"got {described(dtype)}"
        )
    return known


# Jitted: one small program instead of a dozen, each compiled by itself.
@partial(jax.jit, static_argnums=(1, 2, 3, 4))
def _draw(
    key: jax.Array, sizes: tuple[int, ...], initializer: Initializer, norm: str | None, dtype: Any
) -> Params:
    if initializer in _DRAWN_AT_ONCE:
        maps = _uniform(key, sizes, dtype, _DRAWN_AT_ONCE[initializer])
    else:
        maps = _layer_by_layer(key, sizes, initializer, dtype)
    if norm is None:
        return maps
    normed = [_with_norm(layer, norm) for layer in maps[:-1]]
    return (*normed, maps[-1])


def _layer_by_layer(
    key: jax.Array, sizes: Sequence[int], initializer: Initializer, dtype: Any
) -> tuple[Layer, ...]:
    keys = jax.random.split(key, len(sizes) - 1)
    layers = []
    for i, (fan_in, fan_out) in enumerate(pairwise(sizes)):
        drawn = initializer(keys[i], (fan_in, fan_out), dtype)
        layers.append(_as_layer(drawn, fan_in, fan_out, dtype))
    return tuple(layers)


def _as_layer(drawn: Any, fan_in: int, fan_out: int, dtype: Any) -> Layer:
    got: Any = jax.tree.map(jnp.shape, drawn)
    if isinstance(drawn, Layer):
        if tuple(got) == ((fan_out, fan_in), (fan_out,)):
            return drawn
    elif got == (fan_in, fan_out):
        return Layer(drawn.T, jnp.zeros(fan_out, dtype))
    raise ValueError(
        f"init_mlp: initializer must return weights of the shape it is given, "
        f"{(fan_in, fan_out)}, or Layer(weight of shape {(fan_out, fan_in)}, bias of shape "
        f"{(fan_out,)}), got {got}"
    )


def _with_norm(layer: Layer, norm: str) -> NormLayer:
    scale = jnp.ones_like(layer.bias)
    shift = jnp.zeros_like(layer.bias) if norm == "layer" else None
    return NormLayer(layer.weight, layer.bias, scale, shift)


def mlp(
    params: Params,
    x: jax.Array,
    key: jax.Array | None = None,
    *,
    activation: Callable[[jax.Array], jax.Array] = relu,
    dropout_rate: float = 0.0,
) -> jax.Array:
    """Affine maps with an activation between each two.

    params: from `init_mlp`, or any sequence of (weight [out, in], bias [out]) pairs; the outputs of
        a map that is followed by (scale,) go through `rms_norm`, those of one followed by (scale,
        shift) through `layer_norm`.
    x: [..., in], floating.
    key: a JAX random key while training with dropout (`fit` passes one to each update), None to
        evaluate.
    activation: applied after every map but the last (and its norm).
    dropout_rate: the probability with which, given a key, each number that leaves an activation is
        dropped.
    Returns the logits [..., out], in the dtype that x and the parameters promote to.
    Raises ValueError where there is no layer and on a dropout_rate outside [0, 1), TypeError on
        what is no layer and on an activation that is no function, and
        as `linear`, `layer_norm` and `dropout` do.
    Source: docs/report.md, sections 2.1 and 4: SingleLayerMLP and the network with two hidden
        layers.

    >>> params = jaxnet.init_mlp(jax.random.key(0), (10, 100, 2))
    >>> jaxnet.mlp(params, jnp.ones((5, 10))).shape
    (5, 2)
    >>> model = jax.tree_util.Partial(jaxnet.mlp, activation=jaxnet.rules.gelu, dropout_rate=0.1)
    >>> model(params, jnp.ones((5, 10)), jax.random.key(1)).shape
    (5, 2)
    """
    _require_layers(params)
    if not callable(activation):
        raise TypeError(
            f"mlp: activation must be a function such as jaxnet.rules.gelu, got {activation!r}"
        )
    if not 0 <= number_or_nan(dropout_rate) < 1:
        raise ValueError(
            f"mlp: dropout_rate is the probability to drop, it must be in [0, 1), "
            f"got {dropout_rate!r}"
        )
    *hidden, last = params
    for i, (weight, bias, *norm) in enumerate(hidden):
        z = linear(x, weight, bias)
        x = activation(_normed(z, *norm))
        if key is not None and dropout_rate != 0:
            x = dropout(jax.random.fold_in(key, i), x, rate=dropout_rate)
    return linear(x, *last)


def _require_layers(params: Any) -> None:
    mend = "init_mlp makes them"
    if not isinstance(params, Sequence) or isinstance(params, str):
        raise TypeError(
            f"mlp: params must be a sequence of layers (weight, bias), got {described(params)}; "
            f"{mend}, and the call is mlp(params, x)"
        )
    if not params:
        raise ValueError(f"mlp: params must hold at least one layer (weight, bias); {mend}")
    for i, layer in enumerate(params):
        most = 4 if i < len(params) - 1 else 2  # a norm follows all but the last
        if not isinstance(layer, list | tuple) or not 2 <= len(layer) <= most:
            raise TypeError(
                f"mlp: params[{i}] must be a layer (weight, bias), with the parameters of a norm "
                f"behind them where another follows, got {described(layer)}; {mend}"
            )


def _normed(
    x: jax.Array, scale: jax.Array | None = None, shift: jax.Array | None = None
) -> jax.Array:
    """x through the norm that these parameters belong to; x itself without any."""
    if scale is None:
        return x
    if shift is None:
        return rms_norm(x, scale)
    return layer_norm(x, scale, shift)
