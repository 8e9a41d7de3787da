"""The state of a server or of an incident as one word, a colour and an order of urgency."""

from dataclasses import dataclass
from typing import Any

from dash import html

_SYSTEMS = {"aix": "AIX", "linux": "Linux", "solaris": "Solaris", "hpux": "HP-UX", "freebsd": "FreeBSD"}


@dataclass(frozen=True, slots=True)
class State:
    """`urgency`: the higher, the further up in a list that starts with the worst. `icon` tells it without colour."""

    label: str
    color: str
    urgency: int
    icon: str


URGENT = 50
"""From this urgency on somebody should look."""

_STATES = {
    "key_changed": State("Host key changed", "red", 90, "✕"),
    "auth_failed": State("Login refused", "red", 80, "✕"),
    "unreachable": State("Unreachable", "red", 70, "✕"),
    "quarantined_output": State("Output not understood", "orange", 62, "!"),
    "degraded": State("Degraded", "orange", 60, "!"),
    "pending_host_key": State("Host key to confirm", "yellow", 50, "?"),
    "slow": State("Slow", "yellow", 40, "!"),
    "connecting": State("Connecting", "blue", 30, "…"),
    "up": State("Up", "green", 0, "✓"),
    "paused": State("Switched off", "gray", -10, "○"),
}
STALE = State("No samples", "orange", 65, "!")
"""Logged in, but nothing came for longer than three intervals."""


def state(status: str) -> State:
    """The looks of a server's `status`; an unknown one is shown as it is written."""
    return _STATES.get(status) or State(status.replace("_", " ").capitalize() or "Unknown", "gray", 40, "?")


_INCIDENTS = {
    "open": State("Open", "red", 40, "!"),
    "acknowledged": State("Acknowledged", "orange", 30, "…"),
    "resolved": State("Resolved", "green", 0, "✓"),
    "false_alarm": State("False alarm", "gray", 0, "○"),
}


def incident(state: str) -> State:
    """The looks of an incident's state."""
    return _INCIDENTS[state]


def badge(shown: State, message: str = "") -> Any:
    """Colour, sign and words together, so that none of them is needed; the collector's own words on hover."""
    return html.Span(
        shown.label,
        className=f"hps-state hps-sign-{shown.color}",
        title=message or None,
        **{"data-sign": shown.icon},  # type: ignore[arg-type]  # dash's signatures know no data attributes
    )


def facts(operating_system: str | None, version: str | None, architecture: str | None = None) -> str:
    """ "AIX 7.3 ppc64"; a version that names its system already, such as a Linux distribution's, stands alone."""
    name = system(operating_system)
    known = version if version and name.lower() in version.lower() else f"{name} {version or ''}".strip()
    return f"{known} {architecture or ''}".strip()


def system(name: str | None) -> str:
    """ "HP-UX" for `hpux`."""
    return _SYSTEMS.get(name or "", name or "Unknown system")
