"""What a beginner is told where there is no gradient to judge: one sentence, and what to do."""

import re
from collections.abc import Mapping
from typing import Any

from jaxnet.grading.exercise import Exercise

WHAT_TO_DO = {  # an exception of Python's -> what it means here
    "NameError": "backward knows only its arguments: compute the rest in it again.",
    "UnboundLocalError": "A name was used before anything was assigned to it.",
    "NotImplementedError": "It is not written yet: put your code in the place of this line.",
    "ModuleNotFoundError": "Only what is installed here can be imported; NumPy and JAX are enough.",
    "RecursionError": "A function calls itself without end.",
    "IndentationError": "Look at the blanks at the beginning of this line and the one above.",
    "TabError": "The line mixes tabs and blanks: use blanks alone.",
    "SyntaxError": "Python cannot read this line: look for a missing bracket, colon or comma.",
    "SystemExit": "The file calls exit(): leave that out.",
    "EOFError": "The file asks for input(), and nobody is there to answer: leave that out.",
    "MemoryError": "An array is far too large: look at its shape.",
    "AttributeError": "There is nothing of this name there: look for a slip of the pen.",
    "TypeError": "A function was given something that it does not take.",
    "IndexError": "An index is larger than its axis.",
    "ZeroDivisionError": "Something is divided by 0.",
}


def sentence(exercise: Exercise, failed: Mapping[str, Any]) -> str:
    special = {
        "no backward": _no_backward,
        "other values": _other_values,
        "count": _count,
        "None": _none,
        "time": _time,
        "died": _died,
    }
    return special.get(failed["type"], _raised)(exercise, failed)


def _no_backward(exercise: Exercise, failed: Mapping[str, Any]) -> str:
    arguments = ", ".join(arguments_of(exercise))
    return f"The file has no function `backward`: write it as def backward({arguments})."


def _other_values(exercise: Exercise, failed: Mapping[str, Any]) -> str:
    return (
        "Your forward computes something else than the exercise's, so there is nothing to derive. "
        "Put the given forward back; for columns change nothing in it but what columns need."
    )


def _count(exercise: Exercise, failed: Mapping[str, Any]) -> str:
    wanted = ", ".join(f"d{leaf}" for leaf in exercise.leaves)
    return (
        f"backward must return {number(len(exercise.leaves))}, {wanted}, in this order; "
        f"yours returns {number(int(failed['message']))}."
    )


def _none(exercise: Exercise, failed: Mapping[str, Any]) -> str:
    wanted = ", ".join(f"d{leaf}" for leaf in exercise.leaves)
    return f"backward returns None: does it end with `return {wanted}`?"


def _time(exercise: Exercise, failed: Mapping[str, Any]) -> str:
    at = f", in line {failed['line']}: `{failed['text'].strip()}`" if "line" in failed else ""
    return (
        f"After {failed['seconds']:g} seconds the file was still running{at}. "
        f"Does a loop never end? A right answer takes a moment."
    )


def _died(exercise: Exercise, failed: Mapping[str, Any]) -> str:
    said = f" Its last words: {failed['message']}" if failed["message"] else ""
    return f"The file broke off without an answer, as if something ended the process.{said}"


def _raised(exercise: Exercise, failed: Mapping[str, Any]) -> str:
    kind, said = failed["type"], failed["message"]
    short = re.sub(r"Input operand.*?(\(size)", r"\1", first_line(said))
    lines = [f"{where(failed)}{kind}: {short}" if said else f"{where(failed)}{kind}"]
    lines.append(advice(exercise, kind, said))
    shapes = ", ".join(f"{name} {list(shape)}" for name, shape in failed.get("shapes", {}).items())
    lines += [f"The arrays there: {shapes}"] if shapes else []
    return "\n".join(line for line in lines if line)


def where(failed: Mapping[str, Any]) -> str:
    text = failed.get("text", "").strip()
    return f"line {failed['line']}: `{text}`\n" if "line" in failed else ""


def advice(exercise: Exercise, kind: str, said: str) -> str:
    if "positional argument" in said and "backward()" in said:
        return f"backward is called with {', '.join(arguments_of(exercise))}."
    if kind == "ValueError" and "broadcast together" in said:
        return (
            "Two shapes do not go together. Did a sum or a mean lose its axis? keepdims=True keeps "
            "it. Or is a .T missing, or one too many?"
        )
    about_shapes = ("matmul", "broadcast", "dot_general", "shapes", "dimension", "align")
    if kind in ("ValueError", "TypeError") and any(word in said for word in about_shapes):
        return (
            "Two shapes do not go together. In a product A @ B the columns of A are as many as the "
            "rows of B: is a .T missing, or one too many, or are the two in the wrong order?"
        )
    return WHAT_TO_DO.get(kind, "")


def arguments_of(exercise: Exercise) -> list[str]:
    return [*exercise.inputs, *([] if exercise.is_loss else [exercise.cotangent])]


def number(n: int) -> str:
    return "one array" if n == 1 else f"{n} arrays"


def first_line(text: str) -> str:
    return text.strip().splitlines()[0] if text.strip() else ""
