"""Who checks audit: each thing that it looks at is broken, and some function is then misjudged."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import pytest
from jax import lax
from test_audit import X, right, wrong
from test_audit_differentiated import TABLE, lazy_product, product, through_memory, times_table
from test_audit_references import straight_through
from test_audit_unseen import PARAMS, ROWS, attention, spike

from jaxnet import _graph, audit
from jaxnet._graph import reach
from jaxnet.checking import _audit, cut_out, sites


class Case(NamedTuple):
    """What is audited, and the verdict: ok, and that of every site."""

    ok: bool
    verdicts: list[str]
    arguments: tuple[Any, ...]
    f: Callable[..., Any]
    ref: Any = None


def scanned_twice(rule, v):
    """The rule meets v in the second turn, and its output is the first carry's in the end."""
    zeros = jnp.zeros_like(v)
    return lax.scan(lambda c, _: ((rule(c[1]), v), None), (zeros, zeros), None, length=2)[0][
        0
    ].sum()


twice = straight_through(2)
first_or_least = jax.custom_vjp(lambda v, i: v * jnp.maximum(i, jnp.argmin(v)))
first_or_least.defvjp(
    lambda v, i: (first_or_least(v, i), jnp.maximum(i, jnp.argmin(v))),
    lambda kept, dy: (kept * dy, None),
)
wrong_alone = lazy_product(lambda x, y: 1.0 if x and y else 2.0)
CASES = {
    "a wrong rule behind stop_gradient": Case(
        True,
        ["ok", "not differentiated"],
        (X,),
        lambda v: (right(v) + lax.stop_gradient(wrong(v))).sum(),
    ),
    "a wrong rule through a carry that the second turn moves": Case(
        False,
        ["wrong"],
        (X,),
        lambda v: scanned_twice(wrong, v),
    ),
    "a wrong rule whose output is compared with a number": Case(
        True,
        ["ok", "not differentiated"],
        (X,),
        lambda v: (right(v) * (wrong(v) > 0.3)).sum(),
    ),
    "a rule that closes over a table": Case(
        True, ["ok"], (X,), lambda v: times_table(1)[0](v).sum()
    ),
    "a rule that closes over a table, beside memory": Case(
        True, ["ok"], (X,), lambda v: through_memory(times_table(1)[1], v)
    ),
    "a rule that is wrong in a constant": Case(
        True, ["ok"], (X,), lambda v: product((1, 2))(v, TABLE).sum()
    ),
    "a rule that is wrong where one argument moves alone": Case(
        True, ["ok"], (X,), lambda v: wrong_alone(jnp.sin(v), jnp.cos(v)).sum()
    ),
    "a rule with an index that is wider in float64": Case(
        True, ["ok"], (X,), lambda v: first_or_least(v, jnp.argmax(v)).sum()
    ),
    "a straight-through rule with a ref": Case(
        True,
        ["ok"],
        (X,),
        lambda v: twice(3 * v).sum(),
        ref={twice: lambda v: 2 * v + lax.stop_gradient(jnp.round(v) - 2 * v)},
    ),
    "a bias of keys": Case(True, ["ok"], (PARAMS, ROWS), attention),
    "a wrong rule where it is flat": Case(
        False, ["vacuous"], (X,), lambda v: (spike(2)(v) + v**2).sum()
    ),
    "a loop that is flat in its first turn": Case(
        True,
        ["ok"],
        (X,),
        lambda v: lax.map(spike(1), jnp.stack([v, v / 1.1 + 1.99])).sum(),
    ),
    "three sites, two of them flat": Case(
        True,
        ["vacuous", "vacuous", "ok"],
        (X,),
        lambda v: sum(map(jnp.sum, map(spike(1), (v, v + 1, v / 1.1 + 1.99)))),
    ),
}


def is_judged_rightly(case):
    found = audit(case.f, *case.arguments, ref=case.ref)
    said = [note for s in found.sites if s.report for note in s.report.notes]
    is_in_float64 = not any("own dtypes" in note for note in said)
    verdicts = [s.verdict for s in found.sites]
    return is_in_float64 and found.ok == case.ok and verdicts == case.verdicts


@pytest.mark.many
@pytest.mark.parametrize("name", CASES)
def test_audit_as_it_is_judges_rightly(name):
    assert is_judged_rightly(CASES[name])


def once_through_a_scan(e, inside, sources, walk):
    return walk(inside[0], sources)


def everything_is_differentiable(v):
    return True


def floats_only(value, aval):
    is_float = jnp.issubdtype(aval.dtype, jnp.floating)
    return value.astype(aval.dtype) if is_float else value


def nothing_is_found(problem, jaxpr, found):
    for site in found:
        site.sources = [0] * len(site.sources)


def only_leaves(site, values):
    """The inputs that f does not move are differentiated too."""
    site.sources = [1] * len(site.sources)
    return PROBLEM_AT(site, values)


PROBLEM_AT = cut_out.problem_at
# what audit then does -> (the case that notices, where, attribute, what stands there instead)
MUTATIONS = {
    "everything is differentiated": (
        "a wrong rule behind stop_gradient",
        _audit,
        "find_what_is_differentiated",
        lambda *args: None,
    ),
    "nothing is differentiated": (
        "a rule that closes over a table",
        _audit,
        "find_what_is_differentiated",
        nothing_is_found,
    ),
    "a loop is walked once": (
        "a wrong rule through a carry that the second turn moves",
        reach,
        "_WALKS",
        reach._WALKS | {"scan": once_through_a_scan},
    ),
    "derivatives pass integers": (
        "a wrong rule whose output is compared with a number",
        reach,
        "is_differentiable",
        everything_is_differentiable,
    ),
    "what is closed over is an argument": (
        "a rule that closes over a table, beside memory",
        _graph,
        "closed_over",
        lambda e: 0,
    ),
    "constants are differentiated": (
        "a rule that is wrong in a constant",
        _audit,
        "problem_at",
        only_leaves,
    ),
    "every argument is moved alone": (
        "a rule that is wrong where one argument moves alone",
        cut_out,
        "_never_alone",
        lambda moved: set(),
    ),
    "integers keep their width": (
        "a rule with an index that is wider in float64",
        _graph,
        "fitted",
        floats_only,
    ),
    "references are forgotten": (
        "a straight-through rule with a ref",
        _audit,
        "give_references",
        lambda given, found: None,
    ),
    "the whole gradient forgets the references": (
        "a straight-through rule with a ref",
        _audit,
        "with_references",
        lambda problem, given, found: problem,
    ),
    "a gradient that is 0 is a fault": (
        "a bias of keys",
        _audit,
        "_is_compared",
        lambda finding: False,
    ),
    "vacuous sites count as judged": (
        "a wrong rule where it is flat",
        _audit.Site,
        "is_judged",
        property(lambda site: site.report is not None),
    ),
    "the first turn decides": (
        "a loop that is flat in its first turn",
        _audit,
        "_worst",
        lambda reports: reports[0],
    ),
    "alike sites share whatever is found": (
        "three sites, two of them flat",
        _audit,
        "_is_shared",
        lambda verdict: True,
    ),
}


@pytest.mark.many
@pytest.mark.parametrize("name", MUTATIONS)
def test_a_broken_audit_is_noticed(name, monkeypatch):
    noticed_by, owner, attribute, instead = MUTATIONS[name]
    monkeypatch.setattr(owner, attribute, instead)
    assert not is_judged_rightly(CASES[noticed_by])


def test_sites_are_found_at_all():
    assert sites.rules_in(jax.make_jaxpr(right)(X))
