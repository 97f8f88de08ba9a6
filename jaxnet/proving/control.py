"""Calls, branches and loops: equations that hold jaxprs."""

from typing import Any

import numpy as np

from jaxnet import _graph
from jaxnet.proving.interpreter import CONTROL, Unprovable, Value, Walk, named
from jaxnet.proving.numbers import Numbers
from jaxnet.proving.structural import numbers_of, select, stacked, taken

CALLS = (
    "jit",
    "pjit",
    "closed_call",
    "core_call",
    "eval_jaxpr",
    "remat2",
    "checkpoint",
    "remat_opt",
    "linear_call",
)
MOST_TURNS = 2000  # of a loop whose end the numbers decide


def call(walk: Walk, e: Any, *inputs: Value) -> list[Value]:
    """jit, remat and their like: one jaxpr of the same inputs."""
    inside = _graph.first_inner_jaxpr(e)
    if inside is None or len(_graph.plain(inside).invars) != len(inputs):
        raise Unprovable(named(e))
    return walk.run(inside, inputs)


def cond(walk: Walk, e: Any, which: Value, *inputs: Value) -> list[Value]:
    branches = e.params["branches"]
    number = int(np.clip(which, 0, len(branches) - 1))
    return walk.run(branches[number], inputs)


def scan(walk: Walk, e: Any, *inputs: Value) -> list[Value]:
    first, end = _graph.carry_of_scan(e)
    constants, carry, rows = inputs[:first], list(inputs[first:end]), inputs[end:]
    length = e.params["length"]
    turns = range(length)
    outputs: list[Any] = [None] * length
    for i in reversed(turns) if e.params["reverse"] else turns:
        row = [taken(x, i) for x in rows]
        results = walk.run(e.params["jaxpr"], [*constants, *carry, *row])
        carry, outputs[i] = results[: len(carry)], results[len(carry) :]
    columns = e.outvars[len(carry) :]
    return carry + [
        stacked(walk, [turn[k] for turn in outputs], v.aval) for k, v in enumerate(columns)
    ]


def while_loop(walk: Walk, e: Any, *inputs: Value) -> list[Value]:
    of_cond = e.params["cond_nconsts"]
    end = of_cond + e.params["body_nconsts"]
    carry = list(inputs[end:])
    for _ in range(MOST_TURNS):
        (goes_on,) = walk.run(e.params["cond_jaxpr"], [*inputs[:of_cond], *carry])
        if not np.any(goes_on):
            return carry
        turned = walk.run(e.params["body_jaxpr"], [*inputs[of_cond:end], *carry])
        carry = [_where(walk, e, goes_on, *pair) for pair in zip(turned, carry, strict=True)]
    raise Unprovable(f"a loop of more than {MOST_TURNS} turns: {named(e)}")


def _where(walk: Walk, e: Any, goes_on: Any, new: Value, old: Value) -> Value:
    """Under vmap each element ends by itself, and keeps what it has then."""
    if np.all(goes_on):
        return new
    if not any(isinstance(x, Numbers) for x in (new, old)):
        return np.where(_with_axes_behind(goes_on, np.ndim(new)), new, old)
    new, old = numbers_of(walk, new), numbers_of(walk, old)
    return select(walk, e, _with_axes_behind(goes_on, len(new.shape)), old, new)


def _with_axes_behind(x: Any, count: int) -> Any:
    return np.reshape(x, np.shape(x) + (1,) * (count - np.ndim(x)))


def on_many_devices(walk: Walk, e: Any, *inputs: Value) -> list[Value]:
    """What each device does would have to be put together: nobody looks into it here."""
    raise Unprovable(named(e))


CONTROL.update(
    cond=cond,
    shard_map=on_many_devices,
    scan=scan,
    **{"while": while_loop},
    **dict.fromkeys(CALLS, call),
)
