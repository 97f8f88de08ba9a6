"""Where custom rules are called in a graph, and what each of them meets there."""

from collections.abc import Callable, Sequence
from typing import Any, cast

import jax
import jax.numpy as jnp
import numpy as np

from jaxnet import _graph
from jaxnet.checking import lines
from jaxnet.checking.problem import Arguments, Problem, is_floating, output_names
from jaxnet.checking.traces import WIDE, precision_of


class Found:
    """An equation that calls a rule, and what it met."""

    def __init__(self, e: Any, chain: _graph.Chain) -> None:
        self.equation, self.chain = e, chain
        self.in_float64: Any = None  # the same equation where f is in float64, if there is one
        self.count = 0
        self.first: list[Any] | None = None
        self.last: list[Any] | None = None

    @property
    def kind(self) -> str:
        return cast(str, _graph.kind_of_rule(self.equation))

    @property
    def name(self) -> str:
        return _graph.name_of_function(_graph.body_of_rule(self.equation))

    @property
    def is_shadowed(self) -> bool:
        return any(_graph.kind_of_rule(e) for e in self.chain)

    def tell(self, *values: Any) -> None:
        self.count += 1
        self.last = [_kept(v) for v in values]
        self.first = self.first or self.last

    def points(self) -> list[list[Any]]:
        """What was met first and last."""
        if self.first is None or self.last is None:
            return []
        return [self.first] if self.last is self.first else [self.first, self.last]

    def where(self) -> str:
        # What is traced once and called from many places, as a jitted function, has the frames of
        # its calls outside it.
        frames: list[lines.Frame] = []
        for e in (*self.chain, self.equation):
            frames += [f for f in reversed(lines.users_frames(e)) if f not in frames]
        places = " > ".join(f"{f.name} ({f.place})" for f in frames[-3:]) or "?"
        names = [_graph.name_of_equation(e) for e in self.chain]
        around = ", ".join(name for name in names if name != "closed_call")
        return f"{places}, in {around}" if around else places


def _kept(value: Any) -> Any:
    is_key = isinstance(value, jax.Array) and jnp.issubdtype(value.dtype, jax.dtypes.extended)
    return value if is_key else np.array(value)


def trace_flat(problem: Problem, arrays: Sequence[Any]) -> Any:
    """f as a jaxpr of all its arrays."""
    count = len(problem.leaves)

    def flat(*xs: Any) -> Any:
        return problem.rule(xs[:count], xs[count:])

    return jax.make_jaxpr(flat)(*arrays)


def rules_in(jaxpr: Any) -> list[tuple[Any, _graph.Chain]]:
    return [(e, chain) for e, chain in _graph.equations(jaxpr) if _graph.kind_of_rule(e)]


def meet_values(jaxpr: Any, found: list[Found], arrays: Sequence[Any]) -> None:
    """Run f once; every rule notes what it is called with."""
    by_place = {(*map(id, f.chain), id(f.equation)): f for f in found}

    def wanted(e: Any, chain: _graph.Chain) -> _graph.Wiretap | None:
        site = by_place.get((*map(id, chain), id(e)))
        if site is None:
            return None
        first = [e.invars.index(v) for v in _graph.inputs_of(e)]
        return _graph.Wiretap(lambda *every: [every[i] for i in first], site.tell)

    tapped = jax.jit(_graph.as_function(_graph.tap(jaxpr, wanted)))
    cast(Any, jax).block_until_ready(tapped(*arrays))
    cast(Any, jax).effects_barrier()


def find_in_float64(problem: Problem, found: list[Found]) -> None:
    """Give each the same equation as f has it in float64, unless f has others there."""
    wide = tuple(np.asarray(x).astype(WIDE) for x in problem.leaves)
    with precision_of(WIDE):
        try:
            jaxpr = trace_flat(problem, (*wide, *problem.others))
        except Exception:
            return
    there = [Found(e, chain) for e, chain in rules_in(jaxpr)]
    if [f.name for f in there] == [f.name for f in found]:
        for site, twin in zip(found, there, strict=True):
            site.in_float64 = twin.equation


# -- a site as a function


def problem_at(site: Found, values: list[Any]) -> Problem:
    """The equation as a function of the values that it met."""
    kinds = _graph.EVERY if site.kind == _graph.JVP else _graph.REVERSE
    rule = _called_alone(site, values, lambda jaxpr: jaxpr)
    ref = _called_alone(site, values, lambda jaxpr: _graph.without_rules(jaxpr, kinds))
    taken = Arguments(rule, values, {}, floats_are_leaves=False)
    taken.rename(_names(site.equation))
    outputs = [v.aval for v in _graph.outputs_of(site.equation)]
    names = output_names(outputs[0] if len(outputs) == 1 else outputs)
    return taken.problem(rule, ref, *names)


def _called_alone(
    site: Found, values: list[Any], finish: Callable[[Any], Any]
) -> Callable[..., Any]:
    """The equation as a function: in other dtypes than it met, as f has it in float64."""
    own = _graph.alone(site.equation)
    wide = None if site.in_float64 is None else _graph.alone(site.in_float64)
    shard_map = next((e for e in reversed(site.chain) if e.primitive.name == "shard_map"), None)
    met = [v.dtype for v in values]

    def called(*inputs: Any) -> Any:
        jaxpr = own if [v.dtype for v in inputs] == met else wide
        if jaxpr is None:
            raise ValueError("f does not call the same rules in the same order")
        pairs = zip(inputs, jaxpr.in_avals, strict=True)
        fitting = [v.astype(a.dtype) if is_floating(v) else v for v, a in pairs]
        function = _graph.as_function(finish(jaxpr))
        if shard_map is not None:
            function = _on_one_device(function, jaxpr, shard_map)
        return function(*fitting)

    return called


def _on_one_device(called: Callable[..., Any], jaxpr: Any, shard_map: Any) -> Callable[..., Any]:
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


def _names(e: Any) -> list[str]:
    """Of its inputs: the function's own, where JAX kept them."""
    inputs = _graph.inputs_of(e)
    names = _graph.names_of_arguments(_graph.body_of_rule(e))
    if len(names) != len(e.invars):
        return [f"input {i}" for i in range(len(inputs))]
    return [names[e.invars.index(v)] for v in inputs]
