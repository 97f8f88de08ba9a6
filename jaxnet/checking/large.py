"""Large arrays: a problem of millions of elements as a small one, which is judged like any other.

Every number of a run comes back to the host, in float64, for each of the transformed functions:
some kB for every element. So of a large leaf x two small ones are made, and x itself is data:

    the sample    some of its elements, as a leaf of one axis: each is judged as ever
    the whole     s, one number for each of some blocks of x, all of them 1. What the function is
                  given is x (1 + w (s - 1)), with w random in (-1, 1), that is x itself; the
                  cotangent of s is the sum of w x x̄ over a block. So no element goes unseen:
                  neither a NaN nor what breaks a law. (Zeros stay zeros, and signs signs.)

A large output y becomes its sample and the sums of w y over blocks, here with w of ±1, ±1/2, ±1/4,
±1/8: a product with such a w is exact in every dtype, so that cotangents are the same in all.

The sample has the first and the last element, the largest, the smallest, a zero and what is not
finite; of every block the element in which rule and autodiff differ most; and others at random.
"""

import contextlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, NamedTuple, TypeAlias, cast

import jax
import jax.numpy as jnp
import numpy as np

from jaxnet.checking.arrays import Array, index_of
from jaxnet.checking.blocks import (
    BLOCKS,
    at_least_float32,
    block_sums,
    block_sums_of_finite,
    checksum,
    elements_of_block,
    in_blocks,
    random_numbers,
    spread_over_blocks,
)
from jaxnet.checking.cost import cost_of
from jaxnet.checking.domains import Domain, domain_of, of_sample
from jaxnet.checking.findings import Cost, Finding, Question, Verdict
from jaxnet.checking.problem import LARGE, NO_ARGUMENT, Function, Leaves, Problem, eps_of
from jaxnet.checking.programs import compiler_options
from jaxnet.checking.questions import structure
from jaxnet.checking.reports import Report
from jaxnet.checking.traces import (
    WIDE,
    AtDtypes,
    Working,
    precision_of,
    pull,
    pullback,
    trace,
)

COUNT = 4096  # elements of a sample
LONG = 2**22  # elements of all large arrays together: from there on a run takes a second
WHOLE = ", whole"  # after the name of an array
COTANGENT_OF = "cotangent of "  # as the second derivative names its leaves
# By number of elements: which of them are in the samples of all arrays that have so many. Arrays
# alike have one sample, so that one that is returned in another's place is recognised.
Numbers: TypeAlias = dict[int, Array]


class Sampled(NamedTuple):
    """A small problem, and how what was found in it reads for the large one."""

    problem: Problem
    translate: Callable[[Report], Report]


def is_large(problem: Problem, above: int = LARGE) -> bool:
    """Whether any leaf or output has more elements than that."""
    return bool(_sizes(problem, above).shapes)


def sampled(
    problem: Problem,
    count: int = COUNT,
    seed: int = 0,
    above: int = LARGE,
    working: Sequence[Working] = (),
) -> Sampled:
    """The problem with a sample of each array that is large, and the whole of it in a few numbers.

    count: elements of a sample, about: those that are always taken come on top. above: how many
    elements make an array large, at least BLOCKS. working: dtypes in which form and cost of the
    large problem itself are asked for.
    The report of the small problem, translated, names leaves and elements of the large one.
    """
    sizes = _sizes(problem, above)
    look = _first_look(problem, sizes)
    chosen = _chosen(problem, sizes, look, count, np.random.default_rng([seed, count]))
    whole = _of_itself(problem, working)
    return Sampled(
        _small(problem, sizes, look, chosen), _Translation(problem, sizes, chosen, *whole)
    )


# -- what needs no element


class _OfItself(NamedTuple):
    """Of the large problem itself: what is wrong with shapes and dtypes, and its cost."""

    form: list[Finding]
    cost: Cost | None


