"""The transformations under which a rule is compared with its reference, each a function of a function."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp

from jaxnet.checking.problem import Function, Leaves, Problem, pull


@dataclass(frozen=True)
class Cell:
    """A transformation of the function: what is compared is the transformed rule with the transformed reference."""

    name: str
    transform: Callable[[Function], Function]
    # (leaves, others, c, d, weights) -> (leaves, others, cotangents) of the transformed function; c, d: two cotangents
    prepare: Callable[[Leaves, Leaves, Leaves, Leaves, Leaves], tuple[Leaves, Leaves, Leaves]]
    names: tuple[str, ...]


TRANSFORMS = ("vmap", "scan", "remat", "grad of grad")
SECOND_ORDER = "grad of grad"
PLAIN = "algebra"  # the cell without a transformation


def cells(problem: Problem, transforms: Sequence[str], perturbed_is_seen: bool) -> list[Cell]:
    """perturbed_is_seen: whether a rule looks at which of its arguments are differentiated (symbolic_zeros)."""
    names = problem.names
    made = [Cell(PLAIN, lambda f: f, lambda leaves, others, c, d, w: (leaves, others, c), names)]
    if "vmap" in transforms:
        mapped = [
            a
            for a in range(len(problem.arguments))
            if a in problem.argument + problem.other_argument
        ]
        sets = [{a} for a in mapped] + ([set(mapped)] if len(mapped) > 1 else [])
        for which in sets:
            label = problem.arguments[next(iter(which))] if len(which) == 1 else "all"
            transform, prepare = (
                partial(_vmapped, problem, which),
                partial(_stacked, problem, which),
            )
            made.append(Cell(f"vmap {label}", transform, prepare, names))
    if perturbed_is_seen and len(set(problem.argument)) > 1:
        for a in sorted(set(problem.argument)):
            made.append(_alone(problem, a))
    if "scan" in transforms:
        made.append(Cell("scan", _scanned, made[0].prepare, names))
    if "remat" in transforms:
        made.append(Cell("remat", _remat, made[0].prepare, names))
    if SECOND_ORDER in transforms:
        cotangents = tuple(f"cotangent of {name}" for name in problem.outputs)
        made.append(
            Cell(
                SECOND_ORDER,
                lambda f: _second_order(f, len(names)),
                lambda leaves, others, c, d, w: ((*leaves, *c), others, w),
                names + cotangents,
            )
        )
    return made


def _alone(problem: Problem, argument: int) -> Cell:
    """The gradient of one argument alone, the others being constants."""
    mine = [a == argument for a in problem.argument]

    def transform(f: Function) -> Function:
        def of_mine(leaves: Leaves, others_and_rest: Leaves) -> tuple[Leaves, Leaves]:
            others, rest = others_and_rest
            mine_next, rest_next = iter(leaves), iter(rest)
            return f(tuple(next(mine_next if m else rest_next) for m in mine), others)

        return of_mine

    def prepare(
        leaves: Leaves, others: Leaves, c: Leaves, d: Leaves, w: Leaves
    ) -> tuple[Leaves, Leaves, Leaves]:
        chosen = tuple(x for x, m in zip(leaves, mine, strict=True) if m)
        return chosen, (others, tuple(x for x, m in zip(leaves, mine, strict=True) if not m)), c

    names = tuple(name for name, m in zip(problem.names, mine, strict=True) if m)
    return Cell(f"{problem.arguments[argument]} alone", transform, prepare, names)


def _vmapped(problem: Problem, which: set[int], f: Function) -> Function:
    axes = tuple(0 if a in which else None for a in problem.argument)
    other_axes = tuple(0 if a in which else None for a in problem.other_argument)
    return jax.vmap(f, in_axes=(axes, other_axes))


def _stacked(
    problem: Problem,
    which: set[int],
    leaves: Leaves,
    others: Leaves,
    c: Leaves,
    d: Leaves,
    w: Leaves,
) -> tuple[Leaves, Leaves, Leaves]:
    def two(
        x: Any,
    ) -> Any:  # a neighbour that no domain, mask or tie can tell from x: zeros stay, signs stay
        wave = jnp.cos(jnp.arange(x.size, dtype=x.dtype)).reshape(x.shape)
        return jnp.stack([x, x * (1 + 2.0**-9 * wave)])

    return (
        tuple(two(x) if a in which else x for x, a in zip(leaves, problem.argument, strict=True)),
        tuple(
            jnp.stack([o, o]) if a in which else o
            for o, a in zip(others, problem.other_argument, strict=True)
        ),
        tuple(jnp.stack([a, b]) for a, b in zip(c, d, strict=True)),
    )


def _scanned(f: Function) -> Function:
    """The sum over two turns of a loop, each with leaves of its own, as layers in a scan have."""

    def summed(leaves: Leaves, others: Leaves) -> tuple[Leaves, Leaves]:
        def turn(total: Leaves, turns: Leaves) -> tuple[Leaves, None]:
            values, _ = f(turns, others)
            return tuple(t + v for t, v in zip(total, values, strict=True)), None

        zeros = tuple(jnp.zeros(v.shape, v.dtype) for v in jax.eval_shape(f, leaves, others)[0])
        return jax.lax.scan(turn, zeros, tuple(jnp.stack([x, x]) for x in leaves))[0], ()

    return summed


def _remat(f: Function) -> Function:
    return jax.checkpoint(f)


def _second_order(f: Function, count: int) -> Function:
    """The gradient as a function, of the leaves and of its cotangent."""

    def gradient(leaves_and_cotangents: Leaves, others: Leaves) -> tuple[Leaves, Leaves]:
        leaves, cotangents = leaves_and_cotangents[:count], leaves_and_cotangents[count:]
        return tuple(pull(f)(leaves, others, cotangents)[2]), ()

    return gradient
