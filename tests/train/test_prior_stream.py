"""Regularization batches beside the others: nothing of theirs moves, and every sample counts."""

from __future__ import annotations

from collections import Counter

import pytest

from lora_recipes.recipe.sections.train import Train
from lora_recipes.recipe.size import Size
from lora_recipes.train.data.prior_stream import PriorStream
from lora_recipes.train.data.rank_schedule import RankSchedule
from lora_recipes.train.data.stream import Stream

KEPT = [1, 1, 2]
ONE: tuple[Size, ...] = ()
TWO: tuple[Size, ...] = ((64, 64), (96, 64), (64, 64))
SHAPES = [
    (1, 1, 1),
    (4, 1, 2),
    (2, 3, 5),
    (3, 4, 1),
    (5, 2, 4),
    (2, 3, 5, TWO),
    (3, 4, 1, TWO),
]
"""Batch size, accumulation, size of a regularization batch, and the pictures' sizes."""


def stream(
    batch_size: int = 2,
    accumulation: int = 3,
    prior: int = 2,
    sizes: tuple[Size, ...] = ONE,
    weight: float = 0.5,
):
    own = Stream((2, 2, 6, 4), 29, batch_size, accumulation, seed=0)
    train = Train(batch_size=batch_size, prior_batch_size=prior, prior_loss_weight=weight)
    return own, PriorStream.of(own, KEPT, sizes, train)


@pytest.mark.parametrize("shape", SHAPES[-2:])
def test_a_regularization_batch_holds_one_shape(shape):
    own, both = stream(*shape)
    first = len(own.repeats)
    batches = [both.batch(number) for number in range(both.batches)]
    kept = [{TWO[sample.image - first] for sample in b} for b in batches if b[0].image >= first]
    assert len(kept) == own.batches
    assert all(len(sizes) == 1 for sizes in kept)
    assert {size for sizes in kept for size in sizes} == {*TWO}


@pytest.mark.parametrize("shape", SHAPES)
def test_the_subjects_batches_and_steps_stay_what_they_are(shape):
    own, both = stream(*shape)
    assert (both.steps, both.batches, both.window) == (own.steps, 2 * own.batches, own.window)
    batches = [both.batch(number) for number in range(both.batches)]
    subject = [batch for batch in batches if batch[0].image < len(own.repeats)]
    assert subject == [own.batch(number) for number in range(own.batches)]
    assert [both.epoch_of(step) for step in range(both.steps)] == [
        own.epoch_of(step) for step in range(own.steps)
    ]


@pytest.mark.parametrize("shape", SHAPES)
def test_a_step_holds_as_many_batches_of_each_kind_the_subjects_first(shape):
    own, both = stream(*shape)
    for step in range(both.steps):
        numbers = [n for n in range(both.batches) if both.step_of(n) == step]
        kinds = [both.batch(number)[0].image >= len(own.repeats) for number in numbers]
        count = both.own_batches(step)
        assert kinds == [False] * count + [True] * count
        assert [both.ends_step(n) for n in numbers] == [False] * (2 * count - 1) + [True]
        samples = [sample for number in numbers for sample in both.batch(number)]
        assert both.step_samples(step) == samples


@pytest.mark.parametrize("shape", SHAPES)
def test_a_steps_loss_is_the_subjects_mean_and_the_weighted_mean_of_the_others(shape):
    own, both = stream(*shape)
    for step in range(both.steps):
        samples = {False: 0, True: 0}
        for number in (n for n in range(both.batches) if both.step_of(n) == step):
            samples[both.batch(number)[0].image >= len(own.repeats)] += len(both.batch(number))
        for number in (n for n in range(both.batches) if both.step_of(n) == step):
            batch = both.batch(number)
            is_prior = batch[0].image >= len(own.repeats)
            # the loop divides by the accumulation, the loss is a mean over the batch
            counts = both.weight(number) / both.accumulation / len(batch)
            assert counts == pytest.approx((0.5 if is_prior else 1) / samples[is_prior])


def test_full_batches_go_round_every_picture_as_often_as_its_folder_says():
    own, both = stream(batch_size=1, accumulation=1, prior=4)
    kept = [both.batch(number) for number in range(1, both.batches, 2)]
    assert {len(batch) for batch in kept} == {4}
    first = len(own.repeats)
    seen = Counter(sample.image - first for batch in kept for sample in batch)
    assert seen == {0: own.batches, 1: own.batches, 2: 2 * own.batches}


def test_no_sample_shares_its_draws_with_another_or_with_what_is_measured_on():
    _, both = stream()
    positions = [s.position for number in range(both.batches) for s in both.batch(number)]
    assert len(set(positions)) == len(positions)
    assert -1 not in {epoch for epoch, _ in positions}, "validation draws there"


def test_the_order_is_one_of_its_own_that_the_seed_decides():
    def order(seed: int) -> list[int]:
        own = Stream((1,) * 8, 8, 1, 1, seed)
        both = PriorStream.of(own, [1] * 8, (), Train(batch_size=1, seed=seed))
        return [both.batch(number)[0].image - 8 for number in range(1, both.batches, 2)]

    own = [sample.image for n in range(8) for sample in Stream((1,) * 8, 8, 1, 1, 0).batch(n)]
    assert sorted(order(0)) == list(range(8))
    assert order(0) != own
    assert order(0) != order(1)


@pytest.mark.parametrize("processes", [1, 2, 4])
def test_processes_share_both_kinds_and_end_steps_together(processes: int):
    own = Stream((2, 2, 6, 4), 29, 1, 4, seed=0)
    both = PriorStream.of(own, KEPT, (), Train(gradient_accumulation=4))
    ranks = [RankSchedule(both, processes, rank) for rank in range(processes)]
    numbers = sorted(number for rank in ranks for number in rank.numbers())
    assert numbers[: both.batches] == list(range(both.batches))
    ended = [ranks[0].ended_step(number) for number in ranks[0].numbers()]
    assert [step for step in ended if step is not None] == list(range(both.steps))
