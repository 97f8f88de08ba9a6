"""linear_softmax_cross_entropy: what it stores and computes, at which points, beside PyTorch."""

import functools
import math
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from catalogue._cross_entropy import KNOWN_ROWS
from catalogue._fused_cross_entropy import classifier, textbook
from gradients import cast, cotangent_of_value, pullback, verify
from jax.extend import core
from rule_helpers import BOTH, EPS

from jaxnet import auto, linear, softmax_cross_entropy
from jaxnet.rules import linear_softmax_cross_entropy

REDUCTIONS = pytest.mark.parametrize("reduction", ["mean", "sum", None])
MIB = 2**20
ON_CPU = jax.default_backend() == "cpu"


def plain(x, weight, bias, labels):
    return jnp.mean(softmax_cross_entropy(linear(x, weight, bias), labels))


def draw_classifier(rows, fan_in, classes):
    return classifier(rows, fan_in, classes)(np.random.default_rng(0))


def shapes(rows, fan_in=256, classes=32768, dtype=jnp.float32):
    """Arguments to compile for: nothing of this size is allocated."""
    return (
        jax.ShapeDtypeStruct((rows, fan_in), dtype),
        jax.ShapeDtypeStruct((classes, fan_in), dtype),
        jax.ShapeDtypeStruct((classes,), dtype),
        jax.ShapeDtypeStruct((rows,), jnp.int32),
    )


def with_gradients(f):
    return jax.value_and_grad(f, argnums=(0, 1, 2))


def temporary_bytes(f, args):
    return jax.jit(f).lower(*args).compile().memory_analysis().temp_size_in_bytes


def product_flops(jaxpr):
    """Of all matrix products, those in a loop as often as it turns."""
    total = 0
    for e in jaxpr.eqns:
        if e.primitive.name == "dot_general":
            (contracted, _), _ = e.params["dimension_numbers"]
            fan_in = math.prod(e.invars[0].aval.shape[i] for i in contracted)
            total += 2 * fan_in * math.prod(e.outvars[0].aval.shape)
        total += e.params.get("length", 1) * sum(
            map(product_flops, core.jaxprs_in_params(e.params))
        )
    return total


def flops(f, args):
    return product_flops(jax.make_jaxpr(f)(*args).jaxpr)


# What it stores and computes: compiled, not timed.


def test_memory_is_an_eighth_of_the_textbook_graphs():
    rows = 2048 if ON_CPU else 16384  # elsewhere a chunk is 1024 of them
    logits = rows * 32768 * 4
    args = shapes(rows)
    whole_logits = temporary_bytes(with_gradients(textbook), args)
    with_our_loss = temporary_bytes(with_gradients(plain), args)
    ours = temporary_bytes(with_gradients(linear_softmax_cross_entropy), args)
    assert min(whole_logits, with_our_loss) >= (2 if ON_CPU else 1) * logits
    assert ours <= 2 * logits / 8


def test_evaluation_holds_one_chunk_too():
    ours = temporary_bytes(linear_softmax_cross_entropy, shapes(2048))
    assert ours <= (33 if ON_CPU else 264) * MIB
    assert temporary_bytes(plain, shapes(2048)) >= 256 * MIB


@pytest.mark.many
@REDUCTIONS
@pytest.mark.parametrize("rows", [1024, 1021])
def test_memory_does_not_grow_with_the_rows(reduction, rows):
    f = with_gradients(
        lambda *args: linear_softmax_cross_entropy(*args, chunk=64, reduction=reduction).sum()
    )
    few, many = (temporary_bytes(f, shapes(n, fan_in=64, classes=4096)) for n in (rows, 4 * rows))
    per_row = (many - few) / (3 * rows)
    # Labels, losses and counts; a row of logits has 16384 bytes, a row of x 256.
    assert per_row <= 32


