"""`auto` takes every custom rule off, and says so where it cannot.

The probes carry backwards that are wrong by a factor of 100, so one number tells whether a rule was
on or off. `ours` is a `jaxnet.rule`, which a context turns off while auto traces; `theirs` is a
plain `jax.custom_vjp`, which the traced graph must lose. A test that says "off" also shows that the
same graph without auto is wrong.
"""

import contextlib
import functools
import gc
import inspect
import os
import subprocess
import sys
import textwrap
import threading
import weakref
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax
from jax.custom_derivatives import linear_call
from jax.extend.core.primitives import custom_jvp_call_p, custom_vjp_call_p, sin_p
from places import (
    COS,
    PLACES,
    SIN,
    X,
    backward,
    custom_vmapped,
    forward,
    make_ours,
    make_theirs,
    on_mesh,
    repeated,
)

from jaxnet import _auto, _graph, auto
from jaxnet._graph import forms, objects, rewrite

ROOT = Path(__file__).parents[1]

DIFFERENTIATES = (
    "differentiates inside itself; rules of jaxnet are off there too, but rules of other libraries"
)


def make_custom_jvp(derivative=lambda x: 100 * jnp.cos(x), body=jnp.sin):
    f = jax.custom_jvp(lambda x: body(x))
    f.defjvp(lambda x, dx: (jnp.sin(x[0]), derivative(x[0]) * dx[0]))
    return f


ours, theirs = make_ours(), make_theirs()
PROBES = pytest.mark.parametrize("probe", [ours, theirs], ids=["ours", "theirs"])


def close(a, b):
    np.testing.assert_allclose(a, b, rtol=1e-5)


def assert_on(f, x=X):
    close(jax.grad(f)(x), 100 * COS)


def assert_off(f, x=X):
    close(jax.grad(f)(x), COS)


def python(code, **env):
    """What this code prints in a fresh interpreter where every warning is an error."""
    path = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    result = subprocess.run(
        [sys.executable, "-W", "error", "-c", textwrap.dedent(code)],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": path, **env},
        check=False,
    )
    assert result.returncode == 0, result.stderr
    return result.stdout


# ---- off, wherever in the graph the rule is ----


@pytest.mark.many
@PROBES
@pytest.mark.parametrize("place", PLACES.values(), ids=PLACES.keys())
def test_rule_is_off_inside(place, probe):
    f = functools.partial(place, probe)
    assert float(auto(f)(X)) == float(f(X))
    assert_on(f)
    assert_off(auto(f))


AROUND = {
    "jit": lambda f: jax.jit(f),
    "vmap": lambda f: lambda x: jax.vmap(f)(x * jnp.ones(3)).mean(),
    "vmap with an axis name": lambda f: (
        lambda x: jax.vmap(f, axis_name="i")(x * jnp.ones(3)).mean()
    ),
    "scan": lambda f: functools.partial(repeated, f),
    "fori_loop": lambda f: lambda x: lax.fori_loop(0, 1, lambda i, c: f(c), x),
    "cond": lambda f: lambda x: lax.cond(x > 0, f, jnp.cos, x),
    "remat": lambda f: jax.checkpoint(f),
    "shard_map": lambda f: on_mesh(f),
    "auto": lambda f: auto(f),
    "jit of vmap of remat": lambda f: (
        lambda x: jax.jit(jax.vmap(jax.checkpoint(f)))(x * jnp.ones(3)).mean()
    ),
}


@pytest.mark.many
@PROBES
@pytest.mark.parametrize("around", AROUND.values(), ids=AROUND.keys())
def test_rule_is_off_under(around, probe):
    if around is not AROUND["auto"]:
        assert_on(around(probe))
    assert_off(around(auto(probe)))
    assert_off(jax.jit(around(auto(probe))))


def test_collectives_of_an_axis_outside_auto_work():
    f = lambda z: lax.pmean(theirs(z), "i")  # noqa: E731
    batched = lambda g: lambda x: jax.vmap(g, axis_name="i")(x * jnp.ones(3))[0]  # noqa: E731
    assert_on(batched(f))
    assert_off(batched(auto(f)))


