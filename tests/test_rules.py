"""Every rule of the library against autodiff of its own body, float64 and the textbook."""

import importlib
import pkgutil
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from catalogue import ENTRIES
from gradients import cast, cotangent_of_value, pullback, verify

import jaxnet.rules


def points_of_case(entry, case):
    """Every point; at further options the first two alone."""
    drawn = list(entry.draw(case).items())
    for i, options in enumerate(case.options):
        for at, (name, point) in enumerate(drawn[:2] if i else drawn):
            yield pytest.param(
                entry.under(options),
                point,
                partial(entry.textbook, **options),
                id=f"{entry.name}{options or ''}-{name}",
                marks=[pytest.mark.many] if i or at else [],
            )


def first_point(entry):
    """The rule, at its defaults where it can be, and a point."""
    case = entry.default_case
    return entry.under(case.options[0]), next(iter(entry.draw(case).values()))


POINTS = [
    point
    for entry in ENTRIES.values()
    for case in entry.cases
    for point in points_of_case(entry, case)
]
FIRST = [first_point(entry) for entry in ENTRIES.values()]
NAMES = list(ENTRIES)


@pytest.mark.parametrize(("f", "point", "textbook"), POINTS)
def test_rule_is_right(f, point, textbook, x64):
    verify(f, point, textbook)


@pytest.mark.many
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
    assert found == {entry.rule for entry in ENTRIES.values()}


def test_rules_inside_shard_map_and_over_explicit_meshes(forced_devices):
    """Data parallelism: replicated weights get the sum over the devices, as from autodiff."""
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
            on_device = lambda params, x, y: jax.lax.psum(loss(params, x, y), "rows")
            specs = P(), P("rows"), P("rows")
            mapped = jax.shard_map(on_device, mesh=mesh, in_specs=specs, out_specs=P())
            for f in (loss, mapped, auto(mapped)):
                jax.tree.map(close, jax.jit(jax.grad(f))(*arguments), expected)
        """
    )


# What an accelerator is given instead, run on a CPU.

LARGE = {  # name -> arguments of more than one chunk
    "linear_softmax_cross_entropy": lambda rng: (
        rng.normal(size=(1100, 3)),
        rng.normal(size=(8400, 3)),
        rng.normal(size=8400),
        rng.integers(0, 8400, 1100),
    ),
    "attention": lambda rng: tuple(rng.normal(size=(700, 16, 1)) for _ in range(3)),
}
CHOOSING = ["softmax", "log_softmax", "safe_norm", "normalize", *LARGE]


@pytest.mark.parametrize("name", CHOOSING)
def test_what_other_platforms_are_given_is_right_too(name, monkeypatch, x64):
    chosen = []

    def elsewhere(*args, cpu, default):
        chosen.append(default)
        return default(*args)

    monkeypatch.setattr(jax.lax, "platform_dependent", elsewhere)
    f, point = dict(zip(NAMES, FIRST, strict=True))[name]
    if name in LARGE:
        f, point = getattr(jaxnet.rules, name), LARGE[name](np.random.default_rng(0))
    args = cast(point, np.float64)
    c = cotangent_of_value(f, args)
    gradients = [jax.jit(pullback(g))(c, *args) for g in (f, jaxnet.auto(f))]
    jax.tree.map(partial(np.testing.assert_allclose, rtol=1e-9, atol=1e-12), *gradients)
    assert chosen


@pytest.mark.parametrize(
    ("name", "on_cpu", "on_gpu"),
    [
        ("linear_softmax_cross_entropy", "367x8400xf32>", "550x8400xf32>"),
        ("attention", "x117x700xf32>", "x700x700xf32>"),
    ],
)
def test_a_chunk_is_chosen_for_the_platform_it_is_lowered_for(name, on_cpu, on_gpu):
    f = getattr(jaxnet.rules, name)
    args = cast(LARGE[name](np.random.default_rng(0)), np.float32)
    traced = jax.jit(pullback(f)).trace(cotangent_of_value(f, args), *args)
    for platform, chunk, other in (("cpu", on_cpu, on_gpu), ("cuda", on_gpu, on_cpu)):
        program = traced.lower(lowering_platforms=(platform,)).as_text()
        assert chunk in program
        assert other not in program
