"""Arguments and functions as lines of a script that runs elsewhere."""

import builtins
import re
import sys
import textwrap
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxnet.checking.problem import Arguments, Leaves
from jaxnet.checking.reports import WIDTH

FEW = 20  # numbers that are written out before random ones are tried
SEEDS = 3  # of random arguments
WRITTEN = 150  # numbers that are written out at all
TAKEN = {  # names that the script itself needs
    *("f", "ref", "jax", "jnp", "np", "rng", "at", "h", "step", "there", "slope", "value", "total"),
    *("outputs", "gradient", "tangent", "left", "right", "low", "high", "y", "k", "a"),
    *dir(builtins),
}
HERE = "HERE: put the function in; {} has no module and name to import it by"


class Given(NamedTuple):
    """The arguments where it was found, and as text."""

    x: Leaves
    every: tuple[Any, ...]  # with those that are not floating
    names: tuple[str, ...]  # of all these
    call: str
    imports: tuple[str, ...]

    def lines(self, seed: int | None) -> list[str]:
        """That make them: written out, or of a seed."""
        lines = [] if seed is None else [f"rng = np.random.default_rng({seed})"]
        for n, (name, a) in enumerate(zip(self.names, self.every, strict=True)):
            text = _literal(a) if seed is None else _drawn(a)
            is_cast_later = n < len(self.x) or _is_key(a)
            lines.append(f"{name} = {text}" if is_cast_later else f"{name} = jnp.asarray({text})")
        return lines

    def ways(self) -> Sequence[int | None]:
        """None: written out; else the seed."""
        count = sum(np.size(a) for a in self.every if not _is_key(a))
        if count <= FEW:
            return (None, *range(SEEDS))
        return (*range(SEEDS), None) if count <= WRITTEN else range(SEEDS)

    def element(self, leaf: int, at: tuple[int, ...]) -> str:
        number = f"{float(self.x[leaf][at])!r}"
        return f"{self.names[leaf]}[{at}] = {_as_numpy(number)}"

    def cast(self, wide: bool) -> str:
        """To float64, or to their own dtypes."""
        names = self.names[: len(self.x)]
        if not wide:
            pairs = zip(names, self.x, strict=True)
            return "; ".join(f'{name} = jnp.asarray({name}, "{a.dtype}")' for name, a in pairs)
        if len(names) == 1:
            return f"{names[0]} = jnp.asarray({names[0]}, float)"
        every = ", ".join(names)
        return f"{every} = (jnp.asarray(a, float) for a in ({every}))"


def given(taken: Arguments, x: Leaves, others: Leaves) -> Given:
    """x: in the place of the floating leaves; others: of the other arrays."""
    names = _variables(taken)
    return Given(x, (*x, *others), names, *_call_of(taken, names))


def _variables(taken: Arguments) -> tuple[str, ...]:
    """Of the floating leaves, then of the other arrays."""
    names = list(taken.names)
    paths = [
        path for path, _ in jax.tree.leaves_with_path(jax.tree.unflatten(taken.tree, taken.flat))
    ]
    for i in taken.other:
        first, *rest = paths[i]
        names.append(taken.arguments[first.idx] + jax.tree_util.keystr(tuple(rest)))
    found: list[str] = []
    for name in names:
        word = re.sub(r"\W+", "_", name).strip("_") or "x"
        word = f"x_{word}" if word[0].isdigit() else word
        while word in TAKEN or word in found:
            word += "_"
        found.append(word)
    return tuple(found)


class _Text(str):
    """Stands in a pytree for what is written there."""

    def __repr__(self) -> str:
        return str(self)


