"""What is checked: a function with a rule beside its reference, both of the floating leaves alone.

Inside, everything is real: a complex leaf is a real one with an axis more, [..., 2]. So a
derivative is a number, and a difference along one coordinate means something.
"""

import inspect
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias, cast

import jax
import jax.numpy as jnp
import numpy as np

Leaves: TypeAlias = tuple[Any, ...]
# (floating leaves, other arrays) -> (floating outputs, other outputs)
Function: TypeAlias = Callable[[Leaves, Leaves], tuple[Leaves, Leaves]]

LARGE = 2**16  # elements of an array: up to there all of them are judged
NO_ARGUMENT = -1  # of which an array is that was made here: vmap maps over none of it

# Of dtypes, as JAX prints them.
SHORT_NAMES = {"bfloat": "bf", "float": "f", "complex": "c", "uint": "u", "int": "i"}


@dataclass(frozen=True)
class Problem:
    """rule and ref agree in value; ref carries no rule. Both trace at any floating dtype."""

    rule: Function
    ref: Function
    names: tuple[str, ...]  # of the leaves
    leaves: Leaves  # NumPy, in the dtypes given
    others: Leaves  # arrays that are not differentiated: integers, booleans, keys
    argument: tuple[int, ...]  # of which argument each leaf is
    other_argument: tuple[int, ...]
    arguments: tuple[str, ...]  # their names
    outputs: tuple[str, ...]  # names of the floating outputs
    other_outputs: tuple[str, ...]
    ref_is_given: bool = False  # by the caller: it may be another function on purpose
    never_alone: frozenset[int] = frozenset()  # arguments not differentiated without others
    in_forward_mode: bool = True  # is it judged too?
    # Names of leaves and outputs of which each number stands for many elements together: no digits
    # are theirs, and where some of the elements are at kinks, nothing lies between two slopes.
    wholes: frozenset[str] = frozenset()
    domains: tuple[Any, ...] = ()  # of each leaf (domains.py); none where any numbers will do
    rtol: float | None = None  # that the caller allows (approximation.py)
    is_long: bool = False  # one run of it takes a second: half as many must do
    as_met: bool = False  # in an audit: at no special points, at no other shapes


def is_floating(x: Any) -> bool:
    return _is_array(x) and jnp.issubdtype(x.dtype, jnp.inexact)


def _is_array(x: Any) -> bool:
    return isinstance(x, jax.Array | np.ndarray | np.generic)


def is_any_large(arrays: Any) -> bool:
    return any(getattr(x, "size", 0) > LARGE for x in jax.tree.leaves(arrays))


def as_dtypes(leaves: Leaves, dtypes: Sequence[Any]) -> Leaves:
    return tuple(np.asarray(x).astype(d) for x, d in zip(leaves, dtypes, strict=True))


def eps_of(dtype: Any) -> float:
    return float(cast(Any, jnp).finfo(dtype).eps)


def shape_text(x: Any) -> str:
    """f32[4,7]"""
    if not hasattr(x, "dtype"):
        return type(x).__name__
    name = str(x.dtype)
    for long, short in SHORT_NAMES.items():
        if name.startswith(long):
            name = short + name.removeprefix(long)
            break
    return f"{name}[{','.join(map(str, x.shape))}]"


