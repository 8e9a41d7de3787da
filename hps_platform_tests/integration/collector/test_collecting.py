"""Collecting from scripted hosts over real SSH, through a real broker, with the registry in a real database."""

import socket
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import asyncssh
import pytest

from hps_platform import dialects
from hps_platform.metrics import FAMILIES, wire
from hps_platform.store import events
from hps_platform.store.database import Database
from hps_platform_tests.integration.collector.linux import UNAME, VMSTAT_HEADER, linux, printing
from hps_platform_tests.integration.collector.running import Platform, eventually, running
from hps_platform_tests.integration.ssh.hosts import Terminal, scripted_host


@pytest.fixture
def platform(migrated_dsn: str, kafka: str) -> Iterator[Platform]:
    with Database(migrated_dsn) as db:
        made = Platform(db, kafka)
        yield made
        made.close()


def test_a_host_is_recognised_and_every_family_arrives_numbered_and_with_its_text(platform: Platform) -> None:
    with scripted_host(linux()) as host:
        server = platform.add("lin1", host)
        with running(platform) as collector:
            vmstat = platform.wait_for_samples(server, "vmstat", 5)
            for family in ("netstat", "process", "filesystem", "memory"):
                platform.wait_for_samples(server, family, 1)
            eventually(lambda: platform.server(server).last_seen_at)
            seen = platform.server(server)
        assert host.logins == 1
    assert (seen.operating_system, seen.architecture) == ("linux", "x86_64")
    assert [int(record.headers["seq"]) for record in vmstat] == list(range(1, len(vmstat) + 1))
    assert {record.headers["session"].decode() for record in vmstat} == {collector.origin.session}
    frame = wire.decode(FAMILIES["vmstat"], [record.value for record in vmstat])
    assert frame["us"].to_list() == list(range(1, len(vmstat) + 1))  # without the average since boot
    gaps = frame["timestamp"].diff().drop_nulls().dt.total_milliseconds().to_list()
    assert all(200 < gap < 2000 for gap in gaps)
    again = dialects.parse("linux", "vmstat -n 2", vmstat[0].headers["raw"].decode(), streamed=True).rows
    assert [(row["us"], row["fre"]) for row in again] == [(1, 411204)]
    assert vmstat[0].headers["schema"] == b"vmstat.v1"


def test_a_missing_tool_degrades_the_host_and_the_rest_goes_on(platform: Platform) -> None:
    with scripted_host(linux()) as host:
        server = platform.add("lin1", host)
        with running(platform):
            state = platform.wait_for_state(server, "degraded")
            platform.wait_for_samples(server, "vmstat", 2)
    assert "iostat" in state.state_message
    assert "not found" in state.state_message
    assert platform.letters(server) == []


def test_garbage_becomes_a_dead_letter_whole_and_disturbs_nothing(platform: Platform) -> None:
    garbage = "\x1b[31mFehler\x00 beim Lesen ÄÖÜ 12 % 34\nzweite Zeile 5 6 7\n"
    with scripted_host(linux(df=printing(garbage))) as host:
        server = platform.add("lin1", host)
        with running(platform):
            letter = eventually(lambda: next(iter(platform.letters(server)), None))
            platform.wait_for_samples(server, "vmstat", 2)
            platform.wait_for_samples(server, "memory", 1)
    assert letter
    assert (letter["family"], letter["raw"], letter["exit_code"]) == ("filesystem", garbage, 0)
    assert letter["reason"]


def test_garbage_in_a_stream_is_a_dead_letter_and_the_stream_goes_on(platform: Platform) -> None:
    async def stammering(terminal: Terminal) -> int:
        terminal.print(VMSTAT_HEADER)
        for number in range(1, 200):
            terminal.print(
                f" {number % 9}  0      0 411204  80412 901216    0    0    18    95  611 1204  7  2 90  1  0\n"
            )
            await terminal.pause(0.2)
            if number == 4:
                terminal.print(" 1 2 3 garbage 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19\n")
        return 0

    with scripted_host(linux(vmstat=stammering)) as host:
        server = platform.add("lin1", host)
        with running(platform):
            samples = platform.wait_for_samples(server, "vmstat", 8)
    frame = wire.decode(FAMILIES["vmstat"], [record.value for record in samples])
    assert set(frame["us"].to_list()) == {7.0}


def test_a_wrong_password_is_told_and_no_other_host_suffers(platform: Platform) -> None:
    with scripted_host(linux()) as host, scripted_host(linux()) as good:
        server = platform.add("lin1", host, ssh_password="hunter2")
        other = platform.add("lin2", good)
        with running(platform):
            state = platform.wait_for_state(server, "auth_failed")
            platform.wait_for_samples(other, "vmstat", 2)
            platform.update(server, ssh_password="correct horse battery staple")
            platform.wait_for_samples(server, "vmstat", 2)
    assert "refuses mon with this password" in state.state_message
    assert "hunter2" not in state.state_message


