"""How far a long preparation is, in `<data dir>/progress.json`, for the app to show and a later start to see."""

import json
import os
from datetime import UTC, datetime
from pathlib import Path

PROGRESS = "progress.json"


def write(data_dir: Path, title: str, message: str, done: float, *, finished: bool = False) -> None:
    """Replaces the file atomically; `done` is a share from 0 to 1."""
    path = data_dir / PROGRESS
    content = {
        "title": title,
        "message": message,
        "done": round(min(max(done, 0.0), 1.0), 4),
        "finished": finished,
        "updated_at": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    beside = path.with_suffix(".new")
    beside.write_text(json.dumps(content))
    os.replace(beside, path)
