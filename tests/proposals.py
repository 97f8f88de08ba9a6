"""What may stand in the place of one equation: functions that are not it, and others that are.

A proposal gives functions of everything that the equation reads. made says which equation made a
variable: a rewriting of two equations reads what the first of them read.
"""

import itertools
from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from jaxnet import _graph

MUTATIONS: dict[str, Any] = {}
REWRITINGS: dict[str, Any] = {}


def _registers(table: dict[str, Any], name: str) -> Callable[[Any], Any]:
    def register(propose: Any) -> Any:
        table[name] = lambda e, made: list(propose(e, made))
        return propose

    return register


def mutation(name: str) -> Callable[[Any], Any]:
    return _registers(MUTATIONS, name)


def rewriting(name: str) -> Callable[[Any], Any]:
    return _registers(REWRITINGS, name)


def bound(e: Any, **params: Any) -> Callable[..., Any]:
    """The equation as a function of what it reads, with other parameters."""

    def of_inputs(*x: Any) -> Any:
        made = e.primitive.bind(*x, **{**e.params, **params})
        return made[0] if e.primitive.multiple_results else made

    return of_inputs


def is_floating(v: Any) -> bool:
    return bool(jnp.issubdtype(v.aval.dtype, jnp.floating))


def after(e: Any, function: Callable[[Any], Any]) -> Callable[..., Any]:
    same = bound(e)
    return lambda *x: function(same(*x))


def before(e: Any, i: int, function: Callable[[Any], Any]) -> Callable[..., Any]:
    """The equation, of another i-th input."""
    same = bound(e)
    return lambda *x: same(*x[:i], function(x[i]), *x[i + 1 :])


def float_inputs(e: Any) -> list[int]:
    return [i for i, v in enumerate(e.invars) if is_floating(v)]


def long_axes(v: Any) -> list[int]:
    return [i for i, n in enumerate(v.aval.shape) if n > 1]


# ---- mutations


@mutation("a sign")
def _(e: Any, made: Any) -> Iterator[Any]:
    if is_floating(e.outvars[0]):
        yield after(e, lambda y: -y)
        yield from (before(e, i, lambda x: -x) for i in float_inputs(e))


@mutation("a factor")
def _(e: Any, made: Any) -> Iterator[Any]:
    if is_floating(e.outvars[0]):
        yield after(e, lambda y: 2 * y)
        literals = [i for i in float_inputs(e) if _graph.is_literal(e.invars[i])]
        yield from (before(e, i, lambda x: 2 * x) for i in literals)


@mutation("1 + 1e-6")
def _(e: Any, made: Any) -> Iterator[Any]:
    if is_floating(e.outvars[0]):
        yield after(e, lambda y: (1 + 1e-6) * y)
        literals = [i for i in float_inputs(e) if _graph.is_literal(e.invars[i])]
        yield from (before(e, i, lambda x: (1 + 1e-6) * x) for i in literals)


@mutation("an index")
def _(e: Any, made: Any) -> Iterator[Any]:
    for axis in long_axes(e.outvars[0]):
        yield after(e, lambda y, axis=axis: jnp.roll(y, 1, axis))
        yield after(e, lambda y, axis=axis: jnp.flip(y, axis))
    if e.primitive.name in ("gather", "scatter-add", "dynamic_slice"):
        yield before(e, 1, lambda index: index + 1)


def _but_the_last(x: Any, axis: int) -> Any:
    """x with zeros for its last row along the axis."""
    return x.at[(slice(None),) * axis + (-1,)].set(0)


def _summed(e: Any) -> tuple[int, ...]:
    """The axes of the first input over which the equation adds."""
    name = e.primitive.name
    if name == "dot_general":
        return tuple(e.params["dimension_numbers"][0][0])
    return {"reduce_sum": e.params.get("axes"), "cumsum": (e.params.get("axis"),)}.get(name, ())


@mutation("a dropped term")
def _(e: Any, made: Any) -> Iterator[Any]:
    shape = e.outvars[0].aval.shape
    if e.primitive.name in ("add", "sub", "add_any", "mul", "div"):
        alone = [i for i in (0, 1) if e.invars[i].aval.shape == shape]
        yield from ((lambda *x, i=i: x[i]) for i in alone)
    yield from (before(e, 0, lambda x, i=i: _but_the_last(x, i)) for i in _summed(e))


