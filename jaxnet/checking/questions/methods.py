"""Is each method of a HiPrim the derivative of its expand, and do they say the same?

Values are held to arrays.tolerance, tangents and cotangents to what the algebra holds a rule to,
finite differences included (algebra.judge). A derivative is linear: r(0) = 0 exactly, r(2ᵏ t) is
2ᵏ r(t), and r(t + u) is r(t) + r(u) to half of the digits (laws.py). And forwards must be
backwards, also at a kink, where either alone may be any slope between two:

    <c, J t> = <Jᵀ c, t>         to half of the digits of the terms
"""

import contextlib
import itertools
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import jax
import numpy as np

from jaxnet.checking import arbiter
from jaxnet.checking.approximation import rtol_of, verdict_of
from jaxnet.checking.arbiter import Slopes, slopes
from jaxnet.checking.arrays import (
    FEW_DIGITS,
    Array,
    distance,
    index_of,
    largest,
    on_host,
    spread,
    times,
    tolerance,
    typical,
    worst_of,
)
from jaxnet.checking.bench import MOVES, STREAM, first_step, move
from jaxnet.checking.cells import Point
from jaxnet.checking.cut_out import problem_at
from jaxnet.checking.findings import Finding, Question, Verdict
from jaxnet.checking.graphs import narrowest_float
from jaxnet.checking.methods import Claim, Given, Said, claims_of, in_time
from jaxnet.checking.problem import Leaves, Problem, as_dtypes, eps_of
from jaxnet.checking.programs import compiler_options
from jaxnet.checking.questions import laws
from jaxnet.checking.questions.algebra import Leaf, Standard, judge
from jaxnet.checking.sites import Found
from jaxnet.checking.traces import WIDE, Traced, first_line, precision_of, trace


def ask(prim: Any, site: Found, values: Sequence[Any], seed: int) -> list[Finding]:
    """Of every method that the class of the primitive defines; values: what it met here."""
    problem = problem_at(site, list(values))
    if not problem.leaves or not problem.outputs:
        return []
    claims = claims_of(prim, site, values)
    table = _table_of(type(prim).__name__, problem, claims, seed)
    found: list[Finding] = list(table.failed)
    for hearing in table.hearings:
        claim = hearing.claim
        if not _blamed(found) & {*claim.rests_on, claim.values_by, claim.method}:
            found += _judged(table, hearing)
    found += _disagreements(table, found)
    return _said_once(table.name, claims, found)


def _blamed(found: Sequence[Finding]) -> set[str]:
    """The methods of which something is wrong."""
    return {f.detail.rpartition(".")[2] for f in found if f.verdict.bad}


def _said_once(name: str, claims: Sequence[Claim], found: Sequence[Finding]) -> list[Finding]:
    """The first that is bad of each method and leaf; a kink or a dispute; ok for the others."""
    every = {f"{name}.{m}": None for c in claims for m in (c.values_by, c.method)}
    first: dict[tuple[str, str, Verdict], Finding] = {}
    for f in found:
        first.setdefault((f.detail, f.leaf, f.verdict), f)
    kept = [f for f in first.values() if f.verdict is not Verdict.OK]
    spoken = {f.detail for f in kept}
    right = [
        Finding(Question.METHODS, "", Verdict.OK, detail=method)
        for method in every
        if method not in spoken
    ]
    return kept + right


# -- what was run


@dataclass(frozen=True)
class Hearing:
    """One claim at every point: what the method said, and what is true."""

    claim: Claim
    said: tuple[Said, Said]  # with (t, c), with (u, d)
    true: tuple[Said, Said]
    both: Said  # with (t + u, c + d)
    far: Said  # with (2ᵏ t, 2ᵏ c)
    zero: Said
    moved: Sequence[Said]  # the truth with all inputs moved by an eps


