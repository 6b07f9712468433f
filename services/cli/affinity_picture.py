"""The picture of a run of `tokenline bench affinity`: the cached share of the input, call by call, as SVG."""

from collections.abc import Sequence
from html import escape
from typing import Final

from services.cli.bench_report import AffinityReport

_WIDTH, _HEIGHT = 720, 360
_LEFT, _RIGHT, _TOP, _BOTTOM = 56, 24, 56, 84
_STEP_PERCENT: Final = 20
_COLOURS: Final = {"single": "#1f77b4", "four": "#2ca02c", "spread": "#d62728"}


def drawn(report: AffinityReport) -> str:
    """The picture as a whole SVG document."""
    lines = {
        "single": [each.single for each in report.shares],
        "four": [each.four for each in report.shares],
        "spread": [each.spread for each in report.shares],
    }
    names = {
        "single": f"one route: {report.single_percent:.1f} %",
        "four": f"{report.routes} routes, {report.edges} edges, with affinity: {report.cached_percent:.1f} %",
        "spread": f"{report.routes} routes in turn, worked out: {report.spread_percent:.1f} %",
    }
    title = f"Input served from prompt caches: {report.calls:,} calls of {report.conversations:,} agents' conversations"
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_HEIGHT}" font-family="sans-serif" font-size="12">',
        f'<rect width="{_WIDTH}" height="{_HEIGHT}" fill="white"/>',
        f'<text x="{_LEFT}" y="24" font-size="14">{escape(title)}</text>',
        *_lost(report),
        *_grid(),
        *(_line(values, _COLOURS[name]) for name, values in lines.items()),
        *(_legend(index, names[name], _COLOURS[name]) for index, name in enumerate(lines)),
        "</svg>",
    ]
    return "\n".join(parts) + "\n"


def _x(share: float) -> float:
    return round(_LEFT + share * (_WIDTH - _LEFT - _RIGHT), 1)


def _y(percent: float) -> float:
    return round(_HEIGHT - _BOTTOM - percent / 100 * (_HEIGHT - _TOP - _BOTTOM), 1)


def _lost(report: AffinityReport) -> list[str]:
    """The time in which a route was lost."""
    left, right = _x(report.lost_at), _x(report.back_at)
    return [
        f'<rect x="{left}" y="{_y(100)}" width="{right - left:.1f}" height="{_y(0) - _y(100):.1f}" fill="#eeeeee"/>',
        f'<text x="{(left + right) / 2:.1f}" y="{_y(100) - 6}" text-anchor="middle" fill="#666666">one route lost</text>',
    ]


def _grid() -> list[str]:
    parts = []
    for percent in range(0, 101, _STEP_PERCENT):
        y = _y(percent)
        parts.append(f'<line x1="{_x(0)}" y1="{y}" x2="{_x(1)}" y2="{y}" stroke="#cccccc" stroke-width="0.5"/>')
        parts.append(f'<text x="{_LEFT - 8}" y="{y + 4}" text-anchor="end">{percent} %</text>')
    return [*parts, f'<text x="{_x(1)}" y="{_y(0) + 18}" text-anchor="end">calls in their order</text>']


def _line(values: Sequence[float], colour: str) -> str:
    points = " ".join(f"{_x((index + 0.5) / len(values))},{_y(value)}" for index, value in enumerate(values))
    return f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="1.5"/>'


def _legend(index: int, name: str, colour: str) -> str:
    y = _HEIGHT - _BOTTOM + 38 + 17 * index
    return (
        f'<line x1="{_LEFT}" y1="{y - 4}" x2="{_LEFT + 24}" y2="{y - 4}" stroke="{colour}" stroke-width="2"/>'
        f'<text x="{_LEFT + 32}" y="{y}">{escape(name)}</text>'
    )