def _of_itself(problem: Problem, working: Sequence[Working]) -> _OfItself:
    """Nothing where it cannot be traced: why, the small problem says too."""
    form, cost = [], None
    with contextlib.suppress(Exception):
        traced = [_traced(problem, w.dtypes) for w in working]
        form = structure.ask(problem, working, [at.rule_shapes() for at in traced])
        cost = cost_of(traced[0], problem.others) if traced else None
    return _OfItself(form, cost)


def _traced(problem: Problem, dtypes: Sequence[Any]) -> AtDtypes:
    """With shapes for leaves: no array is made."""
    pairs = zip(problem.leaves, dtypes, strict=True)
    leaves = tuple(cast(Any, jax).ShapeDtypeStruct(x.shape, d) for x, d in pairs)
    value = trace(problem.rule, leaves, problem.others)
    rule = pullback(value, leaves, problem.others)
    ref_value = trace(problem.ref, leaves, problem.others)
    return AtDtypes(leaves, value, rule, ref_value, rule, route="")


# -- what is large


class _Sizes(NamedTuple):
    """Which leaves, outputs and other outputs are large, by number; and shapes."""

    leaf_shapes: tuple[tuple[int, ...], ...]
    leaves: tuple[int, ...]
    outputs: tuple[int, ...]
    others: tuple[int, ...]
    shapes: dict[str, tuple[int, ...]]  # of all that is large, by name

    def counts(self) -> list[int]:
        """The numbers of elements of which there is a large array."""
        return sorted({_size(shape) for shape in self.shapes.values()})


def _sizes(problem: Problem, above: int) -> _Sizes:
    outputs, others = jax.eval_shape(problem.rule, problem.leaves, problem.others)
    shapes = {}

    def large(names: Sequence[str], arrays: Sequence[Any]) -> tuple[int, ...]:
        numbers = [k for k, x in enumerate(arrays) if _can_be_sampled(x) and x.size > above]
        shapes.update({names[k]: tuple(arrays[k].shape) for k in numbers})
        return tuple(numbers)

    return _Sizes(
        tuple(x.shape for x in problem.leaves),
        large(problem.names, problem.leaves),
        large(problem.outputs, outputs),
        large(problem.other_outputs, others),
        shapes,
    )


def _can_be_sampled(x: Any) -> bool:
    """Random keys have no numbers."""
    return hasattr(x, "size") and not jnp.issubdtype(x.dtype, jax.dtypes.extended)


def _size(shape: Sequence[int]) -> int:
    return int(np.prod(shape))


# -- a first look at all elements


class _Look(NamedTuple):
    """numbers: of those elements in which rule and reference differ most, one of each block.

    are_finite: whether all of each large output is.
    """

    numbers: dict[int, Any]
    are_finite: Sequence[Any]


def _first_look(problem: Problem, sizes: _Sizes) -> _Look:
    """In float64, or in the dtypes given; where it cannot be had, nothing is known."""
    for dtype in (WIDE, None):
        with contextlib.suppress(Exception), precision_of(dtype):
            looking: Any = jax.jit(_looking(problem, sizes, dtype))
            lowered = looking.lower(problem.leaves, problem.others)
            program = lowered.compile(compiler_options=compiler_options(large=True))
            look = program(problem.leaves, problem.others)
            return cast(_Look, jax.tree.map(np.asarray, look))
    return _Look({}, [False] * len(sizes.outputs))


