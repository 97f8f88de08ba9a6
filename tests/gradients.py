"""What the tests hold a rule to.

A rule's backward is compared with autodiff of the same graph (`auto`), in the argument's dtype and
in float64, for random cotangents. Nothing here is tuned: tolerances come from eps and from
autodiff's own error.

Most functions take `both`: both(cotangent, *args) -> (the rule's result, autodiff's), two pytrees.
"""

import jax
import jax.numpy as jnp
import numpy as np
from common.pullbacks import hold_the_rest

from jaxnet import auto


def is_floating(leaf):
    return jnp.issubdtype(leaf.dtype, jnp.floating)


def cast(args, dtype):
    """Floating arrays in the given dtype; the others as they are. Upcasting is exact."""
    return tuple(jnp.asarray(np.asarray(a).astype(dtype) if is_floating(a) else a) for a in args)


def random_like(y, seed):
    """Normal numbers of y's shape and dtype."""
    return jnp.asarray(np.random.default_rng(seed).normal(size=y.shape).astype(y.dtype))


def cotangent_of_value(f, args, seed=1):
    """A random cotangent for f(*args)."""
    return random_like(jax.eval_shape(f, *args), seed)


def pullback(f):
    """(cotangent of the value, *args) -> one cotangent for each floating argument."""

    def pulled_back(c, *args):
        f_of_floating, floating = hold_the_rest(f, args)
        _, pull = jax.vjp(f_of_floating, *floating)
        return pull(c)

    return pulled_back


def leaves(tree):
    """[(where it is in the tree, the leaf as a NumPy array)]"""
    return [
        (jax.tree_util.keystr(path), np.asarray(leaf))
        for path, leaf in jax.tree_util.tree_leaves_with_path(tree)
    ]


def assert_can_be_compared(path, truth):
    """A point where the truth is infinite or NaN would fail, but not say why."""
    assert np.isfinite(truth).all(), (
        f"{path}: autodiff of the body, in float64, gives {truth}: mend the body, or hold the rule "
        f"at this point in a test of its own"
    )


def assert_equal_but_for_rounding(both, args):
    """The two results of both(*args), in float64, are equal element by element.

    The tolerance is what rounding may do: 64 eps of the largest element, or 64 times the spread of
    the second result when its inputs move by one eps (its conditioning).
    """
    eps = np.finfo(np.float64).eps
    rng = np.random.default_rng(0)

    def jitter(a):
        return np.asarray(a) * (1 + eps * rng.choice([-1, 1], a.shape)) if is_floating(a) else a

    results, truths = map(leaves, both(*args))
    moved = [leaves(both(*map(jitter, args))[1]) for _ in range(4)]
    for i, ((path, result), (_, truth)) in enumerate(zip(results, truths, strict=True)):
        assert result.shape == truth.shape, f"{path}: shape {result.shape}, autodiff {truth.shape}"
        assert result.dtype == truth.dtype, f"{path}: dtype {result.dtype}, autodiff {truth.dtype}"
        assert_can_be_compared(path, truth)
        if truth.size:
            spread = max(np.abs(m[i][1] - truth).max() for m in moved)
            tolerance = 64 * max(spread, eps * np.abs(truth).max())
            error = np.abs(result - truth)
            worst = tuple(map(int, np.unravel_index(np.argmax(error), error.shape)))
            assert error.max() <= tolerance, (
                f"{path}{worst}: {result[worst]}, autodiff {truth[worst]}"
            )


def assert_linear_in_cotangent(both, args, c, d):
    """The rule's result is linear in the cotangent: exactly so for powers of two and for zero."""
    c, d = map(np.asarray, (c, d))

    def results(cotangent):
        return [leaf for _, leaf in leaves(both(cotangent.astype(c.dtype), *args)[0])]

    at_each = map(results, (c, d, 2 * c, c + d, 0 * c))
    for at_c, at_d, at_twice_c, at_sum, at_zero in zip(*at_each, strict=True):
        if jax.default_backend() == "cpu":
            order_of_sums = 0.0
        else:  # a scatter of a GPU adds in another order each time
            order_of_sums = 64 * np.finfo(at_c.dtype).eps * np.abs(at_c).max(initial=0)
        message = "twice the cotangent must give exactly twice the result"
        np.testing.assert_allclose(
            at_twice_c, 2 * at_c, rtol=0, atol=order_of_sums, err_msg=message
        )
        np.testing.assert_array_equal(at_zero, 0 * at_zero, "a zero cotangent must give zero")
        scale = max(np.abs(at_c).max(initial=0), np.abs(at_d).max(initial=0))
        error = np.abs(at_sum - at_c - at_d).max(initial=0)
        assert error <= 64 * np.finfo(at_c.dtype).eps * scale, "not additive in the cotangent"