@pytest.mark.parametrize(("reduction", "products"), [("mean", 3), ("sum", 3), (None, 4)])
def test_products_are_as_many_as_derived(reduction, products):
    rows, fan_in, classes = 256, 16, 128
    x, weight, _, labels = shapes(rows, fan_in, classes)
    f = partial(linear_softmax_cross_entropy, reduction=reduction, chunk=64)
    once = 2 * rows * fan_in * classes
    gradient = jax.grad(lambda x, weight, labels: f(x, weight, None, labels).sum(), argnums=(0, 1))
    assert flops(gradient, (x, weight, labels)) == products * once
    assert flops(lambda x, weight, labels: f(x, weight, None, labels), (x, weight, labels)) == once


@pytest.mark.skipif(not ON_CPU, reason="what XLA counts as temporary is the platform's")
def test_a_frozen_weight_costs_no_gradient_of_it():
    args = shapes(512, classes=8192)  # a weight of 8 MiB
    f = partial(linear_softmax_cross_entropy, chunk=64)
    assert temporary_bytes(jax.grad(f), args) <= temporary_bytes(with_gradients(f), args) - 2 * MIB


@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_what_is_kept_are_the_gradients(reduction):
    f = partial(linear_softmax_cross_entropy, reduction=reduction)
    kept = jax.tree.leaves(jax.eval_shape(lambda *args: jax.vjp(f, *args)[1], *shapes(64, 8, 128)))
    assert sum(a.size for a in kept) <= 64 * 8 + 128 * 8 + 128 + 64


# Right for any chunk, with and without a bias, in every use.


@pytest.mark.many
@REDUCTIONS
def test_the_chunk_changes_nothing_but_the_memory(reduction, x64):
    args = cast(draw_classifier((7,), 5, 4), np.float64)
    f = partial(linear_softmax_cross_entropy, reduction=reduction)
    c = cotangent_of_value(f, args)
    expected = jax.tree.leaves(pullback(auto(partial(f, chunk=7)))(c, *args))
    chunked = jax.jit(
        lambda chunk, *args: pullback(partial(f, chunk=chunk))(*args), static_argnums=0
    )
    for chunk in (1, 3, 4, 8, None):
        for g, e in zip(jax.tree.leaves(chunked(chunk, c, *args)), expected, strict=True):
            np.testing.assert_allclose(g, e, rtol=1e-12, atol=1e-14)


@pytest.mark.many
@pytest.mark.parametrize("reduction", ["mean", None])
def test_without_a_bias(reduction, x64):
    x, weight, bias, labels = draw_classifier((5,), 3, 4)
    f = partial(linear_softmax_cross_entropy, reduction=reduction, chunk=2, z_loss=0.1)
    verify(lambda x, weight, labels: f(x, weight, None, labels), (x, weight, labels))
    np.testing.assert_allclose(
        f(x, weight, None, labels), f(x, weight, 0 * bias, labels), rtol=1e-15
    )


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
def test_mixed_dtypes_keep_their_own(dtype):
    x, weight, bias, labels = cast(draw_classifier((5,), 3, 4), jnp.float32)
    args = x.astype(jnp.bfloat16), weight, bias.astype(dtype), labels
    loss, gradients = with_gradients(linear_softmax_cross_entropy)(*args)
    assert loss.dtype == jnp.float32
    assert [g.dtype for g in gradients] == [jnp.bfloat16, jnp.float32, dtype]


def test_many_rows_in_bfloat16_add_up_in_float32():
    x, weight, bias, labels = cast(draw_classifier((4096,), 8, 16), jnp.bfloat16)
    f = partial(linear_softmax_cross_entropy, chunk=64)
    ours = with_gradients(f)(x, weight, bias, labels)[1]
    truth = with_gradients(f)(*(a.astype(jnp.float32) for a in (x, weight, bias)), labels)[1]
    for g, t in zip(ours, truth, strict=True):
        assert (
            jnp.abs(g.astype(jnp.float32) - t).max()
            <= 2 * float(jnp.finfo(jnp.bfloat16).eps) * jnp.abs(t).max()
        )


