"""Ways to break the checker, one comparison at a time.

Each names an example of the corpus that a checker so broken misjudges.
"""

import dataclasses
from collections import OrderedDict
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from jaxnet import _graph
from jaxnet.checking import (
    approximation,
    arbiter,
    arrays,
    bench,
    branches,
    examination,
    graphs,
    nearby,
    programs,
    traces,
    truth,
)
from jaxnet.checking.findings import Verdict
from jaxnet.checking.questions import (
    algebra,
    forward,
    kinks,
    laws,
    one_row,
    others,
    overflow,
    power,
    precision,
    reach,
    structure,
    sweep,
    transforms,
    vacuous,
    values,
)


class Mutation(NamedTuple):
    noticed_by: str  # the name of an example, in corpus.wrong or corpus.right
    break_it: Callable[[Any], None]  # monkeypatch -> None


MUTATIONS: dict[str, Mutation] = {}  # by what the checker then does


def replaced(name, *, noticed_by, owner, attribute, by):
    """A mutation that puts something else in the place of one attribute."""
    MUTATIONS[name] = Mutation(noticed_by, lambda patch: patch.setattr(owner, attribute, by))


def mutation(name, *, noticed_by):
    """A mutation that takes more than that: the decorated function is its break_it."""

    def register(break_it):
        MUTATIONS[name] = Mutation(noticed_by, break_it)
        return break_it

    return register


def find_nothing(*args, **kwargs):
    return []


# ---- one attribute replaced

replaced(
    "the truth is reverse mode or nothing",
    noticed_by="a loop that ends when it has converged",
    owner=programs,
    attribute="ways_from",
    by=lambda route: truth.ways_from(truth.Route.REVERSE)[:1],
)
replaced(
    "digits are not compared where there is no autodiff",
    noticed_by="a host callback whose backward rounds to bfloat16",
    owner=precision,
    attribute="ask",
    by=lambda *args: precision.Precision([], []),
)
replaced(
    "values are not compared",
    noticed_by="the forward returns another index than the function",
    owner=values,
    attribute="ask",
    by=find_nothing,
)
replaced(
    "laws are not tested",
    noticed_by="gradient clipping at a large value",
    owner=laws,
    attribute="broken",
    by=lambda *args: None,
)
replaced(
    "cotangents are never taken apart",
    noticed_by="a row of zeros in the cotangent is divided by its size",
    owner=laws,
    attribute="laws_of_parts",
    by=find_nothing,
)
replaced(
    "the forward's value is compared at the arguments given alone",
    noticed_by="the forward returns NaN at 0",
    owner=values,
    attribute="at_made",
    by=lambda bench, there, known, how: known,
)
replaced(
    "numbers in the code are no special points",
    noticed_by="Huber's slope is 0 where the linear part begins",
    owner=_graph,
    attribute="named_numbers",
    by=find_nothing,
)
replaced(
    "an approximation is not looked at twice",
    noticed_by="eps outside the root in the backward",
    owner=sweep,
    attribute="COARSE",
    by=np.inf,
)
replaced(
    "no slope is asked where autodiff is NaN, but for the points given",
    noticed_by="the cube of a norm: slope 1 in a row of zeros, where autodiff is NaN",
    owner=sweep,
    attribute="_without_autodiff",
    by=lambda *args: None,
)
replaced(
    "of special points kinks are judged one by one",
    noticed_by="the largest of a row: every tie is paid in full, and none was given",
    owner=sweep,
    attribute="_along_several",
    by=lambda *args: None,
)
replaced(
    "vacuous leaves pass",
    noticed_by="a softmax with gradient 0, seen through its sum alone",
    owner=vacuous,
    attribute="_seen",
    by=lambda bench, k, looks, finding, narrow: finding,
)
replaced(
    "every zero is vacuous",
    noticed_by="a composite whose gradient is zero: the sum of a softmax",
    owner=vacuous,
    attribute="_depends",
    by=lambda bench, look, k: True,
)
replaced(
    "a tail is noise",
    noticed_by="the tails of tanh, where autodiff cancels",
    owner=vacuous,
    attribute="is_definite",
    by=lambda bench, look, k, narrow: False,
)
replaced(
    "transformations are not compared",
    noticed_by="stop_gradient inside the backward: wrong at second order",
    owner=transforms,
    attribute="ask",
    by=find_nothing,
)
replaced(
    "an element is never wrong",
    noticed_by="the sign",
    owner=algebra,
    attribute="element_at",
    by=lambda r, t, x, s: algebra.Element.UNRESOLVED,
)
replaced(
    "an element that differs is always wrong",
    noticed_by="a tie goes to the first",
    owner=algebra,
    attribute="element_at",
    by=lambda r, t, x, s: algebra.Element.WRONG,
)
replaced(
    "there are no kinks",
    noticed_by="a tie goes to the first",
    owner=arbiter.Slopes,
    attribute="kink",
    by=property(lambda self: False),
)
replaced(
    "everything is a kink",
    noticed_by="a softmax with gradient 0, seen through its sum alone",
    owner=arbiter.Slopes,
    attribute="kink",
    by=property(lambda self: True),
)
replaced(
    "every value lies between the slopes",
    noticed_by="the slope of relu at zero is 2",
    owner=arbiter.Slopes,
    attribute="between",
    by=lambda self, value: True,
)
replaced(
    "finite differences agree with everything",
    noticed_by="the sign",
    owner=arbiter.Slopes,
    attribute="holds",
    by=lambda self, value: True,
)
replaced(
    "finite differences agree with nothing",
    noticed_by="the tails of tanh, where autodiff cancels",
    owner=arbiter.Slopes,
    attribute="holds",
    by=lambda self, value: False,
)
replaced(
    "differences of 16 bits are the judge",
    noticed_by="twice the gradient, in bfloat16 alone",
    owner=algebra.Standard,
    attribute="differences_can_tell",
    by=True,
)
replaced(
    "differences have no bar",
    noticed_by="the tails of tanh, where autodiff cancels",
    owner=arbiter,
    attribute="SAFETY",
    by=0.0,
)
replaced(
    "precision is not judged",
    noticed_by="squares overflow float16 in the backward, the value computes in float32",
    owner=precision,
    attribute="ask",
    by=lambda *args: precision.Precision([], []),
)
replaced(
    "branches are not entered",
    noticed_by="ELU's exponential branch lacks its factor alpha, at positive points",
    owner=reach,
    attribute="ask",
    by=lambda bench, look, value, algebra, budget: reach.Reach(value, algebra.findings, [], ()),
)
replaced(
    "what returns the wrong dtype passes",
    noticed_by="a float32 cotangent for a bfloat16 argument",
    owner=structure,
    attribute="ask",
    by=find_nothing,
)

