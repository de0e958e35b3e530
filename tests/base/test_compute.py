from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from lora_recipes.base.compute import VECTOR_FLAGS, cpu_flags, device_name, driver_version, set_up
from lora_recipes.errors import UserError
from lora_recipes.machine import Device
from lora_recipes.recipe.sections.compute import Compute

TELL = """
import json, os, sys, torch
from lora_recipes.base.compute import set_up
from lora_recipes.recipe.sections.compute import Compute
for settings in json.loads(sys.argv[1]):
    setup = set_up(Compute(**settings))
    print(json.dumps({
        "device": str(setup.device), "dtype": str(setup.dtype),
        "threads": torch.get_num_threads(), "interop": torch.get_num_interop_threads(),
        "deterministic": torch.are_deterministic_algorithms_enabled(),
        "warn only": torch.is_deterministic_algorithms_warn_only_enabled(),
        "fill": torch.utils.deterministic.fill_uninitialized_memory,
        "cudnn": [torch.backends.cudnn.deterministic, torch.backends.cudnn.benchmark],
        "cublas": os.environ.get("CUBLAS_WORKSPACE_CONFIG"),
        "tf32": [torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32],
        "flash": torch.backends.cuda.flash_sdp_enabled(),
        "cudnn attention": torch.backends.cuda.cudnn_sdp_enabled(),
    }))
"""


def test_set_up_fixes_all_that_bytes_depend_on() -> None:
    settings = [
        {"device": "cpu", "precision": "fp16", "threads": 3},
        {"device": "cpu", "precision": "fp32", "attention": "math", "deterministic": False},
    ]
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", TELL, json.dumps(settings)],
        check=True, capture_output=True, text=True,
    )  # fmt: skip
    first, second = map(json.loads, done.stdout.splitlines())
    assert first == {
        "device": "cpu",
        "dtype": "torch.float16",
        "threads": 3,
        "interop": 1,
        "deterministic": True,
        "warn only": False,
        "fill": False,
        "cudnn": [True, False],
        "cublas": ":4096:8",
        "tf32": [False, False],
        "flash": True,
        "cudnn attention": False,
    }
    assert second == first | {
        "dtype": "torch.float32",
        "threads": 1,
        "deterministic": False,
        "cudnn": [False, False],
        "flash": False,
    }


def test_a_device_that_is_not_there_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    with pytest.raises(UserError) as error:
        set_up(Compute(device="cuda"))
    assert str(error.value) == (
        f"compute.device = cuda: torch {torch.__version__} sees no such device\n"
        "  allowed: auto, cpu\n"
        "  fix:     run on a machine with an NVIDIA GPU and a torch build for it, "
        "or set compute.device to auto"
    )


def test_a_device_has_a_name_that_tells_its_model() -> None:
    assert device_name(torch.device("cpu")) not in ("", "cpu")


def test_the_vector_instructions_of_a_cpu_are_named_and_nothing_else_of_it() -> None:
    found = ["avx", "avx512f", "amx_bf16", "fma", "fma4", "sve2", "asimddp", "neon", "sme", "f16c"]
    assert [flag for flag in found if not VECTOR_FLAGS.fullmatch(flag)] == []
    others = ["smep", "smap", "sse4_2", "aes", "rdrand", "xsave", "fpu"]
    assert [flag for flag in others if VECTOR_FLAGS.fullmatch(flag)] == []
    assert cpu_flags() == " ".join(sorted(cpu_flags().split()))


@pytest.mark.parametrize(
    "line",
    [
        "NVRM version: NVIDIA UNIX x86_64 Kernel Module  570.86.10  Wed Jan 22 2025",
        "NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  570.86.10  Release Build",
    ],
)
def test_the_driver_of_a_gpu_is_known_by_its_version(tmp_path: Path, line: str) -> None:
    loaded = tmp_path / "version"
    loaded.write_text(f"{line}\nGCC version:  gcc version 12.2.0 (Debian 12.2.0)\n")
    assert driver_version(loaded) == "570.86.10"


def test_where_the_kernel_does_not_tell_the_driver_nvidia_smi_does(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert driver_version(tmp_path / "none") == ""
    program = tmp_path / "nvidia-smi"
    program.write_text("#!/bin/sh\necho 570.86.10\necho 570.86.10\n")
    program.chmod(0o755)
    assert driver_version(tmp_path / "none") == "570.86.10"


def test_a_card_that_torch_cannot_use_is_not_left_idle_in_silence(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    monkeypatch.setattr("lora_recipes.base.compute.nvidia_card", lambda: Device("NVIDIA X"))
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    with pytest.raises(UserError) as caught:
        set_up(Compute(device="auto"))
    assert str(caught.value).startswith(
        f"compute.device = auto: torch {torch.__version__} cannot use this machine's NVIDIA X, "
        "and a CPU takes far longer\n"
        "  allowed: cpu, to train on the CPU all the same\n"
        "  fix:     install a torch build for CUDA"
    )
    assert set_up(Compute(device="cpu")).device.type == "cpu"
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")  # hidden on purpose
    assert set_up(Compute(device="auto")).device.type == "cpu"
