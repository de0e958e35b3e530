"""A checkpoint is whole, sound and this run's own, or it is not used."""

from __future__ import annotations

import errno
import io
import json
import os
import pickle
import zipfile
from pathlib import Path
from typing import Any

import pytest
import torch

from lora_recipes.errors import UserError
from lora_recipes.files import writing
from lora_recipes.hashing import sha256_file
from lora_recipes.reporting import Quiet
from lora_recipes.tensors import write_tensors
from lora_recipes.train.checkpoints import Checkpoints, checkpoints_folder

RUN = "sha256:" + "ab" * 32


@pytest.fixture
def kept(tmp_path: Path) -> Checkpoints:
    """Checkpoints after steps 2, 4 and 6, of which the first is gone, and a snapshot at 5."""
    checkpoints = Checkpoints(tmp_path, RUN, Quiet())
    for step in (2, 4, 6):
        if step == 6:
            write_tensors(checkpoints.snapshot_path(5), {"x": torch.ones(3)}, {})
        checkpoints.write({"weights": torch.full((4,), float(step))}, checkpoints.state_path(step))
    return checkpoints


def newest(checkpoints: Checkpoints) -> int:
    """The step of the newest sound checkpoint, whatever state is in it."""
    return checkpoints.newest(lambda step, state: "")[0]


def warned(checkpoints: Checkpoints) -> list[str]:
    report = checkpoints.report
    assert isinstance(report, Quiet)
    return report.warned


def test_the_last_two_are_kept_and_the_newest_is_found(kept: Checkpoints):
    names = sorted(path.name for path in kept.folder.glob("step-*"))
    assert names == [
        "step-000004.ckpt",
        "step-000004.json",
        "step-000006.ckpt",
        "step-000006.json",
    ]
    assert newest(kept) == 6
    assert kept.read(kept.state_path(6))["weights"].tolist() == [6.0] * 4
    assert warned(kept) == []


@pytest.mark.parametrize("damage", ["truncated", "changed", "missing"])
def test_a_damaged_state_is_passed_over_for_the_one_before(kept: Checkpoints, damage: str):
    path = kept.state_path(6)
    data = path.read_bytes()
    if damage == "missing":
        path.unlink()
    else:
        half = len(data) // 2
        path.write_bytes(data[:half] + (b"" if damage == "truncated" else b"\0" + data[half + 1 :]))
    assert newest(kept) == 4
    assert len(warned(kept)) == 1
    assert "it is not used" in warned(kept)[0] or "its checkpoint is not used" in warned(kept)[0]


def test_a_damaged_note_is_passed_over(kept: Checkpoints):
    kept.state_path(6).with_suffix(".json").write_text("{")
    assert newest(kept) == 4
    assert len(warned(kept)) == 1


def test_a_checkpoint_whose_snapshot_is_damaged_is_passed_over(kept: Checkpoints):
    kept.snapshot_path(5).write_bytes(b"")
    assert newest(kept) == 4
    assert warned(kept) == [
        f"{kept.snapshot_path(5)}: this file is damaged; its checkpoint is not used"
    ]


def test_where_nothing_is_sound_the_run_starts_anew(kept: Checkpoints):
    for path in kept.folder.glob("step-*.ckpt"):
        path.write_bytes(b"")
    assert newest(kept) == 0
    assert len(warned(kept)) == 2


def test_a_checkpoint_of_another_run_is_refused(kept: Checkpoints, tmp_path: Path):
    other = Checkpoints(tmp_path, "sha256:" + "cd" * 32, Quiet())
    assert newest(other) == 0
    kept.folder.rename(other.folder)
    assert newest(other) == 0
    assert warned(other) == [
        f"{other.folder}/step-00000{step}.json: belongs to another run; it is not used"
        for step in (6, 4)
    ]


def test_a_checkpoint_cannot_run_code(kept: Checkpoints, tmp_path: Path):
    class Attack:
        def __reduce__(self):
            return (Path.touch, (tmp_path / "attacked",))

    path = kept.state_path(6)
    torch.save({"weights": Attack()}, path)
    with zipfile.ZipFile(path) as archive:
        assert any(name.endswith("data.pkl") for name in archive.namelist())
    with pytest.raises(pickle.UnpicklingError):
        kept.read(path)
    assert not (tmp_path / "attacked").exists()


