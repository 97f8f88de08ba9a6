"""Lineax, Optimistix, Diffrax, JAXopt, OTT and softjax: what is solved, and projected."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
from corpus import normal, uniform

from trial import call
from trial.statistics import together

VECTOR, POSITIVE = normal((4,)), uniform(0.5, 2.0, (3,))

# ---- Lineax

call("lineax.internal.two_norm", VECTOR)
call("lineax.internal.rms_norm", VECTOR)
call("lineax.internal.max_norm", VECTOR)
call("lineax.internal.two_norm of one number", normal((1,)))

# ---- Optimistix


def turned(y, w):
    return w * jnp.cos(y) + 0.3 * y


def root(find):
    import optimistix

    def f(w):
        solver = optimistix.Newton(rtol=1e-7, atol=1e-7)
        return find(lambda y, w: y - turned(y, w), solver, jnp.zeros(3), args=w).value

    return f


def fixed(find):
    import optimistix

    def f(w):
        solver = optimistix.FixedPointIteration(rtol=1e-7, atol=1e-7)
        return find(turned, solver, jnp.zeros(3), args=w, max_steps=512).value

    return f


def lowest(minimise):
    import optimistix

    def f(w):
        solver = optimistix.BFGS(rtol=1e-7, atol=1e-7)
        found = minimise(lambda y, w: jnp.sum(jnp.cosh(y - w)), solver, jnp.zeros(3), args=w)
        return found.value

    return f


def nearest(least_squares):
    import optimistix

    def f(w):
        solver = optimistix.LevenbergMarquardt(rtol=1e-7, atol=1e-7)
        return least_squares(lambda y, w: jnp.sinh(y) - w, solver, jnp.zeros(3), args=w).value

    return f


SMALL = uniform(0.2, 0.5, (3,))
call("optimistix.root_find", SMALL, root)
call("optimistix.fixed_point", SMALL, fixed)
call("optimistix.minimise", SMALL, lowest)
call("optimistix.least_squares", SMALL, nearest)

# ---- Diffrax


def decay(solve, adjoint):
    import diffrax

    def f(y, w):
        return solve(
            diffrax.ODETerm(lambda t, y, w: -w * y),
            diffrax.Tsit5(),
            0.0,
            0.5,
            0.05,
            y,
            args=w,
            adjoint=getattr(diffrax, adjoint)(),
        ).ys[0]

    return f


TWO = uniform(0.5, 1.5, (2,), (2,))
for adjoint in ("RecursiveCheckpointAdjoint", "BacksolveAdjoint", "DirectAdjoint"):
    call(f"diffrax.diffeqsolve by {adjoint}", TWO, functools.partial(decay, adjoint=adjoint))

# ---- JAXopt

for name in ("projection_simplex", "projection_l1_ball", "projection_l1_sphere"):
    # So small that no vertex is the nearest point, where all slopes are 0.
    call(f"jaxopt.projection.{name}", VECTOR, lambda project: lambda x: project(0.5 * x))
call(
    "jaxopt.projection.projection_transport",
    normal((3, 2)),
    lambda project: lambda x: project(x, (np.ones(3, "float32") / 3, np.ones(2, "float32") / 2)),
)
RNG_KEY = np.array([0, 1], "uint32")


def perturbed(make, function):
    pert = make(function, num_samples=20, sigma=0.5)
    return lambda x: pert(x, jax.random.wrap_key_data(jnp.asarray(RNG_KEY)))


call(
    "jaxopt.perturbations.make_perturbed_argmax",
    VECTOR,
    lambda make: perturbed(make, lambda x: jax.nn.one_hot(jnp.argmax(x), 4)),
)
call(
    "jaxopt.perturbations.make_perturbed_max",
    VECTOR,
    lambda make: perturbed(make, lambda x: jax.nn.one_hot(jnp.argmax(x), 4)),
)
call(
    "jaxopt.perturbations.make_perturbed_fun",
    VECTOR,
    lambda make: perturbed(make, lambda x: jnp.max(x)),
)
ROWS, TARGETS = np.cos(np.arange(18.0)).reshape(6, 3), np.cos(3 * np.arange(6.0))


def ridge(w, weight):
    rows, targets = jnp.asarray(ROWS, w.dtype), jnp.asarray(TARGETS, w.dtype)
    return jnp.mean((rows @ w - targets) ** 2) + jnp.sum(weight * w**2)


def solved(made, *rest, start=lambda zero: (zero,)):
    solver = made(ridge, *rest, maxiter=2000, tol=1e-7, implicit_diff=True)
    return lambda weight: solver.run(*start(jnp.zeros_like(weight)), weight).params


def least_of_ridge(weight):
    """What they look for: the derivative of the iterations has far fewer digits than they have."""
    rows, targets = jnp.asarray(ROWS, weight.dtype), jnp.asarray(TARGETS, weight.dtype)
    return jnp.linalg.solve(rows.T @ rows / 6 + jnp.diag(weight), rows.T @ targets / 6)


for name in ("GradientDescent", "LBFGS", "BFGS", "NonlinearCG"):
    call(f"jaxopt.{name}", POSITIVE, solved, ref=least_of_ridge)


def boxed(made):
    from jaxopt.projection import projection_non_negative

    return solved(made, projection_non_negative, start=lambda zero: (1 + zero, None))


call("jaxopt.ProjectedGradient", POSITIVE, boxed)


def step(x, factor):
    return 0.5 * jnp.cos(x) * factor


def iterated(made):
    solver = made(step, maxiter=500, tol=1e-7, implicit_diff=True)
    return lambda factor: solver.run(jnp.zeros_like(factor), factor).params


for name in ("FixedPointIteration", "AndersonAcceleration"):
    call(
        f"jaxopt.{name}",
        uniform(0.3, 0.8, (3,)),
        iterated,
        options={"domain": {"factor": (0, 1.9)}},  # where step contracts
    )


def crossing(made):
    options = {"maxiter": 60, "tol": 1e-7, "check_bracket": False}
    solver = made(lambda x, w: x**3 + x - w, -3.0, 3.0, **options)
    return lambda w: solver.run(None, w).params


def where_it_crosses(w):
    """Halves of an interval are a flat function of w: nothing but the root has a slope."""
    return 2 / 3**0.5 * jnp.sinh(jnp.asinh(1.5 * 3**0.5 * w) / 3)


call(
    "jaxopt.Bisection",
    lambda rng: (jnp.asarray(rng.uniform(0.5, 2.0), "float32"),),
    crossing,
    ref=where_it_crosses,
)
call(
    "jaxopt.implicit_diff.custom_root",
    POSITIVE,
    lambda custom_root: (
        lambda x: custom_root(lambda y, x: y * y - x)(lambda start, x: jnp.sqrt(x))(None, x)
    ),
)

# ---- OTT

POINTS = normal((4, 2))
call("ott.math.utils.norm", VECTOR)
call("ott.math.utils.norm along an axis", normal((3, 2)), lambda norm: lambda x: norm(x, axis=-1))
call("ott.math.utils.logsumexp", normal((3, 4)), lambda f: lambda x: f(x, axis=-1))
call(
    "ott.math.utils.logsumexp with weights",
    together(normal((3, 4)), uniform(0.3, 1.0, (3, 4))),
    lambda f: lambda x, b: f(x, axis=-1, b=b),
)
call("ott.math.utils.lambertw", POSITIVE)
call("ott.math.utils.softmin", normal((3, 4)), lambda f: lambda x: f(x, 0.1, axis=1))
call(
    "ott.geometry.costs.RegTICost its legendre transform",
    normal((3,), scale=2.0),
    lambda made: made(found_regularizer()).h_legendre,
)


def found_regularizer():
    from ott.geometry import regularizers

    return regularizers.L1()


call(
    "ott.geometry.costs.Euclidean",
    normal((3,), (3,)),
    lambda made: lambda x, y: made()(x, y),
)


def square_root(f):
    def root(x):
        roots = f(x @ x.T + 3 * jnp.eye(3))
        return roots[0] if isinstance(roots, tuple) else roots

    return root


for name in ("sqrtm", "sqrtm_only", "inv_sqrtm_only"):
    call(f"ott.math.matrix_square_root.{name}", normal((3, 3)), square_root)


def potential(solve, **options):
    from ott.geometry import pointcloud

    def f(x):
        points = pointcloud.PointCloud(x, 0.5 * x[::-1] + 0.2, epsilon=0.5)
        return solve(points, threshold=1e-6, max_iterations=2000, **options).f

    return f


call("ott.solvers.linear.solve implicitly", POINTS, potential)


def centred(solve):
    """What is known of a potential: not the constant that may be added."""
    potential_of = potential(solve)

    def f(x):
        y = potential_of(x)
        return y - jnp.mean(y)

    return f


# Where the iterations stop, their own derivative is 3e-5 from its limit, the rule 2e-6.
call(
    "ott.solvers.linear.solve implicitly, centred",
    POINTS,
    centred,
    options={"rtol": 1e-4},
)
call(
    "ott.solvers.linear.solve unrolled",
    POINTS,
    lambda solve: potential(solve, implicit_diff=None),
)

# ---- softjax

SIMPLEX = "softjax.projections_simplex"
for power in ("q2", "q3", "q4"):
    call(f"{SIMPLEX}._proj_unit_simplex_pnorm_{power}", VECTOR)
PERMUTAHEDRON = "softjax.projections_permutahedron"
for kind in ("pnorm_q2", "pnorm_q3", "pnorm_q4", "entropic"):
    call(
        f"{PERMUTAHEDRON}._proj_permutahedron_{kind}",
        lambda rng: (*VECTOR(rng), jnp.sort(VECTOR(rng)[0])[::-1]),
    )
