"""What `jaxnet.both_modes` makes of other libraries' calls, whose rules have reverse mode alone.

Each call is a function of one array. Beside one another: whether jax.jvp of it raises as it stands;
how far, by both_modes, its tangent is from what its own backward says; and which of the four orders
of a Hessian can be had. Libraries that are not installed are left out.
"""

import argparse
import functools
import importlib.util
import itertools
import warnings
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from common.files import write_json

from benchmarks.environment import environment, in_words, print_paragraph, version
from jaxnet import both_modes

Make = Callable[[], tuple[Callable[[Any], Any], Any]]  # -> the function, and where it is looked at

CALLS: dict[tuple[str, str], Make] = {}  # by module and what is called


def call(module: str, name: str) -> Callable[[Make], Make]:
    def add(make: Make) -> Make:
        CALLS[module, name] = make
        return make

    return add


DISTRIBUTIONS = {"ott": "ott-jax", "jax_finufft": "jax-finufft"}  # others are called as the module
ROWS, TARGETS = np.cos(np.arange(18.0)).reshape(6, 3), np.sin(np.arange(6.0))
VECTOR, POINTS = np.array([0.5, 0.3, -0.2]), np.cos(np.arange(8.0)).reshape(4, 2)


# -- jaxopt: solvers that are differentiated by the conditions of the optimum


def ridge(w: Any, weight: Any) -> Any:
    return jnp.mean((ROWS @ w - TARGETS) ** 2) + weight.sum() * jnp.sum(w**2)


def solved(solver: str, *start: Any) -> tuple[Callable[[Any], Any], Any]:
    import jaxopt

    rest = (jaxopt.projection.projection_non_negative,) if solver == "ProjectedGradient" else ()
    made = getattr(jaxopt, solver)(ridge, *rest, maxiter=2000, tol=1e-12, implicit_diff=True)
    return lambda weight: made.run(*start, weight).params, np.full(2, 0.5)


@call("jaxopt", "GradientDescent")
def _gradient_descent() -> Any:
    return solved("GradientDescent", np.zeros(3))


@call("jaxopt", "LBFGS")
def _lbfgs() -> Any:
    return solved("LBFGS", np.zeros(3))


@call("jaxopt", "ProjectedGradient")
def _projected_gradient() -> Any:
    return solved("ProjectedGradient", np.ones(3), None)


@call("jaxopt", "FixedPointIteration")
def _fixed_point() -> Any:
    import jaxopt

    def step(x: Any, factor: Any) -> Any:
        return 0.5 * jnp.cos(x) * factor

    solver = jaxopt.FixedPointIteration(step, maxiter=500, tol=1e-13, implicit_diff=True)
    return lambda factor: solver.run(jnp.zeros(3), factor).params, np.full(3, 0.5)


@call("jaxopt", "EqualityConstrainedQP")
def _equality_constrained() -> Any:
    import jaxopt

    solver, sums = jaxopt.EqualityConstrainedQP(), (np.ones((1, 3)), np.ones(1))
    return (lambda c: solver.run(params_obj=(np.eye(3), c), params_eq=sums).params.primal), VECTOR


@call("jaxopt", "BoxOSQP")
def _box() -> Any:
    import jaxopt

    solver, box = jaxopt.BoxOSQP(tol=1e-10, maxiter=20000), (-np.ones(3), np.ones(3))
    fixed = {"params_eq": np.eye(3), "params_ineq": box}
    return (lambda c: solver.run(params_obj=(np.eye(3), c), **fixed).params.primal[0]), VECTOR


# -- ott: optimal transport


@call("ott", "softmin")
def _softmin() -> Any:
    from ott.math import utils

    return (lambda x: utils.softmin(x, 0.1, axis=1)), POINTS


@call("ott", "RegTICost.h_legendre")
def _legendre() -> Any:
    from ott.geometry import costs, regularizers

    return costs.RegTICost(regularizers.L1()).h_legendre, np.array([0.8, -1.0, 2.0])


def square_root(name: str) -> tuple[Callable[[Any], Any], Any]:
    from ott.math import matrix_square_root

    def root(x: Any) -> Any:
        roots = getattr(matrix_square_root, name)(x @ x.T + 3 * jnp.eye(3))
        return roots[0] if isinstance(roots, tuple) else roots

    return root, ROWS[:3]


@call("ott", "sqrtm")
def _sqrtm() -> Any:
    return square_root("sqrtm")


@call("ott", "inv_sqrtm_only")
def _inv_sqrtm() -> Any:
    return square_root("inv_sqrtm_only")


def potential(**options: Any) -> tuple[Callable[[Any], Any], Any]:
    from ott.geometry import pointcloud
    from ott.solvers import linear

    def f(x: Any) -> Any:
        points = pointcloud.PointCloud(x, 0.5 * POINTS + 0.2, epsilon=0.5)
        return linear.solve(points, threshold=1e-10, max_iterations=3000, **options).f

    return f, POINTS


@call("ott", "Sinkhorn, implicit")
def _implicit() -> Any:
    return potential()


@call("ott", "Sinkhorn, unrolled")
def _unrolled() -> Any:
    return potential(implicit_diff=None)


# -- others


@call("equinox", "filter_custom_vjp")
def _filtered() -> Any:
    import equinox

    @equinox.filter_custom_vjp
    def sine(x: Any) -> Any:
        return jnp.sin(x)

    sine.def_fwd(lambda perturbed, x: (jnp.sin(x), x))
    sine.def_bwd(lambda kept, c, perturbed, x: c * jnp.cos(kept))
    return sine, VECTOR


