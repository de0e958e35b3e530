"""How to use the adapter: its subject, the file's name, an example, and diffusers in Python."""

from __future__ import annotations

import os
import re
from pathlib import Path, PurePath
from typing import Any

from lora_recipes.recipe.hub_id import is_hub_id
from lora_recipes.report.inputs import Inputs

POCKET = "pocket"
NOWHERE = Path(os.devnull)
"""The page is a function of its inputs, and looks for no folder that could be a base model."""


def snippet(base: dict[str, Any], strength: float) -> str:
    """Python that draws a picture with diffusers, as the sample stage does."""
    model, revision = base["model"], ""
    method = "from_pretrained"
    if model == POCKET:
        model = "lora_recipes/pocket/model"
    elif model.endswith(".safetensors"):
        method = "from_single_file"
    elif on_hub(base) and base.get("revision", "none") != "none":
        revision = f'    revision="{base["revision"]}",'
    return "\n".join(
        [
            "import torch",
            "from diffusers import StableDiffusionXLPipeline",
            "",
            f"pipe = StableDiffusionXLPipeline.{method}(",
            f"    {_quoted(model)},",
            *([revision] if revision else []),
            "    torch_dtype=torch.bfloat16,",
            ")",
            "pipe.load_lora_weights(",
            '    "out", weight_name="adapter.safetensors", adapter_name="mine"',
            ")",
            f'pipe.set_adapters("mine", {strength:g})',
            'pipe("your prompt").images[0].save("picture.png")',
        ]
    )


def on_hub(base: dict[str, Any]) -> bool:
    """Whether the base model is one of Hugging Face's, so that its revision counts."""
    return is_hub_id(base["model"], NOWHERE)


def subject(resolved: dict[str, Any]) -> str:
    """What was learned: trigger and class word, or else the data folder's name, or the recipe's."""
    words = [resolved["dataset"].get(key, "none") for key in ("trigger", "class_word")]
    said = " ".join(word for word in words if word != "none")
    return said or _folder(resolved) or str(resolved["name"])


def file_name(resolved: dict[str, Any]) -> str:
    """A file name by data folder and trigger, `clock-zwk`, that needs no quotes in a shell."""
    trigger = resolved["dataset"].get("trigger", "none")
    words = [_folder(resolved), "" if trigger == "none" else trigger]
    name = "-".join(filter(None, dict.fromkeys(words))) or str(resolved["name"])
    return re.sub(r"[^\w.-]+", "-", name).strip("-.") or "adapter"


def device(environment: dict[str, Any]) -> str:
    """What `compute.device: auto` was: cpu, cuda or mps."""
    name = str(environment.get("device", ""))
    return "cuda" if "driver" in environment else "mps" if name.startswith("mps ") else "cpu"


def example(inputs: Inputs) -> str:
    """A caption to prompt by, where there is no trigger; empty where there is none."""
    return min((photo.caption for photo in inputs.photos if photo.role == "train"), default="")


def _folder(resolved: dict[str, Any]) -> str:
    return PurePath(str(resolved.get("data", ""))).name


def _quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
