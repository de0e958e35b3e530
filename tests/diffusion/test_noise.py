"""The forward process against kohya's numbers, diffusers' scheduler and its own invariants."""

from __future__ import annotations

import pytest
import torch
from diffusers import DDPMScheduler

from lora_recipes.diffusion import noise
from lora_recipes.errors import UserError

SDXL = (0.00085, 0.012, 1000)


@pytest.fixture(scope="module")
def abar_T():
    return noise.alphas_cumprod(*SDXL)


@pytest.fixture(scope="module")
def scheduler():
    return DDPMScheduler(beta_start=SDXL[0], beta_end=SDXL[1], beta_schedule="scaled_linear")


@pytest.mark.parametrize(
    ("t", "snr"),
    [(0, 1175.4406), (10, 103.5075), (100, 8.453864), (500, 0.381850), (999, 0.00468191)],
)
def test_signal_to_noise_equals_the_published_table_of_sdxl(abar_T, t, snr):
    got = noise.signal_to_noise(abar_T[t : t + 1])

    torch.testing.assert_close(got, torch.tensor([snr]), rtol=1e-4, atol=0)


def test_the_schedule_falls_from_nearly_clean_to_nearly_noise_in_float32(abar_T):
    assert abar_T.dtype == torch.float32
    assert abar_T.shape == (1000,)
    assert (abar_T.diff() < 0).all()
    assert 0.004 < abar_T[-1] < 0.005
    assert 0.999 < abar_T[0] < 1


def test_the_schedule_ignores_the_default_precision_of_the_process(abar_T):
    before = torch.get_default_dtype()
    try:
        torch.set_default_dtype(torch.float64)
        assert torch.equal(noise.alphas_cumprod(*SDXL), abar_T)
    finally:
        torch.set_default_dtype(before)


def test_another_schedule_than_sdxls_is_refused_by_name():
    with pytest.raises(UserError) as caught:
        noise.alphas_cumprod(*SDXL, schedule="squaredcos_cap_v2")

    assert str(caught.value) == (
        "the base model's noise schedule is squaredcos_cap_v2\n"
        "  allowed: scaled_linear, as in SDXL 1.0\n"
        "  fix:     choose a base model that was trained like SDXL 1.0"
    )


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [(noise.add_noise, "add_noise"), (noise.velocity, "get_velocity")],
)
def test_noised_samples_and_velocities_equal_the_schedulers_of_diffusers(
    abar_T, scheduler, ours, theirs
):
    latents, unit = torch.randn(2, 5, 4, 6, 8, generator=torch.Generator().manual_seed(0))
    t_B = torch.tensor([0, 10, 100, 500, 999])

    expected = getattr(scheduler, theirs)(latents, unit, t_B)

    torch.testing.assert_close(ours(latents, unit, abar_T[t_B]), expected, rtol=1e-4, atol=1e-5)


def test_noise_and_velocity_together_give_the_clean_latents_back(abar_T):
    latents, unit = torch.randn(2, 3, 4, 8, 8, generator=torch.Generator().manual_seed(1))
    abar_B = abar_T[[0, 400, 999]]

    noisy = noise.add_noise(latents, unit, abar_B)
    velocity = noise.velocity(latents, unit, abar_B)

    root, rest = abar_B.sqrt()[:, None, None, None], (1 - abar_B).sqrt()[:, None, None, None]
    torch.testing.assert_close(root * noisy - rest * velocity, latents, rtol=1e-4, atol=1e-5)


def test_latents_are_the_posteriors_mean_and_spread_in_the_unets_units():
    mean = torch.full((2, 4, 64, 64), 3.0)
    std = torch.full((2, 4, 64, 64), 0.5)
    unit = torch.randn(2, 4, 64, 64, generator=torch.Generator().manual_seed(2))

    latents = noise.draw_latents(mean, std, 0.13025, unit)

    assert torch.equal(noise.draw_latents(mean, std * 0, 0.13025, unit), mean * 0.13025)
    assert latents.mean().item() == pytest.approx(3 * 0.13025, rel=5e-3)
    assert latents.std().item() == pytest.approx(0.5 * 0.13025, rel=2e-2)


def test_offset_noise_moves_whole_channels_and_no_offset_moves_nothing():
    streams = torch.Generator().manual_seed(3)
    unit = torch.randn(256, 4, 8, 8, generator=streams)
    shift = torch.randn(256, 4, generator=streams)

    moved = noise.offset_noise(unit, 0.5, shift) - unit

    assert torch.equal(noise.offset_noise(unit, 0.0, shift), unit)
    torch.testing.assert_close(moved, 0.5 * shift[:, :, None, None].expand_as(unit))
    assert noise.offset_noise(unit, 0.5, shift).var().item() == pytest.approx(1.25, rel=5e-2)
