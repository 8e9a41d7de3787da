"""Messages on disk: a log in segments, appended at one end, read and acknowledged from the other.

What is written outlives the process, however it ends (a machine that loses power may lose the last seconds). When
what waits must be written, and how it gets to Kafka, is up to `outbox`.

A segment begins with the number of its first records that need no more sending; records follow, each with its length
and checksum. A segment whose records have all arrived is removed, or used again when it is the one written to.
"""

import logging
import os
import struct
import time
import zlib
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

log = logging.getLogger(__name__)

SPOOL_FILES = "*.spool"
"""Names of segments."""

_SEGMENT_BYTES = 8 * 1024 * 1024
_SEGMENTS_AT_BOUND = 16
_HEAD = struct.Struct("<Q")
_FRAME = struct.Struct("<II")
_LENGTH = struct.Struct("<I")


class Message(NamedTuple):
    """One message of a topic."""

    topic: str
    key: bytes
    value: bytes
    headers: Sequence[tuple[str, bytes]] = ()

    @property
    def size(self) -> int:
        """What counts against bounds."""
        return 200 + len(self.value) + sum([len(name) + len(value) for name, value in self.headers])


def _encoded(message: Message) -> bytes:
    parts = [message.topic.encode(), message.key, message.value]
    for name, value in message.headers:
        parts += (name.encode(), value)
    body = b"".join([piece for part in parts for piece in (_LENGTH.pack(len(part)), part)])
    return _FRAME.pack(len(body), zlib.crc32(body)) + body


def _decoded(body: memoryview) -> Message:
    parts = []
    at = 0
    while at < len(body):
        (length,) = _LENGTH.unpack_from(body, at)
        at += _LENGTH.size
        parts.append(bytes(body[at : at + length]))
        at += length
    topic, key, value, *rest = parts
    headers = [(name.decode(), text) for name, text in zip(rest[::2], rest[1::2], strict=True)]
    return Message(topic.decode(), key, value, headers)


