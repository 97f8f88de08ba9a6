"""Quantized products of Qwix, AQT and Haliax, and Tokamax's layers as XLA computes them."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
from corpus import normal
from corpus.libraries import straight_through

from trial import call

VECTOR, TWO_MATRICES = normal((4,)), normal((4, 3), (3, 2))
PRODUCT = (((1,), (0,)), ((), ()))

# ---- Haliax: float8

ONE, NOTHING_YET = np.ones(1, "float32"), np.zeros(4, "float32")
for name, ref in (("in_qdq", straight_through), ("out_qdq", None)):
    call(
        f"haliax._src.fp8.{name}",
        VECTOR,
        lambda f: lambda x: f(jnp.float32, x, jnp.asarray(ONE), jnp.asarray(NOTHING_YET)),
        ref=ref,
    )
call(
    "haliax._src.fp8.dot_general_with_precision",
    TWO_MATRICES,
    lambda dot_general: lambda a, b: dot_general(a, b, PRODUCT),
)

# ---- Qwix


def in_int8(dot_general_qt):
    from qwix._src.core.dot_general_qt import DotGeneralQtConfig

    config = DotGeneralQtConfig(lhs_qtype=jnp.int8, rhs_qtype=jnp.int8)
    return lambda a, b: dot_general_qt(a, b, PRODUCT, config)


def plain_product(a, b):
    return a @ b


def rounded(x, axis):
    """To int8, with a scale for each row along axis; passed straight through."""
    import qwix

    near = qwix.dequantize(qwix.quantize(x, jnp.int8, channelwise_axes=[axis]))
    return x + jax.lax.stop_gradient(near - x)


def rounded_product(a, b):
    return rounded(a, 0) @ rounded(b, 1)


QWIX = "qwix._src.core"
call(f"{QWIX}.dot_general_qt.dot_general_qt", TWO_MATRICES, in_int8, ref=rounded_product)


def unquantized(dot_general_qt):
    from qwix._src.core.dot_general_qt import DotGeneralQtConfig

    return lambda a, b: dot_general_qt(a, b, PRODUCT, DotGeneralQtConfig())


call(f"{QWIX}.dot_general_qt.dot_general_qt not quantized", TWO_MATRICES, unquantized)
GROUPS = np.array([1, 3], "int32")


def ragged(ragged_dot_qt, qtype):
    from qwix._src.core.ragged_dot_qt import RaggedDotQtConfig

    config = RaggedDotQtConfig(lhs_qtype=qtype, rhs_qtype=qtype)
    return lambda a, b: ragged_dot_qt(a, b, jnp.asarray(GROUPS), config)


def in_groups(a, b):
    return jax.lax.ragged_dot(rounded(a, 0), rounded(b, 2), jnp.asarray(GROUPS))


call(
    f"{QWIX}.ragged_dot_qt.ragged_dot_qt",
    normal((4, 3), (2, 3, 2)),
    functools.partial(ragged, qtype=jnp.int8),
    ref=in_groups,
)


def convolved(conv_general_qt, qtype):
    from qwix._src.core.conv_general_qt import ConvGeneralQtConfig

    config = ConvGeneralQtConfig(lhs_qtype=qtype, rhs_qtype=qtype)
    return lambda x, w: conv_general_qt(x, w, config, (1,), "SAME")


def plain_convolution(x, w):
    return jax.lax.conv_general_dilated(x, w, (1,), "SAME")


def rounded_convolution(x, w):
    return plain_convolution(rounded(x, 0), rounded(w, 0))


for qtype, word, ref in (
    (jnp.int8, "in int8", rounded_convolution),
    (None, "not quantized", plain_convolution),
):
    call(
        f"{QWIX}.conv_general_qt.conv_general_qt {word}",
        normal((2, 3, 5), (2, 3, 3)),
        functools.partial(convolved, qtype=qtype),
        ref=ref,
    )

# ---- AQT


def quantized(dot_general_make, bits, backward_bits=None):
    product = dot_general_make(bits, bits, backward_bits)
    return lambda a, b: product(a, b, PRODUCT)


AQT = "aqt.jax.v2.aqt_dot_general.dot_general_make"
call(f"{AQT} not quantized", TWO_MATRICES, functools.partial(quantized, bits=None))
call(f"{AQT} in int8", TWO_MATRICES, functools.partial(quantized, bits=8), ref=plain_product)
LEGACY = "aqt.jax_legacy.jax"
for name in ("floor_with_gradient", "round_with_gradient"):
    call(f"{LEGACY}.primitives.{name}", VECTOR, ref=lambda x: x)
call(
    f"{LEGACY}.fp_cast.downcast_sat_ftz",
    VECTOR,
    lambda cast: lambda x: cast(x, -6, 8, 3),
    ref=lambda x: jnp.clip(x, -480, 480),  # straight through, up to its largest number
)

# ---- Tokamax, by XLA


def by_xla(f, *static, **options):
    return lambda *args: f(*args, *static, implementation="xla", **options)


call("tokamax.layer_norm", normal((3, 4), (4,), (4,)), by_xla)
call(
    "tokamax.layer_norm without a mean",
    normal((3, 4), (4,)),
    lambda f: lambda x, scale: f(x, scale, None, subtract_mean=False, implementation="xla"),
)
call(
    "tokamax.gated_linear_unit",
    normal((3, 4), (4, 2, 3)),
    lambda f: by_xla(f, activation=jax.nn.swish),
)
call("tokamax.dot_product_attention", normal((1, 3, 2, 4), (1, 3, 2, 4), (1, 3, 2, 4)), by_xla)
call(
    "tokamax.dot_product_attention causal",
    normal((1, 3, 2, 4), (1, 3, 2, 4), (1, 3, 2, 4)),
    lambda f: by_xla(f, is_causal=True),
)
LABELS = np.array([0, 3, 1], "int32")
call(
    "tokamax.linear_softmax_cross_entropy_loss",
    normal((3, 4), (4, 5)),
    lambda f: lambda x, w: f(x, jnp.asarray(LABELS), w, implementation="xla"),
)
call(
    "tokamax.ragged_dot",
    normal((4, 3), (2, 3, 2)),
    lambda f: lambda a, b: f(a, b, jnp.asarray(GROUPS), implementation="xla"),
)
