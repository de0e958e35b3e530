"""What the numbers say: a smooth curve, a few metrics, and a reading in plain words."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean, variance
from typing import Any, Literal

from lora_recipes.dataset.roles import CONTROL, HELDOUT, REGULARIZATION, TRAIN
from lora_recipes.recipe.judging import no_verdict
from lora_recipes.report.inputs import Inputs
from lora_recipes.text import counted

CLEAR = 0.02
"""Relative changes of a loss smaller than this are called no difference. A choice of ours."""

MUCH = 0.10
MEASURED = {HELDOUT: "Held-out loss", CONTROL: "Control loss"}
"""Roles of pictures that were never trained on, and the name of their tile."""

BASE, FINAL = "none", "final"
"""What `out/samples/` calls the base alone and the finished adapter."""

ERRORS = 3.0
"""A training loss that moved by fewer standard errors may have moved by chance. Ours, too: single
losses are far from normal, so 2 would see what is not there."""

SMALLEST_WINDOW = 5


@dataclass(frozen=True)
class Reading:
    """One finding: a few words, a sentence, and whether it is good news."""

    tone: Literal["good", "unsure", "bad", "unknown"]
    short: str
    long: str


@dataclass(frozen=True)
class Compared:
    """The loss on pictures that were never trained on, at fixed noise and timesteps."""

    base: float
    adapter: float

    @property
    def change(self) -> float:
        """Relative to the base: -0.2 is a fifth less."""
        return self.adapter / self.base - 1 if self.base else 0.0


def smooth(values: Sequence[float]) -> list[float]:
    """Each value's mean with its neighbours, a twentieth of the curve in all (at least 5)."""
    half = max(SMALLEST_WINDOW, len(values) // 20) // 2
    sums = [0.0]
    for value in values:
        sums.append(sums[-1] + value)
    smoothed = []
    for index in range(len(values)):
        low, high = max(0, index - half), min(len(values), index + half + 1)
        smoothed.append((sums[high] - sums[low]) / (high - low))
    return smoothed


def compared(inputs: Inputs, role: str) -> Compared | None:
    """Base and adapter on the `heldout` or `control` pictures; None where there are none."""
    base = inputs.train.get(f"{role}_loss_base")
    return None if base is None else Compared(base, inputs.train[f"{role}_loss"])


def all_compared(inputs: Inputs) -> dict[str, Compared]:
    """By role, of the roles that were measured."""
    found = {role: compared(inputs, role) for role in MEASURED}
    return {role: both for role, both in found.items() if both}


def prior_losses(inputs: Inputs) -> list[float]:
    """Each step's loss on regularization pictures; empty where there were none."""
    return [step.prior_loss for step in inputs.steps if step.prior_loss is not None]


def tenths(losses: Sequence[float]) -> tuple[float, float]:
    """The mean loss of the first and of the last tenth of the steps."""
    part = max(1, len(losses) // 10)
    return sum(losses[:part]) / part, sum(losses[-part:]) / part


def unseen_losses(inputs: Inputs) -> dict[str, dict[str, float]]:
    """By adapter, from the base over its snapshots to the finished one, the loss of each role."""
    both = all_compared(inputs)
    if not both:
        return {}
    return {
        BASE: {role: pair.base for role, pair in both.items()},
        **inputs.snapshot_losses,
        FINAL: {role: pair.adapter for role, pair in both.items()},
    }


def step_of(adapter: str, last: int) -> int:
    """How many steps an adapter was trained for: none, a snapshot's, or all."""
    known = {BASE: 0, FINAL: last}
    return known[adapter] if adapter in known else int(adapter.removeprefix("step-"))


def best(inputs: Inputs) -> str:
    """The adapter, a snapshot's name or `final`, with the least held-out loss.

    Empty where that was not measured, or where there are no snapshots to choose from.
    """
    losses = unseen_losses(inputs) if inputs.snapshot_losses else {}
    known = [name for name, by_role in losses.items() if name != BASE and HELDOUT in by_role]
    return min(known, key=lambda name: losses[name][HELDOUT], default="")


def is_clear(losses: Sequence[float]) -> bool:
    """Whether the training loss moved by more than the noise of single steps explains."""
    part = len(losses) // 10
    if part < 2:  # noqa: PLR2004
        return False
    first, last = losses[:part], losses[-part:]
    error = math.sqrt((variance(first) + variance(last)) / part)
    return abs(fmean(first) - fmean(last)) > ERRORS * error


def readings(inputs: Inputs) -> list[Reading]:
    """Did it learn, or can nobody tell; did it forget, where that was measured; and what it kept,
    where regularization pictures were trained on."""
    heldout, control = compared(inputs, HELDOUT), compared(inputs, CONTROL)
    if heldout:
        count = sum(photo.role == HELDOUT for photo in inputs.photos)
        found = [_learned(heldout, count)]
    else:
        why = no_verdict(inputs.resolved.get("data", ""))
        found = [Reading("unknown", "Nobody can tell yet", f"{why[0].upper()}{why[1:]}.")]
    if control:
        count = sum(photo.role == CONTROL for photo in inputs.photos)
        found.append(_forgot(control, count))
    if losses := prior_losses(inputs):
        count = sum(photo.role == REGULARIZATION for photo in inputs.photos)
        found.append(_kept(losses, count))
    return found


def metrics(inputs: Inputs) -> dict[str, Any]:
    """What `out/report.json` adds to the figures of `out/train.json`, for `dvc metrics diff`.

    `heldout_loss_change` -0.87: the adapter's loss is 87 % less than the base's; less is better.
    """
    changes = {f"{role}_loss_change": both.change for role, both in all_compared(inputs).items()}
    return {"adapter_bytes": inputs.adapter.size, **changes}


def tiles(inputs: Inputs) -> list[tuple[str, str]]:
    """The key figures, by name; no training loss that may have moved by chance."""
    trained = sum(photo.role == TRAIN for photo in inputs.photos)
    losses = [step.loss for step in inputs.steps]
    first, last = tenths(losses)
    lora = inputs.resolved["lora"]
    return [
        ("Images", f"{trained:,}"),
        ("Steps", f"{len(inputs.steps):,}"),
        *([("Training loss", f"{first:.3f} → {last:.3f}")] if is_clear(losses) else []),
        *((MEASURED[role], percent(both.change)) for role, both in all_compared(inputs).items()),
        ("Rank / alpha", f"{lora['rank']} / {lora['alpha']:g}"),
        ("File", size(inputs.adapter.size)),
    ]


def size(count: int) -> str:
    """A number of bytes as people read it: 912 bytes, 3.2 MB."""
    value = float(count)
    for unit in ("bytes", "kB", "MB", "GB"):
        if value < 1000 or unit == "GB":  # noqa: PLR2004
            return f"{value:.0f} {unit}" if unit == "bytes" else f"{value:.1f} {unit}"
        value /= 1000
    raise AssertionError


def percent(change: float) -> str:
    """A relative change with its sign, +12 % or −0.4 %; its narrow space does not break."""
    value = 100 * change
    digits = f"{abs(value):.1f}" if abs(value) < 10 else f"{abs(value):.0f}"  # noqa: PLR2004
    sign = "" if float(digits) == 0 else "−" if value < 0 else "+"
    return f"{sign}{digits}\u202f%"


def share(part: float, whole: float = 1) -> str:
    """A part of a whole without a sign: 12 %, 0.4 %, 0 %."""
    return percent(part / whole).lstrip("+").replace("0.0", "0")


def _learned(both: Compared, count: int) -> Reading:
    where = f"on {counted(count, 'picture')} of the subject that it was never trained on"
    numbers = f"({both.base:.4f} → {both.adapter:.4f})"
    by = percent(abs(both.change)).lstrip("+")
    if both.change <= -CLEAR:
        return Reading(
            "good",
            "It learned",
            f"Its error {where} is {by} lower than the base model's {numbers}.",
        )
    if both.change < CLEAR:
        return Reading(
            "unsure",
            "Little was learned",
            f"Its error {where} is about the base model's {numbers}. "
            "Longer training or a higher learning rate may help.",
        )
    return Reading(
        "bad",
        "It learned by heart",
        f"Its error {where} is {by} higher than the base model's {numbers}. "
        "An earlier snapshot, fewer repeats or a lower learning rate may be better.",
    )


def _forgot(both: Compared, count: int) -> Reading:
    where = f"on {counted(count, 'picture')} of other things"
    numbers = f"({both.base:.4f} → {both.adapter:.4f})"
    by = percent(abs(both.change)).lstrip("+")
    if both.change < CLEAR:
        change = "is about the base model's" if both.change > -CLEAR else f"is even {by} lower"
        return Reading("good", "It forgot nothing", f"Its error {where} {change} {numbers}.")
    if both.change < MUCH:
        return Reading(
            "unsure",
            "It forgot a little",
            f"Its error {where} is {by} higher than the base model's {numbers}.",
        )
    return Reading(
        "bad",
        "It forgot other things",
        f"Its error {where} is {by} higher than the base model's {numbers}. "
        "Use it at a lower strength, or train it for fewer steps.",
    )


def _kept(losses: Sequence[float], count: int) -> Reading:
    """What the regularization pictures, which are trained on, say; single steps' losses jump."""
    first, last = tenths(losses)
    where = f"on the {counted(count, 'regularization picture')}"
    numbers = f"({first:.4f} → {last:.4f})"
    if not is_clear(losses):
        return Reading(
            "unsure",
            "Whether it kept what it was shown cannot be told",
            f"Its error {where} moved by no more than single steps do {numbers}. Pictures of other "
            "things that are never trained on (dataset.control) tell it.",
        )
    by = percent(abs(last / first - 1) if first else 0.0).lstrip("+")
    if last < first:
        return Reading(
            "good",
            "It kept what it was shown",
            f"Its error {where} fell by {by} in the training {numbers}.",
        )
    return Reading(
        "unsure",
        "It lost some of what it was shown",
        f"Its error {where} rose by {by} in the training {numbers}. "
        "Raise train.prior_loss_weight, or lower the learning rate.",
    )
