"""Is the rule right where booleans and integers are others than those given?

Nobody differentiates flags, masks and ids, so the other points keep them. Here others are put in
their place, and what is wrong there must be so beyond doubt, as at special points (sweep.py):

    booleans    a flag flipped; of an array a third, but of each row one True and one False stay,
                where it has them; a row all False
    integers    a third replaced by others of those given, where some repeat; or by a number that
                the code asks them to equal, such as the label of rows to be ignored

What those given suggest is kept: numbers that are distinct, grouped, in rows of distinct ones, or
distinct as pairs with those of another array are left alone, and so are coordinates. Of an array
that may be so by intent (rows that end in padding, as many True in each, a symmetric one, integers
that add up to the length of an array, or that name one before each), and of a row all False, only a
rule that is no number is wrong.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any, NamedTuple, TypeAlias

import jax.numpy as jnp
import numpy as np

from jaxnet.checking.arrays import Array
from jaxnet.checking.bench import Bench, Look
from jaxnet.checking.budget import Budget
from jaxnet.checking.findings import Finding
from jaxnet.checking.problem import NO_ARGUMENT, Leaves, Problem
from jaxnet.checking.questions import sweep
from jaxnet.checking.questions.reach import Reach

NAME = "other booleans and integers"  # in the report
OF_THE_CODE = "a third of the integers such as the code asks for"
COORDINATES = 3  # an axis so short may be that of a point


class Changed(NamedTuple):
    """An array in the place of one of the problem's; is_doubtful: it may be none that f takes."""

    array: Array
    is_doubtful: bool


class Point(NamedTuple):
    """others: in the place of the problem's."""

    how: str
    others: Leaves
    is_doubtful: bool


# None where it is left alone.
Change: TypeAlias = Callable[[Problem, Array, np.random.Generator], Changed | None]


def ask(bench: Bench, look: Look, reached: Reach, budget: Budget) -> Reach:
    """The algebra with what is wrong there, and what these do not enter either."""
    problem = bench.problem
    if sweep.is_left_out(bench) or NO_ARGUMENT in problem.other_argument:
        return reached
    for how, others, is_doubtful in points(problem, bench.stream, bench.programs.compared):
        if budget.is_spent(NAME):
            break
        # With the same programs: others are data of them.
        there = replace(bench, problem=replace(problem, others=others))
        now = sweep.judged(there, look, [look.x], reached, how)
        value = reached.value if is_doubtful else now.value
        algebra = _of_no_number(reached.algebra, now.algebra) if is_doubtful else now.algebra
        reached = Reach(
            _found_at(others, reached.value, value),
            _found_at(others, reached.algebra, algebra),
            now.looks,
            now.never,
        )
    return reached


def _of_no_number(before: list[Finding], now: list[Finding]) -> list[Finding]:
    """Those found now, where the rule is no number."""
    pairs = zip(before, now, strict=True)
    return [old if new is old or np.isfinite(new.rule) else new for old, new in pairs]


def _found_at(others: Leaves, before: list[Finding], now: list[Finding]) -> list[Finding]:
    pairs = zip(before, now, strict=True)
    return [old if new is old else replace(new, _others=others) for old, new in pairs]


# -- points


def points(
    problem: Problem,
    stream: Callable[[str], np.random.Generator],
    compared: Sequence[tuple[int, int]] = (),
) -> Iterator[Point]:
    """Flags one by one; of the arrays those together that are as doubtful.

    compared: integers that the code asks arrays to equal, each with the size of such an array.
    """
    yield from _flags(problem)
    for how, change in _CHANGES.items():
        rng = stream(how)
        changed = {k: change(problem, x, rng) for k, x in _arrays(problem).items()}
        for is_doubtful in (False, True):
            alike = {k: c.array for k, c in changed.items() if c and c.is_doubtful is is_doubtful}
            if alike:
                yield Point(how, _with(problem.others, alike), is_doubtful)
    marked = _of_the_code(problem, compared, stream(OF_THE_CODE))
    if marked:
        yield Point(OF_THE_CODE, _with(problem.others, marked), is_doubtful=False)


def _flags(problem: Problem) -> Iterator[Point]:
    for k, x in enumerate(problem.others):
        if x.dtype == bool and x.size == 1:
            name = problem.arguments[problem.other_argument[k]]
            flipped = _with(problem.others, {k: ~np.asarray(x)})
            yield Point(f"the boolean {name} flipped", flipped, False)


def _arrays(problem: Problem) -> dict[int, Array]:
    """Booleans and integers, by their number."""
    is_array = {k: x for k, x in enumerate(problem.others) if x.size > 1}
    kinds = (np.bool_, np.signedinteger)  # keys are unsigned
    return {k: np.asarray(x) for k, x in is_array.items() if _is_of(x.dtype, kinds)}


def _is_of(dtype: Any, kinds: tuple[Any, ...]) -> bool:
    return any(jnp.issubdtype(dtype, kind) for kind in kinds)


def _with(others: Leaves, changed: dict[int, Array]) -> Leaves:
    """Those changed have the dtype of those given."""
    return tuple(changed[k].astype(x.dtype) if k in changed else x for k, x in enumerate(others))


def _rows(x: Array) -> Array:
    """[rows, of each]; a column is one row."""
    return x.reshape(1, -1) if x.ndim < 2 or x.shape[-1] == 1 else x.reshape(-1, x.shape[-1])