@dataclass
class Table:
    """Every claim of one primitive, heard."""

    name: str
    problem: Problem
    dtype: Any
    eps: float
    given: list[Given]  # the points of the first and the second run
    hearings: list[Hearing]
    failed: list[Finding]  # of claims that could not be heard
    ladders: dict[Any, Any] = field(default_factory=dict)

    @property
    def rtol(self) -> float:
        """How far a method may be off, as an approximation."""
        return rtol_of(self.problem)


def _table_of(name: str, problem: Problem, claims: Sequence[Claim], seed: int) -> Table:
    """In float64 where it can be had, else in the arguments' own dtypes."""
    wide = (WIDE,) * len(problem.leaves)
    with precision_of(WIDE):
        can_be_wide = _traces(problem, as_dtypes(problem.leaves, wide))
        if can_be_wide:
            return _heard(name, problem, claims, seed, wide)
    return _heard(name, problem, claims, seed, tuple(x.dtype for x in problem.leaves))


def _traces(problem: Problem, leaves: Leaves) -> bool:
    try:
        for f in (problem.rule, problem.ref):
            trace(f, leaves, problem.others)
    except Exception:
        return False
    return True


def _heard(
    name: str, problem: Problem, claims: Sequence[Claim], seed: int, dtypes: Sequence[Any]
) -> Table:
    rng = np.random.default_rng([STREAM, seed, zlib.crc32(b"methods")])
    leaves = as_dtypes(problem.leaves, dtypes)
    body = trace(problem.ref, leaves, problem.others)
    eps = max(eps_of(narrowest_float(body)), *map(eps_of, dtypes))

    def normal(like: Sequence[Any]) -> Leaves:
        return tuple(np.asarray(rng.normal(size=a.shape)).astype(a.dtype) for a in like)

    def drawn() -> Given:
        return Given(leaves, problem.others, normal(leaves), normal(body.shapes()[0]))

    first, second = drawn(), drawn()
    moved = [_moved(first, eps, rng) for _ in range(MOVES)]
    table = Table(name, problem, dtypes[0], eps, [first, second], [], [])
    _hear(table, list(_traced(table, claims, first)), moved)
    return table


def _hear(
    table: Table, traced: Sequence[tuple[Claim, Traced, Traced]], moved: Sequence[Given]
) -> None:
    """Run the claims. moved: the first point with every number moved by an eps."""
    first, second = table.given
    try:
        said_by = _program([said for _, said, _ in traced], first)
    except Exception:
        traced = list(_lowered(table, traced, first))
        said_by = _program([said for _, said, _ in traced], first)
    truth_of = _program([true for _, _, true in traced], first)
    said = [said_by(p) for p in (first, second, *_points(first, second, table.eps))]
    true = [truth_of(p) for p in (first, second, *moved)]
    said, true = jax.tree.map(on_host, (said, true))
    for n, (claim, _, _) in enumerate(traced):
        a, b, both, far, zero = (run[n] for run in said)
        t, u, *around = (run[n] for run in true)
        table.hearings.append(Hearing(claim, (a, b), (t, u), both, far, zero, around))


def _traced(
    table: Table, claims: Sequence[Claim], given: Given
) -> Iterator[tuple[Claim, Traced, Traced]]:
    """Each claim with the first truth that there is; a method that raises is a finding."""
    for claim in claims:
        true = _first_truth(claim, given)
        if true is None or _blamed(table.failed) & set(claim.rests_on):
            continue  # expand cannot be transposed here, or the fault is known
        try:
            said = trace(claim.said, given)
        except Exception as e:
            table.failed.append(_raised(table, claim, e))
            continue
        wrong_shape = _another_shape(said.shapes(), true.shapes())
        if wrong_shape:
            note = ": ".join(filter(None, [claim.how, wrong_shape]))
            table.failed.append(_finding(table, claim.method, "", Verdict.WRONG, note))
        else:
            yield claim, said, true


def _raised(table: Table, claim: Claim, e: Exception) -> Finding:
    note = ": ".join(filter(None, [claim.how, f"it raised {first_line(e)}"]))
    return _finding(table, claim.method, "", Verdict.ERROR, note)


