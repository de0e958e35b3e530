"""diff: two commits or adapters side by side."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from safetensors.torch import load_file, save_file

from lora_recipes.cli import main
from lora_recipes.dataset.manifest import content_hash
from lora_recipes.errors import CannotTell
from lora_recipes.provenance import sides
from lora_recipes.provenance.difference import compare
from lora_recipes.provenance.objects import file_md5
from lora_recipes.tensors import write_tensors
from tests.provenance.adapters import Trained, adapter, header
from tests.provenance.git import git
from tests.test_floors import BLOCK_TORCH, REPOSITORY


@pytest.fixture(autouse=True)
def cache_as_dvc_says(monkeypatch: pytest.MonkeyPatch) -> None:
    """Asking DVC takes a second; the pipeline's test does ask."""
    monkeypatch.setattr(sides, "cache_folder", lambda root: root / ".dvc/cache")
    sides._objects.cache_clear()


@pytest.fixture
def project(tmp_path: Path) -> Trained:
    return Trained(tmp_path / "project")


def picture(path: str, caption: str, sha: str = "1") -> dict[str, str | int]:
    return {
        "role": "train", "path": path, "sha256": f"sha256:{sha}", "caption": caption, "repeats": 1
    }  # fmt: skip


def resolve(project: Trained, rate: float, images: list, code: str = "a", listed: bool = True):
    """What resolve and pin would write: a recipe, and the listing behind its pin."""
    pin = content_hash(images)
    (project.root / "resolved.yaml").write_text(
        "schema: 1\nname: demo\n"
        f"dataset: {{manifest: '{pin}', trigger: zwk}}\n"
        f"train: {{learning_rate: {rate}, snapshots: [0.5]}}\n"
        "sample: {seeds: [0]}\n"
        f"overridden: {{train.learning_rate: {rate * 7}}}\n"
        f"packages: {{torch: '2.13.0'}}\ncode: {{train: 'sha256:{code * 64}'}}\n"
    )
    if listed:
        file = project.root / "recipes/pins" / f"{pin.removeprefix('sha256:')[:16]}.json"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps({"hash": pin, "images": images}))
    return pin


def record(project: Trained, device: str, heldout: float) -> None:
    for name, more in (
        ("environment", {"environment": {"device": device, "packages": {"torch": "2.13.0"}}}),
        ("train", {"heldout_loss": heldout}),
    ):
        file = project.root / f"out/{name}.json"
        project.say(f"out/{name}.json", json.loads(file.read_text()) | more)


@pytest.fixture
def two(project: Trained) -> Trained:
    """Two commits that differ in rate, a caption, a picture, code, device and a metric."""
    images = [picture("01.png", "a zwk toy"), picture("02.png", "a zwk toy", "2")]
    resolve(project, 0.001, images)
    project.train(1.0)
    record(project, "EPYC", 0.5)
    project.commit("first")
    git(project.root, "tag", "v1")
    resolve(project, 0.002, [picture("01.png", "a red zwk"), picture("03.png", "x", "3")], "b")
    project.train(2.0)
    record(project, "Xeon", 0.25)
    project.commit("second")
    return project


def test_all_that_differs_between_two_commits_is_named(two: Trained):
    name = f"main ({git(two.root, 'rev-parse', 'HEAD')[:10]})"
    tag = f"v1 ({git(two.root, 'rev-parse', 'v1')[:10]})"
    found = compare(two.root, "v1", "main")
    pins = [s.data for s in (found.before, found.after)]
    lines = found.text().splitlines()
    assert lines[: lines.index("tensors")] == [
        f"{tag} → {name}",
        "",
        "recipe",
        f"  dataset.manifest     {pins[0][:15]} → {pins[1][:15]}",
        "  train.learning_rate  0.001 → 0.002",
        "",
        "images and captions",
        "  added:    03.png",
        "  removed:  02.png",
        '  caption:  01.png: "a zwk toy" -> "a red zwk"',
        "",
        "code and packages",
        "  code.train  sha256:aaaaaaaa → sha256:bbbbbbbb",
        "",
        "environment",
        "  device  EPYC → Xeon",
        "",
        "metrics",
        "  heldout_loss  0.5 → 0.25",
        "  loss_last     1.0 → 2.0",
        "",
    ]
    assert found.tensors is not None
    assert found.tensors.delta_relative_l2 == pytest.approx(1.0)
    assert lines[lines.index("tensors") + 1].startswith("  32 of 65 numbers differ, by 1 at most")


