"""The live socket for programs: `/ws/metrics/`. Pages have their own way to the same hub."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

import orjson
from fastapi import APIRouter, WebSocket, WebSocketDisconnect

from dash_app.data import Data
from dash_app.live import Batch
from hps_platform.errors import HpsError, InvalidInput
from hps_platform.metrics import FAMILIES, family

router = APIRouter()

INVALID = 4422
"""Close code for a question that can't be answered; the reason says why."""


@router.websocket("/ws/metrics/")
async def stream_metrics(socket: WebSocket) -> None:
    """`?server_id=&metric=`, each repeatable, all if left out; the guard has checked the credentials.

    Each message is one sample: `{"metric", "server_id", "timestamp", "rows", "produced_ms"}`, times in ms.
    """
    data: Data = socket.app.state.data
    await socket.accept()
    try:
        metrics, servers = _chosen(socket)
        for server_id in servers or ():
            await asyncio.to_thread(data.server, server_id)
    except HpsError as error:
        await socket.close(INVALID, str(error)[:120])
        return
    sending = asyncio.create_task(_send(socket, data.live(metrics, servers)))
    listening = asyncio.create_task(_until_gone(socket))
    _, open_ones = await asyncio.wait({sending, listening}, return_when=asyncio.FIRST_COMPLETED)
    for task in open_ones:
        task.cancel()
    for task in (sending, listening):
        with contextlib.suppress(asyncio.CancelledError, WebSocketDisconnect):
            await task


def _chosen(socket: WebSocket) -> tuple[frozenset[str], frozenset[int] | None]:
    query = socket.query_params
    metrics = {word for value in query.getlist("metric") for word in value.split(",") if word}
    servers = {word for value in query.getlist("server_id") for word in value.split(",") if word}
    for name in metrics:
        family(name)
    for word in servers:
        if not (word.isascii() and word.isdigit() and 1 <= int(word) < 2**63):
            raise InvalidInput(f"server_id {word[:40]!r} is not the id of a server")
    return frozenset(metrics or FAMILIES), frozenset(map(int, servers)) or None


async def _send(socket: WebSocket, batches: AsyncIterator[Batch]) -> None:
    async for batch in batches:
        message = {
            "metric": batch.metric,
            "server_id": batch.server_id,
            "timestamp": batch.timestamp_ms,
            "rows": batch.rows,
            "produced_ms": batch.produced_ms,
        }
        await socket.send_text(orjson.dumps(message).decode())
    await socket.close(1001, "the platform is shutting down")


async def _until_gone(socket: WebSocket) -> None:
    """Reads and forgets what the client sends, until it leaves."""
    while True:
        await socket.receive_text()
