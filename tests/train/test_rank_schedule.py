"""Several processes share the stream: each batch once, in one order, with one scale."""

from __future__ import annotations

import itertools

import pytest
import torch
from lora_recipes.train.distributed.together import scaled

from lora_recipes.train.data.rank_schedule import RankSchedule
from lora_recipes.train.data.stream import Stream


def stream(batches: int, accumulation: int) -> Stream:
    return Stream((1,) * batches, batches, 1, accumulation, 0)


SHARED = [
    (batches, accumulation, processes)
    for accumulation in range(1, 13)
    for processes in range(1, accumulation + 1)
    if accumulation % processes == 0
    for batches in (accumulation, 2 * accumulation + 1, 3 * accumulation - 1)
]


@pytest.mark.parametrize(("batches", "accumulation", "processes"), SHARED)
def test_the_rounds_of_all_processes_are_the_stream(
    batches: int, accumulation: int, processes: int
):
    turns = [RankSchedule(stream(batches, accumulation), processes, k) for k in range(processes)]
    columns = [list(turn.numbers()) for turn in turns]
    assert {len(column) for column in columns} == {turns[0].rounds}, "all run equally often"
    rounds = list(zip(*columns, strict=True))
    numbers = [number for numbers in rounds for number in numbers]
    assert numbers == list(range(len(numbers)))
    assert len(numbers) - batches < processes, "only the last round is filled up"
    ended = [turns[0].ended_step(numbers[0]) for numbers in rounds]
    steps = [step for step in ended if step is not None]
    assert steps == list(range(turns[0].stream.steps))
    for (here, *others), before in zip(rounds, [0, *ended], strict=False):
        assert [turns[0].ended_step(other) for other in others] == [
            turns[0].ended_step(here)
        ] * len(others)
        assert turns[0].starts_step(here) == (before is not None)
    assert [list(turn.numbers(accumulation))[:1] for turn in turns] == [
        list(turn.numbers())[accumulation // processes :][:1] for turn in turns
    ], "going on after the first step"


@pytest.mark.parametrize("accumulation", range(1, 13))
@pytest.mark.parametrize("share", [1.0, 3 / 7, 2.0, 1.7])
def test_each_gradient_has_the_scale_of_one_process_to_the_bit(accumulation: int, share: float):
    def gradient(turns: Turns | None) -> float:
        leaf = torch.tensor(0.3, requires_grad=True)
        loss = leaf * share
        if turns is None:
            (loss / accumulation).backward()
        else:
            (scaled(loss, turns) / turns.rounds_of_step).backward()
        return float(leaf.grad)

    divisors = [n for n in range(1, accumulation + 1) if accumulation % n == 0]
    found = {n: gradient(RankSchedule(stream(accumulation, accumulation), n)) for n in divisors}
    assert set(found.values()) == {gradient(None)}


def test_a_scale_in_float32_would_differ_between_numbers_of_processes():
    """Why `scaled` goes through float64."""
    odd = []
    for accumulation, processes in itertools.product(range(1, 13), repeat=2):
        if accumulation % processes == 0:
            rounds = accumulation // processes
            plain = torch.tensor(1.0) / rounds * torch.tensor(1 / processes)
            if plain != torch.tensor(1.0) / accumulation:
                odd.append((accumulation, processes))
    assert odd
