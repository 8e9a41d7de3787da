"""A landing run for benchmarks, as a process of its own: lands so many messages, then prints what that took.

`python -m hps_platform.stack.bench.lander MESSAGES SECONDS INTERVAL NUMBER OF`: lands the NUMBERth of OF parts of the
partitions; ends when that many messages are committed, or after so many seconds; commits at least every INTERVAL
seconds. Prints a JSON object.
"""

import json
import resource
import sys
import time
from typing import Any

from hps_platform import landing, settings
from hps_platform.landing import CommitReport


class Clock:
    """Remembers commits; `done` after so many messages or seconds."""

    def __init__(self, messages: int, seconds: float) -> None:
        self.commits: list[dict[str, Any]] = []
        self.landed = 0
        self._messages = messages
        self._ends_at = time.monotonic() + seconds

    def committed(self, report: CommitReport) -> None:
        spans = {
            f"{topic}/{partition}": span
            for topic, partitions in report.offsets.items()
            for partition, span in partitions.items()
        }
        self.landed += report.messages
        self.commits.append({"at_ms": time.time() * 1000, "messages": report.messages, "spans": spans})

    def done(self) -> bool:
        return self.landed >= self._messages or time.monotonic() > self._ends_at


def main(messages: str, seconds: str, interval_s: str, number: str, of: str) -> None:
    chosen = settings.load()
    clock = Clock(int(messages), float(seconds))
    used, began = time.process_time(), time.time()
    report = landing.run_window(
        dsn=chosen.dsn(),
        bootstrap=chosen.bootstrap,
        run_id=f"bench {number}",
        window_s=86_400,
        batch_interval_s=float(interval_s),
        max_messages=chosen.kafka_consumer_max_buffer_size,
        group=landing.Group(int(number), int(of)),
        stop=clock.done,
        on_commit=clock.committed,
    )
    said = {
        "began_ms": began * 1000,
        "ended_ms": clock.commits[-1]["at_ms"] if clock.commits else time.time() * 1000,
        "cpu_s": time.process_time() - used,
        "lived_s": time.time() - began,
        "rss_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        "messages": report.messages,
        "rows": report.rows,
        "rejected": report.rejected,
        "commits": clock.commits,
    }
    print(json.dumps(said))  # noqa: T201  this is a program


if __name__ == "__main__":
    main(*sys.argv[1:])
