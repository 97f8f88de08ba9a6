"""The calls of one library after another, each library in a process of its own."""

import contextlib
import importlib.metadata
import io
import json
import signal
import subprocess
import sys
import time
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from trial import VERSIONS
from trial.outcomes import CRASHED, TOO_LONG, Row

ALWAYS_ASKED = 0.0  # the budget of a check that asks nothing else
ANSWER = "--answer"  # what the command is called with in the process of a library
COMMAND = Path(__file__).parents[1] / "ecosystem.py"


def version(library: str) -> str:
    package = VERSIONS[library][0]
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return ""


# ---- in the process of a library


def answer_all(names: Sequence[str], limit: int, budget: float) -> None:
    """A line of JSON for every name. Whoever needs more CPU seconds than limit ends the process."""
    out = sys.stdout
    for name in names:
        # What it does by default, to end the process, works inside of XLA too.
        signal.setitimer(signal.ITIMER_PROF, limit)
        with contextlib.redirect_stdout(io.StringIO()):
            row = answer(name, budget)
        print(json.dumps(row), file=out, flush=True)


def answer(name: str, budget: float) -> dict[str, Any]:
    begin = time.process_time()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        said = judged(name, budget)
    return {**said, "seconds": round(time.process_time() - begin, 1)}


def judged(name: str, budget: float) -> dict[str, Any]:
    import numpy as np
    from corpus import libraries

    import jaxnet
    from jaxnet.checking.findings import worst
    from trial.tables import CALLS

    case = CALLS[name]
    try:
        f, args = case.call(libraries.found(name)), case.args(np.random.default_rng(0))
        report = jaxnet.check(f, *args, ref=case.ref, budget=budget, **case.options)
    except Exception as error:
        return {"verdict": CRASHED, "said": f"{type(error).__name__}: {error}"[:300]}
    verdict = "ok" if report.ok else str(worst(f.verdict for f in report.findings))
    other = [] if report.ok else opinion(name, f, args)
    return {
        "verdict": verdict,
        "said": report.sentence(),
        "proved": not report.unproved(),
        "cut": list(report.cut),
        "witnesses": other,
        "report": str(report),
    }


def opinion(name: str, f: Any, args: Any) -> list[str]:
    def differences() -> list[str]:
        import jax.numpy as jnp

        from trial.known import KNOWN
        from trial.witness import witnesses

        at = KNOWN[name].at if name in KNOWN else ()
        points = [args, tuple(map(jnp.asarray, at))] if at else [args]
        return [str(witness) for point in points for witness in witnesses(f, point)]

    def formulas() -> list[str]:
        from trial.exact import exact

        return exact(name, f, args)

    lines = []
    for said in (differences, formulas):
        try:
            lines += said()
        except Exception as error:
            lines.append(f"no {said.__name__}: {type(error).__name__}: {error}"[:200])
    return lines


# ---- and in the one that asks


def run_library(library: str, names: Sequence[str], limit: int, budget: float) -> Iterator[Row]:
    """The row of every name.

    Where one ends the process, the others go on in a new one. Of what takes too long, only what
    is always asked is asked again.
    """
    left = list(names)
    while left:
        for said in answers(tuple(left), limit, budget):
            row = Row(library, version(library), left.pop(0), **said)
            if row.verdict == TOO_LONG:
                for said in answers((row.rule,), limit, ALWAYS_ASKED):
                    row = Row(library, version(library), row.rule, **said)
            yield row


def answers(names: Sequence[str], limit: int, budget: float) -> Iterator[dict[str, Any]]:
    """For each name what was said of it; the last is the one at which the process ended."""
    command = [sys.executable, str(COMMAND), ANSWER, str(limit), str(budget), *names]
    answered = 0
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        for line in process.stdout:
            answered += 1
            yield json.loads(line)
    if process.returncode == -signal.SIGPROF:
        yield {"verdict": TOO_LONG, "said": f"more than {limit} s of CPU time", "seconds": limit}
    elif answered < len(names):
        yield {"verdict": CRASHED, "said": f"the process ended: {process.returncode}"}
