"""How to use the adapter: its words, its strength, and where each program looks for it."""

from __future__ import annotations

import re
from typing import Any

from lora_recipes.report.html import Child, Html, said, tag
from lora_recipes.report.inputs import Inputs
from lora_recipes.report.parts import block, code, facts, lead, section

FILE = "out/adapter.safetensors"
POCKET = "pocket"


def usage(inputs: Inputs) -> Html:
    """The words and the strength, then one paragraph per program."""
    resolved = inputs.resolved
    base, strength = resolved["base"], resolved["sample"]["strength"]
    name = file_name(resolved["name"])
    rows: list[tuple[str, Child]] = [("File", code(FILE))]
    rows += _words(inputs)
    rows.append(("Strength", f"{strength:g}, as in the pictures above; less gives a milder effect"))
    rows.append(("For", said(base["model"])))
    prompt_word = f"<lora:{name}:{strength:g}>"
    pocket = base["model"] == POCKET
    return section(
        "use",
        "How to use it",
        facts(rows),
        lead(
            "The pocket is this project's own small model: other programs do not know it. "
            "An adapter for SDXL goes into them as written below."
        )
        if pocket
        else "",
        tag(
            "div",
            _program("diffusers", tag("p", "In Python:"), block(snippet(base, strength))),
            _program(
                "ComfyUI",
                tag(
                    "p",
                    "Copy the file, then add “Load LoRA” after “Load Checkpoint”, with ",
                    code(f"strength_model = {strength:g}"),
                ),
                block(f"cp {FILE} ComfyUI/models/loras/{name}.safetensors"),
            ),
            _program(
                "A1111 and Forge",
                tag("p", "Copy the file, then write this into the prompt: ", code(prompt_word)),
                block(f"cp {FILE} stable-diffusion-webui/models/Lora/{name}.safetensors"),
            ),
            _program(
                "kohya sd-scripts",
                tag("p", "To draw pictures; the same file also continues a training:"),
                block(
                    "python sdxl_gen_img.py … --network_module networks.lora \\\n"
                    f"  --network_weights {FILE} --network_mul {strength:g}"
                ),
            ),
            class_="programs",
        ),
    )


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


def _words(inputs: Inputs) -> list[tuple[str, Child]]:
    dataset = inputs.resolved["dataset"]
    trigger, kind = dataset.get("trigger", "none"), dataset.get("class_word", "none")
    if trigger == "none":
        captions = sorted({photo.caption for photo in inputs.photos if photo.role == "train"})
        if not captions:
            return []
        example = tag("q", said(captions[0]))
        return [("Words", ["no trigger; prompt as the captions do, for example ", example])]
    both = trigger if kind == "none" else f"{trigger} {kind}"
    return [("Trigger", [tag("strong", said(trigger)), ", as in ", tag("q", said(f"a {both}"))])]


def _program(title: str, *content: Child) -> Html:
    return tag("article", tag("h3", title), *content, class_="program")


def _quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
