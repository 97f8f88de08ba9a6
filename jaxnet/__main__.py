"""python -m jaxnet check|audit MODULE:FUNCTION ARGUMENT ...: what jaxnet.check and jaxnet.audit print, from a shell."""

import argparse
import importlib
import os
import re
import sys
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np

from jaxnet.checking import Audit, Report, audit, check

KINDS = {"bf": "bfloat", "f": "float", "c": "complex", "i": "int", "u": "uint", "b": "bool"}
SPEC = re.compile(r"(bf|[fciub])(\d*)\[([\d,\s]*)\](?:<(\d+)|\*([\d.eE+-]+))?")
COLOURS = {"ok": "32", "bad": "31"}


def array(spec: str, rng: np.random.Generator) -> Any:
    """ "f32[4,7]" -> random normal; "f32[4,7]*10" -> ten times that; "i32[4]<7" -> random integers 0 .. 6."""
    match = SPEC.fullmatch(spec.strip())
    try:
        if match is None:
            raise TypeError
        kind, bits, shape, bound, scale = match.groups()
        dtype = jnp.dtype(KINDS[kind] + bits)
    except TypeError:
        raise argparse.ArgumentTypeError(
            f"{spec!r} is no array: give a dtype and a shape, as 'f32[4,7]' or 'bf16[]', with '*SCALE' for floating "
            f"ones and '<BOUND' for integers, as 'i32[4]<7'"
        ) from None
    sizes = tuple(int(n) for n in shape.split(",") if n.strip())
    if kind in "iu":
        return jnp.asarray(rng.integers(0, int(bound or 2), sizes), dtype)
    if kind == "b":
        return jnp.asarray(rng.integers(0, 2, sizes), bool)
    values = rng.normal(size=sizes) + (1j * rng.normal(size=sizes) if kind == "c" else 0)
    return jnp.asarray(float(scale or 1) * values, dtype)


def function(name: str) -> Any:
    """package.module:function, the current folder's modules included."""
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
    except (ImportError, AttributeError) as e:
        raise argparse.ArgumentTypeError(f"{name!r} cannot be had: {e}") from None
    return found


def coloured(text: str, ok: bool) -> str:
    if not sys.stdout.isatty() or "NO_COLOR" in os.environ:
        return text
    first, newline, rest = text.partition("\n")
    return f"\033[{COLOURS['ok' if ok else 'bad']}m{first}\033[0m{newline}{rest}"


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m jaxnet", description="Is a backward rule right?"
    )
    commands = parser.add_subparsers(dest="command", required=True)
    for name, what in (
        ("check", "one function with a custom derivative"),
        ("audit", "every custom rule in a function"),
    ):
        command = commands.add_parser(
            name, help=what, description=f"Check {what}. Exit status 1 where it is not ok."
        )
        command.add_argument("function", metavar="MODULE:FUNCTION", type=function)
        command.add_argument(
            "specs", metavar="ARRAY", nargs="+", help="'f32[4,7]', 'f32[4,7]*10', 'i32[4]<7', ..."
        )
        command.add_argument(
            "--seed", type=int, default=0, help="of arguments and cotangents (default: %(default)s)"
        )
        command.add_argument("--json", type=Path, metavar="FILE", help="write the report there too")
    options = parser.parse_args(arguments)
    rng = np.random.default_rng(options.seed)
    try:
        arrays = [array(spec, rng) for spec in options.specs]
        run = check if options.command == "check" else audit
        found: Report | Audit = run(options.function, *arrays, seed=options.seed)
    except (argparse.ArgumentTypeError, TypeError, ValueError) as e:
        parser.error(str(e))
    print(coloured(str(found), found.ok))
    if options.json:
        temporary = options.json.with_name(options.json.name + ".part")
        temporary.write_text(found.json() + "\n", encoding="utf-8")
        temporary.replace(options.json)
    return 0 if found.ok else 1


if __name__ == "__main__":
    sys.exit(main())
