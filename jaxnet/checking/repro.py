"""What is wrong, as a script that needs no jaxnet: found by trying, so that it is known to show it.

A script holds the rule's slope against what the values of the function say to the left and to the
right; where a law is broken, against what linearity asks for. It must blame the rule, and must not
blame the same function without its rule.
"""

import contextlib
import io
import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxnet._auto import auto
from jaxnet.checking import written
from jaxnet.checking.arrays import Array, index_of, typical
from jaxnet.checking.cells import SECOND_ORDER
from jaxnet.checking.findings import Finding, Question, Verdict
from jaxnet.checking.problem import Arguments, Leaves
from jaxnet.checking.reports import clip
from jaxnet.checking.traces import WIDE, first_line, precision_of

LINES = 30
FINDINGS = 3  # the worst
TRIES = 64  # of each
FACTORS = ("2.0**20", "2.0**-20", "2.0**4", "0.0", "-1.0")  # of cotangents: each may break a law
WEIGHTS = "rng.normal(size=np.shape(y))"  # of an output
# What of them is 0: rows, some numbers, all but the first.
PARTS = (
    "rng.integers(2, size=(*np.shape(y)[:-1], 1))",
    "rng.integers(2, size=np.shape(y))",
    "np.eye(1, np.size(y)).reshape(np.shape(y))",
)
SHOWN = (Verdict.WRONG, Verdict.IMPRECISE)


class Case:
    """A function with the arguments that it was checked at."""

    def __init__(self, f: Any, ref: Any, taken: Arguments) -> None:
        self.f, self.ref, self.taken = f, ref, taken

    def __deepcopy__(self, memo: Any) -> "Case":
        return self  # as a function is copied

    def __reduce__(self) -> Any:
        return _nothing, ()  # functions and arguments stay in their process

    def script(self, name: str, findings: Sequence[Finding]) -> str:
        """Of the worst finding that a script shows. Raises ValueError where none does."""
        if isinstance(self.ref, Mapping):
            raise ValueError("repro: not of an audit with ref=; check the rule with its own ref")
        bad = [f for f in findings if f.verdict.bad]
        if not bad:
            raise ValueError(f"repro: nothing is wrong with {name}, so there is nothing to show")
        reason = ""
        for finding in sorted(bad, key=lambda f: f.verdict.rank)[:FINDINGS]:
            title = clip(f"# {written.module_of(self.f)[1] or name}: {finding.sentence()}")
            for sketch in itertools.islice(_sketches(self, finding), TRIES):
                text, why = _tried(self, sketch, finding, title)
                if text:
                    return text
                reason = reason or why
        worst = min(bad, key=lambda f: f.verdict.rank)
        raise ValueError(
            f"repro: no script of {LINES} lines was found that shows this by values alone: "
            f"{worst.sentence()}" + (f" ({reason})" if reason else "")
        )


def _nothing() -> None:
    """In the place of a case, in another process."""


# -- scripts to try


