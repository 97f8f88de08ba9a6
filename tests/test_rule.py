"""The decorator `rule`.

The probes' backwards are wrong by a factor, so that on and off cannot be confused.
"""

import copy
import inspect
import pickle

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxnet import auto, both_modes, linear, relu, rule, softmax_cross_entropy
from jaxnet.rules import sigmoid

X = jnp.float32(0.7)
COS, SIN = float(jnp.cos(X)), float(jnp.sin(X))


@rule
def wrong_sin(x):
    """The sine."""
    return jnp.sin(x)


@wrong_sin.forward
def wrong_sin_forward(x):
    return jnp.sin(x), x


@wrong_sin.backward
def wrong_sin_backward(x, dy):
    return (100 * jnp.cos(x) * dy,)


def close(a, b):
    np.testing.assert_allclose(a, b, rtol=1e-5)


# ---- what reaches body, forward and backward ----


def test_the_backward_by_hand_is_what_grad_uses():
    assert float(wrong_sin(X)) == float(jnp.sin(X))
    close(jax.grad(wrong_sin)(X), 100 * COS)
    # Forward and backward stay plain functions under their own names.
    assert wrong_sin_forward(X)[1] is X
    close(wrong_sin_backward(X, 2.0)[0], 200 * COS)


def test_numbers_of_python_reach_both_halves_as_arrays():
    seen = []

    @rule
    def f(x):
        return 2 * x

    @f.forward
    def _(x):
        seen.append(x)
        return 2 * x, 3

    @f.backward
    def _(three, dy):
        seen.append(dy)
        assert range(three) == range(3)  # a residual stays what it was
        return (2 * dy,)

    assert float(jax.grad(f)(0.7)) == 2
    assert float(jax.vjp(f, 0.7)[1](1.0)[0]) == 2
    assert len(seen) == 4
    assert all(isinstance(x, jax.Array) for x in seen)
    assert float(jax.grad(sigmoid)(0.0)) == 0.25


@pytest.mark.parametrize(
    ("options", "expected"),
    [({}, (2, "sum")), ({"by": 3}, (3, "sum")), ({"how": "mean"}, (2, "mean"))],
)
def test_options_and_their_defaults_reach_all_three_by_name(options, expected):
    seen = {}

    @rule
    def f(x, *, by=2, how="sum"):
        seen["body"] = by, how
        return by * x

    @f.forward
    def f_forward(x, *, how, by):
        seen["forward"] = by, how
        return by * x, None

    @f.backward
    def f_backward(residuals, dy, *, how, by):
        seen["backward"] = by, how
        return (by * dy,)

    f(X, **options)
    jax.grad(lambda x: f(x, **options))(X)
    assert seen == dict.fromkeys(("body", "forward", "backward"), expected)


def test_options_are_static_so_that_the_rule_may_branch_on_them():
    for slope in (0.0, 0.25, 1.0):
        assert float(jax.jit(jax.grad(lambda x, s=slope: relu(x, slope_at_zero=s)))(0.0)) == slope


def test_positional_arguments_may_be_passed_by_name_and_are_still_differentiated():
    x, w, b = jnp.ones((2, 3)), jnp.ones((4, 3)), jnp.ones(4)
    by_name = jax.grad(lambda w: linear(bias=b, weight=w, x=x).sum())(w)
    np.testing.assert_array_equal(by_name, jax.grad(lambda w: linear(x, w, b).sum())(w))
    assert float(by_name[0, 0]) == 2


