"""What a text is when it is no number as it stands: a date, or a number of another country."""

import re
from collections.abc import Callable, Collection

from jaxnet.datasets._table import is_missing, number_or_none

_DATES = re.compile(
    r"([A-Z][a-z]{2,8},? )?"  # a day of the week
    r"(\d{4}[-/.]\d{1,2}([-/.]\d{1,2})?|\d{1,2}[-/.]\d{1,2}[-/.](\d{4}|\d{2})"
    r"|(\d{1,2}[ -])?[A-Z][a-z]{2,8}\.?[ -](\d{1,2},? )?\d{2,4})"
    r"([T ,]+\d{1,2}:\d{2}.*)?"
    r"|\d{1,2}:\d{2}(:\d{2})?( ?[AaPp][Mm])?"
)
_MONTH = re.compile(r"Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec")
# Of other countries and programs: 1,5 and 1.234,5 and $ 12 and 3 % and 1 200 and (12)
_DRESSED = re.compile(
    r"\(?[-+\u2212]?[$€£¥]?\s?[-+\u2212]?\d[\d.,'\u2019\s]*(e[-+]?\d+)?\s?[%$€£¥]?\)?",
    re.IGNORECASE,
)
_AMOUNT = re.compile(r"\W{0,3}\d.*")


def is_date(text: str) -> bool:
    has_month = text[:1].isdigit() or _MONTH.search(text) is not None
    return has_month and _DATES.fullmatch(text) is not None


def is_dressed(text: str) -> bool:
    """Whether it is a number, but in a form that is not read."""
    return number_or_none(text) is None and _DRESSED.fullmatch(text) is not None


def is_amount(text: str) -> bool:
    """Whether it begins as a number does: 12kg, 1/2, 10-20."""
    return _AMOUNT.fullmatch(text) is not None


def first_of_most(texts: Collection[str], is_one: Callable[[str], bool]) -> str | None:
    """The first that is one, where more than half are of those that are not missing."""
    held = [text for text in texts if not is_missing(text)]
    found = [text for text in held if is_one(text)]
    return found[0] if 2 * len(found) > len(held) else None