class Arguments:
    """args and kwargs taken apart: floating leaves, other arrays, and what stays as it is.

    held: numbers of arguments that are not differentiated though they are floating.
    """

    def __init__(
        self,
        f: Callable[..., Any],
        args: Sequence[Any],
        kwargs: dict[str, Any],
        floats_are_leaves: bool,
        held: Collection[int] = (),
    ):
        arguments = (*args, *kwargs.values())
        self.arguments = _names_of_arguments(f, len(args)) + tuple(kwargs)
        self.positional, self.keywords = len(args), tuple(kwargs)
        leaves, self.tree = jax.tree.flatten_with_path(arguments)
        self.flat = [x for _, x in leaves]
        self.floating, self.other = [], []
        self.names, self.argument, self.other_argument = [], [], []
        for i, (path, x) in enumerate(leaves):
            number = path[0].idx
            is_positional_number = isinstance(x, float | complex) and number < len(args)
            is_number = is_floating(x) or (floats_are_leaves and is_positional_number)
            if is_number and number not in held:
                self.floating.append(i)
                self.names.append(self.arguments[number] + jax.tree_util.keystr(path[1:]))
                self.argument.append(number)
            elif _is_array(x):
                self.other.append(i)
                self.other_argument.append(number)
        self.is_complex = tuple(np.iscomplexobj(self.flat[i]) for i in self.floating)

    def rename(self, arguments: Sequence[str]) -> None:
        """For arguments that are single arrays."""
        self.arguments = tuple(arguments)
        self.names = [self.arguments[i] for i in self.argument]

    def leaves(self) -> Leaves:
        # A Python float has the dtype that JAX gives it.
        arrays = [np.asarray(_as_jax_array(self.flat[i])) for i in self.floating]
        return tuple(to_real(a) if c else a for a, c in zip(arrays, self.is_complex, strict=True))

    def others(self) -> Leaves:
        return tuple(self.flat[i] for i in self.other)

    def call(self, f: Callable[..., Any], leaves: Leaves, others: Leaves) -> Any:
        flat = list(self.flat)
        for i, leaf, is_complex in zip(self.floating, leaves, self.is_complex, strict=True):
            flat[i] = to_complex(leaf) if is_complex else leaf
        for i, other in zip(self.other, others, strict=True):
            flat[i] = other
        arguments = jax.tree.unflatten(self.tree, flat)
        return f(
            *arguments[: self.positional],
            **dict(zip(self.keywords, arguments[self.positional :], strict=True)),
        )

    def problem(
        self,
        f: Callable[..., Any],
        ref: Callable[..., Any],
        outputs: tuple[str, ...],
        other_outputs: tuple[str, ...],
    ) -> Problem:
        return Problem(
            rule=self.function(f),
            ref=self.function(ref),
            names=tuple(self.names),
            leaves=self.leaves(),
            others=self.others(),
            argument=tuple(self.argument),
            other_argument=tuple(self.other_argument),
            arguments=tuple(self.arguments),
            outputs=outputs,
            other_outputs=other_outputs,
        )

    def function(self, f: Callable[..., Any]) -> Function:
        """f, of the leaves and the other arrays, to its floating outputs and its others."""

        def called(leaves: Leaves, others: Leaves) -> tuple[Leaves, Leaves]:
            floating, rest = [], []
            for x in jax.tree.leaves(self.call(f, leaves, others)):
                if not _is_array(x) and not _is_number(x):
                    continue
                if jnp.issubdtype(jnp.result_type(x), jnp.inexact):
                    array = jnp.asarray(x)
                    floating.append(to_real(array) if jnp.iscomplexobj(array) else array)
                else:
                    rest.append(x)
            return tuple(floating), tuple(rest)

        return called


def to_real(x: Any) -> Any:
    stack: Any = jnp.stack if isinstance(x, jax.Array) else np.stack
    return stack([x.real, x.imag], axis=-1)


def to_complex(x: Any) -> Any:
    return jax.lax.complex(x[..., 0], x[..., 1])


def _as_jax_array(x: Any) -> Any:
    return x if isinstance(x, jax.Array) else jnp.asarray(x)


def _is_number(x: Any) -> bool:
    return isinstance(x, bool | int | float | complex)


def output_names(shapes: Any) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Names of the floating and of the other outputs, from their shapes."""
    floating: list[str] = []
    rest: list[str] = []
    for path, x in jax.tree_util.tree_leaves_with_path(shapes):
        kind = floating if jnp.issubdtype(x.dtype, jnp.inexact) else rest
        kind.append("output" + jax.tree_util.keystr(path))
    return tuple(floating), tuple(rest)


def _names_of_arguments(f: Callable[..., Any], count: int) -> tuple[str, ...]:
    try:
        parameters = list(inspect.signature(f).parameters.values())
    except (TypeError, ValueError):
        parameters = []
    names = [f"args[{i}]" for i in range(count)]
    for i, p in enumerate(parameters[:count]):
        if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD):
            names[i] = p.name
    return tuple(names)
