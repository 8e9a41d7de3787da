"""The registry over REST: fields, secrets that never come back, pages, and every refusal."""

import socket
import threading
import uuid
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from hps_platform.store import events, servers
from hps_platform_tests.integration.api.conftest import Web


def fields(**more: Any) -> dict[str, Any]:
    return {"hostname": f"host-{uuid.uuid4().hex[:8]}", "ssh_username": "monitor", "ip_address": "192.0.2.7", **more}


def test_a_server_from_beginning_to_end(web: Web) -> None:
    with web.admin as client:
        made = client.post("/api/servers/", json=fields(ssh_password="geheim!", tags=["b", "a"], ssh_port="2222"))
        assert made.status_code == 201, made.text
        server = made.json()
        path = f"/api/servers/{server['id']}/"
        assert made.headers["location"] == path
        assert "geheim!" not in made.text
        assert server["has_password"] is True
        assert server["has_private_key"] is False
        assert server["ssh_port"] == 2222
        assert server["tags"] == ["a", "b"]
        assert server["status"] == "pending_host_key"
        assert client.get(path).json() == server

        pin = "SHA256:" + "A" * 43
        changed = client.patch(path, json={"host_key": pin, "operating_system": "aix"})
        assert changed.status_code == 200, changed.text
        assert changed.json()["host_key"] == pin
        assert changed.json()["has_password"] is True
        assert changed.json()["tags"] == ["a", "b"]

        assert client.patch(path, json={"ssh_password": ""}).json()["has_password"] is False
        assert client.delete(path).status_code == 204
        assert client.get(path).status_code == 404
        assert client.delete(path).status_code == 404


def test_put_replaces_all_but_secrets_and_takes_an_answer_back(web: Web) -> None:
    with web.admin as client:
        server = client.post("/api/servers/", json=fields(ssh_password="geheim!", tags=["x"], owner="unix")).json()
        path = f"/api/servers/{server['id']}/"
        same = client.put(path, json=server)
        assert same.status_code == 200, same.text
        assert {**same.json(), "updated_at": ""} == {**server, "updated_at": ""}
        bare = client.put(path, json={"hostname": server["hostname"], "ssh_username": "other"}).json()
        assert bare["ssh_username"] == "other"
        assert bare["tags"] == []
        assert bare["owner"] is None
        assert bare["ip_address"] is None
        assert bare["has_password"] is True
        assert client.put(path, json={"hostname": "x"}).status_code == 422
        client.delete(path)


def test_a_taken_hostname_is_a_conflict(web: Web, server_id: int) -> None:
    with web.admin as client:
        taken = client.get(f"/api/servers/{server_id}/").json()["hostname"]
        answer = client.post("/api/servers/", json=fields(hostname=taken.upper()))
        assert answer.status_code == 409
        assert "already" in answer.json()["detail"]


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"ssh_port": 0}, "ssh_port"),
        ({"ssh_port": 70000}, "ssh_port"),
        ({"ssh_port": "many"}, "ssh_port"),
        ({"ip_address": "10.0.0"}, "ip_address"),
        ({"hostname": "a b"}, "hostname"),
        ({"hostname": None}, "hostname"),
        ({"hostname": "x\0y"}, "hostname"),
        ({"operating_system": "beos"}, "operating_system"),
        ({"host_key": "abc"}, "host_key"),
        ({"ssh_private_key": "not a key"}, "ssh_private_key"),
        ({"tags": "a"}, "tags"),
        ({"settings": {"intervals": {"vmstat": 0}}}, "vmstat"),
        ({"is_active": "perhaps"}, "is_active"),
        ({"password": "x"}, "password"),
    ],
)
def test_bad_fields_are_named(web: Web, server_id: int, change: dict[str, Any], word: str) -> None:
    with web.admin as client:
        for answer in (
            client.patch(f"/api/servers/{server_id}/", json=change),
            client.post("/api/servers/", json=fields(**change)),
        ):
            assert answer.status_code == 422, answer.text
            assert answer.headers["content-type"] == "application/problem+json"
            assert word in answer.json()["detail"]


def test_a_refused_secret_is_not_repeated(web: Web) -> None:
    with web.admin as client:
        answer = client.post("/api/servers/", json=fields(ssh_private_key="-----BEGIN geheim", ssh_password=17))
        assert answer.status_code == 422
        assert "geheim" not in answer.text


def test_pages_of_servers(web: Web) -> None:
    with web.admin as client:
        added = [client.post("/api/servers/", json=fields(hostname=f"page-{n}")).json()["id"] for n in range(3)]
        first = client.get("/api/servers/?page_size=2").json()
        assert set(first) == {"count", "next", "previous", "results"}
        assert first["previous"] is None
        names, answer = [server["hostname"] for server in first["results"]], first
        while answer["next"]:
            assert answer["next"].startswith(f"{web.url}/api/servers/?page=")
            answer = client.get(answer["next"]).json()
            names += [server["hostname"] for server in answer["results"]]
        assert len(names) == first["count"] >= 3
        assert names == sorted(names, key=str.lower)
        beyond = client.get("/api/servers/?page=999").json()
        assert beyond["results"] == []
        assert beyond["next"] is None
        for query in ("page=0", "page_size=0", "page_size=1001", "page=x"):
            assert client.get(f"/api/servers/?{query}").status_code == 422, query
        for number in added:
            client.delete(f"/api/servers/{number}/")


