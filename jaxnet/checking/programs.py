"""The compiled part of a check: everything that must be run.

The function as it is and each transformation of it is a program. Points, cotangents and seeds are
data of these programs, and a program is known by what it computes: a second check of the same
function at the same shapes compiles nothing, and one whose rule was changed never meets the old
program.
"""

import contextlib
import functools
import re
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextvars import ContextVar
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple, cast

import jax
import jax.numpy as jnp
import numpy as np

from jaxnet import _graph
from jaxnet.checking import arbiter, graphs, lines, ties
from jaxnet.checking.branches import Branches, branches_of
from jaxnet.checking.cells import Cell, Inputs, Point, cells
from jaxnet.checking.findings import Finding, Question, Verdict
from jaxnet.checking.problem import Function, Leaves, Problem, eps_of, is_any_large
from jaxnet.checking.tangents import Forward
from jaxnet.checking.traces import (
    LEAKED,
    WIDE,
    AtDtypes,
    Failed,
    RuleShapes,
    Traced,
    Working,
    blamed,
    ctrl_c_comes_through,
    first_line,
    one_after_the_other,
    precision_of,
    pull,
    that_may_round,
    trace,
    trace_at,
    trace_problem,
)
from jaxnet.checking.truth import Route, function_of_truth, pull_of_truth, ways_from

# What is run here is small, so XLA should compile fast: the first of these that this XLA knows.
# Without fusion emitters it takes half the time.
QUICK: tuple[dict[str, Any], ...] = (
    {"xla_backend_optimization_level": 0, "xla_cpu_use_fusion_emitters": False},
    {"xla_backend_optimization_level": 0},
)
# Where arrays are large, what is run takes longer, and memory is what may be short.
THRIFTY: tuple[dict[str, Any], ...] = (
    {"xla_cpu_scheduler_type": "CPU_SCHEDULER_TYPE_MEMORY_OPTIMIZED"},
)
# A verdict that may be for these options is asked for again without them.
_is_quick: ContextVar[bool] = ContextVar("is_quick", default=True)
REMEMBERED = 512  # programs: a test suite's worth, up to some MB each
NOT_IMPLEMENTED = re.compile("not (yet )?(implemented|support)")


class Run(NamedTuple):
    """What one run of a cell's program gives; rule and ref by cell, a cotangent for each leaf."""

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
    auto: Leaves | None  # None where there is no autodiff


class _Pulls(NamedTuple):
    """A cell's pullbacks."""

    rule: Traced
    ref: Traced


