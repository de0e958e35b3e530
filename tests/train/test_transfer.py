"""Copies to a GPU do not wait for it; there is none here: what torch is asked for is looked at."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from lora_recipes.train.data.transfer import send


@pytest.mark.parametrize(
    ("device", "pinned", "waits"),
    [("cuda:1", True, False), ("mps", False, True), ("cpu", False, False)],
)
def test_only_pinned_memory_goes_to_a_gpu_without_waiting(
    monkeypatch: pytest.MonkeyPatch, device: str, pinned: bool, waits: bool
):
    asked: list[tuple[str, Any]] = []

    def pin_memory(self: Tensor) -> Tensor:
        asked.append(("pinned", None))
        return self

    def to(self: Tensor, *where: Any, **how: Any) -> Tensor:
        asked.append((str(where[0]), how["non_blocking"]))
        return self

    value = torch.arange(3)
    monkeypatch.setattr(Tensor, "pin_memory", pin_memory)
    monkeypatch.setattr(Tensor, "to", to)
    send(value, device)
    assert asked == [*([("pinned", None)] if pinned else []), (device, not waits)]


def test_numbers_that_are_there_already_are_not_copied():
    value = torch.arange(3)
    assert send(value, "cpu") is value
    assert send(torch.zeros(2), torch.device("meta")).device.type == "meta"
