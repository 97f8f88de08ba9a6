"""What the pages in docs/ show is run as it stands, and their links lead somewhere.

The Python blocks of a page are one program. What a block prints is shown in a plain block right
below it, in which `...` stands for whatever may differ; a block without one prints nothing.
"""

import re

import pytest
from catalogue import ENTRIES, MEASURES
from pages import END, ROOT, blocks, broken_links, program, python

PAGES = sorted((ROOT / "docs").rglob("*.md"))
CONTRIBUTING = ROOT / "CONTRIBUTING.md"
every_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)


def is_as_shown(printed, shown):
    return re.fullmatch(".*".join(map(re.escape, shown.split("..."))), printed, re.DOTALL)


@every_page
def test_blocks_print_what_is_shown(page):
    done = python(program(page))
    assert done.returncode == 0, done.stderr
    *printed, rest = done.stdout.split(f"{END}\n")
    assert not rest
    for block, output in zip(blocks(page), printed, strict=True):
        assert is_as_shown(output, block.shown), f"{block.code}\nprints\n{output}"


@pytest.mark.parametrize("page", [*PAGES, CONTRIBUTING], ids=lambda page: page.stem)
def test_links_lead_somewhere(page):
    assert not broken_links(page)


def test_how_to_contribute_is_read_in_some_minutes():
    assert len(CONTRIBUTING.read_text(encoding="utf-8").splitlines()) <= 60


def test_every_rule_is_named_and_has_its_rows():
    readme, table = (
        (ROOT / page).read_text(encoding="utf-8") for page in ("README.md", "docs/rules.md")
    )
    for name in ENTRIES:
        assert f"`{name}`" in readme, f"README.md does not name {name}"
        assert f"`{name}(" in table, f"docs/rules.md does not say what {name} takes"
    measured = re.findall(r"^\| `([^`]+)` \| ", table, re.MULTILINE)
    assert sorted(measured) == sorted(MEASURES)


def test_every_section_that_a_docstring_cites_is_a_heading():
    page = (ROOT / "docs" / "report.md").read_text(encoding="utf-8")
    headings = set(re.findall(r"^#+ ([\d.]*\d)\.? ", page, re.MULTILINE))
    for path in (ROOT / "jaxnet").rglob("*.py"):
        text = path.read_text(encoding="utf-8")
        cited = re.findall(r"\bsections? ([\d.]*\d)(?:[^.\n]* and ([\d.]*\d))?", text)
        assert {number for pair in cited for number in pair if number} <= headings, path


def test_the_map_of_the_house_names_every_file():
    page = (ROOT / "docs" / "design.md").read_text(encoding="utf-8")
    named = re.findall(r"\b(\w+\.py)\b", page.partition("## The house")[2].partition("scripts/")[0])
    files = (ROOT / "jaxnet").rglob("*.py")
    by_folder = {"rules", "questions"}  # their files are named by what they hold
    expected = {f.name for f in files if f.parent.name not in by_folder}
    assert set(named) == expected
