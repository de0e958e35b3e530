"""Checkpoints of one very run: atomic, checked, locked, and gone when the run succeeds.

A folder `.lora/checkpoints/<fingerprint>/` holds the last two. Each is `step-000050.ckpt`, the
state, and `step-000050.json`, written after it: the fingerprint, the step, and the sha256 of the
state and of the snapshots so far. Only what agrees with its JSON is ever loaded, and only tensors
and plain values: a checkpoint cannot run code. One that is not what this run writes, for whatever
reason, is named and passed over for the one before.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, BinaryIO

import torch
from filelock import FileLock, Timeout

from lora_recipes.errors import UserError
from lora_recipes.files import (
    atomic_file,
    own_folder,
    read_bytes,
    remove,
    remove_temporaries,
    write_text,
    writing,
)
from lora_recipes.hashing import sha256_file
from lora_recipes.reporting import Reporter

KEPT = 2
"""How many checkpoints stay: the newest, and one to fall back to."""

_STEP = re.compile(r"step-(\d{6,18})")
_HASH = re.compile(r"sha256:[0-9a-f]{64}")


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
            UserError: another process holds it, or the folder cannot be written to.
        """
        lock = FileLock(self.folder / "lock", timeout=0)
        with writing(self.folder):
            self.folder.mkdir(parents=True, exist_ok=True)
            try:
                lock.acquire()
            except Timeout as error:
                raise UserError.of(
                    where=str(self.folder),
                    what="another process is training this very run",
                    fix="wait until it is done, or stop it and run this again: it resumes from "
                    "the last checkpoint",
                ) from error
        try:
            self._clear_leftovers()
            yield
        finally:
            if self._notes():
                self._clear_leftovers()
            else:
                shutil.rmtree(self.folder, ignore_errors=True)
            lock.release()

    def newest(self, misfit: Callable[[int, Any], str]) -> tuple[int, dict[str, Any]]:
        """The step and the state, on the CPU, of the newest sound checkpoint; 0 if there is none.

        Args:
            misfit: says of a step and a state why they cannot be this run's; nothing if they can.
        """
        for path in reversed(self._notes()):
            if not self._is_sound(path):
                continue
            file = path.with_suffix(".ckpt")
            try:
                state = self.read(file)
                told = misfit(_step(path), state)
            except Exception:  # what a file may hold is endless, and so is what torch says of it
                told = "it holds something else than tensors and plain values"
            if not told:
                return _step(path), state
            self.report.warn(f"{file}: is not a checkpoint of this run ({told}); it is not used")
        return 0, {}

    def write(self, state: dict[str, Any], path: Path) -> None:
        """Keep a state, and of the older ones only the last."""
        step, note_path = _step(path), path.with_suffix(".json")
        for taken in (path, note_path):
            if taken.is_dir():  # no file could take its place
                remove(taken)
        with atomic_file(path) as file:
            hashing = _Hashing(file)
            try:
                torch.save(state, hashing)
            except RuntimeError:  # torch's own words for a write that failed
                if hashing.failed is not None:
                    raise hashing.failed from None
                raise
        note = Note(self.fingerprint, step, hashing.digest(), self._snapshot_hashes(step))
        write_text(note_path, json.dumps(asdict(note), indent=1) + "\n")
        notes = self._notes()
        done = [known for known in notes if _step(known) <= step]
        for old in notes:
            if old not in done[-KEPT:]:  # the later ones were not used
                remove(old)
                remove(old.with_suffix(".ckpt"))

    def read(self, path: Path) -> dict[str, Any]:
        """A state, on the CPU, whatever stands in it: `newest` checks it."""
        state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
        return state

    def clear(self) -> None:
        """The run has succeeded: nothing is left to resume."""
        for path in self._notes():
            remove(path)

    def _clear_leftovers(self) -> None:
        """Delete what killed processes left half-done: the lock says that none is at work."""
        for folder in (self.folder, self.snapshots):
            remove_temporaries(folder, older_than=0)
        for state in self.folder.glob("step-*.ckpt"):
            if not state.with_suffix(".json").exists():
                remove(state)

    def _notes(self) -> list[Path]:
        found = [path for path in self.folder.glob("step-*.json") if _STEP.fullmatch(path.stem)]
        return sorted(found, key=_step)

    def _is_sound(self, path: Path) -> bool:
        try:
            note = _note(path)
            if note.fingerprint != self.fingerprint:
                self.report.warn(f"{path}: belongs to another run; it is not used")
                return False
            files = {path.with_suffix(".ckpt"): note.state}
            files |= {self.snapshots / name: value for name, value in note.snapshots.items()}
            damaged = [file for file, value in files.items() if not _has_hash(file, value)]
        except (OSError, ValueError, TypeError, AttributeError, RecursionError):
            self.report.warn(f"{path}: this checkpoint's note is damaged; it is not used")
            return False
        for file in damaged:
            self.report.warn(f"{file}: this file is damaged; its checkpoint is not used")
        return not damaged

    def _snapshot_hashes(self, step: int) -> dict[str, str]:
        return {
            path.name: sha256_file(path)
            for path in sorted(self.snapshots.glob("step-*.safetensors"))
            if _STEP.fullmatch(path.stem) and _step(path) <= step
        }


def _step(path: Path) -> int:
    return int(path.stem.removeprefix("step-"))


def _note(path: Path) -> Note:
    """What a note says, if all of it is what `write` writes.

    Raises:
        OSError, ValueError, TypeError, AttributeError, RecursionError: it is not.
    """
    note = Note(**json.loads(read_bytes(path)))
    snapshots = [_STEP.fullmatch(name.removesuffix(".safetensors")) for name in note.snapshots]
    hashes = [_HASH.fullmatch(value) for value in (note.state, *note.snapshots.values())]
    if note.step != _step(path) or not all((*snapshots, *hashes)):
        raise ValueError("another step, file or hash than this run's")
    return note


def _has_hash(file: Path, sha256: str) -> bool:
    try:
        return file.is_file() and sha256_file(file) == sha256
    except OSError:
        return False


class _Hashing:
    """A file to write to that hashes what goes through it."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._sha256 = hashlib.sha256()
        self.failed: OSError | None = None
        """Why a write failed, which torch does not pass on."""

    def write(self, data: Any) -> int:
        try:
            self._sha256.update(data)
            return self._file.write(data)
        except OSError as error:
            self.failed = error
            raise

    def flush(self) -> None:
        self._file.flush()

    def digest(self) -> str:
        return "sha256:" + self._sha256.hexdigest()
