"""From the host's memory to the device's, without waiting for the device."""

from __future__ import annotations

import torch
from torch import Tensor


def send(value: Tensor, device: torch.device | str) -> Tensor:
    """The same numbers on a device; a GPU fetches them when it gets there.

    A copy out of pageable memory first waits until the GPU has done everything before it, so the
    host could not prepare the next step meanwhile. Out of pinned memory it takes its turn. torch
    keeps pinned memory until the GPU has read it.

    Args:
        value: in the host's memory, or on the device already.
        device: where to. On Apple's GPUs the copy waits: the other kind may read too late.
    """
    device = torch.device(device)
    if device.type == "cuda" and value.device.type == "cpu":
        value = value.pin_memory()
    return value.to(device, non_blocking=device.type != "mps")
