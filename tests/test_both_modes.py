"""`both_modes`: what a rule's backward says, forward mode says too, and so do all orders."""

import contextlib
import functools
import gc
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from catalogue import ENTRIES
from common.pullbacks import hold_the_rest
from gradients import (
    assert_as_precise_as_autodiff,
    assert_equal_but_for_rounding,
    cast,
    compiled_together,
    is_floating,
    random_like,
)
from jax import lax
from places import COS, PLACES, SIN, X, make_ours, make_theirs
from rule_helpers import residual_bytes

from jaxnet import _graph, _modes, auto, both_modes, check, rule
from jaxnet.rules import dropout, relu, softmax, tanh

ROW = jnp.linspace(0.3, 1.2, 5)
ONES = jnp.ones(5)


def points_of(entry):
    """Every point; at further options the first alone."""
    for case in entry.cases:
        drawn = list(entry.draw(case).items())
        for i, options in enumerate(case.options):
            for name, point in drawn[:1] if i else drawn:
                label = f"{entry.name}{options or ''}-{name}"
                yield pytest.param(entry.under(options), point, id=label)


def first_of(entry):
    case = entry.default_case
    return entry.under(case.options[0]), next(iter(entry.draw(case).values()))


POINTS = [point for entry in ENTRIES.values() for point in points_of(entry)]
FIRST_POINTS = [first_of(entry) for entry in ENTRIES.values()]
NAMES = list(ENTRIES)


# -- every mode: (f of floating arrays, the arrays, directions) -> arrays


def along(f, arrays, directions):
    return jax.jvp(f, arrays, directions)[1]


def cotangents(f, arrays):
    return jax.tree.map(lambda y: random_like(y, 7), jax.eval_shape(f, *arrays))


def back(f, arrays, directions):
    return jax.vjp(f, *arrays)[1](cotangents(f, arrays))


def linearized(f, arrays, directions):
    return jax.linearize(f, *arrays)[1](*directions)


def transposed(f, arrays, directions):
    _, push = jax.linearize(f, *arrays)
    return jax.linear_transpose(push, *arrays)(cotangents(f, arrays))


def forward_over_forward(f, arrays, directions):
    return along(lambda *x: along(f, x, directions), arrays, directions)


def forward_over_reverse(f, arrays, directions):
    return along(lambda *x: back(f, x, directions), arrays, directions)


def reverse_over_forward(f, arrays, directions):
    return back(lambda *x: along(f, x, directions), arrays, directions)


def reverse_over_reverse(f, arrays, directions):
    def slope(*x):
        gradient = back(f, x, directions)
        return sum(jnp.vdot(g, d) for g, d in zip(gradient, directions, strict=True))

    return back(slope, arrays, directions)


FIRST = along, back, linearized, transposed
SECOND = forward_over_forward, forward_over_reverse, reverse_over_forward, reverse_over_reverse


def in_modes(f, modes):
    """(a direction for each floating argument, *args) -> f in each of these modes."""

    def each(directions, *args):
        moving, arrays = hold_the_rest(f, args)
        return [mode(moving, tuple(arrays), tuple(directions)) for mode in modes]

    return each


def directions_of(args):
    return [random_like(a, i) for i, a in enumerate(filter(is_floating, jax.tree.leaves(args)))]


def assert_same_modes(f, point, modes):
    args = cast(point, np.float64)
    directions = [random_like(a, i) for i, a in enumerate(filter(is_floating, args))]
    n = len(directions)
    both = compiled_together(in_modes(both_modes(f), modes), in_modes(auto(f), modes))
    assert_equal_but_for_rounding(lambda *all: both(all[:n], *all[n:]), (*directions, *args))


@pytest.mark.many
@pytest.mark.parametrize(("f", "point"), POINTS)
def test_a_rule_in_every_mode(f, point, x64):
    assert_same_modes(f, point, FIRST)