def _lowered(
    table: Table, traced: Sequence[tuple[Claim, Traced, Traced]], given: Given
) -> Iterator[tuple[Claim, Traced, Traced]]:
    """Those that can be compiled: an object in them is expanded only then, and may raise."""
    for claim, said, true in traced:
        try:
            jax.jit(said).lower(given)
        except Exception as e:
            # JAX asks a wrong dce in every program: it is to blame for all of them.
            if "dce" not in _blamed(table.failed):
                table.failed.append(_raised(table, claim, e))
        else:
            yield claim, said, true


def _program(traced: Sequence[Traced], given: Given) -> Any:
    every = jax.jit(lambda given: [function(given) for function in traced])
    return every.lower(given).compile(compiler_options=compiler_options())


def _first_truth(claim: Claim, given: Given) -> Traced | None:
    for way in claim.truths:
        with contextlib.suppress(Exception):
            return trace(partial(claim.truth, way), given)
    return None


def _another_shape(said: Any, true: Any) -> str:
    pairs = zip(jax.tree.leaves(said), jax.tree.leaves(true), strict=False)
    for s, t in pairs:
        if s.shape != t.shape:
            return f"it gives shape {s.shape}, expand {t.shape}"
    return ""


def _points(first: Given, second: Given, eps: float) -> Iterator[Given]:
    """The sum of (t, c) and (u, d), a large multiple of the first, and zero."""

    def scaled(factor: float) -> Given:
        t, c = (
            tuple(times(a, factor) for a in arrays) for arrays in (first.tangents, first.cotangents)
        )
        return first._replace(tangents=t, cotangents=c)

    def added(these: Leaves, those: Leaves) -> Leaves:
        pairs = zip(these, those, strict=True)
        return tuple((on_host(a) + on_host(b)).astype(a.dtype) for a, b in pairs)

    yield first._replace(
        tangents=added(first.tangents, second.tangents),
        cotangents=added(first.cotangents, second.cotangents),
    )
    yield scaled(_far(eps))
    yield scaled(0.0)


def _far(eps: float) -> float:
    return laws.FAR if eps < FEW_DIGITS else laws.FAR_IN_FEW_DIGITS


def _moved(given: Given, eps: float, rng: Any) -> Given:
    x, t, c = (move(a, eps, rng) for a in (given.leaves, given.tangents, given.cotangents))
    return Given(x, given.others, t, c)


# -- judging


def _finding(
    table: Table, method: str, leaf: str, verdict: Verdict, note: str, **numbers: Any
) -> Finding:
    detail = f"{table.name}.{method}"
    return Finding(Question.METHODS, leaf, verdict, note=note, detail=detail, **numbers)


def _judged(table: Table, hearing: Hearing) -> Iterator[Finding]:
    yield from _values_judged(table, hearing)
    derivatives = _derivatives_judged(table, hearing)
    yield from derivatives
    wrong = {f.leaf for f in derivatives if f.verdict.bad}
    derived = zip(_leaves_of(hearing.claim), hearing.said[0].derivative, strict=False)
    for k, (leaf, _) in enumerate(derived):
        broken = None if leaf in wrong else _broken_law(table, hearing, k)
        if broken is not None:
            yield broken


def _leaves_of(claim: Claim) -> Sequence[str]:
    """Names of the parts of the derivative."""
    return claim.setting.outputs if claim.forwards else claim.setting.leaves


