"""The exchange gives every process the sum that one process makes, to the bit."""

from __future__ import annotations

import os

import pytest
import torch
from torch import Tensor, distributed

from lora_recipes.train.distributed.ordered_sum import OrderedSum
from tests.train.processes import as_torchrun, together

SHAPES = ((3, 5), (1,), (4, 4), (2, 3, 2))


def gradients(batch: int) -> list[Tensor]:
    """Numbers of very different sizes, so that the order of a sum shows; some are -0."""
    stream = torch.Generator().manual_seed(batch)
    made = []
    for shape in SHAPES:
        size = 10.0 ** torch.randint(-6, 7, shape, generator=stream)
        made.append(torch.randn(shape, generator=stream) * size)
        made[-1].view(-1)[0] = -0.0
    return made


def in_order(batches: range) -> list[Tensor]:
    """As torch accumulates on one process."""
    weights = [torch.nn.Parameter(torch.zeros(shape)) for shape in SHAPES]
    for batch in batches:
        for weight, gradient in zip(weights, gradients(batch), strict=True):
            (weight * gradient).sum().backward()
    return [weight.grad for weight in weights]


def exchange(windows: list[range], chunk: int) -> list[list[bytes]]:
    """One process's part; the whole gradient after each window."""
    rank, size = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
    distributed.init_process_group("gloo")
    weights = [torch.nn.Parameter(torch.zeros(shape)) for shape in SHAPES]
    total = OrderedSum(weights, size, chunk)
    found = []
    for window in windows:
        for start in range(window.start, window.stop, size):
            real = min(size, window.stop - start)
            for weight in weights:
                weight.grad = None
            mine = gradients(start + rank) if rank < real else gradients(-1)
            for weight, gradient in zip(weights, mine, strict=True):
                (weight * gradient).sum().backward()
            total.add(real, starts=start == window.start)
        total.hand_out()
        found.append([weight.grad.numpy().tobytes() for weight in weights])
    distributed.destroy_process_group()
    return found


@pytest.mark.parametrize(("size", "chunk"), [(2, 7), (4, 5), (4, 1000)])
def test_every_process_gets_the_sum_of_one_to_the_bit(size: int, chunk: int):
    windows = [range(8), range(8, 16), range(16, 19)]
    expected = [[g.numpy().tobytes() for g in in_order(window)] for window in windows]
    for found in together(as_torchrun(size), exchange, windows, chunk):
        assert found == expected


def test_another_order_of_the_same_gradients_gives_other_bytes():
    ordered = torch.cat([g.flatten() for g in in_order(range(8))])
    turned = torch.zeros_like(ordered)
    for batch in reversed(range(8)):
        turned += torch.cat([g.flatten() for g in gradients(batch)])
    assert not torch.equal(ordered, turned)
