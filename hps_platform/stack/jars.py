"""Apache Kafka's jars: fetched once a user from Maven Central, each checked against the list in this repository.

`kafka_jars.sha256` beside this module is the lock: `sha256sum -c` reads it, its paths are Maven coordinates. To move
to another Kafka, change `KAFKA` and run `python -m hps_platform.stack.jars`, which resolves anew and rewrites it.
"""

import fcntl
import hashlib
import os
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

from hps_platform.errors import StackError

KAFKA = "org.apache.kafka:kafka_2.13:4.3.1"
LOCK = Path(__file__).with_name("kafka_jars.sha256")
_TRIES = 3


def cache_folder() -> Path:
    """`$XDG_CACHE_HOME/hps-platform`, or `~/.cache/hps-platform`."""
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "hps-platform"


def locked() -> dict[str, str]:
    """Path of each jar below the cache's `maven` folder -> its SHA-256."""
    pairs = (line.split(maxsplit=1) for line in LOCK.read_text().splitlines() if line.strip())
    return {path.strip(): digest for digest, path in pairs}


def missing(folder: Path | None = None) -> list[str]:
    """The jars that are not in the cache, or not as they should be."""
    folder = folder or cache_folder()
    return [path for path, digest in locked().items() if _digest(folder / "maven" / path) != digest]


def classpath(folder: Path | None = None, progress: Callable[[str], None] = lambda _: None) -> list[Path]:
    """Every jar, checked; fetched first where it is missing. Several processes may ask at once."""
    folder = folder or cache_folder()
    with _exclusive(folder):
        wanted = missing(folder)
        if wanted:
            progress(f"fetching {len(wanted)} jars of Apache Kafka (44 MB, once)")
            _fetch(folder / "maven", wanted)
    return [folder / "maven" / path for path in locked()]


@contextmanager
def _exclusive(folder: Path) -> Iterator[None]:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with (folder / ".lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield
    except OSError as error:
        raise StackError(f"the cache {folder} can't be written: {error.strerror}; set XDG_CACHE_HOME") from error


def _fetch(repository: Path, paths: list[str]) -> None:
    from jgo.maven import MavenContext, PythonResolver

    digests = locked()

    def fetch(path: str) -> None:
        group, artifact, version = _coordinates(path)
        context = MavenContext(resolver=PythonResolver(), repo_cache=repository, timeout=60)
        target = repository / path
        failure = ""
        for attempt in range(_TRIES):
            # What is there is wrong: a download that was cut off, or another file under its name.
            target.unlink(missing_ok=True)
            try:
                context.project(group, artifact).at_version(version).artifact().resolve()
            except Exception as error:  # noqa: BLE001 - requests, urllib3 and jgo each raise their own kinds
                failure = str(error)
                time.sleep(attempt)
                continue
            found = _digest(target)
            if found == digests[path]:
                return
            failure = f"its SHA-256 is {found}, not {digests[path]}"
        target.unlink(missing_ok=True)
        raise StackError(f"{target.name} can't be had from Maven Central ({failure}): check the connection, try again")

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(fetch, paths))


def _coordinates(path: str) -> tuple[str, str, str]:
    *group, artifact, version, _ = path.split("/")
    return ".".join(group), artifact, version


def _digest(path: Path) -> str:
    try:
        with path.open("rb") as jar:
            return hashlib.file_digest(jar, "sha256").hexdigest()
    except FileNotFoundError:
        return ""


def relock(repository: Path) -> list[str]:
    """Resolve `KAFKA` with all it needs into `repository` and rewrite the list; its lines."""
    from jgo.maven import MavenContext, PythonResolver

    context = MavenContext(resolver=PythonResolver(), repo_cache=repository, timeout=60)
    direct, needed = context.resolver.resolve([context.create_dependency(KAFKA)])
    jars = sorted(Path(dependency.artifact.resolve()) for dependency in [*direct, *needed])
    lines = [f"{_digest(jar)}  {jar.relative_to(repository).as_posix()}" for jar in jars]
    LOCK.write_text("\n".join(lines) + "\n")
    return lines


if __name__ == "__main__":
    sys.stdout.write(f"{len(relock(cache_folder() / 'maven'))} jars in {LOCK.name}\n")
