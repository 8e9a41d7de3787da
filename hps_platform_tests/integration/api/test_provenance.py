"""Provenance over REST: a sample from Kafka, landed, and traced back to its text."""

import time
from datetime import UTC, datetime, timedelta

from hps_platform import landing, stream
from hps_platform.metrics import FAMILIES, wire
from hps_platform.metrics.sample import Sample
from hps_platform_tests.integration.api.conftest import Web
from hps_platform_tests.integration.landing.ground import begin_at_end, behind

RAW = """\
procs -----------memory---------- ---swap-- -----io---- -system-- ------cpu-----
 r  b   swpd   free   buff  cache   si   so    bi    bo   in   cs us sy id wa st
 2  0      0 815204  31996 764128    0    0     4    11   52   97  7  2 90  1  0
"""


def test_a_sample_leads_back_to_its_text(web: Web, server_id: int) -> None:
    dsn, bootstrap = web.settings.dsn(), web.settings.bootstrap
    begin_at_end(dsn, bootstrap)
    at = datetime.fromtimestamp(round(time.time() - 5, 3), UTC)
    rows = [{"r": 2, "b": 0, "us": 7, "sy": 2, "idle": 90, "wa": 1, "st": 0, "swpd": 0, "fre": 815204, "buff": 31996}]
    rows[0] |= {"cache": 764128, "pi": 0, "po": 0, "bi": 4, "bo": 11, "interrupts": 52, "cs": 97}
    stamp = round(at.timestamp() * 1000)
    sample = Sample("vmstat", server_id, stamp, rows, "vmstat -n 2", RAW, "linux/1;stream", "c", "s", 1)
    value, headers = wire.encode(FAMILIES["vmstat"], sample)
    producer = stream.Producer(bootstrap, "test")
    producer.send("hps.vmstat", wire.key(server_id), value, headers)
    assert producer.flush(10) == 0
    producer.close()
    landing.run_window(
        dsn=dsn,
        bootstrap=bootstrap,
        run_id="run-of-the-test",
        window_s=30,
        batch_interval_s=0.1,
        stop=lambda: behind(dsn, bootstrap) == 0,
    )
    path = f"/api/provenance/vmstat/{server_id}/{at.isoformat(timespec='milliseconds').replace('+00:00', 'Z')}/"
    with web.viewer as client:
        answer = client.get(path)
        assert answer.status_code == 200, answer.text
        found = answer.json()
        assert (found["raw"], found["command"], found["exit_code"]) == (RAW, "vmstat -n 2", None)
        assert found["run_url"] == "http://127.0.0.1:9/runs/run-of-the-test"
        assert found["reparsed"]["equal"] is True
        assert (found["schema"], found["seq"], found["predecessor"]) == ("vmstat.v1", 1, None)
        assert found["rows"][0]["fre"] == 815204
        early = f"/api/provenance/vmstat/{server_id}/{(at - timedelta(seconds=9)).strftime('%Y-%m-%dT%H:%M:%SZ')}/"
        assert client.get(early).status_code == 404
        assert client.get(early, params={"within": 60}).json()["timestamp"] == found["timestamp"]
        assert client.get(f"/api/provenance/gpu/{server_id}/2026-03-01T00:00:00Z/").status_code == 422
        assert client.get("/api/provenance/vmstat/999999/2026-03-01T00:00:00Z/").status_code == 404
