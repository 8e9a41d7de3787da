"""`python -m hps_platform.stack.simulator`: serves the simulated fleet until it is told to stop."""

import argparse
import asyncio
import logging
import signal
import sys
from datetime import UTC, datetime
from pathlib import Path

from hps_platform.errors import HpsError
from hps_platform.stack.simulator import timetable
from hps_platform.stack.simulator.incidents import WEEK
from hps_platform.stack.simulator.server import SimulatedFleet
from hps_platform.stack.simulator.world import World, minute_of

log = logging.getLogger(__name__)
_PROCESSES = 150


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m hps_platform.stack.simulator", description=__doc__)
    parser.add_argument("--data-dir", type=Path, required=True, help="keys, ports and ground truth are kept below it")
    parser.add_argument("--seed", type=int, default=1, help="the same seed and epoch give the same fleet")
    parser.add_argument("--epoch", type=datetime.fromisoformat, help="when the history ends and live time begins; now")
    parser.add_argument("--hosts", type=int, default=12, help="how many hosts; more than 12 for tests of scale")
    parser.add_argument(
        "--rehearsed",
        action="store_true",
        help="for benchmarks: 150 processes a host, texts from a stock; SIGUSR1 ends all reports, and what was printed "
        "is written to printed.json and printed.reports at the end",
    )
    parser.add_argument("--no-truth", action="store_true", help="do not write incidents.json, which takes seconds")
    return parser.parse_args()


def _weeks(now: int) -> list[int]:
    """The weeks whose ground truth is kept: those of the history, the last few of live time, and the next."""
    return [*timetable.HISTORY_WEEKS, *range(max(now - 3, 0), now + 2)]


async def _keep_truth(world: World, path: Path) -> None:
    """Writes the ground truth, and again when a week of live time has passed, always a week ahead."""
    while True:
        now = minute_of(datetime.now(UTC))
        week = (now - world.epoch_minute) // WEEK
        try:
            # A world of its own: it is worked out in another thread, beside the answers.
            twin = World(world.seed, world.epoch, len(world.hosts))
            await asyncio.to_thread(timetable.write, twin, path, _weeks(week))
        except OSError:
            log.exception("the ground truth could not be written")
        await asyncio.sleep(60 * (world.epoch_minute + (week + 1) * WEEK - now) + 1)


def _fall_silent(fleet: SimulatedFleet) -> None:
    if fleet.printed is not None:
        fleet.printed.silent = True


async def _serve(world: World, data_dir: Path, *, truth: bool, rehearsed: bool) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    async with SimulatedFleet(world, data_dir, rehearsed=rehearsed) as fleet:
        loop.add_signal_handler(signal.SIGUSR1, _fall_silent, fleet)
        keeping = asyncio.create_task(_keep_truth(world, fleet.directory / "incidents.json")) if truth else None
        await stop.wait()
        if keeping:
            keeping.cancel()
        if fleet.printed is not None:
            fleet.printed.write(fleet.directory)


def main() -> int:
    """Returns the exit code."""
    arguments = _arguments()
    logging.basicConfig(level=logging.INFO, stream=sys.stderr, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    logging.getLogger("asyncssh").setLevel(logging.WARNING)
    epoch = arguments.epoch or datetime.now(UTC)
    if epoch.tzinfo is None:
        epoch = epoch.replace(tzinfo=UTC)
    try:
        world = World(arguments.seed, epoch, arguments.hosts, _PROCESSES if arguments.rehearsed else None)
        truth = not (arguments.no_truth or arguments.rehearsed)
        asyncio.run(_serve(world, arguments.data_dir, truth=truth, rehearsed=arguments.rehearsed))
    except HpsError as error:
        print(error, file=sys.stderr)  # noqa: T201 (this is a program)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
