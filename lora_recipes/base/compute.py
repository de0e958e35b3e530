"""Setting torch up so that a run's numbers depend on the recipe and on nothing else."""

from __future__ import annotations

import contextlib
import gc
import os
import re
import subprocess
from dataclasses import dataclass
from pathlib import Path

import torch

from lora_recipes.errors import UserError
from lora_recipes.machine import nvidia_card
from lora_recipes.processor import cpu_name, cpu_says
from lora_recipes.recipe.sections.compute import Compute

VECTOR_FLAGS = re.compile(r"(avx|fma|amx|sve|asimd)\w*|f16c|neon|sme2?|bf16|i8mm")

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


@dataclass(frozen=True)
class Setup:
    """Where the frozen base model lives, and in which precision."""

    device: torch.device
    dtype: torch.dtype
    adapter_dtype: torch.dtype
    """Of the adapter's matmuls."""


def set_up(compute: Compute) -> Setup:
    """Fix threads, algorithms and attention for this process; call it before the first tensor.

    Deterministic mode follows torch's notes on reproducibility. cuDNN's attention has no
    deterministic backward and is left out then; flash attention has one.

    Raises:
        UserError: the device that the recipe asks for is not there.
    """
    device = _device(compute.device)
    torch.set_num_threads(compute.threads)
    with contextlib.suppress(RuntimeError):  # can be set once, before the first parallel work
        torch.set_num_interop_threads(1)
    # Otherwise float32 convolutions on a GPU are computed in TF32, with 10 bits of mantissa.
    torch.set_float32_matmul_precision("highest")
    torch.backends.cudnn.allow_tf32 = False
    torch.backends.cudnn.benchmark = False
    torch.backends.cudnn.deterministic = compute.deterministic
    if compute.deterministic:
        os.environ["CUBLAS_WORKSPACE_CONFIG"] = ":4096:8"
    torch.use_deterministic_algorithms(compute.deterministic, warn_only=False)
    torch.utils.deterministic.fill_uninitialized_memory = False
    fused = compute.attention == "sdpa"
    torch.backends.cuda.enable_flash_sdp(fused)
    torch.backends.cuda.enable_mem_efficient_sdp(fused)
    torch.backends.cuda.enable_cudnn_sdp(fused and not compute.deterministic)
    torch.backends.cuda.enable_math_sdp(True)
    dtype = DTYPES[compute.precision]
    return Setup(device, dtype, dtype if compute.adapter_precision == "base" else torch.float32)


def device_name(device: torch.device) -> str:
    """The model of a device, as far as the machine tells: bytes repeat on the same model only."""
    if device.type == "cuda":
        return str(torch.cuda.get_device_name(device))
    name = cpu_name()
    return name if device.type == "cpu" else f"{device.type} {name}"


def cpu_flags() -> str:
    """The CPU's vector instructions, sorted: which of them a sum goes through moves its last bits.

    Empty where the machine does not tell.
    """
    flags = (cpu_says("flags") or cpu_says("Features")).split()  # x86, ARM
    return " ".join(sorted({flag for flag in flags if VECTOR_FLAGS.fullmatch(flag)}))


def driver_version(loaded: Path = Path("/proc/driver/nvidia/version")) -> str:
    """The NVIDIA driver, `570.86.10`: it compiles kernels too. Empty where there is none."""
    if loaded.is_file():
        found = re.search(r"\s(\d+(\.\d+)+)\s", loaded.read_text("utf-8", "replace"))
        return found[1] if found else ""
    query = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
    try:
        done = subprocess.run(query, capture_output=True, text=True, check=True, timeout=60)
    except (OSError, subprocess.SubprocessError):
        return ""
    return done.stdout.split("\n")[0].strip()


def _check_no_card_is_wasted() -> None:
    """A card that torch cannot use is a mistake of the installation, unless it was hidden.

    Raises:
        UserError: there is one.
    """
    hidden = os.environ.get("CUDA_VISIBLE_DEVICES") in ("", "-1")
    card = None if hidden else nvidia_card()
    if card is not None:
        raise UserError.of(
            what=f"compute.device = auto: torch {torch.__version__} cannot use this machine's "
            f"{card.name}, and a CPU takes far longer",
            allowed="cpu, to train on the CPU all the same",
            fix="install a torch build for CUDA and a driver that is new enough for it "
            "(`python -c 'import torch; torch.zeros(1).cuda()'` says what is missing)",
        )


def _device(name: str) -> torch.device:
    there = {
        "cuda": torch.cuda.is_available(),
        "mps": torch.backends.mps.is_available(),
        "cpu": True,
    }
    if name == "auto":
        chosen = next(kind for kind, found in there.items() if found)
        if chosen == "cpu":
            _check_no_card_is_wasted()
        return torch.device(chosen)
    if not there[name]:
        kind = {"cuda": "an NVIDIA GPU", "mps": "an Apple GPU"}[name]
        raise UserError.of(
            what=f"compute.device = {name}: torch {torch.__version__} sees no such device",
            allowed=", ".join(["auto", *(kind for kind, found in there.items() if found)]),
            fix=f"run on a machine with {kind} and a torch build for it, "
            "or set compute.device to auto",
        )
    return torch.device(name)


def free_memory() -> None:
    """Give a dropped model's memory back before the next one is loaded."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
