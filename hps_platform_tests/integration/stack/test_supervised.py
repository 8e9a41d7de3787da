"""supervisord with small programs: order, restarts, what a kill leaves behind, the end."""

import os
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from hps_platform.settings import Settings
from hps_platform.stack.control import _end
from hps_platform.stack.ports import free_port, is_free
from hps_platform.stack.record import Record
from hps_platform.stack.sequence import Start
from hps_platform.stack.services import Health, Service
from hps_platform.stack.supervisor import Supervisor, end, leftovers
from hps_platform_tests.waiting import until

# A parent that only waits, and a child that serves: as MLflow's server is made.
PARENT = "import subprocess, sys; sys.exit(subprocess.call([sys.executable, '-m', 'http.server', *sys.argv[1:]]))"


def web(name: str, port: int, *after: str) -> Service:
    command = (sys.executable, "-c", PARENT, "--bind", "127.0.0.1", str(port))
    return Service(name, command, Health("http", f"http://127.0.0.1:{port}/", "answers"), after=after, port=port)


@pytest.fixture
def record(tmp_path: Path) -> Iterator[Record]:
    made = Record(tmp_path)
    yield made
    _end(made, Supervisor(made))
    end(leftovers(made), grace_s=1)


def bring_up(record: Record, *services: Service) -> Supervisor:
    supervisor = Supervisor(record)
    supervisor.write(services)
    supervisor.launch(dict(os.environ))
    Start(supervisor, Settings(data_dir=record.data_dir), services, [], lambda _: None).run()
    return supervisor


def test_a_killed_program_comes_back_although_its_child_held_the_port(record: Record) -> None:
    one = web("one", free_port())
    supervisor = bring_up(record, one)
    before = supervisor.programs()["one"]
    assert before.pid is not None
    assert before.restarts == 0
    os.kill(before.pid, signal.SIGKILL)
    until(
        lambda: supervisor.programs()["one"].restarts == 1 and supervisor.programs()["one"].state == "running",
        60,
        "it is started again",
    )
    Start(supervisor, Settings(data_dir=record.data_dir), [one], [], lambda _: None).run()


def test_a_program_that_can_not_start_is_tried_again_for_ever(record: Record, tmp_path: Path) -> None:
    flag = tmp_path / "there"
    waits = Service("waits", ("/bin/sh", "-c", f'test -e "{flag}" && exec sleep 1000'), Health("process", "", "runs"))
    supervisor = Supervisor(record)
    supervisor.write([waits])
    supervisor.launch(dict(os.environ))
    supervisor.start("waits")
    until(lambda: supervisor.programs()["waits"].restarts >= 2, 60, "it is tried again and again")
    assert supervisor.programs()["waits"].state in ("backoff", "starting")
    flag.touch()
    until(lambda: supervisor.programs()["waits"].state == "running", 60, "it runs")


def test_the_end_takes_everything_also_what_ignores_it(record: Record) -> None:
    port = free_port()
    stubborn = Service(
        "stubborn",
        ("/bin/sh", "-c", "trap '' TERM INT; while :; do sleep 1; done"),
        Health("process", "", "runs"),
        stop_wait_s=1,
    )
    supervisor = bring_up(record, web("one", port), stubborn)
    pid = supervisor.pid()
    began = time.monotonic()
    assert _end(record, supervisor)
    assert time.monotonic() - began < 15
    assert leftovers(record) == []
    assert supervisor.pid() is None
    assert pid is not None
    assert not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    assert is_free(port)
    assert not _end(record, supervisor)


def test_what_a_killed_supervisord_leaves_does_not_block_the_next_start(record: Record) -> None:
    one = web("one", free_port())
    supervisor = bring_up(record, one)
    pid = supervisor.pid()
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    until(lambda: supervisor.pid() is None, 60, "supervisord has ended")
    assert len(leftovers(record)) >= 2
    end(leftovers(record), grace_s=5)
    assert leftovers(record) == []
    assert bring_up(record, one).programs()["one"].state in ("starting", "running")


def test_a_changed_list_is_taken_over_without_touching_the_rest(record: Record) -> None:
    one, two = web("one", free_port()), web("two", free_port())
    supervisor = bring_up(record, one)
    before = supervisor.programs()["one"].pid
    supervisor.write([one, two])
    assert supervisor.reload() == []
    Start(supervisor, Settings(data_dir=record.data_dir), [one, two], [], lambda _: None).run()
    assert supervisor.programs()["one"].pid == before
    supervisor.write([one])
    assert supervisor.reload() == ["two"]
    assert set(supervisor.programs()) == {"one"}


def test_supervisord_listens_on_a_port_where_a_socket_path_would_be_too_long(tmp_path: Path) -> None:
    deep = tmp_path / ("d" * 60) / ("e" * 60)
    deep.mkdir(parents=True)
    record = Record(deep)
    sleeper = Service("sleeper", ("/bin/sleep", "1000"), Health("process", "", "runs"))
    try:
        assert bring_up(record, sleeper).programs()["sleeper"].state == "running"
    finally:
        _end(record, Supervisor(record))
