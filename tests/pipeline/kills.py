"""Kills a real training with SIGKILL, again and again; looks at what is left and what comes out.

A chain is one training: it is started, killed and started again until it gets through. Instants are
drawn from a seed over the whole life of the process, by its progress and not by the clock, so that
a busy machine is killed at the same places: during the start, some time after a checkpoint, or in
a moment that is short but matters, such as a checkpoint being written.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import re
import signal
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import psutil

from lora_recipes.files import TEMPORARY
from lora_recipes.hashing import sha256_file
from lora_recipes.recipe.params import runtime

from .project import Project

TRAIN = ("dvc", "repro", "--force", "--single-item", "train")
DELETED_BEFORE = {" D out/environment.json", " D out/loss.tsv", " D out/train.json"}
"""What git may miss after a kill: DVC takes a stage's outputs away before it runs."""

MOMENTS = {
    "writing a checkpoint": ".lora/checkpoints/*/.step-*.ckpt.*.tmp",
    "writing a checkpoint's note": ".lora/checkpoints/*/.step-*.json.*.tmp",
    "writing a snapshot": ".lora/checkpoints/*/snapshots/.step-*.tmp",
    "writing outputs": "out/**/.*.tmp",
    "DVC recording the outputs": "out/train.json",  # the last of them
}
"""What a kill can wait for, and the file that shows it."""

AT_THE_END = ("writing outputs", "DVC recording the outputs")

ODDS = (4, 1, 1, 1, 1)
"""How often each of them is waited for: most often a checkpoint."""

STARTING, AIMED, ALONE = 0.25, 0.4, 0.25
"""Parts of the kills that come during the start, wait for such a moment, and spare DVC."""
THROUGH = 0.3
"""How often a training that was killed gets through the next time."""


Sight = tuple[Path, int, int]
"""A file, its inode and its time of change."""


@dataclass(frozen=True)
class Aim:
    """When to kill what."""

    seconds: float = 0
    """After the start of `dvc repro`, or after that checkpoint."""
    step: int = 0
    """First wait for the checkpoint of this step."""
    moment: str | None = None
    """One of `MOMENTS`: then wait for its next time."""
    alone: bool = False
    """Kill the training and not DVC above it."""


@dataclass(frozen=True)
class Kill:
    """One kill and what followed from it."""

    chain: int
    seconds: float
    """After the start of `dvc repro`."""
    alone: bool
    during: str
    went_on: str = ""
    ended: dict[str, str] | None = None
    """sha256 of the adapter and loss.tsv at the chain's end, with its last kill."""


@dataclass(frozen=True)
class Unbroken:
    """The training that nothing stopped."""

    files: dict[str, str]
    """sha256 by name below `out/`."""
    steps: int
    every: int
    """Optimizer steps, and those between two checkpoints."""
    start: float = 0
    """Seconds from the start of `dvc repro` to the first checkpoint."""


def unbroken(project: Project) -> Unbroken:
    """What a committed project has trained, and how long its start takes: killed after it once."""
    steps = len((project.root / "out/loss.tsv").read_text().splitlines()) - 1
    every = runtime(project.root).checkpoint_every
    reference = Unbroken(outputs(project), steps, every)
    (kill,) = chain(project, reference, iter([Aim(step=1)]))
    return replace(reference, start=kill.seconds)


def kill_often(project: Project, reference: Unbroken, count: int, seed: int) -> Iterator[Kill]:
    """Kill a project's training at least `count` times, in chains, at instants drawn from a seed.

    Raises:
        AssertionError: something half-written was left, or a chain ended in other bytes.
    """
    chance = random.Random(seed)
    number = done = 0
    while done < count:
        number += 1
        kills = chain(project, reference, _aims(project, reference, chance), number)
        yield from kills
        done += len(kills)


def _aims(project: Project, reference: Unbroken, chance: random.Random) -> Iterator[Aim]:
    """The kills of one chain; each is drawn when the one before has come."""
    while True:
        alone = chance.random() < ALONE
        place, (moment,) = chance.random(), chance.choices(list(MOMENTS), ODDS)
        now, last = newest_step(project), reference.steps - reference.every
        if place < STARTING:
            yield Aim(chance.uniform(0, reference.start), alone=alone)
        elif now >= last:
            yield Aim(moment=chance.choice(AT_THE_END), alone=alone)
        else:
            aimed = moment if place < STARTING + AIMED else None
            yield Aim(chance.uniform(0, 0.5), chance.randint(now + 1, last), aimed, alone)
        if chance.random() < THROUGH:
            return


def chain(
    project: Project, reference: Unbroken, aims: Iterator[Aim], number: int = 1
) -> list[Kill]:
    """Start a training, kill it as aimed and start it again, until it gets through."""
    kills: list[Kill] = []
    while True:
        before = newest_step(project)
        killed, log = _start_and_kill(project, next(aims, None))
        if kills:
            kills[-1] = replace(kills[-1], went_on=_how_it_went_on(log, killed))
        if killed is None:
            check_end(project, reference)
            if kills:
                kills[-1] = replace(kills[-1], ended=outputs(project))
            return kills
        during = killed.during or _steps(project, before)
        kills.append(replace(killed, chain=number, during=during))
        check_left(project, reference)


