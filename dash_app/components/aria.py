"""Attributes that assistive technology reads, and callbacks that run in the browser: what Dash's types don't know."""

from typing import Any

from dash import ClientsideFunction, Dash


def aria(**attributes: str) -> Any:
    """`**aria(label="Pages")` -> `aria-label="Pages"`; Dash's components take these, its signatures don't say so."""
    return {f"aria-{name}": value for name, value in attributes.items()}


def in_browser(app: Dash, function: str, *dependencies: Any, prevent_initial_call: bool = False) -> None:
    """A callback that is a function of `assets/hps.js`."""
    app.clientside_callback(  # type: ignore[no-untyped-call]  # dash annotates the callbacks of Python only
        ClientsideFunction("hps", function), *dependencies, prevent_initial_call=prevent_initial_call
    )
