"""What a gradient that is not the derivative may be on purpose: said beside the verdict."""

import numpy as np

from jaxnet.checking.arrays import Array, tolerance
from jaxnet.checking.bench import Bench, Look

FLAT = (
    "the function is flat here: of a straight-through or surrogate gradient, ref= says of which "
    "function it is, and by_design= that it is meant"
)
OF_A_DRAW = (
    "random numbers are drawn inside, and the truth is the derivative along the path of this draw: "
    "an implicit reparameterization has another, and so ref= or by_design="
)
FLOAT8 = "autodiff of a cast to float8 rounds the cotangent to float8 too: that is the truth here"
SYMMETRIC = "its symmetric part is right: of symmetric matrices that is all there is"


def convention_of(bench: Bench, look: Look, k: int) -> str:
    """For leaf k, "" where there is none."""
    r, t = look.rule(bench.plain, k), look.ref(bench.plain, k)
    if _is_right_where_symmetric(r, t, bench.eps):
        return SYMMETRIC
    if bench.programs.draws:
        return OF_A_DRAW
    if bench.programs.casts_to_float8:
        return FLOAT8
    return FLAT if r.any() and not t.any() else ""


def _is_right_where_symmetric(r: Array, t: Array, eps: float) -> bool:
    """Whether r + rᵀ is t + tᵀ, of square matrices."""
    if r.ndim < 3 or r.shape[-1] != r.shape[-2] or r.shape[-1] == 1 or not t.any():
        return False
    with np.errstate(all="ignore"):
        of_r, of_t = (a + np.swapaxes(a, -1, -2) for a in (r, t))
        return bool((np.abs(of_r - of_t) <= tolerance(of_t, 0.0, eps)).all())
