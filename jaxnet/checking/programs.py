"""The compiled part of a check: everything that must be run, in as few programs as possible.

Points, cotangents and seeds are data of these programs, and a program is known by what it computes:
a second check of the same function at the same shapes compiles nothing, and one whose rule was
changed never meets the old program.
"""

import functools
import re
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxnet import _graph
from jaxnet.checking import arbiter, lines
from jaxnet.checking.branches import Branches
from jaxnet.checking.cells import Cell, Inputs, Point, cells
from jaxnet.checking.cost import cost_of
from jaxnet.checking.findings import Cost, Finding, Verdict
from jaxnet.checking.problem import Function, Leaves, Problem, as_dtypes, eps_of, shape_text
from jaxnet.checking.traces import (
    AtDtypes,
    RuleShapes,
    Traced,
    Traces,
    Working,
    blamed,
    draws_random_numbers,
    first_line,
    narrowest_float,
    precision_of,
    pull,
    trace,
    trace_problem,
    zero_cotangents,
)

# What is run here is small, so XLA should compile fast: the first of these that this XLA knows.
# Without fusion emitters it takes half the time.
QUICK: tuple[dict[str, Any], ...] = (
    {"xla_backend_optimization_level": 0, "xla_cpu_use_fusion_emitters": False},
    {"xla_backend_optimization_level": 0},
)
REMEMBERED = 64  # problems: a test suite's worth, some MB each
NOT_IMPLEMENTED = re.compile("not (yet )?(implemented|support)")


class Run(NamedTuple):
    """What one run of the main program gives; rule and ref by cell, a cotangent for each leaf."""

    value: Leaves  # of the function
    other_value: Leaves  # its outputs that are no floating arrays
    forward: Leaves  # the value that the rule's forward returns
    other_forward: Leaves
    ref_value: Leaves
    rule: dict[str, Leaves]
    ref: dict[str, Leaves]


class NarrowRun(NamedTuple):
    """What one run in a working dtype gives."""

    value: Leaves
    forward: Leaves
    rule: Leaves
    auto: Leaves


@dataclass
class Programs:
    """What was compiled for one problem, and what its graphs say."""

    dtype: Any  # of the algebra: float64, or the leaves' own where float64 cannot be had
    eps: float  # of the narrowest dtype in which anything is computed there
    main: Callable[[Inputs], Run]
    working: dict[str, Callable[[Point], NarrowRun]]  # by dtype
    cotangents: tuple[Any, ...]  # their dtypes in main: float64, but for outputs that stay narrower
    cells: list[Cell]  # whose values are compared; the first is the function as it is
    not_compared: list[Finding]  # transforms that only could be traced, or that failed
    shapes: list[RuleShapes]  # in each working dtype
    stops_gradient: bool  # the reference does: its derivative is not its slope, by design
    always_zero: tuple[bool, ...]  # by leaf: the reference's gradient, whatever the arguments
    is_used: tuple[bool, ...]  # by leaf: the reference's value is computed from it
    draws: bool  # random numbers are drawn, which are others in other dtypes
    is_one_rule: bool  # the function is nothing but one rule
    cost: Cost | None
    branches: Branches
    notes: tuple[str, ...]
    _ref: Function
    _ladders: dict[str, Any] = field(default_factory=dict)

    def ladder(self, cell: Cell, point: Point, at: Any, first: Any) -> arbiter.Step:
        """The arbiter's steps for a cell, compiled when first asked for: most checks need one."""
        with precision_of(self.dtype):
            if cell.key not in self._ladders:
                steps = arbiter.ladder(cell.transform(self._ref))
                self._ladders[cell.key] = _compiled(steps, point, at, first)
            measured: arbiter.Step = self._ladders[cell.key](point, at, first)
            return measured


# -- known programs

_known: OrderedDict[Any, Programs] = OrderedDict()