@dataclass
class Programs:
    """What one problem is run with, and what its graphs say."""

    problem: Problem
    at: AtDtypes  # traced at the dtypes of the algebra
    own: AtDtypes  # and in the first of the working dtypes
    dtype: Any  # of the algebra: float64, or the leaves' own where float64 cannot be had
    eps: float  # of the narrowest dtype in which cotangents are computed there
    value_eps: float  # and in which anything is
    route: Route  # to the truth
    cells: list[Cell]  # whose values are compared; the first is the function as it is
    narrow: list[AtDtypes]  # traced at each of the working dtypes
    shapes: list[RuleShapes]  # in each working dtype
    stops_gradient: bool  # the reference does: its derivative is not its slope, by design
    keeps_rules: bool  # the reference's derivative is in part what somebody wrote
    always_zero: tuple[bool, ...]  # by leaf: the reference's gradient, whatever the arguments
    is_used: tuple[bool, ...]  # by leaf: the reference's value is computed from it
    casts_to_float8: bool
    draws: bool  # random numbers are drawn, which are others in other dtypes
    is_one_rule: bool  # the function is nothing but one rule
    branches: Branches
    named: tuple[float, ...]  # numbers in the code that a value or a gradient is computed with
    compared: tuple[tuple[int, int], ...]  # integers in it, and sizes of arrays asked to equal them
    iterates: bool  # until something holds, which far out may be never
    notes: tuple[str, ...]
    working: dict[str, "Future[Any]"] = field(default_factory=dict)  # by dtype, Point -> NarrowRun
    _pulls: "dict[str, _Pulls | Finding]" = field(default_factory=dict)  # by cell
    _started: dict[str, "Future[Any] | Finding"] = field(default_factory=dict)
    _ladders: dict[Any, "Future[Any]"] = field(default_factory=dict)

    @property
    def cotangents(self) -> tuple[Any, ...]:
        """Their dtypes: float64, but for outputs that stay narrower."""
        return tuple(c.dtype for c in self.at.zero_cotangents())

    def has_autodiff(self, cell: Cell) -> bool:
        """Whether the truth of the cell comes from automatic differentiation."""
        is_of_gradient = cell.is_second_order and self.route is not Route.REVERSE
        return self.route is not Route.DIFFERENCES and not is_of_gradient

    @functools.cached_property
    def forward(self) -> Forward | None:
        """Where rules in the graph have a forward mode, and all that is differentiated has."""
        kinds = _graph.kinds_differentiated(self.at.value.jaxpr)
        if kinds != {_graph.JVP} or not self.problem.in_forward_mode:
            return None
        is_second_order = any(cell.is_second_order for cell in self.cells)
        return Forward(self.problem, self.at, is_second_order, compiled)

    def of(self, problem: Problem) -> "Programs":
        """Of the same function at other shapes: as it is, and in the algebra's dtypes alone.

        Raises Failed where it cannot be traced there.
        """
        way = ways_from(self.route)[0]
        with precision_of(self.dtype):
            at = trace_at(problem, [x.dtype for x in self.at.leaves], [way])
        return replace(
            self,
            problem=problem,
            at=at,
            own=at,
            cells=cells(problem, ()),
            narrow=[],
            shapes=[],
            working={},
            _pulls={},
            _started={},
            _ladders={},
        )

    def begin(self, working: Sequence[Working]) -> None:
        """Begin to compile what is always run; raises Failed where that is refused."""
        self.start(self.cells[0])
        for w, at in zip(working, self.narrow, strict=True):
            if any(np.dtype(d) != self.dtype for d in w.dtypes):  # else the algebra is judged in it
                point = Point(at.leaves, self.problem.others, at.zero_cotangents())
                with precision_of(w.widest):
                    self.working[w.name] = compiled(_narrow(at), point)

    def trace(self, cell: Cell) -> Finding | None:
        """A finding where the cell cannot be compared; nothing is compiled."""
        if cell.key in self._started:
            return self.start(cell)
        if cell.key not in self._pulls:
            self._pulls[cell.key] = self._traced(cell)
        pulls = self._pulls[cell.key]
        return pulls if isinstance(pulls, Finding) else None

    def start(self, cell: Cell) -> Finding | None:
        """Trace and begin to compile the cell; a finding where it cannot be compared."""
        if cell.key not in self._started:
            try:
                self._started[cell.key] = self._start(cell)
            except Failed as e:
                if cell is self.cells[0]:
                    raise
                found = replace(e.finding, question=cell.question, detail=cell.detail)
                self._started[cell.key] = found
        started = self._started[cell.key]
        return started if isinstance(started, Finding) else None

    def run(self, cell: Cell, inputs: Inputs) -> Run:
        """The cell must be one that start() found nothing against."""
        self.start(cell)
        program = cast("Future[Any]", self._started[cell.key]).result()
        with precision_of(self.dtype):
            run: Run = program(inputs)
        return run

    def narrow_run(self, name: str, point: Point) -> NarrowRun:
        """In a working dtype, by its name."""
        run: NarrowRun = self.working[name].result()(point)
        return run

    def ladder(self, cell: Cell, *where: Any) -> arbiter.Step:
        """The arbiter's steps for a cell, compiled when first asked for: most checks need one."""
        step: arbiter.Step = self._climbed(cell.key, arbiter.ladder(self._truth(cell)), *where)
        return step

    def ladder_along(self, cell: Cell, *where: Any) -> arbiter.Step:
        """The same along a direction: a number for each element of all leaves."""
        steps = arbiter.ladder_along(self._truth(cell))
        step: arbiter.Step = self._climbed((cell.key, "along"), steps, *where)
        return step

    def own_ladder(self, cell: Cell, *where: Any) -> arbiter.Step:
        """The steps of the rule's own function, not of the reference's."""
        steps = arbiter.ladder(cell.transform(self.at.value))
        step: arbiter.Step = self._climbed((cell.key, "own"), steps, *where)
        return step

    @property
    def can_be_settled(self) -> bool:
        """Whether the reference may mean another slope at a tie than autodiff's."""
        return self.stops_gradient and self.route is Route.REVERSE

    def settled(self, cell: Cell, point: Point) -> list[Leaves]:
        """The reference's cotangents, with every tie settled to one side and to the other."""
        gradients = []
        for to_first in (True, False):
            with precision_of(self.dtype):
                jaxpr = ties.settled(self.at.ref_value.jaxpr, to_first)
            function = cell.transform(replace(self.at.ref_value, jaxpr=jaxpr))
            key = (cell.key, "settled", to_first)
            gradients.append(self._climbed(key, _cotangents(pull(function)), point))
        return gradients

    def _truth(self, cell: Cell) -> Function:
        return function_of_truth(self.route, cell, self.at.value, self.at.ref_value)

    def _climbed(self, key: Any, steps: Callable[..., Any], *args: Any) -> Any:
        with precision_of(self.dtype):
            if key not in self._ladders:
                self._ladders[key] = compiled(steps, *args)
            return self._ladders[key].result()(*args)

    def _traced(self, cell: Cell) -> _Pulls | Finding:
        if cell is self.cells[0]:
            return _Pulls(self.at.rule, self.at.ref)
        return _pulls_of(cell, self.problem, self.own, self.at, self.route, self.dtype)

    def _start(self, cell: Cell) -> "Future[Any] | Finding":
        trouble = self.trace(cell)
        if trouble:
            return trouble
        pulls = cast(_Pulls, self._pulls.pop(cell.key))
        is_plain = cell is self.cells[0]
        main = _main(cell, pulls, self.at.value if is_plain else None)
        c = self.at.zero_cotangents()
        with precision_of(self.dtype):
            leaves = self.at.leaves
            return compiled(main, Inputs(leaves, self.problem.others, c, c, leaves))