@pytest.mark.many
@pytest.mark.parametrize(("f", "point"), POINTS)
def test_a_rule_in_every_order(f, point, x64):
    assert_same_modes(f, point, SECOND)


@pytest.mark.many
@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
@pytest.mark.parametrize(("f", "point"), FIRST_POINTS, ids=NAMES)
def test_forward_mode_is_as_precise_as_autodiff(f, point, dtype, x64):
    def pushed(f):
        def along_first(t, *args):
            moving, arrays = hold_the_rest(f, args)
            return along(moving, arrays, [t, *map(jnp.zeros_like, arrays[1:])])

        return along_first

    both = compiled_together(pushed(both_modes(f)), pushed(auto(f)))
    first = next(filter(is_floating, cast(point, np.float64)))
    tangents = [random_like(first, seed) for seed in (1, 2)]
    assert_as_precise_as_autodiff(both, point, tangents, dtype)


@pytest.mark.parametrize(("f", "point"), FIRST_POINTS, ids=NAMES)
def test_reverse_mode_keeps_what_the_rule_keeps(f, point):
    g, arrays = hold_the_rest(f, cast(point, np.float32))
    a_number = 4  # of the graph, which jax 0.10 keeps too
    assert residual_bytes(both_modes(g), *arrays) <= residual_bytes(g, *arrays) + a_number


@pytest.mark.many
@pytest.mark.parametrize(("f", "point"), FIRST_POINTS, ids=NAMES)
def test_check_judges_forward_mode_too(f, point):
    report = check(both_modes(f), *cast(point, np.float32), budget=600)
    report.require()
    assert any(found.question == "forward" for found in report.findings)


FAULTS = [
    pytest.param(faulty, first_of(entry)[1], entry.default_case.options[0], id=f"{name}-{fault}")
    for name, entry in ENTRIES.items()
    for fault, faulty in entry.faults.items()
]


@pytest.mark.many
@pytest.mark.parametrize(("faulty", "point", "options"), FAULTS)
def test_a_wrong_backward_is_wrong_in_forward_mode(faulty, point, options, x64):
    """By the same cotangents: J is what the backward says it is, transposed."""
    f = functools.partial(faulty, **options)
    moving, arrays = hold_the_rest(f, cast(point, np.float64))
    every = tuple(range(len(arrays)))
    by_rows = jax.jit(jax.jacrev(moving, every))(*arrays)
    try:
        by_columns = jax.jit(jax.jacfwd(both_modes(moving), every))(*arrays)
    except TypeError as e:
        if "gives no forward mode" in str(e):
            return  # it is not even linear, or of other dtypes
        raise
    for rows, columns in zip(by_rows, by_columns, strict=True):
        np.testing.assert_allclose(columns, rows, rtol=1e-9, atol=1e-12)


# -- by the rule, wherever it is


@pytest.mark.many
@pytest.mark.parametrize("make", [make_ours, make_theirs], ids=["ours", "theirs"])
@pytest.mark.parametrize("place", PLACES)
def test_forward_mode_is_the_rules_wherever_it_is(place, make):
    f = both_modes(functools.partial(PLACES[place], make()))
    assert_close(jax.jvp(f, (X,), (X,))[1], 100 * X * COS)
    assert_close(jax.jit(lambda x: jax.linearize(f, x)[1](x))(X), 100 * X * COS)
    assert_close(jax.grad(f)(X), 100 * COS)


def test_in_a_loop_until_a_condition_holds():
    def twice(f):
        return lambda x: lax.while_loop(lambda c: c[0] < 2, lambda c: (c[0] + 1, f(c[1])), (0, x))

    hand, automatic = (
        jax.jvp(lambda x, g=g: g(x)[1], (ROW,), (ONES,))[1]
        for g in (both_modes(twice(tanh)), auto(twice(tanh)))
    )
    np.testing.assert_allclose(hand, automatic, rtol=1e-6)


