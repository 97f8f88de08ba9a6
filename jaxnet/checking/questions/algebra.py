"""Is each cotangent the derivative?

r is the rule's cotangent, t the reference's in the same wide dtype, and the noise is how far t
moves when its inputs move by one eps. An element passes where

    |r - t| <= max(sqrt(eps) |t|, 64 noise, 4096 eps max |t|)        (arrays.tolerance)

The noise counts only where it is itself at most the other two, or at most 64 eps of the natural
size of a slope (where terms cancel to 0, t is noise): at a tie t jumps, and anything would pass.
Every other element is a suspect and goes to the arbiter (arbiter.py): wrong where the differences
exclude r; disputed where they exclude t, for automatic differentiation may be the wrong one; kink
where the one-sided derivatives differ and r lies between them; ok where they cannot tell, but in 16
bits, where they hardly ever can: there t is believed.
"""

import enum
import functools
import math
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from jaxnet.checking import nearby
from jaxnet.checking.approximation import is_near, off, said
from jaxnet.checking.arbiter import UNTAKEN, Arbiter, Slopes
from jaxnet.checking.arrays import FEW_DIGITS, Array, index_of, on_host, same, tolerance, unit_of
from jaxnet.checking.bench import Bench, Look
from jaxnet.checking.cells import Cell
from jaxnet.checking.conventions import convention_of
from jaxnet.checking.domains import domain_of
from jaxnet.checking.findings import Finding, Question, Verdict
from jaxnet.checking.hints import hint_of

# Of one leaf the arbiter looks at so many suspects: a leaf that is wrong is found out at the first,
# and what is left over is counted in the note.
ARBITRATED = 256
ALONG_ROWS = "right along rows that sum to one, and not judged beside them"
NO_ELEMENTS = "no elements: nothing to judge"


@dataclass(frozen=True)
class Algebra:
    """By leaf: what was found, where the reference is not taken for the truth, and the kinks.

    not_examined: in words.
    """

    findings: list[Finding]
    distrusted: list[Array]
    kinks: list[list[int]]
    not_examined: tuple[str, ...]


def ask(bench: Bench, look: Look) -> Algebra:
    """Of each leaf of the function as it is."""
    judged = judge_cell(bench, bench.plain, look)
    findings = [with_hint(bench, look, k, j.finding, is_given=True) for k, j in enumerate(judged)]
    not_examined = tuple(
        f"{j.left:,} of the numbers that differ in {j.finding.leaf}" for j in judged if j.left
    )
    return Algebra(
        findings, [j.distrusted for j in judged], [j.kinks for j in judged], not_examined
    )


def with_hint(
    bench: Bench, look: Look, k: int, finding: Finding, is_given: bool = False
) -> Finding:
    """is_given: the point; what is meant to be another gradient is so there, and not beside it."""
    if finding.verdict is not Verdict.WRONG:
        return finding
    if finding.auto_error > 0.1 * finding.error:
        return finding  # a hint compares with autodiff, which is not the truth here
    hint = hint_of(bench, look, k, finding)
    convention = convention_of(bench, look, k) if is_given else ""
    note = "; ".join(filter(None, [finding.note, hint, convention]))
    return replace(finding, note=note)


# -- a cell


class Leaf(NamedTuple):
    """What is compared in one leaf. r, t: [cotangents, ...]; noise, x (the leaf itself): [...]."""

    name: str
    r: Array
    t: Array
    noise: Array
    x: Array
    is_whole: bool = False  # each number stands for many elements (Problem.wholes)
    most: int = ARBITRATED  # that the arbiter looks at


