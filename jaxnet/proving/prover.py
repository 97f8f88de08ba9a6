"""Both functions at one point, then on other sides of their branches, then their derivatives."""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from jaxnet.proving.derivatives import Functions, Problem, first_line
from jaxnet.proving.evaluation import (
    SMALL_CHANCE,
    At,
    Comparison,
    Evaluation,
    evaluate,
    points_needed,
)
from jaxnet.proving.interpreter import Meter, Unprovable
from jaxnet.proving.proof import LeafProof, Proof, Verdict, worst

FEW_POINTS = 6
# At points that were made, rules and bodies may be series that are cut off on purpose: to refute
# there the floats must differ by so much more.
FAR = 1000.0
SAMPLES, NOISES = 3, 8  # of noise; a difference is that much larger, or it is rounding
STEP, AGREEING = 1e-6, 1e-4  # of differences: their step, and what rounding may do to them
# Other points, for other sides of branches: a factor and a shift of the leaves, and a factor of
# cotangents and tangents.
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


class Prover:
    """At points that begin with the arguments."""

    def __init__(self, functions: Functions, problem: Problem, most: float) -> None:
        self.functions, self.problem = functions, problem
        self.meter = Meter(most)
        # A seed that nobody draws arguments with: cotangents must not be equal to them.
        self.rng = np.random.default_rng(89_107_223)
        self.leaves = [np.asarray(x, np.float64) for x in problem.leaves.values()]
        self.cotangents = [self.random(y.shape) for y in problem.outputs]
        self.tangents = [self.random(x.shape) for x in self.leaves]
        # At other points a difference that is rounding here is none: in a tail, say.
        self.scales: Sequence[float] = [0.0] * len(problem.names)

    def random(self, shape: Sequence[int]) -> Any:
        return np.asarray(self.rng.normal(size=shape))

    def proof(self, is_first_order: bool = False) -> Proof:
        first, edges = self.begin()
        leaves = self.judged(self.problem, first)
        self.scales = [leaf.scale() for leaf in first.leaves]
        sides = first.walk.sides
        further: dict[str, tuple[LeafProof, ...]] = {}
        not_asked: list[str] = []
        if _is_proved(leaves):
            leaves, sides = self.elsewhere(leaves, sides)
            further, not_asked = ({}, []) if is_first_order else self.further()
        if edges:
            leaves = [_of_nearby(leaf, edges) for leaf in leaves]
        return Proof(
            verdict=_of_all(leaves, further),
            leaves=tuple(leaves),
            further=further,
            note=f"judged beside the arguments: they lie on the edge of {edges}" if edges else "",
            visited=tuple(_sides(sides, True)),
            unvisited=tuple(_sides(sides, False)),
            assumed=_assumed(first),
            not_asked=tuple(not_asked),
        )

    def begin(self) -> tuple[Evaluation, str]:
        """At the arguments, or beside them where they lie on the edge of a branch: of which."""
        first = self.evaluated(self.problem)
        edges = ", ".join(first.walk.edges)
        if edges:
            self.leaves = [self.beside(x) for x in self.leaves]
            first = self.evaluated(self.problem)
        _require_no_edge(first)
        self.require_derivative_of_value(first)
        return first, edges

    def require_derivative_of_value(self, first: Evaluation) -> None:
        """Of a function of which nothing is known, autodiff may have a wrong slope.

        〈Jᵀ c, t〉 of the reference must be, in floats, what differences of its value say.
        """
        gradients = [first.floats(name) for name in self.problem.leaves.names]
        are_gradients = all(map(_have_one_shape, gradients, self.leaves))
        # Too few digits; pairings, or forward mode alone.
        if not first.walk.unknown or first.bits < 64 or not are_gradients:
            return
        terms = [x * t for x, t in zip(gradients, self.tangents, strict=True)]
        slope, size = _total(terms), _total(np.abs(x) for x in terms)
        difference = self.difference()
        if abs(slope - difference) > AGREEING * (size + abs(difference)):
            raise Unprovable("autodiff is not the derivative of the value here")

    def difference(self) -> float:
        """Of the reference's value, along the tangents."""
        step = STEP * max(_largest(x) for x in self.leaves)
        above, below = (self.value_beside(sign * step) for sign in (1, -1))
        return (above - below) / (2 * step) if step else math.nan

    def value_beside(self, step: float) -> float:
        """〈c, f〉 of the reference at the arguments and so much of the tangents."""
        leaves = [x + step * t for x, t in zip(self.leaves, self.tangents, strict=True)]
        at = At(leaves, self.cotangents, self.tangents)
        there = _evaluate(self.problem, at, 1, 0, self.meter)
        values = [leaf.ref.f for leaf in there.leaves[: len(self.cotangents)]]
        return _total(c * y for c, y in zip(self.cotangents, values, strict=True))

    def further(self) -> tuple[dict[str, tuple[LeafProof, ...]], list[str]]:
        """What else is compared, and what could not be."""
        found, not_asked = {}, []
        for what, problem, why_not in self.functions.further():
            try:
                if problem is None:
                    raise Unprovable(why_not)
                evaluation = self.evaluated(problem)
                _require_no_edge(evaluation)
                found[what] = tuple(self.judged(problem, evaluation))
            except Unprovable as stopped:
                not_asked.append(f"{what} ({stopped})")
        return found, not_asked

    def beside(self, x: Any) -> Any:
        """A point nearby, of which nothing is special."""
        finite = np.isfinite(x)
        typical = np.sqrt(np.mean(np.where(finite, x, 0) ** 2)) if x.size else 0.0
        noise = self.rng.uniform(-1, 1, x.shape) * (np.abs(x) + (typical or 1.0))
        return np.where(finite, x + 1e-3 * np.where(finite, noise, 0), x)

    def here(self) -> At:
        return At(self.leaves, self.cotangents, self.tangents)

    def evaluated(self, problem: Problem, at: At | None = None) -> Evaluation:
        """At as many points as the chance of a miss needs."""
        at = at or self.here()
        few = _evaluate(problem, at, FEW_POINTS, 0, self.meter)
        if any(leaf.different.any() for leaf in few.leaves):
            return few
        needed = points_needed(few, FEW_POINTS)
        if needed <= FEW_POINTS:
            return few
        return _evaluate(problem, at, needed, 1, self.meter)

    def judged(
        self, problem: Problem, evaluation: Evaluation, at: At | None = None
    ) -> list[LeafProof]:
        """at: None for the arguments."""
        met = [*evaluation.walk.unknown, *evaluation.walk.points.atoms]
        leaves, tolerated = evaluation.leaves, 1.0 if at is None else FAR
        scales = self.scales_at(at) if problem is self.problem else [0.0] * len(leaves)
        visible = [
            leaf.visible(evaluation.bits, scale, tolerated) & leaf.different
            for leaf, scale in zip(leaves, scales, strict=True)
        ]
        if any(v.any() for v in visible):
            noise = self.noise(problem, evaluation, at or self.here())
            visible = [
                v & (np.abs(leaf.difference()) > NOISES * n)
                for v, leaf, n in zip(visible, leaves, noise, strict=True)
            ]
        return list(map(_judged, problem.names, leaves, visible, [met] * len(leaves)))

    def scales_at(self, at: At | None) -> Sequence[float]:
        """How large the leaves are: derivatives grow with the cotangents."""
        if at is None:
            return self.scales
        count = len(at.cotangents)
        here = max(map(_largest, self.cotangents), default=0.0) or 1.0
        larger = max(map(_largest, at.cotangents), default=0.0) / here
        return [*self.scales[:count], *(max(larger, 1.0) * scale for scale in self.scales[count:])]

    def noise(self, problem: Problem, evaluation: Evaluation, at: At) -> list[Any]:
        """How far the differences move where every number on the way is rounded at random."""
        most = [np.zeros(leaf.rule.shape) for leaf in evaluation.leaves]
        for seed in range(SAMPLES):
            rng, meter = np.random.default_rng(seed), Meter(math.inf)
            noisy = _evaluate(problem, at, 1, 0, meter, rng)
            for i, leaf in enumerate(noisy.leaves):
                with np.errstate(invalid="ignore"):
                    moved = np.abs(leaf.difference() - evaluation.leaves[i].difference())
                most[i] = np.maximum(most[i], moved)
        return most

    def elsewhere(self, leaves: list[LeafProof], sides: Any) -> tuple[list[LeafProof], Any]:
        """The other sides of branches, as far as points on them are found."""
        sides = {branch: dict(met) for branch, met in sides.items()}
        for move in MOVES:
            if all(map(_is_equality, _sides(sides, False))):
                break
            at = self.moved(move)
            there = self.at(at, sides)
            if there is None:
                continue
            now = self.judged(self.problem, there, at)
            verdict = worst(leaf.verdict for leaf in now)
            if verdict is Verdict.REFUTED:
                return now, sides
            if verdict is Verdict.PROVED:
                _merge(sides, there.walk.sides)
                leaves = list(map(_larger_chance, leaves, now))
        return leaves, sides

    def moved(self, move: tuple[float, float, float]) -> At:
        factor, shift, of_linear = move
        leaves = [x * factor + shift * np.isfinite(x) for x in self.leaves]
        return At(leaves, *([x * of_linear for x in arrays] for arrays in self.here()[1:]))

    def at(self, at: At, sides: Any) -> Evaluation | None:
        """None where it enters no other side, or cannot be judged."""
        try:
            # One point tells which sides: it costs little.
            walk = _evaluate(self.problem, at, 1, 0, self.meter).walk
            if not _enters_new(sides, walk.sides):
                return None
            there = self.evaluated(self.problem, at)
        except Unprovable:
            return None
        return None if there.walk.edges else there


