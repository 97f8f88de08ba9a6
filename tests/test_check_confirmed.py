"""What is bad is so with the options with which a user compiles."""

import os
import subprocess
import sys
from collections import OrderedDict

import jax.numpy as jnp
import numpy as np
import pytest
from corpus import by_hand

from jaxnet import check
from jaxnet.checking import examination, programs

WITHOUT_NAN = {"xla_cpu_enable_fast_math": True, "xla_cpu_fast_math_honor_nans": False}
X = np.array([1.0, 0.0, 2.0], np.float32)


def square(guarded):
    def backward(x, dy):
        slope = 2 * x * (jnp.sin(1 / x) ** 2 + jnp.cos(1 / x) ** 2)  # NaN at 0
        return (dy * jnp.where(jnp.isnan(slope), 0, slope) if guarded else dy * slope,)

    return by_hand(lambda x: x**2, backward)


def test_a_nan_of_other_options_is_none(monkeypatch):
    assert not check(square(guarded=False), X, transforms=()).ok
    monkeypatch.setattr(programs, "compiler_options", lambda large=False: WITHOUT_NAN)
    monkeypatch.setattr(programs, "_known", OrderedDict())
    assert check(square(guarded=True), X, transforms=()).ok
    monkeypatch.setattr(examination, "_may_be_for_its_options", lambda finding: False)
    report = check(square(guarded=True), X, transforms=())
    if report.ok:
        pytest.skip("this XLA does as it does by default")
    assert "rule nan" in report.sentence()


ON_THE_SECOND = """
import jax, jax.numpy as jnp, jaxnet
seen = set()
@jax.custom_vjp
def f(x):
    seen.add(jax.config.jax_default_device)
    return jnp.sin(x)
f.defvjp(lambda x: (f(x), x), lambda x, dy: (dy * jnp.cos(x),))
x = jax.device_put(jnp.ones(2), jax.devices()[1])
assert jaxnet.check(f, x, transforms=()).ok
assert seen == {jax.devices()[1]}, seen
"""


@pytest.mark.many
def test_on_the_device_of_the_arguments():
    two = os.environ | {"XLA_FLAGS": "--xla_force_host_platform_device_count=2"}
    subprocess.run([sys.executable, "-c", ON_THE_SECOND], env=two, check=True)
