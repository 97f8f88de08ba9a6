"""Which mistake was made: the student's derivatives beside those of the known mistakes."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np

from jaxnet.grading.exercise import Array, Draw, Exercise
from jaxnet.grading.judge import Leaf, as_given
from jaxnet.grading.kinds import Gradients, Kind, Made, Mistake, kind_of
from jaxnet.grading.process import Answer
from jaxnet.grading.structural import of_one_leaf, of_shape
from jaxnet.grading.terms import of_terms

SAME = 1e-6  # of the largest element
IN_32 = 1e-4


def same(one: Array, other: Array) -> bool:
    if one.shape != other.shape:
        return False
    close = IN_32 if min(one.dtype.itemsize, other.dtype.itemsize) < 8 else SAME
    return bool(np.abs(one - other).max(initial=0) <= close * np.abs(other).max(initial=0))


@dataclass
class Case:
    """What a student computed in the first draw, and which of it is wrong."""

    exercise: Exercise
    yours: Mapping[str, Array]
    wrong: list[str]

    @property
    def draw(self) -> Draw:
        return self.exercise.draws[0]

    def explained(self, gradients: Gradients) -> list[str]:
        """The wrong leaves that these gradients are."""
        return [k for k in self.wrong if k in self.yours and same(self.yours[k], gradients[k])]

    def contradicted(self, gradients: Gradients) -> int:
        """How many right leaves these gradients have wrong."""
        right = [k for k in self.yours if k not in self.wrong]
        return sum(not same(self.yours[k], gradients[k]) for k in right)


def add_hints(exercise: Exercise, answer: Answer, leaves: list[Leaf]) -> str:
    """A hint for each wrong leaf; what explains several is returned as well as said of each."""
    wrong = [leaf for leaf in leaves if leaf.verdict == "wrong"]
    by_name = {leaf.name: leaf for leaf in wrong}
    case = Case(exercise, as_given(exercise, answer, 0), list(by_name))
    kind = kind_of(exercise)
    for names, words in explanations(case, kind):
        for name in names:
            by_name[name].hint = by_name[name].hint or words
    for leaf in wrong:
        leaf.hint = leaf.hint or hint_of_leaf(case, answer, leaf)
    return shared(wrong)


def shared(wrong: list[Leaf]) -> str:
    """What is said of all of several leaves is taken from each and said once."""
    hints = {leaf.hint for leaf in wrong}
    if len(wrong) < 2 or len(hints) != 1:
        return ""
    for leaf in wrong:
        leaf.hint = ""
    return hints.pop()


def explanations(case: Case, kind: Kind | None) -> Iterable[tuple[list[str], str]]:
    """Leaves, and the known mistake that gives just them; what explains most comes first."""
    if kind is None:
        return
    left = Case(case.exercise, case.yours, list(case.wrong))
    while left.wrong:
        found = one_or_two(left, kind)
        if found is None:
            return
        names, mistakes = found
        yield names, "; and ".join(said(kind, m) for m in mistakes)
        left.wrong = [name for name in left.wrong if name not in names]


Found = tuple[list[str], tuple[Mistake, ...]]  # leaves, and what explains them


def one_or_two(case: Case, kind: Kind) -> Found | None:
    """Two mistakes only where they explain all that is wrong, and no single one does."""
    one = best(case, kind, ((mistake,) for mistake in kind.mistakes()))
    if len(case.wrong) == 1 or (one is not None and one[0] == case.wrong):
        return one
    two = best(case, kind, kind.pairs())
    return two if two is not None and two[0] == case.wrong else one


def best(case: Case, kind: Kind, every: Iterable[tuple[Mistake, ...]]) -> Found | None:
    """The mistakes that explain most of the wrong leaves and spoil fewest of the right ones."""
    most, found = 0.0, None
    for mistakes in every:
        with np.errstate(all="ignore"):
            gradients = kind.gradients(case.draw, Made(mistakes))
        names = case.explained(gradients)
        if not names:
            continue
        value = len(names) - 0.5 * case.contradicted(gradients)
        if value > most:
            most, found = value, (names, mistakes)
    return found


def said(kind: Kind, mistake: Mistake) -> str:
    if kind.name != "network":
        return mistake.words
    layers = kind.pieces[mistake.piece]
    if mistake.piece == "loss":
        return f"at the loss, in dz: {mistake.words}"
    is_named = mistake.layer is not None and layers > 1
    of = f" {mistake.layer + 1}" if is_named and mistake.layer is not None else ""
    if mistake.piece == "relu":
        return f"at ReLU{of}: {mistake.words}"
    return f"in layer{of}: {mistake.words}" if of else mistake.words


def hint_of_leaf(case: Case, answer: Answer, leaf: Leaf) -> str:
    if leaf.name not in case.yours:
        array = answer.gradients[0].get(leaf.name)
        return "" if array is None else of_shape(case.draw, leaf.name, array)
    yours = case.yours[leaf.name]
    if not np.isfinite(yours).all():
        return ""
    return (
        of_one_leaf(case.draw, leaf.name, yours)
        or of_terms(case.exercise, leaf.name, yours)
        or follows(case, leaf.name)
    )


def follows(case: Case, name: str) -> str:
    """Where a later layer is wrong, what comes before it is too."""
    layer = {leaf: k // 2 for k, leaf in enumerate(case.exercise.leaves)}
    later = [leaf for leaf in case.wrong if layer[leaf] > layer[name]]
    if not case.exercise.is_loss or not later:
        return ""
    return f"d{later[-1]} is computed before it and is wrong too: mend that first"