def test_float16_has_room_for_many_classes():
    x, weight = jnp.ones((2, 4), jnp.float16), jnp.zeros((2**16, 4), jnp.float16)
    loss, (_, dweight) = jax.value_and_grad(linear_softmax_cross_entropy, argnums=(0, 1))(
        x, weight, None, jnp.arange(2)
    )
    np.testing.assert_allclose(np.float32(loss), 16 * np.log(2), rtol=2e-3)
    assert (dweight[:2] == -0.5).all()
    assert (dweight[2:] == jnp.float16(2.0**-16)).all()


def test_under_vmap_of_each_argument_and_of_all():
    args = cast(draw_classifier((3, 5), 3, 4), jnp.float32)
    x, weight, bias, labels = args
    f = jax.grad(partial(linear_softmax_cross_entropy, chunk=2), argnums=(0, 1))
    for got, row in zip(
        zip(*jax.vmap(f, (0, None, None, 0))(*args), strict=True), range(3), strict=True
    ):
        for g, e in zip(got, f(x[row], weight, bias, labels[row]), strict=True):
            np.testing.assert_allclose(g, e, rtol=1e-5, atol=1e-6)


@pytest.mark.many
def test_forward_mode_and_hessian_through_auto(x64):
    x, weight, bias, labels = cast(draw_classifier((5,), 3, 4), np.float64)

    def f(bias):
        return linear_softmax_cross_entropy(x, weight, bias, labels, chunk=2)

    expected = jax.hessian(lambda bias: textbook(x, weight, bias, labels))(bias)
    for second in (jax.hessian(auto(f)), jax.jacrev(jax.grad(f))):
        np.testing.assert_allclose(jax.jit(second)(bias), expected, rtol=1e-10, atol=1e-14)


def test_numpy_arguments():
    args = cast(draw_classifier((5,), 3, 4), jnp.float32)
    f = with_gradients(linear_softmax_cross_entropy)
    jax.tree.map(np.testing.assert_array_equal, f(*map(np.asarray, args)), f(*args))


@pytest.mark.many
def test_data_parallel(forced_devices):
    """Rows over the devices, weights on each: the gradient is the sum, or the mean of the means."""
    forced_devices(
        """
        import jax, jax.numpy as jnp, numpy as np
        from functools import partial
        from jax.sharding import AxisType, NamedSharding, PartitionSpec as P
        from jaxnet import auto
        from jaxnet.rules import linear_softmax_cross_entropy

        rng = np.random.default_rng(0)
        x, weight, bias = (rng.normal(size=s).astype(np.float32) for s in ((8, 3), (4, 3), 4))
        labels = rng.integers(0, 4, 8)
        loss = partial(linear_softmax_cross_entropy, chunk=3)
        expected = jax.grad(auto(loss), (0, 1, 2))(x, weight, bias, labels)
        close = lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)
        for kind in (AxisType.Auto, AxisType.Explicit):
            mesh = jax.make_mesh((2,), ("rows",), axis_types=(kind,))
            rows, everywhere = NamedSharding(mesh, P("rows")), NamedSharding(mesh, P())
            places = rows, everywhere, everywhere, rows
            arguments = jax.device_put((x, weight, bias, labels), places)
            on_device = lambda *args: jax.lax.pmean(loss(*args), "rows")
            specs = P("rows"), P(), P(), P("rows")
            mapped = jax.shard_map(on_device, mesh=mesh, in_specs=specs, out_specs=P())
            for f in (mapped, auto(mapped)) + (loss,) * (kind == AxisType.Auto):
                jax.tree.map(close, jax.jit(jax.grad(f, (0, 1, 2)))(*arguments), expected)
        """
    )


# Special points.


