"""Symbols drawn in the colour of the text around them, from paths kept here: nothing is fetched."""

from typing import Any
from urllib.parse import quote

from dash import html

from dash_app.components.aria import aria

# 24 x 24, strokes only.
_PATHS = {
    "overview": "M4 5h6v6H4zM14 5h6v6h-6zM4 15h6v4H4zM14 15h6v4h-6z",
    "live": "M3 12h4l3-8 4 16 3-8h4",
    "history": "M4 19V5M4 19h16M8 15l3-4 3 2 5-6",
    "anomaly": "M12 4l9 16H3zM12 10v4M12 17v.01",
    "server": "M4 5h16v6H4zM4 13h16v6H4zM8 8v.01M8 16v.01",
    "outside": "M14 4h6v6M20 4l-9 9M18 14v6H4V6h6",
    "sun": "M12 8a4 4 0 1 0 0 8 4 4 0 0 0 0-8zM12 2v2M12 20v2M2 12h2M20 12h2M5 5l1.4 1.4M17.6 17.6L19 19M19 5l-1.4 1.4"
    "M6.4 17.6L5 19",
    "moon": "M20 14.5A8 8 0 1 1 9.5 4a6.5 6.5 0 0 0 10.5 10.5z",
    "plus": "M12 5v14M5 12h14",
    "edit": "M5 19l1-4L16 5l3 3L9 18z",
    "plug": "M9 3v5M15 3v5M6 8h12v3a6 6 0 0 1-12 0zM12 17v4",
    "bin": "M4 7h16M9 7V4h6v3M6 7l1 13h10l1-13",
    "back": "M15 5l-7 7 7 7",
}


def icon(name: str, size: int = 18) -> Any:
    """Decoration only: whoever uses it writes the words beside it, or an `aria-label`."""
    look = {**mask(name), "width": size, "height": size}
    return html.Span(className="hps-icon", style=look, **aria(hidden="true"))


def mask(name: str) -> dict[str, Any]:
    """The symbol as a mask for an element of a colour of its own."""
    svg = (
        '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 24 24" fill="none" stroke="#000" stroke-width="1.8" '
        f'stroke-linecap="round" stroke-linejoin="round"><path d="{_PATHS[name]}"/></svg>'
    )
    return {"--hps-mask": f'url("data:image/svg+xml,{quote(svg)}")'}
