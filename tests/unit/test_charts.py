"""The geometry of the charts of the status page."""

import pytest

from service.pages.charts import (
    BOTTOM,
    TOP,
    Chart,
    Series,
    create_bar_chart,
    create_line_chart,
    format_seconds,
)


def list_ticks(chart: Chart) -> list[str]:
    return [tick.label for tick in chart.y_ticks]


@pytest.mark.parametrize(
    ("maximum", "ticks"),
    [
        (0, ["0", "1"]),
        (1, ["0", "1"]),
        (3, ["0", "1", "2", "3"]),
        (7, ["0", "2", "4", "6", "8"]),
        (999, ["0", "200", "400", "600", "800", "1,000"]),
        (10_001, ["0", "5,000", "10,000", "15,000"]),
    ],
)
def test_axis_has_round_numbers_and_ends_above_all_stacks(maximum: int, ticks: list[str]) -> None:
    chart = create_bar_chart("x", "X", ["1", "2"], [Series("a", 0, [0, maximum])])
    assert list_ticks(chart) == ticks
    assert chart.y_ticks[0].position == BOTTOM
    assert chart.y_ticks[-1].position == TOP


def test_parts_of_a_stack_lie_on_each_other_and_show_their_sum() -> None:
    series = [Series("a", 0, [1, 6]), Series("b", 1, [0, 0]), Series("c", 2, [3, 4])]
    chart = create_bar_chart("x", "X", ["1", "2"], series)
    assert [each.name for each in chart.series] == ["a", "c"]
    assert [(bar.style, bar.title) for bar in chart.bars] == [
        (0, "1, a: 1"),
        (2, "1, c: 3"),
        (0, "2, a: 6"),
        (2, "2, c: 4"),
    ]
    lower, upper = chart.bars[2:]
    assert lower.y + lower.height == BOTTOM
    assert upper.y == TOP  # the axis ends at 10
    assert upper.y + upper.height == pytest.approx(lower.y)


def test_line_is_interrupted_where_there_is_no_value() -> None:
    values = [1.0, 2.0, None, 3.0, None, 4.0, 5.0]
    chart = create_line_chart("x", "X", [*"1234567"], [Series("a", 0, values)], format_seconds)
    [line] = chart.lines
    assert [path.count(",") for path in line.paths] == [2, 2]
    assert [marker.title[-3:] for marker in line.markers] == ["1 s", "2 s", "3 s", "4 s", "5 s"]


def test_zero_is_a_value_of_a_line_and_none_is_not() -> None:
    def create(value: float | None) -> Chart:
        return create_line_chart("x", "X", ["1"], [Series("a", 0, [value])], format_seconds)

    assert not create(0).is_empty
    assert create(None).is_empty
    assert create_bar_chart("x", "X", ["1"], [Series("a", 0, [0])]).is_empty


def test_labels_of_many_periods_are_thinned_out_but_the_last_one_stays() -> None:
    labels = [str(number) for number in range(14)]
    chart = create_bar_chart("x", "X", labels, [Series("a", 0, [1] * 14)])
    assert [tick.label for tick in chart.x_ticks] == ["1", "3", "5", "7", "9", "11", "13"]


@pytest.mark.parametrize(
    ("seconds", "text"), [(0, "0 s"), (0.123, "0.12 s"), (9.96, "10 s"), (1234.5, "1,234 s")]
)
def test_durations_have_two_significant_digits_below_ten_seconds(seconds: float, text: str) -> None:
    assert format_seconds(seconds) == text
