"""What a training will cost, counted."""

from __future__ import annotations

import json
import struct
from collections import Counter

import pytest

from lora_recipes.errors import Place
from lora_recipes.machine import Device
from lora_recipes.plan.memory import SDXL_UNET
from lora_recipes.plan.prior import Given, size_of_generated
from lora_recipes.plan.shapes import POCKET, adapted_shapes, unet_config, weights_per_rank
from lora_recipes.plan.training import curve, make_plan
from lora_recipes.plan.work import forward
from lora_recipes.recipe.identity import present
from lora_recipes.recipe.load import resolve
from lora_recipes.recipe.model import SECTIONS
from lora_recipes.recipe.sections.train import Train
from lora_recipes.recipe.words import with_word
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


def test_regularization_pictures_are_told_with_what_they_cost(project):
    project.params(
        "prior: {images: 30, guidance: 1}\ndataset: {class_word: dog, regularization: reg}\n"
    )
    plan = make_plan(
        resolve(project.root), [1] * 10, project.root, device=Device("CPU"), given=Given([1] * 10)
    )
    rows = dict(plan.rows())
    assert rows["regularization"] == (
        "40 pictures (10 given, 30 generated), 1 beside each batch of 1, each seen about 20 times"
    )
    assert rows["generate"].startswith(
        "30 regularization pictures by the base, from 1 prompt, in the stage prior: roughly "
    )
    without = make_plan(_without(project), [1] * 10, project.root, device=Device("CPU"))
    assert plan.duration is not None
    assert without.duration is not None
    assert plan.duration.low == 2 * without.duration.low
    assert plan.length == without.length


MANY = "dataset: {class_word: dog}\nprior: {prompts: ['a {word} {class_word}'], "


def test_regularization_pictures_that_are_never_seen_are_warned_of(project):
    def plan(params, given=0):
        project.params(params)
        return make_plan(resolve(project.root), [1] * 10, project.root, given=Given([1] * given))

    assert plan(MANY + "images: 800}\n").warnings == []
    more = plan(MANY + "images: 5000}\n")
    assert more.warnings == [
        "prior.images = 5000: the training looks at a regularization picture 800 times, so of "
        "5,000 at least 4,200 are never seen: lower it to 800, or train longer"
    ]
    assert dict(more.rows())["regularization"] == (
        "5,000 pictures, 1 beside each batch of 1, at most 800 of them seen"
    )
    assert plan("dataset: {regularization: reg}\n", 801).warnings == [
        "dataset.regularization = reg: the training looks at a regularization picture 800 times, "
        "so of 801 at least 1 are never seen: take some out, or train longer"
    ]
    off = "dataset: {regularization: reg}\ntrain: {prior_loss_weight: 0}\n"
    assert plan(off, 801).warnings == []


def test_the_prompts_of_generated_pictures_are_texts_to_encode_too(project):
    project.params(MANY + "images: 9000}\nprepare: {resolution: 512}\n")
    resolved = resolve(project.root)
    plan = make_plan(resolved, [1] * 8, project.root, number_of_texts=9)
    assert plan.texts is not None
    prompts = [with_word("a {word} dog", it) for it in range(9000)]
    assert plan.texts.number == 9 + len({*prompts}) > 8000
    assert dict(plan.rows())["texts"].endswith("of 77 tokens: 5.2 GiB of embeddings")
    assert make_plan(resolved, [1] * 8, project.root).texts is None


def _without(project):
    project.params("")
    return resolve(project.root)


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


PHONE = {
    **{f"up/{number}.jpg": (3024, 4032) for number in range(4)},
    "across.jpg": (4032, 3024),
    "wide.jpg": (8000, 1000),
}
SHAPES = "prepare: {buckets: true, crop: center}\n"


