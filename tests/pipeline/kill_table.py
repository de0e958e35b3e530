"""The committed record of many kills: runs them and writes the table.

python -m tests.pipeline.kill_table --kills 60 --seed 0 --write docs/kills.md     # half an hour
"""

from __future__ import annotations

import argparse
import os
import platform
import sys
import tempfile
import time
from pathlib import Path

import torch

from lora_recipes.base.compute import device_name

from .kills import Kill, Unbroken, kill_often, unbroken
from .project import Project, make_project

LONG = {
    "prepare.resolution": 64,
    "train.repeats": 20,
    "train.epochs": 1,
    "train.snapshots": [0.25, 0.5, 0.75],
    "runtime.checkpoint_every": 2,
}
"""40 steps of the pocket on the demo's pictures."""


def long_project(root: Path) -> Project:
    """A committed project that has trained `LONG`."""
    project = make_project(root, LONG)
    project.repro("train")
    project.commit("trained")
    return project


def main() -> None:
    """Run, print the page, and write it if asked to."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=60)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--write", type=Path, help="the Markdown file to write")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        project = long_project(Path(folder) / "a project")
        reference = unbroken(project)
        kills = []
        for kill in kill_often(project, reference, chosen.kills, chosen.seed):
            kills.append(kill)
            print(kill, file=sys.stderr, flush=True)
    text = page(kills, reference, chosen.kills, chosen.seed)
    print(text)
    if chosen.write:
        chosen.write.write_text(text, "utf-8")


def page(kills: list[Kill], reference: Unbroken, asked: int, seed: int) -> str:
    """The Markdown page."""
    return PAGE.format(
        date=time.strftime("%Y-%m-%d"),
        machine=f"{device_name(torch.device('cpu'))}, {os.cpu_count()} cores, 1 thread",
        python=platform.python_version(),
        torch=torch.__version__,
        kills=len(kills),
        chains=kills[-1].chain,
        asked=asked,
        seed=seed,
        start=reference.start,
        adapter=reference.files["adapter.safetensors"],
        loss=reference.files["loss.tsv"],
        rows="\n".join(_row(number, kill) for number, kill in enumerate(kills, 1)),
    )


def _row(number: int, kill: Kill) -> str:
    who = "the training" if kill.alone else "all"
    ended = ""
    if kill.ended is not None:
        names = ("adapter.safetensors", "loss.tsv")
        ended = " ".join(kill.ended[name].removeprefix("sha256:")[:8] for name in names)
    cells = (number, kill.chain, f"{kill.seconds:.2f}", who, kill.during, kill.went_on, ended)
    return "| " + " | ".join(map(str, cells)) + " |"


PAGE = """\
# Killed again and again, the same bytes

Written {date} by `python -m tests.pipeline.kill_table --kills {asked} --seed {seed} --write
docs/kills.md` on {machine}; Python {python}, torch {torch}.

A training of 40 steps of the pocket, with a checkpoint every 2 steps and 3 snapshots, was started
with `dvc repro`, killed with `kill -9` and started again until it got through: a chain. Here are
{kills} kills in {chains} chains. Instants are drawn over the whole life of a run: during the start
(the first {start:.0f} s), up to half a second after a checkpoint, or at the next write of a
checkpoint, its note, a snapshot or an output. Killed was DVC with all below it, as in a power cut,
or the training alone, as when memory runs out.

After every kill: each file in `out/` is whole and equal to the unbroken run's, git sees nothing
new, at most one unfinished file is left, under a name that nothing reads. After every chain: all
outputs, `dvc.lock` and `git status` are as after the unbroken run, and no checkpoint and no
unfinished file is left. The unbroken run's hashes:

- adapter.safetensors `{adapter}`
- loss.tsv `{loss}`

| kill | chain | after s | killed | during | went on | adapter, loss.tsv at the chain's end |
|---|---|---|---|---|---|---|
{rows}
"""


if __name__ == "__main__":
    main()