def programs_for(
    problem: Problem, working: Sequence[Working], transforms: Sequence[str]
) -> Programs:
    """Trace the problem; compile it unless the same is known already. Raises Failed."""
    traces = trace_problem(problem, working)
    key = (
        problem.names,
        tuple(working),
        tuple(transforms),
        str(jnp.result_type(float)),  # whether the caller is in x64 mode
        tuple(shape_text(x) for x in (*problem.leaves, *problem.others)),
        *(at.fingerprints() for at in (traces.wide, *traces.working)),
    )
    if key not in _known:
        _known[key] = _compile(problem, working, traces, transforms)
    _known.move_to_end(key)
    while len(_known) > REMEMBERED:
        _known.popitem(last=False)
    return _known[key]


# -- compiling


class _Pulls(NamedTuple):
    """A cell's pullbacks."""

    rule: Traced
    ref: Traced


def _compile(
    problem: Problem, working: Sequence[Working], traces: Traces, transforms: Sequence[str]
) -> Programs:
    own, others = as_dtypes(problem.leaves, working[0].dtypes), problem.others
    leaves = as_dtypes(problem.leaves, traces.dtypes)
    at = traces.wide
    dtype = max((np.dtype(d) for d in traces.dtypes), key=eps_of)
    value_equations = [e for e, _ in _graph.equations(at.value.jaxpr)]
    plain, *transformed = cells(
        problem, transforms, any(map(_graph.sees_what_is_differentiated, value_equations))
    )
    pulls = {plain.key: _Pulls(at.rule, at.ref)}
    not_compared = []
    for cell in transformed:
        traced = _pulls_of(cell, problem, own, leaves, dtype)
        if isinstance(traced, Finding):
            not_compared.append(traced)
        else:
            pulls[cell.key] = traced
    compared = [cell for cell in (plain, *transformed) if cell.key in pulls]
    with precision_of(dtype):
        c = zero_cotangents(problem.rule, leaves, others)
        main = _compiled(_main(at.value, compared, pulls), Inputs(leaves, others, c, c, leaves))
    return Programs(
        dtype=dtype,
        eps=max(
            eps_of(narrowest_float(at.rule.jaxpr, at.ref.jaxpr)),
            *(eps_of(d) for d in traces.dtypes),
        ),
        main=main,
        working=_working_programs(problem, working, traces, dtype),
        cotangents=tuple(x.dtype for x in c),
        cells=compared,
        not_compared=not_compared,
        shapes=[narrow_at.rule_shapes() for narrow_at in traces.working],
        stops_gradient=lines.stops_gradient(at.ref_value.jaxpr),
        always_zero=_always_zero(at.ref.jaxpr, len(problem.leaves)),
        is_used=_is_used(at.ref_value.jaxpr, len(problem.leaves)),
        draws=draws_random_numbers(at.ref.jaxpr),
        is_one_rule=_graph.is_one_rule(at.value.jaxpr),
        cost=cost_of(problem, own),
        branches=Branches(at.rule.jaxpr, at.ref_value.jaxpr),
        notes=traces.notes,
        _ref=problem.ref,
    )


def _always_zero(ref: Any, count: int) -> tuple[bool, ...]:
    """Of the cotangents, the last outputs of the reference's pullback: computed from no input."""
    every = range(len(_graph.plain(ref).invars))
    return tuple(not reached for reached in _graph.outputs_reached(ref, every)[-count:])


def _is_used(ref_value: Any, count: int) -> tuple[bool, ...]:
    body = _graph.without_rules(ref_value, _graph.EVERY)
    return tuple(any(_graph.outputs_reached(body, [k])) for k in range(count))


def _pulls_of(
    cell: Cell, problem: Problem, own: Leaves, leaves: Leaves, dtype: Any
) -> _Pulls | Finding:
    """The cell's pullbacks in the algebra's dtypes; a finding where they cannot be compared."""
    trouble = _trouble_with(cell, problem, own)
    if trouble is not None:
        return trouble
    try:
        with precision_of(dtype):
            return _Pulls(
                _pull_of(cell, problem.rule, leaves, problem.others),
                _pull_of(cell, problem.ref, leaves, problem.others),
            )
    except Exception as e:
        note = f"traced only: in float64 it raised {first_line(e)}"
        return Finding(cell.question, "", Verdict.OK, note=note, detail=cell.detail)


