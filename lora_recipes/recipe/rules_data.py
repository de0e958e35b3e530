"""The rules of words, of folders with pictures, and of the shapes that pictures keep."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from lora_recipes.recipe.bucket_limits import SMALLEST, bucket_limits
from lora_recipes.recipe.cover import fits, is_smaller
from lora_recipes.recipe.fields import show
from lora_recipes.recipe.model import Recipe
from lora_recipes.recipe.near import did_you_mean
from lora_recipes.recipe.rule import Finding, rule
from lora_recipes.recipe.size import size_of
from lora_recipes.recipe.words import PLACEHOLDERS, PRIOR_PLACEHOLDERS, placeholders


@rule("dataset.template")
def template_uses_known_words(recipe: Recipe, root: Path) -> Iterator[Finding]:
    """In `dataset.template`, braces hold `trigger` or `class_word`. That these are given is asked
    for only if an image has no caption of its own."""
    yield from _odd_braces("dataset.template", recipe.dataset.template, None)


@rule("dataset.caption.prefix", "dataset.caption.suffix")
def prefix_and_suffix_use_known_words(recipe: Recipe, root: Path) -> Iterator[Finding]:
    """In `dataset.caption.prefix` and `.suffix`, braces hold `trigger` or `class_word`."""
    for key, text in _around(recipe):
        yield from _odd_braces(key, text, None)


@rule("dataset.caption.prefix", "dataset.caption.suffix", "dataset.trigger", moment="run")
def prefix_and_suffix_need_their_trigger(recipe: Recipe, root: Path) -> Iterator[Finding]:
    """A prefix or suffix with `{trigger}` needs `dataset.trigger`. A recipe may leave it to its
    user; a run may not."""
    for key, text in _around(recipe):
        if "trigger" in placeholders(text) and recipe.dataset.trigger == "none":
            yield Finding(
                "dataset.trigger",
                f"the word for your subject, where {key} holds {{trigger}}",
                "write, for example, `trigger: zwk` under dataset: in params.yaml, or take "
                f"{{trigger}} out of {key}",
                f" beside {key} = {show(text)}",
            )


@rule(
    "dataset.caption.tag_dropout",
    "dataset.caption.keep_tokens",
    "dataset.caption.keep_tokens_separator",
    "dataset.caption.prefix",
    "dataset.trigger",
    level="warning",
)
def tag_dropout_keeps_the_trigger(recipe: Recipe, root: Path) -> Iterator[Finding]:
    """Tags that are left out should not be the trigger: `dataset.caption.keep_tokens` or
    `.keep_tokens_separator` keeps it, or it stands in `.prefix`."""
    settings, trigger = recipe.dataset.caption, recipe.dataset.trigger
    kept = settings.keep_tokens > 0 or settings.keep_tokens_separator != "none"
    in_front = trigger in settings.prefix or "trigger" in placeholders(settings.prefix)
    if settings.tag_dropout > 0 and trigger != "none" and not kept and not in_front:
        yield Finding(
            "dataset.caption.tag_dropout",
            "0 where nothing keeps the trigger: it is left out like any other tag",
            "write `keep_tokens: 1` and the trigger as each caption's first tag, or "
            "`prefix: '{trigger},'`",
            f" beside dataset.trigger = {show(trigger)} and dataset.caption.keep_tokens = 0",
        )


@rule("sample.prompts")
def prompts_use_known_words(recipe: Recipe, root: Path) -> Iterator[Finding]:
    """In `sample.prompts`, braces hold `trigger` or `class_word`."""
    for position, prompt in enumerate(recipe.sample.prompts):
        yield from _odd_braces("sample.prompts", prompt, position)


@rule("sample.prompts", "dataset.trigger", moment="run")
def prompts_need_their_trigger(recipe: Recipe, root: Path) -> Iterator[Finding]:
    """A prompt with `{trigger}` needs `dataset.trigger`. A recipe may leave it to its user; a run
    may not. A class word may be missing: its place stays empty."""
    prompts = [text for text in recipe.sample.prompts if "trigger" in placeholders(text)]
    if prompts and recipe.dataset.trigger == "none":
        yield Finding(
            "dataset.trigger",
            "the word for your subject, where sample.prompts hold {trigger}",
            "write, for example, `trigger: zwk` under dataset: in params.yaml, or give prompts "
            "without {trigger} under sample: there",
            f" beside sample.prompts with {{trigger}}, such as `{show(prompts[0])}`",
        )


@rule("dataset.heldout", "dataset.control")
def heldout_and_control_differ(recipe: Recipe, root: Path) -> Iterator[Finding]:
    """Held-out pictures and pictures of other things lie in two folders."""
    folder = recipe.dataset.control
    if folder != "none" and folder == recipe.dataset.heldout:
        yield Finding(
            "dataset.control",
            "another folder than dataset.heldout",
            "put pictures of other things into a folder of their own, or write none",
            f" beside dataset.heldout = {folder}",
        )


@rule("dataset.masks", "dataset.heldout", "dataset.control", "dataset.regularization")
def masks_have_a_folder_of_their_own(recipe: Recipe, root: Path) -> Iterator[Finding]:
    """A sub-folder of masks holds nothing else: no held-out, control or regularization pictures."""
    dataset = recipe.dataset
    for role in ("heldout", "control", "regularization"):
        folder = getattr(dataset, role)
        if dataset.masks not in {"none", "alpha"} and folder == dataset.masks:
            yield Finding(
                "dataset.masks",
                f"another folder than dataset.{role}",
                "put the masks into a folder of their own, or write none",
                f" beside dataset.{role} = {folder}",
            )


@rule("prepare.min_bucket", "prepare.max_bucket", "prepare.bucket_step", "prepare.resolution")
def the_square_bucket_lies_within_the_limits(recipe: Recipe, root: Path) -> Iterator[Finding]:
    """With `prepare.buckets`, a square of `prepare.resolution`'s area, its side in whole steps, is
    no smaller than `prepare.min_bucket` and no larger than `prepare.max_bucket`."""
    prepare = recipe.prepare
    if not prepare.buckets:
        return
    limits = bucket_limits(prepare)
    beside = f" beside prepare.resolution = {show(prepare.resolution)}"
    if limits.square < SMALLEST:
        yield Finding(
            "prepare.bucket_step",
            f"a step of which the side of a square has {SMALLEST} pixels or more",
            "lower prepare.bucket_step, or raise prepare.resolution",
            beside,
        )
    elif limits.low > limits.square:
        allowed = f"at most {limits.square}, the side of the square bucket, or auto"
        yield Finding("prepare.min_bucket", allowed, "lower it, or remove it", beside)
    elif limits.high < limits.square:
        allowed = f"at least {limits.square}, the side of the square bucket, or auto"
        yield Finding("prepare.max_bucket", allowed, "raise it, or remove it", beside)


@rule("dataset.regularization", "dataset.heldout", "dataset.control")
def regularization_lies_apart(recipe: Recipe, root: Path) -> Iterator[Finding]:
    """Regularization pictures, which are trained on, lie in another folder than pictures that
    never are."""
    dataset = recipe.dataset
    for key in ("heldout", "control"):
        if dataset.regularization != "none" and dataset.regularization == getattr(dataset, key):
            yield Finding(
                "dataset.regularization",
                f"another folder than dataset.{key}, whose pictures are never trained on",
                "put regularization pictures into a folder of their own, or write none",
                f" beside dataset.{key} = {dataset.regularization}",
            )


@rule("prior.prompts", "prior.images")
def prior_prompts_use_known_words(recipe: Recipe, root: Path) -> Iterator[Finding]:
    """In `prior.prompts`, braces hold `class_word` or `word`: regularization pictures are of what
    is not your subject, so the trigger has no place in them."""
    for position, prompt in enumerate(recipe.prior.prompts):
        yield from _odd_braces("prior.prompts", prompt, position, PRIOR_PLACEHOLDERS)


@rule("prior.images", "prior.prompts", "dataset.class_word", moment="run")
def prior_prompts_need_their_class_word(recipe: Recipe, root: Path) -> Iterator[Finding]:
    """To generate regularization pictures of `{class_word}`, `dataset.class_word` has to be given:
    with its place empty, they would be pictures of anything."""
    prompts = [text for text in recipe.prior.prompts if "class_word" in placeholders(text)]
    if recipe.prior.images and prompts and recipe.dataset.class_word == "none":
        yield Finding(
            "dataset.class_word",
            "what kind of thing your subject is, where prior.prompts hold {class_word}",
            "write, for example, `class_word: dog` under dataset: in params.yaml, or give prompts "
            "without {class_word} under prior: there",
            f" beside prior.prompts with {{class_word}}, such as `{show(prompts[0])}`",
        )


@rule("train.prior_loss_weight", "train.prior_batch_size", "dataset.regularization", "prior.images")
def prior_settings_belong_to_pictures(recipe: Recipe, root: Path) -> Iterator[Finding]:
    """`train.prior_loss_weight` and `train.prior_batch_size` belong to regularization pictures,
    given in `dataset.regularization` or generated by `prior.images`: without them they would be
    ignored."""
    if recipe.prior.images or recipe.dataset.regularization != "none":
        return
    for key, default in (("prior_loss_weight", 1.0), ("prior_batch_size", "auto")):
        if getattr(recipe.train, key) != default:
            yield Finding(
                f"train.{key}",
                f"{show(default)}, the default, without regularization pictures",
                "set dataset.regularization to the sub-folder that holds some, or prior.images to "
                f"a number, or remove train.{key}",
                " beside dataset.regularization = none and prior.images = 0",
            )


@rule("train.prior_loss_weight", "dataset.regularization", "prior.images", level="warning")
def regularization_that_weighs_nothing(recipe: Recipe, root: Path) -> Iterator[Finding]:
    """With `train.prior_loss_weight: 0` regularization pictures are prepared and encoded, and then
    not trained on."""
    given = recipe.prior.images or recipe.dataset.regularization != "none"
    if given and recipe.train.prior_loss_weight == 0:
        yield Finding(
            "train.prior_loss_weight",
            "above 0 is advised: at 0, regularization pictures are not trained on",
            "write 1, or take dataset.regularization and prior.images out",
        )


@rule(
    "prior.size",
    "prior.images",
    "prepare.resolution",
    "prepare.buckets",
    "prepare.crop",
    "prepare.upscale",
)
def generated_pictures_can_be_prepared(recipe: Recipe, root: Path) -> Iterator[Finding]:
    """Without `prepare.buckets`, pictures of `prior.size` are no smaller than `prepare.resolution`,
    unless `prepare.upscale`, and of its shape, unless `prepare.crop`: prepare would refuse them
    after all were generated."""
    prior, prepare = recipe.prior, recipe.prepare
    if not prior.images or prior.size == "auto" or prepare.buckets:
        return
    size, target = prior.size, size_of(prepare.resolution)
    beside = f" beside prepare.resolution = {show(prepare.resolution)}"
    if not prepare.upscale and is_smaller(size, target):
        yield Finding(
            "prior.size",
            f"at least {show(target)}, or auto, without prepare.upscale",
            "write `size: auto` under prior:, or set prepare.upscale: true, which teaches blur",
            beside,
        )
    elif prepare.crop == "none" and not fits(size, target):
        yield Finding(
            "prior.size",
            f"the shape of {show(target)}, or auto, with prepare.crop: none",
            "write `size: auto` under prior:, or set prepare.crop: center (or random)",
            beside,
        )


def _around(recipe: Recipe) -> Iterator[tuple[str, str]]:
    yield "dataset.caption.prefix", recipe.dataset.caption.prefix
    yield "dataset.caption.suffix", recipe.dataset.caption.suffix


def _odd_braces(
    key: str, text: str, position: int | None, known: tuple[str, ...] = PLACEHOLDERS
) -> Iterator[Finding]:
    odd = [name for name in placeholders(text) if name not in known]
    if odd:
        names = ", ".join(f"{{{show(name)}}}" for name in odd)
        yield Finding(
            key,
            " and ".join(f"{{{name}}}" for name in known),
            did_you_mean(odd[0], known, f"take out {names}"),
            position=position,
        )
