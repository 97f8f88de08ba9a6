r"""Formulas in TeX as MathML, which browsers draw without a script.

The part of TeX that the derivation in docs/course uses: letters, numbers, signs, scripts behind _
and ^, \frac, \tilde, \mathrm, and the commands below.
"""

import re
from collections.abc import Iterator
from html import escape

NAMES = {"partial": "∂", "delta": "δ", "theta": "θ", "eta": "η"}
FUNCTIONS = ("exp", "log", "max")
SIGNS = {"-": "−", "sum": "∑", "lt": "<", "gt": ">", "ge": "≥", "leftarrow": "←", "top": "⊤"}
SPACES = {"quad": "1em", "qquad": "2em"}
TAGS = {"_": "msub", "^": "msup", "_^": "msubsup", "": ""}
TOKEN = re.compile(r"\\[a-z]+|\d+|[A-Za-z]|[-+=/,()\[\]{}_^]|\s+")


def mathml(tex: str, *, apart: bool = False) -> str:
    """apart: a formula that stands for itself, not in a line of text."""
    tokens = [token for token in TOKEN.findall(tex) if not token.isspace()]
    if "".join(tokens) != re.sub(r"\s", "", tex):
        raise ValueError(f"{tex!r} holds what is not in the part of TeX that is known here")
    style = ' displaystyle="true"' if apart else ""
    return f"<math{style}>{Formula(tokens).row()}</math>"


def inline(text: str) -> str:
    """A text with formulas between dollars."""
    pieces = text.split("$")
    return "".join(mathml(p) if i % 2 else escape(p) for i, p in enumerate(pieces))


class Formula:
    def __init__(self, tokens: list[str]) -> None:
        self.tokens = tokens[::-1]  # the next one is last

    def row(self) -> str:
        """All up to the brace that closes it, or to the end."""
        return "".join(self.items())

    def items(self) -> Iterator[str]:
        while self.tokens and self.tokens[-1] != "}":
            yield self.with_scripts()
        if self.tokens:
            self.tokens.pop()

    def with_scripts(self) -> str:
        first = self.tokens[-1]
        base, scripts = self.one(), {}
        while self.tokens and self.tokens[-1] in ("_", "^"):
            place = self.tokens.pop()
            scripts[place] = self.one()
        places = "".join(sorted(scripts, reverse=True))
        tag = TAGS[places] if first not in (r"\sum", r"\max") else "munder"
        if scripts:
            base = f"<{tag}>{base}{''.join(scripts[place] for place in places)}</{tag}>"
        return base + self.gap() if first[1:] in FUNCTIONS else base

    def one(self) -> str:
        """A letter, a number, a sign, a command with what belongs to it, or what braces hold."""
        token = self.tokens.pop()
        if token == "{":
            return f"<mrow>{self.row()}</mrow>"
        if token.startswith("\\"):
            return self.command(token[1:])
        if token.isalpha():
            return f"<mi>{token}</mi>"
        return f"<mn>{token}</mn>" if token.isdigit() else sign(token)

    def command(self, name: str) -> str:
        if name == "frac":
            return f"<mfrac>{self.one()}{self.one()}</mfrac>"
        if name == "tilde":
            return f'<mover accent="true">{self.one()}<mo stretchy="false">~</mo></mover>'
        if name == "mathrm":
            return f"<mi>{re.sub('<.*?>', '', self.one())}</mi>"  # of several letters: upright
        if name in FUNCTIONS:
            return f"<mi>{name}</mi>"
        if name in SPACES:
            return f'<mspace width="{SPACES[name]}"></mspace>'
        if name in NAMES:
            return f"<mi>{NAMES[name]}</mi>"
        if name not in SIGNS:
            raise ValueError(f"\\{name} is not in the part of TeX that is known here")
        return sign(name)

    def gap(self) -> str:
        """Between a function and an argument without brackets."""
        is_close = not self.tokens or self.tokens[-1] in ("(", "}")
        return "" if is_close else '<mspace width="0.17em"></mspace>'


def sign(name: str) -> str:
    if name in "()[]":
        return f'<mo stretchy="false">{name}</mo>'
    if name == "/":
        return '<mo lspace="0" rspace="0">/</mo>'
    return f"<mo>{escape(SIGNS.get(name, name))}</mo>"
