"""What a training will cost, counted."""

from __future__ import annotations

import json
import struct
from collections import Counter

import pytest

from lora_recipes.machine import Device
from lora_recipes.plan.memory import SDXL_UNET
from lora_recipes.plan.shapes import POCKET, adapted_shapes, unet_config, weights_per_rank
from lora_recipes.plan.training import curve, make_plan
from lora_recipes.recipe.identity import present
from lora_recipes.recipe.load import resolve
from lora_recipes.recipe.model import SECTIONS
from lora_recipes.recipe.sections.train import Train
from tests.recipe.conftest import message, text

SDXL = "stabilityai/stable-diffusion-xl-base-1.0"


def test_sdxl_has_560_attention_weights_and_722_in_all(tmp_path):
    config = unet_config(SDXL, tmp_path)
    assert len(adapted_shapes(config, "attention")) == 560
    assert len(adapted_shapes(config, "transformer")) == 722


def test_an_adapter_of_rank_128_makes_adamw_keep_1418_mib(tmp_path):
    weights = 128 * weights_per_rank(adapted_shapes(unet_config(SDXL, tmp_path), "attention"))
    assert round(2 * 4 * weights / 2**20) == 1418  # counted on the real model's shapes


def test_the_pockets_shapes_are_those_of_its_own_weights(tmp_path):
    [file] = POCKET.glob("*.safetensors")
    with file.open("rb") as data:
        (size,) = struct.unpack("<Q", data.read(8))
        header = json.loads(data.read(size))
    attention, rest = Counter(), Counter()
    for name, tensor in header.items():
        if ".attentions." not in name or not name.endswith(".weight") or "norm" in name:
            continue
        width_out, width_in = tensor["shape"][:2]
        which = attention if ".attn1." in name or ".attn2." in name else rest
        which[width_in, width_out] += 1
    config = unet_config("pocket", tmp_path)
    assert Counter(adapted_shapes(config, "attention")) == attention
    assert Counter(adapted_shapes(config, "transformer")) == attention + rest


def test_a_local_models_own_config_is_looked_into(tmp_path):
    config = unet_config("pocket", tmp_path)
    folder = tmp_path / "models" / "unet"
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps(config), "utf-8")
    assert unet_config("models", tmp_path) == config
    assert unet_config("models.safetensors", tmp_path) == unet_config(SDXL, tmp_path)


def test_the_plan_of_the_published_recipe_is_this(project):
    project.params("train: {snapshots: [0.5]}\n")
    plan = make_plan(resolve(project.root), [1] * 10, project.root, device=Device("Some CPU"))
    assert str(plan) == text(
        """
        samples        10 images × 80 repeats × 1 epoch = 800
        steps          200 optimizer steps of 4 samples
        snapshots      after steps 100
        adapter        rank 128 beside 560 weights: 709.0 MiB
        memory         about 11.5 GiB while training (base 4.8 GiB, activations 5.3 GiB, \
adapter 1.4 GiB, optimizer 5.5 MiB; counted from shapes, not measured; torch's own buffers come \
on top)
        time           roughly 23 h to 14 days of training: counted, not measured: 61.8 TFLOP a \
step at 0.01 to 0.15 TFLOP/s. No GPU: about 4 days; try `recipe: pocket-tryout`
        learning rate  ████████████████████████████████████████████████ peak 0.0001, last 0.0001
        """
    )


def test_folders_repeats_are_not_shown_as_images(project):
    plan = make_plan(resolve(project.root), [8, *[6] * 7], device=Device("Some CPU"))
    assert str(plan).splitlines()[0] == (
        "samples        8 images (50 with their folders' repeats) × 80 repeats × 1 epoch = 4000"
    )


def test_the_plan_tells_what_an_earlier_run_took_and_what_the_card_has(project, monkeypatch):
    monkeypatch.delenv("DVC_ROOT", raising=False)
    resolved = resolve(project.root)
    r = resolved.recipe
    card = Device("NVIDIA RTX 3070", 8 * 2**30)
    run = {
        "seconds": 300,
        "steps": 100,
        "peak_bytes": 7 * 2**30,
        "settings": present({name: getattr(r, name) for name in SECTIONS}),
        "device_name": card.name,
        "processes": 1,
    }
    project.file(".lora/runs/a.json", json.dumps(run))
    rows = {line[:15].strip(): line[15:] for line in _lines(resolved, project.root, card)}
    assert rows["time"] == "about 10 min of training: your run of the same shape on this machine"
    assert rows["memory"].endswith(
        "on top); measured at most: 7.0 GiB; NVIDIA RTX 3070 has only 8.0 GiB"
    )


def _lines(resolved, root, card):
    return str(make_plan(resolved, [1] * 10, root, device=card)).splitlines()


