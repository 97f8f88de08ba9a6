"""What does jaxnet.prove prove? Rules of this library, of the corpus, and inside other libraries.

Every rule of the catalogue is asked about at the first point of each of its cases, under each of
its options; then the corpus, right and wrong; then the custom rules inside of jax, optax, Flax and
Equinox, as far as these are installed.
"""

import argparse
import collections
import contextlib
import functools
import io
import itertools
import textwrap
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple, TypeAlias

import numpy as np
from catalogue import ENTRIES
from common.files import write_json
from corpus import Example, libraries
from corpus.right import RIGHT
from corpus.wrong import WRONG

import jaxnet
from benchmarks.checkers import kind_of_fault
from benchmarks.environment import environment, in_words, print_paragraph, version

CATALOGUE, RIGHT_RULES, WRONG_RULES = "catalogue", "right", "wrong"
PLACES = (CATALOGUE, RIGHT_RULES, WRONG_RULES, *libraries.LIBRARIES)
PROVED, REFUTED, NOT_PROVED = "proved", "refuted", "not proved"
NO_RULE, RAISED = "no rule", "raised"
VERDICTS = (PROVED, REFUTED, NOT_PROVED, NO_RULE, RAISED)

# a function, its arguments, and what to compare with
Asked: TypeAlias = tuple[Callable[..., Any], Sequence[Any], Callable[..., Any] | None]


class Question(NamedTuple):
    where: str
    rule: str
    make: Callable[[], Asked]
    fault: str = ""  # of a wrong rule
    note: str = ""  # why it is not proved, where that is known beforehand


def of_catalogue() -> Iterator[Question]:
    for entry in ENTRIES.values():
        for case in entry.cases:
            point = next(iter(case.points))
            args = entry.draw(case)[point]
            for options in case.options:
                said = (f"{name}={value}" for name, value in options.items())
                rule = ", ".join((entry.name, point, *said))
                yield Question(
                    CATALOGUE, rule, functools.partial(asked, entry.under(options), args)
                )


def asked(f: Callable[..., Any], args: Sequence[Any]) -> Asked:
    return f, args, None


def of_corpus() -> Iterator[Question]:
    for rule, example in RIGHT.items():
        yield Question(RIGHT_RULES, rule, functools.partial(asked_of_example, example))
    for rule, example in WRONG.items():
        make = functools.partial(asked_of_example, example)
        yield Question(WRONG_RULES, rule, make, kind_of_fault(example))


def asked_of_example(example: Example) -> Asked:
    f = functools.partial(example.f, **example.kwargs) if example.kwargs else example.f
    return f, example.args(np.random.default_rng(0)), example.ref


def of_libraries() -> Iterator[Question]:
    for rule, case in libraries.CASES.items():
        library = libraries.library_of(rule)
        if libraries.is_installed(library) and libraries.found(rule) is not None:
            make = functools.partial(asked_of_case, rule, case)
            yield Question(library, rule, make, note=case.note)


def asked_of_case(rule: str, case: libraries.Case) -> Asked:
    return case.call(libraries.found(rule)), case.args(np.random.default_rng(0)), case.ref


class Row(NamedTuple):
    where: str
    rule: str
    verdict: str
    seconds: float
    chance: float  # that a rule which differs is called proved
    why: str  # it is not proved; of a wrong rule that is, its fault


def answer(question: Question) -> Row:
    begin = time.perf_counter()
    # Some of the functions print.
    with contextlib.redirect_stdout(io.StringIO()):
        verdict, chance, why = judged(question)
    seconds = time.perf_counter() - begin
    return Row(question.where, question.rule, verdict, seconds, chance, why)


def judged(question: Question) -> tuple[str, float, str]:
    f, args, ref = question.make()
    try:
        proof = jaxnet.prove(f, *args, ref=ref)
    except Exception as error:
        return RAISED, 1.0, f"{type(error).__name__}: {error}"
    if "nothing was compared" in proof.note:
        return NO_RULE, 1.0, ""
    is_proved = proof.verdict == PROVED
    why = question.fault if is_proved else question.note or reason(proof)
    return str(proof.verdict), proof.chance, why


