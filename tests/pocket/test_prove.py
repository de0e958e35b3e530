"""`make prove` says whether the demo repeats to the bit or within the bounds, and can fail."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from ruamel.yaml import YAML

from lora_recipes.errors import CannotTell, UserError
from lora_recipes.hashing import sha256_file
from lora_recipes.tensors import read_header, read_tensors, write_tensors
from pocket_training import prove as module
from pocket_training.prove import (
    ADAPTER,
    DRIFT_BOUND,
    EARLY_BOUND,
    EARLY_STEPS,
    ENVIRONMENT,
    GOLDEN,
    early_difference,
    prove,
    renew,
)
from tests.pocket.test_evaluate import samples

REPOSITORY = Path(__file__).resolve().parents[2]
CAPABILITY = json.loads((REPOSITORY / ENVIRONMENT).read_text())["environment"]["cpu_capability"]
FIX = "find what changed since the record: `git diff`, libraries, data, base"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """The demo as committed, just trained again on the kind of machine of the record."""
    for name in (
        ENVIRONMENT,
        "out/train.json",
        "out/loss.tsv",
        "out/report.json",
        "dvc.lock",
        ".gitignore",
    ):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        shutil.copy(REPOSITORY / name, tmp_path / name)
    for path in (GOLDEN, ADAPTER):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(REPOSITORY / GOLDEN, tmp_path / path)
    samples(tmp_path / "out/samples", learned=True)
    git(tmp_path, "init", "-q")
    git(tmp_path, "add", "-A")
    git(tmp_path, "-c", "user.name=t", "-c", "user.email=t@example.org", "commit", "-qm", "record")
    return tmp_path


def git(root: Path, *arguments: str) -> None:
    subprocess.run(["git", *arguments], cwd=root, check=True, capture_output=True)


def edit(file: Path, change: Callable[[dict], None]) -> None:
    content = json.loads(file.read_text())
    change(content)
    file.write_text(json.dumps(content))


def on_another_cpu(root: Path) -> None:
    edit(root / ENVIRONMENT, lambda now: now["environment"].update(cpu_capability="ANOTHER"))


def move(root: Path, part: float) -> None:
    """Move every module's ΔW by so large a part of it, in a direction of chance."""
    path, chance = root / ADAPTER, torch.Generator().manual_seed(0)
    tensors = read_tensors(path)
    for name, up in tensors.items():
        if name.endswith("lora_up.weight"):
            noise = torch.randn(up.shape, generator=chance)
            down = tensors[name.replace("lora_up", "lora_down")].flatten(1)
            size = (up.flatten(1) @ down).norm() / (noise.flatten(1) @ down).norm()
            tensors[name] = up + part * size * noise
    write_tensors(path, tensors, read_header(path).metadata)


def test_the_golden_adapter_is_the_one_that_the_record_names():
    """Otherwise it is stale: `make repro`, `make golden`."""
    recorded = json.loads((REPOSITORY / ENVIRONMENT).read_text())["adapter_sha256"]
    assert sha256_file(REPOSITORY / GOLDEN) == recorded
    lock = YAML(typ="safe", pure=True).load((REPOSITORY / "dvc.lock").read_text())
    outs = {out["path"]: out for out in lock["stages"]["train"]["outs"]}
    data = (REPOSITORY / GOLDEN).read_bytes()
    assert hashlib.md5(data).hexdigest() == outs[str(ADAPTER)]["md5"]
    assert len(data) == outs[str(ADAPTER)]["size"]


def test_a_clean_tree_is_identical(root: Path):
    assert prove(root) == [
        "identical: dvc.lock is unchanged, every tracked output repeats byte for byte"
    ]


def test_a_clean_tree_with_a_stale_golden_adapter_is_refused(root: Path):
    move(root, 0.01)
    with pytest.raises(UserError) as caught:
        prove(root)
    assert str(caught.value) == (
        f"{GOLDEN}: is not the adapter that the record names\n"
        "  fix:     `make golden`, and commit it"
    )


def test_a_slightly_moved_adapter_on_another_cpu_is_within_the_bounds(root: Path):
    on_another_cpu(root)
    move(root, 0.01)
    assert prove(root) == [
        "within the bounds for another kind of machine, not identical:",
        f"  cpu_capability: {CAPABILITY} → ANOTHER",
        "  losses of the first 60 steps: 0.0e+00 apart, at most 1e-05",
        f"  ΔW: 0.01 from the golden adapter's, at most {DRIFT_BOUND}",
        "  pictures: the subject in 100%, the asked background in 100%",
    ]


@pytest.mark.parametrize("part", [1.1 * DRIFT_BOUND, 2**0.5])
def test_an_adapter_that_drifted_too_far_is_refused(root: Path, part: float):
    """√2 is what two unrelated adapters of one size are apart."""
    on_another_cpu(root)
    move(root, part)
    with pytest.raises(UserError) as caught:
        prove(root)
    assert str(caught.value) == (
        f"too far from the record: ΔW: {part:.2f} from the golden adapter's, at most {DRIFT_BOUND}"
        f"\n  fix:     {FIX}"
    )


def test_an_adapter_that_is_not_finite_is_refused(root: Path):
    on_another_cpu(root)
    move(root, float("nan"))
    with pytest.raises(UserError, match="too far from the record: ΔW: nan"):
        prove(root)


