"""What counts of a picture, and whether a look is mirrored: in the loss, in batches, and whole."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from lora_recipes.diffusion.losses import masked_mean
from lora_recipes.diffusion.noise import alphas_cumprod
from lora_recipes.encode.store import load_mask, load_moments, read_index
from lora_recipes.recipe.sections.train import MaskedLoss, Train
from lora_recipes.tensors import read_tensors
from lora_recipes.train.data.batches import Batch, Pictures
from lora_recipes.train.data.choice import Choice
from lora_recipes.train.data.stream import Stream
from lora_recipes.train.module import Denoising
from lora_recipes.train.objective import Objective, Pretraining
from tests.train.project import make_project, run_stage
from tests.train.reference import plain_loop
from tests.train.test_training import PLAIN, assert_close, losses

BASE = Pretraining(alphas_cumprod(0.00085, 0.012, 1000), 0.5, "epsilon")
HALF = torch.cat([torch.zeros(1, 1, 8, 4), torch.ones(1, 1, 8, 4)], dim=-1)


class Remembering(torch.nn.Module):
    """A denoiser that answers with numbers of its own, whose gradient can be looked at."""

    def __init__(self) -> None:
        super().__init__()
        self.answer = torch.nn.Parameter(torch.randn(2, 4, 8, 8))

    def forward(self, noisy: Any, t: Any, tokens: Any, conditioning: Any) -> torch.Tensor:
        return self.answer


def batch_of(mask: torch.Tensor | None) -> Batch:
    zeros = torch.zeros(2, 4, 8, 8)
    return Batch(0, ((0, 0), (0, 1)), 1.0, zeros, zeros, zeros, zeros, zeros, mask)


def gradient(mask: torch.Tensor | None, **masked: Any) -> torch.Tensor:
    """Of the loss, in what the denoiser answered."""
    denoiser = Remembering()
    objective = Objective.of(Train(masked_loss=MaskedLoss(**masked)), BASE)
    Denoising(denoiser, objective, lambda *_: None).training_step(batch_of(mask), 0).backward()
    assert denoiser.answer.grad is not None
    return denoiser.answer.grad


def test_the_gradient_is_exactly_0_where_nothing_counts_and_nowhere_else():
    found = gradient(HALF.repeat(2, 1, 1, 1))
    assert (found[..., :4] == 0).all()
    assert (found[..., 4:] != 0).all()
    assert (gradient(HALF.repeat(2, 1, 1, 1), unmasked_weight=0.1)[..., :4] != 0).all()


def test_a_batch_without_masks_is_learned_whole_to_the_bit():
    torch.manual_seed(0)
    whole = gradient(None)
    torch.manual_seed(0)
    assert torch.equal(gradient(None, unmasked_weight=0.7, normalize=False), whole)
    assert (whole != 0).all()


@pytest.mark.parametrize("columns", [1, 3, 8])
def test_normalize_makes_the_loss_independent_of_the_area(columns: int):
    mask = torch.zeros(1, 1, 8, 8)
    mask[..., :columns] = 1
    error = torch.full((1, 4, 8, 8), 0.3)
    torch.testing.assert_close(masked_mean(error, mask, 0, normalize=True), torch.tensor([0.3]))
    area = torch.tensor([0.3 * columns / 8])
    torch.testing.assert_close(masked_mean(error, mask, 0, normalize=False), area)


def test_what_is_outside_counts_its_weight_against_1():
    error = torch.rand(2, 4, 8, 8)
    inside, outside = error[..., 4:].mean(dim=(1, 2, 3)), error[..., :4].mean(dim=(1, 2, 3))
    found = masked_mean(error, HALF.repeat(2, 1, 1, 1), 0.25, normalize=True)
    torch.testing.assert_close(found, (inside + 0.25 * outside) / 1.25)
    found = masked_mean(error, HALF.repeat(2, 1, 1, 1), 1.0, normalize=False)
    torch.testing.assert_close(found, error.mean(dim=(1, 2, 3)))


def test_each_sample_of_a_batch_is_a_mean_over_its_own_mask():
    error = torch.rand(2, 4, 8, 8)
    masks = torch.cat([HALF, torch.ones_like(HALF)])
    together = masked_mean(error, masks, 0.1, normalize=True)
    for row in range(2):
        alone = masked_mean(error[row : row + 1], masks[row : row + 1], 0.1, normalize=True)
        torch.testing.assert_close(together[row : row + 1], alone)


SETTINGS = [
    ({"masks": "alpha"}, {}),
    ({"masks": "alpha"}, {"masked_loss": {"unmasked_weight": 0.3, "normalize": False}}),
    ({"flip": True}, {"batch_size": 2, "gradient_accumulation": 2}),
    ({"masks": "alpha", "flip": True}, {"batch_size": 4, "gradient_accumulation": 1}),
]


@pytest.mark.parametrize(("dataset", "settings"), SETTINGS, ids=["masks", "area", "flip", "both"])
def test_training_equals_a_plain_loop(
    tmp_path: Path, dataset: dict[str, Any], settings: dict[str, Any]
):
    make_project(tmp_path, PLAIN | settings, dataset=dataset)
    run_stage(tmp_path)
    expected, curve = plain_loop(tmp_path, Train(**(PLAIN | settings)), 20)
    assert losses(tmp_path) == pytest.approx(curve, abs=1e-5)
    assert_close(read_tensors(tmp_path / "out" / "adapter.safetensors"), expected)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three pictures to train on, the first and the last with a mask, and one held out."""
    root = tmp_path_factory.mktemp("looks")
    roles = ["train"] * 3 + ["heldout"]
    make_project(root, roles=roles, dataset={"masks": "alpha", "flip": True})
    return root / "build" / "encoded"


