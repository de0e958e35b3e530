"""What is minimised is chosen by words, and figures of different recipes by none of them."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor

from lora_recipes.diffusion import losses, noise, timesteps, weights
from lora_recipes.diffusion.noise import alphas_cumprod, signal_to_noise
from lora_recipes.recipe.sections.section import Off
from lora_recipes.recipe.sections.train import Train
from lora_recipes.train.objective import Objective, Pretraining
from tests.train.project import contents, make_project, run_stage
from tests.train.test_training import losses as curve

BASE = Pretraining(alphas_cumprod(0.00085, 0.012, 1000), 0.5, "epsilon")
CHOSEN = Train(seed=7, noise_offset=0.3, max_grad_norm=1.0, snapshots=(0.5,), warmup_steps=3)


def test_the_plain_objective_has_every_key_at_its_off_and_seed_0():
    plain = Objective.of(CHOSEN, BASE).plain()
    found = [
        (getattr(plain.train, name), item.value)
        for name, field in Train.model_fields.items()
        for item in field.metadata
        if isinstance(item, Off)
    ]
    assert len(found) >= 5
    assert all(value == off for value, off in found)
    assert plain.seed == 0
    assert plain.base is BASE
    assert plain.noise is noise.gaussian
    assert plain == Objective.of(Train(seed=3, noise_offset=0.1), BASE).plain()


def test_without_a_weighting_nothing_is_multiplied():
    error_B, abar_B = torch.rand(4), torch.rand(4)
    assert Objective.of(CHOSEN, BASE).weigh(error_B, abar_B) is error_B


def test_a_weighting_sees_signal_to_noise_and_the_prediction(monkeypatch: pytest.MonkeyPatch):
    seen: list[tuple[Tensor, str]] = []

    def half(snr_B: Tensor, prediction: str) -> Tensor:
        seen.append((snr_B, prediction))
        return torch.full_like(snr_B, 0.5)

    monkeypatch.setitem(weights.WEIGHTS, "none", lambda train: half)
    error_B, abar_B = torch.rand(4), torch.rand(4) * 0.9 + 0.05
    weighed = Objective.of(CHOSEN, BASE).weigh(error_B, abar_B)
    assert torch.equal(weighed, error_B * 0.5)
    assert torch.equal(seen[0][0], signal_to_noise(abar_B))
    assert seen[0][1] == "epsilon"


def test_a_training_uses_the_weighting_and_one_of_1_changes_no_bit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    def weighted(name: str, value: float) -> Path:
        root = make_project(tmp_path / name)
        with monkeypatch.context() as patch:
            patch.setitem(
                weights.WEIGHTS,
                "none",
                lambda train: lambda snr_B, _: torch.full_like(snr_B, value),
            )
            run_stage(root)
        return root

    plain = make_project(tmp_path / "plain")
    run_stage(plain)
    assert contents(weighted("one", 1.0)) == contents(plain)
    assert curve(weighted("half", 0.5))[0] == 0.5 * curve(plain)[0]


def test_noise_has_an_offset_exactly_if_the_recipe_says_so():
    def draw(purpose: str, *shape: int) -> Tensor:
        return torch.full((2, *shape), {"noise": 1.0, "offset": 2.0}[purpose])

    shape = (4, 8, 8)
    assert torch.equal(noise.noise_of(Train())(draw, shape), torch.ones(2, *shape))
    offset = noise.noise_of(Train(noise_offset=0.5))(draw, shape)
    assert torch.equal(offset, torch.full((2, *shape), 2.0))


def test_every_table_has_the_word_of_what_trains_as_before():
    assert timesteps.timesteps_of(Train()) is timesteps.uniform
    assert losses.loss_of(Train()) is losses.l2
    assert weights.weight_of(Train()) is None
    predicted, target = torch.randn(2, 2, 4, 8, 8)
    error = losses.l2(predicted, target, torch.rand(2))
    assert torch.equal(error, (predicted - target) ** 2)
