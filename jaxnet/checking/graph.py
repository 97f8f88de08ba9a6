"""Looking into a traced function: its equations, where they stand in the user's files, what values they meet."""

import hashlib
import re
import site
import sysconfig
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias, cast

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend import core as jax_core
from jax.extend.core.primitives import closed_call_p

from jaxnet.checking.problem import eps_of

core = cast(Any, jax_core)  # its stubs and its contents differ between the versions of jax

Chain: TypeAlias = tuple[Any, ...]  # the equations around an equation, outermost first
# (equation, chain) -> None, or two functions: what to compute of its inputs, and what is told the result on the host
Wanted: TypeAlias = Callable[[Any, Chain], tuple[Callable[..., Any], Callable[..., None]] | None]

_HERE = Path(__file__).parent
_NOT_THE_USERS = (
    *site.getsitepackages(),
    site.getusersitepackages(),
    sysconfig.get_paths()["stdlib"],
    str(_HERE),
)
_JAX = str(Path(jax.__file__).parent)
_RULE_FILE = str(_HERE.parent / "_rule.py")


class Frame(NamedTuple):
    file: str
    line: int
    function: str


def jaxprs_in(value: Any) -> Iterator[Any]:
    """The jaxprs in an equation's parameter, however nested, not those inside them."""
    if isinstance(value, core.ClosedJaxpr | core.Jaxpr):
        yield value
    elif isinstance(value, tuple | list):
        for item in value:
            yield from jaxprs_in(item)


def equations(jaxpr: Any, chain: Chain = ()) -> Iterator[tuple[Any, Chain]]:
    """Every equation, at any depth, with the equations around it."""
    for e in jaxpr.eqns:
        yield e, chain
        for value in e.params.values():
            for inner in jaxprs_in(value):
                yield from equations(inner, (*chain, e))


def is_users(file: str) -> bool:
    return not (file.startswith(_NOT_THE_USERS) or file.startswith("<frozen") or file == _RULE_FILE)


def frames(e: Any) -> list[Frame]:
    """The Python frames that made the equation, innermost first."""
    traceback = e.source_info.traceback
    return (
        [Frame(f.file_name, f.line_num, f.function_name) for f in traceback.frames]
        if traceback
        else []
    )


def users_frames(e: Any) -> list[Frame]:
    return [f for f in frames(e) if is_users(f.file)]


def file_of_function(jaxpr: Any) -> str:
    """Where the function that the jaxpr was traced from is defined ('' where JAX does not say)."""
    return (
        str(getattr(jaxpr.debug_info, "func_src_info", "") or "")
        .partition(" at ")[2]
        .rpartition(":")[0]
    )


def name_of_function(jaxpr: Any) -> str:
    return str(getattr(jaxpr.debug_info, "func_name", "") or "?").partition(" ")[0]


def inputs_of(e: Any) -> list[Any]:
    """What the equation reads, once each, literals left out."""
    return list(dict.fromkeys(v for v in e.invars if not isinstance(v, core.Literal)))


def alone(e: Any) -> Any:
    """The equation as a function of its inputs (those that are no literals) to its outputs."""
    inputs = inputs_of(e)
    outputs = [v for v in e.outvars if not isinstance(v, core.DropVar)]
    debug = core.DebugInfo("alone", name_of_equation(e), None, None)
    return core.ClosedJaxpr(core.Jaxpr([], inputs, outputs, [e], e.effects, debug_info=debug), [])


def name_of_equation(e: Any) -> str:
    return str(e.params.get("name") or e.primitive.name)


def narrowest_float(*jaxprs: Any) -> Any:
    """The floating dtype with the fewest digits among all that the equations compute (float64 where there is none)."""
    outputs = (v for jaxpr in jaxprs for e, _ in equations(jaxpr) for v in e.outvars)
    dtypes = {v.aval.dtype for v in outputs if hasattr(v.aval, "dtype")}
    return max(
        (d for d in dtypes if jnp.issubdtype(d, jnp.inexact)),
        key=eps_of,
        default=np.dtype(np.float64),
    )


def draws_random_numbers(jaxpr: Any) -> bool:
    names = ("random_bits", "random_gamma", "threefry", "rng_")
    return any(e.primitive.name.startswith(names) for e, _ in equations(jaxpr))


def independent(jaxpr: Any, count: int) -> tuple[bool, ...]:
    """Of the last count outputs: whether each is computed from no input."""
    inner = getattr(jaxpr, "jaxpr", jaxpr)
    from_inputs = set(inner.invars)
    for e in inner.eqns:
        if any(v in from_inputs for v in e.invars if not isinstance(v, core.Literal)):
            from_inputs |= set(e.outvars)
    outputs = inner.outvars[len(inner.outvars) - count :]
    return tuple(isinstance(v, core.Literal) or v not in from_inputs for v in outputs)


