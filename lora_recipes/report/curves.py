"""The loss and the learning rate over the steps."""

from __future__ import annotations

from collections.abc import Sequence

from lora_recipes.report.charts import Chart, Line, draw, spell
from lora_recipes.report.figures import Compared, compared, percent, smooth, tenths
from lora_recipes.report.html import Html, tag
from lora_recipes.report.inputs import Inputs
from lora_recipes.report.parts import lead, section

ROOM = 1.06
ODD = 0.99
"""Peaks above this share of the single losses are cut off, so that the curve stays readable."""


def curves(inputs: Inputs) -> Html:
    """The two charts and, where they were measured, the losses on other pictures."""
    if not inputs.steps:
        return section("curves", "Training", lead("Nothing was trained."))
    return section(
        "curves",
        "Training",
        lead(
            "The error of single steps jumps about, because each looks at other noise; "
            "the smoothed line shows where it goes. Trust the pictures more than the curve."
        ),
        tag("div", _loss(inputs), _rate(inputs), class_="charts"),
        _table(inputs),
    )


def _loss(inputs: Inputs) -> Html:
    steps = [float(step.step) for step in inputs.steps]
    losses = [step.loss for step in inputs.steps]
    smoothed = smooth(losses)
    first, last = tenths(losses)
    marks = [float(name.removeprefix("step-")) for name in inputs.snapshots]
    chart = Chart(
        "Loss over the optimizer steps",
        f"{len(losses)} steps. The mean loss is {first:.4f} over the first tenth and "
        f"{last:.4f} over the last tenth.",
        [
            Line("each step", "raw", list(zip(steps, losses, strict=True))),
            Line("smoothed", "smooth", list(zip(steps, smoothed, strict=True))),
        ],
        "optimizer step",
        _top(losses, smoothed),
        [(step, f"{step:.0f}") for step in marks],
    )
    legend = [
        tag("span", "each step", class_="key raw"),
        tag("span", "smoothed", class_="key smooth"),
        tag("span", "snapshot", class_="key mark") if marks else "",
    ]
    return _figure("Loss", draw(chart, "loss"), legend)


def _rate(inputs: Inputs) -> Html:
    points = [(float(step.step), step.learning_rate) for step in inputs.steps]
    rates = [rate for _, rate in points]
    train = inputs.resolved["train"]
    chart = Chart(
        "Learning rate over the optimizer steps",
        f"From {spell(rates[0])} to {spell(rates[-1])}, at most {spell(max(rates))}; "
        f"the schedule is {train['scheduler']}.",
        [Line("learning rate", "rate", points)],
        "optimizer step",
        (max(rates) or 1.0) * ROOM,
    )
    legend = [tag("span", f"{train['optimizer']}, {train['scheduler']}", class_="key rate")]
    return _figure("Learning rate", draw(chart, "rate"), legend)


def _figure(title: str, drawing: Html, legend: Sequence[str]) -> Html:
    caption = tag("figcaption", tag("h3", title), tag("p", legend, class_="legend"))
    return tag("figure", caption, drawing)


def _top(losses: Sequence[float], smoothed: Sequence[float]) -> float:
    usual = sorted(losses)[int(ODD * (len(losses) - 1))]
    return (max(usual, *smoothed) or 1.0) * ROOM if smoothed else 1.0


def _table(inputs: Inputs) -> Html | str:
    rows = [
        (name, both)
        for role, name in (
            ("heldout", "The subject, pictures held out"),
            ("others", "Pictures of other things"),
        )
        if (both := compared(inputs, role))
    ]
    if not rows:
        return ""
    head = [tag("th", text, scope="col") for text in ("Loss on", "Base", "Adapter", "Change")]
    return tag(
        "table",
        tag("caption", "At fixed noise and timesteps, so that the two can be compared"),
        tag("thead", tag("tr", head)),
        tag("tbody", [_row(name, both) for name, both in rows]),
        class_="losses",
    )


def _row(name: str, both: Compared) -> Html:
    cells = (f"{both.base:.4f}", f"{both.adapter:.4f}", percent(both.change))
    return tag("tr", tag("th", name, scope="row"), [tag("td", text) for text in cells])
