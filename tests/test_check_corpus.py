"""The checker against rules that are known to be wrong, and against rules that are right and look wrong."""

import os

import numpy as np
import pytest
from corpus.right import RIGHT
from corpus.wrong import WRONG

from jaxnet import check
from jaxnet.checking.cells import TRANSFORMS

SEEDS = range(int(os.environ.get("CORPUS_SEEDS", "1")))  # ten take twice as long


def examine(example, seed, transforms=TRANSFORMS):
    args = example.args(np.random.default_rng(seed))
    options = {
        "kwargs": example.kwargs,
        "ref": example.ref,
        "dtypes": example.dtypes,
        "transforms": transforms,
    }
    return check(example.f, *args, **options, seed=seed)


def is_caught(example, report):
    bad = [f for f in report.findings if f.verdict.bad and f.what.startswith(example.what)]
    return any(f.leaf == example.leaf for f in bad) if example.leaf else bool(bad)


@pytest.mark.many
@pytest.mark.parametrize("name", WRONG)
def test_wrong_rule_is_caught_in_the_right_leaf(name):
    # Transformations can only add to what is found; without those that are not needed it compiles
    # in half the time.
    transforms = [t for t in TRANSFORMS if WRONG[name].what.startswith(t)]
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
