"""Every rule of the library against autodiff of its own body, float64 and the textbook."""

import importlib
import pkgutil
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from cases import CASES
from gradients import cast, cotangent_of_value, pullback, verify

import jaxnet.rules

POINTS = [  # further options at a rule's first two points only
    pytest.param(
        *(f, point, partial(case.textbook, **options)),
        id=f"{case.rule.__name__}{options or ''}-{name}",
        marks=[pytest.mark.many] if i or at > 1 else [],
    )
    for case in CASES
    for i, (f, options) in enumerate(zip(case.functions(), case.options, strict=True))
    for at, (name, point) in enumerate(list(case.points.items())[: 2 if i else None])
]
RULES = {
    case.rule: case for case in sorted(CASES, key=lambda case: not case.options[0])
}  # at defaults where it can be
FIRST = [(case.functions()[0], next(iter(case.points.values()))) for case in RULES.values()]
NAMES = [rule.__name__ for rule in RULES]


@pytest.mark.parametrize(("f", "point", "textbook"), POINTS)
def test_rule_is_right(f, point, textbook, x64):
    verify(f, point, textbook)


@pytest.mark.parametrize(("f", "point"), FIRST, ids=NAMES)
def test_rule_passes_check_under_every_transformation(f, point):
    jaxnet.check(f, *cast(point, np.float32)).require()


@pytest.mark.parametrize(("f", "point"), FIRST, ids=NAMES)
def test_gradient_lowers_for_accelerators(f, point):
    args = cast(point, np.float32)
    export = jax.export.export(jax.jit(pullback(f)), platforms=("cpu", "cuda", "tpu"))
    assert export(cotangent_of_value(f, args), *args).platforms == ("cpu", "cuda", "tpu")


@pytest.mark.parametrize(("f", "point"), FIRST, ids=NAMES)
def test_value_keeps_the_dtype(f, point, x64):
    for dtype in (jnp.float32, jnp.bfloat16, jnp.float16, jnp.float64):
        assert jax.eval_shape(f, *cast(point, dtype)).dtype == dtype


def test_every_rule_has_a_row():
    found = set()
    for module in pkgutil.iter_modules(jaxnet.rules.__path__, "jaxnet.rules."):
        members = vars(importlib.import_module(module.name)).values()
        found |= {member for member in members if isinstance(member, jaxnet.rule)}
    assert found == set(RULES)


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
