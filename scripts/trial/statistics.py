"""TensorFlow Probability on JAX, NumPyro, Distrax."""

import jax
import jax.numpy as jnp
import numpy as np
from corpus import normal, uniform

from trial import call

TFP = "tensorflow_probability.substrates.jax"
POSITIVE, INSIDE = uniform(0.4, 2.5, (4,)), uniform(0.1, 0.9, (4,))
TWO_POSITIVE, VECTOR = uniform(0.5, 3.0, (3,), (3,)), normal((4,))


def together(*makers):
    """rng -> the arguments that each of them makes, one behind the other."""
    return lambda rng: sum((make(rng) for make in makers), ())


# ---- TFP: special functions

ORDER = np.array([0.5, 1.2, 2.7])


def of_order(bessel):
    """Of the argument alone: of the order they have no derivative, and say so."""
    return lambda z: bessel(jnp.asarray(ORDER, z.dtype), z)


for name in ("bessel_iv_ratio", "bessel_ive", "bessel_kve", "log_bessel_ive", "log_bessel_kve"):
    call(f"{TFP}.math.{name}", uniform(0.5, 3.0, (3,)), of_order)
call(f"{TFP}.math.log_cosh", VECTOR)
call(f"{TFP}.math.betainc", together(TWO_POSITIVE, uniform(0.1, 0.9, (3,))))
call(f"{TFP}.math.betaincinv", together(TWO_POSITIVE, uniform(0.1, 0.9, (3,))))
call(f"{TFP}.math.dawsn", VECTOR)
call(f"{TFP}.math.erfcx", VECTOR)
call(f"{TFP}.math.igammainv", together(uniform(0.5, 3.0, (3,)), uniform(0.1, 0.9, (3,))))
call(f"{TFP}.math.igammacinv", together(uniform(0.5, 3.0, (3,)), uniform(0.1, 0.9, (3,))))
call(f"{TFP}.math.lambertw", POSITIVE)
call(f"{TFP}.math.log_gamma_difference", together(POSITIVE, uniform(9.0, 20.0, (4,))))
call(f"{TFP}.math.lbeta", TWO_POSITIVE)
call(f"{TFP}.math.owens_t", normal((3,), (3,)))
call(
    f"{TFP}.math.hypergeometric.hyp2f1_small_argument",
    together(uniform(0.5, 2.0, (3,), (3,)), uniform(2.5, 4.0, (3,)), uniform(0.1, 0.6, (3,))),
)
call(f"{TFP}.distributions.student_t.stdtr", together(uniform(2.0, 6.0, (3,)), normal((3,))))
call(
    f"{TFP}.distributions.student_t.stdtrit",
    together(uniform(2.0, 6.0, (3,)), uniform(0.1, 0.9, (3,))),
)
call(
    f"{TFP}.distributions.von_mises.von_mises_cdf",
    together(normal((3,)), uniform(0.5, 4.0, (3,))),
    lambda cdf: lambda x, concentration: cdf(x, concentration),
    options={"domain": {"concentration": "positive"}},
)
call(
    f"{TFP}.distributions.NoncentralChi2 its cdf",
    together(uniform(2.0, 4.0, (2,)), uniform(0.5, 2.0, (2,)), uniform(1.0, 4.0, (2,))),
    lambda made: lambda df, shift, x: made(df, shift).cdf(x),
)
MANUAL = f"{TFP}.experimental.math.manual_special_functions"
call(f"{MANUAL}.exp_pade_4_4", VECTOR)
call(f"{MANUAL}.log_pade_4_4", POSITIVE)
call(f"{MANUAL}.expm1_pade_4_4", VECTOR)
call(f"{MANUAL}.log1p_pade_4_4", POSITIVE)
call(
    f"{TFP}.math.psd_kernels.internal.util.sqrt_with_finite_grads",
    POSITIVE,
)
call(f"{TFP}.bijectors.Softplus", VECTOR, lambda made: made(low=0.3).forward)

# ---- TFP: positive definite matrices


def positive_definite(a):
    return a @ a.T + 3 * jnp.eye(3)


MATRIX_AND_TWO = normal((3, 3), (3, 2))
call(
    f"{TFP}.math.hpsd_logdet",
    normal((3, 3)),
    lambda of: lambda a: of(positive_definite(a)),
)
call(
    f"{TFP}.math.hpsd_solve",
    MATRIX_AND_TWO,
    lambda solve: lambda a, b: solve(positive_definite(a), b),
)
call(
    f"{TFP}.math.hpsd_quadratic_form_solve",
    MATRIX_AND_TWO,
    lambda solve: lambda a, b: solve(positive_definite(a), b),
)
call(
    f"{TFP}.math.hpsd_quadratic_form_solvevec",
    normal((3, 3), (3,)),
    lambda solve: lambda a, b: solve(positive_definite(a), b),
)

# ---- TFP: samplers, whose derivative is the one along the path of a draw


def drawn(distribution, *more):
    """One draw of it, as a function of its parameters."""
    return lambda *parameters: distribution(*parameters, *more).sample(seed=jax.random.key(3))


call(f"{TFP}.distributions.Gamma a sample", TWO_POSITIVE, drawn)
call(f"{TFP}.distributions.VonMises a sample", TWO_POSITIVE, drawn)
call(f"{TFP}.distributions.StudentT a sample", uniform(2.0, 4.0, (3,), (3,), (3,)), drawn)
call(f"{TFP}.distributions.TwoPieceNormal a sample", uniform(0.5, 2.0, (3,), (3,), (3,)), drawn)
call(f"{TFP}.distributions.InverseGaussian a sample", TWO_POSITIVE, drawn)

# ---- NumPyro

call("numpyro.distributions.util.log1mexp", lambda rng: (-POSITIVE(rng)[0],))
LOW_HIGH = together(uniform(0.3, 0.8, (3,)), uniform(2.5, 4.0, (3,)))


def truncated(method, inside):
    def of(made):
        def f(inside, alpha, low, high):
            return getattr(made(alpha, low, high), method)(inside)

        return f

    return of, together(inside, uniform(0.5, 2.0, (3,)), LOW_HIGH)


for method, inside in (
    ("log_prob", uniform(1.0, 2.0, (3,))),
    ("cdf", uniform(1.0, 2.0, (3,))),
    ("icdf", uniform(0.1, 0.9, (3,))),
):
    of, args = truncated(method, inside)
    call(f"numpyro.distributions.DoublyTruncatedPowerLaw its {method}", args, of)


# ---- Distrax

call("distrax._src.utils.math.multiply_no_nan", normal((4,), (4,)))
call("distrax._src.utils.math.power_no_nan", TWO_POSITIVE)
