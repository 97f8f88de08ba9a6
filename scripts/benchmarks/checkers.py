"""Which faults do jaxnet.check, jax.test_util.check_grads and a plain allclose of gradients catch?

All three meet the rules of corpus/wrong.py, each with one fault, and of corpus/right.py, which look
wrong and are not. check_grads runs to second order in reverse mode (in its default modes it raises
on every custom_vjp), in forward mode too where the fault is there, with its own tolerances. The
plain comparison is np.allclose, rtol 1e-4 and atol 1e-5, of the gradients of the sum of the outputs
with and without the rule.
"""

import argparse
import functools
import itertools
import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import jax.test_util
import numpy as np
from common.files import write_json
from common.pullbacks import hold_the_rest
from corpus import Example
from corpus.right import RIGHT
from corpus.wrong import WRONG

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
NO_FAULT = "none: right rules"


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


def judge_all(kind: str, name: str, example: Example) -> dict[str, Any]:
    verdicts = {checker: judge(f, example) for checker, f in CHECKERS.items()}
    objects = {checker: verdict.objects for checker, verdict in verdicts.items()}
    return {"kind": kind, "rule": name, **objects, "named": verdicts["jaxnet.check"].names}


def judge_corpus(most: int | None) -> Iterator[dict[str, Any]]:
    """A row for each rule, of either kind the first `most`: what the checkers say of it."""
    for name, example in itertools.islice(WRONG.items(), most):
        yield judge_all(kind_of_fault(example), name, example)
    for name, example in itertools.islice(RIGHT.items(), most):
        yield judge_all(NO_FAULT, name, example)


def show_rule(row: dict[str, Any]) -> None:
    said = ("caught" if row[checker] else "-" for checker in CHECKERS)
    print(f"{row['rule']:72}" + "".join(f"{word:>14}" for word in said), flush=True)


def show_table(rows: Sequence[dict[str, Any]]) -> None:
    line = "{:36}{:>7}" + "{:>14}" * len(CHECKERS)
    print(line.format("fault", "rules", *CHECKERS))
    for kind in dict.fromkeys(row["kind"] for row in rows):
        of_kind = [row for row in rows if row["kind"] == kind]
        counts = (sum(row[checker] for row in of_kind) for checker in CHECKERS)
        print(line.format(kind, len(of_kind), *counts))
    caught = [row for row in rows if row["kind"] != NO_FAULT and row["jaxnet.check"]]
    named = sum(row["named"] for row in caught)
    print(f"jaxnet.check named the argument at fault in {named} of {len(caught)}.")


# ---- the command


def run(options: argparse.Namespace) -> None:
    warnings.simplefilter("ignore")
    rows = []
    for row in judge_corpus(options.most):
        rows.append(row)
        if options.every:
            show_rule(row)
    show_table(rows)
    print(f"Python {sys.version.split()[0]}, jax {jax.__version__}")
    if options.json:
        write_json(options.json, {"jax": jax.__version__, "rules": rows})
