"""The custom rules inside jax, optax, Flax and Equinox: a small case for each.

A case is named after the public function that reaches the rule, "module.function", with a word
behind it where a function reaches several. A rule for which there is no case has a reason instead.
"""

import functools
import importlib
import importlib.util
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from corpus import normal, uniform


def itself(function: Any) -> Any:
    return function


@dataclass(frozen=True)
class Case:
    args: Callable[[np.random.Generator], tuple[Any, ...]]  # fresh arguments for a seed
    # what is found under the name -> the function of arrays that is looked at
    call: Callable[[Any], Callable[..., Any]] = itself
    # where the rule is meant to differ from its body's derivative, or the body has none
    ref: Callable[..., Any] | None = None
    note: str = ""  # why it is not equal to the derivative of its body, where it is not


CASES: dict[str, Case] = {}
LEFT_OUT: dict[str, str] = {}  # rules that nothing is asked about, and why


def case(name, args, call=itself, **more):
    assert name not in CASES
    CASES[name] = Case(args, call, **more)


LIBRARIES = ("jax", "optax", "flax", "equinox")


def library_of(name: str) -> str:
    return name.partition(".")[0]


def is_installed(library: str) -> bool:
    return importlib.util.find_spec(library) is not None


@functools.cache
def found(name: str) -> Any:
    """What has this name, or None where the installed version has nothing of it."""
    module, _, attribute = name.partition(" ")[0].rpartition(".")
    try:
        with warnings.catch_warnings():
            # Some of jax's own modules are deprecated, and say so when they are first imported.
            warnings.simplefilter("ignore", DeprecationWarning)
            return getattr(importlib.import_module(module), attribute, None)
    except ImportError:
        return None


POSITIVE, INSIDE = uniform(0.3, 2.0, (5,)), uniform(0.1, 0.9, (5,))
TWO_POSITIVE = uniform(0.3, 2.0, (5,), (5,))
VECTOR, TWO_VECTORS, MATRIX = normal((5,)), normal((5,), (5,)), normal((4, 3))

# ---- jax.nn, jax.numpy, jax.lax

case("jax.nn.relu", MATRIX)
case("jax.nn.relu6", normal((4, 3), scale=4.0))
case("jax.nn.log1mexp", POSITIVE)


def softmax_with_its_rule(switch):
    """Without this switch it has none."""

    def softmax(x):
        with switch(True):
            return jax.nn.softmax(x)

    return softmax


case("jax.softmax_custom_jvp", MATRIX, softmax_with_its_rule)
case("jax.numpy.logaddexp", TWO_VECTORS)
case("jax.numpy.logaddexp2", TWO_VECTORS)
case("jax.numpy.hypot", TWO_VECTORS)
case("jax.numpy.i0", VECTOR)
case("jax.scipy.special.i1", VECTOR)
POWERS = np.array([3, -1, 0, 2, 1])
case(
    "jax.numpy.ldexp",
    VECTOR,
    lambda ldexp: lambda x: ldexp(x, POWERS),
    ref=lambda x: x * 2.0**POWERS,
)


def mantissa(x):
    size = jnp.abs(jax.lax.stop_gradient(x))
    return x / 2.0 ** (jnp.floor(jnp.log2(size)) + 1)


case("jax.numpy.frexp", VECTOR, lambda frexp: lambda x: frexp(x)[0], ref=mantissa)


def logarithm_of(slogdet):
    return lambda a: slogdet(a)[1]


for size in (2, 3, 4):
    case(f"jax.numpy.linalg.det {size} x {size}", normal((size, size)))
for size in (2, 4):
    case(f"jax.numpy.linalg.slogdet {size} x {size}", normal((size, size)), logarithm_of)
case(
    "jax.numpy.linalg.slogdet by QR",
    normal((2, 2)),
    lambda slogdet: lambda a: slogdet(a, method="qr")[1],
    ref=lambda a: jnp.log(jnp.abs(a[0, 0] * a[1, 1] - a[0, 1] * a[1, 0])),
)
case(
    "jax.numpy.linalg.pinv",
    normal((4, 2)),
    ref=lambda a: jnp.linalg.inv(a.T @ a) @ a.T,
)
case(
    "jax.lax.erf of which the slope",
    VECTOR,
    lambda erf: lambda x: jax.vjp(erf, x)[1](jnp.ones_like(x))[0],
    ref=lambda x: 2 / np.sqrt(np.pi) * jnp.exp(-x * x),
)


