"""What a check found, and how it is said: one sentence first, then a table, or JSON."""

import json
import math
from dataclasses import asdict, dataclass, field
from typing import Any, Literal, TypeAlias

Verdict: TypeAlias = Literal[
    "ok", "wrong", "imprecise", "kink", "disputed", "vacuous", "unsupported", "error"
]
BAD = ("wrong", "error", "imprecise", "vacuous")  # in the order in which a report names them
WIDTH = 100


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at, in one leaf.

    what: "value", "algebra", "precision float32", "law: ...", "structure", "vmap x", "grad of grad" and so on.
    leaf: the path of the argument's leaf, "params['w']"; of an output, "output"; "" where it is none.
    index: the element that decided (for a complex leaf with a last entry, 0 for the real and 1 for the imaginary part).
    rule, auto, true: the cotangent there by the rule, by automatic differentiation in the same dtype, and in float64.
    error, auto_error: distances of rule and auto from true there, in eps of the dtype times the leaf's largest |true|.
    """

    what: str
    leaf: str
    verdict: Verdict
    index: tuple[int, ...] = ()
    rule: float = math.nan
    auto: float = math.nan
    true: float = math.nan
    error: float = math.nan
    auto_error: float = math.nan
    note: str = ""

    def sentence(self) -> str:
        """As a person would say it: "WRONG in `weight` at (2, 5): rule 0.187, autodiff 0.042, truth 0.042"."""
        where = (f" in `{self.leaf}`" if self.leaf else "") + self._at()
        what = "" if self.what == "algebra" else f" ({self.what})"
        said = "; ".join(filter(None, [self._values(), self.note]))
        return f"{self.verdict.upper()}{where}{what}{': ' if said else ''}{said}"

    def detail(self) -> str:
        """The same for a table that names verdict and leaf in columns of their own."""
        if self.verdict == "ok":
            errors = [f"{self.error:.2g} eps"] if not math.isnan(self.error) else []
            errors += [f"autodiff {self.auto_error:.2g}"] if not math.isnan(self.auto_error) else []
            return "; ".join(filter(None, [", ".join(errors), self.note]))
        return "; ".join(
            filter(None, [f"{self._at().strip()}: {self._values()}".strip(": "), self.note])
        )

    def _at(self) -> str:
        return f" at ({', '.join(map(str, self.index))})" if self.index else ""

    def _values(self) -> str:
        if math.isnan(self.rule) and math.isnan(self.true):
            return ""
        if self.what == "value":
            return f"forward {self.rule:.4g}, function {self.true:.4g}"
        if self.what.startswith("law"):
            return f"{self.rule:.4g}, linearity asks for {self.true:.4g}"
        for digits in (3, 5, 8, 17):  # as few as tell rule and truth apart
            rule, auto, true = (f"{v:.{digits}g}" for v in (self.rule, self.auto, self.true))
            if rule != true:
                break
        return f"rule {rule}, autodiff {auto}, truth {true}"


@dataclass(frozen=True)
class Power:
    """What this check would have noticed in a leaf that it passed.

    scale: the smallest relative error of the whole leaf. share: of the elements, how many could not have been lost
    (returned as 0) unnoticed. measured_on: elements at which finite differences were taken to know it.
    """

    scale: float
    share: float
    measured_on: int


@dataclass(frozen=True)
class Cost:
    """Of one backward pass: bytes kept for it (arguments that are kept included), and FLOPs with its forward."""

    residual_bytes: dict[str, int]  # rule, autodiff, checkpoint
    flops: dict[str, float]


@dataclass(frozen=True)
class Report:
    """What `check` found. `ok` is False where any finding is wrong, imprecise, vacuous or an error."""

    name: str
    signature: str
    reference: str
    findings: tuple[Finding, ...]
    power: dict[str, Power] = field(default_factory=dict)
    never_entered: tuple[str, ...] = ()
    cost: Cost | None = None
    notes: tuple[str, ...] = ()

    @property
    def ok(self) -> bool:
        return self.nothing_bad and any(
            f.what == "algebra" for f in self.findings
        )  # something was compared

    @property
    def nothing_bad(self) -> bool:
        return not any(f.verdict in BAD for f in self.findings)

    def require(self) -> None:
        """Raise AssertionError with the report unless ok: one line in a test."""
        __tracebackhide__ = True
        if not self.ok:
            raise AssertionError(str(self)).with_traceback(None)

    def json(self) -> str:
        """The report as JSON text; inf and NaN are written as strings."""
        return as_json(
            {"name": self.name, "ok": self.ok, "sentence": self.sentence()} | asdict(self)
        )

    def sentence(self) -> str:
        """What a person should know first."""
        for verdict in BAD:
            for f in self.findings:
                if f.verdict == verdict:
                    return f.sentence()
        if not self.ok:
            return self.findings[0].sentence() if self.findings else "nothing was compared"
        said = []
        if self.power:
            leaf, weakest = max(self.power.items(), key=lambda item: item[1].scale)
            small = weakest.scale < 1
            said.append(
                f"would have noticed {weakest.scale:.1e} in `{leaf}`"
                if small
                else f"saw nothing of `{leaf}`"
            )
        if self.never_entered:
            more = f" and {len(self.never_entered) - 1} more" if len(self.never_entered) > 1 else ""
            side, _, place = self.never_entered[0].partition(" in `")
            said.append(
                f"never entered: {side} ({place.rpartition(' (')[2]}{more}" if place else side
            )
        return "ok" + (": " + "; ".join(said) if said else "")

    def __str__(self) -> str:
        lines = [
            self.sentence(),
            clip(f"{self.name}({self.signature})  against {self.reference}"),
            "",
        ]
        for what, leaf, verdict, text in _rows(self.findings):
            lines += row(what, leaf, verdict.upper() if verdict in BAD else verdict, text)
        for leaf, p in self.power.items():
            lines += row(
                "power",
                leaf,
                "",
                f"notices an error of scale {p.scale:.1e}; the loss of {p.share:.0%} of elements",
            )
        for text in self.never_entered:
            lines += row("never entered", "", "", text)
        if self.cost:
            for unit, numbers in (
                ("residual bytes", self.cost.residual_bytes),
                ("flops", self.cost.flops),
            ):
                lines += row(
                    unit,
                    "",
                    "",
                    ", ".join(f"{who} {number:,.0f}" for who, number in numbers.items()),
                )
        for note in self.notes:
            lines += row("note", "", "", note)
        return "\n".join(lines)


def _rows(findings: tuple[Finding, ...]) -> list[tuple[str, str, str, str]]:
    """what, leaf, verdict and text of each row; what went well with every law and transformation shares one."""
    rows, quiet = [], dict[tuple[str, str, str], list[str]]()
    for f in findings:
        kind = "laws" if f.what.startswith("law") else "transforms"
        if f.verdict not in ("ok", "unsupported") or f.what.startswith(
            ("value", "algebra", "precision")
        ):
            rows.append((f.what, f.leaf, str(f.verdict), f.detail()))
        elif kind == "transforms":
            quiet.setdefault((kind, f.verdict, f.note), []).append(f.what)
        else:
            quiet.setdefault((kind, f.verdict, f.what.removeprefix("law: ")), []).append(f.leaf)
    for (kind, verdict, text), members in quiet.items():
        if kind == "laws":
            rows.append((kind, members[0] if len(members) == 1 else "all leaves", verdict, text))
        else:
            rows.append((kind, "", verdict, "; ".join(filter(None, [", ".join(members), text]))))
    return rows


def row(what: str, leaf: str, verdict: str, text: str, indent: int | None = None) -> list[str]:
    """One row of the table, folded at WIDTH; with an indent, the text alone."""
    head = f"  {what:<18} {leaf:<14} {verdict:<11} " if indent is None else " " * indent
    if indent is None and len(head) > 49:
        return [head.rstrip(), *row("", "", "", text, indent=49)] if text else [head.rstrip()]
    lines = [""]
    for word in text.split(" "):
        if lines[-1] and len(head) + len(lines[-1]) + 1 + len(word) > WIDTH:
            lines.append(word)
        else:
            lines[-1] += (" " if lines[-1] else "") + word
    return [(head + lines[0]).rstrip()] + [" " * len(head) + line for line in lines[1:]]


def clip(text: str) -> str:
    return text if len(text) <= WIDTH else text[: WIDTH - 2] + " …"


def as_json(content: Any) -> str:
    return json.dumps(_finite(content), indent=1)


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: _finite(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(v) for v in value]
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value
