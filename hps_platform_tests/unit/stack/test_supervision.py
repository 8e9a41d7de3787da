"""Configuration, order of starting, and what is said when something does not start; no process is started here."""

import json
import os
import queue
import shlex
import signal
import socket
import subprocess
import sys
import threading
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import psutil
import pytest
from supervisor import events
from supervisor.options import ServerOptions

from hps_platform.errors import PortInUse, StackError
from hps_platform.settings import Settings
from hps_platform.stack import health, logs, ports, sequence, services
from hps_platform.stack.record import Record
from hps_platform.stack.restarts import LONGEST_WAIT_S, watch
from hps_platform.stack.sequence import Start, Step
from hps_platform.stack.services import Health, Service
from hps_platform.stack.supervisor import Program, Supervisor, render

AWKWARD = "100% of 'it'; really"


def service(name: str, *after: str, **more: Any) -> Service:
    fields: dict[str, Any] = {"health": Health("process", "", "runs"), "after": after} | more
    return Service(name, ("/bin/sleep", "1"), **fields)


def test_supervisord_reads_what_was_meant(tmp_path: Path) -> None:
    record = Record(tmp_path)
    url = "postgresql://hps:p%40ss@127.0.0.1:1/hps"
    odd = Service("odd", ("/bin/echo", AWKWARD, 'say "x"'), Health("process", "", ""), environment={"URL": url})
    supervisor = Supervisor(record)
    supervisor.write([odd, service("elsewhere", external=True), service("code", children_outlive_it=True)])
    assert supervisor.configuration.stat().st_mode & 0o777 == 0o600
    options = ServerOptions()
    options.realize(["-c", str(supervisor.configuration), "-n"])
    programs = {group.name: group.process_configs[0] for group in options.process_group_configs}
    assert set(programs) == {"odd", "code"}
    assert shlex.split(programs["odd"].command) == list(odd.command)
    assert programs["odd"].environment["URL"] == url
    assert programs["odd"].stopasgroup
    assert programs["odd"].killasgroup
    assert [options for name, _, options in options.rpcinterface_factories if name == "hps"] == [{"spared": "code"}]


def test_a_long_data_directory_gets_a_port_instead_of_a_socket(tmp_path: Path) -> None:
    record = Record(tmp_path / ("x" * 120))
    text = render(record, [], tmp_path, tmp_path, None)
    assert f"port=127.0.0.1:{record.ports['supervisor']}" in text
    assert record.supervisor_password in text


def test_a_service_survives_being_recorded() -> None:
    original = service("a", "b", port=1, environment={"X": "y"}, health=Health("http", "http://h/", "answers"))
    assert services.of_record(json.loads(json.dumps(original.recorded()))) == original


@dataclass
class FakeSupervisor:
    """Programs that run as soon as they are started, except those in `failing`."""

    logs: Path
    failing: tuple[str, ...] = ()
    started: list[str] = field(default_factory=list)
    asked: int = 0

    def start(self, name: str) -> None:
        self.started.append(name)

    def programs(self) -> dict[str, Program]:
        self.asked += 1
        return {
            name: Program(name, "backoff" if name in self.failing else "running", None, self.asked, 0.0, "")
            for name in self.started
        }


def begin(supervisor: FakeSupervisor, listed: list[Service], steps: list[Step] | None = None) -> list[str]:
    told: list[str] = []
    Start(cast(Supervisor, supervisor), Settings(), listed, steps or [], told.append).run()
    return [line.partition(":")[0] for line in told]


def test_everything_waits_for_what_it_needs(tmp_path: Path) -> None:
    supervisor = FakeSupervisor(tmp_path)
    happened: list[str] = []
    step = Step("schema", ("db",), lambda: happened.append(",".join(supervisor.started)), "there")
    listed = [service("app", "schema", "log"), service("db"), service("log"), service("page", "app", "unknown")]
    told = begin(supervisor, listed, [step])
    assert set(supervisor.started[:2]) == {"db", "log"}
    assert supervisor.started[2:] == ["app", "page"]
    assert happened in (["db,log"], ["db"])
    assert told.index("schema") < told.index("app") < told.index("page")


def test_a_failing_step_ends_the_start_with_its_own_words(tmp_path: Path) -> None:
    def fail() -> None:
        raise StackError("no schema today")

    with pytest.raises(StackError, match="no schema today"):
        begin(FakeSupervisor(tmp_path), [service("db"), service("app", "schema")], [Step("schema", ("db",), fail, "")])


def test_a_service_that_ends_again_and_again_is_named_with_its_reason(tmp_path: Path) -> None:
    (tmp_path / "db.log").write_text("starting\n\x1b[31mValueError: no such colour\x1b[0m\n  at line 3\n")
    with pytest.raises(StackError, match=r"db ends again and again: ValueError: no such colour \(hps logs db\)"):
        begin(FakeSupervisor(tmp_path, failing=("db",)), [service("db")])


