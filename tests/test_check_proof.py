"""The first question of check and audit: are both gradients equal as algebra?"""

import json

import jax.numpy as jnp
import numpy as np
import pytest
from corpus import pointwise

import jaxnet
from jaxnet.checking import proofs

X = np.array([0.3, -1.2, 2.1], np.float32)


def test_a_right_rule_is_proved_in_one_line():
    report = jaxnet.check(jaxnet.rules.gelu, X, budget=0)
    report.require(proved=True)
    assert str(report).splitlines()[2].startswith("as algebra: equal; chance of a miss below 1e-")
    assert json.loads(report.json())["proof"]["verdict"] == "proved"


def test_where_floats_find_nothing_the_first_line_tells_what_algebra_found():
    """5e-9 is below what finite differences notice."""
    slightly = pointwise(jnp.sin, lambda x: (1 + 5e-9) * jnp.cos(x))
    report = jaxnet.check(slightly, X, budget=0)
    assert report.ok
    assert report.sentence().startswith("ok, yet as algebra it differs in `x`")
    report.require()
    with pytest.raises(AssertionError, match="ok, yet as algebra it differs in `x`"):
        report.require(proved=True)


def test_what_is_not_proved_may_be_ok():
    """At a kink algebra says nothing."""
    report = jaxnet.check(jaxnet.relu, np.array([0.0, 2.0], np.float32), budget=0)
    report.require()
    with pytest.raises(
        AssertionError, match=r"as algebra: not known \(judged beside the arguments"
    ):
        report.require(proved=True)


def test_an_audit_demands_a_proof_of_every_rule():
    slightly = pointwise(jnp.sin, lambda x: (1 + 5e-9) * jnp.cos(x))

    def right(x):
        return jnp.sum(jaxnet.rules.tanh(2 * x))

    def loss(x):
        return right(slightly(x))

    jaxnet.audit(right, X, budget=0).require(proved=True)
    audit = jaxnet.audit(loss, X, budget=0)
    audit.require()
    (unproved,) = audit.unproved()
    assert "at loss (test_check_proof.py" in unproved
    with pytest.raises(AssertionError, match="as algebra: differs in `x`"):
        audit.require(proved=True)


def test_a_proof_that_raises_is_none_and_stops_nothing(monkeypatch):
    def raising(*_, **__):
        raise ZeroDivisionError("at a point that nobody expects")

    monkeypatch.setattr(proofs, "proof_of", raising)
    report = jaxnet.check(jaxnet.relu, X, budget=0)
    report.require()
    assert "as algebra: not known (it raised ZeroDivisionError" in str(report)
    assert report.unproved() == ("relu",)


def test_without_a_rule_there_is_no_proof():
    report = jaxnet.check(jnp.sin, X)
    assert report.proof is None
    with pytest.raises(AssertionError):
        report.require(accept=("no rule",), proved=True)
