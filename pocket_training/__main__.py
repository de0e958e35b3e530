"""Pretrains the pocket: `python -m pocket_training vae|unet|export|measure`."""

from __future__ import annotations

import argparse
from pathlib import Path

from lora_recipes.pocket import MODEL_DIR

STEPS = {"vae": 5000, "unet": 3400}
THREADS = 2


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="pocket_training", description=__doc__)
    parser.add_argument("part", choices=(*STEPS, "export", "measure"))
    parser.add_argument("--scratch", type=Path, help="folder for pictures and snapshots")
    parser.add_argument("--steps", type=int, help=f"optimizer steps; default {STEPS}")
    parser.add_argument("--model", type=Path, default=MODEL_DIR, help="the folder to export to")
    parser.add_argument("--threads", type=int, default=THREADS, help="CPU threads")
    arguments = parser.parse_args(argv)
    if arguments.part != "measure":
        if arguments.scratch is None:
            parser.error(f"{arguments.part} needs --scratch")
        arguments.scratch.mkdir(parents=True, exist_ok=True)
    import torch

    torch.set_num_threads(arguments.threads)
    run(arguments.part, arguments.scratch, arguments.steps, arguments.model)


def run(part: str, scratch: Path, steps: int | None, model: Path) -> None:
    """Runs one part; torch is imported only here."""
    from pocket_training import measure, train_unet, train_vae

    if part == "measure":
        measure.write(model)
    elif part == "export":
        train_unet.export(scratch, model)
    elif part == "unet":
        train_unet.train(scratch, steps or STEPS[part])
    else:
        train_vae.train(scratch, steps or STEPS[part])


if __name__ == "__main__":
    main()
