"""Windows that move over an array: sums and maxima in them, as pooling takes."""

from typing import Any

import numpy as np

from jaxnet.proving.interpreter import ARITHMETIC, Value, Walk
from jaxnet.proving.numbers import Numbers
from jaxnet.proving.reductions import note_ties
from jaxnet.proving.structural import FILL, added_at, numbers_of, padded, positions, with_filling


def windows(walk: Walk, e: Any, x: Numbers) -> Any:
    """Positions [outputs, elements of a window], FILL beyond the edge."""
    params: Any = e.params
    ones = [1] * len(x.shape)
    between = params.get("base_dilation", ones)
    steps = params.get("window_dilation", ones)
    edges = zip(params["padding"], between, strict=True)
    spread = padded(positions(x), FILL, [(low, high, step - 1) for (low, high), step in edges])
    sizes = zip(params["window_dimensions"], steps, strict=True)
    spans = [(size - 1) * step + 1 for size, step in sizes]
    every = np.lib.stride_tricks.sliding_window_view(spread, spans)
    outputs = tuple(slice(None, None, stride) for stride in params["window_strides"])
    elements = tuple(slice(None, None, step) for step in steps)
    every = every[(*outputs, *elements)]
    walk.meter.add(walk.points.count * every.size)
    return every.reshape(*every.shape[: len(spans)], -1)


def reduce_window_sum(walk: Walk, e: Any, x: Numbers) -> Numbers:
    terms = with_filling(walk, x, windows(walk, e, x), 0.0)
    return walk.points.sum(terms, len(x.shape))


def chosen(walk: Walk, e: Any, x: Numbers, sign: int) -> Any:
    """The position of each window's first largest element, or smallest for sign -1."""
    where = windows(walk, e, x)
    every = with_filling(walk, x, where, -sign * np.inf)
    place = np.argmax(sign * every.f, -1)[..., None]
    best = every.at(np.take_along_axis(positions(every), place, -1))
    note_ties(walk, e, every, best, -1)
    return np.take_along_axis(where, place, -1)[..., 0]


def reduce_window_extreme(sign: int) -> Any:
    def reduced(walk: Walk, e: Any, x: Numbers) -> Numbers:
        return with_filling(walk, x, chosen(walk, e, x, sign), -sign * np.inf)

    return reduced


def sign_of(e: Any) -> int:
    return 1 if e.params["select_prim"].name == "ge" else -1


def select_and_gather_add(walk: Walk, e: Any, x: Value, keys: Value) -> Numbers:
    """Of x, what stands where a window of the keys has its largest."""
    where = chosen(walk, e, numbers_of(walk, keys), sign_of(e))
    return with_filling(walk, numbers_of(walk, x), where, 0.0)


def select_and_scatter_add(walk: Walk, e: Any, source: Value, keys: Value) -> Numbers:
    """Its transpose: what each window has is added there."""
    keys = numbers_of(walk, keys)
    where = chosen(walk, e, keys, sign_of(e))
    zeros = walk.points.literals(np.zeros(keys.shape))
    return added_at(walk, zeros, where, numbers_of(walk, source))


ARITHMETIC.update(
    reduce_window_sum=reduce_window_sum,
    reduce_window_max=reduce_window_extreme(1),
    reduce_window_min=reduce_window_extreme(-1),
    select_and_gather_add=select_and_gather_add,
    select_and_scatter_add=select_and_scatter_add,
)
