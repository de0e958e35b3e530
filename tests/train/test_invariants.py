"""What every feature of the training keeps to, one row each.

Off moves no byte; killed and resumed equals unbroken; 1 × 4 = 2 × 2 = 4 × 1 processes; 0 and 2
workers alike; and the key changes something, which the feature's own tests say in numbers.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from lora_recipes.encode.store import read_index, write_index
from lora_recipes.train.checkpoints import checkpoints_folder
from tests.train.processes import as_torchrun, together, train
from tests.train.project import contents, make_project, run_stage
from tests.train.test_resume import CutOff, Interrupted

Sections = Mapping[str, Mapping[str, Any]]
"""Settings by section, as `make_project` takes them."""

SETTINGS: dict[str, Any] = {
    "repeats": 5,  # 25 samples in batches of 2, steps of 4: the last step holds one batch of one
    "batch_size": 2,
    "gradient_accumulation": 4,
    "noise_offset": 0.0,
    "max_grad_norm": 0.01,
}


def nothing(root: Path) -> None:
    """The encoded pictures stay as `make_project` writes them."""


@dataclass(frozen=True)
class Feature:
    """One row: what switches the feature on, and what switches it off."""

    name: str
    on: Sections
    off: Sections
    """The keys at their `Off`, one by one; every other key as in `on` does not matter then."""

    encoded: Callable[[Path], None] = field(default=nothing)
    """Edits `build/encoded` as the stages before would have left it, on and off alike."""

    pictures: tuple[str, ...] = ()
    """The roles of further pictures that the feature needs: without them it is off."""


def several_texts(root: Path) -> None:
    """Where tags are shuffled, each picture that is trained on has the texts of three."""
    if not json.loads((root / "resolved.yaml").read_text())["dataset"]["caption"]["shuffle"]:
        return
    folder = root / "build/encoded"
    index = read_index(folder)
    names = [image.texts[0] for image in index.images]
    images = [
        replace(image, texts=tuple((names + names)[at : at + 3]))
        if image.role == "train"
        else image
        for at, image in enumerate(index.images)
    ]
    write_index(folder, replace(index, images=tuple(images)))


FEATURES = (
    Feature(
        "min-SNR",
        on={"train": {"loss_weighting": "min_snr", "snr_gamma": 2.0}},
        off={"train": {"loss_weighting": "none"}},
    ),
    Feature(
        "noise offset",
        on={"train": {"noise_offset": 0.1}},
        off={"train": {"noise_offset": 0.0}},
    ),
    Feature(
        "captions",
        on={"dataset": {"caption": {"shuffle": True}}, "train": {"caption_dropout": 0.3}},
        off={"dataset": {"caption": {"shuffle": False}}, "train": {"caption_dropout": 0.0}},
        encoded=several_texts,
    ),
    Feature(
        "masks and flip, in buckets",
        on={
            "dataset": {"masks": "alpha", "flip": True},
            "prepare": {"buckets": True},
            "train": {"masked_loss": {"unmasked_weight": 0.1}},
        },
        off={"dataset": {"masks": "none", "flip": False}, "prepare": {"buckets": False}},
    ),
    Feature(
        "buckets",  # 10, 10 and 5 samples by shape: one short batch, and one step that holds one
        on={"prepare": {"buckets": True}},
        off={"prepare": {"buckets": False}},
    ),
    Feature(
        "regularization, in buckets",
        on={
            "prepare": {"buckets": True},
            "train": {"prior_loss_weight": 0.5, "prior_batch_size": 3},
        },
        off={
            "prepare": {"buckets": False},
            "dataset": {"regularization": "none"},
            "prior": {"images": 0},
            "train": {"prior_loss_weight": 1.0, "prior_batch_size": "auto"},
        },
        pictures=("regularization",) * 3,
    ),
)

each_feature = pytest.mark.parametrize("feature", FEATURES, ids=lambda feature: feature.name)


@pytest.fixture(scope="module", autouse=True)
def own_checkpoints() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        for name in ("DVC_ROOT", "LORA_RECIPES_CHECKPOINTS"):
            patch.delenv(name, raising=False)
        yield


def project(root: Path, feature: Feature | None, sections: Sections, **runtime: Any) -> Path:
    chosen = {name: dict(values) for name, values in sections.items()}
    chosen["train"] = SETTINGS | chosen.get("train", {})
    roles = ["train"] * 5 + ["heldout"] * 2
    if feature is not None and sections is feature.on:
        roles += feature.pictures
    make_project(root, runtime=runtime, roles=roles, **chosen)
    if feature is not None:
        feature.encoded(root)
    return root


Trained = Callable[[Feature | None], dict[str, bytes]]


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory: pytest.TempPathFactory) -> Trained:
    """The outputs with a feature on, or of a training that knows of none: each trained once."""

    known = {feature.name: feature for feature in FEATURES}

    @cache
    def outputs(name: str) -> dict[str, bytes]:  # a row holds dicts, which have no hash
        feature = known.get(name)
        root = project(tmp_path_factory.mktemp("on"), feature, feature.on if feature else {})
        run_stage(root)
        return contents(root)

    return lambda feature: outputs(feature.name if feature else "")


@each_feature
def test_off_moves_no_byte(tmp_path: Path, feature: Feature, unbroken: Trained):
    root = project(tmp_path, feature, feature.off)
    run_stage(root)
    assert contents(root) == unbroken(None)


@each_feature
def test_the_key_changes_the_adapter(feature: Feature, unbroken: Trained):
    name = "adapter.safetensors"
    assert unbroken(feature)[name] != unbroken(None)[name]


@each_feature
def test_killed_and_resumed_equals_unbroken(tmp_path: Path, feature: Feature, unbroken: Trained):
    root = project(tmp_path, feature, feature.on, checkpoint_every=1)
    for step in (2, 3):
        with pytest.raises(Interrupted):
            run_stage(root, CutOff(step))
        assert contents(root) == {}
    assert run_stage(root).said[0].startswith("resuming after step 2 of ")
    assert contents(root) == unbroken(feature)
    assert not list(checkpoints_folder(root).iterdir())


@each_feature
@pytest.mark.parametrize("processes", [2, 4])
def test_several_processes_write_the_bytes_of_one(
    tmp_path: Path, processes: int, feature: Feature, unbroken: Trained
):
    root = project(tmp_path, feature, feature.on)
    said, *_ = together(as_torchrun(processes), train, root)
    assert said[-1].startswith("trained "), said
    assert contents(root) == unbroken(feature)


@each_feature
def test_workers_change_no_byte(tmp_path: Path, feature: Feature, unbroken: Trained):
    root = project(tmp_path, feature, feature.on, workers=2)
    run_stage(root)
    assert contents(root) == unbroken(feature)
