"""One configuration: how long a training step takes and how much memory it needs.

Runs the train stage itself on SDXL's true configuration with random weights and random encoded
pictures: nothing is downloaded. `python -m benchmarks.gpu` runs many of these. On a GPU:

    python -m benchmarks.gpu_real_size
    python -m benchmarks.gpu_real_size --checkpointing --targets transformer --json figures.json

The same on a CPU in a minute, to see that it works:

    python -m benchmarks.gpu_real_size --base pocket --resolution 128 --steps 4 --rank 4
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch

from lora_recipes.base.compute import device_name
from lora_recipes.base.locate import locate
from lora_recipes.console import reporter
from lora_recipes.encode.store import EncodedIndex, Example, write_file, write_index
from lora_recipes.hashing import sha256_file
from lora_recipes.recipe.sections.base import Base
from lora_recipes.recipe.sections.compute import Compute
from lora_recipes.recipe.sections.dataset import Dataset
from lora_recipes.recipe.sections.encode import Encode
from lora_recipes.recipe.sections.lora import Lora
from lora_recipes.recipe.sections.prepare import Prepare
from lora_recipes.recipe.sections.prior import Prior
from lora_recipes.recipe.sections.train import Train
from lora_recipes.stages import train as stage
from lora_recipes.train.module import Denoiser

BEGAN = time.monotonic()
"""When this file was read; `--started` knows better, from before Python itself started."""

PICTURES = 4
WARM_UP = 5
"""Steps that are not timed: kernels are chosen and memory is taken in them."""


def main() -> None:
    """Measure, print a table, and write the figures as JSON if asked to."""
    chosen = arguments().parse_args()
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        make_project(root, chosen)
        figures = measure(root, chosen)
    width = max(map(len, figures))
    print("\n".join(f"{name:{width}}  {value}" for name, value in figures.items()))
    if chosen.json:
        chosen.json.write_text(json.dumps(figures, indent=1) + "\n", "utf-8")


def arguments() -> argparse.ArgumentParser:
    """What can be varied."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--base", default="random-sdxl", help="base.model; random-sdxl or pocket")
    parser.add_argument("--resolution", type=int, default=1024, help="pixels")
    parser.add_argument("--steps", type=int, default=50, help="optimizer steps")
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--accumulation", type=int, default=1)
    parser.add_argument("--rank", type=int, default=32)
    parser.add_argument("--targets", default="attention", choices=["attention", "transformer"])
    parser.add_argument("--optimizer", default="adafactor", choices=["adafactor", "adamw"])
    parser.add_argument("--precision", default="bf16", choices=["fp32", "bf16", "fp16"])
    parser.add_argument("--adapter-precision", default="fp32", choices=["fp32", "base"])
    parser.add_argument("--device", default="auto", choices=["auto", "cpu", "cuda", "mps"])
    parser.add_argument("--fast", action="store_true", help="not bound to repeat to the bit")
    parser.add_argument("--started", type=float, help="time.monotonic() before this process began")
    parser.add_argument(
        "--checkpointing",
        nargs="?",
        const=True,
        default=False,
        choices=[True, "feed_forward"],
        help="gradient checkpointing: of every block, or of feed-forward layers",
    )
    parser.add_argument("--json", type=Path, help="where to write the figures")
    return parser


def make_project(root: Path, chosen: argparse.Namespace) -> None:
    """The folder that the earlier stages would leave, with random numbers for pictures."""
    base = Base(model=chosen.base)
    sections = {
        "base": base,
        "dataset": Dataset(),
        "prior": Prior(),
        "prepare": Prepare(resolution=chosen.resolution),
        "encode": Encode(),
        "lora": Lora(rank=chosen.rank, alpha=chosen.rank, targets=chosen.targets),
        "train": Train(
            epochs="auto",
            steps=chosen.steps,
            batch_size=chosen.batch,
            gradient_accumulation=chosen.accumulation,
            optimizer=chosen.optimizer,
        ),
        "compute": Compute(
            device=chosen.device,
            precision=chosen.precision,
            adapter_precision=chosen.adapter_precision,
            gradient_checkpointing=chosen.checkpointing,
            deterministic=not chosen.fast,
        ),
    }
    plain: dict[str, Any] = {name: s.model_dump(mode="json") for name, s in sections.items()}
    plain |= {"base_identity": "sha256:" + "0" * 64, "code": {"train": "sha256:" + "0" * 64}}
    (root / "resolved.yaml").write_text(json.dumps(plain, indent=1), "utf-8")
    runtime = {"checkpoint_every": 10_000_000, "log_every": 10, "progress": "plain"}
    params = {"recipe": "benchmark", "data": "none", "runtime": runtime}
    (root / "params.yaml").write_text(json.dumps(params, indent=1), "utf-8")
    _encode_noise(root / "build" / "encoded", locate(base, root), chosen.resolution)


