"""kill -9 of landing run, Dagster's daemon, PostgreSQL, Kafka, collector, app under load: nothing lost, nothing twice.

Ten kills at random moments, of each of the six at least one; `scripts/kill_at_random.py` does two hundred.
"""

import random

import pytest

from hps_platform.metrics import FAMILIES
from hps_platform_tests.e2e.demo import DemoApp
from hps_platform_tests.e2e.kills import (
    LOOK_S,
    RECOVERY_S,
    VICTIMS,
    compare,
    kill_at_random,
    landed_of_load,
    load,
)
from hps_platform_tests.waiting import until

KILLS = 10


@pytest.mark.timeout(900)
def test_nothing_is_lost_or_doubled(demo_app: DemoApp) -> None:
    seed = random.randrange(10**6)
    print(f"seed {seed}")  # noqa: T201  # shown when it fails
    before = demo_app.status()
    with load(demo_app.settings().bootstrap) as loaded:
        until(lambda: landed_of_load(demo_app), RECOVERY_S, "the load lands", every_s=LOOK_S)
        done = kill_at_random(demo_app, KILLS, random.Random(seed))
        until(demo_app.well, RECOVERY_S, "all services are well after the last kill", every_s=1.0)
    assert done.total() == KILLS
    after = demo_app.status()
    for name in VICTIMS:
        assert done[name] > 0
        if name in after:  # landing is a run of Dagster's
            assert after[name]["restarts"] > before[name]["restarts"], name
            assert after[name]["pid"] != before[name]["pid"]
    assert (loaded.left, loaded.refused) == (0, [])
    assert compare(demo_app, loaded.sent).keys() >= FAMILIES.keys() - {"lpar"}
