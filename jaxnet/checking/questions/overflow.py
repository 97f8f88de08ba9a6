"""Is the rule a number wherever autodiff is, in the working dtype, also where numbers are large?

At 64 times the arguments, within their domains, exponentials and squares overflow float32. Only one
thing is asked: that the rule is finite where value and autodiff are, and autodiff is right.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np

from jaxnet.checking.arrays import Array, distance, index_of, largest, on_host
from jaxnet.checking.bench import Bench, Draw
from jaxnet.checking.domains import Move, domain_of
from jaxnet.checking.findings import Finding, Question, Verdict, made
from jaxnet.checking.problem import eps_of
from jaxnet.checking.programs import NarrowRun

FAR = (Move(64, 0), Move(-64, 0))
OVERFLOWS = "it overflows where autodiff does not"


def ask(bench: Bench, draw: Draw, precise: Sequence[Finding]) -> list[Finding]:
    """The precision's findings, those of a rule that overflows among them now."""
    if bench.problem.as_met:
        return list(precise)
    found: dict[str, Finding] = {}
    for far in FAR:
        how = f"the arguments {far}"
        with bench.skipping(f"{how} in {draw.working.name}"):
            found |= {f.leaf: made(f, how) for f in _overflowing(bench, _moved(bench, draw, far))}
    return [found.get(f.leaf, f) if _is_digits(f) else f for f in precise]


def _is_digits(finding: Finding) -> bool:
    return finding.question is Question.PRECISION and not finding.verdict.bad


def _moved(bench: Bench, draw: Draw, far: Move) -> Draw:
    """With one cotangent."""
    domains = [domain_of(bench.problem, k) for k in range(len(draw.leaves))]
    pairs = zip(domains, draw.leaves, strict=True)
    leaves = tuple(d.moved(on_host(x), far).astype(x.dtype) for d, x in pairs)
    return draw._replace(leaves=leaves, cotangents=draw.cotangents[:1])


def _overflowing(bench: Bench, draw: Draw) -> Iterator[Finding]:
    names = bench.problem.names
    for run in bench.narrow_runs(draw):
        suspects = [k for k in range(len(names)) if _differing(run, k).any()]
        if not suspects or run.auto is None:
            return
        true = bench.look_at(draw, None)
        for k in suspects:
            r, a, t = run.rule[k], run.auto[k], true.ref(bench.plain, k)[0]
            allowed = np.sqrt(eps_of(draw.working.dtypes[k])) * largest(t)
            bad = np.flatnonzero(_differing(run, k) & (distance(a, t) <= allowed))
            if bad.size and names[k] not in bench.problem.wholes:
                finding = _finding(names[k], r, a, t, int(bad[0]))
                yield replace(finding, detail=draw.working.name)


def _differing(run: NarrowRun, k: int) -> Array:
    """Where the rule is not finite, and autodiff and all values are."""
    r = run.rule[k]
    if run.auto is None or not all(np.isfinite(v).all() for v in (*run.value, *run.forward)):
        return np.zeros(r.shape, bool)
    differing: Array = ~np.isfinite(r) & np.isfinite(run.auto[k])
    return differing


def _finding(name: str, r: Array, a: Array, t: Array, i: int) -> Finding:
    return Finding(
        Question.PRECISION,
        name,
        Verdict.IMPRECISE,
        index=index_of(i, t.shape),
        rule=float(r.flat[i]),
        auto=float(a.flat[i]),
        true=float(t.flat[i]),
        note=OVERFLOWS,
    )