def test_shard_map_over_two_devices_inside_and_outside():
    code = """
        import jax, jax.numpy as jnp
        from jax.sharding import PartitionSpec as P
        from jaxnet import auto, rule

        theirs = jax.custom_vjp(lambda x: jnp.sin(x))
        ours = rule(lambda x: jnp.sin(x))
        forward, backward = lambda x: (jnp.sin(x), x), lambda x, dy: (100 * jnp.cos(x) * dy,)
        theirs.defvjp(forward, backward)
        ours.forward(forward)
        ours.backward(backward)

        def check(f, factor, x):
            derivative = jax.jit(jax.grad(lambda x: f(x).sum()))(x)
            assert abs(derivative - factor * jnp.cos(x)).max() < 1e-4, (factor, derivative)

        for kind in jax.sharding.AxisType.Auto, jax.sharding.AxisType.Explicit:
            mesh = jax.make_mesh((2,), ("i",), axis_types=(kind,))
            jax.set_mesh(mesh)
            x = jax.device_put(jnp.arange(4.0), P("i"))
            shards = lambda f: jax.shard_map(f, mesh=mesh, in_specs=P("i"), out_specs=P("i"))
            for probe in ours, theirs:
                summed = shards(lambda x: probe(x) + 0 * jax.lax.psum(x, "i"))
                check(summed, 100, x)
                check(auto(summed), 1, x)
                check(shards(auto(probe)), 1, x)
                off = jax.jit(auto(summed))  # jax 0.10.0 needs the jit
                assert off(x).sharding == summed(x).sharding
        print(len(jax.devices()))
    """
    two_devices = "--xla_force_host_platform_device_count=2"
    assert python(code, XLA_FLAGS=two_devices, JAX_PLATFORMS="cpu") == "2\n"


def test_while_loop_loses_its_rules_and_takes_forward_mode():
    def looped(x):
        return lax.while_loop(lambda c: c[1] < 1, lambda c: (theirs(c[0]), c[1] + 1), (x, 0))[0]

    assert float(auto(looped)(X)) == float(looped(X))
    close(jax.jvp(auto(looped), (X,), (jnp.float32(1),))[1], COS)
    with pytest.raises(TypeError, match="forward-mode"):
        jax.jvp(looped, (X,), (jnp.float32(1),))


def variant(forward=forward, backward=backward, body=jnp.sin, nondiff_argnums=(), **options):
    f = jax.custom_vjp(lambda *x: body(*x), nondiff_argnums=nondiff_argnums)
    f.defvjp(forward, backward, **options)
    return f


with_static_argument = variant(
    lambda k, x: forward(x),
    lambda k, x, dy: backward(x, dy),
    lambda k, x: jnp.sin(x),
    nondiff_argnums=(0,),
)
VARIANTS = {
    "nondiff_argnums": functools.partial(with_static_argument, "static"),
    "symbolic_zeros": variant(lambda x: forward(x.value), symbolic_zeros=True),
    "optimize_remat": variant(optimize_remat=True),
    "custom_gradient": jax.custom_gradient(
        lambda x: (jnp.sin(x), lambda dy: 100 * jnp.cos(x) * dy)
    ),
}


@pytest.mark.parametrize("f", VARIANTS.values(), ids=VARIANTS.keys())
def test_every_kind_of_custom_vjp_comes_off(f):
    for g in (f, jax.jit(f), functools.partial(repeated, jax.checkpoint(f))):
        assert_on(g)
        assert_off(auto(g))


# ---- both modes of differentiation ----


def poly(probe):
    return lambda x: probe(x) * x**2


@PROBES
def test_forward_mode_and_second_order_of_auto_are_those_of_the_plain_graph(probe):
    f, plain, one = auto(poly(probe)), poly(jnp.sin), jnp.float32(1)
    with pytest.raises(TypeError, match="forward-mode"):
        jax.jvp(poly(probe), (X,), (one,))
    assert jax.jvp(f, (X,), (one,)) == jax.jvp(plain, (X,), (one,))
    assert jax.jacfwd(f)(X) == jax.jacfwd(plain)(X)
    assert jax.linearize(f, X)[1](one) == jax.linearize(plain, X)[1](one)
    close(jax.hessian(f)(X), jax.hessian(plain)(X))
    close(jax.grad(jax.grad(f))(X), jax.grad(jax.grad(plain))(X))
    close(jax.jacfwd(jax.jacfwd(f))(X), jax.hessian(plain)(X))


