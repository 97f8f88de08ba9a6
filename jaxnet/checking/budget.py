"""How long a check may take, and what was not asked because of that."""

import time
from dataclasses import dataclass, field


@dataclass
class Budget:
    """Wall time from now on. What is not asked for lack of it is cut: neither ok nor wrong."""

    seconds: float | None
    cut: list[str] = field(default_factory=list)
    _started: float = field(default_factory=time.perf_counter)

    def is_spent(self, question: str = "") -> bool:
        """Whether the time is over; the question, by its name in the report, is cut then."""
        if self.seconds is None or time.perf_counter() - self._started < self.seconds:
            return False
        if question:
            self.cut.append(question)
        return True
