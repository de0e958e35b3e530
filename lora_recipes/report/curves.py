"""The losses and the learning rate over the steps."""

from __future__ import annotations

from collections.abc import Sequence

from lora_recipes.report.charts import Chart, Line, spell
from lora_recipes.report.figures import (
    all_compared,
    prior_losses,
    smooth,
    step_of,
    tenths,
    unseen_losses,
)
from lora_recipes.report.inputs import Inputs

ROOM = 1.06
ODD = 0.95
"""Peaks above this share of the single losses are cut off, so that the curve stays readable."""


def loss(inputs: Inputs) -> Chart:
    """The loss of each step, the smoothed loss, and where snapshots were taken."""
    losses = [step.loss for step in inputs.steps]
    return _over_steps(inputs, losses, "Loss over the optimizer steps")


def prior_loss(inputs: Inputs) -> Chart | None:
    """The same on regularization pictures; None without any."""
    losses = prior_losses(inputs)
    title = "Loss on regularization pictures over the optimizer steps"
    return _over_steps(inputs, losses, title) if losses else None


def _over_steps(inputs: Inputs, losses: Sequence[float], title: str) -> Chart:
    steps = [float(step.step) for step in inputs.steps]
    smoothed = smooth(losses)
    first, last = tenths(losses)
    marks = [float(name.removeprefix("step-")) for name in inputs.snapshots]
    top = _top(losses, smoothed)
    return Chart(
        title,
        f"{len(losses)} steps. The mean loss is {first:.4f} over the first tenth and "
        f"{last:.4f} over the last tenth.",
        [
            Line("raw", list(zip(steps, losses, strict=True))),
            Line("smooth", list(zip(steps, smoothed, strict=True))),
        ],
        "optimizer step",
        top,
        [(step, f"{step:.0f}") for step in marks],
        cut=sum(value > top for value in losses),
    )


def unseen(inputs: Inputs) -> Chart | None:
    """The loss on pictures that were never trained on, at the snapshots; None without any."""
    losses = unseen_losses(inputs)
    if not inputs.snapshot_losses or not losses:
        return None
    last = inputs.steps[-1].step
    steps = [float(step_of(name, last)) for name in losses]
    lines = [
        Line(role, [*zip(steps, (each[role] for each in losses.values()), strict=True)])
        for role in all_compared(inputs)
    ]
    said = (
        f"{line.kind}: " + ", ".join(f"{y:.4f} after step {x:.0f}" for x, y in line.points)
        for line in lines
    )
    top = max(y for line in lines for _, y in line.points) or 1.0
    title = "Loss on pictures that were never trained on"
    return Chart(title, "; ".join(said), lines, "optimizer step", top * ROOM)


def is_constant(inputs: Inputs) -> bool:
    """Whether the learning rate never moved, so that it needs no drawing."""
    return len({step.learning_rate for step in inputs.steps}) == 1


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
