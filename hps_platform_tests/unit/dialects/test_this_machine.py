"""What this machine's own commands print is read, command by command of the Linux plan."""

import os
import shutil
import subprocess

from hps_platform.dialects import DIALECTS, Outcome, parse
from hps_platform.dialects.dialect import Plan
from hps_platform_tests.unit.dialects.evidence import contradictions


def _bounded(line: Plan) -> str:
    once = line.once or line.command.replace("{interval}", "{interval} 2")
    return once.format(interval=1)


def _present(tool: str) -> bool:
    return os.access(tool, os.R_OK) if tool.startswith("/") else shutil.which(tool) is not None


def test_every_way_of_the_plan_that_is_possible_here() -> None:
    read: dict[str, int] = {}
    for line in DIALECTS["linux"].plan:
        if not all(_present(tool) for tool in line.needs):
            continue
        command = _bounded(line)
        answer = subprocess.run(["sh", "-c", command], capture_output=True, text=True, check=False, timeout=30)

        parsed = parse("linux", command, answer.stdout)

        assert parsed.outcome is Outcome.ROWS or line.family == "iostat", (command, answer.stdout, parsed.message)
        assert contradictions(line.family, parsed.rows, answer.stdout, command) == []
        read[line.family] = len(parsed.rows)

    # df and /proc are everywhere.
    assert read["filesystem"] >= 1
    assert read["memory"] == 1
    assert read["netstat"] >= 1
    assert read["vmstat"] == 1