# ---- custom_jvp ----


@pytest.mark.many
@pytest.mark.parametrize("place", ["plain", "jit", "vmap", "scan", "cond", "remat", "all at once"])
def test_custom_jvp_rules_stay_on_without_jvp_and_come_off_with_it(place):
    f = functools.partial(PLACES[place], make_custom_jvp())
    assert_on(f)
    assert_on(auto(f))
    assert_off(auto(f, jvp=True))
    close(jax.jvp(auto(f, jvp=True), (X,), (jnp.float32(1),))[1], COS)


def test_one_compiled_function_keeps_its_two_references_apart():
    """The graph of a jitted function is remembered; what was taken off it must be so too."""
    product = jax.jit(lambda x: make_custom_jvp()(x) * theirs(x))
    one, hundred = 2 * SIN * COS, 200 * SIN * COS
    for _ in range(2):
        close(jax.grad(product)(X), hundred)
        close(jax.grad(auto(product))(X), 101 * SIN * COS)
        close(jax.grad(auto(product, jvp=True))(X), one)
    other = jax.jit(lambda x: make_custom_jvp()(x) * theirs(x))
    close(jax.grad(auto(other, jvp=True))(X), one)
    close(jax.grad(auto(other))(X), 101 * SIN * COS)


def test_a_custom_vjp_inside_the_body_of_a_custom_jvp_comes_off_with_it():
    f = make_custom_jvp(body=theirs)
    assert_off(auto(f, jvp=True))


# ---- derivatives taken inside fn ----

INSIDE = {
    "grad": lambda f, y: jax.grad(f)(y),
    "value_and_grad": lambda f, y: jax.value_and_grad(f)(y)[1],
    "vjp": lambda f, y: jax.vjp(f, y)[1](jnp.float32(1))[0],
    "jacrev": lambda f, y: jax.jacrev(f)(y),
    "jit of grad": lambda f, y: jax.jit(jax.grad(f))(y),
    "grad of jit": lambda f, y: jax.grad(jax.jit(f))(y),
    "vmap of grad": lambda f, y: jax.vmap(jax.grad(f))(y * jnp.ones(3)).mean(),
    "grad of remat": lambda f, y: jax.grad(jax.checkpoint(f))(y),
    "remat of grad": lambda f, y: jax.checkpoint(jax.grad(f))(y),
    "grad of scan": lambda f, y: jax.grad(functools.partial(repeated, f))(y),
    "scan of grad": lambda f, y: repeated(jax.grad(f), y),
    "while of grad": lambda f, y: lax.while_loop(
        lambda c: c[1] < 1, lambda c: (jax.grad(f)(c[0]), c[1] + 1), (y, 0)
    )[0],
    "cond of grad": lambda f, y: lax.cond(y > 0, jax.grad(f), jnp.cos, y),
    "shard_map of grad": lambda f, y: on_mesh(jax.grad(f))(y),
    "matrix of a solve": lambda f, y: (
        1
        / lax.custom_linear_solve(
            lambda u: jax.vjp(f, y)[1](u)[0],
            jnp.float32(1),
            lambda m, b: b / m(jnp.float32(1)),
            symmetric=True,
        )
    ),
    "body of a third-party rule": lambda f, y: make_theirs(jax.grad(f))(y),
}
DERIVATIVES = pytest.mark.parametrize("derivative", INSIDE.values(), ids=INSIDE.keys())


@pytest.mark.many
@DERIVATIVES
def test_inside_a_derivative_our_rules_are_off_and_others_stay_on_with_a_warning(derivative):
    for probe, factor in [(ours, 1), (theirs, 100)]:
        f = functools.partial(derivative, probe)
        close(f(X), 100 * COS)
        with pytest.warns(UserWarning, match=DIFFERENTIATES):
            value = auto(f)(X)
        close(value, factor * COS)


