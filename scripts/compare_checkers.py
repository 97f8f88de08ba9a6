"""Which faults do jaxnet.check, jax.test_util.check_grads and a plain allclose of gradients catch?

All three meet the rules of corpus/wrong.py, each with one fault, and of corpus/right.py, which look
wrong and are not. check_grads runs to second order in reverse mode (in its default modes it raises
on every custom_vjp), in forward mode too where the fault is there, with its own tolerances. The
plain comparison is np.allclose, rtol 1e-4 and atol 1e-5, of the gradients of the sum of the outputs
with and without the rule. Takes some minutes.
"""

import argparse
import functools
import sys
import warnings
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import jax.test_util
import numpy as np
from corpus import Example
from corpus.right import RIGHT
from corpus.wrong import WRONG
from pullbacks import hold_the_rest
from whole_files import write_json

import jaxnet

KINDS = {  # by how a finding begins
    "algebra": "another gradient",
    "value": "another value in the forward",
    "structure": "another dtype or structure",
    "law": "not linear in the cotangent",
    "precision": "digits lost in the working dtype",
    "vmap": "under a transformation only",
    "scan": "under a transformation only",
    "grad of grad": "in the second derivative only",
    "forward": "in forward mode",
    "": "another gradient",
}


def kind_of_fault(example: Example) -> str:
    return next(kind for what, kind in KINDS.items() if example.what.startswith(what))


class Verdict(NamedTuple):
    objects: bool  # whether the checker objects to the rule
    names: bool = False  # and to the right argument


def by_check(example: Example, args: Sequence[Any]) -> Verdict:
    report = jaxnet.check(
        example.f, *args, kwargs=example.kwargs, ref=example.ref, dtypes=example.dtypes
    )
    return Verdict(
        not report.ok, any(f.leaf == example.leaf for f in report.findings if f.verdict.bad)
    )


def by_check_grads(example: Example, args: Sequence[Any]) -> Verdict:
    f, floating = hold_the_rest(with_options(example.f, example), args)
    modes = ("fwd", "rev") if example.what.startswith("forward") else ("rev",)
    jax.test_util.check_grads(f, floating, order=2, modes=modes)
    return Verdict(False)


def by_allclose(example: Example, args: Sequence[Any]) -> Verdict:
    def gradients(f: Callable[..., Any]) -> Any:
        g, floating = hold_the_rest(with_options(f, example), args)

        def total(*xs: Any) -> Any:
            return sum(
                jnp.sum(y.real)
                for y in jax.tree.leaves(g(*xs))
                if jnp.issubdtype(y.dtype, jnp.inexact)
            )

        return jax.tree.leaves(jax.grad(total, argnums=tuple(range(len(floating))))(*floating))

    by_jvp = not isinstance(example.f, jax.custom_vjp | jaxnet.rule)
    reference = gradients(example.ref or jaxnet.auto(example.f, jvp=by_jvp))
    return Verdict(not all(map(close, gradients(example.f), reference)))


def with_options(f: Callable[..., Any], example: Example) -> Callable[..., Any]:
    return functools.partial(f, **(example.kwargs or {}))


def close(a: Any, b: Any) -> bool:
    a, b = (np.asarray(x, complex) for x in (a, b))
    return np.allclose(a, b, rtol=1e-4, atol=1e-5, equal_nan=True)


CHECKERS = {"jaxnet.check": by_check, "check_grads": by_check_grads, "allclose": by_allclose}


def judge(checker: Callable[..., Verdict], example: Example) -> Verdict:
    args = example.args(np.random.default_rng(0))
    if checker is by_check:
        return checker(example, args)
    try:
        return checker(example, args)
    except Exception:
        # That is how check_grads says no; and a rule that raises is not passed by anyone.
        return Verdict(True)


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--every", action="store_true", help="show every rule, not only how many")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every verdict there")
    parser.add_argument("--most", type=int, default=None, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    warnings.simplefilter("ignore")

    rows = []
    for examples, kind_of in (
        (WRONG, kind_of_fault),
        (RIGHT, lambda e: "none: right rules"),
    ):
        for name, example in list(examples.items())[: options.most]:
            verdicts = {checker: judge(f, example) for checker, f in CHECKERS.items()}
            rows.append(
                {
                    "kind": kind_of(example),
                    "rule": name,
                    **{c: v.objects for c, v in verdicts.items()},
                }
            )
            rows[-1]["named"] = verdicts["jaxnet.check"].names
            if options.every:
                print(
                    f"{name:72}"
                    + "".join(f"{'caught' if v.objects else '-':>14}" for v in verdicts.values()),
                    flush=True,
                )

    counts = Counter(row["kind"] for row in rows)
    line = "{:36}{:>7}" + "{:>14}" * len(CHECKERS)
    print(line.format("fault", "rules", *CHECKERS))
    for kind, count in counts.items():
        caught = [sum(row[checker] for row in rows if row["kind"] == kind) for checker in CHECKERS]
        print(line.format(kind, count, *caught))
    wrong = [row for row in rows if row["kind"] != "none: right rules" and row["jaxnet.check"]]
    named = sum(row["named"] for row in wrong)
    print(f"jaxnet.check named the argument at fault in {named} of {len(wrong)}.")
    print(f"Python {sys.version.split()[0]}, jax {jax.__version__}")
    if options.json:
        write_json(options.json, {"jax": jax.__version__, "rules": rows})


if __name__ == "__main__":
    main()