def _trouble_with(cell: Cell, problem: Problem, own: Leaves) -> Finding | None:
    """What happens when the transformed rule is traced in the arguments' own dtypes."""

    def finding(verdict: Verdict, note: str, leaf: str = "") -> Finding:
        return Finding(cell.question, leaf, verdict, note=note, detail=cell.detail)

    try:
        _pull_of(cell, problem.rule, own, problem.others)
        return None
    except Exception as e:
        said = first_line(e)
        is_missing = isinstance(e, NotImplementedError) or NOT_IMPLEMENTED.search(str(e))
        leaf = blamed(e)
    if cell.is_second_order or is_missing:
        return finding(Verdict.UNSUPPORTED, said)
    try:
        _pull_of(cell, problem.ref, own, problem.others)
    except Exception:
        return finding(Verdict.UNSUPPORTED, f"the reference raises too: {said}")
    return finding(Verdict.ERROR, said, leaf)


def _pull_of(cell: Cell, f: Function, leaves: Leaves, others: Leaves) -> Traced:
    c = zero_cotangents(f, leaves, others)
    point = jax.eval_shape(cell.prepare, Inputs(leaves, others, c, c, leaves))
    return trace(pull(cell.transform(f)), *point)


def _main(
    value: Traced, compared: Sequence[Cell], pulls: dict[str, _Pulls]
) -> Callable[[Inputs], Run]:
    def main(inputs: Inputs) -> Run:
        values, other_values = value(inputs.leaves, inputs.others)
        rules, refs = {}, {}
        for cell in compared:
            point = cell.prepare(inputs)
            of_rule, of_ref = (pulled(*point) for pulled in pulls[cell.key])
            rules[cell.key], refs[cell.key] = of_rule[2], of_ref[2]
            if cell is compared[0]:
                forward, other_forward, _ = of_rule
                ref_value = of_ref[0]
        run = Run(values, other_values, forward, other_forward, ref_value, rules, refs)
        without_keys: Run = jax.tree.map(_data_of_key, run)
        return without_keys

    return main


def _data_of_key(x: Any) -> Any:
    return jax.random.key_data(x) if jnp.issubdtype(x.dtype, jax.dtypes.prng_key) else x


def _working_programs(
    problem: Problem, working: Sequence[Working], traces: Traces, dtype: Any
) -> dict[str, Callable[[Point], NarrowRun]]:
    """By name; none for a dtype in which the algebra is judged already."""
    programs = {}
    for w, at in zip(working, traces.working, strict=True):
        if any(np.dtype(d) != dtype for d in w.dtypes):
            leaves = as_dtypes(problem.leaves, w.dtypes)
            c = zero_cotangents(problem.rule, leaves, problem.others)
            programs[w.name] = _compiled(_narrow(at), Point(leaves, problem.others, c))
    return programs


def _narrow(at: AtDtypes) -> Callable[[Point], NarrowRun]:
    def narrow(point: Point) -> NarrowRun:
        forward, _, rule = at.rule(*point)
        value, _ = at.value(point.leaves, point.others)
        _, _, auto = at.ref(*point)
        return NarrowRun(value, forward, rule, auto)

    return narrow


def _compiled(f: Callable[..., Any], *args: Any) -> Any:
    return jax.jit(f).lower(*args).compile(compiler_options=compiler_options())


@functools.cache
def compiler_options() -> dict[str, Any]:
    """The first of QUICK that this XLA knows; nothing where it knows none."""
    trial = jax.jit(lambda x: x + 1).lower(np.float32(0))
    for options in QUICK:
        try:
            trial.compile(compiler_options=options)
            return options
        except jax.errors.JaxRuntimeError:
            continue
    return {}