def test_the_warning_comes_at_each_depth_and_names_the_function():
    def loss(x):
        return jax.jit(
            functools.partial(repeated, lambda c: lax.cond(c > 0, jax.grad(theirs), jnp.cos, c))
        )(x)

    with pytest.warns(
        UserWarning, match=r"auto\(loss\): the function differentiates inside itself"
    ) as caught:
        auto(loss)(X)
    assert len(caught) == 1
    assert caught[0].filename == __file__
    with pytest.warns(UserWarning, match="apply auto to what is differentiated"):
        close(auto(lambda x: jax.grad(auto(theirs))(x))(X), COS)


@pytest.mark.many
@DERIVATIVES
@pytest.mark.parametrize(
    "order", [(100, 1, 100, 1), (1, 100, 1, 100)], ids=["by hand first", "auto first"]
)
@pytest.mark.filterwarnings("ignore:auto")
def test_no_cache_of_jax_keeps_a_rule_or_loses_one(derivative, order):
    """One function object, by hand and by auto in turn.

    jit, scan, remat and the others remember their traces.
    """
    probe = make_ours()
    derivative_of_probe = jax.jit(functools.partial(derivative, probe))
    for f in (derivative_of_probe, functools.partial(derivative, probe)):
        for factor in order:
            close((auto(f) if factor == 1 else f)(X), factor * COS)


@PROBES
def test_a_jitted_function_with_a_rule_is_not_changed_by_auto(probe):
    f = jax.jit(probe)
    for _ in range(2):
        assert_on(f)
        assert_off(auto(f))
        assert_off(jax.jit(auto(f)))
    both = jax.jit(lambda x: (jax.grad(f)(x), jax.grad(auto(f))(x), jax.grad(f)(x)))(X)
    np.testing.assert_allclose(both, [100 * COS, COS, 100 * COS], rtol=1e-5)


# ---- arguments and results ----


def test_arrays_are_traced_and_every_other_leaf_stays_what_it_is():
    seen = {}

    def f(x, *, options, number, n, flag, nothing, apply):
        seen.update(
            x=x, options=options, number=number, n=n, flag=flag, nothing=nothing, apply=apply
        )
        return {
            "y": apply(x["w"]) * jnp.ones(n).sum() / n,
            "name": options["name"],
            "rest": (nothing, flag, n, apply, 2.5),
        }

    static = {
        "options": {"name": "s"},
        "number": 1.5,
        "n": 3,
        "flag": True,
        "nothing": None,
        "apply": theirs,
    }
    out = auto(f)(
        {"w": X, "np": np.ones(2), "key": jax.random.key(0), "i": jnp.arange(2)}, **static
    )
    assert {k: seen[k] for k in static} == static
    assert type(seen["n"]) is int
    assert type(seen["flag"]) is bool
    assert all(isinstance(leaf, jax.core.Tracer) for leaf in jax.tree.leaves(seen["x"]))
    close(out.pop("y"), SIN)
    assert out == {"name": "s", "rest": (None, True, 3, theirs, 2.5)}
    loss = lambda g: lambda x: g({"w": x}, **static)["y"]  # noqa: E731
    assert_on(loss(f))
    assert_off(loss(auto(f)))


def test_python_numbers_are_static_and_still_run_without_rules():
    assert auto(lambda x, n: x * n)(2, 3) == 6
    assert_off(auto(lambda x: theirs(x)), 0.7)
    close(auto(lambda x: theirs(x))(0.7), SIN)


@pytest.mark.parametrize(
    "leaf",
    [np.array(["a"]), np.array([None]), np.zeros(2, [("a", "i4")]), np.datetime64("2020-01-01")],
)
def test_arrays_that_jax_does_not_know_are_static(leaf):
    seen = []
    close(auto(lambda a, x: seen.append(a) or theirs(x))(leaf, X), SIN)
    assert seen[0] is leaf


def test_numpy_arguments_are_traced_and_numpy_results_stay_as_they_are():
    double, constant = np.float64(0.7), np.arange(3)
    value, same = auto(lambda x: (theirs(x), constant))(double)
    close(value, SIN)
    assert isinstance(value, jax.Array)
    assert same is constant


