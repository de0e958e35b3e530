"""A killed process leaves nothing half-written under a name that is read, and nothing for ever."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch

from lora_recipes.dataset.cache import StatCache
from lora_recipes.encode.reuse import Encoded, Reuse
from lora_recipes.errors import UserError
from lora_recipes.files import (
    ABANDONED_SECONDS,
    TEMPORARY,
    all_or_nothing,
    atomic_file,
    fresh_folder,
    read_bytes,
    remove_temporaries,
)
from lora_recipes.reporting import Quiet
from lora_recipes.stages.check import clear_up, say_if_nothing_is_kept
from lora_recipes.tensors import write_tensors

REPOSITORY = Path(__file__).resolve().parents[1]
KILLED = """
import os, pathlib, signal, sys
from lora_recipes.files import atomic_file
with atomic_file(pathlib.Path(sys.argv[1])) as file:
    file.write(b"half of it")
    file.flush()
    os.kill(os.getpid(), signal.SIGKILL)
"""


def killed_while_writing(path: Path) -> Path:
    """Kill a process in the middle of writing a file; what it left."""
    done = subprocess.run([sys.executable, "-c", KILLED, path], cwd=REPOSITORY, check=False)
    assert done.returncode == -signal.SIGKILL
    (left,) = path.parent.glob(TEMPORARY)
    return left


def an_hour_older(path: Path) -> Path:
    then = time.time() - ABANDONED_SECONDS - 1
    os.utime(path, (then, then))
    return path


def test_killed_in_the_middle_of_writing_leaves_the_old_file_and_a_temporary_one(tmp_path: Path):
    path = tmp_path / "resolved.yaml"
    path.write_text("old")
    left = killed_while_writing(path)
    assert path.read_text() == "old"
    assert left.name.startswith(".resolved.yaml.")
    assert left.read_bytes() == b"half of it"


def test_git_and_dvc_never_see_a_temporary_file(tmp_path: Path):
    left = killed_while_writing(tmp_path / "adapter.safetensors")
    for ignored in (".gitignore", ".dvcignore"):
        assert ".*.tmp" in (REPOSITORY / ignored).read_text().splitlines()
    (tmp_path / ".gitignore").write_text(".*.tmp\n")
    subprocess.run(["git", "init", "-q"], cwd=tmp_path, check=True)
    shown = subprocess.run(
        ["git", "status", "--porcelain", "-uall"], cwd=tmp_path, capture_output=True, check=True
    )
    assert left.exists()
    assert shown.stdout == b"?? .gitignore\n"


def test_a_file_that_may_still_be_written_stays_and_an_old_one_goes(tmp_path: Path):
    fresh = killed_while_writing(tmp_path / "a.json")
    old = tmp_path / ".b.json.abcdefgh.tmp"
    old.touch()
    an_hour_older(old)
    remove_temporaries(tmp_path)
    assert list(tmp_path.iterdir()) == [fresh]
    remove_temporaries(tmp_path, "b.json", older_than=0)
    assert list(tmp_path.iterdir()) == [fresh]
    remove_temporaries(tmp_path, "a.json", older_than=0)
    assert list(tmp_path.iterdir()) == []


def test_files_of_other_names_are_nobodys_business_of_ours(tmp_path: Path):
    theirs = {".cache.tmp", "draft.abcdefgh.tmp", ".abcdefgh.tmp", ".a.json.abcdefgh.tmp~"}
    for name in theirs:
        an_hour_older((tmp_path / name).touch() or tmp_path / name)
    remove_temporaries(tmp_path, older_than=0)
    assert {path.name for path in tmp_path.iterdir()} == theirs


PLACES = [
    "resolved.yaml",
    "build/manifest.json",
    "out/report.json",
    "out/samples",
    "recipes/quick.yaml",
    "recipes/pins/0123456789abcdef.json",
    ".lora/hashes.json",
    ".lora/pictures/demo.json",
    ".lora/encoded/moments/0.safetensors",
    ".lora/runs/0.json",
    ".lora/checkpoints/0/step-000002.ckpt",
    ".lora/checkpoints/0/snapshots/step-000001.safetensors",
]


@pytest.mark.parametrize("place", PLACES)
def test_every_stage_clears_up_wherever_one_writes(
    tmp_path: Path, place: str, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.delenv("DVC_ROOT", raising=False)
    whole = tmp_path / place
    left = whole.with_name(f".{whole.name}.abcdefgh.tmp")
    left.mkdir(parents=True)
    (left / "picture.png").touch()
    an_hour_older(left)
    whole.touch()
    clear_up(tmp_path)
    assert list(whole.parent.iterdir()) == [whole]


def test_a_project_without_any_of_these_folders_is_clear(tmp_path: Path):
    clear_up(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_temporary_names_are_those_that_the_writers_use(tmp_path: Path, monkeypatch):
    """The pattern fits what `atomic_file` and `fresh_folder` really make."""
    with fresh_folder(tmp_path / "samples") as folder:
        assert folder.match(TEMPORARY)
    seen = []
    monkeypatch.setattr(Path, "replace", lambda self, target: seen.append(self))
    write_tensors(tmp_path / "x.safetensors", {}, {})
    assert seen[0].match(TEMPORARY)


def test_a_fresh_folder_takes_the_olds_place_only_when_it_is_complete(tmp_path: Path):
    old = tmp_path / "samples"
    old.mkdir()
    (old / "old.png").touch()

    def fail_halfway() -> None:
        with fresh_folder(old) as folder:
            (folder / "half.png").touch()
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail_halfway()
    assert [path.name for path in tmp_path.rglob("*")] == ["samples", "old.png"]

    with fresh_folder(old) as folder:
        (folder / "new.png").touch()
    assert [path.name for path in tmp_path.rglob("*")] == ["samples", "new.png"]


def test_of_all_or_nothing_old_files_go_first_and_new_ones_if_anything_fails(tmp_path: Path):
    file, folder, other = tmp_path / "a.json", tmp_path / "b", tmp_path / "other"
    for path in (file, other):
        path.touch()
    folder.mkdir()
    (folder / "old.png").touch()

    def fail_halfway() -> None:
        with all_or_nothing(file, folder, tmp_path / "never"):
            assert list(tmp_path.iterdir()) == [other]
            (folder / "deep").mkdir(parents=True)
            file.touch()
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fail_halfway()
    assert list(tmp_path.iterdir()) == [other]

    with all_or_nothing(file, folder):
        file.touch()
    assert sorted(tmp_path.iterdir()) == [file, other]


@pytest.mark.parametrize("write", [fresh_folder, all_or_nothing, atomic_file])
def test_what_cannot_be_written_is_one_named_error(tmp_path: Path, write: Any):
    (tmp_path / "out").touch()
    path = tmp_path / "out" / "deep" / "samples"
    with pytest.raises(UserError) as caught, write(path):
        pass
    assert str(caught.value) == (
        f"{path}: cannot be written: Not a directory\n"
        "  fix:     free some space or choose a folder that you may write to, then run it again; "
        "nothing half-written was left behind"
    )


def test_only_ordinary_files_are_read(tmp_path: Path):
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path, tmp_path / "pipe", tmp_path / "none", Path(os.devnull)):
        with pytest.raises(OSError, match=r"pipe or a device|Is a directory|No such file"):
            read_bytes(path)


def test_where_nothing_can_be_remembered_stages_run_and_it_is_said_once(tmp_path: Path):
    own, report = tmp_path / ".lora", Quiet()
    say_if_nothing_is_kept(own, report)
    assert report.warned == []
    own.rmdir()
    own.touch()
    say_if_nothing_is_kept(own, report)
    assert report.warned == [
        f"{own}: cannot be written (File exists), so nothing is remembered: the next run computes "
        "again what this one does"
    ]
    (tmp_path / "a.txt").touch()
    cache = StatCache(own / "hashes.json", "1")
    cache.new = {"a": 1}
    cache.save()
    Reuse(own / "encoded", {}).put("a", Encoded({"x": torch.zeros(1)}, {}))
    assert own.read_bytes() == b""
