"""The cheap fleet of the benchmarks prints what the live one prints, and knows how much it printed."""

import asyncio
import json
from datetime import UTC, datetime
from pathlib import Path

import asyncssh
import numpy as np

from hps_platform import dialects
from hps_platform.stack.simulator.server import SimulatedFleet
from hps_platform.stack.simulator.world import World


async def _lines(connection: asyncssh.SSHClientConnection, command: str, enough: int) -> str:
    text = ""
    async with connection.create_process(command) as process:
        while text.count("\n") < enough:
            text += await process.stdout.readline()
    return text


def test_hosts_of_one_kind_share_texts_and_every_report_is_counted(tmp_path: Path) -> None:
    async def run() -> None:
        async with SimulatedFleet(World(1, datetime.now(UTC), 17, 150), tmp_path, rehearsed=True) as fleet:
            listed = json.loads(fleet.fleet_file.read_text())
            assert len(listed["hosts"]) == 17
            for place in (4, 16):  # of one kind
                host = listed["hosts"][place]
                async with asyncssh.connect(
                    "127.0.0.1",
                    host["port"],
                    username=listed["username"],
                    client_keys=[listed["private_key_file"]],
                    known_hosts=None,
                    config=None,
                ) as connection:
                    assert host["hostname"] in str((await connection.run("uname -a")).stdout)
                    for planned in dialects.plan("linux", {"vmstat": 1, "iostat": 1}):
                        if planned.family == "vmstat":
                            text = await _lines(connection, planned.command, 5)
                            assert len(dialects.parse("linux", planned.command, text).rows) == 2
                        elif not planned.stream:
                            text = str((await connection.run(planned.command)).stdout)
                            rows = dialects.parse("linux", planned.command, text).rows
                            assert len(rows) == (150 if planned.family == "process" else len(rows)) > 0
            assert fleet.printed is not None
            fleet.printed.write(fleet.directory)

    asyncio.run(run())
    tally = json.loads((tmp_path / "simulator" / "printed.json").read_text())
    lines = np.fromfile(tmp_path / "simulator" / "printed.reports", dtype=np.int64).reshape(-1, 4)
    assert tally["logins"] == 2
    names = [tally["commands"][number] for number in lines[:, 1]]
    for place in (4, 16):
        counted = [name for name, one in zip(names, lines[:, 0], strict=True) if one == place]
        assert len(counted) == len(set(counted)) + 1  # of vmstat two
        numbers = lines[(lines[:, 0] == place) & np.array(["vmstat" in name for name in names])]
        assert numbers[:, 2].tolist() == [1, 2]
        assert 900 < numbers[1, 3] - numbers[0, 3] < 1100