class Standard(NamedTuple):
    """What it is held to."""

    eps: float
    value_is_finite: bool
    only_wrong: bool  # at a made point: where t is not finite, the point is at fault
    # Where the reference stops gradients and r is farther than this from t, r is wrong, though it
    # be the slope: inf for other references.
    by_design: float
    # Noise up to this is rounding, though t be smaller: where terms cancel to 0, it is.
    floor: float = 0.0
    rtol: float = 0.0  # that it may be off as an approximation (approximation.py)
    # The reference's slopes of an element (row, number) very near the point.
    beside: Callable[[int, int], Array] = lambda row, i: np.empty(0)
    # And at it, where it stops gradients, with every tie settled to one side and to the other.
    settled: Callable[[int, int], Array] = lambda row, i: np.empty(0)
    value_eps: float = 0.0  # of the dtype of the value, where that has fewer digits

    @property
    def differences_can_tell(self) -> bool:
        """Those of 16 bits hold almost anything: there the reference is the only truth."""
        return max(self.eps, self.value_eps) < FEW_DIGITS


class Judged(NamedTuple):
    finding: Finding
    distrusted: Array  # where the reference is not taken for the truth
    kinks: list[int]  # numbers of elements
    left: int = 0  # suspects that nobody looked at


def judge_cell(
    bench: Bench,
    cell: Cell,
    look: Look,
    only_wrong: bool = False,
    left_out: Collection[str] = (),
) -> list[Judged]:
    """Every leaf of a cell, but for those left out by name: a known fault costs nothing more."""
    point = bench.point(cell, look, 0)
    x = [on_host(a) for a in point.leaves]
    judged = []
    for k, name in enumerate(cell.names):
        if name in left_out:
            continue
        r, t, noise = look.rule(cell, k), look.ref(cell, k), look.noise(cell, k)
        leaf = Leaf(name, r, t, noise, x[k], name in bench.problem.wholes, most_of(bench))
        by_design = bench.by_design(look, k) if cell is bench.plain else np.inf
        floor = 64 * bench.eps * bench.natural(look, k, point)
        rtol = bench.rtol(look)
        sides = _beside(bench, cell, look, k), _settled(bench, cell, look, k)
        standard = Standard(
            bench.eps,
            look.is_finite(),
            only_wrong,
            by_design,
            floor,
            rtol,
            *sides,
            value_eps=bench.value_eps,
        )
        is_along = cell.is_second_order and is_along_rows(bench, k, leaf, standard)
        leaf = leaf._replace(r=t) if is_along else leaf
        one = judge(leaf, bench.arbiter(cell, look, k), standard)
        named = replace(one.finding, question=cell.question, detail=cell.detail, _x=look.x)
        if not bench.programs.has_autodiff(cell):
            named = replace(named, auto=None, auto_error=math.nan)
        named = replace(named, note=ALONG_ROWS) if is_along else named
        judged.append(one._replace(finding=named))
    return judged


def is_along_rows(bench: Bench, k: int, leaf: Leaf, standard: Standard) -> bool:
    """Whether r and t differ, and not along the rows of a leaf whose rows sum to one.

    What a gradient becomes beside such rows is not asked of a rule: p - y is the gradient of a
    cross-entropy for labels y that sum to one.
    """
    is_of_problem = (
        k < len(bench.problem.names) and leaf.t.shape[1:] == bench.problem.leaves[k].shape
    )
    if not is_of_problem or not domain_of(bench.problem, k).sums_to_one:
        return False
    with np.errstate(all="ignore"):
        off = np.mean(leaf.r - leaf.t, axis=-1, keepdims=True)
    beside = suspects(leaf, standard).any()
    return bool(beside and not suspects(leaf._replace(r=leaf.r - off), standard).any())


def _beside(bench: Bench, cell: Cell, look: Look, k: int) -> Callable[[int, int], Array]:
    """Runs only where an element is the equal of another: alone it may move nothing."""

    @functools.cache
    def gradients(row: int) -> list[Array]:
        beside = nearby.Beside(bench, cell, look, row)
        return [g[k] for g in beside.gradients(beside.random_ways())]

    def slopes(row: int, i: int) -> Array:
        x = on_host(bench.point(cell, look, row).leaves[k]).flat[i]
        if cell.is_second_order or not nearby.is_tied(x, look.x):
            return np.empty(0)
        every = np.array([g.flat[i] for g in gradients(row)])
        return every[np.isfinite(every)]

    return slopes