def look(folder: Path, index: int, image: int, *, choice: bool = True) -> Batch:
    """One look at a picture, by its place in the stream."""
    stream = Stream((1, 1, 1), 30, 1, 1, 0)
    made = Pictures(folder, read_index(folder).images, choice=Choice(seed=5) if choice else None)
    return made.batch([replace(stream.sample(index), image=image)])


def test_a_look_is_mirrored_or_not_with_its_mask_and_its_crop(folder: Path):
    image = read_index(folder).images[0]
    looks = [look(folder, index, 0) for index in range(30)]
    mirrored = [bool(found.time_ids_B6[0, 3] == 3) for found in looks]
    assert 8 <= sum(mirrored) <= 22
    for found, flips in zip(looks, mirrored, strict=True):
        mean, mask = load_moments(folder / image.moments)[0], load_mask(folder / image.mask)
        assert torch.equal(found.mean_BCHW[0], mean.flip(-1) if flips else mean)
        assert found.mask_B1HW is not None
        assert torch.equal(found.mask_B1HW[0], mask.flip(-1) if flips else mask)
        assert found.time_ids_B6[0].tolist() == [64, 64, 0, 3 if flips else 0, 64, 64]
    again = [bool(look(folder, index, 1).time_ids_B6[0, 3] == 3) for index in range(30)]
    assert again == mirrored, "the coin depends on the place in the stream alone"


def test_a_picture_without_a_mask_counts_whole_beside_one_that_has_one(folder: Path):
    assert look(folder, 0, 1).mask_B1HW is None
    stream = Stream((1, 1, 1), 3, 3, 1, 0)
    both = Pictures(folder, read_index(folder).images).batch(stream.batch(0))
    assert both.mask_B1HW is not None
    rows = [sample.image for sample in stream.batch(0)]
    assert (both.mask_B1HW[rows.index(1)] == 1).all()
    assert not (both.mask_B1HW[rows.index(0)] == 1).all()


def test_pictures_that_are_never_trained_on_are_looked_at_whole_and_as_they_are(folder: Path):
    examples = read_index(folder).images
    assert (examples[3].role, examples[3].mask, examples[3].flipped) == ("heldout", "", "")
    assert all(look(folder, index, 3).mask_B1HW is None for index in range(10))
    plain = {look(folder, index, 0, choice=False).time_ids_B6[0, 3].item() for index in range(10)}
    assert plain == {0}, "without draws nothing is mirrored"
