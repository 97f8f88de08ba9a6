"""Mistakes that show in one derivative alone, whatever it is of: a factor, a sign, an axis."""

import itertools

import numpy as np

from jaxnet.grading.exercise import Array, Draw

CLOSE = 1e-6


def alike(one: Array, other: Array) -> bool:
    scale = np.abs(other).max(initial=0)
    return one.shape == other.shape and bool(np.abs(one - other).max(initial=0) <= CLOSE * scale)


def of_one_leaf(draw: Draw, name: str, yours: Array) -> str:
    """Of the shape that it should have; "" where nothing is recognised."""
    truth = draw.truth[name]
    if np.abs(yours).max() <= 1e-12 * np.abs(truth).max():
        return "it is 0 everywhere: what comes in is lost, or adds up to 0"
    if alike(yours, draw.inputs[name]):
        return f"this is {name} itself, not its derivative"
    if truth.ndim == 2 and alike(yours, truth.T):
        return "it is transposed"
    return (
        of_another(draw, name, yours)
        or rearranged(yours, truth)
        or factor(draw, yours, truth)
        or partial(yours, truth)
    )


def of_another(draw: Draw, name: str, yours: Array) -> str:
    for other, value in draw.truth.items():
        if other != name and alike(yours, value):
            return f"these are the numbers of d{other}: look at the order in the return"
    return ""


def rearranged(yours: Array, truth: Array) -> str:
    """The right numbers, with wrong signs or at the wrong places."""
    if alike(np.abs(yours), np.abs(truth)):
        return sign(yours, truth)
    same_numbers = alike(np.sort(yours, axis=None), np.sort(truth, axis=None))
    return order(yours, truth) if same_numbers else ""


def sign(yours: Array, truth: Array) -> str:
    if alike(yours, -truth):
        return "its sign is wrong everywhere"
    return "the numbers are right, but some of the signs are not"


def order(yours: Array, truth: Array) -> str:
    if truth.ndim == 2 and alike(yours, truth.T.reshape(truth.shape)):
        return "it is reshaped where it should be transposed"
    return "these are the right numbers at the wrong places: are rows, columns or classes in order?"


def factor(draw: Draw, yours: Array, truth: Array) -> str:
    counted = np.abs(truth) > 1e-3 * np.abs(truth).max(initial=0)
    ratios = yours[counted] / truth[counted]
    k = float(np.median(ratios)) if len(ratios) > 1 else 0.0
    if not k or not alike(yours, k * truth):
        return ""
    size = abs(k)
    words = "with the wrong sign, and " if k < 0 else ""
    for n, letters in sizes(draw):
        if abs(size * n - 1) < CLOSE:
            return f"it is {words}divided by {letters} where it should not be: a mean for a sum?"
        if abs(size / n - 1) < CLOSE:
            return f"it is {words}{letters} times too large: a sum for a mean?"
    return f"it is {k:.4g} times the right one everywhere"


def sizes(draw: Draw) -> list[tuple[int, str]]:
    """Of axes, and of two together; N first."""
    letters = sorted(draw.sizes, key=lambda letter: letter != "N")
    one = [(draw.sizes[a], a) for a in letters]
    two = [
        (draw.sizes[a] * draw.sizes[b], f"{a} times {b}")
        for a, b in itertools.combinations_with_replacement(letters, 2)
    ]
    return one + two


def partial(yours: Array, truth: Array) -> str:
    """Where it is right but for some rows or columns."""
    for axis, word in ((0, "row"), (1, "column")):
        if truth.ndim != 2 and not (truth.ndim == 1 and axis == 0):
            continue
        gaps = np.abs(np.moveaxis(yours - truth, axis, 0)).reshape(truth.shape[axis], -1)
        bad = np.flatnonzero(gaps.max(axis=1) > CLOSE * np.abs(truth).max())
        if 0 < len(bad) <= truth.shape[axis] / 2:
            which = ", ".join(str(int(i)) for i in bad)
            what = word if truth.ndim == 2 else "element"
            are_zero = not np.take(yours, bad, axis).any()
            left = ": left out" if are_zero else ""
            return f"it is right but for {what} {which}{left}"
    return ""


def of_shape(draw: Draw, name: str, yours: Array) -> str:
    """Of a shape that it should not have."""
    truth = draw.truth[name]
    if not np.isfinite(yours).all():
        return ""
    if yours.ndim == 2 and alike(yours.T, truth):
        return "it is transposed"
    if yours.size == 1 and np.isclose(float(yours.sum()), truth.sum()):
        return "it is summed over everything: give the sum its axis, that of the examples"
    if yours.ndim == 2 and yours.T.shape == truth.shape:
        return "its rows and columns are exchanged"
    return of_another(draw, name, yours) or of_axes(draw, yours, truth)


def of_axes(draw: Draw, yours: Array, truth: Array) -> str:
    for axis in range(yours.ndim):
        if alike(yours.sum(axis=axis), truth):
            return "it is not summed over the examples: each acts on it through its own output"
        if alike(yours.mean(axis=axis), truth):
            return "it is not averaged over the examples"
    n = draw.sizes.get("N")
    if n in yours.shape and n not in truth.shape:
        return "an axis of the examples is left in it: sum over them, and over no other axis"
    arrays = dict(draw.inputs) | {"what comes in": draw.cotangent}
    alike_in_shape = [name for name, array in arrays.items() if array.shape == yours.shape]
    return f"that is the shape of {alike_in_shape[0]}" if alike_in_shape else ""
