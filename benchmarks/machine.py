"""On what, with what and of what a figure was measured: without it a figure means nothing."""

from __future__ import annotations

import datetime
import os
import platform
import subprocess
from importlib import metadata
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).resolve().parent.parent
PACKAGES = ("torch", "diffusers", "transformers", "peft", "accelerate", "lightning", "dvc",
            "pydantic", "ruamel.yaml")  # fmt: skip


def describe() -> dict[str, Any]:
    """The machine, its load, the versions and the commit. No host name, no user, no path."""
    return {
        "cpu": _cpu(),
        "cores": os.cpu_count(),
        "memory_GiB": _memory(),
        "system": f"{platform.system()} {platform.machine()}",
        "load": _load(),
        "python": platform.python_version(),
        "packages": {name: _version(name) for name in PACKAGES},
        "commit": commit(),
    }


def today() -> str:
    """The date, as `2030-01-31`."""
    return datetime.datetime.now(datetime.UTC).date().isoformat()


def commit() -> str:
    """The commit that is measured; `+changes` where the code has others than that commit."""
    try:
        head = _git("rev-parse", "--short=12", "HEAD")
        code = ("lora_recipes", "benchmarks/*.py")
        return head + ("+changes" if _git("status", "--porcelain", "--", *code) else "")
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


def _git(*words: str) -> str:
    done = subprocess.run(
        ["git", *words], cwd=REPOSITORY, capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


def _cpu() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text("utf-8", "replace").splitlines() if info.is_file() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def _memory() -> float | None:
    names = ("SC_PAGE_SIZE", "SC_PHYS_PAGES")
    if not all(name in os.sysconf_names for name in names):
        return None
    size, pages = map(os.sysconf, names)
    return round(size * pages / 2**30, 1)


def _load() -> float | None:
    """How many processes wanted a core in the last minute: more than the cores is a noisy time."""
    return round(os.getloadavg()[0], 1) if hasattr(os, "getloadavg") else None


def _version(name: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return "not installed"
