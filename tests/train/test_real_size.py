"""SDXL's true size on a CPU: a step's memory, and one at 256 pixels through the stage itself."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.gpu_real_size import arguments, make_project, measure
from benchmarks.meta import Case
from benchmarks.meta import measure as measure_on_meta
from lora_recipes.plan.memory import ACTIVATIONS
from lora_recipes.tensors import read_header

SMALLEST_MEMORY = 14 * 2**30
"""Bytes. The base in bf16 takes 4.8 GiB; loading it and the activations take more."""


@pytest.mark.slow
@pytest.mark.parametrize(("targets", "checkpointing"), ACTIVATIONS)
def test_the_memory_that_plan_tells_is_what_a_step_counts_up_to(targets, checkpointing):
    counted = measure_on_meta(Case(targets=targets, checkpointing=checkpointing))["peak_GiB"]
    assert counted * 2**30 == pytest.approx(ACTIVATIONS[targets, checkpointing], rel=0.01)


@pytest.mark.slow
def test_one_step_at_sdxls_real_size_writes_an_adapter_of_722_modules(tmp_path: Path):
    words = "--device cpu --resolution 256 --steps 1 --rank 4 --targets transformer"
    chosen = arguments().parse_args(words.split())
    make_project(tmp_path, chosen)
    figures = measure(tmp_path, chosen)
    header = read_header(tmp_path / "out" / "adapter.safetensors")
    modules = {name.split(".")[0] for name in header.entries}
    assert len(modules) == 722
    assert len(header.entries) == 3 * 722
    assert header.metadata["modelspec.architecture"] == "stable-diffusion-xl-v1-base/lora"
    print(f"peak memory {figures['peak_GiB']} GiB")
    assert figures["peak_GiB"] < SMALLEST_MEMORY / 2**30
