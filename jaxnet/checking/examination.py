"""One check, on the host: which data are run through the programs, and what follows from what comes back."""

import zlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxnet.checking.differences import Slopes, slopes
from jaxnet.checking.findings import Finding, Power, Report
from jaxnet.checking.judge import (
    Arbiter,
    Judged,
    hint,
    index_of,
    judge,
    power,
    same,
    spread,
    tolerance,
)
from jaxnet.checking.problem import Leaves, Problem, as_dtypes, eps_of
from jaxnet.checking.programs import (
    NOT_DETERMINISTIC,
    WIDE,
    Failed,
    Programs,
    Working,
    precision_of,
    programs_for,
)
from jaxnet.checking.transforms import PLAIN, SECOND_ORDER, Cell

COTANGENTS = 4  # one alone may happen to suit autodiff
MOVES = 4
# Nobody draws arguments from it: a cotangent equal to an argument would hide a transposed product.
STREAM = 0x6A61786E6574
LAWS = {
    "scaled": "the backward is not linear: a multiple of the cotangent must give that multiple (a clip, a threshold?)",
    "zero for zero": "a zero cotangent must give zero",
    "additive": "the backward is not linear: the sum of two cotangents must give the sum of their results",
}
ALL_LAWS = "law: linear, zero for zero, the same twice"
NOT_FINITE = "its gradient is nowhere finite at these arguments: choose others"
VACUOUS = "its gradient is 0 at these arguments whatever the rule does: choose others"


def examine(
    problem: Problem,
    report: Report,
    dtypes: Sequence[Any] | None,
    transforms: Sequence[str],
    seed: int,
    measure_power: bool = True,
) -> Report:
    """The report, filled in."""
    own = tuple(x.dtype for x in problem.leaves)
    if dtypes is None:
        working = [Working(str(max(own, key=eps_of)), own)]
    else:
        working = [Working(str(d), (d,) * len(own)) for d in dtypes]
    try:
        programs = programs_for(problem, working, transforms)
    except Failed as failed:
        return replace(report, findings=(failed.finding,))
    return _Examination(problem, programs, working, seed, measure_power).report(report)


@dataclass(frozen=True)
class Look:
    """What was seen at one point: a row for each cotangent, and rows where inputs were moved by an eps."""

    x: Leaves
    cs: Sequence[Leaves]
    rows: Sequence[Any]
    moved: Sequence[Any]

    def rule(self, cell: Cell, k: int) -> Any:
        return np.stack([row[cell.name][0][k] for row in self.rows])

    def ref(self, cell: Cell, k: int) -> Any:
        return np.stack([row[cell.name][1][k] for row in self.rows])

    def noise(self, cell: Cell, k: int) -> Any:
        return spread([m[cell.name][1][k] for m in self.moved], self.rows[0][cell.name][1][k])

    def is_finite(self) -> bool:
        return all(np.isfinite(v).all() for v in self.rows[0]["value"][0])


