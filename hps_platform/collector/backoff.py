"""How long to wait before trying again."""

import random
from dataclasses import dataclass


@dataclass(slots=True)
class Backoff:
    """Doubles from `first_s` to `longest_s`; a wait is drawn from its upper half, so that hosts don't march in step."""

    first_s: float = 1.0
    longest_s: float = 60.0
    _next_s: float = 0.0

    def wait_s(self) -> float:
        span = max(self._next_s, self.first_s)
        self._next_s = min(span * 2, self.longest_s)
        return random.uniform(span / 2, span)  # noqa: S311  spreads load, hides nothing

    def reset(self) -> None:
        self._next_s = 0.0
