"""Regression: of which terms is a derivative the sum, and with which factors?

The right factors are found in the same way, from the truth.
"""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from jaxnet.grading.exercise import Array, Draw, Exercise
from jaxnet.grading.mistakes import softmax

CLOSE = 1e-6
BY_LESS = "σ is a root of Σ / (D - 1), not of the mean"
Terms = Mapping[str, Array]


class Family(NamedTuple):
    """Terms that belong together. words: what is wrong with them; "" of the right ones."""

    words: str
    terms: Terms


def of_terms(exercise: Exercise, name: str, yours: Array) -> str:
    for find in (of_norm, of_relu, of_loss):
        families = find(exercise, name)
        if not families:
            continue
        draw = exercise.draws[0]
        right = fit(families[0].terms, draw.truth[name])
        fits = [(family, fit(family.terms, yours)) for family in families]
        said = [words_of(draw, by, k, right) for by, k in fits if k is not None and right]
        return min(said, key=lambda words: words.count(";"), default="")  # the simplest
    return ""


def fit(terms: Terms, array: Array) -> Mapping[str, float] | None:
    """The factors with which the terms add up to the array; None where they do not."""
    columns = np.stack([term.ravel() for term in terms.values()], axis=1)
    factors, *_ = np.linalg.lstsq(columns, array.ravel(), rcond=None)
    error = np.abs(columns @ factors - array.ravel()).max(initial=0)
    if error > CLOSE * np.abs(array).max(initial=0):
        return None
    return {name: round(float(k), 6) for name, k in zip(terms, factors, strict=True)}


def words_of(
    draw: Draw, family: Family, found: Mapping[str, float], right: Mapping[str, float]
) -> str:
    said = [family.words] if family.words else []
    for term, k in found.items():
        wanted = right.get(term, 0.0)
        if abs(k - wanted) > 1e-5:
            said.append(of_factor(draw, term, k, wanted))
    return "; ".join(said)


def of_factor(draw: Draw, term: str, k: float, wanted: float) -> str:
    if abs(k) < 1e-5:
        return f"the term {'-' if wanted < 0 else ''}{term} is missing"
    if abs(wanted) < 1e-5:
        return f"the term {term} does not belong there; it has the factor {k:.4g}"
    if abs(k + wanted) < 1e-5:
        return f"the term {term} has the wrong sign"
    for letter, n in draw.sizes.items():
        if abs(k / wanted - n) < 1e-4:
            return f"the term {term} is {letter} times too large: a sum for a mean?"
        if abs(k / wanted * n - 1) < 1e-4:
            return f"the term {term} is {letter} times too small: divided twice?"
    return f"the term {term} has the factor {k:.4g} and not {wanted:.4g}"


# ---- layer norm: x̄ = (g - mean g - h mean(g h)) / σ with g = ȳ · scale


def of_norm(exercise: Exercise, name: str) -> list[Family]:
    draw, names = exercise.draws[0], exercise.leaves
    if len(names) != 3 or exercise.inputs != names:
        return []
    x, scale, shift = draw.inputs.values()
    if x.ndim != 2 or scale.shape != x.shape[1:] or shift.shape != scale.shape:
        return []
    centred = x - x.mean(axis=1, keepdims=True)
    sigma = np.sqrt(x.var(axis=1, keepdims=True) + 1e-5)
    if not np.allclose(centred / sigma * scale + shift, draw.value, 1e-8, 1e-10):
        return []
    if name == names[0]:
        return _of_input(draw, centred, sigma)
    if name == names[1]:
        return _of_scale(draw, centred, sigma)
    return _of_shift(draw, centred / sigma)


