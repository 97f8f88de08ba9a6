"""What a jaxpr holds: its constants, and a key to everything that it computes with."""

import hashlib
import math
from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxnet._graph.forms import body_of_rule, kind_of_rule
from jaxnet._graph.jaxprs import Equation, core, is_jaxpr, is_literal, plain
from jaxnet._graph.rewrite import Known, are_the_same
from jaxnet._graph.walk import equations, inner_jaxprs


def constants(jaxpr: Any) -> Iterator[Any]:
    """Every array that the jaxpr, or one inside it, has as a constant."""
    yield from getattr(jaxpr, "consts", ())
    for e, _ in equations(jaxpr):
        for inner in inner_jaxprs(e):
            yield from getattr(inner, "consts", ())


def numpy_constants(jaxpr: Any) -> Iterator[Any]:
    """Every NumPy array with axes that the traced function took from outside."""
    yield from (c for c in constants(jaxpr) if isinstance(c, np.ndarray))


def numpy_numbers(jaxpr: Any) -> Iterator[Any]:
    """NumPy arrays without axes: literals, of which JAX's own functions make some too."""
    literals = (v for e, _ in equations(jaxpr) for v in e.invars if is_literal(v))
    strong = (v.val for v in literals if not getattr(v.aval, "weak_type", False))
    yield from (value for value in strong if isinstance(value, np.ndarray))


def named_numbers(jaxpr: Any) -> list[float]:
    """Those that stand in the code, or that it took from outside, each once; integers last."""
    literals = [v for e, _ in equations(jaxpr) for v in e.invars if is_literal(v)]
    scalars = [x for x in (*(v.val for v in literals), *constants(jaxpr)) if np.ndim(x) == 0]
    known = [x for x in scalars if not isinstance(x, jax.core.Tracer)]
    floating = [x for x in known if jnp.issubdtype(jnp.result_type(x), jnp.floating)]
    # A bound of a clip may be written as an integer; an index of JAX's own is no such number.
    of_python = (v for v in literals if getattr(v.aval, "weak_type", False))
    integers = [v.val for v in of_python if jnp.issubdtype(v.aval.dtype, jnp.integer)]
    return list(dict.fromkeys(map(float, [*floating, *integers])))


def compared_integers(jaxpr: Any) -> list[tuple[int, int]]:
    """Those in the code that arrays of integers are asked to equal, with the sizes of these."""
    asking = (e for e, _ in equations(jaxpr) if e.primitive.name in ("eq", "ne"))
    pairs = (pair for e in asking for pair in (e.invars, e.invars[::-1]))
    return [
        (int(literal.val), math.prod(array.aval.shape))
        for array, literal in pairs
        if is_literal(literal)
        and np.ndim(literal.val) == 0
        and jnp.issubdtype(array.aval.dtype, jnp.integer)
    ]


def with_own_constants(value: Any, known: Known) -> Any:
    """value (a jaxpr, or a parameter of an equation) with copies of NumPy's arrays in it.

    JAX gives a NumPy array the same canonical copy as long as anything holds that copy: what is
    traced in x64 mode then meets a float32 copy of a float64 array. A jaxpr with constants of its
    own holds nothing.
    """
    if isinstance(value, tuple | list):
        items = [with_own_constants(v, known) for v in value]
        if are_the_same(items, value):
            return value
        return type(value)(*items) if hasattr(value, "_fields") else type(value)(items)
    if not is_jaxpr(value):
        return value
    if value not in known:
        known[value] = _with_own_constants(value, known)
    return known[value]


def _with_own_constants(jaxpr: Any, known: Known) -> Any:
    inner = plain(jaxpr)
    eqns = [_reading_own_literals(e, known) for e in inner.eqns]
    outvars = [_own_literal(v) for v in inner.outvars]
    consts = [_own(c) for c in getattr(jaxpr, "consts", ())]
    same_equations = are_the_same(eqns, inner.eqns) and are_the_same(outvars, inner.outvars)
    if same_equations and are_the_same(consts, getattr(jaxpr, "consts", ())):
        return jaxpr
    new = inner if same_equations else inner.replace(eqns=eqns, outvars=outvars)
    return core.ClosedJaxpr(new, consts) if hasattr(jaxpr, "consts") else new


