"""What stands where data would: nothing yet, not available, still loading. Written for an operator."""

import logging
from typing import Any

import dash_mantine_components as dmc
from dash import html

from dash_app.components.aria import aria
from hps_platform.errors import HpsError, Unavailable

logger = logging.getLogger(__name__)


def empty(title: str, text: str = "", action: Any = None) -> Any:
    """An absence with its reason and, where there is one, the way on."""
    return dmc.Center(
        dmc.Stack(
            [
                dmc.Text(title, fw=600, ta="center"),
                dmc.Text(text, size="sm", c="dimmed", ta="center", maw=520) if text else None,
                action,
            ],
            align="center",
            gap="xs",
        ),
        mih=160,
        p="md",
        className="hps-empty",
    )


def failure(error: Exception) -> Any:
    """What failed and whether waiting helps. An error that is not ours is logged whole and shown without detail."""
    if isinstance(error, HpsError):
        text = str(error)
    else:
        logger.error("a page failed", exc_info=error)
        text = "Something unexpected went wrong; the app's log has the details."
    later = "It is tried again by itself." if isinstance(error, Unavailable) else None
    return dmc.Alert(
        [html.Span(text), html.Div(later) if later else None],
        title="Not available at the moment" if later else "This didn't work",
        color="red",
        variant="light",
    )


def note(text: Any, *, title: str | None = None) -> Any:
    """Worth knowing, no failure."""
    return dmc.Alert(
        text, title=title, color="yellow", variant="default", p="xs", px="sm", mb="sm", className="hps-note"
    )


def loading(rows: int = 6, height: int = 28) -> Any:
    """Bars in the shape of what is coming; replaced by the first answer."""
    return html.Div(
        dmc.Stack([dmc.Skeleton(height=height, radius="sm") for _ in range(rows)], gap="xs"),
        role="status",
        **aria(label="Loading"),
    )
