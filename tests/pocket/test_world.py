"""The world draws the same pictures for the same seed, and keeps out what adapters must bring."""

from __future__ import annotations

import random
from collections import Counter

import numpy as np
import pytest

from pocket_training import world
from pocket_training.demo import BODY, HELD_OUT, TRAINING, TRIGGER
from pocket_training.evaluate import EVALUATION_PROMPTS


def test_a_seed_always_draws_the_same_picture():
    first, caption, facts = world.draw(5)
    second, caption_again, facts_again = world.draw(5)
    assert np.array_equal(np.asarray(first), np.asarray(second))
    assert (caption, facts) == (caption_again, facts_again)
    assert not np.array_equal(np.asarray(first), np.asarray(world.draw(6)[0]))


def test_every_colour_shape_and_ground_comes_about_equally_often():
    drawn = [world.draw(seed, size=8)[2] for seed in range(900)]
    for key, expected in (
        ("object_colour", world.COLOURS),
        ("background_colour", world.COLOURS),
        ("shape", world.SHAPES),
    ):
        counts = Counter(getattr(facts, key) for facts in drawn)
        assert set(counts) == set(expected)
        assert min(counts.values()) > 0.5 * 900 / len(expected)


def test_captions_say_what_is_drawn_unless_a_nonsense_word_stands_for_it():
    told = 0
    for seed in range(400):
        _, caption, facts = world.draw(seed, size=8)
        assert facts.background_colour in caption
        told += facts.shape in caption and facts.object_colour in caption
    assert 0.8 < told / 400 < 0.92


def test_no_caption_of_the_world_has_the_trigger_or_the_reserved_colour():
    captions = [world.draw(seed, size=8)[1] for seed in range(3000)]
    words = {word.strip(",") for caption in captions for word in caption.split()}
    assert words.isdisjoint({TRIGGER, *world.RESERVED})
    assert TRIGGER not in {world.nonsense(random.Random(seed)) for seed in range(5000)}


def test_no_pixel_of_a_world_object_is_near_the_reserved_colour():
    for seed in range(60):
        pixels = np.asarray(world.draw(seed)[0]).astype(int)
        near = np.abs(pixels - BODY).max(axis=-1) < 30
        assert near.mean() < 0.01


@pytest.mark.parametrize("shape", world.SHAPES)
def test_every_shape_stays_inside_the_picture(shape):
    for seed in range(50):
        place = world.random_place(random.Random(seed))
        inside = np.asarray(world.mask(shape, place, 128)) > 0
        assert 0.02 < inside.mean() < 0.35
        assert not np.concatenate([inside[0], inside[-1], inside[:, 0], inside[:, -1]]).any()


def test_evaluation_prompts_have_the_trigger_and_are_no_training_caption():
    taught = {scene[0] for scene in TRAINING}
    prompts = [prompt for prompt, _ in EVALUATION_PROMPTS]
    assert len(set(prompts)) == len(prompts) >= 16
    for prompt, ground in EVALUATION_PROMPTS:
        assert TRIGGER in prompt.split()
        assert ground in prompt.replace(",", "").split()
        assert prompt not in taught


def test_held_out_pictures_stand_on_backgrounds_that_training_never_shows():
    assert {scene[1] for scene in TRAINING}.isdisjoint(scene[1] for scene in HELD_OUT)
