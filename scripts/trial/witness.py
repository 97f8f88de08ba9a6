"""A second opinion that knows nothing of jaxnet: differences of a function's value, in float64."""

import itertools
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

STEPS = (4e-3, 2e-3, 1e-3)  # halved twice, so that two orders of the error can be taken off


class Witness(NamedTuple):
    """Of the sum of f's weighted outputs, as one argument moves along a random direction."""

    argument: int
    rule: float
    differences: float
    uncertain: float  # how far the differences may be off
    lost: float  # by the rule in the argument's own dtype: eps of the gradient's largest element

    def __str__(self) -> str:
        return (
            f"argument {self.argument}: by the rule {self.rule:.8g}, by differences "
            f"{self.differences:.8g} (± {self.uncertain:.0e}); its own dtype costs "
            f"{self.lost:.2g} eps"
        )


def witnesses(f: Callable[..., Any], args: Sequence[Any], seed: int = 1) -> list[Witness]:
    """One for every floating argument that is an array."""
    rng = np.random.default_rng(seed)
    own = slopes_of(weighted(f, args, np.random.default_rng(seed)), args)
    with jax.enable_x64(True):
        wide = [in_float64(x) for x in args]
        value = weighted(f, wide, rng)
        slopes = slopes_of(value, wide)
        return [
            along(value, wide, which, slopes[which], rng)._replace(
                lost=eps_between(own[which], slopes[which])
            )
            for which, x in enumerate(wide)
            if is_floating(x)
        ]


def slopes_of(value: Callable[..., Any], args: Sequence[Any]) -> Any:
    return jax.grad(value, argnums=tuple(range(len(args))), allow_int=True)(*args)


def eps_between(own: Any, wide: Any) -> float:
    off, size = np.max(np.abs(np.asarray(own, "float64") - wide)), np.max(np.abs(wide))
    return float(off / (jnp.finfo(own.dtype).eps * size)) if size else 0.0


def is_floating(x: Any) -> bool:
    return isinstance(x, jax.Array) and bool(jnp.issubdtype(x.dtype, jnp.floating))


def in_float64(x: Any) -> Any:
    return jnp.asarray(np.asarray(x), "float64") if is_floating(x) else x


def weighted(f: Callable[..., Any], args: Sequence[Any], rng: Any) -> Callable[..., Any]:
    """The sum of f's floating outputs, each number with a weight of its own."""
    shapes = jax.tree.leaves(jax.eval_shape(f, *args))
    weights = [rng.normal(size=s.shape) for s in shapes]

    def value(*args: Any) -> Any:
        total: Any = 0.0
        for output, weight in zip(jax.tree.leaves(f(*args)), weights, strict=True):
            if jnp.issubdtype(output.dtype, jnp.floating):
                total = total + jnp.sum(jnp.asarray(output, float) * weight)
        return total

    return value


def along(value: Any, args: Sequence[Any], which: int, slope: Any, rng: Any) -> Witness:
    direction = rng.normal(size=args[which].shape)

    def moved(step: float) -> float:
        there = [x + step * direction if i == which else x for i, x in enumerate(args)]
        try:
            return float(value(*there))
        except ValueError:  # outside of the domain
            return float("nan")

    slopes = [(moved(step) - moved(-step)) / (2 * step) for step in STEPS]
    once = [(4 * fine - coarse) / 3 for coarse, fine in itertools.pairwise(slopes)]
    differences = (16 * once[1] - once[0]) / 15
    by_rule, uncertain = float(np.vdot(slope, direction)), abs(differences - once[1])
    return Witness(which, by_rule, differences, uncertain, 0.0)
