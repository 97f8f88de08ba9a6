"""The tests themselves: each planted fault must be rejected by what the right rules pass."""

from functools import partial

import jax.numpy as jnp
import numpy as np
import pytest
from catalogue import ENTRIES
from gradients import assert_right_under_transforms, verify

import jaxnet

FAULTS = {
    f"{entry.name}: {name}": (wrong, entry)
    for entry in ENTRIES.values()
    for name, wrong in entry.faults.items()
}


def hold_to_the_tests(f, entry):
    case = entry.cases[0]
    points = entry.draw(case)
    for options in case.options:
        for point in points.values():
            verify(partial(f, **options) if options else f, point)
    assert_right_under_transforms(partial(f, **case.options[0]), next(iter(points.values())))


@pytest.mark.many
@pytest.mark.parametrize("name", FAULTS)
def test_planted_fault_is_rejected(name, x64):
    wrong, entry = FAULTS[name]
    with pytest.raises(AssertionError):
        hold_to_the_tests(wrong, entry)


def test_there_are_at_least_twenty():
    assert len(FAULTS) >= 20


def test_a_point_without_a_finite_gradient_is_called_so(x64):
    @jaxnet.rule
    def root(x):
        return jnp.sqrt(x)

    root.forward(lambda x: (root.body(x), root.body(x)))
    root.backward(lambda y, dy: (dy / (2 * y),))
    verify(root, (np.ones(1),))
    with pytest.raises(AssertionError, match=r"in float64, gives .*inf.*: mend the body"):
        verify(root, (np.zeros(1),))
