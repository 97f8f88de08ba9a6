"""A jaxpr evaluated in numbers without rounding: the walk, and what it meets on its way.

A value is one of three: Numbers where the graph has floating point; a NumPy array where it has
integers or booleans, which are as they are at the point that decides branches; a key of JAX.
"""

import math
import sys
import sysconfig
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np

from jaxnet import _graph
from jaxnet.proving.field import differ
from jaxnet.proving.literals import meaning
from jaxnet.proving.numbers import Numbers
from jaxnet.proving.points import Points

Value: TypeAlias = Any
Handler: TypeAlias = Callable[..., Any]  # (walk, equation, *inputs) -> its output, or a list


class Unprovable(Exception):
    """Something stands in the way of a proof: what it is."""


@dataclass
class Meter:
    """How much is computed, so that nobody waits for a proof that takes minutes."""

    most: float
    spent: float = 0.0

    def add(self, work: float) -> None:
        self.spent += work
        if self.spent > self.most:
            raise Unprovable("it takes too long: try fewer rows, or smaller arrays")


UNIT = 2.0**-51  # of noise
EQUATION = 3000  # what one takes, however small it is, in numbers
POWER = 20  # a power modulo p, in products: a quotient, an exponential and a root are such
POWERS = {"div", "exp", "log", "sqrt", "rsqrt", "tanh", "logistic", "pow", "cbrt", "sin", "cos",
          "expm1", "log1p", "exp2", "sinh", "cosh", "tan"}  # fmt: skip


@dataclass
class Walk:
    """One evaluation at the same points; branches are decided once for all."""

    points: Points
    meter: Meter
    edges: dict[str, None] = field(default_factory=dict)  # branches at whose edge the point lies
    sides: dict[str, dict[str, bool]] = field(default_factory=dict)  # branch -> side -> met?
    unknown: dict[str, None] = field(default_factory=dict)  # functions of which nothing is known
    bits: int = 64  # of the narrowest float that a function was computed in
    bodies: dict[int, Any] = field(default_factory=dict)  # of equations, by their id
    noise: np.random.Generator | None = None  # to see what rounding does: every float has some

    def run(self, jaxpr: Any, inputs: Sequence[Value]) -> list[Value]:
        inner = _graph.plain(jaxpr)
        known: dict[Any, Value] = {}
        constants = [self.value_of(c) for c in getattr(jaxpr, "consts", ())]
        variables = [*getattr(inner, "constvars", ()), *inner.invars]
        known.update(zip(variables, [*constants, *inputs], strict=True))

        def read(v: Any) -> Value:
            return self.value_of(v.val, v.aval) if _graph.is_literal(v) else known[v]

        for e in inner.eqns:
            outputs = self.outputs(e, [read(v) for v in e.invars])
            known.update(zip(e.outvars, outputs, strict=True))
        return [read(v) for v in inner.outvars]

    def outputs(self, e: Any, inputs: list[Value]) -> list[Value]:
        called = _through_a_call(self, e, inputs)
        if called is not None:
            return called
        name = e.primitive.name
        _require_real_arrays(e)
        if not e.outvars:  # a callback, which prints
            return []
        self.meter.add(_work(e, self.points.count))
        if not any(isinstance(x, Numbers) for x in inputs):
            return [self.value_of(y) for y in self.concrete(e, inputs)]
        handler: Handler = ARITHMETIC.get(name, unknown)
        with np.errstate(all="ignore"):
            result = handler(self, e, *inputs)
        results = result if isinstance(result, list) else [result]
        return [self.noisy(x) for x in results] if name in ROUNDING else results

    def noisy(self, x: Value) -> Value:
        if self.noise is None or not isinstance(x, Numbers):
            return x
        noise = 1 + UNIT * self.noise.uniform(-1, 1, x.shape)
        return replace(x, f=np.where(_are_of_few_bits(x.f), x.f, x.f * noise))

    def value_of(self, x: Any, aval: Any = None) -> Value:
        """An array, or a literal of a jaxpr, as a value."""
        dtype = getattr(x, "dtype", None) if aval is None else aval.dtype
        if dtype is not None and jnp.issubdtype(dtype, jax.dtypes.extended):
            return x
        array = np.asarray(x) if dtype is None else np.asarray(x).astype(dtype)
        if jnp.issubdtype(array.dtype, jnp.complexfloating):
            raise Unprovable("complex numbers")
        if jnp.issubdtype(array.dtype, jnp.floating):
            numbers = self.points.literals(array)
            if _was_rounded(array):
                self.bits = min(self.bits, 32)
            return self.noisy(numbers)
        return array

    def concrete(self, e: Any, inputs: Sequence[Any]) -> list[Any]:
        """An equation of integers, computed as it is."""
        quick = QUICK.get(e.primitive.name)
        arrays = all(isinstance(x, np.ndarray | np.generic) for x in inputs)
        if quick is not None and arrays:
            result = quick(e, *inputs)
            if result is not NotImplemented:
                return [np.asarray(result).astype(e.outvars[0].aval.dtype)]
        return computed(e, inputs)

    # -- what is noted

    def note_unknown(self, e: Any) -> None:
        self.unknown[named(e)] = None
        self.bits = min(self.bits, _bits_inside(e))

    def compare(self, e: Any, a: Numbers, b: Numbers, side: Any, words: Sequence[str]) -> None:
        """A branch by comparing a with b. side: the number of a word at each element."""
        if a.is_literal and b.is_literal:
            return
        equal = (a.f == b.f) & np.isfinite(a.f)
        different = (differ(a.p, b.p) & a.ok & b.ok).any(0)
        overflowed = (np.isnan(a.f) & a.ok.all(0)) | (np.isnan(b.f) & b.ok.all(0))
        self.branch(e, side, words, bool(((equal & different) | overflowed).any()))

    def branch(self, e: Any, side: Any, words: Sequence[str], is_at_edge: bool) -> None:
        branch = named(e)
        met = self.sides.setdefault(branch, dict.fromkeys(words, False))
        met.update((words[int(number)], True) for number in np.unique(side))
        if is_at_edge:
            self.edges[branch] = None


