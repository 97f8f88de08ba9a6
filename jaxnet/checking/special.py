"""Special points: numbers that typical arguments lack, where their domains allow them.

Some faults show only at 0, at an integer, where two numbers are equal, where all of a row are. Of
each leaf a part is replaced and the rest stays, so that what is small somewhere is held against
what is not. What holds of whole rows (an order, a sum of one) is left alone, and so is 0 where all
numbers are positive: a positive number is not 0.
"""

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any, TypeAlias

import numpy as np

from jaxnet.checking.arrays import Array, typical
from jaxnet.checking.bench import Bench, Look
from jaxnet.checking.domains import ANY, ELEMENTWISE, FIXED, Domain, Kind, domain_of
from jaxnet.checking.problem import Leaves

# In typical sizes, between them and twice that: above an epsilon that a rule may leave out, and
# below the numbers where functions switch to a series.
SMALL = {"1,000": 1e-3, "50,000": 2e-5}
INTEGERS = np.array([2.0, -2.0, 3.0, -3.0, 4.0])
SIGNS = {Kind.POSITIVE: 1.0, Kind.NEGATIVE: -1.0}

# The numbers to be put in the place of those chosen of a leaf; None where its domain has none such.
Numbers: TypeAlias = Callable[[Domain, Array, Array, np.random.Generator], Array | None]


def points(bench: Bench, look: Look) -> Iterator[tuple[str, list[Leaves]]]:
    """Each with how it was made: in all arguments together, then, where that fails, in each alone.

    The leaves are in the dtypes of the look, and of numbers that those given can hold.
    """
    domains = _domains(bench, look)
    for how, made in _KINDS.items():
        rng = bench.stream(how)
        pairs = zip(domains, look.x, strict=True)
        leaves = [None if d == FIXED else made(d, _host(x), rng) for d, x in pairs]
        yield how, [*_together(bench, look, leaves), *_alone(bench, look, leaves).values()]
    another = _of_another(domains, look, bench.stream("of another"))
    yield "a third of the numbers those of another argument", _together(bench, look, another)
    zeros = [_zeros(d, _host(x)) for d, x in zip(domains, look.x, strict=True)]
    for name, x in _alone(bench, look, zeros).items():
        yield f"{name} all 0", [x]


def _domains(bench: Bench, look: Look) -> list[Domain]:
    """Of each leaf; FIXED where nothing is to be replaced in it."""
    domains = []
    for k, name in enumerate(bench.problem.names):
        domain = domain_of(bench.problem, k)
        is_elementwise = domain.kind in ELEMENTWISE and not (domain.is_sorted or domain.project)
        is_fixed = not is_elementwise or name in bench.problem.wholes or not look.x[k].size
        domains.append(FIXED if is_fixed else _of_one_sign(bench, look, k, domain))
    return domains


def _of_one_sign(bench: Bench, look: Look, k: int, domain: Domain) -> Domain:
    """Few numbers of one sign are so by intent where the function has no value for others."""
    x = _host(look.x[k])
    is_of_one_sign = bool((x > 0).all() or (x < 0).all())
    if domain != ANY or not is_of_one_sign:
        return domain
    turned = tuple(-a if j == k else a for j, a in enumerate(look.x))
    with bench.skipping(f"{bench.problem.names[k]} times -1"):
        run = bench.run(turned, look.cs[0], look.cs[1])
        if replace(look, runs=[run]).is_finite():
            return domain
    return Domain(Kind.POSITIVE if x.flat[0] > 0 else Kind.NEGATIVE)


def _together(bench: Bench, look: Look, leaves: list[Array | None]) -> list[Leaves]:
    """The point at which all leaves are replaced, if any is."""
    if all(leaf is None for leaf in leaves):
        return []
    own = (x.dtype for x in bench.problem.leaves)
    rows = zip(leaves, own, look.x, strict=True)
    return [tuple(x if leaf is None else _fitting(leaf, d, x) for leaf, d, x in rows)]


def _alone(bench: Bench, look: Look, leaves: list[Array | None]) -> dict[str, Leaves]:
    """By name of the argument: the point at which it alone is replaced."""
    points = {}
    for a in sorted(set(bench.problem.argument)):
        pairs = zip(leaves, bench.problem.argument, strict=True)
        for point in _together(bench, look, [leaf if b == a else None for leaf, b in pairs]):
            points[bench.problem.arguments[a]] = point
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


def _row(numbers: Numbers) -> Callable[..., Array | None]:
    """A row of the leaf's replaced, where there are several."""

    def made(domain: Domain, x: Array, rng: np.random.Generator) -> Array | None:
        if x.ndim < 2 or x.size == x.shape[-1]:
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


def _number(value: float) -> Numbers:
    """Everywhere this one."""

    def numbers(domain: Domain, x: Array, chosen: Array, rng: Any) -> Array | None:
        has_it = domain.kind is Kind.ANY or value * SIGNS.get(domain.kind, 0.0) > 0
        return np.full(chosen.size, value) if has_it else None

    return numbers


def _zeros(domain: Domain, x: Array) -> Array | None:
    return np.zeros_like(x) if domain.kind is Kind.ANY and x.any() else None


def _integers(domain: Domain, x: Array, chosen: Array, rng: Any) -> Array | None:
    numbers = np.resize(INTEGERS, chosen.size)
    if domain.kind in SIGNS:
        return np.abs(numbers) * SIGNS[domain.kind]
    return numbers if domain.kind is Kind.ANY else None


def _equal(domain: Domain, x: Array, chosen: Array, rng: Any) -> Array | None:
    """To one of the leaf's."""
    return np.full(chosen.size, rng.choice(x.ravel()))


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


def _of_another(domains: list[Domain], look: Look, rng: np.random.Generator) -> list[Array | None]:
    """Those of the first leaf that has the same shape and domain."""
    made: list[Array | None] = []
    for k, x in enumerate(look.x):
        alike = [j for j in range(k) if look.x[j].shape == x.shape and domains[j] == domains[k]]
        if not alike or domains[k] == FIXED:
            made.append(None)
            continue
        chosen = rng.choice(x.size, -(-x.size // 3), replace=False)
        made.append(_with(_host(x), chosen, _host(look.x[alike[0]]).flat[chosen]))
    return made


_KINDS: dict[str, Callable[..., Array | None]] = {
    "a third of the numbers 0": _third(_number(0.0)),
    "a third of the numbers 1": _third(_number(1.0)),
    "a third of the numbers -1": _third(_number(-1.0)),
    "a third of the numbers small integers": _third(_integers),
    "a third of the numbers equal": _third(_equal),
    **{f"a third of the numbers {n} times smaller": _third(_small(s)) for n, s in SMALL.items()},
    "a third of the numbers at the ends of their interval": _third(_ends),
    "a row of zeros": _row(_number(0.0)),
    "a row of equal numbers": _row(_equal),
}
