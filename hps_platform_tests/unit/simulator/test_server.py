"""The simulated fleet over real SSH: who gets in, what is printed when, and that nothing stays behind."""

import asyncio
import json
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import asyncssh
import pytest

from hps_platform.stack.simulator.server import SimulatedFleet
from hps_platform.stack.simulator.world import World
from hps_platform_tests.unit.simulator.conftest import COMMANDS, EPOCH
from hps_platform_tests.waiting import until

Connect = Callable[..., Awaitable[asyncssh.SSHClientConnection]]


def _with_fleet(directory: Path, story: Callable[[SimulatedFleet, dict[str, Any]], Awaitable[None]]) -> None:
    """Runs a story against a listening fleet whose live time begins now."""

    async def run() -> None:
        async with SimulatedFleet(World(7, EPOCH), directory) as fleet:
            listed = json.loads(fleet.fleet_file.read_text())
            await asyncio.wait_for(story(fleet, listed), 60)

    asyncio.run(run())


def _host(listed: dict[str, Any], name: str) -> dict[str, Any]:
    return next(host for host in listed["hosts"] if host["hostname"] == name)


async def _connect(listed: dict[str, Any], name: str, **wanted: Any) -> asyncssh.SSHClientConnection:
    host = _host(listed, name)
    pinned = asyncssh.import_known_hosts(f"[{host['address']}]:{host['port']} {host['host_key']}\n")
    options: dict[str, Any] = {"client_keys": [listed["private_key_file"]], "known_hosts": pinned, **wanted}
    return await asyncssh.connect(
        host["address"], host["port"], username=options.pop("username", host["username"]), config=None, **options
    )


def test_login_with_the_key_and_every_planned_command(tmp_path: Path) -> None:
    async def story(_fleet: SimulatedFleet, listed: dict[str, Any]) -> None:
        for name in ("aixlpar01", "linweb01", "solapp01", "hpuxdb01"):
            async with await _connect(listed, name) as connection:
                for family, command in COMMANDS[_host(listed, name)["os"]].items():
                    result = await connection.run(command.format("1 1"))
                    assert (result.exit_status, result.stderr) == (0, ""), (name, command)
                    assert str(result.stdout).count("\n") > 1, (name, family)
                missing = await connection.run("/usr/bin/nmon -f")
                assert missing.exit_status == 127
                assert "nmon" in str(missing.stderr)
                assert "not found" in str(missing.stderr)

    _with_fleet(tmp_path, story)


def test_wrong_keys_passwords_and_names_are_refused(tmp_path: Path) -> None:
    async def story(_fleet: SimulatedFleet, listed: dict[str, Any]) -> None:
        other = asyncssh.generate_private_key("ssh-ed25519")
        password = await asyncio.to_thread(Path(listed["password_file"]).read_text)
        for wrong in (
            {"client_keys": [other]},
            {"client_keys": None, "password": "guess"},
            {"username": "root"},
            {"username": "root", "client_keys": None, "password": password},
        ):
            with pytest.raises(asyncssh.PermissionDenied):
                await _connect(listed, "lindb01", **wrong)
        async with await _connect(listed, "lindb01", client_keys=None, password=password) as connection:
            assert (await connection.run("hostname")).stdout == "lindb01\n"

    _with_fleet(tmp_path, story)


def test_another_host_key_is_noticed(tmp_path: Path) -> None:
    async def story(_fleet: SimulatedFleet, listed: dict[str, Any]) -> None:
        host = _host(listed, "lindb01")
        other = _host(listed, "linweb01")["host_key"]
        assert other != host["host_key"]
        pinned = asyncssh.import_known_hosts(f"[{host['address']}]:{host['port']} {other}\n")
        with pytest.raises(asyncssh.HostKeyNotVerifiable):
            await _connect(listed, "lindb01", known_hosts=pinned)

    _with_fleet(tmp_path, story)