@pytest.mark.parametrize("method", ["GET", "PUT", "PATCH", "DELETE"])
def test_an_unknown_server_is_404(web: Web, method: str) -> None:
    with web.admin as client:
        answer = client.request(method, "/api/servers/999999/", json=fields() if method == "PUT" else {"tags": []})
        assert answer.status_code == 404
        assert answer.json()["detail"] == "there is no server 999999"
        for more in ("health/", "test-connection/"):
            verb = "POST" if more.startswith("test") else "GET"
            assert client.request(verb, f"/api/servers/999999/{more}").status_code == 404


@pytest.mark.parametrize("number", ["0", "-1", "x", "1.5", "9" * 30])
def test_what_is_no_id_is_422(web: Web, number: str) -> None:
    with web.admin as client:
        assert client.get(f"/api/servers/{number}/").status_code == 422


def test_only_administrators_change_servers(web: Web, server_id: int) -> None:
    with web.viewer as client:
        assert client.get(f"/api/servers/{server_id}/").status_code == 200
        for answer in (
            client.post("/api/servers/", json=fields()),
            client.patch(f"/api/servers/{server_id}/", json={"tags": []}),
            client.put(f"/api/servers/{server_id}/", json=fields()),
            client.delete(f"/api/servers/{server_id}/"),
            client.post(f"/api/servers/{server_id}/test-connection/"),
        ):
            assert answer.status_code == 403
            assert answer.json()["detail"].startswith("Only administrators may")


def test_health_of_a_server_that_was_never_seen(web: Web, server_id: int) -> None:
    with web.admin as client:
        health = client.get(f"/api/servers/{server_id}/health/").json()
    assert health["server_id"] == server_id
    assert health["status"] == "pending_host_key"
    assert health["last_seen_at"] is None
    assert (health["plan"], health["facts"], health["clock_offset_s"]) == ([], {}, None)
    assert health["availability"]["available_pct"] is None
    assert len(health["availability"]["days"]) == 30
    assert {family["metric"] for family in health["families"]} >= {"vmstat", "process", "memory"}
    assert not any(family["fresh"] for family in health["families"])


def test_paths_without_their_slash(web: Web) -> None:
    with web.admin as client:
        answer = client.get("/api/servers?page_size=2")
        assert (answer.status_code, answer.headers["location"]) == (307, "/api/servers/?page_size=2")
        posted = client.post("/api/servers", json=fields())
        assert posted.status_code == 404
        assert "the path is /api/servers/" in posted.json()["detail"]
        unknown = client.get("/api/nothing/at/all")
        assert unknown.status_code == 404
        assert unknown.headers["content-type"] == "application/problem+json"
        assert client.get("/api/").status_code == 404
        wrong_method = client.post("/api/metrics/vmstat/")
        assert wrong_method.status_code == 405
        assert wrong_method.headers["content-type"] == "application/problem+json"


def test_health_shows_plan_and_availability(web: Web, server_id: int) -> None:
    now = datetime.now(UTC)
    line = {
        **{"family": "filesystem", "command": "df -kP", "interval_s": 300, "streamed": False, "overridden": False},
        **{"parser": "linux/1", "state": "quarantined", "reason": "no filesystem", "first_lines": "Belegung"},
    }
    states = [("up", 40), ("unreachable", 0.02), ("up", 0.01)]
    with web.db.connection() as conn:
        servers.planned(conn, {server_id: [line]})
        servers.recognised(
            conn, server_id, {"operating_system": "linux", "version": "12", "architecture": "x86_64"}, -2.5
        )
        events.record(
            conn,
            [
                events.Event(server_id, now - timedelta(days=ago), "state", state, {"state": state})
                for state, ago in states
            ],
        )
    with web.viewer as client:
        health = client.get(f"/api/servers/{server_id}/health/").json()
    assert health["plan"] == [line]
    assert (health["clock_offset_s"], health["facts"]["version"]) == (-2.5, "12")
    assert 99.9 < health["availability"]["available_pct"] < 100


def test_hosts_of_a_network_are_proposed_to_administrators(web: Web) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]

        def serve() -> None:
            with listener.accept()[0] as sock:
                sock.sendall(b"SSH-2.0-OpenSSH_9.6 FreeBSD-20240701\r\n")
                assert sock.recv(1) == b""

        thread = threading.Thread(target=serve)
        thread.start()
        with web.admin as client:
            answer = client.post("/api/servers/discover/", json={"cidr": "127.0.0.1/32", "port": port})
        thread.join(10)
    assert answer.status_code == 200, answer.text
    body = answer.json()
    (found,) = body.pop("results")
    assert body == {"count": 1}
    assert {key: found[key] for key in ("address", "port", "operating_system", "registered", "host_keys")} == {
        "address": "127.0.0.1",
        "port": port,
        "operating_system": "freebsd",
        "registered": None,
        "host_keys": [],
    }
    with web.admin as client:
        refused = client.post("/api/servers/discover/", json={"cidr": "10.0.0.0/8"})
        assert refused.status_code == 422
        assert "at most 4,096" in refused.json()["detail"]
        assert client.post("/api/servers/discover/", json={"cidr": "x"}).status_code == 422
    with web.viewer as client:
        assert client.post("/api/servers/discover/", json={"cidr": "127.0.0.1/32"}).status_code == 403
