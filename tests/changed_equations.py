"""Backward rules in which one equation is another: mutations and rewritings, and who tells them.

A right rule's backward is traced once. In its jaxpr another function stands in the place of one
equation, drawn by name; what that does to the floats is measured in float64, by nothing of what
is tested.
"""

import functools
import inspect
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

import jaxnet
from jaxnet import _graph

CALLS = {"jit", "pjit", "closed_call", "core_call", "checkpoint", "remat2", "scan", "while", "cond"}


class Change(NamedTuple):
    """Another function for one equation."""

    kind: str  # the name of what drew it
    number: int  # of the equation
    equation: Any  # with what it reads now
    function: Callable[..., Any]  # of everything that the equation reads


Proposal = Callable[[Any, dict[Any, Any]], list[Any]]  # (equation, who made what) -> functions


@dataclass(frozen=True)
class Subject:
    """A right rule at a point, its backward a jaxpr of the leaves of residuals and cotangents."""

    rule: Any
    args: tuple[Any, ...]
    options: dict[str, Any]
    jaxpr: Any
    returned: Any  # the tree of what it returns

    def but(self, jaxpr: Any) -> Callable[..., Any]:
        """The rule with this backward."""
        run = _graph.as_function(jaxpr)

        def backward(residuals: Any, dy: Any, **options: Any) -> Any:
            return jax.tree.unflatten(self.returned, run(*jax.tree.leaves((residuals, dy))))

        return functools.partial(self.rule.but(backward=backward), **self.options)


def wide(tree: Any) -> Any:
    """Floating arrays in float64; the rest as it is."""

    def widened(x: Any) -> Any:
        is_floating = hasattr(x, "dtype") and jnp.issubdtype(x.dtype, jnp.floating)
        return jnp.asarray(x, "float64") if is_floating else x

    return jax.tree.map(widened, tree)


def subject(rule: Any, args: Any, **options: Any) -> Subject:
    """In x64 mode."""
    bound = inspect.signature(rule.body).bind(*wide(tuple(args)), **options)
    bound.apply_defaults()
    args, options = bound.args, bound.kwargs
    value, residuals = rule.halves.forward(*args, **options)
    leaves, tree = jax.tree.flatten((residuals, value))

    def backward(*leaves: Any) -> Any:
        return rule.halves.backward(*jax.tree.unflatten(tree, leaves), **options)

    jaxpr, shapes = jax.make_jaxpr(backward, return_shape=True)(*leaves)
    plain = _graph.without_rules(jaxpr, _graph.EVERY)
    return Subject(rule, args, options, plain, jax.tree.structure(shapes))


def as_rule(f: Callable[..., Any], ref: Callable[..., Any] | None = None) -> Any:
    """Any function with custom rules in it as one rule of its arguments, which keeps them."""
    plain = ref or jaxnet.auto(f, jvp=True)
    whole = jaxnet.rule(lambda args: plain(*args))
    whole.forward(lambda args: (plain(*args), args))
    whole.backward(lambda args, dy: (_without_float0(jax.vjp(f, *args)[1](dy)),))
    return whole


def _without_float0(tree: Any) -> Any:
    return jax.tree.map(lambda x: None if x.dtype == jax.dtypes.float0 else x, tree)


# ---- where a change can stand


def _live(jaxpr: Any) -> list[Any]:
    """The equations on which an output depends."""
    inner = _graph.plain(jaxpr)
    needed = {v for v in inner.outvars if not _graph.is_literal(v)}
    live = []
    for e in reversed(inner.eqns):
        if needed.intersection(e.outvars):
            needed.update(_graph.inputs_of(e))
            live.append(e)
    return live[::-1]


def _sites(jaxpr: Any) -> list[Any]:
    """Equations with one output that compute something themselves, at any depth."""
    live = set(map(id, _live(jaxpr)))
    sites = []
    for e, chain in _graph.equations(jaxpr):
        is_called = all(around.primitive.name in CALLS for around in chain)
        is_live = id((*chain, e)[0]) in live
        if is_called and is_live and e.primitive.name not in CALLS and len(e.outvars) == 1:
            sites += [e] if _graph.outputs_of(e) else []
    return sites


