"""What jaxnet.check and jaxnet.audit print, from a shell; and the judge of the course's exercises.

python -m jaxnet check MODULE:FUNCTION ARRAY ...
python -m jaxnet audit MODULE:FUNCTION ARRAY ...
python -m jaxnet grade FILE ...
"""

import argparse
import importlib
import os
import re
import sys
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxnet._files import write_whole
from jaxnet.checking import Audit, Report, Verdict, audit, check
from jaxnet.checking.domains import drawn
from jaxnet.checking.problem import Arguments
from jaxnet.grading import command as grading

KINDS = {"bf": "bfloat", "f": "float", "c": "complex", "i": "int", "u": "uint", "b": "bool"}
# Kind, bits, [shape], then <bound or *scale: f32[4,7]*10
SPEC = re.compile(r"(bf|[fciub])(\d*)\[([\d,\s]*)\](?:<(\d+)|\*([\d.eE+-]+))?")


def draw_array(spec: str, rng: np.random.Generator) -> jax.Array:
    """f32[4,7] -> random normal; f32[4,7]*10 -> ten times that; i32[4]<7 -> integers 0 .. 6."""
    match = SPEC.fullmatch(spec.strip())
    try:
        if match is None:
            raise TypeError
        kind, bits, shape, bound, scale = match.groups()
        dtype = jnp.dtype(KINDS[kind] + bits)  # TypeError for f33 and its like
    except TypeError:
        raise argparse.ArgumentTypeError(
            f"{spec!r} is no array: give a dtype and a shape, as 'f32[4,7]' or 'bf16[]', "
            f"with '*SCALE' for floating ones and '<BOUND' for integers, as 'i32[4]<7'"
        ) from None
    sizes = tuple(int(n) for n in shape.split(",") if n.strip())
    if kind in "iu":
        return jnp.asarray(rng.integers(0, int(bound or 2), sizes), dtype)
    if kind == "b":
        return jnp.asarray(rng.integers(0, 2, sizes), bool)
    values = rng.normal(size=sizes)
    if kind == "c":
        values = values + 1j * rng.normal(size=sizes)
    return jnp.asarray(float(scale or 1) * values, dtype)


def import_function(name: str) -> Any:  # a function, as far as can be known here
    """What package.module:function names, of the current folder's modules too."""
    module, colon, attribute = name.partition(":")
    if not colon or not module or not attribute:
        raise argparse.ArgumentTypeError(
            f"{name!r} is no function: write it as package.module:function"
        )
    sys.path.insert(0, os.getcwd())
    try:
        found: Any = importlib.import_module(module)
        for part in attribute.split("."):
            found = getattr(found, part)
    except (ImportError, AttributeError) as error:
        raise argparse.ArgumentTypeError(f"{name!r} cannot be had: {error}") from None
    return found


def read_seed(text: str) -> int:
    try:
        seed = int(text)
    except ValueError:
        seed = -1
    if seed < 0:
        raise argparse.ArgumentTypeError(f"{text!r} is no seed: give an integer of at least 0")
    return seed


def read_domain(text: str) -> tuple[str, Any]:
    """x=positive, x=0,2"""
    name, equals, where = text.partition("=")
    if not name or not equals:
        raise argparse.ArgumentTypeError(f"{text!r} is no domain: write it as x=positive or x=0,2")
    try:
        return name, tuple(map(float, where.split(",")))
    except ValueError:
        return name, where


def colour_first_line(text: str, verdict: Verdict) -> str:
    """The text, its first line in the colour of the verdict on a terminal that wants colours."""
    if not sys.stdout.isatty() or "NO_COLOR" in os.environ:
        return text
    first, newline, rest = text.partition("\n")
    return f"\033[{verdict.colour}m{first}\033[0m{newline}{rest}"


def make_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m jaxnet", description="Is a backward rule right?"
    )
    commands = parser.add_subparsers(dest="command", required=True)
    for name, what in (
        ("check", "one function with a custom derivative"),
        ("audit", "every custom rule in a function"),
    ):
        command = commands.add_parser(
            name,
            help=what,
            description=f"Check {what}. Exit status 1 where it is not ok.",
            epilog="\n".join(["verdicts:", *(f"  {v:<12} {v.meaning}" for v in Verdict)]),
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        command.add_argument("function", metavar="MODULE:FUNCTION")
        command.add_argument(
            "specs", metavar="ARRAY", nargs="+", help="'f32[4,7]', 'f32[4,7]*10', 'i32[4]<7', ..."
        )
        command.add_argument(
            "--seed",
            type=read_seed,
            default=0,
            help="of arguments and cotangents (default: %(default)s)",
        )
        command.add_argument(
            "--budget", type=float, default=30.0, metavar="SECONDS", help="(default: %(default)s)"
        )
        command.add_argument(
            "--rtol", type=float, metavar="R", help="how far a rule may be from the truth"
        )
        command.add_argument("--json", type=Path, metavar="FILE", help="write the report there too")
    commands.choices["check"].add_argument(
        "--repro",
        type=Path,
        metavar="FILE",
        help="write a script there that shows what is wrong without jaxnet",
    )
    commands.choices["check"].add_argument(
        "--domain",
        type=read_domain,
        action="append",
        default=[],
        metavar="NAME=WHERE",
        help="where an argument lies: x=positive, x=0,2, ...",
    )
    grading.add_options(commands.add_parser("grade", help="students' solutions of the exercises"))
    return parser


def in_domains(function: Any, arrays: list[Any], domain: dict[str, Any]) -> list[Any]:
    """The arrays, those of which a domain is told brought there."""
    names = Arguments(function, arrays, {}, floats_are_leaves=True).arguments
    return [
        jnp.asarray(drawn(domain[name], np.asarray(x)), x.dtype) if name in domain else x
        for name, x in zip(names, arrays, strict=True)
    ]


def main(arguments: list[str] | None = None) -> int:
    parser = make_parser()
    options = parser.parse_args(arguments)
    if options.command == "grade":
        return grading.run(options, parser.error)
    rng = np.random.default_rng(options.seed)
    try:
        function = import_function(options.function)
    except argparse.ArgumentTypeError as error:
        parser.error(str(error))
    try:
        arrays = [draw_array(spec, rng) for spec in options.specs]
        common = {"seed": options.seed, "budget": options.budget, "rtol": options.rtol}
        found: Report | Audit
        if options.command == "check":
            domain = dict(options.domain)
            arrays = in_domains(function, arrays, domain)
            found = check(function, *arrays, domain=domain, **common)
        else:
            found = audit(function, *arrays, **common)
    except (argparse.ArgumentTypeError, TypeError, ValueError) as error:
        parser.error(str(error))
    print(colour_first_line(str(found), Verdict.OK if found.ok else Verdict.WRONG))
    write_files(parser, options, found)
    return 0 if found.ok else 1


def write_files(
    parser: argparse.ArgumentParser, options: argparse.Namespace, found: Report | Audit
) -> None:
    if options.json:
        write(parser, "--json", options.json, found.json() + "\n")
    if isinstance(found, Report) and options.repro:
        try:
            script = found.repro()
        except ValueError as reason:  # the exit status stays that of the report
            print(f"{options.repro} is not written: {reason}", file=sys.stderr)
        else:
            write(parser, "--repro", options.repro, script)


def write(parser: argparse.ArgumentParser, option: str, path: Path, content: str) -> None:
    try:
        path.parent.resolve(strict=True)  # a folder that is not there is a slip
        write_whole(path, content)
    except OSError as error:
        parser.error(f"argument {option}: {path} cannot be written: {error}")


if __name__ == "__main__":
    sys.exit(main())
