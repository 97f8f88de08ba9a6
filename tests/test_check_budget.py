"""What a check leaves out for lack of time, and what it says of that."""

import io
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from corpus import pointwise

from jaxnet import audit, check
from jaxnet.checking import budget as budgets
from jaxnet.checking import examination
from jaxnet.checking.budget import Budget

X = np.random.default_rng(0).normal(size=(3, 4)).astype(np.float32)
RIGHT = pointwise(jnp.sin, jnp.cos)


def verdicts(report):
    return {(f.what, f.leaf, f.verdict) for f in report.findings}


def test_with_no_time_the_core_is_asked_and_the_rest_is_listed():
    report = check(RIGHT, X, budget=0)
    assert {f.question for f in report.findings if f.what != "jit"} == {"value", "algebra", "laws"}
    assert report.ok
    assert report.sentence().startswith("ok; not asked: precision float32 and ")
    for question in (
        "precision float32",
        "branches",
        "vmap x",
        "grad of grad",
        "power of x",
        "cost",
    ):
        assert question in report.cut
        assert question in " ".join(str(report).split())


def test_with_no_time_a_wrong_rule_is_wrong_all_the_same():
    report = check(pointwise(jnp.sin, jnp.sin), X, budget=0)
    assert not report.ok
    assert report.sentence().startswith("WRONG in `x`")


def test_completeness_is_demanded_by_name():
    check(RIGHT, X, budget=0).require()
    with pytest.raises(AssertionError, match="not asked"):
        check(RIGHT, X, budget=0).require(complete=True)
    check(RIGHT, X, budget=None).require(complete=True)


def test_what_was_asked_is_said_the_same_with_a_budget():
    whole = check(RIGHT, X, budget=None)
    cut = check(RIGHT, X, budget=0)
    assert verdicts(cut) <= verdicts(whole)


@pytest.mark.parametrize("budget", [-1, "30", True, float("nan")])
def test_a_budget_that_is_none(budget):
    with pytest.raises(ValueError, match="budget must be seconds of at least 0, or None"):
        check(RIGHT, X, budget=budget)


def test_an_interrupt_shows_what_is_known(monkeypatch, capsys):
    def interrupted(*args):
        raise KeyboardInterrupt

    monkeypatch.setattr(examination.transforms, "ask", interrupted)
    with pytest.raises(KeyboardInterrupt):
        check(pointwise(jnp.sin, jnp.sin), X)
    shown = capsys.readouterr().err
    assert "stopped; known so far:\nWRONG in `x`" in shown


@pytest.mark.parametrize("nth", [1, 30])
def test_an_interrupt_of_a_host_callback_is_no_finding(nth):
    """XLA says so with an error of its own; the second is at a point that was made up."""
    calls = itertools.count(1)

    def host(x):
        if next(calls) == nth:
            raise KeyboardInterrupt
        return np.sin(x)

    def body(x):
        like = jax.ShapeDtypeStruct(x.shape, x.dtype)
        return jax.pure_callback(host, like, x, vmap_method="sequential")

    with pytest.raises(KeyboardInterrupt):
        check(pointwise(body, jnp.cos), X[:1])


def test_a_person_at_a_terminal_sees_what_is_asked(monkeypatch):
    class Terminal(io.StringIO):
        def isatty(self):
            return True

    terminal = Terminal()
    monkeypatch.setattr("sys.stderr", terminal)
    monkeypatch.setattr(budgets, "SHOWN_AFTER", 0.0)
    budget = Budget(None)
    assert not budget.is_spent("precision float32")
    assert not budget.is_spent("power")
    budget.clear()
    shown, cleared, _ = terminal.getvalue().rsplit("\r", 2)
    assert "precision float32" in shown
    assert shown.rsplit("\r")[-1].startswith("0 s: power")
    assert not cleared.strip()


def test_an_audit_asks_every_rule_for_the_core_all_the_same():
    wrong = pointwise(jnp.tanh, lambda x: 1.1 / jnp.cosh(x) ** 2)

    found = audit(lambda x: jnp.sum(RIGHT(x)), X, budget=0)
    assert found.ok
    assert "not asked: precision float32" in found.sentence()
    with pytest.raises(AssertionError, match="not asked"):
        found.require(complete=True)
    assert not audit(lambda x: jnp.sum(wrong(RIGHT(x))), X, budget=0).ok
    audit(lambda x: jnp.sum(RIGHT(x)), X, budget=None).require(complete=True)
    with pytest.raises(ValueError, match="audit: budget must be seconds"):
        audit(RIGHT, X, budget=-1)
