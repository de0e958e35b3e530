"""The findings in plain words follow from the numbers, and only from those that are there."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from lora_recipes.report import figures
from lora_recipes.report.advice import advice
from lora_recipes.report.inputs import Inputs, read
from lora_recipes.report.page import page
from tests.report.project import Made


def made(root: Path, **losses: dict[str, float]) -> Inputs:
    return read(Made(losses=losses).write(root))


@pytest.mark.parametrize(
    ("adapter", "tone", "short", "long"),
    [
        (
            0.15,
            "good",
            "It learned",
            "Its error on 1 picture of the subject that it was never trained on is 25\u202f% lower "
            "than the base model's (0.2000 → 0.1500).",
        ),
        (
            0.199,
            "unsure",
            "Little was learned",
            "Its error on 1 picture of the subject that it was never trained on is about the base "
            "model's (0.2000 → 0.1990). Longer training or a higher learning rate may help.",
        ),
        (
            0.21,
            "bad",
            "It learned by heart",
            "Its error on 1 picture of the subject that it was never trained on is 5.0\u202f% "
            "higher than the base model's (0.2000 → 0.2100). "
            "An earlier snapshot, fewer repeats or a lower learning rate may be better.",
        ),
    ],
)
def test_held_out_pictures_tell_whether_it_learned(
    tmp_path: Path, adapter: float, tone: str, short: str, long: str
):
    inputs = made(tmp_path, heldout={"base": 0.2, "adapter": adapter})

    assert figures.readings(inputs) == [figures.Reading(tone, short, long)]


@pytest.mark.parametrize(
    ("adapter", "tone", "short"),
    [
        (0.09, "good", "It forgot nothing"),
        (0.101, "good", "It forgot nothing"),
        (0.105, "unsure", "It forgot a little"),
        (0.12, "bad", "It forgot other things"),
    ],
)
def test_pictures_of_other_things_tell_whether_it_forgot(
    tmp_path: Path, adapter: float, tone: str, short: str
):
    told = figures.readings(made(tmp_path, control={"base": 0.1, "adapter": adapter}))

    first, reading = told
    assert first.short == "Nobody can tell yet", "whether it learned was not measured"
    assert (reading.tone, reading.short) == (tone, short)


def test_what_was_not_measured_is_absent_and_not_zero(tmp_path: Path):
    inputs = made(tmp_path)

    assert figures.readings(inputs) == [
        figures.Reading(
            "unknown",
            "Nobody can tell yet",
            "No pictures are held out, so nobody can tell whether it learned: put 1 or 2 into "
            "data/clock/heldout and set dataset.heldout: heldout.",
        )
    ]
    assert figures.metrics(inputs).keys() == {"adapter_bytes"}


def test_the_metrics_add_what_the_training_does_not_say(tmp_path: Path):
    inputs = made(tmp_path, heldout={"base": 0.2, "adapter": 0.15})

    assert figures.metrics(inputs) == {
        "adapter_bytes": (tmp_path / "out/adapter.safetensors").stat().st_size,
        "heldout_loss_change": pytest.approx(-0.25),
    }


def noise(count: int, level: float, seed: int) -> list[float]:
    """Losses of single steps as they are: far from normal, and as large as their own mean."""
    chance = random.Random(seed)
    return [level * chance.lognormvariate(-0.125, 0.5) for _ in range(count)]


def test_a_training_loss_that_moved_within_its_noise_is_no_key_figure(tmp_path: Path):
    flat = [figures.is_clear(noise(200, 0.15, seed)) for seed in range(100)]
    assert sum(flat) <= 2, "chance alone hardly ever looks like success"
    fallen = [noise(200, 0.2, seed) + noise(200, 0.1, seed + 1000) for seed in range(100)]
    assert sum(map(figures.is_clear, fallen)) >= 90
    assert not figures.is_clear([0.2, 0.1]), "two steps tell nothing"
    assert not figures.is_clear([])

    for name, losses in (("flat", noise(400, 0.15, 0)), ("fallen", fallen[0])):
        inputs = read(Made(steps=400, snapshots=(), losses_of_steps=losses).write(tmp_path / name))
        assert ("Training loss" in dict(figures.tiles(inputs))) == (name == "fallen")


def test_the_best_adapter_is_the_one_with_the_least_held_out_loss(tmp_path: Path):
    along = {"step-000010": {"heldout": 0.14}, "step-000020": {"heldout": 0.16}}
    heldout = {"base": 0.2, "adapter": 0.15}
    inputs = read(Made(losses={"heldout": heldout}, snapshot_losses=along).write(tmp_path / "a"))
    assert figures.best(inputs) == "step-000010"
    assert list(figures.unseen_losses(inputs)) == ["none", "step-000010", "step-000020", "final"]
    final = {"heldout": {"base": 0.2, "adapter": 0.13}}
    inputs = read(Made(losses=final, snapshot_losses=along).write(tmp_path / "b"))
    assert figures.best(inputs) == "final"
    assert figures.best(made(tmp_path / "c")) == "", "nobody can tell"
    assert figures.best(made(tmp_path / "d", heldout=heldout)) == "", "there is nothing to choose"


def test_a_smooth_curve_is_as_long_keeps_a_constant_and_calms_a_zigzag():
    assert figures.smooth([]) == []
    assert figures.smooth([2.0]) == [2.0]
    assert figures.smooth([3.0] * 9) == pytest.approx([3.0] * 9)
    zigzag = [0.0, 1.0] * 100
    assert len(figures.smooth(zigzag)) == 200
    assert all(0.3 < value < 0.7 for value in figures.smooth(zigzag))


@pytest.mark.parametrize(
    ("change", "expected"),
    [(-0.314, "−31\u202f%"), (0.004, "+0.4\u202f%"), (0.0, "0.0\u202f%"), (1.5, "+150\u202f%")],
)
def test_changes_are_written_with_their_sign(change: float, expected: str):
    assert figures.percent(change) == expected


@pytest.mark.parametrize(
    ("count", "expected"),
    [(912, "912 bytes"), (3_210_000, "3.2 MB"), (1_500, "1.5 kB"), (2_600_000_000, "2.6 GB")],
)
def test_sizes_are_written_with_a_unit(count: int, expected: str):
    assert figures.size(count) == expected


@pytest.mark.parametrize(
    ("change", "tone", "long"),
    [
        (
            0.0,
            "unsure",
            "moved by no more than single steps do (0.1000 → 0.1000). Pictures of other things "
            "that are never trained on (dataset.control) tell it.",
        ),
        (-0.05, "good", "fell by 50\u202f% in the training (0.1000 → 0.0500)."),
        (0.1, "unsure", "rose by 100\u202f% in the training (0.1000 → 0.2000). Raise "
         "train.prior_loss_weight, or lower the learning rate."),
    ],
)  # fmt: skip
def test_regularization_pictures_tell_what_was_kept(
    tmp_path: Path, change: float, tone: str, long: str
):
    losses = [0.1 + change * (step >= 20) + 0.001 * (-1) ** step for step in range(40)]
    captions = Made().captions | {"reg/05.png": ("regularization", "a photo of a toy")}
    inputs = read(Made(captions=captions, prior_losses=losses).write(tmp_path))

    *_, kept = figures.readings(inputs)
    assert (kept.tone, kept.long) == (tone, f"Its error on the 1 regularization picture {long}")
    shown = page(inputs)
    assert "Regularization: trained on too, to be kept (1)" in shown
    assert "Loss on regularization pictures over the optimizer steps" in shown
    assert not [one for one in advice(inputs) if "prior.images" in one.command]
