"""Every rule of the library against autodiff of its own body, float64 and the textbook."""

import importlib
import pkgutil

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from cases import CASES
from gradients import assert_right_under_transforms, cast, verify

import jaxnet.rules

POINTS = [
    pytest.param(f, point, case.textbook, id=f"{case.rule.__name__}{options or ''}-{name}")
    for case in CASES
    for f, options in zip(case.functions(), case.options, strict=True)
    for name, point in case.points.items()
]


@pytest.mark.parametrize(("f", "point", "textbook"), POINTS)
def test_rule_is_right(f, point, textbook, x64):
    verify(f, point)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.rule.__name__)
def test_rule_is_right_under_transforms(case, x64):
    for point in list(case.points.values())[:2]:
        assert_right_under_transforms(case.rule, point)


@pytest.mark.parametrize(("f", "point", "textbook"), POINTS)
def test_value_is_the_textbooks(f, point, textbook, x64):
    args = cast(point, np.float64)
    np.testing.assert_allclose(f(*args), textbook(*args), rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16, jnp.float16, jnp.float64])
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.rule.__name__)
def test_value_keeps_the_dtype(case, dtype, x64):
    args = cast(next(iter(case.points.values())), dtype)
    assert case.rule(*args).dtype == dtype
    assert jax.jit(case.rule)(*args).dtype == dtype


def test_every_rule_has_a_row():
    found = set()
    for module in pkgutil.iter_modules(jaxnet.rules.__path__, "jaxnet.rules."):
        members = vars(importlib.import_module(module.name)).values()
        found |= {member for member in members if isinstance(member, jaxnet.rule)}
    assert found == {case.rule for case in CASES}
