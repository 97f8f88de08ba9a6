"""The table of what three checkers say of the corpus (test_check_corpus.py has the corpus)."""

import json

import benchmark


def test_the_first_wrong_and_the_first_right_rule(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("JAX_ENABLE_COMPILATION_CACHE", "false")  # as the command does, for good
    arguments = ["checkers", "--most", "1", "--every", "--json", str(tmp_path / "table.json")]
    benchmark.main(arguments)
    printed = capsys.readouterr().out
    assert "jaxnet.check named the argument at fault in 1 of 1." in printed
    wrong, right = json.loads((tmp_path / "table.json").read_text())["rules"]
    assert wrong["jaxnet.check"]
    assert not right["jaxnet.check"]
    assert wrong["rule"] in printed
