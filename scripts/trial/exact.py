"""What differences of the value cannot say: derivatives by a formula, in mpmath.

Differences follow the path of a draw, and of digits that a rule loses they know nothing.
"""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import mpmath
import numpy as np

TFP = "tensorflow_probability.substrates.jax"


def exact(name: str, f: Callable[..., Any], args: Sequence[Any]) -> list[str]:
    """A line for each number of which a formula is known."""
    return [line for known in EXACT.get(name, ()) for line in known(f, args)]


def elementwise(which: int, slope: Callable[..., Any]) -> Callable[..., list[str]]:
    """slope: (value, a number of each argument) -> the derivative in argument which."""

    def said(f: Callable[..., Any], args: Sequence[Any]) -> list[str]:
        by_rule = jax.grad(lambda *args: f(*args).sum(), which)(*args)
        lines = []
        for r, *numbers in zip(by_rule, f(*args), *args, strict=True):
            t = slope(*(mpmath.mpf(float(x)) for x in numbers))
            eps = float(abs(t - float(r)) / abs(t) / float(jnp.finfo(r.dtype).eps))
            lines.append(f"argument {which}: {r:.8g}, exactly {float(t):.8g}: {eps:.2g} eps")
        return lines

    return said


def implicit(which: int, F: Callable[..., Any], p: Callable[..., Any]) -> Callable[..., list[str]]:
    """Of a draw z of the distribution F with density p: -dF/dparameter / p."""

    def slope(z: Any, *parameters: Any) -> Any:
        def moved(x: Any) -> Any:
            return F(z, *parameters[:which], x, *parameters[which + 1 :])

        return -mpmath.diff(moved, parameters[which]) / p(z, *parameters)

    return elementwise(which, slope)


def gamma(z, a, b):
    return mpmath.gammainc(a, 0, b * z, regularized=True)


def gamma_density(z, a, b):
    return b**a * z ** (a - 1) * mpmath.exp(-b * z) / mpmath.gamma(a)


def von_mises(z, mean, k):
    return mpmath.quad(lambda x: von_mises_density(x, mean, k), [mean, z])


def von_mises_density(z, mean, k):
    return mpmath.exp(k * mpmath.cos(z - mean)) / (2 * mpmath.pi * mpmath.besseli(0, k))


def two_pieces(z, loc, scale, skewness):
    y, weight = (z - loc) / scale, 2 / (1 + skewness**2)
    if y < 0:
        return weight * mpmath.ncdf(y * skewness)
    return weight * (0.5 + skewness**2 * (mpmath.ncdf(y / skewness) - 0.5))


def two_pieces_density(z, loc, scale, skewness):
    y, weight = (z - loc) / scale, 2 * skewness / (1 + skewness**2)
    return weight * mpmath.npdf(y * skewness if y < 0 else y / skewness) / scale


def inverse_gaussian(z, mean, shape):
    root = mpmath.sqrt(shape / z)
    other = mpmath.exp(2 * shape / mean) * mpmath.ncdf(-root * (z / mean + 1))
    return mpmath.ncdf(root * (z / mean - 1)) + other


def inverse_gaussian_density(z, mean, shape):
    root = mpmath.sqrt(shape / (2 * mpmath.pi * z**3))
    return root * mpmath.exp(-shape * (z - mean) ** 2 / (2 * mean**2 * z))


def perturbed(order: int) -> Callable[..., list[str]]:
    """Of a maximum perturbed by Gumbel noise the mean is a logsumexp, whose slope is a softmax."""

    def said(f: Callable[..., Any], args: Sequence[Any]) -> list[str]:
        from jaxopt import perturbations

        (x,) = args
        made = perturbations.make_perturbed_max(
            lambda x: jax.nn.one_hot(jnp.argmax(x), x.size), num_samples=400_000, sigma=0.5
        )
        slope = jax.grad(lambda x: made(x, jax.random.key(0)))
        true = jax.grad(lambda x: 0.5 * jax.nn.logsumexp(x / 0.5))
        weights = jnp.cos(jnp.arange(x.size))
        if order == 2:
            slope, true = (jax.grad(lambda x, g=g: g(x) @ weights) for g in (slope, true))
        off = np.max(np.abs(slope(x) - true(x)))
        return [f"derivative {order}, 400,000 samples: off by {off:.1e} of {true(x).max():.1e}"]

    return said


def value_at(factor: float) -> Callable[..., list[str]]:
    """Times the arguments: the value as it is, and as it is differentiated."""

    def said(f: Callable[..., Any], args: Sequence[Any]) -> list[str]:
        def value(*x: Any) -> Any:
            return sum(map(jnp.sum, jax.tree.leaves(f(*x))))

        there = [factor * x for x in args]
        own, differentiated = value(*there), jax.value_and_grad(value)(*there)[0]
        where = f"at {factor:g} times the arguments"
        return [f"{where} the value is {own:.4g}, as it is differentiated {differentiated:.4g}"]

    return said


EXACT: dict[str, Sequence[Callable[..., list[str]]]] = {
    f"{TFP}.math.log_gamma_difference": (
        elementwise(1, lambda value, x, y: mpmath.digamma(y) - mpmath.digamma(x + y)),
    ),
    f"{TFP}.distributions.Gamma a sample": (implicit(0, gamma, gamma_density),),
    f"{TFP}.distributions.VonMises a sample": (implicit(1, von_mises, von_mises_density),),
    f"{TFP}.distributions.TwoPieceNormal a sample": (implicit(2, two_pieces, two_pieces_density),),
    f"{TFP}.distributions.InverseGaussian a sample": tuple(
        implicit(k, inverse_gaussian, inverse_gaussian_density) for k in (0, 1)
    ),
    "ott.math.utils.norm": (value_at(0.0),),
    "ott.math.utils.norm along an axis": (value_at(0.0),),
    "jax.numpy.linalg.slogdet by QR": (value_at(1e20),),
    "jaxopt.perturbations.make_perturbed_max": (perturbed(1), perturbed(2)),
}
