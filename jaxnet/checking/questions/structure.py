"""Are shapes and dtypes of what the rule returns those of what it stands for?

JAX does not compare them: a float32 cotangent for a bfloat16 argument, or one of another shape, is
passed on, and raises later, elsewhere, or never.
"""

from collections.abc import Sequence

import numpy as np

from jaxnet.checking.findings import Finding, Question, Verdict
from jaxnet.checking.problem import Problem, shape_text
from jaxnet.checking.traces import RuleShapes, Working, other_forward


def ask(
    problem: Problem, working: Sequence[Working], shapes: Sequence[RuleShapes]
) -> list[Finding]:
    """shapes: of what the rule returns in each of the working dtypes."""
    found = []
    for w, of_rule in zip(working, shapes, strict=True):
        found += other_forward(problem, of_rule.forward, of_rule.value)
        found += _other_cotangents(problem, w, of_rule)
    return found


def _other_cotangents(problem: Problem, working: Working, shapes: RuleShapes) -> list[Finding]:
    found = []
    leaves = zip(problem.names, problem.leaves, working.dtypes, shapes.cotangents, strict=True)
    for leaf, x, dtype, ct in leaves:
        if (ct.shape, ct.dtype) != (x.shape, dtype):
            wanted = shape_text(np.broadcast_to(np.zeros((), dtype), x.shape))
            note = (
                f"its cotangent is {shape_text(ct)}, the argument {wanted}: cast it in the backward"
            )
            found.append(Finding(Question.STRUCTURE, leaf, Verdict.WRONG, note=note))
    return found