replaced(
    "ties are not settled",
    noticed_by="straight through a clip, all of it on the ends",
    owner=programs.Programs,
    attribute="can_be_settled",
    by=False,
)
replaced(
    "slopes that differ hold everything",
    noticed_by="straight through a clip, more than all of it on the ends",
    owner=nearby,
    attribute="is_between",
    by=lambda value, slopes, eps: bool(np.ptp(slopes)) if slopes.size else False,
)
replaced(
    "nothing cancels",
    noticed_by="batch norm, summed up",
    owner=bench,
    attribute="size_of_terms",
    by=lambda t, moved, eps: np.abs(t),
)
replaced(
    "everything may have cancelled",
    noticed_by="a bias of the keys of attention gets a little",
    owner=bench,
    attribute="size_of_terms",
    by=lambda t, moved, eps: np.full_like(t, 1e12),
)
replaced(
    "nothing is approximate",
    noticed_by="a logarithm whose slope forgets its epsilon",
    owner=algebra,
    attribute="is_near",
    by=lambda r, t, rtol: np.zeros(t.shape, bool),
)
replaced(
    "everything is approximate",
    noticed_by="the sign",
    owner=algebra,
    attribute="is_near",
    by=lambda r, t, rtol: np.ones(t.shape, bool),
)
replaced(
    "a value that loses digits costs the gradient none",
    noticed_by="a root by small steps, which end early in float32",
    owner=precision,
    attribute="_apart",
    by=lambda bench, look, runs: 0.0,
)
replaced(
    "digits of a gradient are those of the value",
    noticed_by="1.3 times the gradient, straight through a cast to float8",
    owner=graphs,
    attribute="narrowest_of_cotangents",
    by=graphs.narrowest_float,
)
replaced(
    "small elements alone may be off",
    noticed_by="twice too large in small elements alone",
    owner=approximation,
    attribute="FAR_NEARER",
    by=np.inf,
)
replaced(
    "values that are apart bound nothing",
    noticed_by="a polynomial for the sine",
    owner=bench,
    attribute="apart",
    by=lambda problem, run: 0.0,
)
replaced(
    "a ref far from f is the truth all the same",
    noticed_by="a polynomial for the sine",
    owner=reach,
    attribute="is_another",
    by=lambda problem, here, there: False,
)
replaced(
    "values that are far apart bound nothing either",
    noticed_by="a polynomial for the sine, its slope a hundredth too large",
    owner=approximation,
    attribute="OF_APART",
    by=1e6,
)
replaced(
    "kinks are judged one by one",
    noticed_by="the largest of a row: every tie is paid in full",
    owner=kinks,
    attribute="_wrong",
    by=find_nothing,
)
replaced(
    "no two kinks go together",
    noticed_by="the larger of two: both are paid in full where they are equal",
    owner=kinks,
    attribute="_differ",
    by=lambda both, one, two: False,
)
replaced(
    "all kinks go together",
    noticed_by="relu at many zeros, in a weighted sum",
    owner=kinks,
    attribute="_differ",
    by=lambda both, one, two: True,
)
replaced(
    "slopes nearby do not widen what is allowed along several kinks",
    noticed_by="a sort that takes ties in an order of its own",
    owner=kinks,
    attribute="_widened",
    by=lambda bounds, beside: bounds,
)
replaced(
    "slopes nearby do not count for one element",
    noticed_by="a median: the first of the ties takes all",
    owner=nearby,
    attribute="is_between",
    by=lambda value, slopes, eps: False,
)
replaced(
    "no slope is finite",
    noticed_by="a norm: a row of zeros among others is NaN",
    owner=arbiter.Slopes,
    attribute="is_finite",
    by=property(lambda self: False),
)
replaced(
    "every slope is finite",
    noticed_by="a cube root, infinitely steep at 0",
    owner=arbiter.Slopes,
    attribute="is_finite",
    by=property(lambda self: True),
)
replaced(
    "autodiff is never as wrong as the rule",
    noticed_by="digamma below 0, where autodiff is as wrong",
    owner=power,
    attribute="_excludes",
    by=lambda slopes, both, allowed: False,
)
replaced(
    "autodiff is always as wrong as the rule",
    noticed_by="the tails of tanh, where autodiff cancels",
    owner=power,
    attribute="_excludes",
    by=lambda slopes, both, allowed: True,
)
replaced(
    "what differences side with was not seen",
    noticed_by="by way of the bits: autodiff is 0",
    owner=vacuous,
    attribute="was_seen",
    by=lambda finding: finding.verdict in (Verdict.WRONG, Verdict.KINK),
)
replaced(
    "second derivatives are not measured",
    noticed_by="sin(x) / x: the second derivative at 0 is that of a constant",
    owner=transforms,
    attribute="_is_excluded",
    by=lambda r, largest_r, slopes, eps: False,
)
replaced(
    "second derivatives are all excluded",
    noticed_by="sin(x) / x, where autodiff is NaN at 0",
    owner=transforms,
    attribute="_is_excluded",
    by=lambda r, largest_r, slopes, eps: True,
)
replaced(
    "tangents are not compared",
    noticed_by="twice the tangent, and once the cotangent",
    owner=forward,
    attribute="_compared",
    by=find_nothing,
)
replaced(
    "differences along a tangent say nothing",
    noticed_by="twice the tangent, beside a reference whose pullback is a callback",
    owner=bench,
    attribute="slopes_of",
    by=lambda *args: arbiter.Slopes(*[np.nan, np.inf] * 3),
)
replaced(
    "no argument is moved alone",
    noticed_by="a tangent counts twice where the other is zero",
    owner=forward,
    attribute="_each_alone",
    by=find_nothing,
)
replaced(
    "the value beside a tangent is not compared",
    noticed_by="the value has an offset while x moves alone",
    owner=forward,
    attribute="_values",
    by=find_nothing,
)
replaced(
    "a gradient is not moved",
    noticed_by="the slope's own tangent is twice too large",
    owner=forward,
    attribute="_second_order",
    by=find_nothing,
)
replaced(
    "tangents need not be linear",
    noticed_by="tangents are clipped at a large value",
    owner=forward,
    attribute="_broken",
    by=find_nothing,
)
replaced(
    "special points are not asked",
    noticed_by="a cumulative product, by a division",
    owner=sweep,
    attribute="ask",
    by=lambda bench, look, reached, budget: reached,
)
replaced(
    "differences settle everything at special points",
    noticed_by="a power whose slope divides by positive numbers",
    owner=sweep,
    attribute="_is_settled",
    by=lambda r, t, s: True,
)
replaced(
    "what a formula loses at special points is a fault",
    noticed_by="(1 - cos x) / x², whose slope has no digits near 0",
    owner=sweep,
    attribute="_noise_of_rule",
    by=lambda *args: 0.0,
)
replaced(
    "everything is lost by a formula at special points",
    noticed_by="sin(πx) / πx, whose slope is 0 at integers",
    owner=sweep,
    attribute="_noise_of_rule",
    by=lambda *args: np.inf,
)
replaced(
    "no tail may be approximate at made points",
    noticed_by="a tail that is taken for 0",
    owner=reach,
    attribute="FAR",
    by=0.0,
)
replaced(
    "one row is not asked",
    noticed_by="a variance by n - 1, of one row too",
    owner=one_row,
    attribute="ask",
    by=lambda look, alone, algebra: list(algebra),
)
replaced(
    "every rule that takes no one row is wrong",
    noticed_by="a backward for four rows, and no other number",
    owner=one_row,
    attribute="_takes_two",
    by=lambda bench: True,
)
replaced(
    "no rule need take one row",
    noticed_by="a squeeze of one row, which raises",
    owner=one_row,
    attribute="_takes_two",
    by=lambda bench: False,
)
replaced(
    "a rule may overflow",
    noticed_by="the slope of tanh by exponentials that are both large",
    owner=overflow,
    attribute="ask",
    by=lambda bench, draw, precise, spoiled: list(precise),
)
replaced(
    "a rule may not overflow though the value does",
    noticed_by="a power that overflows, whose slope divides by it",
    owner=overflow,
    attribute="_differing",
    by=lambda run, k: ~np.isfinite(run.rule[k]),
)
replaced(
    "the ends of a dtype are not asked",
    noticed_by="a norm of numbers that are scaled, and the squares of its slope are not",
    owner=overflow,
    attribute="_reaches",
    by=lambda domain, to: not to,
)
replaced(
    "numbers that happen to be positive may be almost 0",
    noticed_by="(1 - cos x) / x², whose slope has no digits near 0",
    owner=overflow,
    attribute="_reaches",
    by=lambda domain, to: True,
)
replaced(
    "the forward may overflow",
    noticed_by="the forward of logsumexp lacks its shift",
    owner=overflow,
    attribute="_value_differing",
    by=lambda run, k: np.zeros(run.forward[k].shape, bool),
)
replaced(
    "no cotangent has a batch alone",
    noticed_by="sums over the batch, but only where the cotangent alone has one",
    owner=graphs,
    attribute="is_batched_by_hand",
    by=lambda at: False,
)
replaced(
    "booleans and integers are those given",
    noticed_by="a gate, wrong where its flag is off",
    owner=others,
    attribute="ask",
    by=lambda bench, look, reached, budget: reached,
)
replaced(
    "no row is all False",
    noticed_by="a softmax under a mask, NaN where it leaves nothing of a row",
    owner=others,
    attribute="_CHANGES",
    by={how: change for how, change in others._CHANGES.items() if change is not others._none},
)
replaced(
    "every group stays",
    noticed_by="a mean of groups, NaN where one is empty",
    owner=others,
    attribute="_without_the_rarest",
    by=lambda rows, rng: rows,
)
replaced(
    "no integer is one that the code asks for",
    noticed_by="a cross-entropy that leaves out the rows of one label divides by all rows",
    owner=others,
    attribute="_of_the_code",
    by=lambda problem, compared, rng: {},
)
replaced(
    "every mask may be any other",
    noticed_by="a mean of padded rows, by their lengths",
    owner=others,
    attribute="_may_be_by_intent",
    by=lambda x, is_constant: False,
)
replaced(
    "what is doubtful is judged as what is not",
    noticed_by="a softmax under a mask that leaves something of each row",
    owner=others,
    attribute="_of_no_number",
    by=lambda before, now: now,
)
replaced(
    "no array of integers goes with another",
    noticed_by="numbers in a sparse matrix, each in a place of its own",
    owner=others,
    attribute="_is_part",
    by=lambda problem, x: False,
)
replaced(
    "no integers name one before each",
    noticed_by="a tree whose nodes come after those above them",
    owner=others,
    attribute="_may_be_counts_or_tree",
    by=lambda problem, x: False,
)
replaced(
    "cotangents have either sign",
    noticed_by="a sum over many rows, kept in bfloat16",
    owner=precision,
    attribute="_with_one_sign",
    by=lambda bench, draw, look: (draw, look),
)

