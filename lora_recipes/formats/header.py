"""What an adapter's header says, in words: ours and that of other trainers.

Each answer names the field that it comes from. What no field says is not guessed.

Sources: kohya-ss/sd-scripts, train_network.py (`ss_*`); Stability-AI/ModelSpec 1.0.1;
Nerogar/OneTrainer (`ot_*`); ostris/ai-toolkit (`software`, `training_info`);
huggingface/diffusers (`lora_adapter_metadata`).
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from lora_recipes.tree import flat, is_deeper

OURS = "lora_recipes."

DEEPEST = 64
"""Lists and objects inside one another in a field's JSON; no trainer writes half as many."""


@dataclass(frozen=True)
class HeaderAnswer:
    """An answer, and the header's field that gives it."""

    value: str
    field: str


_TRAINERS = (
    ("lora_recipes.hash", "lora-recipes"),
    ("ot_revision", "OneTrainer"),
    ("ss_sd_scripts_commit_hash", "kohya sd-scripts"),
    ("ss_network_module", "kohya sd-scripts, or a trainer that writes its fields"),
    ("lora_adapter_metadata", "diffusers, or a trainer that writes its field"),
)
"""Fields that one trainer's files have. Ours carry kohya's too: the first that is there counts."""

_QUESTIONS: dict[str, tuple[str, ...]] = {
    "base": (
        "lora_recipes.base:model",
        "ss_sd_model_name",
        "ot_config:base_model_name",
        "ss_base_model_version",
        "modelspec.architecture",
    ),
    "base hash": ("lora_recipes.base_identity", "ss_new_sd_model_hash", "ss_sd_model_hash"),
    "data": ("lora_recipes.manifest", "ss_dataset_dirs", "ss_datasets"),
    "rank": (
        "lora_recipes.lora:rank",
        "ss_network_dim",
        "ot_config:lora_rank",
        "lora_adapter_metadata:*r rank_pattern",
    ),
    "alpha": (
        "lora_recipes.lora:alpha",
        "ss_network_alpha",
        "ot_config:lora_alpha",
        "lora_adapter_metadata:*lora_alpha alpha_pattern use_rslora",
    ),
    "learning rate": (
        "lora_recipes.train:learning_rate",
        "ss_learning_rate",
        "ot_config:learning_rate",
    ),
    "optimizer": ("lora_recipes.train:optimizer", "ss_optimizer", "ot_config:optimizer/optimizer"),
    "steps": ("lora_recipes.step", "ss_steps", "training_info:step"),
    "of steps": ("ss_max_train_steps",),
    "epochs": ("lora_recipes.train:epochs", "ss_num_epochs", "ot_config:epochs"),
    "resolution": ("lora_recipes.prepare:resolution", "ss_resolution", "modelspec.resolution"),
    "seed": ("lora_recipes.train:seed", "ss_seed", "ot_config:seed"),
    "prediction": ("modelspec.prediction_type",),
    "trigger": ("lora_recipes.dataset:trigger", "modelspec.trigger_phrase"),
    "title": ("modelspec.title", "ss_output_name", "name"),
    "recipe hash": ("lora_recipes.hash",),
}
"""Where the answer stands: a field, or `field:key/key` inside a field's JSON. The first counts.
`field:*key more` is the key of each model of the pipeline, `unet.key`, and what goes with it."""


def stated(metadata: Mapping[str, str]) -> dict[str, HeaderAnswer | None]:
    """The answers to the usual questions, in their order; None where no field gives one."""
    answers: dict[str, HeaderAnswer | None] = {"trained by": _trainer(metadata)}
    for question, places in _QUESTIONS.items():
        found = (_look(metadata, place) for place in places)
        answers[question] = next((answer for answer in found if answer), None)
    return answers


def recipe_of(metadata: Mapping[str, str]) -> dict[str, Any]:
    """All that our own fields say, by dotted key: `train.learning_rate`, `hash`. Else empty."""
    found: dict[str, Any] = {}
    for name in sorted(metadata):
        if name.startswith(OURS):
            found |= flat(parsed(metadata[name]), name.removeprefix(OURS))
    return found


def _trainer(metadata: Mapping[str, str]) -> HeaderAnswer | None:
    software = parsed(metadata.get("software", ""))
    if isinstance(software, dict) and "name" in software:
        words = [str(software[key]) for key in ("name", "version") if key in software]
        return HeaderAnswer(" ".join(words), "software")
    for field, trainer in _TRAINERS:
        if field in metadata:
            return HeaderAnswer(trainer, field)
    return None


def _look(metadata: Mapping[str, str], place: str) -> HeaderAnswer | None:
    field, _, path = place.partition(":")
    if field not in metadata:
        return None
    value: Any = metadata[field]
    if path.startswith("*"):
        return _of_each_model(parsed(value), field, *path.removeprefix("*").split())
    if path:
        value = parsed(value)
        for key in path.split("/"):
            value = value.get(key) if isinstance(value, dict) else None
    nothing = value is None or value in ("", "None", "none", "null")
    return None if nothing else HeaderAnswer(text_of(value), place.replace(":", ": "))


def _of_each_model(fields: Any, field: str, key: str, *more: str) -> HeaderAnswer | None:
    """One key of every model, `unet.r`, `text_encoder.r`; and what else is set there."""
    if not isinstance(fields, dict):
        return None
    ends = {name: name.rpartition(".")[2] for name in fields}
    found = [name for name, end in ends.items() if end == key and fields[name] is not None]
    if not found:
        return None
    also = [
        f"{name} {text_of(fields[name])}"
        for name, end in ends.items()
        if end in more and fields[name]
    ]
    if len(found) == 1 and not also:
        return HeaderAnswer(text_of(fields[found[0]]), f"{field}: {found[0]}")
    models = [f"{name.rpartition('.')[0]} {text_of(fields[name])}".strip() for name in found]
    return HeaderAnswer("; ".join([", ".join(models), *also]), field)


def text_of(value: Any) -> str:
    """A value on one line."""
    words = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return " ".join(words.split())


def parsed(text: str) -> Any:
    """A field's JSON, or the text itself where it is none, or is nested beyond all use."""
    try:
        found = json.loads(text) if text.lstrip()[:1] in ("{", "[") else text
    except (ValueError, RecursionError):
        return text
    return text if is_deeper(found, DEEPEST) else found


def remaining(
    metadata: Mapping[str, str], answers: Mapping[str, HeaderAnswer | None]
) -> Iterator[str]:
    """Fields that no answer came from and that are not ours."""
    used = {answer.field.partition(":")[0] for answer in answers.values() if answer}
    return (name for name in sorted(metadata) if name not in used and not name.startswith(OURS))
