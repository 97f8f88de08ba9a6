"""prove on the corpus and inside other libraries: what it proves, and what it must not."""

import functools

import numpy as np
import pytest
from corpus import libraries
from corpus.right import RIGHT
from corpus.wrong import WRONG
from pages import ROOT

import jaxnet

# Wrong rules whose derivatives are right as algebra, by what is wrong with them.
NOT_ALGEBRA = {
    "no number, or another, where cotangents or tangents are 0": (
        "a row of zeros in the cotangent is divided by its size",
        "no gradient where the cotangent of the first output is 0",
        "half, where all but one number of the cotangent are 0",
        "loss scaling by the largest cotangent, NaN where all are zero",
        "tangents are scaled by the largest, NaN where all are zero",
    ),
    "structure or dtype": (
        "the forward returns a list where the function returns a tuple",
        "a float32 cotangent for a bfloat16 argument",
    ),
    "precision or range": (
        "a weight's gradient is accumulated in bfloat16",
        "a sum over many rows, kept in bfloat16",
        "squares overflow float16 in the backward, the value computes in float32",
        "the variance in one pass, beside a large mean",
        "exponentials without their shift overflow in float32",
        "a norm of numbers that are scaled, and the squares of its slope are not",
        "the forward of logsumexp lacks its shift",
    ),
    "elsewhere than at the arguments, or of another number of rows": (
        "a cumulative product, by a division",
        "a gate, wrong where its flag is off",
        "a softmax under a mask, NaN where it leaves nothing of a row",
        "a mean of groups, NaN where one is empty",
        "a cross-entropy that leaves out the rows of one label divides by all rows",
        "sin(πx) / πx, whose slope is 0 at integers",
        "log(eᵃ + eᵇ): both are paid in full where they are equal",
        "relu, whose slope is 2 at a 0 that nobody gave",
        "a norm, guarded for the array as a whole",
        "(eˣ - 1) / x, whose slope has another series below 1e-4",
        "the slope of tanh by exponentials that are both large",
        "a variance by n - 1, of one row too",
        "a squeeze of one row, whose sum is over columns then",
        "a squeeze of one row, which raises",
        "the forward returns NaN at 0",
        "the largest of a row: every tie is paid in full, and none was given",
        "the larger of two: nobody is paid where they are equal",
        "a product whose slope is 0 where a number is",
        "Huber's slope is 0 where the linear part begins",
        "the energy of pairs: NaN where two rows are equal",
        "the cube of a norm: slope 1 in a row of zeros, where autodiff is NaN",
    ),
    "under scan or vmap alone": (
        "a residual in a Python global: raises under scan",
        "sums over the batch, but only under vmap",
        "sums over the batch, but only where the cotangent alone has one",
    ),
    "it raises where one argument alone is differentiated": ("an absent tangent is multiplied",),
    "the function has this gradient, whatever the rule inside": (
        "a softmax with gradient 0, seen through its sum alone",
    ),
}

# Right rules of which less is asked, by what stands in the way.
NOT_PROVED = {
    "on an edge: at a kink, a tie, a zero": (
        "jaxnet.relu at zero with slope 0.0",
        "jaxnet.relu at zero with slope 0.5",
        "jaxnet.relu at zero with slope 1.0",
        "jax.nn.relu at zero",
        "jax.nn.softplus at zero",
        "jax.nn.log_sigmoid at zero and in its tails",
        "jnp.logaddexp at ties",
        "optax.sigmoid_binary_cross_entropy at zero",
        "optax.huber_loss at its two ends",
        "optax.hinge_loss at its kink",
        "the slope of the absolute value at zero is 0",
        "the slope of the absolute value at zero is 1",
        "a tie is shared",
        "a tie goes to the first",
        "the first of the largest takes all, autodiff shares",
        "a norm with gradient 0 at 0, where autodiff is NaN",
        "a branch guarded twice against NaN",
        "the exponential of a matrix with equal eigenvalues",
        "the last of the largest takes all, in a weighted sum",
        "relu at many zeros, in a weighted sum",
        "a norm at 0: one element takes all",
        "relu of a sum at 0 with slope 0.3",
        "a median: the first of the ties takes all",
        "a sort that takes ties in an order of its own",
        "sin(x) / x, where autodiff is NaN at 0",
        "jax.nn.relu, with a zero",
        "jax.nn.relu6 at its corners",
        "a jvp of the absolute value, at zero",
    ),
    "equal in the limit of an iteration": ("an implicit function",),
    "equal but for an exponential that floats take for 0": (
        "a softmax under a mask that leaves something of each row",
    ),
    "complex numbers": (
        "complex numbers",
        "a real value of a complex argument",
        "a jvp of complex numbers",
    ),
    "no number": ("NaN in, NaN out",),
    "a body that is not read, or has no derivative": (
        "a Pallas kernel",
        "a Pallas kernel by itself",
        "a loop that ends when it has converged",
        "a host callback",
        "a host callback that knows float32 alone",
        "by way of the bits: autodiff is 0",
        "a jvp beside a reference whose pullback is a callback",
        "a jvp of a host callback",
        "a logarithm that raises below 0",
    ),
    "many numbers": (
        "a root by small steps, which end early in float32",
        "many elements at a kink that a move of all of them leaves",
        "a large array in bfloat16, with zeros",
    ),
    "autodiff is wrong": ("digamma below 0, where autodiff is wrong",),
}