def stops_gradient(jaxpr: Any) -> bool:
    """Whether the user's own files call stop_gradient."""
    for e, chain in equations(jaxpr):
        if e.primitive.name == "stop_gradient" and not any(map(is_librarys, chain)):
            outside = [
                f
                for f in frames(e)
                if "stop_gradient" not in f.function and not f.file.startswith(_JAX)
            ]
            if outside and is_users(outside[0].file):
                return True
    return False


def is_librarys(e: Any) -> bool:
    """Whether the equation calls a function that is defined in an installed library."""
    inner = next(iter(jaxprs_in(tuple(e.params.values()))), None)
    file = file_of_function(inner) if inner is not None else ""
    return (
        bool(file)
        and not is_users(file)
        and e.primitive.name in ("jit", "pjit", "closed_call", "custom_jvp_call")
    )


def constants(jaxpr: Any) -> Iterator[Any]:
    """Every array that the jaxpr, or one inside it, has as a constant."""
    yield from getattr(jaxpr, "consts", ())
    for e, _ in equations(jaxpr):
        for value in e.params.values():
            for inner in jaxprs_in(value):
                yield from getattr(inner, "consts", ())


def fingerprint(jaxpr: Any, addresses: bool = True) -> bytes:
    """Two jaxprs with one fingerprint compute the same: their text, and every constant in them.

    addresses: where the text names a Python function, whether it must be the same object.
    """
    text = str(jaxpr) if addresses else re.sub("0x[0-9a-f]+", "", str(jaxpr))
    digest = hashlib.sha256(text.encode())
    for constant in constants(jaxpr):
        is_key = jnp.issubdtype(getattr(constant, "dtype", float), jax.dtypes.extended)
        digest.update(np.asarray(jax.random.key_data(constant) if is_key else constant).tobytes())
    return digest.digest()


def tap(jaxpr: Any, wanted: Wanted, chain: Chain = ()) -> Any:
    """The jaxpr, in which each equation that is wanted first tells the host of its inputs.

    An equation that tells has the host callback's effect, and so have all that it is in.
    """
    if (
        getattr(jaxpr, "jaxpr", jaxpr) is not jaxpr
    ):  # jax < 0.12: a ClosedJaxpr is a Jaxpr beside its constants
        return core.ClosedJaxpr(tap(jaxpr.jaxpr, wanted, chain), jaxpr.consts)
    eqns = []
    for e in jaxpr.eqns:
        params = {k: _tap_inside(v, wanted, (*chain, e)) for k, v in e.params.items()}
        effects = set(e.effects).union(*(_told(j) for v in params.values() for j in jaxprs_in(v)))
        telling = e.replace(params=params, effects=frozenset(effects))
        ask = wanted(e, chain)
        eqns += [telling] if ask is None else [_told_of(telling, *ask), _body(telling)]
    effects = set(jaxpr.effects).union(*(_debug_effects(e.effects) for e in eqns))
    return jaxpr.replace(eqns=eqns, effects=frozenset(effects))


def _tap_inside(value: Any, wanted: Wanted, chain: Chain) -> Any:
    if isinstance(value, core.ClosedJaxpr | core.Jaxpr):
        return tap(value, wanted, chain)
    if isinstance(value, tuple | list) and any(True for _ in jaxprs_in(value)):
        items = [_tap_inside(v, wanted, chain) for v in value]
        return type(value)(*items) if hasattr(value, "_fields") else type(value)(items)
    return value


def _body(e: Any) -> Any:
    # The equation of a custom rule cannot be bound anew; what it computes, not differentiated, is its body.
    if not e.primitive.name.startswith("custom_") or "call_jaxpr" not in e.params:
        return e
    return e.replace(primitive=closed_call_p, params={"call_jaxpr": e.params["call_jaxpr"]})


def _told_of(e: Any, compute: Callable[..., Any], tell: Callable[..., None]) -> Any:
    """An equation that tells the host of e's inputs."""
    inputs = inputs_of(e)

    def told(*values: Any) -> None:
        known = dict(zip(inputs, values, strict=True))
        every = [v.val if isinstance(v, core.Literal) else known[v] for v in e.invars]
        jax.debug.callback(tell, *compute(*every))

    jaxpr = jax.make_jaxpr(told)(
        *[cast(Any, jax).ShapeDtypeStruct(v.aval.shape, v.aval.dtype) for v in inputs]
    )
    call = {"primitive": closed_call_p, "params": {"call_jaxpr": jaxpr}, "effects": jaxpr.effects}
    return e.replace(invars=inputs, outvars=[], **call)


def _told(jaxpr: Any) -> set[Any]:
    return _debug_effects(jaxpr.effects)


def _debug_effects(effects: Any) -> set[Any]:
    return {effect for effect in effects if "Debug" in type(effect).__name__}