@mutation("a wrong axis")
def _(e: Any, made: Any) -> Iterator[Any]:
    name = e.primitive.name
    if is_floating(e.outvars[0]):
        shape = e.outvars[0].aval.shape
        pairs = itertools.combinations(range(len(shape)), 2)
        for i, j in [(i, j) for i, j in pairs if shape[i] == shape[j] > 1]:
            yield after(e, lambda y, i=i, j=j: jnp.swapaxes(y, i, j))
    if name.startswith("reduce_") and len(e.params.get("axes", ())) == 1:
        shape = e.invars[0].aval.shape
        others = set(range(len(shape))) - set(e.params["axes"])
        fitting = [i for i in others if shape[i] == shape[e.params["axes"][0]] > 1]
        yield from (bound(e, axes=(i,)) for i in fitting)


OTHERS: dict[str, Any] = {
    "exp": jnp.expm1,
    "expm1": jnp.exp,
    "log": jnp.log1p,
    "log1p": lambda x: jnp.log1p(2 * x),
    "tanh": jnp.sin,
    "logistic": jnp.tanh,
    "sin": jnp.cos,
    "cos": jnp.sin,
    "sqrt": jnp.cbrt,
    "rsqrt": jnp.sqrt,
    "erf": jnp.tanh,
    "mul": lambda a, b: a + b,
    "add": lambda a, b: a * b,
    "add_any": lambda a, b: a * b,
    "sub": lambda a, b: a + b,
    "div": lambda a, b: a * b,
    "neg": jnp.abs,
    "abs": lambda x: x,
    "sign": lambda x: x,
    "square": jnp.abs,
    "max": jnp.minimum,
    "min": jnp.maximum,
    "lt": lambda a, b: a > b,
    "gt": lambda a, b: a < b,
    "ge": lambda a, b: a < b,
    "le": lambda a, b: a > b,
    "eq": lambda a, b: a != b,
    "ne": lambda a, b: a == b,
    "and": lambda a, b: a | b,
    "or": lambda a, b: a & b,
}


OTHERS_BY_PARAMETERS: dict[str, Any] = {  # of the equation -> such functions
    "integer_pow": lambda e: [lambda x: lax.integer_pow(x, e.params["y"] + 1)],
    "select_n": lambda e: [lambda which, *cases: bound(e)(which, *cases[::-1])],
    "reduce_sum": lambda e: [
        lambda x: jnp.max(x, e.params["axes"]),
        lambda x: jnp.mean(x, e.params["axes"]),
    ],
    "reduce_max": lambda e: [lambda x: jnp.min(x, e.params["axes"])],
    "dot_general": lambda e: [lambda a, b: bound(e)(abs(a), b)],
}


@mutation("another function")
def _(e: Any, made: Any) -> Iterator[Any]:
    name = e.primitive.name
    if name in OTHERS:
        yield OTHERS[name]
    if name in OTHERS_BY_PARAMETERS:
        yield from OTHERS_BY_PARAMETERS[name](e)


# ---- rewritings of one equation

