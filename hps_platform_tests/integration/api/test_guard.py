"""Who may come in: the list of all routes, each proven to refuse strangers; hosts, origins, sizes, headers."""

from collections.abc import Iterator

import httpx
import pytest
from fastapi.routing import APIRoute

from dash_app import session
from dash_app.guard import MAX_BODY, OPEN
from hps_platform_tests.integration.api.conftest import PASSWORD, Web
from hps_platform_tests.unit.api.routes import concrete, flat, methods_and_paths

# Every route of ours and whether it needs credentials. A change of this list is a change of what strangers can reach.
ROUTES = """
DELETE  /api/anomaly-detection/thresholds/{threshold_id}/  guarded
DELETE  /api/incidents/learnt/{learnt_id}/                 guarded
DELETE  /api/servers/{server_id}/                          guarded
GET     /api/anomaly-detection/attribution/                guarded
GET     /api/anomaly-detection/history/                    guarded
GET     /api/anomaly-detection/plot-data/                  guarded
GET     /api/anomaly-detection/runs/                       guarded
GET     /api/anomaly-detection/thresholds/                 guarded
GET     /api/anomaly-detection/thresholds/{threshold_id}/  guarded
GET     /api/dead-letters/                                 guarded
GET     /api/dead-letters/{letter_id}/                     guarded
GET     /api/docs                                          guarded
GET     /api/docs/{name}                                   guarded
GET     /api/export/                                       guarded
GET     /api/forecasts/                                    guarded
GET     /api/incidents/                                    guarded
GET     /api/incidents/coverage/                           guarded
GET     /api/incidents/daily/                              guarded
GET     /api/incidents/learnt/                             guarded
GET     /api/incidents/{incident_id}/                      guarded
GET     /api/metrics/filesystems/                          guarded
GET     /api/metrics/historical/                           guarded
GET     /api/metrics/iostat/                               guarded
GET     /api/metrics/lpar/                                 guarded
GET     /api/metrics/memory/                               guarded
GET     /api/metrics/netstat/                              guarded
GET     /api/metrics/processes/                            guarded
GET     /api/metrics/realtime/                             guarded
GET     /api/metrics/vmstat/                               guarded
GET     /api/openapi.json                                  guarded
GET     /api/provenance/{family}/{server_id}/{timestamp}/  guarded
GET     /api/servers/                                      guarded
GET     /api/servers/{server_id}/                          guarded
GET     /api/servers/{server_id}/health/                   guarded
GET     /health                                            open
GET     /health/                                           open
GET     /login                                             open
GET     /login/icon.svg                                    open
GET     /login/sign-in.css                                 open
GET     /metrics                                           guarded
GET     /metrics/                                          guarded
GET     /ready                                             open
GET     /ready/                                            open
PATCH   /api/anomaly-detection/thresholds/{threshold_id}/  guarded
PATCH   /api/servers/{server_id}/                          guarded
POST    /api/anomaly-detection/                            guarded
POST    /api/anomaly-detection/thresholds/                 guarded
POST    /api/auth/token/                                   open
POST    /api/dead-letters/{letter_id}/replay/              guarded
POST    /api/incidents/{incident_id}/acknowledge/          guarded
POST    /api/incidents/{incident_id}/false-alarm/          guarded
POST    /api/incidents/{incident_id}/reopen/               guarded
POST    /api/incidents/{incident_id}/resolve/              guarded
POST    /api/servers/                                      guarded
POST    /api/servers/discover/                             guarded
POST    /api/servers/{server_id}/test-connection/          guarded
POST    /login                                             open
POST    /logout                                            guarded
PUT     /api/anomaly-detection/thresholds/{threshold_id}/  guarded
PUT     /api/servers/{server_id}/                          guarded
SOCKET  /ws/metrics/                                       guarded
"""


def test_the_list_of_routes_is_complete(web: Web) -> None:
    listed = {(line.split()[0], line.split()[1]) for line in ROUTES.split("\n") if line}
    ours = {
        (method, path)
        for method, path in methods_and_paths(web.app)
        if not path.startswith(("/_dash", "/_favicon", "/_reload", "/assets")) and "{path:path}" not in path
    }
    ours -= {(method, path) for method, path in ours if path in ("/", "/api/{rest:path}")}
    assert ours == listed
    opened = {(line.split()[0], line.split()[1]) for line in ROUTES.split("\n") if line.endswith(" open")}
    assert opened == OPEN


def test_every_route_refuses_strangers(web: Web) -> None:
    with web.client() as stranger:
        for method, path in sorted(methods_and_paths(web.app)):
            if (method, path) in OPEN or method == "SOCKET":
                continue
            answer = stranger.request(method, concrete(path))
            assert answer.status_code == 401, f"{method} {path} answers {answer.status_code}"
            assert answer.headers["content-type"] == "application/problem+json"
            assert answer.headers["www-authenticate"] == "Token"


@pytest.mark.parametrize(
    "headers",
    [
        {"Authorization": "Token wrong"},
        {"Authorization": "Token"},
        {"Authorization": "Bearer wrong"},
        {"Authorization": "Basic YWRtaW46YWRtaW4="},
        {"Cookie": f"{session.COOKIE}=wrong"},
        {"Cookie": f"{session.COOKIE}="},
    ],
)
def test_wrong_credentials_are_refused(web: Web, headers: dict[str, str]) -> None:
    with web.client(headers=headers) as client:
        assert client.get("/api/servers/").status_code == 401


