"""What a check says of all that it found: one sentence first, then a table, or JSON."""

import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from jaxnet.checking.findings import (
    ALWAYS_A_ROW,
    Cost,
    Finding,
    Never,
    Power,
    Question,
    Verdict,
)
from jaxnet.proving import Proof
from jaxnet.proving import Verdict as Proved

WIDTH = 100  # of what is printed, as of the code


class Judgement:
    """What a Report and an Audit have in common."""

    name: str

    @property
    def ok(self) -> bool:
        """Whether something was judged, and nothing found that is bad.

        >>> x = jnp.array([-1.0, 2.0])
        >>> jaxnet.check(jaxnet.relu, x).ok, jaxnet.check(jnp.sin, x).ok  # sin has no rule to judge
        (True, False)
        """
        return not self.faults()

    def unasked(self) -> tuple[str, ...]:
        """What was cut for lack of time.

        Returns names of questions.

        >>> "vmap x" in jaxnet.check(jaxnet.relu, jnp.array([-1.0, 2.0]), budget=0).unasked()
        True
        """
        raise NotImplementedError

    def faults(self) -> set[str]:
        """Why it is not ok: what was not judged by its name ("no rule"), "" for anything else.

        Returns a set of strings, empty where it is ok.

        >>> jaxnet.check(jnp.sin, 1.0).faults()
        {'no rule'}
        """
        raise NotImplementedError

    def sentence(self) -> str:
        """What a person should know first.

        Returns a string.

        >>> print(jaxnet.check(jaxnet.relu, jnp.array([-1.0, 2.0]), budget=0).sentence())
        ok; not asked: precision float32 and ... more
        """
        raise NotImplementedError

    def unproved(self) -> tuple[str, ...]:
        """What is not proved as algebra.

        Returns names, of the function or of rules.

        >>> jaxnet.check(jaxnet.relu, jnp.array([-1.0, 2.0]), budget=0).unproved()
        ()
        >>> jaxnet.check(jaxnet.relu, jnp.array([0.0, 2.0]), budget=0).unproved()  # a kink
        ('relu',)
        """
        raise NotImplementedError

    def require(
        self, *, accept: Sequence[str] = (), complete: bool = False, proved: bool = False
    ) -> None:
        """Raise AssertionError with all that was found unless ok: one line in a test.

        accept: names of what may be left unjudged, as the report gives them: ("no rule",).
        complete: whether everything must have been asked, nothing cut for lack of time.
        proved: whether the gradient must be proved as algebra too (an audit: that of every rule).
        Raises TypeError where accept is one string.

        >>> jaxnet.check(jaxnet.relu, jnp.array([-1.0, 2.0])).require()
        >>> jaxnet.check(jnp.sin, 1.0).require(accept=("no rule",))
        >>> jaxnet.check(jnp.sin, 1.0).require()
        Traceback (most recent call last):
        AssertionError: NOT JUDGED (no rule): no custom rule was found in sin: ...
        """
        __tracebackhide__ = True
        if isinstance(accept, str):
            raise TypeError(
                f"require: accept must be a tuple of names, got {accept!r}; write ({accept!r},)"
            )
        is_cut = complete and self.unasked()
        is_unproved = proved and self.unproved()
        if self.faults() - set(accept) or is_cut or is_unproved:
            raise AssertionError(str(self)).with_traceback(None)

    def json(self) -> str:
        """All that was found as JSON text; inf and NaN are written as strings.

        Returns a string.

        >>> import json
        >>> json.loads(jaxnet.check(jaxnet.relu, jnp.array([-1.0, 2.0])).json())["ok"]
        True
        """
        head = {"name": self.name, "ok": self.ok, "sentence": self.sentence()}
        shown = asdict(self, dict_factory=_shown)  # type: ignore[call-overload]
        return json.dumps(_finite(head | shown), indent=1)


def said_of_proof(proof: Proof) -> str:
    return clip(f"as algebra: {proof.sentence()}")


def said_of_cut(cut: Sequence[str]) -> list[str]:
    """In a first line."""
    more = f" and {len(cut) - 1} more" if len(cut) > 1 else ""
    return [f"not asked: {cut[0]}{more}"] if cut else []


