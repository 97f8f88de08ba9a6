"""The tests themselves: each planted fault must be rejected by what the right rules pass."""

from functools import partial

import pytest
from catalogue import ENTRIES
from gradients import assert_right_under_transforms, verify

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