class Segment:
    """One file of the log. Of its `records` the first `handed` were read or never needed reading."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.records = 0
        self.handed = 0
        self.size = _HEAD.size
        self.dropped = False
        self.written_at = time.monotonic()
        self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        self._read_at = _HEAD.size
        self._first_left = 0
        self._noted = 0
        self._arrived: set[int] = set()

    @classmethod
    def found(cls, path: Path) -> "Segment":
        """One that an earlier process left; half a record at its end is left out."""
        segment = cls(path)
        data = path.read_bytes()
        at = _HEAD.size
        while at + _FRAME.size <= len(data):
            length, checksum = _FRAME.unpack_from(data, at)
            end = at + _FRAME.size + length
            if end > len(data) or zlib.crc32(memoryview(data)[at + _FRAME.size : end]) != checksum:
                break
            at = end
            segment.records += 1
        if at < len(data):
            log.warning("%s: what follows record %d is no whole record and is left out", path, segment.records)
        segment.size = at
        age_s = max(0.0, time.time() - path.stat().st_mtime)
        segment.written_at = time.monotonic() - age_s
        done = min(_HEAD.unpack_from(data)[0], segment.records) if len(data) >= _HEAD.size else 0
        for _ in range(done):
            length, _ = _FRAME.unpack_from(data, segment._read_at)
            segment._read_at += _FRAME.size + length
        segment.handed = segment._first_left = segment._noted = done
        return segment

    @property
    def left(self) -> int:
        """Records that have not arrived."""
        return self.records - self._first_left - len(self._arrived)

    def append(self, records: Sequence[bytes], handed: int) -> int:
        """Writes at the end, and returns the index of the first; `OSError` leaves the segment as it was."""
        data = b"".join(records)
        written = os.pwrite(self._fd, data, self.size)
        if written < len(data):
            raise OSError(f"only {written} of {len(data)} bytes could be written to {self.path}")
        first = self.records
        if handed:
            assert self.handed == self.records  # noqa: S101  what waits on disk is never overtaken
            self.handed += handed
            self._read_at = self.size + sum(map(len, records[:handed]))
        self.records += len(records)
        self.size += len(data)
        self.written_at = time.monotonic()
        return first

    def read(self, limit: int) -> list[tuple[int, Message]]:
        """The next records with their indexes."""
        found: list[tuple[int, Message]] = []
        while len(found) < limit and self.handed < self.records:
            length, _ = _FRAME.unpack(os.pread(self._fd, _FRAME.size, self._read_at))
            body = os.pread(self._fd, length, self._read_at + _FRAME.size)
            found.append((self.handed, _decoded(memoryview(body))))
            self._read_at += _FRAME.size + length
            self.handed += 1
        return found

    def arrived(self, index: int) -> None:
        self._arrived.add(index)
        while self._first_left in self._arrived:
            self._arrived.remove(self._first_left)
            self._first_left += 1

    def note(self) -> None:
        """Writes down how far records have arrived, so that they are not sent again after a kill."""
        if self._first_left != self._noted:
            os.pwrite(self._fd, _HEAD.pack(self._first_left), 0)
            self._noted = self._first_left

    def empty(self) -> None:
        """Makes room again in a segment of which everything has arrived."""
        os.ftruncate(self._fd, 0)
        self.records = self.handed = self._first_left = self._noted = 0
        self._arrived.clear()
        self.size = self._read_at = _HEAD.size

    def remove(self) -> None:
        self.close()
        self.path.unlink(missing_ok=True)

    def close(self) -> None:
        os.close(self._fd)


class Spool:
    """The segments of one folder, for one thread. `unread` counts records that are nowhere but here."""

    def __init__(self, folder: Path, *, max_bytes: int, max_age_s: float) -> None:
        self._folder = folder
        self._max_bytes = max_bytes
        self._max_age_s = max_age_s
        self._segment_bytes = min(_SEGMENT_BYTES, max_bytes // _SEGMENTS_AT_BOUND)
        self._last_name = 0
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._segments = [Segment.found(path) for path in sorted(folder.glob(SPOOL_FILES))]
        self._current: Segment | None = None
        self.unread = sum(segment.records - segment.handed for segment in self._segments)
        self._remove_done()

    @property
    def size(self) -> int:
        """Bytes on disk that have not all arrived."""
        return sum(segment.size for segment in self._segments if segment.left)

    def append(self, messages: Sequence[Message], *, handed: int) -> tuple[Segment, int]:
        """Writes them with one call: in which segment, and the index of the first one.

        The first `handed` are in the caller's hands already and are not read again. Raises `OSError`.
        """
        records = [_encoded(message) for message in messages]
        segment = self._room_for(sum(map(len, records)))
        first = segment.append(records, handed)
        self.unread += len(records) - handed
        return segment, first

    def _room_for(self, size: int) -> Segment:
        current = self._current
        if current is not None:
            if not current.left and current.handed == current.records:
                if current.records:
                    current.empty()
                return current
            if current.size + size <= self._segment_bytes:
                return current
        self._last_name = max(time.time_ns(), self._last_name + 1)
        self._current = Segment(self._folder / f"{self._last_name:020d}.spool")
        self._segments.append(self._current)
        self._remove_done()
        return self._current

    def read(self, limit: int) -> list[tuple[Segment, int, Message]]:
        """The next unread records, oldest first."""
        found: list[tuple[Segment, int, Message]] = []
        for segment in self._segments:
            if len(found) == limit:
                break
            found.extend((segment, index, message) for index, message in segment.read(limit - len(found)))
        self.unread -= len(found)
        return found

    def note(self) -> None:
        """Removes what has arrived, or writes down how much of it has."""
        self._remove_done()
        for segment in self._segments:
            segment.note()

    def _remove_done(self) -> None:
        done = [segment for segment in self._segments if not segment.left and segment is not self._current]
        for segment in done:
            segment.remove()
        if done:
            self._segments = [segment for segment in self._segments if segment not in done]

    def expired(self) -> list[Segment]:
        """Removes the oldest segments, past the bound or too old, with what is left in them, and returns them."""
        gone = []
        total = self.size
        old = time.monotonic() - self._max_age_s
        for segment in list(self._segments):
            if not segment.left:
                continue
            if segment.written_at > old and (total <= self._max_bytes or segment is self._current):
                break
            total -= segment.size
            segment.dropped = True
            self.unread -= segment.records - segment.handed
            self._segments.remove(segment)
            if segment is self._current:
                self._current = None
            segment.remove()
            gone.append(segment)
        return gone

    def claim(self, folder: Path) -> list[Segment]:
        """Moves here what another process left in its folder; reads it through, and may be called in any thread."""
        taken = []
        for path in sorted(folder.glob(SPOOL_FILES)):
            own = self._folder / path.name
            path.rename(own)
            taken.append(Segment.found(own))
        return taken

    def adopt(self, taken: Sequence[Segment]) -> int:
        """Puts what was claimed before everything else; returns how many records are left in it."""
        records = sum(segment.records - segment.handed for segment in taken)
        self._segments = [*taken, *self._segments]
        self.unread += records
        self._remove_done()
        return records

    def close(self) -> None:
        """Leaves on disk what has not arrived."""
        with suppress(OSError):  # what can't be noted is sent twice
            self.note()
        for segment in self._segments:
            if segment.left:
                segment.close()
            else:
                segment.remove()
