"""Checkpoints of one very run: atomic, checked, locked, and gone when the run succeeds.

A folder `.lora/checkpoints/<fingerprint>/` holds the last two. Each is `step-000050.ckpt`, the
state, and `step-000050.json`, written after it: the fingerprint, the step, and the sha256 of the
state and of the snapshots so far. Only what agrees with its JSON is ever loaded, and only tensors
and plain values: a checkpoint cannot run code.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, BinaryIO

import torch
from filelock import FileLock, Timeout

from lora_recipes.errors import Problem, UserError
from lora_recipes.files import atomic_file, own_folder, remove_temporaries, write_text
from lora_recipes.hashing import sha256_file
from lora_recipes.reporting import Reporter

KEPT = 2
"""How many checkpoints stay: the newest, and one to fall back to."""


def checkpoints_folder(root: Path) -> Path:
    """Where checkpoints lie: LORA_RECIPES_CHECKPOINTS, or `checkpoints` in `.lora`."""
    chosen = os.environ.get("LORA_RECIPES_CHECKPOINTS")
    return Path(chosen) if chosen else own_folder(root) / "checkpoints"


@dataclass(frozen=True)
class Note:
    """What a checkpoint's JSON says."""

    fingerprint: str
    step: int
    state: str
    """sha256 of the state's file."""
    snapshots: dict[str, str]
    """sha256 of each snapshot so far, by file name."""


class Checkpoints:
    """The checkpoints and snapshots of the run with one fingerprint."""

    def __init__(self, folder: Path, fingerprint: str, report: Reporter) -> None:
        self.folder = folder / fingerprint.removeprefix("sha256:")[:32]
        self.fingerprint = fingerprint
        self.report = report

    @property
    def snapshots(self) -> Path:
        """The folder for adapters kept along the way."""
        return self.folder / "snapshots"

    def state_path(self, step: int) -> Path:
        """The file of the state after so many steps."""
        return self.folder / f"step-{step:06d}.ckpt"

    def snapshot_path(self, step: int) -> Path:
        """The file of the adapter after so many steps."""
        return self.snapshots / f"step-{step:06d}.safetensors"

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the run for this process alone. The lock goes with the process, however it ends.

        Raises:
            UserError: another process holds it.
        """
        lock = FileLock(self.folder / "lock", timeout=0)
        self.folder.mkdir(parents=True, exist_ok=True)
        try:
            lock.acquire()
        except Timeout as error:
            raise UserError(
                Problem(
                    where=str(self.folder),
                    what="another process is training this very run",
                    fix="wait until it is done, or stop it and run this again: it resumes from "
                    "the last checkpoint",
                )
            ) from error
        try:
            self._clear_leftovers()
            yield
        finally:
            if not self._notes():
                shutil.rmtree(self.folder, ignore_errors=True)
            lock.release()

    def newest(self) -> int:
        """The step of the newest sound checkpoint; 0 if there is none."""
        for path in reversed(self._notes()):
            if self._is_sound(path):
                return _step(path)
        return 0

    def write(self, state: dict[str, Any], path: Path) -> None:
        """Keep a state, and of the older ones only the last."""
        step = _step(path)
        with atomic_file(path) as file:
            hashing = _Hashing(file)
            torch.save(state, hashing)
        note = Note(self.fingerprint, step, hashing.digest(), self._snapshot_hashes(step))
        write_text(path.with_suffix(".json"), json.dumps(asdict(note), indent=1) + "\n")
        for old in self._notes()[:-KEPT]:
            old.unlink()
            old.with_suffix(".ckpt").unlink(missing_ok=True)

    def read(self, path: Path) -> dict[str, Any]:
        """A state, on the CPU; `newest` has checked it."""
        state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
        return state

    def clear(self) -> None:
        """The run has succeeded: nothing is left to resume."""
        for path in self._notes():
            path.unlink()

    def _clear_leftovers(self) -> None:
        """Delete what killed processes left half-done: the lock says that none is at work."""
        for folder in (self.folder, self.snapshots):
            remove_temporaries(folder, older_than=0)
        for state in self.folder.glob("step-*.ckpt"):
            if not state.with_suffix(".json").exists():
                state.unlink()

    def _notes(self) -> list[Path]:
        return sorted(self.folder.glob("step-*.json"), key=_step)

    def _is_sound(self, path: Path) -> bool:
        try:
            note = Note(**json.loads(path.read_text("utf-8")))
            if note.fingerprint != self.fingerprint:
                self.report.warn(f"{path}: belongs to another run; it is not used")
                return False
            files = {path.with_suffix(".ckpt"): note.state}
            files |= {self.snapshots / name: value for name, value in note.snapshots.items()}
            damaged = [file for file, value in files.items() if sha256_file(file) != value]
        except (OSError, ValueError, TypeError) as error:
            self.report.warn(f"{path}: this checkpoint is damaged ({error}); it is not used")
            return False
        for file in damaged:
            self.report.warn(f"{file}: this file is damaged; its checkpoint is not used")
        return not damaged

    def _snapshot_hashes(self, step: int) -> dict[str, str]:
        return {
            path.name: sha256_file(path)
            for path in sorted(self.snapshots.glob("step-*.safetensors"))
            if _step(path) <= step
        }


def _step(path: Path) -> int:
    return int(path.stem.removeprefix("step-"))


class _Hashing:
    """A file to write to that hashes what goes through it."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._sha256 = hashlib.sha256()

    def write(self, data: Any) -> int:
        self._sha256.update(data)
        return self._file.write(data)

    def flush(self) -> None:
        self._file.flush()

    def digest(self) -> str:
        return "sha256:" + self._sha256.hexdigest()