def _of_input(draw: Draw, centred: Array, sigma: Array) -> list[Family]:
    x, scale, _ = draw.inputs.values()
    deviations = {
        "": sigma,
        "0.00001 is missing under the root of σ": x.std(axis=1, keepdims=True),
        BY_LESS: x.std(axis=1, ddof=1, keepdims=True),
    }
    return [
        family._replace(words="; ".join(filter(None, (words, family.words))))
        for words, deviation in deviations.items()
        for family in _with_sigma(draw.cotangent, scale, centred, deviation)
    ]


def _with_sigma(dy: Array, scale: Array, centred: Array, sigma: Array) -> list[Family]:
    first = {"": dy * scale, "the scale is forgotten: g = dy · scale": dy}
    overs = {
        "": sigma,
        "it is not divided by σ": np.ones_like(sigma),
        "it is divided by σ², not by σ": sigma**2,
        "it is multiplied by σ, not divided": 1 / sigma,
    }
    normal = {
        "": centred / sigma,
        "h is not divided by σ: that is x - mean x": centred,
        "h is divided by σ² in its term": centred / sigma**2,
    }
    axes: dict[str, int | tuple[int, int]] = {
        "": 1,
        "the means run over the examples: each example has its own": 0,
        "the means run over everything: each example has its own": (0, 1),
    }
    return [
        Family("; ".join(filter(None, (a, b, c, d))), _terms(g, over, h, axis))
        for d, axis in axes.items()
        for c, h in normal.items()
        for b, over in overs.items()
        for a, g in first.items()
    ]


def _terms(g: Array, over: Array, h: Array, axis: int | tuple[int, int]) -> Terms:
    of_mean = np.broadcast_to(g.mean(axis=axis, keepdims=True), g.shape)
    return {
        "g": g / over,
        "mean(g)": of_mean / over,
        "h mean(g h)": h * (g * h).mean(axis=axis, keepdims=True) / over,
    }


def _of_scale(draw: Draw, centred: Array, sigma: Array) -> list[Family]:
    dy, x = draw.cotangent, draw.inputs[next(iter(draw.inputs))]
    summed: dict[str, Array] = {
        "": dy * centred / sigma,
        "times h is missing: it is the sum of dy alone": dy,
        "it has x where the normalised h belongs": dy * x,
        "it has x - mean x where h belongs: not divided by σ": dy * centred,
        "it has the output y where h belongs": dy * draw.value,
        "it is h alone: times dy is missing": centred / sigma,
        BY_LESS: dy * centred / x.std(axis=1, ddof=1, keepdims=True),
    }
    return [Family(words, {"Σ dy h": term.sum(axis=0)}) for words, term in summed.items()]


def _of_shift(draw: Draw, h: Array) -> list[Family]:
    dy, (_, scale, _) = draw.cotangent, draw.inputs.values()
    summed = {
        "": dy,
        "it is multiplied by the scale: the shift is added after it": dy * scale,
        "it is multiplied by h: that is the derivative by the scale": dy * h,
    }
    return [Family(words, {"Σ dy": term.sum(axis=0)}) for words, term in summed.items()]


# ---- ReLU and the loss


def of_relu(exercise: Exercise, name: str) -> list[Family]:
    draw = exercise.draws[0]
    x = draw.inputs[name]
    if len(exercise.inputs) != 1 or not np.allclose(np.maximum(0, x), draw.value):
        return []
    dh = draw.cotangent
    return [Family("", {"dh where x > 0": dh * (x > 0), "dh where x < 0": dh * (x < 0)})]


def of_loss(exercise: Exercise, name: str) -> list[Family]:
    draw = exercise.draws[0]
    labels = [k for k, shape in exercise.shapes.items() if shape.kind == "one-hot"]
    if not exercise.is_loss or len(labels) != 1 or exercise.leaves != [name]:
        return []
    z, y = draw.inputs[name], draw.inputs[labels[0]]
    if z.shape != y.shape:
        return []
    p = softmax(z)
    squares = {"p": p, "y": y, "p²": p * p, "p y": p * y}
    return [Family("", {"p": p, "y": y}), Family("", squares)]
