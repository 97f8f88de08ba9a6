"""linear: where NaN goes."""

import jax.numpy as jnp
import numpy as np

from jaxnet import linear


def test_linear_passes_nan_only_where_it_goes():
    x = jnp.array([[jnp.nan, 1.0], [2.0, 3.0]])
    y = linear(x, jnp.ones((2, 2)), jnp.zeros(2))
    assert jnp.isnan(y[0]).all()
    np.testing.assert_array_equal(y[1], [5, 5])
