"""What the README shows is run as it stands."""

import pytest
from pages import ROOT, blocks, broken_links, python

README = ROOT / "README.md"
BLOCKS = [block.code for block in blocks(README)]


def test_the_first_lines_print_pass():
    imports, empty, *lines = BLOCKS[0].splitlines()
    assert (imports, empty, len(lines)) == ("import jax, jaxnet", "", 4)
    assert python(BLOCKS[0]).stdout == "pass\n"


def test_the_first_lines_would_print_fail():
    halved = (
        "import jaxnet\n"
        "backward = jaxnet.linear.halves.backward\n"
        "jaxnet.linear.backward(lambda residuals, dy: backward(residuals, dy / 2))\n"
    )
    assert python(halved + BLOCKS[0]).stdout == "FAIL\n"


def test_your_own_rule_is_right_and_breaks_as_the_text_says():
    assert float(python(BLOCKS[1]).stdout) < 1e-6
    broken = BLOCKS[1].replace("expm1(-y)", "expm1(y)")
    assert broken != BLOCKS[1]
    assert float(python(broken).stdout) > 0.1


def test_the_broken_rule_is_reported_as_shown():
    shown = blocks(README)[2].shown.splitlines()[:6]
    assert len(shown) == 6
    assert shown == python(BLOCKS[2]).stdout.splitlines()[:6]


@pytest.mark.parametrize("block", BLOCKS, ids=range(len(BLOCKS)))
def test_every_block_runs(block):
    done = python(block)
    assert done.returncode == 0, done.stderr
    assert not done.stderr


def test_links_lead_somewhere():
    assert not broken_links(README)
