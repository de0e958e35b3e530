"""Exact coverage, epoch by epoch, whatever the batch and the accumulation."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import pytest

from lora_recipes.recipe.sections.train import Train
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


TALL, WIDE, SQUARE = (64, 96), (96, 64), (80, 80)
MIXED = (TALL, WIDE, TALL, SQUARE)
"""The shapes of four images that are seen 2, 2, 6 and 4 times an epoch."""


def mixed(batch_size: int = 2, accumulation: int = 3, epochs: int = 3) -> Stream:
    return replace(stream(batch_size, accumulation, 14 * epochs), shapes=MIXED)


def everything(run: Stream) -> list:
    numbers, steps = range(run.batches), range(run.steps)
    return [
        [(run.batch(n), run.weight(n), run.step_of(n), run.ends_step(n)) for n in numbers],
        [(run.step_samples(step), run.epoch_of(step)) for step in steps],
    ]


@pytest.mark.parametrize(("batch_size", "accumulation"), SHAPES)
@pytest.mark.parametrize("samples", [28, 42, 31])
def test_with_one_bucket_it_is_the_stream_without_buckets(batch_size, accumulation, samples):
    run = stream(batch_size, accumulation, samples)
    assert everything(replace(run, shapes=(TALL,) * 4)) == everything(run)
    assert everything(replace(run, shapes=(TALL,) * 4, full_batches=True)) == everything(run)


@pytest.mark.parametrize(("batch_size", "accumulation"), SHAPES)
def test_every_batch_is_of_one_shape_and_every_sample_in_one_batch(batch_size, accumulation):
    run = mixed(batch_size, accumulation)
    batches = [run.batch(number) for number in range(run.batches)]
    for batch in batches:
        assert len({MIXED[sample.image] for sample in batch}) == 1
        assert 1 <= len(batch) <= batch_size
    seen = [sample for batch in batches for sample in batch]
    assert sorted(seen, key=lambda sample: sample.index) == [run.sample(k) for k in range(42)]
    for epoch in range(3):
        counts = Counter(sample.image for sample in seen if sample.epoch == epoch)
        assert counts == {0: 2, 1: 2, 2: 6, 3: 4}


@pytest.mark.parametrize(("batch_size", "accumulation"), SHAPES)
def test_only_at_the_very_end_are_batches_short_one_of_each_shape_in_order(
    batch_size, accumulation
):
    run = mixed(batch_size, accumulation)
    batches = [run.batch(number) for number in range(run.batches)]
    short = [number for number, batch in enumerate(batches) if len(batch) < batch_size]
    assert short == [*range(run.batches - len(short), run.batches)]
    shapes = [MIXED[batches[number][0].image] for number in short]
    assert shapes == sorted({*shapes})
    full = batches[: run.batches - len(short)]
    latest = [max(sample.index for sample in batch) for batch in full]
    assert latest == sorted(latest), "each leaves when it is full"


@pytest.mark.parametrize(("batch_size", "accumulation"), SHAPES)
def test_with_several_shapes_every_sample_of_a_step_counts_alike_too(batch_size, accumulation):
    run = mixed(batch_size, accumulation)
    for number in range(run.batches):
        counts = run.weight(number) / accumulation / len(run.batch(number))
        assert counts == pytest.approx(1 / len(run.step_samples(run.step_of(number))))
    by_step: dict[int, list] = {step: [] for step in range(run.steps)}
    for number in range(run.batches):
        by_step[run.step_of(number)] += run.batch(number)
    assert by_step == {step: run.step_samples(step) for step in range(run.steps)}
    epochs = [run.epoch_of(step) for step in range(run.steps)]
    assert (epochs, epochs[-1]) == (sorted(epochs), 2)


@pytest.mark.parametrize(("batch_size", "accumulation"), SHAPES)
def test_a_number_of_steps_is_exact_with_several_shapes_and_all_their_batches_are_full(
    batch_size, accumulation
):
    train = Train(
        repeats=1,
        epochs="auto",
        steps=9,
        batch_size=batch_size,
        gradient_accumulation=accumulation,
    )
    run = Stream.of([2, 2, 6, 4], train, MIXED)
    assert (run.steps, run.batches) == (9, 9 * accumulation)
    assert {len(run.batch(number)) for number in range(run.batches)} == {batch_size}
    longer = Stream.of([2, 2, 6, 4], train.model_copy(update={"steps": 12}), MIXED)
    for number in range(run.batches):
        assert run.batch(number) == longer.batch(number)


def test_the_samples_of_an_epoch_are_counted_by_shape():
    assert mixed().by_shape == {TALL: 8, WIDE: 2, SQUARE: 4}
    assert stream().by_shape == {}


def test_a_samples_draws_are_those_that_it_has_without_buckets():
    """By (epoch, index) alone: which others share its batch moves none of them."""
    without = {sample.index: sample for k in range(21) for sample in stream(samples=42).batch(k)}
    run = mixed()
    for number in range(run.batches):
        assert [without[sample.index] for sample in run.batch(number)] == run.batch(number)
