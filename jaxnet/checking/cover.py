"""Few combinations that have every value, and every pair of values: a cover.

Where there are few in all, it is all of them: some faults need three values together.

Here values are positions, from 0 on, and a combination has one of each axis.
"""

import functools
import itertools
import math
from collections.abc import Iterator, Sequence
from typing import TypeAlias

Combination: TypeAlias = tuple[int, ...]
Part: TypeAlias = tuple[tuple[int, int], ...]  # (axis, position) of some axes

FEW = 32  # combinations in all
TRIES = 2  # to find a combination with a part that can be asked


class Cover:
    """What is left to be asked.

    Some combinations cannot be asked. A part of such a one is tried in others, which avoid what
    was met in those alone that could not.

    left: part -> how often a combination was made for it.
    in_vain: parts that were met in combinations that could not be asked, and in no other.
    """

    def __init__(self, lengths: Sequence[int]):
        self.lengths = lengths
        axes = [[(axis, n) for n in range(length)] for axis, length in enumerate(lengths)]
        values: list[Part] = [(value,) for axis in axes for value in axis]
        pairs = (itertools.product(a, b) for a, b in itertools.combinations(axes, 2))
        every = itertools.product(*axes) if math.prod(lengths) <= FEW else ()
        self.left: dict[Part, int] = dict.fromkeys([*values, *itertools.chain(*pairs), *every], 0)
        self.in_vain: set[Part] = set()

    def proposed(self) -> Combination | None:
        """With much of what is left, single values first; None where no more is to be tried."""
        goals = (part for part, tries in self.left.items() if tries < TRIES)
        goal = min(goals, key=lambda part: (len(part), self.left[part]), default=None)
        if goal is None:
            return None
        self.left[goal] += 1
        chosen = dict(goal)
        for axis, length in enumerate(self.lengths):
            if axis not in chosen:
                chosen[axis] = max(range(length), key=functools.partial(self._worth, chosen, axis))
        return tuple(chosen[axis] for axis in range(len(self.lengths)))

    def _worth(self, chosen: dict[int, int], axis: int, n: int) -> tuple[int, int]:
        """Of a position beside those chosen; of equals the first, the smallest, is taken."""
        pairs = [tuple(sorted([value, (axis, n)])) for value in chosen.items()]
        parts: list[Part] = [((axis, n),), *pairs]
        return -sum(p in self.in_vain for p in parts), sum(p in self.left for p in parts)

    def mark(self, combination: Combination, could_be_asked: bool) -> None:
        for part in _parts(tuple(enumerate(combination))):
            if could_be_asked:
                self.left.pop(part, None)
                self.in_vain.discard(part)
            elif part in self.left:
                self.in_vain.add(part)

    def never_met(self) -> list[Part]:
        """Without those that have another in them."""
        never = {part: None for part in self.left if part not in self.in_vain}
        return [p for p in never if not any(q in never for q in _parts(p) if q != p)]


def _parts(whole: Part) -> Iterator[Part]:
    """Values, pairs, and itself."""
    yield from ((value,) for value in whole)
    yield from itertools.combinations(whole, 2)
    yield whole


def smaller(combination: Combination) -> Iterator[Combination]:
    """With one axis at a smaller position, the smallest first."""
    for axis, position in enumerate(combination):
        for n in range(position):
            yield (*combination[:axis], n, *combination[axis + 1 :])