# ---- more than that


@mutation(
    "a tangent of 0 is not tried",
    noticed_by="tangents are scaled by the largest, NaN where all are zero",
)
def _(patch):
    original = forward._broken

    def but_zero(law, *args):
        return [] if law.name == forward.ZERO else original(law, *args)

    patch.setattr(forward, "_broken", but_zero)


@mutation(
    "a route that is nowhere finite is the truth, and differences decide nothing",
    noticed_by="the exponential of a matrix with equal eigenvalues",
)
def _(patch):
    # Either alone is enough to judge it.
    patch.setattr(examination, "_is_nowhere_finite", lambda bench, look: False)
    patch.setattr(vacuous, "was_seen", lambda finding: finding.verdict is Verdict.WRONG)


@mutation(
    "nothing differs by more than is allowed",
    noticed_by="a saturated value still passes its gradient",
)
def _(patch):
    for module in (values, algebra, power):
        patch.setattr(module, "tolerance", lambda t, noise, eps: np.full(t.shape, np.inf))


@mutation(
    "NaN is no NaN",
    noticed_by="NaN in, NaN out",
)
def _(patch):
    for module in (arrays, algebra):
        patch.setattr(module, "same", lambda a, b: a == b)


@mutation(
    "what raises passes",
    noticed_by="a custom_jvp that is not linear in its tangent: no reverse mode",
)
def _(patch):
    original = examination.programs_for

    def failing(*args):
        try:
            return original(*args)
        except traces.Failed as e:
            raise traces.Failed(dataclasses.replace(e.finding, verdict=Verdict.OK)) from e

    patch.setattr(examination, "programs_for", failing)


