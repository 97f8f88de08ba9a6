"""What the README shows is run as it stands."""

import pytest
from pages import ROOT, blocks, broken_links, python

README = ROOT / "README.md"
BLOCKS = [block.code for block in blocks(README)]


def test_the_wrong_rule_is_reported_as_shown():
    shown = blocks(README)[0].shown.splitlines()
    assert shown[0].startswith("WRONG in `x`")
    assert shown == python(BLOCKS[0]).stdout.splitlines()[: len(shown)]


def test_mended_the_wrong_rule_is_ok():
    mended = (
        BLOCKS[0]
        .replace("relu(x), None", "relu(x), x")
        .replace("lambda _, dy: (dy,)", "lambda x, dy: (dy * (x > 0),)")
    )
    assert python(mended).stdout.startswith("ok: would have noticed")


def test_your_own_rule_is_right_and_breaks_as_the_text_says():
    assert float(python(BLOCKS[1]).stdout) < 1e-6
    broken = BLOCKS[1].replace("expm1(-y)", "expm1(y)")
    assert broken != BLOCKS[1]
    assert float(python(broken).stdout) > 0.1


@pytest.mark.parametrize("block", BLOCKS, ids=range(len(BLOCKS)))
def test_every_block_runs(block):
    done = python(block)
    assert done.returncode == 0, done.stderr
    assert not done.stderr


def test_links_lead_somewhere():
    assert not broken_links(README)


def test_it_is_read_in_some_minutes():
    text = README.read_text(encoding="utf-8")
    assert len(text.splitlines()) <= 130
    assert len(text.split()) <= 1300