def test_a_wrong_header_is_not_made_up_for_by_a_cookie(web: Web) -> None:
    with web.signed_in() as browser:
        assert browser.get("/api/servers/").status_code == 200
        assert browser.get("/api/servers/", headers={"Authorization": "Token wrong"}).status_code == 401


@pytest.mark.parametrize(
    ("path", "target"),
    [
        ("/", "/login"),
        ("/history?server=1&x=a b", "/login?next=/history%3Fserver%3D1%26x%3Da%2520b"),
        ("//evil.example/", "/login?next=//evil.example/"),
    ],
)
def test_people_are_led_to_the_sign_in_page(web: Web, path: str, target: str) -> None:
    with web.client(headers={"Accept": "text/html"}) as browser:
        answer = browser.send(browser.build_request("GET", web.url + path.replace(" ", "%20")))
        assert (answer.status_code, answer.headers["location"]) == (303, target)
        assert browser.get("/api/servers/").status_code == 401


def test_other_host_names_are_refused(web: Web) -> None:
    for host, status in (
        ("evil.example", 400),
        ("localhost", 200),
        ("127.0.0.1:80", 200),
        ("[::1]:80", 200),
        ("", 400),
    ):
        with web.client(headers={"Host": host}) as client:
            assert client.get("/health/").status_code == status, host


def test_a_page_of_another_site_changes_nothing(web: Web, server_id: int) -> None:
    path = f"/api/servers/{server_id}/"
    with web.signed_in() as browser:
        for foreign in (
            {"Origin": "https://evil.example"},
            {"Origin": "null"},
            {"Origin": web.url.replace("http:", "https:").replace("127.0.0.1", "localhost")},
            {"Origin": "http://127.0.0.1:1"},
        ):
            assert browser.patch(path, json={"tags": ["x"]}, headers=foreign).status_code == 403, foreign
            assert browser.post("/logout", headers=foreign).status_code == 403
        bare = browser.build_request("PATCH", path, json={"tags": ["x"]})
        del bare.headers["origin"]
        assert browser.send(bare).status_code == 403, "neither Origin nor Referer nor Sec-Fetch-Site"
        bare.headers["sec-fetch-site"] = "cross-site"
        assert browser.send(bare).status_code == 403
        bare.headers["referer"] = "https://evil.example/page"
        assert browser.send(bare).status_code == 403
        assert browser.get(path).json()["tags"] == []
        assert browser.patch(path, json={"tags": ["x"]}).status_code == 200
    with web.client(headers={"Origin": "https://evil.example"}) as stranger:
        assert stranger.post("/login", data={"username": "admin", "password": PASSWORD}).status_code == 403


def test_a_token_needs_no_origin(web: Web, server_id: int) -> None:
    with web.admin as program:
        assert program.patch(f"/api/servers/{server_id}/", json={"tags": ["y"]}).status_code == 200


def test_requests_have_a_limit(web: Web) -> None:
    def chunks() -> Iterator[bytes]:
        for _ in range(MAX_BODY // 65536 + 1):
            yield b" " * 65536

    with web.admin as client:
        told = client.post("/api/servers/", content=b" " * (MAX_BODY + 1))
        assert told.status_code == 413
        assert "4 MiB" in told.json()["detail"]
        untold = client.post("/api/servers/", content=chunks(), headers={"Content-Type": "application/json"})
        assert untold.status_code == 413


def test_every_answer_carries_the_headers(web: Web) -> None:
    with web.signed_in() as browser, web.client() as stranger:
        answers: list[httpx.Response] = [
            browser.get("/"),
            browser.get("/api/servers/"),
            stranger.get("/login"),
            stranger.get("/api/servers/"),
            stranger.get("/health/"),
        ]
    for answer in answers:
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["x-frame-options"] == "DENY"
        assert answer.headers["referrer-policy"] == "same-origin"
        assert "frame-ancestors 'none'" in answer.headers["content-security-policy"]
        assert answer.headers["cache-control"] == "no-store"
        assert "server" not in answer.headers
    assert "'sha256-" in answers[0].headers["content-security-policy"]


def test_the_schema_says_what_is_guarded(web: Web) -> None:
    with web.admin as client:
        schema = client.get("/api/openapi.json").json()
    assert schema["security"] == [{"Token": []}, {"Session": []}]
    unguarded = {
        (method.upper(), path)
        for path, operations in schema["paths"].items()
        for method, operation in operations.items()
        if operation.get("security") == []
    }
    assert unguarded == {("GET", "/health/"), ("GET", "/ready/"), ("POST", "/api/auth/token/")}
    assert "application/problem+json" in schema["paths"]["/api/servers/"]["get"]["responses"]["401"]["content"]
    routes = {
        route.path for route in flat(web.app.router.routes) if isinstance(route, APIRoute) and route.include_in_schema
    }
    assert set(schema["paths"]) == {path for path in routes if not path.startswith("/_dash")}
