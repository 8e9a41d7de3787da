"""Signing in and out: the page, the token login, wrong passwords, pauses, and sessions that end."""

import re
import uuid
from collections.abc import Iterator

import httpx
import pytest

from dash_app import session
from hps_platform import access
from hps_platform_tests.integration.api.conftest import PASSWORD, Web


@pytest.fixture
def username(web: Web) -> str:
    """An account of the test's own."""
    name = f"user-{uuid.uuid4().hex[:8]}"
    access.add_user(web.db, name, PASSWORD)
    return name


@pytest.fixture
def browser(web: Web) -> Iterator[httpx.Client]:
    with web.client(headers={"Origin": web.url, "Accept": "text/html"}) as client:
        yield client


def submit(browser: httpx.Client, username: str, password: str, path: str = "/login") -> httpx.Response:
    return browser.post(path, data={"username": username, "password": password})


def test_the_page_is_whole_without_anything_else(browser: httpx.Client) -> None:
    page = browser.get("/login")
    assert page.status_code == 200
    assert "<script" not in page.text
    for path in re.findall(r'(?:href|src)="([^"]+)"', page.text):
        assert browser.get(path).status_code == 200, path
    assert "prefers-color-scheme: dark" in browser.get("/login/sign-in.css").text


def test_signing_in_leads_to_where_one_was_going(web: Web, browser: httpx.Client, username: str) -> None:
    answer = submit(browser, username.upper(), PASSWORD, "/login?next=/history%3Fserver%3D1")
    assert (answer.status_code, answer.headers["location"]) == (303, "/history?server=1")
    cookie = answer.headers["set-cookie"]
    assert cookie.startswith(f"{session.COOKIE}=")
    for word in ("HttpOnly", "SameSite=lax", "Path=/", f"Max-Age={web.settings.session_hours * 3600}"):
        assert word in cookie
    assert browser.get("/api/servers/").status_code == 200
    assert browser.get("/login").headers["location"] == "/"


def test_nobody_is_led_elsewhere(browser: httpx.Client, username: str) -> None:
    answer = submit(browser, username, PASSWORD, "/login?next=//evil.example/")
    assert answer.headers["location"] == "/"


@pytest.mark.parametrize("password", ["wrong", "", "\0", "ü" * 2000])
def test_a_wrong_password_is_said_and_nothing_else(browser: httpx.Client, username: str, password: str) -> None:
    known = submit(browser, username, password)
    unknown = submit(browser, "nobody<script>", password)
    for answer in (known, unknown):
        assert answer.status_code == 401
        assert "The user name or the password is wrong." in answer.text
        assert "set-cookie" not in answer.headers
        assert "<script" not in answer.text
    assert f'value="{username}"' in known.text


def test_what_is_no_form_is_refused(browser: httpx.Client) -> None:
    assert browser.post("/login", json={"username": "admin", "password": PASSWORD}).status_code == 415


def test_signing_out_ends_the_session_everywhere(web: Web, browser: httpx.Client, username: str) -> None:
    submit(browser, username, PASSWORD)
    kept = browser.cookies[session.COOKIE]
    assert browser.post("/logout").headers["location"] == "/login"
    assert session.COOKIE not in browser.cookies
    with web.client(headers={"Cookie": f"{session.COOKIE}={kept}"}) as thief:
        assert thief.get("/api/servers/").status_code == 401


def test_failures_lead_to_a_pause_for_that_account(web: Web, browser: httpx.Client, username: str) -> None:
    for _ in range(access.FREE_ATTEMPTS):
        assert submit(browser, username, "wrong").status_code == 401
    paused = submit(browser, username, PASSWORD)
    assert paused.status_code == 429
    assert "Too many failed sign-ins. Try again in" in paused.text
    with web.client() as program:
        told = program.post("/api/auth/token/", json={"username": username, "password": PASSWORD})
        assert told.status_code == 429
        assert 1 <= int(told.headers["retry-after"]) <= access.FIRST_PAUSE_S
        other = program.post("/api/auth/token/", json={"username": "viewer", "password": PASSWORD})
        assert other.status_code == 200


def test_a_token_for_a_password(web: Web, username: str) -> None:
    with web.client() as program:
        answer = program.post("/api/auth/token/", json={"username": username, "password": PASSWORD})
        assert answer.status_code == 200
        assert list(answer.json()) == ["token"]
        program.headers["Authorization"] = f"Token {answer.json()['token']}"
        assert program.get("/api/servers/").status_code == 200
        program.headers["Authorization"] = f"token {answer.json()['token']}"
        assert program.get("/api/servers/").status_code == 200


def test_a_wrong_password_gets_no_token(web: Web, username: str) -> None:
    with web.client() as program:
        for name in (username, "nobody", "\ud800".encode("utf-16", "surrogatepass").decode("utf-16", "replace"), ""):
            answer = program.post("/api/auth/token/", json={"username": name, "password": "wrong"})
            assert answer.status_code == 401
            assert answer.json() == {
                "type": "about:blank",
                "title": "Unauthorized",
                "status": 401,
                "detail": "The user name or the password is wrong.",
            }


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b'{"username": "admin"}', b'{"username": 1, "password": null}'])
def test_a_malformed_token_login_is_422(web: Web, body: bytes) -> None:
    with web.client(headers={"Content-Type": "application/json"}) as program:
        answer = program.post("/api/auth/token/", content=body)
    assert answer.status_code == 422
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["detail"]


def test_a_lone_surrogate_is_a_wrong_password(web: Web) -> None:
    with web.client(headers={"Content-Type": "application/json"}) as program:
        body = rb'{"username": "ad\ud800min", "password": "\ud800"}'
        assert program.post("/api/auth/token/", content=body).status_code in (401, 422)


def test_a_disabled_account_is_out(web: Web, browser: httpx.Client, username: str) -> None:
    token = access.issue_token(web.db, username, name="test")
    access.set_active(web.db, username, active=False)
    assert submit(browser, username, PASSWORD).status_code == 401
    with web.client(token) as program:
        assert program.get("/api/servers/").status_code == 401
