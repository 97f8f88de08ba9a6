"""What the verdicts of a check on other people's rules turn out to be worth."""

import enum
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any


class Kind(enum.StrEnum):
    """What a verdict is, after it was looked into."""

    OK = "ok"
    FAULT = "fault"  # of theirs, borne out without jaxnet
    BY_DESIGN = "by design"  # the rule is another derivative on purpose, and says so
    CONVENTION = "convention"  # of the same derivative, written in another way
    FALSE_ALARM = "false alarm"  # of ours; so is whatever was not looked into
    NO_VERDICT = "no verdict"
    CRASH = "crash"


CRASHED, TOO_LONG = "crash", "too long"
SAYS_NOTHING = (TOO_LONG, "not judged", "vacuous")


@dataclass(frozen=True)
class Known:
    kind: Kind
    reason: str  # in one line
    verdicts: tuple[str, ...] = ("wrong",)  # of which this is known
    at: tuple[list[float], ...] = ()  # arguments that show it, where those of the call do not


@dataclass(frozen=True)
class Row:
    library: str
    version: str
    rule: str
    verdict: str
    said: str
    proved: bool = False
    seconds: float = 0.0
    cut: list[str] = field(default_factory=list)
    witnesses: list[str] = field(default_factory=list)
    report: str = ""

    def kind(self, known: dict[str, Known]) -> Kind:
        if self.verdict == CRASHED:
            return Kind.CRASH
        if self.rule in known and self.verdict in known[self.rule].verdicts:
            return known[self.rule].kind
        if self.verdict == "ok":
            return Kind.OK
        return Kind.NO_VERDICT if self.verdict in SAYS_NOTHING else Kind.FALSE_ALARM


def line(row: Row, known: dict[str, Known]) -> str:
    kind, proved = row.kind(known), "proved" if row.proved else ""
    return f"{row.rule}  {row.verdict}  {kind}  {proved}  {row.seconds:.1f} s\n  {row.said}"


def looked_into(rows: Sequence[Row], known: dict[str, Known]) -> list[str]:
    """Each that is not ok: what is said of it, by whom, and why it is what it is."""
    lines = []
    for row in rows:
        kind = row.kind(known)
        if kind is not Kind.OK:
            reason = known[row.rule].reason if row.rule in known else row.said
            lines += [f"{kind}: {row.rule}: {reason}", *(f"  {w}" for w in row.witnesses)]
    return lines


def counted(rows: Sequence[Row], known: dict[str, Known]) -> dict[str, Any]:
    kinds = Counter(row.kind(known) for row in rows)
    return {
        "rules": len(rows),
        "libraries": len({row.library for row in rows}),
        "proved": sum(row.proved for row in rows),
        **{str(kind): kinds[kind] for kind in Kind},
    }


def last_lines(rows: Sequence[Row], known: dict[str, Known]) -> list[str]:
    found = counted(rows, known)
    number = found.pop("rules")
    lines = [f"{number} rules of {found.pop('libraries')} libraries"]
    return lines + [f"  {count:3} {what} ({count / number:.0%})" for what, count in found.items()]


def by_library(rows: Sequence[Row], known: dict[str, Known]) -> list[str]:
    """A table in Markdown. Meant: by design, or a convention."""
    lines = [
        "| library | rules | proved | ok | fault | meant | false alarm | no verdict |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for library in sorted({(row.library, row.version) for row in rows}):
        found = counted([row for row in rows if (row.library, row.version) == library], known)
        numbers = (
            found["rules"],
            found["proved"],
            found["ok"],
            found["fault"],
            found["by design"] + found["convention"],
            found["false alarm"],
            found["no verdict"] + found["crash"],
        )
        lines.append(f"| {' '.join(library)} | {' | '.join(map(str, numbers))} |")
    return lines
