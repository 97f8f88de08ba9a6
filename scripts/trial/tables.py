"""All calls, by name."""

from corpus import libraries

from trial import CALLS, Call, networks, physics, solvers, statistics

__all__ = ["CALLS", "names_of", "networks", "physics", "solvers", "statistics"]

CALLS |= {n: Call(c.args, c.call, c.ref, c.note) for n, c in libraries.CASES.items()}


def names_of(library: str) -> list[str]:
    return [name for name in CALLS if libraries.library_of(name) == library]