# Right rules that algebra refutes: they are approximate, or lie on an edge of which rounding takes
# one side.
REFUTED = (
    "a logarithm whose slope forgets its epsilon",
    "a polynomial for the sine",
    "a slope to a tolerance, whose own slope is 0",
    "a square by pieces, one of them rough",
    "straight through a clip, all of it on the ends",
    "entropy, whose slope ends at 1e-30",
)

# The same of rules inside of other libraries.
NOT_PROVED_OUTSIDE = {
    "the body is an approximation, whose slope is another than the true one": (
        "jax.scipy.special.erfcinv",
        "jax.scipy.special.erfcx",
        "jax.scipy.special.dawsn",
        "jax.scipy.special.ndtri",
        "jax.scipy.special.expi",
        "jax.scipy.special.sici",
        "jax.scipy.special.hyp1f1",
        "jax.scipy.special.hyp2f1",
        "jax.scipy.special.owens_t",
        "jax.scipy.special.fresnel",
        "jax.scipy.special.expn",
        "jax.experimental.ode.odeint",
        "equinox.internal.nextafter",
        "equinox.internal.prevbefore",
    ),
    "the body has no derivative": ("jax.scipy.special.zeta",),
    "more would have to be known": (
        "jax.numpy.linalg.pinv",
        "jax.export.export",
        "jax.scipy.special.poch",
        "jax.experimental.pallas.ops.gpu.attention.mha",
        "jax.experimental.pallas.ops.gpu.layer_norm.layer_norm",
        "jax.experimental.pallas.ops.gpu.rms_norm.rms_norm",
    ),
}
# Beside these, before jax 0.12.
NOT_PROVED_BEFORE = ("jax.numpy.ldexp", "jax.numpy.frexp")
REFUTED_OUTSIDE = {
    "the cotangent is clipped": (
        "flax.linen.fp8_ops.out_qdq",
        "flax.linen.fp8_ops.fp8_scaled_dot_general",
    ),
    "its second derivative is 0": ("flax.nnx.custom_vjp of a module, called in the forward",),
}


def listed(by_reason):
    return [name for names in by_reason.values() for name in names]


def verdict_on(example):
    f = functools.partial(example.f, **(example.kwargs or {}))
    return jaxnet.prove(f, *example.args(np.random.default_rng(0)), ref=example.ref).verdict


@pytest.mark.many
@pytest.mark.parametrize("name", WRONG)
def test_no_wrong_rule_is_proved_but_those_whose_algebra_is_right(name):
    assert (verdict_on(WRONG[name]) == "proved") is (name in listed(NOT_ALGEBRA))


@pytest.mark.many
@pytest.mark.parametrize("name", RIGHT)
def test_right_rules_are_proved_and_never_refuted(name):
    verdict = verdict_on(RIGHT[name])
    if name not in (*listed(NOT_PROVED), *REFUTED):
        assert verdict == "proved"
    assert (verdict == "refuted") is (name in REFUTED)


@pytest.mark.many
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", libraries.CASES)
def test_rules_inside_of_other_libraries_are_proved(name):
    function, case = libraries.found(name), libraries.CASES[name]
    if function is None:
        pytest.skip("not installed")
    args = case.args(np.random.default_rng(0))
    proof = jaxnet.prove(case.call(function), *args, ref=case.ref)
    if "nothing was compared" in proof.note:
        pytest.skip("no rule in this version")
    if name in listed(REFUTED_OUTSIDE):
        assert proof.verdict == "refuted"
    elif name in (*listed(NOT_PROVED_OUTSIDE), *NOT_PROVED_BEFORE):
        assert proof.verdict != "refuted"
    else:
        assert proof.verdict == "proved"


def test_enough_is_proved_and_every_exception_is_there():
    assert set(listed(NOT_ALGEBRA)) <= set(WRONG)
    assert set(listed(NOT_PROVED)) <= set(RIGHT)
    assert len(RIGHT) - len(listed(NOT_PROVED)) >= 60
    outside = listed(NOT_PROVED_OUTSIDE | REFUTED_OUTSIDE)
    assert set(outside) <= set(libraries.CASES)
    proved = len(libraries.CASES) - len(outside)
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert f"{proved} of the {len(libraries.CASES)} custom rules" in readme