def programs_for(
    problem: Problem,
    working: Sequence[Working],
    transforms: Sequence[str],
    route: Route = Route.REVERSE,
    wider: Sequence[Any] = (WIDE,),
    why_not: str = "",
) -> Programs:
    """Trace the problem, and begin to compile what is always run. Raises Failed.

    route: the first that is tried. wider: dtypes of the algebra; why_not: those before are known to
    fail.
    """
    traces = trace_problem(problem, working, ways_from(route), wider, why_not)
    at, own = traces.wide, traces.working[0]
    dtype = max((np.dtype(d) for d in traces.dtypes), key=eps_of)
    value_equations = [e for e, _ in _graph.equations(at.value.jaxpr)]
    is_told = any(map(_graph.sees_what_is_differentiated, value_equations))
    that_round = that_may_round(at, working, dtype)
    programs = Programs(
        problem=problem,
        at=at,
        own=own,
        dtype=dtype,
        eps=max(eps_of(graphs.narrowest_of_cotangents(*that_round)), *map(eps_of, traces.dtypes)),
        value_eps=max(eps_of(graphs.narrowest_float(*that_round)), *map(eps_of, traces.dtypes)),
        route=Route(at.route),
        cells=cells(problem, transforms, is_told, graphs.is_batched_by_hand(at)),
        narrow=traces.working,
        shapes=[narrow_at.rule_shapes() for narrow_at in traces.working],
        stops_gradient=lines.stops_gradient(at.ref_value.jaxpr),
        keeps_rules=lines.keeps_rules(at.ref_value.jaxpr),
        always_zero=graphs.always_zero(at.ref.jaxpr, len(problem.leaves)),
        is_used=graphs.is_used(at.ref_value.jaxpr, len(problem.leaves)),
        casts_to_float8=graphs.casts_to_float8(at.ref),
        draws=graphs.draws_random_numbers(at.ref.jaxpr),
        is_one_rule=_graph.is_one_rule(at.value.jaxpr),
        branches=branches_of(at.rule.jaxpr, at.ref_value.jaxpr),
        named=graphs.named(at.ref_value.jaxpr, at.rule.jaxpr),
        compared=graphs.compared(at.ref_value.jaxpr, at.rule.jaxpr),
        iterates=any(graphs.iterates(graph.jaxpr) for graph in (at.ref_value, at.rule)),
        notes=traces.notes + _not_precise(working, dtype),
    )
    return programs


