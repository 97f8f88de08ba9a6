"""Index movements: run once on the positions of the elements, then every array follows them."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxnet.proving.interpreter import ARITHMETIC, QUICK, Value, Walk, unknown
from jaxnet.proving.numbers import Numbers, joined

FILL = -1  # the position of what is filled in


def numbers_of(walk: Walk, x: Value) -> Numbers:
    if isinstance(x, Numbers):
        return x
    return walk.points.literals(np.asarray(x, np.float64))


def positions(x: Any) -> Any:
    return np.arange(x.f.size).reshape(x.shape)


def taken(x: Value, i: int) -> Value:
    """x[i]"""
    if isinstance(x, Numbers):
        return x.at(positions(x)[i])
    return x[i]


def stacked(walk: Walk, rows: list[Value], aval: Any) -> Value:
    if not rows:
        empty = np.zeros(aval.shape, aval.dtype)
        return walk.value_of(empty)
    if any(isinstance(x, Numbers) for x in rows):
        return joined([numbers_of(walk, x) for x in rows]).reshaped(aval.shape)
    return np.stack(rows)


# -- one operand: a function of an array, of positions or of integers

Move = Callable[[Any, dict[str, Any]], Any]


def _broadcast(x: Any, params: dict[str, Any]) -> Any:
    sizes = [1] * len(params["shape"])
    for size, axis in zip(x.shape, params["broadcast_dimensions"], strict=True):
        sizes[axis] = size
    return np.broadcast_to(x.reshape(sizes), params["shape"])


def _slice(x: Any, params: dict[str, Any]) -> Any:
    steps = params["strides"] or [1] * x.ndim
    limits = zip(params["start_indices"], params["limit_indices"], steps, strict=True)
    return x[tuple(slice(*three) for three in limits)]


def _in_order(x: Any, dimensions: Any) -> Any:
    return x if dimensions is None else x.transpose(dimensions)


MOVES: dict[str, Move] = {
    "reshape": lambda x, p: _in_order(x, p["dimensions"]).reshape(p["new_sizes"]),
    "transpose": lambda x, p: x.transpose(p["permutation"]),
    "squeeze": lambda x, p: np.squeeze(x, tuple(p["dimensions"])),
    "expand_dims": lambda x, p: np.expand_dims(x, tuple(p["dimensions"])),
    "rev": lambda x, p: np.flip(x, tuple(p["dimensions"])),
    "broadcast_in_dim": _broadcast,
    "slice": _slice,
    "tile": lambda x, p: np.tile(x, p["reps"]),
}


def _of_numbers(move: Move) -> Any:
    return lambda walk, e, x, *_: x.at(move(positions(x), e.params))


def _of_integers(move: Move) -> Any:
    return lambda e, x, *_: move(x, e.params)


ARITHMETIC.update({name: _of_numbers(move) for name, move in MOVES.items()})
QUICK.update({name: _of_integers(move) for name, move in MOVES.items()})


def same(walk: Walk, e: Any, *inputs: Value) -> Any:
    """What changes no number: a cast between floating dtypes, a copy, a barrier."""
    return list(inputs)


ARITHMETIC.update(
    dict.fromkeys(
        ("copy", "copy_p", "stop_gradient", "optimization_barrier", "reduce_precision",
         "pvary", "device_put", "name"),
        same,
    )
)  # fmt: skip


def split(walk: Walk, e: Any, x: Numbers) -> list[Numbers]:
    ends = np.cumsum(e.params["sizes"])[:-1]
    return [x.at(part) for part in np.split(positions(x), ends, e.params["axis"])]


def unstack(walk: Walk, e: Any, x: Numbers) -> list[Numbers]:
    return [x.at(part) for part in np.moveaxis(positions(x), e.params["axis"], 0)]


# -- several operands: positions in all of them, one behind another


def _offset(parts: list[Numbers]) -> list[Any]:
    """Positions of each in the row of all."""
    starts = np.cumsum([0, *[x.f.size for x in parts]])
    return [positions(x) + start for x, start in zip(parts, starts, strict=False)]


def concatenate(walk: Walk, e: Any, *inputs: Value) -> Numbers:
    parts = [numbers_of(walk, x) for x in inputs]
    where = np.concatenate(_offset(parts), e.params["dimension"])
    return joined(parts).at(where)


def stack(walk: Walk, e: Any, *inputs: Value) -> Numbers:
    parts = [numbers_of(walk, x) for x in inputs]
    return joined(parts).at(np.stack(_offset(parts), e.params["axis"]))


def padded(x: Any, filling: Any, config: Any) -> Any:
    """As lax.pad: between the elements too, and negative numbers cut."""
    for axis, (low, high, between) in enumerate(config):
        size = x.shape[axis]
        shape = list(x.shape)
        shape[axis] = size + max(size - 1, 0) * between
        spread = np.full(shape, filling, x.dtype)
        to = [slice(None)] * x.ndim
        to[axis] = slice(None, None, between + 1)
        spread[tuple(to)] = x
        edges = [(0, 0)] * x.ndim
        edges[axis] = (max(low, 0), max(high, 0))
        spread = np.pad(spread, edges, constant_values=filling)
        to[axis] = slice(max(-low, 0), spread.shape[axis] - max(-high, 0))
        x = spread[tuple(to)]
    return x


def pad(walk: Walk, e: Any, x: Value, filling: Value) -> Numbers:
    parts = [numbers_of(walk, x), numbers_of(walk, filling)]
    where, fill = _offset(parts)
    return joined(parts).at(padded(where, int(fill), e.params["padding_config"]))


def _window(shape: Any, starts: Any, sizes: Any) -> Any:
    limits = [
        (int(np.clip(start, 0, n - size)), size)
        for start, size, n in zip(starts, sizes, shape, strict=True)
    ]
    return tuple(slice(start, start + size) for start, size in limits)


def dynamic_slice(walk: Walk, e: Any, x: Numbers, *starts: Value) -> Numbers:
    return x.at(positions(x)[_window(x.shape, starts, e.params["slice_sizes"])])


def dynamic_update_slice(walk: Walk, e: Any, x: Value, update: Value, *starts: Value) -> Numbers:
    parts = [numbers_of(walk, x), numbers_of(walk, update)]
    where, new = _offset(parts)
    where[_window(where.shape, starts, new.shape)] = new
    return joined(parts).at(where)


def select(walk: Walk, e: Any, which: Value, *cases: Value) -> Numbers:
    number = np.asarray(which).astype(np.int64)
    # The size of what nobody takes is not counted.
    taken, renumbered = np.unique(number, return_inverse=True)
    if not taken.size:
        return numbers_of(walk, cases[0])
    parts: list[Numbers] = [numbers_of(walk, cases[i]) for i in taken]
    where = _offset(parts)
    shape = np.broadcast_shapes(number.shape, *[x.shape for x in parts])
    chosen = np.empty(shape, np.int64)
    renumbered = np.broadcast_to(renumbered.reshape(number.shape), shape)
    for i, part in enumerate(where):
        chosen = np.where(renumbered == i, part, chosen)
    return joined(parts).at(chosen)


def with_filling(walk: Walk, x: Numbers, where: Any, filling: float) -> Numbers:
    """Where the position is FILL, that number."""
    filler = walk.points.literals(np.asarray(filling))
    return joined([x, filler]).at(np.where(where == FILL, x.f.size, where))


def gather(walk: Walk, e: Any, x: Value, indices: Value) -> Numbers:
    x = numbers_of(walk, x)
    params = {**e.params, "fill_value": FILL}
    found = e.primitive.bind(jnp.asarray(positions(x)), jnp.asarray(indices), **params)
    filling = e.params["fill_value"]
    return with_filling(walk, x, np.asarray(found), np.nan if filling is None else filling)


def landing(e: Any, shape: Any, indices: Any, update_shape: Any) -> Any:
    """Where in the operand each element of a scatter's update lands, FILL where it is dropped."""

    def added(update: Any) -> Any:
        operand = jnp.zeros(shape, update.dtype)
        return jax.lax.scatter_add(
            operand,
            jnp.asarray(indices),
            update,
            e.params["dimension_numbers"],
            indices_are_sorted=False,
            unique_indices=False,
            mode=e.params["mode"],
        )

    dtype = jnp.result_type(float)
    row = jnp.arange(1, 1 + int(np.prod(shape)), dtype=dtype).reshape(shape)
    template: Any = jnp.zeros(update_shape, dtype)
    (where,) = jax.linear_transpose(added, template)(row)
    return np.asarray(where).astype(np.int64) - 1