@dataclass(frozen=True)
class Sketch:
    """A script before it is known whether it shows anything.

    arrays: lines that make them. at: the element, None for all of the leaf together. rule: the line
    that says what the rule gives. asked: lines after which low and high are what is right.
    """

    case: Case
    leaf: int  # number of the one that is moved
    arrays: tuple[str, ...]
    wide: bool  # in float64
    call: str  # the arguments of f
    at: tuple[int, ...] | None
    h: float
    rule: str = "slope = jax.grad(value)({x}){at}"
    asked: tuple[str, ...] = ()
    of: str = ""  # whose number slope is, where not an element's
    right: str = ""  # what low and high are, where not from values
    second_order: bool = False
    part: str = ""  # of the weights, that is not 0
    outputs: str = "outputs"  # those that are weighted
    imports: tuple[str, ...] = ()
    names: tuple[str, ...] = field(default=(), repr=False)  # of the variables, by leaf
    complex_outputs: bool = False

    @property
    def x(self) -> str:
        return self.names[self.leaf]

    def head(self) -> list[str]:
        wide = ['jax.config.update("jax_enable_x64", True)'] if self.wide else []
        lines = ["import jax", "import jax.numpy as jnp", "import numpy as np", "", *wide]
        lines.append(written.import_of(self.case.f, "f"))
        return lines + ([written.import_of(self.case.ref, "ref")] if self.case.ref else [])

    def values(self) -> list[str]:
        """Up to the function that is differentiated, of one leaf."""
        product = f"jnp.vdot({WEIGHTS}, y)"
        if self.complex_outputs:
            product = f"jnp.vdot({WEIGHTS} * (1 + 0.7j), y).real"
        returned = [f"    return sum({product} for y in {self.outputs})"]
        if self.part:
            returned = [
                f"    weights = [{WEIGHTS} for y in outputs]",
                f"    parts = [{self.part} for y in outputs]",
                "    return sum(jnp.vdot(w * p, y) for w, p, y in zip(weights, parts, outputs))",
            ]
        lines = [*self.imports, "", *self.arrays, ""]
        name = "total" if self.second_order else "value"
        lines += [
            f"def {name}({self.x}, f=f):",
            f"    outputs = jax.tree.leaves(f({self.call}))",
            "    rng = np.random.default_rng(1)",
            *returned,
            "",
        ]
        if self.second_order:
            lines += [
                f"def value({self.x}, f=f):",
                f"    gradient, rng = jax.grad(total)({self.x}, f), np.random.default_rng(2)",
                "    return jnp.vdot(rng.normal(size=gradient.shape), gradient)",
                "",
            ]
        return lines

    def numbers(self) -> list[str]:
        at = ".sum()" if self.at is None else "[at]"
        place = [] if self.at is None else [f"at = {self.at}"]
        return [*place, self.rule.format(x=self.x, at=at), *(self.asked or self.by_values())]

    def by_values(self) -> list[str]:
        x, ref = self.x, ", ref" if self.case.ref else ""
        if self.at is None:
            step = f"step, h = np.full({x}.shape, {self.h:g}), {self.h:g}"
        else:
            step = f"step, h = np.zeros({x}.shape), {self.h:g}"
        return [
            step,
            *([] if self.at is None else ["step[at] = h"]),
            f"there = [value({x} + k * step{ref}) for k in (-2, -1, 0, 1, 2)]",
            "left = (there[0] - 4 * there[1] + 3 * there[2]) / (2 * h)",
            "right = (4 * there[3] - 3 * there[2] - there[4]) / (2 * h)",
            "low, high = np.fmin(left, right), np.fmax(left, right)",
        ]

    def text(self, title: str, far: float) -> str:
        where = f"all of {self.x} together" if self.at is None else f"{self.x} at {self.at}"
        asked = f"{self.right} {{low}}" if self.asked else "the values of f {left} and {right}"
        end = [
            f'print(f"{self.of or where}: the rule gives {{slope}}, {asked}")',
            f'assert low - {far:g} <= slope <= high + {far:g}, "the rule is not right"',
        ]
        lines = [title, *self.head(), *self.values(), *self.numbers(), *end]
        if len("\n".join(lines).splitlines()) > LINES:
            lines = [line for line in lines if line]
        return "\n".join(lines) + "\n"


def _sketches(case: Case, finding: Finding) -> Iterator[Sketch]:
    """The simplest first."""
    ways = {
        Question.ALGEBRA: _of_slope,
        Question.FORWARD: _of_tangent,
        Question.LAWS: _of_law,
        Question.VALUE: _of_value,
        Question.PRECISION: _of_precision,
    }
    way = _of_second_order if finding.detail == SECOND_ORDER else ways.get(finding.question)
    if way is not None and finding.verdict in SHOWN:
        for base in _bases(case, finding):
            yield from way(base, finding)


