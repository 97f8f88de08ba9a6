"""The checker against rules known to be wrong, and against rules that are right and look wrong."""

import os

import numpy as np
import pytest
from corpus.right import RIGHT
from corpus.wrong import WRONG

from jaxnet import check
from jaxnet.checking.cells import SECOND_ORDER, TRANSFORMS

# How many seeds each example is checked with; ten seeds take twice as long as one.
SEEDS = range(int(os.environ.get("CORPUS_SEEDS", "1")))


def examine(example, seed, transforms=TRANSFORMS):
    """What `check` reports of the example, with random arguments of this seed."""
    args = example.args(np.random.default_rng(seed))
    return check(
        example.f,
        *args,
        kwargs=example.kwargs,
        ref=example.ref,
        dtypes=example.dtypes,
        transforms=transforms,
        seed=seed,
    )


def is_caught(example, report):
    """Whether the report finds what is wrong with the example, in its leaf if it names one."""
    bad = [
        finding
        for finding in report.findings
        if finding.verdict.bad and finding.what.startswith(example.what)
    ]
    if not example.leaf:
        return bool(bad)
    return any(finding.leaf == example.leaf for finding in bad)


@pytest.mark.many
@pytest.mark.parametrize("name", WRONG)
def test_wrong_rule_is_caught_in_the_right_leaf(name):
    # More transformations can only find more; with none but the one that the fault shows under,
    # compiling takes half the time.
    what = WRONG[name].what.replace("forward jacfwd of jacrev", SECOND_ORDER)
    transforms = [t for t in TRANSFORMS if what.startswith(t)]
    for seed in SEEDS:
        report = examine(WRONG[name], seed, transforms)
        assert is_caught(WRONG[name], report), f"seed {seed}\n{report}"


@pytest.mark.many
@pytest.mark.parametrize("name", RIGHT)
def test_right_rule_raises_no_alarm(name):
    for seed in SEEDS:
        report = examine(RIGHT[name], seed)
        assert report.ok, f"seed {seed}\n{report}"


def test_there_are_enough():
    assert len(WRONG) >= 40
    assert len(RIGHT) >= 30