def test_a_port_that_is_taken_during_the_start_is_named_with_its_holder(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        one = service("app", port=port, port_variable="HPS_APP_PORT")
        with pytest.raises(PortInUse, match=rf"port {port} for app is taken by .*\(pid {os.getpid()}.*HPS_APP_PORT"):
            begin(FakeSupervisor(tmp_path, failing=("app",)), [one])


def test_a_service_that_never_becomes_well_ends_the_start(tmp_path: Path) -> None:
    port = ports.free_port()
    dead = service("app", health=Health("kafka", f"127.0.0.1:{port}", ""), start_timeout_s=0.3)
    with pytest.raises(StackError, match=f"app is not well after 0 s: no answer on 127.0.0.1:{port}"):
        begin(FakeSupervisor(tmp_path), [dead])


def test_a_taken_port_is_refused_before_anything_starts() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert not ports.is_free(port)
        with pytest.raises(PortInUse, match=rf"port {port} for kafka is taken by .*pid {os.getpid()}.*HPS_KAFKA_PORT"):
            ports.require_free(port, "kafka", "HPS_KAFKA_PORT")
    ports.require_free(port, "kafka", "HPS_KAFKA_PORT")
    assert ports.holder(port) is None


@pytest.mark.parametrize(
    ("kind", "target", "words"),
    [
        ("postgres", "127.0.0.1:{port}", "no connections accepted on"),
        ("kafka", "127.0.0.1:{port}", "no answer on"),
        ("http", "http://127.0.0.1:{port}/health", "no answer from"),
        ("grpc", "127.0.0.1:{port}", "no answer on"),
        ("daemon", "http://127.0.0.1:{port}", "heartbeats are unknown"),
        ("ssh", "127.0.0.1:{port}", "no answer on"),
        ("collector", "", "its hosts are unknown"),
    ],
)
def test_nobody_there_is_said_in_words(kind: services.Kind, target: str, words: str) -> None:
    nowhere = Settings(postgres_port=ports.free_port())
    well, message = health.ask(Health(kind, target.format(port=ports.free_port()), ""), nowhere)
    assert not well
    assert words in message


def test_memory_counts_the_whole_tree() -> None:
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    try:
        alone = health.memory_mb(child.pid)
        assert 0 < alone < health.memory_mb(psutil.Process().pid)
    finally:
        child.communicate(b"\n", timeout=20)
    assert health.memory_mb(child.pid) == 0.0


@pytest.fixture
def plugin(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setattr(events, "callbacks", [])
    return watch(None, spared="code")


def fake_process(name: str, pid: int = 0) -> Any:
    return SimpleNamespace(config=SimpleNamespace(name=name), pid=pid, delay=1e12, backoff=500, group=None)


def event(kind: Any, process: Any) -> Any:
    made = kind.__new__(kind)
    made.process = process
    return made


def test_starts_are_counted_and_waiting_never_grows_beyond_bearing(plugin: Any) -> None:
    for name in ("app", "app", "db"):
        events.notify(event(events.ProcessStateStartingEvent, fake_process(name)))
    process = fake_process("app")
    events.notify(event(events.ProcessStateBackoffEvent, process))
    assert plugin.starts() == {"app": 2, "db": 1}
    assert process.backoff == LONGEST_WAIT_S
    assert process.delay < 1e12


def test_children_of_a_killed_program_go_with_it_unless_they_may_outlive_it(plugin: Any) -> None:
    command = [sys.executable, "-c", "input()"]
    groups = [subprocess.Popen(command, stdin=subprocess.PIPE, start_new_session=True) for _ in range(2)]
    spared, doomed = groups
    events.notify(event(events.ProcessStateExitedEvent, fake_process("code", spared.pid)))
    events.notify(event(events.ProcessStateExitedEvent, fake_process("mlflow", doomed.pid)))
    assert doomed.wait(20) == -signal.SIGKILL
    spared.communicate(b"\n", timeout=20)
    assert spared.returncode == 0
    for each in groups:
        each.stdin = None


def test_logs_follow_across_a_rotation(tmp_path: Path) -> None:
    path = tmp_path / "app.log"
    path.write_text("one\ntwo\nthree\n")
    assert logs.last_lines(path, 2) == ["two", "three"]
    growing = logs.grown(path, poll_s=0.01)
    seen: queue.Queue[str] = queue.Queue()

    def read() -> None:
        for text in growing:
            seen.put(text)

    reader = threading.Thread(target=read, daemon=True)
    reader.start()
    # It is not known when the reader has opened the file: write until it has seen something.
    while seen.empty():
        with path.open("a") as file:
            file.write("four\n")
        reader.join(0.02)
    assert set(seen.get(timeout=20).split()) == {"four"}
    path.rename(path.with_suffix(".log.1"))
    path.write_text("five\n")
    text = ""
    while "five" not in text:
        text = seen.get(timeout=20)


def test_what_supervisord_would_take_for_a_comment_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StackError, match="beginning of a comment"):
        render(Record(tmp_path / "data #1"), [], tmp_path / "data #1", tmp_path, None)


def test_a_reason_is_the_last_line_that_names_an_error(tmp_path: Path) -> None:
    path = tmp_path / "x.log"
    assert sequence.reason(path) == "it wrote no log"
    path.write_text("")
    assert sequence.reason(path) == "its log is empty"
    path.write_text("all is well\n")
    assert sequence.reason(path) == "all is well"
    path.write_text('FATAL:  lock file "postmaster.pid" already exists\nHINT: look\n')
    assert sequence.reason(path).startswith("FATAL")