def square_root(custom_root):
    """The y with y² = x, which a solver has at once."""

    def root(x):
        return custom_root(
            lambda y: y * y - x,
            jnp.ones_like(x),
            lambda f, guess: jnp.sqrt(x),
            lambda g, y: y / g(jnp.ones_like(y)),
        )

    return root


case("jax.lax.custom_root", POSITIVE, square_root, ref=jnp.sqrt)
case(
    "jax.custom_gradient",
    VECTOR,
    lambda custom_gradient: custom_gradient(lambda x: (jnp.sin(x), lambda dy: jnp.cos(x) * dy)),
)


def exported(export):
    def called(x):
        shape = jax.ShapeDtypeStruct(x.shape, x.dtype)
        return export(jax.jit(jnp.sin))(shape).call(x)

    return called


case("jax.export.export", VECTOR, exported, ref=jnp.sin)
for name in ("jax.checkpoint", "jax.ad_checkpoint.checkpoint_name"):
    LEFT_OUT[name] = "says what is kept, not what the derivative is"
for name in ("jax.numpy.searchsorted", "jax.numpy.nonzero"):
    LEFT_OUT[name] = "gives integers, which have no derivative"

# ---- jax.scipy.special

APPROXIMATED = "the rule is the true slope, the body an approximation, whose slope is another"

case("jax.scipy.special.logit", INSIDE)
case("jax.scipy.special.xlogy", TWO_POSITIVE)
case("jax.scipy.special.xlog1py", TWO_POSITIVE)
case("jax.scipy.special.entr", POSITIVE)
case("jax.scipy.special.rel_entr", TWO_POSITIVE)
case("jax.scipy.special.log_ndtr", VECTOR)
case("jax.scipy.special.poch", uniform(0.5, 3.0, (5,), (5,)))
case("jax.scipy.special.erfcinv", INSIDE, note=APPROXIMATED)
case("jax.scipy.special.erfcx", VECTOR, note=APPROXIMATED)
case("jax.scipy.special.dawsn", VECTOR, note=APPROXIMATED)
case("jax.scipy.special.ndtri", INSIDE, note=APPROXIMATED)
case("jax.scipy.special.expi", POSITIVE, note=APPROXIMATED)
case("jax.scipy.special.sici", POSITIVE, note=APPROXIMATED)
case("jax.scipy.special.expn", POSITIVE, lambda expn: lambda x: expn(2, x), note=APPROXIMATED)
case("jax.scipy.special.zeta", uniform(2.0, 4.0, (5,), (5,)))
case("jax.scipy.special.hyp1f1", uniform(0.5, 2.0, (3,), (3,), (3,)), note=APPROXIMATED)
case("jax.scipy.special.hyp2f1", uniform(0.1, 0.6, (3,), (3,), (3,), (3,)), note=APPROXIMATED)
case("jax.scipy.special.owens_t", TWO_VECTORS, note=APPROXIMATED)
case("jax.scipy.special.fresnel", POSITIVE, note=APPROXIMATED)
for name in ("erfcinv", "erfcx", "ndtri"):
    LEFT_OUT[f"jax.scipy.special.{name}, its slope"] = "a rule that second derivatives alone reach"
LEFT_OUT["jax.scipy.special.wofz"] = "of complex numbers"

# ---- jax.experimental

TIMES = np.array([0.0, 0.3, 0.7])


def decay(odeint):
    return lambda y, w: odeint(lambda y, t, w: -w * y, y, jnp.asarray(TIMES, y.dtype), w)


case(
    "jax.experimental.ode.odeint",
    uniform(0.5, 1.5, (2,), (2,)),
    decay,
    note=APPROXIMATED,
)
PALLAS = "jax.experimental.pallas.ops"
case(
    f"{PALLAS}.tpu.flash_attention.mha_reference",
    normal((1, 1, 3, 2), (1, 1, 3, 2), (1, 1, 3, 2)),
    lambda attention: lambda q, k, v: attention(q, k, v, None),
)
NOTHING_HIDDEN = np.ones((3, 3), bool)
case(
    f"{PALLAS}.tpu.splash_attention.splash_attention_kernel.attention_reference_custom",
    normal((3, 2), (3, 2), (3, 2)),
    lambda attention: lambda q, k, v: attention(NOTHING_HIDDEN, q, k, v, None),
)


def in_kernel_of(name, *more):
    """The kernel, interpreted, and beside it the same in jax.numpy."""
    return {
        "call": lambda kernel: lambda *args: kernel(*args, *more, interpret=True),
        "ref": lambda *args: found(f"{PALLAS}.gpu.{name}")(*args, *more),
    }


