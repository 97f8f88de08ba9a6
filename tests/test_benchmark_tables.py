"""The table of train.py beside scikit-learn on tables of other packages."""

import subprocess

import benchmark
import pytest
from benchmarks import tables
from benchmarks.table_list import SOURCES, Source

PRICES = Source("shop", "prices", "price", ("--task", "regression"))


def test_a_name_without_a_table_is_an_error():
    with pytest.raises(SystemExit, match="argument NAME: no table no_table; there is iris, wine"):
        benchmark.main(["tables", "iris", "no_table"])


def test_there_are_thirty_tables_and_at_most_one_option_for_each():
    assert len({source.name for source in SOURCES}) == len(SOURCES) >= 30
    assert {len(source.option) for source in SOURCES} == {0, 2}


def test_medians_are_compared():
    scores = tables.Scores(PRICES, 200, 4, "r2", [0.1, 0.9, 0.91, 0.92, 2], [0.9, 0.9, 0.935, 1, 1])
    assert not scores.is_near
    assert scores._replace(theirs=[0.9] * 5).is_near
    assert tables.line(scores) == (
        "| shop: prices | 200 × 4 | price | `--task regression` | R² | 0.910 | 0.935 | -0.025 |"
    )


@pytest.mark.parametrize(("code", "said"), [(0, "--task"), (1, "no such column")])
def test_an_option_that_no_error_names_is_not_given(code, said, tmp_path, monkeypatch):
    done = subprocess.CompletedProcess([], code, "", said)
    monkeypatch.setattr(tables, "command", lambda *_: done)
    with pytest.raises(SystemExit, match=r"prices: train\.py does not ask for --task"):
        tables.require_named(PRICES, tmp_path / "prices.csv")
