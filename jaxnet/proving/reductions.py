"""Sums, products, maxima and sorts along axes, and products of matrices."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxnet.proving.field import differ
from jaxnet.proving.interpreter import ARITHMETIC, EQUATION, QUICK, Unprovable, Value, Walk, named
from jaxnet.proving.numbers import Numbers, joined
from jaxnet.proving.structural import numbers_of, positions

MOST_PRODUCTS = 3_000_000  # of one product of matrices
PRODUCTS = 6  # so many take the time of one number


def reduce_sum(walk: Walk, e: Any, x: Numbers) -> Numbers:
    for axis in sorted(e.params["axes"], reverse=True):
        x = walk.points.sum(x, axis)
    return x


def _row(x: Numbers, axis: int, i: int) -> Numbers:
    return x.at(np.take(positions(x), i, axis))


def _product(walk: Walk, e: Any, x: Numbers, axis: int) -> Numbers:
    if x.shape[axis] == 0:
        shape = np.delete(x.shape, axis)
        return walk.points.literals(np.ones(shape))
    product = _row(x, axis, 0)
    for i in range(1, x.shape[axis]):
        product = walk.points.multiply(product, _row(x, axis, i))
    return product


def reduce_prod(walk: Walk, e: Any, x: Numbers) -> Numbers:
    for axis in sorted(e.params["axes"], reverse=True):
        x = _product(walk, e, x, axis)
    return x


def note_ties(walk: Walk, e: Any, x: Numbers, best: Numbers, axis: int) -> None:
    """best: x's largest, or smallest, with the axis still there."""
    if x.is_literal:
        return
    ties = (x.f == best.f) & np.isfinite(x.f) & (differ(x.p, best.p) & x.ok & best.ok).any(0)
    walk.branch(e, np.zeros(1), ("this order",), bool(ties.any()))


def _extreme(x: Numbers, axis: int, find: Any) -> tuple[Any, Any]:
    """Its place along the axis, and positions, with the axis still there."""
    place = np.expand_dims(find(x.f, axis), axis)
    return place, np.take_along_axis(positions(x), place, axis)


def reduce_extreme(find: Any) -> Any:
    def reduced(walk: Walk, e: Any, x: Numbers) -> Numbers:
        for axis in sorted(e.params["axes"], reverse=True):
            if x.shape[axis] == 0:
                raise Unprovable(f"a maximum of nothing: {named(e)}")
            _, where = _extreme(x, axis, find)
            best = x.at(where)
            note_ties(walk, e, x, best, axis)
            x = best.reshaped(tuple(np.delete(x.shape, axis)))
        return x

    return reduced


def arg_extreme(find: Any) -> Any:
    def place(walk: Walk, e: Any, x: Numbers) -> Any:
        (axis,) = e.params["axes"]
        places, where = _extreme(x, axis, find)
        note_ties(walk, e, x, x.at(where), axis)
        return np.squeeze(places, axis).astype(e.params["index_dtype"])

    return place


def cumulative(step: Any) -> Any:
    def run(walk: Walk, e: Any, x: Numbers) -> Numbers:
        axis, size = e.params["axis"], x.shape[e.params["axis"]]
        order = range(size)[::-1] if e.params["reverse"] else range(size)
        rows: dict[int, Numbers] = {}
        before: Numbers | None = None
        for i in order:
            row = _row(x, axis, i)
            walk.meter.add(EQUATION + walk.points.count * row.f.size)
            before = row if before is None else step(walk, e, before, row)
            rows[i] = before
        if not rows:
            return x
        every = joined([rows[i] for i in range(size)])
        shape = (size, *np.delete(x.shape, axis))
        where = np.moveaxis(np.arange(every.f.size).reshape(shape), 0, axis)
        return every.at(where)

    return run


def _log_of_sum(walk: Walk, e: Any, a: Numbers, b: Numbers) -> Numbers:
    points = walk.points
    return points.log(points.add(points.exp(a), points.exp(b)))


def _larger(walk: Walk, e: Any, a: Numbers, b: Numbers) -> Numbers:
    row = joined([a, b])
    is_second = b.f > a.f
    walk.compare(e, a, b, is_second, ("the earlier", "the later"))
    return row.at(np.where(is_second, positions(a) + a.f.size, positions(a)))


def _smaller(walk: Walk, e: Any, a: Numbers, b: Numbers) -> Numbers:
    points = walk.points
    return points.negative(_larger(walk, e, points.negative(a), points.negative(b)))


# -- products of matrices


def dot_general(walk: Walk, e: Any, a: Value, b: Value) -> Numbers:
    a, b = numbers_of(walk, a), numbers_of(walk, b)
    (of_a, of_b), (batch_a, batch_b) = e.params["dimension_numbers"]
    left = _as_matrices(a, batch_a, of_a)
    right = _as_matrices(b, batch_b, of_b)
    product = _multiplied(walk, e, left, right)
    return product.reshaped(tuple(e.outvars[0].aval.shape))


def _as_matrices(x: Numbers, batch: Any, summed: Any) -> Numbers:
    """[batch, rows, summed]"""
    rest = [i for i in range(len(x.shape)) if i not in (*batch, *summed)]
    shape = [int(np.prod([x.shape[i] for i in axes])) for axes in (batch, rest, summed)]
    where = positions(x).transpose([*batch, *rest, *summed]).reshape(shape)
    return x.at(where)