def test_tails_where_autodiff_gives_0():
    """1 - tanh² of 20 is 2e-17: autodiff of the body has 1 - 1."""
    pushed = [jax.jvp(f(tanh), (20.0,), (1.0,))[1] for f in (both_modes, auto)]
    np.testing.assert_allclose(pushed[0], 1 / np.cosh(20.0) ** 2, rtol=1e-6)
    assert pushed[1] == 0
    z = jnp.array([40.0, 0.0, 0.0])
    pushed = [
        jax.jvp(f(softmax), (z,), (jnp.array([1.0, 0, 0]),))[1][0] for f in (both_modes, auto)
    ]
    np.testing.assert_allclose(pushed[0], 2 * np.exp(-40.0), rtol=1e-5)
    assert pushed[1] == 0


def test_what_a_backward_computes_in_a_loop_is_not_kept_for_all_turns():
    """A backward in chunks: neither jvp nor gradient has an array of rows x columns."""
    rows, columns = 40, 30
    table = jnp.linspace(0, 1, columns)

    def chunks(x, c=None):
        def turn(so_far, at):
            x, c = at
            angles = x[:, None] * table
            if c is None:
                return so_far, jnp.sin(angles).sum(1)
            return so_far, (jnp.cos(angles) * c[:, None]) @ table

        given = [None if a is None else a.reshape(-1, 4) for a in (x, c)]
        return lax.scan(turn, 0.0, given)[1].reshape(rows)

    f = rule(lambda x: chunks(x))
    f.forward(lambda x: (chunks(x), x))
    f.backward(lambda x, dy: (chunks(x, dy),))
    x = jnp.linspace(0, 1, rows)

    def both_ways(x):
        g = both_modes(f)
        return jax.jvp(g, (x,), (x,)), jax.vjp(g, x)[1](x)

    every = _graph.equations(jax.make_jaxpr(both_ways)(x))
    assert max(v.aval.size for e, _ in every for v in e.outvars) < rows * columns
    assert_close(both_ways(x)[0], jax.jvp(auto(f), (x,), (x,)))


def test_a_rule_keeps_its_name_and_its_place():
    (e,) = jax.make_jaxpr(both_modes(tanh))(ROW).eqns
    assert _graph.name_of_rule(e) == "tanh"
    assert "_activations.py:" in _graph.place_of_function(_graph.body_of_rule(e))


# -- arguments


def test_keys_are_no_obstacle():
    f = both_modes(functools.partial(dropout, rate=0.5))
    key, none = jax.random.key(1), np.zeros((), jax.dtypes.float0)
    y, moved = jax.jvp(f, (key, ONES), (none, ONES))
    np.testing.assert_array_equal(moved, y)
    assert set(map(float, y)) <= {0.0, 2.0}


def test_a_tangent_that_is_absent_and_one_that_is_0():
    @rule
    def product(x, y):
        return x * y

    product.forward(lambda x, y: (x * y, (x, y)))
    product.backward(lambda kept, dz: (10 * dz * kept[1], 100 * dz * kept[0]))
    f = both_modes(product)
    absent = jax.jvp(lambda x: f(x, 2.0), (3.0,), (1.0,))[1]
    zero = jax.jvp(f, (3.0, 2.0), (1.0, 0.0))[1]
    assert absent == zero == 20
    assert jax.jvp(f, (3.0, 2.0), (0.0, 1.0))[1] == 300
    assert jax.jvp(f, (3.0, 2.0), (0.0, 0.0))[1] == 0
    assert jax.jvp(lambda x: f(x, x), (3.0,), (1.0,))[1] == 330


def test_integers_options_and_what_is_no_array():
    g = jax.custom_vjp(lambda n, x: (n * x, jnp.argmax(x)))
    g.defvjp(lambda n, x: ((n * x, jnp.argmax(x)), n), lambda n, c: (None, 5 * n * c[0]))

    @both_modes
    def f(x, name, *, slope_at_zero):
        y, at = g(jnp.int32(3), relu(x, slope_at_zero=slope_at_zero))
        return y, at, name

    (_, at), (dy, dat) = jax.jvp(lambda x: f(x, "a", slope_at_zero=0.5)[:2], (0 * ROW,), (ONES,))
    np.testing.assert_array_equal(dy, 7.5 * ONES)
    assert at == 0
    assert dat.dtype == jax.dtypes.float0
    assert f(ROW, "a", slope_at_zero=0.0)[2] == "a"


