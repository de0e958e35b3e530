"""What a training's bytes depend on, as a record and as one hash."""

from __future__ import annotations

import platform
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

import torch

from lora_recipes.base.compute import cpu_flags, device_name, driver_version
from lora_recipes.encode.store import INDEX
from lora_recipes.hashing import digest, sha256_file
from lora_recipes.pipeline import stage


def environment(device: torch.device) -> dict[str, Any]:
    """Builds, interpreter, device model and threads: under equal ones, bytes repeat."""
    driver = {"driver": driver_version()} if device.type == "cuda" else {}
    return {
        "packages": {name: metadata.version(name) for name in stage("train").packages},
        "torch_build": f"{torch.version.git_version}, CUDA {torch.version.cuda or 'none'}",
        "python": platform.python_version(),
        "machine": platform.machine(),
        "device": device_name(device),
        **driver,
        "cpu_capability": torch.backends.cpu.get_cpu_capability(),
        "cpu_flags": cpu_flags(),
        "threads": torch.get_num_threads(),
    }


def fingerprint(settings: Mapping[str, Any], data: Path, around: Mapping[str, Any]) -> str:
    """`sha256:…` of all that the adapter's bytes depend on. Checkpoints go by it.

    Args:
        settings: the recipe's tracked sections, the base's identity, the code's hash.
        data: the folder of encoded pictures. Its index names each file by the file's own hash, and
            a file that is not what its name says is not read.
        around: as `environment` gives it.
    """
    index = sha256_file(data / INDEX)
    return digest({"settings": settings, "data": index, "environment": around})
