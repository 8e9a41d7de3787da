"""Starts a demo of its own, kills its parts at random under load, and compares topics with tables row by row.

`python scripts/kill_at_random.py --kills 200` from the repository's root; ends with 0 when no row was lost or is there
twice. The seed is printed first: with `--seed` the same parts are killed in the same order.
"""

import argparse
import json
import logging
import random
import tempfile
import time
from pathlib import Path

from hps_platform_tests.e2e import kills
from hps_platform_tests.e2e.demo import demo
from hps_platform_tests.waiting import until


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--rate", type=int, default=kills.ROWS_PER_S, help="rows a second")
    parser.add_argument("--minutes", type=float, default=40, help="fails when the kills take longer")
    parser.add_argument("--seed", type=int, default=random.randrange(10**6))
    chosen = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    print(f"seed {chosen.seed}", flush=True)
    with tempfile.TemporaryDirectory(prefix="hps-kills-") as folder, demo(Path(folder)) as app:
        began = time.monotonic()
        with kills.load(app.settings().bootstrap, chosen.rate) as loaded:
            until(lambda: kills.landed_of_load(app), kills.RECOVERY_S, "the load lands", every_s=kills.LOOK_S)
            ends_at = began + chosen.minutes * 60
            done = kills.kill_at_random(app, chosen.kills, random.Random(chosen.seed), ends_at)
            until(
                app.well,
                kills.RECOVERY_S,
                "all services are well after the last kill",
                every_s=kills.LOOK_S,
            )
        minutes = (time.monotonic() - began) / 60
        if loaded.left or loaded.refused:
            raise SystemExit(f"Kafka did not take {loaded.left + len(loaded.refused)} messages of the load")
        rows = kills.compare(app, loaded.sent)
    print(
        json.dumps(
            {"seed": chosen.seed, "kills": done, "minutes": round(minutes, 1), "sent": loaded.sent, "rows": rows}
        )
    )


if __name__ == "__main__":
    main()
