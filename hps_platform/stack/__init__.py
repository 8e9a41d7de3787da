"""The whole platform on one machine: its processes, how they are started, watched and ended.

`start`, `stop` and `status` are what callers need. One module an outside program (`postgres`, `kafka`, `sshd`),
`services` for the list of all of them, `sequence` for their order, `supervisor` for supervisord, `control` for what
joins them. What runs inside the processes lives elsewhere: this package only starts them.
"""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from hps_platform.settings import Settings

if TYPE_CHECKING:
    from hps_platform.stack.control import ServiceStatus, Stack
    from hps_platform.stack.services import Service


# Imported on demand: supervisord loads a module of this package and needs none of what starting needs.


def start(
    settings: Settings, *, extra: "Sequence[Service] | None" = None, progress: Callable[[str], None] = lambda _: None
) -> "Stack":
    """See `control.start`."""
    from hps_platform.stack import control

    return control.start(settings, extra=extra, progress=progress)


def stop(settings: Settings, *, progress: Callable[[str], None] = lambda _: None) -> bool:
    """See `control.stop`."""
    from hps_platform.stack import control

    return control.stop(settings, progress=progress)


def status(settings: Settings) -> "list[ServiceStatus]":
    """See `control.status`."""
    from hps_platform.stack import control

    return control.status(settings)