EQUAL: dict[str, dict[str, Any]] = {  # primitive -> how it is written -> so
    "add": {
        "a sum commuted": lambda a, b: b + a,
        "a sum as a difference": lambda a, b: a - (-b),
    },
    "add_any": {
        "a sum commuted": lambda a, b: b + a,
        "a sum as a difference": lambda a, b: a - (-b),
    },
    "sub": {
        "a difference as a sum": lambda a, b: a + (-b),
        "a difference the other way": lambda a, b: -(b - a),
    },
    "mul": {
        "a product commuted": lambda a, b: b * a,
        "a product of doubles": lambda a, b: (2 * a) * (b + b) / 4,
    },
    "div": {
        "a quotient as a product": lambda a, b: a * (1 / b),
        "a quotient of powers": lambda a, b: a * b**3 * b**-4,
    },
    "neg": {"a negative as a difference": lambda x: 0 - x},
    "exp": {
        "exp as a square": lambda x: jnp.exp(x / 2) ** 2,
        "exp as a reciprocal": lambda x: 1 / jnp.exp(-x),
        "exp shifted": lambda x: jnp.exp(x - 2) * jnp.exp(2.0),
        "exp by expm1": lambda x: jnp.expm1(x) + 1,
        "exp by sinh and cosh": lambda x: jnp.sinh(x) + jnp.cosh(x),
    },
    "expm1": {"expm1 by exp": lambda x: jnp.exp(x) - 1},
    "tanh": {
        "tanh by logistic": lambda x: 2 * jax.nn.sigmoid(2 * x) - 1,
        "tanh by expm1": lambda x: jnp.expm1(2 * x) / (jnp.expm1(2 * x) + 2),
        "tanh by its stable form": lambda x: (
            jnp.sign(x) * (1 - 2 * jnp.exp(-2 * abs(x)) / (1 + jnp.exp(-2 * abs(x))))
        ),
    },
    "logistic": {
        "logistic by tanh": lambda x: (1 + jnp.tanh(x / 2)) / 2,
        "logistic by exp": lambda x: jnp.exp(x) / (1 + jnp.exp(x)),
        "logistic by its stable form": lambda x: (
            jnp.where(x < 0, jnp.exp(-abs(x)), 1) / (1 + jnp.exp(-abs(x)))
        ),
    },
    "log": {
        "log of the reciprocal": lambda x: -jnp.log(1 / x),
        "log of a square": lambda x: jnp.log(x**2) / 2,
        "log of a multiple": lambda x: jnp.log(3 * x) - jnp.log(3.0),
        "log by log1p": lambda x: jnp.log1p(x - 1),
    },
    "log1p": {"log1p by log": lambda x: jnp.log(1 + x)},
    "sqrt": {
        "sqrt by rsqrt": lambda x: x * lax.rsqrt(x),
        "sqrt by log": lambda x: jnp.exp(jnp.log(x) / 2),
    },
    "rsqrt": {
        "rsqrt by sqrt": lambda x: 1 / jnp.sqrt(x),
        "rsqrt of the reciprocal": lambda x: jnp.sqrt(1 / x),
    },
    "sin": {"sin of the half": lambda x: 2 * jnp.sin(x / 2) * jnp.cos(x / 2)},
    "cos": {"cos of the half": lambda x: 1 - 2 * jnp.sin(x / 2) ** 2},
    "erf": {
        "erf is odd": lambda x: -jax.scipy.special.erf(-x),
        "erf by erfc": lambda x: 1 - jax.scipy.special.erfc(x),
    },
    "square": {"a square as a product": lambda x: x * x},
    "max": {
        "max by where": lambda a, b: jnp.where(a > b, a, b),
        "max by the distance": lambda a, b: (a + b + abs(a - b)) / 2,
        "max by min": lambda a, b: -jnp.minimum(-a, -b),
    },
    "min": {"min by max": lambda a, b: -jnp.maximum(-a, -b)},
    "abs": {
        "abs by max": lambda x: jnp.maximum(x, -x),
        "abs by sign": lambda x: x * jnp.sign(x),
        "abs by sqrt": lambda x: jnp.sqrt(x * x),
    },
}


def _of_one(form: str) -> Any:
    """The proposals of a form in EQUAL."""
    functions = {name: forms[form] for name, forms in EQUAL.items() if form in forms}

    def propose(e: Any, made: Any) -> list[Any]:
        name = e.primitive.name
        return [functions[name]] if name in functions and is_floating(e.outvars[0]) else []

    return propose


for _form in dict.fromkeys(form for forms in EQUAL.values() for form in forms):
    rewriting(_form)(_of_one(_form))


@rewriting("a power by products")
def _(e: Any, made: Any) -> Iterator[Any]:
    if e.primitive.name == "integer_pow":
        exponent = e.params["y"]

        def product(x: Any) -> Any:
            result = x
            for _ in range(abs(exponent) - 1):
                result = result * x
            return result if exponent > 0 else 1 / result

        yield product


def _reduced(e: Any) -> tuple[int, ...]:
    """The axes of a sum that is long enough to be taken apart."""
    is_sum = e.primitive.name == "reduce_sum"
    return tuple(e.params["axes"]) if is_sum and e.invars[0].aval.size else ()


@rewriting("a sum in the other order")
def _(e: Any, made: Any) -> Iterator[Any]:
    axes = _reduced(e)
    if axes:
        yield lambda x: jnp.sum(jnp.flip(x, axes), axes)


@rewriting("a sum in two steps")
def _(e: Any, made: Any) -> Iterator[Any]:
    axes = _reduced(e)
    if axes:
        yield lambda x: sum(
            jnp.sum(part, axes) for part in jnp.array_split(x, 2, axes[0]) if part.size
        )


@rewriting("a sum by cumsum")
def _(e: Any, made: Any) -> Iterator[Any]:
    axes = _reduced(e)
    if len(axes) == 1:
        yield lambda x: jnp.take(jnp.cumsum(x, axes[0]), -1, axes[0])