def test_memory_follows_precision_checkpointing_size_and_optimizer(project):
    def memory(params):
        project.params(params)
        return make_plan(resolve(project.root), [1] * 10, project.root).memory

    usual = memory("")
    assert memory("compute: {precision: fp32}\n").base == 4 * SDXL_UNET == 2 * usual.base
    assert memory("prepare: {resolution: 512}\n").activations == usual.activations // 4
    assert memory("train: {batch_size: 2}\n").activations == 2 * usual.activations
    assert memory("compute: {gradient_checkpointing: true}\n").activations < usual.activations / 9
    some = memory("compute: {gradient_checkpointing: feed_forward}\n").activations
    assert 0.55 < some / usual.activations < 0.65
    assert memory("train: {optimizer: adamw}\n").optimizer == usual.adapter
    momentum = memory("train: {adafactor: {beta1: 0.9}}\n").optimizer
    assert momentum == usual.optimizer + usual.adapter // 2
    assert memory("lora: {rank: 64}\n").adapter == usual.adapter // 2
    rounded = memory("compute: {adapter_precision: base}\n")
    assert rounded.adapter == usual.adapter * 10 // 8
    exact = memory("compute: {adapter_precision: base, precision: fp32}\n")
    assert exact.adapter == usual.adapter


def test_without_the_data_the_plan_says_what_it_can(project):
    project.params("base: {model: pocket}\n")
    lines = str(make_plan(resolve(project.root), None)).splitlines()
    assert lines[0] == (
        "length   not known; the data folder is not here, so no images were counted"
    )
    assert lines[-1].startswith("memory   about ")
    assert "without activations, which were not counted for this model" in lines[-1]
    project.params("train: {steps: 70, epochs: auto}\n")
    assert str(make_plan(resolve(project.root), None)).startswith("length   70 steps; ")


def test_a_recipe_that_does_not_fit_the_images_has_no_plan(project):
    project.params("train: {repeats: 1}\n")
    assert message(lambda: make_plan(resolve(project.root), [1] * 2, project.root)).startswith(
        "params.yaml:3: zero full optimizer steps: 2 images × 1 repeats"
    )


def test_what_does_not_fit_the_images_is_said_of_params_yaml_and_not_of_the_recipe(project):
    project.recipe("train: {repeats: 1, warmup_steps: 4, scheduler: linear}\n")
    project.params("lora: {rank: 8}\ntrain:\n  gradient_accumulation: 8\n")
    told = message(lambda: make_plan(resolve(project.root), [1] * 2, project.root))
    assert told.startswith("params.yaml:5: zero full optimizer steps: 2 images × 1 repeats × ")
    project.params()
    told = message(lambda: make_plan(resolve(project.root), [1] * 8, project.root))
    assert told.startswith("params.yaml: train.warmup_steps = 4 with 8 images\n")


@pytest.mark.parametrize(
    ("train", "steps", "drawn"),
    [
        (Train(scheduler="linear"), 4, "█▆▅▃ peak 0.0001, last 2.5e-05"),
        (Train(), 3, "███ peak 0.0001, last 0.0001"),
        (
            Train(scheduler="constant_with_warmup", warmup_steps=2),
            5,
            "▁▅███ peak 0.0001, last 0.0001",
        ),
    ],
)
def test_the_learning_rate_is_drawn(train, steps, drawn):
    assert curve(steps, train) == drawn


@pytest.mark.parametrize(
    ("params", "number", "row"),
    [
        ("", 9, None),
        (
            "dataset: {caption: {shuffle: true}}",
            65,
            "65 different, the empty one included, of 77 tokens: 39.4 MiB of embeddings",
        ),
        (
            "encode: {max_tokens: 225}",
            9,
            "9 different, the empty one included, of 227 tokens: 16.0 MiB of embeddings",
        ),
        ("base: {model: pocket, revision: none}", 10_000, None),
    ],
)
def test_the_plan_says_how_many_texts_there_are_where_they_are_more_than_captions(
    project, params, number, row
):
    project.params(params + "\n")
    plan = make_plan(resolve(project.root), [1] * 8, project.root, number_of_texts=number)
    assert dict(plan.rows()).get("texts") == row
    assert plan.texts is not None
    assert plan.texts.warning == ""


def test_embeddings_beyond_10_gb_are_warned_of(project):
    project.params("dataset: {caption: {shuffle: true}}\n")
    plan = make_plan(resolve(project.root), [1] * 8, project.root, number_of_texts=80_001)
    assert plan.texts is not None
    assert plan.texts.warning == (
        "80,001 texts take 51 GB of embeddings in build/encoded, and as much again in "
        ".lora/encoded: lower dataset.caption.variants, which is 8"
    )
    project.params("")
    plan = make_plan(resolve(project.root), [1] * 8, project.root, number_of_texts=80_001)
    assert plan.texts is not None
    assert plan.texts.warning.endswith(": see whether there have to be so many pictures")
    assert dict(plan.rows())["texts"].startswith("80,001 different")
