"""The rules between keys: each fires where it should, in these words, and nowhere else."""

from __future__ import annotations

import json

import pytest

from lora_recipes.recipe import belonging
from lora_recipes.recipe.fields import (
    belongings,
    overridable_keys,
    recipe_keys,
    section_texts,
    show,
)
from lora_recipes.recipe.length import problems_for_images
from lora_recipes.recipe.load import load_recipe, resolve, validate_recipe
from lora_recipes.recipe.rules import RULES
from tests.recipe.conftest import message
from tests.recipe.keys import ROWS

DOGS = "prior: {images: 24, prompts: [a dog]"
ONE_LENGTH = "one of train.epochs and train.steps as a number, the other auto"
BRACES = "{trigger} and {class_word}"

BROKEN = [
    (
        "the-square-bucket-lies-within-the-limits",
        "prepare: {buckets: true, resolution: 128, min_bucket: 512}",
        "prepare.min_bucket = 512 beside prepare.resolution = 128",
        "at most 128, the side of the square bucket, or auto",
        "lower it, or remove it",
    ),
    (
        "the-square-bucket-lies-within-the-limits",
        "prepare: {buckets: true, max_bucket: 1000}",
        "prepare.max_bucket = 1000 beside prepare.resolution = 1024",
        "at least 1024, the side of the square bucket, or auto",
        "raise it, or remove it",
    ),
    (
        "the-square-bucket-lies-within-the-limits",
        "prepare: {buckets: true, bucket_step: 512, resolution: 504}",
        "prepare.bucket_step = 512 beside prepare.resolution = 504",
        "a step of which the side of a square has 64 pixels or more",
        "lower prepare.bucket_step, or raise prepare.resolution",
    ),
    (
        "epochs-or-steps",
        "train: {steps: 100}",
        "train.steps = 100 beside train.epochs = 1",
        ONE_LENGTH,
        "write `epochs: auto` to train for exactly so many steps, or `steps: auto`",
    ),
    (
        "epochs-or-steps",
        "train: {epochs: auto}",
        "train.epochs = auto beside train.steps = auto",
        ONE_LENGTH,
        "give train.epochs or train.steps a number",
    ),
    (
        "passes-within-reason",
        "train: {repeats: 100, epochs: 100000}",
        "train.repeats = 100 beside train.epochs = 100000",
        "train.repeats × train.epochs up to 1,000,000",
        "lower one of the two",
    ),
    (
        "warmup-shorter-than-training",
        "train: {epochs: auto, steps: 100, scheduler: linear, warmup_steps: 100}",
        "train.warmup_steps = 100 beside train.steps = 100",
        "fewer than the training's 100 steps",
        "lower train.warmup_steps, or train longer",
    ),
    (
        "warmup-steps-belongs-to-scheduler",
        "train: {warmup_steps: 10}",
        "train.warmup_steps = 10 beside train.scheduler = constant",
        "0, the default, while train.scheduler is constant",
        "write `scheduler: constant_with_warmup`, or remove train.warmup_steps",
    ),
    (
        "restarts-belongs-to-scheduler",
        "train: {restarts: 3, scheduler: cosine}",
        "train.restarts = 3 beside train.scheduler = cosine",
        "1, the default, unless train.scheduler is cosine_with_restarts",
        "write `scheduler: cosine_with_restarts`, or remove train.restarts",
    ),
    (
        "power-belongs-to-scheduler",
        "train: {power: 2}",
        "train.power = 2.0 beside train.scheduler = constant",
        "1.0, the default, unless train.scheduler is polynomial",
        "write `scheduler: polynomial`, or remove train.power",
    ),
    (
        "polynomial-above-its-end",
        "train: {scheduler: polynomial, learning_rate: 1e-7}",
        "train.learning_rate = 1e-07 beside train.scheduler = polynomial",
        "above 1e-07, where polynomial ends",
        "raise it, or choose another train.scheduler",
    ),
    (
        "relative-step-beside-a-rate",
        "train: {adafactor: {relative_step: true}}",
        "train.adafactor.relative_step = true beside train.learning_rate = 0.0001",
        "true with train.learning_rate auto only",
        "write `learning_rate: auto`, or `relative_step: false`",
    ),
    (
        "auto-rate-needs-relative-step",
        "train: {learning_rate: auto}",
        "train.learning_rate = auto beside train.adafactor.relative_step = false",
        "auto with train.adafactor.relative_step true only",
        "write a number, such as 0.0001, or `relative_step: true` under train.adafactor",
    ),
    (
        "auto-rate-needs-relative-step",
        "train: {learning_rate: auto, optimizer: adamw}",
        "train.learning_rate = auto beside train.optimizer = adamw",
        "a number with this optimizer",
        "write a number, such as 0.0001",
    ),
    (
        "auto-rate-needs-constant",
        "train: {learning_rate: auto, scheduler: cosine, adafactor: {relative_step: true}}",
        "train.scheduler = cosine beside train.learning_rate = auto",
        "constant with train.learning_rate auto",
        "write `scheduler: constant`; the optimizer lowers its step size itself",
    ),
    (
        "warmup-init-belongs-to-relative-step",
        "train: {adafactor: {warmup_init: true}}",
        "train.adafactor.warmup_init = true beside train.adafactor.relative_step = false",
        "false, the default, unless train.adafactor.relative_step is true",
        "write `relative_step: true` and `learning_rate: auto`, or "
        "remove train.adafactor.warmup_init",
    ),
    (
        "eps-belongs-to-scale-parameter",
        "train: {adafactor: {eps: [1e-30, 0.01]}}",
        "train.adafactor.eps[1] = 0.01 beside train.adafactor.scale_parameter = false",
        "0.001, the default, unless train.adafactor.scale_parameter is true",
        "write `scale_parameter: true`, or write 0.001 there",
    ),
    (
        "adafactor-belongs-to-optimizer",
        "train: {optimizer: adamw, adafactor: {clip_threshold: 2}}",
        "train.adafactor.clip_threshold = 2.0 beside train.optimizer = adamw",
        "1.0, the default, unless train.optimizer is adafactor",
        "write `optimizer: adafactor`, or remove train.adafactor.clip_threshold",
    ),
    (
        "adamw-belongs-to-optimizer",
        "train: {adamw: {beta2: 0.99}}",
        "train.adamw.beta2 = 0.99 beside train.optimizer = adafactor",
        "0.999, the default, unless train.optimizer is adamw",
        "write `optimizer: adamw`, or remove train.adamw.beta2",
    ),
    (
        "snapshots-ascend",
        "train: {snapshots: [0.5, 0.25, 0.5]}",
        "train.snapshots = [0.5, 0.25, 0.5]",
        "ascending numbers, none twice",
        "write [0.25, 0.5]",
    ),
    (
        "hub-ids-need-a-revision",
        "base: {vae: madebyollin/sdxl-vae-fp16-fix}",
        "base.vae_revision = none beside madebyollin/sdxl-vae-fp16-fix",
        "the 40 hex digits of a commit, where the files are on Hugging Face",
        "copy the commit from https://huggingface.co/madebyollin/sdxl-vae-fp16-fix/commits/main; "
        "a local folder has to exist",
    ),
    (
        "hub-ids-need-a-revision",
        "base: {revision: none}",
        "base.revision = none beside stabilityai/stable-diffusion-xl-base-1.0",
        "the 40 hex digits of a commit, where the files are on Hugging Face",
        "copy the commit from "
        "https://huggingface.co/stabilityai/stable-diffusion-xl-base-1.0/commits/main; "
        "a local folder has to exist",
    ),
    (
        "local-base-exists",
        "base: {model: poket, revision: none}",
        "base.model = poket",
        "a Hugging Face id (owner/name), a folder or .safetensors file that exists, or pocket",
        "did you mean pocket?",
    ),
    (
        "local-base-exists",
        "base: {vae: models/nothing.safetensors}",
        "base.vae = models/nothing.safetensors",
        "a Hugging Face id (owner/name), a folder or .safetensors file that exists, or base",
        "correct the name or the path",
    ),
    (
        "revision-of-another-model",
        "base: {model: someone/finetune}",
        "base.model = someone/finetune",
        "a base.revision of its own; 462165984030… is a commit of "
        "stabilityai/stable-diffusion-xl-base-1.0",
        "copy the commit from https://huggingface.co/someone/finetune/commits/main "
        "into base.revision",
    ),
    (
        "vae-revision-belongs-to-vae",
        f"base: {{vae_revision: {'a' * 40}}}",
        f"base.vae_revision = {'a' * 40} beside base.vae = base",
        "none, the default, while base.vae is base",
        "name a Hugging Face id in base.vae, or remove base.vae_revision",
    ),
    (
        "tokenizer-revision-belongs-to-tokenizer",
        f"base: {{tokenizer_revision: {'a' * 40}}}",
        f"base.tokenizer_revision = {'a' * 40} beside base.tokenizer = base",
        "none, the default, while base.tokenizer is base",
        "name a Hugging Face id in base.tokenizer, or remove base.tokenizer_revision",
    ),
    (
        "fp16-needs-its-own-vae",
        "encode: {vae_precision: fp16}",
        "encode.vae_precision = fp16 beside base.vae = base",
        "fp32 with the base model's own VAE, which overflows in fp16",
        "write `vae_precision: fp32`, or set base.vae to madebyollin/sdxl-vae-fp16-fix",
    ),
    (
        "template-uses-known-words",
        "dataset: {template: 'a photo of {triger}'}",
        "dataset.template = a photo of {triger}",
        BRACES,
        "did you mean trigger?",
    ),
    (
        "prompts-use-known-words",
        "sample: {prompts: [fine, 'a {colour} dog']}",
        "sample.prompts[1] = a {colour} dog",
        BRACES,
        "take out {colour}",
    ),
    (
        "prompts-need-their-trigger",
        "dataset: {trigger: null}\nsample: {prompts: [fine, 'a {trigger}', 'two {trigger}s']}",
        "dataset.trigger = none beside sample.prompts with {trigger}, such as `a {trigger}`",
        "the word for your subject, where sample.prompts hold {trigger}",
        "write, for example, `trigger: zwk` under dataset: in params.yaml, or give prompts "
        "without {trigger} under sample: there",
    ),
    (
        "prefix-and-suffix-use-known-words",
        "dataset: {caption: {prefix: 'a {triger},'}}",
        "dataset.caption.prefix = a {triger},",
        BRACES,
        "did you mean trigger?",
    ),
    (
        "prefix-and-suffix-need-their-trigger",
        "dataset: {caption: {suffix: 'of {trigger}'}}",
        "dataset.trigger = none beside dataset.caption.suffix = of {trigger}",
        "the word for your subject, where dataset.caption.suffix holds {trigger}",
        "write, for example, `trigger: zwk` under dataset: in params.yaml, or take {trigger} out "
        "of dataset.caption.suffix",
    ),
    (
        "keep-tokens-belongs-to-shuffle",
        "dataset: {caption: {keep_tokens: 2}}",
        "dataset.caption.keep_tokens = 2 beside dataset.caption.shuffle = false",
        "0, the default, unless dataset.caption.shuffle is true or dataset.caption.tag_dropout is "
        "above 0",
        "write `shuffle: true`, or remove dataset.caption.keep_tokens",
    ),
    (
        "heldout-and-control-differ",
        "dataset: {heldout: extra, control: extra}",
        "dataset.control = extra beside dataset.heldout = extra",
        "another folder than dataset.heldout",
        "put pictures of other things into a folder of their own, or write none",
    ),
    (
        "masks-have-a-folder-of-their-own",
        "dataset: {masks: extra, control: extra}",
        "dataset.masks = extra beside dataset.control = extra",
        "another folder than dataset.control",
        "put the masks into a folder of their own, or write none",
    ),
    (
        "masks-have-a-folder-of-their-own",
        "dataset: {masks: extra, regularization: extra}",
        "dataset.masks = extra beside dataset.regularization = extra",
        "another folder than dataset.regularization",
        "put the masks into a folder of their own, or write none",
    ),
    (
        "masked-loss-belongs-to-masks",
        "train: {masked_loss: {unmasked_weight: 0.1}}",
        "train.masked_loss.unmasked_weight = 0.1 beside dataset.masks = none",
        "0.0, the default, while dataset.masks is none",
        "write `masks: alpha` or a sub-folder, or remove train.masked_loss.unmasked_weight",
    ),
    (
        "regularization-lies-apart",
        "dataset: {regularization: extra, control: extra}",
        "dataset.regularization = extra beside dataset.control = extra",
        "another folder than dataset.control, whose pictures are never trained on",
        "put regularization pictures into a folder of their own, or write none",
    ),
    (
        "prior-prompts-use-known-words",
        "prior: {images: 24, prompts: [a star, 'a {trigger} toy']}",
        "prior.prompts[1] = a {trigger} toy",
        "{class_word} and {word}",
        "take out {trigger}",
    ),
    (
        "prior-prompts-need-their-class-word",
        "dataset: {class_word: null}\nprior: {images: 24}",
        "dataset.class_word = none beside prior.prompts with {class_word}, such as "
        "`a photo of {class_word}`",
        "what kind of thing your subject is, where prior.prompts hold {class_word}",
        "write, for example, `class_word: dog` under dataset: in params.yaml, or give prompts "
        "without {class_word} under prior: there",
    ),
    (
        "generated-pictures-can-be-prepared",
        "prior: {images: 24, prompts: [a dog], size: [64, 64]}\nprepare: {resolution: 128}",
        "prior.size = [64, 64] beside prepare.resolution = 128",
        "at least [128, 128], or auto, without prepare.upscale",
        "write `size: auto` under prior:, or set prepare.upscale: true, which teaches blur",
    ),
    (
        "generated-pictures-can-be-prepared",
        "prior: {images: 24, prompts: [a dog], size: [1024, 768]}\nprepare: {resolution: 512}",
        "prior.size = [1024, 768] beside prepare.resolution = 512",
        "the shape of [512, 512], or auto, with prepare.crop: none",
        "write `size: auto` under prior:, or set prepare.crop: center (or random)",
    ),
    (
        "prior-settings-belong-to-pictures",
        "train: {prior_loss_weight: 0.5}",
        "train.prior_loss_weight = 0.5 beside dataset.regularization = none and prior.images = 0",
        "1.0, the default, without regularization pictures",
        "set dataset.regularization to the sub-folder that holds some, or prior.images to a "
        "number, or remove train.prior_loss_weight",
    ),
    (
        "seed-belongs-to-crop",
        "prepare: {seed: 3}",
        "prepare.seed = 3 beside prepare.crop = none",
        "0, the default, unless prepare.crop is random",
        "write `crop: random`, or remove prepare.seed",
    ),
    (
        "negative-prompt-belongs-to-guidance",
        "sample: {negative_prompt: blur, guidance: 1}",
        "sample.negative_prompt = blur beside sample.guidance = 1.0",
        "empty, the default, unless sample.guidance is above 1",
        "raise sample.guidance, or remove sample.negative_prompt",
    ),
    (
        "no-fp16-on-a-cpu",
        "compute: {precision: fp16, device: cpu}",
        "compute.precision = fp16 beside compute.device = cpu",
        "fp32 or bf16 on a CPU",
        "write `precision: fp32`",
    ),
]

