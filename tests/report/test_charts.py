"""Charts show where the numbers lie, and stay small."""

from __future__ import annotations

import pytest

from lora_recipes.report.charts import Chart, Drawing, Line, draw, spell, thin, ticks
from lora_recipes.report.page import environment
from tests.report.test_templates import Read

SHOW = '{% import "pieces.html.j2" as piece %}{{ piece.chart(drawn, "c") }}'


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (0.0, 1.0, [0.0, 0.5, 1.0]),
        (0.0, 0.35, [0.0, 0.1, 0.2, 0.3]),
        (1.0, 500.0, [200.0, 400.0]),
        (7.0, 7.0, [7.0]),
        (0.0, 1e-4, [0.0, 5e-5, 1e-4]),
    ],
)
def test_ticks_are_round_numbers_inside_the_range(low: float, high: float, expected: list[float]):
    assert ticks(low, high, 4) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (0.0, "0"),
        (0.05, "0.05"),
        (1e-4, "1e-4"),
        (2.5e-5, "2.5e-5"),
        (1500.0, "1,500"),
        (1.5, "1.5"),
    ],
)
def test_ticks_are_written_as_people_write_them(value: float, expected: str):
    assert spell(value) == expected


def test_a_long_curve_keeps_its_peaks():
    points = [(float(x), 1.0) for x in range(20_000)]
    points[12_345] = (12_345.0, 9.0)
    points[777] = (777.0, -3.0)

    few = thin(points)

    assert len(few) < 600
    assert (12_345.0, 9.0) in few
    assert (777.0, -3.0) in few
    assert few == sorted(few)


def test_a_curve_goes_down_where_its_values_do_and_stays_inside_the_drawing():
    line = Line("raw", [(1.0, 0.9), (2.0, 0.4), (3.0, 55.0)])

    drawn = draw(Chart("Loss", "it falls", [line], "step", top=1.0))

    (points,) = [found["points"] for name, found in _shown(drawn) if name == "polyline"]
    places = [tuple(map(float, point.split(","))) for point in (points or "").split()]
    assert places[0][0] < places[1][0] < places[2][0]
    assert places[1][1] > places[0][1] > places[2][1]  # y counts downwards in SVG
    assert all(0 <= x <= drawn.box.width and 0 <= y <= drawn.box.height for x, y in places)


def test_one_step_is_a_dot_and_a_chart_names_itself_to_those_who_cannot_see_it():
    elements = _shown(draw(Chart("Loss", "one step", [Line("raw", [(1.0, 0.5)])], "step", 1.0)))

    assert "circle" in {name for name, _ in elements}
    (svg,) = [found for name, found in elements if name == "svg"]
    assert svg["role"] == "img"
    assert svg["aria-labelledby"] == "c-title c-desc"
    assert {found["id"] for _, found in elements if "id" in found} == {"c-title", "c-desc"}


def _shown(drawn: Drawing) -> list[tuple[str, dict[str, str | None]]]:
    """The elements that the page's template makes of a drawing."""
    return Read(environment().from_string(SHOW).render(drawn=drawn)).elements