def test_complex_numbers():
    f = jax.custom_vjp(lambda z: (1 + 2j) * z)
    f.defvjp(lambda z: ((1 + 2j) * z, None), lambda _, c: ((3 + 4j) * c,))
    assert jax.jvp(both_modes(f), (1.0 + 0j,), (1.0 - 1j,))[1] == (3 + 4j) * (1 - 1j)


def test_a_backward_that_is_told_what_is_differentiated():
    f = jax.custom_vjp(lambda x, y: x * y)
    f.defvjp(
        lambda x, y: (x.value * y.value, (x.value, y.value, y.perturbed)),
        lambda kept, c: (10 * c * kept[1], c * kept[0] if kept[2] else None),
        symbolic_zeros=True,
    )
    assert jax.jvp(lambda x: both_modes(f)(x, 2.0), (3.0,), (1.0,))[1] == 20


def test_a_function_without_rules_and_one_that_has_both_modes_already():
    np.testing.assert_allclose(jax.jvp(both_modes(jnp.sin), (X,), (1.0,))[1], COS)
    twice = both_modes(both_modes(make_ours()))
    np.testing.assert_allclose(jax.jvp(twice, (X,), (1.0,))[1], 100 * COS, rtol=1e-5)


def test_auto_takes_the_rules_off_still():
    for make in (make_ours, make_theirs):
        for f in (auto(both_modes(make())), both_modes(auto(make()))):
            np.testing.assert_allclose(jax.jvp(f, (X,), (1.0,))[1], COS, rtol=1e-5)
            np.testing.assert_allclose(jax.grad(f)(X), COS, rtol=1e-5)


def test_a_function_without_derivative_is_compiled_once(compilations):
    f = both_modes(jax.jit(make_ours()))
    f(X)
    del compilations[:]
    f(X)
    assert not compilations


def test_nothing_is_held_of_a_function_that_is_gone():
    gc.collect()
    before = len(_modes._known)
    jax.jvp(both_modes(jax.jit(make_ours())), (X,), (1.0,))
    jax.clear_caches()
    gc.collect()
    assert len(_modes._known) <= before


# -- rules that call rules


def scaling(factor):
    """x w, whose backward is wrong by this factor: it tells that it was taken."""
    product = rule(lambda x, w: x * w)
    product.forward(lambda x, w: (x * w, (x, w)))
    product.backward(lambda kept, dy: (factor * dy * kept[1], factor * dy * kept[0]))
    return product


def test_a_forward_that_calls_its_own_rule():
    own = rule(lambda x: jnp.sin(x))
    own.forward(lambda x: (own(x), x))
    own.backward(lambda x, dy: (10 * jnp.cos(x) * dy,))
    f = both_modes(own)
    assert_close(jax.jvp(f, (X,), (1.0,)), (SIN, 10 * COS))
    assert_close(jax.jacfwd(jax.jacfwd(f))(X), -10 * SIN)
    assert_close(jax.jacfwd(jax.value_and_grad(f))(X), (10 * COS, -10 * SIN))


@pytest.mark.parametrize("around", [jax.jit, jax.checkpoint])
def test_a_backward_that_calls_a_rule(around):
    """It is linear there: its backward is what it is transposed by."""
    times = scaling(3)
    f = rule(lambda x: jnp.sin(x))
    f.forward(lambda x: (jnp.sin(x), x))
    f.backward(lambda x, dy: (around(times)(dy, tanh(jnp.cos(x))),))
    g = both_modes(f)
    assert_close(jax.jvp(g, (X,), (1.0,))[1], 3 * np.tanh(COS))
    slope = -SIN / np.cosh(COS) ** 2
    assert_close(jax.jacfwd(jax.jacfwd(g))(X), 3 * slope)


