"""Landing: from Kafka into PostgreSQL, every message exactly once.

`run_window` is one long run, `should_start` tells a sensor whether to start one, `replay` lands a range again,
`family_states` says how far all that has come and `conservation` whether anything got lost on the way.
"""

from hps_platform.landing.letters import replay_letter
from hps_platform.landing.replay import replay
from hps_platform.landing.reports import CommitReport, Outcome, ReplayReport, WindowReport
from hps_platform.landing.states import Conservation, FamilyState, conservation, family_states
from hps_platform.landing.window import EVERYTHING, TOPICS, Group, groups, run_window, should_start

__all__ = [
    "EVERYTHING",
    "TOPICS",
    "CommitReport",
    "Conservation",
    "FamilyState",
    "Group",
    "Outcome",
    "ReplayReport",
    "WindowReport",
    "conservation",
    "family_states",
    "groups",
    "replay",
    "replay_letter",
    "run_window",
    "should_start",
]