@rewriting("a product of matrices in two parts")
def _(e: Any, made: Any) -> Iterator[Any]:
    if e.primitive.name == "dot_general":
        (of_a, of_b), _ = e.params["dimension_numbers"]
        same, size = bound(e), e.invars[0].aval.shape[of_a[0]] if of_a else 0
        half = size // 2

        def parted(a: Any, b: Any) -> Any:
            parts = [(0, half), (half, size)]
            return sum(
                same(
                    lax.slice_in_dim(a, low, high, axis=of_a[0]),
                    lax.slice_in_dim(b, low, high, axis=of_b[0]),
                )
                for low, high in parts
            )

        if half:
            yield parted


@rewriting("a product of matrices as a sum of products")
def _(e: Any, made: Any) -> Iterator[Any]:
    if e.primitive.name == "dot_general":
        (of_a, of_b), (batch_a, batch_b) = e.params["dimension_numbers"]

        def summed(a: Any, b: Any) -> Any:
            """Both as [batch, rows of a, rows of b, summed]."""
            a = _axes_first(a, batch_a, of_a)
            b = _axes_first(b, batch_b, of_b)
            product = jnp.sum(a[:, :, None] * b[:, None], -1)
            return product.reshape(e.outvars[0].aval.shape)

        yield summed


def _axes_first(x: Any, batch: Any, summed: Any) -> Any:
    """[batch, rest, summed]"""
    rest = [i for i in range(x.ndim) if i not in (*batch, *summed)]
    sizes = [int(np.prod([x.shape[i] for i in axes])) for axes in (batch, rest, summed)]
    return x.transpose([*batch, *rest, *summed]).reshape(sizes)


@rewriting("a choice as arithmetic")
def _(e: Any, made: Any) -> Iterator[Any]:
    is_choice = e.primitive.name == "select_n" and len(e.invars) == 3
    if is_choice and is_floating(e.outvars[0]):
        yield lambda which, a, b: which * b + (1 - which) * a


@rewriting("to and fro")
def _(e: Any, made: Any) -> Iterator[Any]:
    if e.primitive.name in ("transpose", "broadcast_in_dim", "concatenate", "reshape"):
        yield after(e, lambda y: jnp.flip(jnp.roll(jnp.roll(jnp.flip(y), 1), -1)))


@rewriting("a number times a half and two")
def _(e: Any, made: Any) -> Iterator[Any]:
    if is_floating(e.outvars[0]):
        yield after(e, lambda y: 0.5 * y + y - y / 2)


# ---- rewritings of two equations


def _pairs(e: Any, made: Any, name: str, *inner: str) -> Iterator[tuple[int, Any]]:
    """Where e is this primitive: each input that one of the others made, and what that read."""
    if e.primitive.name == name and is_floating(e.outvars[0]):
        for i, v in enumerate(e.invars):
            maker = None if _graph.is_literal(v) else made.get(v)
            if maker is not None and maker.primitive.name in inner:
                yield i, maker


@rewriting("a product multiplied out")
def _(e: Any, made: Any) -> Iterator[Any]:
    for i, maker in _pairs(e, made, "mul", "add", "sub"):
        sign = 1 if maker.primitive.name == "add" else -1
        reads = (e.invars[1 - i], *maker.invars)
        yield (lambda a, b, c, sign=sign: a * b + sign * (a * c)), reads


@rewriting("a product of three the other way")
def _(e: Any, made: Any) -> Iterator[Any]:
    for i, maker in _pairs(e, made, "mul", "mul"):
        yield (lambda a, b, c: (a * b) * c), (e.invars[1 - i], *maker.invars)


@rewriting("a sum of three the other way")
def _(e: Any, made: Any) -> Iterator[Any]:
    for i, maker in _pairs(e, made, "add", "add", "sub"):
        sign = 1 if maker.primitive.name == "add" else -1
        reads = (e.invars[1 - i], *maker.invars)
        yield (lambda a, b, c, sign=sign: (a + b) + sign * c), reads


@rewriting("a quotient of a product")
def _(e: Any, made: Any) -> Iterator[Any]:
    for i, maker in _pairs(e, made, "div", "mul"):
        if i == 0:
            yield (lambda c, a, b: a * (b / c)), (e.invars[1], *maker.invars)


@rewriting("a difference of products factored")
def _(e: Any, made: Any) -> Iterator[Any]:
    """a - b c as b (a/b - c)."""
    for i, maker in _pairs(e, made, "sub", "mul"):
        if i == 1:
            yield (lambda a, b, c: b * (a / b - c)), (e.invars[0], *maker.invars)
