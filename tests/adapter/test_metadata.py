"""The header says what was trained, for which model, and nothing that training does not track."""

from __future__ import annotations

import json
import re

import pytest

from lora_recipes.adapter import metadata
from lora_recipes.adapter.metadata import build, of_shapes
from lora_recipes.adapter.parts import Adapted
from lora_recipes.hashing import digest
from lora_recipes.pipeline import TRAINED_SECTIONS as SECTIONS
from lora_recipes.recipe.identity import restored
from lora_recipes.recipe.sections.base import Base
from lora_recipes.recipe.sections.compute import Compute
from lora_recipes.recipe.sections.dataset import Dataset
from lora_recipes.recipe.sections.encode import Encode
from lora_recipes.recipe.sections.lora import Lora
from lora_recipes.recipe.sections.prepare import Prepare
from lora_recipes.recipe.sections.prior import Prior
from lora_recipes.recipe.sections.train import Train

DEFAULTS = {
    "base": Base(),
    "dataset": Dataset(),
    "prepare": Prepare(),
    "prior": Prior(),
    "encode": Encode(),
    "lora": Lora(),
    "train": Train(),
    "compute": Compute(),
}


def fields(step=None, prediction="epsilon", buckets=None, **changed):
    return build(
        {**DEFAULTS, **changed},
        base_identity="sha256:b",
        manifest="sha256:m",
        images=50,
        steps=1000,
        step=step,
        prediction=prediction,
        buckets=buckets,
    )


def test_every_section_is_there_whole_and_reads_back_as_it_was():
    header = fields(lora=Lora(rank=7, alpha=3.5))

    for name in SECTIONS:
        kept = restored(type(DEFAULTS[name]), json.loads(header.get(f"lora_recipes.{name}", "{}")))
        assert kept == (Lora(rank=7, alpha=3.5) if name == "lora" else DEFAULTS[name])


def test_a_key_that_is_off_or_belongs_to_something_not_chosen_is_not_there():
    off, on = fields(), fields(train=Train(noise_offset=0.1, optimizer="adamw"))

    assert {"noise_offset", "power", "adamw"}.isdisjoint(json.loads(off["lora_recipes.train"]))
    assert "adafactor" in json.loads(off["lora_recipes.train"])
    there = json.loads(on["lora_recipes.train"])
    assert there["noise_offset"] == 0.1
    assert "adamw" in there
    assert "adafactor" not in there
    assert "ss_noise_offset" not in off
    assert on["ss_noise_offset"] == "0.1"


def test_a_section_that_training_does_not_track_is_left_out():
    assert fields(sample=Lora(), runtime=Lora()) == fields()


def test_the_hash_covers_every_section_the_base_and_the_data():
    header = fields()
    assert "lora_recipes.prior" not in header, "a section of which everything is off is not there"
    there = [name for name in SECTIONS if name != "prior"]
    covered = {name: json.loads(header[f"lora_recipes.{name}"]) for name in there}

    assert header["lora_recipes.hash"] == digest(
        {**covered, "base_identity": "sha256:b", "manifest": "sha256:m"}
    )
    assert fields(step=250)["lora_recipes.hash"] == header["lora_recipes.hash"]
    assert fields(train=Train(seed=1))["lora_recipes.hash"] != header["lora_recipes.hash"]
    assert fields(prior=Prior(images=20))["lora_recipes.hash"] != header["lora_recipes.hash"]


def test_other_tools_find_their_fields_with_the_recipes_values():
    header = fields(
        lora=Lora(rank=8, alpha=4.0),
        train=Train(repeats=10, epochs=2, learning_rate=3e-4, warmup_steps=5, scheduler="cosine"),
        dataset=Dataset(trigger="zorblat", class_word="figure"),
        prepare=Prepare(resolution=(832, 1216)),
    )
    told = {name: value for name, value in header.items() if not name.startswith("lora_recipes.")}

    assert told == {
        "modelspec.description": "LoRA adapter made by lora-recipes",
        "modelspec.implementation": "https://github.com/Stability-AI/generative-models",
        "modelspec.prediction_type": "epsilon",
        "modelspec.resolution": "832x1216",
        "modelspec.sai_model_spec": "1.0.1",
        "modelspec.title": "zorblat figure",
        "modelspec.trigger_phrase": "zorblat figure",
        "ss_gradient_accumulation_steps": "4",
        "ss_learning_rate": "0.0003",
        "ss_lr_scheduler": "cosine",
        "ss_lr_warmup_steps": "5",
        "ss_max_train_steps": "1000",
        "ss_mixed_precision": "bf16",
        "ss_network_alpha": "4.0",
        "ss_network_dim": "8",
        "ss_network_module": "networks.lora",
        "ss_num_epochs": "2",
        "ss_num_reg_images": "0",
        "ss_num_train_images": "500",
        "ss_optimizer": "adafactor",
        "ss_seed": "0",
        "ss_steps": "1000",
        "ss_total_batch_size": "4",
        "ss_unet_lr": "0.0003",
        "ss_v2": "False",
    }


