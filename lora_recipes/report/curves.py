"""The loss and the learning rate over the steps."""

from __future__ import annotations

from collections.abc import Sequence

from lora_recipes.report.charts import Chart, Line, spell
from lora_recipes.report.figures import smooth, tenths
from lora_recipes.report.inputs import Inputs

ROOM = 1.06
ODD = 0.99
"""Peaks above this share of the single losses are cut off, so that the curve stays readable."""


def loss(inputs: Inputs) -> Chart:
    """The loss of each step, the smoothed loss, and where snapshots were taken."""
    steps = [float(step.step) for step in inputs.steps]
    losses = [step.loss for step in inputs.steps]
    smoothed = smooth(losses)
    first, last = tenths(losses)
    marks = [float(name.removeprefix("step-")) for name in inputs.snapshots]
    return Chart(
        "Loss over the optimizer steps",
        f"{len(losses)} steps. The mean loss is {first:.4f} over the first tenth and "
        f"{last:.4f} over the last tenth.",
        [
            Line("raw", list(zip(steps, losses, strict=True))),
            Line("smooth", list(zip(steps, smoothed, strict=True))),
        ],
        "optimizer step",
        _top(losses, smoothed),
        [(step, f"{step:.0f}") for step in marks],
    )


def learning_rate(inputs: Inputs) -> Chart:
    """The learning rate of each step."""
    points = [(float(step.step), step.learning_rate) for step in inputs.steps]
    rates = [rate for _, rate in points]
    return Chart(
        "Learning rate over the optimizer steps",
        f"From {spell(rates[0])} to {spell(rates[-1])}, at most {spell(max(rates))}; "
        f"the schedule is {inputs.resolved['train']['scheduler']}.",
        [Line("rate", points)],
        "optimizer step",
        (max(rates) or 1.0) * ROOM,
    )


def _top(losses: Sequence[float], smoothed: Sequence[float]) -> float:
    usual = sorted(losses)[int(ODD * (len(losses) - 1))]
    return (max(usual, *smoothed) or 1.0) * ROOM