def candidates(jaxpr: Any, proposals: dict[str, Proposal]) -> dict[str, list[Change]]:
    """Every change that one of the proposals makes of an equation, by the proposal's name."""
    made = {v: e for e, _ in _graph.equations(jaxpr) for v in e.outvars}
    found: dict[str, list[Change]] = {}
    for number, e in enumerate(_sites(jaxpr)):
        for kind, propose in proposals.items():
            for proposed in propose(e, made):
                function, reads = proposed if isinstance(proposed, tuple) else (proposed, e.invars)
                change = Change(kind, number, e.replace(invars=list(reads)), function)
                found.setdefault(kind, []).append(change)
    return found


def drawn(name: str, found: dict[str, list[Change]], count: int) -> list[Change]:
    """So many, of as many kinds as there are; no change twice."""
    rng = np.random.default_rng(zlib.crc32(name.encode()))
    left = {kind: list(rng.permutation(len(of_kind))) for kind, of_kind in found.items()}
    chosen: list[Change] = []
    while len(chosen) < count and any(left.values()):
        for kind in rng.permutation(sorted(kind for kind in left if left[kind])):
            chosen.append(found[kind][left[kind].pop()])
    return chosen[:count]


def changed(jaxpr: Any, change: Change) -> Any:
    """The jaxpr with the change; every place that calls the equation has it."""
    target = _sites(jaxpr)[change.number]
    new = _graph.call_of(change.equation, _of_inputs(change))
    return _graph.rewritten(jaxpr, lambda e, inside, chain: [new if e is target else inside])


def _of_inputs(change: Change) -> Callable[..., Any]:
    """The function of what the equation reads, literals left out."""
    e = change.equation
    (output,) = e.outvars

    def called(*values: Any) -> list[Any]:
        known = dict(zip(_graph.inputs_of(e), values, strict=True))
        every = [
            jnp.asarray(v.val, v.aval.dtype) if _graph.is_literal(v) else known[v] for v in e.invars
        ]
        result = jnp.asarray(change.function(*every))
        assert result.shape == output.aval.shape, (change.kind, e)
        return [result.astype(output.aval.dtype)]

    return called


# ---- what a change does to the floats

CHANGED, UNCHANGED = 1e-8, 1e-12  # differences, in units of the leaf's largest number
# Factors and shifts that take a point to other sides of branches.
ELSEWHERE = ((-1, 0), (4, 0), (-4, 0), (1 / 8, 0), (1, 3), (1, -3))


def effect(given: Subject, jaxpr: Any, rng: np.random.Generator) -> str:
    """Of another backward: "changed", "unchanged", "changed elsewhere" or "undecided".

    "no number" where it has NaN or infinity and the right one has not.
    """
    there = [distance(given, jaxpr, given.args, rng) for _ in range(3)]
    if not np.isfinite(there).all():
        return "no number"
    if max(there) > CHANGED:
        return "changed"
    if max(there) > UNCHANGED:
        return "undecided"
    moved = [jax.tree.map(functools.partial(_moved, rng, *move), given.args) for move in ELSEWHERE]
    elsewhere = max(distance(given, jaxpr, args, rng) for args in moved)
    return "unchanged" if elsewhere <= CHANGED else "changed elsewhere"


def _moved(rng: np.random.Generator, factor: float, shift: float, x: Any) -> Any:
    if not jnp.issubdtype(jnp.result_type(x), jnp.floating):
        return x
    return x * factor + shift + 0.1 * rng.normal(size=np.shape(x))


def distance(given: Subject, jaxpr: Any, args: Any, rng: np.random.Generator) -> float:
    """Between both backwards at one cotangent: the largest, in units of the leaf's largest."""
    value, residuals = given.rule.halves.forward(*args, **given.options)
    cotangent = jax.tree.map(lambda y: _cotangent(rng, y), value)
    leaves = jax.tree.leaves((residuals, cotangent))
    pairs = zip(
        _graph.as_function(given.jaxpr)(*leaves), _graph.as_function(jaxpr)(*leaves), strict=True
    )
    return max(_apart(np.asarray(a), np.asarray(b)) for a, b in pairs)


def _cotangent(rng: np.random.Generator, y: Any) -> Any:
    return jnp.asarray(rng.normal(size=y.shape), y.dtype)


def _apart(a: Any, b: Any) -> float:
    a, b = a[np.isfinite(a)], b[np.isfinite(a)]
    if not np.isfinite(b).all():
        return float("inf")
    scale = max(np.abs(a).max(initial=0), np.abs(b).max(initial=0))
    return float(np.abs(a - b).max(initial=0) / scale) if scale else 0.0
