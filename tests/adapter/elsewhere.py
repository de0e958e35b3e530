"""What a stranger does with the file, in a process of its own: `python -m … ADAPTER FOLDER`.

Writes to FOLDER what a plain merge and diffusers make of ADAPTER, and its own copy of that file.
"""

from __future__ import annotations

import logging
import sys
from pathlib import Path

import torch
from diffusers import EulerDiscreteScheduler, StableDiffusionXLPipeline
from safetensors import safe_open
from safetensors.torch import save_file

from lora_recipes.adapter import file, metadata
from lora_recipes.adapter.names import diffusers_name
from lora_recipes.adapter.parts import Adapted
from lora_recipes.recipe.sections.base import Base
from lora_recipes.recipe.sections.compute import Compute
from lora_recipes.recipe.sections.dataset import Dataset
from lora_recipes.recipe.sections.encode import Encode
from lora_recipes.recipe.sections.lora import Lora
from lora_recipes.recipe.sections.prepare import Prepare
from lora_recipes.recipe.sections.prior import Prior
from lora_recipes.recipe.sections.train import Train
from tests.adapter.tiny import CONTEXT, POOLED, fill, predict, tiny_unet

LORA = Lora(rank=4, alpha=2.0, targets="transformer")


def sections(**changed):
    """Complete sections of a recipe, as the resolved recipe holds them."""
    return {
        "base": Base(model="pocket"),
        "dataset": Dataset(trigger="zorblat", class_word="figure"),
        "prepare": Prepare(resolution=64),
        "prior": Prior(),
        "encode": Encode(),
        "lora": LORA,
        "train": Train(repeats=10, epochs=2),
        "compute": Compute(precision="fp32"),
        **changed,
    }


def trained(linear: bool = True):
    """A UNet with an adapter that changes the picture."""
    unet = tiny_unet(linear)
    Adapted({"unet": unet}).inject(LORA, seed=0)
    fill(unet, size=0.1)
    return unet


def write(path: Path, linear: bool = True) -> None:
    """The adapter of `trained`, as training writes it."""
    fields = metadata.build(
        sections(), base_identity="sha256:b", manifest="sha256:m", images=8, steps=40
    )
    file.write(path, Adapted({"unet": trained(linear)}).tensors(alpha=2.0), fields)


def latents(unet) -> torch.Tensor:
    """What the pipeline makes of fixed embeddings in three steps."""
    stream = torch.Generator().manual_seed(3)
    pipe = pipeline(unet)
    pipe.set_progress_bar_config(disable=True)
    tokens, none = torch.randn(2, 1, 7, CONTEXT, generator=stream)
    pooled, empty = torch.randn(2, 1, POOLED, generator=stream)
    return pipe(
        prompt_embeds=tokens,
        negative_prompt_embeds=none,
        pooled_prompt_embeds=pooled,
        negative_pooled_prompt_embeds=empty,
        num_inference_steps=3,
        height=64,
        width=64,
        generator=stream,
        output_type="latent",
    ).images


def pipeline(unet) -> StableDiffusionXLPipeline:
    """SDXL's pipeline around a UNet alone."""
    return StableDiffusionXLPipeline(
        vae=None,
        text_encoder=None,
        text_encoder_2=None,
        tokenizer=None,
        tokenizer_2=None,
        unet=unet,
        scheduler=EulerDiscreteScheduler(beta_schedule="scaled_linear"),
        add_watermarker=False,
    )


def merged(path: Path, linear: bool):
    """W + alpha / rank · up · down, without peft and without what this project reads files by."""
    unet = tiny_unet(linear)
    with safe_open(path, "pt") as opened, torch.no_grad():
        keys = set(opened.keys())
        for name in sorted({key.split(".")[0] for key in keys}):
            down = opened.get_tensor(f"{name}.lora_down.weight")
            up = opened.get_tensor(f"{name}.lora_up.weight")
            alpha = opened.get_tensor(f"{name}.alpha").item()
            weight = unet.get_submodule(diffusers_name(name)).weight
            weight += alpha / len(down) * (up.flatten(1) @ down.flatten(1)).view_as(weight)
            keys -= {f"{name}.lora_down.weight", f"{name}.lora_up.weight", f"{name}.alpha"}
    assert not keys, keys
    return unet


def loaded(path: Path, linear: bool):
    """By diffusers' own `load_lora_weights`, which must have nothing to complain of."""
    said: list[str] = []
    handler = logging.Handler(logging.WARNING)
    handler.emit = lambda record: said.append(record.getMessage())
    logging.getLogger("diffusers").addHandler(handler)
    unet = tiny_unet(linear)
    pipeline(unet).load_lora_weights(str(path))
    # The file holds nothing for the text encoders, and the pipeline has none.
    assert [message.split("'")[1] for message in said] == ["text_encoder", "text_encoder_2"], said

    layers = [module for module in unet.modules() if hasattr(module, "lora_A")]
    with safe_open(path, "pt") as opened:
        assert 3 * len(layers) == len(opened.keys())
    assert {scale for layer in layers for scale in layer.scaling.values()} == {0.5}
    return unet


if __name__ == "__main__":
    folder = Path(sys.argv[1])
    made: dict[str, torch.Tensor] = {}
    for kind in ("linear", "convolution"):
        adapter = folder / f"{kind}.safetensors"
        for way in (merged, loaded):
            model = way(adapter, kind == "linear")
            with torch.no_grad():
                made[f"{kind}.{way.__name__}.noise"] = predict(model).contiguous()
            made[f"{kind}.{way.__name__}.latents"] = latents(model).contiguous()
    save_file(made, folder / "made.safetensors")
    write(folder / "again.safetensors")