def assert_as_precise_as_autodiff(both, args, cotangents, dtype):
    """In dtype, the rule's error is at most 4 times autodiff's, or 8 eps of the largest element.

    An error is the distance from autodiff in float64 of the same, rounded arguments, the largest
    over the cotangents: one alone may happen to suit autodiff.
    """
    errors = {}  # by leaf: the rule's error, autodiff's, the largest element
    for c in cotangents:
        narrow = cast((c, *args), dtype)
        by_hand, automatic = both(*narrow)
        truths = both(*cast(narrow, np.float64))[1]
        each_leaf = zip(*map(leaves, (by_hand, automatic, truths)), strict=True)
        for (path, r), (_, a), (_, truth) in each_leaf:
            assert r.dtype == a.dtype == jnp.dtype(dtype), (
                f"{path}: {r.dtype} for arguments of {jnp.dtype(dtype)}"
            )
            assert_can_be_compared(f"{path} of the arguments in {jnp.dtype(dtype)}", truth)
            sizes = [np.abs(v).max(initial=0) for v in (r - truth, a - truth, truth)]
            errors[path] = np.maximum(errors.get(path, 0), sizes)
    for path, (error, auto_error, scale) in errors.items():
        allowed = max(4 * auto_error, 8 * float(jnp.finfo(dtype).eps) * scale)
        assert error <= allowed, (
            f"{path} in {jnp.dtype(dtype)}: error {error}, autodiff's {auto_error}"
        )


def compiled_together(*functions):
    """One program for all: to compile is what takes time."""
    return jax.jit(lambda *args: tuple(f(*args) for f in functions))


def verify(f, args, textbook=None):
    """What is demanded of a rule at any arguments, under jit. Call it in x64 mode.

    textbook: the formula whose value f must have, where there is one beside f.
    """
    args = cast(args, np.float64)
    pulls = pullback(f), pullback(auto(f))
    c, d = (cotangent_of_value(f, args, seed) for seed in (1, 2))
    both = compiled_together(*pulls)

    forward_value, value, expected = compiled_together(
        lambda *args: jax.vjp(f, *args)[0], f, textbook or f
    )(*args)
    # An accelerator may have a faster form for the forward, with a derivative that is none.
    few_eps = 0 if jax.default_backend() == "cpu" else 1e-15
    message = "the forward's value is not the body's"
    np.testing.assert_allclose(forward_value, value, rtol=few_eps, atol=few_eps, err_msg=message)
    np.testing.assert_allclose(value, expected, rtol=1e-12, atol=1e-14)
    assert_equal_but_for_rounding(both, (c, *args))
    assert_linear_in_cotangent(both, args, c, d)
    for dtype in (jnp.float32, jnp.bfloat16):  # float16 is for check
        assert_as_precise_as_autodiff(both, args, (c, d), dtype)


def scanned(f):
    """The sum of f over a scan of two turns, with the arguments scaled in each."""

    def total(*args):
        def turn(so_far, scale):
            scaled = [a * scale if is_floating(a) else a for a in args]
            return jax.tree.map(jnp.add, so_far, f(*scaled)), None

        start = jax.tree.map(lambda s: jnp.zeros(s.shape, s.dtype), jax.eval_shape(f, *args))
        return jax.lax.scan(turn, start, jnp.array([1.0, 0.5]))[0]

    return total


def batched(i):
    """A transformation: f -> f over a batch of argument i alone."""

    def over_batch(f):
        def several(*args):
            scales = jnp.array([1.0, 0.5, 2.0])
            batch = jnp.stack([args[i] * s if is_floating(args[i]) else args[i] for s in scales])
            in_axes = tuple(0 if j == i else None for j in range(len(args)))
            return jax.vmap(f, in_axes=in_axes)(*args[:i], batch, *args[i + 1 :])

        return several

    return over_batch


def assert_right_under_transforms(f, args):
    """Eager, scan, remat, vmap over each argument, and the second derivative; jit is `verify`."""
    args = cast(args, np.float64)
    c = cotangent_of_value(f, args)
    pulls = pullback(f), pullback(auto(f))
    automatic = jax.jit(pulls[1])
    assert_equal_but_for_rounding(lambda *args: (pulls[0](*args), automatic(*args)), (c, *args))
    for transform in (scanned, jax.checkpoint, *(batched(i) for i in range(len(args)))):
        both = compiled_together(*(pullback(transform(g)) for g in (f, auto(f))))
        assert_equal_but_for_rounding(both, (cotangent_of_value(transform(f), args), *args))

    # Second derivatives: one random projection of the gradient is a function of the arguments, with
    # a gradient of its own.
    weights = [random_like(leaf, 5) for leaf in jax.tree.leaves(jax.eval_shape(pulls[0], c, *args))]

    def projected(pull):
        return lambda *args: sum(
            jnp.sum(w * leaf) for w, leaf in zip(weights, pull(c, *args), strict=True)
        )

    second = compiled_together(*(pullback(projected(pull)) for pull in pulls))
    assert_equal_but_for_rounding(second, (np.float64(1), *args))
