"""The report's job in a new process: importing, then compiling or finding what was compiled."""

import argparse
import os
import sys
import tempfile
from collections.abc import Mapping, Sequence
from statistics import median
from typing import Any, NamedTuple

from common.files import write_json

from benchmarks.contestants import HAND, SAME
from benchmarks.environment import environment, in_words, print_paragraph
from benchmarks.training import cold_command, require_same_job, rounds, spread, time_process

LIBRARIES, JAXNET = "import jax, optax, numpy", "import jaxnet"


class Process(NamedTuple):
    command: Sequence[str]
    beyond: str | None  # another process, which does less


def processes(options: argparse.Namespace) -> dict[str, Process]:
    """By name."""
    found = {
        LIBRARIES: Process(importing(LIBRARIES), None),
        JAXNET: Process(importing(JAXNET), LIBRARIES),
    }
    for hidden in options.hidden:
        widths, command = ", ".join(map(str, hidden)), cold_command(HAND, hidden, options)
        found[f"hidden {widths}: compiled before"] = Process([*command, "--cached"], JAXNET)
        found[f"hidden {widths}: compiling"] = Process(command, JAXNET)
    return found


def importing(statement: str) -> list[str]:
    return [sys.executable, "-c", f"{statement}; print(flush=True)"]


def measure(
    every: Mapping[str, Process], environment: Mapping[str, str], count: int
) -> dict[str, list[float]]:
    """Seconds by name, one from each round."""
    # Once without a clock, for bytecode and compiled programs to be there.
    ends = {name: time_process(process.command, environment)[1] for name, process in every.items()}
    seconds: dict[str, list[float]] = {name: [] for name in every}
    for name in rounds(list(every), count):
        taken, line = time_process(every[name].command, environment)
        seconds[name].append(taken)
        if line.strip():
            require_same_job(name, float(line), float(ends[name]), SAME)
    return seconds


def beyond(name: str, every: Mapping[str, Process], seconds: Mapping[str, Sequence[float]]) -> str:
    less = every[name].beyond
    if less is None:
        return ""
    more = [a - b for a, b in zip(seconds[name], seconds[less], strict=True)]
    return f"{median(more):6.3f} ({min(more):.3f} to {max(more):.3f})  {less}"


def run(options: argparse.Namespace) -> None:
    about = environment()
    print_paragraph(in_words(about))
    every = processes(options)
    # Bytecode is written, as of an installed package it has been.
    others = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
    with tempfile.TemporaryDirectory() as folder:
        seconds = measure(every, others | {"XDG_CACHE_HOME": folder}, options.rounds)

    print(f"{'':32}{'seconds':>20}   beyond")
    for name in every:
        row = f"{name:32}{spread(seconds[name]):>20}  {beyond(name, every, seconds)}"
        print(row.rstrip(), flush=True)
    print()
    print_paragraph(LEGEND)
    if options.json:
        content: dict[str, Any] = {"environment": about, "seconds": seconds}
        write_json(options.json, content)


LEGEND = """\
Median (least–most) of the seconds from the start of a process to what it prints, each process once
a round in rotated order; beyond: the seconds more than another process, within a round. The job is
jaxnet's by hand, from reading the data to its last loss; compiled before: with the compilation
cache of train.py and report.py, which a run before has filled."""