Step = Callable[[Numbers, Numbers], Numbers]


def scatter_by(step: Callable[[Walk, Any], Step], neutral: float) -> Any:
    """x, with which the elements of the update are joined."""

    def scattered(walk: Walk, e: Any, x: Value, indices: Value, update: Value) -> Numbers:
        x, update = numbers_of(walk, x), numbers_of(walk, update)
        where = landing(e, x.shape, indices, update.shape)
        return joined_at(walk, x, where, update, step(walk, e), neutral)

    return scattered


def joined_at(
    walk: Walk, x: Numbers, where: Any, update: Numbers, step: Step, neutral: float
) -> Numbers:
    """where: in x each element of the update lands, FILL for nowhere."""
    where = where.reshape(-1)
    order = np.argsort(where, kind="stable")
    order = order[where[order] != FILL]
    targets, update = where[order], update.reshaped((-1,)).at(order)
    while len(np.unique(targets)) < targets.size:  # pairs of those that land on one place
        _, starts, group = np.unique(targets, return_index=True, return_inverse=True)
        rank = np.arange(targets.size) - starts[group]
        kept = np.flatnonzero(rank % 2 == 0)
        beside = np.minimum(kept + 1, targets.size - 1)
        has_other = (beside > kept) & (targets[beside] == targets[kept])
        others = with_filling(walk, update, np.where(has_other, beside, FILL), neutral)
        targets, update = targets[kept], step(update.at(kept), others)
    rows = np.full(x.f.size, FILL)
    rows[targets] = np.arange(targets.size)
    every = with_filling(walk, update, rows, neutral)
    return step(x.reshaped((-1,)), every).reshaped(x.shape)


