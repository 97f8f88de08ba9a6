"""Ways to break the checker, one comparison at a time, each with an example that is then misjudged."""

import dataclasses
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from jaxnet.checking import arbiter, arrays, bench, examination, traces
from jaxnet.checking.findings import Verdict
from jaxnet.checking.questions import (
    algebra,
    laws,
    power,
    precision,
    reach,
    structure,
    transforms,
    vacuous,
    values,
)


class Mutation(NamedTuple):
    noticed_by: str  # the name of an example
    break_it: Callable[[Any], None]  # monkeypatch -> None


MUTATIONS: dict[str, Mutation] = {}


def mutation(name, noticed_by):
    def register(f):
        MUTATIONS[name] = Mutation(noticed_by, f)
        return f

    return register


def replaced(name, noticed_by, owner, attribute, value):
    MUTATIONS[name] = Mutation(noticed_by, lambda patch: patch.setattr(owner, attribute, value))


def nothing(*args, **kwargs):
    return []


replaced(
    "values are not compared",
    "the forward returns another index than the function",
    values,
    "ask",
    nothing,
)
replaced(
    "laws are not tested", "gradient clipping at a large value", laws, "_broken", lambda *args: None
)
replaced(
    "vacuous leaves pass",
    "a softmax with gradient 0, seen through its sum alone",
    vacuous,
    "_seen",
    lambda bench, k, looks, finding, narrow: finding,
)
replaced(
    "every zero is vacuous",
    "a composite whose gradient is zero: the sum of a softmax",
    vacuous,
    "_depends",
    lambda bench, look, k: True,
)
replaced(
    "a tail is noise",
    "the tails of tanh, where autodiff cancels",
    vacuous,
    "_is_definite",
    lambda bench, look, k, narrow: False,
)
replaced(
    "transformations are not compared",
    "stop_gradient inside the backward: wrong at second order",
    transforms,
    "ask",
    nothing,
)
replaced(
    "an element is never wrong",
    "the sign",
    algebra,
    "element_at",
    lambda r, t, x, s: algebra.Element.UNRESOLVED,
)
replaced(
    "an element that differs is always wrong",
    "a tie goes to the first",
    algebra,
    "element_at",
    lambda r, t, x, s: algebra.Element.WRONG,
)
replaced(
    "there are no kinks",
    "a tie goes to the first",
    arbiter.Slopes,
    "kink",
    property(lambda self: False),
)
replaced(
    "everything is a kink",
    "a softmax with gradient 0, seen through its sum alone",
    arbiter.Slopes,
    "kink",
    property(lambda self: True),
)
replaced(
    "every value lies between the slopes",
    "the slope of relu at zero is 2",
    arbiter.Slopes,
    "between",
    lambda self, value: True,
)
replaced(
    "finite differences agree with everything",
    "the sign",
    arbiter.Slopes,
    "holds",
    lambda self, value: True,
)
replaced(
    "finite differences agree with nothing",
    "the tails of tanh, where autodiff cancels",
    arbiter.Slopes,
    "holds",
    lambda self, value: False,
)
replaced(
    "differences have no bar", "the tails of tanh, where autodiff cancels", arbiter, "SAFETY", 0.0
)


@mutation(
    "precision is not judged",
    "squares overflow float16 in the backward, the value computes in float32",
)
def _(patch):
    patch.setattr(precision, "ask", lambda *args: precision.Precision([], []))


@mutation("branches are not entered", "a saturated value still passes its gradient")
def _(patch):
    patch.setattr(reach, "ask", lambda bench, look, algebra: reach.Reach(algebra.findings, [], ()))


@mutation("nothing differs by more than is allowed", "a saturated value still passes its gradient")
def _(patch):
    for room in (values, algebra, power):
        patch.setattr(room, "tolerance", lambda t, noise, eps: np.full(t.shape, np.inf))


@mutation("NaN is no NaN", "NaN in, NaN out")
def _(patch):
    for room in (arrays, values, algebra, laws):
        patch.setattr(room, "same", lambda a, b: a == b)


@mutation("what returns the wrong dtype passes", "a float32 cotangent for a bfloat16 argument")
def _(patch):
    patch.setattr(structure, "ask", nothing)


@mutation("a transformation that raises passes", "a residual in a Python global: raises under scan")
def _(patch):
    original = examination.programs_for

    def without_trouble(*args):
        return dataclasses.replace(original(*args), not_compared=[])

    patch.setattr(examination, "programs_for", without_trouble)


@mutation("what raises passes", "a custom_jvp that is not linear in its tangent: no reverse mode")
def _(patch):
    original = examination.programs_for

    def failing(*args):
        try:
            return original(*args)
        except traces.Failed as e:
            raise traces.Failed(dataclasses.replace(e.finding, verdict=Verdict.OK)) from e

    patch.setattr(examination, "programs_for", failing)


@mutation("the reference is always trusted", "the tails of tanh, where autodiff cancels")
def _(patch):
    original = algebra.judge

    def trusting(*args):
        judged = original(*args)
        return judged._replace(distrusted=np.zeros_like(judged.distrusted))

    patch.setattr(algebra, "judge", trusting)


@mutation(
    "only the first cotangent counts",
    "squares overflow float16 in the backward, the value computes in float32",
)
def _(patch):
    def first(which):
        return lambda self, cell, k: np.stack([getattr(self.runs[0], which)[cell.key][k]])

    for which in ("rule", "ref"):
        patch.setattr(bench.Look, which, first(which))