ROWS = normal((1, 2, 16), (16,), (16,))
HEADS = normal((1, 16, 1, 16), (1, 16, 1, 16), (1, 16, 1, 16))
case(f"{PALLAS}.gpu.layer_norm.layer_norm", ROWS, **in_kernel_of("layer_norm.layer_norm_reference"))
case(f"{PALLAS}.gpu.rms_norm.rms_norm", ROWS, **in_kernel_of("rms_norm.rms_norm_reference"))
case(f"{PALLAS}.gpu.attention.mha", HEADS, **in_kernel_of("attention.mha_reference", None))
for name in ("flash_attention.flash_attention", "megablox.ops.gmm"):
    LEFT_OUT[f"{PALLAS}.tpu.{name}"] = "a kernel for a TPU"
LEFT_OUT[f"{PALLAS}.tpu.splash_attention.make_splash_mha"] = "a kernel for a TPU"
LEFT_OUT[f"{PALLAS}.gpu.attention_mgpu.attention"] = "a kernel for a GPU"
LEFT_OUT["jax.experimental.rnn.lstm"] = "cuDNN's, for a GPU"
LEFT_OUT["jax.nn.dot_product_attention"] = "cuDNN's, for a GPU; without it there is no rule"
LEFT_OUT["jax.nn.scaled_dot_general"] = "cuDNN's, for a GPU; without it there is no rule"
LEFT_OUT["jax.experimental.jax2tf.call_tf"] = "needs TensorFlow"

# ---- optax

case(
    "optax.scale_gradient",
    VECTOR,
    lambda scale_gradient: lambda x: scale_gradient(x, 0.5),
    ref=lambda x: (x + jax.lax.stop_gradient(x)) / 2,
)
case(
    "optax.losses.safe_softmax_cross_entropy",
    lambda rng: (*MATRIX(rng), *uniform(0.1, 0.6, (4, 3))(rng)),
)
case("optax.projections.projection_simplex", VECTOR)

# ---- flax

FP8 = "flax.linen.fp8_ops"
OF_COTANGENT = "by design: the cotangent is rounded to float8 and clipped"


def scaled(operation):
    """At scale 1, and nothing larger was seen before."""
    return lambda x: operation(
        jnp.float32, jnp.float8_e4m3fn, x, jnp.ones(1, jnp.float32), jnp.zeros(4, jnp.float32)
    )


def straight_through(x):
    """Of what clips at 448, float8's largest."""
    clipped = jnp.clip(x, -448, 448)
    return x + jax.lax.stop_gradient(clipped - x)


def through_the_input(operation):
    return lambda x: scaled(operation)(x)[0].astype(x.dtype)


def product_in_float8(dot_general):
    def product(a, b):
        meta = {f"{of}_scale": jnp.ones(1, jnp.float32) for of in ("lhs", "rhs", "grad")}
        meta |= {f"{of}_amax_history": jnp.zeros(4, jnp.float32) for of in ("lhs", "rhs", "grad")}
        return dot_general(a, b, PRODUCT, preferred_element_type=jnp.float32, **meta)

    return product


PRODUCT = (((1,), (0,)), ((), ()))
case(f"{FP8}.in_qdq", VECTOR, scaled, ref=straight_through)
case(f"{FP8}.out_qdq", VECTOR, scaled, note=OF_COTANGENT)
case(
    f"{FP8}.in_q",
    VECTOR,
    through_the_input,
    ref=lambda x: jax.lax.stop_gradient(straight_through(x)),
)
case(
    f"{FP8}.out_dq",
    VECTOR,
    lambda out_dq: lambda x: out_dq(jnp.float32, jnp.ones(1), jnp.ones(1), x),
)
case(
    f"{FP8}.fp8_scaled_dot_general",
    normal((4, 3), (3, 2)),
    product_in_float8,
    ref=lambda a, b: straight_through(a) @ straight_through(b),
    note=OF_COTANGENT,
)
case(
    f"{FP8}.dot_general_with_precision",
    normal((4, 3), (3, 2)),
    lambda dot_general: lambda a, b: dot_general(a, b, PRODUCT),
)


