"""The project's own outputs with their golden rows: `fixtures/<os>/<family>/<name>.txt` and `.json`."""

import json
import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from hps_platform.metrics import FAMILIES

FIXTURES = Path(__file__).parents[2] / "fixtures"


@dataclass(frozen=True)
class Case:
    os: str
    family: str
    name: str
    text: str
    command: str
    outcome: str
    duplicates: int
    rows: list[dict[str, Any]]

    def __str__(self) -> str:
        return f"{self.os}/{self.family}/{self.name}"


@cache
def cases() -> tuple[Case, ...]:
    """All of them, in the order of their paths."""
    found = []
    for path in sorted(FIXTURES.glob("*/*/*.txt")):
        golden = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))
        # newline="": some of them hold carriage returns that are part of the case.
        with path.open(encoding="utf-8", newline="") as file:
            text = file.read()
        os, family = path.parts[-3:-1]
        found.append(Case(os=os, family=family, name=path.stem, text=text, **golden))
    return tuple(found)


def streaming() -> tuple[Case, ...]:
    """Those of commands that run until stopped: an interval of 2 s without a count."""
    return tuple(
        case
        for case in cases()
        if case.family in ("vmstat", "iostat", "lpar") and re.fullmatch(r"\D+ 2", case.command) and case.rows
    )


def families_of(os: str) -> list[str]:
    """The families that a system must speak: partitions are AIX's alone."""
    return [name for name, family in FAMILIES.items() if family.everywhere or os == "aix"]
