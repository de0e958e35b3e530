"""What a finished training writes: figures that repeat, and nothing that does not."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from lora_recipes.encode.store import read_index, write_file, write_index
from lora_recipes.errors import UserError
from lora_recipes.formats.arrays import read_arrays
from lora_recipes.formats.hashes import identity, tensors_hash
from lora_recipes.hashing import sha256_file
from lora_recipes.machine import device_of
from lora_recipes.plan.duration import duration
from lora_recipes.plan.measured import own_runs
from lora_recipes.plan.work import shape_of
from lora_recipes.stages.train import read_recipe
from lora_recipes.tensors import read_header
from lora_recipes.train.identity import environment, fingerprint
from lora_recipes.train.job import Outcome
from lora_recipes.train.results import metrics
from tests.train.project import contents, encode_pictures, make_project, run_stage


@pytest.fixture(autouse=True)
def own_checkpoints(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DVC_ROOT", raising=False)
    monkeypatch.delenv("LORA_RECIPES_CHECKPOINTS", raising=False)


def figures(root: Path, name: str = "train.json") -> dict[str, Any]:
    return json.loads((root / "out" / name).read_text("utf-8"))


def test_without_other_pictures_there_are_no_figures_of_them(tmp_path: Path):
    run_stage(make_project(tmp_path))
    assert sorted(figures(tmp_path)) == ["loss_first", "loss_last", "steps"]
    found = figures(tmp_path, "environment.json")
    assert sorted(found) == ["adapter_sha256", "environment", "recipe_sha256", "tensors_sha256"]
    assert found["adapter_sha256"] == sha256_file(tmp_path / "out" / "adapter.safetensors")
    assert found["environment"]["threads"] == torch.get_num_threads()


def test_without_snapshots_the_folder_says_so_since_dvc_warns_of_an_empty_one(tmp_path: Path):
    run_stage(make_project(tmp_path))
    found = contents(tmp_path)
    assert found.pop("snapshots/none.txt") == b"The recipe's train.snapshots keeps none.\n"
    assert list(found) == ["adapter.safetensors", "environment.json", "loss.tsv", "train.json"]


def test_the_first_and_the_last_loss_are_means_over_a_tenth_and_skipped_steps_are_told():
    losses = [float(step) for step in range(1, 21)]
    outcome = Outcome(losses, skipped=0, resumed_at=0, seconds=1.0, peak_bytes=None)
    unseen = {"heldout": {"base": 0.5, "adapter": 0.25}}
    expected = {"loss_first": 1.5, "loss_last": 19.5, "steps": 20}
    expected |= {"heldout_loss": 0.25, "heldout_loss_base": 0.5}
    assert metrics(outcome, unseen) == expected
    assert metrics(replace(outcome, skipped=3), {})["skipped_steps"] == 3


def test_a_run_leaves_its_speed_behind_for_the_next_plan(tmp_path: Path):
    """Under the shape by which `plan` will ask, in `.lora`, where no output depends on it."""
    run_stage(make_project(tmp_path))
    [run] = own_runs(tmp_path)
    recipe = read_recipe(tmp_path)
    shape = shape_of(
        recipe.base,
        recipe.prepare,
        recipe.lora,
        recipe.train,
        recipe.compute,
        device_of(recipe.compute.device).name,
        tmp_path,
    )
    assert run.shape == shape
    assert (run.steps, run.own) == (figures(tmp_path)["steps"], True)
    assert str(duration(shape, 10, [run])).endswith(
        "of training: your run of the same shape on this machine"
    )


def test_other_pictures_tell_what_was_learned_and_what_forgotten(tmp_path: Path):
    """The base's figures depend on the pictures alone, so recipes can be compared."""
    roles = ["train", "train", "heldout", "control", "control"]
    found = []
    for name, settings in (("a", {"seed": 1}), ("b", {"seed": 2, "noise_offset": 0.3})):
        root = make_project(tmp_path / name, settings, roles=roles)
        run_stage(root)
        found.append(figures(root))
    for role in ("heldout", "control"):
        loss, base = f"{role}_loss", f"{role}_loss_base"
        assert found[0][base] == found[1][base]
        assert found[0][loss] != found[1][loss]
        assert found[0][loss] != found[0][base]
    assert found[0]["steps"] == 2 * 3 // 2, "only two pictures are trained on"


