"""What a check found, and how it is said: one sentence first, then a table, or JSON."""

import enum
import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, NamedTuple

from jaxnet.proving import Proof
from jaxnet.proving import Verdict as Proved

WIDTH = 100  # of what is printed, as of the code


class Verdict(enum.StrEnum):
    """What is said of a leaf, or of a place where a rule is called; the worst first."""

    bad: bool  # whether a report with it is not ok
    colour: str  # of a terminal (ANSI)
    meaning: str

    def __new__(cls, name: str, bad: bool, colour: str, meaning: str) -> "Verdict":
        verdict = str.__new__(cls, name)
        verdict._value_ = name
        verdict.bad, verdict.colour, verdict.meaning = bad, colour, meaning
        return verdict

    @property
    def rank(self) -> int:
        """0 for the worst."""
        return list(Verdict).index(self)

    def shown(self) -> str:
        return self.upper() if self.bad else str(self)

    WRONG = "wrong", True, "31", "finite differences exclude the rule, and not the reference"
    ERROR = "error", True, "31", "it raised"
    IMPRECISE = "imprecise", True, "31", "the algebra is right, more is rounded than by autodiff"
    VACUOUS = "vacuous", True, "31", "the gradient is 0 here, so nothing was seen"
    NOT_JUDGED = "not judged", True, "31", "nothing was compared with anything"
    APPROXIMATE = "approximate", False, "33", "off by less than the arguments' digits can tell"
    DISPUTED = "disputed", False, "33", "finite differences exclude autodiff, and not the rule"
    KINK = "kink", False, "33", "the rule lies between the one-sided slopes"
    UNSUPPORTED = "unsupported", False, "33", "not implemented, or the reference raises too"
    DIFFERENT = "different", False, "33", "ref is another function, on purpose perhaps"
    OK = "ok", False, "32", "nothing is wrong"
    # Of a place where a rule is called:
    NEVER_RAN = "never ran", False, "33", "no value was met here"
    NOT_DIFFERENTIATED = "not differentiated", False, "32", "no derivative of f goes through it"
    SHADOWED = "shadowed", False, "32", "inside the body of another rule, whose backward is used"


def worst(verdicts: Any) -> Verdict:
    """OK where there is none."""
    return min(verdicts, key=lambda v: v.rank, default=Verdict.OK)


class Question(enum.StrEnum):
    """What a finding answers."""

    GRADIENT = "gradient"  # is there one at all?
    REFERENCE = "reference"  # can the function be differentiated without its rule?
    VALUE = "value"
    ALGEBRA = "algebra"
    LAWS = "laws"
    PRECISION = "precision"
    STRUCTURE = "structure"
    TRANSFORMS = "transforms"
    METHODS = "methods"  # of a primitive that is a Python object
    FORWARD = "forward"  # is what jax.jvp makes of it the derivative too?


