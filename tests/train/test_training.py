"""The whole training equals a plain loop over single samples."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from lora_recipes.recipe.counts import count
from lora_recipes.recipe.sections.train import Train
from lora_recipes.tensors import read_tensors
from tests.train.project import encode_pictures, make_project, run_stage
from tests.train.reference import plain_loop

# With eps this large AdamW's steps grow with the gradient, so a wrong scale cannot hide.
BLUNT = {"optimizer": "adamw", "learning_rate": 0.1, "adamw": {"eps": 0.01}}
PLAIN = {"repeats": 5, "batch_size": 1, "gradient_accumulation": 4, **BLUNT}


def trained(root: Path, settings: dict[str, Any], prediction: str = "epsilon"):
    make_project(root, PLAIN | settings)
    if prediction != "epsilon":
        encode_pictures(root / "build" / "encoded", ["train"] * 4, prediction=prediction)
    run_stage(root)
    return read_tensors(root / "out" / "adapter.safetensors"), losses(root)


def losses(root: Path) -> list[float]:
    rows = (root / "out" / "loss.tsv").read_text().splitlines()[1:]
    return [float(row.split("\t")[2]) for row in rows]


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory):
    """The adapter of a training without any special setting."""
    return trained(tmp_path_factory.mktemp("plain"), {})[0]


def assert_close(found: dict[str, torch.Tensor], expected: dict[str, torch.Tensor]) -> None:
    assert found.keys() == expected.keys()
    moved = max(float(v.abs().max()) for k, v in expected.items() if "lora_up" in k)
    assert moved > 4e-3, "the training hardly moves: nothing would be compared"
    for name, tensor in expected.items():
        torch.testing.assert_close(found[name], tensor, rtol=0, atol=1e-5, msg=name)


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"batch_size": 4, "gradient_accumulation": 1},
        {"batch_size": 3, "gradient_accumulation": 2, "repeats": 7},  # last window: 3 + 1 samples
        {"max_grad_norm": 0.002},
        {"max_grad_norm": 1000.0},
        {"noise_offset": 0.5},
        {"scheduler": "linear", "warmup_steps": 2},
        {"seed": 7},
        {"repeats": 2, "epochs": 3, "gradient_accumulation": 5},  # epochs of 8, windows of 5
        {"repeats": 3, "epochs": "auto", "steps": 5},
        {"optimizer": "adafactor", "learning_rate": 1e-2, "adamw": {}},
    ],
    ids=lambda settings: "-".join(settings) or "plain",
)
def test_training_equals_a_plain_loop(tmp_path: Path, settings: dict[str, Any], plain):
    found, curve = trained(tmp_path, settings)
    train = Train(**(PLAIN | settings))
    expected, expected_curve = plain_loop(tmp_path, train, count([1] * 4, train).samples)
    assert len(curve) >= 5
    assert curve == pytest.approx(expected_curve, abs=1e-5)
    assert_close(found, expected)
    does_nothing = set(settings) <= {"batch_size", "gradient_accumulation"} or settings == {
        "max_grad_norm": 1000.0
    }
    same = all(torch.allclose(found[k], plain[k], rtol=0, atol=1e-5) for k in plain)
    assert same == does_nothing, "the setting did nothing, or something else than it says"


@pytest.mark.parametrize(("batch", "accumulation"), [(2, 3), (3, 1)])
def test_a_training_on_several_shapes_equals_the_plain_loop(
    tmp_path: Path, batch: int, accumulation: int
):
    train = Train(**(PLAIN | {"batch_size": batch, "gradient_accumulation": accumulation}))
    make_project(tmp_path, train.model_dump(), prepare={"buckets": True})
    run_stage(tmp_path)
    expected, expected_curve = plain_loop(tmp_path, train, 20)
    assert losses(tmp_path) == pytest.approx(expected_curve, abs=1e-5)
    assert_close(read_tensors(tmp_path / "out" / "adapter.safetensors"), expected)


def test_a_base_that_predicts_v_is_trained_on_v(tmp_path: Path, plain):
    found, curve = trained(tmp_path, {}, prediction="v_prediction")
    expected, expected_curve = plain_loop(tmp_path, Train(**PLAIN), 20)
    assert curve == pytest.approx(expected_curve, abs=1e-5)
    assert_close(found, expected)


def test_the_curve_and_the_figures_tell_what_was_done(tmp_path: Path):
    make_project(tmp_path, PLAIN | {"epochs": 2, "scheduler": "linear", "repeats": 3})
    run_stage(tmp_path)
    head, *rows = (tmp_path / "out" / "loss.tsv").read_text().splitlines()
    assert head == "step\tepoch\tloss\tlearning_rate"
    table = [row.split("\t") for row in rows]
    assert [row[0] for row in table] == ["1", "2", "3", "4", "5", "6"]
    assert [row[1] for row in table] == ["1", "1", "1", "2", "2", "2"]
    assert [float(row[3]) for row in table] == pytest.approx([0.1 * (1 - k / 6) for k in range(6)])
    figures = json.loads((tmp_path / "out" / "train.json").read_text())
    losses = [float(row[2]) for row in table]
    assert figures == {"loss_first": losses[0], "loss_last": losses[-1], "steps": 6}


def test_snapshots_are_the_adapter_along_the_way(tmp_path: Path):
    make_project(tmp_path, PLAIN | {"snapshots": [0.4]})
    run_stage(tmp_path)
    snapshots = list((tmp_path / "out" / "snapshots").iterdir())
    assert [path.name for path in snapshots] == ["step-000002.safetensors"]
    expected, _ = plain_loop(tmp_path, Train(**PLAIN), 8)
    assert_close(read_tensors(snapshots[0]), expected)


@pytest.mark.parametrize("chosen", [True, "feed_forward"])
def test_gradient_checkpointing_changes_no_result(tmp_path: Path, plain, chosen):
    make_project(tmp_path, PLAIN, compute={"gradient_checkpointing": chosen})
    run_stage(tmp_path)
    found = read_tensors(tmp_path / "out" / "adapter.safetensors")
    for name, tensor in plain.items():
        torch.testing.assert_close(found[name], tensor, rtol=0, atol=1e-6)