def _of_slope(base: Sketch, finding: Finding) -> Iterator[Sketch]:
    yield base
    if "at a kink together" in finding.note:
        yield replace(base, at=None)
    with contextlib.suppress(Exception):  # what it raises, the script raises too
        yield replace(base, at=_farthest(base))
    yield replace(base, h=base.h / 100)


def _of_tangent(base: Sketch, finding: Finding) -> Iterator[Sketch]:
    """Along the step, divided by its length: not along nothing, for what is added shows there."""
    for size in (1.0, 1024.0):
        tangent = f"tangent = np.zeros({base.x}.shape)"
        moved = f"tangent[at] = {size:g}"
        slope = f"slope = jax.jvp(value, ({base.x},), (jnp.asarray(tangent),))[1] / {size:g}"
        yield replace(base, rule=f"{tangent}\n{moved}\n{slope}")


def _of_law(base: Sketch, finding: Finding) -> Iterator[Sketch]:
    for k in FACTORS:
        many = f"slope = jax.grad(lambda x: {k} * value(x))({{x}}){{at}}"
        asked = f"low = high = {k} * jax.grad(value)({base.x})[at]"
        yield replace(base, rule=many, asked=(asked,), right="linearity asks for")
    for part in PARTS:
        yield from _of_slope(replace(base, part=part), finding)
    for outputs in ("outputs[:1]", "outputs[1:]"):
        yield from _of_slope(replace(base, outputs=outputs), finding)


def _of_value(base: Sketch, finding: Finding) -> Iterator[Sketch]:
    asked = f"low = high = value({base.x})"
    rule = "slope = jax.value_and_grad(value)({x})[0]"
    yield replace(base, rule=rule, asked=(asked,), of="value", right="the function")


def _of_precision(base: Sketch, finding: Finding) -> Iterator[Sketch]:
    """The rule in its own dtype, beside the values in float64."""
    if not base.wide:
        return
    *made, wide = base.arrays
    own = [
        f'{name} = jnp.asarray({name}, "{base.case.taken.leaves()[k].dtype}")'
        for k, name in enumerate(base.names)
    ]
    narrow = "\n".join([base.rule, wide])
    yield replace(base, arrays=(*made, *own), rule=narrow)


def _of_second_order(base: Sketch, finding: Finding) -> Iterator[Sketch]:
    second = replace(base, second_order=True)
    yield from (second, replace(second, h=base.h / 10))


def _bases(case: Case, finding: Finding) -> Iterator[Sketch]:
    """With the arguments written out or made by a seed, in float64 or in their own dtypes."""
    x, has_complex = _leaves_of(case.taken, finding), _has_complex_outputs(case)
    given = written.given(case.taken, x, _others_of(case.taken, finding))
    named = [k for k, name in enumerate(case.taken.names) if name == finding.leaf]
    leaves = [k for k in named or range(len(x)) if x[k].size]
    for wide, seed, leaf in itertools.product((True, False), given.ways(), leaves):
        at = finding.index if len(finding.index) == x[leaf].ndim else (0,) * x[leaf].ndim
        lines = given.lines(seed)
        if seed is not None and named and finding.index:
            lines.append(given.element(leaf, at))
        unit = 10.0 ** round(np.log10(max(typical(x[leaf]), _size_at(x[leaf], at))))
        yield Sketch(
            case=case,
            leaf=leaf,
            arrays=(*lines, given.cast(wide)),
            wide=wide,
            call=given.call,
            at=at,
            h=unit * (1e-4 if wide else 1e-2),
            imports=given.imports,
            names=given.names[: len(x)],
            complex_outputs=has_complex,
        )


def _has_complex_outputs(case: Case) -> bool:
    taken = case.taken
    shapes = jax.eval_shape(
        lambda leaves, others: taken.call(case.f, leaves, others), taken.leaves(), taken.others()
    )
    return any(jnp.issubdtype(s.dtype, jnp.complexfloating) for s in jax.tree.leaves(shapes))


