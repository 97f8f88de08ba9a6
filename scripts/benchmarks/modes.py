"""What forward mode by each rule costs, and what reverse mode costs that goes through it.

jax.jvp of jaxnet.both_modes(rule) beside jax.jvp of autodiff of the rule's body; the gradient of
jaxnet.both_modes(rule) beside that of the rule itself.
"""

import argparse
from collections.abc import Callable
from statistics import median
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from catalogue import MEASURES
from catalogue.entry import SMALLER, TIMED, Args, Measure
from common.files import write_json
from common.pullbacks import hold_the_rest, pullback

from benchmarks.environment import environment, in_words, print_paragraph
from benchmarks.rules import KEPT, digits, mebibytes, require_known, shape_of, timed
from jaxnet import auto, both_modes

WAYS = ("jvp hand", "jvp auto", "grad both", "grad rule")


def pushforward(f: Callable[..., Any]) -> Callable[..., Any]:
    """(tangents of the floating leaves, *args) -> value, and its tangent."""

    def pushed_forward(tangents: Any, *args: Any) -> Any:
        g, arrays = hold_the_rest(f, args)
        return jax.jvp(g, arrays, tangents)

    return pushed_forward


def calls(measure: Measure, args: Args) -> dict[str, tuple[Any, Args]]:
    """By way: the compiled program, and what it is given."""
    hand = measure.ways()["hand"]
    _, arrays = hold_the_rest(hand, args)
    y = jax.eval_shape(hand, *args)
    c = y if isinstance(arrays[0], jax.ShapeDtypeStruct) else jnp.ones(y.shape, y.dtype)
    push, pull = (arrays, *args), (c, *args)
    programs = (
        (pushforward(both_modes(hand)), push),
        (pushforward(auto(hand)), push),
        (pullback(both_modes(hand)), pull),
        (pullback(hand), pull),
    )
    return {
        way: (jax.jit(f).lower(*given).compile(), given)
        for way, (f, given) in zip(WAYS, programs, strict=True)
    }


class Row(NamedTuple):
    """What was measured of one rule, by way."""

    bytes: dict[str, int]  # beside arguments and results
    seconds: dict[str, list[float]]  # entry i is from round i

    def against(self, way: str, other: str) -> float:
        """Of the times: the median of the rounds' ratios."""
        pairs = zip(self.seconds[way], self.seconds[other], strict=True)
        return median(a / b for a, b in pairs)


def measure_one(measure: Measure, rounds: int) -> Row:
    shape = KEPT if measure.timed == TIMED else measure.timed
    small = calls(measure, tuple(map(shape_of, measure.args(*shape))))
    sizes = {w: int(f.memory_analysis().temp_size_in_bytes) for w, (f, _) in small.items()}
    return Row(sizes, seconds(measure, rounds))


def seconds(measure: Measure, rounds: int) -> dict[str, list[float]]:
    """Every way once a round, every other round reversed."""
    programs = calls(measure, tuple(map(jnp.asarray, measure.args(*measure.timed))))
    run = {way: lambda f=f, given=given: f(*given) for way, (f, given) in programs.items()}
    for call in run.values():
        jax.block_until_ready(call())
    repeats = max(1, round(0.05 / timed(run["jvp auto"], 1)))
    taken: dict[str, list[float]] = {way: [] for way in WAYS}
    for i in range(rounds):
        for way in WAYS if i % 2 else reversed(WAYS):
            taken[way].append(timed(run[way], repeats))
    return taken


HEAD = """\
| rule | jvp, MiB: hand / auto | time ÷ auto | gradient, MiB: both modes / rule | time ÷ rule |
|---|---|---|---|---|"""


def line(name: str, row: Row) -> str:
    jvp, gradient = (
        " / ".join(mebibytes(row.bytes[way]) for way in ways) for ways in (WAYS[:2], WAYS[2:])
    )
    ratios = (f"{row.against(*ways):.2f}" for ways in (WAYS[:2], WAYS[2:]))
    return f"| `{name}` | {jvp} | {next(ratios)} | {gradient} | {next(ratios)} |"


def summary(rows: dict[str, Row]) -> str:
    ratios = [median(row.against(*ways) for row in rows.values()) for ways in (WAYS[:2], WAYS[2:])]
    return f"Medians of the times: {digits(ratios[0])} and {digits(ratios[1])}."


LEGEND = f"""\
jvp, hand: jax.jvp of jaxnet.both_modes(rule); auto: of autodiff of the rule's body. gradient, both
modes: value and gradient of jaxnet.both_modes(rule); rule: of the rule. MiB: what the compiled
program needs beside arguments and results; x is {list(KEPT)}, 2 MiB. time: in one jit, x
{list(TIMED)} (linear {list(SMALLER)}); the median of the interleaved rounds' ratios."""


def run(options: argparse.Namespace) -> None:
    require_known(options.names)
    about = environment()
    print_paragraph(in_words(about))
    print(HEAD, flush=True)
    rows = {}
    for name in options.names or MEASURES:
        rows[name] = measure_one(MEASURES[name], options.repeats)
        print(line(name, rows[name]), flush=True)
    print(f"\n{summary(rows)}\n")
    print_paragraph(LEGEND)
    if options.json:
        content = {name: row._asdict() for name, row in rows.items()}
        write_json(options.json, {"environment": about, "modes": content})
