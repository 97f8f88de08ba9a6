"""Pages in Markdown: the Python in them, what they say that it prints, and where links lead."""

import functools
import re
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[1]
BLOCK = re.compile(r"^```python\n(.*?)^```\n(?:```\n(.*?)^```\n)?", re.DOTALL | re.MULTILINE)
FENCED = re.compile(r"^```.*?^```$", re.DOTALL | re.MULTILINE)
END = "-- end of block"  # printed after each block of a whole page


class Block(NamedTuple):
    code: str
    shown: str  # in the plain block right below it; "" where there is none


def blocks(page: Path) -> list[Block]:
    return [Block(*groups) for groups in BLOCK.findall(page.read_text(encoding="utf-8"))]


def program(page: Path) -> str:
    """All blocks, one after the other, each at the line where it stands in the page."""
    text, found = page.read_text(encoding="utf-8"), ""
    for match in BLOCK.finditer(text):
        above = text.count("\n", 0, match.start(1)) - found.count("\n")
        found += "\n" * above + match[1] + f"print({END!r})\n"
    return found


@functools.cache
def python(code: str) -> subprocess.CompletedProcess[str]:
    """Run as a program of its own, in the folder that holds README.md."""
    return subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)


def anchors(page: Path) -> set[str]:
    """What GitHub calls the headings of a page, in links to them."""
    prose = FENCED.sub("", page.read_text(encoding="utf-8"))
    headings = re.findall(r"^#+ (.*)$", prose, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def broken_links(page: Path) -> list[str]:
    """Links to a file that is not there, or to a heading that its page does not have."""
    prose = FENCED.sub("", page.read_text(encoding="utf-8"))
    targets = re.findall(r"\]\(([^)\s]+)\)", prose)
    return [t for t in targets if "://" not in t and not _leads_somewhere(page, t)]


def _leads_somewhere(page: Path, target: str) -> bool:
    path, _, anchor = target.partition("#")
    file = page.parent / path if path else page
    return file.exists() and (not anchor or anchor in anchors(file))
