"""Waiting for what happens elsewhere: in another process, in another thread."""

import time
from collections.abc import Callable


def until(condition: Callable[[], object], within_s: float, what: str, *, every_s: float = 0.05) -> float:
    """Returns as soon as the condition holds, the seconds it took; fails with `what` when it does not in time.

    `every_s`: the pause between two looks, longer for those that cost something.
    """
    began = time.monotonic()
    while not condition():
        assert time.monotonic() - began < within_s, f"not within {within_s:g} s: {what}"
        time.sleep(every_s)
    return time.monotonic() - began
