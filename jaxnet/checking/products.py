"""Products of float32 matrices: judged with all digits; what the device leaves out is said.

An accelerator multiplies with 8 or 11 digits of 24 unless it is asked for all of them, and a rule
would be judged by what these leave out.
"""

import contextlib
from collections.abc import Iterator
from contextvars import ContextVar

import jax
import numpy as np

from jaxnet.checking.arrays import device, distance, largest, on_cpu, on_host
from jaxnet.checking.problem import Function, Leaves, Problem, eps_of
from jaxnet.checking.traces import AtDtypes, pull

FULL = "highest"
LUCK = 64  # eps: so much a sum may move that is of another order each time
SMALLEST = float(np.finfo(np.float32).tiny)
# jax_default_matmul_precision of the caller.
_usual: ContextVar[str | None] = ContextVar("usual", default=FULL)


@contextlib.contextmanager
def in_full() -> Iterator[None]:
    """What is traced in it multiplies with all digits."""
    if on_cpu():  # as it does anyway
        yield
        return
    token = _usual.set(jax.config.jax_default_matmul_precision)
    try:
        with jax.default_matmul_precision(FULL):
            yield
    finally:
        _usual.reset(token)


def said_of_device() -> tuple[str, ...]:
    """A note, but on a CPU."""
    return () if on_cpu() else (f"judged on {device().device_kind}",)


def lost_digits(problem: Problem, at: AtDtypes, cotangents: Leaves) -> tuple[str, ...]:
    """A note where products as the caller has them move the gradient of some leaf.

    at: in the working dtype. Nothing of what closes over NumPy arrays (see cost.py).
    """
    usual = _usual.get()
    if usual == FULL or at.widest != np.float32 or at.value.function is not None:
        return ()

    def moved(f: Function) -> list[float]:
        """How far each leaf's gradient is, relative to its largest element."""

        def gradients(precision: str | None) -> Leaves:
            with jax.default_matmul_precision(precision):
                *_, found = jax.jit(pull(f))(at.leaves, problem.others, cotangents)
            return tuple(map(on_host, found))

        pairs = zip(gradients(usual), gradients(FULL), strict=True)
        return [largest(distance(a, b)) / max(largest(b), SMALLEST) for a, b in pairs]

    rule = moved(problem.rule)
    worst = int(np.argmax(rule))
    if rule[worst] <= LUCK * eps_of(np.float32):
        return ()
    return (
        f"float32 products are judged in full; as this device makes them, they move the gradient "
        f"of `{problem.names[worst]}` by {rule[worst]:.1e} of its largest element, autodiff's by "
        f"{moved(problem.ref)[worst]:.1e}",
    )