def test_a_backward_that_calls_a_rule_in_a_scan():
    times = scaling(3)

    def backward(x, dy):
        return (lax.scan(lambda c, _: (times(c, x), None), dy, None, length=2)[0],)

    f = rule(lambda x: jnp.sin(x))
    f.forward(lambda x: (jnp.sin(x), x))
    f.backward(backward)
    assert_close(jax.jvp(both_modes(f), (X,), (1.0,))[1], 9 * X**2)


def test_a_backward_that_calls_a_rule_that_is_not_linear_there():
    f = rule(lambda x: jnp.sin(x))
    f.forward(lambda x: (jnp.sin(x), x))
    f.backward(lambda x, dy: (tanh(dy),))
    with pytest.raises(TypeError, match="gives no forward mode"):
        jax.jvp(both_modes(f), (X,), (1.0,))


def assert_close(got, expected):
    for a, b in zip(jax.tree.leaves(got), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5)


def test_a_backward_that_solves_by_conjugate_gradients():
    """As the rules of solvers do: J = A⁻¹."""
    matrix = 2 * jnp.eye(5) + jnp.outer(ROW, ROW)

    def solve(b):
        return jax.scipy.sparse.linalg.cg(lambda x: matrix @ x, b)[0]

    f = jax.custom_vjp(solve)
    f.defvjp(lambda b: (solve(b), None), lambda _, c: (solve(c),))
    moved = jax.jvp(both_modes(f), (ROW,), (ONES,))[1]
    np.testing.assert_allclose(moved, jnp.linalg.solve(matrix, ONES), rtol=1e-4)


@pytest.mark.many
@pytest.mark.parametrize("right_sides", ["of one", "of both", "of one, of which one is read"])
def test_a_backward_that_solves_for_several_arrays(right_sides, x64):
    """JAX transposes such a solve where all right sides are linear alone; its own jvp makes 0s."""

    def blocks(x, v):
        return (3 + x) * v[0] + v[1], 0.5 * v[0] + 2 * v[1]

    def solve(x, c):
        b = (c, 3 * c) if right_sides == "of both" else (c, jnp.zeros_like(c))
        found = jax.scipy.sparse.linalg.bicgstab(lambda v: blocks(x, v), b, tol=1e-14)[0]
        return found[0] if "read" in right_sides else found[0] + found[1]

    f = jax.custom_vjp(jnp.sin)
    f.defvjp(lambda x: (jnp.sin(x), x), lambda x, c: (solve(x, c),))
    g, slope = both_modes(f), functools.partial(slope_of_solve, right_sides)
    x, t = np.linspace(0.3, 1.2, 5), np.cos(np.arange(5.0))
    np.testing.assert_allclose(along(g, (x,), (t,)), slope(x) * t)
    np.testing.assert_allclose(jax.vjp(g, x)[1](t)[0], slope(x) * t)
    for outer, inner in itertools.product((jax.jacfwd, jax.jacrev), repeat=2):
        hessian = outer(inner(lambda x: jnp.sum(g(x))))(x)
        np.testing.assert_allclose(hessian @ t, jax.jvp(slope, (x,), (t,))[1])


def slope_of_solve(right_sides, x):
    """What that backward multiplies its cotangent by."""
    b = (1, 3) if right_sides == "of both" else (1, 0)
    first, second = 2 * b[0] - b[1], (3 + x) * b[1] - 0.5 * b[0]
    found = first if "read" in right_sides else first + second
    return found / (2 * (3 + x) - 0.5)


# -- backwards that have no transpose


def on_host(x, c):
    shape = jax.ShapeDtypeStruct(c.shape, c.dtype)
    return jax.pure_callback(lambda x, c: np.cos(x) * c, shape, x, c)