def test_a_second_process_on_the_same_run_is_refused(tmp_path: Path):
    first, second = (Checkpoints(tmp_path, RUN, Quiet()) for _ in range(2))
    with first.locked():
        with pytest.raises(UserError) as caught, second.locked():
            pass
        assert str(caught.value) == (
            f"{first.folder}: another process is training this very run\n"
            "  fix:     wait until it is done, or stop it and run this again: it resumes from the "
            "last checkpoint"
        )
    with second.locked():
        pass


def test_success_leaves_nothing_and_failure_leaves_the_checkpoints(kept: Checkpoints):
    with kept.locked():
        pass
    assert newest(kept) == 6
    with kept.locked():
        kept.clear()
    assert not kept.folder.exists()


def test_what_killed_processes_left_half_done_goes_when_the_run_resumes(kept: Checkpoints):
    for folder in (kept.folder, kept.snapshots):
        (folder / ".step-000008.ckpt.abcdefgh.tmp").write_bytes(b"half")
    kept.state_path(8).write_bytes(b"whole, but killed before its note was written")
    whole = {path for path in kept.folder.rglob("step-*") if path != kept.state_path(8)}
    with kept.locked():
        left = {path for path in kept.folder.rglob("*") if path.is_file()}
    assert left - {kept.folder / "lock"} == whole
    assert newest(kept) == 6


def test_an_interrupted_write_leaves_the_older_checkpoint(kept: Checkpoints):
    class Unwritable:
        def __reduce__(self):
            raise RuntimeError("interrupted")

    with pytest.raises(RuntimeError, match="interrupted"):
        kept.write({"big": torch.zeros(1000), "then": Unwritable()}, kept.state_path(8))
    assert newest(kept) == 6
    assert not list(kept.folder.glob("*.tmp"))


def test_a_full_disk_leaves_the_older_checkpoint(
    kept: Checkpoints, monkeypatch: pytest.MonkeyPatch
):
    def full(self: object, data: bytes) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("lora_recipes.train.checkpoints._Hashing.write", full)
    path = kept.state_path(8)
    with pytest.raises(UserError) as caught:
        kept.write({"big": torch.zeros(1000)}, path)
    assert str(caught.value).startswith(f"{path}: cannot be written: No space left on device")
    assert newest(kept) == 6
    assert not list(kept.folder.glob("*.tmp"))


class Full(io.RawIOBase):
    """A disk that has room for so many bytes."""

    def __init__(self, room: int) -> None:
        self.room = room

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        if self.room < len(data):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        self.room -= len(data)
        return len(data)


@pytest.mark.parametrize("room", [0, 60, 1_000, 20_000, 200_000, 239_000, 241_000])
def test_wherever_the_disk_gets_full_in_a_state_it_is_one_named_error(
    kept: Checkpoints, monkeypatch: pytest.MonkeyPatch, room: int
):
    monkeypatch.setattr("os.fdopen", lambda handle, mode: os.close(handle) or Full(room))
    path = kept.state_path(8)
    with pytest.raises(UserError) as caught:
        kept.write({name: torch.zeros(10_000) for name in "abcdef"}, path)
    assert str(caught.value) == (
        f"{path}: cannot be written: No space left on device\n"
        "  fix:     free some space or choose a folder that you may write to, then run it again; "
        "nothing half-written was left behind"
    )
    assert newest(kept) == 6
    assert not list(kept.folder.glob(".*"))


def test_a_state_without_its_note_does_not_stay_on_a_full_disk(
    kept: Checkpoints, monkeypatch: pytest.MonkeyPatch
):
    def full(path: Path, text: str) -> None:
        with writing(path):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("lora_recipes.train.checkpoints.write_text", full)
    with pytest.raises(UserError, match="No space left"), kept.locked():
        kept.write({}, kept.state_path(8))
    assert not kept.state_path(8).exists()
    assert newest(kept) == 6


def test_a_folder_that_cannot_be_made_is_one_named_error(tmp_path: Path):
    (tmp_path / "file").touch()
    checkpoints = Checkpoints(tmp_path / "file", RUN, Quiet())
    with pytest.raises(UserError) as caught, checkpoints.locked():
        pass
    assert str(caught.value).startswith(f"{checkpoints.folder}: cannot be written: Not a directory")


class Attack:
    def __reduce__(self):
        return (os.system, ("touch attacked",))


def vouched(checkpoints: Checkpoints, content: bytes) -> Path:
    """Put other bytes into the newest state, with the hash that its note has to name."""
    path = checkpoints.state_path(6)
    path.write_bytes(content)
    note = json.loads(path.with_suffix(".json").read_text())
    path.with_suffix(".json").write_text(json.dumps(note | {"state": sha256_file(path)}))
    return path