def test_keyword_arguments_and_static_argnames_of_jit():
    def f(x, *, mode="on"):
        return theirs(x) if mode == "on" else x

    jitted = jax.jit(auto(f), static_argnames="mode")
    assert float(jitted(X, mode="off")) == float(X)
    assert_off(lambda x: jitted(x, mode="on"))
    assert_off(lambda x: jitted(x=x))
    assert inspect.signature(auto(f)) == inspect.signature(f)
    assert auto(f).__name__ == "f"


class Scaled:
    def __init__(self, scale):
        self.scale = scale

    def __call__(self, x):
        return theirs(x) * self.scale

    def method(self, x):
        return self(x)


def test_fn_may_be_a_partial_a_method_or_an_object_that_closes_over_tracers():
    def loss(wrap):
        def f(scale):
            obj = Scaled(scale)
            return sum(
                wrap(g)(X)
                for g in (obj, obj.method, functools.partial(lambda s, x: theirs(x) * s, scale))
            )

        return f

    close(jax.grad(loss(auto))(1.0), 3 * SIN)
    for fn in (Scaled(1.0), Scaled(1.0).method, functools.partial(theirs)):
        assert_on(fn)
        assert_off(auto(fn))
    assert_off(lambda x: auto(lambda: theirs(x))())
    with pytest.warns(UserWarning, match="auto.*partial"):
        auto(functools.partial(lambda f, x: jax.grad(f)(x), theirs))(X)


def test_has_aux():
    f = lambda x, y: (theirs(x) * y, {"y": y, "n": 3})  # noqa: E731
    gradient, aux = jax.grad(auto(f), has_aux=True)(X, jnp.float32(2))
    close(gradient, 2 * COS)
    assert (float(aux["y"]), aux["n"]) == (2, 3)
    close(jax.grad(f, has_aux=True)(X, jnp.float32(2))[0], 200 * COS)


def test_random_keys_integers_and_booleans_pass_through():
    key = jax.random.key(3)

    def f(key, i, mask, x):
        return jax.random.normal(key, (2,)), i + 1, ~mask, jax.random.split(key), theirs(x)

    args = (key, jnp.arange(3), jnp.array([True]), X)
    for a, b in zip(auto(f)(*args), f(*args), strict=True):
        assert (a.dtype, a.shape) == (b.dtype, b.shape)
        a, b = (
            jax.random.key_data(v) if jnp.issubdtype(v.dtype, jax.dtypes.prng_key) else v
            for v in (a, b)
        )
        np.testing.assert_array_equal(a, b)


def test_gradients_of_integers_are_those_of_jax():
    take = lambda f: jax.grad(lambda i, x: f(x) * i, argnums=(0, 1), allow_int=True)  # noqa: E731
    di, dx = take(auto(theirs))(jnp.int32(2), X)
    assert di.dtype == jax.dtypes.float0
    close(dx, 2 * COS)
    with pytest.warns(UserWarning, match=DIFFERENTIATES):
        di, dx = auto(take(ours))(jnp.int32(2), X)
    assert di.dtype == jax.dtypes.float0
    close(dx, 2 * COS)


@pytest.mark.parametrize(
    "dtype", [jnp.float16, jnp.bfloat16, jnp.float32, jnp.float64, jnp.complex64]
)
def test_dtypes_weak_types_and_shapes_are_preserved(dtype, x64):
    f = lambda x, s: (theirs(x), s * x, s, jnp.zeros((0, 3), x.dtype))  # noqa: E731
    args = jnp.ones((2, 1), dtype), jnp.asarray(2.0)
    assert args[1].weak_type
    for g in (auto(f), jax.jit(auto(f))):
        for a, b in zip(g(*args), f(*args), strict=True):
            assert jax.typeof(a) == jax.typeof(b)
            np.testing.assert_array_equal(a, b)


def test_donated_arguments_are_given_up_as_without_auto():
    for g in (jax.jit(auto(theirs), donate_argnums=0), auto(jax.jit(theirs, donate_argnums=0))):
        x = jnp.arange(4.0) + 1
        np.testing.assert_allclose(g(x), np.sin([1, 2, 3, 4]), rtol=1e-6)
        assert x.is_deleted()


