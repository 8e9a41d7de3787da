"""A collector inside the test or beside it, on a real database and a real broker, and ways to wait for what it does."""

import asyncio
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import orjson
from cryptography.fernet import Fernet
from psycopg.conninfo import conninfo_to_dict

from hps_platform import stream
from hps_platform.collector import Collector, SpoolLimits
from hps_platform.metrics import FAMILIES, wire
from hps_platform.store import servers
from hps_platform.store.database import Database
from hps_platform.store.secrets import SecretBox
from hps_platform.store.servers import Server
from hps_platform.stream import Record
from hps_platform_tests.integration.ssh.hosts import PASSWORD, ScriptedHost

T = TypeVar("T")


READ_EVERY_S = 0.25
"""Asking a broker where its topics end costs it more than a collector of a few hosts does."""


def eventually(look: Callable[[], T | None], *, within_s: float = 20.0, every_s: float = 0.05) -> T:
    """What `look` returns as soon as that is true; fails with its last answer."""
    deadline = time.monotonic() + within_s
    while True:
        found = look()
        if found:
            return found
        assert time.monotonic() < deadline, f"not within {within_s} s: {look} gave {found!r}"
        threading.Event().wait(every_s)


class Platform:
    """The database and broker that a collector works with, seen from outside of it."""

    def __init__(self, db: Database, bootstrap: str, key: str | None = None) -> None:
        self.db = db
        self.bootstrap = bootstrap
        self.key = key or Fernet.generate_key().decode()
        self.box = SecretBox(self.key)
        self.folder = Path(tempfile.mkdtemp(prefix="collectors-"))
        stream.ensure_topics(bootstrap, partitions=2, replication=1, retention_hours=1)
        self._records: list[Record] = []
        self._reader: stream.RangeReader | None = None
        self._starts = {place: high for place, (_, high) in stream.watermarks(bootstrap, stream.topics()).items()}

    def add(self, name: str, host: ScriptedHost, **fields: Any) -> Server:
        known = {"ip_address": "127.0.0.1", "ssh_port": host.port, "ssh_username": "mon", "ssh_password": PASSWORD}
        return self.add_fields(**{"hostname": name, **known, "host_key": host.public_key, **fields})

    def add_fields(self, **fields: Any) -> Server:
        with self.db.connection() as conn:
            return servers.add_server(conn, self.box, fields)

    def update(self, server: Server, **fields: Any) -> None:
        with self.db.connection() as conn:
            servers.update_server(conn, self.box, server.id, fields)

    def server(self, server: Server) -> Server:
        with self.db.connection() as conn:
            return servers.get_server(conn, server.id)

    def records(self, topic: str) -> list[Record]:
        """All messages of a topic from when this object was made until now; later ones wait for the next call."""
        if self._reader is None:
            self._reader = stream.RangeReader(self.bootstrap, self._starts)
        ends = stream.watermarks(self.bootstrap, stream.topics())
        while any(self._reader.positions()[place] < end for place, (_, end) in ends.items()):
            self._records.extend(self._reader.read(10_000, 0.2))
        return [record for record in self._records if record.topic == topic]

    def samples(self, server: Server, family: str) -> list[Record]:
        return [record for record in self.records(FAMILIES[family].topic) if record.key == wire.key(server.id)]

    def letters(self, server: Server) -> list[dict[str, Any]]:
        found = [orjson.loads(record.value) for record in self.records(wire.DEAD_LETTER_TOPIC)]
        return [letter for letter in found if letter["server_id"] == server.id]

    def wait_for_state(self, server: Server, state: str, *, within_s: float = 20.0) -> Server:
        def look() -> Server | None:
            now = self.server(server)
            return now if now.state == state else None

        return eventually(look, within_s=within_s)

    def wait_for_samples(self, server: Server, family: str, count: int, *, within_s: float = 20.0) -> list[Record]:
        def look() -> list[Record]:
            found = self.samples(server, family)
            return found if len(found) >= count else []

        return eventually(look, within_s=within_s, every_s=READ_EVERY_S)

    def close(self) -> None:
        if self._reader is not None:
            self._reader.close()
        shutil.rmtree(self.folder)


@contextmanager
def running(platform: Platform, *, once: bool = False, folder: Path | None = None) -> Iterator[Collector]:
    """A collector in a thread of its own; stopped at the end, which must take no longer than 3 s."""
    collector = Collector(
        platform.db,
        platform.box,
        stream.Producer(platform.bootstrap, "test"),
        lambda: stream.ensure_topics(platform.bootstrap, partitions=2, replication=1, retention_hours=1),
        SpoolLimits(folder or platform.folder),
        once=once,
    )
    failures: list[BaseException] = []
    loops: list[asyncio.AbstractEventLoop] = []
    begun = threading.Event()

    async def main() -> None:
        loops.append(asyncio.get_running_loop())
        loops[0].call_soon(begun.set)
        await collector.run()

    def work() -> None:
        try:
            asyncio.run(main())
        except BaseException as error:  # noqa: BLE001  told by the test's own thread
            failures.append(error)
            begun.set()

    thread = threading.Thread(target=work)
    thread.start()
    assert begun.wait(10)
    try:
        yield collector
    finally:
        if not once and thread.is_alive():
            loops[0].call_soon_threadsafe(collector.stop)
        started = time.monotonic()
        thread.join(60)
        took = time.monotonic() - started
    assert failures == []
    assert once or took < 3.0, f"stopping took {took:.1f} s"


@contextmanager
def collector_process(platform: Platform, log: Path, *arguments: str) -> Iterator["subprocess.Popen[bytes]"]:
    """`hps --debug collect` as its own process, its words in `log`."""
    dsn = conninfo_to_dict(platform.db.dsn)
    environment = {
        **os.environ,
        "HPS_DATA_DIR": str(log.parent),
        "DATABASE_HOST": str(dsn["host"]),
        "DATABASE_PORT": str(dsn["port"]),
        "POSTGRES_USER": str(dsn["user"]),
        "POSTGRES_PASSWORD": str(dsn["password"]),
        "POSTGRES_DB": str(dsn["dbname"]),
        "KAFKA_BOOTSTRAP_SERVERS": platform.bootstrap,
        "FIELD_ENCRYPTION_KEY": platform.key,
        "HPS_KAFKA_PARTITIONS": "2",
    }
    command = [sys.executable, "-m", "hps_platform.cli", "--debug", "collect", *arguments]
    with log.open("wb") as out:
        process = subprocess.Popen(command, env=environment, stdout=out, stderr=out)
    try:
        yield process
    finally:
        if process.poll() is None:
            process.kill()
        process.wait(10)