def reason(proof: jaxnet.Proof) -> str:
    """The proof's own note, or that of the first leaf which has its verdict."""
    leaves = [*proof.leaves, *itertools.chain(*proof.further.values())]
    leaf = next((leaf for leaf in leaves if leaf.verdict == proof.verdict), None)
    if proof.note or leaf is None:
        return proof.note
    return leaf.note or str(leaf)


# ---- what is printed

COLUMNS = ("where", "rule", "verdict", "seconds", "chance", "why not")
HEAD = f"| {' | '.join(COLUMNS)} |\n{'|---' * len(COLUMNS)}|"


def line(row: Row) -> str:
    chance = f"{row.chance:.0e}" if row.verdict == PROVED else ""
    why = textwrap.shorten(row.why, 100).replace("|", "\\|")
    cells = (row.where, f"`{row.rule}`", row.verdict, f"{row.seconds:.2f}", chance, why)
    return f"| {' | '.join(cells)} |"


def counted(rows: Sequence[Row], first: str = PROVED) -> str:
    """How many have which verdict, this one first."""
    counts = collections.Counter(row.verdict for row in rows)
    others = (v for v in VERDICTS if v != first and counts[v])
    return ", ".join(
        [f"{counts[first]} of {len(rows)} {first}", *(f"{counts[v]} {v}" for v in others)]
    )


def summary(rows: Sequence[Row]) -> Iterator[str]:
    """A line for each place, one for all libraries, and one for each wrong rule that is proved."""
    for place in PLACES:
        here = [row for row in rows if row.where == place]
        if here:
            name = f"{place} {version(place)}" if place in libraries.LIBRARIES else place
            yield f"{name}: {counted(here, REFUTED if place == WRONG_RULES else PROVED)}"
        if place == WRONG_RULES:
            yield from (
                f"  proved: {row.rule} ({row.why})" for row in here if row.verdict == PROVED
            )
    outside = [row for row in rows if row.where in libraries.LIBRARIES]
    if outside:
        yield f"libraries in all: {counted(outside)}"
    slowest = max(rows, key=lambda row: row.seconds)
    yield f"longest: {slowest.seconds:.1f} s for {slowest.rule}"


def not_asked() -> Iterator[str]:
    """The rules inside of libraries that no question is put about, and why."""
    missing = [name for name in libraries.LIBRARIES if not libraries.is_installed(name)]
    yield from (f"{name}: not installed" for name in missing)
    for rule in libraries.CASES:
        if libraries.library_of(rule) not in missing and libraries.found(rule) is None:
            yield f"{rule}: not in the installed version"
    yield from (f"{rule}: {why}" for rule, why in libraries.LEFT_OUT.items())


# ---- the command


def chosen(names: Sequence[str]) -> list[Question]:
    """All questions, or those of these places and rules."""
    questions = [*of_catalogue(), *of_corpus(), *of_libraries()]

    def is_meant(question: Question, name: str) -> bool:
        return name in (question.where, question.rule) or question.rule.startswith(f"{name},")

    unknown = [name for name in names if not any(is_meant(q, name) for q in questions)]
    if unknown:
        raise SystemExit(
            f"benchmark.py: error: argument NAME: no entry for {', '.join(unknown)}; "
            f"there is {', '.join(PLACES)}, and every rule in them"
        )
    return [q for q in questions if not names or any(is_meant(q, name) for name in names)]


def run(options: argparse.Namespace) -> None:
    warnings.simplefilter("ignore")
    questions = chosen(options.names)
    about = environment()
    print_paragraph(in_words(about))
    print(HEAD, flush=True)
    rows = []
    for question in questions:
        rows.append(answer(question))
        print(line(rows[-1]), flush=True)
    print("", *summary(rows), sep="\n")
    if not options.names:
        print("", "Not asked about:", *not_asked(), sep="\n")
    if options.json:
        write_json(options.json, {"environment": about, "rules": [row._asdict() for row in rows]})
