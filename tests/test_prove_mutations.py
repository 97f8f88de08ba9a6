"""prove: a backward that is another function is refuted, one that is written otherwise is not."""

import itertools
import zlib

import changed_equations as changes
import jax
import jax.numpy as jnp
import numpy as np
import proposals
import pytest
from catalogue import ENTRIES
from corpus import by_hand, normal, pointwise
from corpus.right import RIGHT, head

import jaxnet


def normals(*shapes, **options):
    """Arguments of a rule of the library: normal numbers of these shapes, and its options."""
    return lambda rng: tuple(rng.normal(size=shape) for shape in shapes), options


def drawn(args, **options):
    return args, options


MATRIX = (2, 3)
SQUARE = (3, 3)
OF_LIBRARY = {  # a rule's name, and more where there are two of it -> arguments, options
    "linear": normals(SQUARE, SQUARE, (3,)),
    "relu": normals(MATRIX),
    "relu, slope 1": normals(MATRIX, slope_at_zero=1.0),
    "sigmoid": normals(MATRIX),
    "tanh": normals(MATRIX),
    "softplus": normals(MATRIX),
    "silu": normals(MATRIX),
    "gelu": normals(MATRIX),
    "gelu, exact": normals(MATRIX, approximate=False),
    "swiglu": normals(MATRIX, MATRIX),
    "softmax": normals(SQUARE),
    "softmax, of columns": normals(MATRIX, axis=0),
    "softmax, in part": drawn(lambda rng: (rng.normal(size=MATRIX), (np.arange(3) < 2)[None])),
    "log_softmax": normals(SQUARE),
    "layer_norm": normals(SQUARE, (3,), (3,)),
    "layer_norm, alone": normals(SQUARE),
    "rms_norm": normals(SQUARE, (3,)),
    "dropout": drawn(lambda rng: (jax.random.key(1), rng.normal(size=(2, 4))), rate=0.5),
    "safe_sqrt": drawn(lambda rng: (rng.uniform(0.5, 2, 3),)),
    "safe_norm": normals((2, 2)),
    "normalize": normals((2, 2)),
    "softmax_cross_entropy": drawn(lambda rng: (rng.normal(size=SQUARE), np.array([0, 2, 2]))),
    "softmax_cross_entropy, of distributions": drawn(
        lambda rng: (rng.normal(size=MATRIX), rng.dirichlet(np.ones(3), 2))
    ),
    "sigmoid_binary_cross_entropy": drawn(
        lambda rng: (rng.normal(size=MATRIX), rng.random(size=MATRIX))
    ),
    "linear_softmax_cross_entropy": drawn(
        lambda rng: (*normals(MATRIX, SQUARE, (3,))[0](rng), np.array([0, 2])),
        reduction=None,
    ),
    "mean_squared_error": normals(MATRIX, MATRIX),
    "huber": normals(MATRIX, MATRIX, delta=0.5),
    "embedding": drawn(lambda rng: (rng.normal(size=SQUARE), np.array([0, 2, 2]))),
}
OF_CORPUS = {  # the name of an example -> other arguments, where its own are at an edge or large
    "softmax": None,
    "layer norm": None,
    "rms norm": None,
    "causal attention": None,
    "an orthogonal map's backward is its inverse": None,
    "repeated and absent indices": None,
    "a bias that was broadcast over two leading axes": None,
    "a tie is shared": normal(MATRIX, MATRIX),
    "the first of the largest takes all, autodiff shares": normal(MATRIX),
    "a norm with gradient 0 at 0, where autodiff is NaN": normal(MATRIX),
    "a branch guarded twice against NaN": normal(MATRIX),
    "the tails of tanh, where autodiff cancels": normal(MATRIX),
    "both tails of softplus": normal(MATRIX),
    "cross-entropy without cancellation against a textbook body, at a margin of 40": (
        lambda rng: (*normal(SQUARE)(rng), jnp.arange(3))
    ),
    "a rule inside a scan": None,
    "a fused linear cross-entropy in chunks of its vocabulary": head(2, 3, 5),
    "symbolic zeros: only what is asked for is kept": None,
    "a custom_jvp": None,
    "odd shapes": None,
    "a tree that holds an integer and None": None,
    "None for integers": None,
    "jax.nn.logsumexp with a masked entry": None,
}


def random(name):
    return np.random.default_rng(zlib.crc32(name.encode()))


def subject(name):
    """In x64 mode. name: of OF_LIBRARY, or "corpus: " and one of OF_CORPUS."""
    if name in OF_LIBRARY:
        args, options = OF_LIBRARY[name]
        rule = ENTRIES[name.partition(",")[0]].rule
        return changes.subject(rule, args(random(name)), **options)
    name = name.partition(": ")[2]
    example = RIGHT[name]
    rule = changes.as_rule(example.f, example.ref)
    return changes.subject(rule, ((OF_CORPUS[name] or example.args)(random(name)),))


SUBJECTS = [*OF_LIBRARY, *(f"corpus: {name}" for name in OF_CORPUS)]


