"""Reading the services' log files, which supervisord rotates."""

import time
from collections import deque
from collections.abc import Generator
from pathlib import Path


def last_lines(path: Path, count: int) -> list[str]:
    """The last `count` lines, without line ends."""
    with path.open(errors="replace") as file:
        return [line.rstrip("\n") for line in deque(file, maxlen=count)]


def grown(path: Path, *, poll_s: float = 0.3) -> Generator[str]:
    """Whatever is appended from now on, for ever; goes on with the new file after a rotation."""
    file = path.open(errors="replace")
    file.seek(0, 2)
    try:
        while True:
            text = file.read()
            if text:
                yield text
                continue
            time.sleep(poll_s)
            try:
                rotated = path.stat().st_ino != Path(f"/dev/fd/{file.fileno()}").stat().st_ino
            except FileNotFoundError:
                continue  # in the middle of a rotation
            if rotated:
                file.close()
                file = path.open(errors="replace")
    finally:
        file.close()
