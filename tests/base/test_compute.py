from __future__ import annotations

import json
import subprocess
import sys

import pytest
import torch

from lora_recipes.base.compute import device_name, set_up
from lora_recipes.errors import UserError
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
