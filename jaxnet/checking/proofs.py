"""The first question, before anything is compiled: are both gradients equal as algebra?"""

from collections.abc import Callable
from typing import Any

from jaxnet.checking.problem import Function, Problem
from jaxnet.checking.traces import first_line
from jaxnet.proving import Proof, proof_of
from jaxnet.proving import Verdict as Proved


def proof_in(problem: Problem) -> Proof:
    """Of first derivatives: the others are left to floats."""

    def of_leaves(function: Function) -> Callable[..., Any]:
        return lambda *leaves: function(leaves, problem.others)

    both = of_leaves(problem.rule), of_leaves(problem.ref)
    try:
        return proof_of(*both, problem.leaves, problem.names, is_first_order=True)
    except Exception as e:  # of the function itself, at a point that it does not expect
        return Proof(Proved.NOT_PROVED, note=f"it raised {first_line(e)}")