WARNED = [
    (
        "tag-dropout-keeps-the-trigger",
        "dataset: {trigger: zwk, caption: {tag_dropout: 0.2}}",
        "dataset.caption.tag_dropout = 0.2 beside dataset.trigger = zwk and "
        "dataset.caption.keep_tokens = 0",
        "0 where nothing keeps the trigger: it is left out like any other tag",
        "write `keep_tokens: 1` and the trigger as each caption's first tag, or "
        "`prefix: '{trigger},'`",
    ),
    (
        "regularization-that-weighs-nothing",
        "train: {prior_loss_weight: 0}\ndataset: {regularization: reg}",
        "train.prior_loss_weight = 0.0",
        "above 0 is advised: at 0, regularization pictures are not trained on",
        "write 1, or take dataset.regularization and prior.images out",
    ),
    (
        "constant-with-warmup-of-nothing",
        "train: {scheduler: constant_with_warmup}",
        "train.scheduler = constant_with_warmup beside train.warmup_steps = 0",
        "constant_with_warmup with train.warmup_steps above 0",
        "give train.warmup_steps a number, or write `scheduler: constant`",
    ),
    (
        "scale-parameter-is-slow",
        "train: {adafactor: {scale_parameter: true}}",
        "train.adafactor.scale_parameter = true",
        "false is advised: weights that start at zero move about 1000 times slower",
        "write `scale_parameter: false`",
    ),
]