def test_effects_happen_once(capfd):
    def f(x):
        jax.debug.print("x = {}", x)
        return theirs(x)

    for g in (auto(f), jax.jit(auto(f)), auto(make_theirs(f))):
        g(X).block_until_ready()
        jax.effects_barrier()
        assert capfd.readouterr().out.count("x = 0.69") == 1


# ---- nothing else changes ----


def ruleless(x, keys):
    x = jax.jit(jnp.tanh)(x) + jax.nn.softplus(x) + jax.nn.relu(x)
    x = lax.scan(lambda c, k: (c + jax.random.uniform(k, c.shape), c.sum()), x, keys)[0]
    x = lax.cond(x.sum() > 0, jnp.sin, lambda x: lax.fori_loop(0, 3, lambda i, y: y * i, x), x)
    return jax.checkpoint(jnp.cos)(x).sum()


def test_a_function_without_rules_comes_back_as_the_same_graph_with_the_same_bits():
    args = jnp.linspace(-1, 1, 5), jax.random.split(jax.random.key(0), 3)
    assert str(jax.make_jaxpr(auto(ruleless))(*args)) == str(jax.make_jaxpr(ruleless)(*args))
    for transform in (lambda f: f, lambda f: jax.jit(jax.grad(f))):
        np.testing.assert_array_equal(transform(auto(ruleless))(*args), transform(ruleless)(*args))


def test_residuals_are_those_of_code_that_never_had_a_rule():
    def network(activation):
        layer = lambda x, w: (activation(x @ w), None)  # noqa: E731
        return lambda x, ws: lax.scan(jax.checkpoint(layer), jnp.sin(activation(x)), ws)[0].sum()

    def residual_bytes(f):
        kept = jax.eval_shape(lambda *a: jax.vjp(f, *a)[1], jnp.ones((8, 4)), jnp.ones((3, 4, 4)))
        return sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(kept))

    wasteful = jax.custom_vjp(lambda x: jnp.tanh(x) ** 2)
    wasteful.defvjp(lambda x: (jnp.tanh(x) ** 2, (x, x + 1, x + 2, x + 3)), lambda r, dy: (dy,))
    plain = residual_bytes(network(lambda x: jnp.tanh(x) ** 2))
    assert residual_bytes(network(wasteful)) > plain
    assert residual_bytes(auto(network(wasteful))) == plain


@PROBES
def test_repeated_calls_compile_once(probe, caplog):
    f = jax.jit(lambda x: repeated(probe, x) * probe(x))

    def compilations(call):
        caplog.clear()
        with jax.log_compiles():
            call()
        return [
            r.getMessage() for r in caplog.records if "Finished XLA compilation" in r.getMessage()
        ]

    for call in (lambda: auto(f)(X), lambda: jax.grad(auto(f))(X)):
        assert compilations(call)
        assert compilations(call) == []


def test_what_is_remembered_dies_with_the_function():
    def remembered():
        gc.collect()
        return sum(map(len, rewrite._stripped.values())), len(_auto._limits)

    before = remembered()
    f = jax.jit(lambda x: theirs(x) * 3)
    f(X), auto(f)(X)
    assert remembered() > before
    del f
    assert remembered() == before


def test_no_tracer_leaks():
    with jax.checking_leaks():
        out = jax.jit(auto(lambda x: {"y": theirs(x), "z": ours(x), "s": "t"}["y"]))(X)
        close(out, SIN)
        close(auto(lambda x: {"y": theirs(x), "s": "t"})(X)["y"], SIN)
        assert_off(auto(lambda x: repeated(theirs, x)))


def test_another_thread_keeps_its_rules_while_auto_traces():
    inside, done = threading.Event(), threading.Event()
    results = {}

    def slow(x):
        inside.set()
        assert done.wait(60)
        return ours(x)

    thread = threading.Thread(target=lambda: results.update(auto=jax.grad(auto(slow))(X)))
    thread.start()
    assert inside.wait(60)
    results["by hand"] = jax.grad(jax.jit(ours))(X)
    done.set()
    thread.join()
    close(results["by hand"], 100 * COS)
    close(results["auto"], COS)