def _call_of(taken: Arguments, names: Sequence[str]) -> tuple[str, tuple[str, ...]]:
    """What stands between the brackets, and imports of the classes in it."""
    flat = [_Text(repr(x)) for x in taken.flat]
    for i, name, is_complex in zip(taken.floating, names, taken.is_complex, strict=False):
        flat[i] = _Text(f"jax.lax.complex({name}[..., 0], {name}[..., 1])" if is_complex else name)
    for i, name in zip(taken.other, names[len(taken.floating) :], strict=True):
        flat[i] = _Text(name)
    arguments = jax.tree.unflatten(taken.tree, flat)
    positional = [repr(a) for a in arguments[: taken.positional]]
    keywords = zip(taken.keywords, arguments[taken.positional :], strict=True)
    call = ", ".join([*positional, *(f"{k}={a!r}" for k, a in keywords)])
    classes = dict.fromkeys(_classes_in(arguments))
    return call, tuple(import_of(c, c.__name__) for c in classes)


def _classes_in(x: Any) -> Iterator[type]:
    if isinstance(x, dict):
        children = list(x.values())
    elif isinstance(x, list | tuple):
        children = list(x)
    else:
        children = list(getattr(x, "__dict__", {}).values())
    if type(x) not in (dict, list, tuple, _Text, type(None)):
        yield type(x)
    for child in children:
        yield from _classes_in(child)


def _is_key(x: Any) -> bool:
    return bool(jnp.issubdtype(x.dtype, jax.dtypes.prng_key))


def _literal(a: Any) -> str:
    if _is_key(a):
        return f"jax.random.wrap_key_data({_literal(np.asarray(jax.random.key_data(a)))})"
    array = np.asarray(a)
    if array.dtype.kind == "V":  # of 16 bits and less
        array = array.astype(np.float32)
    if not array.size:
        return f'np.zeros({array.shape}, "{array.dtype}")'
    text = ", ".join(_as_numpy(str(v)) for v in array.ravel())
    shape = "" if array.ndim == 1 else f".reshape({array.shape})"
    whole = f'np.array([{text}], "{array.dtype}"){shape}'
    lines = textwrap.wrap(whole, WIDTH - 12, break_on_hyphens=False)  # that of 1e-5, say
    return "\n    ".join(lines)


def _as_numpy(number: str) -> str:
    return re.sub(r"\b(nan|inf)\b", r"np.\1", number)


def _drawn(a: Any) -> str:
    """Random numbers like these."""
    if _is_key(a):
        return _literal(a)
    array = np.asarray(a)
    if array.dtype.kind in "iub":
        low, high = (int(array.min()), int(array.max())) if array.size else (0, 0)
        return f'rng.integers({low}, {high + 1}, {array.shape}).astype("{array.dtype}")'
    numbers = array.astype(float)
    finite = numbers[np.isfinite(numbers)]
    least, most = (finite.min(), finite.max()) if finite.size else (0.0, 1.0)
    if least >= 0 or most <= 0:  # what is of one sign may have to be
        return f"rng.uniform({least:.3g}, {most:.3g}, {array.shape})"
    return f"rng.normal({finite.mean():.2g}, {finite.std():.2g}, {array.shape})"


def import_of(what: Any, name: str) -> str:
    module, own = module_of(what)
    if module:
        return f"from {module} import {own}" + ("" if own == name else f" as {name}")
    called = getattr(what, "__name__", None) or type(what).__name__
    code = getattr(what, "__code__", None)
    where = f" ({code.co_filename.rpartition('/')[2]}:{code.co_firstlineno})" if code else ""
    return f"{name} = None  # {HERE.format(called + where)}"


def module_of(what: Any) -> tuple[str, str]:
    """By which it can be imported, with its name there; empty where there is none.

    A rule bears the name of the function that it is attached to, so that is looked at.
    """
    module = getattr(what, "__module__", None) or ""
    if module in ("", "__main__", "builtins") or module not in sys.modules:
        return "", ""
    members = vars(sys.modules[module])
    own = getattr(what, "__name__", "")
    for name in (own, *sorted(members, key=lambda name: name.startswith("_"))):
        if members.get(name) is what:
            return module, name
    return "", ""