def _settled(bench: Bench, cell: Cell, look: Look, k: int) -> Callable[[int, int], Array]:
    """Of max, min and clamp autodiff takes a half at a tie: a reference may mean either side."""

    @functools.cache
    def gradients(row: int) -> list[Array]:
        return [on_host(g[k]) for g in bench.programs.settled(cell, bench.point(cell, look, row))]

    def slopes(row: int, i: int) -> Array:
        if cell.is_second_order or not bench.programs.can_be_settled:
            return np.empty(0)
        every = np.array([look.ref(cell, k)[row].flat[i], *(g.flat[i] for g in gradients(row))])
        return every[np.isfinite(every)]

    return slopes


def most_of(bench: Bench) -> int:
    """How many suspects of a leaf the arbiter looks at: where arrays are large, each takes long."""
    if bench.problem.is_long:
        return ARBITRATED // 64
    return ARBITRATED // 8 if bench.problem.wholes else ARBITRATED


# -- a leaf


def judge(leaf: Leaf, arbiter: Arbiter, standard: Standard) -> Judged:
    if leaf.t.size == 0:
        no_elements = Finding(Question.ALGEBRA, leaf.name, Verdict.UNSUPPORTED, note=NO_ELEMENTS)
        return Judged(no_elements, np.zeros(leaf.t.shape[1:], bool), [])
    suspect = suspects(leaf, standard)
    arbitrated = arbitrate(leaf, suspect, arbiter, standard)
    finding = finding_of(leaf, suspect, arbitrated, standard)
    kinks = dict.fromkeys(i for _, i, _ in arbitrated.elements.get(Element.KINK, []))
    return Judged(finding, arbitrated.distrusted, list(kinks), arbitrated.left)


def suspects(leaf: Leaf, standard: Standard) -> Array:
    """Where r may be wrong, as t has it."""
    r, t = leaf.r, leaf.t
    with np.errstate(all="ignore"):
        strict = np.stack([tolerance(row, 0.0, standard.eps) for row in t])
        is_rounding = leaf.noise <= np.fmax(strict, standard.floor)
        lenient = np.stack([tolerance(row, leaf.noise, standard.eps) for row in t])
        allowed = np.where(is_rounding, lenient, strict)
        suspect: Array = ~((np.abs(r - t) <= allowed) | same(r, t))
    # Both are NaN: is there a slope all the same?
    suspect |= ~np.isfinite(r) & np.isfinite(leaf.x) & standard.value_is_finite
    if standard.only_wrong:
        suspect &= np.isfinite(t)
    return suspect


class Element(enum.Enum):
    """What the arbiter says of one element; its note, where it is not wrong."""

    WRONG = ""
    APPROXIMATE = "off by little"
    KINK = "at a kink, the rule between the one-sided slopes"
    DISPUTED = "where finite differences side with the rule"
    UNRESOLVED = "where finite differences cannot tell"


# Of a leaf, the first of these that any of its elements is.
VERDICTS = {
    Element.WRONG: Verdict.WRONG,
    Element.APPROXIMATE: Verdict.APPROXIMATE,
    Element.KINK: Verdict.KINK,
    Element.DISPUTED: Verdict.DISPUTED,
}


class Arbitrated(NamedTuple):
    """elements: row, number and slopes of what was looked at; left: how many suspects were not."""

    elements: dict[Element, list[tuple[int, int, Slopes]]]
    left: int
    distrusted: Array


def arbitrate(leaf: Leaf, suspect: Array, arbiter: Arbiter, standard: Standard) -> Arbitrated:
    """Ask the arbiter about one suspect after the other, until one is wrong.

    One that is off by little says it of all that are.
    """
    elements: dict[Element, list[tuple[int, int, Slopes]]] = {}
    near = is_near(leaf.r, leaf.t, standard.rtol)
    looked_at = 0
    for row, i in _in_order(leaf, suspect):
        if looked_at >= leaf.most:
            break
        is_close = bool(near[row].flat[i])
        if is_close and Element.APPROXIMATE in elements:
            continue
        slopes = arbiter(row, i)
        element = _element(leaf, row, i, slopes, standard)
        if is_close and element is Element.WRONG:
            element = Element.APPROXIMATE
        elements.setdefault(element, []).append((row, i, slopes))
        looked_at += 1
        if element is Element.WRONG:
            return Arbitrated(elements, 0, _distrusted(leaf, elements))
    is_left = suspect & ~near if Element.APPROXIMATE in elements else suspect
    left = max(int(np.count_nonzero(is_left)) - looked_at, 0)
    return Arbitrated(elements, left, suspect.any(axis=0))


