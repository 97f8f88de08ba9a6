"""Factorisations and solutions of linear equations, by elimination.

L and U, and a triangular solution, are rational functions of the matrix once the order of its rows
is known: that which the float point chooses, as LAPACK does, by the largest pivots.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from jaxnet.proving.interpreter import ARITHMETIC, CONTROL, Value, Walk
from jaxnet.proving.numbers import Numbers, joined
from jaxnet.proving.points import Points
from jaxnet.proving.structural import numbers_of, positions


def in_place(parts: Sequence[Numbers], places: Sequence[Any], shape: tuple[int, ...]) -> Numbers:
    """An array of parts, whose elements stand at these places of it, counted in a row."""
    order = np.argsort(np.concatenate([np.ravel(place) for place in places]))
    return joined(list(parts)).at(order).reshaped(shape)


def outer(points: Points, a: Numbers, b: Numbers) -> Numbers:
    shape = (a.f.size, b.f.size)
    rows = a.at(np.broadcast_to(positions(a)[:, None], shape))
    columns = b.at(np.broadcast_to(positions(b)[None, :], shape))
    return points.multiply(rows, columns)


def repeated(x: Numbers, position: int, count: int) -> Numbers:
    return x.at(np.full(count, position))


# -- P A = L U


def lu(walk: Walk, e: Any, x: Numbers) -> list[Value]:
    *batch, rows, columns = x.shape
    matrices = [x.at(where) for where in positions(x).reshape(-1, rows, columns)]
    pivots = [pivots_of(matrix.f) for matrix in matrices]
    is_tied = any(tied for _, _, tied in pivots) and not x.is_literal
    walk.branch(e, np.zeros(1), ("this order of rows",), is_tied)
    factors = [
        eliminated(walk.points, matrix.at(positions(matrix)[order]))
        for matrix, (_, order, _) in zip(matrices, pivots, strict=True)
    ]
    return [
        joined(factors).reshaped(x.shape),
        np.asarray([rows for rows, _, _ in pivots], np.int32).reshape(*batch, -1),
        np.asarray([order for _, order, _ in pivots], np.int32).reshape(*batch, rows),
    ]


def pivots_of(a: Any) -> tuple[list[int], list[int], bool]:
    """Which row each is exchanged with, the order of rows at the end, and were two alike?"""
    a, order, exchanged, is_tied = np.array(a), list(range(len(a))), [], False
    for k in range(min(a.shape)):
        sizes = np.abs(a[k:, k])
        row = k + int(np.argmax(sizes))
        is_tied |= int(np.sum(sizes == sizes.max())) != 1  # 0 where one is not a number
        exchanged.append(row)
        a[[k, row]] = a[[row, k]]
        order[k], order[row] = order[row], order[k]
        a[k + 1 :] -= np.outer(a[k + 1 :, k] / a[k, k], a[k])
    return exchanged, order, is_tied


def eliminated(points: Points, a: Numbers) -> Numbers:
    """Below the diagonal L, whose diagonal is 1; the rest is U."""
    shape, places = a.shape, positions(a)
    parts, at = [], []
    for k in range(min(shape)):
        where = positions(a)
        head = a.at(where[0])
        parts.append(head)
        at.append(places[k, k:])
        below = a.at(where[1:, 0])
        factors = points.divide(below, repeated(a, int(where[0, 0]), below.f.size))
        parts.append(factors)
        at.append(places[k + 1 :, k])
        others = head.at(positions(head)[1:])
        a = points.subtract(a.at(where[1:, 1:]), outer(points, factors, others))
    return in_place(parts, at, shape)


# -- A = L Lᵀ


def cholesky(walk: Walk, e: Any, x: Numbers) -> Numbers:
    """Of the lower triangle, as LAPACK reads it alone."""
    *_, n, _ = x.shape
    matrices = [x.at(where) for where in positions(x).reshape(-1, n, n)]
    return joined([_root(walk.points, matrix) for matrix in matrices]).reshaped(x.shape)


def _root(points: Points, a: Numbers) -> Numbers:
    shape, places = a.shape, positions(a)
    above = places[np.triu_indices(len(places), 1)]
    parts, at = [points.literals(np.zeros(above.shape))], [above]
    for k in range(len(places)):
        where = positions(a)
        pivot = points.sqrt(a.at(where[:1, 0]))
        below = a.at(where[1:, 0])
        column = points.divide(below, repeated(pivot, 0, below.f.size))
        parts += [pivot, column]
        at += [places[k, k], places[k + 1 :, k]]
        a = points.subtract(a.at(where[1:, 1:]), outer(points, column, column))
    return in_place(parts, at, shape)


# -- A X = B, A triangular


def triangular_solve(walk: Walk, e: Any, a: Value, b: Value) -> Numbers:
    of_a, of_b, is_lower = positions(a), positions(b), e.params["lower"]
    if e.params["transpose_a"] == e.params["left_side"]:  # X A = B is Aᵀ Xᵀ = Bᵀ
        of_a, is_lower = of_a.swapaxes(-1, -2), not is_lower
    if not e.params["left_side"]:
        of_b = of_b.swapaxes(-1, -2)
    a, b = numbers_of(walk, a).at(of_a), numbers_of(walk, b).at(of_b)
    n, columns = b.shape[-2:]
    pairs = zip(positions(a).reshape(-1, n, n), positions(b).reshape(-1, n, columns), strict=True)
    has_units = e.params["unit_diagonal"]
    solutions = [
        substituted(
            walk.points, a.at(i), b.at(j), range(n) if is_lower else range(n)[::-1], has_units
        )
        for i, j in pairs
    ]
    solution = joined(solutions).reshaped(b.shape)
    if e.params["left_side"]:
        return solution
    return solution.at(positions(solution).swapaxes(-1, -2))


def substituted(points: Points, a: Numbers, b: Numbers, order: Any, has_units: bool) -> Numbers:
    """X of A X = B, row by row in this order: each is taken off those that follow."""
    of_a, columns, places = positions(a), b.shape[1], np.asarray(order, int)
    left, solved = b.at(positions(b)[places]), []
    for k, i in enumerate(places):
        where = positions(left)
        row = left.at(where[0])
        if not has_units:
            row = points.divide(row, repeated(a, int(of_a[i, i]), columns))
        solved.append(row)
        factors = a.at(of_a[places[k + 1 :], i])
        left = points.subtract(left.at(where[1:]), outer(points, factors, row))
    return joined(solved).reshaped(b.shape).at(positions(b)[np.argsort(places)])


def custom_linear_solve(walk: Walk, e: Any, *inputs: Value) -> list[Value]:
    """The solver's own graph, which follows those of the products."""
    lengths = e.params["const_lengths"]
    start = lengths.matvec + lengths.vecmat
    constants = inputs[start : start + lengths.solve]
    return walk.run(e.params["jaxprs"].solve, [*constants, *inputs[sum(lengths) :]])


ARITHMETIC.update(lu=lu, cholesky=cholesky, triangular_solve=triangular_solve)
CONTROL.update(custom_linear_solve=custom_linear_solve)
