"""What came of the verdicts that are not ok, each looked into without jaxnet."""

from trial.outcomes import Kind, Known

ESTIMATED = "an estimator of the mean's derivative: with 400,000 samples the exact one to 2 digits"
IMPLICIT = "an implicit reparameterization, and that it is (mpmath); the path's is another"
ROUNDED = "the cotangent is rounded to float8 on its way, which is what it is for"

KNOWN: dict[str, Known] = {
    # A constant that is not multiplied by the cotangent: with one of 1 nothing shows.
    "exojax.special.faddeeva.rewofzx": Known(
        Kind.FAULT, "in y the term -2/sqrt(pi) is not multiplied by the cotangent"
    ),
    "numpyro.distributions.DoublyTruncatedPowerLaw its log_prob": Known(
        Kind.FAULT,
        "in low and high it is the derivative of the density, not of its logarithm; high's sign",
    ),
    "tensorflow_probability.substrates.jax.math.hpsd_quadratic_form_solve": Known(
        Kind.FAULT,
        "in rhs it is 2 A^-1 rhs g, and right is A^-1 rhs (g + gT): of symmetric cotangents alone",
    ),
    "tensorflow_probability.substrates.jax.distributions.NoncentralChi2 its cdf": Known(
        Kind.FAULT, "in df it is 0 (the backward returns None), where differences are not"
    ),
    "numpyro.distributions.DoublyTruncatedPowerLaw its cdf": Known(
        Kind.FAULT,
        "above and below the support the value is constant, and its derivative is not 0",
        at=([0.2, 5.0], [1.2, 1.2], [0.5, 0.5], [3.0, 3.0]),
    ),
    "numpyro.distributions.DoublyTruncatedPowerLaw its icdf": Known(
        Kind.FAULT,
        "in alpha it is NaN where low is 0, as it may be",
        at=([0.3], [1.2], [0.0], [3.0]),
    ),
    "distrax._src.utils.math.power_no_nan": Known(
        Kind.FAULT, "in y it is NaN where x is 0 and y above", at=([0.0], [1.5])
    ),
    "folx.wrapped_functions.complex_abs of complex numbers": Known(
        Kind.FAULT,
        "it is NaN at 0, where that of jnp.abs, for which it stands, is 0",
        at=([0.0], [0.0]),
    ),
    **{
        f"ott.math.utils.norm{more}": Known(
            Kind.FAULT, "at 0 the value that is differentiated is the norm of ones"
        )
        for more in ("", " along an axis")
    },
    "jax.numpy.linalg.slogdet by QR": Known(
        Kind.FAULT,
        "of numbers whose squares overflow the value that is differentiated is infinite",
        ("imprecise",),
    ),
    "flax.nnx.custom_vjp of a module, called in the forward": Known(
        Kind.FAULT, "grad of grad is 0, where differences of the gradient are not"
    ),
    "tensorflow_probability.substrates.jax.math.log_gamma_difference": Known(
        Kind.BY_DESIGN,
        "a difference of two digammas, as a comment there says: 121 eps are lost (mpmath)",
        ("imprecise",),
    ),
    **{
        f"tensorflow_probability.substrates.jax.distributions.{name} a sample": Known(
            Kind.BY_DESIGN, IMPLICIT
        )
        for name in ("Gamma", "InverseGaussian", "StudentT", "TwoPieceNormal", "VonMises")
    },
    **{
        f"jaxopt.perturbations.make_perturbed_{name}": Known(Kind.BY_DESIGN, ESTIMATED)
        for name in ("argmax", "fun", "max")
    },
    "jaxopt.GradientDescent": Known(
        Kind.BY_DESIGN,
        "it ends at a tolerance: in float32 its value is 5e-4 off, and its gradient 3e-4",
        ("wrong", "imprecise"),
    ),
    "jax_md.space.transform": Known(
        Kind.BY_DESIGN,
        "the cotangent of fractional positions is left in real space, as its docstring says",
    ),
    "jax_md._energy.electrostatics.transform_gradients": Known(
        Kind.BY_DESIGN, "its value is its argument: only the derivative is transformed"
    ),
    "jax_md.rigid_body.quaternion_rotate": Known(
        Kind.CONVENTION, "the part that would change a unit quaternion's length is taken off"
    ),
    "ott.solvers.linear.solve implicitly": Known(
        Kind.CONVENTION,
        "a potential is known up to a constant: without its mean the two agree",
        ("wrong", "error"),
    ),
    "mujoco.mjx._src.collision_sdf._cylinder": Known(
        Kind.BY_DESIGN, "the gradient is that of the position; of the size there is none"
    ),
    "aqt.jax.v2.aqt_dot_general.dot_general_make in int8": Known(
        Kind.BY_DESIGN, "the backward multiplies what the forward has rounded to int8"
    ),
    "qwix._src.core.conv_general_qt.conv_general_qt in int8": Known(
        Kind.BY_DESIGN,
        "it keeps what was rounded to int8: no second derivative passes straight through that",
    ),
    "haliax._src.fp8.out_qdq": Known(Kind.BY_DESIGN, ROUNDED, ("imprecise",)),
    "flax.linen.fp8_ops.out_qdq": Known(Kind.BY_DESIGN, ROUNDED, ("imprecise",)),
    "flax.linen.fp8_ops.fp8_scaled_dot_general": Known(
        Kind.BY_DESIGN, "the backward multiplies what was rounded to float8, and so its cotangent"
    ),
}
