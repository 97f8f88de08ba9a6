"""A site cut out of its graph: a function of what f differentiates there.

What the rule closes over, and what no argument of f moves, are constants of it.
"""

import functools
import itertools
from collections.abc import Callable
from dataclasses import replace
from typing import Any, TypeAlias, cast

import jax
import jax.numpy as jnp

from jaxnet import _graph
from jaxnet.checking.problem import Arguments, Problem, output_names
from jaxnet.checking.sites import Found, is_shard_map, union

Function: TypeAlias = Callable[..., Any]


def problem_at(site: Found, values: list[Any]) -> Problem:
    """The equation as a function of the values that it met."""
    return _problem_of(site, values, _graph.as_function)


def problem_with(site: Found, values: list[Any], call: Function) -> Problem:
    """The same with call(primitive, *inputs) in the place of a primitive that is an object."""
    return _problem_of(
        site, values, lambda jaxpr: _graph.as_function(_graph.instead_of_object(jaxpr, call))
    )


def _problem_of(site: Found, values: list[Any], finish: Callable[[Any], Function]) -> Problem:
    moved = site.moved_by()
    rule = _called_alone(site, values, finish)
    ref = _called_alone(site, values, functools.partial(_reference, site))
    held = {i for i, sources in enumerate(moved) if not sources}
    taken = Arguments(rule, values, {}, floats_are_leaves=False, held=held)
    taken.rename(_names(site.equation))
    problem = taken.problem(rule, ref, *_names_of_outputs(site))
    return replace(
        problem,
        ref_is_given=site.ref is not None,
        never_alone=frozenset(_never_alone(moved)),
        rtol=site.rtol,
        as_met=True,
    )


def _never_alone(moved: list[int]) -> set[int]:
    """Inputs that no argument of f moves without moving others."""
    others = [union(moved[:i] + moved[i + 1 :]) for i in range(len(moved))]
    return {i for i, sources in enumerate(moved) if not sources & ~others[i]}


def _reference(site: Found, jaxpr: Any) -> Function:
    if site.ref is not None:
        return call_of_ref(jaxpr.eqns[0], site.ref)
    kinds = _graph.EVERY if site.kind == _graph.JVP else _graph.REVERSE
    return _graph.as_function(_graph.without_rules(jaxpr, kinds))


def _called_alone(site: Found, values: list[Any], finish: Callable[[Any], Function]) -> Function:
    """The equation as a function: in other dtypes than it met, as f has it in float64.

    finish: makes a function of the equation's jaxpr.
    """
    own = _graph.alone(site.equation)
    wide = None if site.in_float64 is None else _graph.alone(site.in_float64)
    shard_map = next(filter(is_shard_map, reversed(site.chain)), None)
    met = [v.dtype for v in values]
    compared = site.outputs()
    is_compared = [v in compared for v in _graph.outputs_of(site.equation)]

    def called(*inputs: Any) -> Any:
        jaxpr = own if [v.dtype for v in inputs] == met else wide
        if jaxpr is None:
            raise ValueError("f does not call the same rules in the same order")
        # What f computes on its way there has other widths in float64, integers too.
        fitting = [_graph.fitted(v, a) for v, a in zip(inputs, jaxpr.in_avals, strict=True)]
        function = finish(jaxpr)
        if shard_map is not None:
            function = _on_one_device(function, jaxpr, shard_map)
        return list(itertools.compress(function(*fitting), is_compared))

    return called


def call_of_ref(e: Any, ref: Function) -> Function:
    """The equation as a call of the reference that was given, of the equation's inputs.

    The reference is called with what the rule is called with, and has what the rule closes over for
    itself.
    """
    inputs = _graph.inputs_of(e)

    def called(*values: Any) -> list[Any]:
        known = dict(zip(inputs, values, strict=True))
        given = [
            jnp.asarray(v.val, v.aval.dtype) if _graph.is_literal(v) else known[v]
            for v in e.invars[_graph.closed_over(e) :]
        ]
        outputs = jax.tree.leaves(ref(*given))
        _require_same_shapes(e, outputs)
        fitted = [
            _graph.fitted(jnp.asarray(x), v.aval) for x, v in zip(outputs, e.outvars, strict=True)
        ]
        return [x for x, v in zip(fitted, e.outvars, strict=True) if v in _graph.outputs_of(e)]

    return called


def _require_same_shapes(e: Any, outputs: list[Any]) -> None:
    wanted = [v.aval.shape for v in e.outvars]
    got = [jnp.shape(x) for x in outputs]
    if got != wanted:
        name = _graph.name_of_rule(e)
        shapes, its = (", ".join(map(str, shapes)) or "nothing" for shapes in (wanted, got))
        raise ValueError(
            f"audit: the ref of {name} must return arrays of the shapes that {name} returns here, "
            f"{shapes}; it returns {its}. It is called with the arrays that the rule is called "
            f"with in the graph, under jax.vmap with the axis of the batch"
        )


def _on_one_device(called: Function, jaxpr: Any, shard_map: Any) -> Function:
    """What ran on one device of a mesh, as a function of that device's values.

    Every device is given the same ones.
    """
    mesh, is_checked = shard_map.params["mesh"], shard_map.params["check_vma"]

    def axes_of(aval: Any) -> tuple[str, ...]:
        return tuple(sorted(aval.manual_axis_type.varying)) if is_checked else ()

    def varying(value: Any, axes: tuple[str, ...]) -> Any:
        return jax.lax.pcast(value, axes, to="varying") if axes else value

    def alike(value: Any) -> Any:
        axes = axes_of(jax.typeof(value))
        return cast(Any, jax.lax).pmean(value, axes) if axes else value

    def on_each(*inputs: Any) -> Any:
        pairs = zip(inputs, jaxpr.in_avals, strict=True)
        outputs = called(*[varying(v, axes_of(a)) for v, a in pairs])
        return [alike(v) for v in outputs]

    everywhere = cast(Any, jax.sharding).PartitionSpec()
    specs = {"in_specs": everywhere, "out_specs": everywhere}
    return jax.shard_map(on_each, mesh=mesh, check_vma=is_checked, **specs)


# -- names


def _names(e: Any) -> list[str]:
    """Of its inputs: the function's own, where JAX kept them."""
    first = _graph.closed_over(e)
    arguments = e.invars[first:]
    names = _graph.names_of_arguments(e) or [f"input {i}" for i in range(len(arguments))]
    named = {v: "closed over" for v in e.invars[:first] if not _graph.is_literal(v)}
    pairs = list(zip(arguments, names, strict=True))
    named.update((v, name) for v, name in reversed(pairs) if not _graph.is_literal(v))
    return [named[v] for v in _graph.inputs_of(e)]


def _names_of_outputs(site: Found) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """By their number among all that the rule returns."""
    every = site.equation.outvars
    avals = [v.aval for v in every]
    floating, others = output_names(avals[0] if len(avals) == 1 else avals)
    compared = site.outputs()
    kept = {v: v in compared for v in every}
    of_floating = [kept[v] for v in every if _graph.is_differentiable(v)]
    of_others = [kept[v] for v in every if not _graph.is_differentiable(v)]
    return (
        tuple(itertools.compress(floating, of_floating)),
        tuple(itertools.compress(others, of_others)),
    )