def _values_judged(table: Table, hearing: Hearing) -> Iterator[Finding]:
    claim, run, truth = hearing.claim, hearing.said[0], hearing.true[0]
    for k, (said, true) in enumerate(zip(run.values, truth.values, strict=False)):
        noise = spread([m.values[k] for m in hearing.moved], true)
        error = distance(said, true)
        error = np.where(np.isnan(error), np.inf, error)
        bad = ~(error <= tolerance(true, noise, table.eps))
        if bad.any():
            i = worst_of(error, bad)
            note = f"its value is {said.flat[i]:.5g}, expand's {true.flat[i]:.5g}"
            note = ": ".join(filter(None, [claim.how, note]))
            place = {"index": index_of(i, true.shape)}
            output = claim.setting.outputs[k]
            verdict = verdict_of(bad, said, true, table.rtol)
            yield _finding(table, claim.values_by, output, verdict, note, **place)
    others = zip(run.others, truth.others, strict=False)
    if not all(np.array_equal(said, true) for said, true in others):
        note = ": ".join(filter(None, [claim.how, "an output that is no float is another"]))
        yield _finding(table, claim.values_by, "", Verdict.WRONG, note)


def _derivatives_judged(table: Table, hearing: Hearing) -> list[Finding]:
    """Element by element, as in the algebra."""
    claim = hearing.claim
    is_finite = all(np.isfinite(v).all() for v in hearing.true[0].values)
    standard = Standard(table.eps, is_finite, False, np.inf, rtol=table.rtol)
    found = []
    for k in range(len(hearing.said[0].derivative)):
        name = _leaves_of(claim)[k]
        r, t = (np.stack([s.derivative[k] for s in side]) for side in (hearing.said, hearing.true))
        noise = spread([m.derivative[k] for m in hearing.moved], t[0])
        x = _where_differentiated(claim, table.given[0], k, t[0])
        ask_differences = _arbiter(table, claim, k)
        judged = judge(Leaf(name, r, t, noise, x), ask_differences, standard).finding
        found.append(_named(table, hearing, judged))
    return found


def _named(table: Table, hearing: Hearing, judged: Finding) -> Finding:
    """The finding of an algebra as one of a method."""
    note = ": ".join(filter(None, [hearing.claim.how, judged.note]))
    detail = f"{table.name}.{hearing.claim.method}"
    return replace(judged, question=Question.METHODS, note=note, detail=detail)


def _where_differentiated(claim: Claim, given: Given, k: int, like: Array) -> Array:
    """The numbers along which the derivative is taken: of tangents it is the time, 0."""
    if claim.forwards:
        return np.zeros_like(like)
    return on_host(claim.setting.at(given).leaves[claim.setting.moved[k]])


# -- finite differences


def _arbiter(table: Table, claim: Claim, k: int) -> Callable[[int, int], Slopes]:
    """Of part k of the derivative: along the tangents, or along an element of a leaf."""
    steps_to = _along if claim.forwards else _at

    def arbitrate(row: int, i: int) -> Slopes:
        with precision_of(table.dtype):
            given = claim.setting.at(table.given[row])
            return slopes(steps_to(table, claim, given, k, i), table.eps)

    return arbitrate


def _steps(table: Table, claim: Claim, point: Point, number: int, size: float) -> Any:
    """The ladder is compiled once for all claims of one setting."""
    key = claim.setting.key, claim.forwards
    if key not in table.ladders:
        function = claim.setting.transform(claim.ref)
        every = range(len(table.problem.names))
        along = in_time(function, every) if claim.forwards else function
        given = point, np.int32(number), np.asarray(size, table.dtype)
        ladder = jax.jit(arbiter.ladder(along)).lower(*given)
        table.ladders[key] = ladder.compile(compiler_options=compiler_options())
    return table.ladders[key](point, np.int32(number), np.asarray(size, table.dtype))


def _at(table: Table, claim: Claim, given: Given, k: int, i: int) -> Any:
    """Steps along element i of leaf k of those that are moved."""
    leaf = claim.setting.moved[k]
    before = sum(int(np.prod(a.shape)) for a in given.leaves[:leaf])
    size = first_step(on_host(given.leaves[leaf]), i)
    point = Point(given.leaves, given.others, given.cotangents)
    return _steps(table, claim, point, before + i, size)