def _work(e: Any, count: int) -> float:
    """Of an equation at so many points."""
    products = POWER if e.primitive.name in POWERS else 1
    sizes = [getattr(v.aval, "size", 0) for v in (*e.invars, *e.outvars)]
    return EQUATION + products * count * sum(sizes)


def _are_of_few_bits(x: Any) -> Any:
    """They are no result of rounding: 1 - 1/2, say."""
    with np.errstate(over="ignore", invalid="ignore"):
        return x.astype(np.float32) == x


def _was_rounded(x: Any) -> bool:
    """One number that was rounded to 32 bits or fewer before it came here, as constants are."""
    if x.size != 1 or not np.isfinite(x).all() or not _are_of_few_bits(x).all():
        return False
    value = float(x.reshape(()))
    is_short = math.frexp(value)[0] * 2**11 % 1 == 0  # as a power of two, which is not rounded
    return bool(meaning(value, 53).atom) and not is_short


def _bits_inside(e: Any) -> int:
    """Of the narrowest float in it; what nobody can look into is taken for 32 bits."""
    inside = [i for jaxpr in _graph.inner_jaxprs(e) for i, _ in _graph.equations(jaxpr)]
    variables = [v for i in (e, *inside) for v in (*i.invars, *i.outvars)]
    dtypes = [getattr(v.aval, "dtype", None) for v in variables]
    floating = [d for d in dtypes if d is not None and jnp.issubdtype(d, jnp.floating)]
    bits: list[int] = [8 * d.itemsize for d in floating]
    is_foreign = e.primitive.name.endswith(("callback", "ffi_call"))
    return max(16, min([32 if is_foreign else 64, *bits]))


def _through_a_call(walk: Walk, e: Any, inputs: list[Value]) -> list[Value] | None:
    """None where the equation holds no jaxpr that is walked through."""
    handler, body = _known_by_name(e), _body(walk, e)
    if handler is None and body is not None:
        return walk.run(body, inputs)
    handler = handler or CONTROL.get(e.primitive.name)
    return None if handler is None else list(handler(walk, e, *inputs))


def _known_by_name(e: Any) -> Handler | None:
    """For JAX's own functions and objects, whatever they hold."""
    prim = type(_graph.python_object(e))
    if prim.__module__.startswith("jax.") and prim.__name__ in OBJECTS:
        return OBJECTS[prim.__name__]
    inside = _graph.first_inner_jaxpr(e)
    if inside is None or not is_of_jax(inside):
        return None
    return KNOWN.get(_graph.name_of_function(inside))


def _body(walk: Walk, e: Any) -> Any:
    """What a rule, an object, or another library's primitive computes; None where none is known."""
    if _graph.kind_of_rule(e) or _graph.python_object(e) is not None:
        return _graph.body_of_rule(e)
    if _graph.has_rule_for_batching(e):
        return _graph.first_inner_jaxpr(e)
    if e.effects or _is_jax(getattr(e.primitive, "impl", None)):
        return None
    if id(e) not in walk.bodies:
        walk.bodies[id(e)] = _of_implementation(e)
    return walk.bodies[id(e)]