def measure(root: Path, chosen: argparse.Namespace) -> dict[str, Any]:
    """Run the stage; the time from one forward pass to the next, by the device's own clock."""
    marks: list[Any] = []
    clock = {"began": chosen.started or BEGAN}
    forward, prepare = Denoiser.forward, stage.prepare_job

    def timed(self: Denoiser, *inputs: Any) -> torch.Tensor:
        if len(marks) < 2:  # noqa: PLR2004  # the first step's beginning and its end
            _wait()
            clock[("first forward", "second forward")[len(marks)]] = time.monotonic()
        marks.append(_now())
        return forward(self, *inputs)

    def loading(*parts: Any) -> Any:
        clock["loading"] = time.monotonic()
        job = prepare(*parts)
        _wait()
        clock["loaded"] = time.monotonic()
        return job

    with (
        patch.object(Denoiser, "forward", timed),
        patch.object(stage, "prepare_job", loading),
    ):
        stage.run(root, reporter("off"))
    warm = min(WARM_UP, chosen.steps - 1) * chosen.accumulation
    times = [_milliseconds(a, b) for a, b in zip(marks[warm:], marks[warm + 1 :], strict=False)]
    (record,) = (root / ".lora" / "runs").iterdir()
    run = json.loads(record.read_text("utf-8"))
    device = torch.device(run["device"])
    per_batch = statistics.median(times) if times else 1000 * run["seconds"]
    return {
        "device": device_name(device),
        "torch": torch.__version__,
        "python": platform.python_version(),
        "base": chosen.base,
        "resolution": chosen.resolution,
        "batch": chosen.batch,
        "accumulation": chosen.accumulation,
        "rank": chosen.rank,
        "targets": chosen.targets,
        "optimizer": chosen.optimizer,
        "precision": chosen.precision,
        "adapter_precision": chosen.adapter_precision,
        "gradient_checkpointing": chosen.checkpointing,
        "steps": chosen.steps,
        "deterministic": not chosen.fast,
        "ms_per_image": round(per_batch / chosen.batch, 2),
        "ms_per_step": round(per_batch * chosen.accumulation, 2),
        "images_per_s": round(1000 * chosen.batch / per_batch, 2),
        "peak_GiB": round(run["peak_bytes"] / 2**30, 3),
        "reserved_GiB": _reserved(device),
        "import_s": _between(clock, "began", "loading"),
        "load_s": _between(clock, "loading", "loaded"),
        "set_up_s": _between(clock, "loaded", "first forward"),
        "first_step_s": _between(clock, "first forward", "second forward"),
        "adapter_sha256": sha256_file(root / "out/adapter.safetensors"),
        "adapter_MB": round((root / "out/adapter.safetensors").stat().st_size / 1e6, 1),
    }


def _encode_noise(folder: Path, base: Any, resolution: int) -> None:
    config = json.loads((base.components["unet"].config / "config.json").read_text("utf-8"))
    width = config["cross_attention_dim"]
    pooled = config["projection_class_embeddings_input_dim"]
    pooled -= 6 * config["addition_time_embed_dim"]
    shape = (config["in_channels"], resolution // 8, resolution // 8)
    stream = torch.Generator().manual_seed(0)
    images = []
    for number in range(PICTURES):
        moments = {"mean": torch.randn(shape, generator=stream), "std": torch.full(shape, 0.01)}
        tokens = torch.randn(77, width, generator=stream)
        text = {"tokens": tokens, "pooled": torch.randn(pooled, generator=stream)}
        images.append(
            Example(
                path=f"{number}.png",
                role="train",
                repeats=1,
                moments=write_file(folder, "moments", moments),
                texts=(write_file(folder, "text", text),),
                time_ids=(resolution, resolution, 0, 0, resolution, resolution),
            )
        )
    index = EncodedIndex(tuple(images), "sha256:" + "0" * 64, 0.13025, "epsilon", {})
    write_index(folder, index)


def _between(clock: dict[str, float], start: str, end: str) -> float | None:
    return round(clock[end] - clock[start], 2) if end in clock else None


def _reserved(device: torch.device) -> float | None:
    if device.type != "cuda":
        return None
    return round(torch.cuda.max_memory_reserved(device) / 2**30, 3)


def _wait() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def _now() -> Any:
    if not torch.cuda.is_available():
        return time.perf_counter()
    event = torch.cuda.Event(enable_timing=True)
    event.record()
    return event


def _milliseconds(start: Any, end: Any) -> float:
    if isinstance(start, float):
        return 1000 * (end - start)
    end.synchronize()
    return float(start.elapsed_time(end))


if __name__ == "__main__":
    main()