def _third(x: Array) -> int:
    return -(-x.size // 3)


# -- booleans, or integers that are 0 and 1


def _flipped(problem: Problem, x: Array, rng: np.random.Generator) -> Changed | None:
    """Of what is all True, or all False, the last third of each row: padding is so."""
    if not _are_booleans(x):
        return None
    rows = _rows(x.astype(bool))
    flipped, is_constant = rows.copy(), rows.min() == rows.max()
    if is_constant:
        flipped[:, 2 * rows.shape[1] // 3 :] ^= True
    else:
        flipped.flat[rng.choice(x.size, _third(x), replace=False)] ^= True
    for kept in (True, False):
        lacks_it = (rows == kept).any(1) & (flipped != kept).all(1)
        flipped[lacks_it] = rows[lacks_it]
    if (flipped == rows).all():
        return None
    return Changed(flipped.reshape(x.shape), _may_be_by_intent(x.astype(bool), is_constant))


def _are_booleans(x: Array) -> bool:
    return x.dtype == bool or set(np.unique(x)) == {0, 1}


def _may_be_by_intent(x: Array, is_constant: bool) -> bool:
    """Padding, a triangle, as many True in each row, or a symmetric matrix."""
    if _is_symmetric(x):
        return True
    rows = _rows(x)
    counts = rows.sum(1)
    are_as_many = counts.min() == counts.max() and (len(rows) > 1 or counts[0] == 1)
    return not is_constant and (are_as_many or _ascend(rows) or _ascend(rows[:, ::-1]))


def _is_symmetric(x: Array) -> bool:
    return x.ndim > 1 and x.shape[-1] == x.shape[-2] and bool((x == np.swapaxes(x, -1, -2)).all())


def _ascend(rows: Array) -> bool:
    return bool((rows[:, 1:] >= rows[:, :-1]).all())


def _none(problem: Problem, x: Array, rng: np.random.Generator) -> Changed | None:
    if not _are_booleans(x) or len(rows := _rows(x).copy()) < 2:
        return None
    rows[rng.integers(len(rows))] = False
    return Changed(rows.reshape(x.shape), is_doubtful=True)


# -- integers


def _replaced(problem: Problem, x: Array, rng: np.random.Generator) -> Changed | None:
    if _are_booleans(x) or _are_chosen(problem, x):
        return None
    rows = _rows(x)
    replaced = _without_the_rarest if len(rows) == 1 else _of_other_rows
    changed = replaced(rows, rng).reshape(x.shape)
    return None if (changed == x).all() else Changed(changed, _may_be_counts_or_tree(problem, x))


def _without_the_rarest(rows: Array, rng: np.random.Generator) -> Array:
    """A group is empty then."""
    values, counts = np.unique(rows, return_counts=True)
    is_rarest = rows == values[np.argmin(counts)]
    chosen = np.lexsort((rng.random(rows.size), ~is_rarest[0]))[: max(_third(rows), counts.min())]
    changed = rows.copy()
    changed.flat[chosen] = rng.choice(np.delete(values, np.argmin(counts)), chosen.size)
    return changed


def _of_other_rows(rows: Array, rng: np.random.Generator) -> Array:
    """Of the same column, where such a number is in reach of the row's own."""
    another = rows[rng.permutation(len(rows))]
    is_in_reach = (another >= rows.min(1)[:, None]) & (another <= rows.max(1)[:, None])
    chosen = np.zeros(rows.shape, bool)
    chosen.flat[rng.choice(rows.size, _third(rows), replace=False)] = True
    return np.where(chosen & is_in_reach, another, rows)


def _are_chosen(problem: Problem, x: Array) -> bool:
    """Whether they are as somebody would choose them: others would be no such numbers."""
    rows, values = _rows(x), np.unique(x)
    are_distinct = all(len(np.unique(row)) == len(row) for row in rows)
    are_grouped = all(np.count_nonzero(np.diff(r)) + 1 == len(np.unique(r)) for r in rows)
    are_coordinates = len(rows) > 1 and min(x.shape) <= COORDINATES
    return (
        len(values) == 1 or are_distinct or are_grouped or are_coordinates or _is_part(problem, x)
    )


def _is_part(problem: Problem, x: Array) -> bool:
    """Of tuples, each of which is there once: places of a sparse matrix, edges of a graph."""
    alike = [np.ravel(o) for k, o in _arrays(problem).items() if o.shape == x.shape]
    return len(alike) > 1 and len(np.unique(np.stack(alike), axis=1).T) == x.size


def _may_be_counts_or_tree(problem: Problem, x: Array) -> bool:
    """Numbers of rows for each group, or for each node the one above it."""
    lengths = {n for leaf in problem.leaves for n in leaf.shape}
    is_above = x.ndim == 1 and bool((x[1:] < np.arange(1, x.size)).all())
    return int(x.sum()) in lengths or is_above


def _of_the_code(
    problem: Problem, compared: Sequence[tuple[int, int]], rng: np.random.Generator
) -> dict[int, Array]:
    """By number of the array: a third replaced; none where two arrays may be the one compared."""
    arrays = {k: x for k, x in _arrays(problem).items() if not _are_booleans(x)}
    sizes = [x.size for x in arrays.values()]
    changed = {}
    for k, x in arrays.items():
        marks = [n for n, size in compared if size == x.size and n not in x]
        if marks and sizes.count(x.size) == 1:
            changed[k] = x.copy()
            chosen = rng.choice(x.size, _third(x), replace=False)
            changed[k].flat[chosen] = np.resize(marks, chosen.size)
    return changed


_CHANGES: dict[str, Change] = {
    "a third of the booleans flipped": _flipped,
    "a row of the booleans all False": _none,
    "a third of the integers replaced by others of them": _replaced,
}
