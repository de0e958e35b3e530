"""Exact coverage, epoch by epoch, whatever the batch and the accumulation."""

from __future__ import annotations

from collections import Counter

import pytest

from lora_recipes.train.data.stream import Stream

SHAPES = [(1, 1), (1, 4), (2, 3), (4, 1), (5, 2)]


def stream(batch_size: int = 2, accumulation: int = 3, samples: int = 28, seed: int = 0) -> Stream:
    return Stream((2, 2, 6, 4), samples, batch_size, accumulation, seed)


@pytest.mark.parametrize(("batch_size", "accumulation"), SHAPES)
def test_each_epoch_sees_every_image_exactly_as_often_as_it_repeats(batch_size, accumulation):
    run = stream(batch_size, accumulation, samples=42)
    seen = [sample for number in range(run.batches) for sample in run.batch(number)]
    assert [sample.index for sample in seen] == list(range(42))
    for epoch in range(3):
        counts = Counter(sample.image for sample in seen if sample.epoch == epoch)
        assert counts == {0: 2, 1: 2, 2: 6, 3: 4}


@pytest.mark.parametrize(("batch_size", "accumulation"), SHAPES)
def test_steps_hold_the_samples_of_their_batches(batch_size, accumulation):
    run = stream(batch_size, accumulation)
    by_step: dict[int, list] = {step: [] for step in range(run.steps)}
    for number in range(run.batches):
        by_step[run.step_of(number)] += run.batch(number)
    assert by_step == {step: run.step_samples(step) for step in range(run.steps)}
    ends = [number for number in range(run.batches) if run.ends_step(number)]
    assert len(ends) == run.steps
    assert ends[-1] == run.batches - 1


@pytest.mark.parametrize(("batch_size", "accumulation"), SHAPES)
def test_every_sample_of_a_step_counts_alike_in_its_mean(batch_size, accumulation):
    run = stream(batch_size, accumulation)
    assert (run.samples % run.window != 0) == (
        (batch_size, accumulation) not in [(1, 1), (1, 4), (4, 1)]
    )
    for number in range(run.batches):
        # the loop divides by the accumulation, the loss is a mean over the batch
        counts = run.weight(number) / accumulation / len(run.batch(number))
        assert counts == pytest.approx(1 / len(run.step_samples(run.step_of(number))))


def test_a_full_window_leaves_every_batch_as_it_is():
    run = stream(2, 3)
    assert [run.weight(number) for number in range(12)] == [1.0] * 12


def test_epochs_have_orders_of_their_own_that_the_seed_decides():
    def order(seed: int, epoch: int) -> list[int]:
        run = stream(seed=seed)
        return [run.sample(epoch * 14 + place).image for place in range(14)]

    assert order(0, 0) == order(0, 0)
    assert order(0, 0) != order(0, 1)
    assert order(0, 0) != order(1, 0)


def test_a_longer_training_begins_like_a_shorter_one():
    short, long = stream(samples=20), stream(samples=40)
    assert [short.sample(k) for k in range(20)] == [long.sample(k) for k in range(20)]
