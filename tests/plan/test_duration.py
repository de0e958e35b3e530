"""How long a training will take: the best source first, each said with how sure it is."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from lora_recipes import machine as device
from lora_recipes.errors import UserError
from lora_recipes.machine import Device, device_of
from lora_recipes.plan import measured
from lora_recipes.plan.duration import Duration, duration, spoken
from lora_recipes.plan.measured import Measured, add, own_runs, table
from lora_recipes.plan.work import SDXL_UNET, Shape
from lora_recipes.recipe.identity import present
from lora_recipes.recipe.sections.base import Base
from lora_recipes.recipe.sections.compute import Compute
from lora_recipes.recipe.sections.lora import Lora
from lora_recipes.recipe.sections.prepare import Prepare
from lora_recipes.recipe.sections.train import Train

H100 = "NVIDIA H100 80GB HBM3"
SDXL = Shape(
    device=H100,
    threads=1,
    processes=1,
    unet=SDXL_UNET,
    pixels=1024**2,
    batch=1,
    accumulation=1,
    rank=32,
    targets="attention",
    checkpointing=False,
    precision="bf16",
    attention="sdpa",
    deterministic=True,
    optimizer="adafactor",
)


def timed(shape: Shape, seconds: float, *, own: bool = True, steps: int = 100) -> Measured:
    return Measured(shape, seconds, 3 * 2**30, steps, own)


@pytest.mark.parametrize(
    ("edge", "rank", "targets", "checkpointing", "counted"),
    [
        (1024, 8, "attention", False, 14.52),
        (1024, 32, "attention", False, 14.70),
        (1024, 128, "attention", False, 15.44),
        (1024, 32, "attention", True, 19.89),
        (1024, 128, "attention", True, 20.88),
        (1024, 32, "transformer", False, 15.01),
        (1024, 32, "transformer", True, 21.23),
        (1024, 8, "attention", "feed_forward", 16.397),
        (1024, 128, "attention", "feed_forward", 17.321),
        (1024, 32, "transformer", "feed_forward", 17.917),
    ],
)
def test_the_work_of_a_step_is_what_was_counted_on_sdxls_config(
    edge, rank, targets, checkpointing, counted
):
    shape = replace(SDXL, pixels=edge**2, rank=rank, targets=targets, checkpointing=checkpointing)
    assert shape.work == pytest.approx(counted, rel=0.002)
    assert replace(shape, batch=4, accumulation=2).work == pytest.approx(8 * counted, rel=0.002)


@pytest.mark.parametrize(("edge", "forward"), [(1024, 6.761), (768, 3.641), (512, 1.589)])
def test_the_work_follows_the_area_as_counted(edge, forward):
    ratio = replace(SDXL, pixels=edge**2).work / SDXL.work
    assert ratio == pytest.approx(forward / 6.761, rel=0.01)


def test_an_own_run_of_the_same_shape_is_taken_as_it_is_and_the_longest_counts():
    runs = [timed(SDXL, 9.0, steps=3), timed(SDXL, 0.5), timed(SDXL, 0.1, own=False, steps=999)]
    found = duration(SDXL, 300, runs)
    assert str(found) == (
        "about 2 min 30 s of training: your run of the same shape on this machine"
    )
    assert found is not None
    assert found.peak_bytes == 3 * 2**30


def test_a_measured_row_of_the_same_shape_comes_next():
    other = replace(SDXL, rank=8)
    found = duration(SDXL, 300, [timed(SDXL, 0.05, own=False), timed(other, 9.0)])
    assert str(found) == (
        "about 15 s of training: measured by this project on the same device "
        "(NVIDIA H100 80GB HBM3)"
    )


def test_another_shape_on_the_same_device_is_scaled_and_said_as_a_range():
    half = replace(SDXL, batch=2, optimizer="adamw")
    found = duration(half, 100, [timed(SDXL, 1.0), timed(replace(SDXL, pixels=512**2), 50.0)])
    assert found == Duration(
        100 * 2 / 1.5,
        100 * 2 * 1.5,
        "scaled by its operations from a run of yours of another shape on the same device",
    )
    assert str(found).startswith("roughly 2 min 10 s to 5 min of training: scaled")
    far = duration(replace(SDXL, accumulation=16), 1, [timed(SDXL, 1.0, own=False)])
    assert far is not None
    assert (far.low, far.high) == (pytest.approx(16 / 3), pytest.approx(48))
    assert "from a measured row of another shape" in far.source


@pytest.mark.parametrize(
    "change",
    [
        {"device": "another"},
        {"precision": "fp32"},
        {"adapter_precision": "base"},
        {"unet": "64/1"},
        {"threads": 2},
        {"attention": "math"},
        {"processes": 2},
        {"deterministic": False},
    ],
    ids=lambda change: next(iter(change)),
)
def test_what_runs_differently_tells_nothing(change):
    row = timed(replace(SDXL, **change), 1.0)
    assert duration(SDXL, 100, [row]) is None


def test_where_nothing_was_measured_nothing_is_said():
    assert duration(SDXL, 100, []) is None


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0.2, "1 s"), (59.4, "59 s"), (60, "1 min"), (154, "2 min 30 s"), (596, "10 min"),
        (3000, "50 min"), (5400, "1 h 30 min"), (7100, "2 h"), (90000, "25 h"),
    ],
)  # fmt: skip
def test_times_are_said_as_one_says_them(seconds, words):
    assert spoken(seconds) == words


SETTINGS = present(
    {
        "base": Base(model="stabilityai/stable-diffusion-xl-base-1.0"),
        "prepare": Prepare(),
        "lora": Lora(rank=32),
        "train": Train(gradient_accumulation=1),
        "compute": Compute(),
    }
)


def record(root: Path, name: str, **change: Any) -> None:
    run = {"seconds": 50.0, "steps": 100, "peak_bytes": 7, "device_name": H100, "processes": 1}
    run |= {"settings": SETTINGS} | change
    file = root / ".lora" / "runs" / f"{name}.json"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(run))


def test_records_of_earlier_runs_are_read_and_those_of_other_versions_left_out(
    tmp_path, monkeypatch
):
    monkeypatch.delenv("DVC_ROOT", raising=False)
    assert own_runs(tmp_path) == []
    record(tmp_path, "good")
    record(tmp_path, "nothing left to do", steps=0)
    record(tmp_path, "of other settings", settings={"base": {"model": "pocket"}})
    record(tmp_path, "of a model that is gone", settings=SETTINGS | {"base": {"model": "./gone"}})
    (tmp_path / ".lora/runs/cut.json").write_text("{")
    assert own_runs(tmp_path) == [Measured(SDXL, 0.5, 7, 100, own=True)]


FIGURES = {
    "device": H100, "torch": "2.11.0", "base": "random-sdxl", "resolution": 1024, "batch": 1,
    "accumulation": 1, "rank": 32, "targets": "attention", "optimizer": "adafactor",
    "precision": "bf16", "gradient_checkpointing": False, "steps": 50, "ms_per_step": 48.5,
    "peak_GiB": 10.5, "ms_per_image": 48.5, "adapter_MB": 1.0, "python": "3.12",
}  # fmt: skip


def test_a_benchmarks_figures_become_a_row_and_replace_the_one_of_their_shape(
    tmp_path, monkeypatch, capsys
):
    rows, figures = tmp_path / "speeds.json", tmp_path / "figures.json"
    rows.write_text("[]\n")
    monkeypatch.setattr(measured, "TABLE", rows)
    for change in ({"ms_per_step": 60}, {}, {"rank": 8}):
        figures.write_text(json.dumps(FIGURES | change))
        measured.main([str(figures)])
    found = table(rows)
    assert [row.shape for row in found] == [SDXL, replace(SDXL, rank=8)]
    assert found[0] == Measured(SDXL, 0.0485, round(10.5 * 2**30), 50, own=False)
    assert capsys.readouterr().out.splitlines()[-1] == (
        "speeds.json: NVIDIA H100 80GB HBM3, 1048576 pixels, rank 8"
    )


def test_a_row_of_a_version_that_knew_fewer_settings_is_replaced_too(tmp_path):
    rows, figures = tmp_path / "speeds.json", tmp_path / "figures.json"
    rows.write_text("[]\n")
    figures.write_text(json.dumps(FIGURES | {"ms_per_step": 60}))
    add(figures, rows)
    old = rows.read_text().replace('"adapter_precision": "fp32", ', "")
    assert old != rows.read_text()
    rows.write_text(old)
    figures.write_text(json.dumps(FIGURES))
    add(figures, rows)
    assert [row.seconds_per_step for row in table(rows)] == [0.0485]


def test_figures_that_are_none_are_refused_and_the_table_stays(tmp_path):
    rows, figures = tmp_path / "speeds.json", tmp_path / "figures.json"
    rows.write_text("[]\n")
    figures.write_text('{"device": "x"}')
    with pytest.raises(UserError) as caught:
        add(figures, rows)
    assert str(caught.value) == (
        f"{figures}: is not what the benchmark writes: KeyError('base')\n"
        "  fix:     run `python -m benchmarks.gpu_real_size --json figures.json` first"
    )
    assert rows.read_text() == "[]\n"


def test_the_table_that_ships_can_be_read():
    for row in table():
        assert row.seconds_per_step > 0
        assert row.shape.work > 0


def program(folder: Path, monkeypatch: pytest.MonkeyPatch, script: str) -> None:
    file = folder / "nvidia-smi"
    file.write_text(f"#!/bin/sh\n{script}\n")
    file.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")


def test_a_card_is_known_by_its_name_and_memory_where_the_recipe_may_use_it(tmp_path, monkeypatch):
    program(tmp_path, monkeypatch, "echo 'NVIDIA RTX 3070, 8192'; echo 'NVIDIA T4, 16384'")
    card = Device("NVIDIA RTX 3070", 8 * 2**30)
    assert device_of("auto") == device_of("cuda") == card
    assert device_of("cpu") == Device(device.cpu_name())


@pytest.mark.parametrize("script", ["exit 9", "echo", "echo no devices", "exec sleep 9"])
def test_a_card_that_does_not_answer_is_none(tmp_path, monkeypatch, script):
    monkeypatch.setattr(device, "PATIENCE", 0.5)
    monkeypatch.setattr(device, "_is_apple", lambda: False)
    program(tmp_path, monkeypatch, script)
    assert device_of("auto") == Device(device.cpu_name())
    assert device_of("cuda") == Device("an NVIDIA GPU")


def test_an_apple_device_is_named_as_torch_is_asked_for_it(monkeypatch):
    monkeypatch.setattr(device, "nvidia_card", lambda: None)
    monkeypatch.setattr(device, "_is_apple", lambda: True)
    assert device_of("auto").name == f"mps {device.cpu_name()}"
