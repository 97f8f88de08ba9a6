"""The branches in the user's own files: which sides of them a point enters, and points that may."""

import contextlib
import itertools
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from typing import Any, TypeAlias, cast

import jax
import jax.numpy as jnp
import numpy as np

from jaxnet import _graph
from jaxnet.checking import lines
from jaxnet.checking.domains import ANY, Domain, Move, domain_of
from jaxnet.checking.findings import Never
from jaxnet.checking.problem import Leaves, Problem
from jaxnet.checking.traces import ctrl_c_comes_through, unlogged

# Functions that a person calls to branch; what JAX's own functions branch on inside (an index below
# 0) is not theirs.
BRANCHING = {
    "where", "_where", "select", "select_n", "piecewise", "cond", "switch",
    "maximum", "minimum", "max", "min", "clip", "clamp", "abs",
    "relu", "relu6", "leaky_relu", "elu",
}  # fmt: skip
SIDES = {
    "select_n": ("condition false", "condition true"),
    "max": ("first larger", "second larger"),
    "min": ("first smaller", "second smaller"),
    "clamp": ("below", "inside", "above"),
}
# What JAX runs between such a function and the line that calls it.
PLUMBING = {"reraise_with_filtered_traceback", "cache_miss"}
# The first of the moves are always made: of some backwards JAX keeps no lines, so that their
# branches are not seen.
ALWAYS = 2


# Other signs, then small and large numbers of either sign, then everything to one side of 0, then
# where exponentials overflow float32.
MOVES = [
    Move(-1, 0),
    Move(8, 0),
    Move(-8, 0),
    Move(1 / 8, 0),
    Move(64, 0),
    Move(-64, 0),
    Move(1, 2),
    Move(1, -2),
    Move(1, 16),
    Move(1, -16),
    Move(1000, 0),
    Move(-1000, 0),
]


KEPT = ", kept in the domain"


class Branches:
    """The branches of a rule's forward and backward and of its reference."""

    def __init__(self, jaxprs: Sequence[Any], sides: Sequence[Never]) -> None:
        """jaxprs: of the rule's pullback and of the reference's value, without rules."""
        self._jaxprs = jaxprs
        self._hides_branches = any(
            _is_branch(e) and frame_of_branch(e, chain) is None
            for jaxpr in jaxprs
            for e, chain in _graph.equations(jaxpr)
        )
        self._entered = dict.fromkeys(sides, False)  # side -> whether a point has entered it
        self._program: Any = None

    def points(
        self, problem: Problem, x: Leaves, c: Leaves
    ) -> tuple[list[tuple[str, Leaves]], tuple[Never, ...]]:
        """Points that enter what x does not, each with how it was made; and what none enters."""
        done = self._entered_by(x, problem.others, c)
        points: list[tuple[str, Leaves]] = []
        for how, point, is_inside in moved_points(problem, x, self._hides_branches):
            is_made_always = is_inside and len(points) < ALWAYS
            if not is_made_always and len(done) == len(self._entered):
                continue
            now = self._entered_by(point, problem.others, c)
            if is_made_always or now - done:
                points.append((how, point))
                done |= now
        return points, tuple(side for side in self._entered if side not in done)

    def entered(self, problem: Problem, x: Leaves, c: Leaves) -> set[Never]:
        """The sides that this point enters."""
        return self._entered_by(x, problem.others, c)

    def _entered_by(self, leaves: Leaves, others: Leaves, c: Leaves) -> set[Never]:
        if not self._entered:
            return set()
        if self._program is None:
            self._program = self._tapped()
        self._entered = dict.fromkeys(self._entered, False)
        try:
            with unlogged(), ctrl_c_comes_through():
                cast(Any, jax).block_until_ready(self._program(leaves, others, c))
                cast(Any, jax).effects_barrier()
        except Exception:  # f may raise at a point that was made up: it enters nothing there
            with contextlib.suppress(Exception):
                cast(Any, jax).effects_barrier()
            return set()
        return {side for side, entered in self._entered.items() if entered}

    def _tapped(self) -> Any:
        rule, ref = (_graph.as_function(_graph.tap(jaxpr, self._tap)) for jaxpr in self._jaxprs)

        def both(leaves: Leaves, others: Leaves, c: Leaves) -> Any:
            of_pullback, of_value = (leaves, others, c), (leaves, others)
            return rule(*jax.tree.leaves(of_pullback)), ref(*jax.tree.leaves(of_value))

        return jax.jit(both)

    def _tap(self, e: Any, chain: _graph.Chain) -> _graph.Wiretap | None:
        sides = never_of(e, chain)
        if not sides:
            return None

        def tell(*which: Any) -> None:
            for side, entered in zip(sides, which, strict=True):
                if np.any(entered):
                    self._entered[side] = True

        return _graph.Wiretap(lambda *inputs: which_sides(e, inputs), tell)


REMEMBERED = 64  # functions with branches
_known: OrderedDict[Any, Branches] = OrderedDict()


def branches_of(rule: Any, ref: Any) -> Branches:
    """rule: the jaxpr of its pullback; ref: of the reference's value.

    Known again by what they compute and by the lines at which they branch: nothing is compiled.
    """
    jaxprs = [_graph.without_rules(jaxpr, _graph.EVERY) for jaxpr in (rule, ref)]
    places = [(e, chain) for jaxpr in jaxprs for e, chain in _graph.equations(jaxpr)]
    sides = tuple(dict.fromkeys(side for place in places for side in never_of(*place)))
    key = (*map(_graph.identity, jaxprs), sides)
    if key not in _known:
        _known[key] = Branches(jaxprs, sides)
    _known.move_to_end(key)
    while len(_known) > REMEMBERED:
        _known.popitem(last=False)
    return _known[key]


