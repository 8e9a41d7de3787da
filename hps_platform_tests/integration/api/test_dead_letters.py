"""Dead letters over HTTP: listed, shown, and sent again once their text is understood."""

import time

import pytest

from hps_platform import stream
from hps_platform.landing import run_window
from hps_platform.metrics import wire
from hps_platform.metrics.sample import DeadLetter
from hps_platform.store import completeness
from hps_platform_tests.integration.api.conftest import Web
from hps_platform_tests.integration.landing.ground import begin_at_end, behind

TEXT = """\
procs -----------memory---------- ---swap-- -----io---- -system-- ------cpu-----
 r  b   swpd   free   buff  cache   si   so    bi    bo   in   cs us sy id wa st
 3  0      0 612344 108224 2410980    0    0     4    18  310  205  6  2 91  1  0
"""


@pytest.fixture
def letters(web: Web) -> list[int]:
    """A letter whose text is understood today, and one whose text never is; landed."""
    dsn, bootstrap = web.settings.dsn(), web.settings.bootstrap
    begin_at_end(dsn, bootstrap)
    producer = stream.Producer(bootstrap, "test")
    now_ms = round(time.time() * 1000)
    for seq, raw in enumerate((TEXT, "no such thing\n"), start=1):
        letter = DeadLetter(
            "vmstat", 77, now_ms + seq, "vmstat -n 2", raw, "linux/1;stream", "unknown layout", "c1", "letters", seq
        )
        producer.send(wire.DEAD_LETTER_TOPIC, b"77", wire.encode_dead_letter(letter))
    producer.close()
    land(web)
    with web.db.connection() as conn:
        rows = conn.execute("SELECT id FROM dead_letters WHERE server_id = 77 ORDER BY seq").fetchall()
    return [letter_id for (letter_id,) in rows]


def land(web: Web) -> None:
    dsn, bootstrap = web.settings.dsn(), web.settings.bootstrap
    run_window(
        dsn=dsn,
        bootstrap=bootstrap,
        run_id="run",
        window_s=60,
        batch_interval_s=0.1,
        stop=lambda: behind(dsn, bootstrap) == 0,
    )


def test_a_letter_is_replayed_once_it_is_understood(web: Web, letters: list[int]) -> None:
    understood, garbage = letters
    with web.viewer as viewer:
        listed = viewer.get("/api/dead-letters/", params={"server_id": 77, "metric": "vmstat"}).json()
        assert (listed["count"], {one["id"] for one in listed["results"]}) == (2, set(letters))
        assert viewer.get(f"/api/dead-letters/{garbage}/").json()["raw"] == "no such thing\n"
        assert viewer.get("/api/dead-letters/9999999/").status_code == 404
        assert viewer.post(f"/api/dead-letters/{understood}/replay/").status_code == 403
    with web.admin as admin:
        assert admin.post(f"/api/dead-letters/{garbage}/replay/").status_code == 422
        assert admin.post(f"/api/dead-letters/{understood}/replay/").json() == {"rows": 1}
        assert admin.post(f"/api/dead-letters/{understood}/replay/").json() == {"rows": 1}  # absorbed
        open_ones = admin.get("/api/dead-letters/", params={"server_id": 77, "replayed": "false"}).json()
        assert [one["id"] for one in open_ones["results"]] == [garbage]
    land(web)
    with web.db.connection() as conn:
        rows = conn.execute("SELECT r, us FROM vmstat_metrics WHERE server_id = 77").fetchall()
        while completeness.fold(conn):
            pass
        sums = conn.execute(
            "SELECT sum(collected), sum(landed), sum(rejected), sum(missing) FROM completeness WHERE server_id = 77"
        ).fetchone()
    assert rows == [(3, 6.0)]
    assert sums == (2, 1, 1, 0)