def _along(table: Table, claim: Claim, given: Given, k: int, i: int) -> Any:
    """Steps along the tangents, of element i of output k."""
    function = claim.setting.transform(claim.ref)
    shapes = jax.eval_shape(function, given.leaves, given.others)[0]
    weights = [np.zeros(s.shape, s.dtype) for s in shapes]
    weights[k].flat[i] = 1
    moved = claim.setting.moved
    t = tuple(t if n in moved else np.zeros_like(t) for n, t in enumerate(given.tangents))
    size = max(typical(on_host(given.leaves[n])) for n in moved)
    where: Any = (given.leaves, given.others, t)
    point = Point((np.zeros((), table.dtype),), where, tuple(weights))
    return _steps(table, claim, point, 0, float(2.0 ** np.round(np.log2(size)) / 8))


# -- linear, and the same forwards and backwards


def _broken_law(table: Table, hearing: Hearing, k: int) -> Finding | None:
    """Of part k of the derivative."""
    r, s, both, far, zero = (
        said.derivative[k] for said in (*hearing.said, hearing.both, hearing.far, hearing.zero)
    )
    if not np.isfinite(r).any():
        return None
    of_what = "tangent" if hearing.claim.forwards else "cotangent"
    half = float(np.sqrt(table.eps))
    natural = max(largest(r), largest(s))
    laws_here = [
        (zero, 0 * np.nan_to_num(r), 0.0, f"a zero {of_what} must give zero"),
        (far, _far(table.eps) * r, 64 * table.eps, f"a multiple of the {of_what} is not that of r"),
        (both, r + s, half, f"it is not additive in the {of_what}"),
    ]
    for got, expected, relative, note in laws_here:
        allowed = relative * max(largest(expected), natural if relative == half else 0.0)
        error = distance(got, expected)
        bad = ~(error <= allowed) & np.isfinite(expected)
        if bad.any():
            i = worst_of(error, bad)
            numbers = {"index": index_of(i, got.shape)}
            said = f"{note}: {got.flat[i]:.4g}, not {expected.flat[i]:.4g}"
            text = ": ".join(filter(None, [hearing.claim.how, said]))
            leaf = _leaves_of(hearing.claim)[k]
            verdict = verdict_of(bad, got, expected, table.rtol)
            return _finding(table, hearing.claim.method, leaf, verdict, text, **numbers)
    return None


def _disagreements(table: Table, found: Sequence[Finding]) -> Iterator[Finding]:
    """Of those that were not found wrong: <c, J t> against <Jᵀ c, t>. The first pair is enough."""
    products = [
        (hearing.claim.method, *_product(table, hearing))
        for hearing in table.hearings
        if _speaks_of_everything(hearing) and hearing.claim.method not in _blamed(found)
    ]
    for (other, theirs, their_size), (method, ours, size) in itertools.combinations(products, 2):
        allowed = max(np.sqrt(table.eps), table.rtol) * max(size, their_size)
        if other != method and abs(ours - theirs) > allowed:
            note = f"<c, J t> is {ours:.6g}, by {other} it is {theirs:.6g}"
            yield _finding(table, method, "", Verdict.WRONG, note)
            return


def _speaks_of_everything(hearing: Hearing) -> bool:
    """All arguments, all outputs, of the primitive itself."""
    claim = hearing.claim
    is_itself = claim.method not in ("batch", "remat", "dce")
    return is_itself and not claim.how and bool(hearing.said[0].derivative)


def _product(table: Table, hearing: Hearing) -> tuple[float, float]:
    """<c, J t> or <Jᵀ c, t>, and the size of its terms."""
    given = table.given[0]
    against = given.cotangents if hearing.claim.forwards else given.tangents
    terms = [on_host(a) * d for a, d in zip(against, hearing.said[0].derivative, strict=True)]
    total = sum(float(np.sum(t)) for t in terms)
    return total, sum(float(np.sum(np.abs(t))) for t in terms)