def test_without_a_pinned_key_nobody_logs_in_until_it_is_pinned(platform: Platform) -> None:
    with scripted_host(linux()) as host:
        server = platform.add("lin1", host, host_key=None)
        with running(platform):
            state = platform.wait_for_state(server, "pending_host_key")
            assert host.logins == 0
            assert host.fingerprint in state.state_message
            platform.update(server, host_key=host.fingerprint)
            platform.wait_for_samples(server, "vmstat", 1, within_s=10)


def test_a_changed_key_shuts_a_host_out_and_others_go_on(platform: Platform) -> None:
    stranger = asyncssh.generate_private_key("ssh-ed25519").get_fingerprint()
    with scripted_host(linux()) as host, scripted_host(linux()) as good:
        server = platform.add("lin1", host, host_key=stranger)
        other = platform.add("lin2", good)
        with running(platform):
            state = platform.wait_for_state(server, "key_changed")
            platform.wait_for_samples(other, "vmstat", 2)
        assert host.logins == 0
    assert host.fingerprint in state.state_message
    with platform.db.connection() as conn:
        told = [event.details for event in events.list_events(conn, server_id=server.id) if event.kind == "state"]
    assert {"state": "key_changed", "before": "connecting"} in told
    health = [record for record in platform.records(wire.HEALTH_TOPIC) if record.key == wire.key(server.id)]
    assert any(b'"key_changed"' in record.value for record in health)


def test_hosts_that_are_down_cost_the_others_nothing(platform: Platform) -> None:
    with socket.create_server(("127.0.0.1", 0), backlog=64) as silent, socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        dead = [
            platform.add_fields(
                hostname=f"dead{number}",
                ip_address="127.0.0.1",
                ssh_port=port,
                ssh_username="mon",
                ssh_password="x",
                host_key="SHA256:" + "a" * 43,
            )
            for number, port in enumerate([closed.getsockname()[1]] * 5 + [silent.getsockname()[1]] * 3)
        ]
        unroutable = platform.add_fields(
            hostname="nowhere",
            ip_address="192.0.2.1",
            ssh_username="mon",
            ssh_password="x",
            host_key="SHA256:" + "a" * 43,
        )
        with scripted_host(linux()) as host:
            good = platform.add("lin1", host)
            with running(platform):
                platform.wait_for_samples(good, "vmstat", 3, within_s=8)
                platform.wait_for_state(dead[0], "unreachable", within_s=8)
                platform.wait_for_state(dead[-1], "unreachable")
                platform.wait_for_state(unroutable, "unreachable")
                before = len(platform.samples(good, "vmstat"))
                platform.wait_for_samples(good, "vmstat", before + 5, within_s=8)


def test_a_lost_connection_is_made_again_and_the_numbers_go_on(platform: Platform) -> None:
    with scripted_host(linux()) as host:
        server = platform.add("lin1", host)
        with running(platform):
            before = platform.wait_for_samples(server, "vmstat", 3)
            host.drop_connections()
            after = platform.wait_for_samples(server, "vmstat", len(before) + 6)
        assert host.logins == 2
    assert [int(record.headers["seq"]) for record in after] == list(range(1, len(after) + 1))
    assert len({record.headers["session"] for record in after}) == 1
    with platform.db.connection() as conn:
        told = [event.message for event in events.list_events(conn, server_id=server.id)]
    assert any("unreachable" in message for message in told)


def test_a_changed_registry_is_followed_within_seconds(platform: Platform) -> None:
    with scripted_host(linux()) as first, scripted_host(linux()) as second:
        server = platform.add("lin1", first)
        with running(platform):
            platform.wait_for_samples(server, "vmstat", 1)
            late = platform.add("lin2", second)
            platform.wait_for_samples(late, "vmstat", 1, within_s=5)
            platform.update(server, settings={"intervals": {"vmstat": 5}, "disabled": ["process"]})
            eventually(lambda: any("vmstat -n 5" in command for command in first.commands), within_s=5)
            platform.update(late, is_active=False)
            platform.wait_for_state(late, "paused", within_s=5)
        assert first.logins == 2


def test_a_command_that_ends_by_itself_is_started_again(platform: Platform) -> None:
    async def short_lived(terminal: Terminal) -> int:
        terminal.print(VMSTAT_HEADER)
        for us in range(3):
            terminal.print(f" 1  0      0 411204  80412 901216    0    0    18    95  611 1204  {us}  2 90  1  0\n")
            await terminal.pause(0.1)
        return 0

    with scripted_host(linux(vmstat=short_lived)) as host:
        server = platform.add("lin1", host)
        with running(platform):
            platform.wait_for_samples(server, "vmstat", 5)
        assert host.logins == 1
        assert sum("vmstat" in command for command in host.commands) > 1


def test_once_reads_every_family_once_and_ends(platform: Platform) -> None:
    with scripted_host(linux()) as host:
        server = platform.add("lin1", host)
        with running(platform, once=True) as collector:
            pass
    for family in ("vmstat", "netstat", "process", "filesystem", "memory"):
        assert len(platform.samples(server, family)) == 1
    ((name, state, message, families),) = collector.summary()
    assert (name, state) == ("lin1", "degraded")
    assert "iostat" in message
    assert families["vmstat"] == "1 rows"


