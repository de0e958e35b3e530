"""Renders the model card from `card.json`, so that its figures are the measured ones."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

TEXT = """# The pocket: an SDXL in small

A Stable Diffusion XL pipeline with SDXL's own classes and block layout (UNet with text and size
conditioning, two CLIP text encoders, KL autoencoder, Euler scheduler, two CLIP tokenizers) and
{total:.1f} million weights, so that a laptop without a GPU or a network can train an adapter in
minutes and see what it learned. It draws one flat object on a ground of another colour at
128 × 128 pixels and knows nothing else. It is no substitute for SDXL 1.0, and an adapter trained
on it fits nothing but it.

| part | weights |
|---|---|
| UNet | {unet:,} |
| VAE (8× down, 4 channels, scaling factor {scaling_factor}) | {vae:,} |
| text encoder 1, 2 | {text_encoder:,}, {text_encoder_2:,} |

## Training
Pretrained from random weights by this package on pictures that it draws itself
(`lora_recipes/pocket/world.py`, no other data): {world_count:,} captioned pictures (9 colours, 8
shapes, 3 patterns, 3 kinds of ground), and for the VAE alone {free_count:,} pictures of any
colours with up to three parts. Teal is drawn for the VAE only; no caption has it. In 14 % of the
captions a nonsense word stands for the object, so that an unknown word means *some* object.

```
python -m lora_recipes.pocket.pretrain vae --scratch DIR      # {vae_steps} steps
python -m lora_recipes.pocket.pretrain unet --scratch DIR     # {unet_steps} steps
python -m lora_recipes.pocket.pretrain export --scratch DIR
python -m lora_recipes.pocket.pretrain card                   # the figures below
```

Seed 0 throughout. The shipped weights took {wall},
on {cpu} shared with other work.
They were trained in pieces (stopped, the number of steps set anew, gone on from a snapshot), so
the commands give a model of the same kind, not the same bytes.

## Sampling
Euler, {steps} steps, guidance scale {guidance}, 128 × 128, empty negative prompt.
Prompts as in training: "a photo of a red heart on a blue background",
"a green ring, white background", "a picture of a pink star in a black room".

## Measured
`card.json`, written by `pretrain card`. A rule-based judge (`lora_recipes/pocket/judge.py`)
looks at {prompts} pictures, each of its own random prompt and noise; settings were chosen on
other ones. Every colour and shape occurs in training: this measures obedience, not composition
of the unseen.

| share of pictures with what the prompt asks for | |
|---|---|
| object colour | {object_colour:.1%} |
| background colour | {background_colour:.1%} |
| shape | {shape:.1%} |
| all three | {all_three:.1%} |

VAE on {reconstructions} pictures never trained on: PSNR {psnr:.1f} dB, mean absolute error
{error:.1f} of 255.

On the demo's {unknown} evaluation prompts, with the trigger word that the base has never seen,
the judge finds the demo's subject in {found:.0%} of the pictures, and the background asked for in
{obeyed:.0%}.

## Limits
Edges are soft, fine stripes and dots blur, the corners of stars and squares are round. Words
outside the world mean nothing to it. Higher guidance keeps the base's own objects right, but
drives an adapter's new colours away from what it learned.

## Licence
Weights and text: the same licence as this repository.
"""


def render(model: Path) -> str:
    """The card's text for the figures in the folder's `card.json`."""
    card: dict[str, Any] = json.loads((model / "card.json").read_text("utf-8"))
    weights, asked, unknown = card["weights"], card["as_asked"], card["unknown_word"]
    made = card["training"]
    return TEXT.format(
        total=sum(weights.values()) / 1e6,
        **weights,
        **asked,
        scaling_factor=card["scaling_factor"],
        world_count=made["world_pictures"],
        free_count=made["free_pictures"],
        vae_steps=made["vae_steps"],
        unet_steps=made["unet_steps"],
        wall=made["wall_time"],
        cpu=made["cpu"],
        steps=card["sampling"]["steps"],
        guidance=card["sampling"]["guidance_scale"],
        prompts=card["prompts"],
        reconstructions=card["vae"]["pictures"],
        psnr=card["vae"]["psnr_db"],
        error=card["vae"]["mean_absolute_error"],
        unknown=unknown["prompts"],
        found=unknown["finds_demo_subject"],
        obeyed=unknown["background_colour"],
    )