def test_vmstat_streams_at_its_interval_and_stops_when_the_client_leaves(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trace = tmp_path / "trace"
    monkeypatch.setenv("HPS_SIMULATOR_TRACE", str(trace))

    async def story(fleet: SimulatedFleet, listed: dict[str, Any]) -> None:
        connection = await _connect(listed, "soldb01")
        process = await connection.create_process("LC_ALL=C vmstat 1")
        arrived = []
        for place in range(6):
            line = await process.stdout.readline()
            if place >= 2:
                assert len(line.split()) == 22
                arrived.append(time.monotonic())
        # The report since boot comes at once, the others a second apart, counted from the first.
        for place, moment in enumerate(arrived):
            assert place - 0.2 < moment - arrived[0] < place + 0.6
        connection.close()
        await connection.wait_closed()
        printed = trace.read_text().splitlines()
        assert len(printed) == 3
        assert all(
            line.split()[1] == "soldb01" and abs(int(line.split()[0]) / 1000 - time.time()) < 30 for line in printed
        )
        await asyncio.to_thread(until, lambda: fleet.channels == 0, 60, "every channel is closed")
        # Another machine goes on printing for two seconds; this one is heard of no more.
        async with await _connect(listed, "linweb01") as connection:
            await connection.run("LC_ALL=C vmstat -n 1 3")
        assert [line.split()[1] for line in trace.read_text().splitlines()] == 3 * ["soldb01"] + 2 * ["linweb01"]

    _with_fleet(tmp_path / "data", story)


def test_bounded_streams_end_by_themselves_and_signals_end_the_others(tmp_path: Path) -> None:
    async def story(fleet: SimulatedFleet, listed: dict[str, Any]) -> None:
        async with await _connect(listed, "aixdb01") as connection:
            bounded = await connection.run("iostat -d 1 2; echo done")
            assert str(bounded.stdout).count("Disks:") == 2
            assert str(bounded.stdout).endswith("done\n")
            begun = time.monotonic()
            partition = await connection.run("lparstat 1 1")
            # It has no report since boot: the only one is about its second.
            assert time.monotonic() - begun > 0.8
            assert str(partition.stdout).count("\n") == 6
            process = await connection.create_process("vmstat 1")
            await process.stdout.readline()
            assert fleet.channels == 1
            process.send_signal("TERM")
            assert (await process.wait()).exit_status == 130

    _with_fleet(tmp_path, story)


def test_a_shell_without_a_command_greets_and_ends(tmp_path: Path) -> None:
    async def story(_fleet: SimulatedFleet, listed: dict[str, Any]) -> None:
        async with await _connect(listed, "hpuxdb01") as connection:
            greeted = await connection.run(None)
            assert "hpuxdb01" in str(greeted.stdout)

    _with_fleet(tmp_path, story)


def test_ports_and_keys_are_kept_and_a_taken_port_is_replaced(tmp_path: Path) -> None:
    seen: list[dict[str, Any]] = []

    async def story(_fleet: SimulatedFleet, listed: dict[str, Any]) -> None:
        seen.append(listed)

    _with_fleet(tmp_path, story)
    _with_fleet(tmp_path, story)
    assert seen[0] == seen[1]
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", seen[0]["hosts"][3]["port"]))
        taken.listen()
        _with_fleet(tmp_path, story)
    changed = [a["hostname"] for a, b in zip(seen[1]["hosts"], seen[2]["hosts"], strict=True) if a["port"] != b["port"]]
    assert changed == [seen[0]["hosts"][3]["hostname"]]
    assert [host["host_key"] for host in seen[0]["hosts"]] == [host["host_key"] for host in seen[2]["hosts"]]
    assert oct(Path(seen[0]["private_key_file"]).stat().st_mode & 0o777) == "0o600"


def test_the_program_serves_until_told_to_stop(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "hps_platform.stack.simulator", "--data-dir", str(tmp_path), "--seed", "7"]
    with subprocess.Popen([*command, "--epoch", datetime.now(UTC).isoformat()], stderr=subprocess.DEVNULL) as run:
        until((tmp_path / "simulator" / "fleet.json").exists, 60, "the fleet is written")
        until((tmp_path / "simulator" / "incidents.json").exists, 60, "the timetable is written")
        truth = json.loads((tmp_path / "simulator" / "incidents.json").read_text())
        assert len(truth["incidents"]) > 20
        run.send_signal(signal.SIGTERM)
        assert run.wait(10) == 0
