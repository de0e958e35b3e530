"""How long a training is: exact, and told by one function to all who ask."""

from __future__ import annotations

import itertools
from pathlib import Path
from unittest.mock import patch

import pytest

from lora_recipes.machine import Device
from lora_recipes.plan.training import make_plan
from lora_recipes.recipe import counts
from lora_recipes.recipe.counts import count, cut, too_few_samples
from lora_recipes.recipe.length import problems_for_images
from lora_recipes.recipe.load import resolve
from lora_recipes.recipe.sections.train import Train
from lora_recipes.train.data.stream import Stream


def test_samples_are_images_times_repeats_times_epochs():
    found = count([1] * 50, Train(repeats=10, epochs=2))
    assert (found.epochs, found.samples, found.steps) == (2, 1000, 250)
    assert count([3, 1, 1], Train(repeats=10, epochs=2)).samples == 100


def test_the_last_step_may_be_smaller():
    train = Train(repeats=1, batch_size=2, gradient_accumulation=2)
    assert [count([1] * images, train).steps for images in (4, 5, 8, 9)] == [1, 2, 2, 3]


def test_a_number_of_steps_is_exact_whatever_the_images():
    train = Train(epochs="auto", steps=7, batch_size=3, gradient_accumulation=2)
    found = count([1], train)
    assert (found.samples, found.batches, found.steps) == (42, 14, 7)


def test_less_than_one_full_step_is_a_problem():
    problem = too_few_samples([1, 1, 1], Train(repeats=1))
    assert problem is not None
    assert problem.what.startswith("zero full optimizer steps: 3 images × 1 repeats")
    assert too_few_samples([1, 1, 2], Train(repeats=1)) is None


@pytest.mark.parametrize(
    ("repeats", "batch_size", "accumulation"),
    list(itertools.product([(1,), (2, 1, 5), (1,) * 11], [1, 2, 3, 7], [1, 2, 4, 5])),
)
def test_the_stream_that_is_trained_is_as_long_as_was_counted(
    repeats: tuple[int, ...], batch_size: int, accumulation: int
):
    train = Train(
        repeats=3, epochs=2, batch_size=batch_size, gradient_accumulation=accumulation, seed=1
    )
    found = count(repeats, train)
    stream = Stream.of(repeats, train)
    batches = [stream.batch(number) for number in range(stream.batches)]
    assert all(batches), "no batch is empty"
    assert sum(map(len, batches)) == found.samples
    assert len(batches) == found.batches
    steps = [stream.step_of(number) for number in range(stream.batches)]
    assert sorted(set(steps)) == list(range(found.steps))
    assert stream.steps == found.steps


BUCKETS = [(64, 96), (96, 64), (64, 96)]


@pytest.mark.parametrize(
    ("repeats", "batch_size", "accumulation"),
    list(itertools.product([(1, 1, 1), (2, 1, 5), (1, 11, 4)], [1, 2, 3, 7], [1, 2, 4, 5])),
)
def test_with_several_shapes_too_the_stream_is_as_long_as_was_counted(
    repeats: tuple[int, ...], batch_size: int, accumulation: int
):
    train = Train(repeats=3, epochs=2, batch_size=batch_size, gradient_accumulation=accumulation)
    found = count(repeats, train, BUCKETS)
    stream = Stream.of(repeats, train, BUCKETS)
    batches = [stream.batch(number) for number in range(stream.batches)]
    assert all(batches), "no batch is empty"
    assert (sum(map(len, batches)), len(batches)) == (found.samples, found.batches)
    assert stream.steps == found.steps >= count(repeats, train).steps
    with pytest.raises(IndexError):
        stream.batch(stream.batches)


def test_each_shape_can_leave_one_short_batch():
    train = Train(repeats=1, epochs=3, batch_size=4, gradient_accumulation=1)
    assert count([1] * 3, train, BUCKETS) == counts.Counts(3, 9, 3, 3)  # 6 and 3 samples
    assert count([1] * 3, train) == counts.Counts(3, 9, 3, 3)
    assert count([1] * 3, train.model_copy(update={"epochs": 4}), BUCKETS).steps == 3
    assert count([1] * 3, train.model_copy(update={"epochs": 5}), BUCKETS).steps == 5
    assert count([1] * 3, train.model_copy(update={"epochs": 5})).steps == 4


def test_plan_rules_and_stream_ask_one_function(project):
    """What `cut` says, all of them say."""
    project.params("train: {repeats: 1, warmup_steps: 100, scheduler: linear}\n")
    train = Train(repeats=1, warmup_steps=100, scheduler="linear")

    def longer(*asked: object) -> counts.Counts:
        found = cut(*asked)
        return counts.Counts(found.epochs, found.samples, found.batches, 777)

    with patch.object(counts, "cut", longer):
        plan = make_plan(resolve(project.root), [1] * 9, Path(project.root), device=Device("x"))
        assert plan.length is not None
        assert plan.length.counts.steps == 777
        assert problems_for_images(train, [1] * 9) == []
        assert Stream.of([1] * 9, train).steps == 777
    assert len(problems_for_images(train, [1] * 9)) == 1