def _looking(problem: Problem, sizes: _Sizes, dtype: Any) -> Callable[[Leaves, Leaves], _Look]:
    def looking(leaves: Leaves, others: Leaves) -> _Look:
        x = tuple(leaf.astype(dtype or leaf.dtype) for leaf in leaves)
        value, _ = problem.rule(x, others)
        c = tuple(random_numbers(np.uint32(0), v.size, v.dtype).reshape(v.shape) for v in value)
        forward, _, r = pull(problem.rule)(x, others, c)
        _, _, t = pull(problem.ref)(x, others, c)
        pairs = [(r[k], t[k]) for k in sizes.leaves]
        pairs += [(forward[k], value[k]) for k in sizes.outputs]
        found: dict[int, list[Any]] = {}
        for a, b in pairs:
            found.setdefault(b.size, []).append(_largest_of_blocks(_difference(a, b)))
        numbers = {size: jnp.concatenate(parts) for size, parts in found.items()}
        return _Look(numbers, [jnp.isfinite(value[k]).all() for k in sizes.outputs])

    return looking


def _difference(r: Any, t: Any) -> Any:
    """How far they are apart, in units of what two right ones may be (arrays.tolerance)."""
    eps, size = eps_of(t.dtype), jnp.abs(t)
    largest = jnp.max(jax.lax.select(jnp.isfinite(size), size, jnp.zeros_like(size)))
    error = jnp.abs(r - t) / (np.sqrt(eps) * size + 4096 * eps * largest)
    # What is not finite is looked at first where only one of them is not.
    neither = ~jnp.isfinite(r) & ~jnp.isfinite(t)
    error = jax.lax.select(neither | (r == t), jnp.zeros_like(error), error)
    return jax.lax.select(jnp.isnan(error), jnp.full_like(error, np.inf), error)


def _largest_of_blocks(x: Any) -> Any:
    """Numbers of the largest element of every block, and of what is left over."""
    head, tail = in_blocks(x)
    first = np.arange(BLOCKS) * head.shape[1]
    numbers = [jnp.argmax(head, axis=1) + first]
    if tail.size:
        numbers.append(jnp.argmax(tail)[None] + head.size)
    return jnp.concatenate(numbers)


# -- the sample


def _chosen(problem: Problem, sizes: _Sizes, look: _Look, count: int, rng: Any) -> Numbers:
    numbers: dict[int, list[Any]] = {}
    for size in sizes.counts():
        at_random, differing = rng.integers(size, size=count), look.numbers.get(size, [])
        numbers[size] = [at_random, [0, size - 1], np.asarray(differing, int)]
    for k in sizes.leaves:
        numbers[problem.leaves[k].size].append(_remarkable(problem.leaves[k]))
    return {
        size: np.unique(np.concatenate(parts)).astype(np.uint32) for size, parts in numbers.items()
    }


def _remarkable(x: Array) -> Array:
    """Numbers of the largest and the smallest element, of a zero, and of what is not finite."""
    sizes = np.abs(np.asarray(x).astype(np.float32)).ravel()
    is_finite = np.isfinite(sizes)
    found = [np.flatnonzero(sizes == 0)[:1], np.flatnonzero(~is_finite)[:BLOCKS]]
    if is_finite.any():
        found.append(np.array([np.nanargmax(np.where(is_finite, sizes, -1)), np.nanargmin(sizes)]))
    return np.concatenate(found)


# -- the small problem


def _small(problem: Problem, sizes: _Sizes, look: _Look, chosen: Numbers) -> Problem:
    leaves: list[Any] = []
    argument: list[int] = []
    for k, x in enumerate(problem.leaves):
        parts = _parts(x, chosen) if k in sizes.leaves else [x]
        leaves += parts
        argument += [problem.argument[k]] * len(parts)
    large = [problem.leaves[k] for k in sizes.leaves]
    ways = _Ways(
        [partial(_restored, bool(np.isfinite(x).all())) for x in large],
        [block_sums if is_finite else block_sums_of_finite for is_finite in look.are_finite],
    )
    # Arrays of the device, so that no run copies them.
    data = [jax.device_put(x, may_alias=True) for x in large]
    data += [jnp.asarray(chosen[size]) for size in sizes.counts()]
    return replace(
        problem,
        rule=_reduced(problem.rule, sizes, ways),
        ref=_reduced(problem.ref, sizes, ways),
        names=_with_wholes(problem.names, sizes.leaves),
        leaves=tuple(leaves),
        argument=tuple(argument),
        domains=_domains_of(problem, sizes.leaves),
        others=(*problem.others, *data),
        other_argument=(*problem.other_argument, *[NO_ARGUMENT] * len(data)),
        outputs=_with_wholes(problem.outputs, sizes.outputs),
        other_outputs=_with_wholes(problem.other_outputs, sizes.others),
        wholes=frozenset(name + WHOLE for name in sizes.shapes),
        is_long=sum(map(_size, sizes.shapes.values())) > LONG,
    )