def test_positional_arguments_and_residuals_may_be_pytrees():
    @rule
    def affine(params, x):
        return params["w"] * x + params["b"]

    @affine.forward
    def affine_forward(params, x):
        return affine.body(params, x), {"w": params["w"], "x": (x,)}

    @affine.backward
    def affine_backward(residuals, dy):
        return {"w": 10 * dy * residuals["x"][0], "b": 100 * dy}, 1000 * dy * residuals["w"]

    params = {"w": jnp.float32(2), "b": jnp.float32(1)}
    dparams, dx = jax.grad(affine, argnums=(0, 1))(params, jnp.float32(3))
    assert (float(dparams["w"]), float(dparams["b"]), float(dx)) == (30, 100, 2000)
    dparams, dx = jax.grad(auto(affine), argnums=(0, 1))(params, jnp.float32(3))
    assert (float(dparams["w"]), float(dparams["b"]), float(dx)) == (3, 1, 2)


@pytest.mark.parametrize("label", [1, np.int64(1), jnp.int32(1)], ids=["int", "numpy", "jax"])
def test_an_integer_argument_has_no_cotangent(label):
    logits = jnp.array([1.0, 2.0, 3.0])
    loss = lambda z: softmax_cross_entropy(z, label)  # noqa: E731
    close(jax.grad(loss)(logits), jax.nn.softmax(logits) - jnp.array([0.0, 1.0, 0.0]))
    close(jax.grad(auto(loss))(logits), jax.grad(loss)(logits))


def test_body_gets_jax_arrays_also_from_numpy_and_python_numbers():
    """With NumPy's arrays a body would compute in NumPy's dtypes under auto, in JAX's by hand."""
    kinds = []

    @rule
    def f(x, constants):
        kinds.extend([isinstance(c, jax.Array) for c in constants])
        return x * constants[0].sum() * constants[1]

    f.forward(lambda x, constants: (f.body(x, constants), None))
    f.backward(lambda residuals, dy: (dy, None))
    call = lambda x: f(x, (np.full(3, 0.1), 2))  # noqa: E731
    values = call(X), jax.jit(call)(X), jax.vjp(call, X)[0], auto(call)(X)
    assert len(kinds) >= 8
    assert all(kinds)
    assert {v.dtype.name for v in values} == {"float32"}
    assert len({float(v) for v in values}) == 1


# ---- clear errors ----


@pytest.mark.parametrize(
    "option",
    [jnp.float32(1), np.ones(2), [1.0], {"a": 1}, (jnp.ones(2),)],
    ids=["jax", "numpy", "list", "dict", "array in a tuple"],
)
def test_an_array_as_an_option_is_an_error_that_names_it(option):
    message = (
        "relu: option slope_at_zero must be a static, hashable Python value, "
        "got .*pass a number or a string"
    )
    with pytest.raises(TypeError, match=message):
        relu(X, slope_at_zero=option)
    with pytest.raises(TypeError, match=message):
        auto(lambda x: relu(x, slope_at_zero=option))(X)


@pytest.mark.parametrize("transform", [jax.jit, jax.grad, auto], ids=["jit", "grad", "auto"])
def test_a_traced_option_is_the_same_error(transform):
    with pytest.raises(TypeError, match="option slope_at_zero must be a static"):
        transform(lambda s: relu(X, slope_at_zero=s))(jnp.float32(0.5))


def test_a_missing_half_is_an_error_that_says_which():
    @rule
    def half(x):
        return x

    with pytest.raises(
        TypeError, match=r"rule half has no forward: decorate one with @half\.forward"
    ):
        half(X)
    half.forward(lambda x: (x, None))
    with pytest.raises(
        TypeError, match=r"rule half has no backward: decorate one with @half\.backward"
    ):
        half(X)
    half.backward(lambda residuals, dy: (dy,))
    assert float(half(X)) == float(X)


def test_a_body_that_is_no_function_is_refused():
    with pytest.raises(
        TypeError, match=r"rule: body must be a function such as lambda x: 2 \* x, got int 3"
    ):
        rule(3)


