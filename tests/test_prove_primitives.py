"""prove: what single primitives stand for, by a right rule and a wrong one for each."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from corpus import by_hand, pointwise
from jax.ad_checkpoint import checkpoint_name
from jax.experimental import pallas
from jax.extend.core import Primitive

import jaxnet

X = np.array([0.3, -1.2, 2.1])


def verdict(body, slope, x=X):
    """Of body, element by element, with this slope."""
    return str(jaxnet.prove(pointwise(body, slope), x).verdict)


# -- what reaches the host, or memory


@pytest.mark.parametrize(("slope", "expected"), [(jnp.cos, "proved"), (jnp.sin, "refuted")])
def test_a_callback_that_returns_nothing_changes_no_number(slope, expected, capfd):
    def printed(x):
        jax.debug.print("met {}", x)
        return slope(x)

    assert verdict(jnp.sin, printed) == expected
    assert "met" not in capfd.readouterr().out


def test_memory_that_is_written_to_is_not_followed():
    def doubled(x):
        memory = jax.new_ref(x)
        memory[...] = 2 * x
        return memory[...]

    for slope in (2.0, 1.0):
        proof = jaxnet.prove(doubled, X, ref=lambda x, slope=slope: slope * x)
        assert "not known (memory that is written to" in proof.sentence()


def test_what_raises_elsewhere_is_judged_at_the_arguments_alone():
    def require(is_small):
        if not is_small:
            raise ValueError("too large")
        return np.asarray(is_small)

    def sine(x):
        is_small = jnp.sum(x) < 100
        fine = jax.pure_callback(require, jax.typeof(is_small), is_small)
        return jnp.where(fine, jnp.sin(x), 0.0)

    assert verdict(sine, jnp.cos) == "proved"
    assert verdict(sine, jnp.sin) == "refuted"
    proof = jaxnet.prove(pointwise(sine, jnp.cos), X + 100)
    assert "not known (it raises at the arguments: " in proof.sentence()


def by_host(x):
    def sine(x):
        return np.sin(np.asarray(x, np.float32)).astype(x.dtype)

    return jax.pure_callback(sine, jax.typeof(x), x)


def by_kernel(x):
    def kernel(x, y):
        y[...] = jnp.sin(x[...].astype(jnp.float32)).astype(y.dtype)

    return pallas.pallas_call(kernel, out_shape=jax.typeof(x), interpret=True)(x)


@pytest.mark.parametrize("body", [by_host, by_kernel])
@pytest.mark.parametrize(("factor", "expected"), [(1.0, "not proved"), (1.01, "refuted")])
def test_the_rounding_inside_of_what_is_opaque_refutes_nothing(body, factor, expected):
    rule = pointwise(body, jnp.cos)
    proof = jaxnet.prove(rule, X, ref=lambda x: factor * jnp.sin(x))
    assert {leaf.name: str(leaf.verdict) for leaf in proof.leaves}["output"] == expected


# -- roots of literals


@pytest.mark.parametrize(
    ("root", "literal"),
    [
        (lambda: jnp.sqrt(jnp.pi), lambda: np.sqrt(np.pi)),
        (lambda: jnp.sqrt(121.0), lambda: 11.0),
        (lambda: jnp.sqrt(jnp.float32(121) / 169), lambda: 11 / 13),
        (lambda: jnp.exp(jnp.sqrt(121.0)), lambda: jnp.exp(11.0)),
        (lambda: jnp.sqrt(jnp.square(0.7123456789)), lambda: 0.7123456789),
    ],
)
def test_the_root_of_a_literal_is_positive(root, literal):
    def of_root(x):
        return root() * x

    for sign, expected in ((1, "proved"), (-1, "refuted"), (1 + 1e-7, "refuted")):
        proof = jaxnet.prove(of_root, X, ref=lambda x, sign=sign: sign * literal() * x)
        assert proof.verdict == expected


def test_roots_of_literals_are_factors_of_other_roots():
    def root(x):
        return jnp.sqrt(x * 0.7123456789 * jnp.pi)

    def factored(x):
        return jnp.sqrt(x) * jnp.sqrt(0.7123456789) * np.sqrt(np.pi)

    assert jaxnet.prove(root, abs(X), ref=factored).verdict == "proved"
    assert jaxnet.prove(root, abs(X), ref=lambda x: -factored(x)).verdict == "refuted"


# -- logarithms of literals, and exponentials


LOGARITHMS = {  # equal, and almost equal
    "exp2 of a sum": (
        lambda x: jnp.exp2(x + 3 * x**2),
        lambda x: jnp.exp2(x) * jnp.exp2(x**2) ** 3,
        lambda x: jnp.exp2(x) * jnp.exp2(x**2) ** 3.000001,
    ),
    "exp2 by log2 e": (
        jnp.exp,
        lambda x: jnp.exp2(x * np.log2(np.e)),
        lambda x: jnp.exp2(x * 1.4427),
    ),
    "a power of 4": (lambda x: jnp.exp2(2 * x), lambda x: 4.0**x, lambda x: 4.00001**x),
    "log 6": (
        lambda x: x * jnp.log(6.0),
        lambda x: x * np.log(2.0) + x * np.log(3.0),
        lambda x: x * np.log(2.0) + x * np.log(3.00001),
    ),
    "log 10": (jnp.log10, lambda x: jnp.log(x) * np.log10(np.e), lambda x: jnp.log(x) * 0.434294),
    "log2 of 8": (lambda x: x * jnp.log2(8.0), lambda x: 3 * x, lambda x: 3.00001 * x),
    "of a normal density": (
        lambda x: jnp.exp(jax.scipy.stats.norm.logpdf(x)),
        lambda x: jnp.exp(-x * x / 2) / np.sqrt(2 * np.pi),
        lambda x: jnp.exp(-x * x / 2) / np.sqrt(2 * 3.14159),
    ),
    "e": (
        lambda x: jnp.exp(x + 1),
        lambda x: jnp.exp(x) * jnp.exp(1.0),
        lambda x: jnp.exp(x) * 4.0,
    ),
    "root of e": (
        lambda x: jnp.exp(x + 0.5),
        lambda x: jnp.exp(x) * jnp.sqrt(jnp.exp(1.0)),
        lambda x: jnp.exp(x) * 2.0,
    ),
    "a small number is no logarithm": (lambda x: x * 1e-17, lambda x: 1e-17 * x, lambda x: 0 * x),
}


@pytest.mark.many
@pytest.mark.parametrize("name", LOGARITHMS)
def test_logarithms_of_literals(name):
    function, equal, almost = LOGARITHMS[name]
    assert jaxnet.prove(function, abs(X), ref=equal).verdict == "proved"
    assert jaxnet.prove(function, abs(X), ref=almost).verdict == "refuted"


def test_of_two_exponentials_to_the_base_two_the_larger_is_taken_out():
    assert jaxnet.prove(jnp.logaddexp2, X, X[::-1] + 0.1).verdict == "proved"


# -- primitives that are Python objects

has_objects = pytest.mark.skipif(
    jax.__version_info__ < (0, 12), reason="there they are functions, or move bits"
)


@pytest.mark.parametrize(("power", "expected"), [(0.5, "proved"), (-0.5, "refuted")])
def test_a_root_is_what_its_solver_returns(power, expected):
    def root(x):
        def solve(g, x):
            return x / g(jnp.ones_like(x))

        first = jnp.ones_like(x)
        return jax.lax.custom_root(lambda y: y * y - x, first, lambda f, y: jnp.sqrt(x), solve)

    assert jaxnet.prove(root, abs(X), ref=lambda x: x**power).verdict == expected


@has_objects
@pytest.mark.parametrize(("factor", "expected"), [(1, "proved"), (-1, "refuted")])
def test_powers_of_two(factor, expected):
    def by_bits(x):
        mantissa, exponent = jnp.frexp(x)
        return jnp.ldexp(mantissa**2, exponent + np.array([3, -1, 0]))

    def by_division(x):
        exponent = np.array([-1, 1, 2]) * factor
        return (x / 2.0**exponent) ** 2 * 2.0 ** (exponent + np.array([3, -1, 0]))

    proof = jaxnet.prove(by_bits, X, ref=by_division)
    assert proof.verdict == expected


@has_objects
def test_at_a_power_of_two_the_exponent_jumps():
    proof = jaxnet.prove(lambda x: jnp.frexp(x)[0], np.ones(1), ref=lambda x: x / 2)
    assert proof.verdict != "proved"


# -- linear algebra


def matrix(*shape):
    return np.random.default_rng(7).normal(size=shape)


def solve_backward(turn):
    def backward(a, b, dx):
        w = jnp.linalg.solve(turn(a), dx)
        return -jnp.outer(w, jnp.linalg.solve(a, b)), w

    return backward


LINEAR = {  # body, its backward from the turned matrix, arguments
    "solve": (jnp.linalg.solve, solve_backward, (matrix(3, 3), matrix(3))),
    "det": (
        jnp.linalg.det,
        lambda turn: lambda a, c: (c * jnp.linalg.det(a) * jnp.linalg.inv(turn(a)),),
        (matrix(5, 5),),
    ),
    "slogdet": (
        lambda a: jnp.linalg.slogdet(a)[1],
        lambda turn: lambda a, c: (c * jnp.linalg.inv(turn(a)),),
        (matrix(3, 3),),
    ),
    "inv": (
        jnp.linalg.inv,
        lambda turn: lambda a, c: (-(jnp.linalg.inv(turn(a)) @ c @ jnp.linalg.inv(turn(a))),),
        (matrix(3, 3),),
    ),
}


@pytest.mark.many
@pytest.mark.parametrize("name", LINEAR)
def test_factorisations_are_eliminations(name):
    body, backward, args = LINEAR[name]
    right, wrong = by_hand(body, backward(jnp.transpose)), by_hand(body, backward(lambda a: a))
    assert jaxnet.prove(right, *args).verdict == "proved"
    assert jaxnet.prove(wrong, *args).verdict == "refuted"


@pytest.mark.parametrize(("factor", "expected"), [(1.0, "proved"), (1 + 1e-6, "refuted")])
def test_the_root_of_a_matrix(factor, expected):
    """The logarithm of the determinant, of what a and aᵀ have in common."""

    def log_of_det(a):
        return 2 * jnp.sum(jnp.log(jnp.diagonal(jnp.linalg.cholesky(a), axis1=1, axis2=2)))

    def backward(a, dy):
        return (factor * dy * jnp.linalg.inv((a + a.mT) / 2),)

    a = matrix(2, 2, 2)
    positive = a @ np.swapaxes(a, 1, 2) + np.eye(2)
    assert jaxnet.prove(by_hand(log_of_det, backward), positive).verdict == expected
    assert jaxnet.prove(by_hand(log_of_det, backward), -positive).verdict != "proved"


def test_a_batch_of_wide_and_of_high_matrices_is_factorised():
    for shape in ((2, 2, 3), (2, 3, 2)):

        def product(a):
            packed, _, order = jax.lax.linalg.lu(a)
            size = min(a.shape[1:])
            lower = jnp.tril(packed, -1)[..., :size] + jnp.eye(a.shape[1], size)
            return lower @ jnp.triu(packed)[:, :size], order

        def rows(a):
            order = jax.lax.linalg.lu(a)[2]
            return jnp.take_along_axis(a, order[..., None], 1), order

        assert jaxnet.prove(product, matrix(*shape), ref=rows).verdict == "proved"
        unordered = jaxnet.prove(product, matrix(*shape), ref=lambda a: (a, rows(a)[1]))
        assert unordered.verdict == "refuted"


def test_where_two_rows_may_come_first_nothing_is_proved():
    """det itself does not depend on which; its factors do."""
    tied = np.array([[1.0, 2.0], [-1.0, 3.0]])
    proof = jaxnet.prove(
        lambda a: jax.lax.linalg.lu(a)[0], tied, ref=lambda a: jax.lax.linalg.lu(a)[0]
    )
    assert proof.verdict == "not proved"


def test_a_singular_matrix_has_no_inverse():
    """In floats a rounding hides the 0."""
    a = np.outer([0.1, 0.3, 0.7], [0.2, 0.7, 0.3])

    def inverse(x):
        return jnp.linalg.inv(x * a)

    assert jaxnet.prove(inverse, np.ones(()), ref=inverse).verdict == "not proved"


@pytest.mark.many
@pytest.mark.parametrize("left_side", [True, False])
@pytest.mark.parametrize("lower", [True, False])
@pytest.mark.parametrize("transpose_a", [True, False])
@pytest.mark.parametrize("unit_diagonal", [True, False])
def test_triangular_solutions(left_side, lower, transpose_a, unit_diagonal):
    def solution(a, b):
        return jax.lax.linalg.triangular_solve(
            a, b, left_side=left_side, lower=lower, transpose_a=transpose_a,
            unit_diagonal=unit_diagonal,
        )  # fmt: skip

    def product(a, b, is_right=True):
        a = jnp.tril(a) if lower else jnp.triu(a)
        if unit_diagonal:
            a = a + jnp.diag(1 - jnp.diag(a))
        inverse = jnp.linalg.inv(a)
        inverse = inverse.T if transpose_a is is_right else inverse
        return inverse @ b if left_side else b @ inverse

    args = matrix(2, 2), matrix(2, 2)[::-1]
    assert jaxnet.prove(solution, *args, ref=product).verdict == "proved"
    wrong = jaxnet.prove(solution, *args, ref=lambda a, b: product(a, b, is_right=False))
    assert wrong.verdict == "refuted"


# -- element by element


@pytest.mark.parametrize(("factor", "expected"), [(2.0, "proved"), (2.0 + 1e-7, "refuted")])
def test_polynomials(factor, expected):
    """A primitive from jax 0.12 on."""

    def cubic(coefficients, x):
        return jnp.polyval(coefficients, x)

    def backward(c, x, dy):
        powers = jnp.stack([x**3, x**2, x, jnp.ones_like(x)])
        return powers @ dy, dy * (3 * c[0] * x**2 + factor * c[1] * x + c[2])

    proof = jaxnet.prove(by_hand(cubic, backward), np.array([1.5, 0.2, -1.0, 0.7]), X)
    assert proof.verdict == expected


@pytest.mark.parametrize(("base", "expected"), [(2.0, "proved"), (2.0 + 1e-6, "refuted")])
def test_logarithms_to_the_base_two(base, expected):
    assert verdict(jnp.log2, lambda x: 1 / (x * jnp.log(base)), abs(X)) == expected


ODD = {
    "asin": (jnp.asin, lambda x: -jnp.asin(x)),
    "acos": (jnp.acos, lambda x: jnp.pi - jnp.acos(x)),
    "acos by asin": (lambda x: jnp.pi / 2 - jnp.asin(-x), jnp.acos),
    "atan": (jnp.atan, lambda x: -jnp.atan(x)),
    "asinh": (jnp.asinh, lambda x: -jnp.asinh(x)),
    "atanh": (jnp.atanh, lambda x: -jnp.atanh(x)),
    "erf_inv": (jax.scipy.special.erfinv, lambda x: -jax.scipy.special.erfinv(x)),
    "i0e": (jax.scipy.special.i0e, jax.scipy.special.i0e),
    "i1e": (jax.scipy.special.i1e, lambda x: -jax.scipy.special.i1e(x)),
}


@pytest.mark.parametrize("name", ODD)
@pytest.mark.parametrize(("factor", "expected"), [(1, "proved"), (1 + 1e-6, "refuted")])
def test_functions_that_are_odd_or_even(name, factor, expected):
    function, mirrored = ODD[name]
    proof = jaxnet.prove(lambda x: function(-x), X / 3, ref=lambda x: factor * mirrored(x))
    assert proof.verdict == expected
    with_the_sign = jaxnet.prove(lambda x: function(-x), X / 3, ref=lambda x: -mirrored(x))
    assert with_the_sign.verdict == "refuted"


# -- movements


@pytest.mark.parametrize(("axis", "expected"), [(1, "proved"), (0, "refuted")])
def test_rows_are_stacked_and_taken_apart(axis, expected):
    def squares(x):
        first, second, third = x
        rows = jnp.stack([first**2, second**2, third**2], 1)
        return checkpoint_name(jax.lax.tile(rows.T, (2, 1)), "squares")

    def backward(x, dy):
        rows = jnp.unstack((dy[:3] + dy[3:]) * 2 * x, axis=axis)
        return (jnp.stack(rows, 1),)

    assert jaxnet.prove(by_hand(squares, backward), matrix(3, 3)).verdict == expected


# -- primitives of other libraries


def primitive_of(name, implementation, backward):
    """As another library makes one, with a rule of its own."""
    primitive = Primitive(name)
    primitive.def_impl(implementation)
    primitive.def_abstract_eval(lambda x: jax.core.ShapedArray(x.shape, x.dtype))
    return by_hand(primitive.bind, backward)


@pytest.mark.parametrize("name", ["cube", "sin"])  # whatever it is called
@pytest.mark.parametrize(("factor", "expected"), [(3, "proved"), (2, "refuted")])
def test_a_primitive_of_another_library_is_its_implementation(name, factor, expected):
    cube = primitive_of(name, lambda x: x * x * x, lambda x, dy: (factor * x**2 * dy,))
    said = jaxnet.prove(cube, X, ref=lambda x: x**3)
    assert (said.leaves[0].verdict, said.leaves[1].verdict) == ("proved", expected)


def test_an_implementation_that_cannot_be_traced_is_an_unknown_function():
    sine = primitive_of("of_host", lambda x: np.sin(np.asarray(x)), lambda x, dy: (dy * x,))
    proof = jaxnet.prove(sine, X, ref=jnp.sin)
    assert proof.verdict != "proved"


@pytest.mark.parametrize(("factor", "expected"), [(1, "proved"), (2, "refuted")])
def test_products_and_differences_in_some_places(factor, expected):
    """The last place is met twice, one index is beyond the end."""

    def body(x, y):
        places = np.array([0, 2, 2, 7])
        return x.at[places].subtract(y), x.at[places[:2]].multiply(y[:2], unique_indices=True)

    def backward(x, y, dz):
        less, times = dz
        dx = less + times * jnp.stack([y[0], 1.0, y[1]])
        dy = -jnp.stack([less[0], less[2], less[2], 0.0])
        return dx, dy + factor * jnp.stack([x[0] * times[0], x[2] * times[2], 0.0, 0.0])

    assert jaxnet.prove(by_hand(body, backward), X, matrix(4)).verdict == expected


@pytest.mark.parametrize(("count", "expected"), [([2, 0, 3], "proved"), ([2, 1, 3], "refuted")])
def test_how_many_are_smaller(count, expected):
    def times_place(x):
        return x * jnp.searchsorted(jnp.array([-1.0, 0.0, 1.0]), x)

    proof = jaxnet.prove(times_place, X, ref=lambda x: x * np.array(count))
    assert proof.verdict == expected


# -- calls


def with_transpose(tangent):
    """A sine with this tangent, which is transposed as the right one is."""

    def pushed(primals, tangents):
        transposed = jax.custom_derivatives.linear_call(
            tangent, lambda x, dy: jnp.cos(x) * dy, *primals, *tangents
        )
        return jnp.sin(*primals), transposed

    sine = jax.custom_jvp(jnp.sin)
    sine.defjvp(pushed)
    return sine


@pytest.mark.parametrize(("factor", "expected"), [(1, "proved"), (2, "refuted")])
def test_what_has_a_transpose_of_its_own_is_computed_as_it_is_written(factor, expected):
    sine = with_transpose(lambda x, dx: factor * jnp.cos(x) * dx)
    said = {leaf.name: str(leaf.verdict) for leaf in jaxnet.prove(sine, X).leaves}
    assert said == {"output": "proved", "x": "proved", "tangent of output": expected}


@pytest.mark.parametrize(("factor", "expected"), [(1, "proved"), (2, "refuted")])
def test_beside_a_reference_of_reverse_mode_alone_tangents_are_paired(factor, expected):
    sine = with_transpose(lambda x, dx: factor * jnp.cos(x) * dx)
    proof = jaxnet.prove(sine, X, ref=pointwise(jnp.sin, jnp.cos))
    said = {leaf.name: str(leaf.verdict) for leaf in proof.leaves}
    assert said == {"output": "proved", "x": "proved", "tangent along x": expected}


def test_large_tangents_are_entered():
    clipped = with_transpose(lambda x, dx: jnp.cos(x) * jnp.clip(dx, -1e3, 1e3))
    assert jaxnet.prove(clipped, X).verdict == "refuted"


# -- windows

IMAGE = matrix(1, 4, 4, 1)
SQUARES = {"window_dimensions": (1, 2, 2, 1), "window_strides": (1, 2, 2, 1), "padding": "VALID"}


def in_squares(image):
    """[2, 2, 4]: the elements of each square."""
    return image.reshape(2, 2, 2, 2).transpose(0, 2, 1, 3).reshape(2, 2, 4)


def of_squares(squares):
    return squares.reshape(2, 2, 2, 2).transpose(0, 2, 1, 3).reshape(IMAGE.shape)


def shared_by_all(x, dy):
    return (of_squares(jnp.broadcast_to(dy.reshape(2, 2, 1) / 4, (2, 2, 4))),)


def paid_to_the_largest(x, dy):
    is_largest = in_squares(x) == in_squares(x).max(-1, keepdims=True)
    return (of_squares(is_largest * dy.reshape(2, 2, 1)),)


POOLING = {
    "the largest": lambda x: jax.lax.reduce_window(x, -jnp.inf, jax.lax.max, **SQUARES),
    "the smallest": lambda x: -jax.lax.reduce_window(-x, jnp.inf, jax.lax.min, **SQUARES),
    "the mean": lambda x: jax.lax.reduce_window(x, 0.0, jax.lax.add, **SQUARES) / 4,
}


@pytest.mark.parametrize("name", POOLING)
def test_pooling(name):
    rules = [by_hand(POOLING[name], back) for back in (paid_to_the_largest, shared_by_all)]
    right, wrong = rules[::-1] if name == "the mean" else rules
    assert jaxnet.prove(right, IMAGE).verdict == "proved"
    assert jaxnet.prove(wrong, IMAGE).verdict == "refuted"


@pytest.mark.parametrize(
    ("first", "joined", "take", "step"),
    [(-np.inf, jax.lax.max, jnp.max, 1), (0.0, jax.lax.add, jnp.sum, 2)],
)
def test_windows_that_overlap_and_hang_over_the_edge(first, joined, take, step):
    options = {"padding": ((1, 2),), "window_strides": (2,), "window_dilation": (step,)}

    def pooled(x):
        return jax.lax.reduce_window(x, first, joined, (3,), **options)

    def one_by_one(x):
        x = jnp.pad(x, (1, 2), constant_values=first)
        starts = range(0, 9 - 2 * step, 2)
        return jnp.stack([take(x[i : i + 2 * step + 1 : step]) for i in starts])

    proof = jaxnet.prove(pooled, matrix(6), ref=one_by_one).require()
    assert {str(leaf.verdict) for leaf in proof.further["second order"]} == {"proved"}
    moved = jaxnet.prove(pooled, matrix(6), ref=lambda x: one_by_one(x)[::-1])
    assert moved.verdict == "refuted"


def test_two_that_are_equal_in_a_window_are_an_edge():
    tied = np.ones(IMAGE.shape)
    rule = by_hand(POOLING["the largest"], paid_to_the_largest)
    assert jaxnet.prove(rule, tied).verdict != "proved"