def _domains_of(problem: Problem, large: Sequence[int]) -> tuple[Domain, ...]:
    every = [domain_of(problem, k) for k in range(len(problem.leaves))]
    parts = [of_sample(d) if k in large else (d,) for k, d in enumerate(every)]
    return tuple(d for part in parts for d in part)


def _parts(x: Array, chosen: Numbers) -> list[Array]:
    """The sample, and the scales of the blocks."""
    return [np.asarray(x).ravel()[chosen[x.size]], np.ones(BLOCKS, x.dtype)]


def _with_wholes(names: Sequence[str], large: Sequence[int]) -> tuple[str, ...]:
    parts = [[n, n + WHOLE] if k in large else [n] for k, n in enumerate(names)]
    return tuple(name for part in parts for name in part)


class _Ways(NamedTuple):
    """How each large leaf is put together, and each large output summed: finite or not."""

    restored: Sequence[Callable[..., Any]]
    sums: Sequence[Callable[..., Any]]


def _reduced(f: Function, sizes: _Sizes, ways: _Ways) -> Function:
    """The function of the small problem. It holds no array: programs are kept for long."""

    def reduced(leaves: Leaves, others: Leaves) -> tuple[Leaves, Leaves]:
        places = len(others) - len(sizes.counts())
        given = places - len(sizes.leaves)
        # In a loop over leaves XLA would compute once, and keep, every array of full size that is
        # made of others alone; nothing is, where they come through a barrier with the leaves. (Not
        # differentiated: a tangent of the full arrays, in their own dtype, has fewer digits.)
        beside = jax.lax.stop_gradient(leaves)
        _, large, numbers, start = cast(Any, jax.lax).optimization_barrier(
            (beside, others[given:places], others[places:], jnp.zeros((), jnp.uint32))
        )
        chosen = dict(zip(sizes.counts(), numbers, strict=True))
        parts, data = iter(leaves), zip(large, ways.restored, strict=True)
        x = []
        for k, shape in enumerate(sizes.leaf_shapes):
            if k in sizes.leaves:
                full, restored = next(data)
                at = chosen[full.size]
                x.append(restored(full, at, next(parts), next(parts), start).reshape(shape))
            else:
                x.append(next(parts))
        outputs, rest = f(tuple(x), others[:given])
        sums = dict(zip(sizes.outputs, ways.sums, strict=True))
        checksums = dict.fromkeys(sizes.others, checksum)
        return (
            tuple(_summarised(outputs, sums, chosen, start)),
            tuple(_summarised(rest, checksums, chosen, start)),
        )

    return reduced


# A negative index would count from the end, and one too large would be looked out for.
IN_BOUNDS: dict[str, Any] = {
    "mode": "promise_in_bounds",
    "unique_indices": True,
    "indices_are_sorted": True,
}


def _restored(
    is_finite: bool, full: Any, numbers: Any, sample: Any, scales: Any, start: Any
) -> Any:
    """The large leaf, with its blocks scaled and with what was added to the sample.

    is_finite: all of it. What is not has no neighbour, and 0 times inf would spoil its block's sum.
    """
    x = full.astype(sample.dtype).ravel()
    s = scales.astype(at_least_float32(scales.dtype))
    factor = 1 + random_numbers(start, x.size, s.dtype) * (spread_over_blocks(s, x.size) - 1)
    factor = factor.astype(x.dtype)
    scaled = x * factor if is_finite else _scaled_where_finite(x, factor)
    before = x.at[numbers].get(**IN_BOUNDS)
    # To what is not finite the sample is added whole: inf less inf would be NaN.
    before = jax.lax.select(jnp.isfinite(before), before, jnp.zeros_like(before))
    return scaled.at[numbers].add(sample - before, **IN_BOUNDS)