LINEARITY = ("linear", "zero for zero")  # what forward mode is asked, as the backward's laws
ALWAYS_A_ROW = (Question.VALUE, Question.ALGEBRA, Question.PRECISION)


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at, in one leaf.

    question: what was asked.
    leaf: the path of the argument's leaf, "params['w']"; of an output, "output"; "" where it is
        none.
    verdict: one of those that `check` explains; verdict.bad says whether a report with it is not
        ok.
    index: the element that decided (for a complex leaf with a last entry, 0 for the real and 1 for
        the imaginary part).
    rule, auto, true: the cotangent there by the rule, by automatic differentiation in the same
        dtype (None where there is none), and in float64.
    error, auto_error: distances of rule and auto from true there, in eps of the dtype times the
        leaf's largest |true|.
    note: what else there is to know.
    detail: of what it was asked: the dtype of a precision ("float32"), which law, which
        transformation ("vmap x", "grad of grad"); `what` is both in words.

    >>> wrong = jaxnet.relu.but(backward=lambda y, dy, *, slope_at_zero: (dy,))  # lets all pass
    >>> report = jaxnet.check(wrong, jnp.array([-1.0, 2.0]))
    >>> [(f.what, f.leaf, f.index, f.true) for f in report.findings if f.verdict.bad]
    [('algebra', 'x', (0,), 0.0)]
    """

    question: Question
    leaf: str
    verdict: Verdict
    index: tuple[int, ...] = ()
    rule: float = math.nan
    auto: float | None = math.nan
    true: float = math.nan
    error: float = math.nan
    auto_error: float = math.nan
    note: str = ""
    detail: str = ""
    _x: Any = field(default=None, repr=False, compare=False)  # the leaves where it was found

    @property
    def what(self) -> str:
        """ "algebra", "precision float32", "law: additive", "vmap x" and so on.

        >>> report = jaxnet.check(jaxnet.relu, jnp.array([-1.0, 2.0]), budget=0)
        >>> [finding.what for finding in report.findings][:2]
        ['value', 'algebra']
        """
        is_named_by_detail = self.verdict is Verdict.NOT_JUDGED and self.detail
        named_by_detail = (Question.TRANSFORMS, Question.METHODS)
        if self.question in named_by_detail or is_named_by_detail:
            return self.detail
        if self.question is Question.LAWS:
            return f"law: {self.detail}"
        return f"{self.question} {self.detail}".strip()

    def sentence(self) -> str:
        """As a person would say it: "WRONG in `weight` at (2, 5): rule 0.187, autodiff 0.042".

        Returns a string.

        >>> print(jaxnet.check(jnp.sin, 1.0).findings[0].sentence())
        NOT JUDGED (no rule): no custom rule was found in sin: ...
        """
        said = "; ".join(filter(None, [self._values(), self.note]))
        where = self.where().removeprefix(self.verdict)
        return f"{self.verdict.upper()}{where}{': ' if said else ''}{said}"

    def where(self) -> str:
        """The verdict, the leaf and the element, and what was asked: "kink in `x` at (1)".

        Returns a string.

        >>> jaxnet.check(jaxnet.relu, jnp.array([0.0, 2.0]), budget=0).findings[1].where()
        'kink in `x` at (0)'
        """
        leaf = f" in `{self.leaf}`" if self.leaf else ""
        what = "" if self.question is Question.ALGEBRA else f" ({self.what})"
        return f"{self.verdict}{leaf}{self._at()}{what}"

    def cell(self) -> str:
        """The same for a table that names verdict and leaf in columns of their own.

        Returns a string.

        >>> print(jaxnet.check(jnp.sin, 1.0).findings[0].cell())
        no custom rule was found in sin: ...
        """
        if self.verdict is not Verdict.OK:
            place = f"{self._at().strip()}: {self._values()}".strip(": ")
            return "; ".join(filter(None, [place, self.note]))
        errors = []
        if not math.isnan(self.error):
            errors.append(f"{self.error:.2g} eps")
        if not math.isnan(self.auto_error):
            errors.append(f"autodiff {self.auto_error:.2g}")
        return "; ".join(filter(None, [", ".join(errors), self.note]))

    def _at(self) -> str:
        return f" at ({', '.join(map(str, self.index))})" if self.index else ""

    def _is_of_linearity(self) -> bool:
        if self.question is Question.FORWARD:
            return self.detail in LINEARITY
        return self.question is Question.LAWS

    def _values(self) -> str:
        if math.isnan(self.rule) and math.isnan(self.true):
            return ""
        if self.question is Question.VALUE and not self.detail:
            return f"forward {self.rule:.4g}, function {self.true:.4g}"
        if self.verdict is Verdict.DIFFERENT and self.question is Question.VALUE:
            return f"function {self.rule:.4g}, ref {self.true:.4g}"
        if self._is_of_linearity():
            return f"{self.rule:.4g}, linearity asks for {self.true:.4g}"
        digits = _digits_apart(self.rule, self.true)
        autodiff = "" if self.auto is None else f"autodiff {self.auto:.{digits}g}, "
        return f"rule {self.rule:.{digits}g}, {autodiff}truth {self.true:.{digits}g}"


def _digits_apart(a: float, b: float) -> int:
    """As few as tell the two apart."""
    apart = (digits for digits in (3, 5, 8) if f"{a:.{digits}g}" != f"{b:.{digits}g}")
    return next(apart, 17)


@dataclass(frozen=True)
class Power:
    """What this check would have noticed in a leaf that it passed.

    scale: the smallest relative error of the whole leaf.
    share: of the elements, how many could not have been lost (returned as 0) unnoticed.
    measured_on: elements at which finite differences were taken to know it.
    """

    scale: float
    share: float
    measured_on: int


@dataclass(frozen=True)
class Cost:
    """Of one backward pass: what is kept for it, and the work of it with its forward.

    residual_bytes: rule, autodiff, checkpoint -> bytes kept, arguments included.
    flops: rule, autodiff, checkpoint -> FLOPs.
    """

    residual_bytes: dict[str, int]
    flops: dict[str, float]


class Never(NamedTuple):
    """A side of a branch in the user's files that no examined point entered.

    side: "condition true", say.
    line: as it stands in the file, "" where it cannot be read.
    place: file:line.
    """

    side: str
    line: str
    place: str

    def __str__(self) -> str:
        return f"{self.side} in " + (f"`{self.line}` ({self.place})" if self.line else self.place)


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
        ok; not asked: precision float32 and 7 more
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