def test_snapshots_are_measured_as_a_run_of_their_length_would_be(tmp_path: Path):
    roles = ["train", "train", "heldout", "control"]
    constant = {"scheduler": "constant", "epochs": "auto"}
    for name, settings in (("long", {"steps": 4, "snapshots": [0.5]}), ("short", {"steps": 2})):
        run_stage(make_project(tmp_path / name, constant | settings, roles=roles))
    short = figures(tmp_path / "short")
    assert figures(tmp_path / "long", "snapshots/losses.json") == {
        "step-000002": {role: short[f"{role}_loss"] for role in ("heldout", "control")}
    }
    assert short["heldout_loss"] != figures(tmp_path / "long")["heldout_loss"]
    long, longer = (tmp_path / "long" / "out", tmp_path / "again")
    run_stage(make_project(longer, constant | {"steps": 4}, roles=roles))
    final = "adapter.safetensors"
    assert load_equal(long / final, longer / "out" / final), "measuring moves no trained weight"


def load_equal(one: Path, other: Path) -> bool:
    left, right = load_file(one), load_file(other)
    return left.keys() == right.keys() and all(torch.equal(left[k], right[k]) for k in left)


def test_the_adapters_header_is_of_this_training(tmp_path: Path):
    run_stage(make_project(tmp_path, {"snapshots": [0.5]}))
    header = read_header(tmp_path / "out" / "adapter.safetensors").metadata
    assert header["lora_recipes.manifest"] == "sha256:" + "0" * 64
    assert header["lora_recipes.base_identity"] == "sha256:" + "1" * 64
    assert json.loads(header["lora_recipes.train"])["snapshots"] == [0.5]
    assert "lora_recipes.step" not in header
    snapshot = read_header(tmp_path / "out" / "snapshots" / "step-000003.safetensors").metadata
    assert snapshot["lora_recipes.step"] == "3"
    assert snapshot["lora_recipes.hash"] == header["lora_recipes.hash"]


def test_the_record_knows_the_adapter_whatever_becomes_of_its_header(tmp_path: Path):
    run_stage(make_project(tmp_path))
    adapter = tmp_path / "out" / "adapter.safetensors"
    header, arrays = read_arrays(adapter)
    found = figures(tmp_path, "environment.json")
    assert found["recipe_sha256"] == header.metadata["lora_recipes.hash"][7:23]
    assert found["tensors_sha256"] == tensors_hash(arrays)[:16]
    save_file(load_file(adapter), adapter)
    assert identity(adapter) == {"recipe_sha256": "", "tensors_sha256": found["tensors_sha256"]}


def test_the_fingerprint_changes_with_everything_that_bytes_depend_on(tmp_path: Path):
    encode_pictures(tmp_path, ["train"])
    around = environment(torch.device("cpu"))
    settings = {"train": {"seed": 0}, "code": "sha256:1"}
    first = fingerprint(settings, tmp_path, around)
    assert first == fingerprint(dict(reversed(settings.items())), tmp_path, dict(around))
    others = [
        fingerprint(settings | {"train": {"seed": 1}}, tmp_path, around),
        fingerprint(settings | {"code": "sha256:2"}, tmp_path, around),
        *(fingerprint(settings, tmp_path, around | {key: "other"}) for key in around),
    ]
    encode_pictures(tmp_path, ["train"], prediction="v_prediction")
    others.append(fingerprint(settings, tmp_path, around))
    assert len({first, *others}) == 1 + len(others)


def test_the_fingerprint_reads_the_index_alone_and_another_picture_gives_another_index(
    tmp_path: Path,
):
    encode_pictures(tmp_path, ["train"])
    around = environment(torch.device("cpu"))
    first = fingerprint({}, tmp_path, around)
    [example] = read_index(tmp_path).images
    for name in example.files:
        (tmp_path / name).unlink()
    assert fingerprint({}, tmp_path, around) == first
    moments = {"mean": torch.zeros(4, 8, 8), "std": torch.zeros(4, 8, 8)}
    other = replace(example, moments=write_file(tmp_path, "moments", moments))
    write_index(tmp_path, replace(read_index(tmp_path), images=(other,)))
    assert fingerprint({}, tmp_path, around) != first


@pytest.mark.parametrize("kind", ["moments", "text"])
def test_a_picture_or_text_that_was_damaged_or_edited_stops_the_training(tmp_path: Path, kind: str):
    make_project(tmp_path)
    encoded = tmp_path / "build" / "encoded"
    [file, *_] = [encoded / f for f in read_index(encoded).images[0].files if f.startswith(kind)]
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)
    with pytest.raises(UserError, match="was damaged or edited"):
        run_stage(tmp_path)
    assert not (tmp_path / "out" / "adapter.safetensors").exists()


def test_the_environment_names_what_decides_the_bits():
    around = environment(torch.device("cpu"))
    assert around["packages"]["torch"] == torch.__version__
    assert sorted(around) == [
        "cpu_capability",
        "cpu_flags",
        "device",
        "machine",
        "packages",
        "python",
        "threads",
        "torch_build",
    ]


@pytest.mark.gpu
def test_on_a_gpu_the_environment_names_the_driver():
    assert environment(torch.device("cuda"))["driver"].count(".") >= 1
