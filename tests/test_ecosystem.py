"""The table of other libraries' rules, and what is made of its verdicts."""

import json

import ecosystem
import jax
import jax.numpy as jnp
import pytest
from corpus import by_hand, libraries
from trial import VERSIONS, outcomes, running
from trial.known import KNOWN
from trial.outcomes import Kind, Known, Row
from trial.tables import CALLS, names_of
from trial.witness import witnesses


def test_the_table_holds_enough_and_names_what_it_calls():
    assert len(CALLS) >= 100
    found = {libraries.library_of(name) for name in CALLS}
    assert len(found) >= 12
    assert found == set(VERSIONS)
    for name in CALLS:
        path = name.partition(" ")[0].split(".")
        assert len(path) >= 2
        assert all(part.isidentifier() for part in path), name
    for package, version in VERSIONS.values():
        assert package
        assert version[0].isdigit()


def test_what_is_known_is_of_the_table():
    assert set(KNOWN) <= set(CALLS)
    for known in KNOWN.values():
        assert isinstance(known.kind, Kind)
        assert len(known.reason.splitlines()) == 1
        assert set(known.verdicts) - {"ok"} == set(known.verdicts) != set()


def row(rule, verdict, **more):
    return Row("some", "1.0", rule, verdict, "said", **more)


KNOWN_HERE = {
    "some.fault": Known(Kind.FAULT, "its sign"),
    "some.rounding": Known(Kind.BY_DESIGN, "it rounds"),
}
ROWS = [
    row("some.right", "ok", proved=True),
    row("some.fault", "wrong"),
    row("some.rounding", "wrong"),
    row("some.other", "wrong"),
    row("some.constant", "vacuous"),
    row("some.slow", outcomes.TOO_LONG),
    row("some.broken", outcomes.CRASHED),
]


def test_what_was_not_looked_into_is_a_false_alarm():
    kinds = [str(r.kind(KNOWN_HERE)) for r in ROWS]
    assert kinds == [
        "ok",
        "fault",
        "by design",
        "false alarm",
        "no verdict",
        "no verdict",
        "crash",
    ]
    # What is known of one verdict says nothing of another, and a crash is always one.
    assert row("some.fault", "imprecise").kind(KNOWN_HERE) is Kind.FALSE_ALARM
    assert row("some.fault", outcomes.CRASHED).kind(KNOWN_HERE) is Kind.CRASH


def test_the_last_lines_count_every_kind():
    lines = outcomes.last_lines(ROWS, KNOWN_HERE)
    assert lines[0] == "7 rules of 1 libraries"
    assert "    1 false alarm (14%)" in lines
    assert "    2 no verdict (29%)" in lines
    (table,) = outcomes.by_library(ROWS, KNOWN_HERE)[2:]
    assert table == "| some 1.0 | 7 | 1 | 1 | 1 | 1 | 1 | 3 |"


def test_a_rule_at_which_the_process_ends_stops_no_other(monkeypatch):
    asked = []

    def answers(names, limit, budget):
        asked.append((names, budget))
        if budget == running.ALWAYS_ASKED:
            yield {"verdict": "ok", "said": "ok; not asked: laws"}
        elif names[0] == "b":
            yield {"verdict": outcomes.TOO_LONG, "said": "more than 1 s"}
        else:
            yield {"verdict": "ok", "said": "ok"}
            if names[0] == "a":
                yield {"verdict": outcomes.CRASHED, "said": "the process ended"}

    monkeypatch.setattr(running, "answers", answers)
    monkeypatch.setattr(running, "version", lambda library: "1.0")
    rows = list(running.run_library("some", ["a", "x", "b", "c"], 1, 30.0))
    assert [(r.rule, r.verdict) for r in rows] == [
        ("a", "ok"),
        ("x", outcomes.CRASHED),
        ("b", "ok"),
        ("c", "ok"),
    ]
    assert asked == [
        (("a", "x", "b", "c"), 30.0),
        (("b", "c"), 30.0),
        (("b",), 0.0),
        (("c",), 30.0),
    ]


def test_witnesses_know_a_wrong_rule_from_a_right_one():
    @jax.custom_vjp
    def product(x, y):
        return x * y

    product.defvjp(lambda x, y: (x * y, (x, y)), lambda kept, dz: (kept[1] * dz, 2 * kept[0] * dz))
    right, wrong = witnesses(product, (jnp.array([1.0, 2.0]), jnp.array([3.0, 5.0])))
    assert right.rule == pytest.approx(right.differences, rel=1e-9)
    assert wrong.rule == pytest.approx(2 * wrong.differences, rel=1e-9)
    assert wrong.uncertain < 1e-9
    assert wrong.lost < 2


def test_witnesses_see_digits_that_a_rule_loses():
    cancelling = by_hand(jnp.sin, lambda x, dy: ((jnp.cos(x) + 1000) * dy - 1000 * dy,))
    (witness,) = witnesses(cancelling, (jnp.array([0.3, 0.8]),))
    assert 20 < witness.lost < 2000


def test_formulas_know_a_wrong_rule_from_a_right_one():
    mpmath = pytest.importorskip("mpmath")
    from trial.exact import EXACT, elementwise

    assert set(EXACT) <= set(KNOWN)
    of_sine = elementwise(0, lambda value, x: mpmath.cos(x))
    args = (jnp.array([0.3, 0.8]),)
    for factor, least, most in ((1, 0, 3), (1.01, 0.009, 0.011)):
        rule = by_hand(jnp.sin, lambda x, dy, factor=factor: (factor * jnp.cos(x) * dy,))
        eps = [float(line.split()[-2]) for line in of_sine(rule, args)]
        unit = 1 if factor == 1 else float(jnp.finfo("float32").eps)
        assert all(least <= e * unit <= most for e in eps)


def test_rows_are_read_back_and_the_last_of_a_rule_counts(tmp_path, capsys):
    file = tmp_path / "rows.jsonl"
    first, second = ({**vars(row("some.right", v))} for v in ("wrong", "ok"))
    file.write_text("\n".join(map(json.dumps, (first, second))))
    ecosystem.main(["--read", "--json", str(file)])
    printed = capsys.readouterr().out
    assert "1 rules of 1 libraries" in printed
    assert "  1 ok (100%)" in printed


def test_a_rule_that_is_installed_is_judged():
    pytest.importorskip("optax")
    said = running.judged("optax.scale_gradient", budget=0.0)
    assert said["verdict"] == "ok"
    assert "optax.scale_gradient" in names_of("optax")