def _is_jax(function: Any) -> bool:
    function = getattr(function, "func", function)  # of a partial
    return str(getattr(function, "__module__", "jax")).partition(".")[0] == "jax"


def _of_implementation(e: Any) -> Any:
    """As what a primitive is run without jit."""

    def run(*inputs: Any) -> Any:
        return e.primitive.impl(*inputs, **e.params)

    try:
        body = jax.make_jaxpr(run)(*[v.aval for v in e.invars])
    except Exception:
        return None
    shapes = [[(v.shape, v.dtype) for v in avals] for avals in (body.out_avals, _avals(e))]
    return body if shapes[0] == shapes[1] else None


def _avals(e: Any) -> list[Any]:
    return [v.aval for v in e.outvars]


def computed(e: Any, inputs: Sequence[Any]) -> list[Any]:
    """An equation of arrays, by JAX."""
    known: dict[Any, Any] = {}
    for v, x in zip(e.invars, inputs, strict=True):
        if not _graph.is_literal(v):
            known[v] = x if isinstance(x, jax.Array) else jnp.asarray(x, v.aval.dtype)
    used = dict.fromkeys(_graph.outputs_of(e))
    results = iter(_graph.as_function(_graph.alone(e))(*[known[v] for v in _graph.inputs_of(e)]))
    return [next(results) if v in used else np.zeros(v.aval.shape) for v in e.outvars]


def unknown(walk: Walk, e: Any, *inputs: Value) -> list[Value]:
    """A function of which nothing is known but that equal inputs give equal outputs."""
    name = e.primitive.name
    if not all(jnp.issubdtype(v.aval.dtype, jnp.floating) for v in e.outvars):
        raise Unprovable(named(e))
    floats = [x.f if isinstance(x, Numbers) else x for x in inputs]
    try:
        values = computed(e, floats)
    except Exception as error:
        raise Unprovable(named(e)) from error
    walk.note_unknown(e)
    numbers = [x for x in inputs if isinstance(x, Numbers)]
    fixed = [np.asarray(x).tobytes() for x in inputs if isinstance(x, np.ndarray)]
    key = f"{name} {sorted(map(str, e.params.items()))} {fixed}"
    return [
        walk.points.unknown_array(f"{key} {i}", numbers, np.asarray(y, np.float64))
        for i, y in enumerate(values)
    ]


def is_of_jax(jaxpr: Any) -> bool:
    return _graph.file_of_function(jaxpr).startswith(str(Path(jax.__file__).parent))


def _require_real_arrays(e: Any) -> None:
    for v in (*e.invars, *e.outvars):
        if hasattr(v.aval, "inner_aval"):
            raise Unprovable(f"memory that is written to: {named(e)}")
        dtype = getattr(v.aval, "dtype", None)
        if dtype is not None and jnp.issubdtype(dtype, jnp.complexfloating):
            raise Unprovable(f"complex numbers in {named(e)}")


_LIBRARIES = (
    str(Path(jax.__file__).parent),
    sysconfig.get_paths()["stdlib"],
    sysconfig.get_paths()["purelib"],
    str(Path(__file__).parent),
    *(
        str(Path(__file__).parents[1] / name)
        for name in ("_auto.py", "_modes.py", "_rule.py", "_graph")
    ),
    sys.prefix,
    "<frozen",
)


def named(e: Any) -> str:
    """The primitive, and file:line of the innermost Python line that is not a library's."""
    traceback = e.source_info.traceback
    frames = traceback.frames if traceback else []
    mine = next((f for f in frames if not f.file_name.startswith(_LIBRARIES)), None)
    name = str(e.primitive.name)
    return name if mine is None else f"{name} at {Path(mine.file_name).name}:{mine.line_num}"


# Filled by the files that hold the primitives: name -> its handler.
CONTROL: dict[str, Handler] = {}  # what calls other jaxprs
OBJECTS: dict[str, Handler] = {}  # JAX's own primitives that are Python objects, by their class
KNOWN: dict[str, Handler] = {}  # JAX's own functions whose bodies are there for their digits
ARITHMETIC: dict[str, Handler] = {}  # of Numbers
ROUNDING: set[str] = set()  # those of them whose floats are rounded
QUICK: dict[str, Handler] = {}  # of integers in NumPy: (equation, *arrays) -> array
