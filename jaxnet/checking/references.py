"""References that a caller gives for single rules: for which site each is, and f with them."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import jax

from jaxnet import _graph
from jaxnet._auto import auto
from jaxnet._rule import rule
from jaxnet.checking.cut_out import call_of_ref
from jaxnet.checking.problem import Leaves, Problem
from jaxnet.checking.sites import Found, is_shard_map

References = Mapping[Any, Callable[..., Any]]  # by the rule, or its name


def require_references(given: Any) -> None:
    if given is None:
        return
    if not isinstance(given, Mapping):
        raise TypeError(
            f"audit: ref must be a dict from rules to functions, such as {{'softmax': f}}, "
            f"got {type(given).__name__}"
        )
    for which, ref in given.items():
        if not callable(ref):
            raise TypeError(
                f"audit: the ref of {_called(which)} must be a function, got {type(ref).__name__}"
            )
        if not isinstance(which, str) and _derivative(which) is None:
            raise TypeError(
                f"audit: ref must name a rule by its name or be the rule itself (jaxnet.rule, "
                f"jax.custom_vjp, jax.custom_jvp), got {type(which).__name__}"
            )


def give_references(given: References, found: Sequence[Found]) -> None:
    """Tell every site the reference of its rule. Raises ValueError where there is no such rule."""
    for site in found:
        site.ref = reference_of(site.equation, given)
    for which in given:
        if not any(_is_of(which, site.equation) for site in found):
            rules = ", ".join(sorted({site.name for site in found})) or "none"
            raise ValueError(
                f"audit: ref has {_called(which)}, which is no rule of f; its rules: {rules}"
            )
    for site in found:
        if site.ref is not None and not any(map(is_shard_map, site.chain)):
            jax.eval_shape(call_of_ref(site.equation, site.ref), *_graph.shapes_of(site.equation))


def reference_of(e: Any, given: References) -> Callable[..., Any] | None:
    return next((ref for which, ref in given.items() if _is_of(which, e)), None)


def _is_of(which: Any, e: Any) -> bool:
    """Whether this rule, or the rule of this name, is the equation's."""
    if isinstance(which, str):
        return which == _graph.name_of_rule(e)
    return _graph.is_attached_by(e, _derivative(which))


def _derivative(which: Any) -> Any:
    """What a rule adds to its function: by that it is known again in a graph."""
    if isinstance(which, rule):
        return which.halves.backward
    is_one = isinstance(which, jax.custom_vjp | jax.custom_jvp)
    return getattr(which, "bwd", None) or getattr(which, "jvp", None) if is_one else None


def _called(which: Any) -> str:
    return repr(which) if isinstance(which, str) else str(getattr(which, "__name__", which))


def with_references(problem: Problem, given: References, found: Sequence[Found]) -> Problem:
    """f beside f with each of these rules replaced by its reference, and without the others."""
    if not given:
        return problem
    jvp = not any(site.kind == _graph.VJP for site in found)
    return replace(problem, ref=auto(_replaced(problem, given), jvp=jvp), ref_is_given=True)


def _replaced(problem: Problem, given: References) -> Callable[[Leaves, Leaves], Any]:
    def change(e: Any, inside_rewritten: Any, chain: _graph.Chain) -> list[Any]:
        ref = reference_of(e, given) if _graph.kind_of_rule(e) else None
        if ref is None or any(map(is_shard_map, chain)):
            return [inside_rewritten]
        return [_graph.call_of(e, call_of_ref(e, ref))]

    def replaced(leaves: Leaves, others: Leaves) -> Any:
        def called(leaves: Leaves, others: Leaves) -> Any:
            return problem.rule(leaves, others)

        traced, shapes = jax.make_jaxpr(called, return_shape=True)(leaves, others)
        function = _graph.as_function(_graph.rewritten(traced, change))
        outputs = function(*jax.tree.leaves((leaves, others)))
        return jax.tree.unflatten(jax.tree.structure(shapes), outputs)

    return replaced