@pytest.mark.parametrize("case", BROKEN, ids=lambda case: case[0])
def test_a_broken_rule_is_told(project, case):
    _, written, what, allowed, fix = case
    project.params(written + "\n")
    assert message(lambda: resolve(project.root)) == (
        f"params.yaml:3: {what}\n  allowed: {allowed}\n  fix:     {fix}"
    )


@pytest.mark.parametrize("case", WARNED, ids=lambda case: case[0])
def test_a_doubtful_setting_is_warned_about(project, case):
    _, written, what, allowed, fix = case
    project.params(written + "\n")
    assert [str(warning) for warning in resolve(project.root).warnings] == [
        f"params.yaml:3: {what}\n  allowed: {allowed}\n  fix:     {fix}"
    ]


def test_every_rule_is_tested_here():
    tested = {case[0] for case in BROKEN + WARNED}
    declared = {rule.id for rule in belonging.rules()}
    assert {rule.id for rule in RULES} == tested | declared
    assert {rule.id for rule in RULES if rule.level == "warning"} == {case[0] for case in WARNED}


DECLARED = [
    (key, owner)
    for name, owner in belongings().items()
    for key in overridable_keys().values()
    if f"{key.name}.".startswith(f"{name}.")
]


@pytest.mark.parametrize(("key", "owner"), DECLARED, ids=[key.name for key, _ in DECLARED])
def test_a_key_stays_at_its_default_without_the_one_that_it_belongs_to(project, key, owner):
    other = overridable_keys()[owner.key]
    values = [other.default, *other.words, owner.above, True, False]
    unmet = next(value for value in values if value is not None and not owner.met_by(value))
    given = {row.key: row.value for row in ROWS}[key.name]
    if owner.position is not None:
        given = [0.5 if n == owner.position else item for n, item in enumerate(key.default)]

    project.params(nested({key.name: given, owner.key: unmet}))
    told = message(lambda: resolve(project.root)).splitlines()

    shown = key.name if owner.position is None else f"{key.name}[{owner.position}]"
    [at] = [n for n, line in enumerate(told) if f" beside {owner.key} = {show(unmet)}" in line]
    assert told[at].startswith(f"params.yaml:3: {shown} = ")
    assert told[at + 1].startswith("  allowed: ")
    assert told[at + 1].endswith(f", the default, {belonging.condition(owner)}")
    assert told[at + 2].endswith((f", or remove {key.name}", " there"))
    assert owner.key.rpartition(".")[2] in told[at + 2]


