"""Every rule of the library against autodiff of its own body, float64 and the textbook."""

import importlib
import pkgutil
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from cases import CASES
from gradients import assert_right_under_transforms, cast, verify

import jaxnet.rules

POINTS = [
    pytest.param(f, point, partial(case.textbook, **options), id=f"{case.rule.__name__}{options or ''}-{name}")
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
        assert_right_under_transforms(case.functions()[0], point)


@pytest.mark.parametrize(("f", "point", "textbook"), POINTS)
def test_value_is_the_textbooks(f, point, textbook, x64):
    args = cast(point, np.float64)
    np.testing.assert_allclose(f(*args), textbook(*args), rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16, jnp.float16, jnp.float64])
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.rule.__name__)
def test_value_keeps_the_dtype(case, dtype, x64):
    f, args = case.functions()[0], cast(next(iter(case.points.values())), dtype)
    assert f(*args).dtype == dtype
    assert jax.jit(f)(*args).dtype == dtype


def test_every_rule_has_a_row():
    found = set()
    for module in pkgutil.iter_modules(jaxnet.rules.__path__, "jaxnet.rules."):
        members = vars(importlib.import_module(module.name)).values()
        found |= {member for member in members if isinstance(member, jaxnet.rule)}
    assert found == {case.rule for case in CASES}


def test_rules_inside_shard_map_and_over_explicit_meshes(forced_devices):
    """Data parallelism: replicated weights get the sum over the devices, as they do from autodiff."""
    forced_devices(
        """
        import jax, jax.numpy as jnp, numpy as np
        from jax.sharding import AxisType, NamedSharding, PartitionSpec as P
        from jaxnet import auto, init_mlp, mlp, softmax_cross_entropy

        rng = np.random.default_rng(0)
        x, y = rng.normal(size=(8, 3)).astype(np.float32), rng.integers(0, 4, 8)
        params = init_mlp(jax.random.key(0), (3, 6, 4))
        loss = lambda params, x, y: softmax_cross_entropy(mlp(params, x), y).sum()
        expected = jax.grad(auto(loss))(params, x, y)
        close = lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)
        for kind in (AxisType.Auto, AxisType.Explicit):
            mesh = jax.make_mesh((2,), ("rows",), axis_types=(kind,))
            rows, everywhere = NamedSharding(mesh, P("rows")), NamedSharding(mesh, P())
            arguments = jax.device_put(params, everywhere), *jax.device_put((x, y), rows)
            of_device = lambda params, x, y: jax.lax.psum(loss(params, x, y), "rows")
            mapped = jax.shard_map(of_device, mesh=mesh, in_specs=(P(), P("rows"), P("rows")), out_specs=P())
            for f in (loss, mapped, auto(mapped)):
                jax.tree.map(close, jax.jit(jax.grad(f))(*arguments), expected)
        """
    )
