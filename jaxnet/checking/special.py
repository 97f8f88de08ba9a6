"""Special points: numbers that typical arguments lack, where their domains allow them.

Some faults show only at 0, at an integer, where two numbers are equal, where all of a row are. Of
each leaf a part is replaced and the rest stays, so that what is small somewhere is held against
what is not. What holds of whole rows (an order, a sum of one) or of a matrix (symmetry, a triangle)
is left alone, and so is 0 where all numbers are positive: a positive number is not 0.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any, TypeAlias

import numpy as np

from jaxnet.checking.arrays import Array, largest, typical
from jaxnet.checking.domains import ELEMENTWISE, FIXED, Domain, Kind, domain_of
from jaxnet.checking.problem import Leaves, Problem

LITTLE = 1e-4  # of a number: what is rounded in a cancelling formula is another then
# In typical sizes, between them and twice that: above an epsilon that a rule may leave out, and
# below the numbers where functions switch to a series.
SMALL = {"1,000": 1e-3, "50,000": 2e-5}
# Times the largest number given: an iteration that converges at those need not much further out.
REACH = 2
ANOTHER = "a third of the numbers those of another argument"
ROW_OF_ANOTHER = "a row that of another argument"
# Such as a function may compare with. What is beyond them too, where none of those given is.
NAMED, BEYOND_NAMED = "numbers that the code names", "numbers twice those that the code names"
MOST_NAMED = 8  # of them
NEAREST, FARTHEST = 1e-6, 64  # times the largest number given
SIGNS = {Kind.POSITIVE: 1.0, Kind.NEGATIVE: -1.0}

# The numbers to be put in the place of those chosen of a leaf; None where its domain has none such.
Numbers: TypeAlias = Callable[[Domain, Array, Array, np.random.Generator], Array | None]


def points(
    problem: Problem,
    x: Leaves,
    stream: Callable[[str], np.random.Generator],
    named: Sequence[float] = (),
) -> Iterator[tuple[str, list[Leaves]]]:
    """Each with how it was made: in all arguments together, then, where that fails, in each alone.

    x: the leaves given, in the dtypes to be made; the numbers are such as those given can hold,
        but for those named: that the code compares with, say.
    """
    domains = [elementwise(problem, k) for k in range(len(x))]
    for how, made in _KINDS.items():
        rng = stream(how)
        pairs = zip(domains, map(_host, x), strict=True)
        leaves = [None if d.kind is Kind.FIXED else made(d, a, rng) for d, a in pairs]
        yield how, [*_together(problem, x, leaves), *_alone(problem, x, leaves).values()]
    another = _of_another(domains, x, stream(ANOTHER))
    yield ANOTHER, _together(problem, x, another)
    yield ROW_OF_ANOTHER, _together(problem, x, _row_of_another(domains, x, stream(ROW_OF_ANOTHER)))
    wide = replace(problem, leaves=x)  # a threshold of 0.1 is none in float32
    for how, numbers in ((NAMED, _within_reach), (BEYOND_NAMED, _beyond)):
        leaves = _of_the_code(domains, x, stream(how), named, numbers)
        yield how, [*_together(wide, x, leaves), *_alone(wide, x, leaves).values()]
    zeros = [_zeros(d, _host(a)) for d, a in zip(domains, x, strict=True)]
    for name, point in _alone(problem, x, zeros).items():
        yield f"{name} all 0", [point]


def are_small(how: str) -> bool:
    """Whether the numbers were made small, not equal to some that are known."""
    return how.endswith("times smaller")


def moved_a_little(problem: Problem, x: Leaves, n: int) -> Leaves:
    """Another point for every n: each number a little nearer to 0, equal ones alike."""

    def moved(k: int, leaf: Any) -> Any:
        domain, value = elementwise(problem, k), _host(leaf)
        if domain.kind is Kind.FIXED or domain.are_flags:
            return leaf
        nearer = value * (1 - LITTLE * np.abs(np.sin(1e6 * (n + 1) * value)))
        if domain.kind is Kind.UNIT:
            nearer = np.clip(nearer, domain.low, domain.high)
        return nearer.astype(leaf.dtype)

    return tuple(moved(k, leaf) for k, leaf in enumerate(x))


def elementwise(problem: Problem, k: int) -> Domain:
    """The domain of a leaf, FIXED where its numbers are not to be changed one by one."""
    domain = domain_of(problem, k)
    is_bound = domain.is_sorted or domain.is_near or domain.project
    is_elementwise = domain.kind in ELEMENTWISE and not is_bound
    x = problem.leaves[k]
    is_whole = problem.names[k] in problem.wholes or not x.size or _has_a_form(x)
    return domain if is_elementwise and not is_whole else FIXED


def _has_a_form(x: Array) -> bool:
    """A matrix, or several, symmetric, skew or triangular: a number alone must not be replaced."""
    if x.ndim < 2 or x.shape[-1] != x.shape[-2] or x.shape[-1] == 1:
        return False
    turned = np.swapaxes(x, -1, -2)
    is_triangular = not np.triu(x, 1).any() or not np.tril(x, -1).any()
    return is_triangular or bool((x == turned).all() or (x == -turned).all())


def _together(problem: Problem, x: Leaves, leaves: list[Array | None]) -> list[Leaves]:
    """The point at which all leaves are replaced, if any is."""
    if all(leaf is None for leaf in leaves):
        return []
    own = (given.dtype for given in problem.leaves)
    rows = zip(leaves, own, x, strict=True)
    return [tuple(a if leaf is None else _fitting(leaf, d, a) for leaf, d, a in rows)]


def _alone(problem: Problem, x: Leaves, leaves: list[Array | None]) -> dict[str, Leaves]:
    """By name of the argument: the point at which it alone is replaced."""
    points = {}
    for argument in sorted(set(problem.argument)):
        pairs = zip(leaves, problem.argument, strict=True)
        mine = [leaf if a == argument else None for leaf, a in pairs]
        for point in _together(problem, x, mine):
            points[problem.arguments[argument]] = point
    return points


def _fitting(leaf: Any, own: Any, x: Any) -> Array:
    fitting: Array = np.asarray(leaf).astype(own).astype(x.dtype)
    return fitting


def _host(x: Any) -> Array:
    return np.asarray(x, np.float64)


# -- numbers of a leaf


def _third(numbers: Numbers) -> Callable[..., Array | None]:
    """A third of the leaf's numbers replaced."""

    def made(domain: Domain, x: Array, rng: np.random.Generator) -> Array | None:
        chosen = rng.choice(x.size, -(-x.size // 3), replace=False)
        return _with(x, chosen, numbers(domain, x, chosen, rng))

    return made


def _one(numbers: Numbers) -> Callable[..., Array | None]:
    """One of the leaf's numbers replaced: at a kink no other is then equal to it."""

    def made(domain: Domain, x: Array, rng: np.random.Generator) -> Array | None:
        chosen = rng.choice(x.size, 1)
        return _with(x, chosen, numbers(domain, x, chosen, rng))

    return made


def _row(numbers: Numbers, of_vectors: bool = False) -> Callable[..., Array | None]:
    """A row of the leaf's replaced, where there are several; a vector is but one."""

    def made(domain: Domain, x: Array, rng: np.random.Generator) -> Array | None:
        if x.ndim == 0 or (x.size == x.shape[-1] and not of_vectors):
            return None
        first = x.shape[-1] * int(rng.integers(x.size // x.shape[-1]))
        chosen = np.arange(first, first + x.shape[-1])
        return _with(x, chosen, numbers(domain, x, chosen, rng))

    return made


def _with(x: Array, chosen: Array, numbers: Array | None) -> Array | None:
    if numbers is None:
        return None
    changed = x.copy()
    changed.flat[chosen] = numbers
    return None if (changed == x).all() else changed


def _numbers(*values: float) -> Numbers:
    """Those of these that are in reach, in turn."""

    def numbers(domain: Domain, x: Array, chosen: Array, rng: Any) -> Array | None:
        inside = [v for v in values if abs(v) <= REACH * largest(x) and _is_in(domain, v, x)]
        return np.resize(np.array(inside), chosen.size) if inside else None

    return numbers


def _zeros(domain: Domain, x: Array) -> Array | None:
    return np.zeros_like(x) if domain.kind is Kind.ANY and x.any() else None


def _equal(domain: Domain, x: Array, chosen: Array, rng: Any) -> Array | None:
    """To one of the leaf's."""
    return np.full(chosen.size, rng.choice(x.ravel()))


def _another_row(domain: Domain, x: Array, chosen: Array, rng: Any) -> Array | None:
    rows = x.reshape(-1, x.shape[-1])
    others = np.delete(rows, chosen[0] // x.shape[-1], axis=0)
    row: Array = rng.choice(others)
    return row


def _small(size: float) -> Numbers:
    def numbers(domain: Domain, x: Array, chosen: Array, rng: Any) -> Array | None:
        if domain.kind is Kind.UNIT:
            return None
        near_zero = size * rng.uniform(1, 2, chosen.size)
        small: Array = typical(x) * near_zero * np.where(x.flat[chosen] < 0, -1, 1)
        return small

    return numbers


def _ends(domain: Domain, x: Array, chosen: Array, rng: Any) -> Array | None:
    ends = np.array([domain.low, domain.high])
    return np.resize(ends, chosen.size) if domain.kind is Kind.UNIT else None


def _low_end(domain: Domain, x: Array, chosen: Array, rng: Any) -> Array | None:
    """Of a mask, nothing."""
    return np.full(chosen.size, domain.low) if domain.kind is Kind.UNIT else None


def _of_the_code(
    domains: list[Domain],
    leaves: Leaves,
    rng: np.random.Generator,
    named: Sequence[float],
    numbers: Callable[[Sequence[float], float], list[float]],
) -> list[Array | None]:
    """One number of each for each of those named, so that none is equal to another."""
    made: list[Array | None] = []
    for domain, leaf in zip(domains, leaves, strict=True):
        x = _host(leaf)
        inside = [v for v in numbers(named, largest(x)) if _is_in(domain, v, x)]
        chosen = rng.permutation(x.size)[: min(len(inside), MOST_NAMED)]
        made.append(_with(x, chosen, np.array(inside)[: chosen.size]))
    return made


def _within_reach(named: Sequence[float], size: float) -> list[float]:
    """None that is as good as 0: a squared one may underflow."""
    return [v for v in named if NEAREST * size <= abs(v) <= REACH * size]


def _beyond(named: Sequence[float], size: float) -> list[float]:
    """Of either sign: a clip has two ends, and names one of them at times."""
    beyond = [2 * v for v in named if REACH * size < abs(v) <= FARTHEST * size]
    return [sign * v for v in beyond for sign in (1, -1)]


def _is_in(domain: Domain, value: float, x: Array) -> bool:
    """x: the numbers given; where all are positive and below 1, they may be probabilities."""
    if domain.kind is Kind.UNIT:
        if domain.are_flags:
            return False
        return domain.low < value < domain.high  # the ends are a kind of their own
    if domain.kind is Kind.POSITIVE and not domain.is_given and x.max() < 1:
        return 0 < value < 1
    return domain.kind is Kind.ANY or value * SIGNS.get(domain.kind, 0.0) > 0


def _of_another(
    domains: list[Domain], leaves: Leaves, rng: np.random.Generator
) -> list[Array | None]:
    """Those of the first leaf that has the same shape, or less axes, and that lie in the domain."""
    made: list[Array | None] = []
    for k, x in enumerate(leaves):
        alike = [j for j in range(len(leaves)) if _may_stand_for(j, k, domains, leaves)]
        if not alike or domains[k].kind is Kind.FIXED:
            made.append(None)
            continue
        chosen = rng.choice(x.size, -(-x.size // 3), replace=False)
        others = np.broadcast_to(_host(leaves[alike[0]]), x.shape)
        made.append(_with(_host(x), chosen, others.flat[chosen]))
    return made


def _row_of_another(
    domains: list[Domain], leaves: Leaves, rng: np.random.Generator
) -> list[Array | None]:
    """That of an earlier leaf with rows as long, and of the same domain."""
    made: list[Array | None] = []
    for k, x in enumerate(leaves):
        alike = [j for j in range(k) if domains[j] == domains[k] and _rows_alike(leaves[j], x)]
        if not alike or domains[k].kind is Kind.FIXED:
            made.append(None)
            continue
        rows, others = (np.array(_host(a)).reshape(-1, x.shape[-1]) for a in (x, leaves[alike[0]]))
        rows[rng.integers(len(rows))] = rng.choice(others)
        made.append(rows.reshape(x.shape))
    return made


def _rows_alike(a: Any, b: Any) -> bool:
    have_rows = min(a.ndim, b.ndim) > 1 and min(a.size, b.size) > 0
    return have_rows and bool(a.shape[-1] == b.shape[-1])


def _may_stand_for(j: int, k: int, domains: list[Domain], leaves: Leaves) -> bool:
    one, other = leaves[j].shape, leaves[k].shape
    is_of_it = j < k if one == other else one == other[len(other) - len(one) :]
    return is_of_it and (domains[k].kind is Kind.ANY or domains[j] == domains[k])


_KINDS: dict[str, Callable[..., Array | None]] = {
    "a third of the numbers 0": _third(_numbers(0.0)),
    "one number 0": _one(_numbers(0.0)),
    "a third of the numbers 1": _third(_numbers(1.0)),
    "a third of the numbers -1": _third(_numbers(-1.0)),
    "a third of the numbers 2, 3 and 4": _third(_numbers(2.0, 3.0, 4.0)),
    "a third of the numbers -2, -3 and -4": _third(_numbers(-2.0, -3.0, -4.0)),
    "a third of the numbers equal": _third(_equal),
    **{f"a third of the numbers {n} times smaller": _third(_small(s)) for n, s in SMALL.items()},
    "a third of the numbers at the ends of their interval": _third(_ends),
    "a row 50,000 times smaller": _row(_small(SMALL["50,000"])),
    "a row of zeros": _row(_numbers(0.0)),
    "a row at the low end of its interval": _row(_low_end),
    "a row of equal numbers": _row(_equal, of_vectors=True),
    "two rows equal": _row(_another_row),
}