def _start_and_kill(project: Project, aim: Aim | None) -> tuple[Kill | None, str]:
    """The kill, or None if the training got through before; and what it said."""
    old = {name: _shown(project, name) for name in MOMENTS}
    log = project.root / ".lora" / "kills.log"
    log.parent.mkdir(exist_ok=True)
    remove_broken_lock(project)
    start = time.monotonic()
    with log.open("w") as stream:
        process = subprocess.Popen(
            TRAIN,
            cwd=project.root,
            env=project.environment(),
            stdout=stream,
            stderr=stream,
            start_new_session=True,
        )
    training = _wait(project, process, aim, old)
    if process.poll() is not None:
        assert process.returncode == 0, log.read_text()
        return None, log.read_text()
    assert aim is not None
    seconds = time.monotonic() - start
    alone = aim.alone and training is not None
    if alone:
        training.send_signal(signal.SIGKILL)
    else:
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    during = next((name for name in MOMENTS if _shown(project, name) - old[name]), "")
    if not during and training is None and not aim.moment:
        during = "DVC starting"
    return Kill(0, seconds, alone, during), log.read_text()


def remove_broken_lock(project: Project) -> bool:
    """What the README says to do where DVC was killed while it wrote its own lock file."""
    lock = project.root / ".dvc/tmp/rwlock"
    try:
        json.loads(lock.read_text("utf-8"))
    except FileNotFoundError:
        return False
    except ValueError:
        lock.unlink()
        return True
    return False


def _wait(
    project: Project, process: subprocess.Popen, aim: Aim | None, old: dict[str, set[Sight]]
) -> psutil.Process | None:
    """Wait for the aim's time, or the end; the train stage's process, where it is looked for."""
    while aim is not None and process.poll() is None and newest_step(project) < aim.step:
        time.sleep(0.005)
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(aim.seconds if aim else None)
    training = None
    while aim is not None and process.poll() is None:
        if training is None and (aim.alone or aim.moment is None):
            training = _training(process.pid)
        if aim.moment is None or _shown(project, aim.moment) - old[aim.moment]:
            return training
        time.sleep(0.0005)
    return None


def _training(pid: int) -> psutil.Process | None:
    """The process of the train stage below DVC's, if it runs."""
    with contextlib.suppress(psutil.NoSuchProcess):
        for child in psutil.Process(pid).children(recursive=True):
            if child.cmdline()[1:] == ["-m", "lora_recipes", "stage", "train"]:
                return child
    return None


def _shown(project: Project, moment: str) -> set[Sight]:
    """The files that show a moment, each as what it is now: what an earlier run left is known."""
    found = set()
    for path in project.root.glob(MOMENTS[moment]):
        with contextlib.suppress(FileNotFoundError):
            stat = path.stat()
            found.add((path, stat.st_ino, stat.st_mtime_ns))
    return found


def _steps(project: Project, before: int) -> str:
    """Where a training was that was killed between two checkpoints."""
    after = newest_step(project)
    if (project.root / "out/loss.tsv").exists():
        return "writing outputs"
    if after == before:
        return f"loading, or the steps after {before}"
    return f"the steps after {after}"


def _how_it_went_on(log: str, killed: Kill | None) -> str:
    found = re.search(r"resuming after step (\d+)", log)
    if found:
        return f"after step {found[1]}"
    return "from the start" if killed is None else "killed again"


def newest_step(project: Project) -> int:
    """The step of the newest checkpoint; 0 without one."""
    notes = (project.root / ".lora/checkpoints").glob("*/step-*.json")
    return max((int(note.stem.removeprefix("step-")) for note in notes), default=0)


def check_left(project: Project, reference: Unbroken) -> None:
    """After a kill: every file in `out/` is whole, git sees nothing new, one temporary at most."""
    left = outputs(project)
    assert left.items() <= reference.files.items(), f"half-written: {left}"
    assert set(status(project)) <= DELETED_BEFORE, status(project)
    assert len(temporaries(project)) <= 1, temporaries(project)


def check_end(project: Project, reference: Unbroken) -> None:
    """After a chain: the unbroken training's files, and nothing of what was on the way."""
    assert outputs(project) == reference.files
    check_clean(project)


def check_clean(project: Project) -> None:
    """As committed: dvc.lock too; no temporary file and no checkpoint anywhere."""
    assert status(project) == []
    assert temporaries(project) == []
    assert list((project.root / ".lora/checkpoints").iterdir()) == []


def outputs(project: Project) -> dict[str, str]:
    """sha256 of every finished file that the training has below `out/`."""
    out = project.root / "out"
    files = [
        out / name for name in ("adapter.safetensors", "environment.json", "loss.tsv", "train.json")
    ]
    files += (out / "snapshots").glob("*.safetensors")
    return {p.relative_to(out).as_posix(): sha256_file(p) for p in sorted(files) if p.is_file()}


def status(project: Project) -> list[str]:
    """What git says that changed."""
    return project.run("git", "status", "--porcelain", "-uall").stdout.splitlines()


def temporaries(project: Project) -> list[Path]:
    """Unfinished files of ours, anywhere in the project."""
    return [path for path in project.root.rglob(TEMPORARY) if ".dvc" not in path.parts]
