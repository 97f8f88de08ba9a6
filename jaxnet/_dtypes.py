"""The dtype that rules compute in."""

import jax.numpy as jnp
from jax import Array


def widened(x: Array) -> Array:
    """x in float32, or as it is where its dtype is wider: what is computed in less loses digits that matter."""
    return x.astype(jnp.promote_types(x.dtype, jnp.float32))
