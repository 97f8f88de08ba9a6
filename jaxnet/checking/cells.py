"""The transformed functions in which a rule is compared with its reference, a cell each."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from jaxnet.checking.domains import Domain, Kind, domain_of
from jaxnet.checking.findings import Question
from jaxnet.checking.problem import Function, Leaves, Problem
from jaxnet.checking.traces import Pull, pull

SECOND_ORDER = "grad of grad"
JACREV = "vmap of the cotangent alone"
TRANSFORMS = ("vmap", "scan", "remat", SECOND_ORDER)


class Inputs(NamedTuple):
    """What one run of a program is given."""

    leaves: Leaves
    others: Leaves
    c: Leaves  # two cotangents
    d: Leaves
    weights: Leaves  # like leaves: the projection of the gradient whose gradient is taken


class Point(NamedTuple):
    """What a pullback is given."""

    leaves: Leaves
    others: Leaves
    cotangents: Leaves


@dataclass(frozen=True)
class Cell:
    """A transformation of the function: the transformed rule meets the transformed reference."""

    question: Question
    detail: str  # "" for the function as it is, else the transformation in words
    transform: Callable[[Function], Function]
    prepare: Callable[[Inputs], Point]  # of the transformed function's pullback
    names: tuple[str, ...]  # of the leaves of the transformed function
    pulled: Callable[[Pull], Pull] = lambda pullback: pullback  # and of the rule's pullback

    @property
    def key(self) -> str:
        return self.detail or self.question

    @property
    def is_second_order(self) -> bool:
        return self.detail == SECOND_ORDER


def cells(
    problem: Problem,
    transforms: Sequence[str],
    perturbed_is_seen: bool = False,
    is_batched_by_hand: bool = False,
) -> list[Cell]:
    """The first is the function as it is.

    perturbed_is_seen: whether a rule looks at which of its arguments are differentiated.
    is_batched_by_hand: whether something in a pullback says itself what jax.vmap makes of it.
    """
    names = problem.names

    def as_given(inputs: Inputs) -> Point:
        return Point(inputs.leaves, inputs.others, inputs.c)

    made = [Cell(Question.ALGEBRA, "", lambda f: f, as_given, names)]
    if "vmap" in transforms:
        made += _vmaps(problem)
    if "vmap" in transforms and is_batched_by_hand:
        made.append(Cell(Question.TRANSFORMS, JACREV, made[0].transform, as_given, names, _jacrev))
    if perturbed_is_seen and len(set(problem.argument)) > 1:
        separate = set(problem.argument) - problem.never_alone
        made += [alone(problem, argument) for argument in sorted(separate)]
    if "scan" in transforms:
        made.append(Cell(Question.TRANSFORMS, "scan", _scanned, as_given, names))
    if "remat" in transforms:
        made.append(Cell(Question.TRANSFORMS, "remat", _remat, as_given, names))
    if SECOND_ORDER in transforms:
        made.append(_second_order(problem))
    return made


# -- vmap


def _vmaps(problem: Problem) -> list[Cell]:
    """Over each argument alone, and over all of them."""
    arrays = {*problem.argument, *problem.other_argument}
    mapped = [a for a in range(len(problem.arguments)) if a in arrays]
    sets = [(problem.arguments[a], {a}) for a in mapped]
    if len(mapped) > 1:
        sets.append(("all", set(mapped)))
    return [
        Cell(
            Question.TRANSFORMS,
            f"vmap {label}",
            partial(_vmapped, problem, which),
            partial(_stacked, problem, which),
            problem.names,
        )
        for label, which in sets
    ]


def _vmapped(problem: Problem, which: set[int], f: Function) -> Function:
    axes = tuple(0 if a in which else None for a in problem.argument)
    other_axes = tuple(0 if a in which else None for a in problem.other_argument)
    return jax.vmap(f, in_axes=(axes, other_axes))


def _stacked(problem: Problem, which: set[int], inputs: Inputs) -> Point:
    def two(x: Any, domain: Domain) -> Any:
        if domain.kind is Kind.FIXED:
            return jnp.stack([x, x])
        # A neighbour that no domain, mask or tie can tell from x: zeros stay, signs stay.
        wave = jnp.cos(jnp.arange(x.size, dtype=x.dtype)).reshape(x.shape)
        return jnp.stack([x, domain.near(x * (1 + 2.0**-9 * wave))])

    domains = [domain_of(problem, k) for k in range(len(inputs.leaves))]
    leaves = zip(inputs.leaves, domains, problem.argument, strict=True)
    others = zip(inputs.others, problem.other_argument, strict=True)
    return Point(
        tuple(two(x, d) if a in which else x for x, d, a in leaves),
        tuple(jnp.stack([o, o]) if a in which else o for o, a in others),
        tuple(jnp.stack([c, d]) for c, d in zip(inputs.c, inputs.d, strict=True)),
    )


def _jacrev(pullback: Pull) -> Pull:
    """Of two cotangents at one point, as jax.jacrev takes them, that add up to the one given."""

    def pulled(leaves: Leaves, others: Leaves, c: Leaves) -> tuple[Leaves, Leaves, Leaves]:
        two = tuple(map(_two_of, c))
        outputs, rest, both = jax.vmap(pullback, in_axes=(None, None, 0))(leaves, others, two)
        outputs, rest = jax.tree.map(lambda x: x[0], (outputs, rest))
        return outputs, rest, tuple(first + 2 * second for first, second in both)

    return pulled


def _two_of(c: Any) -> Any:
    """c is the first and twice the second: so which result is whose is seen too."""
    part = 0.5 + 0.25 * jnp.cos(jnp.arange(c.size, dtype=c.dtype)).reshape(c.shape)
    return jnp.stack([c * part, c * (1 - part) / 2])


# -- one argument alone


def alone(problem: Problem, argument: int) -> Cell:
    """The gradient of one argument alone, the others being constants."""
    mine = [a == argument for a in problem.argument]

    def split(leaves: Sequence[Any]) -> tuple[Leaves, Leaves]:
        both = list(zip(leaves, mine, strict=True))
        return tuple(x for x, m in both if m), tuple(x for x, m in both if not m)

    def transform(f: Function) -> Function:
        def one_differentiated(leaves: Leaves, others_and_rest: Leaves) -> tuple[Leaves, Leaves]:
            others, rest = others_and_rest
            chosen, left = iter(leaves), iter(rest)
            return f(tuple(next(chosen if m else left) for m in mine), others)

        return one_differentiated

    def prepare(inputs: Inputs) -> Point:
        chosen, rest = split(inputs.leaves)
        return Point(chosen, (inputs.others, rest), inputs.c)

    detail = f"{problem.arguments[argument]} alone"
    names, _ = split(problem.names)
    return Cell(Question.TRANSFORMS, detail, transform, prepare, names)


# -- scan and remat


def _scanned(f: Function) -> Function:
    """The sum over two turns of a loop, each with leaves of its own, as layers in a scan have."""

    def summed(leaves: Leaves, others: Leaves) -> tuple[Leaves, Leaves]:
        def turn(total: Leaves, turns: Leaves) -> tuple[Leaves, None]:
            values, _ = f(turns, others)
            return tuple(t + v for t, v in zip(total, values, strict=True)), None

        outputs, _ = jax.eval_shape(f, leaves, others)
        zeros = tuple(jnp.zeros(v.shape, v.dtype) for v in outputs)
        return jax.lax.scan(turn, zeros, tuple(jnp.stack([x, x]) for x in leaves))[0], ()

    return summed


def _remat(f: Function) -> Function:
    # Of a function of its own: JAX remembers the trace of f itself.
    return jax.checkpoint(lambda *args: f(*args))


# -- grad of grad


def _second_order(problem: Problem) -> Cell:
    """The gradient as a function, of the leaves and of its cotangent."""
    count = len(problem.names)

    def transform(f: Function) -> Function:
        def gradient(leaves_and_c: Leaves, others: Leaves) -> tuple[Leaves, Leaves]:
            _, _, grads = pull(f)(leaves_and_c[:count], others, leaves_and_c[count:])
            return tuple(grads), ()

        return gradient

    def prepare(inputs: Inputs) -> Point:
        return Point((*inputs.leaves, *inputs.c), inputs.others, inputs.weights)

    cotangents = tuple(f"cotangent of {name}" for name in problem.outputs)
    names = problem.names + cotangents
    return Cell(Question.TRANSFORMS, SECOND_ORDER, transform, prepare, names)
