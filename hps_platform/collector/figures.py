"""What a collector counts about itself, as other processes of the platform may read it in the table `collectors`.

Counters grow from the collector's start. Prometheus' text is made of them by the app.
"""

import time
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import psutil

from hps_platform.collector.outbox import Outbox
from hps_platform.collector.samples import Tally

SLIP_BOUNDS_S = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 15.0)
_LONGEST_SLIP_S = 3600.0
"""What comes later than that after the one before it comes after an outage."""


@dataclass(slots=True)
class Figures:
    """`slip`: reports of streams by how late they came, a count for each of `SLIP_BOUNDS_S` and one for later ones."""

    logins: int = 0
    failures: Counter[str] = field(default_factory=Counter)
    fenced: int = 0
    slip: list[int] = field(default_factory=lambda: [0] * (len(SLIP_BOUNDS_S) + 1))
    slip_sum_s: float = 0.0
    _process: psutil.Process = field(default_factory=psutil.Process)

    def slipped(self, seconds: float) -> None:
        if seconds < _LONGEST_SLIP_S:
            late_s = max(0.0, seconds)
            self.slip[bisect_left(SLIP_BOUNDS_S, late_s)] += 1
            self.slip_sum_s += late_s

    def as_dict(
        self, states: Iterable[str], connections: int, tallies: Iterable[Tally], outbox: Outbox
    ) -> dict[str, Any]:
        rows = no_data = failed = unknown = dead_letters = suppressed = 0
        for tally in tallies:  # some thousands, every two seconds
            rows += tally.samples
            no_data += tally.no_data
            failed += tally.failed
            unknown += tally.unknown
            dead_letters += tally.dead_letters
            suppressed += tally.suppressed
        return {
            "states": dict(Counter(states)),
            "connections": connections,
            "logins": self.logins,
            "login_failures": dict(self.failures),
            "outcomes": {"rows": rows, "no_data": no_data, "failed": failed, "unknown": unknown},
            "dead_letters": dead_letters,
            "suppressed": suppressed,
            "slip": [*zip([*map(str, SLIP_BOUNDS_S), "+Inf"], self.slip, strict=True)],
            "slip_sum_s": round(self.slip_sum_s, 3),
            "waiting": len(outbox),
            "spool_bytes": outbox.spool.size,
            "sent": outbox.sent,
            "dropped": outbox.dropped,
            "refused": outbox.refused,
            "fenced": self.fenced,
            "cpu_s": round(time.process_time(), 3),
            "rss_bytes": self._process.memory_info().rss,
        }
