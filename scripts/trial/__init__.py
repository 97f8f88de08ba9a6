"""Custom rules inside other libraries, and how each is reached: a call of ours, and arguments.

A call is named as in `corpus.libraries`: after what is looked up, "module.function", with a word
behind it where that reaches several rules.
"""

from dataclasses import dataclass, field
from typing import Any

from corpus import libraries


@dataclass(frozen=True)
class Call(libraries.Case):
    options: dict[str, Any] = field(default_factory=dict)  # of jaxnet.check, beside ref=


CALLS: dict[str, Call] = {}


def call(name, args, of=libraries.itself, **more):
    """of: what is found under the name -> the function of arrays that is checked."""
    assert name not in CALLS, name
    CALLS[name] = Call(args, of, **more)


# The packages on the index, by the module that they are imported as, and the versions that the
# table in docs/check.md was made with.
VERSIONS = {
    "aqt": ("aqtp", "0.9.0"),
    "brax": ("brax", "0.14.2"),
    "diffrax": ("diffrax", "0.7.2"),
    "distrax": ("distrax", "0.1.9"),
    "e3nn_jax": ("e3nn-jax", "0.21.0"),
    "e3x": ("e3x", "1.0.2"),
    "equinox": ("equinox", "0.13.8"),
    "exojax": ("exojax", "2.6.0"),
    "flax": ("flax", "0.12.12"),
    "folx": ("folx", "0.2.30"),
    "haliax": ("haliax", "1.4.dev453"),
    "jax": ("jax", "0.12.0.1"),
    "jax_md": ("jax-md", "0.2.29"),
    "jaxopt": ("jaxopt", "0.8.5"),
    "lineax": ("lineax", "0.1.1"),
    "mujoco": ("mujoco-mjx", "3.17.0"),
    "numpyro": ("numpyro", "0.22.0"),
    "optax": ("optax", "0.2.8"),
    "optimistix": ("optimistix", "0.1.0"),
    "ott": ("ott-jax", "0.6.0"),
    "qwix": ("qwix", "0.1.8"),
    "softjax": ("softjax", "0.1.1"),
    "tensorflow_probability": ("tfp-nightly", "0.26.0.dev20261027"),
    "tokamax": ("tokamax", "0.0.17"),
}
