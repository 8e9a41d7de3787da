"""`hps bench parse`: how much output of each planned command one core turns into rows.

The texts are the simulated fleet's: vmstat and iostat as outputs of many reports, and report by report as the collector
parses them; process lists of 200 rows.
"""

import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime

from hps_platform import dialects
from hps_platform.dialects import PlannedCommand
from hps_platform.errors import StackError
from hps_platform.stack.bench import Report, Tell, report
from hps_platform.stack.simulator.live import Live
from hps_platform.stack.simulator.session import Machine
from hps_platform.stack.simulator.shell import Printed, Reports, steps
from hps_platform.stack.simulator.wheel import Wheel
from hps_platform.stack.simulator.world import World

PROCESSES = 200
_REPORTS = 300
_SEED = 1


def run(*, seconds: float, tell: Tell) -> Report:
    """`seconds` for each command and way of parsing it; a top-level entry a command."""
    started = time.monotonic()
    measured = {}
    for system, planned, texts in _outputs():
        tell(f"{system}: {planned.command}")
        entry = _rates(system, planned, ["".join(texts)], seconds)
        if planned.stream:
            splitter = dialects.splitter(system, planned.command)
            reports = [cut for text in texts for cut in splitter.feed(text)]
            streamed = _rates(system, planned, reports, seconds, streamed=True)
            entry |= {f"streamed_{name}": value for name, value in streamed.items()}
        measured[f"{system}: {planned.command}"] = entry
    parameters = {"seconds": seconds, "processes": PROCESSES, "reports": _REPORTS}
    return report("parse", parameters, started, measured)


def _outputs() -> Iterator[tuple[str, PlannedCommand, list[str]]]:
    """Each system's planned commands with what a machine prints on them."""
    world = World(_SEED, datetime.now(UTC), processes=PROCESSES)
    systems = {host.os: host for host in reversed(world.hosts)}
    for system in sorted(systems):
        host = systems[system]
        machine = Machine(Live(world.machine(host.hostname)), Wheel(), time.time, lambda _hostname, _command: None)
        for planned in dialects.plan(system):
            texts = []
            for step in steps(host, planned.command):
                if isinstance(step, Reports):
                    texts.append(machine.opening(step))
                    interval_s = planned.interval_s
                    texts += [
                        machine.report_at(step, number, time.time() + number * interval_s)
                        for number in range(1, _REPORTS)
                    ]
                elif isinstance(step, Printed):
                    texts.append(step.stdout)
                else:
                    texts.append(step.filtered(machine.once(step.once, planned.command)))
            yield system, planned, texts


def _rates(
    system: str, planned: PlannedCommand, texts: list[str], seconds: float, *, streamed: bool = False
) -> dict[str, float]:
    def parse() -> int:
        return sum(len(dialects.parse(system, planned.command, text, streamed=streamed).rows) for text in texts)

    rows, cpu_s = _repeated(parse, seconds)
    if not rows:
        raise StackError(f"no row of {system} from `{planned.command}`")
    size = sum(len(text) for text in texts)
    once = parse()
    return {"rows_per_s": round(rows / cpu_s), "mb_per_s": round(rows / once * size / cpu_s / 1e6, 2)}


def _repeated(work: Callable[[], int], seconds: float) -> tuple[int, float]:
    """What `work` adds up to in some `seconds` of this process's CPU time, and that time."""
    done, began = 0, time.process_time()
    while (spent := time.process_time() - began) < seconds:
        done += work()
    return done, spent
