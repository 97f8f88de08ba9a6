"""How long a check may take, what was not asked because of that, and what a person sees of it."""

import sys
import time
from dataclasses import dataclass, field, replace

SHOWN_AFTER = 3.0  # seconds, on a terminal


@dataclass
class Budget:
    """Wall time from now on. What is not asked for lack of it is cut: neither ok nor wrong."""

    seconds: float | None
    cut: list[str] = field(default_factory=list)
    _started: float = field(default_factory=time.perf_counter)
    _shown: str = ""

    def shared(self) -> "Budget":
        """The same time, for something else of which nothing is cut yet."""
        return replace(self, cut=[])

    def is_spent(self, question: str) -> bool:
        """Whether the time is over; the question, by its name in the report, is cut then."""
        elapsed = time.perf_counter() - self._started
        if self.seconds is not None and elapsed >= self.seconds:
            self.cut.append(question)
            return True
        if elapsed > SHOWN_AFTER and sys.stderr.isatty():
            self._show(f"{elapsed:.0f} s: {question}")
        return False

    def clear(self) -> None:
        """Take away what was shown."""
        if self._shown:
            self._show("")
            sys.stderr.write("\r")

    def _show(self, text: str) -> None:
        sys.stderr.write("\r" + text.ljust(len(self._shown)))
        sys.stderr.flush()
        self._shown = text
