"""By which route the truth is taken: what the reference's gradient is computed with.

    reverse       jax.vjp of the reference, where it has a reverse mode
    forward       jax.jvp along every element in turn (a while_loop has it): Jᵀc, a number at a time
    differences   of the value alone (a host callback, a kernel): the arbiter's ladder (arbiter.py)
                  at every element in turn, each with the step that serves it best

The first that can be traced is taken, and where it is nowhere finite (autodiff of an eigenvector of
equal eigenvalues) the next. Of a gradient that is differentiated again the truth is the reverse
route's, or differences of the rule's own gradient, which was judged before.
"""

import enum
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from jaxnet.checking import arbiter
from jaxnet.checking.cells import Cell, Point
from jaxnet.checking.problem import Function, Leaves
from jaxnet.checking.traces import Pull, Way, pull


class Route(enum.StrEnum):
    """In the order in which they are tried."""

    REVERSE = "reverse mode"
    FORWARD = "forward mode"
    DIFFERENCES = "differences of the value"


def pull_by_forward_mode(f: Function) -> Pull:
    """pull(f), for an f that has a forward mode."""

    def pulled(leaves: Leaves, others: Leaves, c: Leaves) -> tuple[Leaves, Leaves, Leaves]:
        outputs, rest = f(leaves, others)

        def slope(k: int, i: Any) -> Any:
            tangents = [jnp.zeros(x.shape, x.dtype) for x in leaves]
            tangents[k] = jnp.ravel(tangents[k]).at[i].set(1).reshape(leaves[k].shape)
            _, changes = jax.jvp(lambda *xs: f(xs, others)[0], leaves, tuple(tangents))
            return sum(jnp.sum(a * b) for a, b in zip(c, changes, strict=True))

        return outputs, rest, _at_every_element(slope, leaves)

    return pulled


def pull_by_differences(f: Function) -> Pull:
    """pull(f), for an f that has nothing but a value."""
    steps = arbiter.ladder(f)

    def pulled(leaves: Leaves, others: Leaves, c: Leaves) -> tuple[Leaves, Leaves, Leaves]:
        outputs, rest = f(leaves, others)
        before = [sum(x.size for x in leaves[:k]) for k in range(len(leaves))]

        def slope(k: int, i: Any) -> Any:
            first = _first_step(leaves[k], i)
            measured = steps(Point(leaves, others, c), before[k] + i, first)
            return arbiter.smooth_slope(measured)

        return outputs, rest, _at_every_element(slope, leaves)

    return pulled


def _first_step(leaf: Any, i: Any) -> Any:
    """As bench.first_step has it: an eighth of the typical size, a power of two."""
    finite = jnp.where(jnp.isfinite(leaf), leaf, 0)
    typical = jnp.sqrt(jnp.mean(finite**2))
    size = jnp.maximum(typical, jnp.abs(jnp.ravel(finite)[i]))
    return jnp.exp2(jnp.round(jnp.log2(jnp.where(size > 0, size, 1)))) / 8


def _at_every_element(slope: Callable[[int, Any], Any], leaves: Leaves) -> Leaves:
    """slope(number of the leaf, number of the element) of every element, as leaves."""

    def every(k: int, leaf: Any) -> Any:
        if not leaf.size:
            return jnp.zeros(leaf.shape, leaf.dtype)
        slopes = jax.lax.map(lambda i: slope(k, i), jnp.arange(leaf.size))
        return slopes.reshape(leaf.shape).astype(leaf.dtype)

    return tuple(every(k, leaf) for k, leaf in enumerate(leaves))


PULLS: dict[Route, Callable[[Function], Pull]] = {
    Route.REVERSE: pull,
    Route.FORWARD: pull_by_forward_mode,
    Route.DIFFERENCES: pull_by_differences,
}


def ways_from(route: Route) -> list[Way]:
    """To the truth, from this one on."""
    every = list(Route)
    return [Way(r, PULLS[r]) for r in every[every.index(route) :]]


def function_of_truth(route: Route, cell: Cell, rule: Function, ref: Function) -> Function:
    """The function whose derivative, by differences, decides in this cell."""
    is_of_gradient = cell.is_second_order and route is not Route.REVERSE
    return cell.transform(rule if is_of_gradient else ref)


def pull_of_truth(route: Route, cell: Cell, rule: Function, ref: Function) -> Pull:
    """The truth of a cell: the pullback that the rule's is compared with."""
    function = function_of_truth(route, cell, rule, ref)
    is_of_gradient = cell.is_second_order and route is not Route.REVERSE
    return PULLS[Route.DIFFERENCES if is_of_gradient else route](function)