def test_a_commit_does_not_differ_from_itself(two: Trained):
    found = compare(two.root, "HEAD", "main")
    assert found.tensors is not None
    assert found.tensors.is_none
    for nothing in (found.recipe, found.data, found.code, found.environment, found.metrics):
        assert nothing == ()
    assert found.text().count("  the same") == 5
    assert found.text().endswith("tensors\n  the tensors are equal, number by number")


def test_a_record_of_an_earlier_release_is_compared_under_todays_names(two: Trained):
    """Then the environment stood in out/train.json, beside figures that were called otherwise."""
    (two.root / "out/environment.json").unlink()
    around = {"device": "EPYC", "packages": {"torch": "2.13.0"}}
    figures = {"heldout": {"adapter": 0.5}, "others": {"base": 0.1}, "loss_smoothed": 1.0}
    two.say("out/train.json", {**figures, "environment": around, "tensors_sha256": "0"})
    two.say("out/report.json", {"others_change": 2.5})
    two.commit("an earlier release")
    found = compare(two.root, "HEAD", "main~1")
    assert found.environment == (("device", "EPYC", "Xeon"),)
    assert found.metrics == (
        ("heldout_loss", 0.5, 0.25),
        ("loss_last", 1.0, 2.0),
        ("control_loss_base", 0.1, None),
        ("control_loss_change", 2.5, None),
    )


def test_two_files_are_compared_by_header_and_tensors(two: Trained):
    first, second = two.root / "a.safetensors", two.root / "b.safetensors"
    write_tensors(first, adapter(1.0), header(0.001))
    write_tensors(second, adapter(1.0), header(0.002))
    found = compare(two.root, "a.safetensors", str(second))
    assert found.recipe == (("train.learning_rate", 0.001, 0.002),)
    assert found.tensors is not None
    assert found.tensors.is_none
    assert "environment\n  not stated by a.safetensors and " in found.text()
    assert (found.data, found.metrics, found.code) == (None, None, None)


def test_a_file_and_a_commit_are_compared_in_what_both_speak_of(two: Trained):
    file = two.root / "a.safetensors"
    write_tensors(file, adapter(2.0), header(0.001))
    found = compare(two.root, "a.safetensors", "main")
    assert found.recipe == (
        ("train.learning_rate", 0.001, 0.002),
        ("train.snapshots", [], [0.5]),
    ), "the header says nothing of sample, so sample does not differ"
    assert found.tensors is not None
    assert found.tensors.is_none


def test_a_foreign_file_states_no_recipe(two: Trained):
    save_file(load_file(two.adapter), two.root / "a.safetensors")
    found = compare(two.root, "a.safetensors", "main")
    assert found.recipe is None
    assert "recipe\n  not stated by a.safetensors\n" in found.text()
    assert found.tensors is not None
    assert found.tensors.is_none


def test_an_adapter_that_the_cache_lacks_is_said_with_the_way_to_get_it(two: Trained):
    two.object(file_md5(two.adapter)).unlink()
    two.adapter.unlink()
    head = git(two.root, "rev-parse", "HEAD")
    found = compare(two.root, "v1", "main")
    assert found.tensors is None
    assert found.text().endswith(
        f"tensors\n  main ({head[:10]}): its adapter is not in DVC's cache: "
        f"`git checkout {head[:10]} && dvc repro`"
    )
    git(two.root, "config", "--file", ".dvc/config", "core.remote", "store")
    assert f"`git checkout {head[:10]} && dvc pull`" in compare(two.root, "v1", "main").text()


