"""Functions as jaxprs: a function, its pullback, and both beside the reference's at some dtypes."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxnet import _graph
from jaxnet.checking.problem import Function, Leaves, Problem, as_dtypes, eps_of


@dataclass(frozen=True)
class Traced:
    """A function of pytrees as a jaxpr. Floating arguments are cast to the dtypes of the trace."""

    jaxpr: Any
    tree: Any  # of what it returns

    def __call__(self, *args: Any) -> Any:
        fitting = [
            x.astype(a.dtype) if jnp.issubdtype(a.dtype, jnp.floating) else x
            for x, a in zip(jax.tree.leaves(args), self.jaxpr.in_avals, strict=True)
        ]
        return jax.tree.unflatten(self.tree, _graph.as_function(self.jaxpr)(*fitting))

    def shapes(self) -> Any:
        return jax.tree.unflatten(self.tree, self.jaxpr.out_avals)


def trace(f: Callable[..., Any], *args: Any) -> Traced:
    """Raises RuntimeError where f hands out what it was traced with."""
    # A function of its own each time: JAX remembers the traces of one that it has seen.
    jaxpr, shapes = jax.make_jaxpr(lambda *args: f(*args), return_shape=True)(*args)
    if any(isinstance(c, jax.core.Tracer) for c in _graph.constants(jaxpr)):
        raise RuntimeError(
            "a tracer leaked: a value of one call was kept outside and used in another"
        )
    return Traced(jaxpr, jax.tree.structure(shapes))


def zero_cotangents(f: Function, leaves: Leaves, others: Leaves) -> Leaves:
    """One for each floating output of f, in its dtype."""
    return tuple(np.zeros(s.shape, s.dtype) for s in jax.eval_shape(f, leaves, others)[0])


def pull(f: Function) -> Callable[[Leaves, Leaves, Leaves], tuple[Leaves, Leaves, Leaves]]:
    """(leaves, others, cotangents) -> (floating outputs, others, a cotangent of each leaf)"""

    def pulled(leaves: Leaves, others: Leaves, c: Leaves) -> tuple[Leaves, Leaves, Leaves]:
        outputs, vjp, rest = jax.vjp(lambda *leaves: f(leaves, others), *leaves, has_aux=True)
        return outputs, rest, vjp(c)

    return pulled


def pullback(f: Function, leaves: Leaves, others: Leaves) -> Traced:
    """pull(f), traced with cotangents in the dtypes of f's outputs at these leaves."""
    return trace(pull(f), leaves, others, zero_cotangents(f, leaves, others))


@dataclass(frozen=True)
class AtDtypes:
    """What is compared, traced at some dtypes of the leaves."""

    value: Traced  # the function, not differentiated
    rule: Traced  # its pullback
    ref_value: Traced
    ref: Traced  # the reference's pullback

    def fingerprints(self) -> tuple[bytes, ...]:
        every = (self.value, self.rule, self.ref_value, self.ref)
        return tuple(_graph.fingerprint(t.jaxpr) for t in every)


def trace_rule(problem: Problem, dtypes: Sequence[Any]) -> tuple[Traced, Traced]:
    leaves = as_dtypes(problem.leaves, dtypes)
    value = trace(problem.rule, leaves, problem.others)
    return value, pullback(problem.rule, leaves, problem.others)


def trace_ref(problem: Problem, dtypes: Sequence[Any]) -> tuple[Traced, Traced]:
    leaves = as_dtypes(problem.leaves, dtypes)
    value = trace(problem.ref, leaves, problem.others)
    return value, pullback(problem.ref, leaves, problem.others)


def computes_the_same_twice(problem: Problem, value: Traced, dtypes: Sequence[Any]) -> bool:
    """Whether tracing the function again gives the graph that it gave the first time."""
    again = trace(problem.rule, as_dtypes(problem.leaves, dtypes), problem.others)
    first, second = (_graph.fingerprint(t.jaxpr, addresses=False) for t in (value, again))
    return first == second


def narrowest_float(*jaxprs: Any) -> Any:
    """The floating dtype with the fewest digits that any equation computes (float64 for none)."""
    outputs = (v for jaxpr in jaxprs for e, _ in _graph.equations(jaxpr) for v in e.outvars)
    dtypes = {v.aval.dtype for v in outputs if hasattr(v.aval, "dtype")}
    floating = (d for d in dtypes if jnp.issubdtype(d, jnp.inexact))
    return max(floating, key=eps_of, default=np.dtype(np.float64))


def draws_random_numbers(jaxpr: Any) -> bool:
    names = ("random_bits", "random_gamma", "threefry", "rng_")
    return any(e.primitive.name.startswith(names) for e, _ in _graph.equations(jaxpr))
