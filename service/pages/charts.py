"""The geometry of charts, which `_chart.html` draws as SVG: stacked bars and lines."""

import math
from collections.abc import Callable, Sequence
from typing import ClassVar

from msgspec import Struct

LEFT, RIGHT, TOP, BOTTOM = 48, 432, 12, 184
"""The edges of the plot in user units; labels are to the left of it and below it."""
MAX_TICKS = 5
MAX_LABELS = 7
BAR_SHARE = 0.7
"""How much of its slot a bar takes."""


class Series(Struct, frozen=True):
    """The values of one thing in all periods; None where there is none."""

    name: str
    style: int
    """Selects a color with a pattern, or with a dash and a marker."""
    values: Sequence[float | None]


class Tick(Struct, frozen=True):
    """A place on an axis."""

    position: float
    label: str


class Bar(Struct, frozen=True):
    """A part of a stack."""

    style: int
    x: float
    y: float
    height: float
    title: str


class Marker(Struct, frozen=True):
    """A point of a line."""

    x: float
    y: float
    title: str


class Line(Struct, frozen=True):
    """A series as connected points; a period without a value interrupts it."""

    style: int
    paths: list[str]
    markers: list[Marker]


class Chart(Struct, frozen=True, kw_only=True):
    """A chart and the table with the same values."""

    width: ClassVar = 440
    height: ClassVar = 210
    left: ClassVar = LEFT
    right: ClassVar = RIGHT
    bottom: ClassVar = BOTTOM

    name: str
    title: str
    series: Sequence[Series]
    labels: Sequence[str]
    x_ticks: list[Tick]
    y_ticks: list[Tick]
    bars: list[Bar] = []
    bar_width: float = 0
    lines: list[Line] = []
    format_value: Callable[[float], str]

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to draw."""
        return not any(line.markers for line in self.lines) and not self.bars


def create_bar_chart(
    name: str, title: str, labels: Sequence[str], all_series: list[Series]
) -> Chart:
    """Return a chart with one stack per period; series without values are left out."""
    series = [each for each in all_series if any(each.values)] or all_series[:1]
    totals = [sum(each.values[n] or 0 for each in series) for n in range(len(labels))]
    step, top = _choose_scale(max(totals), whole=True)
    width = (RIGHT - LEFT) / len(labels) * BAR_SHARE
    bars: list[Bar] = []
    for number, label in enumerate(labels):
        below = 0.0
        for each in series:
            if value := each.values[number]:
                y, bottom = _scale_y(below + value, top), _scale_y(below, top)
                x = _find_x(number, len(labels)) - width / 2
                text = f"{label}, {each.name}: {format_count(value)}"
                bars.append(Bar(each.style, round(x, 1), y, round(bottom - y, 1), text))
                below += value
    return Chart(
        name=name,
        title=title,
        series=series,
        labels=labels,
        x_ticks=_create_x_ticks(labels),
        y_ticks=_create_y_ticks(step, top, format_count),
        bars=bars,
        bar_width=round(width, 1),
        format_value=format_count,
    )


def create_line_chart(
    name: str,
    title: str,
    labels: Sequence[str],
    series: list[Series],
    format_value: Callable[[float], str],
    maximum: float | None = None,
) -> Chart:
    """Return a chart with one line per series; the axis ends at `maximum`, or above all values."""
    values = [value for each in series for value in each.values if value is not None]
    step, top = _choose_scale(maximum or max(values, default=0))
    return Chart(
        name=name,
        title=title,
        series=series,
        labels=labels,
        x_ticks=_create_x_ticks(labels),
        y_ticks=_create_y_ticks(step, top, format_value),
        lines=[_create_line(each, labels, top, format_value) for each in series],
        format_value=format_value,
    )


def _create_line(
    series: Series, labels: Sequence[str], top: float, format_value: Callable[[float], str]
) -> Line:
    paths: list[list[str]] = [[]]
    markers = []
    for number, value in enumerate(series.values):
        if value is None:
            paths.append([])
            continue
        x, y = _find_x(number, len(labels)), _scale_y(value, top)
        paths[-1].append(f"{x:g},{y:g}")
        markers.append(Marker(x, y, f"{labels[number]}, {series.name}: {format_value(value)}"))
    return Line(series.style, [" ".join(path) for path in paths if len(path) > 1], markers)


def _choose_scale(maximum: float, *, whole: bool = False) -> tuple[float, float]:
    """Return the distance of the ticks (1, 2 or 5 times a power of ten) and the end of the axis."""
    if maximum <= 0:
        return 1, 1
    power = 10 ** math.floor(math.log10(maximum / MAX_TICKS))
    steps = (factor * power for factor in (1, 2, 5, 10))
    step = next(step for step in steps if maximum / step <= MAX_TICKS)
    if whole:
        step = max(step, 1)
    return step, math.ceil(round(maximum / step, 9)) * step


def _create_y_ticks(step: float, top: float, format_value: Callable[[float], str]) -> list[Tick]:
    values = (number * step for number in range(round(top / step) + 1))
    return [Tick(_scale_y(value, top), format_value(value)) for value in values]


def _create_x_ticks(labels: Sequence[str]) -> list[Tick]:
    """Return as many labels as fit, and always the last one."""
    every = math.ceil(len(labels) / MAX_LABELS)
    return [
        Tick(_find_x(number, len(labels)), label)
        for number, label in enumerate(labels)
        if (len(labels) - 1 - number) % every == 0
    ]


def _find_x(number: int, periods: int) -> float:
    return round(LEFT + (RIGHT - LEFT) * (number + 0.5) / periods, 1)


def _scale_y(value: float, top: float) -> float:
    return round(BOTTOM - (BOTTOM - TOP) * min(value / top, 1), 1)


def format_count(value: float) -> str:
    """Return a number with separators of thousands."""
    return f"{value:,.0f}"


def format_percent(value: float) -> str:
    """Return a share of 100."""
    return f"{value:.0f} %"


def format_seconds(value: float) -> str:
    """Return a duration with two significant digits below ten seconds."""
    return f"{value:.2g} s" if value < 10 else f"{value:,.0f} s"  # noqa: PLR2004
