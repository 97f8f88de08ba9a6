"""The door of `prove`: arguments in, a Proof out."""

import enum
import inspect
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from jaxnet.proving.evaluation import (
    SMALL_CHANCE,
    Comparison,
    Evaluation,
    Problem,
    evaluate,
    leaves_of,
    points_needed,
    problem_of,
)
from jaxnet.proving.interpreter import Unprovable


class Verdict(enum.StrEnum):
    """The worst first."""

    REFUTED = "refuted"
    NOT_PROVED = "not proved"
    PROVED = "proved"


def _worst(verdicts: Sequence[Verdict]) -> Verdict:
    order = list(Verdict)
    return min(verdicts, key=order.index, default=Verdict.NOT_PROVED)


@dataclass(frozen=True)
class LeafProof:
    """What is said of one output, or of the cotangent of one argument.

    name: "output", or the path of the argument's leaf.
    verdict: "proved", "refuted" or "not proved".
    chance: that a leaf which differs is called proved.
    index: the element that differs most.
    rule, ref: the two values there, in float64.
    note: why it is not proved.

    >>> proof = jaxnet.prove(jaxnet.relu, jnp.array([-1.0, 2.0]))
    >>> [(leaf.name, str(leaf.verdict)) for leaf in proof.leaves]
    [('output', 'proved'), ('x', 'proved')]
    """

    name: str
    verdict: Verdict
    chance: float = 1.0
    index: tuple[int, ...] = ()
    rule: float = math.nan
    ref: float = math.nan
    note: str = ""

    def __str__(self) -> str:
        line = f"{self.name}: {self.verdict}"
        if self.verdict is Verdict.REFUTED:
            at = f"[{', '.join(map(str, self.index))}]" if self.index else ""
            line += f": at {self.name}{at} the rule has {self.rule:.10g}, not {self.ref:.10g}"
        return f"{line} ({self.note})" if self.note else line


@dataclass(frozen=True)
class Proof:
    """What `prove` found: a verdict, for every leaf too, and what it stands on.

    verdict: "proved", "refuted" or "not proved": the worst of the leaves'.
    leaves: a LeafProof for each output and each floating leaf of the arguments.
    note: why nothing was compared, or beside which point.
    visited, unvisited: sides of branches that points were taken on, and those that none entered.
    assumed: what else the proof stands on.

    >>> print(jaxnet.prove(jaxnet.relu, jnp.array([-1.0, 2.0])).verdict)
    proved
    """

    verdict: Verdict
    leaves: tuple[LeafProof, ...] = ()
    note: str = ""
    visited: tuple[str, ...] = ()
    unvisited: tuple[str, ...] = ()
    assumed: tuple[str, ...] = field(default=())

    @property
    def chance(self) -> float:
        """That one that differs is called proved, at most.

        >>> jaxnet.prove(jaxnet.relu, jnp.array([-1.0, 2.0])).chance < 1e-15
        True
        """
        return max((leaf.chance for leaf in self.leaves), default=1.0)

    def require(self) -> "Proof":
        """Raise unless it is proved.

        Returns the proof.
        Raises AssertionError with the whole text where it is not proved.

        >>> jaxnet.prove(jaxnet.relu, jnp.array([-1.0, 2.0])).require().verdict
        <Verdict.PROVED: 'proved'>
        """
        if self.verdict is not Verdict.PROVED:
            raise AssertionError(str(self))
        return self

    def __str__(self) -> str:
        lines = [f"{self.verdict}: {_MEANING[self.verdict]}"]
        if self.verdict is Verdict.PROVED:
            lines[0] += f"; chance of a miss below {_power_of_ten(self.chance)}"
        lines += [f"  {self.note}"] if self.note else []
        lines += [f"  {leaf}" for leaf in self.leaves]
        lines += [f"  not entered: {side}" for side in self.unvisited]
        lines += [f"  assumed: {what}" for what in self.assumed]
        return "\n".join(lines)


_MEANING = {
    Verdict.PROVED: "equal as algebra at these shapes, on the sides of branches that were entered",
    Verdict.REFUTED: "they differ",
    Verdict.NOT_PROVED: "this says neither that they are equal nor that they differ",
}


def _power_of_ten(chance: float) -> str:
    return f"1e{math.ceil(math.log10(chance))}" if chance > 1e-300 else "1e-300"