def added_at(walk: Walk, x: Numbers, where: Any, update: Numbers) -> Numbers:
    return joined_at(walk, x, where, update, walk.points.add, 0.0)


def scatter(walk: Walk, e: Any, x: Value, indices: Value, update: Value) -> Any:
    """x, with the elements of the update in the place of some."""
    if e.params["update_jaxpr"] is not None:  # a function of what is there
        return unknown(walk, e, x, indices, update)
    parts = [numbers_of(walk, x), numbers_of(walk, update)]
    where, new = _offset(parts)
    lands = landing(e, parts[0].shape, indices, parts[1].shape)
    flat = where.reshape(-1)
    hits = lands != FILL
    flat[lands[hits]] = new[hits]
    return joined(parts).at(flat.reshape(parts[0].shape))


ARITHMETIC.update(
    {
        "split": split,
        "unstack": unstack,
        "stack": stack,
        "concatenate": concatenate,
        "pad": pad,
        "dynamic_slice": dynamic_slice,
        "dynamic_update_slice": dynamic_update_slice,
        "select_n": select,
        "gather": gather,
        **dict.fromkeys(
            ("scatter-add", "scatter_add"), scatter_by(lambda walk, e: walk.points.add, 0.0)
        ),
        "scatter-sub": scatter_by(lambda walk, e: walk.points.subtract, 0.0),
        "scatter-mul": scatter_by(lambda walk, e: walk.points.multiply, 1.0),
        "scatter": scatter,
    }
)


def _concatenate(e: Any, *inputs: Any) -> Any:
    return np.concatenate(inputs, e.params["dimension"])


def _select(e: Any, which: Any, *cases: Any) -> Any:
    shape = np.broadcast_shapes(*[case.shape for case in cases])
    return np.choose(np.broadcast_to(which, shape).astype(np.int64), cases)


def _iota(e: Any, *_: Any) -> Any:
    shape, axis = e.params["shape"], e.params["dimension"]
    sizes = [1] * len(shape)
    sizes[axis] = shape[axis]
    return np.broadcast_to(np.arange(shape[axis]).reshape(sizes), shape)


QUICK.update(concatenate=_concatenate, select_n=_select, iota=_iota)