MUTATIONS_OF_EACH, REWRITINGS_OF_EACH = 5, 3


@pytest.mark.many
@pytest.mark.parametrize("name", SUBJECTS)
def test_what_changes_the_function_is_refuted(name, x64):
    given = subject(name)
    found = changes.candidates(given.jaxpr, proposals.MUTATIONS)
    doubtful = 0
    for change in changes.drawn(name, found, MUTATIONS_OF_EACH):
        jaxpr = changes.changed(given.jaxpr, change)
        effect = changes.effect(given, jaxpr, random(name))
        proof = jaxnet.prove(given.but(jaxpr), *given.args)
        said = f"{change.kind} in {change.equation}: {effect} in floats\n{proof}"
        if effect == "changed":
            assert proof.verdict == "refuted", said
        elif effect == "unchanged":
            assert proof.verdict == "proved", said
        else:
            # Proved on its sides of branches alone, if at all.
            assert proof.verdict != "proved" or proof.unvisited, said
            doubtful += 1
    assert doubtful <= 2


# Rewritings that are not followed everywhere. In a field the root of a square is the number or its
# negative, and so are half the logarithm of a square and the root of a reciprocal.
OF_ROOTS = {"abs by sqrt", "log of a square", "sqrt by log", "rsqrt of the reciprocal"}
# Inside of another exponential exp(-x) is no longer one over exp(x): a tanh of a tanh has one.
OF_NESTED = {"corpus: a rule inside a scan"}
SAME = 1e-6  # a rewriting may cancel where the equation did not


def rewritings(given, name):
    """Backwards that are written otherwise: what was rewritten, and the jaxpr."""
    found = changes.candidates(given.jaxpr, proposals.REWRITINGS)
    for change in changes.drawn(name, found, 10 * REWRITINGS_OF_EACH):
        jaxpr = changes.changed(given.jaxpr, change)
        distance = changes.distance(given, jaxpr, given.args, random(name))
        if np.isfinite(distance):  # not so where it has ∞ - ∞, as of a masked number
            assert distance < SAME, change
            yield change, jaxpr


@pytest.mark.many
@pytest.mark.parametrize("name", SUBJECTS)
def test_what_is_written_otherwise_is_proved(name, x64):
    given = subject(name)
    for change, jaxpr in itertools.islice(rewritings(given, name), REWRITINGS_OF_EACH):
        proof = jaxnet.prove(given.but(jaxpr), *given.args)
        said = f"{change.kind} in {change.equation}\n{proof}"
        if change.kind in OF_ROOTS or name in OF_NESTED:
            assert proof.verdict != "refuted", said
        else:
            assert proof.verdict == "proved", said


# ---- whole functions in other forms

sigmoid, softplus, erf, erfc = (
    jax.nn.sigmoid,
    jax.nn.softplus,
    jax.scipy.special.erf,
    jax.scipy.special.erfc,
)


def unshifted_softmax(z):
    return jnp.exp(z) / jnp.sum(jnp.exp(z), -1, keepdims=True)


def with_softmax(value, p):
    """A softmax whose backward has p computed so."""

    def backward(z, dy):
        return (p(z) * (dy - jnp.sum(p(z) * dy, -1, keepdims=True)),)

    return by_hand(lambda z: value(z), backward)


def rowwise(value, slope):
    """A value of each row."""
    return by_hand(lambda x: value(x), lambda x, dy: (dy[:, None] * slope(x),))


def logsumexp(z):
    return jax.nn.logsumexp(z, -1, keepdims=True)


def surprise(z):
    """The entropy of the softmax of each row."""
    return -jnp.sum(jax.nn.softmax(z) * jax.nn.log_softmax(z), -1)


def mean(x):
    return jnp.mean(x, -1, keepdims=True)