def in_a_kernel(x, c):
    pallas = pytest.importorskip("jax.experimental.pallas")

    def kernel(x_ref, c_ref, out_ref):
        out_ref[...] = jnp.cos(x_ref[...]) * c_ref[...]

    shape = jax.ShapeDtypeStruct(c.shape, c.dtype)
    return pallas.pallas_call(kernel, out_shape=shape, interpret=True)(x, c)


NO_TRANSPOSE = {
    "g == 0": lambda x, c: jnp.where(c == 0, 0, c * jnp.cos(x)),
    "cond of any": lambda x, c: lax.cond(jnp.any(c != 0), lambda: c * jnp.cos(x), lambda: 0 * c),
    "while_loop": lambda x, c: lax.while_loop(
        lambda s: s[0] < 1, lambda s: (s[0] + 1, s[1] * jnp.cos(x)), (0, c)
    )[1],
    "callback": on_host,
    "kernel": in_a_kernel,
    "clip": lambda x, c: jnp.clip(c, -1, 1),
    "norm": lambda x, c: c / jnp.linalg.norm(c),
    "square": lambda x, c: c * c,
    "sort": lambda x, c: jnp.sort(c),
    "absolute": lambda x, c: jnp.abs(c),
    "nan_to_num": lambda x, c: jnp.nan_to_num(c),
    "without the cotangent": lambda x, c: jnp.cos(x),
    "by way of integers": lambda x, c: c.astype(int).astype(c.dtype),
}


@pytest.mark.parametrize("backward", NO_TRANSPOSE.values(), ids=NO_TRANSPOSE)
def test_a_backward_without_a_transpose_is_an_error_that_says_where(backward):
    @rule
    def sine(x):
        return jnp.sin(x)

    sine.forward(lambda x: (jnp.sin(x), x))
    sine.backward(lambda x, dy: (backward(x, dy),))
    message = (
        r"the backward of sine \(.*test_both_modes.py:\d+\) gives no forward mode, for JAX cannot "
        r"transpose it: .+jaxnet\.auto\(fn\) has both modes"
    )
    f = both_modes(sine)
    for derivative in (lambda: jax.jvp(f, (ROW,), (ONES,)), lambda: jax.jacfwd(jax.jit(f))(ROW)):
        with pytest.raises(TypeError, match=message):
            derivative()
    np.testing.assert_array_equal(f(ROW), jnp.sin(ROW))


# -- as JAX may record them


@pytest.mark.skipif(jax.__version_info__ < (0, 12), reason="this jax has them in parts")
@pytest.mark.parametrize("flag", ["jax_custom_vjp3", "jax_custom_jvp3"])
def test_rules_that_are_python_objects(flag):
    with as_objects(flag):
        for place in ("plain", "vmap", "scan", "cond", "remat"):
            f = both_modes(functools.partial(PLACES[place], make_theirs()))
            assert_close(jax.jvp(f, (X,), (1.0,))[1], 100 * COS)
            assert_close(jax.jacfwd(jax.jacrev(f))(X), -100 * SIN)
            assert_close(jax.jacrev(jax.jacfwd(f))(X), -100 * SIN)


@contextlib.contextmanager
def as_objects(flag):
    before = getattr(jax.config, flag)
    jax.config.update(flag, True)
    try:
        yield
    finally:
        jax.config.update(flag, before)


@pytest.mark.skipif(jax.__version_info__ < (0, 12), reason="this jax has no HiPrim of this form")
def test_a_hiprim():
    from corpus.hiprims import RIGHT, applied

    found = set()
    for cls, args in RIGHT.values():
        moving, arrays = hold_the_rest(functools.partial(applied, cls), cast(args, np.float32))
        with contextlib.suppress(Exception):
            jax.linearize(auto(moving), *arrays)  # its truth can be had
            jax.vjp(moving, *arrays)
            found.add(cls.__name__)
            assert_close(
                along(both_modes(moving), arrays, arrays), along(auto(moving), arrays, arrays)
            )
    assert found