@mutation(
    "the reference is always trusted",
    noticed_by="cross-entropy without cancellation against a textbook body, at a margin of 40",
)
def _(patch):
    original = algebra.judge

    def trusting(*args):
        judged = original(*args)
        return judged._replace(distrusted=np.zeros_like(judged.distrusted))

    patch.setattr(algebra, "judge", trusting)


@mutation(
    "a transformation that raises passes",
    noticed_by="a residual in a Python global: raises under scan",
)
def _(patch):
    original = transforms.ask

    def without_errors(*args):
        return [f for f in original(*args) if f.verdict is not Verdict.ERROR]

    patch.setattr(transforms, "ask", without_errors)


@mutation(
    "only the first cotangent counts",
    noticed_by="squares overflow float16 in the backward, the value computes in float32",
)
def _(patch):
    def first(which):
        return lambda self, cell, k: np.stack(
            [getattr(self.runs[0], which)[cell.key][k]] * len(self.runs)
        )

    for which in ("rule", "ref"):
        patch.setattr(bench.Look, which, first(which))
    # At 64 times the arguments the example overflows with any cotangent.
    patch.setattr(overflow, "ask", lambda bench, draw, precise, spoiled: list(precise))


@mutation(
    "NumPy constants are what JAX remembers",
    noticed_by="an embedding of ids from NumPy, 4e-4 too large",
)
def _(patch):
    patch.setattr(_graph, "with_own_constants", lambda jaxpr, known: jaxpr)
    for module in (programs, branches):
        patch.setattr(module, "_known", OrderedDict())  # its graphs hold such constants