def nested(settings: dict[str, object]) -> str:
    """Dotted settings as YAML, a section a line."""
    tree: dict[str, object] = {}
    for name, value in settings.items():
        *sections, leaf = name.split(".")
        place = tree
        for section in sections:
            place = place.setdefault(section, {})
        place[leaf] = value
    return "\n".join(f"{name}: {json.dumps(section)}" for name, section in tree.items())


def test_of_a_sub_section_that_is_not_used_no_key_is_told_twice(project):
    project.params("train: {optimizer: adamw, adafactor: {warmup_init: true}}\n")
    assert message(lambda: resolve(project.root)) == (
        "params.yaml:3: train.adafactor.warmup_init = true beside train.optimizer = adamw\n"
        "  allowed: false, the default, unless train.optimizer is adafactor\n"
        "  fix:     write `optimizer: adafactor`, or remove train.adafactor.warmup_init"
    )


def test_every_rule_names_keys_that_exist():
    for rule in RULES:
        assert set(rule.keys) <= {*recipe_keys(), *section_texts()}, rule.id


@pytest.mark.parametrize(
    "written",
    [
        "train: {learning_rate: auto, adafactor: {relative_step: true, warmup_init: true}}",
        "train: {epochs: auto, steps: 100, scheduler: linear, warmup_steps: 99}",
        "train: {scheduler: cosine_with_restarts, restarts: 3}",
        "train: {scheduler: polynomial, power: 2}",
        "train: {optimizer: adamw, adamw: {beta2: 0.99}}",
        "train: {adamw: {beta2: 0.999}}",
        "train: {adafactor: {eps: [1e-20, 0.001]}}",
        "prepare: {seed: 3, crop: random}",
        f"{DOGS}, size: [1024, 768]}}\nprepare: {{resolution: 512, crop: center}}",
        f"{DOGS}, size: [1024, 768]}}\nprepare: {{resolution: 512, buckets: true}}",
        f"{DOGS}, size: [64, 64]}}\nprepare: {{resolution: 128, upscale: true}}",
        "sample: {prompts: ['{trigger} and {class_word}', ':{']}\ndataset: {trigger: x}",
        "encode: {vae_precision: fp16}\nbase: {vae: ./vae}",
        "compute: {precision: fp16, device: auto}",
        "base: {model: pocket, revision: none}",
        "base: {model: models/local.safetensors, revision: none}",
    ],
)
def test_a_setting_that_fits_is_not_complained_about(project, written):
    project.file("models/local.safetensors", "")
    (project.root / "vae").mkdir()
    project.params(written + "\n")
    assert resolve(project.root).warnings == ()