def dense_with_its_own_pullback(custom_vjp):
    import flax.linen as nn

    def forward(module, x):
        return nn.vjp(lambda module, x: module(x), module, x)

    class Layer(nn.Module):
        @nn.compact
        def __call__(self, x):
            dense = custom_vjp(
                lambda module, x: module(x),
                forward_fn=forward,
                backward_fn=lambda pullback, dy: pullback(dy),
            )
            return dense(nn.Dense(2), x)

    layer = Layer()
    params = layer.init(jax.random.key(0), jnp.ones((4, 3)))
    return lambda x: layer.apply(params, x)


def sine_by_custom_vjp(custom_vjp):
    f = custom_vjp(lambda x: jnp.sin(x), graph_updates=False)
    f.defvjp(lambda x: (jnp.sin(x), jnp.cos(x)), lambda slope, dy: (slope * dy,))
    return f


def product_of_a_pair(pair):
    return jnp.sin(pair.x[...]) * pair.y[...]


def product_in_a_module(custom_vjp, *, calls_itself=False):
    """calls_itself: the forward calls the function that has the rule, as Flax's example does."""
    from flax import nnx

    class Pair(nnx.Module):
        def __init__(self, x, y):
            self.x, self.y = nnx.Param(x), nnx.Param(y)

    product = custom_vjp(product_of_a_pair, graph_updates=True)

    def forward(pair):
        value = product(pair) if calls_itself else product_of_a_pair(pair)
        return value, (pair.x[...], pair.y[...])

    def backward(residuals, cotangents):
        (update,), dz = cotangents
        x, y = residuals
        gradient = jax.tree.map(itself, update)
        gradient["x"][...] = jnp.cos(x) * y * dz
        gradient["y"][...] = jnp.sin(x) * dz
        return (gradient,)

    product.defvjp(forward, backward)
    return lambda x, y: product(Pair(x, y))


case("flax.linen.custom_vjp", MATRIX, dense_with_its_own_pullback)
case("flax.nnx.custom_vjp of arrays", VECTOR, sine_by_custom_vjp)
case("flax.nnx.custom_vjp of a module", TWO_VECTORS, product_in_a_module)
case(
    "flax.nnx.custom_vjp of a module, called in the forward",
    TWO_VECTORS,
    functools.partial(product_in_a_module, calls_itself=True),
    note="its second derivative is 0: right at first order alone",
)
LEFT_OUT["flax.nnx.Variable"] = "a place that is read and written, not a function"

# ---- equinox


def sine_by_filter_custom_vjp(filter_custom_vjp):
    f = filter_custom_vjp(lambda x: jnp.sin(x))
    f.def_fwd(lambda perturbed, x: (jnp.sin(x), jnp.cos(x)))
    f.def_bwd(lambda slope, dy, perturbed, x: slope * dy)
    return f


def sine_by_filter_custom_jvp(filter_custom_jvp):
    f = filter_custom_jvp(lambda x: jnp.sin(x))
    f.def_jvp(lambda primals, tangents: (jnp.sin(primals[0]), jnp.cos(primals[0]) * tangents[0]))
    return f


def logistic_map(while_loop):
    """x ← w x (1 - x), four times."""

    def turns(x, w):
        def turn(state):
            i, x = state
            return i + 1, w * x * (1 - x)

        start = (0, x)
        return while_loop(
            lambda state: state[0] < 4, turn, start, max_steps=8, kind="checkpointed"
        )[1]

    return turns


def logistic_map_written_out(x, w):
    for _ in range(4):
        x = w * x * (1 - x)
    return x


case("equinox.filter_custom_vjp", VECTOR, sine_by_filter_custom_vjp)
case("equinox.filter_custom_jvp", VECTOR, sine_by_filter_custom_jvp)
case(
    "equinox.error_if",
    VECTOR,
    lambda error_if: lambda x: error_if(jnp.sin(x), jnp.sum(x) > 1e9, "too large"),
)
case(
    "equinox.debug.backward_nan",
    VECTOR,
    lambda backward_nan: lambda x: backward_nan(jnp.sin(x), terminate=False),
)
case(
    "equinox.internal.nondifferentiable",
    VECTOR,
    lambda constant: lambda x: x * constant(jax.lax.stop_gradient(x)),
)
case(
    "equinox.internal.while_loop",
    uniform(0.2, 0.8, (3,), (3,)),
    logistic_map,
    ref=logistic_map_written_out,
)
ONE_STEP = "the next float is another real number, by as little as a rounding"
case("equinox.internal.nextafter", VECTOR, ref=lambda x: x, note=ONE_STEP)
case("equinox.internal.prevbefore", VECTOR, ref=lambda x: x, note=ONE_STEP)
