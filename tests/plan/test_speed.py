"""A training's time where nothing was measured: a range for every device, in the right order."""

from __future__ import annotations

from dataclasses import replace

import pytest

from lora_recipes.machine import Device
from lora_recipes.plan.measured import table
from lora_recipes.plan.speed import PEAKS, counted
from tests.plan.test_duration import SDXL

GIB = 2**30


@pytest.mark.parametrize(
    ("device", "precision", "told"),
    [
        (
            Device("NVIDIA H100 80GB HBM3", 80 * GIB),
            "bf16",
            "roughly 6 s to 30 s of training: counted, not measured: 14.7 TFLOP a step at 99 to "
            "490 TFLOP/s",
        ),
    ],
)
def test_the_range_says_what_it_is_made_of(device, precision, told):
    assert str(counted(replace(SDXL, precision=precision), 200, device)) == told


def middle(name: str, memory: int | None = 1, **change: object) -> float:
    found = counted(replace(SDXL, **change), 100, Device(name, memory))
    assert found is not None
    assert 0 < found.low < found.high
    return (found.low * found.high) ** 0.5


def test_the_order_of_devices_is_theirs():
    names = ["NVIDIA H100 80GB HBM3", "NVIDIA H100 PCIe", "NVIDIA A100-SXM4-40GB", "NVIDIA L4"]
    times = [middle(name) for name in names]
    assert times == sorted(times)
    assert middle("NVIDIA A10G") > middle("NVIDIA A10") > middle("NVIDIA A100 80GB PCIe")
    assert middle("NVIDIA L40S") < middle("NVIDIA L4")
    assert middle("NVIDIA L4", precision="fp32") > middle("NVIDIA L4")
    assert middle("a card of tomorrow") > middle("NVIDIA H100")
    assert middle("a card of tomorrow", precision="fp32") > middle("a card of tomorrow")
    assert middle("mps Apple M3", None) < middle("Apple M3", None, threads=8)
    assert middle("Apple M3", None, threads=8) < middle("Apple M3", None)
    assert middle("NVIDIA L4", processes=2) < middle("NVIDIA L4")


def test_every_card_of_the_list_is_found_by_its_name():
    for name, (half, single) in PEAKS.items():
        assert single < half
        found = counted(SDXL, 1, Device(f"NVIDIA {name}", 1))
        assert found is not None
        assert found.low == pytest.approx(SDXL.work / (0.5 * half))


def test_the_pocket_has_a_range_everywhere_and_a_model_of_unknown_size_none():
    [row] = table()
    shape = replace(row.shape, device="Another CPU")
    slow, gpu = counted(shape, 100, Device("Another CPU")), counted(shape, 100, Device("GPU", 1))
    assert slow is not None
    assert gpu is not None
    assert slow.low < 100 * row.seconds_per_step < slow.high
    assert str(slow) == (
        "roughly 4 s to 36 s of training: scaled by its operations from a measured row on AMD EPYC"
    )
    assert str(gpu) == (
        "roughly 2 s to 30 s of training: guessed from what a small model's launches take on a GPU"
    )
    assert counted(replace(shape, unet="8/1"), 100, Device("Another CPU")) is None
