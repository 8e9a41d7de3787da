"""`python -m hps_platform.stack.simulator`: serves the simulated fleet until it is told to stop."""

import argparse
import asyncio
import logging
import signal
import sys
from datetime import UTC, datetime
from pathlib import Path

from hps_platform.errors import HpsError
from hps_platform.stack.simulator.server import SimulatedFleet
from hps_platform.stack.simulator.world import World


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m hps_platform.stack.simulator", description=__doc__)
    parser.add_argument("--data-dir", type=Path, required=True, help="keys, ports and ground truth are kept below it")
    parser.add_argument("--seed", type=int, default=1, help="the same seed and epoch give the same fleet")
    parser.add_argument("--epoch", type=datetime.fromisoformat, help="when the history ends and live time begins; now")
    parser.add_argument("--hosts", type=int, default=12, help="how many hosts; more than 12 for tests of scale")
    return parser.parse_args()


async def _serve(world: World, data_dir: Path) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    async with SimulatedFleet(world, data_dir):
        await stop.wait()


def main() -> int:
    """Returns the exit code."""
    arguments = _arguments()
    logging.basicConfig(level=logging.INFO, stream=sys.stderr, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    logging.getLogger("asyncssh").setLevel(logging.WARNING)
    epoch = arguments.epoch or datetime.now(UTC)
    if epoch.tzinfo is None:
        epoch = epoch.replace(tzinfo=UTC)
    try:
        asyncio.run(_serve(World(arguments.seed, epoch, arguments.hosts), arguments.data_dir))
    except HpsError as error:
        print(error, file=sys.stderr)  # noqa: T201 (this is a program)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
