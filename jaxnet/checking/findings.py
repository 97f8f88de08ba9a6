"""What a check finds, one thing at a time: of which leaf, which verdict, which numbers."""

import enum
import math
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

NOT_GIVEN = "only at points that you did not give"
WAY_OUT = " (domain= of check says where numbers may lie)"
ONE_ROW = "the first row alone"  # of which a domain says nothing


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
    _others: Any = field(default=None, repr=False, compare=False)  # and the other arrays, if others

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

        >>> x, ref = jnp.array([0.0, 2.0]), lambda x: jnp.maximum(x, 0)
        >>> jaxnet.check(jaxnet.relu, x, ref=ref, budget=0).findings[1].where()
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


def made(finding: Finding, how: str) -> Finding:
    """The finding, which says how its point was made, and how to have others made."""
    made = f"{NOT_GIVEN}, with {how}{'' if how == ONE_ROW else WAY_OUT}"
    return replace(finding, note="; ".join(filter(None, [made, finding.note])))
