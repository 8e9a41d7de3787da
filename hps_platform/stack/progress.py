"""How far a long preparation is, in `<data dir>/progress.json`, for the app to show and a later start to see."""

from datetime import UTC, datetime
from pathlib import Path

from hps_platform.stack.files import write_json

PROGRESS = "progress.json"


def write(data_dir: Path, title: str, message: str, done: float, *, finished: bool = False) -> None:
    """Replaces the file atomically; `done` is a share from 0 to 1."""
    content = {
        "title": title,
        "message": message,
        "done": round(min(max(done, 0.0), 1.0), 4),
        "finished": finished,
        "updated_at": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    write_json(data_dir / PROGRESS, content)
