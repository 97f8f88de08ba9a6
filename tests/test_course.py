"""What the course hands out besides its derivation: the notebook, and the teacher's page."""

import os
import re
import subprocess
import sys

import pytest
from pages import ROOT, broken_links

COURSE = ROOT / "docs" / "course"
NOTEBOOK = COURSE / "notebook.py"


def run(*arguments, **more):
    environment = os.environ | {"PYTHONPATH": str(ROOT), "MPLBACKEND": "agg"}
    command = [sys.executable, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, env=environment, **more)


@pytest.mark.many
def test_the_notebook_says_what_it_promises(tmp_path):
    done = run(NOTEBOOK, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    right, wrong, proved, refuted = (
        done.stdout.index(said) for said in ("ok", "WRONG in `b`", "\nproved", "\nrefuted")
    )
    assert right < wrong < proved < refuted
    finals = re.findall(r"^(?:right|careless): (\S+) %", done.stdout, re.MULTILINE)
    both = list(map(float, finals))
    assert len(both) == 2
    assert min(both) > 95
    assert abs(both[0] - both[1]) <= 1


def test_the_notebook_is_small_and_leads_somewhere():
    cells = NOTEBOOK.read_text(encoding="utf-8").split("# %%")[1:]
    assert len(cells) <= 25
    assert not broken_links(NOTEBOOK)