def row_loss(z, label, **options):
    """The loss of one row without inputs: the bias is the logits, to the last digit."""
    x, weight = jnp.zeros((1, 0), z.dtype), jnp.zeros((len(z), 0), z.dtype)
    return linear_softmax_cross_entropy(x, weight, z, label[None], **options).sum()


@functools.cache  # its programs serve all points
def compiled(derivative, reduction="mean"):
    return jax.jit(jax.value_and_grad(derivative(partial(row_loss, reduction=reduction))))


compiled_truth = jax.jit(jax.value_and_grad(softmax_cross_entropy))


@BOTH
@pytest.mark.parametrize("margin", [0, 1, 10, 17, 20, 40, 80])
def test_in_float32_nothing_cancels(derivative, margin):
    """As precise as softmax_cross_entropy, which in float64 is the truth here."""
    ours, truth = compiled(derivative), compiled_truth
    rng = np.random.default_rng(margin)
    for trial in range(30):
        z = rng.uniform(0, margin, 5).astype(np.float32)
        top, bottom, other = rng.permutation(5)[:3]
        z[top], z[bottom] = margin, 0
        label = jnp.int32(top if trial % 2 else other)
        loss, dz = ours(jnp.asarray(z), label)
        with jax.enable_x64(True):
            true_loss, true_dz = truth(jnp.asarray(z, np.float64), label)
        np.testing.assert_allclose(loss, true_loss, rtol=max(4, margin) * EPS)
        np.testing.assert_allclose(dz, true_dz, rtol=max(4, margin) * EPS)


@pytest.mark.many
@BOTH
@REDUCTIONS
@pytest.mark.parametrize(
    ("logits", "label", "loss", "gradient"),
    KNOWN_ROWS,
)
def test_at(derivative, reduction, logits, label, loss, gradient):
    value, dz = compiled(derivative, reduction)(jnp.array(logits), jnp.int32(label))
    np.testing.assert_allclose(value, loss, rtol=2 * EPS)
    np.testing.assert_allclose(dz, gradient, rtol=2 * EPS)


@BOTH
def test_the_options_at_huge_logits_stay_finite(derivative):
    f = derivative(partial(row_loss, label_smoothing=0.1, z_loss=1e-4, soft_cap=30.0))
    value, dz = jax.value_and_grad(f)(jnp.array([1e4, -1e4]), jnp.int32(1))
    # Both logits are at the cap.
    np.testing.assert_allclose(value, 0.95 * 60 + 1e-4 * 30**2, rtol=4 * EPS)
    np.testing.assert_array_equal(dz, [0, 0])


@BOTH
@pytest.mark.parametrize("z_loss", [1e-8, 1e-4, 1.0])
def test_a_small_z_loss_is_not_lost_beside_the_other_terms(derivative, z_loss):
    """One class, so that there is no other: the loss is z_loss z²."""
    value, dz = jax.value_and_grad(derivative(partial(row_loss, z_loss=z_loss)))(
        jnp.array([3.0]), jnp.int32(0)
    )
    np.testing.assert_allclose(value, 9 * z_loss, rtol=4 * EPS)
    np.testing.assert_allclose(dz, [6 * z_loss], rtol=4 * EPS)


def test_the_slope_of_the_soft_cap_keeps_its_tail():
    """At 11 times the cap tanh is 1 in float32, and of 1 - tanh² no digit is left."""
    z, label, p = jnp.array([11.0, 0.0]), jnp.int32(1), 1 / (1 + np.exp(-1.0))
    f = partial(row_loss, soft_cap=1.0)
    slope = p / np.cosh(11.0) ** 2
    np.testing.assert_allclose(jax.grad(f)(z, label)[0], slope, rtol=22 * EPS)
    assert abs(jax.grad(auto(f))(z, label)[0] - slope) > 0.9 * slope


