"""Judge the custom rules inside other libraries, and say what came of every verdict.

Each library that is installed has a process of its own. Whatever is not ok is set against
differences of the function's value in float64, and against what is known of it (trial/known.py).
"""

import argparse
import dataclasses
import json
import os
import sys
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path

# Read when jax is imported: no accelerator, and no messages of its compiler.
os.environ.setdefault("JAX_PLATFORMS", "cpu")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

from trial import VERSIONS, outcomes, running
from trial.known import KNOWN
from trial.tables import names_of


def make_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--library",
        action="append",
        choices=sorted(VERSIONS),
        help="as it is imported; may be given several times (default: all that are installed)",
    )
    parser.add_argument("--rule", default="", metavar="TEXT", help="those with this in their name")
    parser.add_argument(
        "--limit",
        type=int,
        default=60,
        metavar="SECONDS",
        help="of CPU time for a rule (default: %(default)s)",
    )
    parser.add_argument(
        "--budget",
        type=float,
        default=30.0,
        metavar="SECONDS",
        help="of wall time, what is not always asked comes within (default: %(default)s)",
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="add a line there for every rule")
    parser.add_argument(
        "--missing", action="store_true", help="run those that --json FILE does not have yet"
    )
    parser.add_argument(
        "--read", action="store_true", help="run nothing: count what lies in --json FILE"
    )
    return parser


def main(argv: Sequence[str]) -> None:
    if argv[:1] == [running.ANSWER]:
        limit, budget, *names = argv[1:]
        return running.answer_all(names, int(limit), float(budget))
    parser = make_parser()
    options = parser.parse_args(argv)
    if (options.read or options.missing) and not options.json:
        parser.error("--read and --missing need --json FILE")
    rows = read(options.json) if options.read or options.missing else []
    if not options.read:
        rows += run(options, {row.rule for row in rows})
    print("", *outcomes.by_library(rows, KNOWN), sep="\n")
    print("", *outcomes.looked_into(rows, KNOWN), sep="\n")
    print("", *outcomes.last_lines(rows, KNOWN), sep="\n")


def run(options: argparse.Namespace, known: Collection[str]) -> Iterator[outcomes.Row]:
    for library in options.library or sorted(VERSIONS):
        names = [n for n in names_of(library) if options.rule in n and n not in known]
        if not running.version(library) or not names:
            continue
        for row in running.run_library(library, names, options.limit, options.budget):
            print(outcomes.line(row, KNOWN), flush=True)
            if options.json:
                with options.json.open("a", encoding="utf-8") as file:
                    file.write(json.dumps(dataclasses.asdict(row)) + "\n")
            yield row


def read(path: Path) -> list[outcomes.Row]:
    """Of a rule that was asked about more than once, the last row."""
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    rows = [outcomes.Row(**json.loads(line)) for line in lines]
    return list({row.rule: row for row in rows}.values())


if __name__ == "__main__":
    main(sys.argv[1:])
