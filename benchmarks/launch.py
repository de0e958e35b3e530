"""Runs another program unchanged and notes when each of its optimizer steps ended.

    python -m benchmarks.launch marks.json module lora_recipes stage train
    python -m benchmarks.launch marks.json script train_dreambooth_lora_sdxl.py --rank 4 …

Ours, the bare loop and other trainers are all watched in this one way: torch calls a hook after
every optimizer's step. Nobody's file is edited.
"""

from __future__ import annotations

import atexit
import importlib.util
import json
import runpy
import sys
import time
from pathlib import Path
from typing import Any


def main() -> None:
    """Watch, then become the other program."""
    marks, kind, target, *rest = sys.argv[1:]
    watch(Path(marks))
    sys.argv = [target, *rest]
    if kind == "module":
        runpy.run_module(target, run_name="__main__", alter_sys=True)
        return
    if importlib.util.find_spec("torchvision") is None:
        from benchmarks import torchvision_stand_in

        torchvision_stand_in.install()
    sys.path.insert(0, str(Path(target).parent))
    runpy.run_path(target, run_name="__main__")


def watch(marks: Path) -> None:
    """From now on note every optimizer step; write the notes when the process ends."""
    from torch.optim.optimizer import register_optimizer_step_post_hook

    seen: dict[str, list[float]] = {"cpu": [], "clock": []}

    def note(optimizer: Any, args: Any, kwargs: Any) -> None:
        seen["cpu"].append(time.process_time())
        seen["clock"].append(time.monotonic())

    register_optimizer_step_post_hook(note)
    atexit.register(lambda: marks.write_text(json.dumps({**seen, **_memory()}), "utf-8"))


def _memory() -> dict[str, float]:
    import torch

    if not torch.cuda.is_initialized():
        return {}
    return {
        "peak_GiB": round(torch.cuda.max_memory_allocated() / 2**30, 3),
        "reserved_GiB": round(torch.cuda.max_memory_reserved() / 2**30, 3),
    }


if __name__ == "__main__":
    main()
