"""What is known of each of the two that diff compares, and where an adapter is looked for."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from lora_recipes.provenance import sides
from lora_recipes.provenance.difference import compare
from lora_recipes.provenance.objects import file_md5
from lora_recipes.tensors import write_tensors
from tests.provenance.adapters import Trained, adapter, header
from tests.provenance.git import git


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Trained:
    """Two commits; the working tree holds the second one's adapter."""
    monkeypatch.setattr(sides, "cache_folder", lambda root: root / ".dvc/cache")
    sides._objects.cache_clear()
    made = Trained(tmp_path / "project")
    for value in (1.0, 2.0):
        (made.root / "resolved.yaml").write_text(f"train: {{learning_rate: {value}}}\n")
        made.train(value)
        made.commit(str(value))
    return made


def test_a_snapshot_and_the_end_of_a_training_differ_in_their_step(project: Trained):
    end, snapshot = "out/adapter.safetensors", "out/snapshots/step-000003.safetensors"
    expected = (("step", "3", "the last"),)
    assert compare(project.root, snapshot, end).recipe == expected
    assert compare(project.root, snapshot, "HEAD").recipe == expected
    assert compare(project.root, end, "HEAD").recipe == ()


def test_files_of_other_trainers_are_compared_by_the_fields_of_their_headers(project: Trained):
    fields = {"ss_network_dim": "4", "ss_epoch": "2", "ss_training_started_at": "1.5"}
    write_tensors(project.root / "a.safetensors", adapter(1.0), fields)
    changed = fields | {"ss_network_dim": "8", "ss_training_started_at": "9.5", "ss_seed": "1"}
    write_tensors(project.root / "b.safetensors", adapter(1.0), changed)
    found = compare(project.root, "a.safetensors", "b.safetensors")
    assert found.recipe == (("ss_network_dim", "4", "8"), ("ss_seed", None, "1"))
    assert compare(project.root, "a.safetensors", "HEAD").recipe is None


def test_a_foreign_file_beside_one_of_ours_is_not_compared_by_fields(project: Trained):
    write_tensors(project.root / "ours.safetensors", adapter(1.0), header(1.0))
    write_tensors(project.root / "other.safetensors", adapter(1.0), {"ss_network_dim": "4"})
    found = compare(project.root, "ours.safetensors", "other.safetensors")
    assert found.recipe is None
    assert "recipe\n  not stated by other.safetensors\n" in found.text()


def test_an_adapter_in_the_working_tree_is_as_good_as_one_in_the_cache(project: Trained):
    project.object(file_md5(project.adapter)).unlink()
    found = compare(project.root, "HEAD~1", "HEAD")
    assert found.after.adapter == project.adapter
    assert found.tensors is not None
    shutil.copy(project.object(git_adapter(project, "HEAD~1")), project.adapter)
    assert compare(project.root, "HEAD~1", "HEAD").after.adapter is None


def test_a_damaged_object_of_the_cache_is_told_apart_from_a_missing_one(project: Trained):
    place = project.object(file_md5(project.adapter))
    project.adapter.unlink()
    place.write_bytes(b"x")
    head = git(project.root, "rev-parse", "HEAD")
    found = compare(project.root, "HEAD~1", "HEAD")
    assert found.tensors is None
    assert found.no_tensors == (
        f"HEAD: its adapter's object in DVC's cache is damaged: delete {place}, then "
        f"`git checkout {head[:10]} && dvc repro`"
    )


def git_adapter(project: Trained, commit: str) -> str:
    """The md5 of a commit's adapter."""
    lock = git(project.root, "show", f"{commit}:dvc.lock").encode()
    return sides.output_md5(lock, "train", "out/adapter.safetensors")
