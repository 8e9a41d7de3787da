"""`python -m hps_platform.stack SERVICE`: one service in the foreground, as a container or a unit file wants it.

The process becomes the service, with the same command line and environment that `hps up` gives it. `--healthy` asks a
running one instead and exits 0 or 1.
"""

import argparse
import os
import sys

from hps_platform import settings as settings_module
from hps_platform.errors import HpsError
from hps_platform.settings import Settings
from hps_platform.stack import health, services
from hps_platform.stack.record import Record
from hps_platform.stack.services import Service

NAMES = ("mlflow", "dagster-code", "dagster-daemon", "dagster-webserver", "collector", "app")


def find(name: str, settings: Settings, record: Record) -> Service:
    """The service of that name."""
    listed = [
        services.mlflow(settings),
        *services.dagster(settings, record),
        services.collector(),
        services.app(settings),
    ]
    return next(service for service in listed if service.name == name)


def main() -> None:
    """Becomes the service; ends the process for `--healthy` and on an error."""
    parser = argparse.ArgumentParser(prog="python -m hps_platform.stack", description=__doc__)
    parser.add_argument("service", choices=NAMES)
    parser.add_argument("--healthy", action="store_true", help="ask the running service, exit 0 or 1")
    arguments = parser.parse_args()
    try:
        settings = settings_module.load()
        record = Record.load(settings.data_dir) or Record(settings.data_dir)
        service = find(arguments.service, settings, record)
        if arguments.healthy:
            well, words = health.ask(service.health, settings)
            sys.stdout.write(f"{words}\n")
            sys.exit(0 if well else 1)
        settings.data_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
        services.write_dagster_home(settings)
    except HpsError as error:
        sys.stderr.write(f"{error}\n")
        sys.exit(1)
    environment = services.base_environment(settings, record) | dict(service.environment)
    os.execvpe(service.command[0], service.command, environment)  # noqa: S606 - no shell is wanted here


if __name__ == "__main__":
    main()