FORMS = {
    "softmax: not shifted": with_softmax(jax.nn.softmax, unshifted_softmax),
    "softmax: shifted": with_softmax(unshifted_softmax, jax.nn.softmax),
    "softmax: shifted by the mean": with_softmax(
        unshifted_softmax, lambda z: unshifted_softmax(z - mean(z))
    ),
    "softmax: by logsumexp": with_softmax(unshifted_softmax, lambda z: jnp.exp(z - logsumexp(z))),
    "softmax: by differences": with_softmax(
        unshifted_softmax, lambda z: 1 / jnp.sum(jnp.exp(z[:, None] - z[..., None]), -1)
    ),
    "logsumexp: not shifted": rowwise(lambda z: logsumexp(z)[:, 0], unshifted_softmax),
    "logsumexp: by itself": rowwise(
        lambda z: jnp.log(jnp.sum(jnp.exp(z), -1)), lambda z: jnp.exp(z - logsumexp(z))
    ),
    "product": rowwise(lambda x: jnp.prod(x, -1), lambda x: jnp.prod(x, -1, keepdims=True) / x),
    "entropy": rowwise(
        surprise, lambda z: -jax.nn.softmax(z) * (jax.nn.log_softmax(z) + surprise(z)[:, None])
    ),
    "softplus: sigmoid": pointwise(lambda x: jnp.log(1 + jnp.exp(x)), sigmoid),
    "softplus: by itself": pointwise(softplus, lambda x: jnp.exp(x - softplus(x))),
    "softplus: 1 - exp of it": pointwise(softplus, lambda x: -jnp.expm1(-softplus(x))),
    "softplus: tanh": pointwise(softplus, lambda x: (1 + jnp.tanh(x / 2)) / 2),
    "log of sigmoid": pointwise(lambda x: jnp.log(sigmoid(x)), lambda x: sigmoid(-x)),
    "log_sigmoid": pointwise(jax.nn.log_sigmoid, lambda x: 1 - sigmoid(x)),
    "logit of sigmoid": pointwise(lambda x: jnp.log(sigmoid(x) / sigmoid(-x)), jnp.ones_like),
    "tanh: cosh": pointwise(jnp.tanh, lambda x: 1 / jnp.cosh(x) ** 2),
    "tanh: sigmoid": pointwise(jnp.tanh, lambda x: 4 * sigmoid(2 * x) * sigmoid(-2 * x)),
    "tanh: factored": pointwise(jnp.tanh, lambda x: (1 - jnp.tanh(x)) * (1 + jnp.tanh(x))),
    "sinh / cosh": pointwise(
        lambda x: jnp.sinh(x) / jnp.cosh(x),
        lambda x: 4 * jnp.exp(-2 * abs(x)) / (1 + jnp.exp(-2 * abs(x))) ** 2,
    ),
    "log of cosh": pointwise(lambda x: x + softplus(-2 * x) - jnp.log(2.0), jnp.tanh),
    "silu": pointwise(
        lambda x: x / (1 + jnp.exp(-x)),
        lambda x: (jnp.exp(-x) * (x + 1) + 1) / (1 + jnp.exp(-x)) ** 2,
    ),
    "gelu": pointwise(
        lambda x: x * (1 + erf(x / np.sqrt(2))) / 2,
        lambda x: erfc(-x / np.sqrt(2)) / 2 + x * jnp.exp(-x * x / 2) / np.sqrt(2 * np.pi),
    ),
    "Gauss": pointwise(lambda x: jnp.exp(-x * x / 2), lambda x: -x * jnp.exp(-x * x / 4) ** 2),
    "square of sine": pointwise(lambda x: jnp.sin(x) ** 2, lambda x: jnp.sin(2 * x)),
    "arctan": pointwise(jnp.arctan, lambda x: 1 / (1 + x * x)),
    "cube of the size": pointwise(lambda x: abs(x) ** 3, lambda x: 3 * x * abs(x)),
    "power of 3/2": pointwise(lambda x: (x * x + 1) ** 1.5, lambda x: 3 * x * jnp.sqrt(x * x + 1)),
    "variance: squares": rowwise(
        lambda x: jnp.mean(x * x, -1) - jnp.mean(x, -1) ** 2,
        lambda x: 2 * (x - mean(x)) / x.shape[-1],
    ),
    "norm": rowwise(
        lambda x: jnp.sqrt(jnp.sum(x * x, -1)),
        lambda x: x * jax.lax.rsqrt(jnp.sum(x * x, -1, keepdims=True)),
    ),
    "geometric mean": rowwise(
        lambda x: jnp.exp(jnp.mean(jnp.log(x * x + 1), -1)),
        lambda x: jnp.exp(mean(jnp.log(x * x + 1))) * 2 * x / (x * x + 1) / 3,
    ),
}


@pytest.mark.many
@pytest.mark.parametrize("name", FORMS)
def test_other_forms_are_proved(name):
    proof = jaxnet.prove(FORMS[name], random(name).normal(size=MATRIX))
    assert proof.verdict == "proved", proof


# Right rules whose rewriting the field does not follow. One that is proved belongs above.
LIMITS = {
    "the root of a reciprocal": pointwise(
        lambda x: jnp.sqrt(1 / (x * x + 1)), lambda x: -x / jnp.sqrt(x * x + 1) ** 3
    ),
    "the logarithm of a quotient, not in an exponential": rowwise(
        lambda z: -jnp.sum(jax.nn.softmax(z) * jnp.log(jax.nn.softmax(z)), -1),
        lambda z: -jax.nn.softmax(z) * (jax.nn.log_softmax(z) + surprise(z)[:, None]),
    ),
    "one over an exponential, in another one": pointwise(
        lambda x: jnp.exp(jnp.exp(-x)), lambda x: -jnp.exp(1 / jnp.exp(x) - x)
    ),
    "arctan by atan2": pointwise(
        lambda x: x * jnp.arctan(x), lambda x: jnp.arctan2(x, jnp.ones_like(x)) + x / (1 + x * x)
    ),
}


@pytest.mark.parametrize("name", LIMITS)
def test_where_the_field_does_not_follow_it_says_so(name):
    assert jaxnet.prove(LIMITS[name], random(name).normal(size=MATRIX)).verdict == "not proved"