def _reading_own_literals(e: Equation, known: Known) -> Equation:
    params = {k: with_own_constants(v, known) for k, v in e.params.items()}
    invars = [_own_literal(v) for v in e.invars]
    if all(params[k] is v for k, v in e.params.items()) and are_the_same(invars, e.invars):
        return e
    return e.replace(params=params, invars=invars)


def _own_literal(v: Any) -> Any:
    if not is_literal(v) or _own(v.val) is v.val:
        return v
    return core.Literal(_own(v.val), v.aval)


def _own(constant: Any) -> Any:
    """A copy of a NumPy array, which keeps what JAX has noted on it."""
    return constant.copy() if isinstance(constant, np.ndarray) else constant


class Same:
    """A key that is equal to that of the same object alone; the object lives as long as its key."""

    def __init__(self, value: Any) -> None:
        self.value = value

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Same) and self.value is other.value

    def __hash__(self) -> int:
        return id(self.value)


def identity(jaxpr: Any, objects: bool = True) -> Any:
    """A key: jaxprs with equal keys compute the same when they are run.

    It holds their equations, every number in them, and every object that they call or ask: a host
    callback that holds another array is another object, and so is one that was made anew. Of a
    custom rule it holds the body, which is what runs where nothing more is differentiated.
    objects: False leaves those objects out, for comparing two traces of one function.
    """
    inner = plain(jaxpr)
    numbers: dict[Any, tuple[int, str]] = {}

    def number_of(v: Any) -> Any:
        if is_literal(v):
            return _key_of(v.val, objects), str(v.aval)
        if v not in numbers:
            numbers[v] = len(numbers), str(v.aval)
        return numbers[v]

    given = [number_of(v) for v in (*getattr(inner, "constvars", ()), *inner.invars)]
    lines = [
        (
            e.primitive,
            _key_of(e.ctx, objects),  # how random bits are made, where it runs
            _key_of(_what_runs(e), objects),
            tuple(map(number_of, e.invars)),
            tuple(map(number_of, e.outvars)),
        )
        for e in inner.eqns
    ]
    returned = map(number_of, inner.outvars)
    constants_here = _key_of(tuple(getattr(jaxpr, "consts", ())), objects)
    return constants_here, tuple(given), tuple(lines), tuple(returned)


def _what_runs(e: Equation) -> Any:
    """What the parameters of an equation mean when it is run."""
    if kind_of_rule(e) is not None:
        return body_of_rule(e)
    return e.params


def _key_of(value: Any, objects: bool) -> Any:
    """Of a parameter, or a constant: what is data by its contents, anything else by itself."""
    if is_jaxpr(value):
        return identity(value, objects)
    if isinstance(value, tuple | list):
        return type(value), tuple(_key_of(v, objects) for v in value)
    if isinstance(value, dict):
        return tuple((k, _key_of(v, objects)) for k, v in value.items())
    if isinstance(value, _NUMBERS_AND_TEXT):
        return type(value), repr(value)  # 1, 1.0 and True are equal, and so are 0.0 and -0.0
    is_tracer = isinstance(value, jax.core.Tracer)  # left from another trace: it has no contents
    if isinstance(value, jax.Array | np.ndarray | np.generic) and not is_tracer:
        return _key_of_array(value)
    return _key_of_object(value) if objects else type(value)


_NUMBERS_AND_TEXT = (type(None), bool, int, float, complex, str, bytes)


def _key_of_array(array: Any) -> Any:
    is_key = jnp.issubdtype(array.dtype, jax.dtypes.extended)
    data = np.asarray(jax.random.key_data(array) if is_key else array)
    return str(array.dtype), data.shape, hashlib.sha256(data.tobytes()).digest()


def _key_of_object(value: Any) -> Any:
    """The object, as it compares itself; where it cannot be a key, it is like no other."""
    try:
        hash(value)
    except TypeError:
        return Same(value)
    return value