def test_a_local_folder_needs_no_revision(project):
    (project.root / "models" / "mine").mkdir(parents=True)
    project.params("base: {model: models/mine, revision: none}\n")
    assert resolve(project.root).recipe.base.revision == "none"


def test_a_recipe_may_leave_the_trigger_to_its_user(project):
    project.recipe("sample: {prompts: ['a photo of {trigger}']}\n")
    assert validate_recipe(project.root, "mine") == []
    project.params("dataset: {trigger: zwk}\n")
    assert resolve(project.root).recipe.dataset.trigger == "zwk"


def test_a_trigger_that_a_recipe_leaves_out_is_asked_for_in_params(project):
    project.recipe("dataset: {trigger: none}\nsample: {prompts: ['a {trigger}']}\n")
    project.params("lora: {rank: 8}\n")
    assert message(lambda: resolve(project.root)).startswith("params.yaml: dataset.trigger = none")
    project.params("dataset:\n  heldout: null\n  trigger: null\n")
    assert message(lambda: resolve(project.root)).startswith(
        "params.yaml:5: dataset.trigger = none"
    )


def test_a_rule_is_reported_where_another_of_its_keys_is_set(project):
    project.params("train:\n  epochs: auto\n")
    project.recipe("train:\n  steps: auto\n")
    assert message(lambda: resolve(project.root)).startswith("params.yaml:4: train.epochs = auto")
    project.recipe()
    project.params("train:\n  steps: auto\n  epochs: auto\n")
    assert message(lambda: resolve(project.root)).startswith("params.yaml:5: train.epochs = auto")
    project.params(
        "encode:\n  vae_precision: fp32\ntrain:\n  optimizer: adamw\n  learning_rate: auto\n"
    )
    assert message(lambda: resolve(project.root)).startswith("params.yaml:7: train.learning_rate")