class _Examination:
    def __init__(
        self,
        problem: Problem,
        programs: Programs,
        working: Sequence[Working],
        seed: int,
        measure_power: bool,
    ) -> None:
        self.problem, self.programs, self.working, self.seed = problem, programs, working, seed
        self.measure_power = measure_power
        self.eps = programs.eps
        self.plain = programs.cells[0]
        self.findings: list[Finding] = []
        self.narrow: dict[str, list[Any]] = {}  # by dtype, what the programs in that dtype gave
        self.distrusted: list[Any] = []  # by leaf, where the reference is not taken for the truth

    def report(self, report: Report) -> Report:
        own = self.working[0]
        drawn = self._cotangents(own, COTANGENTS)
        x = self._wide(as_dtypes(self.problem.leaves, own.dtypes))
        cs = [as_dtypes(c, self.programs.cotangents) for c in drawn]
        look = self._look(x, cs, self._stream(PLAIN))
        again = self._run(look.x, look.cs[0], look.cs[1])
        self._values(look, again)
        self.findings += self.programs.structure
        self._algebra(look)
        self._laws(look, again)
        self._precision(look, own, drawn)
        for more in self.working[1:]:
            drawn = self._cotangents(more, COTANGENTS)
            there = self._wide(as_dtypes(self.problem.leaves, more.dtypes))
            cs = [as_dtypes(c, self.programs.cotangents) for c in drawn]
            self._precision(self._look(there, cs, None), more, drawn)
        self._transforms(look)
        reached, never = self._reach(look)
        self._vacuous(look, reached)
        return replace(
            report,
            findings=tuple(self.findings),
            power=self._power(look) if self.measure_power else {},
            never_entered=never,
            cost=self.programs.cost,
            notes=report.notes + self.programs.notes,
        )

    def _verdict_is(self, what: str, leaf: str, *verdicts: str) -> bool:
        return any(
            f.what == what and f.leaf == leaf and f.verdict in verdicts for f in self.findings
        )

    # -- running

    def _stream(self, question: str) -> np.random.Generator:
        """The random numbers of one question: what another draws, or whether it is asked, moves none of them."""
        return np.random.default_rng([STREAM, self.seed, zlib.crc32(question.encode())])

    def _cotangents(self, working: Working, count: int) -> list[Leaves]:
        """Random normal, never ones, of the dtypes of the outputs for these dtypes of the leaves."""
        leaves = as_dtypes(self.problem.leaves, working.dtypes)
        shapes = jax.eval_shape(self.problem.rule, leaves, self.problem.others)[0]
        rng = self._stream(f"cotangents {working.name}")
        return [
            tuple(np.asarray(rng.normal(size=s.shape)).astype(s.dtype) for s in shapes)
            for _ in range(count)
        ]

    def _wide(self, arrays: Leaves) -> Leaves:
        """Exactly the same numbers in float64, where the algebra is judged there."""
        return (
            tuple(np.asarray(x).astype(WIDE) for x in arrays)
            if self.programs.dtype == WIDE
            else arrays
        )

    def _run(self, x: Leaves, c: Leaves, d: Leaves) -> Any:
        with precision_of(self.programs.dtype):
            return jax.tree.map(
                _on_host, self.programs.main(x, self.problem.others, c, d, _weights(x))
            )

    def _look(self, x: Leaves, cs: Sequence[Leaves], stream: np.random.Generator | None) -> Look:
        """stream: moves the inputs; None where nobody asks how far the results move with them."""
        rows = [self._run(x, c, cs[(k + 1) % len(cs)]) for k, c in enumerate(cs)]
        moved = []
        for _ in range(MOVES if stream else 0):
            there, c, d = (_moved(arrays, self.eps, stream) for arrays in (x, cs[0], cs[-1]))
            moved.append(self._run(there, c, d))
        return Look(x, cs, rows, moved)

    def _prepared(self, cell: Cell, look: Look, row: int) -> tuple[Leaves, Leaves, Leaves]:
        c, d = look.cs[row], look.cs[(row + 1) % len(look.cs)]
        if cell.name == PLAIN:
            return look.x, self.problem.others, c
        with precision_of(self.programs.dtype):
            return cell.prepare(look.x, self.problem.others, c, d, _weights(look.x))

    def _arbiter(self, cell: Cell, look: Look, leaf: int) -> Arbiter:
        prepared: dict[int, Any] = {}

        def arbitrate(row: int, i: int) -> Slopes:
            if row not in prepared:
                prepared[row] = self._prepared(cell, look, row)
            leaves, others, c = prepared[row]
            before = sum(int(np.prod(a.shape)) for a in leaves[:leaf])
            value = _on_host(leaves[leaf])
            here = abs(float(value.flat[i]))
            size = max(_typical(value), here if np.isfinite(here) else 0.0)
            first = np.asarray(2.0 ** np.round(np.log2(size)) / 8, self.programs.dtype)
            measured = self.programs.ladder(
                cell.name, leaves, others, c, np.int32(before + i), first
            )
            return slopes(measured, self.eps)

        return arbitrate

    def _judge(self, cell: Cell, look: Look, only_wrong: bool = False) -> list[Judged]:
        """Every leaf of a cell."""
        x = [_on_host(a) for a in self._prepared(cell, look, 0)[0]]
        return [
            judge(
                cell.name,
                leaf,
                look.rule(cell, k),
                look.ref(cell, k),
                look.noise(cell, k),
                x[k],
                self.eps,
                self._arbiter(cell, look, k),
                look.is_finite(),
                only_wrong,
                self._by_design(k, look) if cell is self.plain else np.inf,
            )
            for k, leaf in enumerate(cell.names)
        ]

    # -- what is looked at

    def _values(self, look: Look, again: Any) -> None:
        """The forward that is differentiated against the function."""
        (value, rest), (forward, forward_rest) = look.rows[0]["value"], look.rows[0]["forward"]
        for k, output in enumerate(self.problem.outputs):
            v, f = value[k], forward[k]
            if not same(again["value"][0][k], v).all():
                self.findings.append(
                    Finding("law: the same twice", output, "error", note=NOT_DETERMINISTIC)
                )
                continue
            allowed = tolerance(v, spread([m["value"][0][k] for m in look.moved], v), self.eps)
            with np.errstate(all="ignore"):
                error = np.where(same(v, f), 0, np.abs(f - v))
            error = np.where(np.isnan(error), np.inf, error)
            in_eps = error / (self.eps * _scale(v))
            bad = ~(error <= allowed)
            if bad.any():
                i = int(np.argmax(np.where(bad, error, -1)))
                at = (
                    index_of(i, v.shape),
                    float(f.flat[i]),
                    float("nan"),
                    float(v.flat[i]),
                    float(in_eps.flat[i]),
                )
                note = "the forward that is differentiated is not the function"
                self.findings.append(Finding("value", output, "wrong", *at, note=note))
            else:
                self.findings.append(
                    Finding("value", output, "ok", error=float(np.max(in_eps, initial=0)))
                )
        for k, output in enumerate(self.problem.other_outputs):
            if not np.array_equal(rest[k], forward_rest[k]):
                note = "the rule's forward returns other values than the function"
                self.findings.append(Finding("value", output, "wrong", note=note))

    def _algebra(self, look: Look) -> None:
        for k, judged in enumerate(self._judge(self.plain, look)):
            finding = judged.finding
            self.distrusted.append(judged.distrusted)
            if finding.verdict == "wrong":
                more = self._hint(k, look)
                finding = replace(finding, note="; ".join(filter(None, [finding.note, more])))
            self.findings.append(finding)

    def _hint(self, k: int, look: Look) -> str:
        r, t = look.rows[0][PLAIN]
        sizes = {n for a in (*look.x, *look.cs[0]) for n in (*a.shape, a.size)}
        for j, name in enumerate(self.problem.names):
            twin = j != k and r[j].shape == r[k].shape and r[j].any() and np.array_equal(r[j], r[k])
            if twin and not np.array_equal(t[j], t[k]):
                return f"it is that of {name} again: one array for a whole tuple?"
        return hint(r[k], t[k], sorted(sizes))

    def _laws(self, look: Look, again: Any) -> None:
        """Linear in the cotangent, zero for zero, the same twice. Powers of two scale exactly."""
        c, d = look.cs[0], look.cs[1]
        r, s = look.rows[0][PLAIN][0], look.rows[1][PLAIN][0]
        factor = 2.0**20 if self.eps < 1e-6 else 2.0**4
        cases = [
            ("scaled", tuple(_times(a, k) for a in c), [k * v for v in r])
            for k in (factor, 1 / factor)
        ]
        cases.append(
            ("zero for zero", tuple(_times(a, 0) for a in c), [0 * np.nan_to_num(v) for v in r])
        )
        both = tuple((_on_host(a) + _on_host(b)).astype(a.dtype) for a, b in zip(c, d, strict=True))
        with np.errstate(all="ignore"):
            cases.append(("additive", both, [v + w for v, w in zip(r, s, strict=True)]))
        runs = [
            (name, self._run(look.x, cotangents, d)[PLAIN], expected)
            for name, cotangents, expected in cases
        ]
        for k, leaf in enumerate(self.problem.names):
            if not same(again[PLAIN][0][k], r[k]).all():
                self.findings.append(
                    Finding("law: the same twice", leaf, "error", note=NOT_DETERMINISTIC)
                )
                continue
            broken = (
                self._law(name, leaf, got[k], ref[k], expected[k], self._natural(k, look))
                for name, (got, ref), expected in runs
                if np.isfinite(r[k]).any()
            )
            self.findings.append(next(filter(None, broken), Finding(ALL_LAWS, leaf, "ok")))

    def _law(
        self, name: str, leaf: str, got: Any, ref: Any, expected: Any, natural: float
    ) -> Finding | None:
        # A power of two scales exactly; a sum is rounded, and where terms cancel by much more than its eps.
        relative, floor = (
            (np.sqrt(self.eps), 64 * self.eps * natural)
            if name == "additive"
            else (64 * self.eps, 0.0)
        )
        with np.errstate(all="ignore"):
            allowed = (
                relative * np.max(np.abs(expected), initial=0, where=np.isfinite(expected)) + floor
            )
            error = np.where(np.isfinite(got), np.abs(got - expected), np.inf)
            # Where the reference is not finite either, the point is at fault.
            bad = (
                ~(error <= allowed) & np.isfinite(expected) & (np.isfinite(got) | np.isfinite(ref))
            )
        if not bad.any():
            return None
        i = int(np.argmax(np.where(bad, error, -1)))
        values = (float(got.flat[i]), float("nan"), float(expected.flat[i]))
        return Finding(
            f"law: {name}", leaf, "wrong", index_of(i, got.shape), *values, note=LAWS[name]
        )

    def _precision(self, look: Look, working: Working, drawn: Sequence[Leaves]) -> None:
        """In a working dtype: at most 4 times autodiff's error, or what rounding the inputs does, or 8 eps.

        Errors are the largest over all cotangents and elements.
        """
        if working.name not in self.programs.working:
            return
        program, leaves = (
            self.programs.working[working.name],
            as_dtypes(self.problem.leaves, working.dtypes),
        )
        results = [jax.tree.map(_on_host, program(leaves, self.problem.others, c)) for c in drawn]
        self.narrow[working.name] = results
        eps = max(eps_of(d) for d in working.dtypes)
        rng = self._stream(f"precision {working.name}")
        moved = []
        for _ in range(MOVES):
            there, c = (_moved(arrays, eps, rng) for arrays in (look.x, look.cs[0]))
            moved.append(self._run(there, c, look.cs[1]))
        for k, output in enumerate(self.problem.outputs):
            if not self._verdict_is("value", output, "wrong"):
                f, v = (
                    np.stack([result[of][k] for result in results]) for of in ("forward", "value")
                )
                t = np.stack([row["value"][0][k] for row in look.rows])
                nu = spread([m["value"][0][k] for m in moved], t[0])
                finding = self._imprecise(
                    f"value {working.name}", output, f, v, t, nu, eps_of(drawn[0][k].dtype)
                )
                self.findings += [finding] if finding.verdict != "ok" else []
        for k, leaf in enumerate(self.problem.names):
            if not self._verdict_is(PLAIN, leaf, "wrong") and not self._verdict_is(
                "structure", leaf, "wrong"
            ):
                r, a = (np.stack([result[of][k] for result in results]) for of in ("rule", "auto"))
                # Where the reference is not trusted the rule was not refuted: what it gives in float64 is the truth.
                t = np.where(self.distrusted[k], look.rule(self.plain, k), look.ref(self.plain, k))
                nu = np.where(
                    self.distrusted[k],
                    0,
                    spread([m[PLAIN][1][k] for m in moved], look.rows[0][PLAIN][1][k]),
                )
                what = f"precision {working.name}"
                self.findings.append(
                    self._imprecise(what, leaf, r, a, t, nu, eps_of(working.dtypes[k]))
                )

    def _imprecise(
        self, what: str, leaf: str, r: Any, a: Any, t: Any, nu: Any, eps: float
    ) -> Finding:
        """r, a, t: [rows, ...]; nu: how far t moves when the inputs move by an eps of this dtype, its conditioning."""
        note, floor = "", 8.0
        if self.programs.draws:
            t, note, floor = (
                a,
                "random draws are others in float64: compared with autodiff in this dtype",
                64.0,
            )
        largest = np.max(np.abs(t), initial=0, where=np.isfinite(t))
        with np.errstate(all="ignore"):
            error, auto_error = (np.where(same(v, t), 0, np.abs(v - t)) for v in (r, a))
        # Where autodiff is not finite either, the dtype has no such number.
        error = np.where(np.isfinite(error), error, np.where(np.isfinite(a), np.inf, 0))
        pooled = float(np.max(auto_error, initial=0, where=np.isfinite(auto_error)))
        conditioning = float(np.max(nu, initial=0, where=np.isfinite(nu)))
        # Where autodiff itself has lost digits to cancellation, how many is luck, and the rule's luck another.
        factor = 4 if pooled <= 64 * eps * largest else 32
        bad = ~(error <= max(factor * pooled, 4 * conditioning, floor * eps * largest))
        unit = max(eps * largest, np.finfo(float).tiny)
        shown = float(np.max(error, initial=0)) / unit, pooled / unit
        if not bad.any():
            return Finding(what, leaf, "ok", error=shown[0], auto_error=shown[1], note=note)
        row, i = divmod(int(np.argmax(error)), t[0].size)
        values = (float(v[row].flat[i]) for v in (r, a, t))
        text = "; ".join(filter(None, [f"{shown[0]:.2g} eps, autodiff {shown[1]:.2g}", note]))
        rule, auto, true = values
        return Finding(
            what, leaf, "imprecise", index_of(i, t[0].shape), rule, auto, true, *shown, text
        )

    def _transforms(self, look: Look) -> None:
        self.findings += self.programs.not_compared
        wrong = {f.leaf for f in self.findings if f.what == PLAIN and f.verdict == "wrong"}
        if wrong:  # what a wrong rule does under a transformation says nothing new
            cells = [cell for cell in self.programs.cells[1:] if cell.name != SECOND_ORDER]
        else:
            self.findings.append(Finding("jit", "", "ok"))
            cells = self.programs.cells[1:]
        for cell in cells:
            here, note = look, ""
            if cell.name == SECOND_ORDER and any(d.any() for d in self.distrusted):
                # The reference is not trusted on the slope, so neither is it on the slope's slope.
                here, note = (
                    self._beside(look),
                    "a little beside the arguments, where the reference is to be trusted",
                )
                plain = self._judge(self.plain, here, only_wrong=True)
                if any(j.distrusted.any() or j.finding.verdict != "ok" for j in plain):
                    note = "not judged: the reference is not to be trusted here"
                    self.findings.append(Finding(cell.name, "", "unsupported", note=note))
                    continue
            first = Look(here.x, here.cs, here.rows[:1], here.moved)
            judged = [j.finding for j in self._judge(cell, first, only_wrong=here is not look)]
            bad = [f for f in judged if f.verdict == "wrong" and f.leaf not in wrong]
            self.findings += bad or ([] if wrong else [Finding(cell.name, "", "ok", note=note)])

    def _beside(self, look: Look) -> Look:
        """A point off the kinks and ties of this one: every number, also 0, moved by about a hundredth."""

        rng = self._stream(SECOND_ORDER)

        def move(x: Any) -> Any:
            value = _on_host(x)
            step = 0.01 * rng.uniform(0.5, 1, x.shape) * rng.choice([-1.0, 1.0], x.shape)
            return (value + step * np.maximum(np.abs(value), 0.01 * _typical(value))).astype(
                x.dtype
            )

        return self._look(tuple(move(x) for x in look.x), look.cs[:2], rng)

    def _reach(self, look: Look) -> tuple[list[Look], tuple[str, ...]]:
        """Added points that enter branches which the arguments do not; there only what is surely wrong counts."""
        with precision_of(self.programs.dtype):
            points, never = self.programs.branches.points(self.problem, look.x, look.cs[0])
        reached = []
        for how, x in points:
            there = self._look(x, look.cs[:2], self._stream(f"reach, {how}"))
            if not there.is_finite():
                continue
            reached.append(there)
            for k, judged in enumerate(self._judge(self.plain, there, only_wrong=True)):
                leaf = self.problem.names[k]
                if judged.finding.verdict == "wrong" and not self._verdict_is(PLAIN, leaf, "wrong"):
                    note = "; ".join(
                        filter(None, [f"with {how}", judged.finding.note, self._hint(k, there)])
                    )
                    self._replace(PLAIN, replace(judged.finding, note=note))
        return reached, never

    def _replace(self, what: str, finding: Finding) -> None:
        kept = [f for f in self.findings if (f.what, f.leaf) != (what, finding.leaf)]
        self.findings = [*kept, finding]

    def _vacuous(self, look: Look, reached: Sequence[Look]) -> None:
        """Leaves whose gradient is 0, or noise, wherever it was looked at, though the value depends on them."""
        for k, leaf in enumerate(self.problem.names):
            if (
                self.programs.zero[k]
                or not look.x[k].size
                or self._verdict_is(PLAIN, leaf, "wrong", "kink")
            ):
                continue
            seen = [there.ref(self.plain, k) for there in (look, *reached)]
            if not any(np.isfinite(t).any() for t in seen):
                self._replace(PLAIN, Finding(PLAIN, leaf, "vacuous", note=NOT_FINITE))
                continue
            largest = max(float(np.max(np.abs(t), initial=0, where=np.isfinite(t))) for t in seen)
            noise = max(float(np.nanmax(there.noise(self.plain, k))) for there in (look, *reached))
            small = largest <= 64 * noise and not largest > np.sqrt(self.eps) * self._natural(
                k, look
            )
            if (largest == 0 or (small and not self._definite(k, look))) and self._depends(k, look):
                self._replace(PLAIN, Finding(PLAIN, leaf, "vacuous", note=VACUOUS))

    def _natural(self, k: int, look: Look) -> float:
        """The natural size of a slope, value over argument: noise is far below it."""
        values = zip(look.cs[0], look.rows[0]["value"][0], strict=True)
        with np.errstate(all="ignore"):
            sizes = [
                float(np.max(np.abs(c * v), initial=0, where=np.isfinite(v))) for c, v in values
            ]
        return max(sizes) / _typical(_on_host(look.x[k]))

    def _by_design(self, k: int, look: Look) -> float:
        """How far a reference that stops gradients must be from the slope for that to be its design."""
        return np.sqrt(self.eps) * self._natural(k, look) if self.programs.stopped else np.inf

    def _definite(self, k: int, look: Look) -> bool:
        """Whether the rule returns the same in both dtypes: a true slope in a tail, which noise would not be."""
        r = look.rows[0][PLAIN][0][k]
        return bool(r.any()) and any(
            np.mean(np.abs(results[0]["rule"][k] - r) <= 0.01 * np.abs(r)) > 0.9
            for results in self.narrow.values()
        )

    def _depends(self, k: int, look: Look) -> bool:
        """Whether the value changes with the leaf.

        Of a single rule that is seen by changing it: a sum of softmax is 1 whatever its logits, and 0 is its gradient.
        Where the rule is only a part, as in a sum of a softmax that has one, the part has not been seen.
        """
        if not self.programs.is_one_rule:
            return self.programs.branches.is_used(k)
        value = _on_host(look.x[k])
        for other in (2 * value, value + 1 + np.abs(value).max(initial=0), -value, 0.5 * value - 3):
            point = tuple(other.astype(a.dtype) if j == k else a for j, a in enumerate(look.x))
            there = self._run(point, look.cs[0], look.cs[1])["value"][0]
            with np.errstate(all="ignore"):
                for a, b in zip(look.rows[0]["value"][0], there, strict=True):
                    if np.any(np.abs(a - b) > np.sqrt(self.eps) * np.maximum(np.abs(a), np.abs(b))):
                        return True
        return False

    def _power(self, look: Look) -> dict[str, Power]:
        powers = {}
        for k, leaf in enumerate(self.problem.names):
            if self._verdict_is(PLAIN, leaf, "ok", "kink", "disputed") and look.x[k].size:
                t, noise = look.rows[0][PLAIN][1][k], look.noise(self.plain, k)
                arbiter, by_design = self._arbiter(self.plain, look, k), self._by_design(k, look)
                measured = power(t, noise, self.eps, arbiter, self.seed, by_design)
                if measured:
                    powers[leaf] = measured
        return powers


def _on_host(x: Any) -> Any:
    return (
        np.asarray(x).astype(np.float64) if jnp.issubdtype(x.dtype, jnp.inexact) else np.asarray(x)
    )


def _moved(arrays: Leaves, eps: float, rng: Any) -> Leaves:
    """Every number one eps away, up or down."""
    return tuple(_times(x, 1 + eps * rng.choice([-1.0, 1.0], x.shape)) for x in arrays)


def _times(x: Any, factor: Any) -> Any:
    return (np.asarray(x, np.float64) * factor).astype(x.dtype)


def _typical(value: Any) -> float:
    """The size of an array's finite numbers; 1 where they are all 0."""
    finite = value[np.isfinite(value)]
    return float(np.sqrt(np.mean(finite**2))) if finite.size and finite.any() else 1.0


def _scale(t: Any) -> float:
    return max(float(np.max(np.abs(t), initial=0, where=np.isfinite(t))), np.finfo(float).tiny)


def _weights(x: Leaves) -> Leaves:
    """The projection of the gradient whose gradient is taken."""
    return tuple(np.cos(np.arange(a.size, dtype=float)).reshape(a.shape).astype(a.dtype) for a in x)
