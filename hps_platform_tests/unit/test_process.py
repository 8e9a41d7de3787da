"""Searches for garbage and interruptions: rare inside, as before outside. Freed memory: kept."""

import gc
import os
import platform
import subprocess
import sys
import threading

import pytest

from hps_platform.process import in_long_turns, seldom_searched


def test_it_is_rare_inside_and_as_before_afterwards() -> None:
    before = gc.get_threshold()
    searched: list[str] = []
    gc.callbacks.append(lambda phase, _: searched.append(phase))
    try:
        with seldom_searched(1_000_000, whole=1_000):
            assert gc.get_threshold() == (1_000_000, 20, 50)
            assert gc.get_freeze_count() > 0
            kept = [[] for _ in range(50_000)]  # type: ignore[var-annotated]
            assert (len(kept), searched) == (50_000, [])
    finally:
        gc.callbacks.pop()
    assert gc.get_threshold() == before
    assert gc.get_freeze_count() == 0


_BATCHES = """
import resource, sys
from hps_platform.process import keep_freed
if sys.argv[1] == "kept":
    keep_freed(256 * 1024 * 1024)
def batch():
    return [bytearray(16 * 1024 * 1024) for _ in range(4)]
batch()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(10):
    batch()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="other allocators have other ways")
def test_what_is_freed_is_not_asked_for_again() -> None:
    def faults(how: str) -> int:
        return int(subprocess.check_output([sys.executable, "-c", _BATCHES, how]))

    assert faults("kept") * 10 < faults("usual")


@pytest.mark.skipif(not hasattr(os, "SCHED_BATCH"), reason="Linux has such turns")
def test_turns_are_long_inside_also_of_threads_that_begin_there() -> None:
    seen: list[int] = []
    with in_long_turns():
        thread = threading.Thread(target=lambda: seen.append(os.sched_getscheduler(0)))
        thread.start()
        thread.join()
        assert [os.sched_getscheduler(0), *seen] == [os.SCHED_BATCH] * 2
    assert os.sched_getscheduler(0) == os.SCHED_OTHER


def test_where_turns_cannot_be_changed_they_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError("not here")

    monkeypatch.setattr(os, "sched_setscheduler", refuse, raising=False)
    with in_long_turns():
        pass
    monkeypatch.delattr(os, "sched_getscheduler", raising=False)
    with in_long_turns():
        pass
