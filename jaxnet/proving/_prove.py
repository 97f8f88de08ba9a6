"""The doors: `prove` and `prove_sizes`. Arguments in, a Proof out."""

import inspect
import itertools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax

from jaxnet.proving.derivatives import Functions, Problem, first_line, leaves_of
from jaxnet.proving.interpreter import Unprovable
from jaxnet.proving.proof import Proof, ProofOfSizes, Verdict
from jaxnet.proving.prover import Prover

MOST_WORK = 3e7  # in numbers: about two seconds where only first derivatives are asked for


def prove(f: Callable[..., Any], *args: Any, ref: Callable[..., Any] | None = None) -> Proof:
    """Is the gradient by hand equal to autodiff's, as algebra? No tolerance is involved.

    The values and pullbacks of both are evaluated at the same random points in finite fields, where
    nothing rounds, and compared for equality. Different rational functions of degree d agree at a
    random point modulo a prime p with a chance of at most d/p (Schwartz and Zippel); coefficients
    that the prime divides are counted too, and points are added until the chance of a miss is below
    1e-15. Degrees are counted along the graphs. Exponentials count as variables of their own: that
    they behave so is assumed, and said.

    f: a function with custom rules in its graph.
    args: its arguments. They say shapes, and at which sides of branches to begin.
    ref: what to compare with; None for jaxnet.auto(f).
    Returns a Proof.
    Raises TypeError where f or ref is no function or the arguments are being traced.

    >>> logits, labels = jnp.array([[1.0, 2.0, 0.5]]), jnp.array([1])
    >>> print(jaxnet.prove(jaxnet.softmax_cross_entropy, logits, labels).verdict)
    proved
    >>> almost = jaxnet.rules.tanh.but(backward=lambda x, dy: ((1.000001 - jnp.tanh(x)**2) * dy,))
    >>> print(jaxnet.prove(almost, jnp.array(0.5)).verdict)  # off by 1e-6
    refuted
    """
    require_functions("prove", f, ref)
    require_untraced("prove", args)
    return proof_of(f, ref, args, _names_of(f, len(args)))


def require_functions(caller: str, f: Any, ref: Any) -> None:
    for name, given in (("f", f), ("ref", ref)):
        is_left_out = name == "ref" and given is None
        if not callable(given) and not is_left_out:
            raise TypeError(
                f"{caller}: {name} must be a function, got {type(given).__name__}; "
                f"call {caller}(f, *args)"
            )


def require_untraced(caller: str, args: Any) -> None:
    if any(isinstance(x, jax.core.Tracer) for x in jax.tree.leaves(args)):
        raise TypeError(
            f"{caller}: the arguments are being traced; call {caller} outside of jit, grad and vmap"
        )


def prove_sizes(
    f: Callable[..., Any],
    make_args: Callable[..., Sequence[Any]],
    sizes: Mapping[str, Sequence[int]],
    ref: Callable[..., Any] | None = None,
) -> ProofOfSizes:
    """`prove` at every combination of sizes: one row, odd numbers, a single class.

    f: a function with custom rules in its graph.
    make_args: a function of the sizes, by keyword, that returns the tuple of arguments.
    sizes: for each keyword the sizes to take, {"rows": (1, 2, 3), "classes": (1, 2, 5)}.
    ref: what to compare with; None for jaxnet.auto(f).
    Returns a ProofOfSizes.
    Raises TypeError where f or make_args is no function, sizes is no dict of sequences or make_args
        returns no tuple, ValueError where there is no size.

    >>> def make_args(rows, classes):
    ...     logits = jax.random.normal(jax.random.key(0), (rows, classes))
    ...     return logits, jnp.zeros(rows, int)
    >>> loss = jaxnet.softmax_cross_entropy
    >>> print(jaxnet.prove_sizes(loss, make_args, {"rows": (1, 3), "classes": (2,)}))
    proved: 2 combinations of sizes
      rows=1, classes=2: equal; chance of a miss below 1e-...
      rows=3, classes=2: equal; chance of a miss below 1e-...
    """
    require_make_args("prove_sizes", make_args)
    require_sizes("prove_sizes", sizes)
    proofs = {}
    for combination in itertools.product(*sizes.values()):
        chosen = dict(zip(sizes, combination, strict=True))
        args = make_args(**chosen)
        require_arguments("prove_sizes", args)
        name = ", ".join(f"{key}={size}" for key, size in chosen.items())
        proofs[name] = prove(f, *args, ref=ref)
    return ProofOfSizes(proofs)


def require_make_args(caller: str, make_args: Any) -> None:
    if not callable(make_args):
        raise TypeError(
            f"{caller}: make_args must be a function that returns the arguments, "
            f"got {type(make_args).__name__}"
        )


def require_arguments(caller: str, args: Any) -> None:
    """args: what make_args returned."""
    if not isinstance(args, tuple | list):
        raise TypeError(
            f"{caller}: make_args must return a tuple of arguments, "
            f"got {type(args).__name__}; for one argument return (x,)"
        )


def require_sizes(caller: str, sizes: Any, called: str = "sizes") -> None:
    is_dict = isinstance(sizes, Mapping)
    if not is_dict or not all(isinstance(x, tuple | list | range) for x in sizes.values()):
        raise TypeError(
            f"{caller}: {called} must be a dict such as {{'n': (1, 2, 3)}}, got {sizes!r}"
        )
    if not sizes or not all(len(x) for x in sizes.values()):
        one = called.removesuffix("s")
        raise ValueError(f"{caller}: {called} must have one {one} of each at least, got {sizes!r}")


def proof_of(
    f: Callable[..., Any],
    ref: Any,
    args: Sequence[Any],
    names: Sequence[str],
    is_first_order: bool = False,
) -> Proof:
    """names: of args. is_first_order: without further derivatives."""
    try:
        functions, problem = _traced(f, ref, args, names)
        if not any(x.size for x in problem.leaves.values()):
            raise Unprovable("no floating argument has an element: nothing was compared")
        most = MOST_WORK if is_first_order else 5 * MOST_WORK
        return Prover(functions, problem, most).proof(is_first_order)
    except Unprovable as stopped:
        return Proof(Verdict.NOT_PROVED, note=str(stopped))


def _traced(
    f: Callable[..., Any], ref: Any, args: Sequence[Any], names: Sequence[str]
) -> tuple[Functions, Problem]:
    """In float64 if it can be traced so, with numbers of Python's as leaves if it can."""
    has_numbers = any(isinstance(x, float) for x in args)
    tries = [(wide, numbers) for numbers in {has_numbers, False} for wide in (True, False)]
    reason: Exception | None = None
    for is_wide, are_numbers_leaves in sorted(tries, reverse=True):
        leaves = leaves_of(names, args, are_numbers_leaves)
        try:
            functions = Functions(f, ref, leaves, is_wide)
            return functions, functions.first()
        except Unprovable:
            raise
        except Exception as error:
            reason = reason or error
    assert reason is not None
    raise Unprovable(f"it cannot be traced: {first_line(reason)}")


def _names_of(f: Callable[..., Any], count: int) -> list[str]:
    try:
        parameters = list(inspect.signature(f).parameters.values())[:count]
    except (TypeError, ValueError):
        parameters = []
    named = [p.name for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    return named + [f"args[{i}]" for i in range(len(named), count)]