@pytest.mark.many
@BOTH
@REDUCTIONS
def test_ignored_rows_count_as_absent_whatever_they_hold(derivative, reduction):
    x, weight, bias, labels = cast(draw_classifier((6,), 3, 4), jnp.float32)
    hidden = x.at[jnp.array([1, 4])].set(jnp.nan)
    labels = labels.at[jnp.array([1, 4])].set(-100)
    f = partial(linear_softmax_cross_entropy, reduction=reduction, chunk=4, ignored_label=-100)
    pull = with_gradients(derivative(lambda *args: f(*args).sum()))
    seen = jnp.array([0, 2, 3, 5])
    value, (dx, dweight, dbias) = pull(hidden, weight, bias, labels)
    true_value, (true_dx, true_dweight, true_dbias) = pull(x[seen], weight, bias, labels[seen])
    np.testing.assert_array_equal(dx[jnp.array([1, 4])], 0)
    for a, b in (
        (value, true_value),
        (dx[seen], true_dx),
        (dweight, true_dweight),
        (dbias, true_dbias),
    ):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)


@pytest.mark.many
@BOTH
@REDUCTIONS
def test_where_all_rows_are_ignored_loss_and_gradient_are_zero(derivative, reduction):
    x, weight, bias, _ = cast(draw_classifier((3,), 2, 4), jnp.float32)
    f = partial(linear_softmax_cross_entropy, reduction=reduction, ignored_label=-1)
    value, gradients = with_gradients(derivative(lambda *args: f(*args).sum()))(
        x, weight, bias, jnp.full(3, -1)
    )
    assert value == 0
    assert all((g == 0).all() for g in gradients)


@BOTH
def test_of_no_rows_the_mean_is_zero(derivative):
    x, weight, bias, labels = cast(draw_classifier((0,), 2, 4), jnp.float32)
    value, gradients = with_gradients(derivative(linear_softmax_cross_entropy))(
        x, weight, bias, labels
    )
    assert value == 0
    assert all((g == 0).all() for g in gradients)


@pytest.mark.many
@BOTH
@REDUCTIONS
@pytest.mark.parametrize("label", [4, -1, 127])
def test_a_label_out_of_range_is_nan_not_a_number(derivative, reduction, label):
    x, weight, bias, _ = cast(draw_classifier((3,), 2, 4), jnp.float32)
    labels = jnp.array([0, label, 2], jnp.int8)
    f = partial(linear_softmax_cross_entropy, reduction=reduction, chunk=1)
    assert jnp.isnan(f(x, weight, bias, labels)).tolist() in (True, [False, True, False])
    dx, dweight, _ = with_gradients(derivative(lambda *args: f(*args).sum()))(
        x, weight, bias, labels
    )[1]
    assert jnp.isnan(dx[1]).all()
    assert jnp.isfinite(dx[::2]).all()
    assert jnp.isnan(dweight).all()


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
def test_against_pytorch(smoothing, reduction, x64):
    torch = pytest.importorskip("torch")
    x, weight, bias, labels = draw_classifier((9,), 5, 4)
    labels[3] = -100
    ours = partial(
        linear_softmax_cross_entropy,
        reduction=None if reduction == "none" else reduction,
        label_smoothing=smoothing,
        ignored_label=-100,
        chunk=4,
    )
    args = cast((x, weight, bias, labels), np.float64)
    value, pull = jax.vjp(lambda *floating: ours(*floating, args[3]), *args[:3])
    c = np.random.default_rng(1).normal(size=value.shape)
    theirs = [torch.tensor(a, requires_grad=True) for a in (x, weight, bias)]
    z = torch.nn.functional.linear(*theirs)
    loss = torch.nn.functional.cross_entropy(
        z, torch.tensor(labels), reduction=reduction, label_smoothing=smoothing, ignore_index=-100
    )
    loss.backward(torch.tensor(c))
    np.testing.assert_allclose(value, loss.detach().numpy(), rtol=1e-13)
    for g, t in zip(pull(jnp.asarray(c)), theirs, strict=True):
        np.testing.assert_allclose(g, t.grad.numpy(), rtol=1e-11, atol=1e-14)
