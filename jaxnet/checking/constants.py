"""NumPy arrays that a function closes over, in float32 and in float64.

JAX makes one canonical copy of a NumPy array, in 32 bits outside of its x64 mode, and hands out the
same copy in either mode as long as anything holds it: a trace that JAX remembers is enough. Then a
trace in float64 meets numbers of 32 bits, of which it has only half of the digits, or which do not
fit the others.
"""

import gc
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, cast

import jax
import jax.numpy as jnp

from jaxnet.checking.problem import Function, Leaves, Problem
from jaxnet.checking.traces import has_numpy_constants, has_numpy_numbers, pullback


def closes_over_numpy(problem: Problem) -> bool:
    """Whether rule or reference hold NumPy arrays, as they are traced, that may have been cut."""
    try:
        traced = [pullback(f, problem.leaves, problem.others) for f in (problem.rule, problem.ref)]
    except Exception:  # then it is not for its constants that it is not judged
        return False
    return has_numpy_constants(*traced) or has_numpy_numbers(*traced)


@contextmanager
def with_fresh_constants(problem: Problem) -> Iterator[Problem]:
    """The problem, for whose traces JAX copies NumPy arrays anew in either mode.

    All that JAX has compiled and traced is forgotten: that costs time, and changes nothing.
    """
    mode: Any = None

    def fresh(f: Function) -> Function:
        def called(leaves: Leaves, others: Leaves) -> tuple[Leaves, Leaves]:
            nonlocal mode
            if mode != jnp.result_type(float):
                mode = jnp.result_type(float)
                _forget()
            return f(leaves, others)

        return called

    try:
        yield replace(problem, rule=fresh(problem.rule), ref=fresh(problem.ref))
    finally:
        _forget()  # or what is traced next in float32 would meet copies of 64 bits


def _forget() -> None:
    cast(Any, jax).clear_caches()
    gc.collect()