def _distrusted(leaf: Leaf, elements: dict[Element, list[tuple[int, int, Slopes]]]) -> Array:
    """What was looked at, and is not wrong."""
    distrusted = np.zeros(leaf.t.shape[1:], bool)
    for element, looked_at in elements.items():
        if element is not Element.WRONG:
            distrusted.flat[[i for _, i, _ in looked_at]] = True
    return distrusted


def _element(leaf: Leaf, row: int, i: int, slopes: Slopes, standard: Standard) -> Element:
    r, t = float(leaf.r[row].flat[i]), float(leaf.t[row].flat[i])
    element = element_at(r, t, float(leaf.x.flat[i]), slopes)
    if element is Element.DISPUTED and abs(r - t) > standard.by_design:
        return _where_ties_are_settled(r, row, i, standard)
    if _is_between_many(leaf, r, slopes):
        return Element.KINK
    if element is Element.UNRESOLVED:
        return _where_nothing_tells(t, standard)
    if element is Element.WRONG and nearby.is_between(r, standard.beside(row, i), standard.eps):
        return Element.KINK
    if element is Element.WRONG:
        return _where_ties_are_settled(r, row, i, standard)
    return element


def _where_ties_are_settled(r: float, row: int, i: int, standard: Standard) -> Element:
    is_between = nearby.is_between(r, standard.settled(row, i), standard.eps)
    return Element.KINK if is_between else Element.WRONG


def _where_nothing_tells(t: float, standard: Standard) -> Element:
    """Where differences never could, t is believed."""
    is_believed = np.isfinite(t) and not standard.differences_can_tell
    return Element.WRONG if is_believed else Element.UNRESOLVED


def _is_between_many(leaf: Leaf, r: float, slopes: Slopes) -> bool:
    """Of a whole: what its elements may be adds up to what is not between the two slopes."""
    return leaf.is_whole and slopes.kink and bool(np.isfinite(r))


def element_at(r: float, t: float, x: float, s: Slopes) -> Element:
    """Of an element x at which the rule's r is not the reference's t.

    x is not finite, or f raises beside it
                            no step can be taken: t is believed where it is a number
    r is not finite         wrong where slopes are finite, also the two of a kink, or where t is
    a kink                  any number between the one-sided slopes will do
    no slope was resolved   the sides may still exclude r
    else                    the slope holds r, t, both or neither
    """
    if not np.isfinite(x) or s is UNTAKEN:
        return Element.WRONG if np.isfinite(t) else Element.DISPUTED
    if not np.isfinite(r):
        has_slope = np.isfinite(t) or s.is_finite
        return Element.WRONG if has_slope else Element.UNRESOLVED
    if s.kink:
        return Element.KINK if s.between(r) else Element.WRONG
    if not s.resolved:
        return _element_by_sides(r, t, s)
    if s.holds(r):
        return Element.UNRESOLVED if s.holds(t) else Element.DISPUTED
    # Where the bar holds neither it may be too small, but a rule ten times closer is not the
    # culprit.
    is_closer = abs(r - s.central) < 0.1 * abs(t - s.central)
    return Element.DISPUTED if is_closer and not s.holds(t) else Element.WRONG


def _element_by_sides(r: float, t: float, s: Slopes) -> Element:
    """No central difference was of use: at the end of a domain, say."""
    sides = [(s.left, s.left_bar), (s.right, s.right_bar)]
    useful = [(slope, bar) for slope, bar in sides if np.isfinite(bar)]
    if not np.isfinite(t):
        return Element.DISPUTED
    if not useful:
        return Element.UNRESOLVED
    holds = any(abs(r - slope) <= bar for slope, bar in useful)
    return Element.DISPUTED if holds else Element.WRONG


