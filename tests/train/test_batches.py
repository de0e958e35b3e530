"""Batches are the same however they are loaded, and go on exactly where they stopped."""

from __future__ import annotations

from collections import Counter
from dataclasses import fields
from pathlib import Path

import pytest
import torch
from torch import Tensor

from lora_recipes.encode.store import load_moments, load_text, read_index
from lora_recipes.train.data.batches import Batch, BatchLoader, Pictures
from lora_recipes.train.data.rank_schedule import RankSchedule
from lora_recipes.train.data.stream import Stream
from tests.train.project import encode_pictures

STREAM = Stream((3, 3, 6), 30, 2, 4, 0)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("encoded")
    encode_pictures(path, ["train"] * 3)
    return path


def pictures(folder: Path, **more: int) -> Pictures:
    return Pictures(folder, read_index(folder).images, **more)


def same(one: Batch, other: Batch) -> bool:
    pairs = [(getattr(one, f.name), getattr(other, f.name)) for f in fields(Batch)]
    return all(torch.equal(a, b) if isinstance(a, Tensor) else a == b for a, b in pairs)


def test_a_batch_holds_the_encoded_picture_of_each_of_its_samples(folder: Path):
    found = pictures(folder)
    for number, batch in enumerate(BatchLoader(found, RankSchedule(STREAM), 0)):
        assert batch.number == number
        assert batch.share == STREAM.share(number)
        for row, sample in enumerate(STREAM.batch(number)):
            image = found.images[sample.image]
            mean, std = load_moments(folder / image.moments)
            tokens, pooled = load_text(folder / image.texts[0])
            assert batch.positions[row] == (sample.epoch, sample.index)
            assert torch.equal(batch.mean_BCHW[row], mean)
            assert torch.equal(batch.std_BCHW[row], std)
            assert torch.equal(batch.tokens_BLD[row], tokens)
            assert torch.equal(batch.conditioning["text_embeds"][row], pooled)
            assert batch.conditioning["time_ids"][row].tolist() == list(image.time_ids)
    assert batch.number == 14


@pytest.mark.parametrize("workers", [0, 2])
def test_every_image_is_seen_exactly_as_often_as_the_recipe_says(folder: Path, workers: int):
    loader = BatchLoader(pictures(folder), RankSchedule(STREAM), workers)
    seen = [position for batch in loader for position in batch.positions]
    assert seen == [(k // 12, k) for k in range(30)]
    looks = Counter(STREAM.sample(index).image for epoch, index in seen if epoch < 2)
    assert looks == {0: 6, 1: 6, 2: 12}


def test_workers_and_memory_change_no_byte(folder: Path):
    plain = list(BatchLoader(pictures(folder), RankSchedule(STREAM), 0))
    for other in (
        BatchLoader(pictures(folder), RankSchedule(STREAM), 2),
        BatchLoader(pictures(folder, keep=0), RankSchedule(STREAM), 0),
    ):
        assert all(same(a, b) for a, b in zip(plain, other, strict=True))


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("stopped", [1, 7, 14])
def test_a_loader_goes_on_after_the_batches_that_were_handed_out(
    folder: Path, workers: int, stopped: int
):
    whole = list(BatchLoader(pictures(folder), RankSchedule(STREAM), 0))
    first = BatchLoader(pictures(folder), RankSchedule(STREAM), workers)
    batches = iter(first)
    for _ in range(stopped):
        next(batches)
    second = BatchLoader(pictures(folder), RankSchedule(STREAM), workers)
    second.load_state_dict(first.state_dict())
    assert len(second) == len(whole), "Lightning counts from the start of the training"
    rest = list(second)
    assert all(same(a, b) for a, b in zip(whole[stopped:], rest, strict=True))


def test_a_moved_batch_keeps_its_place_and_its_time_ids_in_float32(folder: Path):
    batch = pictures(folder).batch(STREAM.batch(3), 3)
    moved = batch.to("meta")
    assert moved.positions == batch.positions
    assert moved.number == 3
    assert moved.mean_BCHW.device.type == "meta"
    assert moved.time_ids_B6.dtype == torch.float32