def test_buckets_are_told_as_other_tools_read_them_and_only_where_there_are_any():
    counts = {(1152, 896): 3, (896, 1152): 14}
    on, off = fields(prepare=Prepare(buckets=True), buckets=counts), fields()
    assert on["ss_enable_bucket"] == "True"
    assert json.loads(on["ss_bucket_info"]) == {
        "buckets": {
            "0": {"count": 14, "resolution": [896, 1152]},
            "1": {"count": 3, "resolution": [1152, 896]},
        }
    }
    assert not {"ss_enable_bucket", "ss_bucket_info"} & {*off}
    assert json.loads(on["lora_recipes.prepare"])["min_bucket"] == "auto"
    assert "bucket" not in off["lora_recipes.prepare"]


def test_a_snapshot_says_its_step_and_the_final_adapter_none():
    assert "lora_recipes.step" not in fields()
    assert fields(step=250)["lora_recipes.step"] == "250"
    assert fields(step=250)["ss_steps"] == "250"
    assert fields(step=250)["ss_max_train_steps"] == "1000"


def test_words_and_pairs_that_a_recipe_may_hold_are_understood():
    header = fields(
        train=Train(epochs="auto", steps=500),
        prepare=Prepare(resolution=512),
        compute=Compute(precision="fp32"),
        prediction="v_prediction",
    )

    assert "ss_num_epochs" not in header
    assert header["modelspec.resolution"] == "512x512"
    assert header["modelspec.prediction_type"] == "v"
    assert header["modelspec.title"] == "LoRA adapter"
    assert "modelspec.trigger_phrase" not in header
    assert header["ss_mixed_precision"] == "no"


def test_the_header_holds_text_only_sorted_and_neither_time_nor_commit():
    header = fields(step=3)

    assert all(isinstance(value, str) for value in header.values())
    assert list(header) == sorted(header)
    assert not [name for name in header if re.search(r"date|time|commit|host|version|path", name)]


def test_each_change_of_a_tracked_section_changes_the_header_and_repeating_none_does_not():
    changed = [
        fields(base=Base(model="pocket")),
        fields(dataset=Dataset(trigger="zorblat")),
        fields(prior=Prior(images=20)),
        fields(prepare=Prepare(resolution=512)),
        fields(encode=Encode(vae_precision="fp16")),
        fields(lora=Lora(targets="transformer")),
        fields(train=Train(noise_offset=0.1)),
        fields(compute=Compute(threads=2)),
    ]

    assert len(changed) == len(SECTIONS)
    assert len({digest(header) for header in [*changed, fields(), fields()]}) == len(SECTIONS) + 1


@pytest.mark.parametrize("targets", ["attention", "transformer"])
def test_only_an_adapter_with_sdxls_own_modules_claims_to_be_for_sdxl(
    sdxl_unet, pocket_unet, targets
):
    real, pocket = (shapes(unet, targets) for unet in (sdxl_unet, pocket_unet))

    assert of_shapes(real) == {
        "modelspec.architecture": "stable-diffusion-xl-v1-base/lora",
        "ss_base_model_version": "sdxl_base_v1-0",
    }
    assert of_shapes(pocket) == {"modelspec.architecture": "lora-recipes-pocket/lora"}


def test_what_the_tensors_say_and_what_the_recipe_says_do_not_overlap(sdxl_unet):
    assert not set(metadata.of_shapes(shapes(sdxl_unet, "attention"))) & set(fields())


def shapes(unet, targets):
    import copy

    adapted = Adapted({"unet": copy.deepcopy(unet)})
    adapted.inject(Lora(rank=2, alpha=1.0, targets=targets), seed=0)
    return {name: tuple(weight.shape) for name, weight in adapted.parameters().items()}
