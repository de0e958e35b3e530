"""Measured speeds: this machine's own runs, and the table that ships with the package.

    python -m lora_recipes.plan.measured figures.json

adds to the table what `python -m benchmarks.gpu_real_size --json figures.json` measured.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from datetime import date
from pathlib import Path
from typing import Any

from lora_recipes.errors import UserError
from lora_recipes.files import own_folder, read_bytes, write_text
from lora_recipes.plan.buckets import mean_pixels
from lora_recipes.plan.work import Shape, prior_batch, shape_of
from lora_recipes.recipe.identity import restored
from lora_recipes.recipe.sections.base import Base
from lora_recipes.recipe.sections.compute import Compute
from lora_recipes.recipe.sections.lora import Lora
from lora_recipes.recipe.sections.prepare import Prepare
from lora_recipes.recipe.sections.train import Train

TABLE = Path(__file__).parent / "speeds.json"


@dataclass(frozen=True)
class Measured:
    """How long an optimizer step of a shape took, and what memory."""

    shape: Shape
    seconds_per_step: float
    peak_bytes: int | None
    """The device's tensors, or on a CPU the whole process."""
    steps: int
    own: bool
    """Measured by a run of this project on this machine; else from the table."""


def own_runs(root: Path) -> list[Measured]:
    """What the trainings of this project left in `.lora/runs/`; unreadable records are left out."""
    found = []
    for file in sorted((own_folder(root) / "runs").glob("*.json")):
        try:
            run = json.loads(read_bytes(file))
            seconds, steps = float(run["seconds"]), int(run["steps"])
            if steps > 0 and seconds > 0:
                shape = _shape(run, root)
                peak = None if run["peak_bytes"] is None else int(run["peak_bytes"])
                found.append(Measured(shape, seconds / steps, peak, steps, own=True))
        except (
            OSError,
            ArithmeticError,
            ValueError,
            LookupError,
            TypeError,
            RuntimeError,
            UserError,
        ):
            continue
    return found


def _shape(run: dict[str, Any], root: Path) -> Shape:
    """What a run's record says of its steps."""
    settings = run["settings"]
    folder = settings.get("dataset", {}).get("regularization", "none")
    images = settings.get("prior", {}).get("images", 0)
    train = restored(Train, settings["train"])
    shape = shape_of(
        restored(Base, settings["base"]),
        restored(Prepare, settings["prepare"]),
        restored(Lora, settings["lora"]),
        train,
        restored(Compute, settings["compute"]),
        run["device_name"],
        root,
        int(run["processes"]),
        prior_batch(folder, images, train),
    )
    seen = [((width, height), times) for width, height, times in run.get("shapes", [])]
    return replace(shape, pixels=mean_pixels(seen) or shape.pixels)


def table(path: Path = TABLE) -> list[Measured]:
    """The measurements that ship with the package."""
    return [
        Measured(
            shape=Shape(**row["shape"]),
            seconds_per_step=row["ms_per_step"] / 1000,
            peak_bytes=row["peak_bytes"],
            steps=row["steps"],
            own=False,
        )
        for row in json.loads(path.read_text("utf-8"))
    ]


def add(figures: Path, path: Path) -> Shape:
    """Put a benchmark's figures into the table; figures of the same shape are replaced.

    Raises:
        UserError: the file is not what benchmarks/gpu_real_size.py writes.
    """
    try:
        row = _row(json.loads(figures.read_text("utf-8")))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError.of(
            where=str(figures),
            what=f"is not what the benchmark writes: {error!r}",
            fix="run `python -m benchmarks.gpu_real_size --json figures.json` first",
        ) from error
    shape, known = Shape(**row["shape"]), json.loads(path.read_text("utf-8"))
    rows = [other for other in known if Shape(**other["shape"]) != shape] + [row]
    rows.sort(key=lambda each: json.dumps(each["shape"], sort_keys=True))
    lines = ",\n".join(json.dumps(each, sort_keys=True) for each in rows)
    write_text(path, f"[\n{lines}\n]\n")
    return shape


def _row(figures: dict[str, Any]) -> dict[str, Any]:
    shape = shape_of(
        Base(model=figures["base"]),
        Prepare(resolution=figures["resolution"]),
        Lora(rank=figures["rank"], targets=figures["targets"]),
        Train(
            batch_size=figures["batch"],
            gradient_accumulation=figures["accumulation"],
            optimizer=figures["optimizer"],
        ),
        Compute(
            precision=figures["precision"],
            adapter_precision=figures.get("adapter_precision", "fp32"),
            gradient_checkpointing=figures["gradient_checkpointing"],
        ),
        figures["device"],
        Path(),
    )
    return {
        "shape": asdict(shape),
        "ms_per_step": float(figures["ms_per_step"]),
        "peak_bytes": round(figures["peak_GiB"] * 2**30),
        "steps": int(figures["steps"]),
        "torch": str(figures["torch"]),
        "added": date.today().isoformat(),
    }


def main(arguments: Sequence[str] | None = None) -> None:
    """Add each file that is named."""
    for name in sys.argv[1:] if arguments is None else arguments:
        shape = add(Path(name), TABLE)
        print(f"{TABLE.name}: {shape.device}, {shape.pixels} pixels, rank {shape.rank}")


if __name__ == "__main__":
    main()
