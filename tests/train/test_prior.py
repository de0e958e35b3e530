"""Training beside regularization pictures."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from lora_recipes.adapter.parts import Adapted
from lora_recipes.diffusion import draws
from lora_recipes.encode.store import read_index
from lora_recipes.recipe.counts import count
from lora_recipes.recipe.sections.lora import Lora
from lora_recipes.recipe.sections.train import Train
from lora_recipes.tensors import read_header, read_tensors
from tests.train.project import make_project, run_stage, small_unet
from tests.train.reference import sample_loss
from tests.train.test_training import BLUNT, assert_close

ROLES = ["train"] * 4 + ["regularization"] * 3 + ["control"]
SETTINGS = {"repeats": 5, "batch_size": 2, "gradient_accumulation": 3, **BLUNT}
KEEPING = {"dataset": {"regularization": "reg"}}


def trained(root: Path, train: dict[str, Any], roles: list[str] = ROLES):
    make_project(root, SETTINGS | train, roles=roles, **KEEPING)
    run_stage(root)
    return read_tensors(root / "out" / "adapter.safetensors"), table(root)


def table(root: Path) -> list[dict[str, str]]:
    head, *rows = (root / "out" / "loss.tsv").read_text().splitlines()
    return [dict(zip(head.split("\t"), row.split("\t"), strict=True)) for row in rows]


@pytest.mark.parametrize("size", [2, 3])
def test_training_equals_a_plain_loop_with_both_sums(tmp_path: Path, size: int):
    settings = {"prior_batch_size": size, "prior_loss_weight": 0.5}
    found, rows = trained(tmp_path, settings)
    expected, own, kept = plain_loop(tmp_path, Train(**(SETTINGS | settings)), size)
    assert [float(row["loss"]) for row in rows] == pytest.approx(own, abs=1e-5)
    assert [float(row["prior_loss"]) for row in rows] == pytest.approx(kept, abs=1e-5)
    assert_close(found, expected)


def plain_loop(root: Path, train: Train, size: int):
    """The adapter's tensors and both losses, by a loop that shares no code with train/."""
    folder, weight = root / "build" / "encoded", train.prior_loss_weight
    index, unet = read_index(folder), small_unet()
    adapted = Adapted({"unet": unet})
    adapted.inject(Lora(rank=2, alpha=2), train.seed)
    optimizer = torch.optim.AdamW(
        adapted.parameters().values(), lr=0.1, eps=0.01, betas=(0.9, 0.999),
        weight_decay=train.weight_decay,
    )  # fmt: skip
    images = {role: [it for it in index.images if it.role == role] for role in set(ROLES)}
    looks = [image for image in images["train"] for _ in range(train.repeats)]
    samples, window = count([1] * 4, train).samples, train.batch_size * train.gradient_accumulation
    seen, own, kept = 0, [], []
    for start in range(0, samples, window):
        optimizer.zero_grad()
        places = range(start, min(start + window, samples))
        order = draws.permutation(len(looks), train.seed, "order", 0)
        mine = [sample_loss(unet, folder, looks[order[k]], index, train, (0, k)) for k in places]
        theirs = []
        for _ in range(-(-len(places) // train.batch_size) * size):
            round_, place = divmod(seen, 3)
            turn = draws.permutation(3, train.seed, "prior_order", round_)
            image = images["regularization"][turn[place]]
            position = (-2 - round_, seen)
            theirs.append(sample_loss(unet, folder, image, index, train, position))
            seen += 1
        loss, prior = torch.stack(mine).mean(), torch.stack(theirs).mean()
        (loss + weight * prior).backward()
        own.append(float(loss.detach()))
        kept.append(float(prior.detach()))
        optimizer.step()
    return adapted.tensors(2), own, kept


def test_a_weight_of_0_equals_no_regularization_pictures_to_the_bit(tmp_path: Path):
    off, off_rows = trained(tmp_path / "off", {"prior_loss_weight": 0.0})
    without, rows = trained(tmp_path / "without", {}, roles=["train"] * 4)
    assert off.keys() == without.keys()
    for name, tensor in without.items():
        assert torch.equal(off[name], tensor), name
    assert off_rows == rows
    assert "prior_loss" not in rows[0]
    assert (
        read_header(tmp_path / "off/out/adapter.safetensors").metadata["ss_num_reg_images"] == "0"
    )


def test_switching_it_on_moves_no_draw_of_the_subject(tmp_path: Path):
    """The first step's loss, before anything is learned, is the same to the bit."""
    _, with_them = trained(tmp_path / "on", {})
    _, without = trained(tmp_path / "off", {}, roles=["train"] * 4)
    assert with_them[0]["loss"] == without[0]["loss"]
    assert with_them[1]["loss"] != without[1]["loss"]


def test_the_figures_and_the_file_tell_of_them(tmp_path: Path):
    _, rows = trained(tmp_path, {})
    figures = json.loads((tmp_path / "out" / "train.json").read_text())
    kept = [float(row["prior_loss"]) for row in rows]
    assert (figures["prior_loss_first"], figures["prior_loss_last"]) == (kept[0], kept[-1])
    header = read_header(tmp_path / "out" / "adapter.safetensors").metadata
    assert header["ss_num_reg_images"] == "3"
    assert "ss_prior_loss_weight" not in header  # 1, which is off
    assert json.loads(header["lora_recipes.dataset"])["regularization"] == "reg"
    assert "lora_recipes.prior" not in header


def test_a_regularization_picture_that_is_not_finite_is_named(tmp_path: Path):
    from lora_recipes.errors import UserError
    from tests.train.project import reencode

    make_project(tmp_path, SETTINGS, roles=ROLES, **KEEPING)
    reencode(tmp_path, 5, lambda tensors: tensors["mean"].fill_(float("nan")))
    with pytest.raises(UserError, match=r"the loss is not a finite number at step 1 .*5\.png"):
        run_stage(tmp_path)
