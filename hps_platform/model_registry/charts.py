"""Small drawings that are logged with a model, as SVG: MLflow shows them, and making one takes no plotting library."""

from collections.abc import Mapping, Sequence
from html import escape

_WIDTH, _HEIGHT, _LEFT, _BOTTOM, _TOP = 640, 320, 56, 40, 36


def columns(title: str, edges: Sequence[float], counts: Sequence[float], x_label: str) -> bytes:
    """A histogram: `counts[i]` between `edges[i]` and `edges[i + 1]`."""
    highest = max([*counts, 1e-12])
    first, last = edges[0], max(edges[-1], edges[0] + 1e-12)
    parts = []
    for low, high, count in zip(edges, edges[1:], counts, strict=False):
        left, right = _x(low, first, last), _x(high, first, last)
        top = _y(count, 0.0, highest)
        parts.append(
            f'<rect x="{left:.1f}" y="{top:.1f}" width="{max(right - left - 1, 0.5):.1f}"'
            f' height="{_HEIGHT - _BOTTOM - top:.1f}" fill="#3b6fb6"/>'
        )
    return _svg(title, parts, (first, last), (0.0, highest), x_label)


def line(title: str, points: Sequence[tuple[float, float]], labels: tuple[str, str]) -> bytes:
    """Points joined by a line, with the diagonal on which both numbers are the same; `labels` of x and y."""
    ends = [value for point in points for value in point] or [0.0, 1.0]
    first, last = min(ends), max(*ends, min(ends) + 1e-12)
    path = " ".join(f"{_x(x, first, last):.1f},{_y(y, first, last):.1f}" for x, y in points)
    diagonal = f"{_x(first, first, last):.1f},{_y(first, first, last):.1f} {_x(last, first, last):.1f},{_TOP}"
    parts = [
        f'<polyline points="{diagonal}" fill="none" stroke="#999" stroke-dasharray="4 4"/>',
        f'<polyline points="{path}" fill="none" stroke="#3b6fb6" stroke-width="2"/>',
    ]
    return _svg(f"{title} ({labels[1]})", parts, (first, last), (first, last), labels[0])


def bars(title: str, shares: Mapping[str, float]) -> bytes:
    """One lying bar a name, in the order given."""
    highest = max([*shares.values(), 1e-12])
    height = _TOP + 24 * len(shares) + 12
    parts = [_text(_WIDTH / 2, 22, title, "middle", 15)]
    for row, (name, share) in enumerate(shares.items()):
        y = _TOP + 24 * row
        parts.append(f'<rect x="180" y="{y}" width="{380 * share / highest:.1f}" height="18" fill="#3b6fb6"/>')
        parts += [_text(172, y + 14, name, "end"), _text(186 + 380 * share / highest, y + 14, f"{share:.3g}", "start")]
    return _document(height, parts)


def _svg(
    title: str, parts: list[str], across: tuple[float, float], upwards: tuple[float, float], x_label: str
) -> bytes:
    base = _HEIGHT - _BOTTOM
    frame = [
        _text(_WIDTH / 2, 22, title, "middle", 15),
        f'<path d="M{_LEFT},{_TOP} V{base} H{_WIDTH - 16}" fill="none" stroke="#555"/>',
        _text(_LEFT, base + 16, f"{across[0]:.3g}", "middle"),
        _text(_WIDTH - 16, base + 16, f"{across[1]:.3g}", "end"),
        _text(_WIDTH / 2, base + 32, x_label, "middle"),
        _text(_LEFT - 6, base, f"{upwards[0]:.3g}", "end"),
        _text(_LEFT - 6, _TOP + 8, f"{upwards[1]:.3g}", "end"),
    ]
    return _document(_HEIGHT, [*frame, *parts])


def _document(height: float, parts: Sequence[str]) -> bytes:
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" font-family="sans-serif">'
    return "\n".join([head, f'<rect width="{_WIDTH}" height="{height}" fill="#fff"/>', *parts, "</svg>"]).encode()


def _text(x: float, y: float, text: str, anchor: str, size: int = 12) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size}" text-anchor="{anchor}">{escape(text)}</text>'


def _x(value: float, first: float, last: float) -> float:
    return _LEFT + (value - first) / (last - first) * (_WIDTH - 16 - _LEFT)


def _y(value: float, first: float, last: float) -> float:
    return _HEIGHT - _BOTTOM - (value - first) / (last - first) * (_HEIGHT - _BOTTOM - _TOP)
