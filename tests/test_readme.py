"""What the README shows is run as it stands."""

import functools
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```python\n(.*?)```", README, re.DOTALL)


@functools.cache
def python(code):
    return subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)


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
    shown = (
        README.partition("print(jaxnet.check(rms_norm")[2]
        .partition("```\n```\n")[2]
        .partition("```")[0]
    )
    printed = python(BLOCKS[2]).stdout
    assert shown.splitlines()[:6] == printed.splitlines()[:6]


@pytest.mark.parametrize("block", BLOCKS, ids=range(len(BLOCKS)))
def test_every_block_runs(block):
    done = python(block)
    assert done.returncode == 0, done.stderr
    assert not done.stderr


def test_links_lead_somewhere():
    prose = re.sub(r"```.*?```", "", README, flags=re.DOTALL)
    for target in re.findall(r"\]\(([^)#]+)\)", prose):
        assert (ROOT / target).exists(), target
