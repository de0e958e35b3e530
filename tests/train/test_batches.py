"""Batches are the same however they are loaded, and resume exactly where they stopped."""

from __future__ import annotations

from collections import Counter
from dataclasses import fields
from pathlib import Path

import pytest
import torch
from torch import Tensor

from lora_recipes.encode.store import load_moments, load_text, read_index
from lora_recipes.train.data.batches import Batch, Pictures, load
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
    for number, batch in enumerate(load(found, RankSchedule(STREAM))):
        assert batch.number == number
        assert batch.weight == STREAM.weight(number)
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
    loader = load(pictures(folder), RankSchedule(STREAM), workers=workers)
    seen = [position for batch in loader for position in batch.positions]
    assert seen == [(k // 12, k) for k in range(30)]
    looks = Counter(STREAM.sample(index).image for epoch, index in seen if epoch < 2)
    assert looks == {0: 6, 1: 6, 2: 12}


def test_workers_and_memory_change_no_byte(folder: Path):
    plain = list(load(pictures(folder), RankSchedule(STREAM)))
    for other in (
        load(pictures(folder), RankSchedule(STREAM), workers=2),
        load(pictures(folder, keep=0), RankSchedule(STREAM)),
    ):
        assert all(same(a, b) for a, b in zip(plain, other, strict=True))


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("stopped", [1, 7, 14])
@pytest.mark.parametrize("processes", [1, 2])
def test_loading_resumes_at_the_round_of_any_batch(
    folder: Path, workers: int, stopped: int, processes: int
):
    ranks = [RankSchedule(STREAM, processes, rank) for rank in range(processes)]
    for schedule in ranks:
        whole = list(load(pictures(folder), schedule))
        rest = list(load(pictures(folder), schedule, stopped, workers))
        assert all(same(a, b) for a, b in zip(whole[stopped // processes :], rest, strict=True))


def test_a_moved_batch_keeps_its_place_and_its_time_ids_in_float32(folder: Path):
    batch = pictures(folder).batch(STREAM.batch(3), 3)
    moved = batch.to("meta")
    assert moved.positions == batch.positions
    assert moved.number == 3
    assert moved.mean_BCHW.device.type == "meta"
    assert moved.time_ids_B6.dtype == torch.float32