@pytest.mark.parametrize(
    ("body", "parameter"), [(lambda *xs: xs[0], r"\*xs"), (lambda x, **options: x, r"\*\*options")]
)
def test_a_body_with_unnamed_parameters_is_refused(body, parameter):
    with pytest.raises(
        TypeError, match=f"rule: the body of <lambda> takes {parameter}; name every parameter"
    ):
        rule(body)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: wrong_sin(), "wrong_sin: missing a required argument: 'x'"),
        (lambda: wrong_sin(X, X), "wrong_sin: too many positional arguments"),
        (lambda: relu(X, slope=1), "relu: got an unexpected keyword argument 'slope'"),
    ],
)
def test_wrong_arguments_are_an_error_that_names_the_rule(call, message):
    with pytest.raises(TypeError, match=message):
        call()


def test_a_backward_with_too_few_cotangents_is_an_error():
    two = rule(lambda x, y: x * y)
    two.forward(lambda x, y: (x * y, None))
    two.backward(lambda residuals, dy: (dy,))
    with pytest.raises((TypeError, ValueError), match="must produce a tuple of length equal"):
        jax.grad(two)(X, X)


def test_what_the_body_raises_comes_through():
    with pytest.raises(ValueError, match=r"relu: slope_at_zero must be in \[0, 1\]"):
        jax.grad(lambda x: relu(x, slope_at_zero=2.0))(X)


@pytest.mark.parametrize(
    "forward_mode", [lambda f: jax.jvp(f, (X,), (X,)), lambda f: jax.jacfwd(f)(X)]
)
def test_forward_mode_gets_a_note_that_names_both_modes_and_auto(forward_mode):
    with pytest.raises(TypeError, match="forward-mode") as e:
        forward_mode(wrong_sin)
    notes = "".join(e.value.__notes__)
    assert "wrong_sin is a reverse-mode rule" in notes
    assert "jaxnet.both_modes(f)" in notes
    assert "jaxnet.auto(f)" in notes
    forward_mode(auto(wrong_sin))
    forward_mode(both_modes(wrong_sin))


def test_other_type_errors_get_no_note():
    with pytest.raises(TypeError, match="floating-point") as e:
        relu(jnp.int32(1))
    assert not hasattr(e.value, "__notes__") or "reverse-mode" not in "".join(e.value.__notes__)


# ---- one name, honest, for body, rule and reference ----


def test_signature_name_and_doc_are_those_of_the_body():
    assert wrong_sin.__name__ == "wrong_sin"
    assert wrong_sin.__doc__ == "The sine."
    assert wrong_sin.__module__ == __name__
    assert str(inspect.signature(relu)) == str(inspect.signature(relu.body))
    assert list(inspect.signature(linear).parameters) == ["x", "weight", "bias"]
    assert repr(relu) == "<rule jaxnet.rules._activations.relu>"


def test_decorating_leaves_forward_and_backward_as_they_are():
    assert inspect.isfunction(wrong_sin_forward)
    assert inspect.isfunction(wrong_sin_backward)
    assert wrong_sin_forward.__name__ == "wrong_sin_forward"


@pytest.mark.parametrize(
    "stored", [copy.copy, copy.deepcopy, lambda f: pickle.loads(pickle.dumps(f))]
)
def test_copies_and_pickles_are_the_rule_itself(stored):
    assert stored(wrong_sin) is wrong_sin
    assert stored({"activation": relu})["activation"] is relu


def test_jit_takes_a_rule_directly_with_its_option_static():
    f = jax.jit(relu, static_argnames="slope_at_zero")
    assert float(jax.grad(lambda x: f(x, slope_at_zero=0.5))(0.0)) == 0.5


# ---- under JAX's transformations, by hand ----

TRANSFORMED = {
    "jit": lambda f: jax.jit(f),
    "vmap": lambda f: lambda x: jax.vmap(f)(x * jnp.ones(3)).mean(),
    "scan": lambda f: lambda x: jax.lax.scan(lambda c, _: (f(c), None), x, None, length=1)[0],
    "scan over rows": lambda f: (
        lambda x: jax.lax.scan(lambda c, r: (c + f(r), None), 0.0, x * jnp.ones(3))[0] / 3
    ),
    "remat": lambda f: jax.checkpoint(f),
    "cond": lambda f: lambda x: jax.lax.cond(x > 0, f, lambda x: x, x),
    "jit of vmap of remat": lambda f: (
        lambda x: jax.jit(jax.vmap(jax.checkpoint(f)))(x * jnp.ones(3)).mean()
    ),
}


