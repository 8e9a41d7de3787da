"""Frame of a page: heading row, panel, table that scrolls inside, links.

Tables are plain HTML with few elements a cell: Mantine's cells cost a browser several times as much, and a fleet's
table is drawn anew every few seconds.
"""

from collections.abc import Sequence
from typing import Any, cast

import dash_mantine_components as dmc
from dash import dcc, html

from dash_app.components.aria import aria
from dash_app.figures import CONFIG


def heading(title: str, lead: str = "", *, right: Any = None) -> Any:
    """The page's only `h1`, one line on what it shows, and what may be done at the right."""
    return dmc.Group(
        [
            dmc.Stack(
                [dmc.Title(title, order=1, size="h3"), dmc.Text(lead, size="sm", c="dimmed") if lead else None],
                gap=0,
            ),
            html.Div(right, className="hps-right") if right is not None else None,
        ],
        justify="space-between",
        align="flex-end",
        mb="sm",
    )


def panel(children: Any, *, title: str | None = None, right: Any = None, **props: Any) -> Any:
    head = (
        dmc.Group(
            [dmc.Title(title, order=2, size="h5"), html.Div(right, className="hps-right")],
            justify="space-between",
            mb=4,
        )
        if title
        else None
    )
    return dmc.Paper(
        [head, *(children if isinstance(children, list) else [children])], p="sm", withBorder=True, **props
    )


def table(head: Sequence[Any], rows: Sequence[Any], *, caption: str, min_width: int = 700) -> Any:
    """`rows` as `row` makes them; wider than the screen it scrolls in itself, never the page."""
    cells = [html.Th(cell, scope="col") if isinstance(cell, str) else cell for cell in head]
    return html.Div(
        html.Table(
            [html.Caption(caption, className="hps-hidden"), html.Thead(html.Tr(cells)), html.Tbody(list(rows))],
            className="hps-table",
            style={"minWidth": min_width},
        ),
        className="hps-scroll",
        tabIndex=0,
        role="region",
        **aria(label=caption),
    )


def facts_table(lines: Sequence[tuple[str, Any]]) -> Any:
    """Names at the left, values at the right."""
    rows = [row([cell(name, className="hps-dimmed"), number_cell(value)]) for name, value in lines]
    return html.Table(html.Tbody(rows), className="hps-table")


def row(cells: Sequence[Any]) -> Any:
    return html.Tr(list(cells))


def cell(children: Any, **props: Any) -> Any:
    return html.Td(children, **props)


def graph(figure: Any, *, height: int, label: str, **props: Any) -> Any:
    """A chart as wide as its panel; `label` is what a screen reader says it shows."""
    chart = dcc.Graph(figure=figure, config=cast(Any, CONFIG), responsive=True, style={"height": height}, **props)
    return html.Div(chart, role="figure", **aria(label=label))


def number_head(label: str) -> Any:
    return html.Th(label, scope="col", className="hps-number")


def number_cell(children: Any, *, className: str = "", **props: Any) -> Any:  # noqa: N803  as Dash calls it
    return html.Td(children, className=f"hps-number {className}".strip(), **props)


def link(label: Any, href: str, **props: Any) -> Any:
    """Within the app: no page load."""
    return dcc.Link(label, href=href, className="hps-link", **props)


def outside(label: str, href: str) -> Any:
    """To another user interface, in a tab of its own."""
    return html.A(label, href=href, target="_blank", rel="noopener", className="hps-link")
