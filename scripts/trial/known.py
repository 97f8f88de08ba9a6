"""What came of the verdicts that are not ok, each looked into without jaxnet."""

from trial.outcomes import Kind, Known

KNOWN: dict[str, Known] = {
    "jax_md.space.transform": Known(
        Kind.BY_DESIGN,
        "the cotangent of fractional positions is left in real space, as its docstring says",
    ),
    "jax_md._energy.electrostatics.transform_gradients": Known(
        Kind.BY_DESIGN,
        "its value is its argument; only the derivative is transformed, as a comment says",
    ),
    "jax_md.rigid_body.quaternion_rotate": Known(
        Kind.CONVENTION,
        "the part along a unit quaternion, which changes its length alone, is taken off",
    ),
}
