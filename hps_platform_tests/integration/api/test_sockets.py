"""WebSockets: refused without sign-in or from another site, and what a live view is sent."""

import asyncio
import json
import time
from collections.abc import Callable
from typing import Any

import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from dash_app import session
from dash_app.guard import TRUST_S
from hps_platform import stream
from hps_platform.metrics import FAMILIES
from hps_platform.metrics.sample import Sample
from hps_platform.metrics.wire import encode, key
from hps_platform_tests.integration.api.conftest import Web

TIMEOUT_S = 20.0


def address(web: Web, path: str) -> str:
    return web.url.replace("http:", "ws:") + path


def cookie(web: Web) -> str:
    with web.signed_in("viewer") as browser:
        return f"{session.COOKIE}={browser.cookies[session.COOKIE]}"


def produce(web: Web, server_id: int, count: int, *, family: str = "vmstat") -> list[int]:
    """Samples of now, a millisecond apart; their moments."""
    shown, base = FAMILIES[family], int(time.time() * 1000)
    producer = stream.Producer(web.settings.bootstrap, "test")
    for n in range(count):
        row = {"us": float(n)} if family == "vmstat" else {"used_pct": float(n)}
        sample = Sample(family, server_id, base + n, [row], family, "", "t/1", "c", "s", n + 1)
        producer.send(shown.topic, key(server_id), *encode(shown, sample))
    assert producer.flush(10) == 0
    producer.close()
    return [base + n for n in range(count)]


async def subscribed(web: Web, count: int) -> None:
    hub = web.app.state.data.hub
    deadline = time.monotonic() + TIMEOUT_S
    while hub.subscribers < count:
        assert time.monotonic() < deadline, "nobody subscribes"
        await asyncio.sleep(0.02)


async def receive(socket: ClientConnection, count: int) -> list[dict[str, Any]]:
    async with asyncio.timeout(TIMEOUT_S):
        return [json.loads(await socket.recv()) for _ in range(count)]


@pytest.mark.parametrize("path", ["/ws/metrics/", "/_dash-ws-callback", "/ws/nothing/"])
@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Authorization": "Token wrong"},
        {"Cookie": f"{session.COOKIE}=wrong"},
    ],
)
def test_no_socket_without_sign_in(web: Web, path: str, headers: dict[str, str]) -> None:
    async def attempt() -> None:
        async with connect(address(web, path), additional_headers=headers, origin=web.url):  # type: ignore[arg-type]
            pass

    with pytest.raises(InvalidStatus) as refused:
        asyncio.run(attempt())
    assert refused.value.response.status_code == 403


@pytest.mark.parametrize("path", ["/ws/metrics/", "/_dash-ws-callback"])
@pytest.mark.parametrize("origin", ["https://evil.example", "null", None])
def test_no_socket_for_another_sites_page(web: Web, path: str, origin: str | None) -> None:
    async def attempt() -> None:
        headers = {"Cookie": cookie(web)}
        async with connect(address(web, path), additional_headers=headers, origin=origin):  # type: ignore[arg-type]
            pass

    with pytest.raises(InvalidStatus) as refused:
        asyncio.run(attempt())
    assert refused.value.response.status_code == 403


def test_pages_of_ours_may_open_dashs_socket(web: Web) -> None:
    async def attempt() -> None:
        headers = {"Cookie": cookie(web)}
        async with connect(address(web, "/_dash-ws-callback"), additional_headers=headers, origin=web.url) as socket:  # type: ignore[arg-type]
            await socket.send(json.dumps({"type": "heartbeat"}))
            assert json.loads(await asyncio.wait_for(socket.recv(), TIMEOUT_S)) == {"type": "heartbeat_ack"}

    asyncio.run(attempt())


def follow(web: Web, query: str, story: Callable[[ClientConnection], Any], token: str | None = None) -> None:
    async def run() -> None:
        headers = {"Authorization": f"Token {token or web.viewer_token}"}
        async with connect(address(web, f"/ws/metrics/{query}"), additional_headers=headers) as socket:
            await story(socket)

    asyncio.run(run())


def test_each_sample_is_sent_once(web: Web, server_id: int) -> None:
    async def story(socket: ClientConnection) -> None:
        await subscribed(web, 1)
        await asyncio.to_thread(produce, web, server_id, 3, family="memory")
        await asyncio.to_thread(produce, web, server_id + 1, 3)
        moments = await asyncio.to_thread(produce, web, server_id, 50)
        received = await receive(socket, 50)
        assert [message["timestamp"] for message in received] == moments
        first = received[0]
        assert set(first) == {"metric", "server_id", "timestamp", "rows", "produced_ms"}
        assert (first["metric"], first["server_id"]) == ("vmstat", server_id)
        assert first["rows"] == [{"server_id": server_id, "timestamp": moments[0], "us": 0.0}]
        assert abs(first["produced_ms"] - time.time() * 1000) < 60_000
        await asyncio.to_thread(produce, web, server_id, 1)
        assert (await receive(socket, 1))[0]["rows"][0]["us"] == 0.0

    follow(web, f"?server_id={server_id}&metric=vmstat", story)


def test_all_servers_and_metrics_unless_some_are_chosen(web: Web, server_id: int) -> None:
    async def story(socket: ClientConnection) -> None:
        await subscribed(web, 1)
        await asyncio.to_thread(produce, web, server_id, 1, family="memory")
        await asyncio.to_thread(produce, web, server_id, 1)
        received = await receive(socket, 2)
        assert {message["metric"] for message in received} == {"vmstat", "memory"}

    follow(web, "", story)


@pytest.mark.parametrize(
    ("query", "reason"),
    [
        ("?metric=gpu", "no metric family 'gpu'"),
        ("?server_id=999999", "there is no server 999999"),
        ("?server_id=x", "server_id 'x'"),
    ],
)
def test_a_question_that_has_no_answer_is_told_why(web: Web, query: str, reason: str) -> None:
    async def story(socket: ClientConnection) -> None:
        with pytest.raises(ConnectionClosed):
            await asyncio.wait_for(socket.recv(), TIMEOUT_S)
        assert socket.close_code == 4422
        assert reason in (socket.close_reason or "")

    follow(web, query, story)


def test_signing_out_ends_the_socket(web: Web, server_id: int) -> None:
    async def story() -> None:
        with web.signed_in("viewer", afresh=True) as browser:
            headers = {"Cookie": f"{session.COOKIE}={browser.cookies[session.COOKIE]}"}
            path = f"/ws/metrics/?server_id={server_id}"
            async with connect(address(web, path), additional_headers=headers, origin=web.url) as socket:  # type: ignore[arg-type]
                await subscribed(web, 1)
                await asyncio.to_thread(produce, web, server_id, 1)
                assert len(await receive(socket, 1)) == 1
                assert (await asyncio.to_thread(browser.post, "/logout")).status_code == 303
                await asyncio.to_thread(produce, web, server_id, 1)
                with pytest.raises(ConnectionClosed):
                    await asyncio.wait_for(socket.recv(), TIMEOUT_S + TRUST_S)
                assert socket.close_code == 4401

    asyncio.run(story())