def _evaluate(
    problem: Problem, at: At, count: int, seed: int, meter: Meter, noise: Any = None
) -> Evaluation:
    try:
        return evaluate(problem, at, count, seed, meter, noise)
    except Unprovable:
        raise
    except Exception as error:  # of a callback to the host, say
        raise Unprovable(f"it raises at the arguments: {first_line(error)}") from error


def _total(arrays: Iterable[Any]) -> float:
    return float(sum(x.sum() for x in arrays))


def _largest(x: Any) -> float:
    return float(np.abs(x).max(initial=0.0))


def _have_one_shape(a: Any, b: Any) -> bool:
    return bool(np.shape(a) == np.shape(b))


def _require_no_edge(evaluation: Evaluation) -> None:
    if evaluation.walk.edges:
        raise Unprovable(f"on the edge of a branch: {', '.join(evaluation.walk.edges)}")


def _is_proved(leaves: Sequence[LeafProof]) -> bool:
    return worst(leaf.verdict for leaf in leaves) is Verdict.PROVED


def _of_all(leaves: Sequence[LeafProof], further: Mapping[str, Sequence[LeafProof]]) -> Verdict:
    """Where second order is not known, the gradient may be proved all the same."""
    every = [leaf for more in further.values() for leaf in more]
    refuted = [leaf.verdict for leaf in every if leaf.verdict is Verdict.REFUTED]
    return worst([*(leaf.verdict for leaf in leaves), *refuted])