def test_with_buckets_the_plan_shows_them_what_is_cropped_and_the_exact_steps(project):
    project.params(SHAPES + "train: {repeats: 30, batch_size: 8, gradient_accumulation: 1}\n")
    plan = make_plan(resolve(project.root), [1, 1, 1, 3, 1, 2], sizes=PHONE, device=Device("x"))
    rows = [line for line in str(plan).splitlines() if not line.startswith(("time", "learning"))]
    assert rows[:6] == [
        "samples        6 images (9 with their folders' repeats) × 30 repeats × 1 epoch = 270",
        "steps          35 optimizer steps of 8 samples",  # 180, 30 and 60 samples: 23 + 4 + 8
        "buckets        896×1152  4 pictures",
        "               1152×896  1 picture",
        "               2048×512  1 picture",
        "cropped        wide.jpg 50 % left and right, across.jpg 4 % left and right, "
        "up/0.jpg 4 % above and below; 3 others 4 % at most",
    ]


def test_where_the_shapes_are_not_known_the_number_of_steps_is_about_right(project):
    def steps(train: str) -> str:
        project.params(f"{SHAPES}train: {{{train}}}\n")
        return str(make_plan(resolve(project.root), [1] * 8)).splitlines()[1]

    assert steps("batch_size: 8") == "steps          about 20 optimizer steps of 32 samples"
    assert steps("batch_size: 1") == "steps          160 optimizer steps of 4 samples"
    assert steps("batch_size: 8, epochs: auto, steps: 7") == (
        "steps          7 optimizer steps of 32 samples"
    )


def test_without_buckets_the_plan_says_what_a_crop_costs(project):
    project.params("prepare: {crop: center}\n")
    sizes = {"a.jpg": (4000, 2000), "b.jpg": (1024, 1024)}
    lines = str(make_plan(resolve(project.root), [1, 1], sizes=sizes)).splitlines()
    assert [line for line in lines if line.startswith(("buckets", "cropped"))] == [
        "cropped        a.jpg 50 % left and right"
    ]


def test_memory_is_of_the_largest_bucket_and_time_of_the_mean(project, monkeypatch):
    monkeypatch.delenv("DVC_ROOT", raising=False)
    project.params(SHAPES)
    resolved, sizes = resolve(project.root), {"a.jpg": (3024, 4032), "b.jpg": (8000, 1000)}
    card = Device("NVIDIA RTX 3070", 8 * 2**30)
    plan = make_plan(resolved, [3, 1], project.root, sizes=sizes, device=card)
    usual = make_plan(resolved, [3, 1], project.root, device=card)
    one, other = 896 * 1152, 2048 * 512
    assert plan.memory.activations == usual.memory.activations * other // 1024**2
    assert plan.shapes.mean == (3 * one + other) // 4
    run = {
        "seconds": 300, "steps": 100, "peak_bytes": 7 * 2**30, "device_name": card.name,
        "settings": present({name: getattr(resolved.recipe, name) for name in SECTIONS}),
        "processes": 1, "shapes": [[896, 1152, 240], [2048, 512, 80]],
    }  # fmt: skip
    project.file(".lora/runs/a.json", json.dumps(run))
    again = make_plan(resolved, [3, 1], project.root, sizes=sizes, device=card)
    assert again.duration.source == "your run of the same shape on this machine"
    others = make_plan(resolved, [1, 1], project.root, sizes=sizes, device=card)
    assert others.duration.source.startswith("scaled by its operations")