def _multiplied(walk: Walk, e: Any, left: Numbers, right: Numbers) -> Numbers:
    """left [batch, m, k] times right [batch, n, k]."""
    (batch, m, k), n = left.shape, right.shape[1]
    if batch * m * n * k > MOST_PRODUCTS:
        raise Unprovable(f"a product of large matrices: {named(e)}")
    walk.meter.add(walk.points.count * batch * m * n * k / PRODUCTS)
    if k and _is_plain(left) and _is_plain(right):
        return walk.points.product_of_matrices(left, right)
    shape = (batch, m, n, k)
    a = np.broadcast_to(positions(left)[:, :, None, :], shape)
    b = np.broadcast_to(positions(right)[:, None, :, :], shape)
    return walk.points.sum(walk.points.multiply(left.at(a), right.at(b)), 3)


def _is_plain(x: Numbers) -> bool:
    """Whether its products need no care: all known, without logarithms and roots of -1."""
    return bool(x.m is None and x.p.im is None and x.ok.all() and x.has_q.all())


def convolution(walk: Walk, e: Any, x: Value, kernel: Value) -> Numbers:
    """Each output is a sum over patches of x: which elements are in a patch, JAX says."""
    x, kernel = numbers_of(walk, x), numbers_of(walk, kernel)
    pairs = _pairs_of_convolution(e, x.shape, kernel.shape)
    shape = e.outvars[0].aval.shape
    if not pairs[0].size:
        return walk.points.literals(np.zeros(shape))
    of_x, of_kernel = pairs
    # A position more, for 0: where the patch hangs over the edge.
    zero = walk.points.literals(np.zeros(1))
    a, b = joined([x, zero]), joined([kernel, zero])
    products = walk.points.multiply(a.at(of_x), b.at(of_kernel))
    return walk.points.sum(products, 1).reshaped(tuple(shape))


def _pairs_of_convolution(e: Any, of_x: Any, of_kernel: Any) -> tuple[Any, Any]:
    """Positions [outputs, terms] in x and in the kernel, of the products in each output.

    One element of the kernel at a time is 1: what comes out are the positions that it meets.
    """
    params = {**e.params, "preferred_element_type": None}
    size_x, size_kernel = int(np.prod(of_x)), int(np.prod(of_kernel))
    outputs = int(np.prod(e.outvars[0].aval.shape))
    if outputs * size_kernel > MOST_PRODUCTS:
        raise Unprovable(f"a large convolution: {named(e)}")
    dtype = jnp.result_type(float)
    row = jnp.arange(1, size_x + 1, dtype=dtype).reshape(of_x)
    units = jnp.eye(size_kernel, dtype=dtype).reshape(size_kernel, *of_kernel)

    def met(unit: Any) -> Any:
        return e.primitive.bind(row, unit, **params).reshape(-1)

    found = np.asarray(jax.lax.map(met, units)).T.astype(np.int64)  # [outputs, kernel]
    where_x = np.where(found == 0, size_x, found - 1)
    where_kernel = np.where(found == 0, size_kernel, np.arange(size_kernel))
    return where_x, where_kernel


# -- sorting


def sort(walk: Walk, e: Any, *inputs: Value) -> list[Value]:
    axis, keys = e.params["dimension"], e.params["num_keys"]
    floats = [x.f if isinstance(x, Numbers) else x for x in inputs]
    order = _order(floats[:keys], axis)
    for x in inputs[:keys]:
        if isinstance(x, Numbers):
            ordered = x.at(np.take_along_axis(positions(x), order, axis))
            _note_equal_neighbours(walk, e, ordered, axis)
    return [
        x.at(np.take_along_axis(positions(x), order, axis))
        if isinstance(x, Numbers)
        else np.take_along_axis(x, order, axis)
        for x in inputs
    ]


def _order(keys: list[Any], axis: int) -> Any:
    order = np.lexsort([np.moveaxis(k, axis, -1) for k in reversed(keys)], axis=-1)
    return np.moveaxis(order, -1, axis)


def _note_equal_neighbours(walk: Walk, e: Any, x: Numbers, axis: int) -> None:
    size = x.shape[axis]
    before = x.at(np.take(positions(x), range(size - 1), axis))
    after = x.at(np.take(positions(x), range(1, size), axis))
    walk.compare(e, before, after, np.zeros(1), ("this order",))


def top_k(walk: Walk, e: Any, x: Numbers) -> list[Value]:
    axis = e.params.get("axis", -1) % len(x.shape)
    order = np.argsort(-x.f, axis=axis, kind="stable")
    ordered = x.at(np.take_along_axis(positions(x), order, axis))
    _note_equal_neighbours(walk, e, ordered, axis)
    first = range(e.params["k"])
    return [
        ordered.at(np.take(positions(ordered), first, axis)),
        np.take(order, first, axis).astype(e.outvars[1].aval.dtype),
    ]


ARITHMETIC.update(
    {
        "reduce_sum": reduce_sum,
        "reduce_prod": reduce_prod,
        "reduce_max": reduce_extreme(np.argmax),
        "reduce_min": reduce_extreme(np.argmin),
        "argmax": arg_extreme(np.argmax),
        "argmin": arg_extreme(np.argmin),
        "cumsum": cumulative(lambda walk, e, a, b: walk.points.add(a, b)),
        "cumprod": cumulative(lambda walk, e, a, b: walk.points.multiply(a, b)),
        "cummax": cumulative(_larger),
        "cummin": cumulative(_smaller),
        "cumlogsumexp": cumulative(_log_of_sum),
        "dot_general": dot_general,
        "conv_general_dilated": convolution,
        "sort": sort,
        "top_k": top_k,
    }
)

QUICK.update(
    {
        name: (lambda e, x, function=function: function(x, axis=tuple(e.params["axes"])))
        for name, function in {
            "reduce_and": np.all,
            "reduce_or": np.any,
            "reduce_sum": np.sum,
            "reduce_max": np.max,
            "reduce_min": np.min,
        }.items()
    }
)
