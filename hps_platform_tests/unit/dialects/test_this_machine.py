"""What this machine's own commands print is read, command by command of the Linux plan."""

import re
import shutil
import subprocess

from hps_platform.dialects import Outcome, parse, plan
from hps_platform.dialects.commandline import programs
from hps_platform_tests.unit.dialects.evidence import contradictions


def _bounded(command: str) -> str:
    return re.sub(r" 2$", " 1 2", command)


def test_planned_commands_that_are_installed_here() -> None:
    read: dict[str, int] = {}
    for planned in plan("linux"):
        program = programs(planned.command)[0].name
        if not program.startswith("/") and shutil.which(program) is None:
            continue
        command = _bounded(planned.command)
        answer = subprocess.run(["sh", "-c", command], capture_output=True, text=True, check=False, timeout=30)

        parsed = parse("linux", command, answer.stdout)

        assert parsed.outcome is Outcome.ROWS or planned.family == "iostat", (command, answer.stdout, parsed.message)
        assert contradictions(planned.family, parsed.rows, answer.stdout) == []
        read[planned.family] = len(parsed.rows)

    # df and /proc are everywhere.
    assert read["filesystem"] >= 1
    assert read["memory"] == 1
    assert read["netstat"] >= 1
