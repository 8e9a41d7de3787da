"""Landing: from Kafka into PostgreSQL, every message exactly once.

`run_window` is one long run; `should_start` tells a sensor whether to start one. Replay of a range lives in
`landing.replay`.
"""

from hps_platform.landing.reports import CommitReport, Outcome, WindowReport
from hps_platform.landing.window import TOPICS, run_window, should_start

__all__ = ["TOPICS", "CommitReport", "Outcome", "WindowReport", "run_window", "should_start"]
