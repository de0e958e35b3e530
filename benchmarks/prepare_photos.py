"""How long the stages dataset and prepare take for photos, against a plain loop over them.

The plain loop is what one would write with Pillow: open, turn upright, convert, scale, crop, save.
Photos are drawn (smooth shapes, texture, noise), so that decoding costs what it costs for real
ones. Both sides run in fresh processes, in the order plain, ours, ours, plain, …

    python -m benchmarks.prepare_photos --photos 60
    python -m benchmarks.prepare_photos --photos 1000 --pairs 2 --save
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import PIL
from PIL import Image, ImageOps

from benchmarks import pairs
from benchmarks.machine import REPOSITORY
from benchmarks.results import Result, tell
from lora_recipes.dataset.generated import write_index
from lora_recipes.dataset.geometry import place
from lora_recipes.dataset.processes import cores
from lora_recipes.pipeline import PRIOR
from lora_recipes.recipe.sections.dataset import Dataset
from lora_recipes.recipe.sections.prepare import Prepare

SIZE = (4000, 3000)
DISTINCT = 12
"""Photos that are drawn; the others are these with another comment in their header."""


def main() -> None:
    """Measure, check the pixels, print a table, and keep the result if asked to."""
    chosen = arguments().parse_args()
    if chosen.side:
        {"plain": plain, "ours": ours}[chosen.side](Path.cwd(), chosen.resolution)
        return
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        make_project(root, chosen)
        order = (["plain", "ours", "ours", "plain"] * chosen.pairs)[: 2 * chosen.pairs]
        runs = [(side, timed(root, side, chosen.resolution)) for side in order]
        equal = same_pixels(root)
    tell(result_of(chosen, runs, equal), chosen.save)
    if not equal:
        sys.exit("the pixels differ from the plain loop's")


def arguments() -> argparse.ArgumentParser:
    """What can be varied."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--photos", type=int, default=60)
    parser.add_argument("--resolution", type=int, default=1024, help="pixels")
    parser.add_argument("--quality", type=int, default=92, help="of the drawn JPEGs")
    parser.add_argument("--pairs", type=int, default=2, help="runs of each side")
    parser.add_argument("--save", action="store_true", help="keep the result in results/")
    parser.add_argument("--side", choices=["plain", "ours"], help=argparse.SUPPRESS)
    return parser


def make_project(root: Path, chosen: argparse.Namespace) -> None:
    """Photos, params.yaml and resolved.yaml in a folder."""
    photos = root / "data"
    photos.mkdir()
    drawn = [draw(number) for number in range(min(DISTINCT, chosen.photos))]
    for number in range(chosen.photos):
        file = photos / f"{number:05}.jpg"
        drawn[number % len(drawn)].save(file, quality=chosen.quality, comment=str(number))
    sections = {
        "dataset": Dataset(trigger="zwk", class_word="toy"),
        "prepare": Prepare(resolution=chosen.resolution, crop="center"),
    }
    plain = {name: section.model_dump(mode="json") for name, section in sections.items()}
    (root / "resolved.yaml").write_text(json.dumps(plain), "utf-8")
    write_index(root / PRIOR, [])
    params = {"recipe": "benchmark", "data": "data", "runtime": {"progress": "off"}}
    (root / "params.yaml").write_text(json.dumps(params), "utf-8")


def draw(seed: int) -> Image.Image:
    """A picture with a photo's spectrum: each octave fainter than the one before, and noise."""
    stream = np.random.default_rng(seed)
    width, height = SIZE
    total = np.full((height, width, 3), 128, np.float32)
    for cells in (6, 24, 96, 384, 1500):
        rough = stream.standard_normal((cells * height // width, cells, 3)).astype(np.float32)
        for channel in range(3):
            octave = Image.fromarray(rough[..., channel]).resize(SIZE, Image.Resampling.BICUBIC)
            total[..., channel] += np.asarray(octave) * 60 / (cells / 6) ** 0.45
    total += 4 * stream.standard_normal((height, width, 1), dtype=np.float32)
    return Image.fromarray(total.clip(0, 255).astype(np.uint8))


def plain(root: Path, resolution: int) -> None:
    """The loop that one would write."""
    out = root / "plain"
    out.mkdir(exist_ok=True)
    target = (resolution, resolution)
    for file in sorted((root / "data").iterdir()):
        with Image.open(file) as opened:
            picture = ImageOps.exif_transpose(opened).convert("RGB")
        at = place(picture.size, target, "center", 0, file.name)
        picture = picture.resize(at.resized, Image.Resampling.LANCZOS)
        picture = picture.crop((at.left, at.top, at.left + resolution, at.top + resolution))
        picture.save(out / f"{file.name}.png")


def ours(root: Path, _resolution: int) -> None:
    """The stages as `dvc repro` runs them, without what an earlier run remembered."""
    (root / ".lora/pictures/data.json").unlink(missing_ok=True)
    for stage in ("dataset", "prepare"):
        subprocess.run([sys.executable, "-m", "lora_recipes", "stage", stage], cwd=root, check=True)


def timed(root: Path, side: str, resolution: int) -> tuple[float, float]:
    """Seconds of wall clock and of CPU of one side, all its processes included."""
    command = [sys.executable, "-m", "benchmarks.prepare_photos", "--side", side]
    command += ["--resolution", str(resolution)]
    used = pairs.run(command, root, {"PYTHONPATH": str(REPOSITORY)})
    print(f"{side:5} {used.wall:8.1f} s, {used.cpu:8.1f} s of CPU", file=sys.stderr)
    return used.wall, used.cpu


def same_pixels(root: Path) -> bool:
    """Whether both sides wrote the same pixels, picture by picture."""
    files = sorted((root / "plain").iterdir())
    assert files
    for file in files:
        with Image.open(file) as left, Image.open(root / "build/images" / file.name) as right:
            if left.mode != right.mode or left.size != right.size:
                return False
            if left.tobytes() != right.tobytes():
                return False
    return True


def result_of(
    chosen: argparse.Namespace, runs: list[tuple[str, tuple[float, float]]], equal: bool
) -> Result:
    """The table: medians, and how much faster the stages are, pair by pair."""
    sides = {side: [run for name, run in runs if name == side] for side in ("plain", "ours")}
    wall = {side: [seconds for seconds, _ in found] for side, found in sides.items()}
    names = {"plain": "plain Pillow loop", "ours": "dataset and prepare"}
    rows: list[dict[str, Any]] = [
        {
            "who": names[side],
            "s": round(pairs.spread(wall[side]).median, 1),
            "CPU s": round(pairs.spread([cpu for _, cpu in found]).median, 1),
            "times faster": str(pairs.ratios(wall["plain"], wall["ours"]))
            if side == "ours"
            else None,
        }
        for side, found in sides.items()
    ]
    settings = {
        "photos": chosen.photos,
        "megapixels": SIZE[0] * SIZE[1] / 1e6,
        "resolution": chosen.resolution,
        "cores used": cores(),
        "pairs": chosen.pairs,
        "pillow": PIL.__version__,
    }
    notes = [
        f"{min(DISTINCT, chosen.photos)} drawn photos, the others are copies of them with another "
        "comment in their header",
        "the pixels are " + ("equal, picture by picture" if equal else "NOT equal"),
    ]
    return Result("prepare-photos", settings, rows, notes, {"s and CPU s": sides})


if __name__ == "__main__":
    main()
