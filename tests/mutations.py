"""Ways to break the checker, one comparison at a time; each must be noticed by some example of the corpus."""

import dataclasses

import numpy as np

from jaxnet.checking import differences, examination, judge, programs

MUTATIONS = {}  # name -> (monkeypatch -> None)


def mutation(name):
    def register(f):
        MUTATIONS[name] = f
        return f

    return register


def replaced(name, owner, attribute, value):
    MUTATIONS[name] = lambda patch: patch.setattr(owner, attribute, value)


def nothing(*args, **kwargs):
    return None


_Examination = examination._Examination
replaced("values are not compared", _Examination, "_values", nothing)
replaced("laws are not tested", _Examination, "_law", nothing)
replaced("precision is not judged", _Examination, "_precision", nothing)
replaced("branches are not entered", _Examination, "_reach", lambda self, look: ([], ()))
replaced("vacuous leaves pass", _Examination, "_vacuous", nothing)
replaced("every zero is vacuous", _Examination, "_depends", lambda self, k, look: True)
replaced("a tail is noise", _Examination, "_definite", lambda self, k, look: False)
replaced("transformations are not compared", _Examination, "_transforms", nothing)
replaced("an element is never wrong", judge, "_verdict", lambda r, t, x, s: "unresolved")
replaced("an element that differs is always wrong", judge, "_verdict", lambda r, t, x, s: "wrong")
replaced(
    "nothing differs by more than is allowed",
    judge,
    "tolerance",
    lambda t, nu, eps: np.full(t.shape, np.inf),
)
replaced("there are no kinks", differences.Slopes, "kink", property(lambda self: False))
replaced("everything is a kink", differences.Slopes, "kink", property(lambda self: True))
replaced(
    "every value lies between the slopes", differences.Slopes, "between", lambda self, value: True
)
replaced(
    "finite differences agree with everything",
    differences.Slopes,
    "holds",
    lambda self, value: True,
)
replaced(
    "finite differences agree with nothing", differences.Slopes, "holds", lambda self, value: False
)
replaced("differences have no bar", differences, "SAFETY", 0.0)
replaced("NaN is no NaN", examination, "same", lambda a, b: a == b)


@mutation("what returns the wrong dtype passes")
def _(patch):
    original = examination.programs_for

    def without_structure(*args):
        return dataclasses.replace(original(*args), structure=[])

    patch.setattr(examination, "programs_for", without_structure)


@mutation("a transformation that raises passes")
def _(patch):
    original = examination.programs_for

    def without_trouble(*args):
        return dataclasses.replace(original(*args), not_compared=[])

    patch.setattr(examination, "programs_for", without_trouble)


@mutation("what raises passes")
def _(patch):
    def failing(*args):
        try:
            return original(*args)
        except programs.Failed as e:
            raise programs.Failed(dataclasses.replace(e.finding, verdict="ok")) from e

    original = examination.programs_for
    patch.setattr(examination, "programs_for", failing)


@mutation("the reference is always trusted")
def _(patch):
    original = examination.judge

    def trusting(*args):
        judged = original(*args)
        return dataclasses.replace(judged, distrusted=np.zeros_like(judged.distrusted))

    patch.setattr(examination, "judge", trusting)


@mutation("only the first cotangent counts")
def _(patch):
    patch.setattr(
        examination.Look, "rule", lambda self, cell, k: np.stack([self.rows[0][cell.name][0][k]])
    )
    patch.setattr(
        examination.Look, "ref", lambda self, cell, k: np.stack([self.rows[0][cell.name][1][k]])
    )