def test_a_commit_before_any_training_says_what_it_knows(project: Trained):
    resolve(project, 0.001, [picture("01.png", "x")])
    project.commit("only resolved")
    resolve(project, 0.002, [picture("01.png", "x")])
    project.train(1.0)
    project.commit("trained")
    found = compare(project.root, "HEAD~1", "HEAD")
    assert found.recipe == (("train.learning_rate", 0.001, 0.002),)
    assert (found.data, found.tensors) == ((), None)
    assert found.no_tensors == (
        "HEAD~1: dvc.lock names no adapter: nothing was trained in this commit"
    )


def test_data_without_a_listing_is_known_by_its_hash_alone(project: Trained):
    pins = []
    for path in ("01.png", "02.png"):
        pins.append(resolve(project, 0.001, [picture(path, "x")], listed=False))
        project.commit(path)
    found = compare(project.root, "HEAD~1", "HEAD")
    assert found.data == (
        f"{pins[0]} → {pins[1]}",
        "which files differ is not known: no list of those of HEAD~1 and HEAD is in the commit or "
        "in DVC's cache (`dvc fetch` there brings build/manifest.json)",
    )


def test_unpinned_data_are_looked_up_in_the_caches_manifest(project: Trained):
    for number, caption in enumerate(("a", "b")):
        resolve(project, 0.001, [picture("01.png", caption)], listed=False)
        text = (project.root / "resolved.yaml").read_text()
        pin = content_hash([picture("01.png", caption)])
        (project.root / "resolved.yaml").write_text(text.replace(pin, "unpinned"))
        manifest = project.root / f"manifest{number}"
        generated = picture("build/prior/0000.png", "a toy") | {"caption_from": "generated"}
        listed = [picture("01.png", caption), generated]  # which no hash of data covers
        manifest.write_text(json.dumps({"hash": pin, "images": listed}))
        md5 = file_md5(manifest)
        project.object(md5).parent.mkdir(parents=True, exist_ok=True)
        manifest.rename(project.object(md5))
        (project.root / "dvc.lock").write_text(
            "schema: '2.0'\nstages:\n  dataset:\n    cmd: x\n    outs:\n"
            f"    - path: build/manifest.json\n      hash: md5\n      md5: {md5}\n      size: 1\n"
        )
        project.commit(caption)
    assert compare(project.root, "HEAD~1", "HEAD").data == ('caption:  01.png: "a" -> "b"',)


def test_a_name_that_is_neither_file_nor_revision_cannot_be_told(two: Trained):
    with pytest.raises(CannotTell, match="nothing is called mian"):
        compare(two.root, "mian", "v1")


@pytest.mark.parametrize("command", [["diff", "v1", "main"], ["trace", "out/adapter.safetensors"]])
def test_diff_and_trace_need_no_torch(two: Trained, command: list[str]):
    done = subprocess.run(
        [sys.executable, "-P", "-c", BLOCK_TORCH, *command],
        cwd=two.root,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert git(two.root, "rev-parse", "HEAD")[:10] in done.stdout


def test_the_command_prints_text_or_json(two: Trained, capsys, monkeypatch):
    monkeypatch.chdir(two.root)
    assert main(["diff", "v1", "main"]) == 0
    assert "train.learning_rate  0.001 → 0.002" in capsys.readouterr().out
    assert main(["diff", "v1", "main", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["recipe"]["train.learning_rate"] == {"before": 0.001, "after": 0.002}
    assert found["metrics"]["heldout_loss"] == {"before": 0.5, "after": 0.25}
    assert found["tensors"]["differs"] == 32
    assert main(["diff", "v1", "missing.safetensors"]) == 1
    assert capsys.readouterr().err == (
        f"{two.root}/missing.safetensors: cannot be read: No such file or directory\n"
        "  fix:     check the path\n"
    )
