"""The table of what prove proves (test_prove_corpus.py holds what it must)."""

import json

import benchmark
import jax.numpy as jnp
import pytest
from benchmarks import proofs
from corpus import libraries

import jaxnet

RIGHT, WRONG = "jaxnet.linear", "a soft cap passes its cotangent on without its derivative"
WRONG_IN_DIGITS = "exponentials without their shift overflow in float32"
OUTSIDE = "optax.projections.projection_simplex"


def test_some_rules_are_counted_and_written(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("JAX_ENABLE_COMPILATION_CACHE", "false")  # as the command does, for good
    file = tmp_path / "proofs.json"
    names = ["tanh", RIGHT, WRONG, WRONG_IN_DIGITS, OUTSIDE]
    benchmark.main(["proofs", *names, "--json", str(file)])
    printed = capsys.readouterr().out.splitlines()
    for line in (
        "catalogue: 1 of 1 proved",
        "right: 1 of 1 proved",
        "wrong: 1 of 2 refuted, 1 proved",
        f"  proved: {WRONG_IN_DIGITS} (another gradient)",
        "libraries in all: 1 of 1 proved",
    ):
        assert line in printed
    assert "Not asked about:" not in printed
    rows = json.loads(file.read_text(encoding="utf-8"))["rules"]
    verdicts = {row["rule"]: row["verdict"] for row in rows}
    assert verdicts == {
        "tanh, matrix": "proved",
        RIGHT: "proved",
        WRONG: "refuted",
        WRONG_IN_DIGITS: "proved",
        OUTSIDE: "proved",
    }
    assert [row["where"] for row in rows] == ["catalogue", "right", "wrong", "wrong", "optax"]
    assert all((row["chance"] <= 1e-15) == (row["verdict"] == "proved") for row in rows)
    assert rows[2]["why"].startswith("scores: refuted: at scores[")


def test_a_name_without_an_entry_is_an_error():
    with pytest.raises(SystemExit, match="argument NAME: no entry for no_rule; there is cata"):
        benchmark.main(["proofs", "tanh", "no_rule"])


def test_a_place_is_all_of_its_rules():
    rules = [question.rule for question in proofs.chosen(["optax"])]
    assert rules == [name for name in libraries.CASES if name.startswith("optax.")]


def test_without_a_rule_nothing_is_called_not_proved():
    question = proofs.Question("jax", "sin", lambda: (jnp.sin, (jnp.ones(3),), None))
    assert proofs.answer(question).verdict == "no rule"


def test_what_raises_does_not_end_the_table(monkeypatch):
    def prove(*args, **options):
        raise ZeroDivisionError("by 0")

    monkeypatch.setattr(jaxnet, "prove", prove)
    (question,) = proofs.chosen([RIGHT])
    row = proofs.answer(question)
    assert (row.verdict, row.why) == ("raised", "ZeroDivisionError: by 0")
    assert next(proofs.summary([row])) == "right: 0 of 1 proved, 1 raised"


def test_what_is_not_asked_about_is_said(monkeypatch):
    monkeypatch.setattr(libraries, "is_installed", lambda name: name != "flax")
    monkeypatch.setattr(libraries, "found", lambda name: None)
    said = list(proofs.not_asked())
    assert "flax: not installed" in said
    assert "jax.nn.relu: not in the installed version" in said
    assert "jax.scipy.special.wofz: of complex numbers" in said
    assert not any(line.startswith("flax.linen.fp8_ops") for line in said)
