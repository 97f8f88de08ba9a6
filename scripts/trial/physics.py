"""exojax, JAX MD, Brax, MuJoCo MJX, folx, e3nn and e3x."""

import jax
import jax.numpy as jnp
import numpy as np
from corpus import normal, uniform

from trial import call
from trial.statistics import together

VECTOR, POSITIVE, INSIDE = normal((4,)), uniform(0.3, 2.0, (4,)), uniform(-0.9, 0.9, (4,))

# ---- exojax

call("exojax.rt.chord.safe_sqrt", POSITIVE)


def number_by_number(f):
    return jax.vmap(f)


call("exojax.special.faddeeva.rewofzx", uniform(0.3, 2.0, (3,), (3,)), number_by_number)
call("exojax.opacity.lpf.lpf.hjert", uniform(0.3, 2.0, (3,), (3,)), number_by_number)
call(
    "exojax.postproc.spin_rotation.rotkernel_Gimenez",
    together(INSIDE, uniform(0.1, 0.5, (4,), (4,))),
)
call("exojax.postproc.spin_rotation.integrated_rotkernel_trans", uniform(-0.9, 0.9, (4,), (4,)))

# ---- JAX MD

BOX = uniform(1.0, 2.0, (3, 3))
call("jax_md.space.transform", together(BOX, normal((4, 3))))
call(
    "jax_md.rigid_body.quaternion_rotate",
    lambda rng: (unit(rng.normal(size=4)), *normal((3,))(rng)),
    lambda rotate: lambda q, v: rotate(quaternion(q), v),
)


def unit(x):
    return jnp.asarray(x / np.linalg.norm(x), "float32")


def quaternion(q):
    from jax_md.rigid_body import Quaternion

    return Quaternion(q)


ROTATION = "jax_md._nn.uma.common.rotation"
call(f"{ROTATION}.safe_acos", INSIDE)
call(f"{ROTATION}.safe_atan2", normal((4,), (4,)))
call("jax_md.mm_forcefields.reaxff.reaxff_helper.safe_sqrt", POSITIVE)
call("jax_md._energy.electrostatics.transform_gradients", together(BOX, normal((4, 3))))

# ---- Brax and MuJoCo

call("brax.math.safe_arccos", INSIDE)
call("brax.math.safe_arcsin", INSIDE)
call(
    "mujoco.mjx._src.collision_sdf._cylinder",
    lambda rng: (jnp.array([0.9, 0.7, 1.4]), jnp.array([0.5, 0.8])),
)
call(
    "mujoco.mjx._src.collision_sdf._cylinder beside it",
    lambda rng: (jnp.array([0.9, 0.7, 0.3]),),
    lambda cylinder: lambda position: cylinder(position, jnp.array([0.5, 0.8])),
)

# ---- folx

call("folx.slogdet.slogdet", normal((3, 3)), lambda slogdet: lambda a: slogdet(a)[1])
call(
    "folx.wrapped_functions.complex_abs",
    VECTOR,
)
call(
    "folx.wrapped_functions.complex_abs of complex numbers",
    normal((4,), (4,)),
    lambda size: lambda x, y: size(x + 1j * y),
)

# ---- e3nn and e3x


def harmonics(spherical_harmonics, normalization, algorithm):
    import e3nn_jax

    def f(x):
        orders = e3nn_jax.Irreps("0e + 1o + 2e + 3o")
        made = spherical_harmonics(
            orders, x, normalize=False, normalization=normalization, algorithm=algorithm
        )
        return made.array

    return f


for normalization in ("norm", "integral"):
    for algorithm in (("recursive", "dense"), ("legendre", "sparse")):
        call(
            f"e3nn_jax.spherical_harmonics {normalization} {algorithm[0]}",
            normal((2, 3)),
            lambda of, n=normalization, a=algorithm: harmonics(of, n, (*a, "custom_jvp")),
        )
call("e3x.ops.safe.norm", VECTOR)
call("e3x.ops.safe.norm along an axis", normal((3, 2)), lambda norm: lambda x: norm(x, axis=-1))
call("e3x.nn.smooth_switch", uniform(0.1, 0.9, (4,)))
call(
    "e3x.nn.functions.bernstein._bernstein",
    uniform(0.1, 0.9, (4,)),
    lambda polynomials: lambda x: polynomials(x, 5),
    options={"domain": {"x": "unit"}},
)
for name in ("basic_bernstein", "reciprocal_bernstein", "exponential_bernstein"):
    limit = {"limit": 1.0} if name == "basic_bernstein" else {}
    call(
        f"e3x.nn.{name}",
        uniform(0.1, 0.9, (4,)),
        lambda polynomials, more=limit: lambda x: polynomials(x, 4, **more),
        options={"domain": {"x": "unit" if limit else "positive"}},
    )
