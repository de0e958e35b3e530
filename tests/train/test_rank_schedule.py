"""Several processes share the stream: each batch once, in one order."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from lora_recipes.train.data.rank_schedule import RankSchedule
from lora_recipes.train.data.stream import Stream


def stream(batches: int, accumulation: int) -> Stream:
    return Stream((1,) * batches, batches, 1, accumulation, 0)


def of_two_shapes(batches: int, accumulation: int) -> Stream:
    """Batches of two, and a short one of each shape at the end."""
    full = batches - 2
    repeats = (2 * (full // 2) + 1, 2 * (full - full // 2) + 1)
    return Stream(repeats, sum(repeats), 2, accumulation, 0, ((64, 96), (96, 64)))


SHARED = [
    (batches, accumulation, processes)
    for accumulation in range(1, 13)
    for processes in range(1, accumulation + 1)
    if accumulation % processes == 0
    for batches in (accumulation, 2 * accumulation + 1, 3 * accumulation - 1)
]


@pytest.mark.parametrize("make", [stream, of_two_shapes])
@pytest.mark.parametrize(("batches", "accumulation", "processes"), SHARED)
def test_the_rounds_of_all_processes_are_the_stream(
    batches: int, accumulation: int, processes: int, make: Callable[[int, int], Stream]
):
    batches = max(batches, 3)
    shared = make(batches, accumulation)
    assert shared.batches == batches
    ranks = [RankSchedule(shared, processes, rank) for rank in range(processes)]
    first = ranks[0]
    columns = [list(rank.numbers()) for rank in ranks]
    assert {len(column) for column in columns} == {first.rounds}, "all run equally often"
    rounds = list(zip(*columns, strict=True))
    numbers = [number for numbers in rounds for number in numbers]
    assert numbers == list(range(len(numbers)))
    assert len(numbers) - batches < processes, "only the last round is filled up"
    ended = [first.ended_step(numbers[0]) for numbers in rounds]
    steps = [step for step in ended if step is not None]
    assert steps == list(range(first.stream.steps))
    for (here, *others), before in zip(rounds, [0, *ended], strict=False):
        assert [first.ended_step(other) for other in others] == [first.ended_step(here)] * len(
            others
        )
        assert first.starts_step(here) == (before is not None)
    assert [list(rank.numbers(accumulation))[:1] for rank in ranks] == [
        list(rank.numbers())[accumulation // processes :][:1] for rank in ranks
    ], "resumed after the first step"
