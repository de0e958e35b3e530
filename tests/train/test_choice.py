"""Which text a look at a picture takes: by draws of its own, and as often as asked."""

from __future__ import annotations

from collections import Counter
from dataclasses import fields, replace
from math import sqrt
from pathlib import Path

import pytest
import torch
from torch import Tensor

from lora_recipes.encode.store import Example, load_text, read_index
from lora_recipes.train.data.batches import Pictures
from lora_recipes.train.data.choice import Choice
from lora_recipes.train.data.stream import TrainingSample
from tests.train.project import encode_pictures

TEXTS = ("text/a", "text/b", "text/c")
PICTURE = Example("a.png", "train", 1, "moments/a", TEXTS, (8, 8, 0, 0, 8, 8))
LOOKS = [TrainingSample(index // 500, index, 0) for index in range(3000)]


def taken(choice: Choice, picture: Example = PICTURE) -> list[str]:
    return [choice.text_of(picture, look) for look in LOOKS]


def within(count: int, share: float) -> bool:
    """Four standard deviations of a binomial count."""
    number = len(LOOKS)
    return abs(count - number * share) < 4 * sqrt(number * share * (1 - share))


def test_each_text_is_taken_equally_often_and_another_seed_takes_others():
    found = taken(Choice(0))
    counts = Counter(found)
    assert set(counts) == set(TEXTS)
    assert all(within(count, 1 / 3) for count in counts.values())
    assert found == taken(Choice(0)) != taken(Choice(1))


def test_captions_are_dropped_as_often_as_asked():
    assert within(taken(Choice(0, 0.25, "text/empty")).count("text/empty"), 0.25)
    assert set(taken(Choice(0, 1.0, "text/empty"))) == {"text/empty"}


def test_dropping_captions_moves_no_other_choice():
    pairs = zip(taken(Choice(0)), taken(Choice(0, 0.25, "text/empty")), strict=True)
    assert all(other in (one, "text/empty") for one, other in pairs)


@pytest.mark.parametrize("role", ["heldout", "control"])
def test_what_is_never_trained_on_keeps_its_caption(role: str):
    unseen = replace(PICTURE, role=role, texts=TEXTS[:1])
    assert set(taken(Choice(0, 1.0, "text/empty"), unseen)) == {TEXTS[0]}


def test_a_batch_has_the_chosen_texts_and_all_else_as_before(tmp_path: Path):
    encode_pictures(tmp_path, ["train"] * 3)
    index = read_index(tmp_path)
    every = tuple(image.texts[0] for image in index.images)
    images = [replace(image, texts=every) for image in index.images]
    looks = [TrainingSample(0, number, number % 3) for number in range(12)]
    choice = Choice(0, 0.3, index.empty_text)
    plain = Pictures(tmp_path, index.images).batch(looks)
    chosen = Pictures(tmp_path, images, choice=choice)
    batch = chosen.batch(looks)

    names = [choice.text_of(images[look.image], look) for look in looks]
    assert {index.empty_text, *every} == set(names)
    for row, name in enumerate(names):
        tokens, pooled = load_text(tmp_path / name)
        assert torch.equal(batch.tokens_BLD[row], tokens)
        assert torch.equal(batch.pooled_BP[row], pooled)
    for field in fields(batch):
        one, other = getattr(batch, field.name), getattr(plain, field.name)
        if field.name not in ("tokens_BLD", "pooled_BP"):
            assert torch.equal(one, other) if isinstance(one, Tensor) else one == other
    as_written = chosen.of(images).batch(looks)
    assert torch.equal(as_written.tokens_BLD, Pictures(tmp_path, images).batch(looks).tokens_BLD)
    assert torch.equal(as_written.tokens_BLD[0], load_text(tmp_path / every[0])[0])