@dataclass(frozen=True)
class Report(Judgement):
    """What `check` found. `ok` is False where any finding is bad, or nothing was judged.

    name: of the function.
    signature: its arguments, "x f32[2]".
    reference: what it was compared with, "auto(relu)".
    findings: a Finding for each thing that was looked at, in one leaf.
    power: leaf -> the smallest error that would have been noticed in it.
    never_entered: sides of branches in your files that no examined point entered.
    cost: what the backward keeps and computes, beside autodiff's; None where it was not asked.
    notes: what else there is to know.
    cut: what was not asked, for lack of time or because arrays are large or too much differs.
    proof: a Proof, of first derivatives: what `prove` says; None where nothing was compared.

    >>> report = jaxnet.check(jaxnet.relu, jnp.array([-1.0, 2.0]))
    >>> print(report.signature, report.reference, report.cost.residual_bytes["rule"])
    x f32[2] auto(relu) 8
    """

    name: str
    signature: str
    reference: str
    findings: tuple[Finding, ...]
    power: dict[str, Power] = field(default_factory=dict)
    never_entered: tuple[Never, ...] = ()
    cost: Cost | None = None
    notes: tuple[str, ...] = ()
    cut: tuple[str, ...] = ()
    proof: Proof | None = None
    _case: Any = field(default=None, repr=False, compare=False)  # a Case: what was checked

    def repro(self) -> str:
        """A script that shows what is wrong to somebody who has not installed jaxnet.

        At most 30 lines: imports, arguments (or a seed that makes some), and the rule's gradient
        beside what the values of the function say. It fails with an AssertionError as long as they
        differ. The function is imported by module and name; where it has none (a lambda, a local
        function, one of a notebook) the line marked HERE asks for it. The script was tried: it
        blames the rule, and would not blame autodiff.

        Returns a string.
        Raises ValueError where nothing is wrong, or where no such script shows it.

        >>> wrong = jaxnet.relu.but(backward=lambda y, dy, *, slope_at_zero: (dy,))
        >>> report = jaxnet.check(wrong, jnp.array([-1.0, 2.0]), transforms=())
        >>> print(report.repro())
        # relu: WRONG in `x` at (0): rule ..., autodiff 0, truth 0
        ...
        """
        if self._case is None:
            raise ValueError("repro: this report does not know the function and its arguments")
        script: str = self._case.script(self.name, self.findings)
        return script

    def unasked(self) -> tuple[str, ...]:
        return self.cut

    def unproved(self) -> tuple[str, ...]:
        is_proved = self.proof is not None and self.proof.verdict is Proved.PROVED
        return () if is_proved else (self.name,)

    def faults(self) -> set[str]:
        bad = [f for f in self.findings if f.verdict.bad]
        if not bad:
            judging = (Question.ALGEBRA, Question.METHODS)
            is_judged = any(f.question in judging for f in self.findings)
            return set() if is_judged else {""}
        return {f.detail if f.verdict is Verdict.NOT_JUDGED else "" for f in bad}

    @property
    def nothing_bad(self) -> bool:
        """Whether no finding is bad; `ok` asks also that something was judged.

        >>> jaxnet.check(jaxnet.relu, jnp.array([-1.0, 2.0])).nothing_bad
        True
        """
        return not any(f.verdict.bad for f in self.findings)

    def sentence(self) -> str:
        return "; ".join([self._said_of_findings(), *said_of_cut(self.cut)])

    def _said_of_findings(self) -> str:
        first = min(self.findings, key=lambda f: f.verdict.rank, default=None)
        if first is None:
            return "nothing was compared"
        if not self.nothing_bad:
            return first.sentence()
        if not self.ok:
            return self.findings[0].sentence()
        said = [self._said_of_approximation(), self._said_of_power(), self._said_of_branches()]
        return ": ".join(filter(None, [self._ok(), "; ".join(filter(None, said))]))

    def _ok(self) -> str:
        """Where floats find nothing, and algebra does, that is what to know first."""
        if self.proof is not None and self.proof.verdict is Proved.REFUTED:
            return f"ok, yet as algebra it {self.proof.sentence()}"
        return "ok"

    def _said_of_approximation(self) -> str:
        first = next((f for f in self.findings if f.verdict is Verdict.APPROXIMATE), None)
        return f"{first.where()}: {first.note}" if first else ""

    def _said_of_power(self) -> str:
        if not self.power:
            return ""
        leaf, weakest = max(self.power.items(), key=lambda item: item[1].scale)
        if weakest.scale < 1:
            return f"would have noticed {weakest.scale:.1e} in `{leaf}`"
        return f"saw nothing of `{leaf}`"

    def _said_of_branches(self) -> str:
        if not self.never_entered:
            return ""
        first, *others = self.never_entered
        more = f" and {len(others)} more" if others else ""
        return f"never entered: {first.side} ({first.place}){more}"

    def __str__(self) -> str:
        head = f"{self.name}({self.signature})  against {self.reference}"
        lines = [self.sentence(), clip(head)]
        lines += [said_of_proof(self.proof)] if self.proof else []
        lines += [""]
        for what, leaf, verdict, text in _rows(self.findings):
            lines += row(what, leaf, verdict.shown(), text)
        for leaf, p in self.power.items():
            text = f"notices an error of scale {p.scale:.1e}; the loss of {p.share:.0%} of elements"
            lines += row("power", leaf, "", text)
        for never in self.never_entered:
            lines += row("never entered", "", "", str(never))
        if self.cost:
            lines += row("residual bytes", "", "", _numbers(self.cost.residual_bytes))
            lines += row("flops", "", "", _numbers(self.cost.flops))
        if self.cut:
            lines += row("not asked", "", "", ", ".join(self.cut))
        for note in self.notes:
            lines += row("note", "", "", note)
        return "\n".join(lines)


