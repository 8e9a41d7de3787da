"""Incidents over REST: listed, explained, handled by administrators, and why there are none."""

from datetime import timedelta

from hps_platform import detection
from hps_platform_tests.integration.api.conftest import Web
from hps_platform_tests.integration.detection.scored import START, at, score

API = "/api/incidents"


def test_an_incident_and_its_life(web: Web, server_id: int) -> None:
    score(web.db, server_id, {3: -0.4, 4: -0.5, 30: -0.7}, until=40)
    detection.refresh_incidents(web.db, now=at(50))
    with web.viewer as client:
        listed = client.get(f"{API}/", params={"server_id": server_id, "page_size": 1}).json()
        assert (listed["count"], listed["previous"]) == (2, None)
        assert "page=2" in listed["next"]
        last = listed["results"][0]
        assert (last["state"], last["severity"], last["minutes"]) == ("open", "high", 1)
        assert (last["started_at"], last["ended_at"]) == ("2026-03-02T10:30:00Z", "2026-03-02T10:31:00Z")
        assert last["sentence"] == "Busiest disk 98.0 %, usually 12.0 to 30.0 % at this hour."
        assert [part["server_id"] for part in last["servers"]] == [server_id]
        earlier = f"{API}/?server_id={server_id}&start=2026-03-02T10:00:00Z&end=2026-03-02T10:29:00Z"
        (first,) = client.get(earlier).json()["results"]
        assert first["id"] != last["id"]
        assert client.get(f"{earlier}&state=resolved").json()["count"] == 0
        shown = client.get(f"{API}/{last['id']}/").json()
        assert [one["id"] for one in shown["explanation"]["similar"]] == [first["id"]]
        assert shown["causes"][0] == {
            "column": "disk_busy_pct",
            "weight": 0.8,
            "observed": 98.0,
            "usual_low": 12.0,
            "usual_high": 30.0,
        }
        refused = client.post(f"{API}/{last['id']}/acknowledge/")
        assert (refused.status_code, refused.json()["detail"]) == (
            403,
            "Only administrators may acknowledge an incident.",
        )
        day = START.date().isoformat()
        (counted,) = client.get(f"{API}/daily/?start={day}&end={day}&server_id={server_id}").json()["results"]
        assert counted == {
            "day": day,
            "servers": 1,
            "minutes": 3,
            "incidents": 2,
            "acknowledged": 0,
            "false_alarms": 0,
        }

    with web.admin as client:
        path = f"{API}/{last['id']}"
        assert client.post(f"{path}/acknowledge/", json={"reason": "on it"}).json()["state"] == "acknowledged"
        again = client.post(f"{path}/acknowledge/")
        assert (again.status_code, again.headers["content-type"]) == (409, "application/problem+json")
        assert client.post(f"{path}/resolve/").json()["state"] == "resolved"
        assert client.post(f"{path}/false-alarm/").json()["state"] == "false_alarm"
        (learnt,) = client.get(f"{API}/learnt/", params={"server_id": server_id}).json()["results"]
        assert (learnt["metrics"], learnt["demanded_score"]) == (["disk_busy_pct"], -0.75)
        assert client.post(f"{path}/reopen/").json()["state"] == "open"
        assert client.delete(f"{API}/learnt/{learnt['id']}/").status_code == 404
        life = [(one["kind"], one["actor"]) for one in client.get(f"{path}/").json()["events"]]
        assert life == [
            ("opened", None),
            *((kind, "admin") for kind in ("acknowledged", "resolved", "false_alarm", "reopened")),
        ]
        for refused_path, status in (
            ("/?state=closed", 422),
            ("/?server_id=999999", 404),
            ("/999999/", 404),
            ("/daily/?start=2020-01-01", 422),
        ):
            assert client.get(f"{API}{refused_path}").status_code == status, refused_path


def test_a_server_without_samples_is_told_so(web: Web, server_id: int) -> None:
    with web.viewer as client:
        (one,) = client.get(f"{API}/coverage/", params={"server_id": server_id}).json()["results"]
        assert one["state"] == "silent"
        assert one["text"] == "There are no samples of the last 14 days: none has come yet."
        assert client.get(f"{API}/", params={"server_id": server_id}).json()["results"] == []
        query = {"start": (START + timedelta(days=1)).isoformat(), "end": START.isoformat()}
        assert client.get(f"{API}/", params=query).status_code == 422