def test_secrets_that_no_key_opens_keep_one_host_out(platform: Platform, migrated_dsn: str, kafka: str) -> None:
    with scripted_host(linux()) as host, scripted_host(linux()) as good, Database(migrated_dsn) as db:
        other = Platform(db, kafka)
        server = other.add("lin1", host)
        mine = platform.add("lin2", good)
        with running(platform):
            state = platform.wait_for_state(server, "auth_failed")
            platform.wait_for_samples(mine, "vmstat", 1)
        other.close()
    assert "FIELD_ENCRYPTION_KEY" in state.state_message


def test_output_that_nobody_can_read_parks_its_family_with_the_reason_and_its_first_lines(platform: Platform) -> None:
    strange = "Belegung der Platten\nplatte0 voll\nplatte1 leer\n"

    async def odd_vmstat(terminal: Terminal) -> int:
        while True:
            terminal.print("Prozesse Speicher Zeit\n 1 2 3\n")
            await terminal.pause(0.5)

    with scripted_host(linux(df=printing(strange), vmstat=odd_vmstat)) as host:
        server = platform.add("lin1", host, settings={"intervals": {"filesystem": 1, "netstat": 1, "vmstat": 1}})
        with running(platform):
            state = platform.wait_for_state(server, "quarantined_output", within_s=40)
            platform.wait_for_samples(server, "memory", 1)

            def parked() -> dict[str, dict[str, object]] | None:
                plan = {line["family"]: line for line in platform.server(server).plan}
                return plan if plan["filesystem"]["state"] == plan["vmstat"]["state"] == "quarantined" else None

            plan = eventually(parked, within_s=40)
            asked = [command for command in host.commands if "df" in command or "vmstat" in command]
            # Asked every second as well, and still is.
            platform.wait_for_samples(server, "netstat", len(platform.samples(server, "netstat")) + 3)
            assert [command for command in host.commands if "df" in command or "vmstat" in command] == asked
    assert "filesystem" in state.state_message or "vmstat" in state.state_message
    assert plan["filesystem"]["first_lines"] == strange.rstrip()
    assert plan["memory"]["state"] == "ok"
    assert plan["iostat"]["state"] == "unavailable"
    letters = [letter for letter in platform.letters(server) if letter["family"] == "filesystem"]
    assert [letter["raw"] for letter in letters] == [strange] * 3
    with platform.db.connection() as conn:
        happened = [event for event in events.list_events(conn, server_id=server.id) if event.kind == "quarantined"]
    assert {event.details["family"] for event in happened} == {"filesystem", "vmstat"}


def test_what_a_host_says_of_itself_is_kept_and_a_change_is_an_event(platform: Platform) -> None:
    said = {"cpus": 2, "ahead_s": 30}

    async def uname(terminal: Terminal) -> int:
        clock = datetime.now(UTC) + timedelta(seconds=said["ahead_s"])
        told = f"hps.node=testhost\nhps.cpus={said['cpus']}\nhps.clock={clock:%Y-%m-%dT%H:%M:%S}\n"
        terminal.print(f"{UNAME.splitlines()[0]}\n{told}")
        return 0

    def happened(kind: str) -> list[events.Event]:
        with platform.db.connection() as conn:
            return [event for event in events.list_events(conn, server_id=server.id) if event.kind == kind]

    with scripted_host(linux(uname=uname)) as host:
        server = platform.add("lin1", host)
        with running(platform):
            (first,) = eventually(lambda: happened("recognised"))
            seen = platform.server(server)
            said.update(cpus=8, ahead_s=-90)
            host.drop_connections()
            (change,) = eventually(lambda: happened("changed"))
            again = platform.server(server)
    assert first.message == "lin1 is linux 6.1.0-13-amd64 on x86_64"
    assert (seen.facts["cpus"], again.facts["cpus"]) == (2, 8)
    assert (change.message, change.details) == (
        "lin1 has changed: cpus was 2 and is 8",
        {"cpus": {"before": 2, "after": 8}},
    )
    assert seen.clock_offset_s == pytest.approx(30, abs=1)
    assert again.clock_offset_s == pytest.approx(-90, abs=1)
    offsets = [event.details["offset_s"] for event in happened("clock_offset")]
    assert offsets == [again.clock_offset_s, seen.clock_offset_s]


def test_settings_that_say_nothing_about_collecting_disturb_nobody(platform: Platform) -> None:
    with scripted_host(linux()) as host:
        server = platform.add("lin1", host)
        with running(platform):
            platform.wait_for_samples(server, "vmstat", 2)
            platform.update(server, tags=["prod"], settings={"group": "web", "time_zone": "Europe/Vienna"})
            platform.update(server, owner="unix")
            other = platform.add("lin2", host)
            platform.wait_for_samples(other, "vmstat", 2)  # so the changes before it have been seen, too
            logins = host.logins
        assert logins == 2