def prove(f: Callable[..., Any], *args: Any, ref: Callable[..., Any] | None = None) -> Proof:
    """Is the gradient by hand equal to autodiff's, as algebra? No tolerance is involved.

    The values and pullbacks of both are evaluated at the same random points in finite fields, where
    nothing rounds, and compared for equality. Different rational functions of degree d agree at a
    random point modulo a prime p with a chance of at most d/p (Schwartz and Zippel); coefficients
    that the prime divides are counted too, and points are added until the chance of a miss is below
    1e-15. Degrees are counted along the graphs. Exponentials count as variables of their own: that
    they behave so is assumed, and said.

    f: a function with custom rules in its graph.
    args: its arguments. They say shapes, and at which sides of branches to begin.
    ref: what to compare with; None for jaxnet.auto(f).
    Returns a Proof.
    Raises TypeError where f or ref is no function.

    >>> logits, labels = jnp.array([[1.0, 2.0, 0.5]]), jnp.array([1])
    >>> print(jaxnet.prove(jaxnet.softmax_cross_entropy, logits, labels).verdict)
    proved
    >>> almost = jaxnet.rules.tanh.but(backward=lambda x, dy: ((1.000001 - jnp.tanh(x)**2) * dy,))
    >>> print(jaxnet.prove(almost, jnp.array(0.5)).verdict)  # off by 1e-6
    refuted
    """
    for name, given in (("f", f), ("ref", ref)):
        is_left_out = name == "ref" and given is None
        if not callable(given) and not is_left_out:
            raise TypeError(
                f"prove: {name} must be a function, got {type(given).__name__}; "
                f"call prove(f, *args)"
            )
    try:
        problem = _problem(f, ref, args)
        if not any(x.size for x in problem.leaves.values()):
            raise Unprovable("no floating argument has an element: nothing was compared")
        return _Prover(problem).proof()
    except Unprovable as stopped:
        return Proof(Verdict.NOT_PROVED, note=str(stopped))


def _problem(f: Callable[..., Any], ref: Any, args: Sequence[Any]) -> Problem:
    """In float64 if it can be traced so, with numbers of Python's as leaves if it can."""
    names = _names_of(f, len(args))
    has_numbers = any(isinstance(x, float) for x in args)
    tries = [(wide, numbers) for numbers in {has_numbers, False} for wide in (True, False)]
    reason: Exception | None = None
    for is_wide, are_numbers_leaves in sorted(tries, reverse=True):
        leaves = leaves_of(names, args, are_numbers_leaves)
        try:
            return problem_of(f, ref, leaves, is_wide)
        except Unprovable:
            raise
        except Exception as error:
            reason = reason or error
    text = str(reason).partition("\n")[0]
    raise Unprovable(f"it cannot be traced: {type(reason).__name__}: {text}")


