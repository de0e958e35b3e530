"""What the machine says of its processor."""

from __future__ import annotations

import platform
from pathlib import Path


def cpu_name() -> str:
    """The processor's model, as far as the machine tells."""
    return cpu_says("model name") or platform.processor() or platform.machine()


def cpu_says(field: str) -> str:
    """What Linux says of the first processor; empty elsewhere."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text("utf-8", "replace").splitlines() if info.is_file() else []
    pairs = (line.partition(":") for line in lines)
    return next((value.strip() for name, _, value in pairs if name.strip() == field), "")
