"""A checkpoint is whole, sound and this run's own, or it is not used."""

from __future__ import annotations

import json
import pickle
import zipfile
from pathlib import Path

import pytest
import torch

from lora_recipes.errors import UserError
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
    assert kept.newest() == 6
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
    assert kept.newest() == 4
    assert len(warned(kept)) == 1
    assert "it is not used" in warned(kept)[0] or "its checkpoint is not used" in warned(kept)[0]


def test_a_damaged_note_is_passed_over(kept: Checkpoints):
    kept.state_path(6).with_suffix(".json").write_text("{")
    assert kept.newest() == 4
    assert len(warned(kept)) == 1


def test_a_checkpoint_whose_snapshot_is_damaged_is_passed_over(kept: Checkpoints):
    kept.snapshot_path(5).write_bytes(b"")
    assert kept.newest() == 4
    assert warned(kept) == [
        f"{kept.snapshot_path(5)}: this file is damaged; its checkpoint is not used"
    ]


def test_where_nothing_is_sound_the_run_starts_anew(kept: Checkpoints):
    for path in kept.folder.glob("step-*.ckpt"):
        path.write_bytes(b"")
    assert kept.newest() == 0
    assert len(warned(kept)) == 2


def test_a_checkpoint_of_another_run_is_refused(kept: Checkpoints, tmp_path: Path):
    other = Checkpoints(tmp_path, "sha256:" + "cd" * 32, Quiet())
    assert other.newest() == 0
    kept.folder.rename(other.folder)
    assert other.newest() == 0
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
    assert kept.newest() == 6
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
    assert kept.newest() == 6


def test_an_interrupted_write_leaves_the_older_checkpoint(kept: Checkpoints):
    class Unwritable:
        def __reduce__(self):
            raise RuntimeError("interrupted")

    with pytest.raises(RuntimeError, match="interrupted"):
        kept.write({"big": torch.zeros(1000), "then": Unwritable()}, kept.state_path(8))
    assert kept.newest() == 6
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
    assert kept.newest() == 6
    assert not list(kept.folder.glob("*.tmp"))


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