def test_a_rule_is_reported_where_the_user_broke_it_and_not_in_the_recipe(project):
    project.recipe("train:\n  steps: 300\n  epochs: auto\n")
    project.params("lora: {rank: 8}\ntrain:\n  epochs: 3\n")
    assert message(lambda: resolve(project.root)) == (
        "params.yaml:5: train.steps = 300 beside train.epochs = 3\n"
        "  allowed: one of train.epochs and train.steps as a number, the other auto\n"
        "  fix:     write `epochs: auto` to train for exactly so many steps, or `steps: auto`"
    )


def test_too_few_samples_for_one_step_are_told_once_images_are_counted(project):
    project.recipe("train: {repeats: 1, gradient_accumulation: 8}\n")
    loaded = load_recipe(project.root, "mine")
    assert "\n".join(map(str, problems_for_images(loaded.recipe.train, [1] * 5, loaded.where))) == (
        "recipes/mine.yaml:5: zero full optimizer steps: 5 images × 1 repeats × 1 epochs = 5 "
        "samples\n"
        "  allowed: at least batch_size 1 × gradient_accumulation 8 = 8 samples\n"
        "  fix:     raise train.repeats or train.epochs, or lower train.gradient_accumulation"
    )
    assert problems_for_images(loaded.recipe.train, [1] * 8, loaded.where) == []


def test_a_warmup_longer_than_the_training_is_told_once_images_are_counted(project):
    project.recipe("train: {scheduler: linear, warmup_steps: 100}\n")
    loaded = load_recipe(project.root, "mine")
    assert "\n".join(map(str, problems_for_images(loaded.recipe.train, [1] * 5, loaded.where))) == (
        "recipes/mine.yaml:5: train.warmup_steps = 100 with 5 images\n"
        "  allowed: fewer than the training's 100 steps\n"
        "  fix:     lower train.warmup_steps, or train longer"
    )
    assert problems_for_images(loaded.recipe.train, [1] * 6, loaded.where) == []


def test_snapshots_that_fall_on_one_step_are_told_once_images_are_counted(project):
    project.recipe("train: {repeats: 1, gradient_accumulation: 1, snapshots: [0.1, 0.5]}\n")
    loaded = load_recipe(project.root, "mine")
    [problem] = problems_for_images(loaded.recipe.train, [1] * 3, loaded.where)
    assert problem.what == "train.snapshots = [0.1, 0.5] with 3 images"
    assert problems_for_images(loaded.recipe.train, [1] * 10, loaded.where) == []
