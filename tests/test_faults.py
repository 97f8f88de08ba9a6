"""The tests themselves: each planted fault must be rejected by what the right rules pass."""

from functools import partial

import pytest
from cases import CASES
from faults import FAULTS
from gradients import assert_right_under_transforms, verify

CASE = {case.rule: case for case in reversed(CASES)}  # the first of a rule with several


def hold_to_the_tests(f, case):
    for options in case.options:
        for point in case.points.values():
            verify(partial(f, **options) if options else f, point)
    assert_right_under_transforms(partial(f, **case.options[0]), next(iter(case.points.values())))


@pytest.mark.many
@pytest.mark.parametrize("name", FAULTS)
def test_planted_fault_is_rejected(name, x64):
    wrong, right = FAULTS[name]
    with pytest.raises(AssertionError):
        hold_to_the_tests(wrong, CASE[right])


def test_there_are_at_least_twenty():
    assert len(FAULTS) >= 20