def _numbers(by_whom: dict[str, Any]) -> str:
    return ", ".join(f"{who} {number:,.0f}" for who, number in by_whom.items())


def _rows(findings: tuple[Finding, ...]) -> list[tuple[str, str, Verdict, str]]:
    """what, leaf, verdict and text of each row.

    What went well with every law and transformation shares a row.
    """
    rows = []
    quiet: dict[tuple[Question, Verdict, str], list[str]] = {}
    for f in findings:
        went_well = f.verdict in (Verdict.OK, Verdict.UNSUPPORTED)
        if not went_well or f.question in ALWAYS_A_ROW:
            rows.append((f.what, f.leaf, f.verdict, f.cell()))
        else:
            shared, member = _quiet(f)
            quiet.setdefault(shared, []).append(member)
    for (question, verdict, text), members in quiet.items():
        if question is Question.LAWS:
            leaf = members[0] if len(members) == 1 else "all leaves"
            rows.append((question, leaf, verdict, text))
        else:
            said = "; ".join(filter(None, [", ".join(members), text]))
            rows.append((question, "", verdict, said))
    return rows


def _quiet(f: Finding) -> tuple[tuple[Question, Verdict, str], str]:
    """What is alike in findings that share a row, and what this one adds to the row."""
    if f.question is Question.LAWS:
        return (f.question, f.verdict, f.detail), f.leaf
    if f.question is Question.FORWARD:
        return (f.question, f.verdict, f.note), f.detail
    if f.question is Question.METHODS:
        return (f.question, f.verdict, f.note), f.what
    return (Question.TRANSFORMS, f.verdict, f.note), f.what


def row(what: str, leaf: str, verdict: str, text: str, indent: int | None = None) -> list[str]:
    """One row of the table, folded at WIDTH; with an indent, the text alone."""
    head = f"  {what:<18} {leaf:<14} {verdict:<11} " if indent is None else " " * indent
    if indent is None and len(head) > 49:  # a long name has a line of its own
        return [head.rstrip(), *(row("", "", "", text, indent=49) if text else [])]
    lines = [""]
    for word in text.split(" "):
        if lines[-1] and len(head) + len(lines[-1]) + 1 + len(word) > WIDTH:
            lines.append(word)
        else:
            lines[-1] += (" " if lines[-1] else "") + word
    return [(head + lines[0]).rstrip()] + [" " * len(head) + line for line in lines[1:]]


def clip(text: str) -> str:
    return text if len(text) <= WIDTH else text[: WIDTH - 2] + " …"


def _shown(fields: list[tuple[str, Any]]) -> dict[str, Any]:
    return {name: value for name, value in fields if not name.startswith("_")}


def _finite(value: Any) -> Any:
    """JSON has no inf and no NaN, and calls what has names by them."""
    if hasattr(value, "_asdict"):
        value = value._asdict()
    if isinstance(value, dict):
        return {k: _finite(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(v) for v in value]
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value
