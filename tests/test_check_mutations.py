"""Who checks the checker: each of its comparisons is broken, and some example is then misjudged."""

import pytest
from corpus.right import RIGHT
from corpus.wrong import WRONG
from mutations import MUTATIONS
from test_check_corpus import examine, is_caught

# Examples that are quick to compile, among them one for each thing that the checker looks at. As
# it is, the checker judges all of them rightly.
WITNESSES = [
    "the sign",
    "a saturated value still passes its gradient",
    "ELU's exponential branch lacks its factor alpha, at positive points",
    "gradient clipping at a large value",
    "the value of the forward differs from the function's",
    "a float32 cotangent for a bfloat16 argument",
    "stop_gradient inside the backward: wrong at second order",
    "sums over the batch, but only under vmap",
    "squares overflow float16 in the backward, the value computes in float32",
    "a residual in a Python global: raises under scan",
    "a custom_jvp that is not linear in its tangent: no reverse mode",
    "relu is a tenth too large on the positive side, with zeros in the input",
    "a softmax with gradient 0, seen through its sum alone",
    "jaxnet.relu at zero with slope 0.5",
    "a tie goes to the first",
    "a norm with gradient 0 at 0, where autodiff is NaN",
    "the tails of tanh, where autodiff cancels",
    "a composite whose gradient is zero: the sum of a softmax",
    "layer norm of two columns, whose gradient cancels",
    "the logarithm of a difference of close numbers",
    "cross-entropy without cancellation against a textbook body, at a margin of 40",
    "jaxnet.softmax of masked scores",
    "the slope of relu at zero is 2",
    "the forward returns another index than the function",
    "NaN in, NaN out",
    "a loop that ends when it has converged",
    "the exponential of a matrix with equal eigenvalues",
    "a host callback whose backward rounds to bfloat16",
    "the largest of a row: every tie is paid in full",
    "the larger of two: both are paid in full where they are equal",
    "relu at many zeros, in a weighted sum",
    "a sort that takes ties in an order of its own",
    "a median: the first of the ties takes all",
    "a norm: a row of zeros among others is NaN",
    "a cube root, infinitely steep at 0",
    "digamma below 0, where autodiff is as wrong",
    "by way of the bits: autodiff is 0",
    "sin(x) / x: the second derivative at 0 is that of a constant",
    "sin(x) / x, where autodiff is NaN at 0",
    "twice the tangent, and once the cotangent",
    "twice the tangent, beside a reference whose pullback is a callback",
    "tangents are clipped at a large value",
    "tangents are scaled by the largest, NaN where all are zero",
    "a tangent counts twice where the other is zero",
    "the value has an offset while x moves alone",
    "the slope's own tangent is twice too large",
    "an embedding of ids from NumPy, 4e-4 too large",
    "twice the gradient, in bfloat16 alone",
    "many elements at a kink that a move of all of them leaves",
    "not zero for zero, in one element of many",
    "a logarithm whose slope forgets its epsilon",
    "a polynomial for the sine",
    "a polynomial for the sine, its slope a hundredth too large",
    "a root by small steps, which end early in float32",
    "1.3 times the gradient, straight through a cast to float8",
    "twice too large in small elements alone",
    "batch norm, summed up",
    "straight through a clip, all of it on the ends",
    "straight through a clip, more than all of it on the ends",
    "a bias of the keys of attention gets a little",
    "a cumulative product, by a division",
    "sin(πx) / πx, whose slope is 0 at integers",
    "a power whose slope divides by positive numbers",
    "(1 - cos x) / x², whose slope has no digits near 0",
    "a tail that is taken for 0",
    "a variance by n - 1, of one row too",
    "a squeeze of one row, which raises",
    "a backward for four rows, and no other number",
    "the slope of tanh by exponentials that are both large",
    "a power that overflows, whose slope divides by it",
    "a norm of numbers that are scaled, and the squares of its slope are not",
    "the forward of logsumexp lacks its shift",
    "a sum over many rows, kept in bfloat16",
    "a row of zeros in the cotangent is divided by its size",
    "the forward returns NaN at 0",
    "Huber's slope is 0 where the linear part begins",
    "eps outside the root in the backward",
    "the cube of a norm: slope 1 in a row of zeros, where autodiff is NaN",
    "the largest of a row: every tie is paid in full, and none was given",
    "sums over the batch, but only where the cotangent alone has one",
    "a gate, wrong where its flag is off",
    "a softmax under a mask, NaN where it leaves nothing of a row",
    "a mean of groups, NaN where one is empty",
    "a cross-entropy that leaves out the rows of one label divides by all rows",
    "a mean of padded rows, by their lengths",
    "a softmax under a mask that leaves something of each row",
    "numbers in a sparse matrix, each in a place of its own",
    "a tree whose nodes come after those above them",
]


def is_judged_rightly(name):
    """A wrong rule is caught, a right one raises no alarm, with either seed."""
    if name in WRONG:
        return all(is_caught(WRONG[name], examine(WRONG[name], seed)) for seed in (0, 6))
    return all(examine(RIGHT[name], seed).ok for seed in (0, 6))


@pytest.mark.many
@pytest.mark.parametrize("name", MUTATIONS)
def test_a_broken_checker_is_noticed(name, monkeypatch):
    mutation = MUTATIONS[name]
    mutation.break_it(monkeypatch)
    assert not is_judged_rightly(mutation.noticed_by)


@pytest.mark.many
@pytest.mark.parametrize("name", WITNESSES)
def test_the_checker_as_it_is_judges_rightly(name):
    assert is_judged_rightly(name)


def test_every_witness_is_judged_rightly_by_the_checker_as_it_is():
    assert {mutation.noticed_by for mutation in MUTATIONS.values()} <= set(WITNESSES)
