"""The floor under `bench collect`: as many streaming channels, whose output is read and thrown away.

`python -m hps_platform.stack.bench.floor FLEET SECONDS` prints a JSON object. A process of its own, like the collector.
"""

import asyncio
import json
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import psutil
from pydantic import SecretStr

from hps_platform import dialects
from hps_platform.collector.commands import Shell
from hps_platform.ssh import Channel, Reactor, Session, Target

_LOGINS = 16
_SETTLE_S = 5.0
INTERVAL_S = 2.0


def streams(system: str) -> list[str]:
    """The commands that run on."""
    intervals = {"vmstat": INTERVAL_S, "iostat": INTERVAL_S}
    return [planned.command for planned in dialects.plan(system, intervals) if planned.stream]


def target(fleet: dict[str, Any], host: dict[str, Any], key: SecretStr) -> Target:
    """How to log in to a host of the fleet."""
    return Target(host["address"], host["port"], fleet["username"], private_key=key, host_key=host["host_key"])


async def measure(fleet: dict[str, Any], key: SecretStr, seconds: float) -> dict[str, float]:
    """CPU share of a core, and how much was thrown away. `key` opens the fleet."""
    threads = ThreadPoolExecutor(_LOGINS)
    loop = asyncio.get_running_loop()
    reactor = Reactor()
    thrown = 0

    def throw(channel: Channel) -> None:
        nonlocal thrown
        thrown += len(channel.read_available())

    async def listen(host: dict[str, Any]) -> None:
        shell = Shell(
            await loop.run_in_executor(threads, Session.connect, target(fleet, host, key), 30.0, None, reactor), threads
        )
        for command in streams(host["os"]):
            channel = await shell.open(command)
            shell.listen(channel, partial(throw, channel))

    await asyncio.gather(*(listen(host) for host in fleet["hosts"]))
    await asyncio.sleep(_SETTLE_S)
    process = psutil.Process()
    before, began, read_before = process.cpu_times(), time.monotonic(), thrown
    await asyncio.sleep(seconds)
    after, wall = process.cpu_times(), time.monotonic() - began
    reactor.close()
    used = after.user + after.system - before.user - before.system
    return {"cpu_share": round(used / wall, 4), "bytes_per_s": round((thrown - read_before) / wall)}


if __name__ == "__main__":
    listed = json.loads(Path(sys.argv[1]).read_text())
    private_key = SecretStr(Path(listed["private_key_file"]).read_text())
    print(json.dumps(asyncio.run(measure(listed, private_key, float(sys.argv[2])))))  # noqa: T201  this is a program
