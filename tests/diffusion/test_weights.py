"""Loss weightings: one mistake weighs alike wherever it is seen."""

from __future__ import annotations

import pytest
import torch

from lora_recipes.diffusion.noise import add_noise, signal_to_noise, velocity
from lora_recipes.diffusion.weights import WEIGHTS, min_snr, weight_of
from lora_recipes.recipe.sections.train import Train


@pytest.mark.parametrize("abar", [0.9, 0.5, 0.01])
def test_min_snr_weighs_one_mistake_alike_in_x0_epsilon_and_v(abar: float):
    abar_B = torch.full((1,), abar, dtype=torch.float64)
    x0, epsilon, wrong_x0 = torch.randn(
        3, 1, 4, 8, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(0)
    )
    noisy = add_noise(x0, epsilon, abar_B)
    wrong_epsilon = (noisy - abar**0.5 * wrong_x0) / (1 - abar) ** 0.5
    snr_B = signal_to_noise(abar_B)

    def weighed(prediction: str, right: torch.Tensor, wrong: torch.Tensor) -> torch.Tensor:
        return min_snr(snr_B, prediction, 5.0) * (right - wrong).square().mean()

    in_x0 = snr_B.clamp(max=5.0) * (x0 - wrong_x0).square().mean()
    in_v = weighed(
        "v_prediction",
        velocity(x0, epsilon, abar_B),
        velocity(wrong_x0, wrong_epsilon, abar_B),
    )
    torch.testing.assert_close(weighed("epsilon", epsilon, wrong_epsilon), in_x0)
    torch.testing.assert_close(in_v, in_x0)


def test_min_snr_leaves_noisy_samples_alone_and_lowers_clean_ones():
    snr_B = torch.tensor([0.01, 1.0, 5.0, 10.0, 500.0])

    torch.testing.assert_close(
        min_snr(snr_B, "epsilon", 5.0), torch.tensor([1.0, 1.0, 1.0, 0.5, 0.01])
    )
    assert min_snr(torch.zeros(1), "v_prediction", 5.0).tolist() == [0.0]


def test_each_word_has_its_weighting_with_the_recipes_own_settings():
    snr_B = torch.tensor([10.0])
    chosen = weight_of(Train(loss_weighting="min_snr", snr_gamma=2.0))

    assert set(WEIGHTS) == {"none", "min_snr"}
    assert weight_of(Train()) is None
    assert chosen is not None
    torch.testing.assert_close(chosen(snr_B, "epsilon"), torch.tensor([0.2]))