def test_an_exception_inside_fn_comes_through_and_leaves_the_rules_on():
    def fails(x):
        ours(x)
        raise KeyError("inside")

    with pytest.raises(KeyError, match="inside"):
        auto(fails)(X)
    assert_on(ours)
    close(make_ours()(X), SIN)


@pytest.mark.filterwarnings("ignore:auto")
def test_the_rules_are_off_only_while_auto_traces():
    """By hand inside a derivative that contains an auto: what follows the auto is by hand again."""
    f = lambda x: jax.grad(auto(ours))(x) + 10 * jax.grad(ours)(x)  # noqa: E731
    close(f(X), 1001 * COS)
    close(jax.jit(f)(X), 1001 * COS)


# ---- the limits, none of them silent ----


def test_ordinary_functions_give_no_warning():
    functions = [
        jax.nn.relu, jax.nn.relu6, jax.nn.silu, jax.nn.gelu, jax.nn.softplus, jax.nn.log_sigmoid,
        jax.nn.softmax, jax.nn.logsumexp, jax.nn.mish, jnp.sinc, jnp.linalg.norm,
        lambda x: jnp.nonzero(x, size=2),
        lambda x: jnp.interp(x, x, x),
        lambda x: jnp.ldexp(x, 2),
        lambda x: jnp.einsum("i,j", x, x),
    ]  # fmt: skip
    x = jnp.linspace(-2, 2, 5)
    for f in functions:
        jax.make_jaxpr(auto(f))(x)


@PROBES
def test_a_custom_vmap_is_seen_through(probe):
    """Also under vmap: what its rule would do is not what its body does."""
    f = custom_vmapped(probe)
    batched = lambda g: lambda x: jax.vmap(g)(x * jnp.ones(3)).mean()  # noqa: E731
    assert_on(batched(f))
    assert_off(auto(f))
    assert_off(batched(auto(f)))
    assert_off(auto(batched(f)))


def test_a_custom_jvp_under_a_derivative_inside_fn_is_not_mistaken_for_one_that_differentiates():
    with pytest.warns(UserWarning, match=DIFFERENTIATES) as caught:
        auto(jax.grad(jax.grad(lambda x: jax.nn.softplus(jax.nn.relu(x)))))(X)
    assert len(caught) == 1


def test_an_exported_function_is_a_limit_with_a_warning():
    exported = jax.export.export(jax.jit(theirs))(X)
    with pytest.warns(UserWarning, match="rules inside call_exported cannot be taken off"):
        close(auto(lambda x: exported.call(x))(X), SIN)
    again = jax.export.export(jax.jit(auto(theirs)))(X)
    close(again.call(X), SIN)


def test_linear_call_is_a_limit_with_a_warning():
    def f(x):
        return COS * linear_call(lambda r, x: 1.0 * x, lambda r, dy: 100.0 * dy, (), x)

    assert_on(f)
    with pytest.warns(UserWarning, match="rules inside linear_call cannot be taken off"):
        assert_on(auto(f))


@PROBES
@pytest.mark.parametrize("place", ["plain", "jit", "scan"])
def test_a_custom_jvp_whose_rule_uses_rules_is_a_limit_with_a_warning(place, probe):
    f = functools.partial(PLACES[place], make_custom_jvp(derivative=jax.grad(probe)))
    assert_on(f)
    with pytest.warns(
        UserWarning,
        match="rule of a custom_jvp in it calls other rules or differentiates.*use jvp=True",
    ):
        assert_on(auto(f))
    assert_off(auto(f, jvp=True))
    calls = make_custom_jvp(derivative=lambda x: probe(x))
    with pytest.warns(UserWarning, match="rule of a custom_jvp"):
        auto(calls)(X)


def test_custom_root_is_a_limit_with_a_warning():
    def root(f, x):
        return lax.custom_root(
            lambda z: z - f(x),
            jnp.float32(0.5),
            lambda g, z: f(x),
            lambda g, b: b / g(jnp.float32(1)),
        )

    for probe, factor in [(ours, 1), (theirs, 100)]:
        f = functools.partial(root, probe)
        assert_on(f)
        with pytest.warns(UserWarning, match="custom_jvp|CustomRoot"):
            close(jax.grad(auto(f))(X), factor * COS)