def test_memory_and_time_know_the_shapes_of_regularization_pictures_too(project, monkeypatch):
    monkeypatch.delenv("DVC_ROOT", raising=False)
    small, large = {"a.jpg": (200, 200)}, {"reg/b.jpg": (600, 600), "reg/c.jpg": (300, 300)}
    card = Device("NVIDIA RTX 3090", 24 * 2**30)

    def plan(params, sizes, **given):
        project.params(params)
        resolved = resolve(project.root)
        return make_plan(resolved, [1], project.root, sizes=sizes, device=card, **given)

    def beside(size):
        keeping = "dataset: {regularization: reg}\ntrain: {batch_size: 2, repeats: 90, "
        params = f"{SHAPES}{keeping}prior_batch_size: {size}}}\n"
        return plan(params, small, given=Given([3, 1], large))

    alone = {
        size: plan(f"{SHAPES}train: {{batch_size: {size}, repeats: {45 * size}}}\n", pictures)
        for size, pictures in ((1, {"b": (576, 576)}), (2, small))
    }
    activations = {size: each.memory.activations for size, each in alone.items()}
    one, two = beside(1), beside(2)
    assert one.memory.activations == activations[1]  # 576², not twice 192²
    assert two.memory.activations == pytest.approx(2 * activations[1], abs=2)
    mean = (3 * 576**2 + 256**2) / 4
    work = (2 * forward(192**2) + forward(round(mean))) / (2 * forward(192**2))
    assert one.duration.low == pytest.approx(work * alone[2].duration.low)


def test_memory_of_a_small_regularization_batch_is_the_subjects(project):
    keeping = "dataset: {regularization: reg}\ntrain: {batch_size: 4, prior_batch_size: 1}\n"
    project.params(SHAPES + keeping)
    resolved, own = resolve(project.root), {"a.jpg": (3000, 3000)}
    sizes = {"reg/b.jpg": (600, 600)}
    plan = make_plan(resolved, [1], project.root, sizes=own, given=Given([1], sizes))
    assert plan.memory == make_plan(resolved, [1], project.root, sizes=own).memory
    project.params("prior: {images: 3, size: [512, 512]}\ndataset: {class_word: x}\n" + SHAPES)
    generated = make_plan(resolve(project.root), [1], project.root, sizes={"a": (200, 200)})
    alone = make_plan(_with(project, SHAPES), [1], project.root, sizes={"a": (512, 512)})
    assert generated.memory == alone.memory


def test_a_run_of_the_same_sizes_beside_regularization_pictures_tells_the_time(
    project, monkeypatch
):
    monkeypatch.delenv("DVC_ROOT", raising=False)
    resolved = _with(project, SHAPES + "dataset: {regularization: reg}\n")
    card = Device("NVIDIA RTX 3070", 8 * 2**30)
    run = {
        "seconds": 300, "steps": 100, "peak_bytes": None, "device_name": card.name,
        "settings": present({name: getattr(resolved.recipe, name) for name in SECTIONS}),
        "processes": 1, "shapes": [[192, 192, 80]],
    }  # fmt: skip
    project.file(".lora/runs/a.json", json.dumps(run))
    plan = make_plan(
        resolved, [1], project.root, sizes={"a": (200, 200)}, device=card,
        given=Given([1], {"reg/b": (600, 600)}),
    )  # fmt: skip
    assert plan.duration is not None
    assert plan.duration.source == "your run of the same shape on this machine"


def _with(project, params):
    project.params(params)
    return resolve(project.root)


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


@pytest.mark.parametrize(
    ("size", "prepare", "allowed"),
    [
        ([64, 512], "bucket_step: 128", "[512, 2048]"),
        ([512, 4096], "crop: none", "[512, 2048]"),
        ("auto", "resolution: [512, 4096]", "[768, 2688]"),
    ],
)
def test_with_buckets_a_size_of_generated_pictures_that_none_is_for_is_told(
    project, size, prepare, allowed
):
    def told(size):
        project.params(
            f"dataset: {{class_word: x}}\nprepare: {{buckets: true, {prepare}}}\n"
            f"prior:\n  images: 9\n  size: {size}\n"
        )
        return "\n".join(map(str, make_plan(resolve(project.root), [1] * 9).problems))

    assert told(size).startswith(f"params.yaml:7: prior.size = {size}: pictures ")
    assert told(size).endswith(
        f"\n  fix:     set prior.size to {allowed}: nothing of it is cropped or enlarged"
    )
    assert told(allowed) == ""


def test_without_generated_pictures_their_size_is_nobodys_concern(project):
    recipe = _with(project, "prepare: {buckets: true, resolution: [512, 4096]}\n").recipe
    assert size_of_generated(recipe, Place("params.yaml")) == []