@pytest.mark.parametrize("transform", TRANSFORMED.values(), ids=TRANSFORMED.keys())
def test_the_rule_holds_under(transform):
    close(transform(wrong_sin)(X), SIN)
    close(jax.grad(transform(wrong_sin))(X), 100 * COS)


def test_vmap_of_the_gradient_is_the_gradient_of_each_row():
    rows = jnp.linspace(-1, 1, 5)
    np.testing.assert_allclose(jax.vmap(jax.grad(wrong_sin))(rows), 100 * jnp.cos(rows), rtol=1e-6)


def test_grad_of_grad_differentiates_the_backward():
    close(jax.grad(jax.grad(wrong_sin))(X), -100 * SIN)
    close(jax.hessian(wrong_sin)(X), -100 * SIN)
    close(jax.grad(jax.grad(auto(wrong_sin)))(X), -SIN)


def nested(inner_factor, outer_factor):
    """A rule whose body calls another; each backward is wrong by its own factor."""

    @rule
    def inner(x):
        return jnp.sin(x)

    inner.forward(lambda x: (inner.body(x), x))
    inner.backward(lambda x, dy: (inner_factor * jnp.cos(x) * dy,))

    @rule
    def outer(x):
        return 2 * inner(x)

    outer.forward(lambda x: (outer.body(x), x))
    outer.backward(lambda x, dy: (outer_factor * 2 * jnp.cos(x) * dy,))
    return outer


def test_the_outer_of_nested_rules_is_used_and_auto_takes_off_both():
    outer = nested(10, 1000)
    close(jax.grad(outer)(X), 1000 * 2 * COS)
    close(jax.grad(outer.body)(X), 10 * 2 * COS)
    close(jax.grad(auto(outer))(X), 2 * COS)
    close(jax.grad(auto(outer.body))(X), 2 * COS)


def test_one_rule_called_with_two_options_keeps_them_apart_in_one_graph():
    both = lambda x: relu(x, slope_at_zero=1.0) + 10 * relu(x, slope_at_zero=0.5)  # noqa: E731
    assert float(jax.jit(jax.grad(both))(0.0)) == 6


def test_no_tracer_leaks():
    with jax.checking_leaks():
        close(jax.jit(jax.grad(lambda x: wrong_sin(x * 2.0)))(X), 200 * jnp.cos(1.4))


def test_but_changes_one_half_and_leaves_the_rule_as_it_is():
    x, dy = jnp.array([1.0, -2.0]), jnp.array([3.0, 5.0])
    doubled = relu.but(backward=lambda y, dy, *, slope_at_zero: (2 * dy,))
    assert (jax.vjp(doubled, x)[1](dy)[0] == 2 * dy).all()
    assert (jax.vjp(relu, x)[1](dy)[0] == jnp.array([3.0, 0.0])).all()
    assert doubled.halves.forward is relu.halves.forward
    assert doubled.body is relu.body


def test_a_half_that_is_no_function():
    with pytest.raises(TypeError, match=r"relu\.but: backward must be a function, got int"):
        relu.but(backward=3)


def test_halves_of_a_rule_that_is_not_finished():
    @rule
    def cube(x):
        return x**3

    cube.forward(lambda x: (x**3, x))
    with pytest.raises(
        TypeError, match=r"rule cube has no backward: decorate one with @cube\.back"
    ):
        cube.halves  # noqa: B018
    finished = cube.but(backward=lambda x, dy: (3 * x**2 * dy,))
    assert jax.grad(finished)(2.0) == 12