def _not_precise(working: Sequence[Working], dtype: Any) -> tuple[str, ...]:
    """What is to be said of the dtypes that the algebra itself is judged in."""
    names = [w.name for w in working if all(np.dtype(d) == dtype for d in w.dtypes)]
    said = "the digits that the rule keeps in {} were not judged: nothing here has more"
    return tuple(said.format(name) for name in names)


# -- cells


def _pulls_of(
    cell: Cell, problem: Problem, own: AtDtypes, at: AtDtypes, route: Route, dtype: Any
) -> _Pulls | Finding:
    """The cell's pullbacks in the algebra's dtypes; a finding where they cannot be compared."""
    rule, ref = at.value.to_differentiate, at.ref_value.to_differentiate
    try:
        with precision_of(dtype):
            return _Pulls(
                _pull_of(cell.pulled(pull(cell.transform(rule))), cell, problem, at),
                _pull_of(pull_of_truth(route, cell, rule, ref), cell, problem, at),
            )
    except Exception as e:
        note = f"traced only: in float64 it raised {first_line(e)}"
        in_wide = Finding(cell.question, "", Verdict.OK, note=note, detail=cell.detail)
    with precision_of(own.widest):
        return _trouble_with(cell, problem, own, route) or in_wide


def _trouble_with(cell: Cell, problem: Problem, own: AtDtypes, route: Route) -> Finding | None:
    """What happens when the transformed rule is traced in the arguments' own dtypes."""

    def finding(verdict: Verdict, note: str, leaf: str = "") -> Finding:
        return Finding(cell.question, leaf, verdict, note=note, detail=cell.detail)

    rule, ref = own.value.to_differentiate, own.ref_value.to_differentiate
    try:
        _pull_of(cell.pulled(pull(cell.transform(rule))), cell, problem, own)
        return None
    except Exception as e:
        said = first_line(e)
        is_missing = isinstance(e, NotImplementedError) or NOT_IMPLEMENTED.search(str(e))
        leaf = blamed(e)
    if cell.is_second_order or is_missing:
        return finding(Verdict.UNSUPPORTED, said)
    try:
        _pull_of(pull_of_truth(route, cell, rule, ref), cell, problem, own)
    except Exception:
        return finding(Verdict.UNSUPPORTED, f"the reference raises too: {said}")
    return finding(Verdict.ERROR, said, leaf)


def _pull_of(pulled: Any, cell: Cell, problem: Problem, at: AtDtypes) -> Traced:
    """A pullback of the cell's function, traced."""
    c = at.zero_cotangents()
    point = jax.eval_shape(cell.prepare, Inputs(at.leaves, problem.others, c, c, at.leaves))
    return trace(pulled, *point)


def _cotangents(pulled: Callable[..., Any]) -> Callable[[Point], Leaves]:
    def cotangents(point: Point) -> Leaves:
        of_leaves: Leaves = pulled(*point)[2]
        return of_leaves

    return cotangents