def _scaled_where_finite(x: Any, factor: Any) -> Any:
    is_finite = jnp.isfinite(x)
    scaled = jax.lax.select(is_finite, x, jnp.zeros_like(x)) * factor
    return jax.lax.select(is_finite, scaled, x)


def _summarised(
    outputs: Leaves, wholes: dict[int, Callable[..., Any]], chosen: dict[int, Any], start: Any
) -> Iterator[Any]:
    for k, y in enumerate(outputs):
        if k in wholes:
            flat = y.ravel()
            yield flat.at[chosen[y.size]].get(**IN_BOUNDS)
            yield wholes[k](flat, start)
        else:
            yield y


# -- what was found, said of the large problem


@dataclass(frozen=True)
class _Translation:
    problem: Problem
    sizes: _Sizes
    chosen: Numbers
    form: list[Finding]
    cost: Cost | None

    def __call__(self, report: Report) -> Report:
        return replace(
            report,
            findings=tuple(self._findings(report)),
            power={k: v for k, v in report.power.items() if not k.endswith(WHOLE)},
            cost=self.cost,
            notes=(*report.notes, *self._notes()),
        )

    def _findings(self, report: Report) -> list[Finding]:
        """A whole has a word of its own only where it is wrong and its sample is not."""
        found = report.findings
        if self.form:  # in place of what is said of the samples
            found = tuple(f for f in found if f.question is not Question.STRUCTURE)
        samples = [self._told(f) for f in found if not _is_whole(f)]
        wholes = {_about(self._told(f)): self._told(f) for f in found if _says_something(f)}
        for sample in samples:
            if sample.verdict.bad:
                wholes.pop(_about(sample), None)
        told = [wholes.pop(_about(sample), sample) for sample in samples]
        return [*self.form, *told, *wholes.values()]

    def _told(self, f: Finding) -> Finding:
        """The finding with leaf and element of the large problem."""
        name = f.leaf.removeprefix(COTANGENT_OF).removesuffix(WHOLE)
        if name not in self.sizes.shapes:
            return f
        shape = self.sizes.shapes[name]
        size = _size(shape)
        if not _is_whole(f):
            index = index_of(int(self.chosen[size][f.index[0]]), shape) if f.index else ()
            return replace(f, index=index)
        elements = range(size)
        if f.index and f.index[0] < BLOCKS:
            elements = elements_of_block(f.index[0], size)
        place = f"in a random sum over elements {elements[0]:,} to {elements[-1]:,}"
        note = "; ".join(filter(None, [place, f.note]))
        return replace(f, leaf=f.leaf.removesuffix(WHOLE), index=(), note=note)

    def _notes(self) -> Iterator[str]:
        for name, shape in self.sizes.shapes.items():
            size = _size(shape)
            yield (
                f"judged at {len(self.chosen[size]):,} of {size:,} elements of `{name}`, and in "
                f"{BLOCKS} random sums over all of them"
            )


def _is_whole(f: Finding) -> bool:
    return f.leaf.endswith(WHOLE)


def _says_something(f: Finding) -> bool:
    """Of a whole: zeros add up to nothing, and no more."""
    is_said = f.verdict.bad or f.verdict is Verdict.APPROXIMATE
    return _is_whole(f) and is_said and f.verdict is not Verdict.VACUOUS


def _about(f: Finding) -> tuple[Question, str, str]:
    return f.question, f.detail, f.leaf