def _in_order(leaf: Leaf, suspect: Array) -> Iterator[tuple[int, int]]:
    """Suspects (row, number), the worst first; but one of those alike before all others.

    Alike are those of the same input with the same ratio of r and t.
    """
    rows, at = np.nonzero(suspect.reshape(len(suspect), -1))
    if not rows.size:
        return
    r, t = (a.reshape(len(suspect), -1)[rows, at] for a in (leaf.r, leaf.t))
    with np.errstate(all="ignore"):
        error = np.abs(r - t)
    error = np.where(np.isfinite(error), error, np.inf)
    worst = int(np.argmax(error))
    yield int(rows[worst]), int(at[worst])  # of a wrong rule no other is asked for
    with np.errstate(all="ignore"):
        # Alike to three digits: a fault is mostly one factor for all elements of a kind.
        ratio = np.round(r / t, 3)
    worst_first = np.argsort(-error, kind="stable")
    is_repeated = _is_repeated(leaf.x.ravel()[at][worst_first], ratio[worst_first])
    order = worst_first[np.argsort(is_repeated, kind="stable")][1:]
    yield from zip(rows[order].tolist(), at[order].tolist(), strict=True)


def _is_repeated(x: Array, ratio: Array) -> Array:
    """Whether a pair is one that came before it. NaN is a ratio like any other, but no number x."""
    by_pair = np.lexsort((ratio, x))  # stable: of those alike the first stays the first
    x, ratio = x[by_pair], ratio[by_pair]
    like_the_one_before = (x[1:] == x[:-1]) & same(ratio[1:], ratio[:-1])
    is_repeated = np.zeros(len(x), bool)
    is_repeated[by_pair[1:]] = like_the_one_before
    return is_repeated


def finding_of(leaf: Leaf, suspect: Array, arbitrated: Arbitrated, standard: Standard) -> Finding:
    """The worst that the arbiter said, with the element that decided."""
    elements, left = arbitrated.elements, arbitrated.left
    worst = next((e for e in VERDICTS if e in elements), None)
    notes = _notes(elements, left, leaf.t[0].size)
    if worst is Element.APPROXIMATE:
        near = is_near(leaf.r, leaf.t, standard.rtol) & suspect
        little = said(off(np.where(near, leaf.r, leaf.t), leaf.t), standard.rtol)
        notes = "; ".join(filter(None, [little, notes]))
    unit = unit_of(leaf.t, standard.eps)
    if worst is None:
        with np.errstate(all="ignore"):
            error = np.abs(leaf.r - leaf.t)
        error = np.max(error, initial=0, where=np.isfinite(error) & ~suspect)
        return Finding(
            Question.ALGEBRA, leaf.name, Verdict.OK, error=float(error) / unit, note=notes
        )
    row, i, slopes = elements[worst][0]
    r, t = float(leaf.r[row].flat[i]), float(leaf.t[row].flat[i])
    is_off = worst in (Element.WRONG, Element.APPROXIMATE)
    t_is_true = is_off and (slopes.holds(t) or not slopes.resolved)
    t_is_true |= abs(r - t) > standard.by_design
    true = t if t_is_true else slopes.central
    return Finding(
        Question.ALGEBRA,
        leaf.name,
        VERDICTS[worst],
        index=index_of(i, leaf.x.shape),
        rule=r,
        auto=t,
        true=true,
        error=abs(r - true) / unit,
        auto_error=abs(t - true) / unit,
        note="" if worst is Element.WRONG else notes,
    )


def _notes(elements: dict[Element, list[tuple[int, int, Slopes]]], left: int, size: int) -> str:
    """How many elements were not simply right."""
    notes = [
        f"{len({i for _, i, _ in looked_at})} of {size} elements {element.value}"
        for element, looked_at in elements.items()
        if element not in (Element.WRONG, Element.APPROXIMATE)
    ]
    if left:
        notes.append(f"{left} more differ, not examined")
    return "; ".join(notes)