def _main(cell: Cell, pulls: _Pulls, value: Traced | None) -> Callable[[Inputs], Run]:
    """value: of the function as it is, where that is the cell."""

    def main(inputs: Inputs) -> Run:
        point = cell.prepare(inputs)
        forward, other_forward, of_rule = pulls.rule(*point)
        if is_any_large(point):
            of_rule, point = one_after_the_other(of_rule, point)
        ref_value, _, of_ref = pulls.ref(*point)
        values, other_values = forward, other_forward
        if value is not None:
            values, other_values = value(inputs.leaves, inputs.others)
        run = Run(
            values,
            other_values,
            forward,
            other_forward,
            ref_value,
            {cell.key: of_rule},
            {cell.key: of_ref},
        )
        without_keys: Run = jax.tree.map(_data_of_key, run)
        return without_keys

    return main


def _data_of_key(x: Any) -> Any:
    return jax.random.key_data(x) if jnp.issubdtype(x.dtype, jax.dtypes.prng_key) else x


def _narrow(at: AtDtypes) -> Callable[[Point], NarrowRun]:
    has_autodiff = at.route != Route.DIFFERENCES

    def narrow(point: Point) -> NarrowRun:
        forward, _, rule = at.rule(*point)
        value, _ = at.value(point.leaves, point.others)
        auto = at.ref(*point)[2] if has_autodiff else None
        return NarrowRun(value, forward, rule, auto)

    return narrow


# -- compiling

# Two at a time: XLA compiles without Python's lock.
_workers = ThreadPoolExecutor(2, thread_name_prefix="jaxnet-compile")
_known: OrderedDict[Any, "Future[Any]"] = OrderedDict()
_known_lock = threading.Lock()


def compiled(f: Callable[..., Any], *args: Any) -> "Future[Any]":
    """f as a program of arrays like args, by what it computes: known, or being compiled."""
    traced = _traced(f, *args)
    key = (
        _graph.identity(traced.jaxpr),
        jax.tree.structure(args),
        jax.tree.structure(traced.out_info),
        str(jnp.result_type(float)),  # whether JAX is in x64 mode
        _is_quick.get(),
    )
    with _known_lock:
        if key not in _known:
            lowered = _lowered(traced)
            is_large = is_any_large(args)
            options = compiler_options(is_large) if is_large or _is_quick.get() else {}
            _known[key] = _workers.submit(_program, lowered, options)
        _known.move_to_end(key)
        while len(_known) > REMEMBERED:
            _known.popitem(last=False)
        return _known[key]


@contextlib.contextmanager
def as_users_compile() -> Iterator[None]:
    """With XLA's default options."""
    token = _is_quick.set(False)
    try:
        yield
    finally:
        _is_quick.reset(token)


def _program(lowered: Any, options: dict[str, Any]) -> Callable[..., Any]:
    program = lowered.compile(compiler_options=options)

    def run(*args: Any) -> Any:
        with ctrl_c_comes_through():
            return cast(Any, jax).block_until_ready(program(*args))

    return run


def _traced(f: Callable[..., Any], *args: Any) -> Any:
    """Raises Failed where the parts that were traced do not fit together."""
    try:
        return cast(Any, jax.jit(f)).trace(*args)
    except Exception as e:
        raise Failed(_not_compiled(e)) from e


def _lowered(traced: Any) -> Any:
    """Raises Failed where it cannot be compiled."""
    try:
        return traced.lower()
    except Exception as e:
        raise Failed(_not_compiled(e)) from e


def _not_compiled(e: Exception) -> Finding:
    is_leak = "Tracer" in str(e)  # in a loop, say: in static data JAX would not ask for it
    note = f"it could not be compiled: {LEAKED if is_leak else first_line(e)}"
    return Finding(Question.GRADIENT, "", Verdict.ERROR, note=note)


@functools.cache
def compiler_options(large: bool = False) -> dict[str, Any]:
    """The first of those wanted that this XLA knows; nothing where it knows none."""
    trial = jax.jit(lambda x: x + 1).lower(np.float32(0))
    for options in THRIFTY if large else QUICK:
        try:
            trial.compile(compiler_options=options)
            return options
        except jax.errors.JaxRuntimeError:
            continue
    return {}
