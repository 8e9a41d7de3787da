"""A line of the last hour in a table cell: one small SVG picture, so that a hundred of them cost nothing."""

from collections.abc import Sequence
from typing import Any
from urllib.parse import quote

from dash import html

_WIDTH, _HEIGHT, _PAD = 84, 26, 2
_COLORS = {"blue": "#2f8fe0", "orange": "#d9730d"}


def sparkline(
    shown: str,
    values: Sequence[float | None],
    label: str,
    *,
    ceiling: float | None = None,
    color: str = "blue",
) -> Any:
    """The text `shown` with a line left of it. `values` at equal steps, `None` = no sample and drawn as a gap;
    `ceiling` fixes the top (100 for a share)."""
    present = [value for value in values if value is not None]
    look: dict[str, str] = {}
    if present:
        top = max(ceiling or 0.0, *present) or 1.0
        stroke = _COLORS[color]
        paths = "".join(_path(run, top, len(values), stroke) for run in _runs(values))
        svg = (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_HEIGHT}">'
            f'<g fill="none" stroke="{stroke}" stroke-width="1.4" stroke-linejoin="round" stroke-linecap="round">'
            f"{paths}</g></svg>"
        )
        look = {"backgroundImage": f'url("data:image/svg+xml,{quote(svg, safe=" =/:")}")'}
    return html.Span(shown, className="hps-sparkline", style=look, title=label)


def _runs(values: Sequence[float | None]) -> list[list[tuple[int, float]]]:
    runs: list[list[tuple[int, float]]] = [[]]
    for index, value in enumerate(values):
        if value is None:
            runs.append([])
        else:
            runs[-1].append((index, value))
    return [run for run in runs if run]


def _path(run: list[tuple[int, float]], top: float, steps: int, stroke: str) -> str:
    width, height = _WIDTH - 2 * _PAD, _HEIGHT - 2 * _PAD
    points = [
        (_PAD + width * index / max(steps - 1, 1), _PAD + height * (1 - max(value, 0.0) / top)) for index, value in run
    ]
    line = "L".join(f"{x:.1f} {y:.1f}" for x, y in points)
    if len(points) == 1:  # a lone sample between two gaps is a dot
        line += f"L{points[0][0] + 0.1:.1f} {points[0][1]:.1f}"
    floor = f"{_HEIGHT - _PAD}"
    area = f"M{points[0][0]:.1f} {floor}L{line}L{points[-1][0]:.1f} {floor}Z"
    return f'<path d="{area}" stroke="none" fill="{stroke}" fill-opacity="0.18"/><path d="M{line}"/>'