def test_other_losses_in_the_first_steps_are_refused(root: Path):
    on_another_cpu(root)
    path = root / "out/loss.tsv"
    rows = path.read_text().splitlines()
    step, epoch, loss, rate = rows[EARLY_STEPS].split("\t")
    rows[EARLY_STEPS] = "\t".join([step, epoch, repr(float(loss) * 1.0001), rate])
    path.write_text("\n".join(rows) + "\n")
    with pytest.raises(UserError) as caught:
        prove(root)
    assert str(caught.value) == (
        "too far from the record: losses of the first 60 steps: 1.0e-04 apart, at most 1e-05\n"
        f"  fix:     {FIX}"
    )


def test_pictures_without_the_subject_are_refused(root: Path):
    on_another_cpu(root)
    shutil.rmtree(root / "out/samples")
    samples(root / "out/samples", learned=False)
    with pytest.raises(UserError, match="too far from the record: pictures: the subject in 0%"):
        prove(root)


def test_on_the_recorded_kind_of_machine_only_identity_counts(root: Path):
    move(root, 0.001)
    edit(root / ENVIRONMENT, lambda now: now.update(adapter_sha256="sha256:0"))
    with pytest.raises(UserError) as caught:
        prove(root)
    assert str(caught.value) == (
        "not identical, on the kind of machine that made the record: out/environment.json\n"
        f"  fix:     {FIX}"
    )


def test_what_no_cpu_changes_must_not_change(root: Path):
    on_another_cpu(root)
    (root / "resolved.yaml").write_text("train: {seed: 1}\n")
    lock = root / "dvc.lock"
    old = "md5: a00ff3c8a8a5e729537b4e1e5faea21a"
    manifest = YAML(typ="safe", pure=True).load(lock.read_text())["stages"]["dataset"]["outs"][0]
    old = f"md5: {manifest['md5']}"
    lock.write_text(lock.read_text().replace(old, f"md5: {'0' * 32}"))
    with pytest.raises(UserError) as caught:
        prove(root)
    assert str(caught.value) == (
        "changed, though no CPU changes it: resolved.yaml, dvc.lock: dataset\n"
        "  fix:     commit or undo your own edits, then `make repro` on a clean checkout, then "
        "`make prove`"
    )


def test_without_a_training_or_a_commit_nothing_can_be_told(root: Path):
    shutil.rmtree(root / ".git")
    with pytest.raises(CannotTell, match="`git status --porcelain -uall` failed: fatal: not a git"):
        prove(root)
    (root / ADAPTER).unlink()
    with pytest.raises(CannotTell) as caught:
        prove(root)
    assert str(caught.value) == (
        "out/adapter.safetensors: is not there\n"
        "  fix:     `make repro` on a clean checkout, then `make prove`"
    )


@pytest.mark.parametrize("status", ["{}", '{"train": ["changed command"], "encode": []}'])
def test_the_golden_adapter_is_renewed_only_from_an_up_to_date_training(
    root: Path, monkeypatch: pytest.MonkeyPatch, status: str
):
    asked = []
    monkeypatch.setattr(module, "_output", lambda *command: asked.append(command) or status)
    move(root, 0.5)
    if status == "{}":
        assert renew(root) == f"{GOLDEN}: {sha256_file(root / ADAPTER)}"
    else:
        with pytest.raises(UserError) as caught:
            renew(root)
        assert str(caught.value) == (
            "out/ is not up to date: encode, train\n  fix:     `make repro`, then `make golden`"
        )
    same = (root / GOLDEN).read_bytes() == (root / ADAPTER).read_bytes()
    assert same == (status == "{}")
    assert asked[0][2:] == ("-m", "dvc", "status", "--json")


def test_the_largest_difference_counts_and_later_steps_do_not():
    head, row = "step\tepoch\tloss\tlearning_rate\n", "{0}\t1\t{1}\t0.1\n"
    old = head + "".join(row.format(step, 2.0) for step in range(1, 100))
    new = head + "".join(
        row.format(step, {7: 2.1, 9: 1.5, EARLY_STEPS + 1: 9.0}.get(step, 2.0))
        for step in range(1, 100)
    )
    assert early_difference(old, new) == 0.25


def test_the_guarantees_and_the_record_of_the_drift_state_the_bounds():
    stated = " ".join((REPOSITORY / "docs/guarantees.md").read_text("utf-8").split())
    assert f"the losses of the first {EARLY_STEPS} steps to {EARLY_BOUND:.0e}" in stated
    assert f"ΔW to {DRIFT_BOUND}" in stated
    measured = (REPOSITORY / "docs/drift.md").read_text("utf-8")
    rows = [line.strip("| ").split(" | ") for line in measured.splitlines() if "| " in line[:2]]
    found = {row[0]: (float(row[1]), float(row[2])) for row in rows[1:]}
    assert found["this machine again"] == (0, 0)
    assert found["another seed"][0] > EARLY_BOUND
    assert found["another seed"][1] > DRIFT_BOUND
    others = found.keys() - {"this machine", "this machine again", "another seed"}
    assert len(others) >= 3
    for name in others:
        assert found[name][0] <= EARLY_BOUND / 5, f"{name}: too near the bound"
        assert found[name][1] <= DRIFT_BOUND, name
