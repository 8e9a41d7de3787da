"""A collector's place in the data directory: one process at a time, found again by the next one.

Each place has an identity that outlives its processes, so that a collector that was started again is the same one to
the others, and takes up what its predecessor left. What is kept there belongs to `spool`.
"""

import fcntl
import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path

from hps_platform.errors import SettingsError

_LOCK = "lock"


class Slot:
    """The lowest place that no running process holds; held until `release`, or until the process ends in any way."""

    def __init__(self, root: Path) -> None:
        self._root = root
        for number in count():
            self.folder = root / str(number)
            lock = _locked(self.folder)
            if lock is not None:
                self.number = number
                self._lock = lock
                self.identity = _identity(lock)
                return

    @contextmanager
    def abandoned(self, pattern: str) -> Iterator[list[Path]]:
        """Places with such files whose processes are gone; nobody else takes them meanwhile."""
        held: dict[Path, int] = {}
        try:
            for folder in sorted({path.parent for path in self._root.glob(f"*/{pattern}")} - {self.folder}):
                if (lock := _locked(folder)) is not None:
                    held[folder] = lock
            yield list(held)
        finally:
            for lock in held.values():
                os.close(lock)

    def draw_identity(self) -> uuid.UUID:
        """A new identity, for a place whose folder was copied while another process uses the same one."""
        self.identity = _drawn(self._lock)
        return self.identity

    def release(self) -> None:
        os.close(self._lock)


def _locked(folder: Path) -> int | None:
    """The locked file of a place, `None` when a process has it. The lock ends with the process, however it ends."""
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        lock = os.open(folder / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise SettingsError(f"{folder} can't be used by the collector: {error.strerror}; see HPS_DATA_DIR") from error
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(lock)
        return None
    return lock


def _identity(lock: int) -> uuid.UUID:
    """Drawn once for each place, and kept in its lock file."""
    try:
        return uuid.UUID(os.pread(lock, 36, 0).decode("ascii"))
    except ValueError:
        return _drawn(lock)


def _drawn(lock: int) -> uuid.UUID:
    drawn = uuid.uuid4()
    os.pwrite(lock, str(drawn).encode("ascii"), 0)
    return drawn
