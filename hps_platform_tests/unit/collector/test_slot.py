"""Places of collectors in the data directory: one process each, found again by the next."""

import subprocess
import sys
from pathlib import Path

from hps_platform.collector.slot import Slot


def test_each_process_has_a_place_of_its_own_and_its_successor_the_same(tmp_path: Path) -> None:
    first, second = Slot(tmp_path), Slot(tmp_path)
    assert (first.number, second.number) == (0, 1)
    assert first.identity != second.identity
    first.release()
    again = Slot(tmp_path)
    assert (again.number, again.identity) == (0, first.identity)
    second.release()
    again.release()


def test_the_place_of_a_process_that_was_killed_is_free_at_once(tmp_path: Path) -> None:
    script = (
        "import pathlib, sys; from hps_platform.collector.slot import Slot; "
        "slot = Slot(pathlib.Path(sys.argv[1])); print(slot.identity, flush=True); sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", script, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        identity = process.stdout.readline().strip()
        other = Slot(tmp_path)
        assert other.number == 1
        (tmp_path / "0" / "1.spool").write_bytes(b"")
        with other.abandoned("*.spool") as folders:
            assert folders == []
        process.kill()
        process.wait(10)
    with other.abandoned("*.spool") as folders:
        assert folders == [tmp_path / "0"]
        assert Slot(tmp_path).number == 2
    assert str(Slot(tmp_path).identity) == identity
    other.release()