def _leaves_of(taken: Arguments, finding: Finding) -> Leaves:
    """Where it was found; of a sample of large arrays, the arrays themselves."""
    x = taken.leaves()
    there = finding._x
    is_of_them = there is not None and [a.shape for a in there] == [a.shape for a in x]
    return tuple(
        np.asarray(b).astype(a.dtype) for a, b in zip(x, there if is_of_them else x, strict=True)
    )


def _others_of(taken: Arguments, finding: Finding) -> Leaves:
    return taken.others() if finding._others is None else finding._others


def _size_at(x: Array, at: tuple[int, ...]) -> float:
    here = abs(float(x[at]))
    return here if np.isfinite(here) else 0.0


# -- is it shown?


class _Numbers(NamedTuple):
    slope: float
    low: float
    high: float

    def far(self) -> float:
        """How far the slope is outside; inf where it is no number."""
        if not np.isfinite(self.slope):
            return np.inf
        return max(self.low - self.slope, self.slope - self.high)

    def size(self) -> float:
        return max(abs(self.low), abs(self.high))


def _tried(case: Case, sketch: Sketch, finding: Finding, title: str) -> tuple[str, str]:
    """The script, where it shows what is wrong, and of the rule alone; else why not."""
    try:
        here = _run(sketch, case.f)
    except Exception as e:
        return "", first_line(e)
    if not np.isfinite([here.low, here.high]).all() or not here.far() > 1e-9 * here.size():
        return "", ""
    far = here.far() / 4 if np.isfinite(here.far()) else 1e-4 * max(here.size(), 1e-4)
    far = 10.0 ** np.floor(np.log10(far))
    if not _is_right_without(case, sketch, finding, here, far):
        return "", ""
    text = sketch.text(title, far)
    return (text if len(text.splitlines()) <= LINES else ""), ""


def _is_right_without(
    case: Case, sketch: Sketch, finding: Finding, here: _Numbers, far: float
) -> bool:
    """Whether the same script is content with the reference."""
    has_autodiff = finding.auto is not None and not finding.auto_error > 0.1 * finding.error
    if not has_autodiff:  # nothing but the values, which must agree among themselves
        return here.high - here.low <= far
    for reference in _references(case):
        with contextlib.suppress(Exception):
            if _run(sketch, reference).far() <= far:
                return True
    return False


def _references(case: Case) -> list[Any]:
    return [case.ref] if case.ref else [auto(case.f), auto(case.f, jvp=True)]


def _farthest(sketch: Sketch) -> tuple[int, ...]:
    """The element whose gradient by the rule is farthest from autodiff's."""
    with precision_of(WIDE if sketch.wide else None):
        names = _executed(sketch, sketch.case.f, sketch.values())
        value, x = names["value"], names[sketch.x]
        rule, truth = (jax.grad(value)(x, f) for f in (sketch.case.f, _references(sketch.case)[0]))
    error = np.nan_to_num(np.abs(np.asarray(rule) - np.asarray(truth)), nan=np.inf)
    return index_of(int(np.argmax(error)), error.shape)


def _executed(sketch: Sketch, f: Any, lines: Sequence[str]) -> dict[str, Any]:
    """The names after these lines of our own making, with this f."""
    names = {"jax": jax, "jnp": jnp, "np": np, "f": f, "ref": sketch.case.ref}
    with contextlib.redirect_stdout(io.StringIO()):
        exec("\n".join(lines), names)
    return names


def _run(sketch: Sketch, f: Any) -> _Numbers:
    """What the script computes, with this f."""
    with precision_of(WIDE if sketch.wide else None):
        names = _executed(sketch, f, [*sketch.values(), *sketch.numbers()])
    return _Numbers(*(float(np.real(names[name])) for name in ("slope", "low", "high")))
