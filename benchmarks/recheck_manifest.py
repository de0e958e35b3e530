"""How long the dataset stage takes to see that nothing changed, for many pictures with captions.

The whole command is measured, start-up included, in fresh processes:

    python -m benchmarks.recheck_manifest
    python -m benchmarks.recheck_manifest --pictures 2000 --runs 3 --save
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from benchmarks import pairs
from benchmarks.machine import REPOSITORY
from benchmarks.results import Result, tell
from lora_recipes.dataset.cache import SETTLED_NS
from lora_recipes.recipe.sections.dataset import Dataset

TARGET = 2.0
"""Seconds for 10,000 pictures."""


def main() -> None:
    """Look once, then measure looking again."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pictures", type=int, default=10_000)
    parser.add_argument("--runs", type=int, default=pairs.ROUNDS)
    parser.add_argument("--save", action="store_true", help="keep the result in results/")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        make_project(root, chosen.pictures)
        time.sleep(SETTLED_NS / 1e9)  # what was written a moment ago is not remembered
        first = inspect_adapter(root)
        manifest = (root / "build/manifest.json").read_bytes()
        again = [inspect_adapter(root) for _ in range(chosen.runs)]
        assert (root / "build/manifest.json").read_bytes() == manifest
    rows = [_row("the first look", [first]), _row("nothing changed", again)]
    if chosen.pictures == 10_000:  # noqa: PLR2004
        rows[-1] |= {"target s": TARGET, "met": rows[-1]["s"] <= TARGET}
    settings = {"pictures": chosen.pictures, "runs": chosen.runs}
    tell(Result("recheck-manifest", settings, rows, raw={"s and CPU s": again}), chosen.save)


def _row(what: str, runs: list[tuple[float, float]]) -> dict[str, Any]:
    wall, cpu = (pairs.spread(values) for values in zip(*runs, strict=True))
    return {
        "what": what,
        "s": round(wall.median, 2),
        "smallest": round(wall.low, 2),
        "largest": round(wall.high, 2),
        "CPU s": round(cpu.median, 2),
        "n": wall.count,
    }


def make_project(root: Path, count: int) -> None:
    """Small pictures, all different, each with a caption."""
    stream = np.random.default_rng(0)
    (root / "data").mkdir()
    for number in range(count):
        corners = stream.integers(0, 256, (3, 3, 3), dtype=np.uint8)
        picture = Image.fromarray(corners).resize((64, 64), Image.Resampling.BICUBIC)
        picture.save(root / f"data/{number:05}.jpg")
        (root / f"data/{number:05}.txt").write_text(f"a photo of zwk toy number {number}")
    section = Dataset(trigger="zwk").model_dump(mode="json")
    (root / "resolved.yaml").write_text(json.dumps({"dataset": section}), "utf-8")
    params = {"recipe": "benchmark", "data": "data", "runtime": {"progress": "off"}}
    (root / "params.yaml").write_text(json.dumps(params), "utf-8")


def inspect_adapter(root: Path) -> tuple[float, float]:
    """Run the dataset stage: seconds of wall clock and of CPU."""
    command = [sys.executable, "-m", "lora_recipes", "stage", "dataset"]
    used = pairs.run(command, root, {"PYTHONPATH": str(REPOSITORY)})
    return used.wall, used.cpu


if __name__ == "__main__":
    main()