def never_of(e: Any, chain: _graph.Chain) -> list[Never]:
    """The sides of the branch that the equation is, if it is one of the user's own."""
    frame = frame_of_branch(e, chain)
    if frame is None or _is_inside_another(e, chain):
        return []
    return [Never(side, frame.text(), frame.place) for side in sides_of(e)]


def moved_points(
    problem: Problem, x: Leaves, hides_branches: bool
) -> Iterator[tuple[str, Leaves, bool]]:
    """Every move of all arguments together, then of each alone; each with how it was made.

    And whether it is inside the domains. A sign or a range that only the numbers suggest may be
    left for the sake of a branch, so such points come last; where branches cannot be seen nothing
    is suggested.
    """
    domains = [domain_of(problem, k) for k in range(len(x))]
    wider = [domain.as_a_branch_has_it() for domain in domains]
    inside = wider if hides_branches else domains
    yield from ((how, point, True) for how, point in _moved_in(problem, x, inside))
    if wider != inside:
        yield from ((how, point, False) for how, point in _moved_in(problem, x, wider))


def _moved_in(
    problem: Problem, x: Leaves, domains: Sequence[Domain]
) -> Iterator[tuple[str, Leaves]]:
    for name, chosen in _chosen(problem, domains):
        is_kept = any(d is not None and d != ANY for d in chosen)
        for move in MOVES:
            pairs = zip(x, chosen, strict=True)
            point = tuple(y if d is None else _moved(y, move, d) for y, d in pairs)
            if not is_kept or _is_another(point, x):
                yield f"{name} {move}{KEPT * is_kept}", point


Chosen: TypeAlias = list[Domain | None]  # of each leaf; None for those that stay as they are


def _chosen(problem: Problem, domains: Sequence[Domain]) -> Iterator[tuple[str, Chosen]]:
    """All arguments, then each alone."""
    yield "the arguments", list(domains)
    several = sorted(set(problem.argument))
    for argument in several if len(several) > 1 else []:
        pairs = zip(domains, problem.argument, strict=True)
        yield problem.arguments[argument], [d if a == argument else None for d, a in pairs]


def _moved(leaf: Any, move: Move, domain: Domain) -> Any:
    return domain.moved(np.asarray(leaf, np.float64), move).astype(leaf.dtype)


def _is_another(point: Leaves, x: Leaves) -> bool:
    return any((a != b).any() for a, b in zip(point, x, strict=True))


def frame_of_branch(e: Any, chain: _graph.Chain) -> lines.Frame | None:
    """The line of the user's files at which the branch stands; None where it is none of theirs."""
    if not _is_branch(e):
        return None
    # A call of a function of JAX (jnp.where is one) stands where it is called, not where it was
    # first traced.
    call = next(filter(lines.is_call_of_a_library, chain), None)
    frames = lines.frames(e if call is None else call)
    mine = next((i for i, f in enumerate(frames) if lines.is_users(f.file)), None)
    if mine is None:
        return None
    if call is None:
        called = {f.name for f in frames[:mine]}
    else:
        called = {_graph.name_of_function(_graph.first_inner_jaxpr(call))}
    return frames[mine] if called & BRANCHING else None


def _is_inside_another(e: Any, chain: _graph.Chain) -> bool:
    """Whether the user's line calls a function of JAX that branches inside, such as logsumexp."""
    if any(map(lines.is_call_of_a_library, chain)):
        return False
    library = itertools.takewhile(lambda f: not lines.is_users(f.file), lines.frames(e))
    called = [f.name for f in library if f.name not in PLUMBING]
    return called[-1] not in BRANCHING


def _is_branch(e: Any) -> bool:
    """Whether it is one, of numbers: random keys have a dtype of their own."""
    dtypes = [getattr(v.aval, "dtype", bool) for v in e.invars]
    is_of_keys = any(jnp.issubdtype(dtype, jax.dtypes.extended) for dtype in dtypes)
    return (e.primitive.name in SIDES or e.primitive.name == "cond") and not is_of_keys


def sides_of(e: Any) -> tuple[str, ...]:
    if e.primitive.name == "cond":
        return tuple(f"branch {i}" for i in range(len(e.params["branches"])))
    if e.primitive.name == "select_n" and e.invars[0].aval.dtype != np.bool_:
        return tuple(f"case {i}" for i in range(len(e.invars) - 1))
    return SIDES[e.primitive.name]


def which_sides(e: Any, inputs: Any) -> tuple[Any, ...]:
    """Of each side, whether these inputs enter it."""
    name = e.primitive.name
    if name in ("cond", "select_n"):
        return tuple(jnp.any(inputs[0] == i) for i in range(len(sides_of(e))))
    if name == "clamp":
        low, x, high = inputs
        return jnp.any(x < low), jnp.any((x >= low) & (x <= high)), jnp.any(x > high)
    a, b = inputs
    larger, smaller = jnp.any(a > b), jnp.any(a < b)
    return (larger, smaller) if name == "max" else (smaller, larger)