@call("equinox", "while_loop, checkpointed")
def _checkpointed() -> Any:
    import equinox.internal

    def looped(x: Any) -> Any:
        turn = (lambda s: s[0] < 3), (lambda s: (s[0] + 1, jnp.sin(s[1])))
        return equinox.internal.while_loop(*turn, (0, x), max_steps=8, kind="checkpointed")[1]

    return looped, VECTOR


@call("folx", "multi_head_self_attention")
def _in_a_kernel() -> Any:
    from folx.experimental.pallas.attention import multi_head_self_attention

    x, mask = np.sin(np.arange(256.0)).reshape(1, 16, 1, 16), np.ones((1, 16), bool)
    return (lambda q: multi_head_self_attention(q, x, x, mask, mask, None, interpret=True)), x


@call("s2fft", "ssht_inverse")
def _sphere_on_the_host() -> Any:
    from s2fft.transforms.c_backend_spherical import ssht_inverse

    flm = np.sin(np.arange(28.0)).reshape(4, 7)
    return (lambda flm: ssht_inverse(flm + 0j, 4, 0, 0, 0, 0).real), flm


@call("s2fft", "inverse")
def _sphere() -> Any:
    import s2fft

    flm = np.sin(np.arange(28.0)).reshape(4, 7)
    return (lambda flm: s2fft.inverse(flm + 0j, 4, method="jax").real), flm


@call("jax_finufft", "nufft1")
def _not_uniform() -> Any:
    from jax_finufft import nufft1

    return (lambda x: nufft1(6, x + 0j, np.linspace(-3, 3, 3)).real), VECTOR


# -- what is asked


class Row(NamedTuple):
    """What was seen of one call: why it raises, or "" where it does not."""

    before: str  # jax.jvp, as it stands
    now: str  # jax.jvp by both_modes
    distance: float  # of that from the backward, relative
    orders: dict[str, str]  # each order of a Hessian

    def said(self) -> list[str]:
        return [why for why in (self.now, *self.orders.values()) if why]


def ask(f: Callable[[Any], Any], x: Any) -> Row:
    g = both_modes(f)
    before = tried(lambda: jax.jvp(f, (x,), (x,)))[1]
    distance, now = tried(lambda: from_its_backward(f, g, x))
    return Row(before, now, distance or 0.0, orders(g, x))


MODES = {"forward": jax.jacfwd, "reverse": jax.jacrev}


def orders(g: Callable[[Any], Any], x: Any) -> dict[str, str]:
    def hessian(outer: str, inner: str) -> Any:
        return MODES[outer](MODES[inner](lambda x: jnp.sum(g(x) ** 2)))(x)

    pairs = itertools.product(MODES, repeat=2)
    return {
        f"{outer} over {inner}": tried(functools.partial(hessian, outer, inner))[1]
        for outer, inner in pairs
    }


def pulled_back(f: Callable[[Any], Any]) -> Callable[[Any], Any]:
    def pulled(x: Any) -> Any:
        y, pull = jax.vjp(f, x)
        return pull(y)

    return pulled


def tried(asked: Callable[[], Any]) -> tuple[Any, str]:
    """What it gives, or why it raises."""
    try:
        return asked(), ""
    except Exception as error:
        return None, f"{type(error).__name__}: {str(error).strip().partition(chr(10))[0]}"


def from_its_backward(f: Callable[[Any], Any], g: Callable[[Any], Any], x: Any) -> float:
    """c · J t by forward mode of g, beside Jᵀ c · t by reverse mode of f."""
    t, y = jnp.cos(jnp.arange(x.size, dtype=x.dtype)).reshape(x.shape), f(x)
    c = jnp.sin(1 + jnp.arange(y.size, dtype=y.dtype)).reshape(y.shape)
    pushed, pulled = jax.jvp(g, (x,), (t,))[1], jax.vjp(f, x)[1](c)[0]
    along = jnp.vdot(pulled, t)
    return float(jnp.abs(jnp.vdot(c, pushed) - along) / jnp.abs(along))


HEAD = """\
| call | `jax.jvp` | of `both_modes`: from its backward | orders of the Hessian |
|---|---|---|---|"""


def line(name: str, row: Row) -> str:
    before = "raises" if row.before else "works"
    now = "the error" if row.now else f"{row.distance:.0e}"
    had = [order for order, why in row.orders.items() if not why]
    words = {0: "none", 4: "all four"}.get(len(had), ", ".join(had))
    return f"| {name} | {before} | {now} | {words} |"


LEGEND = """\
jax.jvp: what forward mode of the call does as it stands. From its backward: how far c · J t by
forward mode of both_modes is from Jᵀ c · t by the library's own backward, relative, in float64; or
the error, which says that the backward has no transpose. Orders: forward and reverse mode, each
over each."""


def run(options: argparse.Namespace) -> None:
    warnings.filterwarnings("ignore")
    about = environment()
    print_paragraph(in_words(about))
    print(HEAD, flush=True)
    rows, notes = {}, []
    for (module, called), make in CALLS.items():
        if importlib.util.find_spec(module) is None:
            continue
        library = DISTRIBUTIONS.get(module, module)
        name = f"{library} {version(library)}: `{called}`"
        with jax.enable_x64(True):
            f, x = make()
            x = jnp.asarray(x)
            why = tried(functools.partial(jax.eval_shape, pulled_back(f), x))[1]
            if why:
                notes.append(f"{name} has no reverse mode under jax.jit here: {why}")
                continue
            row = rows[name] = ask(f, x)
        print(line(name, row), flush=True)
        notes += [f"{name}: {why}" for why in row.said()[:1]]
    print()
    for text in (LEGEND, *notes):
        print_paragraph(text)
    if options.json:
        content = {name: row._asdict() for name, row in rows.items()}
        write_json(options.json, {"environment": about, "libraries": content, "notes": notes})