def _names_of(f: Callable[..., Any], count: int) -> list[str]:
    try:
        parameters = list(inspect.signature(f).parameters.values())[:count]
    except (TypeError, ValueError):
        parameters = []
    named = [p.name for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    return named + [f"args[{i}]" for i in range(len(named), count)]


FEW_POINTS = 6
# Other points, for other sides of branches: factors and shifts of the leaves, and of cotangents.
MOVES = (
    (-1, 0, 1),
    (8, 0, 1),
    (-8, 0, 1),
    (1 / 8, 0, 1),
    (1, 0, 1e3),
    (1, 0, 1e-3),
    (64, 0, 1),
    (-64, 0, 1),
    (1, 3, 1),
    (1, -3, 1),
    (1e4, 0, 1e6),
)


class _Prover:
    def __init__(self, problem: Problem) -> None:
        self.problem = problem
        rng = np.random.default_rng(0)
        self.values = [np.asarray(x, np.float64) for x in problem.leaves.values()]
        self.cotangents = [np.asarray(rng.normal(size=y.shape)) for y in problem.rule.outputs]
        self.rng = rng
        # At other points a difference that is rounding here is none: in a tail, say.
        self.scales: Sequence[float] = ()

    def proof(self) -> Proof:
        first = self.evaluated(self.values, self.cotangents)
        self.scales = [leaf.scale() for leaf in first.leaves]
        edges = ", ".join(first.walk.edges)
        if edges:
            self.values = [self.beside(x) for x in self.values]
            first = self.evaluated(self.values, self.cotangents)
        if first.walk.edges:
            raise Unprovable(f"on the edge of a branch: {', '.join(first.walk.edges)}")
        leaves = self.judged(first)
        sides = first.walk.sides
        if _worst([leaf.verdict for leaf in leaves]) is Verdict.PROVED:
            leaves, sides = self.elsewhere(leaves, sides)
        if edges:
            leaves = [_of_nearby(leaf, edges) for leaf in leaves]
        return Proof(
            verdict=_worst([leaf.verdict for leaf in leaves]),
            leaves=tuple(leaves),
            note=f"judged beside the arguments: they lie on the edge of {edges}" if edges else "",
            visited=tuple(_sides(sides, True)),
            unvisited=tuple(_sides(sides, False)),
            assumed=_assumed(first),
        )

    def beside(self, x: Any) -> Any:
        """A point nearby, of which nothing is special."""
        finite = np.isfinite(x)
        typical = np.sqrt(np.mean(np.where(finite, x, 0) ** 2)) if x.size else 0.0
        noise = self.rng.uniform(-1, 1, x.shape) * (np.abs(x) + (typical or 1.0))
        return np.where(finite, x + 1e-3 * np.where(finite, noise, 0), x)

    def evaluated(self, values: Any, cotangents: Any) -> Evaluation:
        """At as many points as the chance of a miss needs."""
        few = evaluate(self.problem, values, cotangents, FEW_POINTS, seed=0)
        if any(leaf.different.any() for leaf in few.leaves):
            return few
        needed = points_needed(few, FEW_POINTS)
        if needed <= FEW_POINTS:
            return few
        return evaluate(self.problem, values, cotangents, needed, seed=1)

    def judged(self, evaluation: Evaluation) -> list[LeafProof]:
        met = [*evaluation.walk.unknown, *evaluation.walk.points.atoms]
        pairs = zip(self.problem.names, evaluation.leaves, self.scales, strict=True)
        return [
            _judged(name, leaf, leaf.visible(evaluation.bits, scale), met)
            for name, leaf, scale in pairs
        ]

    def elsewhere(self, leaves: list[LeafProof], sides: Any) -> tuple[list[LeafProof], Any]:
        """The other sides of branches, as far as points on them are found."""
        sides = {branch: dict(met) for branch, met in sides.items()}
        for move in MOVES:
            if not any(_sides(sides, False)):
                break
            there = self.at(move)
            if there is None or not _enters_new(sides, there.walk.sides):
                continue
            now = self.judged(there)
            verdict = _worst([leaf.verdict for leaf in now])
            if verdict is Verdict.REFUTED:
                return now, sides
            if verdict is Verdict.PROVED:
                _merge(sides, there.walk.sides)
                leaves = list(map(_larger_chance, leaves, now))
        return leaves, sides

    def at(self, move: tuple[float, float, float]) -> Evaluation | None:
        """None where it cannot be judged."""
        factor, shift, of_cotangent = move
        values = [x * factor + shift * np.isfinite(x) for x in self.values]
        try:
            there = self.evaluated(values, [c * of_cotangent for c in self.cotangents])
        except Unprovable:
            return None
        return None if there.walk.edges else there


def _of_nearby(leaf: LeafProof, edges: str) -> LeafProof:
    """A proof beside the arguments says nothing of the arguments, where each side has its slope."""
    if leaf.verdict is not Verdict.PROVED:
        return leaf
    return replace(leaf, verdict=Verdict.NOT_PROVED, note=f"equal beside the edge of {edges}")


def _judged(name: str, leaf: Comparison, visible: Any, met: Sequence[str]) -> LeafProof:
    if not leaf.different.any():
        return _not_different(name, leaf)
    visible = visible & leaf.different
    if not visible.any():
        unknown = f"; not all is known of {', '.join(met)}" if met else ""
        note = f"not equal as algebra, yet no float shows it{unknown}"
        return LeafProof(name, Verdict.NOT_PROVED, note=note)
    distance = np.where(visible, np.abs(leaf.rule.f - leaf.ref.f), -1)
    index = np.unravel_index(int(np.argmax(distance)), distance.shape)
    return LeafProof(
        name,
        Verdict.REFUTED,
        index=tuple(int(i) for i in index),
        rule=float(leaf.rule.f[index]),
        ref=float(leaf.ref.f[index]),
    )


def _not_different(name: str, leaf: Comparison) -> LeafProof:
    if leaf.undefined().any():
        note = "no number there: NaN, infinity or a division by 0"
        return LeafProof(name, Verdict.NOT_PROVED, note=note)
    # A field has roots and logarithms of negative numbers; real arithmetic has none.
    if leaf.is_finite_in_one().any():
        return LeafProof(name, Verdict.NOT_PROVED, note=_NO_NUMBER)
    if leaf.chance > SMALL_CHANCE:
        return LeafProof(name, Verdict.NOT_PROVED, leaf.chance, note=_NO_BOUND)
    return LeafProof(name, Verdict.PROVED, leaf.chance)


_NO_NUMBER = "equal as algebra, yet one of the floats is NaN or infinite"
_NO_BOUND = "it looks equal, but its degree is too large for a bound"


def _assumed(evaluation: Evaluation) -> tuple[str, ...]:
    points, unknown = evaluation.walk.points, evaluation.walk.unknown
    assumed = []
    if points.exponents.degree or points.exponents.bits:
        assumed.append("exponentials behave as variables of their own")
    if unknown:
        assumed.append(f"equal inputs give equal outputs in {', '.join(unknown)}")
    return tuple(assumed)


def _sides(sides: Any, was_met: bool) -> Iterator[str]:
    for branch, words in sides.items():
        yield from (f"{branch}: {word}" for word, met in words.items() if met == was_met)


def _enters_new(sides: Any, there: Any) -> bool:
    return bool(set(_sides(there, True)) - set(_sides(sides, True)))


def _merge(sides: Any, there: Any) -> None:
    for branch, words in there.items():
        known = sides.setdefault(branch, dict(words))
        known.update((word, True) for word, met in words.items() if met)


def _larger_chance(a: LeafProof, b: LeafProof) -> LeafProof:
    return a if a.chance >= b.chance else b