# ---- the canary ----


@contextlib.contextmanager
def jax_flag(name, value=True):
    before = getattr(jax.config, name)
    jax.config.update(name, value)
    try:
        yield
    finally:
        jax.config.update(name, before)


@pytest.fixture
def classical():
    """Rules are recorded as custom_vjp_call, though the suite may run under the flag."""
    with jax_flag("jax_custom_vjp3", False):
        yield


def test_a_jax_that_records_custom_vjp_otherwise_is_an_error(monkeypatch, classical):
    monkeypatch.setattr(forms, "custom_vjp_call_p", sin_p)
    message = (
        rf"auto cannot take rules off under jax {jax.__version__} as configured: "
        "it records a custom rule as custom_vjp_call, not as sin. "
        "Use a version of jax that jaxnet is tested with"
    )
    for f in (ours, theirs, jnp.cos):
        with pytest.raises(RuntimeError, match=message):
            auto(f)(X)
    with pytest.raises(RuntimeError, match=message):
        jax.jit(jax.grad(auto(ours)))(X)


def test_a_jax_that_records_custom_jvp_otherwise_is_an_error_where_those_are_asked_for(monkeypatch):
    monkeypatch.setattr(forms, "custom_jvp_call_p", sin_p)
    with pytest.raises(RuntimeError, match="records a custom rule as custom_jvp_call, not as sin"):
        auto(make_custom_jvp(), jvp=True)(X)
    assert_off(auto(theirs))


def test_the_names_the_canary_compares_are_jaxs(classical):
    assert forms.custom_vjp_call_p is custom_vjp_call_p
    assert forms.custom_jvp_call_p is custom_jvp_call_p
    assert jax.make_jaxpr(theirs)(X).eqns[0].primitive is custom_vjp_call_p


# ---- rules that are Python objects ----


# jax 0.11.2 has the flags already, and itself fails under a jit of a vmap of a scan.
HAS_NEXT_FORMS = jax.__version_info__ >= (0, 12)


@pytest.mark.many
@pytest.mark.skipif(not HAS_NEXT_FORMS, reason="this jax has them in parts")
@pytest.mark.parametrize("flag", ["jax_custom_vjp3", "jax_custom_jvp3"])
@pytest.mark.parametrize("place", PLACES)
def test_rules_that_are_python_objects_are_taken_off(place, flag):
    """JAX's own next implementations of custom rules, switched on."""
    with jax_flag(flag):
        is_jvp = flag == "jax_custom_jvp3"
        f = functools.partial(PLACES[place], make_custom_jvp() if is_jvp else make_theirs())
        assert_on(f)
        assert_off(auto(f, jvp=is_jvp))
        assert_off(jax.jit(auto(f, jvp=True)))


@pytest.mark.skipif(not HAS_NEXT_FORMS, reason="this jax has them in parts")
def test_a_rule_that_stays_stays_whole():
    """One that is a Python object, with a rule in its body that is taken off elsewhere."""
    with jax_flag("jax_custom_vjp3"), jax_flag("jax_custom_jvp3"):
        outer = make_custom_jvp(body=lambda x: theirs(x))
        assert_on(auto(outer))
        assert_off(auto(outer, jvp=True))


def test_the_body_of_a_rule_is_one_object_as_long_as_the_rule_lives():
    with jax_flag("jax_custom_vjp3"):
        e = jax.make_jaxpr(make_theirs())(X).eqns[0]
        assert _graph.body_of_rule(e) is _graph.body_of_rule(e)
        (rule,) = (v for v in e.params.values() if id(v) in objects._bodies)
        key, alive = id(rule), weakref.ref(rule)
        del e, rule
        gc.collect()
        assert (key in objects._bodies) == (alive() is not None)  # some versions of JAX keep it


def test_a_rule_with_generic_batching_is_taken_off():
    f = jax.custom_vjp(lambda x: jnp.sin(x))
    try:
        f.defvjp(forward, backward, generic_batching=True)
    except TypeError:
        pytest.skip("this jax has no generic_batching")
    for g in (f, jax.jit(f), functools.partial(repeated, f)):
        assert_on(g)
        assert_off(auto(g))
