"""What a training would run on, found out without torch."""

from __future__ import annotations

import platform
import shutil
import subprocess
from dataclasses import dataclass

from lora_recipes.processor import cpu_name

PATIENCE = 2.0
"""Seconds that nvidia-smi may take; it hangs where a driver is broken."""


@dataclass(frozen=True)
class Device:
    """A graphics card or a processor."""

    name: str
    """The model, as torch names it."""

    memory: int | None = None
    """Bytes; None where that is no limit, or not known."""


def device_of(chosen: str) -> Device:
    """What `compute.device` would be on this machine; `auto` takes a graphics card first."""
    card = nvidia_card() if chosen in ("auto", "cuda") else None
    if card is not None:
        return card
    if chosen == "cuda":
        return Device("an NVIDIA GPU")
    apple = chosen == "mps" or (chosen == "auto" and _is_apple())
    return Device(f"mps {cpu_name()}" if apple else cpu_name())


def absent_device(chosen: str) -> str:
    """What a plan says of a GPU that is asked for and does not answer; empty otherwise."""
    if chosen != "cuda" or nvidia_card() is not None:
        return ""
    return "nvidia-smi finds no NVIDIA GPU here; without one, `dvc repro` stops before it encodes"


def nvidia_card() -> Device | None:
    """The first NVIDIA card, or None where there is none or it does not answer."""
    program = shutil.which("nvidia-smi")
    if program is None:
        return None
    query = [program, "--query-gpu=name,memory.total", "--format=csv,noheader,nounits"]
    try:
        done = subprocess.run(
            query, capture_output=True, text=True, timeout=PATIENCE, check=True, errors="replace"
        )
        name, _, mebibytes = done.stdout.splitlines()[0].rpartition(", ")
        return Device(name, int(mebibytes) * 2**20)
    except (OSError, subprocess.SubprocessError, LookupError, ValueError):
        return None


def _is_apple() -> bool:
    return platform.system() == "Darwin" and platform.machine() == "arm64"
