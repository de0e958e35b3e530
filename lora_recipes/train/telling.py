"""How a training went on this machine: speed and memory, for people and for `plan`. No output."""

from __future__ import annotations

import contextlib
import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from lora_recipes.errors import UserError
from lora_recipes.files import write_text
from lora_recipes.reporting import Reporter
from lora_recipes.train.job import Job, Outcome


def write_run(
    path: Path, job: Job, outcome: Outcome, about: Mapping[str, Any], report: Reporter
) -> None:
    """Say and keep what does not repeat: speed, memory, where the run was resumed.

    Args:
        about: `settings`, the recipe's sections without what is off, `device_name`, and `shapes`,
            [width, height, samples of an epoch] of each size. `plan` makes of them what the speed
            is of.
    """
    steps = job.stream.steps - outcome.resumed_at
    record = {
        "fingerprint": job.checkpoints.fingerprint,
        "steps": steps,
        "resumed_at": outcome.resumed_at,
        "seconds": round(outcome.seconds, 3),
        "steps_per_second": round(steps / outcome.seconds, 3),
        "peak_bytes": outcome.peak_bytes,
        "device": job.device.type,
        "processes": job.world.size,
        **about,
    }
    with contextlib.suppress(UserError):  # it is a help for `plan`, no result
        write_text(path, json.dumps(record, indent=1, ensure_ascii=False, sort_keys=True) + "\n")
    peak = outcome.peak_bytes
    memory = "" if peak is None else f", {peak / 2**30:.2f} GiB at most"
    report.say(f"trained {steps} steps in {outcome.seconds:.0f} s{memory}")


def peak_memory(device: torch.device) -> int | None:
    """Bytes: the most that tensors took on the device, or on a CPU the whole process.

    None on Windows, whose Python cannot tell.
    """
    if device.type == "cuda":
        return int(torch.cuda.max_memory_allocated(device))
    try:
        import resource
    except ImportError:
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024  # bytes on macOS, else KiB
