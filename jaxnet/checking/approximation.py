"""How far a rule may be from the truth, and yet be right to the digits that its arguments have.

What sums a series, iterates until little changes or solves to a tolerance is an approximation, and
its derivative by hand is another one than autodiff's. Of each leaf they may differ by

    rtol        of its largest element: as the caller says, or ROOM eps of the arguments' dtype (of
                float32 where that has fewer digits: functions of 16 bits compute in it)
    8 apart     where a `ref` is given whose value is a little away from f's: apart is how far, and
                the gradients may be as far from each other
"""

from collections.abc import Iterable
from typing import Any

import numpy as np

from jaxnet.checking.arrays import Array, distance, largest
from jaxnet.checking.findings import Finding, Verdict
from jaxnet.checking.problem import Problem, eps_of

ROOM = 64  # as for a rule that sums in another order (arrays.tolerance)
# Of the largest number, at points that were made: tails may be approximate.
FAR = ROOM * eps_of(np.float32)
# The same where numbers are of another size, of what is approximate at the arguments given.
COARSE = 0.5
OF_APART = 8  # a slope is a little farther off than its value
# From here on a ref is another function than f, and not another way to compute it.
ANOTHER = float(np.sqrt(eps_of(np.float32)))
LARGE, FAR_NEARER = 8, 64  # what is at least an eighth of the largest; far nearer than that


def rtol_of(problem: Problem, apart: float = 0.0) -> float:
    """apart: as below, of what was run."""
    if problem.rtol is not None:
        return problem.rtol
    of_dtype = min(max(eps_of(x.dtype) for x in problem.leaves), eps_of(np.float32))
    return max(ROOM * of_dtype, OF_APART * apart if apart < ANOTHER else 0.0)


def apart(problem: Problem, run: Any) -> float:
    """How far the value of the `ref` that was given is from f's, relative to the largest."""
    if not problem.ref_is_given:
        return 0.0
    pairs = zip(run.value, run.ref_value, strict=True)
    return max(_relative(distance(v, ref), ref) for v, ref in pairs)


def is_another(problem: Problem, here: Any, there: Any) -> bool:
    """Whether a `ref` that computes what f does at one run is another function at the other."""
    return apart(problem, here) < ANOTHER <= apart(problem, there)


def _relative(error: Array, t: Array) -> float:
    worst, size = float(np.max(np.nan_to_num(error, nan=np.inf), initial=0)), largest(t)
    if size:
        return worst / size
    return 0.0 if np.isfinite(worst) else np.inf


def off(r: Array, t: Array) -> float:
    """How far r is from t at most, relative to the largest |t|."""
    return _relative(distance(r, t), t)


def is_near(r: Array, t: Array, rtol: float) -> Array:
    """Where r is within rtol of the largest |t|.

    Where all that is large is far nearer, what is off in small elements alone is another formula
    there: then rtol is of each element itself.
    """
    error, size = distance(r, t), largest(t)
    near: Array = (error <= rtol * size) & np.isfinite(r)  # two NaN are no distance apart
    of_all = np.max(error, initial=0, where=near)
    of_large = np.max(error, initial=0, where=near & (np.abs(t) >= size / LARGE))
    return near if of_large >= of_all / FAR_NEARER else near & (error <= rtol * np.abs(t))


def verdict_of(bad: Array, r: Array, t: Array, rtol: float) -> Verdict:
    """Of an r that is off t where it is bad."""
    far = bad & ~is_near(r, t, rtol)
    return Verdict.WRONG if far.any() else Verdict.APPROXIMATE


def wrong_or_approximate(findings: Iterable[Finding]) -> list[Finding]:
    """Those that are wrong; if none is, those that are approximate, one of each leaf."""
    found = list(findings)
    wrong = [f for f in found if f.verdict is Verdict.WRONG]
    approximate = [f for f in reversed(found) if f.verdict is Verdict.APPROXIMATE]
    return wrong or list({f.leaf: f for f in approximate}.values())


def said(off: float, rtol: float) -> str:
    return f"off by {off:.1e} of the largest element, where {rtol:.1e} is allowed"
