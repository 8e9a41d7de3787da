"""The hub on a real broker that goes away and comes back: every sample once."""

import asyncio
import contextlib
import time
from collections.abc import Callable

from dash_app.live import Hub
from hps_platform import stream
from hps_platform.metrics import FAMILIES
from hps_platform.metrics.sample import Sample
from hps_platform.metrics.wire import encode, key
from hps_platform.stack.kafka import Kafka

TIMEOUT_S = 60.0
SERVERS = (910_001, 910_002, 910_003)
"""Of nobody else: a hub begins a little before now, where the topics of the session's broker have other rows."""


def produce(bootstrap: str, first: int, count: int) -> None:
    family = FAMILIES["vmstat"]
    producer = stream.Producer(bootstrap, "test")
    for n in range(first, first + count):
        sample = Sample(
            "vmstat", SERVERS[n % 3], int(time.time() * 1000) + n, [{"us": n}], "vmstat", "", "t", "c", "s", n
        )
        producer.send(family.topic, key(sample.server_id), *encode(family, sample))
    assert producer.flush(30) == 0
    producer.close()


async def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + TIMEOUT_S
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        await asyncio.sleep(0.05)


def test_a_restart_of_kafka_loses_and_repeats_nothing(broker: Kafka) -> None:
    received: list[float] = []

    async def collect(hub: Hub) -> None:
        async for batch in hub.subscribe({"vmstat"}, SERVERS):
            received.extend(row["us"] for row in batch.rows)

    async def story(hub: Hub) -> None:
        collecting = asyncio.create_task(collect(hub))
        await until(lambda: hub.subscribers == 1 and hub.connected)
        await asyncio.to_thread(produce, broker.bootstrap, 0, 20)
        await until(lambda: len(received) >= 20)
        await asyncio.to_thread(broker.stop)
        await asyncio.to_thread(broker.start)
        await asyncio.to_thread(produce, broker.bootstrap, 20, 20)
        await until(lambda: len(received) >= 40)
        await asyncio.to_thread(produce, broker.bootstrap, 1000, 1)
        await until(lambda: 1000 in received)
        collecting.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await collecting

    stream.ensure_topics(broker.bootstrap, partitions=3, replication=1, retention_hours=1)
    hub = Hub(broker.bootstrap)
    hub.start()
    try:
        asyncio.run(story(hub))
    finally:
        hub.stop()
    assert sorted(received) == [*range(40), 1000]