def zipped(value: Any) -> bytes:
    buffer = io.BytesIO()
    torch.save(value, buffer)
    return buffer.getvalue()


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(lambda: pickle.dumps(Attack()), id="pickle"),
        pytest.param(lambda: zipped(Attack()), id="zip of a pickle"),
        pytest.param(lambda: zipped({"weights": Attack()}), id="pickle inside"),
        pytest.param(lambda: b"", id="empty"),
        pytest.param(lambda: b"{}", id="JSON"),
        pytest.param(lambda: b"garbage" * 1000, id="garbage"),
        pytest.param(lambda: b"PK\x03\x04" + bytes(100), id="half a zip"),
        pytest.param(lambda: b"\x80\x02" + b"(" * 1_000_000, id="deep pickle"),
    ],
)
def test_a_tampered_state_is_passed_over_in_plain_words_and_runs_nothing(
    kept: Checkpoints, content: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    path = vouched(kept, content())
    assert newest(kept) == 4
    assert warned(kept) == [
        f"{path}: is not a checkpoint of this run (it holds something else than tensors and plain "
        "values); it is not used"
    ]
    assert not (tmp_path / "attacked").exists()


@pytest.mark.parametrize(
    "note",
    [
        "",
        "null",
        "[]",
        "{}",
        "[" * 100_000,
        '{"a":' * 100_000,
        '{"fingerprint": true, "step": 6, "state": [], "snapshots": {}}',
        {"step": "6"},
        {"step": 4},
        {"state": None},
        {"state": "sha256:0"},
        {"snapshots": []},
        {"snapshots": {"../../x": "sha256:" + "0" * 64}},
        {"snapshots": {"step-000005.safetensors": 5}},
        {"more": 1},
    ],
    ids=str,
)
def test_a_note_of_any_other_form_is_passed_over(kept: Checkpoints, note: Any):
    path = kept.state_path(6).with_suffix(".json")
    text = json.dumps(json.loads(path.read_text()) | note) if isinstance(note, dict) else note
    path.write_text(text)
    assert newest(kept) == 4
    assert warned(kept) == [f"{path}: this checkpoint's note is damaged; it is not used"]


@pytest.mark.parametrize("suffix", [".json", ".ckpt"])
@pytest.mark.parametrize("thing", ["folder", "pipe", "link to itself"])
def test_what_is_no_file_is_passed_over(kept: Checkpoints, suffix: str, thing: str):
    path = kept.state_path(6).with_suffix(suffix)
    path.unlink()
    {"folder": Path.mkdir, "pipe": os.mkfifo, "link to itself": lambda p: p.symlink_to(p)}[thing](
        path
    )
    with kept.locked():
        assert newest(kept) == 4
        assert len(warned(kept)) == 1
        kept.write({}, kept.state_path(6))
        assert newest(kept) == 6


def test_files_of_other_names_are_no_checkpoints_and_unusable_later_ones_give_way(
    kept: Checkpoints,
):
    for name in ("step-abc.json", "step-.json", "step-5.json", "step-000006 (copy).json"):
        (kept.folder / name).write_text("{}")
    for step in (7, 999_999):
        kept.state_path(step).with_suffix(".json").write_text("{}")
    assert newest(kept) == 6
    assert len(warned(kept)) == 2
    kept.write({}, kept.state_path(6))
    assert sorted(path.name for path in kept.folder.glob("step-??????.json")) == [
        "step-000004.json",
        "step-000006.json",
    ]


def test_checkpoints_lie_in_the_users_repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("DVC_ROOT", raising=False)
    monkeypatch.delenv("LORA_RECIPES_CHECKPOINTS", raising=False)
    assert checkpoints_folder(tmp_path) == tmp_path / ".lora" / "checkpoints"
    monkeypatch.setenv("DVC_ROOT", "/project")
    assert checkpoints_folder(tmp_path) == Path("/project/.lora/checkpoints")
    monkeypatch.setenv("LORA_RECIPES_CHECKPOINTS", "/scratch")
    assert checkpoints_folder(tmp_path) == Path("/scratch")


def test_the_note_says_what_the_checkpoint_is(kept: Checkpoints):
    note = json.loads(kept.state_path(6).with_suffix(".json").read_text())
    assert note["fingerprint"] == RUN
    assert note["step"] == 6
    assert list(note["snapshots"]) == ["step-000005.safetensors"]
