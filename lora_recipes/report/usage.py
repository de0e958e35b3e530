"""How to use the adapter: the file's name, an example, and diffusers in Python."""

from __future__ import annotations

import re
from typing import Any

from lora_recipes.report.inputs import Inputs

POCKET = "pocket"


def snippet(base: dict[str, Any], strength: float) -> str:
    """Python that draws a picture with diffusers, as the sample stage does."""
    model, revision = base["model"], ""
    method = "from_pretrained"
    if model == POCKET:
        model = "lora_recipes/pocket/model"
    elif model.endswith(".safetensors"):
        method = "from_single_file"
    elif re.fullmatch(r"[\w.-]+/[\w.-]+", model) and base.get("revision", "none") != "none":
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


def file_name(name: str) -> str:
    """A recipe's name as a file name that needs no quotes in a shell."""
    return re.sub(r"[^\w.-]+", "-", name).strip("-.") or "adapter"


def example(inputs: Inputs) -> str:
    """A caption to prompt by, where there is no trigger; empty where there is none."""
    return min((photo.caption for photo in inputs.photos if photo.role == "train"), default="")


def _quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