def _of_nearby(leaf: LeafProof, edges: str) -> LeafProof:
    """A proof beside the arguments says nothing of the arguments, where each side has its slope."""
    if leaf.verdict is not Verdict.PROVED:
        return leaf
    return replace(leaf, verdict=Verdict.NOT_PROVED, note=f"equal beside the edge of {edges}")


def _judged(name: str, leaf: Comparison, visible: Any, met: Sequence[str]) -> LeafProof:
    """visible: at which of the different elements floats show it."""
    if not leaf.different.any():
        return _not_different(name, leaf)
    if not visible.any():
        unknown = f"; not all is known of {', '.join(met)}" if met else ""
        note = f"not equal as algebra, yet no float shows it{unknown}"
        return LeafProof(name, Verdict.NOT_PROVED, note=note)
    distance = np.where(visible, np.abs(leaf.difference()), -1)
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


def _is_equality(side: str) -> bool:
    """Numbers that are equal there are on an edge: no move enters it."""
    return side.startswith(("eq:", "eq at ", "ne:", "ne at "))


def _enters_new(sides: Any, there: Any) -> bool:
    return bool(set(_sides(there, True)) - set(_sides(sides, True)))


def _merge(sides: Any, there: Any) -> None:
    for branch, words in there.items():
        known = sides.setdefault(branch, dict(words))
        known.update((word, True) for word, met in words.items() if met)


def _larger_chance(a: LeafProof, b: LeafProof) -> LeafProof:
    return a if a.chance >= b.chance else b
