"""Chance is a function of seed, purpose and position, and of nothing else."""

from __future__ import annotations

import pytest
import torch

from lora_recipes.diffusion import draws, timesteps

POSITIONS = [(0, 0), (0, 1), (0, 2), (1, 0)]


def test_a_samples_draw_does_not_depend_on_its_neighbours_in_the_batch():
    together = draws.normal((4, 8, 8), 7, "noise", POSITIONS)
    alone = torch.cat([draws.normal((4, 8, 8), 7, "noise", [position]) for position in POSITIONS])
    turned = draws.normal((4, 8, 8), 7, "noise", POSITIONS[::-1])

    assert torch.equal(together, alone)
    assert torch.equal(together, turned.flip(0))


def test_what_was_drawn_before_moves_no_draw():
    before = timesteps.uniform(1000, 7, POSITIONS)
    draws.normal((4,), 7, "offset", POSITIONS)
    torch.randn(100)

    assert torch.equal(timesteps.uniform(1000, 7, POSITIONS), before)


def test_drawing_leaves_the_global_stream_alone():
    before = torch.get_rng_state()
    draws.normal((4,), 7, "noise", POSITIONS)
    draws.integers(10, 7, "timestep", POSITIONS)
    draws.permutation(10, 7, "order", 0)

    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize(
    "other",
    [(8, "noise", (0, 1)), (7, "offset", (0, 1)), (7, "noise", (1, 1)), (7, "noise", (0, 2))],
)
def test_another_seed_purpose_epoch_or_sample_gives_another_draw(other):
    seed, purpose, position = other
    drawn = draws.normal((16,), 7, "noise", [(0, 1)])

    assert not torch.equal(draws.normal((16,), seed, purpose, [position]), drawn)


def test_positions_are_not_run_together():
    assert not torch.equal(
        draws.normal((16,), 0, "noise", [(1, 11)]), draws.normal((16,), 0, "noise", [(11, 1)])
    )


def test_shapes_and_dtypes_are_those_that_the_docstrings_say():
    assert draws.normal((4, 8), 0, "noise", POSITIONS).shape == (4, 4, 8)
    assert draws.normal((), 0, "noise", POSITIONS).shape == (4,)
    assert draws.normal((4,), 0, "noise", POSITIONS).dtype == torch.float32
    assert draws.integers(9, 0, "timestep", POSITIONS).shape == (4,)
    assert draws.integers(9, 0, "timestep", POSITIONS).dtype == torch.int64


def test_normal_draws_are_normal_and_uncorrelated_between_samples():
    drawn = draws.normal((64,), 3, "noise", [(0, index) for index in range(1000)])

    assert drawn.mean().item() == pytest.approx(0, abs=0.02)
    assert drawn.var().item() == pytest.approx(1, abs=0.02)
    assert (drawn**4).mean().item() == pytest.approx(3, abs=0.15)
    assert (drawn[1:] * drawn[:-1]).mean().item() == pytest.approx(0, abs=0.02)


def test_timesteps_cover_every_value_evenly_and_stay_in_range():
    drawn = timesteps.uniform(10, 3, [(0, index) for index in range(4000)])
    shares = torch.bincount(drawn, minlength=10) / 4000

    assert drawn.min() == 0
    assert drawn.max() == 9
    torch.testing.assert_close(shares, torch.full((10,), 0.1), rtol=0, atol=0.02)


def test_a_permutation_holds_every_number_once_and_differs_by_epoch():
    first, second = (draws.permutation(50, 3, "order", epoch) for epoch in (0, 1))

    assert sorted(first) == list(range(50))
    assert sorted(second) == list(range(50))
    assert first != second
    assert first == draws.permutation(50, 3, "order", 0)
